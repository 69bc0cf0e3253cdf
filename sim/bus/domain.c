// SPDX-License-Identifier: Apache-2.0
/*
 * domain.c - an I/O address space and the functions that see it.
 *
 * The domain's lock makes one operation at a time of each map, unmap, attach and detach, so
 * that a rollback restores what was. Functions are locked one after the other inside it: when
 * each has been told of an unmap, none can still hold a snapshot with the files that went.
 */
#include <errno.h>
#include <stdlib.h>

#include "sim/bus/internal.h"
#include "sim/core/fault.h"
#include "sim/mem/space.h"

#define PIECES_AT_ONCE 64
#define RETRIES_MAX    64

int ioapi_domain_new(struct ioapi_bus *bus, struct ioapi_domain **out)
{
	struct ioapi_domain *d;
	int rc;

	if (bus->dead)
		return -ENODEV;
	d = fault_zalloc(sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->bus = bus;
	rc = space_new(&d->space);
	if (rc) {
		free(d);
		return rc;
	}
	lock_take(&bus->lock);
	d->next = bus->domains;
	bus->domains = d;
	lock_drop(&bus->lock);
	*out = d;
	return 0;
}

void ioapi_domain_free(struct ioapi_domain *d)
{
	if (!d)
		return;
	assert(!d->attached);
	if (d->bus) {
		struct ioapi_domain **p;

		lock_take(&d->bus->lock);
		for (p = &d->bus->domains; *p && *p != d; p = &(*p)->next)
			;
		if (*p)
			*p = d->next;
		lock_drop(&d->bus->lock);
	}
	space_free(d->space);
	free(d);
}

/* The bus goes first, or this is its forked copy: domains stay, empty handed, to be freed. */
void domains_forget(struct ioapi_bus *bus)
{
	struct ioapi_domain *d, *next;

	for (d = bus->domains; d; d = next) {
		next = d->next;
		d->bus = NULL;
		d->next = NULL;
	}
	bus->domains = NULL;
}

void domains_orphan(struct ioapi_bus *bus)
{
	for (struct ioapi_domain *d = bus->domains; d; d = d->next) {
		d->lock = (struct lock){ 0 };
		d->attached = NULL;
		space_orphan(d->space);
	}
	domains_forget(bus);
}

/* ---- attach and detach --------------------------------------------------------------------- */

int ioapi_attach(struct ioapi_func *f, struct ioapi_domain *d)
{
	int rc;

	if (f->bus->dead || d->bus != f->bus)
		return -ENODEV;
	rc = lock_take(&d->lock);
	if (rc)
		return rc;
	rc = lock_take(&f->lock);
	if (rc)
		goto out;
	if (f->domain || (f->gate & GATE_CLOSING)) {
		rc = -EBUSY;
	} else {
		rc = f->ops->memory_changed(f->dev, d->space);
		if (rc)
			f->ops->memory_changed(f->dev, NULL);
	}
	if (!rc) {
		f->next_attached = d->attached;
		d->attached = f;
		__atomic_store_n(&f->domain, d, __ATOMIC_RELEASE);
	}
	lock_drop(&f->lock);
out:
	lock_drop(&d->lock);
	return rc;
}

/* Both locks held. */
void domain_detach(struct ioapi_func *f)
{
	struct ioapi_domain *d = f->domain;
	struct ioapi_func **p;

	if (!d)
		return;
	for (p = &d->attached; *p != f; p = &(*p)->next_attached)
		assert(*p);
	*p = f->next_attached;
	f->next_attached = NULL;
	__atomic_store_n(&f->domain, NULL, __ATOMIC_RELEASE);
	f->ops->memory_changed(f->dev, NULL);
}

/*
 * The order is domain before function, but which domain is known only to who holds the
 * function: so look, lock, look again.
 */
int domain_lock_both(struct ioapi_func *f, struct ioapi_domain **locked)
{
	for (unsigned i = 0; i < RETRIES_MAX; i++) {
		struct ioapi_domain *d = __atomic_load_n(&f->domain, __ATOMIC_ACQUIRE);
		int rc = d ? lock_take(&d->lock) : 0;

		if (rc)
			return rc;
		rc = lock_take(&f->lock);
		if (!rc && f->domain == d) {
			*locked = d;
			return 0;
		}
		if (!rc)
			lock_drop(&f->lock);
		if (d)
			lock_drop(&d->lock);
		if (rc)
			return rc;
	}
	return -EAGAIN;
}

void domain_unlock_both(struct ioapi_func *f, struct ioapi_domain *locked)
{
	lock_drop(&f->lock);
	if (locked)
		lock_drop(&locked->lock);
}

void ioapi_detach(struct ioapi_func *f)
{
	struct ioapi_domain *d;

	if (f->bus->dead || domain_lock_both(f, &d))
		return;
	domain_detach(f);
	domain_unlock_both(f, d);
}

/* ---- map and unmap ------------------------------------------------------------------------- */

/* Tells every function; the first failure is the answer. */
static int tell(struct ioapi_domain *d)
{
	int rc = 0;

	for (struct ioapi_func *f = d->attached; f; f = f->next_attached) {
		int one = lock_take(&f->lock);

		if (!one) {
			one = f->ops->memory_changed(f->dev, d->space);
			lock_drop(&f->lock);
		}
		if (!rc)
			rc = one;
	}
	return rc;
}

static void unmap_pieces(struct ioapi_domain *d, const struct ioapi_dma *pieces, unsigned n)
{
	while (n-- > 0)
		space_unmap(d->space, pieces[n].iova, pieces[n].size);
}

/* In portions: the space takes its own kind of piece, and nothing here may allocate. */
static int map_pieces(struct ioapi_domain *d, const struct ioapi_dma *pieces, unsigned n)
{
	struct space_region r[PIECES_AT_ONCE];
	unsigned done = 0;
	int rc = n ? 0 : -EINVAL;

	while (!rc && done < n) {
		unsigned k = n - done < PIECES_AT_ONCE ? n - done : PIECES_AT_ONCE;

		for (unsigned i = 0; i < k; i++) {
			const struct ioapi_dma *p = &pieces[done + i];

			r[i] = (struct space_region){
				.iova = p->iova, .size = p->size, .va = (uintptr_t)p->va,
				.fd = p->fd, .off = p->off,
			};
		}
		rc = space_map(d->space, r, k);
		if (!rc)
			done += k;
	}
	if (rc)
		unmap_pieces(d, pieces, done);
	return rc;
}

/* As one range, which a mapping is. */
static void tell_pieces(struct ioapi_domain *d, const struct ioapi_dma *pieces, unsigned n, int rc)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n; i++)
		bytes += pieces[i].size;
	tell_event(d->bus, "dma", TRACE_MAP, n ? pieces[0].iova : 0, 0, bytes, rc);
}

