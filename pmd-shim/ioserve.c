// SPDX-License-Identifier: Apache-2.0
// ioserve.c - the holder's side of ioremote.h: a thread that sleeps until a guest asks.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "include/ioapi.h"
#include "pmd-shim/coalesce.h"
#include "pmd-shim/func.h"
#include "pmd-shim/ioremote.h"
#include "pmd-shim/shim.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/loop.h"
#include "sim/core/sys.h"

#define GUESTS_MAX 32
#define BACKLOG    16
#define AT_ONCE    64			/* requests of one guest before another has its turn */
#define NAME_TRIES 500			/* a millisecond each, for the name to be free */

/* Sources are linked to the loop for ever, so both live in pools. */
static struct listener {
	struct loop_source s;
	struct ioapi_func *f;		/* NULL: free */
} listeners[FUNCS_MAX];

static struct guest {
	struct loop_source s;
	struct ioapi_func *f;		/* NULL: free; set and cleared by the loop's thread */
	int                fd;
} guests[GUESTS_MAX];

static struct loop *loop;

/* ---- requests ------------------------------------------------------------------------------ */

struct answer {
	struct remote_reply r;
	int fd;				/* to send along, -1: none; stays ours */
};

static void do_read(struct ioapi_func *f, const struct remote_request *q, struct answer *a)
{
	a->r.rc = ioapi_read(f, q->region, q->off, q->size, &a->r.val);
}

static void do_write(struct ioapi_func *f, const struct remote_request *q, struct answer *a)
{
	a->r.rc = ioapi_write(f, q->region, q->off, q->size, q->val);
}

static void do_reset(struct ioapi_func *f, const struct remote_request *q, struct answer *a)
{
	a->r.rc = ioapi_reset(f);
}

static void do_memory(struct ioapi_func *f, const struct remote_request *q, struct answer *a)
{
	a->r.rc = coalesce_origin((dev_t)q->dev, q->ino, q->off, q->len, &a->fd, &a->r.val);
}

static void (*const ops[REMOTE_OPS])(struct ioapi_func *f, const struct remote_request *q,
				     struct answer *a) = {
	[REMOTE_READ] = do_read,
	[REMOTE_WRITE] = do_write,
	[REMOTE_RESET] = do_reset,
	[REMOTE_MEMORY] = do_memory,
};

