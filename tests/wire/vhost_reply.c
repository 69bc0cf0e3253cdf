// SPDX-License-Identifier: Apache-2.0
// vhost_reply.c - back-ends that answer wrongly, partly, late or never.
#include <string.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

/* Everything a session of two rings asks an answer for, its stop included. */
static const uint32_t answered[] = {
	VU_GET_FEATURES, VU_GET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM, VU_SET_STATUS, VU_GET_STATUS,
	VU_SET_FEATURES, VU_SET_MEM_TABLE, VU_SET_VRING_NUM, VU_SET_VRING_BASE, VU_SET_VRING_ADDR,
	VU_SET_VRING_ERR, VU_SET_VRING_CALL, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE,
	VU_GET_VRING_BASE,
};

/* One session from open to stop, each call within the timeout; the longest is returned. */
static uint64_t live_through(struct sess *s, struct backend_rule rule)
{
	uint64_t t[4], longest = 0;

	backend_rules(s->b, &rule, 1);
	t[0] = sess_own_ms();
	CU_EQ(sess_open(s), 0);
	t[1] = sess_own_ms();
	sess_start(s, 2, false);
	t[2] = sess_own_ms();
	sess_stop(s);
	t[3] = sess_own_ms();
	for (unsigned i = 0; i < 3; i++)
		if (t[i + 1] - t[i] > longest)
			longest = t[i + 1] - t[i];
	return longest;
}

static uint64_t stat_soon(struct sess *s, const char *name)
{
	for (unsigned i = 0; i < 1000 && !sess_stat(s, name); i++)
		sess_nap(2);
	return sess_stat(s, name);
}

static void each_request(enum backend_act act, uint64_t arg, const char *cause)
{
	struct backend_config cfg = sess_decent(false);
	unsigned fds = fds_open(), kept = fd_kept_count();
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(answered); i++) {
		sess_init(&s, &cfg);
		live_through(&s, (struct backend_rule){ answered[i], 1, act, arg });
		if (stat_soon(&s, cause) != 1)
			printf("# request %u, act %d, %llu: no %s\n", answered[i], act,
			       (unsigned long long)arg, cause);
		CU_EQ(sess_stat(&s, cause), 1);
		CU_EQ(s.failures, 0);
		sess_free(&s);
	}
	CU_EQ(fds_open(), fds);
	CU_EQ(fd_kept_count(), kept);
}

static void a_reply_to_another_request_ends_the_session(void)
{
	each_request(BACKEND_WRONG_ID, 0, "lost_bad_header");
}

static void a_reply_with_wrong_flags_ends_the_session(void)
{
	static const unsigned flags[] = { VU_VERSION, VU_REPLY, VU_REPLY | 2, VU_REPLY | 3, 0,
					  VU_VERSION | VU_REPLY | 16, ~0u };

	for (unsigned i = 0; i < ARRAY_SIZE(flags); i++)
		each_request(BACKEND_FLAGS, flags[i], "lost_bad_header");
}

static void a_reply_of_wrong_size_ends_the_session(void)
{
	static const unsigned sizes[] = { 0, 4, 7, 9, 4096, 0x80000000, 0xffffffff };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		each_request(BACKEND_SIZE, sizes[i], "lost_bad_size");
}

static void descriptors_with_a_reply_are_closed_and_end_the_session(void)
{
	each_request(BACKEND_FDS, 1, "lost_stray_fds");
	each_request(BACKEND_FDS, 32, "lost_stray_fds");
}

static void more_descriptors_than_fit_are_closed_and_end_the_session(void)
{
	each_request(BACKEND_FDS, 33, "lost_stray_fds");
	each_request(BACKEND_FDS, 253, "lost_stray_fds");
}

static void an_end_inside_a_reply_is_a_hangup(void)
{
	static const unsigned bytes[] = { 0, 1, 11, 12, 13, 19 };

	for (unsigned i = 0; i < ARRAY_SIZE(bytes); i++)
		each_request(BACKEND_TRUNCATE, bytes[i], "lost_hangup");
	each_request(BACKEND_HANGUP, 0, "lost_hangup");
}

