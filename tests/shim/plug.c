// SPDX-License-Identifier: Apache-2.0
// plug.c - devices that come and go beside open ones: names keep meaning what they meant, and a
// driver is asked to let go. $PODPCI and $SHIM_CTL are the command line and its sockets' place.
#include <poll.h>
#include <sys/eventfd.h>

#include "tests/shim/rig.h"

static int ctl(const char *words)
{
	char line[512];

	snprintf(line, sizeof(line), "LD_PRELOAD= %s dev -s %s/%d.ctl %s >/dev/null 2>&1",
		 getenv("PODPCI"), getenv("SHIM_CTL"), getpid(), words);
	return system(line);
}

static struct rig second(void)
{
	struct rig r = { open("/dev/vfio/vfio", O_RDWR), open("/dev/vfio/2", O_RDWR), -1 };

	CHECK_EQ(ioctl(r.group, VFIO_GROUP_SET_CONTAINER, &r.container), 0);
	CHECK_EQ(ioctl(r.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	r.device = ioctl(r.group, VFIO_GROUP_GET_DEVICE_FD, BDF1);
	return r;
}

static void a_group_keeps_its_number_when_another_goes(void)
{
	struct rig r = second();

	CHECK(r.device >= 0);
	CHECK_EQ(ctl("del net0"), 0);
	rig_down(&r);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), ENOENT);
	CHECK_EQ(access("/dev/vfio/1", F_OK), -1);
	r = second();
	CHECK(r.device >= 0);
	CHECK(rig_alive(&r));
	rig_down(&r);
}

static void a_new_device_has_a_number_of_its_own(void)
{
	struct rig r = second();	/* commands are heard while a device is open */

	CHECK_EQ(ctl("add net7 socket /nowhere/s"), 0);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), ENOENT);
	CHECK_EQ(access("/dev/vfio/3", R_OK | W_OK), 0);
	rig_down(&r);
}

static void a_driver_is_asked_to_let_go(void)
{
	struct rig r = second();
	union {
		struct vfio_irq_set s;
		char bytes[sizeof(struct vfio_irq_set) + sizeof(int)];
	} irq = { .s = {
		.argsz = sizeof(irq), .count = 1, .index = VFIO_PCI_REQ_IRQ_INDEX,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
	} };
	int event = eventfd(0, 0);
	struct pollfd p = { .fd = event, .events = POLLIN };

	memcpy(irq.s.data, &event, sizeof(event));
	CHECK_EQ(ioctl(r.device, VFIO_DEVICE_SET_IRQS, &irq), 0);
	CHECK_EQ(poll(&p, 1, 0), 0);
	CHECK_EQ(ctl("del net1"), 0);
	CHECK_EQ(poll(&p, 1, 2000), 1);
	CHECK(rig_alive(&r));		/* until it closes */
	rig_down(&r);
	CHECK_ERR(open("/dev/vfio/2", O_RDWR), ENOENT);
	close(event);
}

MAIN(T(a_group_keeps_its_number_when_another_goes),
	T(a_new_device_has_a_number_of_its_own),
	T(a_driver_is_asked_to_let_go))
