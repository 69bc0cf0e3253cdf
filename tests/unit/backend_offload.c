// SPDX-License-Identifier: Apache-2.0
// backend_offload.c - checksums and segments made in software, checked by an independent sum.
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "sim/backend/offload.h"
#include "tests/unit/cu.h"

#define BIT(n) (1ull << (n))
#define GUEST_CSUM BIT(VIRTIO_NET_F_GUEST_CSUM)
#define UDP_L4 5

static struct offload scratch;

/* A packet being built: layers on top of each other, payload with a pattern. */
struct pkt {
	uint8_t  b[FRAME_MAX];
	uint32_t n;
	uint32_t l3, l4;
	struct virtio_net_hdr_v1 hdr;
};

static void add(struct pkt *p, const void *bytes, uint32_t n)
{
	memcpy(p->b + p->n, bytes, n);
	p->n += n;
}

static void add_eth(struct pkt *p, unsigned tags, uint16_t type)
{
	static const uint8_t macs[12] = { 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2 };
	static const uint8_t tag[4] = { 0x81, 0, 0, 5 };
	uint8_t t[2] = { (uint8_t)(type >> 8), (uint8_t)type };

	add(p, macs, 12);
	while (tags--)
		add(p, tag, 4);
	add(p, t, 2);
	p->l3 = p->n;
}

static void add_ipv4(struct pkt *p, uint8_t proto, unsigned options)
{
	uint8_t h[60] = { (uint8_t)(0x45 + options), 0, 0, 0, 0x12, 0x34, 0, 0, 64, proto, 0, 0,
			  10, 0, 0, 1, 10, 0, 0, 2 };

	add(p, h, 20 + options * 4);
	p->l4 = p->n;
}

static void add_ipv6(struct pkt *p, uint8_t proto, unsigned exts)
{
	uint8_t h[40] = { 0x60, 0, 0, 0, 0, 0, exts ? IPPROTO_HOPOPTS : proto, 64, [8] = 0xfd,
			  [23] = 1, [24] = 0xfd, [39] = 2 };

	add(p, h, 40);
	for (unsigned i = 0; i < exts; i++)
		add(p, (uint8_t[8]){ i + 1 < exts ? IPPROTO_DSTOPTS : proto }, 8);
	p->l4 = p->n;
}

static uint16_t pseudo(const struct pkt *p, uint8_t proto, uint32_t l4_len)
{
	uint8_t x[40] = { 0 };
	unsigned v6 = p->b[p->l3] >> 4 == 6, n = v6 ? 32 : 8;

	memcpy(x, p->b + p->l3 + (v6 ? 8 : 12), n);
	x[n] = (uint8_t)(l4_len >> 8);
	x[n + 1] = (uint8_t)l4_len;
	x[n + 3] = proto;
	return offload_fold(offload_sum(x, n + 4, 0));
}

static void add_tcp(struct pkt *p, uint32_t payload, uint16_t mss, uint8_t type)
{
	uint8_t h[20] = { 0x30, 0x39, 0, 80, 0, 0, 0x10, 0, 0, 0, 0, 0, 0x50, 0x99 };
	uint16_t sum;

	add(p, h, 20);
	for (uint32_t i = 0; i < payload; i++)
		p->b[p->n++] = (uint8_t)(i * 7 + (i >> 8));
	sum = pseudo(p, IPPROTO_TCP, p->n - p->l4);
	memcpy(p->b + p->l4 + 16, &sum, 2);
	p->hdr = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = type, .gso_size = mss,
		.hdr_len = 9999, .csum_start = (uint16_t)p->l4, .csum_offset = 16,
	};
}

