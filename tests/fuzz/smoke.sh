#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# smoke.sh - every fuzzer, some seconds from a fixed seed; `make fuzz` runs as long as it is told.
# The tests' names are in rows.txt: "C-MS-05, C-DS-01, C-DP-01, C-OF-04, C-PR-06",
# "D-SE-20".

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}/fuzz
export B
unset MAKEFLAGS MFLAGS MAKELEVEL
command -v clang >/dev/null || { echo "skip fuzzers clang is not installed"; exit 77; }
make -s -j"$(nproc)" B="$B" CC=clang SAN=fuzzer-no-link,address,undefined fuzzers >&2 || exit 1
fuzzers=$(set -- tests/fuzz/*.c; echo $#)
# About 16 seconds in all, on two processors.
seconds=$((32 / fuzzers))
exec tests/fuzz/run.sh -s -t "$((seconds > 1 ? seconds : 1))"
