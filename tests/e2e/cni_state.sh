#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cni_state.sh - what the CNI plugin leaves on the node: nothing, whatever happens.
# shellcheck source=tests/e2e/lib-cni.sh
. "$(dirname "$0")/lib-cni.sh"
KILLAT=$B/tests/e2e/killat
[ -x "$KILLAT" ] || skip_all "$KILLAT is not built"

netns a
netns b
ALL=$(conf)
MEM=$(conf '.memory = {size: "4Mi"}')
IPAM=$(conf '.ipam = {type: "fake-ipam"} | .memory = {backing: "tmpfs", size: "1Mi"}')
LINK=$(jq -c '.netdev = true' <<<"$IPAM")
jq '.gcGraceMs = 0' "$T/node.json" >"$T/n" && mv "$T/n" "$T/node.json"

record() {	# its path
	find "$T/st" -name '*.json'
}

rewrite() {	# JQ-PROGRAM: the record
	local r
	r=$(record)
	jq -c "$1" "$r" >"$r.x" && cat "$r.x" >"$r" && rm "$r.x"
}

gc() {	# VALID-LIST-JSON [JQ-PROGRAM]
	cni GC "$(conf ".\"cni.dev/valid-attachments\" = $1 | ${2:-.}")" \
		CNI_CONTAINERID= CNI_NETNS= CNI_IFNAME=
}

# ---- DEL ----------------------------------------------------------------------------------------

del_frees_all() {
	succeeds ADD "$IPAM" && [ -n "$(node_state)" ] && succeeds DEL "$IPAM" && clean &&
		succeeds DEL "$IPAM" && succeeds DEL "$IPAM" && same stdout "$OUT" "" && clean
}

del_of_nothing() {
	ID=never succeeds DEL "$ALL" && ID=never succeeds DEL "$(conf \
		'.backend = "socket" | .socket = {path: "/nowhere/x"}')" && clean
}

del_without_netns() {	# unset, empty, gone, another file
	local ns
	touch "$T/file"
	for ns in "" "$T/gone" "$T/file" relative; do
		succeeds ADD "$MEM" && succeeds DEL "$MEM" CNI_NETNS="$ns" && clean || return
	done
}

del_with_bad_prev() {
	local prev
	for prev in '{}' '{interfaces: 5}' '{ips: [{interface: 77}]}' 'null'; do
		succeeds ADD "$ALL" && succeeds DEL "$(conf ".prevResult = $prev")" && clean ||
			return
	done
}

del_by_bad_record() {
	succeeds ADD "$MEM" && rm "$(record)" && succeeds DEL "$MEM" && clean || return
	succeeds ADD "$MEM" && : >"$(record)" && succeeds DEL "$MEM" && clean || return
	succeeds ADD "$MEM" && echo '{"version":1,"conf' >"$(record)" && succeeds DEL "$MEM" &&
		clean ||
		return
	succeeds ADD "$MEM" && chown 1000 "$(record)" && succeeds DEL "$MEM" && clean
}

del_goes_on() {	# an address plugin that fails does not keep the rest
	succeeds ADD "$IPAM" || return
	echo '{"cniVersion":"1.1.0","code":99,"msg":"broken"}' >"$T/ipam.fail.DEL"
	fails 99 'broken' DEL "$IPAM" && same ports "$(ports)" 0 &&
		! grep "$T/st" /proc/self/mountinfo &&
		[ -n "$(record)" ] || return
	rm "$T/ipam.fail.DEL"
	succeeds DEL "$IPAM" && clean
}

# The address plugin outlives the ADD that started it, and gives its address late.
del_comes_after_a_killed_add() {
	local conf pid
	cat >"$T/bin/late-ipam" <<-END
		#!/bin/sh
		cat >/dev/null
		[ "\$CNI_COMMAND" != DEL ] || exec rm -f "$T/late.address"
		touch "$T/late.began"
		sleep 1
		touch "$T/late.address"
	END
	chmod 755 "$T/bin/late-ipam"
	conf=$(conf '.ipam = {type: "late-ipam"}')
	printf '%s' "$conf" >"$T/in.late"
	env CNI_COMMAND=ADD CNI_CONTAINERID=c1 CNI_NETNS="$T/ns.a" CNI_IFNAME=net1 \
		CNI_PATH="$T/bin" "$CNI" <"$T/in.late" >/dev/null 2>&1 &
	pid=$!
	until [ -e "$T/late.began" ]; do sleep 0.01; done
	kill -KILL $pid
	wait $pid 2>/dev/null
	succeeds DEL "$conf" && sleep 1.2 && [ ! -e "$T/late.address" ] && clean
}

