// SPDX-License-Identifier: Apache-2.0
/*
 * vhost.c - a session: keeps the wish (what the device wants) and the peer apart, and brings a
 * peer to the wish whenever one appears or the wish changes. Knows no wire.
 *
 * A verb that fails leaves one of three situations (settle()): the peer is gone, and the wish waits
 * for the next one; the peer refuses, which at the driver's own start is the driver's matter
 * (failed()) and at a replay the peer's (it is sent away and asked again later); or the driver's
 * memory or rings are impossible, which only a reset mends.
 */
#include <assert.h>
#include <errno.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/vhost/session.h"

#define RING_SIZE_MAX 32768u	/* virtio 1.2, 2.7 and 2.8.10 */

static void begin(struct vhost *v)
{
	v->t->deadline_ms = loop_now(v->host.loop) + v->cfg.timeout_ms / 2;
}

static bool ready(const struct vhost *v)
{
	return v->state >= VHOST_READY;
}

static void set_link(struct vhost *v, bool up)
{
	if (v->link == up)
		return;
	v->link = up;
	log_info(v->cfg.id, "link %s", up ? "up" : "down");
	v->host.link(v->host.owner, up);
}

/* ---- losing and failing --------------------------------------------------------------------- */

static void lost(void *owner)
{
	struct vhost *v = owner;

	if (v->state == VHOST_DOWN)
		return;
	v->state = VHOST_DOWN;
	v->losses++;
	run_lost(v);
	set_link(v, false);
}

static bool is_loss(int rc)
{
	static const int others[] = { -EREMOTEIO, -EOPNOTSUPP, -EFAULT, -E2BIG, -EINVAL, -EUCLEAN };

	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (rc == others[i])
			return false;
	return rc < 0;
}

static void drop(struct vhost *v, bool slow)
{
	v->t->ops->drop(v->t, slow);
	lost(v);
}

/* Rings stop, the peer stays if it can be asked to stop; the driver has to reset. */
static void fail(struct vhost *v, const char *why)
{
	if (v->state == VHOST_RUNNING)
		v->state = VHOST_READY;
	if (ready(v) && run_stop(v))
		drop(v, false);
	v->broken = true;
	v->failures++;
	log_warn(v->cfg.id, "%s: the driver has to reset the device", why);
	v->host.failed(v->host.owner, why);
}

/* Judges what run_start() returned; `first` at the driver's start, not at a replay. */
static int settle(struct vhost *v, int rc, bool first)
{
	if (!rc) {
		v->state = VHOST_RUNNING;
		return 0;
	}
	if (is_loss(rc) || is_loss(v->t->ops->sync(v->t))) {
		lost(v);
		return 0;
	}
	if (rc == -EREMOTEIO && !first) {
		if (log_may(&v->may_log, loop_now(v->host.loop)))
			log_warn(v->cfg.id, "%s; trying again later", v->why);
		drop(v, true);
		return 0;
	}
	fail(v, v->why);
	return rc;
}

/* After a verb by itself: a refusal is the caller's to know, a loss is not. */
static int after_verb(struct vhost *v, int rc)
{
	if (!is_loss(rc)) {
		int later = v->t->ops->sync(v->t);

		rc = rc && !is_loss(later) ? rc : later;
	}
	if (!is_loss(rc))
		return rc;
	lost(v);
	return 0;
}

/* ---- a peer appears ------------------------------------------------------------------------- */

static unsigned rings_used(const struct vhost *v)
{
	unsigned n = 0;

	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
		if (v->rings[i].r.num)
			n = i + 1;
	return n;
}

/* Whether the peer can serve what the driver was promised and has taken up. */
static bool fits(struct vhost *v)
{
	uint64_t missing = v->acked & ~v->peer.features;

	if (!v->started || (!missing && rings_used(v) <= v->peer.rings_max))
		return true;
	if (!log_may(&v->may_log, loop_now(v->host.loop)))
		return false;
	if (missing)
		log_warn(v->cfg.id, "the back-end lacks features the driver uses (%#llx); waiting "
			 "for one that has them", (unsigned long long)missing);
	else
		log_warn(v->cfg.id, "the back-end serves %u rings, the driver uses %u; waiting for "
			 "one that has them", v->peer.rings_max, rings_used(v));
	return false;
}

static void learn(struct vhost *v)
{
	if (v->offer_final)
		return;
	v->offer_final = true;
	v->offer = (struct vhost_offer){
		.known = true,
		.features = v->cfg.features & v->peer.features,
		.rings_max = v->peer.rings_max,
		.mtu = v->peer.can & VHOST_CAN_MTU,
		.status = v->peer.can & VHOST_CAN_STATUS,
		.config = v->peer.can & VHOST_CAN_CONFIG,
	};
}

