#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# doctor.sh - podpci doctor finds what is broken and says how to mend it: one thing is broken at
# a time, and what was well before is asked again after it was mended.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch"
. "$(dirname "$0")/lib.sh"
need jq

POOL=/sys/kernel/mm/hugepages/hugepages-2048kB

# INSIDE=1: the doctor is called inside the pod.
doctor() {
	${INSIDE:+in_pod} "$PODPCI" doctor "$@"
}

# says CHECK VERDICT PATTERN ARGUMENTS...: a finding with that verdict, whose reason or remedy
# has the pattern
says() {
	local check=$1 verdict=$2 pattern=$3
	shift 3
	doctor -j "$@" >"$T/found.json"
	jq -e --arg c "$check" --arg v "$verdict" --arg p "$pattern" '
		map(select(.check == $c and (.verdict | test("^(" + $v + ")$")) and
			(.subject + ": " + .why + " -> " + .fix | test($p)))) | length > 0' \
		"$T/found.json" && return
	jq -r '.[] | "\(.verdict) \(.check) \(.subject): \(.why) -> \(.fix)"' "$T/found.json"
	return 1
}

well() {	# CHECK ARGUMENTS...: it has nothing against it
	local check=$1
	shift
	doctor -j "$@" >"$T/found.json"
	jq -e --arg c "$check" 'map(select(.check == $c)) |
		length > 0 and all(.verdict == "ok")' "$T/found.json" && return
	jq -r '.[] | "\(.verdict) \(.check) \(.subject): \(.why) -> \(.fix)"' "$T/found.json"
	return 1
}

# broken NAME CHECK VERDICT PATTERN BREAK MEND ARGUMENTS...
broken() {
	local name=$1 check=$2 verdict=$3 pattern=$4 mend=$6
	eval "$5" >"$T/break.log" 2>&1
	shift 6
	check "$name" says "$check" "$verdict" "$pattern" "$@"
	eval "$mend" >"$T/mend.log" 2>&1
	check "... and mended, it is well" well "$check" "$@"
}

# A number the kernel shows, for this script only.
pretend() {	# FILE TEXT
	printf '%s\n' "$2" >"$T/pretend"
	mount --bind "$T/pretend" "$1"
}

# ---- the node -----------------------------------------------------------------------------------


switch_starts() {
	rm -f /run/podpci/switch.ctl
	switch_up --port "upl0 kind null" --port "p0 socket $T/p0.sock"
}

install_all() {
	local bin=/etc/podpci-bin hooks=/etc/containers/oci/hooks.d
	mkdir -p $bin /etc/cni/net.d $hooks /etc/cdi
	install -m 755 "$PODPCI" $bin/podpci-hook
	echo '{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"podpci-cni"}]}' \
		>/etc/cni/net.d/10-n.conflist
	jq -n --arg p $bin/podpci-hook '{version:"1.0.0",hook:{path:$p},
		when:{always:true},stages:["createRuntime"]}' >$hooks/podpci.json
	jq -n --arg p "$LIBRARY" '{cdiVersion:"0.5.0",kind:"podpci.dev/net",devices:[{name:"net0",
		containerEdits:{mounts:[{hostPath:$p,containerPath:"/l"}]}}]}' >/etc/cdi/podpci.json
	mount -t tmpfs -o mode=755 none /opt && mkdir -p /opt/cni/bin &&
		install -m 755 "$PODPCI" /opt/cni/bin/podpci-cni
}

status() {	# WANT ARGUMENTS...
	local want=$1
	shift
	doctor "$@" >"$T/out" 2>&1
	same "exit status" $? "$want" || { cat "$T/out"; return 1; }
}

LIBRARY=$B/lib/libpodpci.so
check "a bare node: no switch" says switch fail "does not run.*systemctl start" node
check "... no plugin" says plugin warn "not installed" node
check "... no hook" says hook warn "no engine here is told" node
check "... and the status says that something failed" status 1 node
check "the switch starts" switch_starts
install_all || skip_all "cannot install in private places"
for c in hugepages files library switch plugin hook cdi attached; do
	check "a node that is well: $c" well $c node
done
check "a port without a pod is told, with its socket" says port warn \
	"p0: nobody is connected to $T/p0.sock" node
check "... which is no failure" status 0 node
broken "no hugepages at all" hugepages fail "no hugepages.*nr_hugepages=1024" \
	"pretend $POOL/nr_hugepages 0" "umount $POOL/nr_hugepages" node
broken "all hugepages in use" hugepages fail "the next pod gets none" \
	"pretend $POOL/free_hugepages 0" "umount $POOL/free_hugepages" node
broken "few open files" files warn "nr_open=" \
	"pretend /proc/sys/fs/nr_open 1024" "umount /proc/sys/fs/nr_open" node
broken "no library" library fail "libpodpci.so: No such file" \
	"export PODPCI_LIB=/none/libpodpci.so" "unset PODPCI_LIB" node
broken "the switch was killed" switch fail "a socket nobody serves" "stop switch KILL" \
	switch_starts node
