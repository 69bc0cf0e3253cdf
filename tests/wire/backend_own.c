// SPDX-License-Identifier: Apache-2.0
// backend_own.c - descriptors a back-end keeps and gives, and its own channel.
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/wire/backend_impl.h"

long backend_send_with(int fd, const void *bytes, size_t len, const int *fds, unsigned fds_n)
{
	char control[CMSG_SPACE(FDS_MAX * sizeof(int))] = { 0 };
	struct iovec iov = { (void *)bytes, len };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = CMSG_SPACE(fds_n * sizeof(int)) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	memcpy(CMSG_DATA(c), fds, fds_n * sizeof(int));
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

int backend_kept_of(uint32_t request)
{
	return request == VU_SET_LOG_BASE ? LOG : request == VU_SET_INFLIGHT_FD ? INFLIGHT :
	       request == VU_SET_BACKEND_REQ_FD ? ASK : -1;
}

void backend_keep_fd(struct backend *b, uint32_t request, int *fds)
{
	int *slot = &b->kept[backend_kept_of(request)];

	if (*slot >= 0)
		close(*slot);
	*slot = fds[0];
	fds[0] = -1;
}

static int open_record(const char *path)
{
	int pair[2];

	if (!path)
		return memfd_create("inflight", MFD_CLOEXEC);
	if (strcmp(path, "fifo"))
		return open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (pipe2(pair, O_CLOEXEC))
		abort();
	close(pair[1]);
	return pair[0];
}

void backend_answer_inflight(struct backend *b, const struct backend_msg *m, struct reply *r)
{
	struct backend_inflight i = b->inflight;
	struct vu_inflight p;
	int fd = open_record(i.path), fds[FDS_MAX];

	if (!i.size && !i.file && !i.path)
		i = (struct backend_inflight){
			.size = 4096u * m->payload.inflight.queues,
			.file = 4096u * m->payload.inflight.queues, .fds = 1,
		};
	if (!i.path && ftruncate(fd, (off_t)i.file))
		abort();
	p = m->payload.inflight;
	p.size = i.size;
	p.offset = i.offset;
	p.queues += i.other_queues;
	memcpy(r->bytes, &p, sizeof(p));
	r->h.size = sizeof(p);
	for (unsigned k = 0; k < i.fds; k++)
		fds[k] = fd;
	if (i.fds)
		(void)backend_send_with(b->fd, r, sizeof(r->h) + r->h.size, fds, i.fds);
	else
		(void)!send(b->fd, r, sizeof(r->h) + r->h.size, MSG_NOSIGNAL);
	close(fd);
}

/* ---- its own channel ------------------------------------------------------------------------ */

void backend_inflight(struct backend *b, const struct backend_inflight *i)
{
	pthread_mutex_lock(&b->lock);
	b->inflight = *i;
	pthread_mutex_unlock(&b->lock);
}

int backend_kept_fd(struct backend *b, uint32_t request)
{
	int fd;

	pthread_mutex_lock(&b->lock);
	fd = dup(b->kept[backend_kept_of(request)]);
	pthread_mutex_unlock(&b->lock);
	return fd;
}

int backend_ask(struct backend *b, uint32_t request, uint32_t flags, const void *payload,
		uint32_t size, const int *fds, unsigned fds_n)
{
	struct reply r = { .h = { request, flags, size } };
	int fd = backend_kept_fd(b, VU_SET_BACKEND_REQ_FD);
	size_t len = size < sizeof(r.bytes) ? size : sizeof(r.bytes);
	long n;

	if (payload)
		memcpy(r.bytes, payload, len);
	if (fds_n)
		n = backend_send_with(fd, &r, sizeof(r.h) + len, fds, fds_n);
	else
		n = send(fd, &r, sizeof(r.h) + len, MSG_NOSIGNAL);
	close(fd);
	return (int)n;
}

bool backend_answered(struct backend *b, struct vu_header *h, uint64_t *val, unsigned ms)
{
	struct pollfd p = { .fd = backend_kept_fd(b, VU_SET_BACKEND_REQ_FD), .events = POLLIN };

	bool there;

	*h = (struct vu_header){ 0 };
	there = poll(&p, 1, (int)ms) > 0 && (recv(p.fd, h, sizeof(*h), MSG_WAITALL) <= 0 ||
		recv(p.fd, val, sizeof(*val), MSG_WAITALL) == sizeof(*val));
	close(p.fd);
	return there;
}

void backend_unask(struct backend *b)
{
	pthread_mutex_lock(&b->lock);
	close(b->kept[ASK]);
	b->kept[ASK] = -1;
	pthread_mutex_unlock(&b->lock);
}