static void add_udp(struct pkt *p, uint32_t payload, uint16_t mss, uint8_t type)
{
	uint8_t h[8] = { 0x30, 0x39, 0, 53 };
	uint16_t sum;

	add(p, h, 8);
	for (uint32_t i = 0; i < payload; i++)
		p->b[p->n++] = (uint8_t)(i * 13 + (i >> 8));
	p->b[p->l4 + 4] = (uint8_t)((p->n - p->l4) >> 8);
	p->b[p->l4 + 5] = (uint8_t)(p->n - p->l4);
	sum = pseudo(p, IPPROTO_UDP, p->n - p->l4);
	memcpy(p->b + p->l4 + 6, &sum, 2);
	p->hdr = (struct virtio_net_hdr_v1){
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = type, .gso_size = mss,
		.csum_start = (uint16_t)p->l4, .csum_offset = 6,
	};
}

/* The packet as take() would hand it over, in views of `view` bytes (0: one). */
static void taken(struct frame *f, const struct pkt *p, struct seg *segs, uint32_t view)
{
	frame_of(f, p->b, p->n);
	f->hdr = p->hdr;
	if (!view)
		return;
	f->segs = segs;
	f->nsegs = 0;
	for (uint32_t at = 0; at < p->n; at += view)
		segs[f->nsegs++] = (struct seg){ p->b + at, p->n - at < view ? p->n - at : view };
}

/* True if the L4 checksum of a finished packet is right; parses it anew. */
static bool sums_right(const uint8_t *b, uint32_t n)
{
	struct offload_layers l;
	struct pkt p;
	uint64_t sum;

	if (offload_parse(b, n, &l))
		return false;
	memcpy(p.b, b, n);
	p.l3 = l.l3;
	sum = pseudo(&p, l.proto, n - l.l4);
	if (offload_fold(offload_sum(b + l.l4, n - l.l4, sum)) != 0xffff)
		return false;
	return l.version == 6 ||
	       offload_fold(offload_sum(b + l.l3, (uint32_t)l.l4 - l.l3, 0)) == 0xffff;
}

static void ip_sum_in(struct pkt *p)
{
	uint16_t sum;

	p->b[p->l3 + 2] = (uint8_t)((p->n - p->l3) >> 8);
	p->b[p->l3 + 3] = (uint8_t)(p->n - p->l3);
	sum = (uint16_t)~offload_fold(offload_sum(p->b + p->l3, p->l4 - p->l3, 0));
	memcpy(p->b + p->l3 + 10, &sum, 2);
}

