/* SPDX-License-Identifier: Apache-2.0 */
/* net_features.h - the table of virtio-net's feature bits; `dev` is a struct virtio_net. */
#ifndef SIM_VIRTIO_NET_FEATURES_H
#define SIM_VIRTIO_NET_FEATURES_H

#include <linux/virtio_net.h>

#include "sim/virtio/features.h"

#ifndef VIRTIO_NET_F_HOST_USO
#define VIRTIO_NET_F_GUEST_USO4 54
#define VIRTIO_NET_F_GUEST_USO6 55
#define VIRTIO_NET_F_HOST_USO   56
#endif

/* What CTRL_GUEST_OFFLOADS switches; numbered as the features (5.1.6.5.6.1). */
#define NET_RX_OFFLOADS \
	(FBIT(VIRTIO_NET_F_GUEST_CSUM) | FBIT(VIRTIO_NET_F_GUEST_TSO4) | \
	 FBIT(VIRTIO_NET_F_GUEST_TSO6) | FBIT(VIRTIO_NET_F_GUEST_ECN) | \
	 FBIT(VIRTIO_NET_F_GUEST_UFO) | FBIT(VIRTIO_NET_F_GUEST_USO4) | \
	 FBIT(VIRTIO_NET_F_GUEST_USO6))

extern const struct features net_features;
extern const uint64_t net_features_blind;

#endif
