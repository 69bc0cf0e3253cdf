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

struct world;

/* ---- the back-end (backend.c) --------------------------------------------------------------- */

#define WB_REGIONS 64
#define WB_NEVER   UINT64_MAX

struct wb_ring {
	bool     started, enabled, wrap;	/* wrap: packed */
	uint16_t num, at;			/* where it stands, taken and used alike */
	uint64_t desc, avail, used;		/* user addresses */
	int      kick, call;
};

struct wb {
	/* for good */
	uint64_t features, protocol;
	bool     torn;			/* writes the first flag of a batch last */
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
	struct wb_ring ring[4];
	/* of all lives: the network behind it, which takes no frame twice */
	uint64_t delivered;
	unsigned lives, deaths, requests, messages, steps;
};

void wb_init(struct world *w);
void wb_fini(struct world *w);
/* Moves some bytes, answers what is whole; false: nothing to do. */
bool wb_talk(struct world *w);
/* Moves frames from ring 1 to ring 0; may die on the way. */
void wb_pump(struct world *w);
void wb_die(struct world *w, const char *how);

/* ---- the driver (driver.c) ------------------------------------------------------------------ */

struct ring_side {			/* the driver's view of one ring */
	uint8_t *va;
	uint16_t next, seen;
	bool     next_wrap, seen_wrap;
	unsigned out;			/* buffers the device has */
	bool     busy[WORLD_NUM];
};

struct driver {
	struct ioapi_bus    *bus;
	struct ioapi_func   *f;
	struct ioapi_domain *domain;
	int      memfd, extra_fd;
	uint8_t *mem;
	bool     packed, running, extra;
	struct ring_side rx, tx;
	uint64_t sent;			/* the last frame's number */
	uint64_t got;
	uint64_t lost_at_reset;		/* frames up to this one may be missing */
	unsigned resets, frames;
};

bool driver_up(struct world *w);
void driver_down(struct world *w);
/* One thing a driver does. */
void driver_step(struct world *w, bool may_send);
/* Collects and refills; false: nothing came. */
bool driver_poll(struct world *w);
bool driver_idle(const struct world *w);	/* everything sent has come back */

/* ---- the world (world.c) -------------------------------------------------------------------- */

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
};

uint64_t world_rand(struct world *w, uint64_t below);
bool world_chance(struct world *w, unsigned per_mille);	/* never in a calm world */
void world_note(struct world *w, const char *what, uint64_t a, uint64_t b);
void world_wrong(struct world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole run; true if every checker was content. */
bool world_run(struct world *w, uint64_t seed, uint64_t cut_first);

#endif
