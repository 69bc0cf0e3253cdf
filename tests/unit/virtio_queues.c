// SPDX-License-Identifier: Apache-2.0
// virtio_queues.c - rings on their way to the back-end (checklist A3's hard rows, A7's A-VR, A14).
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define PACKED B(VIRTIO_F_RING_PACKED)
#define RING_RESET B(40)
#define RUNNING (RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK)

static struct rig r;

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
}

static void put_ring(unsigned q, uint64_t desc, uint64_t avail, uint64_t used)
{
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8, desc);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_AVAILLO, 8, avail);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_USEDLO, 8, used);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

static void rings_arrive_as_written(void)
{
	struct qdrv rx, tx;

	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1);
	rig_queue(&r, &rx, 0, 64, false);
	rig_queue(&r, &tx, 1, 128, false);
	rig_set_status(&r, RIG_DRIVER_OK);
	CU_EQ(r.vhost->rings, 2);
	CU_EQ(r.vhost->ring[0].num, 64);
	CU_EQ(r.vhost->ring[0].desc, rx.desc);
	CU_EQ(r.vhost->ring[0].avail, rx.avail);
	CU_EQ(r.vhost->ring[0].used, rx.used);
	CU_EQ(r.vhost->ring[1].num, 128);
	CU_EQ(r.vhost->ring[1].desc, tx.desc);
	CU_ASSERT(r.vhost->ring[0].kick_fd >= 0);
	CU_ASSERT(r.vhost->ring[0].kick_fd != r.vhost->ring[1].kick_fd);
	CU_ASSERT(r.vhost->ring[0].enabled && r.vhost->ring[1].enabled);
	CU_EQ(r.vhost->calls_unlocked, 0);
	rig_down(&r);
}

/* Each row is one wrong address; the other two are right. {a} is inside the lent memory. */
static void bad_addresses_start_nothing(void)
{
	const uint64_t m = RIG_IOVA, end = RIG_IOVA + RIG_MEM;
	const struct { uint64_t desc, avail, used; } bad[] = {
		{ m + 8, m + 0x2000, m + 0x3000 },	/* unaligned */
		{ m, m + 0x2001, m + 0x3000 },
		{ m, m + 0x2000, m + 0x3002 },
		{ 0, m + 0x2000, m + 0x3000 },		/* outside */
		{ m - 16, m + 0x2000, m + 0x3000 },
		{ m, 0, m + 0x3000 },
		{ m, m + 0x2000, 0 },
		{ end, m + 0x2000, m + 0x3000 },
		{ end - 16 * 255, m + 0x2000, m + 0x3000 },	/* the last entry sticks out */
		{ m, end - (6 + 2 * 256) + 2, m + 0x3000 },
		{ m, m + 0x2000, end - (6 + 8 * 256) + 2 },
		{ UINT64_MAX - 15, m + 0x2000, m + 0x3000 },	/* wrapping */
		{ m, UINT64_MAX - 1, m + 0x3000 },
		{ m, m + 0x2000, UINT64_MAX - 3 },
		{ m, m, m + 0x3000 },			/* overlapping */
		{ m, m + 0x1000 - 2, m + 0x3000 },
		{ m, m + 0x2000, m + 0x2000 },
		{ m + 0x3000, m + 0x2000, m + 0x3800 },
		{ m, m + 0x2000, m },
	};

	up(&(struct rig_opts){ 0 });
	rig_alloc(&r, 0x8000, 4096);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		for (unsigned packed = 0; packed < 2; packed++) {
			struct qdrv d;

			/* A packed ring's areas are shorter: only the common rows. */
			if (packed && i > 7)
				continue;
			rig_negotiate(&r, V1 | (packed ? PACKED : 0));
			rig_queue(&r, &d, 0, 64, packed);
			put_ring(1, bad[i].desc, bad[i].avail, bad[i].used);
			rig_set_status(&r, RIG_DRIVER_OK);
			CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
			CU_EQ(rig_notify(&r, 0), 0);
			r.used = 0x8000;
		}
	}
	CU_EQ(fake_count(r.vhost, "start", -1), 0);
	CU_EQ(rig_stat(&r, "notifies"), 0);
	CU_EQ(rig_stat(&r, "bad_rings"), ARRAY_SIZE(bad) + 8);
	CU_EQ(rig_run(&r, V1, NULL), RUNNING);
	rig_down(&r);
}

