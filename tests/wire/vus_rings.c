// SPDX-License-Identifier: Apache-2.0
// vus_rings.c - rings as a front-end sets them up, stops them, and changes them under our hands.
#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "tests/wire/vus_rig.h"

#define PACKED BIT(VIRTIO_F_RING_PACKED)

static int ask_state(struct rig *g, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_state s = { index, num };

	return rig_ask(g, request, &s, sizeof(s), NULL, 0);
}

static int64_t get_base(struct rig *g, uint32_t index)
{
	union vu_payload p;
	struct vu_header h;

	CU_EQ(peer_send_state(&g->peer, VU_GET_VRING_BASE, index, 0), 0);
	rig_run(g);
	return peer_recv(&g->peer, &h, &p, NULL) == 1 && p.state.index == index ?
		(int64_t)p.state.num : -1;
}

static void eat(struct rig *g)
{
	CU_ASSERT(rig_alive(g));
}

/* C-RG-01: kept in its whole width */
static void a_ring_that_is_not_there_is_refused(void)
{
	static const uint32_t bad[] = { 4, 5, 255, 256, 257, 65536, 65537, 1u << 31, UINT32_MAX };
	static const uint32_t requests[] = { VU_SET_VRING_NUM, VU_SET_VRING_BASE,
					     VU_SET_VRING_ENABLE };
	struct rig *g = rig_new();

	rig_negotiate(g, RIG_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct vu_addr a = { .index = bad[i] };

		for (unsigned k = 0; k < ARRAY_SIZE(requests); k++)
			CU_EQ(ask_state(g, requests[k], bad[i], 1), 1);
		CU_EQ(rig_ask(g, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
		CU_EQ(get_base(g, bad[i]), -1);
		rig_reconnect(g);
		rig_negotiate(g, RIG_FEATURES);
	}
	CU_EQ(ask_state(g, VU_SET_VRING_NUM, 3, 64), 0);
	rig_free(g);
}

static void sizes_that_the_format_does_not_know_are_refused(void)
{
	static const struct { uint32_t num; bool split, packed; } sizes[] = {
		{ 0, false, false }, { 1, true, true }, { 2, true, true }, { 3, false, true },
		{ 255, false, true }, { 256, true, true }, { 32767, false, true },
		{ 32768, true, true }, { 32769, false, false }, { 65536, false, false },
		{ 65536 + 64, false, false }, { UINT32_MAX, false, false },
	};
	struct rig *g = rig_new();

	for (unsigned packed = 0; packed < 2; packed++) {
		rig_negotiate(g, RIG_FEATURES | (packed ? PACKED : 0));
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
			CU_EQ(ask_state(g, VU_SET_VRING_NUM, 0, sizes[i].num),
			      !(packed ? sizes[i].packed : sizes[i].split));
		rig_reconnect(g);
	}
	rig_free(g);
}

/* C-RG-02, C-RG-06, C-RG-07: a ring starts only where all of it is. */
static void a_ring_outside_its_memory_does_not_start(void)
{
	const uint64_t end = DRV_UVA + RIG_MEM, ok = DRV_UVA + 4096;
	const struct {
		uint64_t desc, avail, used;
		int split, packed;
	} rows[] = {
		{ ok, ok + 8192, ok + 12288, 0, 0 },
		{ 0, ok, ok, 1, 1 }, { ok, 0, ok, 1, 1 }, { ok, ok, 0, 1, 1 },
		{ end, ok, ok, 1, 1 }, { end - 1023, ok, ok, 1, 1 }, { end - 1024, ok, ok, 0, 0 },
		{ ok, end - 4, ok, 1, 0 }, { ok, end - 134, ok, 0, 1 }, { ok, ok, end - 4, 1, 0 },
		{ ok, end - 2, ok, 1, 1 }, { UINT64_MAX - 8, ok, ok, 1, 1 },
		{ ok + 8, ok, ok, 1, 1 }, { ok, ok + 1, ok, 1, 1 }, { ok, ok, ok + 2, 1, 1 },
		{ DRV_GPA, ok, ok, 1, 1 },		/* guest addresses do not name rings */
		{ ok, ok, ok, 0, 0 },			/* C-RG-07: all in one place */
	};

	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = rig_new();

		rig_negotiate(g, RIG_FEATURES | (packed ? PACKED : 0));
		CU_EQ(peer_send_memory(&g->peer), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
			struct vu_addr a = { 0, 0, rows[i].desc, rows[i].used, rows[i].avail, 0 };
			uint64_t kick = VU_RING_NOFD;
			int want = packed ? rows[i].packed : rows[i].split;

			CU_EQ(ask_state(g, VU_SET_VRING_NUM, 0, 64), 0);
			CU_EQ(ask_state(g, VU_SET_VRING_BASE, 0, packed ? 0x80008000 : 0), 0);
			CU_EQ(rig_ask(g, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
			CU_EQ(rig_ask(g, VU_SET_VRING_KICK, &kick, 8, NULL, 0), want);
			CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 0, 1), 0);
			CU_EQ(g->port->up, !want);
			/* whatever overlaps whatever: it is used, and nothing happens */
			if (!want) {
				struct frame *list = &g->b->frame[0];

				memset(g->peer.mem.host + 4096, 0x8f, 64 * 16);
				frame_of(list, g->path, 64);
				g->port->ops->give(g->port, 0, &list, 1);
				memset(g->peer.mem.host + 4096, 0, 64 * 16);
			}
			CU_EQ(get_base(g, 0) >= 0, 1);
		}
		rig_free(g);
	}
}

static void a_base_outside_the_ring_does_not_start(void)
{
	static const struct { uint32_t base; int split, packed; } rows[] = {
		{ 0, 0, 0 }, { 63, 0, 0 }, { 64, 0, 1 }, { 0xffff, 0, 1 }, { 0x10000, 1, 0 },
		{ 0x80008000, 1, 0 }, { 0x80408000, 1, 1 }, { 0x803f803f, 1, 0 },
		{ UINT32_MAX, 1, 1 },
	};

	for (unsigned packed = 0; packed < 2; packed++) {
		for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
			struct rig *g = rig_new();

			rig_negotiate(g, RIG_FEATURES | (packed ? PACKED : 0));
			CU_EQ(peer_send_memory(&g->peer), 0);
			peer_start_ring(&g->peer, 0, 64, rows[i].base);
			CU_EQ(rig_alive(g), !(packed ? rows[i].packed : rows[i].split));
			rig_free(g);
		}
	}
}

