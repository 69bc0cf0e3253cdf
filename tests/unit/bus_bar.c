// SPDX-License-Identifier: Apache-2.0
// bus_bar.c - BAR accesses: windows, decoding, the unlocked doorbell.
#include <pthread.h>
#include <unistd.h>

#include "tests/unit/bus_rig.h"

static int put(struct rig *r, unsigned bar, uint64_t off, unsigned size, uint64_t val)
{
	return ioapi_write(r->f, bar, off, size, val);
}

static void registers_answer_where_their_window_is(void)
{
	struct rig r;

	rig_up(&r);
	CU_EQ(put(&r, 4, 0, 4, 0x11223344), 0);
	CU_EQ(r.control, 0x11223344);
	CU_EQ(rig_read(&r, 4, 8, 8), 0x11223344);
	CU_EQ(put(&r, 4, RIG_BELL_OFF + 0x1002, 2, 7), 0);
	CU_EQ(r.bell, 0x1002 << 16 | 7);
	CU_EQ(rig_read(&r, 4, RIG_BELL_OFF, 4), 0);	/* a write-only window */
	CU_EQ(put(&r, 0, 20, 2, 0xbeef), 0);
	CU_EQ(r.config, 0xbeef);
	rig_down(&r);
}

static void what_is_no_register_is_refused_and_touches_nothing(void)
{
	static const struct { unsigned bar; uint64_t off; unsigned size; int rc; } bad[] = {
		{ 4, 0x04, 4, -ENXIO },				/* hole in the map */
		{ 4, 0x00, 2, -ENXIO },				/* half a register */
		{ 4, 0x14, 1, -EPERM },				/* read-only */
		{ 4, 0x1c, 8, -ENXIO },				/* past the window */
		{ 4, 0x2000, 4, -ENXIO },			/* between windows */
		{ 4, RIG_BELL_OFF - 2, 4, -ENXIO },		/* half in a window */
		{ 4, RIG_BELL_OFF + RIG_BELL_LEN - 2, 4, -ENXIO },
		{ 4, RIG_BELL_OFF + RIG_BELL_LEN, 2, -ENXIO },
		{ 4, 0x8000, 4, -ENXIO },			/* past the BAR */
		{ 4, UINT64_MAX - 3, 4, -ENXIO },
		{ 4, UINT64_MAX, 8, -ENXIO },
		{ 5, 0, 4, -ENXIO },				/* upper half */
		{ 2, 0, 4, -ENXIO },				/* no BAR */
		{ 0, 0, 4, -ENXIO },
		{ 0, 28, 1, -ENXIO },
		{ 1, 0, 1, -ENXIO },				/* table: whole dwords only */
		{ 1, 2, 4, -ENXIO },
		{ 1, 0x800, 4, -EPERM },			/* pending bits */
	};
	struct rig r, was;
	uint64_t val;

	rig_up(&r);
	r.control = r.config = r.bell = 0x5555;
	was = r;
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CU_EQ(put(&r, bad[i].bar, bad[i].off, bad[i].size, 0), bad[i].rc);
		CU_EQ(memcmp(&r, &was, sizeof(r)), 0);
		if (bad[i].rc == -EPERM)
			continue;
		CU_EQ(ioapi_read(r.f, bad[i].bar, bad[i].off, bad[i].size, &val), bad[i].rc);
		CU_EQ(val, UINT64_MAX);
	}
	rig_down(&r);
}

static void decode_bits_gate_their_kind_of_bar(void)
{
	struct rig r;
	uint64_t val;

	rig_up(&r);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, PCI_COMMAND_IO), 0);
	CU_EQ(ioapi_read(r.f, 4, 0, 4, &val), -EIO);
	CU_EQ(val, UINT64_MAX);
	CU_EQ(put(&r, 4, RIG_BELL_OFF, 2, 1), -EIO);
	CU_EQ(ioapi_read(r.f, 1, 0, 4, &val), -EIO);
	CU_EQ(r.bell, 0);
	CU_EQ(ioapi_read(r.f, 0, 20, 2, &val), 0);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, PCI_COMMAND_MEMORY), 0);
	CU_EQ(ioapi_read(r.f, 0, 20, 2, &val), -EIO);
	CU_EQ(ioapi_read(r.f, 4, 0, 4, &val), 0);
	CU_EQ(put(&r, 4, RIG_BELL_OFF, 2, 1), 0);
	rig_down(&r);
}

static void a_closed_function_answers_nothing(void)
{
	struct rig r;
	uint64_t val;

	rig_new(&r);
	CU_EQ(ioapi_read(r.f, 4, 0, 4, &val), -ENODEV);
	CU_EQ(put(&r, 4, RIG_BELL_OFF, 2, 1), -ENODEV);
	CU_EQ(ioapi_open(r.f, NULL), 0);
	CU_EQ(put(&r, 4, RIG_BELL_OFF, 2, 1), 0);
	ioapi_close(r.f);
	CU_EQ(put(&r, 4, RIG_BELL_OFF, 2, 2), -ENODEV);
	CU_EQ(put(&r, 4, 0, 4, 2), -ENODEV);
	CU_EQ(r.bell, 1);
	rig_down(&r);
}

