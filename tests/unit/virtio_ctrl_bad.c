// SPDX-License-Identifier: Apache-2.0
// virtio_ctrl_bad.c - hostile control queues, split and packed (checklist A8, A9).
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/ctl.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define PACKED B(VIRTIO_F_RING_PACKED)
#define INDIRECT B(VIRTIO_RING_F_INDIRECT_DESC)
#define RUNNING (RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK)

#define OK 0
#define ERR 1

static struct ctl c;

static void up(bool packed)
{
	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | MQ | INDIRECT | (packed ? PACKED : 0), 4, 64), RUNNING);
}

#define BOTH(name) \
	static void name##_split(void) { name(false); } \
	static void name##_packed(void) { name(true); }

/* ---- hostility ----------------------------------------------------------------------------- */

enum bad_chain {
	LOOP, NEXT_OUT, NESTED, INDIRECT_NEXT, TABLE_LEN_0, TABLE_LEN_ODD, TABLE_OUT, READ_AFTER,
	ADDR_OUT, ADDR_WRAP, SUM, HEAD_OUT, AVAIL_JUMP, TABLE_LOOP, BAD_CHAINS,
};

static void table_entry(uint64_t at, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct {
		uint64_t addr;
		uint32_t len;
		uint16_t flags, next;
	} e = { addr, len, flags, next };

	memcpy(rig_va(&c.r, at), &e, sizeof(e));
}

static void build_bad(enum bad_chain kind)
{
	uint64_t table = c.page + 0x1000;

	switch (kind) {
	case LOOP:
		qdrv_desc(&c.q, 0, c.page, 1, QDRV_NEXT, 1);
		qdrv_desc(&c.q, 1, c.page, 1, QDRV_NEXT, 0);
		break;
	case NEXT_OUT:
		qdrv_desc(&c.q, 0, c.page, 2, QDRV_NEXT, 64);
		break;
	case NESTED:
		table_entry(table, table, 16, QDRV_INDIRECT, 0);
		qdrv_desc(&c.q, 0, table, 16, QDRV_INDIRECT, 0);
		break;
	case INDIRECT_NEXT:
		table_entry(table, c.page, 2, 0, 0);
		qdrv_desc(&c.q, 0, table, 16, QDRV_INDIRECT | QDRV_NEXT, 1);
		qdrv_desc(&c.q, 1, c.page + 100, 1, QDRV_WRITE, 0);
		break;
	case TABLE_LEN_0:
		qdrv_desc(&c.q, 0, table, 0, QDRV_INDIRECT, 0);
		break;
	case TABLE_LEN_ODD:
		qdrv_desc(&c.q, 0, table, 17, QDRV_INDIRECT, 0);
		break;
	case TABLE_OUT:
		qdrv_desc(&c.q, 0, RIG_IOVA + RIG_MEM - 16, 32, QDRV_INDIRECT, 0);
		table_entry(RIG_IOVA + RIG_MEM - 16, c.page, 2, QDRV_NEXT, 1);
		break;
	case READ_AFTER:
		qdrv_desc(&c.q, 0, c.page + 100, 1, QDRV_WRITE | QDRV_NEXT, 1);
		qdrv_desc(&c.q, 1, c.page, 2, 0, 0);
		break;
	case ADDR_OUT:
		qdrv_desc(&c.q, 0, RIG_IOVA + RIG_MEM - 1, 2, QDRV_NEXT, 1);
		qdrv_desc(&c.q, 1, c.page + 100, 1, QDRV_WRITE, 0);
		break;
	case ADDR_WRAP:
		qdrv_desc(&c.q, 0, UINT64_MAX, 2, QDRV_NEXT, 1);
		qdrv_desc(&c.q, 1, c.page + 100, 1, QDRV_WRITE, 0);
		break;
	case SUM:
		for (uint16_t i = 0; i < 3; i++)
			qdrv_desc(&c.q, i, c.page, 0x7fffffff, i < 2 ? QDRV_NEXT : 0, i + 1);
		break;
	case TABLE_LOOP:
		table_entry(table, c.page, 1, QDRV_NEXT, 1);
		table_entry(table + 16, c.page, 1, QDRV_NEXT, 0);
		qdrv_desc(&c.q, 0, table, 32, QDRV_INDIRECT, 0);
		break;
	case HEAD_OUT:
	case AVAIL_JUMP:
	case BAD_CHAINS:
		break;
	}
}

