// SPDX-License-Identifier: Apache-2.0
// vhost_back.c - what a back-end asks of us on its own channel, right and wrong.
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define ASK      (VU_VERSION | VU_NEED_REPLY)
#define PAGE     4096u
#define CHANNEL  (BIT(VU_PROTOCOL_BACKEND_REQ) | BIT(VU_PROTOCOL_BACKEND_SEND_FD))
#define NOTIFIER (CHANNEL | BIT(VU_PROTOCOL_HOST_NOTIFIER))

static void start_with(struct sess *s, uint64_t protocol, bool notifier)
{
	struct backend_config cfg = sess_decent(false);

	cfg.protocol = (cfg.protocol | protocol) & ~(protocol & BIT(63) ? BIT(3) : 0);
	cfg.protocol &= ~BIT(63);
	sess_init(s, &cfg);
	if (notifier)
		sess_allow_notifier(s);
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 2, false), 0);
}

static void start(struct sess *s)
{
	start_with(s, NOTIFIER, true);
}

/* The answer to a request, or ~0 if there was none, ~1 if the channel ended. */
static uint64_t ask_fds(struct sess *s, uint32_t request, const void *payload, uint32_t size,
			const int *fds, unsigned n)
{
	struct vu_header h;
	uint64_t val = 0;

	backend_ask(s->b, request, ASK, payload, size, fds, n);
	if (!backend_answered(s->b, &h, &val, 1000))
		return ~UINT64_C(0);
	if (!h.request)
		return ~UINT64_C(1);
	CU_EQ(h.request, request);
	CU_EQ(h.flags, VU_VERSION | VU_REPLY);
	CU_EQ(h.size, 8);
	return val;
}

static uint64_t ask(struct sess *s, uint32_t request, const void *payload, uint32_t size)
{
	return ask_fds(s, request, payload, size, NULL, 0);
}

static uint64_t notify_page(struct sess *s, uint64_t index, uint64_t size, uint64_t off, int fd)
{
	struct vu_notifier n = { .index = index, .size = size, .offset = off };

	return ask_fds(s, VU_BACKEND_VRING_HOST_NOTIFIER, &n, sizeof(n), &fd, fd >= 0);
}

