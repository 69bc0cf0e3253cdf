/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.h - serving a virtio-net device to a vhost-user front-end (a pod, a QEMU guest).
 *
 * vus_new() makes a port (sim/backend/port.h) of a Unix socket. Everything happens in the
 * thread that attaches the port to its poller: connections, messages, kicks; frames move when
 * that thread calls take, give and release. There is no thread behind it, nothing blocks, and a
 * front-end that lies, stalls or dies loses its session and nothing else.
 *
 * One socket serves one front-end at a time. As a server the socket stays and the next
 * front-end may come when the last one has gone; as a client it reconnects, with back-off.
 */
#ifndef PODPCI_BACKEND_H
#define PODPCI_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

struct err;
struct port;
struct port_host;

#define VUS_PAIRS_MAX 64

struct vus_config {
	const char *name;		/* of the port, for messages and counters */
	const char *socket;		/* path */
	bool     client;		/* connect there instead of listening */
	unsigned mode;			/* permission bits of a listening socket; 0: 0600 */
	unsigned pairs;			/* queue pairs offered, 1 to VUS_PAIRS_MAX */
	uint64_t features;		/* virtio features offered; 0: vus_features() */
	uint16_t mtu;			/* offered with VIRTIO_NET_F_MTU; 0: not */
	uint8_t  mac[6];		/* shown in configuration space; all 0: none */
	uint64_t memory_max;		/* bytes a front-end may lend; 0: a large default */
	bool     sealed;		/* insist on memory files sealed against shrinking */
	bool     shared;		/* other threads will give to this port, too */
};

/* All that is implemented, as feature bits. */
uint64_t vus_features(void);

/*
 * Makes the port; nothing is opened before it is attached. The strings are copied. host may be
 * NULL (sim/backend/port.h). 0 or -errno.
 */
int vus_new(struct port **p, const struct vus_config *cfg, const struct port_host *host,
	    void *owner, struct err *e);

/* What a peer is told of the device, kept over its sessions. -EINVAL if mtu is out of range. */
int vus_set_mtu(struct port *p, uint16_t mtu);

/* A running session, as text fields for a control socket; false: no peer. */
struct vus_info {
	bool     connected, packed, mergeable, in_order;
	unsigned rings_running;
	unsigned regions;
	uint64_t memory_bytes;
	uint64_t features, protocol_features;
	uint8_t  status;
	uint16_t mtu;			/* the one the driver was told of by the front-end */
};
bool vus_info(const struct port *p, struct vus_info *info);

/*
 * The peer's memory as mapped here, for who registers it elsewhere (fixed buffers). At most
 * max; the number there is. Good until the host's drain() is called.
 */
struct vus_region {
	void    *base;
	uint64_t size;
	bool     backed;		/* pages were there when it was lent: pinning makes none */
};
unsigned vus_regions(const struct port *p, struct vus_region *out, unsigned max);

/*
 * Lets fill() write frames straight into up to max buffers the peer posted on receive queue q.
 * to[i] has room for at least `least` bytes: a virtio-net header of *hdr_len bytes (10 or 12)
 * and a frame. fill() returns how many it filled, from the first on, with got[i] bytes each;
 * the others stay posted. It must not wait, and must not give to this port.
 *
 * Returns what fill() did; 0 without calling it when nothing is posted, -EAGAIN when what is
 * posted is not of this plain kind (or written pages are logged): then give() does it.
 */
struct seg;
int vus_fill(struct port *p, unsigned q, unsigned max, uint32_t least,
	     unsigned (*fill)(void *ctx, const struct seg *to, unsigned n, unsigned hdr_len,
			      uint32_t *got), void *ctx);

/*
 * The other way: port_ops.take without a look at what is taken, for who has the frames judged
 * elsewhere. Each one's views begin with the sender's virtio-net header of *hdr_len bytes (10 or
 * 12), unchecked; head and hdr mean nothing. To be released like any batch.
 */
struct batch;
unsigned vus_lift(struct port *p, unsigned q, struct batch *b, unsigned max, unsigned *hdr_len);

#endif
