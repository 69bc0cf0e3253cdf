/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - what vhost.c (states, calls from above) and run.c (memory and rings) share.
 */
#ifndef SIM_VHOST_SESSION_H
#define SIM_VHOST_SESSION_H

#include "sim/core/log.h"
#include "sim/vhost/transport.h"
#include "sim/vhost/vhost.h"

#define REGIONS_MAX 8		/* the most any of our transports takes at once */

/*
 * DOWN: no peer; verbs answer -ENOTCONN. CONNECTED: only hello() may be sent. READY: features are
 * known and none is set. RUNNING: every wanted ring is live.
 */
enum vhost_state { VHOST_DOWN, VHOST_CONNECTED, VHOST_READY, VHOST_RUNNING };

struct ring {
	struct vhost_ring r;		/* the wish; num 0: none */
	bool     live;			/* the peer has it */
	bool     enabled;		/* the peer has it enabled */
	bool     ran;			/* some peer had it since it was started */
	bool     stopped_at;		/* `base` is a peer's answer at an orderly stop */
	bool     seen_at;		/* `base` was read from the ring when its peer vanished */
	uint32_t base;
};

struct told_region {
	struct space_region r;
	uint64_t dev, ino;		/* the file: fd numbers are reused */
};

struct vhost {
	struct vhost_config cfg;
	struct vhost_host   host;
	struct vhost_transport *t;
	enum vhost_state state;
	bool opened, link, orphan;
	bool offer_final;		/* learnt from a peer since vhost_open() */
	struct vhost_offer offer;
	struct vhost_peer  peer;
	struct log_limit   may_log;

	/* the wish */
	struct space *space;
	bool     started;
	bool     broken;		/* told failed(): nothing runs before the next start */
	uint64_t acked;
	uint16_t mtu;
	uint8_t  status;
	struct ring rings[VHOST_RINGS_MAX];

	/* the peer's */
	uint8_t  told_status;
	unsigned told_n;
	struct told_region told[REGIONS_MAX];

	struct space_region scratch[REGIONS_MAX + 1];
	int err_fd;			/* one for all rings: any error ends in failed() */
	struct loop_source err;
	const char *why;		/* of the last -errno that is not the peer's loss */

	uint64_t losses, starts, stops, ring_starts, ring_stops, memory_updates, resumes,
		 resumes_guessed, given_back, torn_mended, ring_errors, failures;
};

/* All return as transport verbs do, and -EFAULT, -E2BIG, ... with v->why set. */
int  run_start(struct vhost *v);	/* features, memory, rings, enables, status */
int  run_stop(struct vhost *v);		/* live rings; keeps the wish and where they stood */
void run_lost(struct vhost *v);		/* the peer vanished: notes where rings stood */
int  run_memory(struct vhost *v);	/* tells the table if it changed */
bool run_ring_fits(struct vhost *v, unsigned ring);	/* inside the driver's memory */
int  run_ring_start(struct vhost *v, unsigned ring);	/* done on return */
int  run_ring_stop(struct vhost *v, unsigned ring);
int  run_status(struct vhost *v, uint8_t status);	/* told only if it changes something */

#endif
