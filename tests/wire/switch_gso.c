// SPDX-License-Identifier: Apache-2.0
// switch_gso.c - large packets from outside: one piece for a pod that takes them, segments for
// one that does not. The numbers are the design's acceptance criteria.
#include "include/backend.h"
#include "tests/wire/switch_rig.h"

#define PAYLOAD 60000u
#define HEADERS 54u			/* Ethernet, IPv4, TCP */
#define MSS 1400u

#define TSO (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4))

/* The uplink again, by a socket that sends virtio-net headers. */
static int gso_socket(void)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct ifreq f = { .ifr_name = "upl0" };
	int on = 1, s = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	CU_ASSERT_FATAL(s >= 0 && ioctl(s, SIOCGIFINDEX, &f) == 0);
	a.sll_ifindex = f.ifr_ifindex;
	CU_EQ(setsockopt(s, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof(on)), 0);
	CU_EQ(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
	return s;
}

static uint32_t sum(const uint8_t *b, uint32_t n, uint32_t s)
{
	for (uint32_t i = 0; i + 1 < n; i += 2)
		s += (uint32_t)(b[i] << 8 | b[i + 1]);
	if (n & 1)
		s += (uint32_t)b[n - 1] << 8;
	return s;
}

static uint16_t fold(uint32_t s)
{
	while (s >> 16)
		s = (s & 0xffff) + (s >> 16);
	return (uint16_t)s;
}

/* One TCP packet of PAYLOAD bytes, to be cut by MSS. */
static void gso_send(int s, unsigned dst)
{
	static struct {
		struct virtio_net_hdr h;
		uint8_t b[HEADERS + PAYLOAD];
	} __attribute__((packed)) p;
	uint8_t *ip = p.b + 14, *tcp = ip + 20, pseudo[12];
	uint16_t c;

	memset(&p, 0, sizeof(p));
	p.h = (struct virtio_net_hdr){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = HEADERS, .gso_size = MSS, .csum_start = 34, .csum_offset = 16,
	};
	mac_of(p.b, dst);
	mac_of(p.b + 6, WIRE_STATION);
	p.b[12] = 8;
	memcpy(ip, (uint8_t[]){ 0x45, 0, (20 + 20 + PAYLOAD) >> 8, (20 + 20 + PAYLOAD) & 0xff, 0, 1,
				0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2 }, 20);
	c = (uint16_t)~fold(sum(ip, 20, 0));
	ip[10] = (uint8_t)(c >> 8);
	ip[11] = (uint8_t)c;
	tcp[12] = 0x50;
	tcp[13] = 0x10;
	for (uint32_t i = 0; i < PAYLOAD; i++)
		tcp[20 + i] = (uint8_t)(i % 251);
	memcpy(pseudo, ip + 12, 8);
	memcpy(pseudo + 8, (uint8_t[]){ 0, 6, (20 + PAYLOAD) >> 8, (20 + PAYLOAD) & 0xff }, 4);
	c = fold(sum(pseudo, 12, 0));
	tcp[16] = (uint8_t)(c >> 8);
	tcp[17] = (uint8_t)c;
	CU_EQ(write(s, &p, sizeof(p)), (ssize_t)sizeof(p));
}

struct got {
	unsigned frames;
	uint32_t payload, longest, wrong;
};

/* A whole frame of the pod, from as many buffers as it took; its header's gso type in *gso. */
static uint32_t frame_recv(struct pod *d, uint8_t *b, uint8_t *gso)
{
	uint32_t n = 0, len;
	uint16_t id, parts = 0, i = 0;

	do {
		const uint8_t *at;

		for (unsigned ms = 0; !drv_used(d->p.ring[RX], &id, &len); ms++) {
			if (!i || ms == 500)
				return 0;
			nap_ms(1);
		}
		at = d->p.mem.host + d->rx_off + (uint64_t)d->buf_of[id] * POD_BUF;
		if (!i) {
			*gso = at[1];
			memcpy(&parts, at + 10, 2);
			at += 12;
			len -= 12;
		}
		memcpy(b + n, at, len);
		n += len;
		post(d, d->buf_of[id]);
	} while (++i < parts);
	return n;
}

