// SPDX-License-Identifier: Apache-2.0
// backend_vqueue.c - the rings of a back-end against a driver that is right, or wrong on purpose.
#include "tests/unit/vqueue_rig.h"

/* ---- from the driver ------------------------------------------------------------------------ */

static void a_frame_of_any_length_is_taken_as_it_is(void)
{
	static const uint32_t lens[] = { 14, 15, 16, 17, 31, 32, 33, 60, 63, 64, 65, 127, 128, 129,
					 1514, 4095, 4096, 9014, FRAME_MAX };

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 256, true, BASIC);

		for (unsigned i = 0; i < ARRAY_SIZE(lens); i++) {
			struct drv_buf b = put_frame(g, i, lens[i]);

			drv_add(&g->d, &b, 1);
		}
		CU_EQ(vqueue_take(&g->q, g->b, 64), ARRAY_SIZE(lens));
		for (unsigned i = 0; i < g->b->n; i++)
			check_frame(&g->b->frame[i], i, lens[i]);
		CU_EQ(used_count(g, 0), 0);
		g->q.ops->release(&g->q, g->b);
		CU_EQ(used_count(g, 0), ARRAY_SIZE(lens));
		rig_free(g);
	}
}

static void too_short_and_too_long_frames_go_back_unseen(void)
{
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC);

		for (uint32_t len = 0; len < FRAME_MIN; len++) {
			struct drv_buf b = put_frame(g, 1, len);

			drv_add(&g->d, &b, 1);
		}
		drv_add(&g->d, &(struct drv_buf){ DRV_GPA, HDR + FRAME_MAX + 1, false }, 1);
		drv_add(&g->d, &(struct drv_buf){ DRV_GPA, 3, false }, 1);
		drv_add(&g->d, &(struct drv_buf){ DRV_GPA, 0, false }, 1);
		CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
		CU_EQ(g->q.row[PORT_IN_SHORT], FRAME_MIN + 2);
		CU_EQ(g->q.row[PORT_IN_LONG], 1);
		g->q.ops->release(&g->q, g->b);
		CU_EQ(used_count(g, 0), FRAME_MIN + 3);
		rig_free(g);
	}
}

/* C-DS-12: the header over any number of descriptors. */
static void a_chain_may_be_cut_anywhere(void)
{
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 256, true, BASIC);

		for (uint32_t cut = 1; cut < HDR + 100; cut++) {
			struct drv_buf whole = put_frame(g, cut, 100), b[HDR + 100];
			unsigned n = 0;

			/* pieces of `cut` bytes, the last one shorter */
			for (uint32_t off = 0; off < whole.len; off += cut)
				b[n++] = (struct drv_buf){ whole.gpa + off,
					whole.len - off < cut ? whole.len - off : cut, false };
			drv_add(&g->d, b, n);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
			check_frame(&g->b->frame[0], cut, 100);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 1);
			drv_add_indirect(&g->d, drv_alloc(&g->mem, 16 * 112, 16), b, n);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
			check_frame(&g->b->frame[0], cut, 100);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 1);
		}
		CU_EQ(g->q.broken, 0);
		rig_free(g);
	}
}

