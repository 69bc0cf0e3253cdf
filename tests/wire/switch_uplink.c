// SPDX-License-Identifier: Apache-2.0
// switch_uplink.c - VMDq on a TAP interface: pools sorted by address and VLAN in the kernel, read
// straight into the pods' buffers. The numbers in comments are the design's acceptance criteria.
// pkg-config: liburing
#include <liburing.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

#include "include/backend.h"
#include "tests/wire/switch_rig.h"

#define CHUNK 32

/* Takes what has come; frames carry (pod << 24 | serial), in order of serial. */
static void collect(struct rig *r, unsigned n)
{
	static uint8_t b[FRAME_BYTES];

	for (unsigned i = 0; i < n; i++) {
		struct pod *d = &r->pod[i];

		while (pod_recv(d, b)) {
			uint32_t number = frame_number(b);

			d->wrong += number >> 24 != i || (number & 0xffffff) != d->got;
			d->got++;
		}
	}
}

static void settle(struct rig *r, unsigned n, unsigned want)
{
	for (unsigned ms = 0; ms < 2000; ms++) {
		unsigned all = 0;

		collect(r, n);
		for (unsigned i = 0; i < n; i++)
			all += r->pod[i].got;
		if (all >= want)
			return;
		nap_ms(1);
	}
}

/* A mixed stream from outside, no more under way than fits. Returns frames per pod. */
static unsigned stream(struct rig *r, unsigned pods, unsigned frames)
{
	static uint8_t b[FRAME_BYTES];
	unsigned base = 0, each = frames / pods, first[PODS_MAX];

	for (unsigned i = 0; i < pods; i++) {
		first[i] = r->pod[i].got;
		base += first[i];
	}
	for (unsigned k = 0; k < each; k++) {
		for (unsigned i = 0; i < pods; i++) {
			uint32_t len = 60 + (k * 37 + i) % 1400;

			frame_make(b, i + 1, WIRE_STATION, 0, i << 24 | (first[i] + k), len);
			wire_send(r, b, len);
		}
		if (k % CHUNK == CHUNK - 1)
			settle(r, pods, base + (k + 1) * pods);
	}
	settle(r, pods, base + each * pods);
	return each;
}

/* 3.1 */
static void each_pod_receives_exactly_its_frames(void)
{
	struct rig r;
	unsigned each;

	pools_up(&r, 4, 8, 1, "");
	each = stream(&r, 4, full(20000, 1000000));
	for (unsigned i = 0; i < 4; i++) {
		struct tap_lane_counters c = lane_of(&r, r.pod[i].name);

		CU_EQ(r.pod[i].got, each);
		CU_EQ(r.pod[i].wrong, 0);
		CU_EQ(c.frames, each);
		CU_EQ(c.bounced, 0);
		CU_EQ(c.dropped, 0);
	}
	rig_down(&r);
}

/* 3.14: a plain adapter with one queue does the same, through the switch. */
static void a_single_queue_works_too(void)
{
	struct rig r;
	unsigned each;

	pools_up(&r, 2, 1, 1, "");
	CU_ASSERT_PTR_NULL(sw_find(r.s, "p0")->lane);
	each = stream(&r, 2, 4000);
	for (unsigned i = 0; i < 2; i++) {
		CU_EQ(r.pod[i].got, each);
		CU_EQ(r.pod[i].wrong, 0);
	}
	rig_down(&r);
}

/* More pools than queues: those without one are served through the switch. */
static void pools_beyond_the_queues_are_served_as_well(void)
{
	struct rig r;
	unsigned each;

	pools_up(&r, 4, 3, 1, "");
	CU_ASSERT_PTR_NOT_NULL(sw_find(r.s, "p1")->lane);
	CU_ASSERT_PTR_NULL(sw_find(r.s, "p2")->lane);
	each = stream(&r, 4, 4000);
	for (unsigned i = 0; i < 4; i++) {
		CU_EQ(r.pod[i].got, each);
		CU_EQ(r.pod[i].wrong, 0);
	}
	rig_down(&r);
}

