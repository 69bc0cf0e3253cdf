// SPDX-License-Identifier: Apache-2.0
// virtio_legacy.c - the legacy door, and two doors to one device (checklist A10; criterion 0.6).
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define CONFIG 20u
#define CONFIG_MSIX 24u

static struct rig r;

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
}

static void legacy_up(unsigned pairs)
{
	up(&(struct rig_opts){ .legacy = true, .pairs = pairs });
}

static void status(uint8_t bits)
{
	lg_set(&r, VIRTIO_PCI_STATUS, 1, bits);
}

/* As DPDK's driver does it. */
static void run(uint32_t features)
{
	struct qdrv d;

	status(0);
	status(RIG_ACK);
	status(RIG_ACK | RIG_DRIVER);
	lg_set(&r, VIRTIO_PCI_GUEST_FEATURES, 4, features);
	rig_queue_legacy(&r, &d, 0);
	rig_queue_legacy(&r, &d, 1);
	status(RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
}

static void registers_are_where_they_were(void)
{
	struct ioapi_region bar;

	legacy_up(2);
	ioapi_region(r.f, IOAPI_BAR0, &bar);
	CU_EQ(bar.size, 64);
	CU_ASSERT(bar.flags & IOAPI_F_PIO);
	CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_BASE_ADDRESS_0, 1) & 1, 1);
	CU_ASSERT(lg(&r, 0, 4) & B(VIRTIO_NET_F_MAC));
	CU_EQ(lg(&r, 4, 4), 0);
	CU_EQ(lg(&r, 8, 4), 0);
	CU_EQ(lg(&r, 12, 2), 256);
	lg_set(&r, 14, 2, 5);
	CU_EQ(lg(&r, 14, 2), 5);
	CU_EQ(lg(&r, 12, 2), 0);
	CU_EQ(lg(&r, 16, 2), 0);
	CU_EQ(lg(&r, 18, 1), 0);
	CU_EQ(lg(&r, 19, 1), 0);
	ioapi_region(r.f, IOAPI_BAR4, &bar);
	CU_EQ(bar.size, 0);
	rig_down(&r);
}

static void configuration_moves_with_msix(void)
{
	int fds[4];

	legacy_up(1);
	CU_EQ(lg(&r, CONFIG, 4), 0x12005452);
	for (unsigned i = 0; i < 3; i++) {
		CU_EQ(rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds), 0);
		CU_EQ(lg(&r, 20, 2), 0xffff);
		CU_EQ(lg(&r, 22, 2), 0xffff);
		CU_EQ(lg(&r, CONFIG_MSIX, 4), 0x12005452);
		lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 1);
		lg_set(&r, 22, 2, 2);
		CU_EQ(lg(&r, 22, 2), 2);
		lg_set(&r, 22, 2, 4);
		CU_EQ(lg(&r, 22, 2), 0xffff);
		CU_EQ(ioapi_irq_set(r.f, IOAPI_IRQ_MSIX, 0, 0, NULL), 0);
		CU_EQ(lg(&r, CONFIG, 4), 0x12005452);
		for (unsigned k = 0; k < 4; k++)
			close(fds[k]);
	}
	rig_down(&r);
}

static void configuration_takes_any_width(void)
{
	static const uint8_t mac[] = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 };

	legacy_up(3);
	for (unsigned i = 0; i < 6; i++)
		CU_EQ(lg(&r, CONFIG + i, 1), mac[i]);
	for (unsigned i = 0; i < 6; i += 2)
		CU_EQ(lg(&r, CONFIG + i, 2), mac[i] | mac[i + 1] << 8);
	CU_EQ(lg(&r, CONFIG + 4, 4), 0x00015634);	/* mac and status */
	CU_EQ(lg(&r, CONFIG, 8), 0x0001563412005452);
	CU_EQ(lg(&r, CONFIG + 6, 1), 1);
	CU_EQ(lg(&r, CONFIG + 7, 1), 0);
	CU_EQ(lg(&r, CONFIG + 8, 2), 3);
	CU_EQ(lg(&r, CONFIG + 20, 4), 0);
	rig_down(&r);
}

