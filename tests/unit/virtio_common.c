// SPDX-License-Identifier: Apache-2.0
// virtio_common.c - the modern door's registers (checklist A2, A3, A4, A6; digest criterion 0.5).
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define V1 (1ull << VIRTIO_F_VERSION_1)
#define MQ (1ull << VIRTIO_NET_F_MQ)
#define CTRL (1ull << VIRTIO_NET_F_CTRL_VQ)
#define PACKED (1ull << VIRTIO_F_RING_PACKED)
#define RESET (1ull << 40)

static struct rig r;

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
}

/* ---- capabilities -------------------------------------------------------------------------- */

static void one_capability_of_each_type(void)
{
	static const uint8_t want_len[6] = { 0, 16, 20, 16, 16, 20 };
	unsigned seen[6] = { 0 }, at;
	struct ioapi_region bar;

	up(&(struct rig_opts){ .pairs = 2 });
	ioapi_region(r.f, IOAPI_BAR4, &bar);
	at = (unsigned)rig_read(&r, IOAPI_CONFIG, PCI_CAPABILITY_LIST, 1);
	for (unsigned i = 0; at && i < 48; i++) {
		uint64_t type = rig_read(&r, IOAPI_CONFIG, at + 3, 1);
		uint64_t off = rig_read(&r, IOAPI_CONFIG, at + 8, 4);
		uint64_t len = rig_read(&r, IOAPI_CONFIG, at + 12, 4);

		CU_EQ(at % 4, 0);
		if (rig_read(&r, IOAPI_CONFIG, at, 1) == PCI_CAP_ID_VNDR && type < 6) {
			seen[type]++;
			CU_EQ(rig_read(&r, IOAPI_CONFIG, at + 2, 1), want_len[type]);
			CU_EQ(off % 4, 0);
			CU_ASSERT(off + len <= bar.size);
			CU_ASSERT(rig_read(&r, IOAPI_CONFIG, at + 4, 1) <= 5);
		}
		at = (unsigned)rig_read(&r, IOAPI_CONFIG, at + 1, 1);
	}
	CU_EQ(at, 0);
	for (unsigned type = 1; type < 6; type++)
		CU_EQ(seen[type], 1);
	rig_down(&r);
}

static void notify_covers_all_queues(void)
{
	up(&(struct rig_opts){ .pairs = 128 });
	CU_EQ(r.notify_mult, 4096);
	CU_EQ(r.notify % 4, 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 257);
	for (unsigned q = 0; q < 257; q++) {
		cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_NOFF, 2), q);
		CU_EQ(rig_notify(&r, q), 0);
	}
	rig_down(&r);
}

static void identity_follows_the_mode(void)
{
	static const struct {
		struct rig_opts o;
		uint16_t device, subsys;
		uint8_t rev;
	} rows[] = {
		{ { .legacy = false }, 0x1041, 0x1100, 1 },
		{ { .transitional = true }, 0x1000, 1, 0 },
		{ { .legacy = true }, 0x1000, 1, 0 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		up(&rows[i].o);
		CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_VENDOR_ID, 2), 0x1af4);
		CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_DEVICE_ID, 2), rows[i].device);
		CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_SUBSYSTEM_ID, 2), rows[i].subsys);
		CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_REVISION_ID, 1), rows[i].rev);
		CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_CLASS_DEVICE, 2), 0x0200);
		CU_EQ(r.notify != 0, !rows[i].o.legacy);
		rig_down(&r);
	}
}

/* ---- registers ----------------------------------------------------------------------------- */

static void feature_words(void)
{
	static const uint32_t far[] = { 2, 3, 0x7fffffff, 0xffffffff };

	up(&(struct rig_opts){ .pairs = 1 });
	cc_set(&r, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	CU_ASSERT(cc(&r, VIRTIO_PCI_COMMON_DF, 4) & 1);		/* VERSION_1 */
	for (unsigned i = 0; i < ARRAY_SIZE(far); i++) {
		cc_set(&r, VIRTIO_PCI_COMMON_DFSELECT, 4, far[i]);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_DFSELECT, 4), far[i]);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_DF, 4), 0);
		cc_set(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, far[i]);
		cc_set(&r, VIRTIO_PCI_COMMON_GF, 4, 0xffffffff);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_GF, 4), 0);
	}
	for (uint32_t w = 0; w < 2; w++) {
		cc_set(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, w);
		cc_set(&r, VIRTIO_PCI_COMMON_GF, 4, 0x20 + w);
	}
	cc_set(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_GF, 4), 0x20);
	rig_down(&r);
}

