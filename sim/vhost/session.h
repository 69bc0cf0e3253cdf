/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.h - what vhost.c (states and life), calls.c (calls from above), run.c (rings) and
 * memory.c (the driver's memory and its log) share.
 */
#ifndef SIM_VHOST_SESSION_H
#define SIM_VHOST_SESSION_H

#include "sim/core/log.h"
#include "sim/mem/dirty.h"
#include "sim/vhost/transport.h"
#include "sim/vhost/vhost.h"

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
	bool     paused;		/* stopped for a moment, see run_pause() */
	bool     notifier;		/* the peer's page is its notify page */
	uint32_t base;			/* the last that was certain: told, answered or seen */
};

struct told_region {
	struct space_region r;
	uint64_t dev, ino;		/* the file: fd numbers are reused */
	bool     keep;			/* while a change is planned */
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
	struct told_region told[VHOST_REGIONS_MAX];	/* by IOVA */
	struct vhost_inflight inflight;	/* outlives the peer; fd -1: none */

	bool         log_on;		/* the wish */
	bool         log_lost;		/* something was written unlogged */
	struct dirty log;		/* of this peer, with what its predecessors left */
	uint64_t     log_told;		/* bytes of it the peer has, 0: none */

	struct told_region  now[VHOST_REGIONS_MAX];	/* scratch: what is lent now */
	struct space_region scratch[VHOST_REGIONS_MAX + 1];
	int err_fd;			/* one for all rings: any error ends in failed() */
	struct loop_source err;
	const char *why;		/* of the last -errno that is not the peer's loss */

	uint64_t losses, starts, stops, ring_starts, ring_stops, memory_updates, resumes,
		 resumes_guessed, given_back, torn_mended, ring_errors, failures, notifiers,
		 pauses, memory_refused;
};

/* ---- vhost.c -------------------------------------------------------------------------------- */

void session_begin(struct vhost *v);		/* a call from above: its deadline */
bool session_ready(const struct vhost *v);	/* READY or RUNNING */
bool session_can_run(const struct vhost *v);	/* a start is wished for and possible */
bool session_fits(struct vhost *v);		/* the peer serves what the driver has taken up */
bool session_is_loss(int rc);
void session_lost(struct vhost *v);		/* a verb said so */
void session_drop(struct vhost *v, bool slow);
/* Rings stop, the peer stays if it can be asked to stop; the driver has to reset. */
void session_fail(struct vhost *v, const char *why);
/* Judges what run_start() returned; `first` at the driver's start, not at a replay. */
int  session_settle(struct vhost *v, int rc, bool first);
/* After a verb by itself: a refusal is the caller's to know, a loss is not. */
int  session_after(struct vhost *v, int rc);

/* ---- run.c and memory.c: these return as verbs do, and -EFAULT, -E2BIG, ... with v->why set - */

int  run_start(struct vhost *v);	/* features, memory, rings, enables, status */
int  run_stop(struct vhost *v);		/* live rings; keeps the wish and where they stood */
void run_lost(struct vhost *v);		/* the peer vanished: notes where rings stood */
int  run_pause(struct vhost *v);	/* live rings are stopped... */
int  run_resume(struct vhost *v);	/* ...and go on where they stood */
bool run_ring_fits(struct vhost *v, unsigned ring);	/* inside the driver's memory */
int  run_ring_start(struct vhost *v, unsigned ring);	/* done on return */
int  run_ring_stop(struct vhost *v, unsigned ring);
int  run_ring_log(struct vhost *v);	/* all live rings: logged or not, as v->log_on says */
int  run_status(struct vhost *v, uint8_t status);	/* told only if it changes something */

int  memory_tell(struct vhost *v);	/* what changed of the driver's memory */
bool memory_lost(struct vhost *v);	/* the peer has some that is no longer lent */

#endif
