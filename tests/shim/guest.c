// SPDX-License-Identifier: Apache-2.0
// guest.c - a process that is given another's VFIO descriptors by SCM_RIGHTS, as a DPDK secondary
// is: this program, with a copy of itself ("hold") as the one that has the device.
#include <limits.h>
#include <signal.h>
#include <sys/socket.h>

#include "tests/shim/rig.h"

#define HUGE ((size_t)2 << 20)
#define FDS  3

static int holder = -1;			/* socket to it */
static pid_t holder_pid;
static struct rig got;
static volatile uint8_t *bar;

static bool huge_path(char path[PATH_MAX])
{
	const char *dir = getenv("SHIM_HUGE_DIR");

	snprintf(path, PATH_MAX, "%s/shared", dir ? dir : "");
	return dir != NULL;
}

/* ---- holder -------------------------------------------------------------------------------- */

static void send_fds(int to, const struct rig *r)
{
	union {
		struct cmsghdr head;
		char bytes[CMSG_SPACE(FDS * sizeof(int))];
	} control = { .bytes = "" };
	char byte = 'f';
	struct iovec io = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	int fds[FDS] = { r->container, r->group, r->device };

	control.head.cmsg_level = SOL_SOCKET;
	control.head.cmsg_type = SCM_RIGHTS;
	control.head.cmsg_len = CMSG_LEN(sizeof(fds));
	memcpy(CMSG_DATA(&control.head), fds, sizeof(fds));
	CHECK_EQ(sendmsg(to, &m, 0), 1);
}

/* A page file whose place is taken by coalesced memory. */
static void map_page(void)
{
	char path[PATH_MAX], *p = mmap(NULL, 2 * HUGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				       0);
	char *at = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	int fd;

	if (!huge_path(path))
		return;
	fd = open(path, O_CREAT | O_RDWR, 0600);
	CHECK_EQ(ftruncate(fd, HUGE), 0);
	CHECK(mmap(at, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
	strcpy(at, "held");
	close(fd);
}

/* Answers each byte with the register's value until the socket ends. */
static int hold(int to)
{
	struct rig r = rig_up();
	volatile uint8_t *mine = rig_bar(&r);
	char byte;

	map_page();
	bar_set(mine, 1);
	send_fds(to, &r);
	while (read(to, &byte, 1) == 1) {
		byte = (char)bar_get(mine);
		CHECK_EQ(write(to, &byte, 1), 1);
	}
	return check_failed != 0;
}

/* ---- guest --------------------------------------------------------------------------------- */

static void take_fds(int from, struct rig *r)
{
	char control[CMSG_SPACE(FDS * sizeof(int))] __attribute__((aligned(8))), byte;
	struct iovec io = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	int fds[FDS];

	errno = 77;
	CHECK_EQ(recvmsg(from, &m, 0), 1);
	CHECK_EQ(errno, 77);
	CHECK_EQ(m.msg_controllen, sizeof(control));
	memcpy(fds, CMSG_DATA((struct cmsghdr *)(void *)control), sizeof(fds));
	*r = (struct rig){ fds[0], fds[1], fds[2] };
}

/* The device's holder answers. */
static int look(int from)
{
	struct rig r;

	take_fds(from, &r);
	CHECK(rig_alive(&r));
	return check_failed != 0;
}

/* A copy of this program in another role; *to is a socket to it. */
static pid_t start(const char *role, int *to)
{
	char fd[16];
	int pair[2];
	pid_t pid;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	snprintf(fd, sizeof(fd), "%d", pair[1]);
	pid = vfork();
	if (!pid) {
		execl("/proc/self/exe", "guest", role, fd, (char *)NULL);
		_exit(1);
	}
	close(pair[1]);
	*to = pair[0];
	return pid;
}

static int value_there(void)
{
	char byte = 'v';

	CHECK_EQ(write(holder, &byte, 1), 1);
	CHECK_EQ(read(holder, &byte, 1), 1);
	return byte;
}

static void descriptors_of_another_process_are_known(void)
{
	struct vfio_group_status s = { .argsz = sizeof(s) };

	holder_pid = start("hold", &holder);
	take_fds(holder, &got);
	CHECK_EQ(ioctl(got.container, VFIO_GET_API_VERSION), VFIO_API_VERSION);
	CHECK_EQ(ioctl(got.group, VFIO_GROUP_GET_STATUS, &s), 0);
	CHECK_EQ(s.flags, VFIO_GROUP_FLAGS_VIABLE | VFIO_GROUP_FLAGS_CONTAINER_SET);
	CHECK(rig_alive(&got));
}

static void registers_are_the_holders(void)
{
	int again = ioctl(got.group, VFIO_GROUP_GET_DEVICE_FD, BDF0);

	CHECK(again >= 0);
	bar = rig_bar(&got);
	CHECK_EQ(bar_get(bar), 1);
	bar_set(bar, 0);
	CHECK_EQ(value_there(), 0);
	bar_set(bar, 1);
	CHECK_EQ(value_there(), 1);
	close(again);
	CHECK_EQ(bar_get(bar), 1);
}

static void memory_and_interrupts_stay_the_holders(void)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .flags = VFIO_DMA_MAP_FLAG_READ, .size = PAGE,
	};
	union {
		struct vfio_irq_set s;
		char bytes[sizeof(struct vfio_irq_set) + sizeof(int)];
	} irq = { .s = {
		.argsz = sizeof(irq), .count = 1, .index = VFIO_PCI_MSIX_IRQ_INDEX,
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
	} };
	int none = -1;

	memcpy(irq.s.data, &none, sizeof(none));
	CHECK_ERR(ioctl(got.container, VFIO_IOMMU_MAP_DMA, &map), EINVAL);
	CHECK_ERR(ioctl(got.container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU), EINVAL);
	CHECK_ERR(ioctl(got.device, VFIO_DEVICE_SET_IRQS, &irq), ENODEV);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), EBUSY);
}

