#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# reconnect.sh - the back-end is killed under load and comes back: the driver sees the link go
# down and up, the application goes on, and no buffer is lost.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

KILLS=2
GONE=64		# frames a back-end had in its hands: two bursts
RING=256	# descriptors of a ring: podpci's default

event_after() {	# MOMENT_US PATTERN: whether an event after it matches
	log pod | grep -aE "$2" | sed 's/{"t":\([0-9]*\).*/\1/' |
		awk -v t="$1" '$1 > t { found = 1 } END { exit !found }'
}

kill_and_restart() {	# BACKEND-OPTIONS
	local killed started
	killed=$(now_us)
	stop be KILL
	until_true 5 event_after "$killed" '"link".*"up":0' || return
	until_true 5 event_after "$killed" '"stall"' || return
	alive pod || { echo "the application is gone"; return 1; }
	[[ $1 == *client* ]] || rm -f "$T/s"
	started=$(now_us)
	backend be "$1" || return
	until_true 5 event_after "$started" '"link".*"up":1' &&
		until_true 5 event_after "$started" '"resume"'
}

# Where a packed ring did not tell where it stood, its buffers were given back unsent: as many as
# the device says, of each transmit ring no more than there are.
given_back() {
	awk '/\.ring_buffers_given_back / { n = $2 } END { print n + 0 }' "$T/stats"
}

whole() {	# all buffers are back, and what came back was right
	stop pod
	log pod | tail -n 5
	[ -n "$(json buffers_after)" ] && [ "$(json buffers_before)" = "$(json buffers_after)" ] ||
		{ echo "buffers are missing"; return 1; }
	for what in corrupt duplicate strangers; do
		[ "$(json $what)" = 0 ] || { echo "$what: $(json $what)"; return 1; }
	done
	[ -n "${STAND_IN:-}" ] || le "$(given_back)" $((KILLS * queues * RING)) "given back" ||
		return
	le $(($(json forgiven) + $(json lost))) $((KILLS * GONE + $(given_back))) \
		"frames gone with $KILLS back-ends"
}

# No register access of the application waited for a back-end, for the application does not sleep
# anywhere else.
never_held_up() {
	until_true 5 event_after "$(now_us)" '"beat"' || return
	log pod | grep -a '"beat"' | sed 's/.*"slept_ms":\([0-9]*\).*/\1/' | awk '
		$1 > 500 { print "slept for", $1, "ms of a second"; bad = 1 }
		END { exit bad || !NR }'
}

ROWS=(	# name | pod | back-end
	"split, pod connects|packed=off|"
	"packed, pod connects|packed=on|"
	"split, pod listens|packed=off,server|,client=1"
	"packed, pod listens|packed=on,server|,client=1"
	"two pairs|packed=on,queues=2|,queues=2"
	"legacy|mode=legacy,packed=off|"
)
export PODPCI_STATS=$T/stats
for row in "${ROWS[@]}"; do
	IFS='|' read -r name net vhost <<<"$row"
	[ -n "${STAND_IN:-}" ] && [[ $net != *server* ]] && continue	# it cannot
	rm -f "$T/s"
	NET=("socket=$T/s,$net")
	options="iface=$T/s$vhost"
	queues=1
	[[ $net == *queues=2* ]] && queues=2
	mark pod
	: >"$T/stats"
	if [[ $net == *server* ]]; then
		start pod frames --hold --queues $queues
		until_true 5 test -S "$T/s"
		backend be "$options"
	else
		backend be "$options"
		start pod frames --hold --queues $queues
	fi
	check "$name: traffic flows" until_true 5 log_has pod '"resume"'
	for ((k = 1; k <= KILLS; k++)); do
		check "$name: kill -9 number $k: link down, and up with the next" \
			kill_and_restart "$options"
	done
	check "$name: the application was never held up" never_held_up
	check "$name: nothing leaked, doubled or corrupt" whole
	stop be
done
finish
