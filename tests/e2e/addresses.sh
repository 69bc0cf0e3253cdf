#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# addresses.sh - memory above 2^44, DPDK linked into its program, and memory that comes later.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

HIGH=0x200000000000	# 2^45; a legacy ring's 32-bit frame number ends at 2^44

high() {	# NET-KEYS
	NET=("socket=$T/s$1")
	EAL=(--base-virtaddr $HIGH)
	frames --count 60000
	local rc=$?
	EAL=()
	return $rc
}

legacy_refuses() {
	high ,mode=legacy,packed=off >"$T/high.log" 2>&1
	local rc=$?
	tail -n 5 "$T/high.log"
	[ $rc -gt 0 ] && [ $rc -lt 128 ] &&
		grep "vring address shouldn't be above 16TB" "$T/high.log"
}

# All of DPDK is in the program: no librte_*.so for a preload library of DPDK's calls to override.
static_dpdk() {
	local program=$B/tests/e2e/frames_static
	[ -x "$program" ] || { echo "DPDK's archives are not installed"; return 77; }
	! ldd "$program" | grep librte || return
	NET=("socket=$T/s$1")
	pod "$program" -l 1 --file-prefix static --log-level=notice -- --count 60000
}

backend be "iface=$T/s" || skip_all "the back-end does not start"
check "0.6 memory from 2^45 on: a modern device, split" high ,packed=off
check "0.6 memory from 2^45 on: a modern device, packed" high ,packed=on
check "0.6 memory from 2^45 on: a legacy device is refused by the PMD itself" legacy_refuses
NET=("socket=$T/s,door=uio")
check "0.13 64 MB more after the start, through UIO" frames --count 60000 --mempool-late 64
check "DPDK linked into the program, modern" static_dpdk ""
check "DPDK linked into the program, legacy" static_dpdk ,mode=legacy,packed=off
check "DPDK linked into the program, legacy ports" static_dpdk ,mode=legacy,packed=off,door=uio
finish
