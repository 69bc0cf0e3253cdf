// SPDX-License-Identifier: Apache-2.0
// vus_messages.c - the server's socket: bytes, descriptors and requests, right and wrong.
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include "tests/wire/vus_rig.h"

static void a_session_comes_up_and_carries_frames(void)
{
	static const uint64_t more[] = { 0, BIT(VIRTIO_F_RING_PACKED), BIT(35),
					 BIT(VIRTIO_F_RING_PACKED) | BIT(35) };

	for (unsigned i = 0; i < ARRAY_SIZE(more); i++) {
		struct rig *g = rig_new();
		struct vus_info info;

		rig_start(g, RIG_FEATURES | more[i]);
		for (unsigned k = 0; k < 200; k++)
			CU_ASSERT(rig_echo(g) || (more[i] & BIT(35)));
		CU_ASSERT(vus_info(g->port, &info));
		CU_EQ(info.rings_running, 2);
		CU_EQ(info.regions, 1);
		CU_EQ(g->ups, 1);
		peer_hang_up(&g->peer);
		rig_run(g);
		CU_EQ(g->downs, 1);
		CU_EQ(rig_count(g, PORT_SESSIONS_CUT), 0);
		rig_free(g);
	}
}

/* C-MS-01: the size is judged by request before the payload is read. */
static void a_wrong_size_ends_the_session(void)
{
	static const struct {
		uint32_t request, good;
	} rows[] = {
		{ VU_SET_FEATURES, 8 }, { VU_SET_VRING_NUM, 8 }, { VU_SET_VRING_ADDR, 40 },
		{ VU_SET_VRING_BASE, 8 }, { VU_GET_VRING_BASE, 8 }, { VU_SET_VRING_KICK, 8 },
		{ VU_SET_PROTOCOL_FEATURES, 8 }, { VU_SET_VRING_ENABLE, 8 }, { VU_SEND_RARP, 8 },
		{ VU_NET_SET_MTU, 8 }, { VU_ADD_MEM_REG, 40 }, { VU_REM_MEM_REG, 40 },
		{ VU_SET_STATUS, 8 }, { VU_SET_LOG_BASE, 16 },
	};
	static const int64_t wrong[] = { -1, 1, 4096, 65536, 0x7fffffff, 0xffffffff };
	struct rig *g = rig_new();

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(wrong); k++) {
			uint32_t size = (uint32_t)(k < 2 ? rows[i].good + wrong[k] : wrong[k]);
			struct vu_header h = { rows[i].request, VU_VERSION, size };

			rig_negotiate(g, RIG_FEATURES);
			CU_EQ(peer_write(&g->peer, &h, sizeof(h), NULL, 0), 0);
			CU_ASSERT(!rig_alive(g));
			rig_reconnect(g);
		}
	}
	CU_EQ(rig_count(g, PORT_SESSIONS_CUT), ARRAY_SIZE(rows) * ARRAY_SIZE(wrong));
	rig_free(g);
}

static void wrong_header_flags_end_the_session(void)
{
	struct rig *g = rig_new();

	for (uint32_t flags = 0; flags < 256; flags++) {
		bool good = flags == VU_VERSION || flags == (VU_VERSION | VU_NEED_REPLY);

		CU_EQ(peer_send(&g->peer, VU_GET_FEATURES, flags, NULL, 0, NULL, 0), 0);
		CU_EQ(rig_alive(g), good);
		rig_reconnect(g);
	}
	CU_EQ(peer_send(&g->peer, VU_GET_FEATURES, VU_VERSION | 1u << 31, NULL, 0, NULL, 0), 0);
	CU_ASSERT(!rig_alive(g));
	rig_free(g);
}

