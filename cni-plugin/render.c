// SPDX-License-Identifier: Apache-2.0
// render.c - the bus as files, by the same code as `podpci run` and `podpci sysfs` have.
#include "cni-plugin/apply.h"
#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/sim.h"
#include "sim/app/sysfs.h"

int render_bus(const char *const *lines, unsigned n, uid_t owner, int dirfd, struct err *e)
{
	struct ioapi_bus *bus = NULL;
	struct config c;
	int rc = 0;

	config_init(&c);
	for (unsigned i = 0; i < n && !rc; i++)
		rc = config_add_net(&c, lines[i], e);
	if (!rc)
		rc = config_finish(&c, e);
	if (!rc)
		rc = sim_new(&bus, &c, e);
	if (!rc)
		rc = sysfs_render(bus, &c, dirfd, owner, e);
	ioapi_bus_close(bus);
	return rc;
}
