#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# matrix.sh - each door, kind of device, ring, buffer and number of queue pairs: what was asked
# for is what the back-end agreed to, and 10^5 frames come back whole.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

VERSION_1=32 PACKED=34 MRG=15 MQ=22
declare -A WORD=([off]=0 [on]=1)

# bit NUMBER WANTED(0|1) in what the back-end last agreed to
bit() {
	local have=$(($(features be) >> $1 & 1))
	[ $have = "$2" ] || { echo "feature bit $1 is $have in $(features be)"; return 1; }
}

row() {	# DOOR MODE PACKED MRG PAIRS
	mark be
	NET=("socket=$T/s,door=$1,mode=$2,packed=$3,mrg=$4,queues=$5")
	frames --count 100000 --sizes 64,1514 --queues "$5" || return
	[ -n "${STAND_IN:-}" ] && return
	local modern=1 packed=${WORD[$3]} mrg=${WORD[$4]}
	[ "$2" = legacy ] && modern=0
	bit $VERSION_1 $modern && bit $PACKED "$packed" && bit $MRG "$mrg" && bit $MQ $(($5 > 1))
}

# In `make matrix` each of the 60; otherwise, through VFIO, those with one and two pairs, and of
# the others one for each pair of values.
wanted() {
	[ -n "${MATRIX_ALL:-}" ] && return
	case "$*" in
	"vfio "*" "[12]) return 0 ;;
	"vfio modern on on 4" | "vfio modern off off 4" | "vfio transitional on off 4") return 0 ;;
	"vfio legacy off on 4" | "uio modern on off 2" | "uio modern off on 4") return 0 ;;
	"uio transitional on on 1" | "uio transitional off off 2") return 0 ;;
	"uio legacy off on 1" | "uio legacy off off 4") return 0 ;;
	esac
	return 1
}

backend be "iface=$T/s,queues=4" || skip_all "the back-end does not start"
for door in vfio uio; do
	[ $door = uio ] && [ -n "${STAND_IN:-}" ] && break
	for mode in modern transitional legacy; do
		for packed in off on; do
			[ $mode-$packed = legacy-on ] && continue	# a ring of virtio 1.1
			for mrg in on off; do
				for pairs in 1 2 4; do
					row=($door $mode $packed $mrg $pairs)
					wanted "${row[@]}" || continue
					name="$door $mode packed=$packed mrg=$mrg $pairs pairs"
					check "A-LG-19 0.4 $name" row "${row[@]}"
				done
			done
		done
	done
done
finish
