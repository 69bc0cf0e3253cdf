// SPDX-License-Identifier: Apache-2.0
/*
 * vhost_kernel.c - the transport to the kernel's vhost-net, against a mock: the module is not to
 * be had everywhere, so open() gives an eventfd that stands for it and ioctl() is written down.
 */
#include <errno.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/vhost.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "sim/vhost/transport.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define CALLS_MAX 256

struct call {
	unsigned long request;
	int fd;
	union {
		struct vhost_vring_state state;
		struct vhost_vring_addr  addr;
		struct vhost_vring_file  file;
		struct ifreq             ifr;
		uint64_t                 u64;
		int                      header;
		struct {		/* struct vhost_memory */
			uint32_t                   n, padding;
			struct vhost_memory_region region[4];
		} memory;
	} arg;
	unsigned long flags;		/* TUNSETOFFLOAD */
};

static struct mock {
	struct call call[CALLS_MAX];
	unsigned calls;
	unsigned long refuse;		/* this request */
	const char *missing;		/* this file */
	unsigned base;
} mock;

static int mock_open(void *ctx, const char *path)
{
	(void)ctx;
	if (mock.missing && !strcmp(path, mock.missing))
		return -ENOENT;
	return eventfd(0, EFD_CLOEXEC);
}

static int mock_ioctl(void *ctx, int fd, unsigned long request, void *arg)
{
	struct call *c = &mock.call[mock.calls++ % CALLS_MAX];

	(void)ctx;
	*c = (struct call){ .request = request, .fd = fd };
	if (request == mock.refuse)
		return -EINVAL;
	if (request == TUNSETOFFLOAD)
		c->flags = (unsigned long)arg;
	else if (request == TUNSETVNETHDRSZ)
		memcpy(&c->arg, arg, sizeof(int));
	else if (request == TUNSETIFF)
		memcpy(&c->arg, arg, sizeof(c->arg.ifr));
	else if (request == VHOST_SET_MEM_TABLE)
		memcpy(&c->arg, arg, sizeof(struct vhost_memory) +
		       ((struct vhost_memory *)arg)->nregions *
		       sizeof(struct vhost_memory_region));
	else if (arg && request != VHOST_GET_FEATURES)
		memcpy(&c->arg, arg, _IOC_SIZE(request) < 40 ? _IOC_SIZE(request) : 40);
	if (request == VHOST_GET_FEATURES)
		*(uint64_t *)arg = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
			BIT(VHOST_F_LOG_ALL) | BIT(VHOST_NET_F_VIRTIO_NET_HDR) |
			BIT(VIRTIO_F_ACCESS_PLATFORM);
	if (request == VHOST_GET_VRING_BASE)
		((struct vhost_vring_state *)arg)->num = mock.base;
	return 0;
}

static const struct vhost_kernel_sys mock_sys = { .open = mock_open, .ioctl = mock_ioctl };

/* The i-th call of a kind; NULL past the last. */
static const struct call *find(unsigned long request, unsigned i)
{
	for (unsigned k = 0; k < mock.calls; k++)
		if (mock.call[k].request == request && !i--)
			return &mock.call[k];
	return NULL;
}

static unsigned count(unsigned long request)
{
	unsigned n = 0;

	while (find(request, n))
		n++;
	return n;
}

static void init(struct sess *s, unsigned rings)
{
	memset(&mock, 0, sizeof(mock));
	sess_init(s, NULL);
	s->cfg.rings = rings;
	s->cfg.features |= BIT(VIRTIO_NET_F_MQ);
	s->cfg.kernel = &mock_sys;
	strcpy(s->cfg.tap, "tap7");
	sess_remake(s);
}

static void the_kernel_is_told_in_its_order_by_addresses_of_this_process(void)
{
	static const unsigned long order[] = {
		TUNSETIFF, VHOST_SET_OWNER, VHOST_GET_FEATURES, TUNSETVNETHDRSZ, TUNSETOFFLOAD,
		VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL,
		VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND,
		VHOST_SET_VRING_KICK, VHOST_NET_SET_BACKEND,
	};
	const struct call *c;
	struct sess s;

	init(&s, 2);
	CU_EQ(sess_open(&s), 0);
	CU_ASSERT(s.up);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(mock.calls, ARRAY_SIZE(order));
	for (unsigned i = 0; i < ARRAY_SIZE(order) && i < mock.calls; i++)
		CU_EQ(mock.call[i].request, order[i]);
	c = find(TUNSETIFF, 0);
	CU_ASSERT_STRING_EQUAL(c->arg.ifr.ifr_name, "tap7");
	CU_EQ(c->arg.ifr.ifr_flags, IFF_TAP | IFF_NO_PI | IFF_VNET_HDR);
	CU_EQ(find(TUNSETVNETHDRSZ, 0)->arg.header, 12);
	CU_EQ(find(VHOST_SET_FEATURES, 0)->arg.u64, BIT(VIRTIO_F_VERSION_1));
	c = find(VHOST_SET_MEM_TABLE, 0);
	CU_EQ(c->arg.memory.n, 1);
	CU_EQ(c->arg.memory.region[0].userspace_addr, (uintptr_t)s.mem);
	CU_EQ(c->arg.memory.region[0].memory_size, SESS_MEMORY);
	c = find(VHOST_SET_VRING_ADDR, 1);
	CU_EQ(c->arg.addr.index, 1);
	CU_EQ(c->arg.addr.desc_user_addr, s.rings[1].desc);
	CU_EQ(find(VHOST_NET_SET_BACKEND, 1)->arg.file.fd, find(TUNSETIFF, 0)->fd);
	sess_free(&s);
}