static int sealed(unsigned pages, int seals)
{
	int fd = memfd_create("page", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (ftruncate(fd, pages * PAGE) || (seals && fcntl(fd, F_ADD_SEALS, seals)))
		abort();
	return fd;
}

/* ---- the channel ---------------------------------------------------------------------------- */

static void a_backend_that_offers_it_gets_a_channel(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	CU_EQ(backend_count(s.b, VU_SET_BACKEND_REQ_FD), 1);
	CU_ASSERT(backend_msg(s.b, VU_SET_BACKEND_REQ_FD, 0, &m));
	CU_EQ(m.fds_n, 1);
	CU_EQ(m.h.size, 0);
	CU_ASSERT(m.h.flags & VU_NEED_REPLY);
	sess_free(&s);
}

static void without_the_feature_or_bit_30_there_is_no_channel(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	start_with(&s, 0, false);
	CU_EQ(backend_count(s.b, VU_SET_BACKEND_REQ_FD), 0);
	sess_free(&s);
	cfg.protocol |= NOTIFIER;
	cfg.features &= ~BIT(VU_F_PROTOCOL_FEATURES);
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(backend_count(s.b, VU_SET_BACKEND_REQ_FD), 0);
	sess_free(&s);
}

static void a_refused_channel_is_done_without(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	cfg.protocol |= CHANNEL;
	sess_init(&s, &cfg);
	BACKEND_RULES(s.b, { VU_SET_BACKEND_REQ_FD, 0, BACKEND_NACK, 1 });
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

static void answers_come_only_to_who_asks_for_them(void)
{
	struct vu_header h;
	uint64_t val;
	struct sess s;

	start(&s);
	backend_ask(s.b, VU_BACKEND_CONFIG_CHANGE, VU_VERSION, NULL, 0, NULL, 0);
	CU_ASSERT(!backend_answered(s.b, &h, &val, 50));
	CU_EQ(ask(&s, VU_BACKEND_CONFIG_CHANGE, NULL, 0), 0);
	sess_free(&s);
	/* Without REPLY_ACK there are none at all. */
	start_with(&s, NOTIFIER | BIT(63), true);
	backend_ask(s.b, VU_BACKEND_CONFIG_CHANGE, ASK, NULL, 0, NULL, 0);
	CU_ASSERT(!backend_answered(s.b, &h, &val, 50));
	sess_free(&s);
}

static void a_changed_configuration_is_asked_for(void)
{
	struct sess s;

	start(&s);
	sess_do(&s, s.ask_config = true);
	backend_forget(s.b);
	CU_EQ(ask(&s, VU_BACKEND_CONFIG_CHANGE, NULL, 0), 0);
	CU_ASSERT(backend_wait(s.b, VU_GET_CONFIG, 1, 1000));
	for (unsigned i = 0; i < 500 && !sess_do(&s, s.config_rc); i++)
		sess_nap(1);
	CU_EQ(sess_do(&s, s.changes), 1);
	CU_EQ(sess_do(&s, s.config_rc), 12);
	CU_EQ(sess_do(&s, s.config[11]), 11);
	sess_free(&s);
}

static void a_request_that_comes_before_our_answer_is_served(void)
{
	struct backend_config cfg = sess_decent(false);
	static const uint32_t when[] = {
		VU_SET_FEATURES, VU_SET_MEM_TABLE, VU_SET_VRING_KICK, VU_GET_STATUS,
	};
	struct sess s;

	cfg.protocol |= CHANNEL;
	for (unsigned i = 0; i < ARRAY_SIZE(when); i++) {
		sess_init(&s, &cfg);
		s.ask_config = true;
		BACKEND_RULES(s.b, { when[i], 1, BACKEND_ASK_FIRST, 0 });
		CU_EQ(sess_open(&s), 0);
		CU_EQ(sess_start(&s, 2, false), 0);
		CU_EQ(sess_stat(&s, "vhost_losses"), 0);
		CU_ASSERT(backend_wait(s.b, VU_GET_CONFIG, 1, 1000));
		sess_free(&s);
	}
}

static void unknown_requests_are_refused_and_nothing_else_happens(void)
{
	uint8_t bytes[64] = { 0 };
	struct sess s;

	start(&s);
	for (uint32_t request = 0; request < 256; request++) {
		if (request == VU_BACKEND_CONFIG_CHANGE ||
		    request == VU_BACKEND_VRING_HOST_NOTIFIER)
			continue;
		if (!request) {		/* answered() means by it that the channel ended */
			backend_ask(s.b, 0, VU_VERSION, NULL, 0, NULL, 0);
			continue;
		}
		CU_EQ(ask(&s, request, bytes, request % 64), EOPNOTSUPP);
		if (request % 32 == 31)
			sess_nap(60);	/* so fast it need not be read */
	}
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(sess_stat(&s, "backend_channels_lost"), 0);
	CU_EQ(sess_do(&s, s.changes + s.notifiers), 0);
	sess_free(&s);
}

static void descriptors_are_closed_whatever_comes_of_them(void)
{
	static const uint32_t requests[] = {
		VU_BACKEND_SHARED_OBJECT_ADD, VU_BACKEND_SHARED_OBJECT_LOOKUP,
		VU_BACKEND_SHMEM_MAP, VU_BACKEND_SHMEM_UNMAP, VU_BACKEND_IOTLB_MSG,
		VU_BACKEND_VRING_CALL, VU_BACKEND_VRING_ERR, VU_BACKEND_CONFIG_CHANGE, 77,
	};
	int fds[VU_FDS_MAX + 1], page = sealed(1, 0);
	uint8_t bytes[40] = { 0 };
	unsigned before;
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = page;
	start(&s);
	before = fds_open();
	for (unsigned i = 0; i < ARRAY_SIZE(requests); i++) {
		uint64_t rc = ask_fds(&s, requests[i], bytes,
				      requests[i] == VU_BACKEND_CONFIG_CHANGE ? 0 : 40, fds,
				      i % VU_FDS_MAX + 1);

		CU_ASSERT(rc == EOPNOTSUPP || rc == EINVAL);
	}
	CU_EQ(fds_open(), before);
	/* Nine do not fit: the channel ends, with all that came. */
	CU_EQ(ask_fds(&s, VU_BACKEND_SHMEM_MAP, bytes, 40, fds, 9), ~UINT64_C(1));
	CU_EQ(fds_open(), before - 1);
	CU_ASSERT(sess_do(&s, s.up));
	sess_free(&s);
	close(page);
}

static void two_hundred_descriptors_are_closed_too(void)
{
	int fds[253], page = sealed(1, 0);
	unsigned before;
	struct sess s;

	for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = page;
	start(&s);
	before = fds_open();
	CU_EQ(ask_fds(&s, VU_BACKEND_SHMEM_MAP, NULL, 0, fds, 253), ~UINT64_C(1));
	CU_EQ(fds_open(), before - 1);
	CU_EQ(sess_stat(&s, "backend_channels_lost"), 1);
	sess_free(&s);
	close(page);
}

static void an_impossible_header_ends_the_channel_alone(void)
{
	static const struct vu_header bad[] = {
		{ VU_BACKEND_CONFIG_CHANGE, 0, 0 },
		{ VU_BACKEND_CONFIG_CHANGE, 2, 0 },
		{ VU_BACKEND_CONFIG_CHANGE, VU_VERSION | VU_REPLY, 0 },
		{ VU_BACKEND_CONFIG_CHANGE, VU_VERSION | 16, 0 },
		{ VU_BACKEND_CONFIG_CHANGE, VU_VERSION, 4096 },
		{ VU_BACKEND_CONFIG_CHANGE, VU_VERSION, 0xffffffff },
	};
	struct vu_header h;
	uint64_t val;
	struct sess s;
	int fd;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		start(&s);
		fd = backend_kept_fd(s.b, VU_SET_BACKEND_REQ_FD);
		CU_EQ(send(fd, &bad[i], 12, 0), 12);
		close(fd);
		CU_ASSERT(backend_answered(s.b, &h, &val, 1000));
		CU_EQ(h.request, 0);
		CU_ASSERT(sess_do(&s, s.up));
		CU_EQ(sess_do(&s, vhost_ring_call(s.v, 0, -1)), 0);
		CU_EQ(sess_stat(&s, "vhost_losses"), 0);
		sess_free(&s);
	}
}

static void requests_in_pieces_are_joined(void)
{
	struct vu_header h = { VU_BACKEND_VRING_HOST_NOTIFIER, ASK, 24 };
	struct vu_notifier n = { .index = 1 | VU_RING_NOFD };
	uint8_t bytes[36];
	uint64_t val = 7;
	struct sess s;
	int fd;

	start(&s);
	memcpy(bytes, &h, 12);
	memcpy(bytes + 12, &n, 24);
	fd = backend_kept_fd(s.b, VU_SET_BACKEND_REQ_FD);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		CU_EQ(send(fd, bytes + i, 1, 0), 1);
		sess_nap(1);
	}
	CU_ASSERT(backend_answered(s.b, &h, &val, 1000));
	CU_EQ(val, 0);
	close(fd);
	sess_free(&s);
}

