// SPDX-License-Identifier: Apache-2.0
// net.c - virtio-net (virtio 1.2, 5.1): the device's configuration, and queues as vhost rings.
//
// Virtqueue i is ring i of the back-end (rx0, tx0, rx1, ...) as far as there are pairs; the
// control queue comes after them and is served here, the back-end never hears of it.
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/virtio/net_dev.h"
#include "sim/virtio/net_features.h"

#define NET_CLASS 0x020000	/* Ethernet controller */
#define NET_LEGACY_DEVICE 0x1000
#define NET_PAIRS_MAX 128	/* rings have numbers of 8 bits; the control queue is ours */

_Static_assert(2 * NET_PAIRS_MAX + 1 <= VDEV_QUEUES_MAX, "and the control queue");
_Static_assert(2 * NET_PAIRS_MAX <= VHOST_RINGS_MAX, "ring numbers fit 8 bits");

static struct virtio_net *net_of(struct vdev *d)
{
	return d->dev;
}

/* ---- what is offered ----------------------------------------------------------------------- */

unsigned net_pairs_offered(const struct virtio_net *n)
{
	unsigned most = n->offer.rings_max / 2;

	if (most > n->pairs)
		most = n->pairs;
	return most ? most : 1;
}

unsigned net_pairs_usable(const struct virtio_net *n)
{
	return vdev_has(&n->d, VIRTIO_NET_F_MQ) ? net_pairs_offered(n) : 1;
}

/* The back-end may come late or change: looked at anew until the driver has agreed to it. */
static void offer_refresh(struct virtio_net *n)
{
	unsigned was;

	if (n->d.latched)
		return;
	was = net_pairs_offered(n);
	vhost_offer(n->vhost, &n->offer);
	if (net_pairs_offered(n) != was)
		n->d.config_dirty = true;
}

static uint64_t net_offer(struct vdev *d)
{
	struct virtio_net *n = net_of(d);

	offer_refresh(n);
	return n->offer.features;
}

static unsigned net_queues(struct vdev *d)
{
	struct virtio_net *n = net_of(d);

	offer_refresh(n);
	return 2 * net_pairs_offered(n) + 1;
}

/* 5.1.2: the control queue follows the last pair that was negotiated. */
static enum vdev_bell net_role(struct vdev *d, unsigned q)
{
	unsigned data = 2 * net_pairs_usable(net_of(d));

	if (q < data)
		return VDEV_BELL_KICK;
	if (q == data && vdev_has(d, VIRTIO_NET_F_CTRL_VQ))
		return VDEV_BELL_SERVE;
	return VDEV_BELL_NONE;
}

/* ---- device configuration (5.1.4) ---------------------------------------------------------- */

static void mac_stage(struct virtio_net *n, unsigned i, uint64_t val)
{
	n->mac_staged[i] = (uint8_t)val;
	n->mac_staged_set |= 1u << i;
	if (n->mac_staged_set != (1u << NET_MAC_LEN) - 1)
		return;
	n->mac_staged_set = 0;
	if (n->mac_fixed || !memcmp(n->mac, n->mac_staged, NET_MAC_LEN))
		return;
	memcpy(n->mac, n->mac_staged, NET_MAC_LEN);
	n->d.config_dirty = true;
}

/*
 * A MAC written through the legacy door counts when all of it is there (5.1.9.5.2.3). A driver
 * that means the interrupt vectors, which lie here once MSI-X is on, so changes nothing.
 */
#define MAC_BYTE(i) \
	static uint64_t get_mac##i(void *dev) \
	{ \
		return ((struct virtio_net *)dev)->mac[i]; \
	} \
	static void set_mac##i(void *dev, uint64_t val) \
	{ \
		mac_stage(dev, i, val); \
	}

MAC_BYTE(0)
MAC_BYTE(1)
MAC_BYTE(2)
MAC_BYTE(3)
MAC_BYTE(4)
MAC_BYTE(5)

static uint64_t get_status(void *dev)
{
	struct virtio_net *n = dev;

	return (n->link ? VIRTIO_NET_S_LINK_UP : 0) | (n->announce ? VIRTIO_NET_S_ANNOUNCE : 0);
}