static void a_bad_chain_breaks_the_queue_only(void)
{
	for (unsigned kind = 0; kind < BAD_CHAINS; kind++) {
		up(false);
		memset(rig_va(&c.r, c.page), 0, 0x1000);
		build_bad((enum bad_chain)kind);
		if (kind == AVAIL_JUMP)
			qdrv_set_avail_idx(&c.q, 65);
		else
			qdrv_show(&c.q, kind == HEAD_OUT ? 64 : 0, 1);
		rig_notify(&c.r, c.queue);
		if (rig_status(&c.r) != (RUNNING | RIG_NEEDS_RESET))
			printf("kind %u ", kind);
		CU_EQ(rig_status(&c.r), RUNNING | RIG_NEEDS_RESET);
		CU_EQ(rig_stat(&c.r, "ctrl_broken"), 1);
		CU_EQ(rig_notify(&c.r, c.queue), 0);
		CU_EQ(rig_stat(&c.r, "ctrl_broken"), 1);
		CU_EQ(rig_run(&c.r, V1 | CTL_ALL | MQ, &c.q), RUNNING);
		CU_EQ(ctl_set_pairs(&c, 2), OK);
		rig_down(&c.r);
	}
}

static void a_bad_packed_chain_breaks_the_queue_only(void)
{
	static const struct { uint64_t addr; uint32_t len; uint16_t flags; unsigned n; } bad[] = {
		{ 0, 1, QDRV_NEXT, 64 },				/* endless */
		{ 0, 0, QDRV_INDIRECT, 1 },
		{ 0, 24, QDRV_INDIRECT, 1 },
		{ RIG_MEM - 16, 32, QDRV_INDIRECT, 1 },
		{ 0x1000, 16, QDRV_INDIRECT | QDRV_NEXT, 2 },
		{ 0x2000, 16, QDRV_INDIRECT, 1 },		/* nested */
		{ RIG_MEM - 1, 2, 0, 1 },
		{ UINT64_MAX - RIG_IOVA, 2, 0, 1 },
		{ 0, 0x7fffffff, QDRV_NEXT, 3 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		up(true);
		table_entry(RIG_IOVA + 0x2000, c.page, 16, 0, QDRV_INDIRECT);
		for (uint16_t k = 0; k < bad[i].n; k++)
			qdrv_desc(&c.q, k, RIG_IOVA + bad[i].addr, bad[i].len,
				 k + 1u < bad[i].n || bad[i].n == 64 ? bad[i].flags :
				 bad[i].flags & ~QDRV_NEXT, 0);
		qdrv_show(&c.q, 0, bad[i].n);
		rig_notify(&c.r, c.queue);
		CU_EQ(rig_status(&c.r), RUNNING | RIG_NEEDS_RESET);
		CU_EQ(rig_run(&c.r, V1 | CTL_ALL | MQ | PACKED, &c.q), RUNNING);
		CU_EQ(ctl_set_pairs(&c, 2), OK);
		rig_down(&c.r);
	}
}

static void indirect_without_the_feature_breaks_it(bool packed)
{
	ctl_up(&c, CTL_ALL | (packed ? PACKED : 0), 1, 64);
	table_entry(c.page + 0x1000, c.page, 2, 0, 0);
	qdrv_desc(&c.q, 0, c.page + 0x1000, 16, QDRV_INDIRECT, 0);
	qdrv_show(&c.q, 0, 1);
	rig_notify(&c.r, c.queue);
	CU_EQ(rig_status(&c.r), RUNNING | RIG_NEEDS_RESET);
	rig_down(&c.r);
}
BOTH(indirect_without_the_feature_breaks_it)

/* Split 2.7.5.3.2: WRITE on the descriptor of a table means nothing; plain ones may precede. */
static void direct_then_indirect(void)
{
	uint16_t id;
	uint32_t len;
	uint8_t *va;

	up(false);
	va = rig_va(&c.r, c.page);
	va[0] = 3;
	va[1] = 0;
	table_entry(c.page + 0x1000, c.page + 1, 1, QDRV_NEXT, 1);
	table_entry(c.page + 0x1010, c.page + 100, 1, QDRV_WRITE, 0);
	qdrv_desc(&c.q, 0, c.page, 1, QDRV_NEXT, 1);
	qdrv_desc(&c.q, 1, c.page + 0x1000, 32, QDRV_INDIRECT | QDRV_WRITE, 0);
	va[100] = CTL_UNTOUCHED;
	qdrv_show(&c.q, 0, 1);
	rig_notify(&c.r, c.queue);
	CU_ASSERT(qdrv_used(&c.q, &id, &len, 1));
	CU_EQ(len, 1);
	CU_EQ(va[100], OK);
	rig_down(&c.r);
}

static void memory_that_vanished_breaks_it(bool packed)
{
	uint64_t gone;

	up(packed);
	/* behind the device's back: the mapping stays known but cannot be touched */
	CU_EQ(mprotect(rig_va(&c.r, c.page), 4096, PROT_NONE), 0);
	qdrv_add(&c.q, (struct qdrv_part[]){ { c.page, 2, false },
		 { c.page + 0x2000, 1, true } }, 2);
	rig_notify(&c.r, c.queue);
	CU_EQ(rig_status(&c.r), RUNNING | RIG_NEEDS_RESET);
	CU_EQ(mprotect(rig_va(&c.r, c.page), 4096, PROT_READ | PROT_WRITE), 0);
	rig_down(&c.r);
	/* properly taken away while a command waits */
	up(packed);
	qdrv_add(&c.q, (struct qdrv_part[]){ { c.page, 2, false }, { c.page + 100, 1, true } }, 2);
	CU_EQ(ioapi_dma_unmap(c.r.domain, RIG_IOVA, RIG_MEM, &gone), 0);
	rig_notify(&c.r, c.queue);
	CU_EQ(rig_stat(&c.r, "ctrl_ok"), 0);
	CU_EQ(rig_status(&c.r), RUNNING | RIG_NEEDS_RESET);
	rig_down(&c.r);
}
BOTH(memory_that_vanished_breaks_it)

/* Random rings: nothing but the verdict may depend on them, and the device resets every time. */
static void noise_on_the_ring(bool packed)
{
	uint64_t seed = 88172645463325252ull;

	up(packed);
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t *ring;

		c.r.used = 0;
		CU_EQ(rig_run(&c.r, V1 | CTL_ALL | MQ | INDIRECT | (packed ? PACKED : 0), &c.q),
		      RUNNING);
		ring = c.q.va;
		for (unsigned k = 0; k < 64 * 16; k += 8) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			/* addresses mostly inside, lengths mostly small */
			if (k % 16 == 0)
				*(uint64_t *)(ring + k) = RIG_IOVA + seed % (RIG_MEM + 64);
			else
				*(uint64_t *)(ring + k) = seed & 0x00c7808700000fff;
		}
		if (!packed) {
			for (unsigned k = 0; k < 64; k++)
				*(uint16_t *)(ring + 64 * 16 + 4 + 2 * k) = seed >> (k % 32) & 63;
			qdrv_set_avail_idx(&c.q, seed % 66);
		}
		rig_notify(&c.r, c.queue);
		rig_notify(&c.r, c.queue);
	}
	rig_down(&c.r);
}
BOTH(noise_on_the_ring)