/* Each is handed back and counted, and the frame behind it arrives. */
static void a_bad_chain_costs_only_itself(void)
{
	const uint64_t good = DRV_GPA + 4096, end = DRV_GPA + MEM;
	const struct {
		struct drv_buf b[3];
		unsigned n, indirect;
	} bad[] = {
		{ { { good, 100, true } }, 1, 0 },			/* C-DS-14 */
		{ { { good, 12, false }, { good, 100, true } }, 2, 0 },	/* C-DS-15 */
		{ { { 0, 100, false } }, 1, 0 },			/* C-DS-08, C-DP-02 */
		{ { { end - 50, 100, false } }, 1, 0 },			/* C-MM-09 */
		{ { { end, 100, false } }, 1, 0 },
		{ { { DRV_GPA - 50, 100, false } }, 1, 0 },
		{ { { good, UINT32_MAX, false } }, 1, 0 },		/* C-DS-07 */
		{ { { UINT64_MAX - 50, 100, false } }, 1, 0 },
		{ { { good, 12, false }, { UINT64_MAX - 50, 100, false } }, 2, 0 },
		{ { { good, 0, false }, { 0, 100, false } }, 2, 0 },
		{ { { good, 12, false }, { good, 100, true } }, 2, 1 },
		{ { { good, 12, false }, { end, 100, false } }, 2, 1 },
	};

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC);

		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			struct drv_buf fine = put_frame(g, i, 64);

			if (bad[i].indirect)
				drv_add_indirect(&g->d, drv_alloc(&g->mem, 64, 16), bad[i].b,
						 bad[i].n);
			else
				drv_add(&g->d, bad[i].b, bad[i].n);
			drv_add(&g->d, &fine, 1);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
			check_frame(&g->b->frame[0], i, 64);
			CU_EQ(g->q.row[PORT_IN_CHAIN], i + 1);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 2);
		}
		rig_free(g);
	}
}

/* C-DS-09, C-DP-04: table lengths, nesting, place, permission. */
static void a_bad_indirect_table_is_refused(void)
{
	static const struct {
		uint32_t len;
		uint64_t shift;
		uint16_t flags;
		bool     allowed;
	} bad[] = {
		{ 0, 0, 0, true }, { 15, 0, 0, true }, { 17, 0, 0, true },
		{ UINT32_MAX, 0, 0, true },
		{ 0xfffffff0, 0, 0, true }, { 32, 4, 0, true }, { 32, MEM - 16, 0, true },
		{ 32, MEM, 0, true }, { 16, 0, VRING_DESC_F_INDIRECT, true }, { 32, 0, 0, false },
	};

	FOR_KINDS(k) {
		for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
			struct rig *g = rig_new(k, 64, true, bad[i].allowed ? BASIC :
						BIT(VIRTIO_F_VERSION_1));
			uint64_t table = drv_alloc(&g->mem, 4096, 4096);
			struct drv_buf b[2] = { put_frame(g, 1, 64), { DRV_GPA, 100, false } };
			unsigned flags = k->packed ? 7 : 6;	/* in 16-bit words */
			uint64_t shift = bad[i].shift - (bad[i].shift > 4 ? table : 0);
			uint16_t id = drv_add_indirect(&g->d, table, b, 2);

			((uint16_t *)(void *)(g->mem.host + table))[flags] |= bad[i].flags;
			/* at the very end of memory: an entry with a successor */
			g->mem.host[MEM - 4] = g->mem.host[MEM - 2] = 1;
			if (k->packed) {
				g->d.slot[id].len = bad[i].len;
				g->d.slot[id].addr += shift;
			} else {
				g->d.entry[id].len = bad[i].len;
				g->d.entry[id].addr += shift;
			}
			CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
			CU_EQ(g->q.row[PORT_IN_CHAIN], 1);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 1);
			rig_free(g);
		}
	}
}

/* C-DS-01, C-DS-02: the walk ends, whatever the links say. */
static void a_split_chain_that_loops_or_leaves_is_handed_back(void)
{
	static const uint16_t nexts[][2] = { { 0, 0 }, { 1, 0 }, { 64, 0 }, { 0xffff, 0 } };
	static const struct kind split = { false, 16 };

	for (unsigned i = 0; i < ARRAY_SIZE(nexts); i++) {
		struct rig *g = rig_new(&split, 64, true, BASIC);
		struct drv_buf b[2] = { { DRV_GPA, 1, false }, { DRV_GPA, 1, false } };

		drv_add(&g->d, b, 2);
		g->d.entry[0].next = nexts[i][0];
		g->d.entry[1].next = nexts[i][1];
		g->d.entry[1].flags = VRING_DESC_F_NEXT;
		CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
		CU_EQ(g->q.row[PORT_IN_CHAIN], 1);
		CU_EQ(g->q.broken, 0);
		rig_free(g);
	}
}

