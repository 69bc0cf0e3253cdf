// SPDX-License-Identifier: Apache-2.0
// bus_domain.c - DMA maps as the functions of a domain see them.
#include <sys/mman.h>
#include <pthread.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "sim/mem/space.h"
#include "tests/unit/bus_rig.h"

#define K    4096ull
#define BASE 0x200000000ull

static struct ioapi_dma dma(int fd, uint64_t at, uint64_t n)
{
	return (struct ioapi_dma){
		.iova = BASE + at * K, .size = n * K, .va = (void *)(BASE + at * K), .fd = fd,
		.off = at * K,
	};
}

static unsigned regions(struct rig *r)
{
	return r->space ? space_snapshot(r->space, NULL, 0) : 0;
}

static void attached_functions_are_told_of_every_change(void)
{
	unsigned before = fds_open();
	struct ioapi_domain *d;
	struct ioapi_dma p;
	uint64_t taken;
	struct rig r;
	int fd;

	rig_up(&r);
	fd = memfd_create("m", 0);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), 0);
	CU_EQ(r.memories, 1);
	CU_EQ(ioapi_attach(r.f, d), -EBUSY);
	p = dma(fd, 0, 4);
	CU_EQ(ioapi_dma_map(d, &p, 1), 0);
	CU_EQ(r.memories, 2);
	CU_EQ(regions(&r), 1);
	CU_EQ(ioapi_dma_map(d, &p, 1), -EEXIST);
	CU_EQ(r.memories, 2);
	CU_EQ(ioapi_dma_unmap(d, BASE + K, K, &taken), 0);
	CU_EQ(taken, K);
	CU_EQ(r.memories, 3);
	CU_EQ(regions(&r), 2);
	CU_EQ(ioapi_dma_unmap(d, 0, K, &taken), 0);
	CU_EQ(taken, 0);
	CU_EQ(r.memories, 3);
	CU_EQ(ioapi_dma_unmap(d, 0, UINT64_MAX, &taken), 0);
	CU_EQ(taken, 3 * K);
	ioapi_detach(r.f);
	CU_ASSERT_PTR_NULL(r.space);
	ioapi_detach(r.f);
	CU_EQ(r.memories, 5);
	ioapi_domain_free(d);
	close(fd);
	rig_down(&r);
	CU_EQ(fds_open(), before);
}

static void wrong_unmaps_take_nothing(void)
{
	struct ioapi_domain *d;
	uint64_t taken = 9;
	struct rig r;

	rig_up(&r);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_dma_unmap(d, 1, K, &taken), -EINVAL);
	CU_EQ(taken, 0);
	CU_EQ(ioapi_dma_unmap(d, 0, 0, &taken), -EINVAL);
	CU_EQ(ioapi_dma_unmap(d, 0, K - 1, &taken), -EINVAL);
	CU_EQ(ioapi_dma_map(d, NULL, 0), -EINVAL);
	ioapi_domain_free(d);
	rig_down(&r);
}

static void a_function_that_refuses_rolls_the_map_back_for_all(void)
{
	struct rig first, second;
	struct ioapi_domain *d;
	struct ioapi_dma p[2];
	unsigned kept;
	int fd;

	rig_up(&first);
	memset(&second, 0, sizeof(second));
	second.bus = first.bus;
	CU_EQ(rig_build(&second, NULL), 0);
	CU_EQ(ioapi_open(second.f, NULL), 0);
	CU_EQ(ioapi_domain_new(first.bus, &d), 0);
	CU_EQ(ioapi_attach(first.f, d), 0);
	CU_EQ(ioapi_attach(second.f, d), 0);
	fd = memfd_create("m", 0);
	p[0] = dma(fd, 0, 1);
	CU_EQ(ioapi_dma_map(d, p, 1), 0);
	kept = fd_kept_count();

	first.memory_rc = -E2BIG;
	p[0] = dma(fd, 1, 1);
	p[1] = dma(fd, 7, 1);
	CU_EQ(ioapi_dma_map(d, p, 2), -E2BIG);
	CU_EQ(regions(&second), 1);
	CU_EQ(first.memories, 4);	/* attach, map, map, rollback */
	CU_EQ(second.memories, 4);
	CU_EQ(fd_kept_count(), kept);
	first.memory_rc = 0;
	CU_EQ(ioapi_dma_map(d, p, 2), 0);
	CU_EQ(regions(&second), 2);
	close(fd);
	ioapi_detach(second.f);
	ioapi_detach(first.f);
	ioapi_domain_free(d);
	rig_down(&first);
	CU_EQ(second.frees, 1);
}

