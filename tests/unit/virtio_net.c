// SPDX-License-Identifier: Apache-2.0
// virtio_net.c - what virtio-net offers beyond packets: filters, offloads, announcements, speed
// (checklist A11, A13).
#include <errno.h>
#include <linux/ethtool.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "tests/ctl.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define NDATA B(38)
#define PACKED B(VIRTIO_F_RING_PACKED)
#define RUNNING (RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK)
#define CSUM B(VIRTIO_NET_F_GUEST_CSUM)
#define TSO4 B(VIRTIO_NET_F_GUEST_TSO4)
#define TSO6 B(VIRTIO_NET_F_GUEST_TSO6)
#define ECN B(VIRTIO_NET_F_GUEST_ECN)
#define OFFLOADS B(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS)

#define OK 0
#define ERR 1

#define CFG(field) offsetof(struct virtio_net_config, field)

static struct ctl c;

static struct virtio_net_info info(void)
{
	struct virtio_net_info i;

	memset(&i, 0, sizeof(i));
	CU_EQ(virtio_net_info(c.r.f, &i), 0);
	return i;
}

#define BOTH(name) \
	static void name##_split(void) { name(false); } \
	static void name##_packed(void) { name(true); }

/* ---- notification data --------------------------------------------------------------------- */

static unsigned kicked(unsigned q)
{
	return rig_fired(c.r.vhost->ring[q].kick_fd);
}

/* 32 bits: the queue, and where its ring stands; only the queue counts. */
static void the_high_half_of_a_notification_is_a_hint(bool packed)
{
	static const uint32_t hints[] = { 0, 1, 0x7fff, 0x8000, 0xffff, 0x1234 };

	CU_EQ_FATAL(ctl_up(&c, CTRL | NDATA | (packed ? PACKED : 0), 1, 64), RUNNING);
	CU_EQ(c.r.notify % 4, 0);
	CU_EQ(c.r.notify_mult % 4, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(hints); i++) {
		CU_EQ(rig_write(&c.r, IOAPI_BAR4, c.r.notify + c.r.notify_mult, 4,
				1 | (uint64_t)hints[i] << 16), 0);
		CU_EQ(kicked(1), 1);
		CU_EQ(kicked(0), 0);
	}
	/* The control queue, too, is read and not believed. */
	qdrv_add(&c.q, (struct qdrv_part[]){ { c.page, 2, false }, { c.page + 8, 1, true } }, 2);
	rig_write(&c.r, IOAPI_BAR4, c.r.notify + 2 * c.r.notify_mult, 4, 2 | 0xbeefull << 16);
	CU_EQ(rig_stat(&c.r, "ctrl_err"), 1);
	/* Another queue's number is as wrong as ever. */
	rig_write(&c.r, IOAPI_BAR4, c.r.notify + c.r.notify_mult, 4, 0);
	CU_EQ(kicked(0), 0);
	CU_EQ(kicked(1), 0);
	rig_down(&c.r);
}
BOTH(the_high_half_of_a_notification_is_a_hint)

static void without_it_all_32_bits_count(void)
{
	CU_EQ_FATAL(ctl_up(&c, CTRL, 1, 64), RUNNING);
	rig_write(&c.r, IOAPI_BAR4, c.r.notify + c.r.notify_mult, 4, 1 | 5u << 16);
	CU_EQ(kicked(1), 0);
	rig_write(&c.r, IOAPI_BAR4, c.r.notify + c.r.notify_mult, 4, 1);
	CU_EQ(kicked(1), 1);
	rig_down(&c.r);
}

/* ---- speed, duplex, MTU -------------------------------------------------------------------- */

