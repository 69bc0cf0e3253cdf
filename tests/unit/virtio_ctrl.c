// SPDX-License-Identifier: Apache-2.0
// virtio_ctrl.c - the control queue, good and hostile, split and packed (checklist A8, A9, A13).
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define PACKED B(VIRTIO_F_RING_PACKED)
#define INDIRECT B(VIRTIO_RING_F_INDIRECT_DESC)
#define EVENT_IDX B(VIRTIO_RING_F_EVENT_IDX)
#define ALL_CTRL (CTRL | B(VIRTIO_NET_F_CTRL_RX) | B(VIRTIO_NET_F_CTRL_MAC_ADDR) | \
		  B(VIRTIO_NET_F_GUEST_ANNOUNCE) | B(VIRTIO_NET_F_MAC) | B(VIRTIO_NET_F_STATUS))
#define RUNNING (RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK)

#define OK 0
#define ERR 1
#define UNTOUCHED 0xa5

static struct rig r;
static struct qdrv ctrl;
static uint64_t page;		/* 64 KiB for commands */
static unsigned queue;

static void up_with(uint64_t features, unsigned pairs, uint16_t size)
{
	CU_EQ_FATAL(rig_up(&r, &(struct rig_opts){ .pairs = pairs, .queue_size = size }), 0);
	queue = features & MQ ? 2 * pairs : 2;
	CU_EQ_FATAL(rig_run(&r, V1 | features, &ctrl), RUNNING);
	page = rig_alloc(&r, 0x11000, 4096);
}

static void up(bool packed)
{
	up_with(ALL_CTRL | MQ | INDIRECT | (packed ? PACKED : 0), 4, 64);
}

/* Sends what lies at `page` as given and returns the ack byte; *len the bytes counted. */
static uint8_t send_parts(const struct qdrv_part *p, unsigned n, uint64_t ack_at, uint32_t *len)
{
	uint16_t id, want;
	uint32_t used = UINT32_MAX;

	*(uint8_t *)rig_va(&r, ack_at) = UNTOUCHED;
	want = qdrv_add(&ctrl, p, n);
	rig_notify(&r, queue);
	if (!qdrv_used(&ctrl, &id, &used, n))
		return 0xee;
	CU_EQ(id, want);
	*len = used;
	return *(uint8_t *)rig_va(&r, ack_at);
}

static uint8_t command(uint8_t class, uint8_t cmd, const void *payload, uint32_t len)
{
	uint8_t *va = rig_va(&r, page);
	const struct qdrv_part p[] = {
		{ page, 2 + len, false }, { page + 0x10fff, 1, true },
	};
	uint32_t used = 0;
	uint8_t ack;

	va[0] = class;
	va[1] = cmd;
	if (len)
		memcpy(va + 2, payload, len);
	ack = send_parts(p, 2, page + 0x10fff, &used);
	if (ack != 0xee)
		CU_EQ(used, 1);
	return ack;
}

static uint8_t set_pairs(uint16_t n)
{
	return command(VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &n, sizeof(n));
}

#define BOTH(name) \
	static void name##_split(void) { name(false); } \
	static void name##_packed(void) { name(true); }

/* ---- commands ------------------------------------------------------------------------------ */

static void known_commands_work(bool packed)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };
	static const uint8_t on = 1;
	uint8_t table[4 + 6 + 4 + 12] = { 1 };

	table[10] = 2;
	up(packed);
	CU_EQ(command(0, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), OK);
	CU_EQ(command(0, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), OK);
	CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), OK);
	CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), OK);
	CU_EQ(dc(&r, 0, 4), 0x05040302);
	CU_EQ(dc(&r, 4, 2), 0x0706);
	CU_EQ(command(3, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), OK);
	CU_EQ(set_pairs(3), OK);
	CU_EQ(rig_stat(&r, "ctrl_ok"), 6);
	CU_EQ(rig_stat(&r, "ctrl_err"), 0);
	rig_down(&r);
}
BOTH(known_commands_work)

