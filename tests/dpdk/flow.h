/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.h - numbered, checksummed frames through one queue pair whose far end echoes them.
 *
 * A flow keeps at most `window` frames under way and judges each one that comes back: right
 * run, port and queue, every byte as sent, each number once and in order. Frames that never
 * return are `lost`, unless a disturbance was announced with flow_forgive().
 */
#ifndef TESTS_DPDK_FLOW_H
#define TESTS_DPDK_FLOW_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mbuf.h>

#define FLOW_BURST     32
#define FLOW_SIZE_MIN  60	/* an Ethernet frame without its checksum */
#define FLOW_SIZE_MAX  9000
#define FLOW_SEEN_BITS 65536	/* how far back a duplicate is told from a straggler */

struct flow {
	uint16_t port, queue;
	uint32_t run;			/* frames of another run are strangers */
	struct rte_mempool *pool;
	uint64_t sent, received;
	uint64_t next;			/* the number in order */
	uint64_t corrupt, duplicate, reordered, strangers, forgiven;
	uint64_t pardon;		/* numbers below it were forgiven */
	uint64_t last_tsc;		/* when the last good frame came */
	struct rte_mbuf *pending[FLOW_BURST];	/* refused by a full ring */
	unsigned pendings;
	uint64_t seen[FLOW_SEEN_BITS / 64];
};

void flow_init(struct flow *f, uint16_t port, uint16_t queue, uint32_t run,
	       struct rte_mempool *pool);

/* Sends what window and limit (total ever sent) allow; number of frames handed over. */
unsigned flow_send(struct flow *f, uint32_t size, unsigned window, uint64_t limit);

/* Takes and judges one burst; number of frames taken. */
unsigned flow_receive(struct flow *f);

uint64_t flow_outstanding(const struct flow *f);
void flow_forgive(struct flow *f);	/* what is under way may not return, or late */
void flow_drop_pending(struct flow *f);

#endif
