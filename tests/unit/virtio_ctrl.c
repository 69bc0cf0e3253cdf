// SPDX-License-Identifier: Apache-2.0
// virtio_ctrl.c - the control queue, split and packed (checklist A13).
#include <errno.h>
#include <string.h>
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
#define EVENT_IDX B(VIRTIO_RING_F_EVENT_IDX)
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

/* ---- commands ------------------------------------------------------------------------------ */

static void known_commands_work(bool packed)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };
	static const uint8_t on = 1;
	uint8_t table[4 + 6 + 4 + 12] = { 1 };

	table[10] = 2;
	up(packed);
	CU_EQ(ctl_command(&c, 0, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), OK);
	CU_EQ(ctl_command(&c, 0, VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1), OK);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_TABLE_SET, table, sizeof(table)), OK);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), OK);
	CU_EQ(dc(&c.r, 0, 4), 0x05040302);
	CU_EQ(dc(&c.r, 4, 2), 0x0706);
	CU_EQ(ctl_command(&c, 3, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), OK);
	CU_EQ(ctl_set_pairs(&c, 3), OK);
	CU_EQ(rig_stat(&c.r, "ctrl_ok"), 6);
	CU_EQ(rig_stat(&c.r, "ctrl_err"), 0);
	rig_down(&c.r);
}
BOTH(known_commands_work)

static void all_other_commands_are_refused(bool packed)
{
	unsigned ok = 0, err = 0;

	up(packed);
	for (unsigned class = 0; class < 256; class++) {
		for (unsigned cmd = 0; cmd < 256; cmd++) {
			uint8_t ack = ctl_command(&c, (uint8_t)class, (uint8_t)cmd, NULL, 0);

			ok += ack == OK;
			err += ack == ERR;
		}
	}
	CU_EQ(ok, 1);			/* ANNOUNCE_ACK has no payload */
	CU_EQ(err, 65535);
	CU_EQ(rig_status(&c.r), RUNNING);
	rig_down(&c.r);
}
BOTH(all_other_commands_are_refused)

static void what_was_not_negotiated_is_refused(void)
{
	static const uint8_t mac[6] = { 2, 3, 4, 5, 6, 7 };
	static const uint8_t on = 1;

	ctl_up(&c, CTRL, 2, 64);
	CU_EQ(ctl_command(&c, 0, VIRTIO_NET_CTRL_RX_PROMISC, &on, 1), ERR);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, 6), ERR);
	CU_EQ(ctl_command(&c, 3, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0), ERR);
	CU_EQ(ctl_set_pairs(&c, 1), ERR);
	rig_down(&c.r);
}

static void pairs_go_on_and_off(bool packed)
{
	up(packed);
	fake_forget(c.r.vhost);
	CU_EQ(ctl_set_pairs(&c, 3), OK);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(c.r.vhost->ring[q].enabled, q < 6);
	CU_EQ(fake_count(c.r.vhost, "ring_enable", -1), 4);
	CU_EQ(ctl_set_pairs(&c, 4), OK);
	CU_EQ(ctl_set_pairs(&c, 2), OK);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(c.r.vhost->ring[q].enabled, q < 4);
	CU_EQ(ctl_set_pairs(&c, 2), OK);
	CU_EQ(fake_count(c.r.vhost, "ring_enable", -1), 10);
	CU_EQ(rig_run(&c.r, V1 | MQ | CTRL, &c.q), RUNNING);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(c.r.vhost->ring[q].enabled, q < 2);
	rig_down(&c.r);
}
BOTH(pairs_go_on_and_off)

static void wrong_pairs_change_nothing(void)
{
	static const uint16_t wrong[] = { 0, 5, 0x100, 0x8000, 0x8001, 0xffff };
	static const uint8_t three[3] = { 2, 0, 0 };

	up(false);
	CU_EQ(ctl_set_pairs(&c, 2), OK);
	fake_forget(c.r.vhost);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		CU_EQ(ctl_set_pairs(&c, wrong[i]), ERR);
	CU_EQ(ctl_command(&c, 4, 0, three, 1), ERR);
	CU_EQ(ctl_command(&c, 4, 0, three, 3), ERR);
	CU_EQ(fake_count(c.r.vhost, "ring_enable", -1), 0);
	c.r.vhost->fail_name = "ring_enable";
	c.r.vhost->fail_rc = -ETIMEDOUT;
	CU_EQ(ctl_set_pairs(&c, 4), ERR);
	c.r.vhost->fail_ring = 7;		/* a pair and a half are on by then */
	CU_EQ(ctl_set_pairs(&c, 4), ERR);
	for (unsigned q = 0; q < 8; q++)
		CU_EQ(c.r.vhost->ring[q].enabled, q < 4);
	c.r.vhost->fail_name = NULL;
	CU_EQ(ctl_set_pairs(&c, 3), OK);
	CU_ASSERT(c.r.vhost->ring[4].enabled && !c.r.vhost->ring[6].enabled);
	rig_down(&c.r);
}

