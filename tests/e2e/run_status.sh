#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_status.sh - podpci run becomes its command: exit status, arguments, environment, signals.

. "$(dirname "$0")/../check/tap.sh"
[ -x "$PODPCI" ] || skip_all "$PODPCI is not built"

NET="--net socket=$T/none.sock,server"

status_is() {	# WANT COMMAND...
	want=$1
	shift
	# shellcheck disable=SC2086
	run "$PODPCI" run $NET -- "$@"
	same status "$RC" "$want" && { [ "$want" -ge 125 ] || same stderr "$ERR" ""; }
}

not_executable() {
	echo >"$T/plain"
	status_is 126 "$T/plain" && same stderr "$ERR" "podpci: $T/plain: Permission denied"
}

not_found() {
	status_is 127 no-such-command-here &&
		same stderr "$ERR" "podpci: no-such-command-here: No such file or directory"
}

killed() {
	# shellcheck disable=SC2016
	status_is 137 sh -c 'kill -KILL $$'
}

# The command has podpci's own process id: signals, job control and waiters need no help.
same_process() {
	# shellcheck disable=SC2016,SC2086
	sh -c 'echo $$; exec "$@"' - "$PODPCI" run $NET -- sh -c 'echo $$' >"$T/pids"
	same "its pid" "$(tail -n 1 "$T/pids")" "$(head -n 1 "$T/pids")"
}

arguments() {
	status_is 0 printf '%s|' a 'b c' '' --net -- '*'
	same arguments "$OUT" 'a|b c||--net|--|*|'
}

input() {
	# shellcheck disable=SC2086
	same output "$(echo through | "$PODPCI" run $NET -- cat)" through
}

# A command that starts without "--" is fine as long as it looks like one.
no_dashes() {
	# shellcheck disable=SC2086
	run "$PODPCI" run $NET sh -c 'exit 4'
	same status "$RC" 4
}

environment() {
	status_is 0 sh -c 'echo "$LD_PRELOAD $PODPCI_CONFIG ${PODPCI_LOG-unset}"'
	has "$OUT" '^/[^ ]*/libpodpci.so /sys/bus/pci/podpci.conf unset$'
}

preload_kept() {
	cp "$(realpath "$(dirname "$PODPCI")/../lib/libpodpci.so")" "$T/other.so"
	# shellcheck disable=SC2086,SC2016
	run env LD_PRELOAD="$T/other.so" "$PODPCI" run $NET -v -- \
		sh -c 'echo "$LD_PRELOAD $PODPCI_LOG"'
	has "$OUT" "^/[^ :]*/libpodpci.so:$T/other.so info$"
}

library() {	# the three ways to name it
	lib=$(realpath "$(dirname "$PODPCI")/../lib/libpodpci.so")
	cp "$lib" "$T/asked.so"
	cp "$lib" "$T/env.so"
	# shellcheck disable=SC2086,SC2016
	run env PODPCI_LIB="$T/env.so" "$PODPCI" run $NET -- sh -c 'echo $LD_PRELOAD'
	same "by PODPCI_LIB" "$OUT" "$T/env.so" || return
	# shellcheck disable=SC2086,SC2016
	run env PODPCI_LIB="$T/env.so" "$PODPCI" run --lib "$T/asked.so" $NET -- \
		sh -c 'echo $LD_PRELOAD'
	same "by --lib" "$OUT" "$T/asked.so" || return
	# shellcheck disable=SC2086
	run "$PODPCI" run --lib "$T/missing.so" $NET -- true
	same status "$RC" 125 && has "$ERR" "^podpci: $T/missing.so: No such file or directory"
}

verbs() {
	run "$PODPCI"
	same status "$RC" 125 && has "$ERR" "^Usage: podpci" || return
	run "$PODPCI" frobnicate
	same status "$RC" 125 &&
		same stderr "$ERR" "podpci: frobnicate: no such verb; see podpci help" || return
	run "$PODPCI" --version
	same status "$RC" 0 && has "$OUT" '^podpci [0-9]+\.[0-9]+\.[0-9]+$' || return
	run "$PODPCI" help
	same status "$RC" 0 && has "$OUT" '^  run ' || return
	run "$PODPCI" run --help
	same status "$RC" 0 && has "$OUT" '^  queue-size ' && has "$OUT" '^Examples:'
}

check "status 0 is handed on" status_is 0 true
check "status 3 is handed on" status_is 3 sh -c 'exit 3'
check "status 255 is handed on" status_is 255 sh -c 'exit 255'
check "a command that is no program gives 126" not_executable
check "a command that is not there gives 127" not_found
check "death by signal is handed on" killed
check "the command runs in podpci's own process" same_process
check "arguments arrive untouched" arguments
check "standard input arrives" input
check "the -- may be left out" no_dashes
check "the environment names the shim and its configuration" environment
check "libraries preloaded already stay" preload_kept
check "the shim is found by --lib, PODPCI_LIB or beside the program" library
check "help and version work, nonsense is told" verbs
finish
