// SPDX-License-Identifier: Apache-2.0
// vhost_keep.c - what outlives a back-end or a driver: records of what is in flight, logs, resets.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)
#define PAGES_MAX 64

static void start_with(struct sess *s, unsigned feature, bool packed)
{
	struct backend_config cfg = sess_decent(false);

	cfg.protocol |= BIT(feature);
	cfg.slots = 32;
	sess_init(s, &cfg);
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 2, packed), 0);
	CU_ASSERT(sess_do(s, s->up));
}

static void come_back(struct sess *s)
{
	backend_forget(s->b);
	CU_ASSERT(sess_lose(s));
	CU_ASSERT(sess_wait_link(s, true, 2000));
}

/* Where in the log of messages the first of a kind is; -1: nowhere. */
static int place(struct sess *s, uint32_t request)
{
	struct backend_msg m;

	for (int i = 0; backend_msg(s->b, 0, i, &m); i++)
		if (m.h.request == request)
			return i;
	return -1;
}

/* ---- in flight ------------------------------------------------------------------------------ */

static void a_record_is_made_before_rings_start(void)
{
	struct backend_msg m, set;
	struct sess s;

	start_with(&s, VU_PROTOCOL_INFLIGHT_SHMFD, true);
	CU_ASSERT(backend_msg(s.b, VU_GET_INFLIGHT_FD, 0, &m));
	CU_EQ(m.h.size, 24);
	CU_EQ(m.payload.inflight.queues, 2);
	CU_EQ(m.payload.inflight.queue_size, 256);
	CU_EQ(m.payload.inflight.size + m.payload.inflight.offset, 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_INFLIGHT_FD, 0, &set));
	CU_EQ(set.fds_n, 1);
	CU_EQ(set.payload.inflight.size, 8192);
	CU_EQ(set.payload.inflight.queues, 2);
	CU_ASSERT(place(&s, VU_SET_INFLIGHT_FD) < place(&s, VU_SET_VRING_KICK));
	sess_free(&s);
	/* Not without the feature. */
	start_with(&s, VU_PROTOCOL_RARP, true);
	CU_EQ(backend_count(s.b, VU_GET_INFLIGHT_FD), 0);
	CU_EQ(backend_count(s.b, VU_SET_INFLIGHT_FD), 0);
	sess_free(&s);
}

static void the_record_is_handed_to_the_next_backend_as_it_is(void)
{
	struct backend_msg first, again;
	uint8_t *p;
	struct sess s;
	int fd;

	start_with(&s, VU_PROTOCOL_INFLIGHT_SHMFD, true);
	CU_ASSERT(backend_msg(s.b, VU_SET_INFLIGHT_FD, 0, &first));
	fd = backend_kept_fd(s.b, VU_SET_INFLIGHT_FD);
	p = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	for (unsigned i = 0; i < 8192; i++)
		p[i] = (uint8_t)(i * 37 + i / 251);	/* nonsense: it is not ours to read */
	come_back(&s);
	CU_EQ(backend_count(s.b, VU_GET_INFLIGHT_FD), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_INFLIGHT_FD, 0, &again));
	CU_EQ(memcmp(&first.payload.inflight, &again.payload.inflight, 24), 0);
	CU_ASSERT(first.files[0].ino == again.files[0].ino);
	CU_EQ(p[4711], (uint8_t)(4711 * 37 + 4711 / 251));
	CU_ASSERT(place(&s, VU_SET_INFLIGHT_FD) < place(&s, VU_SET_VRING_KICK));
	munmap(p, 8192);
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

static void a_reset_asks_for_a_new_record(void)
{
	struct sess s;

	start_with(&s, VU_PROTOCOL_INFLIGHT_SHMFD, false);
	sess_stop(&s);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(backend_count(s.b, VU_GET_INFLIGHT_FD), 2);
	sess_stop(&s);
	s.num = 128;
	CU_EQ(sess_start(&s, 4, false), 0);
	CU_EQ(backend_count(s.b, VU_GET_INFLIGHT_FD), 3);
	sess_free(&s);
}

