// SPDX-License-Identifier: Apache-2.0
/*
 * run.c - what a ready back-end is told so that it serves the rings, and how it is made to stop.
 *
 * Start: features, status up to FEATURES_OK, MTU, memory, what was in flight, rings (geometry,
 * error, call and at last kick fd), enables, DRIVER_OK. Stop: GET_VRING_BASE for each ring and no
 * disable before it, for a disabled transmit ring is emptied into the bin.
 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>

#include "sim/core/fd.h"
#include "sim/ring/resume.h"
#include "sim/vhost/session.h"

#define BIT(n) (UINT64_C(1) << (n))
#define LOG_ALL 26			/* vhost's bit among the features */
#define FRESH_PACKED 0x80008000u	/* both halves: index 0, wrap counter 1 */
#define LOOKS_MAX 32			/* at a ring whose driver is writing, 1 ms apart */

static bool packed(const struct vhost *v)
{
	return v->acked & BIT(VIRTIO_F_RING_PACKED);
}

/* ---- status --------------------------------------------------------------------------------- */

/* Bits are added until all are cleared (virtio 1.2, 2.1); what it knows it is not told again. */
int run_status(struct vhost *v, uint8_t status)
{
	int rc;

	if (!(v->peer.can & VHOST_CAN_STATUS) || status == v->told_status ||
	    (status && !(status & (uint8_t)~v->told_status)))
		return 0;
	rc = v->t->ops->set_status(v->t, status);
	if (!rc)
		v->told_status = status;
	return rc;
}

/* What the driver must have written by now, were it not told. */
static uint8_t status_of(const struct vhost *v, bool driver_ok)
{
	uint8_t status = v->status & (uint8_t)~VIRTIO_CONFIG_S_DRIVER_OK;

	status |= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;
	if (v->acked & BIT(VIRTIO_F_VERSION_1))
		status |= VIRTIO_CONFIG_S_FEATURES_OK;
	return driver_ok ? status | VIRTIO_CONFIG_S_DRIVER_OK : status;
}

static uint64_t features_of(const struct vhost *v)
{
	bool log = v->log_on && (v->peer.can & VHOST_CAN_LOG);

	return v->acked | (log ? BIT(LOG_ALL) : 0);
}

/* Virtio 1.2, 2.2.2: FEATURES_OK holds only if it reads back. */
static int agree_features(struct vhost *v)
{
	uint8_t status = status_of(v, false), got = status;
	int rc = run_status(v, status & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER));

	v->why = "the back-end refused the features";
	if (!rc)
		rc = v->t->ops->set_features(v->t, features_of(v));
	if (!rc)
		rc = run_status(v, status);
	if (rc || !(v->peer.can & VHOST_CAN_STATUS))
		return rc;
	rc = v->t->ops->get_status(v->t, &got);
	if (!rc && (status & ~got & VIRTIO_CONFIG_S_FEATURES_OK))
		return -EREMOTEIO;
	v->why = "the back-end asks for a reset";
	return !rc && (got & VIRTIO_CONFIG_S_NEEDS_RESET) ? -EREMOTEIO : rc;
}

/* ---- one ring ------------------------------------------------------------------------------- */

/* Sizes of the three parts: virtio 1.2, 2.7 and 2.8.10; the event fields only where used. */
static bool translate(struct vhost *v, const struct vhost_ring *r, struct vhost_ring_addr *a)
{
	unsigned event = v->acked & BIT(VIRTIO_RING_F_EVENT_IDX) ? 2 : 0;
	uint64_t num = r->num;
	void *desc = NULL, *avail = NULL, *used = NULL;

	if (v->space) {
		desc = space_at(v->space, r->desc, 16 * num);
		avail = space_at(v->space, r->avail, packed(v) ? 4 : 4 + 2 * num + event);
		used = space_at(v->space, r->used, packed(v) ? 4 : 4 + 8 * num + event);
	}
	*a = (struct vhost_ring_addr){
		.num = r->num, .log = v->log_on && (v->peer.can & VHOST_CAN_LOG),
		.desc = { (uintptr_t)desc, r->desc }, .avail = { (uintptr_t)avail, r->avail },
		.used = { (uintptr_t)used, r->used },
	};
	return desc && avail && used;
}

