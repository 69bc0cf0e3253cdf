// SPDX-License-Identifier: Apache-2.0
// switch_hostile.c - a whole switch, one pod that wants it to stand still, and two neighbours.
#include <linux/fuse.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "tests/wire/switch_rig.h"

/* Neighbours: pods 1 and 2, in different ring formats. Pod 0 is the bad one. */
static void switch_up(struct rig *r)
{
	rig_up(r, 1);
	for (unsigned i = 0; i < 3; i++)
		pod_up(r, i, i == 2 ? BIT(VIRTIO_F_RING_PACKED) : 0);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* n numbered frames from pod 1 (station 2) to pod 2: how many came within some seconds. */
static unsigned neighbours_talk(struct rig *r, unsigned n)
{
	static uint8_t b[FRAME_BYTES];
	unsigned sent = 0, got = 0;

	for (uint64_t end = now_ms() + 5000; got < n && now_ms() < end; ) {
		if (sent < n && sent - got < 64)
			pod_send(&r->pod[1], b, frame_make(b, 3, 2, 0, sent++, 100));
		while (pod_recv(&r->pod[2], b))
			got += b[5] == 3 && b[11] == 2;
	}
	return got;
}

static void goes_away(struct rig *r, const char *name)
{
	for (unsigned ms = 0; ms < 3000 && port_is_up(r, name); ms++)
		nap_ms(1);
	CU_ASSERT_FALSE(port_is_up(r, name));
}

/* A call eventfd is turned back into one that waits, and filled, after it was taken. */
static void an_eventfd_that_waits_stops_nobody(void)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;
	eventfd_t n;
	int call;

	switch_up(&r);
	CU_EQ(neighbours_talk(&r, 100), 100);
	call = r.pod[0].p.call[RX];
	do				/* the switch may be counting there, too */
		eventfd_read(call, &n);
	while (eventfd_write(call, UINT64_MAX - 1) < 0);
	CU_EQ(fcntl(call, F_SETFL, 0), 0);
	pod_send(&r.pod[1], b, frame_make(b, 1, 2, 0, 0, 100));
	CU_EQ(neighbours_talk(&r, 1000), 1000);
	goes_away(&r, "p0");
	rig_down(&r);
}

/* A connection whose peer does not read, and which is not to be closed before it has. */
static int lingering_socket(int *other, int *listener)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct linger wait = { 1, 3600 };
	socklen_t size = sizeof(a);
	char bytes[4096] = { 0 };
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_EQ(bind(*listener, (struct sockaddr *)&a, sizeof(a)), 0);
	CU_EQ(listen(*listener, 1), 0);
	CU_EQ(getsockname(*listener, (struct sockaddr *)&a, &size), 0);
	CU_EQ(connect(s, (struct sockaddr *)&a, sizeof(a)), 0);
	*other = accept(*listener, NULL, NULL);
	fcntl(s, F_SETFL, O_NONBLOCK);
	while (send(s, bytes, sizeof(bytes), MSG_NOSIGNAL) > 0)
		;
	fcntl(s, F_SETFL, 0);
	CU_EQ(setsockopt(s, SOL_SOCKET, SO_LINGER, &wait, sizeof(wait)), 0);
	return s;
}

/* Puts the socket into the queue of another one, which then holds it alone. */
static int wrapped(int fd)
{
	struct peer p = { .fd = -1 };
	int pair[2];

	CU_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	p.fd = pair[0];
	CU_EQ(peer_write(&p, "x", 1, &fd, 1), 0);
	close(fd);
	close(pair[0]);
	return pair[1];
}

/*
 * Sent with a request that takes none; as an eventfd, which is refused; inside another socket.
 * Its sender closes it when the switch has it and has not seen the end of the request.
 */
