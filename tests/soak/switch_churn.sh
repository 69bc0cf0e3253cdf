#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_churn.sh - a switch for TIME seconds: pods are killed, ports and pools come and go, modes
# change, and one pod is pinged all the while. Nobody else may notice, and nothing may be left.
# shellcheck source=tests/e2e/lib.sh
PARTS="bin/podpci-switch"
. "$(dirname "$0")/../e2e/lib.sh"

TIME=${TIME:-60}
SINK=52:54:00:00:00:0f		# where the floods go: whose ring is full is not the question here
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"

sw() {
	"$PODPCI" switch -s "$T/ctl" "$@"
}

of_switch() {	# KEY of its /proc status
	sed -n "s/^$1:[[:space:]]*\([0-9]*\).*/\1/p" "/proc/${PID[switch]}/status"
}

fds() {
	find "/proc/${PID[switch]}/fd" -mindepth 1 | wc -l
}

begin() {
	start switch unshare -n sh -c 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1
		ip link set lo up; exec "$@"' sh "$B/bin/podpci-switch" --socket "$T/ctl" \
		--workers 2 --port "upl0 kind tap queues 8 address 10.8.0.1/24"
	until_true 5 sw show && sw port add good socket "$T/good.sock" &&
		sw port add sink kind null && sw fdb add $SINK port sink || return
	local NET=("socket=$T/good.sock,mac=52:54:00:00:00:01,queue-size=1024")
	start good pod stdbuf -oL dpdk-testpmd --lcores "0@1,1@1" --file-prefix good -- \
		--total-num-mbufs=16384 --disable-link-check --forward-mode=icmpecho -a
	until_true 20 log_has good "Press enter"
}

# A pod that floods, is killed in the middle of it, and its port with it; or only one of them.
one_round() {	# NUMBER
	local i=$1 packed=$(($1 % 2))
	sw port add bad socket "$T/bad.sock" storm 1000 || return
	[ $((i % 3)) = 0 ] && { sw pool add bad macs 52:54:00:00:00:02 || return; }
	mark bad
	start bad stdbuf -oL dpdk-testpmd --lcores '0@0,1@0' --no-pci --in-memory -m 64 \
		--single-file-segments --file-prefix bad \
		--vdev "net_virtio_user0,path=$T/bad.sock,mac=52:54:00:00:00:02,packed_vq=$packed" \
		-- --total-num-mbufs=4096 --mbcache=128 --disable-link-check \
		--forward-mode=txonly --eth-peer=0,$SINK -a
	until_true 20 log_has bad "Press enter" || { log bad; return 1; }
	sleep 0.3
	sw set mode "$(sed -n "$((i % 3 + 1))p" <<<$'poll\nevent\nadaptive')" || return
	[ $((i % 4)) = 1 ] && { sw port del bad || return; }
	stop bad KILL
	[ $((i % 4)) = 1 ] || sw port del bad
}

churn() {
	local end=$(($(date +%s) + TIME)) i=0 rss fd lost
	one_round 0 && one_round 1 || return
	rss=$(of_switch VmRSS) fd=$(fds)
	nsenter -t "${PID[switch]}" -n ping -q -i 0.02 -W 1 10.8.0.2 >"$T/ping.log" &
	local ping=$!
	while [ "$(date +%s)" -lt $end ]; do
		one_round $i || { echo "round $i"; return 1; }
		i=$((i + 1))
	done
	kill -INT $ping
	wait $ping
	cat "$T/ping.log"
	lost=$(sed -n 's/.*, \([0-9]*\)[.0-9]*% packet loss.*/\1/p' "$T/ping.log")
	echo "$i rounds, memory $rss kB and now $(of_switch VmRSS), descriptors $fd, now $(fds)"
	le "$lost" 0 "per cent of the good pod's frames lost" &&
		le "$(($(of_switch VmRSS) - rss))" 4096 "kB of memory grown" && [ "$(fds)" = "$fd" ]
}

check "a switch and a good pod" begin || { log switch; finish; }
check "3.10, 3.11, 3.12 a good pod is served through $TIME seconds of bad ones" churn
check "the switch ends as told" stop switch
finish
