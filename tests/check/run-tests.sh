#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run-tests.sh - runs test programs and scripts and counts their verdicts.
#
#	run-tests.sh [-t LABEL] [-j JOBS] PROGRAM...
#
# A test prints "ok NAME", "not ok NAME" or "skip NAME REASON" lines (a plan and "# comments" are
# fine) or CUnit's report; exit 77 is a skip whose reason is the last line. One that ends well
# without a verdict has tested nothing and fails; one that fails without having said so counts as
# a failure more. With $RUN_COUNTS set the counts are added there for the caller; to
# $RUN_VERDICTS go all verdicts, one a line: ok, not ok or skip, the program, the name (and
# reason), tabs between.
# Each test gets TEST_TIMEOUT seconds (default 300).
#
# Up to JOBS (1) run at once. A script that says "# alone: WHY", itself or in a library that its
# "# shellcheck source=" lines name, runs after those, by itself.

label= jobs=1
while getopts t:j: o; do
	case $o in
	t)	label="[$OPTARG] " ;;
	j)	jobs=$OPTARG ;;
	*)	exit 2 ;;
	esac
done
shift $((OPTIND - 1))
limit=${TEST_TIMEOUT:-300}
root=$(cd "$(dirname "$0")/../.." && pwd)
dir=$(mktemp -d) || exit 1
declare -A running=()		# process: number of the test
trap 'rm -rf "$dir"' EXIT
trap 'kill -TERM "${!running[@]}" 2>/dev/null; exit 130' INT TERM HUP
passed=0 failed=0 skipped=0

# Each test of the log with its verdict. CUnit's may come lines after the name, and not at all if
# the program died; one that failed ($3) and has not said where takes all of its tests with it.
verdicts() {	# LOG PROGRAM FAILED
	awk -v program="$2" -v failed="$3" '
	function say(verdict, name) {
		at[++n] = verdict
		of[n] = name
		bad += verdict == "not ok"
	}
	function end_of(verdict) {
		if (pending != "")
			say(verdict, pending)
		pending = ""
	}
	/^ *Test: / {
		end_of("not ok")
		pending = $0
		sub(/^ *Test: /, "", pending)
		sub(/ *\.\.\..*$/, "", pending)
	}
	/FAILED$/ { end_of("not ok") }
	/passed$/ { end_of("ok") }
	/^ *ok / { sub(/^ *ok /, ""); say("ok", $0) }
	/^ *not ok / { sub(/^ *not ok /, ""); say("not ok", $0) }
	/^ *skip / { sub(/^ *skip /, ""); say("skip", $0) }
	END {
		end_of("not ok")
		for (i = 1; i <= n; i++)
			print (failed && !bad ? "not ok" : at[i]) "\t" program "\t" of[i]
	}' "$1" >>"$RUN_VERDICTS"
}

is_alone() {	# SCRIPT
	local libs=()

	[[ $1 == *.sh ]] || return 1
	mapfile -t libs < <(sed -n "s,^# shellcheck source=,$root/,p" "$1")
	grep -qs '^# alone: ' "$1" "${libs[@]}"
}

# start NUMBER PROGRAM: beside what is running
start() {
	began[$1]=${EPOCHREALTIME/[.,]/}
	timeout -k 10 "$limit" "$2" >"$dir/$1" 2>&1 </dev/null &
	running[$!]=$1
}

# Says how a test ended, with its words if it failed, and counts.
ended() {	# NUMBER STATUS
	local t=${tests[$1]} log=$dir/$1 rc=$2 word=ok ok bad skip cunit
	local took=$(((${EPOCHREALTIME/[.,]/} - began[$1]) / 1000)) name

	ok=$(grep -cE '^ *ok ' "$log") bad=$(grep -cE '^ *not ok |FAILED$' "$log")
	skip=$(grep -cE '^ *skip ' "$log")
	# CUnit: a "Test: NAME ..." line each, with "FAILED" at the end of it or of what it said.
	cunit=$(grep -cE '^ *Test: ' "$log")
	[ "$cunit" -gt 0 ] && ok=$((cunit > bad ? cunit - bad : 0))
	case $rc in
	0)	[ $((ok + bad + skip)) -gt 0 ] || { bad=1; echo "no verdict" >>"$log"; } ;;
	77)	[ "$skip" -gt 0 ] || skip=1 ;;
	*)	[ "$bad" -gt 0 ] || bad=1 ;;
	esac
	name=${t##*tests/}
	[ -z "${RUN_VERDICTS:-}" ] || verdicts "$log" "$name" "$((rc != 0 && rc != 77))"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	[ "$skip" -gt 0 ] && [ "$ok" -eq 0 ] && word=skip
	[ "$bad" -gt 0 ] && word=FAIL
	printf '%-5s%s%-36s %4d ok' "$word" "$label" "$name" "$ok"
	[ "$bad" -gt 0 ] && printf ' %d failed' "$bad"
	[ "$skip" -gt 0 ] && printf ' %d skipped' "$skip"
	printf '  %d.%03d s\n' $((took / 1000)) $((took % 1000))
	if [ "$bad" -gt 0 ]; then
		[ "$rc" -eq 124 ] && echo "     | took longer than $limit s"
		{ grep -E '^ *not ok |FAILED$' "$log" | head -20; tail -n 40 "$log"; } |
			sed 's/^/     | /'
		echo "     | exit status $rc of $t"
	fi
	grep -E '^ *skip ' "$log" | sed 's/^ */     | /'
	[ "$rc" -eq 77 ] && ! grep -qE '^ *skip ' "$log" && tail -n 1 "$log" | sed 's/^/     | /'
	rm -f "$log"
}

reap() {
	local pid rc

	wait -n -p pid "${!running[@]}"
	rc=$?
	ended "${running[$pid]}" "$rc"
	unset "running[$pid]"
}

# run JOBS NUMBER...: the tests of these numbers
run() {
	local most=$1 i

	shift
	for i; do
		[ ${#running[@]} -lt "$most" ] || reap
		start "$i" "${tests[$i]}"
	done
	while [ ${#running[@]} -gt 0 ]; do
		reap
	done
}

tests=("$@") began=() together=() alone=()
for i in "${!tests[@]}"; do
	if [ "$jobs" -gt 1 ] && is_alone "${tests[$i]}"; then
		alone+=("$i")
	else
		together+=("$i")
	fi
done
run "$jobs" "${together[@]}"
run 1 "${alone[@]}"

if [ -n "${RUN_COUNTS:-}" ]; then
	echo "$passed $failed $skipped" >>"$RUN_COUNTS"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" -eq 0 ]
