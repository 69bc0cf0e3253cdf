// SPDX-License-Identifier: Apache-2.0
// vfio.c - the VFIO files answer as linux/vfio.h says, also to a driver that gets it wrong.
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "tests/shim/rig.h"

#define MB (UINT64_C(1) << 20)
#define IOVA UINT64_C(0x100000000)
#define VECTORS_TOO_MANY 4096

static void the_container_is_a_type_1(void)
{
	int c = open("/dev/vfio/vfio", O_RDWR);
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ, .iova = IOVA, .size = MB,
	};

	CHECK_EQ(ioctl(c, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	CHECK_EQ(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU), 1);
	CHECK_EQ(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_SPAPR_TCE_v2_IOMMU), 0);
	CHECK_EQ(ioctl(c, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU), 0);
	CHECK_ERR(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), EINVAL);	/* no group yet */
	CHECK_ERR(ioctl(c, VFIO_IOMMU_MAP_DMA, &map), EINVAL);
	CHECK_ERR(ioctl(c, VFIO_GROUP_GET_STATUS, &map), ENOTTY);
	CHECK_ERR(ioctl(c, FIONREAD, &map), ENOTTY);
	CHECK_EQ(close(c), 0);
	CHECK_ERR(ioctl(c, VFIO_GET_API_VERSION), EBADF);
}

static void names_exist_as_far_as_the_bus_goes(void)
{
	struct stat st;

	CHECK_EQ(access("/dev/vfio", F_OK), 0);
	CHECK_EQ(access("/dev/vfio/vfio", R_OK | W_OK), 0);
	CHECK_EQ(access("/dev/vfio/2", F_OK), 0);
	CHECK_ERR(access("/dev/vfio/3", F_OK), ENOENT);
	CHECK_EQ(stat("/dev/vfio/1", &st), 0);
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(stat("/dev/vfio", &st), 0);
	CHECK(S_ISDIR(st.st_mode));
	CHECK_ERR(open("/dev/vfio/3", O_RDWR), ENOENT);
	CHECK_ERR(open("/dev/vfio/01", O_RDWR), ENOENT);
	CHECK_ERR(open("/dev/vfio/1x", O_RDWR), ENOENT);
	CHECK_ERR(open("/dev/vfio/noiommu-1", O_RDWR), ENOENT);
}

static void a_group_is_set_up_in_order(void)
{
	int c = open("/dev/vfio/vfio", O_RDWR), g = open("/dev/vfio/1", O_RDWR), closed = 900, d;
	struct vfio_group_status s = { .argsz = sizeof(s) };

	CHECK_EQ(ioctl(g, VFIO_GROUP_GET_STATUS, &s), 0);
	CHECK_EQ(s.flags, VFIO_GROUP_FLAGS_VIABLE);
	CHECK_ERR(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, BDF0), EINVAL);
	CHECK_ERR(ioctl(g, VFIO_GROUP_SET_CONTAINER, &closed), EBADF);
	CHECK_ERR(ioctl(g, VFIO_GROUP_SET_CONTAINER, &g), EINVAL);
	CHECK_ERR(ioctl(g, VFIO_GROUP_SET_CONTAINER, NULL), EFAULT);
	CHECK_ERR(ioctl(g, VFIO_GROUP_UNSET_CONTAINER), EINVAL);
	CHECK_EQ(ioctl(g, VFIO_GROUP_SET_CONTAINER, &c), 0);
	CHECK_ERR(ioctl(g, VFIO_GROUP_SET_CONTAINER, &c), EINVAL);
	CHECK_EQ(ioctl(g, VFIO_GROUP_GET_STATUS, &s), 0);
	CHECK(s.flags & VFIO_GROUP_FLAGS_CONTAINER_SET);
	CHECK_ERR(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, BDF0), EINVAL);	/* no IOMMU yet */
	CHECK_ERR(ioctl(c, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU), ENODEV);
	CHECK_EQ(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), 0);
	CHECK_ERR(ioctl(c, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), EINVAL);
	CHECK_ERR(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, BDF1), ENODEV);
	CHECK_ERR(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, "nonsense"), ENODEV);
	CHECK_ERR(ioctl(g, VFIO_GROUP_GET_DEVICE_FD, NULL), EFAULT);
	d = ioctl(g, VFIO_GROUP_GET_DEVICE_FD,
		  BDF0 " vf_token=2ab74924-c335-45f4-9b16-8569e5b08258");
	CHECK(d >= 0);
	CHECK_ERR(ioctl(g, VFIO_GROUP_UNSET_CONTAINER), EBUSY);
	CHECK_EQ(close(d), 0);
	CHECK_EQ(ioctl(g, VFIO_GROUP_UNSET_CONTAINER), 0);
	CHECK_EQ(close(g), 0);
	CHECK_EQ(close(c), 0);
}

