// SPDX-License-Identifier: Apache-2.0
// vus.c - the vhost-user port: which rings its frames go through, and its life with a poller.
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "sim/backend/torn.h"
#include "sim/backend/vus.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"

#define HAS(features, f) (((features) >> (f)) & 1)

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

static struct vus *of(struct port *p)
{
	return (struct vus *)(void *)p;
}

/* ---- which rings ---------------------------------------------------------------------------- */

void vus_lock_rings(struct vus *v)
{
	for (unsigned i = 0; i < v->nrings; i++)
		if (v->ring[i].q.shared)
			vqueue_lock(&v->ring[i].q);
}

void vus_unlock_rings(struct vus *v)
{
	for (unsigned i = v->nrings; i-- > 0; )
		if (v->ring[i].q.shared)
			vqueue_unlock(&v->ring[i].q);
}

/*
 * Even rings receive, odd ones transmit (virtio 1.2, 5.1.2). Givers on other threads read the
 * map without a lock: an entry always names a ring of ours, and the ring itself knows whether
 * it runs. Nobody is inside a ring that left the map once its lock was taken.
 */
void vus_remap(struct vus *v)
{
	uint16_t takes = 0, gives = 0;
	bool up;

	for (unsigned i = 0; i < v->nrings; i++) {
		struct vus_ring *r = &v->ring[i];
		uint8_t *slot;

		if (!r->q.running || !r->enabled)
			continue;
		slot = r->q.transmit ? &v->take_map[takes++] : &v->give_map[gives++];
		__atomic_store_n(slot, (uint8_t)i, __ATOMIC_RELAXED);
	}
	port_store(v->p.takes, takes);
	port_store(v->p.gives, gives);
	vus_lock_rings(v);
	vus_unlock_rings(v);
	up = takes || gives;
	if (up == v->p.up)
		return;
	port_store(v->p.up, up);
	log_info(v->p.name, "link %s", up ? "up" : "down");
	v->p.host->link(&v->p, up);
}

/* ---- frames --------------------------------------------------------------------------------- */

static unsigned vus_take(struct port *p, unsigned q, struct batch *b, unsigned max)
{
	struct vus *v = of(p);

	if (q >= v->p.takes) {
		b->n = b->segs_used = b->entries = 0;
		return 0;
	}
	return vqueue_take(&v->ring[v->take_map[q]].q, b, max);
}

static void vus_release(struct port *p, unsigned q, struct batch *b)
{
	struct vus *v = of(p);
	struct vqueue *r;

	if (!b->entries || q >= v->p.takes)
		return;
	r = &v->ring[v->take_map[q]].q;
	if (r->running)
		r->ops->release(r, b);
}

static unsigned vus_give(struct port *p, unsigned q, struct frame *const *f, unsigned n)
{
	struct vus *v = of(p);
	unsigned gives = port_load(v->p.gives);

	if (!gives) {
		__atomic_fetch_add(&v->row[PORT_OUT_DOWN], n, __ATOMIC_RELAXED);
		return 0;
	}
	q = gives == 1 ? 0 : q % gives;
	return vqueue_give(&v->ring[__atomic_load_n(&v->give_map[q], __ATOMIC_RELAXED)].q, f, n);
}

unsigned vus_lift(struct port *p, unsigned q, struct batch *b, unsigned max, unsigned *hdr_len)
{
	struct vus *v = of(p);
	struct vqueue *r;

	b->n = b->segs_used = b->entries = 0;
	if (q >= v->p.takes)
		return 0;
	r = &v->ring[v->take_map[q]].q;
	*hdr_len = r->hdr_len;
	return r->ops->lift(r, b, max);
}

/* The frames are someone else's; only num_buffers is ours to say (5.1.6.4.1). */
static void settle_fill(struct vqueue *r, const struct vqueue_loan *l, unsigned n)
{
	static const uint16_t one_buffer = 1;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++) {
		bytes += l->got[i] - r->hdr_len;
		if (r->hdr_len > offsetof(struct virtio_net_hdr_v1, num_buffers))
			guard_copy((uint8_t *)(uintptr_t)l->to[i].base +
				   offsetof(struct virtio_net_hdr_v1, num_buffers),
				   &one_buffer, sizeof(one_buffer));
	}
	port_tally(&r->row[PORT_OUT_FRAMES], n);
	port_tally(&r->row[PORT_OUT_BYTES], bytes);
	if (n)
		r->ops->settle(r, l, n);
}

