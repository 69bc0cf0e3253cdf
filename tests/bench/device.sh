#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# device.sh - what the simulated device costs, as ratios within one run.
#
# Two pods, one with a simulated device and one with DPDK's virtio-user, hold a port each of the
# same back-end and take turns. See lib.sh.
# shellcheck source=tests/e2e/lib.sh
SCALE=${T:-1}
PARTS='tests/bench/traffic tests/bench/coretrip tests/bench/regs'
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

DISTURBED=0
TURN_US=25000
RTT_COUNT=4000

# ---- back-end and pods -------------------------------------------------------------------------

bench_backend() {
	peer be stdbuf -oL dpdk-testpmd --lcores '0@0,1@0' --no-pci --in-memory -m 256 \
		--single-file-segments --file-prefix be --vdev "net_vhost0,iface=$T/a" \
		--vdev "net_vhost1,iface=$T/b" -- -i --total-num-mbufs=32768 --mbcache=256 \
		--port-topology=loop --disable-link-check
	echo start >&"${IN[be]}"
	expect be 'forwarding - ports='
	FORWARD="io 0,1" FRESH=
	WORKER=$(grep -lE 'worker-1$' "/proc/${PID[be]}/task/"*/comm | head -n 1)
	WORKER=${WORKER%/comm}
	[ -n "$WORKER" ] || { echo "no polling thread found" >&2; exit 1; }
	real_time "${WORKER##*/}"
}

forward() {	# MODE PORTS
	[ "$FORWARD" = "$1 $2" ] && return
	FORWARD="$1 $2"
	echo stop >&"${IN[be]}"
	expect be '^Done'
	printf 'set fwd %s\nset portlist %s\nstart\n' "$1" "$2" >&"${IN[be]}"
	expect be "$1 packet forwarding - ports="
	FRESH=1
}

TRAFFIC=$B/tests/bench/traffic
declare -A PORT=([vu]=0 [pod]=1) SOCKET=([vu]=$T/a [pod]=$T/b)

swap_ports() {	# the back-end looks at one port before the other
	local port=${PORT[vu]} socket=${SOCKET[vu]}
	PORT=([vu]=${PORT[pod]} [pod]=$port)
	SOCKET=([vu]=${SOCKET[pod]} [pod]=$socket)
}

run_vu() {	# split|packed
	exec "$TRAFFIC" -l 1 --no-pci --single-file-segments --file-prefix vu --log-level=error \
		--vdev "net_virtio_user0,path=${SOCKET[vu]},packed_vq=$([ "$1" = split ]; echo $?)"
}

run_pod() {
	local socket=${SOCKET[pod]}
	[ -n "${STAND_IN:-}" ] && exec "$TRAFFIC" -l 1 --no-pci --single-file-segments \
		--file-prefix pod --log-level=error \
		--vdev "net_virtio_user0,path=$socket,packed_vq=$([ "$1" = split ]; echo $?)"
	NET=("socket=$socket,packed=$([ "$1" = packed ] && echo on || echo off)")
	pod "$TRAFFIC" -l 1 --file-prefix pod --log-level=error
}

# launch SIDE KIND: and say how many us it took until the first frame came back
launch() {
	local begin
	begin=$(now_us)
	peer "$1" "run_$1" "$2"
	expect "$1" '^first'
	TOOK=$((${REPLY#first } - begin))
	real_time "${PID[$1]}"
}

# ---- measurements: name | what the far end does | command | unit | better | least or most ------

ROWS=(
	"echo32|io|echo 32 $TURN_US|Mpps|more|1.00"
	"echo128|io|echo 128 $TURN_US|Mpps|more|1.00"
	"tx|rxonly|tx $TURN_US|Mpps|more|1.00"
	"rx|txonly|rx $TURN_US|Mpps|more|1.00"
	"rtt|io|rtt $RTT_COUNT|ns|less|1.02"
)

# Involuntary context switches of the back-end's polling thread so far.
lost_core() {
	while read -r key REPLY; do
		[ "$key" = nonvoluntary_ctxt_switches: ] && return
	done <"$WORKER/status"
}

turn() {	# SIDE MODE COMMAND
	local before value lost
	case $2 in
	txonly)	forward txonly "${PORT[$1]}" ;;
	*)	forward "$2" 0,1 ;;
	esac
	[ -z "$FRESH" ] || ask "$1" "$3"	# not counted: forwarding has just begun
	FRESH=
	lost_core; before=$REPLY
	ask "$1" "$3"
	value=${REPLY%% *} lost=${REPLY##* }
	lost_core
	DISTURBED=$((DISTURBED + lost + REPLY - before))
	REPLY=$value
}

round() {	# NAME MODE COMMAND: A B B A
	local before a b c d
	trip be; before=$REPLY
	turn pod "$2" "$3"	# not counted: the first after a pause is slow
	DISTURBED=0
	turn vu "$2" "$3"; a=$REPLY
	turn pod "$2" "$3"; b=$REPLY
	turn pod "$2" "$3"; c=$REPLY
	turn vu "$2" "$3"; d=$REPLY
	trip be
	echo "$1 $(state "$before" "$REPLY") $before $REPLY $a $d $b $c $DISTURBED" >>"$RESULTS"
}

generation() {	# KIND NUMBER: new processes, for the luck of where their memory lies
	local row name mode command order="vu pod"
	[ $(($2 % 2)) = 0 ] && order="pod vu"
	swap_ports
	for side in $order; do
		launch "$side" "$1"
	done
	for row in "${ROWS[@]}"; do
		IFS='|' read -r name mode command _ <<<"$row"
		wanted "$name" || continue
		for ((r = 0; r < ROUNDS; r++)); do
			round "$name-$1" "$mode" "$command"
		done
		printf . >&2
	done
	forward io 0,1
	ask vu rss; local rss=${REPLY% *}
	ask pod rss
	echo "rss-$1 - 0 0 $rss $rss ${REPLY% *} ${REPLY% *} 0" >>"$RESULTS"
	peer_end vu
	peer_end pod
}

startups() {	# KIND
	local a b
	for ((r = 0; r < STARTS; r++)); do
		launch vu "$1"; a=$TOOK; peer_end vu
		launch pod "$1"; b=$TOOK; peer_end pod
		echo "start-$1 - 0 0 $a $a $b $b 0" >>"$RESULTS"
	done
	printf . >&2
}

registers() {	# lines "NAME OURS REFERENCE" in ns, from inside the pod
	NET=("socket=${SOCKET[pod]}")
	for ((r = 0; r < STARTS; r++)); do
		pod taskset -c 1 "$B/tests/bench/regs" >"$T/regs" 2>>"$T/regs.log" ||
			{ echo "regs: $(tail -n 3 "$T/regs.log")" >&2; return; }
		awk '{ print $1, "- 0 0", $3, $3, $2, $2, 0 }' "$T/regs" >>"$RESULTS"
	done
	printf . >&2
}

ROUNDS=${ROUNDS:-$(times 10)} GENERATIONS=${GENERATIONS:-$(times 6)} STARTS=$(times 7 3)
bench_backend
machine_up
for kind in ${KINDS:-split packed}; do
	for ((g = 1; g <= GENERATIONS; g++)); do
		generation "$kind" $g
	done
	wanted start && startups "$kind"
done
wanted regs && [ -z "${STAND_IN:-}" ] && registers
report report.awk twice
