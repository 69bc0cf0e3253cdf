#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# cni.sh - what attaching costs: podpci-cni beside the reference plugin `bridge', both without IPAM,
# in turns; and what the hook adds to a container's start, by itself and as the difference it makes
# to a start by runc and by crun.
#
# Prints a line per figure: NAME VALUE TARGET ok|MISSED. Fails if one is missed.
# shellcheck source=tests/e2e/lib-cni.sh
. "$(dirname "$0")/../e2e/lib-cni.sh"
BRIDGE=${BRIDGE:-/usr/lib/cni/bridge}
[ -x "$BRIDGE" ] || skip_all "$BRIDGE is not installed (containernetworking-plugins)"
ROUNDS=${ROUNDS:-30}

SPAWN=$B/tests/bench/cni_spawn
[ -x "$SPAWN" ] || skip_all "$SPAWN is not built"

median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# timed FILE STDIN PROGRAM...: its microseconds and kB, as a line in FILE
timed() {
	local to=$1
	shift
	"$SPAWN" "$@" >>"$to" 2>"$T/err" || { cat "$T/err"; return 1; }
}

call() {	# FILE PLUGIN COMMAND CONTAINER IFNAME CONF
	CNI_COMMAND=$3 CNI_CONTAINERID=$4 CNI_NETNS=$T/ns.a CNI_IFNAME=$5 CNI_PATH=$T/bin \
		timed "$1" "$6" "$2"
}

# verdict NAME VALUE MAX
verdict() {
	if awk -v v="$2" -v m="$3" 'BEGIN { exit !(v <= m) }'; then
		echo "$1 $2 (at most $3) ok"
	else
		echo "$1 $2 (at most $3) MISSED"
		FAILED=1
	fi
}

ratio() {
	awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", a / b }'
}

netns a
switch_up || exit 1
conf >"$T/ours.json"
echo '{"cniVersion":"1.0.0","name":"br","type":"bridge","bridge":"cb0"}' >"$T/theirs.json"
for ((i = -3; i < ROUNDS; i++)); do
	[ $i != 0 ] || rm -f "$T"/t.*
	id=b$((i + 9))
	call "$T/t.add" "$CNI" ADD $id net1 "$T/ours.json" || exit 1
	call "$T/t.bridge-add" "$BRIDGE" ADD $id eth1 "$T/theirs.json" || exit 1
	call "$T/t.del" "$CNI" DEL $id net1 "$T/ours.json" || exit 1
	call "$T/t.bridge-del" "$BRIDGE" DEL $id eth1 "$T/theirs.json" || exit 1
	timed "$T/t.nothing" /dev/null /bin/true
done
add=$(median <"$T/t.add") del=$(median <"$T/t.del") nothing=$(median <"$T/t.nothing")
badd=$(median <"$T/t.bridge-add") bdel=$(median <"$T/t.bridge-del")
echo "microseconds, medians of $ROUNDS: ADD $add, bridge's $badd; DEL $del, bridge's $bdel;" \
	"/bin/true $nothing"
verdict add_ratio "$(ratio "$add" "$badd")" 0.5
verdict del_ratio "$(ratio "$del" "$bdel")" 0.2

# The hundredth attachment of a node costs what the first did, in units of what it costs to start
# a program just before and after it: the machine may not stay as fast as it was.
timed "$T/t.unit" /dev/null /bin/true
for ((i = 0; i < 100; i++)); do
	call "$T/t.many" "$CNI" ADD "many$i" net1 "$T/ours.json" &&
		timed "$T/t.unit" /dev/null /bin/true || exit 1
done
relative() {	# FROM TO
	paste "$T/t.many" "$T/t.unit" <(tail -n +2 "$T/t.unit") |
		awk -v from="$1" -v to="$2" 'NR > from && NR <= to { print $1 / ($3 + $5) }' |
		median
}
verdict add_100_ratio "$(ratio "$(relative 80 100)" "$(relative 0 20)")" 1.2
for ((i = 0; i < 100; i++)); do
	call "$T/t.many" "$CNI" DEL "many$i" net1 "$T/ours.json" || exit 1
done

