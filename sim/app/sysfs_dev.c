// SPDX-License-Identifier: Apache-2.0
// sysfs_dev.c - one function's directory, and what else names it in the tree.
#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "sim/app/sysfs.h"
#include "sim/app/sysfs_dev.h"
#include "sim/app/tree.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SYSFS_TEXT_MAX 2048	/* of a file */
#define SYSFS_BARS     6
#define SYSFS_RESOURCES 13	/* 6 BARs, ROM and 6 SR-IOV BARs, as the kernel lists */

/* linux/ioport.h is not for user space; these are the bits "resource" files show. */
#define RES_IO        0x00000100u
#define RES_MEM       0x00000200u
#define RES_PREFETCH  0x00002000u
#define RES_SIZEALIGN 0x00040000u
#define RES_MEM_64    0x00100000u

/* ---- one function -------------------------------------------------------------------------- */

struct dev {
	struct ioapi_func *f;
	struct ioapi_ident id;
	const struct sysfs_driver *driver;
	struct place dir;		/* being filled; takes its name when it is whole */
	uint8_t  config[PCI_CFG_SPACE_SIZE];
};

struct attr {
	const char *name;
	mode_t      mode;
	const char *text;		/* constant content, or */
	int       (*print)(const struct dev *d, char *buf, size_t len);
};

static int print_vendor(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "0x%04x\n", d->id.vendor);
}

static int print_device(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "0x%04x\n", d->id.device);
}

static int print_subsystem_vendor(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "0x%04x\n", d->id.subsys_vendor);
}

static int print_subsystem_device(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "0x%04x\n", d->id.subsys_device);
}

static int print_class(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "0x%06x\n", d->id.class);
}

static int print_revision(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "0x%02x\n", d->id.revision);
}

static int print_modalias(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "pci:v%08Xd%08Xsv%08Xsd%08Xbc%02Xsc%02Xi%02X\n", d->id.vendor,
			d->id.device, d->id.subsys_vendor, d->id.subsys_device,
			d->id.class >> 16 & 0xff, d->id.class >> 8 & 0xff, d->id.class & 0xff);
}

static int print_uevent(const struct dev *d, char *buf, size_t len)
{
	char alias[128];

	print_modalias(d, alias, sizeof(alias));
	return snprintf(buf, len,
			"%s%s%sPCI_CLASS=%04X\nPCI_ID=%04X:%04X\n"
			"PCI_SUBSYS_ID=%04X:%04X\nPCI_SLOT_NAME=%s\nMODALIAS=%s",
			d->driver->name ? "DRIVER=" : "", d->driver->name ? d->driver->name : "",
			d->driver->name ? "\n" : "", d->id.class, d->id.vendor, d->id.device,
			d->id.subsys_vendor, d->id.subsys_device, d->id.bdf, alias);
}

/* The flags word of a BAR, from its low bits in configuration space (PCI 3.0, 6.2.5.1). */
static uint64_t bar_flags(const struct dev *d, unsigned bar)
{
	uint8_t low = d->config[PCI_BASE_ADDRESS_0 + 4 * bar];
	uint64_t flags = RES_SIZEALIGN;

	if (low & PCI_BASE_ADDRESS_SPACE_IO)
		return flags | RES_IO | PCI_BASE_ADDRESS_SPACE_IO;
	flags |= RES_MEM | (low & ~PCI_BASE_ADDRESS_MEM_MASK & 0xf);
	if ((low & PCI_BASE_ADDRESS_MEM_TYPE_MASK) == PCI_BASE_ADDRESS_MEM_TYPE_64)
		flags |= RES_MEM_64;
	if (low & PCI_BASE_ADDRESS_MEM_PREFETCH)
		flags |= RES_PREFETCH;
	return flags;
}

static int print_resource(const struct dev *d, char *buf, size_t len)
{
	size_t used = 0;

	for (unsigned i = 0; i < SYSFS_RESOURCES; i++) {
		struct ioapi_region r = { 0 };
		uint64_t start = 0, end = 0, flags = 0;

		if (i < SYSFS_BARS)
			ioapi_region(d->f, i, &r);
		if (r.size) {
			start = pci_func_bar_addr(d->f, i);
			end = start + r.size - 1;
			flags = bar_flags(d, i);
		}
		used += (size_t)snprintf(buf + used, len - used, "0x%016llx 0x%016llx 0x%016llx\n",
					 (unsigned long long)start, (unsigned long long)end,
					 (unsigned long long)flags);
	}
	return (int)used;
}