static int fill_ring(struct vqueue *r, unsigned max, uint32_t least,
		     unsigned (*fill)(void *ctx, const struct seg *to, unsigned n,
				      unsigned hdr_len, uint32_t *got), void *ctx)
{
	struct vqueue_loan l;
	unsigned n;

	if (!r->running || r->broken)
		return 0;
	if (r->log)
		return -EAGAIN;
	if (!r->ops->lend(r, &l, max, least))
		return l.odd ? -EAGAIN : 0;
	n = fill(ctx, l.to, l.n, r->hdr_len, l.got);
	assert(n <= l.n);
	settle_fill(r, &l, n);
	return (int)n;
}

int vus_fill(struct port *p, unsigned q, unsigned max, uint32_t least,
	     unsigned (*fill)(void *ctx, const struct seg *to, unsigned n, unsigned hdr_len,
			      uint32_t *got), void *ctx)
{
	struct vus *v = of(p);
	unsigned gives = port_load(v->p.gives);
	struct vqueue *r;
	int rc;

	if (!gives)
		return 0;
	r = &v->ring[__atomic_load_n(&v->give_map[q % gives], __ATOMIC_RELAXED)].q;
	if (r->shared)
		vqueue_lock(r);
	rc = fill_ring(r, max < PORT_BURST ? max : PORT_BURST, least, fill, ctx);
	if (r->shared)
		vqueue_unlock(r);
	return rc;
}

/* ---- waking and being woken ----------------------------------------------------------------- */

/*
 * An eventfd is its sender's as well, who may have made it one that waits since we looked. Having
 * been interrupted (nudge.h) tells; it is not tried again.
 */
static bool signal_fd(struct vus *v, int *fd)
{
	const uint64_t one = 1;

	if (write(*fd, &one, sizeof(one)) == sizeof(one))
		return true;
	if (errno == EINTR) {
		close(*fd);
		*fd = -1;
		__atomic_store_n(&v->delays, true, __ATOMIC_RELAXED);
	}
	return false;
}

static void call(struct vus *v, struct vus_ring *r)
{
	if (r->call_fd < 0)
		return;
	if (signal_fd(v, &r->call_fd))
		__atomic_fetch_add(&v->row[PORT_CALLS_SENT], 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&v->row[PORT_CALLS_LOST], 1, __ATOMIC_RELAXED);
}

static bool notify_ring(struct vus *v, struct vus_ring *r)
{
	bool again = false;

	if (r->q.shared)
		vqueue_lock(&r->q);
	if (vqueue_due(&r->q, &again))
		call(v, r);
	if (r->q.shared)
		vqueue_unlock(&r->q);
	return again;
}

/* Another thread has given to receive rings only; transmit rings are their owner's. */
static bool vus_notify(struct port *p)
{
	struct vus *v = of(p);
	unsigned gives = port_load(v->p.gives);
	bool again = false;

	for (unsigned q = 0; q < gives; q++) {
		unsigned i = __atomic_load_n(&v->give_map[q], __ATOMIC_RELAXED);

		if (vqueue_dirty(&v->ring[i].q))
			again |= notify_ring(v, &v->ring[i]);
	}
	if (v->cfg.shared && !pthread_equal(v->thread, pthread_self()))
		return again;
	for (unsigned q = 0; q < v->p.takes; q++)
		if (vqueue_dirty(&v->ring[v->take_map[q]].q))
			again |= notify_ring(v, &v->ring[v->take_map[q]]);
	return again;
}

static bool vus_arm(struct port *p, bool on)
{
	struct vus *v = of(p);
	bool waiting = false;

	v->armed = on;
	for (unsigned q = 0; q < v->p.takes; q++) {
		struct vqueue *r = &v->ring[v->take_map[q]].q;

		if (on || r->armed)
			waiting |= r->ops->arm(r, on);
	}
	return waiting;
}

