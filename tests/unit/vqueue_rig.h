/* SPDX-License-Identifier: Apache-2.0 */
/* vqueue_rig.h - one ring of a back-end, in every format and width, and its driver (drv.h). */
#ifndef TESTS_UNIT_VQUEUE_RIG_H
#define TESTS_UNIT_VQUEUE_RIG_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <unistd.h>

#include "sim/backend/torn.h"
#include "sim/backend/vqueue.h"
#include "tests/drv.h"
#include "tests/unit/cu.h"

#define BIT(n) (1ull << (n))
#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif
#define BASIC	(BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC))
#define MERGED	(BASIC | BIT(VIRTIO_NET_F_MRG_RXBUF))
#define MEM	(32u << 20)
#define HDR	12u

/* One kind of ring after the other; `width` 0 ends the list of this machine. */
static const struct kind {
	bool     packed;
	unsigned width;
} kinds[] = {
	{ false, 16 }, { true, 16 }, { false, 32 }, { true, 32 }, { false, 64 }, { true, 64 },
};

static inline bool kind_runs(const struct kind *k)
{
	return k->width == 16 || (k->width == 32 && __builtin_cpu_supports("avx2")) ||
	       (k->width == 64 && __builtin_cpu_supports("avx512vl"));
}

#define FOR_KINDS(k) \
	for (const struct kind *k = kinds; k < kinds + ARRAY_SIZE(kinds); k++) \
		if (kind_runs(k))

struct rig {
	struct drv_mem mem;
	struct vmem vmem;
	struct drv_ring d;
	struct vqueue q;
	struct batch *b;
};

static inline void rig_areas(struct rig *g, struct vqueue_setup *s)
{
	s->desc = vmem_at_uva(&g->vmem, drv_uva(g->d.desc_off), 1);
	s->avail = vmem_at_uva(&g->vmem, drv_uva(g->d.avail_off), 1);
	s->used = vmem_at_uva(&g->vmem, drv_uva(g->d.used_off), 1);
}

static inline struct rig *rig_new(const struct kind *k, uint16_t num, bool transmit,
				  uint64_t features)
{
	uint32_t base = k->packed ? 0x80008000 : 0;
	struct vmem_policy policy = { 0, false };
	struct vqueue_setup s = { .num = num, .features = features };
	struct rig *g = calloc(1, sizeof(*g));

	CU_EQ_FATAL(torn_install(), 0);
	CU_EQ_FATAL(drv_mem_new(&g->mem, MEM), 0);
	CU_EQ_FATAL(vmem_add(&g->vmem, &policy, DRV_GPA, DRV_UVA, MEM, 0, g->mem.fd), 0);
	drv_ring_new(&g->d, &g->mem, num, k->packed, base);
	if (k->packed)
		s.features |= BIT(VIRTIO_F_RING_PACKED);
	rig_areas(g, &s);
	s.mem = &g->vmem;
	vqueue_init(&g->q, transmit, false);
	CU_EQ_FATAL(vqueue_start(&g->q, &s, base), 0);
	g->q.ops = vqueue_pick(k->packed, k->width);
	g->b = aligned_alloc(64, sizeof(*g->b));
	memset(g->b, 0xee, sizeof(*g->b));
	return g;
}

static inline void rig_free(struct rig *g)
{
	vqueue_stop(&g->q);
	vmem_clear(&g->vmem);
	drv_mem_free(&g->mem);
	free(g->b);
	free(g);
}

static inline uint8_t byte_of(uint32_t seed, uint32_t i)
{
	return (uint8_t)(seed * 31 + i * 7 + (i >> 8));
}

/* A header of zeros and a frame of a pattern, at a fresh place. */
static inline struct drv_buf put_frame(struct rig *g, uint32_t seed, uint32_t len)
{
	uint64_t off = drv_alloc(&g->mem, HDR + len, 64);

	memset(g->mem.host + off, 0, HDR);
	for (uint32_t i = 0; i < len; i++)
		g->mem.host[off + HDR + i] = byte_of(seed, i);
	return (struct drv_buf){ drv_gpa(off), HDR + len, false };
}

static inline unsigned wrong_bytes(const uint8_t *p, uint32_t seed, uint32_t from, uint32_t n)
{
	unsigned wrong = 0;

	for (uint32_t i = 0; i < n; i++)
		wrong += p[i] != byte_of(seed, from + i);
	return wrong;
}

static inline void check_frame(const struct frame *f, uint32_t seed, uint32_t len)
{
	static uint8_t copy[FRAME_MAX];

	CU_EQ(f->len, len);
	CU_EQ(f->head_len, len < FRAME_HEAD ? len : FRAME_HEAD);
	frame_copy(copy, f, 0, f->len);
	CU_EQ(wrong_bytes(copy, seed, 0, len), 0);
	CU_EQ(wrong_bytes(f->head, seed, 0, f->head_len), 0);
}

static inline unsigned used_count(struct rig *g, uint32_t want_len)
{
	unsigned n = 0;
	uint32_t len;
	uint16_t id;

	while (drv_used(&g->d, &id, &len)) {
		CU_EQ(len, want_len);
		n++;
	}
	return n;
}

#endif
