// SPDX-License-Identifier: Apache-2.0
// switch_kernel.c - what pools send past the switch: judged, turned round and copied to groups by
// programs in the kernel, and written from where the pod has it. The numbers in comments are the
// design's acceptance criteria.
#include <sys/mman.h>

#include "include/backend.h"
#include "tests/wire/switch_rig.h"

#define CHUNK 100
#define IN_TWO_VLANS " vlans 0,100"

static unsigned on_the_wire(struct rig *r)
{
	static uint8_t w[FRAME_BYTES];
	unsigned n = 0;

	while (wire_recv(r, w))
		n++;
	return n;
}

/* ---- the same decisions -------------------------------------------------------------------- */

#define SERIAL_AT 40			/* behind any tags */
#define SERIALS 1024
#define SHARE 128			/* under way at once: fewer than buffers are posted */

struct fate {				/* of each frame, by its serial number */
	uint8_t who[SERIALS];		/* bits: pods; 0x80 the wire */
	uint8_t twice[SERIALS];
	uint64_t cause[L2_CAUSES];
	uint64_t broadcast, multicast, flooded, copies, frames, bytes;
};

static void got(struct fate *f, const uint8_t *b, uint32_t n, unsigned who)
{
	uint32_t serial;

	memcpy(&serial, b + SERIAL_AT, sizeof(serial));
	CU_ASSERT_FATAL(n > SERIAL_AT && serial < SERIALS);
	f->twice[serial] |= f->who[serial] & who;
	f->who[serial] |= (uint8_t)who;
}

static void collect(struct rig *r, unsigned pods, struct fate *f)
{
	static uint8_t b[FRAME_BYTES];
	uint32_t n;

	rig_settle(r);
	for (unsigned i = 0; i < pods; i++)
		while ((n = pod_recv(&r->pod[i], b)))
			got(f, b, n + (b[12] == 0x81 || b[12] == 0x88 ? 0 : 4), 1u << i);
	while ((n = wire_recv(r, b)))
		got(f, b, n + 4, 0x80);
}

/* Every address and tag that makes a difference, to and from each other. */
static const struct {
	uint8_t mac[6];
} addresses[] = {
	{ { 0x52, 0x54, 0, 0, 0, 1 } },		/* p0's, which sends them all */
	{ { 0x52, 0x54, 0, 0, 0, 2 } },		/* p1's */
	{ { 0x52, 0x54, 0, 0, 0, 3 } },		/* p2's */
	{ { 0x52, 0x54, 0, 0, 3, 0x84 } },	/* somebody outside */
	{ { 0x52, 0x54, 0, 0, 0, 9 } },		/* p0's, who owns it in no VLAN */
	{ { 0 } },
	{ { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff } },
	{ { 0x01, 0, 0x5e, 1, 2, 3 } },		/* p1 joined */
	{ { 0x01, 0, 0x5e, 1, 2, 4 } },
	{ { 0x01, 0x80, 0xc2, 0, 0, 0x0e } },
	{ { 0x01, 0x80, 0xc2, 0, 0, 0x10 } },
};
static const struct {
	uint16_t type, tci;
} tags[] = {
	{ 0, 0 }, { 0x8100, 0x6000 }, { 0x8100, 100 }, { 0x8100, 0xe000 | 100 }, { 0x8100, 300 },
	{ 0x8100, 4095 }, { 0x88a8, 100 },
};
#define ADDRESSES (sizeof(addresses) / sizeof(addresses[0]))
#define TAGS (sizeof(tags) / sizeof(tags[0]))
_Static_assert(ADDRESSES * ADDRESSES * TAGS <= SERIALS, "a number each");