static void reset_clears_everything(void)
{
	uint64_t offered;

	up(&(struct rig_opts){ .pairs = 2 });
	offered = rig_offered(&r);
	CU_EQ(rig_run(&r, offered, NULL), RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK);
	cc_set(&r, VIRTIO_PCI_COMMON_MSIX, 2, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 2);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), 2);
	CU_ASSERT(r.vhost->started);
	rig_set_status(&r, 0);
	CU_ASSERT(!r.vhost->started);
	CU_EQ(rig_status(&r), 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_MSIX, 2), 0xffff);
	for (unsigned q = 0; q < 5; q++) {
		cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_ENABLE, 2), 0);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_RESET, 2), 0);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_DESCLO, 8), 0);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_AVAILLO, 8), 0);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_USEDLO, 8), 0);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_MSIX, 2), 0xffff);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), 256);
	}
	for (unsigned w = 0; w < 2; w++) {
		cc_set(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, w);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_GF, 4), 0);
	}
	CU_EQ(rig_offered(&r), offered);
	rig_down(&r);
}

static void reset_clears_the_isr(void)
{
	int fd;

	up(&(struct rig_opts){ 0 });
	CU_EQ(rig_irqs(&r, IOAPI_IRQ_INTX, 1, &fd), 0);
	rig_run(&r, V1, NULL);
	fake_failed(r.vhost, "test");
	rig_set_status(&r, 0);
	CU_EQ(rig_read(&r, IOAPI_CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT, 0);
	CU_EQ(rig_read(&r, IOAPI_BAR4, r.isr, 1), 0);
	close(fd);
	rig_down(&r);
}

static void rings_stop_before_zero_shows(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	fake_forget(r.vhost);
	rig_set_status(&r, 0);
	CU_EQ(fake_count(r.vhost, "stop", -1), 1);
	CU_ASSERT(fake_last(r.vhost, "stop", -1) < fake_last(r.vhost, "status", -1));
	CU_EQ(r.vhost->status, 0);
	rig_down(&r);
}

static void absent_queues_read_zero_and_take_nothing(void)
{
	static const struct {
		uint8_t off, size;
		uint32_t want;
	} fields[] = {
		{ VIRTIO_PCI_COMMON_Q_SIZE, 2, 0 }, { VIRTIO_PCI_COMMON_Q_MSIX, 2, 0xffff },
		{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0 }, { VIRTIO_PCI_COMMON_Q_NOFF, 2, 0 },
		{ VIRTIO_PCI_COMMON_Q_DESCLO, 8, 0 }, { VIRTIO_PCI_COMMON_Q_AVAILLO, 8, 0 },
		{ VIRTIO_PCI_COMMON_Q_USEDLO, 8, 0 }, { VIRTIO_PCI_COMMON_Q_RESET, 2, 0 },
	};

	up(&(struct rig_opts){ .pairs = 2 });
	for (unsigned q = 5; q < 0x10000; q += q < 300 ? 1 : 257) {
		cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
		for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
			CU_EQ(cc(&r, fields[i].off, fields[i].size), fields[i].want);
			cc_set(&r, fields[i].off, fields[i].size, 1);
			CU_EQ(cc(&r, fields[i].off, fields[i].size), fields[i].want);
		}
	}
	rig_down(&r);
}

static void read_only_fields_ignore_writes(void)
{
	static const struct { uint8_t off, size; } ro[] = {
		{ VIRTIO_PCI_COMMON_DF, 4 }, { VIRTIO_PCI_COMMON_NUMQ, 2 },
		{ VIRTIO_PCI_COMMON_CFGGENERATION, 1 }, { VIRTIO_PCI_COMMON_Q_NOFF, 2 },
		{ VIRTIO_PCI_COMMON_Q_NDATA, 2 },
	};

	up(&(struct rig_opts){ 0 });
	for (unsigned i = 0; i < ARRAY_SIZE(ro); i++) {
		uint64_t was = cc(&r, ro[i].off, ro[i].size);

		CU_EQ(cc_set(&r, ro[i].off, ro[i].size, UINT64_MAX), -EPERM);
		CU_EQ(cc(&r, ro[i].off, ro[i].size), was);
	}
	rig_down(&r);
}

