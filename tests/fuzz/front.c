// SPDX-License-Identifier: Apache-2.0
/*
 * front.c - fuzzes the vhost-user front-end: replies, requests on the back-end's own channel,
 * descriptors with both, hang-ups, while a driver starts, stops and changes its memory.
 *
 * The input is a tape that back-end and driver read in turn. Time is the world's (core/loop.h), so
 * that a back-end that keeps silent costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "include/vhost_user_wire.h"
#include "sim/core/fd.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "sim/mem/space.h"
#include "sim/vhost/vhost.h"

#define BIT(n)  (UINT64_C(1) << (n))
#define MEM     (256u << 10)
#define FDS_MAX 40
#define STEPS   200

/* The input, read byte by byte; zeros behind its end. */
struct tape {
	const uint8_t *p, *end;
};

static struct {
	struct tape t;
	uint64_t now_ms;
	unsigned steps;
	struct loop *loop;
	struct lock lock;
	struct vhost *v;
	struct space *space;
	int listen_fd, fd, ask_fd, event, sealed, pipe[2], mem_fd;
	uint8_t *mem;
	char path[64];
	uint8_t in[4096];
	size_t in_len;
} g;

static uint8_t byte(void)
{
	return g.t.p < g.t.end ? *g.t.p++ : 0;
}

/* Numbers that mean something here are likelier than others. */
static uint64_t number(void)
{
	static const uint64_t known[] = {
		0, 1, 2, 3, 64, 255, 256, 4096, 4095, MEM, UINT32_MAX, UINT64_MAX, 1ull << 63,
		0x8000, 0x80008000, 0xffff, 0x100, 0x101, 24, 0x1ffff, 0x7fffffff, 1ull << 40,
		0xd40000001, 0x140000000, 0x544000000, 0x1bb3f, 0x7fffffffffffffff, 509, 12,
		11, 15, 8,
	};
	uint8_t pick = byte();
	uint64_t v = 0;

	if (pick < 200)
		return known[pick % 32];
	for (unsigned i = 0; i < pick % 9u; i++)
		v = v << 8 | byte();
	return v;
}

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void hang_up(void)
{
	shut(&g.fd);
	shut(&g.ask_fd);
	g.in_len = 0;
}

/* ---- what the back-end sends ---------------------------------------------------------------- */

static unsigned pick_fds(int *fds)
{
	const int kinds[] = { g.mem_fd, g.event, g.pipe[0], g.sealed };
	uint8_t how = byte();
	unsigned n = how & 1 ? 0 : how & 2 ? 1 : how & 4 ? byte() % FDS_MAX : 2;

	for (unsigned i = 0; i < n; i++)
		fds[i] = kinds[(how >> 6) & 3];
	return n;
}

static void put(int fd, const void *bytes, size_t len, const int *fds, unsigned fds_n)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)bytes, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (fds_n) {
		m.msg_control = control;
		m.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
		c->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(c), fds, fds_n * sizeof(int));
	}
	(void)!sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

struct reply {
	struct vu_header h;
	union vu_payload p;
} __attribute__((packed));

static void put_reply(struct reply *r, bool odd)
{
	int fds[FDS_MAX];
	unsigned fds_n = 0;
	size_t len;

	if (r->h.request == VU_GET_INFLIGHT_FD) {
		fds[0] = g.sealed;
		fds_n = 1;
	}
	if (odd) {
		switch (byte() % 6) {
		case 0: r->h.request = byte(); break;
		case 1: r->h.flags = (uint32_t)number(); break;
		case 2: r->h.size = (uint32_t)number(); break;
		case 3: r->p.u64 = number(); break;
		case 4: r->p.inflight.offset = number(); break;
		default: fds_n = pick_fds(fds); break;
		}
	}
	len = sizeof(r->h) + (r->h.size < sizeof(r->p) ? r->h.size : sizeof(r->p));
	put(g.fd, r, odd && !(byte() & 3) ? byte() % (len + 1) : len, fds, fds_n);
}

/* As a decent back-end would, in outline. */
static void answer(const struct vu_header *h, const union vu_payload *p, bool odd)
{
	struct reply r = { .h = { h->request, VU_VERSION | VU_REPLY, 8 } };

	r.p = *p;
	switch (h->request) {
	case VU_GET_FEATURES: r.p.u64 = ~BIT(24); break;
	case VU_GET_PROTOCOL_FEATURES: r.p.u64 = odd ? number() : 0x1ffff; break;
	case VU_GET_QUEUE_NUM: r.p.u64 = 4; break;
	case VU_GET_MAX_MEM_SLOTS: r.p.u64 = 8; break;
	case VU_GET_STATUS: r.p.u64 = 11; break;
	case VU_GET_VRING_BASE: break;
	case VU_GET_CONFIG: r.h.size = h->size; break;
	case VU_GET_INFLIGHT_FD: r.h.size = 24; r.p.inflight.size = 4096; break;
	case VU_SET_LOG_BASE: break;
	default:
		if (!(h->flags & VU_NEED_REPLY))
			return;
		r.p.u64 = 0;
	}
	put_reply(&r, odd);
}