static void all_other_commands_are_refused(bool packed)
{
	unsigned ok = 0, err = 0;

	up(packed);
	for (unsigned class = 0; class < 256; class++) {
		for (unsigned cmd = 0; cmd < 256; cmd++) {
			uint8_t ack = command((uint8_t)class, (uint8_t)cmd, NULL, 0);

			ok += ack == OK;
			err += ack == ERR;
		}
	}
	CU_EQ(ok, 1);			/* ANNOUNCE_ACK has no payload */
	CU_EQ(err, 65535);
	CU_EQ(rig_status(&r), RUNNING);
	rig_down(&r);
}
BOTH(all_other_commands_are_refused)

static void what_was_not_negotiated_is_refused(void)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };
	static const uint8_t on = 1;

	up_with(CTRL, 2, 64);
	CU_EQ(command(0, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), ERR);
	CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), ERR);
	CU_EQ(command(3, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), ERR);
	CU_EQ(set_pairs(1), ERR);
	rig_down(&r);
}

static void pairs_go_on_and_off(bool packed)
{
	up(packed);
	fake_forget(r.vhost);
	CU_EQ(set_pairs(3), OK);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(r.vhost->ring[q].enabled, q < 6);
	CU_EQ(fake_count(r.vhost, "ring_enable", -1), 4);
	CU_EQ(set_pairs(4), OK);
	CU_EQ(set_pairs(2), OK);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(r.vhost->ring[q].enabled, q < 4);
	CU_EQ(set_pairs(2), OK);
	CU_EQ(fake_count(r.vhost, "ring_enable", -1), 10);
	CU_EQ(rig_run(&r, V1 | MQ | CTRL, &ctrl), RUNNING);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(r.vhost->ring[q].enabled, q < 2);
	rig_down(&r);
}
BOTH(pairs_go_on_and_off)

static void wrong_pairs_change_nothing(void)
{
	static const uint16_t wrong[] = { 0, 5, 0x100, 0x8000, 0x8001, 0xffff };
	static const uint8_t three[3] = { 2, 0, 0 };

	up(false);
	CU_EQ(set_pairs(2), OK);
	fake_forget(r.vhost);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		CU_EQ(set_pairs(wrong[i]), ERR);
	CU_EQ(command(4, 0, three, 1), ERR);
	CU_EQ(command(4, 0, three, 3), ERR);
	CU_EQ(fake_count(r.vhost, "ring_enable", -1), 0);
	r.vhost->fail_name = "ring_enable";
	r.vhost->fail_rc = -ETIMEDOUT;
	CU_EQ(set_pairs(4), ERR);
	r.vhost->fail_name = NULL;
	CU_EQ(set_pairs(3), OK);
	CU_ASSERT(r.vhost->ring[4].enabled && !r.vhost->ring[6].enabled);
	rig_down(&r);
}

static void a_mac_is_judged(void)
{
	static const uint8_t bad[][6] = { { 0 }, { 1, 2, 3, 4, 5, 6 }, { 255, 255, 255, 255, 255, 255 } };
	uint64_t was, gen;

	up(false);
	was = dc(&r, 0, 4);
	gen = cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, bad[i], 6), ERR);
	CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, bad[0], 5), ERR);
	CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, bad[0], 7), ERR);
	CU_EQ(dc(&r, 0, 4), was);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
	CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2\2\2\2\2\2", 6), OK);
	CU_ASSERT(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1) != gen);
	rig_set_status(&r, 0);
	CU_EQ(dc(&r, 0, 4), was);
	rig_down(&r);
}

