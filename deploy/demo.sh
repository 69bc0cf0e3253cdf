#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# demo.sh - `make demo`: unprivileged containers whose stock testpmd drives a PCI device that is not
# there. About a minute; succeeds only if packets really flowed.
#
# BACKEND=switch (the default): demo-switch.sh, two containers on podpci's own switch.
# BACKEND=dpdk: demo-dpdk.sh, one container and a stock testpmd with net_vhost.
# SECONDS_EACH=5 (of traffic per part)   NO_COLOR=1
set -u
here=$(cd "$(dirname "$0")" && pwd)
B=${B:-$here/../build}
B=$(cd "$B" 2>/dev/null && pwd) || { echo "demo: build first: make" >&2; exit 1; }
each=${SECONDS_EACH:-5}
W=
declare -A PID=() IN=()
NAME=podpci-demo-$$
PODS=()				# containers, by their names here

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
	for p in "${PODS[@]}"; do
		runc --root "$W/runc" kill "$NAME-$p" KILL 2>/dev/null
	done
	for p in "${PID[@]}"; do
		kill -KILL "$p" 2>/dev/null
	done
	wait 2>/dev/null
	for p in "${PODS[@]}"; do
		runc --root "$W/runc" delete -f "$NAME-$p" 2>/dev/null
	done
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

# ---- what the forms share ----------------------------------------------------------------------

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

# rates POD SECONDS OUT IN: a line each second; $GOT and $SENT are what came in and went out in all
rates() {
	local r0 t0 r1 t1 at now i
	read -r r0 t0 < <(sample "$1")
	at=$(now_us)
	GOT=-$r0 SENT=-$t0
	for ((i = 1; i <= $2; i++)); do
		sleep 1
		read -r r1 t1 < <(sample "$1")
		now=$(now_us)
		printf '    %ss   %s %s%6s%s   %s %s%6s%s   ' "$i" \
			"$3" "$green" "$(mpps $((t1 - t0)) $((now - at)))" "$off" \
			"$4" "$green" "$(mpps $((r1 - r0)) $((now - at)))" "$off"
		echo "million packets a second"
		r0=$r1 t0=$t1 at=$now
	done
	GOT=$((GOT + r1)) SENT=$((SENT + t1))
}

flowed() {	# WHAT: after rates()
	[ "$GOT" -gt 0 ] && [ "$SENT" -gt 0 ] || die "$1: $SENT out, $GOT in"
}

# container POD PLAN SOCKET-DIRECTORY CORE TESTPMD-OPTIONS...: runs testpmd in it
container() {
	local pod=$1 plan=$2 dir=$3 core=$4
	shift 4
	"$here/bundle.sh" "$W/$pod" "$dir:$dir" -- stdbuf -oL dpdk-testpmd \
		--lcores "0@$core,1@$core" -- -i "$@" <"$plan" || die "no bundle"
	PODS+=("$pod")
	start "$pod" runc --root "$W/runc" run -b "$W/$pod" "$NAME-$pod"
	await "$pod" 'testpmd>' 20 || die "testpmd in the container did not start"
}

look_around() {	# POD: what it sees
	runc --root "$W/runc" exec "$NAME-$1" sh -c 'id; grep -E "CapEff|Seccomp:" /proc/self/status
		env -u LD_PRELOAD ls -d /dev/vfio; lspci -nnk' 2>&1 | quote
}

port_is_ours() {	# POD MAC
	ask "$1" 'show port info 0' 'MAC address|Device name|Driver name|Link status|^Promisc' \
		>/dev/null
	since "$1" | grep -aE '^(MAC address|Device name|Driver name|Link status):' | quote
	since "$1" | grep -aq 'Driver name: net_virtio$' || die "the driver is not net_virtio"
	since "$1" | grep -aqi "MAC address: $2" || die "the port's MAC is not $2"
}

link_up() {	# POD: waits for it
	local i
	for ((i = 0; i < 40; i++)); do
		ask "$1" 'show port info 0' 'Link status' | grep -q up && return
		sleep 0.05
	done
	die "the link of $1 stays down"
}

# ---- the demonstration -------------------------------------------------------------------------

form=$here/demo-${BACKEND:=switch}.sh
[ -e "$form" ] || die "BACKEND is switch or dpdk, not $BACKEND"

step "Setting up"
"$here/setup.sh" || die "the machine cannot be set up"
[ "$(id -u)" = 0 ] || die "needs root, to start a container"
for f in "$B/bin/podpci" "$B/bin/podpci-switch" "$B/lib/libpodpci.so"; do
	[ -e "$f" ] || die "$f is missing: run make first"
done
W=$(mktemp -d /tmp/podpci-demo.XXXXXX) && chmod 755 "$W" || die "no /tmp"
host=0 guest=$(($(nproc) > 1))

. "$form"
