#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_user.sh - podpci run without privilege: an ordinary user, root without capabilities, and
# what is said where user namespaces are forbidden.

. "$(dirname "$0")/../check/tap.sh"
[ -x "$PODPCI" ] || skip_all "$PODPCI is not built"
[ "$(id -u)" = 0 ] || skip_all "needs root to become other users"
need setpriv unshare lspci

# The build directory may be closed to others.
for dir in bin lib; do
	mkdir "$T/$dir"
	cp "$(dirname "$PODPCI")/../$dir"/*podpci* "$T/$dir/"
done
mkdir "$T/home"
chown 1000:1000 "$T/home"
NET="--net socket=$T/home/a.sock,server"
ROOT_NET="--net socket=$T/root.sock,server"

as_user() {
	setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "$@"
}

as_user unshare -U true 2>/dev/null || skip_all "no user namespaces for ordinary users here"

user_runs() {
	# shellcheck disable=SC2086,SC2016
	run as_user "$T/bin/podpci" run $NET -- sh -c 'id -u; id -g; grep CapEff /proc/self/status
		ls /sys/bus/pci/devices; echo x >$0/made; exit 7' "$T/home"
	same status "$RC" 7 && same stderr "$ERR" "" || return
	same stdout "$OUT" "1000
1000
CapEff:	0000000000000000
0000:00:04.0" && same owner "$(stat -c %u:%g "$T/home/made")" 1000:1000
}

user_sees() {
	# shellcheck disable=SC2086
	run as_user "$T/bin/podpci" run $NET --net "socket=$T/home/b.sock,server" -- lspci -vvv
	ran_clean || return
	same drivers "$(echo "$OUT" | grep -c 'driver in use: vfio-pci')" 2
}

# Root in a container: uid 0, but little of its power.
powerless_root() {
	# shellcheck disable=SC2086
	run setpriv --bounding-set=-all,+setfcap --inh-caps=-all "$T/bin/podpci" run $ROOT_NET -- \
		sh -c 'id -u; ls /sys/bus/pci/devices'
	ran_clean && same stdout "$OUT" "0
0000:00:04.0"
}

no_setfcap() {
	# shellcheck disable=SC2086
	run setpriv --bounding-set=-all --inh-caps=-all "$T/bin/podpci" run $ROOT_NET -- true
	same status "$RC" 125 && has "$ERR" '^podpci: user namespace: .* needs CAP_SETFCAP '
}

nested() {
	# shellcheck disable=SC2086
	run as_user "$T/bin/podpci" run $NET -- "$T/bin/podpci" run \
		--net "socket=$T/home/b.sock,server,bdf=00:1e.0" -- ls /sys/bus/pci/devices
	ran_clean && same stdout "$OUT" 0000:00:1e.0
}

# The limit is per namespace: ours can be set without touching the machine's.
forbidden() {
	# shellcheck disable=SC2086
	run as_user unshare -Ur sh -c 'echo 0 >/proc/sys/user/max_user_namespaces || exit 1
		exec setpriv --bounding-set=-all --inh-caps=-all "$@"' - \
		"$T/bin/podpci" run $NET -- true
	same status "$RC" 125 && same lines "$(echo "$ERR" | wc -l)" 1 &&
		has "$ERR" '^podpci: user namespace: .*`sysctl user.max_user_namespaces=10000. as'
}

check "an ordinary user keeps uid, gid and files, and gains no capability" user_runs
check "lspci works for an ordinary user" user_sees
check "root without CAP_SYS_ADMIN is served like a user" powerless_root
check "root without even CAP_SETFCAP is told" no_setfcap
check "podpci runs inside podpci" nested
check "forbidden user namespaces are told with their remedy" forbidden
finish
