#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# instructions.sh - instructions a packet takes from ring to ring, counted by valgrind: the one
# figure that no neighbour and no state of the cores changes. Registers of 32 bytes (valgrind knows
# none wider); what the switch decides comes on top.
set -u
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-$ROOT/build}
ROUNDS=400 BURST=32
rows=()

command -v valgrind >/dev/null || { echo "skip instructions valgrind is not installed"; exit 77; }
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
for kind in ${KINDS:-split packed}; do
	for size in 64 1500; do
		n=$(valgrind --tool=callgrind --callgrind-out-file="$dir/out" \
			--toggle-collect=forward "$B/tests/bench/switch_rings" $ROUNDS "$kind" \
			$size 32 2>&1 | awk -v n=$((ROUNDS * BURST)) '
				/Collected/ { printf "%.1f", $4 / n }')
		[ -n "$n" ] || { echo "instructions: valgrind counted nothing" >&2; exit 1; }
		printf '%-8s %5d B  %s instructions a packet\n' "$kind" $size "$n"
		rows+=("{\"name\":\"$kind-$size\",\"unit\":\"instructions\",\"value\":$n}")
	done
done
[ -z "${JSON:-}" ] || (IFS=,; echo "[${rows[*]}]") >"$JSON"
