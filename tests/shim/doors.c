// SPDX-License-Identifier: Apache-2.0
// doors.c - sysfs files, ports and /dev/uioN of a transitional device on uio_pci_generic (BDF0)
// and of a modern one on nothing (BDF1).
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "tests/shim/check.h"

#define DEVICES "/sys/bus/pci/devices/"
#define BDF0 "0000:00:04.0"
#define BDF1 "0000:00:05.0"
#define PAGE 4096
#define STATUS_OFF 20		/* of device_status in the modern common configuration */

static unsigned port;			/* BAR0 of BDF0 */

static unsigned command_of(const char *bdf, int mode)
{
	char path[96];
	uint16_t command = 0;
	int fd;

	snprintf(path, sizeof(path), DEVICES "%s/config", bdf);
	fd = open(path, mode);
	CHECK_EQ(pread(fd, &command, 2, PCI_COMMAND), 2);
	close(fd);
	return command;
}

/* In a child: a function that is opened stays its process's. */
static void resource_is_mapped(void)
{
	int fd = open(DEVICES BDF1 "/resource4", O_RDWR);
	volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint8_t status = 0xff;

	CHECK(p != MAP_FAILED);
	p[STATUS_OFF] = 1;
	CHECK_EQ(p[STATUS_OFF], 1);
	CHECK_EQ(pread(fd, &status, 1, STATUS_OFF), 1);
	CHECK_EQ(status, 1);
	status = 0;
	CHECK_EQ(pwrite(fd, &status, 1, STATUS_OFF), 1);
	close(fd);
	CHECK_EQ(p[STATUS_OFF], 0);	/* without its descriptor too */
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
}

static void a_resource_is_mapped_read_and_written(void)
{
	CHECK_EQ(in_child(resource_is_mapped), 0);
}

static void other_spellings(void)
{
	int dir = open(DEVICES BDF1, O_RDONLY | O_DIRECTORY), fd;
	uint32_t id = 0;

	fd = openat(dir, "config", O_RDWR);
	CHECK_EQ(pread(fd, &id, 4, 0), 4);
	CHECK_EQ(id, 0x10411af4);
	CHECK_ERR(pread(fd, &id, 4, 4096), EINVAL);	/* ours: the file would say 0 */
	close(fd);
	CHECK_EQ(chdir(DEVICES "../devices/" BDF1), 0);
	fd = open("resource4", O_RDWR);
	CHECK_EQ(pread(fd, &id, 1, STATUS_OFF), 1);
	close(fd);
	close(dir);
}

static void a_file_is_found_by_any_of_its_names(void)
{
	CHECK_EQ(in_child(other_spellings), 0);
}

static void writes_config(void)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	int fd = open(DEVICES BDF1 "/config", O_RDWR);

	CHECK_EQ(pwrite(fd, &command, 2, PCI_COMMAND), 2);
	CHECK_EQ(command_of(BDF1, O_RDONLY), PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	close(fd);
	fd = open(DEVICES BDF1 "/config", O_RDONLY);
	CHECK_ERR(pwrite(fd, &command, 2, PCI_COMMAND), EBADF);
	close(fd);
	fd = open(DEVICES BDF1 "/enable", O_RDWR);
	CHECK_EQ(write(fd, "0\n", 2), 2);
	CHECK_EQ(command_of(BDF1, O_RDONLY), PCI_COMMAND_MASTER);
	CHECK_EQ(write(fd, "1\n", 2), 2);
	CHECK_EQ(command_of(BDF1, O_RDONLY) & PCI_COMMAND_MEMORY, PCI_COMMAND_MEMORY);
	CHECK_ERR(write(fd, "2\n", 2), EINVAL);
	close(fd);
}

static void config_and_enable_are_live(void)
{
	CHECK_EQ(in_child(writes_config), 0);
}

/* As sysfs and UIO are: not for one process alone. Its accesses are made by the first. */
static void second_process(void)
{
	int res = open(DEVICES BDF1 "/resource4", O_RDWR), uio = open("/dev/uio0", O_RDWR);
	volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, res, 0);

	CHECK(uio >= 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(p[STATUS_OFF], 1);
	p[STATUS_OFF] = 3;
	CHECK_EQ(iopl(3), 0);
	CHECK_EQ(inb((unsigned short)(port + VIRTIO_PCI_STATUS)), 1);
	outb(3, (unsigned short)(port + VIRTIO_PCI_STATUS));
	close(uio);
}

