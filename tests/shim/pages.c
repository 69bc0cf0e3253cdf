// SPDX-License-Identifier: Apache-2.0
// pages.c - a back-end's own notify page: the driver's stores go there for as long as it may, and
// nowhere else. $SHIM_SOCKET is where it listens; ".2" that of a transitional device.
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <sys/eventfd.h>

#include "tests/shim/rig.h"
#include "tests/wire/backend.h"

#define BIT(n) (UINT64_C(1) << (n))
#define ASK    (VU_VERSION | VU_NEED_REPLY)
#define MEMORY 65536
#define NOTIFY(q) (PAGE * (1 + (q)))	/* in BAR4 */
#define LEGACY REGION(VFIO_PCI_BAR0_REGION_INDEX)

static struct backend *backend;
static uint8_t *bar, *memory;		/* BAR4, and what is lent */

static struct backend *listening(const char *path)
{
	const struct backend_config cfg = {
		.path = path, .pairs = 1,
		.features = BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES),
		.protocol = BIT(VU_PROTOCOL_MQ) | BIT(VU_PROTOCOL_REPLY_ACK) |
			    BIT(VU_PROTOCOL_BACKEND_REQ) | BIT(VU_PROTOCOL_BACKEND_SEND_FD) |
			    BIT(VU_PROTOCOL_HOST_NOTIFIER),
	};

	return backend_start(&cfg);
}

static void lend_memory(const struct rig *r)
{
	int fd = memfd_create("lent", MFD_CLOEXEC);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .size = MEMORY, .iova = 0x100000,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	};

	CHECK_EQ(ftruncate(fd, MEMORY), 0);
	memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(memory != MAP_FAILED);
	map.vaddr = (uintptr_t)memory;
	CHECK_EQ(ioctl(r->container, VFIO_IOMMU_MAP_DMA, &map), 0);
	close(fd);
}

static void set8(unsigned off, uint8_t val)
{
	*(volatile uint8_t *)(bar + off) = val;
}

static void set16(unsigned off, uint16_t val)
{
	*(volatile uint16_t *)(bar + off) = val;
}

static void set32(unsigned off, uint32_t val)
{
	*(volatile uint32_t *)(bar + off) = val;
}

static void run_rings(void)
{
	set8(VIRTIO_PCI_COMMON_STATUS, 1 | 2);
	set32(VIRTIO_PCI_COMMON_GFSELECT, 1);
	set32(VIRTIO_PCI_COMMON_GF, 1);		/* VERSION_1 */
	set8(VIRTIO_PCI_COMMON_STATUS, 1 | 2 | 8);
	for (unsigned q = 0; q < 2; q++) {
		set16(VIRTIO_PCI_COMMON_Q_SELECT, (uint16_t)q);
		set16(VIRTIO_PCI_COMMON_Q_SIZE, 64);
		set32(VIRTIO_PCI_COMMON_Q_DESCLO, 0x100000 + q * 0x4000);
		set32(VIRTIO_PCI_COMMON_Q_AVAILLO, 0x101000 + q * 0x4000);
		set32(VIRTIO_PCI_COMMON_Q_USEDLO, 0x102000 + q * 0x4000);
		set16(VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	}
	set8(VIRTIO_PCI_COMMON_STATUS, 1 | 2 | 8 | 4);
}

/* A kick, of a ring that has one within the time: it is taken. */
static bool kicked(struct backend *b, unsigned ring, int ms)
{
	struct pollfd p = { .fd = backend_ring_fd(b, ring, VU_SET_VRING_KICK), .events = POLLIN };
	eventfd_t n;

	return poll(&p, 1, ms) == 1 && !eventfd_read(p.fd, &n);
}

static struct rig start(void)
{
	struct rig r = rig_up();

	bar = mmap(NULL, NOTIFY(2), PROT_READ | PROT_WRITE, MAP_SHARED, r.device, BAR4);
	CHECK(bar != MAP_FAILED);
	lend_memory(&r);
	backend_forget(backend);
	run_rings();
	CHECK(backend_wait(backend, VU_SET_VRING_KICK, 2, 2000));
	for (unsigned q = 0; q < 2; q++)
		kicked(backend, q, 100);	/* of the start */
	return r;
}

static void stop(struct rig *r)
{
	rig_down(r);
	munmap(bar, NOTIFY(2));
	munmap(memory, MEMORY);
}

/* A file of two pages; the second is seen at *at. */
static int page_new(unsigned flags, volatile uint16_t **at)
{
	int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	size_t len = flags & MFD_HUGETLB ? 2 << 20 : 2 * PAGE;
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, (off_t)len))
		return -1;
	p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
	if (at)
		*at = (volatile uint16_t *)(p + PAGE);
	return fd;
}

