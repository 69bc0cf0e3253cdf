// SPDX-License-Identifier: Apache-2.0
// net_features.c - the feature bits of virtio-net (virtio 1.2, 5.1.3 and 6).
//
// Never here: bit 30 (the wire's PROTOCOL_FEATURES), ACCESS_PLATFORM and ORDER_PLATFORM (there
// is no translation and no bus to order; they would only cost the driver barriers), RSS and
// HASH_REPORT (their configuration has no message in vhost, so no back-end can be told), and all
// that needs an admin queue. CTRL_VLAN and CTRL_RX_EXTRA only where somebody is said to enforce
// them (filters=on).
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "sim/virtio/net_dev.h"
#include "sim/virtio/net_features.h"

#ifndef VIRTIO_F_NOTIFICATION_DATA
#define VIRTIO_F_NOTIFICATION_DATA 38
#endif
#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

static bool always(const void *dev)
{
	(void)dev;
	return true;
}

static bool mtu_set(const void *dev)
{
	return ((const struct virtio_net *)dev)->mtu;
}

static bool speed_set(const void *dev)
{
	return ((const struct virtio_net *)dev)->speed;
}

static bool filters_wanted(const void *dev)
{
	return ((const struct virtio_net *)dev)->filters;
}

/* A back-end's own notify page is one for queue numbers; more goes to ours only. */
static bool pages_are_ours(const void *dev)
{
	return !((const struct virtio_net *)dev)->notifier;
}

static bool mrg_wanted(const void *dev)
{
	return ((const struct virtio_net *)dev)->mrg_rxbuf;
}

static bool packed_wanted(const void *dev)
{
	return ((const struct virtio_net *)dev)->packed;
}

static bool many_pairs(const void *dev)
{
	return net_pairs_offered(dev) > 1;
}

static bool legacy_shown(const void *dev)
{
	return ((const struct virtio_net *)dev)->legacy;
}

/* A back-end of the modern kind takes any layout, whether it says so or not (6.3). */
static bool any_layout(const void *dev)
{
	const struct virtio_net *n = dev;

	return n->legacy && (n->offer.features &
			     (FBIT(VIRTIO_F_ANY_LAYOUT) | FBIT(VIRTIO_F_VERSION_1)));
}

/* A ring can be stopped alone once there is a back-end to ask (GET_VRING_BASE). */
static bool backend_seen(const void *dev)
{
	return ((const struct virtio_net *)dev)->offer.known;
}

static bool offloads_to_switch(const void *dev)
{
	const struct virtio_net *n = dev;

	return n->offer.known && (n->offer.features & NET_RX_OFFLOADS);
}

#define CTRL FBIT(VIRTIO_NET_F_CTRL_VQ)
#define TX_CSUM FBIT(VIRTIO_NET_F_CSUM)
#define RX_CSUM FBIT(VIRTIO_NET_F_GUEST_CSUM)
#define TX_TSO (FBIT(VIRTIO_NET_F_HOST_TSO4) | FBIT(VIRTIO_NET_F_HOST_TSO6))
#define RX_TSO (FBIT(VIRTIO_NET_F_GUEST_TSO4) | FBIT(VIRTIO_NET_F_GUEST_TSO6))

#define ROW(prefix, bit, owner, legacy_only, all, any, when) \
	{ prefix##bit, owner, legacy_only, #bit, all, any, when }
#define NET(bit, owner, all, any, when) \
	ROW(VIRTIO_NET_F_, bit, FEATURE_##owner, false, all, any, when)
#define RING(bit, owner, all, any, when) \
	ROW(VIRTIO_RING_F_, bit, FEATURE_##owner, false, all, any, when)
#define CORE(bit, owner, legacy_only, all, any, when) \
	ROW(VIRTIO_F_, bit, FEATURE_##owner, legacy_only, all, any, when)

/* Prerequisites: 5.1.3.1. */
static const struct feature rows[] = {
	NET(CSUM, BACKEND, 0, 0, always),
	NET(GUEST_CSUM, BACKEND, 0, 0, always),
	NET(CTRL_GUEST_OFFLOADS, DEVICE, CTRL, 0, offloads_to_switch),
	NET(MTU, TOLD, 0, 0, mtu_set),
	NET(MAC, DEVICE, 0, 0, always),
	NET(GUEST_TSO4, BACKEND, RX_CSUM, 0, always),
	NET(GUEST_TSO6, BACKEND, RX_CSUM, 0, always),
	NET(GUEST_ECN, BACKEND, 0, RX_TSO, always),
	NET(GUEST_UFO, BACKEND, RX_CSUM, 0, always),
	NET(HOST_TSO4, BACKEND, TX_CSUM, 0, always),
	NET(HOST_TSO6, BACKEND, TX_CSUM, 0, always),
	NET(HOST_ECN, BACKEND, 0, TX_TSO, always),
	NET(HOST_UFO, BACKEND, TX_CSUM, 0, always),
	NET(MRG_RXBUF, BACKEND, 0, 0, mrg_wanted),
	NET(STATUS, DEVICE, 0, 0, always),
	NET(CTRL_VQ, DEVICE, 0, 0, always),
	NET(CTRL_RX, DEVICE, CTRL, 0, always),
	NET(CTRL_VLAN, DEVICE, CTRL, 0, filters_wanted),
	NET(CTRL_RX_EXTRA, DEVICE, CTRL, 0, filters_wanted),
	NET(GUEST_ANNOUNCE, DEVICE, CTRL, 0, always),
	NET(MQ, BACKEND, CTRL, 0, many_pairs),
	NET(CTRL_MAC_ADDR, DEVICE, CTRL, 0, always),
	CORE(NOTIFY_ON_EMPTY, BACKEND, true, 0, 0, legacy_shown),
	CORE(ANY_LAYOUT, TOLD, true, 0, 0, any_layout),
	RING(INDIRECT_DESC, BACKEND, 0, 0, always),
	RING(EVENT_IDX, BACKEND, 0, 0, always),
	CORE(VERSION_1, BACKEND, false, 0, 0, always),
	CORE(RING_PACKED, BACKEND, false, FBIT(VIRTIO_F_VERSION_1), 0, packed_wanted),
	CORE(IN_ORDER, BACKEND, false, 0, 0, always),
	CORE(NOTIFICATION_DATA, TOLD, false, 0, 0, pages_are_ours),
	CORE(RING_RESET, DEVICE, false, 0, 0, backend_seen),
	NET(GUEST_USO4, BACKEND, RX_CSUM, 0, always),
	NET(GUEST_USO6, BACKEND, RX_CSUM, 0, always),
	NET(HOST_USO, BACKEND, TX_CSUM, 0, always),
	NET(SPEED_DUPLEX, DEVICE, 0, 0, speed_set),
};

const struct features net_features = { rows, sizeof(rows) / sizeof(rows[0]) };

/* What every back-end of the last years has: shown while none was seen yet. */
const uint64_t net_features_blind = FBIT(VIRTIO_F_VERSION_1) | FBIT(VIRTIO_F_ANY_LAYOUT) |
	FBIT(VIRTIO_NET_F_MRG_RXBUF) | FBIT(VIRTIO_NET_F_MQ) | FBIT(VIRTIO_RING_F_INDIRECT_DESC);
