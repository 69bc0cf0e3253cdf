#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# cover.sh - line coverage of sim/ and pmd-shim/ by the unit and wire tests and by programs under
# the preload library: a line a file, the least covered first, and the sum of each folder.

cd "$(dirname "$0")/../.." || exit 1
C=${B:-build}/cover
${MAKE:-make} --no-print-directory -s -k B="$C" CFLAGS='-O0 -g --coverage' \
	LDFLAGS=--coverage all programs shim-programs
find "$C" -name '*.gcda' -delete
for t in $(${MAKE:-make} --no-print-directory -s B="$C" CFLAGS='-O0 -g --coverage' \
	LDFLAGS=--coverage list-programs); do
	[ -x "$t" ] && timeout 120 "$t" >/dev/null 2>&1 </dev/null
done
B=$C timeout 240 tests/shim/preload.sh >/dev/null 2>&1
find "$C/obj/sim" "$C/obj/pmd-shim" -name '*.gcda' -exec gcov -n {} + 2>/dev/null |
awk '
/^File / { file = substr($2, 2, length($2) - 2); next }
/^Lines executed:/ && file ~ /^(sim|pmd-shim)\/.*\.c$/ {
	split($0, part, /[:% ]+/)
	lines = part[length(part)]
	if (!(file in total) || part[3] > rate[file]) {
		rate[file] = part[3]
		total[file] = lines
	}
	file = ""
}
END {
	for (f in total) {
		folder = f
		sub("/[^/]*$", "", folder)
		hit = total[f] * rate[f] / 100
		sum[folder] += hit
		all[folder] += total[f]
		sum["total"] += hit
		all["total"] += total[f]
		printf "1 %6.2f%% of %5d  %s\n", rate[f], total[f], f
	}
	for (folder in all)
		printf "%d %6.2f%% of %5d  %s\n", folder == "total" ? 3 : 2,
			100 * sum[folder] / all[folder], all[folder], folder
}' | sort -k1,1n -k2,2n | cut -d' ' -f2-
