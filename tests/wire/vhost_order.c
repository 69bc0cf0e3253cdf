// SPDX-License-Identifier: Apache-2.0
// vhost_order.c - what a decent back-end is told: messages, order, content, in both roles.
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

/* The requests a session of two rings is made of, from connect to DRIVER_OK. */
static const uint32_t start_order[] = {
	VU_GET_FEATURES, VU_GET_PROTOCOL_FEATURES, VU_SET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM,
	VU_SET_OWNER, VU_SET_STATUS, VU_SET_STATUS, VU_SET_FEATURES, VU_SET_STATUS, VU_GET_STATUS,
	VU_SET_MEM_TABLE,
	VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR, VU_SET_VRING_ERR, VU_SET_VRING_CALL,
	VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR, VU_SET_VRING_ERR, VU_SET_VRING_CALL,
	VU_SET_VRING_KICK, VU_SET_VRING_ENABLE, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE,
	VU_SET_STATUS,
};

static void expect_order(struct backend *b, const uint32_t *order, unsigned n)
{
	struct backend_msg m;

	CU_EQ(backend_count(b, 0), n);
	for (unsigned i = 0; i < n && backend_msg(b, 0, (int)i, &m); i++)
		CU_EQ(m.h.request, order[i]);
}

static void start_role(struct sess *r, bool connects)
{
	struct backend_config cfg = sess_decent(connects);

	sess_init(r, &cfg);
	CU_EQ(sess_open(r), 0);
	CU_EQ(sess_start(r, 2, false), 0);
}

static void requests_come_in_order_to_a_listening_backend(void)
{
	struct sess r;

	start_role(&r, false);
	expect_order(r.b, start_order, ARRAY_SIZE(start_order));
	sess_free(&r);
}

static void requests_come_in_order_to_a_connecting_backend(void)
{
	struct sess r;

	start_role(&r, true);
	expect_order(r.b, start_order, ARRAY_SIZE(start_order));
	sess_free(&r);
}

static void headers_are_clean_and_sizes_exact(void)
{
	static const uint32_t sizes[VU_REQUESTS] = {
		[VU_SET_FEATURES] = 8, [VU_SET_MEM_TABLE] = 40, [VU_SET_VRING_NUM] = 8,
		[VU_SET_VRING_ADDR] = 40, [VU_SET_VRING_BASE] = 8, [VU_GET_VRING_BASE] = 8,
		[VU_SET_VRING_KICK] = 8, [VU_SET_VRING_CALL] = 8, [VU_SET_VRING_ERR] = 8,
		[VU_SET_PROTOCOL_FEATURES] = 8, [VU_SET_VRING_ENABLE] = 8, [VU_SET_STATUS] = 8,
	};
	struct backend_msg m;
	bool may_ask = false;
	struct sess r;

	start_role(&r, false);
	sess_stop(&r);
	for (int i = 0; backend_msg(r.b, 0, i, &m); i++) {
		CU_EQ(m.h.flags & ~VU_NEED_REPLY, VU_VERSION);
		CU_ASSERT(may_ask || !(m.h.flags & VU_NEED_REPLY));
		CU_EQ(m.h.size, sizes[m.h.request]);
		CU_EQ(m.fds_late, 0);
		may_ask |= m.h.request == VU_SET_PROTOCOL_FEATURES;
	}
	sess_free(&r);
}

static void without_reply_ack_nothing_asks_and_barriers_follow(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m, last = { .h.request = VU_GET_FEATURES };
	bool kicked = false;
	struct sess r;

	cfg.protocol &= ~BIT(VU_PROTOCOL_REPLY_ACK);
	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_start(&r, 2, false), 0);
	for (int i = 0; backend_msg(r.b, 0, i, &m); i++) {
		CU_EQ(m.h.flags, VU_VERSION);
		if (last.h.request == VU_SET_MEM_TABLE)
			CU_EQ(m.h.request, VU_GET_FEATURES);
		if (m.h.request == VU_SET_VRING_KICK && !kicked) {
			CU_EQ(last.h.request, VU_GET_FEATURES);
			kicked = true;
		}
		last = m;
	}
	CU_ASSERT(kicked);
	CU_EQ(last.h.request, VU_GET_FEATURES);
	sess_free(&r);
}

