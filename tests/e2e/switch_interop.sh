#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_interop.sh - one switch, and on it at once front-ends nobody here wrote: DPDK's
# virtio-user in all its forms, its net_virtio on simulated PCI devices, a virtual machine in
# QEMU, and the kernel behind the uplink. Each answers the others' pings.
# shellcheck source=tests/e2e/lib.sh
PARTS="bin/podpci-switch"
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/e2e/lib_guest.sh
. "$(dirname "$0")/lib_guest.sh"

command -v ping >/dev/null || skip_all "ping is not installed"
[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"

VM_MAC=52:54:00:00:00:63 VM=10.9.0.99 HOST=10.9.0.1

sw() {
	"$PODPCI" switch -s "$T/ctl" "$@"
}

on_host() {	# in the uplink's network
	nsenter -t "${PID[switch]}" -n "$@"
}

switch_up() {
	start switch unshare -n sh -c 'sysctl -qw net.ipv6.conf.all.disable_ipv6=1
		ip link set lo up; exec "$@"' sh \
		"$B/bin/podpci-switch" --socket "$T/ctl" --port "upl0 kind tap address $HOST/24"
	until_true 5 sw show
}

# What is on the switch: number (of MAC and address), name, virtio-user's options. Those of the
# second list are in one process, with two queues each.
SINGLE=(
	"10 split ,packed_vq=0,in_order=0"
	"11 packed ,packed_vq=1,in_order=0"
	"12 split-in-order ,packed_vq=0,in_order=1"
	"13 packed-in-order ,packed_vq=1,in_order=1"
	"14 split-not-mergeable ,packed_vq=0,mrg_rxbuf=0,in_order=0"
	"15 packed-not-mergeable ,packed_vq=1,mrg_rxbuf=0,in_order=0"
	"16 split-in-order-not-mergeable ,packed_vq=0,mrg_rxbuf=0,in_order=1"
	"17 split-server ,packed_vq=0,server=1"
	"18 packed-server ,packed_vq=1,server=1"
)
MULTI=(
	"30 two-queues-split ,queues=2"
	"31 two-queues-packed ,queues=2,packed_vq=1"
)
PODS=(
	"40 pod-modern-packed "
	"41 pod-modern-split ,packed=off"
	"42 pod-not-mergeable ,mrg=off"
	"43 pod-transitional ,mode=transitional"
	"44 pod-legacy ,mode=legacy"
)

vhost_port() {	# NAME OPTIONS: the switch's side of it
	local more=""
	[[ $2 == *server* ]] && more="connect on"
	[[ $2 == *queues=2* ]] && more+=" queues 2"
	# shellcheck disable=SC2086
	sw port add "$1" socket "$T/$1.sock" $more
}

# testpmd that answers ARP and ICMP at all its ports
answers() {	# NAME COMMAND...
	local name=$1
	shift
	mark "$name"
	start "$name" "$@" --total-num-mbufs=16384 --mbcache=128 --disable-link-check \
		--no-flush-rx --port-topology=loop --forward-mode=icmpecho -a
	until_true 30 log_has "$name" "Press enter|Error|EXIT" && alive "$name" && return
	log "$name" | tail -n 20
	return 1
}

virtio_users() {	# PROCESS CORE QUEUES "NUMBER NAME OPTIONS"...
	local process=$1 core=$2 queues=$3 vdevs=() i=0 row n name opts
	shift 3
	for row; do
		read -r n name opts <<<"$row"
		vhost_port "$name" "$opts" || return
		vdevs+=(--vdev "net_virtio_user$i,path=$T/$name.sock,mac=52:54:00:00:00:$n$opts")
		i=$((i + 1))
	done
	answers "$process" stdbuf -oL dpdk-testpmd --lcores "0@$core,1@$core" --no-pci \
		--in-memory --single-file-segments -m 128 --file-prefix "$process" \
		"${vdevs[@]}" -- --rxq="$queues" --txq="$queues"
}

pods() {
	local row n name opts NET=()
	for row in "${PODS[@]}"; do
		read -r n name opts <<<"$row"
		vhost_port "$name" "" || return
		NET+=("socket=$T/$name.sock,mac=52:54:00:00:00:$n$opts")
	done
	answers pods pod stdbuf -oL dpdk-testpmd --lcores '0@1,1@1' --file-prefix pods --
}

virtual_machine() {
	guest_possible >"$T/why" || { cat "$T/why"; return 77; }
	guest_disk && vhost_port vm "" && guest "$T/vm.sock" $VM_MAC $VM/24
}

all_ports_are_up() {
	[ "$(sw -j port | jq '[.[] | select(.state == "down")] | length')" = 0 ] && return
	sw port | grep 'state down'
	return 1
}

# Everybody answers ARP requests for every address: who is meant is told beforehand.
neighbours() {
	local row
	for row in "${SINGLE[@]}" "${MULTI[@]}" "${PODS[@]}"; do
		on_host ip neigh replace "10.9.0.${row%% *}" lladdr "52:54:00:00:00:${row%% *}" \
			dev upl0 nud permanent || return
	done
	on_host ip neigh replace $VM lladdr $VM_MAC dev upl0 nud permanent
}

host_pings() {	# NUMBER
	on_host ping -q -c 2 -i 0.05 -W 5 "10.9.0.$1" &&
		on_host ping -q -c 2 -i 0.05 -W 5 -s 1400 "10.9.0.$1"
}

everybody() {	# the numbers
	local row
	for row in "${SINGLE[@]}" "${MULTI[@]}" "${PODS[@]}"; do
		echo "${row%% *}"
	done
}

# All at once; what each got is in a file of its own.
the_host_asks() {
	local n jobs=()
	for n in $(everybody); do
		(host_pings "$n" >"$T/host.$n" 2>&1; echo "pinged $n $?" >>"$T/host.$n") &
		jobs+=($!)
	done
	wait "${jobs[@]}"
}

# shellcheck disable=SC2016
the_guest_asks() {
	local ping='ping -q -W 5 10.9.0.$n' numbers ask
	mapfile -t numbers < <(everybody)
	ask='arp -s 10.9.0.$n 52:54:00:00:00:$n && '"$ping -c 2 -i 0.1 && $ping -c 1 -s 1400"
	guest_do "for n in ${numbers[*]}; do ($ask;"' echo "pinged $n $?") & done; wait' \
		>"$T/vm.pings"
}

answered() {	# FILE NUMBER
	grep -qx "pinged $2 0" "$1" || { cat "$1"; return 1; }
}

guest_and_host_meet() {
	local mac
	mac=$(on_host ip -j link show dev upl0 | jq -r '.[0].address')
	guest_do "arp -s $HOST $mac" && host_pings 99 && guest_do "ping -q -c 2 -W 5 $HOST"
}

# What each negotiated, as the switch sees it.
rings_are_what_was_asked_for() {
	local row n name opts ring want packed=" modern-packed not-mergeable transitional "
	sw -j port show | jq -r '.[] | "\(.name) \(.ring)"' >"$T/rings"
	for row in "${SINGLE[@]}" "${MULTI[@]}" "${PODS[@]}"; do
		read -r n name opts <<<"$row"
		ring=$(sed -n "s/^$name //p" "$T/rings")
		want=split
		[[ $opts == *packed_vq=1* || $packed == *" ${name#pod-} "* ]] && want=packed
		[ "$ring" = $want ] || { echo "$name has a $ring ring, not $want"; return 1; }
	done
}

nothing_was_refused() {
	local bad
	bad=$(sw -j stats | jq -r '.[] | .name as $n | to_entries[] |
		select(.key | test("bad|broken|cut|chain|in_header|faults")) |
		select(.value != 0) | "\($n) \(.key) \(.value)"')
	[ -z "$bad" ] && return
	echo "$bad"
	return 1
}

check "the switch starts, with an uplink" switch_up || { log switch; finish; }
check "a virtual machine in QEMU" virtual_machine	# first: it boots before others poll
vm=$?
check "stock virtio-user in nine forms" virtio_users single 0 1 "${SINGLE[@]}" || finish
check "stock virtio-user with two queues" virtio_users multi 0 2 "${MULTI[@]}" || finish
check "stock net_virtio on five simulated devices" pods || finish
check "all are on one switch at once" all_ports_are_up
check "with the rings they asked for" rings_are_what_was_asked_for
neighbours
the_host_asks
[ $vm = 0 ] && the_guest_asks
for row in "${SINGLE[@]}" "${MULTI[@]}" "${PODS[@]}"; do
	read -r n name _ <<<"$row"
	check "the host pings $name" answered "$T/host.$n" "$n"
	[ $vm = 0 ] && check "the virtual machine pings $name" answered "$T/vm.pings" "$n"
done
[ $vm = 0 ] && check "the virtual machine and the host ping each other" guest_and_host_meet
check "nothing any of them did was refused" nothing_was_refused
finish