static void the_end_of_the_channel_is_not_the_end_of_the_session(void)
{
	unsigned before;
	struct sess s;

	start(&s);
	before = fd_kept_count();
	backend_unask(s.b);
	for (unsigned i = 0; i < 500 && fd_kept_count() == before; i++)
		sess_nap(1);
	CU_EQ(fd_kept_count(), before - 1);
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(sess_do(&s, vhost_ring_call(s.v, 0, -1)), 0);
	sess_free(&s);
}

static void the_end_of_the_session_closes_the_channel_too(void)
{
	unsigned before;
	struct sess s;

	start(&s);
	before = fd_kept_count();
	backend_hangup(s.b);
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(fd_kept_count(), before);
	CU_EQ(ask(&s, VU_BACKEND_CONFIG_CHANGE, NULL, 0), 0);
	sess_free(&s);
}

static void a_flood_of_requests_is_read_at_a_bounded_rate(void)
{
	uint64_t begin_ms = sess_now_ms(), took_ms, longest = 0;
	const struct vu_header h = { VU_BACKEND_CONFIG_CHANGE, VU_VERSION, 0 };
	struct sess s;
	int fd;

	start(&s);
	fd = backend_kept_fd(s.b, VU_SET_BACKEND_REQ_FD);
	for (unsigned i = 0; i < 200; i++) {
		uint64_t t = sess_own_ms(), took;

		while (send(fd, &h, sizeof(h), MSG_DONTWAIT) > 0)
			;
		CU_EQ(sess_do(&s, vhost_ring_call(s.v, 0, s.rings[0].call_fd)), 0);
		took = sess_own_ms() - t;
		longest = took > longest ? took : longest;
		sess_nap(1);
	}
	close(fd);
	took_ms = sess_now_ms() - begin_ms;
	CU_ASSERT(sess_stat(&s, "backend_requests") <= 64 * (took_ms / 50 + 2));
	CU_ASSERT(sess_stat(&s, "backend_requests_paused") > 0);
	CU_ASSERT(longest < 300);
	CU_ASSERT(sess_do(&s, s.up));
	sess_free(&s);
}

