// SPDX-License-Identifier: Apache-2.0
// lend.c - see lend.h.
#include <errno.h>
#include <linux/magic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "include/ioapi.h"
#include "pmd-shim/coalesce.h"
#include "pmd-shim/dma.h"
#include "pmd-shim/lend.h"
#include "pmd-shim/shim.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"

/* Above what DPDK reserves for itself, below what a 32-bit number of 4 KiB frames reaches. */
#define LOW_START (UINT64_C(1) << 43)
#define LOW_END   (UINT64_C(1) << 44)

static struct ioapi_domain *domain;
/* One after the other without gaps: who sorts pages by frame number finds long runs. */
static uint64_t low_next = LOW_START;

bool lend_any(void)
{
	return __atomic_load_n(&domain, __ATOMIC_RELAXED) != NULL;
}

/* What is lent by another address than its own, for it was moved (coalesce_frame()). */
static struct moved {
	uint64_t va, iova, size;
} moved[LEND_RANGES_MAX];
static unsigned n_moved;

/* Lock held. */
static void lend_run(uint64_t va, uint64_t iova, uint64_t size)
{
	int rc = va != iova && n_moved == LEND_RANGES_MAX ? -ENOSPC :
		 dma_map(domain, va, iova, size);

	if (!rc && va != iova)
		moved[n_moved++] = (struct moved){ va, iova, size };
	if (rc < 0 && rc != -EEXIST)
		log_error("dma", "hugepages at 0x%llx cannot be lent to the devices: %s",
			  (unsigned long long)va, strerror(-rc));
}

/* Lock held. Runs of pages that lie as they did when they were first mapped go together. */
static void lend(uint64_t start, uint64_t size)
{
	uint64_t va = start, done = 0, run, iova = coalesce_frame(start, &run), at = iova;

	while (done < size) {
		if (at - iova != start + done - va) {
			lend_run(va, iova, start + done - va);
			va = start + done;
			iova = at;
		}
		done += run < size - done ? run : size - done;
		at = coalesce_frame(start + done, &run);
	}
	lend_run(va, iova, start + size - va);
}

int lend_domain(struct ioapi_domain **d)
{
	static struct dma_range found[LEND_RANGES_MAX];	/* under shim_lock */
	struct ioapi_domain *fresh;
	unsigned n;
	int rc;

	if (!domain) {
		rc = ioapi_domain_new(shim_bus_open(), &fresh);
		if (rc < 0)
			return rc;
		n = dma_find_huge(found, LEND_RANGES_MAX);
		__atomic_store_n(&domain, fresh, __ATOMIC_RELAXED);
		for (unsigned i = 0; i < n; i++)
			lend(found[i].start, found[i].end - found[i].start);
	}
	*d = domain;
	return 0;
}

/* The size of a page of the file, 0 if it is none of hugepages. */
static uint64_t huge_page(int fd)
{
	struct statfs fs;

	if (fd < 0 || sys_call(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	return (uint64_t)fs.f_bsize;
}

void lend_mapped(void *addr, size_t len, int fd)
{
	uint64_t page = huge_page(fd);

	if (!page || lock_take(&shim_lock))
		return;
	if (domain && shim_bus_open())
		lend((uintptr_t)addr, (len + page - 1) & ~(page - 1));
	lock_drop(&shim_lock);
}

/* Lock held. By the addresses it was lent at; whole runs only, as in ioapi_dma_unmap(). */
static void take_back_moved(uint64_t start, uint64_t end)
{
	uint64_t done;

	for (unsigned i = n_moved; i-- > 0;) {
		struct moved m = moved[i];

		if (m.va < start || m.va + m.size > end)
			continue;
		moved[i] = moved[--n_moved];
		ioapi_dma_unmap(domain, m.iova, m.size, &done);
	}
}

/* Lock held. A page's first address stays its name when nothing is mapped there any more. */
static bool is_name(uint64_t start, uint64_t end)
{
	for (unsigned i = 0; i < n_moved; i++)
		if (moved[i].iova < end && start < moved[i].iova + moved[i].size)
			return true;
	return false;
}

/* Lock held. */
static void take_back(uint64_t start, uint64_t end)
{
	uint64_t done;

	take_back_moved(start, end);
	if (!is_name(start, end))
		ioapi_dma_unmap(domain, start, end - start, &done);
}

void lend_gone(const void *addr, size_t len)
{
	if (!lend_any() || !len || lock_take(&shim_lock))
		return;
	if (domain && shim_bus_open())
		take_back((uintptr_t)addr, (uintptr_t)addr + len);
	lock_drop(&shim_lock);
}

void lend_child(void)
{
	domain = NULL;
	n_moved = 0;
}

void *lend_place(size_t len, int flags, int fd)
{
	struct ioapi_bus *bus;
	uint64_t page, next, at;

	if ((flags & (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_ANONYMOUS)) || !(flags & MAP_SHARED) ||
	    !shim_present())
		return NULL;
	page = huge_page(fd);
	if (!page || len > LOW_END - LOW_START - page)
		return NULL;
	bus = shim_bus();
	if (!bus || !ioapi_bus_func(bus, 0) || !shim_option("pagemap"))
		return NULL;
	len = (len + page - 1) & ~(page - 1);
	next = __atomic_load_n(&low_next, __ATOMIC_RELAXED);
	do {
		at = (next + page - 1) & ~(page - 1);
		at = at + len > LOW_END ? LOW_START : at;
	} while (!__atomic_compare_exchange_n(&low_next, &next, at + len, false, __ATOMIC_RELAXED,
					      __ATOMIC_RELAXED));
	return (void *)at;
}
