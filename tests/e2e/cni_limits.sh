#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cni_limits.sh - how far the plugin, the hook and a pod reach on a node, and who is believed.
# shellcheck source=tests/e2e/lib-cni.sh
. "$(dirname "$0")/lib-cni.sh"
need python3 setpriv runc

netns a
ALL=$(conf)
IPAM=$(conf '.ipam = {type: "fake-ipam"}')
SMALL=$(conf '.memory = {backing: "tmpfs", size: "1Mi"}')
HUGE=$(conf '.memory = {size: "4Mi"}')
jq '.gcGraceMs = 0' "$T/node.json" >"$T/n" && mv "$T/n" "$T/node.json"

memory_of() {	# CONTAINER-NUMBER: the one directory that was not there before
	find "$T/st" -type d -name m | grep -vF "${1:-/none/}"
}

# ---- others' things -------------------------------------------------------------------------

others() {	# all that is in a pod's network namespace and on the node that we did not make
	nsenter --net="$T/ns.a" sh -c 'ip addr; ip route show table all; ip neigh'
	ip link
	find "$T/run" "$T/net.d"
}

# In a chain DEL comes to us before those that are before us: they still need what they made.
chain_is_left() {
	local before conf
	conf=$(conf '.prevResult = {cniVersion: "1.1.0", interfaces: [{name: "lo", sandbox: "/x"}],
		ips: [{address: "10.0.0.5/16", interface: 0}], routes: [{dst: "0.0.0.0/0"}]}')
	nsenter --net="$T/ns.a" sh -c 'ip link set lo up; ip addr replace 10.0.0.5/16 dev lo'
	before=$(others)
	IF=lo succeeds ADD "$conf" && same "after ADD" "$(others)" "$before" &&
		IF=lo succeeds DEL "$conf" && same "after DEL" "$(others)" "$before" &&
		[ ! -e "$T/ipam.calls" ] && clean
}

# ---- memory ---------------------------------------------------------------------------------

full_memory_is_the_pods() {
	local m two
	succeeds ADD "$SMALL" || return
	m=$(memory_of)
	! dd if=/dev/zero of="$m/x" bs=64k 2>/dev/null &&
		[ "$(du -sk "$m" | cut -f1)" -le 1024 ] || { du -sk "$m"; return 1; }
	ID=c2 succeeds ADD "$SMALL" || return
	two=$(memory_of "$m")
	dd if=/dev/zero of="$two/x" bs=64k count=15 2>/dev/null &&
		ID=c2 succeeds DEL "$SMALL" && succeeds DEL "$SMALL" && clean
}

full_hugepages_are_the_pods() {	# and another pod's are its own, from the start
	local m
	succeeds ADD "$HUGE" || return
	m=$(memory_of)
	fallocate -l 4M "$m/x" && ! fallocate -l 2M "$m/y" 2>/dev/null || return
	ID=c2 succeeds ADD "$HUGE" && fallocate -l 4M "$(memory_of "$m")/x" || return
	ID=c2 succeeds DEL "$HUGE" && succeeds DEL "$HUGE" && clean
}

CG=/sys/fs/cgroup/memory$(sed -n 's/^[0-9]*:memory://p' /proc/self/cgroup)/podpci.$$

memory_is_charged_to_the_pod() {	# a page is its first user's: the plugin touches none
	local m used
	succeeds ADD "$SMALL" || return
	m=$(memory_of)
	same "used by ADD" "$(df --output=used "$m" | tail -n 1 | tr -d ' ')" 0 || return
	sh -c 'echo $$ >"$1/cgroup.procs" && exec dd if=/dev/zero of="$2/x" bs=64k count=12' _ \
		"$CG" "$m" 2>/dev/null
	used=$(sed -n 's/^cache //p' "$CG/memory.stat")
	echo "cache of the pod's group: $used"
	[ "$used" -ge $((12 * 65536)) ] && succeeds DEL "$SMALL" && clean
}

# ---- who is at the other end ----------------------------------------------------------------

