// SPDX-License-Identifier: Apache-2.0
/*
 * switch_rings.c - what one packet costs from ring to ring when nothing has to come from another
 * core: the instructions of the data path, and the cycles they take at best.
 *
 *	switch_rings [rounds [packed|split [bytes [width]]]]
 *
 * One line: cycles per packet of take, give and release (median of rounds of BURST packets).
 * Under valgrind --tool=callgrind --toggle-collect=forward it counts instructions.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/torn.h"
#include "sim/backend/vqueue.h"
#include "tests/drv.h"

#define BIT(n)	(1ull << (n))
#define BURST	32
#define NUM	256
#define ROOM	2304u		/* bytes between buffers, as in a DPDK pool */
#define HEADROOM 116u		/* so that the frame behind the header starts a cache line */
#define HDR	12u
#define FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(35))

struct end {
	struct drv_mem mem;
	struct vmem vmem;
	struct drv_ring d;
	struct vqueue q;
	uint64_t area;
	uint32_t posted;
};

static struct end tx, rx;
static struct batch batch;

static void end_init(struct end *e, bool packed, bool transmit, unsigned width)
{
	uint32_t base = packed ? 0x80008000 : 0;
	struct vmem_policy policy = { 0, false };
	struct vqueue_setup s = { .num = NUM, .mem = &e->vmem };

	if (drv_mem_new(&e->mem, 4u << 20) < 0 ||
	    vmem_add(&e->vmem, &policy, DRV_GPA, DRV_UVA, 4u << 20, 0, e->mem.fd) < 0)
		abort();
	drv_ring_new(&e->d, &e->mem, NUM, packed, base);
	s.features = FEATURES | (packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
	s.desc = vmem_at_uva(&e->vmem, drv_uva(e->d.desc_off), 1);
	s.avail = vmem_at_uva(&e->vmem, drv_uva(e->d.avail_off), 1);
	s.used = vmem_at_uva(&e->vmem, drv_uva(e->d.used_off), 1);
	vqueue_init(&e->q, transmit, false);
	if (vqueue_start(&e->q, &s, base) < 0)
		abort();
	e->q.ops = vqueue_pick(packed, width);
	e->area = drv_alloc(&e->mem, (uint64_t)ROOM * NUM, 4096);
	drv_want_calls(&e->d, false);
}

static void offer(struct end *e, uint32_t len, bool write, unsigned n)
{
	for (; n; n--, e->posted++) {
		uint64_t off = e->area + (uint64_t)ROOM * (e->posted % NUM) + HEADROOM;

		drv_add(&e->d, &(struct drv_buf){ drv_gpa(off), len, write }, 1);
	}
}

__attribute__((noinline)) static unsigned forward(void)
{
	struct frame *list[PORT_BURST];
	unsigned n = vqueue_take(&tx.q, &batch, BURST);

	for (unsigned i = 0; i < n; i++)
		list[i] = &batch.frame[i];
	n = vqueue_give(&rx.q, list, n);
	tx.q.ops->release(&tx.q, &batch);
	return n;
}

static int by_size(const void *a, const void *b)
{
	return *(const uint32_t *)a < *(const uint32_t *)b ? -1 : 1;
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 20000;
	bool packed = argc <= 2 || !strcmp(argv[2], "packed");
	uint32_t bytes = argc > 3 ? (uint32_t)atoi(argv[3]) : 64;
	unsigned width = argc > 4 ? (unsigned)atoi(argv[4]) : 0;
	uint32_t *took = calloc(rounds, sizeof(*took));

	torn_install();
	end_init(&tx, packed, true, width);
	end_init(&rx, packed, false, width);
	offer(&rx, 2048 + HDR, true, NUM - BURST);
	for (unsigned i = 0; i < rounds; i++) {
		uint64_t start;

		offer(&rx, 2048 + HDR, true, BURST);
		offer(&tx, bytes + HDR, false, BURST);
		start = __builtin_ia32_rdtsc();
		if (forward() != BURST)
			abort();
		took[i] = (uint32_t)(__builtin_ia32_rdtsc() - start);
	}
	qsort(took, rounds, sizeof(*took), by_size);
	printf("%s %u B: %.1f cycles/packet (best tenth %.1f)\n", rx.q.ops->name, bytes,
	       took[rounds / 2] / (double)BURST, took[rounds / 10] / (double)BURST);
	free(took);
	return 0;
}
