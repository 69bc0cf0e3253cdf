/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch_rig.h - a whole switch in this process, with pods that are front-ends of a few lines
 * (peer.h) and an uplink in a network namespace of the test's own.
 */
#ifndef TESTS_WIRE_SWITCH_RIG_H
#define TESTS_WIRE_SWITCH_RIG_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "sim/app/switch.h"
#include "sim/backend/tap_lane.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/peer.h"
#include "tests/unit/cu.h"

#define BIT(n) (1ull << (n))
#define POD_MEM (16u << 20)
#define POD_NUM 256			/* descriptors of each ring */
#define POD_BUF 2048
#define FRAME_BYTES 2048
#define FRAME_TYPE 0x88b5		/* EtherType, one for experiments */
#define PODS_MAX 8
#define WIRE_STATION 900		/* somebody outside */
#define POD_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF))

#define SPIN_US 50
#define SETTLE_ROUNDS 32		/* two looks at descriptors that woke, and what follows */
#define SETTLE_TIMES 3		/* ms apart: an interface found empty is let alone for one */

#define RX 0
#define TX 1

struct pod {
	struct peer p;
	char name[16], path[64];
	uint64_t rx_off, tx_off;	/* POD_NUM buffers of POD_BUF each */
	uint16_t buf_of[POD_NUM];	/* a descriptor's receive buffer */
	unsigned sent, flying;		/* transmitted, and not handed back yet */
	unsigned got, wrong;
};

struct rig {
	struct sw *s;
	struct pod pod[PODS_MAX];
	int wire;			/* AF_PACKET socket on the uplink; -1 */
	int heard;			/* another, for what goes on from there */
};

static inline void nap_ms(unsigned ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

static inline int cmd(struct rig *r, const char *fmt, ...)
{
	struct err e = { 0 };
	char line[512];
	va_list ap;
	int rc;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	rc = sw_command(r->s, line, &e);
	if (rc)
		fprintf(stderr, "    %s: %s\n", line, e.msg);
	return rc;
}

/* A namespace of our own, or the whole program is skipped. */
static inline void need_net(void)
{
	static bool have;

	if (have)
		return;
	if (geteuid() || unshare(CLONE_NEWNET) || access("/dev/net/tun", R_OK | W_OK)) {
		printf("skip %s needs root and /dev/net/tun\n", "uplink");
		exit(CU_TEST_SKIPPED);
	}
	have = true;
}

static inline void rig_up(struct rig *r, unsigned workers)
{
	struct sw_opts o = {
		.workers = { .n = workers, .mode = WORKERS_ADAPTIVE, .spin_us = SPIN_US },
		.dir = "/tmp", .socket_mode = 0600,
	};
	struct err e;

	memset(r, 0, sizeof(*r));
	memset(o.workers.cpu, -1, sizeof(o.workers.cpu));
	log_init("error");
	CU_EQ(guard_install(), 0);
	CU_ASSERT_EQUAL_FATAL(sw_new(&r->s, &o, &e), 0);
	r->wire = r->heard = -1;
}

/*
 * A socket for one EtherType hears what the interface hands on to its host; one for all would
 * hear what the interface's programs have still to judge.
 */
static inline int wire_open(int ifindex, unsigned type)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)type),
				 .sll_ifindex = ifindex };
	int s = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	CU_ASSERT_FATAL(s >= 0);
	CU_EQ(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	return s;
}

static inline void rig_uplink(struct rig *r, unsigned queues)
{
	FILE *no6 = fopen("/proc/sys/net/ipv6/conf/all/disable_ipv6", "w");

	if (no6) {			/* its router solicitations are nobody's in these tests */
		fputs("1", no6);
		fclose(no6);
	}
	CU_EQ(cmd(r, "port add upl0 kind tap queues %u", queues), 0);
	r->wire = wire_open((int)if_nametoindex("upl0"), 0);
	r->heard = wire_open((int)if_nametoindex("upl0"), FRAME_TYPE);
}

/* Numbers are small in `make check`; `make soak` sets SOAK and has those of the criteria. */
static inline unsigned full(unsigned quick, unsigned soak)
{
	return getenv("SOAK") ? soak : quick;
}

static inline void post(struct pod *d, unsigned i)
{
	struct drv_buf b = { drv_gpa(d->rx_off + (uint64_t)i * POD_BUF), POD_BUF, true };

	d->buf_of[drv_add(d->p.ring[RX], &b, 1)] = (uint16_t)i;
}

static inline bool port_is_up(struct rig *r, const char *name)
{
	struct sw_port *p = sw_find(r->s, name);

	return p && port_load(p->port->up) && port_load(p->port->gives);
}

/* All that was said before has been dealt with: the answer to a question says so. */
static inline bool pod_heard(struct pod *d)
{
	union vu_payload payload;
	struct vu_header h;

	peer_send(&d->p, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0);
	for (unsigned ms = 0; ms < 2000; ms++) {
		int rc = peer_recv(&d->p, &h, &payload, NULL);

		if (rc)
			return rc > 0 && h.request == VU_GET_FEATURES;
		nap_ms(1);
	}
	return false;
}

