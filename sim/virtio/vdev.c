// SPDX-License-Identifier: Apache-2.0
// vdev.c - status machine, negotiation, queues and notifications of any virtio device.
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/loop.h"
#include "sim/core/sys.h"
#include "sim/mem/space.h"
#include "sim/virtio/vdev.h"

#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif

#define DOOR(x) (1u << (x))
#define ANY_DOOR (DOOR(VDEV_MODERN) | DOOR(VDEV_LEGACY))

const char *const vdev_status_bits[] = {
	"ACK", "DRIVER", "DRIVER_OK", "FEATURES_OK", "", "", "NEEDS_RESET", "FAILED", NULL,
};
const char *const vdev_isr_bits[] = { "QUEUE", "CONFIG", NULL };

/* ---- life ---------------------------------------------------------------------------------- */

static void bell_set(struct vdev_queue *q, enum vdev_bell bell)
{
	__atomic_store_n(&q->bell, (uint8_t)bell, __ATOMIC_RELEASE);
}

static void queue_clear(struct vdev *d, struct vdev_queue *q)
{
	bell_set(q, VDEV_BELL_NONE);
	q->size = d->queue_size;
	q->vector = VDEV_NO_VECTOR;
	q->enabled = q->running = q->was_reset = false;
	q->desc = q->avail = q->used = q->vfn = 0;
}

int vdev_init(struct vdev *d, const struct vdev_ops *ops, unsigned queues, uint16_t queue_size)
{
	d->ops = ops;
	d->queue_size = queue_size;
	d->complaints = (struct log_limit){ .burst = 10, .every_ms = 1000 };
	d->queue = fault_zalloc(queues * sizeof(d->queue[0]));
	if (!d->queue)
		return -ENOMEM;
	d->queues_made = queues;
	for (unsigned i = 0; i < queues; i++) {
		d->queue[i].kick_fd = -1;
		queue_clear(d, &d->queue[i]);
	}
	return 0;
}

void vdev_fini(struct vdev *d)
{
	for (unsigned i = 0; d->queue && i < d->queues_made; i++)
		fd_drop(&d->queue[i].kick_fd);
	free(d->queue);
	d->queue = NULL;
	d->queues_made = 0;
}

static int kick_make(struct vdev_queue *q)
{
	int fd;

	if (q->kick_fd >= 0)
		return 0;
	fd = fault_now() ? -EMFILE : (int)sys_call(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd >= 0)
		fd = fd_keep(fd);
	if (fd < 0)
		return fd;
	q->kick_fd = fd;
	return 0;
}

/*
 * Kick fds live from the first open to the end: a notification takes no lock, so one that is
 * on its way while the function closes must still find its own descriptor.
 */
int vdev_open(struct vdev *d, struct err *e)
{
	int rc;

	for (unsigned i = 0; i < d->queues_made; i++) {
		rc = kick_make(&d->queue[i]);
		if (rc < 0)
			return err_set(e, rc, "%s: no descriptor for the kick of queue %u: %s; "
				       "raise the limit (ulimit -n)", d->id, i, strerror(-rc));
	}
	vdev_reset(d);
	return d->ops->open(d, e);
}

void vdev_close(struct vdev *d)
{
	vdev_reset(d);
	d->ops->close(d);
}

void vdev_orphan(struct vdev *d)
{
	for (unsigned i = 0; i < d->queues_made; i++) {
		bell_set(&d->queue[i], VDEV_BELL_NONE);
		fd_drop(&d->queue[i].kick_fd);
	}
	d->ops->orphan(d);
}

/* ---- negotiation --------------------------------------------------------------------------- */

bool vdev_claim(struct vdev *d, enum vdev_door door)
{
	if (d->door == VDEV_NO_DOOR)
		d->door = door;
	if (d->door == door)
		return true;
	d->stat.writes_refused++;
	return false;
}

static void latch(struct vdev *d)
{
	if (!d->latched)
		d->offered = features_offer(d->ops->features, d->dev, d->ops->offer(d));
	d->latched = true;
}

uint64_t vdev_offer(struct vdev *d, enum vdev_door door)
{
	uint64_t bits = d->offered;

	if (!d->latched)
		bits = features_offer(d->ops->features, d->dev, d->ops->offer(d));
	if (door == VDEV_LEGACY)
		return bits & UINT32_MAX;
	return bits & ~features_legacy_only(d->ops->features);
}

