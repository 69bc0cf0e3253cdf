// SPDX-License-Identifier: Apache-2.0
// vhost_memory.c - the driver's memory changing under a session.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define PIECE 65536u
#define FAR   (UINT64_C(1) << 44)	/* IOVAs of pieces that are not the rings' */
#define VA(i) ((UINT64_C(1) << 45) + (i) * 2 * PIECE)	/* never touched */

static void start(struct sess *s)
{
	struct backend_config cfg = sess_decent(false);

	sess_init(s, &cfg);
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 2, false), 0);
	backend_forget(s->b);
}

/* A piece of a file of its own, so that no two merge; the session is not told. */
static int map_piece(struct sess *s, unsigned i)
{
	int fd = memfd_create("piece", MFD_CLOEXEC), rc;

	if (ftruncate(fd, PIECE))
		abort();
	rc = space_map(s->space, &(struct space_region){
		.iova = FAR + i * 2 * PIECE, .size = PIECE, .va = VA(i), .fd = fd }, 1);
	close(fd);
	return rc;
}

/* Three pages that merge into one region, 1 TiB above the pieces. */
static int map_three(struct sess *s)
{
	int fd = memfd_create("three", MFD_CLOEXEC), rc;
	struct space_region r[3];

	for (unsigned i = 0; i < 3; i++)
		r[i] = (struct space_region){ .iova = FAR + (UINT64_C(1) << 40) + i * 4096,
					      .size = 4096, .va = VA(1000) + i * 4096, .fd = fd,
					      .off = i * 4096 };
	rc = space_map(s->space, r, 3);
	close(fd);
	return rc;
}

static void unmap_piece(struct sess *s, unsigned i)
{
	CU_EQ(space_unmap(s->space, FAR + i * 2 * PIECE, PIECE), PIECE);
}

static int changed(struct sess *s)
{
	return sess_do(s, vhost_memory_changed(s->v));
}

static void an_added_piece_is_known_when_the_call_returns(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	CU_EQ(map_piece(&s, 0), 0);
	BACKEND_RULES(s.b, { VU_SET_MEM_TABLE, 0, BACKEND_LATE, 60 });
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, 0), 1);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, 0, &m));
	CU_ASSERT(sess_now_ms() * 1000 >= m.at_us + 59000);
	CU_EQ(m.payload.memory.regions, 2);
	CU_EQ(m.fds_n, 2);
	CU_EQ(m.payload.memory.region[0].guest_addr, FAR);
	CU_EQ(m.payload.memory.region[0].size, PIECE);
	CU_ASSERT(m.h.flags & VU_NEED_REPLY);
	sess_free(&s);
}

static void an_unchanged_table_is_not_sent(void)
{
	struct sess s;

	start(&s);
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, 0), 0);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, s.space)), 0);
	CU_EQ(backend_count(s.b, 0), 0);
	sess_free(&s);
}

static void another_file_at_the_same_place_is_sent(void)
{
	struct sess s;

	start(&s);
	CU_EQ(map_piece(&s, 0), 0);
	CU_EQ(changed(&s), 0);
	unmap_piece(&s, 0);
	CU_EQ(map_piece(&s, 0), 0);
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 2);
	sess_free(&s);
}

static void eight_regions_go_and_a_ninth_is_refused_in_peace(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	for (unsigned i = 0; i < 7; i++) {
		CU_EQ(map_piece(&s, i), 0);
		CU_EQ(changed(&s), 0);
	}
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, -1, &m));
	CU_EQ(m.payload.memory.regions, 8);
	CU_EQ(m.h.size, VU_MEMORY_SIZE(8));
	CU_EQ(m.fds_n, 8);
	CU_EQ(map_piece(&s, 7), 0);
	CU_EQ(changed(&s), -E2BIG);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 7);
	CU_EQ(s.failures, 0);
	CU_EQ(sess_stat(&s, "memory_lent"), 9);
	CU_EQ(sess_stat(&s, "memory_regions"), 8);
	CU_EQ(sess_stat(&s, "memory_regions_max"), 8);
	CU_EQ(sess_stat(&s, "memory_refused"), 1);
	unmap_piece(&s, 7);		/* the caller's roll-back */
	CU_EQ(changed(&s), 0);
	CU_EQ(sess_stat(&s, "memory_lent"), 8);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 7);
	CU_ASSERT(sess_do(&s, s.up));
	sess_free(&s);
}

static void nine_regions_at_the_start_fail_the_device(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	for (unsigned i = 0; i < 8; i++)
		CU_EQ(map_piece(&s, i), 0);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), -E2BIG);
	CU_EQ(s.failures, 1);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 0);
	CU_EQ(backend_count(s.b, VU_SET_VRING_ADDR), 0);
	sess_free(&s);
}

static void memory_that_cannot_be_revoked_by_a_table_is_revoked_by_the_end(void)
{
	struct sess s;

	start(&s);
	for (unsigned i = 0; i < 6; i++)
		CU_EQ(map_piece(&s, i), 0);
	CU_EQ(map_three(&s), 0);
	CU_EQ(changed(&s), 0);
	/* A hole in one region makes nine of eight. */
	CU_EQ(space_unmap(s.space, FAR + (UINT64_C(1) << 40) + 4096, 4096), 4096);
	CU_EQ(changed(&s), -E2BIG);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_EQ(s.failures, 1);
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 2);
	sess_free(&s);
}

