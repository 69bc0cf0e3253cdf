// SPDX-License-Identifier: Apache-2.0
// ring_vring.c - the device's side of split and packed rings by itself (checklist A8, A9).
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "sim/core/guard.h"
#include "sim/ring/vring.h"
#include "tests/qdrv.h"
#include "tests/unit/cu.h"

#define IOVA 0x7000000000ull
#define MEM  (2u << 20)

static uint8_t *mem;
static struct qdrv drv;
static struct vq vq;
static struct vq_chain chain;

static void *at(void *ctx, uint64_t addr, uint64_t len)
{
	if (addr < IOVA || addr - IOVA > MEM || len > MEM - (addr - IOVA))
		return NULL;
	return (uint8_t *)ctx + (addr - IOVA);
}

static int start(bool packed, uint16_t num, bool event_idx)
{
	struct vq_setup s = {
		.num = num, .packed = packed, .event_idx = event_idx, .indirect = true, .at = at,
	};

	guard_install();
	if (!mem)
		mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	s.ctx = mem;
	qdrv_init(&drv, packed, num, mem, IOVA);
	s.desc = drv.desc;
	s.avail = drv.avail;
	s.used = drv.used;
	return vq_init(&vq, &s);
}

/* Offers a chain of n parts, takes it, checks it, gives it back, sees it used. */
static bool round_trip(unsigned n, uint32_t mark)
{
	struct qdrv_part p[8];
	uint16_t id, want;
	uint32_t len;

	for (unsigned i = 0; i < n; i++)
		p[i] = (struct qdrv_part){ IOVA + 0x100000 + 64 * i, 8, i == n - 1 };
	want = qdrv_add(&drv, p, n);
	if (vq_take(&vq, &chain) != 1 || vq_take(&vq, &(struct vq_chain){ 0 }) != 0)
		return false;
	if (chain.readable != n - 1 || chain.writable != 1 || chain.read_len != 8 * (n - 1))
		return false;
	if (vq_write(&vq, &chain, 0, &mark, sizeof(mark)) || vq_give(&vq, &chain, sizeof(mark)))
		return false;
	if (!qdrv_used(&drv, &id, &len, n) || id != want || len != sizeof(mark))
		return false;
	return !memcmp(mem + 0x100000 + 64 * (n - 1), &mark, sizeof(mark));
}

static void laps_of_any_size(void)
{
	static const struct { bool packed; uint16_t num; } rings[] = {
		{ false, 1 }, { false, 2 }, { false, 256 }, { false, 32768 }, { true, 1 },
		{ true, 2 }, { true, 3 }, { true, 5 }, { true, 255 }, { true, 257 },
		{ true, 1000 }, { true, 32768 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rings); i++) {
		uint16_t num = rings[i].num;
		unsigned bad = 0;

		CU_EQ(start(rings[i].packed, num, false), 0);
		for (uint32_t k = 0; k < 70000; k++)
			bad += !round_trip(1 + k % (num < 3 ? num : 3), k);
		CU_EQ(bad, 0);
	}
}

static void geometry_is_judged(void)
{
	struct vq_setup good, s;

	start(false, 256, false);
	good = vq.set;
	CU_EQ(vq_check(&good), 0);
	for (unsigned num = 0; num < 0x10000; num++) {
		bool pow2 = num && num <= 32768 && !(num & (num - 1));

		s = good;
		s.num = (uint16_t)num;
		s.avail = IOVA + 0x80000;
		s.used = IOVA + 0x100000;
		CU_EQ(vq_check(&s) == 0, pow2);
		s.packed = true;
		CU_EQ(vq_check(&s) == 0, num && num <= 32768);
	}
	s = good;
	s.desc += 8;
	CU_EQ(vq_check(&s), -EINVAL);
	s = good;
	s.used = s.desc;
	CU_EQ(vq_check(&s), -EINVAL);
	s = good;
	s.desc = UINT64_MAX - 15;
	CU_EQ(vq_check(&s), -EINVAL);
	s = good;
	s.used = IOVA + MEM - 8;
	CU_EQ(vq_check(&s), -EFAULT);
}

