// SPDX-License-Identifier: Apache-2.0
// netdev.c - the interface of a network with "netdev": the pod's kernel shows the attachment's
// address, MTU and IP addresses under the name the runtime gave, to those who look there.
//
// It is a TAP interface that nobody holds: it has no carrier, and no route leads to it, for the
// packets are the device's. It is made under a name of the attachment's digest and gets its own
// together with an alias of the digest, so that at any time it can be told from others' and only
// it is removed.
// pkg-config: json-c
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cni-plugin/apply.h"
#include "cni-plugin/js.h"
#include "cni-plugin/netns.h"
#include "cni-plugin/result.h"
#include "sim/core/err.h"

#ifndef IFA_F_NOPREFIXROUTE
#define IFA_F_NOPREFIXROUTE 0x200
#endif
#define SYSTEM_MAX 16			/* names kept of it */

enum { NETNS, NAME, FRESH, ALIAS, MTU };	/* a step's arguments */

struct link {				/* an interface as the kernel tells of it */
	int  index;			/* 0: none */
	char alias[64], kind[SYSTEM_MAX];
};

/* ---- asking -------------------------------------------------------------------------------- */

static void copy_text(char *to, size_t size, const void *from, size_t len)
{
	len = from && len < size ? len : 0;
	memcpy(to, from ? from : "", len);
	to[len] = '\0';
}

static void take_link(void *arg, const struct nlmsghdr *m)
{
	struct link *l = arg;
	struct ifinfomsg head;
	const void *at, *info;
	size_t len = 0, info_len = 0;

	if (m->nlmsg_type != RTM_NEWLINK || m->nlmsg_len < NLMSG_LENGTH(sizeof(head)))
		return;
	memcpy(&head, NLMSG_DATA(m), sizeof(head));
	l->index = head.ifi_index;
	at = netlink_find(m, sizeof(head), IFLA_IFALIAS, &len);
	copy_text(l->alias, sizeof(l->alias), at, len);
	info = netlink_find(m, sizeof(head), IFLA_LINKINFO, &info_len);
	at = info ? netlink_within(info, info_len, IFLA_INFO_KIND, &len) : NULL;
	copy_text(l->kind, sizeof(l->kind), at, len);
}

/* The one of that name; none is no error. */
static int look_up(struct netlink *n, const char *name, struct link *l)
{
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC };
	int rc;

	memset(l, 0, sizeof(*l));
	netlink_begin(n, RTM_GETLINK, 0, &head, sizeof(head));
	netlink_put(n, IFLA_IFNAME, name, strlen(name) + 1);
	rc = netlink_call(n, take_link, l);
	return rc == -ENODEV ? 0 : rc;
}

static bool is_ours(const struct step *s, const struct link *l, const char *name)
{
	return l->index && !strcmp(l->kind, "tun") &&
	       (!strcmp(name, s->arg[FRESH]) || !strcmp(l->alias, s->arg[ALIAS]));
}

/* ---- making -------------------------------------------------------------------------------- */

static int make(int tun, const char *name, const uint8_t mac[6], struct err *e)
{
	struct ifreq q = { .ifr_flags = IFF_TAP | IFF_NO_PI };

	snprintf(q.ifr_name, sizeof(q.ifr_name), "%.15s", name);
	if (ioctl(tun, TUNSETIFF, &q))
		return err_set(e, -errno, "netdev: TUNSETIFF: %s", strerror(errno));
	memset(&q, 0, sizeof(q));
	q.ifr_hwaddr.sa_family = ARPHRD_ETHER;
	memcpy(q.ifr_hwaddr.sa_data, mac, 6);
	if (ioctl(tun, SIOCSIFHWADDR, &q) || ioctl(tun, TUNSETPERSIST, 1))
		return err_set(e, -errno, "netdev: %s", strerror(errno));
	return 0;
}

