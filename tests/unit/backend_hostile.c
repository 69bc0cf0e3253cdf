// SPDX-License-Identifier: Apache-2.0
// backend_hostile.c - drivers that mean harm: work without end, lies about order, endless faults.
#include <stdlib.h>
#include <sys/mman.h>

#include "sim/backend/vlog.h"
#include "tests/unit/vqueue_rig.h"

/* A head that stands in the available ring again and again is a buffer each time. */
static void a_head_offered_many_times_is_handed_back_as_often(void)
{
	static const struct kind split = { false, 16 };
	struct rig *g = rig_new(&split, 64, true, BASIC);
	struct drv_buf b = put_frame(g, 7, 200);
	uint16_t head = drv_add(&g->d, &b, 1), id;
	uint32_t len;

	for (unsigned i = 1; i < 64; i++)
		g->d.avail[2 + i] = head;
	g->d.avail[1] = 64;
	CU_EQ(vqueue_take(&g->q, g->b, 64), 64);
	for (unsigned i = 0; i < 64; i++)
		check_frame(&g->b->frame[i], 7, 200);
	g->q.ops->release(&g->q, g->b);
	for (unsigned i = 0; i < 64; i++) {
		CU_ASSERT(drv_used(&g->d, &id, &len));
		CU_EQ(id, head);
	}
	CU_ASSERT(!drv_used(&g->d, &id, &len));
	CU_EQ(g->q.broken, 0);
	rig_free(g);
}

/* Empty pieces before, between and behind; nothing but empty pieces. */
static void empty_descriptors_end_nowhere_and_cost_nothing(void)
{
	static struct drv_buf b[1024];

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 1024, true, BASIC);

		for (unsigned n = 1; n < 1024; n = 2 * n + 1) {
			struct drv_buf fine = put_frame(g, n, 90);

			for (unsigned i = 0; i < n; i++)
				b[i] = (struct drv_buf){ DRV_GPA, 0, false };
			drv_add(&g->d, b, n);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 1);
			/* the data comes last: taken whole, or the chain is refused as too long */
			b[n - 1] = fine;
			drv_add(&g->d, b, n);
			if (vqueue_take(&g->q, g->b, 64))
				check_frame(&g->b->frame[0], n, 90);
			else
				CU_EQ(n > VQUEUE_STEPS, true);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 1);
			drv_add(&g->d, &fine, 1);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
			g->q.ops->release(&g->q, g->b);
			CU_EQ(used_count(g, 0), 1);
		}
		CU_EQ(g->q.broken, 0);
		rig_free(g);
	}
}

/* Whatever is wrong with a buffer, it comes back: the ring never runs dry. */
static void bad_chains_without_number_leave_the_ring_whole(void)
{
	const struct {
		struct drv_buf b[2];
		unsigned n;
	} bad[] = {
		{ { { DRV_GPA, 100, true } }, 1 },
		{ { { 0, 100, false } }, 1 },
		{ { { DRV_GPA, 12, false }, { DRV_GPA, 100, true } }, 2 },
		{ { { DRV_GPA, 13, false } }, 1 },
		{ { { DRV_GPA, UINT32_MAX, false } }, 1 },
		{ { { DRV_GPA, 0, false }, { DRV_GPA, 5, false } }, 2 },
	};
	unsigned long want = cu_rounds(100000);

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC);
		struct drv_buf fine = put_frame(g, 3, 300);
		unsigned long back = 0;

		for (unsigned long i = 0; i < want; i++) {
			drv_add(&g->d, bad[i % 6].b, bad[i % 6].n);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 0);
			g->q.ops->release(&g->q, g->b);
			back += used_count(g, 0);
		}
		CU_EQ(back, want);
		drv_add(&g->d, &fine, 1);
		CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
		check_frame(&g->b->frame[0], 3, 300);
		rig_free(g);
	}
}

