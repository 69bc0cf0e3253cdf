#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_doors.sh - who gets in where: the switch's control socket, the sockets of its ports, and
# what is left to one who got into the switch itself.
# shellcheck source=tests/check/tap.sh
. "$(dirname "$0")/../check/tap.sh"

[ "$(id -u)" = 0 ] || skip_all "needs root"
need python3 setpriv strace jq
mkdir -m 755 "$T/run" "$T/pod" "$T/conf" "$T/more" "$T/elsewhere" "$T/own"
touch "$T/conf/switch"
CTL=$T/run/ctl
chown 65534 "$T/own"
trap 'kill "$SWITCH" 2>/dev/null; rm -rf "$T"' EXIT

control() {	# WORDS...
	"$PODPCI" switch -s "$CTL" "$@"
}

until_true() {	# COMMAND...: within five seconds
	for ((i = 0; i < 250; i++)); do
		"$@" >/dev/null 2>&1 && return
		sleep 0.02
	done
	echo "not within the time: $*"
	return 1
}

AS=()		# what starts it as somebody else

switch_up() {	# OPTIONS...
	"${AS[@]}" "$B/bin/podpci-switch" --socket "$CTL" "$@" >"$T/log" 2>&1 &
	SWITCH=$!
	until_true control show || { cat "$T/log"; return 1; }
}

switch_down() {
	kill "$SWITCH"
	wait "$SWITCH"
}

switch_up --port "p0 socket $T/pod/p0.sock" --config "$T/conf/switch" --allow "$T/more"

# A pod has its port's socket, and may be any user.
AS_POD=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all)

the_control_socket_is_closed_to_pods() {
	same mode "$(stat -c %a "$CTL")" 660 || return
	run "${AS_POD[@]}" "$PODPCI" switch -s "$CTL" port show
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
	run "$PODPCI" switch -s "$CTL" -j stats
	same cut "$(jq '.[0].sessions_cut' <<<"$OUT")" 1
}

# What a peer says lands in the log as text of ours, not of its own.
what_a_peer_sends_is_no_text() {
	has_not "$(cat "$T/log")" "$(printf '\033')|p1" && has "$(cat "$T/log")" 'front-end cut off'
}

# ---- what is left to one who got in -------------------------------------------------------------

no_rights_in_any_thread() {	# CAPBND
	local task has n=0
	for task in /proc/"$SWITCH"/task/*/status; do
		has="$(sed -n 's/^\(Cap[A-Z][a-z]*\|NoNewPrivs\|Seccomp\):\t0*/\1=/p' "$task")"
		same "$task" "${has//$'\n'/ }" \
			"CapInh= CapPrm= CapEff= CapBnd=$1 CapAmb= NoNewPrivs=1 Seccomp=2" || return
		n=$((n + 1))
	done
	[ "$n" -ge 3 ] && return
	echo "$n threads: not the control thread, a worker and the closer"
	return 1
}

# A port comes, is used and goes, the configuration is read: strace sees each file opened.
nothing_is_opened_but_the_configuration() {
	echo "port add late socket $T/pod/late.sock" >"$T/conf/switch"
	strace -qq -f -e signal=none -e trace=open,openat,openat2,creat -o "$T/opened" \
		-p "$SWITCH" &
	local trace=$!
	until_true grep -q '^TracerPid:	[1-9]' /proc/"$SWITCH"/status || return
	control port add q0 socket "$T/pod/q0.sock" && control stats >/dev/null || return
	python3 -c 'import socket, sys
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(bytes([1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]))
assert len(s.recv(20)) == 20' "$T/pod/q0.sock" || return
	control port del q0 && kill -HUP "$SWITCH" && until_true [ -S "$T/pod/late.sock" ] || return
	kill "$trace"
	wait "$trace"
	same opened "$(sed 's/^[0-9]* *//; s/ = [0-9]*$//' "$T/opened")" \
		"openat(AT_FDCWD, \"$T/conf/switch\", O_RDONLY|O_CLOEXEC)"
}

refused() {	# FILE WORDS...
	local file=$1
	shift
	run control "$@"
	[ "$RC" -ne 0 ] && has "$ERR" 'Permission denied .*--allow' && [ ! -e "$file" ]
}