static void a_function_that_refuses_a_space_is_not_attached(void)
{
	struct ioapi_domain *d;
	struct rig r;

	rig_up(&r);
	r.memory_rc = -EIO;
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), -EIO);
	CU_ASSERT_PTR_NULL(r.space);
	r.memory_rc = 0;
	CU_EQ(ioapi_attach(r.f, d), 0);
	ioapi_close(r.f);
	CU_ASSERT_PTR_NULL(r.space);
	ioapi_domain_free(d);
	rig_down(&r);
}

static void attach_before_open_is_remembered(void)
{
	struct ioapi_domain *d;
	struct rig r;

	rig_new(&r);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), 0);
	r.space = NULL;
	CU_EQ(ioapi_open(r.f, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(r.space);
	ioapi_close(r.f);
	CU_EQ(ioapi_attach(r.f, d), 0);
	r.memory_rc = -EIO;
	CU_EQ(ioapi_open(r.f, &r.e), -EIO);
	CU_EQ(r.closes, 2);
	CU_EQ(ioapi_read(r.f, 4, 0, 4, &(uint64_t){ 0 }), -ENODEV);
	r.memory_rc = 0;
	CU_EQ(ioapi_open(r.f, &r.e), 0);
	ioapi_close(r.f);
	ioapi_domain_free(d);
	rig_down(&r);
}

static void a_thousand_pieces_in_one_map_are_all_or_nothing(void)
{
	static struct ioapi_dma p[1000];
	struct ioapi_domain *d;
	uint64_t taken;
	struct rig r;
	int fd;

	rig_up(&r);
	fd = memfd_create("m", 0);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), 0);
	for (unsigned i = 0; i < 1000; i++)
		p[i] = dma(fd, 2 * i, 1);
	p[999].iova = p[0].iova;
	CU_EQ(ioapi_dma_map(d, p, 1000), -EEXIST);
	CU_EQ(regions(&r), 0);
	p[999] = dma(fd, 1998, 1);
	CU_EQ(ioapi_dma_map(d, p, 1000), 0);
	CU_EQ(regions(&r), 1000);
	CU_EQ(ioapi_dma_unmap(d, BASE, 2000 * K, &taken), 0);
	CU_EQ(taken, 1000 * K);
	ioapi_close(r.f);
	ioapi_domain_free(d);
	rig_down(&r);
	CU_EQ(fd_kept_count(), 0);
	close(fd);
}

static void the_bus_may_go_before_its_domains(void)
{
	struct ioapi_domain *d;
	struct ioapi_dma p;
	uint64_t taken;
	struct rig r;
	int fd = memfd_create("m", 0);

	rig_up(&r);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), 0);
	p = dma(fd, 0, 1);
	CU_EQ(ioapi_dma_map(d, &p, 1), 0);
	rig_down(&r);
	CU_ASSERT_PTR_NULL(r.space);
	CU_EQ(ioapi_dma_unmap(d, BASE, K, &taken), -ENODEV);
	CU_EQ(ioapi_dma_map(d, &p, 1), -ENODEV);
	ioapi_domain_free(d);
	CU_EQ(fd_kept_count(), 0);
	close(fd);
}

