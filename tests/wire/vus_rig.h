/* SPDX-License-Identifier: Apache-2.0 */
/* vus_rig.h - a vhost-user port, its poller and a front-end, in one thread with its own clock. */
#ifndef TESTS_WIRE_VUS_RIG_H
#define TESTS_WIRE_VUS_RIG_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "include/backend.h"
#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/peer.h"
#include "tests/unit/cu.h"

#define BIT(n) (1ull << (n))
#define RIG_MEM (8u << 20)
#define RIG_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | \
	BIT(VIRTIO_RING_F_INDIRECT_DESC) | BIT(VU_F_PROTOCOL_FEATURES))

struct rig {
	char   path[80];
	struct poller *poller;
	struct port *port;
	struct peer peer;
	struct batch *b;
	uint64_t now_ms;
	unsigned ups, downs, announced;
	uint8_t mac[6];
};

static inline void rig_link(struct port *p, bool up)
{
	struct rig *g = p->owner;

	g->ups += up;
	g->downs += !up;
}

static inline void rig_drain(struct port *p)
{
	(void)p;
}

static inline void rig_announce(struct port *p, const uint8_t mac[6])
{
	struct rig *g = p->owner;

	g->announced++;
	memcpy(g->mac, mac, sizeof(g->mac));
}

/* Lets the back-end do all it can do now. */
static inline void rig_run(struct rig *g)
{
	for (unsigned quiet = 0; quiet < 2; ) {
		g->port->ops->tick(g->port, g->now_ms);
		quiet = poller_run(g->poller, 0) > 0 ? 0 : quiet + 1;
	}
}

static inline void rig_wait(struct rig *g, unsigned ms)
{
	for (; ms; ms = ms > 50 ? ms - 50 : 0) {
		g->now_ms += ms > 50 ? 50 : ms;
		rig_run(g);
	}
}

static inline struct rig *rig_new_with(struct vus_config cfg)
{
	static const struct port_host host = { rig_link, rig_drain, rig_announce };
	static unsigned serial;
	struct rig *g = calloc(1, sizeof(*g));
	struct err e = { 0 };

	log_init("error");
	CU_EQ_FATAL(guard_install(), 0);
	snprintf(g->path, sizeof(g->path), "/tmp/vus-test-%d-%u", (int)getpid(), serial++);
	cfg.name = "pod0";
	cfg.socket = g->path;
	cfg.pairs = cfg.pairs ? cfg.pairs : 2;
	g->now_ms = 1000;
	g->b = aligned_alloc(64, sizeof(*g->b));
	CU_EQ_FATAL(peer_new(&g->peer, RIG_MEM), 0);
	CU_EQ_FATAL(poller_new(&g->poller), 0);
	CU_EQ_FATAL(vus_new(&g->port, &cfg, &host, g, &e), 0);
	CU_EQ_FATAL(g->port->ops->attach(g->port, g->poller), 0);
	return g;
}

static inline struct rig *rig_new(void)
{
	struct rig *g = rig_new_with((struct vus_config){ .pairs = 2 });

	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	rig_run(g);
	return g;
}

static inline void rig_free(struct rig *g)
{
	peer_free(&g->peer);
	g->port->ops->free(g->port);
	poller_free(g->poller);
	free(g->b);
	free(g);
}

static inline uint64_t rig_count(struct rig *g, enum port_counter c)
{
	uint64_t row[PORT_COUNTERS] = { 0 };

	g->port->ops->count(g->port, row);
	return row[c];
}

/* Whether the session is still there, seen from the front-end. Eats what it was sent. */
static inline bool rig_alive(struct rig *g)
{
	union vu_payload p;
	struct vu_header h;
	int rc;

	rig_run(g);
	do
		rc = peer_recv(&g->peer, &h, &p, NULL);
	while (rc == 1);
	return rc == 0;
}

