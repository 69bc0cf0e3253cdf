// SPDX-License-Identifier: Apache-2.0
// cfgspace.c - 256 configuration bytes, a mask of what a driver may write, code behind some.
#include <errno.h>
#include <string.h>

#include "sim/bus/internal.h"

/* STATUS bits a driver clears by writing ones (PCI 3.0, 6.2.3). */
#define STATUS_W1C (PCI_STATUS_PARITY | PCI_STATUS_SIG_TARGET_ABORT | \
		    PCI_STATUS_REC_TARGET_ABORT | PCI_STATUS_REC_MASTER_ABORT | \
		    PCI_STATUS_SIG_SYSTEM_ERROR | PCI_STATUS_DETECTED_PARITY)

/* What of the header is writable in every function; BARs and capabilities add theirs. */
static const struct {
	uint8_t  off, size;
	uint32_t mask;
} header_writable[] = {
	{ PCI_COMMAND,        2, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE },
	{ PCI_INTERRUPT_LINE, 1, 0xff },
};

uint16_t cfg_u16(const uint8_t *bytes, unsigned off)
{
	return (uint16_t)(bytes[off] | bytes[off + 1] << 8);
}

uint32_t cfg_u32(const uint8_t *bytes, unsigned off)
{
	return cfg_u16(bytes, off) | (uint32_t)cfg_u16(bytes, off + 2) << 16;
}

void cfg_put(uint8_t *bytes, unsigned off, unsigned size, uint64_t val)
{
	for (unsigned i = 0; i < size; i++)
		bytes[off + i] = (uint8_t)(val >> (8 * i));
}

/* What the header's bytes are called, for traces. */
static const struct { uint8_t off, size; const char *name; } header_names[] = {
	{ PCI_VENDOR_ID, 2, "vendor" },		{ PCI_DEVICE_ID, 2, "device" },
	{ PCI_COMMAND, 2, "command" },		{ PCI_STATUS, 2, "status" },
	{ PCI_REVISION_ID, 1, "revision" },	{ PCI_CLASS_PROG, 3, "class" },
	{ PCI_CACHE_LINE_SIZE, 1, "cache_line" }, { PCI_LATENCY_TIMER, 1, "latency" },
	{ PCI_HEADER_TYPE, 1, "header_type" },	{ PCI_BASE_ADDRESS_0, 4, "bar0" },
	{ PCI_BASE_ADDRESS_1, 4, "bar1" },	{ PCI_BASE_ADDRESS_2, 4, "bar2" },
	{ PCI_BASE_ADDRESS_3, 4, "bar3" },	{ PCI_BASE_ADDRESS_4, 4, "bar4" },
	{ PCI_BASE_ADDRESS_5, 4, "bar5" },	{ PCI_SUBSYSTEM_VENDOR_ID, 2, "subsys_vendor" },
	{ PCI_SUBSYSTEM_ID, 2, "subsys_device" }, { PCI_ROM_ADDRESS, 4, "rom" },
	{ PCI_CAPABILITY_LIST, 1, "capabilities" }, { PCI_INTERRUPT_LINE, 1, "interrupt_line" },
	{ PCI_INTERRUPT_PIN, 1, "interrupt_pin" },
};

const char *cfg_name(const struct ioapi_func *f, uint64_t off, const char **block)
{
	const char *name = NULL;

	*block = "pci";
	for (unsigned i = 0; i < sizeof(header_names) / sizeof(header_names[0]); i++)
		if (touches((unsigned)off, 1, header_names[i].off, header_names[i].size))
			return header_names[i].name;
	for (unsigned i = 0; i < f->caps && off < CFG_BYTES; i++)
		if (off >= f->cap_off[i])
			name = f->cfg[f->cap_off[i]] == PCI_CAP_ID_MSIX ? "cap.msix" :
			       f->cfg[f->cap_off[i]] == PCI_CAP_ID_VNDR ? "cap.vendor" : "cap";
	return name;
}

void cfg_build(struct ioapi_func *f)
{
	uint8_t *c = f->power_on;

	cfg_put(c, PCI_VENDOR_ID, 2, f->ident.vendor);
	cfg_put(c, PCI_DEVICE_ID, 2, f->ident.device);
	cfg_put(c, PCI_REVISION_ID, 1, f->ident.revision);
	cfg_put(c, PCI_CLASS_PROG, 3, f->ident.class);
	cfg_put(c, PCI_SUBSYSTEM_VENDOR_ID, 2, f->ident.subsys_vendor);
	cfg_put(c, PCI_SUBSYSTEM_ID, 2, f->ident.subsys_device);
	c[PCI_INTERRUPT_PIN] = 1;	/* INTA# */
	for (unsigned i = 0; i < sizeof(header_writable) / sizeof(header_writable[0]); i++)
		cfg_put(f->writable, header_writable[i].off, header_writable[i].size,
			header_writable[i].mask);
	f->cap_next = PCI_STD_HEADER_SIZEOF;
}

