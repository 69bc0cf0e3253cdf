// SPDX-License-Identifier: Apache-2.0
/*
 * msix.c - vector table, pending bits, masks, an eventfd per vector (PCI 3.0, 6.8.2).
 *
 * A vector has up to two eventfds: the driver's, and a private one that takes its place towards
 * the back-end while the vector is masked. Its readability is (half of) the pending bit; an
 * unmask moves what it collected to the driver's, once.
 *
 * Nobody writes the table behind VFIO, where the kernel would unmask a vector that gets an
 * eventfd: so does msix_irq_set().
 */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sim/bus/internal.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"

#define CONTROL     3		/* dword of an entry */
#define PBA_ALIGN   2048	/* apart from the table, as a page of it would be */
#define SETTLE_MS   10
#define SETTLE_STEP 10		/* each wait is this many times the one before */
#define SETTLE_MAX  3

/* What of an entry's dwords a driver may write: addresses are dword-aligned. */
static const uint32_t entry_writable[4] = { ~3u, ~0u, ~0u, PCI_MSIX_ENTRY_CTRL_MASKBIT };

static uint16_t control(const struct ioapi_func *f)
{
	return cfg_u16(f->cfg, f->msix.cap + PCI_MSIX_FLAGS);
}

bool pci_func_msix_on(const struct ioapi_func *f)
{
	return f->msix.count && (control(f) & PCI_MSIX_FLAGS_ENABLE);
}

static bool masked(const struct ioapi_func *f, const struct vector *v)
{
	return (v->entry[CONTROL] & PCI_MSIX_ENTRY_CTRL_MASKBIT) ||
	       (control(f) & PCI_MSIX_FLAGS_MASKALL);
}

static bool pending(const struct vector *v)
{
	return v->pending || fd_readable(v->masked_fd);
}

/* ---- delivery ------------------------------------------------------------------------------ */

int pci_func_irq_fd(struct ioapi_func *f, unsigned vector)
{
	struct vector *v;

	if (!pci_func_msix_on(f) || vector >= f->msix.count)
		return -1;
	v = &f->msix.vec[vector];
	if (v->fd < 0)
		return -1;
	if (!masked(f, v))
		return v->fd;
	if (v->masked_fd < 0)
		v->masked_fd = fd_keep_event();
	/* Out of descriptors: an interrupt too many is better than one too few. */
	return v->masked_fd < 0 ? v->fd : v->masked_fd;
}

void pci_func_irq(struct ioapi_func *f, unsigned vector)
{
	struct vector *v;

	if (!pci_func_msix_on(f) || vector >= f->msix.count)
		return;
	v = &f->msix.vec[vector];
	if (masked(f, v))
		v->pending = true;
	else
		fd_signal(v->fd);
}

static void forward(struct vector *v)
{
	bool drained = fd_drain(v->masked_fd);

	if (v->pending || drained)
		fd_signal(v->fd);
	v->pending = false;
}

/* A back-end that was told to use the driver's eventfd may yet be signalling the private one. */
static void settle_arm(struct ioapi_func *f)
{
	uint64_t wait_ms = SETTLE_MS;

	for (unsigned i = f->msix.settle_left; i < SETTLE_MAX; i++)
		wait_ms *= SETTLE_STEP;
	loop_timer(pci_bus_loop(f->bus), &f->msix.settle,
		   loop_now(pci_bus_loop(f->bus)) + wait_ms);
}

static void on_settle(struct loop_source *s, uint32_t events)
{
	struct ioapi_func *f = (struct ioapi_func *)((char *)s -
						     offsetof(struct ioapi_func, msix.settle));

	if (lock_take(&f->lock))
		return;
	if ((f->gate & GATE_OPEN) && f->msix.settle_left) {
		for (unsigned i = 0; i < f->msix.count; i++)
			if (!masked(f, &f->msix.vec[i]))
				forward(&f->msix.vec[i]);
		if (--f->msix.settle_left)
			settle_arm(f);
	}
	lock_drop(&f->lock);
}

