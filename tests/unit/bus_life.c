// SPDX-License-Identifier: Apache-2.0
// bus_life.c - the bus and its functions: addresses, opening, closing, fork, missing resources.
#include <stdio.h>
#include <pthread.h>	/* pthread_create() is the loop's: this test runs under TSan too */
#include <sys/wait.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "tests/unit/bus_rig.h"

static void addresses_are_given_out_from_slot_four_and_listed_in_order(void)
{
	static const char *const want[] = {
		"0000:00:02.0", "0000:00:04.0", "0000:00:05.0", "0000:00:06.0", "0001:00:00.7",
	};
	static const char *const asked[] = {
		"0000:00:05.0", NULL, NULL, "0001:00:00.7", "0000:00:02.0",
	};
	struct rig r[ARRAY_SIZE(asked)];
	struct ioapi_ident ident;

	memset(r, 0, sizeof(r));
	CU_EQ(pci_bus_new(&r[0].bus), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(asked); i++) {
		r[i].bus = r[0].bus;
		CU_EQ(rig_build(&r[i], asked[i]), 0);
	}
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
			ioapi_ident(ioapi_bus_func(r[0].bus, i), &ident);
			CU_ASSERT_STRING_EQUAL(ident.bdf, want[i]);
			CU_ASSERT_PTR_EQUAL(ioapi_bus_find(r[0].bus, want[i]),
					    ioapi_bus_func(r[0].bus, i));
		}
	}
	CU_ASSERT_STRING_EQUAL(ident.id, "net0");
	CU_EQ(ident.class, 0x020000);
	CU_ASSERT_PTR_NULL(ioapi_bus_func(r[0].bus, ARRAY_SIZE(want)));
	CU_ASSERT_PTR_NULL(ioapi_bus_find(r[0].bus, "0000:00:07.0"));
	CU_ASSERT_PTR_NULL(ioapi_bus_find(r[0].bus, ""));
	rig_down(&r[0]);
	CU_EQ(r[4].frees, 1);
}

static void wrong_and_taken_addresses_are_refused_with_a_reason(void)
{
	static const struct { const char *bdf; int rc; } bad[] = {
		{ "0000:00:04.0", -EEXIST }, { "", -EINVAL }, { "00:04.0", -EINVAL },
		{ "0000:00:04.8", -EINVAL }, { "0000:00:20.0", -EINVAL },
		{ "0000:00:0g.0", -EINVAL }, { "0000.00:04.0", -EINVAL },
		{ "0000:00:04.0 ", -EINVAL }, { "0000:00:4.00", -EINVAL },
		{ "+000:00:04.0", -EINVAL }, { "0000:00: 4.0", -EINVAL },
	};
	struct rig r, other;

	rig_new(&r);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(&other, 0, sizeof(other));
		other.bus = r.bus;
		CU_EQ(rig_build(&other, bad[i].bdf), bad[i].rc);
		CU_EQ(other.e.code, bad[i].rc);
		CU_ASSERT_PTR_NOT_NULL(strstr(other.e.msg, bad[i].bdf));
		CU_EQ(other.frees, 0);
	}
	rig_down(&r);
}

static void functions_do_not_share_addresses_of_their_bars(void)
{
	static struct rig r[40];

	memset(r, 0, sizeof(r));
	CU_EQ(pci_bus_new(&r[0].bus), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		r[i].bus = r[0].bus;
		CU_EQ(rig_build(&r[i], NULL), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(r); i++) {
		for (unsigned k = 0; k < i; k++) {
			for (unsigned bar = 0; bar < 5; bar += 4) {
				uint64_t a = pci_func_bar_addr(r[i].f, bar);
				uint64_t b = pci_func_bar_addr(r[k].f, bar);
				uint64_t size = bar ? 0x8000 : 32;

				CU_ASSERT_TRUE(a + size <= b || b + size <= a);
			}
		}
	}
	rig_down(&r[0]);
}

static void a_function_is_shown_only_when_realized(void)
{
	struct ioapi_func *f;
	struct rig r;

	rig_new(&r);
	CU_EQ(pci_func_new(r.bus, "0000:00:03.0", &rig_ident, &rig_ops, &r, &f, NULL), 0);
	CU_ASSERT_PTR_NULL(ioapi_bus_find(r.bus, "0000:00:03.0"));
	CU_ASSERT_PTR_EQUAL(ioapi_bus_func(r.bus, 0), r.f);
	CU_EQ(ioapi_open(f, NULL), -ENODEV);
	pci_func_free(f);
	CU_EQ(r.frees, 0);
	rig_down(&r);
	CU_EQ(r.frees, 1);
}

/* ---- open and close ------------------------------------------------------------------------ */

static void one_driver_at_a_time(void)
{
	struct rig r;

	rig_new(&r);
	CU_EQ(ioapi_open(r.f, &r.e), 0);
	CU_EQ(ioapi_open(r.f, &r.e), -EBUSY);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.e.msg, "0000:00:04.0"));
	CU_EQ(rig_read(&r, 4, 0, 4), 0);	/* the first one's session goes on */
	ioapi_close(r.f);
	ioapi_close(r.f);
	CU_EQ(r.closes, 1);
	CU_EQ(ioapi_open(r.f, &r.e), 0);
	CU_EQ(r.opens, 2);
	CU_EQ(r.resets, 2);
	rig_down(&r);
	CU_EQ(r.closes, 2);
	CU_EQ(r.frees, 1);
}