static uint64_t offer(struct backend *b, uint64_t index, uint64_t off, int fd)
{
	struct vu_notifier n = { .index = index, .size = fd < 0 ? 0 : PAGE, .offset = off };
	struct vu_header h;
	uint64_t val = 0;

	backend_ask(b, VU_BACKEND_VRING_HOST_NOTIFIER, ASK, &n, sizeof(n), &fd, fd >= 0);
	return backend_answered(b, &h, &val, 1000) ? val : ~UINT64_C(0);
}

static void kick_in_a_child(void)
{
	set16(NOTIFY(1), 7);
}

static void stores_go_to_the_page_until_it_is_taken_back(void)
{
	volatile uint16_t *page;
	struct rig r = start();
	int fd = page_new(0, &page);

	CHECK_EQ(offer(backend, 1, PAGE, fd), 0);
	set16(NOTIFY(1), 1);
	CHECK_EQ(*page, 1);
	CHECK(!kicked(backend, 1, 0));
	set16(NOTIFY(0), 0);		/* the other ring's is the device's */
	CHECK(kicked(backend, 0, 1000));
	CHECK_EQ(in_child(kick_in_a_child), 0);
	CHECK_EQ(*page, 1);
	*page = 0;
	CHECK_EQ(offer(backend, 1 | VU_RING_NOFD, 0, -1), 0);
	set16(NOTIFY(1), 1);
	CHECK_EQ(*page, 0);
	CHECK(kicked(backend, 1, 1000));
	stop(&r);
	close(fd);
}

static void what_is_no_page_of_a_file_in_memory_leaves_the_trap(void)
{
	struct rig r = start();
	int zero = open("/dev/zero", O_RDWR), huge = page_new(MFD_HUGETLB, NULL);
	int small = page_new(0, NULL);

	CHECK_EQ(offer(backend, 1, 0, zero), EPERM);
	if (huge >= 0)
		CHECK_EQ(offer(backend, 1, 0, huge), EPERM);
	CHECK_EQ(offer(backend, 1, 2 * PAGE, small), EINVAL);
	set16(NOTIFY(1), 1);
	CHECK(kicked(backend, 1, 1000));
	stop(&r);
	close(zero);
	close(huge);
	close(small);
}

static void a_page_that_may_not_be_written_leaves_the_trap(void)
{
	int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	struct rig r = start();

	CHECK_EQ(ftruncate(fd, PAGE), 0);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_WRITE), 0);
	CHECK_EQ(offer(backend, 1, 0, fd), EPERM);
	set16(NOTIFY(1), 1);
	CHECK(kicked(backend, 1, 1000));
	stop(&r);
	close(fd);
}

static void a_page_goes_with_a_reset_and_with_its_back_end(void)
{
	volatile uint16_t *page;
	struct rig r = start();
	int fd = page_new(0, &page);
	unsigned sessions = backend_sessions(backend);

	CHECK_EQ(offer(backend, 1, PAGE, fd), 0);
	set8(VIRTIO_PCI_COMMON_STATUS, 0);
	set16(NOTIFY(1), 1);
	CHECK_EQ(*page, 0);
	backend_forget(backend);
	run_rings();
	CHECK(backend_wait(backend, VU_SET_VRING_KICK, 2, 2000));
	CHECK_EQ(offer(backend, 1, PAGE, fd), 0);
	set16(NOTIFY(1), 1);
	CHECK_EQ(*page, 1);
	*page = 0;
	backend_forget(backend);
	backend_hangup(backend);
	CHECK(backend_wait(backend, VU_SET_VRING_KICK, 2, 5000));
	CHECK_EQ(backend_sessions(backend), sessions + 1);
	kicked(backend, 1, 100);
	set16(NOTIFY(1), 1);
	CHECK_EQ(*page, 0);
	CHECK(kicked(backend, 1, 1000));
	stop(&r);
	close(fd);
}