/* No address but those given: a kernel without IPv6 has no such setting. */
static void no_own_addresses(struct netlink *n, int index)
{
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC, .ifi_index = index };
	struct {
		struct nlattr family, mode;
		uint8_t value, pad[3];
	} spec = {
		{ sizeof(spec), AF_INET6 }, { NLA_HDRLEN + 1, IFLA_INET6_ADDR_GEN_MODE },
		IN6_ADDR_GEN_MODE_NONE, { 0 },
	};

	netlink_begin(n, RTM_NEWLINK, 0, &head, sizeof(head));
	netlink_put(n, IFLA_AF_SPEC | NLA_F_NESTED, &spec, sizeof(spec));
	netlink_call(n, NULL, NULL);
}

static int add_address(struct netlink *n, int index, const char *text, struct err *e)
{
	uint32_t flags = IFA_F_PERMANENT | IFA_F_NOPREFIXROUTE | IFA_F_NODAD;
	struct ifaddrmsg head = { .ifa_index = (unsigned)index };
	uint8_t address[16];
	unsigned bits = 0;
	int version = result_cidr(text, address, &bits), rc;
	size_t len = version == 4 ? 4 : 16;

	if (!version)
		return err_set(e, -EINVAL, "netdev: %s: no address", text ? text : "");
	head.ifa_family = version == 4 ? AF_INET : AF_INET6;
	head.ifa_prefixlen = (uint8_t)bits;
	netlink_begin(n, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &head, sizeof(head));
	netlink_put(n, IFA_LOCAL, address, len);
	netlink_put(n, IFA_ADDRESS, address, len);
	netlink_put(n, IFA_FLAGS, &flags, sizeof(flags));
	rc = netlink_call(n, NULL, NULL);
	return rc ? err_set(e, rc, "netdev: address %s: %s", text, strerror(-rc)) : 0;
}

static int add_addresses(struct netlink *n, int index, struct json_object *ips, struct err *e)
{
	int rc = 0;

	for (size_t i = 0; ips && !rc && i < json_object_array_length(ips); i++)
		rc = add_address(n, index, js_text(json_object_array_get_idx(ips, i), "address"),
				 e);
	return rc;
}

/* Its MTU, its name and its alias, and up: from here on it is known by the alias. */
static int finish(const struct step *s, struct netlink *n, int index, struct err *e)
{
	struct ifinfomsg head = {
		.ifi_family = AF_UNSPEC, .ifi_index = index, .ifi_flags = IFF_UP,
		.ifi_change = IFF_UP,
	};
	uint32_t mtu = (uint32_t)strtoul(s->arg[MTU], NULL, 10);
	int rc;

	netlink_begin(n, RTM_NEWLINK, 0, &head, sizeof(head));
	if (mtu)
		netlink_put(n, IFLA_MTU, &mtu, sizeof(mtu));
	netlink_put(n, IFLA_IFNAME, s->arg[NAME], strlen(s->arg[NAME]) + 1);
	netlink_put(n, IFLA_IFALIAS, s->arg[ALIAS], strlen(s->arg[ALIAS]) + 1);
	rc = netlink_call(n, NULL, NULL);
	return rc ? err_set(e, rc, "netdev: %s: %s", s->arg[NAME], strerror(-rc)) : 0;
}

int netdev_do(const struct step *s, struct world *w, struct err *e)
{
	struct netlink n = { .sk = -1 };
	struct link l;
	int tun = -1, rc;

	rc = netns_open(s->arg[NETNS], AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &n.sk, &tun, e);
	if (rc)
		return rc;
	rc = make(tun, s->arg[FRESH], w->a->mac, e);
	close(tun);
	if (!rc)
		rc = look_up(&n, s->arg[FRESH], &l);
	if (!rc && !l.index)
		rc = err_set(e, -ENODEV, "netdev: it is gone again");
	if (!rc) {
		no_own_addresses(&n, l.index);
		rc = add_addresses(&n, l.index, js_at(w->ipam, "ips"), e);
	}
	if (!rc)
		rc = finish(s, &n, l.index, e);
	close(n.sk);
	return rc;
}

/* ---- undoing ------------------------------------------------------------------------------- */