static uint64_t get_pairs(void *dev)
{
	struct virtio_net *n = dev;

	offer_refresh(n);
	return net_pairs_offered(n);
}

static uint64_t get_mtu(void *dev)
{
	return ((struct virtio_net *)dev)->mtu;
}

/* Unknown is all ones in both (5.1.4), whatever the text says of their range. */
static uint64_t get_speed(void *dev)
{
	const struct virtio_net *n = dev;

	return n->speed ? n->speed : UINT32_MAX;
}

static uint64_t get_duplex(void *dev)
{
	return ((struct virtio_net *)dev)->duplex;
}

#define MAC_ROW(i, set) { i, 1, REG_BYTES, "mac" #i, get_mac##i, set }
#define LATER_ROWS \
	{ offsetof(struct virtio_net_config, status), 2, REG_BYTES, "status", get_status, NULL }, \
	{ offsetof(struct virtio_net_config, max_virtqueue_pairs), 2, REG_BYTES, \
	  "max_virtqueue_pairs", get_pairs, NULL }, \
	{ offsetof(struct virtio_net_config, mtu), 2, REG_BYTES, "mtu", get_mtu, NULL }, \
	{ offsetof(struct virtio_net_config, speed), 4, REG_BYTES, "speed", get_speed, NULL }, \
	{ offsetof(struct virtio_net_config, duplex), 1, REG_BYTES, "duplex", get_duplex, NULL }

static const struct reg config_modern[] = {
	MAC_ROW(0, NULL), MAC_ROW(1, NULL), MAC_ROW(2, NULL), MAC_ROW(3, NULL),
	MAC_ROW(4, NULL), MAC_ROW(5, NULL), LATER_ROWS,
};

static const struct reg config_legacy[] = {
	MAC_ROW(0, set_mac0), MAC_ROW(1, set_mac1), MAC_ROW(2, set_mac2),
	MAC_ROW(3, set_mac3), MAC_ROW(4, set_mac4), MAC_ROW(5, set_mac5), LATER_ROWS,
};

static const char *const status_bits[] = { "LINK_UP", "ANNOUNCE", NULL };
static const struct reg_bits config_bits[] = {
	{ offsetof(struct virtio_net_config, status), status_bits }, { 0, NULL },
};

static REGMAP_BITS(config_modern, "virtio-net.config", sizeof(struct virtio_net_config),
		   REGMAP_SPAN, config_bits);
static REGMAP_BITS(config_legacy, "virtio-net.legacy-config",
		   VPCI_LEGACY_LEN - VIRTIO_PCI_CONFIG_OFF(1), REGMAP_SPAN, config_bits);

/* ---- queues -------------------------------------------------------------------------------- */

static void ring_fill(struct virtio_net *n, unsigned q)
{
	const struct vdev_queue *vq = &n->d.queue[q];

	n->ring[q] = (struct vhost_ring){
		.num = vq->size,
		.desc = vq->desc,
		.avail = vq->avail,
		.used = vq->used,
		.kick_fd = vq->kick_fd,
		.call_fd = n->d.transport->call_fd(&n->d, q),
		.enabled = q / 2 < n->pairs_on,
	};
}

/* What the back-end is to know of what the driver accepted. */
static uint64_t net_acked(const struct virtio_net *n)
{
	uint64_t bits = n->d.accepted & (~NET_RX_OFFLOADS | n->offloads);

	return bits & n->offer.features & features_wanted(&net_features, n);
}

static int net_start(struct vdev *d)
{
	struct virtio_net *n = net_of(d);
	unsigned data = 2 * net_pairs_usable(n);
	int rc;

	n->offloads = d->accepted & NET_RX_OFFLOADS;

	memset(n->ring, 0, 2 * n->pairs * sizeof(n->ring[0]));
	for (unsigned q = 0; q < data; q++) {
		n->ring[q].kick_fd = n->ring[q].call_fd = -1;
		if (d->queue[q].enabled)
			ring_fill(n, q);
	}
	if (net_role(d, data) == VDEV_BELL_SERVE && d->queue[data].enabled) {
		rc = net_ctrl_start(n, data);
		if (rc < 0)
			return rc;
	}
	rc = vhost_start(n->vhost, net_acked(n), vdev_has(d, VIRTIO_NET_F_MTU) ? n->mtu : 0,
			 n->ring, data);
	if (rc < 0)
		vhost_stop(n->vhost);
	return rc;
}

