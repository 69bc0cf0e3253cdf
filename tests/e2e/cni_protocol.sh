#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cni_protocol.sh - the CNI plugin as a runtime sees it: environment, stdin, stdout, exit status.
# shellcheck source=tests/e2e/lib-cni.sh
. "$(dirname "$0")/lib-cni.sh"

netns a
netns b
ALL=$(conf)
IPAM=$(conf '.ipam = {type: "fake-ipam", subnet: "10.9.0.0/24"}')

# ---- D1: the protocol -------------------------------------------------------------------------

only_json_on_stdout() {
	succeeds ADD "$ALL" PODPCI_LOG=debug && jq -es 'length == 1' <<<"$OUT" >/dev/null &&
		[ -n "$ERR" ] && succeeds DEL "$ALL" && same stdout "$OUT" ""
}

codes() {	# each code by what it is for
	fails 1 'cniVersion' ADD "$(conf '.cniVersion = "1.2.0"')" &&
		fails 2 'spoofcheck.*true' ADD "$(conf '.backend = "ovs" |
			.ovs = {bridge: "br0"} | .spoofcheck = true')" &&
		fails 4 'CNI_IFNAME' ADD "$ALL" CNI_IFNAME= &&
		fails 6 'JSON' ADD '{"name":' &&
		fails 7 'vlan.*9999' ADD "$(conf '.vlan = 9999')" &&
		fails 11 'none: No such file' ADD "$(conf ".switch.control = \"$T/run/none\"")" &&
		fails 101 'already' ADD "$ALL" CNI_NETNS="$T/ns.b" CNI_IFNAME=lo
}

unknown_commands() {
	local c
	for c in "" add FOO "ADD " "$(printf 'A%.0s' {1..100000})"; do
		fails 4 'CNI_COMMAND' "$c" "$ALL" || return
	done
}

missing_variables() {	# the power set of what ADD needs
	local names=(CNI_CONTAINERID CNI_NETNS CNI_IFNAME CNI_PATH) mask i unset
	for ((mask = 1; mask < 16; mask++)); do
		unset=()
		for i in 0 1 2 3; do
			((mask >> i & 1)) && unset+=("${names[i]}=")
		done
		fails 4 "missing" ADD "$ALL" "${unset[@]}" || return
		for i in 0 1 2 3; do
			((mask >> i & 1)) || continue
			has "$OUT" "${names[i]}" || return
		done
	done
}

container_ids() {
	local id
	for id in ../x a/b .x -x 'a b' $'a\nb' $'\xc3\xa4' "$(printf 'a%.0s' {1..60000})" 'a%2e'; do
		ID=$id fails 4 'CNI_CONTAINERID' ADD "$ALL" || { echo "id: ${id:0:20}"; return 1; }
	done
}

interface_names() {
	local name
	for name in . .. a/b a:b 'a b' $'a\tb' sixteen-bytes-xx 'x%d' $'\x01' -rf '"'; do
		IF=$name fails 4 'CNI_IFNAME' ADD "$ALL" || { echo "name: $name"; return 1; }
	done
	for name in all default x fifteen-bytes-x; do
		IF=$name succeeds ADD "$ALL" && IF=$name succeeds DEL "$ALL" || return
	done
}

netns_needed() {
	fails 4 CNI_NETNS ADD "$ALL" CNI_NETNS= && fails 4 CNI_NETNS CHECK "$ALL" CNI_NETNS= &&
		succeeds DEL "$ALL" CNI_NETNS=
}

netns_is_one() {	# what is none blocks nobody and is not entered
	touch "$T/plain"
	mkfifo "$T/fifo"
	ln -s /etc/passwd "$T/link"
	for what in "$T/plain" "$T/fifo" "$T/link" "$T" /dev/null /proc/self/ns/mnt; do
		fails 4 'CNI_NETNS' ADD "$ALL" CNI_NETNS="$what" || { echo "$what"; return 1; }
	done
	clean
}

