// SPDX-License-Identifier: Apache-2.0
/*
 * vqueue_packed.c - the packed virtqueue in bursts (virtio 1.2, 2.8).
 *
 * A descriptor is two words: the address, and (length, id, flags). The second is loaded first
 * and says whether the descriptor is ours; the first is loaded behind it. Both go through
 * registers only. Handing back is one store of the second word.
 *
 * A burst is done in stages, so that the cache misses of all its packets overlap: read the
 * descriptors and prefetch the buffers, copy, hand back. The driver polls the first descriptor:
 * it is written last.
 */
#include <errno.h>
#include <linux/virtio_ring.h>

#include "sim/backend/vlog.h"
#include "sim/backend/vqueue_hot.h"

#define F_NEXT		((uint64_t)VRING_DESC_F_NEXT << 48)
#define F_WRITE		((uint64_t)VRING_DESC_F_WRITE << 48)
#define F_INDIRECT	((uint64_t)VRING_DESC_F_INDIRECT << 48)
#define F_ID		(0xffffull << 32)
#define F_SHAPE		(F_NEXT | F_WRITE | F_INDIRECT)
#define F_AVAIL		(1ull << (48 + VRING_PACKED_DESC_F_AVAIL))
#define F_USED		(1ull << (48 + VRING_PACKED_DESC_F_USED))

struct slot {
	uint64_t addr;
	uint64_t word;			/* length:32 id:16 flags:16 */
};

_Static_assert(sizeof(struct slot) == sizeof(struct vring_packed_desc), "2.8.13");

/* A position in the ring and its lap's parity. */
struct pos {
	uint16_t i;
	bool     wrap;
};

HOT void step(struct pos *p, unsigned n, uint16_t num)
{
	unsigned i = p->i + n;

	if (i >= num) {
		i -= num;
		p->wrap = !p->wrap;
	}
	p->i = (uint16_t)i;
}

HOT bool is_avail(uint64_t word, bool wrap)
{
	return (word & (F_AVAIL | F_USED)) == (wrap ? F_AVAIL : F_USED);
}

HOT uint64_t used_word(uint64_t len, uint16_t id, bool wrap)
{
	return len | (uint64_t)id << 32 | (wrap ? F_AVAIL | F_USED : 0);
}

HOT struct slot *slot_of(const struct vqueue *r, uint16_t i)
{
	return (struct slot *)(void *)r->desc + i;
}

static void log_slot(struct vqueue *r, uint16_t i)
{
	if (r->log && r->used_log)
		vlog_mark(r->log, r->used_log + 16ull * i, 16);
}

/*
 * Walks the chain at *p, whose first descriptor is available, and adds its bytes. Moves *p
 * behind it. 0, -EINVAL: a bad chain, whole; -ELOOP: it does not end, and nobody can tell where
 * the next one starts.
 */
static int walk(struct vqueue *r, struct vqueue_chains *c, struct pos *p)
{
	unsigned slots = 0, max = r->num < VQUEUE_STEPS ? r->num : VQUEUE_STEPS;
	struct pos at = *p;
	uint64_t word;
	int rc = 0;

	if (c->n == VQUEUE_MERGE)
		return -EINVAL;
	do {
		struct slot *s = slot_of(r, at.i);
		struct vqueue_desc d;

		if (++slots > max)
			return -ELOOP;
		word = load64(&s->word);
		d = (struct vqueue_desc){ .addr = load64(&s->addr), .len = (uint32_t)word,
					 .flags = (uint16_t)(word >> 48) };
		if (rc == 0 && !(word & F_INDIRECT))
			rc = vqueue_chain_add(r, c, &d);
		else if (rc == 0)
			rc = slots == 1 ? vqueue_chain_table(r, c, &d, true) : -EINVAL;
		step(&at, 1, r->num);
	} while (word & F_NEXT);
	c->chain[c->n].id = (uint16_t)(word >> 32);
	c->chain[c->n].slots = (uint16_t)slots;
	c->chain[c->n].end = (uint16_t)c->nsegs;
	c->slots += slots;
	c->n++;
	*p = at;
	return rc;
}