/* Which of the first n pods get one frame from outside, as bits. */
static unsigned who_gets(struct rig *r, unsigned n, const uint8_t *b, uint32_t len)
{
	unsigned who = 0;

	wire_send(r, b, len);
	rig_settle(r);
	for (unsigned i = 0; i < n; i++) {
		unsigned got = drain(&r->pod[i]);

		CU_ASSERT(got <= 1);
		who |= got ? 1u << i : 0;
	}
	return who;
}

/* 3.2 */
static void the_same_address_is_another_pods_in_another_vlan(void)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;

	pools_up(&r, 3, 8, 1, "");
	CU_EQ(cmd(&r, "vlan add 100 pool p1"), 0);
	CU_EQ(cmd(&r, "vlan add 4094 pool p2"), 0);
	CU_EQ(cmd(&r, "mac add 52:54:00:00:00:01 pool p1 vlan 100"), 0);
	CU_EQ(cmd(&r, "mac add 52:54:00:00:00:01 pool p2 vlan 4094"), 0);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 0, 0, 64)), 1);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 100, 0, 64)), 2);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 0xe000 | 100, 0, 64)), 2);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 4094, 0, 64)), 4);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 101, 0, 64)), 0);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 0x6000, 0, 64)), 1);
	CU_EQ(lane_of(&r, "p1").frames, 2);
	CU_EQ(lane_of(&r, "p2").frames, 1);
	CU_EQ(cmd(&r, "vlan del 100 pool p1"), 0);
	CU_EQ(who_gets(&r, 3, b, frame_make(b, 1, WIRE_STATION, 100, 0, 64)), 0);
	rig_down(&r);
}

/* 3.2: a bridge's port takes the tag out of a frame, and the interface gets it beside the frame. */
static void a_tag_beside_the_frame_sorts_it_like_one_in_it(void)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;

	pools_up(&r, 2, 4, 1, "");
	CU_EQ(cmd(&r, "vlan add 100 pool p1"), 0);
	CU_EQ(cmd(&r, "mac add 52:54:00:00:00:01 pool p1 vlan 100"), 0);
	CU_EQ(system("ip link add far0 type veth peer name near0 && ip link add br0 type bridge &&"
		     " for i in near0 upl0; do ip link set $i master br0; done &&"
		     " for i in far0 near0 br0; do ip link set $i up; done"), 0);
	close(r.wire);
	r.wire = wire_open((int)if_nametoindex("far0"), 0);
	CU_EQ(who_gets(&r, 2, b, frame_make(b, 1, WIRE_STATION, 0, 0, 64)), 1);
	CU_EQ(who_gets(&r, 2, b, frame_make(b, 1, WIRE_STATION, 0xe000 | 100, 0, 64)), 2);
	CU_EQ(who_gets(&r, 2, b, frame_make(b, 1, WIRE_STATION, 101, 0, 64)), 0);
	CU_EQ(who_gets(&r, 2, b, frame_make(b, 1, WIRE_STATION, 0x6000, 0, 64)), 1);
	CU_EQ(lane_of(&r, "p1").frames, 1);
	rig_down(&r);
	CU_EQ(system("ip link del br0 && ip link del far0"), 0);
}

/* 3.3 */
static void what_nobody_owns_goes_to_the_default_pool_or_nowhere(void)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;

	pools_up(&r, 2, 4, 1, "");
	CU_EQ(who_gets(&r, 2, b, frame_make(b, 77, WIRE_STATION, 0, 0, 64)), 0);
	CU_EQ(cause_of(&r, "upl0", L2_UNKNOWN), 1);
	CU_EQ(cmd(&r, "pool default p1"), 0);
	CU_EQ(who_gets(&r, 2, b, frame_make(b, 77, WIRE_STATION, 0, 0, 64)), 2);
	rig_down(&r);
}

