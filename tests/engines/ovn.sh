#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ovn.sh - two nodes joined by OVN, a pod on each: the distributed engine.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-cni bin/podpci-hook"
. "$(dirname "$0")/lib.sh"
. "$HERE/lib-oci.sh"
. "$HERE/lib-ovs.sh"
. "$HERE/lib-ovn.sh"
need $OVS ovsdb-server ovn-northd ovn-controller ip runc busybox jq

# network NODE POD MAC: as a NetworkAttachmentDefinition of the cluster would be, with the node's
# own switch
network() {
	cat >"$T/$2.net" <<-END
	{ "cniVersion": "1.0.0", "name": "fast", "type": "podpci-cni", "backend": "ovs",
	  "mac": "$3", "memory": { "size": "128Mi" },
	  "ovs": { "db": "$T/$1/db.sock", "bridge": "br-int",
	           "ifaceId": "{namespace}.{pod}" } }
	END
}

pod_on() {	# NODE ROLE MAC
	local words
	mapfile -t words < <(app "$2" 1)
	network "$1" "$2" "$3"
	oci_up runc "$2" "$T/$2.net" "${words[@]}" || return
	until_true 15 log_has "$2" "Port statistics" || { log "$2" | tail; return 1; }
}

nothing_left_of() {	# NODE
	leftovers | grep -vx "n1.*\|n2.*\|wire.*" && return 1
	! vsctl "$1" list-ports br-int | grep -v '^ovn-'
}

pods_end() {
	oci_down runc sender "$T/sender.net" && oci_down runc echo "$T/echo.net" &&
		until_true 10 eval '! ovn_bound default.sender && ! ovn_bound default.echo'
}

node_dies_and_returns() {
	stop n2-ctl KILL
	stop n2 KILL
	start n2 on n2 $OVS "unix:$T/n2/db.sock" --no-chdir --unixctl="$T/n2/ovs.ctl"
	ip -n n2 addr replace 172.31.0.2/24 dev br-phy 2>/dev/null
	until_true 10 ip -n n2 link show br-phy &&
		ip -n n2 addr replace 172.31.0.2/24 dev br-phy && ip -n n2 link set br-phy up &&
		start n2-ctl on n2 ovn-controller "unix:$T/n2/db.sock" --no-chdir
	exchange "$T/sender.log" "$T/echo.log"
}

allow_ovs n1 n2
check "the central databases start" ovn_central || finish
check "the first node joins" ovn_node n1 172.31.0.1 128 0 || finish
check "the second node joins" ovn_node n2 172.31.0.2 128 0 || finish
ovn_port ls0 default.sender $MAC_A
ovn_port ls0 default.echo $MAC_B
check "a pod on the second node" pod_on n2 echo $MAC_B
check "a pod on the first node" pod_on n1 sender $MAC_A
check "OVN binds the port the plugin made on the first node" until_true 10 \
	ovn_bound default.sender
check "and on the second" until_true 10 ovn_bound default.echo
check "D-AD-01 frames cross the nodes and come back" exchange "$T/sender.log" "$T/echo.log"
check "and again after a node's switch and controller were killed" node_dies_and_returns
check "the pods end, and OVN lets go of their ports" pods_end
check "nothing is left" eval 'nothing_left_of n1 && nothing_left_of n2'
finish
