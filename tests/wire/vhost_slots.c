// SPDX-License-Identifier: Apache-2.0
// vhost_slots.c - memory told piece by piece (CONFIGURE_MEM_SLOTS), while rings run.
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define PIECE 65536u
#define FAR   (UINT64_C(1) << 44)
#define AT(i) (FAR + (uint64_t)(i) * PIECE)

static int file;		/* of the pieces: neighbours are one region of the space */

static void start(struct sess *s, uint64_t slots)
{
	struct backend_config cfg = sess_decent(false);

	cfg.protocol |= BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	cfg.slots = slots;
	sess_init(s, &cfg);
	file = memfd_create("pieces", MFD_CLOEXEC);
	if (ftruncate(file, 1024 * (off_t)PIECE))
		abort();
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 2, false), 0);
}

static void stop(struct sess *s)
{
	sess_free(s);
	close(file);
}

static int map_at(struct sess *s, unsigned i, unsigned n)
{
	return space_map(s->space, &(struct space_region){
		.iova = AT(i), .size = n * PIECE, .va = AT(i), .fd = file,
		.off = (uint64_t)i * PIECE }, 1);
}

static void unmap_at(struct sess *s, unsigned i, unsigned n)
{
	CU_EQ(space_unmap(s->space, AT(i), n * PIECE), n * PIECE);
}

static int changed(struct sess *s)
{
	return sess_do(s, vhost_memory_changed(s->v));
}

/* The back-end's view: bytes it has at each piece, and whether regions ever overlapped. */
static bool sees(struct sess *s, const char *want)
{
	struct { uint64_t at, size; } had[64];
	unsigned n = 0, top = (unsigned)strlen(want);
	struct backend_msg m;
	bool good = true;

	for (int i = 0; backend_msg(s->b, 0, i, &m); i++) {
		const struct vu_region *r = &m.payload.single.region;
		unsigned k;

		if (m.h.request == VU_ADD_MEM_REG) {
			for (k = 0; k < n; k++)
				good &= r->guest_addr >= had[k].at + had[k].size ||
					r->guest_addr + r->size <= had[k].at;
			had[n].at = r->guest_addr;
			had[n++].size = r->size;
			good &= m.fds_n == 1 && m.h.size == 40 && r->user_addr == r->guest_addr;
			good &= !m.payload.single.padding;
		} else if (m.h.request == VU_REM_MEM_REG) {
			for (k = 0; k < n && had[k].at != r->guest_addr; k++)
				;
			good &= k < n && had[k].size == r->size && !m.fds_n &&
				r->user_addr == r->guest_addr;
			n--;
			memmove(&had[k], &had[k + 1], (n - k) * sizeof(had[0]));
		}
	}
	for (unsigned i = 0; i < top; i++) {
		bool there = false;

		for (unsigned k = 0; k < n; k++)
			there |= AT(i) >= had[k].at && AT(i) < had[k].at + had[k].size;
		good &= there == (want[i] == 'x');
	}
	return good && !backend_count(s->b, VU_SET_MEM_TABLE);
}

static void memory_goes_by_slots_where_there_are_any(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s, 509);
	CU_EQ(backend_count(s.b, VU_GET_MAX_MEM_SLOTS), 1);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 1);
	CU_ASSERT(backend_msg(s.b, VU_ADD_MEM_REG, 0, &m));
	CU_EQ(m.payload.single.region.guest_addr, (uintptr_t)s.mem);
	CU_EQ(m.payload.single.region.size, SESS_MEMORY);
	CU_EQ(m.payload.single.region.mmap_offset, 0);
	CU_ASSERT(m.h.flags & VU_NEED_REPLY);
	stop(&s);
}

static void without_the_feature_no_slot_message_is_sent(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(backend_count(s.b, VU_GET_MAX_MEM_SLOTS), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 0);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 1);
	sess_free(&s);
}

static void growing_memory_adds_only_what_is_new(void)
{
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 1), 0);
	CU_EQ(changed(&s), 0);
	CU_EQ(map_at(&s, 1, 2), 0);	/* the same region of the space, grown */
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 3);
	CU_EQ(backend_count(s.b, VU_REM_MEM_REG), 0);
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 3);
	CU_ASSERT(sees(&s, "xxx."));
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 0);
	stop(&s);
}

static void whole_regions_go_under_traffic(void)
{
	struct backend_msg m;
	struct sess s;

	start(&s, 509);
	for (unsigned i = 0; i < 5; i++) {
		CU_EQ(map_at(&s, i, 1), 0);
		CU_EQ(changed(&s), 0);
	}
	unmap_at(&s, 1, 2);
	BACKEND_RULES(s.b, { VU_REM_MEM_REG, 0, BACKEND_LATE, 30 });
	CU_EQ(changed(&s), 0);
	/* Acknowledged before the driver may have it back. */
	CU_ASSERT(backend_msg(s.b, VU_REM_MEM_REG, 1, &m));
	CU_ASSERT(sess_now_ms() * 1000 >= m.at_us + 29000);
	CU_ASSERT(sees(&s, "x..xx"));
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 0);
	CU_EQ(s.failures, 0);
	stop(&s);
}