static void a_group_is_opened_once(void)
{
	int a = open("/dev/vfio/1", O_RDWR), b, copy;

	CHECK(a >= 0);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), EBUSY);
	b = open("/dev/vfio/2", O_RDWR);
	CHECK(b >= 0);
	close(b);
	copy = dup(a);
	close(a);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), EBUSY);
	close(copy);
	a = open("/dev/vfio/1", O_RDWR);
	CHECK(a >= 0);
	close(a);
}

/* The function stays taken while its device is open, even without the group. */
static void an_open_device_keeps_its_group(void)
{
	struct rig r = rig_up();

	close(r.group);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), EBUSY);
	CHECK(rig_alive(&r));
	close(r.device);
	r.group = open("/dev/vfio/1", O_RDWR);
	CHECK(r.group >= 0);
	close(r.group);
	close(r.container);
}

static void another_process_finds_the_group_busy(void)
{
	int g = open("/dev/vfio/1", O_RDWR), status = -1;
	pid_t pid = fork();

	if (!pid) {
		execl("/proc/self/exe", "vfio", "busy", NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(WEXITSTATUS(status), EBUSY);
	close(g);
}

#define STRUCT_IOCTL(fd, req, type) { #req, fd, req, sizeof(type) }

static void a_short_or_bad_argument_is_refused(void)
{
	struct rig r = rig_up();
	const struct {
		const char *name;
		int fd;
		unsigned long req;
		size_t size;
	} calls[] = {
		STRUCT_IOCTL(r.container, VFIO_IOMMU_GET_INFO, struct vfio_iommu_type1_info),
		STRUCT_IOCTL(r.container, VFIO_IOMMU_MAP_DMA, struct vfio_iommu_type1_dma_map),
		STRUCT_IOCTL(r.container, VFIO_IOMMU_UNMAP_DMA, struct vfio_iommu_type1_dma_unmap),
		STRUCT_IOCTL(r.group, VFIO_GROUP_GET_STATUS, struct vfio_group_status),
		STRUCT_IOCTL(r.device, VFIO_DEVICE_GET_INFO, struct vfio_device_info),
		STRUCT_IOCTL(r.device, VFIO_DEVICE_GET_REGION_INFO, struct vfio_region_info),
		STRUCT_IOCTL(r.device, VFIO_DEVICE_GET_IRQ_INFO, struct vfio_irq_info),
		STRUCT_IOCTL(r.device, VFIO_DEVICE_SET_IRQS, struct vfio_irq_set),
	};
	uint32_t arg[64];

	for (size_t i = 0; i < ARRAY_SIZE(calls); i++) {
		memset(arg, 0, sizeof(arg));
		arg[0] = 4;
		CHECK_ERR(ioctl(calls[i].fd, calls[i].req, arg), EINVAL);
		arg[0] = 0;
		CHECK_ERR(ioctl(calls[i].fd, calls[i].req, arg), EINVAL);
		CHECK_ERR(ioctl(calls[i].fd, calls[i].req, NULL), EFAULT);
		CHECK_ERR(ioctl(calls[i].fd, calls[i].req, (void *)8), EFAULT);
	}
	CHECK_ERR(ioctl(r.device, VFIO_GET_API_VERSION), ENOTTY);
	CHECK_ERR(ioctl(r.group, VFIO_SET_IOMMU, 1), ENOTTY);
	rig_down(&r);
}

/* Programs built with older headers know fewer fields. */
static void the_oldest_argument_sizes_are_enough(void)
{
	struct rig r = rig_up();
	struct vfio_device_info info = { .argsz = 16 };

	CHECK_EQ(ioctl(r.device, VFIO_DEVICE_GET_INFO, &info), 0);
	CHECK_EQ(info.num_regions, 9);
	CHECK_EQ(info.num_irqs, 5);
	CHECK_EQ(info.flags, VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
	CHECK_EQ(info.argsz, 16);
	rig_down(&r);
}

static void every_region_index_is_answered(void)
{
	struct rig r = rig_up();

	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct vfio_region_info info = { .argsz = sizeof(info), .index = i, .flags = ~0u };

		CHECK_EQ(ioctl(r.device, VFIO_DEVICE_GET_REGION_INFO, &info), 0);
		CHECK_EQ(info.offset, (uint64_t)i << 40);
		CHECK_EQ(info.argsz, sizeof(info));
		CHECK_EQ(!(info.flags & VFIO_REGION_INFO_FLAG_MMAP),
			 i != VFIO_PCI_BAR4_REGION_INDEX);
		if (i == VFIO_PCI_CONFIG_REGION_INDEX)
			CHECK_EQ(info.size, 256);
	}
	CHECK_ERR(ioctl(r.device, VFIO_DEVICE_GET_REGION_INFO,
			(&(struct vfio_region_info){ .argsz = 32, .index = 9 })), EINVAL);
	rig_down(&r);
}

static void configuration_reads_alike_in_any_width(void)
{
	struct rig r = rig_up();
	uint8_t whole[256], part[256];

	CHECK_EQ(pread(r.device, whole, 256, CONFIG), 256);
	for (size_t width = 1; width <= 16; width++) {
		memset(part, 0, sizeof(part));
		for (size_t at = 0; at < 256; at += width)
			CHECK(pread(r.device, part + at, width, CONFIG + (off_t)at) > 0);
		CHECK(!memcmp(whole, part, 256));
	}
	CHECK_EQ(pread(r.device, part, 16, CONFIG + 250), 6);
	CHECK_EQ(pread(r.device, part, 16, CONFIG + 256), 0);
	CHECK_ERR(pread(r.device, part, 16, CONFIG + 257), EINVAL);
	CHECK_ERR(pread(r.device, part, 16, REGION(VFIO_PCI_ROM_REGION_INDEX)), EINVAL);
	CHECK_ERR(pread(r.device, part, 16, REGION(200)), EINVAL);
	CHECK_EQ(lseek(r.device, CONFIG, SEEK_SET), CONFIG);
	CHECK_EQ(read(r.device, part, 4), 4);
	CHECK_EQ(read(r.device, part + 4, 4), 4);
	CHECK(!memcmp(whole, part, 8));
	rig_down(&r);
}

static int set_irqs(int device, uint32_t index, uint32_t flags, uint32_t start, uint32_t count,
		    const int *fds)
{
	char buf[sizeof(struct vfio_irq_set) + 64 * sizeof(int)];
	struct vfio_irq_set *s = (struct vfio_irq_set *)buf;
	size_t n = count < 2 ? count : 2;

	*s = (struct vfio_irq_set){ .argsz = sizeof(buf), .flags = flags, .index = index,
				    .start = start, .count = count };
	if (fds)
		memcpy(s->data, fds, n * sizeof(int));
	return ioctl(device, VFIO_DEVICE_SET_IRQS, s);
}

#define EVENTFDS (VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER)
#define NOTHING  (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define MSIX     VFIO_PCI_MSIX_IRQ_INDEX

/* The MSI-X enable bit as a driver reads it. */
static bool msix_on(int device)
{
	uint8_t at = 0, id = 0;
	uint16_t control = 0;

	pread(device, &at, 1, CONFIG + PCI_CAPABILITY_LIST);
	for (unsigned i = 0; at && i < 48; i++) {
		pread(device, &id, 1, CONFIG + at);
		if (id == PCI_CAP_ID_MSIX)
			break;
		pread(device, &at, 1, CONFIG + at + 1);
	}
	pread(device, &control, 2, CONFIG + at + PCI_MSIX_FLAGS);
	return control & PCI_MSIX_FLAGS_ENABLE;
}

static void interrupt_eventfds_are_set_and_taken_away(void)
{
	struct rig r = rig_up();
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = MSIX };
	int fds[2] = { eventfd(0, EFD_NONBLOCK), eventfd(0, EFD_NONBLOCK) }, closed = 901;

	CHECK_EQ(ioctl(r.device, VFIO_DEVICE_GET_IRQ_INFO, &info), 0);
	CHECK(info.flags & VFIO_IRQ_INFO_EVENTFD);
	CHECK(info.count >= 3);
	CHECK(!msix_on(r.device));
	CHECK_EQ(set_irqs(r.device, MSIX, EVENTFDS, 0, 2, fds), 0);
	CHECK(msix_on(r.device));
	CHECK_ERR(set_irqs(r.device, MSIX, EVENTFDS, 0, 1, &closed), EBADF);
	CHECK_ERR(set_irqs(r.device, MSIX, EVENTFDS, info.count, 1, fds), EINVAL);
	CHECK_ERR(set_irqs(r.device, MSIX, EVENTFDS, ~0u, 2, fds), EINVAL);
	CHECK_ERR(set_irqs(r.device, MSIX, EVENTFDS, 0, VECTORS_TOO_MANY, fds), EINVAL);
	CHECK_ERR(set_irqs(r.device, MSIX, EVENTFDS | VFIO_IRQ_SET_DATA_BOOL, 0, 1, fds), EINVAL);
	CHECK_ERR(set_irqs(r.device, 5, EVENTFDS, 0, 1, fds), EINVAL);
	CHECK_EQ(set_irqs(r.device, MSIX, NOTHING, 0, 0, NULL), 0);
	CHECK(!msix_on(r.device));
	CHECK_EQ(set_irqs(r.device, VFIO_PCI_REQ_IRQ_INDEX, EVENTFDS, 0, 1, fds), 0);
	CHECK_EQ(set_irqs(r.device, VFIO_PCI_REQ_IRQ_INDEX, NOTHING, 0, 0, NULL), 0);
	close(fds[0]);
	close(fds[1]);
	rig_down(&r);
}

static int map(int container, void *va, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)va, .iova = iova, .size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static int64_t unmap(int container, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap m = { .argsz = sizeof(m), .iova = iova, .size = size };

	return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &m) ? -1 : (int64_t)m.size;
}

