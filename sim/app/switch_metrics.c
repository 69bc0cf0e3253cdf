// SPDX-License-Identifier: Apache-2.0
// switch_metrics.c - Prometheus' text over just enough HTTP. See switchd.h.
//
// Whatever is asked, the counters are the answer. A few clients at once; each gets as long as
// CLIENT_MS in all and is then dropped.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "sim/app/switch.h"
#include "sim/app/switchd.h"
#include "sim/core/err.h"

#define CLIENTS_MAX 4
#define CLIENT_MS 5000
#define ASK_MAX 2048
#define LISTENER UINT32_MAX

struct metrics_client {
	int fd;
	uint64_t since_ms;
	char ask[ASK_MAX];
	size_t asked;
	char *answer;			/* NULL: still listening to the question */
	size_t size, sent;
};

struct metrics {
	int listen_fd, epoll_fd;
	char path[SW_PATH_MAX];
	struct metrics_client client[CLIENTS_MAX];
};

static int bind_unix(struct metrics *m, const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	mode_t mask;
	int rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s is too long for a socket", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	unlink(path);
	m->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mask = umask(0117);
	rc = m->listen_fd < 0 || bind(m->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0 ?
	     -errno : 0;
	umask(mask);
	if (rc)
		return err_set(e, rc, "metrics: %s: %s", path, strerror(-rc));
	memcpy(m->path, path, strlen(path) + 1);
	return 0;
}

/* Loopback only: nobody is asked who he is. */
static int bind_tcp(struct metrics *m, const char *address, struct err *e)
{
	static const char loopback[] = "127.0.0.1:";
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	char *end;
	unsigned long port = strtoul(address + sizeof(loopback) - 1, &end, 10);
	int on = 1;

	if (strncmp(address, loopback, sizeof(loopback) - 1) || *end || !port || port > 65535)
		return err_set(e, -EINVAL, "metrics: %s is neither a path nor 127.0.0.1:PORT",
			       address);
	a.sin_port = htons((uint16_t)port);
	m->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (m->listen_fd >= 0)
		setsockopt(m->listen_fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (m->listen_fd < 0 || bind(m->listen_fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return err_set(e, -errno, "metrics: %s: %s", address, strerror(errno));
	return 0;
}

static int watch(struct metrics *m, int op, int fd, uint32_t events, uint32_t who)
{
	struct epoll_event ev = { .events = events, .data.u32 = who };

	return epoll_ctl(m->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

int metrics_new(struct metrics **out, const char *address, struct err *e)
{
	struct metrics *m = calloc(1, sizeof(*m));
	int rc;

	if (!m)
		return err_set(e, -ENOMEM, "out of memory");
	m->listen_fd = -1;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		m->client[i].fd = -1;
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	rc = m->epoll_fd < 0 ? err_set(e, -errno, "epoll: %s", strerror(errno)) :
	     strchr(address, '/') ? bind_unix(m, address, e) : bind_tcp(m, address, e);
	if (!rc && (listen(m->listen_fd, CLIENTS_MAX) < 0 ||
		    watch(m, EPOLL_CTL_ADD, m->listen_fd, EPOLLIN, LISTENER)))
		rc = err_set(e, -errno, "metrics: %s: %s", address, strerror(errno));
	if (rc)
		metrics_free(m);
	else
		*out = m;
	return rc;
}

static void drop(struct metrics_client *k)
{
	close(k->fd);
	free(k->answer);
	memset(k, 0, sizeof(*k));
	k->fd = -1;
}

void metrics_free(struct metrics *m)
{
	if (!m)
		return;
	for (unsigned i = 0; i < CLIENTS_MAX; i++)
		if (m->client[i].fd >= 0)
			drop(&m->client[i]);
	if (m->listen_fd >= 0)
		close(m->listen_fd);
	if (m->epoll_fd >= 0)
		close(m->epoll_fd);
	if (m->path[0])
		unlink(m->path);
	free(m);
}

int metrics_fd(const struct metrics *m)
{
	return m ? m->epoll_fd : -1;
}

static void take_client(struct metrics *m, uint64_t now_ms)
{
	int fd = accept4(m->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	for (unsigned i = 0; fd >= 0 && i < CLIENTS_MAX; i++) {
		if (m->client[i].fd >= 0)
			continue;
		m->client[i].fd = fd;
		m->client[i].since_ms = now_ms;
		if (watch(m, EPOLL_CTL_ADD, fd, EPOLLIN, i))
			drop(&m->client[i]);
		return;
	}
	if (fd >= 0)
		close(fd);
}

/* The question has been asked: the answer with its head, in one piece. */
static int compose(struct metrics_client *k, struct sw *s)
{
	char *body = sw_metrics(s);
	size_t n = body ? strlen(body) : 0;
	int head;

	k->answer = body ? malloc(n + 256) : NULL;
	if (!k->answer) {
		free(body);
		return -ENOMEM;
	}
	head = snprintf(k->answer, 256, "HTTP/1.0 200 OK\r\nContent-Type: text/plain; "
			"version=0.0.4\r\nContent-Length: %zu\r\n\r\n", n);
	memcpy(k->answer + head, body, n);
	k->size = (size_t)head + n;
	free(body);
	return 0;
}

static int serve_client(struct metrics *m, struct metrics_client *k, struct sw *s)
{
	ssize_t n;

	if (!k->answer) {
		n = recv(k->fd, k->ask + k->asked, ASK_MAX - 1 - k->asked, 0);
		if (n <= 0)
			return n < 0 && errno == EAGAIN ? 0 : -ECONNRESET;
		k->asked += (size_t)n;
		if (!strstr(k->ask, "\r\n\r\n") && !strstr(k->ask, "\n\n"))
			return k->asked == ASK_MAX - 1 ? -E2BIG : 0;
		if (compose(k, s) || watch(m, EPOLL_CTL_MOD, k->fd, EPOLLOUT,
					   (uint32_t)(k - m->client)))
			return -ENOMEM;
	}
	n = send(k->fd, k->answer + k->sent, k->size - k->sent, MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	k->sent += (size_t)n;
	return k->sent == k->size ? -ENODATA : 0;	/* said all there is */
}

void metrics_run(struct metrics *m, struct sw *s, uint64_t now_ms)
{
	struct epoll_event ev[CLIENTS_MAX + 1];
	int n = m ? epoll_wait(m->epoll_fd, ev, CLIENTS_MAX + 1, 0) : 0;

	for (int i = 0; i < n; i++) {
		struct metrics_client *k;

		if (ev[i].data.u32 == LISTENER) {
			take_client(m, now_ms);
			continue;
		}
		k = &m->client[ev[i].data.u32];
		if (k->fd >= 0 && serve_client(m, k, s))
			drop(k);
	}
	for (unsigned i = 0; m && i < CLIENTS_MAX; i++)
		if (m->client[i].fd >= 0 && now_ms - m->client[i].since_ms > CLIENT_MS)
			drop(&m->client[i]);
}
