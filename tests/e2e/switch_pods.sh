#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_pods.sh - the node's own switch between front-ends nobody here wrote, between pods, and
# between a pod and the host: stock testpmd, virtio-user and simulated PCI devices, ping.
# shellcheck source=tests/e2e/lib.sh
PARTS="bin/podpci-switch tests/e2e/frames"
. "$(dirname "$0")/lib.sh"

command -v ping >/dev/null || skip_all "ping is not installed"
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"

sw() {	# a command to the switch
	"$PODPCI" switch -s "$T/ctl" "$@"
}

counter() {	# PORT NAME
	sw -j stats "$1" | jq -r ".[0].$2"
}

# The switch and its uplink have a network of their own.
switch_up() {
	start switch unshare -n sh -c 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1
		ip link set lo up; exec "$@"' sh \
		taskset -c 0 "$B/bin/podpci-switch" --socket "$T/ctl" --metrics "$T/metrics" \
		--port "upl0 kind tap address 10.7.0.1/24"
	until_true 5 sw show &&
		for p in p0 p1; do sw port add $p socket "$T/$p.sock" || return; done
}

net_pid() {	# the switch, for its network
	pgrep -f "^$B/bin/podpci-switch --socket $T/ctl"
}

# testpmd NAME CORE SOCKET MAC VDEV-OPTIONS TESTPMD-OPTIONS...: stock, virtio-user
testpmd() {
	local name=$1 core=$2 socket=$3 mac=$4 more=$5
	shift 5
	mark "$name"
	start "$name" stdbuf -oL dpdk-testpmd --lcores "0@$core,1@$core" --no-pci --in-memory \
		--single-file-segments -m 128 --file-prefix "$name" \
		--vdev "net_virtio_user0,path=$socket,mac=$mac$more" -- --total-num-mbufs=16384 \
		--mbcache=128 --disable-link-check --no-flush-rx -a "$@"
	until_true 15 log_has "$name" "Press enter|Error|EXIT" && alive "$name" && return
	log "$name" | tail -n 20
	return 1
}

counts_past() {	# PORT COUNTER MORE-THAN
	[ "$(counter "$1" "$2")" -gt "$3" ]
}

stock_front_ends_exchange_frames() {	# VDEV-OPTIONS
	local before
	before=$(counter p0 out_frames)
	testpmd a 1 "$T/p0.sock" 52:54:00:00:00:01 "$1" --forward-mode=rxonly || return
	testpmd b 0 "$T/p1.sock" 52:54:00:00:00:02 "$1" --forward-mode=txonly \
		--eth-peer=0,52:54:00:00:00:01 || return
	until_true 15 counts_past p0 out_frames $((before + 5000))
	local rc=$?
	stop a
	stop b
	[ $rc = 0 ] && return
	sw stats
	return 1
}

# Pods: one echoes whatever it gets, frames are numbered and checked where they come from.
# (The frames keep their addresses on the way back, so nothing may be learned from them.)
pods_exchange_numbered_frames() {	# NET-OPTIONS
	local NET PREFIX=echo rc
	sw port set p0 learning off && sw port set p1 learning off || return
	NET=("socket=$T/p1.sock,id=net0,mac=52:54:00:00:00:02$1")
	mark echo
	start echo pod stdbuf -oL dpdk-testpmd --lcores '0@0,1@0' --file-prefix echo -- \
		--total-num-mbufs=16384 --disable-link-check --no-flush-rx --forward-mode=io \
		--port-topology=loop -a
	until_true 20 log_has echo "Press enter|Error" || { log echo; return 1; }
	NET=("socket=$T/p0.sock,id=net0,mac=52:54:00:00:00:01$1")
	PREFIX=pod
	frames --count 4000 --window 128 --timeout 10000 >"$T/pod.log" 2>&1
	rc=$?
	stop echo
	sw port set p0 learning on
	sw port set p1 learning on
	[ $rc = 0 ] || { cat "$T/pod.log"; sw stats; }
	return $rc
}

the_host_pings_a_pod() {
	local NET=("socket=$T/p0.sock,id=net0,mac=52:54:00:00:00:01") rc
	mark ping
	start ping pod stdbuf -oL dpdk-testpmd --lcores '0@1,1@1' --file-prefix ping -- \
		--total-num-mbufs=16384 --disable-link-check --forward-mode=icmpecho -a
	until_true 20 log_has ping "Press enter|Error" || { log ping; return 1; }
	nsenter -t "$(net_pid)" -n ping -c 20 -i 0.05 -W 2 10.7.0.2
	rc=$?
	nsenter -t "$(net_pid)" -n ping -c 5 -i 0.05 -W 2 -s 1400 10.7.0.2 || rc=1
	stop ping
	return $rc
}

