#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# containerd.sh - pods as kubelet starts them: a sandbox with a CNI network, then the application,
# which is stock testpmd as uid 1000 without capabilities; two of them exchange packets.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni bin/podpci-hook"
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

inside() {	# NAME PATTERN COMMAND...
	local name=$1 pattern=$2
	shift 2
	cri exec "$(container_of "$name")" "$@" >"$T/exec.log" 2>&1
	grep -aE "$pattern" "$T/exec.log" && return
	cat "$T/exec.log"
	return 1
}

hooks_spec "$T/base.json"
check "the switch starts" switch_up || finish
network
check "containerd starts" containerd_up "$T/base.json" || finish
check "the image is loaded" ctr_load || finish
check "two pods start" two_pods || finish
check "packets go there and back" exchange "$T/logs/sender.log" "$T/logs/echo.log"
check "the pod is uid 1000" inside sender '^1000$' id -u
check "... without capabilities" inside sender 'CapBnd:.*0000000000000000$' \
	cat /proc/self/status
check "... and sees one device" inside sender '^00:04.0 .*1af4:1041' lspci -n
check "both pods stop" eval 'cri_down sender && cri_down echo'
check "nothing is left" nothing_left
finish