/* C-MS-03, C-PC-01, C-CR-01: what is not in the table is refused, and nothing is called. */
static void an_unknown_request_is_refused_if_an_answer_is_wanted(void)
{
	struct rig *g = rig_new();
	static const uint32_t unknown[] = { 0, 22, 23, 26, 27, 28, 29, 30, 33, 35, 41, 42, 43, 44,
					    45, 46, 99, 255, 1u << 31, UINT32_MAX };

	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++) {
		rig_negotiate(g, RIG_FEATURES);
		CU_EQ(rig_ask(g, unknown[i], NULL, 0, NULL, 0), 1);
		CU_ASSERT(rig_alive(g));
		CU_EQ(peer_send(&g->peer, unknown[i], VU_VERSION, NULL, 0, NULL, 0), 0);
		CU_ASSERT(!rig_alive(g));
		rig_reconnect(g);
	}
	rig_free(g);
}

/* C-MS-12: the bit means nothing before it was negotiated. */
static void an_answer_is_given_only_once_that_was_agreed(void)
{
	struct rig *g = rig_new();
	union vu_payload p;
	struct vu_header h;

	CU_EQ(rig_ask(g, VU_SET_OWNER, NULL, 0, NULL, 0), -1);
	CU_ASSERT(rig_alive(g));
	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(rig_ask(g, VU_SET_OWNER, NULL, 0, NULL, 0), 0);
	/* a request with an answer of its own gives that one, once */
	CU_EQ(peer_send(&g->peer, VU_GET_FEATURES, VU_VERSION | VU_NEED_REPLY, NULL, 0, NULL, 0),
	      0);
	rig_run(g);
	CU_EQ(peer_recv(&g->peer, &h, &p, NULL), 1);
	CU_EQ(h.request, VU_GET_FEATURES);
	CU_EQ(peer_recv(&g->peer, &h, &p, NULL), 0);
	rig_free(g);
}

/* C-MS-04: bytes one by one, and others are served in between. */
static void a_message_may_come_in_any_pieces(void)
{
	struct rig *slow = rig_new(), *other = rig_new();
	struct {
		struct vu_header h;
		uint64_t v;
	} __attribute__((packed)) m = { { VU_SET_FEATURES, VU_VERSION, 8 }, RIG_FEATURES };

	rig_negotiate(slow, RIG_FEATURES);
	for (unsigned i = 0; i < sizeof(m); i++) {
		CU_EQ(peer_write(&slow->peer, (uint8_t *)&m + i, 1, NULL, 0), 0);
		CU_ASSERT(rig_alive(slow));
		CU_ASSERT(rig_get(other, VU_GET_FEATURES) != 0);
	}
	CU_EQ(rig_ask(slow, VU_SET_OWNER, NULL, 0, NULL, 0), 0);
	/* half a message, and then nothing */
	CU_EQ(peer_write(&slow->peer, &m, 5, NULL, 0), 0);
	rig_wait(slow, 9000);
	CU_ASSERT(rig_alive(slow));
	rig_wait(slow, 2000);
	CU_ASSERT(!rig_alive(slow));
	rig_free(slow);
	rig_free(other);
}

