/* SPDX-License-Identifier: Apache-2.0 */
/* net.h - a virtio-net function on the bus (virtio 1.2, 5.1). */
#ifndef SIM_VIRTIO_NET_H
#define SIM_VIRTIO_NET_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/bus/pci.h"
#include "sim/vhost/vhost.h"

struct virtio_net_params {
	const char *id, *bdf;
	uint8_t  mac[6];
	unsigned pairs;			/* most queue pairs to offer */
	uint16_t queue_size;		/* per queue, power of two */
	bool     modern, legacy;	/* doors shown; both: transitional */
	bool     packed, mrg_rxbuf;
	uint16_t mtu;			/* 0: not offered */
	struct vhost_config vhost;	/* features and rings are filled in here */
};

/* Builds the device and puts it, realized, on the bus. The bus owns it. */
int virtio_net_new(struct ioapi_bus *bus, const struct virtio_net_params *p, struct err *e);

#endif
