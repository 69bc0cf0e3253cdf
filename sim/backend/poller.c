// SPDX-License-Identifier: Apache-2.0
// poller.c - epoll with a memory of what it is about to call, and an eventfd to be woken by.
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sim/backend/poller.h"

#define FETCH_MAX 64		/* events of one epoll_wait() */

struct poller {
	int epoll_fd, wake_fd;
	struct poller_source wake;
	int fetched;			/* events[] that are being dispatched */
	struct epoll_event events[FETCH_MAX];
};

static void on_wake(struct poller_source *s, uint32_t events)
{
	uint64_t n;

	(void)events;
	(void)!read(s->fd, &n, sizeof(n));
}

void poller_free(struct poller *p)
{
	if (!p)
		return;
	if (p->epoll_fd >= 0)
		close(p->epoll_fd);
	if (p->wake_fd >= 0)
		close(p->wake_fd);
	free(p);
}

int poller_new(struct poller **out)
{
	struct poller *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	p->wake = (struct poller_source){ .ready = on_wake, .fd = -1 };
	p->wake_fd = -1;
	p->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll_fd < 0)
		goto fail;
	p->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->wake_fd < 0)
		goto fail;
	rc = poller_add(p, &p->wake, p->wake_fd, EPOLLIN);
	if (rc < 0) {
		errno = -rc;
		goto fail;
	}
	*out = p;
	return 0;
fail:
	rc = -errno;
	poller_free(p);
	return rc;
}

static int control(struct poller *p, int op, struct poller_source *s, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	return epoll_ctl(p->epoll_fd, op, fd, &ev) < 0 ? -errno : 0;
}

int poller_add(struct poller *p, struct poller_source *s, int fd, uint32_t events)
{
	int rc = control(p, EPOLL_CTL_ADD, s, fd, events);

	if (rc == 0)
		s->fd = fd;
	return rc;
}

int poller_change(struct poller *p, struct poller_source *s, uint32_t events)
{
	return s->fd < 0 ? -EBADF : control(p, EPOLL_CTL_MOD, s, s->fd, events);
}

void poller_del(struct poller *p, struct poller_source *s)
{
	if (s->fd < 0)
		return;
	control(p, EPOLL_CTL_DEL, s, s->fd, 0);
	s->fd = -1;
	for (int i = 0; i < p->fetched; i++)
		if (p->events[i].data.ptr == s)
			p->events[i].data.ptr = NULL;
}

int poller_run(struct poller *p, int timeout_ms)
{
	int n = epoll_wait(p->epoll_fd, p->events, FETCH_MAX, timeout_ms);

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	p->fetched = n;
	for (int i = 0; i < n; i++) {
		struct poller_source *s = p->events[i].data.ptr;

		if (s)
			s->ready(s, p->events[i].events);
	}
	p->fetched = 0;
	return n;
}

void poller_wake(struct poller *p)
{
	int saved = errno;
	uint64_t one = 1;

	(void)!write(p->wake_fd, &one, sizeof(one));
	errno = saved;
}