/* C-MS-06, C-MS-07, C-PR-02: counts of descriptors per request; none is ever kept. */
static void surplus_descriptors_are_closed_and_end_the_session(void)
{
	static const uint32_t requests[] = {
		VU_GET_FEATURES, VU_SET_FEATURES, VU_SET_OWNER, VU_SET_VRING_NUM, VU_SET_MEM_TABLE,
		VU_SET_VRING_KICK, VU_SET_VRING_CALL, VU_SET_VRING_ERR, VU_SET_LOG_BASE,
		VU_SET_LOG_FD, VU_GET_QUEUE_NUM, VU_SET_VRING_ENABLE, VU_SEND_RARP,
		VU_SET_BACKEND_REQ_FD, VU_GET_INFLIGHT_FD, VU_SET_INFLIGHT_FD, VU_ADD_MEM_REG,
		VU_SET_STATUS, VU_GET_CONFIG, 0, 46, 255,
	};
	static const unsigned counts[] = { 2, 3, 8, 9, 64, 253 };
	struct rig *g = rig_new();
	int fds[253];

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = g->peer.mem.fd;
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(counts); k++) {
			union vu_payload p = { .u64 = 0 };
			uint32_t size = requests[i] == VU_SET_LOG_BASE ? 16 :
				requests[i] == VU_ADD_MEM_REG ? 40 :
				requests[i] == VU_GET_INFLIGHT_FD ? 20 :
				requests[i] == VU_SET_INFLIGHT_FD ? 20 :
				requests[i] == VU_GET_CONFIG ? 12 : 8;
			unsigned before;

			rig_negotiate(g, RIG_FEATURES);
			before = fds_open();
			CU_EQ(peer_send(&g->peer, requests[i], VU_VERSION, &p, size, fds,
					counts[k]), 0);
			CU_ASSERT(!rig_alive(g));
			CU_EQ(fds_open(), before - 1);	/* the session's socket */
			rig_reconnect(g);
		}
	}
	CU_ASSERT(rig_count(g, PORT_FDS_STRAY) > 0);
	rig_free(g);
}

/* C-MS-09: descriptors belong to a message's first byte. */
static void descriptors_in_the_middle_of_a_message_end_the_session(void)
{
	struct rig *g = rig_new();
	struct vu_header h = { VU_SET_FEATURES, VU_VERSION, 8 };
	unsigned before;

	for (unsigned at = 1; at < sizeof(h) + 8; at++) {
		uint8_t bytes[sizeof(h) + 8] = { 0 };

		memcpy(bytes, &h, sizeof(h));
		before = fds_open();
		CU_EQ(peer_write(&g->peer, bytes, at, NULL, 0), 0);
		rig_run(g);
		CU_EQ(peer_write(&g->peer, bytes + at, sizeof(bytes) - at, &g->peer.mem.fd, 1), 0);
		CU_ASSERT(!rig_alive(g));
		CU_EQ(fds_open(), before - 1);
		rig_reconnect(g);
	}
	rig_free(g);
}

struct fd_kind {
	const char *name;
	int fd;
};

static unsigned make_fds(struct fd_kind *k, struct rig *g)
{
	static int pair[2], pipes[2];
	unsigned n = 0;

	CU_EQ(pipe(pipes), 0);
	CU_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	k[n++] = (struct fd_kind){ "directory", open("/tmp", O_RDONLY) };
	k[n++] = (struct fd_kind){ "zero", open("/dev/zero", O_RDWR) };
	k[n++] = (struct fd_kind){ "null", open("/dev/null", O_RDWR) };
	k[n++] = (struct fd_kind){ "epoll", epoll_create1(0) };
	k[n++] = (struct fd_kind){ "path", open("/tmp", O_PATH) };
	k[n++] = (struct fd_kind){ "file", open("/proc/self/exe", O_RDONLY) };
	k[n++] = (struct fd_kind){ "proc", open("/proc/self/mem", O_RDWR) };
	k[n++] = (struct fd_kind){ "timer", timerfd_create(CLOCK_MONOTONIC, 0) };
	k[n++] = (struct fd_kind){ "pipe, reading end", pipes[0] };
	k[n++] = (struct fd_kind){ "pipe, writing end", pipes[1] };
	k[n++] = (struct fd_kind){ "socket", pair[0] };
	k[n++] = (struct fd_kind){ "socket, other end", pair[1] };
	k[n++] = (struct fd_kind){ "this session", dup(g->peer.fd) };
	k[n++] = (struct fd_kind){ "memory", memfd_create("x", 0) };
	k[n++] = (struct fd_kind){ "fuse", open("/dev/fuse", O_RDWR) };
	return n;
}

