// SPDX-License-Identifier: Apache-2.0
// port_test.c - ports without a peer: one that is nothing, one that is two arrays.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/port.h"

/* ---- null -------------------------------------------------------------------------------- */

struct null_port {
	struct port p;
	uint64_t frames, bytes;
};

static int null_attach(struct port *p, struct poller *poller)
{
	(void)p;
	(void)poller;
	return 0;
}

static void null_detach(struct port *p)
{
	(void)p;
}

static void null_tick(struct port *p, uint64_t now_ms)
{
	(void)p;
	(void)now_ms;
}

static unsigned null_take(struct port *p, unsigned q, struct batch *b, unsigned max)
{
	(void)p;
	(void)q;
	(void)max;
	b->n = b->segs_used = b->entries = 0;
	return 0;
}

static void null_release(struct port *p, unsigned q, struct batch *b)
{
	(void)p;
	(void)q;
	(void)b;
}

static unsigned null_give(struct port *p, unsigned q, struct frame *const *f, unsigned n)
{
	struct null_port *np = (struct null_port *)p;
	uint64_t bytes = 0;

	(void)q;
	for (unsigned i = 0; i < n; i++)
		bytes += f[i]->len;
	__atomic_fetch_add(&np->frames, n, __ATOMIC_RELAXED);
	__atomic_fetch_add(&np->bytes, bytes, __ATOMIC_RELAXED);
	return n;
}

static bool null_notify(struct port *p)
{
	(void)p;
	return false;
}

static bool null_arm(struct port *p, bool on)
{
	(void)p;
	(void)on;
	return false;
}

static void null_count(const struct port *p, uint64_t *row)
{
	const struct null_port *np = (const struct null_port *)p;

	row[PORT_OUT_FRAMES] += __atomic_load_n(&np->frames, __ATOMIC_RELAXED);
	row[PORT_OUT_BYTES] += __atomic_load_n(&np->bytes, __ATOMIC_RELAXED);
}

static void null_free(struct port *p)
{
	free(p);
}

static const struct port_ops null_ops = {
	"null", null_attach, null_detach, null_tick, null_take, null_release, null_give,
	null_notify, null_arm, null_count, null_free,
};

int port_null_new(struct port **out, const char *name)
{
	struct null_port *np = calloc(1, sizeof(*np));

	if (!np)
		return -ENOMEM;
	port_init(&np->p, &null_ops, name, NULL, NULL);
	np->p.up = true;
	np->p.gives = 1;
	np->p.features = UINT64_MAX;
	*out = &np->p;
	return 0;
}

/* ---- memory ------------------------------------------------------------------------------ */

struct mem_frame {
	struct mem_frame *next;
	struct virtio_net_hdr_v1 hdr;
	uint32_t len;
	uint8_t bytes[];
};

struct mem_queue {
	struct mem_frame *first, **last;
	unsigned n;
};

struct mem_port {
	struct port p;
	unsigned depth, wakes;
	bool told;			/* nothing happened since the last notify() */
	struct mem_queue in, taken, out;
	uint64_t row[PORT_COUNTERS];
};

static void queue_put(struct mem_queue *q, struct mem_frame *f)
{
	f->next = NULL;
	*q->last = f;
	q->last = &f->next;
	q->n++;
}

static struct mem_frame *queue_get(struct mem_queue *q)
{
	struct mem_frame *f = q->first;

	if (!f)
		return NULL;
	q->first = f->next;
	if (!q->first)
		q->last = &q->first;
	q->n--;
	return f;
}

static void queue_drop(struct mem_queue *q)
{
	struct mem_frame *f;

	while ((f = queue_get(q)))
		free(f);
}

static unsigned mem_take(struct port *p, unsigned q, struct batch *b, unsigned max)
{
	struct mem_port *m = (struct mem_port *)p;
	struct mem_frame *from;

	b->n = b->segs_used = b->entries = 0;
	while (q == 0 && b->n < max && (from = queue_get(&m->in))) {
		struct frame *f = &b->frame[b->n];

		queue_put(&m->taken, from);
		b->entries++;
		if (from->len < FRAME_MIN) {
			m->row[PORT_IN_SHORT]++;
			continue;
		}
		frame_of(f, from->bytes, from->len);
		f->hdr = from->hdr;
		m->row[PORT_IN_FRAMES]++;
		m->row[PORT_IN_BYTES] += from->len;
		b->n++;
	}
	return b->n;
}

