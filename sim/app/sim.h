/* SPDX-License-Identifier: Apache-2.0 */
/* sim.h - a configuration becomes a bus with devices on it. */
#ifndef SIM_APP_SIM_H
#define SIM_APP_SIM_H

#include "sim/app/config.h"

struct err;
struct ioapi_bus;
struct loop_world;

/* c must be finished and may go afterwards. ioapi_bus_close() frees the bus. */
int sim_new(struct ioapi_bus **bus, const struct config *c, struct err *e);
/* In a world of its own (sim/core/loop.h). */
int sim_new_in(struct ioapi_bus **bus, const struct config *c, const struct loop_world *w,
	       struct err *e);

/* The configuration the bus was made from, with what was added since. */
struct config *sim_config(const struct ioapi_bus *bus);

/* Whether sysfs has the function's directory; true where there is no sysfs of ours. */
bool sim_shows(const struct ioapi_bus *bus, const char *bdf);

/* What the doors count of this process; at most max rows, how many there are. */
struct ioapi_stat;
unsigned sim_door_stats(const struct ioapi_bus *bus, struct ioapi_stat *rows, unsigned max);

#endif