void vdev_accept(struct vdev *d, enum vdev_door door, unsigned word, uint32_t bits)
{
	if (!vdev_claim(d, door))
		return;
	if (word > 1 || (d->status & (VDEV_FEATURES_OK | VDEV_DRIVER_OK)) || d->running) {
		d->stat.writes_refused++;
		return;
	}
	if (door == VDEV_LEGACY) {
		/* No FEATURES_OK to refuse with: what was not offered is not accepted. */
		latch(d);
		d->accepted = bits & vdev_offer(d, door);
		return;
	}
	d->accepted &= ~((uint64_t)UINT32_MAX << (32 * word));
	d->accepted |= (uint64_t)bits << (32 * word);
}

bool vdev_has(const struct vdev *d, unsigned bit)
{
	return d->latched && (d->accepted & FBIT(bit));
}

static void refuse(struct vdev *d, const char *what, const char *name)
{
	if (log_may(&d->complaints, loop_now_ms()))
		log_warn(d->id, "features refused: %s%s", what, name);
	d->stat.writes_refused++;
}

/* 2.2.2: a subset of the offer, closed over prerequisites; 6.2: VERSION_1 and all it says. */
static bool features_ok(struct vdev *d)
{
	uint64_t offer = vdev_offer(d, VDEV_MODERN), over = d->accepted & ~offer;
	const struct features *t = d->ops->features;
	const struct feature *f;

	if (!(offer & FBIT(VIRTIO_F_VERSION_1))) {
		refuse(d, "the back-end does not offer VERSION_1", "");
	} else if (!(d->accepted & FBIT(VIRTIO_F_VERSION_1))) {
		refuse(d, "the driver did not accept VERSION_1", "");
	} else if (over) {
		refuse(d, "the driver accepted what is not offered, first ",
		       features_name(t, (unsigned)__builtin_ctzll(over)));
	} else if ((f = features_dangling(t, d->accepted))) {
		refuse(d, "the driver accepted less than is needed by ", f->name);
	} else {
		latch(d);
		return true;
	}
	return false;
}

/* ---- status -------------------------------------------------------------------------------- */

static bool allow(struct vdev *d)
{
	return true;
}

static void nothing(struct vdev *d)
{
}

static void start(struct vdev *d);
static void stop(struct vdev *d);

/* The table at enum vdev_status, as code. */
static const struct step {
	uint8_t bit, doors;
	uint8_t after;			/* through the modern door */
	uint8_t before;
	bool  (*may)(struct vdev *d);
	void  (*then)(struct vdev *d);
} steps[] = {
	{ VDEV_ACK, ANY_DOOR, 0, 0, allow, nothing },
	{ VDEV_DRIVER, ANY_DOOR, 0, 0, allow, nothing },
	{ VDEV_FAILED, ANY_DOOR, 0, 0, allow, stop },
	{ VDEV_FEATURES_OK, DOOR(VDEV_MODERN), VDEV_DRIVER, VDEV_FAILED | VDEV_NEEDS_RESET,
	  features_ok, nothing },
	{ VDEV_DRIVER_OK, ANY_DOOR, VDEV_FEATURES_OK, VDEV_FAILED | VDEV_NEEDS_RESET,
	  allow, start },
};

static void step_take(struct vdev *d, enum vdev_door door, const struct step *s)
{
	uint8_t after = door == VDEV_MODERN ? s->after : 0;

	if (!(s->doors & DOOR(door)) || (d->status & after) != after ||
	    (d->status & s->before)) {
		d->stat.writes_refused++;
		return;
	}
	if (!s->may(d))
		return;
	d->status |= s->bit;
	s->then(d);
}

