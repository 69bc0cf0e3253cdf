/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap_lane.h - one queue of a TAP interface, for one port: VMDq's queue pair.
 *
 * The steering program sends the frames of the port's (MAC, VLAN) pairs to this queue. Each
 * is read by the kernel straight into a buffer the pod posted, header and all: its copy is the
 * only one, and nothing of the frame is read here. With io_uring the pod's memory is registered,
 * so its pages are looked up once and not per frame.
 *
 * No buffers posted: frames wait in the interface's queue, which is bounded, and then that pod
 * loses them, nobody else. Buffers of another shape (chains, too small): read here and given,
 * with a second copy that is counted.
 *
 * What the interface may leave undone (checksums) follows what all lanes' pods negotiated.
 *
 * The transmit half is used while programs in the kernel judge what is sent (vmdq.h): then each
 * frame is written by the kernel from where the pod's descriptor says, header and all, and nothing
 * of it is read here. Chains of several descriptors, and what is not registered, are written
 * piece by piece. Should the programs be taken off the interface, the lane stops sending.
 */
#ifndef SIM_BACKEND_TAP_LANE_H
#define SIM_BACKEND_TAP_LANE_H

#include <stdint.h>

#include "sim/backend/l2switch.h"
#include "sim/backend/workers.h"

struct err;
struct port;
struct tap_lane;

/*
 * Takes a queue of the interface that is free: control thread. -ENOSPC if none is, -ENOTSUP if
 * the interface is not steered. The interface outlives the lane. It can be attached to
 * vhost-user ports only.
 *
 * Of an interface with one queue that one is given, if programs see to it that nothing else
 * arrives there (vmdq.h). The lane is attached between tap_lend() and tap_lend_end(), which
 * run in the thread of the interface's worker: in between the port itself reads nothing.
 */
int  tap_lane_new(struct tap_lane **l, struct port *tap, struct err *e);
/* To be called when the lane is attached to no worker. */
void tap_lane_free(struct tap_lane *l);
struct lane *tap_lane_of(struct tap_lane *l);	/* for workers_lane() */
unsigned tap_lane_queue(const struct tap_lane *l);
unsigned tap_lane_mtu(const struct tap_lane *l);

/* The port is about to lose its memory (port_host.drain): lets go of it. Its worker's thread. */
void tap_lane_drain(struct tap_lane *l);

/* Frames of this (MAC, VLAN) come here from now on, or go to everybody's queue again. */
int  tap_lane_steer(struct tap_lane *l, const uint8_t mac[6], uint16_t vlan, bool on);

/*
 * The programs' rules for this lane, as the port's configuration has them; NULL: the lane ends.
 * Without programs nothing is done. (L2_ACCEPT_ALL and _UNKNOWN, rates, MTU, L2_ISOLATED and
 * L2_PASS_RESERVED are none of theirs.) On failure the lane does not send.
 */
int  tap_lane_rules(struct tap_lane *l, const struct l2_conf *c);
/* On: where programs judge, what the port sends is written by the kernel. See workers.h. */
void tap_lane_sends(struct tap_lane *l, bool on);
/* It was off, and no worker is in the middle of it: the programs need not look any more. */
void tap_lane_sent(struct tap_lane *l);
bool tap_lane_is_sending(const struct tap_lane *l);
/* What the programs counted of this lane, from 0 on; NULL without programs. */
const struct l2_counters *tap_lane_judged(const struct tap_lane *l);
struct port *tap_lane_port(const struct tap_lane *l);	/* of the interface */

/* The same for the interface as a whole. Only where there are programs: tap_judges(). */
struct tap_rules {
	bool     whole;			/* lanes are all there is: groups need no switch */
	bool     loopback;
	uint64_t unknown;		/* lanes' queues to flood to what no pool owns */
	uint64_t stray;			/* the only queue, if it gets that from the wire */
	struct l2_rate storm;		/* copies of what comes from the wire */
};
int  tap_lend(void *tap);		/* a struct port */
int  tap_lend_end(void *tap);
bool tap_judges(const struct port *tap);
/* Its programs were found not to run any more: they are done with for good. */
bool tap_lost(const struct port *tap);
void tap_rules(struct port *tap, const struct tap_rules *r);
/* The lanes' queues that joined a group. */
int  tap_group(struct port *tap, const uint8_t mac[6], uint16_t vlan, uint64_t queues);
const struct l2_counters *tap_judged(const struct port *tap);

struct tap_lane_counters {
	uint64_t frames;		/* read straight into the pod's buffers */
	uint64_t bounced;		/* read here and copied */
	uint64_t copied_bytes;		/* by us: the bounced ones and those moved to close a gap */
	uint64_t waits;			/* times no buffer was posted */
	uint64_t dropped;		/* truncated, malformed, or the pod was gone */
	uint64_t enters;		/* io_uring_enter calls (or reads) that found something */
	uint64_t sent;			/* written from the pod's buffers */
	uint64_t sent_in_parts;		/* of those tried: several pieces, or not registered */
	uint64_t send_failed;		/* refused by the kernel; the interface's port says why */
};
void tap_lane_counters(const struct tap_lane *l, struct tap_lane_counters *c);

#endif
