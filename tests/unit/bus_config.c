// SPDX-License-Identifier: Apache-2.0
// bus_config.c - configuration space: masks, sizing, the capability list, odd accesses.
#include "tests/unit/bus_rig.h"

#define BAR(i) (PCI_BASE_ADDRESS_0 + 4 * (i))

static void the_header_says_who_it_is(void)
{
	struct rig r;

	rig_up(&r);
	CU_EQ(rig_cfg(&r, PCI_VENDOR_ID, 2), 0x1af4);
	CU_EQ(rig_cfg(&r, PCI_VENDOR_ID, 1), 0xf4);
	CU_EQ(rig_cfg(&r, PCI_DEVICE_ID, 2), 0x1041);
	CU_EQ(rig_cfg(&r, PCI_CLASS_REVISION, 4), 0x02000001);
	CU_EQ(rig_cfg(&r, PCI_HEADER_TYPE, 1), PCI_HEADER_TYPE_NORMAL);
	CU_EQ(rig_cfg(&r, PCI_SUBSYSTEM_VENDOR_ID, 4), 0x11001af4);
	CU_EQ(rig_cfg(&r, PCI_INTERRUPT_PIN, 1), 1);
	CU_EQ(rig_cfg(&r, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	rig_down(&r);
}

/* Bits that change when all ones, or all zeros, are written: the driver's, and no other. */
static const struct {
	uint16_t off;
	uint8_t  size;
	uint32_t mask;
} writable[] = {
	{ PCI_COMMAND,        2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
				 PCI_COMMAND_INTX_DISABLE },
	{ BAR(0),             4, 0xffffffe0 },
	{ BAR(1),             4, 0xfffff000 },
	{ BAR(4),             4, 0xffff8000 },
	{ BAR(5),             4, 0xffffffff },
	{ PCI_INTERRUPT_LINE, 1, 0xff },
	{ 0x4c,               4, 0xffffffff },	/* the rig's own capability, bytes 12-15 */
	{ 0x52,               2, PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL },
};

static void expected_masks(uint8_t mask[256])
{
	memset(mask, 0, 256);
	for (unsigned i = 0; i < ARRAY_SIZE(writable); i++)
		memcpy(mask + writable[i].off, &writable[i].mask, writable[i].size);
}

static void only_the_bits_of_the_mask_table_can_be_written(void)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	uint8_t mask[256], was[256], now[256];
	struct rig r;

	expected_masks(mask);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		rig_up(&r);
		pci_func_config(r.f, was);
		for (unsigned off = 0; off < 256; off += sizes[s])
			CU_EQ(rig_cfg_put(&r, off, sizes[s], UINT64_MAX), 0);
		pci_func_config(r.f, now);
		for (unsigned i = 0; i < 256; i++)
			CU_EQ(now[i], was[i] | mask[i]);
		for (unsigned off = 0; off < 256; off += sizes[s])
			CU_EQ(rig_cfg_put(&r, off, sizes[s], 0), 0);
		pci_func_config(r.f, now);
		for (unsigned i = 0; i < 256; i++)
			CU_EQ(now[i], was[i] & ~mask[i]);
		rig_down(&r);
	}
}

static void status_errors_are_cleared_by_writing_ones(void)
{
	struct rig r;

	rig_up(&r);
	pci_cfg_bytes(r.f)[PCI_STATUS + 1] = 0xf9;
	CU_EQ(rig_cfg_put(&r, PCI_STATUS, 2, 0), 0);
	CU_EQ(rig_cfg(&r, PCI_STATUS, 2), 0xf900 | PCI_STATUS_CAP_LIST);
	CU_EQ(rig_cfg_put(&r, PCI_STATUS, 2, PCI_STATUS_REC_MASTER_ABORT), 0);
	CU_EQ(rig_cfg(&r, PCI_STATUS, 2), 0xd900 | PCI_STATUS_CAP_LIST);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 4, 0xffff0000), 0);
	CU_EQ(rig_cfg(&r, PCI_STATUS, 2), PCI_STATUS_CAP_LIST);
	rig_down(&r);
}

/* What a driver concludes from writing all ones: the size, and afterwards the old address. */
static uint64_t sized(struct rig *r, unsigned bar, bool wide)
{
	uint64_t was = rig_cfg(r, BAR(bar), wide ? 8 : 4), mask;

	rig_cfg_put(r, BAR(bar), 4, UINT32_MAX);
	mask = rig_cfg(r, BAR(bar), 4);
	mask &= mask & 1 ? ~UINT64_C(3) : ~UINT64_C(15);
	if (wide) {
		rig_cfg_put(r, BAR(bar + 1), 4, UINT32_MAX);
		mask |= rig_cfg(r, BAR(bar + 1), 4) << 32;
	} else {
		mask |= UINT64_C(0xffffffff) << 32;
	}
	rig_cfg_put(r, BAR(bar), wide ? 8 : 4, was);
	CU_EQ(rig_cfg(r, BAR(bar), wide ? 8 : 4), was);
	return ~mask + 1;
}