static void a_socket_that_lingers_stops_nobody(void)
{
	for (unsigned how = 0; how < 3; how++) {
		struct {
			struct vu_header h;
			uint64_t v;
		} __attribute__((packed)) m = { { VU_SET_FEATURES, VU_VERSION, 8 }, 0 };
		int fd, other, listener;
		struct rig r;
		struct pod *bad = &r.pod[0];
		uint64_t began;

		switch_up(&r);
		CU_EQ(neighbours_talk(&r, 100), 100);
		m.h.request = how == 1 ? VU_SET_VRING_CALL : VU_SET_FEATURES;
		fd = lingering_socket(&other, &listener);
		fd = how == 2 ? wrapped(fd) : fd;
		CU_EQ(peer_write(&bad->p, &m, 5, &fd, 1), 0);
		nap_ms(50);
		close(fd);
		CU_EQ(peer_write(&bad->p, (uint8_t *)&m + 5, sizeof(m) - 5, NULL, 0), 0);
		began = now_ms();
		CU_EQ(neighbours_talk(&r, 1000), 1000);
		goes_away(&r, "p0");
		CU_ASSERT(now_ms() - began < 3000);
		/* and may not try again at once */
		peer_hang_up(&bad->p);
		CU_EQ(peer_connect(&bad->p, bad->path), 0);
		peer_send(&bad->p, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0);
		nap_ms(300);
		CU_EQ(recv(bad->p.fd, &m, sizeof(m), MSG_DONTWAIT), -1);
		close(other);
		close(listener);
		rig_down(&r);
	}
}

/* ---- a file system of the pod's own ---------------------------------------------------------- */

/* One file, and whoever closes it waits: FLUSH is never answered. */
struct fuse_file {
	char path[64];
	int  dev;
	atomic_uint flushes;
	pthread_t thread;
};

static void fuse_answer(int dev, uint64_t unique, int error, const void *data, size_t n)
{
	struct fuse_out_header h = { (uint32_t)(sizeof(h) + n), error, unique };
	struct iovec iov[2] = { { &h, sizeof(h) }, { (void *)(uintptr_t)data, n } };

	(void)!writev(dev, iov, 2);
}

static void *fuse_serve(void *arg)
{
	static char buf[1 << 16] __attribute__((aligned(8)));
	const struct fuse_in_header *in = (const void *)buf;
	struct fuse_init_out init = { .major = FUSE_KERNEL_VERSION,
				      .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096 };
	struct fuse_attr_out attr = { .attr = { .ino = 1, .mode = S_IFREG | 0666, .nlink = 1 } };
	struct fuse_open_out open_out = { .fh = 1 };
	struct fuse_file *f = arg;

	while (read(f->dev, buf, sizeof(buf)) >= (ssize_t)sizeof(*in)) {
		if (in->opcode == FUSE_INIT)
			fuse_answer(f->dev, in->unique, 0, &init, sizeof(init));
		else if (in->opcode == FUSE_GETATTR)
			fuse_answer(f->dev, in->unique, 0, &attr, sizeof(attr));
		else if (in->opcode == FUSE_OPEN)
			fuse_answer(f->dev, in->unique, 0, &open_out, sizeof(open_out));
		else if (in->opcode == FUSE_FLUSH)
			atomic_fetch_add(&f->flushes, 1);
		else if (in->opcode != FUSE_RELEASE)
			fuse_answer(f->dev, in->unique, -ENOSYS, NULL, 0);
	}
	return NULL;
}

/* The open file, or -1: not on this machine. */
static int fuse_up(struct fuse_file *f)
{
	char options[128];
	int fd;

	snprintf(f->path, sizeof(f->path), "/tmp/switch-fuse-%d", (int)getpid());
	f->dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	fd = open(f->path, O_CREAT | O_RDWR, 0600);
	close(fd);
	snprintf(options, sizeof(options), "fd=%d,rootmode=100666,user_id=0,group_id=0", f->dev);
	if (f->dev < 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("fuse", f->path, "fuse", MS_NOSUID | MS_NODEV, options) < 0)
		return -1;
	CU_EQ(pthread_create(&f->thread, NULL, fuse_serve, f), 0);
	return open(f->path, O_RDWR | O_CLOEXEC);
}

static void a_file_system_that_does_not_answer_stops_nobody(void)
{
	static struct fuse_file f;
	uint64_t v = 0;
	struct rig r;
	int fd = fuse_up(&f);

	if (fd < 0) {
		printf("no FUSE here ");
		unlink(f.path);
		return;
	}
	switch_up(&r);
	CU_EQ(neighbours_talk(&r, 100), 100);
	peer_send(&r.pod[0].p, VU_SET_FEATURES, VU_VERSION, &v, 8, &fd, 1);
	goes_away(&r, "p0");
	CU_EQ(neighbours_talk(&r, 1000), 1000);
	for (unsigned ms = 0; ms < 1000 && !atomic_load(&f.flushes); ms++)
		nap_ms(1);
	CU_EQ(atomic_load(&f.flushes), 1);	/* somebody waits, and not the switch */
	CU_EQ(umount2(f.path, MNT_FORCE), -1);	/* busy, but the waiting ends */
	CU_EQ(umount2(f.path, MNT_DETACH), 0);
	close(fd);
	pthread_join(f.thread, NULL);
	close(f.dev);
	unlink(f.path);
	rig_down(&r);
}

