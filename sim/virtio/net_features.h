/* SPDX-License-Identifier: Apache-2.0 */
/* net_features.h - the table of virtio-net's feature bits; `dev` is a struct virtio_net. */
#ifndef SIM_VIRTIO_NET_FEATURES_H
#define SIM_VIRTIO_NET_FEATURES_H

#include "sim/virtio/features.h"

extern const struct features net_features;
extern const uint64_t net_features_blind;

#endif
