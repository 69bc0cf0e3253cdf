# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# demo-dpdk.sh - the form of demo.sh with a back-end nobody here wrote; sourced by it.
MAC=52:54:00:70:64:01
mkdir -m 755 "$W/sock" || die "no /tmp"

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

echo_rates() {	# SECONDS
	rates pod "$1" "pod to host" "host to pod"
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

step "Host: a stock vhost back-end, dpdk-testpmd with net_vhost, echoing each packet"
backend
note "socket $W/sock/pod"

step "Host: the simulated bus as plain files, for the container to mount"
"$B/bin/podpci" sysfs --net "socket=$W/sock/pod,mac=$MAC" "$W/tree" >"$W/plan" ||
	die "podpci sysfs failed"
quote <"$W/plan"

step "Container: runc, uid 1000, no capabilities, default seccomp, no /dev/vfio"
container pod "$W/plan" "$W/sock" "$guest" --forward-mode=flowgen
note "dpdk-testpmd runs in it without any EAL memory flag. What the container sees:"
look_around pod
port_is_ours pod $MAC

step "Packets: the container sends as fast as it can, the host sends each one back"
say pod start
echo_rates "$each"
flowed "no packets"
note "$SENT packets out and $GOT in, of which podpci touched none"

step "The back-end is killed (kill -9) and started again; the application is not told"
{ kill -KILL "${PID[be]}"; wait "${PID[be]}"; } 2>/dev/null
sleep 0.3
ask pod 'show port info 0' 'Link status' | quote
echo_rates 1
backend
await pod . 1
link_up pod
ask pod 'show port info 0' 'Link status' | quote
echo_rates "$each"
flowed "traffic did not resume"
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