static void a_record_that_cannot_be_right_ends_the_session(void)
{
	static const struct backend_inflight bad[] = {
		{ .size = 0, .file = 4096, .fds = 1 },
		{ .size = UINT64_C(1) << 63, .file = 4096, .fds = 1 },
		{ .size = 4096, .offset = UINT64_MAX - 4095, .file = 4096, .fds = 1 },
		{ .size = 4096, .offset = 1, .file = 4096, .fds = 1 },
		{ .size = 4097, .file = 4096, .fds = 1 },
		{ .size = 4096, .file = 4096, .fds = 0 },
		{ .size = 4096, .file = 4096, .fds = 2 },
		{ .size = 4096, .file = 4096, .fds = 1, .other_queues = true },
	};
	unsigned fds = fds_open(), kept = fd_kept_count();
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	cfg.protocol |= BIT(VU_PROTOCOL_INFLIGHT_SHMFD);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		sess_init(&s, &cfg);
		backend_inflight(s.b, &bad[i]);
		CU_EQ(sess_open(&s), 0);
		CU_EQ(sess_start(&s, 2, false), 0);
		CU_ASSERT(!sess_do(&s, s.up));
		CU_EQ(sess_stat(&s, "lost_bad_value") + sess_stat(&s, "lost_stray_fds"), 1);
		CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 0);
		CU_EQ(s.failures, 0);
		sess_free(&s);
	}
	CU_EQ(fds_open(), fds);
	CU_EQ(fd_kept_count(), kept);
}

static void odd_descriptors_for_a_record_do_no_harm(void)
{
	static const char *const paths[] = { "/dev/zero", "/dev/ptmx", "/tmp", "fifo" };
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	cfg.protocol |= BIT(VU_PROTOCOL_INFLIGHT_SHMFD);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++) {
		struct backend_inflight odd = { .size = 4096, .fds = 1, .path = paths[i] };
		uint64_t begin_ms = sess_own_ms();

		sess_init(&s, &cfg);
		backend_inflight(s.b, &odd);
		CU_EQ(sess_open(&s), 0);
		CU_EQ(sess_start(&s, 2, false), 0);
		CU_EQ(sess_stat(&s, "lost_bad_value"), 1);
		CU_ASSERT(sess_own_ms() - begin_ms < 500);
		sess_free(&s);
	}
}

static void with_a_record_a_packed_ring_is_not_written_to(void)
{
	struct vring_packed_desc *d, was[256];
	struct sess s;

	start_with(&s, VU_PROTOCOL_INFLIGHT_SHMFD, true);
	d = sess_packed(&s, 1);
	/* Completed out of order: without the record nobody could tell where it stood. */
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)i, .flags = AVAIL };
	d[0].flags = d[3].flags = d[9].flags = AVAIL | USED;
	memcpy(was, d, sizeof(was));
	come_back(&s);
	CU_EQ(s.failures, 0);
	CU_EQ(memcmp(was, d, sizeof(was)), 0);
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 2);
	CU_EQ(sess_stat(&s, "ring_buffers_given_back"), 0);
	/* What is plain is still told. */
	for (unsigned i = 0; i < 256; i++)
		d[i].flags = (uint16_t)(AVAIL | (i < 30 ? USED : 0));
	come_back(&s);
	CU_EQ(sess_last_base(&s, 1), 0x801e801e);
	sess_free(&s);
}

/* ---- the log -------------------------------------------------------------------------------- */

struct pages {
	unsigned n;
	uint64_t at[PAGES_MAX];
};

static void note_page(void *ctx, uint64_t addr)
{
	struct pages *p = ctx;

	if (p->n < PAGES_MAX)
		p->at[p->n] = addr;
	p->n++;
}

static int harvest(struct sess *s, struct pages *p)
{
	p->n = 0;
	return sess_do(s, vhost_log_harvest(s->v, note_page, p));
}

/* As a back-end does it. */
static void mark(struct sess *s, uint64_t gpa)
{
	int fd = backend_kept_fd(s->b, VU_SET_LOG_BASE);
	uint64_t at = gpa / VU_LOG_PAGE;
	uint8_t byte = 0;

	if (pread(fd, &byte, 1, (off_t)(at / 8)) < 0)
		abort();
	byte |= (uint8_t)(1u << at % 8);
	if (pwrite(fd, &byte, 1, (off_t)(at / 8)) != 1)
		abort();
	close(fd);
}

