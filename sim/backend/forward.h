/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forward.h - moves frames between ports as l2switch decides: one worker's half of the switch.
 *
 * Model: take a burst from one queue of one port; decide for all of it; collect per destination;
 * give; release. A frame goes ring to ring with one copy, done by give(). Frames with several
 * destinations are collected by pointer, not copied; only where a destination wants the tag
 * edited, or cannot take the frame's offloads, is a frame of our own made.
 *
 * Order: frames from one queue to one destination keep their order, whatever detour they take.
 *
 * Threads: a struct forward is one worker's. The table of ports is shared: an entry is set
 * before l2switch knows the port, and cleared before the port's owner detaches it, with a grace
 * period of all workers in between.
 */
#ifndef SIM_BACKEND_FORWARD_H
#define SIM_BACKEND_FORWARD_H

#include <stdint.h>

#include "sim/backend/l2switch.h"
#include "sim/backend/port.h"

struct forward;

struct forward_ports {
	struct port *port[L2_PORTS_MAX];	/* port_load() */
};

/* What became of frames here, beyond what ports and l2switch count. */
struct forward_counters {
	uint64_t bursts, frames;
	uint64_t bad_offload;		/* offload fields that contradict the packet */
	uint64_t unfit;			/* could not be made fit for a receiver */
	uint64_t shaped;		/* over a destination's rate */
	uint64_t gone;			/* destination left meanwhile */
	uint64_t copies;		/* given beyond the first */
	uint64_t segments;		/* frames made by segmentation */
};

int  forward_new(struct forward **fw, struct l2 *l2, struct forward_ports *ports);
void forward_free(struct forward *fw);

/* One burst of queue q of p, the port with this id; how many frames it was. */
unsigned forward_poll(struct forward *fw, unsigned id, struct port *p, unsigned q,
		      uint64_t now_ns);

/* Ports that were given something since they were last asked for; clears the set. */
void forward_touched(struct forward *fw, struct l2_set *s);

void forward_counters(const struct forward *fw, struct forward_counters *c);	/* any thread */

#endif
