// SPDX-License-Identifier: Apache-2.0
// backend_loan.c - receive buffers lent to somebody who fills them, and handed back in order.
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/torn.h"
#include "sim/backend/vqueue.h"
#include "tests/drv.h"
#include "tests/unit/cu.h"

#define BIT(n) (1ull << (n))
#define MEM (8u << 20)
#define NUM 16
#define BUF 1600u

struct rig {
	struct drv_mem mem;
	struct vmem vmem;
	struct drv_ring d;
	struct vqueue q;
};

static void rig_up(struct rig *g, bool packed)
{
	uint32_t base = packed ? 0x80008000 : 0;
	struct vmem_policy policy = { 0, false };
	struct vqueue_setup s = { .num = NUM, .features = BIT(VIRTIO_F_VERSION_1) };

	memset(g, 0, sizeof(*g));
	CU_EQ(torn_install(), 0);
	CU_EQ(drv_mem_new(&g->mem, MEM), 0);
	CU_EQ(vmem_add(&g->vmem, &policy, DRV_GPA, DRV_UVA, MEM, 0, g->mem.fd), 0);
	drv_ring_new(&g->d, &g->mem, NUM, packed, base);
	s.features |= packed ? BIT(VIRTIO_F_RING_PACKED) : 0;
	s.desc = vmem_at_uva(&g->vmem, drv_uva(g->d.desc_off), 1);
	s.avail = vmem_at_uva(&g->vmem, drv_uva(g->d.avail_off), 1);
	s.used = vmem_at_uva(&g->vmem, drv_uva(g->d.used_off), 1);
	s.mem = &g->vmem;
	vqueue_init(&g->q, false, false);
	CU_EQ(vqueue_start(&g->q, &s, base), 0);
}

static void rig_down(struct rig *g)
{
	vqueue_stop(&g->q);
	vmem_clear(&g->vmem);
	drv_mem_free(&g->mem);
}

static uint64_t post(struct rig *g, uint32_t len)
{
	uint64_t off = drv_alloc(&g->mem, len, 64);
	struct drv_buf b = { drv_gpa(off), len, true };

	drv_add(&g->d, &b, 1);
	return off;
}

static void what_is_filled_comes_back_in_order_and_the_rest_stays(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		unsigned posted = 0, filled = 0;
		uint64_t off[256];
		struct vqueue_loan l;
		struct rig g;
		uint32_t len;
		uint16_t id;

		rig_up(&g, packed);
		for (unsigned round = 0; round < 40; round++) {
			unsigned n, m = round % 5;

			while (posted < filled + 8)
				off[posted++ % 256] = post(&g, BUF);
			n = g.q.ops->lend(&g.q, &l, 6, 1526);
			CU_ASSERT(n >= 1 && n <= 6);	/* less before the ring's end */
			m = m < n ? m : n;
			for (unsigned i = 0; i < n; i++) {
				CU_EQ(l.to[i].len, BUF);
				CU_ASSERT_PTR_EQUAL(l.to[i].base, vmem_at_uva(&g.vmem,
					drv_uva(off[(filled + i) % 256]), BUF));
				l.got[i] = 100 + i;
			}
			if (m)
				g.q.ops->settle(&g.q, &l, m);
			for (unsigned i = 0; i < m; i++) {
				CU_ASSERT_TRUE(drv_used(&g.d, &id, &len));
				CU_EQ(len, 100 + i);
			}
			CU_ASSERT_FALSE(drv_used(&g.d, &id, &len));
			filled += m;
		}
		rig_down(&g);
	}
}

static void what_is_not_plain_is_told_and_left_alone(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct vqueue_loan l;
		struct drv_buf two[2];
		struct rig g;

		rig_up(&g, packed);
		CU_EQ(g.q.ops->lend(&g.q, &l, 6, 1526), 0);
		CU_EQ(l.odd, false);
		post(&g, 1525);				/* one byte too small */
		CU_EQ(g.q.ops->lend(&g.q, &l, 6, 1526), 0);
		CU_EQ(l.odd, true);
		rig_down(&g);

		rig_up(&g, packed);
		two[0] = (struct drv_buf){ drv_gpa(drv_alloc(&g.mem, BUF, 64)), BUF, true };
		two[1] = (struct drv_buf){ drv_gpa(drv_alloc(&g.mem, BUF, 64)), BUF, true };
		drv_add(&g.d, two, 2);			/* a chain */
		CU_EQ(g.q.ops->lend(&g.q, &l, 6, 1526), 0);
		CU_EQ(l.odd, true);
		rig_down(&g);

		rig_up(&g, packed);
		two[0].write = false;			/* the wrong way */
		drv_add(&g.d, two, 1);
		CU_EQ(g.q.ops->lend(&g.q, &l, 6, 1526), 0);
		CU_EQ(l.odd, true);
		rig_down(&g);

		rig_up(&g, packed);
		two[0] = (struct drv_buf){ DRV_GPA + MEM - 100, BUF, true };
		drv_add(&g.d, two, 1);			/* beyond what was lent */
		CU_EQ(g.q.ops->lend(&g.q, &l, 6, 1526), 0);
		CU_EQ(l.odd, true);
		rig_down(&g);
	}
}

static void a_huge_buffer_is_used_for_one_frame_only(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct vqueue_loan l;
		struct rig g;

		rig_up(&g, packed);
		post(&g, 1u << 20);
		CU_EQ(g.q.ops->lend(&g.q, &l, 6, 1526), 1);
		CU_EQ(l.to[0].len, VQUEUE_FRAME);
		rig_down(&g);
	}
}

CU_MAIN("backend/loan",
	T(what_is_filled_comes_back_in_order_and_the_rest_stays),
	T(what_is_not_plain_is_told_and_left_alone),
	T(a_huge_buffer_is_used_for_one_frame_only))