mv "$T/p0.sock" "$T/p0.moved"
check "the socket of a port is gone" says port fail "p0: its socket is gone" node
mv "$T/p0.moved" "$T/p0.sock"
broken "a network without its plugin" plugin fail "networks name it" \
	"mv /opt/cni/bin/podpci-cni $T/" "mv $T/podpci-cni /opt/cni/bin/" node
broken "a plugin anybody can replace" plugin fail "others than root.*chmod go-w" \
	"chmod 777 /opt/cni/bin/podpci-cni" "chmod 755 /opt/cni/bin/podpci-cni" node
broken "a network that is not JSON" plugin warn "10-n.conflist: not JSON" \
	"cp /etc/cni/net.d/10-n.conflist $T/; echo '{' >/etc/cni/net.d/10-n.conflist" \
	"cp $T/10-n.conflist /etc/cni/net.d/" node
broken "a hook that is not there" hook fail "podpci-hook: No such file" \
	"mv /etc/podpci-bin/podpci-hook $T/" "mv $T/podpci-hook /etc/podpci-bin/" node
broken "a hook that cannot be executed" hook fail "cannot be executed" \
	"chmod 644 /etc/podpci-bin/podpci-hook" "chmod 755 /etc/podpci-bin/podpci-hook" node
broken "a CDI device that is stale" cdi fail "not there.*podpci cdi generate" \
	"sed -i s,libpodpci,gone, /etc/cdi/podpci.json" \
	"sed -i s,gone,libpodpci, /etc/cdi/podpci.json" node
broken "attachments from before a reboot" attached warn "1 attachments are from before" \
	"mkdir -p /run/podpci/cni/a && echo '{\"boot\":\"another\"}' >/run/podpci/cni/a/b.json" \
	"rm -r /run/podpci/cni" node

# ---- a pod ---------------------------------------------------------------------------------------

# The doctor looks into it from the host, by the pid of a process that sleeps there.
pod_up() {	# WORDS-OF-NET [SOCKET]
	local NET=("socket=$T/pod/${2:-s},id=net0$1")
	start pod pod setpriv --reuid=1000 --regid=1000 --clear-groups sleep 1000
	until_true 5 in_pod test -e /sys/bus/pci/podpci.conf && chmod 666 "$T/pod/${2:-s}"
}

in_pod() {
	nsenter -t "${PID[pod]}" -m -- "$@"
}

# A control group that allows no hugepages.
no_pages_allowed() {
	local groups=/proc/${PID[pod]}/cgroup one all
	one=$(sed -n 's/^[0-9]*:[^:]*hugetlb[^:]*://p' "$groups")
	all=$(sed -n 's/^0:://p' "$groups")
	mount -t tmpfs none /sys/fs/cgroup
	mkdir -p "/sys/fs/cgroup/hugetlb$one" "/sys/fs/cgroup$all"
	echo 0 >"/sys/fs/cgroup/hugetlb$one/hugetlb.2MB.limit_in_bytes"
	echo 0 >"/sys/fs/cgroup$all/hugetlb.2MB.max"
}

bad_ring() {
	start bad nsenter -t "${PID[pod]}" -m -- env LD_PRELOAD="$T/lib/libpodpci.so" \
		python3 "$HERE/badring.py" 0000:00:04.0
	until_true 10 log_has bad done || { log bad; return 1; }
}

# A pod whose memory is in more files than DPDK's back-ends take.
torn_pod() {
	backend be "iface=$T/pod/be" && chmod 666 "$T/pod/be" || return
	stop pod
	rm -f "$T/driver.log"
	OPT+=(--option coalesce=off)
	pod_up "" be && driver_starts -m 64 && until_true 10 log_has driver "pieces.*coalesc"
}

pod_is() {	# CHECK
	well "$1" -p "${PID[pod]}"
}

# A driver of the other kind: hugepages, and no library.
stranger() {
	start stranger nsenter -t "${PID[pod]}" -m -- env -u LD_PRELOAD dpdk-testpmd \
		--lcores 0@0,1@0 --no-pci --in-memory -m 64 --vdev net_null0 -- \
		--total-num-mbufs=2048 -i
	until_true 10 log_has stranger "testpmd>"
}

driver_starts() {	# EAL-OPTIONS...
	start driver nsenter -t "${PID[pod]}" -m -- env LD_PRELOAD="$T/lib/libpodpci.so" \
		dpdk-testpmd --lcores 0@0,1@0 --file-prefix drv "$@" -- --total-num-mbufs=8192 -i
}

driver() {
	driver_starts && until_true 10 log_has driver "testpmd>"
}

mkdir -p "$T/pod"
port_up() {
	rm -f "$T/pod/s"
	"$PODPCI" switch port add p1 socket "$T/pod/s" && chmod 666 "$T/pod/s"
}

mkdir -p "$T/lib" && cp "$LIBRARY" "$T/lib/" && OPT=(--lib "$T/lib/libpodpci.so")
check "the pod gets a port" port_up
check "a pod starts" pod_up ""
for c in bus library socket memory limits; do
	check "a pod that is well: $c" pod_is $c
