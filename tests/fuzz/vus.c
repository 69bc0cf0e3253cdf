// SPDX-License-Identifier: Apache-2.0
// vus.c - fuzzes a vhost-user port: requests in any order with any descriptors, raw bytes,
// hang-ups, memory that changes or shrinks, and the data path run in between.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/backend.h"
#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/peer.h"

#define MEM (256u << 10)

/* The input, read byte by byte; zeros behind its end. */
struct tape {
	const uint8_t *p, *end;
};

static struct rig {
	struct poller *poller;
	struct port *port;
	struct peer peer;
	struct batch *b;
	char path[64];
	uint64_t now_ms;
	int event, pipe[2];
} g;

static uint8_t byte(struct tape *t)
{
	return t->p < t->end ? *t->p++ : 0;
}

static void set_up(void)
{
	struct vus_config cfg = { .name = "fuzz", .socket = g.path, .pairs = 2, .mtu = 1500,
				  .memory_max = 1u << 24 };

	snprintf(g.path, sizeof(g.path), "/tmp/fuzz-vus-%d", (int)getpid());
	log_init("error");
	g.b = aligned_alloc(64, sizeof(*g.b));
	g.event = eventfd(0, EFD_NONBLOCK);
	if (guard_install() < 0 || peer_new(&g.peer, MEM) < 0 || pipe2(g.pipe, O_NONBLOCK) < 0 ||
	    poller_new(&g.poller) < 0 || vus_new(&g.port, &cfg, NULL, NULL, NULL) < 0 ||
	    g.port->ops->attach(g.port, g.poller) < 0)
		abort();
}

static void run(void)
{
	g.now_ms += 50;
	g.port->ops->tick(g.port, g.now_ms);
	for (unsigned i = 0; i < 8 && poller_run(g.poller, 0) > 0; i++)
		;
}

/* Numbers that mean something here are likelier than others. */
static uint64_t number(struct tape *t)
{
	static const uint64_t known[] = {
		0, 1, 2, 3, 64, 256, 4096, MEM, MEM - 64, DRV_GPA, DRV_UVA, DRV_UVA + 4096,
		DRV_UVA + 8192, DRV_UVA + 16384, DRV_UVA + MEM - 16, UINT64_MAX, UINT32_MAX,
		1u << 31, 0x8000, 0x80008000, 1ull << 63,
		VU_RING_NOFD, VU_RING_NOFD | 1, VU_RING_NOFD | 3,
		/* features: split, packed, all */
		0x140000000, 0x540000000, 0x540008000, 0x6300000d40ull | 0x140000000,
		0xc0dfull, 0x1ffff, 0xd000000ull, 0x7fffffffffffffffull,
	};
	uint8_t pick = byte(t);
	uint64_t v = 0;

	if (pick < 32)
		return known[pick];
	for (unsigned i = 0; i < pick % 9u; i++)
		v = v << 8 | byte(t);
	return v;
}

static unsigned pick_fds(struct tape *t, int *fds)
{
	const int kinds[] = { g.peer.mem.fd, g.event, g.pipe[1], g.peer.mem.fd };
	uint8_t how = byte(t);
	unsigned n = how & 7 ? how % 3 : how % 10;

	for (unsigned i = 0; i < n; i++)
		fds[i] = kinds[(how >> 5) % 4];
	return n;
}

static void send_request(struct tape *t)
{
	static const uint8_t sizes[] = { 0, 8, 8, 8, 16, 20, 24, 40, 12, 72 };
	uint32_t request = byte(t), size = byte(t), flags = VU_VERSION;
	union vu_payload p;
	int fds[10];

	memset(&p, 0, sizeof(p));
	flags |= request & 128 ? VU_NEED_REPLY : 0;
	request %= 64;
	size = size < 200 ? sizes[size % sizeof(sizes)] : size;
	for (unsigned i = 0; i + 8 <= size && i + 8 <= sizeof(p); i += 8) {
		uint64_t v = number(t);

		/* two halves where the structure has two words */
		if (i == 0 && (request >= VU_SET_VRING_NUM && request <= VU_GET_VRING_BASE))
			v = (v & UINT32_MAX) << 32 | byte(t) % 5;
		memcpy((uint8_t *)&p + i, &v, 8);
	}
	peer_send(&g.peer, request, flags, &p, size, fds, pick_fds(t, fds));
}

/* A session that runs, in one step: what random requests hardly ever reach. */
static void start(struct tape *t)
{
	uint8_t how = byte(t);
	bool packed = how & 1;

	g.peer.features = 0x140000000ull | (packed ? 1ull << 34 : 0) | (how & 2 ? 1ull << 35 : 0) |
		(how & 4 ? 1u << 15 : 0) | (how & 8 ? 1u << 28 : 0) | (how & 16 ? 1u << 29 : 0);
	g.peer.mem.top = 0;
	peer_send_u64(&g.peer, VU_SET_PROTOCOL_FEATURES, 0x1b2fu & 0x1ffff);
	peer_send_u64(&g.peer, VU_SET_FEATURES, g.peer.features);
	peer_send_memory(&g.peer);
	run();
	for (unsigned i = 0; i < 2; i++)
		peer_start_ring(&g.peer, i, 64, packed ? 0x80008000 : 0);
	run();
}

static void move_frames(void)
{
	struct frame *list[PORT_BURST];
	unsigned n = g.port->ops->take(g.port, 0, g.b, PORT_BURST);

	for (unsigned i = 0; i < n; i++)
		list[i] = &g.b->frame[i];
	g.port->ops->give(g.port, 0, list, n);
	g.port->ops->release(g.port, 0, g.b);
	g.port->ops->notify(g.port);
	g.port->ops->arm(g.port, n % 2);
}

static void scribble(struct tape *t)
{
	uint32_t off = (uint32_t)byte(t) << 6, n = byte(t);

	for (uint32_t i = 0; i < n && off + i < MEM; i++)
		g.peer.mem.host[off + i] = byte(t);
}

static void hang_up(void)
{
	union vu_payload p;
	struct vu_header h;

	while (g.peer.fd >= 0 && peer_recv(&g.peer, &h, &p, NULL) == 1)
		;
	peer_hang_up(&g.peer);
	run();
	g.now_ms += 1000;
	run();
	peer_connect(&g.peer, g.path);
	run();
}

static void shrink(struct tape *t)
{
	uint32_t left = (uint32_t)byte(t) << 12;

	if (ftruncate(g.peer.mem.fd, left < MEM ? left : MEM) < 0)
		abort();
	move_frames();
	run();
	if (ftruncate(g.peer.mem.fd, MEM) < 0)
		abort();
}

static void raw(struct tape *t)
{
	uint8_t bytes[256];
	unsigned n = byte(t);

	for (unsigned i = 0; i < n; i++)
		bytes[i] = byte(t);
	peer_write(&g.peer, bytes, n, NULL, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct tape t = { data, data + size };

	if (!g.port)
		set_up();
	memset(g.peer.mem.host, 0, 32768);
	hang_up();
	for (unsigned steps = 0; t.p < t.end && steps < 64; steps++) {
		switch (byte(&t) % 10) {
		case 0: raw(&t); break;
		case 1: scribble(&t); break;
		case 2: move_frames(); break;
		case 3: start(&t); break;
		case 4: shrink(&t); break;
		case 5: hang_up(); break;
		default: send_request(&t); break;
		}
		run();
	}
	return 0;
}