/* 3.4 */
static void groups_reach_those_who_accept_them_once(void)
{
	static const uint8_t group[6] = { 0x01, 0, 0x5e, 1, 2, 3 };
	static uint8_t b[FRAME_BYTES];
	uint32_t n = frame_make(b, 0, WIRE_STATION, 0, 0, 64);
	struct rig r;

	pools_up(&r, 3, 8, 1, "");
	CU_EQ(who_gets(&r, 3, b, n), 7);
	CU_EQ(cmd(&r, "mode p1 -broadcast"), 0);
	CU_EQ(who_gets(&r, 3, b, n), 5);
	memcpy(b, group, 6);
	CU_EQ(who_gets(&r, 3, b, n), 0);
	CU_EQ(cmd(&r, "mac add 01:00:5e:01:02:03 pool p1"), 0);
	CU_EQ(who_gets(&r, 3, b, n), 2);
	CU_EQ(cmd(&r, "mode p2 +multicast"), 0);
	CU_EQ(who_gets(&r, 3, b, n), 6);
	frame_make(b, 0, 1, 0, 0, 64);		/* from a pod: everybody but itself */
	pod_send(&r.pod[0], b, n);
	rig_settle(&r);
	CU_EQ(drain(&r.pod[0]), 0);
	CU_EQ(drain(&r.pod[1]), 0);
	CU_EQ(drain(&r.pod[2]), 1);
	CU_EQ(wire_recv(&r, b), n);
	rig_down(&r);
}

/* 3.5 */
static void pools_meet_inside_or_on_the_wire(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	uint32_t n = frame_make(b, 2, 1, 0, 5, 80);
	struct rig r;

	pools_up(&r, 2, 4, 1, "");
	while (wire_recv(&r, w))
		;
	pod_send(&r.pod[0], b, n);
	rig_settle(&r);
	CU_EQ(drain(&r.pod[1]), 1);
	CU_EQ(wire_recv(&r, w), 0);
	CU_EQ(cmd(&r, "loopback off"), 0);
	pod_send(&r.pod[0], b, n);
	rig_settle(&r);
	CU_EQ(drain(&r.pod[1]), 0);
	CU_EQ(wire_recv(&r, w), n);
	CU_EQ(memcmp(w, b, n), 0);
	rig_down(&r);
}

struct flipper {
	uint8_t *mac;			/* in the pod's memory */
	atomic_bool stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;

	while (!atomic_load(&f->stop)) {
		f->mac[5] = 1;
		f->mac[5] = 2;
	}
	return NULL;
}

static void count_wire(struct rig *r, unsigned *seen, unsigned *forged)
{
	static uint8_t w[FRAME_BYTES];

	while (wire_recv(r, w)) {
		++*seen;
		*forged += w[11] != 1;
	}
}

/* 3.6, C-SW-03 */
static void a_forged_address_never_leaves_even_if_it_changes_under_us(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	struct flipper f = { .stop = false };
	unsigned seen = 0, forged = 0;
	uint64_t caught = 0;
	pthread_t thread;
	struct rig r;
	uint32_t n;

	pools_up(&r, 2, 4, 1, "");
	while (wire_recv(&r, w))
		;
	pod_send(&r.pod[0], b, frame_make(b, WIRE_STATION, 2, 0, 0, 64));
	pod_send(&r.pod[0], b, frame_make(b, WIRE_STATION, 1, 300, 0, 64));
	rig_settle(&r);
	CU_EQ(wire_recv(&r, w), 0);
	CU_EQ(cause_of(&r, "p0", L2_SPOOFED), 1);
	CU_EQ(cause_of(&r, "p0", L2_NOT_MEMBER), 1);

	/* One transmit buffer over and over, its source address flipping all the while. */
	f.mac = r.pod[0].p.mem.host + r.pod[0].tx_off + 12 + 6;
	n = frame_make(b, WIRE_STATION, 1, 0, 0, 64);
	pthread_create(&thread, NULL, flip, &f);
	for (unsigned i = 0; i < 100000 && (seen < 50 || caught < 50); i++) {
		r.pod[0].sent = 0;
		pod_send(&r.pod[0], b, n);
		count_wire(&r, &seen, &forged);
		caught = cause_of(&r, "p0", L2_SPOOFED);
	}
	atomic_store(&f.stop, true);
	pthread_join(thread, NULL);
	rig_settle(&r);
	count_wire(&r, &seen, &forged);
	CU_EQ(forged, 0);
	CU_ASSERT(seen >= 50);
	CU_ASSERT(caught >= 50);
	rig_down(&r);
}

/*
 * Frames for pod 0, and then as many buffers: where a read finds no frame and the next one does,
 * as the frame came in between, that one has to be moved up.
 */
