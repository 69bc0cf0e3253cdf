#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# memory_modes.sh - whatever memory options the application is started with, packets flow.
# shellcheck source=tests/e2e/lib.sh
. "$(dirname "$0")/lib.sh"

too_many_files_are_told() {
	OPT=(--option coalesce=off)
	LIMIT=20 frames --count 1000 --wait 300 --timeout 300 >"$T/pod.log" 2>&1
	local rc=$?
	OPT=()
	cat "$T/pod.log"
	[ $rc -lt 124 ] && grep -a 'podpci:.*coalesce' "$T/pod.log"
}

backend be "iface=$T/s" || skip_all "the back-end does not start"
NET=("socket=$T/s")
while IFS='|' read -r name eal args; do
	read -ra EAL <<<"$eal"
	# shellcheck disable=SC2086
	check "$name" frames --count 60000 $args
done <<-'END'
	no option at all|
	-m|-m 256
	-a|-a 0000:00:04.0
	--single-file-segments|--single-file-segments
	--single-file-segments -m|--single-file-segments -m 256
	--in-memory|--in-memory
	--in-memory --single-file-segments|--in-memory --single-file-segments
	--no-huge|--no-huge -m 256
	--legacy-mem|--legacy-mem -m 256
	--legacy-mem without -m|--legacy-mem
	--legacy-mem --single-file-segments|--legacy-mem --single-file-segments -m 256
	--iova-mode=pa|--iova-mode=pa
	--iova-mode=va|--iova-mode=va
	--iova-mode=pa --legacy-mem|--iova-mode=pa --legacy-mem -m 256
	--iova-mode=pa --in-memory|--iova-mode=pa --in-memory
	--legacy-mem --huge-unlink|--legacy-mem --huge-unlink -m 256
	--match-allocations|--match-allocations
	64 MB more after the start||--mempool-late 64
	64 MB more, one file|--single-file-segments|--mempool-late 64
	64 MB more, in memory|--in-memory|--mempool-late 64
	64 MB more, physical addresses|--iova-mode=pa|--mempool-late 64
END
EAL=()
[ -n "${STAND_IN:-}" ] ||
	check "without coalescing, too many files are refused in words" too_many_files_are_told
finish
