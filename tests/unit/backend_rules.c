// SPDX-License-Identifier: Apache-2.0
// backend_rules.c - what a virtio-net header may and must mean, on its way in and out of the
// switch (checklist A12).
#include <linux/virtio_net.h>
#include <pthread.h>
#include <stdatomic.h>

#include "sim/backend/offload.h"
#include "tests/unit/vqueue_rig.h"

#define CSUM BIT(VIRTIO_NET_F_CSUM)
#define TSO4 BIT(VIRTIO_NET_F_HOST_TSO4)
#define RX_CSUM BIT(VIRTIO_NET_F_GUEST_CSUM)
#define RX_ALL (RX_CSUM | BIT(VIRTIO_NET_F_GUEST_TSO4) | BIT(VIRTIO_NET_F_GUEST_TSO6) | \
		BIT(VIRTIO_NET_F_GUEST_ECN))

/* Sends one frame of 100 bytes with a header; 1 if it was taken, which is then in g->b. */
static unsigned send(struct rig *g, const struct virtio_net_hdr_v1 *h)
{
	struct drv_buf b = put_frame(g, 5, 100);

	memcpy(g->mem.host + (b.gpa - DRV_GPA), h, HDR);
	drv_add(&g->d, &b, 1);
	return vqueue_take(&g->q, g->b, 64);
}

static void done(struct rig *g)
{
	g->q.ops->release(&g->q, g->b);
	used_count(g, 0);
}

/* Bits nobody has defined, and those a sender has no business with: ignored, never passed on. */
static void flags_that_mean_nothing_are_ignored(void)
{
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC | CSUM);

		for (unsigned flags = 0; flags < 256; flags += 2) {
			struct virtio_net_hdr_v1 h = {
				.flags = (uint8_t)flags, .csum_start = 0xffff,
				.csum_offset = 0xffff, .hdr_len = 0xffff,
			};

			CU_EQ(send(g, &h), 1);
			CU_EQ(g->b->frame[0].hdr.flags, 0);
			CU_EQ(g->b->frame[0].hdr.gso_type, 0);
			check_frame(&g->b->frame[0], 5, 100);
			done(g);
		}
		rig_free(g);
	}
}

/* 0x20 and 0x40, together or alone: tunnels nobody negotiated. */
static void tunnel_segmentation_is_refused(void)
{
	static const uint8_t types[] = { 0x20, 0x40, 0x60, 0x21, 0x41, 0x61, 0x24, 0xa1 };

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC | CSUM | TSO4);

		for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
			for (unsigned flags = 0; flags < 4; flags++) {
				struct virtio_net_hdr_v1 h = {
					.flags = (uint8_t)flags, .gso_type = types[i],
					.gso_size = 10, .csum_start = 34, .csum_offset = 16,
				};

				CU_EQ(send(g, &h), 0);
				done(g);
			}
		}
		CU_EQ(g->q.row[PORT_IN_HEADER], 4 * ARRAY_SIZE(types));
		rig_free(g);
	}
}

/* A header length that lies neither moves a byte nor gets the frame dropped. */
static void the_header_length_is_not_believed(void)
{
	static const uint16_t lens[] = { 0, 1, 53, 54, 100 };

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC | CSUM | TSO4);

		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			struct virtio_net_hdr_v1 h = {
				.flags = 1, .gso_type = 1, .gso_size = 10, .csum_start = 34,
				.csum_offset = 16, .hdr_len = lens[i],
			};

			CU_EQ(send(g, &h), 1);
			check_frame(&g->b->frame[0], 5, 100);
			done(g);
		}
		rig_free(g);
	}
}

/* What leaves for a receiver that segments has the length of its headers right. */
static void the_header_length_is_put_right(void)
{
	static const uint16_t lens[] = { 0, 1, 54, 100 };
	struct rig *g = rig_new(&kinds[0], 64, true, BASIC | CSUM | TSO4);

	for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
		struct drv_buf b = put_frame(g, 5, 100);
		uint8_t *eth = g->mem.host + (b.gpa - DRV_GPA) + HDR;
		struct virtio_net_hdr_v1 h = {
			.flags = 1, .gso_type = 1, .gso_size = 10, .csum_start = 34,
			.csum_offset = 16, .hdr_len = lens[i],
		};
		uint32_t longest;

		memcpy(eth - HDR, &h, HDR);
		memcpy(eth + 12, (uint8_t[]){ 0x08, 0x00, 0x45, 0, 0, 86, 0, 0, 0, 0, 64, 6 }, 12);
		eth[14 + 20 + 12] = 0x50;
		drv_add(&g->d, &b, 1);
		CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
		CU_EQ(offload_judge(&g->b->frame[0], &longest), 0);
		CU_EQ(g->b->frame[0].hdr.hdr_len, 54);
		CU_EQ(longest, 64);
		done(g);
	}
	rig_free(g);
}

/* ---- to the driver -------------------------------------------------------------------------- */

static uint64_t post(struct rig *g, uint32_t len)
{
	uint64_t off = drv_alloc(&g->mem, len, 64);

	memset(g->mem.host + off, 0xaa, len);
	drv_add(&g->d, &(struct drv_buf){ drv_gpa(off), len, true }, 1);
	return off;
}

static void make(struct frame *f, uint8_t *bytes, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = byte_of(9, i);
	frame_of(f, bytes, len);
}

