/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmdq.h - what the kernel does with the frames of pools that own a TAP queue: two eBPF programs
 * at the interface's traffic control (clsact), attached over rtnetlink.
 *
 *	ingress		what a pool wrote to its queue. Judged in the kernel's own copy, so that
 *			what was judged is what goes on: VLAN, source address, reserved addresses.
 *			Then on to the wire, back to the queue of the pool that owns the
 *			destination, or to the queues of all that accept the group.
 *	egress		what comes from the wire for a group: to each queue that accepts it.
 *			With one queue only, also what is not for its pool is dropped.
 *
 * The decisions are l2switch.h's, for the part of its rules that is written here; frames of
 * queues that are nobody's pass as they are: those the switch has judged itself. A frame
 * meant for a queue carries a mark (steer.h). Counters are l2switch's, added to by the programs.
 *
 * Masks and counters are memory shared with the programs: changing them takes no system call,
 * and no rights. The programs are gone with the interface; once vmdq_free() was called they let
 * everything pass.
 */
#ifndef SIM_BACKEND_VMDQ_H
#define SIM_BACKEND_VMDQ_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/backend/l2switch.h"
#include "sim/backend/steer.h"

#define VMDQ_QUEUES STEER_QUEUES
#define VMDQ_WIRE VMDQ_QUEUES		/* the row of what comes from the wire */

struct err;
struct vmdq;

struct vmdq_row {
	struct l2_counters l2;		/* of whoever owns the queue now */
	uint64_t wire, wire_bytes;	/* frames let pass to the wire, ever */
	int64_t  storm;			/* copies that may still be made; topped up from outside */
};

/* Bit q of a mask is queue q. */
struct vmdq_shared {
	uint64_t owned;			/* by pools: what they write is judged */
	uint64_t checked;		/* source must be one of its own */
	uint64_t untagged, broadcast, multicast, groups;	/* accepted, as L2_ACCEPT_* */
	uint64_t unknown;		/* unicast that no pool owns is flooded there */
	uint64_t whole;			/* all receivers are queues here: groups need no switch */
	uint64_t stray;			/* one queue: it gets what no pool owns */
	uint64_t loopback;		/* pool to pool inside */
	struct vmdq_row row[VMDQ_QUEUES + 1];
};

/* steer: whose table of addresses is used. Takes rights; -errno where the kernel cannot. */
int  vmdq_new(struct vmdq **v, const char *dev, unsigned queues, const struct steer *steer,
	      struct err *e);
void vmdq_free(struct vmdq *v);
/* Written by the control thread, with single stores. */
struct vmdq_shared *vmdq_shared(const struct vmdq *v);
uint64_t *vmdq_members(const struct vmdq *v);	/* a mask for each VLAN */
/* An address the queue's pool may send from. */
int  vmdq_source(struct vmdq *v, const uint8_t mac[6], unsigned queue, bool on);
/* Who joined a group in a VLAN; 0: nobody. */
int  vmdq_group(struct vmdq *v, const uint8_t mac[6], uint16_t vlan, uint64_t members);

static inline void vmdq_bit(uint64_t *mask, unsigned queue, bool on)
{
	uint64_t bit = 1ull << queue;

	__atomic_store_n(mask, on ? *mask | bit : *mask & ~bit, __ATOMIC_RELEASE);
}

/* ---- tc.c: a program where the interface's frames come in (from us: ingress) or go out. */
int tc_attach(const char *dev, bool ingress, int prog_fd, struct err *e);

/* ---- vmdq_bpf.c: the programs' descriptors, or -errno. */
struct vmdq_maps {
	int shared, member, steer, source, group;
	int ifindex;
	unsigned queues;
};
int vmdq_load(const struct vmdq_maps *m, bool ingress);

#endif
