#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# two_devices.sh - two devices on one bus, two back-ends: what happens to one leaves the other be.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

both_ports() {
	frames --ports 2 --queues "1,2" --count 50000 --timeout 5000 "$@" >"$T/pod.log" 2>&1
	local rc=$?
	cat "$T/pod.log"
	[ $rc = 0 ] && [ "$(grep -c '"sent"' "$T/pod.log")" = 2 ]
}

# A whole beat long, and part of the one before.
flows() {	# PORT
	[ "$(log pod | grep -cE "\"beat\",\"port\":$1,\"received\":[1-9]")" -ge 2 ]
}

survives() {	# SIGNAL for the first back-end: the second port goes on, and the first does not
	start pod frames --ports 2 --queues "1,2" --hold --window 32 --beat 500
	until_true 5 log_has pod '"resume","port":0' || return
	until_true 5 log_has pod '"resume","port":1' || return
	kill -"$1" "${PID[be0]}"
	until_true 5 log_has pod '"stall","port":0' || { log pod; return 1; }
	mark pod
	until_true 5 flows 1 || { log pod; return 1; }
	! flows 0 || { log pod; return 1; }
	alive pod
}

backend be0 "iface=$T/s0" || skip_all "the back-end does not start"
backend be1 "iface=$T/s1,queues=2" || skip_all "the second back-end does not start"
NET=("socket=$T/s0,id=first,mac=52:54:00:00:00:01"
     "socket=$T/s1,id=second,queues=2,mac=52:54:00:00:00:02")
check "frames through both, one and two pairs" both_ports
check "one stops and starts while the other carries on" both_ports --restart-first
mark pod
check "one back-end hangs, the other device's traffic goes on" survives STOP
kill -CONT "${PID[be0]}"
stop pod
mark pod
check "one back-end dies, the other device's traffic goes on" survives KILL
stop pod
finish
