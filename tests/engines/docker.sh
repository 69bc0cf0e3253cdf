#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# docker.sh - docker with podpci-runtime: containers that ask by variable or label get a device;
# two of them, stock testpmd as uid 1000 without capabilities, exchange packets.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-hook bin/podpci-runtime"
. "$(dirname "$0")/lib.sh"
need /usr/sbin/dockerd /usr/bin/docker containerd runc busybox jq

docker() {
	/usr/bin/docker -H "unix://$T/docker.sock" "$@"
}

docker_up() {
	start dockerd /usr/sbin/dockerd --data-root "$T/docker/data" --exec-root "$T/docker/run" \
		-p "$T/docker.pid" -H "unix://$T/docker.sock" --iptables=false \
		--ip6tables=false --bridge=none --storage-driver overlay2 \
		--cgroup-parent "/$CGROUP" --add-runtime "podpci=$BIN/podpci-runtime"
	until_true 20 docker version || { log dockerd | tail -n 10; return 1; }
	image "$T/image.tar" && docker load -i "$T/image.tar"
}

# run --name NAME ... IMAGE COMMAND...: a container such as a careful user starts
run() {
	docker run -d --runtime podpci --network none --user 1000:1000 --cap-drop ALL \
		--security-opt no-new-privileges --read-only --tmpfs /tmp:mode=1777 \
		-v /usr:/usr:ro "$@" || { log dockerd | tail -n 5; return 1; }
	docker logs -f "$2" >"$T/$2.log" 2>&1 &
}

exec_in() {
	docker exec "$@"
}

plain() {	# a container that asks for nothing
	docker run --rm --runtime podpci --network none -v /usr:/usr:ro "$IMAGE" \
		sh -c 'ls -d /sys/bus/pci/podpci' 2>&1 | grep 'No such file'
}

unknown() {	# one that asks for what there is not
	! docker run --rm --runtime podpci --network none -v /usr:/usr:ro \
		-e PODPCI_NET=nothing "$IMAGE" true >"$T/unknown.log" 2>&1 || return
	grep nothing "$T/unknown.log" || { cat "$T/unknown.log"; return 1; }
}

killed() {
	docker kill -s KILL sender && docker rm -f sender && docker rm -f echo
}

networks
check "the switch starts" switch_up || finish
check "docker starts" docker_up || finish
check "D-HK-13 a container that asks for nothing is left alone" plain
check "D-HK-03 one that asks for an unknown network does not start, and says why" unknown
check "a container asks by label" app_up echo --label podpci.dev/net=net0
check "a container asks by variable" app_up sender -e PODPCI_NET=net0
check "packets go there and back" exchange "$T/sender.log" "$T/echo.log"
is_ordinary sender
check "the containers are killed and removed" killed
check "nothing is left" until_true 5 nothing_left
finish
