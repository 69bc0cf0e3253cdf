#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh - `make demo`: an unprivileged container's stock testpmd drives a PCI device that is not
# there, against a stock vhost back-end. About a minute; succeeds only if packets really flowed.
#
# SECONDS_EACH=5 (of traffic per part)   NO_COLOR=1
set -u
here=$(cd "$(dirname "$0")" && pwd)
B=${B:-$here/../build}
B=$(cd "$B" 2>/dev/null && pwd) || { echo "demo: build first: make" >&2; exit 1; }
each=${SECONDS_EACH:-5}
W=
declare -A PID=() IN=()
NAME=podpci-demo-$$
MAC=52:54:00:70:64:01

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ]; then
	bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' off=$'\e[0m'
else
	bold='' dim='' green='' red='' off=''
fi

step() {
	printf '\n%s==> %s%s\n' "$bold" "$*" "$off"
}

note() {
	printf '    %s\n' "$*"
}

quote() {	# what somebody printed
	sed "s/^/    $dim| /; s/\$/$off/"
}

die() {
	printf '\n%sdemo: %s%s\n' "$red" "$*" "$off" >&2
	[ -z "$W" ] || for f in "$W"/*.log; do
		[ -s "$f" ] && { echo "--- ${f##*/}"; tail -n 8 "$f"; } >&2
	done
	exit 1
}

cleanup() {
	trap '' INT TERM HUP
	[ -n "$W" ] || return
	runc --root "$W/runc" kill $NAME KILL 2>/dev/null
	for p in "${PID[@]}"; do
		kill -KILL "$p" 2>/dev/null
	done
	wait 2>/dev/null
	runc --root "$W/runc" delete -f $NAME 2>/dev/null
	rm -rf "$W"
}
trap cleanup EXIT
trap 'printf "\n%s\n" "interrupted: cleaning up"; exit 130' INT TERM HUP

# start NAME COMMAND...: in the background, to be spoken to with say()
start() {
	local name=$1
	shift
	[ -p "$W/$name.in" ] || mkfifo "$W/$name.in"
	exec {IN[$name]}<>"$W/$name.in"
	"$@" <"$W/$name.in" >>"$W/$name.log" 2>&1 &
	PID[$name]=$!
}

say() {
	printf '%s\n' "$2" >&"${IN[$1]}"
}

# await NAME PATTERN SECONDS: in its log since the last mark
declare -A MARK=()

mark() {
	MARK[$1]=$(stat -c %s "$W/$1.log" 2>/dev/null || echo 0)
}

since() {
	tail -c +$((${MARK[$1]:-0} + 1)) "$W/$1.log" | tr -d '\r'
}

await() {
	local i
	for ((i = 0; i < $3 * 20; i++)); do
		since "$1" | grep -aqE "$2" && return
		kill -0 "${PID[$1]}" 2>/dev/null || return
		sleep 0.05
	done
	return 1
}

# ---- the parts --------------------------------------------------------------------------------

backend() {	# two ports, each echoing what it gets: the pod's and, later, virtio-user's
	rm -f "$W/sock/pod" "$W/sock/vu"
	mark be
	umask 0
	start be stdbuf -oL dpdk-testpmd --lcores "0@$host,1@$host" --no-pci --in-memory -m 256 \
		--single-file-segments --file-prefix "$NAME-be" \
		--vdev "net_vhost0,iface=$W/sock/pod" --vdev "net_vhost1,iface=$W/sock/vu" -- \
		--total-num-mbufs=32768 --port-topology=loop --disable-link-check --no-flush-rx \
		--forward-mode=io -a
	umask 022
	await be 'Press enter' 10 || die "the back-end did not start"
}

ask() {	# NAME COMMAND PATTERN: the answer's matching lines
	mark "$1"
	say "$1" "$2"
	await "$1" "$3" 5
	since "$1" | grep -aE "$3"
}

# sample NAME: packets so far, received and sent
sample() {
	ask "$1" 'show port stats 0' 'Rx-bps' >/dev/null
	since "$1" | awk '/RX-packets:/ { rx = $2 } /TX-packets:/ { tx = $2 } END { print rx, tx }'
}

mpps() {	# COUNT MICROSECONDS
	awk -v n="$1" -v us="$2" 'BEGIN { printf "%.2f", (us > 0 ? n / us : 0) }'
}

now_us() {
	echo "${EPOCHREALTIME/[.,]/}"
}

# rates SECONDS: a line each; $GOT and $SENT are what came in and went out in all
rates() {
	local r0 t0 r1 t1 at now i
	read -r r0 t0 < <(sample pod)
	at=$(now_us)
	GOT=-$r0 SENT=-$t0
	for ((i = 1; i <= $1; i++)); do
		sleep 1
		read -r r1 t1 < <(sample pod)
		now=$(now_us)
		printf '    %ss   pod to host %s%6s%s   host to pod %s%6s%s   ' "$i" \
			"$green" "$(mpps $((t1 - t0)) $((now - at)))" "$off" \
			"$green" "$(mpps $((r1 - r0)) $((now - at)))" "$off"
		echo "million packets a second"
		r0=$r1 t0=$t1 at=$now
	done
	GOT=$((GOT + r1)) SENT=$((SENT + t1))
}

