/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysfs.h - the bus as files: what the kernel would show of these functions.
 *
 * Rendered into a directory as real files whose links resolve among themselves, to be mounted
 * over the kernel's (sysfs_mount() lists what goes where):
 *	bus/pci/              devices/BDF/, drivers/DRIVER/, podpci.conf (CONFIG_PATH)
 *	bus/pci/podpci/       modules/RELEASE/: empty kmod indexes. lspci complains in images that
 *	                      have no /lib/modules/RELEASE, so what is not there is found here
 *	module/               vfio, vfio_pci, vfio_iommu_type1; uio and its drivers where used
 *	class/uio             uioN, where used
 *	kernel/iommu_groups/  N/devices/BDF, of functions on vfio-pci; N is 1 + the function's index
 */
#ifndef SIM_APP_SYSFS_H
#define SIM_APP_SYSFS_H

#include <stdbool.h>

#define SYSFS_MODULES "/sys/bus/pci/podpci/modules"	/* inside the container */

struct config;
struct err;
struct ioapi_bus;

struct sysfs_mount {
	const char *source;		/* below the rendered directory */
	const char *target;		/* absolute */
	bool        merge;		/* the target's other entries stay */
	bool        optional;		/* only if both are there: the library does without */
};

/* dirfd must be open on an empty directory. */
int sysfs_render(struct ioapi_bus *bus, const struct config *c, int dirfd, struct err *e);

/* The i-th mount, or NULL past the last. */
const struct sysfs_mount *sysfs_mount(unsigned i);

#endif
