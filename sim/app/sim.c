// SPDX-License-Identifier: Apache-2.0
// sim.c - the composition root: a configuration becomes a bus with devices on it.
//
// The only place that knows every layer. It holds no state: the bus owns the configuration it
// was made from.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/sim.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/virtio/net.h"

static int net_add(struct ioapi_bus *bus, const struct net_config *n, struct err *e)
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
		.vhost = {
			.id         = n->id,
			.server     = n->server,
			.timeout_ms = n->timeout_ms,
			.wait_ms    = n->wait_ms,
		},
	};
	int rc;

	memcpy(p.mac, n->mac, sizeof(p.mac));
	memcpy(p.vhost.socket, n->socket, sizeof(p.vhost.socket));
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
	struct config *kept = fault_zalloc(sizeof(*kept));
	struct ioapi_bus *bus = NULL;
	int rc;

	rc = kept ? pci_bus_new_in(&bus, w) : -ENOMEM;
	if (rc) {
		free(kept);
		return err_set(e, rc, "bus: %s", strerror(-rc));
	}
	*kept = *c;
	pci_bus_set_owner(bus, kept, free);
	for (unsigned i = 0; i < c->nets; i++) {
		rc = net_add(bus, &c->net[i], e);
		if (rc)
			goto fail;
	}
	*out = bus;
	return 0;
fail:
	ioapi_bus_close(bus);
	return rc;
}

int ioapi_bus_open(struct ioapi_bus **bus, const char *config_path, struct err *e)
{
	struct config c;
	int rc;

	config_init(&c);
	rc = config_load(&c, config_path, e);
	if (!rc)
		rc = config_finish(&c, e);
	return rc ? rc : sim_new(bus, &c, e);
}

int ioapi_bus_flag(const struct ioapi_bus *bus, const char *name)
{
	return config_flag(pci_bus_owner(bus), name);
}
