#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run_switch.sh - podpci run for devices that name no socket: ports of the running switch, or of
# a private one, for root and for an ordinary user.
# shellcheck source=tests/e2e/lib.sh
PARTS="bin/podpci-switch"
. "$(dirname "$0")/lib.sh"

# Nobody's switch but ours.
mount -t tmpfs none /run && mkdir /run/dpdk || skip_all "/run cannot be covered"
unset PODPCI_SWITCH
export XDG_RUNTIME_DIR=$T/run
mkdir -m 1777 "$T/run"

# The build directory may be closed to others.
mkdir "$T/bin" "$T/lib" && chmod 755 "$T"
cp "$B"/bin/podpci* "$T/bin/"
cp "$B/lib/libpodpci.so" "$T/lib/"
PODPCI=$T/bin/podpci

as_user() {
	setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all "$@"
}

# Two ports in one process, each frame going on where the other came from.
pump() {	# SECONDS EAL-OPTIONS...
	local seconds=$1
	shift
	(
		sleep 1
		echo "start tx_first"
		sleep "$seconds"
		echo "show port stats all"
		echo quit
	) | "${AS[@]}" "$PODPCI" run --net "" --net "" -- dpdk-testpmd --lcores '0@1,1@1' \
		--file-prefix pump "$@" -- -i --total-num-mbufs=8192 --disable-link-check \
		--no-flush-rx 2>&1 | tee "$T/pump.log"
	received 0 && received 1
}

received() {	# PORT: a hundred times what was sent at first
	local n
	n=$(awk -v port="$1" '/NIC statistics for port/ { p = $6 } p == port && /RX-packets/ {
		print $2; exit }' "$T/pump.log")
	[ "${n:-0}" -gt 3200 ] || { echo "port $1 received ${n:-nothing}"; return 1; }
}

nothing_stays() {
	until_true 3 no_traces
}

no_traces() {
	! pgrep podpci-switch && ! ls -d "$T"/run/podpci-*
}

a_private_switch_connects_the_devices() {
	local AS=()
	pump 1 && grep "no switch for us at /run/podpci/switch.ctl" "$T/pump.log" && nothing_stays
}

a_user_gets_a_private_switch() {
	local AS=(as_user)
	pump 1 --no-huge -m 256 && nothing_stays
}

status_and_files_are_the_commands() {
	local out rc want
	want=$("$PODPCI" run --net socket=/x -- sh -c 'ls /proc/$$/fd' 2>/dev/null)
	out=$("$PODPCI" run --net "" -- sh -c 'ls /proc/$$/fd; exit 7' 2>"$T/err")
	rc=$?
	[ $rc = 7 ] && [ "$(wc -l <"$T/err")" = 1 ] && [ "$out" = "$want" ] && nothing_stays &&
		return
	echo "status $rc, descriptors $out and not $want"
	cat "$T/err"
	return 1
}

killed_it_leaves_nothing() {
	"$PODPCI" run --net "" -- sleep 60 2>/dev/null &
	until_true 5 pgrep podpci-switch || return
	kill -KILL $!
	wait $! 2>/dev/null
	nothing_stays
}

signals_end_the_command_first() {	# as with Ctrl-C, everybody in the group is told
	cat >"$T/trap.sh" <<-END
		trap 'pgrep podpci-switch >$T/seen; exit 9' TERM
		kill -TERM 0
		sleep 5
	END
	setsid --wait "$PODPCI" run --net "" -- sh "$T/trap.sh" 2>/dev/null
	[ $? = 9 ] && [ -s "$T/seen" ] && nothing_stays
}

# ---- a switch that runs ------------------------------------------------------------------------

ports() {
	"$PODPCI" switch -j port | jq -r '.[].name'
}

no_ports() {
	[ -z "$(ports)" ]
}

the_running_switch_is_used() {
	local out
	start switch "$B/bin/podpci-switch" --group 1000
	until_true 5 "$PODPCI" switch show || return
	out=$("$PODPCI" run --net id=data,queues=2,mtu=1400 --net "" -- sh -c "
		$PODPCI switch -j port; cat /sys/bus/pci/podpci.conf" 2>"$T/err") || return
	echo "$out"
	[ ! -s "$T/err" ] || { cat "$T/err"; return 1; }
	grep -q 'net socket=/run/podpci/data-[0-9a-f]*.sock,.*queues=2.*mtu=1400' <<<"$out" &&
		grep -q 'net socket=/run/podpci/net0-[0-9a-f]*.sock' <<<"$out" &&
		grep -q '"mtu": *1400' <<<"$out" || return
	until_true 3 no_ports
}

its_pods_meet() {
	local AS=()
	pump 1 && until_true 3 no_ports
}

its_group_may_use_it() {
	local out
	out=$(setpriv --reuid=1001 --regid=1000 --clear-groups --inh-caps=-all "$PODPCI" run \
		--net "" -- cat /sys/bus/pci/podpci.conf 2>&1)
	grep '^net socket=/run/podpci/net0-' <<<"$out" || { echo "$out"; return 1; }
	[ "$(wc -l <<<"$out")" = 3 ] || { echo "$out"; return 1; }
	until_true 3 no_ports
}

strangers_get_their_own() {
	local out
	out=$(env -u XDG_RUNTIME_DIR setpriv --reuid=1001 --regid=1001 --clear-groups \
		--inh-caps=-all "$PODPCI" run --net "" -- cat /sys/bus/pci/podpci.conf 2>&1)
	grep 'no switch for us at /run/podpci/switch.ctl (Permission denied)' <<<"$out" &&
		grep '^net socket=/tmp/podpci-' <<<"$out" && return
	echo "$out"
	return 1
}

the_one_named_must_be_there() {
	local out
	out=$("$PODPCI" run --switch "$T/none" --net "" -- true 2>&1)
	[ $? = 125 ] && [ "$(wc -l <<<"$out")" = 1 ] &&
		grep "^podpci: $T/none: No such file .*is podpci-switch running" <<<"$out"
}

server_needs_a_socket() {
	local out
	out=$("$PODPCI" run --net server -- true 2>&1)
	[ $? = 125 ] && grep '^podpci: net0: server needs socket=PATH' <<<"$out"
}

check "a private switch connects two devices of one command" a_private_switch_connects_the_devices
check "an ordinary user gets one as well" a_user_gets_a_private_switch
check "exit status, output and open files stay the command's" status_and_files_are_the_commands
check "a killed command leaves no switch behind" killed_it_leaves_nothing
check "a signal to the process group does not reach the switch" signals_end_the_command_first
check "the running switch is used, and has its ports back" the_running_switch_is_used
check "frames between two devices on the running switch" its_pods_meet
check "who is in its group may use it" its_group_may_use_it
check "who may not gets a private one and is told" strangers_get_their_own
check "a switch named with --switch must be there" the_one_named_must_be_there
check "a server without a socket is refused" server_needs_a_socket
finish
