#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cni_hook.sh - devices in containers: the hook with runc, crun and by itself, the runtime wrapper,
# CDI; images that mean harm.
# shellcheck source=tests/e2e/lib-cni.sh
. "$(dirname "$0")/lib-cni.sh"
for tool in runc lspci python3; do
	command -v $tool >/dev/null || skip_all "$tool is not installed"
done
RUNTIME=$B/bin/podpci-runtime
netns a
ALL=$(conf)
MEM=$(conf '.memory = {size: "4Mi"}')
umount -l /sys/fs/cgroup/unified 2>/dev/null	# crun takes no mixed hierarchy

# bundle COMMAND...: runs it as uid 1000 without capabilities, with what the hook puts there
bundle() {
	rm -rf "$T/bundle"
	"$ROOT/deploy/bundle.sh" "$T/bundle" -- sh -c "$*" </dev/null &&
		edit 'del(.mounts[] | select(.type == "hugetlbfs"))'
}

edit() {	# JQ-PROGRAM [JQ-OPTIONS...]: config.json
	local program=$1
	shift
	jq "$@" "$program" "$T/bundle/config.json" >"$T/c.json" &&
		cat "$T/c.json" >"$T/bundle/config.json"
}

hooked() {	# [ANNOTATIONS]: by hand, as a hooks.d or an engine would
	edit '.annotations = $a | .hooks.createRuntime = [{path: $h, args: ["podpci-hook", "-v",
		"--node", $n], env: ["LD_PRELOAD=/nonexistent.so", "PATH=/evil"]}]' \
		--arg h "$HOOK" --arg n "$PODPCI_NODE" \
		--argjson a "${1:-{\"io.kubernetes.cri.sandbox-id\": \"c1\"\}}"
}

start() {	# RUNTIME: fills OUT, ERR, RC
	run timeout 30 "$1" --root "$T/runtime" run -b "$T/bundle" "box$((++BOX))"
}
BOX=0

LOOK='lspci -n; cat /etc/ld.so.preload; grep -c podpci /proc/self/maps
	ls /sys/kernel/iommu_groups; [ -e /sys/module/kernel ] || [ -d /sys/module ] && echo module
	grep hugetlbfs /proc/mounts; cat /sys/bus/pci/podpci/network.json; id -u
	touch /sys/bus/pci/x /dev/podpci/x 2>&1 | grep -c Read-only
	cd /dev/podpci/plugs && mkdir bus/pci/devices/plugged kernel/iommu_groups/plugged &&
		touch bus/pci/drivers/vfio-pci/plugged &&
		rm -r bus/pci/devices/0000:00:04.0/power &&
		ls -d /sys/bus/pci/devices/plugged /sys/kernel/iommu_groups/plugged \
			/sys/bus/pci/drivers/vfio-pci/plugged
	touch bus/pci/drivers/x 2>&1 | grep "Permission denied"; find . -name "*podpci*"; cd /
	ls -l /proc/self/fd
	python3 -c "import socket; s = socket.socket(socket.AF_UNIX)
