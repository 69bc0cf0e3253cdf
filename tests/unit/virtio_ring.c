// SPDX-License-Identifier: Apache-2.0
// virtio_ring.c - what the device does to a ring it consumes, and leaves alone (checklist A8-A10).
#include <errno.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/ctl.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define PACKED B(VIRTIO_F_RING_PACKED)
#define EVENT_IDX B(VIRTIO_RING_F_EVENT_IDX)
#define RUNNING (RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK)
#define OK 0
#define ERR 1

static struct ctl c;

static void up(bool packed, uint64_t more)
{
	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | more | (packed ? PACKED : 0), 1, 64), RUNNING);
}

#define BOTH(name) \
	static void name##_split(void) { name(false); } \
	static void name##_packed(void) { name(true); }

/* An ANNOUNCE_ACK at `at`, its answer 8 bytes further on. */
static uint16_t offer(uint64_t at)
{
	uint8_t *va = rig_va(&c.r, at);

	va[0] = VIRTIO_NET_CTRL_ANNOUNCE;
	va[1] = VIRTIO_NET_CTRL_ANNOUNCE_ACK;
	va[8] = CTL_UNTOUCHED;
	return qdrv_add(&c.q, (struct qdrv_part[]){ { at, 2, false }, { at + 8, 1, true } }, 2);
}

/* ---- before DRIVER_OK ---------------------------------------------------------------------- */

static void nothing_is_consumed_before_driver_ok(bool packed)
{
	uint64_t bits = V1 | CTL_ALL | (packed ? PACKED : 0);
	uint16_t id;
	uint32_t len;

	CU_EQ_FATAL(rig_up(&c.r, &(struct rig_opts){ .queue_size = 64 }), 0);
	rig_negotiate(&c.r, bits);
	rig_queue(&c.r, &c.q, 2, 0, packed);
	c.page = rig_alloc(&c.r, 4096, 4096);
	offer(c.page);
	CU_EQ(rig_notify(&c.r, 2), 0);
	CU_EQ(qdrv_used(&c.q, &id, &len, 2), false);
	CU_EQ(((uint8_t *)rig_va(&c.r, c.page))[8], CTL_UNTOUCHED);
	CU_EQ(fake_count(c.r.vhost, "start", -1), 0);
	/* What was offered early is served as soon as it is asked for. */
	rig_set_status(&c.r, RUNNING);
	rig_notify(&c.r, 2);
	CU_EQ(qdrv_used(&c.q, &id, &len, 2), true);
	rig_down(&c.r);
}
BOTH(nothing_is_consumed_before_driver_ok)

/* ---- what is left alone -------------------------------------------------------------------- */

/* Whatever lies in the writable part, the answer is the same; a command there is none. */
static void writable_buffers_are_not_read(bool packed)
{
	static const uint8_t poison[] = { 0x00, 0x01, 0x55, 0xff };
	uint8_t *va;

	up(packed, 0);
	va = rig_va(&c.r, c.page);
	for (unsigned i = 0; i < ARRAY_SIZE(poison); i++) {
		const struct qdrv_part p[] = { { c.page, 2, false }, { c.page + 64, 16, true } };
		uint32_t len = 0;

		va[0] = VIRTIO_NET_CTRL_ANNOUNCE;
		va[1] = VIRTIO_NET_CTRL_ANNOUNCE_ACK;
		memset(va + 64, poison[i], 16);
		CU_EQ(ctl_send(&c, p, 2, c.page + 64 + 15, &len), OK);
		CU_EQ(len, 16);
		for (unsigned k = 0; k < 16; k++)
			CU_EQ(va[64 + k], OK);
		/* The same command, writable: not executed. */
		va[64] = VIRTIO_NET_CTRL_ANNOUNCE;
		va[65] = VIRTIO_NET_CTRL_ANNOUNCE_ACK;
		CU_EQ(ctl_send(&c, p + 1, 1, c.page + 64 + 15, &len), ERR);
	}
	rig_down(&c.r);
}
BOTH(writable_buffers_are_not_read)

static void split_descriptors_are_never_written(void)
{
	uint8_t was[64 * 16];
	uint16_t id;
	uint32_t len;

	up(false, 0);
	for (unsigned i = 0; i < 32; i++)
		offer(c.page + 16 * i);
	memcpy(was, rig_va(&c.r, c.q.desc), sizeof(was));
	rig_notify(&c.r, c.queue);
	for (unsigned i = 0; i < 32; i++)
		CU_EQ(qdrv_used(&c.q, &id, &len, 2), true);
	CU_EQ(memcmp(was, rig_va(&c.r, c.q.desc), sizeof(was)), 0);
	rig_down(&c.r);
}

