// SPDX-License-Identifier: Apache-2.0
/*
 * refused.c - the n-th request for memory, a descriptor or a thread is refused while a driver
 * drives its device, for every n until none is left.
 *
 * First uses of the library are processes of their own; later ones are made one after the other by
 * a process that goes on. The driver hears an error, or has a device that works; afterwards the
 * same without a fault works, and no descriptor is left over. SHIM_SOCKET is where the back-end of
 * the first device is to listen; the second, on UIO, has none.
 */
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <time.h>

#include "tests/shim/refuse.h"
#include "tests/shim/rig.h"
#include "tests/wire/backend.h"

#define BIT(n)  (UINT64_C(1) << (n))
#define MB      (1u << 20)
#define HUGE    (2u * MB)
#define ROUNDS_MAX 400
#define FDS_MAX 640
#define HANGS_S 20
#define LINK_MS 3000
#define MARK    "what the holder wrote"
#define NET_STATUS (0x800 + offsetof(struct virtio_net_config, status))

/* ---- a driver ------------------------------------------------------------------------------ */

static uint8_t *memory;
static int vectors[3];
static char *room;			/* for a huge page; NULL: there are none */

struct step {
	const char *name;
	int rc;
};

static struct step failed(const char *name)
{
	return (struct step){ name, errno ? errno : -1 };
}

static void put16(volatile uint8_t *bar, unsigned off, uint16_t val)
{
	*(volatile uint16_t *)(bar + off) = val;
}

static void put32(volatile uint8_t *bar, unsigned off, uint32_t val)
{
	*(volatile uint32_t *)(bar + off) = val;
}

static void put64(volatile uint8_t *bar, unsigned off, uint64_t val)
{
	put32(bar, off, (uint32_t)val);
	put32(bar, off + 4, (uint32_t)(val >> 32));
}

static void wait_ms(unsigned ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000l }, NULL);
}

static bool link_up(volatile uint8_t *bar)
{
	return *(volatile uint16_t *)(bar + NET_STATUS) & VIRTIO_NET_S_LINK_UP;
}

/* Two rings with interrupts; what the status says at the end. */
static uint8_t set_up(volatile uint8_t *bar, uint64_t at)
{
	bar[VIRTIO_PCI_COMMON_STATUS] = 0;
	bar[VIRTIO_PCI_COMMON_STATUS] = 1 | 2;
	put32(bar, VIRTIO_PCI_COMMON_GFSELECT, 0);
	put32(bar, VIRTIO_PCI_COMMON_GF, BIT(VIRTIO_NET_F_STATUS));
	put32(bar, VIRTIO_PCI_COMMON_GFSELECT, 1);
	put32(bar, VIRTIO_PCI_COMMON_GF, 1);		/* VERSION_1 */
	bar[VIRTIO_PCI_COMMON_STATUS] = 1 | 2 | 8;
	put16(bar, VIRTIO_PCI_COMMON_MSIX, 0);
	for (uint16_t q = 0; q < 2; q++, at += 65536) {
		put16(bar, VIRTIO_PCI_COMMON_Q_SELECT, q);
		put16(bar, VIRTIO_PCI_COMMON_Q_SIZE, 64);
		put16(bar, VIRTIO_PCI_COMMON_Q_MSIX, (uint16_t)(1 + q));
		put64(bar, VIRTIO_PCI_COMMON_Q_DESCLO, at);
		put64(bar, VIRTIO_PCI_COMMON_Q_AVAILLO, at + 16384);
		put64(bar, VIRTIO_PCI_COMMON_Q_USEDLO, at + 32768);
		put16(bar, VIRTIO_PCI_COMMON_Q_ENABLE, 1);
	}
	bar[VIRTIO_PCI_COMMON_STATUS] = 1 | 2 | 4 | 8;
	return bar[VIRTIO_PCI_COMMON_STATUS];
}

/* A page of a file of its own at a fixed place, as DPDK maps it; without one all is well too. */
static bool put_huge_page(void)
{
	const char *dir = getenv("SHIM_HUGE_DIR");
	char path[256];
	void *at;
	int fd;

	if (!room)
		return true;
	snprintf(path, sizeof(path), "%s/refused", dir);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	if (fd < 0)
		return false;
	unlink(path);
	at = mmap(room, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);
	close(fd);
	return at == room;
}