static void a_split_ring_that_lies_about_itself_is_stopped(void)
{
	static const struct kind split = { false, 16 };
	static const struct { uint16_t idx, head; } lies[] = {
		{ 65, 0 }, { 32768, 0 }, { 65535, 0 }, { 1, 64 }, { 1, 0xffff },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(lies); i++) {
		struct rig *g = rig_new(&split, 64, true, BASIC);

		g->d.avail[2] = lies[i].head;
		g->d.avail[1] = lies[i].idx;
		CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
		CU_ASSERT(g->q.broken < 0);
		CU_EQ(g->q.row[PORT_RINGS_BROKEN], 1);
		g->d.avail[1] = 0;
		CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
		rig_free(g);
	}
}

static void a_packed_chain_without_end_stops_the_ring(void)
{
	static const struct kind packed = { true, 16 };
	struct rig *g = rig_new(&packed, 8, true, BASIC);
	struct drv_buf b[8];

	for (unsigned i = 0; i < 8; i++)
		b[i] = (struct drv_buf){ DRV_GPA, 20, false };
	drv_add(&g->d, b, 8);
	g->d.slot[7].flags |= VRING_DESC_F_NEXT;
	CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
	CU_ASSERT(g->q.broken < 0);
	rig_free(g);
}

/* C-DP-06, C-DS-05: ids are only ever handed back. */
static void ids_that_repeat_or_exceed_the_ring_come_back_as_they_are(void)
{
	static const struct kind packed = { true, 16 };
	struct rig *g = rig_new(&packed, 8, true, BASIC);
	static const uint16_t ids[] = { 5, 5, 0xffff };

	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		struct drv_buf b = put_frame(g, i, 64);

		drv_add(&g->d, &b, 1);
		g->d.slot[i].id = ids[i];
	}
	CU_EQ(vqueue_take(&g->q, g->b, 64), 3);
	g->q.ops->release(&g->q, g->b);
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++)
		CU_EQ(g->d.slot[i].id, ids[i]);
	rig_free(g);
}

static void in_order_one_used_element_speaks_for_the_batch(void)
{
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC | BIT(VIRTIO_F_IN_ORDER));

		for (unsigned i = 0; i < 10; i++) {
			struct drv_buf b = put_frame(g, i, 64);

			drv_add(&g->d, &b, 1);
		}
		CU_EQ(vqueue_take(&g->q, g->b, 64), 10);
		g->q.ops->release(&g->q, g->b);
		if (k->packed) {
			CU_EQ(g->d.slot[0].id, 9);
			CU_EQ(g->d.slot[0].flags & 0x8080, 0x8080);
			CU_EQ(g->d.slot[1].flags & 0x8080, 0x0080);
		} else {
			CU_EQ(g->d.used[1], 10);
			CU_EQ(g->d.used[2], 9);
		}
		rig_free(g);
	}
}

static void batches_may_be_out_together_and_are_released_in_order(void)
{
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 8, true, BASIC);
		struct batch *second = aligned_alloc(64, sizeof(*second));

		for (unsigned i = 0; i < 8; i++) {
			struct drv_buf b = put_frame(g, i, 64);

			drv_add(&g->d, &b, 1);
		}
		CU_EQ(vqueue_take(&g->q, g->b, 3), 3);
		CU_EQ(vqueue_take(&g->q, second, 64), 5);
		check_frame(&g->b->frame[2], 2, 64);
		check_frame(&second->frame[0], 3, 64);
		/* The whole ring is out: a driver that offers it again is not heard. */
		if (!k->packed)
			g->d.avail[1] += 8;
		CU_EQ(vqueue_take(&g->q, &(struct batch){ .n = 0 }, 64), 0);
		g->q.ops->release(&g->q, g->b);
		CU_EQ(used_count(g, 0), 3);
		g->q.ops->release(&g->q, second);
		CU_EQ(used_count(g, 0), 5);
		free(second);
		rig_free(g);
	}
}