/* A slot that was given back is the driver's: it stays as it is until that uses it again. */
static void used_packed_descriptors_are_left_alone(void)
{
	uint8_t was[64 * 16];
	uint16_t id;
	uint32_t len;

	up(true, 0);
	for (unsigned i = 0; i < 31; i++) {
		offer(c.page + 16 * i);
		rig_notify(&c.r, c.queue);
		CU_EQ(qdrv_used(&c.q, &id, &len, 2), true);
		memcpy(was + 32 * i, (uint8_t *)rig_va(&c.r, c.q.desc) + 32 * i, 32);
		CU_EQ(memcmp(was, rig_va(&c.r, c.q.desc), 32 * (i + 1)), 0);
	}
	/* Of a slot only id, length and flags are written: the address is the driver's still. */
	CU_EQ(*(uint64_t *)rig_va(&c.r, c.q.desc), c.page);
	rig_down(&c.r);
}

/* ---- flags and events of the device --------------------------------------------------------- */

static uint16_t used_flags(void)
{
	return *(uint16_t *)rig_va(&c.r, c.q.used);
}

static void used_flags_are_0_or_1_and_0_with_event_idx(void)
{
	for (unsigned event = 0; event < 2; event++) {
		up(false, event ? EVENT_IDX : 0);
		for (unsigned i = 0; i < 200; i++) {
			CU_ASSERT(used_flags() <= (event ? 0 : 1));
			CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), OK);
		}
		CU_EQ(used_flags(), 0);		/* a notification is wanted when it is idle */
		rig_down(&c.r);
	}
}

/*
 * A driver that offers two rings' worth before the device has looked at the first one is served
 * that much; what comes on top waits, and the device has asked to be told of it.
 */
static void a_burst_ends_after_two_rings_worth(void)
{
	uint16_t idx;

	up(false, EVENT_IDX);
	/* Heads need not be distinct: one chain, offered 64 times, is taken 64 times. */
	offer(c.page);
	idx = qdrv_avail_idx(&c.q);
	for (unsigned i = 1; i < 64; i++)
		qdrv_show(&c.q, 0, 2);
	rig_notify(&c.r, c.queue);
	CU_EQ(rig_stat(&c.r, "ctrl_ok"), 64);
	CU_EQ(qdrv_avail_event(&c.q), (uint16_t)(idx + 63));
	/* More than a ring at once is a lie, and breaks it. */
	qdrv_set_avail_idx(&c.q, (uint16_t)(idx + 63 + 65));
	rig_notify(&c.r, c.queue);
	CU_EQ(rig_stat(&c.r, "ctrl_ok"), 64);
	CU_EQ(rig_status(&c.r) & RIG_NEEDS_RESET, RIG_NEEDS_RESET);
	rig_down(&c.r);
}

/* ---- the legacy door ----------------------------------------------------------------------- */

static const struct rig_opts doors[] = { { .legacy = true }, { .transitional = true } };

#define LEGACY_BITS (1u << VIRTIO_NET_F_CTRL_VQ | 1u << VIRTIO_NET_F_CTRL_RX | \
		     1u << VIRTIO_NET_F_MAC | 1u << VIRTIO_NET_F_STATUS)