done
check "a pod without a driver" says driver warn "no process here looks like" -p "${PID[pod]}"
check "... and without an open device" says device warn "no process has a device open" \
	-p "${PID[pod]}"
P="-p ${PID[pod]}"
# shellcheck disable=SC2086
{
broken "the back-end's socket is gone" socket fail "net0: its back-end's socket.*No such" \
	"mv $T/pod/s $T/pod/x" "mv $T/pod/x $T/pod/s" $P
broken "something else is in its place" socket fail "is not a socket" \
	"mv $T/pod/s $T/pod/x; echo >$T/pod/s" "mv $T/pod/x $T/pod/s" $P
broken "the bus is covered" bus fail "no simulated bus here" \
	"in_pod mount -t tmpfs none /sys/bus/pci" "in_pod umount /sys/bus/pci" $P
broken "a device is covered" bus fail "net0: configured at 0000:00:04.0 and not on the bus" \
	"in_pod mount -t tmpfs none /sys/bus/pci/devices" "in_pod umount /sys/bus/pci/devices" $P
broken "a socket of another user's" socket fail "net0: uid 1000 may not write.*mode 600" \
	"chmod 600 $T/pod/s" "chmod 666 $T/pod/s" $P
broken "the back-end was killed" socket fail "nobody listens.*the back-end died" \
	"stop switch KILL" "switch_starts && port_up" $P
broken "hugepages for another user" memory fail "uid 1000 may not make files.*mode=1777" \
	"chmod 755 $T/huge" "chmod 1777 $T/huge" $P
broken "the library is gone" library fail "libpodpci.so: named to the loader and not there" \
	"mv $T/lib/libpodpci.so $T/lib/x" "mv $T/lib/x $T/lib/libpodpci.so" $P
}
# shellcheck disable=SC2086
broken "its control group allows no hugepages" limits fail "no hugepage.*hugepages-2Mi" \
	no_pages_allowed "umount /sys/fs/cgroup" $P
start few nsenter -t "${PID[pod]}" -m -- prlimit --nofile=100 sleep 1000
until_true 5 grep -q 'open files *100 ' "/proc/${PID[few]}/limits"
check "a process with few open files" says limits warn \
	"nofile: a process may have 100.*ulimit nofile" -p "${PID[few]}"
check "a driver starts" driver
check "... and is known as one" pod_is driver
# shellcheck disable=SC2086
{
check "its device is told, and who drives it" says device ok "net0: driven by .*testpmd.*link up" $P
check "... and what was agreed on" says device ok "net0: agreed: version 1, packed rings" $P
check "its memory is counted against the back-end's limit" well regions $P
check "... in so many regions" says regions ok "net0: [1-9][0-9]* of at most [1-9][0-9]* regions" $P
check "doorbells and interrupts are counted" says kicks ok \
	"net0: [0-9]+ doorbells, [0-9]+ interrupts" $P
check "no packets yet, and why" says packets warn "net0: connected, and no frame.*application" $P
say driver "start tx_first"
check "packets are counted by the switch's port" until_true 5 says packets ok \
	"net0: [1-9][0-9]* frames from the pod" $P
export PODPCI_SWITCH=/none
check "no switch can be asked" says packets warn "net0: no port of a switch here.*back-end" $P
INSIDE=1
check "inside the pod, with no switch in sight" says packets warn \
	"net0: no switch is seen from here.*on the host" pod
check "... the device is told" says device ok "net0: driven by .*testpmd.*link up" pod
check "... its memory" well regions pod
check "... and its kicks" well kicks pod
unset PODPCI_SWITCH INSIDE
stop switch KILL
check "the back-end is killed under it" says device fail \
	"net0: link down: the back-end at $T/pod/s.*start the back-end" $P
switch_starts && port_up
check "... and is back" until_true 10 says device ok "net0: driven by .*link up" $P
check "the node knows the port by its traffic" until_true 5 says port "ok|warn" \
	"p1: (connected, and no frame|[0-9]+ frames)" node
}
stop driver
check "a driver with broken rings starts" bad_ring
# shellcheck disable=SC2086
{
check "its device is broken, and what to do" says device fail \
	"net0: the device wants a reset.*restart the application" $P
check "... its rings are why" says device warn "net0: bad_rings: 1 -> the driver gave rings" $P
check "... and it rang before it ran" says device warn "net0: notifies_dropped: 1" $P
}
stop bad
check "a driver without the library starts" stranger
# shellcheck disable=SC2086
check "... and is told" says driver fail "has not loaded the library.*statically" $P
stop stranger
check "a driver starts whose memory is in many files" torn_pod
check "its memory is more regions than the back-end takes" says regions fail \
	"net0: the driver's memory is in .* regions and the back-end takes 8 -> leave.*coalesce" \
	-p "${PID[pod]}"
check "... and its device says so" says device fail "net0: the device wants a reset" \
	-p "${PID[pod]}"
finish
