/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regs.c - what a register access and a foreign call cost, in ns, measured inside a pod.
 *
 * Opens the first simulated device through VFIO as a driver would. Each line: NAME OURS REFERENCE.
 *	trap     load of a modern device's status register; reference: an empty SIGSEGV handler,
 *	         installed by raw system call, that only steps over the load
 *	trap-w   store to queue_select; the same reference
 *	pread    the same register through pread() on the device's descriptor; reference: pread()
 *	         of a memory file through libc
 *	foreign  ioctl, fcntl, ... on descriptors that are not ours; reference: libc's own function
 * Blocks of both kinds take turns; medians are printed.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <linux/virtio_pci.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define ROUNDS 101
#define CAPS_MAX 48

static int device = -1;
static volatile uint8_t *common;	/* mapped registers, virtio 1.2 4.1.4.3 */
static uint64_t common_at;		/* the same in the descriptor */

static void die(const char *what)
{
	fprintf(stderr, "regs: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- the device ---------------------------------------------------------------------------- */

static uint64_t region(unsigned index, uint64_t *size)
{
	struct vfio_region_info i = { .argsz = sizeof(i), .index = index };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &i))
		die("region");
	*size = i.size;
	return i.offset;
}

static uint8_t config(unsigned at)
{
	static uint64_t off, size;
	uint8_t v = 0;

	if (!size)
		off = region(VFIO_PCI_CONFIG_REGION_INDEX, &size);
	if (pread(device, &v, 1, off + at) != 1)
		die("config");
	return v;
}

static uint32_t config32(unsigned at)
{
	return config(at) | config(at + 1) << 8 | config(at + 2) << 16 |
	       (uint32_t)config(at + 3) << 24;
}

static void common_map(void)
{
	uint8_t at = config(PCI_CAPABILITY_LIST);
	uint64_t off, size;
	unsigned n = 0;

	while (at && n++ < CAPS_MAX && !(config(at) == PCI_CAP_ID_VNDR &&
	       config(at + offsetof(struct virtio_pci_cap, cfg_type)) == VIRTIO_PCI_CAP_COMMON_CFG))
		at = config(at + PCI_CAP_LIST_NEXT);
	if (!at)
		die("no common configuration");
	off = region(config(at + offsetof(struct virtio_pci_cap, bar)), &size);
	common = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device, (off_t)off);
	if (common == MAP_FAILED)
		die("mmap");
	common += config32(at + offsetof(struct virtio_pci_cap, offset));
	common_at = off + config32(at + offsetof(struct virtio_pci_cap, offset));
}

static void device_open(void)
{
	char link[512], target[512] = "", path[64];
	struct vfio_group_status status = { .argsz = sizeof(status) };
	int container = open("/dev/vfio/vfio", O_RDWR), group;
	glob_t g;

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &g) || g.gl_pathc == 0)
		die("no device");
	snprintf(link, sizeof(link), "%s/iommu_group", g.gl_pathv[0]);
	if (readlink(link, target, sizeof(target) - 1) < 0)
		die("iommu_group");
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(target, '/') + 1);
	group = open(path, O_RDWR);
	if (container < 0 || group < 0 || ioctl(group, VFIO_GROUP_GET_STATUS, &status) ||
	    ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		die("container");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, strrchr(g.gl_pathv[0], '/') + 1);
	if (device < 0)
		die("device");
	common_map();
}

/* ---- what is measured: n times each -------------------------------------------------------- */

static void load(unsigned n)
{
	while (n--)
		(void)common[20];	/* device_status */
}

static void store(unsigned n)
{
	while (n--)
		*(volatile uint16_t *)(common + 22) = 0;	/* queue_select */
}

struct kernel_sigaction {
	void (*handler)(int sig, siginfo_t *info, void *context);
	unsigned long flags;
	void (*restorer)(void);
	uint64_t mask;
};

static volatile uint8_t *nowhere;

static void step_over(int sig, siginfo_t *info, void *context)
{
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
}