void cfg_power_on(struct ioapi_func *f)
{
	memcpy(f->cfg, f->power_on, CFG_BYTES);
}

/* ---- COMMAND ------------------------------------------------------------------------------- */

static void command_written(struct ioapi_func *f, uint16_t was)
{
	uint16_t now = cfg_u16(f->cfg, PCI_COMMAND);
	uint32_t gate = f->gate & ~(GATE_MEM | GATE_IO);

	if (now == was)
		return;
	gate |= now & PCI_COMMAND_MEMORY ? GATE_MEM : 0;
	gate |= now & PCI_COMMAND_IO ? GATE_IO : 0;
	__atomic_store_n(&f->gate, gate, __ATOMIC_RELAXED);
	intx_update(f);
	f->ops->command_changed(f->dev, now);
}

void cfg_command_set(struct ioapi_func *f, uint16_t command)
{
	uint16_t was = cfg_u16(f->cfg, PCI_COMMAND);

	cfg_put(f->cfg, PCI_COMMAND, 2, command & cfg_u16(f->writable, PCI_COMMAND));
	command_written(f, was);
}

uint16_t pci_func_command(const struct ioapi_func *f)
{
	return cfg_u16(f->cfg, PCI_COMMAND);
}

/* ---- access -------------------------------------------------------------------------------- */

int cfg_read(struct ioapi_func *f, uint64_t off, unsigned size, uint64_t *val)
{
	uint64_t v = 0;

	if (off > CFG_BYTES - size)
		return -ENXIO;
	for (unsigned i = 0; i < f->hooks; i++) {
		const struct pci_cfg_hook *h = &f->hook[i];

		if (h->before_read && touches((unsigned)off, size, h->off, h->len))
			h->before_read(f->dev, (unsigned)off, size);
	}
	for (unsigned i = 0; i < size; i++)
		v |= (uint64_t)f->cfg[off + i] << (8 * i);
	*val = v;
	return 0;
}

static void store_byte(struct ioapi_func *f, unsigned off, uint8_t val)
{
	uint8_t mask = f->writable[off], clear = 0;

	if (off == PCI_STATUS || off == PCI_STATUS + 1)
		clear = (uint8_t)(STATUS_W1C >> (8 * (off - PCI_STATUS)));
	f->cfg[off] = (uint8_t)((f->cfg[off] & ~mask) | (val & mask)) & (uint8_t)~(val & clear);
}

int cfg_write(struct ioapi_func *f, uint64_t off, unsigned size, uint64_t val)
{
	uint16_t command = cfg_u16(f->cfg, PCI_COMMAND);
	uint16_t msix = cfg_u16(f->cfg, f->msix.cap + PCI_MSIX_FLAGS);

	if (off > CFG_BYTES - size)
		return -ENXIO;
	for (unsigned i = 0; i < size; i++)
		store_byte(f, (unsigned)off + i, (uint8_t)(val >> (8 * i)));

	if (touches((unsigned)off, size, PCI_COMMAND, 2))
		command_written(f, command);
	if (f->msix.count && touches((unsigned)off, size, f->msix.cap + PCI_MSIX_FLAGS, 2))
		msix_control_written(f, msix);
	for (unsigned i = 0; i < f->hooks; i++) {
		const struct pci_cfg_hook *h = &f->hook[i];

		if (h->after_write && touches((unsigned)off, size, h->off, h->len))
			h->after_write(f->dev, (unsigned)off, size);
	}
	return 0;
}

void pci_cfg_hook_add(struct ioapi_func *f, const struct pci_cfg_hook *h)
{
	assert(!f->realized && f->hooks < CFG_HOOKS_MAX);
	assert(h->len && h->off + h->len <= CFG_BYTES);
	f->hook[f->hooks++] = *h;
}

uint8_t *pci_cfg_bytes(struct ioapi_func *f)
{
	return f->cfg;
}

void pci_func_config(const struct ioapi_func *f, uint8_t out[CFG_BYTES])
{
	/* The lock is no part of what const promises. */
	struct lock *l = &((struct ioapi_func *)(uintptr_t)f)->lock;
	bool taken = !lock_take(l);

	memcpy(out, f->cfg, CFG_BYTES);
	if (taken)
		lock_drop(l);
}