static void a_backend_that_never_reads_its_answers_loses_the_channel(void)
{
	struct sess s;

	start(&s);
	for (unsigned i = 0; i < 20000 && !sess_stat(&s, "backend_channels_lost"); i++) {
		if (backend_ask(s.b, 99, ASK, NULL, 0, NULL, 0) < 0)
			break;
	}
	for (unsigned i = 0; i < 1000 && !sess_stat(&s, "backend_channels_lost"); i++)
		sess_nap(1);
	CU_ASSERT(sess_do(&s, s.up));
	CU_ASSERT(sess_do(&s, vhost_ring_call(s.v, 0, -1)) == 0);
	sess_free(&s);
}

/* ---- host notifiers ------------------------------------------------------------------------- */

static void a_page_of_hardware_or_of_a_sealed_file_is_handed_to_the_device(void)
{
	int page = sealed(3, F_SEAL_SHRINK), hw = open("/dev/zero", O_RDWR);
	struct sess s;

	start(&s);
	CU_EQ(notify_page(&s, 1, PAGE, 2 * PAGE, page), 0);
	CU_EQ(sess_do(&s, s.notifiers), 1);
	CU_EQ(sess_do(&s, s.notifier_ring), 1);
	CU_EQ(sess_do(&s, s.notifier_off), 2 * PAGE);
	CU_EQ(notify_page(&s, 0, PAGE, 0, hw), 0);
	CU_EQ(sess_do(&s, s.notifiers), 2);
	/* The next for the same ring: the old one goes first. */
	CU_EQ(notify_page(&s, 1, PAGE, 0, page), 0);
	CU_EQ(sess_do(&s, s.notifiers_dropped), 1);
	CU_EQ(notify_page(&s, 1 | VU_RING_NOFD, 0, 0, -1), 0);
	CU_EQ(sess_do(&s, s.notifiers_dropped), 2);
	sess_free(&s);
	close(page);
	close(hw);
}

static void a_page_that_could_vanish_or_does_not_fit_is_refused(void)
{
	int page = sealed(3, F_SEAL_SHRINK), loose = sealed(3, 0), pipe_fd[2];
	static const struct { uint64_t index, size, off; } bad[] = {
		{ 1, 0, 0 }, { 1, UINT64_C(1) << 40, 0 }, { 1, PAGE, 1 }, { 1, PAGE, 3 * PAGE },
		{ 1, PAGE, UINT64_MAX - PAGE + 1 }, { 1, 2 * PAGE, 0 }, { 2, PAGE, 0 },
		{ 255, PAGE, 0 }, { 512, PAGE, 0 }, { 1 | VU_RING_NOFD, PAGE, 0 },
		{ UINT64_C(1) << 63 | 1, PAGE, 0 },
	};
	struct sess s;

	if (pipe(pipe_fd))
		abort();
	start(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++)
		CU_EQ(notify_page(&s, bad[i].index, bad[i].size, bad[i].off, page), EINVAL);
	CU_EQ(notify_page(&s, 1, PAGE, 0, -1), EINVAL);
	CU_EQ(notify_page(&s, 1, PAGE, 0, loose), EPERM);	/* may be truncated later */
	CU_EQ(notify_page(&s, 1, PAGE, 0, pipe_fd[0]), EPERM);
	CU_EQ(sess_do(&s, s.notifiers), 0);
	sess_do(&s, s.notifier_rc = -ENOMEM);
	CU_EQ(notify_page(&s, 1, PAGE, 0, page), ENOMEM);
	CU_ASSERT(sess_do(&s, s.up));
	sess_free(&s);
	close(page);
	close(loose);
	close(pipe_fd[0]);
	close(pipe_fd[1]);
}

