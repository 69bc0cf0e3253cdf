#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# many.sh - a hundred pods attached and detached at once: none clashes with another, nothing leaks.
# shellcheck source=tests/engines/lib.sh
PARTS="bin/podpci bin/podpci-switch bin/podpci-cni"
. "$(dirname "$0")/lib.sh"
. "$HERE/lib-oci.sh"
need jq /usr/lib/cni/host-local

PODS=${PODS:-100}
NETWORK=$T/net.json
cat >"$NETWORK" <<-END
	{ "cniVersion": "1.0.0", "name": "fast", "type": "podpci-cni",
	  "memory": { "size": "4Mi" },
	  "ipam": { "type": "host-local", "subnet": "10.9.0.0/16" } }
	END

# at_once VERB: for all pods; fails if one failed
at_once() {
	local i jobs=() rc=0 conf=$NETWORK
	for ((i = 0; i < PODS; i++)); do
		if [ "$1" = CHECK ]; then
			conf=$T/r/$i.conf
			jq --slurpfile r "$T/r/$i" '. + { prevResult: $r[0] }' "$NETWORK" >"$conf"
		fi
		cni "$1" "pod$i" "$conf" >"$T/r/$i" 2>"$T/r/$i.err" &
		jobs+=($!)
	done
	for i in "${!jobs[@]}"; do
		wait "${jobs[i]}" || { rc=1; head -c 300 "$T/r/$i" "$T/r/$i.err"; }
	done
	return $rc
}

distinct() {	# JQ-PATH
	local n
	n=$(for ((i = 0; i < PODS; i++)); do jq -r "$1" "$T/r/$i"; done | grep -v null | sort -u |
		wc -l)
	same "how many $1" "$n" "$PODS"
}

ports() {
	"$PODPCI" switch -j port show |
		jq '[.[] | select(.kind == "vhost") | .socket] | unique | length'
}

mkdir -p "$T/r"
check "the switch starts" switch_up || finish
for ((i = 0; i < PODS; i++)); do
	ip netns add "pod$i" || skip_all "cannot make $PODS network namespaces"
done
before=$(free_pages)
for round in 1 2; do
	check "D-CO-01 round $round: $PODS pods are attached at once" at_once ADD
	check "... with addresses of their own" distinct '.ips[0].address'
	check "... and MACs of their own" distinct '.interfaces[0].mac'
	check "... and a port and a socket each" eval 'same ports "$(ports)" "$PODS"'
	check "... and all are as they should be" at_once CHECK
	check "... and detached at once" at_once DEL
	check "... and none has a port" eval 'same ports "$(ports)" 0'
done
check "detaching again is fine" at_once DEL
for ((i = 0; i < PODS; i++)); do
	ip netns del "pod$i"
done
check "nothing is left" nothing_left
# The pool is the whole machine's: others' tests may hold some for a while.
check "the hugepages are back" until_true 60 eval "[ \$(free_pages) -ge $before ]"
finish
