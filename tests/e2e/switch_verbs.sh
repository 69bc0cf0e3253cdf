#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_verbs.sh - what `podpci switch` says and does, seen from outside: three hosts (network
# namespaces behind TAP ports) and a bridge, with ping as the judge.
# shellcheck source=tests/e2e/lib.sh
PARTS="bin/podpci-switch"
. "$(dirname "$0")/lib.sh"

for tool in ping ip jq python3; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"

export PODPCI_SWITCH=$T/ctl

sw() {
	"$PODPCI" switch "$@"
}

inside() {	# NAMESPACE COMMAND...
	local ns=$1
	shift
	nsenter -t "${PID[$ns]}" -n "$@"
}

counter() {	# PORT NAME
	sw -j stats "$1" | jq -r ".[0].$2"
}

# Tells systemd's side of the story: what arrives at $NOTIFY_SOCKET goes to a file.
start notify python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
	print(s.recv(4096).decode(), flush=True)' "$T/notify"

switch_up() {
	cat >"$T/conf" <<-END
		# what it starts with
		port add a kind tap dev ta uplink off
		port add b kind tap dev tb uplink off
		port add c kind tap dev tc uplink off
		port add br kind tap dev tbr bridge br0
		switch set mode adaptive spin_us 50
	END
	until_true 5 [ -S "$T/notify" ] || return
	start switch unshare -n sh -c 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1 \
			net.ipv6.conf.default.disable_ipv6=1
		ip link set lo up && ip link add br0 type bridge && ip link set br0 up &&
		ip addr add 10.1.0.9/24 dev br0 && exec "$@"' sh \
		env NOTIFY_SOCKET="$T/notify" "$B/bin/podpci-switch" --socket "$T/ctl" \
		--config "$T/conf" --cpus 0,0 --metrics 127.0.0.1:9177
	until_true 5 sw show || return
	local ns n=1
	for ns in a b c; do
		start $ns unshare -n sleep 600
		until_true 5 different_net $ns || return
		inside switch ip link set t$ns netns "${PID[$ns]}" &&
			inside $ns sysctl -qw net.ipv6.conf.all.disable_ipv6=1 &&
			inside $ns ip link set t$ns address 52:54:00:00:01:0$n &&
			inside $ns ip addr add 10.1.0.$n/24 dev t$ns &&
			inside $ns ip link set t$ns up || return
		n=$((n + 1))
	done
}

different_net() {
	[ "$(readlink "/proc/${PID[$1]}/ns/net")" != "$(readlink /proc/self/ns/net)" ]
}

pings() {	# FROM NUMBER [OPTIONS]: without ARP being in the way of what is tested
	local from=$1 to=$2
	shift 2
	inside "$from" ping -q -c 2 -i 0.05 -W 1 "$@" "10.1.0.$to"
}

fails() {
	! "$@"
}

no_neighbours() {
	local ns
	for ns in a b c; do
		inside $ns ip neigh flush all
	done
}

all_meet() {
	pings a 2 && pings b 3 && pings c 1 && pings a 9 && inside switch ping -q -c 1 10.1.0.3
}

# refused STATUS-LINE-PATTERN COMMAND...: one line, status 125
refused() {
	local want=$1 out rc
	shift
	out=$(sw "$@" 2>&1)
	rc=$?
	[ $rc = 125 ] && [ "$(wc -l <<<"$out")" = 1 ] &&
		grep -qE "^podpci switch: $want" <<<"$out" && return
	echo "$*: status $rc: $out"
	return 1
}

mistakes_are_told() {
	refused '"ports add": no such command' ports add x &&
		refused '"speed"\? known here: name, kind, socket' port add x speed 5 &&
		refused 'mtu wants a number, not "big"' port add x mtu big &&
		refused 'mtu wants a number$' port add x mtu &&
		refused 'spoofcheck wants on or off, not "maybe"' port set a spoofcheck maybe &&
		refused 'a is there already' port add a &&
		refused 'nobody: no such port' port del nobody &&
		refused 'nobody: no such port' stats nobody &&
		refused "a port's name is" port add ../x &&
		refused 'x: glass: no such kind' port add x kind glass &&
		refused 'x: vlans 5000: not' port add x vlans 5000 &&
		refused 'x: a VLAN is 0 to 4094' port add x pvid 4095 &&
		refused 'x: mode is access or trunk' port add x mode both &&
		refused 'x: macs 52:54: at most' port add x macs 52:54 &&
		refused 'a: its kind and place are fixed' port set a queues 4 &&
		refused 'mode is poll, adaptive or event' set mode fast &&
		refused 'a is not a pool' pool default a &&
		refused 'an address is written' fdb add 1:2:3 port a &&
		refused 'x: a running switch has given up the rights' port add x kind tap &&
		refused 'x: .*/nowhere/x.sock' port add x socket /nowhere/x.sock
}

