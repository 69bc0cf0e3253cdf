#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# conformance.sh - how much of the checklists A to D is proven by tests.
#
#	conformance.sh [-v] [-j] [-f VERDICTS] [-a] [A|B|C|D...]
#	conformance.sh -l
#
# A list is a table of rows (A.txt ...); a test proves the rows whose ids its name begins with:
# "C-MS-01 a header is taken only when whole", several as in ids.awk. Runs all tests
# whose source has such names, but for the long ones (tests/engines, tests/soak: with -a), or takes
# the verdicts an earlier run left ($RUN_VERDICTS of run-tests.sh), and joins. A row counts as
# passed if a test of it ran and passed and none failed. "n/a REASON" in a table is for what cannot
# apply here; a test of such a row wins over it.
#
# -v lists the rows behind the numbers, -j prints JSON, -l only looks for ids that no list has.
# Fails if a row failed or an id is unknown.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
export B
ID='[ABCD]-[A-Z][A-Z]*-[0-9][0-9]*'
verbose=0 json=0 lint=0 long=0 from=

usage() {
	sed -n '/^#	/s/^#	/usage: /p' "$0" >&2
	exit 2
}

while getopts vjlaf: o; do
	case $o in
	v) verbose=1 ;;
	j) json=1 ;;
	l) lint=1 ;;
	a) long=1 ;;
	f) from=$OPTARG ;;
	*) usage ;;
	esac
done
shift $((OPTIND - 1))
lists=$(printf %s "${@:-ABCD}" | tr -d ' ')
case $lists in *[!ABCD]*) usage ;; esac

T=$(mktemp -d) || exit 1
trap 'rm -rf "$T"' EXIT
trap 'exit 130' INT TERM HUP

# Names of tests begin in a quote.
grep -roE --include='*.c' --include='*.h' --include='*.sh' "[\"']$ID[-A-Z0-9., ]*" tests |
	grep -v '^tests/conformance/' | tr -d "\"'" >"$T/named"
awk -F: -f tests/conformance/ids.awk -f - tests/conformance/[ABCD].txt "$T/named" \
	>&2 <<'EOF' || exit 1
FILENAME ~ /txt$/ { split($0, w, " "); known[w[1]] = 1; next }
{
	n = ids_of($2, id)
	for (i = 1; i <= n; i++)
		if (!(id[i] in known)) {
			print "not ok " $1 ": no list has a row " id[i]
			bad = 1
		}
}
END { exit bad }
EOF
[ "$lint" = 0 ] || { echo "ok ids of tests are rows of the lists"; exit 0; }

# The programs and scripts that have rows of these lists.
if [ -z "$from" ]; then
	from=$T/verdicts
	: >"$from"
	grep -E ":(.*[, ])?[$lists]-" "$T/named" | cut -d: -f1 | sort -u >"$T/sources"
	[ "$long" = 1 ] || sed -i -E '\,^tests/(engines|soak)/,d' "$T/sources"
	sed -i -E "/\.h\$/d; s,^(tests/.*)\.c\$,$B/\1," "$T/sources"
	[ ! -s "$T/sources" ] || RUN_VERDICTS=$from xargs -a "$T/sources" \
		tests/check/run-tests.sh >&2
fi
[ -r "$from" ] || {
	echo "$0: no verdicts in $from: run tests with RUN_VERDICTS=$from" >&2
	exit 1
}

awk -v verbose=$verbose -v json=$json -v lists="$lists" -f tests/conformance/ids.awk \
	-f tests/conformance/join.awk tests/conformance/[ABCD].txt "$from"
