// SPDX-License-Identifier: Apache-2.0
// bar.c - BARs: layout and sizing, and the way from an offset to a register.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/bus/internal.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/sys.h"

#define MEM_BAR_MIN  4096	/* a door maps whole pages */
#define IO_BAR_MIN   8
#define IO_BAR_MAX   256	/* PCI 3.0, 6.2.5.1 */
#define ROWS_LEN_MAX 4096	/* a longer register block is searched, not indexed */
#define DRAIN_ROUNDS 10000
#define DRAIN_NS     100000

/* Where addresses come from. Below 4 GiB, so that the upper half of a 64-bit BAR is 0: drivers
 * take bit 0 of *any* BAR register for "this is I/O". */
static const struct range {
	uint64_t first, end;
} mem_range = { 0xc0000000, 0xfec00000 }, io_range = { 0xc000, 0x10000 };

/* ---- building ------------------------------------------------------------------------------ */

void pci_bar_add(struct ioapi_func *f, unsigned bar, uint32_t flags)
{
	struct bar *b = &f->bar[bar];

	assert(!f->realized && bar < BARS && !b->used);
	assert((flags & (PCI_BAR_IO | PCI_BAR_64)) != (PCI_BAR_IO | PCI_BAR_64));
	b->used = true;
	b->flags = flags;
	b->needs = GATE_OPEN | (flags & PCI_BAR_IO ? GATE_IO : GATE_MEM);
	if (flags & PCI_BAR_64) {
		assert(bar + 1 < BARS && !f->bar[bar + 1].used);
		f->bar[bar + 1].used = f->bar[bar + 1].upper = true;
	}
}

void pci_window_add(struct ioapi_func *f, const struct pci_window *w)
{
	struct window *mine = &f->window[f->windows];
	struct bar *b = &f->bar[w->bar];
	unsigned at = b->count;

	assert(!f->realized && f->windows < PCI_WINDOWS_MAX);
	assert(w->bar < BARS && b->used && !b->upper && (w->name || w->map));
	assert(!w->map == (w->read || w->write));
	if (w->map)
		regmap_check(w->map);
	*mine = (struct window){ .off = w->off, .len = w->map ? w->map->len : w->len, .w = *w };
	mine->end_max = mine->off + mine->len;
	assert(mine->len);
	f->windows++;

	if (w->unlocked) {
		memmove(&b->win[1], &b->win[0], b->count * sizeof(b->win[0]));
		b->unlocked++;
		at = 0;
	}
	b->win[at] = mine;
	b->count++;
}

static bool apart(const struct window *a, const struct window *b)
{
	return !a->len || !b->len || a->off + a->len <= b->off || b->off + b->len <= a->off;
}

static void check_apart(const struct bar *b)
{
	for (unsigned i = 0; i < b->count; i++)
		for (unsigned k = 0; k < i; k++)
			assert(apart(b->win[i], b->win[k]));
}

void pci_window_move(struct ioapi_func *f, const struct regmap *m, uint64_t off)
{
	for (unsigned i = 0; i < f->windows; i++) {
		struct window *w = &f->window[i];

		if (w->w.map != m)
			continue;
		assert(!w->w.unlocked);
		w->off = off == PCI_WINDOW_GONE ? 0 : off;
		w->len = off == PCI_WINDOW_GONE ? 0 : m->len;
		if (!f->realized) {
			if (w->off + w->len > w->end_max)
				w->end_max = w->off + w->len;
			return;
		}
		assert(lock_mine(&f->lock) && w->off + w->len <= f->bar[w->w.bar].size);
		check_apart(&f->bar[w->w.bar]);
		return;
	}
	assert(!"a window that was never added");
}

static uint64_t bar_size(const struct bar *b)
{
	uint64_t size = b->flags & PCI_BAR_IO ? IO_BAR_MIN : MEM_BAR_MIN, end = 0;

	for (unsigned i = 0; i < b->count; i++)
		if (b->win[i]->end_max > end)
			end = b->win[i]->end_max;
	while (size < end)
		size <<= 1;
	assert(end && (!(b->flags & PCI_BAR_IO) || size <= IO_BAR_MAX));
	return size;
}

