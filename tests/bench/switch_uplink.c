// SPDX-License-Identifier: Apache-2.0
/*
 * switch_uplink.c - from a TAP interface into pods: the kernel's copy straight into their buffers,
 * beside a read() into a buffer of ours and a copy from there.
 *
 *	switch_uplink BYTES [ms]
 *
 * One thread, in turns: frames are queued at the interface and then fetched, and only fetching is
 * timed. Nobody has to be on another core for it, so that a busy machine disturbs little. A line
 * for each turn: "copies LANE READ" (ns a frame, one pod) and "pods FOUR ONE" (the same by lanes,
 * frames for four pods and for one of them).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "include/backend.h"
#include "sim/backend/poller.h"
#include "sim/backend/tap.h"
#include "sim/backend/tap_impl.h"
#include "sim/backend/tap_lane.h"
#include "sim/backend/workers.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/peer.h"

#define BIT(n)	(1ull << (n))
#define PODS	4u
#define NUM	256u
#define CHUNK	128u		/* frames under way */
#define ROUNDS	8u		/* chunks in a turn */

struct pod {
	struct port *port;
	struct peer peer;
	struct tap_lane *lane;
	uint64_t area;
	unsigned posted;
};

static struct pod pod[PODS];
static struct poller *poller;
static struct port *tap;
static int wire = -1;
static uint32_t bytes, room;
static uint8_t frame[FRAME_MAX], bounce[32][FRAME_MAX + 64];

static void need(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "switch_uplink: %s failed\n", what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void on_link(struct port *p, bool up)
{
	(void)p;
	(void)up;
}

static void on_drain(struct port *p)
{
	struct pod *d = p->owner;

	if (d->lane)
		tap_lane_drain(d->lane);
}

static void on_announce(struct port *p, const uint8_t mac[6])
{
	(void)p;
	(void)mac;
}

static void post(struct pod *d)
{
	uint64_t off = d->area + (uint64_t)room * (d->posted++ % NUM);

	drv_add(d->peer.ring[0], &(struct drv_buf){ drv_gpa(off), room, true }, 1);
}

static void pod_up(unsigned i)
{
	static const struct port_host host = { on_link, on_drain, on_announce };
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)(i + 1) };
	struct vus_config cfg = { .name = "pod", .pairs = 1 };
	struct pod *d = &pod[i];
	struct err e = { 0 };
	char path[64];

	snprintf(path, sizeof(path), "/tmp/uplink-%d-%u", (int)getpid(), i);
	cfg.socket = path;
	need(vus_new(&d->port, &cfg, &host, d, &e) == 0 &&
	     d->port->ops->attach(d->port, poller) == 0 &&
	     peer_new(&d->peer, (uint64_t)NUM * room + (1u << 20)) == 0 &&
	     /* what a pod has only promised is not registered */
	     fallocate(d->peer.mem.fd, 0, 0, (off_t)d->peer.mem.size) == 0 &&
	     peer_connect(&d->peer, path) == 0, "a pod's session");
	d->peer.features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
			   BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_NET_F_GUEST_CSUM);
	peer_send(&d->peer, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	peer_send_u64(&d->peer, VU_SET_FEATURES, d->peer.features);
	peer_send_memory(&d->peer);
	for (unsigned r = 0; r < 2; r++)
		peer_start_ring(&d->peer, r, NUM, 0x80008000);
	d->area = drv_alloc(&d->peer.mem, (uint64_t)NUM * room, 4096);
	memset(d->peer.mem.host + d->area, 1, (size_t)NUM * room);
	while (d->posted < NUM - 1)
		post(d);
	for (unsigned k = 0; k < 1000 && !d->port->up; k++) {
		d->port->ops->tick(d->port, now_ns() / 1000000);
		poller_run(poller, 1);
	}
	need(d->port->up && tap_lane_new(&d->lane, tap, &e) == 0 &&
	     tap_lane_of(d->lane)->ops->attach(tap_lane_of(d->lane), d->port, poller) == 0 &&
	     tap_lane_steer(d->lane, mac, 0, true) == 0, "a pod's lane");
	unlink(path);
}

static void wire_up(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = 0 };
	struct ifreq f = { .ifr_name = "upl0" };
	int one = 1, room_wanted = 64 << 20;

	wire = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	need(wire >= 0 && ioctl(wire, SIOCGIFINDEX, &f) == 0, "a packet socket");
	a.sll_ifindex = f.ifr_ifindex;
	setsockopt(wire, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one));
	setsockopt(wire, SOL_SOCKET, SO_SNDBUFFORCE, &room_wanted, sizeof(room_wanted));
	need(bind(wire, (struct sockaddr *)&a, sizeof(a)) == 0, "bind");
}