is_confined() {
	local pid task
	pid=$(net_pid)
	for task in /proc/"$pid"/task/*; do
		grep -q '^CapEff:	0*$' "$task/status" ||
			{ grep Cap "$task/status"; return 1; }
		grep -q '^CapBnd:	0*$' "$task/status" ||
			{ grep Cap "$task/status"; return 1; }
		grep -q '^Seccomp:	2' "$task/status" || return
		grep -q '^NoNewPrivs:	1' "$task/status" || return
	done
}

metrics_match_stats() {
	local n
	n=$(counter p0 in_frames)
	curl -s --unix-socket "$T/metrics" http://localhost/metrics >"$T/metrics.txt" || return
	grep -q "^podpci_port_in_frames_total{port=\"p0\"} $n$" "$T/metrics.txt" ||
		{ grep in_frames "$T/metrics.txt"; return 1; }
}

ports_come_and_go() {
	for i in 1 2 3 4 5 6 7 8; do
		sw port add "x$i" socket "$T/x$i.sock" mode access pvid "$i" || return
	done
	[ "$(sw -j port | jq length)" = 11 ] || return
	for i in 1 2 3 4 5 6 7 8; do
		sw port del "x$i" || return
		[ ! -e "$T/x$i.sock" ] || return
	done
	[ "$(sw -j port | jq length)" = 3 ]
}

sleeps_when_idle() {
	local pid before after
	pid=$(net_pid)
	before=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
	sleep 2
	after=$(awk '{ print $14 + $15 }' "/proc/$pid/stat")
	le $((after - before)) 4 "ticks of 10 ms in two idle seconds"
}

ends_when_told() {
	kill -TERM "$(net_pid)"
	wait "${PID[switch]}" || return
	[ ! -e "$T/ctl" ] && [ ! -e "$T/p0.sock" ]
}

# A switch that knows its ports from its command line, as a service does.
lone_switch_up() {
	start lone taskset -c 0 "$B/bin/podpci-switch" --socket "$T/lone.ctl" \
		--port "q0 socket $T/q0.sock learning off" \
		--port "q1 socket $T/q1.sock learning off"
	until_true 5 "$PODPCI" switch -s "$T/lone.ctl" show
}

# Killed under load, twice: pods connect again by themselves, and what they hold is whole.
# (With link interrupts testpmd would announce itself each time: frames that are not ours.)
a_killed_switch_costs_its_pods_a_pause() {
	local NET=("socket=$T/q1.sock,id=net0,mac=52:54:00:00:00:02") PREFIX=echo what
	mark pod
	lone_switch_up || return
	start echo pod stdbuf -oL dpdk-testpmd --lcores '0@0,1@0' --file-prefix echo -- \
		--total-num-mbufs=16384 --disable-link-check --no-flush-rx --forward-mode=io \
		--port-topology=loop --no-lsc-interrupt -a
	NET=("socket=$T/q0.sock,id=net0,mac=52:54:00:00:00:01")
	PREFIX=pod
	start pod frames --hold
	until_true 20 log_has pod '"resume"' || { log echo; log pod; return 1; }
	for _ in 1 2; do
		mark pod
		stop lone KILL
		sleep 0.3
		alive pod && alive echo || { echo "a pod went with the switch"; return 1; }
		lone_switch_up && until_true 8 log_has pod '"resume"' || { log pod; return 1; }
	done
	stop pod
	stop echo
	stop lone
	[ -n "$(json buffers_after)" ] &&
		[ "$(json buffers_before)" = "$(json buffers_after)" ] || { log pod; return 1; }
	for what in corrupt duplicate strangers; do
		[ "$(json $what)" = 0 ] || { echo "$what: $(json $what)"; return 1; }
	done
}

check "the switch starts, with an uplink" switch_up || { log switch; finish; }
check "it has given up its rights" is_confined
check "ports come and go" ports_come_and_go
check "frames between stock virtio-user ports, split" stock_front_ends_exchange_frames ""
check "frames between stock virtio-user ports, packed" \
	stock_front_ends_exchange_frames ",packed_vq=1"
check "frames between stock virtio-user ports, not mergeable" \
	stock_front_ends_exchange_frames ",mrg_rxbuf=0,in_order=0"
check "numbered frames between pods, modern split" pods_exchange_numbered_frames ""
check "numbered frames between pods, packed" pods_exchange_numbered_frames ",packed=on"
check "numbered frames between pods, legacy" pods_exchange_numbered_frames ",mode=legacy"
check "the host pings a pod through the uplink" the_host_pings_a_pod
check "metrics say what stats say" metrics_match_stats
check "an idle switch sleeps" sleeps_when_idle
check "it ends when told to and leaves no sockets" ends_when_told
check "C-PR-04 a switch killed under load comes back, and so do its pods by themselves" \
	a_killed_switch_costs_its_pods_a_pause
finish
