// SPDX-License-Identifier: Apache-2.0
/*
 * vqueue_split.c - the split virtqueue in bursts (virtio 1.2, 2.7).
 *
 * A burst is done in stages, so that the cache misses of all its packets overlap: read the heads
 * and prefetch their descriptors, read those and prefetch the buffers, copy, hand back with one
 * store of the used index. The driver's index is read again only when what it said last time is
 * used up. One lie makes the rest of the ring worthless: an index further ahead than the ring is
 * long, a head that is no descriptor. It stops the ring.
 */
#include <errno.h>
#include <linux/virtio_ring.h>

#include "sim/backend/vlog.h"
#include "sim/backend/vqueue_hot.h"

#define SHAPE (VRING_DESC_F_NEXT | VRING_DESC_F_WRITE | VRING_DESC_F_INDIRECT)

_Static_assert(sizeof(struct vring_used_elem) == 8, "2.7.8");
_Static_assert(offsetof(struct vring_desc, flags) == 12, "2.7.5");

HOT uint64_t *desc_of(const struct vqueue *r, unsigned i)
{
	return (uint64_t *)(void *)(r->desc + 16ull * i);
}

HOT const uint8_t *avail_of(const struct vqueue *r, unsigned i)
{
	return r->avail + 4 + 2ull * i;		/* [num]: used_event */
}

/* Only 4-aligned; what makes it visible is the index. */
HOT u64_any *used_of(const struct vqueue *r, unsigned i)
{
	return (u64_any *)(void *)(r->used + 4 + 8ull * i);	/* [num]: avail_event */
}

static void log_used(struct vqueue *r, unsigned i, unsigned n)
{
	if (!r->log || !r->used_log)
		return;
	for (unsigned k = 0; k < n; k++)
		vlog_mark(r->log, r->used_log + 4 + 8ull * ((i + k) & (r->num - 1u)), 8);
	vlog_mark(r->log, r->used_log, 4);
}

/* How many chains are offered, at least `want` if the driver has them. */
HOT unsigned offered(struct vqueue *r, unsigned want)
{
	unsigned n = (uint16_t)(r->seen - r->next);

	if (n >= want)
		return n;
	r->seen = load16(r->avail + 2);
	n = (uint16_t)(r->seen - r->next);
	if (unlikely(n > r->num)) {
		vqueue_break(r, -EINVAL);
		return 0;
	}
	return n;
}

/* A descriptor in two loads; the word of (length, flags, next) first. */
HOT void load_desc(const uint64_t *p, struct vqueue_desc *d)
{
	uint64_t word = load64(p + 1);

	d->addr = load64(p);
	d->len = (uint32_t)word;
	d->flags = (uint16_t)(word >> 32);
	d->next = (uint16_t)(word >> 48);
}

/* Walks the chain at `head` and adds its bytes. 0, -EINVAL: a bad chain. */
static int walk(struct vqueue *r, struct vqueue_chains *c, uint16_t head)
{
	unsigned i = head, max = r->num < VQUEUE_STEPS ? r->num : VQUEUE_STEPS;
	struct vqueue_desc d;
	int rc = -EINVAL;

	if (c->n == VQUEUE_MERGE)
		return -EINVAL;
	for (unsigned steps = 0; steps < max && i < r->num; steps++) {
		load_desc(desc_of(r, i), &d);
		if (d.flags & VRING_DESC_F_INDIRECT) {
			rc = vqueue_chain_table(r, c, &d, false);
			break;
		}
		rc = vqueue_chain_add(r, c, &d);
		if (rc < 0 || !(d.flags & VRING_DESC_F_NEXT))
			break;
		i = d.next;
		rc = -EINVAL;
	}
	c->chain[c->n].id = head;
	c->chain[c->n].slots = 1;
	c->chain[c->n].end = (uint16_t)c->nsegs;
	c->slots++;
	c->n++;
	return rc;
}

/* The next n heads, their descriptors prefetched; fewer if one is no descriptor. */
HOT unsigned heads(struct vqueue *r, uint16_t *head, unsigned n, uint16_t from)
{
	const unsigned num = r->num;

	for (unsigned k = 0; k < n; k++) {
		head[k] = load16(avail_of(r, (from + k) & (num - 1u)));
		if (unlikely(head[k] >= num)) {
			vqueue_break(r, -EINVAL);
			return k;
		}
		fetch(desc_of(r, head[k]));
	}
	return n;
}

/* ---- transmit: from the driver -------------------------------------------------------------- */

static bool take_chain(struct vqueue *r, struct batch *b, uint16_t head, bool open)
{
	struct vqueue_chains c;

	if (b->segs_used + FRAME_SEGS > BATCH_SEGS)
		return false;
	vqueue_chains_init(&c);
	if (walk(r, &c, head) < 0)
		port_tally(&r->row[PORT_IN_CHAIN], 1);
	else
		(open ? vqueue_frame_in : vqueue_frame_lift)(r, b, &c);
	vqueue_toil(b, &c);
	owe(r, b, head, 1);
	return true;
}

