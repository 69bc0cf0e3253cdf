#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# ovs.sh - the plugin adds and removes ports of Open vSwitch with DPDK: two pods, stock testpmd as
# uid 1000 without capabilities, exchange packets through it; it is killed and comes back.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-cni bin/podpci-hook"
. "$(dirname "$0")/lib.sh"
. "$HERE/lib-oci.sh"
. "$HERE/lib-ovs.sh"
need $OVS ovsdb-server ovs-vsctl runc busybox jq

NETWORK=$T/net.json
cat >"$NETWORK" <<-END
	{ "cniVersion": "1.0.0", "name": "fast", "type": "podpci-cni", "backend": "ovs",
	  "ovs": { "db": "$T/n1/db.sock", "bridge": "br-int" },
	  "memory": { "size": "256Mi" } }
	END

pod_up() {	# ROLE
	local words
	mapfile -t words < <(app "$1" 1)
	oci_up runc "$1" "$NETWORK" "${words[@]}" || return
	until_true 20 log_has "$1" "Port statistics" || { log "$1" | tail; return 1; }
}

ports() {
	vsctl n1 list-ports br-int | wc -l
}

of_the_right_type() {
	vsctl n1 --format=csv --no-headings --columns=name,type,error find interface \
		type=dpdkvhostuserclient | tee "$T/ports"
	[ "$(grep -c dpdkvhostuserclient "$T/ports")" = 2 ]
}

ovs_killed() {
	stop n1 KILL
	start n1 on n1 $OVS "unix:$T/n1/db.sock" --no-chdir --unixctl="$T/n1/ovs.ctl"
	exchange "$T/sender.log" "$T/echo.log"
}

no_ovs() {	# its database is gone: ADD says so, and leaves nothing
	ovs_down n1
	ip netns add late || return
	! cni ADD late "$NETWORK" >"$T/late" 2>&1 || return
	cat "$T/late"
	grep -q "$T/n1/db.sock" "$T/late" && ip netns del late
}

allow_ovs n1
check "Open vSwitch starts" ovs_up n1 256 0 || finish
check "a pod starts" pod_up echo
check "and another" pod_up sender
check "each has a port, added by the plugin" of_the_right_type
check "D-AD-01 packets go there and back" exchange "$T/sender.log" "$T/echo.log"
check "and again after Open vSwitch was killed" ovs_killed
check "the pods end" eval "oci_down runc sender $NETWORK && oci_down runc echo $NETWORK"
check "D-DL-01 no port is left" eval 'same ports "$(ports)" 0'
check "nothing else is left" nothing_left
check "without Open vSwitch ADD fails and says why" no_ovs
check "D-AD-08 an ADD that failed left nothing" nothing_left
finish
