// SPDX-License-Identifier: Apache-2.0
// frames.c - the back-end's rings: what it takes, delivers, completes, and leaves undone.
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "tests/world/world.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)
#define BATCH 4
#define AT_ONCE 16			/* batches of a pair before another has its turn */
#define FRAME (WORLD_HDR + WORLD_DATA)

/* One store after another; between any two it may be the last. False: it was. */
static bool survives(struct world *w, unsigned per_mille)
{
	w->b.steps++;
	if (!world_chance(w, per_mille))
		return true;
	wb_die(w, "killed");
	return false;
}

static bool lives_on(struct world *w)
{
	return survives(w, 2);
}

static bool has(const struct wb *b, unsigned bit)
{
	return b->acked >> bit & 1;
}

struct buf {
	uint16_t id, slots;		/* slots: of the ring, packed its descriptors, split one */
	bool     indirect;
	struct { uint64_t addr; uint32_t len; } part[WORLD_CHAIN];
	unsigned parts;
	uint32_t wrote;
	uint64_t number;		/* of the frame in it, or 0 */
};

/* What the network has had is had for good. */
static void had(struct wb *b, unsigned pair, const struct buf *buf)
{
	if (buf->number > b->delivered[pair])
		b->delivered[pair] = buf->number;
}

/* ---- looking -------------------------------------------------------------------------------- */

static struct vring_packed_desc *slot(struct wb *b, const struct wb_ring *r, unsigned ahead,
				      bool *wrap)
{
	unsigned at = r->at + ahead;

	*wrap = at >= r->num ? !r->wrap : r->wrap;
	return (void *)wb_at_user(b, r->desc + 16u * (at % r->num), 16);
}

/* Of a buffer; false: it has more than the driver makes. */
static bool add_part(struct buf *buf, uint64_t addr, uint32_t len)
{
	if (buf->parts == WORLD_CHAIN)
		return false;
	buf->part[buf->parts].addr = addr;
	buf->part[buf->parts++].len = len;
	return true;
}

static bool look_packed(struct wb *b, const struct wb_ring *r, unsigned ahead, struct buf *buf)
{
	struct vring_packed_desc *d;
	bool wrap;

	*buf = (struct buf){ 0 };
	d = slot(b, r, ahead, &wrap);
	if (ahead >= r->num || !(d->flags & AVAIL) != !wrap || !(d->flags & USED) == !wrap)
		return false;
	buf->indirect = d->flags & VRING_DESC_F_INDIRECT;
	for (;; d = slot(b, r, ahead + buf->slots, &wrap)) {
		if (!add_part(buf, d->addr, d->len))
			return false;
		buf->slots++;
		buf->id = d->id;
		if (!(d->flags & VRING_DESC_F_NEXT))
			return true;
	}
}

static bool look_split(struct wb *b, const struct wb_ring *r, unsigned ahead, struct buf *buf)
{
	uint16_t *avail = (void *)wb_at_user(b, r->avail, 4 + 2u * r->num), at;
	struct vring_desc *d = (void *)wb_at_user(b, r->desc, 16u * r->num);

	*buf = (struct buf){ .slots = 1 };
	if ((uint16_t)(avail[1] - r->at) <= ahead)
		return false;
	at = buf->id = avail[2 + (uint16_t)(r->at + ahead) % r->num];
	buf->indirect = d[at].flags & VRING_DESC_F_INDIRECT;
	for (;; at = d[at].next) {
		if (!add_part(buf, d[at].addr, d[at].len))
			return false;
		if (!(d[at].flags & VRING_DESC_F_NEXT))
			return true;
	}
}

/* The buffer owed to the driver that is so many slots ahead. */
static bool look(struct wb *b, const struct wb_ring *r, unsigned ahead, struct buf *buf)
{
	return (has(b, VIRTIO_F_RING_PACKED) ? look_packed : look_split)(b, r, ahead, buf);
}

