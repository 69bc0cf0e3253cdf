// SPDX-License-Identifier: Apache-2.0
// switch_ports.c - pods on a whole switch, some of them hostile: what a bad one costs the others.
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "tests/wire/switch_rig.h"

#define TALK_LOST_MS 500	/* without a frame: what is out does not come any more */
#define TALK_END_MS 5000

static void ports_up(struct rig *r, unsigned n, unsigned workers)
{
	rig_up(r, workers);
	for (unsigned i = 0; i < n; i++)
		pod_up(r, i, i & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0);
}

/*
 * Sends `count` numbered frames to the other under a window, and returns how many came. What is
 * still out when nothing has moved for some time is lost, and the window opens again.
 */
static unsigned talk(struct pod *from, struct pod *to, unsigned dst, unsigned src, unsigned count)
{
	static uint8_t b[FRAME_BYTES], got[FRAME_BYTES];
	unsigned sent = 0, next = 0, came = 0, idle_ms = 0;

	while (next < count && idle_ms < TALK_END_MS) {
		unsigned before = came;

		while (sent < count && sent - next < 64)
			pod_send(from, b, frame_make(b, dst, src, 0, sent++, 64));
		while (pod_recv(to, got))
			if (got[11] == (uint8_t)src && frame_number(got) >= next) {
				next = frame_number(got) + 1;
				came++;
			}
		idle_ms = came == before ? idle_ms + 1 : 0;
		if (idle_ms && idle_ms % TALK_LOST_MS == 0)
			next = sent;
		if (came == before)
			nap_ms(1);
	}
	if (came < count)
		fprintf(stderr, "    %u of %u frames came\n", came, count);
	return came;
}

static void frames_pass_between_formats_and_workers(void)
{
	for (unsigned workers = 1; workers <= 2; workers++) {
		struct rig r;

		ports_up(&r, 2, workers);
		talk(&r.pod[1], &r.pod[0], 1, 2, 1);	/* station 2 is known */
		CU_EQ(talk(&r.pod[0], &r.pod[1], 2, 1, 5000), 5000);
		CU_EQ(talk(&r.pod[1], &r.pod[0], 1, 2, 5000), 5000);
		CU_EQ(stat_of(&r, "p1", PORT_OUT_FULL), 0);
		rig_down(&r);
	}
}

struct pest {
	struct pod *pod;
	void (*act)(struct pod *d, unsigned i);
	atomic_bool stop;
	atomic_uint acts;
};

static void *pester(void *arg)
{
	struct pest *p = arg;

	for (unsigned i = 0; !atomic_load(&p->stop); i++) {
		p->act(p->pod, i);
		atomic_fetch_add(&p->acts, 1);
	}
	return NULL;
}

/* New source addresses, unknown destinations, broadcasts, nonsense: as fast as it can. */
static void flood(struct pod *d, unsigned i)
{
	uint8_t b[FRAME_BYTES];

	for (unsigned k = 0; k < 32; k++) {
		frame_make(b, k & 1 ? 0 : 5000 + i % 3000, 1000 + (i * 32 + k) % 60000, 0, i, 64);
		if (k % 8 == 7)
			b[6] |= 1;
		pod_send(d, b, 64);
	}
}

static void stand_still(struct pod *d, unsigned i)
{
	(void)d;
	(void)i;
	nap_ms(1);
}

/* Descriptors that point nowhere, at each other, or at everything. */
static void lie(struct pod *d, unsigned i)
{
	struct drv_buf b[3] = {
		{ 0x123456789000ull + i, 64, false }, { DRV_GPA + POD_MEM - 8, 4096, false },
		{ drv_gpa(d->tx_off), 0xffffffffu, i & 1 },
	};
	uint64_t one = 1;
	uint32_t len;
	uint16_t id;

	while (drv_used(d->p.ring[TX], &id, &len))
		;
	drv_add(d->p.ring[TX], b + i % 3, 1);
	(void)!write(d->p.kick[TX], &one, sizeof(one));
	if (i % 16 == 0)
		nap_ms(1);
}

