// SPDX-License-Identifier: Apache-2.0
// tap_uring.c - bursts in and out of a TAP interface. See tap.h.
// pkg-config: liburing
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <linux/virtio_config.h>

#include "sim/backend/steer.h"
#include "sim/backend/tap_impl.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define BIT(n) (1ull << (n))
#define SKIP_MAX 64			/* rounds a silent queue is left alone */
#define IOVS_MAX 1024			/* pieces of one burst of writes */

/* What the kernel may hand us, and what it takes from us, in terms of the other side. */
#define FROM_KERNEL (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | \
		     BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN))
#define TO_KERNEL (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
		   BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))

static struct tap *tap_of(struct port *p)
{
	return (struct tap *)p;
}

/* ---- reading ------------------------------------------------------------------------------- */

/*
 * What the kernel did not take (it has no memory) would be taken with the next burst, when what it
 * points to has gone: the ring ends, and plain calls do from then on.
 */
static void ring_end(const struct tap *t, struct io_uring *ring, int rc)
{
	log_warn(t->p.name, "event=ring-ended: the kernel takes no more from it (%s): plain reads "
		 "and writes from now on", rc < 0 ? strerror(-rc) : "but a part");
	io_uring_queue_exit(ring);
}

void tap_enter(struct tap_queue *k, unsigned n, int *got)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0;
	int rc;

	for (unsigned i = 0; i < n; i++)
		got[i] = -EAGAIN;
	rc = io_uring_submit_and_wait(&k->in, n);
	io_uring_for_each_cqe(&k->in, head, cqe) {
		if (cqe->user_data < n)
			got[cqe->user_data] = cqe->res;
		seen++;
	}
	io_uring_cq_advance(&k->in, seen);
	if (rc != (int)n) {
		k->ringed = k->listed = false;
		ring_end(k->t, &k->in, rc);
	}
}

static void read_uring(struct tap *t, struct tap_queue *k, unsigned n, int *got)
{
	for (unsigned i = 0; i < n; i++) {
		struct io_uring_sqe *s = io_uring_get_sqe(&k->in);

		io_uring_prep_read(s, k->fd, tap_buffer(k, i), TAP_BUF, 0);
		tap_aim(t, k, s);
		io_uring_sqe_set_data64(s, i);
	}
	tap_enter(k, n, got);
}

static void read_plain(struct tap *t, struct tap_queue *k, unsigned n, int *got)
{
	for (unsigned i = 0; i < n; i++) {
		ssize_t len = read(k->fd, tap_buffer(k, i), TAP_BUF);

		got[i] = len < 0 ? -errno : (int)len;
		for (unsigned j = i + 1; len < 0 && j < n; j++)
			got[j] = -EAGAIN;
		if (len < 0)
			return;
	}
}

void tap_read(struct tap *t, struct tap_queue *k, unsigned n, int *got)
{
	if (k->ringed)
		read_uring(t, k, n, got);
	else
		read_plain(t, k, n, got);
	if (got[0] == -EOPNOTSUPP)
		t->rw_flags = 0;	/* an older kernel: there O_NONBLOCK is what counts */
}

bool tap_frame(struct tap *t, struct frame *f, const uint8_t *buf, int got)
{
	struct virtio_net_hdr_v1 h;
	uint32_t len;

	if (got < (int)(TAP_HDR + FRAME_MIN)) {
		port_tally(&t->row[PORT_IN_SHORT], 1);
		return false;
	}
	len = (uint32_t)got - TAP_HDR;
	if (len > FRAME_MAX) {
		port_tally(&t->row[PORT_IN_LONG], 1);
		return false;
	}
	memcpy(&h, buf, sizeof(h));
	if (frame_check(&h, len, FROM_KERNEL)) {
		port_tally(&t->row[PORT_IN_HEADER], 1);
		return false;
	}
	frame_of(f, buf + TAP_HDR, len);
	f->hdr = h;
	port_tally(&t->row[PORT_IN_FRAMES], 1);
	port_tally(&t->row[PORT_IN_BYTES], len);
	return true;
}

/*
 * Each try costs a system call, so a silent queue is tried less and less often while we spin;
 * the poller tells when it has something (edge-triggered, after the try that found nothing).
 */
bool tap_due(struct tap_queue *k)
{
	if (!k->skip)
		return true;
	k->skip--;
	return false;
}

