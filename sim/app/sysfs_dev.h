/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysfs_dev.h - one function in the tree of sysfs.h.
 *
 * Its directory appears whole, by a rename, and goes so. One that was plugged in later has a file
 * that says how, for the processes that did not see it (sim/app/plug.h).
 */
#ifndef SIM_APP_SYSFS_DEV_H
#define SIM_APP_SYSFS_DEV_H

#include <stdbool.h>

#include "include/ioapi.h"

#define SYSFS_PLUGGED "podpci.net"

struct tree;

/* The driver of the host that a function seems to hang on. */
struct sysfs_driver {
	const char *name, *module;	/* NULL: none */
	bool        iommu, uio;
};

/* By enum ioapi_door; NULL past the last. */
const struct sysfs_driver *sysfs_driver(unsigned door);

/* `plugged` is the text of its SYSFS_PLUGGED; NULL: it has none. */
void sysfs_dev_render(struct tree *t, struct ioapi_func *f, const char *plugged);
/* All of it, as far as it is there. */
void sysfs_dev_remove(int dirfd, const struct ioapi_ident *id);

#endif