/*
 * As many of the n heads as are plain frames, noted and opened; their descriptors were
 * prefetched.
 */
HOT unsigned take_run(struct vqueue *r, struct batch *b, const uint16_t *head, unsigned n,
		      const unsigned W)
{
	const unsigned hdr = r->hdr_len;
	const bool hdr_wanted = r->hdr_wanted, in_order = r->in_order;
	struct frame *f = &b->frame[b->n];
	struct vqueue_hit hit = r->hit;
	unsigned run = 0;

	for (; run < n; run++) {
		struct vqueue_desc d;
		uint8_t *host;

		load_desc(desc_of(r, head[run]), &d);
		if (unlikely((d.flags & SHAPE) ||
			     d.len - (hdr + FRAME_MIN) > FRAME_MAX - FRAME_MIN))
			break;
		host = at(r, &hit, d.addr, d.len);
		if (unlikely(!host))
			break;
		frame_note(f + run, host, d.len, hdr, hdr_wanted, W);
		if (!in_order)
			owe(r, b, head[run], 1);
	}
	if (!run)
		return 0;
	if (in_order)
		owe(r, b, head[run - 1], (uint16_t)run);
	frames_open(r, b, run, W);
	return run;
}

HOT unsigned take(struct vqueue *r, struct batch *b, unsigned max, const unsigned W)
{
	uint16_t head[PORT_BURST];
	unsigned n, k = 0;

	b->n = b->segs_used = b->entries = 0;
	if (unlikely(!r->running || r->broken))
		return 0;
	max = owe_room(r, max);
	n = offered(r, max);
	n = heads(r, head, n < max ? n : max, r->next);
	while (k < n) {
		k += take_run(r, b, head + k, n - k, W);
		if (k < n && !take_chain(r, b, head[k++], W)) {
			k--;
			break;
		}
	}
	r->next = (uint16_t)(r->next + k);
	return b->n;
}

HOT void publish(struct vqueue *r, unsigned n)
{
	log_used(r, r->done, n);
	r->done = (uint16_t)(r->done + n);
	__atomic_store_n((uint16_t *)(void *)(r->used + 2), r->done, __ATOMIC_RELEASE);
	vqueue_set_dirty(r, true);
}

/* 2.7.13: in order, one used element for the last buffer speaks for the whole batch. */
static void release(struct vqueue *r, struct batch *b)
{
	unsigned n = b->entries < r->owed_n ? b->entries : r->owed_n;
	unsigned done = 0;
	uint16_t id = 0;

	b->n = b->entries = 0;
	if (!n || !r->running)
		return;
	while (n) {
		unsigned run = r->in_order ? n : 1;
		unsigned slots = vqueue_settle(r, run, &id);

		*used_of(r, (r->done + done) & (r->num - 1u)) = id;
		done += slots;
		n -= run;
	}
	publish(r, done);
}

/* ---- receive: to the driver ----------------------------------------------------------------- */

static void hand_back(struct vqueue *r, const struct vqueue_chains *c, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		*used_of(r, (r->done + k) & (r->num - 1u)) =
			c->chain[k].id | (uint64_t)c->chain[k].written << 32;
	r->next = (uint16_t)(r->next + n);
	publish(r, n);
}

static void hand_back_empty(struct vqueue *r, struct vqueue_chains *c)
{
	for (unsigned k = 0; k < c->n; k++)
		c->chain[k].written = 0;
	hand_back(r, c, c->n);
}

/* Collects chains until there is room for `need` bytes; says why there is not. */
static enum port_counter reserve(struct vqueue *r, struct vqueue_chains *c, uint64_t need)
{
	vqueue_chains_init(c);
	do {
		uint16_t head;
		int rc;

		if (offered(r, c->n + 1) <= c->n)
			return PORT_OUT_FULL;
		head = load16(avail_of(r, (r->next + c->n) & (r->num - 1u)));
		if (head >= r->num) {
			vqueue_break(r, -EINVAL);
			return PORT_OUT_CHAIN;
		}
		rc = walk(r, c, head);
		/*
		 * A bad chain goes back empty, and those before it: they would lead to it again
		 * with every frame. The header is not split over buffers.
		 */
		if (rc < 0 || (c->n == 1 && c->len < r->hdr_len)) {
			hand_back_empty(r, c);
			return PORT_OUT_CHAIN;
		}
		if (!r->mergeable && c->len < need)
			return PORT_OUT_SMALL;
	} while (c->len < need && c->n < VQUEUE_MERGE);
	return c->len < need ? PORT_OUT_SMALL : PORT_OUT_FRAMES;
}

static enum port_counter give_one(struct vqueue *r, const struct frame *f)
{
	enum port_counter why;
	struct vqueue_chains c;

