/* SPDX-License-Identifier: Apache-2.0 */
/*
 * world.h - driver, device, wire and back-end in one thread, in a time of their own.
 *
 * Everything that happens is drawn from the seed: which part takes its turn, how many bytes of a
 * message get through, when a connection breaks, what a back-end leaves undone. The same seed gives
 * the same run, event by event; `hash` is over all of them.
 */
#ifndef TESTS_WORLD_WORLD_H
#define TESTS_WORLD_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "include/vhost_user_wire.h"
#include "sim/core/loop.h"

#define BIT(n) (UINT64_C(1) << (n))
#define WORLD_IOVA 0x100000000ull
#define WORLD_NUM  64u			/* descriptors of a ring */
#define WORLD_HDR  12u			/* struct virtio_net_hdr_v1 */
#define WORLD_DATA 64u			/* bytes of a frame behind it */
#define WORLD_CHAIN 3u			/* descriptors of a buffer, at most */
#define WORLD_PAIRS 4u			/* at most */
#define WORLD_RINGS (2 * WORLD_PAIRS)

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif
#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

struct world;

/* ---- the back-end (backend.c) --------------------------------------------------------------- */

#define WB_REGIONS 64
#define WB_NEVER   UINT64_MAX
#define WB_RECORD  8192u		/* bytes of the records of what is in hand */

struct wb_ring {
	bool     started, enabled, wrap;	/* wrap: packed */
	uint16_t num, at;			/* where it stands, taken and used alike */
	uint64_t desc, avail, used;		/* user addresses */
	int      kick, call;
};

struct wb {
	/* for good */
	uint64_t features, protocol;
	unsigned pairs;
	bool     keeps;			/* a record of what it has in hand (packed rings) */
	bool     torn;			/* writes the first flag of a batch last */
	bool     spans;			/* one frame at a time, over as many buffers as it takes */
	bool     jumps;			/* one used element for a batch, where that is agreed */
	bool     sleepy;		/* looks at rings only when kicked */
	/* of one life */
	bool     listening;
	int      listen_fd, fd, ask_fd, inflight_fd;
	uint64_t back_ms;		/* it listens again */
	uint64_t cut_in, cut_out;	/* bytes until the connection breaks */
	uint64_t acked;
	uint8_t  status;
	uint8_t  in[sizeof(struct vu_header) + sizeof(union vu_payload)];
	unsigned in_len;
	int      in_fds[VU_FDS_MAX];
	unsigned in_fds_n;
	uint8_t  out[4096];
	unsigned out_len;
	int      out_fd;		/* goes with the first byte, -1: none */
	struct { uint64_t gpa, size, uva; uint8_t *host; } region[WB_REGIONS];
	unsigned regions;
	struct wb_ring ring[WORLD_RINGS];
	struct record *record;		/* one a ring, in the file the front-end keeps; or NULL */
	bool     asleep[WORLD_PAIRS];
	/* of all lives: the network behind it, which takes no frame of a pair twice */
	uint64_t delivered[WORLD_PAIRS];
	unsigned lives, deaths, requests, messages, steps, finished, refusals;
};

void wb_init(struct world *w);
void wb_fini(struct world *w);
/* Moves some bytes, answers what is whole; false: nothing to do. */
bool wb_talk(struct world *w);
/* Moves frames of each pair from its odd to its even ring; may die on the way (frames.c). */
void wb_pump(struct world *w);
void wb_die(struct world *w, const char *how);
/* Its front-end has ended the session; then it is told. */
bool wb_left(const struct wb *b);
void wb_notice(struct world *w);
/* len bytes at a user or a guest address; NULL: outside the memory. */
uint8_t *wb_at_user(struct wb *b, uint64_t uva, uint64_t len);
uint8_t *wb_at_guest(struct wb *b, uint64_t gpa, uint64_t len);
/* A ring starts: where its record says, if there is one, what was in hand being finished. */
void wb_recover(struct wb *b, unsigned index);

/* ---- the driver (driver.c, rings.c) --------------------------------------------------------- */