static void without_leave_no_page_is_taken(void)
{
	int page = sealed(1, F_SEAL_SHRINK);
	struct backend_msg m;
	struct sess s;

	start_with(&s, NOTIFIER, false);
	CU_ASSERT(backend_msg(s.b, VU_SET_PROTOCOL_FEATURES, 0, &m));
	CU_EQ(m.payload.u64 & BIT(VU_PROTOCOL_HOST_NOTIFIER), 0);
	CU_EQ(notify_page(&s, 1, PAGE, 0, page), EOPNOTSUPP);
	CU_EQ(sess_do(&s, s.notifiers), 0);
	sess_free(&s);
	close(page);
}

static void a_page_goes_when_its_ring_stops_or_its_backend_dies(void)
{
	int page = sealed(1, F_SEAL_SHRINK);
	struct sess s;

	start(&s);
	CU_EQ(notify_page(&s, 0, PAGE, 0, page), 0);
	CU_EQ(notify_page(&s, 1, PAGE, 0, page), 0);
	CU_EQ(sess_do(&s, vhost_ring_stop(s.v, 1)), 0);
	CU_EQ(sess_do(&s, s.notifiers_dropped), 1);
	CU_EQ(sess_do(&s, s.notifier_ring), 1);
	/* A stopped ring gets none. */
	CU_EQ(notify_page(&s, 1, PAGE, 0, page), EINVAL);
	backend_hangup(s.b);
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	CU_EQ(sess_do(&s, s.notifiers_dropped), 2);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(notify_page(&s, 0, PAGE, 0, page), 0);
	sess_stop(&s);
	CU_EQ(sess_do(&s, s.notifiers_dropped), 3);
	sess_free(&s);
	close(page);
}

CU_MAIN("wire/vhost_back",
	{ "B-BR-01, B-MSG-20 a back-end that offers it gets a channel",
	  a_backend_that_offers_it_gets_a_channel },
	{ "B-BR-01 without the feature or bit 30 there is no channel",
	  without_the_feature_or_bit_30_there_is_no_channel },
	{ "B-BR-01, B-RA-03 a refused channel is done without", a_refused_channel_is_done_without },
	{ "B-FR-03, B-BR-02 answers come only to who asks for them",
	  answers_come_only_to_who_asks_for_them },
	{ "B-BR-04, B-MSG-37 a changed configuration is asked for",
	  a_changed_configuration_is_asked_for },
	{ "B-BR-10 a request that comes before our answer is served",
	  a_request_that_comes_before_our_answer_is_served },
	{ "B-BR-12..14, B-MSG-39,40 unknown requests are refused and nothing else happens",
	  unknown_requests_are_refused_and_nothing_else_happens },
	{ "B-BR-03,13, B-MSG-40 descriptors are closed whatever comes of them",
	  descriptors_are_closed_whatever_comes_of_them },
	{ "B-BR-03 two hundred descriptors are closed too",
	  two_hundred_descriptors_are_closed_too },
	{ "B-BR-14 an impossible header ends the channel alone",
	  an_impossible_header_ends_the_channel_alone },
	{ "B-BR-02 requests in pieces are joined", requests_in_pieces_are_joined },
	{ "B-BR-15 the end of the channel is not the end of the session",
	  the_end_of_the_channel_is_not_the_end_of_the_session },
	{ "B-BR-15 the end of the session closes the channel too",
	  the_end_of_the_session_closes_the_channel_too },
	{ "B-BR-09 a flood of requests is read at a bounded rate",
	  a_flood_of_requests_is_read_at_a_bounded_rate },
	{ "B-BR-09 a back-end that never reads its answers loses the channel",
	  a_backend_that_never_reads_its_answers_loses_the_channel },
	{ "B-BR-05, B-MSG-38 a page of hardware or of a sealed file is handed to the device",
	  a_page_of_hardware_or_of_a_sealed_file_is_handed_to_the_device },
	{ "B-BR-05..07 a page that could vanish or does not fit is refused",
	  a_page_that_could_vanish_or_does_not_fit_is_refused },
	{ "B-BR-05,07 without leave no page is taken", without_leave_no_page_is_taken },
	{ "B-BR-08, B-RC-13 a page goes when its ring stops or its back-end dies",
	  a_page_goes_when_its_ring_stops_or_its_backend_dies })
