#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.sh - makes a bare Debian 12 machine fit for `make check`, `make bench` and `make demo`.
#
#	setup.sh [--check]
#
# Installs packages and reserves hugepages, nothing else, and only what is missing: on a machine
# that has everything it does nothing in a fraction of a second. With --check it only says what
# is missing. Not being allowed hugepages is told but no error: tests that need them skip.

BUILD="gcc clang make pkg-config libc6-dev binutils libcunit1-dev libpciaccess-dev
libprotobuf-c-dev protobuf-c-compiler libjson-c-dev liburing-dev libseccomp-dev"
DPDK="dpdk dpdk-dev libdpdk-dev librte-net-virtio23 librte-net-vhost23 librte-net-tap23
librte-net-ring23 librte-net-af-packet23 librte-mempool-ring23"
TEST="runc pciutils strace procps util-linux mount iproute2 iputils-ping jq python3
musl-tools"
PAGES=${PODPCI_HUGEPAGES:-1024}		# of 2 MB
POOL=/sys/kernel/mm/hugepages/hugepages-2048kB

say() {
	echo "setup: $*"
}

missing_packages() {
	if ! command -v dpkg-query >/dev/null; then
		return
	fi
	# shellcheck disable=SC2086
	dpkg-query -W -f '${Package} ${db:Status-Status}\n' $BUILD $DPDK $TEST 2>/dev/null |
		awk -v want="$BUILD $DPDK $TEST" '
			$2 == "installed" { have[$1] = 1 }
			END {
				n = split(want, w)
				for (i = 1; i <= n; i++)
					if (!(w[i] in have))
						printf "%s ", w[i]
			}'
}

# $1: packages
install_packages() {
	say "installing" "$@"
	export DEBIAN_FRONTEND=noninteractive
	# shellcheck disable=SC2068
	apt-get -q -o Acquire::Retries=3 update >"$LOG" 2>&1 &&
		apt-get -q -y -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 \
			install --no-install-recommends $@ >>"$LOG" 2>&1 && return
	tail -n 20 "$LOG" | sed 's/^/setup: | /'
	say "installing packages failed"
	return 1
}

pages() {
	cat "$POOL/nr_hugepages" 2>/dev/null || echo 0
}

# Memory may be too fragmented or too small for all: what the kernel gives is used.
reserve_pages() {
	say "reserving $PAGES hugepages of 2 MB"
	if ! { echo "$PAGES" >"$POOL/nr_hugepages"; } 2>/dev/null; then
		say "hugepages cannot be reserved here ($POOL/nr_hugepages is not writable);" \
			"tests that need them will be skipped"
		return
	fi
	[ "$(pages)" -ge "$PAGES" ] && return
	sync
	{ echo 1 >/proc/sys/vm/compact_memory; } 2>/dev/null
	echo "$PAGES" >"$POOL/nr_hugepages"
	[ "$(pages)" -ge "$PAGES" ] ||
		say "the kernel gave $(pages) of $PAGES hugepages" \
			"(memory is short or fragmented); tests that need more will be skipped"
}

packages=$(missing_packages)
if ! command -v dpkg-query >/dev/null; then
	say "no dpkg here: install by your own means what these are on Debian 12:" \
		$BUILD $DPDK $TEST
fi
short=
[ "$(pages)" -ge "$PAGES" ] || short=1
[ -n "$packages$short" ] || exit 0

if [ "$1" = --check ]; then
	[ -n "$packages" ] && say "missing packages: $packages"
	[ -n "$short" ] && say "hugepages of 2 MB: $(pages), $PAGES wanted"
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	self=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
	[ -n "$packages" ] && say "missing packages: $packages"
	[ -n "$short" ] && say "hugepages of 2 MB: $(pages), $PAGES wanted"
	if sudo -n true 2>/dev/null; then
		say "asking sudo"
		exec sudo -n "$self" "$@"
	fi
	say "please run once: sudo $self"
	[ -z "$packages" ]
	exit
fi
LOG=$(mktemp) || exit 1
trap 'rm -f "$LOG"' EXIT
if [ -n "$packages" ]; then
	# shellcheck disable=SC2086
	install_packages $packages || exit 1
fi
[ -z "$short" ] || reserve_pages
say "done"