static void first_process(void)
{
	uint16_t command = PCI_COMMAND_MASTER | PCI_COMMAND_IO;
	int status, uio = open("/dev/uio0", O_RDWR), res = open(DEVICES BDF1 "/resource4", O_RDWR);
	int cfg = open(DEVICES BDF0 "/config", O_RDWR);
	volatile uint8_t *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, res, 0);
	pid_t pid;

	CHECK(uio >= 0);
	CHECK(p != MAP_FAILED);
	CHECK_EQ(pwrite(cfg, &command, 2, PCI_COMMAND), 2);
	p[STATUS_OFF] = 1;
	CHECK_EQ(iopl(3), 0);
	outb(1, (unsigned short)(port + VIRTIO_PCI_STATUS));
	/* A process of its own, not a fork: those are orphans. */
	fflush(stdout);
	pid = vfork();
	if (!pid) {
		execl("/proc/self/exe", "doors", "second", (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(p[STATUS_OFF], 3);
	CHECK_EQ(inb((unsigned short)(port + VIRTIO_PCI_STATUS)), 3);
	/* That the second closed /dev/uio0 ended nothing here. */
	CHECK_EQ(pread(cfg, &command, 2, PCI_COMMAND), 2);
	CHECK_EQ(command & PCI_COMMAND_MASTER, PCI_COMMAND_MASTER);
}

static void two_processes_share_a_function(void)
{
	CHECK_EQ(in_child(first_process), 0);
}

static void absent_names(void)
{
	struct stat st;

	CHECK_ERR(open(DEVICES BDF1 "/resource0", O_RDWR), ENOENT);
	CHECK_ERR(open(DEVICES "0000:00:1f.0/resource4", O_RDWR), ENOENT);
	CHECK_ERR(open("/dev/uio1", O_RDWR), ENOENT);
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), ENOENT);	/* hangs on another driver */
	CHECK_EQ(stat("/dev/uio0", &st), 0);
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(access("/dev/uio0", R_OK | W_OK), 0);
	CHECK_EQ(stat(DEVICES BDF1 "/resource4", &st), 0);
	CHECK_EQ(st.st_size, 0x4000);
}

static void only_what_is_there_can_be_opened(void)
{
	CHECK_EQ(in_child(absent_names), 0);
}

/* ---- ports --------------------------------------------------------------------------------- */

static void ports(void)
{
	CHECK_EQ(iopl(3), 0);
	errno = 77;
	outb(0, (unsigned short)(port + VIRTIO_PCI_STATUS));
	outb_p(1, (unsigned short)(port + VIRTIO_PCI_STATUS));
	CHECK_EQ(inb((unsigned short)(port + VIRTIO_PCI_STATUS)), 1);
	CHECK_EQ(inl((unsigned short)(port + VIRTIO_PCI_QUEUE_PFN)), 0);
	outw(1, (unsigned short)(port + VIRTIO_PCI_QUEUE_SEL));
	CHECK_EQ(inw((unsigned short)(port + VIRTIO_PCI_QUEUE_SEL)), 1);
	CHECK_EQ(inw((unsigned short)(port + VIRTIO_PCI_QUEUE_NUM)), 256);
	CHECK_EQ(inb(0x80), 0xff);
	CHECK_EQ(inl(0x3f8), 0xffffffff);	/* nobody's */
	CHECK_EQ(errno, 77);
}

static void ports_reach_the_device_and_nobody_else(void)
{
	CHECK_EQ(in_child(ports), 0);
}

/* The kernel rounds a level down to what it knows; we refuse the same ones. */
static void asks_wrong(void)
{
	CHECK_ERR(iopl(4), EINVAL);
	CHECK_ERR(ioperm(65535, 2, 1), EINVAL);
	CHECK_EQ(ioperm(port, 32, 1), 0);
	CHECK_EQ(inb((unsigned short)(port + VIRTIO_PCI_STATUS)), 0);
}

static void ioperm_is_as_good_as_iopl(void)
{
	CHECK_EQ(in_child(asks_wrong), 0);
}

static void without_asking(void)
{
	inb((unsigned short)(port + VIRTIO_PCI_STATUS));
}

static void hlt(void)
{
	CHECK_EQ(iopl(3), 0);
	__asm__ volatile("hlt");
}

static void what_was_not_granted_still_kills(void)
{
	int status = in_child(without_asking);

	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	status = in_child(hlt);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

/* ---- uio ----------------------------------------------------------------------------------- */

/* There is no back-end, so no interrupt: only that waiting is possible and widths are judged. */
static void uio(void)
{
	int fd = open("/dev/uio0", O_RDWR), cfg;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	uint16_t command = PCI_COMMAND_MASTER | PCI_COMMAND_IO;
	int32_t one = 1;
	uint64_t wide;

	CHECK(fd >= 0);
	CHECK_EQ(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	CHECK_ERR(read(fd, &one, sizeof(one)), EAGAIN);
	CHECK_ERR(read(fd, &wide, sizeof(wide)), EINVAL);
	CHECK_EQ(poll(&p, 1, 0), 0);
	CHECK_ERR(write(fd, &one, sizeof(one)), ENOSYS);	/* as uio_pci_generic says */
	CHECK(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
	cfg = open("/sys/class/uio/uio0/device/config", O_RDWR);
	CHECK(cfg >= 0);
	CHECK_EQ(pwrite(cfg, &command, 2, PCI_COMMAND), 2);
	close(fd);
	CHECK_EQ(pread(cfg, &command, 2, PCI_COMMAND), 2);
	CHECK_EQ(command & PCI_COMMAND_MASTER, 0);		/* closing ended DMA */
	close(cfg);
}

static void uio_waits_and_lets_go_of_dma(void)
{
	CHECK_EQ(in_child(uio), 0);
}

static void find_port(void)
{
	FILE *f = fopen(DEVICES BDF0 "/resource", "r");

	CHECK(f && fscanf(f, "%x", &port) == 1);
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		T(a_resource_is_mapped_read_and_written),
		T(a_file_is_found_by_any_of_its_names),
		T(config_and_enable_are_live),
		T(two_processes_share_a_function),
		T(only_what_is_there_can_be_opened),
		T(ports_reach_the_device_and_nobody_else),
		T(ioperm_is_as_good_as_iopl),
		T(what_was_not_granted_still_kills),
		T(uio_waits_and_lets_go_of_dma),
	};

	find_port();
	if (argc > 1) {
		second_process();
		return check_failed != 0;
	}
	return check_main(tests, ARRAY_SIZE(tests));
}