bool run_ring_fits(struct vhost *v, unsigned ring)
{
	struct vhost_ring_addr a;

	return translate(v, &v->rings[ring].r, &a);
}

static void nap(struct vhost *v)
{
	loop_wait(v->host.loop, NULL, 0, loop_now(v->host.loop) + 1);
}

/* Where the ring's memory says it stands. */
static int look(struct vhost *v, const struct vhost_ring_addr *a, bool mend, uint32_t *base,
		struct resume_note *note)
{
	unsigned flags = (v->acked & BIT(VIRTIO_F_IN_ORDER) ? RESUME_IN_ORDER : 0) |
			 (mend ? RESUME_MEND : 0);

	*note = (struct resume_note){ 0 };
	if (!packed(v))
		return resume_split((void *)(uintptr_t)a->used.va, a->num, base);
	return resume_packed((void *)(uintptr_t)a->desc.va, a->num, flags, base, note);
}

/* As look(), for as long as the driver is found writing. */
static int look_again(struct vhost *v, const struct vhost_ring_addr *a, bool mend, uint32_t *base,
		      struct resume_note *note)
{
	int rc = look(v, a, mend, base, note);

	for (unsigned i = 1; i < LOOKS_MAX && rc == -EAGAIN; i++) {
		nap(v);
		rc = look(v, a, mend, base, note);
	}
	return rc == -EAGAIN ? -EUCLEAN : rc;
}

/*
 * A ring no peer ever had starts fresh; one that was stopped in order, where its peer said; any
 * other where its memory says. Where that leaves doubt, what was seen right after the loss, when
 * the driver had not yet gone on, decides. With a record of what was in flight the back-end knows
 * better than the memory can tell: then nothing is doubtful, and nothing of ours is to be mended.
 * It is told the last place that was certain, which holds if it had not yet begun with the ring.
 */
static int find_base(struct vhost *v, unsigned ring, struct vhost_ring_addr *a)
{
	struct ring *r = &v->rings[ring];
	struct resume_note note;
	uint32_t base;
	bool seen;
	int rc;

	a->base = r->ran ? r->base : packed(v) ? FRESH_PACKED : 0;
	if (!r->ran || r->stopped_at)
		return 0;
	rc = look_again(v, a, false, &base, &note);
	if (v->inflight.fd >= 0 && (rc || note.doubt))
		return 0;
	seen = !rc && note.doubt && r->seen_at;
	if (!rc && !seen && v->inflight.fd < 0)
		rc = look_again(v, a, true, &base, &note);
	if (rc) {
		v->why = "a ring's memory does not tell where it stood";
		return rc;
	}
	v->resumes++;
	v->torn_mended += note.mended;
	v->given_back += note.given_back;
	v->resumes_guessed += note.doubt && !seen && !note.given_back;
	if (note.mended || note.given_back)
		vhost_log_wrote(v, r->r.desc, 16 * (uint64_t)r->r.num);
	if (!seen)
		a->base = base;
	log_info(v->cfg.id, "ring %u resumes at %#x%s%s%s", ring, a->base,
		 seen ? ", as seen at the loss" : note.doubt ? ", in doubt" : "",
		 note.mended ? ", a torn flush finished" : "",
		 note.given_back ? ", all buffers given back" : "");
	return 0;
}

