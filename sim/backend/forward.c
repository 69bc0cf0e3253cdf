// SPDX-License-Identifier: Apache-2.0
// forward.c - see forward.h.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/forward.h"
#include "sim/backend/offload.h"

#define OUTS_MAX PORT_BURST		/* destinations collected at once */
#define EDITED_MAX PORT_BURST		/* frames of our own at once */
#define NO_OUT 0xff
_Static_assert(PORT_BURST == L2_BURST_MAX, "a batch is decided at once");
_Static_assert(FRAME_HEAD >= L2_HDR_LEN, "the decision sees what take copied out");

struct out {
	uint16_t port, n;
	struct frame *frame[PORT_BURST];
};

struct forward {
	struct l2 *l2;
	struct forward_ports *ports;
	struct forward_counters count;
	struct l2_set touched;
	uint64_t now_ns;
	unsigned queue;
	unsigned outs, edited;
	uint8_t  out_of[L2_PORTS_MAX];		/* index of a port's collection, NO_OUT */
	struct l2_frame view[PORT_BURST];
	struct l2_verdict verdict[PORT_BURST];
	struct l2_set set[PORT_BURST];
	struct out out[OUTS_MAX];
	struct frame own[EDITED_MAX];
	struct offload offload;
	struct batch batch;
};

int forward_new(struct forward **out, struct l2 *l2, struct forward_ports *ports)
{
	struct forward *fw = aligned_alloc(64, (sizeof(*fw) + 63) / 64 * 64);

	if (!fw)
		return -ENOMEM;
	memset(fw, 0, sizeof(*fw));
	fw->l2 = l2;
	fw->ports = ports;
	memset(fw->out_of, NO_OUT, sizeof(fw->out_of));
	*out = fw;
	return 0;
}

void forward_free(struct forward *fw)
{
	free(fw);
}

static void give(struct forward *fw, unsigned dst, struct frame *const *f, unsigned n)
{
	struct port *p = port_load(fw->ports->port[dst]);

	if (!p) {
		port_tally(&fw->count.gone, n);
		return;
	}
	p->ops->give(p, fw->queue, f, n);
	fw->touched.w[dst / 64] |= 1ull << (dst % 64);
}

static void flush_out(struct forward *fw, struct out *o)
{
	if (o->n)
		give(fw, o->port, o->frame, o->n);
	o->n = 0;
}

static void flush_all(struct forward *fw)
{
	for (unsigned i = 0; i < fw->outs; i++) {
		flush_out(fw, &fw->out[i]);
		fw->out_of[fw->out[i].port] = NO_OUT;
	}
	fw->outs = 0;
	fw->edited = 0;
}

static struct out *out_for(struct forward *fw, unsigned dst)
{
	struct out *o;

	if (fw->out_of[dst] != NO_OUT)
		return &fw->out[fw->out_of[dst]];
	if (fw->outs == OUTS_MAX)
		flush_all(fw);
	fw->out_of[dst] = (uint8_t)fw->outs;
	o = &fw->out[fw->outs++];
	o->port = (uint16_t)dst;
	o->n = 0;
	return o;
}

static void collect(struct forward *fw, unsigned dst, struct frame *f)
{
	struct out *o = out_for(fw, dst);

	o->frame[o->n++] = f;
	if (o->n == PORT_BURST)
		flush_out(fw, o);
}

/* The receiver cannot take the offloads the sender used: do them here, in order. */
static void give_fitted(struct forward *fw, unsigned dst, const struct frame *f, uint64_t features)
{
	struct frame *list[PORT_BURST];
	unsigned n = 0;

	flush_out(fw, out_for(fw, dst));
	if (offload_fit(&fw->offload, f, features)) {
		port_tally(&fw->count.unfit, 1);
		return;
	}
	if (fw->offload.n > 1)
		port_tally(&fw->count.segments, fw->offload.n);
	for (unsigned i = 0; i < fw->offload.n; i++) {
		list[n++] = &fw->offload.frame[i];
		if (n < PORT_BURST && i + 1 < fw->offload.n)
			continue;
		give(fw, dst, list, n);
		n = 0;
	}
}

static void send_one(struct forward *fw, unsigned dst, struct frame *f)
{
	struct port *p = port_load(fw->ports->port[dst]);

	if (!p) {
		port_tally(&fw->count.gone, 1);
		return;
	}
	if (l2_shaped(fw->l2, dst) && !l2_out_take(fw->l2, dst, f->len, fw->now_ns)) {
		port_tally(&fw->count.shaped, 1);
		return;
	}
	if (port_accepts(p, f))
		collect(fw, dst, f);
	else
		give_fitted(fw, dst, f, port_load(p->features));
}

static int keep_tag(struct frame *f, uint16_t tci)
{
	(void)f;
	(void)tci;
	return 0;
}

static int pop_tag(struct frame *f, uint16_t tci)
{
	(void)tci;
	return offload_tag_pop(f);
}

