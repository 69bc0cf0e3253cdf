// SPDX-License-Identifier: Apache-2.0
// tap_send.c - what a pool sends, written by the kernel from where it lies. See tap_lane.h.
// pkg-config: liburing
#include <errno.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "include/backend.h"
#include "sim/backend/tap_impl.h"
#include "sim/core/log.h"

/* A legacy pod's header is cut off its first view, and has two bytes behind it. */
#define IOVS_MAX (BATCH_SEGS + 3 * TAP_BURST)

struct tap_out {
	struct batch batch;
	unsigned iovs;
	struct iovec iov[IOVS_MAX];
	int got[TAP_BURST];
};

struct tap_out *tap_out_new(void)
{
	struct tap_out *o = aligned_alloc(64, (sizeof(*o) + 63) / 64 * 64);

	if (o)
		o->batch.n = o->iovs = 0;
	return o;
}

void tap_out_free(struct tap_out *o)
{
	free(o);
}

static void iov_add(struct tap_out *o, const void *base, size_t len)
{
	if (len)
		o->iov[o->iovs++] = (struct iovec){ (void *)(uintptr_t)base, len };
}

/* The frame's views as the kernel takes them; how many. */
static unsigned iov_frame(struct tap_out *o, const struct frame *f, unsigned hdr_len)
{
	static const uint8_t num_buffers[2];
	unsigned first = o->iovs;
	uint32_t hdr = hdr_len < TAP_HDR ? hdr_len : 0;	/* left to go before it is filled up */

	for (unsigned i = 0; i < f->nsegs; i++) {
		const struct seg *s = &f->segs[i];
		uint32_t part = s->len < hdr ? s->len : hdr;

		iov_add(o, s->base, part);
		if (part && part == hdr)
			iov_add(o, num_buffers, TAP_HDR - hdr_len);
		iov_add(o, s->base + part, s->len - part);
		hdr -= part;
	}
	return o->iovs - first;
}

static void write_ring(struct tap_lane *l, unsigned n, unsigned hdr_len)
{
	struct tap_out *o = l->out;

	for (unsigned i = 0; i < n; i++) {
		struct io_uring_sqe *s = io_uring_get_sqe(&l->k->in);
		const struct frame *f = &o->batch.frame[i];
		bool whole = f->nsegs == 1 && hdr_len == TAP_HDR;
		int region = whole ? tap_lane_region(l, f->segs) : -1;

		if (region >= 0) {
			io_uring_prep_write_fixed(s, l->k->fd, f->segs->base, f->segs->len, 0,
						  region);
		} else {
			struct iovec *first = &o->iov[o->iovs];

			io_uring_prep_writev(s, l->k->fd, first, iov_frame(o, f, hdr_len), 0);
			port_tally(&l->count.sent_in_parts, 1);
		}
		tap_aim(l->t, l->k, s);
		io_uring_sqe_set_data64(s, i);
	}
	tap_enter(l->k, n, o->got);
	if (o->got[0] == -EOPNOTSUPP)
		l->t->rw_flags = 0;
}

static void write_each(struct tap_lane *l, unsigned n, unsigned hdr_len)
{
	struct tap_out *o = l->out;

	for (unsigned i = 0; i < n; i++) {
		struct iovec *first = &o->iov[o->iovs];
		unsigned iovs = iov_frame(o, &o->batch.frame[i], hdr_len);
		ssize_t len = writev(l->k->fd, first, (int)iovs);

		o->got[i] = len < 0 ? -errno : (int)len;
	}
	port_tally(&l->count.sent_in_parts, n);
}

static uint64_t judged(const struct tap_lane *l)
{
	return __atomic_load_n(&vmdq_shared(l->t->vmdq)->row[l->q].l2.frames, __ATOMIC_ACQUIRE);
}

/*
 * Somebody took our program off the interface, moved that elsewhere, or lets another CPU look at
 * the frames later: nothing that was not judged is to follow.
 */
static void stop_sending(struct tap_lane *l)
{
	port_store(l->t->lost, true);
	port_store(l->lane.sends, false);
	log_warn(l->t->p.name, "event=not-judged port=%s: the kernel does not run our program on "
		 "its frames any more; they go through the switch", l->to->name);
}

unsigned tap_lane_send(struct lane *lane, unsigned q)
{
	struct tap_lane *l = (struct tap_lane *)lane;
	struct batch *b = &l->out->batch;
	unsigned hdr_len = TAP_HDR, n = vus_lift(l->to, q, b, TAP_BURST, &hdr_len), done = 0;
	uint64_t before = judged(l);

	if (n) {
		tap_lane_register(l);
		l->out->iovs = 0;
		if (l->k->ringed)
			write_ring(l, n, hdr_len);
		else
			write_each(l, n, hdr_len);
	}
	for (unsigned i = 0; i < n; i++) {
		if (l->out->got[i] >= 0)
			done++;
		else
			tap_failed(l->k->row, l->out->got[i]);
	}
	/* An empty batch too: its ring entries may have held nothing but bad chains. */
	l->to->ops->release(l->to, q, b);
	port_tally(&l->count.sent, done);
	port_tally(&l->count.send_failed, n - done);
	if (judged(l) - before < done)
		stop_sending(l);
	return n;
}