static void a_stop_takes_the_tap_away_and_asks_where_it_stood(void)
{
	struct sess s;

	init(&s, 2);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	mock.calls = 0;
	mock.base = 9;
	CU_EQ(sess_do(&s, vhost_set_space(s.v, NULL)), 0);
	CU_EQ(mock.call[0].request, VHOST_NET_SET_BACKEND);
	CU_EQ(mock.call[0].arg.file.fd, -1);
	CU_EQ(mock.call[1].request, VHOST_GET_VRING_BASE);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, s.space)), 0);
	CU_EQ(find(VHOST_SET_VRING_BASE, 0)->arg.state.num, 9);
	sess_free(&s);
}

static void each_pair_has_descriptors_of_its_own(void)
{
	struct vhost_offer o;
	struct sess s;

	init(&s, 4);
	CU_EQ(sess_open(&s), 0);
	vhost_offer(s.v, &o);
	CU_EQ(o.rings_max, 4);
	CU_ASSERT(o.features & BIT(VIRTIO_NET_F_MQ));
	CU_EQ(sess_start(&s, 4, false), 0);
	CU_EQ(count(TUNSETIFF), 2);
	CU_ASSERT(find(TUNSETIFF, 0)->arg.ifr.ifr_flags & IFF_MULTI_QUEUE);
	CU_EQ(count(VHOST_SET_MEM_TABLE), 2);
	CU_EQ(find(VHOST_SET_VRING_NUM, 2)->arg.state.index, 0);
	CU_ASSERT(find(VHOST_SET_VRING_NUM, 2)->fd != find(VHOST_SET_VRING_NUM, 0)->fd);
	sess_free(&s);
}

static void more_than_eight_regions_are_fine_here(void)
{
	struct sess s;

	init(&s, 2);
	CU_EQ(sess_open(&s), 0);
	for (unsigned i = 0; i < 3; i++)
		CU_EQ(space_map(s.space, &(struct space_region){
			.iova = (1ull << 44) + i * 8192, .size = 4096,
			.va = (1ull << 45) + i * 8192, .fd = s.mem_fd }, 1), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(find(VHOST_SET_MEM_TABLE, 0)->arg.memory.n, 4);
	CU_EQ(find(VHOST_SET_MEM_TABLE, 0)->arg.memory.region[0].guest_phys_addr, 1ull << 44);
	CU_EQ(find(VHOST_SET_MEM_TABLE, 0)->arg.memory.region[0].userspace_addr, 1ull << 45);
	sess_free(&s);
}

static void what_is_missing_is_named(void)
{
	static const struct {
		const char *file;
		unsigned long refuse;
		const char *word;
	} cases[] = {
		{ "/dev/vhost-net", 0, "vhost_net" }, { "/dev/net/tun", 0, "tun" },
		{ NULL, TUNSETIFF, "tap7" },
	};
	unsigned kept = fd_kept_count();
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		init(&s, 4);
		mock.missing = cases[i].file;
		mock.refuse = cases[i].refuse;
		CU_ASSERT(sess_open(&s) < 0);
		CU_ASSERT(strstr(s.err.msg, cases[i].word) != NULL);
		sess_free(&s);
		CU_EQ(fd_kept_count(), kept);
	}
}

static void a_refusal_of_any_call_at_the_start_fails_the_device(void)
{
	static const unsigned long requests[] = {
		TUNSETVNETHDRSZ, TUNSETOFFLOAD, VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE,
		VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE, VHOST_SET_VRING_ADDR,
		VHOST_SET_VRING_ERR, VHOST_SET_VRING_CALL, VHOST_SET_VRING_KICK,
		VHOST_NET_SET_BACKEND,
	};
	unsigned kept = fd_kept_count();
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		init(&s, 2);
		CU_EQ(sess_open(&s), 0);
		mock.refuse = requests[i];
		CU_EQ(sess_start(&s, 2, false), -EREMOTEIO);
		CU_EQ(s.failures, 1);
		sess_free(&s);
		CU_EQ(fd_kept_count(), kept);
	}
}

CU_MAIN("wire/vhost_kernel",
	T(the_kernel_is_told_in_its_order_by_addresses_of_this_process),
	T(a_stop_takes_the_tap_away_and_asks_where_it_stood),
	T(each_pair_has_descriptors_of_its_own),
	T(more_than_eight_regions_are_fine_here),
	T(what_is_missing_is_named),
	T(a_refusal_of_any_call_at_the_start_fails_the_device))
