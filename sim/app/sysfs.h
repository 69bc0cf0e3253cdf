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
 *	kernel/iommu_groups/  N/devices/BDF, of functions on vfio-pci; N is ioapi_ident's number
 *
 * Functions that come and go later are added and taken away in it by the process that has them
 * (plug.h), where it is mounted if that can be written, else at SYSFS_PLUGS.
 */
#ifndef SIM_APP_SYSFS_H
#define SIM_APP_SYSFS_H

#include <stdbool.h>
#include <sys/types.h>

/* Inside the container. */
#define SYSFS_MODULES "/sys/bus/pci/podpci/modules"
#define SYSFS_PLUGS   "/dev/podpci/plugs"	/* directories of sysfs_plug(), to be written */

struct config;
struct err;
struct ioapi_bus;

struct sysfs_mount {
	const char *source;		/* below the rendered directory */
	const char *target;		/* absolute */
	bool        merge;		/* the target's other entries stay */
	bool        optional;		/* only if both are there: the library does without */
};

/*
 * dirfd must be open on an empty directory. What changes when functions come and go belongs to
 * `owner`; -1, as all the rest: to whoever calls.
 */
int sysfs_render(struct ioapi_bus *bus, const struct config *c, int dirfd, uid_t owner,
		 struct err *e);

/* The i-th directory of the tree in which functions come and go, or NULL past the last. */
const char *sysfs_plug(unsigned i);

/* The i-th mount, or NULL past the last. */
const struct sysfs_mount *sysfs_mount(unsigned i);

#endif