/* A burst ends after its share of chains, good or bad, whatever else is waiting. */
static void a_burst_is_bounded_in_chains_and_descriptors(void)
{
	static struct drv_buf b[512];

	for (unsigned i = 0; i < 512; i++)
		b[i] = (struct drv_buf){ DRV_GPA, i == 511 ? 100 : 0, false };
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 1024, true, BASIC);
		unsigned bursts = 0;

		for (unsigned i = 0; i < 1024; i++)
			drv_add(&g->d, &(struct drv_buf){ 0, 100, false }, 1);
		for (unsigned back = 0; back < 1024; bursts++) {
			CU_EQ(vqueue_take(&g->q, g->b, PORT_BURST), 0);
			CU_ASSERT(g->b->entries <= PORT_BURST);
			CU_ASSERT_FATAL(g->b->entries > 0);
			g->q.ops->release(&g->q, g->b);
			back += used_count(g, 0);
		}
		CU_EQ(bursts, 1024 / PORT_BURST);
		/* nor does it look at thousands of empty descriptors */
		for (unsigned i = 0; i < 16; i++)
			drv_add_indirect(&g->d, drv_alloc(&g->mem, 512 * 16, 16), b, 512);
		for (unsigned back = 0; back < 16; ) {
			vqueue_take(&g->q, g->b, PORT_BURST);
			CU_ASSERT_FATAL(g->b->entries > 0 && g->b->entries <= 3);
			g->q.ops->release(&g->q, g->b);
			back += used_count(g, 0);
		}
		rig_free(g);
	}
}

/*
 * Buffers of a byte each behind hundreds of empty descriptors: for one frame so many of them
 * would be looked at that the sender's neighbours would notice. One frame has one bound.
 */
static void a_frame_is_bounded_in_descriptors_over_all_its_buffers(void)
{
	static struct drv_buf b[256];
	static uint8_t bytes[1514];

	for (unsigned i = 0; i < 256; i++)
		b[i] = (struct drv_buf){ DRV_GPA + 65536, 0, true };
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 32768, false, MERGED);
		struct frame f, *list = &f;
		uint64_t table[64];

		frame_of(&f, bytes, sizeof(bytes));
		for (unsigned i = 0; i < 64; i++) {
			b[0].len = 12;
			table[i] = drv_alloc(&g->mem, 256 * 16, 16);
			drv_add_indirect(&g->d, table[i], b, 256);
		}
		for (unsigned i = 0; i < 2; i++)
			CU_EQ(vqueue_give(&g->q, &list, 1), 0);
		/* refused for its shape: after all 64 it would only be full */
		CU_EQ(g->q.row[PORT_OUT_CHAIN], 2);
		CU_EQ(g->q.row[PORT_OUT_FULL], 0);
		rig_free(g);
	}
}

/* IN_ORDER was promised; heads and ids come in any order all the same. */
static void a_driver_that_breaks_its_promise_of_order_harms_only_itself(void)
{
	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, true, BASIC | BIT(VIRTIO_F_IN_ORDER));
		uint32_t rng = 5;

		for (unsigned round = 0; round < 2000; round++) {
			unsigned n = 1 + round % 16, got;

			g->mem.top = 1u << 20;
			for (unsigned i = 0; i < n; i++) {
				struct drv_buf b = put_frame(g, i, 64);
				uint16_t id = drv_add(&g->d, &b, 1);

				rng = rng * 1664525u + 1013904223u;
				if (k->packed)
					g->d.slot[id].id = (uint16_t)(rng >> 16);
				else
					g->d.avail[2 + (uint16_t)(g->d.next - 1) % 64] =
						(uint16_t)(rng >> 16) % 64;
			}
			got = vqueue_take(&g->q, g->b, 64);
			CU_ASSERT(got <= n);
			for (unsigned i = 0; k->packed && i < got; i++)
				check_frame(&g->b->frame[i], i, 64);
			g->q.ops->release(&g->q, g->b);
		}
		CU_EQ(g->q.broken, 0);
		CU_EQ(g->q.owed_n, 0);
		rig_free(g);
	}
}

