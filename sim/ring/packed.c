// SPDX-License-Identifier: Apache-2.0
// packed.c - the packed virtqueue, device's side (virtio 1.2, 2.8).
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#include "sim/ring/vring.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

_Static_assert(sizeof(struct vring_packed_desc) == 16, "2.8.13");

static uint64_t slot(const struct vq *r, unsigned i, size_t field)
{
	return r->set.desc + 16ull * i + field;
}

/* Sizes need not be powers of two: the lap ends by comparison. */
static void step(const struct vq *r, uint16_t *i, bool *wrap, unsigned n)
{
	unsigned to = *i + n;

	if (to >= r->set.num) {
		to -= r->set.num;
		*wrap = !*wrap;
	}
	*i = (uint16_t)to;
}

/* 2.8.7: every entry of the table counts, in order, and only WRITE means anything. */
static int take_table(const struct vq *r, struct vq_chain *c, const struct vring_packed_desc *in)
{
	int n = vq_table(r, in->len);

	for (int i = 0; i < n; i++) {
		struct vring_packed_desc e;
		struct vq_desc d;
		int rc;

		rc = vq_load(r, in->addr + 16ull * (unsigned)i, &e, sizeof(e));
		if (rc < 0)
			return rc;
		if (e.flags & VRING_DESC_F_INDIRECT)
			return -EINVAL;
		d = (struct vq_desc){ e.addr, e.len, e.flags & VRING_DESC_F_WRITE };
		rc = vq_chain_add(r, c, &d);
		if (rc < 0)
			return rc;
	}
	return n < 0 ? n : 0;
}

/* The chain's entries follow each other; the last one carries the buffer id (2.8.6). */
static int take_chain(const struct vq *r, struct vq_chain *c)
{
	uint16_t i = r->next;
	bool wrap = r->next_wrap;

	for (unsigned n = 1; n <= r->set.num; n++) {
		struct vring_packed_desc e;
		struct vq_desc d;
		int rc;

		rc = vq_load(r, slot(r, i, 0), &e, sizeof(e));
		if (rc < 0)
			return rc;
		d = (struct vq_desc){ e.addr, e.len, e.flags & VRING_DESC_F_WRITE };
		if (!(e.flags & VRING_DESC_F_INDIRECT))
			rc = vq_chain_add(r, c, &d);
		else
			rc = e.flags & VRING_DESC_F_NEXT ? -EINVAL : take_table(r, c, &e);
		if (rc < 0)
			return rc;
		c->id = e.id;
		c->slots = (uint16_t)n;
		if (!(e.flags & VRING_DESC_F_NEXT))
			return 0;
		step(r, &i, &wrap, 1);
	}
	return -EINVAL;
}

static int packed_take(struct vq *r, struct vq_chain *c)
{
	uint16_t flags;
	int rc;

	rc = vq_load(r, slot(r, r->next, offsetof(struct vring_packed_desc, flags)), &flags,
		     sizeof(flags));
	if (rc < 0)
		return rc;
	/* 2.8.1: available when AVAIL equals the lap's parity and USED does not. */
	if (!!(flags & AVAIL) != r->next_wrap || !!(flags & USED) == r->next_wrap)
		return 0;
	/* Pairs with the driver writing the head's flags last. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	rc = take_chain(r, c);
	if (rc < 0)
		return rc;
	step(r, &r->next, &r->next_wrap, c->slots);
	return 1;
}

static int packed_give(struct vq *r, const struct vq_chain *c, uint32_t written)
{
	struct {
		uint32_t len;
		uint16_t id;
	} e = { written, c->id };
	uint16_t flags = r->used_wrap ? AVAIL | USED : 0;
	int rc;

	if (c->writable)
		flags |= VRING_DESC_F_WRITE;
	rc = vq_store(r, slot(r, r->used, offsetof(struct vring_packed_desc, len)), &e.len,
		      sizeof(e.len));
	if (rc == 0)
		rc = vq_store(r, slot(r, r->used, offsetof(struct vring_packed_desc, id)), &e.id,
			      sizeof(e.id));
	/* 2.8.6: everything else before the flags that give the entry away. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	if (rc == 0)
		rc = vq_store(r, slot(r, r->used, offsetof(struct vring_packed_desc, flags)),
			      &flags, sizeof(flags));
	if (rc < 0)
		return rc;
	step(r, &r->used, &r->used_wrap, c->slots);
	return 0;
}

/* 2.8.14: the driver names the ring position, with its lap, whose use it wants to hear of. */
static bool crossed(const struct vq *r, uint16_t off_wrap, uint16_t old)
{
	uint16_t off = off_wrap & 0x7fff;
	bool wrap = off_wrap >> VRING_PACKED_EVENT_F_WRAP_CTR;

	if (r->used <= old)
		old -= r->set.num;
	if (wrap != r->used_wrap)
		off -= r->set.num;
	return vring_need_event(off, r->used, old);
}

static bool packed_should_notify(struct vq *r)
{
	struct vring_packed_desc_event ev;
	uint16_t old = r->told;
	bool valid = r->told_valid;

	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	r->told = r->used;
	r->told_valid = true;
	if (vq_load(r, r->set.avail, &ev, sizeof(ev)) < 0)
		return true;
	if (ev.flags == VRING_PACKED_EVENT_FLAG_DISABLE)
		return false;
	/* The reserved value 3, or 2 without EVENT_IDX, counts as "always". */
	if (ev.flags != VRING_PACKED_EVENT_FLAG_DESC || !r->set.event_idx || !valid)
		return true;
	return crossed(r, ev.off_wrap, old);
}

/* Notifications were never switched off: the device area stays zero, "always". */
static int packed_arm(struct vq *r)
{
	(void)r;
	return 0;
}

const struct vq_ops vq_packed = {
	.name = "packed",
	.take = packed_take,
	.give = packed_give,
	.should_notify = packed_should_notify,
	.arm = packed_arm,
};