static void a_checksum_left_open_is_filled_in(void)
{
	static const uint32_t views[] = { 0, 1000, 33, 7 };
	static struct pkt p;
	static uint8_t out[FRAME_MAX];
	struct seg segs[FRAME_SEGS];
	struct frame f;

	for (unsigned i = 0; i < ARRAY_SIZE(views); i++) {
		for (uint32_t len = 0; len < 1400; len += 117) {
			p = (struct pkt){ .n = 0 };
			add_eth(&p, i & 1, 0x0800);
			add_ipv4(&p, IPPROTO_UDP, i);
			add_udp(&p, len, 0, 0);
			ip_sum_in(&p);
			taken(&f, &p, segs, views[i]);
			CU_EQ(offload_fit(&scratch, &f, 0), 0);
			CU_EQ(scratch.n, 1);
			CU_EQ(scratch.frame[0].hdr.flags, 0);
			CU_EQ(scratch.frame[0].len, p.n);
			frame_copy(out, &scratch.frame[0], 0, p.n);
			CU_ASSERT_TRUE(sums_right(out, p.n));
			CU_EQ(offload_fit(&scratch, &f, GUEST_CSUM), 0);
			CU_EQ(scratch.frame[0].hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		}
	}
}

static void a_udp_checksum_of_zero_becomes_ffff(void)
{
	static struct pkt p;
	struct frame f;
	uint16_t sum;

	add_eth(&p, 0, 0x0800);
	add_ipv4(&p, IPPROTO_UDP, 0);
	add_udp(&p, 2, 0, 0);
	memset(p.b + p.n - 2, 0, 2);	/* a payload that makes the sum come out as ffff */
	sum = (uint16_t)~offload_fold(offload_sum(p.b + p.l4, p.n - p.l4, 0));
	memcpy(p.b + p.n - 2, &sum, 2);
	taken(&f, &p, NULL, 0);
	CU_EQ(offload_fit(&scratch, &f, 0), 0);
	CU_EQ(scratch.frame[0].head[p.l4 + 6], 0xff);
	CU_EQ(scratch.frame[0].head[p.l4 + 7], 0xff);
}

static uint32_t be32(const uint8_t *b)
{
	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

/* Segments put together again are the packet; each is well formed. */
static void check_segments(const struct pkt *p, uint32_t hlen, uint16_t mss, bool tcp)
{
	static uint8_t out[FRAME_MAX];
	uint32_t off = 0;

	for (unsigned i = 0; i < scratch.n; i++) {
		const struct frame *s = &scratch.frame[i];
		bool last = i == scratch.n - 1;

		CU_ASSERT_TRUE_FATAL(s->len <= hlen + mss && s->len >= hlen);
		CU_EQ(s->hdr.gso_type, 0);
		CU_EQ(s->hdr.flags, 0);
		CU_ASSERT((s->nsegs > 1) != (s->segs == &s->one));
		frame_copy(out, s, 0, s->len);
		CU_ASSERT_TRUE(sums_right(out, s->len));
		CU_EQ(memcmp(out + hlen, p->b + hlen + off, s->len - hlen), 0);
		if (tcp) {
			CU_EQ(be32(out + p->l4 + 4), 0x1000 + off);
			CU_EQ(out[p->l4 + 13] & 0x09, last ? 0x09 : 0);	/* FIN, PSH */
			CU_EQ(out[p->l4 + 13] & 0x80, i ? 0 : 0x80);	/* CWR */
			CU_EQ(out[p->l4 + 13] & 0x10, 0x10);
		}
		off += s->len - hlen;
	}
	CU_EQ(off, p->n - hlen);
}

static void large_tcp_packets_are_segmented(void)
{
	static const struct { unsigned tags, v6, extra; uint32_t payload; uint16_t mss; } t[] = {
		{ 0, 0, 0, 65000, 1448 }, { 1, 0, 3, 5000, 536 }, { 0, 1, 0, 40000, 1428 },
		{ 2, 1, 2, 1429, 1428 }, { 0, 0, 0, 1448, 1448 }, { 0, 0, 0, 0, 1000 },
		{ 0, 0, 0, 128, 1 }, { 1, 1, 0, 3001, 1000 },
	};
	static const uint32_t views[] = { 0, 4096, 1000, 333 };
	static struct pkt p;
	struct seg segs[FRAME_SEGS];
	struct frame f;
	uint32_t wire;

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		for (unsigned v = 0; v < ARRAY_SIZE(views); v++) {
			p = (struct pkt){ .n = 0 };
			add_eth(&p, t[i].tags, t[i].v6 ? 0x86dd : 0x0800);
			if (t[i].v6)
				add_ipv6(&p, IPPROTO_TCP, t[i].extra);
			else
				add_ipv4(&p, IPPROTO_TCP, t[i].extra);
			add_tcp(&p, t[i].payload, t[i].mss,
				t[i].v6 ? VIRTIO_NET_HDR_GSO_TCPV6 : VIRTIO_NET_HDR_GSO_TCPV4);
			if (p.n / (views[v] ? views[v] : p.n) > 200)
				continue;
			taken(&f, &p, segs, views[v]);
			CU_EQ(offload_judge(&f, &wire), 0);
			CU_EQ(f.hdr.hdr_len, p.l4 + 20);
			CU_EQ(offload_fit(&scratch, &f, 0), 0);
			CU_EQ(scratch.n, t[i].payload ? (t[i].payload + t[i].mss - 1u) / t[i].mss
						      : 1u);
			check_segments(&p, p.l4 + 20, t[i].mss, true);
		}
	}
}

static void large_udp_packets_are_segmented(void)
{
	static struct pkt p;
	struct frame f;
	uint32_t wire;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		p = (struct pkt){ .n = 0 };
		add_eth(&p, 0, v6 ? 0x86dd : 0x0800);
		if (v6)
			add_ipv6(&p, IPPROTO_UDP, 0);
		else
			add_ipv4(&p, IPPROTO_UDP, 0);
		add_udp(&p, 10001, 1200, UDP_L4);
		taken(&f, &p, NULL, 0);
		CU_EQ(offload_judge(&f, &wire), 0);
		CU_EQ(wire, p.l4 + 8 + 1200);
		CU_EQ(offload_fit(&scratch, &f, 0), 0);
		CU_EQ(scratch.n, 9);
		check_segments(&p, p.l4 + 8, 1200, false);
	}
}