/* Counts that the payload does not hold, with sums chosen to wrap 32-bit products. */
static void mac_tables_are_judged(bool packed)
{
	static const struct { uint32_t unis, multis, len; uint8_t ack; } rows[] = {
		{ 0, 0, 8, OK }, { 1, 0, 14, OK }, { 0, 1, 14, OK }, { 64, 64, 776, OK },
		{ 65, 0, 398, OK }, { 5000, 5000, 60008, OK },
		{ 0, 0, 7, ERR }, { 0, 0, 9, ERR }, { 0, 0, 0, ERR }, { 0, 0, 4, ERR },
		{ 1, 0, 13, ERR }, { 1, 0, 10, ERR }, { 2, 0, 14, ERR }, { 0, 1, 13, ERR },
		{ 0xffffffff, 0, 14, ERR }, { 0x2aaaaaab, 0, 14, ERR }, { 0, 0x2aaaaaab, 14, ERR },
		{ 0, 0xffffffff, 8, ERR }, { 0x2aaaaaaa, 0, 8, ERR }, { 0xaaaaaaab, 0, 10, ERR },
		{ 0, 0, 65534, ERR },
	};
	static uint8_t payload[65536];

	up(packed);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		memset(payload, 2, sizeof(payload));
		memcpy(payload, &rows[i].unis, 4);
		if (rows[i].unis < 10000)
			memcpy(payload + 4 + 6 * rows[i].unis, &rows[i].multis, 4);
		CU_EQ(command(1, VIRTIO_NET_CTRL_MAC_TABLE_SET, payload, rows[i].len), rows[i].ack);
	}
	CU_EQ(rig_status(&r), RUNNING);
	rig_down(&r);
}
BOTH(mac_tables_are_judged)

/* ---- shapes of buffers --------------------------------------------------------------------- */

/* The same command cut at every place, down to one byte a descriptor. */
static void any_cut_is_understood(bool packed)
{
	static const uint8_t cmd[] = { 1, 1, 2, 3, 4, 5, 6, 7 };

	up(packed);
	memcpy(rig_va(&r, page), cmd, sizeof(cmd));
	for (unsigned mask = 0; mask < 128; mask++) {
		struct qdrv_part p[10];
		unsigned n = 0, from = 0;
		uint32_t len = 0;

		for (unsigned i = 1; i <= sizeof(cmd); i++) {
			if (i < sizeof(cmd) && !(mask & 1u << (i - 1)))
				continue;
			p[n++] = (struct qdrv_part){ page + from, i - from, false };
			from = i;
		}
		p[n++] = (struct qdrv_part){ page + 100, 1, true };
		CU_EQ(send_parts(p, n, page + 100, &len), OK);
		CU_EQ(len, 1);
	}
	CU_EQ(dc(&r, 0, 4), 0x05040302);
	CU_EQ(memcmp(rig_va(&r, page), cmd, sizeof(cmd)), 0);
	rig_down(&r);
}
BOTH(any_cut_is_understood)

static void odd_buffers_come_back(bool packed)
{
	uint32_t len = 0;
	uint8_t *va;

	up(packed);
	va = rig_va(&r, page);
	va[0] = 3;
	va[1] = 0;
	/* no room for the answer */
	CU_EQ(send_parts(&(struct qdrv_part){ page, 2, false }, 1, page + 100, &len), UNTOUCHED);
	CU_EQ(len, 0);
	/* only room for the answer, and half a header */
	CU_EQ(send_parts(&(struct qdrv_part){ page + 100, 1, true }, 1, page + 100, &len), ERR);
	CU_EQ(len, 1);
	CU_EQ(send_parts((struct qdrv_part[]){ { page, 1, false }, { page + 100, 1, true } }, 2,
			 page + 100, &len), ERR);
	/* more room than needed: the last byte is the answer, and what is counted is written */
	memset(va + 100, 0x77, 1000);
	CU_EQ(send_parts((struct qdrv_part[]){ { page, 2, false }, { page + 100, 3, true },
			 { page + 200, 5, true } }, 3, page + 204, &len), OK);
	CU_EQ(len, 8);
	CU_ASSERT(va[100] == OK && va[102] == OK && va[103] == 0x77 && va[200] == OK);
	CU_EQ(send_parts((struct qdrv_part[]){ { page, 2, false }, { page + 100, 900, true } }, 2,
			 page + 999, &len), OK);
	CU_ASSERT(len <= 900 && va[100 + len - 1] == OK && va[100 + len] == 0x77);
	/* 64 KiB for a command that takes none */
	CU_EQ(send_parts((struct qdrv_part[]){ { page, 65536, false },
			 { page + 0x10000, 1, true } }, 2, page + 0x10000, &len), ERR);
	/* empty descriptors */
	CU_EQ(send_parts((struct qdrv_part[]){ { page, 0, false }, { page, 2, false },
			 { page, 0, true }, { page + 100, 1, true } }, 4, page + 100, &len), OK);
	CU_EQ(rig_status(&r), RUNNING);
	rig_down(&r);
}
BOTH(odd_buffers_come_back)