/* A piece of a frame; 0: it is not there. Tables of both kinds begin alike. */
static uint32_t gather_one(struct wb *b, uint64_t addr, uint32_t len, uint8_t *to, uint32_t room)
{
	uint8_t *from = len <= room ? wb_at_guest(b, addr, len) : NULL;

	if (!from)
		return 0;
	memcpy(to, from, len);
	return len;
}

/* The frame that a buffer is; false: not one as the driver made it. */
static bool gather(struct wb *b, const struct buf *buf, uint8_t frame[FRAME])
{
	uint32_t n = 0, pieces = buf->part[0].len / 16;
	uint8_t *table;

	for (unsigned i = 0; !buf->indirect && i < buf->parts; i++)
		n += gather_one(b, buf->part[i].addr, buf->part[i].len, frame + n, FRAME - n);
	if (!buf->indirect)
		return n == FRAME;
	table = wb_at_guest(b, buf->part[0].addr, buf->part[0].len);
	for (uint32_t i = 0; table && i < pieces; i++) {
		uint64_t addr;
		uint32_t len;

		memcpy(&addr, table + 16 * i, sizeof(addr));
		memcpy(&len, table + 16 * i + 8, sizeof(len));
		n += gather_one(b, addr, len, frame + n, FRAME - n);
	}
	return n == FRAME;
}

/* ---- completing ----------------------------------------------------------------------------- */

struct batch {
	struct buf buf[BATCH];
	unsigned n, slots, pair;
	bool     one;			/* a single element for all of it */
};

/*
 * What is in hand of a ring. Its first word says whether the rest is meant, and is stored at once;
 * so whoever comes after a death finds either the ring as it was or a batch that can be finished.
 */
struct record {
	struct { uint16_t at; bool wrap, pending, valid; } now;
	struct batch batch;
};

_Static_assert(sizeof(((struct record *)0)->now) <= 8, "one store");
_Static_assert(WORLD_RINGS * sizeof(struct record) <= WB_RECORD, "they fit");

static struct record *record_of(struct wb *b, const struct wb_ring *r)
{
	return b->record ? &b->record[r - b->ring] : NULL;
}

static void advance(struct wb *b, struct wb_ring *r, unsigned slots)
{
	struct record *rec = record_of(b, r);

	r->wrap = r->at + slots >= r->num ? !r->wrap : r->wrap;
	r->at = (uint16_t)((r->at + slots) % r->num);
	if (rec)
		rec->now = (__typeof__(rec->now)){ .at = r->at, .wrap = r->wrap, .valid = true };
}

static bool publish_split(struct world *w, struct wb_ring *r, const struct batch *x)
{
	uint16_t *used = (void *)wb_at_user(&w->b, r->used, 4 + 8u * r->num);

	for (unsigned i = x->one ? x->n - 1 : 0; i < x->n; i++) {
		uint32_t elem[2] = { x->buf[i].id, x->buf[i].wrote };
		unsigned at = x->one ? 0 : i;

		memcpy(used + 2 + 4 * ((uint16_t)(r->at + at) % r->num), elem, sizeof(elem));
		if (!lives_on(w))
			return false;
	}
	r->at = (uint16_t)(r->at + x->n);
	used[1] = r->at;
	for (unsigned i = 0; i < x->n; i++)
		had(&w->b, x->pair, &x->buf[i]);
	return lives_on(w);
}

static void flag(struct vring_packed_desc *d, bool wrap)
{
	d->flags = (uint16_t)((d->flags & ~(AVAIL | USED)) | (wrap ? AVAIL | USED : 0));
}

/* The slot of the batch's i-th element. */
static struct vring_packed_desc *element(struct wb *b, const struct wb_ring *r,
					 const struct batch *x, unsigned i, bool *wrap)
{
	unsigned ahead = 0;

	for (unsigned k = 0; k < i; k++)
		ahead += x->buf[k].slots;
	return slot(b, r, ahead, wrap);
}

