// SPDX-License-Identifier: Apache-2.0
// hotplug.c - devices come and go while drivers run: on the bus, in the configuration, in sysfs.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/plug.h"
#include "sim/app/sim.h"
#include "sim/app/sim_state.h"
#include "sim/app/sysfs_dev.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/log.h"

/* ---- here ---------------------------------------------------------------------------------- */

static bool on_uio(enum ioapi_door door)
{
	return sysfs_driver(door)->uio;
}

void sim_place_all(struct ioapi_bus *bus)
{
	struct sim *s = pci_bus_owner(bus);
	struct ioapi_ident id;
	struct ioapi_func *f;
	unsigned uios = 0;

	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++) {
		const struct net_config *n = s->config.net;

		ioapi_ident(f, &id);
		while (strcmp(n->bdf, id.bdf))
			n++;
		s->number = i + 1;
		pci_func_place(f, n->door, s->number, on_uio(n->door) ? uios++ : 0);
	}
}

/* Its line of the configuration goes with it. */
static void forget(struct config *c, const char *id)
{
	for (unsigned i = 0; i < c->nets; i++) {
		if (strcmp(c->net[i].id, id))
			continue;
		c->nets--;
		memmove(&c->net[i], &c->net[i + 1], (c->nets - i) * sizeof(c->net[0]));
		return;
	}
}

void sim_going(void *owner, struct ioapi_func *f)
{
	struct sim *s = owner;
	bool follows = lock_mine(&s->plugging);	/* a scan: its files are another's */
	struct ioapi_ident id;

	ioapi_ident(f, &id);
	if (!follows)
		lock_take(&s->plugging);
	forget(&s->config, id.id);
	if (!follows) {
		plug_hide(&s->plug, &id);
		lock_drop(&s->plugging);
	}
}

void sim_leave(struct ioapi_bus *bus)
{
	struct sim *s = pci_bus_owner(bus);
	struct ioapi_ident id;
	struct ioapi_func *f;

	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++) {
		if (!pci_func_is_leaving(f))
			continue;
		ioapi_ident(f, &id);
		plug_hide(&s->plug, &id);
	}
}

static bool taken(struct ioapi_bus *bus, enum ioapi_door door, unsigned number, unsigned uio)
{
	struct ioapi_ident id;
	struct ioapi_func *f;

	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++) {
		ioapi_ident(f, &id);
		if (id.number == number || (on_uio(door) && on_uio(id.door) && id.uio == uio))
			return true;
	}
	return false;
}

/* Round and round: a driver may not have let go of the last one's files yet. */
static unsigned number_next(struct sim *s, struct ioapi_bus *bus)
{
	static_assert(CONFIG_NETS_MAX < IOAPI_NUMBER_MAX, "there is one that is free");
	do {
		s->number = s->number % IOAPI_NUMBER_MAX + 1;
	} while (taken(bus, IOAPI_DOOR_SYSFS, s->number, 0));
	return s->number;
}

static unsigned uio_next(struct ioapi_bus *bus, enum ioapi_door door)
{
	unsigned uio = 0;

	while (taken(bus, door, 0, uio))
		uio++;
	return on_uio(door) ? uio : 0;
}

/* The last device of c, on the bus; c is the configuration then. Lock held. */
static int plug_in(struct ioapi_bus *bus, const struct config *c, unsigned number, unsigned uio,
		   struct ioapi_func **f, struct err *e)
{
	const struct net_config *n = &c->net[c->nets - 1];
	struct sim *s = pci_bus_owner(bus);
	int rc = sim_net_add(bus, n, e);

	if (rc)
		return rc;
	*f = ioapi_bus_find(bus, n->bdf);
	pci_func_place(*f, n->door, number, uio);
	s->config = *c;
	return 0;
}

static int add_locked(struct ioapi_bus *bus, struct config *c, const char *net,
		      struct ioapi_func **f, struct err *e)
{
	struct sim *s = pci_bus_owner(bus);
	const struct net_config *n = &c->net[c->nets];
	struct err why;
	int rc;

