#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# indifferent.sh - one back-end serves a pod and a virtio-user port of DPDK's at the same time, and
# is told the same things in the same order by both.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# What a back-end has to know before a ring runs. Questions, and what it may be told at any time
# (call and error descriptors, status), are left out.
STEPS='SET_OWNER|SET_FEATURES|SET_MEM_TABLE|SET_VRING_(NUM|BASE|ADDR|KICK|ENABLE)'

told() {	# SOCKET: each step where it is first heard of, up to the first ring that is enabled
	log be | grep -a "($T/$1) read message" | sed 's/.*read message VHOST_USER_//' |
		grep -xE "$STEPS" | awk '!seen[$0]++ { print } /ENABLE/ { exit }'
}

both_at_once() {
	NET=("socket=$T/pod")
	start pod frames --hold --window 32
	until_true 5 log_has pod '"resume"' || { log pod; return 1; }
	NET=("socket=$T/user")
	PREFIX=user STAND_IN=1 frames --count 100000 || return
	mark pod
	until_true 5 log_has pod '"beat".*"received":[1-9]' || { log pod; return 1; }
}

same_order() {
	told pod >"$T/pod.told"
	told user >"$T/user.told"
	[ "$(wc -l <"$T/pod.told")" = 8 ] && diff "$T/user.told" "$T/pod.told" && return
	cat "$T/pod.told"
	return 1
}

[ -z "${STAND_IN:-}" ] || skip_all "compares podpci with the stand-in"
backend be "iface=$T/pod" "iface=$T/user" || skip_all "the back-end does not start"
check "0.7 a pod and a virtio-user port on one back-end at the same time" both_at_once
stop pod
check "0.7 both tell the back-end the same, in the same order" same_order
finish