cni_args() {
	fails 4 'CNI_ARGS' ADD "$ALL" CNI_ARGS='FOO=1' &&
		fails 4 'CNI_ARGS' ADD "$ALL" CNI_ARGS='FOO' &&
		fails 4 'CNI_ARGS' ADD "$ALL" CNI_ARGS='MAC=01:00:00:00:00:00' &&
		fails 4 'CNI_ARGS' ADD "$ALL" CNI_ARGS="K8S_POD_NAME=$(printf 'a%.0s' {1..5000})" &&
		succeeds ADD "$ALL" CNI_ARGS='IgnoreUnknown=1;FOO=1;K8S_POD_NAME=p' &&
		succeeds DEL "$ALL"
}

delegates_only_from_absolute_paths() {
	mkdir -p "$T/evil"
	printf '#!/bin/sh\ntouch %s/was-run\n' "$T" >"$T/evil/fake-ipam"
	chmod 755 "$T/evil/fake-ipam"
	(cd "$T/evil" && fails 100 'in no directory' ADD "$IPAM" CNI_PATH=.:evil::) &&
		[ ! -e "$T/was-run" ] && clean
}

versions() {
	local v
	for v in 0.3.0 0.3.1 0.4.0 1.0.0 1.1.0; do
		succeeds ADD "$(conf ".cniVersion = \"$v\" | .ipam = {type: \"fake-ipam\"}")" &&
			same cniVersion "$(field .cniVersion)" $v || return
		case $v in
		0*) same version "$(field '.ips[0].version')" 4 ;;
		*)  same version "$(field '.ips[0].version')" null ;;
		esac || return
		succeeds DEL "$IPAM" || return
	done
	for v in '"0.1.0"' '"0.2.0"' '"1.2.0"' '""'; do
		fails 1 'cniVersion' ADD "$(conf ".cniVersion = $v")" || return
	done
	fails 7 'cniVersion' ADD "$(conf '.cniVersion = 1')"
}

version_command() {
	local in
	for in in '' '{"cniVersion":"0.4.0"}' '{' '[]'; do
		printf '%s' "$in" | env -i CNI_COMMAND=VERSION "$CNI" >"$T/out" || return
		OUT=$(cat "$T/out")
		jq -e '.supportedVersions | index("0.3.1", "1.1.0") != null' "$T/out" >/dev/null ||
			return
	done
	printf '{"cniVersion":"0.4.0"}' | CNI_COMMAND=VERSION "$CNI" >"$T/out" &&
		same cniVersion "$(jq -r .cniVersion "$T/out")" 0.4.0
}

# Each key with a value of a wrong type or out of bounds: 6 or 7, and the key is named.
wrong_values() {
	local key bad
	while read -r key bad; do
		fails 7 "${key%%.*}" ADD "$(conf ".$key = $bad")" ||
			{ echo "$key = $bad"; return 1; }
	done <<-'END'
		name "../x"
		name 7
		type "a/b"
		backend "vpp"
		switch "x"
		switch.control "relative"
		switch.control "/etc/shadow"
		ovs 1
		socket []
		vlan "5"
		vlan -1
		mtu 67
		queues 0
		queues 128
		queueSize 100
		mode "new"
		packed 1
		mac "01:00:5e:00:00:01"
		mac "52:54:00"
		bdf "04.0"
		bdf "0000:00:20.0"
		memory "none"
		memory.backing "disk"
		memory.size "12Q"
		memory.size 0
		memory.reserve "1Gi"
		device "a/b"
		ipam []
		ipam {"x":1}
		ipam {"type":"../host-local"}
		runtimeConfig 5
		prevResult []
	END
}

unknown_keys_are_fine() {
	succeeds ADD "$(conf '.future = {a: [1]} | .dns = {}')" && succeeds DEL "$ALL"
}

