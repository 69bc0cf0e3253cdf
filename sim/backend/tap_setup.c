// SPDX-License-Identifier: Apache-2.0
// tap_setup.c - making a TAP interface: queues, offloads, address, bridge. See tap_impl.h.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/if_tun.h>
#include <linux/sockios.h>

#include "sim/backend/tap_impl.h"
#include "sim/core/err.h"

static int fail(struct err *e, const char *dev, const char *what)
{
	return err_set(e, -errno, "%s: %s: %s%s", dev, what, strerror(errno),
		       errno == EPERM ? " (CAP_NET_ADMIN is needed; a running switch has given it "
		       "up: give the port when starting it, with --port or --config)" : "");
}

static int open_queue(const char *dev, bool multi, struct err *e)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int size = TAP_HDR, fd;

	fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return fail(e, dev, "/dev/net/tun");
	if (multi)
		r.ifr_flags |= IFF_MULTI_QUEUE;
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	if (ioctl(fd, TUNSETIFF, &r) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &size) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, TAP_OFFLOADS) < 0) {
		int rc = fail(e, dev, "cannot make the interface");

		close(fd);
		return rc;
	}
	return fd;
}

/* "10.0.0.1/24" to address and mask. */
static int parse_address(const char *text, struct in_addr *a, struct in_addr *mask)
{
	char copy[24], *slash, *end;
	unsigned long len = 32;

	if ((size_t)snprintf(copy, sizeof(copy), "%s", text) >= sizeof(copy))
		return -EINVAL;
	slash = strchr(copy, '/');
	if (slash) {
		*slash = 0;
		len = strtoul(slash + 1, &end, 10);
		if (*end || end == slash + 1 || len > 32)
			return -EINVAL;
	}
	mask->s_addr = len ? htonl(~0u << (32 - len)) : 0;
	return inet_pton(AF_INET, copy, a) == 1 ? 0 : -EINVAL;
}

static int set_address(int s, const char *dev, const char *text, struct err *e)
{
	struct ifreq r = { .ifr_flags = 0 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct in_addr a, mask;

	if (parse_address(text, &a, &mask))
		return err_set(e, -EINVAL, "address %s: not like 10.0.0.1/24", text);
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	in.sin_addr = a;
	memcpy(&r.ifr_addr, &in, sizeof(in));
	if (ioctl(s, SIOCSIFADDR, &r) < 0)
		return fail(e, dev, text);
	in.sin_addr = mask;
	memcpy(&r.ifr_addr, &in, sizeof(in));
	return ioctl(s, SIOCSIFNETMASK, &r) < 0 ? fail(e, dev, text) : 0;
}

static int join_bridge(int s, const char *dev, const char *bridge, struct err *e)
{
	struct ifreq r = { .ifr_ifindex = (int)if_nametoindex(dev) };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", bridge);
	return ioctl(s, SIOCBRADDIF, &r) < 0 ? fail(e, dev, bridge) : 0;
}

static int bring_up(int s, const char *dev, unsigned mtu, struct err *e)
{
	struct ifreq r = { .ifr_flags = 0 };

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", dev);
	r.ifr_mtu = (int)mtu;
	if (mtu && ioctl(s, SIOCSIFMTU, &r) < 0)
		return fail(e, dev, "MTU");
	if (ioctl(s, SIOCGIFFLAGS, &r) < 0)
		return fail(e, dev, "state");
	r.ifr_flags |= IFF_UP;
	return ioctl(s, SIOCSIFFLAGS, &r) < 0 ? fail(e, dev, "cannot bring it up") : 0;
}

int tap_set_offloads(struct tap *t, unsigned q, unsigned offloads)
{
	unsigned all = TAP_OFFLOADS;
	int rc = 0;

	while (__atomic_exchange_n(&t->offload_lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
	t->queue[q].offloads = offloads;
	for (unsigned i = 0; i < t->queues; i++)
		all &= t->queue[i].offloads;
	if (all != t->offloads)
		rc = ioctl(t->queue[0].fd, TUNSETOFFLOAD, (unsigned long)all) < 0 ? -errno : 0;
	if (!rc)
		__atomic_store_n(&t->offloads, all, __ATOMIC_RELEASE);
	__atomic_store_n(&t->offload_lock, 0, __ATOMIC_RELEASE);
	return rc;
}

int tap_open(struct tap *t, const struct tap_config *cfg, struct err *e)
{
	int s, rc = 0;

	for (unsigned q = 0; q < cfg->queues; q++) {
		int fd = open_queue(cfg->dev, cfg->queues > 1, e);

		if (fd < 0)
			return fd;
		t->queue[q].fd = fd;
	}
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (s < 0)
		return fail(e, cfg->dev, "socket");
	if (cfg->address)
		rc = set_address(s, cfg->dev, cfg->address, e);
	if (!rc && cfg->bridge)
		rc = join_bridge(s, cfg->dev, cfg->bridge, e);
	if (!rc)
		rc = bring_up(s, cfg->dev, cfg->mtu, e);
	close(s);
	return rc;
}
