/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vfio.h - the VFIO door: container, group and device files as Linux 6.x answers for a PCI
 * function bound to vfio-pci behind a type 1 IOMMU, alone in its group.
 *
 * Group N is the function with index N - 1 on the bus. A group is opened once in all processes
 * that see the same sysfs: the holder has a lock on the function's `config` file there.
 */
#ifndef PMD_SHIM_VFIO_H
#define PMD_SHIM_VFIO_H

#include <stdbool.h>
#include <stdint.h>

#define VFIO_GROUPS_MAX 64		/* functions of a bus that can be opened */
#define VFIO_CONTAINERS_MAX 32
#define VFIO_REGION_SHIFT 40		/* a region's file offset is its index << 40 */

/* As paths.h wants it. */
int  vfio_open_container(unsigned unused, int flags);
int  vfio_open_group(unsigned num, int flags);
bool vfio_group_exists(unsigned num);

/* Whether any container, group or device is open. */
bool vfio_in_use(void);

/* In a forked child: lets go of what the parent holds. shim_lock held. */
void vfio_orphan(void);

#endif
