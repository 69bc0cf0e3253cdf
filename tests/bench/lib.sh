# SPDX-License-Identifier: Apache-2.0
# lib.sh - what the benches share; source it behind tests/e2e/lib.sh.
#
# Whatever is compared takes turns of some tens of ms on the same cores (A B B A, so that drift
# cancels out). Before and after each round the round trip of a cache line between the two cores is
# taken: the machine's state, near or far. A round whose ends differ, or in which somebody else took
# one of the two cores away, is disturbed: it is left out if enough others remain.
#
# In the environment: T=0.2 (a fifth of the rounds), JSON=FILE, RAW=FILE, RT=1, ONLY=a,b,
# KINDS=packed; run.sh --help says what they do.

FAR_NS=250		# a round trip above it: the cores are far apart
RESULTS=$T/results
declare -A IN=() OUT=()

times() {	# N scaled, at least MIN
	awk -v n="$1" -v s="$SCALE" -v min="${2:-2}" \
		'BEGIN { v = int(n * s + 0.5); print v < min ? min : v }'
}

# peer NAME COMMAND...: in the background, to be spoken to with ask()
peer() {
	local name=$1
	shift
	rm -f "$T/$name.in" "$T/$name.out"
	mkfifo "$T/$name.in" "$T/$name.out"
	exec {IN[$name]}<>"$T/$name.in" {OUT[$name]}<>"$T/$name.out"
	(
		BG=1
		[ "$(type -t "$1")" = function ] || exec "$@"
		"$@"
	) <"$T/$name.in" >"$T/$name.out" 2>>"$T/$name.log" &
	PID[$name]=$!
}

peer_end() {
	stop "$1" KILL
	exec {IN[$1]}>&- {OUT[$1]}>&-
}

# expect NAME PATTERN: reads its lines until one matches; that one is $REPLY
expect() {
	while read -r -t 15 -u "${OUT[$1]}"; do
		[[ $REPLY =~ $2 ]] && return
	done
	echo "$1 does not say \"$2\"" >&2
	tail -n 5 "$T/$1.log" >&2
	exit 1
}

ask() {
	echo "$2" >&"${IN[$1]}"
	expect "$1" .
}

# ---- the machine ------------------------------------------------------------------------------

machine_up() {
	renice -n -15 -p $$ >/dev/null 2>&1
	: >"$RESULTS"
	peer trip "$B/tests/bench/coretrip" 0 1
	real_time "${PID[trip]}"
	taskset -cp 1 $$ >/dev/null	# core 0 is the back-ends'
}

trip() {	# [BACK-END that fills its core and stands still meanwhile]
	[ $# = 0 ] || kill -STOP "${PID[$1]}"
	ask trip go
	[ $# = 0 ] || kill -CONT "${PID[$1]}"
	[ $# = 0 ] || sleep 0.03	# until it polls again
}

state() {	# BEFORE AFTER
	if [ "$1" -gt $FAR_NS ] && [ "$2" -gt $FAR_NS ]; then echo far
	elif [ "$1" -le $FAR_NS ] && [ "$2" -le $FAR_NS ]; then echo near
	else echo mixed; fi
}

wanted() {	# NAME
	[ -z "${ONLY:-}" ] || [[ ,$ONLY, == *,$1,* ]]
}

real_time() {	# PROCESS, or one thread of one
	[ -z "${RT:-}" ] || chrt -f -p 1 "$1" >&2
}

report() {	# PROGRAM [twice: it reads the results so]
	local here
	here=$(dirname "$0")
	echo >&2
	[ -z "${RAW:-}" ] || cp "$RESULTS" "$RAW"
	awk -v json="${JSON:-}" -f "$here/stats.awk" -f "$here/$1" "$RESULTS" ${2:+"$RESULTS"}
}