words_are_as_people_write_them() {
	sw port add x socket "$T/x.sock" mtu 1500 in-bytes 10m storm 5k vlans 1-3,7 &&
		[ "$(sw -j port show x | jq -c '.[0] | [.mtu, .in_bytes, .storm, .vlans]')" = \
			'[1500,10000000,5000,"1-3,7"]' ] &&
		sw port list x | grep -q '^x kind vhost state down .*mtu 1500' &&
		sw port change x mtu 9000 && [ "$(sw -j port show x | jq '.[0].mtu')" = 9000 ] &&
		sw -j port | jq -e 'map(.name) == ["a", "b", "c", "br", "x"]' &&
		sw stats x && sw -j show | jq -e '.[0].ports == 5' &&
		sw port delete x && [ ! -e "$T/x.sock" ]
}

addresses_are_learned_fixed_and_forgotten() {
	pings a 2 || return
	sw -j fdb | jq -e '.[] | select(.mac == "52:54:00:00:01:01") |
		.port == ["a"] and .type == "dynamic" and .vlan == 0' || return
	sw -j fdb show b | jq -e 'length == 1 and .[0].mac == "52:54:00:00:01:02"' || return
	sw fdb flush && sw -j fdb | jq -e 'length == 0' || return
	sw fdb add 52:54:00:00:01:01 port b || return	# the wrong place
	fails pings a 2 || return
	sw fdb del 52:54:00:00:01:01 && pings a 2 &&
		refused '02:00:00:00:00:07 vlan 0 is not known' fdb del 02:00:00:00:00:07
}

vlans_divide() {
	sw port set a mode access pvid 10 && sw port set b mode access pvid 20 &&
		fails pings a 2 && sw port set b pvid 10 && pings a 2 && fails pings c 1 &&
		[ "$(sw -j port show a | jq -r '.[0].vlans')" = 10 ] &&
		sw -j fdb show vlan 10 | jq -e 'length == 2' || return
	sw port set a mode trunk pvid 0 vlans all && sw port set b mode trunk pvid 0 vlans all &&
		pings a 2
}

forgers_are_stopped() {
	local before
	sw port set a macs 52:54:00:00:01:01 || return
	pings a 2 || return
	before=$(counter a drop_spoofed)
	inside a ip link set ta address 52:54:00:00:01:77
	fails pings a 2 && [ "$(counter a drop_spoofed)" -gt "$before" ]
	local rc=$?
	inside a ip link set ta address 52:54:00:00:01:01
	sw port set a macs "" spoofcheck off
	no_neighbours
	[ $rc = 0 ] && pings a 2
}

an_mtu_holds() {
	local before
	before=$(counter a drop_too_long)
	sw port set b mtu 1000 && pings a 2 -s 900 && fails pings a 2 -s 1200 &&
		[ "$(counter a drop_too_long)" -gt "$before" ] && sw port set b mtu 1500 &&
		pings a 2 -s 1200
}

isolated_ports_reach_the_uplink_only() {
	sw port set a isolated on && sw port set b isolated on && fails pings a 2 &&
		pings a 9 && pings b 9 && pings a 3
	local rc=$?
	sw port set a isolated off && sw port set b isolated off && [ $rc = 0 ] && pings a 2
}

# blast FROM DESTINATION COUNT
blast() {
	inside "$1" python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind((sys.argv[1], 0))
f = bytes.fromhex(sys.argv[2] + "525400000101" + "88b5") + bytes(50)
for i in range(int(sys.argv[3])):
	s.send(f)
	if i % 50 == 49:
		time.sleep(0.002)' "t$1" "$2" "$3"
}