static void a_ring_may_end_where_the_memory_ends(void)
{
	const uint64_t m = RIG_IOVA, end = RIG_IOVA + RIG_MEM;

	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1);
	put_ring(0, end - 16 * 256, m, m + 0x1000);
	put_ring(1, m + 0x2000, m + 0x3000, m + 0x4000);
	rig_set_status(&r, RIG_DRIVER_OK);
	CU_EQ(rig_status(&r), RUNNING);
	rig_down(&r);
}

static void enabled_queues_are_frozen(void)
{
	static const uint32_t sizes[] = { 0, 1, 64, 0x8000, 0xffff };
	struct qdrv d;

	up(&(struct rig_opts){ .pairs = 2 });
	rig_negotiate(&r, V1);
	rig_queue(&r, &d, 0, 128, false);
	for (unsigned pass = 0; pass < 2; pass++) {
		cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, pass);
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
			cc_set(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2, sizes[i]);
		cc_set(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0x1000);
		cc_set(&r, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, 0x2000);
		cc_set(&r, VIRTIO_PCI_COMMON_Q_USEDHI, 4, 0x3000);
		cc_set(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, pass);
		if (pass) {	/* queue 1: not enabled in time */
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		} else {
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), 128);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8), d.desc);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_AVAILLO, 8), d.avail);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_USEDLO, 8), d.used);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
			rig_set_status(&r, RIG_DRIVER_OK);
		}
	}
	CU_EQ(r.vhost->ring[0].desc, d.desc);
	CU_EQ(fake_count(r.vhost, "ring_start", -1), 0);
	rig_down(&r);
}

static void only_one_enables(void)
{
	static const uint32_t vals[] = { 0, 2, 3, 0x8000, 0xffff };

	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1);
	for (unsigned i = 0; i < ARRAY_SIZE(vals); i++) {
		cc_set(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, vals[i]);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	}
	rig_down(&r);
}

/* As the PMD does it: again and again, DRIVER_OK without buffers, 0 to queue_enable at last. */
static void a_port_is_started_and_stopped_many_times(void)
{
	unsigned fds;

	up(&(struct rig_opts){ .pairs = 2 });
	rig_run(&r, V1 | MQ | CTRL, NULL);
	fds = fds_open();
	for (unsigned i = 0; i < 1000; i++) {
		struct qdrv ctrl;

		r.used = 0;
		CU_EQ(rig_run(&r, V1 | MQ | CTRL, &ctrl), RUNNING);
		rig_set_status(&r, 0);
		for (unsigned q = 0; q < 5; q++) {
			cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
			cc_set(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0);
			cc_set(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0);
		}
	}
	CU_EQ(fds_open(), fds);
	CU_EQ(rig_stat(&r, "needs_resets"), 0);
	rig_down(&r);
}

static void only_the_first_pair_is_on_after_a_start(void)
{
	struct qdrv ctrl;

	up(&(struct rig_opts){ .pairs = 4 });
	CU_EQ(rig_run(&r, V1 | MQ | CTRL, &ctrl), RUNNING);
	CU_EQ(r.vhost->rings, 8);
	for (unsigned q = 0; q < 8; q++) {
		CU_EQ(r.vhost->ring[q].num, 256);
		CU_EQ(r.vhost->ring[q].enabled, q < 2);
	}
	rig_down(&r);
	/* Without MQ queue 2 is the control queue, and nobody's ring. */
	up(&(struct rig_opts){ .pairs = 4 });
	CU_EQ(rig_run(&r, V1 | CTRL, &ctrl), RUNNING);
	CU_EQ(r.vhost->rings, 2);
	rig_down(&r);
}