/* C-MS-10, C-RG-10, C-RG-11: only eventfds signal, only memory is mapped; nothing blocks. */
static void descriptors_of_the_wrong_kind_are_refused(void)
{
	struct rig *g = rig_new();
	struct fd_kind kinds[20];
	unsigned n, before;

	rig_negotiate(g, RIG_FEATURES);
	n = make_fds(kinds, g);
	before = fds_open();
	for (unsigned i = 0; i < n; i++) {
		struct vu_memory m = { .regions = 1, .region = { { DRV_GPA, 4096, DRV_UVA, 0 } } };
		struct vu_single_region one = { 0, { DRV_GPA, 4096, DRV_UVA, 0 } };
		struct vu_inflight in = { 4096, 0, 1, 64 };
		struct vu_log log = { 4096, 0 };
		uint64_t ring = 0;
		int fd = kinds[i].fd;

		if (fd < 0)
			continue;
		CU_EQ(rig_ask(g, VU_SET_VRING_KICK, &ring, 8, &fd, 1), 1);
		CU_EQ(rig_ask(g, VU_SET_VRING_CALL, &ring, 8, &fd, 1), 1);
		CU_EQ(rig_ask(g, VU_SET_VRING_ERR, &ring, 8, &fd, 1), 1);
		CU_EQ(rig_ask(g, VU_SET_MEM_TABLE, &m, VU_MEMORY_SIZE(1), &fd, 1), 1);
		CU_EQ(rig_ask(g, VU_ADD_MEM_REG, &one, sizeof(one), &fd, 1), 1);
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 1);
		CU_EQ(fds_open(), before);
		/* this one has an answer of its own, so a refusal is the end */
		peer_send(&g->peer, VU_SET_LOG_BASE, VU_VERSION, &log, sizeof(log), &fd, 1);
		CU_ASSERT(!rig_alive(g));
		rig_reconnect(g);
		rig_negotiate(g, RIG_FEATURES);
	}
	for (unsigned i = 0; i < n; i++)
		close(kinds[i].fd);
	rig_free(g);
}

static void a_refused_kick_leaves_the_one_there_was(void)
{
	struct rig *g = rig_new();
	uint64_t ring = 1;
	int file = memfd_create("none", MFD_CLOEXEC);

	rig_start(g, RIG_FEATURES);
	CU_EQ(rig_ask(g, VU_SET_VRING_KICK, &ring, sizeof(ring), &file, 1), 1);
	g->port->ops->arm(g->port, true);
	eventfd_write(g->peer.kick[1], 1);
	CU_EQ(poller_run(g->poller, 1000), 1);
	CU_EQ(rig_count(g, PORT_KICKS_SEEN), 1);
	close(file);
	rig_free(g);
}

/* C-MS-11: whoever does not read is not read from, and in the end cut off. */
static void replies_that_nobody_reads_do_not_pile_up(void)
{
	struct rig *g = rig_new();
	unsigned sent = 0;

	for (unsigned idle = 0; idle < 3 && sent < 2000000; ) {
		int rc = peer_send(&g->peer, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0);

		sent += rc == 0;
		idle = rc == 0 ? 0 : idle + 1;
		rig_run(g);
	}
	CU_ASSERT(sent < 2000000);
	CU_ASSERT(rig_count(g, PORT_MESSAGES) <= sent);
	rig_wait(g, 12000);
	CU_EQ(rig_count(g, PORT_SESSIONS_CUT), 1);
	rig_free(g);
}

/* ... while one who reads late gets every one of them, in order. */
static void replies_wait_for_a_slow_reader(void)
{
	struct rig *g = rig_new();
	unsigned sent = 0, got = 0;
	union vu_payload p;
	struct vu_header h;

	while (peer_send(&g->peer, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0) == 0) {
		sent++;
		rig_run(g);
	}
	for (unsigned tries = 0; got < sent && tries < 10 * sent; tries++) {
		rig_run(g);
		while (peer_recv(&g->peer, &h, &p, NULL) == 1)
			got++;
	}
	CU_EQ(got, sent);
	CU_ASSERT(rig_alive(g));
	rig_free(g);
}

