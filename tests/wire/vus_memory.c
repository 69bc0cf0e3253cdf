// SPDX-License-Identifier: Apache-2.0
// vus_memory.c - memory a front-end lends to the server: tables, slots, logs, and files it cuts.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>

#include "tests/wire/vus_rig.h"

static int ask_table(struct rig *g, const struct vu_region *r, unsigned n, int fd)
{
	struct vu_memory m = { .regions = n };
	int fds[VU_REGIONS_MAX];

	for (unsigned i = 0; i < n; i++) {
		m.region[i] = r[i];
		fds[i] = fd;
	}
	return rig_ask(g, VU_SET_MEM_TABLE, &m, VU_MEMORY_SIZE(n), fds, n);
}

static int ask_slot(struct rig *g, uint32_t request, const struct vu_region *r, int fd)
{
	struct vu_single_region s = { 0, *r };

	return rig_ask(g, request, &s, sizeof(s), &fd, fd >= 0);
}

static unsigned maps_of(const char *what)
{
	char line[512];
	unsigned n = 0;
	FILE *f = fopen("/proc/self/maps", "r");

	while (fgets(line, sizeof(line), f))
		n += strstr(line, what) != NULL;
	fclose(f);
	return n;
}

static void a_region_that_cannot_be_is_refused(void)
{
	const uint64_t page = 4096, max = UINT64_MAX;
	const struct vu_region bad[] = {
		{ DRV_GPA, 0, DRV_UVA, 0 },
		{ max - page + 1, 2 * page, DRV_UVA, 0 },
		{ DRV_GPA, 2 * page, max - page + 1, 0 },
		{ DRV_GPA, 2 * page, DRV_UVA, max - page + 1 },
		{ DRV_GPA, max, DRV_UVA, 0 },
		{ DRV_GPA, RIG_MEM, DRV_UVA, page },
		{ DRV_GPA, RIG_MEM + 1, DRV_UVA, 0 },
		{ DRV_GPA, 1, DRV_UVA, RIG_MEM },
		{ DRV_GPA, 1ull << 46, DRV_UVA, 0 },
		{ DRV_GPA, page, DRV_UVA, 1ull << 63 },
	};
	struct rig *g = rig_new();
	unsigned maps;

	rig_negotiate(g, RIG_FEATURES);
	maps = maps_of("drv");
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CU_EQ(ask_table(g, &bad[i], 1, g->peer.mem.fd), 1);
		CU_EQ(ask_slot(g, VU_ADD_MEM_REG, &bad[i], g->peer.mem.fd), 1);
		CU_EQ(maps_of("drv"), maps);
	}
	/* the last byte, at an odd place */
	CU_EQ(ask_table(g, &(struct vu_region){ DRV_GPA, 1, DRV_UVA, RIG_MEM - 1 }, 1,
			g->peer.mem.fd), 0);
	rig_free(g);
}

static void a_table_is_taken_whole_or_not_at_all(void)
{
	struct vu_region r[VU_REGIONS_MAX];
	struct vu_memory m = { .regions = 1 };
	struct rig *g = rig_new();
	struct vus_info info;
	unsigned before;
	int fds[8];

	for (unsigned i = 0; i < VU_REGIONS_MAX; i++) {
		r[i] = (struct vu_region){ DRV_GPA + i * 0x10000, 0x10000, DRV_UVA + i * 0x10000,
					   i * 0x10000 };
		fds[i] = g->peer.mem.fd;
	}
	rig_negotiate(g, RIG_FEATURES);
	before = fds_open();
	CU_EQ(ask_table(g, r, 1, g->peer.mem.fd), 0);
	CU_EQ(ask_table(g, r, 8, g->peer.mem.fd), 0);
	CU_EQ(ask_table(g, r, 3, g->peer.mem.fd), 0);
	r[2].size = 0;
	CU_EQ(ask_table(g, r, 8, g->peer.mem.fd), 1);
	CU_ASSERT(vus_info(g->port, &info));
	CU_EQ(info.regions, 3);
	CU_EQ(info.memory_bytes, 0x30000);
	CU_EQ(fds_open(), before);
	/* the count, the size and the descriptors must agree */
	for (unsigned i = 0; i < 6; i++) {
		static const uint32_t counts[] = { 0, 2, 9, 8, 255, UINT32_MAX };

		m.regions = counts[i];
		CU_EQ(rig_ask(g, VU_SET_MEM_TABLE, &m, VU_MEMORY_SIZE(1), fds, 1), 1);
	}
	m.regions = 1;
	CU_EQ(rig_ask(g, VU_SET_MEM_TABLE, &m, VU_MEMORY_SIZE(1), fds, 2), 1);
	CU_EQ(rig_ask(g, VU_SET_MEM_TABLE, &m, VU_MEMORY_SIZE(1), NULL, 0), 1);
	CU_EQ(fds_open(), before);
	CU_EQ(maps_of("drv"), 3u + 1);
	rig_free(g);
}