impostor() {	# PATH: user 1000 listens there and keeps what it is told
	python3 -c 'import os, socket, sys
os.setgid(1000)
os.setuid(1000)
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
print("up", flush=True)
while True:
	c = s.accept()[0]
	c.settimeout(3)
	print("told", c.recv(4096), flush=True)
	c.close()' "$1" >"$T/impostor" 2>&1 &
	IMPOSTOR=$!
	for ((i = 0; i < 200; i++)); do
		grep -q up "$T/impostor" && return
		sleep 0.02
	done
	return 1
}

impostors_are_told_nothing() {
	local conf rc=0
	chmod 1777 "$T/run"
	impostor "$T/run/ovs.sock" || return
	conf=$(conf ".switch.control = \"$T/run/ovs.sock\"")
	fails 100 'user 1000' ADD "$conf" && fails 50 'user 1000' STATUS "$conf" &&
		fails 100 'user 1000' ADD "$(conf '.backend = "ovs" | .ovs.bridge = "br0"')" &&
		[ "$(grep -c "told b''" "$T/impostor")" -ge 3 ] &&
		! grep "told b'[^']" "$T/impostor" || rc=1
	kill $IMPOSTOR
	wait $IMPOSTOR 2>/dev/null
	rm -f "$T/run/ovs.sock"
	chmod 755 "$T/run"
	rm -rf "$T/st"		# what DEL would have to ask the impostor about
	return $rc
}

switch_is_roots() {
	same mode "$(stat -c %a%u "$T/ctl")" 6600 || return
	! setpriv --reuid 1000 --regid 1000 --clear-groups "$PODPCI" switch -s "$T/ctl" \
		switch show 2>"$T/err" && has "$(cat "$T/err")" 'ctl: Permission denied' || return
	python3 -c 'import socket, struct, sys
for size in (0x7fffffff, 0xffffffff, 20000):
	s = socket.socket(socket.AF_UNIX)
	s.settimeout(5)
	s.connect(sys.argv[1])
	s.send(struct.pack("<I", size) + b"x" * 64)
	left = b"?"
	while left:	# an answer at most, and the end
		left = s.recv(65536)' "$T/ctl" && same ports "$(ports)" 0
}

# ---- the processes --------------------------------------------------------------------------

cat >"$T/bin/probe-ipam" <<END
#!/usr/bin/python3
import ctypes, os, shutil
libc = ctypes.CDLL(None, use_errno=True)
with open("$T/probe", "w") as f:
    f.write(open("/proc/self/status").read())
    f.write("ptrace %d %d\n" % (libc.ptrace(0, 0, 0, 0), ctypes.get_errno()))
if os.environ["CNI_COMMAND"] == "ADD":
    print(open("$T/ipam.json").read())
END
chmod 755 "$T/bin/probe-ipam"

plugin_is_confined() {	# seen by what it starts
	local probe
	printf '%s' "$(conf '.ipam = {type: "probe-ipam"}')" >"$T/in"
	env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS="$T/ns.a" CNI_IFNAME=net1 \
		CNI_PATH="$T/bin" setpriv --inh-caps +net_admin --ambient-caps +net_admin \
		"$CNI" <"$T/in" || return
	probe=$(cat "$T/probe")
	has "$probe" '^Seccomp:	2$' && has "$probe" '^CapAmb:	0000000000000000$' &&
		has "$probe" '^ptrace -1 1$' || { echo "$probe"; return 1; }
	succeeds DEL "$(conf '.ipam = {type: "probe-ipam"}')" && clean
}

held_hook() {	# PREFIX...: the hook, waiting for its state
	rm -f "$T/held"
	mkfifo "$T/held"
	"$@" "$HOOK" --node "$PODPCI_NODE" <"$T/held" 2>/dev/null &
	HELD=$!
	exec 9>"$T/held"
	for ((i = 0; i < 200; i++)); do
		[ "$(readlink "/proc/$HELD/cwd")" = / ] &&
			[ "$(cat "/proc/$HELD/comm")" = podpci-hook ] && return
		sleep 0.01
	done
	return 1
}

