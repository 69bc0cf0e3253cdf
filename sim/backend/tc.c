// SPDX-License-Identifier: Apache-2.0
// tc.c - putting a program to an interface's traffic control, in rtnetlink's words. See vmdq.h.
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>

#include "sim/backend/vmdq.h"
#include "sim/core/err.h"

#define PRIORITY 0xc000			/* behind what an administrator may have put there */
#define HANDLE 1

struct message {
	struct nlmsghdr h;
	struct tcmsg t;
	char attrs[256];
};

static struct rtattr *attr(struct message *m, unsigned short type, const void *data, size_t n)
{
	struct rtattr *a = (struct rtattr *)(void *)((char *)m + NLMSG_ALIGN(m->h.nlmsg_len));

	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	if (n)
		memcpy(RTA_DATA(a), data, n);
	m->h.nlmsg_len = (uint32_t)(NLMSG_ALIGN(m->h.nlmsg_len) + RTA_ALIGN(a->rta_len));
	return a;
}

static struct message begin(unsigned short type, unsigned short flags, int ifindex)
{
	return (struct message){
		.h = { .nlmsg_len = NLMSG_LENGTH(sizeof(struct tcmsg)), .nlmsg_type = type,
		       .nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags) },
		.t = { .tcm_family = AF_UNSPEC, .tcm_ifindex = ifindex },
	};
}

union answer {
	struct nlmsghdr h;
	struct { struct nlmsghdr h; struct nlmsgerr e; } error;
	struct { struct nlmsghdr h; struct tcmsg t; } qdisc;
	char bytes[4096];
};

/* One message, and what comes first in answer. The answer's length, or -errno. */
static ssize_t exchange(const struct message *m, union answer *a)
{
	const struct timeval patience = { .tv_sec = 1 };
	int s = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t n = -1;

	if (s < 0)
		return -errno;
	if (!setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) &&
	    send(s, m, m->h.nlmsg_len, 0) >= 0)
		n = recv(s, a, sizeof(*a), 0);
	n = n < 0 ? -errno : n;
	close(s);
	return n;
}

/* 0, or -errno as the kernel says it. */
static int ask(const struct message *m, union answer *a)
{
	ssize_t n = exchange(m, a);

	if (n < 0)
		return (int)n;
	if ((size_t)n < sizeof(a->h) || a->h.nlmsg_len > (size_t)n)
		return -EPROTO;
	if (a->h.nlmsg_type != NLMSG_ERROR)
		return 0;
	return a->h.nlmsg_len < sizeof(a->error) ? -EPROTO : a->error.e.error;
}

/* What is there may be its elder sibling, which has no egress. */
static int is_clsact(int ifindex)
{
	struct message m = begin(RTM_GETQDISC, NLM_F_ECHO, ifindex);
	union answer a;
	int rc, left;

	m.t.tcm_parent = TC_H_CLSACT;
	rc = ask(&m, &a);
	if (rc || a.h.nlmsg_type != RTM_NEWQDISC || a.h.nlmsg_len < sizeof(a.qdisc))
		return rc ? rc : -EPROTO;
	left = (int)(a.h.nlmsg_len - sizeof(a.qdisc));
	for (const struct rtattr *r = (const struct rtattr *)(const void *)(&a.qdisc + 1);
	     RTA_OK(r, left); r = RTA_NEXT(r, left))
		if (r->rta_type == TCA_KIND && RTA_PAYLOAD(r) == sizeof("clsact") &&
		    !memcmp(RTA_DATA(r), "clsact", sizeof("clsact")))
			return 0;
	return -EBUSY;
}

static int add_qdisc(int ifindex)
{
	struct message m = begin(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, ifindex);
	union answer a;
	int rc;

	m.t.tcm_parent = TC_H_CLSACT;
	m.t.tcm_handle = TC_H_MAKE(TC_H_CLSACT, 0);
	attr(&m, TCA_KIND, "clsact", sizeof("clsact"));
	rc = ask(&m, &a);
	return rc == -EEXIST ? is_clsact(ifindex) : rc;
}

/* In place of one of ours that a former process left at an interface that stayed. */
static int add_filter(int ifindex, bool ingress, int prog_fd)
{
	struct message m = begin(RTM_NEWTFILTER, NLM_F_CREATE, ifindex);
	const uint32_t fd = (uint32_t)prog_fd, flags = TCA_BPF_FLAG_ACT_DIRECT;
	struct rtattr *options;
	union answer a;

	m.t.tcm_parent = TC_H_MAKE(TC_H_CLSACT, ingress ? TC_H_MIN_INGRESS : TC_H_MIN_EGRESS);
	m.t.tcm_handle = HANDLE;
	m.t.tcm_info = TC_H_MAKE((uint32_t)PRIORITY << 16, htons(ETH_P_ALL));
	attr(&m, TCA_KIND, "bpf", sizeof("bpf"));
	options = attr(&m, TCA_OPTIONS, NULL, 0);
	attr(&m, TCA_BPF_FD, &fd, sizeof(fd));
	attr(&m, TCA_BPF_NAME, "podpci", sizeof("podpci"));
	attr(&m, TCA_BPF_FLAGS, &flags, sizeof(flags));
	options->rta_len = (unsigned short)((char *)&m + m.h.nlmsg_len - (char *)options);
	return ask(&m, &a);
}

int tc_attach(const char *dev, bool ingress, int prog_fd, struct err *e)
{
	int ifindex = (int)if_nametoindex(dev), rc = add_qdisc(ifindex);

	if (!rc)
		rc = add_filter(ifindex, ingress, prog_fd);
	return rc ? err_set(e, rc, "traffic control of %s (clsact, bpf): %s", dev,
			    strerror(-rc)) : 0;
}
