// SPDX-License-Identifier: Apache-2.0
// hugepages.c - page files become one file, nothing written is lost, and pages go back.
#include <limits.h>
#include <sys/syscall.h>

#include "tests/shim/rig.h"

#define HUGE ((size_t)2 << 20)
#define PAGES 8
#define PLENTY 64		/* free pages wanted for a run */
#define IOVA UINT64_C(0x200000000)
#define MFD_HUGE_2MB (21u << 26)

static const char *huge_dir;

static unsigned long meminfo(const char *key)
{
	FILE *f = fopen("/proc/meminfo", "r");
	unsigned long val = 0;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			val = strtoul(line + strlen(key) + 1, NULL, 10);
	if (f)
		fclose(f);
	return val;
}

/* Pages that are neither used nor promised. */
static long pages_left(void)
{
	return (long)meminfo("HugePages_Free") - (long)meminfo("HugePages_Rsvd");
}

/* Room for n pages, aligned, without access, as DPDK reserves it. */
static char *room(size_t n)
{
	char *p = mmap(NULL, (n + 1) * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
}

static int page_file(unsigned n)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "%s/page%u", huge_dir, n);
	unlink(path);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0);
	unlink(path);
	return fd;
}

static int page_memfd(unsigned n)
{
	return memfd_create("page", MFD_HUGETLB | MFD_HUGE_2MB);
}

/* Maps a page of fd at a fixed place, populated, and closes fd. */
static bool put(char *at, int fd)
{
	void *got = mmap(at, HUGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);

	close(fd);
	return got == at;
}

/* How many different files are behind [p, p + n pages). */
static unsigned count_files(const char *p, size_t n)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long start, end, off, ino, seen[64];
	unsigned files = 0;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		unsigned i = 0;

		if (sscanf(line, "%lx-%lx %*s %lx %*s %lu", &start, &end, &off, &ino) != 4 ||
		    end <= (uintptr_t)p || start >= (uintptr_t)p + n * HUGE)
			continue;
		while (i < files && seen[i] != ino)
			i++;
		if (i == files && files < 64)
			seen[files++] = ino;
	}
	if (f)
		fclose(f);
	return files;
}

static void pages_become_one_file(int (*make)(unsigned n))
{
	long before = pages_left();
	char *p = room(PAGES);

	for (unsigned i = 0; i < PAGES; i++)
		CHECK(put(p + i * HUGE, make(i)));
	CHECK_EQ(count_files(p, PAGES), 1);
	for (unsigned i = 0; i < PAGES; i++)
		p[i * HUGE] = (char)(i + 1);
	for (unsigned i = 0; i < PAGES; i++)
		CHECK_EQ(p[i * HUGE], i + 1);
	CHECK_EQ(before - pages_left(), PAGES);
	CHECK_EQ(munmap(p, PAGES * HUGE), 0);
	CHECK_EQ(pages_left(), before);
}

static void one_file_per_page_becomes_one_file(void)
{
	if (!huge_dir)
		SKIP("no hugetlbfs can be mounted here");
	pages_become_one_file(page_file);
}

static void one_memfd_per_page_becomes_one_file(void)
{
	pages_become_one_file(page_memfd);
}

static void the_order_of_pages_does_not_matter_from_the_first_on(void)
{
	static const unsigned order[] = { 0, 3, 1, 7, 2, 6, 5, 4 };
	char *p = room(PAGES);

	for (unsigned i = 0; i < PAGES; i++)
		CHECK(put(p + order[i] * HUGE, page_memfd(i)));
	CHECK_EQ(count_files(p, PAGES), 1);
	munmap(p, PAGES * HUGE);
}