static int remove_one(const struct step *s, struct netlink *n, const char *name)
{
	struct ifinfomsg head = { .ifi_family = AF_UNSPEC };
	struct link l;
	int rc = look_up(n, name, &l);

	if (rc || !is_ours(s, &l, name))
		return rc;
	head.ifi_index = l.index;
	netlink_begin(n, RTM_DELLINK, 0, &head, sizeof(head));
	rc = netlink_call(n, NULL, NULL);
	return rc == -ENODEV ? 0 : rc;
}

/* A namespace that is gone took it along. */
int netdev_undo(const struct step *s, struct world *w, struct err *e)
{
	struct netlink n = { .sk = -1 };
	struct err why;
	int rc = netns_open(s->arg[NETNS], AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &n.sk, NULL, &why);

	if (rc)
		return rc == -EBADR ? 0 : err_set(e, rc, "netdev: %s", why.msg);
	rc = remove_one(s, &n, s->arg[FRESH]);
	if (!rc)
		rc = remove_one(s, &n, s->arg[NAME]);
	close(n.sk);
	return rc ? err_set(e, rc, "netdev: %s: %s", s->arg[NAME], strerror(-rc)) : 0;
}

/* ---- checking ------------------------------------------------------------------------------ */

struct wanted {
	int      index;
	uint8_t  address[16];
	uint8_t  family, bits;
	bool     there;
};

static void take_address(void *arg, const struct nlmsghdr *m)
{
	struct wanted *want = arg;
	size_t len = 0, need = want->family == AF_INET ? 4 : 16;
	struct ifaddrmsg head;
	const void *at;

	if (m->nlmsg_type != RTM_NEWADDR || m->nlmsg_len < NLMSG_LENGTH(sizeof(head)))
		return;
	memcpy(&head, NLMSG_DATA(m), sizeof(head));
	at = netlink_find(m, sizeof(head), IFA_LOCAL, &len);
	if (!at)
		at = netlink_find(m, sizeof(head), IFA_ADDRESS, &len);
	if ((int)head.ifa_index == want->index && head.ifa_family == want->family &&
	    head.ifa_prefixlen == want->bits && at && len == need &&
	    !memcmp(at, want->address, need))
		want->there = true;
}

static int check_address(struct netlink *n, int index, const char *text, struct err *e)
{
	struct wanted want = { .index = index };
	struct ifaddrmsg head = { .ifa_family = AF_UNSPEC };
	unsigned bits = 0;
	int version = result_cidr(text, want.address, &bits), rc;

	want.family = version == 4 ? AF_INET : AF_INET6;
	want.bits = (uint8_t)bits;
	head.ifa_family = want.family;
	netlink_begin(n, RTM_GETADDR, NLM_F_DUMP, &head, sizeof(head));
	rc = netlink_call(n, take_address, &want);
	if (!rc && !want.there)
		rc = -EADDRNOTAVAIL;
	return rc ? err_set(e, rc, "netdev: %s: %s", text, strerror(-rc)) : 0;
}

static int check_addresses(struct netlink *n, int index, const struct world *w, struct err *e)
{
	struct json_object *ips = result_own_ips(w->a, js_at(w->record, "result"));
	int rc = 0;

	for (size_t i = 0; !rc && i < json_object_array_length(ips); i++)
		rc = check_address(n, index,
				   js_text(json_object_array_get_idx(ips, i), "address"), e);
	json_object_put(ips);
	return rc;
}

/* What plugins behind us may change (its address, its MTU) is not looked at. */
int netdev_check(const struct step *s, struct world *w, struct err *e)
{
	struct netlink n = { .sk = -1 };
	struct link l;
	int rc = netns_open(s->arg[NETNS], AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, &n.sk, NULL, e);

	if (rc)
		return rc;
	rc = look_up(&n, s->arg[NAME], &l);
	if (rc)
		err_set(e, rc, "netdev: %s: %s", s->arg[NAME], strerror(-rc));
	else if (!is_ours(s, &l, s->arg[NAME]))
		rc = err_set(e, -ENODEV, "netdev: %s is gone or another", s->arg[NAME]);
	else
		rc = check_addresses(&n, l.index, w, e);
	close(n.sk);
	return rc;
}
