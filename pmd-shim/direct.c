// SPDX-License-Identifier: Apache-2.0
// direct.c - the door of drivers that opt in, include/podpci.h: no file, no trap.
#include <errno.h>
#include <stddef.h>

#include "include/podpci.h"
#include "pmd-shim/func.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/trap.h"

static struct ioapi_func *func(unsigned i)
{
	struct ioapi_bus *bus = shim_bus();

	return bus ? ioapi_bus_func(bus, i) : NULL;
}

static struct ioapi_func *find(const char *bdf)
{
	struct ioapi_bus *bus = shim_bus();

	return bus ? ioapi_bus_find(bus, bdf) : NULL;
}

static int open_locked(struct ioapi_func *f, struct ioapi_domain *d)
{
	int rc = func_claim(f);

	if (rc < 0)
		return rc;
	rc = func_open(f, d);
	if (rc < 0)
		func_unclaim(f);
	return rc;
}

/* Rings are copied with guard_copy(), which needs the handlers. */
static int open_direct(struct ioapi_func *f, struct ioapi_domain *d)
{
	int rc = shim_bus_open() ? trap_install() : -ENODEV;

	if (rc < 0)
		return rc;
	if (lock_take(&shim_lock))
		return -EDEADLK;
	rc = open_locked(f, d);
	lock_drop(&shim_lock);
	return rc;
}

static void close_direct(struct ioapi_func *f)
{
	if (lock_take(&shim_lock))
		return;
	if (func_is_open(f)) {
		func_close(f);
		func_unclaim(f);
	}
	lock_drop(&shim_lock);
}

static int domain_new(struct ioapi_domain **d)
{
	struct ioapi_bus *bus = shim_bus();

	return bus ? ioapi_domain_new(bus, d) : -ENODEV;
}

static const struct podpci_calls calls = {
	.func = func,
	.find = find,
	.ident = ioapi_ident,
	.region = ioapi_region,
	.irq_count = ioapi_irq_count,
	.open = open_direct,
	.close = close_direct,
	.read = ioapi_read,
	.write = ioapi_write,
	.irq_set = ioapi_irq_set,
	.reset = ioapi_reset,
	.domain_new = domain_new,
	.domain_free = ioapi_domain_free,
	.dma_map = ioapi_dma_map,
	.dma_unmap = ioapi_dma_unmap,
};

__attribute__((visibility("default")))
const struct podpci_calls *podpci_direct(unsigned version)
{
	return version == PODPCI_CALLS && shim_bus() ? &calls : NULL;
}
