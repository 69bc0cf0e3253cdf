/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refuse.h - has the n-th thing asked of the world refused: memory, a descriptor, a thread.
 *
 * System calls, whoever makes them, go through a filter to a thread of this process that lets them
 * pass or not (seccomp_unotify(2)). Calls of the allocator are refused to the preload library
 * alone: the program's own malloc() comes before libc's.
 */
#ifndef TESTS_SHIM_REFUSE_H
#define TESTS_SHIM_REFUSE_H

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "sim/core/fault.h"
#include "tests/shim/check.h"

static const struct refusal {
	const char *name;
	int nr, code;
	int arg1;			/* the second argument must be this; 0: anything */
} refusals[] = {
	{ "mmap", SYS_mmap, ENOMEM, 0 },
	{ "mremap", SYS_mremap, ENOMEM, 0 },
	{ "ftruncate", SYS_ftruncate, ENOMEM, 0 },
	{ "clone", SYS_clone, EAGAIN, 0 },
	{ "clone3", SYS_clone3, EAGAIN, 0 },
	{ "open", SYS_open, EMFILE, 0 },
	{ "openat", SYS_openat, EMFILE, 0 },
	{ "dup", SYS_dup, EMFILE, 0 },
	{ "F_DUPFD_CLOEXEC", SYS_fcntl, EMFILE, F_DUPFD_CLOEXEC },
	{ "memfd_create", SYS_memfd_create, EMFILE, 0 },
	{ "eventfd", SYS_eventfd2, EMFILE, 0 },
	{ "epoll_create", SYS_epoll_create1, EMFILE, 0 },
	{ "epoll_ctl", SYS_epoll_ctl, ENOMEM, 0 },
	{ "socket", SYS_socket, EMFILE, 0 },
	{ "socketpair", SYS_socketpair, EMFILE, 0 },
	{ "accept", SYS_accept4, EMFILE, 0 },
};

static const char *refuse_struck;

static bool refuse_now(const char *what)
{
	if (!fault_now())
		return false;
	__atomic_store_n(&refuse_struck, what, __ATOMIC_RELEASE);
	return true;
}

/* The n-th request from now (1: the next) is refused, once. */
static void refuse_arm(unsigned n)
{
	refuse_struck = NULL;
	fault_arm(n);
}

/* What was refused, or NULL; nothing is from here on. */
static const char *refuse_end(void)
{
	fault_arm(0);
	return __atomic_load_n(&refuse_struck, __ATOMIC_ACQUIRE);
}

/* ---- the allocator ------------------------------------------------------------------------- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static uintptr_t refuse_from, refuse_to;	/* the library's code */

static bool refuse_memory(const char *what, const void *caller)
{
	if ((uintptr_t)caller - refuse_from >= refuse_to - refuse_from || !refuse_now(what))
		return false;
	errno = ENOMEM;
	return true;
}

#define REFUSE_MEMORY(name, params, args) \
	__attribute__((visibility("default"))) void *name params \
	{ \
		return refuse_memory(#name, __builtin_return_address(0)) ? NULL : \
		       __libc_##name args; \
	}

REFUSE_MEMORY(malloc, (size_t n), (n))
REFUSE_MEMORY(calloc, (size_t n, size_t size), (n, size))
REFUSE_MEMORY(realloc, (void *p, size_t n), (p, n))

/* The executable mapping of the library, of which `inside` is a function. */
static void refuse_find(const void *inside)
{
	unsigned long from, to;
	char line[512], mode[8];
	FILE *f = fopen("/proc/self/maps", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s", &from, &to, mode) == 3 && mode[2] == 'x' &&
		    (uintptr_t)inside >= from && (uintptr_t)inside < to) {
			refuse_from = from;
			refuse_to = to;
		}
	if (f)
		fclose(f);
}

/* ---- system calls -------------------------------------------------------------------------- */

#define REFUSE_N ARRAY_SIZE(refusals)

static int refuse_fd = -1;		/* where the kernel asks */

static const struct refusal *refusal_of(const struct seccomp_notif *q)
{
	for (size_t i = 0; i < REFUSE_N; i++)
		if (refusals[i].nr == q->data.nr &&
		    (!refusals[i].arg1 || refusals[i].arg1 == (int)q->data.args[1]))
			return &refusals[i];
	return NULL;
}

static void *refuse_main(void *arg)
{
	int *fd = arg;

	while (__atomic_load_n(fd, __ATOMIC_ACQUIRE) < 0)
		sched_yield();
	for (;;) {
		struct seccomp_notif q = { 0 };
		struct seccomp_notif_resp a = { 0 };
		const struct refusal *r;

		if (syscall(SYS_ioctl, *fd, SECCOMP_IOCTL_NOTIF_RECV, &q) < 0)
			continue;
		r = refusal_of(&q);
		a.id = q.id;
		if (r && refuse_now(r->name))
			a.error = -r->code;
		else
			a.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		syscall(SYS_ioctl, *fd, SECCOMP_IOCTL_NOTIF_SEND, &a);
	}
	return NULL;
}

static int refuse_filter(void)
{
	struct sock_filter code[4 * REFUSE_N + 4], *p = code;
	struct sock_fprog prog = { .filter = code };

	for (size_t i = 0; i < REFUSE_N; i++) {
		const struct refusal *r = &refusals[i];

		*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
						    offsetof(struct seccomp_data, nr));
		*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)r->nr, 0,
						    r->arg1 ? 3 : 1);
		if (r->arg1) {
			*p++ = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
				offsetof(struct seccomp_data, args[1]));
			*p++ = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
							    (unsigned)r->arg1, 0, 1);
		}
		*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
	}
	*p++ = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	prog.len = (unsigned short)(p - code);
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	return (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			    SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
}

/* This thread, and what it starts, can be refused things from now on; `inside`: the library's. */
static bool refuse_begin(const void *inside)
{
	pthread_t judge;
	int fd;

	refuse_find(inside);
	if (pthread_create(&judge, NULL, refuse_main, &refuse_fd))
		return false;
	fd = refuse_filter();
	__atomic_store_n(&refuse_fd, fd, __ATOMIC_RELEASE);
	return fd >= 0;
}

#endif