/* C-PR-02: the first peer lends a byte more than its port takes, the second just as much. */
static void a_port_takes_only_so_much_memory(void)
{
	struct rig r;
	struct pod *d = &r.pod[0];

	rig_up(&r, 1);
	pod_up(&r, 1, 0);
	snprintf(d->name, sizeof(d->name), "p0");
	snprintf(d->path, sizeof(d->path), "/tmp/switch-test-%d-0", (int)getpid());
	CU_EQ(cmd(&r, "port add p0 socket %s memory_max 0", d->path), -EINVAL);
	CU_EQ(cmd(&r, "port add p0 socket %s memory_max %u", d->path, POD_MEM - 1), 0);
	CU_EQ(cmd(&r, "port set p0 memory_max %u", POD_MEM), -EINVAL);
	CU_ASSERT_EQUAL_FATAL(peer_new(&d->p, POD_MEM), 0);
	CU_EQ(peer_connect(&d->p, d->path), 0);
	peer_send(&d->p, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	peer_send_u64(&d->p, VU_SET_FEATURES, BIT(VIRTIO_F_VERSION_1));
	peer_send_memory(&d->p);
	for (unsigned i = 0; i < 2000 && !stat_of(&r, "p0", PORT_MESSAGES_BAD); i++)
		nap_ms(1);
	CU_EQ(stat_of(&r, "p0", PORT_MESSAGES_BAD), 1);
	CU_ASSERT_FALSE(port_is_up(&r, "p0"));
	peer_free(&d->p);
	CU_EQ(cmd(&r, "port del p0"), 0);
	CU_EQ(cmd(&r, "port add p0 socket %s memory_max %u", d->path, POD_MEM), 0);
	pod_connect(&r, d, 0, POD_NUM - 1);
	talk(&r.pod[1], d, 1, 2, 1);
	CU_EQ(talk(d, &r.pod[1], 2, 1, 100), 100);
	rig_down(&r);
}

/*
 * Neighbours keep 99 % whatever one pod does. Its copies are few enough for a receiver that does
 * not run for a second, as happens on a busy machine: a full ring is the receiver's own loss.
 */
static void neighbours_keep_their_frames_beside_a_bad_pod(void)
{
	static void (*const acts[])(struct pod *, unsigned) = { flood, stand_still, lie };

	for (unsigned a = 0; a < ARRAY_SIZE(acts); a++) {
		struct pest pest = { .act = acts[a] };
		pthread_t thread;
		struct rig r;
		unsigned came;

		ports_up(&r, 3, 1);
		pest.pod = &r.pod[2];
		/* Learned before the pest starts, as a pod with a fixed address would be. */
		CU_EQ(cmd(&r, "fdb add 52:54:00:00:00:01 port p0"), 0);
		CU_EQ(cmd(&r, "fdb add 52:54:00:00:00:02 port p1"), 0);
		CU_EQ(cmd(&r, "port set p2 storm 100"), 0);
		CU_EQ(pthread_create(&thread, NULL, pester, &pest), 0);
		while (!atomic_load(&pest.acts))
			nap_ms(1);
		/* What goes before storm control takes hold. */
		for (unsigned ms = 0; pest.act == flood && ms < TALK_END_MS &&
				      !cause_of(&r, "p2", L2_STORM); ms++) {
			drain(&r.pod[1]);
			nap_ms(1);
		}
		drain(&r.pod[1]);
		came = talk(&r.pod[0], &r.pod[1], 2, 1, 5000);
		CU_ASSERT(came >= 4950);
		atomic_store(&pest.stop, true);
		pthread_join(thread, NULL);
		rig_down(&r);
	}
}

/* The file under a pod's memory is cut short in the middle of traffic. */
static void memory_that_is_cut_off_ends_one_session_only(void)
{
	struct rig r;

	ports_up(&r, 3, 1);
	talk(&r.pod[1], &r.pod[0], 1, 2, 1);
	talk(&r.pod[2], &r.pod[0], 1, 3, 1);
	CU_EQ(ftruncate(r.pod[2].p.mem.fd, 4096), 0);
	CU_EQ(talk(&r.pod[0], &r.pod[1], 2, 1, 2000), 2000);
	for (unsigned ms = 0; ms < 2000 && port_is_up(&r, "p2"); ms++) {
		static uint8_t b[FRAME_BYTES];

		pod_send(&r.pod[0], b, frame_make(b, 3, 1, 0, 0, 64));
		nap_ms(1);
	}
	CU_ASSERT_FALSE(port_is_up(&r, "p2"));
	CU_EQ(talk(&r.pod[0], &r.pod[1], 2, 1, 2000), 2000);
	CU_EQ(ftruncate(r.pod[2].p.mem.fd, POD_MEM), 0);	/* for the test's own mapping */
	rig_down(&r);
}

/* What is closed is closed in its own time. */
static void fds_settle(unsigned want)
{
	for (unsigned ms = 0; ms < 5000 && fds_open() != want; ms++)
		nap_ms(1);
	CU_EQ(fds_open(), want);
}

static void a_pod_may_die_and_come_back_at_any_moment(void)
{
	struct rig r;
	unsigned fds;

	ports_up(&r, 3, 2);
	talk(&r.pod[1], &r.pod[0], 1, 2, 1);
	talk(&r.pod[2], &r.pod[0], 1, 3, 1);
	fds = fds_open();
	for (unsigned i = 0; i < 50; i++) {
		struct pod *d = &r.pod[2];
		static uint8_t b[FRAME_BYTES];

		for (unsigned k = 0; k < 20; k++)
			pod_send(d, b, frame_make(b, 1, 3, 0, k, 500));
		peer_hang_up(&d->p);
		CU_EQ(talk(&r.pod[0], &r.pod[1], 2, 1, 50), 50);
		for (unsigned ms = 0; ms < 2000 && port_is_up(&r, "p2"); ms++)
			nap_ms(1);
		peer_free(&d->p);
		drain(&r.pod[0]);
		pod_connect(&r, d, i & 1 ? BIT(VIRTIO_F_RING_PACKED) : 0, POD_NUM - 1);
	}
	talk(&r.pod[2], &r.pod[0], 1, 3, 1);	/* both its rings are there */
	fds_settle(fds);
	rig_down(&r);
}

/* Ports are added and removed while two others talk. */
static void ports_come_and_go_beside_traffic(void)
{
	struct rig r;
	unsigned fds;

	ports_up(&r, 2, 2);
	talk(&r.pod[1], &r.pod[0], 1, 2, 1);
	fds = fds_open();
	for (unsigned i = 0; i < 30; i++) {
		CU_EQ(cmd(&r, "port add x socket /tmp/switch-test-%d-x", (int)getpid()), 0);
		CU_EQ(talk(&r.pod[0], &r.pod[1], 2, 1, 100), 100);
		CU_EQ(cmd(&r, "port set x mode access pvid %u", i + 1), 0);
		CU_EQ(cmd(&r, "port set p0 mtu %u", 1500 + i), 0);
		CU_EQ(cmd(&r, "port del x"), 0);
	}
	fds_settle(fds);
	CU_EQ(cmd(&r, "port del x"), -ENOENT);
	CU_EQ(cmd(&r, "port add p0"), 0);	/* in a file: what is there stays */
	CU_EQ(cmd(&r, "port add ../x"), -EINVAL);
	CU_EQ(cmd(&r, "port add y kind magic"), -EINVAL);
	CU_EQ(cmd(&r, "port add y pvid 4095"), -EINVAL);
	CU_EQ(cmd(&r, "port add y macs 52:54:00"), -EINVAL);
	fds_settle(fds);
	rig_down(&r);
}

/* Through the whole path: tags pushed, popped, and jumbo frames dropped. */
static void vlans_and_mtu_hold_end_to_end(void)
{
	static uint8_t b[FRAME_BYTES], got[FRAME_BYTES];
	struct rig r;
	uint32_t n;

	ports_up(&r, 3, 1);
	CU_EQ(cmd(&r, "port set p0 mode access pvid 10"), 0);
	CU_EQ(cmd(&r, "port set p2 mode access pvid 20"), 0);
	n = frame_make(b, 0, 1, 0, 7, 100);
	pod_send(&r.pod[0], b, n);
	rig_settle(&r);
	CU_EQ(pod_recv(&r.pod[1], got), 104);
	CU_EQ(memcmp(got + 12, "\x81\x00\x00\x0a", 4), 0);
	CU_EQ(frame_number(got), 7);
	CU_EQ(pod_recv(&r.pod[2], got), 0);
	pod_send(&r.pod[1], b, frame_make(b, 0, 2, 10, 8, 104));
	rig_settle(&r);
	CU_EQ(pod_recv(&r.pod[0], got), 100);
	CU_EQ(memcmp(got + 12, "\x88\xb5", 2), 0);
	CU_EQ(pod_recv(&r.pod[2], got), 0);
	CU_EQ(cmd(&r, "port set p0 mtu 1000"), 0);
	pod_send(&r.pod[1], b, frame_make(b, 0, 2, 10, 9, 1019));
	pod_send(&r.pod[1], b, frame_make(b, 0, 2, 10, 10, 1018));
	rig_settle(&r);
	CU_EQ(pod_recv(&r.pod[0], got), 1014);
	CU_EQ(frame_number(got), 10);
	rig_down(&r);
}

/* A packet to be segmented meets a port that takes none, and one that does. */
static void offloads_are_done_for_those_who_cannot(void)
{
	static uint8_t b[FRAME_BYTES], got[FRAME_BYTES];
	struct virtio_net_hdr_v1 h = {
		.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.gso_size = 500, .csum_start = 34, .csum_offset = 16,
	};
	uint64_t off, one = 1;
	struct drv_buf buf;
	struct rig r;

	rig_up(&r, 1);
	pod_up(&r, 0, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4));
	pod_up(&r, 1, 0);
	pod_up(&r, 2, BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4));
	frame_make(b, 0, 1, 0, 0, 54 + 1400);
	memcpy(b + 12, "\x08\x00\x45\x00\x05\xa0\x00\x01\x00\x00\x40\x06", 12);
	b[46] = 0x50;
	off = r.pod[0].tx_off;
	memcpy(r.pod[0].p.mem.host + off, &h, sizeof(h));
	memcpy(r.pod[0].p.mem.host + off + 12, b, 54 + 1400);
	buf = (struct drv_buf){ drv_gpa(off), 12 + 54 + 1400, false };
	drv_add(r.pod[0].p.ring[TX], &buf, 1);
	(void)!write(r.pod[0].p.kick[TX], &one, sizeof(one));
	rig_settle(&r);
	for (unsigned i = 0; i < 3; i++) {
		const uint8_t *rx = r.pod[1].p.mem.host + r.pod[1].rx_off + i * POD_BUF;

		CU_EQ(memcmp(rx, "\0\0\0\0\0\0\0\0\0\0\1\0", 12), 0);
		CU_EQ(pod_recv(&r.pod[1], got), i < 2 ? 554 : 454);
	}
	CU_EQ(pod_recv(&r.pod[1], got), 0);
	CU_EQ(pod_recv(&r.pod[2], got), 1454);
	rig_down(&r);
}

