// SPDX-License-Identifier: Apache-2.0
// tap_lane.c - see tap_lane.h.
// pkg-config: liburing
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>

#include <linux/virtio_config.h>

#include "include/backend.h"
#include "sim/backend/tap_impl.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"

#define REGION_BYTES (1ull << 30)	/* as io_uring takes them */
#define VLAN_ROOM 4
#define PATIENCE 20000			/* rounds frames may wait for buffers before we may sleep */
#define FLUSH_ROUNDS 64			/* bursts thrown away at most when the lane ends */

static struct tap_lane *of(struct lane *l)
{
	return (struct tap_lane *)l;
}

/* ---- the pod's memory ---------------------------------------------------------------------- */

void tap_lane_drain(struct tap_lane *l)
{
	if (l->nregs && l->k->ringed)
		io_uring_unregister_buffers(&l->k->in);
	l->nregs = 0;
	l->refused = false;
}

/*
 * Registers what the pod lends, in pieces io_uring takes. What cannot be is read the plain way,
 * and so is memory that the pod has only promised: pinning would make it, and it would be ours.
 */
void tap_lane_register(struct tap_lane *l)
{
	struct vus_region r[TAP_REGIONS_MAX];
	unsigned n;

	if (!l->k->ringed || l->nregs || l->refused)
		return;
	l->refused = true;
	n = vus_regions(l->to, r, TAP_REGIONS_MAX);
	for (unsigned i = 0; i < n && i < TAP_REGIONS_MAX; i++) {
		for (uint64_t at = 0; r[i].backed && at < r[i].size; at += REGION_BYTES) {
			uint64_t left = r[i].size - at;

			if (l->nregs == TAP_REGIONS_MAX) {
				l->nregs = 0;
				return;
			}
			l->reg[l->nregs].iov_base = (char *)r[i].base + at;
			l->reg[l->nregs++].iov_len = left < REGION_BYTES ? left : REGION_BYTES;
		}
	}
	if (l->nregs && io_uring_register_buffers(&l->k->in, l->reg, l->nregs) < 0)
		l->nregs = 0;
}

int tap_lane_region(const struct tap_lane *l, const struct seg *s)
{
	for (unsigned i = 0; i < l->nregs; i++) {
		uint64_t off = (uint64_t)(s->base - (const uint8_t *)l->reg[i].iov_base);

		if (off < l->reg[i].iov_len && l->reg[i].iov_len - off >= s->len)
			return (int)i;
	}
	return -1;
}

/* ---- reading into posted buffers ----------------------------------------------------------- */

/* The kernel writes a header of 12 bytes; a legacy pod's has 10: the last two go elsewhere. */
struct target {
	struct iovec v[3];
	unsigned n;
	uint16_t spare;
};

static void aim(struct target *g, const struct seg *to, unsigned hdr_len)
{
	uint8_t *base = (uint8_t *)(uintptr_t)to->base;

	if (hdr_len == TAP_HDR) {
		g->v[0] = (struct iovec){ base, to->len };
		g->n = 1;
		return;
	}
	g->v[0] = (struct iovec){ base, hdr_len };
	g->v[1] = (struct iovec){ &g->spare, TAP_HDR - hdr_len };
	g->v[2] = (struct iovec){ base + hdr_len, to->len - hdr_len };
	g->n = 3;
}

static void read_ring(struct tap_lane *l, const struct seg *to, struct target *g, unsigned n,
		      int *got)
{
	for (unsigned i = 0; i < n; i++) {
		struct io_uring_sqe *s = io_uring_get_sqe(&l->k->in);
		int region = g[i].n == 1 ? tap_lane_region(l, &to[i]) : -1;

		if (region >= 0)
			io_uring_prep_read_fixed(s, l->k->fd, g[i].v[0].iov_base, to[i].len, 0,
						 region);
		else
			io_uring_prep_readv(s, l->k->fd, g[i].v, g[i].n, 0);
		tap_aim(l->t, l->k, s);
		io_uring_sqe_set_data64(s, i);
	}
	tap_enter(l->k, n, got);
}

static void read_each(struct tap_lane *l, struct target *g, unsigned n, int *got)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		ssize_t len = readv(l->k->fd, g[i].v, (int)g[i].n);

		got[i] = len < 0 ? -errno : (int)len;
		if (len < 0)
			break;
	}
	while (++i < n)
		got[i] = -EAGAIN;
}

