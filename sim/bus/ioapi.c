// SPDX-License-Identifier: Apache-2.0
// ioapi.c - the front door: a function as a driver sees it (include/ioapi.h).
#include <errno.h>
#include <string.h>

#include "sim/bus/internal.h"
#include "sim/core/err.h"

void ioapi_ident(const struct ioapi_func *f, struct ioapi_ident *ident)
{
	const struct pci_identity *i = &f->ident;

	*ident = (struct ioapi_ident){
		.vendor = i->vendor, .device = i->device, .subsys_vendor = i->subsys_vendor,
		.subsys_device = i->subsys_device, .class = i->class, .revision = i->revision,
		.door = __atomic_load_n(&f->door, __ATOMIC_RELAXED),
		.number = __atomic_load_n(&f->number, __ATOMIC_RELAXED),
		.uio = __atomic_load_n(&f->uio, __ATOMIC_RELAXED),
	};
	memcpy(ident->bdf, f->bdf, sizeof(ident->bdf));
	memcpy(ident->id, i->id, sizeof(ident->id) - 1);
}

int ioapi_region(const struct ioapi_func *f, unsigned region, struct ioapi_region *r)
{
	*r = (struct ioapi_region){ 0 };
	if (region >= IOAPI_REGIONS)
		return -EINVAL;
	if (region == IOAPI_CONFIG)
		r->size = CFG_BYTES;
	else if (region < BARS)
		r->size = f->bar[region].size;
	if (!r->size)
		return 0;
	r->flags = IOAPI_F_READ | IOAPI_F_WRITE;
	if (region < BARS && (f->bar[region].flags & PCI_BAR_MAP))
		r->flags |= IOAPI_F_MMIO;
	if (region < BARS && (f->bar[region].flags & PCI_BAR_IO))
		r->flags |= IOAPI_F_PIO;
	return 0;
}

/* ---- open and close ------------------------------------------------------------------------ */

static void power_on(struct ioapi_func *f)
{
	cfg_power_on(f);
	msix_reset(f);
	f->intx_level = f->intx_asserted = false;
	f->ops->reset(f->dev);
}