# Networks written for userspace-cni: what they say of the host's side counts.
userspace_networks() {
	local host='.host = {engine: "ovs-dpdk", iftype: "vhostuser", netType: "bridge",
		vhost: {mode: "client"}, bridge: {bridgeName: "br-dpdk0", vlanId: 5}} |
		.container = {engine: "ovs-dpdk", iftype: "vhostuser", vhost: {mode: "server"}}'
	conf "$host" | CNI_CONTAINERID=c1 CNI_NETNS=$T/ns.a CNI_IFNAME=net1 CNI_PATH=$T/bin \
		"$CNI" --dry-run >"$T/plan" || return
	has "$(cat "$T/plan")" "^ovs $T/run/ovs.sock br-dpdk0 pod-.* tag=5" || return
	succeeds ADD "$(conf '.host = {engine: "podpci-switch", iftype: "vhostuser"}')" &&
		same ports "$(ports)" 1 && succeeds DEL "$ALL" || return
	fails 7 'host.iftype' ADD "$(conf "$host | .host.iftype = \"memif\"")" &&
		fails 7 'host.engine' ADD "$(conf "$host | .host.engine = \"vpp\"")" &&
		fails 7 'bridgeName' ADD "$(conf "$host | .host.bridge.bridgeName = \"-x\"")" &&
		fails 2 'client' ADD "$(conf "$host | .host.vhost.mode = \"server\"")" && clean
}

hostile_json() {
	local deep big
	deep=$(printf '{"a":%.0s' {1..200})
	big='{"name":"x","pad":"'$(head -c 1100000 /dev/zero | tr '\0' a)'"}'
	fails 6 'JSON' ADD "$deep" && fails 6 'read|JSON' ADD "$big" &&
		fails 6 'twice' ADD '{"name":"x","name":"y","cniVersion":"1.1.0"}' &&
		fails 6 'JSON' ADD "$ALL x" && fails 6 'JSON' ADD $'{"name":"\xff"}' &&
		fails 6 'JSON' ADD '' && fails 6 'JSON' ADD '[1]'
}

ends_in_time() {	# a switch that takes the connection and says nothing
	local before=$SECONDS
	python3 -c 'import socket, sys, time
s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(8); time.sleep(30)' \
		"$T/run/mute" &
	local mute=$!
	for ((i = 0; i < 100; i++)); do
		[ -S "$T/run/mute" ] && break
		sleep 0.05
	done
	fails 11 'answer' ADD "$(conf ".switch.control = \"$T/run/mute\"")"
	local rc=$?
	kill $mute
	[ $((SECONDS - before)) -le 12 ] && [ $rc = 0 ]
}

term_rolls_back() {
	cat >"$T/bin/slow-ipam" <<-END
		#!/bin/sh
		cat >/dev/null
		touch "$T/slow.began"
		[ "\$CNI_COMMAND" != ADD ] || sleep 20
	END
	chmod 755 "$T/bin/slow-ipam"
	conf '.ipam = {type: "slow-ipam"}' >"$T/in"
	env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS="$T/ns.a" CNI_IFNAME=net1 \
		CNI_PATH="$T/bin" "$CNI" <"$T/in" >"$T/out" 2>/dev/null &
	local pid=$!
	for ((i = 0; i < 200; i++)); do
		[ -e "$T/slow.began" ] && break
		sleep 0.02
	done
	kill -TERM $pid
	wait $pid
	OUT=$(cat "$T/out")
	same code "$(field .code)" 11 && clean
}

capabilities() {
	succeeds ADD "$(conf '.capabilities = {mac: true} |
		.runtimeConfig = {mac: "52:54:00:aa:bb:cc", deviceID: ""}')" &&
		same mac "$(field '.interfaces[0].mac')" 52:54:00:aa:bb:cc && succeeds DEL "$ALL" &&
		succeeds ADD "$(conf '.capabilities = {mac: false} |
		.runtimeConfig = {mac: "52:54:00:aa:bb:cc"}')" &&
		[ "$(field '.interfaces[0].mac')" != 52:54:00:aa:bb:cc ] && succeeds DEL "$ALL"
}

odd_process() {	# no cwd, no umask, no descriptors
	mkdir -p "$T/gone"
	(
		cd "$T/gone" && rmdir "$T/gone"
		umask 777
		cni ADD "$ALL" HOME=/nonexistent || exit
		[ "$RC" = 0 ] || { echo "$OUT"; exit 1; }
		umask 022
		chmod 644 "$T/out" "$T/err"
	) && succeeds CHECK "$(conf ".prevResult = $(cat "$T/out")")" && succeeds DEL "$ALL" &&
		printf '%s' "$ALL" >"$T/in" &&
		env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS="$T/ns.a" CNI_IFNAME=net1 \
			CNI_PATH="$T/bin" "$CNI" <"$T/in" 2>&- | jq -e .interfaces >/dev/null &&
		succeeds DEL "$ALL" && clean
}

