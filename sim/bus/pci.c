// SPDX-License-Identifier: Apache-2.0
// pci.c - the bus: addresses, functions in their order, building and sealing them.
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/bus/internal.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"

#define SLOT_FIRST 4	/* on bus 0: below are what a machine has of its own */

int pci_bus_new(struct ioapi_bus **out)
{
	return pci_bus_new_in(out, NULL);
}

int pci_bus_new_in(struct ioapi_bus **out, const struct loop_world *w)
{
	struct ioapi_bus *bus = fault_zalloc(sizeof(*bus));
	int rc;

	if (!bus)
		return -ENOMEM;
	rc = loop_new_in(&bus->loop, w);
	if (!rc)
		rc = trace_new(&bus->trace);
	if (rc) {
		loop_free(bus->loop);
		free(bus);
		return rc;
	}
	*out = bus;
	return 0;
}

struct loop *pci_bus_loop(struct ioapi_bus *bus)
{
	return bus->loop;
}

struct trace *pci_bus_trace(struct ioapi_bus *bus)
{
	return bus->trace;
}

void pci_bus_set_owner(struct ioapi_bus *bus, const struct pci_bus_owner *o)
{
	assert(o->opened && o->closed && o->going && o->orphan && o->free);
	bus->owner = *o;
}

void *pci_bus_owner(const struct ioapi_bus *bus)
{
	return bus->owner.owner;
}

/* ---- addresses ----------------------------------------------------------------------------- */

/* "DDDD:BB:DD.F", hexadecimal, exactly so; or -EINVAL. */
static int address_parse(const char *bdf, unsigned *address)
{
	static const char shape[] = "xxxx:xx:xx.x";
	unsigned domain, bus, slot, function;

	if (strlen(bdf) != sizeof(shape) - 1)
		return -EINVAL;
	for (unsigned i = 0; i < sizeof(shape) - 1; i++)
		if (shape[i] == 'x' ? !isxdigit((unsigned char)bdf[i]) : bdf[i] != shape[i])
			return -EINVAL;
	(void)sscanf(bdf, "%x:%x:%x.%x", &domain, &bus, &slot, &function);
	if (slot > 31 || function > 7)
		return -EINVAL;
	*address = domain << 16 | bus << 8 | slot << 3 | function;
	return 0;
}

static void address_format(unsigned a, char bdf[16])
{
	snprintf(bdf, 16, "%04x:%02x:%02x.%x", a >> 16 & 0xffff, a >> 8 & 0xff, a >> 3 & 31,
		 a & 7);
}

/* Index of the first function at or above an address. Bus locked. */
static unsigned place(const struct ioapi_bus *bus, unsigned address)
{
	unsigned i = 0;

	while (i < bus->funcs && bus->func[i]->address < address)
		i++;
	return i;
}

static bool taken(const struct ioapi_bus *bus, unsigned address)
{
	unsigned i = place(bus, address);

	return i < bus->funcs && bus->func[i]->address == address;
}

static unsigned address_next(const struct ioapi_bus *bus)
{
	unsigned address = SLOT_FIRST << 3;

	/* Bounded by the number of functions. */
	while (taken(bus, address))
		address += 1 << 3;
	return address;
}

/* ---- functions ----------------------------------------------------------------------------- */

static void ops_check(const struct pci_model_ops *ops)
{
	assert(ops->name && ops->open && ops->close && ops->reset && ops->irq_changed);
	assert(ops->msix_changed && ops->memory_changed && ops->command_changed);
	assert(ops->stats && ops->orphan && ops->free);
}