static void regions_that_overlap_are_refused(void)
{
	const uint64_t s = 0x10000;
	const struct vu_region with[] = {	/* beside { GPA, 2s, UVA, 0 } */
		{ DRV_GPA + s, s, DRV_UVA + 4 * s, 0 },
		{ DRV_GPA + 4 * s, s, DRV_UVA + s, 0 },
		{ DRV_GPA + 2 * s - 1, s, DRV_UVA + 4 * s, 0 },
		{ DRV_GPA - s + 1, s, DRV_UVA + 4 * s, 0 },
		{ DRV_GPA, 2 * s, DRV_UVA, 0 },
	};
	struct rig *g = rig_new();

	rig_negotiate(g, RIG_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(with); i++) {
		struct vu_region r[2] = { { DRV_GPA, 2 * s, DRV_UVA, 0 }, with[i] };

		CU_EQ(ask_table(g, r, 2, g->peer.mem.fd), 1);
		CU_EQ(ask_table(g, r, 1, g->peer.mem.fd), 0);
		CU_EQ(ask_slot(g, VU_ADD_MEM_REG, &with[i], g->peer.mem.fd), 1);
	}
	CU_EQ(ask_slot(g, VU_ADD_MEM_REG, &(struct vu_region){ DRV_GPA + 2 * s, s,
		       DRV_UVA + 2 * s, 0 }, g->peer.mem.fd), 0);
	rig_free(g);
}

static void slots_are_added_and_removed_one_by_one(void)
{
	struct rig *g = rig_new();
	uint64_t slots;

	rig_negotiate(g, RIG_FEATURES);
	slots = rig_get(g, VU_GET_MAX_MEM_SLOTS);
	CU_ASSERT(slots >= 64);
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t i = 0; i <= slots; i++) {
			struct vu_region r = { DRV_GPA + i * 4096, 4096, DRV_UVA + i * 4096,
					       i * 4096 };

			CU_EQ(ask_slot(g, VU_ADD_MEM_REG, &r, g->peer.mem.fd), i == slots);
		}
		CU_EQ(maps_of("drv"), 1 + slots);
		for (uint64_t i = 0; i <= slots; i++) {
			struct vu_region r = { DRV_GPA + i * 4096, 4096, DRV_UVA + i * 4096, 0 };
			struct vu_region wrong = r;

			wrong.user_addr++;
			CU_EQ(ask_slot(g, VU_REM_MEM_REG, &wrong, -1), 1);
			/* front-ends may send the descriptor along */
			CU_EQ(ask_slot(g, VU_REM_MEM_REG, &r, i % 2 ? g->peer.mem.fd : -1),
			      i == slots);
		}
		CU_EQ(maps_of("drv"), 1);
	}
	rig_free(g);
}

static void memory_that_rings_are_made_of_stays(void)
{
	struct rig *g = rig_new();
	struct vu_region r = { DRV_GPA, RIG_MEM, DRV_UVA, 0 };

	rig_start(g, RIG_FEATURES);
	CU_EQ(ask_slot(g, VU_REM_MEM_REG, &r, -1), 1);
	CU_ASSERT(rig_echo(g));
	peer_send_state(&g->peer, VU_GET_VRING_BASE, 0, 0);
	peer_send_state(&g->peer, VU_GET_VRING_BASE, 1, 0);
	CU_ASSERT(rig_alive(g));
	CU_EQ(ask_slot(g, VU_REM_MEM_REG, &r, -1), 0);
	rig_free(g);
}

