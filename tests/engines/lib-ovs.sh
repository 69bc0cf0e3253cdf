# SPDX-License-Identifier: Apache-2.0
# lib-ovs.sh - Open vSwitch with DPDK from the distribution, in directories of the test's own.
#
# A node is a name: its daemons run in $T/NODE, and in the network namespace NODE if there is one.

OVS=/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk
SCHEMA=/usr/share/openvswitch/vswitch.ovsschema

# Where the node's administrator allows networks to have a database.
allow_ovs() {	# NODE...
	mkdir -p /etc/podpci && printf '%s\n' "$@" | jq -R --arg t "$T" '$t + "/" + .' |
		jq -s '{ socketDirs: (["/run/podpci"] + .) }' >/etc/podpci/node.json
}

# on NODE COMMAND...: in the node's network namespace, with its own run-time directory
on() {
	local node=$1 enter=()
	shift
	[ ! -e "/run/netns/$node" ] || enter=(nsenter --net="/run/netns/$node")
	OVS_RUNDIR=$T/$node OVS_LOGDIR=$T/$node OVS_SYSCONFDIR=$T/$node OVN_RUNDIR=$T/$node \
		exec_or_run "${enter[@]}" "$@"
}

vsctl() {	# NODE ARGUMENTS...
	local node=$1
	shift
	on "$node" ovs-vsctl --timeout=15 --db="unix:$T/$node/db.sock" "$@"
}

# ovs_up NODE MEGABYTES CORE: no kernel module, no PCI device; it rests when nothing comes
ovs_up() {
	local node=$1
	mkdir -p "$T/$node" && ovsdb-tool create "$T/$node/conf.db" $SCHEMA || return
	start "$node-db" on "$node" ovsdb-server "$T/$node/conf.db" --no-chdir \
		--remote="punix:$T/$node/db.sock" --unixctl="$T/$node/db.ctl"
	until_true 5 test -S "$T/$node/db.sock" || return
	vsctl "$node" --no-wait init -- set Open_vSwitch . external_ids:system-id="$node" \
		other_config:dpdk-init=true other_config:dpdk-socket-mem="$2" \
		other_config:pmd-cpu-mask="$(printf '0x%x' $((1 << $3)))" \
		other_config:pmd-maxsleep=100 other_config:userspace-tso-enable=false \
		other_config:dpdk-extra="--no-pci --in-memory --single-file-segments
			--file-prefix $node" || return
	start "$node" on "$node" $OVS "unix:$T/$node/db.sock" --no-chdir \
		--unixctl="$T/$node/ovs.ctl"
	vsctl "$node" add-br br-int -- set bridge br-int datapath_type=netdev \
		fail-mode=standalone || { log "$node" | tail -n 20; return 1; }
	[ "$(vsctl "$node" get Open_vSwitch . dpdk_initialized)" = true ] ||
		{ log "$node" | tail -n 20; return 1; }
}

# ovs_port NODE NAME SOCKET [ROW-SETTINGS...]: as the plugin makes it; the pod has the socket
ovs_port() {
	local node=$1 name=$2 sock=$3
	shift 3
	vsctl "$node" add-port br-int "$name" -- set interface "$name" \
		type=dpdkvhostuserclient options:vhost-server-path="$sock" "$@"
}

ovs_down() {
	stop "$1"
	stop "$1-db"
}

ovs_frames() {	# NODE PORT: frames the port took from and gave to the pod
	vsctl "$1" get interface "$2" statistics:rx_packets statistics:tx_packets
}