static void missing_resources_for_a_domain_leak_nothing(void)
{
	unsigned before, n;
	struct rig r;

	rig_up(&r);
	before = fds_open();
	for (n = 1; n < 10; n++) {
		struct ioapi_domain *d = NULL;
		int rc;

		fault_arm(n);
		rc = ioapi_domain_new(r.bus, &d);
		CU_EQ(fds_open(), before);
		if (!rc) {
			ioapi_domain_free(d);
			break;
		}
		CU_EQ(rc, -ENOMEM);
	}
	fault_arm(0);
	CU_EQ(n, 3);
	rig_down(&r);
}

/* ---- under fire ---------------------------------------------------------------------------- */

static int stop;

/* As the loop's thread would: a snapshot used under the function's lock alone. */
static void *use_snapshots(void *arg)
{
	struct rig *r = arg;
	unsigned used = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED) || !used) {
		struct space_region reg[4];
		unsigned n;

		lock_take(pci_func_lock(r->f));
		n = r->space ? space_snapshot(r->space, reg, 4) : 0;
		for (unsigned i = 0; i < n && i < 4; i++) {
			usleep(20);
			if (lseek(reg[i].fd, 0, SEEK_CUR) < 0)
				CU_FAIL("the file of a snapshot was closed");
			used++;
		}
		lock_drop(pci_func_lock(r->f));
		usleep(10);
	}
	return NULL;
}

static void a_snapshots_files_stay_open_while_its_lock_is_held(void)
{
	struct ioapi_domain *d;
	struct ioapi_dma p;
	uint64_t taken;
	struct rig r;
	pthread_t t;
	int fd = -1;

	stop = 0;
	rig_up(&r);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), 0);
	pthread_create(&t, NULL, use_snapshots, &r);
	for (unsigned i = 0; i < 200; i++) {
		fd = memfd_create("m", 0);
		p = dma(fd, 0, 1);
		CU_EQ(ioapi_dma_map(d, &p, 1), 0);
		usleep(30);
		CU_EQ(ioapi_dma_unmap(d, BASE, K, &taken), 0);
		if (i < 199)
			close(fd);
	}
	CU_EQ(ioapi_dma_map(d, &p, 1), 0);	/* something to see for who was too late */
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	pthread_join(t, NULL);
	ioapi_close(r.f);
	ioapi_domain_free(d);
	rig_down(&r);
	close(fd);
}

static void *detach_and_attach(void *arg)
{
	struct rig *r = arg;

	for (unsigned i = 0; i < 300; i++) {
		ioapi_close(r->f);
		(void)ioapi_open(r->f, NULL);
	}
	return NULL;
}

static void attach_map_and_close_race_without_deadlock(void)
{
	struct ioapi_domain *d;
	int fd = memfd_create("m", 0);
	uint64_t taken;
	struct rig r;
	pthread_t t;

	rig_up(&r);
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	pthread_create(&t, NULL, detach_and_attach, &r);
	for (unsigned i = 0; i < 300; i++) {
		struct ioapi_dma p = dma(fd, i % 4, 1);
		int rc = ioapi_attach(r.f, d);

		CU_ASSERT_TRUE(rc == 0 || rc == -EBUSY);
		CU_EQ(ioapi_dma_map(d, &p, 1), 0);
		CU_EQ(ioapi_dma_unmap(d, BASE, 4 * K, &taken), 0);
		ioapi_detach(r.f);
	}
	pthread_join(t, NULL);
	ioapi_close(r.f);
	ioapi_domain_free(d);
	rig_down(&r);
	CU_EQ(fd_kept_count(), 0);
	close(fd);
}

CU_MAIN("bus/domain",
	T(attached_functions_are_told_of_every_change),
	T(wrong_unmaps_take_nothing),
	T(a_function_that_refuses_rolls_the_map_back_for_all),
	T(a_function_that_refuses_a_space_is_not_attached),
	T(attach_before_open_is_remembered),
	T(a_thousand_pieces_in_one_map_are_all_or_nothing),
	T(the_bus_may_go_before_its_domains),
	T(missing_resources_for_a_domain_leak_nothing),
	T(a_snapshots_files_stay_open_while_its_lock_is_held),
	T(attach_map_and_close_race_without_deadlock))
