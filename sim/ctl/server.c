// SPDX-License-Identifier: Apache-2.0
// server.c - see server.h.
//
// It also runs inside other people's processes (the preload library): descriptors are kept ones,
// system calls are made past libc's names, and nothing of the process is changed.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"
#include "sim/ctl/frame.h"
#include "sim/ctl/server.h"

#define PARSE_BYTES_MAX (1u << 20)	/* memory one parsed request may take */
#define LISTENER UINT32_MAX

struct client {
	int fd;				/* -1: free */
	struct ctl_buf in, out;
	uint64_t since_ms;		/* of a request begun or replies unread; 0: neither */
};

struct ctl_server {
	int listen_fd, epoll_fd;
	char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	ctl_handler handle;
	void *owner;
	struct client client[CTL_CLIENTS_MAX];
};

struct ctl_call {
	struct client *client;
	struct err e;
	bool overflow;
};

/* ---- parsing within a budget --------------------------------------------------------------- */

static void *budget_alloc(void *left, size_t n)
{
	size_t *have = left;

	if (n > *have)
		return NULL;
	*have -= n;
	return malloc(n ? n : 1);
}

static void budget_free(void *left, void *p)
{
	(void)left;
	free(p);
}

Podpci__Request *ctl_request_parse(const uint8_t *p, size_t len)
{
	size_t left = PARSE_BYTES_MAX;
	ProtobufCAllocator budget = { budget_alloc, budget_free, &left };

	return podpci__request__unpack(&budget, len, p);
}

void ctl_request_free(Podpci__Request *q)
{
	if (q)
		podpci__request__free_unpacked(q, NULL);
}

/* ---- answering ----------------------------------------------------------------------------- */

static void send_reply(struct ctl_call *c, const Podpci__Reply *r)
{
	size_t len = podpci__reply__get_packed_size(r);
	uint8_t *to = len <= CTL_REPLY_MAX ? ctl_frame_add(&c->client->out, len) : NULL;

	if (to)
		podpci__reply__pack(r, to);
	else
		c->overflow = true;
}

void ctl_call_rows(struct ctl_call *c, const Podpci__Reply *r)
{
	Podpci__Reply part = *r;

	part.has_more = part.more = 1;
	send_reply(c, &part);
}

void ctl_call_fail(struct ctl_call *c, const struct err *e)
{
	if (!c->e.code)
		c->e = *e;
}

int ctl_call_code(const struct ctl_call *c)
{
	return c->e.code;
}

static void drop(struct ctl_server *s, struct client *k)
{
	sys_call(SYS_epoll_ctl, s->epoll_fd, EPOLL_CTL_DEL, k->fd, NULL);
	fd_drop(&k->fd);
	ctl_buf_free(&k->in);
	ctl_buf_free(&k->out);
	*k = (struct client){ .fd = -1 };
}

static int answer(struct ctl_server *s, struct client *k, const uint8_t *p, size_t len)
{
	struct ctl_call c = { .client = k };
	Podpci__Request *q = ctl_request_parse(p, len);
	Podpci__Reply last = PODPCI__REPLY__INIT;

	if (!q || q->body_case == PODPCI__REQUEST__BODY__NOT_SET)
		err_set(&c.e, -EPROTO, "not a request this version knows");
	else
		s->handle(s->owner, q, &c);
	ctl_request_free(q);
	if (c.overflow)
		return -EMSGSIZE;	/* too much to say: the client must ask for less */
	last.has_code = 1;
	last.code = c.e.code;
	last.error = c.e.code ? c.e.msg : NULL;
	send_reply(&c, &last);
	return c.overflow ? -EMSGSIZE : 0;
}

static int watch(struct ctl_server *s, struct client *k, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.u32 = (uint32_t)(k - s->client) };

	return (int)sys_call(SYS_epoll_ctl, s->epoll_fd, EPOLL_CTL_MOD, k->fd, &ev);
}

/* Sends what is queued; only when all is gone the next request is looked at. */
static int serve(struct ctl_server *s, struct client *k, uint64_t now_ms)
{
	const uint8_t *p;
	size_t len;
	int rc;

	for (;;) {
		rc = ctl_buf_write(&k->out, k->fd);
		if (rc == -EAGAIN) {
			k->since_ms = k->since_ms ? k->since_ms : now_ms;
			return watch(s, k, EPOLLOUT);
		}
		if (rc)
			return rc;
		rc = ctl_frame_next(&k->in, CTL_REQUEST_MAX, &p, &len);
		if (rc <= 0)
			break;
		rc = answer(s, k, p, len);
		if (rc)
			return rc;
	}
	if (rc < 0)
		return rc;
	k->since_ms = k->in.n > k->in.off ? (k->since_ms ? k->since_ms : now_ms) : 0;
	return watch(s, k, EPOLLIN);
}

static void on_client(struct ctl_server *s, struct client *k, uint32_t events, uint64_t now_ms)
{
	int rc = 1;

	if (k->fd < 0)
		return;
	if (events & EPOLLIN)
		rc = ctl_buf_read(&k->in, k->fd);
	else if (events & (EPOLLHUP | EPOLLERR))
		rc = 0;
	if (rc == -EAGAIN)
		return;
	if (rc <= 0 || serve(s, k, now_ms) < 0)
		drop(s, k);
}

