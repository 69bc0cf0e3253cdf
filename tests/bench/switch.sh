#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch.sh - from pod to pod: podpci-switch, OVS-DPDK and testpmd between the same two pods.
#
# Reported are the rate that arrives, the time a packet takes, and the busy cycles a packet costs in
# the switch, as each counts them itself: cycles of those rounds in which there were packets. See
# lib.sh and turns.sh.
# shellcheck source=tests/e2e/lib.sh
SCALE=${T:-1}
PARTS='tests/bench/pods tests/bench/coretrip bin/podpci-switch'
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/bench/turns.sh
. "$(dirname "$0")/turns.sh"
# shellcheck source=tests/engines/lib-ovs.sh
. "$(dirname "$0")/../engines/lib-ovs.sh"

TURN_US=25000
RTT_COUNT=3000

# ---- the switches: NAME_up, and NAME_busy says "CYCLES PACKETS" so far -----------------------

podpci_up() {
	own_switch podpci
}

podpci_busy() {
	own_busy podpci
}

testpmd_up() {
	peer testpmd stdbuf -oL dpdk-testpmd --lcores '0@1,1@0' --no-pci --in-memory -m 256 \
		--single-file-segments --file-prefix testpmd \
		--vdev "net_vhost0,iface=$T/testpmd.a" --vdev "net_vhost1,iface=$T/testpmd.b" \
		-- -i --total-num-mbufs=32768 --mbcache=256 --port-topology=paired \
		--disable-link-check --record-core-cycles
	echo start >&"${IN[testpmd]}"
	expect testpmd 'forwarding - ports='
	SOCKETS[testpmd]="$T/testpmd.a $T/testpmd.b"
}

testpmd_busy() {
	echo "show fwd stats all" >&"${IN[testpmd]}"
	expect testpmd 'total cycles'
	sed 's/.*total cycles=\([0-9]*\).*packets=\([0-9]*\).*/\1 \2/' <<<"$REPLY"
}

ovs_up_here() {
	[ -x "$OVS" ] || { echo "switch: openvswitch-switch-dpdk is not installed" >&2; return 1; }
	ovs_up ovs 512 0 || return
	vsctl ovs set Open_vSwitch . other_config:pmd-maxsleep=0
	for p in a b; do
		vsctl ovs add-port br-int $p -- set interface $p type=dpdkvhostuser || return
	done
	on ovs ovs-ofctl del-flows "$T/ovs/br-int.mgmt" &&
		on ovs ovs-ofctl add-flow "$T/ovs/br-int.mgmt" in_port=a,actions=output:b &&
		on ovs ovs-ofctl add-flow "$T/ovs/br-int.mgmt" in_port=b,actions=output:a || return
	SOCKETS[ovs]="$T/ovs/a $T/ovs/b"
}

ovs_busy() {
	on ovs ovs-appctl -t "$T/ovs/ovs.ctl" dpif-netdev/pmd-stats-show | awk '
		/^pmd/ { pmd = 1 } /^main/ { pmd = 0 }
		pmd && /packets received:/ { n = $3 }
		pmd && /processing cycles:/ { c = $3 }
		END { print c + 0, n + 0 }'
}

# ---- rounds ------------------------------------------------------------------------------------

ROWS=(
	"pps64|go 128 $TURN_US 64"
	"pps1500|go 128 $TURN_US 1500"
	"rtt|rtt $RTT_COUNT 64"
)

generation() {	# KIND NUMBER: new processes, for the luck of where their memory lies
	local row name command s
	for s in "${SWITCHES[@]}"; do
		pods_up "$s" "$1"
	done
	for row in "${ROWS[@]}"; do
		IFS='|' read -r name command <<<"$row"
		wanted "$name" || continue
		for ((r = 0; r < ROUNDS; r++)); do
			round "$name-$1" "$2.$r" "$command"
		done
		printf . >&2
	done
	for s in "${SWITCHES[@]}"; do
		peer_end "pods-$s"
	done
}

# ---- memif: no switch at all, a pod on each core ---------------------------------------------

run_memif() {	# ROLE CORE
	exec "$PODS" -l "$2" --no-pci --in-memory --single-file-segments -m 64 \
		--file-prefix "memif-$1" --log-level=error \
		--vdev "net_memif0,role=$1,id=0,socket-abstract=no,socket=$T/memif.sock,bsize=2048"
}

memif() {
	local before size
	peer source run_memif server 0
	expect source '^first'
	peer sink run_memif client 1
	expect sink '^first'
	real_time "${PID[source]}"
	real_time "${PID[sink]}"
	sleep 0.5	# until they are connected
	for size in 64 1500; do
		for ((r = 0; r < 2 * ROUNDS; r++)); do
			trip; before=$REPLY
			echo "tx $((2 * TURN_US)) $size" >&"${IN[source]}"
			ask sink "rx $TURN_US"; local got=$REPLY
			expect source .
			trip
			echo "memif$size m.$r $(state "$before" "$REPLY") $before $REPLY memif" \
				"${got%% *} 0 0 ${got##* }" >>"$RESULTS"
		done
	done
	peer_end source
	peer_end sink
}

ROUNDS=${ROUNDS:-$(times 8)} GENERATIONS=${GENERATIONS:-$(times 3 1)}
machine_up
switch_up podpci podpci_up || { log podpci; exit 1; }
switch_up testpmd testpmd_up || exit 1
switch_up ovs ovs_up_here || echo "switch: goes on without OVS-DPDK" >&2
for kind in ${KINDS:-split packed}; do
	for ((g = 1; g <= GENERATIONS; g++)); do
		generation "$kind" $g
	done
done
wanted memif && memif
report switch.awk
for s in "${SWITCHES[@]}"; do work "$s"; done