static void requests_that_matter_together_are_not_waited_for_one_by_one(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg first, last;
	struct sess r;

	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	/* The back-end reads no further until all of it is on its way. */
	BACKEND_RULES(r.b, { VU_SET_VRING_NUM, 1, BACKEND_PAUSE, 100 });
	CU_EQ(sess_start(&r, 8, false), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_NUM, 1, &first));
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_CALL, 7, &last));
	CU_ASSERT(last.at_us - first.at_us < 50000);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 8);
	sess_free(&r);
}

static void only_known_features_are_acknowledged(void)
{
	struct backend_config cfg = sess_decent(false);
	struct vhost_offer o;
	struct backend_msg m;
	struct sess r;

	cfg.features = cfg.protocol = ~UINT64_C(0);
	cfg.slots = 8;
	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	lock_take(&r.lock);
	vhost_offer(r.v, &o);
	lock_drop(&r.lock);
	CU_EQ(o.features, r.cfg.features);
	CU_EQ(o.features & (BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL)), 0);
	CU_ASSERT(o.known && o.mtu && o.status && o.config);
	CU_EQ(sess_start(&r, 2, false), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_PROTOCOL_FEATURES, 0, &m));
	/* No IN-BAND, no postcopy, nothing for other machines or devices; no page of its own. */
	CU_EQ(m.payload.u64, SESS_PROTOCOL | BIT(VU_PROTOCOL_LOG_SHMFD) | BIT(VU_PROTOCOL_RARP) |
	      BIT(VU_PROTOCOL_BACKEND_REQ) | BIT(VU_PROTOCOL_BACKEND_SEND_FD) |
	      BIT(VU_PROTOCOL_INFLIGHT_SHMFD) | BIT(VU_PROTOCOL_RESET_DEVICE) |
	      BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS));
	CU_ASSERT(backend_msg(r.b, VU_SET_FEATURES, 0, &m));
	CU_EQ(m.payload.u64, BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES));
	CU_EQ(backend_count(r.b, VU_RESET_OWNER), 0);
	CU_EQ(backend_count(r.b, VU_SET_OWNER), 1);
	sess_free(&r);
}

static void without_bit_30_nothing_of_the_protocol_features_is_sent(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess r;

	cfg.features &= ~BIT(VU_F_PROTOCOL_FEATURES);
	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	r.rings[3].enabled = false;
	CU_EQ(sess_start(&r, 4, false), 0);
	CU_EQ(r.failures, 0);
	CU_EQ(backend_count(r.b, VU_GET_PROTOCOL_FEATURES), 0);
	CU_EQ(backend_count(r.b, VU_SET_PROTOCOL_FEATURES), 0);
	CU_EQ(backend_count(r.b, VU_GET_QUEUE_NUM), 0);
	CU_EQ(backend_count(r.b, VU_SET_VRING_ENABLE), 0);
	CU_EQ(backend_count(r.b, VU_SET_STATUS), 0);
	/* No MQ, so one pair: a driver with more is told nothing and waits. */
	CU_EQ(backend_count(r.b, VU_SET_FEATURES), 0);
	sess_stop(&r);
	CU_ASSERT(sess_wait_link(&r, true, 3000));
	CU_EQ(sess_start(&r, 2, false), 0);
	CU_ASSERT(backend_wait(r.b, VU_SET_FEATURES, 1, 1000));
	CU_ASSERT(backend_msg(r.b, VU_SET_FEATURES, 0, &m));
	CU_EQ(m.payload.u64, BIT(VIRTIO_F_VERSION_1));
	CU_ASSERT(backend_wait(r.b, VU_SET_VRING_KICK, 2, 1000));
	/* Disabled is stopped, enabled is started. */
	CU_EQ(sess_do(&r, vhost_ring_enable(r.v, 1, false)), 0);
	CU_EQ(backend_count(r.b, VU_GET_VRING_BASE), 1);
	CU_EQ(sess_do(&r, vhost_ring_enable(r.v, 1, true)), 0);
	CU_ASSERT(backend_wait(r.b, VU_SET_VRING_KICK, 3, 1000));
	sess_free(&r);
}

