// SPDX-License-Identifier: Apache-2.0
// backend_session.c - see backend_session.h.
#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/wire/backend_session.h"

#define RING_BYTES 65536u

unsigned sess_timeout_ms = SESS_TIMEOUT_MS;

uint64_t sess_now_ms(void)
{
	return loop_now_ms();
}

/* Nanoseconds a thread of ours has waited for a processor. */
static unsigned long long waited_ns(const char *thread)
{
	unsigned long long ran, waited = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.16s/schedstat", thread);
	f = fopen(path, "r");
	if (f && fscanf(f, "%llu %llu", &ran, &waited) != 2)
		waited = 0;
	if (f)
		fclose(f);
	return waited;
}

uint64_t sess_own_ms(void)
{
	static uint64_t latest_ms;	/* several may have waited at once: it never goes back */
	DIR *d = opendir("/proc/self/task");
	unsigned long long waited = 0;
	struct dirent *e;
	uint64_t now_ms;
	struct timespec t;

	while (d && (e = readdir(d)))
		waited += e->d_name[0] == '.' ? 0 : waited_ns(e->d_name);
	if (d)
		closedir(d);
	clock_gettime(CLOCK_MONOTONIC, &t);
	now_ms = ((uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec - waited) / 1000000;
	latest_ms = now_ms > latest_ms ? now_ms : latest_ms;
	return latest_ms;
}

void sess_nap(unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static void on_link(void *owner, bool up)
{
	struct sess *r = owner;

	assert(lock_mine(&r->lock));
	assert(r->up != up);
	r->up = up;
	if (up)
		r->ups++, r->up_ms = sess_now_ms();
	else
		r->downs++, r->down_ms = sess_now_ms();
}

static void on_config(void *owner)
{
	struct sess *r = owner;

	assert(lock_mine(&r->lock));
	r->changes++;
	if (r->ask_config)
		r->config_rc = vhost_get_config(r->v, r->config, 0, sizeof(r->config));
}

static int on_notifier(void *owner, unsigned ring, int fd, uint64_t off)
{
	struct sess *r = owner;

	assert(lock_mine(&r->lock));
	if (r->notifier_rc && fd >= 0)
		return r->notifier_rc;
	r->notifiers += fd >= 0;
	r->notifiers_dropped += fd < 0;
	r->notifier_ring = ring;
	r->notifier_off = off;
	return 0;
}

static void on_failed(void *owner, const char *why)
{
	struct sess *r = owner;

	assert(lock_mine(&r->lock));
	r->failures++;
	snprintf(r->why, sizeof(r->why), "%s", why);
}

struct backend_config sess_decent(bool connects)
{
	return (struct backend_config){
		.connects = connects, .pairs = 4, .protocol = SESS_PROTOCOL,
		.features = SESS_FEATURES | BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL),
	};
}

static void init_memory(struct sess *r)
{
	r->mem_fd = memfd_create("session", MFD_CLOEXEC);
	assert(r->mem_fd >= 0 && !ftruncate(r->mem_fd, SESS_MEMORY));
	r->mem = mmap(NULL, SESS_MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, r->mem_fd, 0);
	assert(r->mem != MAP_FAILED);
	assert(!space_new(&r->space));
	assert(!space_map(r->space, &(struct space_region){
		.iova = (uintptr_t)r->mem, .size = SESS_MEMORY, .va = (uintptr_t)r->mem,
		.fd = r->mem_fd }, 1));
}

static void make_vhost(struct sess *r)
{
	const struct vhost_host host = {
		.loop = r->loop, .lock = &r->lock, .owner = r, .link = on_link,
		.config_changed = on_config, .failed = on_failed, .notifier = on_notifier,
	};
	int rc = vhost_new(&r->v, &r->cfg, &host, &r->err);

	assert(!rc);
}

void sess_serve(struct sess *r)
{
	vhost_free(r->v);
	r->cfg.server = true;
	make_vhost(r);
}

void sess_remake(struct sess *r)
{
	vhost_free(r->v);
	make_vhost(r);
}

void sess_allow_notifier(struct sess *r)
{
	r->cfg.notifier = true;
	sess_remake(r);
}

void sess_init(struct sess *r, const struct backend_config *cfg)
{
	struct backend_config bc = cfg ? *cfg : (struct backend_config){ 0 };

	memset(r, 0, sizeof(*r));
	log_init(getenv("PODPCI_LOG") ? getenv("PODPCI_LOG") : "error");
	guard_install();
	snprintf(r->dir, sizeof(r->dir), "/tmp/podpci-wire.XXXXXX");
	assert(mkdtemp(r->dir));
	r->cfg = (struct vhost_config){
		.id = "net0", .server = cfg && cfg->connects, .timeout_ms = sess_timeout_ms,
		.wait_ms = cfg && cfg->connects ? 2000 : 0,
		.features = SESS_FEATURES | BIT(VIRTIO_NET_F_CSUM),
		.features_blind = BIT(VIRTIO_F_VERSION_1), .rings = SESS_RINGS,
	};
	snprintf(r->cfg.socket, sizeof(r->cfg.socket), "%s/s", r->dir);
	bc.path = r->cfg.socket;
	if (cfg)
		r->b = backend_start(&bc);
	init_memory(r);
	r->num = 256;
	for (unsigned i = 0; i < SESS_RINGS; i++)
		r->rings[i] = (struct vhost_ring){ .kick_fd = eventfd(0, EFD_NONBLOCK),
						   .call_fd = eventfd(0, EFD_NONBLOCK),
						   .enabled = true };
	assert(!loop_new(&r->loop));
	make_vhost(r);
}

void sess_free(struct sess *r)
{
	sess_close(r);
	loop_stop(r->loop);
	vhost_free(r->v);
	loop_free(r->loop);
	space_free(r->space);
	for (unsigned i = 0; i < SESS_RINGS; i++) {
		close(r->rings[i].kick_fd);
		close(r->rings[i].call_fd);
	}
	munmap(r->mem, SESS_MEMORY);
	close(r->mem_fd);
	if (r->b)
		backend_stop(r->b);
	unlink(r->cfg.socket);
	rmdir(r->dir);
}

int sess_open(struct sess *r)
{
	int rc = sess_do(r, vhost_open(r->v, &r->err));

	if (!rc)
		rc = sess_do(r, vhost_set_space(r->v, r->space));
	return rc;
}

void sess_close(struct sess *r)
{
	lock_take(&r->lock);
	vhost_close(r->v);
	r->up = false;
	lock_drop(&r->lock);
}

static uint64_t ring_addr(struct sess *r, unsigned ring)
{
	return (uintptr_t)r->mem + ring * RING_BYTES + r->iova;
}

struct vring_packed_desc *sess_packed(struct sess *r, unsigned ring)
{
	return (struct vring_packed_desc *)(r->mem + ring * RING_BYTES);
}

uint16_t *sess_used_idx(struct sess *r, unsigned ring)
{
	return (uint16_t *)(r->mem + ring * RING_BYTES + 32768 + 2);
}

int sess_start(struct sess *r, unsigned n, bool packed)
{
	uint64_t acked = BIT(VIRTIO_F_VERSION_1) | (packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
	int rc;

	r->packed = packed;
	for (unsigned i = 0; i < n; i++) {
		r->rings[i].num = (uint16_t)r->num;
		r->rings[i].desc = ring_addr(r, i);
		r->rings[i].avail = ring_addr(r, i) + 16384;
		r->rings[i].used = ring_addr(r, i) + 32768;
	}
	lock_take(&r->lock);
	vhost_status(r->v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	vhost_status(r->v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	vhost_status(r->v, 11);
	rc = vhost_start(r->v, acked, 0, r->rings, n);
	vhost_status(r->v, 15);
	lock_drop(&r->lock);
	return rc;
}

void sess_stop(struct sess *r)
{
	lock_take(&r->lock);
	vhost_stop(r->v);
	vhost_status(r->v, 0);
	lock_drop(&r->lock);
}

bool sess_wait_link(struct sess *r, bool up, unsigned ms)
{
	uint64_t end_ms = sess_now_ms() + ms;

	while (sess_do(r, r->up) != up) {
		if (sess_now_ms() > end_ms)
			return false;
		sess_nap(2);
	}
	return true;
}

bool sess_lose(struct sess *r)
{
	backend_hangup(r->b);
	return sess_wait_link(r, false, 1000);
}

uint32_t sess_last_base(struct sess *r, uint32_t ring)
{
	struct backend_msg m = { 0 };

	for (int i = -1; backend_msg(r->b, VU_SET_VRING_BASE, i, &m); i--)
		if (m.payload.state.index == ring)
			return m.payload.state.num;
	return ~0u;
}

uint64_t sess_stat(struct sess *r, const char *name)
{
	struct ioapi_stat rows[64];
	unsigned n = sess_do(r, vhost_stats(r->v, rows, 64));

	for (unsigned i = 0; i < n && i < 64; i++)
		if (!strcmp(rows[i].name, name))
			return rows[i].value;
	assert(!"no such counter");
	return 0;
}
