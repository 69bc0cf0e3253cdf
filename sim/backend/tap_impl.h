/* SPDX-License-Identifier: Apache-2.0 */
/* tap_impl.h - the inside of a TAP port and its lanes, shared by tap_*.c. */
#ifndef SIM_BACKEND_TAP_IMPL_H
#define SIM_BACKEND_TAP_IMPL_H

#include <liburing.h>

#include <linux/if_tun.h>

#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/backend/steer.h"
#include "sim/backend/tap.h"
#include "sim/backend/tap_lane.h"
#include "sim/backend/vmdq.h"

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
	uint64_t row[PORT_COUNTERS];	/* what the lane's writes came to; its worker's */
};
_Static_assert(TAP_QUEUES_MAX <= VMDQ_QUEUES, "a queue has a bit");

/* Copies of group frames somebody may cause; the programs count down, ticks fill up. */
struct tap_share {
	uint64_t rate, burst;		/* a second, at once; rate 0: no limit */
	uint64_t at_ms;			/* of the last tick */
	bool     set;
};

struct tap {
	struct port p;			/* first */
	struct poller *poller;
	unsigned queues;
	unsigned shared;		/* queues the port itself reads; lanes have the others */
	unsigned mtu;
	struct steer *steer;		/* NULL: the kernel spreads frames as it likes */
	struct vmdq *vmdq;		/* NULL: nothing in the kernel judges what lanes send */
	bool lost;			/* its programs do not run any more; port_load() */
	bool uring;
	int rw_flags;
	struct io_uring out;		/* under out_lock: anybody's who gives */
	uint32_t out_lock;
	uint32_t offload_lock;
	unsigned offloads;		/* TUN_F_*: what the interface hands over now */
	uint64_t row[PORT_COUNTERS];
	struct tap_share storm;		/* of what comes from the wire */
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
void tap_enter(struct tap_queue *k, unsigned n, int *got);
/* Makes a frame of a buffer's contents; false: dropped and counted. */
bool tap_frame(struct tap *t, struct frame *f, const uint8_t *buf, int got);
/* Learns from a burst of n reads of which `done` found something, the first with result rc. */
void tap_pace(struct tap_queue *k, unsigned n, unsigned done, int rc);
bool tap_due(struct tap_queue *k);		/* it is time to try again */
/* Counts a write that failed with rc. */
void tap_failed(uint64_t *row, int rc);

/* ---- a lane: tap_lane.c receives, tap_send.c sends, tap_rules.c tells the kernel what holds */
#define TAP_REGIONS_MAX 64		/* of a pod, a gigabyte each */

struct tap_out;

struct tap_lane {
	struct lane lane;		/* first */
	struct tap *t;
	struct tap_queue *k;
	unsigned q;
	struct port *to;		/* while attached */
	struct poller *poller;
	uint64_t features;		/* the port's, when offloads were last agreed on */
	bool agreed;
	unsigned nregs;
	struct iovec reg[TAP_REGIONS_MAX];	/* registered with the queue's ring */
	bool refused;			/* registering failed for this session */
	unsigned waiting;		/* rounds in a row without a posted buffer */
	unsigned tried, found;		/* reads of this round, and how many had something */
	int first_rc;
	struct tap_lane_counters count;
	struct frame frame[TAP_BURST];
	struct tap_out *out;		/* tap_send.c's */
	bool ruled;			/* the programs know its rules */
	struct tap_share storm;
	unsigned nsources;		/* the addresses the programs know for it */
	uint64_t source[L2_PORT_MACS_MAX];
};

/* Registers the pod's memory if it is not; where a piece of it is then, or -1. */
void tap_lane_register(struct tap_lane *l);
int  tap_lane_region(const struct tap_lane *l, const struct seg *s);

/* ---- tap_send.c */
struct tap_out *tap_out_new(void);	/* NULL: no memory */
void tap_out_free(struct tap_out *o);
unsigned tap_lane_send(struct lane *lane, unsigned q);

/* ---- tap_rules.c */
void tap_share_set(struct tap_share *s, struct vmdq_row *row, const struct l2_rate *r);
void tap_share_tick(struct tap_share *s, struct vmdq_row *row, uint64_t now_ms);

#endif