/* ---- transmit: from the driver -------------------------------------------------------------- */

/* One chain of any shape; false: the burst ends here. */
static bool take_chain(struct vqueue *r, struct batch *b, struct pos *p, bool open)
{
	struct vqueue_chains c;
	int rc;

	if (b->segs_used + FRAME_SEGS > BATCH_SEGS)
		return false;
	vqueue_chains_init(&c);
	rc = walk(r, &c, p);
	if (rc == -ELOOP) {
		vqueue_break(r, rc);
		return false;
	}
	owe(r, b, c.chain[0].id, c.chain[0].slots);
	if (rc < 0)
		port_tally(&r->row[PORT_IN_CHAIN], 1);
	else
		(open ? vqueue_frame_in : vqueue_frame_lift)(r, b, &c);
	vqueue_toil(b, &c);
	return true;
}

/* Slots from p to the end of the ring, n at most: a run does not wrap. */
HOT unsigned before_wrap(const struct vqueue *r, const struct pos *p, unsigned n)
{
	unsigned left = (unsigned)r->num - p->i;

	return n < left ? n : left;
}

/* As many frames as are plain, up to max; 0: none, or something else is next. */
HOT unsigned take_run(struct vqueue *r, struct batch *b, unsigned max, const unsigned W)
{
	struct pos p = { r->next, r->next_wrap };
	const uint64_t plain = p.wrap ? F_AVAIL : F_USED;
	const struct slot *s = slot_of(r, p.i), *end = s + before_wrap(r, &p, max);
	const bool hdr_wanted = r->hdr_wanted, in_order = r->in_order;
	struct frame *f = &b->frame[b->n];
	struct vqueue_hit hit = r->hit;
	const unsigned hdr = r->hdr_len;
	uint64_t word = 0, last = 0;
	unsigned n;

	for (; s < end; s++, f++) {
		uint32_t len;
		uint8_t *host;

		/* Ours, and neither chained nor written nor indirect, in one comparison. */
		word = load64(&s->word);
		if (unlikely((word & (F_AVAIL | F_USED | F_SHAPE)) != plain))
			break;
		len = (uint32_t)word;
		if (unlikely(len - (hdr + FRAME_MIN) > FRAME_MAX - FRAME_MIN))
			break;
		host = at(r, &hit, load64(&s->addr), len);
		if (unlikely(!host))
			break;
		frame_note(f, host, len, hdr, hdr_wanted, W);
		if (!in_order)
			owe(r, b, (uint16_t)(word >> 32), 1);
		last = word;
	}
	n = (unsigned)(f - &b->frame[b->n]);
	if (!n)
		return 0;
	if (in_order)
		owe(r, b, (uint16_t)(last >> 32), (uint16_t)n);
	step(&p, n, r->num);
	r->next = p.i;
	r->next_wrap = p.wrap;
	frames_open(r, b, n, W);
	return n;
}

HOT unsigned take(struct vqueue *r, struct batch *b, unsigned max, const unsigned W)
{
	unsigned n = 0;

	b->n = b->segs_used = b->entries = 0;
	if (unlikely(!r->running || r->broken))
		return 0;
	max = owe_room(r, max);
	while (n < max) {
		unsigned run = take_run(r, b, max - n, W);
		struct pos p = { r->next, r->next_wrap };

		n += run;
		if (n == max || (run && p.i == 0))
			continue;
		if (likely(!is_avail(load64(&slot_of(r, p.i)->word), p.wrap)) ||
		    !take_chain(r, b, &p, W))
			break;
		r->next = p.i;
		r->next_wrap = p.wrap;
		n++;
	}
	return b->n;
}