/* A gigabyte without a page behind it, lent to a switch that registers memory for its uplink. */
static void memory_that_is_only_promised_is_not_pinned(void)
{
	static uint8_t b[FRAME_BYTES];
	struct vu_memory m = { .regions = 2, .region = {
		{ DRV_GPA, POD_MEM, DRV_UVA, 0 },
		{ DRV_GPA + (1ull << 40), 1u << 30, DRV_UVA + (1ull << 40), 0 },
	} };
	int promised = memfd_create("promised", MFD_CLOEXEC), fds[2];
	struct pod *d;
	struct stat st;
	struct rig r;
	unsigned got = 0;

	need_net();
	rig_up(&r, 1);
	rig_uplink(&r, 2);
	d = pod_up(&r, 0, 0);
	CU_EQ(cmd(&r, "pool add p0 macs 52:54:00:00:00:01"), 0);
	CU_EQ(ftruncate(promised, 1u << 30), 0);
	fds[0] = d->p.mem.fd;
	fds[1] = promised;
	CU_EQ(peer_send(&d->p, VU_SET_MEM_TABLE, VU_VERSION, &m, VU_MEMORY_SIZE(2), fds, 2), 0);
	nap_ms(20);
	for (unsigned k = 0; k < 500 && got < 20; k++) {
		wire_send(&r, b, frame_make(b, 1, 900, 0, k, 100));
		nap_ms(1);
		while (pod_recv(d, b))
			got++;
	}
	CU_ASSERT(got >= 20);
	CU_ASSERT(pinned_kb() >= POD_MEM >> 10);
	CU_ASSERT(pinned_kb() < 2 * POD_MEM >> 10);
	CU_EQ(fstat(promised, &st), 0);
	CU_EQ(st.st_blocks, 0);
	close(promised);
	rig_down(&r);
}

/* A port with an address of its own, whose peer says over and over that it is somebody else. */
static void an_announcement_moves_no_address_that_is_not_its_senders(void)
{
	struct peer bad = { .fd = -1 };
	uint8_t mac[8] = { 0 };
	char path[64];
	uint64_t v;
	struct rig r;

	rig_up(&r, 1);
	for (unsigned i = 1; i < 3; i++)
		pod_up(&r, i, 0);
	snprintf(path, sizeof(path), "/tmp/switch-test-%d-bad", (int)getpid());
	CU_EQ(cmd(&r, "port add bad socket %s macs 52:54:00:00:00:01 spoofcheck on", path), 0);
	CU_EQ(neighbours_talk(&r, 10), 10);
	CU_EQ(peer_connect(&bad, path), 0);
	peer_send(&bad, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	peer_send_u64(&bad, VU_SET_PROTOCOL_FEATURES, BIT(VU_PROTOCOL_RARP));
	peer_send_u64(&bad, VU_SET_FEATURES, BIT(VIRTIO_F_VERSION_1) | BIT(30));
	mac_of(mac, 3);
	memcpy(&v, mac, sizeof(v));
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned k = 0; k < 500; k++)
			peer_send_u64(&bad, VU_SEND_RARP, v);
		sw_tick(r.s, now_ms());
		CU_EQ(neighbours_talk(&r, 20), 20);
	}
	CU_ASSERT(stat_of(&r, "bad", PORT_MESSAGES) > 1000);
	CU_EQ(stat_of(&r, "bad", PORT_SESSIONS_CUT), 0);
	close(bad.fd);
	rig_down(&r);
}

/* How many of the bad pod's frames came to pod 2, and how many of them damaged. */
static unsigned came(struct rig *r, unsigned *wrong)
{
	uint8_t b[FRAME_BYTES];
	unsigned got = 0;
	uint32_t n;

	for (; (n = pod_recv(&r->pod[2], b)) > 0; got++)
		*wrong += n != 1500 || b[700] != 0x5a || b[1499] != 0x5a;
	return got;
}