static void chunk_into_new_buffers(struct rig *r, unsigned first)
{
	static uint8_t b[FRAME_BYTES];
	struct pod *d = &r->pod[0];
	unsigned got = 0;
	uint32_t len;
	uint16_t id;

	for (unsigned k = 0; k < CHUNK; k++) {
		uint32_t n = 60 + (first + k) * 37 % 1400;

		wire_send(r, b, frame_make(b, 1, WIRE_STATION, 0, first + k, n));
	}
	for (unsigned k = 0; k < CHUNK; k++)
		post(d, (first + k) % POD_NUM);
	for (unsigned ms = 0; ms < 2000 && got < CHUNK; ms++) {
		for (; drv_used(d->p.ring[RX], &id, &len); got++)
			d->wrong += frame_number(d->p.mem.host + d->rx_off + 12 +
						 (uint64_t)d->buf_of[id] * POD_BUF) != first + got;
		if (got < CHUNK)
			nap_ms(1);
	}
	d->got += got;
}

/* 3.7: received frames pass while this process may not touch the pages they land in. */
static void frames_pass_with_the_pods_pages_out_of_reach(void)
{
	unsigned chunks = full(3000, 100000) / CHUNK;
	struct vus_region region;
	struct rig r;
	char *pages;

	pools_up(&r, 1, 2, 1, "");
	pod_again(&r, POD_FEATURES, 0);
	chunk_into_new_buffers(&r, 0);		/* memory is registered now */
	CU_EQ(vus_regions(sw_find(r.s, "p0")->port, &region, 1), 1);
	pages = (char *)region.base + r.pod[0].rx_off;
	CU_EQ(mprotect(pages, (size_t)POD_NUM * POD_BUF, PROT_NONE), 0);
	for (unsigned i = 1; i < chunks; i++)
		chunk_into_new_buffers(&r, i * CHUNK);
	CU_EQ(r.pod[0].got, chunks * CHUNK);
	CU_EQ(r.pod[0].wrong, 0);
	CU_EQ(lane_of(&r, "p0").copied_bytes, 0);
	CU_EQ(lane_of(&r, "p0").frames, chunks * CHUNK);
	CU_EQ(mprotect(pages, (size_t)POD_NUM * POD_BUF, PROT_READ | PROT_WRITE), 0);
	rig_down(&r);
}

#define PAGE 4096
#define ACROSS 64			/* frames that lie across two pages */
#define ACROSS_LEN 1400
#define JUDGED 64			/* bytes of a frame that are copied and looked at */

/* Frame i of the pod's transmit memory: what is judged ends where the next page begins. */
static void send_across(struct pod *d, unsigned i, uint8_t *frame)
{
	uint64_t off = d->tx_off + (2 * i + 1) * PAGE - 12 - JUDGED, one = 1;
	struct drv_buf b = { drv_gpa(off), 12 + ACROSS_LEN, false };

	frame_make(frame, WIRE_STATION, 1, 0, i, ACROSS_LEN);
	memset(frame + JUDGED, (int)i, ACROSS_LEN - JUDGED);
	memset(d->p.mem.host + off, 0, 12);
	memcpy(d->p.mem.host + off + 12, frame, ACROSS_LEN);
	drv_add(d->p.ring[TX], &b, 1);
	if (drv_kick_wanted(d->p.ring[TX]))
		(void)!write(d->p.kick[TX], &one, sizeof(one));
}

static void let(char *pages, int prot)
{
	for (unsigned i = 0; i < ACROSS; i++)
		CU_EQ(mprotect(pages + (2 * i + 1) * PAGE, PAGE, prot), 0);
}

/*
 * 3.7, the other way, by the switch (past it: switch_kernel.c): nobody but the kernel reads what
 * is sent, beyond the part that is judged. A load of ours from such a page would end this process;
 * the kernel's own copy, which comes last, says EFAULT instead. So each frame must get as far as
 * that, and whole once it may be read.
 */