static void a_second_front_end_is_sent_away_and_a_storm_is_bounded(void)
{
	struct rig *g = rig_new();
	unsigned before = fds_open();

	rig_negotiate(g, RIG_FEATURES);
	for (unsigned i = 0; i < 1000; i++) {
		struct peer p = { .fd = -1 };

		peer_connect(&p, g->path);
		if (p.fd >= 0)
			close(p.fd);
		if (i % 10 == 0)
			rig_run(g);
	}
	CU_ASSERT(rig_get(g, VU_GET_FEATURES) != 0);
	CU_EQ(rig_count(g, PORT_SESSIONS), 1);
	CU_EQ(fds_open(), before);
	rig_free(g);
}

static void without_descriptors_the_running_session_lives(void)
{
	struct rig *g = rig_new();
	struct rlimit was, now;
	int fds[8];

	rig_start(g, RIG_FEATURES);
	for (unsigned i = 0; i < 8; i++)
		fds[i] = g->peer.mem.fd;
	getrlimit(RLIMIT_NOFILE, &was);
	now = (struct rlimit){ 3, was.rlim_max };
	setrlimit(RLIMIT_NOFILE, &now);
	CU_ASSERT(rig_echo(g));
	CU_ASSERT(rig_get(g, VU_GET_FEATURES) != 0);
	/* descriptors that cannot be taken are the end of this session only */
	CU_EQ(peer_send(&g->peer, VU_SET_MEM_TABLE, VU_VERSION, NULL, 264, fds, 8), 0);
	CU_ASSERT(!rig_alive(g));
	setrlimit(RLIMIT_NOFILE, &was);
	rig_reconnect(g);
	rig_start(g, RIG_FEATURES);
	CU_ASSERT(rig_echo(g));
	rig_free(g);
}

static void values_out_of_range_are_refused(void)
{
	static const struct {
		uint32_t request;
		uint64_t value;
		int answer;
	} rows[] = {
		{ VU_NET_SET_MTU, 0, 1 }, { VU_NET_SET_MTU, 67, 1 },	/* C-MT-01 */
		{ VU_NET_SET_MTU, 65536, 1 }, { VU_NET_SET_MTU, 1ull << 63, 1 },
		{ VU_NET_SET_MTU, 68, 0 }, { VU_NET_SET_MTU, 65535, 0 },
		{ VU_SET_STATUS, 256, 1 }, { VU_SET_STATUS, UINT64_MAX, 1 },	/* C-ST-01 */
		{ VU_SET_STATUS, 255, 0 }, { VU_SET_STATUS, 0, 0 },
		{ VU_SET_FEATURES, UINT64_MAX, 1 }, { VU_SET_FEATURES, 1ull << 63, 1 },
		{ VU_SET_PROTOCOL_FEATURES, UINT64_MAX, 1 },
		{ VU_SEND_RARP, 0x010000000001, 1 },		/* a group address */
		{ VU_SEND_RARP, 0x060504030200, 0 },
		{ VU_SET_VRING_KICK, 1u << 9, 1 }, { VU_SET_VRING_KICK, 4 | VU_RING_NOFD, 1 },
		{ VU_SET_VRING_CALL, 1ull << 32 | VU_RING_NOFD, 1 },	/* C-RG-01 */
		{ VU_SET_VRING_CALL, 255 | VU_RING_NOFD, 1 },
	};
	struct rig *g = rig_new();

	rig_negotiate(g, RIG_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++)
		CU_EQ(rig_ask(g, rows[i].request, &rows[i].value, 8, NULL, 0), rows[i].answer);
	CU_EQ(g->announced, 1);
	CU_EQ(memcmp(g->mac, "\0\2\3\4\5\6", 6), 0);
	rig_free(g);
}