rss=$(awk '{ print $2 }' "$T/t.add" "$T/t.del" | sort -n | tail -n 1)
verdict rss_kb "$rss" 4096

call "$T/t.x" "$CNI" ADD box net1 "$T/ours.json" || exit 1

# The hook by itself, on a container that is a process with mounts of its own.
mkdir -p "$T/bundle/rootfs"/{etc,sys,dev,proc}
echo '{"root": {"path": "rootfs"}, "process": {"user": {"uid": 1000}}}' >"$T/bundle/config.json"
for ((i = 0; i < ROUNDS; i++)); do
	rm -f "$T/bundle/rootfs/up"
	unshare -m --propagation private sh -c 'mount -t sysfs none "$1/sys" &&
		mount -t tmpfs none "$1/dev" && echo up >"$1/up" && exec sleep 60' _ \
		"$T/bundle/rootfs" &
	box=$!
	until [ -e "$T/bundle/rootfs/up" ]; do sleep 0.002; done
	echo "{\"ociVersion\":\"1.0.2\",\"id\":\"box\",\"status\":\"created\",\"pid\":$box,
		\"bundle\":\"$T/bundle\"}" >"$T/state"
	timed "$T/t.hook" "$T/state" "$HOOK" --node "$PODPCI_NODE" || exit 1
	kill -9 $box
	wait $box 2>/dev/null
done
verdict hook_us "$(median <"$T/t.hook")" 15000

# A start by a runtime, with the hook and without, in turns that change places.
umount -l /sys/fs/cgroup/unified 2>/dev/null	# crun takes no mixed hierarchy
for kind in plain hooked; do
	"$ROOT/deploy/bundle.sh" "$T/$kind" -- sleep 60 </dev/null &&
		jq 'del(.mounts[] | select(.type == "hugetlbfs"))' "$T/$kind/config.json" \
			>"$T/$kind.json" || exit 1
done
jq --arg h "$HOOK" --arg n "$PODPCI_NODE" '.annotations = {"io.kubernetes.cri.sandbox-id": "box"} |
	.hooks.createRuntime = [{path: $h, args: ["podpci-hook", "--node", $n]}]' \
	"$T/hooked.json" >"$T/hooked/config.json"
cp "$T/plain.json" "$T/plain/config.json"

start() {	# RUNTIME KIND
	timed "$T/t.$1.$2" /dev/null "$(command -v "$1")" --root "$T/rt" run -d -b "$T/$2" \
		"$2" || exit 1
	[ "$2" = plain ] || grep -q ' /sys/bus/pci ' \
		"/proc/$("$1" --root "$T/rt" state "$2" | jq .pid)/mountinfo" || exit 1
	"$1" --root "$T/rt" delete -f "$2" || exit 1
}

# What a start took longer than the one beside it; "level" as in the other reports.
cat >"$T/starts.awk" <<'EOF'
{ add("hooked", $1); add("plain", $3); add("us", $1 - $3) }
END {
	sort_all()
	printf "microseconds, medians of %d starts by %s: %.0f without the hook, %.0f with it\n",
		NR, runtime, mid("plain"), mid("hooked")
	said = judge("us", "us <= 15000")
	printf "%s_hook_us %.0f (at most 15000; middle 80 %%: %.0f to %.0f) %s\n", runtime,
		mid("us"), quantile("us", 0.1), quantile("us", 0.9), said == "met" ? "ok" : said
	exit said == "MISSED"
}
EOF
for runtime in runc crun; do
	command -v $runtime >/dev/null || { echo "skip $runtime is not installed"; continue; }
	for ((i = -2; i < ROUNDS; i++)); do
		[ $i != 0 ] || rm -f "$T/t.$runtime".*
		turn=(plain hooked)
		[ $((i & 1)) = 0 ] || turn=(hooked plain)
		for kind in "${turn[@]}"; do
			start $runtime $kind
		done
	done
	paste "$T/t.$runtime.hooked" "$T/t.$runtime.plain" | awk -v runtime=$runtime \
		-f "$ROOT/tests/bench/stats.awk" -f "$T/starts.awk" || FAILED=1
done
call "$T/t.x" "$CNI" DEL box net1 "$T/ours.json"
switch_down
exit $FAILED
