/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plug.h - devices that come and go, as files of the sysfs all processes of a container share.
 *
 * Whoever plugs a device in renders its directory (sysfs_dev.h), with a file in it that says what
 * it is; whoever takes one off removes that. Other processes follow what they find, those that
 * start later and those that look for a device they do not know (ioapi_bus_scan()). So a device
 * stays plugged in until it is pulled out, whatever becomes of the process.
 *
 * Only directories of plugged devices are believed that root or this process's user made.
 */
#ifndef SIM_APP_PLUG_H
#define SIM_APP_PLUG_H

#include <stdbool.h>

#include "sim/app/config.h"

#define PLUG_PATH_MAX 256

struct err;

struct plug {
	char base[PLUG_PATH_MAX];	/* the tree's directory, "/sys"; empty: there is none */
};

/* The tree a configuration file belongs to: one of another name has none. */
void plug_init(struct plug *p, const char *config_path);

/* Renders f, which n describes. Without a tree there is nothing to do. */
int  plug_show(const struct plug *p, struct ioapi_func *f, const struct net_config *n,
	       struct err *e);
/* As far as it is there and may be written. */
void plug_hide(const struct plug *p, const struct ioapi_ident *id);

/* Whether the tree shows a function at that address; *number is 0 of one that was not plugged. */
bool plug_shown(const struct plug *p, const char *bdf, unsigned *number);

/* Adds the device that was plugged in there to c. */
int  plug_load(const struct plug *p, const char *bdf, struct config *c, unsigned *number,
	       unsigned *uio, struct err *e);
void plug_each(const struct plug *p, void (*each)(void *ctx, const char *bdf), void *ctx);

#endif