del_without_switch() {
	succeeds ADD "$MEM" || return
	switch_down KILL
	succeeds DEL "$MEM" && [ -z "$(ls -A "$T/st")" ]
	local rc=$?
	switch_up
	return $rc
}

del_with_a_wrong_configuration() {	# by its name
	succeeds ADD "$ALL" && succeeds DEL "$(conf '.vlan = "x"')" && clean
}

only_ours_is_removed() {
	succeeds ADD "$MEM" || return
	local dir
	dir=$(dirname "$(find "$T/st" -name vhost.sock)")
	echo canary >"$T/canary"
	ln -sf "$T/canary" "$dir/vhost.sock" 2>/dev/null
	touch "$dir/theirs"
	fails 100 'not empty' DEL "$MEM" && [ -e "$dir/theirs" ] && rm "$dir/theirs" &&
		succeeds DEL "$MEM" && clean && same canary "$(cat "$T/canary")" canary
}

add_and_del_race() {
	local i pids
	for ((i = 0; i < 40; i++)); do
		pids=()
		printf '%s' "$ALL" >"$T/in.race"
		for c in ADD DEL; do
			env CNI_COMMAND=$c CNI_CONTAINERID=race CNI_NETNS="$T/ns.a" \
				CNI_IFNAME=net1 CNI_PATH="$T/bin" "$CNI" <"$T/in.race" \
				>/dev/null 2>&1 &
			pids+=($!)
		done
		wait "${pids[@]}"
		ID=race succeeds DEL "$ALL" || return
	done
	clean
}

another_boot() {	# the record of one that a reboot has ended
	succeeds ADD "$MEM" && rewrite '.boot = "another"' || return
	gc '[]' && [ "$RC" = 0 ] && clean && succeeds ADD "$MEM" && rewrite '.boot = "another"' &&
		succeeds DEL "$MEM" CNI_NETNS= && clean
}

newer_record() {
	succeeds ADD "$ALL" && rewrite '.version = 2' && fails 100 'newer' DEL "$ALL" &&
		[ -n "$(record)" ] && rewrite '.version = 1' && succeeds DEL "$ALL" && clean
}

switch_up || { echo "not ok the switch starts"; exit 1; }
try "D-DL-01, D-DL-02 DEL frees all, as often as it is called" del_frees_all
try "D-DL-03 DEL of what never was succeeds" del_of_nothing
try "D-DL-04, D-CO-08 DEL needs no network namespace" del_without_netns
try "D-DL-05 DEL does not mind its prevResult" del_with_bad_prev
try "D-DL-06 DEL without a whole record cleans by what is asked" del_by_bad_record
try "D-DL-07 all steps are tried, errors are returned, the record stays" del_goes_on
try "D-CO-02 DEL waits for the address plugin of a killed ADD" \
	del_comes_after_a_killed_add
try "D-DL-08 DEL without a switch succeeds" del_without_switch
try "D-DL-05 DEL goes by the record, whatever the configuration says today" \
	del_with_a_wrong_configuration
try "D-DL-12, D-PA-15 only what we made is removed" only_ours_is_removed
try "D-DL-10, D-CO-02 ADD and DEL at once end clean" add_and_del_race
try "D-DL-11, D-CO-05 what a reboot left is cleaned" another_boot
try "D-CO-06 a newer program's record is refused and kept" newer_record

# ---- CHECK --------------------------------------------------------------------------------------

check_conf() {	# [JQ-PROGRAM on the configuration]: with the result of ADD
	jq -nc --argjson c "$IPAM" --argjson r "$RESULT" "\$c + {prevResult: \$r} | ${1:-.}"
}

check_is_quiet() {
	local before
	succeeds ADD "$IPAM" || return
	RESULT=$OUT
	before=$(node_state)
	: >"$T/ipam.calls.before"
	succeeds CHECK "$(check_conf)" && same stdout "$OUT" "" &&
		same node "$(node_state)" "$before" &&
		grep -q '^CHECK c1 net1' "$T/ipam.calls"
}