s.connect(\"/dev/podpci/net1/vhost.sock\"); print(\"connected\")"'

# The pod may write where devices come and go, and only there: not in what other users run by.
can_plug() {
	has "$OUT" '^/sys/bus/pci/devices/plugged$' &&
		has "$OUT" '^/sys/kernel/iommu_groups/plugged$' &&
		has "$OUT" '^/sys/bus/pci/drivers/vfio-pci/plugged$' &&
		has "$OUT" "touch: .*bus/pci/drivers/x.*: Permission denied" &&
		has_not "$OUT" '^\./.*podpci'
}

shown_by() {	# RUNTIME [JQ-PROGRAM on config.json]
	succeeds ADD "$MEM" && bundle "$LOOK" && hooked && edit "${2:-.}" && start "$1" || return
	[ $RC = 0 ] && has "$OUT" '^00:04.0 0200: 1af4:1041' && has "$OUT" '"pci":"0000:00:04.0"' &&
		has "$OUT" '^/sys/bus/pci/podpci/libpodpci.so$' && has "$OUT" 'hugetlbfs.*size=4' &&
		has "$OUT" '^1000$' && has "$OUT" '^connected$' && has "$OUT" '^module$' &&
		has "$OUT" '^2$' && can_plug || { echo "$RC $OUT $ERR"; return 1; }
	# /proc/self/fd: its own three and the directory
	[ "$(sed -n '/^total 0/,$p' <<<"$OUT" | grep -c ' -> ')" -le 4 ] ||
		{ echo "$OUT"; return 1; }
	succeeds DEL "$MEM" && clean && ! grep -q "$T/bundle" /proc/self/mountinfo
}

in_runc() {
	shown_by runc
}

in_crun() {
	command -v crun >/dev/null || { echo "crun is not installed"; return 1; }
	shown_by crun
}

root_cannot_be_written() {	# not even by the host: /etc is covered with what it has
	succeeds ADD "$MEM" && bundle "$LOOK" && hooked || return
	mount --bind "$T/bundle/rootfs" "$T/bundle/rootfs" &&
		mount -o remount,bind,ro "$T/bundle/rootfs" || return
	start runc
	umount -l "$T/bundle/rootfs"
	[ $RC = 0 ] && has "$OUT" '^00:04.0' && has "$OUT" 'libpodpci.so$' &&
		has "$OUT" '^connected$' && succeeds DEL "$MEM" && clean ||
		{ echo "$OUT $ERR"; return 1; }
}

# A pod written for userspace-cni: its annotation says where, its program reads that file and finds
# the socket by it.
as_userspace_cni() {
	local where
	succeeds ADD "$(jq -c '.ipam = {type: "fake-ipam"}' <<<"$MEM")" || return
	bundle 'cat /shared/configData-c1-net1.json; cmp /shared/*.json /dev/podpci/*.json
		python3 -c "import json, socket; s = socket.socket(socket.AF_UNIX)
f = json.load(open(\"/shared/configData-c1-net1.json\"))[\"config\"][\"vhost\"]
s.connect(\"/shared/\" + f[\"socketfile\"]); print(\"connected as\", f[\"mode\"])"' &&
		mkdir "$T/bundle/rootfs/shared" || return
	for where in '"userspace/mapped-dir": "/shared"' '"userspace/mappedDir": "/shared//"'; do
		hooked "{\"io.kubernetes.cri.sandbox-id\": \"c1\", $where}" && start runc
		[ $RC = 0 ] && has "$OUT" '^connected as client$' &&
			same file "$(sed '/^connected/d' <<<"$OUT" | jq -c '[.containerId,
				.ifName, .name, .config.iftype, .ipResult.ips[0].address]')" \
				'["c1","net1","dpdk","vhostuser","10.9.0.7/24"]' ||
			{ echo "$OUT $ERR"; return 1; }
	done
	for where in /proc/x /sys / /dev shared /a/../../etc '/x\n'; do
		hooked "{\"io.kubernetes.cri.sandbox-id\": \"c1\",
			\"userspace/mapped-dir\": \"$where\"}" && start runc
		[ $RC != 0 ] && has "$ERR" 'mapped-dir: must be' || { echo "$where"; return 1; }
	done
	succeeds DEL "$ALL" && clean
}

# What a pod may write to holds so many files, and then no more.
files_are_bounded() {
	succeeds ADD "$(conf '.memory = {backing: "tmpfs", size: "64Mi"}')" &&
		bundle 'python3 -c "import os
for d in \"/dev/hugepages\", \"/dev/podpci/plugs/bus/pci/devices\":
	n = 0
	try:
		while n < 20000:
			os.mkdir(f\"{d}/{n}\")
			n += 1
	except OSError as e:
		print(d, 1000 < n < 9000, e.strerror)"' && hooked && start runc || return
	same files "$OUT" "/dev/hugepages True No space left on device
/dev/podpci/plugs/bus/pci/devices True No space left on device" && succeeds DEL "$ALL" && clean ||
		{ echo "$ERR"; return 1; }
}

no_attachment() {
	bundle 'lspci -n | grep -c 1041; echo ran' && hooked && start runc && has "$OUT" '^ran$' &&
		has_not "$OUT" 'podpci' && [ $RC = 0 ]
}

in_user_namespace() {	# the socket is for the host's number of the container's user
	shown_by runc '.linux.namespaces += [{type: "user"}] |
		.linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] |
		.linux.gidMappings = .linux.uidMappings | .mounts |= map(select(.type != "sysfs") +
			if .destination == "/dev/pts" then {options: ["newinstance"]} else {} end) |
		.mounts += [{destination: "/sys", type: "bind", source: "/sys",
			options: ["rbind", "ro"]}]'
}

# From the node, into a pod whose /sys is read-only; its driver is stock DPDK.
plugged_into_a_pod() {
	local rc=1 pid
	command -v dpdk-testpmd >/dev/null || { echo "dpdk-testpmd is not installed"; return 1; }
	mkfifo "$T/say" && exec 7<>"$T/say" && succeeds ADD "$ALL" &&
		bundle exec stdbuf -oL dpdk-testpmd --lcores 0@0,1@0 --no-huge -m 64 \
			--no-telemetry -- -i --total-num-mbufs=2048 && hooked || return
	runc --root "$T/runtime" run -b "$T/bundle" hot <"$T/say" >"$T/hot" 2>&1 &
	until_says 'testpmd>' && pid=$(runc --root "$T/runtime" state hot | jq .pid) &&
		"$PODPCI" dev -p "$pid" add net9 socket /dev/podpci/net1/other.sock &&
		echo "port attach 0000:00:05.0" >&7 && until_says 'Port 1 is attached' &&
		echo "port detach 1" >&7 && until_says 'Now total ports is 1' &&
		"$PODPCI" dev -p "$pid" del net9 &&
		same devices "$(ls "/proc/$pid/root/sys/bus/pci/devices")" 0000:00:04.0 && rc=0
	echo quit >&7
	wait $!
	exec 7>&-
	rm "$T/say"
	[ $rc = 0 ] || tail -n 20 "$T/hot"
	succeeds DEL "$ALL" && clean && return $rc
}

until_says() {
	local i
	for ((i = 0; i < 500; i++)); do
		! grep -q "$1" "$T/hot" || return 0
		sleep 0.02
	done
	return 1
}

broken_is_told() {
	succeeds ADD "$MEM" && bundle 'echo ran' && hooked || return
	find "$T/st" -type d -name s -exec sh -c 'rm -r "$1"' _ {} \;
	start runc
	[ $RC != 0 ] && has_not "$OUT" '^ran$' && has "$ERR" 'cannot be opened' &&
		succeeds DEL "$MEM" && clean
}

# ---- by itself: a container is a process with a mount namespace and a directory -----------------

box_up() {
	rm -rf "$T/bundle"
	mkdir -p "$T/bundle/rootfs"/{etc,sys,dev,proc}
	echo '{"root": {"path": "rootfs"}, "process": {"user": {"uid": 0}, "env": []}}' \
		>"$T/bundle/config.json"
	unshare -m --propagation private sh -c 'mount -t sysfs none "$1/sys" &&
		mount -t tmpfs none "$1/dev" && echo up >"$1/up" && exec sleep 60' _ \
		"$T/bundle/rootfs" &
	BOX_PID=$!
	for ((i = 0; i < 200; i++)); do
		[ -e "$T/bundle/rootfs/up" ] && return
		sleep 0.01
	done
	return 1
}

box_down() {
	kill -9 $BOX_PID
	wait $BOX_PID 2>/dev/null
}

state() {	# [JQ-PROGRAM]
	jq -nc --arg b "$T/bundle" --argjson p "$BOX_PID" '{ociVersion: "1.0.2", id: "c1",
		status: "created", pid: $p, bundle: $b} | '"${1:-.}"
}

hook() {	# STATE [OPTIONS...]
	printf '%s' "$1" >"$T/state"
	shift
	"$HOOK" --node "$PODPCI_NODE" "$@" <"$T/state" >"$T/out" 2>"$T/err"
	RC=$?
	OUT=$(cat "$T/out") ERR=$(cat "$T/err")
}

in_box() {
	nsenter -t $BOX_PID -m "$@"
}

bad_states() {
	local bad
	box_up && succeeds ADD "$ALL" || return
	for bad in '.pid = 0' '.pid = 1' '.pid = -1' '.pid = "5"' '.pid = 4000000' ".pid = $$" \
		'del(.id)' 'del(.bundle)' '.bundle = "relative"' '.bundle = "/nonexistent"' \
		'.status = "running"' 'del(.status)' '.bundle = "/a/../etc"'; do
		hook "$(state "$bad")"
		[ $RC = 1 ] && [ -n "$ERR" ] || { echo "$bad: $RC $ERR"; box_down; return 1; }
	done
	for bad in '' '{' '[]' "$(state) x" "$(head -c 1200000 /dev/zero | tr '\0' ' ')"; do
		hook "$bad"
		[ $RC = 1 ] || { box_down; return 1; }
	done
	hook "$(state)" && [ $RC = 0 ] && in_box ls "$T/bundle/rootfs/sys/bus/pci/podpci.conf" &&
		hook "$(state '.status = "stopped" | del(.pid)')" && [ $RC = 0 ]
	local rc=$?
	box_down
	succeeds DEL "$ALL" && return $rc
}

dry_run_is_golden() {
	box_up && succeeds ADD "$MEM" || return
	hook "$(state)" --dry-run
	box_down
	sed "s,$T,NODE,g; s,$B,BUILD,g; s/[0-9a-f]\{32\}/DIGEST/g
		s/mac[\"\\:=]\+[0-9a-f:]*/MAC/g" \
		"$T/out" | diff "$ROOT/tests/golden/hook-plan.txt" - && succeeds DEL "$MEM"
}

# The image's author swaps directories for links while the hook looks. What they lead to on the
# host is never written, and nothing is mounted on the host.
attacked() {
	local n=0 i host before
	mkdir -p "$T/host/etc" "$T/host/podpci" "$T/host/hugepages"
	echo canary >"$T/host/etc/canary"
	succeeds ADD "$MEM" && box_up || return
	cat >"$T/swap.py" <<-END
		import ctypes, os, random, sys, time
		libc = ctypes.CDLL(None, use_errno=True)
		root, host = sys.argv[1:3]
		os.chdir(root)
		ups = "../" * 12
		for name, to in (("etc", host + "/etc"),):
		    os.symlink(ups + to.lstrip("/"), name + ".link")
		os.symlink(ups + host.lstrip("/") + "/etc/canary", "preload.link")
		open("etc/ld.so.preload", "w").close()
		print("up", flush=True)
		while True:
		    for i in range(random.randint(1, 200)):
		        libc.renameat2(-100, b"etc", -100, b"etc.link", 2)
		        libc.renameat2(-100, b"etc/ld.so.preload", -100, b"preload.link", 2)
		        libc.renameat2(-100, b"etc", -100, b"etc.link", 2)
		    time.sleep(random.random() / 200)
	END
	python3 "$T/swap.py" "$T/bundle/rootfs" "$T/host" >"$T/swap.out" &
	local swapper=$!
	until [ -s "$T/swap.out" ]; do sleep 0.02; done
	before=$(grep -v "$T/st" /proc/self/mountinfo | md5sum)
	for ((i = 0; i < 100; i++)); do
		hook "$(state)"
		[ $RC = 0 ] && n=$((n + 1))
	done
	kill -9 $swapper
	wait $swapper 2>/dev/null
	box_down
	echo "$n of 100 went through; the last: $RC $ERR"
	same canary "$(cat "$T/host/etc/canary")" canary && same "the host's files" \
		"$(cd "$T/host" && find . | sort | tr '\n' ' ')" \
		". ./etc ./etc/canary ./hugepages ./podpci " &&
		same mounts "$(grep -v "$T/st" /proc/self/mountinfo | md5sum)" "$before" &&
		[ $n -gt 0 ] && succeeds DEL "$MEM" && clean
}

links_stay_inside() {	# a fixed, absolute link in the image is a link in the image
	succeeds ADD "$MEM" && box_up || return
	rm -r "$T/bundle/rootfs/etc"
	mkdir -p "$T/bundle/rootfs$T/inside" "$T/inside"
	ln -s "$T/inside" "$T/bundle/rootfs/etc"
	hook "$(state)"
	[ $RC = 0 ] && [ -z "$(ls -A "$T/inside")" ] &&
		[ -e "$T/bundle/rootfs$T/inside/ld.so.preload" ]
	local rc=$?
	box_down
	echo "$ERR"
	succeeds DEL "$MEM" && return $rc
}

not_a_file() {	# a pipe or a device where a list is expected blocks nobody
	local rc=0
	succeeds ADD "$MEM" || return
	for what in 'mkfifo' 'mknod -m 600'; do
		box_up || return
		if [ "$what" = mkfifo ]; then
			mkfifo "$T/bundle/rootfs/etc/ld.so.preload"
		else
			mknod "$T/bundle/rootfs/etc/ld.so.preload" c 5 1
		fi
		timeout 5 "$HOOK" --node "$PODPCI_NODE" <<<"$(state)" 2>"$T/err"
		[ $? = 0 ] || { cat "$T/err"; rc=1; }
		box_down
	done
	succeeds DEL "$MEM" && return $rc
}

killed_hook() {	# at each of its calls: the host is as before
	local n rc before
	succeeds ADD "$MEM" || return
	before=$(node_state)
	for ((n = 1; n < 400; n += 3)); do
		box_up || return
		state >"$T/state"
		"$B/tests/e2e/killat" $n "$HOOK" --node "$PODPCI_NODE" <"$T/state" 2>/dev/null
		rc=$?
		box_down
		same "the node" "$(node_state)" "$before" || return
		[ $rc = 137 ] || break
	done
	[ $n -gt 20 ] && [ $n -lt 400 ] && succeeds DEL "$MEM" && clean
}

check "the switch starts" switch_up
try "D-AD-01, D-HK-06, D-HK-07, D-HK-10, D-PA-18 runc: a pod's device in its container" in_runc
try "D-HK-16 crun: the same" in_crun
try "a root that nobody can write is no obstacle" root_cannot_be_written
try "D-HK-14 a user namespace: the socket is for its user" in_user_namespace
try "a device plugged into a running pod is found by its address" plugged_into_a_pod
try "a pod of userspace-cni finds its file and its socket where it says" as_userspace_cni
try "D-SE-10 what a pod may write to holds so many files" files_are_bounded
try "a container without an attachment is left as it is" no_attachment
try "D-HK-03 a container whose device cannot be shown does not start, and it is said why" \
	broken_is_told
try "D-HK-01, D-HK-02, D-HK-11 a state that cannot be is refused" bad_states
try "the plan for a container is as it was" dry_run_is_golden
try "D-HK-09, D-PA-01, D-PA-03, D-SE-23 an image that swaps directories reaches no host file" \
	attacked
try "D-HK-08, D-HK-12 absolute links of an image are in the image" links_stay_inside
try "D-PA-06 pipes and devices in place of files block nobody" not_a_file
[ ! -x "$B/tests/e2e/killat" ] ||
	try "killed at any call, the hook leaves the host as it was" killed_hook

# ---- by name: the wrapper, CDI's hooks --------------------------------------------------------

networks() {
	echo '{"memory": {"backing": "none"}}' >"$T/net.d/net0.json"
	echo '{"memory": {"backing": "none"}, "mtu": 9000}' >"$T/net.d/net1.json"
}

wrapper_gives_devices() {	# RUNTIME ASK-JQ
	networks
	bundle 'lspci -n; echo $LD_PRELOAD $PODPCI_NETWORK' && edit "$2" || return
	PODPCI_RUNTIME=$1 start "$RUNTIME"
	[ $RC = 0 ] && has "$OUT" '^00:04.0' && has "$OUT" '^00:05.0' &&
		has "$OUT" 'libpodpci.so /sys' && clean || { echo "$OUT $ERR"; return 1; }
}

wrapper_leaves_others() {
	local before
	networks
	bundle 'echo ran' || return
	before=$(md5sum <"$T/bundle/config.json")
	PODPCI_RUNTIME=runc start "$RUNTIME"
	[ $RC = 0 ] && has "$OUT" '^ran$' &&
		same config "$(md5sum <"$T/bundle/config.json")" "$before" || return
	# nor with a node that is set up wrong, or a config.json that only the runtime understands
	PODPCI_NODE=/nonexistent PODPCI_RUNTIME=runc start "$RUNTIME"
	[ $RC = 0 ] && has "$OUT" '^ran$' || return
	echo '{' >"$T/bundle/config.json"
	PODPCI_RUNTIME=runc start "$RUNTIME"
	has_not "$ERR" 'podpci-runtime: [^w]'
}

wrapper_edit_is_golden() {
	networks
	bundle true && edit '{process: {env: ["A=b", "LD_PRELOAD=/x.so", "PODPCI_NET=net0"]}, root,
		hooks: {poststop: [{path: "/theirs"}]},
		annotations: {"podpci.dev/net": "net1,net0"}}' || return
	PODPCI_RUNTIME=/bin/true "$RUNTIME" create --bundle "$T/bundle" x || return
	sed "s,$T,NODE,g; s,$B,BUILD,g" "$T/bundle/config.json" | jq . |
		diff "$ROOT/tests/golden/runtime-config.json" -
}

wrapper_refuses() {
	networks
	bundle 'echo ran' || return
	for ask in absent ../x 'a b' "$(printf 'n%.0s' {1..40})"; do
		bundle 'echo ran' && edit '.process.env += ["PODPCI_NET=" + $a]' --arg a "$ask"
		PODPCI_RUNTIME=runc start "$RUNTIME"
		[ $RC != 0 ] && has_not "$OUT" '^ran$' && clean ||
			{ echo "$ask: $OUT $ERR"; return 1; }
	done
}

cdi_is_golden() {
	networks
	"$PODPCI" cdi generate --output "$T/cdi" --node "$PODPCI_NODE" &&
		same list "$("$PODPCI" cdi list --node "$PODPCI_NODE" | tr '\n' ' ')" \
		'podpci.dev/net=net0 podpci.dev/net=net1 ' || return
	sed "s,$T,NODE,g; s,$B,BUILD,g" "$T/cdi/podpci.json" | diff "$ROOT/tests/golden/cdi.json" -
}

# As an engine applies the specification: the edits of both devices, one after the other.
cdi_works() {
	networks
	"$PODPCI" cdi generate --output "$T/cdi" --node "$PODPCI_NODE" &&
		bundle 'lspci -n' || return
	edit '.hooks = ([$s[0].devices[].containerEdits.hooks[]] | group_by(.hookName) |
		map({key: .[0].hookName, value: map(del(.hookName))}) | from_entries)' \
		--slurpfile s "$T/cdi/podpci.json"
	start runc
	[ $RC = 0 ] && has "$OUT" '^00:04.0' && has "$OUT" '^00:05.0' && clean ||
		{ echo "$ERR"; return 1; }
}

forgotten_is_swept() {	# no poststop was run
	networks
	box_up || return
	hook "$(state)" --device net0
	[ $RC = 0 ] && same ports "$(ports)" 1 || { echo "$ERR"; return 1; }
	"$HOOK" --node "$PODPCI_NODE" --sweep && same ports "$(ports)" 1 || return
	box_down
	"$HOOK" --node "$PODPCI_NODE" --sweep && clean
}

poststop_alone() {
	networks
	BOX_PID=0
	mkdir -p "$T/bundle"
	hook "$(state '.status = "stopped" | del(.pid)')" --device net0 --stage poststop
	[ $RC = 0 ] || return
	hook "$(state '.status = "stopped" | del(.pid)')" --device net0
	[ $RC = 0 ] && clean
}

try "the wrapper gives devices that the environment asks for" \
	wrapper_gives_devices runc '.process.env += ["PODPCI_NET=net0,net1"]'
try "the wrapper gives devices that an annotation asks for, to crun too" \
	wrapper_gives_devices crun '.annotations = {"podpci.dev/net": "net0,net1"}'
try "D-HK-13 the wrapper leaves a container that did not ask as it is" wrapper_leaves_others
try "D-HK-13 what the wrapper writes is as it was" wrapper_edit_is_golden
try "a container that asks for what is not there does not start" wrapper_refuses
try "CDI: the specification is as it was" cdi_is_golden
try "CDI: two devices of one container" cdi_works
try "D-HK-05 poststop alone, and twice" poststop_alone
try "what no poststop took is swept when the process is gone" forgotten_is_swept
switch_down
finish
