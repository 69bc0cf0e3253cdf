// SPDX-License-Identifier: Apache-2.0
// switch_direct.c - the way past the switch comes and goes: under traffic, with bad senders on it,
// and at interfaces that have seen something before.
#include <pthread.h>
#include <stdatomic.h>

#include "tests/wire/switch_rig.h"

/* ---- under traffic ------------------------------------------------------------------------- */

struct talk {				/* from p0 to the wire and to p1, and forged ones between */
	struct rig *r;
	unsigned sent, wire, pod, wrong;
	uint64_t missing;		/* sum of the numbers that p1 has not got yet */
	atomic_bool stop;
};

static void hear(struct talk *t)
{
	static uint8_t b[FRAME_BYTES];

	while (wire_recv(t->r, b))
		t->wrong += b[11] != 1 || frame_number(b) != t->wire++;
	while (pod_recv(&t->r->pod[1], b)) {
		t->wrong += b[11] != 1;
		t->missing -= frame_number(b);
		t->pod++;
	}
}

static void *talk(void *arg)
{
	static uint8_t b[FRAME_BYTES];
	struct talk *t = arg;
	struct pod *d = &t->r->pod[0];

	while (!atomic_load(&t->stop)) {
		for (unsigned i = 0; i < 16; i++, t->sent++) {
			pod_send(d, b, frame_make(b, WIRE_STATION, 1, 0, t->sent, 100));
			pod_send(d, b, frame_make(b, 2, 1, 0, t->sent, 100));
			pod_send(d, b, frame_make(b, 2, 7, 0, t->sent, 100));
			t->missing += t->sent;
		}
		for (unsigned ms = 0; ms < 2000 && (t->wire < t->sent || t->pod < t->sent); ms++) {
			hear(t);
			if (t->wire < t->sent || t->pod < t->sent)
				nap_ms(1);
		}
	}
	return NULL;
}

/*
 * 3.11: not a frame is lost, doubled, or through with a false sender. On the wire they keep their
 * order; between pools one may overtake, through the switch, what waits in the other's queue.
 */
static void the_way_changes_under_traffic_and_no_frame_notices(void)
{
	static const char *const changes[][2] = {
		{ "port set p0 direct off", "port set p0 direct on" },
		{ "port add x kind null mode access pvid 9", "port del x" },
		{ "port set p0 in_frames 100000000", "port set p0 in_frames 0" },
		{ "port set p0 storm 1000", "port set p0 storm 0" },
	};
	struct talk t = { .stop = false };
	unsigned both = 0;
	pthread_t thread;
	struct rig r;

	pools_up(&r, 2, 4, 2, "");
	while (wire_recv(&r, (uint8_t[FRAME_BYTES]){ 0 }))
		;
	t.r = &r;
	pthread_create(&thread, NULL, talk, &t);
	for (unsigned i = 0; i < 200; i++) {
		CU_EQ(cmd(&r, changes[i % 4][0]), 0);
		both |= is_direct(&r, "p0") ? 1 : 2;
		nap_ms(1);
		CU_EQ(cmd(&r, changes[i % 4][1]), 0);
		both |= is_direct(&r, "p0") ? 1 : 2;
		nap_ms(1);
	}
	atomic_store(&t.stop, true);
	pthread_join(thread, NULL);
	rig_settle(&r);
	hear(&t);
	CU_EQ(both, 3);
	CU_ASSERT(t.sent > 1000);
	CU_EQ(t.wire, t.sent);
	CU_EQ(t.pod, t.sent);
	CU_EQ(t.missing, 0);
	CU_EQ(t.wrong, 0);
	CU_EQ(cause_of(&r, "p0", L2_SPOOFED), t.sent);
	rig_down(&r);
}

/* ---- bad senders --------------------------------------------------------------------------- */

static uint32_t next_random(uint32_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 17;
	*x ^= *x << 5;
	return *x;
}