# Of 6000 at once 1024 may pass before the rate counts.
rates_hold() {	# KEY DESTINATION CAUSE
	local sent dropped
	sw port set a "$1" 100 || return
	sent=$(counter a in_frames) dropped=$(counter a "drop_$3")
	blast a "$2" 6000
	until_true 5 counter_reaches a in_frames $((sent + 6000)) || return
	dropped=$(($(counter a "drop_$3") - dropped))
	sw port set a "$1" 0
	[ $dropped -ge 3500 ] && [ $dropped -le 5000 ] && return
	echo "$dropped of 6000 dropped"
	return 1
}

# Broadcasts count once for each port beyond the first.
storms_are_calmed() {
	local dropped
	sw port set a storm 100 || return
	dropped=$(counter a drop_storm)
	blast a ffffffffffff 6000
	until_true 5 counter_reaches a drop_storm $((dropped + 4000))
	local rc=$?
	sw port set a storm 200k
	return $rc
}

counter_reaches() {
	[ "$(counter "$1" "$2")" -ge "$3" ]
}

a_mirror_captures() {
	sw port add cap kind pcap file "$T/cap.pcap" && pings a 2 && sw port del cap || return
	python3 - "$T/cap.pcap" <<-'END'
		import struct, sys
		b = open(sys.argv[1], "rb").read()
		assert struct.unpack("<I", b[:4])[0] in (0xa1b2c3d4, 0xa1b23c4d)
		at, icmp = 24, 0
		while at < len(b):
		    n = struct.unpack("<I", b[at + 8:at + 12])[0]
		    f = b[at + 16:at + 16 + n]
		    icmp += f[12:14] == b"\x08\x00" and f[23] == 1
		    at += 16 + n
		assert icmp == 4, icmp
	END
}

each_mode_serves() {	# MODE
	sw set mode "$1" && [ "$(sw -j show | jq -r '.[0].mode')" = "$1" ] && all_meet
}

event_mode_sleeps() {
	local a b
	sw set mode event || return
	a=$(awk '{ print $14 + $15 }' "/proc/${PID[switch]}/stat")
	sleep 1
	b=$(awk '{ print $14 + $15 }' "/proc/${PID[switch]}/stat")
	sw set mode adaptive
	le $((b - a)) 2 "ticks of 10 ms in an idle second"
}

