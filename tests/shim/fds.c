// SPDX-License-Identifier: Apache-2.0
// fds.c - descriptors copied, closed, forked and inherited in every way programs do it.
#include <dirent.h>
#include <linux/close_range.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/syscall.h>

#include "tests/shim/rig.h"

#define HIGH 400		/* below the numbers the device keeps its own at */
#define KEPT_FROM 512
#define FDS_MAX 2048
#define THREADS 4
#define ROUNDS 3000

extern char **environ;

/* Descriptors from `low` up, as the kernel has them, without the one that looks. */
static unsigned count_fds(int low, int *first)
{
	DIR *d = opendir("/proc/self/fd");
	struct dirent *e;
	unsigned n = 0;

	while ((e = readdir(d))) {
		int fd = atoi(e->d_name);

		if (e->d_name[0] == '.' || fd == dirfd(d) || fd < low)
			continue;
		if (first && !n)
			*first = fd;
		n++;
	}
	closedir(d);
	return n;
}

static void foreign_calls_fail_as_without_us(void)
{
	char c;

	CHECK_ERR(close(-1), EBADF);
	CHECK_ERR(close(1 << 20), EBADF);
	CHECK_ERR(dup(-1), EBADF);
	CHECK_ERR(dup2(700, 5), EBADF);
	CHECK_ERR(dup3(0, 0, 0), EINVAL);
	CHECK_ERR(read(-1, &c, 1), EBADF);
	CHECK_ERR(pread(70000, &c, 1, 0), EBADF);
	CHECK_ERR(ioctl(-1, VFIO_GET_API_VERSION), EBADF);
	CHECK_ERR(open("/dev/vfiox", O_RDONLY), ENOENT);
	CHECK_ERR(open("", O_RDONLY), ENOENT);
	CHECK_ERR(fcntl(-1, F_GETFD), EBADF);
	CHECK_ERR(close_range(5, 4, 0), EINVAL);
	CHECK_ERR(munmap((void *)1, 1), EINVAL);
}

static void success_leaves_errno_alone(void)
{
	struct rig r;
	volatile uint8_t *bar;
	uint32_t val;
	int d;

	errno = EDOM;
	r = rig_up();
	bar = rig_bar(&r);
	bar_works(bar);
	d = dup(r.device);
	pread(d, &val, 4, CONFIG);
	lseek(d, CONFIG, SEEK_SET);
	read(d, &val, 4);
	close(d);
	ioctl(r.device, VFIO_DEVICE_RESET);
	munmap((void *)bar, PAGE);
	rig_down(&r);
	CHECK_EQ(errno, EDOM);
}

static void a_copy_is_the_same_file(void)
{
	struct rig r = rig_up();
	struct rig copy = r;
	uint16_t vendor = 0;

	copy.device = dup(r.device);
	CHECK(rig_alive(&copy));
	CHECK_EQ(close(r.device), 0);
	CHECK(rig_alive(&copy));
	CHECK_EQ(dup2(copy.device, HIGH), HIGH);
	close(copy.device);
	copy.device = fcntl(HIGH, F_DUPFD_CLOEXEC, HIGH);
	CHECK_EQ(copy.device, HIGH + 1);
	close(HIGH);
	CHECK(rig_alive(&copy));
	CHECK_EQ(lseek(copy.device, CONFIG, SEEK_SET), CONFIG);
	CHECK_EQ(dup3(copy.device, HIGH, O_CLOEXEC), HIGH);
	CHECK_EQ(read(HIGH, &vendor, 2), 2);
	CHECK_EQ(lseek(copy.device, 0, SEEK_CUR), CONFIG + 2);
	CHECK_EQ(dup2(copy.device, copy.device), copy.device);
	CHECK_ERR(dup3(copy.device, copy.device, 0), EINVAL);
	close(HIGH);
	rig_down(&copy);
	CHECK_ERR(read(HIGH, &vendor, 2), EBADF);
}

static void a_foreign_file_over_ours_closes_it(void)
{
	struct rig r = rig_up();
	int pipes[2], g;

	CHECK_EQ(pipe(pipes), 0);
	CHECK_EQ(dup2(pipes[1], r.device), r.device);
	CHECK_EQ(write(r.device, "x", 1), 1);		/* it is the pipe now */
	CHECK_EQ(dup2(pipes[1], r.group), r.group);
	g = open("/dev/vfio/1", O_RDWR);
	CHECK(g >= 0);					/* and the group is free */
	close(g);
	rig_down(&r);
	close(pipes[0]);
	close(pipes[1]);
}

static void closing_ranges_spares_what_the_device_needs(void)
{
	struct rig r = rig_up();
	unsigned before;
	int kept = -1;

	r.device = fcntl(r.device, F_DUPFD, HIGH);
	before = count_fds(KEPT_FROM, &kept);
	CHECK(before > 0);
	CHECK_ERR(close(kept), EBADF);
	CHECK_ERR(dup2(r.device, kept), EBUSY);
	CHECK_EQ(close_range(3, HIGH - 1, 0), 0);
	CHECK_EQ(close_range(HIGH + 1, ~0u, 0), 0);
	CHECK_EQ(count_fds(KEPT_FROM, NULL), before);
	CHECK(rig_alive(&r));
	CHECK_EQ(close_range(3, ~0u, CLOSE_RANGE_CLOEXEC), 0);
	CHECK(rig_alive(&r));
	closefrom(3);
	CHECK_ERR(fcntl(r.device, F_GETFD), EBADF);
	CHECK_EQ(count_fds(3, NULL), count_fds(KEPT_FROM, NULL));
	r = rig_up();
	CHECK(rig_alive(&r));
	rig_down(&r);
}