/* 2.8.9: in order, one used descriptor at the first position speaks for the whole batch. */
static void release(struct vqueue *r, struct batch *b)
{
	unsigned n = b->entries < r->owed_n ? b->entries : r->owed_n;
	struct pos p = { r->done, r->done_wrap }, first = p;
	uint64_t first_word = 0;
	uint16_t id = 0;

	b->n = b->entries = 0;
	if (!n || !r->running || r->broken)
		return;
	for (unsigned left = n; left; ) {
		unsigned run = r->in_order ? left : 1;
		unsigned slots = vqueue_settle(r, run, &id);
		uint64_t word = used_word(0, id, p.wrap);

		if (left == n)
			first_word = word;
		else
			__atomic_store_n(&slot_of(r, p.i)->word, word, __ATOMIC_RELEASE);
		log_slot(r, p.i);
		step(&p, slots, r->num);
		left -= run;
	}
	__atomic_store_n(&slot_of(r, first.i)->word, first_word, __ATOMIC_RELEASE);
	r->done = p.i;
	r->done_wrap = p.wrap;
	vqueue_set_dirty(r, true);
}

/* ---- receive: to the driver ----------------------------------------------------------------- */

static void advance(struct vqueue *r, struct pos p)
{
	r->next = r->done = p.i;
	r->next_wrap = r->done_wrap = p.wrap;
	vqueue_set_dirty(r, true);
}