static void *shared(size_t size)
{
	int fd = memfd_create("lent", 0);
	void *p;

	CHECK_EQ(ftruncate(fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED);
	return p;		/* the descriptor stays open: by it the memory is found */
}

static void shared_memory_is_lent_and_taken_back(void)
{
	struct rig r = rig_up();
	char *p = shared(4 * MB);

	CHECK_EQ(map(r.container, p, IOVA, 2 * MB), 0);
	CHECK_ERR(map(r.container, p, IOVA, 2 * MB), EEXIST);
	CHECK_ERR(map(r.container, p, IOVA + MB, 2 * MB), EEXIST);
	CHECK_EQ(map(r.container, p + 2 * MB, IOVA + 2 * MB, 2 * MB), 0);
	CHECK_EQ(unmap(r.container, IOVA, 4 * MB), 4 * MB);
	CHECK_EQ(unmap(r.container, IOVA, 4 * MB), 0);
	CHECK_EQ(map(r.container, p, IOVA, 2 * MB), 0);
	rig_down(&r);
	r = rig_up();		/* closing the last group dropped it all */
	CHECK_EQ(map(r.container, p, IOVA, 2 * MB), 0);
	rig_down(&r);
	munmap(p, 4 * MB);
}

static void memory_that_cannot_be_lent_is_refused(void)
{
	struct rig r = rig_up();
	char *priv = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *p = shared(MB);

	CHECK_ERR(map(r.container, priv, IOVA, MB), EFAULT);
	CHECK_ERR(map(r.container, &r, IOVA, 0), EINVAL);
	CHECK_ERR(map(r.container, p + 1, IOVA, PAGE), EINVAL);
	CHECK_ERR(map(r.container, p, IOVA + 1, PAGE), EINVAL);
	CHECK_ERR(map(r.container, p, IOVA, PAGE + 1), EINVAL);
	CHECK_ERR(map(r.container, p, ~UINT64_C(0) - PAGE + 1, 2 * PAGE), EINVAL);
	CHECK_ERR(map(r.container, (void *)~(uintptr_t)4095, IOVA, 2 * PAGE), EINVAL);
	CHECK_EQ(munmap(p + MB / 2, PAGE), 0);
	CHECK_ERR(map(r.container, p, IOVA, MB), EFAULT);
	CHECK_EQ(map(r.container, p, IOVA, MB / 2), 0);		/* nothing was left behind */
	munmap(priv, MB);
	munmap(p, MB);
	rig_down(&r);
}

static void a_bar_is_mapped_where_it_is_wanted(void)
{
	struct rig r = rig_up();
	char *room = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	volatile uint8_t *bar;
	uint32_t by_read = 7;

	bar = mmap(room + PAGE, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, r.device,
		   BAR4);
	CHECK((char *)bar == room + PAGE);
	bar_set(bar, 1);
	CHECK_EQ(pread(r.device, &by_read, 4, BAR4 + FEATURE_SELECT), 4);
	CHECK_EQ(by_read, 1);
	CHECK(bar_works(bar));
	CHECK_EQ(munmap(room, 3 * PAGE), 0);
	errno = 0;
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, r.device, BAR4) == MAP_FAILED);
	CHECK_EQ(errno, EINVAL);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r.device, CONFIG) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r.device, BAR4 + 512) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r.device, BAR4 + (64 << 20)) == MAP_FAILED);
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, r.container, 0) == MAP_FAILED);
	rig_down(&r);
}

