// SPDX-License-Identifier: Apache-2.0
// lock.c - futex mutex: the word is the holder's id, bit 0 says that a waiter must be woken.
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>

#include "sim/core/lock.h"
#include "sim/core/sys.h"

#define WAITED 1u

/*
 * Ids are handed out by a counter, not gettid(): they stay right in a forked child, where a
 * cached thread id would not, and cost no system call.
 */
static uint32_t ids;
static __thread uint32_t self __attribute__((tls_model("initial-exec")));

static uint32_t my_id(void)
{
	if (__builtin_expect(!self, 0)) {
		self = __atomic_add_fetch(&ids, 2, __ATOMIC_RELAXED);
		assert(self);	/* 2^31 threads later */
	}
	return self;
}

static void futex(uint32_t *word, int op, uint32_t val)
{
	sys_call(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
}

bool lock_mine(const struct lock *l)
{
	return (__atomic_load_n(&l->word, __ATOMIC_RELAXED) & ~WAITED) == my_id();
}

/* A thread that had to sleep takes the lock as WAITED: it cannot know whether others sleep. */
static void take_slow(struct lock *l, uint32_t me)
{
	uint32_t was = __atomic_load_n(&l->word, __ATOMIC_RELAXED);

	for (;;) {
		if (!was) {
			if (__atomic_compare_exchange_n(&l->word, &was, me | WAITED, false,
							__ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
				return;
			continue;
		}
		if (!(was & WAITED) &&
		    !__atomic_compare_exchange_n(&l->word, &was, was | WAITED, false,
						 __ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		futex(&l->word, FUTEX_WAIT, was | WAITED);
		was = __atomic_load_n(&l->word, __ATOMIC_RELAXED);
	}
}

int lock_take(struct lock *l)
{
	uint32_t was = 0, me = my_id();

	if (__atomic_compare_exchange_n(&l->word, &was, me, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED))
		return 0;
	if ((was & ~WAITED) == me)
		return -EDEADLK;
	take_slow(l, me);
	return 0;
}

void lock_drop(struct lock *l)
{
	assert(lock_mine(l));
	if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) & WAITED)
		futex(&l->word, FUTEX_WAKE, 1);
}