no_code_3() {
	! grep -rn 'CNI_[A-Z]* = [389]' "$ROOT/cni-plugin"
}

switch_up || { echo "not ok the switch starts"; exit 1; }
try "D-PR-01 stdout has one JSON document or nothing, words go to stderr" only_json_on_stdout
try "D-PR-02..04, D-PR-16 every kind of error has its code and names what is wrong" codes
try "D-PR-05, D-PR-21 no code means something else to the runtime, or that DEL is not needed" \
	no_code_3
try "D-PR-06 an unknown command is an error of the environment" unknown_commands
try "D-PR-07 all missing variables are named" missing_variables
try "D-PR-08, D-PA-07 a container id is a plain name" container_ids
try "D-PR-09 an interface's name is one the kernel would take, and no path" interface_names
try "D-PR-10 ADD and CHECK need a network namespace, DEL does not" netns_needed
try "D-CO-07, D-CO-08 what is no network namespace is not entered" netns_is_one
try "D-PR-11, D-AD-11 CNI_ARGS are known or may be ignored" cni_args
try "D-PR-12 delegates are found by absolute paths only" delegates_only_from_absolute_paths
try "D-PR-13 a result has the version asked for" versions
try "D-PR-14, D-VR-01 VERSION needs nothing and takes anything on stdin" version_command
try "D-PR-15 a value of a wrong type or size is refused by its key" wrong_values
try "D-PR-15 keys of others are left alone" unknown_keys_are_fine
try "networks of userspace-cni are understood, or refused by the key" userspace_networks
try "D-PR-17 JSON is bounded, whole, valid UTF-8, each key once" hostile_json
try "D-PR-18, D-HK-04 a back-end that is silent does not hold the plugin up" ends_in_time
try "D-PR-18 SIGTERM rolls back" term_rolls_back
try "D-PR-20 runtimeConfig counts for declared capabilities only" capabilities
try "D-PR-22 neither cwd nor umask nor HOME nor stderr is needed" odd_process

# ---- D2: ADD ------------------------------------------------------------------------------------

result_tells_the_truth() {
	succeeds ADD "$IPAM" && jq -e --arg ns "$T/ns.a" '.interfaces == [{name: "net1",
		mac: .interfaces[0].mac, sandbox: $ns, socketPath: "/dev/podpci/net1/vhost.sock",
		pciID: "0000:00:04.0"}] and .ips == [{address: "10.9.0.7/24", gateway: "10.9.0.1",
		interface: 0}] and .routes[0].gw == "10.9.0.1" and
		.dns.nameservers == ["10.9.0.1"]' <<<"$OUT" || { echo "$OUT"; return 1; }
	same port "$("$PODPCI" switch -s "$T/ctl" -j port | jq -r '.[0].macs')" \
		"$(field '.interfaces[0].mac')"
	succeeds DEL "$IPAM" && clean
}

taken_name() {
	ip -n b link 2>/dev/null
	nsenter --net="$T/ns.a" ip link add net1 type dummy 2>/dev/null ||
		nsenter --net="$T/ns.a" ip link set lo name net1
	fails 101 'there already' ADD "$ALL"
	local rc=$?
	nsenter --net="$T/ns.a" ip link del net1 2>/dev/null ||
		nsenter --net="$T/ns.a" ip link set net1 name lo
	[ $rc = 0 ] && clean
}

PREV='{cniVersion: "1.1.0", interfaces: [{name: "veth9", mac: "aa:bb:cc:00:00:01", odd: [1, 2]},
	{name: "eth0", sandbox: "/x"}], ips: [{address: "10.0.0.5/16", interface: 1}],
	extra: {a: 1}}'

