// SPDX-License-Identifier: Apache-2.0
// ovsdb.c - ports of Open vSwitch.
#include <errno.h>

#include "cni-plugin/apply.h"
#include "sim/core/err.h"

int ovs_port_add(const struct step *s, struct world *w, struct err *e)
{
	return err_set(e, -ENOSYS, "ovs: not built in");
}

int ovs_port_del(const struct step *s, struct world *w, struct err *e)
{
	return 0;
}

int ovs_port_check(const struct step *s, struct world *w, struct err *e)
{
	return 0;
}