/* ---- a driver that rewrites its command while it is served ---------------------------------- */

static _Atomic bool flipping;

static void *flip(void *arg)
{
	volatile uint8_t *va = arg;

	for (uint32_t x = 1; flipping; x = x * 1664525 + 1013904223) {
		va[x >> 8 & 31] = (uint8_t)(x >> 16);
		va[0x8000 + (x >> 13 & 63)] = (uint8_t)(x >> 24);
	}
	return NULL;
}

static void contents_change_while_they_are_read(bool packed)
{
	pthread_t t;

	up(packed);
	flipping = true;
	CU_EQ_FATAL(pthread_create(&t, NULL, flip, rig_va(&c.r, c.page)), 0);
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t ack;
		uint32_t len;

		ack = ctl_send(&c, (struct qdrv_part[]){ { c.page, 16, false },
				 { c.page + 0x4000, 1, true } }, 2, c.page + 0x4000, &len);
		CU_ASSERT(ack == OK || ack == ERR);
		CU_EQ(dc(&c.r, 0, 1) & 1, 0);
	}
	flipping = false;
	pthread_join(t, NULL);
	CU_EQ(rig_status(&c.r), RUNNING);
	rig_down(&c.r);
}
BOTH(contents_change_while_they_are_read)

#define ROW(text, name) \
	{ text ", split", name##_split }, { text ", packed", name##_packed }

CU_MAIN("virtio/ctrl-bad",
	{ "A-SR-17,18 a bad chain breaks the queue only", a_bad_chain_breaks_the_queue_only },
	{ "A-PR-10 a bad packed chain breaks the queue only",
	  a_bad_packed_chain_breaks_the_queue_only },
	ROW("A-SR-17 indirect without the feature breaks it",
	    indirect_without_the_feature_breaks_it),
	{ "A-SR-05,06 direct, then indirect", direct_then_indirect },
	ROW("memory that vanished breaks it", memory_that_vanished_breaks_it),
	ROW("A-SR-17 noise on the ring", noise_on_the_ring),
	ROW("A-CV-29 contents change while they are read", contents_change_while_they_are_read))