static void a_mac_is_judged(void)
{
	static const uint8_t bad[][6] = {
		{ 0 }, { 1, 2, 3, 4, 5, 6 }, { 255, 255, 255, 255, 255, 255 },
	};
	uint64_t was, gen;

	up(false);
	was = dc(&c.r, 0, 4);
	gen = cc(&c.r, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, bad[i], 6), ERR);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, bad[0], 5), ERR);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, bad[0], 7), ERR);
	CU_EQ(dc(&c.r, 0, 4), was);
	CU_EQ(cc(&c.r, VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2\2\2\2\2\2", 6), OK);
	CU_ASSERT(cc(&c.r, VIRTIO_PCI_COMMON_CFGGENERATION, 1) != gen);
	rig_set_status(&c.r, 0);
	CU_EQ(dc(&c.r, 0, 4), was);
	rig_down(&c.r);
}

static void a_fixed_mac_stays(void)
{
	static const struct rig_opts fixed = { .mac_fixed = true };
	static const struct rig_opts legacy = { .mac_fixed = true, .transitional = true };
	static const uint8_t home[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };
	uint64_t was;

	CU_EQ_FATAL(ctl_up_with(&c, CTL_ALL, &fixed), RUNNING);
	was = dc(&c.r, 0, 4);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, "\2\2\2\2\2\2", 6), ERR);
	CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_ADDR_SET, home, 6), OK);
	CU_EQ(dc(&c.r, 0, 4), was);
	rig_down(&c.r);
	CU_EQ_FATAL(rig_up(&c.r, &legacy), 0);
	for (unsigned i = 0; i < 6; i++)
		CU_EQ(lg_set(&c.r, 20 + i, 1, 2), 0);
	CU_EQ(lg(&c.r, 20, 4), was);
	rig_down(&c.r);
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
		CU_EQ(ctl_command(&c, 1, VIRTIO_NET_CTRL_MAC_TABLE_SET, payload, rows[i].len),
		      rows[i].ack);
	}
	CU_EQ(rig_status(&c.r), RUNNING);
	rig_down(&c.r);
}
BOTH(mac_tables_are_judged)

/* ---- shapes of buffers --------------------------------------------------------------------- */

/* The same command cut at every place, down to one byte a descriptor. */
static void any_cut_is_understood(bool packed)
{
	static const uint8_t cmd[] = { 1, 1, 2, 3, 4, 5, 6, 7 };

	up(packed);
	memcpy(rig_va(&c.r, c.page), cmd, sizeof(cmd));
	for (unsigned mask = 0; mask < 128; mask++) {
		struct qdrv_part p[10];
		unsigned n = 0, from = 0;
		uint32_t len = 0;

		for (unsigned i = 1; i <= sizeof(cmd); i++) {
			if (i < sizeof(cmd) && !(mask & 1u << (i - 1)))
				continue;
			p[n++] = (struct qdrv_part){ c.page + from, i - from, false };
			from = i;
		}
		p[n++] = (struct qdrv_part){ c.page + 100, 1, true };
		CU_EQ(ctl_send(&c, p, n, c.page + 100, &len), OK);
		CU_EQ(len, 1);
	}
	CU_EQ(dc(&c.r, 0, 4), 0x05040302);
	CU_EQ(memcmp(rig_va(&c.r, c.page), cmd, sizeof(cmd)), 0);
	rig_down(&c.r);
}
BOTH(any_cut_is_understood)

