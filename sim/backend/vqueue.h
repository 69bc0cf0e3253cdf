/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vqueue.h - a virtqueue of a vhost-user peer, driven in bursts (virtio 1.2, 2.7 and 2.8).
 *
 * The ring is hostile memory. Each word of it is loaded once, into a register, and only that
 * copy is judged and used. A bad chain is handed back and counted; what can only be a broken
 * or lying driver (an index that jumps, a chain without end) stops the ring: it stands still
 * until its peer sets it up anew.
 *
 * A *transmit* ring is taken from, a *receive* ring is given to. Buffers are completed in the
 * order in which they were offered, always, so IN_ORDER can be promised and the ring alone
 * tells where a successor goes on: everything from the used index on.
 *
 * Threads: a ring has one user at a time. A receive ring whose port is given to by several
 * workers takes its lock in vqueue_give(); its owner takes it (vqueue_lock()) to change the ring.
 */
#ifndef SIM_BACKEND_VQUEUE_H
#define SIM_BACKEND_VQUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/backend/port.h"
#include "sim/backend/vmem.h"

#define VQUEUE_NUM_MAX	32768	/* virtio 1.2, 2.7 and 2.8 */
#define VQUEUE_STEPS	1024	/* descriptors looked at for one frame, whatever they say */
#define VQUEUE_FRAME	(FRAME_MAX + 12u)	/* longest frame, with its header */
#define VQUEUE_MERGE	256	/* receive buffers one frame is spread over */

struct vqueue;
struct vqueue_loan;
struct vlog;

/* Where the areas are here, and how they are used. */
struct vqueue_setup {
	void    *desc, *avail, *used;	/* packed: descriptors, driver events, device events */
	uint64_t used_log;		/* guest address of `used` for the dirty log */
	uint16_t num;
	uint64_t features;
	const struct vmem *mem;
	struct vlog *log;		/* dirty log, or NULL */
};

/* Split or packed, in one of the vector widths this machine may have. */
struct vqueue_ops {
	const char *name;
	unsigned (*take)(struct vqueue *r, struct batch *b, unsigned max);
	void     (*release)(struct vqueue *r, struct batch *b);
	/*
	 * As take, but nothing of the frames is read: no head, no hdr; the views begin with the
	 * sender's virtio-net header of hdr_len bytes. For who passes them to a better judge.
	 */
	unsigned (*lift)(struct vqueue *r, struct batch *b, unsigned max);
	unsigned (*give)(struct vqueue *r, struct frame *const *f, unsigned n);
	bool     (*wants_call)(struct vqueue *r);
	bool     (*arm)(struct vqueue *r, bool on);	/* true: something is there already */
	/*
	 * Receive buffers for somebody else to fill, a frame with its header each: plain ones of
	 * at least `least` bytes, in order, as far as there are any. The first n of them, with
	 * got[] bytes in each, are then handed back; the rest stay where they were.
	 */
	unsigned (*lend)(struct vqueue *r, struct vqueue_loan *l, unsigned max, uint32_t least);
	void     (*settle)(struct vqueue *r, const struct vqueue_loan *l, unsigned n);
};

struct vqueue_loan {
	unsigned n;
	bool     odd;			/* something is posted, but not of this kind */
	struct seg to[PORT_BURST];
	uint64_t word[PORT_BURST];	/* the ring's: what is owed for each */
	uint32_t got[PORT_BURST];
};

/* The region used last: nearly every buffer of a ring lies in the same one. */
struct vqueue_hit {
	uint64_t gpa, size;
	uint64_t roomy;			/* below it from gpa on any frame fits */
	uint8_t *host;
};

/* A completed run of descriptors that the peer has not been told of yet. */
struct vqueue_owed {
	uint16_t id;			/* split: head; packed: buffer id; in order: the last */
	uint16_t slots;			/* packed: descriptors; split: buffers */
};

struct vqueue {
	/* read by every burst */
	const struct vqueue_ops *ops;
	uint8_t *desc, *avail, *used;
	const struct vmem *mem;
	struct vqueue_hit hit;
	uint16_t num;
	uint16_t next;			/* to take from the driver */
	uint16_t done;			/* to hand back */
	uint16_t seen;			/* split: the avail index last read */
	bool     next_wrap, done_wrap;	/* packed: lap parities */
	uint8_t  hdr_len;		/* 10 or 12 */
	bool     mergeable, in_order, indirect, event_idx;
	bool     hdr_wanted;		/* transmit: the header may say something */
	bool     shared, armed, running;
	bool     reported;		/* its breaking was told */
	int      broken;		/* -errno that stopped it */
	uint32_t lock;
	uint64_t features;
	struct vlog *log;
	uint64_t used_log;
	/* transmit: taken, not yet released; a circle of num */
	struct vqueue_owed *owed;
	uint16_t owed_head, owed_n;
	/* notification */
	bool     dirty;			/* completed something since the peer was last told */
	uint8_t  patience;		/* rounds it has been waiting for a settled answer */
	uint16_t told;			/* `done` when the peer was last told */
	uint16_t looked;		/* `done` at the last vqueue_due() */
	bool     told_wrap, told_valid;
	bool     transmit;
	uint64_t row[PORT_COUNTERS];
} __attribute__((aligned(64)));

