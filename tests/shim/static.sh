#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# static.sh - what the library shows and needs, and that its inside never calls its own overrides.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
lib=$B/lib/libpodpci.so
failed=0

verdict() {	# NAME FINDINGS
	if [ -z "$2" ]; then
		echo "ok $1"
	else
		echo "not ok $1"
		echo "$2" | sed 's/^/# /'
		failed=1
	fi
}

[ -e "$lib" ] || { echo "skip static $lib is not built"; exit 77; }
names=$(sed -n '/global:/,/local:/p' pmd-shim/preload.map | sed '1d;$d' | tr -d ' \t\n' |
	tr ';' '\n')

shown=$(nm -D --defined-only "$lib" | awk '{ print $3 }' | sort)
verdict 'the library shows exactly what the map names' \
	"$(echo "$names" | sort | comm -3 - /dev/fd/3 3<<-END
	$shown
	END
	)"

verdict 'it needs no library, no symbol version, and of any libc only what libc.syms lists' \
	"$(tests/check/libc-syms.sh "$lib" 2>&1)"

# What moved from libpthread and libdl into libc.so.6 has a version of 2.34, and was not in libc
# before; what has no version up to 2.17 is newer than the oldest libc we load in.
verdict 'what it cannot do without has been in glibc since 2.17' "$(
	libc=$(ldconfig -p | awk '/libc\.so\.6 .*x86-64/ { print $NF; exit }')
	[ -n "$libc" ] || exit 0
	awk '!/^#/ && NF == 1 { print $1 }' pmd-shim/libc.syms | while read -r name; do
		objdump -T "$libc" | awk -v name="$name" '
			$NF == name {
				v = $(NF - 1)
				gsub(/[()]/, "", v)
				sub(/GLIBC_2\./, "", v)
				split(v, part, ".")
				if (part[1] <= 17) old = 1
				if (v == "34") moved = 1
			}
			END { if (!old || moved) print name }'
	done)"

verdict 'its symbols bind at once, its tables are read-only' \
	"$(readelf -Wdl "$lib" | grep -q 'BIND_NOW' || echo 'no BIND_NOW'
	   readelf -Wl "$lib" | grep -q GNU_RELRO || echo 'no RELRO'
	   readelf -Wl "$lib" | grep -E 'GNU_STACK.* RWE')"

# A call by name would meet our own override, with its shields and look-ups. guard_install() is
# for daemons and never called in the library.
verdict 'nothing inside calls an overridden function' "$(
	for o in $(find "$B/obj/pmd-shim" "$B/obj/sim" -name '*.o' ! -path '*/sim/backend/*' \
		! -path '*/sim/ctl/*' ! -path '*/sim/app/*' ! -name preload.o); do
		nm -u "$o" | awk '{ print $2 }' | grep -Fx "$names" | sed "s,^,$o: ,"
	done | grep -v 'core/guard.o: sigaction$')"
exit $failed
