#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd.sh - pods as kubelet starts them: a sandbox with a CNI network, then the application,
# which is stock testpmd as uid 1000 without capabilities; two of them exchange packets.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni bin/podpci-hook bin/podpci-runtime"
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/engines/lib-containerd.sh
. "$HERE/lib-containerd.sh"
need containerd ctr runc busybox jq protoc /usr/lib/cni/host-local

network() {
	mkdir -p "$CNI_BIN" "$CNI_CONF"
	cp /usr/lib/cni/loopback /usr/lib/cni/host-local "$CNI_BIN/"
	ln -sf "$BIN/podpci-cni" "$CNI_BIN/podpci-cni"
	cat >"$CNI_CONF/10-fast.conflist" <<-END
	{ "cniVersion": "1.0.0", "name": "fast", "plugins": [ { "type": "podpci-cni",
	  "backend": "podpci-switch", "spoofcheck": false, "memory": { "size": "256Mi" },
	  "ipam": { "type": "host-local", "subnet": "10.9.0.0/24" } } ] }
	END
}

two_pods() {
	local words
	mapfile -t words < <(app echo 1)
	cri_up echo "${words[@]}" || { log containerd | tail -n 5; return 1; }
	mapfile -t words < <(app sender 1)
	cri_up sender "${words[@]}" || { log containerd | tail -n 5; return 1; }
}

exec_in() {	# NAME COMMAND...
	local name=$1
	shift
	cri exec "$(container_of "$name")" "$@"
}

# The same with the wrapper in place of hooks, as a RuntimeClass has it.
by_runtime_class() {
	CRI_HANDLER=podpci cri_up wrapped sleep 1000 || { log containerd | tail -n 5; return 1; }
	inside wrapped '^00:04.0 .*1af4:1041' lspci -n
}

# containerd 1.7: beside the device of the pod's network one that was asked for by name.
by_cdi() {
	local rc
	containerd --version | grep -q ' 1\.[0-6]\.' &&
		{ echo "this containerd has no CDI"; return 77; }
	networks && "$PODPCI" cdi generate || return
	CRI_CDI=podpci.dev/net=net0 cri_up named sleep 1000 &&
		inside named '^00:05.0 .*1af4:1041' lspci -n
	rc=$?
	cri_down named && rm /etc/cdi/podpci.json && return $rc
}

frames_of_all() {
	"$PODPCI" switch -j stats | jq '[.[].out_frames] | add'
}

# Packets do not need containerd (what its containers print does: the switch is asked).
containerd_killed_under_pods() {
	local n
	stop containerd KILL
	n=$(frames_of_all)
	until_true 10 eval '[ "$(frames_of_all)" -gt $((n + 1000)) ]' && containerd_again
}

all_sandboxes_go() {	# as kubelet clears after a restart
	local id
	for id in $(cri ListPodSandbox | jq -r '.items[]?.id'); do
		cri StopPodSandbox "{\"pod_sandbox_id\":\"$id\"}" >/dev/null &&
			cri RemovePodSandbox "{\"pod_sandbox_id\":\"$id\"}" >/dev/null || return
	done
}

# What a runtime that speaks CNI 1.1.0 does when it starts.
collect() {
	find /run/podpci/cni -name '*.json' -exec sed -i 's/"madeMs": *[0-9]*/"madeMs":1/' {} +
	jq '.plugins[0] + { name: .name, cniVersion: "1.1.0", "cni.dev/valid-attachments": [] } |
		del(.ipam)' "$CNI_CONF/10-fast.conflist" |
		CNI_COMMAND=GC CNI_PATH=$CNI_BIN "$BIN/podpci-cni"
}

# containerd dies while it starts a pod, sooner or later on the way.
containerd_killed_at_each_step() {
	local delay
	for delay in 0.03 0.08 0.13 0.2 0.3 0.45; do
		cri_pod dying sleep 1000
		/usr/bin/python3 "$HERE/cri.py" "$CTR_SOCK" pod "$T/dying.json" >/dev/null 2>&1 &
		local starter=$!
		sleep 0.25	# the client's own start
		sleep $delay
		stop containerd KILL
		kill -KILL $starter 2>/dev/null
		wait $starter
		containerd_again && all_sandboxes_go && collect || return
		# what containerd itself forgot: a name of a network namespace, a cached result
		leftovers | grep -vE '^cni-|/results/' >"$T/leftovers"
		[ ! -s "$T/leftovers" ] || { echo "after $delay s:"; cat "$T/leftovers"; return 1; }
	done
}

hooks_spec "$T/base.json"
check "the switch starts" switch_up || finish
network
check "containerd starts" containerd_up "$T/base.json" || finish
check "the image is loaded" ctr_load || finish
check "two pods start" two_pods || finish
check "D-AD-01 packets go there and back" exchange "$T/logs/sender.log" "$T/logs/echo.log"
is_ordinary sender
check "a pod of a runtime class gets its device too" by_runtime_class
check "... and stops" cri_down wrapped
check "a pod gets a CDI device beside its network's" by_cdi
check "containerd is killed under the pods; packets flow, and it finds them again" \
	containerd_killed_under_pods
check "both pods stop" eval 'cri_down sender && cri_down echo'
check "D-DL-01, D-DL-04 nothing is left" nothing_left
check "D-GC-01 containerd is killed at each step of a pod's start; nothing of ours is left" \
	containerd_killed_at_each_step
finish