static void configuration_is_read_within_its_bounds_only(void)
{
	static const struct { uint32_t off, size; bool good; } reads[] = {
		{ 0, 6, true }, { 0, 12, true }, { 10, 2, true }, { 0, 0, true }, { 0, 256, false },
		{ 255, 2, false }, { UINT32_MAX, 6, false }, { 6, UINT16_MAX, false },
	};
	struct rig *g = rig_new_with((struct vus_config){ .mac = { 2, 0, 0, 0, 0, 7 },
							   .mtu = 1450 });
	union vu_payload p;
	struct vu_header h;

	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(reads); i++) {
		struct vu_config c = { reads[i].off, reads[i].size, 0, { 0 } };
		uint32_t size = reads[i].size > 256 ? 256 : reads[i].size;

		rig_run(g);
		rig_negotiate(g, RIG_FEATURES);
		CU_EQ(peer_send(&g->peer, VU_GET_CONFIG, VU_VERSION, &c, VU_CONFIG_SIZE(size), NULL,
				0), 0);
		rig_run(g);
		if (reads[i].size > 256) {
			CU_ASSERT(!rig_alive(g));
			rig_reconnect(g);
			continue;
		}
		CU_EQ(peer_recv(&g->peer, &h, &p, NULL), 1);
		CU_EQ(h.size, reads[i].good ? VU_CONFIG_SIZE(size) : 0);
		if (reads[i].off == 0 && reads[i].size == 12) {
			CU_EQ(p.config.bytes[5], 7);
			CU_EQ(p.config.bytes[10] | p.config.bytes[11] << 8, 1450);
			CU_EQ(p.config.bytes[8], 2);
		}
	}
	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(rig_ask(g, VU_SET_CONFIG, &(struct vu_config){ 0, 6, 0, { 1 } }, VU_CONFIG_SIZE(6),
		      NULL, 0), 1);
	rig_free(g);
}

/* C-MS-05: any request in any state; only the session may suffer. */
static void requests_in_any_order_hurt_nobody(void)
{
	struct rig *g = rig_new(), *other = rig_new();
	uint32_t rng = 7, cut = 0;

	rig_start(other, RIG_FEATURES);
	for (unsigned long i = 0; i < cu_rounds(20000); i++) {
		union vu_payload p;
		uint8_t *bytes = (uint8_t *)&p;
		static const uint32_t sizes[] = { 8, 8, 8, 40, 0, 16, 20, 72, 12 };
		uint32_t request, size;
		int fd = g->peer.mem.fd;

		memset(&p, 0, sizeof(p));
		rng = rng * 1664525u + 1013904223u;
		request = (rng >> 8) % 46;
		size = sizes[(rng >> 16) % ARRAY_SIZE(sizes)];
		for (unsigned k = 0; k < size; k += 4)
			bytes[k] = (uint8_t)((rng >> (k % 24)) % 5);
		peer_send(&g->peer, request, VU_VERSION | ((rng >> 20) & VU_NEED_REPLY), &p, size,
			  &fd, (rng >> 28) % 2);
		if (!rig_alive(g)) {
			cut++;
			rig_reconnect(g);
			if (rng & 4096)
				rig_negotiate(g, RIG_FEATURES);
		}
	}
	CU_ASSERT(cut > 100);
	CU_ASSERT(rig_echo(other));
	rig_free(g);
	rig_free(other);
}

static void complaints_about_a_peer_are_few(void)
{
	int keep = dup(STDERR_FILENO), log = memfd_create("log", 0);
	struct rig *g = rig_new();

	log_init("debug");
	dup2(log, STDERR_FILENO);
	for (unsigned i = 0; i < 3000; i++) {
		rig_negotiate(g, RIG_FEATURES);
		rig_ask(g, 99, NULL, 0, NULL, 0);
	}
	dup2(keep, STDERR_FILENO);
	log_init("error");
	CU_ASSERT(lseek(log, 0, SEEK_END) > 0);
	CU_ASSERT(lseek(log, 0, SEEK_END) < 2000);
	CU_EQ(rig_count(g, PORT_MESSAGES_BAD), 3000);
	close(keep);
	close(log);
	rig_free(g);
}