static void net_stop(struct vdev *d)
{
	vhost_stop(net_of(d)->vhost);
}

static int net_queue_start(struct vdev *d, unsigned q)
{
	struct virtio_net *n = net_of(d);

	if (net_role(d, q) == VDEV_BELL_SERVE)
		return net_ctrl_start(n, q);
	ring_fill(n, q);
	return vhost_ring_start(n->vhost, q, &n->ring[q]);
}

static void net_queue_stop(struct vdev *d, unsigned q)
{
	struct virtio_net *n = net_of(d);

	if (net_role(d, q) != VDEV_BELL_KICK)
		return;
	/* A back-end that does not answer has been cut off: the ring is not touched either way. */
	(void)vhost_ring_stop(n->vhost, q);
	n->ring[q].num = 0;
}

static void net_queue_call(struct vdev *d, unsigned q)
{
	struct virtio_net *n = net_of(d);

	if (net_role(d, q) != VDEV_BELL_KICK)
		return;
	n->ring[q].call_fd = d->transport->call_fd(d, q);
	(void)vhost_ring_call(n->vhost, q, n->ring[q].call_fd);
}

static int pair_enable(struct virtio_net *n, unsigned pair, bool on)
{
	for (unsigned q = 2 * pair; q < 2 * pair + 2; q++) {
		int rc = 0;

		if (n->d.queue[q].running)
			rc = vhost_ring_enable(n->vhost, q, on);
		if (rc < 0)
			return rc;
		n->ring[q].enabled = on;
	}
	return 0;
}

int net_set_pairs(struct virtio_net *n, unsigned pairs)
{
	unsigned was = n->pairs_on;

	while (n->pairs_on != pairs) {
		bool on = n->pairs_on < pairs;
		unsigned pair = on ? n->pairs_on : n->pairs_on - 1;
		int rc = pair_enable(n, pair, on);

		if (rc < 0) {
			/* All or nothing, as far as this back-end still listens. */
			(void)pair_enable(n, pair, !on);
			for (; n->pairs_on < was; n->pairs_on++)
				(void)pair_enable(n, n->pairs_on, true);
			for (; n->pairs_on > was; n->pairs_on--)
				(void)pair_enable(n, n->pairs_on - 1, false);
			return rc;
		}
		n->pairs_on += on ? 1 : -1u;
	}
	return 0;
}

int net_set_offloads(struct virtio_net *n, uint64_t offloads)
{
	uint64_t was = n->offloads;
	int rc;

	if (offloads & ~(n->d.accepted & NET_RX_OFFLOADS))
		return -EINVAL;
	if (features_dangling(&net_features, offloads))
		return -EINVAL;
	if (offloads == was)
		return 0;
	n->offloads = offloads;
	rc = vhost_change_features(n->vhost, net_acked(n));
	if (rc < 0)
		n->offloads = was;
	return rc;
}

static void net_notify(struct vdev *d, unsigned q)
{
	net_ctrl_serve(net_of(d), q);
}

/* ---- life ---------------------------------------------------------------------------------- */

static int net_open(struct vdev *d, struct err *e)
{
	struct virtio_net *n = net_of(d);
	int rc = vhost_open(n->vhost, e);

	if (rc < 0)
		n->space = NULL;	/* a session that ends forgets it */
	else
		n->link = vhost_link(n->vhost);
	return rc;
}

static void net_close(struct vdev *d)
{
	struct virtio_net *n = net_of(d);

	vhost_close(n->vhost);
	n->space = NULL;
	n->link = false;
}

static void net_reset(struct vdev *d)
{
	struct virtio_net *n = net_of(d);

	if (memcmp(n->mac, n->mac_home, NET_MAC_LEN) || n->announce)
		d->config_dirty = true;
	memcpy(n->mac, n->mac_home, NET_MAC_LEN);
	n->mac_staged_set = 0;
	n->announce = false;
	n->pairs_on = 1;
	n->offloads = 0;
	memset(&n->filter, 0, sizeof(n->filter));
	n->ctrl.broken = -ENODEV;
}

