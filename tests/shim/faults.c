// SPDX-License-Identifier: Apache-2.0
// faults.c - the process has room for n more descriptors, for every n until all of it works.
#include <dirent.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

#include "tests/shim/rig.h"

#define LIMIT 96
#define IOVA  UINT64_C(0x100000000)
#define SIZE  (1u << 20)

static int lent = -1;			/* memory for the device */
static void *lent_at;

struct names {
	bool open[4096];
	unsigned n;
};

static struct names names_now(void)
{
	DIR *d = opendir("/proc/self/fd");
	struct names l = { .n = 0 };
	struct dirent *e;

	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(d) || fd >= 4096)
			continue;
		l.open[fd] = true;
		l.n++;
	}
	closedir(d);
	return l;
}

static int attach(struct rig *r, int irq)
{
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)lent_at, .iova = IOVA, .size = SIZE,
	};
	char set[sizeof(struct vfio_irq_set) + sizeof(int)] __attribute__((aligned(8)));
	struct vfio_irq_set *s = (struct vfio_irq_set *)set;

	*s = (struct vfio_irq_set){
		.argsz = sizeof(set), .count = 1, .index = VFIO_PCI_MSIX_IRQ_INDEX,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
	};
	memcpy(s->data, &irq, sizeof(irq));
	if (ioctl(r->group, VFIO_GROUP_SET_CONTAINER, &r->container) ||
	    ioctl(r->container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU) ||
	    ioctl(r->container, VFIO_IOMMU_MAP_DMA, &m))
		return errno;
	r->device = ioctl(r->group, VFIO_GROUP_GET_DEVICE_FD, BDF0);
	if (r->device < 0 || ioctl(r->device, VFIO_DEVICE_SET_IRQS, s))
		return errno;
	return 0;
}

static int config_of_sysfs(void)
{
	int fd = open("/sys/bus/pci/devices/" BDF1 "/config", O_RDONLY), rc = errno;
	uint16_t vendor = 0;

	if (fd < 0)
		return rc;
	CHECK_EQ(pread(fd, &vendor, 2, 0), 2);
	CHECK_EQ(vendor, 0x1af4);
	close(fd);
	return 0;
}

/* Steps a driver takes, up to the first that fails: its errno. Everything is closed again. */
static int drive(int irq)
{
	struct rig r = { -1, -1, -1 };
	int rc;

	r.container = open("/dev/vfio/vfio", O_RDWR);
	if (r.container < 0)
		return errno;
	r.group = open("/dev/vfio/1", O_RDWR);
	rc = r.group < 0 ? errno : attach(&r, irq);
	if (!rc) {
		CHECK(rig_alive(&r));
		rc = config_of_sysfs();
	}
	if (r.device >= 0)
		close(r.device);
	if (r.group >= 0)
		close(r.group);
	close(r.container);
	return rc;
}

/* Fills the table but for the n highest numbers; how many were filled. */
static unsigned fill(int *with, unsigned n)
{
	unsigned k = 0;
	int fd;

	while (k < LIMIT && (fd = dup(STDIN_FILENO)) >= 0)
		with[k++] = fd;
	for (; n && k; n--)
		close(with[--k]);
	return k;
}

static void each_descriptor_may_be_refused(void)
{
	struct rlimit was, low = { LIMIT, LIMIT };
	int irq = eventfd(0, EFD_NONBLOCK), rc = -1, with[LIMIT];
	unsigned n, refused = 0;

	lent = memfd_create("lent", 0);
	CHECK_EQ(ftruncate(lent, SIZE), 0);
	lent_at = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, lent, 0);
	CHECK_EQ(drive(irq), 0);		/* what is made on first use is made now */
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &was), 0);
	low.rlim_max = was.rlim_max;
	for (n = 0; rc && n < 64; n++) {
		struct names before = names_now(), after;
		unsigned filled;

		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
		filled = fill(with, n);
		rc = drive(irq);
		while (filled)
			close(with[--filled]);
		CHECK_EQ(setrlimit(RLIMIT_NOFILE, &was), 0);
		after = names_now();
		if (memcmp(&before, &after, sizeof(after)))
			printf("# room for %u: %u descriptors before, %u after\n", n, before.n,
			       after.n);
		CHECK(!memcmp(&before, &after, sizeof(after)));
		if (rc && rc != EMFILE && rc != ENOMEM)
			printf("# room for %u: errno %d\n", n, rc);
		CHECK(!rc || rc == EMFILE || rc == ENOMEM);
		refused += rc != 0;
	}
	CHECK_EQ(rc, 0);
	CHECK(refused >= 4);
	CHECK_EQ(drive(irq), 0);
	munmap(lent_at, SIZE);
	close(lent);
	close(irq);
}

MAIN(T(each_descriptor_may_be_refused))