static uint32_t frame_of_serial(uint8_t *b, uint32_t serial)
{
	unsigned at = 12, tag = serial % TAGS;

	memset(b, 0x5a, 64);
	memcpy(b, addresses[serial / TAGS % ADDRESSES].mac, 6);
	memcpy(b + 6, addresses[serial / TAGS / ADDRESSES].mac, 6);
	if (tags[tag].type) {
		b[at++] = (uint8_t)(tags[tag].type >> 8);
		b[at++] = (uint8_t)tags[tag].type;
		b[at++] = (uint8_t)(tags[tag].tci >> 8);
		b[at++] = (uint8_t)tags[tag].tci;
	}
	b[at++] = FRAME_TYPE >> 8;
	b[at] = FRAME_TYPE & 0xff;
	/* Where a tag is taken off on the way, the number moves up: it is there twice. */
	memcpy(b + SERIAL_AT, &serial, sizeof(serial));
	memcpy(b + SERIAL_AT + 4, &serial, sizeof(serial));
	return 64;
}

static void counts(struct rig *r, const char *port, struct fate *f)
{
	struct l2_counters c;

	l2_counters(r->s->l2, sw_find(r->s, port)->id, &c);
	for (unsigned i = 0; i < L2_CAUSES; i++)
		f->cause[i] = c.cause[i] - f->cause[i];
	f->broadcast = c.broadcast - f->broadcast;
	f->multicast = c.multicast - f->multicast;
	f->flooded = c.flooded - f->flooded;
	f->copies = c.copies - f->copies;
	f->frames = c.frames - f->frames;
	f->bytes = c.bytes - f->bytes;
}

/* All of them, from p0 or from the wire. */
static void send_all(struct rig *r, unsigned pods, const char *port, struct fate *f)
{
	static uint8_t b[FRAME_BYTES];

	memset(f, 0, sizeof(*f));
	collect(r, pods, f);
	memset(f, 0, sizeof(*f));
	counts(r, port, f);
	for (uint32_t serial = 0; serial < ADDRESSES * ADDRESSES * TAGS; serial++) {
		uint32_t n = frame_of_serial(b, serial);

		if (port[0] == 'p')
			pod_send(&r->pod[0], b, n);
		else
			wire_send(r, b, n);
		if (serial % SHARE == SHARE - 1)
			collect(r, pods, f);
	}
	collect(r, pods, f);
	counts(r, port, f);
}

static void same_delivery(const struct fate *a, const struct fate *b)
{
	for (unsigned i = 0; i < ADDRESSES * ADDRESSES * TAGS; i++)
		if (a->who[i] != b->who[i] || a->twice[i] || b->twice[i]) {
			printf("    from %zu to %zu tag %zu: kernel %02x, switch %02x\n",
			       i / TAGS / ADDRESSES, i / TAGS % ADDRESSES, i % TAGS, a->who[i],
			       b->who[i]);
			CU_FAIL("another fate");
		}
}

static void same_fate(const struct fate *a, const struct fate *b)
{
	same_delivery(a, b);
	for (unsigned i = 0; i < L2_CAUSES; i++)
		if (a->cause[i] != b->cause[i]) {
			printf("    %s: kernel %lu, switch %lu\n", l2_cause_name(i), a->cause[i],
			       b->cause[i]);
			CU_FAIL("another count");
		}
	CU_EQ(a->broadcast, b->broadcast);
	CU_EQ(a->multicast, b->multicast);
	CU_EQ(a->flooded, b->flooded);
	CU_EQ(a->frames, b->frames);
	CU_EQ(a->bytes, b->bytes);
}

/* Each delivery beyond a frame's first. */
static unsigned copies(const struct fate *f)
{
	unsigned n = 0;

	for (unsigned i = 0; i < SERIALS; i++)
		n += f->who[i] ? (unsigned)__builtin_popcount(f->who[i]) - 1 : 0;
	return n;
}

/* Settings under which they are compared: l2switch's part in them is the same. */
static const char *const settings[][2] = {
	{ "mac add 01:00:5e:01:02:03 pool p1", "mode p2 -untagged" },
	{ "mode p1 +multicast,+unknown", "pool default flood" },
	{ "loopback off", "port set p0 spoofcheck off" },
};