static void the_ring_follows_the_page_number(void)
{
	static const struct { uint16_t size; uint64_t avail, used; } rows[] = {
		{ 2, 0x20, 0x1000 }, { 64, 0x400, 0x1000 }, { 256, 0x1000, 0x2000 },
		{ 1024, 0x4000, 0x5000 }, { 32768, 0x80000, 0x91000 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		up(&(struct rig_opts){ .legacy = true, .queue_size = rows[i].size });
		run(0);
		CU_EQ(r.vhost->ring[0].num, rows[i].size);
		CU_EQ(r.vhost->ring[0].desc, RIG_IOVA);
		CU_EQ(r.vhost->ring[0].avail, RIG_IOVA + rows[i].avail);
		CU_EQ(r.vhost->ring[0].used, RIG_IOVA + rows[i].used);
		rig_down(&r);
	}
}

static void size_is_fixed(void)
{
	legacy_up(1);
	CU_EQ(lg_set(&r, VIRTIO_PCI_QUEUE_NUM, 2, 64), -EPERM);
	CU_EQ(lg(&r, VIRTIO_PCI_QUEUE_NUM, 2), 256);
	rig_down(&r);
}

static void zero_detaches_a_queue(void)
{
	legacy_up(1);
	run(0);
	CU_EQ(rig_status(&r), RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
	lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 1);
	CU_ASSERT(lg(&r, VIRTIO_PCI_QUEUE_PFN, 4) != 0);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, 0);
	CU_EQ(lg(&r, VIRTIO_PCI_QUEUE_PFN, 4), 0);
	CU_EQ(fake_count(r.vhost, "ring_stop", 1), 1);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, (RIG_IOVA + 0x100000) >> 12);
	CU_EQ(fake_count(r.vhost, "ring_start", 1), 1);
	CU_EQ(r.vhost->ring[1].desc, RIG_IOVA + 0x100000);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, (RIG_IOVA + 0x200000) >> 12);	/* and again */
	CU_EQ(fake_count(r.vhost, "ring_stop", 1), 2);
	CU_EQ(r.vhost->ring[1].desc, RIG_IOVA + 0x200000);
	rig_down(&r);
}

static void a_detached_queue_keeps_its_vector(void)
{
	int fds[4];

	legacy_up(1);
	CU_EQ(rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds), 0);
	run(0);
	lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 1);
	lg_set(&r, 22, 2, 2);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, 0);
	CU_EQ(lg(&r, 22, 2), 2);
	for (unsigned k = 0; k < 4; k++)
		close(fds[k]);
	rig_down(&r);
}

static void absent_queues_cause_no_harm(void)
{
	legacy_up(1);
	for (unsigned q = 3; q < 0x10000; q += 251) {
		lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, q);
		lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, 1);
		CU_EQ(lg(&r, VIRTIO_PCI_QUEUE_PFN, 4), 0);
		lg_set(&r, VIRTIO_PCI_QUEUE_NOTIFY, 2, q);
	}
	CU_EQ(fake_count(r.vhost, "start", -1), 0);
	rig_down(&r);
}

static void high_features_are_not_seen(void)
{
	legacy_up(1);
	run(UINT32_MAX);
	CU_EQ(r.vhost->acked >> 32, 0);
	CU_EQ(r.vhost->acked & B(30), 0);
	CU_EQ(lg(&r, VIRTIO_PCI_GUEST_FEATURES, 4), lg(&r, VIRTIO_PCI_HOST_FEATURES, 4));
	rig_down(&r);
}