static void queues_the_driver_left_out_stay_out(void)
{
	struct qdrv tx;

	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1);
	rig_queue(&r, &tx, 1, 0, false);
	rig_set_status(&r, RIG_DRIVER_OK);
	CU_EQ(rig_status(&r), RUNNING);
	CU_EQ(r.vhost->ring[0].num, 0);
	CU_EQ(r.vhost->ring[1].num, 256);
	rig_down(&r);
}

static void memory_taken_from_a_running_ring_stops_it(void)
{
	uint64_t gone;

	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	fake_forget(r.vhost);
	CU_EQ(ioapi_dma_unmap(r.domain, RIG_IOVA, RIG_MEM, &gone), 0);
	CU_EQ(gone, RIG_MEM);
	CU_EQ(fake_count(r.vhost, "stop", -1), 1);
	CU_ASSERT(fake_last(r.vhost, "stop", -1) < fake_last(r.vhost, "memory_changed", -1));
	CU_EQ(rig_status(&r) & RIG_NEEDS_RESET, RIG_NEEDS_RESET);
	rig_notify(&r, 0);
	CU_EQ(rig_stat(&r, "notifies"), 0);
	rig_down(&r);
}

static void more_memory_does_not_disturb_the_rings(void)
{
	struct ioapi_dma more = { .iova = 0x8000000000, .size = 4096 };

	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	fake_forget(r.vhost);
	more.va = r.mem;
	more.fd = r.memfd;
	CU_EQ(ioapi_dma_map(r.domain, &more, 1), 0);
	CU_EQ(fake_count(r.vhost, "memory_changed", -1), 1);
	CU_EQ(fake_count(r.vhost, "stop", -1), 0);
	CU_EQ(rig_status(&r), RUNNING);
	rig_down(&r);
}

static void close_stops_rings_before_the_session_and_the_memory(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	fake_forget(r.vhost);
	ioapi_close(r.f);
	CU_ASSERT(fake_last(r.vhost, "stop", -1) < fake_last(r.vhost, "close", -1));
	CU_EQ(fake_count(r.vhost, "set_space", -1), 0);
	CU_EQ(ioapi_attach(r.f, r.domain), 0);
	r.vhost->fail_name = "open";
	r.vhost->fail_rc = -EMFILE;
	CU_EQ(ioapi_open(r.f, NULL), -EMFILE);
	r.vhost->space = NULL;			/* as a session that ended */
	r.vhost->fail_name = NULL;
	CU_EQ(ioapi_open(r.f, NULL), 0);
	CU_ASSERT_PTR_NOT_NULL(r.vhost->space);
	CU_EQ(rig_write(&r, IOAPI_CONFIG, 4, 2, 6), 0);
	CU_EQ(rig_run(&r, V1, NULL), RUNNING);
	rig_down(&r);
}

static void function_reset_is_a_reset(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	CU_EQ(ioapi_reset(r.f), 0);
	CU_EQ(rig_status(&r), 0);
	CU_ASSERT(!r.vhost->started);
	CU_EQ(rig_run(&r, V1, NULL), RUNNING);
	rig_down(&r);
}

/* ---- queue reset --------------------------------------------------------------------------- */