static void a_log_is_told_with_the_bits_that_use_it(void)
{
	static const uint32_t order[] = {
		VU_SET_LOG_BASE, VU_SET_FEATURES, VU_SET_VRING_ADDR, VU_SET_VRING_ADDR,
		VU_SET_VRING_ADDR, VU_SET_VRING_ADDR, VU_SET_FEATURES,
	};
	struct backend_msg m[ARRAY_SIZE(order)];
	uint64_t top;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	top = (uintptr_t)s.mem + SESS_MEMORY;
	backend_forget(s.b);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	sess_do(&s, (vhost_log_stop(s.v), 0));
	for (unsigned i = 0; i < ARRAY_SIZE(order); i++) {
		CU_ASSERT(backend_msg(s.b, 0, (int)i, &m[i]));
		CU_EQ(m[i].h.request, order[i]);
	}
	CU_EQ(m[0].fds_n, 1);
	CU_EQ(m[0].h.size, 16);
	CU_EQ(m[0].payload.log.offset, 0);
	CU_ASSERT(m[0].payload.log.size * 8 * VU_LOG_PAGE >= top);
	CU_ASSERT(m[0].payload.log.size < top / 8 / VU_LOG_PAGE + 8192);
	CU_EQ(m[1].payload.u64, BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_LOG_ALL) |
	      BIT(VU_F_PROTOCOL_FEATURES));
	CU_EQ(m[2].payload.addr.flags, VU_ADDR_LOG);
	CU_EQ(m[2].payload.addr.log, s.rings[0].used);
	CU_EQ(m[3].payload.addr.log, s.rings[1].used);
	CU_EQ(m[4].payload.addr.flags, 0);
	CU_EQ(m[5].payload.addr.log, 0);
	CU_EQ(m[6].payload.u64, BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES));
	/* Nothing but LOG_ALL changes while rings run. */
	CU_EQ(m[1].payload.u64 ^ m[6].payload.u64, BIT(VU_F_LOG_ALL));
	CU_EQ(backend_count(s.b, VU_SET_LOG_FD), 0);
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 0);
	sess_free(&s);
}

static void marks_are_harvested_once(void)
{
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	mark(&s, (uintptr_t)s.mem);
	mark(&s, (uintptr_t)s.mem + SESS_MEMORY - 1);
	mark(&s, 0);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 3);
	CU_EQ(p.at[0], 0);
	CU_EQ(p.at[1], (uintptr_t)s.mem);
	CU_EQ(p.at[2], (uintptr_t)s.mem + SESS_MEMORY - 4096);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 0);
	sess_free(&s);
}

static void the_log_cannot_be_pulled_away(void)
{
	struct sess s;
	int fd;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	fd = backend_kept_fd(s.b, VU_SET_LOG_BASE);
	CU_EQ(ftruncate(fd, 0), -1);
	CU_EQ(fcntl(fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_SEAL);
	close(fd);
	sess_free(&s);
}

static void a_new_backend_has_a_log_of_its_own_and_no_mark_is_lost(void)
{
	struct backend_msg first, second;
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_LOG_BASE, 0, &first));
	mark(&s, (uintptr_t)s.mem + 8192);
	come_back(&s);
	CU_ASSERT(backend_msg(s.b, VU_SET_LOG_BASE, 0, &second));
	CU_ASSERT(first.files[0].ino != second.files[0].ino);
	CU_ASSERT(backend_msg(s.b, VU_SET_FEATURES, 0, &second));
	CU_ASSERT(second.payload.u64 & BIT(VU_F_LOG_ALL));
	CU_ASSERT(backend_msg(s.b, VU_SET_VRING_ADDR, 1, &second));
	CU_EQ(second.payload.addr.flags, VU_ADDR_LOG);
	mark(&s, (uintptr_t)s.mem + 16384);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 2);
	CU_EQ(p.at[0], (uintptr_t)s.mem + 8192);
	CU_EQ(p.at[1], (uintptr_t)s.mem + 16384);
	sess_free(&s);
}

static void more_memory_has_a_longer_log_first(void)
{
	uint64_t far = UINT64_C(1) << 47;
	int fd = memfd_create("far", MFD_CLOEXEC);
	struct backend_msg m;
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	mark(&s, (uintptr_t)s.mem);
	backend_forget(s.b);
	CU_EQ(space_map(s.space, &(struct space_region){ .iova = far, .size = 1 << 20, .va = far,
							 .fd = fd }, 1), 0);
	CU_EQ(sess_do(&s, vhost_memory_changed(s.v)), 0);
	CU_ASSERT(place(&s, VU_SET_LOG_BASE) < place(&s, VU_SET_MEM_TABLE));
	CU_ASSERT(backend_msg(s.b, VU_SET_LOG_BASE, 0, &m));
	CU_ASSERT(m.payload.log.size * 8 * VU_LOG_PAGE >= far + (1 << 20));
	mark(&s, far + 4096);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 2);
	CU_EQ(p.at[1], far + 4096);
	close(fd);
	sess_free(&s);
}

