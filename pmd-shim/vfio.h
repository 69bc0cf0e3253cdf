/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfio.h - the VFIO door: container, group and device files as Linux 6.x answers for a PCI
 * function bound to vfio-pci behind a type 1 IOMMU, alone in its group.
 *
 * Group N is the function with that number (func.h), if it hangs on vfio-pci. A group is opened
 * once in all processes that see the same sysfs.
 */
#ifndef PMD_SHIM_VFIO_H
#define PMD_SHIM_VFIO_H

#include <stdbool.h>
#include <stdint.h>

struct named;

#define VFIO_GROUPS_MAX 64		/* functions of a bus that can be opened */
#define VFIO_CONTAINERS_MAX 32
#define VFIO_REGION_SHIFT 40		/* a region's file offset is its index << 40 */

/* As paths.h wants it. */
int  vfio_open_container(const struct named *n, int flags);
int  vfio_open_group(const struct named *n, int flags);
bool vfio_group_exists(const struct named *n);

/*
 * A descriptor came in from another process: if it is a container's, a group's or a device's of
 * ours it is one here too, as that process has it. Any other is left as it is.
 */
void vfio_adopt(int fd);

/* Whether any container, group or device is open. */
bool vfio_in_use(void);

#endif