/* A capture of everything, by a mirror port. */
static void a_mirror_writes_what_passes_to_a_file(void)
{
	char path[64];
	struct stat st;
	struct rig r;

	snprintf(path, sizeof(path), "/tmp/switch-test-%d.pcap", (int)getpid());
	unlink(path);
	ports_up(&r, 2, 1);
	CU_EQ(cmd(&r, "port add cap kind pcap file %s", path), 0);
	CU_EQ(cmd(&r, "port add cap2 kind pcap file %s", path), -EEXIST);
	talk(&r.pod[1], &r.pod[0], 1, 2, 1);
	CU_EQ(talk(&r.pod[0], &r.pod[1], 2, 1, 99), 99);
	CU_EQ(cmd(&r, "port del cap"), 0);
	CU_EQ(stat(path, &st), 0);
	CU_EQ(st.st_size, 24 + 100 * (16 + 64));
	CU_EQ(st.st_mode & 0777, 0600);
	unlink(path);
	rig_down(&r);
}

CU_MAIN("switch/ports",
	T(frames_pass_between_formats_and_workers),
	TC("C-SW-01, C-SW-06, C-SW-10, C-DS-18", neighbours_keep_their_frames_beside_a_bad_pod),
	TC("C-PR-02", a_port_takes_only_so_much_memory),
	TC("C-MM-06", memory_that_is_cut_off_ends_one_session_only),
	TC("C-MS-15", a_pod_may_die_and_come_back_at_any_moment),
	T(ports_come_and_go_beside_traffic),
	TC("C-SW-09, C-SW-12", vlans_and_mtu_hold_end_to_end),
	TC("C-OF-05, C-OF-07", offloads_are_done_for_those_who_cannot),
	T(a_mirror_writes_what_passes_to_a_file))