check_sees() {
	succeeds ADD "$IPAM" || return
	RESULT=$OUT
	fails 7 'prevResult' CHECK "$IPAM" &&
		fails 1 'CHECK' CHECK "$(check_conf '.cniVersion = "0.3.1"')" &&
		fails 103 'another address' CHECK \
			"$(check_conf '.prevResult.interfaces[0].mac = "52:54:00:00:00:09"')" &&
		fails 7 'no such interface' CHECK "$(check_conf '.prevResult.interfaces = []')" ||
			return
	echo '{"cniVersion":"1.1.0","code":98,"msg":"address lost"}' >"$T/ipam.fail.CHECK"
	fails 98 'address lost' CHECK "$(check_conf)" || return
	rm "$T/ipam.fail.CHECK"
	umount "$(find "$T/st" -type d -name m)" && fails 103 'not mounted' CHECK "$(check_conf)" ||
		return
	succeeds DEL "$IPAM" && succeeds ADD "$IPAM" || return
	RESULT=$OUT
	"$PODPCI" switch -s "$T/ctl" port del "$("$PODPCI" switch -s "$T/ctl" -j port |
		jq -r '.[0].name')" || return
	fails 103 'pod-' CHECK "$(check_conf)" && succeeds DEL "$IPAM" && succeeds ADD "$IPAM" ||
		return
	RESULT=$OUT
	switch_down
	fails 11 '' CHECK "$(check_conf)"
	local rc=$?
	switch_up
	fails 103 'pod-' CHECK "$(check_conf)" || return
	succeeds DEL "$IPAM" && clean && [ $rc = 0 ] && fails 103 '' CHECK "$(check_conf)"
}

a_new_switch_gets_its_ports() {
	succeeds ADD "$IPAM" || return
	RESULT=$OUT
	IF=net2 succeeds ADD "$ALL" || return
	switch_down KILL
	switch_up && same ports "$(ports)" 0 && "$CNI" --restore && same ports "$(ports)" 2 &&
		"$CNI" --restore && succeeds CHECK "$(check_conf)" && succeeds DEL "$IPAM" &&
		IF=net2 succeeds DEL "$ALL" && clean && "$CNI" --restore
}

try "a switch that was killed gets the pods' ports again" a_new_switch_gets_its_ports
try "D-CK-04, D-CK-05, D-CK-07 CHECK after ADD passes, says and changes nothing" check_is_quiet
try "D-CK-01, D-CK-02, D-CK-06 CHECK sees each thing that is broken" check_sees

# ---- GC -----------------------------------------------------------------------------------------

gc_takes_what_is_stale() {
	ID=keep succeeds ADD "$IPAM" && ID=lose succeeds ADD "$IPAM" &&
		ID=other succeeds ADD "$(jq -c '.name = "other"' <<<"$IPAM")" || return
	gc '[{"containerID":"keep","ifname":"net1"}]' '.ipam = {type: "fake-ipam"}'
	[ $RC = 0 ] && same stdout "$OUT" "" && same ports "$(ports)" 2 &&
		grep -q '^DEL lose net1' "$T/ipam.calls" && grep -q '^GC' "$T/ipam.calls" &&
		jq -e '."cni.dev/valid-attachments" | length == 1' "$T/ipam.conf.GC" >/dev/null ||
		{ echo "$OUT $ERR"; return 1; }
	ID=keep succeeds DEL "$IPAM" &&
		ID=other succeeds DEL "$(jq -c '.name = "other"' <<<"$IPAM")" &&
		clean
}

gc_needs_a_list() {
	local list
	succeeds ADD "$ALL" || return
	for list in null '{}' '"x"' '[{"containerID":5}]' '[5]'; do
		gc "$list"
		[ $RC != 0 ] && [ "$(field .code)" = 7 ] && same ports "$(ports)" 1 || return
	done
	cni GC "$ALL"
	[ $RC != 0 ] && same ports "$(ports)" 1 && succeeds DEL "$ALL" && clean
}