/* As with --legacy-mem: touched elsewhere first. The pool need not hold every page twice. */
static void a_page_touched_elsewhere_first_is_moved(void)
{
	long before = pages_left();
	char *p = room(PAGES), *first[PAGES];
	int fds[PAGES];

	for (unsigned i = 0; i < PAGES; i++) {
		fds[i] = page_memfd(i);
		first[i] = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
				fds[i], 0);
		*(volatile int *)first[i] = 0;
	}
	for (unsigned i = 0; i < PAGES; i++) {
		CHECK(put(p + i * HUGE, fds[i]));
		CHECK_EQ(before - pages_left(), PAGES);
		munmap(first[i], HUGE);
	}
	CHECK_EQ(count_files(p, PAGES), 1);
	munmap(p, PAGES * HUGE);
	CHECK_EQ(pages_left(), before);
}

static void what_was_written_is_never_lost(void)
{
	char *p = room(2), *first;
	int fd = page_memfd(0), copy = dup(fd);

	first = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(first + 4096, "kept");
	CHECK(put(p, fd));
	CHECK(!strcmp(p + 4096, "kept"));
	p[0] = 1;
	CHECK_EQ(first[0], 1);			/* still the same memory */
	munmap(first, HUGE);
	/* Allocated by other means than this process's mapping. */
	fd = page_memfd(1);
	CHECK_EQ(fallocate(fd, 0, 0, HUGE), 0);
	CHECK(put(p + HUGE, dup(fd)));
	p[HUGE] = 2;
	first = mmap(NULL, HUGE, PROT_READ, MAP_SHARED, fd, 0);
	CHECK_EQ(first[0], 2);
	munmap(first, HUGE);
	close(fd);
	close(copy);
	munmap(p, 2 * HUGE);
}

