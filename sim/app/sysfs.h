/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysfs.h - the bus as files: what the kernel would show of these functions.
 *
 * Rendered into a directory as real files, to be mounted over the kernel's:
 *	bus/pci/         devices/BDF -> ../../../devices/..., drivers/vfio-pci/, podpci.conf
 *	module/          vfio, vfio_pci, vfio_iommu_type1, ...
 *	iommu_groups/    N/devices/BDF
 */
#ifndef SIM_APP_SYSFS_H
#define SIM_APP_SYSFS_H

struct config;
struct err;
struct ioapi_bus;

/* dir must exist and be empty. */
int sysfs_render(struct ioapi_bus *bus, const struct config *c, const char *dir, struct err *e);

#endif