gc_goes_on() {
	ID=x1 succeeds ADD "$IPAM" && ID=x2 succeeds ADD "$IPAM" || return
	echo '{"cniVersion":"1.1.0","code":99,"msg":"broken"}' >"$T/ipam.fail.DEL"
	gc '[]'
	[ $RC != 0 ] && same ports "$(ports)" 0 || return
	rm "$T/ipam.fail.DEL"
	gc '[]' && [ $RC = 0 ] && clean
}

gc_leaves_the_fresh() {
	jq '.gcGraceMs = 60000' "$T/node.json" >"$T/young.json"
	succeeds ADD "$ALL" || return
	cni GC "$(conf '."cni.dev/valid-attachments" = []')" PODPCI_NODE="$T/young.json"
	[ $RC = 0 ] && same ports "$(ports)" 1 && succeeds DEL "$ALL" && clean
}

try "D-GC-01, D-GC-02, D-GC-04, D-GC-05, D-GC-07 GC removes what is stale in its network" \
	gc_takes_what_is_stale
try "D-GC-06 without a list nothing is removed" gc_needs_a_list
try "D-GC-03 GC goes on after errors and reports them" gc_goes_on
try "D-GC-08 what was attached while the list was made stays" gc_leaves_the_fresh

# ---- STATUS -------------------------------------------------------------------------------------

status() {
	cni STATUS "$1" CNI_CONTAINERID= CNI_NETNS= CNI_IFNAME=
}

status_says() {
	local before
	before=$(node_state)
	status "$MEM"
	[ $RC = 0 ] && same stdout "$OUT" "" || return
	status "$(conf '.memory = {size: "1Gi", pageSize: "2Mi"}')"
	[ $RC = 0 ] || [ "$(field .code)" = 50 ] || return
	jq '.hugepagesMax = "4Ti"' "$T/node.json" >"$T/big.json"
	cni STATUS "$(conf '.memory = {size: "1Ti"}')" PODPCI_NODE="$T/big.json"
	same code "$(field .code)" 50 && has "$OUT" 'hugepages' || return
	status "$(conf '.ipam = {type: "absent"}')"
	[ $RC != 0 ] && has "$OUT" 'absent' || return
	switch_down
	status "$ALL"
	same code "$(field .code)" 50 || return
	switch_up && succeeds ADD "$ALL" || return
	switch_down
	status "$ALL"
	same code "$(field .code)" 51 || return
	switch_up
	succeeds DEL "$ALL" && same node "$(node_state)" "$before" &&
		fails 1 'STATUS' STATUS "$(conf '.cniVersion = "1.0.0"')"
}

try "D-ST-01..05 STATUS says whether ADD can be served and what is short" status_says

# ---- killed, crowded, full ----------------------------------------------------------------------

left_after() {	# cheap: no files and no ports
	[ -z "$(ls -A "$T/st")" ] && ! grep -q "$T/st" /proc/self/mountinfo &&
		[ -z "$("$PODPCI" switch -s "$T/ctl" port show)" ] &&
		! nsenter --net="$T/ns.a" grep -qvE '[|]|lo:' /proc/self/net/dev && return
	echo "after call $1:"
	nsenter --net="$T/ns.a" ip link
	node_state
	return 1
}

# Dies at each system call of COMMAND; then DEL or GC, in turn, leave nothing.
killed_at_each_call() {	# COMMAND
	local n rc
	for ((n = 1; n < 400; n++)); do
		[ "$1" = ADD ] || succeeds ADD "$LINK" || return
		printf '%s' "$LINK" >"$T/in"
		env CNI_COMMAND="$1" CNI_CONTAINERID=c1 CNI_NETNS="$T/ns.a" CNI_IFNAME=net1 \
			CNI_PATH="$T/bin" "$KILLAT" $n "$CNI" <"$T/in" >"$T/out" 2>"$T/err"
		rc=$?
		if ((n % 2)); then
			succeeds DEL "$LINK" CNI_NETNS= || return
		else
			gc '[]'
			[ $RC = 0 ] || { echo "$n: $OUT"; return 1; }
		fi
		left_after $n || return
		[ $rc = 137 ] || break
	done
	echo "$n calls"
	[ $n -gt 30 ] && [ $n -lt 400 ] && clean
}

distinct() {	# KEY FILE...: how many values it has
	local key=$1
	shift
	cat "$@" | grep -o "\"$key\":\"[^\"]*\"" | sort -u | wc -l
}

