#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_config.sh - podpci run's options: what is wrong is told in one line and nothing is run.

. "$(dirname "$0")/../check/tap.sh"
[ -x "$PODPCI" ] || skip_all "$PODPCI is not built"
cd "$T" || exit 1

# refused MESSAGE ARGUMENTS...: status 125, this one line, and the command never ran
refused() {
	want=$1
	shift
	run "$PODPCI" run "$@" -- touch "$T/ran"
	same status "$RC" 125 && same stderr "$ERR" "podpci: $want" && same stdout "$OUT" "" &&
		[ ! -e "$T/ran" ]
}

printf '%s\n' '# two devices' "net socket=$T/a.sock,server,id=up" "net socket=$T/b.sock,server" \
	'option coalesce=off' >"$T/two.conf"
printf 'net socket=/x\nnet socket=/y,mode=ancient\n' >"$T/bad.conf"
long=$(printf '%0120d' 0)

check "no device" refused "no device: give --net [KEY=VALUE,...] or --config FILE"
check "a server without a socket" refused "net0: server needs socket=PATH" --net server
check "a wrong value" refused \
	"--net: queue-size=300: must be a power of two from 64 to 32768" \
	--net "socket=/x,queue-size=300"
keys=$("$PODPCI" run --help | sed -n '/^Keys of --net/,/^$/s/^  \([a-z-]*\).*/\1/p' |
	paste -sd , | sed 's/,/, /g')
check "an unknown key, and the help names the same ones" refused \
	"--net: pace: unknown key; there are $keys" --net socket=/x,pace=10
check "an unknown option" refused "--frob: unknown option; see podpci run --help" --frob
check "an option that needs a value" refused "--option: needs a value, KEY=VALUE" \
	--net socket=/x --option
check "an option that takes none" refused "--verbose: takes no value" --verbose=2
check "a wrong --option" refused "--option: coalesce=2: must be on or off" -o coalesce=2
check "a path that is too long" refused "--net: socket=/$long: is 121 bytes long, the path of a \
socket may have 107" --net "socket=/$long"
check "a missing file" refused "$T/none.conf: cannot be read: No such file or directory" \
	--config "$T/none.conf"
check "a wrong line of a file" refused \
	"$T/bad.conf:2: mode=ancient: must be modern, transitional or legacy" -c "$T/bad.conf"
check "two devices of one name" refused "id=a is given to two devices" \
	--net socket=/x,id=a --net=socket=/y,id=a
check "two devices at one address" refused "a and b both ask for bdf=0000:00:09.0" \
	--net socket=/x,id=a,bdf=00:09.0 --net socket=/y,id=b,bdf=0000:00:09.0

no_command() {
	run "$PODPCI" run --net socket=/x
	same status "$RC" 125 &&
		same stderr "$ERR" "podpci: no command: podpci run [OPTIONS] -- COMMAND..."
}
check "no command" no_command

dry_run() {
	mac=52:54:00:00:00:01
	run "$PODPCI" run -n -c "$T/two.conf" --net socket=c.sock,mac=$mac -o pagemap=off
	ran_clean || return
	has "$OUT" "^net socket=$T/a.sock,server=on,id=up,bdf=0000:00:04.0,mac=02:" || return
	has "$OUT" "^net socket=$T/b.sock,server=on,id=net0,bdf=0000:00:05.0,mac=02:" || return
	has "$OUT" "^net socket=$T/c.sock,server=off,id=net1,bdf=0000:00:06.0,mac=$mac," &&
		has "$OUT" "^option coalesce=off$" && has "$OUT" "^option pagemap=off$"
}
check "--dry-run prints the effective configuration" dry_run

# What --dry-run prints is itself a configuration, and the shim reads the very same.
round_trip() {
	"$PODPCI" run -n -c "$T/two.conf" >"$T/effective.conf" || return
	run "$PODPCI" run -n -c "$T/effective.conf"
	same "again" "$OUT" "$(cat "$T/effective.conf")" || return
	run "$PODPCI" run -c "$T/two.conf" -- cat /sys/bus/pci/podpci.conf
	same "inside" "$OUT" "$(cat "$T/effective.conf")"
}
check "the effective configuration is one, and the shim's" round_trip

warned() {	# MESSAGE NET
	run "$PODPCI" run --net "$2" -- echo ran
	same status "$RC" 0 && same stdout "$OUT" ran &&
		same stderr "$ERR" "podpci: warning: net0: $1"
}
touch "$T/file"
check "a socket that is not there yet is a warning" warned \
	"$T/no.sock: no such socket yet; the link is down until there is" "socket=$T/no.sock"
check "a file that is no socket is a warning" warned \
	"$T/file: is not a socket; the link will stay down" "socket=$T/file"
check "a server's missing directory is a warning" warned \
	"$T/no/a.sock: cannot be created in this directory; the link will stay down" \
	"socket=$T/no/a.sock,server"
finish