static void a_window_moves_and_goes_and_comes_back(void)
{
	struct rig r;

	rig_up(&r);
	r.config = 0x42;
	lock_take(pci_func_lock(r.f));
	pci_window_move(r.f, &rig_config_map, 24);
	lock_drop(pci_func_lock(r.f));
	CU_EQ(rig_read(&r, 0, 24, 1), 0x42);
	CU_EQ(rig_read(&r, 0, 20, 1), UINT64_MAX);
	lock_take(pci_func_lock(r.f));
	pci_window_move(r.f, &rig_config_map, PCI_WINDOW_GONE);
	lock_drop(pci_func_lock(r.f));
	for (unsigned off = 0; off < 32; off++)
		CU_EQ(rig_read(&r, 0, off, 1), UINT64_MAX);
	CU_EQ(rig_read(&r, 0, UINT64_MAX, 1), UINT64_MAX);
	lock_take(pci_func_lock(r.f));
	pci_window_move(r.f, &rig_config_map, 20);
	lock_drop(pci_func_lock(r.f));
	CU_EQ(rig_read(&r, 0, 20, 1), 0x42);
	rig_down(&r);
}

static void a_locked_register_refuses_re_entry_and_the_doorbell_does_not_need_to(void)
{
	struct rig r;
	uint64_t val = 0;

	rig_up(&r);
	lock_take(pci_func_lock(r.f));
	CU_EQ(ioapi_read(r.f, 4, 0, 4, &val), -EDEADLK);
	CU_EQ(val, UINT64_MAX);
	CU_EQ(put(&r, 4, 0, 4, 1), -EDEADLK);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, 0), -EDEADLK);
	CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), -EDEADLK);
	CU_EQ(ioapi_reset(r.f), -EDEADLK);
	CU_EQ(put(&r, 4, RIG_BELL_OFF, 2, 9), 0);
	lock_drop(pci_func_lock(r.f));
	CU_EQ(r.bell, 9);
	rig_down(&r);
}

static void the_functions_own_access_is_the_drivers(void)
{
	struct rig r;
	uint64_t val = 0x77;

	rig_up(&r);
	lock_take(pci_func_lock(r.f));
	CU_EQ(pci_bar_access(r.f, 4, 0, 4, true, &val), 0);
	CU_EQ(pci_bar_access(r.f, 4, RIG_BELL_OFF, 2, true, &val), 0);
	val = 0;
	CU_EQ(pci_bar_access(r.f, 4, 0, 4, false, &val), 0);
	CU_EQ(val, 0x77);
	CU_EQ(pci_bar_access(r.f, 1, 0, 4, false, &val), 0);
	CU_EQ(pci_bar_access(r.f, 6, 20, 1, false, &val), -ENXIO);
	CU_EQ(val, UINT64_MAX);
	CU_EQ(pci_bar_access(r.f, 255, 20, 1, false, &val), -ENXIO);
	val = 0x88;
	CU_EQ(pci_bar_access(r.f, 4, RIG_BELL_OFF, 3, true, &val), -ENXIO);
	CU_EQ(pci_bar_access(r.f, 4, UINT32_MAX, 4, false, &val), -ENXIO);
	CU_EQ(r.bell, 0x77);
	lock_drop(pci_func_lock(r.f));
	rig_down(&r);
}

static void refused_accesses_are_counted(void)
{
	struct ioapi_stat rows[4] = { { 0 } };
	struct rig r;

	rig_up(&r);
	(void)rig_read(&r, 4, 4, 4);
	(void)rig_read(&r, 4, 0, 4);
	(void)rig_read(&r, IOAPI_CONFIG, 256, 4);
	CU_EQ(put(&r, 4, 4, 4, 0), -ENXIO);
	CU_EQ(ioapi_stats(r.f, rows, 4), 4);
	CU_ASSERT_STRING_EQUAL(rows[0].name, "register_reads");
	CU_EQ(rows[0].value, 3);
	CU_ASSERT_STRING_EQUAL(rows[1].name, "register_writes");
	CU_EQ(rows[1].value, 1);
	CU_ASSERT_STRING_EQUAL(rows[2].name, "bus_refused");
	CU_EQ(rows[2].value, 3);
	CU_ASSERT_STRING_EQUAL(rows[3].name, "resets");
	CU_EQ(ioapi_stats(r.f, NULL, 0), 4);
	rig_down(&r);
}

/* ---- our own mistakes ---------------------------------------------------------------------- */

static struct ioapi_func *half_built(struct rig *r)
{
	struct ioapi_func *f = NULL;

	pci_func_new(r->bus, NULL, &rig_ident, &rig_ops, r, &f, NULL);
	pci_bar_add(f, 0, 0);
	return f;
}