static void a_running_ring_is_not_changed(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = rig_new();
		uint64_t f = RIG_FEATURES | (packed ? PACKED : 0);
		struct vu_addr a = { .index = 1 };
		uint64_t other;

		rig_start(g, f);
		CU_EQ(ask_state(g, VU_SET_VRING_NUM, 0, 128), 1);
		CU_EQ(ask_state(g, VU_SET_VRING_BASE, 0, 0), 1);
		CU_EQ(rig_ask(g, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 1);
		other = f ^ PACKED;
		CU_EQ(rig_ask(g, VU_SET_FEATURES, &other, 8, NULL, 0), 1);
		other = f ^ BIT(VIRTIO_NET_F_MRG_RXBUF);
		CU_EQ(rig_ask(g, VU_SET_FEATURES, &other, 8, NULL, 0), 1);
		other = f | BIT(VU_F_LOG_ALL);
		CU_EQ(rig_ask(g, VU_SET_FEATURES, &other, 8, NULL, 0), 0);
		CU_ASSERT(rig_echo(g));
		/* the other format, once all stand still */
		CU_ASSERT(get_base(g, 0) >= 0 && get_base(g, 1) >= 0);
		g->peer.mem.top = 0;
		memset(g->peer.mem.host, 0, 65536);
		g->peer.features = f ^ PACKED;
		CU_EQ(peer_send_u64(&g->peer, VU_SET_FEATURES, g->peer.features), 0);
		peer_start_ring(&g->peer, 0, 32, packed ? 0 : 0x80008000);
		peer_start_ring(&g->peer, 1, 32, packed ? 0 : 0x80008000);
		rig_run(g);
		for (unsigned i = 0; i < 100; i++)
			CU_ASSERT(rig_echo(g));
		rig_free(g);
	}
}

