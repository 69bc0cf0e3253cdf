/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost.h - one device's session with its back-end, whatever carries it.
 *
 * The device says what it wants (features, memory, rings, on or off); vhost.c keeps the back-end
 * in that state in the order the protocol demands, over a transport (struct vhost_ops). When
 * the back-end goes away the wish stays: the session reconnects and replays it, with rings
 * resumed where they stood, and tells the device only link(false), link(true).
 *
 * States: DOWN (no peer) -> CONNECTED (socket) -> READY (features and protocol features known,
 * owner set) -> RUNNING (features, memory, rings and enables sent). Loss leads from each to
 * DOWN; the loop then retries, 100 ms at first, with bounded, jittered back-off.
 *
 * Threads: all calls are made with host->lock held (the function's lock), on a driver's thread,
 * possibly in a trap, or on the loop's thread: nothing allocates after vhost_new(). Waits end at
 * cfg->timeout_ms / 2 for one call in all, so that a caller who first waited for the lock stays
 * within timeout_ms. A peer that misses its deadline or answers nonsense is cut off.
 */
#ifndef SIM_VHOST_VHOST_H
#define SIM_VHOST_VHOST_H

#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "sim/core/lock.h"
#include "sim/core/loop.h"

#define VHOST_RINGS_MAX 256	/* ring indices fit the wire's 8 bits */
#define VHOST_SOCKET_MAX 108	/* sun_path, with the final 0 */

struct err;
struct space;
struct trace;
struct vhost;
struct vhost_ops;		/* transport, sim/vhost/transport.h */

/* The kernel as the transport to its vhost-net meets it: open(2) and ioctl(2), as -errno. */
struct vhost_kernel_sys {
	void *ctx;
	int (*open)(void *ctx, const char *path);
	int (*ioctl)(void *ctx, int fd, unsigned long request, void *arg);
};

struct vhost_config {
	const char *id;			/* for messages, "net0"; outlives the session */
	char        socket[VHOST_SOCKET_MAX];
	bool        server;		/* we listen and the back-end connects */
	char        tap[16];		/* the kernel serves this TAP device, no socket; "": not */
	const struct vhost_kernel_sys *kernel;	/* NULL: the one there is */
	unsigned    timeout_ms;		/* the longest a register access may take */
	unsigned    wait_ms;		/* how long vhost_open() waits for a first back-end */
	uint64_t    features;		/* what the device can use of a back-end (guest bits) */
	uint64_t    features_blind;	/* assumed offered while no back-end was ever seen */
	unsigned    rings;		/* data rings the device would like */
	bool        notifier;		/* a back-end's own page may stand for a notify page */
	struct trace *trace;		/* of the bus, NULL: none */
};

/* Called with the lock held, from any of our threads. */
struct vhost_host {
	struct loop *loop;
	struct lock *lock;
	void        *owner;
	void (*link)(void *owner, bool up);
	void (*config_changed)(void *owner);	/* back-end's CONFIG_CHANGE */
	void (*failed)(void *owner, const char *why);	/* rings cannot go on: NEEDS_RESET */
	/*
	 * The ring's notify page is to be this page of a file, or the device's own again (fd -1);
	 * fd borrowed. No call of vhost_ may be made. 0 or -errno: refused.
	 */
	int  (*notifier)(void *owner, unsigned ring, int fd, uint64_t off);
};

struct vhost_ring {
	uint16_t num;			/* descriptors */
	uint64_t desc, avail, used;	/* IOVA */
	int      kick_fd, call_fd;	/* owner's; call_fd -1: nobody listens */
	bool     enabled;		/* SET_VRING_ENABLE */
};

/* What the back-end can do; stable once known, also over reconnects. */
struct vhost_offer {
	bool     known;			/* a back-end has been seen */
	uint64_t features;		/* config.features & back-end, or features_blind */
	unsigned rings_max;		/* data rings it serves, at least 2, even */
	bool     mtu, status, config;	/* protocol features that concern the device */
};

int  vhost_new(struct vhost **v, const struct vhost_config *cfg, const struct vhost_host *host,
	       struct err *e);
void vhost_free(struct vhost *v);
void vhost_orphan(struct vhost *v);

/* Starts connecting (or listening); waits up to wait_ms for a peer. No peer is no error. */
int  vhost_open(struct vhost *v, struct err *e);
/* Stops rings and ends the session. */
void vhost_close(struct vhost *v);

void vhost_offer(const struct vhost *v, struct vhost_offer *o);
bool vhost_link(const struct vhost *v);		/* RUNNING or READY: a peer is there and answers */

/* The address space; NULL takes all memory away (rings are stopped first). */
int  vhost_set_space(struct vhost *v, struct space *s);
/* Its content changed. With running rings the back-end has the change when this returns. */
int  vhost_memory_changed(struct vhost *v);

/*
 * Rings run from here on, now or as soon as a back-end is there. `rings` is copied; n of them,
 * unused ones with num 0. mtu 0: not negotiated. A back-end that refuses (features, MTU, memory)
 * is reported through failed(); 0 also when none is connected.
 */
int  vhost_start(struct vhost *v, uint64_t acked, uint16_t mtu,
		 const struct vhost_ring *rings, unsigned n);
/* All rings stopped (GET_VRING_BASE answered, or the peer cut off) and forgotten. */
void vhost_stop(struct vhost *v);
bool vhost_started(const struct vhost *v);
/*
 * Other features for rings that run: they stop where they stand, the back-end is told, and they
 * go on. -EREMOTEIO if it refuses: then it goes on with the old ones.
 */
int  vhost_change_features(struct vhost *v, uint64_t acked);

/* One ring, while started: enable or disable (waits for the ack), stop and start anew. */
int  vhost_ring_enable(struct vhost *v, unsigned ring, bool on);
int  vhost_ring_call(struct vhost *v, unsigned ring, int call_fd);
int  vhost_ring_stop(struct vhost *v, unsigned ring);
int  vhost_ring_start(struct vhost *v, unsigned ring, const struct vhost_ring *r);

/* Device status byte as the driver writes it (sent only with protocol feature STATUS). */
void vhost_status(struct vhost *v, uint8_t status);
/* Refetches the back-end's virtio config (protocol CONFIG); bytes filled or -errno. */
int  vhost_get_config(struct vhost *v, void *buf, unsigned off, unsigned len);

/* The network is to learn where this station is now; nothing without a back-end that can. */
void vhost_announce(struct vhost *v, const uint8_t mac[6]);

/*
 * Writes of the back-end to the driver's memory are logged, also by the back-ends that follow.
 * -EOPNOTSUPP if this one cannot, -ENOTCONN if none is there to say.
 */
int  vhost_log_start(struct vhost *v);
void vhost_log_stop(struct vhost *v);
/* The device itself wrote to [addr, addr + len) of the driver's memory. */
void vhost_log_wrote(struct vhost *v, uint64_t addr, uint64_t len);
/*
 * Tells every guest page written since it was last asked, once; page() is called with the lock
 * held. -ENODATA: something was written that could not be logged, so all pages count as written.
 */
int  vhost_log_harvest(struct vhost *v, void (*page)(void *ctx, uint64_t addr), void *ctx);

unsigned vhost_stats(const struct vhost *v, struct ioapi_stat *rows, unsigned max);

#endif