/* A ring that was never started; shared: several threads will give to it. Once. */
void vqueue_init(struct vqueue *r, bool transmit, bool shared);

/*
 * Starts a ring that stands still. base is what SET_VRING_BASE said. Checks sizes and
 * alignment; -EINVAL, -ENOMEM. The areas must be mapped for as long as the ring runs.
 */
int  vqueue_start(struct vqueue *r, const struct vqueue_setup *s, uint32_t base);

/* Nothing of the peer is touched after it. Returns what GET_VRING_BASE answers. */
uint32_t vqueue_stop(struct vqueue *r);

/* Bytes an area takes; 0 for a num that the format does not allow. */
struct vqueue_size {
	uint64_t desc, avail, used;
};
struct vqueue_size vqueue_size(unsigned num, bool packed);

void vqueue_lock(struct vqueue *r);
void vqueue_unlock(struct vqueue *r);

static inline unsigned vqueue_take(struct vqueue *r, struct batch *b, unsigned max)
{
	return r->ops->take(r, b, max);
}

static inline unsigned vqueue_give(struct vqueue *r, struct frame *const *f, unsigned n)
{
	unsigned done;

	if (!r->shared)
		return r->ops->give(r, f, n);
	vqueue_lock(r);
	done = r->ops->give(r, f, n);
	vqueue_unlock(r);
	return done;
}

/* Without the lock: is vqueue_due() worth asking? Whoever gave leaves word behind it. */
static inline bool vqueue_dirty(const struct vqueue *r)
{
	return __atomic_load_n(&r->dirty, __ATOMIC_RELAXED);
}

static inline void vqueue_set_dirty(struct vqueue *r, bool dirty)
{
	__atomic_store_n(&r->dirty, dirty, __ATOMIC_RELAXED);
}

/*
 * Under the lock: should the peer be called for what was completed? *again: ask once more soon,
 * the answer is not settled. After a call was due the next one is due only for what is completed
 * later.
 */
bool vqueue_due(struct vqueue *r, bool *again);

/* The widest variants this machine can run, or those of a given width (16, 32, 64; tests). */
const struct vqueue_ops *vqueue_pick(bool packed, unsigned width);

/* ---- between vqueue.c, vqueue_split.c, vqueue_packed.c and vqueue_chain.c ------------------- */

extern const struct vqueue_ops vqueue_split_ops[3], vqueue_packed_ops[3];

/* A descriptor, copied. */
struct vqueue_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

/*
 * Chains as they are walked: where their bytes are here. A transmit chain is one; a receive
 * frame may need several, whose pieces follow each other in seg[].
 */
struct vqueue_chains {
	unsigned n;			/* whole chains */
	unsigned nsegs, slots;
	unsigned steps;			/* descriptors looked at, the empty ones too */
	uint64_t len;			/* bytes in seg[0 .. nsegs) */
	struct {
		uint16_t id, slots, end;	/* end: the segment behind its last */
		uint32_t written;
	} chain[VQUEUE_MERGE];
	struct seg seg[FRAME_SEGS];
	uint64_t gpa[FRAME_SEGS];	/* of each, for the dirty log */
};

/* Adds what a descriptor points at. 0, or -EINVAL: wrong direction, unmapped, too much. */
int vqueue_chain_add(struct vqueue *r, struct vqueue_chains *c, const struct vqueue_desc *d);
/* Adds all of an indirect table. */
int vqueue_chain_table(struct vqueue *r, struct vqueue_chains *c, const struct vqueue_desc *d,
		      bool packed);

/* Makes the next frame of the batch of a transmit chain, or drops and counts it. */
void vqueue_frame_in(struct vqueue *r, struct batch *b, const struct vqueue_chains *c);

/* The same without a look at it: as its views are. */
void vqueue_frame_lift(struct vqueue *r, struct batch *b, const struct vqueue_chains *c);

/* Closes the gaps that frames of length 0 are, from one on. */
void vqueue_close_gaps(struct batch *b, unsigned from);

/* The n oldest entries that are owed, forgotten: their slots, and the last one's id. */
unsigned vqueue_settle(struct vqueue *r, unsigned n, uint16_t *last_id);

/* An empty set of chains (an initialiser would clear kilobytes). */
static inline void vqueue_chains_init(struct vqueue_chains *c)
{
	c->n = c->nsegs = c->slots = c->steps = 0;
	c->len = 0;
}

/* Writes header and frame into chains that have room for both; sets `written`. */
void vqueue_frame_out(struct vqueue *r, struct vqueue_chains *c, const struct frame *f);

/* [gpa, gpa + len) here, by the table; remembers the region. NULL. */
uint8_t *vqueue_at(struct vqueue *r, uint64_t gpa, uint64_t len);

/* memcpy() of what is behind the head of a frame, in registers of each width. */
void vqueue_copy_16(void *dst, const void *src, size_t n);
void vqueue_copy_32(void *dst, const void *src, size_t n);
void vqueue_copy_64(void *dst, const void *src, size_t n);

/* Counts n frames dropped for one cause; returns n. */
unsigned vqueue_drop(struct vqueue *r, enum port_counter why, unsigned n);

/* Stops the ring for what it contained. */
void vqueue_break(struct vqueue *r, int why);

#endif
