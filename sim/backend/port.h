/* SPDX-License-Identifier: Apache-2.0 */
/*
 * port.h - a thing that sends and receives bursts of Ethernet frames: a pod's vhost-user
 * socket, a TAP queue, nothing at all, or an array in a test.
 *
 * Words: *take* moves frames from the port's peer to us, *give* from us to the peer.
 *
 * One copy. A taken frame is a view: its payload stays in the sender's memory. What a decision
 * may rest on is copied out exactly once, by take: the virtio-net header (`hdr`, checked) and
 * the first FRAME_HEAD bytes (`head`). Everything else (`segs`) is hostile memory that may change
 * at any moment: it is only ever copied onward. give() writes `head` and then the views
 * straight into the receiver's posted buffers, so what was judged is what arrives.
 *
 *	frame bytes = head[0 .. head_len) followed by the views without their first `skip` bytes
 *
 * take() makes head_len == skip == min(len, FRAME_HEAD). A VLAN tag is pushed or popped by
 * editing head and head_len (and len) and leaving skip alone.
 *
 * Threads. A port belongs to one worker: take, release, arm, tick, attach, detach and free are
 * its. give() may come from any worker, who then calls notify(); so may count(). What a port
 * says of itself (`up`, `gives`, `features`...) is written by the owner and read by anyone through
 * port_load(). Nothing here blocks, and a hostile or dead peer costs only its own frames.
 */
#ifndef SIM_BACKEND_PORT_H
#define SIM_BACKEND_PORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/virtio_net.h>

#define PORT_BURST	64	/* most frames a batch holds */
#define PORT_QUEUES	128	/* most queues a port takes from or gives to */
#define FRAME_MIN	14u	/* an Ethernet header; anything shorter is dropped by take */
#define FRAME_MAX	65549u	/* 65,535 bytes of IP behind an Ethernet header */
#define FRAME_HEAD	64	/* bytes take copies out */
#define FRAME_ROOM	128	/* what head can hold: pushed tags, headers made by segmentation */
#define FRAME_SEGS	256	/* most views a frame has; a longer chain is refused */
#define BATCH_SEGS	1024	/* views a whole batch has room for beyond one per frame */

struct poller;
struct port;

/* A view: bytes of the sender's memory, mapped here, good until the frame is released. */
struct seg {
	const uint8_t *base;
	uint32_t       len;
};

/*
 * One frame. `hdr` has been checked by take against the frame and the features its sender
 * negotiated: unknown gso types, gso_size 0 and checksum fields outside the frame were dropped.
 * hdr.num_buffers means nothing here; give() fills it in for its receiver.
 */
struct frame {
	uint8_t          head[FRAME_ROOM];
	struct virtio_net_hdr_v1 hdr;
	uint32_t         len;		/* of the frame, without the virtio-net header */
	const struct seg *segs;		/* nsegs views; &one when there is one */
	struct seg       one;
	uint16_t         nsegs;
	uint16_t         head_len;
	uint32_t         skip;
	uint64_t         note;		/* whoever decides may keep something here */
} __attribute__((aligned(64)));

/* Where take puts what it took. Large (a worker has a few, not a port); never on the stack. */
struct batch {
	unsigned     n;
	unsigned     segs_used;
	unsigned     entries;		/* the port's: ring entries behind the frames */
	struct frame frame[PORT_BURST];
	struct seg   segs[BATCH_SEGS];
};

/*
 * Counters, seen from the switch: "in" came from the peer, "out" went to it. Each only grows.
 * Names are in port_counter_name().
 */
enum port_counter {
	PORT_IN_FRAMES, PORT_IN_BYTES, PORT_OUT_FRAMES, PORT_OUT_BYTES,
	/* dropped on the way in, by cause */
	PORT_IN_SHORT,		/* less than a header and FRAME_MIN bytes */
	PORT_IN_LONG,		/* more than FRAME_MAX, or more than FRAME_SEGS pieces */
	PORT_IN_HEADER,		/* virtio-net header that lies or was not negotiated */
	PORT_IN_CHAIN,		/* descriptor chain: loop, direction, unmapped, too many */
	/* dropped on the way out, by cause */
	PORT_OUT_DOWN,		/* no ring runs */
	PORT_OUT_FULL,		/* no posted buffers */
	PORT_OUT_SMALL,		/* posted buffers cannot hold the frame */
	PORT_OUT_CHAIN,		/* posted descriptors are bad */
	PORT_OUT_OFFLOAD,	/* needs an offload the peer did not take (we never guess) */
	/* events */
	PORT_KICKS_SEEN,	/* the peer woke us */
	PORT_CALLS_SENT,	/* we woke the peer */
	PORT_CALLS_LOST,	/* its eventfd was full or gone */
	PORT_RINGS_BROKEN,	/* rings stopped for what they contained */
	PORT_SESSIONS,		/* peers that connected */
	PORT_SESSIONS_CUT,	/* peers cut off for what they sent */
	PORT_MESSAGES,		/* control messages handled */
	PORT_MESSAGES_BAD,	/* refused */
	PORT_FDS_STRAY,		/* descriptors closed because nobody asked for them */
	PORT_FAULTS,		/* memory that vanished under us */
	PORT_COUNTERS,
};

/* Every op is set, in every port. */
struct port_ops {
	const char *name;

	/*
	 * The owner starts to drive the port from this poller. detach() quiesces: when it
	 * returns the port touches no peer memory and gives fail with PORT_OUT_DOWN until the
	 * next attach; batches taken before must have been released.
	 */
	int      (*attach)(struct port *p, struct poller *poller);
	void     (*detach)(struct port *p);

	/* Timers: reconnection, deadlines. Every 10 to 100 ms is fine. */
	void     (*tick)(struct port *p, uint64_t now_ms);

