/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bus_rig.h - a bus with one function on it, whose model only writes down what it is told.
 *
 * BAR0 is I/O (a block that moves with MSI-X, as the legacy layout does), BAR1 holds MSI-X,
 * BAR4 is a 64-bit memory BAR with registers at 0, and an unlocked doorbell at 0x3000.
 */
#ifndef TESTS_UNIT_BUS_RIG_H
#define TESTS_UNIT_BUS_RIG_H

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>

#include "include/ioapi.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"
#include "sim/core/fd.h"
#include "tests/unit/cu.h"

#define RIG_VECTORS  5
#define RIG_BELL_OFF 0x3000
#define RIG_BELL_LEN 0x2000

struct rig {
	struct ioapi_bus  *bus;
	struct ioapi_func *f;
	struct err         e;
	int                cap;

	/* the model */
	uint64_t control, config, bell;
	unsigned opens, closes, resets, frees, orphans, irq_changes, msix_changes, memories;
	int      irq_vector, msix_on, open_rc, memory_rc;
	uint16_t command;
	struct space *space;
	int      call_fd[RIG_VECTORS];	/* as a model hands them on: numbers, kept */
	unsigned hook_reads, hook_writes;
	void   (*on_bell)(struct rig *r), (*on_close)(struct rig *r);
	bool     shut;			/* between close and open */
	unsigned late;			/* bells while shut: never */
};

static inline uint64_t rig_get_control(void *dev)
{
	return ((struct rig *)dev)->control;
}

static inline void rig_set_control(void *dev, uint64_t val)
{
	((struct rig *)dev)->control = val;
}

static inline uint64_t rig_get_config(void *dev)
{
	return ((struct rig *)dev)->config;
}

static inline void rig_set_config(void *dev, uint64_t val)
{
	((struct rig *)dev)->config = val;
}

static const struct reg rig_regs[] = {
	{ 0x00, 4, 0, "control", rig_get_control, rig_set_control },
	{ 0x08, 8, REG_HALVES, "wide", rig_get_control, rig_set_control },
	{ 0x14, 1, 0, "constant", rig_get_control, NULL },
};
static REGMAP(rig_regs, "rig.regs", 0x20, 0);

static const struct reg rig_config[] = {
	{ 0, 6, REG_BYTES, "config", rig_get_config, rig_set_config },
};
static REGMAP(rig_config, "rig.config", 8, REGMAP_SPAN);

static inline int rig_bell_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct rig *r = dev;

	if (__atomic_load_n(&r->shut, __ATOMIC_RELAXED))
		__atomic_add_fetch(&r->late, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&r->bell, off << 16 | val, __ATOMIC_RELAXED);
	if (r->on_bell)
		r->on_bell(r);
	return 0;
}

static inline int rig_open(void *dev, struct err *e)
{
	struct rig *r = dev;

	r->opens++;
	__atomic_store_n(&r->shut, false, __ATOMIC_RELAXED);
	return r->open_rc ? err_set(e, r->open_rc, "rig: told to fail") : 0;
}

static inline void rig_close(void *dev)
{
	struct rig *r = dev;

	r->closes++;
	__atomic_store_n(&r->shut, true, __ATOMIC_RELAXED);
	if (r->on_close)
		r->on_close(r);
}

static inline void rig_reset(void *dev)
{
	((struct rig *)dev)->resets++;
}

static inline void rig_irq_changed(void *dev, int vector)
{
	struct rig *r = dev;

	r->irq_changes++;
	r->irq_vector = vector;
	for (unsigned i = 0; i < RIG_VECTORS; i++)
		if (vector < 0 || vector == (int)i)
			r->call_fd[i] = pci_func_irq_fd(r->f, i);
}

static inline void rig_msix_changed(void *dev, bool on)
{
	struct rig *r = dev;

	r->msix_changes++;
	r->msix_on = on;
	pci_window_move(r->f, &rig_config_map, on ? 24 : 20);
}

static inline int rig_memory_changed(void *dev, struct space *s)
{
	struct rig *r = dev;

	r->memories++;
	r->space = s;
	return s ? __atomic_load_n(&r->memory_rc, __ATOMIC_RELAXED) : 0;
}

static inline void rig_command_changed(void *dev, uint16_t command)
{
	((struct rig *)dev)->command = command;
}