/* 3.4, 3.5, 3.6 */
static void the_kernel_decides_as_the_switch_would(void)
{
	static struct fate kernel, ours;
	struct rig r;

	pools_up(&r, 3, 4, 1, IN_TWO_VLANS);
	CU_EQ(cmd(&r, "port set p0 macs 52:54:00:00:00:01,52:54:00:00:00:09"), 0);
	for (unsigned i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		CU_EQ(cmd(&r, settings[i][0]) | cmd(&r, settings[i][1]), 0);
		CU_ASSERT_TRUE(is_direct(&r, "p0"));
		send_all(&r, 3, "p0", &kernel);
		CU_EQ(cmd(&r, "port set p0 in_frames 1000000"), 0);
		CU_ASSERT_FALSE(is_direct(&r, "p0"));
		CU_ASSERT_TRUE(is_direct(&r, "p1"));
		send_all(&r, 3, "p0", &ours);
		same_fate(&kernel, &ours);
		CU_EQ(kernel.copies, copies(&kernel));
		CU_ASSERT(kernel.cause[L2_FORWARD] > 0 && kernel.cause[L2_SPOOFED] > 0);
		CU_EQ(cmd(&r, "port set p0 in_frames 0"), 0);
	}
	rig_down(&r);
}

/* 3.4: what comes from the wire for a group, and what it may not come from. */
static void groups_from_the_wire_reach_the_same_pools(void)
{
	static struct fate kernel, ours;
	struct rig r;

	pools_up(&r, 3, 4, 1, IN_TWO_VLANS);
	CU_EQ(cmd(&r, "mac add 01:00:5e:01:02:03 pool p1"), 0);
	CU_EQ(cmd(&r, "mode p2 -untagged"), 0);
	CU_ASSERT_TRUE(is_direct(&r, "p0"));
	send_all(&r, 3, "upl0", &kernel);		/* who is outside is known from here on */
	send_all(&r, 3, "upl0", &kernel);
	CU_EQ(kernel.copies, copies(&kernel));
	CU_ASSERT(lane_of(&r, "p1").frames > 0);
	CU_EQ(cmd(&r, "port add odd kind null mode access pvid 7"), 0);
	CU_ASSERT_FALSE(is_direct(&r, "p0"));
	send_all(&r, 3, "upl0", &ours);
	same_fate(&kernel, &ours);
	CU_ASSERT(kernel.copies > 0 && kernel.cause[L2_SPOOFED] > 0);
	rig_down(&r);
}

/* ---- no copy of ours ----------------------------------------------------------------------- */

static void reach(struct rig *r, int prot)
{
	struct vus_region region;
	char *base;

	CU_EQ(vus_regions(sw_find(r->s, "p0")->port, &region, 1), 1);
	base = region.base;
	CU_EQ(mprotect(base + r->pod[0].rx_off, (size_t)POD_NUM * POD_BUF, prot), 0);
	CU_EQ(mprotect(base + r->pod[0].tx_off, (size_t)POD_NUM * POD_BUF, prot), 0);
}

/* What has come back by now: in the pod's buffers, which are not posted again, and outside. */
static void came_back(struct rig *r, unsigned *in, unsigned *out, unsigned *wrong)
{
	static uint8_t seen[FRAME_BYTES];
	struct pod *d = &r->pod[0];
	uint32_t n;
	uint16_t id;

	for (; drv_used(d->p.ring[RX], &id, &n); ++*in) {
		const uint8_t *b = d->p.mem.host + d->rx_off + (uint64_t)d->buf_of[id] * POD_BUF;

		*wrong += frame_number(b + 12) != *in || b[n - 1] != 0x5a;
	}
	for (; (n = wire_recv(r, seen)); ++*out)
		*wrong += frame_number(seen) != *out || seen[n - 1] != 0x5a;
}

/*
 * Both ways. The pod posts its buffers when as many frames are there: where a read finds no frame
 * and the next one does, as the frame came in between, that one has to be moved up.
 */