/* 2.7.7.2: told when used_event is crossed, and only then, whatever the batch and the wrap. */
static void split_used_event_is_crossed(void)
{
	uint32_t seed = 1, wrong = 0;
	uint16_t used = 0;

	start(false, 256, true);
	for (uint32_t done = 0; done < 200000;) {
		unsigned batch = 1 + (seed >> 16) % 5;
		uint16_t event, old = used;
		bool want, told;

		seed = seed * 1664525 + 1013904223;
		event = (uint16_t)(used + (seed >> 20) % 8 - 2);
		qdrv_suppress(&drv, (uint16_t)(seed >> 8 & 1), event);	/* flags mean nothing */
		for (unsigned i = 0; i < batch; i++, used++)
			wrong += !round_trip(2, seed);
		want = (uint16_t)(event - old) < (uint16_t)(used - old) || done == 0;
		told = vq_should_notify(&vq);
		wrong += told != want;
		done += batch;
	}
	CU_EQ(wrong, 0);
}

/* 2.8.14: as above; the position is named with the lap it is in. */
static void packed_position_is_crossed(void)
{
	static const uint16_t sizes[] = { 1, 3, 64, 1000 };
	uint32_t seed = 7, wrong = 0;

	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		uint32_t num = sizes[s], used = 0;	/* positions ever, laps included */

		start(true, sizes[s], true);
		for (uint32_t done = 0; done < 50000; done++) {
			unsigned batch = 1 + (seed >> 16) % (num < 4 ? num : 4);
			uint32_t event, old = used;
			bool want;

			seed = seed * 1664525 + 1013904223;
			event = used + (seed >> 20) % (num < 8 ? num : 8);
			qdrv_suppress(&drv, 2, (uint16_t)(event % num |
				     (event / num % 2 ? 0 : 0x8000)));
			for (unsigned i = 0; i < batch; i++, used++)
				wrong += !round_trip(1, seed);
			want = event - old < used - old || done == 0;
			wrong += vq_should_notify(&vq) != want;
		}
	}
	CU_EQ(wrong, 0);
}

static void simple_suppression(void)
{
	static const struct { bool packed, event_idx; uint16_t flags; bool told; } rows[] = {
		{ false, false, 0, true }, { false, false, 1, false }, { true, false, 0, true },
		{ true, false, 1, false }, { true, false, 2, true }, { true, false, 3, true },
		{ true, true, 0, true }, { true, true, 1, false }, { true, true, 3, true },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		CU_EQ(start(rows[i].packed, 16, rows[i].event_idx), 0);
		qdrv_suppress(&drv, rows[i].flags, 0xffff);
		for (unsigned k = 0; k < 40; k++) {
			CU_ASSERT(round_trip(1, k));
			CU_EQ(vq_should_notify(&vq), rows[i].told);
		}
	}
}

/* 2.8.15: a descriptor of this lap has AVAIL unlike USED, and AVAIL as the lap. */
static void stale_descriptors_are_not_taken(void)
{
	static const uint16_t flags[] = { 0, 1u << 15, 1u << 7 | 1u << 15 };

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++) {
		start(true, 8, false);
		memcpy(mem + 14, &flags[i], 2);
		CU_EQ(vq_take(&vq, &chain), 0);
	}
	start(true, 8, false);
	for (unsigned i = 0; i < 8; i++)
		CU_ASSERT(round_trip(1, i));
	CU_EQ(vq_take(&vq, &chain), 0);		/* all entries: used, last lap */
}

static void a_broken_ring_stays_broken(void)
{
	start(false, 16, false);
	qdrv_set_avail_idx(&drv, 17);
	CU_EQ(vq_take(&vq, &chain), -EINVAL);
	qdrv_set_avail_idx(&drv, 1);
	CU_EQ(vq_take(&vq, &chain), -EINVAL);
	CU_EQ(vq_give(&vq, &chain, 0), -EINVAL);
	CU_EQ(vq_arm(&vq), -EINVAL);
	CU_ASSERT(!vq_should_notify(&vq));
}

/* Full to the brim is legal: the index may be ahead by exactly the size. */
static void a_full_ring_is_taken(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct qdrv_part p = { IOVA + 0x100000, 4, true };

		start(packed, 16, false);
		for (unsigned i = 0; i < 16; i++)
			qdrv_add(&drv, &p, 1);
		for (unsigned i = 0; i < 16; i++)
			CU_EQ(vq_take(&vq, &chain), 1);
		CU_EQ(vq_take(&vq, &chain), 0);
	}
}

