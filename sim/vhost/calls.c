// SPDX-License-Identifier: Apache-2.0
// calls.c - what the device asks of its session: the wish changes, and a peer is brought after it.
#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>

#include "sim/core/fd.h"
#include "sim/vhost/session.h"

#define RING_SIZE_MAX 32768u	/* virtio 1.2, 2.7 and 2.8.10 */

void vhost_offer(const struct vhost *v, struct vhost_offer *o)
{
	*o = v->offer;
}

bool vhost_link(const struct vhost *v)
{
	return v->link;
}

/* ---- memory --------------------------------------------------------------------------------- */

int vhost_set_space(struct vhost *v, struct space *s)
{
	session_begin(v);
	if (v->state == VHOST_RUNNING && s != v->space) {
		v->state = VHOST_READY;
		if (run_stop(v))
			session_drop(v, false);
	}
	v->space = s;
	if (v->state == VHOST_RUNNING)
		return vhost_memory_changed(v);
	if (session_can_run(v))
		return session_settle(v, run_start(v), true);
	return 0;
}

static bool rings_fit(struct vhost *v)
{
	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
		if (v->rings[i].live && !run_ring_fits(v, i))
			return false;
	return true;
}

int vhost_memory_changed(struct vhost *v)
{
	int rc;

	session_begin(v);
	if (!session_ready(v) || (v->state == VHOST_READY && !v->told_n))
		return 0;
	if (v->state == VHOST_RUNNING && !rings_fit(v))
		session_fail(v, "the driver took the memory of a running ring away");
	if (!session_ready(v))
		return 0;
	rc = memory_tell(v);
	if (!rc)
		return 0;
	if (session_is_loss(rc)) {
		session_lost(v);
		return 0;
	}
	/* Refused as a whole and without harm: the caller's to take back. */
	if (rc == -E2BIG && !memory_lost(v))
		return v->state == VHOST_RUNNING ? rc : 0;
	if (rc == -EREMOTEIO && (v->peer.can & VHOST_CAN_SLOTS) && !memory_lost(v))
		return rc;
	/* What it holds is unknown after the refusal of a table, and too much otherwise. */
	if (rc == -E2BIG && v->state == VHOST_RUNNING)
		session_fail(v, v->why);
	if (session_ready(v))
		session_drop(v, false);
	return rc;
}

/* ---- the log -------------------------------------------------------------------------------- */

int vhost_log_start(struct vhost *v)
{
	int rc;

	if (v->log_on)
		return 0;
	if (!session_ready(v))
		return -ENOTCONN;
	if (!(v->peer.can & VHOST_CAN_LOG))
		return -EOPNOTSUPP;
	v->log_on = true;
	v->log_lost = false;
	session_begin(v);
	/* Before the first start there is nothing to log: run_start() does all this. */
	rc = v->told_n ? memory_tell(v) : 0;
	if (!rc && v->state == VHOST_RUNNING)
		rc = run_ring_log(v);
	rc = session_after(v, rc);
	if (rc)
		vhost_log_stop(v);
	return rc;
}

void vhost_log_stop(struct vhost *v)
{
	if (!v->log_on)
		return;
	v->log_on = false;
	if (v->state == VHOST_RUNNING) {
		session_begin(v);
		(void)session_after(v, run_ring_log(v));
	}
	dirty_close(&v->log);
	v->log_told = 0;
}

void vhost_log_wrote(struct vhost *v, uint64_t addr, uint64_t len)
{
	if (v->log_on && (v->log.fd < 0 || dirty_mark(&v->log, addr, len)))
		v->log_lost = true;
}

int vhost_log_harvest(struct vhost *v, void (*page)(void *ctx, uint64_t addr), void *ctx)
{
	bool lost = v->log_lost;
	int rc;

	if (!v->log_on)
		return -EINVAL;
	rc = v->log.fd >= 0 ? dirty_harvest(&v->log, page, ctx) : 0;
	v->log_lost = false;
	return lost ? -ENODATA : rc;
}

/* ---- rings ---------------------------------------------------------------------------------- */

