// SPDX-License-Identifier: Apache-2.0
/*
 * user_io.c - bytes and descriptors of the main channel: whole messages or none.
 *
 * Every wait is for both channels: a back-end may want an answer to a request of its own before
 * it answers ours.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/vhost/user.h"

#define STRAY_FDS_MAX 32	/* taken in (and closed) at once; the kernel drops the rest */

int user_peek(int fd)
{
	char byte;
	long n = sys_call(SYS_recvfrom, fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	return n > 0 ? 1 : n ? (int)n : -ECONNRESET;
}

/* Until the socket may be ready; -ETIMEDOUT at the deadline. */
static int await(struct vhost_user *u, short events)
{
	struct pollfd p[] = {
		{ .fd = u->fd, .events = events }, { .fd = back_fd(u), .events = POLLIN },
	};
	int n = loop_wait(u->t.loop, p, 2, u->t.deadline_ms);

	if (n < 0)
		return n;
	if (p[1].revents)
		back_hear(u);
	if (p[0].revents || loop_now(u->t.loop) < u->t.deadline_ms)
		return 0;
	return -ETIMEDOUT;
}

int user_cut_io(struct vhost_user *u, const char *name, bool sending, long rc)
{
	if (rc == -ETIMEDOUT)
		return user_cut(u, USER_TIMEOUT, "the back-end %s %s in time",
				sending ? "did not take" : "did not answer", name);
	if (rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN)
		return user_cut(u, USER_EOF, "the back-end hung up at %s", name);
	return user_cut(u, sending ? USER_SEND : USER_RECV, "%s failed with errno %ld", name, -rc);
}

/* The fds go with the first byte, and only once, however often the rest has to be continued. */
int user_send_all(struct vhost_user *u, const char *name, struct iovec *iov, unsigned iov_n,
		  const int *fds, unsigned fds_n)
{
	FD_CONTROL(VU_FDS_MAX) control;
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = iov_n };

	if (fds_n)
		fd_send_with(&m, &control, fds, fds_n);
	while (m.msg_iovlen) {
		long n = sys_call(SYS_sendmsg, u->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == -EAGAIN)
			n = await(u, POLLOUT);
		else if (n > 0)
			m.msg_control = NULL, m.msg_controllen = 0;
		if (n < 0 && n != -EINTR)
			return user_cut_io(u, name, true, n);
		for (; m.msg_iovlen && n >= (long)m.msg_iov->iov_len; m.msg_iov++, m.msg_iovlen--)
			n -= (long)m.msg_iov->iov_len;
		if (m.msg_iovlen && n > 0) {
			m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + n;
			m.msg_iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* One more descriptor than is wanted is one too many, and all of them go. */
static bool strays(struct msghdr *m, int *fd)
{
	bool wanted = fd && *fd < 0;
	unsigned n = fd_take(m, fd, wanted);

	if (n <= wanted && !(m->msg_flags & MSG_CTRUNC))
		return false;
	if (fd && *fd >= 0)
		sys_call(SYS_close, *fd);
	if (fd)
		*fd = -1;
	return true;
}

int user_take_all(struct vhost_user *u, const char *name, void *buf, size_t len, int *fd)
{
	FD_CONTROL(STRAY_FDS_MAX) control;

	while (len) {
		struct iovec iov = { .iov_base = buf, .iov_len = len };
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = &control, .msg_controllen = sizeof(control),
		};
		long n = sys_call(SYS_recvmsg, u->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n >= 0 && strays(&m, fd))
			return user_cut(u, USER_STRAY_FDS, "descriptors came with the reply to %s",
					name);
		if (!n)
			n = -ECONNRESET;
		if (n == -EAGAIN) {
			n = await(u, POLLIN);
			if (!n)
				continue;
		}
		if (n == -EINTR)
			continue;
		if (n < 0)
			return user_cut_io(u, name, false, n);
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}