static int (*const edit_tag[])(struct frame *f, uint16_t tci) = {
	[L2_KEEP] = keep_tag,
	[L2_POP]  = pop_tag,
	[L2_PUSH] = offload_tag_push,
	[L2_SWAP] = offload_tag_swap,
};

/* A frame of our own with the same bytes, whose head may be edited. */
static struct frame *own_copy(struct forward *fw, const struct frame *f)
{
	struct frame *c;

	if (fw->edited == EDITED_MAX)
		flush_all(fw);
	c = &fw->own[fw->edited++];
	*c = *f;
	if (f->segs == &f->one)
		c->segs = &c->one;
	return c;
}

/* Every member of the set gets the frame; those that want another tag get an edited one. */
static void send_set(struct forward *fw, struct frame *f, const struct l2_frame *view,
		     const struct l2_verdict *v, const struct l2_set *s)
{
	for (unsigned dst = l2_set_next(s, 0); dst < L2_PORTS_MAX; dst = l2_set_next(s, dst + 1)) {
		struct frame *g = f;
		enum l2_edit edit;
		uint16_t tci;

		if (l2_egress(fw->l2, dst, view, v, &edit, &tci))
			continue;
		if (edit != L2_KEEP) {
			g = own_copy(fw, f);
			if (edit_tag[edit](g, tci)) {
				port_tally(&fw->count.unfit, 1);
				continue;
			}
		}
		port_tally(&fw->count.copies, 1);
		send_one(fw, dst, g);
	}
}

/* Where frames that need nothing done to them can be collected without asking again. */
static struct out *plain_out(struct forward *fw, unsigned dst)
{
	if (!port_load(fw->ports->port[dst]) || l2_shaped(fw->l2, dst))
		return NULL;
	return out_for(fw, dst);
}

static void send_frame(struct forward *fw, unsigned i)
{
	const struct l2_verdict *v = &fw->verdict[i];
	struct frame *f = &fw->batch.frame[i];

	if (v->copies)
		send_set(fw, f, &fw->view[i], v, &fw->set[i]);
	if (v->port == L2_NONE)
		return;
	if (v->edit != L2_KEEP) {
		if (v->copies)		/* others may hold the original still */
			f = own_copy(fw, f);
		if (edit_tag[v->edit](f, v->tci)) {
			port_tally(&fw->count.unfit, 1);
			return;
		}
	}
	send_one(fw, v->port, f);
}

/* What a decision may rest on. A frame whose offload fields lie becomes a runt: dropped. */
static void look(struct forward *fw, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		struct frame *f = &fw->batch.frame[i];
		struct l2_frame *view = &fw->view[i];

		view->hdr = f->head;
		view->len = f->len;
		view->wire_len = f->len;
		if (f->hdr.gso_type && offload_judge(f, &view->wire_len)) {
			view->len = 0;
			view->wire_len = UINT32_MAX;
			port_tally(&fw->count.bad_offload, 1);
		}
	}
}

/* Runs of plain frames to one destination are most of what there is. */
static void send_all(struct forward *fw, unsigned n)
{
	unsigned last = L2_NONE;
	struct out *o = NULL;

	for (unsigned i = 0; i < n; i++) {
		const struct l2_verdict *v = &fw->verdict[i];
		struct frame *f = &fw->batch.frame[i];

		if (v->cause)
			continue;
		if (v->copies | v->edit | f->hdr.flags | f->hdr.gso_type) {
			send_frame(fw, i);
			last = L2_NONE;		/* collections may have moved */
			continue;
		}
		if (v->port != last) {
			last = v->port;
			o = plain_out(fw, last);
		}
		if (!o) {
			send_frame(fw, i);
			last = L2_NONE;
			continue;
		}
		o->frame[o->n++] = f;
		if (o->n == PORT_BURST)
			flush_out(fw, o);
	}
	flush_all(fw);
}

unsigned forward_poll(struct forward *fw, unsigned id, struct port *p, unsigned q,
		      uint64_t now_ns)
{
	struct batch *b = &fw->batch;
	unsigned n = p->ops->take(p, q, b, PORT_BURST);

	if (n) {
		fw->now_ns = now_ns;
		fw->queue = q;
		look(fw, n);
		l2_burst(fw->l2, id, fw->view, n, now_ns, fw->verdict, fw->set);
		send_all(fw, n);
		port_tally(&fw->count.bursts, 1);
		port_tally(&fw->count.frames, n);
	}
	/* An empty batch too: its ring entries may have held nothing but bad frames. */
	p->ops->release(p, q, b);
	return n;
}

void forward_touched(struct forward *fw, struct l2_set *s)
{
	*s = fw->touched;
	fw->touched = (struct l2_set){ { 0 } };
}

void forward_counters(const struct forward *fw, struct forward_counters *c)
{
	const uint64_t *from = (const uint64_t *)&fw->count;
	uint64_t *to = (uint64_t *)c;

	for (unsigned i = 0; i < sizeof(*c) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
