/* SPDX-License-Identifier: Apache-2.0 */
/* tap_impl.h - the inside of a TAP port, shared by tap_setup.c and tap_uring.c. */
#ifndef SIM_BACKEND_TAP_IMPL_H
#define SIM_BACKEND_TAP_IMPL_H

#include <liburing.h>

#include <linux/if_tun.h>

#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/backend/tap.h"

#define TAP_HDR 12			/* virtio_net_hdr_v1, what TUNSETVNETHDRSZ is set to */
#define TAP_BUF (TAP_HDR + FRAME_MAX + 7)

struct tap_queue {
	struct poller_source src;	/* first: from the source to its queue */
	struct tap *t;
	int fd;
	bool ringed;
	bool listed;			/* fd is entry 0 of the ring's table of files */
	struct io_uring in;		/* whoever reads the queue: the port's owner, or a lane's */
	bool lent;			/* to a lane; control thread only */
	unsigned offloads;		/* TUN_F_*: what the lane's receiver can take */
	uint8_t *buf;			/* TAP_BURST of TAP_BUF bytes */
	unsigned depth;			/* reads to post next time */
	unsigned empty, skip;		/* times nothing was there; takes to leave out */
	bool more;			/* the last burst was full */
};

struct tap {
	struct port p;			/* first */
	struct poller *poller;
	unsigned queues;
	unsigned shared;		/* queues the port itself reads; lanes have the others */
	unsigned mtu;
	struct steer *steer;		/* NULL: the kernel spreads frames as it likes */
	bool uring;
	int rw_flags;
	struct io_uring out;		/* under out_lock: anybody's who gives */
	uint32_t out_lock;
	uint32_t offload_lock;
	unsigned offloads;		/* TUN_F_*: what the interface hands over now */
	uint64_t row[PORT_COUNTERS];
	uint64_t enters, completions;
	struct tap_queue queue[];
};

/* tap_setup.c: opens all queues and configures the interface. On failure the caller frees. */
int tap_open(struct tap *t, const struct tap_config *cfg, struct err *e);
/* Says what queue q's reader can take; the interface then hands over what all can. Any thread. */
int tap_set_offloads(struct tap *t, unsigned q, unsigned offloads);
#define TAP_OFFLOADS (TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN)

/* ---- tap_uring.c, shared with lanes */
/* Up to n reads into the queue's own buffers; got[i] is each one's result. */
void tap_read(struct tap *t, struct tap_queue *k, unsigned n, int *got);
static inline uint8_t *tap_buffer(const struct tap_queue *k, unsigned i)
{
	return k->buf + (size_t)i * TAP_BUF;
}
/* What all reads have in common, when prepared: a listed file is not looked up once more each. */
static inline void tap_aim(const struct tap *t, const struct tap_queue *k, struct io_uring_sqe *s)
{
	s->rw_flags = t->rw_flags;
	if (k->listed) {
		s->fd = 0;
		s->flags |= IOSQE_FIXED_FILE;
	}
}
/* Carries out what was queued in the queue's ring, all n of it; results in got[user_data]. */
void tap_enter(struct tap *t, struct tap_queue *k, unsigned n, int *got);
/* Makes a frame of a buffer's contents; false: dropped and counted. */
bool tap_frame(struct tap *t, struct frame *f, const uint8_t *buf, int got);
/* Learns from a burst of n reads of which `done` found something, the first with result rc. */
void tap_pace(struct tap_queue *k, unsigned n, unsigned done, int rc);
bool tap_due(struct tap_queue *k);		/* it is time to try again */

#endif