static void an_indirect_table_is_followed(bool packed)
{
	const struct qdrv_part p[] = {
		{ 0, 1, false }, { 0, 1, false }, { 0, 2, false }, { 0, 1, true },
	};
	struct qdrv_part q[4];
	uint64_t table;
	uint16_t id, want;
	uint32_t len;
	uint8_t *va;

	up(packed);
	va = rig_va(&r, page);
	table = rig_alloc(&r, 4096, 16);
	va[0] = 4;
	va[1] = 0;
	va[2] = 4;
	va[3] = 0;
	memcpy(q, p, sizeof(q));
	q[0].addr = page;
	q[1].addr = page + 1;
	q[2].addr = page + 2;
	q[3].addr = page + 64;
	va[64] = UNTOUCHED;
	want = qdrv_add_indirect(&ctrl, q, 4, rig_va(&r, table), table);
	rig_notify(&r, queue);
	CU_ASSERT(qdrv_used(&ctrl, &id, &len, 1));
	CU_EQ(id, want);
	CU_EQ(len, 1);
	CU_EQ(va[64], OK);
	CU_ASSERT(r.vhost->ring[7].enabled);
	rig_down(&r);
}
BOTH(an_indirect_table_is_followed)

static void many_commands_in_one_notification(bool packed)
{
	unsigned n = 0;
	uint16_t id;
	uint32_t len;

	up(packed);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t at = page + 16 * i;
		uint8_t *va = rig_va(&r, at);

		va[0] = 4;
		va[1] = 0;
		va[2] = (uint8_t)(i % 4 + 1);
		va[3] = 0;
		va[8] = UNTOUCHED;
		qdrv_add(&ctrl, (struct qdrv_part[]){ { at, 4, false }, { at + 8, 1, true } }, 2);
	}
	rig_notify(&r, queue);
	while (qdrv_used(&ctrl, &id, &len, 2)) {
		CU_EQ(((uint8_t *)rig_va(&r, page + 16 * n))[8], OK);
		CU_EQ(id, packed ? (2 * n + 1) % 64 : 2 * n % 64);
		n++;
	}
	CU_EQ(n, 32);
	CU_ASSERT(r.vhost->ring[7].enabled);
	rig_down(&r);
}
BOTH(many_commands_in_one_notification)

static void the_driver_is_interrupted_as_it_asked(bool packed)
{
	int fds[10];

	up(packed);
	rig_irqs(&r, IOAPI_IRQ_MSIX, 10, fds);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, queue);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 9);
	CU_EQ(set_pairs(1), OK);
	CU_EQ(rig_fired(fds[9]), 1);
	qdrv_suppress(&ctrl, 1, 0);
	CU_EQ(set_pairs(1), OK);
	CU_EQ(rig_fired(fds[9]), 0);
	qdrv_suppress(&ctrl, packed ? 3 : 0, 0);
	CU_EQ(set_pairs(1), OK);
	CU_EQ(rig_fired(fds[9]), 1);
	for (unsigned i = 0; i < 10; i++)
		close(fds[i]);
	rig_down(&r);
}
BOTH(the_driver_is_interrupted_as_it_asked)

