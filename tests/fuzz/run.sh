#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run.sh - runs the fuzzers built below $B/tests/fuzz, as many at once as there are processors.
#
#	run.sh [-s] [-t SECONDS] [NAME...]
#
# Each for SECONDS (10) and onto the corpus it has gathered beside it. -s, the smoke test of
# `make check`: from a fixed seed and nothing gathered. Both begin with what was found before, in
# found/NAME/: an input that broke something once is copied there and stays.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build/fuzz}
export B

named() {	# NAME
	what=$(sed -n "s/^$1	//p" tests/fuzz/rows.txt)
	echo "${what:-no input breaks it} ($1)"
}

one() {	# NAME
	program=$B/tests/fuzz/$1 log=$B/tests/fuzz/$1.log
	gathered=$program.corpus
	[ -z "$SMOKE" ] || { gathered=$(mktemp -d) && trap 'rm -rf "$gathered"' EXIT; }
	mkdir -p "$gathered"
	set -- "$1" "$gathered"
	[ ! -d "tests/fuzz/found/$1" ] || set -- "$1" "$gathered" "tests/fuzz/found/$1"
	name=$1
	shift
	if "$program" -max_total_time="$SECONDS_EACH" -timeout=20 -max_len=4096 ${SMOKE:+-seed=1} \
		-print_final_stats=1 -artifact_prefix="$program." "$@" >"$log" 2>&1; then
		echo "ok $(named "$name"), $(sed -n 's/.*executed_units: *//p' "$log") inputs"
		return
	fi
	echo "not ok $(named "$name")"
	grep -E 'ERROR|SUMMARY|Test unit written|assert' "$log" | sed 's/^/# /'
	tail -n 25 "$log" | sed 's/^/# /'
	return 1
}

if [ "$1" = --one ]; then
	one "$2"
	exit
fi
SMOKE='' SECONDS_EACH=10
while getopts st: o; do
	case $o in
	s) SMOKE=1 ;;
	t) SECONDS_EACH=$OPTARG ;;
	*) sed -n '/^#	/s/^#	/usage: /p' "$0" >&2; exit 2 ;;
	esac
done
shift $((OPTIND - 1))
export SMOKE SECONDS_EACH
[ $# -gt 0 ] || set -- $(basename -s .c -a tests/fuzz/*.c)
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 1 "$0" --one