static void a_hole_in_a_region_pauses_the_rings(void)
{
	static const uint32_t order[] = {
		VU_GET_VRING_BASE, VU_GET_VRING_BASE, VU_REM_MEM_REG, VU_ADD_MEM_REG,
		VU_ADD_MEM_REG, VU_SET_VRING_NUM, VU_SET_VRING_BASE,
	};
	struct backend_msg m;
	unsigned before;
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 3), 0);
	CU_EQ(changed(&s), 0);
	backend_base(s.b, 0, 77);
	unmap_at(&s, 1, 1);
	before = backend_count(s.b, 0);
	CU_EQ(changed(&s), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		CU_ASSERT(backend_msg(s.b, 0, (int)(before + i), &m));
		CU_EQ(m.h.request, order[i]);
	}
	CU_EQ(m.payload.state.num, 77);		/* and go on where they stood */
	CU_ASSERT(sees(&s, "x.x"));
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 4);
	CU_EQ(sess_stat(&s, "ring_pauses"), 1);
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(s.failures, 0);
	stop(&s);
}

static void a_range_mapped_anew_is_removed_before_it_is_added(void)
{
	struct sess s;
	int other = memfd_create("other", MFD_CLOEXEC);

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 2), 0);
	CU_EQ(changed(&s), 0);
	unmap_at(&s, 0, 2);
	CU_EQ(ftruncate(other, 4 * PIECE), 0);
	CU_EQ(space_map(s.space, &(struct space_region){ .iova = AT(1), .size = 2 * PIECE,
							 .va = AT(8), .fd = other }, 1), 0);
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_REM_MEM_REG), 1);
	CU_ASSERT(sees(&s, ".xx"));
	close(other);
	stop(&s);
}

static void a_refused_slot_is_rolled_back_and_the_session_lives(void)
{
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 1), 0);
	BACKEND_RULES(s.b, { VU_ADD_MEM_REG, 2, BACKEND_NACK, 1 });
	CU_EQ(changed(&s), -EREMOTEIO);
	unmap_at(&s, 0, 1);		/* as the domain does it */
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_REM_MEM_REG), 0);
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(sess_stat(&s, "vhost_losses"), 0);
	CU_EQ(map_at(&s, 0, 1), 0);
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 3);
	stop(&s);
}

/* Nobody takes that back: the memory is still the driver's to use. */
static void a_refusal_to_have_back_what_stays_lent_ends_the_session(void)
{
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 3), 0);
	CU_EQ(changed(&s), 0);
	BACKEND_RULES(s.b, { VU_ADD_MEM_REG, 4, BACKEND_NACK, 1 });
	unmap_at(&s, 1, 1);
	CU_EQ(changed(&s), -EREMOTEIO);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 4 + 3);
	CU_EQ(s.failures, 0);
	stop(&s);
}

static void a_ring_that_does_not_go_on_after_a_pause_ends_the_session(void)
{
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 3), 0);
	CU_EQ(changed(&s), 0);
	BACKEND_RULES(s.b, { VU_SET_VRING_KICK, 4, BACKEND_NACK, 1 });
	unmap_at(&s, 1, 1);
	CU_EQ(changed(&s), 0);
	CU_ASSERT(!sess_do(&s, s.up));
	/* Not left half running: the next session has both. */
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 6);
	CU_EQ(s.failures, 0);
	stop(&s);
}

static void a_refusal_from_before_is_not_taken_for_one_of_the_memory(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	cfg.protocol |= BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	cfg.protocol &= ~BIT(VU_PROTOCOL_STATUS);
	cfg.slots = 32;
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	BACKEND_RULES(s.b, { VU_SET_FEATURES, 1, BACKEND_NACK, 1 });
	CU_EQ(sess_start(&s, 2, false), -EREMOTEIO);
	sess_stop(&s);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 1);
	CU_ASSERT(sees(&s, ""));
	sess_free(&s);
}

static void memory_a_backend_will_not_give_back_is_cut_off(void)
{
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 1), 0);
	CU_EQ(changed(&s), 0);
	BACKEND_RULES(s.b, { VU_REM_MEM_REG, 1, BACKEND_NACK, 1 });
	unmap_at(&s, 0, 1);
	CU_EQ(changed(&s), -EREMOTEIO);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(s.failures, 0);
	stop(&s);
}