static bool can_run(const struct vhost *v)
{
	return ready(v) && v->started && !v->broken && v->space;
}

static void found(void *owner)
{
	struct vhost *v = owner;
	int rc;

	begin(v);
	assert(v->state == VHOST_DOWN);
	v->state = VHOST_CONNECTED;
	rc = v->t->ops->hello(v->t, &v->peer);
	if (rc) {
		lost(v);
		return;
	}
	if (!fits(v)) {
		drop(v, true);
		return;
	}
	learn(v);
	v->state = VHOST_READY;
	if (can_run(v))
		settle(v, run_start(v), false);
	if (ready(v))
		set_link(v, true);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void err_ready(struct loop_source *s, uint32_t events)
{
	struct vhost *v = (struct vhost *)((char *)s - offsetof(struct vhost, err));

	(void)events;
	if (lock_take(v->host.lock))
		return;
	if (fd_drain(v->err_fd) && v->state == VHOST_RUNNING) {
		v->ring_errors++;
		begin(v);
		fail(v, "the back-end reports an error in a ring");
	}
	lock_drop(v->host.lock);
}

int vhost_new(struct vhost **out, const struct vhost_config *cfg, const struct vhost_host *host,
	      struct err *e)
{
	struct vhost *v = fault_pages(sizeof(*v));
	struct vhost_upper upper = { .found = found, .lost = lost };
	int rc;

	if (!v)
		return err_set(e, -ENOMEM, "%s: out of memory", cfg->id);
	v->cfg = *cfg;
	v->host = *host;
	v->err_fd = -1;
	v->err = (struct loop_source){ .ready = err_ready, .fd = -1 };
	v->may_log = (struct log_limit){ .burst = 8, .every_ms = 10000 };
	v->offer = (struct vhost_offer){
		.features = cfg->features_blind & cfg->features,
		.rings_max = cfg->rings < 2 ? 2 : cfg->rings,
	};
	upper.owner = v;
	rc = vhost_user_new(&v->t, &v->cfg, host->loop, host->lock, &upper, e);
	if (rc) {
		vhost_free(v);
		return rc;
	}
	*out = v;
	return 0;
}

void vhost_free(struct vhost *v)
{
	if (!v)
		return;
	if (v->t)
		v->t->ops->free(v->t);
	if (v->err.linked)
		loop_watch(v->host.loop, &v->err, -1);
	fd_drop(&v->err_fd);
	fault_pages_free(v, sizeof(*v));
}

void vhost_orphan(struct vhost *v)
{
	v->orphan = true;
	v->opened = v->started = false;
	v->state = VHOST_DOWN;
	v->link = false;
	v->t->ops->orphan(v->t);
	fd_drop(&v->err_fd);
}

int vhost_open(struct vhost *v, struct err *e)
{
	int rc;

	if (v->orphan)
		return err_set(e, -ENODEV, "%s: belongs to the parent process", v->cfg.id);
	if (v->opened)
		return err_set(e, -EBUSY, "%s: open already", v->cfg.id);
	v->err_fd = fd_keep_event();
	if (v->err_fd < 0) {
		rc = v->err_fd;
		v->err_fd = -1;
		return err_set(e, rc, "%s: no descriptor left (raise ulimit -n)", v->cfg.id);
	}
	rc = loop_start(v->host.loop);
	if (rc) {
		fd_drop(&v->err_fd);
		return err_set(e, rc, "%s: cannot start a thread (errno %d)", v->cfg.id, -rc);
	}
	loop_watch(v->host.loop, &v->err, v->err_fd);
	v->opened = true;
	v->offer_final = false;
	v->status = 0;
	begin(v);
	rc = v->t->ops->open(v->t, e);
	if (rc)
		vhost_close(v);
	else if (v->state == VHOST_DOWN)
		v->t->ops->wait(v->t, v->cfg.wait_ms);
	return rc;
}

void vhost_close(struct vhost *v)
{
	if (!v->opened)
		return;
	vhost_stop(v);
	v->opened = false;
	v->t->ops->close(v->t);
	v->state = VHOST_DOWN;
	v->link = false;
	v->space = NULL;
	run_lost(v);
	loop_watch(v->host.loop, &v->err, -1);
	fd_drop(&v->err_fd);
}

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
	begin(v);
	if (v->state == VHOST_RUNNING && s != v->space) {
		v->state = VHOST_READY;
		if (run_stop(v))
			drop(v, false);
	}
	v->space = s;
	if (v->state == VHOST_RUNNING)
		return vhost_memory_changed(v);
	if (can_run(v))
		return settle(v, run_start(v), true);
	return 0;
}