static void sizing_a_bar_gives_the_size_of_its_region(void)
{
	struct ioapi_region reg;
	struct rig r;

	rig_up(&r);
	CU_EQ(sized(&r, 0, false), 32);
	CU_EQ(sized(&r, 1, false), 4096);
	CU_EQ(sized(&r, 4, true), 0x8000);
	CU_EQ(rig_cfg(&r, BAR(2), 4), 0);
	CU_EQ(ioapi_region(r.f, 0, &reg), 0);
	CU_EQ(reg.size, 32);
	CU_EQ(reg.flags, IOAPI_F_READ | IOAPI_F_WRITE | IOAPI_F_PIO);
	CU_EQ(ioapi_region(r.f, 1, &reg), 0);
	CU_EQ(reg.flags, IOAPI_F_READ | IOAPI_F_WRITE);
	CU_EQ(ioapi_region(r.f, 4, &reg), 0);
	CU_EQ(reg.size, 0x8000);
	CU_EQ(reg.flags, IOAPI_F_READ | IOAPI_F_WRITE | IOAPI_F_MMIO);
	CU_EQ(ioapi_region(r.f, 5, &reg), 0);
	CU_EQ(reg.size, 0);
	CU_EQ(ioapi_region(r.f, IOAPI_CONFIG, &reg), 0);
	CU_EQ(reg.size, 256);
	CU_EQ(ioapi_region(r.f, IOAPI_REGIONS, &reg), -EINVAL);
	rig_down(&r);
}

static void halves_of_a_64_bit_bar_are_kept_independently(void)
{
	struct rig r;

	rig_up(&r);
	CU_EQ(rig_cfg_put(&r, BAR(5), 4, 0x12345678), 0);
	CU_EQ(rig_cfg_put(&r, BAR(4), 4, 0xabcd8000), 0);
	CU_EQ(rig_cfg(&r, BAR(5), 4), 0x12345678);
	CU_EQ(rig_cfg(&r, BAR(4), 4), 0xabcd8000 | PCI_BASE_ADDRESS_MEM_TYPE_64);
	rig_down(&r);
}

static void bars_say_their_kind_and_have_addresses_of_their_own(void)
{
	struct rig r;

	rig_up(&r);
	CU_EQ(rig_cfg(&r, BAR(0), 4) & 3, PCI_BASE_ADDRESS_SPACE_IO);
	CU_EQ(rig_cfg(&r, BAR(1), 4) & 15, 0);
	CU_EQ(rig_cfg(&r, BAR(4), 4) & 15, PCI_BASE_ADDRESS_MEM_TYPE_64);
	CU_EQ(rig_cfg(&r, BAR(5), 4) & 1, 0);
	for (unsigned i = 0; i < 6; i++) {
		struct ioapi_region reg;
		uint64_t addr = pci_func_bar_addr(r.f, i);

		ioapi_region(r.f, i, &reg);
		CU_EQ(!addr, !reg.size);
		CU_EQ(reg.size ? addr & (reg.size - 1) : 0, 0);
		CU_EQ(reg.size ? rig_cfg(&r, BAR(i), 4) & ~15u : 0, addr & ~15u);
	}
	CU_EQ(pci_func_bar_addr(r.f, 6), 0);
	rig_down(&r);
}

static void the_capability_list_is_aligned_linked_and_ends(void)
{
	unsigned ids[8], n = 0;
	struct rig r;
	uint64_t off;

	rig_up(&r);
	off = rig_cfg(&r, PCI_CAPABILITY_LIST, 1);
	CU_EQ(off, pci_cap_off(r.f, r.cap));
	while (off && n < 8) {
		CU_ASSERT_TRUE(off >= 0x40 && off % 4 == 0);
		ids[n++] = (unsigned)rig_cfg(&r, off, 1);
		off = rig_cfg(&r, off + 1, 1);
	}
	CU_EQ(n, 2);
	CU_EQ(ids[0], PCI_CAP_ID_VNDR);
	CU_EQ(ids[1], PCI_CAP_ID_MSIX);
	CU_EQ(rig_cfg(&r, 0x40 + 8, 1), 0x55);
	CU_EQ(rig_cfg(&r, 0x50 + PCI_MSIX_FLAGS, 2), RIG_VECTORS - 1);
	CU_EQ(rig_cfg(&r, 0x50 + PCI_MSIX_TABLE, 4), 1);
	CU_EQ(rig_cfg(&r, 0x50 + PCI_MSIX_PBA, 4) & 7, 1);
	rig_down(&r);
}

