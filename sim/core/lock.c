// SPDX-License-Identifier: Apache-2.0
// lock.c - three-state futex mutex (Drepper, "Futexes are tricky"), plus an owner.
#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim/core/lock.h"

/* Its address is this thread's identity: cheaper than gettid(), and safe in a signal handler. */
static __thread char self __attribute__((tls_model("initial-exec")));

static void futex(uint32_t *word, int op, uint32_t val)
{
	int saved = errno;

	syscall(SYS_futex, word, op | FUTEX_PRIVATE_FLAG, val, NULL, NULL, 0);
	errno = saved;
}

bool lock_mine(const struct lock *l)
{
	return __atomic_load_n(&l->owner, __ATOMIC_RELAXED) == &self;
}

int lock_take(struct lock *l)
{
	uint32_t was = 0;

	if (!__atomic_compare_exchange_n(&l->state, &was, 1, false, __ATOMIC_ACQUIRE,
					 __ATOMIC_RELAXED)) {
		if (lock_mine(l))
			return -EDEADLK;
		while (__atomic_exchange_n(&l->state, 2, __ATOMIC_ACQUIRE) != 0)
			futex(&l->state, FUTEX_WAIT, 2);
	}
	__atomic_store_n(&l->owner, &self, __ATOMIC_RELAXED);
	return 0;
}

void lock_drop(struct lock *l)
{
	assert(lock_mine(l));
	__atomic_store_n(&l->owner, NULL, __ATOMIC_RELAXED);
	if (__atomic_exchange_n(&l->state, 0, __ATOMIC_RELEASE) == 2)
		futex(&l->state, FUTEX_WAKE, 1);
}
