#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# hotplug.sh - devices plugged into a running, unmodified DPDK application by PCI address, and out
# again; other processes of the pod see the same.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
command -v dpdk-proc-info >/dev/null || skip_all "dpdk-proc-info is not installed"

dev() {
	"$PODPCI" dev -p "${PID[pod]}" "$@"
}

see() {	# FILE: in the pod's /sys
	[ -e "/proc/${PID[pod]}/root/sys/$1" ]
}

all_shown() {
	see bus/pci/devices/0000:00:05.0/config &&
		see bus/pci/devices/0000:00:05.0/iommu_group/type &&
		see bus/pci/drivers/vfio-pci/0000:00:05.0/resource
}

none_shown() {
	local sys=/proc/${PID[pod]}/root/sys
	[ -z "$(find "$sys/bus/pci" "$sys/kernel/iommu_groups" -name '*05.0*')" ]
}

# second COMMAND...: runs beside the application, on the same bus
second() {
	nsenter -t "${PID[pod]}" -m env LD_PRELOAD="$B/lib/libpodpci.so" \
		PODPCI_CONFIG=/sys/bus/pci/podpci.conf timeout -k 2 20 "$@"
}

plug() {
	dev add net9 socket "$T/s2" mac 52:54:00:00:00:09 >"$T/out" 2>&1
	cat "$T/out"
	! grep note "$T/out" && all_shown
}

attach() {
	mark pod
	say pod "port attach 0000:00:05.0"
	until_true 5 log_has pod '^Port 1 is attached' || { log pod; return 1; }
	say pod "port start 1"
	until_true 5 log_has pod 'Port 1: 52:54:00:00:00:09' || { log pod; return 1; }
}

received() {
	mark pod
	say pod "show port stats 1"
	until_true 2 log_has pod 'RX-packets:' && log_has pod 'RX-packets: [1-9]'
}

flow() {	# the back-end sends each frame back, and from port 0 they come here
	say pod "start tx_first"
	until_true 5 received
	local rc=$?
	say pod "stop"
	[ $rc = 0 ] || log pod | tail
	return $rc
}

stop_port() {
	mark pod
	say pod "port stop 1"
	until_true 5 log_has pod '^Done' || { log pod; return 1; }
}

detach() {
	mark pod
	say pod "port detach 1"
	until_true 5 log_has pod 'Now total ports is 1' || { log pod; return 1; }
}

pull() {
	dev del net9 && none_shown && ! dev list | grep net9
}

# Asked to let go, the driver has its files until it does.
pull_from_driver() {
	dev del net9 && all_shown && dev list | grep 'net9 .*state leaving' && detach &&
		until_true 2 none_shown && ! dev list | grep net9
}

# Its driver finds out by reading ones. What it does then is between it and testpmd.
pull_out() {
	dev del net9 force on && ! dev list | grep net9 && none_shown &&
		lives_on
}

lives_on() {
	mark pod
	say pod "show port stats 0"
	until_true 5 log_has pod 'TX-packets: [1-9]'
}

seen_by_a_secondary() {
	second dpdk-proc-info --file-prefix pod -- --show-port >"$T/info" 2>&1
	grep 'driver net_virtio device 0000:00:05.0' "$T/info" && grep 'Link up' "$T/info" && return
	cat "$T/info"
	return 1
}

killed_and_started_anew() {
	nsenter -t "${PID[pod]}" -m sleep 60 &
	local keeper=$! rc
	dev add net9 socket "$T/s2" mac 52:54:00:00:00:09 || return
	stop pod KILL
	PID[pod]=$keeper
	all_shown && printf 'show port info 1\nquit\n' | second dpdk-testpmd --lcores '0@0,1@0' \
		--in-memory --file-prefix again -- -i --total-num-mbufs=2048 \
		>"$T/again" 2>&1
	rc=$?
	kill $keeper
	grep 'MAC address: 52:54:00:00:00:09' "$T/again" && return $rc
	cat "$T/again"
	return 1
}

# Where the process may not write, the device is there and no driver that looks in /sys finds it.
read_only() {
	local rc
	nsenter -t "${PID[pod]}" -m mount -o remount,bind,ro /sys/bus/pci &&
		dev add net9 socket "$T/s2" >"$T/out" 2>&1
	rc=$?
	nsenter -t "${PID[pod]}" -m mount -o remount,bind,rw /sys/bus/pci
	cat "$T/out"
	[ $rc = 0 ] && grep 'net9 .*shown off' "$T/out" &&
		grep 'note: the process may not write' "$T/out" && none_shown && dev del net9
}

backend be "iface=$T/s" "iface=$T/s2" || skip_all "the back-end does not start"
NET=("socket=$T/s,mac=52:54:00:00:00:01")
start pod pod stdbuf -oL dpdk-testpmd --lcores '0@1,1@1' --file-prefix pod -- -i \
	--total-num-mbufs=8192 --disable-link-check --forward-mode=io
until_true 20 log_has pod 'testpmd>' || skip_all "testpmd does not start"
for time in first second; do
	check "$time time: a device is plugged in, and its directory is there" plug
	check "$time time: DPDK attaches it by its address" attach
	check "$time time: packets flow" flow
	[ $time = second ] || check "dpdk-proc-info, started later, sees it" seen_by_a_secondary
	check "$time time: the port is stopped" stop_port
	[ $time = second ] || check "$time time: DPDK detaches it" detach
	[ $time = second ] || check "$time time: it is pulled, and its directory gone" pull
done
check "a driver that is asked lets go, and then the directory goes" pull_from_driver
check "no directory where /sys cannot be written, and that is said" read_only
check "one that is pulled out goes at once" eval "plug && attach && pull_out"
check "one that outlives its process is there for the next" killed_and_started_anew
finish