static void used_before_driver_ok(void)
{
	struct qdrv d;

	legacy_up(1);
	rig_queue_legacy(&r, &d, 0);		/* no status, no features */
	lg_set(&r, VIRTIO_PCI_QUEUE_NOTIFY, 2, 1);
	CU_EQ(fake_count(r.vhost, "start", -1), 0);
	lg_set(&r, VIRTIO_PCI_QUEUE_NOTIFY, 2, 0);
	CU_EQ(fake_count(r.vhost, "start", -1), 1);
	CU_EQ(rig_fired(r.vhost->ring[0].kick_fd), 1);
	rig_queue_legacy(&r, &d, 1);		/* later than the start */
	CU_EQ(fake_count(r.vhost, "ring_start", 1), 1);
	status(RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
	CU_EQ(fake_count(r.vhost, "start", -1), 1);
	CU_EQ(lg(&r, VIRTIO_PCI_STATUS, 1), RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
	status(0);
	CU_ASSERT(!r.vhost->started);
	rig_down(&r);
}

static void features_ok_means_nothing_here(void)
{
	legacy_up(1);
	status(0xff & ~RIG_FAILED);
	CU_EQ(lg(&r, VIRTIO_PCI_STATUS, 1), RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
	rig_down(&r);
}

/* ---- 64-bit frame numbers ------------------------------------------------------------------ */

static void a_ring_beyond_2_to_45(void)
{
	static const uint64_t iovas[] = { 1ull << 45, 0x7f0000000000, 0x123456789000000 };

	for (unsigned i = 0; i < ARRAY_SIZE(iovas); i++) {
		up(&(struct rig_opts){ .legacy = true, .iova = iovas[i] });
		run(0);
		CU_EQ(r.vhost->ring[0].desc, iovas[i]);
		CU_EQ(r.vhost->ring[1].desc, iovas[i] + 0x3000);
		lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 1);
		CU_EQ(lg(&r, VIRTIO_PCI_QUEUE_PFN, 8), (iovas[i] + 0x3000) >> 12);
		CU_EQ(lg(&r, VIRTIO_PCI_QUEUE_PFN, 4), (uint32_t)((iovas[i] + 0x3000) >> 12));
		rig_down(&r);
	}
}

static void four_bytes_keep_their_meaning(void)
{
	legacy_up(1);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 8, 0x123456789a);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, 0x100001);
	CU_EQ(lg(&r, VIRTIO_PCI_QUEUE_PFN, 8), 0x100001);
	CU_EQ(lg(&r, 0, 8), UINT64_MAX);		/* nothing else is eight bytes wide */
	CU_EQ(lg_set(&r, 12, 8, 0), -ENXIO);
	rig_down(&r);
}

static void frames_past_the_end_start_nothing(void)
{
	static const uint64_t vfns[] = {
		B(52), B(52) - 1, UINT64_MAX, B(63), 1, B(32), B(52) + (RIG_IOVA >> 12),
	};

	for (unsigned size = 2; size <= 1024; size *= 512) {
		up(&(struct rig_opts){ .legacy = true, .queue_size = (uint16_t)size });
		for (unsigned i = 0; i < ARRAY_SIZE(vfns); i++) {
			status(0);
			lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 8, vfns[i]);
			status(RIG_DRIVER_OK);
			CU_EQ(rig_status(&r) & RIG_NEEDS_RESET, RIG_NEEDS_RESET);
		}
		CU_EQ(fake_count(r.vhost, "start", -1), 0);
		rig_down(&r);
	}
}

/* ---- the MAC and the vectors that lie on it ------------------------------------------------ */

static uint64_t mac(unsigned at)
{
	return lg(&r, at, 4) | lg(&r, at + 4, 2) << 32;
}

