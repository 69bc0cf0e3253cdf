# SPDX-License-Identifier: Apache-2.0
# lib-cni.sh - a node of one's own for tests of the CNI plugin and the hook; source it first.
#
# Runs the script in its own mount, network and process namespaces: what is mounted or started is
# gone at the end. Gives a node's settings ($PODPCI_NODE), its switch (at $T/ctl), a fake IPAM
# plugin that records what it is told, and cni(). Verdicts as in tap.sh.

if [ -z "${CNI_INNER:-}" ]; then
	[ "$(id -u)" = 0 ] || { echo "skip $(basename "$0" .sh) needs root"; exit 77; }
	for tool in jq unshare ip setsid; do
		command -v $tool >/dev/null ||
			{ echo "skip $(basename "$0" .sh) $tool is not installed"; exit 77; }
	done
	trap 'kill -KILL "$inner" 2>/dev/null; exit 143' INT TERM HUP
	CNI_INNER=1 unshare -m -n -p --propagation private --fork --kill-child --mount-proc \
		"$BASH" "$0" "$@" &
	inner=$!
	wait $inner
	exit $?
fi
. "$(dirname "$0")/../check/tap.sh"
for part in podpci podpci-cni podpci-hook podpci-switch; do
	[ -x "$B/bin/$part" ] || skip_all "$B/bin/$part is not built"
done
set -u

CNI=$B/bin/podpci-cni
HOOK=$B/bin/podpci-hook
mount -t tmpfs -o mode=755 none "$T" || skip_all "cannot mount"
trap 'umount -l "$T" 2>/dev/null; rm -rf "$T"' EXIT
mkdir "$T/net.d" "$T/bin" "$T/run"
cat >"$T/node.json" <<END
{ "stateDir": "$T/st", "networkDir": "$T/net.d", "library": "$B/lib/libpodpci.so",
  "hook": "$HOOK", "switchControl": "$T/ctl", "ovsDb": "$T/run/ovs.sock",
  "socketDirs": [ "$T/run" ], "deadlineMs": 8000, "hugepagesMax": "1Gi" }
END
export PODPCI_NODE=$T/node.json
unset LD_PRELOAD PODPCI_LOG

# An address plugin that says what $T/ipam.json holds, fails if there is $T/ipam.fail.COMMAND,
# and keeps the environment and configuration of each call.
cat >"$T/bin/fake-ipam" <<END
#!/bin/sh
env >"$T/ipam.env.\$CNI_COMMAND"
cat >"$T/ipam.conf.\$CNI_COMMAND"
echo "\$CNI_COMMAND \$CNI_CONTAINERID \$CNI_IFNAME" >>"$T/ipam.calls"
[ ! -e "$T/ipam.fail.\$CNI_COMMAND" ] || { cat "$T/ipam.fail.\$CNI_COMMAND"; exit 1; }
[ "\$CNI_COMMAND" != ADD ] || cat "$T/ipam.json"
END
chmod 755 "$T/bin/fake-ipam"
cat >"$T/ipam.json" <<END
{ "cniVersion": "1.1.0", "ips": [ { "address": "10.9.0.7/24", "gateway": "10.9.0.1" } ],
  "routes": [ { "dst": "0.0.0.0/0", "gw": "10.9.0.1" } ],
  "dns": { "nameservers": [ "10.9.0.1" ] } }
END

SWITCH_PID=
switch_up() {
	"$B/bin/podpci-switch" --socket "$T/ctl" --log warn >>"$T/switch.log" 2>&1 &
	SWITCH_PID=$!
	for ((i = 0; i < 200; i++)); do
		"$PODPCI" switch -s "$T/ctl" switch show >/dev/null 2>&1 && return
		sleep 0.02
	done
	cat "$T/switch.log"
	return 1
}

switch_down() {
	kill -"${1:-TERM}" "$SWITCH_PID" 2>/dev/null
	wait "$SWITCH_PID" 2>/dev/null
	rm -f "$T/ctl"
}

ports() {
	"$PODPCI" switch -s "$T/ctl" -j port show | jq length
}

netns() {	# NAME: a network namespace at $T/ns.NAME
	touch "$T/ns.$1"
	unshare -n mount --bind /proc/self/ns/net "$T/ns.$1"
}

# A configuration: conf [JQ-PROGRAM]
CONF='{"cniVersion":"1.1.0","name":"dpdk","type":"podpci-cni","memory":{"backing":"none"}}'
conf() {
	jq -nc "$CONF | ${1:-.}"
}

# cni COMMAND CONF [VAR=VALUE...]: fills OUT, ERR, RC
ID=c1 IF=net1
cni() {
	local command=$1 conf=$2
	shift 2
	printf '%s' "$conf" >"$T/in"
	env CNI_COMMAND="$command" CNI_CONTAINERID="$ID" CNI_NETNS="$T/ns.a" CNI_IFNAME="$IF" \
		CNI_PATH="$T/bin" "$@" "$CNI" <"$T/in" >"$T/out" 2>"$T/err"
	RC=$?
	OUT=$(cat "$T/out") ERR=$(cat "$T/err")
}

# field JQ: of the last answer
field() {
	jq -r "$1" <<<"$OUT"
}

succeeds() {	# COMMAND CONF [VAR=VALUE...]
	cni "$@"
	[ $RC = 0 ] && return
	echo "status $RC: $OUT $ERR"
	return 1
}

# fails CODE PATTERN COMMAND CONF [VAR=VALUE...]: with that CNI error, one JSON document on stdout
fails() {
	local code=$1 pattern=$2
	shift 2
	cni "$@"
	[ $RC != 0 ] || { echo "it succeeded: $OUT"; return 1; }
	# One document on one line; jq is slow to start.
	[[ $OUT =~ ^\{\"cniVersion\":\"[0-9.]+\",\"code\":([0-9]+),\"msg\":\"(.*)\"\}$ ]] ||
		{ echo "no error document: $OUT"; return 1; }
	same code "${BASH_REMATCH[1]}" "$code" && has "${BASH_REMATCH[2]}" "$pattern"
}

# What is on the node: files, mounts, ports, addresses that were not given back.
node_state() {
	find "$T/st" 2>/dev/null | grep -v "^$T/st$" | sort
	grep "$T/st" /proc/self/mountinfo | cut -d' ' -f5-
	"$PODPCI" switch -s "$T/ctl" -j port show 2>/dev/null | jq -r '.[].name' 2>/dev/null
	[ ! -e "$T/ipam.calls" ] || awk '$1 == "ADD" { n[$2 " " $3]++ } $1 == "DEL" {
		delete n[$2 " " $3] } END { for (k in n) print "address", k }' "$T/ipam.calls"
}

clean() {	# nothing is left
	local left
	left=$(node_state)
	[ -z "$left" ] || { echo "left: $left"; return 1; }
}

# As at the start: one test's failure is not the next one's.
fresh() {
	local p
	kill -0 "$SWITCH_PID" 2>/dev/null || switch_up
	grep -o "$T/st[^ ]*" /proc/self/mountinfo | while read -r p; do umount -l "$p"; done
	rm -rf "$T/st" "$T"/ipam.fail.* "$T/ipam.calls"
	for p in $("$PODPCI" switch -s "$T/ctl" port show | grep -o '^pod-[0-9a-f]*'); do
		"$PODPCI" switch -s "$T/ctl" port del "$p"
	done
}

# try NAME COMMAND...: a check on a fresh node
try() {
	fresh
	check "$@"
}