static void enabling_and_stopping_are_possible_in_any_state(void)
{
	struct rig *g = rig_new();

	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 0, 2), 1);
	CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 0, 1), 0);
	CU_EQ(g->port->up, false);
	CU_EQ(ask_state(g, VU_SET_VRING_BASE, 0, 77), 0);
	CU_EQ(get_base(g, 0), 77);
	CU_EQ(get_base(g, 0), 77);
	rig_start(g, RIG_FEATURES);
	for (unsigned i = 0; i < 5; i++)
		CU_ASSERT(rig_echo(g));
	CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 0, 0), 0);
	CU_EQ(g->port->gives, 0);
	CU_EQ(g->port->takes, 1);
	CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 0, 1), 0);
	CU_ASSERT(rig_echo(g));
	CU_EQ(get_base(g, 0), 6);
	CU_EQ(get_base(g, 0), 6);
	CU_EQ(get_base(g, 1), 6);
	CU_EQ(g->port->up, false);
	rig_free(g);
}

/* What the driver transmits on a disabled ring is thrown away, not kept. */
static void a_disabled_ring_eats_what_it_is_given(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = rig_new();
		unsigned back = 0;
		uint16_t id;
		uint32_t len;

		rig_start(g, RIG_FEATURES | (packed ? PACKED : 0));
		CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 1, 0), 0);
		for (unsigned i = 0; i < 40; i++)
			drv_add(g->peer.ring[1], &(struct drv_buf){ DRV_GPA, 100, false }, 1);
		CU_EQ(g->port->ops->take(g->port, 0, g->b, 64), 0);
		rig_run(g);
		while (drv_used(g->peer.ring[1], &id, &len))
			back++;
		CU_EQ(back, 40);
		rig_free(g);
	}
}

static uint64_t sum(const uint8_t *p, uint64_t n)
{
	uint64_t s = 0;

	for (uint64_t i = 0; i < n; i += 8)
		s = s * 31 + *(const uint64_t *)(const void *)(p + i);
	return s;
}

static void a_stopped_ring_is_not_touched(void)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = rig_new();
		struct frame *list = &g->b->frame[0];
		uint64_t before;

		rig_start(g, RIG_FEATURES | (packed ? PACKED : 0));
		CU_ASSERT(rig_echo(g));
		for (unsigned i = 0; i < 10; i++) {
			drv_add(g->peer.ring[0], &(struct drv_buf){ DRV_GPA + 65536, 500, true },
				1);
			drv_add(g->peer.ring[1], &(struct drv_buf){ DRV_GPA + 65536, 100, false },
				1);
		}
		CU_ASSERT(get_base(g, 0) >= 0 && get_base(g, 1) >= 0);
		before = sum(g->peer.mem.host, RIG_MEM);
		frame_of(list, g->path, 64);
		CU_EQ(g->port->ops->give(g->port, 0, &list, 1), 0);
		CU_EQ(g->port->ops->take(g->port, 0, g->b, 64), 0);
		g->port->ops->release(g->port, 0, g->b);
		g->port->ops->arm(g->port, true);
		g->port->ops->notify(g->port);
		rig_wait(g, 500);
		CU_EQ(sum(g->peer.mem.host, RIG_MEM), before);
		CU_EQ(rig_count(g, PORT_OUT_DOWN), 1);
		rig_free(g);
	}
}

static void eventfds_sent_again_replace_each_other(void)
{
	struct rig *g = rig_new();
	unsigned before;
	int fd = eventfd(0, 0);

	rig_start(g, RIG_FEATURES);
	before = fds_open();
	for (unsigned i = 0; i < 3000; i++) {
		static const uint32_t requests[] = { VU_SET_VRING_KICK, VU_SET_VRING_CALL,
						     VU_SET_VRING_ERR };

		CU_EQ(peer_send_fd(&g->peer, requests[i % 3], 1, i % 7 ? fd : -1), 0);
		CU_ASSERT(rig_alive(g));
	}
	CU_EQ(fds_open(), before + 1);		/* the error eventfd is new */
	CU_ASSERT(rig_echo(g));
	close(fd);
	rig_free(g);
}

/* ---- notification --------------------------------------------------------------------------- */

