// SPDX-License-Identifier: Apache-2.0
// tell.c - registers by name: for those who follow accesses, and for those who look at values.
#include <string.h>

#include "sim/bus/internal.h"
#include "sim/mem/space.h"

#define TOLD_REGIONS 64

/* Lock held, or in a race with a window that moves: then the name is that of before or after. */
static void name_access(const struct ioapi_func *f, unsigned bar, uint64_t off,
			struct trace_event *e)
{
	const struct bar *b = &f->bar[bar];
	const struct reg *r;

	for (unsigned i = 0; i < b->count; i++) {
		const struct window *w = b->win[i];
		const struct regmap *m = w->w.map ? w->w.map : w->w.names;

		if (off - w->off >= w->len)
			continue;
		e->block = w->w.name ? w->w.name : m->name;
		r = m ? regmap_at(m, off - w->off) : NULL;
		e->name = r ? r->name : NULL;
		e->bits = r ? regmap_bits(m, r) : NULL;
		return;
	}
}

void tell_event(struct ioapi_bus *bus, const char *who, enum trace_kind kind, uint64_t off,
		uint32_t size, uint64_t val, int rc)
{
	const struct trace_event e = {
		.who = who, .kind = (uint8_t)kind, .off = off, .size = size, .val = val, .rc = rc,
	};

	if (trace_wanted(bus->trace))
		trace_add(bus->trace, &e);
}

void pci_bus_tell_memory(struct ioapi_bus *bus)
{
	struct space_region r[TOLD_REGIONS];

	if (lock_take(&bus->lock))
		return;
	for (struct ioapi_domain *d = bus->domains; d; d = d->next) {
		unsigned n = space_snapshot(d->space, r, TOLD_REGIONS);

		for (unsigned i = 0; i < n && i < TOLD_REGIONS; i++)
			tell_event(bus, "dma", TRACE_MAP, r[i].iova, 0, r[i].size, 0);
	}
	lock_drop(&bus->lock);
}

void tell_access(struct ioapi_func *f, enum trace_kind kind, unsigned region, uint64_t off,
		 unsigned size, uint64_t val, int rc)
{
	struct trace_event e = {
		.who = f->ident.id, .kind = (uint8_t)kind, .region = (uint8_t)region, .off = off,
		.size = size, .val = val, .rc = rc,
	};
	int locked = lock_take(&f->lock);

	if (region < BARS)
		name_access(f, region, off, &e);
	else if (region == IOAPI_CONFIG)
		e.name = cfg_name(f, off, &e.block);
	if (!locked)
		lock_drop(&f->lock);
	trace_add(f->bus->trace, &e);
}

unsigned pci_func_regs(struct ioapi_func *f, struct pci_reg_view *rows, unsigned max)
{
	unsigned n = 0;

	if (lock_take(&f->lock))
		return 0;
	for (unsigned i = 0; i < f->windows; i++) {
		const struct window *w = &f->window[i];
		const struct regmap *m = w->w.map ? w->w.map : w->w.names;

		for (unsigned k = 0; w->len && m && k < m->count; k++, n++) {
			const struct reg *r = &m->regs[k];

			if (n >= max)
				continue;
			rows[n] = (struct pci_reg_view){
				.block = w->w.name ? w->w.name : m->name, .name = r->name,
				.bits = regmap_bits(m, r), .bar = w->w.bar, .size = r->size,
				.off = w->off + r->off, .shown = !(r->flags & REG_EFFECT),
			};
			if (rows[n].shown && r->get)
				rows[n].val = r->get(w->w.dev);
		}
	}
	lock_drop(&f->lock);
	return n;
}
