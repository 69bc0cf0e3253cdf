// SPDX-License-Identifier: Apache-2.0
// fd.c - the ledger is a bitmap per process, as descriptors are: looked up without a lock.
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <time.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"

#define FLOOR_MAX 512		/* applications that count descriptors stay below it */
#define WORD_BITS (8 * sizeof(unsigned long))

static unsigned long ledger[FD_LEDGER_MAX / WORD_BITS];
static unsigned kept;

static void enter(int fd)
{
	__atomic_add_fetch(&kept, 1, __ATOMIC_RELAXED);
	if (fd < FD_LEDGER_MAX)
		__atomic_or_fetch(&ledger[(unsigned)fd / WORD_BITS],
				  1ul << ((unsigned)fd % WORD_BITS), __ATOMIC_RELAXED);
}

static void forget(int fd)
{
	__atomic_sub_fetch(&kept, 1, __ATOMIC_RELAXED);
	if (fd < FD_LEDGER_MAX)
		__atomic_and_fetch(&ledger[(unsigned)fd / WORD_BITS],
				   ~(1ul << ((unsigned)fd % WORD_BITS)), __ATOMIC_RELAXED);
}

/* The limit may change while we run, and a floor at or above it would make every dup fail. */
static unsigned floor_now(void)
{
	struct rlimit lim;

	if (sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) < 0)
		return 3;
	if (lim.rlim_cur / 2 < 3)
		return 3;
	return lim.rlim_cur / 2 < FLOOR_MAX ? (unsigned)(lim.rlim_cur / 2) : FLOOR_MAX;
}

int fd_keep_dup(int fd)
{
	long got;

	if (fault_now())
		return -EMFILE;
	got = sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, floor_now());
	if (got >= 0)
		enter((int)got);
	return (int)got;
}

int fd_keep(int fd)
{
	int got = fd_keep_dup(fd);

	sys_call(SYS_close, fd);
	return got;
}

int fd_keep_event(void)
{
	long fd = sys_call(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);

	return fd < 0 ? (int)fd : fd_keep((int)fd);
}

/*
 * Forgotten before it is closed: the other way round, another thread could be given the same
 * number and lose its entry to us.
 */
void fd_drop(int *fd)
{
	int old = *fd;

	*fd = -1;
	if (old < 0)
		return;
	forget(old);
	sys_call(SYS_close, old);
}

bool fd_is_kept(int fd)
{
	return fd >= 0 && fd < FD_LEDGER_MAX &&
	       (__atomic_load_n(&ledger[(unsigned)fd / WORD_BITS], __ATOMIC_RELAXED) >>
		((unsigned)fd % WORD_BITS) & 1);
}

unsigned fd_kept_count(void)
{
	return __atomic_load_n(&kept, __ATOMIC_RELAXED);
}

bool fd_is_lack(long rc)
{
	return rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM || rc == -ENOBUFS;
}

bool fd_is_event(int fd)
{
	static const char want[] = "anon_inode:[eventfd]";
	char path[32], is[sizeof(want)];
	long n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = sys_call(SYS_readlinkat, AT_FDCWD, path, is, sizeof(is));
	return n < 0 || (n == sizeof(want) - 1 && !memcmp(is, want, sizeof(want) - 1));
}

/* A full counter (EAGAIN) needs no signal: it is readable already. */
void fd_signal(int fd)
{
	uint64_t one = 1;

	if (fd >= 0)
		sys_call(SYS_write, fd, &one, sizeof(one));
}

bool fd_drain(int fd)
{
	uint64_t n;

	return fd_readable(fd) && sys_call(SYS_read, fd, &n, sizeof(n)) == sizeof(n);
}

bool fd_readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec now = { 0 };

	return fd >= 0 && sys_call(SYS_ppoll, &p, 1, &now, NULL, 0) == 1 && (p.revents & POLLIN);
}

/* ---- over Unix sockets ---------------------------------------------------------------------- */

void fd_send_with(struct msghdr *m, void *control, const int *fds, unsigned n)
{
	struct cmsghdr head = {
		.cmsg_len = CMSG_LEN(n * sizeof(int)), .cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	};

	memset(control, 0, CMSG_SPACE(n * sizeof(int)));
	memcpy(control, &head, sizeof(head));
	memcpy(CMSG_DATA((struct cmsghdr *)control), fds, n * sizeof(int));
	m->msg_control = control;
	m->msg_controllen = CMSG_SPACE(n * sizeof(int));
}

void fd_each(struct msghdr *m, void (*show)(void *arg, int fd), void *arg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n;
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    c->cmsg_len < CMSG_LEN(0))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			show(arg, fd);
		}
	}
}

struct taken {
	int *fds;
	unsigned n, max;
};

static void take_one(void *arg, int fd)
{
	struct taken *t = arg;

	if (t->n < t->max)
		t->fds[t->n] = fd;
	else
		sys_call(SYS_close, fd);
	t->n++;
}

unsigned fd_take(struct msghdr *m, int *fds, unsigned max)
{
	struct taken t = { .fds = fds, .max = max };

	fd_each(m, take_one, &t);
	return t.n;
}
