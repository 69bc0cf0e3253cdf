// SPDX-License-Identifier: Apache-2.0
// mem_space.c - the driver's memory: merging, cutting, files, all or nothing.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/mem/space.h"
#include "tests/unit/cu.h"

#define K    4096ull
#define BASE 0x100000000ull

/* n pages at page number `at` of a file, IOVA and address alike. */
static struct space_region piece(int fd, uint64_t at, uint64_t n)
{
	return (struct space_region){
		.iova = BASE + at * K, .size = n * K, .va = BASE + at * K, .fd = fd, .off = at * K,
	};
}

static int map1(struct space *s, int fd, uint64_t at, uint64_t n)
{
	struct space_region r = piece(fd, at, n);

	return space_map(s, &r, 1);
}

static uint64_t unmap(struct space *s, uint64_t at, uint64_t n)
{
	return space_unmap(s, BASE + at * K, n * K) / K;
}

/* "0+3 5+1": the regions as pages from BASE; checks that va and offset went along. */
static const char *shape(struct space *s)
{
	static char text[512];
	struct space_region r[32];
	unsigned n = space_snapshot(s, r, 32);
	size_t len = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < n && i < 32; i++) {
		CU_EQ(r[i].va, r[i].iova);
		CU_EQ(r[i].off, r[i].iova - BASE);
		CU_ASSERT_TRUE(fd_is_kept(r[i].fd));
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%llu+%llu",
					i ? " " : "", (unsigned long long)((r[i].iova - BASE) / K),
					(unsigned long long)(r[i].size / K));
	}
	return text;
}

#define SHAPE(s, want) CU_ASSERT_STRING_EQUAL(shape(s), want)

static struct space *fresh(void)
{
	struct space *s = NULL;

	CU_EQ_FATAL(space_new(&s), 0);
	return s;
}

static int file(void)
{
	return memfd_create("mem", 0);
}

/* ---- merging and cutting ------------------------------------------------------------------- */

static void pieces_that_continue_become_one_in_any_order(void)
{
	static const uint8_t orders[][4] = {
		{ 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 0, 2, 1, 3 }, { 1, 3, 0, 2 }, { 3, 0, 2, 1 },
	};
	int fd = file();

	for (unsigned o = 0; o < ARRAY_SIZE(orders); o++) {
		struct space *s = fresh();

		for (unsigned i = 0; i < 4; i++)
			CU_EQ(map1(s, fd, orders[o][i], 1), 0);
		SHAPE(s, "0+4");
		CU_EQ(fd_kept_count(), 1);
		space_free(s);
	}
	close(fd);
}

static void what_differs_in_file_address_or_offset_stays_apart(void)
{
	struct space_region a, b;
	int fd = file(), other = file();
	struct space_region out[2];

	for (unsigned i = 0; i < 4; i++) {
		struct space *s = fresh();

		a = piece(fd, 0, 1);
		b = piece(i == 0 ? other : fd, 1, 1);
		b.va += i == 1 ? K : 0;
		b.off += i == 2 ? K : 0;
		b.iova += i == 3 ? K : 0;
		CU_EQ(space_map(s, &a, 1), 0);
		CU_EQ(space_map(s, &b, 1), 0);
		CU_EQ(space_snapshot(s, out, 2), 2);
		CU_ASSERT_TRUE(out[0].iova < out[1].iova);
		CU_EQ(out[1].va, b.va);
		CU_EQ(out[1].off, b.off);
		space_free(s);
	}
	close(fd);
	close(other);
}

static void the_same_file_opened_otherwise_stays_apart(void)
{
	char path[64];
	int fd = file(), again = dup(fd), ro;
	struct space *s = fresh();

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	CU_EQ(map1(s, fd, 0, 1), 0);
	CU_EQ(map1(s, ro, 1, 1), 0);
	SHAPE(s, "0+1 1+1");
	CU_EQ(map1(s, again, 2, 1), 0);	/* another number, the same file */
	CU_EQ(fd_kept_count(), 2);
	space_free(s);
	close(fd);
	close(again);
	close(ro);
}