static bool publish_packed(struct world *w, struct wb_ring *r, const struct batch *x)
{
	unsigned told = x->one ? 1 : x->n;
	struct record *rec = record_of(&w->b, r);
	struct vring_packed_desc *d;
	bool wrap;

	if (rec) {
		rec->batch = *x;
		if (!lives_on(w))
			return false;
		rec->now.pending = true;
	}
	for (unsigned i = 0; i < told; i++) {
		const struct buf *buf = &x->buf[x->one ? x->n - 1 : i];

		d = element(&w->b, r, x, i, &wrap);
		d->id = buf->id;
		if (buf->wrote)		/* of what it only reads the driver's own stays */
			d->len = buf->wrote;
		/* Another buffer's id in a slot that is still owed is for a record to mend. */
		if ((rec || !x->one) && !lives_on(w))
			return false;
	}
	for (unsigned k = 1; k <= told; k++) {	/* the first flag last */
		d = element(&w->b, r, x, k % told, &wrap);
		flag(d, wrap);
		/* With the first flag the head is as good as told: it can be mended. */
		if (k == told || !rec) {
			had(&w->b, x->pair, &x->buf[0]);
			had(&w->b, x->pair, &x->buf[rec ? x->n - 1 : k % told]);
		}
		if (!survives(w, k < told ? 40 : 2))	/* in the middle of it is worse */
			return false;
	}
	advance(&w->b, r, x->slots);
	return true;
}

/* As if the one before had not died: until the first flag is there the driver has seen nothing. */
static void finish(struct wb *b, struct wb_ring *r, const struct batch *x)
{
	unsigned told = x->one ? 1 : x->n;
	bool wrap;
	struct vring_packed_desc *first = slot(b, r, 0, &wrap), *d;

	for (unsigned i = 0; i < x->n; i++)
		had(b, x->pair, &x->buf[i]);
	if (!(first->flags & AVAIL) != !wrap || !(first->flags & USED) == !wrap)
		return;
	b->finished++;
	for (unsigned k = told; k-- > 0;) {
		const struct buf *buf = &x->buf[x->one ? x->n - 1 : k];

		d = element(b, r, x, k, &wrap);
		d->id = buf->id;
		if (buf->wrote)
			d->len = buf->wrote;
		flag(d, wrap);
	}
}

void wb_recover(struct wb *b, unsigned index)
{
	struct wb_ring *r = &b->ring[index];
	struct record *rec = record_of(b, r);
	struct batch x;

	if (!rec || !has(b, VIRTIO_F_RING_PACKED))
		return;
	if (rec->now.valid) {
		r->at = rec->now.at;
		r->wrap = rec->now.wrap;
	}
	if (rec->now.valid && rec->now.pending) {
		x = rec->batch;
		finish(b, r, &x);
		advance(b, r, x.slots);
	} else {
		advance(b, r, 0);
	}
}

static bool publish(struct world *w, struct wb_ring *r, const struct batch *x)
{
	if (!x->n)
		return true;
	return has(&w->b, VIRTIO_F_RING_PACKED) ? publish_packed(w, r, x) : publish_split(w, r, x);
}

/* ---- moving --------------------------------------------------------------------------------- */

/*
 * Into as many buffers as it takes, behind those of the batch, which are then in it. False: there
 * are not enough.
 */
static bool scatter(struct world *w, struct wb_ring *rx, struct batch *x, const uint8_t *frame,
		    uint64_t number)
{
	struct wb *b = &w->b;
	uint32_t done = 0;
	uint16_t k = 0;
	uint8_t *first = NULL;
	unsigned slots = 0;

	while (done < FRAME) {
		struct buf *buf = &x->buf[x->n + k];
		uint8_t *to;

		if (x->n + k == BATCH || !look(b, rx, x->slots + slots, buf))
			return false;
		to = wb_at_guest(b, buf->part[0].addr, buf->part[0].len);
		buf->wrote = FRAME - done < buf->part[0].len ? FRAME - done : buf->part[0].len;
		buf->number = number;
		if (!to || (k && !has(b, VIRTIO_NET_F_MRG_RXBUF))) {
			world_wrong(w, to ? "a buffer too small" : "a buffer outside the memory");
			return false;
		}
		memcpy(to, frame + done, buf->wrote);
		first = first ? first : to;
		done += buf->wrote;
		slots += buf->slots;
		k++;
	}
	memcpy(first + offsetof(struct virtio_net_hdr_v1, num_buffers), &k, sizeof(k));
	x->n += k;
	x->slots += slots;
	return true;
}

