#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch.sh - from pod to pod: podpci-switch, OVS-DPDK and testpmd between the same two pods.
#
# Each switch polls on core 0 and has two pods of its own on core 1 (pods.c). All but the one whose
# turn it is stand still. Reported are the rate that arrives, the time a packet takes, and the busy
# cycles a packet costs in the switch, as each counts them itself: cycles of those rounds in which
# there were packets. See lib.sh.
# shellcheck source=tests/e2e/lib.sh
SCALE=${T:-1}
PARTS='tests/bench/pods tests/bench/coretrip bin/podpci-switch'
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/engines/lib-ovs.sh
. "$(dirname "$0")/../engines/lib-ovs.sh"

TURN_US=25000
RTT_COUNT=3000
PODS=$B/tests/bench/pods
declare -A SOCKETS=() THREAD=()
SWITCHES=()

# ---- the switches: NAME_up, and NAME_busy says "CYCLES PACKETS" so far -----------------------

podpci_up() {
	start podpci taskset -c 0 "$B/bin/podpci-switch" --socket "$T/ctl" --cpus 0 --mode poll \
		--port "a socket $T/podpci.a" --port "b socket $T/podpci.b"
	until_true 5 "$PODPCI" switch -s "$T/ctl" show || return
	SOCKETS[podpci]="$T/podpci.a $T/podpci.b"
}

podpci_busy() {
	"$PODPCI" switch -s "$T/ctl" -j worker |
		jq -r '.[0] | "\(.busy_cycles) \(.frames)"'
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

switch_up() {	# NAME FUNCTION
	local tid
	"$2" || return
	tid=$(grep -lE '^(rte-worker-1|lcore-worker-1|worker0|pmd-c0)' \
		"/proc/${PID[$1]}/task/"*/comm | head -n 1)
	[ -n "$tid" ] || { echo "switch: no polling thread of $1" >&2; return 1; }
	THREAD[$1]=${tid%/comm}
	real_time "${THREAD[$1]##*/}"
	SWITCHES+=("$1")
	rest "$1"
}

rest() {	# some ms: the kernel takes cores from those with real-time priority who never rest
	kill -STOP "${PID[$1]}"
	sleep 0.02
}

work() {
	kill -CONT "${PID[$1]}"
}

# ---- pods --------------------------------------------------------------------------------------

run_pods() {	# SWITCH KIND
	local s packed=0
	read -ra s <<<"${SOCKETS[$1]}"
	[ "$2" = split ] || packed=1
	exec "$PODS" -l 1 --no-pci --in-memory --single-file-segments -m 64 \
		--file-prefix "pods-$1" --log-level=error \
		--vdev "net_virtio_user0,path=${s[0]},mac=02:00:00:00:00:01,packed_vq=$packed" \
		--vdev "net_virtio_user1,path=${s[1]},mac=02:00:00:00:00:02,packed_vq=$packed"
}

pods_up() {	# SWITCH KIND
	work "$1"
	peer "pods-$1" run_pods "$1" "$2"
	expect "pods-$1" '^first'
	real_time "${PID[pods-$1]}"
	rest "$1"
}

# ---- rounds ------------------------------------------------------------------------------------

ROWS=(
	"pps64|go 128 $TURN_US 64"
	"pps1500|go 128 $TURN_US 1500"
	"rtt|rtt $RTT_COUNT 64"
)

lost_core() {	# SWITCH: times its thread had to leave its core so far
	while read -r key REPLY; do
		[ "$key" = nonvoluntary_ctxt_switches: ] && return
	done <"${THREAD[$1]}/status"
}

# turn SWITCH COMMAND: $REPLY is "VALUE SECOND-VALUE CYCLES-A-PACKET LOST"
turn() {
	local a b answer lost
	work "$1"
	a=$("$1_busy")
	lost_core "$1"; lost=$REPLY
	ask "pods-$1" "$2"; read -ra answer <<<"$REPLY"
	lost_core "$1"; lost=$((REPLY - lost + answer[2]))
	b=$("$1_busy")
	rest "$1"
	REPLY="${answer[0]} ${answer[1]} $(awk -v a="$a" -v b="$b" 'BEGIN {
		split(a, x); split(b, y); n = y[2] - x[2]
		printf "%.1f", (n > 0) ? (y[1] - x[1]) / n : 0 }') $lost"
}

# A turn of each, there and back: a line each, as switch.awk reads them.
round() {	# NAME NUMBER COMMAND
	local before i s order=("${SWITCHES[@]}") answer
	for ((i = ${#SWITCHES[@]} - 1; i >= 0; i--)); do
		order+=("${SWITCHES[i]}")
	done
	trip; before=$REPLY
	for s in "${order[@]}"; do
		turn "$s" "$3"; answer=$REPLY
		trip
		echo "$1 $2 $(state "$before" "$REPLY") $before $REPLY $s $answer" >>"$RESULTS"
		before=$REPLY
	done
}

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
