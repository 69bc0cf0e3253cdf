#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cni_netdev.sh - the interface that shows a pod's addresses to its kernel: made when asked for, as
# it was asked for, and nothing of it left.
# shellcheck source=tests/e2e/lib-cni.sh
. "$(dirname "$0")/lib-cni.sh"
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"

netns a
netns b
nsenter --net="$T/ns.a" sysctl -qw net.ipv6.conf.all.disable_ipv6=0
jq '.gcGraceMs = 0' "$T/node.json" >"$T/n" && mv "$T/n" "$T/node.json"
cat >"$T/ipam.json" <<END
{ "cniVersion": "1.1.0", "ips": [ { "address": "10.9.0.7/24", "gateway": "10.9.0.1" },
	{ "address": "fd00:9::7/64" } ],
  "routes": [ { "dst": "0.0.0.0/0", "gw": "10.9.0.1" } ] }
END
ALL=$(conf '.netdev = true | .ipam = {type: "fake-ipam"} | .mtu = 9000')
PLAIN=$(conf '.ipam = {type: "fake-ipam"}')

within() {	# COMMAND...: in the pod's network
	nsenter --net="$T/ns.a" "$@"
}

links() {	# all but the loopback device
	within ip -o link show | cut -d' ' -f2 | grep -v '^lo:'
}

clean_within() {
	same links "$(links)" "" && clean
}

prev() {	# the configuration for what comes after the last ADD
	jq -nc --argjson c "$ALL" --argjson r "$OUT" '$c + {prevResult: $r}'
}

none_unless_asked() {
	succeeds ADD "$PLAIN" && same links "$(links)" "" && succeeds DEL "$PLAIN" && clean_within
}

shows_what_was_given() {
	succeeds ADD "$ALL" || return
	local seen
	seen=$(within ip -j -d addr show net1 | jq -c '.[0] | [.address, .mtu, .linkinfo.info_kind,
		(.flags | contains(["UP"])), (.flags | contains(["LOWER_UP"])),
		[.addr_info[] | "\(.local)/\(.prefixlen)"]]')
	same interface "$seen" "[\"$(field '.interfaces[0].mac')\",9000,\"tun\",true,false,$(
		)[\"10.9.0.7/24\",\"fd00:9::7/64\"]]" &&
		same "its routes" "$(within ip route; within ip -6 route show dev net1)" "" &&
		same "tentative" "$(within ip addr show net1 tentative)" "" &&
		same "interfaces" "$(field '.interfaces | map(.name) | join(" ")')" net1 &&
		succeeds DEL "$ALL" && clean_within && succeeds DEL "$ALL" && clean_within
}

is_checked() {
	local conf
	succeeds ADD "$ALL" || return
	conf=$(prev)
	succeeds CHECK "$conf" && same stdout "$OUT" "" || return
	within ip link set net1 address 02:00:00:00:00:01 mtu 1400	# as a later plugin may
	succeeds CHECK "$conf" || return
	within ip addr del fd00:9::7/64 dev net1
	fails 103 'fd00:9::7/64' CHECK "$conf" || return
	within ip link del net1
	fails 103 'net1 is gone' CHECK "$conf" || return
	within ip tuntap add net1 mode tap
	fails 103 'gone or another' CHECK "$conf" || return
	succeeds DEL "$conf" && same "somebody else's" "$(links)" net1: || return
	within ip link del net1
	clean_within
}

name_is_taken() {
	within ip tuntap add net1 mode tap
	fails 101 'net1 is there already' ADD "$ALL" && same links "$(links)" net1: && clean
	local rc=$?
	within ip link del net1
	return $rc
}

is_taken_back() {	# when a later step fails
	switch_down
	fails 11 '' ADD "$ALL" && clean_within
}

goes_without_a_word_from_the_runtime() {	# no namespace, none any more, by GC
	succeeds ADD "$ALL" && succeeds DEL "$ALL" CNI_NETNS= && clean_within || return
	succeeds ADD "$ALL" CNI_NETNS="$T/ns.b" && umount -l "$T/ns.b" &&
		succeeds DEL "$ALL" CNI_NETNS="$T/ns.b" && clean || return
	succeeds ADD "$ALL" || return
	cni GC "$(jq -c '."cni.dev/valid-attachments" = []' <<<"$ALL")" CNI_CONTAINERID= \
		CNI_NETNS= CNI_IFNAME= && [ $RC = 0 ] && clean_within
}

in_a_chain() {	# the name is the first plugin's, the interface has the device's
	local conf
	within ip tuntap add eth0 mode tap
	conf=$(jq -c '.prevResult = {cniVersion: "1.1.0", interfaces: [{name: "eth0",
		sandbox: "/x"}], ips: [{address: "10.0.0.5/16", interface: 0}]} | .device = "dp0"' \
		<<<"$ALL")
	IF=eth0 succeeds ADD "$conf" && same links "$(links | sort | tr '\n' ' ')" 'dp0: eth0: ' &&
		same addresses "$(within ip -o -4 addr | awk '{ print $2 $4 }')" dp010.9.0.7/24 &&
		IF=eth0 succeeds CHECK "$(ALL=$conf prev)" &&
		IF=eth0 succeeds DEL "$conf" && same links "$(links)" eth0:
	local rc=$?
	within ip link del eth0
	return $rc
}

hooks_have_none() {
	jq 'del(.ipam)' <<<"$ALL" >"$T/net.d/net0.json"
	mkdir -p "$T/bundle/rootfs"
	echo '{"root": {"path": "rootfs"}, "process": {"user": {"uid": 0}, "env": []}}' \
		>"$T/bundle/config.json"
	unshare -m -n sleep 60 &
	local box=$!
	until ! cmp -s <(readlink /proc/$box/ns/mnt) <(readlink /proc/self/ns/mnt); do
		sleep 0.01
	done
	ERR=$(jq -nc --arg b "$T/bundle" --argjson p $box '{ociVersion: "1.0.2", id: "c1",
		status: "created", pid: $p, bundle: $b}' | "$HOOK" --device net0 2>&1 \
		--node "$PODPCI_NODE")
	local rc=$?
	kill $box
	wait $box 2>/dev/null
	same status $rc 1 && has "$ERR" 'netdev: is for networks that podpci-cni attaches' && clean
}

check "the switch starts" switch_up
try "a network that does not ask for an interface has none" none_unless_asked
try "D-AD-03 the interface shows the address, MTU and IP addresses, and carries nothing" \
	shows_what_was_given
try "D-CK-02, D-CK-03 CHECK misses an address or the interface, not what others may change" \
	is_checked
try "D-AD-02 a name that is taken is left to whom it belongs" name_is_taken
try "D-AD-08 it goes again if a later step fails" is_taken_back
try "D-DL-04, D-GC-01 DEL without a namespace and GC take it" goes_without_a_word_from_the_runtime
try "in a chain it has the device's name" in_a_chain
try "a hook's network has none, and it is said why" hooks_have_none
switch_down
finish
