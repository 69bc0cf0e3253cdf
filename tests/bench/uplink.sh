#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# uplink.sh - from one TAP interface to pods: straight into their buffers, or read and copied.
#
# switch_uplink takes the turns; all is in one thread on core 0. See lib.sh.
# shellcheck source=tests/e2e/lib.sh
SCALE=${T:-1}
PARTS='tests/bench/switch_uplink tests/bench/coretrip'
. "$(dirname "$0")/../e2e/lib.sh"
# shellcheck source=tests/bench/lib.sh
. "$(dirname "$0")/lib.sh"

MS=1500
PROGRAM=$B/tests/bench/switch_uplink
RUN=(taskset -c 0)
[ -z "${RT:-}" ] || RUN+=(chrt -f 1)

[ -c /dev/net/tun ] || skip_all "no /dev/net/tun"
machine_up
for size in 64 1500 60000; do
	wanted "uplink$size" || continue
	for ((g = $(times 4 2); g > 0; g--)); do	# new processes: memory lies elsewhere
		timeout 60 "${RUN[@]}" "$PROGRAM" $size $((MS / 4)) >"$T/turns" 2>"$T/err" ||
			{ echo "uplink: $(tail -n 3 "$T/err")" >&2; exit 1; }
		sed "s/^/$size /" "$T/turns" >>"$RESULTS"
	done
	printf . >&2
done
report uplink.awk
