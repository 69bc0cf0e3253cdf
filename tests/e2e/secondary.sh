#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# secondary.sh - DPDK secondary processes in a pod: what they see of the primary's device, its
# memory and its link, and that the primary goes on with its traffic when they have gone.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

command -v dpdk-proc-info >/dev/null || skip_all "dpdk-proc-info is not installed"

# second COMMAND...: runs beside the primary, on the same bus
second() {
	local preload=$B/lib/libpodpci.so${PRELOAD:+:$PRELOAD}
	${BG:+exec} nsenter -t "${PID[pod]}" -m env LD_PRELOAD="$preload" \
		PODPCI_CONFIG=/sys/bus/pci/podpci.conf \
		timeout --foreground -k 2 "${SECONDS_AT_MOST:-60}" "$@"
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

# A testpmd that shares the port: queue pair 0 is the primary's, queue pair 1 the secondary's.
# Each has lcores of its own: processes with the same ones would use the pool's caches at once.
sharing() {	# ID
	echo stdbuf -oL dpdk-testpmd --lcores "$((2 * $1))@1,$((2 * $1 + 1))@1" \
		--file-prefix $PREFIX --proc-type=auto -- -i --num-procs=2 --proc-id="$1" \
		--rxq=2 --txq=2 --total-num-mbufs=8192 --disable-link-check
}

first_up() {
	mark pod
	# shellcheck disable=SC2046
	start pod pod $(sharing 0)
	until_true 10 log_has pod 'testpmd> ' || { log pod | tail -n 20; return 1; }
}

second_up() {
	mark sec
	rm -f "$T/sec.in"		# with what another one did not read
	# shellcheck disable=SC2046
	SECONDS_AT_MOST=200 start sec second $(sharing 1)
	until_true 10 log_has sec 'testpmd> ' || { log sec | tail -n 20; return 1; }
	say sec 'start tx_first'
}

# Frames that circle are lost for good when the back-end drops them, as it may while it is busy
# with a queue that is being enabled: so they are sent anew until some come back.
queue_moves() {	# QUEUE PROCESS
	SEEN=0
	frames_back "$1" 0 && SEEN=$N
	until_true 15 more_come "$1" "$2" && return
	log pod | tail -n 20
	return 1
}

more_come() {	# QUEUE PROCESS
	frames_back "$1" "$SEEN" && return
	say "$2" 'stop'
	say "$2" 'start tx_first'
	return 1
}

frames_back() {	# QUEUE MORE-THAN
	mark pod
	say pod 'show port xstats 0'
	until_true 2 log_has pod 'tx_q1_size_1519_max_packets' || return
	N=$(log pod | sed -n "s/^rx_q$1_good_packets: //p")
	[ "$N" -gt "$2" ]
}

# Each sends a burst on its own queue, which the back-end returns and it sends again.
both_forward() {	# NET-KEYS
	NET=("socket=$T/s,queues=2$1")
	first_up || return
	second_up && queue_moves 1 sec && ! frames_back 0 0 || return
	say pod 'start tx_first'
	queue_moves 0 pod && queue_moves 1 sec
}

primary_goes_on() {
	say sec "stop"
	say sec "quit"
	until_true 5 log_has sec 'Bye' || return
	frames_back 1 0
	local left=$N
	queue_moves 0 pod && ! frames_back 1 "$left"
}

# A switch that sleeps sees frames only if the doorbell was heard.
doorbells_wake_a_switch() {
	sw() { "$PODPCI" switch -s "$T/ctl" "$@"; }
	came() { [ "$(sw -j stats p0 | jq -r '.[0].in_frames')" -ge "$1" ]; }
	start switch "$B/bin/podpci-switch" --socket "$T/ctl" --mode event
	until_true 5 sw port add p0 socket "$T/p0" queues 2 || return
	NET=("socket=$T/p0,queues=2$1")
	first_up && second_up && until_true 5 came 32 || return
	say sec 'stop'
	say sec 'start tx_first'
	until_true 5 came 64
}

# How many frames of testpmd's a capture begins with, each a record of 16 + 64 bytes.
captured() {	# FILE
	[ -s "$1" ] || return
	od -An -v -tx1 -w80 -j24 -N80000 "$1" | grep -c 'c6 12 00 01 c6 12 00 02 00 09 00 09'
}

# DPDK's processes know the kinds of memory pools by numbers, given in the order in which their
# libraries are loaded; Debian's testpmd is linked with one that its tools are not. Unless they
# load it first, too, the primary cannot take from their pool and nothing is captured.
POOLS=librte_mempool_dpaa.so.23

pdump() {
	second timeout -s INT 3 dpdk-pdump --lcores 4@0 -d $POOLS --file-prefix $PREFIX -- --pdump \
		"port=0,queue=*,rx-dev=$T/rx.pcap,tx-dev=$T/tx.pcap,total-num-mbufs=8191" \
		>"$T/pdump.log" 2>&1
	tail -n 20 "$T/pdump.log"
	for f in rx tx; do
		[ "$(captured "$T/$f.pcap")" -gt 100 ] ||
			{ echo "$f: nothing captured"; ls -l "$T/$f.pcap"; return 1; }
	done
	queue_moves 0 pod
}

dumpcap() {
	PRELOAD=$POOLS second dpdk-dumpcap --file-prefix $PREFIX -P -i 0 -c 100 \
		-w "$T/dumpcap.pcap" >"$T/dumpcap.log" 2>&1
	cat "$T/dumpcap.log"
	[ "$(captured "$T/dumpcap.pcap")" -ge 100 ] && queue_moves 0 pod
}

backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
for keys in "" ,mode=legacy,packed=off ,door=uio; do
	check "a primary runs${keys:+, $keys}" primary_up "$keys" || continue
	check "dpdk-proc-info --show-port${keys:+, $keys}" port_is_shown
	check "dpdk-proc-info --stats, and the primary goes on${keys:+, $keys}" \
		statistics_are_the_primarys
	stop pod
done
for keys in ,packed=on ,mode=legacy,packed=off ,door=uio; do
	check "two testpmds forward on a queue pair each, $keys" both_forward "$keys"
	check "the primary goes on when the other leaves, $keys" primary_goes_on
	stop sec
	stop pod
done
check "a secondary's doorbells wake a switch that sleeps" doorbells_wake_a_switch ""
stop sec
stop pod
check "two testpmds forward, and are listened to" both_forward ""
check "dpdk-pdump captures both directions" pdump
check "dpdk-dumpcap captures" dumpcap
check "the primary goes on when all have left" primary_goes_on
stop sec
stop pod
finish