	rc = config_add_net(c, net, e);
	if (!rc)
		rc = config_finish(c, e);
	if (!rc)
		c->net[c->nets - 1].plugged = true;
	if (!rc)
		rc = plug_in(bus, c, number_next(s, bus), uio_next(bus, n->door), f, e);
	if (!rc && plug_show(&s->plug, *f, n, &why))
		log_warn(n->id, "not shown in sysfs: %s", why.msg);
	return rc;
}

int ioapi_bus_add(struct ioapi_bus *bus, const char *net, struct ioapi_func **f, struct err *e)
{
	struct sim *s = pci_bus_owner(bus);
	struct config *c = fault_zalloc(sizeof(*c));
	int rc;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	ioapi_bus_scan(bus);		/* what others plugged in has its places */
	rc = lock_take(&s->plugging);
	if (rc) {
		err_set(e, rc, "added from inside itself");
	} else {
		*c = s->config;
		rc = add_locked(bus, c, net, f, e);
		lock_drop(&s->plugging);
	}
	free(c);
	if (!rc && s->came)
		s->came(s->came_ctx, *f, true);
	return rc;
}

int ioapi_bus_del(struct ioapi_func *f, bool force, struct err *e)
{
	struct sim *s = pci_bus_owner(pci_func_bus(f));
	int rc = pci_func_remove(f, force, e);

	if (!rc && s->came)
		s->came(s->came_ctx, f, false);
	return rc;
}

/* ---- in other processes -------------------------------------------------------------------- */

static bool was_plugged(const struct config *c, const char *bdf)
{
	for (unsigned i = 0; i < c->nets; i++)
		if (!strcmp(c->net[i].bdf, bdf))
			return c->net[i].plugged;
	return false;
}

/* What is not shown, or where another one is shown, is gone; but for its driver, if it has one. */
static void follow_gone(struct ioapi_bus *bus)
{
	struct sim *s = pci_bus_owner(bus);
	struct ioapi_ident id;
	struct ioapi_func *f;
	unsigned number;

	for (unsigned i = CONFIG_NETS_MAX; i-- > 0;) {
		f = ioapi_bus_func(bus, i);
		if (!f || pci_func_is_open(f))
			continue;
		ioapi_ident(f, &id);
		if (!plug_shown(&s->plug, id.bdf, &number) ||
		    number != (was_plugged(&s->config, id.bdf) ? id.number : 0))
			pci_func_remove(f, false, NULL);
	}
}

static void follow_new(void *ctx, const char *bdf)
{
	struct ioapi_bus *bus = ctx;
	struct sim *s = pci_bus_owner(bus);
	struct ioapi_func *f = ioapi_bus_find(bus, bdf);
	unsigned number, uio;
	struct config *c;
	struct err e = { 0 };
	int rc;

	if (f || !plug_shown(&s->plug, bdf, &number) || !number)
		return;
	c = fault_zalloc(sizeof(*c));
	if (!c)
		return;
	*c = s->config;
	rc = plug_load(&s->plug, bdf, c, &number, &uio, &e);
	if (!rc && taken(bus, c->net[c->nets - 1].door, number, uio))
		rc = err_set(&e, -EEXIST, "%s: its number is taken", bdf);
	if (!rc)
		rc = plug_in(bus, c, number, uio, &f, &e);
	if (!rc && number > s->number)
		s->number = number;
	if (rc)
		log_warn(NULL, "plugged in by another process: %s", e.msg);
	free(c);
}

void ioapi_bus_scan(struct ioapi_bus *bus)
{
	struct sim *s = pci_bus_owner(bus);

	if (!s->plug.base[0] || lock_take(&s->plugging))
		return;
	follow_gone(bus);
	plug_each(&s->plug, follow_new, bus);
	lock_drop(&s->plugging);
}

bool sim_shows(const struct ioapi_bus *bus, const char *bdf)
{
	const struct sim *s = pci_bus_owner(bus);
	unsigned number;

	return !s->plug.base[0] || plug_shown(&s->plug, bdf, &number);
}