/* The shim does not see this handler come or go. */
static void empty_trap(unsigned n)
{
	struct kernel_sigaction ours, was;

	if (syscall(SYS_rt_sigaction, SIGSEGV, NULL, &was, sizeof(was.mask)))
		die("rt_sigaction");
	ours = was;
	ours.handler = step_over;
	if (syscall(SYS_rt_sigaction, SIGSEGV, &ours, NULL, sizeof(was.mask)))
		die("rt_sigaction");
	while (n--)
		__asm__ volatile("movb (%0), %%al" :: "a"(nowhere) : "memory");
	syscall(SYS_rt_sigaction, SIGSEGV, &was, NULL, sizeof(was.mask));
}

static void register_pread(unsigned n)
{
	uint8_t v;

	while (n--)
		if (pread(device, &v, 1, (off_t)common_at + 20) != 1)
			die("pread");
}

static int memory_file = -1;

static struct {
	int     (*ioctl)(int fd, unsigned long req, ...);
	int     (*fcntl)(int fd, int cmd, ...);
	ssize_t (*pread)(int fd, void *buf, size_t n, off_t off);
	ssize_t (*read)(int fd, void *buf, size_t n);
	off_t   (*lseek)(int fd, off_t off, int whence);
	int     (*close)(int fd);
	int     (*open)(const char *path, int flags, ...);
	int     (*access)(const char *path, int mode);
} libc, seen = { ioctl, fcntl, pread, read, lseek, close, open, access };

#define CALLS(X) \
	X(ioctl, (memory_file, 0)) \
	X(fcntl, (memory_file, F_GETFD)) \
	X(pread, (memory_file, &byte, 0, 0)) \
	X(read, (memory_file, &byte, 0)) \
	X(lseek, (memory_file, 0, SEEK_SET)) \
	X(close, (-1)) \
	X(open, ("/nothing/here", O_RDONLY)) \
	X(access, ("/nothing/here", F_OK))

#define X(name, args) \
	static void libc_##name(unsigned n) \
	{ \
		uint8_t byte; \
		(void)byte; \
		while (n--) \
			(void)!libc.name args; \
	} \
	static void seen_##name(unsigned n) \
	{ \
		uint8_t byte; \
		(void)byte; \
		while (n--) \
			(void)!seen.name args; \
	}
CALLS(X)
#undef X

static void libc_find(void)
{
	void *h = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);

	if (!h)
		die("libc");
#define X(name, args) libc.name = (typeof(libc.name))dlsym(h, #name);
	CALLS(X)
#undef X
}

/* ---- medians ------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double timed(void (*what)(unsigned n), unsigned n)
{
	uint64_t begin = now_ns();

	what(n);
	return (double)(now_ns() - begin) / n;
}

static void compare(const char *name, void (*ours)(unsigned n), void (*reference)(unsigned n),
		    unsigned n)
{
	double a[ROUNDS], d[ROUNDS];

	ours(n);
	reference(n);
	for (unsigned i = 0; i < ROUNDS; i++) {
		double r = timed(reference, n), o = timed(ours, n), o2 = timed(ours, n);
		double r2 = timed(reference, n);

		a[i] = (o + o2) / 2;
		d[i] = (o + o2 - r - r2) / 2;	/* both in one moment: the drift cancels out */
	}
	qsort(a, ROUNDS, sizeof(a[0]), by_value);
	qsort(d, ROUNDS, sizeof(d[0]), by_value);
	printf("%s %.1f %.1f\n", name, a[ROUNDS / 2], a[ROUNDS / 2] - d[ROUNDS / 2]);
}

int main(void)
{
	device_open();
	libc_find();
	memory_file = memfd_create("file", MFD_CLOEXEC);
	nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory_file < 0 || nowhere == MAP_FAILED)
		die("set-up");
	compare("trap", load, empty_trap, 500);
	compare("trap-w", store, empty_trap, 500);
	compare("pread", register_pread, libc_pread, 5000);
#define X(name, args) compare("foreign-" #name, seen_##name, libc_##name, 2000);
	CALLS(X)
#undef X
	return 0;
}
