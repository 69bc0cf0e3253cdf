// SPDX-License-Identifier: Apache-2.0
// vhost_doubt.c - packed rings that do not tell where they stood, whoever is to blame.
#include <linux/virtio_ring.h>

#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

static void start_with(struct sess *s, bool connects, uint64_t protocol)
{
	struct backend_config cfg = sess_decent(connects);

	cfg.protocol |= protocol;
	sess_init(s, &cfg);
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 2, true), 0);
	CU_ASSERT(sess_do(s, s->up));
	backend_forget(s->b);
}

static void start(struct sess *s, bool connects)
{
	start_with(s, connects, 0);
}

/*
 * How a session ends. From begin to finish nobody looks at the rings but at the loss itself,
 * however long we take to write to them.
 */
struct end { void (*begin)(struct sess *s), (*finish)(struct sess *s); };

/* A packed ring of which the memory tells less after the loss than at it. */
static void lose_and_go_on(struct sess *s, const struct end *end)
{
	struct vring_packed_desc *d = sess_packed(s, 1);

	/* Lap one: 256 slots as chains of two, the first 200 used. */
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)(i / 2),
			.flags = (uint16_t)(AVAIL | (i % 2 ? 0 : VRING_DESC_F_NEXT)) };
	for (unsigned i = 0; i < 200; i += 2)
		d[i].flags = AVAIL | USED;
	end->begin(s);
	/* The driver goes on: collects all and adds 199 single buffers. One slot is free. */
	for (unsigned i = 0; i < 199; i++)
		d[i] = (struct vring_packed_desc){ .addr = 0x1000, .id = (uint16_t)i,
						   .flags = USED };
	end->finish(s);
	CU_ASSERT(sess_wait_link(s, true, 2000));
}

static void lose_for_now(struct sess *s)
{
	backend_hold(s->b);
	CU_ASSERT(sess_lose(s));
}

static void come_back(struct sess *s)
{
	backend_let(s->b);
}

static void what_was_seen_at_the_loss_settles_a_later_doubt(void)
{
	static const struct end lost = { lose_for_now, come_back };
	struct sess s;

	start(&s, false);
	lose_and_go_on(&s, &lost);
	CU_EQ(sess_last_base(&s, 1), 0x80c880c8);
	CU_EQ(sess_stat(&s, "rings_resumed_by_guess"), 0);
	CU_EQ(sess_stat(&s, "ring_buffers_given_back"), 0);
	sess_free(&s);
}

/* Ended by us: its back-end may have gone on a little. */
static void leave(struct sess *s)
{
	unsigned downs;

	BACKEND_RULES(s->b, { VU_SET_VRING_ENABLE, backend_count(s->b, VU_SET_VRING_ENABLE) + 1,
			      BACKEND_WRONG_ID, 0 });
	lock_take(&s->lock);
	downs = s->downs;
	vhost_ring_enable(s->v, 0, false);
	CU_EQ(s->downs, downs + 1);
}

static void go_on(struct sess *s)
{
	lock_drop(&s->lock);
}

static void what_was_seen_of_a_ring_that_may_be_worked_on_settles_nothing(void)
{
	static const struct end left = { leave, go_on };
	struct sess s;

	start(&s, true);
	lose_and_go_on(&s, &left);
	CU_EQ(sess_last_base(&s, 1), 0xc700c7);	/* where the driver stands, in lap two */
	CU_EQ(sess_stat(&s, "ring_buffers_given_back"), 199 + 1 + 28);
	sess_free(&s);
}

/*
 * With a record the back-end knows; one that had not begun with a ring knows what it was told, and
 * its successor, of which the record tells nothing, must be told the same.
 */
static void a_backend_that_had_not_begun_has_a_successor_that_begins(void)
{
	struct vring_packed_desc *d;
	struct sess s;

	start_with(&s, true, BIT(VU_PROTOCOL_INFLIGHT_SHMFD));
	d = sess_packed(&s, 1);
	leave(&s);
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)(i / 2),
			.flags = (uint16_t)(AVAIL | (i % 2 ? 0 : VRING_DESC_F_NEXT)) };
	go_on(&s);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_last_base(&s, 1), 0x80008000);
	CU_EQ(sess_stat(&s, "ring_buffers_given_back"), 0);
	sess_free(&s);
}

static void a_doubt_that_nothing_settles_gives_the_buffers_back(void)
{
	struct vring_packed_desc *d;
	unsigned unused = 0;
	struct sess s;

	start(&s, false);
	d = sess_packed(&s, 1);
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)(i / 2),
			.flags = (uint16_t)(AVAIL | (i % 2 ? 0 : VRING_DESC_F_NEXT)) };
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_last_base(&s, 1), 0);	/* where the driver stands, in lap two */
	for (unsigned i = 0; i < 256; i += 2)
		unused += !(d[i].flags & USED) || d[i].id != i / 2;
	CU_EQ(unused, 0);
	CU_EQ(sess_stat(&s, "ring_buffers_given_back"), 128);
	sess_free(&s);
}

static void a_ring_that_contradicts_itself_fails_the_device(void)
{
	struct vring_packed_desc *d;
	struct sess s;

	start(&s, false);
	d = sess_packed(&s, 0);
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)i, .flags = AVAIL };
	d[0].flags = d[3].flags = AVAIL | USED;
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(s.failures, 1);
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 0);
	/* A reset mends it. */
	sess_stop(&s);
	CU_EQ(sess_start(&s, 2, true), 0);
	CU_EQ(sess_last_base(&s, 0), 0x80008000);
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 2);
	sess_free(&s);
}

/* Between two laps for ever: no driver is, but one that means harm. */
static void a_driver_that_is_never_done_adding_fails_the_device(void)
{
	struct vring_packed_desc *d;
	struct sess s;

	start(&s, false);
	d = sess_packed(&s, 1);
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)i, .flags = i % 2 ? AVAIL : USED };
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(s.failures, 1);
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 0);
	sess_stop(&s);
	CU_EQ(sess_start(&s, 2, true), 0);
	CU_EQ(sess_last_base(&s, 1), 0x80008000);
	sess_free(&s);
}

CU_MAIN("wire/vhost_doubt",
	{ "B-RC-05 what was seen at the loss settles a later doubt",
	  what_was_seen_at_the_loss_settles_a_later_doubt },
	{ "B-RC-05 what was seen of a ring that may be worked on settles nothing",
	  what_was_seen_of_a_ring_that_may_be_worked_on_settles_nothing },
	{ "B-RC-05 a back-end that had not begun has a successor that begins",
	  a_backend_that_had_not_begun_has_a_successor_that_begins },
	{ "B-RC-05 a doubt that nothing settles gives the buffers back",
	  a_doubt_that_nothing_settles_gives_the_buffers_back },
	{ "B-RC-05 a ring that contradicts itself fails the device",
	  a_ring_that_contradicts_itself_fails_the_device },
	{ "B-RC-05 a driver that is never done adding fails the device",
	  a_driver_that_is_never_done_adding_fails_the_device })
