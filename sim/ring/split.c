// SPDX-License-Identifier: Apache-2.0
// split.c - the split virtqueue, device's side (virtio 1.2, 2.7).
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stddef.h>

#include "sim/ring/vring.h"

_Static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");

static uint64_t avail_word(const struct vq *r, unsigned i)
{
	return r->set.avail + 4 + 2ull * i;		/* [num]: used_event */
}

static uint64_t used_elem(const struct vq *r, unsigned i)
{
	return r->set.used + 4 + 8ull * i;		/* [num]: avail_event */
}

/*
 * One table, the ring's own or an indirect one, from entry i on. The chain's length bounds the
 * walk: a loop runs into it. Returns 0 at the end of the chain, 1 if *in is an indirect entry.
 */
static int walk(const struct vq *r, struct vq_chain *c, uint64_t table, unsigned entries,
		unsigned i, struct vring_desc *in)
{
	for (unsigned steps = 0; steps < entries; steps++) {
		struct vq_desc d;
		int rc;

		if (i >= entries)
			return -EINVAL;
		rc = vq_load(r, table + 16ull * i, in, sizeof(*in));
		if (rc < 0)
			return rc;
		if (in->flags & VRING_DESC_F_INDIRECT)
			return 1;
		d = (struct vq_desc){ in->addr, in->len, in->flags & VRING_DESC_F_WRITE };
		rc = vq_chain_add(r, c, &d);
		if (rc < 0)
			return rc;
		if (!(in->flags & VRING_DESC_F_NEXT))
			return 0;
		i = in->next;
	}
	return -EINVAL;
}

static int take_head(const struct vq *r, struct vq_chain *c, uint16_t head)
{
	struct vring_desc d;
	int rc, n;

	rc = walk(r, c, r->set.desc, r->set.num, head, &d);
	if (rc <= 0)
		return rc;
	/* 2.7.5.3.1: last in its chain, one level deep; its WRITE flag says nothing. */
	if (d.flags & VRING_DESC_F_NEXT)
		return -EINVAL;
	n = vq_table(r, d.len);
	if (n < 0)
		return n;
	rc = walk(r, c, d.addr, (unsigned)n, 0, &d);
	return rc > 0 ? -EINVAL : rc;
}

static int split_take(struct vq *r, struct vq_chain *c)
{
	uint16_t idx, head, ahead;
	int rc;

	rc = vq_load(r, r->set.avail + 2, &idx, sizeof(idx));
	if (rc < 0)
		return rc;
	ahead = (uint16_t)(idx - r->next);
	if (!ahead)
		return 0;
	if (ahead > r->set.num)
		return -EINVAL;
	/* Pairs with the driver's barrier between filling entries and moving the index. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	rc = vq_load(r, avail_word(r, r->next % r->set.num), &head, sizeof(head));
	if (rc < 0)
		return rc;
	c->id = head;
	rc = take_head(r, c, head);
	if (rc < 0)
		return rc;
	r->next++;
	return 1;
}

static int split_give(struct vq *r, const struct vq_chain *c, uint32_t written)
{
	struct vring_used_elem e = { .id = c->id, .len = written };
	uint16_t idx = r->used + 1;
	int rc;

	rc = vq_store(r, used_elem(r, r->used % r->set.num), &e, sizeof(e));
	if (rc < 0)
		return rc;
	/* 2.7.8.2: the element, and what was written to the buffer, before the index. */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	rc = vq_store(r, r->set.used + 2, &idx, sizeof(idx));
	if (rc < 0)
		return rc;
	r->used = idx;
	return 0;
}

static bool split_should_notify(struct vq *r)
{
	uint16_t flags, event, old = r->told;
	bool valid = r->told_valid;

	/* Our index first, then the driver's wish; pairs with its wish first, then our index. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	r->told = r->used;
	r->told_valid = true;
	if (!r->set.event_idx) {
		if (vq_load(r, r->set.avail, &flags, sizeof(flags)) < 0)
			return true;
		return !(flags & VRING_AVAIL_F_NO_INTERRUPT);
	}
	if (!valid || vq_load(r, avail_word(r, r->set.num), &event, sizeof(event)) < 0)
		return true;
	return vring_need_event(event, r->used, old);
}

/*
 * The event index names the buffer whose arrival is told: the next one not offered yet. Named
 * by the driver's own index, it holds also when the owner stops with buffers left to take.
 */
static int split_arm(struct vq *r)
{
	uint16_t idx;
	int rc;

	if (!r->set.event_idx)
		return 0;
	rc = vq_load(r, r->set.avail + 2, &idx, sizeof(idx));
	if (rc == 0)
		rc = vq_store(r, used_elem(r, r->set.num), &idx, sizeof(idx));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return rc;
}

const struct vq_ops vq_split = {
	.name = "split",
	.take = split_take,
	.give = split_give,
	.should_notify = split_should_notify,
	.arm = split_arm,
};