/* A new front-end after the last one was cut off or left. */
static inline void rig_reconnect(struct rig *g)
{
	peer_hang_up(&g->peer);
	rig_run(g);
	g->now_ms += 1000;
	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	rig_run(g);
}

/* Asks with REPLY_ACK: 0 granted, 1 refused, -1: cut off or no answer. */
static inline int rig_ask(struct rig *g, uint32_t request, const void *payload, uint32_t size,
			  const int *fds, unsigned nfds)
{
	union vu_payload p;
	struct vu_header h;

	if (peer_send(&g->peer, request, VU_VERSION | VU_NEED_REPLY, payload, size, fds, nfds) < 0)
		return -1;
	rig_run(g);
	if (peer_recv(&g->peer, &h, &p, NULL) != 1 || h.request != request || h.size != 8)
		return -1;
	return p.u64 != 0;
}

static inline uint64_t rig_get(struct rig *g, uint32_t request)
{
	union vu_payload p = { .u64 = 0 };
	struct vu_header h;

	CU_EQ(peer_send(&g->peer, request, VU_VERSION, NULL, 0, NULL, 0), 0);
	rig_run(g);
	CU_EQ(peer_recv(&g->peer, &h, &p, NULL), 1);
	CU_EQ(h.request, request);
	CU_EQ(h.flags, VU_VERSION | VU_REPLY);
	return p.u64;
}

/* Features and all protocol features on offer. */
static inline void rig_negotiate(struct rig *g, uint64_t features)
{
	g->peer.features = features;
	rig_get(g, VU_GET_FEATURES);
	g->peer.protocol = rig_get(g, VU_GET_PROTOCOL_FEATURES);
	CU_EQ(peer_send_u64(&g->peer, VU_SET_PROTOCOL_FEATURES, g->peer.protocol), 0);
	CU_EQ(peer_send(&g->peer, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0), 0);
	CU_EQ(peer_send_u64(&g->peer, VU_SET_FEATURES, features), 0);
	rig_run(g);
}

/* A whole session with one queue pair running. */
static inline void rig_start(struct rig *g, uint64_t features)
{
	uint32_t base = features & BIT(VIRTIO_F_RING_PACKED) ? 0x80008000 : 0;

	rig_negotiate(g, features);
	g->peer.mem.top = 0;
	CU_EQ(peer_send_memory(&g->peer), 0);
	CU_EQ(peer_start_ring(&g->peer, 0, 64, base), 0);
	CU_EQ(peer_start_ring(&g->peer, 1, 64, base), 0);
	rig_run(g);
	CU_EQ(g->port->up, true);
}

/* The peer offers one frame on its transmit ring; true if it was taken and comes back whole. */
static inline bool rig_echo(struct rig *g)
{
	uint64_t tx = drv_alloc(&g->peer.mem, 256, 64), rx = drv_alloc(&g->peer.mem, 256, 64);
	struct frame *list[1] = { &g->b->frame[0] };
	unsigned n;
	uint16_t id;
	uint32_t len = 0;

	g->peer.mem.top = tx;		/* reuse */
	memset(g->peer.mem.host + tx, 0, 12);
	memset(g->peer.mem.host + tx + 12, 0x5a, 100);
	drv_add(g->peer.ring[0], &(struct drv_buf){ drv_gpa(rx), 256, true }, 1);
	drv_add(g->peer.ring[1], &(struct drv_buf){ drv_gpa(tx), 112, false }, 1);
	n = g->port->ops->take(g->port, 0, g->b, PORT_BURST);
	if (n == 1)
		g->port->ops->give(g->port, 0, list, 1);
	g->port->ops->release(g->port, 0, g->b);
	return n == 1 && drv_used(g->peer.ring[1], &id, &len) &&
	       drv_used(g->peer.ring[0], &id, &len) && len == 112 &&
	       !memcmp(g->peer.mem.host + tx + 12, g->peer.mem.host + rx + 12, 100);
}

#endif