static void speed_and_duplex_are_what_was_configured(void)
{
	static const struct { uint32_t speed; bool half; uint64_t reads; uint8_t duplex; } t[] = {
		{ 0, false, UINT32_MAX, DUPLEX_UNKNOWN }, { 0, true, UINT32_MAX, DUPLEX_UNKNOWN },
		{ 10000, false, 10000, DUPLEX_FULL }, { 1, true, 1, DUPLEX_HALF },
		{ INT32_MAX, false, INT32_MAX, DUPLEX_FULL },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		CU_EQ_FATAL(rig_up(&c.r, &(struct rig_opts){ .speed = t[i].speed,
							     .half_duplex = t[i].half }), 0);
		CU_EQ(rig_offered(&c.r) >> VIRTIO_NET_F_SPEED_DUPLEX & 1, t[i].speed != 0);
		CU_EQ(dc(&c.r, CFG(speed), 4), t[i].reads);
		CU_EQ(dc(&c.r, CFG(duplex), 1), t[i].duplex);
		/* They stay put, whatever the link and the driver do. */
		fake_link(c.r.vhost, false);
		fake_link(c.r.vhost, true);
		rig_write(&c.r, IOAPI_BAR4, c.r.config + CFG(speed), 4, 77);
		rig_set_status(&c.r, 0);
		CU_EQ(dc(&c.r, CFG(speed), 4), t[i].reads);
		CU_EQ(dc(&c.r, CFG(duplex), 1), t[i].duplex);
		rig_down(&c.r);
	}
	CU_EQ(rig_up(&c.r, &(struct rig_opts){ .speed = 1u << 31, .quiet = true }), -EINVAL);
}

static void the_mtu_is_within_its_bounds_and_stays(void)
{
	static const uint16_t good[] = { 68, 1280, 1500, 9000, 65535 };

	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		struct vhost_offer other = { .known = true, .features = 0, .rings_max = 2 };

		CU_EQ_FATAL(rig_up(&c.r, &(struct rig_opts){ .mtu = good[i] }), 0);
		CU_EQ(rig_offered(&c.r) >> VIRTIO_NET_F_MTU & 1, 1);
		CU_EQ(dc(&c.r, CFG(mtu), 2), good[i]);
		rig_run(&c.r, V1 | B(VIRTIO_NET_F_MTU), NULL);
		CU_EQ(c.r.vhost->mtu, good[i]);
		fake_link(c.r.vhost, false);
		fake_offer(c.r.vhost, &other);
		fake_link(c.r.vhost, true);
		CU_EQ(dc(&c.r, CFG(mtu), 2), good[i]);
		rig_down(&c.r);
	}
	CU_EQ(rig_up(&c.r, &(struct rig_opts){ .mtu = 67, .quiet = true }), -EINVAL);
	CU_EQ(rig_up(&c.r, &(struct rig_opts){ .mtu = 1, .quiet = true }), -EINVAL);
	/* Without one the driver is offered none, rather than one that is too small. */
	CU_EQ_FATAL(rig_up(&c.r, &(struct rig_opts){ .mtu = 0 }), 0);
	CU_EQ(rig_offered(&c.r) >> VIRTIO_NET_F_MTU & 1, 0);
	rig_down(&c.r);
}

/* ---- receive filters ----------------------------------------------------------------------- */

#define EXTRA (B(VIRTIO_NET_F_CTRL_RX) | B(VIRTIO_NET_F_CTRL_RX_EXTRA) | CTRL)
#define VLAN (B(VIRTIO_NET_F_CTRL_VLAN) | CTRL)

static void up_with_filters(bool packed)
{
	const struct rig_opts o = { .queue_size = 64, .filters = true };

	CU_EQ_FATAL(ctl_up_with(&c, CTL_ALL | EXTRA | VLAN | (packed ? PACKED : 0), &o), RUNNING);
}

static void more_modes_where_the_port_enforces_them(bool packed)
{
	static const uint8_t on = 1, off = 0;

	up_with_filters(packed);
	for (uint8_t cmd = 0; cmd < 6; cmd++)
		CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_RX, cmd, &on, 1), OK);
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_RX, 6, &on, 1), ERR);
	CU_ASSERT(info().filter.alluni && info().filter.nomulti && info().filter.nouni &&
		  info().filter.nobcast && info().filter.promisc && info().filter.allmulti);
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, &off, 1), OK);
	CU_ASSERT(!info().filter.nouni && info().filter.nobcast);
	rig_down(&c.r);
	/* Otherwise they are not offered, and so not served. */
	CU_EQ_FATAL(ctl_up(&c, CTL_ALL, 1, 64), RUNNING);
	CU_EQ(rig_offered(&c.r) & (EXTRA & ~CTL_ALL), 0);
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, &on, 1), ERR);
	rig_down(&c.r);
}
BOTH(more_modes_where_the_port_enforces_them)

