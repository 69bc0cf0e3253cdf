// SPDX-License-Identifier: Apache-2.0
// fault.c - the countdown behind fault_now(); process-wide, as the resources are.
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "sim/core/fault.h"
#include "sim/core/sys.h"

static unsigned left;

void fault_arm(unsigned n)
{
	__atomic_store_n(&left, n, __ATOMIC_RELAXED);
}

bool fault_armed(void)
{
	return __atomic_load_n(&left, __ATOMIC_RELAXED) != 0;
}

bool fault_now(void)
{
	unsigned n = __atomic_load_n(&left, __ATOMIC_RELAXED);

	/* Of several threads one is the last: the others must not count on, below zero. */
	while (__builtin_expect(n, 0))
		if (__atomic_compare_exchange_n(&left, &n, n - 1, true, __ATOMIC_RELAXED,
						__ATOMIC_RELAXED))
			return n == 1;
	return false;
}

void *fault_zalloc(size_t size)
{
	return fault_now() ? NULL : calloc(1, size);
}

void *fault_pages(size_t size)
{
	long p;

	if (fault_now())
		return NULL;
	p = sys_call(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
		     -1, 0);
	return p < 0 && p > -4096 ? NULL : (void *)(uintptr_t)p;
}

void fault_pages_free(void *p, size_t size)
{
	if (p)
		sys_call(SYS_munmap, p, size);
}
