// SPDX-License-Identifier: Apache-2.0
/*
 * vhost.c - a session: keeps the wish (what the device wants) and the peer apart, and brings a
 * peer to the wish whenever one appears. Knows no wire. What changes the wish is in calls.c.
 *
 * A verb that fails leaves one of three situations (session_settle()): the peer is gone, and the
 * wish waits for the next one; the peer refuses, which at the driver's own start is the driver's
 * matter (failed()) and at a replay the peer's (it is sent away and asked again later); or the
 * driver's memory or rings are impossible, which only a reset mends.
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

void session_begin(struct vhost *v)
{
	v->t->deadline_ms = loop_now(v->host.loop) + v->cfg.timeout_ms / 2;
}

bool session_ready(const struct vhost *v)
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

void session_lost(struct vhost *v)
{
	if (v->state == VHOST_DOWN)
		return;
	v->state = VHOST_DOWN;
	v->losses++;
	run_lost(v);
	set_link(v, false);
}

bool session_is_loss(int rc)
{
	static const int others[] = { -EREMOTEIO, -EOPNOTSUPP, -EFAULT, -E2BIG, -EINVAL, -EUCLEAN };

	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		if (rc == others[i])
			return false;
	return rc < 0;
}

void session_drop(struct vhost *v, bool slow)
{
	v->t->ops->drop(v->t, slow);
	session_lost(v);
}

void session_fail(struct vhost *v, const char *why)
{
	if (v->state == VHOST_RUNNING)
		v->state = VHOST_READY;
	if (session_ready(v) && run_stop(v))
		session_drop(v, false);
	v->broken = true;
	v->failures++;
	log_warn(v->cfg.id, "%s: the driver has to reset the device", why);
	v->host.failed(v->host.owner, why);
}

int session_settle(struct vhost *v, int rc, bool first)
{
	if (!rc) {
		v->state = VHOST_RUNNING;
		return 0;
	}
	if (session_is_loss(rc) || session_is_loss(v->t->ops->sync(v->t))) {
		session_lost(v);
		return 0;
	}
	if (rc == -EREMOTEIO && !first) {
		if (log_may(&v->may_log, loop_now(v->host.loop)))
			log_warn(v->cfg.id, "%s; trying again later", v->why);
		session_drop(v, true);
		return 0;
	}
	session_fail(v, v->why);
	return rc;
}

int session_after(struct vhost *v, int rc)
{
	if (!session_is_loss(rc)) {
		int later = v->t->ops->sync(v->t);

		rc = rc && !session_is_loss(later) ? rc : later;
	}
	if (!session_is_loss(rc))
		return rc;
	session_lost(v);
	return 0;
}

static void lost(void *owner)
{
	session_lost(owner);
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

bool session_fits(struct vhost *v)
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

bool session_can_run(const struct vhost *v)
{
	return session_ready(v) && v->started && !v->broken && v->space;
}

static void found(void *owner)
{
	struct vhost *v = owner;
	int rc;

	session_begin(v);
	assert(v->state == VHOST_DOWN);
	v->state = VHOST_CONNECTED;
	rc = v->t->ops->hello(v->t, &v->peer);
	if (rc) {
		session_lost(v);
		return;
	}
	if (!session_fits(v)) {
		session_drop(v, true);
		return;
	}
	learn(v);
	v->state = VHOST_READY;
	if (session_can_run(v))
		session_settle(v, run_start(v), false);
	if (session_ready(v))
		set_link(v, true);
}

static void changed(void *owner)
{
	struct vhost *v = owner;

	if (session_ready(v))
		v->host.config_changed(v->host.owner);
}

static int notifier(void *owner, unsigned ring, int fd, uint64_t off)
{
	struct vhost *v = owner;
	struct ring *r = &v->rings[ring];
	int rc;

	assert(ring < VHOST_RINGS_MAX);
	if (!r->live && fd >= 0)
		return -EINVAL;
	if (!r->notifier && fd < 0)
		return 0;
	/* The one before goes in any case: what is refused leaves none. */
	if (r->notifier)
		v->host.notifier(v->host.owner, ring, -1, 0);
	r->notifier = false;
	rc = fd < 0 ? 0 : v->host.notifier(v->host.owner, ring, fd, off);
	r->notifier = !rc && fd >= 0;
	v->notifiers += r->notifier;
	return rc;
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
		session_begin(v);
		session_fail(v, "the back-end reports an error in a ring");
	}
	lock_drop(v->host.lock);
}

int vhost_new(struct vhost **out, const struct vhost_config *cfg, const struct vhost_host *host,
	      struct err *e)
{
	struct vhost *v = fault_pages(sizeof(*v));
	struct vhost_upper upper = {
		.found = found, .lost = lost, .changed = changed, .notifier = notifier,
	};
	int rc;

	if (!v)
		return err_set(e, -ENOMEM, "%s: out of memory", cfg->id);
	v->cfg = *cfg;
	v->host = *host;
	v->err_fd = v->inflight.fd = v->log.fd = -1;
	v->err = (struct loop_source){ .ready = err_ready, .fd = -1 };
	v->may_log = (struct log_limit){ .burst = 8, .every_ms = 10000 };
	v->offer = (struct vhost_offer){
		.features = cfg->features_blind & cfg->features,
		.rings_max = cfg->rings < 2 ? 2 : cfg->rings,
	};
	upper.owner = v;
	rc = (cfg->tap[0] ? vhost_kernel_new : vhost_user_new)(&v->t, &v->cfg, host->loop,
							       host->lock, &upper, e);
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
	fd_drop(&v->inflight.fd);
	dirty_close(&v->log);
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
	fd_drop(&v->inflight.fd);
	dirty_close(&v->log);
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
	session_begin(v);
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
	fd_drop(&v->inflight.fd);
	vhost_log_stop(v);
	loop_watch(v->host.loop, &v->err, -1);
	fd_drop(&v->err_fd);
}