static void drop_huge_page(void)
{
	if (room)
		mmap(room, HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

static int lend(int container, void *at, uint64_t size)
{
	struct vfio_iommu_type1_dma_map m = {
		.argsz = sizeof(m), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)at, .iova = (uintptr_t)at, .size = size,
	};

	return ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
}

static int interrupts(int device)
{
	char set[sizeof(struct vfio_irq_set) + sizeof(vectors)] __attribute__((aligned(8)));
	struct vfio_irq_set *s = (struct vfio_irq_set *)set;

	*s = (struct vfio_irq_set){
		.argsz = sizeof(set), .count = ARRAY_SIZE(vectors),
		.index = VFIO_PCI_MSIX_IRQ_INDEX,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
	};
	memcpy(s->data, vectors, sizeof(vectors));
	return ioctl(device, VFIO_DEVICE_SET_IRQS, s);
}

static struct step attach(struct rig *r)
{
	if (ioctl(r->group, VFIO_GROUP_SET_CONTAINER, &r->container))
		return failed("SET_CONTAINER");
	if (ioctl(r->container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		return failed("SET_IOMMU");
	if (!put_huge_page())
		return failed("mmap of a huge page");
	if (lend(r->container, memory, MB) || (room && lend(r->container, room, HUGE)))
		return failed("MAP_DMA");
	r->device = ioctl(r->group, VFIO_GROUP_GET_DEVICE_FD, BDF0);
	if (r->device < 0)
		return failed("GET_DEVICE_FD");
	return interrupts(r->device) ? failed("SET_IRQS") : (struct step){ 0 };
}

/* Nobody else can have the device. The file itself, past the library. */
static bool is_locked(void)
{
	long fd = syscall(SYS_openat, AT_FDCWD, "/sys/bus/pci/devices/" BDF0 "/config", O_RDONLY);
	bool locked = flock((int)fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	syscall(SYS_close, fd);
	return locked;
}

/* The device does what its driver wanted, now or soon, or it says that it cannot. */
static void judge(volatile uint8_t *bar, uint8_t status)
{
	unsigned ms = 0;

	refuse_end();
	CHECK(is_locked());
	while (!link_up(bar) && ms++ < LINK_MS && !(bar[VIRTIO_PCI_COMMON_STATUS] & 64))
		wait_ms(1);
	if (bar[VIRTIO_PCI_COMMON_STATUS] & 64)
		return;
	CHECK_EQ(status, 15);
	CHECK_EQ(bar[VIRTIO_PCI_COMMON_STATUS], 15);
	CHECK(link_up(bar));
}

static struct step run(struct rig *r)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	struct step s = attach(r);
	volatile uint8_t *bar;

	if (s.rc)
		return s;
	if (pwrite(r->device, &command, 2, CONFIG + PCI_COMMAND) != 2)
		return failed("PCI_COMMAND");
	bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, r->device, BAR4);
	if (bar == MAP_FAILED)
		return failed("mmap of BAR4");
	judge(bar, set_up(bar, (uintptr_t)memory));
	munmap((void *)bar, PAGE);
	return s;
}

/* All of a driver's life with the first device. */
static struct step by_vfio(void)
{
	struct rig r = { -1, -1, -1 };
	struct step s = { 0 };

	errno = 0;
	r.container = open("/dev/vfio/vfio", O_RDWR);
	if (r.container < 0)
		return failed("open a container");
	r.group = open("/dev/vfio/1", O_RDWR);
	s = r.group < 0 ? failed("open a group") : run(&r);
	if (r.device >= 0)
		close(r.device);
	if (r.group >= 0)
		close(r.group);
	close(r.container);
	drop_huge_page();
	return s;
}

/* The same without VFIO; a function that is opened so stays open. Its back-end never comes. */
static struct step by_files(void)
{
	static const char resource[] = "/sys/bus/pci/devices/../devices/" BDF1 "/resource4";
	volatile uint8_t *bar = MAP_FAILED;
	struct step s = { 0 };
	uint64_t entry = 0;
	int uio, res, map;

	errno = 0;
	uio = open("/dev/uio0", O_RDWR);
	if (uio < 0)
		return failed("open /dev/uio0");
	res = open(resource, O_RDWR);
	map = open("/proc/self/pagemap", O_RDONLY);
	if (!put_huge_page())
		s = failed("mmap of a huge page");
	if (res >= 0)
		bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, res, 0);
	if (res < 0 || map < 0 || bar == MAP_FAILED) {
		s = failed("a file");
	} else if (!s.rc) {
		refuse_end();
		CHECK_EQ(*(volatile uint16_t *)(bar + VIRTIO_PCI_COMMON_NUMQ), 3);
		/* Where the page could not be lent, which is said, the device is. */
		CHECK_EQ(set_up(bar, (uintptr_t)(room ? room : (char *)memory)) & ~64, 15);
		CHECK_EQ(pread(map, &entry, 8, (off_t)((uintptr_t)memory / PAGE * 8)), 8);
		CHECK_EQ(entry & (BIT(55) - 1), (uintptr_t)memory / PAGE);
	}
	if (bar != MAP_FAILED) {
		bar[VIRTIO_PCI_COMMON_STATUS] = 0;
		munmap((void *)bar, PAGE);
	}
	close(map);
	close(res);
	close(uio);
	drop_huge_page();
	return s;
}

/* What another process of the container has in a page file's place is seen, or nothing is. */
static struct step by_guest(void)
{
	struct step s = { 0 };
	char path[256], *at;
	int fd;

	errno = 0;
	snprintf(path, sizeof(path), "%s/shared", getenv("SHIM_HUGE_DIR"));
	fd = open(path, O_RDWR);
	if (fd < 0)
		return failed("open a page file");
	at = mmap(room, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	close(fd);
	if (at == MAP_FAILED)
		return failed("mmap of a page file");
	refuse_end();
	CHECK_EQ(strcmp(at, MARK), 0);
	drop_huge_page();
	return s;
}

/* ---- rounds -------------------------------------------------------------------------------- */

struct names {
	bool open[FDS_MAX];
	unsigned n;
};

static void names_now(struct names *l)
{
	memset(l, 0, sizeof(*l));
	for (int fd = 0; fd < FDS_MAX; fd++) {
		l->open[fd] = syscall(SYS_fcntl, fd, F_GETFD) >= 0;
		l->n += l->open[fd];
	}
}

/* Threads that end give theirs back a moment later. */
static bool same_soon(const struct names *was, struct names *now)
{
	for (unsigned ms = 0; ms < 1000; ms++) {
		names_now(now);
		if (!memcmp(was, now, sizeof(*now)))
			return true;
		wait_ms(1);
	}
	return false;
}

static unsigned *n_now;			/* the request to refuse; told by those that end */
static unsigned bus_takes;		/* requests, until there is one */
static struct step (*drive)(void);

static void ready(void)
{
	alarm(HANGS_S);
	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++)
		vectors[i] = eventfd(0, EFD_NONBLOCK);
	if (!refuse_begin((const void *)dlsym(RTLD_DEFAULT, "ioperm")))
		_exit(77);
}

/* What was refused, NULL: nothing. Without a bus a process has no devices for all its life. */
static const char *drive_refused(bool may_lack_bus)
{
	struct step s;

	refuse_arm(*n_now);
	s = drive();
	refuse_end();
	CHECK(!s.rc || s.rc == EMFILE || s.rc == ENOMEM || s.rc == EAGAIN ||
	      (s.rc == ENOENT && may_lack_bus));
	CHECK(refuse_struck || !s.rc);
	if (s.rc || check_failed)
		printf("# %u: %s refused: %s%s%s\n", *n_now,
		       refuse_struck ? refuse_struck : "nothing", s.rc ? s.name : "works",
		       s.rc ? ": " : "", s.rc ? strerror(s.rc) : "");
	return refuse_struck;
}

/* Of a process that has done nothing yet. */
static void a_first_use(void)
{
	const char *what;
	struct step s;

	ready();
	what = drive_refused(true);
	s = drive();
	CHECK(!s.rc || s.rc == ENOENT);
	if (s.rc)
		_exit(check_failed ? 1 : 43);
	fflush(stdout);
	_exit(check_failed ? 1 : what ? 0 : 42);
}

static bool first_use_is_well(int status)
{
	if (WIFSIGNALED(status))
		printf("# the %u. request refused ends in signal %d\n", *n_now, WTERMSIG(status));
	return WIFEXITED(status) && WEXITSTATUS(status) != 1;
}

static void each_first_use(unsigned from)
{
	unsigned lacked = 0;

	for (*n_now = from; *n_now < ROUNDS_MAX; ++*n_now) {
		int status = in_child(a_first_use), code = WEXITSTATUS(status);

		CHECK(first_use_is_well(status));
		if (code == 77)
			SKIP("seccomp cannot ask a thread");
		if (code == 42)
			break;
		lacked += code == 43;
	}
	CHECK(*n_now > 60 && *n_now < ROUNDS_MAX);
	CHECK(from > 1 || lacked > 10);
	bus_takes = from > 1 ? bus_takes : lacked;
}

/* All rounds in one process, which goes on after each. */
static void each_later_use(void)
{
	struct names before, after;
	const char *what;

	ready();
	CHECK_EQ(drive().rc, 0);
	names_now(&before);
	for (*n_now = 1; *n_now < ROUNDS_MAX && !check_failed; ++*n_now) {
		what = drive_refused(false);
		CHECK(same_soon(&before, &after));
		if (!what)
			break;
		alarm(HANGS_S);
	}
	CHECK(*n_now < ROUNDS_MAX);
}

static void later_uses(unsigned at_least)
{
	int status = in_child(each_later_use);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		SKIP("seccomp cannot ask a thread");
	if (status)
		printf("# the %u. request refused ends in status %#x\n", *n_now, (unsigned)status);
	CHECK_EQ(status, 0);
	CHECK(*n_now > at_least);
}

static void vfio_at_first_use(void)
{
	drive = by_vfio;
	each_first_use(1);
}

static void vfio_later(void)
{
	drive = by_vfio;
	later_uses(30);
}

static void files_at_first_use(void)
{
	drive = by_files;
	each_first_use(1 + bus_takes);
}

static void files_later(void)
{
	drive = by_files;
	later_uses(8);
}

/* A process that has the second device, and memory in the place of a page file. */
static pid_t holder(void)
{
	char path[256];
	int fd, told[2];
	pid_t pid;
	char *at, byte;

	if (pipe(told) || (pid = fork()) < 0)
		return -1;
	if (pid) {
		close(told[1]);
		CHECK_EQ(read(told[0], &byte, 1), 1);
		close(told[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	snprintf(path, sizeof(path), "%s/shared", getenv("SHIM_HUGE_DIR"));
	CHECK(open("/sys/bus/pci/devices/" BDF1 "/resource4", O_RDWR) >= 0);
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(ftruncate(fd, HUGE), 0);
	at = mmap(room, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);
	CHECK(at == room);
	strcpy(at, MARK);
	if (write(told[1], "", check_failed ? 0 : 1) < 0)
		_exit(1);
	for (;;)
		pause();
}

static void a_guest_later(void)
{
	pid_t pid;

	if (!room)
		SKIP("no huge pages");
	pid = holder();
	drive = by_guest;
	later_uses(3);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- the rig ------------------------------------------------------------------------------- */

static pid_t back_end(void)
{
	const struct backend_config cfg = {
		.path = getenv("SHIM_SOCKET"), .pairs = 1,
		.features = BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES) |
			    BIT(VIRTIO_NET_F_STATUS),
		.protocol = BIT(VU_PROTOCOL_MQ) | BIT(VU_PROTOCOL_REPLY_ACK) |
			    BIT(VU_PROTOCOL_BACKEND_REQ) | BIT(VU_PROTOCOL_BACKEND_SEND_FD) |
			    BIT(VU_PROTOCOL_INFLIGHT_SHMFD),
	};
	pid_t pid = fork();

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	backend_start(&cfg);
	for (;;)
		pause();
}

static void rig_memory(void)
{
	int fd = memfd_create("lent", 0);

	CHECK_EQ(ftruncate(fd, MB), 0);
	memory = mmap(NULL, MB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (getenv("SHIM_HUGE_DIR")) {
		room = mmap(NULL, 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		room = (char *)(((uintptr_t)room + HUGE - 1) & ~(HUGE - 1ul));
	}
}

int main(void)
{
	static const struct check_test tests[] = {
		{ "the n-th request of a process that first looks at its device is refused",
			vfio_at_first_use },
		{ "the n-th request of a process that has had its device is refused", vfio_later },
		{ "the n-th request at the first use of a device's files is refused",
			files_at_first_use },
		{ "the n-th request at a later use of a device's files is refused", files_later },
		{ "the n-th request of a guest for its holder's memory is refused",
			a_guest_later },
	};
	pid_t pid = back_end();
	int rc;

	rig_memory();
	n_now = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (unsigned ms = 0; access(getenv("SHIM_SOCKET"), F_OK) && ms < 2000; ms++)
		wait_ms(1);
	rc = check_main(tests, ARRAY_SIZE(tests));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	return rc;
}
