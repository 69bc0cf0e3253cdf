#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# libc-syms.sh LIBRARY - the library names no libc, no version, and asks only for what
# pmd-shim/libc.syms lists; said and failed if not.

list=$(dirname "$0")/../../pmd-shim/libc.syms
bad=$(
	readelf -Wd "$1" | grep -E 'NEEDED|VERNEED'
	nm -D -u "$1" | awk -v list="$list" '
		BEGIN {
			while ((getline line <list) > 0)
				if (line !~ /^#/ && split(line, w, /[ \t]+/) >= 1 && w[1] != "")
					may[w[1]] = w[2] == "weak" ? "w" : "U"
		}
		{ type = $(NF - 1) == "v" ? "w" : $(NF - 1); name = $NF }
		name ~ /@/ || !(name in may) || may[name] != type {
			print "asks for " name " (" type ")"
		}'
)
[ -z "$bad" ] && exit 0
echo "$1: $bad" >&2
exit 1
