// SPDX-License-Identifier: Apache-2.0
/*
 * kernel.c - the kernel's vhost-net as a back-end: the same verbs, said by ioctl.
 *
 * Each pair of rings has a vhost descriptor and a queue of the TAP device cfg->tap behind it. The
 * kernel works in this process's address space, so rings and memory go by their addresses here.
 * It serves a ring from the moment it has a TAP queue for it: that is what enabling is.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <linux/virtio_net.h>
#include <linux/virtio_config.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "include/ioapi.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"
#include "sim/vhost/transport.h"
#include "sim/vhost/vhost.h"

#define BIT(n)       (UINT64_C(1) << (n))
#define REGIONS_MAX  64		/* vhost.max_mem_regions, as it comes */

_Static_assert(sizeof(struct vhost_memory) == 8, "and the regions follow");

#define RETRY_MS     1000
#define OFFLOADS_IN  (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
		      BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))
#define OFFLOADS_OUT (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) | \
		      BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN))
/* What vhost-net names among its features and no driver is shown. */
#define NOT_GUEST    (BIT(VHOST_F_LOG_ALL) | BIT(VHOST_NET_F_VIRTIO_NET_HDR) | \
		      BIT(VIRTIO_F_ACCESS_PLATFORM))

struct pair { int vhost, tap; };

struct vhost_kernel {
	struct vhost_transport t;
	struct loop_source retry;
	const struct vhost_kernel_sys *sys;
	unsigned    pairs;
	bool        open, up;
	uint64_t    opens, refusals;
	struct pair pair[];
};

static struct vhost_kernel *kernel_of(struct vhost_transport *t)
{
	return (struct vhost_kernel *)t;
}

/* ---- the kernel, or who plays it ------------------------------------------------------------ */

static int real_open(void *ctx, const char *path)
{
	(void)ctx;
	return fault_now() ? -EMFILE :
	       (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

static int real_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
	(void)ctx;
	return (int)sys_call(SYS_ioctl, fd, request, arg);
}

static const struct vhost_kernel_sys real_sys = { .open = real_open, .ioctl = real_ioctl };

/* A refusal is told as one, with its reason in the log. */
static int ask(struct vhost_kernel *k, int fd, const char *name, unsigned long request, void *arg)
{
	int rc = k->up ? k->sys->ioctl(k->sys->ctx, fd, request, arg) : -ENOTCONN;

	if (rc >= 0 || rc == -ENOTCONN)
		return rc;
	k->refusals++;
	log_warn(k->t.cfg->id, "the kernel refused %s (errno %d)", name, -rc);
	return -EREMOTEIO;
}

#define ASK(k, fd, request, arg) ask(k, fd, #request, request, arg)

/* ---- life ----------------------------------------------------------------------------------- */

static void let_go(struct vhost_kernel *k)
{
	k->up = false;
	for (unsigned i = 0; i < k->pairs; i++) {
		fd_drop(&k->pair[i].vhost);
		fd_drop(&k->pair[i].tap);
	}
}

static int open_kept(struct vhost_kernel *k, const char *path, int *fd)
{
	int got = k->sys->open(k->sys->ctx, path);

	if (got >= 0)
		got = fd_keep(got);
	*fd = got < 0 ? -1 : got;
	return got < 0 ? got : 0;
}

static int open_pair(struct vhost_kernel *k, struct pair *p, struct err *e)
{
	const char *id = k->t.cfg->id, *tap = k->t.cfg->tap;
	struct ifreq ifr = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int rc = open_kept(k, "/dev/vhost-net", &p->vhost);

	if (rc)
		return err_set(e, rc, "%s: cannot open /dev/vhost-net (errno %d): is the module "
			       "vhost_net loaded, and the device shown to this container?", id,
			       -rc);
	rc = open_kept(k, "/dev/net/tun", &p->tap);
	if (rc)
		return err_set(e, rc, "%s: cannot open /dev/net/tun (errno %d): is the module tun "
			       "loaded, and the device shown to this container?", id, -rc);
	if (k->pairs > 1)
		ifr.ifr_flags |= IFF_MULTI_QUEUE;
	memcpy(ifr.ifr_name, tap, sizeof(ifr.ifr_name));
	rc = k->sys->ioctl(k->sys->ctx, p->tap, TUNSETIFF, &ifr);
	if (rc < 0)
		return err_set(e, rc, "%s: cannot attach to TAP device %s (errno %d): does it "
			       "exist, %sand does it belong to this user?", id, tap, -rc,
			       k->pairs > 1 ? "with multi_queue, " : "");
	return 0;
}

static int bring_up(struct vhost_kernel *k, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; !rc && i < k->pairs; i++)
		rc = open_pair(k, &k->pair[i], e);
	if (rc) {
		let_go(k);
		return rc;
	}
	k->up = true;
	k->opens++;
	k->t.upper.found(k->t.upper.owner);
	return 0;
}