static void a_receiver_with_checksums_but_no_segmentation_gets_open_ones(void)
{
	static struct pkt p;
	struct frame f;

	add_eth(&p, 0, 0x0800);
	add_ipv4(&p, IPPROTO_TCP, 0);
	add_tcp(&p, 4000, 1448, VIRTIO_NET_HDR_GSO_TCPV4);
	taken(&f, &p, NULL, 0);
	CU_EQ(offload_fit(&scratch, &f, GUEST_CSUM), 0);
	CU_EQ(scratch.n, 3);
	for (unsigned i = 0; i < scratch.n; i++) {
		struct frame *s = &scratch.frame[i];
		uint16_t sum, want = pseudo(&p, IPPROTO_TCP, s->len - p.l4);

		CU_EQ(s->hdr.flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
		CU_EQ(s->hdr.csum_start, p.l4);
		memcpy(&sum, s->head + p.l4 + 16, 2);
		CU_EQ(sum, want);
	}
	CU_EQ(offload_fit(&scratch, &f, GUEST_CSUM | BIT(VIRTIO_NET_F_GUEST_TSO4)), 0);
	CU_EQ(scratch.n, 1);
	CU_EQ(scratch.frame[0].hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);
	CU_EQ(f.hdr.gso_type, VIRTIO_NET_HDR_GSO_TCPV4);	/* the original is untouched */
}

static void ecn_is_done_here_for_a_receiver_without(void)
{
	static struct pkt p;
	struct frame f;

	add_eth(&p, 0, 0x0800);
	add_ipv4(&p, IPPROTO_TCP, 0);
	add_tcp(&p, 4000, 1448, VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN);
	taken(&f, &p, NULL, 0);
	CU_EQ(offload_fit(&scratch, &f, GUEST_CSUM | BIT(VIRTIO_NET_F_GUEST_TSO4)), 0);
	CU_EQ(scratch.n, 3);
}

/* Checklist: C-OF-01, C-OF-02, C-OF-04, C-OF-06, A-TX-04, A-TX-11. */
static void offload_fields_that_lie_are_refused(void)
{
	static const struct { int start, offset, type, proto_ok; } bad[] = {
		{ 1, 0, 0, 1 }, { 0, 1, 0, 1 }, { 0, 0, VIRTIO_NET_HDR_GSO_TCPV6, 1 },
		{ 0, 0, UDP_L4, 1 }, { 0, 0, VIRTIO_NET_HDR_GSO_UDP, 1 }, { 0, 0, 0, 0 },
	};
	static struct pkt p;
	struct frame f;
	uint32_t wire;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		p = (struct pkt){ .n = 0 };
		add_eth(&p, 0, bad[i].proto_ok ? 0x0800 : 0x0806);
		add_ipv4(&p, IPPROTO_TCP, 0);
		add_tcp(&p, 4000, 1448, VIRTIO_NET_HDR_GSO_TCPV4);
		p.hdr.csum_start = (uint16_t)(p.hdr.csum_start + bad[i].start);
		p.hdr.csum_offset = (uint16_t)(p.hdr.csum_offset + bad[i].offset);
		if (bad[i].type)
			p.hdr.gso_type = (uint8_t)bad[i].type;
		taken(&f, &p, NULL, 0);
		CU_EQ(offload_judge(&f, &wire), -EINVAL);
	}
	p.b[12] = 8;
	p.b[13] = 0;
	p.hdr.gso_size = 1;
	taken(&f, &p, NULL, 0);
	CU_EQ(offload_judge(&f, &wire), 0);
	CU_EQ(offload_fit(&scratch, &f, 0), -E2BIG);
	f.hdr.gso_type = 0;
	f.hdr.csum_start = 4000;
	f.hdr.csum_offset = 2000;
	CU_EQ(offload_fit(&scratch, &f, 0), -EINVAL);
}

