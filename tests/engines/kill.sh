#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kill.sh - kill -9 for everybody, at every step: the plugin and the hook at each system call they
# make, the switch, the pod; a reboot. After DEL, or GC, nothing is left.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni bin/podpci-hook"
. "$(dirname "$0")/lib.sh"
. "$HERE/lib-oci.sh"
need runc busybox jq strace /usr/lib/cni/host-local

NETWORK=$T/net.json
cat >"$NETWORK" <<-END
	{ "cniVersion": "1.0.0", "name": "fast", "type": "podpci-cni", "spoofcheck": false,
	  "memory": { "size": "8Mi" },
	  "ipam": { "type": "host-local", "subnet": "10.9.0.0/24" } }
	END

# As a runtime that knows of no attachment asks for it.
collect() {
	jq '. + { cniVersion: "1.1.0", "cni.dev/valid-attachments": [] } | del(.ipam)' \
		"$NETWORK" >"$T/gc.json"
	cni GC none "$T/gc.json"
}

# points LOG: each system call in a trace of strace -f, as NAME:WHEN
points() {
	sed -n 's/^\([0-9]* *\)\{0,1\}\([a-z0-9_]*\)(.*/\2/p' "$1" |
		awk '$1 != "execve" { print $1 ":" ++n[$1] }'
}

# killed_at POINT COMMAND...: fails if it was not killed, which is the caller's error
killed_at() {
	local point=$1
	shift
	CNI_WRAP=(strace -qq -o /dev/null -e trace="${point%:*}"
		-e inject="${point%:*}:signal=KILL:when=${point#*:}")
	"$@"
	local rc=$?
	CNI_WRAP=()
	[ $rc = 137 ]
}

kill_everywhere() {	# VERB CLEANER: the plugin dies at each of its system calls
	local verb=$1 cleaner=$2 conf=$NETWORK point n=0
	ip netns add victim || return
	[ "$verb" = GC ] && conf=$T/gc.json && collect
	[ "$verb" = ADD ] || cni ADD victim "$NETWORK" >/dev/null || return
	age
	CNI_WRAP=(strace -qq -o "$T/trace")
	cni "$verb" victim "$conf" >/dev/null || return
	CNI_WRAP=()
	cni DEL victim "$NETWORK" || return
	for point in $(points "$T/trace"); do
		[ "$verb" = ADD ] || cni ADD victim "$NETWORK" >/dev/null ||
			{ echo "ADD before $point"; return 1; }
		[ "$verb" != GC ] || age
		killed_at "$point" cni "$verb" victim "$conf" >/dev/null 2>&1 && n=$((n + 1))
		$cleaner victim || { echo "$cleaner after $point"; return 1; }
		nothing_of_ours || { echo "after $point"; return 1; }
	done
	ip netns del victim
	echo "killed at $n points"
	[ $n -ge 20 ]
}

by_del() {
	cni DEL "$1" "$NETWORK"
}

by_gc() {
	age
	collect
}

# GC spares what is younger than two seconds: it may have come after the runtime made its list.
age() {
	find /run/podpci/cni -name '*.json' -exec sed -i 's/"madeMs": *[0-9]*/"madeMs":1/' {} +
}

nothing_of_ours() {	# the pod's network namespace may stay
	leftovers | grep -v '^victim' >"$T/leftovers"
	[ ! -s "$T/leftovers" ] || { cat "$T/leftovers"; return 1; }
}

# ---- the hook ---------------------------------------------------------------------------

hook_trial() {	# WRAPPER-TEXT: a container whose hook runs under it
	printf '#!/bin/sh\nexec %s "%s" "$@"\n' "$1" "$BIN/podpci-hook" >"$T/hook" &&
		chmod 755 "$T/hook" || return
	ip netns add victim && cni ADD victim "$NETWORK" >/dev/null || return
	bundle victim true || return
	jq --arg h "$T/hook" '.hooks.createRuntime[0].path = $h' \
		"$T/victim.bundle/config.json" >"$T/new.json" &&
		mv "$T/new.json" "$T/victim.bundle/config.json"
	runc --root "$T/runc" run -b "$T/victim.bundle" victim >"$T/victim.log" 2>&1
	HOOK_RC=$?
	runc --root "$T/runc" delete -f victim 2>/dev/null
	cni DEL victim "$NETWORK" && ip netns del victim
}