static void halves_in_either_order(void)
{
	static const uint8_t regs[] = {
		VIRTIO_PCI_COMMON_Q_DESCLO, VIRTIO_PCI_COMMON_Q_AVAILLO, VIRTIO_PCI_COMMON_Q_USEDLO,
	};

	up(&(struct rig_opts){ 0 });
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
		cc_set(&r, regs[i], 4, 0x11223344);
		cc_set(&r, regs[i] + 4u, 4, 0x55667788);
		CU_EQ(cc(&r, regs[i], 8), 0x5566778811223344);
		cc_set(&r, regs[i] + 4u, 4, 0xaabbccdd);
		cc_set(&r, regs[i], 4, 0xeeff0011);
		CU_EQ(cc(&r, regs[i], 4), 0xeeff0011);
		CU_EQ(cc(&r, regs[i] + 4u, 4), 0xaabbccdd);
		cc_set(&r, regs[i], 8, 0x0123456789abcdef);
		CU_EQ(cc(&r, regs[i], 8), 0x0123456789abcdef);
	}
	rig_down(&r);
}

static void past_the_block_reads_ones(void)
{
	up(&(struct rig_opts){ 0 });
	CU_EQ(cc(&r, 60, 4), UINT64_MAX);
	CU_EQ(cc(&r, 64, 8), UINT64_MAX);
	CU_EQ(cc_set(&r, 60, 4, 0), -ENXIO);
	rig_down(&r);
}

static void sizes_are_judged(void)
{
	static const struct { uint32_t size; uint16_t split, packed; } rows[] = {
		{ 0, 256, 256 }, { 1, 1, 1 }, { 3, 256, 3 }, { 64, 64, 64 }, { 255, 256, 255 },
		{ 256, 256, 256 }, { 257, 256, 256 }, { 512, 256, 256 }, { 0x8000, 256, 256 },
		{ 0xffff, 256, 256 },
	};

	up(&(struct rig_opts){ 0 });
	for (unsigned packed = 0; packed < 2; packed++) {
		for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
			rig_negotiate(&r, V1 | (packed ? PACKED : 0));
			cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
			cc_set(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2, rows[i].size);
			CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2),
			      packed ? rows[i].packed : rows[i].split);
		}
	}
	/* and after the bad ones, the old size works */
	rig_negotiate(&r, V1);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	cc_set(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2, 512);
	rig_run(&r, V1, NULL);
	CU_EQ(r.vhost->ring[0].num, 256);
	rig_down(&r);
}

static void config_generation_moves_once_per_look(void)
{
	uint64_t gen;

	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1 | 1ull << VIRTIO_NET_F_STATUS, NULL);
	gen = cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
	fake_link(r.vhost, true);			/* it was up already */
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
	for (unsigned i = 0; i < 256; i++)
		fake_link(r.vhost, i % 2);
	CU_ASSERT(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1) != gen);
	for (unsigned i = 0; i < 1000; i++) {
		gen = cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1), gen);
		fake_link(r.vhost, i % 2);
		CU_ASSERT(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1) != gen);
	}
	rig_down(&r);
}

/* ---- notification -------------------------------------------------------------------------- */

static unsigned kicked(unsigned ring)
{
	return rig_fired(r.vhost->ring[ring].kick_fd);
}

static void notify_reaches_its_queue_only(void)
{
	up(&(struct rig_opts){ .pairs = 2 });
	rig_run(&r, V1 | MQ | CTRL, NULL);
	for (unsigned q = 0; q < 4; q++) {
		CU_EQ(rig_notify(&r, q), 0);
		for (unsigned k = 0; k < 4; k++)
			CU_EQ(kicked(k), k == q);
	}
	CU_EQ(rig_write(&r, IOAPI_BAR4, r.notify + 2ull * r.notify_mult, 4, 2), 0);
	CU_EQ(kicked(2), 1);
	rig_down(&r);
}