void tap_pace(struct tap_queue *k, unsigned n, unsigned done, int rc)
{
	k->more = done == n;
	k->depth = done == n ? (n * 2 < TAP_BURST ? n * 2 : TAP_BURST) : done + 1;
	k->empty = done ? 0 : k->empty + 1;
	k->skip = done ? 0 : k->empty > 6 ? SKIP_MAX : 1u << k->empty;
	if (!done && rc != -EAGAIN && rc != -EINTR)
		k->skip = SKIP_MAX * SKIP_MAX;	/* the interface is down or gone: no hurry */
}

static unsigned tap_take(struct port *p, unsigned q, struct batch *b, unsigned max)
{
	struct tap *t = tap_of(p);
	struct tap_queue *k = &t->queue[q];
	int got[TAP_BURST];
	unsigned n, done = 0;

	b->n = b->segs_used = b->entries = 0;
	if (q >= t->shared || !tap_due(k))
		return 0;
	n = k->depth < max ? k->depth : max;
	tap_read(t, k, n, got);
	for (unsigned i = 0; i < n; i++) {
		if (got[i] < 0)		/* one that came a moment later may be behind it */
			continue;
		b->n += tap_frame(t, &b->frame[b->n], tap_buffer(k, i), got[i]);
		done++;
	}
	tap_pace(k, n, done, got[0]);
	return b->n;
}

static void tap_release(struct port *p, unsigned q, struct batch *b)
{
	(void)p;
	(void)q;
	b->n = 0;
}

static void tap_ready(struct poller_source *s, uint32_t events)
{
	struct tap_queue *k = (struct tap_queue *)s;

	(void)events;
	k->skip = 0;
	k->more = true;			/* the edge is used up: no sleep before another try */
}

/* ---- writing ------------------------------------------------------------------------------- */

struct burst {
	unsigned n, iovs;
	struct virtio_net_hdr_v1 hdr[PORT_BURST];
	struct iovec iov[IOVS_MAX];
	struct { unsigned first, n; uint32_t len; } frame[PORT_BURST];
};

/* Views of the frame for the kernel: a header of ours, the judged head, the rest in place. */
static bool burst_add(struct burst *w, const struct frame *f)
{
	struct iovec *v = &w->iov[w->iovs];
	uint32_t skip = f->skip, left = f->len - f->head_len;
	unsigned n = 0;

	if (w->n == PORT_BURST || w->iovs + f->nsegs + 2u > IOVS_MAX)
		return false;
	w->hdr[w->n] = f->hdr;
	w->hdr[w->n].num_buffers = 0;
	v[n++] = (struct iovec){ &w->hdr[w->n], TAP_HDR };
	v[n++] = (struct iovec){ (void *)(uintptr_t)f->head, f->head_len };
	for (unsigned i = 0; i < f->nsegs && left; i++) {
		uint32_t piece;

		if (skip >= f->segs[i].len) {
			skip -= f->segs[i].len;
			continue;
		}
		piece = f->segs[i].len - skip < left ? f->segs[i].len - skip : left;
		v[n++] = (struct iovec){ (void *)(uintptr_t)(f->segs[i].base + skip), piece };
		left -= piece;
		skip = 0;
	}
	w->frame[w->n].first = w->iovs;
	w->frame[w->n].n = n;
	w->frame[w->n++].len = f->len;
	w->iovs += n;
	return true;
}

void tap_failed(uint64_t *row, int rc)
{
	if (rc == -EAGAIN)
		port_tally(&row[PORT_OUT_FULL], 1);
	else if (rc == -EINVAL)		/* a header that lies */
		port_tally(&row[PORT_OUT_OFFLOAD], 1);
	else if (rc == -EFAULT)		/* the sender's memory went away */
		port_tally(&row[PORT_FAULTS], 1);
	else
		port_tally(&row[PORT_OUT_DOWN], 1);
}

static void written(struct tap *t, const struct burst *w, unsigned i, int rc, unsigned *done)
{
	if (rc < 0) {
		tap_failed(t->row, rc);
		return;
	}
	port_tally(&t->row[PORT_OUT_FRAMES], 1);
	port_tally(&t->row[PORT_OUT_BYTES], w->frame[i].len);
	++*done;
}