static void a_queue_is_reset_and_set_up_anew(void)
{
	struct qdrv d;

	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1 | RING_RESET, NULL);
	fake_forget(r.vhost);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	CU_EQ(fake_count(r.vhost, "ring_stop", 1), 1);
	CU_EQ(fake_count(r.vhost, "ring_stop", -1), 1);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
	rig_notify(&r, 1);
	CU_EQ(rig_stat(&r, "notifies"), 0);
	rig_queue(&r, &d, 1, 128, false);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	CU_EQ(fake_count(r.vhost, "ring_start", 1), 1);
	CU_EQ(r.vhost->ring[1].num, 128);
	CU_EQ(r.vhost->ring[1].desc, d.desc);
	CU_ASSERT(r.vhost->ring[1].enabled);
	rig_notify(&r, 1);
	CU_EQ(rig_fired(r.vhost->ring[1].kick_fd), 1);
	rig_down(&r);
}

static void a_bad_ring_after_a_queue_reset_is_not_started(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1 | RING_RESET, NULL);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	put_ring(1, 0x1000, 0x2000, 0x3000);
	CU_EQ(fake_count(r.vhost, "ring_start", -1), 0);
	CU_EQ(rig_status(&r), RUNNING | RIG_NEEDS_RESET);
	rig_down(&r);
}

static void queue_reset_takes_the_feature(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_RESET, 2, 1);
	CU_EQ(fake_count(r.vhost, "ring_stop", -1), 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 1);
	rig_down(&r);
	up(&(struct rig_opts){ .no_backend = true });
	CU_EQ(rig_offered(&r) & RING_RESET, 0);
	rig_down(&r);
}

/* ---- birth and death ----------------------------------------------------------------------- */

static void nonsense_is_refused_at_birth(void)
{
	static const struct virtio_net_params bad[] = {
		{ .pairs = 0, .queue_size = 256, .modern = true },
		{ .pairs = 129, .queue_size = 256, .modern = true },
		{ .pairs = 1, .queue_size = 0, .modern = true },
		{ .pairs = 1, .queue_size = 255, .modern = true },
		{ .pairs = 1, .queue_size = 0xffff, .modern = true },
		{ .pairs = 1, .queue_size = 256 },
		{ .pairs = 1, .queue_size = 256, .modern = true, .mtu = 67 },
	};
	struct ioapi_bus *bus;

	CU_EQ_FATAL(pci_bus_new(&bus), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct virtio_net_params p = bad[i];

		p.id = "net0";
		CU_EQ(virtio_net_new(bus, &p, NULL), -EINVAL);
	}
	CU_ASSERT_PTR_NULL(ioapi_bus_func(bus, 0));
	ioapi_bus_close(bus);
}

CU_MAIN("virtio/queues",
	{ "rings arrive as written", rings_arrive_as_written },
	{ "A-CC-21 bad addresses start nothing", bad_addresses_start_nothing },
	{ "a ring may end where the memory ends", a_ring_may_end_where_the_memory_ends },
	{ "A-CC-18 enabled queues are frozen", enabled_queues_are_frozen },
	{ "A-CC-22,23 only 1 enables", only_one_enables },
	{ "A-CC-22 a port is started and stopped many times",
	  a_port_is_started_and_stopped_many_times },
	{ "A-CV-14 A-NC-17 only the first pair is on after a start",
	  only_the_first_pair_is_on_after_a_start },
	{ "queues the driver left out stay out", queues_the_driver_left_out_stay_out },
	{ "memory taken from a running ring stops it", memory_taken_from_a_running_ring_stops_it },
	{ "more memory does not disturb the rings", more_memory_does_not_disturb_the_rings },
	{ "A-ST-25 close stops rings, then the session, then the memory",
	  close_stops_rings_before_the_session_and_the_memory },
	{ "function reset is a reset", function_reset_is_a_reset },
	{ "A-CC-08..11 A-VR-01,02,03 a queue is reset and set up anew",
	  a_queue_is_reset_and_set_up_anew },
	{ "A-VR-03 a bad ring after a queue reset is not started",
	  a_bad_ring_after_a_queue_reset_is_not_started },
	{ "A-VR-04 queue reset takes the feature", queue_reset_takes_the_feature },
	{ "nonsense is refused at birth", nonsense_is_refused_at_birth })