static void a_model_that_cannot_open_leaves_it_closed(void)
{
	struct rig r;

	rig_new(&r);
	r.open_rc = -EMFILE;
	CU_EQ(ioapi_open(r.f, &r.e), -EMFILE);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.e.msg, "told to fail"));
	CU_EQ(rig_read(&r, 4, 0, 4), UINT64_MAX);
	CU_EQ(ioapi_reset(r.f), -ENODEV);
	r.open_rc = 0;
	CU_EQ(ioapi_open(r.f, &r.e), 0);
	CU_EQ(r.closes, 0);
	rig_down(&r);
}

/* ---- fork ---------------------------------------------------------------------------------- */

/* In the child: 0 if everything is as it should be, else the number of what is not. */
static int orphan_check(struct rig *r, struct ioapi_domain *d)
{
	struct ioapi_dma p = { .iova = 0, .size = 4096, .fd = 0 };
	struct ioapi_stat rows[4];
	uint64_t val;

	ioapi_bus_orphan(r->bus);
	if (fd_kept_count() != 0 || r->orphans != 1)
		return 1;
	if (ioapi_read(r->f, 4, 0, 4, &val) != -ENODEV || val != UINT64_MAX)
		return 2;
	if (ioapi_write(r->f, 4, RIG_BELL_OFF, 2, 0) != -ENODEV)
		return 3;
	if (ioapi_read(r->f, IOAPI_CONFIG, 0, 4, &val) != -ENODEV)
		return 4;
	if (ioapi_open(r->f, NULL) != -ENODEV || ioapi_reset(r->f) != -ENODEV)
		return 5;
	if (ioapi_irq_set(r->f, IOAPI_IRQ_MSIX, 0, 0, NULL) != -ENODEV)
		return 6;
	if (ioapi_dma_map(d, &p, 1) != -ENODEV || ioapi_attach(r->f, d) != -ENODEV)
		return 7;
	if (ioapi_dma_unmap(d, 0, 4096, &val) != -ENODEV)
		return 8;
	if (ioapi_domain_new(r->bus, &d) != -ENODEV)
		return 9;
	ioapi_close(r->f);
	ioapi_detach(r->f);
	(void)ioapi_stats(r->f, rows, 4);
	ioapi_domain_free(d);
	ioapi_bus_close(r->bus);
	return r->closes || r->frees != 1 ? 10 : 0;
}

static void a_forked_copy_is_dead_and_the_parent_unharmed(void)
{
	struct ioapi_domain *d;
	struct ioapi_dma p = { .iova = 0, .size = 4096, .va = NULL };
	int status = -1, fd;
	struct rig r;
	pid_t pid;

	rig_up(&r);
	fd = fd_keep_event();
	p.fd = fd;
	CU_EQ(ioapi_domain_new(r.bus, &d), 0);
	CU_EQ(ioapi_attach(r.f, d), 0);
	CU_EQ(ioapi_dma_map(d, &p, 1), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 1, &fd), 0);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_INTX, 0, 1, &fd), 0);
	fd_drop(&fd);
	lock_take(pci_func_lock(r.f));	/* as another thread might at the fork */
	pid = fork();
	if (pid == 0)
		_exit(orphan_check(&r, d));
	lock_drop(pci_func_lock(r.f));
	waitpid(pid, &status, 0);
	CU_EQ(status, 0);
	CU_EQ(ioapi_write(r.f, 4, 0, 4, 5), 0);
	CU_EQ(r.control, 5);
	ioapi_close(r.f);
	ioapi_domain_free(d);
	rig_down(&r);
	CU_EQ(fd_kept_count(), 0);
}

/* ---- missing resources --------------------------------------------------------------------- */

static int build_and_open(struct rig *r)
{
	int rc = pci_bus_new(&r->bus);

	if (rc)
		return rc;
	rc = rig_build(r, NULL);
	if (!rc)
		rc = ioapi_open(r->f, &r->e);
	return rc;
}

static void each_missing_resource_is_told_and_leaks_nothing(void)
{
	unsigned before = fds_open(), n;

	for (n = 1; n < 40; n++) {
		struct rig r;
		int rc;

		memset(&r, 0, sizeof(r));
		fault_arm(n);
		rc = build_and_open(&r);
		CU_ASSERT_TRUE(rc == 0 || rc == -ENOMEM || rc == -EMFILE || rc == -EAGAIN);
		if (rc && r.f)
			CU_EQ(r.e.code, rc);
		ioapi_bus_close(r.bus);
		CU_EQ(fds_open(), before);
		if (!rc)
			break;
	}
	fault_arm(0);
	/* The bus, its loop and its eventfd, its trace, the function, its vectors, two indexes, the
	 * thread. */
	CU_EQ(n, 10);
}

static void closing_nothing_is_fine(void)
{
	ioapi_bus_close(NULL);
	ioapi_domain_free(NULL);
	pci_func_free(NULL);
}

CU_MAIN("bus/life",
	TC("A-ID-16", addresses_are_given_out_from_slot_four_and_listed_in_order),
	T(wrong_and_taken_addresses_are_refused_with_a_reason),
	TC("A-ID-16", functions_do_not_share_addresses_of_their_bars),
	T(a_function_is_shown_only_when_realized),
	T(one_driver_at_a_time),
	T(a_model_that_cannot_open_leaves_it_closed),
	T(a_forked_copy_is_dead_and_the_parent_unharmed),
	T(each_missing_resource_is_told_and_leaks_nothing),
	T(closing_nothing_is_fine))
