# SPDX-License-Identifier: Apache-2.0
# lib.sh - what the end-to-end scripts share; source it first.
#
# alone: it takes both processors, and 640 hugepages.
#
# A script runs in its own mount and process namespaces: whatever it starts or mounts is gone
# when it ends. It prints "ok NAME", "not ok NAME" or "skip NAME REASON" per check and fails if
# one failed. The back-end lives on core 0, the pod on core 1; the pod gets no EAL memory flags
# unless a test is about them.
#
# With STAND_IN=1 the pod's device is DPDK's own virtio-user instead of podpci's: to tell a
# fault of the product from a fault of a test.

skip_all() {
	echo "skip $(basename "$0" .sh) $*"
	exit 77
}

if [ -z "${E2E_DIR:-}" ]; then
	[ "$(id -u)" = 0 ] || skip_all "needs root"
	for tool in dpdk-testpmd unshare setsid; do
		command -v $tool >/dev/null || skip_all "$tool is not installed"
	done
	for ((i = 0; i < 30; i++)); do	# the pages of whoever ran before come back one by one
		free=$(cat /sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages)
		[ "$free" -lt 640 ] || break
		sleep 1
	done
	[ "$free" -ge 640 ] || skip_all "needs 640 free 2 MB hugepages, has $free"
	E2E_DIR=$(mktemp -d /tmp/pe.XXXXXX) || exit 1
	trap 'rm -rf "$E2E_DIR"; ${E2E_AFTER:-:}' EXIT
	# unshare(1) lets no other signal in; its death takes the rest along.
	trap 'kill -KILL "$inner" 2>/dev/null; exit 143' INT TERM HUP
	# shellcheck disable=SC2086
	E2E_DIR=$E2E_DIR unshare -m -p ${E2E_UNSHARE:-} --propagation private \
		--fork --kill-child --mount-proc "$BASH" "$0" "$@" &
	inner=$!
	wait $inner
	exit $?
fi

