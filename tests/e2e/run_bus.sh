#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_bus.sh - what the usual programs say of the bus: lspci, libpciaccess, dpdk-devbind.py show
# the simulated devices, only them, and print nothing on stderr.
#
# Golden texts are in tests/golden; UPDATE=1 writes them anew.

. "$(dirname "$0")/../check/tap.sh"
[ -x "$PODPCI" ] || skip_all "$PODPCI is not built"
need lspci dpdk-devbind.py
GOLDEN=$ROOT/tests/golden

in_pod() {	# NET... -- COMMAND...: must succeed without a word on stderr
	args=
	while [ "$1" != -- ]; do
		args="$args --net socket=$T/$1"
		shift
	done
	shift
	# shellcheck disable=SC2086
	run "$PODPCI" run $args -- "$@"
	ran_clean
}

golden() {	# FILE: OUT against it
	[ -z "$UPDATE" ] || echo "$OUT" >"$GOLDEN/$1"
	echo "$OUT" | diff -u "$GOLDEN/$1" -
}

# Numbers instead of names: those depend on the age of pci.ids.
lspci_golden() {	# MODE
	in_pod "a.sock,server,mode=$1" -- lspci -nvvvxxx && golden "lspci-$1.txt"
}

lspci_plain() {	# OPTIONS: no warning, and both devices
	in_pod a.sock,server b.sock,server,mode=transitional,bdf=3a:1f.7 -- lspci -D "$1" || return
	has "$OUT" '0000:00:04.0|00\]-*04.0' && has "$OUT" '0000:3a:1f.7|3a\]-*1f.7'
}

only_ours() {
	in_pod a.sock,server b.sock,server -- lspci -Dn || return
	same devices "$OUT" "0000:00:04.0 0200: 1af4:1041 (rev 01)
0000:00:05.0 0200: 1af4:1041 (rev 01)"
}

driver_in_use() {
	in_pod a.sock,server -- lspci -k && has "$OUT" 'Kernel driver in use: vfio-pci'
}

devbind() {
	in_pod a.sock,server b.sock,server,mode=legacy -- dpdk-devbind.py --status || return
	has "$OUT" "^0000:00:04.0 'Virtio 1.0 network device 1041' drv=vfio-pci unused=" &&
		has "$OUT" "^0000:00:05.0 'Virtio network device 1000' drv=vfio-pci unused=" &&
		has "$OUT" '^Network devices using DPDK-compatible driver$' &&
		same devices "$(echo "$OUT" | grep -c ^0000:)" 2
}

pciaccess() {
	[ -x "$B/tests/e2e/pciaccess" ] || { echo "not built"; return 1; }
	in_pod a.sock,server b.sock,server,mode=legacy -- "$B/tests/e2e/pciaccess" || return
	golden pciaccess.txt
}

# All 32: the groups and links of each must resolve.
many() {
	nets=
	for i in $(seq 32); do
		nets="$nets s$i.sock,server"
	done
	# shellcheck disable=SC2086,SC2016
	in_pod $nets -- sh -c 'cd /sys/bus/pci/devices && for d in *; do
		echo "$(basename $(readlink $d/iommu_group)) $(ls $d/iommu_group/devices)" \
			"$(readlink -f $d/driver/$d/config) $(stat -c %s $d/config)"
	done' || return
	same lines "$(echo "$OUT" | wc -l)" 32 &&
		has "$OUT" '^1 0000:00:04.0 /sys/bus/pci/devices/0000:00:04.0/config 256$' &&
		has "$OUT" '^32 0000:01:03.0 /sys/bus/pci/devices/0000:01:03.0/config 256$'
}

# The tree by itself, read by lspci without any namespace.
rendered() {
	run "$PODPCI" sysfs --net "socket=$T/a.sock,server,mac=52:54:00:00:00:01" "$T/tree"
	ran_clean && has "$OUT" "^$T/tree/bus/pci /sys/bus/pci$" &&
		has "$OUT" "^$T/tree/module /sys/module$" &&
		has "$OUT" "^LD_PRELOAD=/.*/libpodpci.so$" &&
		has "$OUT" "^PODPCI_CONFIG=/sys/bus/pci/podpci.conf$" || return
	run lspci -A linux-sysfs -O "sysfs.path=$T/tree/bus/pci" -nvvvxxx
	OUT=$(echo "$OUT" | grep -v '^lspci: Unable to load libkmod')
	UPDATE='' golden lspci-modern.txt
}

listing() {	# each name, type, mode, and the text of small files
	(cd "$T/tree" && find . -printf '%p %M %l\n' | sed "s/$(uname -r)/RELEASE/" | sort &&
		find . -path '*/0000:00:04.0/*' -type f ! -name config ! -name 'local_cpu*' |
		sort | while read -r file; do echo "$file: $(cat "$file")"; done)
}

tree() {
	OUT=$(listing)
	golden sysfs-tree.txt
}

json() {
	run "$PODPCI" sysfs -j --net "socket=$T/a.sock,server" "$T/tree \"2"
	same status "$RC" 0 && echo "$OUT" | python3 -c 'import json, sys
plan = json.load(sys.stdin)
assert any(m["target"] == "/sys/bus/pci" and m["source"].endswith("/tree \"2/bus/pci")
	   for m in plan["mounts"]), plan
assert plan["env"]["PODPCI_CONFIG"] == "/sys/bus/pci/podpci.conf", plan'
}

not_empty() {
	mkdir -p "$T/full/bus"
	run "$PODPCI" sysfs --net "socket=$T/a.sock" "$T/full"
	same status "$RC" 125 && has "$ERR" '^podpci: mkdir bus: File exists$'
}

for mode in modern transitional legacy; do
	check "lspci -vvvxxx of a $mode device" lspci_golden $mode
done
for option in -vvv -k -vvxxx -t -tv -mm -vmmk -nn; do
	check "lspci $option without a warning" lspci_plain $option
done
check "lspci shows the simulated devices and no other" only_ours
check "lspci -k names vfio-pci" driver_in_use
check "dpdk-devbind.py --status lists the devices as bound" devbind
check "libpciaccess sees the devices and their BARs" pciaccess
check "32 devices, each in its group" many
check "podpci sysfs renders what lspci reads" rendered
check "the rendered tree" tree
check "podpci sysfs -j prints JSON" json
check "podpci sysfs refuses a directory in use" not_empty
finish
