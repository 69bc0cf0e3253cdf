#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# runtimes.sh - the plugin and the hook with runc and with crun: two pods exchange packets
# through podpci-switch; stock testpmd, uid 1000, no capabilities, read-only root.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni bin/podpci-hook"
. "$(dirname "$0")/lib.sh"
. "$HERE/lib-oci.sh"
need runc crun busybox jq

NETWORK=$T/net.json
cat >"$NETWORK" <<-END
	{ "cniVersion": "1.1.0", "name": "fast", "type": "podpci-cni", "spoofcheck": false,
	  "memory": { "size": "256Mi" } }
	END

pod_up() {	# RUNTIME ROLE
	local words
	mapfile -t words < <(app "$2" 1)
	oci_up "$1" "$2" "$NETWORK" "${words[@]}" || return
	until_true 20 log_has "$2" "Port statistics" || { log "$2" | tail; return 1; }
}

without_attachment() {	# RUNTIME: starts as if there were no hook
	ip netns add plain &&
		bundle plain sh -c 'exec 2>&1; ls -d /sys/bus/pci/podpci; id -u' || return
	"$1" --root "$T/$1" run -b "$T/plain.bundle" plain >"$T/plain.log" 2>&1
	local rc=$?
	ip netns del plain
	cat "$T/plain.log"
	[ $rc = 0 ] && grep -qx 1000 "$T/plain.log" && grep -q 'No such file' "$T/plain.log"
}

check "the switch starts" switch_up || finish
for runtime in runc crun; do
	check "$runtime: a container without attachments starts as ever" \
		without_attachment $runtime
	check "$runtime: a pod starts" pod_up $runtime echo
	check "$runtime: and another" pod_up $runtime sender
	check "D-AD-01, D-HK-16 $runtime: packets go there and back" \
		exchange "$T/sender.log" "$T/echo.log"
	check "$runtime: the pods end" eval "oci_down $runtime sender $NETWORK &&
		oci_down $runtime echo $NETWORK"
	check "D-DL-01 $runtime: nothing is left" nothing_left
	rm -f "$T/sender.log" "$T/echo.log"
done
finish