chained() {	# what came before goes through as it is; ours is added
	local conf
	conf=$(conf ".prevResult = $PREV")
	IF=eth0 succeeds ADD "$conf" || return
	jq -e ".interfaces[:2] == ($PREV).interfaces and .ips == ($PREV).ips and .extra == {a: 1}
		and .interfaces[2].name == \"podpci0\"" <<<"$OUT" >/dev/null ||
		{ echo "$OUT"; return 1; }
	IF=eth0 succeeds CHECK "$(conf ".prevResult = $OUT")" &&
		IF=eth0 succeeds DEL "$conf" && clean
}

bad_prev() {
	fails 7 'interface' ADD "$(conf '.prevResult = {ips: [{address: "1.2.3.4/8",
		interface: 3}]}')" &&
		fails 7 'interface' ADD "$(conf '.prevResult = {ips: [{address: "1.2.3.4/8",
			interface: -1}]}')" &&
		fails 7 'prevResult' ADD "$(conf '.prevResult = {interfaces: [{name: 5}]}')" &&
		fails 7 'prevResult' CHECK "$ALL"
}

second_add() {
	succeeds ADD "$IPAM" || return
	local before first=$OUT
	before=$(node_state)
	fails 101 'already' ADD "$IPAM" && same "the node" "$(node_state)" "$before" &&
		succeeds CHECK "$(conf ".prevResult = $first | .ipam = {type: \"fake-ipam\"}")" &&
		succeeds DEL "$IPAM" && clean
}

failing_steps_undo() {	# each step in turn
	echo '{"cniVersion":"1.1.0","code":113,"msg":"no addresses left"}' >"$T/ipam.fail.ADD"
	fails 113 'no addresses left' ADD "$IPAM" || return
	rm "$T/ipam.fail.ADD"
	clean || return
	jq -n '{hugepagesMax: "4Ti"}' | jq -s '.[0] * .[1]' "$T/node.json" - >"$T/big.json"
	fails 102 'hugepages' ADD "$(conf '.memory = {size: "1Ti"} |
		.ipam = {type: "fake-ipam"}')" PODPCI_NODE="$T/big.json" || return
	clean || return
	fails 11 'none: No such file' ADD "$(conf ".ipam = {type: \"fake-ipam\"} |
		.switch.control = \"$T/run/none\"")" && clean || return
	fails 100 '' ADD "$(conf '.runtimeConfig.CNIDeviceInfoFile = "/proc/nothing/here" |
		.ipam = {type: "fake-ipam"}')" && clean
}

ipam_errors() {
	local bad many
	echo 'not json' >"$T/ipam.fail.ADD"
	fails 100 'IPAM plugin' ADD "$IPAM" && clean || return
	rm "$T/ipam.fail.ADD"
	cp "$T/ipam.json" "$T/ipam.good"
	many=$(printf '{"address":"10.0.0.1/8"},%.0s' {1..100})
	for bad in '{}' '{"ips":[]}' '{"ips":5}' '{"ips":[{"address":"10.9.0.7"}]}' \
		'{"ips":[{"address":"x/8"}]}' '{"ips":[{"address":"10.0.0.1/33"}]}' \
		'{"ips":[{"address":"fe80::1/129"}]}' "{\"ips\":[${many%,}]}" 'nonsense' ''; do
		echo "$bad" >"$T/ipam.json"
		cni ADD "$IPAM"
		[ $RC != 0 ] && jq -e .code <<<"$OUT" >/dev/null ||
			{ echo "took: $bad: $OUT"; return 1; }
		clean || return
	done
	mv "$T/ipam.good" "$T/ipam.json"
}

delegate_gets_everything() {
	succeeds ADD "$IPAM" LD_PRELOAD=/nonexistent.so LD_LIBRARY_PATH=/x PATH="$T/evil:$PATH" \
		CNI_ARGS='IgnoreUnknown=1;K8S_POD_NAME=p' || return
	jq -e --argjson want "$IPAM" '. == $want' "$T/ipam.conf.ADD" >/dev/null ||
		{ cat "$T/ipam.conf.ADD"; return 1; }
	grep -qx "CNI_CONTAINERID=c1" "$T/ipam.env.ADD" &&
		grep -qx "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=p" "$T/ipam.env.ADD" &&
		grep -qx "CNI_NETNS=$T/ns.a" "$T/ipam.env.ADD" &&
		! grep -E '^LD_|evil' "$T/ipam.env.ADD" && succeeds DEL "$IPAM" && clean
}

