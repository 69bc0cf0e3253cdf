/* SPDX-License-Identifier: Apache-2.0 */
/* vfio_device.h - the device file of a function: regions, interrupts, reset. */
#ifndef PMD_SHIM_VFIO_DEVICE_H
#define PMD_SHIM_VFIO_DEVICE_H

#include <stdbool.h>

#include "pmd-shim/fdtab.h"

struct ioapi_domain;
struct ioapi_func;

/* Open while it has a descriptor. f stays for good. All calls with shim_lock held. */
struct vfio_device {
	struct ours        o;
	struct ioapi_func *f;
	bool               open;
};

void vfio_device_init(struct vfio_device *dev, struct ioapi_func *f);
/* A descriptor, or -errno. The first one opens the function and attaches it to the domain. */
int  vfio_device_open(struct vfio_device *dev, struct ioapi_domain *d);
/* The same for a descriptor that came from the holder; 0 or -errno. */
int  vfio_device_adopt(struct vfio_device *dev, int fd);
bool vfio_device_is_open(const struct vfio_device *dev);

/* The group's (vfio.c): called when the last descriptor is gone. */
void vfio_device_gone(struct vfio_device *dev);

#endif