static void the_memory_table_names_the_drivers_files(void)
{
	struct backend_msg m;
	struct stat st;
	struct sess r;

	start_role(&r, false);
	fstat(r.mem_fd, &st);
	CU_ASSERT(backend_msg(r.b, VU_SET_MEM_TABLE, 0, &m));
	CU_EQ(m.payload.memory.regions, 1);
	CU_EQ(m.payload.memory.padding, 0);
	CU_EQ(m.fds_n, 1);
	CU_ASSERT(m.files[0].ino == st.st_ino && m.files[0].dev == st.st_dev);
	CU_EQ(m.payload.memory.region[0].guest_addr, (uintptr_t)r.mem);
	CU_EQ(m.payload.memory.region[0].user_addr, (uintptr_t)r.mem);
	CU_EQ(m.payload.memory.region[0].size, SESS_MEMORY);
	CU_EQ(m.payload.memory.region[0].mmap_offset, 0);
	sess_free(&r);
}

static void rings_are_told_as_user_addresses(void)
{
	struct backend_msg m;
	struct sess r;

	start_role(&r, false);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_ADDR, 1, &m));
	CU_EQ(m.payload.addr.index, 1);
	CU_EQ(m.payload.addr.flags, 0);
	CU_EQ(m.payload.addr.desc, r.rings[1].desc);
	CU_EQ(m.payload.addr.avail, r.rings[1].avail);
	CU_EQ(m.payload.addr.used, r.rings[1].used);
	CU_EQ(m.payload.addr.log, 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_NUM, 1, &m));
	CU_EQ(m.payload.state.num, 256);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_BASE, 1, &m));
	CU_EQ(m.payload.state.num, 0);
	sess_free(&r);
}

static void a_fresh_packed_ring_has_both_wrap_counters_set(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess r;

	sess_init(&r, &cfg);
	r.num = 100;			/* packed sizes need not be powers of two */
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_start(&r, 2, true), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_BASE, 0, &m));
	CU_EQ(m.payload.state.num, 0x80008000);
	sess_free(&r);
}

static void ring_descriptors_come_with_their_index_or_a_no_fd_bit(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess r;
	int call;

	sess_init(&r, &cfg);
	call = r.rings[1].call_fd;
	r.rings[1].call_fd = -1;
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_start(&r, 2, false), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_CALL, 0, &m));
	CU_EQ(m.payload.u64, 0);
	CU_EQ(m.fds_n, 1);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_CALL, 1, &m));
	CU_EQ(m.payload.u64, 1 | VU_RING_NOFD);
	CU_EQ(m.fds_n, 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_KICK, 1, &m));
	CU_EQ(m.payload.u64, 1);
	CU_EQ(m.fds_n, 1);
	r.rings[1].call_fd = call;
	CU_EQ(sess_do(&r, vhost_ring_call(r.v, 1, call)), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_CALL, -1, &m));
	CU_EQ(m.payload.u64, 1);
	CU_EQ(m.fds_n, 1);
	sess_free(&r);
}

static void a_kick_is_injected_once_the_ring_runs(void)
{
	struct sess r;

	start_role(&r, false);
	CU_ASSERT(fd_drain(backend_ring_fd(r.b, 0, VU_SET_VRING_KICK)));
	CU_ASSERT(fd_drain(backend_ring_fd(r.b, 1, VU_SET_VRING_KICK)));
	CU_ASSERT(!fd_readable(r.rings[0].call_fd));
	sess_free(&r);
}

