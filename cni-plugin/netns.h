/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netns.h - a pod's network namespace, without staying in it: what is opened there keeps belonging
 * to it, and is used from outside.
 */
#ifndef CNI_PLUGIN_NETNS_H
#define CNI_PLUGIN_NETNS_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/netlink.h>

struct err;

/*
 * Opens a socket and (tun not NULL) /dev/net/tun in the namespace that path leads to. -EBADR: it
 * leads to none. What path is is judged by the descriptor it is entered by.
 */
int netns_open(const char *path, int family, int type, int protocol, int *sk, int *tun,
	       struct err *e);

/* Whether an interface of that name is in there. */
int netns_has(const char *path, const char *ifname, bool *has, struct err *e);

/* ---- rtnetlink: one request, and what comes back ------------------------------------------- */

#define NETLINK_REQUEST_MAX 1024
#define NETLINK_ANSWERS_MAX 4096	/* messages of one dump */

struct netlink {
	int      sk;			/* of netns_open(AF_NETLINK, ..., NETLINK_ROUTE) */
	uint32_t seq;
	union {
		struct nlmsghdr h;
		uint8_t raw[NETLINK_REQUEST_MAX];
	} out;
};

/* The message's own header, e.g. struct ifinfomsg; then attributes; then the call. */
void netlink_begin(struct netlink *n, uint16_t type, uint16_t flags, const void *head, size_t len);
void netlink_put(struct netlink *n, uint16_t type, const void *data, size_t len);
/*
 * 0 or the kernel's -errno. Each message that is an answer is given to `take` (may be NULL), which
 * finds its attributes by netlink_find().
 */
int  netlink_call(struct netlink *n, void (*take)(void *arg, const struct nlmsghdr *m), void *arg);
/* The data of an attribute, or NULL; attributes begin at `off` of the payload of m. */
const void *netlink_find(const struct nlmsghdr *m, size_t off, uint16_t type, size_t *len);
/* The same in the data of one that holds others. */
const void *netlink_within(const void *data, size_t len, uint16_t type, size_t *found_len);

#endif