# Root of a container is the same user. Without a capability on either side only the kernel's
# word on dumpable stands between them.
nobody_looks_into_the_hook() {
	local rc=0 drop='setpriv --bounding-set -all --inh-caps -all'
	held_hook $drop || return
	sleep 0.05
	$drop sleep 5 9>&- &
	local plain=$!
	sleep 0.05
	$drop readlink "/proc/$plain/exe" || rc=1	# what can be seen of others
	for f in exe cwd root fd/0; do
		! $drop readlink "/proc/$HELD/$f" || { echo "$f"; rc=1; }
	done
	! $drop cat "/proc/$HELD/environ" || rc=1
	exec 9>&-
	wait $HELD
	kill $plain
	wait $plain 2>/dev/null
	return $rc
}

# ---- what a pod is given --------------------------------------------------------------------

bundle() {
	rm -rf "$T/bundle"
	"$ROOT/deploy/bundle.sh" "$T/bundle" "$B/tests/e2e:/t" -- sh -c "$*" </dev/null || return
	jq '.annotations = {"io.kubernetes.cri.sandbox-id": "c1",
		"io.kubernetes.cri.container-type": "container"} |
		del(.mounts[] | select(.type == "hugetlbfs"))' "$T/bundle/config.json" \
		>"$T/c.json" && cp "$T/c.json" "$T/bundle/config.json"
}

in_pod() {	# fills OUT, ERR, RC: by the wrapper, as containerd would
	PODPCI_RUNTIME=runc run timeout 30 "$B/bin/podpci-runtime" --root "$T/runtime" run \
		-b "$T/bundle" "pod$((++BOX))"
}
BOX=0