static void wrong_notifications_are_dropped(void)
{
	static const uint32_t wrong[] = {
		0, 2, 4, 5, 0x8000, 0x8001, 0xffff, 0xffff0001, 0xffffffff,
	};

	up(&(struct rig_opts){ .pairs = 2 });
	rig_run(&r, V1 | MQ | CTRL, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++)
		rig_write(&r, IOAPI_BAR4, r.notify + r.notify_mult, 4, wrong[i]);
	for (uint64_t off = 1; off < 64; off++)
		rig_write(&r, IOAPI_BAR4, r.notify + off, 2, 0);
	rig_write(&r, IOAPI_BAR4, r.notify, 1, 0);
	rig_write(&r, IOAPI_BAR4, r.notify, 8, 0);
	for (unsigned k = 0; k < 4; k++)
		CU_EQ(kicked(k), 0);
	CU_EQ(rig_stat(&r, "notifies"), 0);
	CU_ASSERT(rig_stat(&r, "notifies_dropped") >= ARRAY_SIZE(wrong));
	rig_down(&r);
}

static void no_kick_before_driver_ok_nor_after_reset(void)
{
	struct qdrv d;
	int fd;

	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1);
	rig_queue(&r, &d, 0, 0, false);
	rig_notify(&r, 0);
	CU_EQ(fake_count(r.vhost, "start", -1), 0);
	rig_set_status(&r, RIG_DRIVER_OK);
	fd = r.vhost->ring[0].kick_fd;
	CU_EQ(rig_fired(fd), 0);
	rig_notify(&r, 1);			/* never enabled */
	rig_set_status(&r, 0);
	rig_notify(&r, 0);
	CU_EQ(rig_fired(fd), 0);
	CU_EQ(rig_stat(&r, "notifies"), 0);
	rig_down(&r);
}

/* ---- the window through configuration space ------------------------------------------------ */

static void aim(uint8_t bar, uint32_t off, uint32_t len)
{
	rig_write(&r, IOAPI_CONFIG, r.window_cap + 4, 1, bar);
	rig_write(&r, IOAPI_CONFIG, r.window_cap + 8, 4, off);
	rig_write(&r, IOAPI_CONFIG, r.window_cap + 12, 4, len);
}

static uint64_t look(unsigned size)
{
	return rig_read(&r, IOAPI_CONFIG, r.window_cap + 16, size);
}

static void put(unsigned size, uint64_t val)
{
	rig_write(&r, IOAPI_CONFIG, r.window_cap + 16, size, val);
}

static void window_reads_and_writes_registers(void)
{
	up(&(struct rig_opts){ .transitional = true });
	aim(4, (uint32_t)r.common + VIRTIO_PCI_COMMON_STATUS, 1);
	CU_EQ(rig_read(&r, IOAPI_CONFIG, r.window_cap + 4, 1), 4);
	CU_EQ(rig_read(&r, IOAPI_CONFIG, r.window_cap + 8, 4), r.common + 20);
	CU_EQ(rig_read(&r, IOAPI_CONFIG, r.window_cap + 12, 4), 1);
	put(1, RIG_ACK);
	CU_EQ(rig_status(&r), RIG_ACK);
	put(1, RIG_ACK | RIG_DRIVER);
	CU_EQ(look(1), RIG_ACK | RIG_DRIVER);
	aim(4, (uint32_t)r.common + VIRTIO_PCI_COMMON_NUMQ, 2);
	CU_EQ(look(2), 3);
	aim(4, (uint32_t)r.config, 4);
	CU_EQ(look(4), 0x12005452);
	aim(0, VIRTIO_PCI_QUEUE_NUM, 2);
	CU_EQ(look(2), 256);
	rig_down(&r);
}

static void window_has_the_side_effects_of_the_access(void)
{
	struct qdrv ctrl;
	uint64_t at;
	int fd;

	up(&(struct rig_opts){ 0 });
	CU_EQ(rig_irqs(&r, IOAPI_IRQ_INTX, 1, &fd), 0);
	rig_run(&r, V1 | CTRL, &ctrl);
	aim(4, (uint32_t)r.notify + r.notify_mult, 2);
	put(2, 1);
	CU_EQ(kicked(1), 1);
	aim(4, (uint32_t)r.notify + 2 * r.notify_mult, 2);
	at = rig_alloc(&r, 4096, 4096);
	qdrv_add(&ctrl, (struct qdrv_part[]){ { at, 2, false }, { at + 8, 1, true } }, 2);
	put(2, 2);			/* the control queue takes the lock the window holds */
	CU_EQ(rig_stat(&r, "notifies"), 2);
	CU_EQ(rig_stat(&r, "ctrl_err"), 1);
	fake_failed(r.vhost, "test");
	aim(4, (uint32_t)r.isr, 1);
	CU_EQ(look(1), 3);
	CU_EQ(look(1), 0);
	close(fd);
	rig_down(&r);
}

