#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_diff.sh - the switch's rings beside those of DPDK's vhost library: same bytes of a driver,
# same frames, used entries and buffers. More with SEEDS=number, or others with SEED=first.
# shellcheck source=tests/check/tap.sh
. "$(dirname "$0")/../check/tap.sh"

check "A-RX-01, A-RX-03, C-DS-07, C-DS-08, C-DP-02 rings do what DPDK's vhost library does" \
	"$B/tests/e2e/switch_diff" "${SEED:-1}" "${SEEDS:-25}"
grep -q . "$T/check.log" && sed 's/^/# /' "$T/check.log"
finish
