# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# demo-switch.sh - the form of demo.sh with podpci's own switch; sourced by it.
MAC1=52:54:00:70:64:01 MAC2=52:54:00:70:64:02
UPLINK=podpci-demo NET=10.213.77
core2=$guest
[ "$(nproc)" -gt 2 ] && core2=2

switch_up() {
	mark switch
	start switch taskset -c "$host" "$B/bin/podpci-switch" --socket "$W/ctl" --group 1000 \
		--config "$W/switch.conf"
	await switch 'event=started' 10 || die "the switch did not start"
}

sw() {
	"$B/bin/podpci" switch -s "$W/ctl" "$@"
}

pod() {	# NAME MAC CORE TESTPMD-OPTIONS...
	local name=$1 mac=$2
	shift 2
	"$B/bin/podpci" sysfs --net "socket=$W/$name.vhost/sock,mac=$mac,queue-size=1024" \
		"$W/$name.tree" >"$W/$name.plan" || die "podpci sysfs failed"
	container "$name" "$W/$name.plan" "$W/$name.vhost" "$@"
}

pod_rates() {	# SECONDS
	rates pod1 "$1" "pod1 to pod2" "pod2 to pod1"
}

# What the switch has counted at a port.
counter() {	# PORT NAME
	sw -j stats "$1" | jq -r ".[0].$2"
}

[ -c /dev/net/tun ] || die "/dev/net/tun is missing: the uplink needs it"
! ip link show $UPLINK >/dev/null 2>&1 || die "there is an interface $UPLINK: is a demo running?"

step "Host: podpci-switch, with a port for each pod and an uplink into the host's network"
mkdir "$W/pod1.vhost" "$W/pod2.vhost"
cat >"$W/switch.conf" <<END
port add upl0 kind tap dev $UPLINK address $NET.1/24
port add pod1 socket $W/pod1.vhost/sock
port add pod2 socket $W/pod2.vhost/sock
END
quote <"$W/switch.conf"
switch_up
grep -E 'CapEff|NoNewPrivs|Seccomp:' "/proc/${PID[switch]}/status" | quote

step "Containers: runc, uid 1000, no capabilities, default seccomp, no /dev/vfio"
pod pod1 $MAC1 "$guest" --forward-mode=flowgen
pod pod2 $MAC2 "$core2" --forward-mode=macswap
note "dpdk-testpmd runs in both without any EAL memory flag. What they see:"
look_around pod1
port_is_ours pod1 $MAC1
port_is_ours pod2 $MAC2
link_up pod1
link_up pod2

step "Packets: pod1 sends as fast as it can, pod2 sends each one back"
say pod2 start
say pod1 start
pod_rates "$each"
flowed "no packets"
note "$SENT packets out and $GOT in; from one pod's memory into the other's with one copy"
[ "$(nproc)" -gt 2 ] || note "The pods share a CPU here: one that waits for its turn loses."
sw fdb show | quote

step "The switch is killed (kill -9) and started again; the applications are not told"
{ kill -KILL "${PID[switch]}"; wait "${PID[switch]}"; } 2>/dev/null
sleep 0.3
ask pod1 'show port info 0' 'Link status' | quote
switch_up
link_up pod1
link_up pod2
ask pod1 'show port info 0' 'Link status' | quote
pod_rates "$each"
flowed "traffic did not resume"
say pod1 stop

step "Uplink: the host pings pod2, whose testpmd now answers ARP and ICMP (icmpecho)"
mark pod2
say pod2 stop
await pod2 '^Done' 5 || die "pod2 does not stop"
say pod2 'set fwd icmpecho'
say pod2 start
await pod2 'icmpecho packet forwarding' 5 || die "pod2 does not start again"
ip -brief address show $UPLINK | quote
ping -c 5 -i 0.3 -W 2 $NET.2 >"$W/ping" || { quote <"$W/ping"; die "pod2 does not answer"; }
quote <"$W/ping"
note "frames at the uplink: $(counter upl0 in_frames) in, $(counter upl0 out_frames) out"

printf '\n%sDone: packets flowed between the pods, after the restart too, and to the host.%s\n' \
	"$bold$green" "$off"
