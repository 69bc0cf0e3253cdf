#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# runc.sh - a container as a cluster would start it: uid 1000, no capabilities, docker's default
# seccomp rules, read-only root, no /dev/vfio; stock DPDK in it without any memory flags.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ -z "${STAND_IN:-}" ] || skip_all "virtio-user needs no bus"
command -v runc >/dev/null || skip_all "runc is not installed"

CONTAINER=podpci-e2e-$$

# container OPTIONS-OF-BUNDLE -- COMMAND...
container() {
	rm -rf "$T/tree" "$T/bundle"
	"$PODPCI" sysfs --net "socket=$T/sock/s" "$T/tree" >"$T/plan" || return
	"$ROOT/deploy/bundle.sh" "$T/bundle" "$T/sock:$T/sock" "$@" <"$T/plan" || return
	exec_or_run runc --root "$T/runc" run -b "$T/bundle" $CONTAINER
}

inside() {	# PATTERN COMMAND...: its output has the pattern
	local pattern=$1
	shift
	container -- "$@" >"$T/pod.log" 2>&1
	grep -aE "$pattern" "$T/pod.log" && return
	tail -n 20 "$T/pod.log"
	return 1
}

in_frames() {
	container "$B/tests/e2e:/opt" -- /opt/frames -l 1 --log-level=notice -- "$@"
}

without_privileges() {
	# shellcheck disable=SC2016
	container -- sh -c '[ "$(id -u)" = 1000 ] && env -u LD_PRELOAD test ! -e /dev/vfio &&
		grep -E "CapEff:.*0000000000000000" /proc/self/status &&
		grep -E "CapBnd:.*0000000000000000" /proc/self/status &&
		grep -E "NoNewPrivs:.*1" /proc/self/status &&
		grep -E "Seccomp:.*2" /proc/self/status &&
		! touch /usr/x'
}

only_the_device() {
	container -- sh -c 'lspci -n' >"$T/pod.log" 2>&1
	cat "$T/pod.log"
	[ "$(cat "$T/pod.log")" = "00:04.0 0200: 1af4:1041 (rev 01)" ]
}

mkdir -m 755 "$T/sock" && chmod 755 "$T"
umask 0
backend be "iface=$T/sock/s,queues=2" || skip_all "the back-end does not start"
umask 022
check "the container has no privileges" without_privileges
check "lspci shows the simulated device and no other" only_the_device
check "stock testpmd drives it" inside 'Driver name: net_virtio$' sh -c \
	'printf "show port info 0\nquit\n" | dpdk-testpmd -- -i --total-num-mbufs=8192'
check "10^6 frames" in_frames --count 1000000 --sizes 60,64,65,127,1024,1514
start pod in_frames --hold
check "traffic flows" until_true 10 log_has pod '"resume"'
stop be KILL
rm -f "$T/sock/s"
umask 0
mark pod
check "and again after the back-end was killed" eval \
	'backend be "iface=$T/sock/s,queues=2" && until_true 5 log_has pod "\"resume\""'
runc --root "$T/runc" kill $CONTAINER TERM
wait "${PID[pod]}"
check "and no buffer is lost" test "$(json buffers_before)" = "$(json buffers_after)" -a \
	"$(json buffers_after)"
finish
