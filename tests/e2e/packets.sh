#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# packets.sh - stock testpmd sees the device, a million frames come back whole, and the back-end
# sees the pod's memory where the pod has it.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

MAC=52:54:00:12:34:56
SIZES=60,64,65,127,1024,1514

stock_files_are_unchanged() {
	command -v dpkg >/dev/null || { echo "no dpkg here"; return 77; }
	local pkgs
	pkgs=$(dpkg-query -W -f '${Package}\n' 'dpdk' 'librte*' 2>/dev/null)
	[ -n "$pkgs" ] || { echo "DPDK is not from packages"; return 77; }
	# shellcheck disable=SC2086
	[ -z "$(dpkg -V $pkgs | tee /dev/stderr)" ]
}

testpmd_shows_the_port() {
	testpmd_do 'show port summary all
show port info 0' >"$T/pod.log" 2>&1
	grep -aE 'Number of available ports: 1$' "$T/pod.log" &&
	grep -aE 'Driver name: net_virtio$' "$T/pod.log" &&
	grep -aiE "MAC address: $MAC" "$T/pod.log" &&
	grep -aE 'Device name: 0000:00:04.0$' "$T/pod.log" && return
	tail -n 20 "$T/pod.log"
	return 1
}

no_port_without_the_shim() {
	dpdk-testpmd --lcores '0@1,1@1' --file-prefix bare -- -i </dev/null >"$T/bare.log" 2>&1
	grep -a 'No probed ethernet devices' "$T/bare.log" ||
		{ echo "this machine has a port of its own"; return 77; }
}

backend_is_ready() {
	log_has be 'virtio is now ready for processing'
}

# Each region of the table the back-end logged: guest physical = guest virtual address, and all
# of it one shared mapping after another in the pod.
memory_table_matches() {
	log be | sed -n 's/.*region size: /size /p; s/.*guest physical addr: /gpa /p
		s/.*guest virtual  addr: /gva /p' >"$T/table"
	[ -s "$T/table" ] || { echo "the back-end logged no table"; return 1; }
	paste -d ' ' - - - <"$T/table" | while read -r _ size _ gpa _ gva; do
		[ "$gpa" = "$gva" ] || { echo "gpa $gpa, gva $gva"; exit 1; }
		covered "$((gpa))" $((gpa + size)) "$1" || exit 1
	done
}

covered() {	# FROM TO PID: without a gap, by shared mappings of hugepage or memory files
	local at=$1 range perms rest
	while read -r range perms _ _ _ rest; do
		local from=$((0x${range%-*})) to=$((0x${range#*-}))
		[ "$at" -lt "$2" ] || break
		[ $from -le "$at" ] && [ "$at" -lt $to ] || continue
		case "$perms $rest" in
		??[-x]s*) at=$to ;;
		*)	echo "$range $perms $rest is not shared memory"; return 1 ;;
		esac
	done <"/proc/$3/maps"
	[ "$at" -ge "$2" ] || { printf 'nothing of the pod at %#x\n' "$at"; return 1; }
}

backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
NET=("socket=$T/s,mac=$MAC")
check "DPDK's files are the distribution's" stock_files_are_unchanged
if [ -z "${STAND_IN:-}" ]; then
	check "stock testpmd has one port, net_virtio at 0000:00:04.0, with its MAC" \
		testpmd_shows_the_port
	check "without the shim it has none" no_port_without_the_shim
fi

while read -r name net args; do
	NET=("socket=$T/s,mac=$MAC$net")
	# shellcheck disable=SC2086
	check "10^6 frames, $name" frames --count 1000000 --sizes $SIZES $args
	check "the back-end called it ready, $name" backend_is_ready
	mark be
done <<-END
	modern-split	,packed=off
	modern-packed	,packed=on
	two-pairs	,packed=on,queues=2	--queues 2
	transitional	,mode=transitional
	legacy		,mode=legacy,packed=off
END
NET=("socket=$T/s")
check "frames of 4500 and 8000 bytes over several buffers" \
	frames --count 20000 --sizes 4500,8000 --window 16 --scatter

mark be
mark pod
start pod frames --hold --window 32
check "traffic flows" until_true 10 log_has pod '"beat"'
check "each region is the pod's own shared memory at the same address" \
	memory_table_matches "$(json pid)"
stop pod
finish