static void mem_release(struct port *p, unsigned q, struct batch *b)
{
	struct mem_port *m = (struct mem_port *)p;

	(void)q;
	for (; b->entries; b->entries--)
		free(queue_get(&m->taken));
	m->told = false;
	b->n = 0;
}

static unsigned mem_give(struct port *p, unsigned q, struct frame *const *f, unsigned n)
{
	struct mem_port *m = (struct mem_port *)p;
	unsigned done = 0;

	(void)q;
	for (unsigned i = 0; i < n; i++) {
		struct mem_frame *to;

		if (!m->p.up) {
			m->row[PORT_OUT_DOWN]++;
			continue;
		}
		if (!port_accepts(p, f[i])) {
			m->row[PORT_OUT_OFFLOAD]++;
			continue;
		}
		to = m->out.n < m->depth ? malloc(sizeof(*to) + f[i]->len) : NULL;
		if (!to) {
			m->row[PORT_OUT_FULL]++;
			continue;
		}
		to->hdr = f[i]->hdr;
		to->hdr.num_buffers = 1;
		to->len = f[i]->len;
		frame_copy(to->bytes, f[i], 0, to->len);
		queue_put(&m->out, to);
		m->row[PORT_OUT_FRAMES]++;
		m->row[PORT_OUT_BYTES] += to->len;
		m->told = false;
		done++;
	}
	return done;
}

static bool mem_notify(struct port *p)
{
	struct mem_port *m = (struct mem_port *)p;

	m->wakes += !m->told;
	m->told = true;
	return false;
}

static bool mem_arm(struct port *p, bool on)
{
	return on && ((struct mem_port *)p)->in.n > 0;
}

static void mem_count(const struct port *p, uint64_t *row)
{
	for (unsigned i = 0; i < PORT_COUNTERS; i++)
		row[i] += ((const struct mem_port *)p)->row[i];
}

static void mem_free(struct port *p)
{
	struct mem_port *m = (struct mem_port *)p;

	queue_drop(&m->in);
	queue_drop(&m->taken);
	queue_drop(&m->out);
	free(m);
}

static const struct port_ops mem_ops = {
	"mem", null_attach, null_detach, null_tick, mem_take, mem_release, mem_give, mem_notify,
	mem_arm, mem_count, mem_free,
};

int port_mem_new(struct port **out, const char *name, unsigned depth,
		 const struct port_host *host, void *owner)
{
	struct mem_port *m = calloc(1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	port_init(&m->p, &mem_ops, name, host, owner);
	m->depth = depth;
	m->told = true;
	m->in.last = &m->in.first;
	m->taken.last = &m->taken.first;
	m->out.last = &m->out.first;
	m->p.up = true;
	m->p.takes = m->p.gives = 1;
	*out = &m->p;
	return 0;
}

int port_mem_push(struct port *p, const struct virtio_net_hdr_v1 *h, const void *bytes, uint32_t n)
{
	struct mem_port *m = (struct mem_port *)p;
	struct mem_frame *f;

	if (m->in.n >= m->depth)
		return -ENOBUFS;
	f = malloc(sizeof(*f) + n);
	if (!f)
		return -ENOMEM;
	f->hdr = h ? *h : (struct virtio_net_hdr_v1){ .flags = 0 };
	f->len = n;
	memcpy(f->bytes, bytes, n);
	queue_put(&m->in, f);
	return 0;
}

int port_mem_pop(struct port *p, struct virtio_net_hdr_v1 *h, void *bytes, uint32_t max)
{
	struct mem_frame *f = queue_get(&((struct mem_port *)p)->out);
	int len;

	if (!f)
		return 0;
	if (h)
		*h = f->hdr;
	memcpy(bytes, f->bytes, f->len < max ? f->len : max);
	len = (int)f->len;
	free(f);
	return len;
}

void port_mem_link(struct port *p, bool up)
{
	port_store(p->up, up);
	p->host->link(p, up);
}

unsigned port_mem_wakes(const struct port *p)
{
	return ((const struct mem_port *)p)->wakes;
}
