// SPDX-License-Identifier: Apache-2.0
// rings.c - the driver's side of a ring: buffers in, elements out, kicks where they are wanted.
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "tests/world/world.h"

#define RING  4096u			/* bytes set aside for one */
#define DRIVER 1024u			/* the driver's area in it: split, the available ring */
#define DEVICE 2048u			/* the device's: split, the used ring */

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

void side_init(struct driver *d, struct ring_side *s, unsigned q)
{
	for (unsigned i = 0; i < WORLD_NUM; i++)
		if (s->piece[i])
			d->piece_out[s->piece[i] - 1]--;
	*s = (struct ring_side){
		.va = d->mem + q * RING, .q = q, .next_wrap = true, .seen_wrap = true,
		.free = WORLD_NUM,
	};
	memset(s->va, 0, RING);
}

/* ---- kicks ---------------------------------------------------------------------------------- */

static bool passed(uint16_t event, uint16_t now, uint16_t was)
{
	return (uint16_t)(now - event - 1) < (uint16_t)(now - was);
}

static bool kick_wanted_packed(const struct ring_side *s, uint16_t was)
{
	const uint16_t *event = (const void *)(s->va + DEVICE);
	uint16_t at = event[0] & 0x7fff;

	if (event[1] != VRING_PACKED_EVENT_FLAG_DESC)
		return event[1] == VRING_PACKED_EVENT_FLAG_ENABLE;
	if (!!(event[0] & 0x8000) != s->next_wrap)
		at = (uint16_t)(at - WORLD_NUM);
	return passed(at, s->next, was);
}

/* was: where the driver stood; of a packed ring in terms of the lap it is in now. */
static bool kick_wanted(const struct driver *d, const struct ring_side *s, uint16_t was)
{
	const uint16_t *used = (const void *)(s->va + DEVICE);

	if (d->packed)
		return kick_wanted_packed(s, was);
	if (driver_has(d, VIRTIO_RING_F_EVENT_IDX))
		return passed(used[2 + 4 * WORLD_NUM], s->next, was);
	return !(used[0] & VRING_USED_F_NO_NOTIFY);
}

/* ---- buffers in ----------------------------------------------------------------------------- */

static void add_packed(struct ring_side *s, uint16_t id, const struct out *o, unsigned n)
{
	struct vring_packed_desc *first = (void *)(s->va + 16u * s->next);
	uint16_t first_flags = 0;

	for (unsigned i = 0; i < n; i++) {
		struct vring_packed_desc *d = (void *)(s->va + 16u * s->next);
		uint16_t flags = (uint16_t)(o[i].flags | (s->next_wrap ? AVAIL : USED) |
					    (i + 1 < n ? VRING_DESC_F_NEXT : 0));

		d->addr = o[i].addr;
		d->len = o[i].len;
		d->id = i + 1 < n ? (uint16_t)~id : id;	/* only the last one's counts: 2.8.6 */
		if (i)
			d->flags = flags;
		else
			first_flags = flags;
		if (++s->next == WORLD_NUM) {
			s->next = 0;
			s->next_wrap = !s->next_wrap;
		}
	}
	first->flags = first_flags;
}

uint16_t side_next_id(const struct driver *d, const struct ring_side *s)
{
	return d->packed ? s->issued % WORLD_NUM : s->head;
}

/* A chain takes the descriptors from the id on. */
static void add_split(struct ring_side *s, uint16_t id, const struct out *o, unsigned n)
{
	struct vring_desc *d = (void *)s->va;
	uint16_t *avail = (void *)(s->va + DRIVER);

	for (unsigned i = 0; i < n; i++)
		d[(id + i) % WORLD_NUM] = (struct vring_desc){
			o[i].addr, o[i].len,
			(uint16_t)(o[i].flags | (i + 1 < n ? VRING_DESC_F_NEXT : 0)),
			(uint16_t)((id + i + 1) % WORLD_NUM),
		};
	s->head = (uint16_t)((s->head + n) % WORLD_NUM);
	avail[2 + s->next % WORLD_NUM] = id;
	avail[1] = ++s->next;
}

