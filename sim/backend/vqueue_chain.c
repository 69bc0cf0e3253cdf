// SPDX-License-Identifier: Apache-2.0
// vqueue_chain.c - the patient way: chains of any shape, headers cut anywhere, many buffers.
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

#include "sim/backend/vlog.h"
#include "sim/backend/vqueue_hot.h"

uint8_t *vqueue_at(struct vqueue *r, uint64_t gpa, uint64_t len)
{
	const struct vmem_region *m = vmem_find(r->mem, gpa);

	if (!m || len > m->size - (gpa - m->gpa))
		return NULL;
	r->hit.gpa = m->gpa;
	r->hit.size = m->size;
	r->hit.roomy = m->size > VQUEUE_FRAME ? m->size - VQUEUE_FRAME : 0;
	r->hit.host = m->host;
	return m->host + (gpa - m->gpa);
}

/* A buffer may lie across regions that touch: then it is several pieces. */
int vqueue_chain_add(struct vqueue *r, struct vqueue_chains *c, const struct vqueue_desc *d)
{
	uint64_t gpa = d->addr, left = d->len;

	if (++c->steps > VQUEUE_STEPS)
		return -EINVAL;
	if (!(d->flags & VRING_DESC_F_WRITE) != r->transmit || gpa + left < gpa)
		return -EINVAL;
	while (left) {
		const struct vmem_region *m = vmem_find(r->mem, gpa);
		uint64_t piece;

		if (!m || c->nsegs == FRAME_SEGS)
			return -EINVAL;
		piece = m->size - (gpa - m->gpa);
		piece = piece < left ? piece : left;
		c->gpa[c->nsegs] = gpa;
		c->seg[c->nsegs++] = (struct seg){ m->host + (gpa - m->gpa), (uint32_t)piece };
		c->len += piece;
		gpa += piece;
		left -= piece;
	}
	return 0;
}

/* One entry of an indirect table, loaded once; the table may not straddle regions in an entry. */
static int table_entry(struct vqueue *r, uint64_t gpa, struct vqueue_desc *d, bool packed)
{
	const uint8_t *p = vqueue_at(r, gpa, 16);
	uint64_t word;

	if (!p || ((uintptr_t)p & 7))
		return -EINVAL;
	word = load64(p + 8);
	d->addr = load64(p);
	d->len = (uint32_t)word;
	d->flags = (uint16_t)(packed ? word >> 48 : word >> 32);
	d->next = (uint16_t)(packed ? 0 : word >> 48);
	return 0;
}

/* 2.7.5.3, 2.8.7: whole entries, no table in a table; a packed table is read end to end. */
int vqueue_chain_table(struct vqueue *r, struct vqueue_chains *c, const struct vqueue_desc *d,
		      bool packed)
{
	uint32_t entries = d->len / 16, i = 0;

	if (!r->indirect || !entries || entries > VQUEUE_STEPS || d->len % 16 ||
	    (d->flags & VRING_DESC_F_NEXT) || d->addr + d->len < d->addr)
		return -EINVAL;
	for (unsigned steps = 0; steps < entries; steps++) {
		struct vqueue_desc e;
		int rc = table_entry(r, d->addr + 16ull * i, &e, packed);

		if (rc == 0 && (e.flags & VRING_DESC_F_INDIRECT))
			rc = -EINVAL;
		if (rc == 0)
			rc = vqueue_chain_add(r, c, &e);
		if (rc < 0)
			return rc;
		if (packed ? i + 1 == entries : !(e.flags & VRING_DESC_F_NEXT))
			return 0;
		i = packed ? i + 1 : e.next;
		if (i >= entries)
			return -EINVAL;
	}
	return -EINVAL;
}

/* Gathers n bytes from the front; *i and *off say where the rest begins. */
static void gather(void *dst, const struct vqueue_chains *c, uint32_t n, unsigned *i, uint32_t *off)
{
	uint8_t *to = dst;

	*i = 0;
	*off = 0;
	while (n) {
		uint32_t piece = c->seg[*i].len < n ? c->seg[*i].len : n;

		memcpy(to, c->seg[*i].base, piece);
		to += piece;
		n -= piece;
		*off = piece;
		if (piece == c->seg[*i].len) {
			++*i;
			*off = 0;
		}
	}
}

static bool length_fits(struct vqueue *r, const struct vqueue_chains *c)
{
	if (c->len >= (uint64_t)r->hdr_len + FRAME_MIN && c->len <= r->hdr_len + FRAME_MAX)
		return true;
	port_tally(&r->row[c->len > FRAME_MAX ? PORT_IN_LONG : PORT_IN_SHORT], 1);
	return false;
}

