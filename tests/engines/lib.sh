# SPDX-License-Identifier: Apache-2.0
# lib.sh - what the tests with real container engines share; source it first.
#
# As in tests/e2e, a script has its own mount, process and, here, network namespaces. On top of
# that /run is empty, /etc and /var/lib are overlays and engines keep their files below $T: what
# an engine starts, mounts or writes is gone when the script ends, and a machine's own engines
# are neither seen nor touched. Programs are taken by path: another client may be on PATH.

E2E_UNSHARE=--net
E2E_AFTER=remove_cgroups
CGROUP=podpci-engines

# Control groups outlive namespaces.
remove_cgroups() {
	find /sys/fs/cgroup/*/$CGROUP* -depth -type d -exec rmdir {} + 2>/dev/null
}

# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/../e2e/lib.sh"

HERE=$ROOT/tests/engines
BIN=${ENGINES_BIN:-$B/bin}
IMAGE=podpci.test/base:1
export PATH=/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin
unset XDG_RUNTIME_DIR DOCKER_HOST CONTAINER_HOST LD_PRELOAD

need() {	# FILE-OR-PROGRAM...
	local p
	for p; do
		command -v "$p" >/dev/null || [ -e "$p" ] ||
			skip_all "$p is missing; run deploy/setup.sh --engines"
	done
}

private_places() {
	local dir over
	mount -t tmpfs -o mode=755 none /run && mkdir -p /run/dpdk /run/lock || return
	for dir in /etc /var/lib; do
		over=$T/over$dir
		mkdir -p "$over/up" "$over/work" || return
		mount -t overlay -o "lowerdir=$dir,upperdir=$over/up,workdir=$over/work" none \
			$dir || return
	done
	rm -rf /etc/cni /etc/cdi /var/lib/cni
	# runtimes of this age refuse a machine with both kinds of control groups
	! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
	ip link set lo up
}

private_places || skip_all "cannot make private places"
chmod 755 "$T"

# ---- what containers are made of ---------------------------------------------------------------

# skeleton DIR: a root file system to be completed with the host's /usr
skeleton() {
	local d
	mkdir -p "$1"/{usr,etc,proc,sys,dev,tmp,run,var,opt} && chmod 1777 "$1/tmp" || return
	for d in bin sbin lib lib64; do
		[ -L "$1/$d" ] || ln -s usr/$d "$1/$d"
	done
	echo 'pod:x:1000:1000::/tmp:/bin/sh' >"$1/etc/passwd"
	echo 'pod:x:1000:' >"$1/etc/group"
	install -m 755 "$(command -v busybox)" "$1/busybox"
}

# image FILE: the skeleton as an archive every engine loads. Its programs come with -v /usr:/usr;
# a sandbox needs none but its own.
image() {
	skeleton "$T/image.root" && python3 "$HERE/image.py" "$T/image.root" "$1" "$IMAGE"
}

# ---- the node's switch ---------------------------------------------------------------------------

switch_up() {	# OPTIONS...
	mkdir -p /run/podpci
	start switch "$BIN/podpci-switch" --cpus 0 "$@"
	until_true 5 "$PODPCI" switch show
}

# Networks known by name: for CDI and for the runtime wrapper.
networks() {
	mkdir -p /etc/podpci/net.d && chmod 755 /etc/podpci /etc/podpci/net.d
	cat >/etc/podpci/net.d/net0.json <<-END
	{ "cniVersion": "1.0.0", "type": "podpci-cni", "spoofcheck": false,
	  "memory": { "size": "256Mi" } }
	END
}

# ---- verdicts about the host --------------------------------------------------------------------

# All that an attachment may leave behind, one a line.
leftovers() {
	find /run/podpci -mindepth 2 ! -name '*.lock' 2>/dev/null
	grep -E '/run/podpci' /proc/self/mounts | cut -d' ' -f2
	"$PODPCI" switch -j port show 2>/dev/null | jq -r '.[] | select(.kind == "vhost") | .name'
	find /var/lib/cni -type f ! -name lock ! -name 'last_reserved*' 2>/dev/null
	ip -o netns 2>/dev/null
	ls /etc/cdi/podpci* /var/run/cdi/podpci* 2>/dev/null
}

nothing_left() {
	leftovers >"$T/leftovers"
	[ ! -s "$T/leftovers" ] || { echo "left behind:"; cat "$T/leftovers"; return 1; }
}

free_pages() {
	local pool=/sys/kernel/mm/hugepages/hugepages-2048kB
	echo $(($(cat $pool/free_hugepages) - $(cat $pool/resv_hugepages)))
}

# same WHAT GOT WANT
same() {
	[ "$2" = "$3" ] && return
	printf '%s is:\n%s\nand should be:\n%s\n' "$1" "$2" "$3"
	return 1
}

# ---- the pods' application: testpmd as the distribution ships it ---------------------------------

# These are the addresses testpmd's flowgen writes into its frames, whatever the port's are.
MAC_A=00:01:02:03:04:00
MAC_B=00:01:02:03:04:01

# app ROLE CORE: its words, one a line. "sender" makes frames and counts what comes back,
# "echo" sends each frame back to where it came from.
app() {
	local mode=flowgen
	[ "$1" = sender ] || mode=macswap
	printf '%s\n' stdbuf -oL dpdk-testpmd --lcores "0@$2,1@$2" --file-prefix "$1" -- \
		--total-num-mbufs=8192 --mbcache=128 --no-flush-rx --disable-link-check \
		--port-topology=loop --forward-mode=$mode -a --stats-period 1
}

# app_up NAME HOW...: the application in a container, which the script's run OPTIONS... IMAGE
# COMMAND... starts and has logged to $T/NAME.log
app_up() {
	local words name=$1
	shift
	mapfile -t words < <(app "$name" 1)
	run --name "$name" "$@" "$IMAGE" "${words[@]}" || return
	until_true 20 grep -q "Port statistics" "$T/$name.log" || { tail "$T/$name.log"; return 1; }
}

# inside NAME PATTERN COMMAND...: what it says, run by exec_in NAME COMMAND... of the script
inside() {
	local name=$1 pattern=$2
	shift 2
	exec_in "$name" "$@" >"$T/exec.log" 2>&1
	grep -aE "$pattern" "$T/exec.log" && return
	cat "$T/exec.log"
	return 1
}

is_ordinary() {	# NAME: what holds in every pod
	check "$1 is uid 1000" inside "$1" '^1000$' id -u
	check "D-SE-15 $1 has no capabilities" inside "$1" 'CapBnd:.*0000000000000000$' \
		cat /proc/self/status
	check "... and sees one device" inside "$1" '^00:04.0 .*1af4:1041' lspci -n
}

# received LOG: packets the port has got so far
received() {
	sed -n 's/.*RX-packets: *\([0-9]*\).*/\1/p' "$1" 2>/dev/null | tail -n 1
}

received_past() {	# LOG MORE-THAN
	[ "$(received "$1")" -gt "$2" ]
}

# exchange SENDER-LOG ECHO-LOG: frames get there and come back, from now on
exchange() {
	local a b
	a=$(received "$1") b=$(received "$2")
	until_true 20 received_past "$2" $((${b:-0} + 1000)) &&
		until_true 20 received_past "$1" $((${a:-0} + 1000)) && return
	tail -n 12 "$1" "$2"
	return 1
}