static int kernel_open(struct vhost_transport *t, struct err *e)
{
	struct vhost_kernel *k = kernel_of(t);
	int rc;

	k->open = true;
	rc = bring_up(k, e);
	if (rc)
		k->open = false;
	return rc;
}

/* It is there or it is not. */
static void kernel_wait(struct vhost_transport *t, unsigned wait_ms)
{
	(void)t;
	(void)wait_ms;
}

static void kernel_close(struct vhost_transport *t)
{
	struct vhost_kernel *k = kernel_of(t);

	k->open = false;
	if (k->retry.linked)
		loop_timer(t->loop, &k->retry, 0);
	let_go(k);
}

static void kernel_drop(struct vhost_transport *t, bool slow)
{
	struct vhost_kernel *k = kernel_of(t);

	(void)slow;
	let_go(k);
	if (k->open)
		loop_timer(t->loop, &k->retry, loop_now(t->loop) + RETRY_MS);
}

static void retry_ready(struct loop_source *s, uint32_t events)
{
	struct vhost_kernel *k = (struct vhost_kernel *)((char *)s -
							 offsetof(struct vhost_kernel, retry));

	(void)events;
	if (lock_take(k->t.lock))
		return;
	if (k->open && !k->up && bring_up(k, NULL))
		loop_timer(k->t.loop, &k->retry, loop_now(k->t.loop) + RETRY_MS);
	lock_drop(k->t.lock);
}

static void kernel_orphan(struct vhost_transport *t)
{
	kernel_of(t)->open = false;
	let_go(kernel_of(t));
}

static void kernel_free(struct vhost_transport *t)
{
	if (!t)
		return;
	kernel_close(t);
	free(kernel_of(t));
}

static unsigned kernel_stats(const struct vhost_transport *t, struct ioapi_stat *rows, unsigned max)
{
	const struct vhost_kernel *k = (const struct vhost_kernel *)t;
	const struct ioapi_stat own[] = {
		{ "connects", k->opens }, { "requests_refused", k->refusals },
	};
	const unsigned n = sizeof(own) / sizeof(own[0]);

	for (unsigned i = 0; i < n && i < max; i++)
		rows[i] = own[i];
	return n;
}

/* ---- verbs ---------------------------------------------------------------------------------- */

static int kernel_hello(struct vhost_transport *t, struct vhost_peer *peer)
{
	struct vhost_kernel *k = kernel_of(t);
	uint64_t features = 0;
	int rc = 0;

	for (unsigned i = 0; !rc && i < k->pairs; i++)
		rc = ASK(k, k->pair[i].vhost, VHOST_SET_OWNER, NULL);
	if (!rc)
		rc = ASK(k, k->pair[0].vhost, VHOST_GET_FEATURES, &features);
	if (rc < 0) {
		kernel_drop(t, true);
		return -ENOTCONN;
	}
	features &= ~NOT_GUEST;
	features |= OFFLOADS_IN | OFFLOADS_OUT | (k->pairs > 1 ? BIT(VIRTIO_NET_F_MQ) : 0);
	*peer = (struct vhost_peer){
		.features = features, .rings_max = 2 * k->pairs, .regions_max = REGIONS_MAX,
		.can = VHOST_CAN_ENABLE,
	};
	return 0;
}

static int kernel_sync(struct vhost_transport *t)
{
	(void)t;
	return 0;
}