static unsigned cpu_count(void)
{
	long n = sysconf(_SC_NPROCESSORS_CONF);

	return n > 0 && n <= 4096 ? (unsigned)n : 1;
}

static int print_local_cpulist(const struct dev *d, char *buf, size_t len)
{
	unsigned n = cpu_count();

	return n == 1 ? snprintf(buf, len, "0\n") : snprintf(buf, len, "0-%u\n", n - 1);
}

/* Words of 32 CPUs, the highest first: "f,ffffffff". */
static int print_local_cpus(const struct dev *d, char *buf, size_t len)
{
	unsigned n = cpu_count(), words = (n + 31) / 32;
	uint32_t first = (uint32_t)(n % 32 ? (1ull << n % 32) - 1 : ~0u);
	size_t used = (size_t)snprintf(buf, len, "%x", first);

	for (unsigned i = 1; i < words; i++)
		used += (size_t)snprintf(buf + used, len - used, ",ffffffff");
	return (int)used + snprintf(buf + used, len - used, "\n");
}

static int print_config(const struct dev *d, char *buf, size_t len)
{
	assert(len >= sizeof(d->config));
	memcpy(buf, d->config, sizeof(d->config));
	return sizeof(d->config);
}

static int print_driver_override(const struct dev *d, char *buf, size_t len)
{
	return snprintf(buf, len, "%s\n", d->driver->name ? d->driver->name : "(null)");
}

/* Modes as the kernel's: 0644 and 0200 are the administrator's. */
static const struct attr dev_attrs[] = {
	{ "ari_enabled",              0444, "0\n", NULL },
	{ "broken_parity_status",     0644, "0\n", NULL },
	{ "class",                    0444, NULL, print_class },
	{ "config",                   0644, NULL, print_config },
	{ "consistent_dma_mask_bits", 0444, "64\n", NULL },
	{ "d3cold_allowed",           0644, "0\n", NULL },
	{ "device",                   0444, NULL, print_device },
	{ "dma_mask_bits",            0444, "64\n", NULL },
	{ "driver_override",          0644, NULL, print_driver_override },
	{ "enable",                   0644, "1\n", NULL },
	{ "irq",                      0444, "0\n", NULL },
	{ "local_cpulist",            0444, NULL, print_local_cpulist },
	{ "local_cpus",               0444, NULL, print_local_cpus },
	{ "modalias",                 0444, NULL, print_modalias },
	{ "msi_bus",                  0644, "1\n", NULL },
	{ "numa_node",                0644, "-1\n", NULL },
	{ "power/control",            0644, "on\n", NULL },
	{ "power/runtime_status",     0444, "active\n", NULL },
	{ "power_state",              0444, "D0\n", NULL },
	{ "remove",                   0220, "", NULL },
	{ "rescan",                   0220, "", NULL },
	{ "resource",                 0444, NULL, print_resource },
	{ "revision",                 0444, NULL, print_revision },
	{ "subsystem_device",         0444, NULL, print_subsystem_device },
	{ "subsystem_vendor",         0444, NULL, print_subsystem_vendor },
	{ "uevent",                   0644, NULL, print_uevent },
	{ "vendor",                   0444, NULL, print_vendor },
};

/* ---- what names it ------------------------------------------------------------------------- */

static const struct sysfs_driver drivers[] = {
	[IOAPI_DOOR_VFIO]    = { "vfio-pci",        "vfio_pci",        true,  false },
	[IOAPI_DOOR_UIO]     = { "uio_pci_generic", "uio_pci_generic", false, true },
	[IOAPI_DOOR_IGB_UIO] = { "igb_uio",         "igb_uio",         false, true },
	[IOAPI_DOOR_SYSFS]   = { NULL,              NULL,              false, false },
};

const struct sysfs_driver *sysfs_driver(unsigned door)
{
	return door < ARRAY_SIZE(drivers) ? &drivers[door] : NULL;
}

static void group_render(struct tree *t, const struct dev *d)
{
	unsigned group = d->id.number;

	tree_dir(t, at("kernel/iommu_groups/%u", group));
	tree_dir(t, at("kernel/iommu_groups/%u/devices", group));
	tree_text(t, at("kernel/iommu_groups/%u/type", group), 0644, "DMA\n");
	tree_text(t, at("kernel/iommu_groups/%u/reserved_regions", group), 0444,
		  "0x00000000fee00000 0x00000000feefffff msi\n");
	tree_link(t, at("../../../../kernel/iommu_groups/%u", group),
		  at("%.200s/iommu_group", d->dir.text));
	tree_link(t, at("../../../../bus/pci/devices/%s", d->id.bdf),
		  at("kernel/iommu_groups/%u/devices/%s", group, d->id.bdf));
}