static void there_and_back(struct rig *r, unsigned frames)
{
	static uint8_t b[FRAME_BYTES];
	unsigned wrong = 0, in = 0, out = 0;

	for (unsigned k = 0; k < frames; k++) {
		uint32_t n = 60 + k * 37 % 1400;

		wire_send(r, b, frame_make(b, 1, WIRE_STATION, 0, k, n));
		pod_send(&r->pod[0], b, frame_make(b, WIRE_STATION, 1, 0, k, n));
		if (k % CHUNK < CHUNK - 1 && k + 1 < frames)
			continue;
		for (unsigned i = k / CHUNK * CHUNK; i <= k; i++)
			post(&r->pod[0], i % POD_NUM);
		for (unsigned ms = 0; ms < 2000 && (in <= k || out <= k); ms++) {
			came_back(r, &in, &out, &wrong);
			if (in <= k || out <= k)
				nap_ms(1);
		}
	}
	CU_EQ(wrong, 0);
	CU_EQ(in, frames);
	CU_EQ(out, frames);
}

/* 3.7: both ways, while this process may not touch the pages the frames are in. */
static void no_page_of_a_frame_is_ever_touched_here(unsigned queues)
{
	unsigned frames = full(2000, 100000);
	struct tap_lane_counters c;
	struct rig r;

	pools_up(&r, 1, queues, 1, IN_TWO_VLANS);
	pod_again(&r, POD_FEATURES, 0);
	there_and_back(&r, 10);			/* memory is registered now */
	CU_ASSERT_TRUE(is_direct(&r, "p0"));
	reach(&r, PROT_NONE);
	there_and_back(&r, frames);
	c = lane_of(&r, "p0");
	CU_EQ(c.frames, frames + 10);
	CU_EQ(c.sent, frames + 10);
	CU_EQ(c.sent_in_parts, 0);
	CU_EQ(c.copied_bytes, 0);
	CU_EQ(c.send_failed + c.dropped, 0);
	CU_EQ(stat_of(&r, "upl0", PORT_OUT_FRAMES), frames + 10);
	CU_EQ(stat_of(&r, "p0", PORT_IN_FRAMES), frames + 10);
	reach(&r, PROT_READ | PROT_WRITE);
	rig_down(&r);
}

static void no_page_is_touched_with_queues(void)
{
	no_page_of_a_frame_is_ever_touched_here(2);
}

/* 3.14: the same with an adapter that has one queue, and one pod. */
static void no_page_is_touched_with_one_queue(void)
{
	no_page_of_a_frame_is_ever_touched_here(1);
}

/* The rest of what is on the wire does not get to the pod that has the only queue. */
static void the_only_queue_holds_nothing_but_its_pools_frames(void)
{
	static const char *const changes[] = {
		"mac add 01:00:5e:01:02:03 pool p0", "mode p0 -untagged,+multicast",
		"mode p0 +untagged,-broadcast", "pool default p0",
		"pool default flood", "mode p0 +unknown",
	};
	static struct fate kernel, ours;
	struct rig r;

	pools_up(&r, 1, 1, 1, IN_TWO_VLANS);
	CU_EQ(cmd(&r, "port set upl0 learning off"), 0);	/* the kernel learns nothing */
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		CU_EQ(cmd(&r, changes[i]), 0);
		CU_ASSERT_TRUE(is_direct(&r, "p0"));
		send_all(&r, 1, "upl0", &kernel);
		CU_ASSERT(lane_of(&r, "p0").frames > 0);
		CU_EQ(cmd(&r, "port add odd kind null mode access pvid 7"), 0);
		CU_ASSERT_PTR_NULL(sw_find(r.s, "p0")->lane);
		send_all(&r, 1, "upl0", &ours);
		same_delivery(&kernel, &ours);
		CU_EQ(kernel.cause[L2_SPOOFED], ours.cause[L2_SPOOFED]);
		CU_EQ(cmd(&r, "port del odd"), 0);
	}
	rig_down(&r);
}

/* ---- shapes and errors --------------------------------------------------------------------- */