static uint64_t called(struct rig *g, unsigned ring)
{
	uint64_t n = 0;

	return read(g->peer.call[ring], &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* As a worker does: until the answer is settled. */
static void notify(struct rig *g)
{
	for (unsigned i = 0; i < 100 && g->port->ops->notify(g->port); i++)
		;
}

static void a_peer_is_called_if_it_asked_to_be(void)
{
	static const uint64_t kinds[] = { 0, PACKED };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *g = rig_new();

		rig_start(g, RIG_FEATURES | kinds[i]);
		notify(g);
		called(g, 0);
		called(g, 1);
		for (unsigned want = 0; want < 2; want++) {
			drv_want_calls(g->peer.ring[0], want);
			drv_want_calls(g->peer.ring[1], !want);
			CU_ASSERT(rig_echo(g));
			notify(g);
			CU_EQ(called(g, 0), want);
			CU_EQ(called(g, 1), !want);
			notify(g);
			CU_EQ(called(g, 0) + called(g, 1), 0);
		}
		/* asked for between our look and the next round: told all the same */
		drv_want_calls(g->peer.ring[0], false);
		CU_ASSERT(rig_echo(g));
		CU_ASSERT(g->port->ops->notify(g->port));
		drv_want_calls(g->peer.ring[0], true);
		notify(g);
		CU_EQ(called(g, 0), 1);
		rig_free(g);
	}
}

/* 2.7.7.2, 2.8.10: by index, also around the end of the ring */
static void a_peer_is_called_at_the_index_it_named(void)
{
	static const uint64_t kinds[] = { 0, PACKED };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *g = rig_new();
		struct drv_ring *r;
		unsigned calls = 0;

		rig_start(g, RIG_FEATURES | kinds[i] | BIT(VIRTIO_RING_F_EVENT_IDX));
		r = g->peer.ring[0];
		notify(g);
		called(g, 0);
		CU_ASSERT(rig_echo(g));
		notify(g);
		called(g, 0);
		for (unsigned k = 1; k < 400; k++) {
			/* at every tenth completion */
			unsigned at = (k / 10) * 10 + 9;

			if (kinds[i]) {
				r->avail[0] = (uint16_t)(at % 64 | ((at / 64) % 2 ? 0 : 0x8000));
				r->avail[1] = VRING_PACKED_EVENT_FLAG_DESC;
			} else {
				r->avail[2 + 64] = (uint16_t)at;
			}
			CU_ASSERT(rig_echo(g));
			notify(g);
			CU_EQ(called(g, 0), k == at);
			calls += k == at;
		}
		CU_EQ(calls, 40);
		rig_free(g);
	}
}

static void nonsense_in_the_event_fields_costs_only_calls(void)
{
	static const uint64_t kinds[] = { 0, PACKED };
	uint32_t rng = 3;

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *g = rig_new();

		rig_start(g, RIG_FEATURES | kinds[i] | BIT(VIRTIO_RING_F_EVENT_IDX));
		for (unsigned k = 0; k < 2000; k++) {
			rng = rng * 1664525u + 1013904223u;
			if (kinds[i]) {
				g->peer.ring[0]->avail[0] = (uint16_t)(rng >> 8);
				g->peer.ring[0]->avail[1] = (uint16_t)(rng >> 4);
			} else {
				g->peer.ring[0]->avail[0] = (uint16_t)(rng >> 8);
				g->peer.ring[0]->avail[2 + 64] = (uint16_t)(rng >> 4);
			}
			CU_ASSERT(rig_echo(g));
			notify(g);
		}
		CU_ASSERT(rig_alive(g));
		rig_free(g);
	}
}

static void a_sleeping_worker_is_kicked_and_a_polling_one_is_not(void)
{
	static const uint64_t kinds[] = { 0, PACKED };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *g = rig_new();
		struct drv_ring *tx;

		rig_start(g, RIG_FEATURES | kinds[i]);
		tx = g->peer.ring[1];
		CU_ASSERT(!drv_kick_wanted(tx));
		CU_ASSERT(!g->port->ops->arm(g->port, true));
		CU_ASSERT(drv_kick_wanted(tx));
		CU_ASSERT(!drv_kick_wanted(g->peer.ring[0]));
		drv_add(tx, &(struct drv_buf){ DRV_GPA, 100, false }, 1);
		eventfd_write(g->peer.kick[1], 1);
		CU_EQ(poller_run(g->poller, 1000), 1);
		CU_EQ(rig_count(g, PORT_KICKS_SEEN), 1);
		CU_EQ(poller_run(g->poller, 0), 0);	/* edge by edge, though nobody read it */
		eventfd_write(g->peer.kick[1], 1);
		CU_EQ(poller_run(g->poller, 0), 1);
		/* what was there before needs no kick */
		CU_ASSERT(g->port->ops->arm(g->port, true));
		CU_ASSERT(!g->port->ops->arm(g->port, false));
		CU_ASSERT(!drv_kick_wanted(tx));
		rig_free(g);
	}
}