static void what_is_sent_is_read_by_the_kernel_only(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	struct vus_region region;
	struct rig r;
	char *pages;

	pools_up(&r, 1, 2, 1, "");
	CU_EQ(cmd(&r, "port set p0 in_frames 1000000"), 0);
	CU_EQ(vus_regions(sw_find(r.s, "p0")->port, &region, 1), 1);
	pages = (char *)region.base + r.pod[0].tx_off;
	let(pages, PROT_NONE);
	for (unsigned i = 0; i < ACROSS; i++)
		send_across(&r.pod[0], i, b);
	rig_settle(&r);
	CU_EQ(stat_of(&r, "upl0", PORT_FAULTS), ACROSS);
	CU_EQ(stat_of(&r, "p0", PORT_FAULTS), 0);
	CU_EQ(wire_recv(&r, w), 0);
	let(pages, PROT_READ);			/* nor is it written */
	for (unsigned i = 0; i < ACROSS; i++) {
		send_across(&r.pod[0], i, b);
		rig_settle(&r);
		CU_EQ(wire_recv(&r, w), ACROSS_LEN);
		CU_EQ(memcmp(w, b, ACROSS_LEN), 0);
	}
	CU_EQ(stat_of(&r, "upl0", PORT_FAULTS), ACROSS);
	let(pages, PROT_READ | PROT_WRITE);
	rig_down(&r);
}

/* 3.10, C-SW-10 */
static void a_pod_that_takes_nothing_costs_the_others_nothing(void)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;

	pools_up(&r, 4, 8, 1, "");
	pod_again(&r, POD_FEATURES, 0);
	for (unsigned k = 0; k < 2000; k++) {
		for (unsigned i = 0; i < 4; i++) {
			frame_make(b, i + 1, WIRE_STATION, 0, i << 24 | k, 100);
			wire_send(&r, b, 100);
		}
		if (k % CHUNK == CHUNK - 1)
			settle(&r, 4, (k + 1) * 3);
	}
	settle(&r, 4, 6000);
	CU_EQ(r.pod[0].got, 0);
	for (unsigned i = 1; i < 4; i++) {
		CU_EQ(r.pod[i].got, 2000);
		CU_EQ(r.pod[i].wrong, 0);
	}
	rig_down(&r);
}

/* 3.11, 3.12: pools and peers come and go under traffic; pins and descriptors do not stay. */
static void churn_delivers_nothing_to_the_wrong_pod_and_leaves_nothing(void)
{
	static uint8_t b[FRAME_BYTES];
	unsigned misdelivered = 0, got = 0, fds;
	struct rig r;

	pools_up(&r, 3, 3, 1, "");
	CU_EQ(stream(&r, 3, 30), 10);
	fds = fds_open();
	CU_ASSERT(pinned_kb() > 0);
	for (unsigned round = 0; round < full(150, 1000); round++) {
		unsigned i = round % 3;
		struct pod *d = &r.pod[i];

		for (unsigned k = 0; k < 12; k++) {
			wire_send(&r, b, frame_make(b, k % 3 + 1, WIRE_STATION, 0, k % 3 << 24,
						    200));
			for (unsigned p = 0; p < 3; p++) {
				while (pod_recv(&r.pod[p], b)) {
					misdelivered += frame_number(b) >> 24 != p;
					got++;
				}
			}
			if (k == 4 && round % 2)
				CU_EQ(cmd(&r, "pool del p%u", i), 0);
			if (k == 4 && round % 2 == 0)
				peer_hang_up(&d->p);
		}
		if (round % 2) {
			CU_EQ(cmd(&r, "pool add p%u macs 52:54:00:00:00:%02x", i, i + 1), 0);
			continue;
		}
		for (unsigned ms = 0; ms < 2000 && port_is_up(&r, d->name); ms++)
			nap_ms(1);
		peer_free(&d->p);
		pod_connect(&r, d, 0, POD_NUM - 1);
	}
	CU_EQ(misdelivered, 0);
	CU_ASSERT(got > 150);
	CU_EQ(fds_open(), fds);
	for (unsigned i = 0; i < 3; i++)
		peer_hang_up(&r.pod[i].p);
	for (unsigned ms = 0; ms < 1000 && pinned_kb(); ms++)
		nap_ms(1);
	CU_EQ(pinned_kb(), 0);
	rig_down(&r);
}

