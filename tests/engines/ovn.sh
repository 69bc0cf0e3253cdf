#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ovn.sh - two nodes joined by OVN, a pod on each: the distributed engine.
# shellcheck source=tests/engines/lib.sh
PARTS=bin/podpci
. "$(dirname "$0")/lib.sh"
. "$HERE/lib-ovs.sh"
. "$HERE/lib-ovn.sh"
need $OVS ovsdb-server ovn-northd ovn-controller ip

mkdir -p "$T/sock"

pod_on() {	# NAME ROLE MAC CORE
	local NET=("socket=$T/sock/$1,server,mac=$3") words
	mapfile -t words < <(app "$2" "$4")
	mark "$1"
	start "$1" pod "${words[@]}"
	until_true 15 log_has "$1" "Port statistics"
}

port_is_up() {	# NODE NAME
	ovs_port "$1" "$2" "$T/sock/$2" external_ids:iface-id="$2" &&
		until_true 10 ovn_bound "$2"
}

node_dies_and_returns() {
	stop n2-ctl KILL
	stop n2 KILL
	start n2 on n2 $OVS "unix:$T/n2/db.sock" --no-chdir --unixctl="$T/n2/ovs.ctl"
	ip -n n2 addr replace 172.31.0.2/24 dev br-phy 2>/dev/null
	until_true 10 ip -n n2 link show br-phy &&
		ip -n n2 addr replace 172.31.0.2/24 dev br-phy && ip -n n2 link set br-phy up &&
		start n2-ctl on n2 ovn-controller "unix:$T/n2/db.sock" --no-chdir
	exchange "$T/a.log" "$T/b.log"
}

check "the central databases start" ovn_central || finish
check "the first node joins" ovn_node n1 172.31.0.1 128 0 || finish
check "the second node joins" ovn_node n2 172.31.0.2 128 0 || finish
ovn_port ls0 a $MAC_A
ovn_port ls0 b $MAC_B
check "a port with an iface-id is bound on the first node" port_is_up n1 a
check "and on the second" port_is_up n2 b
check "a pod on the second node" pod_on b echo $MAC_B 1
check "a pod on the first node" pod_on a sender $MAC_A 1
check "frames cross the nodes and come back" exchange "$T/a.log" "$T/b.log"
check "and again after a node's switch and controller were killed" node_dies_and_returns
finish