static void a_header_that_lies_drops_its_frame(void)
{
	const uint64_t f = BASIC | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4);
	static const struct {
		struct virtio_net_hdr_v1 h;
		bool good;
	} hdrs[] = {
		{ { .flags = 0 }, true },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 16 }, true },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 64 }, true },
		{ { .flags = 1, .csum_start = 34, .csum_offset = 65 }, false },
		{ { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff }, false },
		{ { .flags = 1, .csum_start = 13, .csum_offset = 16 }, false },
		{ { .flags = 1, .gso_type = 1, .gso_size = 10, .csum_start = 34,
		    .csum_offset = 16, .hdr_len = 54 }, true },
		{ { .flags = 0, .gso_type = 1, .gso_size = 10 }, false },
		{ { .flags = 1, .gso_type = 1, .gso_size = 0, .csum_start = 34,
		    .csum_offset = 16 }, false },
		{ { .flags = 1, .gso_type = 1, .gso_size = 10, .csum_start = 34,
		    .csum_offset = 16, .hdr_len = 101 }, false },
		{ { .flags = 1, .gso_type = 4, .gso_size = 10, .csum_start = 34,
		    .csum_offset = 16 }, false },			/* not negotiated */
		{ { .flags = 1, .gso_type = 0x7f, .gso_size = 10, .csum_start = 34,
		    .csum_offset = 16 }, false },
		{ { .flags = 1, .gso_type = 0x81, .gso_size = 10, .csum_start = 34,
		    .csum_offset = 16 }, false },			/* ECN not negotiated */
	};

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, f);

		for (unsigned i = 0; i < ARRAY_SIZE(hdrs); i++) {
			struct drv_buf b = put_frame(g, i, 100), fine = put_frame(g, 77, 80);

			memcpy(g->mem.host + (b.gpa - DRV_GPA), &hdrs[i].h, HDR);
			drv_add(&g->d, &b, 1);
			drv_add(&g->d, &fine, 1);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 1u + hdrs[i].good);
			check_frame(&g->b->frame[hdrs[i].good], 77, 80);
			if (hdrs[i].good)
				CU_EQ(g->b->frame[0].hdr.flags, hdrs[i].h.flags);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 2);
		}
		rig_free(g);
	}
}

/* ---- to the driver -------------------------------------------------------------------------- */

/* Posts a buffer whose neighbourhood is 0xaa; returns its offset. */
static uint64_t post(struct rig *g, uint32_t len)
{
	uint64_t off = drv_alloc(&g->mem, len + 128, 64) + 64;

	memset(g->mem.host + off - 64, 0xaa, len + 128);
	drv_add(&g->d, &(struct drv_buf){ drv_gpa(off), len, true }, 1);
	return off;
}

static void make_frame(struct frame *f, uint8_t *bytes, uint32_t seed, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		bytes[i] = byte_of(seed, i);
	frame_of(f, bytes, len);
}

static unsigned untouched(const uint8_t *p, uint32_t n)
{
	unsigned k = 0;

	for (uint32_t i = 0; i < n; i++)
		k += p[i] == 0xaa;
	return k;
}

/* C-DS-17, C-OF-07: every byte of header and frame is written, and not one more. */
static void a_frame_fills_exactly_its_bytes_of_the_buffer(void)
{
	static uint8_t bytes[16384];

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, false, MERGED);

		for (uint32_t len = FRAME_MIN; len < 9000; len += len < 300 ? 1 : 197) {
			uint64_t off = post(g, HDR + len);
			const uint8_t *at = g->mem.host + off;
			struct frame f, *list = &f;
			uint32_t used = 0;
			uint16_t id;

			make_frame(&f, bytes, len, len);
			CU_EQ(vqueue_give(&g->q, &list, 1), 1);
			CU_ASSERT(drv_used(&g->d, &id, &used));
			CU_EQ(used, HDR + len);
			CU_EQ(memcmp(at, "\0\0\0\0\0\0\0\0\0\0\1\0", HDR), 0);
			CU_EQ(wrong_bytes(at + HDR, len, 0, len), 0);
			CU_EQ(untouched(at - 64, 64), 64);
			CU_EQ(untouched(at + HDR + len, 64), 64);
			g->mem.top = g->d.used_off + 4096;
		}
		CU_EQ(g->q.broken, 0);
		rig_free(g);
	}
}