static void any_width_at_any_offset_reads_the_same_bytes(void)
{
	static const unsigned sizes[] = { 1, 2, 4, 8 };
	uint8_t bytes[256 + 8];
	struct rig r;

	rig_up(&r);
	pci_func_config(r.f, bytes);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (unsigned off = 0; off < 300; off++) {
			uint64_t val = 0, want = 0;
			int rc = ioapi_read(r.f, IOAPI_CONFIG, off, sizes[s], &val);
			bool inside = off + sizes[s] <= 256;

			if (inside)
				memcpy(&want, bytes + off, sizes[s]);
			CU_EQ(rc, inside ? 0 : -ENXIO);
			CU_EQ(val, inside ? want : UINT64_MAX);
			CU_EQ(rig_cfg_put(&r, off, sizes[s], want), inside ? 0 : -ENXIO);
		}
	}
	CU_EQ(rig_cfg(&r, UINT64_MAX, 1), UINT64_MAX);
	CU_EQ(rig_cfg(&r, UINT64_MAX - 3, 8), UINT64_MAX);
	rig_down(&r);
}

static void widths_that_are_none_are_refused(void)
{
	static const unsigned sizes[] = { 0, 3, 5, 6, 7, 9, 16, 32, 33, 64, UINT32_MAX };
	struct rig r;
	uint64_t val;

	rig_up(&r);
	for (unsigned region = 0; region < IOAPI_REGIONS; region++) {
		for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
			CU_EQ(ioapi_read(r.f, region, 0, sizes[i], &val), -EINVAL);
			CU_EQ(val, UINT64_MAX);
			CU_EQ(ioapi_write(r.f, region, 0, sizes[i], 0), -EINVAL);
		}
	}
	CU_EQ(ioapi_read(r.f, IOAPI_ROM, 0, 4, &val), -ENXIO);
	CU_EQ(ioapi_read(r.f, IOAPI_REGIONS, 0, 4, &val), -ENXIO);
	CU_EQ(ioapi_write(r.f, 1000, 0, 4, 0), -ENXIO);
	rig_down(&r);
}

static void hooks_run_for_accesses_that_touch_their_bytes_only(void)
{
	struct rig r;

	rig_up(&r);
	(void)rig_cfg(&r, 0x48, 4);
	(void)rig_cfg(&r, 0x50, 1);
	CU_EQ(r.hook_reads, 0);
	(void)rig_cfg(&r, 0x4f, 1);
	(void)rig_cfg(&r, 0x4a, 4);
	(void)rig_cfg(&r, 0x48, 8);
	CU_EQ(r.hook_reads, 3);
	CU_EQ(rig_cfg_put(&r, 0x4e, 4, 0), 0);
	CU_EQ(r.hook_writes, 1);
	rig_down(&r);
}

static void command_is_told_to_the_model_when_it_changes(void)
{
	struct rig r;

	rig_up(&r);
	CU_EQ(r.command, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	r.command = 0xffff;
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY), 0);
	CU_EQ(r.command, 0xffff);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 1, 7), 0);
	CU_EQ(r.command, 7);
	CU_EQ(pci_func_command(r.f), 7);
	rig_down(&r);
}

static void every_open_starts_from_power_on(void)
{
	uint8_t fresh[256], again[256];
	struct rig r;

	rig_up(&r);
	pci_func_config(r.f, fresh);
	for (unsigned off = 0; off < 256; off += 4)
		rig_cfg_put(&r, off, 4, 0xa5a5a5a5);
	ioapi_close(r.f);
	CU_EQ(rig_cfg(&r, PCI_COMMAND, 2), 0);
	CU_EQ(rig_cfg_put(&r, PCI_COMMAND, 2, 7), -ENODEV);
	CU_EQ(ioapi_open(r.f, NULL), 0);
	pci_func_config(r.f, again);
	CU_EQ(memcmp(fresh, again, 256), 0);
	rig_down(&r);
}

CU_MAIN("bus/config",
	T(the_header_says_who_it_is),
	TC("A-ID-13", only_the_bits_of_the_mask_table_can_be_written),
	TC("A-ID-13", status_errors_are_cleared_by_writing_ones),
	TC("A-ID-11", sizing_a_bar_gives_the_size_of_its_region),
	TC("A-ID-12", halves_of_a_64_bit_bar_are_kept_independently),
	T(bars_say_their_kind_and_have_addresses_of_their_own),
	TC("A-ID-10", the_capability_list_is_aligned_linked_and_ends),
	TC("A-ID-14", any_width_at_any_offset_reads_the_same_bytes),
	T(widths_that_are_none_are_refused),
	T(hooks_run_for_accesses_that_touch_their_bytes_only),
	T(command_is_told_to_the_model_when_it_changes),
	T(every_open_starts_from_power_on))
