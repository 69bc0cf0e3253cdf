// SPDX-License-Identifier: Apache-2.0
// netns.c - see netns.h.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cni-plugin/netns.h"
#include "sim/core/err.h"

#define NSFS 0x6e736673
#define WAIT_S 5

/* ---- the namespace ------------------------------------------------------------------------- */

/* This process has one thread, which comes back before anything else. */
int netns_open(const char *path, int family, int type, int protocol, int *sk, int *tun,
	       struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), own, rc = 0;
	struct statfs st;

	if (fd < 0)
		return err_set(e, -EBADR, "CNI_NETNS: %s", strerror(errno));
	own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (fstatfs(fd, &st) || st.f_type != NSFS || own < 0 || setns(fd, CLONE_NEWNET)) {
		close(fd);
		if (own >= 0)
			close(own);
		return err_set(e, -EBADR, "CNI_NETNS: is no network namespace that can be "
			       "entered");
	}
	*sk = socket(family, type | SOCK_CLOEXEC, protocol);
	if (*sk < 0)
		rc = err_set(e, -errno, "socket: %s", strerror(errno));
	if (!rc && tun) {
		*tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
		if (*tun < 0)
			rc = err_set(e, -errno, "/dev/net/tun: %s", strerror(errno));
	}
	if (setns(own, CLONE_NEWNET))
		abort();	/* nothing of the host's is done from in there */
	close(own);
	close(fd);
	if (rc && *sk >= 0)
		close(*sk);
	return rc;
}

int netns_has(const char *path, const char *ifname, bool *has, struct err *e)
{
	struct ifreq q = { .ifr_ifindex = 0 };
	int sk, rc = netns_open(path, AF_UNIX, SOCK_DGRAM, 0, &sk, NULL, e);

	if (rc)
		return rc;
	memcpy(q.ifr_name, ifname, strnlen(ifname, IFNAMSIZ - 1) + 1);
	*has = !ioctl(sk, SIOCGIFINDEX, &q);
	close(sk);
	return 0;
}

/* ---- rtnetlink ----------------------------------------------------------------------------- */

void netlink_begin(struct netlink *n, uint16_t type, uint16_t flags, const void *head, size_t len)
{
	memset(&n->out, 0, sizeof(n->out));
	n->out.h = (struct nlmsghdr){
		.nlmsg_len = (uint32_t)NLMSG_LENGTH(len), .nlmsg_type = type,
		.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = ++n->seq,
	};
	memcpy(NLMSG_DATA(&n->out.h), head, len);
}

void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t len)
{
	size_t at = NLMSG_ALIGN(n->out.h.nlmsg_len);
	struct nlattr a = { .nla_type = type, .nla_len = (uint16_t)(NLA_HDRLEN + len) };

	assert(at + NLA_ALIGN(a.nla_len) <= sizeof(n->out.raw));
	memcpy(n->out.raw + at, &a, sizeof(a));
	memcpy(n->out.raw + at + NLA_HDRLEN, data, len);
	n->out.h.nlmsg_len = (uint32_t)(at + NLA_ALIGN(a.nla_len));
}

/* 1: there is more to come. */
static int take_all(const struct netlink *n, const void *buf, size_t len,
		    void (*take)(void *arg, const struct nlmsghdr *m), void *arg)
{
	const struct nlmsghdr *m;

	for (m = buf; NLMSG_OK(m, len); m = NLMSG_NEXT(m, len)) {
		int code = 0;

		if (m->nlmsg_seq != n->seq)
			continue;	/* of a request that was given up */
		if (m->nlmsg_type == NLMSG_DONE)
			return 0;
		if (m->nlmsg_type == NLMSG_ERROR) {
			if (m->nlmsg_len >= NLMSG_LENGTH(sizeof(code)))
				memcpy(&code, NLMSG_DATA(m), sizeof(code));
			return code;
		}
		if (take)
			take(arg, m);
	}
	return 1;
}

int netlink_call(struct netlink *n, void (*take)(void *arg, const struct nlmsghdr *m), void *arg)
{
	struct timeval wait = { .tv_sec = WAIT_S };
	union {
		struct nlmsghdr h;
		uint8_t raw[32768];
	} in;

	n->out.h.nlmsg_flags |= NLM_F_ACK;
	setsockopt(n->sk, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (send(n->sk, &n->out, n->out.h.nlmsg_len, 0) < 0)
		return -errno;
	for (unsigned i = 0; i < NETLINK_ANSWERS_MAX; i++) {
		ssize_t got = recv(n->sk, &in, sizeof(in), 0);
		int rc;

		if (got < 0 && errno == EINTR)
			return -EINTR;
		if (got <= 0)
			return got < 0 && errno != EAGAIN ? -errno : -ETIMEDOUT;
		rc = take_all(n, &in, (size_t)got, take, arg);
		if (rc <= 0)
			return rc;
	}
	return -EMSGSIZE;
}

const void *netlink_within(const void *data, size_t len, uint16_t type, size_t *found_len)
{
	const uint8_t *p = data;

	while (len >= NLA_HDRLEN) {
		struct nlattr a;
		size_t whole;

		memcpy(&a, p, sizeof(a));
		whole = NLA_ALIGN((size_t)a.nla_len);
		if (a.nla_len < NLA_HDRLEN || a.nla_len > len)
			return NULL;
		if ((a.nla_type & NLA_TYPE_MASK) == type) {
			*found_len = a.nla_len - (size_t)NLA_HDRLEN;
			return p + NLA_HDRLEN;
		}
		if (whole >= len)
			return NULL;
		p += whole;
		len -= whole;
	}
	return NULL;
}

const void *netlink_find(const struct nlmsghdr *m, size_t off, uint16_t type, size_t *len)
{
	size_t from = (size_t)NLMSG_SPACE(off);

	if (m->nlmsg_len < from)
		return NULL;
	return netlink_within((const uint8_t *)m + from, m->nlmsg_len - from, type, len);
}