static struct got collect(struct pod *d)
{
	static uint8_t b[HEADERS + 65536];
	struct got g = { 0, 0, 0, 0 };
	uint8_t gso;

	for (unsigned ms = 0; ms < 1000 && g.payload < PAYLOAD; ms++) {
		uint32_t n = frame_recv(d, b, &gso), seq;

		if (!n) {
			nap_ms(1);
			continue;
		}
		memcpy(&seq, b + 38, 4);
		seq = ntohl(seq);
		g.frames++;
		g.wrong += n < HEADERS || seq != g.payload || (n > HEADERS + MSS) != (gso != 0);
		for (uint32_t i = HEADERS; i < n; i++)
			g.wrong += b[i] != (seq + i - HEADERS) % 251;
		g.payload += n - HEADERS;
		g.longest = n > g.longest ? n : g.longest;
	}
	return g;
}

static void large_packets_arrive_whole_until_a_pod_cannot_take_them(void)
{
	struct rig r;
	struct got g;
	int s;

	need_net();
	rig_up(&r, 1);
	rig_uplink(&r, 1);
	s = gso_socket();
	pod_up(&r, 0, TSO);
	CU_EQ(cmd(&r, "fdb add 52:54:00:00:00:01 port p0"), 0);
	gso_send(s, 1);
	g = collect(&r.pod[0]);
	CU_EQ(g.frames, 1);
	CU_EQ(g.longest, HEADERS + PAYLOAD);
	CU_EQ(g.wrong, 0);

	pod_up(&r, 1, BIT(VIRTIO_F_RING_PACKED));	/* it takes no large packets */
	CU_EQ(cmd(&r, "fdb add 52:54:00:00:00:02 port p1"), 0);
	gso_send(s, 2);
	g = collect(&r.pod[1]);
	CU_EQ(g.frames, (PAYLOAD + MSS - 1) / MSS);
	CU_EQ(g.payload, PAYLOAD);
	CU_EQ(g.longest, HEADERS + MSS);
	CU_EQ(g.wrong, 0);
	gso_send(s, 1);			/* nobody lost anything by it */
	g = collect(&r.pod[0]);
	CU_EQ(g.payload, PAYLOAD);
	CU_EQ(g.wrong, 0);
	close(s);
	rig_down(&r);
}

/* Frames read straight into a pod's buffers are no larger than these: the kernel cuts them. */
static void a_pool_with_a_queue_of_its_own_gets_segments(void)
{
	struct rig r;
	struct got g;
	int s;

	need_net();
	rig_up(&r, 1);
	rig_uplink(&r, 4);
	s = gso_socket();
	for (unsigned i = 0; i < 2; i++) {
		pod_up(&r, i, i ? 0 : TSO);
		CU_EQ(cmd(&r, "pool add p%u macs 52:54:00:00:00:%02x", i, i + 1), 0);
		CU_ASSERT_PTR_NOT_NULL(sw_find(r.s, r.pod[i].name)->lane);
		nap_ms(50);		/* its worker agrees with the interface */
		gso_send(s, i + 1);
		g = collect(&r.pod[i]);
		CU_EQ(g.payload, PAYLOAD);
		CU_EQ(g.longest, HEADERS + MSS);
		CU_EQ(g.wrong, 0);
	}
	gso_send(s, 1);
	g = collect(&r.pod[0]);
	CU_EQ(g.payload, PAYLOAD);
	CU_EQ(g.wrong, 0);
	CU_EQ(lane_of(&r, "p0").copied_bytes, 0);
	close(s);
	rig_down(&r);
}

CU_MAIN("switch/gso",
	TC("3.15", large_packets_arrive_whole_until_a_pod_cannot_take_them),
	TC("3.15", a_pool_with_a_queue_of_its_own_gets_segments))
