/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - the device side's one background thread: fds that become ready, and timers.
 *
 * It exists so that a back-end can be noticed going and coming while no driver access is under
 * way. It sleeps otherwise: an idle loop costs nothing. All signals are blocked in it but those
 * an instruction raises (guard.h needs them) and the two that libc keeps for itself.
 *
 * A source is embedded in its owner and must outlive the loop. Its callback runs in the loop's
 * thread with no lock held; the owner takes its own lock there and judges its state afresh,
 * because a callback may be on its way while another thread changes the watch.
 */
#ifndef SIM_CORE_LOOP_H
#define SIM_CORE_LOOP_H

#include <stdint.h>

#define LOOP_SOURCES_MAX 4096	/* ever linked to one loop */

struct loop;
struct pollfd;

struct loop_source {
	/* events as in poll(2); 0: the timer. POLLNVAL also ends the watch. */
	void   (*ready)(struct loop_source *s, uint32_t events);
	/* the loop's own; to be initialised with fd -1 and the rest 0 */
	int      fd;			/* -1: not watched */
	unsigned watch;			/* the how manieth */
	uint64_t due_ms;		/* 0: no timer */
	struct loop_source *next;
	int      linked;
};

/*
 * Time that is not the machine's: a loop born in such a world has no thread. Who made the world
 * takes the loop's turns, and waiting is the world's to do (it runs the peers meanwhile).
 */
struct loop_world {
	void     *ctx;
	uint64_t (*now_ms)(void *ctx);
	/* As loop_wait(). */
	int      (*wait)(void *ctx, struct pollfd *p, unsigned n, uint64_t until_ms);
	uint64_t  seed;			/* of what is random elsewhere */
};

/* No thread starts before loop_start(), so a bus that is only looked at has none. */
int  loop_new(struct loop **l);
int  loop_new_in(struct loop **l, const struct loop_world *w);	/* w outlives it; NULL: real */
int  loop_start(struct loop *l);	/* idempotent; -errno if no thread can be had, -ENOSYS if
				 * this process has no library for them */
void loop_stop(struct loop *l);		/* joins; call with no lock held that a callback takes */
void loop_free(struct loop *l);
void loop_orphan(struct loop *l);	/* after fork, in the child: there is no thread here */

/*
 * From any thread, also in a trap or a callback; take effect before the call returns (bar a
 * callback already running). A watch lasts until changed: level-triggered, POLLIN | POLLHUP |
 * POLLERR. A timer strikes once.
 */
void loop_watch(struct loop *l, struct loop_source *s, int fd);		/* -1: none */
void loop_timer(struct loop *l, struct loop_source *s, uint64_t due_ms);	/* 0: none */

/* CLOCK_MONOTONIC in milliseconds; of a loop, in its world. */
uint64_t loop_now_ms(void);
uint64_t loop_now(const struct loop *l);
uint64_t loop_seed(const struct loop *l);	/* differs from loop to loop, but in a world */

/* As poll(2) until a time: how many are ready (0: none), or -errno; -EINTR is 0. Any thread. */
int loop_wait(struct loop *l, struct pollfd *p, unsigned n, uint64_t until_ms);

/*
 * In a world only: does once what the thread would do now, and never waits. Ready source i (of
 * those watched, i < 64) is told if bit i of `told` is set, beginning with source `first`.
 */
void loop_turn(struct loop *l, uint64_t told, unsigned first);

#endif
