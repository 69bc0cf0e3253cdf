#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# reconnect.sh - the back-end is killed under load and comes back: the driver sees the link go
# down and up, the application goes on, and no buffer is lost.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

# DPDK's server looks at a new socket up to a second after binding it: that second is its own.
DOWN_MS=200 RESUME_MS=1100 KILLS=2
GONE=64		# frames a back-end had in its hands: two bursts

event_after() {	# MOMENT_US PATTERN: ms from a moment to the first event after it that matches
	log pod | grep -aE "$2" | sed 's/{"t":\([0-9]*\).*/\1/' |
		awk -v t="$1" '$1 > t { print int(($1 - t) / 1000); exit }'
}

seen_after() {
	[ -n "$(event_after "$@")" ]
}

kill_and_restart() {	# BACKEND-OPTIONS
	local killed started ready
	killed=$(now_us)
	stop be KILL
	until_true 3 seen_after "$killed" '"link".*"up":0' || return
	le "$(event_after "$killed" '"link".*"up":0')" $DOWN_MS "ms until link down" || return
	sleep 0.3
	alive pod || { echo "the application is gone"; return 1; }
	[[ $1 == *client* ]] || rm -f "$T/s"
	started=$(now_us)
	backend be "$1" || return
	ready=$(($(now_us) - started))
	until_true 5 seen_after "$started" '"resume"' || return
	le "$(event_after "$started" '"resume"')" $((ready / 1000 + RESUME_MS)) \
		"ms until traffic resumed" || return
	until_true 2 seen_after "$started" '"link".*"up":1'
}

whole() {	# all buffers are back, and what came back was right
	stop pod
	log pod | tail -n 5
	[ -n "$(json buffers_after)" ] && [ "$(json buffers_before)" = "$(json buffers_after)" ] ||
		{ echo "buffers are missing"; return 1; }
	for what in corrupt duplicate strangers; do
		[ "$(json $what)" = 0 ] || { echo "$what: $(json $what)"; return 1; }
	done
	le $(($(json forgiven) + $(json lost))) $((KILLS * GONE)) \
		"frames gone with $KILLS back-ends"
}

# No register access of the application waited for a back-end: its own clock kept its beat.
never_held_up() {
	log pod | grep -a '"second"' | sed 's/{"t":\([0-9]*\).*/\1/' | awk -v max=1500000 '
		last && $1 - last > max { print "held up for", ($1 - last) / 1000, "ms"; bad = 1 }
		{ last = $1 }
		END { exit bad }'
}

ROWS=(	# name | pod | back-end
	"split, pod connects|packed=off|"
	"packed, pod connects|packed=on|"
	"split, pod listens|packed=off,server|,client=1"
	"packed, pod listens|packed=on,server|,client=1"
	"two pairs|packed=on,queues=2|,queues=2"
	"legacy|mode=legacy,packed=off|"
)
for row in "${ROWS[@]}"; do
	IFS='|' read -r name net vhost <<<"$row"
	[ -n "${STAND_IN:-}" ] && [[ $net != *server* ]] && continue	# it cannot
	rm -f "$T/s"
	NET=("socket=$T/s,$net")
	options="iface=$T/s$vhost"
	queues=1
	[[ $net == *queues=2* ]] && queues=2
	mark pod
	if [[ $net == *server* ]]; then
		start pod frames --hold --queues $queues
		until_true 5 test -S "$T/s"
		backend be "$options"
	else
		backend be "$options"
		start pod frames --hold --queues $queues
	fi
	check "$name: traffic flows" until_true 8 log_has pod '"second".*"received":[1-9]'
	for ((k = 1; k <= KILLS; k++)); do
		check "$name: kill -9 number $k: down in $DOWN_MS ms, up $RESUME_MS ms after" \
			kill_and_restart "$options"
	done
	check "$name: the application was never held up" never_held_up
	check "$name: nothing leaked, doubled or corrupt" whole
	stop be
done
finish