static void sessions_leave_nothing_behind(void)
{
	struct rig *g = rig_new();
	unsigned before = fds_open();

	for (unsigned i = 0; i < 500; i++) {
		rig_start(g, RIG_FEATURES | (i % 2 ? BIT(VIRTIO_F_RING_PACKED) : 0));
		CU_ASSERT(rig_echo(g));
		rig_reconnect(g);
	}
	CU_ASSERT(fds_open() <= before + 4);	/* the peer's own eventfds */
	CU_EQ(g->ups, 500);
	CU_EQ(g->downs, 500);
	rig_free(g);
}

static void a_client_port_dials_until_somebody_listens_and_again_when_he_left(void)
{
	struct rig *g = rig_new_with((struct vus_config){ .client = true });
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	memcpy(a.sun_path, g->path, sizeof(g->path));
	rig_wait(g, 3000);
	CU_EQ(bind(listener, (struct sockaddr *)&a, sizeof(a)), 0);
	CU_EQ(listen(listener, 4), 0);
	for (unsigned i = 0; i < 3; i++) {
		rig_wait(g, 6000);
		g->peer.fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
		CU_ASSERT_FATAL(g->peer.fd >= 0);
		rig_start(g, RIG_FEATURES);
		CU_ASSERT(rig_echo(g));
		peer_hang_up(&g->peer);
		rig_run(g);
		CU_EQ(g->port->up, false);
	}
	close(listener);
	unlink(g->path);
	rig_free(g);
}

static void a_socket_left_behind_is_replaced_and_a_live_one_is_not(void)
{
	struct rig *g = rig_new();
	struct vus_config cfg = { .name = "two", .socket = g->path, .pairs = 1 };
	struct port *p;

	CU_EQ_FATAL(vus_new(&p, &cfg, NULL, NULL, NULL), 0);
	CU_EQ(p->ops->attach(p, g->poller), -EADDRINUSE);
	CU_EQ(access(g->path, F_OK), 0);
	p->ops->free(p);
	CU_EQ(access(g->path, F_OK), 0);
	rig_free(g);
}

CU_MAIN("wire/vus_messages",
	T(a_session_comes_up_and_carries_frames),
	TC("C-MS-01", a_wrong_size_ends_the_session),
	TC("C-MS-02", wrong_header_flags_end_the_session),
	TC("C-MS-03, C-SD-01, C-IO-01, C-PC-01, C-CR-01",
	   an_unknown_request_is_refused_if_an_answer_is_wanted),
	TC("C-MS-12", an_answer_is_given_only_once_that_was_agreed),
	TC("C-MS-01, C-MS-04", a_message_may_come_in_any_pieces),
	TC("C-MS-06, C-MS-07", surplus_descriptors_are_closed_and_end_the_session),
	TC("C-MS-09", descriptors_in_the_middle_of_a_message_end_the_session),
	TC("C-MS-10, C-MM-15, C-RG-10, C-RG-11", descriptors_of_the_wrong_kind_are_refused),
	T(a_refused_kick_leaves_the_one_there_was),
	TC("C-MS-11", replies_that_nobody_reads_do_not_pile_up),
	T(replies_wait_for_a_slow_reader),
	TC("C-MS-14", a_second_front_end_is_sent_away_and_a_storm_is_bounded),
	TC("C-MS-13", without_descriptors_the_running_session_lives),
	TC("C-ST-01, C-MT-01", values_out_of_range_are_refused),
	TC("C-CF-01", configuration_is_read_within_its_bounds_only),
	TC("C-MS-05", requests_in_any_order_hurt_nobody),
	TC("C-PR-03", complaints_about_a_peer_are_few),
	T(sessions_leave_nothing_behind),
	T(a_client_port_dials_until_somebody_listens_and_again_when_he_left),
	T(a_socket_left_behind_is_replaced_and_a_live_one_is_not))