/* The frame cut into pieces of `step` bytes, header and all. */
static void send_in_pieces(struct pod *d, uint32_t hdr, const uint8_t *frame, uint32_t n,
			   uint32_t step)
{
	uint64_t off = d->tx_off + (uint64_t)(d->sent++ % POD_NUM) * POD_BUF;
	struct drv_buf b[16];
	unsigned k = 0;

	memset(d->p.mem.host + off, 0, hdr);
	memcpy(d->p.mem.host + off + hdr, frame, n);
	for (uint32_t at = 0; at < hdr + n; at += step)
		b[k++] = (struct drv_buf){ drv_gpa(off + at),
					   hdr + n - at < step ? hdr + n - at : step, false };
	pod_send_chain(d, b, k);
}

static void sent_as(struct rig *r, uint32_t hdr, uint32_t step)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	uint32_t n = frame_make(b, WIRE_STATION, 1, 0, step, 90);

	send_in_pieces(&r->pod[0], hdr, b, n, step);
	rig_settle(r);
	CU_EQ(wire_recv(r, w), n);
	CU_EQ(memcmp(w, b, n), 0);
	CU_EQ(wire_recv(r, w), 0);
}

static void a_chain_of_any_shape_arrives_whole(void)
{
	static const uint64_t kinds[] = {
		BIT(VIRTIO_F_VERSION_1), BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED), 0,
	};

	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct rig r;
		uint32_t hdr = kinds[i] ? 12 : 10;

		pools_up(&r, 1, 2, 1, IN_TWO_VLANS);
		pod_again(&r, kinds[i], POD_NUM - 1);
		CU_ASSERT_TRUE(is_direct(&r, "p0"));
		sent_as(&r, hdr, 200);		/* one piece */
		sent_as(&r, hdr, hdr);		/* the header and the rest, which is cut up */
		sent_as(&r, hdr, 7);		/* in the middle of it */
		sent_as(&r, hdr, 11);
		CU_EQ(lane_of(&r, "p0").sent, 4);
		CU_EQ(lane_of(&r, "p0").sent_in_parts, kinds[i] ? 3 : 4);
		rig_down(&r);
	}
}

static void set_up(bool up)
{
	struct ifreq f = { .ifr_name = "upl0" };
	int s = socket(AF_INET, SOCK_DGRAM, 0);

	CU_EQ(ioctl(s, SIOCGIFFLAGS, &f), 0);
	f.ifr_flags = (short)(up ? f.ifr_flags | IFF_UP : f.ifr_flags & ~IFF_UP);
	CU_EQ(ioctl(s, SIOCSIFFLAGS, &f), 0);
	close(s);
}

/* Waits until the pod has all but one of its descriptors back. */
static void all_came_back(struct pod *d, unsigned sent)
{
	unsigned back = 0;
	uint32_t len;
	uint16_t id;

	for (unsigned ms = 0; ms < 2000 && back < sent; ms++) {
		while (drv_used(d->p.ring[TX], &id, &len))
			back++;
		if (back < sent)
			nap_ms(1);
	}
	CU_EQ(back, sent);
}