static void net_status(struct vdev *d)
{
	vhost_status(net_of(d)->vhost, d->status);
}

static int net_memory_changed(struct vdev *d, struct space *s)
{
	struct virtio_net *n = net_of(d);

	if (s == n->space)
		return s ? vhost_memory_changed(n->vhost) : 0;
	n->space = s;
	return vhost_set_space(n->vhost, s);
}

static unsigned net_stats(struct vdev *d, struct ioapi_stat *rows, unsigned max)
{
	struct virtio_net *n = net_of(d);
	unsigned k = 0;

	k = vdev_stat(rows, max, k, "ctrl_ok", n->ctrl_ok);
	k = vdev_stat(rows, max, k, "ctrl_err", n->ctrl_err);
	k = vdev_stat(rows, max, k, "ctrl_broken", n->ctrl_broken);
	if (k >= max)
		return k + vhost_stats(n->vhost, NULL, 0);
	return k + vhost_stats(n->vhost, rows + k, max - k);
}

static void net_orphan(struct vdev *d)
{
	vhost_orphan(net_of(d)->vhost);
}

static void net_free(struct vdev *d)
{
	struct virtio_net *n = net_of(d);

	if (n->vhost)
		vhost_free(n->vhost);
	vpci_fini(&n->pci);
	vdev_fini(d);
	free(n->ring);
	free(n);
}

static const struct vdev_ops net_ops = {
	.name = "virtio-net",
	.id = VIRTIO_ID_NET,
	.features = &net_features,
	.config_modern = &config_modern_map,
	.config_legacy = &config_legacy_map,
	.open = net_open,
	.close = net_close,
	.offer = net_offer,
	.queues = net_queues,
	.role = net_role,
	.start = net_start,
	.stop = net_stop,
	.reset = net_reset,
	.status = net_status,
	.queue_start = net_queue_start,
	.queue_stop = net_queue_stop,
	.queue_call = net_queue_call,
	.notify = net_notify,
	.memory_changed = net_memory_changed,
	.stats = net_stats,
	.orphan = net_orphan,
	.free = net_free,
};

/* ---- the back-end's side ------------------------------------------------------------------- */

static void on_link(void *owner, bool up)
{
	struct virtio_net *n = owner;

	offer_refresh(n);
	if (n->link == up)
		return;
	n->link = up;
	/* Whoever learned our addresses is another one now (5.1.6.5.4). */
	if (up && (n->d.status & VDEV_DRIVER_OK)) {
		if (vdev_has(&n->d, VIRTIO_NET_F_GUEST_ANNOUNCE))
			n->announce = true;
		else
			vhost_announce(n->vhost, n->mac);
	}
	vdev_config_changed(&n->d);
}

/*
 * Address, MTU and queues are the pod's by configuration, whatever the back-end says of them, and
 * the link is what can be seen of it. What it may ask for is an announcement.
 */
static void on_config_changed(void *owner)
{
	struct virtio_net *n = owner;
	uint16_t status = 0;
	int rc = vhost_get_config(n->vhost, &status, offsetof(struct virtio_net_config, status),
				  sizeof(status));

	if (rc == (int)sizeof(status) && (status & VIRTIO_NET_S_ANNOUNCE) &&
	    vdev_has(&n->d, VIRTIO_NET_F_GUEST_ANNOUNCE))
		n->announce = true;
	vdev_config_changed(&n->d);
}

/* Rings are numbered as queues are. */
static int on_notifier(void *owner, unsigned ring, int fd, uint64_t off)
{
	struct virtio_net *n = owner;

	return vpci_notify_page(&n->pci, ring, fd, off);
}

static void on_failed(void *owner, const char *why)
{
	struct virtio_net *n = owner;

	vdev_needs_reset(&n->d, "back-end: %s", why);
}

/* ---- birth --------------------------------------------------------------------------------- */