static void a_page_mapped_over_goes_back_and_comes_anew(void)
{
	long before = pages_left();
	char *p = room(4);

	for (unsigned i = 0; i < 4; i++)
		CHECK(put(p + i * HUGE, page_memfd(i)));
	p[HUGE] = 5;
	CHECK(mmap(p + HUGE, HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	      p + HUGE);
	CHECK_EQ(before - pages_left(), 3);
	CHECK(put(p + HUGE, page_memfd(9)));
	CHECK_EQ(p[HUGE], 0);
	p[HUGE] = 6;
	CHECK(put(p + HUGE, page_memfd(10)));	/* over a page of ours */
	CHECK_EQ(p[HUGE], 0);
	CHECK_EQ(count_files(p, 4), 1);
	CHECK_EQ(before - pages_left(), 4);
	munmap(p, 4 * HUGE);
	CHECK_EQ(pages_left(), before);
}

static void a_page_that_may_not_be_replaced_is_kept(void)
{
	char *p = room(2);
	int fd = page_memfd(1);

	CHECK(put(p, page_memfd(0)));
	strcpy(p, "kept");
	errno = 0;
	CHECK(mmap(p, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0) ==
	      MAP_FAILED);
	CHECK_EQ(errno, EEXIST);
	CHECK(!strcmp(p, "kept"));
	munmap(p + HUGE, HUGE);
	CHECK(mmap(p + HUGE, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd,
		   0) == p + HUGE);
	CHECK_EQ(count_files(p, 2), 1);
	close(fd);
	munmap(p, 2 * HUGE);
}

static void pages_below_or_far_away_get_a_file_of_their_own(void)
{
	char *p = room(64);

	CHECK(put(p + 8 * HUGE, page_memfd(0)));
	CHECK(put(p, page_memfd(1)));
	CHECK(put(p + 60 * HUGE, page_memfd(2)));
	CHECK(put(p + 9 * HUGE, page_memfd(3)));
	CHECK_EQ(count_files(p + 8 * HUGE, 2), 1);
	CHECK_EQ(count_files(p, 1), 1);
	p[0] = p[8 * HUGE] = p[60 * HUGE] = 1;
	munmap(p, 64 * HUGE);
}

static char *parents;

static void unmap_parents(void)
{
	CHECK_EQ(munmap(parents, 2 * HUGE), 0);
}

static void a_childs_unmapping_takes_nothing_from_the_parent(void)
{
	parents = room(2);
	CHECK(put(parents, page_memfd(0)));
	CHECK(put(parents + HUGE, page_memfd(1)));
	strcpy(parents, "still here");
	CHECK_EQ(in_child(unmap_parents), 0);
	CHECK(!strcmp(parents, "still here"));
	munmap(parents, 2 * HUGE);
}

static void what_is_not_ours_to_coalesce_stays(void)
{
	char *p = room(1), *plain = room(1);
	int small = memfd_create("small", 0), fd = page_memfd(0);

	CHECK_EQ(ftruncate(small, 4096), 0);
	CHECK(mmap(plain, 4096, PROT_READ, MAP_SHARED | MAP_FIXED, small, 0) == plain);
	CHECK(mmap(p, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0) == p);
	errno = 0;
	CHECK(mmap(p + 4096, HUGE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	close(small);
	close(fd);
	munmap(p, HUGE);
	munmap(plain, 4096);
}

static void coalesced_memory_is_lent_whole(void)
{
	struct rig r = rig_up();
	char *p = room(PAGES);
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)p, .iova = IOVA, .size = PAGES * HUGE,
	};

	for (unsigned i = 0; i < PAGES - 1; i++)
		CHECK(put(p + i * HUGE, page_memfd(i)));
	CHECK_ERR(ioctl(r.container, VFIO_IOMMU_MAP_DMA, &m), EFAULT);
	CHECK(put(p + (PAGES - 1) * HUGE, page_memfd(9)));
	CHECK_EQ(ioctl(r.container, VFIO_IOMMU_MAP_DMA, &m), 0);
	rig_down(&r);
	munmap(p, PAGES * HUGE);
}

static void the_pagemap_gives_virtual_frame_numbers(void)
{
	int fd = open("/proc/self/pagemap", O_RDONLY), me;
	uint64_t entry = 0, two[2] = { 0 };
	uintptr_t frame = (uintptr_t)&entry / 4096;
	char path[64];

	CHECK(fd >= 0);
	CHECK_EQ(lseek(fd, (off_t)(frame * 8), SEEK_SET), frame * 8);
	CHECK_EQ(read(fd, &entry, 8), 8);
	CHECK_EQ(entry, UINT64_C(1) << 63 | frame);
	CHECK_EQ(pread(fd, two, 16, 8), 16);
	CHECK_EQ(two[1] & ((UINT64_C(1) << 55) - 1), 2);
	CHECK_ERR(pread(fd, two, 7, 8), EINVAL);
	CHECK_ERR(pread(fd, two, 8, 7), EINVAL);
	close(fd);
	snprintf(path, sizeof(path), "/proc/%d/pagemap", getpid());
	me = open(path, O_RDONLY);
	CHECK_EQ(pread(me, &entry, 8, (off_t)(frame * 8)), 8);
	CHECK_EQ(entry & ((UINT64_C(1) << 55) - 1), frame);
	close(me);
}

int main(void)
{
	static const struct check_test tests[] = {
		T(one_file_per_page_becomes_one_file),
		T(one_memfd_per_page_becomes_one_file),
		T(the_order_of_pages_does_not_matter_from_the_first_on),
		T(a_page_touched_elsewhere_first_is_moved),
		T(what_was_written_is_never_lost),
		T(a_page_mapped_over_goes_back_and_comes_anew),
		T(a_page_that_may_not_be_replaced_is_kept),
		T(pages_below_or_far_away_get_a_file_of_their_own),
		T(a_childs_unmapping_takes_nothing_from_the_parent),
		T(what_is_not_ours_to_coalesce_stays),
		T(coalesced_memory_is_lent_whole),
		T(the_pagemap_gives_virtual_frame_numbers),
	};

	huge_dir = getenv("SHIM_HUGE_DIR");
	if (pages_left() < PLENTY) {
		printf("skip hugepages fewer than %d free 2 MB pages\n", PLENTY);
		return 77;
	}
	return check_main(tests, ARRAY_SIZE(tests));
}