/* All it takes but the kick. */
static int prepare(struct vhost *v, unsigned ring)
{
	const struct vhost_ops *ops = v->t->ops;
	struct ring *r = &v->rings[ring];
	struct vhost_ring_addr a;
	int rc;

	v->why = "a ring is outside the driver's memory";
	if (!translate(v, &r->r, &a))
		return -EFAULT;
	rc = find_base(v, ring, &a);
	if (rc)
		return rc;
	r->base = a.base;
	v->why = "the back-end refused a ring";
	rc = ops->ring_setup(v->t, ring, &a);
	if (!rc && r->enabled && !r->r.enabled) {
		rc = ops->ring_enable(v->t, ring, false);
		r->enabled = rc != 0;
	}
	if (!rc)
		rc = ops->ring_fd(v->t, ring, VHOST_FD_ERR, v->err_fd);
	if (!rc)
		rc = ops->ring_fd(v->t, ring, VHOST_FD_CALL, r->r.call_fd);
	return rc;
}

/* From here on it may run, whatever the answer. */
static int launch(struct vhost *v, unsigned ring)
{
	struct ring *r = &v->rings[ring];
	int rc;

	v->why = "the back-end refused to start a ring";
	r->ran = r->live = true;
	r->stopped_at = r->seen_at = false;
	v->ring_starts++;
	rc = v->t->ops->ring_fd(v->t, ring, VHOST_FD_KICK, r->r.kick_fd);
	if (rc || !r->r.enabled || !(v->peer.can & VHOST_CAN_ENABLE))
		return rc;
	rc = v->t->ops->ring_enable(v->t, ring, true);
	r->enabled = !rc;
	return rc;
}

int run_ring_start(struct vhost *v, unsigned ring)
{
	int rc = prepare(v, ring);

	if (!rc)
		rc = v->t->ops->sync(v->t);
	if (!rc)
		rc = launch(v, ring);
	return rc ? rc : v->t->ops->sync(v->t);
}

static void drop_notifier(struct vhost *v, unsigned ring)
{
	if (v->rings[ring].notifier)
		v->host.notifier(v->host.owner, ring, -1, 0);
	v->rings[ring].notifier = false;
}

int run_ring_stop(struct vhost *v, unsigned ring)
{
	struct ring *r = &v->rings[ring];
	uint32_t base, at, top = packed(v) ? 0x7fff : 0xffff;
	int rc;

	if (!r->live)
		return 0;
	drop_notifier(v, ring);
	rc = v->t->ops->ring_stop(v->t, ring, &base);
	if (rc)
		return rc;
	r->live = false;
	v->ring_stops++;
	/* Nothing is in flight any more: packed, the used half is the avail half, which is all
	 * that DPDK reports. */
	at = base & (packed(v) ? 0xffff : top);
	r->base = packed(v) ? at | at << 16 : at;
	r->stopped_at = !packed(v) || (at & top) < r->r.num;
	return 0;
}

/* ---- all of it ------------------------------------------------------------------------------ */

/* Without the ability to disable a ring, a disabled one is one that is not started. */
static bool to_run(const struct vhost *v, const struct ring *r)
{
	return r->r.num && (r->r.enabled || (v->peer.can & VHOST_CAN_ENABLE));
}

/* No ring runs before the back-end has agreed to all that was told about all of them. */
static int start_rings(struct vhost *v)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < VHOST_RINGS_MAX; i++)
		if (to_run(v, &v->rings[i]))
			rc = prepare(v, i);
	if (!rc)
		rc = v->t->ops->sync(v->t);
	for (unsigned i = 0; !rc && i < VHOST_RINGS_MAX; i++)
		if (to_run(v, &v->rings[i]))
			rc = launch(v, i);
	return rc;
}

/* Whatever was signalled while nobody listened is signalled again. */
static void wake_rings(struct vhost *v, bool resumed)
{
	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
		if (!v->rings[i].live)
			continue;
		fd_signal(v->rings[i].r.kick_fd);
		if (resumed)
			fd_signal(v->rings[i].r.call_fd);
	}
}