static int params_check(const struct virtio_net_params *p, struct err *e)
{
	if (!p->modern && !p->legacy)
		return err_set(e, -EINVAL, "%s: neither modern nor legacy", p->id);
	if (!p->pairs || p->pairs > NET_PAIRS_MAX)
		return err_set(e, -EINVAL, "%s: %u queue pairs; 1 to %u can be had", p->id,
			       p->pairs, NET_PAIRS_MAX);
	if (!p->queue_size || p->queue_size > VQ_SIZE_MAX ||
	    (p->queue_size & (p->queue_size - 1)))
		return err_set(e, -EINVAL, "%s: queue size %u is no power of two up to %u", p->id,
			       p->queue_size, VQ_SIZE_MAX);
	if (p->mtu && p->mtu < 68)	/* 5.1.4.1 */
		return err_set(e, -EINVAL, "%s: mtu %u; 68 is the least", p->id, p->mtu);
	if (p->speed > INT32_MAX)
		return err_set(e, -EINVAL, "%s: speed %u; %d is the most", p->id, p->speed,
			       INT32_MAX);
	return 0;
}

static void params_take(struct virtio_net *n, const struct virtio_net_params *p)
{
	n->d.dev = n;
	n->d.id = n->id;
	strncpy(n->id, p->id, sizeof(n->id) - 1);
	n->pairs = p->pairs;
	n->mtu = p->mtu;
	n->speed = p->speed;
	n->duplex = !p->speed ? DUPLEX_UNKNOWN : p->half_duplex ? DUPLEX_HALF : DUPLEX_FULL;
	n->filters = p->filters;
	n->mac_fixed = p->mac_fixed;
	n->notifier = p->vhost.notifier;
	n->packed = p->packed;
	n->mrg_rxbuf = p->mrg_rxbuf;
	n->modern = p->modern;
	n->legacy = p->legacy;
	n->server = p->vhost.server;
	memcpy(n->socket, p->vhost.socket, sizeof(n->socket));
	n->pairs_on = 1;
	memcpy(n->mac_home, p->mac, NET_MAC_LEN);
	memcpy(n->mac, p->mac, NET_MAC_LEN);
}

static int session_new(struct virtio_net *n, struct ioapi_bus *bus,
		       const struct virtio_net_params *p, struct err *e)
{
	struct vhost_config cfg = p->vhost;
	struct vhost_host host = {
		.loop = pci_bus_loop(bus),
		.lock = pci_func_lock(n->pci.f),
		.owner = n,
		.link = on_link,
		.config_changed = on_config_changed,
		.failed = on_failed,
		.notifier = on_notifier,
	};

	/* For the table's conditions: all pairs, until a back-end says otherwise. */
	n->offer = (struct vhost_offer){
		.features = net_features_blind,
		.rings_max = 2 * n->pairs,
	};
	cfg.id = n->id;
	cfg.trace = pci_bus_trace(bus);
	cfg.rings = 2 * n->pairs;
	cfg.features = features_wanted(&net_features, n);
	cfg.features_blind = net_features_blind & cfg.features;
	return vhost_new(&n->vhost, &cfg, &host, e);
}

int virtio_net_new(struct ioapi_bus *bus, const struct virtio_net_params *p, struct err *e)
{
	struct vpci_params a = {
		.id = p->id,
		.bdf = p->bdf,
		.class = NET_CLASS,
		.legacy_device = NET_LEGACY_DEVICE,
		.modern = p->modern,
		.legacy = p->legacy,
		.queues = 2 * p->pairs + 1,
		.vectors = 2 * p->pairs + 2,
	};
	struct virtio_net *n;
	int rc = params_check(p, e);

	if (rc < 0)
		return rc;
	n = fault_zalloc(sizeof(*n));
	if (!n)
		return err_set(e, -ENOMEM, "%s: out of memory", p->id);
	params_take(n, p);
	n->ring = fault_zalloc(2 * n->pairs * sizeof(n->ring[0]));
	rc = n->ring ? vdev_init(&n->d, &net_ops, a.queues, p->queue_size) : -ENOMEM;
	if (rc < 0) {
		err_set(e, rc, "%s: %s", p->id, strerror(-rc));
		goto fail;
	}
	rc = vpci_init(&n->pci, bus, &n->d, &a, e);
	if (rc < 0)
		goto fail;
	rc = session_new(n, bus, p, e);
	if (rc < 0)
		goto fail;
	rc = vpci_publish(&n->pci, e);
	if (rc < 0)
		goto fail;
	return 0;
fail:
	net_free(&n->d);
	return rc;
}
