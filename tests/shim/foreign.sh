#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# foreign.sh - programs of another libc under the library: musl's, and with "old" older glibcs.
#
# The older glibcs are a Debian that is fetched (make foreign): its headers and libc build the
# program, its loader and libraries run it.

cd "$(dirname "$0")/../.." || exit 1
B=${B:-build}
T=$(mktemp -d /tmp/pf.XXXXXX) || exit 1
trap 'umount "$T/huge" 2>/dev/null; rm -rf "$T"' EXIT
mkdir "$T/huge"
mount -t hugetlbfs -o pagesize=2M none "$T/huge" 2>/dev/null && export SHIM_HUGE_DIR=$T/huge
CFLAGS=(-O1 -std=gnu11 -I. -D_GNU_SOURCE -Wno-int-conversion)
failed=0

# run LABEL COMMAND...: the program's verdicts, each with the libc's name
run() {
	local label=$1 rc
	shift
	"$B/bin/podpci" run --lib "$B/lib/libpodpci.so" --net "socket=$T/none,wait=0" \
		--net "socket=$T/none2,wait=0" -- "$@" >"$T/out" 2>"$T/err"
	rc=$?
	sed -E "s/^(ok|not ok|skip) /&$label: /" "$T/out"
	[ $rc = 0 ] && return
	echo "not ok $label: status $rc of $*"
	tail -n 5 "$T/err" | sed 's/^/# /'
	failed=1
}

musl() {
	local p
	command -v musl-gcc >/dev/null || { echo "skip musl musl-tools is not installed"; return; }
	for p in vfio signals hugepages; do
		musl-gcc "${CFLAGS[@]}" -idirafter /usr/include -idirafter \
			"/usr/include/$(gcc -print-multiarch)" -o "$T/$p" "tests/shim/$p.c" ||
			{ echo "not ok musl: $p does not build"; failed=1; continue; }
		run musl "$T/$p"
	done
}

# debian SUITE MIRROR [APT-OPTION]: into $T/SUITE
debian() {
	mmdebstrap --variant=extract --include=libc6,libc6-dev,linux-libc-dev \
		--aptopt='Acquire::Check-Valid-Until "false"' "$1" "$T/$1" \
		"deb [trusted=yes] $2 $1 main" >"$T/fetch.log" 2>&1
}

# With and without -pthread: threads were a library of their own, and without it a device
# cannot be opened, but the program runs.
glibc() {	# SUITE MIRROR
	local root=$T/$1 lib=lib/x86_64-linux-gnu version ld
	debian "$1" "$2" || { echo "skip $1 $2 cannot be had"; return; }
	version=$(basename "$(echo "$root/$lib"/libc-2.*.so)" .so)
	version=${version#libc-}
	ld=$root/$lib/ld-$version.so
	mkdir -p "$root/lib64"
	ln -sf "$ld" "$root/lib64/ld-linux-x86-64.so.2"	# it was absolute
	for threads in "-Wl,--no-as-needed -lpthread" ""; do
		# shellcheck disable=SC2086
		gcc "${CFLAGS[@]}" --sysroot="$root" -B"$root/usr/$lib" -L"$root/$lib" \
			-fno-stack-protector -no-pie -Wl,--dynamic-linker="$ld" \
			-Wl,-rpath="$root/$lib" -o "$T/vfio-$1" tests/shim/vfio.c $threads ||
			{ echo "not ok glibc $version: does not build"; failed=1; return; }
		if [ -n "$threads" ]; then
			run "glibc $version" "$T/vfio-$1"
		else
			without_threads "$version" "$T/vfio-$1"
		fi
	done
}

# The program's other tests fail, for it has no device, and crash in the end.
without_threads() {	# VERSION PROGRAM
	local name="glibc $1: a program without threads starts, and is told what it lacks"
	(run quietly "$2" >/dev/null 2>&1)
	if grep -q 'preload libpthread.so.0 too' "$T/err" &&
	   grep -q '^ok names_exist_as_far_as_the_bus_goes' "$T/out"; then
		echo "ok $name"
	else
		echo "not ok $name"
		tail -n 5 "$T/err" | sed 's/^/# /'
		failed=1
	fi
}

if [ "$1" = old ]; then
	command -v mmdebstrap >/dev/null || { echo "skip old-glibc needs mmdebstrap"; exit 77; }
	glibc bullseye http://deb.debian.org/debian
	glibc jessie http://archive.debian.org/debian
else
	musl
fi
exit $failed