void side_add(struct driver *d, struct ring_side *s, uint16_t id, const struct out *o, unsigned n)
{
	uint16_t was = s->next;
	bool wrap = s->next_wrap;

	s->busy[id] = true;
	s->taken[id] = (uint8_t)n;
	s->order[s->issued % WORLD_NUM] = id;
	s->free -= n;
	s->out++;
	s->issued++;
	if (d->packed)
		add_packed(s, id, o, n);
	else
		add_split(s, id, o, n);
	if (d->packed && wrap != s->next_wrap)
		was = (uint16_t)(was - WORLD_NUM);
	if (kick_wanted(d, s, was))
		driver_set(d, 0x1000 + 0x1000 * s->q, 2, s->q);
}

/* ---- elements out --------------------------------------------------------------------------- */

static bool peek_packed(const struct ring_side *s, uint16_t *id, uint32_t *len)
{
	const struct vring_packed_desc *p = (const void *)(s->va + 16u * s->seen);

	if (!(p->flags & AVAIL) != !s->seen_wrap || !(p->flags & USED) != !s->seen_wrap || !s->out)
		return false;
	*id = p->id;
	*len = p->len;
	return true;
}

static bool peek_split(const struct ring_side *s, uint16_t *id, uint32_t *len)
{
	const uint16_t *u = (const void *)(s->va + DEVICE);
	uint32_t elem[2];

	if (u[1] == s->seen)
		return false;
	memcpy(elem, u + 2 + 4 * (s->seen % WORLD_NUM), sizeof(elem));
	*id = (uint16_t)elem[0];
	*len = elem[1];
	return true;
}

/* Past a buffer's element: packed, past all its descriptors. */
static void step(const struct driver *d, struct ring_side *s, uint16_t id)
{
	s->seen = (uint16_t)(s->seen + (d->packed ? s->taken[id] : 1));
	if (d->packed && s->seen >= WORLD_NUM) {
		s->seen = (uint16_t)(s->seen - WORLD_NUM);
		s->seen_wrap = !s->seen_wrap;
	}
}

static bool take(struct world *w, struct ring_side *s, uint16_t id)
{
	if (id >= WORLD_NUM || !s->busy[id]) {
		world_wrong(w, "buffer %u of ring %u came back twice", id, s->q);
		return false;
	}
	step(&w->d, s, id);
	s->busy[id] = false;
	if (s->piece[id])
		w->d.piece_out[s->piece[id] - 1]--;
	s->piece[id] = 0;
	s->free += s->taken[id];
	s->out--;
	s->done++;
	return true;
}

bool side_used(struct world *w, struct ring_side *s, uint16_t *id, uint32_t *len)
{
	return (w->d.packed ? peek_packed(s, id, len) : peek_split(s, id, len)) && take(w, s, *id);
}

/* In order, one element of a packed ring is for all buffers up to its own. */
static bool reap_in_order(struct world *w, struct ring_side *s)
{
	uint16_t id, next;
	uint32_t len;

	if (!(w->d.packed ? peek_packed(s, &id, &len) : peek_split(s, &id, &len)))
		return false;
	do {
		next = s->order[s->done % WORLD_NUM];
		if (!take(w, s, next))
			return true;
	} while (w->d.packed && next != id);
	return true;
}

bool side_reap(struct world *w, struct ring_side *s)
{
	uint32_t len;
	uint16_t id;
	bool any = false;

	if (driver_has(&w->d, VIRTIO_F_IN_ORDER)) {
		while (!w->wrong[0] && reap_in_order(w, s))
			any = true;
		return any;
	}
	while (side_used(w, s, &id, &len))
		any = true;
	return any;
}