static void nothing_is_left_open(void)
{
	unsigned before = count_fds(0, NULL);

	for (unsigned i = 0; i < 5; i++) {
		struct rig r = rig_up();

		rig_down(&r);
	}
	CHECK_EQ(count_fds(0, NULL), before);
}

static struct rig forked;
static volatile uint8_t *forked_bar;

static void look_as_child(void)
{
	struct vfio_device_info info = { .argsz = sizeof(info) };
	uint16_t vendor;

	CHECK_ERR(pread(forked.device, &vendor, 2, CONFIG), ENODEV);
	CHECK_ERR(ioctl(forked.device, VFIO_DEVICE_GET_INFO, &info), ENODEV);
	CHECK_EQ(bar_get(forked_bar), ~0u);
	CHECK_EQ(close(forked.device), 0);
	CHECK_EQ(close(forked.group), 0);
	CHECK_EQ(munmap((void *)forked_bar, PAGE), 0);
	CHECK(open("/dev/vfio/vfio", O_RDWR) < 0);
}

static void a_forked_child_has_no_device_and_harms_none(void)
{
	forked = rig_up();
	forked_bar = rig_bar(&forked);
	CHECK_EQ(in_child(look_as_child), 0);
	CHECK(rig_alive(&forked));
	CHECK(bar_works(forked_bar));
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), EBUSY);
	munmap((void *)forked_bar, PAGE);
	rig_down(&forked);
}

static void use_as_child(void)
{
	struct rig r = rig_up();

	CHECK(rig_alive(&r));
	rig_down(&r);
}

/* A daemon looks around, forks and then starts its driver. */
static void a_child_forked_before_the_device_has_its_own(void)
{
	CHECK_EQ(access("/dev/vfio/1", F_OK), 0);
	CHECK_EQ(in_child(use_as_child), 0);
	use_as_child();
	CHECK_EQ(in_child(use_as_child), 0);
}

/* The child has our memory and its own descriptors: what it closes is closed for it alone. */
static void a_vfork_child_may_close_everything(void)
{
	struct rig r = rig_up();
	int status = -1;
	pid_t pid = vfork();

	if (!pid) {
		close(r.device);
		dup2(0, r.group);
		for (int fd = 3; fd < FDS_MAX; fd++)
			close(fd);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK(rig_alive(&r));
	CHECK_ERR(open("/dev/vfio/1", O_RDWR), EBUSY);
	rig_down(&r);
}

static int spawn_lister(void)
{
	static char name[] = "fds", list[] = "list";
	char *const argv[] = { name, list, NULL };
	int status = -1;
	pid_t pid;

	if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ))
		return -1;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status);
}

static void a_new_program_inherits_none_of_ours(void)
{
	int before = spawn_lister(), status = -1;
	struct rig r = rig_up();
	pid_t pid;

	CHECK_EQ(spawn_lister(), before);
	pid = fork();
	if (!pid) {
		execl("/proc/self/exe", "fds", "list", NULL);
		_exit(99);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(WEXITSTATUS(status), before);
	CHECK(rig_alive(&r));
	rig_down(&r);
}

static struct rig busy;

static void *churn(void *arg)
{
	long bad = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct rig copy = busy;
		int foreign = open("/dev/null", O_RDWR);

		copy.device = dup(busy.device);
		bad += copy.device < 0 || !rig_alive(&copy);
		bad += write(foreign, "x", 1) != 1;
		bad += close(copy.device) != 0;
		bad += close(foreign) != 0;
	}
	return (void *)bad;
}

static void threads_copy_and_close_at_once(void)
{
	pthread_t threads[THREADS];
	void *bad;

	busy = rig_up();
	for (unsigned i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, churn, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &bad);
		CHECK_EQ((long)bad, 0);
	}
	CHECK(rig_alive(&busy));
	rig_down(&busy);
}

static void *fork_much(void *arg)
{
	long bad = 0;

	for (unsigned i = 0; i < 50; i++) {
		int status = -1;
		pid_t pid = fork();

		if (!pid)
			_exit(0);
		bad += waitpid(pid, &status, 0) != pid || status;
	}
	return (void *)bad;
}

static void threads_fork_while_others_use_the_device(void)
{
	pthread_t user, forker;
	void *bad;

	busy = rig_up();
	pthread_create(&user, NULL, churn, NULL);
	pthread_create(&forker, NULL, fork_much, NULL);
	pthread_join(user, &bad);
	CHECK_EQ((long)bad, 0);
	pthread_join(forker, &bad);
	CHECK_EQ((long)bad, 0);
	rig_down(&busy);
}

int main(int argc, char **argv)
{
	static const struct check_test tests[] = {
		T(foreign_calls_fail_as_without_us),
		T(success_leaves_errno_alone),
		T(a_copy_is_the_same_file),
		T(a_foreign_file_over_ours_closes_it),
		T(nothing_is_left_open),
		T(a_forked_child_has_no_device_and_harms_none),
		T(a_child_forked_before_the_device_has_its_own),
		T(a_vfork_child_may_close_everything),
		T(a_new_program_inherits_none_of_ours),
		T(threads_copy_and_close_at_once),
		T(threads_fork_while_others_use_the_device),
		T(closing_ranges_spares_what_the_device_needs),
	};

	if (argc > 1)		/* spawn_lister */
		return (int)count_fds(0, NULL);
	return check_main(tests, ARRAY_SIZE(tests));
}
