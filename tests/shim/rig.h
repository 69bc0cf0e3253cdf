/* SPDX-License-Identifier: Apache-2.0 */
/* rig.h - a VFIO driver's first steps, in one call. */
#ifndef TESTS_SHIM_RIG_H
#define TESTS_SHIM_RIG_H

#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "tests/shim/check.h"

#define BDF0 "0000:00:04.0"
#define BDF1 "0000:00:05.0"
#define REGION(n) ((off_t)(n) << 40)
#define CONFIG REGION(VFIO_PCI_CONFIG_REGION_INDEX)
#define BAR4 REGION(VFIO_PCI_BAR4_REGION_INDEX)
#define PAGE 4096

struct rig {
	int container, group, device;
};

/* Opens group 1's device and turns memory and bus mastering on. */
__attribute__((unused)) static struct rig rig_up(void)
{
	struct rig r;
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	r.container = open("/dev/vfio/vfio", O_RDWR);
	r.group = open("/dev/vfio/1", O_RDWR);
	CHECK(r.container >= 0);
	CHECK(r.group >= 0);
	CHECK_EQ(ioctl(r.group, VFIO_GROUP_SET_CONTAINER, &r.container), 0);
	CHECK_EQ(ioctl(r.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	r.device = ioctl(r.group, VFIO_GROUP_GET_DEVICE_FD, BDF0);
	CHECK(r.device >= 0);
	CHECK_EQ(pwrite(r.device, &command, 2, CONFIG + PCI_COMMAND), 2);
	return r;
}

__attribute__((unused)) static void rig_down(struct rig *r)
{
	close(r->device);
	close(r->group);
	close(r->container);
}

/* True if the device answers its vendor. */
__attribute__((unused)) static bool rig_alive(const struct rig *r)
{
	uint16_t vendor = 0;

	return pread(r->device, &vendor, 2, CONFIG) == 2 && vendor == 0x1af4;
}

/* The modern common configuration: a page of BAR4 that traps. */
__attribute__((unused)) static volatile uint8_t *rig_bar(const struct rig *r)
{
	void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->device, BAR4);

	CHECK(p != MAP_FAILED);
	return p;
}

#define FEATURE_SELECT 8	/* driver_feature_select: 4 bytes that keep what is written */

__attribute__((unused)) static void bar_set(volatile uint8_t *bar, uint32_t val)
{
	*(volatile uint32_t *)(bar + FEATURE_SELECT) = val;
}

__attribute__((unused)) static uint32_t bar_get(volatile uint8_t *bar)
{
	return *(volatile uint32_t *)(bar + FEATURE_SELECT);
}

/* The access goes through: what is written can be read back. */
__attribute__((unused)) static bool bar_works(volatile uint8_t *bar)
{
	static uint32_t n;

	n = (n + 1) % 2;	/* some devices keep only feature words that exist */
	bar_set(bar, n);
	return bar_get(bar) == n;
}

#endif
