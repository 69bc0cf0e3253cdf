// SPDX-License-Identifier: Apache-2.0
// vus_evil.c - a front-end that abuses what the kernel lets it send: control data, eventfds,
// sockets that linger, memory nobody touched yet, an in-flight area it writes itself.
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "tests/wire/vus_rig.h"

#define PACKED BIT(VIRTIO_F_RING_PACKED)

/* ---- control data --------------------------------------------------------------------------- */

struct control {
	char bytes[512] __attribute__((aligned(8)));	/* of cmsghdrs */
	size_t n;
};

static void *control_add(struct control *c, int type, size_t n)
{
	struct cmsghdr *h = (struct cmsghdr *)(void *)(c->bytes + c->n);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = type;
	h->cmsg_len = CMSG_LEN(n);
	c->n += CMSG_SPACE(n);
	return CMSG_DATA(h);
}

static void send_control(struct rig *g, uint32_t request, uint64_t value, struct control *c)
{
	struct {
		struct vu_header h;
		uint64_t v;
	} __attribute__((packed)) m = { { request, VU_VERSION, 8 }, value };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = c->bytes,
			    .msg_controllen = c->n };

	CU_EQ(sendmsg(g->peer.fd, &h, MSG_NOSIGNAL), sizeof(m));
}

static void control_data_of_any_make_leaks_nothing(void)
{
	struct rig *g = rig_new();
	struct ucred me = { getpid(), getuid(), getgid() };
	unsigned before;

	rig_start(g, RIG_FEATURES);
	before = fds_open();
	for (unsigned kind = 0; kind < 5; kind++) {
		struct control c = { .n = 0 };
		int fd = g->peer.mem.fd;

		memset(c.bytes, 0, sizeof(c.bytes));
		if (kind == 0 || kind == 3)	/* who we are; nobody asked */
			memcpy(control_add(&c, SCM_CREDENTIALS, sizeof(me)), &me, sizeof(me));
		if (kind == 1)			/* descriptors, none of them */
			for (unsigned i = 0; i < 8; i++)
				control_add(&c, SCM_RIGHTS, 0);
		if (kind == 2 || kind == 4)	/* one each in several lists */
			for (unsigned i = 0; i < (kind == 4 ? 16 : 2); i++)
				memcpy(control_add(&c, SCM_RIGHTS, sizeof(fd)), &fd, sizeof(fd));
		if (kind == 3)
			memcpy(control_add(&c, SCM_RIGHTS, sizeof(fd)), &fd, sizeof(fd));
		send_control(g, VU_SET_FEATURES, g->peer.features, &c);
		/* without a descriptor it is the request it says it is */
		CU_EQ(rig_alive(g), kind < 2);
		/* the session's socket, and a kick and a call eventfd of each ring */
		CU_EQ(fds_open(), before - (kind < 2 ? 0 : 5));
		if (kind < 2)
			CU_ASSERT(rig_echo(g));
		rig_reconnect(g);
		rig_start(g, RIG_FEATURES);
		before = fds_open();
	}
	rig_free(g);
}

/* ---- what is mapped ------------------------------------------------------------------------- */

struct mapping {
	uint64_t from, to, off;
	unsigned long rss_kb, locked_kb;
	bool no_dump;
};

/* Our first mapping of a memfd of that name. */
static bool find_mapping(const char *name, struct mapping *m)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512], perms[8];
	bool found = false;

	memset(m, 0, sizeof(*m));
	while (fgets(line, sizeof(line), f)) {
		struct mapping x = { 0 };

		if (sscanf(line, "%lx-%lx %7s %lx", &x.from, &x.to, perms, &x.off) == 4) {
			if (found)
				break;
			found = strstr(line, name) != NULL;
			*m = x;
			continue;
		}
		if (!found)
			continue;
		sscanf(line, "Rss: %lu", &m->rss_kb);
		sscanf(line, "Locked: %lu", &m->locked_kb);
		if (!strncmp(line, "VmFlags:", 8))
			m->no_dump = strstr(line, " dd") != NULL;
	}
	fclose(f);
	return found;
}

static int sparse(const char *name, uint64_t size)
{
	int fd = memfd_create(name, MFD_ALLOW_SEALING);

	CU_EQ(ftruncate(fd, (off_t)size), 0);
	return fd;
}

static void only_the_region_is_mapped(void)
{
	struct rig *g = rig_new();
	int fd = sparse("whole", 64 << 12);
	struct vu_single_region r = { 0, { DRV_GPA, 3 << 12, DRV_UVA, 17 << 12 } };
	struct mapping m;

	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(rig_ask(g, VU_ADD_MEM_REG, &r, sizeof(r), &fd, 1), 0);
	CU_ASSERT(find_mapping("memfd:whole", &m));
	CU_EQ(m.off, 17 << 12);
	CU_EQ(m.to - m.from, 3 << 12);
	close(fd);
	rig_free(g);
}

static void memory_is_neither_populated_nor_locked_nor_dumped(void)
{
	struct rig *g = rig_new();
	int fd = sparse("sparse", 1ull << 40);
	struct vu_single_region r = { 0, { DRV_GPA, 1ull << 40, DRV_UVA, 0 } };
	struct mapping m;

	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(rig_ask(g, VU_ADD_MEM_REG, &r, sizeof(r), &fd, 1), 0);
	CU_ASSERT(find_mapping("memfd:sparse", &m));
	CU_EQ(m.to - m.from, 1ull << 40);
	CU_EQ(m.rss_kb, 0);
	CU_EQ(m.locked_kb, 0);
	CU_ASSERT(m.no_dump);
	close(fd);
	rig_free(g);
}