static void a_wild_window_does_nothing(void)
{
	static const struct { uint8_t bar; uint32_t off, len; } rows[] = {
		{ 4, 20, 0 }, { 4, 20, 3 }, { 4, 20, 8 }, { 4, 20, 0xffffffff }, { 4, 17, 2 },
		{ 4, 18, 4 }, { 5, 20, 1 }, { 6, 20, 1 }, { 7, 0, 4 }, { 255, 20, 1 },
		{ 4, 0xfffffffc, 4 }, { 4, 0x7ffffffc, 4 }, { 2, 0, 4 }, { 1, 0xffc, 4 },
	};

	up(&(struct rig_opts){ 0 });
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		aim(rows[i].bar, rows[i].off, rows[i].len);
		put(4, 0x0f0f0f0f);
		look(4);
		CU_EQ(rig_status(&r), 0);
	}
	aim(4, (uint32_t)r.config + 1, 2);	/* could be read directly, but not so */
	put(4, 0x0f0f0f0f);
	CU_EQ(look(4), 0x0f0f0f0f);
	aim(1, 0, 4);			/* the MSI-X table: allowed, and itself afterwards */
	put(4, 0xfee00000);
	CU_EQ(rig_read(&r, IOAPI_BAR1, 0, 4), 0xfee00000);
	rig_down(&r);
}

static void capabilities_are_read_only_but_for_the_window(void)
{
	uint8_t was[256], now[256];

	up(&(struct rig_opts){ 0 });
	for (unsigned i = 0; i < 256; i++)
		was[i] = (uint8_t)rig_read(&r, IOAPI_CONFIG, i, 1);
	for (unsigned i = 0x40; i < 256; i++)
		if (i < r.window_cap + 4 || i >= r.window_cap + 20)
			rig_write(&r, IOAPI_CONFIG, i, 1, (uint64_t)~was[i]);
	for (unsigned i = 0; i < 256; i++)
		now[i] = (uint8_t)rig_read(&r, IOAPI_CONFIG, i, 1);
	now[r.msix_cap + 3] &= 0x3f;	/* enable and function mask are writable */
	CU_EQ(memcmp(was, now, 256), 0);
	rig_down(&r);
}

CU_MAIN("virtio/common",
	{ "A-CAP-01..09,16 A-DRV-03 one capability of each type", one_capability_of_each_type },
	{ "A-NT-01..06 A-CC-16 notify covers all queues", notify_covers_all_queues },
	{ "A-ID-01..08 A-CAP-17 identity follows the mode", identity_follows_the_mode },
	{ "A-CC-01,02 A-DRV-05 feature words", feature_words },
	{ "A-CC-05,06,07 A-ST-09,10 A-MX-07 reset clears everything", reset_clears_everything },
	{ "reset clears the ISR and lowers the line", reset_clears_the_isr },
	{ "A-CC-05 rings stop before zero shows", rings_stop_before_zero_shows },
	{ "A-CC-12,24 absent queues read zero and take nothing",
	  absent_queues_read_zero_and_take_nothing },
	{ "A-CC-17,27 read-only fields ignore writes", read_only_fields_ignore_writes },
	{ "A-CAP-14 halves in either order", halves_in_either_order },
	{ "A-CC-26 past the block reads ones", past_the_block_reads_ones },
	{ "A-CC-13,19,20 sizes are judged", sizes_are_judged },
	{ "A-CC-03,04 generation moves once per look", config_generation_moves_once_per_look },
	{ "A-NT-07 a notification reaches its queue only", notify_reaches_its_queue_only },
	{ "A-NT-08,11 wrong notifications are dropped", wrong_notifications_are_dropped },
	{ "A-NT-10,11 no kick before DRIVER_OK nor after reset",
	  no_kick_before_driver_ok_nor_after_reset },
	{ "A-PW-01,02,03 the window reads and writes registers",
	  window_reads_and_writes_registers },
	{ "A-PW-05,06 the window has the access's side effects",
	  window_has_the_side_effects_of_the_access },
	{ "A-PW-04,05 a wild window does nothing", a_wild_window_does_nothing },
	{ "A-CAP-15 capabilities are read-only but for the window",
	  capabilities_are_read_only_but_for_the_window })
