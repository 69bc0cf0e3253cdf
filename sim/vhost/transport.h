/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h - the verbs of vhost, whatever carries them: vhost-user, kernel vhost, vDPA.
 *
 * A transport finds a peer and loses it; vhost.c, above it, knows what the peer has to be told
 * and in which order. A transport keeps no state of rings or memory.
 *
 * All calls and callbacks are made with host->lock held. A verb may wait until deadline_ms and
 * not longer; it allocates nothing. It returns 0 or
 *	-EREMOTEIO	the peer refused this or an earlier verb: it is still there;
 *	-EOPNOTSUPP	the peer lacks the ability: nothing was sent;
 *	another -errno	the peer was cut off, named in the log and counted by cause.
 */
#ifndef SIM_VHOST_TRANSPORT_H
#define SIM_VHOST_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/core/lock.h"
#include "sim/core/loop.h"
#include "sim/mem/space.h"

struct err;
struct ioapi_stat;
struct vhost_config;
struct vhost_transport;

#define VHOST_REGIONS_MAX 512	/* the most any peer is told of at once */

enum vhost_fd { VHOST_FD_KICK, VHOST_FD_CALL, VHOST_FD_ERR };

/* Abilities of a peer beyond the verbs every transport has. */
#define VHOST_CAN_ENABLE (1u << 0)	/* ring_enable; without it a ring runs once kicked */
#define VHOST_CAN_MTU    (1u << 1)
#define VHOST_CAN_STATUS (1u << 2)
#define VHOST_CAN_CONFIG (1u << 3)
#define VHOST_CAN_SLOTS    (1u << 4)	/* memory_add and memory_del instead of set_memory */
#define VHOST_CAN_ANNOUNCE (1u << 5)
#define VHOST_CAN_RESET    (1u << 6)
#define VHOST_CAN_LOG      (1u << 7)
#define VHOST_CAN_INFLIGHT (1u << 8)

struct vhost_peer {
	uint64_t features;		/* guest bits only */
	unsigned rings_max;		/* data rings, at least 2, even */
	unsigned regions_max;
	unsigned can;			/* VHOST_CAN_* */
};

/*
 * Ring geometry. A ring's parts have two names, an address in this process and an IOVA; a
 * transport uses the one its peer goes by.
 */
struct vhost_ring_part { uint64_t va, iova; };

struct vhost_ring_addr {
	uint16_t num;
	uint32_t base;			/* as SET_VRING_BASE takes it */
	bool     log;			/* writes to the used ring are marked in the log */
	struct vhost_ring_part desc, avail, used;
};

/* A back-end's record of what it has taken and not yet given back, kept for its successor. */
struct vhost_inflight {
	int      fd;			/* kept (core/fd.h) and owned by who holds this; -1: none */
	uint64_t size, off;		/* as the back-end gave them: never looked into */
	uint16_t queues, queue_size;	/* asked for */
};

struct vhost_ops {
	const char *name;
	/* Life. open() starts to look for a peer; wait() lets up to wait_ms pass until one came. */
	int  (*open)(struct vhost_transport *t, struct err *e);
	void (*wait)(struct vhost_transport *t, unsigned wait_ms);
	void (*close)(struct vhost_transport *t);	/* lets the peer go, stops looking */
	void (*drop)(struct vhost_transport *t, bool slow);	/* lets it go, looks again */
	void (*orphan)(struct vhost_transport *t);
	void (*free)(struct vhost_transport *t);
	unsigned (*stats)(const struct vhost_transport *t, struct ioapi_stat *rows, unsigned max);
	/* The verbs. */
	int  (*hello)(struct vhost_transport *t, struct vhost_peer *peer);
	/* All verbs so far are done, or one was refused. Called before the lock is let go. */
	int  (*sync)(struct vhost_transport *t);
	int  (*set_features)(struct vhost_transport *t, uint64_t features);
	int  (*set_memory)(struct vhost_transport *t, const struct space_region *r, unsigned n);
	int  (*memory_add)(struct vhost_transport *t, const struct space_region *r);
	int  (*memory_del)(struct vhost_transport *t, const struct space_region *r);
	int  (*ring_setup)(struct vhost_transport *t, unsigned ring,
			   const struct vhost_ring_addr *a);
	/* The addresses of a ring that runs, with another `log`. */
	int  (*ring_addr)(struct vhost_transport *t, unsigned ring,
			  const struct vhost_ring_addr *a);
	int  (*ring_fd)(struct vhost_transport *t, unsigned ring, enum vhost_fd which, int fd);
	int  (*ring_enable)(struct vhost_transport *t, unsigned ring, bool on);
	int  (*ring_stop)(struct vhost_transport *t, unsigned ring, uint32_t *base);
	int  (*set_mtu)(struct vhost_transport *t, uint16_t mtu);
	int  (*set_status)(struct vhost_transport *t, uint8_t status);
	int  (*get_status)(struct vhost_transport *t, uint8_t *status);
	int  (*get_config)(struct vhost_transport *t, void *buf, unsigned off, unsigned len);
	/* Makes the network learn where a station is now. */
	int  (*announce)(struct vhost_transport *t, const uint8_t *mac);
	/* As at power-on, rings stopped before; the peer stays ours. */
	int  (*reset)(struct vhost_transport *t);
	/* A bit for each VU_LOG_PAGE of guest memory from 0 on; borrowed. */
	int  (*set_log)(struct vhost_transport *t, int fd, uint64_t size);
	/* A fresh one for i->queues rings of i->queue_size; one that was kept. */
	int  (*inflight_new)(struct vhost_transport *t, struct vhost_inflight *i);
	int  (*inflight_set)(struct vhost_transport *t, const struct vhost_inflight *i);
};

/* Whom a transport tells. Complete: no NULL. */
struct vhost_upper {
	void *owner;
	void (*found)(void *owner);	/* a peer is connected: no verb was sent yet */
	void (*lost)(void *owner);	/* it went away between two verbs */
	void (*changed)(void *owner);	/* its configuration did: between two verbs */
	/*
	 * Stores of the driver to a ring's notify page shall go to this page of its own, or no
	 * longer (fd -1); fd borrowed. Also within a verb: no verb may be called. 0 or -errno.
	 */
	int  (*notifier)(void *owner, unsigned ring, int fd, uint64_t off);
};

struct vhost_transport {
	const struct vhost_ops    *ops;
	const struct vhost_config *cfg;	/* outlives the transport */
	struct vhost_upper         upper;
	struct loop               *loop;
	struct lock               *lock;
	uint64_t                   deadline_ms;	/* set by vhost.c for each call from above */
	bool                       lingers;	/* we left the last peer: it may not know yet */
};

/* Constructors: one per kind. */
int vhost_user_new(struct vhost_transport **t, const struct vhost_config *cfg, struct loop *loop,
		   struct lock *lock, const struct vhost_upper *upper, struct err *e);
int vhost_kernel_new(struct vhost_transport **t, const struct vhost_config *cfg, struct loop *loop,
		     struct lock *lock, const struct vhost_upper *upper, struct err *e);

#endif
