# SPDX-License-Identifier: Apache-2.0
# lib-ovn.sh - OVN over several nodes: a central pair of databases, and for each node a network
# namespace with a switch and a controller of its own. Nodes are joined by a bridge; pods'
# frames go from one to the other in Geneve, all in user space.

nb() {
	ovn-nbctl --timeout=15 --db="unix:$T/central/nb.sock" "$@"
}

sb() {
	ovn-sbctl --timeout=15 --db="unix:$T/central/sb.sock" "$@"
}

# The wire: a bridge in a namespace of its own.
ovn_central() {
	local db
	mkdir -p "$T/central" && ip netns add wire && ip -n wire link add wire type bridge &&
		ip -n wire link set wire up || return
	for db in nb sb; do
		ovsdb-tool create "$T/central/$db.db" /usr/share/ovn/ovn-$db.ovsschema || return
		start central-$db ovsdb-server "$T/central/$db.db" --no-chdir \
			--remote="punix:$T/central/$db.sock" --unixctl="$T/central/$db.ctl"
		until_true 5 test -S "$T/central/$db.sock" || return
	done
	start northd ovn-northd --no-chdir --unixctl="$T/central/northd.ctl" \
		--ovnnb-db="unix:$T/central/nb.sock" --ovnsb-db="unix:$T/central/sb.sock"
	nb init && sb init
}

# ovn_node NODE ADDRESS MEGABYTES CORE
ovn_node() {
	local node=$1 addr=$2
	ip netns add "$node" && ip -n "$node" link set lo up &&
		ip -n wire link add "$node" type veth peer name phy netns "$node" &&
		ip -n wire link set "$node" master wire up &&
		ip -n "$node" link set phy mtu 1600 up &&
		ip -n wire link set "$node" mtu 1600 || return
	on "$node" ethtool -K phy tx off >/dev/null 2>&1
	ovs_up "$node" "$3" "$4" || return
	vsctl "$node" add-br br-phy -- set bridge br-phy datapath_type=netdev \
		fail-mode=standalone -- add-port br-phy phy || return
	ip -n "$node" addr add "$addr/24" dev br-phy && ip -n "$node" link set br-phy up || return
	vsctl "$node" set Open_vSwitch . external_ids:ovn-encap-ip="$addr" \
		external_ids:ovn-encap-type=geneve external_ids:ovn-bridge-datapath-type=netdev \
		external_ids:ovn-remote="unix:$T/central/sb.sock" || return
	start "$node-ctl" on "$node" ovn-controller "unix:$T/$node/db.sock" --no-chdir
}

ovn_port() {	# SWITCH NAME MAC
	nb --may-exist ls-add "$1" -- lsp-add "$1" "$2" -- lsp-set-addresses "$2" "$3" \
		-- lsp-set-port-security "$2" "$3"
}

ovn_bound() {	# NAME: some node has taken it, and it is up
	[ -n "$(sb --bare --columns=chassis find port_binding logical_port="$1")" ] &&
		[ "$(sb --bare --columns=up find port_binding logical_port="$1")" = true ]
}