static void unmapping_takes_what_is_inside_and_cuts_what_is_not(void)
{
	static const struct { uint8_t at, n, taken; const char *left; } cuts[] = {
		{ 0, 10, 10, "20+5" },
		{ 0, 3, 3,   "3+7 20+5" },
		{ 7, 3, 3,   "0+7 20+5" },
		{ 4, 2, 2,   "0+4 6+4 20+5" },
		{ 8, 14, 4,  "0+8 22+3" },
		{ 0, 30, 15, "" },
		{ 10, 10, 0, "0+10 20+5" },
		{ 30, 9, 0,  "0+10 20+5" },
		{ 9, 12, 2,  "0+9 21+4" },
	};
	int fd = file();

	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		struct space *s = fresh();

		CU_EQ(map1(s, fd, 0, 10), 0);
		CU_EQ(map1(s, fd, 20, 5), 0);
		CU_EQ(unmap(s, cuts[i].at, cuts[i].n), cuts[i].taken);
		SHAPE(s, cuts[i].left);
		space_free(s);
	}
	close(fd);
}

static void a_hole_can_be_filled_again(void)
{
	struct space *s = fresh();
	int fd = file();

	CU_EQ(map1(s, fd, 0, 10), 0);
	CU_EQ(unmap(s, 4, 2), 2);
	CU_EQ(map1(s, fd, 4, 1), 0);
	SHAPE(s, "0+5 6+4");
	CU_EQ(map1(s, fd, 5, 1), 0);
	SHAPE(s, "0+10");
	space_free(s);
	close(fd);
}

static void the_end_of_the_address_space_is_no_trap(void)
{
	struct space *s = fresh();
	int fd = file();
	struct space_region top = { .iova = UINT64_MAX - 2 * K + 1, .size = K, .va = K, .fd = fd };

	CU_EQ(space_map(s, &top, 1), 0);
	CU_EQ(space_unmap(s, 0, UINT64_MAX), K);
	CU_EQ(space_map(s, &top, 1), 0);
	CU_EQ(space_unmap(s, top.iova, UINT64_MAX), K);
	CU_EQ(space_unmap(s, UINT64_MAX & ~(K - 1), K), 0);
	CU_EQ(space_unmap(s, 1, K), 0);
	CU_EQ(map1(s, fd, 0, 2), 0);
	CU_EQ(space_unmap(s, BASE, K + 5), K);		/* whole pages only */
	CU_EQ(space_unmap(s, BASE + K, K - 5), 0);
	CU_EQ(space_unmap(s, 0, 0), 0);
	space_free(s);
	close(fd);
}

/* ---- refusals ------------------------------------------------------------------------------ */

static void wrong_pieces_are_refused_and_nothing_is_kept(void)
{
	struct space *s = fresh();
	int fd = file();
	const struct {
		struct space_region r;
		int rc;
	} bad[] = {
		{ { BASE + 20 * K, 0, BASE, fd, 0 }, -EINVAL },
		{ { BASE + 20 * K + 1, K, BASE, fd, 0 }, -EINVAL },
		{ { BASE + 20 * K, K + 1, BASE, fd, 0 }, -EINVAL },
		{ { BASE + 20 * K, K, BASE + 8, fd, 0 }, -EINVAL },
		{ { BASE + 20 * K, K, BASE, fd, 512 }, -EINVAL },
		{ { UINT64_MAX - K + 1, K, BASE, fd, 0 }, -EINVAL },
		{ { UINT64_MAX - K + 1, 2 * K, BASE, fd, 0 }, -EINVAL },
		{ { BASE + 20 * K, 2 * K, UINT64_MAX - K + 1, fd, 0 }, -EINVAL },
		{ { BASE + 20 * K, 2 * K, BASE, fd, UINT64_MAX - K + 1 }, -EINVAL },
		{ { BASE + 20 * K, K, BASE, -1, 0 }, -EBADF },
		{ { BASE + 20 * K, K, BASE, 1000000, 0 }, -EBADF },
		{ { BASE + 5 * K, K, BASE, fd, 0 }, -EEXIST },
		{ { BASE + 9 * K, 4 * K, BASE, fd, 0 }, -EEXIST },
		{ { BASE - 3 * K, 4 * K, BASE, fd, 0 }, -EEXIST },
		{ { BASE - 3 * K, 40 * K, BASE, fd, 0 }, -EEXIST },
	};

	CU_EQ(map1(s, fd, 0, 10), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CU_EQ(space_map(s, &bad[i].r, 1), bad[i].rc);
		SHAPE(s, "0+10");
	}
	CU_EQ(space_map(s, &bad[0].r, 0), -EINVAL);
	CU_EQ(fd_kept_count(), 1);
	space_free(s);
	close(fd);
}