static void what_is_mapped_in_place_of_it_stays(void)
{
	volatile uint16_t *page;
	struct rig r = start();
	int fd = page_new(0, &page);
	uint8_t *own;

	CHECK_EQ(offer(backend, 1, PAGE, fd), 0);
	own = mmap(bar + NOTIFY(1), PAGE, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	CHECK(own == bar + NOTIFY(1));
	*own = 5;
	CHECK_EQ(*page, 0);
	CHECK_EQ(offer(backend, 1 | VU_RING_NOFD, 0, -1), 0);
	CHECK_EQ(offer(backend, 1, PAGE, fd), ENOENT);
	CHECK_EQ(*own, 5);
	CHECK_EQ(munmap(own, PAGE), 0);
	CHECK_EQ(offer(backend, 1, PAGE, fd), ENOENT);
	stop(&r);
	close(fd);
}

static void legacy_set(const struct rig *r, unsigned off, uint32_t val, unsigned size)
{
	CHECK_EQ(pwrite(r->device, &val, size, LEGACY + off), size);
}

static void a_driver_that_kicks_through_a_port_gets_no_page(void)
{
	struct rig r = { open("/dev/vfio/vfio", O_RDWR), open("/dev/vfio/2", O_RDWR), -1 };
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_IO | PCI_COMMAND_MASTER;
	char path[128];
	struct backend *b;
	int fd = page_new(0, NULL);

	snprintf(path, sizeof(path), "%s.2", getenv("SHIM_SOCKET"));
	b = listening(path);
	CHECK_EQ(ioctl(r.group, VFIO_GROUP_SET_CONTAINER, &r.container), 0);
	CHECK_EQ(ioctl(r.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	r.device = ioctl(r.group, VFIO_GROUP_GET_DEVICE_FD, BDF1);
	CHECK_EQ(pwrite(r.device, &command, 2, CONFIG + PCI_COMMAND), 2);
	bar = mmap(NULL, NOTIFY(2), PROT_READ | PROT_WRITE, MAP_SHARED, r.device, BAR4);
	CHECK(bar != MAP_FAILED);
	lend_memory(&r);
	legacy_set(&r, VIRTIO_PCI_STATUS, 1 | 2, 1);
	for (unsigned q = 0; q < 2; q++) {
		legacy_set(&r, VIRTIO_PCI_QUEUE_SEL, q, 2);
		legacy_set(&r, VIRTIO_PCI_QUEUE_PFN, 0x100 + q * 8, 4);
	}
	legacy_set(&r, VIRTIO_PCI_STATUS, 1 | 2 | 4, 1);
	CHECK(backend_wait(b, VU_SET_VRING_KICK, 2, 2000));
	CHECK_EQ(offer(b, 1, PAGE, fd), EOPNOTSUPP);
	stop(&r);
	close(fd);
	backend_stop(b);
}

static const struct check_test tests[] = {
	T(stores_go_to_the_page_until_it_is_taken_back),
	T(what_is_no_page_of_a_file_in_memory_leaves_the_trap),
	T(a_page_that_may_not_be_written_leaves_the_trap),
	T(a_page_goes_with_a_reset_and_with_its_back_end),
	T(what_is_mapped_in_place_of_it_stays),
	T(a_driver_that_kicks_through_a_port_gets_no_page),
};

int main(void)
{
	int rc;

	backend = listening(getenv("SHIM_SOCKET"));
	rc = check_main(tests, ARRAY_SIZE(tests));
	backend_stop(backend);
	return rc;
}