/* Hands back n chains, the first one last. */
static void hand_back(struct vqueue *r, const struct vqueue_chains *c, unsigned n)
{
	struct pos p = { r->next, r->next_wrap }, first = p;

	for (unsigned k = 0; k < n; k++) {
		uint64_t word = used_word(c->chain[k].written, c->chain[k].id, p.wrap);

		if (k)
			__atomic_store_n(&slot_of(r, p.i)->word, word, __ATOMIC_RELEASE);
		log_slot(r, p.i);
		step(&p, c->chain[k].slots, r->num);
	}
	__atomic_store_n(&slot_of(r, first.i)->word,
			 used_word(c->chain[0].written, c->chain[0].id, first.wrap),
			 __ATOMIC_RELEASE);
	advance(r, p);
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
	struct pos p = { r->next, r->next_wrap };

	vqueue_chains_init(c);
	do {
		int rc;

		if (c->slots >= r->num || !is_avail(load64(&slot_of(r, p.i)->word), p.wrap))
			return PORT_OUT_FULL;
		rc = walk(r, c, &p);
		if (rc == -ELOOP) {
			vqueue_break(r, rc);
			return PORT_OUT_CHAIN;
		}
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

/* As many frames as find a plain descriptor of their own before the ring wraps. */
HOT unsigned give_run(struct vqueue *r, struct frame *const *f, unsigned n, const unsigned W)
{
	struct pos p = { r->next, r->next_wrap };
	const uint64_t plain = (p.wrap ? F_AVAIL : F_USED) | F_WRITE;
	const uint64_t used = p.wrap ? F_AVAIL | F_USED : 0;
	struct slot *const first = slot_of(r, p.i);
	struct vqueue_hit hit = r->hit;
	const unsigned hdr = r->hdr_len;
	struct landing l;
	unsigned k;

	n = before_wrap(r, &p, n);
	for (k = 0; k < n; k++) {
		const struct frame *fr = f[k];
		uint32_t need = fr->len + hdr;
		uint64_t word = load64(&first[k].word);
		uint8_t *host;

		if (unlikely((word & (F_AVAIL | F_USED | F_SHAPE)) != plain ||
			     (uint32_t)word < need || !frame_plain(fr)))
			break;
		host = at(r, &hit, load64(&first[k].addr), need);
		if (unlikely(!host))
			break;
		landing_fetch(host, hdr);
		l.to[k] = host;
		l.word[k] = (word & F_ID) | need | used;
	}
	if (!k)
		return 0;
	landing_write(r, &l, f, k, W);
	for (unsigned i = 1; i < k; i++)
		__atomic_store_n(&first[i].word, l.word[i], __ATOMIC_RELEASE);
	__atomic_store_n(&first->word, l.word[0], __ATOMIC_RELEASE);
	step(&p, k, r->num);
	advance(r, p);
	return k;
}

HOT unsigned give(struct vqueue *r, struct frame *const *f, unsigned n, const unsigned W)
{
	unsigned i = 0, lost = 0;

	while (i < n && r->running && !r->broken) {
		enum port_counter why;

		if (likely(!r->log)) {
			unsigned run = give_run(r, f + i, n - i, W);

			i += run;
			if (run && r->next == 0)
				continue;
		}
		if (i == n)
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
	struct pos p = { r->next, r->next_wrap };
	const uint64_t plain = (p.wrap ? F_AVAIL : F_USED) | F_WRITE;
	struct slot *const first = slot_of(r, p.i);
	struct vqueue_hit hit = r->hit;

	max = before_wrap(r, &p, max);
	l->odd = false;
	for (l->n = 0; l->n < max; l->n++) {
		uint64_t word = load64(&first[l->n].word);
		uint32_t len = (uint32_t)word < VQUEUE_FRAME ? (uint32_t)word : VQUEUE_FRAME;
		uint8_t *host;

		l->odd = !l->n && is_avail(word, p.wrap);
		if ((word & (F_AVAIL | F_USED | F_SHAPE)) != plain || len < least)
			break;
		host = at(r, &hit, load64(&first[l->n].addr), len);
		if (!host)
			break;
		l->odd = false;
		l->to[l->n] = (struct seg){ host, len };
		l->word[l->n] = (word & F_ID) | (p.wrap ? F_AVAIL | F_USED : 0);
	}
	return l->n;
}

static void settle(struct vqueue *r, const struct vqueue_loan *l, unsigned n)
{
	struct pos p = { r->next, r->next_wrap };
	struct slot *const first = slot_of(r, p.i);

	for (unsigned k = n; k-- > 0; )
		__atomic_store_n(&first[k].word, l->word[k] | l->got[k], __ATOMIC_RELEASE);
	step(&p, n, r->num);
	advance(r, p);
}

/* ---- notification --------------------------------------------------------------------------- */

/* 2.8.10: has `done` passed the descriptor the driver waits for? */
static bool passed(const struct vqueue *r, uint16_t off_wrap)
{
	uint16_t event = off_wrap & 0x7fff, old = r->told;

	if (!r->told_valid)
		return true;
	if (off_wrap >> 15 != r->done_wrap)
		event = (uint16_t)(event - r->num);
	if (r->told_wrap != r->done_wrap)
		old = (uint16_t)(old - r->num);
	return vring_need_event(event, r->done, old);
}

static bool wants_call(struct vqueue *r)
{
	uint32_t event = __atomic_load_n((uint32_t *)(void *)r->avail, __ATOMIC_ACQUIRE);

	switch (event >> 16 & 3) {
	case VRING_PACKED_EVENT_FLAG_DISABLE:
		return false;
	case VRING_PACKED_EVENT_FLAG_DESC:
		return !r->event_idx || passed(r, (uint16_t)event);
	default:
		return true;
	}
}

static bool arm(struct vqueue *r, bool on)
{
	uint32_t event = VRING_PACKED_EVENT_FLAG_DISABLE << 16;
	uint32_t *at = (uint32_t *)(void *)r->used;

	r->armed = on;
	if (on && r->event_idx)
		event = (uint32_t)r->next | (uint32_t)r->next_wrap << 15 |
			(uint32_t)VRING_PACKED_EVENT_FLAG_DESC << 16;
	else if (on)
		event = (uint32_t)VRING_PACKED_EVENT_FLAG_ENABLE << 16;
	__atomic_store_n(at, event, __ATOMIC_RELEASE);
	if (!on || r->broken)
		return false;
	/* Pairs with the driver's barrier between its descriptor and its look at the flags. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return is_avail(load64(&slot_of(r, r->next)->word), r->next_wrap);
}

WIDTHS(packed);
