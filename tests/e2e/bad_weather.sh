#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bad_weather.sh - missing, dead, silent and lying back-ends, and a process short of descriptors
# or memory: the application goes on or fails in its own words, and somebody says why.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"
[ -z "${STAND_IN:-}" ] || skip_all "virtio-user has its own weather"

# peer listens on $T/s and treats each connection as told.
PEER='
use Socket;
my ($path, $what) = @ARGV;
my ($l, @kept);
$SIG{PIPE} = "IGNORE";
unlink $path;
socket($l, AF_UNIX, SOCK_STREAM, 0) && bind($l, sockaddr_un($path)) && listen($l, 8) or die;
exit 0 if $what eq "dead";
while (accept(my $c, $l)) {
	push @kept, $c if $what eq "silent";
	next if $what eq "hangup" or $what eq "silent";
	for (1 .. 200) {
		my $text = $what eq "zeros" ? "\0" x 4096 :
			join("", map { chr int rand 256 } 1 .. 1 + rand 4096);
		# A good header, then nonsense: GET_FEATURES with a reply of the wrong size.
		$text = pack("LLL", 1, 5, 4000 + rand 96) . $text if $what eq "liar";
		syswrite($c, $text) or last;
		select(undef, undef, undef, 0.01);
	}
}'

peer() {
	[ "$1" = missing ] || start peer perl -e "$PEER" "$T/s" "$1"
	[ "$1" = missing ] || until_true 3 test -S "$T/s"
}

# The device comes up with its link down, the application works on and ends when it is told to.
# It may start later than without any back-end: by the few registers that wait for this one.
application_goes_on() {
	local began took
	mark pod
	peer "$1" || return
	began=$(now_us)
	start pod frames --hold --wait 0 --beat 200
	until_true 5 log_has pod '"beat"' || { log pod; return 1; }
	took=$((($(now_us) - began) / 1000))
	LEAST=${LEAST:-$took}
	le $took $((LEAST + 10 * TIMEOUT)) "ms to the first beat" || return
	until_true 5 beats_again || return
	alive pod || return
	log_has pod '"ready".*"link":0' || { log pod; return 1; }
	until_true 5 log_has pod 'podpci: net0: ' || { echo "nobody said why"; return 1; }
	log pod | grep -a podpci: | head -5
	le "$(log pod | grep -ac podpci:)" 40 "lines of complaint"
}

beats_again() {
	[ "$(log pod | grep -ac '"beat"')" -ge 3 ]
}

recovers() {	# the same application, once a good back-end is there
	[ -z "${PID[peer]:-}" ] || stop peer KILL
	ln -f "$T/good" "$T/s" || return
	until_true 5 log_has pod '"link".*"up":1' && until_true 20 log_has pod '"resume"' || {
		log pod | tail -n 20
		return 1
	}
	stop pod
	rm "$T/s"
	[ "$(json buffers_before)" = "$(json buffers_after)" ] || { log pod | tail; return 1; }
}

# The back-end stops in mid traffic: port commands of the application return all the same.
hang_is_bounded() {
	mark pod
	mark be
	start pod pod dpdk-testpmd --lcores '0@1,1@1' --file-prefix pod -- -i \
		--total-num-mbufs=8192 --disable-link-check
	until_true 5 log_has be 'virtio is now ready' || return
	sleep 0.2
	kill -STOP "${PID[be]}"
	say pod 'port stop 0'
	say pod 'port start 0'
	say pod 'port stop 0'
	say pod 'port close 0'
	say pod quit
	until_true 20 eval '! alive pod'
	kill -CONT "${PID[be]}"
	alive pod && { log pod | tail; return 1; }
	wait "${PID[pod]}"
	le $? 0 "as exit status"
}

ends_in_words() {	# COMMAND...: by itself, not by a signal, and with a word if it failed
	LIMIT=20 "$@" >"$T/pod.log" 2>&1
	local rc=$?
	cat "$T/pod.log"
	le $rc 123 "as exit status" || return
	[ $rc = 0 ] || [ -s "$T/pod.log" ]
}

started_with() {	# KB
	(
		ulimit -v "$1"
		ends_in_words frames --count 1000 --wait 200 --timeout 300
	)
}

REASONS='podpci: |too many open|cannot allocate|notifier|open (sysfs|dir)'

events() {	# FIRST LAST VALUE: the log from one event to another
	sed -nE "/\"($1)\".*\"with\":$3}/,/\"($2)\".*\"with\":$3}/p" "$T/pod.log"
}

# A port attached when the process is short of something works or is refused with the reason;
# later it works, unless EAL cannot try again (it forgets a callback of its first, failed try) or
# panics (its interrupt thread takes no refusal of an epoll instance).
came_through() {	# VALUE EXIT-STATUS
	events short works "$1"
	events short refused "$1" | grep -q '"event":"refused"' &&
		! events short refused "$1" | grep -aiE "$REASONS" &&
		{ echo "nobody said why"; return 1; }
	goes_on "$1" && return
	events short works "$1" | grep -aq 'Could not install memory event callback' &&
		[ "$2" = 1 ] && return
	events short works "$1" | grep -aq 'PANIC in eal_intr_thread_main'
}

goes_on() {	# VALUE
	grep -q "\"event\":\"works\".*\"with\":$1}" "$T/pod.log"
}

# One process after the other, each for as long as it can go on.
attached_with() {	# OPTION NAME VALUE...
	local option=$1 name=$2 value rc
	shift 2
	while [ $# -gt 0 ]; do
		frames --count 1000 --wait 500 --detach-attach '' "$option" \
			"$(IFS=,; echo "$*")" >"$T/pod.log" 2>&1
		rc=$?
		while [ $# -gt 0 ]; do
			value=$1
			shift
			check "attached with $value $name" came_through "$value" $rc
			goes_on "$value" || break
		done
	done
	check "and after that as ever" le $rc 0 "as exit status"
}

TIMEOUT=400	# ms that a register access may take at most; a first answer five times as many
NET=("socket=$T/s,timeout=$TIMEOUT,wait=200")
backend be "iface=$T/good" || skip_all "the back-end does not start"
for what in ${WEATHER-missing dead hangup silent zeros noise liar}; do
	check "$what back-end: the application goes on" application_goes_on $what
	check "$what back-end: and works when a good one comes" recovers
done
ln "$T/good" "$T/s"
check "a back-end that hangs: stop, start and close return" hang_is_bounded
NET=("socket=$T/s")
check "and the next pod is served" frames --count 1000
attached_with --spare-fds descriptors 0 1 2 3 4 5 6 7 8 9 10 11 12 14 16 18 20 24 32
attached_with --spare-kb "KB of address space" 0 16 64 128 256 1024 4096 16384
for mb in 200 1000 70000 140000; do
	check "started with $mb MB of address space" started_with $((mb * 1024))
done
check "and the next pod is served" frames --count 1000

mount -t hugetlbfs -o remount,size=4M none "$T/huge"
check "without hugepages" ends_in_words frames --count 1000 --wait 200 --timeout 300
EAL=(--no-huge -m 256)
check "without hugepages, with --no-huge" frames --count 1000
finish