static void a_refused_table_ends_the_session_and_the_old_one_is_replayed(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	CU_EQ(map_piece(&s, 0), 0);
	BACKEND_RULES(s.b, { VU_SET_MEM_TABLE, 1, BACKEND_NACK, 1 });
	CU_EQ(changed(&s), -EREMOTEIO);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_EQ(s.failures, 0);
	unmap_piece(&s, 0);
	CU_EQ(changed(&s), 0);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, -1, &m));
	CU_EQ(m.payload.memory.regions, 1);
	CU_EQ(m.session, 2);
	sess_free(&s);
}

static void a_removal_without_an_answer_ends_the_session(void)
{
	uint64_t begin_ms;
	struct sess s;

	start(&s);
	CU_EQ(map_piece(&s, 0), 0);
	CU_EQ(changed(&s), 0);
	BACKEND_RULES(s.b, { VU_SET_MEM_TABLE, 2, BACKEND_SILENT, 0 });
	unmap_piece(&s, 0);
	begin_ms = sess_own_ms();
	CU_EQ(changed(&s), 0);
	CU_ASSERT(sess_own_ms() - begin_ms < SESS_TIMEOUT_MS);
	CU_ASSERT(!sess_do(&s, s.up));
	sess_free(&s);
}

static void taking_a_rings_memory_stops_the_rings_first(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	CU_EQ(map_piece(&s, 0), 0);
	CU_EQ(changed(&s), 0);
	backend_forget(s.b);
	CU_EQ(space_unmap(s.space, (uintptr_t)s.mem, SESS_MEMORY), SESS_MEMORY);
	CU_EQ(changed(&s), 0);
	CU_EQ(s.failures, 1);
	CU_ASSERT(backend_msg(s.b, 0, 0, &m));
	CU_EQ(m.h.request, VU_GET_VRING_BASE);
	CU_ASSERT(backend_msg(s.b, 0, 1, &m));
	CU_EQ(m.h.request, VU_GET_VRING_BASE);
	CU_ASSERT(backend_msg(s.b, 0, 2, &m));
	CU_EQ(m.h.request, VU_SET_MEM_TABLE);
	CU_EQ(m.payload.memory.regions, 1);
	CU_EQ(m.payload.memory.region[0].guest_addr, FAR);
	sess_free(&s);
}

static void unmapping_all_memory_sends_no_empty_table(void)
{
	struct sess s;

	start(&s);
	CU_EQ(space_unmap(s.space, (uintptr_t)s.mem, SESS_MEMORY), SESS_MEMORY);
	CU_EQ(changed(&s), 0);
	CU_EQ(s.failures, 1);
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 2);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 0);
	sess_free(&s);
}

static void taking_all_memory_stops_the_rings_and_sends_no_empty_table(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, NULL)), 0);
	CU_EQ(backend_count(s.b, 0), 2);
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 2);
	CU_ASSERT(sess_do(&s, s.up));
	/* Given back, the rings go on where the back-end left them. */
	backend_base(s.b, 0, 7);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, s.space)), 0);
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 2);
	CU_ASSERT(backend_msg(s.b, VU_SET_VRING_BASE, 0, &m));
	CU_EQ(m.payload.state.num, 0);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, NULL)), 0);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, s.space)), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_VRING_BASE, 2, &m));
	CU_EQ(m.payload.state.num, 7);
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

static void memory_given_while_no_backend_is_there_is_told_to_the_next(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s);
	backend_hangup(s.b);
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	CU_EQ(map_piece(&s, 0), 0);
	CU_EQ(changed(&s), 0);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, -1, &m));
	CU_EQ(m.payload.memory.regions, 2);
	sess_free(&s);
}

CU_MAIN("wire/vhost_memory",
	{ "B-MM-12, B-MM-16 an added piece is known when the call returns",
	  an_added_piece_is_known_when_the_call_returns },
	{ "B-MM-16 an unchanged table is not sent", an_unchanged_table_is_not_sent },
	{ "B-MM-03 another file at the same place is sent",
	  another_file_at_the_same_place_is_sent },
	{ "B-MM-01, B-MM-07 eight regions go and a ninth is refused in peace",
	  eight_regions_go_and_a_ninth_is_refused_in_peace },
	{ "B-MM-07, B-MM-13 nine regions at the start fail the device",
	  nine_regions_at_the_start_fail_the_device },
	{ "B-MM-12 memory that no table can revoke is revoked by the end",
	  memory_that_cannot_be_revoked_by_a_table_is_revoked_by_the_end },
	{ "B-MM-17 a refused table ends the session and the old one is replayed",
	  a_refused_table_ends_the_session_and_the_old_one_is_replayed },
	{ "B-MM-12 a removal without an answer ends the session",
	  a_removal_without_an_answer_ends_the_session },
	{ "B-RG-02 taking a ring's memory stops the rings first",
	  taking_a_rings_memory_stops_the_rings_first },
	{ "B-RG-02 unmapping all memory sends no empty table",
	  unmapping_all_memory_sends_no_empty_table },
	{ "B-RG-12 taking all memory stops the rings and sends no empty table",
	  taking_all_memory_stops_the_rings_and_sends_no_empty_table },
	{ "B-RC-02 memory given while no back-end is there is told to the next",
	  memory_given_while_no_backend_is_there_is_told_to_the_next })
