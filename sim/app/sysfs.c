// SPDX-License-Identifier: Apache-2.0
// sysfs.c - renders a bus into files, as tables of names and contents.
//
// Files are real ones: a library's own open() (fopen, opendir inside libc) sees them too. Only
// what changes while a driver runs is answered by the preload library instead.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/sysfs.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SYSFS_CONF_MAX 32768	/* of podpci.conf */
#define SYSFS_TEXT_MAX 2048	/* of any other file */
#define SYSFS_BARS     6
#define SYSFS_RESOURCES 13	/* 6 BARs, ROM and 6 SR-IOV BARs, as the kernel lists */

/* linux/ioport.h is not for user space; these are the bits "resource" files show. */
#define RES_IO        0x00000100u
#define RES_MEM       0x00000200u
#define RES_PREFETCH  0x00002000u
#define RES_SIZEALIGN 0x00040000u
#define RES_MEM_64    0x00100000u

/* ---- a directory being filled; the first error sticks and the rest is skipped -------------- */

struct tree {
	int         dirfd;
	int         rc;
	struct err *e;
};

struct place {
	char text[256];
};

static struct place __attribute__((format(printf, 1, 2))) at(const char *fmt, ...)
{
	struct place p;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p.text, sizeof(p.text), fmt, ap);
	va_end(ap);
	return p;
}

static void tree_fail(struct tree *t, const char *what, const struct place *p)
{
	t->rc = err_set(t->e, errno ? -errno : -EIO, "%s %s: %s", what, p->text, strerror(errno));
}

static void tree_dir(struct tree *t, struct place p)
{
	if (!t->rc && mkdirat(t->dirfd, p.text, 0755))
		tree_fail(t, "mkdir", &p);
}

static void tree_link(struct tree *t, struct place target, struct place p)
{
	if (!t->rc && symlinkat(target.text, t->dirfd, p.text))
		tree_fail(t, "symlink", &p);
}

/* `bytes` NULL: a file of holes. */
static void tree_file(struct tree *t, struct place p, mode_t mode, const void *bytes, size_t len)
{
	bool ok;
	int fd;

	if (t->rc)
		return;
	fd = openat(t->dirfd, p.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		tree_fail(t, "create", &p);
		return;
	}
	ok = bytes ? write(fd, bytes, len) == (ssize_t)len : !ftruncate(fd, (off_t)len);
	if (!ok || fchmod(fd, mode))
		tree_fail(t, "write", &p);
	close(fd);
}

static void tree_text(struct tree *t, struct place p, mode_t mode, const char *text)
{
	tree_file(t, p, mode, text, strlen(text));
}

/* ---- one function -------------------------------------------------------------------------- */

/* The host driver a function seems to hang on. */
static const struct driver {
	const char *name, *module;	/* NULL: none */
	bool        iommu, uio;
} drivers[] = {
	[IOAPI_DOOR_VFIO]    = { "vfio-pci",        "vfio_pci",        true,  false },
	[IOAPI_DOOR_UIO]     = { "uio_pci_generic", "uio_pci_generic", false, true },
	[IOAPI_DOOR_IGB_UIO] = { "igb_uio",         "igb_uio",         false, true },
	[IOAPI_DOOR_SYSFS]   = { NULL,              NULL,              false, false },
};