int ioapi_dma_map(struct ioapi_domain *d, const struct ioapi_dma *pieces, unsigned n)
{
	int rc;

	if (!d->bus)
		return -ENODEV;
	rc = lock_take(&d->lock);
	if (rc)
		return rc;
	rc = map_pieces(d, pieces, n);
	if (!rc) {
		rc = tell(d);
		if (rc) {
			unmap_pieces(d, pieces, n);
			tell(d);
		}
	}
	if (rc)
		space_reap(d->space);
	tell_pieces(d, pieces, n, rc);
	lock_drop(&d->lock);
	return rc;
}

int ioapi_dma_unmap(struct ioapi_domain *d, uint64_t iova, uint64_t size, uint64_t *unmapped)
{
	uint64_t taken;
	int rc;

	*unmapped = 0;
	if (!d->bus)
		return -ENODEV;
	if (!size || (iova & 4095) || ((size & 4095) && size != UINT64_MAX))
		return -EINVAL;
	rc = lock_take(&d->lock);
	if (rc)
		return rc;
	taken = space_unmap(d->space, iova, size);
	if (taken) {
		tell(d);	/* a model that cannot follow has cut its back-end off */
		space_reap(d->space);
	}
	tell_event(d->bus, "dma", TRACE_UNMAP, iova, 0, size, 0);
	lock_drop(&d->lock);
	*unmapped = taken;
	return 0;
}
