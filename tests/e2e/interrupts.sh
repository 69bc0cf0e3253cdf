#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# interrupts.sh - receive and link state interrupts arrive, in an application that sleeps.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

rx_interrupts() {
	frames --count 4000 --window 1 --rx-interrupt "$@" >"$T/pod.log" 2>&1
	local rc=$?
	cat "$T/pod.log"
	[ $rc = 0 ] && le 20 "$(json wakeups)" "interrupts wanted" &&
		le "$(json naps)" 2 "sleeps through the coming of frames"
}

link_interrupts() {
	mark pod
	start pod frames --hold --lsc --window 8
	until_true 5 log_has pod '"resume"' || return
	stop be KILL
	until_true 5 log_has pod '"link","port":0,"up":0' || { log pod; return 1; }
	rm -f "$T/s"
	backend be "iface=$T/s,queues=2" || return
	until_true 5 log_has pod '"link","port":0,"up":1' || { log pod; return 1; }
	stop pod
	le 2 "$(json link_events)" "link events wanted"
}

testpmd_is_told() {
	mark pod
	start pod pod stdbuf -oL dpdk-testpmd --lcores '0@1,1@1' --file-prefix pod "${EAL[@]}" -- \
		-i --total-num-mbufs=8192 --disable-link-check
	until_true 5 log_has pod '^Port 0: [0-9A-F:]+$' || { log pod | tail -n 20; return 1; }
	stop be KILL
	until_true 5 log_has pod 'link state change event' || { log pod | tail -n 20; return 1; }
	say pod quit
	until_true 5 eval '! alive pod'
}

backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
for packed in off on; do
	NET=("socket=$T/s,packed=$packed,queues=2")
	check "packed=$packed: frames wake a sleeping application" rx_interrupts
	check "packed=$packed: on either of two queues" rx_interrupts --queues 2
done
NET=("socket=$T/s,mode=legacy,packed=off")
check "legacy: frames wake a sleeping application" rx_interrupts
[ -n "${STAND_IN:-}" ] && finish
for mode in modern legacy; do
	NET=("socket=$T/s,mode=$mode")
	check "$mode: the link's going and coming arrive as interrupts" link_interrupts
done
mark be
check "stock testpmd is told that the link changed" testpmd_is_told
finish
