#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# scale.sh - what many ports and many addresses cost in podpci-switch, and what they cost at rest.
#
# Two switches take turns with a pair of talking pods each: one has these two ports and a few
# addresses, the other 62 ports more, each with a connected pod that is silent, and 10,000
# addresses. Then memory by idle port, and the time an adaptive switch of 64 ports takes when
# nothing moves. See lib.sh and turns.sh.
# shellcheck source=tests/e2e/lib.sh
SCALE=${T:-1}
PARTS='tests/bench/pods tests/bench/coretrip tests/bench/switch_idle bin/podpci-switch'
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/bench/turns.sh
. "$(dirname "$0")/turns.sh"

TURN_US=25000
PORTS=${PORTS:-62}
MACS=${MACS:-10000}

more_ports() {	# as commands of a configuration file
	for ((i = 0; i < PORTS; i++)); do
		echo "port add x$i socket $T/x$i"
	done
}

addresses() {
	awk -v n=$MACS -v ports=$PORTS 'BEGIN {
		for (i = 0; i < n; i++)
			printf "fdb add 52:54:00:%02x:%02x:%02x port x%d\n", i / 65536,
				i / 256 % 256, i % 256, i % ports }'
}

two_up() {
	own_switch two
}

two_busy() {
	own_busy two
}

many_up() {
	{ more_ports; addresses; } >"$T/many.conf"
	own_switch many --config "$T/many.conf" || return
	# shellcheck disable=SC2046
	peer idle "$B/tests/bench/switch_idle" $(seq -f "$T/x%.0f" 0 $((PORTS - 1)))
	expect idle ready
	until_true 5 all_up many || return
}

many_busy() {
	own_busy many
}

all_up() {	# SWITCH: with an idle pod on each port but the talking ones
	[ "$(own "$1" -j port | jq '[.[] | select(.state == "up")] | length')" -ge $PORTS ]
}

rss_kb() {
	awk '/^VmRSS/ { print $2 }' "/proc/${PID[$1]}/status"
}

cpu_us() {	# of all threads so far
	awk '{ s += $1 } END { printf "%d", s / 1000 }' "/proc/${PID[$1]}/task/"*/schedstat
}

note() {	# NAME VALUE, as a round of its own
	echo "$1 - - 0 0 $1 $2 0 0 0" >>"$RESULTS"
}

at_rest() {
	local i before after begin
	start rest taskset -c 0 "$B/bin/podpci-switch" --socket "$T/rest.ctl"
	until_true 5 own rest show || return
	before=$(rss_kb rest)
	more_ports | sed 's/^port add //' | while read -r line; do
		# shellcheck disable=SC2086
		own rest port add $line || exit
	done || return
	own rest port add a socket "$T/rest.a" && own rest port add b socket "$T/rest.b" || return
	after=$(rss_kb rest)
	note port-memory "$(((after - before) / (PORTS + 2)))"
	# shellcheck disable=SC2046
	peer silent "$B/tests/bench/switch_idle" $(seq -f "$T/x%.0f" 0 $((PORTS - 1))) \
		"$T/rest.a" "$T/rest.b"
	expect silent ready
	until_true 5 all_up rest || return
	after=$(rss_kb rest)
	note pod-memory "$(((after - before) / (PORTS + 2)))"
	sleep 0.3
	for ((i = 0; i < ROUNDS; i++)); do
		before=$(cpu_us rest) begin=$(now_us)
		sleep 1
		after=$(cpu_us rest)
		note idle-cpu "$(awk -v t=$((after - before)) -v w=$(($(now_us) - begin)) \
			'BEGIN { printf "%.3f", 100 * t / w }')"
	done
	peer_end silent
	stop rest
}

generation() {	# KIND NUMBER: new pods, for the luck of where their memory lies
	local s order=("${SWITCHES[@]}")
	[ $(($2 % 2)) = 1 ] || order=("${SWITCHES[1]}" "${SWITCHES[0]}")
	for s in "${order[@]}"; do
		pods_up "$s" "$1"
	done
	for ((r = 0; r < ROUNDS; r++)); do
		round "ports-$1" "$2.$r" "go 128 $TURN_US 64"
	done
	printf . >&2
	for s in "${SWITCHES[@]}"; do
		peer_end "pods-$s"
	done
}

ROUNDS=${ROUNDS:-$(times 5)} GENERATIONS=${GENERATIONS:-$(times 4)}
machine_up
at_rest || { log rest; exit 1; }
switch_up two two_up || exit 1
switch_up many many_up || { log many; exit 1; }
for kind in ${KINDS:-split packed}; do
	for ((g = 1; g <= GENERATIONS; g++)); do
		generation "$kind" $g
	done
done
report scale.awk
for s in "${SWITCHES[@]}"; do work "$s"; done