/* The end of a BAR on the bus that overlaps [addr, addr + size), 0 if none does. Bus locked. */
static uint64_t taken_until(const struct ioapi_bus *bus, bool io, uint64_t addr, uint64_t size)
{
	for (unsigned i = 0; i < bus->funcs; i++) {
		for (unsigned k = 0; k < BARS; k++) {
			const struct bar *b = &bus->func[i]->bar[k];

			if (b->addr && !!(b->flags & PCI_BAR_IO) == io &&
			    addr < b->addr + b->size && b->addr < addr + size)
				return b->addr + b->size;
		}
	}
	return 0;
}

static uint64_t address_for(const struct ioapi_bus *bus, bool io, uint64_t size)
{
	const struct range *r = io ? &io_range : &mem_range;
	uint64_t addr = (r->first + size - 1) & ~(size - 1), past;

	/* Each round goes past at least one BAR. */
	while (addr + size <= r->end) {
		past = taken_until(bus, io, addr, size);
		if (!past)
			return addr;
		addr = (past + size - 1) & ~(size - 1);
	}
	return 0;
}

static void bar_register(struct ioapi_func *f, unsigned bar)
{
	struct bar *b = &f->bar[bar];
	unsigned off = PCI_BASE_ADDRESS_0 + 4 * bar;
	bool io = b->flags & PCI_BAR_IO, wide = b->flags & PCI_BAR_64;
	uint64_t kind = io ? PCI_BASE_ADDRESS_SPACE_IO :
			wide ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0;
	uint16_t command = cfg_u16(f->writable, PCI_COMMAND);

	cfg_put(f->power_on, off, wide ? 8 : 4, b->addr | kind);
	cfg_put(f->writable, off, wide ? 8 : 4, ~(b->size - 1));
	command |= io ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY;
	cfg_put(f->writable, PCI_COMMAND, 2, command);
}

static int window_index(struct window *w)
{
	const struct regmap *m = w->w.map;

	if (!m || m->count > REGMAP_INDEX_ROWS_MAX || m->len > ROWS_LEN_MAX)
		return 0;
	w->rows = fault_zalloc(m->len);
	if (!w->rows)
		return -ENOMEM;
	regmap_index(m, w->rows);
	return 0;
}

/* Bus locked. */
int bar_layout(struct ioapi_func *f, struct err *e)
{
	for (unsigned i = 0; i < BARS; i++) {
		struct bar *b = &f->bar[i];

		if (!b->used || b->upper)
			continue;
		check_apart(b);
		b->size = bar_size(b);
		b->addr = address_for(f->bus, b->flags & PCI_BAR_IO, b->size);
		if (!b->addr)
			return err_set(e, -ENOSPC, "%s: no address left for BAR%u of %llu bytes",
				       f->bdf, i, (unsigned long long)b->size);
		bar_register(f, i);
	}
	for (unsigned i = 0; i < f->windows; i++)
		if (window_index(&f->window[i]))
			return err_set(e, -ENOMEM, "%s: out of memory", f->bdf);
	return 0;
}

void bar_free(struct ioapi_func *f)
{
	for (unsigned i = 0; i < f->windows; i++) {
		free(f->window[i].rows);
		f->window[i].rows = NULL;
	}
}

uint64_t pci_func_bar_addr(const struct ioapi_func *f, unsigned bar)
{
	return bar < BARS ? f->bar[bar].addr : 0;
}

/* ---- access -------------------------------------------------------------------------------- */

static const struct window *find(const struct bar *b, unsigned first, unsigned end, uint64_t off,
				 unsigned size)
{
	for (unsigned i = first; i < end; i++) {
		const struct window *w = b->win[i];
		uint64_t at = off - w->off;	/* wraps below the window */

		if (at < w->len)
			return size <= w->len - at ? w : NULL;
	}
	return NULL;
}

static int window_read(const struct window *w, uint64_t off, unsigned size, uint64_t *val)
{
	const struct pci_window *p = &w->w;

	if (w->rows)
		return regmap_read_indexed(p->map, w->rows, p->dev, off, size, val);
	if (p->map)
		return regmap_read(p->map, p->dev, off, size, val);
	*val = 0;
	return p->read ? p->read(p->dev, off, size, val) : 0;
}