/* A write that fails costs its frame and is counted; its buffer comes back. */
static void what_the_kernel_refuses_is_counted_and_handed_back(void)
{
	static uint8_t b[FRAME_BYTES];
	struct vus_region region;
	struct pod *d;
	struct rig r;
	uint32_t n = frame_make(b, WIRE_STATION, 1, 0, 0, 64);

	pools_up(&r, 1, 2, 1, IN_TWO_VLANS);
	d = &r.pod[0];
	send_in_pieces(d, 12, b, n, 200);
	rig_settle(&r);
	CU_EQ(on_the_wire(&r), 1);
	d->p.mem.host[d->tx_off + POD_BUF] = 0;
	/* EINVAL: a header that names no kind of segmentation there is. */
	memset(d->p.mem.host + d->tx_off, 0x77, 12);
	memcpy(d->p.mem.host + d->tx_off + 12, b, n);
	pod_send_chain(d, &(struct drv_buf){ drv_gpa(d->tx_off), 12 + n, false }, 1);
	rig_settle(&r);
	CU_EQ(stat_of(&r, "upl0", PORT_OUT_OFFLOAD), 1);
	/* EIO: the interface is down. */
	set_up(false);
	send_in_pieces(d, 12, b, n, 200);
	rig_settle(&r);
	CU_EQ(stat_of(&r, "upl0", PORT_OUT_DOWN), 1);
	set_up(true);
	on_the_wire(&r);			/* it says that it was down */
	/* EFAULT: not registered, and gone. */
	CU_EQ(vus_regions(sw_find(r.s, "p0")->port, &region, 1), 1);
	CU_EQ(mprotect((char *)region.base + d->tx_off, (size_t)POD_NUM * POD_BUF, PROT_NONE), 0);
	send_in_pieces(d, 12, b, n, 50);
	rig_settle(&r);
	CU_EQ(stat_of(&r, "upl0", PORT_FAULTS), 1);
	CU_EQ(lane_of(&r, "p0").send_failed, 3);
	CU_EQ(mprotect((char *)region.base + d->tx_off, (size_t)POD_NUM * POD_BUF,
		       PROT_READ | PROT_WRITE), 0);
	send_in_pieces(d, 12, b, n, 200);
	all_came_back(d, 5);
	CU_EQ(on_the_wire(&r), 1);
	CU_EQ(lane_of(&r, "p0").send_failed, 3);
	rig_down(&r);
}

/* ---- when the way is taken ----------------------------------------------------------------- */

static void only_what_the_kernel_can_judge_goes_past_the_switch(void)
{
	static const struct {
		const char *set, *back;
		bool p0, p1;			/* still direct in between */
	} changes[] = {
		{ "port set p0 in_bytes 1000000", "port set p0 in_bytes 0", false, true },
		{ "port set p0 direct off", "port set p0 direct on", false, true },
		{ "port set p0 mtu 1500", "port set p0 mtu 0", false, true },
		{ "port set p0 isolated on", "port set p0 isolated off", false, true },
		{ "port set p0 out_bytes 1000000", "port set p0 out_bytes 0", false, false },
		{ "port set p0 mode access vlans 0", "port set p0 mode trunk vlans 0,100", false,
		  false },
		{ "mode p1 +all", "mode p1 -all", false, false },
		{ "port add x kind null", "port del x", false, false },
		{ "port set upl0 mtu 9000", "port set upl0 mtu 0", false, false },
		{ "port set upl0 vlans 0-99", "port set upl0 vlans all", false, false },
		{ "port set upl0 storm 1000", "port set upl0 storm 200000", true, true },
		{ "pool del p0", "pool add p0 macs 52:54:00:00:00:01", false, false },
	};
	struct rig r;

	pools_up(&r, 2, 4, 1, IN_TWO_VLANS);
	for (unsigned i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		CU_ASSERT_TRUE(is_direct(&r, "p0") && is_direct(&r, "p1"));
		CU_EQ(cmd(&r, changes[i].set), 0);
		if (is_direct(&r, "p0") != changes[i].p0 || is_direct(&r, "p1") != changes[i].p1)
			printf("    %s\n", changes[i].set);
		CU_EQ(is_direct(&r, "p0"), changes[i].p0);
		CU_EQ(is_direct(&r, "p1"), changes[i].p1);
		CU_EQ(cmd(&r, changes[i].back), 0);
	}
	CU_ASSERT_TRUE(is_direct(&r, "p0") && is_direct(&r, "p1"));
	rig_down(&r);
}

