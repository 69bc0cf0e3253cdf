/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tap_lane.h - one queue of a TAP interface, for one port: a VMDq queue pair's receive half.
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
 */
#ifndef SIM_BACKEND_TAP_LANE_H
#define SIM_BACKEND_TAP_LANE_H

#include <stdint.h>

#include "sim/backend/workers.h"

struct err;
struct port;
struct tap_lane;

/*
 * Takes a queue of the interface that is free: control thread. -ENOSPC if none is, -ENOTSUP if
 * the interface is not steered. The interface outlives the lane. It can be attached to
 * vhost-user ports only.
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

struct tap_lane_counters {
	uint64_t frames;		/* read straight into the pod's buffers */
	uint64_t bounced;		/* read here and copied */
	uint64_t copied_bytes;		/* by us: the bounced ones and those moved to close a gap */
	uint64_t waits;			/* times no buffer was posted */
	uint64_t dropped;		/* truncated, malformed, or the pod was gone */
	uint64_t enters;		/* io_uring_enter calls (or reads) that found something */
};
void tap_lane_counters(const struct tap_lane *l, struct tap_lane_counters *c);

#endif