/* All twelve bytes are the device's: what lay there before does not show. */
static void a_plain_header_is_twelve_bytes_of_zeros_and_a_count(void)
{
	static uint8_t bytes[256];

	FOR_KINDS(k) {
		for (unsigned merged = 0; merged < 2; merged++) {
			struct rig *g = rig_new(k, 64, false, (merged ? MERGED : BASIC) | RX_ALL);
			uint8_t want[HDR] = { [10] = 1 };
			struct frame f, *list = &f;
			uint64_t off = post(g, 1000);

			make(&f, bytes, 200);
			CU_EQ(vqueue_give(&g->q, &list, 1), 1);
			CU_EQ(memcmp(g->mem.host + off, want, HDR), 0);
			CU_EQ(g->mem.host[off + HDR + 200], 0xaa);
			CU_EQ(used_count(g, HDR + 200), 1);
			rig_free(g);
		}
	}
}

/* What came in with flags a receiver must not trust leaves without them. */
static void nothing_is_called_valid_that_nobody_checked(void)
{
	FOR_KINDS(k) {
		static const uint8_t flags[] = { 2, 4, 6, 0xfe };
		struct rig *tx = rig_new(k, 64, true, BASIC | CSUM);
		struct rig *rx = rig_new(k, 64, false, MERGED | RX_ALL);

		for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
			struct virtio_net_hdr_v1 h = { .flags = flags[i] };
			uint64_t off = post(rx, 1000);
			struct frame *list;

			CU_EQ(send(tx, &h), 1);
			list = &tx->b->frame[0];
			CU_EQ(vqueue_give(&rx->q, &list, 1), 1);
			CU_EQ(rx->mem.host[off], 0);
			CU_EQ(rx->mem.host[off + 1], 0);
			done(tx);
		}
		rig_free(tx);
		rig_free(rx);
	}
}

/* Segmentation types only to those who took them; the rest is dropped here, cut above. */
static void segments_only_for_who_took_them(void)
{
	static const struct { uint8_t type; unsigned bit; } t[] = {
		{ VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_F_GUEST_TSO4 },
		{ VIRTIO_NET_HDR_GSO_TCPV6, VIRTIO_NET_F_GUEST_TSO6 },
		{ VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_F_GUEST_UFO },
		{ VIRTIO_NET_HDR_GSO_TCPV4 | VIRTIO_NET_HDR_GSO_ECN, VIRTIO_NET_F_GUEST_ECN },
	};
	static uint8_t bytes[256];

	FOR_KINDS(k) {
		for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
			struct rig *g = rig_new(k, 64, false, MERGED | (RX_ALL & ~BIT(t[i].bit)));
			struct frame f, *list = &f;

			post(g, 1000);
			make(&f, bytes, 200);
			f.hdr = (struct virtio_net_hdr_v1){
				.flags = 1, .gso_type = t[i].type, .gso_size = 50,
				.csum_start = 34, .csum_offset = 16, .hdr_len = 54,
			};
			CU_EQ(vqueue_give(&g->q, &list, 1), 0);
			CU_EQ(g->q.row[PORT_OUT_OFFLOAD], 1);
			CU_EQ(used_count(g, 0), 0);
			rig_free(g);
		}
	}
}

/* ---- merged buffers appear together ---------------------------------------------------------- */

struct reader {
	struct rig *g;
	atomic_bool on;
	unsigned frames, torn;
	uint64_t off[512];
};

#define PIECES 3
#define BUFFER 100u

/* At the sight of a first buffer all that its header counts must be there. */
static void *read_merged(void *arg)
{
	struct reader *r = arg;
	unsigned at = 0;
	uint16_t id;
	uint32_t len;

	while (atomic_load(&r->on) || r->frames == 0) {
		unsigned n;

		if (!drv_used(&r->g->d, &id, &len))
			continue;
		n = r->g->mem.host[r->off[at] + 10];
		r->torn += n != PIECES;
		for (unsigned i = 1; i < n; i++)
			r->torn += !drv_used(&r->g->d, &id, &len);
		at = (at + n) % ARRAY_SIZE(r->off);
		r->frames++;
		if (r->frames * PIECES == ARRAY_SIZE(r->off) / PIECES * PIECES)
			break;
	}
	return NULL;
}

static void merged_buffers_appear_together(void)
{
	static uint8_t bytes[512];

	FOR_KINDS(k) {
		struct reader r = { .g = rig_new(k, 512, false, MERGED) };
		unsigned frames = ARRAY_SIZE(r.off) / PIECES;
		pthread_t t;

		atomic_store(&r.on, true);
		for (unsigned i = 0; i < ARRAY_SIZE(r.off); i++)
			r.off[i] = post(r.g, BUFFER);
		CU_EQ_FATAL(pthread_create(&t, NULL, read_merged, &r), 0);
		for (unsigned i = 0; i < frames; i++) {
			struct frame f, *list = &f;

			make(&f, bytes, PIECES * BUFFER - HDR);
			CU_EQ(vqueue_give(&r.g->q, &list, 1), 1);
		}
		atomic_store(&r.on, false);
		pthread_join(t, NULL);
		CU_EQ(r.torn, 0);
		CU_ASSERT(r.frames > 0);
		rig_free(r.g);
	}
}

CU_MAIN("backend/rules",
	{ "A-TX-01,02,04 A-RX-11 flags that mean nothing are ignored",
	  flags_that_mean_nothing_are_ignored },
	{ "A-TX-05..08 A-RX-07 tunnel segmentation is refused", tunnel_segmentation_is_refused },
	{ "A-TX-04 the header length is not believed", the_header_length_is_not_believed },
	{ "A-RX-12 the header length is put right", the_header_length_is_put_right },
	{ "A-RX-01,16,17 a plain header is twelve bytes of zeros and a count",
	  a_plain_header_is_twelve_bytes_of_zeros_and_a_count },
	{ "A-TX-09 A-RX-11,13 nothing is called valid that nobody checked",
	  nothing_is_called_valid_that_nobody_checked },
	{ "A-RX-06,08 segments only for who took them", segments_only_for_who_took_them },
	{ "A-RX-04 merged buffers appear together", merged_buffers_appear_together })