/* C-MM-10: also to another place in this process, and away from under the rings. */
static void the_table_may_be_replaced_while_rings_run(void)
{
	struct vu_region r = { DRV_GPA, RIG_MEM, DRV_UVA, 0 };
	struct vu_region half = { DRV_GPA + RIG_MEM / 2, RIG_MEM / 2, DRV_UVA + RIG_MEM / 2,
				  RIG_MEM / 2 };

	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = rig_new();

		rig_start(g, RIG_FEATURES | (packed ? BIT(VIRTIO_F_RING_PACKED) : 0));
		for (unsigned long i = 0; i < cu_rounds(1000); i++) {
			CU_EQ(ask_table(g, &r, 1, g->peer.mem.fd), 0);
			CU_ASSERT(rig_echo(g));
		}
		CU_EQ(ask_table(g, &half, 1, g->peer.mem.fd), 0);
		CU_EQ(g->port->up, false);
		CU_ASSERT(rig_alive(g));
		CU_EQ(ask_table(g, &r, 1, g->peer.mem.fd), 0);
		rig_free(g);
	}
}

static void files_that_may_not_be_written_are_refused(void)
{
	struct vu_region r = { DRV_GPA, 4096, DRV_UVA, 0 };
	struct rig *g = rig_new();
	int fd = memfd_create("sealed", MFD_ALLOW_SEALING), ro;
	char path[64];

	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(ftruncate(fd, 4096), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY);
	CU_EQ(ask_table(g, &r, 1, ro), 1);
	CU_EQ(ask_table(g, &r, 1, fd), 0);
	CU_EQ(ask_table(g, NULL, 0, -1), 0);
	CU_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CU_EQ(ask_table(g, &r, 1, fd), 1);
	close(ro);
	close(fd);
	rig_free(g);
}

