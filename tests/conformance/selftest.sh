#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# selftest.sh - the counting of conformance, held to what it says of verdicts made up here.
# shellcheck source=tests/check/tap.sh
. "$(dirname "$0")/../check/tap.sh"
cd "$ROOT" || exit 1

report() {	# OPTIONS...; verdicts on stdin
	cat >"$T/verdicts"
	tests/conformance/conformance.sh "$@" -f "$T/verdicts" C
}

tab=$(printf '\t')

a_row_counts_if_a_test_of_it_passed_and_none_failed() {
	report -v >"$T/out" <<-END
		ok${tab}a${tab}C-MS-01..03,05, C-MM-01 some sentence
		not ok${tab}b${tab}C-MS-02 another
		skip${tab}c${tab}C-MS-04 needs root
		ok${tab}d${tab}no id at all
	END
	same status $? 1
	OUT=$(cat "$T/out")
	has "$OUT" '^C1 .* 15 +4 +3 +1 +0 +11$' &&
		has "$OUT" '^ +failed +C-MS-02: b$' &&
		has "$OUT" 'untested  C-MS-04 \(skipped in c\), C-MS-06' &&
		has "$OUT" '^C2 .* 17 +1 +1 +0 +0 +16$' &&
		has "$OUT" '^C9 .* 14 +0 +0 +0 +14 +0$' &&
		has "$OUT" '^total +139 +5 +4 +1 +14 +120$'
}

an_id_that_no_list_has_is_an_error() {
	printf 'ok\ta\tC-MS-99 some sentence\n' | report >"$T/out" 2>&1
	same status $? 1 && has "$(cat "$T/out")" 'not ok a: no list has a row C-MS-99'
}

json_says_the_same() {
	printf 'ok\ta\tC-MS-01 some sentence\n' | report -j >"$T/out" || return
	same total "$(jq -c '.total | [.rows, .passed, .untested]' "$T/out")" '[139,1,124]' &&
		same untested "$(jq '.sections[0].untested | length' "$T/out")" 14
}

# What CUnit prints, and scripts; a program that dies, and one that fails without a word.
verdicts_are_read_as_programs_print_them() {
	cat >"$T/passes" <<-'END'
		#!/bin/sh
		echo '  Test: C-MS-01 one ...passed'
		echo '  Test: two ...'
		echo '    a.c:1: x is 1, not 2FAILED'
		echo 'ok three'
		echo '  Test: four ...'
		exit 1
	END
	printf '#!/bin/sh\necho "ok five"\nexit 3\n' >"$T/lies"
	chmod +x "$T/passes" "$T/lies"
	RUN_VERDICTS=$T/v RUN_COUNTS=$T/c tests/check/run-tests.sh "$T/passes" "$T/lies" >/dev/null
	same verdicts "$(cut -f 1,3 "$T/v" | tr '\t' ' ')" "ok C-MS-01 one
not ok two
ok three
not ok four
not ok five"
}

need jq
check "a row counts if a test of it passed and none failed" \
	a_row_counts_if_a_test_of_it_passed_and_none_failed
check "an id that no list has is an error" an_id_that_no_list_has_is_an_error
check "JSON says the same" json_says_the_same
check "verdicts are read as programs print them" verdicts_are_read_as_programs_print_them
finish