/* 3.13: the pod scribbles over what it sends; we survive, lengths hold. */
static void a_pod_may_scribble_over_what_it_sends(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	struct rig r;
	unsigned seen = 0, wrong = 0;
	uint32_t n;

	pools_up(&r, 1, 2, 1, "");
	for (unsigned i = 0; i < 2000; i++) {
		uint8_t *at = r.pod[0].p.mem.host + r.pod[0].tx_off +
			      (uint64_t)(r.pod[0].sent % POD_NUM) * POD_BUF;

		pod_send(&r.pod[0], b, frame_make(b, WIRE_STATION, 1, 0, i, 1000));
		memset(at + 12 + 14, 0xff, 1000 - 14);
		while ((n = wire_recv(&r, w))) {
			wrong += n != 1000 || w[11] != 1;
			seen++;
		}
		if (i % 64 == 0)
			nap_ms(1);
	}
	CU_EQ(wrong, 0);
	CU_ASSERT(seen > 100);
	rig_down(&r);
}

/* What has gathered is read many at a time: eight per system call and more. */
static void a_full_queue_is_read_many_frames_a_call(void)
{
	static uint8_t b[FRAME_BYTES];
	struct tap_lane_counters c;
	struct rig r;

	pools_up(&r, 1, 2, 1, "");
	pod_again(&r, POD_FEATURES, 0);
	c = lane_of(&r, "p0");
	for (unsigned k = 0; k < 200; k++)
		wire_send(&r, b, frame_make(b, 1, WIRE_STATION, 0, k, 64));
	for (unsigned i = 0; i < POD_NUM - 1; i++)
		post(&r.pod[0], i);
	settle(&r, 1, 200);
	CU_EQ(r.pod[0].got, 200);
	CU_EQ(r.pod[0].wrong, 0);
	CU_ASSERT(lane_of(&r, "p0").enters - c.enters <= 200 / 8);
	rig_down(&r);
}

/* ---- a ring that ends ----------------------------------------------------------------------- */

static atomic_uint refused;	/* so many entries into the kernel are still to be refused */

int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned n);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned n)
{
	if (!atomic_load(&refused))
		return __real_io_uring_submit_and_wait(ring, n);
	atomic_fetch_sub(&refused, 1);
	return -EAGAIN;
}

/* What was asked for in vain is not carried out later, when its memory is another's. */
static void where_the_kernel_takes_no_ring_plain_calls_do(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	struct rig r;
	unsigned each;

	pools_up(&r, 2, 4, 1, "");
	each = stream(&r, 2, 2000);
	atomic_store(&refused, 3);		/* both lanes' rings, and the port's */
	each += stream(&r, 2, 2000);
	for (unsigned i = 0; i < 2; i++) {
		unsigned ms = 0;

		while (wire_recv(&r, w))
			;
		pod_send(&r.pod[i], b, frame_make(b, WIRE_STATION, i + 1, 0, 77 + i, 64));
		while (!wire_recv(&r, w) && ms++ < 2000)
			nap_ms(1);
		CU_EQ(frame_number(w), 77 + i);
		CU_EQ(r.pod[i].got, each);
		CU_EQ(r.pod[i].wrong, 0);
	}
	CU_EQ(atomic_load(&refused), 0);
	rig_down(&r);
}

CU_MAIN("switch/uplink",
	TC("3.1", each_pod_receives_exactly_its_frames),
	TC("3.14", a_single_queue_works_too),
	TC("3.1", pools_beyond_the_queues_are_served_as_well),
	TC("3.2", the_same_address_is_another_pods_in_another_vlan),
	TC("3.2", a_tag_beside_the_frame_sorts_it_like_one_in_it),
	TC("3.3", what_nobody_owns_goes_to_the_default_pool_or_nowhere),
	TC("3.4", groups_reach_those_who_accept_them_once),
	TC("3.5", pools_meet_inside_or_on_the_wire),
	TC("3.6, C-SW-03", a_forged_address_never_leaves_even_if_it_changes_under_us),
	TC("3.7", frames_pass_with_the_pods_pages_out_of_reach),
	TC("3.7", what_is_sent_is_read_by_the_kernel_only),
	TC("3.9", a_full_queue_is_read_many_frames_a_call),
	TC("3.10, C-SW-10", a_pod_that_takes_nothing_costs_the_others_nothing),
	TC("3.11, 3.12", churn_delivers_nothing_to_the_wrong_pod_and_leaves_nothing),
	TC("3.13", a_pod_may_scribble_over_what_it_sends),
	T(where_the_kernel_takes_no_ring_plain_calls_do))