static void more_regions_than_a_table_has_go_by_slots(void)
{
	struct sess s;

	start(&s, 40);
	for (unsigned i = 0; i < 39; i++)
		CU_EQ(map_at(&s, 2 * i, 1), 0);
	CU_EQ(changed(&s), 0);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 40);
	CU_EQ(map_at(&s, 100, 1), 0);
	CU_EQ(changed(&s), -E2BIG);
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 40);
	unmap_at(&s, 100, 1);
	CU_EQ(changed(&s), 0);
	CU_ASSERT(sess_do(&s, s.up));
	stop(&s);
}

static void slots_used_up_by_small_pieces_are_joined(void)
{
	struct sess s;

	start(&s, 8);
	for (unsigned i = 0; i < 12; i++) {	/* one region of the space all the time */
		CU_EQ(map_at(&s, i, 1), 0);
		CU_EQ(changed(&s), 0);
	}
	CU_EQ(sess_stat(&s, "ring_pauses"), 1);
	CU_ASSERT(sees(&s, "xxxxxxxxxxxx."));
	CU_EQ(s.failures, 0);
	stop(&s);
}

static void a_backend_without_a_single_slot_is_refused(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	cfg.protocol |= BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_EQ(sess_stat(&s, "lost_bad_value"), 1);
	sess_free(&s);
}

static void all_slots_are_told_again_to_the_next_backend(void)
{
	struct sess s;

	start(&s, 509);
	CU_EQ(map_at(&s, 0, 1), 0);
	CU_EQ(map_at(&s, 4, 1), 0);
	CU_EQ(changed(&s), 0);
	backend_forget(s.b);
	backend_hangup(s.b);
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(backend_count(s.b, VU_ADD_MEM_REG), 3);
	CU_EQ(backend_count(s.b, VU_REM_MEM_REG), 0);
	stop(&s);
}

static void one_piece_of_memory_at_two_iovas_is_two_user_addresses(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(space_map(s.space, &(struct space_region){
		.iova = FAR, .size = SESS_MEMORY, .va = (uintptr_t)s.mem, .fd = s.mem_fd }, 1), 0);
	CU_EQ(sess_open(&s), 0);
	s.iova = FAR - (uintptr_t)s.mem;	/* the rings by their second name */
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, 0, &m));
	CU_EQ(m.payload.memory.regions, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct vu_region *r = &m.payload.memory.region[i];

		CU_EQ(r->user_addr, r->guest_addr);
		CU_EQ(r->mmap_offset, 0);
	}
	CU_EQ(m.payload.memory.region[0].guest_addr, FAR);
	CU_ASSERT(backend_msg(s.b, VU_SET_VRING_ADDR, 0, &m));
	CU_EQ(m.payload.addr.desc, FAR);
	sess_free(&s);
}

CU_MAIN("wire/vhost_slots",
	{ "B-MM-04,05, B-MSG-31 memory goes by slots where there are any",
	  memory_goes_by_slots_where_there_are_any },
	{ "B-MM-04, B-MSG-05 without the feature no slot message is sent",
	  without_the_feature_no_slot_message_is_sent },
	{ "B-MM-05,16 growing memory adds only what is new", growing_memory_adds_only_what_is_new },
	{ "B-MM-06,12 whole regions go under traffic", whole_regions_go_under_traffic },
	{ "B-MM-02,16 a hole in a region pauses the rings", a_hole_in_a_region_pauses_the_rings },
	{ "B-MM-02,03,06 a range mapped anew is removed before it is added",
	  a_range_mapped_anew_is_removed_before_it_is_added },
	{ "B-MM-17 a refused slot is rolled back and the session lives",
	  a_refused_slot_is_rolled_back_and_the_session_lives },
	{ "B-RA-03, B-MM-16 a ring that does not go on after a pause ends the session",
	  a_ring_that_does_not_go_on_after_a_pause_ends_the_session },
	{ "B-MM-17 a refusal to have back what stays lent ends the session",
	  a_refusal_to_have_back_what_stays_lent_ends_the_session },
	{ "B-RA-03, B-MM-17 a refusal from before is not taken for one of the memory",
	  a_refusal_from_before_is_not_taken_for_one_of_the_memory },
	{ "B-MM-12 memory a back-end will not give back is cut off",
	  memory_a_backend_will_not_give_back_is_cut_off },
	{ "B-MM-07,13 more regions than a table has go by slots",
	  more_regions_than_a_table_has_go_by_slots },
	{ "B-MM-02,07 slots used up by small pieces are joined",
	  slots_used_up_by_small_pieces_are_joined },
	{ "B-MM-07 a back-end without a single slot is refused",
	  a_backend_without_a_single_slot_is_refused },
	{ "B-RC-02 all slots are told again to the next back-end",
	  all_slots_are_told_again_to_the_next_backend },
	{ "B-MM-02, B-RG-02 one piece of memory at two IOVAs is two user addresses",
	  one_piece_of_memory_at_two_iovas_is_two_user_addresses })
