// SPDX-License-Identifier: Apache-2.0
// net_info.c - a virtio-net device as an onlooker sees it: copies, taken under the lock.
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/virtio_ids.h>
#include <linux/virtio_net.h>

#include "sim/virtio/net_dev.h"

static struct virtio_net *net_behind(struct ioapi_func *f)
{
	struct vdev *d = vpci_vdev(f);

	return d && d->ops->id == VIRTIO_ID_NET ? d->dev : NULL;
}

static const char *const doors[] = {
	[VDEV_NO_DOOR] = "none", [VDEV_MODERN] = "modern", [VDEV_LEGACY] = "legacy",
};

int virtio_net_info(struct ioapi_func *f, struct virtio_net_info *i)
{
	struct virtio_net *n = net_behind(f);
	int rc = n ? lock_take(pci_func_lock(f)) : -ENODEV;

	if (rc)
		return rc;
	*i = (struct virtio_net_info){
		.open = pci_func_is_open(f), .leaving = pci_func_is_leaving(f),
		.modern = n->modern, .legacy = n->legacy,
		.msix_on = pci_func_msix_on(f), .link = n->link, .status = n->d.status,
		.door = doors[n->d.door], .pairs = n->pairs_on,
		.pairs_max = net_pairs_offered(n), .queues = n->d.queues_made, .mtu = n->mtu,
		.offered = vdev_offer(&n->d, n->modern ? VDEV_MODERN : VDEV_LEGACY),
		.accepted = n->d.latched ? n->d.accepted : 0, .filter = n->filter,
		.offloads = n->offloads, .socket = n->socket, .server = n->server,
	};
	i->backend_known = n->offer.known;
	memcpy(i->mac, n->mac, NET_MAC_LEN);
	lock_drop(pci_func_lock(f));
	return 0;
}

static void role_text(struct virtio_net *n, unsigned q, char *text, unsigned size)
{
	enum vdev_bell bell = n->d.ops->role(&n->d, q);

	if (bell == VDEV_BELL_KICK)
		snprintf(text, size, "%s%u", q % 2 ? "tx" : "rx", q / 2);
	else
		snprintf(text, size, "%s", bell == VDEV_BELL_SERVE ? "ctrl" : "none");
}

int virtio_net_queue(struct ioapi_func *f, unsigned q, struct virtio_net_queue *out)
{
	struct virtio_net *n = net_behind(f);
	const struct vdev_queue *vq;
	int rc = n && q < n->d.queues_made ? lock_take(pci_func_lock(f)) : -ENODEV;

	if (rc)
		return rc;
	vq = &n->d.queue[q];
	*out = (struct virtio_net_queue){
		.enabled = vq->enabled, .running = vq->running, .serving = q / 2 < n->pairs_on,
		.size = vq->size, .vector = vq->vector, .desc = vq->desc, .avail = vq->avail,
		.used = vq->used,
	};
	out->serving |= n->d.ops->role(&n->d, q) == VDEV_BELL_SERVE;
	role_text(n, q, out->role, sizeof(out->role));
	lock_drop(pci_func_lock(f));
	return 0;
}
