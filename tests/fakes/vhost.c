// SPDX-License-Identifier: Apache-2.0
// vhost.c - a recording vhost session for tests of the devices above it.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fakes/vhost.h"

static struct vhost_offer next_offer;
static struct vhost *last;

void fake_vhost_next(const struct vhost_offer *offer)
{
	next_offer = *offer;
}

struct vhost *fake_vhost(void)
{
	return last;
}

static int note(struct vhost *v, const char *name, unsigned ring, int64_t arg)
{
	if (v->calls < FAKE_CALLS_MAX)
		v->call[v->calls] = (struct fake_call){ name, ring, arg };
	v->calls++;
	if (!lock_mine(v->host.lock))
		v->calls_unlocked++;
	if (!v->fail_name || strcmp(v->fail_name, name))
		return 0;
	return v->fail_ring < 0 || v->fail_ring == (int)ring ? v->fail_rc : 0;
}

static bool match(const struct fake_call *c, const char *name, int ring)
{
	return !strcmp(c->name, name) && (ring < 0 || c->ring == (unsigned)ring);
}

unsigned fake_count(const struct vhost *v, const char *name, int ring)
{
	unsigned n = 0;

	for (unsigned i = 0; i < v->calls && i < FAKE_CALLS_MAX; i++)
		n += match(&v->call[i], name, ring);
	return n;
}

int fake_last(const struct vhost *v, const char *name, int ring)
{
	int at = -1;

	for (unsigned i = 0; i < v->calls && i < FAKE_CALLS_MAX; i++)
		if (match(&v->call[i], name, ring))
			at = (int)i;
	return at;
}

void fake_forget(struct vhost *v)
{
	v->calls = 0;
}

/* ---- events -------------------------------------------------------------------------------- */

void fake_link(struct vhost *v, bool up)
{
	lock_take(v->host.lock);
	v->link = up;
	v->host.link(v->host.owner, up);
	lock_drop(v->host.lock);
}

void fake_offer(struct vhost *v, const struct vhost_offer *offer)
{
	lock_take(v->host.lock);
	v->offer = *offer;
	lock_drop(v->host.lock);
}

void fake_config_changed(struct vhost *v)
{
	lock_take(v->host.lock);
	v->host.config_changed(v->host.owner);
	lock_drop(v->host.lock);
}

void fake_failed(struct vhost *v, const char *why)
{
	lock_take(v->host.lock);
	v->host.failed(v->host.owner, why);
	lock_drop(v->host.lock);
}

/* ---- sim/vhost/vhost.h --------------------------------------------------------------------- */

int vhost_new(struct vhost **out, const struct vhost_config *cfg, const struct vhost_host *host,
	      struct err *e)
{
	struct vhost *v = calloc(1, sizeof(*v));

	if (!v)
		return -ENOMEM;
	v->cfg = *cfg;
	v->host = *host;
	v->fail_ring = -1;
	v->offer = next_offer;
	v->link = next_offer.known;
	last = *out = v;
	return 0;
}

void vhost_free(struct vhost *v)
{
	if (last == v)
		last = NULL;
	free(v);
}

void vhost_orphan(struct vhost *v)
{
	v->opened = v->started = false;
}

int vhost_open(struct vhost *v, struct err *e)
{
	int rc = note(v, "open", 0, 0);

	v->opened = !rc;
	return rc;
}

void vhost_close(struct vhost *v)
{
	note(v, "close", 0, 0);
	v->opened = v->started = false;
	v->space = NULL;
}

void vhost_offer(const struct vhost *v, struct vhost_offer *o)
{
	*o = v->offer;
	o->features &= v->cfg.features;
	if (!o->known)
		*o = (struct vhost_offer){
			.features = v->cfg.features_blind,
			.rings_max = v->cfg.rings,
		};
}

bool vhost_link(const struct vhost *v)
{
	return v->opened && v->link;
}

int vhost_set_space(struct vhost *v, struct space *s)
{
	int rc = note(v, "set_space", 0, s != NULL);

	if (rc == 0)
		v->space = s;
	return rc;
}

int vhost_memory_changed(struct vhost *v)
{
	return note(v, "memory_changed", 0, 0);
}

int vhost_start(struct vhost *v, uint64_t acked, uint16_t mtu, const struct vhost_ring *rings,
		unsigned n)
{
	int rc = note(v, "start", n, 0);

	if (rc < 0)
		return rc;
	v->started = true;
	v->acked = acked;
	v->mtu = mtu;
	v->rings = n;
	memset(v->ring, 0, sizeof(v->ring));
	memcpy(v->ring, rings, n * sizeof(rings[0]));
	return 0;
}

void vhost_stop(struct vhost *v)
{
	note(v, "stop", 0, 0);
	v->started = false;
	v->rings = 0;
}

int vhost_change_features(struct vhost *v, uint64_t acked)
{
	int rc = note(v, "change_features", 0, (int64_t)acked);

	if (rc == 0)
		v->acked = acked;
	return rc;
}

bool vhost_started(const struct vhost *v)
{
	return v->started;
}

int vhost_ring_enable(struct vhost *v, unsigned ring, bool on)
{
	int rc = note(v, "ring_enable", ring, on);

	if (rc == 0)
		v->ring[ring].enabled = on;
	return rc;
}

int vhost_ring_call(struct vhost *v, unsigned ring, int call_fd)
{
	int rc = note(v, "ring_call", ring, call_fd);

	if (rc == 0)
		v->ring[ring].call_fd = call_fd;
	return rc;
}

int vhost_ring_stop(struct vhost *v, unsigned ring)
{
	int rc = note(v, "ring_stop", ring, 0);

	if (rc == 0)
		v->ring[ring].num = 0;
	return rc;
}

int vhost_ring_start(struct vhost *v, unsigned ring, const struct vhost_ring *r)
{
	int rc = note(v, "ring_start", ring, 0);

	if (rc == 0)
		v->ring[ring] = *r;
	return rc;
}

void vhost_status(struct vhost *v, uint8_t status)
{
	note(v, "status", 0, status);
	v->status = status;
}

int vhost_get_config(struct vhost *v, void *buf, unsigned off, unsigned len)
{
	if (off + len > sizeof(v->config))
		return -EINVAL;
	memcpy(buf, v->config + off, len);
	return (int)len;
}

void vhost_log_wrote(struct vhost *v, uint64_t addr, uint64_t len)
{
	if (v->writes < FAKE_WRITES_MAX)
		v->write[v->writes] = (struct fake_write){ addr, len };
	v->writes++;
	if (!lock_mine(v->host.lock))
		v->calls_unlocked++;
}

void vhost_announce(struct vhost *v, const uint8_t mac[6])
{
	note(v, "announce", 0, mac[5]);
}

unsigned vhost_stats(const struct vhost *v, struct ioapi_stat *rows, unsigned max)
{
	return 0;
}
