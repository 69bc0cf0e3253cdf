/* SPDX-License-Identifier: Apache-2.0 */
/* net_dev.h - what net.c and net_ctrl.c know of a virtio-net device; nobody else includes it. */
#ifndef SIM_VIRTIO_NET_DEV_H
#define SIM_VIRTIO_NET_DEV_H

#include "sim/ring/vring.h"
#include "sim/vhost/vhost.h"
#include "sim/virtio/net.h"
#include "sim/virtio/vdev.h"
#include "sim/virtio/vpci.h"

struct virtio_net {
	struct vdev   d;
	struct vpci   pci;
	struct vhost *vhost;
	struct space *space;

	char     id[32];
	unsigned pairs;			/* configured */
	uint16_t mtu;
	uint32_t speed;
	uint8_t  duplex;		/* as the register has it */
	bool     filters, mac_fixed;
	bool     notifier;		/* back-ends may have notify pages of their own */
	bool     packed, mrg_rxbuf, modern, legacy, server;
	char     socket[VHOST_SOCKET_MAX];
	uint8_t  mac_home[NET_MAC_LEN];	/* configured: what a reset goes back to */

	uint8_t  mac[NET_MAC_LEN];
	uint8_t  mac_staged[NET_MAC_LEN], mac_staged_set;
	bool     link, announce;
	struct vhost_offer offer;	/* live until d.latched */
	unsigned pairs_on;		/* serving packets */
	uint64_t offloads;		/* receive offloads in force, of those accepted */
	struct vhost_ring *ring;	/* 2 * pairs, as given to the back-end */

	struct vq         ctrl;
	struct net_filter filter;
	uint64_t ctrl_ok, ctrl_err, ctrl_broken;
	struct vq_chain   chain;	/* the command under way */
};

/* Queue pairs offered, and those the driver may use. */
unsigned net_pairs_offered(const struct virtio_net *n);
unsigned net_pairs_usable(const struct virtio_net *n);

/* Changes the number of pairs that serve packets; when it returns the back-end has it. */
int  net_set_pairs(struct virtio_net *n, unsigned pairs);

/* Which receive offloads are in force; when it returns the back-end has it. */
int  net_set_offloads(struct virtio_net *n, uint64_t offloads);

/* The control queue q, as the driver has set it up, stands at its beginning. */
int  net_ctrl_start(struct virtio_net *n, unsigned q);
/* Serves what the driver put on the control queue q. */
void net_ctrl_serve(struct virtio_net *n, unsigned q);

#endif