/* Frames behind a read that found nothing move up; rare, and counted. False: it does not fit. */
static bool move_up(struct tap_lane *l, const struct seg *to, const struct seg *from, uint32_t n)
{
	if (to->len < n || guard_copy((void *)(uintptr_t)to->base, from->base, n))
		return false;
	port_tally(&l->count.copied_bytes, n);
	return true;
}

/* Without GUEST_CSUM the header's flags are 0 (5.1.6.4.1); the kernel may say "checked". */
static void clear_flags(struct tap_lane *l, const struct seg *to)
{
	static const uint8_t none;

	if (!(l->features >> VIRTIO_NET_F_GUEST_CSUM & 1))
		guard_copy((void *)(uintptr_t)to->base, &none, sizeof(none));
}

static unsigned fill(void *ctx, const struct seg *to, unsigned n, unsigned hdr_len, uint32_t *len)
{
	struct tap_lane *l = ctx;
	struct target g[TAP_BURST];
	int got[TAP_BURST] = { -EAGAIN };
	unsigned done = 0;

	for (unsigned i = 0; i < n; i++)
		aim(&g[i], &to[i], hdr_len);
	if (l->k->ringed)
		read_ring(l, to, g, n, got);
	else
		read_each(l, g, n, got);
	if (got[0] == -EOPNOTSUPP)
		l->t->rw_flags = 0;
	l->tried = n;
	l->first_rc = got[0];
	for (unsigned i = 0; i < n; i++) {
		uint32_t bytes = (uint32_t)got[i] - (TAP_HDR - hdr_len);

		if (got[i] < 0)
			continue;
		l->found++;
		/* As long as the buffer: the kernel does not tell what it cut off. */
		if (got[i] < (int)(TAP_HDR + FRAME_MIN) || bytes >= to[i].len ||
		    (i != done && !move_up(l, &to[done], &to[i], bytes))) {
			port_tally(&l->count.dropped, 1);
			continue;
		}
		clear_flags(l, &to[done]);
		len[done++] = bytes;
	}
	return done;
}

/* The long way: into our buffers, and given like any other frame. */
static unsigned bounce(struct tap_lane *l, unsigned n, bool give)
{
	struct frame *list[TAP_BURST];
	int got[TAP_BURST] = { -EAGAIN };
	unsigned m = 0;

	tap_read(l->t, l->k, n, got);
	l->tried = n;
	l->first_rc = got[0];
	for (unsigned i = 0; i < n; i++) {
		if (got[i] < 0)
			continue;
		l->found++;
		if (!give || !tap_frame(l->t, &l->frame[m], tap_buffer(l->k, i), got[i])) {
			port_tally(&l->count.dropped, 1);
			continue;
		}
		port_tally(&l->count.copied_bytes, l->frame[m].len);
		list[m] = &l->frame[m];
		m++;
	}
	if (m)
		l->to->ops->give(l->to, 0, list, m);
	port_tally(&l->count.bounced, m);
	return m;
}

/* What the interface leaves undone must be what this pod, too, can do. */
static void agree(struct tap_lane *l)
{
	uint64_t f = port_load(l->to->features);
	unsigned can = f >> VIRTIO_NET_F_GUEST_CSUM & 1 ? TUN_F_CSUM : 0;

	if (l->agreed && f == l->features)
		return;
	l->features = f;
	l->agreed = tap_set_offloads(l->t, l->q, can) == 0;
}

static unsigned lane_poll(struct lane *lane)
{
	struct tap_lane *l = of(lane);
	unsigned depth = l->k->depth;
	uint32_t least = TAP_HDR + ETH_HLEN + VLAN_ROOM + l->t->mtu + 1;
	int n;

	if (!tap_due(l->k))
		return 0;
	l->tried = l->found = 0;
	if (!port_load(l->to->up)) {
		bounce(l, depth, false);	/* nobody there: not for whoever comes next */
	} else {
		agree(l);
		tap_lane_register(l);
		n = l->agreed ? vus_fill(l->to, 0, depth, least, fill, l) : -EAGAIN;
		if (n == -EAGAIN)
			bounce(l, depth, true);
		else
			port_tally(&l->count.frames, (unsigned)n);
		if (!l->tried) {		/* nothing posted: the frames wait */
			port_tally(&l->count.waits, 1);
			l->waiting++;
			l->k->more = l->waiting < PATIENCE;
			return 0;
		}
		l->waiting = 0;
	}
	if (l->found)
		port_tally(&l->count.enters, 1);
	tap_pace(l->k, l->tried, l->found, l->first_rc);
	return l->found;
}

