# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# lib_guest.sh - a small virtual machine: Debian's cloud kernel (deploy/setup.sh fetches it),
# busybox, and a console that carries out commands. Source it behind lib.sh.

GUEST_CACHE=${PODPCI_GUEST:-/var/cache/podpci/guest}
GUEST_MODULES="virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci failover
net_failover virtio_net"

guest_possible() {	# or says why not
	command -v qemu-system-x86_64 >/dev/null || { echo "no qemu-system-x86_64"; return 1; }
	[ -e "$GUEST_CACHE/vmlinuz" ] || { echo "no $GUEST_CACHE/vmlinuz"; return 1; }
	command -v busybox >/dev/null || { echo "no busybox"; return 1; }
}

guest_disk() {	# builds $T/initrd
	local d=$T/guest m
	mkdir -p "$d"/{bin,proc,sys,dev,modules}
	cp "$(command -v busybox)" "$d/bin/"
	for m in $GUEST_MODULES; do
		cp "$GUEST_CACHE/$m.ko" "$d/modules/" || return
	done
	cat >"$d/init" <<-'END'
		#!/bin/busybox sh
		/bin/busybox --install -s /bin
		mount -t proc none /proc
		mount -t sysfs none /sys
		mount -t devtmpfs none /dev
		for m in $(sed 's/.*modules=\([^ ]*\).*/\1/; s/,/ /g' /proc/cmdline); do
			insmod /modules/$m.ko
		done
		ip link set lo up
		ip link set eth0 up
		ip addr add $(sed 's/.*address=\([^ ]*\).*/\1/' /proc/cmdline) dev eth0
		for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
			[ "$(cat /sys/class/net/eth0/carrier)" = 1 ] && break
			sleep 0.2
		done
		echo "guest is up: $(cat /sys/class/net/eth0/address)"
		while read -r line; do
			sh -c "$line" 2>&1
			echo "guest status $?"
		done
		poweroff -f
	END
	chmod +x "$d/init"
	(cd "$d" && find . | busybox cpio -o -H newc 2>/dev/null | gzip -1) >"$T/initrd"
}

# guest SOCKET MAC ADDRESS/LEN [DEVICE-OPTIONS]: starts it on a vhost-user socket
guest() {
	mark vm
	start vm qemu-system-x86_64 -accel tcg -cpu max -m 160 -nodefaults -no-reboot -nographic \
		-kernel "$GUEST_CACHE/vmlinuz" -initrd "$T/initrd" \
		-append "console=ttyS0 quiet address=$3 modules=${GUEST_MODULES//[[:space:]]/,}" \
		-serial stdio -object memory-backend-memfd,id=mem,size=160M,share=on \
		-numa node,memdev=mem -chardev "socket,id=sock,path=$1" \
		-netdev vhost-user,id=net,chardev=sock \
		-device "virtio-net-pci,netdev=net,vectors=0,romfile=,mac=$2${4:+,$4}"
	until_true 60 log_has vm "guest is up: $2" && return
	log vm | tail -n 20
	return 1
}

# guest_do COMMAND: in it; its output and status
guest_do() {
	local rc
	mark vm
	say vm "$1"
	until_true 20 log_has vm '^guest status [0-9]' || { log vm; return 1; }
	log vm | tr -d '\r' | grep -v '^guest status'
	rc=$(log vm | tr -d '\r' | sed -n 's/^guest status //p' | tail -n 1)
	return "$rc"
}
