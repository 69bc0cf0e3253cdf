// SPDX-License-Identifier: Apache-2.0
// vqueue.c - a ring's life: areas checked, started, stopped, told of.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "sim/backend/vlog.h"
#include "sim/backend/vqueue_hot.h"

#define HAS(features, f) (((features) >> (f)) & 1)

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

/* A header of a peer with one of these says something worth reading. */
#define TALKING_FEATURES ((1ull << VIRTIO_NET_F_CSUM) | (1ull << VIRTIO_NET_F_HOST_TSO4) | \
	(1ull << VIRTIO_NET_F_HOST_TSO6) | (1ull << VIRTIO_NET_F_HOST_UFO) | (1ull << 56))

#define PATIENCE 16		/* rounds with traffic before the barrier is paid */

struct vqueue_size vqueue_size(unsigned num, bool packed)
{
	if (!num || num > VQUEUE_NUM_MAX || (!packed && (num & (num - 1))))
		return (struct vqueue_size){ 0, 0, 0 };
	if (packed)
		return (struct vqueue_size){ 16ull * num, 4, 4 };
	return (struct vqueue_size){ 16ull * num, 2ull * num + 6, 8ull * num + 6 };
}

void vqueue_lock(struct vqueue *r)
{
	while (__atomic_exchange_n(&r->lock, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(&r->lock, __ATOMIC_RELAXED))
			__builtin_ia32_pause();
}

void vqueue_unlock(struct vqueue *r)
{
	__atomic_store_n(&r->lock, 0, __ATOMIC_RELEASE);
}

static bool aligned(const struct vqueue_setup *s, bool packed)
{
	/* 2.7: 16, 2, 4; 2.8: 16, 4, 4 */
	return !((uintptr_t)s->desc & 15) && !((uintptr_t)s->avail & (packed ? 3 : 1)) &&
	       !((uintptr_t)s->used & 3);
}

static void take_features(struct vqueue *r, uint64_t f)
{
	r->features = f;
	r->mergeable = HAS(f, VIRTIO_NET_F_MRG_RXBUF);
	r->hdr_len = r->mergeable || HAS(f, VIRTIO_F_VERSION_1) ? 12 : 10;
	r->in_order = HAS(f, VIRTIO_F_IN_ORDER);
	r->indirect = HAS(f, VIRTIO_RING_F_INDIRECT_DESC);
	r->event_idx = HAS(f, VIRTIO_RING_F_EVENT_IDX);
	r->hdr_wanted = r->transmit && (f & TALKING_FEATURES);
}

/* The base of a split ring is its index; of a packed one two positions with their laps. */
static int take_base(struct vqueue *r, uint32_t base, bool packed)
{
	if (!packed) {
		if (base > 0xffff)
			return -EINVAL;
		r->next = r->done = r->seen = (uint16_t)base;
		return 0;
	}
	r->next = base & 0x7fff;
	r->next_wrap = base >> 15 & 1;
	r->done = base >> 16 & 0x7fff;
	r->done_wrap = base >> 31;
	/* An older front-end leaves the upper half 0: both positions are one. */
	if (!(base >> 16)) {
		r->done = r->next;
		r->done_wrap = r->next_wrap;
	}
	if (r->next >= r->num || r->done >= r->num)
		return -EINVAL;
	/* All is completed in order: what was taken and not handed back is taken again. */
	r->next = r->done;
	r->next_wrap = r->done_wrap;
	return 0;
}

void vqueue_init(struct vqueue *r, bool transmit, bool shared)
{
	memset(r, 0, sizeof(*r));
	r->transmit = transmit;
	r->shared = shared;
	r->ops = vqueue_pick(false, 0);
}

int vqueue_start(struct vqueue *r, const struct vqueue_setup *s, uint32_t base)
{
	bool packed = HAS(s->features, VIRTIO_F_RING_PACKED);
	int rc;

	assert(!r->running);
	if (!vqueue_size(s->num, packed).desc || !aligned(s, packed))
		return -EINVAL;
	r->num = s->num;
	rc = take_base(r, base, packed);
	if (rc < 0)
		return rc;
	if (r->transmit) {
		r->owed = calloc(s->num, sizeof(*r->owed));
		if (!r->owed)
			return -ENOMEM;
	}
	r->owed_head = r->owed_n = 0;
	r->desc = s->desc;
	r->avail = s->avail;
	r->used = s->used;
	r->used_log = s->used_log;
	r->mem = s->mem;
	r->log = s->log;
	r->hit = (struct vqueue_hit){ .size = 0 };
	take_features(r, s->features);
	r->ops = vqueue_pick(packed, 0);
	r->broken = 0;
	r->dirty = r->told_valid = r->reported = false;
	r->patience = 0;
	r->told = r->done;
	r->running = true;
	r->ops->arm(r, false);
	return 0;
}

uint32_t vqueue_stop(struct vqueue *r)
{
	uint32_t base = r->done;

	if (r->running && HAS(r->features, VIRTIO_F_RING_PACKED))
		base = (uint32_t)(r->done | (uint32_t)r->done_wrap << 15) * 0x10001u;
	r->running = false;
	free(r->owed);
	r->owed = NULL;
	r->owed_n = 0;
	r->mem = NULL;
	r->hit = (struct vqueue_hit){ .size = 0 };
	r->desc = r->avail = r->used = NULL;
	return base;
}

void vqueue_break(struct vqueue *r, int why)
{
	if (r->broken)
		return;
	r->broken = why;
	port_tally(&r->row[PORT_RINGS_BROKEN], 1);
}

unsigned vqueue_drop(struct vqueue *r, enum port_counter why, unsigned n)
{
	port_tally(&r->row[why], n);
	return n;
}

/*
 * A driver that falls asleep writes "call me", then looks at the used index once more. We write
 * the index, then look for "call me". Unless a full barrier stands between our two, we may miss
 * what it just wrote while it misses our index. The barrier waits for all our stores to reach
 * the cache, which takes longer than handling a packet; so a "no" read without it is believed
 * only for a while: until a round in which nothing was completed, or PATIENCE rounds.
 */
bool vqueue_due(struct vqueue *r, bool *again)
{
	bool idle, due;

	*again = false;
	if (!r->dirty || !r->running || r->broken)
		return false;
	idle = r->patience && r->looked == r->done;
	r->looked = r->done;
	due = r->ops->wants_call(r);
	if (!due && !idle && ++r->patience < PATIENCE) {
		*again = true;
		return false;
	}
	if (!due) {
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		due = r->ops->wants_call(r);
	}
	r->told = r->done;
	r->told_wrap = r->done_wrap;
	r->told_valid = true;
	r->patience = 0;
	vqueue_set_dirty(r, false);
	return due;
}