only_roots_delegates() {
	cp "$T/bin/fake-ipam" "$T/bin/theirs" && chown 1000 "$T/bin/theirs"
	cp "$T/bin/fake-ipam" "$T/bin/open" && chmod 777 "$T/bin/open"
	fails 100 'others may change' ADD "$(conf '.ipam = {type: "theirs"}')" &&
		fails 100 'others may change' ADD "$(conf '.ipam = {type: "open"}')" && clean
}

device_info() {
	local f=$T/devinfo/dpdk-device.json
	succeeds ADD "$(conf ".runtimeConfig.CNIDeviceInfoFile = \"$f\"")" &&
		jq -e '. == {type: "vhost-user", version: "1.1.0", "vhost-user": {mode: "client",
			path: "/dev/podpci/net1/vhost.sock"}}' "$f" &&
		same mode "$(stat -c %a "$f")" 644 && succeeds DEL "$ALL" && [ ! -e "$f" ] &&
		[ -z "$(ls -A "$T/devinfo")" ] && clean
}

digests() {	# ids that share their beginning, and ids of one byte
	local id
	for id in aaaaaaaaaaaab aaaaaaaaaaaac a b; do
		ID=$id succeeds ADD "$ALL" || return
	done
	same ports "$(ports)" 4 || return
	for id in aaaaaaaaaaaab aaaaaaaaaaaac a b; do
		ID=$id succeeds DEL "$ALL" || return
	done
	clean
}

escaped() {
	cni ADD "$(conf '.backend = "a\nb\u001b[31m"')"
	[ "$(wc -l <"$T/err")" = 1 ] && ! grep -q $'\x1b' "$T/err" &&
		! jq -r .msg <<<"$OUT" | grep -q $'\x1b'
}

next_container() {	# kubelet tries again: same pod, another container id
	ID=first succeeds ADD "$IPAM" || return
	ID=second succeeds ADD "$IPAM" || return
	ID=first succeeds DEL "$IPAM" CNI_NETNS= && same ports "$(ports)" 1 &&
		ID=second succeeds DEL "$IPAM" && clean
}

two_devices() {	# of one container: each its own address on the bus
	IF=net1 succeeds ADD "$ALL" && IF=net2 succeeds ADD "$ALL" &&
		same pciID "$(field '.interfaces[0].pciID')" 0000:00:05.0 &&
		IF=net1 succeeds DEL "$ALL" && IF=net3 succeeds ADD "$ALL" &&
		same pciID "$(field '.interfaces[0].pciID')" 0000:00:04.0 &&
		IF=net2 succeeds DEL "$ALL" && IF=net3 succeeds DEL "$ALL" && clean
}

empty_device_id() {
	fails 7 'deviceID' ADD "$(conf '.runtimeConfig.deviceID = ""')"
}

try "D-AD-01, D-AD-03, D-AD-04 a result tells what was made" result_tells_the_truth
try "D-AD-02 an interface of that name in the pod is an error" taken_name
try "D-AD-05, D-AD-06, D-AD-17, D-CK-03 in a chain what came before goes through as it is" chained
try "D-SE-14, D-CK-01 a prevResult is judged like any stranger's" bad_prev
try "D-AD-07 a second ADD fails and leaves the first whole" second_add
try "D-AD-08, D-SE-07 a step that fails leaves nothing of those before it" failing_steps_undo
try "D-AD-09, D-AD-10 what an address plugin says wrong is an error, and nothing is left" \
	ipam_errors
try "D-AD-16, D-SE-04 a delegate gets our configuration and CNI_*, and nothing of a loader's" \
	delegate_gets_everything
try "D-PA-08 a delegate that others can change is not run" only_roots_delegates
try "D-AD-12 device information is written whole and goes with DEL" device_info
try "D-AD-13 the same pod may come back with another container" next_container
try "D-AD-14 names on the host are of the whole id" digests
try "D-AD-15 values are escaped in messages" escaped
try "two devices of a container have addresses of their own" two_devices
try "an attachment beyond the pod's allocation fails loudly" empty_device_id
switch_down
finish