/* ANNOUNCE_ACK in buffers no driver would make; offsets are into the page. */
static void odd_buffers_come_back(bool packed)
{
	static const struct {
		struct qdrv_part p[4];
		unsigned n, ack_at, filled;	/* filled: writable bytes counted */
		uint8_t  ack;
	} rows[] = {
		/* no room for the answer */
		{ { { 0, 2, false } }, 1, 100, 0, CTL_UNTOUCHED },
		/* only room for the answer, and half a header */
		{ { { 100, 1, true } }, 1, 100, 1, ERR },
		{ { { 0, 1, false }, { 100, 1, true } }, 2, 100, 1, ERR },
		/* more room than needed: the last byte is the answer, what is counted is written */
		{ { { 0, 2, false }, { 100, 3, true }, { 200, 5, true } }, 3, 204, 8, OK },
		{ { { 0, 2, false }, { 100, 900, true } }, 2, 999, 256, OK },
		/* 64 KiB for a command that takes none */
		{ { { 0, 65536, false }, { 65536, 1, true } }, 2, 65536, 1, ERR },
		/* empty descriptors */
		{ { { 0, 0, false }, { 0, 2, false }, { 0, 0, true }, { 100, 1, true } }, 4, 100,
		  1, OK },
	};
	uint8_t *va;

	up(packed);
	va = rig_va(&c.r, c.page);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct qdrv_part p[4];
		uint32_t len = 0;

		memcpy(p, rows[i].p, sizeof(p));
		for (unsigned k = 0; k < 4; k++)
			p[k].addr += c.page;
		memset(va + 100, CTL_UNTOUCHED, 1000);
		va[0] = 3;
		va[1] = 0;
		CU_EQ(ctl_send(&c, p, rows[i].n, c.page + rows[i].ack_at, &len), rows[i].ack);
		CU_EQ(len, rows[i].filled);
		/* all of the first writable part that was counted, and nothing after it */
		CU_EQ(va[100], rows[i].ack_at == 65536 ? CTL_UNTOUCHED : rows[i].ack);
		CU_EQ(va[100 + 256], CTL_UNTOUCHED);
		if (rows[i].filled == 256)
			CU_EQ(va[100 + 255], OK);
	}
	CU_EQ(rig_status(&c.r), RUNNING);
	rig_down(&c.r);
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
	va = rig_va(&c.r, c.page);
	table = rig_alloc(&c.r, 4096, 16);
	va[0] = 4;
	va[1] = 0;
	va[2] = 4;
	va[3] = 0;
	memcpy(q, p, sizeof(q));
	q[0].addr = c.page;
	q[1].addr = c.page + 1;
	q[2].addr = c.page + 2;
	q[3].addr = c.page + 64;
	va[64] = CTL_UNTOUCHED;
	want = qdrv_add_indirect(&c.q, q, 4, rig_va(&c.r, table), table);
	rig_notify(&c.r, c.queue);
	CU_ASSERT(qdrv_used(&c.q, &id, &len, 1));
	CU_EQ(id, want);
	CU_EQ(len, 1);
	CU_EQ(va[64], OK);
	CU_ASSERT(c.r.vhost->ring[7].enabled);
	rig_down(&c.r);
}
BOTH(an_indirect_table_is_followed)

static void many_commands_in_one_notification(bool packed)
{
	unsigned n = 0;
	uint16_t id;
	uint32_t len;

	up(packed);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t at = c.page + 16 * i;
		uint8_t *va = rig_va(&c.r, at);

		va[0] = 4;
		va[1] = 0;
		va[2] = (uint8_t)(i % 4 + 1);
		va[3] = 0;
		va[8] = CTL_UNTOUCHED;
		qdrv_add(&c.q, (struct qdrv_part[]){ { at, 4, false }, { at + 8, 1, true } }, 2);
	}
	rig_notify(&c.r, c.queue);
	while (qdrv_used(&c.q, &id, &len, 2)) {
		CU_EQ(((uint8_t *)rig_va(&c.r, c.page + 16 * n))[8], OK);
		CU_EQ(id, packed ? (2 * n + 1) % 64 : 2 * n % 64);
		n++;
	}
	CU_EQ(n, 32);
	CU_ASSERT(c.r.vhost->ring[7].enabled);
	rig_down(&c.r);
}
BOTH(many_commands_in_one_notification)

static void the_driver_is_interrupted_as_it_asked(bool packed)
{
	int fds[10];

	up(packed);
	rig_irqs(&c.r, IOAPI_IRQ_MSIX, 10, fds);
	cc_set(&c.r, VIRTIO_PCI_COMMON_Q_SELECT, 2, c.queue);
	cc_set(&c.r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 9);
	CU_EQ(ctl_set_pairs(&c, 1), OK);
	CU_EQ(rig_fired(fds[9]), 1);
	qdrv_suppress(&c.q, 1, 0);
	CU_EQ(ctl_set_pairs(&c, 1), OK);
	CU_EQ(rig_fired(fds[9]), 0);
	qdrv_suppress(&c.q, packed ? 3 : 0, 0);
	CU_EQ(ctl_set_pairs(&c, 1), OK);
	CU_EQ(rig_fired(fds[9]), 1);
	for (unsigned i = 0; i < 10; i++)
		close(fds[i]);
	rig_down(&c.r);
}
BOTH(the_driver_is_interrupted_as_it_asked)