static void a_large_frame_is_spread_over_merged_buffers(void)
{
	static const uint32_t sizes[] = { 12, 13, 40, 100, 1000 };
	static uint8_t bytes[4096];

	FOR_KINDS(k) {
		for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
			struct rig *g = rig_new(k, 256, false, MERGED);
			uint32_t len = 1514, need = HDR + len, got = 0, used, n = 0;
			struct frame f, *list = &f;
			uint64_t off[256];
			uint16_t id;

			for (unsigned i = 0; i < 256; i++)
				off[i] = post(g, sizes[s]);
			make_frame(&f, bytes, s, len);
			CU_EQ(vqueue_give(&g->q, &list, 1), 1);
			for (; drv_used(&g->d, &id, &used); n++) {
				uint32_t skip = n == 0 ? HDR : 0;

				CU_EQ(used, need - got < sizes[s] ? need - got : sizes[s]);
				CU_EQ(wrong_bytes(g->mem.host + off[n] + skip, s,
						  got - (n ? HDR : 0), used - skip), 0);
				got += used;
			}
			CU_EQ(got, need);
			CU_EQ(n, (need + sizes[s] - 1) / sizes[s]);
			CU_EQ(g->mem.host[off[0] + 10] | g->mem.host[off[0] + 11] << 8, n);
			rig_free(g);
		}
	}
}

/* C-DS-13 and the rest of what a receive ring may hold. */
static void a_frame_that_does_not_fit_is_dropped_by_cause(void)
{
	static uint8_t bytes[2048];
	const struct {
		uint64_t features;
		struct drv_buf b;
		enum port_counter why;
		unsigned used;
	} cases[] = {
		{ MERGED, { 0, 0, false }, PORT_OUT_FULL, 0 },			/* none posted */
		{ MERGED, { DRV_GPA, 500, true }, PORT_OUT_FULL, 0 },	/* one is not enough */
		{ BASIC, { DRV_GPA, 500, true }, PORT_OUT_SMALL, 0 },
		{ MERGED, { DRV_GPA, 11, true }, PORT_OUT_CHAIN, 1 },
		{ MERGED, { DRV_GPA, 1, true }, PORT_OUT_CHAIN, 1 },
		{ MERGED, { DRV_GPA, 2000, false }, PORT_OUT_CHAIN, 1 },	/* C-DS-14 */
		{ MERGED, { 0, 2000, true }, PORT_OUT_CHAIN, 1 },
		{ MERGED, { DRV_GPA + MEM - 100, 2000, true }, PORT_OUT_CHAIN, 1 },
		{ BASIC, { DRV_GPA + MEM - 100, UINT32_MAX, true }, PORT_OUT_CHAIN, 1 },
	};

	FOR_KINDS(k) {
		for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
			struct rig *g = rig_new(k, 64, false, cases[i].features);
			struct frame f, *list = &f;
			uint64_t off;

			make_frame(&f, bytes, i, 1000);
			if (cases[i].b.len)
				drv_add(&g->d, &cases[i].b, 1);
			CU_EQ(vqueue_give(&g->q, &list, 1), 0);
			CU_EQ(g->q.row[cases[i].why], 1);
			CU_EQ(used_count(g, 0), cases[i].used);
			/* The ring goes on: what it needed comes, and so does the frame. */
			off = post(g, 2000);
			CU_EQ(vqueue_give(&g->q, &list, 1), cases[i].why != PORT_OUT_SMALL);
			if (cases[i].used)
				CU_EQ(wrong_bytes(g->mem.host + off + HDR, i, 0, 1000), 0);
			rig_free(g);
		}
	}
}