static void many_pieces_are_mapped_all_or_not_at_all(void)
{
	struct space *s = fresh();
	int fd = file(), other = file();
	struct space_region r[4] = {
		piece(fd, 3, 1), piece(fd, 5, 1), piece(other, 8, 1), piece(fd, 4, 1),
	};

	CU_EQ(map1(s, fd, 0, 3), 0);
	CU_EQ(map1(s, fd, 6, 1), 0);
	r[3] = piece(fd, 2, 1);		/* taken */
	CU_EQ(space_map(s, r, 4), -EEXIST);
	SHAPE(s, "0+3 6+1");
	space_reap(s);
	CU_EQ(fd_kept_count(), 1);
	r[3] = piece(fd, 3, 1);		/* twice in one call */
	CU_EQ(space_map(s, r, 4), -EEXIST);
	SHAPE(s, "0+3 6+1");
	r[3] = piece(fd, 4, 1);
	CU_EQ(space_map(s, r, 4), 0);
	SHAPE(s, "0+7 8+1");
	space_free(s);
	CU_EQ(fd_kept_count(), 0);
	close(fd);
	close(other);
}

/* ---- files --------------------------------------------------------------------------------- */

static void a_file_stays_open_until_reaped_and_is_shared_by_its_pieces(void)
{
	struct space *s = fresh();
	struct space_region r;
	int fd = file();

	CU_EQ(map1(s, fd, 0, 1), 0);
	CU_EQ(map1(s, fd, 2, 1), 0);
	CU_EQ(space_snapshot(s, &r, 1), 2);
	CU_EQ(unmap(s, 0, 1), 1);
	space_reap(s);
	CU_ASSERT_TRUE(fd_is_kept(r.fd));
	CU_EQ(unmap(s, 2, 1), 1);
	CU_ASSERT_TRUE(fcntl(r.fd, F_GETFD) >= 0);	/* a snapshot may still be in use */
	space_reap(s);
	CU_ASSERT_FALSE(fd_is_kept(r.fd));
	CU_EQ(fd_kept_count(), 0);
	space_free(s);
	close(fd);
}

static void each_missing_resource_leaves_the_space_as_it_was(void)
{
	unsigned before = fds_open(), n;
	int fd = file(), other = file();
	struct space_region r[3] = { piece(fd, 0, 1), piece(other, 1, 1), piece(fd, 2, 1) };

	for (n = 1; n < 10; n++) {
		struct space *s = NULL;
		int rc;

		fault_arm(n);
		rc = space_new(&s);
		if (!rc)
			rc = space_map(s, r, 3);
		CU_ASSERT_TRUE(rc == 0 || rc == -ENOMEM || rc == -EMFILE);
		if (rc && s)
			SHAPE(s, "");
		space_free(s);
		CU_EQ(fds_open(), before + 2);
		if (!rc)
			break;
	}
	fault_arm(0);
	CU_EQ(n, 4);	/* memory, two files */
	close(fd);
	close(other);
}

static void an_orphan_holds_nothing(void)
{
	struct space *s = fresh();
	int fd = file();

	CU_EQ(map1(s, fd, 0, 1), 0);
	space_orphan(s);
	SHAPE(s, "");
	CU_EQ(fd_kept_count(), 0);
	space_free(s);
	close(fd);
}

/* ---- looking up ---------------------------------------------------------------------------- */

static void an_address_is_found_if_one_region_holds_all_of_it(void)
{
	struct space *s = fresh();
	int fd = file();

	CU_EQ(map1(s, fd, 0, 4), 0);
	CU_EQ(map1(s, fd, 6, 1), 0);
	CU_ASSERT_PTR_EQUAL(space_at(s, BASE, 4 * K), (void *)BASE);
	CU_ASSERT_PTR_EQUAL(space_at(s, BASE + K + 5, 3), (void *)(BASE + K + 5));
	CU_ASSERT_PTR_EQUAL(space_at(s, BASE + 4 * K - 1, 1), (void *)(BASE + 4 * K - 1));
	CU_ASSERT_PTR_NULL(space_at(s, BASE + 4 * K - 1, 2));
	CU_ASSERT_PTR_NULL(space_at(s, BASE + 4 * K, 1));
	CU_ASSERT_PTR_NULL(space_at(s, BASE - 1, 2));
	CU_ASSERT_PTR_NULL(space_at(s, BASE, UINT64_MAX));
	CU_ASSERT_PTR_NULL(space_at(s, UINT64_MAX, 1));
	CU_ASSERT_PTR_NULL(space_at(s, 0, 1));
	space_free(s);
	close(fd);
}

