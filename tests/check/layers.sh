#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# layers.sh - fails on an include that climbs; the table is layers.txt.
#
# Project headers are spelled from the root in quotes, so each line shows its layer.

cd "$(dirname "$0")/../.." || exit 1
find include sim pmd-shim cni-plugin tests -name '*.[ch]' | sort | xargs \
	grep -n '^[ 	]*#[ 	]*include[ 	]*"' /dev/null | awk '
function dir(path) { sub("/[^/]*$", "", path); return path }
function fail(why) { print where ": " why; bad++ }

# The row for a folder: its own or, for tests/unit and the like, that of a folder above.
function row(d) {
	while (!(d in may) && index(d, "/"))
		sub("/[^/]*$", "", d)
	return d
}

BEGIN {
	while ((getline line < "tests/check/layers.txt") > 0) {
		if (line ~ /^#/ || line == "")
			continue
		n = split(line, f)
		may[f[1]] = " include"
		for (i = 2; i <= n; i++)
			may[f[1]] = may[f[1]] " " f[i]
		may[f[1]] = may[f[1]] " "
	}
}

{
	split($0, part, "\"")
	target = part[2]
	split($0, at, ":")
	from = at[1]
	where = from ":" at[2]
	total++
	if (!index(target, "/")) {
		fail("\"" target "\" is not spelled from the root")
		next
	}
	if ((getline line < target) < 0) {
		fail("\"" target "\": there is no such file")
		next
	}
	close(target)
	me = row(dir(from))
	to = dir(target)
	if (!(me in may)) {
		fail(me " is not in tests/check/layers.txt")
		next
	}
	if (row(to) == me)
		next
	for (t = to; ; sub("/[^/]*$", "", t)) {
		if (index(may[me], " " t " "))
			next
		if (!index(t, "/"))
			break
	}
	fail(me " may not include " to)
}

END {
	if (bad)
		print "not ok layers: " bad " of " total " includes climb"
	else
		print "ok layers (" total " includes)"
	exit bad > 0
}'