workers_are_where_they_were_put() {
	local task
	sw -j worker | jq -e 'length == 2 and all(.cpu == 0) and
		(map(.ports) | add) == 4 and all(.ports == 2)' || return
	for task in /proc/"${PID[switch]}"/task/*; do
		grep -q '^worker' "$task/comm" || continue
		[ "$(sed -n 's/^Cpus_allowed_list:\t//p' "$task/status")" = 0 ] || return
	done
	sw port add w socket "$T/w.sock" worker 1 &&
		[ "$(sw -j port show w | jq '.[0].worker')" = 1 ] && sw port del w
}

# This CPU's node is known; a node where no worker is, is no obstacle.
ports_go_to_the_node_they_ask_for() {
	local node
	node=$(find /sys/devices/system/cpu/cpu0 -maxdepth 1 -name 'node*' | grep -o '[0-9]*$')
	[ -n "$node" ] || { echo "this kernel tells no NUMA nodes"; return 77; }
	sw -j worker | jq -e "all(.node == $node)" || return
	sw port add n socket "$T/n.sock" node "$node" && sw port del n || return
	! log switch | grep no-worker-on-node || return
	sw port add n socket "$T/n.sock" node 60 && sw port del n &&
		log switch | grep 'switch: .*port=n event=no-worker-on-node node=60'
}

pools_own_what_they_are_given() {
	sw port add p socket "$T/p.sock" && sw pool add p macs 52:54:00:00:02:01 vlans 0,5 &&
		sw mac add 52:54:00:00:02:02 pool p vlan 5 && sw vlan add 6 pool p &&
		sw mode p -broadcast && sw pool default p && sw loopback off || return
	sw -j pool show p | jq -e '.[0] | .vlans == "0,5-6" and .is_default and .spoofcheck and
		(.accept | test("broadcast") | not) and
		(.macs | sort) == ["52:54:00:00:02:01/0", "52:54:00:00:02:01/5",
			"52:54:00:00:02:01/6", "52:54:00:00:02:02/5", "52:54:00:00:02:02/6"]' ||
		{ sw pool; return 1; }
	sw -j show | jq -e '.[0] | .unknown == "p" and (.loopback | not)' || return
	sw mac del 52:54:00:00:02:02 pool p vlan 5 && sw vlan del 6 pool p &&
		sw mode p +broadcast && sw loopback on && sw pool default flood &&
		sw -j pool | jq -e '.[0].macs | length == 2' && sw pool del p &&
		sw -j pool | jq -e 'length == 0' && sw port del p && pings a 2
}

metrics_are_on_a_loopback_port() {
	sw metrics | grep -q '^podpci_port_up{port="a"} 1$' || return
	inside switch python3 -c 'import urllib.request
t = urllib.request.urlopen("http://127.0.0.1:9177/metrics", timeout=5).read().decode()
assert "podpci_port_in_frames_total{port=\"a\"}" in t
assert "podpci_switch_ports 4" in t, t[:300]
for line in t.splitlines():
	assert line.startswith("# TYPE ") or float(line.split()[-1]) >= 0, line'
}

hangup_reads_the_configuration_again() {
	echo "port add late socket $T/late.sock" >>"$T/conf"
	echo "port add broken kind glass" >>"$T/conf"
	kill -HUP "${PID[switch]}"
	until_true 5 sw port show late || return
	until_true 5 log_has switch "conf:8: broken: glass: no such kind of port" || return
	pings a 2 && sw port del late
}

systemd_was_told() {
	local said
	kill -TERM "${PID[switch]}"
	wait "${PID[switch]}" || return
	until_true 5 log_has notify STOPPING=1 || return
	said=$(log notify | tr '\n' ' ')
	[ "$said" = "READY=1 RELOADING=1 READY=1 STOPPING=1 " ] && return
	echo "$said"
	return 1
}

logs_have_fields() {
	log switch | grep -q 'switch: event=started socket=.* workers=2$' &&
		log switch | grep -q 'switch: port=late event=added kind=vhost$' &&
		log switch | grep -q 'switch: event=stopped$'
}

the_unit_is_sound() {
	command -v systemd-analyze >/dev/null || { echo "no systemd-analyze"; return 77; }
	sed "s,/usr/local/bin/,$B/bin/,g" "$ROOT/deploy/systemd/podpci-switch.service" \
		>"$T/podpci-switch.service"
	systemd-analyze verify --man=no "$T/podpci-switch.service" >"$T/unit" 2>&1 &&
		! grep podpci-switch "$T/unit" && return
	cat "$T/unit"
	return 1
}

check "hosts behind TAP ports, and one in a bridge" switch_up || { log switch; finish; }
check "all reach each other" all_meet || { sw port; sw stats; }
check "mistakes are told in one line" mistakes_are_told
check "words, units and synonyms" words_are_as_people_write_them
check "addresses are learned, fixed and forgotten" addresses_are_learned_fixed_and_forgotten
check "VLANs divide" vlans_divide
check "a forged source address is stopped" forgers_are_stopped
check "a port's MTU holds" an_mtu_holds
check "isolated ports reach the uplink only" isolated_ports_reach_the_uplink_only
check "a limit on frames holds" rates_hold in_frames 525400000102 rate
check "storms are calmed" storms_are_calmed
check "a mirror port captures" a_mirror_captures
for mode in poll event adaptive; do
	check "mode $mode serves" each_mode_serves $mode
done
check "in event mode it sleeps" event_mode_sleeps
check "workers are where they were put" workers_are_where_they_were_put
check "ports go to the NUMA node they ask for" ports_go_to_the_node_they_ask_for
check "pools own what they are given" pools_own_what_they_are_given
check "metrics are on a loopback port" metrics_are_on_a_loopback_port
check "SIGHUP reads the configuration again" hangup_reads_the_configuration_again
check "systemd is told" systemd_was_told
check "logs have fields" logs_have_fields
check "the systemd unit is sound" the_unit_is_sound
finish