/* Headers and frames of any bytes, in chains of any shape: the kernel's to refuse, one by one. */
static void a_sender_of_garbage_costs_only_itself(void)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];
	unsigned forged = 0, good = 0;
	uint32_t x = 0x5eed, n;
	struct rig r;

	pools_up(&r, 2, 4, 2, "");
	CU_ASSERT_TRUE(is_direct(&r, "p0") && is_direct(&r, "p1"));
	for (unsigned k = 0; k < 4000; k++) {
		struct pod *d = &r.pod[0];
		uint64_t off = d->tx_off + (uint64_t)(d->sent++ % POD_NUM) * POD_BUF;
		uint32_t len = 12 + next_random(&x) % 1600, cut = next_random(&x) % len;
		struct drv_buf c[2] = { { drv_gpa(off), cut, false },
					{ drv_gpa(off + cut), len - cut, false } };

		for (uint32_t at = 0; at < len; at += 4)
			memcpy(d->p.mem.host + off + at, (uint32_t[]){ next_random(&x) }, 4);
		d->p.mem.host[off + 1] &= 0x87;		/* often a kind there is */
		if (k % 2)			/* and often its own address */
			memcpy(d->p.mem.host + off + 18, (uint8_t[]){ 0x52, 0x54, 0, 0, 0, 1 }, 6);
		pod_send_chain(d, c, 2);
		if (k % 64 != 63)
			continue;
		pod_send(&r.pod[1], b, frame_make(b, WIRE_STATION, 2, 0, k / 64, 64));
		rig_settle(&r);
		while ((n = wire_recv(&r, w))) {
			good += w[11] == 2 && n == 64;
			forged += w[11] != 1 && w[11] != 2;
		}
	}
	CU_EQ(good, 4000 / 64);
	CU_EQ(forged, 0);
	CU_ASSERT(cause_of(&r, "p0", L2_SPOOFED) > 0 && lane_of(&r, "p0").send_failed > 0);
	CU_ASSERT_TRUE(is_direct(&r, "p0"));
	rig_down(&r);
}

/* ---- interfaces that were there before ----------------------------------------------------- */

static bool made(const char *command)
{
	need_net();
	return system(command) == 0;
}

static void one_passes_and_one_does_not(struct rig *r)
{
	static uint8_t b[FRAME_BYTES], w[FRAME_BYTES];

	pod_send(&r->pod[0], b, frame_make(b, WIRE_STATION, 7, 0, 0, 64));
	pod_send(&r->pod[0], b, frame_make(b, WIRE_STATION, 1, 0, 0, 64));
	rig_settle(r);
	CU_EQ(wire_recv(r, w), 64);
	CU_EQ(w[11], 1);
	CU_EQ(wire_recv(r, w), 0);
	CU_EQ(cause_of(r, "p0", L2_SPOOFED), 1);
}

/* Where the programs cannot be put, the switch does their work. */
static void without_programs_the_switch_judges(void)
{
	struct rig r;

	if (!made("ip tuntap add dev upl0 mode tap multi_queue vnet_hdr && "
		  "tc qdisc add dev upl0 ingress"))
		return;
	log_init("error");
	pools_up(&r, 1, 2, 2, "");
	CU_ASSERT_PTR_NOT_NULL(sw_find(r.s, "p0")->lane);
	CU_ASSERT_FALSE(is_direct(&r, "p0"));
	one_passes_and_one_does_not(&r);
	rig_down(&r);
	CU_ASSERT_TRUE(made("ip link del upl0"));
}

/* What a former switch left at an interface that stays lets all pass, and is replaced. */
static void an_interface_that_stays_is_judged_by_who_has_it(void)
{
	struct rig r;

	if (!made("ip tuntap add dev upl0 mode tap multi_queue vnet_hdr"))
		return;
	for (unsigned i = 0; i < 2; i++) {
		pools_up(&r, 1, 2, 2, "");
		CU_ASSERT_TRUE(is_direct(&r, "p0"));
		one_passes_and_one_does_not(&r);
		rig_down(&r);
	}
	CU_EQ(made("[ $(tc filter show dev upl0 ingress | grep -c podpci) = 1 ]"), true);
	CU_ASSERT_TRUE(made("ip link del upl0"));
}

CU_MAIN("switch/direct",
	TC("3.11", the_way_changes_under_traffic_and_no_frame_notices),
	TC("3.13, 3.6", a_sender_of_garbage_costs_only_itself),
	TC("3.6", without_programs_the_switch_judges),
	TC("3.6", an_interface_that_stays_is_judged_by_who_has_it))