crowd() {	# 100 at once, twice
	local i
	printf '%s' "$ALL" >"$T/in.crowd"
	seq 100 | xargs -P 100 -I{} env CNI_COMMAND=ADD CNI_CONTAINERID=crowd{} \
		CNI_NETNS="$T/ns.a" CNI_IFNAME=net1 CNI_PATH="$T/bin" \
		sh -c "$CNI <$T/in.crowd >$T/out.{}" || return
	same ports "$(ports)" 100 &&
		same addresses "$(distinct mac "$T"/out.*)" 100 || return
	seq 100 | xargs -P 100 -I{} env CNI_COMMAND=DEL CNI_CONTAINERID=crowd{} CNI_NETNS= \
		CNI_IFNAME=net1 CNI_PATH="$T/bin" sh -c "$CNI <$T/in.crowd" || return
	clean
}

crowd_of_one() {	# one container's interfaces, at once
	printf '%s' "$ALL" >"$T/in.crowd"
	seq 12 | xargs -P 12 -I{} env CNI_COMMAND=ADD CNI_CONTAINERID=one \
		CNI_NETNS="$T/ns.a" CNI_IFNAME=net{} CNI_PATH="$T/bin" \
		sh -c "$CNI <$T/in.crowd >$T/out.{}" || return
	same buses "$(distinct pciID "$T"/out.{1..12})" 12 || return
	for i in {1..12}; do
		ID=one IF=net$i succeeds DEL "$ALL" || return
	done
	clean
}

limits() {
	jq '.attachmentsMax = 2' "$T/node.json" >"$T/two.json"
	IF=a succeeds ADD "$ALL" && IF=b succeeds ADD "$ALL" || return
	IF=c fails 7 'attachmentsMax' ADD "$ALL" PODPCI_NODE="$T/two.json" || return
	IF=a succeeds DEL "$ALL" && IF=b succeeds DEL "$ALL" && clean
}

lock_of_the_dead() {
	mkdir -p -m 700 "$T/st"
	succeeds ADD "$ALL" || return
	(exec 9<"$(dirname "$(record)")" && flock -x 9 && kill -9 "$BASHPID")
	succeeds DEL "$ALL" && clean
}

no_space() {	# the state directory is full
	mkdir -p "$T/full" && mount -t tmpfs -o size=4k,nr_inodes=8,mode=700 none "$T/full" ||
		return
	jq --arg d "$T/full" '.stateDir = $d' "$T/node.json" >"$T/full.json"
	head -c 65536 /dev/zero >"$T/full/zero" 2>/dev/null
	fails 5 'No space' ADD "$MEM" PODPCI_NODE="$T/full.json" && same ports "$(ports)" 0 &&
		same files "$(ls "$T/full")" zero
	local rc=$?
	umount "$T/full"
	return $rc
}

try "D-PR-19, D-CO-04, D-AD-08 killed at each system call of ADD, nothing is left" \
	killed_at_each_call ADD
try "D-PR-19, D-CO-04 killed at each system call of DEL, nothing is left" \
	killed_at_each_call DEL
try "D-CO-01 a hundred at once, without a leak or a clash" crowd
try "D-CO-02 twelve devices of one container at once" crowd_of_one
try "D-SE-10 a container has at most what the node allows" limits
try "D-CO-03 a lock goes with its holder" lock_of_the_dead
try "D-CO-04 a full state directory is an error, and nothing else happens" no_space

# ---- what root trusts ---------------------------------------------------------------------------

state_is_roots() {
	local mode
	rm -rf "$T/st"
	for mode in 777 770 711; do
		mkdir -m "$mode" "$T/st"
		fails 7 'chmod 700' ADD "$ALL" || return
		rmdir "$T/st"
	done
	mkdir -m 700 "$T/st" && chown 1000 "$T/st"
	fails 7 'chown' ADD "$ALL" || return
	rmdir "$T/st" && ln -s /etc "$T/st"
	fails 100 '' ADD "$ALL" || fails 7 '' ADD "$ALL" || return
	rm "$T/st"
	succeeds ADD "$ALL" && same mode "$(stat -c %a "$T/st")" 700 &&
		same "record's mode" "$(stat -c %a "$(record)")" 600 && succeeds DEL "$ALL" && clean
}