/* ---- life ----------------------------------------------------------------------------------- */

/*
 * A ring that was switched off still runs: what the driver transmits on it is taken and thrown
 * away (vhost-user, "Ring states"). One that was not switched on yet keeps what waits in it: it
 * may be a ring that moved here with its frames. Rare, so the batch comes from the heap.
 */
static void discard(struct vus *v)
{
	struct batch *b = NULL;

	for (unsigned i = 1; i < v->nrings; i += 2) {
		struct vqueue *q = &v->ring[i].q;

		if (!q->running || !v->ring[i].discards || q->broken)
			continue;
		if (!b)
			b = aligned_alloc(64, sizeof(*b));
		if (!b)
			return;
		for (unsigned k = 0; k < 1u + q->num / PORT_BURST; k++) {
			vqueue_take(q, b, PORT_BURST);
			if (!b->entries)
				break;
			q->ops->release(q, b);
		}
		notify_ring(v, &v->ring[i]);
	}
	free(b);
}

static void watch_faults(struct vus *v)
{
	if ((v->mem && vmem_torn(v->mem)) || __atomic_load_n(&v->log.torn, __ATOMIC_ACQUIRE)) {
		port_tally(&v->row[PORT_FAULTS], 1);
		vus_cut(v, "memory that was lent and then cut off");
	}
}

static void watch_rings(struct vus *v)
{
	for (unsigned i = 0; i < v->nrings; i++) {
		struct vus_ring *r = &v->ring[i];

		if (!r->q.running || !r->q.broken || r->q.reported)
			continue;
		r->q.reported = true;
		vus_complain(v, NULL, "a ring was stopped for what it contains");
		if (r->err_fd >= 0)
			signal_fd(v, &r->err_fd);
	}
	if (__atomic_load_n(&v->delays, __ATOMIC_RELAXED))
		vus_cut(v, "it made us wait for an eventfd");
}

static void vus_tick(struct port *p, uint64_t now_ms)
{
	struct vus *v = of(p);

	if (!v->now_ms && v->began_ms)
		v->began_ms = now_ms;	/* before our first look at the clock */
	v->now_ms = now_ms;
	if (!v->poller)
		return;
	if (v->conn.fd >= 0 && v->began_ms && now_ms >= v->began_ms + VUS_STALL_MS)
		vus_cut(v, "it stalled in the middle of a message");
	if (v->conn.fd >= 0)
		watch_rings(v);
	if (v->conn.fd >= 0) {
		discard(v);
		watch_faults(v);
	}
	if (v->cfg.client && v->conn.fd < 0 && now_ms >= v->retry_at_ms)
		vus_dial(v);
	if (v->paused && now_ms >= v->resume_at_ms &&
	    poller_add(v->poller, &v->listen, v->listen_fd, EPOLLIN) == 0)
		v->paused = false;
}

static int vus_attach(struct port *p, struct poller *poller)
{
	struct vus *v = of(p);
	int rc = 0;

	assert(!v->poller);
	v->poller = poller;
	v->thread = pthread_self();
	if (v->cfg.client)
		vus_dial(v);
	else
		rc = vus_listen(v);
	if (rc < 0)
		v->poller = NULL;
	return rc;
}

static void vus_detach(struct port *p)
{
	struct vus *v = of(p);

	if (!v->poller)
		return;
	vus_cut(v, NULL);
	vus_unlisten(v);
	v->poller = NULL;
}

static void vus_count(const struct port *p, uint64_t *row)
{
	const struct vus *v = (const struct vus *)(const void *)p;

	for (unsigned c = 0; c < PORT_COUNTERS; c++) {
		row[c] += __atomic_load_n(&v->row[c], __ATOMIC_RELAXED);
		for (unsigned i = 0; i < v->nrings; i++)
			row[c] += __atomic_load_n(&v->ring[i].q.row[c], __ATOMIC_RELAXED);
	}
}

static void vus_free(struct port *p)
{
	if (!p)
		return;
	vus_detach(p);
	free(of(p));
}