static void chains_are_bounded_by_the_ring(void)
{
	struct qdrv_part p[65];
	uint64_t table = IOVA + 0x180000;

	for (unsigned i = 0; i < 65; i++)
		p[i] = (struct qdrv_part){ IOVA + 0x100000, 1, false };
	for (unsigned packed = 0; packed < 2; packed++) {
		start(packed, 64, false);
		qdrv_add(&drv, p, 64);
		CU_EQ(vq_take(&vq, &chain), 1);
		CU_EQ(chain.readable, 64);
		start(packed, 64, false);
		qdrv_add_indirect(&drv, p, 64, mem + 0x180000, table);
		CU_EQ(vq_take(&vq, &chain), 1);
		start(packed, 64, false);
		qdrv_add_indirect(&drv, p, 65, mem + 0x180000, table);
		CU_EQ(vq_take(&vq, &chain), -EINVAL);
	}
}

static void copies_stay_inside_their_parts(void)
{
	static const struct qdrv_part p[] = {
		{ IOVA + 0x100000, 3, false }, { IOVA + 0x100010, 0, false },
		{ IOVA + 0x100020, 5, false }, { IOVA + 0x100030, 2, true },
		{ IOVA + 0x100040, 2, true },
	};
	uint8_t buf[16] = { 0 }, *m;

	start(false, 16, false);
	m = mem + 0x100000;
	memset(m, 0xee, 0x100);
	for (unsigned i = 0; i < 3; i++)
		m[i] = (uint8_t)i;
	for (unsigned i = 0; i < 5; i++)
		m[0x20 + i] = (uint8_t)(3 + i);
	qdrv_add(&drv, p, 5);
	CU_EQ(vq_take(&vq, &chain), 1);
	for (unsigned off = 0; off < 10; off++) {
		for (unsigned len = 0; len < 10; len++) {
			int rc = vq_read(&vq, &chain, off, buf, len);

			CU_EQ(rc, !len || off + len <= 8 ? 0 : -ERANGE);
			for (unsigned i = 0; rc == 0 && i < len; i++)
				CU_EQ(buf[i], off + i);
		}
	}
	CU_EQ(vq_write(&vq, &chain, 1, "ab", 2), 0);
	CU_ASSERT(m[0x30] == 0xee && m[0x31] == 'a' && m[0x32] == 0xee && m[0x40] == 'b');
	CU_EQ(vq_write(&vq, &chain, 3, "ab", 2), -ERANGE);
}

static void tables_that_vanish_break_the_ring(void)
{
	struct qdrv_part p = { IOVA + 0x100000, 4, true };

	for (unsigned packed = 0; packed < 2; packed++) {
		start(packed, 16, false);
		qdrv_add(&drv, &p, 1);
		CU_EQ(vq_take(&vq, &chain), 1);
		mprotect(mem, 8192, PROT_NONE);
		CU_EQ(vq_give(&vq, &chain, 4), -EFAULT);
		CU_EQ(vq_take(&vq, &chain), -EFAULT);
		mprotect(mem, 8192, PROT_READ | PROT_WRITE);
	}
}

CU_MAIN("ring/vring",
	{ "A-PR-08 A-DRV-09 laps of any size", laps_of_any_size },
	{ "A-CC-21 geometry is judged", geometry_is_judged },
	{ "A-SR-10,11,12 used_event is crossed", split_used_event_is_crossed },
	{ "A-PR-09 packed position is crossed", packed_position_is_crossed },
	{ "A-SR-07,08,09 A-PR-09 simple suppression", simple_suppression },
	{ "A-PR-05 stale descriptors are not taken", stale_descriptors_are_not_taken },
	{ "A-SR-17 a broken ring stays broken", a_broken_ring_stays_broken },
	{ "A-DRV-09 a full ring is taken", a_full_ring_is_taken },
	{ "A-SR-17 A-PR-10 chains are bounded by the ring", chains_are_bounded_by_the_ring },
	{ "A-SR-01 copies stay inside their parts", copies_stay_inside_their_parts },
	{ "tables that vanish break the ring", tables_that_vanish_break_the_ring })