static void overlapping_windows(void *rig)
{
	const struct pci_window w[] = {
		{ .bar = 0, .off = 0, .map = &rig_regs_map, .dev = rig },
		{ .bar = 0, .off = 0x1c, .map = &rig_config_map, .dev = rig },
	};
	struct ioapi_func *f = half_built(rig);

	pci_window_add(f, &w[0]);
	pci_window_add(f, &w[1]);
	(void)pci_func_realize(f, NULL);
}

static void empty_bar(void *rig)
{
	(void)pci_func_realize(half_built(rig), NULL);
}

static void move_onto_another(void *rig)
{
	const struct pci_window w[] = {
		{ .bar = 0, .off = 0, .map = &rig_regs_map, .dev = rig },
		{ .bar = 0, .off = 0x20, .map = &rig_config_map, .dev = rig },
	};
	struct ioapi_func *f = half_built(rig);

	pci_window_add(f, &w[0]);
	pci_window_add(f, &w[1]);
	(void)pci_func_realize(f, NULL);
	lock_take(pci_func_lock(f));
	pci_window_move(f, &rig_config_map, 0x18);
}

static void bar_twice(void *rig)
{
	pci_bar_add(half_built(rig), 0, 0);
}

static void wide_bar_without_room(void *rig)
{
	pci_bar_add(half_built(rig), 5, PCI_BAR_64);
}

static void model_with_a_hole(void *rig)
{
	struct pci_model_ops ops = rig_ops;
	struct ioapi_func *f;

	ops.stats = NULL;
	pci_func_new(((struct rig *)rig)->bus, NULL, &rig_ident, &ops, rig, &f, NULL);
}

static void a_model_that_is_built_wrongly_stops_us(void)
{
	static void (*const mistakes[])(void *rig) = {
		overlapping_windows, empty_bar, move_onto_another, bar_twice,
		wide_bar_without_room, model_with_a_hole,
	};
	struct rig r;

	rig_new(&r);
	for (unsigned i = 0; i < ARRAY_SIZE(mistakes); i++)
		CU_ASSERT_TRUE(cu_aborts(mistakes[i], &r));
	rig_down(&r);
}

/* ---- the doorbell and close ---------------------------------------------------------------- */

static void slow_bell(struct rig *r)
{
	usleep(30000);
	CU_ASSERT_FALSE(__atomic_load_n(&r->closes, __ATOMIC_RELAXED));
	lock_take(pci_func_lock(r->f));		/* as the control queue does */
	lock_drop(pci_func_lock(r->f));
}

static void *ring_once(void *arg)
{
	struct rig *r = arg;

	CU_EQ(put(r, 4, RIG_BELL_OFF, 2, 1), 0);
	return NULL;
}

static void close_waits_for_a_doorbell_that_waits_for_the_lock(void)
{
	struct rig r;
	pthread_t t;

	rig_up(&r);
	r.on_bell = slow_bell;
	pthread_create(&t, NULL, ring_once, &r);
	while (!__atomic_load_n(&r.bell, __ATOMIC_RELAXED))
		usleep(100);
	ioapi_close(r.f);
	CU_EQ(r.closes, 1);
	pthread_join(t, NULL);
	rig_down(&r);
}

static int stop;

static void *ring_on(void *arg)
{
	struct rig *r = arg;
	unsigned rung = 0;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		int rc = put(r, 4, RIG_BELL_OFF, 2, 1);

		if (rc && rc != -ENODEV && rc != -EIO)
			return r;
		rung += !rc;
		(void)rig_read(r, 4, 0, 4);
	}
	return rung ? NULL : r;
}

static void slow_close(struct rig *r)
{
	usleep(300);
}

static void opening_and_closing_under_fire_is_safe(void)
{
	struct rig r;
	pthread_t t[2];
	void *failed;

	stop = 0;
	rig_up(&r);
	r.on_close = slow_close;
	for (unsigned i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, ring_on, &r);
	for (unsigned i = 0; i < 50; i++) {
		usleep(200);
		ioapi_close(r.f);
		CU_EQ(ioapi_open(r.f, NULL), 0);
	}
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (unsigned i = 0; i < 2; i++) {
		pthread_join(t[i], &failed);
		CU_ASSERT_PTR_NULL(failed);
	}
	CU_EQ(r.closes, 50);
	CU_EQ(r.late, 0);
	rig_down(&r);
}

CU_MAIN("bus/bar",
	T(registers_answer_where_their_window_is),
	T(what_is_no_register_is_refused_and_touches_nothing),
	TC("A-ID-11", decode_bits_gate_their_kind_of_bar),
	T(a_closed_function_answers_nothing),
	T(a_window_moves_and_goes_and_comes_back),
	T(a_locked_register_refuses_re_entry_and_the_doorbell_does_not_need_to),
	T(the_functions_own_access_is_the_drivers),
	T(refused_accesses_are_counted),
	T(a_model_that_is_built_wrongly_stops_us),
	T(close_waits_for_a_doorbell_that_waits_for_the_lock),
	T(opening_and_closing_under_fire_is_safe))
