#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# switch_criteria.sh - the uplink's acceptance criteria with their full numbers: a million frames
# sorted, a hundred thousand with the pod's pages out of reach, a thousand attachments.
cd "$(dirname "$0")/../.." || exit 1
SOAK=1 "${B:-build}/tests/wire/switch_uplink" && SOAK=1 exec "${B:-build}/tests/wire/switch_kernel"