/* C-RG-11: an eventfd that cannot count further */
static void a_full_call_eventfd_does_not_stop_us(void)
{
	struct rig *g = rig_new();
	int fd = eventfd(0, 0);			/* a blocking one */

	rig_start(g, RIG_FEATURES);
	CU_EQ(peer_send_fd(&g->peer, VU_SET_VRING_CALL, 0, fd), 0);
	rig_run(g);
	CU_EQ(eventfd_write(fd, UINT64_MAX - 1), 0);
	CU_ASSERT(rig_echo(g));
	notify(g);
	CU_EQ(rig_count(g, PORT_CALLS_LOST), 1);
	close(fd);
	rig_free(g);
}

/* A ring broken by its driver: the error eventfd says so, once, and a new start mends it. */
static void a_broken_ring_is_told_of_and_can_be_started_anew(void)
{
	struct rig *g = rig_new();
	int err = eventfd(0, EFD_NONBLOCK);
	uint64_t n = 0;

	rig_start(g, RIG_FEATURES);
	CU_EQ(peer_send_fd(&g->peer, VU_SET_VRING_ERR, 1, err), 0);
	eat(g);
	g->peer.ring[1]->avail[1] += 1000;
	CU_EQ(g->port->ops->take(g->port, 0, g->b, 64), 0);
	rig_wait(g, 200);
	CU_EQ(read(err, &n, 8), 8);
	CU_EQ(n, 1);
	CU_ASSERT(get_base(g, 1) >= 0);
	peer_start_ring(&g->peer, 1, 64, 0);
	rig_run(g);
	CU_ASSERT(rig_echo(g));
	close(err);
	rig_free(g);
}

/* ---- several queues, reset, resumption ------------------------------------------------------ */

static void frames_reach_the_queue_that_is_named(void)
{
	struct rig *g = rig_new_with((struct vus_config){ .pairs = 4 });
	struct frame *list = &g->b->frame[0];

	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	rig_run(g);
	rig_negotiate(g, RIG_FEATURES | BIT(VIRTIO_NET_F_MQ));
	CU_EQ(rig_get(g, VU_GET_QUEUE_NUM), 4);
	CU_EQ(peer_send_memory(&g->peer), 0);
	for (unsigned i = 0; i < 8; i++)
		CU_EQ(peer_start_ring(&g->peer, i, 32, 0), 0);
	rig_run(g);
	CU_EQ(g->port->takes, 4);
	CU_EQ(g->port->gives, 4);
	for (unsigned q = 0; q < 12; q++) {
		struct drv_ring *rx = g->peer.ring[2 * (q % 4)];
		struct drv_ring *tx = g->peer.ring[2 * (q % 4) + 1];
		uint16_t id;
		uint32_t len;

		drv_add(rx, &(struct drv_buf){ DRV_GPA + 0x100000, 200, true }, 1);
		frame_of(list, g->path, 64);
		CU_EQ(g->port->ops->give(g->port, q, &list, 1), 1);
		CU_ASSERT(drv_used(rx, &id, &len));
		drv_add(tx, &(struct drv_buf){ DRV_GPA + 0x100000, 200, false }, 1);
		for (unsigned other = 0; other < 5; other++) {
			CU_EQ(g->port->ops->take(g->port, other, g->b, 64), other == q % 4);
			g->port->ops->release(g->port, other, g->b);
		}
	}
	/* with a queue pair off, the others are folded onto what is left */
	CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 2, 0), 0);
	CU_EQ(g->port->gives, 3);
	rig_free(g);
}