static void an_offload_the_driver_did_not_take_is_not_delivered(void)
{
	static uint8_t bytes[128];

	FOR_KINDS(k) {
		for (unsigned csum = 0; csum < 2; csum++) {
			struct rig *g = rig_new(k, 64, false, MERGED |
						(csum ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0));
			struct frame f, *list = &f;
			uint64_t off = post(g, 2000);

			make_frame(&f, bytes, 3, 100);
			f.hdr = (struct virtio_net_hdr_v1){ .flags = 1, .csum_start = 34,
							    .csum_offset = 16 };
			CU_EQ(vqueue_give(&g->q, &list, 1), csum);
			CU_EQ(g->q.row[PORT_OUT_OFFLOAD], !csum);
			if (csum)
				CU_EQ(g->mem.host[off + 6], 34);
			rig_free(g);
		}
	}
}

/* ---- both ways, at length ------------------------------------------------------------------- */

static uint32_t dice(uint32_t *state)
{
	*state = *state * 1664525u + 1013904223u;
	return *state >> 8;
}

struct traffic {
	struct rig *tx, *rx;
	uint32_t rng, sent, got, posted;
	uint64_t tx_area, rx_area;
	uint16_t tx_free;		/* descriptors */
	uint32_t lens[1 << 17];
};

#define SLOT 4096u			/* room per buffer */

static void send_some(struct traffic *t, uint32_t total)
{
	for (unsigned n = dice(&t->rng) % 40; n && t->sent < total; n--) {
		uint32_t len = FRAME_MIN + dice(&t->rng) % (dice(&t->rng) % 8 ? 150 : 2000);
		uint64_t off = t->tx_area + SLOT * (t->sent % t->tx->d.num);
		unsigned pieces = 1 + dice(&t->rng) % 3;
		uint32_t first = HDR + len / 2;
		struct drv_buf b[3] = {
			{ drv_gpa(off), pieces == 1 ? HDR + len : first, false },
			{ drv_gpa(off + first), pieces == 2 ? HDR + len - first : 1, false },
			{ drv_gpa(off + first + 1), HDR + len - first - 1, false },
		};

		if (t->tx_free < pieces)
			return;
		memset(t->tx->mem.host + off, 0, HDR);
		for (uint32_t i = 0; i < len; i++)
			t->tx->mem.host[off + HDR + i] = byte_of(t->sent, i);
		t->lens[t->sent % ARRAY_SIZE(t->lens)] = len;
		drv_add(&t->tx->d, b, pieces);
		t->tx_free = (uint16_t)(t->tx_free - pieces);
		t->sent++;
	}
}

static void move_some(struct traffic *t)
{
	struct frame *list[PORT_BURST];
	unsigned n = vqueue_take(&t->tx->q, t->tx->b, 1 + dice(&t->rng) % PORT_BURST);
	uint16_t id;
	uint32_t len;

	for (unsigned i = 0; i < n; i++)
		list[i] = &t->tx->b->frame[i];
	CU_EQ(vqueue_give(&t->rx->q, list, n), n);
	t->tx->q.ops->release(&t->tx->q, t->tx->b);
	while (drv_used(&t->tx->d, &id, &len))
		;
	/* All that was taken is back; once nothing is offered all descriptors are free. */
	if (t->tx->q.next == t->tx->d.next &&
	    (!t->tx->d.packed || t->tx->q.next_wrap == t->tx->d.next_wrap))
		t->tx_free = t->tx->d.num;
}