# Files of root that a pod can read say what it needs and nothing of the node or its secrets.
no_secrets() {
	local conf
	conf=$(conf '.ipam = {type: "fake-ipam"} | .password = "hunter2" |
		.ovs.db = "'"$T"'/run/x" | .capabilities = {CNIDeviceInfoFile: true} |
		.runtimeConfig = {CNIDeviceInfoFile: "'"$T"'/run/info.json"}')
	succeeds ADD "$conf" CNI_ARGS='IgnoreUnknown=1;TOKEN=hunter2;K8S_POD_UID=u-hunter2' ||
		return
	bundle 'cat /sys/bus/pci/podpci/*.json /sys/bus/pci/podpci.conf /etc/ld.so.preload; env
		find /sys/bus/pci /dev/podpci -perm /6002 ! -type l ! -type s |
			sed "s/^/loose: /"' && in_pod
	OUT+=$(cat "$T/run/info.json")
	[ $RC = 0 ] && has "$OUT" '"pci":"0000:00:04.0"' && has "$OUT" '"vhost-user"' &&
		has_not "$OUT" 'hunter2' && has_not "$OUT" "$T" && has_not "$OUT" '^loose' ||
		{ echo "$OUT $ERR"; return 1; }
	same modes "$(stat -c %a%u "$T/run/info.json")" 6440 &&
		same "the record's" "$(find "$T/st" -name '*.json' -perm /077)" '' &&
		succeeds DEL "$conf" && clean
}

# The restricted profile of Kubernetes: no capability, no new ones, seccomp, a user, no device
# of the host but those every container has.
restricted_is_enough() {
	succeeds ADD "$ALL" || return
	bundle 'grep -E "^(CapEff|CapBnd|NoNewPrivs|Seccomp):" /proc/self/status; id -u
		find /dev -type b; find /dev -type c | sort | tr "\n" " "; echo; lspci -n
		python3 -c "import socket
socket.socket(socket.AF_UNIX).connect(\"/dev/podpci/net1/vhost.sock\"); print(\"connected\")"' &&
		in_pod
	[ $RC = 0 ] && has "$OUT" '^CapEff:	0*$' && has "$OUT" '^CapBnd:	0*$' &&
		has "$OUT" '^NoNewPrivs:	1$' && has "$OUT" '^Seccomp:	2$' &&
		has "$OUT" '^1000$' && has "$OUT" '^00:04.0' && has "$OUT" '^connected$' &&
		has_not "$OUT" '/dev/(vfio|uio|vhost|mem|net)' || { echo "$OUT $ERR"; return 1; }
	same "hostPath in examples" "$(grep -rlE 'hostPath|privileged: true' \
		"$ROOT/deploy/k8s/examples")" '' && succeeds DEL "$ALL" && clean
}

# asks JQ-PROGRAM WANT: what a driver with three devices of such a network gets when it asks for
# another address, for others' frames and for room for longer ones
asks() {
	local conf if
	conf=$(conf '.mode = "transitional" | '"$1")
	for if in net1 net2 net3; do
		IF=$if succeeds ADD "$conf" || return
	done
	bundle '/t/askmore 0000:00:04.0 0000:00:05.0 0000:00:06.0' && in_pod
	[ $RC = 0 ] && same "asked and got" "$(jq -c . <<<"$OUT")" "$2" ||
		{ echo "$RC $OUT $ERR"; return 1; }
}

gone() {	# all three
	local if
	for if in net1 net2 net3; do
		IF=$if succeeds DEL "$ALL" || return
	done
	clean
}

drops() {	# CAUSE: frames of all ports
	"$PODPCI" switch -s "$T/ctl" -j stats | jq "[.[].drop_$1] | add"
}

asking_for_more_is_in_vain() {
	asks '.mtu = 1500' '{"mac":1,"mac_changed":0,"from_other":0,"promisc":0,"table":0,'`
		`'"delivered":1,"overheard":0,"long":0}' || return
	same "spoofed" "$(drops spoofed)" 1 && same "too long" "$(drops too_long)" 1 && gone
}

policy_grants_an_address() {
	asks '.spoofcheck = false' '{"mac":0,"mac_changed":1,"from_other":1,"promisc":0,'`
		`'"table":0,"delivered":1,"overheard":0,"long":1}' && gone
}

# What IPAM gave is also where a program without a JSON parser looks.
network_is_in_the_environment() {
	local conf
	conf=$(conf '.ipam = {type: "fake-ipam"} | .mtu = 9000 | .mac = "52:54:00:aa:00:01"')
	succeeds ADD "$conf" && bundle 'env' && jq '.process.env += ["PODPCI_NET1_MTU=mine"]' \
		"$T/bundle/config.json" >"$T/c.json" && cp "$T/c.json" "$T/bundle/config.json" &&
		in_pod
	[ $RC = 0 ] && has "$OUT" '^PODPCI_NET1_PCI=0000:00:04.0$' &&
		has "$OUT" '^PODPCI_NET1_MAC=52:54:00:aa:00:01$' &&
		has "$OUT" '^PODPCI_NET1_IPS=10.9.0.7/24$' &&
		has "$OUT" '^PODPCI_NET1_GATEWAY=10.9.0.1$' &&
		has "$OUT" '^PODPCI_NET1_ROUTES=0.0.0.0/0 via 10.9.0.1$' &&
		has "$OUT" '^PODPCI_NET1_MTU=mine$' && has_not "$OUT" 'MTU=9000' ||
		{ echo "$OUT $ERR"; return 1; }
	succeeds DEL "$conf" && clean
}

# ---- nodes ----------------------------------------------------------------------------------

# A root nobody can write, clocks months ahead, no cgroups to be seen: ADD there and DEL here.
odd_node() {
	declare -f cni succeeds fails field same has clean node_state ports >"$T/fn"
	export T B CNI PODPCI ID IF CONF
	unshare -m -T --boottime 9000000 --monotonic 9000000 --fork bash -c '. "$T/fn"
		mount -o remount,bind,ro / && ! touch /x 2>/dev/null || exit
		umount -l /sys/fs/cgroup 2>/dev/null
		succeeds ADD "$1" && succeeds CHECK "$(jq -nc --argjson c "$1" --argjson r "$OUT" \
			"\$c + {prevResult: \$r}")" && ID=c2 succeeds ADD "$1" &&
			ID=c2 succeeds DEL "$1"' _ "$ALL" || return
	same ports "$(ports)" 1 && succeeds DEL "$ALL" && clean
}

# Upgraded while it is called: whoever calls finds a whole program, and only root can change it.
upgraded_under_use() {
	local i caller
	HOST=$T/host SOURCE=$B sh "$ROOT/deploy/install.sh" || return
	(while :; do
		CNI_COMMAND=VERSION "$T/host/opt/podpci/bin/podpci-cni" </dev/null >/dev/null ||
			echo broken
	done) >"$T/calls" 2>&1 &
	caller=$!
	for ((i = 0; i < 5; i++)); do
		HOST=$T/host SOURCE=$B sh "$ROOT/deploy/install.sh" || break
	done
	kill $caller
	wait $caller 2>/dev/null
	same "calls that failed" "$(cat "$T/calls")" '' && [ $i = 5 ] &&
		same modes "$(stat -c %a%u%g "$T"/host/opt/podpci/bin/* | sort -u)" 75500 &&
		same settings "$(find "$T/host/etc" -type f -exec stat -c %a%u {} + | sort -u)" \
			6440 &&
		same "half files" "$(find "$T/host" -name '*.new')" ''
}

# On a node without a switch of ours the programs are all there is: they are kept where they were.
stays_installed() {
	local installer rc=0 opt=$T/host2/opt
	HOST=$T/host2 SOURCE=$B sh "$ROOT/deploy/install.sh" --stay 0.1 &
	installer=$!
	comes [ -e "$T/host2/etc/containers/oci/hooks.d/podpci-stop.json" ] || return
	echo '{"attachmentsMax": 3}' >"$T/host2/etc/podpci/node.json"
	rm -r "$opt/cni" "$opt/podpci/bin/podpci-cni" && chmod 777 "$opt/podpci/bin/podpci-hook"
	comes [ -x "$opt/podpci/bin/podpci-cni" ] && comes [ -L "$opt/cni/bin/podpci-cni" ] &&
		comes eval '[ "$(stat -c %a "$opt/podpci/bin/podpci-hook")" = 755 ]' &&
		kill $installer && wait $installer &&
		has "$(cat "$T/host2/etc/podpci/node.json")" attachmentsMax || rc=1
	kill $installer 2>/dev/null
	return $rc
}

comes() {	# COMMAND...: true within five seconds
	for ((i = 0; i < 250; i++)); do
		! "$@" || return 0
		sleep 0.02
	done
	echo "not within the time: $*"
	return 1
}

check "the switch starts" switch_up
try "D-DL-09 in a chain DEL leaves what others made and still need" chain_is_left
try "D-SE-08 a pod that fills its memory fills its own" full_memory_is_the_pods
try "D-SE-08 hugepages of a pod are its own, to the last" full_hugepages_are_the_pods
if mkdir "$CG" 2>/dev/null; then
	try "D-SE-09 memory is charged to the pod that uses it" memory_is_charged_to_the_pod
	rmdir "$CG"
fi
try "D-PA-12 a socket of somebody else in a daemon's place is told nothing" \
	impostors_are_told_nothing
try "D-SE-16 the switch listens to root, and to so much at once" switch_is_roots
try "D-SE-18 the plugin gives up what it does not need, for what it starts too" \
	plugin_is_confined
try "D-HK-15 nobody without rights looks into the hook" nobody_looks_into_the_hook
try "D-PA-16 what a pod can read holds no secret of the node" no_secrets
try "D-SE-15 a pod needs no right and no device of the host" restricted_is_enough
try "D-SE-12 a driver that asks for another address, others' frames or a larger MTU gets none" \
	asking_for_more_is_in_vain
try "D-SE-12 what the network allows it gets: another address, long frames" \
	policy_grants_an_address
try "a pod's addresses and routes are in its environment" network_is_in_the_environment
try "D-SE-22 a read-only root, other clocks and no cgroups are no obstacle" odd_node
try "D-SE-17 an upgrade is never seen half done" upgraded_under_use
try "what was installed stays where a node has no switch of ours" stays_installed
switch_down
finish
