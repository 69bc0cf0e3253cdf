#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hostile.sh - what make check does to the back-end some thousands of times, for TIME seconds: the
# programs of a hostile front-end with ever more rounds, our rings beside DPDK's with ever new
# seeds, the fuzzers from where they stood.
# shellcheck source=tests/check/tap.sh
. "$(dirname "$0")/../check/tap.sh"
cd "$ROOT" || exit 1

TIME=${TIME:-60}
PROGRAMS="unit/backend_hostile wire/vus_messages wire/vus_memory wire/vus_rings wire/vus_evil"
share=$((TIME / 8 > 1 ? TIME / 8 : 1))

again_and_again() {	# PROGRAM
	local end=$((SECONDS + share)) factor=1
	while [ $SECONDS -lt $end ]; do
		PODPCI_ROUNDS=$factor "$B/tests/$1" || return
		factor=$((factor < 16 ? factor * 4 : factor))
	done
}

seed_after_seed() {
	local end=$((SECONDS + share)) seed=$RANDOM$RANDOM
	while [ $SECONDS -lt $end ]; do
		"$B/tests/e2e/switch_diff" "$seed" 100 || return
		seed=$((seed + 100))
	done
}

for p in $PROGRAMS; do
	check "$p with ever more rounds" again_and_again "$p"
done
check "rings beside those of DPDK's vhost library, seed after seed" seed_after_seed
check "fuzzers" env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL make -s "B=$B" fuzz "TIME=$share"
finish
