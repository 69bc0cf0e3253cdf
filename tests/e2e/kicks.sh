#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# kicks.sh - with a polling back-end 10^6 frames cost fewer than 100 traps, system calls and
# kicks together: strace counts, from the first frame to the last.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

COST_MAX=99

# Every system call and signal of every thread between the application's "ready" and its report;
# a kick is a write, a trap a SIGSEGV.
cost() {
	awk '/write\(1, .*ready/ { on = 1; next }
	     on && /write\(1, .*\\"sent\\"/ { done = 1; exit }
	     on && !/(resumed>|exited with)/ { n++; print > "/dev/stderr" }
	     END { print done ? n + 0 : "" }' "$1"
}

million() {
	local n
	STRACE=(strace -f -s 64 -o "$T/strace")
	frames --count 1000000 --sizes 64 "$@" || return
	STRACE=()
	n=$(cost "$T/strace" 2>"$T/calls")
	echo "$n calls, the most of:"
	sed 's/^[0-9]* *//; s/(.*//' "$T/calls" | sort | uniq -c | sort -rn | head
	le "$n" $COST_MAX "calls, traps and kicks" &&
		NOTE=$n
}

command -v strace >/dev/null || skip_all "strace is not installed"
backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
while read -r name net args; do
	NET=("socket=$T/s,$net")
	NOTE=
	# shellcheck disable=SC2086
	check "10^6 frames, $name, without a call" million $args && echo "# $NOTE calls"
done <<-'END'
	split	packed=off
	packed	packed=on
	two-pairs	packed=on,queues=2	--queues 2
	legacy	mode=legacy,packed=off
END
finish