static int open_locked(struct ioapi_func *f, struct err *e)
{
	int rc;

	if (f->leaving || !f->realized || f->bus->dead)
		return err_set(e, -ENODEV, "%s: no such device in this process", f->bdf);
	if (f->gate)
		return err_set(e, -EBUSY, "%s: the device is in use", f->bdf);
	rc = loop_start(f->bus->loop);
	if (rc == -ENOSYS)
		return err_set(e, rc, "%s: the program has no threads: preload libpthread.so.0 "
			       "too, or link it with -pthread", f->bdf);
	if (rc)
		return err_set(e, rc, "%s: no thread to be had: %s", f->bdf, strerror(-rc));
	power_on(f);
	rc = f->ops->open(f->dev, e);
	if (rc)
		return rc;
	__atomic_store_n(&f->gate, GATE_OPEN, __ATOMIC_SEQ_CST);
	/* As vfio-pci's enabling of the device leaves it; bus mastering is the driver's to set. */
	cfg_command_set(f, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	return 0;
}

int ioapi_open(struct ioapi_func *f, struct err *e)
{
	int rc = lock_take(&f->lock);
	bool opened;

	if (rc)
		return err_set(e, rc, "%s: opened from inside itself", f->bdf);
	rc = open_locked(f, e);
	opened = !rc;
	if (opened && f->domain) {
		rc = f->ops->memory_changed(f->dev, f->domain->space);
		if (rc)
			err_set(e, rc, "%s: the memory lent to it: %s", f->bdf, strerror(-rc));
	}
	lock_drop(&f->lock);
	if (rc && opened)
		ioapi_close(f);
	if (rc)
		return rc;
	if (f->bus->owner.opened)
		f->bus->owner.opened(f->bus->owner.owner, f);
	tell_event(f->bus, f->ident.id, TRACE_OPEN, 0, 0, 0, 0);
	return 0;
}

/*
 * Between closing the gate and the model's close the lock is let go: an unlocked access that
 * got in before may be waiting for it.
 */
void ioapi_close(struct ioapi_func *f)
{
	struct ioapi_domain *d;
	bool left, closed;

	if (f->bus->dead || domain_lock_both(f, &d))
		return;
	closed = f->gate & GATE_OPEN;
	if (closed) {
		tell_event(f->bus, f->ident.id, TRACE_CLOSE, 0, 0, 0, 0);
		__atomic_store_n(&f->gate, GATE_CLOSING, __ATOMIC_SEQ_CST);
		lock_drop(&f->lock);
		bar_drain(f);
		lock_take(&f->lock);
		f->ops->close(f->dev);
		irq_drop(f);
		cfg_power_on(f);
		domain_detach(f);
		__atomic_store_n(&f->gate, 0, __ATOMIC_SEQ_CST);
	} else if (!f->gate) {
		domain_detach(f);
	}
	left = f->leaving && !f->gate;
	domain_unlock_both(f, d);
	if (left)
		func_go(f);
	if (closed && f->bus->owner.closed)
		f->bus->owner.closed(f->bus->owner.owner, f);
}

/*
 * What the kernel's reset leaves to a VFIO driver: it restores the configuration space it saved
 * and the interrupts, so only the device itself is as at power-on.
 */
int ioapi_reset(struct ioapi_func *f)
{
	int rc = lock_take(&f->lock);

	if (rc)
		return rc;
	if (!(f->gate & GATE_OPEN)) {
		rc = -ENODEV;
	} else {
		tell_event(f->bus, f->ident.id, TRACE_RESET, 0, 0, 0, 0);
		f->ops->reset(f->dev);
		msix_forget_pending(f);
		f->intx_level = false;
		intx_update(f);
	}
	lock_drop(&f->lock);
	return rc;
}

/* ---- access -------------------------------------------------------------------------------- */

static inline bool width_ok(unsigned size)
{
	return size <= 8 && (1u << size & (1u << 1 | 1u << 2 | 1u << 4 | 1u << 8));
}

static __attribute__((cold)) int refuse(struct ioapi_func *f, int rc)
{
	__atomic_add_fetch(&f->refused, 1, __ATOMIC_RELAXED);
	return rc;
}

/* Reading is for everybody, as sysfs is; writing is for who opened the function. */
static int access_config(struct ioapi_func *f, uint64_t off, unsigned size, bool write,
			 uint64_t *val)
{
	int rc = lock_take(&f->lock);

	if (rc)
		return rc;
	if (!write)
		func_count_read(f);
	if (f->bus->dead || (write && !(f->gate & GATE_OPEN)))
		rc = -ENODEV;
	else
		rc = write ? cfg_write(f, off, size, *val) : cfg_read(f, off, size, val);
	lock_drop(&f->lock);
	return rc;
}

static __attribute__((cold)) int read_nothing(struct ioapi_func *f, unsigned size)
{
	__atomic_add_fetch(&f->other_reads, 1, __ATOMIC_RELAXED);
	return width_ok(size) ? -ENXIO : -EINVAL;
}

int ioapi_read(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t *val)
{
	int rc;

	if (width_ok(size) && region < BARS)
		rc = bar_read(f, region, off, size, val);
	else if (width_ok(size) && region == IOAPI_CONFIG)
		rc = access_config(f, off, size, false, val);
	else
		rc = read_nothing(f, size);
	if (__builtin_expect(rc != 0, 0)) {
		*val = UINT64_MAX;
		refuse(f, rc);
	}
	if (trace_wanted(f->bus->trace))
		tell_access(f, TRACE_READ, region, off, size, *val, rc);
	return rc;
}

int ioapi_write(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t val)
{
	int rc = -EINVAL;

	__atomic_add_fetch(&f->writes, 1, __ATOMIC_RELAXED);
	/* Before what it causes, so that a trace reads in order. */
	if (trace_wanted(f->bus->trace))
		tell_access(f, TRACE_WRITE, region, off, size, val, 0);
	if (!width_ok(size))
		;
	else if (region < BARS)
		rc = bar_write(f, region, off, size, val);
	else if (region == IOAPI_CONFIG)
		rc = access_config(f, off, size, true, &val);
	else
		rc = -ENXIO;
	if (__builtin_expect(!rc, 1))
		return 0;
	if (trace_wanted(f->bus->trace))
		tell_access(f, TRACE_REFUSED, region, off, size, val, rc);
	return refuse(f, rc);
}

int ioapi_irq_set(struct ioapi_func *f, unsigned index, unsigned start, unsigned count,
		  const int *fds)
{
	int rc = lock_take(&f->lock);

	if (rc)
		return rc;
	rc = f->gate & GATE_OPEN ? irq_set(f, index, start, count, fds) : -ENODEV;
	lock_drop(&f->lock);
	tell_event(f->bus, f->ident.id, TRACE_IRQ, index, start, count, rc);
	return rc;
}

/* ---- a back-end's own pages ---------------------------------------------------------------- */

void ioapi_bus_pages(struct ioapi_bus *bus, int (*page)(struct ioapi_func *f, unsigned region,
							uint64_t off, int fd, uint64_t at))
{
	bus->page = page;
}

int pci_bar_page(struct ioapi_func *f, unsigned bar, uint64_t off, int fd, uint64_t at)
{
	if (!f->bus->page || f->bus->dead)
		return fd < 0 ? 0 : -EOPNOTSUPP;
	return f->bus->page(f, bar, off, fd, at);
}

/* ---- counters ------------------------------------------------------------------------------ */

unsigned ioapi_stats(const struct ioapi_func *cf, struct ioapi_stat *rows, unsigned max)
{
	struct ioapi_func *f = (struct ioapi_func *)(uintptr_t)cf;	/* for its lock */
	const struct ioapi_stat own[] = {
		{ "register_reads", __atomic_load_n(&f->reads, __ATOMIC_RELAXED) +
				    __atomic_load_n(&f->other_reads, __ATOMIC_RELAXED) },
		{ "register_writes", __atomic_load_n(&f->writes, __ATOMIC_RELAXED) },
		{ "bus_refused", __atomic_load_n(&f->refused, __ATOMIC_RELAXED) },
	};
	const unsigned own_n = sizeof(own) / sizeof(own[0]);
	unsigned n = own_n;

	if (lock_take(&f->lock))
		return 0;
	for (unsigned i = 0; i < own_n && i < max; i++)
		rows[i] = own[i];
	if (!f->bus->dead)
		n += f->ops->stats(f->dev, max > own_n ? rows + own_n : NULL,
				   max > own_n ? max - own_n : 0);
	lock_drop(&f->lock);
	return n;
}