static void a_mac_counts_when_it_is_whole(void)
{
	static const uint8_t to[] = { 0x02, 0x11, 0x22, 0x33, 0x44, 0x55 };
	uint64_t was;

	legacy_up(1);
	was = mac(CONFIG);
	for (unsigned i = 0; i < 6; i++) {
		CU_EQ(mac(CONFIG), was);
		lg_set(&r, CONFIG + i, 1, to[i]);
	}
	CU_EQ(mac(CONFIG), 0x554433221102);
	lg_set(&r, CONFIG, 4, 0x00000006);
	CU_EQ(mac(CONFIG), 0x554433221102);
	lg_set(&r, CONFIG + 4, 2, 0x0a0b);
	CU_EQ(mac(CONFIG), 0x0a0b00000006);
	status(0);
	CU_EQ(mac(CONFIG), was);
	lg_set(&r, CONFIG + 5, 1, 0x77);		/* the last, but not all */
	CU_EQ(mac(CONFIG), was);
	status(0);
	for (unsigned i = 0; i < 5; i++)
		lg_set(&r, CONFIG + i, 1, to[i]);
	CU_EQ(mac(CONFIG), was);
	rig_down(&r);
}

static void vectors_written_too_early_do_not_hurt_the_mac(void)
{
	uint64_t was;
	int fds[4];

	legacy_up(1);
	was = mac(CONFIG);
	run(B(VIRTIO_NET_F_STATUS));
	lg_set(&r, 20, 2, 0);			/* meant: config vector 0 */
	CU_ASSERT(lg(&r, 20, 2) != 0xffff);	/* or the driver gives up */
	CU_EQ(rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds), 0);
	CU_EQ(mac(CONFIG_MSIX), was);
	fake_link(r.vhost, false);
	CU_EQ(rig_fired(fds[0]), 1);
	CU_EQ(lg(&r, VIRTIO_PCI_ISR, 1), 2);
	lg_set(&r, 20, 2, 0xffff);		/* said explicitly, NO_VECTOR it is */
	fake_link(r.vhost, true);
	CU_EQ(rig_fired(fds[0]), 0);
	lg_set(&r, 20, 2, 3);
	fake_link(r.vhost, false);
	CU_EQ(rig_fired(fds[3]), 1);
	for (unsigned k = 0; k < 4; k++)
		close(fds[k]);
	rig_down(&r);
}

static void status_and_pairs_are_read_only(void)
{
	legacy_up(2);
	CU_EQ(lg_set(&r, CONFIG + 6, 2, 0xffff), -EPERM);
	CU_EQ(lg_set(&r, CONFIG + 8, 2, 0xffff), -EPERM);
	CU_EQ(lg_set(&r, CONFIG + 4, 4, 0), -EPERM);
	CU_EQ(lg(&r, CONFIG + 6, 2), 1);
	CU_EQ(lg(&r, CONFIG + 8, 2), 2);
	rig_down(&r);
}

/* ---- two doors ----------------------------------------------------------------------------- */

static void the_first_door_that_drives_has_the_device(void)
{
	struct qdrv d;

	up(&(struct rig_opts){ .transitional = true });
	lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 1);		/* looking is not driving */
	lg_set(&r, VIRTIO_PCI_STATUS, 1, RIG_ACK);
	rig_set_status(&r, RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK);
	rig_accept(&r, V1);
	rig_queue(&r, &d, 0, 64, false);
	CU_EQ(rig_status(&r), RIG_ACK);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
	CU_EQ(lg(&r, VIRTIO_PCI_GUEST_FEATURES, 4), 0);
	run(0);
	CU_ASSERT(r.vhost->started);
	CU_EQ(r.vhost->acked & V1, 0);
	rig_set_status(&r, 0);				/* but a reset works from both */
	CU_EQ(lg(&r, VIRTIO_PCI_STATUS, 1), 0);
	CU_ASSERT(!r.vhost->started);
	CU_EQ(rig_run(&r, V1, NULL) & RIG_DRIVER_OK, RIG_DRIVER_OK);
	lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 0);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, 0);
	lg_set(&r, VIRTIO_PCI_QUEUE_PFN, 4, 1);
	lg_set(&r, VIRTIO_PCI_GUEST_FEATURES, 4, 0);
	lg_set(&r, VIRTIO_PCI_STATUS, 1, RIG_FAILED);
	lg_set(&r, VIRTIO_PCI_QUEUE_NOTIFY, 2, 0);
	CU_EQ(rig_fired(r.vhost->ring[0].kick_fd), 0);
	CU_EQ(rig_status(&r) & (RIG_FAILED | RIG_NEEDS_RESET), 0);
	CU_EQ(fake_count(r.vhost, "ring_stop", -1), 0);
	CU_EQ(r.vhost->acked, V1);
	rig_down(&r);
}