static unsigned write_uring(struct tap *t, int fd, const struct burst *w)
{
	struct io_uring_cqe *cqe;
	unsigned head, seen = 0, done = 0;
	int rc;

	for (unsigned i = 0; i < w->n; i++) {
		struct io_uring_sqe *s = io_uring_get_sqe(&t->out);

		io_uring_prep_writev(s, fd, &w->iov[w->frame[i].first], w->frame[i].n, 0);
		s->rw_flags = t->rw_flags;
		io_uring_sqe_set_data64(s, i);
	}
	rc = io_uring_submit_and_wait(&t->out, w->n);
	io_uring_for_each_cqe(&t->out, head, cqe) {
		if (cqe->user_data < w->n)
			written(t, w, (unsigned)cqe->user_data, cqe->res, &done);
		seen++;
	}
	io_uring_cq_advance(&t->out, seen);
	if (rc != (int)w->n) {
		for (unsigned i = seen; i < w->n; i++)
			written(t, w, i, rc < 0 ? rc : -EAGAIN, &done);
		port_store(t->uring, false);
		ring_end(t, &t->out, rc);
	}
	return done;
}

static unsigned write_plain(struct tap *t, int fd, const struct burst *w)
{
	unsigned done = 0;

	for (unsigned i = 0; i < w->n; i++) {
		ssize_t n = writev(fd, &w->iov[w->frame[i].first], (int)w->frame[i].n);

		written(t, w, i, n < 0 ? -errno : 0, &done);
	}
	return done;
}

static unsigned write_burst(struct tap *t, unsigned q, struct burst *w)
{
	/* What is written to a lane's queue is taken for its pool's. */
	int fd = t->queue[q % (t->shared ? t->shared : t->queues)].fd;
	unsigned done;

	if (!w->n)
		return 0;
	done = t->uring ? write_uring(t, fd, w) : write_plain(t, fd, w);
	w->n = w->iovs = 0;
	return done;
}

