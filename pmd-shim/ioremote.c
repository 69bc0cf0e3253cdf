// SPDX-License-Identifier: Apache-2.0
// ioremote.c - the guest's side of ioremote.h, and what both sides share.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>

#include "include/ioapi.h"
#include "pmd-shim/ioremote.h"
#include "pmd-shim/shim.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"

int remote_name(const struct ioapi_func *f, char name[REMOTE_NAME_MAX])
{
	struct ioapi_ident ident;
	struct stat st;
	long rc = sys_call(SYS_stat, shim_config_path(), &st);
	int n;

	if (rc < 0)
		return (int)rc;
	ioapi_ident(f, &ident);
	name[0] = '\0';
	n = snprintf(name + 1, REMOTE_NAME_MAX - 1, "podpci/%llx:%llx/%s",
		     (unsigned long long)st.st_dev, (unsigned long long)st.st_ino, ident.bdf);
	return n < 0 || n >= REMOTE_NAME_MAX - 1 ? -ENAMETOOLONG : n + 1;
}

bool remote_trusts(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return !sys_call(SYS_getsockopt, fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) &&
	       (!peer.uid || peer.uid == (uid_t)sys_call(SYS_geteuid));
}

static int connect_to(int fd, const struct ioapi_func *f)
{
	struct timeval wait = { .tv_sec = REMOTE_WAIT_S };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char name[REMOTE_NAME_MAX];
	int len = remote_name(f, name);
	long rc;

	if (len < 0)
		return len;
	memcpy(a.sun_path, name, (size_t)len);
	rc = sys_call(SYS_setsockopt, fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (!rc)
		rc = sys_call(SYS_setsockopt, fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
	if (!rc)
		rc = sys_call(SYS_connect, fd, &a, offsetof(struct sockaddr_un, sun_path) + len);
	if (rc < 0)
		return rc == -ECONNREFUSED ? -ENOENT : (int)rc;
	return remote_trusts(fd) ? 0 : -EPERM;
}

int remote_connect(const struct ioapi_func *f)
{
	long fd = sys_call(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int rc;

	if (fd < 0)
		return (int)fd;
	rc = connect_to((int)fd, f);
	if (rc < 0) {
		sys_call(SYS_close, (int)fd);
		return rc;
	}
	return fd_keep((int)fd);
}

/* A signal of the application's does not end the wait for what is under way. */
static long receive(int fd, struct msghdr *m)
{
	long n;

	do
		n = sys_call(SYS_recvmsg, fd, m, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	return n;
}

int remote_call_fd(int fd, const struct remote_request *q, struct remote_reply *r, int *got)
{
	FD_CONTROL(1) control;
	struct iovec io = { .iov_base = r, .iov_len = sizeof(*r) };
	struct msghdr m = {
		.msg_iov = &io, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	long n = sys_call(SYS_sendto, fd, q, sizeof(*q), MSG_NOSIGNAL, NULL, 0);

	*got = -1;
	if (n == sizeof(*q))
		n = receive(fd, &m);
	if (n != sizeof(*r))
		return -ENODEV;		/* the holder is gone or hangs */
	fd_take(&m, got, 1);
	return r->rc;
}

int remote_call(int fd, const struct remote_request *q, struct remote_reply *r)
{
	int stray, rc = remote_call_fd(fd, q, r, &stray);

	if (stray >= 0)
		sys_call(SYS_close, stray);
	return rc;
}