turn() {	# NAME: a short run's rate of echoes
	local r0 t0 r1 t1 at
	say "$1" start
	sleep 0.2
	read -r r0 t0 < <(sample "$1")
	at=$(now_us)
	sleep 0.5
	read -r r1 t1 < <(sample "$1")
	mpps $((r1 - r0)) $(($(now_us) - at))
	mark "$1"
	say "$1" stop
	await "$1" '^Done' 3
}

median() {
	tr ' ' '\n' <<<"$*" | sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# ---- the demonstration ---------------------------------------------------------------------------

step "Setting up"
"$here/setup.sh" || die "the machine cannot be set up"
[ "$(id -u)" = 0 ] || die "needs root, to start a container"
for f in "$B/bin/podpci" "$B/lib/libpodpci.so"; do
	[ -e "$f" ] || die "$f is missing: run make first"
done
W=$(mktemp -d /tmp/podpci-demo.XXXXXX) && chmod 755 "$W" && mkdir -m 755 "$W/sock" || die "no /tmp"
host=0 guest=$(($(nproc) > 1))

step "Host: a stock vhost back-end, dpdk-testpmd with net_vhost, echoing each packet"
backend
note "socket $W/sock/pod"

step "Host: the simulated bus as plain files, for the container to mount"
"$B/bin/podpci" sysfs --net "socket=$W/sock/pod,mac=$MAC" "$W/tree" >"$W/plan" ||
	die "podpci sysfs failed"
quote <"$W/plan"

step "Container: runc, uid 1000, no capabilities, default seccomp, no /dev/vfio"
"$here/bundle.sh" "$W/bundle" "$W/sock:$W/sock" -- stdbuf -oL dpdk-testpmd \
	--lcores "0@$guest,1@$guest" -- -i --forward-mode=flowgen <"$W/plan" || die "no bundle"
start pod runc --root "$W/runc" run -b "$W/bundle" $NAME
await pod 'testpmd>' 15 || die "testpmd in the container did not start"
note "dpdk-testpmd runs in it without any EAL memory flag. What the container sees:"
runc --root "$W/runc" exec $NAME sh -c 'id; grep -E "CapEff|Seccomp:" /proc/self/status
	env -u LD_PRELOAD ls -d /dev/vfio; lspci -nnk' 2>&1 | quote
ask pod 'show port info 0' 'MAC address|Device name|Driver name|Link status|^Promisc' >/dev/null
since pod | grep -aE '^(MAC address|Device name|Driver name|Link status):' | quote
since pod | grep -aq 'Driver name: net_virtio$' || die "the port's driver is not net_virtio"
since pod | grep -aqi "MAC address: $MAC" || die "the port's MAC is not $MAC"

step "Packets: the container sends as fast as it can, the host sends each one back"
say pod start
rates "$each"
[ "$GOT" -gt 0 ] && [ "$SENT" -gt 0 ] || die "no packets: $SENT out, $GOT in"
note "$SENT packets out and $GOT in, of which podpci touched none"

step "The back-end is killed (kill -9) and started again; the application is not told"
kill -KILL "${PID[be]}"
wait "${PID[be]}" 2>/dev/null
sleep 0.3
ask pod 'show port info 0' 'Link status' | quote
rates 1
backend
await pod . 1
for ((i = 0; i < 40; i++)); do
	ask pod 'show port info 0' 'Link status' | grep -q up && break
	sleep 0.05
done
ask pod 'show port info 0' 'Link status' | quote
rates "$each"
[ "$GOT" -gt 0 ] && [ "$SENT" -gt 0 ] || die "traffic did not resume: $SENT out, $GOT in"
say pod stop

step "The same program on DPDK's virtio-user, same back-end, taking turns"
start vu stdbuf -oL dpdk-testpmd --lcores "0@$guest,1@$guest" --no-pci --in-memory -m 512 \
	--single-file-segments --file-prefix "$NAME-vu" \
	--vdev "net_virtio_user0,path=$W/sock/vu,packed_vq=1" -- -i --forward-mode=flowgen
await vu 'testpmd>' 15 || die "virtio-user did not start"
pods=() vus=()
for ((i = 0; i < 7; i++)); do
	vus+=("$(turn vu)")
	pods+=("$(turn pod)")
done
note "virtio-user      $(median "${vus[@]}")   median of ${vus[*]}"
note "simulated PCI    $(median "${pods[@]}")   median of ${pods[*]}   million echoes a second"
note "Rounds of half a second on a machine with other things to do: read it as \"the same\" or not."
note "make bench measures properly."

printf '\n%sDone: packets flowed, before and after the restart.%s\n' "$bold$green" "$off"