static void on_listener(struct ctl_server *s)
{
	int fd = fault_now() ? -EMFILE : (int)sys_call(SYS_accept4, s->listen_fd, NULL, NULL,
						       SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd >= 0)
		fd = fd_keep(fd);
	if (fd < 0)
		return;
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++) {
		struct client *k = &s->client[i];
		struct epoll_event ev = { .events = EPOLLIN, .data.u32 = i };

		if (k->fd >= 0)
			continue;
		k->fd = fd;
		if (ctl_buf_new(&k->in, CTL_HEAD + CTL_REQUEST_MAX) ||
		    ctl_buf_new(&k->out, CTL_ANSWER_MAX) ||
		    sys_call(SYS_epoll_ctl, s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
			drop(s, k);
		return;
	}
	fd_drop(&fd);			/* as many as we serve are here already */
}

void ctl_server_run(struct ctl_server *s, uint64_t now_ms)
{
	struct epoll_event ev[CTL_CLIENTS_MAX + 1];
	int n = (int)sys_call(SYS_epoll_wait, s->epoll_fd, ev, CTL_CLIENTS_MAX + 1, 0);

	for (int i = 0; i < n; i++) {
		if (ev[i].data.u32 == LISTENER)
			on_listener(s);
		else
			on_client(s, &s->client[ev[i].data.u32], ev[i].events, now_ms);
	}
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++) {
		struct client *k = &s->client[i];

		if (k->fd >= 0 && k->since_ms && now_ms - k->since_ms > CTL_STALL_MS)
			drop(s, k);
	}
}

unsigned ctl_server_clients(const struct ctl_server *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++)
		n += s->client[i].fd >= 0;
	return n;
}

int ctl_server_fd(const struct ctl_server *s)
{
	return s->epoll_fd;
}

/* ---- making and ending --------------------------------------------------------------------- */

static int new_socket(void)
{
	long fd = fault_now() ? -EMFILE : sys_call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC |
						   SOCK_NONBLOCK, 0);

	return fd < 0 ? (int)fd : fd_keep((int)fd);
}

/* A socket nobody answers at is a dead daemon's. */
static int remove_stale(const char *path, const struct sockaddr_un *a, struct err *e)
{
	int fd = new_socket(), rc = 0;
	struct stat st;

	if (fd < 0)
		return err_set(e, fd, "%s: %s", path, strerror(-fd));
	if (sys_call(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!S_ISSOCK(st.st_mode))
			rc = err_set(e, -EEXIST, "%s exists and is no socket", path);
		else if (sys_call(SYS_connect, fd, a, sizeof(*a)) != -ECONNREFUSED)
			rc = err_set(e, -EADDRINUSE, "%s: somebody serves it already (another "
				     "podpci-switch?)", path);
		else
			sys_call(SYS_unlinkat, AT_FDCWD, path, 0);
	}
	fd_drop(&fd);
	return rc;
}

/* Nobody can connect before listen(), so the rights are right from the first moment. */
static int listen_at(struct ctl_server *s, const char *path, unsigned mode, int gid, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = LISTENER };
	long rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: a socket's path has at most %zu bytes",
			       path, sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path) + 1);
	rc = remove_stale(path, &a, e);
	if (rc)
		return (int)rc;
	s->listen_fd = new_socket();
	if (s->listen_fd < 0)
		return err_set(e, s->listen_fd, "%s: %s", path, strerror(-s->listen_fd));
	rc = sys_call(SYS_bind, s->listen_fd, &a, sizeof(a));
	if (!rc)
		memcpy(s->path, path, strlen(path) + 1);
	if (!rc && gid >= 0)
		rc = sys_call(SYS_fchownat, AT_FDCWD, path, (uid_t)-1, (gid_t)gid, 0);
	if (!rc)
		rc = sys_call(SYS_fchmodat, AT_FDCWD, path, mode);
	if (!rc)
		rc = sys_call(SYS_listen, s->listen_fd, CTL_CLIENTS_MAX);
	if (!rc)
		rc = sys_call(SYS_epoll_ctl, s->epoll_fd, EPOLL_CTL_ADD, s->listen_fd, &ev);
	return rc ? err_set(e, (int)rc, "%s: %s", path, strerror((int)-rc)) : 0;
}

int ctl_server_new(struct ctl_server **out, const char *path, unsigned mode, int gid,
		   ctl_handler handle, void *owner, struct err *e)
{
	struct ctl_server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->listen_fd = -1;
	s->handle = handle;
	s->owner = owner;
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++)
		s->client[i].fd = -1;
	s->epoll_fd = fault_now() ? -EMFILE : (int)sys_call(SYS_epoll_create1, EPOLL_CLOEXEC);
	if (s->epoll_fd >= 0)
		s->epoll_fd = fd_keep(s->epoll_fd);
	rc = s->epoll_fd < 0 ? err_set(e, s->epoll_fd, "epoll: %s", strerror(-s->epoll_fd)) :
	     listen_at(s, path, mode, gid, e);
	if (rc) {
		ctl_server_free(s);
		return rc;
	}
	*out = s;
	return 0;
}

void ctl_server_free(struct ctl_server *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++)
		if (s->client[i].fd >= 0)
			drop(s, &s->client[i]);
	fd_drop(&s->listen_fd);
	if (s->path[0])
		sys_call(SYS_unlinkat, AT_FDCWD, s->path, 0);
	fd_drop(&s->epoll_fd);
	free(s);
}

void ctl_server_orphan(struct ctl_server *s)
{
	for (unsigned i = 0; i < CTL_CLIENTS_MAX; i++)
		fd_drop(&s->client[i].fd);
	fd_drop(&s->listen_fd);
	fd_drop(&s->epoll_fd);
	s->path[0] = 0;
}