static void a_reset_stops_all_rings(void)
{
	static const uint32_t how[] = { VU_RESET_OWNER, VU_RESET_DEVICE, VU_SET_STATUS };

	for (unsigned i = 0; i < ARRAY_SIZE(how); i++) {
		struct rig *g = rig_new();

		rig_start(g, RIG_FEATURES);
		CU_EQ(peer_send_u64(&g->peer, how[i], 0), 0);
		CU_ASSERT(rig_alive(g));
		CU_EQ(g->port->up, false);
		memset(g->peer.mem.host, 0, 65536);
		rig_start(g, RIG_FEATURES);
		CU_ASSERT(rig_echo(g));
		rig_free(g);
	}
}

/* The back-end dies in the middle of it all; with an in-flight area its successor goes on. */
static void a_successor_goes_on_where_the_ring_stands(void)
{
	static const uint64_t kinds[] = { 0, PACKED, PACKED | BIT(35), BIT(35) };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *g = rig_new();
		struct vu_inflight in = { 0, 0, 4, 64 };
		struct drv_ring *tx;
		uint8_t *copy = malloc(RIG_MEM);
		union vu_payload p;
		struct vu_header h;
		int fd;

		rig_start(g, RIG_FEATURES | kinds[i]);
		tx = g->peer.ring[1];
		for (unsigned k = 0; k < 50; k++)
			drv_add(tx, &(struct drv_buf){ DRV_GPA + 0x100000, 100, false }, 1);
		CU_EQ(g->port->ops->take(g->port, 0, g->b, 20), 20);
		g->port->ops->release(g->port, 0, g->b);
		CU_EQ(g->port->ops->take(g->port, 0, g->b, 10), 10);	/* and never released */
		memcpy(copy, g->peer.mem.host, RIG_MEM);
		rig_reconnect(g);
		memcpy(g->peer.mem.host, copy, RIG_MEM);

		rig_negotiate(g, RIG_FEATURES | kinds[i]);
		CU_EQ(peer_send(&g->peer, VU_GET_INFLIGHT_FD, VU_VERSION, &in, 20, NULL, 0), 0);
		rig_run(g);
		CU_EQ(peer_recv(&g->peer, &h, &p, &fd), 1);
		in.size = p.inflight.size;
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 0);
		close(fd);
		CU_EQ(peer_send_memory(&g->peer), 0);
		{
			struct vu_addr a = { 1, 0, drv_uva(tx->desc_off), drv_uva(tx->used_off),
					     drv_uva(tx->avail_off), 0 };
			uint64_t kick = 1 | VU_RING_NOFD;

			CU_EQ(ask_state(g, VU_SET_VRING_NUM, 1, 64), 0);
			CU_EQ(rig_ask(g, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
			CU_EQ(rig_ask(g, VU_SET_VRING_KICK, &kick, 8, NULL, 0), 0);
			CU_EQ(ask_state(g, VU_SET_VRING_ENABLE, 1, 1), 0);
		}
		CU_EQ(g->port->ops->take(g->port, 0, g->b, 64), 30);
		free(copy);
		rig_free(g);
	}
}

/* ---- a driver that changes its mind while we look (C-DS-10, C-DS-11, C-DP-05) --------------- */

/*
 * Flips words of rings and buffers at random, as fast as it can. A process and not a thread: what
 * it does to shared memory is no data race of this program but a peer's.
 */
static pid_t vandalise(struct rig *g)
{
	static const uint64_t values[] = {
		0, UINT64_MAX, DRV_GPA, DRV_GPA + RIG_MEM - 8, 64, 1ull << 31,
		0x0080000000000040, 0x8000000000000040, 0x8082000000000800,
		0x0081000000000001, 0x0001000200000040,
	};
	uint64_t *words = (uint64_t *)(void *)g->peer.mem.host;
	uint32_t rng = 99;
	uint64_t *begun = &words[RIG_MEM / 16];
	pid_t pid;

	*begun = 0;
	pid = fork();
	if (!pid) {
		close_range(3, ~0u, 0);	/* or nobody sees the session's sockets close */
		__atomic_store_n(begun, 1, __ATOMIC_RELEASE);
	}
	for (unsigned ms = 0; pid > 0 && ms < 5000; ms++) {
		if (__atomic_load_n(begun, __ATOMIC_ACQUIRE))
			break;
		usleep(1000);
	}
	while (!pid) {
		rng = rng * 1664525u + 1013904223u;
		__atomic_store_n(&words[(rng >> 9) % 2048], values[(rng >> 4) % 11],
				 __ATOMIC_RELAXED);
	}
	return pid;
}

