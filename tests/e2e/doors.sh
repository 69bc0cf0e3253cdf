#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# doors.sh - a driver that is not DPDK, and DPDK through UIO: each door leads to the device.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

RAW=$B/tests/e2e/rawdrv
BDF=0000:00:04.0
MAC=52:54:00:12:34:56

# raw TRANSPORT DOOR [UIO-DEVICE]: frames come back whole through a driver of a few hundred lines
raw() {
	NET=("socket=$T/s,mode=$1,packed=off,door=$2,mac=$MAC")
	pod taskset -c 1 "$RAW" $BDF "$1" 2000 "$T/huge/raw" ${3:+"$3"} >"$T/raw.log" \
		2>"$T/raw.err" || { cat "$T/raw.log" "$T/raw.err"; return 1; }
	[ "$(json mac "$T/raw.log")" = $MAC ] &&
		[ $(($(json phys "$T/raw.log") >> 44)) = 0 ] && return
	cat "$T/raw.log"
	return 1
}

direct() {
	NET=("socket=$T/s,mode=legacy,packed=off,mac=$MAC")
	pod taskset -c 1 "$RAW" $BDF direct 2000 "$T/huge/raw" >"$T/raw.log" &&
		[ $(($(json phys "$T/raw.log") >> 45)) = 1 ] && return
	cat "$T/raw.log"
	return 1
}

raw_by_interrupt() {
	raw "$1" "$2" /dev/uio0 && [ "$(json interrupts "$T/raw.log")" -gt 100 ] && return
	cat "$T/raw.log"
	return 1
}

dpdk() {	# DOOR NET-KEYS FRAMES-OPTIONS...
	NET=("socket=$T/s,door=$1,$2")
	shift 2
	frames --count 100000 --sizes 64,1514 "$@"
}

# It asks for its pages' frame numbers first and moves the pages then.
legacy_memory() {	# DOOR NET-KEYS
	EAL=(--legacy-mem -m 256)
	dpdk "$@"
	local rc=$?
	EAL=()
	return $rc
}

backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
check "a raw driver: legacy, in and out" raw legacy sysfs
check "a raw driver: modern, resource4 mapped" raw modern sysfs
check "0.6 direct calls: a legacy ring at 2^45 by a 64-bit frame number" direct
check "a raw driver reaches a device that hangs on vfio-pci" raw modern vfio
check "a raw driver waits for interrupts on /dev/uio0: legacy" raw_by_interrupt legacy uio
check "a raw driver waits for interrupts on /dev/uio0: modern" raw_by_interrupt modern igb_uio
while read -r door keys; do
	check "DPDK through $door, $keys" dpdk "$door" "$keys"
done <<-END
	uio	mode=modern
	uio	mode=legacy,packed=off
	igb_uio	mode=transitional,packed=off
	igb_uio	mode=modern,packed=on
END
check "DPDK through uio, legacy memory" legacy_memory uio mode=modern
check "DPDK through uio, legacy memory, a legacy device" legacy_memory uio mode=legacy,packed=off
finish
