#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# matrix.sh - each kind of device, ring, buffer and number of queue pairs: what was asked for is
# what the back-end agreed to, and 10^5 frames come back whole.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

VERSION_1=32 PACKED=34 MRG=15 MQ=22
declare -A WORD=([off]=0 [on]=1)

# bit NUMBER WANTED(0|1) in what the back-end last agreed to
bit() {
	local have=$(($(features be) >> $1 & 1))
	[ $have = "$2" ] || { echo "feature bit $1 is $have in $(features be)"; return 1; }
}

row() {	# MODE PACKED MRG PAIRS
	mark be
	NET=("socket=$T/s,mode=$1,packed=$2,mrg=$3,queues=$4")
	frames --count 100000 --sizes 64,1514 --queues "$4" || return
	[ -n "${STAND_IN:-}" ] && return
	local modern=1 packed=${WORD[$2]} mrg=${WORD[$3]}
	[ "$1" = legacy ] && modern=0
	bit $VERSION_1 $modern && bit $PACKED "$packed" && bit $MRG "$mrg" && bit $MQ $(($4 > 1))
}

backend be "iface=$T/s,queues=2" || skip_all "the back-end does not start"
for mode in modern transitional legacy; do
	for packed in off on; do
		[ $mode-$packed = legacy-on ] && continue	# a ring of virtio 1.1
		for mrg in on off; do
			for pairs in 1 2; do
				check "$mode packed=$packed mrg=$mrg pairs=$pairs" \
					row $mode $packed $mrg $pairs
			done
		done
	done
done
finish
