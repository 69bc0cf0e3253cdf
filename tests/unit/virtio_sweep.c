// SPDX-License-Identifier: Apache-2.0
// virtio_sweep.c - every width at every offset of every window, and what it costs to be looked at.
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "tests/rig.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)

static struct rig r;

static const struct rig_opts modes[] = {
	{ .pairs = 2 }, { .pairs = 2, .transitional = true }, { .pairs = 2, .legacy = true },
};

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
}

/* Offsets around each block and around each BAR's end; all of the small BARs. */
static void sweep(bool write, uint64_t val)
{
	for (unsigned region = 0; region < IOAPI_REGIONS; region++) {
		struct ioapi_region g;

		ioapi_region(r.f, region, &g);
		for (uint64_t off = 0; off < g.size + 16; off++) {
			if (off > 0x1100 && off % 4096 > 16 && off % 4096 < 4080)
				continue;
			for (unsigned size = 0; size <= 9; size++) {
				uint64_t v = val;

				if (write)
					ioapi_write(r.f, region, off, size, v);
				else
					ioapi_read(r.f, region, off, size, &v);
			}
		}
	}
}

static void any_read_is_harmless(void)
{
	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		up(&modes[m]);
		if (!modes[m].legacy)
			rig_run(&r, V1 | MQ | CTRL, NULL);
		fake_forget(r.vhost);
		sweep(false, 0);
		CU_EQ(r.vhost->calls, 0);
		if (!modes[m].legacy)
			CU_EQ(rig_status(&r), 15);
		rig_down(&r);
	}
}

static void any_write_is_survived(void)
{
	static const uint64_t vals[] = {
		UINT64_MAX, 0, 1, 0x8000, 0x0f0f0f0f0f0f0f0f, RIG_IOVA, RIG_IOVA >> 12,
	};

	for (unsigned m = 0; m < ARRAY_SIZE(modes); m++) {
		up(&modes[m]);
		for (unsigned i = 0; i < ARRAY_SIZE(vals); i++) {
			sweep(true, vals[i]);
			sweep(false, 0);
		}
		CU_EQ(r.vhost->calls_unlocked, 0);
		rig_down(&r);
	}
}

/* Registers answer to their own width; a field's parts, neighbours and gaps answer nothing. */
static void only_the_right_width_answers(void)
{
	static const struct { uint8_t off, size; } regs[] = {
		{ 0, 4 }, { 4, 4 }, { 8, 4 }, { 12, 4 }, { 16, 2 }, { 18, 2 }, { 20, 1 }, { 21, 1 },
		{ 22, 2 }, { 24, 2 }, { 26, 2 }, { 28, 2 }, { 30, 2 }, { 32, 8 }, { 40, 8 },
		{ 48, 8 }, { 56, 2 }, { 58, 2 },
	};

	up(&modes[0]);
	for (unsigned off = 0; off < 64; off++) {
		for (unsigned size = 1; size <= 8; size *= 2) {
			bool want = false;
			uint64_t val;

			for (unsigned i = 0; i < ARRAY_SIZE(regs); i++) {
				want |= regs[i].off == off && regs[i].size == size;
				want |= regs[i].size == 8 && size == 4 &&
					(regs[i].off == off || regs[i].off + 4u == off);
			}
			CU_EQ(ioapi_read(r.f, IOAPI_BAR4, r.common + off, size, &val),
			      want ? 0 : -ENXIO);
			if (!want)
				CU_EQ(val, UINT64_MAX);
		}
	}
	rig_down(&r);
}

static void device_configuration_reads_at_any_width(void)
{
	uint8_t bytes[24];

	up(&(struct rig_opts){ .pairs = 2, .mtu = 1500 });
	for (unsigned i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)dc(&r, i, 1);
	CU_EQ(memcmp(bytes, "\x52\x54\x00\x12\x34\x56\x01\x00\x02\x00\xdc\x05"
		     "\xff\xff\xff\xff\xff\0\0\0\0\0\0\0", 24), 0);
	for (unsigned size = 2; size <= 8; size *= 2) {
		for (unsigned off = 0; off + size <= sizeof(bytes); off++) {
			uint64_t want = 0;

			memcpy(&want, bytes + off, size);
			CU_EQ(dc(&r, off, size), want);
		}
	}
	for (unsigned off = 0; off < 24; off++)
		CU_EQ(rig_write(&r, IOAPI_BAR4, r.config + off, 1, 0xff), -EPERM);
	for (unsigned i = 0; i < sizeof(bytes); i++)
		CU_EQ(dc(&r, i, 1), bytes[i]);
	rig_down(&r);
}

/* ---- scarcity ------------------------------------------------------------------------------ */

/* The n-th thing asked of the world is refused, for every n. */
static void nothing_leaks_when_the_world_says_no(void)
{
	const struct rig_opts o = { .pairs = 2, .transitional = true, .quiet = true };
	unsigned before = fds_open(), refused = 0;

	for (unsigned n = 1; n < 200; n++) {
		int rc;

		fault_arm(n);
		rc = rig_up(&r, &o);
		if (!fault_armed() && rc < 0)
			refused++;
		fault_arm(0);
		if (rc == 0) {
			CU_EQ(rig_run(&r, V1 | MQ | CTRL, NULL), 15);
			rig_down(&r);
			CU_EQ(fds_open(), before);
			if (refused && n > refused + 1)
				break;
		}
		CU_EQ(fds_open(), before);
	}
	CU_ASSERT(refused > 10);
}

/* ---- threads ------------------------------------------------------------------------------- */

static _Atomic bool going;

static void *random_access(void *arg)
{
	uint32_t x = (uint32_t)(uintptr_t)arg;

	while (going) {
		unsigned off = (x = x * 1664525 + 1013904223) >> 8 & 63;

		if (x >> 30)
			cc_set(&r, off & ~1u, 1u << (x >> 28 & 3), x >> 20 & 15);
		else
			cc(&r, off, 1u << (x >> 28 & 3));
		rig_notify(&r, x >> 16 & 7);
	}
	return NULL;
}

static void *link_flaps(void *arg)
{
	for (unsigned i = 0; going; i++)
		fake_link(r.vhost, i % 2);
	return arg;
}

static void eight_threads_keep_one_coherent_state(void)
{
	pthread_t t[8];

	up(&modes[0]);
	going = true;
	for (uintptr_t i = 0; i < 8; i++)
		pthread_create(&t[i], NULL, i ? random_access : link_flaps, (void *)i);
	for (unsigned i = 0; i < 200; i++) {
		rig_set_status(&r, 0);
		usleep(100);
	}
	going = false;
	for (unsigned i = 0; i < 8; i++)
		pthread_join(t[i], NULL);
	CU_EQ(r.vhost->calls_unlocked, 0);
	rig_set_status(&r, 0);
	r.used = 0;
	CU_EQ(rig_run(&r, V1, NULL), 15);
	rig_down(&r);
}

CU_MAIN("virtio/sweep",
	{ "A-CC-25 A-ID-14 any read is harmless", any_read_is_harmless },
	{ "A-CC-25 any write is survived", any_write_is_survived },
	{ "A-CC-25 only the right width answers", only_the_right_width_answers },
	{ "A-NC-16 A-ST-13 A-DRV-01 device configuration reads at any width",
	  device_configuration_reads_at_any_width },
	{ "nothing leaks when the world says no", nothing_leaks_when_the_world_says_no },
	{ "A-CC-28 A-ST-24 eight threads keep one coherent state",
	  eight_threads_keep_one_coherent_state })
