/* SPDX-License-Identifier: Apache-2.0 */
/* sim_state.h - what a bus keeps for its composer, and what the files of that share. */
#ifndef SIM_APP_SIM_STATE_H
#define SIM_APP_SIM_STATE_H

#include <stdbool.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/plug.h"
#include "sim/core/lock.h"

struct dev_ctl;

struct sim {
	struct config   config;		/* under plugging, once the bus is in use */
	struct plug     plug;
	struct lock     plugging;	/* one device comes or goes at a time */
	unsigned        number;		/* the last one that was given */
	struct dev_ctl *ctl;		/* NULL: nobody is served */
	bool            tracing;	/* atomic: the file of option trace= was opened */
	void          (*came)(void *ctx, struct ioapi_func *f, bool came);
	void           *came_ctx;
	unsigned      (*door_stats)(struct ioapi_stat *rows, unsigned max);
};

/* sim.c */
int  sim_net_add(struct ioapi_bus *bus, const struct net_config *n, struct err *e);

/* hotplug.c */
void sim_place_all(struct ioapi_bus *bus);	/* of a new bus: numbers in order */
void sim_going(void *owner, struct ioapi_func *f);
void sim_leave(struct ioapi_bus *bus);		/* the process ends: what was to go has gone */

#endif