hook_killed_everywhere() {
	local point n=0 i=0
	hook_trial "strace -qq -o $T/trace" && [ $HOOK_RC = 0 ] ||
		{ cat "$T/victim.log"; return 1; }
	for point in $(points "$T/trace"); do
		[ $((i++ % ${HOOK_STEP:-7})) = 0 ] || continue
		hook_trial "strace -qq -o /dev/null -e trace=${point%:*} -e \
			inject=${point%:*}:signal=KILL:when=${point#*:}" || return
		[ $HOOK_RC != 0 ] || { echo "started without its device: $point"; return 1; }
		n=$((n + 1))
		nothing_left || { echo "after $point"; return 1; }
	done
	echo "killed at $n points"
	[ $n -ge 10 ]
}

# ---- the others -------------------------------------------------------------------------

pod_up() {	# NAME
	oci_up runc "$1" "$NETWORK" sleep 1000 || return
	until_true 10 runc --root "$T/runc" exec "$1" test -e /sys/bus/pci/podpci.conf
}

pod_killed() {
	pod_up p || return
	runc --root "$T/runc" kill p KILL
	wait "${PID[p]}"
	oci_down runc p "$NETWORK"
}

switch_killed() {
	pod_up p || return
	stop switch KILL
	oci_down runc p "$NETWORK"
	rm -f /run/podpci/switch.ctl
	switch_up || return
	collect
}

switch_killed_under_add() {
	ip netns add late || return
	kill -STOP "${PID[switch]}"
	cni ADD late "$NETWORK" >/dev/null &
	local add=$!
	sleep 0.3
	stop switch KILL
	wait $add
	rm -f /run/podpci/switch.ctl
	switch_up || return
	cni DEL late "$NETWORK" && ip netns del late
}

# What is in a state directory that outlives a boot: records, but no mounts, sockets, ports.
reboot() {
	pod_up p && pod_up q || return
	stop p KILL
	stop q KILL
	runc --root "$T/runc" delete -f p
	runc --root "$T/runc" delete -f q
	stop switch KILL
	rm -f /run/podpci/switch.ctl
	awk '$2 ~ "^/run/podpci/" { print $2 }' /proc/mounts | sort -r | xargs -r -n 1 umount
	find /run/podpci/cni -mindepth 3 -delete
	ip netns del p && ip netns del q
	cat /proc/sys/kernel/random/uuid >"$T/boot" &&
		mount --bind "$T/boot" /proc/sys/kernel/random/boot_id && switch_up || return
	[ -n "$(find /run/podpci/cni -name '*.json')" ] || { echo "no records"; return 1; }
	collect
	local rc=$?
	umount /proc/sys/kernel/random/boot_id
	return $rc
}

before=$(free_pages)
check "the switch starts" switch_up || finish
check "D-PR-19, D-CO-04 ADD is killed at each of its system calls; DEL clears" \
	kill_everywhere ADD by_del
check "D-PR-19, D-CO-04 ADD is killed at each of its system calls; GC clears" \
	kill_everywhere ADD by_gc
check "D-CO-04 DEL is killed at each of its system calls; DEL clears" kill_everywhere DEL by_del
check "D-CO-04 GC is killed at each of its system calls; GC clears" kill_everywhere GC by_gc
check "D-HK-03 the hook is killed; no container starts without its device" hook_killed_everywhere
check "a pod is killed" pod_killed
check "... and nothing is left" nothing_left
check "the switch is killed under a pod" switch_killed
check "... and nothing is left" nothing_left
check "the switch is killed while ADD asks it" switch_killed_under_add
check "... and nothing is left" nothing_left
check "D-CO-05 a reboot with pods is cleared by GC" reboot
check "... and nothing is left" nothing_left
# The pool is the whole machine's: others' tests may hold some for a while.
check "the hugepages are back" until_true 60 eval "[ \$(free_pages) -ge $before ]"
finish
