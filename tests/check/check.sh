#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# check.sh - everything CI runs, in the order in which it is cheapest to fail.
#
# Called by `make check` with B (build directory) and MAKE. Ends with the counts of all that ran,
# alone on the last line; fails if anything failed.

cd "$(dirname "$0")/../.." || exit 1
MAKE=${MAKE:-make} B=${B:-build}
JOBS=${JOBS:-$(nproc)}
AT_ONCE=$((JOBS + 1))		# tests: some of them always wait
# Inner makes get their own jobs and variables.
unset MAKEFLAGS MFLAGS MAKELEVEL SAN CC
mkdir -p "$B" || exit 1
RUN_COUNTS=$(mktemp)
LOG=$(mktemp)
RUN_VERDICTS=$B/verdicts
: >"$RUN_VERDICTS"
export RUN_COUNTS RUN_VERDICTS B
trap 'rm -f "$RUN_COUNTS" "$LOG"' EXIT
# Nothing goes on behind our back: a signal ends what is running, at once.
CHILD=
trap '[ -z "$CHILD" ] || kill -TERM $CHILD; exit 130' INT TERM HUP

go() {	# COMMAND...
	local rc
	"$@" &
	CHILD=$!
	wait $CHILD
	rc=$?
	CHILD=
	return $rc
}

seconds() {
	local now=${EPOCHREALTIME/[.,]/}
	printf '%d.%d' $(((now - $1) / 1000000)) $(((now - $1) / 100000 % 10))
}
BEGAN=${EPOCHREALTIME/[.,]/}

stage() {
	printf '\n== %s\n' "$*"
}

# one NAME COMMAND...: a step that is one verdict; its output is shown if it fails
one() {
	local name=$1 start=${EPOCHREALTIME/[.,]/}
	shift
	if go "$@" >"$LOG" 2>&1; then
		printf 'ok   %-45s %s s\n' "$name" "$(seconds "$start")"
		echo 1 0 0 >>"$RUN_COUNTS"
		return 0
	fi
	printf 'FAIL %-45s %s s\n' "$name" "$(seconds "$start")"
	tail -n 40 "$LOG" | sed 's/^/     | /'
	echo 0 1 0 >>"$RUN_COUNTS"
	return 1
}

build() {	# NAME MAKE-ARGUMENTS...
	local name=$1
	shift
	one "$name" "$MAKE" -j"$JOBS" --no-print-directory -k "$@"
}

# What the Makefile would build: a program that did not get built fails when it is to run.
list() {
	local what=$1
	shift
	"$MAKE" --no-print-directory -s "list-$what" "$@"
}

# ThreadSanitizer of gcc 12 does not know the wider address randomisation of newer kernels.
threads_run() {
	[ $# -gt 0 ] || return 0
	if setarch -R true 2>/dev/null; then
		go setarch -R tests/check/run-tests.sh -j "$AT_ONCE" -t tsan "$@"
	else
		go tests/check/run-tests.sh -j "$AT_ONCE" -t tsan "$@"
	fi
}

# The fake stack of gcc 12 does not keep an alignment of 64, which UBSan then reports.
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=0
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=0:second_deadlock_stack=1

stage "setup"
go deploy/setup.sh || echo "setup: incomplete; going on with what is there"

stage "build"
build "gcc" B="$B" all tests
build "clang" B="$B/clang" CC=clang syntax
build "gcc, AddressSanitizer" B="$B/asan" SAN=address,undefined programs
build "gcc, ThreadSanitizer" B="$B/tsan" SAN=thread threaded
build "clang, fuzzers" B="$B/fuzz" CC=clang SAN=fuzzer-no-link,address,undefined fuzzers

stage "style"
one "layers" tests/check/layers.sh
one "tidy" tests/check/tidy.sh
one "ids of conformance tests" tests/conformance/conformance.sh -l
go tests/check/run-tests.sh tests/conformance/selftest.sh

export TEST_TIMEOUT=120
stage "unit and wire tests and fuzzers, from a fixed seed, under AddressSanitizer and UBSan"
read -ra programs < <(list programs B="$B/asan")
go tests/check/run-tests.sh -j "$AT_ONCE" -t asan tests/fuzz/smoke.sh "${programs[@]}"

stage "tests with threads under ThreadSanitizer"
read -ra programs < <(list threaded B="$B/tsan")
threads_run "${programs[@]}"

export TEST_TIMEOUT=240
stage "the preload library"
go "$MAKE" --no-print-directory -s B="$B" shim

stage "end to end"
go "$MAKE" --no-print-directory -s B="$B" AT_ONCE="$AT_ONCE" e2e

stage "conformance (ids and reasons: tests/conformance/conformance.sh -v -f $RUN_VERDICTS)"
tests/conformance/conformance.sh -f "$RUN_VERDICTS"

awk -v took="$(seconds "$BEGAN")" '
	{ p += $1; f += $2; s += $3 }
	END {
		printf "\ntook %s s\n", took
		printf "%d passed, %d failed, %d skipped\n", p, f, s
		exit f > 0 || p == 0
	}' "$RUN_COUNTS"
