// SPDX-License-Identifier: Apache-2.0
// options_off.c - with coalesce=off and pagemap=off the kernel answers.
#include "tests/shim/rig.h"

#define HUGE ((size_t)2 << 20)

static void a_page_file_stays_the_one_that_was_mapped(void)
{
	int fd = memfd_create("page", MFD_HUGETLB | 21u << 26);
	char *p = mmap(NULL, 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *at = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1)), *other;

	if (mmap(at, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) != at)
		SKIP("no free hugepage");
	other = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	at[7] = 7;
	CHECK_EQ(other[7], 7);
	munmap(other, HUGE);
	munmap(p, 2 * HUGE);
	close(fd);
}

/* Without the privilege the kernel gives 0 for the number, with it never the virtual one. */
static void the_pagemap_is_the_kernels(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;
	uintptr_t frame = (uintptr_t)&entry / 4096;

	CHECK_EQ(pread(fd, &entry, 8, (off_t)(frame * 8)), 8);
	CHECK((entry & ((UINT64_C(1) << 55) - 1)) != frame);
	close(fd);
}

MAIN(T(a_page_file_stays_the_one_that_was_mapped),
	T(the_pagemap_is_the_kernels))