#define WORLD_PIECES 4u			/* of memory that comes and goes */

struct ring_side {			/* the driver's view of one ring */
	uint8_t *va;
	unsigned q;
	uint16_t next, seen;
	bool     next_wrap, seen_wrap;
	uint16_t head;			/* split: the next free descriptor; in turn */
	uint16_t issued, done;		/* buffers, ever; packed, they are the ids, too */
	unsigned out, free;		/* buffers the device has; descriptors it has not */
	bool     busy[WORLD_NUM];
	uint8_t  taken[WORLD_NUM];	/* descriptors of a buffer */
	uint16_t order[WORLD_NUM];	/* of buffers, the issued-th at issued % NUM */
	uint8_t  piece[WORLD_NUM];	/* that a buffer is in, from 1; 0: none */
};

struct flow {				/* the frames of a pair, numbered from 1 */
	uint64_t sent, got;
	uint64_t lost;			/* up to this one they may be missing */
};

struct driver {
	struct ioapi_bus    *bus;
	struct ioapi_func   *f;
	struct ioapi_domain *domain;
	int      memfd, extra_fd;
	uint8_t *mem, *extra;
	bool     mapped[WORLD_PIECES];
	unsigned piece_out[WORLD_PIECES];	/* buffers in them that the device has */
	uint64_t features;
	bool     packed, running;
	unsigned pairs, active;
	uint32_t rx_len;
	struct ring_side rx[WORLD_PAIRS], tx[WORLD_PAIRS], ctrl;
	struct flow flow[WORLD_PAIRS];
	uint64_t given_back;		/* buffers, as far as is known */
	unsigned refusals;		/* of back-ends, likewise */
	uint64_t quiet_ms;		/* it sends nothing until then */
	unsigned resets, frames, commands, ring_resets, hot, chains;
};

/* rings.c */
struct out { uint64_t addr; uint32_t len; uint16_t flags; };
void side_init(struct driver *d, struct ring_side *s, unsigned q);
/* The id that the next buffer is to have; it may still be busy. */
uint16_t side_next_id(const struct driver *d, const struct ring_side *s);
/* Offers n descriptors as one buffer, and kicks if the device wants to know. */
void side_add(struct driver *d, struct ring_side *s, uint16_t id, const struct out *o, unsigned n);
/* The next element: the buffer's id and what was written. */
bool side_used(struct world *w, struct ring_side *s, uint16_t *id, uint32_t *len);
/* Buffers of a transmit ring that came back since; ids in turn. */
bool side_reap(struct world *w, struct ring_side *s);
void driver_set(struct driver *d, uint64_t off, unsigned size, uint64_t val);

static inline bool driver_has(const struct driver *d, unsigned bit)
{
	return d->features >> bit & 1;
}

bool driver_up(struct world *w);
void driver_down(struct world *w);
/* One thing a driver does. */
void driver_step(struct world *w, bool may_send);
/* Collects and refills; false: nothing came. */
bool driver_poll(struct world *w);
bool driver_idle(const struct world *w);	/* everything sent has come back */

/* ---- the world (world.c) -------------------------------------------------------------------- */

struct event { uint64_t at_ms, a, b; const char *what; };

struct world {
	uint64_t seed, rng, now_ms, hash;
	struct loop_world lw;
	char     path[80];
	bool     calm;			/* nothing breaks any more */
	bool     trace;
	uint64_t cut_first;		/* even: half as many bytes in, odd: out, and
					 * the first connection breaks; WB_NEVER */
	bool     cut_hit;
	struct wb     b;
	struct driver d;
	char     wrong[160];		/* what a checker found */
	struct event *events;		/* room for them, or NULL: not kept */
	unsigned events_n, events_max;
};

uint64_t world_rand(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned per_mille);	/* never in a calm world */
void world_note(struct world *w, const char *what, uint64_t a, uint64_t b);
void world_wrong(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole run; true if every checker was content. */
bool world_run(struct world *w, uint64_t seed, uint64_t cut_first);

#endif