static void who_cannot_log_is_not_asked_to(void)
{
	struct backend_config cfg = sess_decent(false);
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_RARP, false);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), -EOPNOTSUPP);
	CU_EQ(backend_count(s.b, VU_SET_LOG_BASE), 0);
	CU_EQ(harvest(&s, &p), -EINVAL);
	sess_free(&s);
	cfg.protocol |= BIT(VU_PROTOCOL_LOG_SHMFD);
	cfg.features &= ~BIT(VU_F_LOG_ALL);
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), -EOPNOTSUPP);
	sess_free(&s);
}

static void a_backend_that_wrote_unlogged_makes_all_pages_count(void)
{
	struct backend_config cfg = sess_decent(false);
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	backend_offers(s.b, cfg.features & ~BIT(VU_F_LOG_ALL), 4);
	come_back(&s);
	CU_EQ(backend_count(s.b, VU_SET_LOG_BASE), 0);
	CU_EQ(harvest(&s, &p), -ENODATA);
	CU_EQ(harvest(&s, &p), 0);
	sess_free(&s);
}

static void what_the_device_writes_itself_is_logged(void)
{
	struct pages p;
	struct sess s;
	uint64_t at;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	at = (uintptr_t)s.mem;
	sess_do(&s, (vhost_log_wrote(s.v, at, 4), 0));		/* nobody asked yet */
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	mark(&s, at);
	sess_do(&s, (vhost_log_wrote(s.v, at + 2 * 4096 - 2, 4), 0));
	sess_do(&s, (vhost_log_wrote(s.v, at + 8, 0), 0));
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 3);
	for (unsigned i = 0; i < 3; i++)
		CU_EQ(p.at[i], at + i * 4096);
	sess_do(&s, (vhost_log_wrote(s.v, at + SESS_MEMORY - 1, 1), 0));
	come_back(&s);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 1);
	CU_EQ(p.at[0], at + SESS_MEMORY - 4096);
	/* What no mark can stand for is not forgotten either. */
	sess_do(&s, (vhost_log_wrote(s.v, UINT64_MAX - 4, 4), 0));
	CU_EQ(harvest(&s, &p), -ENODATA);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 0);
	sess_free(&s);
}

static void what_the_device_mends_is_logged(void)
{
	struct vring_packed_desc *d;
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, true);
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	d = sess_packed(&s, 1);
	for (unsigned i = 0; i < 256; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)(i / 2),
			.flags = (uint16_t)(AVAIL | (i % 2 ? 0 : VRING_DESC_F_NEXT)) };
	come_back(&s);
	CU_EQ(sess_stat(&s, "ring_buffers_given_back"), 128);
	CU_EQ(harvest(&s, &p), 0);
	CU_EQ(p.n, 1);
	CU_EQ(p.at[0], (uintptr_t)d);
	sess_free(&s);
}

static void a_refused_log_is_no_log(void)
{
	struct pages p;
	struct sess s;

	start_with(&s, VU_PROTOCOL_LOG_SHMFD, false);
	BACKEND_RULES(s.b, { VU_SET_VRING_ADDR, 3, BACKEND_NACK, 1 });
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), -EREMOTEIO);
	CU_EQ(harvest(&s, &p), -EINVAL);
	CU_ASSERT(sess_do(&s, s.up));
	sess_free(&s);
}

/* ---- reset, announcement -------------------------------------------------------------------- */

static void a_reset_is_told_after_the_rings_stopped(void)
{
	struct backend_msg m;
	struct sess s;

	start_with(&s, VU_PROTOCOL_RESET_DEVICE, false);
	backend_forget(s.b);
	sess_stop(&s);
	CU_EQ(place(&s, VU_GET_VRING_BASE), 0);
	CU_EQ(place(&s, VU_RESET_DEVICE), 2);
	CU_ASSERT(backend_msg(s.b, VU_RESET_DEVICE, 0, &m));
	CU_EQ(m.h.size, 0);
	CU_ASSERT(m.h.flags & VU_NEED_REPLY);
	CU_EQ(place(&s, VU_SET_STATUS), 3);
	sess_free(&s);
	start_with(&s, VU_PROTOCOL_RARP, false);
	sess_stop(&s);
	CU_EQ(backend_count(s.b, VU_RESET_DEVICE), 0);
	CU_EQ(backend_count(s.b, VU_GET_VRING_BASE), 2);
	sess_free(&s);
}