static void ask(void)
{
	struct reply r = { .h = { byte() % 16, VU_VERSION, 0 } };
	static const uint8_t sizes[] = { 0, 8, 24, 40 };
	int fds[FDS_MAX];

	if (g.ask_fd < 0)
		return;
	r.h.flags |= byte() & 1 ? VU_NEED_REPLY : 0;
	if (!(byte() & 15))
		r.h.flags = (uint32_t)number();
	r.h.size = sizes[byte() % 4];
	if (!(byte() & 15))
		r.h.size = (uint32_t)number();
	r.p.notifier = (struct vu_notifier){ number(), number(), number() };
	put(g.ask_fd, &r, sizeof(r.h) + (r.h.size < sizeof(r.p) ? r.h.size : 8), fds,
	    pick_fds(fds));
}

static void raw(int fd)
{
	uint8_t bytes[64];
	unsigned n = byte() % sizeof(bytes);
	int fds[FDS_MAX];

	for (unsigned i = 0; i < n; i++)
		bytes[i] = byte();
	if (fd >= 0 && n)
		put(fd, bytes, n, fds, pick_fds(fds));
}

/* ---- what the back-end hears ---------------------------------------------------------------- */

static bool hear(void)
{
	char control[CMSG_SPACE(16 * sizeof(int))];
	struct iovec iov = { g.in + g.in_len, sizeof(g.in) - g.in_len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(g.fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	const struct vu_header *h = (const void *)g.in;

	if (n < 0)
		return false;
	for (struct cmsghdr *c = n ? CMSG_FIRSTHDR(&m) : NULL; c; c = CMSG_NXTHDR(&m, c)) {
		unsigned k = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		for (unsigned i = 0; i < k; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (h->request == VU_SET_BACKEND_REQ_FD && g.ask_fd < 0)
				g.ask_fd = fd;
			else
				close(fd);
		}
	}
	if (!n) {
		hang_up();
		return true;
	}
	g.in_len += (size_t)n;
	return true;
}

static bool respond(void)
{
	struct vu_header h;
	union vu_payload p = { 0 };
	uint8_t how;

	if (g.in_len < sizeof(h))
		return false;
	memcpy(&h, g.in, sizeof(h));
	if (g.in_len < sizeof(h) + h.size)
		return false;
	memcpy(&p, g.in + sizeof(h), h.size < sizeof(p) ? h.size : sizeof(p));
	g.in_len -= sizeof(h) + h.size;
	memmove(g.in, g.in + sizeof(h) + h.size, g.in_len);
	how = byte();
	if (how < 200)
		answer(&h, &p, false);
	else if (how < 230)
		answer(&h, &p, true);
	else if (how < 238)
		ask(), answer(&h, &p, false);
	else if (how < 246)
		raw(g.fd);
	else if (how < 250)
		hang_up();
	return true;
}

/* False: it has nothing to do. */
static bool backend(void)
{
	if (g.fd < 0)
		g.fd = accept4(g.listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (g.fd < 0)
		return false;
	return respond() || hear();
}

static uint64_t now_ms(void *ctx)
{
	(void)ctx;
	return g.now_ms;
}

static int wait_for(void *ctx, struct pollfd *p, unsigned n, uint64_t until_ms)
{
	(void)ctx;
	for (;;) {
		bool moved = ++g.steps < 5000 && backend();
		int rc = n ? poll(p, n, 0) : 0;

		if (rc || g.now_ms >= until_ms)
			return rc;
		g.now_ms = moved ? g.now_ms : until_ms;
	}
}

static const struct loop_world world = { .now_ms = now_ms, .wait = wait_for, .seed = 1 };

/* ---- the driver ----------------------------------------------------------------------------- */

static void on_link(void *owner, bool up)
{
	(void)owner;
	(void)up;
}

static void on_change(void *owner)
{
	uint8_t buf[12];

	(void)owner;
	(void)vhost_get_config(g.v, buf, 0, sizeof(buf));
}

static void on_failed(void *owner, const char *why)
{
	(void)owner;
	(void)why;
}

static int on_notifier(void *owner, unsigned ring, int fd, uint64_t off)
{
	(void)owner;
	(void)off;
	return fd >= 0 && ring & 1 ? -ENOMEM : 0;
}

static void note_page(void *ctx, uint64_t addr)
{
	(void)ctx;
	(void)addr;
}

static void start(void)
{
	uint64_t at = (uintptr_t)g.mem;
	struct vhost_ring r[4];
	bool packed = byte() & 1;

	for (unsigned i = 0; i < 4; i++, at += 32768)
		r[i] = (struct vhost_ring){ .num = 64, .desc = at, .avail = at + 8192,
					    .used = at + 16384, .kick_fd = g.event,
					    .call_fd = i & 1 ? -1 : g.event, .enabled = i < 2 };
	vhost_status(g.v, 11);
	vhost_start(g.v, BIT(VIRTIO_F_VERSION_1) | (packed ? BIT(VIRTIO_F_RING_PACKED) : 0),
		    byte() & 1 ? 1500 : 0, r, byte() & 1 ? 2 : 4);
	vhost_status(g.v, 15);
}

static void remap(void)
{
	uint64_t at = (1ull << 40) + byte() % 16 * 4096;
	uint64_t size = (1 + byte() % 4) * 4096u;

	if (byte() & 1)
		(void)space_map(g.space, &(struct space_region){ .iova = at, .size = size,
								 .va = at, .fd = g.mem_fd }, 1);
	else
		space_unmap(g.space, at, size);
	(void)vhost_memory_changed(g.v);
	space_reap(g.space);
}

static void drive(void)
{
	static const uint8_t mac[6] = { 2 };

	lock_take(&g.lock);
	switch (byte() % 12) {
	case 0: start(); break;
	case 1: vhost_stop(g.v); vhost_status(g.v, 0); break;
	case 2: (void)vhost_ring_enable(g.v, byte() % 4, byte() & 1); break;
	case 3: (void)vhost_ring_stop(g.v, byte() % 4); break;
	case 4: (void)vhost_log_start(g.v); break;
	case 5: (void)vhost_log_harvest(g.v, note_page, NULL); break;
	case 6: vhost_log_stop(g.v); break;
	case 7: vhost_announce(g.v, mac); break;
	case 8: (void)vhost_set_space(g.v, byte() & 1 ? g.space : NULL); break;
	case 9: (void)vhost_ring_call(g.v, byte() % 4, g.event); break;
	default: remap(); break;
	}
	lock_drop(&g.lock);
}

static void set_up(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(g.path, sizeof(g.path), "/tmp/fuzz-front-%d", (int)getpid());
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", g.path);
	unlink(g.path);
	log_init("error");
	g.fd = g.ask_fd = -1;
	g.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	g.event = eventfd(0, EFD_NONBLOCK);
	g.sealed = memfd_create("sealed", MFD_ALLOW_SEALING);
	g.mem_fd = memfd_create("memory", 0);
	if (guard_install() < 0 || bind(g.listen_fd, (struct sockaddr *)&sa, sizeof(sa)) ||
	    listen(g.listen_fd, 8) || pipe2(g.pipe, O_NONBLOCK) || ftruncate(g.mem_fd, MEM) ||
	    ftruncate(g.sealed, 8192) || fcntl(g.sealed, F_ADD_SEALS, F_SEAL_SHRINK))
		abort();
	g.mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, g.mem_fd, 0);
}

static void begin(void)
{
	const struct vhost_host host = {
		.loop = g.loop, .lock = &g.lock, .link = on_link, .config_changed = on_change,
		.failed = on_failed, .notifier = on_notifier,
	};
	struct vhost_config cfg = {
		.id = "fuzz", .timeout_ms = 100, .rings = 8, .notifier = byte() & 1,
		.features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED),
		.features_blind = BIT(VIRTIO_F_VERSION_1),
	};

	snprintf(cfg.socket, sizeof(cfg.socket), "%s", g.path);
	if (vhost_new(&g.v, &cfg, &host, NULL) || space_new(&g.space) ||
	    space_map(g.space, &(struct space_region){ .iova = (uintptr_t)g.mem, .size = MEM,
						       .va = (uintptr_t)g.mem, .fd = g.mem_fd }, 1))
		abort();
	memset(g.mem, 0, MEM);
	lock_take(&g.lock);
	(void)vhost_open(g.v, NULL);
	(void)vhost_set_space(g.v, g.space);
	start();
	lock_drop(&g.lock);
}

static void end(void)
{
	lock_take(&g.lock);
	vhost_close(g.v);
	lock_drop(&g.lock);
	loop_stop(g.loop);
	vhost_free(g.v);
	loop_free(g.loop);
	space_free(g.space);
	hang_up();
	while ((g.fd = accept4(g.listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		hang_up();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!g.event)
		set_up();
	g.t = (struct tape){ data, data + size };
	g.now_ms = 1000;
	g.steps = 0;
	if (loop_new_in(&g.loop, &world))
		abort();
	begin();
	for (unsigned i = 0; i < STEPS && g.t.p < g.t.end; i++) {
		switch (byte() % 6) {
		case 0: g.now_ms += byte() * 8u; break;
		case 1: drive(); break;
		case 2: ask(); break;
		case 3: raw(byte() & 1 ? g.fd : g.ask_fd); break;
		case 4: g.mem[number() % MEM] = byte(); break;
		default: backend(); break;
		}
		loop_turn(g.loop, ~UINT64_C(0), 0);
	}
	end();
	/* Nothing stays behind, whatever came. */
	if (fd_kept_count())
		abort();
	return 0;
}