static uint8_t vlan(uint8_t cmd, uint16_t vid)
{
	return ctl_command(&c, VIRTIO_NET_CTRL_VLAN, cmd, &vid, sizeof(vid));
}

static bool has_vlan(unsigned vid)
{
	return info().filter.vlan[vid / 8] >> (vid % 8) & 1;
}

static void vlans_come_and_go(bool packed)
{
	static const uint16_t good[] = { 0, 1, 7, 8, 4094, 4095 };
	static const uint16_t bad[] = { 4096, 0x8000, 0xffff };
	static const uint8_t short_one = 1;

	up_with_filters(packed);
	for (unsigned i = 0; i < ARRAY_SIZE(good); i++) {
		CU_EQ(has_vlan(good[i]), false);
		CU_EQ(vlan(VIRTIO_NET_CTRL_VLAN_ADD, good[i]), OK);
		CU_EQ(has_vlan(good[i]), true);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		CU_EQ(vlan(VIRTIO_NET_CTRL_VLAN_ADD, bad[i]), ERR);
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_VLAN, 0, &short_one, 1), ERR);
	CU_EQ(vlan(VIRTIO_NET_CTRL_VLAN_DEL, 7), OK);
	CU_EQ(has_vlan(7), false);
	CU_EQ(has_vlan(8), true);
	CU_EQ(vlan(VIRTIO_NET_CTRL_VLAN_DEL, 7), OK);
	CU_EQ(vlan(2, 7), ERR);
	rig_set_status(&c.r, 0);
	CU_EQ(has_vlan(8), false);
	rig_down(&c.r);
	CU_EQ_FATAL(ctl_up(&c, CTL_ALL, 1, 64), RUNNING);
	CU_EQ(rig_offered(&c.r) >> VIRTIO_NET_F_CTRL_VLAN & 1, 0);
	CU_EQ(vlan(VIRTIO_NET_CTRL_VLAN_ADD, 7), ERR);
	rig_down(&c.r);
}
BOTH(vlans_come_and_go)

/* Empty after a reset, whole when its buffer is back, untouched by one that is refused. */
static void the_mac_table_is_what_was_set(bool packed)
{
	uint8_t table[4 + 2 * 6 + 4 + 6] = { 2, 0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 1 };

	up_with_filters(packed);
	table[20] = 0x33;
	CU_EQ(info().filter.unis + info().filter.multis, 0);
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
			  sizeof(table)), OK);
	CU_EQ(info().filter.unis, 2);
	CU_EQ(info().filter.multis, 1);
	CU_EQ(memcmp(info().filter.uni, table + 4, 12), 0);
	CU_EQ(memcmp(info().filter.multi, table + 20, 6), 0);
	table[0] = 4;
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, table,
			  sizeof(table)), ERR);
	CU_EQ(info().filter.unis, 2);
	rig_set_status(&c.r, 0);
	CU_EQ(info().filter.unis + info().filter.multis, 0);
	rig_down(&c.r);
}
BOTH(the_mac_table_is_what_was_set)

/* ---- announcements ------------------------------------------------------------------------- */

static unsigned status(void)
{
	return (unsigned)dc(&c.r, CFG(status), 2);
}

static void a_new_back_end_is_announced_to(bool packed)
{
	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | (packed ? PACKED : 0), 1, 64), RUNNING);
	CU_EQ(status(), VIRTIO_NET_S_LINK_UP);
	fake_link(c.r.vhost, false);
	CU_EQ(status(), 0);
	fake_link(c.r.vhost, true);
	CU_EQ(status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	/* Gone before the buffer is back. */
	CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, NULL, 0),
	      OK);
	CU_EQ(status(), VIRTIO_NET_S_LINK_UP);
	CU_EQ(fake_count(c.r.vhost, "announce", -1), 0);
	/* A reset ends it as well; for a driver that cannot do it the back-end is asked. */
	fake_link(c.r.vhost, false);
	fake_link(c.r.vhost, true);
	CU_ASSERT(status() & VIRTIO_NET_S_ANNOUNCE);
	rig_set_status(&c.r, 0);
	CU_EQ(status(), VIRTIO_NET_S_LINK_UP);
	rig_run(&c.r, V1 | CTRL, &c.q);
	fake_link(c.r.vhost, false);
	fake_link(c.r.vhost, true);
	CU_EQ(status(), VIRTIO_NET_S_LINK_UP);
	CU_EQ(fake_count(c.r.vhost, "announce", -1), 1);
	rig_down(&c.r);
}
BOTH(a_new_back_end_is_announced_to)