	/*
	 * Fills b (whatever it held) with at most max <= PORT_BURST frames of queue q and returns
	 * b->n. Bad frames are dropped and counted here, so 0 does not mean that nothing was
	 * there. q >= takes: 0. Every batch is released, an empty one too.
	 */
	unsigned (*take)(struct port *p, unsigned q, struct batch *b, unsigned max);

	/*
	 * The sender gets its buffers back. A queue's batches are released in the order they
	 * were taken; several may be out at once (an asynchronous receiver holds on to them).
	 */
	void     (*release)(struct port *p, unsigned q, struct batch *b);

	/*
	 * Delivers n <= PORT_BURST frames in order; q is a hint (a flow's hash, the sender's
	 * queue) that is folded onto the receive queues there are. Returns how many were
	 * delivered; the others are dropped and counted. Frames are not changed. The frame's
	 * offloads must be ones the port accepts (port_accepts()), or it is dropped.
	 */
	unsigned (*give)(struct port *p, unsigned q, struct frame *const *f, unsigned n);

	/*
	 * Wakes the peer, if it asked to be, for all that was released and given since. True:
	 * call again in the next round, also if nothing happens in it. (Whether a peer that is
	 * just falling asleep asked can be told only once our stores have drained; waiting for
	 * that in every round would cost more than the packets do.)
	 */
	bool     (*notify)(struct port *p);

	/*
	 * on: ask the peer for kicks (they arrive through the poller); true if frames are waiting
	 * already, and then the caller must not sleep. off: we poll, kicks are not wanted.
	 */
	bool     (*arm)(struct port *p, bool on);

	/* Adds the counters to row[PORT_COUNTERS]. */
	void     (*count)(const struct port *p, uint64_t *row);

	/* Ends sessions, closes everything. Detaches first if need be. */
	void     (*free)(struct port *p);
};

/*
 * What a port tells its switch, from its owner's thread, never from inside take or give.
 * Every op is set (port_host_none ignores all).
 */
struct port_host {
	void (*link)(struct port *p, bool up);
	/*
	 * Rings are about to stop or memory to go: all batches of this port must be released
	 * when this returns. Nothing to do for who releases before he polls.
	 */
	void (*drain)(struct port *p);
	/* The peer wants the network to know it sits here now (SEND_RARP). */
	void (*announce)(struct port *p, const uint8_t mac[6]);
};

/* Embedded as the first member of each kind of port. */
struct port {
	const struct port_ops  *ops;
	const struct port_host *host;
	void    *owner;			/* the host's */
	char     name[32];
	bool     up;			/* some ring runs; port_load() */
	uint16_t takes, gives;		/* queues that take and give reach now; port_load() */
	uint64_t features;		/* negotiated virtio-net features; port_load() */
};

#define port_load(field)	__atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define port_store(field, v)	__atomic_store_n(&(field), (v), __ATOMIC_RELEASE)

/* A counter with one writer at a time, which port_ops.count may read from another thread. */
static inline void port_tally(uint64_t *counter, uint64_t n)
{
	__atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

extern const struct port_host port_host_none;

/* Sets the members above; aborts on an incomplete ops table. host NULL: port_host_none. */
void port_init(struct port *p, const struct port_ops *ops, const char *name,
	       const struct port_host *host, void *owner);

const char *port_counter_name(enum port_counter c);	/* "out_full" */

/* The offloads a frame of this header needs of its receiver, as feature bits (0: none). */
uint64_t port_needs(const struct virtio_net_hdr_v1 *h);

static inline bool port_accepts(const struct port *p, const struct frame *f)
{
	if ((f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) == 0 && f->hdr.gso_type == 0)
		return true;
	return (port_needs(&f->hdr) & ~port_load(p->features)) == 0;
}

/*
 * 0 if the header is one that a sender with these features may use on a frame of this length;
 * fields that mean nothing then are zeroed. -EINVAL else. (virtio 1.2, 5.1.6.2)
 */
int frame_check(struct virtio_net_hdr_v1 *h, uint32_t len, uint64_t features);

/*
 * Makes head at least n bytes long (n <= FRAME_ROOM and <= len) by copying more out of the
 * views, for a parser that needs more than FRAME_HEAD. Bytes in head already stay as they are.
 * -EINVAL if n is out of range.
 */
int frame_pull(struct frame *f, uint32_t n);

/* Copies bytes [off, off + n) of the frame to dst; the caller checked off + n <= f->len. */
void frame_copy(void *dst, const struct frame *f, uint32_t off, uint32_t n);

/*
 * Makes f a frame of n bytes in private memory (not changed and not copied, but for its head):
 * segments, checksums filled in, frames of our own. `one` is used.
 */
void frame_of(struct frame *f, const void *bytes, uint32_t n);

/* ---- ports without a peer --------------------------------------------------------------- */

/* Takes nothing, accepts and forgets everything. */
int port_null_new(struct port **p, const char *name);

/*
 * A port made of two arrays, for tests: what is pushed is taken, what is given can be popped.
 * depth bounds both. It accepts the offloads in `features`, which can be set at any time.
 */
int  port_mem_new(struct port **p, const char *name, unsigned depth,
		  const struct port_host *host, void *owner);
int  port_mem_push(struct port *p, const struct virtio_net_hdr_v1 *h, const void *bytes,
		   uint32_t n);		/* h may be NULL; -ENOBUFS when full */
int  port_mem_pop(struct port *p, struct virtio_net_hdr_v1 *h, void *bytes, uint32_t max);
					/* the length, 0 when empty; cut to max */
void port_mem_link(struct port *p, bool up);
unsigned port_mem_wakes(const struct port *p);	/* notify() calls that had something to tell */

#endif