static void quiet_ipv6(void)
{
	int fd = open("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC);

	if (fd >= 0) {
		(void)!write(fd, "1", 1);
		close(fd);
	}
}

/* n frames for the first `pods` pods in turn. */
static void queue_frames(unsigned n, unsigned pods)
{
	for (unsigned i = 0; i < n; i++) {
		const uint8_t head[14] = { 2, 0, 0, 0, 0, (uint8_t)(i % pods + 1),
					   2, 0, 0, 0, 9, 9, 0x88, 0xb5 };

		memcpy(frame, head, sizeof(head));
		need(send(wire, frame, bytes, 0) == (ssize_t)bytes, "send");
	}
}

static void take_back(unsigned pods)
{
	uint32_t len;
	uint16_t id;

	for (unsigned i = 0; i < pods; i++)
		while (drv_used(pod[i].peer.ring[0], &id, &len))
			post(&pod[i]);
}

static unsigned by_lane(unsigned i)
{
	struct lane *l = tap_lane_of(pod[i].lane);

	l->ops->tick(l, 0);
	return l->ops->poll(l);
}

/* The plain way: one read a frame, and a copy to the pod, in bursts. */
static unsigned by_read(unsigned i)
{
	struct tap_queue *q = &((struct tap *)tap)->queue[tap_lane_queue(pod[i].lane)];
	static struct frame f[32];
	struct frame *list[32];
	unsigned n;

	for (n = 0; n < 32; n++) {
		ssize_t len = read(q->fd, bounce[n], sizeof(bounce[n]));

		if (len < (ssize_t)(TAP_HDR + FRAME_MIN))
			break;
		frame_of(&f[n], bounce[n] + TAP_HDR, (uint32_t)len - TAP_HDR);
		list[n] = &f[n];
	}
	if (n)
		pod[i].port->ops->give(pod[i].port, 0, list, n);
	return n;
}

/* ns a frame. */
static double fetch(unsigned (*by)(unsigned pod_index), unsigned pods)
{
	uint64_t took = 0, frames = 0;

	for (unsigned r = 0; r < ROUNDS; r++) {
		unsigned got = 0, idle = 0;
		uint64_t begin;

		queue_frames(CHUNK, pods);
		begin = now_ns();
		while (got < CHUNK && idle < 1000) {
			unsigned n = 0;

			for (unsigned i = 0; i < pods; i++)
				n += by(i);
			got += n;
			idle = n ? 0 : idle + 1;
		}
		took += now_ns() - begin;
		frames += got;
		need(got == CHUNK, "fetching all frames");
		take_back(pods);
	}
	return (double)took / (double)frames;
}

int main(int argc, char **argv)
{
	struct tap_config cfg = { .name = "upl0", .dev = "upl0", .queues = 1 + PODS,
				  .steer = true };
	uint64_t end, ms = argc > 2 ? strtoull(argv[2], NULL, 0) : 500;
	struct err e = { 0 };

	bytes = argc > 1 ? (uint32_t)atoi(argv[1]) : 64;
	need(bytes >= 60 && bytes <= 64000, "size of 60 to 64000 bytes");
	cfg.mtu = bytes > 1514 ? bytes : 1500;
	room = (cfg.mtu + 64 + 63) & ~63u;
	log_init("error");
	need(guard_install() == 0 && unshare(CLONE_NEWNET) == 0, "a network of its own (as root)");
	quiet_ipv6();
	need(poller_new(&poller) == 0, "poller");
	if (tap_new(&tap, &cfg, NULL, NULL, &e) < 0 || tap->ops->attach(tap, poller) < 0) {
		fprintf(stderr, "switch_uplink: %s\n", e.msg);
		return 1;
	}
	wire_up();
	for (unsigned i = 0; i < PODS; i++)
		pod_up(i);
	fetch(by_lane, PODS);
	fetch(by_read, 1);
	for (end = now_ns() + ms * 1000000; now_ns() < end; ) {
		double lane = fetch(by_lane, 1), rd = fetch(by_read, 1);

		printf("copies %.1f %.1f\n", lane, rd);
		printf("pods %.1f %.1f\n", fetch(by_lane, PODS), fetch(by_lane, 1));
	}
	return 0;
}
