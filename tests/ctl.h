/* SPDX-License-Identifier: Apache-2.0 */
/* ctl.h - a rig whose control queue runs, and commands for it. */
#ifndef TESTS_CTL_H
#define TESTS_CTL_H

#include "tests/rig.h"

/* CTRL_VQ, CTRL_RX, CTRL_MAC_ADDR, GUEST_ANNOUNCE, MAC, STATUS */
#define CTL_ALL (1ull << 17 | 1ull << 18 | 1ull << 23 | 1ull << 21 | 1ull << 5 | 1ull << 16)
#define CTL_UNTOUCHED 0xa5	/* the answer's byte before it is given */
#define CTL_SILENCE   0xee	/* the buffer did not come back */

struct ctl {
	struct rig  r;
	struct qdrv q;
	unsigned    queue;		/* its index */
	uint64_t    page;		/* 68 KiB for commands */
};

/* Up to DRIVER_OK with VERSION_1 and these; the status then. */
uint8_t ctl_up(struct ctl *c, uint64_t features, unsigned pairs, uint16_t size);
/* The same with any device; features as they are, VERSION_1 added. */
uint8_t ctl_up_with(struct ctl *c, uint64_t features, const struct rig_opts *o);
/* Sends what lies in the parts; the byte at ack_at afterwards, and the bytes counted. */
uint8_t ctl_send(struct ctl *c, const struct qdrv_part *p, unsigned n, uint64_t ack_at,
		 uint32_t *len);
uint8_t ctl_command(struct ctl *c, uint8_t class, uint8_t cmd, const void *payload, uint32_t len);
uint8_t ctl_set_pairs(struct ctl *c, uint16_t pairs);

#endif
