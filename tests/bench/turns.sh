# SPDX-License-Identifier: Apache-2.0
# turns.sh - switches that take turns; source it behind lib.sh.
#
# Each switch polls on core 0 and has two pods of its own on core 1 (pods.c). All but the one whose
# turn it is stand still. A switch NAME has a function NAME_busy that says "CYCLES PACKETS" so far.

PODS=$B/tests/bench/pods
declare -A SOCKETS=() THREAD=()
SWITCHES=()

# own_switch NAME OPTIONS...: podpci-switch with ports a and b
own_switch() {
	local name=$1
	shift
	start "$name" taskset -c 1 "$B/bin/podpci-switch" --socket "$T/$name.ctl" --cpus 0 \
		--port "a socket $T/$name.a" --port "b socket $T/$name.b" --mode poll "$@"
	until_true 5 own "$name" show || { log "$name"; return 1; }
	SOCKETS[$name]="$T/$name.a $T/$name.b"
}

own() {	# NAME COMMAND...
	local name=$1
	shift
	"$PODPCI" switch -s "$T/$name.ctl" "$@"
}

own_busy() {
	own "$1" -j worker | jq -r '.[0] | "\(.busy_cycles) \(.frames)"'
}

switch_up() {	# NAME FUNCTION: starts it; then it rests
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

# ---- pods -------------------------------------------------------------------------------------

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