/* Bus locked. */
static int insert(struct ioapi_bus *bus, struct ioapi_func *f, const char *bdf, struct err *e)
{
	unsigned at;

	if (bus->funcs == BUS_FUNCS_MAX || bus->ever == BUS_EVER_MAX)
		return err_set(e, -ENOSPC, "%s: the bus is full", f->ident.id);
	if (!bdf)
		f->address = address_next(bus);
	else if (address_parse(bdf, &f->address))
		return err_set(e, -EINVAL, "%s: \"%s\" is no PCI address (DDDD:BB:DD.F)",
			       f->ident.id, bdf);
	address_format(f->address, f->bdf);
	if (taken(bus, f->address))
		return err_set(e, -EEXIST, "%s: PCI address %s is taken", f->ident.id, f->bdf);
	at = place(bus, f->address);
	memmove(&bus->func[at + 1], &bus->func[at], (bus->funcs - at) * sizeof(bus->func[0]));
	bus->func[at] = f;
	bus->funcs++;
	bus->ever++;
	return 0;
}

int pci_func_new(struct ioapi_bus *bus, const char *bdf, const struct pci_identity *ident,
		 const struct pci_model_ops *ops, void *dev, struct ioapi_func **out,
		 struct err *e)
{
	struct ioapi_func *f = fault_zalloc(sizeof(*f));
	int rc;

	ops_check(ops);
	if (!f)
		return err_set(e, -ENOMEM, "%s: out of memory", ident->id);
	f->bus = bus;
	f->ident = *ident;
	f->ops = ops;
	f->dev = dev;
	f->intx_fd = f->req_fd = -1;
	cfg_build(f);
	lock_take(&bus->lock);
	rc = insert(bus, f, bdf, e);
	lock_drop(&bus->lock);
	if (rc) {
		free(f);
		return rc;
	}
	*out = f;
	return 0;
}

int pci_func_realize(struct ioapi_func *f, struct err *e)
{
	int rc;

	assert(!f->realized);
	rc = msix_build(f);
	if (rc)
		return err_set(e, rc, "%s: out of memory", f->ident.id);
	lock_take(&f->bus->lock);
	rc = bar_layout(f, e);
	if (!rc) {
		cfg_power_on(f);
		f->realized = true;
	}
	lock_drop(&f->bus->lock);
	return rc;
}

static void destroy(struct ioapi_func *f)
{
	msix_free(f);
	bar_free(f);
	free(f);
}

/* Bus locked. */
static void unlist(struct ioapi_bus *bus, const struct ioapi_func *f)
{
	unsigned at = place(bus, f->address);

	assert(bus->func[at] == f);
	bus->funcs--;
	memmove(&bus->func[at], &bus->func[at + 1], (bus->funcs - at) * sizeof(bus->func[0]));
}

void pci_func_free(struct ioapi_func *f)
{
	struct ioapi_bus *bus;

	if (!f)
		return;
	assert(!f->realized);
	bus = f->bus;
	lock_take(&bus->lock);
	unlist(bus, f);
	lock_drop(&bus->lock);
	destroy(f);
}

void pci_func_place(struct ioapi_func *f, enum ioapi_door door, unsigned number, unsigned uio)
{
	__atomic_store_n(&f->door, door, __ATOMIC_RELAXED);
	__atomic_store_n(&f->uio, uio, __ATOMIC_RELAXED);
	__atomic_store_n(&f->number, number, __ATOMIC_RELAXED);
}

/* A stub of it stays: sources of the loop live in the model, and doors hold the pointer. */
void func_go(struct ioapi_func *f)
{
	struct ioapi_bus *bus = f->bus;
	bool mine;

	lock_take(&bus->lock);
	mine = f->realized && !f->going;
	f->going = true;
	lock_drop(&bus->lock);
	if (!mine)
		return;
	if (bus->owner.going)
		bus->owner.going(bus->owner.owner, f);
	lock_take(&bus->lock);
	unlist(bus, f);
	f->realized = false;
	f->next_gone = bus->gone;
	bus->gone = f;
	lock_drop(&bus->lock);
}