static void intx_of_the_control_queue(void)
{
	int fd;

	up(false);
	rig_irqs(&c.r, IOAPI_IRQ_INTX, 1, &fd);
	CU_EQ(ctl_set_pairs(&c, 1), OK);
	CU_EQ(rig_fired(fd), 1);
	CU_EQ(rig_read(&c.r, IOAPI_BAR4, c.r.isr, 1), 1);
	close(fd);
	rig_down(&c.r);
}

static void event_idx_asks_for_the_next_buffer(void)
{
	ctl_up(&c, CTL_ALL | EVENT_IDX, 1, 64);
	for (unsigned i = 1; i <= 200; i++) {
		CU_EQ(ctl_command(&c, 3, 0, NULL, 0), OK);
		CU_EQ(qdrv_avail_event(&c.q), i);
	}
	rig_down(&c.r);
}

/* For the log: every byte of the ring that changes, and the answer. */
static bool told(const struct vhost *v, uint64_t addr)
{
	for (unsigned i = 0; i < v->writes && i < FAKE_WRITES_MAX; i++)
		if (addr >= v->write[i].addr && addr - v->write[i].addr < v->write[i].len)
			return true;
	return false;
}

static void what_the_device_writes_is_told(bool packed)
{
	static uint8_t was[16384];
	struct qdrv_part p[2];
	unsigned changed = 0, untold = 0;
	uint64_t size = qdrv_size(64), ack;
	struct vhost *v;
	uint8_t *va;

	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | EVENT_IDX | (packed ? PACKED : 0), 1, 64), RUNNING);
	CU_ASSERT_FATAL(size <= sizeof(was));
	v = fake_vhost();
	v->writes = 0;
	ack = c.page + 4096;
	p[0] = (struct qdrv_part){ c.page, 2, false };
	p[1] = (struct qdrv_part){ ack, 1, true };
	va = rig_va(&c.r, c.page);
	va[0] = VIRTIO_NET_CTRL_ANNOUNCE;
	qdrv_add(&c.q, p, 2);
	memcpy(was, c.q.va, size);
	rig_notify(&c.r, c.queue);
	for (uint64_t i = 0; i < size; i++) {
		if (was[i] == c.q.va[i])
			continue;
		changed++;
		untold += !told(v, c.q.desc + i);
	}
	CU_ASSERT(changed > 0);
	CU_EQ(untold, 0);
	CU_ASSERT(told(v, ack));
	CU_ASSERT(!told(v, ack + 1));
	CU_ASSERT(!told(v, c.page));
	CU_EQ(v->calls_unlocked, 0);
	rig_down(&c.r);
}
BOTH(what_the_device_writes_is_told)

#define ROW(text, name) \
	{ text ", split", name##_split }, { text ", packed", name##_packed }

CU_MAIN("virtio/ctrl",
	ROW("A-CV-01,03,05,09,13 known commands work", known_commands_work),
	ROW("A-CV-02,20..26 all other commands are refused", all_other_commands_are_refused),
	{ "A-CV-02 what was not negotiated is refused", what_was_not_negotiated_is_refused },
	ROW("A-CV-14,15 pairs go on and off", pairs_go_on_and_off),
	{ "A-CV-17 wrong pairs change nothing", wrong_pairs_change_nothing },
	{ "A-CV-09 A-NC-14 a MAC is judged", a_mac_is_judged },
	{ "a fixed MAC stays, by the control queue and by the legacy registers",
	  a_fixed_mac_stays },
	ROW("A-CV-27 MAC tables are judged", mac_tables_are_judged),
	ROW("A-SR-01,02 A-PR-03,07 any cut is understood", any_cut_is_understood),
	ROW("A-CV-28 A-SR-14 odd buffers come back", odd_buffers_come_back),
	ROW("an indirect table is followed", an_indirect_table_is_followed),
	ROW("A-PR-01,02,11 A-ST-16 many commands in one notification",
	    many_commands_in_one_notification),
	ROW("A-SR-08,09 A-PR-09 the driver is interrupted as it asked",
	    the_driver_is_interrupted_as_it_asked),
	{ "A-IS-02 INTx of the control queue", intx_of_the_control_queue },
	ROW("what the device writes is told to the log", what_the_device_writes_is_told),
	{ "EVENT_IDX asks for the next buffer", event_idx_asks_for_the_next_buffer })
