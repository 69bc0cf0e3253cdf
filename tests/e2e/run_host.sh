#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_host.sh - what podpci run leaves alone: the host's view, its mounts, the other entries of
# the directories it covers; and machines that lack some of those directories.

. "$(dirname "$0")/../check/tap.sh"
[ -x "$PODPCI" ] || skip_all "$PODPCI is not built"
[ "$(id -u)" = 0 ] || skip_all "needs root"
need unshare mount
NET="--net socket=$T/a.sock,server"

snapshot() {
	cat /proc/self/mountinfo
	ls -la /sys/bus/pci/devices/ /sys/module/ /sys/kernel/ | grep -v '^[dt].* \.'
}

host_untouched() {
	before=$(snapshot | md5sum)
	# shellcheck disable=SC2086
	"$PODPCI" run $NET -- true || return
	same "host view" "$(snapshot | md5sum)" "$before"
}

entries_kept() {
	ls /sys/module >"$T/modules"
	# shellcheck disable=SC2086
	"$PODPCI" run $NET -- ls -L /sys/module >"$T/inside" || return
	sort -u "$T/modules" - <<-END >"$T/want"
		vfio
		vfio_iommu_type1
		vfio_pci
	END
	sort -u "$T/inside" | diff "$T/want" -
}

stage_gone() {
	# shellcheck disable=SC2086
	run "$PODPCI" run $NET -- sh -c "ls -d $T; cat /proc/self/mounts"
	has "$OUT" "^$T$" && has "$OUT" '^podpci /sys/bus/pci tmpfs ' &&
		has_not "$OUT" '^podpci /tmp '
}

# in_world SETUP: podpci run in a copy of the mount table changed by SETUP
in_world() {
	# shellcheck disable=SC2086
	run unshare -m sh -c "$1
		exec \"\$@\"" - "$PODPCI" run $NET -- sh -c 'ls -d /sys/kernel/mm/hugepages
		ls /sys/bus/pci/devices /sys/kernel/iommu_groups'
	ran_clean && same stdout "$OUT" "/sys/kernel/mm/hugepages
/sys/bus/pci/devices:
0000:00:04.0

/sys/kernel/iommu_groups:
1"
}

no_iommu_groups='mkdir -p $T/mm && mount --bind /sys/kernel/mm $T/mm &&
	mount -t tmpfs x /sys/kernel && mkdir /sys/kernel/mm &&
	mount --bind $T/mm /sys/kernel/mm || exit 9'
no_pci='mount -t tmpfs x /sys/bus && mkdir /sys/bus/cpu || exit 9'

hugetlbfs() {	# $1: how many the command should see, when $2 was done first
	# shellcheck disable=SC2086,SC2016
	run unshare -m sh -c "$2
		exec \"\$@\"" - "$PODPCI" run $NET -- sh -c \
		'awk "\$3 == \"hugetlbfs\" { print \$2, \$4 }" /proc/mounts'
	ran_clean && same mounts "$(echo "$OUT" | grep -c .)" "$1" &&
		has "$OUT" 'mode=1777'
}
none_mounted='grep " hugetlbfs " /proc/mounts | while read -r x m x; do umount $m; done'
one_mounted="$none_mounted; mkdir -p \$T/huge; mount -t hugetlbfs -o mode=1777 x \$T/huge"

# The mounts made there would reach the host: "/" cannot be made private.
chroot_told() {
	cp "$PODPCI" "$LIB" "$T" || return	# the build may lie outside the chroot
	# shellcheck disable=SC2016
	run unshare -m sh -c 'mkdir "$T/root" && cd "$T/root" || exit 1
		mkdir usr proc sys tmp
		for dir in usr proc sys tmp; do mount --rbind /$dir $dir; done
		ln -s usr/bin usr/lib usr/lib64 .
		exec chroot . "$@"' - "$T/podpci" run --lib "$T/libpodpci.so" \
		--net socket=/tmp/x -- true
	same status "$RC" 125 && has "$ERR" '^podpci: / is not a mount point \(a chroot'
}

export T
check "the host's devices and mounts stay as they were" host_untouched
check "the other modules stay visible" entries_kept
check "the stage is taken away again" stage_gone
check "a kernel without iommu_groups is no obstacle" in_world "$no_iommu_groups"
check "a kernel without PCI is no obstacle" in_world "$no_pci"
check "root without a hugetlbfs gets one" hugetlbfs 1 "$none_mounted"
check "a plain chroot is refused" chroot_told
check "a hugetlbfs that is there is left alone" hugetlbfs 1 "$one_mounted"
finish
