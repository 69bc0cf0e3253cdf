#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# preload.sh - runs the programs of this folder on a simulated bus with two devices.
#
# No back-end is needed: the sockets lead nowhere and the links stay down.

ROOT=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-build}
case $B in /*) ;; *) B=$ROOT/$B ;; esac
T=$(mktemp -d /tmp/ps.XXXXXX) || exit 1
trap 'umount "$T/huge" 2>/dev/null; rm -rf "$T"' EXIT
mkdir "$T/huge"
mount -t hugetlbfs -o pagesize=2M none "$T/huge" 2>/dev/null && export SHIM_HUGE_DIR=$T/huge
failed=0

nets() {	# KEYS of each of the two devices
	NETS=(--net "socket=$T/none,wait=0,$1" --net "socket=$T/none2,wait=0,$2")
}

run() {	# OPTIONS... -- PROGRAM
	"$B/bin/podpci" run --lib "$B/lib/libpodpci.so" "${NETS[@]}" "$@" || failed=1
}

nets
for p in vfio fds faults signals hugepages guest; do
	[ -x "$B/tests/shim/$p" ] && run -- "$B/tests/shim/$p"
done
NETS=(--net "socket=$T/lent,wait=1000")
SHIM_SOCKET=$T/lent run -- "$B/tests/shim/lent"
NETS=(--net "socket=$T/refused,wait=1000" --net "socket=$T/none,wait=0,door=uio")
SHIM_SOCKET=$T/refused PODPCI_LOG=error run -- "$B/tests/shim/refused"
nets
mkdir "$T/ctl"
PODPCI=$B/bin/podpci SHIM_CTL=$T/ctl run --option "ctl=$T/ctl" -- "$B/tests/shim/plug"
NETS=(--net "socket=$T/page,wait=2000,host-notifier=on"
	--net "socket=$T/page.2,wait=2000,mode=transitional,host-notifier=on")
SHIM_SOCKET=$T/page run -- "$B/tests/shim/pages"
nets mode=transitional,door=uio door=sysfs
run -- "$B/tests/shim/doors"
nets
run --option coalesce=off --option pagemap=off -- "$B/tests/shim/options_off"
exit $failed