static unsigned tap_give(struct port *p, unsigned q, struct frame *const *f, unsigned n)
{
	struct tap *t = tap_of(p);
	unsigned done = 0;
	struct burst w;

	w.n = w.iovs = 0;
	while (__atomic_exchange_n(&t->out_lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
	for (unsigned i = 0; i < n; i++) {
		if (!port_accepts(p, f[i])) {
			port_tally(&t->row[PORT_OUT_OFFLOAD], 1);
			continue;
		}
		if (burst_add(&w, f[i]))
			continue;
		done += write_burst(t, q, &w);
		burst_add(&w, f[i]);
	}
	done += write_burst(t, q, &w);
	__atomic_store_n(&t->out_lock, 0, __ATOMIC_RELEASE);
	return done;
}

/* ---- the port ------------------------------------------------------------------------------ */

static void tap_detach(struct port *p)
{
	struct tap *t = tap_of(p);

	port_store(p->up, false);
	port_store(p->takes, 0);
	port_store(p->gives, 0);
	for (unsigned q = 0; t->poller && q < t->shared; q++)
		poller_del(t->poller, &t->queue[q].src);
	t->poller = NULL;
}

static int tap_attach(struct port *p, struct poller *poller)
{
	struct tap *t = tap_of(p);

	t->poller = poller;
	for (unsigned q = 0; q < t->shared; q++) {
		int rc = poller_add(poller, &t->queue[q].src, t->queue[q].fd, EPOLLIN | EPOLLET);

		if (rc) {
			tap_detach(p);
			return rc;
		}
	}
	port_store(p->features, TO_KERNEL);
	port_store(p->takes, (uint16_t)t->shared);
	port_store(p->gives, (uint16_t)t->queues);
	port_store(p->up, true);
	p->host->link(p, true);
	return 0;
}

static void tap_tick(struct port *p, uint64_t now_ms)
{
	struct tap *t = tap_of(p);

	if (t->vmdq)
		tap_share_tick(&t->storm, &vmdq_shared(t->vmdq)->row[VMDQ_WIRE], now_ms);
}

static bool tap_notify(struct port *p)
{
	(void)p;
	return false;
}

static bool tap_arm(struct port *p, bool on)
{
	struct tap *t = tap_of(p);
	bool more = false;

	for (unsigned q = 0; on && q < t->shared; q++)
		more |= t->queue[q].more;
	return more;
}

static void tap_count(const struct port *p, uint64_t *row)
{
	const struct tap *t = (const struct tap *)p;

	for (unsigned i = 0; i < PORT_COUNTERS; i++)
		row[i] += __atomic_load_n(&t->row[i], __ATOMIC_RELAXED);
	for (unsigned q = 0; t->vmdq && q < t->queues; q++) {
		const struct vmdq_row *r = &vmdq_shared(t->vmdq)->row[q];

		for (unsigned i = 0; i < PORT_COUNTERS; i++)
			row[i] += __atomic_load_n(&t->queue[q].row[i], __ATOMIC_RELAXED);
		row[PORT_OUT_FRAMES] += __atomic_load_n(&r->wire, __ATOMIC_RELAXED);
		row[PORT_OUT_BYTES] += __atomic_load_n(&r->wire_bytes, __ATOMIC_RELAXED);
	}
}

static void tap_free(struct port *p)
{
	struct tap *t = tap_of(p);

	tap_detach(p);
	if (t->uring)
		io_uring_queue_exit(&t->out);
	for (unsigned q = 0; q < t->queues; q++) {
		if (t->queue[q].listed)	/* at once; the ring itself goes when the kernel likes */
			io_uring_unregister_files(&t->queue[q].in);
		if (t->queue[q].ringed)
			io_uring_queue_exit(&t->queue[q].in);
		if (t->queue[q].fd >= 0)
			close(t->queue[q].fd);
		free(t->queue[q].buf);
	}
	vmdq_free(t->vmdq);
	steer_free(t->steer);
	free(t);
}

static const struct port_ops tap_ops = {
	"tap", tap_attach, tap_detach, tap_tick, tap_take, tap_release, tap_give, tap_notify,
	tap_arm, tap_count, tap_free,
};

/* A ring per queue to read, one to write; where one cannot be had, readv and writev do. */
static void start_uring(struct tap *t)
{
	for (unsigned q = 0; q < t->queues; q++) {
		struct tap_queue *k = &t->queue[q];

		k->ringed = !io_uring_queue_init(TAP_BURST, &k->in, 0);
		k->listed = k->ringed && !io_uring_register_files(&k->in, &k->fd, 1);
	}
	t->uring = !io_uring_queue_init(PORT_BURST, &t->out, 0);
}

/* Sorting by address leaves queue 0 for what belongs to nobody. Where it may not be, so be it. */
static void start_steering(struct tap *t, const char *dev)
{
	struct err e = { 0 };

	if (steer_new(&t->steer, &e) ||
	    (t->queues > 1 && steer_attach(t->steer, t->queue[0].fd, &e))) {
		steer_free(t->steer);
		t->steer = NULL;
		log_line(t->queues > 1 ? LOG_WARN : LOG_INFO, t->p.name,
			 "frames are not sorted before they are copied: %s", e.msg);
		return;
	}
	t->shared = 1;
	if (vmdq_new(&t->vmdq, dev, t->queues, t->steer, &e))
		log_line(t->queues > 1 ? LOG_WARN : LOG_INFO, t->p.name,
			 "what pools send goes through the switch: %s", e.msg);
}

int tap_new(struct port **out, const struct tap_config *cfg, const struct port_host *host,
	    void *owner, struct err *e)
{
	struct tap *t;
	int rc;

	if (!cfg->queues || cfg->queues > TAP_QUEUES_MAX)
		return err_set(e, -EINVAL, "queues is 1 to %d", TAP_QUEUES_MAX);
	if (!cfg->dev || !cfg->dev[0] || strlen(cfg->dev) >= 16)
		return err_set(e, -EINVAL, "an interface's name has 1 to 15 letters");
	t = calloc(1, sizeof(*t) + cfg->queues * sizeof(t->queue[0]));
	if (!t)
		return err_set(e, -ENOMEM, "out of memory");
	port_init(&t->p, &tap_ops, cfg->name, host, owner);
	t->queues = cfg->queues;
	t->mtu = cfg->mtu ? cfg->mtu : 1500;
	for (unsigned q = 0; q < t->queues; q++)
		t->queue[q] = (struct tap_queue){
			.src = { .ready = tap_ready, .fd = -1 }, .t = t, .fd = -1, .depth = 1,
			.offloads = TAP_OFFLOADS,
		};
	t->offloads = TAP_OFFLOADS;
	for (unsigned q = 0; q < t->queues; q++) {
		t->queue[q].buf = malloc((size_t)TAP_BURST * TAP_BUF);
		if (!t->queue[q].buf) {
			rc = err_set(e, -ENOMEM, "out of memory");
			goto fail;
		}
	}
	rc = tap_open(t, cfg, e);
	if (rc)
		goto fail;
	t->shared = t->queues;
	if (cfg->steer)
		start_steering(t, cfg->dev);
	if (!cfg->plain)
		start_uring(t);
	t->rw_flags = RWF_NOWAIT;	/* io_uring would wait for a non-blocking descriptor */
	*out = &t->p;
	return 0;
fail:
	tap_free(&t->p);
	return rc;
}

void tap_info(const struct port *p, struct tap_info *info)
{
	const struct tap *t = (const struct tap *)p;

	*info = (struct tap_info){
		.uring = port_load(t->uring), .steered = t->steer && t->queues > 1,
		.queues = t->queues,
	};
}