static void a_back_end_changes_nothing_that_is_the_pods(bool packed)
{
	uint64_t generation, mac, pairs;

	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | (packed ? PACKED : 0), 1, 64), RUNNING);
	generation = cc(&c.r, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	mac = dc(&c.r, CFG(mac), 4);
	pairs = dc(&c.r, CFG(max_virtqueue_pairs), 2);
	memset(c.r.vhost->config, 0x5a, sizeof(c.r.vhost->config));
	c.r.vhost->config[6] = VIRTIO_NET_S_ANNOUNCE;
	c.r.vhost->config[7] = 0;
	fake_config_changed(c.r.vhost);
	CU_EQ(dc(&c.r, CFG(mac), 4), mac);
	CU_EQ(dc(&c.r, CFG(max_virtqueue_pairs), 2), pairs);
	/* But it may ask for an announcement, and the driver is told to look. */
	CU_EQ(status(), VIRTIO_NET_S_LINK_UP | VIRTIO_NET_S_ANNOUNCE);
	CU_ASSERT(cc(&c.r, VIRTIO_PCI_COMMON_CFGGENERATION, 1) != generation);
	CU_EQ(rig_status(&c.r), RUNNING);
	rig_down(&c.r);
}
BOTH(a_back_end_changes_nothing_that_is_the_pods)

/* ---- receive offloads ---------------------------------------------------------------------- */

static uint8_t offloads(uint64_t bits)
{
	return ctl_command(&c, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
			   &bits, sizeof(bits));
}

static uint64_t told(void)
{
	return c.r.vhost->acked & (CSUM | TSO4 | TSO6 | ECN);
}

static void offloads_go_on_and_off(bool packed)
{
	static const uint64_t wrong[] = {
		TSO6,			/* not negotiated */
		TSO4,			/* without the checksums it needs */
		ECN | CSUM, CSUM | B(0), B(63), ~0ull, CSUM | B(46),
	};
	uint64_t bits = CTRL | OFFLOADS | CSUM | TSO4 | ECN | (packed ? PACKED : 0);

	CU_EQ_FATAL(ctl_up(&c, bits, 1, 64), RUNNING);
	CU_EQ(told(), CSUM | TSO4 | ECN);
	CU_EQ(c.r.vhost->acked & OFFLOADS, 0);	/* the back-end does not hear of the command */
	CU_EQ(offloads(CSUM), OK);
	CU_EQ(told(), CSUM);
	CU_EQ(offloads(0), OK);
	CU_EQ(told(), 0);
	CU_EQ(fake_count(c.r.vhost, "change_features", -1), 2);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		CU_EQ(offloads(wrong[i]), ERR);
	CU_EQ(fake_count(c.r.vhost, "change_features", -1), 2);
	CU_EQ(offloads(CSUM | TSO4 | ECN), OK);
	CU_EQ(told(), CSUM | TSO4 | ECN);
	CU_EQ(offloads(CSUM | TSO4 | ECN), OK);
	CU_EQ(fake_count(c.r.vhost, "change_features", -1), 3);
	/* Refused by the back-end: said so, and nothing has changed. */
	c.r.vhost->fail_name = "change_features";
	c.r.vhost->fail_rc = -EREMOTEIO;
	CU_EQ(offloads(0), ERR);
	CU_EQ(told(), CSUM | TSO4 | ECN);
	CU_EQ(info().offloads, CSUM | TSO4 | ECN);
	CU_EQ(rig_status(&c.r), RUNNING);
	c.r.vhost->fail_name = NULL;
	/* A new start begins with all of them. */
	CU_EQ(offloads(CSUM), OK);
	rig_run(&c.r, V1 | bits, &c.q);
	CU_EQ(told(), CSUM | TSO4 | ECN);
	rig_down(&c.r);
}
BOTH(offloads_go_on_and_off)

