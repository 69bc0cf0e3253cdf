// SPDX-License-Identifier: Apache-2.0
// net_ctrl.c - the control queue (virtio 1.2, 5.1.6.5): commands as rows.
//
// A command is served within the notification that brings it, so the driver finds the answer
// when its store returns. The contents are the driver's and may change under us: every byte is
// copied once, and only the copy is looked at.
#include <errno.h>
#include <linux/virtio_net.h>
#include <stddef.h>
#include <string.h>

#include "sim/virtio/net_dev.h"

#define HEADER ((uint64_t)sizeof(struct virtio_net_ctrl_hdr))
#define PAYLOAD_MAX 65536u	/* no command is longer than a full MAC table */
#define ACK_MAX 256u		/* writable bytes filled with the answer */

struct command {
	uint8_t     class, cmd;
	uint8_t     needs;		/* feature bit */
	uint32_t    len_min, len_max;	/* payload */
	size_t      arg;
	const char *name;
	/* 0, -EINVAL (answered with ERR) or -EFAULT (the driver's memory is not there). */
	int       (*run)(struct virtio_net *n, const struct command *c, uint32_t len);
};

/* Payload bytes [off, off + len), each asked for once. */
static int payload(struct virtio_net *n, uint64_t off, void *buf, size_t len)
{
	return vq_read(&n->ctrl, &n->chain, HEADER + off, buf, len);
}

/* ---- commands ------------------------------------------------------------------------------ */

static int run_rx_mode(struct virtio_net *n, const struct command *c, uint32_t len)
{
	uint8_t on;
	int rc = payload(n, 0, &on, sizeof(on));

	if (rc == 0)
		*(bool *)((char *)&n->filter + c->arg) = on;
	return rc;
}

/*
 * One of the two tables at *off: a count, then addresses. The count is believed as far as the
 * payload reaches; what the filter cannot hold means "all of them".
 */
static int take_table(struct virtio_net *n, uint32_t len, uint64_t *off,
		      uint8_t table[][NET_MAC_LEN], unsigned *count, bool *all)
{
	uint32_t entries;
	int rc;

	if (*off + sizeof(entries) > len)
		return -EINVAL;
	rc = payload(n, *off, &entries, sizeof(entries));
	if (rc < 0)
		return rc;
	*off += sizeof(entries);
	if (entries > (len - *off) / NET_MAC_LEN)
		return -EINVAL;
	*all = entries > NET_FILTER_MAX;
	*count = *all ? 0 : entries;
	rc = payload(n, *off, table, (size_t)*count * NET_MAC_LEN);
	*off += (uint64_t)entries * NET_MAC_LEN;
	return rc;
}

static int run_mac_table(struct virtio_net *n, const struct command *c, uint32_t len)
{
	struct net_filter f = n->filter;	/* modes and VLANs stay */
	uint64_t off = 0;
	int rc;

	rc = take_table(n, len, &off, f.uni, &f.unis, &f.all_uni);
	if (rc == 0)
		rc = take_table(n, len, &off, f.multi, &f.multis, &f.all_multi);
	if (rc == 0 && off != len)
		rc = -EINVAL;
	if (rc == 0)
		n->filter = f;
	return rc;
}

static int run_mac_addr(struct virtio_net *n, const struct command *c, uint32_t len)
{
	static const uint8_t zero[NET_MAC_LEN];
	uint8_t mac[NET_MAC_LEN];
	int rc = payload(n, 0, mac, sizeof(mac));

	if (rc < 0)
		return rc;
	if ((mac[0] & 1) || !memcmp(mac, zero, sizeof(mac)))
		return -EINVAL;
	if (!memcmp(n->mac, mac, sizeof(mac)))
		return 0;		/* drivers set the one they found */
	if (n->mac_fixed)
		return -EINVAL;
	n->d.config_dirty = true;
	memcpy(n->mac, mac, sizeof(mac));
	return 0;
}

static int run_announce_ack(struct virtio_net *n, const struct command *c, uint32_t len)
{
	if (n->announce)
		n->d.config_dirty = true;
	n->announce = false;
	return 0;
}

static int run_pairs(struct virtio_net *n, const struct command *c, uint32_t len)
{
	uint16_t pairs;
	int rc = payload(n, 0, &pairs, sizeof(pairs));

	if (rc < 0)
		return rc;
	if (!pairs || pairs > net_pairs_usable(n))
		return -EINVAL;
	return net_set_pairs(n, pairs) < 0 ? -EINVAL : 0;
}

/* The table is a bit for each tag; nothing is dropped for want of room (5.1.6.5.3). */
static int run_vlan(struct virtio_net *n, const struct command *c, uint32_t len)
{
	uint16_t vid;
	int rc = payload(n, 0, &vid, sizeof(vid));

	if (rc < 0)
		return rc;
	if (vid >= NET_VLANS)
		return -EINVAL;
	if (c->cmd == VIRTIO_NET_CTRL_VLAN_ADD)
		n->filter.vlan[vid / 8] |= (uint8_t)(1u << (vid % 8));
	else
		n->filter.vlan[vid / 8] &= (uint8_t)~(1u << (vid % 8));
	return 0;
}

static int run_offloads(struct virtio_net *n, const struct command *c, uint32_t len)
{
	uint64_t offloads;
	int rc = payload(n, 0, &offloads, sizeof(offloads));

	if (rc < 0)
		return rc;
	return net_set_offloads(n, offloads) < 0 ? -EINVAL : 0;
}

#define FILTER(field) offsetof(struct net_filter, field)

