#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# setup.sh - makes a bare Debian 12 machine fit for `make check`, `make bench` and `make demo`.
#
#	setup.sh [--check] [--bench] [--engines]
#
# With --bench also the peers `make bench` measures beside, and valgrind to count instructions.
# With --engines also for `make engines`: the container engines, Open vSwitch with DPDK, OVN, and
# beside the distribution's containerd a newer one, which only the tests use (CDI begins there).
#
# Installs packages and reserves hugepages, nothing else, and only what is missing: on a machine
# that has everything it does nothing in a fraction of a second. With --check it only says what
# is missing. Not being allowed hugepages is told but no error: tests that need them skip.

BUILD="gcc clang make pkg-config libc6-dev binutils libcunit1-dev libpciaccess-dev
libprotobuf-c-dev protobuf-c-compiler libjson-c-dev liburing-dev libseccomp-dev"
DPDK="dpdk dpdk-dev libdpdk-dev librte-net-virtio23 librte-net-vhost23 librte-net-tap23
librte-net-ring23 librte-net-af-packet23 librte-mempool-ring23"
TEST="runc pciutils strace procps util-linux mount iproute2 iputils-ping jq curl python3
musl-tools qemu-system-x86 busybox-static"
ENGINES="crun podman containerd docker.io containernetworking-plugins python3-grpcio
python3-protobuf python3-yaml protobuf-compiler busybox-static openvswitch-switch-dpdk ovn-central
ovn-host debhelper man-db groff"
BENCH="openvswitch-switch-dpdk librte-net-memif23 valgrind"
NEWER=/opt/podpci-engines/containerd	# as dpkg -x unpacks it
CHECK= NEED_NEWER=
for arg; do
	case $arg in
	--check)	CHECK=1 ;;
	--bench)	TEST="$TEST $BENCH" ;;
	--engines)	TEST="$TEST $ENGINES" NEED_NEWER=1 ;;
	*)		echo "usage: setup.sh [--check] [--bench] [--engines]" >&2; exit 2 ;;
	esac
done
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

newer_missing() {
	[ -n "$NEED_NEWER" ] && [ ! -x "$NEWER/usr/bin/containerd" ]
}

# From the next release of the distribution, without a trace in apt's own configuration. Not
# having it is told but no error: what needs it skips.
get_newer() {
	say "fetching a containerd with CDI to $NEWER"
	dir=$(mktemp -d) || return
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
		"http://deb.debian.org/debian trixie main" >"$dir/list"
	set -- -q -o Dir::Etc::SourceList="$dir/list" -o Dir::Etc::SourceParts=/dev/null \
		-o Dir::State::Lists="$dir/lists" -o Dir::Cache="$dir" \
		-o APT::Sandbox::User=root -o Acquire::Retries=3
	if (apt-get "$@" update && cd "$dir" && apt-get "$@" download containerd &&
			dpkg -x containerd_*.deb "$dir/root" && mkdir -p "${NEWER%/*}" &&
			rm -rf "$NEWER" && cp -a "$dir/root" "$NEWER") >"$LOG" 2>&1; then
		rm -rf "$dir"
		return
	fi
	tail -n 5 "$LOG" | sed 's/^/setup: | /'
	say "it cannot be had; the distribution's is used and what needs CDI will be skipped"
	rm -rf "$dir"
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

# A kernel for the virtual machine of the end-to-end tests: unpacked, never installed.
GUEST=${PODPCI_GUEST:-/var/cache/podpci/guest}
guest_missing() {
	command -v apt-get >/dev/null && [ ! -e "$GUEST/vmlinuz" ]
}

get_guest() {
	say "fetching a kernel for virtual machines into $GUEST"
	dir=$(mktemp -d) || return
	(
		cd "$dir" || exit
		package=$(apt-cache depends linux-image-cloud-amd64 |
			sed -n 's/.*Depends: \(linux-image-.*\)/\1/p' | head -n 1)
		apt-get -q download "$package" && dpkg -x linux-image-*.deb x &&
			mkdir -p "$GUEST" &&
			for m in virtio virtio_ring virtio_pci_modern_dev virtio_pci_legacy_dev \
				virtio_pci failover net_failover virtio_net; do
				find x/lib/modules -name "$m.ko" -exec cp {} "$GUEST/" \;
			done && cp x/boot/vmlinuz-* "$GUEST/vmlinuz"
	) >"$LOG" 2>&1 || {
		tail -n 5 "$LOG" | sed 's/^/setup: | /'
		say "no kernel could be had: tests with a virtual machine will be skipped"
	}
	rm -rf "$dir"
}

packages=$(missing_packages)
if ! command -v dpkg-query >/dev/null; then
	say "no dpkg here: install by your own means what these are on Debian 12:" \
		$BUILD $DPDK $TEST
fi
short=
[ "$(pages)" -ge "$PAGES" ] || short=1
newer_missing && newer=1 || newer=
guest_missing && guest=1 || guest=
[ -n "$packages$short$newer$guest" ] || exit 0

if [ -n "$CHECK" ]; then
	[ -n "$packages" ] && say "missing packages: $packages"
	[ -n "$newer" ] && say "missing: a containerd with CDI in $NEWER"
	[ -n "$short" ] && say "hugepages of 2 MB: $(pages), $PAGES wanted"
	[ -n "$guest" ] && say "missing: a kernel for virtual machines in $GUEST"
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
[ -z "$newer" ] || get_newer
[ -z "$guest" ] || get_guest
[ -z "$short" ] || reserve_pages
say "done"