/* Vectors [first, end) may have been unmasked; the model has been told. */
static void unmasked(struct ioapi_func *f, unsigned first, unsigned end)
{
	bool settle = false;

	for (unsigned i = first; i < end; i++) {
		struct vector *v = &f->msix.vec[i];

		if (masked(f, v))
			continue;
		forward(v);
		settle |= v->masked_fd >= 0;
	}
	if (!settle)
		return;
	f->msix.settle_left = SETTLE_MAX;
	settle_arm(f);
}

/* ---- table and pending bits ---------------------------------------------------------------- */

/* Only aligned whole dwords and quadwords are defined (PCI 3.0, 6.8.2): the rest is refused. */
static bool defined(uint64_t off, unsigned size)
{
	return (size == 4 || size == 8) && !(off & (size - 1));
}

static int table_read(void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	struct ioapi_func *f = dev;
	const uint32_t *dw = &f->msix.vec[off / PCI_MSIX_ENTRY_SIZE].entry[off / 4 % 4];

	if (!defined(off, size))
		return -ENXIO;
	*val = size == 4 ? dw[0] : dw[0] | (uint64_t)dw[1] << 32;
	return 0;
}

static int table_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct ioapi_func *f = dev;
	unsigned i = (unsigned)(off / PCI_MSIX_ENTRY_SIZE), dw = off / 4 % 4;
	struct vector *v = &f->msix.vec[i];
	bool was = masked(f, v);

	if (!defined(off, size))
		return -ENXIO;
	v->entry[dw] = (uint32_t)val & entry_writable[dw];
	if (size == 8)
		v->entry[dw + 1] = (uint32_t)(val >> 32) & entry_writable[dw + 1];
	if (masked(f, v) != was && pci_func_msix_on(f)) {
		f->ops->irq_changed(f->dev, (int)i);
		unmasked(f, i, i + 1);
	}
	return 0;
}

static int pba_read(void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	struct ioapi_func *f = dev;

	if (!defined(off, size))
		return -ENXIO;
	*val = 0;
	for (unsigned i = 0; i < 8 * size && off * 8 + i < f->msix.count; i++)
		*val |= (uint64_t)pending(&f->msix.vec[off * 8 + i]) << i;
	return 0;
}

void pci_msix_add(struct ioapi_func *f, unsigned bar, unsigned n)
{
	uint64_t pba_off = ((uint64_t)n * PCI_MSIX_ENTRY_SIZE + PBA_ALIGN - 1) &
			   ~(uint64_t)(PBA_ALIGN - 1);
	struct pci_window table = {
		.bar = bar, .dev = f, .read = table_read, .write = table_write,
		.len = (uint64_t)n * PCI_MSIX_ENTRY_SIZE, .name = "msix.table",
	};
	struct pci_window pba = {
		.bar = bar, .off = pba_off, .dev = f, .read = pba_read,
		.len = (n + 63) / 64 * 8, .name = "msix.pba",
	};
	uint8_t cap[PCI_CAP_MSIX_SIZEOF] = { 0 }, writable[PCI_CAP_MSIX_SIZEOF] = { 0 };

	assert(n && n <= PCI_MSIX_MAX && !f->msix.count);
	cfg_put(cap, PCI_MSIX_FLAGS, 2, n - 1);
	cfg_put(cap, PCI_MSIX_TABLE, 4, bar);
	cfg_put(cap, PCI_MSIX_PBA, 4, pba_off | bar);
	cfg_put(writable, PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL);
	pci_bar_add(f, bar, 0);
	pci_window_add(f, &table);
	pci_window_add(f, &pba);
	f->msix.count = n;
	f->msix.bar = bar;
	f->msix.pba_off = pba_off;
	f->msix.settle = (struct loop_source){ .ready = on_settle, .fd = -1 };
	f->msix.cap = pci_cap_off(f, pci_cap_add(f, PCI_CAP_ID_MSIX, cap, writable, sizeof(cap)));
}

/* At realize: the table itself. */
int msix_build(struct ioapi_func *f)
{
	if (!f->msix.count)
		return 0;
	f->msix.vec = fault_zalloc(f->msix.count * sizeof(*f->msix.vec));
	if (!f->msix.vec)
		return -ENOMEM;
	for (unsigned i = 0; i < f->msix.count; i++)
		f->msix.vec[i] = (struct vector){ .fd = -1, .next_fd = -1, .masked_fd = -1 };
	msix_reset(f);
	return 0;
}

