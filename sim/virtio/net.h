/* SPDX-License-Identifier: Apache-2.0 */
/* net.h - a virtio-net function on the bus (virtio 1.2, 5.1). */
#ifndef SIM_VIRTIO_NET_H
#define SIM_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/bus/pci.h"
#include "sim/vhost/vhost.h"

#define NET_MAC_LEN 6
#define NET_VLANS 4096
#define NET_FILTER_MAX 64	/* addresses a table keeps; a longer one means "all" */

/*
 * What the driver wants to receive. The data path does not pass here, so nothing is dropped by
 * it: it is state for whoever filters at the port.
 */
struct net_filter {
	bool     promisc, allmulti;
	bool     alluni, nomulti, nouni, nobcast;	/* CTRL_RX_EXTRA */
	bool     all_uni, all_multi;	/* a table did not fit */
	unsigned unis, multis;
	uint8_t  uni[NET_FILTER_MAX][NET_MAC_LEN];
	uint8_t  multi[NET_FILTER_MAX][NET_MAC_LEN];
	uint8_t  vlan[NET_VLANS / 8];	/* a bit for each tag (CTRL_VLAN) */
};

struct virtio_net_params {
	const char *id, *bdf;
	uint8_t  mac[6];
	bool     mac_fixed;		/* the driver is refused another: the port drops it */
	unsigned pairs;			/* most queue pairs to offer */
	uint16_t queue_size;		/* per queue, power of two */
	bool     modern, legacy;	/* doors shown; both: transitional */
	bool     packed, mrg_rxbuf;
	uint16_t mtu;			/* 0: not offered */
	uint32_t speed;			/* Mb/s; 0: not offered, nor the duplex */
	bool     half_duplex;
	bool     filters;		/* offer CTRL_VLAN and CTRL_RX_EXTRA: the port enforces */
	struct vhost_config vhost;	/* features and rings are filled in here */
};

/* Builds the device and puts it, realized, on the bus. The bus owns it. */
int virtio_net_new(struct ioapi_bus *bus, const struct virtio_net_params *p, struct err *e);

/* ---- for onlookers: what a device is doing. All take the function's lock. ------------------- */

struct virtio_net_info {
	bool     open, leaving, modern, legacy, link, backend_known, server, msix_on;
	uint8_t  status;
	const char *door;		/* which the driver came through, "none" */
	const char *socket;		/* lives as long as the bus */
	uint8_t  mac[NET_MAC_LEN];
	unsigned pairs, pairs_max, queues;
	uint16_t mtu;
	uint64_t offered, accepted, offloads;	/* offloads: of those accepted, what is on */
	struct net_filter filter;
};

struct virtio_net_queue {
	char     role[16];		/* "rx0", "tx0", "ctrl", "none" */
	bool     enabled, running, serving;	/* serving: the pair is on */
	uint16_t size, vector;
	uint64_t desc, avail, used;
};

/* -ENODEV: no virtio-net function, or gone. */
int virtio_net_info(struct ioapi_func *f, struct virtio_net_info *i);
int virtio_net_queue(struct ioapi_func *f, unsigned q, struct virtio_net_queue *out);

#endif
