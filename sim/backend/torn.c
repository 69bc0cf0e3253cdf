// SPDX-License-Identifier: Apache-2.0
// torn.c - see torn.h. The table is the process's, as signal handlers are.
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>

#include "sim/backend/torn.h"
#include "sim/core/guard.h"

/* start is written last and cleared first: the handler believes a range that has one. */
static struct range {
	uintptr_t start, end;
	bool *flag;
} ranges[TORN_RANGES];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int high;			/* slots below it may be in use; only grows */
static struct sigaction before;
static bool installed;

static struct range *range_of(uintptr_t addr)
{
	int n = __atomic_load_n(&high, __ATOMIC_ACQUIRE);

	for (int i = 0; i < n; i++) {
		uintptr_t start = __atomic_load_n(&ranges[i].start, __ATOMIC_ACQUIRE);

		if (start && addr >= start && addr < ranges[i].end)
			return &ranges[i];
	}
	return NULL;
}

/* Anonymous memory over all of it: a part would have to respect the file's page size. */
static bool mend(uintptr_t addr)
{
	struct range *r = range_of(addr);
	void *at;

	if (!r)
		return false;
	at = mmap((void *)r->start, r->end - r->start, PROT_READ | PROT_WRITE,
		  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (at == MAP_FAILED)
		return false;
	__atomic_store_n(r->flag, true, __ATOMIC_RELEASE);
	return true;
}

static void on_bus(int sig, siginfo_t *info, void *ucontext)
{
	int saved = errno;

	if (guard_fix(ucontext) || (info->si_code > 0 && mend((uintptr_t)info->si_addr))) {
		errno = saved;
		return;
	}
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(sig, info, ucontext);
	} else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
		before.sa_handler(sig);
	} else {
		/* Back to the default; the access faults again, a sent signal is sent again. */
		sigaction(sig, &before, NULL);
		if (info->si_code <= 0)
			raise(sig);
	}
	errno = saved;
}

int torn_install(void)
{
	struct sigaction ours = { .sa_sigaction = on_bus, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	int rc = 0;

	sigemptyset(&ours.sa_mask);
	pthread_mutex_lock(&lock);
	if (!installed && sigaction(SIGBUS, &ours, &before) < 0)
		rc = -errno;
	installed = installed || rc == 0;
	pthread_mutex_unlock(&lock);
	return rc;
}

int torn_watch(void *base, size_t len, bool *flag)
{
	int slot = 0;

	pthread_mutex_lock(&lock);
	while (slot < TORN_RANGES && ranges[slot].start)
		slot++;
	if (slot < TORN_RANGES) {
		ranges[slot].end = (uintptr_t)base + len;
		ranges[slot].flag = flag;
		__atomic_store_n(&ranges[slot].start, (uintptr_t)base, __ATOMIC_RELEASE);
		if (slot >= high)
			__atomic_store_n(&high, slot + 1, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&lock);
	return slot < TORN_RANGES ? slot : -ENOSPC;
}

void torn_forget(int slot)
{
	assert(slot >= 0 && slot < TORN_RANGES && ranges[slot].start);
	__atomic_store_n(&ranges[slot].start, 0, __ATOMIC_RELEASE);
}