static void offloads_take_the_feature_and_something_to_switch(void)
{
	struct rig_opts o = { .features = V1 };

	CU_EQ_FATAL(rig_up(&c.r, &o), 0);
	CU_EQ(rig_offered(&c.r) & OFFLOADS, 0);
	rig_down(&c.r);
	o.no_backend = true;
	CU_EQ_FATAL(rig_up(&c.r, &o), 0);
	CU_EQ(rig_offered(&c.r) & OFFLOADS, 0);
	rig_down(&c.r);
	CU_EQ_FATAL(ctl_up(&c, CTRL | CSUM, 1, 64), RUNNING);
	CU_EQ(offloads(CSUM), ERR);
	rig_down(&c.r);
}

/* ---- what no back-end can be told ---------------------------------------------------------- */

/* RSS, hash reports, coalescing, statistics, contexts, tunnels, admin queues, IPsec: never. */
static void what_cannot_be_served_is_never_offered(bool packed)
{
	static const unsigned bits[] = {
		26, 30, 33, 36, 37, 39, 41, 42, 43, 46, 47, 48, 49, 50, 51, 52, 53, 57, 58, 59, 60,
		61, 62,
	};
	uint8_t payload[64] = { 0 };

	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | B(VIRTIO_NET_F_MQ) | (packed ? PACKED : 0), 4, 64),
		    RUNNING);
	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		CU_EQ(rig_offered(&c.r) >> bits[i] & 1, 0);
	/* MQ: RSS_CONFIG and HASH_CONFIG; coalescing; statistics. */
	for (uint32_t len = 0; len <= sizeof(payload); len++) {
		CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_MQ, 1, payload, len), ERR);
		CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_MQ, 2, payload, len), ERR);
		CU_EQ(ctl_command(&c, 6, 0, payload, len), ERR);
		CU_EQ(ctl_command(&c, 8, 0, payload, len), ERR);
	}
	CU_EQ(dc(&c.r, CFG(rss_max_key_size), 1), 0);
	CU_EQ(dc(&c.r, CFG(rss_max_indirection_table_length), 2), 0);
	CU_EQ(dc(&c.r, CFG(supported_hash_types), 4), 0);
	CU_EQ(rig_status(&c.r), RUNNING);
	rig_down(&c.r);
}
BOTH(what_cannot_be_served_is_never_offered)

#define ROW(text, name) \
	{ text ", split", name##_split }, { text ", packed", name##_packed }

CU_MAIN("virtio/net",
	ROW("A-NT-04..06,13 A-DRV-07 the high half of a notification is a hint",
	    the_high_half_of_a_notification_is_a_hint),
	{ "A-NT-08 without it all 32 bits count", without_it_all_32_bits_count },
	{ "A-NC-09..11 speed and duplex are what was configured",
	  speed_and_duplex_are_what_was_configured },
	{ "A-NC-02,04 A-DRV-08 the MTU is within its bounds and stays",
	  the_mtu_is_within_its_bounds_and_stays },
	ROW("A-CV-06 more modes where the port enforces them",
	    more_modes_where_the_port_enforces_them),
	ROW("A-CV-12 VLANs come and go, where the port enforces them", vlans_come_and_go),
	ROW("A-CV-07,08 the MAC table is what was set", the_mac_table_is_what_was_set),
	ROW("B-BR-04, B-CF-05 a back-end changes nothing that is the pod's",
	    a_back_end_changes_nothing_that_is_the_pods),
	ROW("A-CV-13, B-RR-02 a new back-end is announced to", a_new_back_end_is_announced_to),
	ROW("A-CV-23 offloads go on and off", offloads_go_on_and_off),
	{ "A-CV-23 offloads take the feature and something to switch",
	  offloads_take_the_feature_and_something_to_switch },
	ROW("A-CV-18..22,24..26 A-NC-07,08 A-CC-14,15 A-RX-15 A-ST-20 what cannot be served is "
	    "never offered", what_cannot_be_served_is_never_offered))