/* By its name, at any address: what the holder sees under that name. */
static void a_coalesced_page_is_shared_by_its_name(void)
{
	char path[PATH_MAX], *p;
	int fd;

	if (!huge_path(path))
		SKIP("no hugetlbfs can be mounted here");
	fd = open(path, O_RDWR);
	CHECK(fd >= 0);
	p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(p != MAP_FAILED && !strcmp(p, "held"));
	munmap(p, HUGE);
	close(fd);
	unlink(path);
}

static void a_foreign_descriptor_stays_foreign(void)
{
	int fake = memfd_create("podpci:group:9", 0), pair[2], fd = -1;
	char control[CMSG_SPACE(sizeof(int))] __attribute__((aligned(8))), byte = 0;
	struct iovec io = { &byte, 1 };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *c = (struct cmsghdr *)(void *)control;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fake, sizeof(fake));
	CHECK_EQ(sendmsg(pair[0], &m, 0), 1);
	CHECK_EQ(recvmsg(pair[1], &m, 0), 1);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	CHECK_EQ(write(fd, "x", 1), 1);		/* a file like any other */
	CHECK_ERR(ioctl(fd, VFIO_GROUP_GET_STATUS, &byte), ENOTTY);
}

static void a_guest_outlives_its_holder(void)
{
	uint32_t id = 0;
	int status;

	kill(holder_pid, SIGKILL);
	waitpid(holder_pid, &status, 0);
	CHECK_EQ(bar_get(bar), 0xffffffff);
	bar_set(bar, 1);
	CHECK_ERR(pread(got.device, &id, 4, CONFIG), ENODEV);
	rig_down(&got);
	/* The device is free again, also for us. */
	got = rig_up();
	CHECK(rig_alive(&got));
	rig_down(&got);
}

/* Each time anew, however soon after the last. */
static void a_device_that_is_opened_again_takes_guests_again(void)
{
	for (unsigned i = 0; i < 30 && !check_failed; i++) {
		struct rig r = rig_up();
		int to, status;
		pid_t pid = start("look", &to);

		send_fds(to, &r);
		waitpid(pid, &status, 0);
		CHECK_EQ(status, 0);
		close(to);
		rig_down(&r);
	}
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		T(descriptors_of_another_process_are_known),
		T(registers_are_the_holders),
		T(memory_and_interrupts_stay_the_holders),
		T(a_coalesced_page_is_shared_by_its_name),
		T(a_foreign_descriptor_stays_foreign),
		T(a_guest_outlives_its_holder),
		T(a_device_that_is_opened_again_takes_guests_again),
	};

	if (argc > 2)
		return (strcmp(argv[1], "hold") ? look : hold)(atoi(argv[2]));
	return check_main(tests, ARRAY_SIZE(tests));
}