static void selectors_are_each_door_s_own(void)
{
	up(&(struct rig_opts){ .transitional = true });
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	lg_set(&r, VIRTIO_PCI_QUEUE_SEL, 2, 7);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2), 1);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_NOFF, 2), 1);
	rig_down(&r);
}

/* Any order of writes through both doors leaves one door's device, and memory unharmed. */
static void both_doors_at_random(void)
{
	static const struct { uint8_t off, size; } lregs[] = {
		{ 4, 4 }, { 8, 4 }, { 8, 8 }, { 14, 2 }, { 16, 2 }, { 18, 1 }, { 20, 2 }, { 22, 2 },
		{ 24, 4 }, { 28, 2 },
	};
	uint32_t seed = 12345;

	up(&(struct rig_opts){ .transitional = true, .pairs = 2 });
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t val;
		unsigned k;

		seed = seed * 1664525 + 1013904223;
		k = seed >> 8;
		val = k % 5 == 0 ? (RIG_IOVA >> 12) + k % 64 : k % 7 == 0 ? k : k >> 12 & 0xf;
		if (seed >> 31)
			lg_set(&r, lregs[k % ARRAY_SIZE(lregs)].off,
			       lregs[k % ARRAY_SIZE(lregs)].size, val);
		else
			cc_set(&r, k % 64 & ~1u, k & 64 ? 2 : k & 128 ? 4 : 1, val);
		if (k % 97 == 0)
			rig_notify(&r, k / 97 % 6);
	}
	CU_EQ(r.vhost->calls_unlocked, 0);
	rig_down(&r);
}

CU_MAIN("virtio/legacy",
	{ "A-LG-03,04,06 registers are where they were", registers_are_where_they_were },
	{ "A-LG-05 the configuration moves with MSI-X", configuration_moves_with_msix },
	{ "A-LG-07 the configuration takes any width", configuration_takes_any_width },
	{ "A-LG-10 the ring follows the page number", the_ring_follows_the_page_number },
	{ "A-LG-12 the size is fixed", size_is_fixed },
	{ "A-LG-11 zero detaches a queue", zero_detaches_a_queue },
	{ "A-LG-11 a detached queue keeps its vector", a_detached_queue_keeps_its_vector },
	{ "A-LG-26 absent queues cause no harm", absent_queues_cause_no_harm },
	{ "A-LG-01,08,17 high features are not seen", high_features_are_not_seen },
	{ "A-LG-13,14 used before DRIVER_OK", used_before_driver_ok },
	{ "FEATURES_OK means nothing here", features_ok_means_nothing_here },
	{ "0.6 a ring beyond 2^45", a_ring_beyond_2_to_45 },
	{ "0.6 four bytes keep their meaning", four_bytes_keep_their_meaning },
	{ "A-LG-24 frames past the end start nothing", frames_past_the_end_start_nothing },
	{ "A-LG-20 A-NC-14 a MAC counts when it is whole", a_mac_counts_when_it_is_whole },
	{ "A-LG-20 A-DRV-06 vectors written too early do not hurt the MAC",
	  vectors_written_too_early_do_not_hurt_the_mac },
	{ "A-NC-16 status and pairs are read-only", status_and_pairs_are_read_only },
	{ "A-LG-25 the first door that drives has the device",
	  the_first_door_that_drives_has_the_device },
	{ "A-LG-25 selectors are each door's own", selectors_are_each_door_s_own },
	{ "A-LG-25 both doors at random", both_doors_at_random })