# Made by root, in a directory of root's: none but Landlock is in the way.
files_are_made_in_its_own_directories_only() {
	refused "$T/elsewhere/x" port add x socket "$T/elsewhere/x" &&
		refused "$T/elsewhere/c" port add c kind pcap file "$T/elsewhere/c" || return
	control port add x socket "$T/more/x" && control port add c kind pcap file "$T/more/c" &&
		control port del x && control port del c || return
	[ ! -e "$T/more/x" ] && [ -s "$T/more/c" ]
}

# Asked to read its configuration again, which is by now a link to another's file.
files_are_read_in_its_own_directories_only() {
	echo "port add evil socket $T/pod/evil.sock" >"$T/elsewhere/secret"
	ln -sf "$T/elsewhere/secret" "$T/conf/switch"
	kill -HUP "$SWITCH"
	until_true grep "event=reload failed: $T/conf/switch: Permission denied" "$T/log" || return
	has_not "$(control port show)" evil
}

# A thread's system call becomes another before the kernel looks, as if the code were not ours.
calls_instead() {	# THREAD CALL OTHER-CALL
	local tid
	rm -f "$T/calls"
	tid=$(grep -lx "$1" /proc/"$SWITCH"/task/*/comm | sed 's,.*task/\([0-9]*\)/comm,\1,')
	strace -qq -e signal=none -o "|cat >$T/calls" -e trace="$2" -p "$tid" \
		-e inject="$2":error=EINTR:syscall="$3":when=1 &
	TRACE=$!
}

forbidden_call_kills() {	# THREAD CALL
	local rc
	switch_up --mode event || return
	calls_instead "$1" "$2" getppid
	wait "$SWITCH" 2>/dev/null
	rc=$?
	same "status after a forbidden call of $1" "$rc" $((128 + 31))
}

called_instead() {
	control show && grep INJECTED "$T/calls"
}

# That it is the call, and not how it came to be made: another one hurts nobody.
an_allowed_call_does_not_kill() {
	switch_up --mode event || return
	calls_instead podpci-switch poll getpid
	until_true called_instead && kill "$TRACE" && wait "$TRACE"
	control show >/dev/null && switch_down
}

a_forbidden_call_ends_it() {
	an_allowed_call_does_not_kill && forbidden_call_kills podpci-switch poll &&
		forbidden_call_kills worker0 epoll_wait && forbidden_call_kills closer read
}

runs_without_landlock_and_says_so() {
	local AS=(strace -D -qq -f -o /dev/null -e trace=landlock_create_ruleset
		-e inject=landlock_create_ruleset:error=EOPNOTSUPP)
	switch_up && control port add x socket "$T/elsewhere/x" || return
	has "$(cat "$T/log")" 'warning: event=no-landlock .*: Operation not supported' || return
	switch_down
}

# Without an uplink there is nothing that a plain user could not do. (To bound what a program with
# file capabilities could gain takes a right by itself; no new privileges is as good.)
a_plain_user_runs_it() {
	local CTL=$T/own/ctl AS=("${AS_POD[@]}")
	switch_up && control port add p1 || return
	same user "$(sed -n 's/^[UG]id:\t//p' /proc/"$SWITCH"/status | tr -s '\t\n' ' ')" \
		"65534 65534 65534 65534 65534 65534 65534 65534 " || return
	no_rights_in_any_thread "$(sed -n 's/^CapBnd:\t0*//p' /proc/self/status)" &&
		[ -S "$T/own/p1.sock" ]
}

check "C-SW-13 the control socket is closed to pods" the_control_socket_is_closed_to_pods
check "C-SW-13 a port is no way to the control socket" a_port_is_no_way_to_the_control_socket
check "C-SW-13 what a peer sends is no text in the log" what_a_peer_sends_is_no_text

check "C-PR-01 no thread of the switch has rights or can get any, each has a filter" \
	no_rights_in_any_thread ""
check "C-PR-01 a running switch opens nothing but its configuration" \
	nothing_is_opened_but_the_configuration
files="C-PR-01 a running switch"
if grep -q event=no-landlock "$T/log"; then
	echo "skip $files makes and reads files where it may only: the kernel has no Landlock"
else
	check "$files makes files in its own directories only" \
		files_are_made_in_its_own_directories_only
	check "$files reads files in its own directories only" \
		files_are_read_in_its_own_directories_only
fi
switch_down
check "C-PR-01 a forbidden system call is the end, in whichever thread" a_forbidden_call_ends_it
check "C-PR-01 where the kernel has no Landlock the switch says so and runs" \
	runs_without_landlock_and_says_so
check "C-PR-01 a plain user runs the switch, as confined" a_plain_user_runs_it
finish