static void a_second_reply_is_noticed(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(answered); i++) {
		sess_init(&s, &cfg);
		live_through(&s, (struct backend_rule){ answered[i], 1, BACKEND_TWICE, 0 });
		CU_EQ(stat_soon(&s, "vhost_losses"), 1);
		CU_EQ(s.failures, 0);
		sess_free(&s);
	}
}

static void bytes_nobody_asked_for_end_an_idle_session(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	BACKEND_RULES(s.b, { VU_SET_STATUS, 4, BACKEND_UNASKED, 1 });
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(s.up);
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	CU_EQ(sess_stat(&s, "lost_unasked_bytes"), 1);
	sess_free(&s);
}

static void bytes_nobody_asked_for_are_found_before_the_next_request(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	BACKEND_RULES(s.b, { VU_SET_VRING_CALL, 3, BACKEND_UNASKED, 20 });
	lock_take(&s.lock);		/* the loop cannot see them first */
	CU_EQ(vhost_ring_call(s.v, 0, -1), 0);
	sess_nap(300);
	CU_EQ(vhost_ring_call(s.v, 1, -1), 0);
	CU_ASSERT(!s.up);
	lock_drop(&s.lock);
	CU_EQ(backend_count(s.b, VU_SET_VRING_CALL), 3);
	CU_EQ(sess_stat(&s, "lost_unasked_bytes"), 1);
	sess_free(&s);
}

