/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lock.h - a small futex mutex that knows its owner.
 *
 * Used where a trap (a synchronous signal handler) may try to take a lock its own thread holds:
 * lock_take() then answers -EDEADLK instead of hanging. Uncontended take and drop are one
 * atomic instruction each. Zero-initialised is unlocked.
 *
 * The owner is part of the one word the lock consists of, so there is no instant at which the
 * lock is held and does not say by whom: an asynchronous handler, too, gets -EDEADLK.
 */
#ifndef SIM_CORE_LOCK_H
#define SIM_CORE_LOCK_H

#include <stdbool.h>
#include <stdint.h>

struct lock {
	uint32_t word;			/* 0 free, else the holder's id; bit 0: somebody waits */
};

/* 0, or -EDEADLK if this thread holds it already. */
int  lock_take(struct lock *l);
void lock_drop(struct lock *l);
bool lock_mine(const struct lock *l);

#endif