static volatile uint8_t *gone;

static void touch_gone(void)
{
	*gone = 0;
}

static void an_unmapped_bar_is_gone(void)
{
	struct rig r = rig_up();
	int status;

	gone = rig_bar(&r);
	CHECK(bar_works(gone));
	CHECK_EQ(munmap((void *)gone, PAGE), 0);
	status = in_child(touch_gone);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	rig_down(&r);
}

static void reset_brings_back_power_on_state(void)
{
	struct rig r = rig_up();
	volatile uint8_t *bar = rig_bar(&r);
	uint16_t command = 0;

	bar_set(bar, 1);
	CHECK_EQ(ioctl(r.device, VFIO_DEVICE_RESET), 0);
	CHECK_EQ(pread(r.device, &command, 2, CONFIG + PCI_COMMAND), 2);
	command |= PCI_COMMAND_MEMORY;
	CHECK_EQ(pwrite(r.device, &command, 2, CONFIG + PCI_COMMAND), 2);
	CHECK_EQ(bar_get(bar), 0);
	munmap((void *)bar, PAGE);
	rig_down(&r);
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		T(the_container_is_a_type_1),
		T(names_exist_as_far_as_the_bus_goes),
		T(a_group_is_set_up_in_order),
		T(a_group_is_opened_once),
		T(an_open_device_keeps_its_group),
		T(another_process_finds_the_group_busy),
		T(a_short_or_bad_argument_is_refused),
		T(the_oldest_argument_sizes_are_enough),
		T(every_region_index_is_answered),
		T(configuration_reads_alike_in_any_width),
		T(interrupt_eventfds_are_set_and_taken_away),
		T(shared_memory_is_lent_and_taken_back),
		T(memory_that_cannot_be_lent_is_refused),
		T(a_bar_is_mapped_where_it_is_wanted),
		T(an_unmapped_bar_is_gone),
		T(reset_brings_back_power_on_state),
	};

	if (argc > 1)		/* another_process_finds_the_group_busy */
		return open("/dev/vfio/1", O_RDWR) >= 0 ? 0 : errno;
	return check_main(tests, ARRAY_SIZE(tests));
}