static void after_a_reset_all_is_told_anew_but_no_owner(void)
{
	struct sess s;

	start_with(&s, VU_PROTOCOL_RESET_DEVICE, false);
	sess_stop(&s);
	backend_forget(s.b);
	s.rings[1].enabled = false;
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(backend_count(s.b, VU_SET_OWNER), 0);
	CU_EQ(backend_count(s.b, VU_SET_FEATURES), 1);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 1);
	CU_EQ(backend_count(s.b, VU_SET_VRING_ADDR), 2);
	CU_EQ(backend_count(s.b, VU_SET_VRING_BASE), 2);
	CU_EQ(backend_count(s.b, VU_SET_VRING_KICK), 2);
	CU_EQ(backend_count(s.b, VU_SET_VRING_CALL), 2);
	/* All were disabled by it, so none is disabled by us. */
	CU_EQ(backend_count(s.b, VU_SET_VRING_ENABLE), 1);
	sess_free(&s);
}

static void a_refused_reset_ends_the_session(void)
{
	struct sess s;

	start_with(&s, VU_PROTOCOL_RESET_DEVICE, false);
	BACKEND_RULES(s.b, { VU_RESET_DEVICE, 1, BACKEND_NACK, 1 });
	sess_stop(&s);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	sess_free(&s);
}

static void a_station_is_announced_where_that_is_offered(void)
{
	static const uint8_t mac[6] = { 0x52, 0x54, 0, 1, 2, 0xfe };
	struct backend_msg m;
	uint8_t bytes[8];
	struct sess s;

	start_with(&s, VU_PROTOCOL_RARP, false);
	sess_do(&s, (vhost_announce(s.v, mac), 0));
	CU_ASSERT(backend_msg(s.b, VU_SEND_RARP, 0, &m));
	CU_EQ(m.h.size, 8);
	memcpy(bytes, &m.payload.u64, 8);
	CU_EQ(memcmp(bytes, mac, 6), 0);
	CU_EQ(bytes[6] | bytes[7], 0);
	sess_stop(&s);
	sess_do(&s, (vhost_announce(s.v, mac), 0));	/* nobody there to be found */
	CU_EQ(backend_count(s.b, VU_SEND_RARP), 1);
	sess_free(&s);
	start_with(&s, VU_PROTOCOL_RESET_DEVICE, false);
	sess_do(&s, (vhost_announce(s.v, mac), 0));
	CU_EQ(backend_count(s.b, VU_SEND_RARP), 0);
	sess_free(&s);
}

CU_MAIN("wire/vhost_keep",
	{ "B-IF-01, B-MSG-27 a record is made before rings start",
	  a_record_is_made_before_rings_start },
	{ "B-IF-03,05,06, B-RC-02 the record is handed to the next back-end as it is",
	  the_record_is_handed_to_the_next_backend_as_it_is },
	{ "B-IF-04 a reset asks for a new record", a_reset_asks_for_a_new_record },
	{ "B-IF-02 a record that cannot be right ends the session",
	  a_record_that_cannot_be_right_ends_the_session },
	{ "B-DS-06, B-IF-02 odd descriptors for a record do no harm",
	  odd_descriptors_for_a_record_do_no_harm },
	{ "B-IF-05, B-RC-05 with a record a packed ring is not written to",
	  with_a_record_a_packed_ring_is_not_written_to },
	{ "B-LG-01..04, B-ST-18, B-MSG-06 a log is told with the bits that use it",
	  a_log_is_told_with_the_bits_that_use_it },
	{ "B-LG-02 marks are harvested once", marks_are_harvested_once },
	{ "B-LG-05 the log cannot be pulled away", the_log_cannot_be_pulled_away },
	{ "B-LG-05, B-RC-02 a new back-end has a log of its own and no mark is lost",
	  a_new_backend_has_a_log_of_its_own_and_no_mark_is_lost },
	{ "B-LG-07 more memory has a longer log first", more_memory_has_a_longer_log_first },
	{ "B-LG-01 who cannot log is not asked to", who_cannot_log_is_not_asked_to },
	{ "B-LG-03 a back-end that wrote unlogged makes all pages count",
	  a_backend_that_wrote_unlogged_makes_all_pages_count },
	{ "what the device writes itself is logged", what_the_device_writes_itself_is_logged },
	{ "what the device mends is logged", what_the_device_mends_is_logged },
	{ "B-LG-03, B-RA-03 a refused log is no log", a_refused_log_is_no_log },
	{ "B-RD-01, B-MSG-29 a reset is told after the rings stopped",
	  a_reset_is_told_after_the_rings_stopped },
	{ "B-RD-02 after a reset all is told anew but no owner",
	  after_a_reset_all_is_told_anew_but_no_owner },
	{ "B-RD-01, B-RA-03 a refused reset ends the session", a_refused_reset_ends_the_session },
	{ "B-RR-01, B-MSG-18 a station is announced where that is offered",
	  a_station_is_announced_where_that_is_offered })
