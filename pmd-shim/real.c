// SPDX-License-Identifier: Apache-2.0
// real.c - each slot starts as a stub that fills the whole table and calls on.
#include <assert.h>
#include <errno.h>

#include "pmd-shim/elf.h"
#include "pmd-shim/real.h"

static void resolve(void);

#define X(type, name, params, args) \
	static type early_##name params \
	{ \
		resolve(); \
		return real.name args; \
	}
REAL_FUNCTIONS(X)
#undef X

struct real real = {
#define X(type, name, params, args) .name = early_##name,
	REAL_FUNCTIONS(X)
#undef X
};

/* A function this libc does not have is one no program linked with it can call. */
static long absent(void)
{
	errno = ENOSYS;
	return -1;
}

static const struct row {
	const char *name;
	void      **slot;
} rows[] = {
#define X(type, name, params, args) { #name, (void **)(void *)&real.name },
	REAL_FUNCTIONS(X)
#undef X
};

/* Two threads may do it at once: both store the same. */
static void resolve(void)
{
	int saved = errno;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		void *f = elf_next(rows[i].name);

		if (!f)
			f = (void *)absent;
		__atomic_store_n(rows[i].slot, f, __ATOMIC_RELAXED);
	}
	errno = saved;
}

static __attribute__((constructor(101))) void resolve_first(void)
{
	resolve();
}