static void intx_of_the_control_queue(void)
{
	int fd;

	up(false);
	rig_irqs(&r, IOAPI_IRQ_INTX, 1, &fd);
	CU_EQ(set_pairs(1), OK);
	CU_EQ(rig_fired(fd), 1);
	CU_EQ(rig_read(&r, IOAPI_BAR4, r.isr, 1), 1);
	close(fd);
	rig_down(&r);
}

static void event_idx_asks_for_the_next_buffer(void)
{
	up_with(ALL_CTRL | EVENT_IDX, 1, 64);
	for (unsigned i = 1; i <= 200; i++) {
		CU_EQ(command(3, 0, NULL, 0), OK);
		CU_EQ(qdrv_avail_event(&ctrl), i);
	}
	rig_down(&r);
}

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

	memcpy(rig_va(&r, at), &e, sizeof(e));
}

static void build_bad(enum bad_chain kind)
{
	uint64_t table = page + 0x1000;

	switch (kind) {
	case LOOP:
		qdrv_desc(&ctrl, 0, page, 1, QDRV_NEXT, 1);
		qdrv_desc(&ctrl, 1, page, 1, QDRV_NEXT, 0);
		break;
	case NEXT_OUT:
		qdrv_desc(&ctrl, 0, page, 2, QDRV_NEXT, 64);
		break;
	case NESTED:
		table_entry(table, table, 16, QDRV_INDIRECT, 0);
		qdrv_desc(&ctrl, 0, table, 16, QDRV_INDIRECT, 0);
		break;
	case INDIRECT_NEXT:
		table_entry(table, page, 2, 0, 0);
		qdrv_desc(&ctrl, 0, table, 16, QDRV_INDIRECT | QDRV_NEXT, 1);
		qdrv_desc(&ctrl, 1, page + 100, 1, QDRV_WRITE, 0);
		break;
	case TABLE_LEN_0:
		qdrv_desc(&ctrl, 0, table, 0, QDRV_INDIRECT, 0);
		break;
	case TABLE_LEN_ODD:
		qdrv_desc(&ctrl, 0, table, 17, QDRV_INDIRECT, 0);
		break;
	case TABLE_OUT:
		qdrv_desc(&ctrl, 0, RIG_IOVA + RIG_MEM - 16, 32, QDRV_INDIRECT, 0);
		table_entry(RIG_IOVA + RIG_MEM - 16, page, 2, QDRV_NEXT, 1);
		break;
	case READ_AFTER:
		qdrv_desc(&ctrl, 0, page + 100, 1, QDRV_WRITE | QDRV_NEXT, 1);
		qdrv_desc(&ctrl, 1, page, 2, 0, 0);
		break;
	case ADDR_OUT:
		qdrv_desc(&ctrl, 0, RIG_IOVA + RIG_MEM - 1, 2, QDRV_NEXT, 1);
		qdrv_desc(&ctrl, 1, page + 100, 1, QDRV_WRITE, 0);
		break;
	case ADDR_WRAP:
		qdrv_desc(&ctrl, 0, UINT64_MAX, 2, QDRV_NEXT, 1);
		qdrv_desc(&ctrl, 1, page + 100, 1, QDRV_WRITE, 0);
		break;
	case SUM:
		for (uint16_t i = 0; i < 3; i++)
			qdrv_desc(&ctrl, i, page, 0x7fffffff, i < 2 ? QDRV_NEXT : 0, i + 1);
		break;
	case TABLE_LOOP:
		table_entry(table, page, 1, QDRV_NEXT, 1);
		table_entry(table + 16, page, 1, QDRV_NEXT, 0);
		qdrv_desc(&ctrl, 0, table, 32, QDRV_INDIRECT, 0);
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
		memset(rig_va(&r, page), 0, 0x1000);
		build_bad((enum bad_chain)kind);
		if (kind == AVAIL_JUMP)
			qdrv_set_avail_idx(&ctrl, 65);
		else
			qdrv_show(&ctrl, kind == HEAD_OUT ? 64 : 0, 1);
		rig_notify(&r, queue);
		if (rig_status(&r) != (RUNNING | RIG_NEEDS_RESET))
			printf("kind %u ", kind);
		CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
		CU_EQ(rig_stat(&r, "ctrl_broken"), 1);
		CU_EQ(rig_notify(&r, queue), 0);
		CU_EQ(rig_stat(&r, "ctrl_broken"), 1);
		CU_EQ(rig_run(&r, V1 | ALL_CTRL | MQ, &ctrl), RUNNING);
		CU_EQ(set_pairs(2), OK);
		rig_down(&r);
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
		table_entry(RIG_IOVA + 0x2000, page, 16, 0, QDRV_INDIRECT);
		for (uint16_t k = 0; k < bad[i].n; k++)
			qdrv_desc(&ctrl, k, RIG_IOVA + bad[i].addr, bad[i].len,
				 k + 1u < bad[i].n || bad[i].n == 64 ? bad[i].flags :
				 bad[i].flags & ~QDRV_NEXT, 0);
		qdrv_show(&ctrl, 0, bad[i].n);
		rig_notify(&r, queue);
		CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
		CU_EQ(rig_run(&r, V1 | ALL_CTRL | MQ | PACKED, &ctrl), RUNNING);
		CU_EQ(set_pairs(2), OK);
		rig_down(&r);
	}
}