/* Empty pieces and more buffers than the frame needs: what is marked is what was written. */
static void only_what_was_written_is_logged(void)
{
	static uint8_t bytes[5000];

	FOR_KINDS(k) {
		struct rig *g = rig_new(k, 64, false, MERGED);
		int fd = memfd_create("log", 0);
		struct vlog log = { .map = NULL };
		struct frame f, *list = &f;
		const uint64_t page = 512;	/* of the guest's memory, as are all below */
		uint8_t *bits;
		unsigned marked = 0;

		CU_EQ(ftruncate(fd, (DRV_GPA + MEM) >> 15), 0);
		CU_EQ_FATAL(vlog_map(&log, (DRV_GPA + MEM) >> 15, 0, fd), 0);
		bits = mmap(NULL, (DRV_GPA + MEM) >> 15, PROT_READ, MAP_SHARED, fd, 0);
		g->q.log = &log;
		for (unsigned i = 0; i < 8; i++) {
			uint64_t at = DRV_GPA + ((page + 4 * i) << 12);
			struct drv_buf b[3] = {
				{ at + 8192, 0, true }, { at, 2048, true }, { at + 8192, 0, true },
			};

			drv_add(&g->d, b, 3);
		}
		frame_of(&f, bytes, sizeof(bytes));
		CU_EQ(vqueue_give(&g->q, &list, 1), 1);
		for (uint64_t i = 0; i < 64; i++) {
			uint64_t n = (DRV_GPA >> 12) + page + i;
			bool on = bits[n / 8] >> (n % 8) & 1;

			CU_EQ(on, i % 4 == 0 && i < 12);
			marked += on;
		}
		CU_EQ(marked, 3);
		munmap(bits, (DRV_GPA + MEM) >> 15);
		vlog_unmap(&log);
		close(fd);
		rig_free(g);
	}
}

/* Whoever is handed the frame, a TAP interface too, sees fields that were checked, or zeros. */
static void a_header_is_passed_on_only_as_far_as_it_means_something(void)
{
	static const struct virtio_net_hdr_v1 none;
	const uint64_t f = BASIC | BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4);

	FOR_KINDS(k) {
		for (unsigned asks = 0; asks < 2; asks++) {
			struct rig *g = rig_new(k, 64, true, f);
			struct drv_buf b = put_frame(g, 1, 100);
			struct virtio_net_hdr_v1 h = {
				.flags = (uint8_t)(0xfe | asks), .hdr_len = 0xffff,
				.gso_size = 0xffff, .csum_start = asks ? 34 : 0xffff,
				.csum_offset = asks ? 16 : 0xffff, .num_buffers = 0xffff,
			};
			const struct virtio_net_hdr_v1 *got = &g->b->frame[0].hdr;

			memcpy(g->mem.host + (b.gpa - DRV_GPA), &h, HDR);
			drv_add(&g->d, &b, 1);
			CU_EQ(vqueue_take(&g->q, g->b, 64), 1);
			if (asks) {
				CU_EQ(got->flags, VIRTIO_NET_HDR_F_NEEDS_CSUM);
				CU_EQ(got->csum_start, 34);
				CU_EQ(got->csum_offset, 16);
				CU_EQ(got->gso_size | got->gso_type, 0);
				CU_ASSERT(got->hdr_len <= 100);
			} else {
				CU_EQ(memcmp(got, &none, offsetof(struct virtio_net_hdr_v1,
								  num_buffers)), 0);
			}
			rig_free(g);
		}
	}
}

CU_MAIN("backend/hostile",
	TC("C-DS-05", a_head_offered_many_times_is_handed_back_as_often),
	TC("C-DS-06", empty_descriptors_end_nowhere_and_cost_nothing),
	TC("C-DS-16", bad_chains_without_number_leave_the_ring_whole),
	TC("C-DS-18", a_burst_is_bounded_in_chains_and_descriptors),
	TC("C-DS-18", a_frame_is_bounded_in_descriptors_over_all_its_buffers),
	TC("C-DS-21", a_driver_that_breaks_its_promise_of_order_harms_only_itself),
	TC("C-LG-03", only_what_was_written_is_logged),
	TC("C-OF-08, A-TX-01, A-TX-02, A-TX-04",
	   a_header_is_passed_on_only_as_far_as_it_means_something))