/* As the kernel's uio core shows it, see Documentation/driver-api/uio-howto.rst. */
static void uio_render(struct tree *t, const struct dev *d)
{
	struct place dir = at("%.150s/uio/uio%u", d->dir.text, d->id.uio);

	tree_dir(t, at("%.200s/uio", d->dir.text));
	tree_dir(t, dir);
	tree_text(t, at("%.200s/name", dir.text), 0444, at("%s\n", d->driver->name).text);
	tree_text(t, at("%.200s/version", dir.text), 0444, "0.01.0\n");
	tree_text(t, at("%.200s/event", dir.text), 0444, "0\n");
	tree_text(t, at("%.200s/dev", dir.text), 0444, at("510:%u\n", d->id.uio).text);
	tree_link(t, at("../../../%s", d->id.bdf), at("%.200s/device", dir.text));
	tree_link(t, at("../../bus/pci/devices/%s/uio/uio%u", d->id.bdf, d->id.uio),
		  at("class/uio/uio%u", d->id.uio));
}

/* Links of a device directory, and what its driver adds to it. */
static void dev_links(struct tree *t, const struct dev *d)
{
	const char *bdf = d->id.bdf, *driver = d->driver->name;

	tree_link(t, at("../../../pci"), at("%.200s/subsystem", d->dir.text));
	if (driver) {
		tree_link(t, at("../../drivers/%s", driver), at("%.200s/driver", d->dir.text));
		tree_link(t, at("../../devices/%s", bdf), at("bus/pci/drivers/%s/%s", driver, bdf));
	}
	if (d->driver->iommu)
		group_render(t, d);
	if (d->driver->uio)
		uio_render(t, d);
}

/* ---- the whole of it ----------------------------------------------------------------------- */

static void attrs_render(struct tree *t, const struct dev *d)
{
	char buf[SYSFS_TEXT_MAX];
	struct ioapi_region r;

	for (unsigned i = 0; i < ARRAY_SIZE(dev_attrs); i++) {
		const struct attr *a = &dev_attrs[i];
		struct place p = at("%.200s/%s", d->dir.text, a->name);

		if (a->text)
			tree_text(t, p, a->mode, a->text);
		else
			tree_file(t, p, a->mode, buf, (size_t)a->print(d, buf, sizeof(buf)));
	}
	for (unsigned i = 0; i < SYSFS_BARS; i++)
		if (!ioapi_region(d->f, i, &r) && r.size)
			tree_file(t, at("%.200s/resource%u", d->dir.text, i), 0600, NULL,
				  (size_t)r.size);
}

void sysfs_dev_render(struct tree *t, struct ioapi_func *f, const char *plugged)
{
	struct dev d = { .f = f };

	ioapi_ident(f, &d.id);
	d.driver = sysfs_driver(d.id.door);
	d.dir = at("bus/pci/devices/.%s", d.id.bdf);
	pci_func_config(f, d.config);
	tree_dir(t, d.dir);
	tree_dir(t, at("%.200s/power", d.dir.text));
	attrs_render(t, &d);
	dev_links(t, &d);
	if (plugged)
		tree_text(t, at("%.200s/" SYSFS_PLUGGED, d.dir.text), 0444, plugged);
	tree_rename(t, d.dir, at("bus/pci/devices/%s", d.id.bdf));
}

void sysfs_dev_remove(int dirfd, const struct ioapi_ident *id)
{
	struct place hidden = at("bus/pci/devices/.%s", id->bdf);
	struct tree t = TREE_INIT(dirfd, NULL);

	tree_remove(dirfd, hidden.text);
	tree_rename(&t, at("bus/pci/devices/%s", id->bdf), hidden);
	tree_remove(dirfd, hidden.text);
	for (unsigned i = 0; i < ARRAY_SIZE(drivers); i++)
		if (drivers[i].name)
			tree_remove(dirfd, at("bus/pci/drivers/%s/%s", drivers[i].name,
					      id->bdf).text);
	if (drivers[id->door].iommu)
		tree_remove(dirfd, at("kernel/iommu_groups/%u", id->number).text);
	if (drivers[id->door].uio)
		tree_remove(dirfd, at("class/uio/uio%u", id->uio).text);
}