static void indirect_without_the_feature_breaks_it(bool packed)
{
	up_with(ALL_CTRL | (packed ? PACKED : 0), 1, 64);
	table_entry(page + 0x1000, page, 2, 0, 0);
	qdrv_desc(&ctrl, 0, page + 0x1000, 16, QDRV_INDIRECT, 0);
	qdrv_show(&ctrl, 0, 1);
	rig_notify(&r, queue);
	CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
	rig_down(&r);
}
BOTH(indirect_without_the_feature_breaks_it)

/* Split 2.7.5.3.2: WRITE on the descriptor of a table means nothing; plain ones may precede. */
static void direct_then_indirect(void)
{
	uint16_t id;
	uint32_t len;
	uint8_t *va;

	up(false);
	va = rig_va(&r, page);
	va[0] = 3;
	va[1] = 0;
	table_entry(page + 0x1000, page + 1, 1, QDRV_NEXT, 1);
	table_entry(page + 0x1010, page + 100, 1, QDRV_WRITE, 0);
	qdrv_desc(&ctrl, 0, page, 1, QDRV_NEXT, 1);
	qdrv_desc(&ctrl, 1, page + 0x1000, 32, QDRV_INDIRECT | QDRV_WRITE, 0);
	va[100] = UNTOUCHED;
	qdrv_show(&ctrl, 0, 1);
	rig_notify(&r, queue);
	CU_ASSERT(qdrv_used(&ctrl, &id, &len, 1));
	CU_EQ(len, 1);
	CU_EQ(va[100], OK);
	rig_down(&r);
}

static void memory_that_vanished_breaks_it(bool packed)
{
	uint64_t gone;

	up(packed);
	/* behind the device's back: the mapping stays known but cannot be touched */
	CU_EQ(mprotect(rig_va(&r, page), 4096, PROT_NONE), 0);
	qdrv_add(&ctrl, (struct qdrv_part[]){ { page, 2, false }, { page + 0x2000, 1, true } }, 2);
	rig_notify(&r, queue);
	CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
	CU_EQ(mprotect(rig_va(&r, page), 4096, PROT_READ | PROT_WRITE), 0);
	rig_down(&r);
	/* properly taken away while a command waits */
	up(packed);
	qdrv_add(&ctrl, (struct qdrv_part[]){ { page, 2, false }, { page + 100, 1, true } }, 2);
	CU_EQ(ioapi_dma_unmap(r.domain, RIG_IOVA, RIG_MEM, &gone), 0);
	rig_notify(&r, queue);
	CU_EQ(rig_stat(&r, "ctrl_ok"), 0);
	CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
	rig_down(&r);
}
BOTH(memory_that_vanished_breaks_it)