static void legacy_up(const struct rig_opts *o, uint32_t bits)
{
	struct qdrv rx, tx;

	CU_EQ_FATAL(rig_up(&c.r, o), 0);
	lg_set(&c.r, VIRTIO_PCI_STATUS, 1, 0);
	lg_set(&c.r, VIRTIO_PCI_STATUS, 1, RIG_ACK | RIG_DRIVER);
	lg_set(&c.r, VIRTIO_PCI_GUEST_FEATURES, 4, bits);
	rig_queue_legacy(&c.r, &rx, 0);
	rig_queue_legacy(&c.r, &tx, 1);
	rig_queue_legacy(&c.r, &c.q, 2);
	lg_set(&c.r, VIRTIO_PCI_STATUS, 1, RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
	c.page = rig_alloc(&c.r, 0x11000, 4096);
}

static uint8_t legacy_send(const struct qdrv_part *p, unsigned n, uint64_t ack_at, uint32_t *len)
{
	uint8_t *ack = rig_va(&c.r, ack_at);
	uint16_t id;

	*ack = CTL_UNTOUCHED;
	qdrv_add(&c.q, p, n);
	lg_set(&c.r, VIRTIO_PCI_QUEUE_NOTIFY, 2, 2);
	return qdrv_used(&c.q, &id, len, n) ? *ack : CTL_SILENCE;
}

/* Header, payload and answer each in its own descriptor, as of old, and in any other cut. */
static void both_layouts_of_a_command_work(void)
{
	for (unsigned d = 0; d < ARRAY_SIZE(doors); d++) {
		const struct qdrv_part *p;
		uint8_t *va;
		uint32_t len = 0;

		legacy_up(&doors[d], LEGACY_BITS);
		va = rig_va(&c.r, c.page);
		va[0] = VIRTIO_NET_CTRL_RX;
		va[1] = VIRTIO_NET_CTRL_RX_PROMISC;
		va[2] = 1;
		p = (struct qdrv_part[]){ { c.page, 2, false }, { c.page + 2, 1, false },
					  { c.page + 8, 1, true } };
		CU_EQ(legacy_send(p, 3, c.page + 8, &len), OK);
		CU_EQ(len, 1);
		p = (struct qdrv_part[]){ { c.page, 3, false }, { c.page + 8, 1, true } };
		CU_EQ(legacy_send(p, 2, c.page + 8, &len), OK);
		CU_EQ(len, 1);
		p = (struct qdrv_part[]){ { c.page, 1, false }, { c.page + 1, 2, false },
					  { c.page + 8, 1, true } };
		CU_EQ(legacy_send(p, 3, c.page + 8, &len), OK);
		CU_EQ(len, 1);
		rig_down(&c.r);
	}
}

/* Both doors of old look the same from a driver that takes BAR0. */
static void a_transitional_device_is_a_legacy_one_to_a_legacy_driver(void)
{
	static const struct { uint8_t off, size; } at[] = {
		{ VIRTIO_PCI_HOST_FEATURES, 4 }, { VIRTIO_PCI_GUEST_FEATURES, 4 },
		{ VIRTIO_PCI_QUEUE_NUM, 2 }, { VIRTIO_PCI_QUEUE_SEL, 2 },
		{ VIRTIO_PCI_STATUS, 1 }, { VIRTIO_PCI_ISR, 1 }, { 20, 8 },
	};
	uint64_t regs[2][ARRAY_SIZE(at)];

	for (unsigned d = 0; d < ARRAY_SIZE(doors); d++) {
		legacy_up(&doors[d], LEGACY_BITS);
		for (unsigned k = 0; k < ARRAY_SIZE(at); k++)
			regs[d][k] = lg(&c.r, at[k].off, at[k].size);
		CU_EQ(c.r.vhost->acked & V1, 0);
		CU_EQ(c.r.vhost->acked >> 32, 0);
		CU_EQ(c.r.vhost->ring[0].avail, c.r.vhost->ring[0].desc + 16 * 256);
		CU_EQ(c.r.vhost->ring[0].used & 4095, 0);
		CU_EQ(lg(&c.r, VIRTIO_PCI_STATUS, 1), RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
		rig_down(&c.r);
	}
	for (unsigned k = 0; k < ARRAY_SIZE(at); k++)
		CU_EQ(regs[0][k], regs[1][k]);
}

/* Native endian is little endian on the machines this is built for. */
static void fields_of_a_legacy_device_are_little_endian(void)
{
	CU_EQ_FATAL(rig_up(&c.r, &(struct rig_opts){ .legacy = true, .mtu = 0x1234 }), 0);
	CU_EQ(__BYTE_ORDER__, __ORDER_LITTLE_ENDIAN__);
	CU_EQ(lg(&c.r, 20 + offsetof(struct virtio_net_config, mtu), 1), 0x34);
	CU_EQ(lg(&c.r, 21 + offsetof(struct virtio_net_config, mtu), 1), 0x12);
	CU_EQ(lg(&c.r, VIRTIO_PCI_QUEUE_NUM, 2), 256);
	CU_EQ(lg(&c.r, VIRTIO_PCI_QUEUE_NUM, 1), UINT64_MAX);
	rig_down(&c.r);
}

static void notify_on_empty_is_the_back_ends_to_offer(void)
{
	for (unsigned has = 0; has < 2; has++) {
		struct rig_opts o = { .legacy = true, .features = has ? B(24) | B(5) : B(5) };

		CU_EQ_FATAL(rig_up(&c.r, &o), 0);
		CU_EQ(lg(&c.r, VIRTIO_PCI_HOST_FEATURES, 4) >> 24 & 1, has);
		rig_down(&c.r);
	}
}

#define ROW(text, name) \
	{ text ", split", name##_split }, { text ", packed", name##_packed }

CU_MAIN("virtio/ring",
	ROW("A-ST-01 nothing is consumed before DRIVER_OK", nothing_is_consumed_before_driver_ok),
	ROW("A-SR-03 A-PR-04 writable buffers are not read", writable_buffers_are_not_read),
	{ "A-SR-04 split descriptors are never written", split_descriptors_are_never_written },
	{ "A-PR-06 used packed descriptors are left alone",
	  used_packed_descriptors_are_left_alone },
	{ "A-SR-15,16 used flags are 0 or 1, and 0 with EVENT_IDX",
	  used_flags_are_0_or_1_and_0_with_event_idx },
	{ "A-SR-17 a burst ends with the ring, and the next is asked for",
	  a_burst_ends_after_two_rings_worth },
	{ "A-LG-18,21 both layouts of a command work", both_layouts_of_a_command_work },
	{ "A-LG-02 a transitional device is a legacy one to a legacy driver",
	  a_transitional_device_is_a_legacy_one_to_a_legacy_driver },
	{ "A-LG-09 fields of a legacy device are little endian",
	  fields_of_a_legacy_device_are_little_endian },
	{ "A-LG-15 NOTIFY_ON_EMPTY is the back-end's to offer",
	  notify_on_empty_is_the_back_ends_to_offer })