/* What the TAP may hand to a driver that has said it takes it. */
static unsigned long offloads(uint64_t features)
{
	static const struct { unsigned bit, tun; } map[] = {
		{ VIRTIO_NET_F_GUEST_CSUM, TUN_F_CSUM }, { VIRTIO_NET_F_GUEST_TSO4, TUN_F_TSO4 },
		{ VIRTIO_NET_F_GUEST_TSO6, TUN_F_TSO6 },
		{ VIRTIO_NET_F_GUEST_ECN, TUN_F_TSO_ECN },
	};
	unsigned long on = 0;

	for (unsigned i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		on |= features & BIT(map[i].bit) ? map[i].tun : 0;
	return on;
}

/* 5.1.6: the header has its last field with either feature, and the TAP makes it. */
static int kernel_set_features(struct vhost_transport *t, uint64_t features)
{
	struct vhost_kernel *k = kernel_of(t);
	bool long_header = features & (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF));
	int header = long_header ? (int)sizeof(struct virtio_net_hdr_mrg_rxbuf) :
		     (int)sizeof(struct virtio_net_hdr);
	uint64_t ours = features & ~(OFFLOADS_IN | OFFLOADS_OUT | BIT(VIRTIO_NET_F_MQ));
	int rc = 0;

	for (unsigned i = 0; rc >= 0 && i < k->pairs; i++) {
		const struct pair *p = &k->pair[i];

		rc = ASK(k, p->tap, TUNSETVNETHDRSZ, &header);
		if (rc >= 0)
			rc = ASK(k, p->tap, TUNSETOFFLOAD, (void *)offloads(features));
		if (rc >= 0)
			rc = ASK(k, p->vhost, VHOST_SET_FEATURES, &ours);
	}
	return rc < 0 ? rc : 0;
}

static int kernel_set_memory(struct vhost_transport *t, const struct space_region *r, unsigned n)
{
	struct vhost_kernel *k = kernel_of(t);
	uint64_t space[1 + REGIONS_MAX * sizeof(struct vhost_memory_region) / 8] = { 0 };
	struct vhost_memory *table = (struct vhost_memory *)space;
	int rc = 0;

	assert(n <= REGIONS_MAX);
	table->nregions = n;
	for (unsigned i = 0; i < n; i++)
		table->regions[i] = (struct vhost_memory_region){
			.guest_phys_addr = r[i].iova, .memory_size = r[i].size,
			.userspace_addr = r[i].va,
		};
	for (unsigned i = 0; rc >= 0 && i < k->pairs; i++)
		rc = ASK(k, k->pair[i].vhost, VHOST_SET_MEM_TABLE, table);
	return rc < 0 ? rc : 0;
}

static int kernel_memory_one(struct vhost_transport *t, const struct space_region *r)
{
	(void)t;
	(void)r;
	return -EOPNOTSUPP;
}

static int vhost_of(struct vhost_kernel *k, unsigned ring)
{
	assert(ring / 2 < k->pairs);
	return k->pair[ring / 2].vhost;
}

static int kernel_ring_addr(struct vhost_transport *t, unsigned ring,
			    const struct vhost_ring_addr *a)
{
	struct vhost_kernel *k = kernel_of(t);
	struct vhost_vring_addr addr = {
		.index = ring % 2, .desc_user_addr = a->desc.va, .avail_user_addr = a->avail.va,
		.used_user_addr = a->used.va,
	};

	return ASK(k, vhost_of(k, ring), VHOST_SET_VRING_ADDR, &addr);
}

static int kernel_ring_setup(struct vhost_transport *t, unsigned ring,
			     const struct vhost_ring_addr *a)
{
	struct vhost_kernel *k = kernel_of(t);
	struct vhost_vring_state num = { .index = ring % 2, .num = a->num };
	struct vhost_vring_state base = { .index = ring % 2, .num = a->base };
	int rc = ASK(k, vhost_of(k, ring), VHOST_SET_VRING_NUM, &num);

	if (rc >= 0)
		rc = ASK(k, vhost_of(k, ring), VHOST_SET_VRING_BASE, &base);
	return rc < 0 ? rc : kernel_ring_addr(t, ring, a);
}

static int kernel_ring_fd(struct vhost_transport *t, unsigned ring, enum vhost_fd which, int fd)
{
	static const struct { const char *name; unsigned long request; } how[] = {
		[VHOST_FD_KICK] = { "VHOST_SET_VRING_KICK", VHOST_SET_VRING_KICK },
		[VHOST_FD_CALL] = { "VHOST_SET_VRING_CALL", VHOST_SET_VRING_CALL },
		[VHOST_FD_ERR] = { "VHOST_SET_VRING_ERR", VHOST_SET_VRING_ERR },
	};
	struct vhost_kernel *k = kernel_of(t);
	struct vhost_vring_file file = { .index = ring % 2, .fd = fd };

	return ask(k, vhost_of(k, ring), how[which].name, how[which].request, &file);
}