static const struct command commands[] = {
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC, VIRTIO_NET_F_CTRL_RX, 1, 1,
	  FILTER(promisc), "RX_PROMISC", run_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLMULTI, VIRTIO_NET_F_CTRL_RX, 1, 1,
	  FILTER(allmulti), "RX_ALLMULTI", run_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_ALLUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1,
	  FILTER(alluni), "RX_ALLUNI", run_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOMULTI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1,
	  FILTER(nomulti), "RX_NOMULTI", run_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOUNI, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1,
	  FILTER(nouni), "RX_NOUNI", run_rx_mode },
	{ VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_NOBCAST, VIRTIO_NET_F_CTRL_RX_EXTRA, 1, 1,
	  FILTER(nobcast), "RX_NOBCAST", run_rx_mode },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, VIRTIO_NET_F_CTRL_VLAN, 2, 2, 0,
	  "VLAN_ADD", run_vlan },
	{ VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_DEL, VIRTIO_NET_F_CTRL_VLAN, 2, 2, 0,
	  "VLAN_DEL", run_vlan },
	{ VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
	  VIRTIO_NET_F_CTRL_GUEST_OFFLOADS, 8, 8, 0, "GUEST_OFFLOADS_SET", run_offloads },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, VIRTIO_NET_F_CTRL_RX, 8,
	  PAYLOAD_MAX, 0, "MAC_TABLE_SET", run_mac_table },
	{ VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, VIRTIO_NET_F_CTRL_MAC_ADDR,
	  NET_MAC_LEN, NET_MAC_LEN, 0, "MAC_ADDR_SET", run_mac_addr },
	{ VIRTIO_NET_CTRL_ANNOUNCE, VIRTIO_NET_CTRL_ANNOUNCE_ACK, VIRTIO_NET_F_GUEST_ANNOUNCE, 0,
	  0, 0, "ANNOUNCE_ACK", run_announce_ack },
	{ VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, VIRTIO_NET_F_MQ, 2, 2, 0,
	  "MQ_VQ_PAIRS_SET", run_pairs },
};

static const struct command *find(const struct virtio_net_ctrl_hdr *h)
{
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (commands[i].class == h->class && commands[i].cmd == h->cmd)
			return &commands[i];
	return NULL;
}

static void wrote(void *ctx, uint64_t addr, uint64_t len)
{
	struct vdev *d = ctx;
	struct virtio_net *n = d->dev;

	vhost_log_wrote(n->vhost, addr, len);
}

int net_ctrl_start(struct virtio_net *n, unsigned q)
{
	struct vq_setup s;

	vdev_vq_setup(&n->d, q, &s);
	s.wrote = wrote;
	return vq_init(&n->ctrl, &s);
}

/* ---- serving ------------------------------------------------------------------------------- */

static int execute(struct virtio_net *n)
{
	struct virtio_net_ctrl_hdr h;
	const struct command *c;
	uint64_t len;
	int rc = vq_read(&n->ctrl, &n->chain, 0, &h, sizeof(h));

	if (rc < 0)
		return rc;
	len = n->chain.read_len - HEADER;
	c = find(&h);
	if (!c || !vdev_has(&n->d, c->needs) || len < c->len_min || len > c->len_max)
		return -EINVAL;
	rc = c->run(n, c, (uint32_t)len);
	log_debug(n->d.id, "control %s: %s", c->name, rc ? "refused" : "ok");
	return rc;
}

/*
 * The answer is the last writable byte. A buffer with room for more is filled with it: then
 * the bytes counted as written are written, and a driver that looks first finds it as well.
 */
static int answer(struct virtio_net *n, uint8_t ack, uint32_t *written)
{
	uint8_t acks[ACK_MAX];
	uint64_t room = n->chain.write_len;
	int rc = 0;

	*written = room < ACK_MAX ? (uint32_t)room : ACK_MAX;
	memset(acks, ack, *written);
	if (*written)
		rc = vq_write(&n->ctrl, &n->chain, 0, acks, *written);
	if (rc == 0 && room > ACK_MAX)
		rc = vq_write(&n->ctrl, &n->chain, room - 1, &ack, 1);
	return rc;
}

static int serve_one(struct virtio_net *n)
{
	uint32_t written;
	int rc = execute(n);

	if (rc == -EFAULT)
		return rc;
	if (rc == 0)
		n->ctrl_ok++;
	else
		n->ctrl_err++;
	rc = answer(n, rc == 0 ? VIRTIO_NET_OK : VIRTIO_NET_ERR, &written);
	return rc < 0 ? rc : vq_give(&n->ctrl, &n->chain, written);
}

/*
 * Takes what is there, asks to be told of more, and looks once again for what came in between.
 * A driver that adds as fast as we serve gets two rings' worth; the rest waits for its next
 * notification, which vq_arm() asks for.
 */
static int serve_all(struct virtio_net *n, unsigned *served)
{
	unsigned most = 2u * n->ctrl.set.num;
	bool armed = false;
	int rc;

	while (*served < most) {
		rc = vq_take(&n->ctrl, &n->chain);
		if (rc < 0)
			return rc;
		if (rc == 0 && armed)
			return 0;
		armed = rc == 0;
		rc = armed ? vq_arm(&n->ctrl) : serve_one(n);
		if (rc < 0)
			return rc;
		*served += !armed;
	}
	return vq_arm(&n->ctrl);
}

void net_ctrl_serve(struct virtio_net *n, unsigned q)
{
	unsigned served = 0;
	int rc = serve_all(n, &served);

	if (served && vq_should_notify(&n->ctrl))
		vdev_irq_queue(&n->d, q);
	if (rc < 0) {
		n->ctrl_broken++;
		vdev_needs_reset(&n->d, "control queue: %s", rc == -EFAULT ?
				 "a buffer is not in the driver's memory" :
				 "the ring breaks the rules");
	}
}
