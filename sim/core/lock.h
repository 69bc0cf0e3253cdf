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

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define LOCK_WAITED 1u

struct lock {
	uint32_t word;		/* 0 free, else the holder's id; LOCK_WAITED: somebody waits */
};

/*
 * Ids are handed out by a counter, not gettid(): they stay right in a forked child, where a
 * cached thread id would not, and cost no system call.
 */
extern __thread uint32_t lock_self __attribute__((tls_model("initial-exec")));
uint32_t lock_new_id(void);

static inline uint32_t lock_id(void)
{
	uint32_t me = lock_self;

	return __builtin_expect(!me, 0) ? lock_new_id() : me;
}

/* When somebody has it (the word was `was`), and when somebody waits for it. */
int  lock_take_held(struct lock *l, uint32_t was);
void lock_wake(struct lock *l);

/* 0, or -EDEADLK if this thread holds it already. */
static inline int lock_take(struct lock *l)
{
	uint32_t was = 0;

	if (__builtin_expect(__atomic_compare_exchange_n(&l->word, &was, lock_id(), false,
							 __ATOMIC_ACQUIRE, __ATOMIC_RELAXED), 1))
		return 0;
	return lock_take_held(l, was);
}

static inline void lock_drop(struct lock *l)
{
	uint32_t was = __atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE);

	assert((was & ~LOCK_WAITED) == lock_id());
	if (__builtin_expect(was & LOCK_WAITED, 0))
		lock_wake(l);
}

static inline bool lock_mine(const struct lock *l)
{
	return (__atomic_load_n(&l->word, __ATOMIC_RELAXED) & ~LOCK_WAITED) == lock_id();
}

#endif