static int kernel_ring_enable(struct vhost_transport *t, unsigned ring, bool on)
{
	struct vhost_kernel *k = kernel_of(t);
	struct vhost_vring_file file = {
		.index = ring % 2, .fd = on ? k->pair[ring / 2].tap : -1,
	};

	return ASK(k, vhost_of(k, ring), VHOST_NET_SET_BACKEND, &file);
}

static int kernel_ring_stop(struct vhost_transport *t, unsigned ring, uint32_t *base)
{
	struct vhost_kernel *k = kernel_of(t);
	struct vhost_vring_state state = { .index = ring % 2 };
	int rc = kernel_ring_enable(t, ring, false);

	if (rc >= 0)
		rc = ASK(k, vhost_of(k, ring), VHOST_GET_VRING_BASE, &state);
	if (rc < 0)
		return rc;
	*base = state.num;
	return 0;
}

/* ---- what the kernel has no word for -------------------------------------------------------- */

static int no_mtu(struct vhost_transport *t, uint16_t mtu)
{
	(void)t;
	(void)mtu;
	return -EOPNOTSUPP;
}

static int no_status(struct vhost_transport *t, uint8_t status)
{
	(void)t;
	(void)status;
	return -EOPNOTSUPP;
}

static int no_get_status(struct vhost_transport *t, uint8_t *status)
{
	(void)t;
	(void)status;
	return -EOPNOTSUPP;
}

static int no_config(struct vhost_transport *t, void *buf, unsigned off, unsigned len)
{
	(void)t;
	(void)buf;
	(void)off;
	(void)len;
	return -EOPNOTSUPP;
}

static int no_announce(struct vhost_transport *t, const uint8_t *mac)
{
	(void)t;
	(void)mac;
	return -EOPNOTSUPP;
}

static int no_reset(struct vhost_transport *t)
{
	(void)t;
	return -EOPNOTSUPP;
}

static int no_log(struct vhost_transport *t, int fd, uint64_t size)
{
	(void)t;
	(void)fd;
	(void)size;
	return -EOPNOTSUPP;
}

static int no_inflight_new(struct vhost_transport *t, struct vhost_inflight *i)
{
	(void)t;
	(void)i;
	return -EOPNOTSUPP;
}

static int no_inflight_set(struct vhost_transport *t, const struct vhost_inflight *i)
{
	(void)t;
	(void)i;
	return -EOPNOTSUPP;
}

static const struct vhost_ops kernel_ops = {
	.name = "vhost-kernel",
	.open = kernel_open, .wait = kernel_wait, .close = kernel_close, .drop = kernel_drop,
	.orphan = kernel_orphan, .free = kernel_free, .stats = kernel_stats,
	.hello = kernel_hello, .sync = kernel_sync,
	.set_features = kernel_set_features, .set_memory = kernel_set_memory,
	.memory_add = kernel_memory_one, .memory_del = kernel_memory_one,
	.ring_setup = kernel_ring_setup, .ring_addr = kernel_ring_addr,
	.ring_fd = kernel_ring_fd, .ring_enable = kernel_ring_enable,
	.ring_stop = kernel_ring_stop, .set_mtu = no_mtu, .set_status = no_status,
	.get_status = no_get_status, .get_config = no_config, .announce = no_announce,
	.reset = no_reset, .set_log = no_log, .inflight_new = no_inflight_new,
	.inflight_set = no_inflight_set,
};

int vhost_kernel_new(struct vhost_transport **t, const struct vhost_config *cfg, struct loop *loop,
		     struct lock *lock, const struct vhost_upper *upper, struct err *e)
{
	unsigned pairs = cfg->rings < 2 ? 1 : cfg->rings / 2;
	struct vhost_kernel *k = fault_zalloc(sizeof(*k) + pairs * sizeof(k->pair[0]));

	_Static_assert(sizeof(cfg->tap) == IFNAMSIZ, "the name of a network device");
	if (!k)
		return err_set(e, -ENOMEM, "%s: out of memory", cfg->id);
	k->t = (struct vhost_transport){
		.ops = &kernel_ops, .cfg = cfg, .upper = *upper, .loop = loop, .lock = lock,
	};
	k->retry = (struct loop_source){ .ready = retry_ready, .fd = -1 };
	k->sys = cfg->kernel ? cfg->kernel : &real_sys;
	k->pairs = pairs;
	for (unsigned i = 0; i < pairs; i++)
		k->pair[i] = (struct pair){ -1, -1 };
	*t = &k->t;
	return 0;
}