/* Random rings: nothing but the verdict may depend on them, and the device resets every time. */
static void noise_on_the_ring(bool packed)
{
	uint64_t seed = 88172645463325252ull;

	up(packed);
	for (unsigned i = 0; i < 3000; i++) {
		uint8_t *ring;

		r.used = 0;
		CU_EQ(rig_run(&r, V1 | ALL_CTRL | MQ | INDIRECT | (packed ? PACKED : 0), &ctrl),
		      RUNNING);
		ring = ctrl.va;
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
			qdrv_set_avail_idx(&ctrl, seed % 66);
		}
		rig_notify(&r, queue);
		rig_notify(&r, queue);
	}
	rig_down(&r);
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
	CU_EQ_FATAL(pthread_create(&t, NULL, flip, rig_va(&r, page)), 0);
	for (unsigned i = 0; i < 20000; i++) {
		uint8_t ack;
		uint32_t len;

		ack = send_parts((struct qdrv_part[]){ { page, 16, false },
				 { page + 0x4000, 1, true } }, 2, page + 0x4000, &len);
		CU_ASSERT(ack == OK || ack == ERR);
		CU_EQ(dc(&r, 0, 1) & 1, 0);
	}
	flipping = false;
	pthread_join(t, NULL);
	CU_EQ(rig_status(&r), RUNNING);
	rig_down(&r);
}
BOTH(contents_change_while_they_are_read)

#define ROW(text, name) \
	{ text ", split", name##_split }, { text ", packed", name##_packed }

CU_MAIN("virtio/ctrl",
	ROW("A-CV-01,03,05,09,13 known commands work", known_commands_work),
	ROW("A-CV-02,20..26 all other commands are refused", all_other_commands_are_refused),
	{ "A-CV-02 what was not negotiated is refused", what_was_not_negotiated_is_refused },
	ROW("A-CV-14,15 pairs go on and off", pairs_go_on_and_off),
	{ "A-CV-17 wrong pairs change nothing", wrong_pairs_change_nothing },
	{ "A-CV-09 A-NC-14 a MAC is judged", a_mac_is_judged },
	ROW("A-CV-27 MAC tables are judged", mac_tables_are_judged),
	ROW("A-SR-01,02 A-PR-03,07 any cut is understood", any_cut_is_understood),
	ROW("A-CV-28 A-SR-14 odd buffers come back", odd_buffers_come_back),
	ROW("an indirect table is followed", an_indirect_table_is_followed),
	ROW("A-PR-01,02,11 A-ST-16 many commands in one notification",
	    many_commands_in_one_notification),
	ROW("A-SR-08,09 A-PR-09 the driver is interrupted as it asked",
	    the_driver_is_interrupted_as_it_asked),
	{ "A-IS-02 INTx of the control queue", intx_of_the_control_queue },
	{ "EVENT_IDX asks for the next buffer", event_idx_asks_for_the_next_buffer },
	{ "A-SR-17,18 a bad chain breaks the queue only", a_bad_chain_breaks_the_queue_only },
	{ "A-PR-10 a bad packed chain breaks the queue only",
	  a_bad_packed_chain_breaks_the_queue_only },
	ROW("A-SR-17 indirect without the feature breaks it",
	    indirect_without_the_feature_breaks_it),
	{ "A-SR-05,06 direct, then indirect", direct_then_indirect },
	ROW("memory that vanished breaks it", memory_that_vanished_breaks_it),
	ROW("A-SR-17 noise on the ring", noise_on_the_ring),
	ROW("A-CV-29 contents change while they are read", contents_change_while_they_are_read))