/* The record of the last back-end, or a fresh one where that does not fit or there was none. */
static int hand_inflight(struct vhost *v)
{
	struct vhost_inflight want = { .fd = -1 };
	int rc = 0;

	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
		if (!v->rings[i].r.num)
			continue;
		want.queues = (uint16_t)(i + 1);
		if (v->rings[i].r.num > want.queue_size)
			want.queue_size = v->rings[i].r.num;
	}
	if (!(v->peer.can & VHOST_CAN_INFLIGHT) || want.queues != v->inflight.queues ||
	    want.queue_size != v->inflight.queue_size)
		fd_drop(&v->inflight.fd);
	if (!(v->peer.can & VHOST_CAN_INFLIGHT) || !want.queues)
		return 0;
	v->why = "the back-end refused the record of what is in flight";
	if (v->inflight.fd < 0) {
		rc = v->t->ops->inflight_new(v->t, &want);
		if (!rc)
			v->inflight = want;
	}
	return rc ? rc : v->t->ops->inflight_set(v->t, &v->inflight);
}

int run_start(struct vhost *v)
{
	bool resumed = false;
	int rc = agree_features(v);

	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
		resumed |= v->rings[i].ran;
	if (!rc && v->mtu && (v->peer.can & VHOST_CAN_MTU)) {
		v->why = "the back-end refused the MTU";
		rc = v->t->ops->set_mtu(v->t, v->mtu);
	}
	if (!rc)
		rc = memory_tell(v);
	if (!rc)
		rc = hand_inflight(v);
	if (!rc)
		rc = start_rings(v);
	if (!rc) {
		v->why = "the back-end refused to start";
		rc = run_status(v, status_of(v, true));
	}
	if (!rc)
		rc = v->t->ops->sync(v->t);
	if (rc)
		return rc;
	v->starts++;
	wake_rings(v, resumed);
	return 0;
}

int run_stop(struct vhost *v)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < VHOST_RINGS_MAX; i++)
		rc = run_ring_stop(v, i);
	v->stops++;
	return rc;
}

int run_pause(struct vhost *v)
{
	int rc = 0;

	v->pauses++;
	for (unsigned i = 0; !rc && i < VHOST_RINGS_MAX; i++) {
		if (!v->rings[i].live)
			continue;
		rc = run_ring_stop(v, i);
		v->rings[i].paused = !rc;
	}
	return rc;
}

int run_resume(struct vhost *v)
{
	int rc = 0;

	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
		if (!v->rings[i].paused)
			continue;
		v->rings[i].paused = false;
		if (!rc)
			rc = run_ring_start(v, i);
		if (!rc)
			fd_signal(v->rings[i].r.kick_fd);
	}
	return rc;
}

/* On: all that is written is to be seen, so features first; off the other way round. */
int run_ring_log(struct vhost *v)
{
	int rc = 0;

	v->why = "the back-end refused to log";
	if (v->log_on)
		rc = v->t->ops->set_features(v->t, features_of(v));
	for (unsigned i = 0; !rc && i < VHOST_RINGS_MAX; i++) {
		struct vhost_ring_addr a;

		if (v->rings[i].live && translate(v, &v->rings[i].r, &a))
			rc = v->t->ops->ring_addr(v->t, i, &a);
	}
	if (!rc && !v->log_on)
		rc = v->t->ops->set_features(v->t, features_of(v));
	return rc ? rc : v->t->ops->sync(v->t);
}

/* What is seen of a ring holds only where nobody works on it any more. */
void run_lost(struct vhost *v)
{
	struct vhost_ring_addr a;
	struct resume_note note;
	uint32_t base;

	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++) {
		struct ring *r = &v->rings[i];

		r->enabled = r->paused = false;
		if (!r->live)
			continue;
		r->live = false;
		drop_notifier(v, i);
		r->seen_at = !v->t->lingers && translate(v, &r->r, &a) &&
			     !look(v, &a, false, &base, &note) && !note.doubt;
		if (r->seen_at)
			r->base = base;
	}
	v->told_n = 0;
	v->told_status = 0;
	v->log_told = 0;
}