static bool sane(const struct vhost_ring *r, bool packed)
{
	return !r->num || (r->num <= RING_SIZE_MAX && (packed || !(r->num & (r->num - 1))));
}

static void forget_rings(struct vhost *v)
{
	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
		v->rings[i] = (struct ring){ .enabled = v->rings[i].enabled };
}

int vhost_start(struct vhost *v, uint64_t acked, uint16_t mtu, const struct vhost_ring *rings,
		unsigned n)
{
	if (v->orphan)
		return -ENODEV;
	if (v->started)
		return -EBUSY;
	if (n > VHOST_RINGS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		if (!sane(&rings[i], acked & (UINT64_C(1) << VIRTIO_F_RING_PACKED)))
			return -EINVAL;
	for (unsigned i = 0; i < n; i++)
		v->rings[i].r = rings[i];
	v->acked = acked;
	v->mtu = mtu;
	v->started = true;
	v->broken = false;
	if (!session_ready(v))
		return 0;
	session_begin(v);
	if (!session_fits(v)) {
		session_drop(v, true);
		return 0;
	}
	v->why = "the driver lends no memory";
	return session_settle(v, v->space ? run_start(v) : -EFAULT, true);
}

/* What the peer forgets it has to be told anew; slots it keeps. */
static int reset(struct vhost *v)
{
	int rc;

	if (!(v->peer.can & VHOST_CAN_RESET))
		return 0;
	rc = v->t->ops->reset(v->t);
	if (!(v->peer.can & VHOST_CAN_SLOTS))
		v->told_n = 0;
	v->log_told = 0;
	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
		v->rings[i].enabled = false;
	return rc;
}

void vhost_stop(struct vhost *v)
{
	int rc = 0;

	if (!v->started)
		return;
	session_begin(v);
	if (v->state == VHOST_RUNNING) {
		v->state = VHOST_READY;
		rc = run_stop(v);
	}
	v->started = v->broken = false;
	forget_rings(v);
	fd_drop(&v->inflight.fd);	/* a reset ends what was in flight */
	if (!rc && session_ready(v))
		rc = reset(v);
	if (!rc && session_ready(v) && !v->status)
		rc = session_after(v, run_status(v, 0));
	if (rc)
		session_drop(v, false);
}

int vhost_change_features(struct vhost *v, uint64_t acked)
{
	uint64_t was = v->acked;
	int rc;

	if (!v->started)
		return -EINVAL;
	v->acked = acked;
	if (v->state != VHOST_RUNNING)
		return 0;
	session_begin(v);
	v->state = VHOST_READY;
	if (run_stop(v)) {
		session_drop(v, false);
		return 0;		/* the next peer gets the new ones */
	}
	rc = run_start(v);
	if (rc != -EREMOTEIO)
		return session_settle(v, rc, true);
	v->acked = was;
	if (run_stop(v))		/* it may have refused with rings started already */
		session_drop(v, false);
	else
		(void)session_settle(v, run_start(v), true);
	return rc;
}

bool vhost_started(const struct vhost *v)
{
	return v->started;
}

int vhost_ring_enable(struct vhost *v, unsigned ring, bool on)
{
	struct ring *r = &v->rings[ring];
	int rc;

	assert(ring < VHOST_RINGS_MAX);
	r->r.enabled = on;
	if (v->state != VHOST_RUNNING || !r->r.num)
		return 0;
	session_begin(v);
	if (!(v->peer.can & VHOST_CAN_ENABLE)) {
		if (on == r->live)
			return 0;
		return session_after(v, on ? run_ring_start(v, ring) : run_ring_stop(v, ring));
	}
	rc = v->t->ops->ring_enable(v->t, ring, on);
	if (!rc)
		r->enabled = on;
	return session_after(v, rc);
}

int vhost_ring_call(struct vhost *v, unsigned ring, int call_fd)
{
	struct ring *r = &v->rings[ring];

	assert(ring < VHOST_RINGS_MAX);
	r->r.call_fd = call_fd;
	if (v->state != VHOST_RUNNING || !r->live)
		return 0;
	session_begin(v);
	return session_after(v, v->t->ops->ring_fd(v->t, ring, VHOST_FD_CALL, call_fd));
}

int vhost_ring_stop(struct vhost *v, unsigned ring)
{
	struct ring *r = &v->rings[ring];
	int rc;

	assert(ring < VHOST_RINGS_MAX);
	session_begin(v);
	rc = run_ring_stop(v, ring);
	if (rc)
		session_drop(v, false);
	*r = (struct ring){ .enabled = r->enabled };
	return 0;
}

int vhost_ring_start(struct vhost *v, unsigned ring, const struct vhost_ring *wish)
{
	struct ring *r = &v->rings[ring];
	int rc;

	assert(ring < VHOST_RINGS_MAX);
	if (!v->started || !wish->num ||
	    !sane(wish, v->acked & (UINT64_C(1) << VIRTIO_F_RING_PACKED)))
		return -EINVAL;
	if (r->live)
		return -EBUSY;
	*r = (struct ring){ .r = *wish, .enabled = r->enabled };
	if (v->state != VHOST_RUNNING)
		return 0;
	session_begin(v);
	if (!(v->peer.can & VHOST_CAN_ENABLE) && !wish->enabled)
		return 0;
	rc = run_ring_start(v, ring);
	if (!rc)
		fd_signal(wish->kick_fd);
	return session_after(v, rc);
}

/* ---- status, configuration, counters -------------------------------------------------------- */

/*
 * Passed on step by step; only FEATURES_OK and DRIVER_OK wait until the back-end was told what they
 * stand for (run_start()), and 0 until its rings have stopped (vhost_stop()).
 */
void vhost_status(struct vhost *v, uint8_t status)
{
	uint8_t early = VIRTIO_CONFIG_S_FEATURES_OK | VIRTIO_CONFIG_S_DRIVER_OK;
	v->status = status;
	if (!session_ready(v) || (v->started && (v->state != VHOST_RUNNING || !status)))
		return;
	session_begin(v);
	(void)session_after(v, run_status(v, v->started ? status : status & (uint8_t)~early));
}

int vhost_get_config(struct vhost *v, void *buf, unsigned off, unsigned len)
{
	int rc;

	if (!session_ready(v))
		return -ENOTCONN;
	session_begin(v);
	rc = v->t->ops->get_config(v->t, buf, off, len);
	if (session_is_loss(rc))
		session_lost(v);
	return rc;
}

void vhost_announce(struct vhost *v, const uint8_t mac[6])
{
	if (v->state != VHOST_RUNNING || !(v->peer.can & VHOST_CAN_ANNOUNCE))
		return;
	session_begin(v);
	(void)session_after(v, v->t->ops->announce(v->t, mac));
}

unsigned vhost_stats(const struct vhost *v, struct ioapi_stat *rows, unsigned max)
{
	const struct ioapi_stat own[] = {
		{ "vhost_losses", v->losses }, { "vhost_starts", v->starts },
		{ "vhost_stops", v->stops }, { "ring_starts", v->ring_starts },
		{ "ring_stops", v->ring_stops }, { "memory_updates", v->memory_updates },
		{ "rings_resumed", v->resumes }, { "rings_resumed_by_guess", v->resumes_guessed },
		{ "ring_flushes_mended", v->torn_mended },
		{ "ring_buffers_given_back", v->given_back }, { "ring_errors", v->ring_errors },
		{ "device_failures", v->failures }, { "ring_pauses", v->pauses },
		{ "host_notifiers", v->notifiers }, { "memory_refused", v->memory_refused },
		/* How it is now: what the driver lends, and what the last peer has and takes. */
		{ "memory_lent", v->space ? space_snapshot(v->space, NULL, 0) : 0 },
		{ "memory_regions", v->told_n }, { "memory_regions_max", v->peer.regions_max },
	};
	const unsigned own_n = sizeof(own) / sizeof(own[0]);

	for (unsigned i = 0; i < own_n && i < max; i++)
		rows[i] = own[i];
	return own_n + v->t->ops->stats(v->t, max > own_n ? rows + own_n : NULL,
					max > own_n ? max - own_n : 0);
}
