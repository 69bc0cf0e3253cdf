// SPDX-License-Identifier: Apache-2.0
// mem.c - mmap, munmap, mremap; bookkeeping follows the real call, so that a failed one keeps it.
#include <errno.h>

#include "pmd-shim/coalesce.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/lend.h"
#include "pmd-shim/mem.h"
#include "pmd-shim/real.h"
#include "pmd-shim/trap.h"

#define PAGE 4096u

bool mem_cares_gone(void)
{
	return trap_any() || coalesce_any() || lend_any();
}

bool mem_cares(int flags, int fd)
{
	if (fd >= 0 && ((flags & MAP_SHARED) || fdtab_get(fd)))
		return true;
	return (flags & MAP_FIXED) && mem_cares_gone();
}

static size_t whole_pages(size_t len)
{
	return (len + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static long result_of(void *p)
{
	return p == MAP_FAILED ? -errno : (long)p;
}

long mem_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	struct ours *o = fdtab_get(fd);
	int saved = errno;
	bool held;
	long at;

	if (o) {
		at = o->ops->mmap(o, addr, len, prot, flags, (uint64_t)off);
		if (at >= 0 && (flags & MAP_FIXED)) {
			coalesce_forget(addr, whole_pages(len));
			lend_gone(addr, whole_pages(len));
		}
		return at;
	}
	if (!addr)
		addr = lend_place(len, flags, fd);
	held = (flags & MAP_FIXED) && trap_hold(addr, len);
	at = coalesce_mmap(addr, len, prot, flags, fd, off);
	if (at == COALESCE_NOT_OURS) {
		at = result_of(real.mmap(addr, len, prot, flags, fd, off));
		if (at >= 0 && (flags & MAP_FIXED))
			coalesce_forget(addr, whole_pages(len));
	}
	if (at >= 0 && (flags & MAP_FIXED))
		trap_forget(addr, whole_pages(len));
	trap_let(held);
	if (at >= 0 && (flags & MAP_FIXED))
		lend_gone(addr, whole_pages(len));
	if (at >= 0 && lend_any() && (flags & MAP_SHARED))
		lend_mapped((void *)at, len, fd);
	errno = saved;
	return at;
}

long mem_munmap(void *addr, size_t len)
{
	bool held = trap_hold(addr, len);
	int rc = real.munmap(addr, len) < 0 ? -errno : 0;

	if (!rc)
		trap_forget(addr, whole_pages(len));
	trap_let(held);
	if (rc)
		return rc;
	coalesce_forget(addr, whole_pages(len));
	lend_gone(addr, whole_pages(len));
	return 0;
}

/*
 * A BAR stays where it was mapped. Coalesced pages that move keep their content and are found
 * through /proc from then on.
 */
long mem_mremap(void *addr, size_t len, size_t to_len, int flags, void *to)
{
	bool held;
	long at;

	if (trap_touches(addr, len ? len : 1))
		return -EINVAL;
	held = (flags & MREMAP_FIXED) && trap_hold(to, to_len);
	at = result_of(real.mremap(addr, len, to_len, flags, to));
	if (at >= 0 && (flags & MREMAP_FIXED))
		trap_forget(to, whole_pages(to_len));
	trap_let(held);
	if (at < 0)
		return at;
	coalesce_leave(addr, whole_pages(len));
	lend_gone(addr, whole_pages(len));
	if (flags & MREMAP_FIXED) {
		coalesce_forget(to, whole_pages(to_len));
		lend_gone(to, whole_pages(to_len));
	}
	return at;
}