static void thousands_of_pages_of_one_file_are_one_region(void)
{
	struct space *s = fresh();
	struct space_region r;
	int fd = file();

	for (unsigned i = 0; i < 2 * SPACE_PIECES_MAX; i++)
		if (map1(s, fd, i, 1))
			CU_FAIL("map");
	CU_EQ(space_snapshot(s, &r, 1), 1);
	CU_EQ(r.size, 2 * SPACE_PIECES_MAX * K);
	CU_EQ(fd_kept_count(), 1);
	space_free(s);
	close(fd);
}

static void a_full_space_refuses_and_still_cuts_where_it_can(void)
{
	struct space_region two[2], out[4];
	struct space *s = fresh();
	int fd = file();

	for (unsigned i = 0; i < SPACE_PIECES_MAX; i++)
		if (map1(s, fd, 4 * i, 3))
			CU_FAIL("map");
	CU_EQ(space_snapshot(s, out, 4), SPACE_PIECES_MAX);
	CU_EQ(map1(s, fd, 4 * SPACE_PIECES_MAX, 1), -E2BIG);
	CU_EQ(unmap(s, 1, 1), 0);		/* would make two of one */
	CU_EQ(map1(s, fd, 3, 1), 0);		/* makes one of two */
	two[0] = piece(fd, 7, 1);
	two[1] = piece(fd, 7, 1);
	CU_EQ(space_map(s, two, 2), -EEXIST);	/* the split back finds its room */
	CU_EQ(space_snapshot(s, out, 4), SPACE_PIECES_MAX - 1);
	CU_EQ(out[0].size, 7 * K);
	CU_EQ(unmap(s, 1, 1), 1);
	CU_EQ(space_unmap(s, 0, UINT64_MAX) / K, 3 * SPACE_PIECES_MAX);
	CU_EQ(space_snapshot(s, out, 4), 0);
	space_free(s);
	CU_EQ(fd_kept_count(), 0);
	close(fd);
}

/* ---- against a model: one file number a page ----------------------------------------------- */

#define PAGES 64

static void random_maps_and_unmaps_agree_with_a_page_table(void)
{
	uint32_t seed = 12345;
	uint8_t page[PAGES] = { 0 };
	int fd[2] = { file(), file() };
	struct space *s = fresh();

	for (unsigned round = 0; round < 20000; round++) {
		unsigned at, n, held = 0;
		uint8_t which;

		seed = seed * 1664525 + 1013904223;
		at = seed >> 8 & (PAGES - 1);
		n = 1 + (seed >> 16 & 7);
		which = 1 + (seed >> 20 & 1);
		if (at + n > PAGES)
			n = PAGES - at;
		for (unsigned i = at; i < at + n; i++)
			held += page[i] != 0;
		if (seed >> 30) {
			CU_EQ(map1(s, fd[which - 1], at, n), held ? -EEXIST : 0);
			if (!held)
				memset(page + at, which, n);
		} else {
			CU_EQ(unmap(s, at, n), held);
			memset(page + at, 0, n);
		}
		for (unsigned i = 0; i < PAGES; i++)
			if (!page[i] != !space_at(s, BASE + i * K, K))
				CU_FAIL("page table differs");
		for (unsigned i = 0; i + 1 < PAGES; i++) {
			bool one = page[i] && page[i] == page[i + 1];

			if (one != !!space_at(s, BASE + i * K, 2 * K))
				CU_FAIL("merging differs");
		}
	}
	space_free(s);
	CU_EQ(fd_kept_count(), 0);
	close(fd[0]);
	close(fd[1]);
}

CU_MAIN("mem/space",
	T(pieces_that_continue_become_one_in_any_order),
	T(what_differs_in_file_address_or_offset_stays_apart),
	T(the_same_file_opened_otherwise_stays_apart),
	T(unmapping_takes_what_is_inside_and_cuts_what_is_not),
	T(a_hole_can_be_filled_again),
	T(the_end_of_the_address_space_is_no_trap),
	T(wrong_pieces_are_refused_and_nothing_is_kept),
	T(many_pieces_are_mapped_all_or_not_at_all),
	T(a_file_stays_open_until_reaped_and_is_shared_by_its_pieces),
	T(each_missing_resource_leaves_the_space_as_it_was),
	T(an_orphan_holds_nothing),
	T(an_address_is_found_if_one_region_holds_all_of_it),
	T(thousands_of_pages_of_one_file_are_one_region),
	T(a_full_space_refuses_and_still_cuts_where_it_can),
	T(random_maps_and_unmaps_agree_with_a_page_table))