void vdev_set_status(struct vdev *d, enum vdev_door door, uint8_t bits)
{
	uint8_t was = d->status;

	if (!bits) {
		vdev_reset(d);
		return;
	}
	if (!vdev_claim(d, door))
		return;
	for (unsigned i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		if (bits & ~d->status & steps[i].bit)
			step_take(d, door, &steps[i]);
	if ((d->status ^ was) & ~VDEV_NEEDS_RESET)
		d->ops->status(d);
}

/* ---- running ------------------------------------------------------------------------------- */

static void *driver_memory(void *ctx, uint64_t addr, uint64_t len)
{
	struct vdev *d = ctx;
	struct space *s = d->transport->space(d);

	return s ? space_at(s, addr, len) : NULL;
}

void vdev_vq_setup(struct vdev *d, unsigned q, struct vq_setup *s)
{
	*s = (struct vq_setup){
		.num = d->queue[q].size,
		.desc = d->queue[q].desc,
		.avail = d->queue[q].avail,
		.used = d->queue[q].used,
		.packed = vdev_has(d, VIRTIO_F_RING_PACKED),
		.event_idx = vdev_has(d, VIRTIO_RING_F_EVENT_IDX),
		.indirect = vdev_has(d, VIRTIO_RING_F_INDIRECT_DESC),
		.at = driver_memory,
		.ctx = d,
	};
}

static bool queue_sound(struct vdev *d, unsigned q)
{
	struct vq_setup s;
	int rc;

	vdev_vq_setup(d, q, &s);
	rc = vq_check(&s);
	if (!rc)
		return true;
	d->stat.bad_rings++;
	vdev_needs_reset(d, "queue %u: its rings (%#llx, %#llx, %#llx, size %u) %s", q,
			 (unsigned long long)s.desc, (unsigned long long)s.avail,
			 (unsigned long long)s.used, s.num,
			 rc == -EFAULT ? "are not in the driver's DMA memory" :
			 "are unaligned, wrap or overlap");
	return false;
}

static bool counts(struct vdev *d, unsigned q)
{
	return d->queue[q].enabled && d->ops->role(d, q) != VDEV_BELL_NONE;
}

static void queue_runs(struct vdev *d, unsigned q)
{
	d->queue[q].running = true;
	bell_set(&d->queue[q], d->ops->role(d, q));
}

static void start(struct vdev *d)
{
	unsigned n;
	int rc;

	if (d->running)
		return;
	latch(d);
	n = d->ops->queues(d);
	for (unsigned q = 0; q < n; q++)
		if (counts(d, q) && !queue_sound(d, q))
			return;
	rc = d->ops->start(d);
	if (rc < 0) {
		vdev_needs_reset(d, "queues do not start: %s", strerror(-rc));
		return;
	}
	d->running = true;
	__atomic_store_n(&d->bell_data, vdev_has(d, VIRTIO_F_NOTIFICATION_DATA),
			 __ATOMIC_RELAXED);
	for (unsigned q = 0; q < n; q++)
		if (counts(d, q))
			queue_runs(d, q);
}

static void stop(struct vdev *d)
{
	for (unsigned i = 0; i < d->queues_made; i++) {
		bell_set(&d->queue[i], VDEV_BELL_NONE);
		d->queue[i].running = false;
	}
	if (!d->running)
		return;
	d->ops->stop(d);
	d->running = false;
}

void vdev_start_early(struct vdev *d)
{
	if (!(d->status & (VDEV_FAILED | VDEV_NEEDS_RESET)))
		start(d);
}

/* 2.4.1: nothing of the driver's is touched once 0 can be read, so the rings stop first. */
void vdev_reset(struct vdev *d)
{
	stop(d);
	d->status = 0;
	d->door = VDEV_NO_DOOR;
	d->accepted = 0;
	d->latched = false;
	for (unsigned i = 0; i < d->queues_made; i++)
		queue_clear(d, &d->queue[i]);
	d->transport->reset(d);
	if (d->isr) {
		d->isr = 0;
		d->transport->irq_clear(d);
	}
	d->ops->reset(d);
	d->ops->status(d);
	d->stat.resets++;
}

/* ---- queues -------------------------------------------------------------------------------- */

struct vdev_queue *vdev_queue_at(struct vdev *d, unsigned q)
{
	return q < d->ops->queues(d) ? &d->queue[q] : NULL;
}

bool vdev_queue_open(const struct vdev *d, const struct vdev_queue *q)
{
	return !q->enabled && (!(d->status & VDEV_DRIVER_OK) || q->was_reset);
}

bool vdev_size_ok(const struct vdev *d, uint64_t size)
{
	if (!size || size > d->queue_size)
		return false;
	return (d->accepted & FBIT(VIRTIO_F_RING_PACKED)) || !(size & (size - 1));
}

void vdev_queue_enable(struct vdev *d, unsigned q)
{
	int rc;

	d->queue[q].enabled = true;
	d->queue[q].was_reset = false;
	if (!d->running || !counts(d, q) || !queue_sound(d, q))
		return;
	rc = d->ops->queue_start(d, q);
	if (rc < 0)
		vdev_needs_reset(d, "queue %u does not start: %s", q, strerror(-rc));
	else
		queue_runs(d, q);
}

void vdev_queue_reset(struct vdev *d, unsigned q)
{
	struct vdev_queue *vq = &d->queue[q];

	bell_set(vq, VDEV_BELL_NONE);
	if (vq->running)
		d->ops->queue_stop(d, q);
	queue_clear(d, vq);
	vq->was_reset = true;
}

void vdev_queue_call(struct vdev *d, unsigned q)
{
	if (d->queue[q].running)
		d->ops->queue_call(d, q);
}

/* 4.1.5.2: 16 bits of queue, then where the ring stands, which is only a hint: rings are read. */
uint64_t vdev_bell_queue(const struct vdev *d, unsigned size, uint64_t val)
{
	return size == 4 && __atomic_load_n(&d->bell_data, __ATOMIC_RELAXED) ? val & 0xffff : val;
}

enum vdev_bell vdev_ring(struct vdev *d, unsigned q)
{
	static const uint64_t one = 1;
	uint8_t bell = VDEV_BELL_NONE;

	if (q < d->queues_made)
		bell = __atomic_load_n(&d->queue[q].bell, __ATOMIC_ACQUIRE);
	if (bell == VDEV_BELL_NONE)
		__atomic_fetch_add(&d->stat.notifies_dropped, 1, __ATOMIC_RELAXED);
	else
		__atomic_fetch_add(&d->stat.notifies, 1, __ATOMIC_RELAXED);
	/* A full counter means a back-end that has not looked: it will find the ring anyway. */
	if (bell == VDEV_BELL_KICK)
		(void)sys_call(SYS_write, d->queue[q].kick_fd, &one, sizeof(one));
	return (enum vdev_bell)bell;
}

void vdev_serve(struct vdev *d, unsigned q)
{
	if (d->queue[q].bell == VDEV_BELL_SERVE && !(d->status & VDEV_NEEDS_RESET))
		d->ops->notify(d, q);
}

/* ---- towards the driver -------------------------------------------------------------------- */

static void config_irq(struct vdev *d)
{
	if (!(d->status & VDEV_DRIVER_OK))
		return;
	d->isr |= VDEV_ISR_CONFIG;
	d->stat.irqs_config++;
	d->transport->irq_config(d);
}

void vdev_needs_reset(struct vdev *d, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	if (d->status & VDEV_NEEDS_RESET)
		return;
	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	if (log_may(&d->complaints, loop_now_ms()))
		log_error(d->id, "needs a reset: %s", why);
	d->status |= VDEV_NEEDS_RESET;
	d->stat.needs_resets++;
	config_irq(d);
}

void vdev_config_changed(struct vdev *d)
{
	d->config_dirty = true;
	config_irq(d);
}

/*
 * The count moves when it is looked at, at most once per look: any number of changes between
 * two looks makes a difference of one, never of 256, which would be none.
 */
uint8_t vdev_generation(struct vdev *d)
{
	if (d->config_dirty)
		d->generation++;
	d->config_dirty = false;
	return d->generation;
}

uint8_t vdev_isr_read(struct vdev *d)
{
	uint8_t isr = d->isr;

	d->isr = 0;
	if (isr)
		d->transport->irq_clear(d);
	return isr;
}

void vdev_irq_queue(struct vdev *d, unsigned q)
{
	d->stat.irqs_queue++;
	d->transport->irq_queue(d, q);
}

/* ---- memory and counters ------------------------------------------------------------------- */

/* Rings whose memory went away are stopped before it is gone for the back-end too. */
int vdev_memory_changed(struct vdev *d, struct space *s)
{
	for (unsigned q = 0; d->running && q < d->queues_made; q++) {
		if (d->queue[q].running && !queue_sound(d, q)) {
			stop(d);
			break;
		}
	}
	return d->ops->memory_changed(d, s);
}

unsigned vdev_stat(struct ioapi_stat *rows, unsigned max, unsigned n, const char *name,
		   uint64_t value)
{
	if (n < max)
		rows[n] = (struct ioapi_stat){ name, value };
	return n + 1;
}

unsigned vdev_stats(struct vdev *d, struct ioapi_stat *rows, unsigned max)
{
	const struct vdev_stats *s = &d->stat;
	const struct ioapi_stat mine[] = {
		{ "notifies", __atomic_load_n(&s->notifies, __ATOMIC_RELAXED) },
		{ "notifies_dropped", __atomic_load_n(&s->notifies_dropped, __ATOMIC_RELAXED) },
		{ "writes_refused", s->writes_refused },
		{ "irqs_queue", s->irqs_queue },
		{ "irqs_config", s->irqs_config },
		{ "resets", s->resets },
		{ "needs_resets", s->needs_resets },
		{ "bad_rings", s->bad_rings },
	};
	unsigned n = 0;

	for (; n < sizeof(mine) / sizeof(mine[0]); n++)
		if (n < max)
			rows[n] = mine[n];
	if (n >= max)
		return n + d->ops->stats(d, NULL, 0);
	return n + d->ops->stats(d, rows + n, max - n);
}