int pci_func_remove(struct ioapi_func *f, bool force, struct err *e)
{
	bool open;
	int rc = lock_take(&f->lock);

	if (rc)
		return err_set(e, rc, "%s: removed from inside itself", f->bdf);
	open = f->gate;
	if (!f->realized || f->bus->dead)
		rc = err_set(e, -ENODEV, "%s: there is no such device any more", f->bdf);
	else
		f->leaving = true;
	if (!rc && open)
		fd_signal(f->req_fd);
	lock_drop(&f->lock);
	if (!rc && open && force)
		ioapi_close(f);		/* which lets it go */
	else if (!rc && !open)
		func_go(f);
	return rc;
}

struct ioapi_bus *pci_func_bus(const struct ioapi_func *f)
{
	return f->bus;
}

bool pci_func_is_open(const struct ioapi_func *f)
{
	return __atomic_load_n(&f->gate, __ATOMIC_RELAXED) & GATE_OPEN;
}

bool pci_func_is_leaving(const struct ioapi_func *f)
{
	return f->leaving;
}

void *pci_func_model(const struct ioapi_func *f, const struct pci_model_ops *ops)
{
	return f->ops == ops ? f->dev : NULL;
}

struct lock *pci_func_lock(struct ioapi_func *f)
{
	return &f->lock;
}

struct space *pci_func_space(struct ioapi_func *f)
{
	return f->domain ? f->domain->space : NULL;
}

/* ---- the end of it all --------------------------------------------------------------------- */

void ioapi_bus_close(struct ioapi_bus *bus)
{
	if (!bus)
		return;
	/* From the last on: one that is leaving takes itself off the list. */
	for (unsigned i = bus->funcs; i-- > 0;)
		ioapi_close(bus->func[i]);
	/* Sources live in the models: no callback may be on its way when those go. */
	loop_stop(bus->loop);
	for (unsigned i = 0; i < bus->funcs; i++) {
		if (bus->func[i]->realized)
			bus->func[i]->ops->free(bus->func[i]->dev);
		destroy(bus->func[i]);
	}
	while (bus->gone) {
		struct ioapi_func *f = bus->gone;

		bus->gone = f->next_gone;
		f->ops->free(f->dev);
		destroy(f);
	}
	domains_forget(bus);
	loop_free(bus->loop);
	trace_free(bus->trace);
	if (bus->owner.free)
		bus->owner.free(bus->owner.owner);
	free(bus);
}

/* Of one function, listed or gone. */
static void orphan(struct ioapi_func *f, bool has_model)
{
	f->lock = (struct lock){ 0 };
	f->gate = 0;
	f->in_flight = 0;
	f->domain = NULL;
	if (has_model)
		f->ops->orphan(f->dev);
	irq_drop(f);
}

void ioapi_bus_orphan(struct ioapi_bus *bus)
{
	bus->dead = true;
	bus->lock = (struct lock){ 0 };
	for (unsigned i = 0; i < bus->funcs; i++)
		orphan(bus->func[i], bus->func[i]->realized);
	for (struct ioapi_func *f = bus->gone; f; f = f->next_gone)
		orphan(f, true);
	domains_orphan(bus);
	trace_orphan(bus->trace);
	if (bus->owner.orphan)
		bus->owner.orphan(bus->owner.owner);
	loop_orphan(bus->loop);
}

struct ioapi_func *ioapi_bus_func(struct ioapi_bus *bus, unsigned i)
{
	struct ioapi_func *f = NULL;

	if (lock_take(&bus->lock))
		return NULL;
	for (unsigned k = 0; k < bus->funcs && !f; k++)
		if (bus->func[k]->realized && i-- == 0)
			f = bus->func[k];
	lock_drop(&bus->lock);
	return f;
}

struct ioapi_func *ioapi_bus_find(struct ioapi_bus *bus, const char *bdf)
{
	struct ioapi_func *f = NULL;
	unsigned address, at;

	if (address_parse(bdf, &address) || lock_take(&bus->lock))
		return NULL;
	at = place(bus, address);
	if (at < bus->funcs && bus->func[at]->address == address && bus->func[at]->realized)
		f = bus->func[at];
	lock_drop(&bus->lock);
	return f;
}
