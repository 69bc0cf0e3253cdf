/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refuse.h - calls of libc that a test has refused, one after the other, and what is open.
 *
 * What the device side takes from the world it takes through core/fault.h. For the host's programs
 * the linker puts the wrappers below in front of libc.
 */
#ifndef TESTS_WIRE_REFUSE_H
#define TESTS_WIRE_REFUSE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"

/* ---- what may be refused -------------------------------------------------------------------- */

static bool refuse_alone;
static __thread bool refuse_spared;	/* the test itself, where others are to be refused */

#define REFUSE_IF(cond, type, name, params, args, code, none) \
	type __real_##name params; \
	type __wrap_##name params; \
	type __wrap_##name params \
	{ \
		if (!refuse_spared && (cond) && fault_now()) { \
			errno = code; \
			return none; \
		} \
		return __real_##name args; \
	}

#define REFUSE(...) REFUSE_IF(true, __VA_ARGS__)
/* What a scripted back-end calls as well, it is not refused. */
#define REFUSE_ALONE(...) REFUSE_IF(__atomic_load_n(&refuse_alone, __ATOMIC_RELAXED), __VA_ARGS__)

REFUSE(void *, malloc, (size_t n), (n), ENOMEM, NULL)
REFUSE(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL)
REFUSE(void *, realloc, (void *p, size_t n), (p, n), ENOMEM, NULL)
REFUSE(char *, strdup, (const char *s), (s), ENOMEM, NULL)
REFUSE(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, -1)
REFUSE(int, accept4, (int fd, struct sockaddr *a, socklen_t *n, int flags), (fd, a, n, flags),
	EMFILE, -1)
REFUSE(int, eventfd, (unsigned n, int flags), (n, flags), EMFILE, -1)
REFUSE(int, epoll_create1, (int flags), (flags), EMFILE, -1)
REFUSE(void *, aligned_alloc, (size_t align, size_t n), (align, n), ENOMEM, NULL)
REFUSE_ALONE(int, ftruncate, (int fd, off_t size), (fd, size), ENOMEM, -1)
REFUSE_IF(op == EPOLL_CTL_ADD && __atomic_load_n(&refuse_alone, __ATOMIC_RELAXED), int, epoll_ctl,
	(int at, int op, int fd, struct epoll_event *e), (at, op, fd, e), ENOMEM, -1)
REFUSE_ALONE(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
REFUSE_ALONE(int, pipe2, (int *ends, int flags), (ends, flags), EMFILE, -1)
REFUSE_ALONE(int, timerfd_create, (int clock, int flags), (clock, flags), EMFILE, -1)
REFUSE_ALONE(void *, mmap, (void *at, size_t n, int prot, int flags, int fd, off_t off),
	(at, n, prot, flags, fd, off), ENOMEM, MAP_FAILED)
REFUSE_ALONE(int, pthread_create, (pthread_t *t, const pthread_attr_t *a, void *(*fn)(void *),
	void *arg), (t, a, fn, arg), EAGAIN, EAGAIN)
REFUSE_ALONE(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode), EMFILE, -1)
REFUSE_ALONE(int, openat, (int dir, const char *path, int flags, mode_t mode),
	(dir, path, flags, mode), EMFILE, -1)

/* Descriptors there is no room for are closed by the kernel, which says so. */
ssize_t __real_recvmsg(int fd, struct msghdr *h, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *h, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *h, int flags)
{
	ssize_t n = __real_recvmsg(fd, h, flags);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(h) : NULL;
	int came;

	if (!c || c->cmsg_type != SCM_RIGHTS || refuse_spared ||
	    !__atomic_load_n(&refuse_alone, __ATOMIC_RELAXED) || !fault_now())
		return n;
	for (size_t at = CMSG_LEN(0); at < c->cmsg_len; at += sizeof(came)) {
		memcpy(&came, (uint8_t *)c + at, sizeof(came));
		close(came);
	}
	h->msg_controllen = 0;
	h->msg_flags |= MSG_CTRUNC;
	return n;
}

/* ---- the ledger ----------------------------------------------------------------------------- */

#define FD_WATCHED 4096

struct ledger {
	bool     open[FD_WATCHED];
	unsigned kept;
};

static void ledger_take(struct ledger *l)
{
	for (int fd = 0; fd < FD_WATCHED; fd++)
		l->open[fd] = fcntl(fd, F_GETFD) >= 0;
	l->kept = fd_kept_count();
}

static bool ledger_same(const struct ledger *l)
{
	for (int fd = 0; fd < FD_WATCHED; fd++)
		if (l->open[fd] != (fcntl(fd, F_GETFD) >= 0))
			return false;
	return l->kept == fd_kept_count();
}

/* Threads that are ending may hold theirs for a moment. */
static bool ledger_same_soon(const struct ledger *l)
{
	for (unsigned i = 0; i < 500; i++) {
		if (ledger_same(l))
			return true;
		usleep(2000);
	}
	return false;
}

#endif
