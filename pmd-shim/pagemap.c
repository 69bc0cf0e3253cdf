// SPDX-License-Identifier: Apache-2.0
// pagemap.c - see Linux Documentation/admin-guide/mm/pagemap.rst for the format.
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "pmd-shim/coalesce.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/pagemap.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/shim.h"
#include "sim/core/sys.h"

#define OPEN_MAX_PAGEMAPS 64		/* more at once get the kernel's */
#define PAGE      UINT64_C(4096)
#define PRESENT   (UINT64_C(1) << 63)
#define PFN_MASK  ((UINT64_C(1) << 55) - 1)
#define ENTRIES   (UINT64_C(1) << 35)	/* 47 address bits in 4 KiB pages */

static ssize_t pagemap_pread(struct ours *o, void *buf, size_t n, uint64_t off)
{
	uint8_t *out = buf;
	size_t done = 0;

	if (off % sizeof(uint64_t) || n % sizeof(uint64_t))
		return -EINVAL;
	for (; done < n && (off + done) / sizeof(uint64_t) < ENTRIES; done += sizeof(uint64_t)) {
		uint64_t va = (off + done) / sizeof(uint64_t) * PAGE, run;
		uint64_t entry = PRESENT | (coalesce_frame(va, &run) / PAGE & PFN_MASK);

		memcpy(out + done, &entry, sizeof(entry));
	}
	return (ssize_t)done;
}

static void pagemap_released(struct ours *o);

static const struct ours_ops ops = {
	.name = "podpci:pagemap",
	.ioctl = ours_no_ioctl,
	.pread = pagemap_pread,
	.pwrite = ours_no_pwrite,
	.mmap = ours_no_mmap,
	.released = pagemap_released,
};

static struct pagemap {
	struct ours o;
	bool        taken;
} pool[OPEN_MAX_PAGEMAPS];

static void pagemap_released(struct ours *o)
{
	struct pagemap *p = (struct pagemap *)o;

	__atomic_store_n(&p->taken, false, __ATOMIC_RELEASE);
}

static struct pagemap *take(void)
{
	for (unsigned i = 0; i < OPEN_MAX_PAGEMAPS; i++)
		if (!__atomic_exchange_n(&pool[i].taken, true, __ATOMIC_ACQUIRE))
			return &pool[i];
	return NULL;
}

int pagemap_open(const struct named *n, int flags)
{
	struct pagemap *p;
	int fd;

	if ((flags & O_ACCMODE) != O_RDONLY || !shim_option("pagemap"))
		return PATHS_FOREIGN;
	p = take();
	if (!p)
		return PATHS_FOREIGN;
	p->o = (struct ours){ .ops = &ops };
	fd = fdtab_open(&p->o);
	if (fd < 0)
		pagemap_released(&p->o);
	return fd;
}

int pagemap_open_pid(const struct named *n, int flags)
{
	return n->num == (unsigned)sys_call(SYS_getpid) ? pagemap_open(n, flags) : PATHS_FOREIGN;
}
