// SPDX-License-Identifier: Apache-2.0
// core_fd.c - kept descriptors and their ledger.
#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "tests/unit/cu.h"

static void a_kept_descriptor_is_moved_up_shielded_and_closed_on_exec(void)
{
	int raw = eventfd(0, 0), fd = fd_keep(raw);

	CU_ASSERT_TRUE(fd >= 512);
	CU_ASSERT_TRUE(fd_is_kept(fd));
	CU_ASSERT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	CU_ASSERT_TRUE(fcntl(raw, F_GETFD) < 0);
	CU_EQ(fd_kept_count(), 1);
	fd_drop(&fd);
	CU_EQ(fd, -1);
	CU_EQ(fd_kept_count(), 0);
}

static void a_duplicate_leaves_the_original_with_its_owner(void)
{
	int raw = eventfd(0, 0), fd = fd_keep_dup(raw), was = fd;

	CU_ASSERT_TRUE(fd >= 0 && fd != raw);
	CU_ASSERT_FALSE(fd_is_kept(raw));
	fd_drop(&fd);
	CU_ASSERT_FALSE(fd_is_kept(was));
	CU_ASSERT_TRUE(fcntl(was, F_GETFD) < 0);
	CU_ASSERT_TRUE(fcntl(raw, F_GETFD) >= 0);
	close(raw);
}

static void dropping_nothing_is_fine_and_odd_numbers_are_not_kept(void)
{
	int fd = -1;

	fd_drop(&fd);
	CU_EQ(fd_kept_count(), 0);
	CU_ASSERT_FALSE(fd_is_kept(-1));
	CU_ASSERT_FALSE(fd_is_kept(0));
	CU_ASSERT_FALSE(fd_is_kept(FD_LEDGER_MAX));
	CU_ASSERT_FALSE(fd_is_kept(FD_LEDGER_MAX + 1000));
}

static void a_low_limit_lowers_the_floor(void)
{
	struct rlimit was, low;
	int fd;

	getrlimit(RLIMIT_NOFILE, &was);
	low = was;
	low.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &low);
	fd = fd_keep_event();
	CU_ASSERT_TRUE(fd >= 32 && fd < 64);
	fd_drop(&fd);
	setrlimit(RLIMIT_NOFILE, &was);
}

static void running_out_is_an_error_and_leaks_nothing(void)
{
	unsigned before = fds_open();
	struct rlimit was, low;
	int fd[64], n = 0, raw = eventfd(0, 0);

	getrlimit(RLIMIT_NOFILE, &was);
	low = was;
	low.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &low);
	while (n < 64 && (fd[n] = fd_keep_dup(raw)) >= 0)
		n++;
	CU_ASSERT_TRUE(n > 0 && n <= 32);
	CU_EQ(fd[n], -EMFILE);
	CU_EQ(fd_keep(raw), -EMFILE);	/* and raw is closed */
	while (n-- > 0)
		fd_drop(&fd[n]);
	setrlimit(RLIMIT_NOFILE, &was);
	CU_EQ(fds_open(), before);
	CU_EQ(fd_kept_count(), 0);
}

static void an_armed_fault_strikes_once_at_its_number(void)
{
	int a, b, c;

	fault_arm(2);
	a = fd_keep_event();
	CU_ASSERT_TRUE(fault_armed());
	b = fd_keep_event();
	CU_ASSERT_FALSE(fault_armed());
	c = fd_keep_event();
	CU_ASSERT_TRUE(a >= 0 && c >= 0);
	CU_EQ(b, -EMFILE);
	fd_drop(&a);
	fd_drop(&c);
}

static void an_eventfd_is_signalled_seen_and_drained(void)
{
	int fd = fd_keep_event();

	CU_ASSERT_FALSE(fd_readable(fd));
	CU_ASSERT_FALSE(fd_drain(fd));
	fd_signal(fd);
	fd_signal(fd);
	CU_ASSERT_TRUE(fd_readable(fd));
	CU_ASSERT_TRUE(fd_drain(fd));
	CU_ASSERT_FALSE(fd_drain(fd));
	fd_drop(&fd);
	fd_signal(-1);
	CU_ASSERT_FALSE(fd_drain(-1));
}

static void what_is_no_eventfd_is_told_apart(void)
{
	int pipe_fd[2], fd = fd_keep_event();

	CU_EQ(pipe(pipe_fd), 0);
	CU_ASSERT_TRUE(fd_is_event(fd));
	CU_ASSERT_FALSE(fd_is_event(pipe_fd[0]));
	CU_ASSERT_FALSE(fd_is_event(pipe_fd[1]));
	CU_ASSERT_TRUE(fd_is_event(1000000));	/* whoever uses it will be told */
	close(pipe_fd[0]);
	close(pipe_fd[1]);
	fd_drop(&fd);
}

static void errno_survives_failures(void)
{
	int fd = -1;

	errno = ENOTTY;
	CU_EQ(fd_keep_dup(-1), -EBADF);
	CU_EQ(errno, ENOTTY);
	fd_drop(&fd);
	fd_signal(1000000);
	CU_EQ(errno, ENOTTY);
}

CU_MAIN("core/fd",
	T(a_kept_descriptor_is_moved_up_shielded_and_closed_on_exec),
	T(a_duplicate_leaves_the_original_with_its_owner),
	T(dropping_nothing_is_fine_and_odd_numbers_are_not_kept),
	T(a_low_limit_lowers_the_floor),
	T(running_out_is_an_error_and_leaks_nothing),
	T(an_armed_fault_strikes_once_at_its_number),
	T(an_eventfd_is_signalled_seen_and_drained),
	T(what_is_no_eventfd_is_told_apart),
	T(errno_survives_failures))
