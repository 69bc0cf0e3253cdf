#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run-tests.sh - runs test programs and scripts one after another and counts their verdicts.
#
#	run-tests.sh [-t LABEL] PROGRAM...
#
# A test prints "ok NAME", "not ok NAME" or "skip NAME REASON" lines (a plan and "# comments" are
# fine) or CUnit's report; exit 77 is a skip whose reason is the last line. One that ends well
# without a verdict has tested nothing and fails; one that fails without having said so counts as
# a failure more. With $RUN_COUNTS set the counts are added there for the caller; to
# $RUN_VERDICTS go all verdicts, one a line: ok, not ok or skip, the program, the name (and
# reason), tabs between.
# Each test gets TEST_TIMEOUT seconds (default 300).

label=
[ "$1" = -t ] && { label="[$2] "; shift 2; }
limit=${TEST_TIMEOUT:-300}
log=$(mktemp) || exit 1
child=
trap 'rm -f "$log"' EXIT
trap '[ -n "$child" ] && kill -TERM "$child" 2>/dev/null; exit 130' INT TERM HUP
passed=0 failed=0 skipped=0

now_ms() {
	echo $(($(date +%s%N) / 1000000))
}

count() {	# PATTERN
	grep -cE "$1" "$log"
}

# Each test of the log with its verdict. CUnit's may come lines after the name, and not at all if
# the program died; one that failed ($2) and has not said where takes all of its tests with it.
verdicts() {	# PROGRAM FAILED
	awk -v program="$1" -v failed="$2" '
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
	}' "$log" >>"$RUN_VERDICTS"
}

for t in "$@"; do
	start=$(now_ms)
	timeout -k 10 "$limit" "$t" >"$log" 2>&1 </dev/null &
	child=$!
	wait "$child"
	rc=$?
	child=
	took=$(($(now_ms) - start))
	ok=$(count '^ *ok ') bad=$(count '^ *not ok |FAILED$') skip=$(count '^ *skip ')
	# CUnit: a "Test: NAME ..." line each, with "FAILED" at the end of it or of what it said.
	cunit=$(count '^ *Test: ')
	[ "$cunit" -gt 0 ] && ok=$((cunit > bad ? cunit - bad : 0))
	case $rc in
	0)	[ $((ok + bad + skip)) -gt 0 ] || { bad=1; echo "no verdict" >>"$log"; } ;;
	77)	[ "$skip" -gt 0 ] || skip=1 ;;
	*)	[ "$bad" -gt 0 ] || bad=1 ;;
	esac
	[ -z "$RUN_VERDICTS" ] || verdicts "${t##*tests/}" "$((rc != 0 && rc != 77))"
	passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
	word=ok
	[ "$skip" -gt 0 ] && [ "$ok" -eq 0 ] && word=skip
	[ "$bad" -gt 0 ] && word=FAIL
	name=${t##*tests/}
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
done

if [ -n "$RUN_COUNTS" ]; then
	echo "$passed $failed $skipped" >>"$RUN_COUNTS"
else
	echo "$passed passed, $failed failed, $skipped skipped"
fi
[ "$failed" -eq 0 ]