/* ---- life ---------------------------------------------------------------------------------- */

static void flush(struct tap_lane *l)
{
	for (unsigned i = 0; i < FLUSH_ROUNDS; i++) {
		l->found = 0;
		bounce(l, TAP_BURST, false);
		if (!l->found)
			break;
	}
}

static int lane_attach(struct lane *lane, struct port *to, struct poller *poller)
{
	struct tap_lane *l = of(lane);

	l->to = to;
	l->poller = poller;
	l->agreed = l->refused = false;
	if (l->t->queues == 1)
		flush(l);		/* what came before it was sorted */
	return poller_add(poller, &l->k->src, l->k->fd, EPOLLIN | EPOLLET);
}

static void lane_detach(struct lane *lane)
{
	struct tap_lane *l = of(lane);

	poller_del(l->poller, &l->k->src);
	tap_lane_drain(l);
	flush(l);
	tap_set_offloads(l->t, l->q, TAP_OFFLOADS);
	l->to = NULL;
}

static bool lane_arm(struct lane *lane, bool on)
{
	return on && of(lane)->k->more;
}

static void lane_tick(struct lane *lane, uint64_t now_ms)
{
	struct tap_lane *l = of(lane);

	l->k->skip = 0;			/* buffers may have been posted without a word */
	if (l->t->vmdq)
		tap_share_tick(&l->storm, &vmdq_shared(l->t->vmdq)->row[l->q], now_ms);
}

static const struct lane_ops ops = {
	lane_attach, lane_detach, lane_poll, tap_lane_send, lane_arm, lane_tick,
};

int tap_lane_new(struct tap_lane **out, struct port *tap, struct err *e)
{
	struct tap *t = (struct tap *)tap;
	struct tap_lane *l;

	if (!t->steer)
		return err_set(e, -ENOTSUP, "%s is not steered by address", tap->name);
	for (unsigned q = t->queues > 1 ? t->shared : 0; q < t->queues; q++) {
		if (t->queue[q].lent || (t->queues == 1 && !t->vmdq))
			continue;
		l = aligned_alloc(64, (sizeof(*l) + 63) / 64 * 64);
		if (!l)
			return err_set(e, -ENOMEM, "out of memory");
		memset(l, 0, sizeof(*l));
		l->out = tap_out_new();
		if (!l->out) {
			free(l);
			return err_set(e, -ENOMEM, "out of memory");
		}
		if (t->vmdq)
			memset(&vmdq_shared(t->vmdq)->row[q].l2, 0, sizeof(struct l2_counters));
		l->lane.ops = &ops;
		l->t = t;
		l->q = q;
		l->k = &t->queue[q];
		l->k->lent = true;
		*out = l;
		return 0;
	}
	return err_set(e, -ENOSPC, "%s has no queue left", tap->name);
}

void tap_lane_free(struct tap_lane *l)
{
	if (!l)
		return;
	tap_lane_rules(l, NULL);
	l->k->lent = false;
	tap_out_free(l->out);
	free(l);
}

struct lane *tap_lane_of(struct tap_lane *l)
{
	return &l->lane;
}

unsigned tap_lane_queue(const struct tap_lane *l)
{
	return l->q;
}

unsigned tap_lane_mtu(const struct tap_lane *l)
{
	return l->t->mtu;
}

int tap_lane_steer(struct tap_lane *l, const uint8_t mac[6], uint16_t vlan, bool on)
{
	return on ? steer_set(l->t->steer, mac, vlan, l->q) : steer_del(l->t->steer, mac, vlan);
}

void tap_lane_counters(const struct tap_lane *l, struct tap_lane_counters *c)
{
	const uint64_t *from = (const uint64_t *)&l->count;
	uint64_t *to = (uint64_t *)c;

	for (unsigned i = 0; i < sizeof(*c) / sizeof(*to); i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}
