#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# dev.sh - `podpci dev` looks into a running application: registers, counters, features, a trace
# of what driver and back-end say, devices plugged in and out; and the traffic goes on.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

ctl() {
	"$PODPCI" dev -s "$SOCKET" "$@"
}

find_socket() {
	local s
	for s in "$T"/ctl/*.ctl; do
		[ -S "$s" ] && SOCKET=$s && return
	done
	return 1
}

says() {	# PATTERN COMMAND...
	local pattern=$1
	shift
	"$@" >"$T/out" 2>&1
	grep -qE "$pattern" "$T/out" || { head -c 2000 "$T/out"; return 1; }
}

json_is_valid() {
	ctl -j show | python3 -c 'import json,sys; r = json.load(sys.stdin)
assert r[0]["name"] == "net0" and r[0]["state"] == "running", r[0]
assert [q["role"] for q in r[1:]][:2] == ["rx0", "tx0"], r'
}

# The driver resets the device and sets it up anew, and the back-end is told.
trace_has_both_sides() {
	"$PODPCI" dev -s "$SOCKET" trace file "$T/live" &
	local tracer=$!
	sleep 0.3
	say pod "stop"
	say pod "port stop 0"
	say pod "port config 0 rx_offload udp_cksum on"
	say pod "port start 0"
	say pod "start"
	until_true 5 grep -q "device_status.*DRIVER_OK" "$T/live"
	kill -INT $tracer
	wait $tracer
	grep -qE "net0 sent SET_VRING_NUM ring 0 value 0x" "$T/live" &&
		grep -qE "net0 received GET_VRING_BASE ring 1" "$T/live" || {
		head -n 40 "$T/live"
		return 1
	}
}

trace_file_has_the_start() {
	grep -qE "net0 read config 0x34 . 0x40 pci.capabilities" "$T/trace" &&
		grep -qE "net0 sent SET_MEM_TABLE regions [1-8]" "$T/trace" &&
		grep -qE "dma map 0x" "$T/trace"
}

plug() {
	ctl add net9 socket "$T/none" queues 2 &&
		says "net9 address 0000:00:05.0" ctl list &&
		ctl del net9 &&
		! says "^net9" ctl list
}

still_running() {
	say pod "show port stats 0"
	says "net0 .*state running.*link up" ctl list
}

gone_with_the_process() {
	say pod quit
	until_true 10 [ ! -S "$SOCKET" ] && ! alive pod ||
		until_true 5 [ ! -S "$SOCKET" ]
}

command -v python3 >/dev/null || skip_all "python3 is not installed"
backend be "iface=$T/s" || skip_all "the back-end does not start"
mkdir -m 755 "$T/ctl"
NET=("socket=$T/s,mac=52:54:00:00:00:01")
OPT=(--option "ctl=$T/ctl" --option "trace=$T/trace")
start pod pod dpdk-testpmd --lcores '0@0,1@0' --in-memory --file-prefix pod -- -i \
	--total-num-mbufs=4096 --auto-start
until_true 20 log_has pod 'testpmd>' || skip_all "testpmd does not start"
check "the socket is there" find_socket
check "devices are listed" says "net0 address 0000:00:04.0 pid [0-9]+ state running" ctl list
check "JSON is valid and tells queues" json_is_valid
check "registers have names and values" \
	says "device_status value 0xf means ACK\|DRIVER\|DRIVER_OK\|FEATURES_OK" ctl regs net0
check "counters: messages, connects, accesses" \
	says "messages_sent +[1-9]" ctl stats net0
check "counters of the process: traps" says "^process|traps +[1-9]" ctl stats
check "features: who serves them, and what was agreed" \
	says "feature RING_PACKED served_by back-end offered on accepted on needs VERSION_1" \
	ctl features net0
check "a trace has register accesses and messages by name" trace_has_both_sides
check "a trace file has the session from its start" trace_file_has_the_start
check "devices are plugged in and out" plug
check "the application goes on" still_running
check "an unknown device is said so" says "there is no device eth0" ctl show eth0
check "the socket goes with the process" gone_with_the_process
finish