static void a_backend_that_hung_is_left_alone_for_a_while(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_timeout_ms = 100;
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	BACKEND_RULES(s.b, { VU_SET_FEATURES, 1, BACKEND_SILENT, 0 });
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(!sess_do(&s, s.up));
	sess_nap(500);
	CU_EQ(sess_stat(&s, "connects"), 1);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	sess_free(&s);
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void a_hung_backend_ends_every_call_within_the_timeout(void)
{
	struct backend_config cfg = sess_decent(false);
	uint64_t begin_ms, longest;
	struct sess s;

	sess_timeout_ms = 400;
	for (unsigned i = 0; i < ARRAY_SIZE(answered); i++) {
		sess_init(&s, &cfg);
		begin_ms = sess_now_ms();
		longest = live_through(&s, (struct backend_rule){ answered[i], 1, BACKEND_PAUSE,
								  30000 });
		CU_ASSERT(sess_now_ms() - begin_ms >= 195);
		CU_ASSERT(longest < 400);
		/* The first answer has more time, but nobody waits for it. */
		if (answered[i] == VU_GET_FEATURES)
			sess_nap(5 * 400);
		CU_EQ(sess_stat(&s, "lost_timeout"), 1);
		sess_free(&s);
	}
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void a_left_out_answer_ends_the_session(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_timeout_ms = 400;
	for (unsigned i = 1; i < ARRAY_SIZE(answered); i++) {
		sess_init(&s, &cfg);
		CU_ASSERT(live_through(&s, (struct backend_rule){ answered[i], 1,
								  BACKEND_SILENT, 0 }) < 400);
		/* Missed at the deadline, or when the answer to the next request comes instead. */
		CU_EQ(sess_stat(&s, "lost_timeout") + sess_stat(&s, "lost_bad_header"), 1);
		sess_free(&s);
	}
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void a_backend_may_take_its_time_for_the_first_answer(void)
{
	struct backend_config cfg = sess_decent(false);
	uint64_t begin_ms;
	struct sess s;

	sess_timeout_ms = 200;
	sess_init(&s, &cfg);
	BACKEND_RULES(s.b, { VU_GET_FEATURES, 1, BACKEND_LATE, 500 });
	CU_EQ(sess_open(&s), 0);
	begin_ms = sess_own_ms();
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(sess_own_ms() - begin_ms < 100);
	CU_ASSERT(sess_wait_link(&s, true, 1000));
	CU_ASSERT(backend_wait(s.b, VU_SET_VRING_ENABLE, 2, 1000));
	CU_EQ(backend_sessions(s.b), 1);
	CU_EQ(sess_stat(&s, "lost_timeout"), 0);
	sess_free(&s);
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void late_answers_share_one_deadline(void)
{
	struct backend_config cfg = sess_decent(false);
	uint64_t longest;
	struct sess s;

	sess_timeout_ms = 400;
	sess_init(&s, &cfg);
	longest = live_through(&s, (struct backend_rule){ 0, 0, BACKEND_LATE, 30 });
	CU_ASSERT(longest < 400);
	CU_ASSERT(sess_stat(&s, "lost_timeout") >= 1);
	sess_free(&s);
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void a_slow_but_timely_backend_is_kept(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_timeout_ms = 60000;
	sess_init(&s, &cfg);
	live_through(&s, (struct backend_rule){ 0, 0, BACKEND_LATE, 3 });
	CU_EQ(sess_stat(&s, "vhost_losses"), 0);
	CU_EQ(sess_stat(&s, "vhost_starts"), 1);
	sess_free(&s);
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void replies_byte_by_byte_are_joined(void)
{
	struct backend_config cfg = sess_decent(false);
	uint8_t buf[8];
	struct sess s;

	sess_timeout_ms = 60000;		/* a thousand naps take what they take */
	sess_init(&s, &cfg);
	BACKEND_RULES(s.b, { 0, 0, BACKEND_BYTEWISE, 20 });
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(sess_do(&s, vhost_get_config(s.v, buf, 3, 8)), 8);
	CU_EQ(buf[7], 10);
	CU_EQ(sess_stat(&s, "vhost_losses"), 0);
	CU_EQ(sess_stat(&s, "vhost_starts"), 1);
	sess_free(&s);
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void a_backend_that_reads_in_pieces_gets_descriptors_with_the_first_byte(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess s;

	cfg.fragment = 3;
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	for (int i = 0; backend_msg(s.b, 0, i, &m); i++)
		CU_EQ(m.fds_late, 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, 0, &m));
	CU_EQ(m.fds_n, 1);
	sess_free(&s);
}

static void a_backend_that_stops_reading_never_blocks_a_call_past_the_timeout(void)
{
	struct backend_config cfg = sess_decent(false);
	uint64_t longest = 0;
	struct sess s;

	cfg.protocol &= ~BIT(VU_PROTOCOL_REPLY_ACK);
	sess_timeout_ms = 300;
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	BACKEND_RULES(s.b, { VU_SET_VRING_CALL, 0, BACKEND_PAUSE, 3000 });
	for (unsigned i = 0; i < 20000 && sess_do(&s, s.up); i++) {
		uint64_t start = sess_own_ms(), took;

		sess_do(&s, vhost_ring_call(s.v, i % 2, i % 3 ? s.rings[0].call_fd : -1));
		took = sess_own_ms() - start;
		longest = took > longest ? took : longest;
	}
	CU_ASSERT(!sess_do(&s, s.up));
	CU_ASSERT(longest < 300);
	CU_EQ(sess_stat(&s, "lost_timeout"), 1);
	sess_free(&s);
	sess_timeout_ms = SESS_TIMEOUT_MS;
}

static void a_refusal_of_any_request_at_the_start_fails_the_device(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(answered); i++) {
		uint32_t req = answered[i];

		if (req == VU_GET_FEATURES || req == VU_GET_PROTOCOL_FEATURES ||
		    req == VU_GET_QUEUE_NUM || req == VU_GET_STATUS || req == VU_GET_VRING_BASE)
			continue;
		sess_init(&s, &cfg);
		CU_EQ(sess_open(&s), 0);
		BACKEND_RULES(s.b, { req, req == VU_SET_STATUS ? 4 : 1, BACKEND_NACK, 1 });
		CU_EQ(sess_start(&s, 2, false), -EREMOTEIO);
		CU_EQ(s.failures, 1);
		CU_EQ(sess_stat(&s, "requests_refused"), 1);
		CU_ASSERT(s.up);
		/* Whatever ran is stopped, and the next start is a clean one. */
		CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), sess_stat(&s, "ring_starts"));
		sess_stop(&s);
		BACKEND_RULES(s.b, { VU_RESET_OWNER, 0, BACKEND_ANSWER, 0 });
		CU_EQ(sess_start(&s, 2, false), 0);
		CU_EQ(s.failures, 1);
		sess_free(&s);
	}
}

static void a_status_above_eight_bits_ends_the_session(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	live_through(&s, (struct backend_rule){ VU_GET_STATUS, 0, BACKEND_VALUE, 0x10b });
	CU_EQ(sess_stat(&s, "lost_bad_value"), 1);
	sess_free(&s);
}

static void a_base_of_another_ring_ends_the_session(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	live_through(&s, (struct backend_rule){ VU_GET_VRING_BASE, 1, BACKEND_VALUE, 1 });
	CU_EQ(sess_stat(&s, "lost_bad_value"), 1);
	sess_free(&s);
}

static void a_configuration_of_another_place_ends_the_session(void)
{
	struct backend_config cfg = sess_decent(false);
	uint8_t buf[8] = { 0 };
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	BACKEND_RULES(s.b, { VU_GET_CONFIG, 0, BACKEND_VALUE, UINT64_C(8) << 32 | 4 });
	CU_ASSERT(sess_do(&s, vhost_get_config(s.v, buf, 0, 8)) < 0);
	CU_EQ(buf[0], 0);
	CU_EQ(sess_stat(&s, "lost_bad_value"), 1);
	sess_free(&s);
}

CU_MAIN("wire/vhost_reply",
	{ "B-RP-01, B-RA-05 a reply to another request ends the session",
	  a_reply_to_another_request_ends_the_session },
	{ "B-RP-02 a reply with wrong flags ends the session",
	  a_reply_with_wrong_flags_ends_the_session },
	{ "B-RP-03, B-RP-10 a reply of wrong size ends the session",
	  a_reply_of_wrong_size_ends_the_session },
	{ "B-RP-06 descriptors with a reply are closed and end the session",
	  descriptors_with_a_reply_are_closed_and_end_the_session },
	{ "B-RP-07 more descriptors than fit are closed and end the session",
	  more_descriptors_than_fit_are_closed_and_end_the_session },
	{ "B-RP-08 an end inside a reply is a hang-up", an_end_inside_a_reply_is_a_hangup },
	{ "B-RP-04 a second reply is noticed", a_second_reply_is_noticed },
	{ "B-RP-04, B-RG-21 bytes nobody asked for end an idle session",
	  bytes_nobody_asked_for_end_an_idle_session },
	{ "B-RP-04 bytes nobody asked for are found before the next request",
	  bytes_nobody_asked_for_are_found_before_the_next_request },
	{ "B-FR-12 a back-end that hung is left alone for a while",
	  a_backend_that_hung_is_left_alone_for_a_while },
	{ "B-RP-05, B-RG-16 A-ST-12 a hung back-end ends every call within the timeout",
	  a_hung_backend_ends_every_call_within_the_timeout },
	{ "B-RP-05 a left-out answer ends the session", a_left_out_answer_ends_the_session },
	{ "B-FR-12 a back-end may take its time for the first answer",
	  a_backend_may_take_its_time_for_the_first_answer },
	{ "B-RP-05 late answers share one deadline", late_answers_share_one_deadline },
	{ "B-RA-01, B-RA-02 a slow but timely back-end is kept",
	  a_slow_but_timely_backend_is_kept },
	{ "B-FR-08 replies byte by byte are joined", replies_byte_by_byte_are_joined },
	{ "B-FR-05, B-FR-07 who reads in pieces gets descriptors with the first byte",
	  a_backend_that_reads_in_pieces_gets_descriptors_with_the_first_byte },
	{ "B-FR-06, B-FR-12 a back-end that stops reading never blocks a call past the timeout",
	  a_backend_that_stops_reading_never_blocks_a_call_past_the_timeout },
	{ "B-RA-03 a refusal of any request at the start fails the device",
	  a_refusal_of_any_request_at_the_start_fails_the_device },
	{ "B-SS-04 a status above eight bits ends the session",
	  a_status_above_eight_bits_ends_the_session },
	{ "B-RG-13 a base of another ring ends the session",
	  a_base_of_another_ring_ends_the_session },
	{ "B-CF-02, B-CF-03 a configuration of another place ends the session",
	  a_configuration_of_another_place_ends_the_session })