static inline unsigned rig_stats(void *dev, struct ioapi_stat *rows, unsigned max)
{
	struct rig *r = dev;

	if (max)
		rows[0] = (struct ioapi_stat){ "resets", r->resets };
	return 1;
}

static inline void rig_orphan(void *dev)
{
	((struct rig *)dev)->orphans++;
}

static inline void rig_free_model(void *dev)
{
	((struct rig *)dev)->frees++;
}

static const struct pci_model_ops rig_ops = {
	.name = "rig", .open = rig_open, .close = rig_close, .reset = rig_reset,
	.irq_changed = rig_irq_changed, .msix_changed = rig_msix_changed,
	.memory_changed = rig_memory_changed, .command_changed = rig_command_changed,
	.stats = rig_stats, .orphan = rig_orphan, .free = rig_free_model,
};

static const struct pci_identity rig_ident = {
	.vendor = 0x1af4, .device = 0x1041, .subsys_vendor = 0x1af4, .subsys_device = 0x1100,
	.class = 0x020000, .revision = 1, .id = "net0",
};

static inline void rig_hook_read(void *dev, unsigned off, unsigned size)
{
	((struct rig *)dev)->hook_reads++;
}

static inline void rig_hook_write(void *dev, unsigned off, unsigned size)
{
	((struct rig *)dev)->hook_writes++;
}

/* A function with everything on it; -errno as pci_func_new() and pci_func_realize(). */
static inline int rig_build(struct rig *r, const char *bdf)
{
	static const uint8_t cap[16] = { 0, 0, 16, 1, [8] = 0x55 };
	/* The first two bytes are the bus's own, whatever a model asks for. */
	static const uint8_t writable[16] = { 0xff, 0xff, [12] = 0xff, 0xff, 0xff, 0xff };
	const struct pci_window w[] = {
		{ .bar = 0, .off = 24, .map = &rig_config_map, .dev = r },
		{ .bar = 4, .off = 0, .map = &rig_regs_map, .dev = r },
		{ .bar = 4, .off = RIG_BELL_OFF, .len = RIG_BELL_LEN, .dev = r,
		  .write = rig_bell_write, .name = "rig.bell", .unlocked = true },
	};
	struct pci_cfg_hook hook = {
		.len = 4, .before_read = rig_hook_read, .after_write = rig_hook_write,
	};
	int rc = pci_func_new(r->bus, bdf, &rig_ident, &rig_ops, r, &r->f, &r->e);

	if (rc)
		return rc;
	pci_bar_add(r->f, 0, PCI_BAR_IO);
	pci_bar_add(r->f, 4, PCI_BAR_64 | PCI_BAR_MAP);
	for (unsigned i = 0; i < ARRAY_SIZE(w); i++)
		pci_window_add(r->f, &w[i]);
	pci_window_move(r->f, &rig_config_map, 20);
	r->cap = pci_cap_add(r->f, PCI_CAP_ID_VNDR, cap, writable, sizeof(cap));
	hook.off = pci_cap_off(r->f, r->cap) + 12;
	pci_cfg_hook_add(r->f, &hook);
	pci_msix_add(r->f, 1, RIG_VECTORS);
	rc = pci_func_realize(r->f, &r->e);
	if (rc)
		pci_func_free(r->f);
	return rc;
}

static inline void rig_new(struct rig *r)
{
	memset(r, 0, sizeof(*r));
	r->irq_vector = -2;
	CU_EQ_FATAL(pci_bus_new(&r->bus), 0);
	CU_EQ_FATAL(rig_build(r, NULL), 0);
}

static inline void rig_up(struct rig *r)
{
	rig_new(r);
	CU_EQ_FATAL(ioapi_open(r->f, &r->e), 0);
}

static inline void rig_down(struct rig *r)
{
	ioapi_bus_close(r->bus);
}

/* ~0 where refused. */
static inline uint64_t rig_read(struct rig *r, unsigned region, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	(void)ioapi_read(r->f, region, off, size, &val);
	return val;
}

#define rig_cfg(r, off, size) rig_read(r, IOAPI_CONFIG, off, size)
#define rig_cfg_put(r, off, size, val) ioapi_write((r)->f, IOAPI_CONFIG, off, size, val)

#endif
