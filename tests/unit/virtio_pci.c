// SPDX-License-Identifier: Apache-2.0
// virtio_pci.c - the device as PCI sees it: header, BARs, capabilities (checklist A1, A2).
#include <errno.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define CFG 256

static struct rig r;

static const struct rig_opts modes[] = {
	{ .legacy = false }, { .transitional = true }, { .legacy = true },
};

#define FOR_MODES(o) \
	for (const struct rig_opts *o = modes; o < modes + ARRAY_SIZE(modes); o++)

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
}

static uint32_t cfg(unsigned off, unsigned size)
{
	return (uint32_t)rig_read(&r, IOAPI_CONFIG, off, size);
}

static int cfg_set(unsigned off, unsigned size, uint32_t val)
{
	return rig_write(&r, IOAPI_CONFIG, off, size, val);
}

static void the_header_and_its_list_are_in_order(void)
{
	FOR_MODES(o) {
		uint8_t seen[CFG] = { 0 };
		unsigned n = 0, at;

		up(o);
		CU_EQ(cfg(PCI_HEADER_TYPE, 1), 0);
		CU_EQ(cfg(PCI_CLASS_REVISION, 4) >> 8, 0x020000);
		CU_EQ(cfg(PCI_STATUS, 2) & PCI_STATUS_CAP_LIST, PCI_STATUS_CAP_LIST);
		for (at = cfg(PCI_CAPABILITY_LIST, 1); at && n < 48; n++) {
			CU_EQ(at & 3, 0);
			CU_ASSERT(at >= 0x40);
			CU_EQ(seen[at], 0);		/* no loop */
			seen[at] = 1;
			at = cfg(at + 1, 1);
		}
		CU_EQ(at, 0);
		CU_EQ(n, o->legacy ? 1 : 6);
		rig_down(&r);
	}
}

/* Sizes by writing ones, as PCI 3.0, 6.2.5.1 has it, against what ioapi says. */
static void bars_are_sized_and_restored(void)
{
	FOR_MODES(o) {
		up(o);
		cfg_set(PCI_COMMAND, 2, 0);
		for (unsigned bar = 0; bar < 6; bar++) {
			unsigned off = PCI_BASE_ADDRESS_0 + 4 * bar;
			struct ioapi_region reg;
			uint32_t was = cfg(off, 4), mask;

			CU_EQ(ioapi_region(r.f, bar, &reg), 0);
			cfg_set(off, 4, UINT32_MAX);
			mask = cfg(off, 4) & (was & 1 ? ~3u : ~15u);
			cfg_set(off, 4, was);
			CU_EQ(cfg(off, 4), was);
			if (reg.size)
				CU_EQ((uint32_t)(~mask + 1), reg.size);
			else if (bar != 5 || o->legacy)
				CU_EQ(mask, 0);
		}
		rig_down(&r);
	}
}

static void halves_of_the_64_bit_bar_are_their_own(void)
{
	uint32_t low, high;

	up(&modes[0]);
	CU_EQ(cfg(PCI_BASE_ADDRESS_4, 4) & 0xf, PCI_BASE_ADDRESS_MEM_TYPE_64);
	low = cfg(PCI_BASE_ADDRESS_4, 4);
	high = cfg(PCI_BASE_ADDRESS_5, 4);
	cfg_set(PCI_BASE_ADDRESS_5, 4, UINT32_MAX);
	CU_EQ(cfg(PCI_BASE_ADDRESS_5, 4), UINT32_MAX);
	CU_EQ(cfg(PCI_BASE_ADDRESS_4, 4), low);
	cfg_set(PCI_BASE_ADDRESS_5, 4, 0x12345678);
	cfg_set(PCI_BASE_ADDRESS_4, 4, UINT32_MAX);
	CU_EQ(cfg(PCI_BASE_ADDRESS_5, 4), 0x12345678);
	cfg_set(PCI_BASE_ADDRESS_4, 4, low);
	cfg_set(PCI_BASE_ADDRESS_5, 4, high);
	rig_down(&r);
}