static void only_wanted_rings_are_enabled(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess r;

	sess_init(&r, &cfg);
	r.rings[2].enabled = r.rings[3].enabled = false;
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_start(&r, 4, false), 0);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 4);
	CU_EQ(backend_count(r.b, VU_SET_VRING_ENABLE), 2);
	CU_EQ(sess_do(&r, vhost_ring_enable(r.v, 2, true)), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_ENABLE, -1, &m));
	CU_EQ(m.payload.state.index, 2);
	CU_EQ(m.payload.state.num, 1);
	CU_EQ(sess_do(&r, vhost_ring_enable(r.v, 2, false)), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_ENABLE, -1, &m));
	CU_EQ(m.payload.state.num, 0);
	CU_ASSERT(m.h.flags & VU_NEED_REPLY);
	sess_free(&r);
}

static void a_ring_enabled_before_is_disabled_before_it_starts_again(void)
{
	struct backend_msg m;
	struct sess r;

	start_role(&r, false);
	sess_stop(&r);
	backend_forget(r.b);
	r.rings[1].enabled = false;
	CU_EQ(sess_start(&r, 2, false), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_ENABLE, 0, &m));
	CU_EQ(m.payload.state.index, 1);
	CU_EQ(m.payload.state.num, 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_ENABLE, 1, &m));
	CU_EQ(m.payload.state.index, 0);
	CU_EQ(m.payload.state.num, 1);
	CU_EQ(backend_count(r.b, VU_SET_VRING_ENABLE), 2);
	sess_free(&r);
}

static void a_stop_asks_each_ring_and_never_disables(void)
{
	struct backend_msg m;
	struct sess r;

	start_role(&r, false);
	backend_forget(r.b);
	sess_stop(&r);
	expect_order(r.b, (const uint32_t[]){ VU_GET_VRING_BASE, VU_GET_VRING_BASE,
					      VU_SET_STATUS }, 3);
	CU_ASSERT(backend_msg(r.b, VU_GET_VRING_BASE, 1, &m));
	CU_EQ(m.payload.state.index, 1);
	CU_EQ(m.payload.state.num, 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_STATUS, 0, &m));
	CU_EQ(m.payload.u64, 0);
	sess_stop(&r);
	CU_EQ(backend_count(r.b, 0), 3);
	sess_free(&r);
}

static void a_second_start_sends_every_ring_anew_but_no_owner(void)
{
	struct sess r;

	start_role(&r, false);
	sess_stop(&r);
	backend_forget(r.b);
	CU_EQ(sess_start(&r, 2, false), 0);
	CU_EQ(backend_count(r.b, VU_SET_OWNER), 0);
	CU_EQ(backend_count(r.b, VU_SET_FEATURES), 1);
	CU_EQ(backend_count(r.b, VU_SET_VRING_NUM), 2);
	CU_EQ(backend_count(r.b, VU_SET_VRING_ADDR), 2);
	CU_EQ(backend_count(r.b, VU_SET_VRING_BASE), 2);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 2);
	CU_EQ(backend_count(r.b, VU_SET_VRING_CALL), 2);
	CU_EQ(backend_count(r.b, VU_SET_MEM_TABLE), 0);	/* unchanged */
	sess_free(&r);
}

static void one_ring_stops_and_starts_alone(void)
{
	struct backend_msg m;
	struct sess r;

	start_role(&r, false);
	backend_forget(r.b);
	CU_EQ(sess_do(&r, vhost_ring_stop(r.v, 1)), 0);
	CU_EQ(sess_do(&r, vhost_ring_stop(r.v, 1)), 0);
	CU_EQ(backend_count(r.b, 0), 1);
	CU_EQ(sess_do(&r, vhost_ring_start(r.v, 1, &r.rings[1])), 0);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 1);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_BASE, -1, &m));
	CU_EQ(m.payload.state.index, 1);
	CU_EQ(m.payload.state.num, 0);
	sess_free(&r);
}

