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
application_goes_on() {
	local began
	mark pod
	peer "$1" || return
	began=$(now_us)
	start pod frames --hold --wait 0
	until_true 10 log_has pod '"second"' || { log pod; return 1; }
	le $((($(now_us) - began) / 1000)) 7000 "ms to the first second" || return
	alive pod || return
	log_has pod '"ready".*"link":0' || { log pod; return 1; }
	until_true 8 log_has pod 'podpci: net0: ' || { echo "nobody said why"; return 1; }
	log pod | grep -a podpci: | head -5
	le "$(log pod | grep -ac podpci:)" 40 "lines of complaint"
}

recovers() {	# the same application, once a good back-end is there
	[ -z "${PID[peer]:-}" ] || stop peer KILL
	rm -f "$T/s"
	backend be "iface=$T/s" || return
	until_true 6 log_has pod '"link".*"up":1' && until_true 4 log_has pod '"resume"' || {
		log pod | tail -n 20
		return 1
	}
	stop pod
	stop be
	[ "$(json buffers_before)" = "$(json buffers_after)" ] || { log pod | tail; return 1; }
}

# The back-end stops in mid traffic: port commands of the application stay bounded.
hang_is_bounded() {
	local began
	mark pod
	start pod pod dpdk-testpmd --lcores '0@1,1@1' --file-prefix pod -- -i \
		--total-num-mbufs=8192 --disable-link-check
	until_true 8 log_has be 'virtio is now ready' || return
	sleep 0.5
	kill -STOP "${PID[be]}"
	began=$(now_us)
	say pod 'port stop 0'
	say pod 'port start 0'
	say pod 'port stop 0'
	say pod 'port close 0'
	say pod quit
	until_true 12 eval '! alive pod'
	kill -CONT "${PID[be]}"
	alive pod && { log pod | tail; return 1; }
	wait "${PID[pod]}"
	le $? 0 "as exit status" && le $((($(now_us) - began) / 1000)) 10000 "ms"
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

# A port attached when the process is short of something works or is refused with the reason;
# later it works, unless EAL cannot try again (it forgets a callback of its first, failed try) or
# panics (its interrupt thread takes no refusal of an epoll instance).
attached_with() {	# OPTION VALUE
	frames --count 1000 --wait 500 --detach-attach '' "$1" "$2" >"$T/pod.log" 2>&1
	local rc=$?
	cat "$T/pod.log"
	grep -q '"event":"refused"' "$T/pod.log" &&
		! grep -aiE "$REASONS" "$T/pod.log" &&
		{ echo "nobody said why"; return 1; }
	grep -aq 'Could not install memory event callback' "$T/pod.log" && [ $rc = 1 ] && return
	grep -aq 'PANIC in eal_intr_thread_main' "$T/pod.log" && return
	le $rc 0 "as exit status"
}

NET=("socket=$T/s")
for what in ${WEATHER-missing dead hangup silent zeros noise liar}; do
	check "$what back-end: the application goes on" application_goes_on $what
	check "$what back-end: and works when a good one comes" recovers
done

backend be "iface=$T/s" || skip_all "the back-end does not start"
check "a back-end that hangs: stop, start and close return" hang_is_bounded
mark be
check "and the next pod is served" frames --count 1000
for n in 0 1 2 3 4 5 6 7 8 9 10 11 12 14 16 18 20 24 32; do
	check "attached with $n descriptors" attached_with --spare-fds $n
done
for kb in 0 16 64 128 256 1024 4096 16384; do
	check "attached with $kb KB of address space" attached_with --spare-kb $kb
done
for mb in 200 1000 70000 140000; do
	check "started with $mb MB of address space" started_with $((mb * 1024))
done
check "and the next pod is served" frames --count 1000

mount -t hugetlbfs -o remount,size=4M none "$T/huge"
check "without hugepages" ends_in_words frames --count 1000 --wait 200 --timeout 300
EAL=(--no-huge -m 256)
check "without hugepages, with --no-huge" frames --count 1000
finish