static void decoding_gates_its_kind_of_bar(void)
{
	uint64_t val;

	up(&modes[1]);
	cfg_set(PCI_COMMAND, 2, PCI_COMMAND_IO);
	CU_EQ(ioapi_read(r.f, IOAPI_BAR4, r.common + 20, 1, &val), -EIO);
	CU_EQ(ioapi_read(r.f, IOAPI_BAR0, VIRTIO_PCI_STATUS, 1, &val), 0);
	cfg_set(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	CU_EQ(ioapi_read(r.f, IOAPI_BAR4, r.common + 20, 1, &val), 0);
	CU_EQ(ioapi_read(r.f, IOAPI_BAR0, VIRTIO_PCI_STATUS, 1, &val), -EIO);
	CU_EQ(val, UINT64_MAX);
	rig_down(&r);
}

/* What may change at all, typed in from PCI 3.0 and virtio 4.1.4.9. */
static uint32_t writable(unsigned off)
{
	struct ioapi_region reg;

	if (off == PCI_COMMAND)
		return PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
		       PCI_COMMAND_INTX_DISABLE;
	if (off == PCI_INTERRUPT_LINE)
		return 0xff;
	if (off == r.msix_cap)
		return (uint32_t)(PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL) << 16;
	if (r.window_cap && off == r.window_cap + 4)
		return 0xff;
	if (r.window_cap && off >= r.window_cap + 8 && off < r.window_cap + 20)
		return UINT32_MAX;
	if (off == PCI_BASE_ADDRESS_5)
		return r.notify ? UINT32_MAX : 0;
	if (off < PCI_BASE_ADDRESS_0 || off > PCI_BASE_ADDRESS_5)
		return 0;
	ioapi_region(r.f, (off - PCI_BASE_ADDRESS_0) / 4, &reg);
	return reg.size ? (uint32_t)~(reg.size - 1) : 0;
}

static void only_what_may_change_changes(void)
{
	FOR_MODES(o) {
		up(o);
		for (unsigned off = 0; off < CFG; off += 4) {
			uint32_t was = cfg(off, 4), may = writable(off), is;

			if (off == PCI_COMMAND && !o->legacy && !o->transitional)
				may &= ~(uint32_t)PCI_COMMAND_IO;
			cfg_set(off, 4, UINT32_MAX);
			is = cfg(off, 4);
			CU_EQ(is & ~may, was & ~may);
			/* The window's data is what the window points at. */
			if (!r.window_cap || off != r.window_cap + 16)
				CU_EQ(is & may, may);
			cfg_set(off, 4, 0);
			CU_EQ(cfg(off, 4) & ~may, was & ~may);
			cfg_set(off, 4, was);
		}
		rig_down(&r);
	}
}

static void no_shared_memory_and_no_vendor_data(void)
{
	FOR_MODES(o) {
		unsigned at;

		up(o);
		for (at = cfg(PCI_CAPABILITY_LIST, 1); at; at = cfg(at + 1, 1)) {
			if (cfg(at, 1) != PCI_CAP_ID_VNDR)
				continue;
			CU_ASSERT(cfg(at + 3, 1) >= VIRTIO_PCI_CAP_COMMON_CFG);
			CU_ASSERT(cfg(at + 3, 1) <= VIRTIO_PCI_CAP_PCI_CFG);
		}
		rig_down(&r);
	}
}

/* Everything the driver maps is in one BAR that can be mapped; MSI-X has another to itself. */
static void what_a_driver_maps_can_be_mapped(void)
{
	struct ioapi_region reg;
	uint32_t table, pba;

	up(&modes[0]);
	CU_EQ(ioapi_region(r.f, IOAPI_BAR4, &reg), 0);
	CU_EQ(reg.flags & IOAPI_F_MMIO, IOAPI_F_MMIO);
	CU_ASSERT(r.common + 60 <= reg.size && r.isr < reg.size && r.config + 24 <= reg.size);
	CU_ASSERT(r.notify + 3 * (uint64_t)r.notify_mult <= reg.size);
	table = cfg(r.msix_cap + PCI_MSIX_TABLE, 4);
	pba = cfg(r.msix_cap + PCI_MSIX_PBA, 4);
	CU_EQ(table & 7, 1);
	CU_EQ(pba & 7, 1);
	CU_ASSERT((pba & ~7u) >= (table & ~7u) + 4 * 16);
	CU_EQ(rig_write(&r, IOAPI_BAR1, pba & ~7u, 4, UINT32_MAX), -EPERM);
	CU_EQ(rig_read(&r, IOAPI_BAR1, pba & ~7u, 8), 0);
	for (unsigned size = 1; size <= 2; size++)
		CU_EQ(rig_write(&r, IOAPI_BAR1, 0, size, 0), -ENXIO);
	CU_EQ(rig_write(&r, IOAPI_BAR1, 2, 4, 0), -ENXIO);
	rig_down(&r);
}

/* A driver that never writes queue_size gets what was configured, up to what back-ends take. */
static void the_published_size_is_one_that_runs(void)
{
	static const uint16_t sizes[] = { 64, 256, 32768 };

	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		up(&(struct rig_opts){ .queue_size = sizes[i] });
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_Q_SIZE, 2), sizes[i]);
		CU_EQ(rig_run(&r, 1ull << VIRTIO_F_VERSION_1, NULL) & RIG_DRIVER_OK,
		      RIG_DRIVER_OK);
		CU_EQ(r.vhost->ring[0].num, sizes[i]);
		rig_down(&r);
	}
}

CU_MAIN("virtio/pci",
	{ "A-ID-10 the header and its list are in order", the_header_and_its_list_are_in_order },
	{ "A-ID-11 BARs are sized and restored", bars_are_sized_and_restored },
	{ "A-ID-12 halves of the 64-bit BAR are their own",
	  halves_of_the_64_bit_bar_are_their_own },
	{ "A-ID-11 decoding gates its kind of BAR", decoding_gates_its_kind_of_bar },
	{ "A-ID-13 only what may change changes", only_what_may_change_changes },
	{ "A-CAP-10..13 no shared memory and no vendor data", no_shared_memory_and_no_vendor_data },
	{ "A-MX-13 A-DRV-04 what a driver maps can be mapped", what_a_driver_maps_can_be_mapped },
	{ "A-DRV-02 the published size is one that runs", the_published_size_is_one_that_runs })