/* Up to BATCH frames: taken, delivered to whom has not had them, given back. */
static bool move(struct world *w, unsigned pair)
{
	struct wb *b = &w->b;
	struct wb_ring *rx = &b->ring[2 * pair], *tx = &b->ring[2 * pair + 1];
	unsigned most = b->torn && !b->spans ? 1 + (unsigned)world_rand(w, BATCH) : 1;
	struct batch from = { .pair = pair }, into = { .pair = pair };
	uint64_t last = b->delivered[pair], number;
	uint8_t frame[FRAME];

	while (from.n < most) {
		struct buf *buf = &from.buf[from.n];

		if (!look(b, tx, from.slots, buf))
			break;
		if (!gather(b, buf, frame)) {
			if (!wb_left(b))	/* of new memory it was not told any more */
				world_wrong(w, "a frame outside the memory");
			return false;
		}
		memcpy(&number, frame + WORLD_HDR, sizeof(number));
		if (number > last && !scatter(w, rx, &into, frame, number))
			break;			/* below: the one before had delivered it */
		from.n++;
		from.slots += buf->slots;
		if (number <= last)
			continue;
		last = number;
		if (!lives_on(w))
			return false;
	}
	from.one = from.n && b->jumps && has(b, VIRTIO_F_IN_ORDER);
	return from.n && !w->wrong[0] && publish(w, rx, &into) && publish(w, tx, &from);
}

/* ---- sleeping ------------------------------------------------------------------------------- */

/* The next buffer of the ring is to be kicked for: the first behind those it has. */
static void want_kick(struct wb *b, const struct wb_ring *r)
{
	bool event = has(b, VIRTIO_RING_F_EVENT_IDX), wrap = r->wrap;
	uint16_t *used = (void *)wb_at_user(b, r->used, 6 + 8u * r->num);
	unsigned at = r->at, n = 0;
	struct buf buf;

	for (; n < r->num && look(b, r, n, &buf); n += buf.slots)
		;
	at += n;
	if (has(b, VIRTIO_F_RING_PACKED)) {
		wrap = at >= r->num ? !wrap : wrap;
		used[0] = (uint16_t)(at % r->num | (wrap ? 0x8000 : 0));
		used[1] = event ? VRING_PACKED_EVENT_FLAG_DESC : VRING_PACKED_EVENT_FLAG_ENABLE;
	} else {
		used[0] = 0;
		if (event)
			used[2 + 4 * r->num] = (uint16_t)at;
	}
}

static bool kicked(const struct wb_ring *r)
{
	uint64_t n;

	return r->kick >= 0 && read(r->kick, &n, sizeof(n)) == sizeof(n);
}

static bool runs(const struct wb *b, unsigned ring)
{
	return b->fd >= 0 && b->ring[ring].started && b->ring[ring].enabled;
}

static void pump(struct world *w, unsigned pair)
{
	struct wb *b = &w->b;
	struct wb_ring *rx = &b->ring[2 * pair], *tx = &b->ring[2 * pair + 1];
	bool woken = kicked(rx), more = kicked(tx);
	unsigned i;

	if (b->asleep[pair] && !woken && !more)
		return;
	b->asleep[pair] = false;
	for (i = 0; i < AT_ONCE; i++)
		if (!runs(b, 2 * pair) || !runs(b, 2 * pair + 1) || !move(w, pair))
			break;
	if (i == AT_ONCE || !b->sleepy || !runs(b, 2 * pair) || !runs(b, 2 * pair + 1))
		return;
	want_kick(b, rx);
	want_kick(b, tx);
	b->asleep[pair] = !move(w, pair) && runs(b, 2 * pair);
}

void wb_pump(struct world *w)
{
	for (unsigned i = 0; i < w->b.pairs; i++)
		pump(w, i);
}