/* C-MM-07: by policy */
static void a_port_may_insist_on_files_that_cannot_shrink(void)
{
	struct rig *g = rig_new_with((struct vus_config){ .sealed = true });
	struct vu_region r = { DRV_GPA, 4096, DRV_UVA, 0 };

	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	rig_run(g);
	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(ask_table(g, &r, 1, g->peer.mem.fd), 1);
	CU_EQ(fcntl(g->peer.mem.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	CU_EQ(ask_table(g, &r, 1, g->peer.mem.fd), 0);
	rig_free(g);
}

static void memory_per_peer_is_bounded(void)
{
	struct rig *g = rig_new_with((struct vus_config){ .memory_max = 3 << 16 });
	struct vu_region r[2] = { { DRV_GPA, 2 << 16, DRV_UVA, 0 },
				  { DRV_GPA + (2 << 16), 2 << 16, DRV_UVA + (2 << 16), 0 } };

	CU_EQ_FATAL(peer_connect(&g->peer, g->path), 0);
	rig_run(g);
	rig_negotiate(g, RIG_FEATURES);
	CU_EQ(ask_table(g, r, 2, g->peer.mem.fd), 1);
	r[1].size = 1 << 16;
	CU_EQ(ask_table(g, r, 2, g->peer.mem.fd), 0);
	rig_free(g);
}

static void quiet_cut(struct rig *bad)
{
	for (unsigned i = 0; i < 4; i++)
		rig_run(bad);
}

/* C-MM-06: under the descriptors, under the buffers, whole or from the middle. */
static void a_file_cut_short_costs_its_owner_only(void)
{
	static const uint64_t left[] = { 0, 4096, 8192, 16384 };

	for (unsigned i = 0; i < 2 * ARRAY_SIZE(left); i++) {
		uint64_t packed = i % 2 ? BIT(VIRTIO_F_RING_PACKED) : 0;
		struct rig *bad = rig_new(), *good = rig_new();
		struct frame *list[1];

		rig_start(bad, RIG_FEATURES | packed);
		rig_start(good, RIG_FEATURES | packed);
		CU_ASSERT(rig_echo(bad) && rig_echo(good));
		drv_add(bad->peer.ring[1], &(struct drv_buf){ DRV_GPA + RIG_MEM - 4096, 100,
							      false }, 1);
		drv_add(bad->peer.ring[0], &(struct drv_buf){ DRV_GPA + RIG_MEM - 4096, 200,
							      true }, 1);
		CU_EQ(ftruncate(bad->peer.mem.fd, (off_t)left[i / 2]), 0);
		/* a good frame meets the torn memory, and a torn one the good */
		bad->port->ops->take(bad->port, 0, bad->b, 64);
		for (unsigned k = 0; k < bad->b->n; k++) {
			list[0] = &bad->b->frame[k];
			good->port->ops->give(good->port, 0, list, 1);
		}
		bad->port->ops->release(bad->port, 0, bad->b);
		frame_of(&good->b->frame[0], bad->path, 64);
		list[0] = &good->b->frame[0];
		bad->port->ops->give(bad->port, 0, list, 1);
		bad->port->ops->notify(bad->port);
		bad->port->ops->arm(bad->port, true);
		quiet_cut(bad);
		CU_EQ(rig_count(bad, PORT_FAULTS), 1);
		CU_EQ(rig_count(bad, PORT_SESSIONS_CUT), 1);
		CU_EQ(bad->port->up, false);
		CU_ASSERT(rig_echo(good));
		/* and the port serves the next one */
		peer_free(&bad->peer);
		CU_EQ(peer_new(&bad->peer, RIG_MEM), 0);
		bad->now_ms += 1000;
		CU_EQ(peer_connect(&bad->peer, bad->path), 0);
		rig_run(bad);
		rig_start(bad, RIG_FEATURES | packed);
		CU_ASSERT(rig_echo(bad));
		rig_free(bad);
		rig_free(good);
	}
}

/* C-MM-06: a hole is no end: it reads as zeros and costs nothing. */
static void a_hole_punched_into_memory_hurts_nobody(void)
{
	struct rig *g = rig_new();

	rig_start(g, RIG_FEATURES);
	CU_EQ(fallocate(g->peer.mem.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, RIG_MEM), 0);
	g->port->ops->take(g->port, 0, g->b, 64);
	g->port->ops->release(g->port, 0, g->b);
	rig_run(g);
	CU_EQ(rig_count(g, PORT_FAULTS), 0);
	rig_free(g);
}

/* C-MM-09: pieces of a buffer in two files, and one byte too many. */
static void buffers_cross_from_region_to_region(void)
{
	const uint64_t half = RIG_MEM / 2;
	struct vu_region r[2] = { { DRV_GPA, half, DRV_UVA, 0 },
				  { DRV_GPA + half, half, DRV_UVA + half, half } };
	struct rig *g = rig_new();
	struct frame *list[1] = { &g->b->frame[0] };
	uint16_t id;
	uint32_t len;

	rig_start(g, RIG_FEATURES);
	CU_EQ(ask_table(g, r, 2, g->peer.mem.fd), 0);
	for (uint64_t over = 0; over <= 300; over++) {
		uint64_t tx = half - over, rx = RIG_MEM / 4;

		memset(g->peer.mem.host + tx, 0, 12);
		for (unsigned i = 0; i < 250; i++)
			g->peer.mem.host[tx + 12 + i] = (uint8_t)(i * 3 + over);
		drv_add(g->peer.ring[1], &(struct drv_buf){ drv_gpa(tx), 262, false }, 1);
		drv_add(g->peer.ring[0], &(struct drv_buf){ drv_gpa(rx), 300, true }, 1);
		CU_EQ(g->port->ops->take(g->port, 0, g->b, 64), 1);
		CU_EQ(g->port->ops->give(g->port, 0, list, 1), 1);
		g->port->ops->release(g->port, 0, g->b);
		CU_ASSERT(drv_used(g->peer.ring[0], &id, &len));
		CU_EQ(len, 262);
		CU_EQ(memcmp(g->peer.mem.host + tx + 12, g->peer.mem.host + rx + 12, 250), 0);
		/* and back over the border */
		drv_add(g->peer.ring[0], &(struct drv_buf){ drv_gpa(tx), 262, true }, 1);
		frame_of(list[0], g->peer.mem.host + rx + 12, 250);
		memset(g->peer.mem.host + tx, 0xcc, 262);
		CU_EQ(g->port->ops->give(g->port, 0, list, 1), 1);
		CU_EQ(memcmp(g->peer.mem.host + tx + 12, g->peer.mem.host + rx + 12, 250), 0);
		CU_ASSERT(drv_used(g->peer.ring[0], &id, &len));
		CU_ASSERT(drv_used(g->peer.ring[1], &id, &len));
	}
	rig_free(g);
}

/* ---- dirty log (C8) ------------------------------------------------------------------------ */

static int ask_log(struct rig *g, uint64_t size, uint64_t off, int fd)
{
	struct vu_log l = { size, off };
	union vu_payload p;
	struct vu_header h;

	if (peer_send(&g->peer, VU_SET_LOG_BASE, VU_VERSION, &l, sizeof(l), &fd, 1) < 0)
		return -1;
	rig_run(g);
	return peer_recv(&g->peer, &h, &p, NULL) == 1 && h.request == VU_SET_LOG_BASE ? 0 : -1;
}

static void a_log_must_lie_in_its_file(void)
{
	static const struct { uint64_t size, off; int rc; } logs[] = {
		{ 4096, 0, 0 }, { 4096, 4096, 0 }, { 8192, 0, 0 }, { 8193, 0, -1 }, { 0, 0, -1 },
		{ 8192, 4096, -1 }, { UINT64_MAX, 1, -1 }, { 4096, UINT64_MAX - 4095, -1 },
		{ 1ull << 40, 0, -1 }, { 100, 5, -1 },
	};
	struct rig *g = rig_new();
	int fd = memfd_create("log", 0);

	CU_EQ(ftruncate(fd, 8192), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(logs); i++) {
		rig_negotiate(g, RIG_FEATURES);
		CU_EQ(ask_log(g, logs[i].size, logs[i].off, fd), logs[i].rc);
		if (logs[i].rc)
			rig_reconnect(g);
	}
	close(fd);
	rig_free(g);
}

static unsigned logged(const uint8_t *log, uint64_t gpa)
{
	return log[gpa >> 15] >> (gpa >> 12 & 7) & 1;
}

/* What we wrote is marked, before and after the log moved; C-LG-02, C-LG-05, C-LG-06. */
static void every_page_written_is_marked(void)
{
	const uint64_t size = (DRV_GPA + RIG_MEM) >> 15, rx = 0x200ff0;
	static uint8_t bytes[1000];

	for (unsigned packed = 0; packed < 2; packed++) {
		struct rig *g = rig_new();
		int fd = memfd_create("log", 0);
		struct frame *list[1] = { &g->b->frame[0] };
		struct vu_addr a = { 0 };
		uint8_t *log;

		CU_EQ(ftruncate(fd, (off_t)size), 0);
		log = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		rig_start(g, RIG_FEATURES | (packed ? BIT(VIRTIO_F_RING_PACKED) : 0));
		/* C-LG-06: wanted, but no log is there */
		peer_send_u64(&g->peer, VU_SET_FEATURES, g->peer.features | BIT(VU_F_LOG_ALL));
		CU_ASSERT(rig_alive(g));
		CU_ASSERT(rig_echo(g));
		CU_EQ(ask_log(g, size, 0, fd), 0);
		a.flags = 1;
		a.desc = drv_uva(g->peer.ring[0]->desc_off);
		a.avail = drv_uva(g->peer.ring[0]->avail_off);
		a.used = drv_uva(g->peer.ring[0]->used_off);
		a.log = DRV_GPA + 0x300000;
		CU_EQ(rig_ask(g, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
		drv_add(g->peer.ring[0], &(struct drv_buf){ drv_gpa(rx), 1500, true }, 1);
		frame_of(list[0], bytes, sizeof(bytes));
		CU_EQ(g->port->ops->give(g->port, 0, list, 1), 1);
		CU_EQ(logged(log, drv_gpa(rx)), 1);
		CU_EQ(logged(log, drv_gpa(rx + 0x1000)), 1);
		CU_EQ(logged(log, drv_gpa(rx - 0x1000)), 0);
		CU_EQ(logged(log, drv_gpa(rx + 0x2000)), 0);
		CU_EQ(logged(log, DRV_GPA + 0x300000), 1);
		/* C-LG-02: marks outside a small log are nobody's */
		CU_EQ(ask_log(g, 4096, 0, fd), 0);
		a.log = UINT64_MAX - 2;
		CU_EQ(rig_ask(g, VU_SET_VRING_ADDR, &a, sizeof(a), NULL, 0), 0);
		drv_add(g->peer.ring[0], &(struct drv_buf){ drv_gpa(rx), 1500, true }, 1);
		CU_EQ(g->port->ops->give(g->port, 0, list, 1), 1);
		/* C-LG-04 */
		CU_EQ(ask_log(g, size, 0, fd), 0);
		CU_EQ(ftruncate(fd, 0), 0);
		drv_add(g->peer.ring[0], &(struct drv_buf){ drv_gpa(rx), 1500, true }, 1);
		g->port->ops->give(g->port, 0, list, 1);
		rig_run(g);
		CU_EQ(rig_count(g, PORT_FAULTS), 1);
		munmap(log, size);
		close(fd);
		rig_free(g);
	}
}

/* ---- in-flight area (C8) ------------------------------------------------------------------- */

static void an_inflight_area_is_bounded_sealed_and_given_once(void)
{
	static const struct { uint16_t queues, size; bool good; } rows[] = {
		{ 1, 64, true }, { 4, 32768, true }, { 0, 64, false }, { 5, 64, false },
		{ 128, 64, false }, { 65535, 32768, false }, { 1, 0, false }, { 1, 32769, false },
	};
	struct rig *g = rig_new();
	unsigned before;

	rig_negotiate(g, RIG_FEATURES);
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		struct vu_inflight in = { 0, 0, rows[i].queues, rows[i].size };
		union vu_payload p;
		struct vu_header h;
		int fd = -1, rc;

		CU_EQ(peer_send(&g->peer, VU_GET_INFLIGHT_FD, VU_VERSION, &in, 20, NULL, 0), 0);
		rig_run(g);
		rc = peer_recv(&g->peer, &h, &p, &fd);
		CU_EQ(rc == 1 && fd >= 0, rows[i].good);
		if (!rows[i].good) {
			rig_reconnect(g);
			rig_negotiate(g, RIG_FEATURES);
			continue;
		}
		CU_ASSERT(fcntl(fd, F_GET_SEALS) & F_SEAL_SHRINK);
		CU_ASSERT(ftruncate(fd, 0) < 0);
		in.size = p.inflight.size;
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 0);
		in.size++;
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 1);
		in.size = 64;
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 1);
		in.size = p.inflight.size;
		in.offset = UINT64_MAX - 10;
		CU_EQ(rig_ask(g, VU_SET_INFLIGHT_FD, &in, 20, &fd, 1), 1);
		close(fd);
	}
	before = fds_open();
	for (unsigned i = 0; i < 1000; i++) {
		struct vu_inflight in = { 0, 0, 4, 256 };

		CU_EQ(peer_send(&g->peer, VU_GET_INFLIGHT_FD, VU_VERSION, &in, 20, NULL, 0), 0);
		CU_ASSERT(rig_alive(g));
	}
	CU_EQ(fds_open(), before);
	rig_free(g);
}