static void status_steps_are_passed_on_in_order(void)
{
	static const uint64_t steps[] = { 1, 3, 11, 15, 0 };
	struct backend_msg m;
	struct sess r;

	start_role(&r, false);
	sess_stop(&r);
	CU_EQ(backend_count(r.b, VU_SET_STATUS), ARRAY_SIZE(steps));
	for (unsigned i = 0; i < ARRAY_SIZE(steps); i++) {
		CU_ASSERT(backend_msg(r.b, VU_SET_STATUS, (int)i, &m));
		CU_EQ(m.payload.u64, steps[i]);
	}
	sess_free(&r);
}

static void a_reset_status_waits_for_the_rings_to_stop(void)
{
	struct sess r;

	start_role(&r, false);
	backend_forget(r.b);
	lock_take(&r.lock);
	vhost_status(r.v, 0);		/* the other way round than sess_stop() */
	vhost_stop(r.v);
	lock_drop(&r.lock);
	expect_order(r.b, (const uint32_t[]){ VU_GET_VRING_BASE, VU_GET_VRING_BASE,
					      VU_SET_STATUS }, 3);
	sess_free(&r);
}

static void a_pause_between_two_spaces_is_no_step_of_the_status(void)
{
	struct sess r;

	start_role(&r, false);
	backend_forget(r.b);
	CU_EQ(sess_do(&r, vhost_set_space(r.v, NULL)), 0);
	CU_EQ(sess_do(&r, vhost_set_space(r.v, r.space)), 0);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 2);
	CU_EQ(backend_count(r.b, VU_SET_STATUS), 0);
	sess_free(&r);
}

static void a_cleared_features_ok_fails_the_device(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess r;

	sess_init(&r, &cfg);
	BACKEND_RULES(r.b, { VU_GET_STATUS, 0, BACKEND_VALUE, 3 });
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_start(&r, 2, false), -EREMOTEIO);
	CU_EQ(r.failures, 1);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 0);
	sess_free(&r);
}

static int start_mtu(struct sess *r, uint16_t mtu)
{
	return sess_do(r, vhost_start(r->v, BIT(VIRTIO_F_VERSION_1), mtu, NULL, 0));
}

static void the_mtu_is_told_after_the_features_and_may_be_refused(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess r;

	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	CU_EQ(start_mtu(&r, 9000), 0);
	CU_ASSERT(backend_msg(r.b, VU_NET_SET_MTU, 0, &m));
	CU_EQ(m.payload.u64, 9000);
	sess_stop(&r);
	CU_EQ(start_mtu(&r, 0), 0);
	CU_EQ(backend_count(r.b, VU_NET_SET_MTU), 1);
	sess_stop(&r);
	BACKEND_RULES(r.b, { VU_NET_SET_MTU, 0, BACKEND_NACK, 1 });
	CU_EQ(start_mtu(&r, 67), -EREMOTEIO);
	CU_EQ(r.failures, 1);
	CU_ASSERT(strstr(r.why, "MTU") != NULL);
	sess_free(&r);
}

static void the_mtu_is_not_told_to_a_backend_without_the_feature(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess r;

	cfg.protocol &= ~BIT(VU_PROTOCOL_MTU);
	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	CU_EQ(start_mtu(&r, 9000), 0);
	CU_EQ(backend_count(r.b, VU_NET_SET_MTU), 0);
	sess_free(&r);
}

