/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the device side's one background thread: fds that become ready, and timers.
 *
 * It exists so that a back-end can be noticed going and coming while no driver access is under
 * way. It sleeps otherwise: an idle loop costs nothing. All signals are blocked in it.
 *
 * A source is embedded in its owner and must outlive the loop. Its callback runs in the loop's
 * thread with no lock held; the owner takes its own lock there and judges its state afresh,
 * because a callback may be on its way while another thread changes the watch.
 */
#ifndef SIM_CORE_LOOP_H
#define SIM_CORE_LOOP_H

#include <stdint.h>

struct loop;

struct loop_source {
	void   (*ready)(struct loop_source *s, uint32_t events);	/* events 0: the timer */
	/* the loop's own */
	int      fd;			/* -1: not watched */
	uint64_t due_ms;		/* 0: no timer */
	struct loop_source *next;
	int      linked;
};

/* No thread starts before loop_start(), so a bus that is only looked at has none. */
int  loop_new(struct loop **l);
int  loop_start(struct loop *l);	/* idempotent; -errno if no thread can be had */
void loop_stop(struct loop *l);		/* joins; call with no lock held that a callback takes */
void loop_free(struct loop *l);
void loop_orphan(struct loop *l);	/* after fork, in the child: there is no thread here */

/* From any thread; take effect before the call returns (bar a callback already running). */
void loop_watch(struct loop *l, struct loop_source *s, int fd);	/* POLLIN, HUP, ERR; -1: none */
void loop_timer(struct loop *l, struct loop_source *s, uint64_t due_ms);	/* 0: none */

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t loop_now_ms(void);

#endif