	if (port_needs(&f->hdr) & ~r->features)
		return PORT_OUT_OFFLOAD;
	why = reserve(r, &c, (uint64_t)r->hdr_len + f->len);
	if (why == PORT_OUT_FRAMES) {
		vqueue_frame_out(r, &c, f);
		hand_back(r, &c, c.n);
		port_tally(&r->row[PORT_OUT_BYTES], f->len);
	}
	return why;
}

/* As many frames as find a plain descriptor of their own. */
HOT unsigned give_run(struct vqueue *r, struct frame *const *f, unsigned n, const unsigned W)
{
	const unsigned hdr = r->hdr_len, mask = r->num - 1u;
	unsigned run, have = offered(r, n);
	struct vqueue_hit hit = r->hit;
	uint16_t head[PORT_BURST];
	struct landing l;

	n = heads(r, head, n < have ? n : have, r->next);
	for (unsigned k = 0; k < n; k += 8)
		fetch_own(used_of(r, (r->done + k) & mask));
	for (run = 0; run < n; run++) {
		uint32_t need = f[run]->len + hdr;
		struct vqueue_desc d;
		uint8_t *host;

		load_desc(desc_of(r, head[run]), &d);
		if (unlikely((d.flags & SHAPE) != VRING_DESC_F_WRITE || d.len < need ||
			     !frame_plain(f[run])))
			break;
		host = at(r, &hit, d.addr, need);
		if (unlikely(!host))
			break;
		landing_fetch(host, hdr);
		l.to[run] = host;
		l.word[run] = head[run] | (uint64_t)need << 32;
	}
	if (!run)
		return 0;
	landing_write(r, &l, f, run, W);
	for (unsigned k = 0; k < run; k++)
		*used_of(r, (r->done + k) & mask) = l.word[k];
	r->next = (uint16_t)(r->next + run);
	publish(r, run);
	return run;
}

HOT unsigned give(struct vqueue *r, struct frame *const *f, unsigned n, const unsigned W)
{
	unsigned i = 0, lost = 0;

	while (i < n && r->running && !r->broken) {
		enum port_counter why;

		if (likely(!r->log))
			i += give_run(r, f + i, n - i, W);
		if (i == n || r->broken)
			break;
		why = give_one(r, f[i]);
		port_tally(&r->row[why], 1);
		lost += why != PORT_OUT_FRAMES;
		i++;
		if (why == PORT_OUT_FULL) {
			lost += vqueue_drop(r, why, n - i);
			i = n;
		}
	}
	lost += vqueue_drop(r, PORT_OUT_DOWN, n - i);
	return n - lost;
}

/* ---- receive buffers lent to somebody who fills them ---------------------------------------- */

static unsigned lend(struct vqueue *r, struct vqueue_loan *l, unsigned max, uint32_t least)
{
	unsigned n, have = offered(r, max);
	struct vqueue_hit hit = r->hit;
	uint16_t head[PORT_BURST];

	l->n = 0;
	n = heads(r, head, max < have ? max : have, r->next);
	for (; l->n < n; l->n++) {
		struct vqueue_desc d;
		uint8_t *host;

		load_desc(desc_of(r, head[l->n]), &d);
		if ((d.flags & SHAPE) != VRING_DESC_F_WRITE || d.len < least)
			break;
		d.len = d.len < VQUEUE_FRAME ? d.len : VQUEUE_FRAME;
		host = at(r, &hit, d.addr, d.len);
		if (!host)
			break;
		l->to[l->n] = (struct seg){ host, d.len };
		l->word[l->n] = head[l->n];
	}
	l->odd = n && !l->n;
	return l->n;
}

static void settle(struct vqueue *r, const struct vqueue_loan *l, unsigned n)
{
	for (unsigned k = 0; k < n; k++)
		*used_of(r, (r->done + k) & (r->num - 1u)) =
			l->word[k] | (uint64_t)l->got[k] << 32;
	r->next = (uint16_t)(r->next + n);
	publish(r, n);
}

/* ---- notification --------------------------------------------------------------------------- */

static bool wants_call(struct vqueue *r)
{
	if (!r->event_idx)
		return !(load16(r->avail) & VRING_AVAIL_F_NO_INTERRUPT);
	if (!r->told_valid)
		return true;
	return vring_need_event(load16(avail_of(r, r->num)), r->done, r->told);
}

static bool arm(struct vqueue *r, bool on)
{
	uint16_t *flags = (uint16_t *)(void *)r->used;
	uint16_t *event = (uint16_t *)(void *)used_of(r, r->num);

	r->armed = on;
	if (!r->event_idx)
		__atomic_store_n(flags, on ? 0 : VRING_USED_F_NO_NOTIFY, __ATOMIC_RELEASE);
	else if (on)
		__atomic_store_n(event, r->next, __ATOMIC_RELEASE);
	if (!on || r->broken)
		return false;
	/* Pairs with the driver's barrier between its index and its look at the flags. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return offered(r, 1) > 0;
}

WIDTHS(split);
