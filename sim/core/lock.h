/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - a small futex mutex that knows its owner.
 *
 * Used where a trap (a synchronous signal handler) may try to take a lock its own thread holds:
 * lock_take() then answers -EDEADLK instead of hanging. Uncontended take and drop are one
 * atomic instruction each. Zero-initialised is unlocked.
 */
#ifndef SIM_CORE_LOCK_H
#define SIM_CORE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct lock {
	uint32_t    state;		/* 0 free, 1 held, 2 held and waited for */
	const void *owner;		/* the holder's thread; only compared with one's own */
};

/* 0, or -EDEADLK if this thread holds it already. */
int  lock_take(struct lock *l);
void lock_drop(struct lock *l);
bool lock_mine(const struct lock *l);

#endif