static int window_write(const struct window *w, uint64_t off, unsigned size, uint64_t val)
{
	const struct pci_window *p = &w->w;

	if (w->rows)
		return regmap_write_indexed(p->map, w->rows, p->dev, off, size, val);
	if (p->map)
		return regmap_write(p->map, p->dev, off, size, val);
	return p->write ? p->write(p->dev, off, size, val) : -EPERM;
}

static int window_access(const struct window *w, uint64_t off, unsigned size, bool write,
			 uint64_t *val)
{
	if (!w)
		return -ENXIO;
	return write ? window_write(w, off - w->off, size, *val) :
		       window_read(w, off - w->off, size, val);
}

/* -EIO is what vfio-pci answers while decoding is off. */
static int gate_check(const struct ioapi_func *f, const struct bar *b, int order)
{
	uint32_t gate = __atomic_load_n(&f->gate, order);

	if (__builtin_expect((gate & b->needs) == b->needs && b->used, 1))
		return 0;
	return !(gate & GATE_OPEN) ? -ENODEV : b->used ? -EIO : -ENXIO;
}

/* The count goes up before the gate is looked at; bar_drain() looks at them the other way. */
static int access_unlocked(struct ioapi_func *f, const struct bar *b, const struct window *w,
			   uint64_t off, unsigned size, bool write, uint64_t *val)
{
	int rc;

	__atomic_add_fetch(&f->in_flight, 1, __ATOMIC_SEQ_CST);
	rc = gate_check(f, b, __ATOMIC_SEQ_CST);
	if (!rc)
		rc = window_access(w, off, size, write, val);
	__atomic_sub_fetch(&f->in_flight, 1, __ATOMIC_RELEASE);
	return rc;
}

static inline int access_bar(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size,
			     bool write, uint64_t *val)
{
	const struct bar *b = &f->bar[bar];
	const struct window *w;
	int rc;

	if (b->unlocked) {
		w = find(b, 0, b->unlocked, off, size);
		if (w && !write)
			__atomic_add_fetch(&f->other_reads, 1, __ATOMIC_RELAXED);
		if (w)
			return access_unlocked(f, b, w, off, size, write, val);
	}
	rc = lock_take(&f->lock);
	if (rc)
		return rc;
	if (!write)
		func_count_read(f);
	rc = gate_check(f, b, __ATOMIC_RELAXED);
	if (!rc)
		rc = window_access(find(b, b->unlocked, b->count, off, size), off, size, write,
				   val);
	lock_drop(&f->lock);
	return rc;
}

/* In one piece: a driver's read() of a register comes here some nanoseconds after its call. */
__attribute__((flatten))
int bar_read(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size, uint64_t *val)
{
	return access_bar(f, bar, off, size, false, val);
}

int bar_write(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size, uint64_t val)
{
	return access_bar(f, bar, off, size, true, &val);
}

int pci_bar_access(struct ioapi_func *f, unsigned bar, uint64_t off, unsigned size, bool write,
		   uint64_t *val)
{
	const struct bar *b = &f->bar[bar < BARS ? bar : 0];
	int rc = -ENXIO;

	assert(lock_mine(&f->lock));
	if (bar < BARS && (size == 1 || size == 2 || size == 4 || size == 8))
		rc = gate_check(f, b, __ATOMIC_RELAXED);
	if (!rc)
		rc = window_access(find(b, 0, b->count, off, size), off, size, write, val);
	if (rc && !write)
		*val = UINT64_MAX;
	return rc;
}

/*
 * Called with the gate closed and the function's lock free, for which an access may be waiting.
 * Such accesses are short; one that never ends would be our own mistake and must not hang the
 * driver's thread as well.
 */
void bar_drain(struct ioapi_func *f)
{
	struct timespec t = { .tv_nsec = DRAIN_NS };

	for (unsigned i = 0; i < DRAIN_ROUNDS; i++) {
		if (!__atomic_load_n(&f->in_flight, __ATOMIC_SEQ_CST))
			return;
		sys_call(SYS_nanosleep, &t, NULL);
	}
}