static const struct port_ops vus_ops = {
	"vhost-user", vus_attach, vus_detach, vus_tick, vus_take, vus_release, vus_give,
	vus_notify, vus_arm, vus_count, vus_free,
};

static int check_config(const struct vus_config *c, struct err *e)
{
	if (!c->name || !c->socket || !c->socket[0])
		return err_set(e, -EINVAL, "a port needs a name and a socket");
	if (strlen(c->socket) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: socket path longer than %zu bytes: %s",
			       c->name, sizeof(((struct sockaddr_un *)0)->sun_path) - 1,
			       c->socket);
	if (c->pairs < 1 || c->pairs > VUS_PAIRS_MAX)
		return err_set(e, -EINVAL, "%s: %u queue pairs: 1 to %u are possible", c->name,
			       c->pairs, VUS_PAIRS_MAX);
	if (c->mtu && c->mtu < 68)
		return err_set(e, -EINVAL, "%s: mtu %u: at least 68", c->name, c->mtu);
	return 0;
}

int vus_new(struct port **out, const struct vus_config *cfg, const struct port_host *host,
	    void *owner, struct err *e)
{
	unsigned nrings = 2 * cfg->pairs;
	struct vus *v;
	int rc;

	rc = check_config(cfg, e);
	if (rc == 0)
		rc = torn_install();
	if (rc < 0)
		return rc;
	v = aligned_alloc(64, (sizeof(*v) + nrings * sizeof(v->ring[0]) + 63) & ~(size_t)63);
	if (!v)
		return err_set(e, -ENOMEM, "%s: out of memory", cfg->name);
	memset(v, 0, sizeof(*v) + nrings * sizeof(v->ring[0]));
	port_init(&v->p, &vus_ops, cfg->name, host, owner);
	v->cfg = *cfg;
	v->cfg.name = v->p.name;
	v->cfg.socket = v->path;
	if (!v->cfg.features)
		v->cfg.features = vus_features();
	strcpy(v->path, cfg->socket);
	v->listen.fd = v->conn.fd = v->listen_fd = v->request_fd = -1;
	v->conn.ready = vus_conn_ready;
	v->retry_ms = VUS_RETRY_MS;
	v->complaints = (struct log_limit){ .burst = 5, .every_ms = 10000 };
	v->nrings = nrings;
	for (unsigned i = 0; i < nrings; i++) {
		struct vus_ring *r = &v->ring[i];

		vqueue_init(&r->q, i % 2, cfg->shared && i % 2 == 0);
		r->kick_fd = r->call_fd = r->err_fd = r->kick.fd = -1;
		r->v = v;
	}
	*out = &v->p;
	return 0;
}

int vus_set_mtu(struct port *p, uint16_t mtu)
{
	if (mtu && mtu < 68)
		return -EINVAL;
	of(p)->cfg.mtu = mtu;
	return 0;
}

bool vus_info(const struct port *p, struct vus_info *info)
{
	const struct vus *v = (const struct vus *)(const void *)p;

	memset(info, 0, sizeof(*info));
	if (p->ops != &vus_ops || v->conn.fd < 0)
		return false;
	info->connected = true;
	info->packed = HAS(v->features, VIRTIO_F_RING_PACKED);
	info->mergeable = HAS(v->features, VIRTIO_NET_F_MRG_RXBUF);
	info->in_order = HAS(v->features, VIRTIO_F_IN_ORDER);
	for (unsigned i = 0; i < v->nrings; i++)
		info->rings_running += v->ring[i].q.running;
	info->regions = v->mem ? v->mem->n : 0;
	info->memory_bytes = v->mem ? v->mem->bytes : 0;
	info->features = v->features;
	info->protocol_features = v->protocol;
	info->status = v->status;
	info->mtu = v->peer_mtu;
	return true;
}

unsigned vus_regions(const struct port *p, struct vus_region *out, unsigned max)
{
	const struct vus *v = (const struct vus *)(const void *)p;
	unsigned n = v->mem ? v->mem->n : 0;

	for (unsigned i = 0; i < n && i < max; i++)
		out[i] = (struct vus_region){ v->mem->region[i].host, v->mem->region[i].size,
					      v->mem->region[i].backed };
	return n;
}
