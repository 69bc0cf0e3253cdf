#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# tidy.sh - the house style that a machine can see.

cd "$(dirname "$0")/../.." || exit 1
find include sim pmd-shim cni-plugin tests deploy Makefile -name '*.[ch]' -o -name '*.sh' \
	-o -name Makefile -o -name '*.map' | sort | xargs awk '
function fail(line, why) { print FILENAME ":" line ": " why; bad++ }
function columns(text,    n, i) {
	if (!index(text, "\t"))
		return length(text)
	n = 0
	for (i = 1; i <= length(text); i++)
		n = substr(text, i, 1) == "\t" ? n + 8 - n % 8 : n + 1
	return n
}
function ended() {
	if (lines > 700)
		print "warning: " file ": " lines " lines, 600 is the aim"
}

FNR == 1 {
	ended()
	file = FILENAME
	c = file ~ /\.[ch]$/
	spdx = open = 0
}
{ lines = FNR; total++ }
FNR <= 2 && /SPDX-License-Identifier: Apache-2\.0/ { spdx = 1 }
FNR == 2 && !spdx { fail(1, "no SPDX line on top") }
length > 60 && columns($0) > 100 { fail(FNR, "longer than 100 columns") }
/[ \t]$/ { fail(FNR, "blanks at the end") }
/\r/ { fail(FNR, "carriage return") }
/(^|[^A-Z])(FIXME|TODO)([^A-Z]|$)/ && file !~ /tidy\.sh$/ { fail(FNR, "unfinished") }
c && /^ +[^ *]/ { fail(FNR, "indented by spaces") }
c && /^\{/ { open = FNR }
c && /^\}/ && open {
	if (FNR - open - 1 > 70)
		fail(open, "function of " FNR - open - 1 " lines, 70 is the most")
	open = 0
}

END {
	ended()
	print (bad ? "not ok tidy: " bad " in " : "ok tidy (") total " lines" (bad ? "" : ")")
	exit bad > 0
}'