static void a_peer_that_scribbles_over_everything_harms_only_itself(void)
{
	static const uint64_t kinds[] = { 0, PACKED, PACKED | BIT(35), BIT(VIRTIO_NET_F_CSUM) };

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct rig *bad = rig_new(), *good = rig_new();
		uint32_t fresh = kinds[i] & PACKED ? 0x80008000 : 0;
		struct frame *list[PORT_BURST];
		pid_t vandal;

		rig_start(good, RIG_FEATURES | kinds[i]);
		rig_start(bad, RIG_FEATURES | kinds[i]);
		vandal = vandalise(bad);
		CU_ASSERT_FATAL(vandal > 0);
		for (unsigned long round = 0; round < cu_rounds(20000); round++) {
			struct port *b = bad->port, *w = good->port;
			unsigned n;

			if (!b->up) {
				peer_hang_up(&bad->peer);
				rig_run(bad);
				bad->now_ms += 1000;
				peer_connect(&bad->peer, bad->path);
				rig_run(bad);
				rig_negotiate(bad, RIG_FEATURES | kinds[i]);
				bad->peer.mem.top = 0;
				peer_send_memory(&bad->peer);
				peer_start_ring(&bad->peer, 0, 64, fresh);
				peer_start_ring(&bad->peer, 1, 64, fresh);
				rig_run(bad);
			}
			n = b->ops->take(b, 0, bad->b, PORT_BURST);
			for (unsigned k = 0; k < n; k++)
				list[k] = &bad->b->frame[k];
			w->ops->give(w, 0, list, n);
			b->ops->give(b, 0, list, n);
			b->ops->release(b, 0, bad->b);
			frame_of(&bad->b->frame[0], bad->path, 64);
			list[0] = &bad->b->frame[0];
			b->ops->give(b, 0, list, 1);
			b->ops->notify(b);
			if (round % 64 == 0) {
				b->ops->arm(b, round % 128);
				/* a broken ring stays broken: begin again */
				peer_hang_up(&bad->peer);
				rig_run(bad);
			}
		}
		kill(vandal, SIGKILL);
		CU_EQ(waitpid(vandal, NULL, 0), vandal);
		/* all the well-behaved peer knows of it are full buffers */
		CU_ASSERT(rig_alive(good));
		rig_free(bad);
		rig_free(good);
	}
}

CU_MAIN("wire/vus_rings",
	TC("C-RG-01, C-RG-02", a_ring_that_is_not_there_is_refused),
	TC("C-RG-02, C-RG-03", sizes_that_the_format_does_not_know_are_refused),
	TC("C-RG-06, C-RG-07", a_ring_outside_its_memory_does_not_start),
	TC("C-RG-08", a_base_outside_the_ring_does_not_start),
	TC("C-RG-05, C-RG-15, C-RG-16", a_running_ring_is_not_changed),
	TC("C-RG-12, C-RG-13", enabling_and_stopping_are_possible_in_any_state),
	T(a_disabled_ring_eats_what_it_is_given),
	TC("C-RG-14", a_stopped_ring_is_not_touched),
	TC("C-RG-09", eventfds_sent_again_replace_each_other),
	T(a_peer_is_called_if_it_asked_to_be),
	T(a_peer_is_called_at_the_index_it_named),
	TC("C-DS-19, C-DP-07", nonsense_in_the_event_fields_costs_only_calls),
	T(a_sleeping_worker_is_kicked_and_a_polling_one_is_not),
	TC("C-RG-11", a_full_call_eventfd_does_not_stop_us),
	T(a_broken_ring_is_told_of_and_can_be_started_anew),
	TC("A-CV-16", frames_reach_the_queue_that_is_named),
	T(a_reset_stops_all_rings),
	T(a_successor_goes_on_where_the_ring_stands),
	TC("C-DS-10, C-DS-11, C-DP-05", a_peer_that_scribbles_over_everything_harms_only_itself))