void vqueue_frame_in(struct vqueue *r, struct batch *b, const struct vqueue_chains *c)
{
	struct frame *f = &b->frame[b->n];
	struct seg *views;
	unsigned i, nsegs;
	uint32_t off, head;

	if (!length_fits(r, c))
		return;
	memset(&f->hdr, 0, sizeof(f->hdr));
	gather(&f->hdr, c, r->hdr_len, &i, &off);
	f->len = (uint32_t)c->len - r->hdr_len;
	if (!r->hdr_wanted)
		memset(&f->hdr, 0, sizeof(f->hdr));
	if (frame_check(&f->hdr, f->len, r->features) < 0) {
		port_tally(&r->row[PORT_IN_HEADER], 1);
		return;
	}
	nsegs = c->nsegs - i;
	views = nsegs == 1 ? &f->one : &b->segs[b->segs_used];
	b->segs_used += nsegs == 1 ? 0 : nsegs;
	memcpy(views, &c->seg[i], nsegs * sizeof(*views));
	views[0].base += off;
	views[0].len -= off;
	f->segs = views;
	f->nsegs = (uint16_t)nsegs;
	f->head_len = 0;
	f->skip = 0;
	head = f->len < FRAME_HEAD ? f->len : FRAME_HEAD;
	frame_pull(f, head);
	b->n++;
	port_tally(&r->row[PORT_IN_FRAMES], 1);
	port_tally(&r->row[PORT_IN_BYTES], f->len);
}

void vqueue_frame_lift(struct vqueue *r, struct batch *b, const struct vqueue_chains *c)
{
	struct frame *f = &b->frame[b->n];
	struct seg *views = c->nsegs == 1 ? &f->one : &b->segs[b->segs_used];

	if (!length_fits(r, c))
		return;
	b->segs_used += c->nsegs == 1 ? 0 : c->nsegs;
	memcpy(views, c->seg, c->nsegs * sizeof(*views));
	f->segs = views;
	f->nsegs = (uint16_t)c->nsegs;
	f->len = (uint32_t)c->len - r->hdr_len;
	b->n++;
	port_tally(&r->row[PORT_IN_FRAMES], 1);
	port_tally(&r->row[PORT_IN_BYTES], f->len);
}

void vqueue_close_gaps(struct batch *b, unsigned from)
{
	unsigned to = from;

	for (unsigned k = from; k < b->n; k++) {
		if (!b->frame[k].len)
			continue;
		if (to != k) {
			b->frame[to] = b->frame[k];
			if (b->frame[to].nsegs == 1)
				b->frame[to].segs = &b->frame[to].one;
		}
		to++;
	}
	b->n = to;
}

unsigned vqueue_settle(struct vqueue *r, unsigned n, uint16_t *last_id)
{
	unsigned slots = 0;

	for (; n; n--) {
		const struct vqueue_owed *o = &r->owed[r->owed_head];

		slots += o->slots;
		*last_id = o->id;
		r->owed_head = (uint16_t)(r->owed_head + 1 == r->num ? 0 : r->owed_head + 1);
		r->owed_n--;
	}
	return slots;
}

/* Where in the chains the next byte goes. */
struct pen {
	struct vqueue *r;
	struct vqueue_chains *c;
	unsigned i;
	uint32_t off;
};

static void put(struct pen *p, const void *bytes, uint32_t n)
{
	const uint8_t *from = bytes;

	while (n) {
		const struct seg *s = &p->c->seg[p->i];
		uint32_t piece = s->len - p->off < n ? s->len - p->off : n;

		memcpy((uint8_t *)(uintptr_t)s->base + p->off, from, piece);
		if (p->r->log)
			vlog_mark(p->r->log, p->c->gpa[p->i] + p->off, piece);
		from += piece;
		n -= piece;
		p->off += piece;
		if (p->off == s->len) {
			p->i++;
			p->off = 0;
		}
	}
}

static void set_written(struct vqueue_chains *c, uint64_t total)
{
	unsigned seg = 0;

	for (unsigned k = 0; k < c->n; k++) {
		uint64_t room = 0;

		for (; seg < c->chain[k].end; seg++)
			room += c->seg[seg].len;
		c->chain[k].written = (uint32_t)(room < total ? room : total);
		total -= c->chain[k].written;
	}
}

void vqueue_frame_out(struct vqueue *r, struct vqueue_chains *c, const struct frame *f)
{
	struct virtio_net_hdr_v1 h = f->hdr;
	struct pen p = { .r = r, .c = c };
	uint32_t skip = f->skip, left = f->len - f->head_len;

	h.num_buffers = r->mergeable ? (uint16_t)c->n : 1;
	put(&p, &h, r->hdr_len);
	put(&p, f->head, f->head_len);
	for (unsigned i = 0; left; i++) {
		uint32_t piece;

		if (skip >= f->segs[i].len) {
			skip -= f->segs[i].len;
			continue;
		}
		piece = f->segs[i].len - skip < left ? f->segs[i].len - skip : left;
		put(&p, f->segs[i].base + skip, piece);
		left -= piece;
		skip = 0;
	}
	set_written(c, (uint64_t)r->hdr_len + f->len);
}