static bool rings_fit(struct vhost *v)
{
	for (unsigned i = 0; i < VHOST_RINGS_MAX; i++)
		if (v->rings[i].live && !run_ring_fits(v, i))
			return false;
	return true;
}

/* Whether the peer has memory the driver no longer lends. */
static bool holds_lost_memory(const struct vhost *v)
{
	for (unsigned i = 0; i < v->told_n; i++) {
		const struct space_region *r = &v->told[i].r;

		if (!v->space || (uintptr_t)space_at(v->space, r->iova, r->size) != r->va)
			return true;
	}
	return false;
}

int vhost_memory_changed(struct vhost *v)
{
	int rc;

	begin(v);
	if (!ready(v) || (v->state == VHOST_READY && !v->told_n))
		return 0;
	if (v->state == VHOST_RUNNING && !rings_fit(v))
		fail(v, "the driver took the memory of a running ring away");
	if (!ready(v))
		return 0;
	rc = run_memory(v);
	if (!rc)
		return 0;
	if (is_loss(rc)) {
		lost(v);
		return 0;
	}
	if (rc == -E2BIG && !holds_lost_memory(v))
		return v->state == VHOST_RUNNING ? rc : 0;
	/* What it holds is unknown after a refusal, and too much otherwise. */
	if (rc == -E2BIG && v->state == VHOST_RUNNING)
		fail(v, v->why);
	if (ready(v))
		drop(v, false);
	return rc;
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
	if (!ready(v))
		return 0;
	begin(v);
	if (!fits(v)) {
		drop(v, true);
		return 0;
	}
	v->why = "the driver lends no memory";
	return settle(v, v->space ? run_start(v) : -EFAULT, true);
}

void vhost_stop(struct vhost *v)
{
	int rc = 0;

	if (!v->started)
		return;
	begin(v);
	if (v->state == VHOST_RUNNING) {
		v->state = VHOST_READY;
		rc = run_stop(v);
	}
	v->started = v->broken = false;
	forget_rings(v);
	if (!rc && ready(v) && !v->status)
		rc = after_verb(v, run_status(v, 0));
	if (rc)
		drop(v, false);
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
	begin(v);
	if (!(v->peer.can & VHOST_CAN_ENABLE)) {
		if (on == r->live)
			return 0;
		return after_verb(v, on ? run_ring_start(v, ring) : run_ring_stop(v, ring));
	}
	rc = v->t->ops->ring_enable(v->t, ring, on);
	if (!rc)
		r->enabled = on;
	return after_verb(v, rc);
}

int vhost_ring_call(struct vhost *v, unsigned ring, int call_fd)
{
	struct ring *r = &v->rings[ring];

	assert(ring < VHOST_RINGS_MAX);
	r->r.call_fd = call_fd;
	if (v->state != VHOST_RUNNING || !r->live)
		return 0;
	begin(v);
	return after_verb(v, v->t->ops->ring_fd(v->t, ring, VHOST_FD_CALL, call_fd));
}

int vhost_ring_stop(struct vhost *v, unsigned ring)
{
	struct ring *r = &v->rings[ring];
	int rc;

	assert(ring < VHOST_RINGS_MAX);
	begin(v);
	rc = run_ring_stop(v, ring);
	if (rc)
		drop(v, false);
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
	begin(v);
	if (!(v->peer.can & VHOST_CAN_ENABLE) && !wish->enabled)
		return 0;
	rc = run_ring_start(v, ring);
	if (!rc)
		fd_signal(wish->kick_fd);
	return after_verb(v, rc);
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
	if (!ready(v) || (v->started && v->state != VHOST_RUNNING) || (v->started && !status))
		return;
	begin(v);
	(void)after_verb(v, run_status(v, v->started ? status : status & (uint8_t)~early));
}

int vhost_get_config(struct vhost *v, void *buf, unsigned off, unsigned len)
{
	int rc;

	if (!ready(v))
		return -ENOTCONN;
	begin(v);
	rc = v->t->ops->get_config(v->t, buf, off, len);
	if (is_loss(rc))
		lost(v);
	return rc;
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
		{ "device_failures", v->failures },
	};
	const unsigned own_n = sizeof(own) / sizeof(own[0]);

	for (unsigned i = 0; i < own_n && i < max; i++)
		rows[i] = own[i];
	return own_n + v->t->ops->stats(v->t, max > own_n ? rows + own_n : NULL,
					max > own_n ? max - own_n : 0);
}
