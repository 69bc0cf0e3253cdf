#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_uplink.sh - the uplink's pools with stock testpmd in them. The numbers in the names are
# the design's acceptance criteria; tests/wire/switch_uplink.c has the others.
# shellcheck source=tests/e2e/lib.sh
PARTS="bin/podpci-switch"
. "$(dirname "$0")/lib.sh"

for tool in strace python3 jq; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"
EACH=${EACH:-3000}		# frames for each pod

sw() {
	"$PODPCI" switch -s "$T/ctl" "$@"
}

inside() {
	nsenter -t "${PID[switch]}" -n "$@"
}

switch_up() {	# QUEUES
	rm -f "$T/ctl"
	start switch unshare -n sh -c 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1
		ip link set lo up; exec "$@"' sh "$B/bin/podpci-switch" --socket "$T/ctl" \
		--port "upl0 kind tap queues $1"
	until_true 5 sw show && sw pool default drop
}

# Pools on simulated devices, in one process.
pods_up() {	# NAME COUNT FORWARD-MODE
	local i NET=()
	for ((i = 1; i <= $2; i++)); do
		sw port add "$1$i" socket "$T/$1$i.sock" &&
			sw pool add "$1$i" macs 52:54:00:00:00:0$i || return
		NET+=("socket=$T/$1$i.sock,mac=52:54:00:00:00:0$i,queue-size=1024")
	done
	mark "$1"
	start "$1" pod stdbuf -oL dpdk-testpmd --lcores '0@1,1@1' --file-prefix "$1" -- -i \
		--total-num-mbufs=16384 --disable-link-check --port-topology=loop \
		--forward-mode="$3"
	until_true 20 log_has "$1" "testpmd>" || { log "$1" | tail; return 1; }
	say "$1" start
	until_true 10 all_up
}

all_up() {
	[ "$(sw -j port | jq '[.[] | select(.state == "down")] | length')" = 0 ]
}

# send COUNT PODS: that many for each pod in turn, no more than 200 ahead of what has arrived
send() {
	inside python3 - "$1" "$2" "$PODPCI" "$T/ctl" <<-'END'
		import json, socket, subprocess, sys, time
		count, pods, podpci, ctl = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:]
		s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
		s.bind(("upl0", 0))
		def arrived():
		    said = subprocess.check_output([podpci, "switch", "-s", ctl, "-j", "stats"])
		    rows = json.loads(said)
		    return sum(r["out_frames"] for r in rows if r["name"] != "upl0")
		first = arrived()
		for k in range(count):
		    for p in range(1, pods + 1):
		        f = bytes([0x52, 0x54, 0, 0, 0, p, 0x52, 0x54, 0, 0, 3, 0x84, 0x88, 0xb5])
		        s.send(f + bytes([p]) * (46 + (k * 37 + p) % 1400))
		    if k % 50 == 49:
		        end = time.time() + 5
		        while arrived() - first < (k - 50) * pods and time.time() < end:
		            time.sleep(0.005)
	END
}

frames_of() {	# POD-PROCESS PORT: as the application counts them
	mark "$1"
	say "$1" "show port stats $2"
	until_true 5 log_has "$1" 'Tx-bps' || return
	log "$1" | tr -d '\r' | awk '/RX-packets/ { print $2; exit }'
}

each_receives_exactly_its_own() {	# PODS FRAMES
	local i n rc=0
	send "$2" "$1" || return
	for ((i = 0; i < $1; i++)); do
		until_true 5 frames_are pods $i "$2" ||
			{ n=$(frames_of pods $i); echo "pod $i got $n of $2"; rc=1; }
	done
	[ $rc = 0 ] || sw stats
	return $rc
}

frames_are() {
	[ "$(frames_of "$1" "$2")" = "$3" ]
}

# (One that comes while the queue is being found empty lands a buffer too far and is moved.)
frames_land_in_the_pods_buffers() {
	sw -j stats | jq -e --argjson n "$EACH" '.[] | select(.name != "upl0") |
		.lane_frames >= $n * 0.99 and .lane_copied_bytes <= .out_bytes * 0.01' && return
	sw stats
	return 1
}

# The thread that moves frames calls nothing that could wait for a frame.
never_waits_in_read_or_write() {
	local fds
	fds=$(find "/proc/${PID[switch]}/fd" -lname '*/net/tun' -printf '%f\n' | paste -sd '|')
	start trace strace -f -qq -o "$T/trace" -p "${PID[switch]}"
	until_true 5 traced || return
	send 500 4 || return
	kill -INT "${PID[trace]}"
	wait "${PID[trace]}"
	grep -c io_uring_enter "$T/trace"
	[ "$(grep -c io_uring_enter "$T/trace")" -ge 10 ] || return
	! grep -E "(read|readv|write|writev|pread64|pwrite64)\(($fds)," "$T/trace"
}

traced() {
	grep -q '^TracerPid:[[:space:]]*[1-9]' "/proc/${PID[switch]}/status"
}

pinned() {
	sed -n 's/^VmPin:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/${PID[switch]}/status"
}

nothing_pinned() {
	[ "$(pinned)" = 0 ]
}

killed_pods_are_let_go_of() {
	local before
	before=$(pinned)
	[ "$before" -gt 0 ] || { echo "nothing is pinned"; return 1; }
	kill -KILL "${PID[pods]}"
	until_true 1 nothing_pinned || { pinned; return 1; }
	wait "${PID[pods]}" 2>/dev/null
	inside ip link show upl0 | grep -q 'state UNKNOWN\|state UP' && sw show
}

others_go_on() {
	local i
	for i in 1 2 3 4; do
		sw port del "pods$i" || return
	done
	pods_up pods 2 macswap && each_receives_exactly_its_own 2 500
}

# They send each frame back, which is judged past the switch.
frames_are_sent_from_the_pods_buffers() {
	sw -j pool show | jq -e 'length == 2 and all(.[]; .direct)' &&
		until_true 5 all_sent && return
	sw stats
	return 1
}

all_sent() {
	sw -j stats | jq -e '[.[] | select(.name != "upl0")] | length == 2 and
		all(.[]; .lane_sent == 500 and .forwarded == 500 and .drop_spoofed == 0)'
}

one_queue_one_pod() {
	stop pods KILL
	stop switch
	switch_up 1 && pods_up pods 1 rxonly && each_receives_exactly_its_own 1 "$EACH" &&
		sw -j stats pods1 | jq -e --argjson n "$EACH" '.[0].lane_frames == $n' &&
		sw -j pool show | jq -e '.[0].queue == "0" and .[0].direct'
}

check "a switch with eight uplink queues" switch_up 8 || { log switch; finish; }
check "four pools with stock testpmd" pods_up pods 4 rxonly || finish
check "3.1 each of four pods receives exactly its frames" each_receives_exactly_its_own 4 "$EACH"
check "3.7 the kernel put them into the pods' buffers" frames_land_in_the_pods_buffers
check "3.8 the switch never waits in a read or a write" never_waits_in_read_or_write
check "3.12 memory of pods that were killed is let go of within a second" killed_pods_are_let_go_of
check "3.12 the uplink and new pods go on" others_go_on
check "3.7 the kernel took what they send from the pods' buffers" \
	frames_are_sent_from_the_pods_buffers
check "3.14 an adapter with one queue serves a pod alike" one_queue_one_pod
finish