static void headers_that_end_too_early_are_refused(void)
{
	static struct pkt p;
	struct offload_layers l;

	for (unsigned v6 = 0; v6 < 2; v6++) {
		p = (struct pkt){ .n = 0 };
		add_eth(&p, 2, v6 ? 0x86dd : 0x0800);
		if (v6)
			add_ipv6(&p, IPPROTO_TCP, 3);
		else
			add_ipv4(&p, IPPROTO_TCP, 10);
		add_tcp(&p, 0, 0, 0);
		for (uint32_t n = 0; n < p.n; n++) {
			uint8_t *exact = malloc(n ? n : 1);

			memcpy(exact, p.b, n);
			CU_EQ(offload_parse(exact, n, &l), -EINVAL);
			free(exact);
		}
		CU_EQ(offload_parse(p.b, p.n, &l), 0);
		CU_EQ(l.l4, p.l4);
		CU_EQ(l.payload, p.n);
	}
	p = (struct pkt){ .n = 0 };
	add_eth(&p, 0, 0x0800);
	add_ipv4(&p, IPPROTO_TCP, 0);
	add_tcp(&p, 0, 0, 0);
	p.b[p.l3] = 0x44;		/* an IHL of 16 bytes */
	CU_EQ(offload_parse(p.b, p.n, &l), -EINVAL);
	p.b[p.l3] = 0x45;
	p.b[p.l3 + 7] = 1;		/* a fragment has no L4 header */
	CU_EQ(offload_parse(p.b, p.n, &l), 0);
	CU_EQ(l.proto, 0);
}

static void a_tag_moves_the_checksum_fields_with_it(void)
{
	static struct pkt p;
	static uint8_t out[FRAME_MAX];
	struct frame f;

	add_eth(&p, 0, 0x0800);
	add_ipv4(&p, IPPROTO_UDP, 0);
	add_udp(&p, 500, 0, 0);
	ip_sum_in(&p);
	taken(&f, &p, NULL, 0);
	CU_EQ(offload_tag_pop(&f), -EINVAL);
	CU_EQ(offload_tag_push(&f, 0x6005), 0);
	CU_EQ(f.len, p.n + 4);
	CU_EQ(f.hdr.csum_start, p.l4 + 4);
	CU_EQ(offload_tag_swap(&f, 0x2007), 0);
	CU_EQ(offload_fit(&scratch, &f, 0), 0);
	frame_copy(out, &scratch.frame[0], 0, f.len);
	CU_EQ(memcmp(out + 12, "\x81\x00\x20\x07\x08\x00", 6), 0);
	CU_ASSERT_TRUE(sums_right(out, f.len));
	CU_EQ(offload_tag_pop(&f), 0);
	CU_EQ(f.hdr.csum_start, p.l4);
	frame_copy(out, &f, 0, f.len);
	CU_EQ(f.len, p.n);
	CU_EQ(memcmp(out, p.b, p.n), 0);
}

CU_MAIN("backend/offload",
	TC("C-OF-05, A-RX-05", a_checksum_left_open_is_filled_in),
	T(a_udp_checksum_of_zero_becomes_ffff),
	TC("C-OF-05, A-RX-06,10", large_tcp_packets_are_segmented),
	T(large_udp_packets_are_segmented),
	TC("A-RX-09", a_receiver_with_checksums_but_no_segmentation_gets_open_ones),
	TC("A-RX-08", ecn_is_done_here_for_a_receiver_without),
	TC("C-OF-01, C-OF-02, C-OF-06", offload_fields_that_lie_are_refused),
	TC("C-OF-04", headers_that_end_too_early_are_refused),
	T(a_tag_moves_the_checksum_fields_with_it))