/* A guest that does not take its reply is cut off. */
static bool reply(int to, struct answer *a)
{
	FD_CONTROL(1) control;
	struct iovec io = { .iov_base = &a->r, .iov_len = sizeof(a->r) };
	struct msghdr m = { .msg_iov = &io, .msg_iovlen = 1 };

	if (a->fd >= 0 && !a->r.rc)
		fd_send_with(&m, &control, &a->fd, 1);
	return sys_call(SYS_sendmsg, to, &m, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof(a->r);
}

static void guest_drop(struct guest *g)
{
	loop_watch(loop, &g->s, -1);
	fd_drop(&g->fd);
	__atomic_store_n(&g->f, NULL, __ATOMIC_RELEASE);
}

/* False: there was no whole request. */
static bool serve_one(struct guest *g, bool *gone)
{
	struct remote_request q;
	struct answer a = { .fd = -1 };
	long n = sys_call(SYS_recvfrom, g->fd, &q, sizeof(q), MSG_DONTWAIT | MSG_TRUNC, NULL, NULL);

	if (n == -EAGAIN || n == -EINTR)
		return false;
	*gone = n != sizeof(q) || q.op >= REMOTE_OPS;
	if (*gone)
		return false;
	ops[q.op](g->f, &q, &a);
	*gone = !reply(g->fd, &a);
	return !*gone;
}

static void guest_ready(struct loop_source *s, uint32_t events)
{
	struct guest *g = (struct guest *)s;
	bool gone = false;

	if (!g->f)
		return;
	for (unsigned i = 0; i < AT_ONCE && serve_one(g, &gone); i++)
		;
	if (gone || (events & POLLNVAL))
		guest_drop(g);
}

static void guest_new(struct ioapi_func *f, int fd)
{
	for (unsigned i = 0; i < GUESTS_MAX; i++) {
		struct guest *g = &guests[i];

		if (g->f)
			continue;
		g->fd = fd_keep(fd);
		if (g->fd < 0)
			return;
		g->s.ready = guest_ready;
		__atomic_store_n(&g->f, f, __ATOMIC_RELEASE);
		loop_watch(loop, &g->s, g->fd);
		return;
	}
	sys_call(SYS_close, fd);
}

static void listener_ready(struct loop_source *s, uint32_t events)
{
	struct listener *l = (struct listener *)s;
	struct ioapi_func *f = __atomic_load_n(&l->f, __ATOMIC_ACQUIRE);
	long fd;

	if (!f || s->fd < 0)
		return;
	fd = sys_call(SYS_accept4, s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return;
	if (remote_trusts((int)fd))
		guest_new(f, (int)fd);
	else
		sys_call(SYS_close, (int)fd);
}

/* ---- showing and hiding -------------------------------------------------------------------- */

static int start(void)
{
	int rc = 0;

	if (loop)
		return 0;
	for (unsigned i = 0; i < FUNCS_MAX; i++)
		listeners[i].s.fd = -1;
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		guests[i].s.fd = guests[i].fd = -1;
	rc = loop_new(&loop);
	if (!rc)
		rc = loop_start(loop);
	if (rc && loop) {
		loop_free(loop);
		loop = NULL;
	}
	return rc;
}

/*
 * Whoever had the function before us gave it up before its name: our own loop may still be on its
 * way out of a poll of that socket, a process that ends closes its lock first.
 */
static int bind_name(int fd, const struct ioapi_func *f)
{
	static const struct timespec nap = { .tv_nsec = 1000000 };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char name[REMOTE_NAME_MAX];
	int len = remote_name(f, name);
	long rc = -EADDRINUSE;

	if (len < 0)
		return len;
	memcpy(a.sun_path, name, (size_t)len);
	for (unsigned i = 0; rc == -EADDRINUSE && i < NAME_TRIES; i++) {
		if (i)
			sys_call(SYS_nanosleep, &nap, NULL);
		rc = sys_call(SYS_bind, fd, &a, offsetof(struct sockaddr_un, sun_path) + len);
	}
	return (int)rc;
}

static int listen_on(const struct ioapi_func *f)
{
	long fd = sys_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	long rc;

	if (fd < 0)
		return (int)fd;
	rc = bind_name((int)fd, f);
	if (!rc)
		rc = sys_call(SYS_listen, (int)fd, BACKLOG);
	if (rc < 0) {
		sys_call(SYS_close, (int)fd);
		return (int)rc;
	}
	return fd_keep((int)fd);
}

static struct listener *free_listener(void)
{
	for (unsigned i = 0; i < FUNCS_MAX; i++)
		if (!listeners[i].f)
			return &listeners[i];
	return NULL;
}

static void tell_hidden(const struct ioapi_func *f, int rc)
{
	struct ioapi_ident ident;

	ioapi_ident(f, &ident);
	log_warn(ident.id, "other processes cannot use the device through this one: %s",
		 strerror(-rc));
}

void remote_show(struct ioapi_func *f, int *listen_fd)
{
	struct listener *l;
	int rc = start();

	l = rc ? NULL : free_listener();
	if (!rc)
		rc = l ? listen_on(f) : -EMFILE;
	*listen_fd = rc < 0 ? -1 : rc;
	if (rc < 0) {
		tell_hidden(f, rc);
		return;
	}
	l->s.ready = listener_ready;
	__atomic_store_n(&l->f, f, __ATOMIC_RELEASE);
	loop_watch(loop, &l->s, *listen_fd);
}

void remote_hide(int *listen_fd)
{
	for (unsigned i = 0; loop && *listen_fd >= 0 && i < FUNCS_MAX; i++) {
		if (!listeners[i].f || listeners[i].s.fd != *listen_fd)
			continue;
		loop_watch(loop, &listeners[i].s, -1);
		__atomic_store_n(&listeners[i].f, NULL, __ATOMIC_RELEASE);
	}
	fd_drop(listen_fd);
}

void remote_child(void)
{
	if (!loop)
		return;
	loop_orphan(loop);
	for (unsigned i = 0; i < GUESTS_MAX; i++)
		fd_drop(&guests[i].fd);
	memset(listeners, 0, sizeof(listeners));
	memset(guests, 0, sizeof(guests));
	loop = NULL;
}