CU_MAIN("wire/vus_memory",
	TC("C-MM-02, C-MM-03, C-MM-05", a_region_that_cannot_be_is_refused),
	TC("C-MM-01, C-MM-11, C-MM-13", a_table_is_taken_whole_or_not_at_all),
	TC("C-MM-04", regions_that_overlap_are_refused),
	TC("C-MM-12", slots_are_added_and_removed_one_by_one),
	TC("C-MM-12", memory_that_rings_are_made_of_stays),
	TC("C-MM-10", the_table_may_be_replaced_while_rings_run),
	TC("C-MM-07, C-MM-17", files_that_may_not_be_written_are_refused),
	TC("C-MM-07", a_port_may_insist_on_files_that_cannot_shrink),
	TC("C-MM-14, C-PR-02", memory_per_peer_is_bounded),
	TC("C-MM-06", a_file_cut_short_costs_its_owner_only),
	TC("C-MM-06", a_hole_punched_into_memory_hurts_nobody),
	TC("C-MM-09", buffers_cross_from_region_to_region),
	TC("C-LG-01", a_log_must_lie_in_its_file),
	TC("C-LG-02, C-LG-04, C-LG-05, C-LG-06", every_page_written_is_marked),
	TC("C-IF-01, C-IF-03, C-IF-04", an_inflight_area_is_bounded_sealed_and_given_once))
