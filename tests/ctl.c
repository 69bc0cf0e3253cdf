// SPDX-License-Identifier: Apache-2.0
// ctl.c - sends control commands as a driver does.
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "tests/ctl.h"

#define PAGE_LEN 0x11000u
#define ACK_OFF  (PAGE_LEN - 1)

uint8_t ctl_up(struct ctl *c, uint64_t features, unsigned pairs, uint16_t size)
{
	return ctl_up_with(c, features,
			   &(struct rig_opts){ .pairs = pairs, .queue_size = size });
}

uint8_t ctl_up_with(struct ctl *c, uint64_t features, const struct rig_opts *o)
{
	unsigned pairs = o->pairs ? o->pairs : 1;
	uint8_t status;

	if (rig_up(&c->r, o) < 0)
		return 0;
	c->queue = features >> VIRTIO_NET_F_MQ & 1 ? 2 * pairs : 2;
	status = rig_run(&c->r, 1ull << VIRTIO_F_VERSION_1 | features, &c->q);
	c->page = rig_alloc(&c->r, PAGE_LEN, 4096);
	return status;
}

uint8_t ctl_send(struct ctl *c, const struct qdrv_part *p, unsigned n, uint64_t ack_at,
		 uint32_t *len)
{
	uint8_t *ack = rig_va(&c->r, ack_at);
	uint16_t id, want;

	*ack = CTL_UNTOUCHED;
	want = qdrv_add(&c->q, p, n);
	rig_notify(&c->r, c->queue);
	if (!qdrv_used(&c->q, &id, len, n) || id != want)
		return CTL_SILENCE;
	return *ack;
}

uint8_t ctl_command(struct ctl *c, uint8_t class, uint8_t cmd, const void *payload, uint32_t len)
{
	uint8_t *va = rig_va(&c->r, c->page), ack;
	const struct qdrv_part p[] = {
		{ c->page, 2 + len, false }, { c->page + ACK_OFF, 1, true },
	};
	uint32_t used = 0;

	va[0] = class;
	va[1] = cmd;
	if (len)
		memcpy(va + 2, payload, len);
	ack = ctl_send(c, p, 2, c->page + ACK_OFF, &used);
	return used == 1 ? ack : CTL_SILENCE;
}

uint8_t ctl_set_pairs(struct ctl *c, uint16_t pairs)
{
	return ctl_command(c, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs,
			   sizeof(pairs));
}
