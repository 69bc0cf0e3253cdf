#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh - `make bench`: all pieces, or those named in ARGS.
usage() {
	cat <<-'END'
		Usage: make bench [ARGS="[PIECE...] [OPTIONS]"]

		  device   the simulated device beside DPDK's virtio-user, and what a register costs
		  switch   pod to pod: podpci-switch, OVS-DPDK and testpmd, and memif beside them
		  scale    a packet's cost with many ports and addresses; memory and CPU at rest
		  instructions  of a packet from ring to ring
		  uplink   from one TAP to many pods, beside a read and a copy a frame

		  --quick       a fifth of the rounds: half a minute a piece
		  --json DIR    results as DIR/PIECE.json too
		  --raw DIR     each round as a line of DIR/PIECE.raw
		  --only A,B    these measurements of a piece only, by the first word of their names
		  --kinds KIND  rings: split, packed (both)
		  --limit SECS  the longest a piece may take (900)
		  --real-time   polling threads get real-time priority: on a busy machine
		  --help        this text

		Who is compared takes turns in short rounds; a figure is the median of them, with
		the range of the middle 80 %. Ratios are taken round by round. What must hold stands
		beside it: met, level (missed by less than the rounds differ) or MISSED.
	END
}

bad() {
	echo "bench: $*; see make bench ARGS=--help" >&2
	exit 2
}

here=$(dirname "$0")
pieces=() json='' raw='' limit=900
while [ $# -gt 0 ]; do
	case $1 in
	--help)		usage; exit ;;
	--quick)	export T=0.2 ;;
	--real-time)	export RT=1 ;;
	--json | --raw | --only | --kinds | --limit)
		[ $# -ge 2 ] || bad "$1 wants a value"
		case $1 in
		--json)		json=$2 ;;
		--raw)		raw=$2 ;;
		--only)		export ONLY=$2 ;;
		--kinds)	export KINDS=${2//,/ } ;;
		--limit)	limit=$2 ;;
		esac
		shift ;;
	-*)	bad "no option $1" ;;
	*)	[ -x "$here/$1.sh" ] || bad "no piece $1"
		pieces+=("$1") ;;
	esac
	shift
done
[ ${#pieces[@]} -gt 0 ] || pieces=(device switch instructions scale uplink)
[ -z "$json$raw" ] || mkdir -p ${json:+"$json"} ${raw:+"$raw"} || exit 1

failed=0
for piece in "${pieces[@]}"; do
	echo "== $piece"
	JSON=${json:+$(realpath "$json")/$piece.json} RAW=${raw:+$(realpath "$raw")/$piece.raw} \
		timeout -k 5 "$limit" "$here/$piece.sh"
	case $? in
	0 | 77)	;;
	124)	echo "bench: $piece took longer than $limit s" >&2; failed=1 ;;
	*)	failed=1 ;;
	esac
done
exit $failed
