// SPDX-License-Identifier: Apache-2.0
// lock.c - futex mutex: the word is the holder's id, bit 0 says that a waiter must be woken.
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>

#include "sim/core/lock.h"
#include "sim/core/sys.h"

__thread uint32_t lock_self __attribute__((tls_model("initial-exec")));

uint32_t lock_new_id(void)
{
	static uint32_t ids;

	lock_self = __atomic_add_fetch(&ids, 2, __ATOMIC_RELAXED);
	assert(lock_self);	/* 2^31 threads later */
	return lock_self;
}

static void futex(uint32_t *word, int op, uint32_t val)
{
	sys_call(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}

/* A thread that had to sleep takes the lock as waited for: it cannot know whether others sleep. */
int lock_take_held(struct lock *l, uint32_t was)
{
	uint32_t me = lock_id();

	if ((was & ~LOCK_WAITED) == me)
		return -EDEADLK;
	for (;;) {
		if (!was) {
			if (__atomic_compare_exchange_n(&l->word, &was, me | LOCK_WAITED, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return 0;
			continue;
		}
		if (!(was & LOCK_WAITED) &&
		    !__atomic_compare_exchange_n(&l->word, &was, was | LOCK_WAITED, false,
						 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		futex(&l->word, FUTEX_WAIT, was | LOCK_WAITED);
		was = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
	}
}

void lock_wake(struct lock *l)
{
	futex(&l->word, FUTEX_WAKE, 1);
}