void msix_reset(struct ioapi_func *f)
{
	for (unsigned i = 0; i < f->msix.count; i++) {
		struct vector *v = &f->msix.vec[i];

		memset(v->entry, 0, sizeof(v->entry));
		v->entry[CONTROL] = PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
}

void msix_forget_pending(struct ioapi_func *f)
{
	for (unsigned i = 0; i < f->msix.count; i++) {
		fd_drain(f->msix.vec[i].masked_fd);
		f->msix.vec[i].pending = false;
	}
}

/* ---- control and eventfds ------------------------------------------------------------------ */

void msix_control_written(struct ioapi_func *f, uint16_t was)
{
	uint16_t changed = control(f) ^ was;

	if (changed & PCI_MSIX_FLAGS_ENABLE) {
		f->ops->msix_changed(f->dev, pci_func_msix_on(f));
		intx_update(f);
	}
	if (changed & (PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL)) {
		f->ops->irq_changed(f->dev, -1);
		if (pci_func_msix_on(f))
			unmasked(f, 0, f->msix.count);
	}
}

static void enable(struct ioapi_func *f, bool on)
{
	uint16_t was = control(f);

	cfg_put(f->cfg, f->msix.cap + PCI_MSIX_FLAGS, 2,
		on ? was | PCI_MSIX_FLAGS_ENABLE : was & ~PCI_MSIX_FLAGS_ENABLE);
	msix_control_written(f, was);
}

/* Duplicates what is new, aside, so that running out of descriptors changes nothing. */
static int prepare(struct ioapi_func *f, unsigned start, unsigned count, const int *fds)
{
	for (unsigned i = 0; i < count; i++) {
		struct vector *v = &f->msix.vec[start + i];

		v->next_fd = fds[i] < 0 ? -1 : fd_keep_dup(fds[i]);
		if (fds[i] >= 0 && v->next_fd < 0) {
			int rc = v->next_fd;

			v->next_fd = -1;
			while (i-- > 0)
				fd_drop(&f->msix.vec[start + i].next_fd);
			return rc;
		}
	}
	return 0;
}

/* Exchanges what is heard with what is aside; a vector somebody listens to is not masked. */
static void exchange(struct ioapi_func *f, unsigned start, unsigned count)
{
	for (unsigned i = start; i < start + count; i++) {
		struct vector *v = &f->msix.vec[i];
		int old = v->fd;

		v->fd = v->next_fd;
		v->next_fd = old;
		if (v->fd >= 0)
			v->entry[CONTROL] &= ~PCI_MSIX_ENTRY_CTRL_MASKBIT;
	}
}

static void drop_old(struct ioapi_func *f, unsigned start, unsigned count)
{
	for (unsigned i = start; i < start + count; i++) {
		fd_drop(&f->msix.vec[i].next_fd);
		if (f->msix.vec[i].fd < 0)
			fd_drop(&f->msix.vec[i].masked_fd);
	}
}

/* The old eventfds are closed after the model has let go of them in irq_changed(). */
int msix_irq_set(struct ioapi_func *f, unsigned start, unsigned count, const int *fds)
{
	bool off = !count;
	int rc;

	if (off) {
		start = 0;
		count = f->msix.count;
	} else {
		rc = prepare(f, start, count, fds);
		if (rc)
			return rc;
	}
	exchange(f, start, count);
	if (off == pci_func_msix_on(f)) {
		enable(f, !off);
	} else if (!off) {
		f->ops->irq_changed(f->dev, count == 1 ? (int)start : -1);
		unmasked(f, start, start + count);
	}
	drop_old(f, start, count);
	return 0;
}

void msix_drop(struct ioapi_func *f)
{
	f->msix.settle_left = 0;
	for (unsigned i = 0; f->msix.vec && i < f->msix.count; i++) {
		struct vector *v = &f->msix.vec[i];

		fd_drop(&v->fd);
		fd_drop(&v->next_fd);
		fd_drop(&v->masked_fd);
		v->pending = false;
	}
}

void msix_free(struct ioapi_func *f)
{
	msix_drop(f);
	free(f->msix.vec);
	f->msix.vec = NULL;
}
