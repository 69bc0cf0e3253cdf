// SPDX-License-Identifier: Apache-2.0
/*
 * bus_random.c - a driver that has lost its mind: random calls through the waist, from a fixed
 * seed. Nothing may crash, nothing may be left over.
 */
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "tests/unit/bus_rig.h"

#define ROUNDS 100000
#define K      4096ull
#define FDS    4

struct driver {
	struct rig          *r;
	struct ioapi_domain *d;
	uint64_t             seed;
	int                  event[FDS], memory[FDS];
};

static uint64_t dice(struct driver *v, uint64_t sides)
{
	v->seed = v->seed * 6364136223846793005u + 1442695040888963407u;
	return (v->seed >> 33) % sides;
}

/* Mostly near something, sometimes anywhere. */
static uint64_t somewhere(struct driver *v)
{
	static const uint64_t near[] = {
		0, 0x14, 0x18, 0x40, 0x4c, 0x50, 0x100, 0x800, 0x1000, 0x3000, 0x5000, 0x8000,
		UINT32_MAX, UINT64_MAX,
	};

	uint64_t at = near[dice(v, ARRAY_SIZE(near))];

	return at + dice(v, 24) - 8;
}

static uint64_t something(struct driver *v)
{
	static const uint64_t value[] = { 0, 1, 7, 0x8000, 0xc000, UINT32_MAX, UINT64_MAX };

	return value[dice(v, ARRAY_SIZE(value))];
}

static void read_it(struct driver *v)
{
	unsigned region = (unsigned)dice(v, 9), size = (unsigned)dice(v, 10);
	uint64_t val = 0;
	int rc = ioapi_read(v->r->f, region, somewhere(v), size, &val);

	CU_ASSERT_TRUE(!rc || val == UINT64_MAX);
}

static void write_it(struct driver *v)
{
	unsigned region = (unsigned)dice(v, 9), size = 1u << dice(v, 4);
	uint64_t off = somewhere(v);

	(void)ioapi_write(v->r->f, region, off, size, something(v));
}

static void set_command(struct driver *v)
{
	(void)rig_cfg_put(v->r, PCI_COMMAND, 2, dice(v, 3) ? 7 : dice(v, 2048));
}

static void set_irqs(struct driver *v)
{
	unsigned index, start;
	int fds[8];

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dice(v, 16) ? v->event[dice(v, FDS)] : (int)dice(v, 4) - 2;
	index = dice(v, 2) ? IOAPI_IRQ_MSIX : (unsigned)dice(v, 6);
	start = (unsigned)dice(v, 3);
	if (!dice(v, 8))
		(void)ioapi_irq_set(v->r->f, index, 0, 0, NULL);
	else
		(void)ioapi_irq_set(v->r->f, index, start, (unsigned)dice(v, 6), fds);
}

static void raise_it(struct driver *v)
{
	lock_take(pci_func_lock(v->r->f));
	pci_func_irq(v->r->f, dice(v, 8));
	pci_intx(v->r->f, dice(v, 2));
	lock_drop(pci_func_lock(v->r->f));
}

static void map_it(struct driver *v)
{
	struct ioapi_dma p[3];

	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		uint64_t at = dice(v, 32);

		p[i] = (struct ioapi_dma){
			.iova = at * K, .va = (void *)(uintptr_t)((at + 1) * K), .off = at * K,
			.size = (dice(v, 4)) * K,
		};
		p[i].fd = v->memory[dice(v, FDS)];
	}
	__atomic_store_n(&v->r->memory_rc, dice(v, 8) ? 0 : -E2BIG, __ATOMIC_RELAXED);
	(void)ioapi_dma_map(v->d, p, 1 + dice(v, 3));
	__atomic_store_n(&v->r->memory_rc, 0, __ATOMIC_RELAXED);
}

static void unmap_it(struct driver *v)
{
	uint64_t at = dice(v, 40), taken;

	(void)ioapi_dma_unmap(v->d, at * K, dice(v, 8) * K, &taken);
}

static void open_it(struct driver *v)
{
	(void)ioapi_open(v->r->f, NULL);
}

static void close_it(struct driver *v)
{
	if (!dice(v, 4))
		ioapi_close(v->r->f);
}

static void attach_it(struct driver *v)
{
	(void)ioapi_attach(v->r->f, v->d);
}

static void detach_it(struct driver *v)
{
	if (!dice(v, 2))
		ioapi_detach(v->r->f);
}

static void reset_it(struct driver *v)
{
	(void)ioapi_reset(v->r->f);
}

static void want_for_something(struct driver *v)
{
	fault_arm(1 + dice(v, 4));
}

static void (*const deeds[])(struct driver *v) = {
	read_it, read_it, write_it, write_it, write_it, set_command, set_irqs, set_irqs,
	raise_it, map_it, unmap_it, open_it, open_it, close_it, attach_it, detach_it, reset_it,
	want_for_something,
};

static void driver_new(struct driver *v, struct rig *r, uint64_t seed)
{
	*v = (struct driver){ .r = r, .seed = seed };
	for (unsigned i = 0; i < FDS; i++) {
		v->event[i] = eventfd(0, EFD_NONBLOCK);
		v->memory[i] = memfd_create("m", 0);
	}
	CU_EQ(ioapi_domain_new(r->bus, &v->d), 0);
}

static void driver_free(struct driver *v)
{
	fault_arm(0);
	ioapi_detach(v->r->f);
	ioapi_domain_free(v->d);
	for (unsigned i = 0; i < FDS; i++) {
		close(v->event[i]);
		close(v->memory[i]);
	}
}

static void a_mad_driver_breaks_and_leaks_nothing(void)
{
	unsigned before = fds_open();
	struct driver v;
	struct rig r;

	rig_new(&r);
	driver_new(&v, &r, 1);
	for (unsigned i = 0; i < ROUNDS; i++)
		deeds[dice(&v, ARRAY_SIZE(deeds))](&v);
	driver_free(&v);
	CU_ASSERT_TRUE(r.opens > 100);
	CU_ASSERT_TRUE(r.msix_changes > 100);
	CU_ASSERT_TRUE(r.memories > 100);
	CU_ASSERT_TRUE(r.irq_changes > 1000);
	rig_down(&r);
	CU_EQ(fds_open(), before);
	CU_EQ(fd_kept_count(), 0);
}

static void *go_mad(void *arg)
{
	struct driver *v = arg;

	for (unsigned i = 0; i < ROUNDS / 20; i++)
		deeds[dice(v, ARRAY_SIZE(deeds) - 1)](v);
	return NULL;
}

static void mad_threads_break_nothing_between_them_either(void)
{
	unsigned before = fds_open();
	struct driver v[3];
	pthread_t t[3];
	struct rig r;

	rig_new(&r);
	for (unsigned i = 0; i < 3; i++)
		driver_new(&v[i], &r, i);
	for (unsigned i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, go_mad, &v[i]);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < 3; i++)
		driver_free(&v[i]);
	rig_down(&r);
	CU_EQ(fds_open(), before);
	CU_EQ(fd_kept_count(), 0);
}

CU_MAIN("bus/random",
	T(a_mad_driver_breaks_and_leaks_nothing),
	T(mad_threads_break_nothing_between_them_either))