static void the_configuration_is_asked_only_where_offered(void)
{
	struct backend_config cfg = sess_decent(false);
	uint8_t buf[12] = { 0 };
	struct backend_msg m;
	struct sess r;

	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_do(&r, vhost_get_config(r.v, buf, 6, 4)), 4);
	CU_EQ(buf[0], 6);
	CU_EQ(buf[3], 9);
	CU_EQ(buf[4], 0);
	CU_ASSERT(backend_msg(r.b, VU_GET_CONFIG, 0, &m));
	CU_EQ(m.h.size, 16);
	CU_EQ(sess_do(&r, vhost_get_config(r.v, buf, 250, 12)), -EINVAL);
	CU_EQ(sess_do(&r, vhost_get_config(r.v, buf, 0, 0)), -EINVAL);
	BACKEND_RULES(r.b, { VU_GET_CONFIG, 0, BACKEND_SIZE, 0 });
	CU_EQ(sess_do(&r, vhost_get_config(r.v, buf, 0, 12)), -EREMOTEIO);
	CU_ASSERT(r.up);
	sess_free(&r);

	cfg.protocol &= ~BIT(VU_PROTOCOL_CONFIG);
	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	CU_EQ(sess_do(&r, vhost_get_config(r.v, buf, 0, 12)), -EOPNOTSUPP);
	CU_EQ(backend_count(r.b, VU_GET_CONFIG), 0);
	sess_free(&r);
}

static void absurd_queue_numbers_are_tamed(void)
{
	static const struct { uint64_t pairs; unsigned rings; } cases[] = {
		{ 0, 2 }, { 1, 2 }, { 3, 6 }, { 128, 256 }, { 129, 256 },
		{ UINT64_C(1) << 63, 256 }, { ~UINT64_C(0), 256 },
	};
	struct backend_config cfg = sess_decent(false);
	struct vhost_offer o;
	struct sess r;

	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		cfg.pairs = cases[i].pairs;
		sess_init(&r, &cfg);
		CU_EQ(sess_open(&r), 0);
		vhost_offer(r.v, &o);
		CU_EQ(o.rings_max, cases[i].rings);
		sess_free(&r);
	}
}

static void an_error_signal_fails_the_device(void)
{
	struct sess r;

	start_role(&r, false);
	fd_signal(backend_ring_fd(r.b, 1, VU_SET_VRING_ERR));
	for (unsigned i = 0; i < 500 && !sess_do(&r, r.failures); i++)
		sess_nap(2);
	CU_EQ(sess_do(&r, r.failures), 1);
	CU_EQ(sess_stat(&r, "ring_errors"), 1);
	CU_EQ(backend_count(r.b, VU_GET_VRING_BASE), 2);
	sess_free(&r);
}

static void a_ring_outside_the_memory_never_reaches_the_wire(void)
{
	struct backend_config cfg = sess_decent(false);
	struct vhost_ring bad[2];
	struct sess r;

	sess_init(&r, &cfg);
	CU_EQ(sess_open(&r), 0);
	for (unsigned part = 0; part < 3; part++) {
		memcpy(bad, (struct vhost_ring[2]){
			{ .num = 256, .desc = (uintptr_t)r.mem, .avail = (uintptr_t)r.mem + 8192,
			  .used = (uintptr_t)r.mem + 16384, .kick_fd = r.rings[0].kick_fd,
			  .call_fd = -1, .enabled = true } }, sizeof(bad));
		/* One byte too far. */
		bad[0].desc = part == 0 ? (uintptr_t)r.mem + SESS_MEMORY - 4095 : bad[0].desc;
		bad[0].avail = part == 1 ? (uintptr_t)r.mem + SESS_MEMORY - 515 : bad[0].avail;
		bad[0].used = part == 2 ? (uintptr_t)r.mem + SESS_MEMORY - 2051 : bad[0].used;
		CU_EQ(sess_do(&r, vhost_start(r.v, BIT(VIRTIO_F_VERSION_1), 0, bad, 1)), -EFAULT);
		CU_EQ(r.failures, part + 1);
		sess_stop(&r);
	}
	CU_EQ(backend_count(r.b, VU_SET_VRING_ADDR), 0);
	bad[0].used = (uintptr_t)r.mem + SESS_MEMORY - 2052;
	CU_EQ(sess_do(&r, vhost_start(r.v, BIT(VIRTIO_F_VERSION_1), 0, bad, 1)), 0);
	sess_free(&r);
}

