// SPDX-License-Identifier: Apache-2.0
// lend.c - see lend.h.
#include <errno.h>
#include <linux/magic.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>

#include "include/ioapi.h"
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

/* Lock held. */
static void lend(uint64_t start, uint64_t size)
{
	int rc = dma_map(domain, start, start, size);

	if (rc < 0 && rc != -EEXIST)
		log_error("dma", "hugepages at 0x%llx cannot be lent to the devices: %s",
			  (unsigned long long)start, strerror(-rc));
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

void lend_gone(const void *addr, size_t len)
{
	uint64_t done;

	if (!lend_any() || !len || lock_take(&shim_lock))
		return;
	if (domain && shim_bus_open())
		ioapi_dma_unmap(domain, (uintptr_t)addr, len, &done);
	lock_drop(&shim_lock);
}

void lend_child(void)
{
	domain = NULL;
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