/* A share of one copy a second: the first burst passes, what is behind it does not. */
static void storms_are_calmed_in_the_kernel_too(void)
{
	static uint8_t b[FRAME_BYTES];
	uint32_t n = frame_make(b, 0, 1, 0, 0, 64);
	unsigned wire = 0, pods = 0;
	struct rig r;

	pools_up(&r, 2, 4, 1, IN_TWO_VLANS);
	CU_EQ(cmd(&r, "port set p0 storm 1"), 0);
	CU_ASSERT_TRUE(is_direct(&r, "p0"));
	for (unsigned k = 0; k < 2000; k++) {
		pod_send(&r.pod[0], b, n);
		if (k % 64 == 63)
			rig_settle(&r);
		pods += drain(&r.pod[1]);
		wire += on_the_wire(&r);
	}
	rig_settle(&r);
	pods += drain(&r.pod[1]);
	wire += on_the_wire(&r);
	CU_EQ(pods, wire);
	CU_ASSERT(pods >= 1024 && pods <= 1030);	/* the least burst there is */
	CU_EQ(cause_of(&r, "p0", L2_STORM), 2000 - pods);
	rig_down(&r);
}

/* Somebody takes the judging program off the interface: then nothing is sent unjudged. */
static void without_its_judge(unsigned queues)
{
	static uint8_t b[FRAME_BYTES];
	struct rig r;

	pools_up(&r, 1, queues, 1, IN_TWO_VLANS);
	CU_ASSERT_TRUE(is_direct(&r, "p0"));
	if (system("tc filter del dev upl0 ingress pref 49152") == 0) {
		pod_send(&r.pod[0], b, frame_make(b, WIRE_STATION, 1, 0, 0, 64));
		rig_settle(&r);
		CU_ASSERT_FALSE(is_direct(&r, "p0"));
		sw_tick(r.s, 0);
		CU_EQ(sw_find(r.s, "p0")->lane != NULL, queues > 1);
		CU_EQ(cmd(&r, "port set p0 storm 1000"), 0);
		CU_EQ(sw_find(r.s, "p0")->lane != NULL, queues > 1);
		CU_ASSERT_FALSE(is_direct(&r, "p0"));	/* for good */
		on_the_wire(&r);
		pod_send(&r.pod[0], b, frame_make(b, WIRE_STATION, 2, 0, 0, 64));
		pod_send(&r.pod[0], b, frame_make(b, WIRE_STATION, 1, 0, 0, 64));
		rig_settle(&r);
		CU_EQ(on_the_wire(&r), 1);
		CU_EQ(cause_of(&r, "p0", L2_SPOOFED), 1);
		wire_send(&r, b, frame_make(b, 9, WIRE_STATION, 0, 0, 64));
		wire_send(&r, b, frame_make(b, 1, WIRE_STATION, 0, 0, 64));
		rig_settle(&r);
		CU_EQ(drain(&r.pod[0]), 1);
		pod_up(&r, 1, 0);		/* no pool: the switch copies to groups now */
		wire_send(&r, b, frame_make(b, 0, WIRE_STATION, 0, 0, 64));
		rig_settle(&r);
		CU_EQ(drain(&r.pod[0]), 1);
		CU_EQ(drain(&r.pod[1]), 1);
	}
	rig_down(&r);
}

static void without_its_judge_a_pool_sends_through_the_switch(void)
{
	without_its_judge(2);
}

/* Nor is the only queue a pool's any more: what arrives there is nobody's to sort out. */
static void without_its_judge_a_pool_gives_the_only_queue_back(void)
{
	without_its_judge(1);
}

CU_MAIN("switch/kernel",
	TC("3.4, 3.5, 3.6", the_kernel_decides_as_the_switch_would),
	TC("3.4", groups_from_the_wire_reach_the_same_pools),
	TC("3.7", no_page_is_touched_with_queues),
	TC("3.7, 3.14", no_page_is_touched_with_one_queue),
	TC("3.14", the_only_queue_holds_nothing_but_its_pools_frames),
	TC("3.7", a_chain_of_any_shape_arrives_whole),
	TC("3.7", what_the_kernel_refuses_is_counted_and_handed_back),
	TC("3.6", only_what_the_kernel_can_judge_goes_past_the_switch),
	TC("3.4", storms_are_calmed_in_the_kernel_too),
	TC("3.6", without_its_judge_a_pool_sends_through_the_switch),
	TC("3.14", without_its_judge_a_pool_gives_the_only_queue_back))