struct dev {
	struct ioapi_func *f;
	struct ioapi_ident id;
	const struct driver *driver;
	unsigned group;
	unsigned uio;			/* its number, if it has one */
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

static void group_render(struct tree *t, const struct dev *d)
{
	tree_dir(t, at("kernel/iommu_groups/%u", d->group));
	tree_dir(t, at("kernel/iommu_groups/%u/devices", d->group));
	tree_text(t, at("kernel/iommu_groups/%u/type", d->group), 0644, "DMA\n");
	tree_text(t, at("kernel/iommu_groups/%u/reserved_regions", d->group), 0444,
		  "0x00000000fee00000 0x00000000feefffff msi\n");
	tree_link(t, at("../../../../kernel/iommu_groups/%u", d->group),
		  at("bus/pci/devices/%s/iommu_group", d->id.bdf));
	tree_link(t, at("../../../../bus/pci/devices/%s", d->id.bdf),
		  at("kernel/iommu_groups/%u/devices/%s", d->group, d->id.bdf));
}

/* As the kernel's uio core shows it, see Documentation/driver-api/uio-howto.rst. */
static void uio_render(struct tree *t, const struct dev *d)
{
	struct place dir = at("bus/pci/devices/%s/uio/uio%u", d->id.bdf, d->uio);

	tree_dir(t, at("bus/pci/devices/%s/uio", d->id.bdf));
	tree_dir(t, dir);
	tree_text(t, at("%.200s/name", dir.text), 0444, at("%s\n", d->driver->name).text);
	tree_text(t, at("%.200s/version", dir.text), 0444, "0.01.0\n");
	tree_text(t, at("%.200s/event", dir.text), 0444, "0\n");
	tree_text(t, at("%.200s/dev", dir.text), 0444, at("510:%u\n", d->uio).text);
	tree_link(t, at("../../../%s", d->id.bdf), at("%.200s/device", dir.text));
	tree_link(t, at("../../bus/pci/devices/%s/uio/uio%u", d->id.bdf, d->uio),
		  at("class/uio/uio%u", d->uio));
}

/* Links of a device directory, and what its driver adds to it. */
static void dev_links(struct tree *t, const struct dev *d)
{
	const char *bdf = d->id.bdf, *driver = d->driver->name;

	tree_link(t, at("../../../pci"), at("bus/pci/devices/%s/subsystem", bdf));
	if (driver) {
		tree_link(t, at("../../drivers/%s", driver), at("bus/pci/devices/%s/driver", bdf));
		tree_link(t, at("../../devices/%s", bdf), at("bus/pci/drivers/%s/%s", driver, bdf));
	}
	if (d->driver->iommu)
		group_render(t, d);
	if (d->driver->uio)
		uio_render(t, d);
}

static void resources_render(struct tree *t, const struct dev *d)
{
	struct ioapi_region r;

	for (unsigned i = 0; i < SYSFS_BARS; i++)
		if (!ioapi_region(d->f, i, &r) && r.size)
			tree_file(t, at("bus/pci/devices/%s/resource%u", d->id.bdf, i), 0600,
				  NULL, (size_t)r.size);
}

static void dev_render(struct tree *t, struct dev *d)
{
	char buf[SYSFS_TEXT_MAX];

	ioapi_ident(d->f, &d->id);
	pci_func_config(d->f, d->config);
	tree_dir(t, at("bus/pci/devices/%s", d->id.bdf));
	tree_dir(t, at("bus/pci/devices/%s/power", d->id.bdf));
	for (unsigned i = 0; i < ARRAY_SIZE(dev_attrs); i++) {
		const struct attr *a = &dev_attrs[i];
		struct place p = at("bus/pci/devices/%s/%s", d->id.bdf, a->name);

		if (a->text)
			tree_text(t, p, a->mode, a->text);
		else
			tree_file(t, p, a->mode, buf, (size_t)a->print(d, buf, sizeof(buf)));
	}
	resources_render(t, d);
	dev_links(t, d);
}

/* ---- the rest of the tree ------------------------------------------------------------------ */

static const char *const dirs[] = {
	"bus", "bus/pci", "bus/pci/devices", "bus/pci/drivers",
	"bus/pci/slots", "bus/pci/podpci", "bus/pci/podpci/modules", "kernel",
	"kernel/iommu_groups", "module", "module/vfio", "module/vfio/parameters",
	"module/vfio_pci", "module/vfio_pci/parameters",
	"module/vfio_iommu_type1", "module/vfio_iommu_type1/parameters",
};

static const struct attr files[] = {
	{ "bus/pci/drivers_autoprobe",           0644, "1\n", NULL },
	{ "bus/pci/drivers_probe",               0200, "", NULL },
	{ "bus/pci/rescan",                      0220, "", NULL },
	{ "bus/pci/resource_alignment",          0644, "\n", NULL },
	{ "bus/pci/uevent",                      0200, "", NULL },
	{ "module/vfio/initstate",               0444, "live\n", NULL },
	{ "module/vfio/refcnt",                  0444, "1\n", NULL },
	{ "module/vfio/parameters/enable_unsafe_noiommu_mode", 0644, "N\n", NULL },
	{ "module/vfio_pci/initstate",           0444, "live\n", NULL },
	{ "module/vfio_pci/refcnt",              0444, "0\n", NULL },
	{ "module/vfio_pci/parameters/ids",      0444, "\n", NULL },
	{ "module/vfio_iommu_type1/initstate",   0444, "live\n", NULL },
	{ "module/vfio_iommu_type1/refcnt",      0444, "0\n", NULL },
	{ "module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", 0644, "N\n", NULL },
	{ "module/vfio_iommu_type1/parameters/disable_hugepages", 0644, "N\n", NULL },
	{ "module/vfio_iommu_type1/parameters/dma_entry_limit", 0644, "65535\n", NULL },
};

static const struct sysfs_mount mounts[] = {
	/* bus/pci last: the others keep what they cover inside it. */
	{ "module",              "/sys/module",              true, false },
	{ "kernel/iommu_groups", "/sys/kernel/iommu_groups", false, false },
	{ "class/uio",           "/sys/class/uio",           false, true },
	{ "bus/pci",             "/sys/bus/pci",             false, false },
};

const struct sysfs_mount *sysfs_mount(unsigned i)
{
	return i < ARRAY_SIZE(mounts) ? &mounts[i] : NULL;
}

/* kmod's index format: magic, version 2.1, root node 0: no entries. Big-endian. */
static void modules_render(struct tree *t)
{
	static const uint8_t empty[] = { 0xb0, 0x07, 0xf4, 0x57, 0, 2, 0, 1, 0, 0, 0, 0 };
	static const char *const names[] = {
		"dep", "alias", "symbols", "builtin", "builtin.alias",
	};
	struct utsname host = { .release = "" };

	uname(&host);
	tree_dir(t, at("bus/pci/podpci/modules/%s", host.release));
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		tree_file(t, at("bus/pci/podpci/modules/%s/modules.%s.bin", host.release, names[i]),
			  0444, empty, sizeof(empty));
}

static void conf_render(struct tree *t, const struct config *c)
{
	static const struct place p = { "bus/pci/podpci.conf" };
	char *text = malloc(SYSFS_CONF_MAX);
	int len;

	if (!text) {
		errno = ENOMEM;
		tree_fail(t, "format", &p);
		return;
	}
	len = config_format(c, text, SYSFS_CONF_MAX);
	assert(len < SYSFS_CONF_MAX);
	tree_file(t, p, 0444, text, (size_t)len);
	free(text);
}

/* A driver of the host: always vfio-pci, others where a function hangs on them. */
static void driver_render(struct tree *t, const struct driver *d)
{
	static const char *const names[] = { "bind", "new_id", "remove_id", "uevent", "unbind" };

	tree_dir(t, at("bus/pci/drivers/%s", d->name));
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		tree_text(t, at("bus/pci/drivers/%s/%s", d->name, names[i]), 0200, "");
	tree_link(t, at("../../../../module/%s", d->module),
		  at("bus/pci/drivers/%s/module", d->name));
	if (!d->iommu) {
		tree_dir(t, at("module/%s", d->module));
		tree_text(t, at("module/%s/initstate", d->module), 0444, "live\n");
	}
	tree_dir(t, at("module/%s/drivers", d->module));
	tree_link(t, at("../../../bus/pci/drivers/%s", d->name),
		  at("module/%s/drivers/pci:%s", d->module, d->name));
}

static void drivers_render(struct tree *t, const struct config *c)
{
	bool used[ARRAY_SIZE(drivers)] = { [IOAPI_DOOR_VFIO] = true }, uio = false;

	for (unsigned i = 0; i < c->nets; i++)
		used[c->net[i].door] = true;
	for (unsigned i = 0; i < ARRAY_SIZE(drivers); i++) {
		if (!used[i] || !drivers[i].name)
			continue;
		driver_render(t, &drivers[i]);
		uio = uio || drivers[i].uio;
	}
	if (!uio)
		return;
	tree_dir(t, at("class"));
	tree_dir(t, at("class/uio"));
	tree_dir(t, at("module/uio"));
	tree_text(t, at("module/uio/initstate"), 0444, "live\n");
}

int sysfs_render(struct ioapi_bus *bus, const struct config *c, int dirfd, struct err *e)
{
	struct tree t = { .dirfd = dirfd, .e = e };
	struct ioapi_func *f;
	struct ioapi_ident id;
	unsigned uios = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++)
		tree_dir(&t, at("%s", dirs[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		tree_text(&t, at("%s", files[i].name), files[i].mode, files[i].text);
	drivers_render(&t, c);
	modules_render(&t);
	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++) {
		struct dev d = { .f = f, .group = 1 + i };

		ioapi_ident(f, &id);
		d.driver = &drivers[ioapi_bus_door(bus, id.bdf)];
		d.uio = d.driver->uio ? uios++ : 0;
		dev_render(&t, &d);
	}
	conf_render(&t, c);
	return t.rc;
}