static void receive_some(struct traffic *t)
{
	uint32_t used;
	uint16_t id;

	while (drv_used(&t->rx->d, &id, &used)) {
		uint64_t off = t->rx_area + SLOT * (t->got % t->rx->d.num);
		uint32_t len = t->lens[t->got % ARRAY_SIZE(t->lens)];

		CU_EQ(used, HDR + len);
		CU_EQ(wrong_bytes(t->rx->mem.host + off + HDR, t->got, 0, len), 0);
		t->got++;
	}
	for (; t->posted < t->got + t->rx->d.num; t->posted++) {
		uint64_t off = t->rx_area + SLOT * (t->posted % t->rx->d.num);

		drv_add(&t->rx->d, &(struct drv_buf){ drv_gpa(off), SLOT, true }, 1);
	}
}

/* C-DP-03: also ring sizes that are no powers of two. */
static void frames_cross_from_ring_to_ring_in_order_and_whole(void)
{
	static const uint16_t nums[] = { 4, 64, 256, 1024, 7, 255, 1000 };
	static struct traffic t;

	FOR_KINDS(k) {
		for (unsigned i = 0; i < (k->packed ? 7 : 4); i++) {
			uint64_t order = i % 2 ? BIT(VIRTIO_F_IN_ORDER) : 0;
			const uint32_t total = 20000;

			memset(&t, 0, sizeof(t));
			t.rng = i + 1;
			t.tx = rig_new(k, nums[i], true, BASIC | order);
			t.rx = rig_new(k, nums[i], false, MERGED | order);
			t.tx_area = drv_alloc(&t.tx->mem, SLOT * nums[i], 4096);
			t.rx_area = drv_alloc(&t.rx->mem, SLOT * nums[i], 4096);
			t.tx_free = nums[i];
			for (unsigned r = 0; t.got < total && r < 400000; r++) {
				receive_some(&t);
				send_some(&t, total);
				move_some(&t);
			}
			CU_EQ(t.got, total);
			CU_EQ(t.tx->q.row[PORT_IN_FRAMES], total);
			CU_EQ(t.rx->q.row[PORT_OUT_FRAMES], total);
			CU_EQ(t.tx->q.row[PORT_IN_BYTES], t.rx->q.row[PORT_OUT_BYTES]);
			rig_free(t.tx);
			rig_free(t.rx);
		}
	}
}

CU_MAIN("backend/vqueue",
	TC("A-NC-06", a_frame_of_any_length_is_taken_as_it_is),
	TC("C-OF-03, A-TX-11", too_short_and_too_long_frames_go_back_unseen),
	TC("C-DS-12", a_chain_may_be_cut_anywhere),
	TC("C-DS-07, C-DS-08, C-DS-14, C-DS-15, C-DP-02, C-DP-08, C-MM-09",
	   a_bad_chain_costs_only_itself),
	TC("C-DS-09, C-DP-04, C-DP-08", a_bad_indirect_table_is_refused),
	TC("C-DS-01, C-DS-02", a_split_chain_that_loops_or_leaves_is_handed_back),
	TC("C-DS-03, C-DS-04", a_split_ring_that_lies_about_itself_is_stopped),
	TC("C-DP-01", a_packed_chain_without_end_stops_the_ring),
	TC("C-DP-06", ids_that_repeat_or_exceed_the_ring_come_back_as_they_are),
	T(in_order_one_used_element_speaks_for_the_batch),
	T(batches_may_be_out_together_and_are_released_in_order),
	TC("C-OF-01, C-OF-02, A-TX-11", a_header_that_lies_drops_its_frame),
	TC("C-DS-17, C-OF-07", a_frame_fills_exactly_its_bytes_of_the_buffer),
	TC("A-RX-01,03", a_large_frame_is_spread_over_merged_buffers),
	TC("C-DS-13, C-DS-14, A-RX-02", a_frame_that_does_not_fit_is_dropped_by_cause),
	TC("C-OF-05", an_offload_the_driver_did_not_take_is_not_delivered),
	TC("C-DP-03", frames_cross_from_ring_to_ring_in_order_and_whole))
