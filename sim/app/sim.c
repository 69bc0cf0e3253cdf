// SPDX-License-Identifier: Apache-2.0
// sim.c - the composition root: a configuration becomes a bus with devices on it.
//
// The only place that knows every layer. It holds no state: the bus owns what is kept here.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/dev.h"
#include "sim/app/sim.h"
#include "sim/app/sim_state.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"
#include "sim/core/trace.h"
#include "sim/virtio/net.h"

static void trace_open(struct ioapi_bus *bus, const char *path)
{
	long fd = sys_call(SYS_open, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

	if (fd >= 0)
		fd = fd_keep((int)fd);
	if (fd >= 0) {
		trace_to(pci_bus_trace(bus), (int)fd);
		pci_bus_tell_memory(bus);
	} else {
		log_warn(NULL, "trace=%s: cannot be written (errno %ld)", path, -fd);
	}
}

/* Looking at a bus leaves no traces in the world; driving a device does. */
static void on_opened(void *owner, struct ioapi_func *f)
{
	struct sim *s = owner;

	if (s->config.trace[0] && !__atomic_exchange_n(&s->tracing, true, __ATOMIC_RELAXED))
		trace_open(pci_func_bus(f), s->config.trace);
	dev_ctl_open(s->ctl);
}

static void on_closed(void *owner, struct ioapi_func *f)
{
	struct sim *s = owner;

	dev_ctl_close(s->ctl);
}

static void on_orphan(void *owner)
{
	struct sim *s = owner;

	s->plugging = (struct lock){ 0 };
	dev_ctl_orphan(s->ctl);
}

static void on_free(void *owner)
{
	struct sim *s = owner;

	dev_ctl_free(s->ctl);
	free(s);
}

int sim_net_add(struct ioapi_bus *bus, const struct net_config *n, struct err *e)
{
	struct virtio_net_params p = {
		.id         = n->id,
		.bdf        = n->bdf,
		.pairs      = n->pairs,
		.queue_size = n->queue_size,
		.modern     = n->mode != NET_LEGACY,
		.legacy     = n->mode != NET_MODERN,
		.packed     = n->packed,
		.mrg_rxbuf  = n->mrg_rxbuf,
		.mtu        = n->mtu,
		.speed      = n->speed,
		.half_duplex = n->duplex == NET_HALF,
		.filters    = n->filters,
		.mac_fixed  = n->mac_fixed,
		.vhost = {
			.id         = n->id,
			.server     = n->server,
			.timeout_ms = n->timeout_ms,
			.wait_ms    = n->wait_ms,
			.notifier   = n->host_notifier,
		},
	};
	int rc;

	memcpy(p.mac, n->mac, sizeof(p.mac));
	memcpy(p.vhost.socket, n->socket, sizeof(p.vhost.socket));
	memcpy(p.vhost.tap, n->tap, sizeof(p.vhost.tap));
	rc = virtio_net_new(bus, &p, e);
	return rc ? err_wrap(e, rc, "%s (%s)", n->id, n->bdf) : 0;
}

int sim_new(struct ioapi_bus **out, const struct config *c, struct err *e)
{
	return sim_new_in(out, c, NULL, e);
}

int sim_new_in(struct ioapi_bus **out, const struct config *c, const struct loop_world *w,
	       struct err *e)
{
	struct sim *s = fault_zalloc(sizeof(*s));
	struct pci_bus_owner owner = {
		s, on_opened, on_closed, sim_going, on_orphan, on_free,
	};
	struct ioapi_bus *bus = NULL;
	int rc;

	rc = s ? pci_bus_new_in(&bus, w) : -ENOMEM;
	if (rc) {
		free(s);
		return err_set(e, rc, "bus: %s", strerror(-rc));
	}
	s->config = *c;
	pci_bus_set_owner(bus, &owner);
	for (unsigned i = 0; i < c->nets; i++) {
		rc = sim_net_add(bus, &c->net[i], e);
		if (rc)
			goto fail;
	}
	sim_place_all(bus);
	*out = bus;
	return 0;
fail:
	ioapi_bus_close(bus);
	return rc;
}

struct config *sim_config(const struct ioapi_bus *bus)
{
	struct sim *s = pci_bus_owner(bus);

	return &s->config;
}

/* ---- for doors ----------------------------------------------------------------------------- */

int ioapi_bus_open(struct ioapi_bus **bus, const char *config_path, struct err *e)
{
	struct config c;
	struct sim *s;
	int rc;

	config_init(&c);
	rc = config_load(&c, config_path, e);
	if (!rc)
		rc = config_finish(&c, e);
	if (!rc)
		rc = sim_new(bus, &c, e);
	if (rc)
		return rc;
	s = pci_bus_owner(*bus);
	plug_init(&s->plug, config_path);
	ioapi_bus_scan(*bus);
	if (!strcmp(c.ctl, "off"))
		return 0;
	s->ctl = dev_ctl_new(*bus);
	if (!s->ctl)
		log_info(NULL, "podpci dev: not served: out of memory");
	return 0;
}

int ioapi_bus_flag(const struct ioapi_bus *bus, const char *name)
{
	return config_flag(sim_config(bus), name);
}

void ioapi_bus_exit(struct ioapi_bus *bus)
{
	const struct sim *s = pci_bus_owner(bus);

	sim_leave(bus);
	dev_ctl_exit(s->ctl);
}

void ioapi_bus_watch(struct ioapi_bus *bus,
		     void (*came)(void *ctx, struct ioapi_func *f, bool came), void *ctx)
{
	struct sim *s = pci_bus_owner(bus);

	s->came = came;
	s->came_ctx = ctx;
}

void ioapi_bus_door_stats(struct ioapi_bus *bus,
			  unsigned (*stats)(struct ioapi_stat *rows, unsigned max))
{
	struct sim *s = pci_bus_owner(bus);

	s->door_stats = stats;
}

unsigned sim_door_stats(const struct ioapi_bus *bus, struct ioapi_stat *rows, unsigned max)
{
	struct sim *s = pci_bus_owner(bus);

	return s->door_stats ? s->door_stats(rows, max) : 0;
}