/* What is in flight to somebody when its sender takes its memory away, or stops its ring. */
static void memory_is_taken_away_from_under_frames_in_flight(void)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;
	unsigned got = 0, wrong = 0;

	switch_up(&r);
	CU_EQ(neighbours_talk(&r, 100), 100);
	for (unsigned i = 0; i < 300; i++) {
		struct vu_memory none = { .regions = 0 };
		struct pod *bad = &r.pod[0];
		unsigned before;

		bad->flying = 0;
		for (unsigned k = 0; k < 64; k++)
			pod_send(bad, b, frame_make(b, 3, 1, 0, k, 1500));
		before = got;		/* mostly it has begun, and is not through */
		for (unsigned ms = 0; i % 4 && got == before && ms < 2000; ms++, nap_ms(1))
			got += came(&r, &wrong);
		if (i % 3 == 0)
			peer_send_state(&bad->p, VU_GET_VRING_BASE, TX, 0);
		else
			peer_send(&bad->p, VU_SET_MEM_TABLE, VU_VERSION, &none, VU_MEMORY_SIZE(0),
				  NULL, 0);
		peer_send_memory(&bad->p);
		got += came(&r, &wrong);
		bad->p.mem.top = 0;
		for (unsigned ring = 0; ring < 2; ring++) {
			peer_send_state(&bad->p, VU_GET_VRING_BASE, ring, 0);
			peer_start_ring(&bad->p, ring, POD_NUM, 0);
		}
		while (recv(bad->p.fd, b, sizeof(b), MSG_DONTWAIT) > 0)
			;
	}
	CU_EQ(neighbours_talk(&r, 100), 100);
	CU_ASSERT(got > 0);
	CU_EQ(wrong, 0);
	rig_down(&r);
}

static uint64_t rounds_of(struct rig *r)
{
	struct worker_stats s;

	workers_stats(r->s->w, 0, &s);
	return s.rounds;
}

static void an_interface_that_goes_away_makes_nobody_spin(void)
{
	static uint8_t b[FRAME_BYTES];
	uint64_t before;
	struct rig r;

	need_net();
	switch_up(&r);
	rig_uplink(&r, 2);
	for (unsigned k = 0; k < 50; k++)
		pod_send(&r.pod[1], b, frame_make(b, 0, 2, 0, k, 100));
	CU_EQ(system("ip link del upl0"), 0);
	for (unsigned k = 0; k < 200; k++)
		pod_send(&r.pod[1], b, frame_make(b, 0, 2, 0, k, 100));
	nap_ms(50);
	while (pod_recv(&r.pod[2], b))
		;
	CU_EQ(neighbours_talk(&r, 1000), 1000);
	nap_ms(50);
	before = rounds_of(&r);
	nap_ms(200);
	CU_ASSERT(rounds_of(&r) - before < 1000);
	rig_down(&r);
}

/* A bridge behind the uplink that sends everything back. */
static void what_comes_back_is_not_sent_again(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	unsigned out = 0;
	struct rig r;

	need_net();
	switch_up(&r);
	rig_uplink(&r, 1);
	pod_send(&r.pod[1], b, frame_make(b, 0, 2, 0, 7, 100));
	for (unsigned ms = 0; ms < 1000 && !out; ms++) {
		out += wire_recv(&r, w) > 0;
		nap_ms(1);
	}
	CU_EQ(out, 1);
	for (unsigned i = 0; i < 200; i++) {
		wire_send(&r, w, 100);
		out += wire_recv(&r, b) > 0;
	}
	nap_ms(50);
	while (wire_recv(&r, b))
		out++;
	CU_EQ(out, 1);
	while (pod_recv(&r.pod[2], b))
		;
	CU_EQ(neighbours_talk(&r, 100), 100);
	rig_down(&r);
}

CU_MAIN("switch/hostile",
	TC("C-RG-11, C-DS-20", an_eventfd_that_waits_stops_nobody),
	TC("C-MS-10, C-MM-15", a_socket_that_lingers_stops_nobody),
	TC("C-MM-15, C-MS-10", a_file_system_that_does_not_answer_stops_nobody),
	TC("C-SW-07", an_announcement_moves_no_address_that_is_not_its_senders),
	TC("C-MM-10, C-RG-13, C-SW-11", memory_is_taken_away_from_under_frames_in_flight),
	TC("C-MM-16", memory_that_is_only_promised_is_not_pinned),
	TC("C-OF-09", an_interface_that_goes_away_makes_nobody_spin),
	TC("C-OF-10", what_comes_back_is_not_sent_again))
