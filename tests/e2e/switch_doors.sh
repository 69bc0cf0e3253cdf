#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_doors.sh - who gets in where: the switch's control socket, and the sockets of its ports.
# shellcheck source=tests/check/tap.sh
. "$(dirname "$0")/../check/tap.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root"
need python3 setpriv
mkdir -m 755 "$T/pod"
"$B/bin/podpci-switch" --socket "$T/ctl" --port "p0 socket $T/pod/p0.sock" >"$T/log" 2>&1 &
switch=$!
trap 'kill $switch; rm -rf "$T"' EXIT
for ((i = 0; i < 50; i++)); do
	"$PODPCI" switch -s "$T/ctl" show >/dev/null 2>&1 && break
	sleep 0.1
done

# A pod has its port's socket, and may be any user.
as_pod() {
	setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all "$@"
}

the_control_socket_is_closed_to_pods() {
	same mode "$(stat -c %a "$T/ctl")" 660 || return
	run as_pod "$PODPCI" switch -s "$T/ctl" port show
	[ "$RC" -ne 0 ] && has "$ERR" 'Permission denied'
}

# The frames of the control socket, told to the port: a session with a wrong header, cut off.
a_port_is_no_way_to_the_control_socket() {
	python3 - "$T/pod/p0.sock" <<-'END' || return
		import socket, sys
		s = socket.socket(socket.AF_UNIX)
		s.connect(sys.argv[1])
		s.settimeout(3)
		s.send(bytes([0, 0, 0, 8]) + b'\x0a\x06\x12\x04\x0a\x02p1' * 4)
		try:
		    sys.exit(s.recv(100) != b'')
		except ConnectionResetError:
		    pass
	END
	run "$PODPCI" switch -s "$T/ctl" -j stats
	same cut "$(jq '.[0].sessions_cut' <<<"$OUT")" 1
}

# What a peer says lands in the log as text of ours, not of its own.
what_a_peer_sends_is_no_text() {
	has_not "$(cat "$T/log")" "$(printf '\033')|p1" && has "$(cat "$T/log")" 'front-end cut off'
}

check "C-SW-13 the control socket is closed to pods" the_control_socket_is_closed_to_pods
check "C-SW-13 a port is no way to the control socket" a_port_is_no_way_to_the_control_socket
check "C-SW-13 what a peer sends is no text in the log" what_a_peer_sends_is_no_text
finish
