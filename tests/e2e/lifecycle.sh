#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# lifecycle.sh - pods come, go and die; ports stop, start, close, detach and attach: nothing grows.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

holdings() {	# of the back-end: descriptors and shared mappings
	echo "$(ls "/proc/${PID[be]}/fd" | wc -l) $(grep -c 'rw-s' "/proc/${PID[be]}/maps")"
}

holds() {
	[ "$(holdings)" = "$1" ] || { echo "the back-end holds $(holdings), before $1"; return 1; }
}

pod_dies() {
	local before
	before=$(holdings)
	mark pod
	start pod frames --hold
	until_true 8 log_has pod '"resume"' || return
	holds "$before" >/dev/null && { echo "holds nothing of the pod's"; return 1; }
	kill -KILL "$(json pid)"
	stop pod KILL
	until_true 1 holds "$before" || holds "$before"
}

nothing_grows() {	# FRAMES-OPTIONS
	frames --count 1000 --queues 2 "$@" >"$T/pod.log" 2>&1 ||
		{ tail -n 5 "$T/pod.log"; return 1; }
	grep '"cycles"' "$T/pod.log"
	le "$(json fds)" 0 "descriptors more" && le "$(json maps)" 1 "mappings more" &&
	le "$(json rss_kb)" 256 "KB more" && le "$(json huge_kb)" 0 "KB of hugepages more"
}

attach_again() {
	testpmd_do 'port stop 0
port close 0
device detach 0000:00:04.0
port attach 0000:00:04.0
port start 0
show port info 0' >"$T/pod.log" 2>&1
	grep -aA99 'is attached' "$T/pod.log" | grep -aE 'Driver name: net_virtio$' &&
	grep -aA99 'is attached' "$T/pod.log" | grep -aE 'Link status: up$' && return
	tail -n 20 "$T/pod.log"
	return 1
}

backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
NET=("socket=$T/s,queues=2")
check "a first pod" frames --count 1000
for packed in off on; do
	NET=("socket=$T/s,queues=2,packed=$packed")
	check "B-RC-14 packed=$packed: what a killed pod leaves is given back" pod_dies
	check "packed=$packed: 100 stops, reconfigurations and starts grow nothing" \
		nothing_grows --cycles 100
done
check "the next pod is served" frames --count 1000
check "nor do they with a link state interrupt" nothing_grows --cycles 50 --lsc
devargs=
[ -n "${STAND_IN:-}" ] && devargs=net_virtio_user0,path=$T/s,queues=2
check "detached, attached and traffic again" frames --count 1000 --detach-attach "$devargs"
check "30 times over, and nothing grows" nothing_grows --detach-attach "$devargs" --attaches 30
[ -n "${STAND_IN:-}" ] || check "the same through stock testpmd's commands" attach_again
finish