node_file_is_roots() {
	cp "$T/node.json" "$T/loose.json" && chmod 666 "$T/loose.json"
	fails 7 'chmod go-w' ADD "$ALL" PODPCI_NODE="$T/loose.json"
}

sockets_where_allowed() {
	local path
	for path in /etc/passwd /run/docker.sock "$T/run/../ctl" "$T/runx/s" "$T/run/{pod}/../s"; do
		fails 7 'socket' ADD "$(conf ".backend = \"socket\" | .socket.path = \"$path\"")" ||
			return
	done
	for path in '{pod}' '{deviceID}' '{nonsense}'; do
		fails 7 'socket.path' ADD "$(conf ".backend = \"socket\" |
			.socket.path = \"$T/run/$path\"")" CNI_ARGS='K8S_POD_NAME=../../x' || return
	done
	fails 7 'switch.control' ADD "$(conf '.switch.control = "/run/docker.sock"')" &&
		fails 7 'ovs.db' ADD "$(conf '.backend = "ovs" |
			.ovs = {bridge: "b", db: "/etc/x"}')" &&
		fails 7 'ovs.bridge' ADD "$(conf '.backend = "ovs" | .ovs.bridge = "--db=x"')"
}

long_paths() {	# of a socket: 107 bytes and no more, never cut
	local n dir rc=0
	for n in 107 108 119 4000; do
		dir=$T/run/$(printf 'd%.0s' $(seq 1 $((n - ${#T} - 5))))
		cni ADD "$(conf ".backend = \"socket\" | .socket.path = \"$dir\"")"
		case $n in
		107)	[ "$(field .code)" = 100 ] ;;	# it may be, and is not there
		*)	[ "$(field .code)" = 7 ] ;;
		esac || { echo "$n: $OUT"; return 1; }
	done
}

others_sockets() {
	python3 -c 'import socket, sys
for p in sys.argv[1:]: socket.socket(socket.AF_UNIX).bind(p)' "$T/run/vpp.sock"
	local conf
	conf=$(conf ".backend = \"socket\" | .socket.path = \"$T/run/vpp.sock\"")
	succeeds ADD "$conf" && succeeds CHECK "$(jq -nc --argjson c "$conf" --argjson r "$OUT" \
		'$c + {prevResult: $r}')" && succeeds DEL "$conf" && [ -S "$T/run/vpp.sock" ] &&
			clean || return
	touch "$T/run/file" && ln -s vpp.sock "$T/run/link"
	for p in file link absent; do
		fails 100 "$p" ADD "$(conf ".backend = \"socket\" |
			.socket.path = \"$T/run/$p\"")" || return
	done
}

annotations_choose_nothing() {
	succeeds ADD "$(conf '.capabilities = {"io.kubernetes.cri.pod-annotations": true} |
		.runtimeConfig = {"io.kubernetes.cri.pod-annotations": {
		"podpci.dev/socket": "/etc/x", "podpci.dev/mac": "52:54:00:00:00:01",
		"backend": "socket"}}')" &&
		[ "$(field '.interfaces[0].mac')" != 52:54:00:00:00:01 ] && succeeds DEL "$ALL" &&
			clean
}

private_sockets() {	# reached by nobody but root and the pod; none is abstract
	local s
	succeeds ADD "$ALL" || return
	s=$(find "$T/st" -name vhost.sock)
	same mode "$(stat -c %a "$s")" 660 && ! setpriv --reuid 1000 --clear-groups stat "$s" &&
		! grep -q '@.*podpci' /proc/net/unix
	local rc=$?
	succeeds DEL "$ALL" && return $rc
}

try "D-PA-17, D-SE-11 the state directory is root's alone or refused" state_is_roots
try "the node's settings are refused if others can write them" node_file_is_roots
try "D-PA-09, D-PA-10, D-SE-03 sockets are where the administrator allows, never elsewhere" \
	sockets_where_allowed
try "D-PA-11 a socket's path is whole or refused" long_paths
try "D-PA-04..06 somebody else's socket is a socket and stays theirs" others_sockets
try "D-SE-01, D-SE-02 annotations of a pod choose nothing" annotations_choose_nothing
try "D-PA-13, D-PA-14 sockets are reached by root and the pod" private_sockets
switch_down
finish
