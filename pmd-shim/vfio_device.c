// SPDX-License-Identifier: Apache-2.0
// vfio_device.c - see linux/vfio.h; a region's file offset is its index << 40, as vfio-pci has it.
#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>

#include "include/ioapi.h"
#include "pmd-shim/func.h"
#include "pmd-shim/ioctl.h"
#include "pmd-shim/irq.h"
#include "pmd-shim/region.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/vfio.h"
#include "pmd-shim/vfio_device.h"

#define OFFSET_MASK ((UINT64_C(1) << VFIO_REGION_SHIFT) - 1)

_Static_assert((int)VFIO_PCI_CONFIG_REGION_INDEX == (int)IOAPI_CONFIG, "same region numbers");
_Static_assert((int)VFIO_PCI_REQ_IRQ_INDEX == (int)IOAPI_IRQ_REQ, "same interrupt numbers");

static struct vfio_device *device_of(struct ours *o)
{
	return (struct vfio_device *)o;
}

static long get_info(struct ours *o, void *arg)
{
	struct vfio_device_info *info = arg;

	info->flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
	info->num_regions = VFIO_PCI_NUM_REGIONS;
	info->num_irqs = VFIO_PCI_NUM_IRQS;
	return 0;
}

static const struct flag {
	uint32_t ioapi, vfio;
} region_flags[] = {
	{ IOAPI_F_READ,  VFIO_REGION_INFO_FLAG_READ },
	{ IOAPI_F_WRITE, VFIO_REGION_INFO_FLAG_WRITE },
	{ IOAPI_F_MMIO,  VFIO_REGION_INFO_FLAG_MMAP },
};

/* A region that is not there has size 0: drivers ask for every index. */
static long get_region_info(struct ours *o, void *arg)
{
	struct vfio_region_info *info = arg;
	struct ioapi_region r = { 0 };

	if (info->index >= VFIO_PCI_NUM_REGIONS)
		return -EINVAL;
	if (ioapi_region(device_of(o)->f, info->index, &r) < 0)
		r = (struct ioapi_region){ 0 };
	info->flags = 0;
	for (unsigned i = 0; r.size && i < sizeof(region_flags) / sizeof(region_flags[0]); i++)
		if (r.flags & region_flags[i].ioapi)
			info->flags |= region_flags[i].vfio;
	info->cap_offset = 0;
	info->size = r.size;
	info->offset = (uint64_t)info->index << VFIO_REGION_SHIFT;
	return 0;
}

static long get_irq_info(struct ours *o, void *arg)
{
	return vfio_irqs_info(device_of(o)->f, arg);
}

static long set_irqs(struct ours *o, void *arg)
{
	return vfio_irqs_set(device_of(o)->f, arg);
}

static long reset(struct ours *o, void *arg)
{
	return func_reset(device_of(o)->f);
}

static const struct ioctl_row calls[] = {
	{ VFIO_DEVICE_GET_INFO, offsetof(struct vfio_device_info, num_irqs) + 4, get_info },
	{ VFIO_DEVICE_GET_REGION_INFO, sizeof(struct vfio_region_info), get_region_info },
	{ VFIO_DEVICE_GET_IRQ_INFO, sizeof(struct vfio_irq_info), get_irq_info },
	{ VFIO_DEVICE_SET_IRQS, 0, set_irqs },
	{ VFIO_DEVICE_RESET, 0, reset },
};

static long device_ioctl(struct ours *o, unsigned long req, void *arg)
{
	return IOCTL_DISPATCH(calls, o, req, arg);
}

static ssize_t device_pread(struct ours *o, void *buf, size_t n, uint64_t off)
{
	return region_read(device_of(o)->f, (unsigned)(off >> VFIO_REGION_SHIFT),
			   off & OFFSET_MASK, buf, n);
}

static ssize_t device_pwrite(struct ours *o, const void *buf, size_t n, uint64_t off)
{
	return region_write(device_of(o)->f, (unsigned)(off >> VFIO_REGION_SHIFT),
			    off & OFFSET_MASK, buf, n);
}

/* Of what REGION_INFO says can be mapped: not the BAR of the MSI-X table. */
static long device_mmap(struct ours *o, void *addr, size_t len, int prot, int flags, uint64_t off)
{
	struct ioapi_func *f = device_of(o)->f;
	unsigned region = (unsigned)(off >> VFIO_REGION_SHIFT);
	struct ioapi_region r;

	if (ioapi_region(f, region, &r) < 0 || !(r.flags & IOAPI_F_MMIO))
		return -EINVAL;
	return region_mmap(f, region, off & OFFSET_MASK, addr, len, flags);
}

static void device_released(struct ours *o)
{
	struct vfio_device *dev = device_of(o);

	lock_take(&shim_lock);
	if (dev->open)
		func_close(dev->f);
	dev->open = false;
	vfio_device_gone(dev);
	lock_drop(&shim_lock);
}

static const struct ours_ops ops = {
	.name = "podpci:device",
	.ioctl = device_ioctl,
	.pread = device_pread,
	.pwrite = device_pwrite,
	.mmap = device_mmap,
	.released = device_released,
};

void vfio_device_init(struct vfio_device *dev, struct ioapi_func *f)
{
	*dev = (struct vfio_device){ .o.ops = &ops, .f = f };
}

bool vfio_device_is_open(const struct vfio_device *dev)
{
	return dev->open;
}

/* fd -1: a new descriptor. */
static int open_as(struct vfio_device *dev, struct ioapi_domain *d, int fd)
{
	bool was_open = dev->open;
	int rc = was_open ? 0 : func_open(dev->f, d);

	if (rc < 0)
		return rc;
	dev->open = true;
	rc = fd < 0 ? fdtab_open_numbered(&dev->o, func_number(dev->f))
		    : fdtab_adopt_fd(&dev->o, fd);
	if (rc < 0 && !was_open) {
		func_close(dev->f);
		dev->open = false;
	}
	return rc;
}

int vfio_device_open(struct vfio_device *dev, struct ioapi_domain *d)
{
	return open_as(dev, d, -1);
}

int vfio_device_adopt(struct vfio_device *dev, int fd)
{
	return open_as(dev, NULL, fd);
}