/* ---- rings ---------------------------------------------------------------------------------- */

static void a_size_may_be_set_a_million_times(void)
{
	struct rig *g = rig_new();
	struct mallinfo2 before;
	unsigned fds;

	rig_negotiate(g, RIG_FEATURES);
	before = mallinfo2();
	fds = fds_open();
	for (unsigned long i = 0; i < cu_rounds(20000); i++) {
		CU_EQ(peer_send_state(&g->peer, VU_SET_VRING_NUM, i % 4, 1u << i % 16), 0);
		rig_run(g);
	}
	CU_ASSERT(rig_alive(g));
	CU_EQ(mallinfo2().uordblks, before.uordblks);
	CU_EQ(fds_open(), fds);
	rig_start(g, RIG_FEATURES);
	CU_ASSERT(rig_echo(g));
	rig_free(g);
}

static void all_queues_that_are_promised_are_there(void)
{
	struct rig *g = rig_new_with((struct vus_config){ .pairs = VUS_PAIRS_MAX });
	uint64_t pairs;

	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	rig_run(g);
	rig_negotiate(g, RIG_FEATURES | BIT(VIRTIO_NET_F_MQ));
	pairs = rig_get(g, VU_GET_QUEUE_NUM);
	CU_EQ_FATAL(pairs, VUS_PAIRS_MAX);
	CU_EQ(peer_send_memory(&g->peer), 0);
	for (unsigned i = 0; i < 2 * pairs; i++) {
		CU_EQ(peer_start_ring(&g->peer, i, i < 2 ? 32768 : 64, 0), 0);
		rig_run(g);
	}
	CU_EQ(g->port->takes, pairs);
	CU_EQ(g->port->gives, pairs);
	for (unsigned q = 0; q < pairs; q++) {
		struct frame *list = &g->b->frame[0];

		drv_add(g->peer.ring[2 * q], &(struct drv_buf){ DRV_GPA + RIG_MEM / 2, 200, true },
			1);
		drv_add(g->peer.ring[2 * q + 1],
			&(struct drv_buf){ DRV_GPA + RIG_MEM / 2, 100, false }, 1);
		CU_EQ(g->port->ops->take(g->port, q, g->b, 64), 1);
		CU_EQ(g->port->ops->give(g->port, q, &list, 1), 1);
		g->port->ops->release(g->port, q, g->b);
	}
	rig_free(g);
}

/* ---- the in-flight area --------------------------------------------------------------------- */

static int lend_inflight(struct rig *g, struct vu_inflight *in)
{
	union vu_payload p;
	struct vu_header h;
	int fd = -1;

	*in = (struct vu_inflight){ 0, 0, 4, 64 };
	CU_EQ(peer_send(&g->peer, VU_GET_INFLIGHT_FD, VU_VERSION, in, 20, NULL, 0), 0);
	rig_run(g);
	CU_EQ(peer_recv(&g->peer, &h, &p, &fd), 1);
	in->size = p.inflight.size;
	return fd;
}

/*
 * Counters beyond the ring, links in circles, every entry in flight with one number: all of it
 * words of the front-end's choice, before the rings start and while they run.
 */
static void what_the_inflight_area_says_is_not_believed(void)
{
	static const uint64_t kinds[] = { 0, PACKED };

	for (unsigned i = 0; i < 4 * ARRAY_SIZE(kinds); i++) {
		uint64_t features = RIG_FEATURES | kinds[i / 4];
		struct rig *g = rig_new();
		struct vu_inflight in;
		uint32_t rng = i, *words;
		int fd;

		rig_negotiate(g, features);
		fd = lend_inflight(g, &in);
		words = mmap(NULL, in.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		for (uint64_t k = 0; k < in.size / 4; k++) {
			rng = rng * 1664525u + 1013904223u;
			words[k] = i % 4 == 0 ? UINT32_MAX : i % 4 == 1 ? 1 : rng;
		}
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 0);
		g->peer.features = features;
		g->peer.mem.top = 0;
		CU_EQ(peer_send_memory(&g->peer), 0);
		for (unsigned ring = 0; ring < 2; ring++)
			peer_start_ring(&g->peer, ring, 64, kinds[i / 4] ? 0x80008000 : 0);
		rig_run(g);
		CU_EQ(g->port->up, true);
		for (unsigned k = 0; k < 500; k++) {
			rng = rng * 1664525u + 1013904223u;
			words[(rng >> 8) % (in.size / 4)] = rng;
			CU_ASSERT(rig_echo(g));
		}
		CU_EQ(rig_count(g, PORT_IN_FRAMES), 500);
		munmap(words, in.size);
		close(fd);
		rig_free(g);
	}
}

CU_MAIN("wire/vus_evil",
	TC("C-MS-08", control_data_of_any_make_leaks_nothing),
	TC("C-MM-08", only_the_region_is_mapped),
	TC("C-MM-16, C-PR-05", memory_is_neither_populated_nor_locked_nor_dumped),
	TC("C-RG-04", a_size_may_be_set_a_million_times),
	TC("C-RG-17", all_queues_that_are_promised_are_there),
	TC("C-IF-02, C-IF-05", what_the_inflight_area_says_is_not_believed))
