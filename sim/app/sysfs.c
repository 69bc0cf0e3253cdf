// SPDX-License-Identifier: Apache-2.0
// sysfs.c - renders a bus into files, as tables of names and contents.
//
// Files are real ones: a library's own open() (fopen, opendir inside libc) sees them too. Only
// what changes while a driver runs is answered by the preload library instead.
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "include/ioapi.h"
#include "sim/app/config.h"
#include "sim/app/sysfs.h"
#include "sim/app/sysfs_dev.h"
#include "sim/app/tree.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SYSFS_CONF_MAX 32768	/* of podpci.conf */

static const char *const dirs[] = {
	"bus", "bus/pci", "bus/pci/drivers",
	"bus/pci/slots", "bus/pci/podpci", "bus/pci/podpci/modules", "kernel",
	"module", "module/vfio", "module/vfio/parameters",
	"module/vfio_pci", "module/vfio_pci/parameters",
	"module/vfio_iommu_type1", "module/vfio_iommu_type1/parameters",
};

static const struct {
	const char *name;
	mode_t      mode;
	const char *text;
} files[] = {
	{ "bus/pci/drivers_autoprobe",           0644, "1\n" },
	{ "bus/pci/drivers_probe",               0200, "" },
	{ "bus/pci/rescan",                      0220, "" },
	{ "bus/pci/resource_alignment",          0644, "\n" },
	{ "bus/pci/uevent",                      0200, "" },
	{ "module/vfio/initstate",               0444, "live\n" },
	{ "module/vfio/refcnt",                  0444, "1\n" },
	{ "module/vfio/parameters/enable_unsafe_noiommu_mode", 0644, "N\n" },
	{ "module/vfio_pci/initstate",           0444, "live\n" },
	{ "module/vfio_pci/refcnt",              0444, "0\n" },
	{ "module/vfio_pci/parameters/ids",      0444, "\n" },
	{ "module/vfio_iommu_type1/initstate",   0444, "live\n" },
	{ "module/vfio_iommu_type1/refcnt",      0444, "0\n" },
	{ "module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", 0644, "N\n" },
	{ "module/vfio_iommu_type1/parameters/disable_hugepages", 0644, "N\n" },
	{ "module/vfio_iommu_type1/parameters/dma_entry_limit", 0644, "65535\n" },
};

static const struct sysfs_mount mounts[] = {
	/* bus/pci last: the others keep what they cover inside it. */
	{ "module",              "/sys/module",              true, false },
	{ "kernel/iommu_groups", "/sys/kernel/iommu_groups", false, false },
	{ "class/uio",           "/sys/class/uio",           false, true },
	{ "bus/pci",             "/sys/bus/pci",             false, false },
};

static const char *const plugs[] = {
	"bus/pci/devices", "bus/pci/drivers", "kernel/iommu_groups", "class/uio",
};

const char *sysfs_plug(unsigned i)
{
	return i < ARRAY_SIZE(plugs) ? plugs[i] : NULL;
}

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
		t->rc = err_set(t->e, -ENOMEM, "%s: out of memory", p.text);
		return;
	}
	len = config_format(c, text, SYSFS_CONF_MAX);
	assert(len < SYSFS_CONF_MAX);
	tree_file(t, p, 0444, text, (size_t)len);
	free(text);
}

/* A driver of the host: always vfio-pci, others where a function hangs on them. */
static void driver_render(struct tree *t, const struct sysfs_driver *d)
{
	static const char *const names[] = { "bind", "new_id", "remove_id", "uevent", "unbind" };

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

/* What changes when a function comes or goes is its owner's; other directories are not. */
static void plug_dir(struct tree *t, uid_t owner, struct place p)
{
	t->owner = owner;
	tree_dir(t, p);
	t->owner = (uid_t)-1;
}

static void drivers_render(struct tree *t, const struct config *c, uid_t owner)
{
	bool used[IOAPI_DOORS] = { [IOAPI_DOOR_VFIO] = true }, uio = false;
	const struct sysfs_driver *d;

	for (unsigned i = 0; i < c->nets; i++)
		used[c->net[i].door] = true;
	for (unsigned i = 0; i < IOAPI_DOORS; i++) {
		d = sysfs_driver(i);
		if (!used[i] || !d->name)
			continue;
		plug_dir(t, owner, at("bus/pci/drivers/%s", d->name));
		driver_render(t, d);
		uio = uio || d->uio;
	}
	if (!uio)
		return;
	tree_dir(t, at("class"));
	plug_dir(t, owner, at("class/uio"));
	tree_dir(t, at("module/uio"));
	tree_text(t, at("module/uio/initstate"), 0444, "live\n");
}

int sysfs_render(struct ioapi_bus *bus, const struct config *c, int dirfd, uid_t owner,
		 struct err *e)
{
	struct tree t = TREE_INIT(dirfd, e);
	struct ioapi_func *f;

	for (unsigned i = 0; i < ARRAY_SIZE(dirs); i++)
		tree_dir(&t, at("%s", dirs[i]));
	for (unsigned i = 0; i < ARRAY_SIZE(files); i++)
		tree_text(&t, at("%s", files[i].name), files[i].mode, files[i].text);
	plug_dir(&t, owner, at("bus/pci/devices"));
	plug_dir(&t, owner, at("kernel/iommu_groups"));
	drivers_render(&t, c, owner);
	modules_render(&t);
	conf_render(&t, c);
	t.owner = owner;
	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++)
		sysfs_dev_render(&t, f, NULL);
	return t.rc;
}