set -u
T=$E2E_DIR
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
B=${B:-$ROOT/build}
case $B in /*) ;; *) B=$ROOT/$B ;; esac
FRAMES=$B/tests/e2e/frames
PODPCI=$B/bin/podpci
FAILED=0
PATIENCE=20	# seconds, in front of what does not come
declare -A PID=() STDIN=() MARK=()

[ -n "${STAND_IN:-}" ] || product="bin/podpci lib/libpodpci.so"
for part in ${PARTS:-tests/e2e/frames} ${product:-}; do
	[ -e "$B/$part" ] || skip_all "$B/$part is not built"
done

# A hugetlbfs and a run-time directory of our own, and no others in sight.
grep ' hugetlbfs ' /proc/mounts | while read -r _ dir _; do umount "$dir"; done
mkdir -p "$T/huge" /run/dpdk
mount -t hugetlbfs -o pagesize=2M,mode=1777 none "$T/huge" || exit 1
mount -t tmpfs none /run/dpdk || exit 1

# ---- verdicts ---------------------------------------------------------------------------------

# check NAME COMMAND...: the command's output is shown only if it fails
check() {
	local name=$1 rc
	shift
	"$@" >"$T/check.log" 2>&1
	rc=$?
	case $rc in
	0)	echo "ok $name" ;;
	77)	echo "skip $name $(tail -n 1 "$T/check.log")" ;;
	*)	echo "not ok $name"
		echo "# status $rc of: $*"
		tail -n 25 "$T/check.log" | cut -c1-300 | sed 's/^/# /'
		FAILED=1 ;;
	esac
	return $rc
}

finish() {
	[ ! -e "$T/unending" ] || { cat "$T/unending"; FAILED=1; }
	exit $FAILED
}

# le A B WHAT: A <= B, said if not
le() {
	[ -n "${1:-}" ] && [ "$1" -le "$2" ] && return
	echo "$3: ${1:-nothing}, at most $2 expected"
	return 1
}

now_us() {
	echo "${EPOCHREALTIME/[.,]/}"
}

# until_true SECONDS COMMAND...: that it happens is to be seen, not how fast: on a busy machine it
# may take longer than the seconds it should
until_true() {
	local end=$(($(now_us) + ($1 + PATIENCE) * 1000000))
	shift
	until "$@" >/dev/null 2>&1; do
		[ "$(now_us)" -lt $end ] || { echo "not within the time: $*"; return 1; }
		sleep 0.02
	done
}

# ---- back-ends and other background programs ---------------------------------------------------

# start NAME COMMAND...: in the background, output to $T/NAME.log, input from say()
start() {
	local name=$1
	shift
	[ -p "$T/$name.in" ] || mkfifo "$T/$name.in"
	exec {STDIN[$name]}<>"$T/$name.in"
	(
		BG=1
		[ "$(type -t "$1")" = function ] || exec "$@"
		"$@"
	) <&"${STDIN[$name]}" >>"$T/$name.log" 2>&1 &
	PID[$name]=$!
}

say() {	# NAME TEXT
	echo "$2" >&"${STDIN[$1]}"
}

log() {	# NAME: what it printed since mark()
	tail -c +$((${MARK[$1]:-0} + 1)) "$T/$1.log"
}

mark() {
	MARK[$1]=$(stat -c %s "$T/$1.log" 2>/dev/null || echo 0)
}

log_has() {	# NAME PATTERN
	log "$1" | grep -qE "$2"
}

alive() {
	kill -0 "${PID[$1]}" 2>/dev/null
}

# What does not end is a fault: where its threads are is said at the end, and it is killed.
stop() {	# NAME [SIGNAL]
	local pid=${PID[$1]} end=$(($(now_us) + PATIENCE * 1000000))
	{
		kill -"${2:-TERM}" "$pid"
		while kill -0 "$pid"; do
			[ "$(now_us)" -lt $end ] || { does_not_end "$1" >>"$T/unending"; break; }
			sleep 0.01
		done
		wait "$pid"
	} 2>/dev/null
}

does_not_end() {	# NAME
	local task
	echo "not ok $1 ends when it is told to"
	for task in /proc/"${PID[$1]}"/task/*; do
		echo "# $(cat "$task/comm" "$task/wchan" "$task/syscall" 2>&1 | tr '\n' ' ')"
	done
	log "$1" | tail -n 20 | sed 's/^/# /'
	kill -KILL "${PID[$1]}"
}

# backend NAME VHOST-OPTIONS... [-- TESTPMD-OPTIONS]: a stock testpmd, echoing every port to itself
backend() {
	local name=$1 vdevs=() i=0 queues=1
	shift
	while [ $# -gt 0 ] && [ "$1" != -- ]; do
		[[ $1 =~ queues=([0-9]+) ]] && queues=${BASH_REMATCH[1]}
		vdevs+=(--vdev "net_vhost$i,$1")
		i=$((i + 1))
		shift
	done
	shift
	mark "$name"
	start "$name" stdbuf -oL dpdk-testpmd --lcores '0@0,1@0' --no-pci --in-memory \
		--single-file-segments -m 160 --file-prefix "$name" "${vdevs[@]}" -- \
		--total-num-mbufs=20000 --mbcache=128 --rxq="$queues" --txq="$queues" \
		--port-topology=loop --disable-link-check --no-flush-rx --forward-mode=io -a "$@"
	until_true 10 log_has "$name" "Press enter|Error|EXIT" && alive "$name" &&
		return
	log "$name" | tail -n 20
	return 1
}

# Feature bits the back-end last agreed on.
features() {
	log "$1" | sed -n 's/.*negotiated Virtio features: //p' | tail -n 1
}

# ---- the pod ------------------------------------------------------------------------------------

NET=()		# one "socket=PATH,..." per device, podpci's grammar
OPT=()		# more options for podpci run

virtio_user() {	# the stand-in's words for the same
	local i=0 net
	for net in "${NET[@]}"; do
		net=$(sed 's/socket=/path=/; s/,packed=on/,packed_vq=1/; s/,packed=off//
			s/,mrg=/,mrg_rxbuf=/; s/=off/=0/; s/=on/=1/; s/,server/,server=1/
			s/,mode=[a-z]*//; s/queue-size/queue_size/; s/,id=[^,]*//' <<<"$net")
		echo "--vdev=net_virtio_user$i,$net"
		i=$((i + 1))
	done
}

# pod COMMAND...: runs it where the devices are
pod() {
	local args=() net
	if [ -n "${STAND_IN:-}" ]; then
		local cmd=$1
		shift
		mapfile -t args < <(virtio_user)
		exec_or_run "$cmd" --no-pci --single-file-segments "${args[@]}" "$@"
	else
		for net in "${NET[@]}"; do
			args+=(--net "$net")
		done
		exec_or_run "$PODPCI" run "${args[@]}" "${OPT[@]}" -- "$@"
	fi
}

exec_or_run() {	# exec in a background job, so that its pid is the program's
	if [ -n "${BG:-}" ]; then
		exec "$@"
	else
		timeout -k 2 "${LIMIT:-60}" "${STRACE[@]}" "$@"
	fi
}

STRACE=()	# in front of the pod's command
EAL=()		# memory flags, where a test is about them
PREFIX=pod

# frames OPTIONS...: the test application in the pod
frames() {
	pod "$FRAMES" -l 1 --file-prefix $PREFIX --log-level=notice "${EAL[@]}" -- "$@"
}

# testpmd_do COMMANDS [TESTPMD-OPTIONS...]: the stock program in the pod, interactively
testpmd_do() {
	local cmds=$1
	shift
	printf '%s\nquit\n' "$cmds" | pod dpdk-testpmd --lcores '0@1,1@1' --file-prefix $PREFIX \
		"${EAL[@]}" -- -i --total-num-mbufs=8192 --disable-link-check "$@"
}

# json KEY [FILE]: the last value of a key in the application's lines
json() {
	sed -n "s/.*\"$1\":\"\{0,1\}\([^,\"}]*\).*/\1/p" "${2:-$T/pod.log}" | tail -n 1
}