CU_MAIN("wire/vhost_order",
	{ "B-ST-01,17, B-RG-01, B-MSG-01..03,05,08..10,12..17,32 requests in order",
	  requests_come_in_order_to_a_listening_backend },
	{ "B-ST-01, B-RG-01 requests come in order to a connecting back-end",
	  requests_come_in_order_to_a_connecting_backend },
	{ "B-FR-01..04,09 headers are clean and sizes exact",
	  headers_are_clean_and_sizes_exact },
	{ "B-FR-04, B-RA-04 without REPLY_ACK nothing asks and barriers follow",
	  without_reply_ack_nothing_asks_and_barriers_follow },
	{ "B-RA-01 requests that matter together are not waited for one by one",
	  requests_that_matter_together_are_not_waited_for_one_by_one },
	{ "B-ST-02,04..08,11,21 only known features",
	  only_known_features_are_acknowledged },
	{ "B-ST-03,05,13..15 without bit 30 no protocol features",
	  without_bit_30_nothing_of_the_protocol_features_is_sent },
	{ "B-MM-01, B-MM-08 the memory table names the driver's files",
	  the_memory_table_names_the_drivers_files },
	{ "B-RG-02, B-RG-03, B-RG-04 rings are told as user addresses",
	  rings_are_told_as_user_addresses },
	{ "B-RG-04 a fresh packed ring has both wrap counters set",
	  a_fresh_packed_ring_has_both_wrap_counters_set },
	{ "B-RG-05 ring descriptors come with their index or a no-fd bit",
	  ring_descriptors_come_with_their_index_or_a_no_fd_bit },
	{ "B-RG-07 a kick is injected once the ring runs",
	  a_kick_is_injected_once_the_ring_runs },
	{ "B-RG-08, B-RG-09, B-RG-23 only wanted rings are enabled",
	  only_wanted_rings_are_enabled },
	{ "B-RG-09 a ring enabled before is disabled before it starts again",
	  a_ring_enabled_before_is_disabled_before_it_starts_again },
	{ "B-RG-10,11,17, B-MSG-11 a stop asks each ring and never disables",
	  a_stop_asks_each_ring_and_never_disables },
	{ "B-RG-12, B-RG-14, B-RD-02 a second start sends every ring anew but no owner",
	  a_second_start_sends_every_ring_anew_but_no_owner },
	{ "B-RG-14, B-RG-17 one ring stops and starts alone", one_ring_stops_and_starts_alone },
	{ "B-SS-01, B-SS-02 status steps are passed on in order",
	  status_steps_are_passed_on_in_order },
	{ "B-SS-02, B-RG-11 a reset status waits for the rings to stop",
	  a_reset_status_waits_for_the_rings_to_stop },
	{ "B-SS-02 a pause between two spaces is no step of the status",
	  a_pause_between_two_spaces_is_no_step_of_the_status },
	{ "B-SS-03 a cleared FEATURES_OK fails the device",
	  a_cleared_features_ok_fails_the_device },
	{ "B-MT-01,02, B-MSG-19 the MTU is told after the features and may be refused",
	  the_mtu_is_told_after_the_features_and_may_be_refused },
	{ "B-MT-01 the MTU is not told to a back-end without the feature",
	  the_mtu_is_not_told_to_a_backend_without_the_feature },
	{ "B-CF-01,02, B-MSG-23 the configuration is asked only where offered",
	  the_configuration_is_asked_only_where_offered },
	{ "B-ST-16 absurd queue numbers are tamed", absurd_queue_numbers_are_tamed },
	{ "B-RG-20 an error signal fails the device", an_error_signal_fails_the_device },
	{ "B-RG-02, B-MM-15 a ring outside the memory never reaches the wire",
	  a_ring_outside_the_memory_never_reaches_the_wire })
