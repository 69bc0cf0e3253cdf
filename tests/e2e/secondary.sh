#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# secondary.sh - DPDK secondary processes in a pod: what they see of the primary's device, its
# memory and its link, and that the primary goes on with its traffic when they have gone.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

command -v dpdk-proc-info >/dev/null || skip_all "dpdk-proc-info is not installed"

# second COMMAND...: runs beside the primary, on the same bus
second() {
	nsenter -t "${PID[pod]}" -m env LD_PRELOAD="$B/lib/libpodpci.so" \
		PODPCI_CONFIG=/sys/bus/pci/podpci.conf timeout -k 2 20 "$@"
}

primary_up() {	# NET-KEYS: stock testpmd, which sends for ever
	NET=("socket=$T/s$1")
	mark pod
	start pod pod dpdk-testpmd --lcores '0@1,1@1' --file-prefix $PREFIX -- -a \
		--total-num-mbufs=8192 --disable-link-check --forward-mode=txonly --stats-period 1
	until_true 10 log_has pod 'Tx-pps: *[1-9]' || { log pod | tail -n 20; return 1; }
}

flows_on() {
	mark pod
	until_true 5 log_has pod 'Tx-pps: *[1-9]' || { log pod | tail -n 20; return 1; }
}

info() {
	second dpdk-proc-info --file-prefix $PREFIX -- "$@" >"$T/info.log" 2>&1
	local rc=$?
	cat "$T/info.log"
	return $rc
}

# The link's state is read from the device, in the primary.
port_is_shown() {
	info --show-port && grep 'driver net_virtio device 0000:00:04.0' "$T/info.log" &&
		grep 'Link up' "$T/info.log" && flows_on
}

statistics_are_the_primarys() {
	info --stats && grep -E 'TX-packets: *[1-9]' "$T/info.log" && flows_on
}

# What it captures is between DPDK's processes; here it attaches, has the primary call back for
# each frame, and leaves.
capture() {
	second timeout -s INT 4 dpdk-pdump -l 0 --file-prefix $PREFIX -- --pdump \
		"port=0,queue=*,tx-dev=$T/cap.pcap,total-num-mbufs=8191" >"$T/pdump.log" 2>&1
	tail -n 20 "$T/pdump.log"
	grep 'PDUMP DEBUG STATS' "$T/pdump.log" && [ -s "$T/cap.pcap" ] && flows_on
}

backend be "iface=$T/s" || skip_all "the back-end does not start"
for keys in "" ,mode=legacy,packed=off ,door=uio; do
	check "a primary runs${keys:+, $keys}" primary_up "$keys" || continue
	check "dpdk-proc-info --show-port${keys:+, $keys}" port_is_shown
	check "dpdk-proc-info --stats, and the primary goes on${keys:+, $keys}" \
		statistics_are_the_primarys
	[ -n "$keys" ] || check "dpdk-pdump, and the primary goes on" capture
	stop pod
done
finish