/* The front-end: memory, rings, buffers. posted: how many receive buffers it offers. */
static inline void pod_connect_as(struct rig *r, struct pod *d, uint64_t features,
				  unsigned posted)
{
	uint32_t base = features >> VIRTIO_F_RING_PACKED & 1 ? 0x80008000 : 0;

	CU_ASSERT_EQUAL_FATAL(peer_new(&d->p, POD_MEM), 0);
	CU_EQ(fallocate(d->p.mem.fd, 0, 0, POD_MEM), 0);	/* it has what it lends */
	d->p.features = features;
	CU_EQ(peer_connect(&d->p, d->path), 0);
	peer_send(&d->p, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	peer_send_u64(&d->p, VU_SET_FEATURES, features);
	peer_send_memory(&d->p);
	peer_start_ring(&d->p, RX, POD_NUM, base);
	peer_start_ring(&d->p, TX, POD_NUM, base);
	d->rx_off = drv_alloc(&d->p.mem, (uint64_t)POD_NUM * POD_BUF, 4096);
	d->tx_off = drv_alloc(&d->p.mem, (uint64_t)POD_NUM * POD_BUF, 4096);
	d->sent = d->flying = 0;
	for (unsigned i = 0; i < posted; i++)
		post(d, i);
	CU_ASSERT_TRUE(pod_heard(d));
	for (unsigned i = 0; i < 2000 && !port_is_up(r, d->name); i++)
		nap_ms(1);
	CU_ASSERT_TRUE(port_is_up(r, d->name));
}

static inline void pod_connect(struct rig *r, struct pod *d, uint64_t more, unsigned posted)
{
	pod_connect_as(r, d, POD_FEATURES | more, posted);
}

static inline struct pod *pod_up(struct rig *r, unsigned i, uint64_t more)
{
	struct pod *d = &r->pod[i];

	memset(d, 0, sizeof(*d));
	snprintf(d->name, sizeof(d->name), "p%u", i);
	snprintf(d->path, sizeof(d->path), "/tmp/switch-test-%d-%u", (int)getpid(), i);
	CU_EQ(cmd(r, "port add %s socket %s", d->name, d->path), 0);
	pod_connect(r, d, more, POD_NUM - 1);
	return d;
}

/* The next frame the pod received, without its header; its buffer is posted again. */
static inline uint32_t pod_recv(struct pod *d, uint8_t *frame)
{
	uint16_t id, buf;
	uint32_t len;

	if (!drv_used(d->p.ring[RX], &id, &len))
		return 0;
	buf = d->buf_of[id];
	len = len > 12 ? len - 12 : 0;
	memcpy(frame, d->p.mem.host + d->rx_off + (uint64_t)buf * POD_BUF + 12, len);
	post(d, buf);
	return len;
}

/* Takes and forgets what has come; how many frames that were. */
static inline unsigned drain(struct pod *d)
{
	static uint8_t b[FRAME_BYTES];
	unsigned n = 0;

	while (pod_recv(d, b))
		n++;
	return n;
}

/* Offers a chain to send, when there is room for it. */
static inline void pod_send_chain(struct pod *d, const struct drv_buf *b, unsigned n)
{
	const uint64_t one = 1;

	drv_add(d->p.ring[TX], b, n);
	if (drv_kick_wanted(d->p.ring[TX]))
		(void)!write(d->p.kick[TX], &one, sizeof(one));
}

static inline void pod_send(struct pod *d, const uint8_t *frame, uint32_t n)
{
	uint64_t off = d->tx_off + (uint64_t)(d->sent++ % POD_NUM) * POD_BUF;
	struct drv_buf b = { drv_gpa(off), 12 + n, false };
	uint32_t len;
	uint16_t id;

	for (unsigned ms = 0; d->flying == POD_NUM - 1 && ms < 2000; ms++) {
		while (drv_used(d->p.ring[TX], &id, &len))
			d->flying--;
		if (d->flying == POD_NUM - 1)
			nap_ms(1);
	}
	d->flying++;
	memset(d->p.mem.host + off, 0, 12);
	memcpy(d->p.mem.host + off + 12, frame, n);
	pod_send_chain(d, &b, 1);
}

/* Pods 0 .. n-1 are pools with station 1 .. n; `more` is what else "pool add" says. */
static inline void pools_up(struct rig *r, unsigned n, unsigned queues, unsigned workers,
			    const char *more)
{
	need_net();
	rig_up(r, workers);
	rig_uplink(r, queues);
	CU_EQ(cmd(r, "pool default drop"), 0);
	for (unsigned i = 0; i < n; i++) {
		pod_up(r, i, i & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0);
		CU_EQ(cmd(r, "pool add p%u macs 52:54:00:00:00:%02x%s", i, i + 1, more), 0);
	}
}

/* Whether what the pool sends goes past the switch. */
static inline bool is_direct(struct rig *r, const char *name)
{
	struct sw_port *p = sw_find(r->s, name);

	return p->lane && tap_lane_is_sending(p->lane);
}

/* Pod 0 connects anew, with so many buffers for what it might receive. */
static inline void pod_again(struct rig *r, uint64_t features, unsigned posted)
{
	peer_hang_up(&r->pod[0].p);
	for (unsigned ms = 0; ms < 2000 && port_is_up(r, "p0"); ms++)
		nap_ms(1);
	peer_free(&r->pod[0].p);
	pod_connect_as(r, &r->pod[0], features, posted);
}

/*
 * Returns when what was sent before has been dealt with, however busy the machine: the workers
 * poll meanwhile, so that a round is seen to end and none hides in a sleep.
 */
static inline void rig_settle(struct rig *r)
{
	enum workers_mode mode = workers_mode_get(r->s->w);

	workers_mode(r->s->w, WORKERS_POLL, 0);
	for (unsigned i = 0; i < SETTLE_TIMES * workers_count(r->s->w); i++) {
		unsigned worker = i / SETTLE_TIMES, ms = 0;
		struct worker_stats was, now;

		workers_stats(r->s->w, worker, &was);
		nap_ms(1);
		do {
			nap_ms(1);
			workers_stats(r->s->w, worker, &now);
		} while (now.rounds < was.rounds + SETTLE_ROUNDS && ++ms < 5000);
		CU_ASSERT(ms < 5000);
	}
	workers_mode(r->s->w, mode, SPIN_US);
}

static inline void rig_down(struct rig *r)
{
	if (r->wire >= 0)
		close(r->wire);
	if (r->heard >= 0)
		close(r->heard);
	sw_free(r->s);
	for (unsigned i = 0; i < PODS_MAX; i++)
		if (r->pod[i].name[0])
			peer_free(&r->pod[i].p);
}

/* ---- frames -------------------------------------------------------------------------------- */

static inline void mac_of(uint8_t mac[6], unsigned station)
{
	memcpy(mac, (uint8_t[]){ 0x52, 0x54, 0, 0, (uint8_t)(station >> 8), (uint8_t)station }, 6);
}

/* From station to station (0: broadcast), in a VLAN (0: untagged), with a number inside. */
static inline uint32_t frame_make(uint8_t *b, unsigned dst, unsigned src, unsigned tci,
				  uint32_t number, uint32_t len)
{
	uint32_t at = 12;

	memset(b, 0x5a, len);
	mac_of(b, dst);
	mac_of(b + 6, src);
	if (!dst)
		memset(b, 0xff, 6);
	if (tci) {
		memcpy(b + at, (uint8_t[]){ 0x81, 0, (uint8_t)(tci >> 8), (uint8_t)tci }, 4);
		at += 4;
	}
	memcpy(b + at, (uint8_t[]){ FRAME_TYPE >> 8, FRAME_TYPE & 0xff }, 2);
	memcpy(b + at + 2, &number, sizeof(number));
	return len;
}

static inline uint32_t frame_number(const uint8_t *b)
{
	uint32_t n;

	memcpy(&n, b + (b[12] == 0x81 ? 18 : 14), sizeof(n));
	return n;
}

/* Onto the wire, towards the switch. Waits while the interface's queue is full. */
static inline void wire_send(struct rig *r, const uint8_t *b, uint32_t n)
{
	for (unsigned tries = 0; tries < 2000; tries++) {
		if (send(r->wire, b, n, 0) == (ssize_t)n)
			return;
		nap_ms(1);
	}
	CU_FAIL("the uplink does not take frames");
}

/* What the switch put on the wire (not what we sent); 0: nothing. */
static inline uint32_t wire_recv(struct rig *r, uint8_t *b)
{
	ssize_t n = recv(r->heard, b, FRAME_BYTES, 0);

	return n > 0 ? (uint32_t)n : 0;
}

static inline uint64_t stat_of(struct rig *r, const char *port, enum port_counter c)
{
	uint64_t row[PORT_COUNTERS] = { 0 };
	struct sw_port *p = sw_find(r->s, port);

	p->port->ops->count(p->port, row);
	return row[c];
}

/* How many of a port's frames met this end. */
static inline uint64_t cause_of(struct rig *r, const char *name, enum l2_cause cause)
{
	struct l2_counters c;

	l2_counters(r->s->l2, sw_find(r->s, name)->id, &c);
	return c.cause[cause];
}

static inline struct tap_lane_counters lane_of(struct rig *r, const char *port)
{
	struct tap_lane_counters c = { 0 };
	struct sw_port *p = sw_find(r->s, port);

	CU_ASSERT_PTR_NOT_NULL(p->lane);
	if (p->lane)
		tap_lane_counters(p->lane, &c);
	return c;
}

/* A line "VmPin: N kB" of our own status. */
static inline unsigned long pinned_kb(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "VmPin: %lu", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

#endif
