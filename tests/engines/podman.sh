#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman.sh - podman with a CNI network and the hook, and with a CDI device: stock testpmd as uid
# 1000 without capabilities; a container of each kind exchange packets.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni bin/podpci-hook bin/podpci-cdi"
. "$(dirname "$0")/lib.sh"
need podman runc conmon busybox jq

podman() {
	CONTAINERS_CONF=$T/containers.conf command podman --root "$T/podman/root" \
		--runroot "$T/podman/run" --storage-driver vfs --runtime runc \
		--cgroup-manager cgroupfs --network-backend cni --network-config-dir "$T/cni" \
		--hooks-dir "$T/hooks" "$@"
}

podman_up() {
	mkdir -p "$T/cni" "$T/hooks" "$T/plugins"
	ln -s "$BIN/podpci-cni" "$T/plugins/"
	sed "s,/usr/bin/podpci-hook,$BIN/podpci-hook," "$ROOT/deploy/hooks.d/podpci.json" \
		>"$T/hooks/podpci.json"
	sed "s,/usr/bin/podpci-hook,$BIN/podpci-hook," "$ROOT/deploy/hooks.d/podpci-stop.json" \
		>"$T/hooks/podpci-stop.json"
	cat >"$T/cni/fast.conflist" <<-END
	{ "cniVersion": "0.4.0", "name": "fast", "plugins": [ { "type": "podpci-cni",
	  "spoofcheck": false, "memory": { "size": "256Mi" } } ] }
	END
	cat >"$T/containers.conf" <<-END
	[network]
	cni_plugin_dirs = [ "$T/plugins" ]
	[engine]
	events_logger = "none"
	END
	image "$T/image.tar" && podman load -i "$T/image.tar"
}

# run --name NAME ... IMAGE COMMAND...
run() {
	podman run -d --user 1000:1000 --cap-drop all --read-only \
		--security-opt no-new-privileges --cgroup-parent "/$CGROUP" \
		--ulimit nofile=20000:20000 --ulimit nproc=32768:32768 --log-driver k8s-file \
		--log-opt "path=$T/$2.log" -v /usr:/usr:ro "$@"
}

exec_in() {
	podman exec "$@"
}

cdi_spec() {
	"$PODPCI" cdi generate && "$PODPCI" cdi list && test -s /etc/cdi/podpci.json
}

both_end() {
	podman kill -s KILL sender && podman rm -f sender && podman rm -f echo &&
		rm -f /etc/cdi/podpci.json
}

networks
check "the switch starts" switch_up || finish
check "podman starts" podman_up || finish
check "a CDI specification is made" cdi_spec
check "a container with a CDI device" app_up echo --network none \
	--device podpci.dev/net=net0
check "a container on a CNI network" app_up sender --network fast
check "D-AD-01 packets go there and back" exchange "$T/sender.log" "$T/echo.log"
for name in sender echo; do
	is_ordinary $name
done
check "the containers are killed and removed" both_end
check "D-DL-01 nothing is left" until_true 5 nothing_left
finish
