// SPDX-License-Identifier: Apache-2.0
// sysfs.c - see Linux Documentation/PCI/sysfs-pci.rst for what each file means.
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/func.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/region.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/sysfs.h"

#define DECODING (PCI_COMMAND_IO | PCI_COMMAND_MEMORY)

static struct file {
	struct ours        o;
	bool               taken;
	struct ioapi_func *f;
	unsigned           region;
	int                mode;	/* O_RDONLY, O_WRONLY, O_RDWR */
} pool[SYSFS_OPEN_MAX];

static struct file *file_of(struct ours *o)
{
	return (struct file *)o;
}

static void released(struct ours *o)
{
	__atomic_store_n(&file_of(o)->taken, false, __ATOMIC_RELEASE);
}

/* ---- config and resources: regions as bytes ------------------------------------------------ */

static ssize_t region_pread(struct ours *o, void *buf, size_t n, uint64_t off)
{
	struct file *x = file_of(o);

	return x->mode == O_WRONLY ? -EBADF : region_read(x->f, x->region, off, buf, n);
}

static ssize_t region_pwrite(struct ours *o, const void *buf, size_t n, uint64_t off)
{
	struct file *x = file_of(o);
	int rc = x->mode == O_RDONLY ? -EBADF : func_use(x->f);

	return rc < 0 ? rc : region_write(x->f, x->region, off, buf, n);
}

static long resource_mmap(struct ours *o, void *addr, size_t len, int prot, int flags,
			  uint64_t off)
{
	return region_mmap(file_of(o)->f, file_of(o)->region, off, addr, len, flags);
}

static const struct ours_ops config_ops = {
	.name = "podpci:config",
	.ioctl = ours_no_ioctl,
	.pread = region_pread,
	.pwrite = region_pwrite,
	.mmap = ours_no_mmap,
	.released = released,
};

static const struct ours_ops resource_ops = {
	.name = "podpci:resource",
	.ioctl = ours_no_ioctl,
	.pread = region_pread,
	.pwrite = region_pwrite,
	.mmap = resource_mmap,
	.released = released,
};

/* ---- enable: a number as text -------------------------------------------------------------- */

static ssize_t enable_pread(struct ours *o, void *buf, size_t n, uint64_t off)
{
	uint64_t command = DECODING;
	char *text = buf;

	if (off >= 2 || !n)
		return 0;
	if (func_is_open(file_of(o)->f))
		func_read(file_of(o)->f, IOAPI_CONFIG, PCI_COMMAND, 2, &command);
	if (off)
		text[0] = '\n';
	else
		text[0] = command & DECODING ? '1' : '0';
	if (off || n < 2)
		return 1;
	text[1] = '\n';
	return 2;
}

/* Of a function that is not open here: opening it turns decoding on, nothing is left to do. */
static ssize_t enable_pwrite(struct ours *o, const void *buf, size_t n, uint64_t off)
{
	struct ioapi_func *f = file_of(o)->f;
	const char *text = buf;
	uint64_t command;
	int rc;

	if (!n || (text[0] != '0' && text[0] != '1') || (n > 1 && text[1] != '\n'))
		return -EINVAL;
	if (!func_is_open(f))
		return (ssize_t)n;
	rc = func_read(f, IOAPI_CONFIG, PCI_COMMAND, 2, &command);
	if (rc < 0)
		return rc;
	command = text[0] == '1' ? command | DECODING : command & ~(uint64_t)DECODING;
	rc = func_write(f, IOAPI_CONFIG, PCI_COMMAND, 2, command);
	return rc < 0 ? rc : (ssize_t)n;
}

static const struct ours_ops enable_ops = {
	.name = "podpci:enable",
	.ioctl = ours_no_ioctl,
	.pread = enable_pread,
	.pwrite = enable_pwrite,
	.mmap = ours_no_mmap,
	.released = released,
};

/* ---- opening ------------------------------------------------------------------------------- */

static int open_file(const struct ours_ops *ops, struct ioapi_func *f, unsigned region, int flags)
{
	for (unsigned i = 0; i < SYSFS_OPEN_MAX; i++) {
		struct file *x = &pool[i];
		int fd;

		if (__atomic_exchange_n(&x->taken, true, __ATOMIC_ACQUIRE))
			continue;
		x->o = (struct ours){ .ops = ops };
		x->f = f;
		x->region = region;
		x->mode = flags & O_ACCMODE;
		fd = fdtab_open(&x->o);
		if (fd < 0)
			released(&x->o);
		return fd;
	}
	return -EMFILE;
}

/* Who only looks at a function that is not open here is served by the rendered file. */
int sysfs_open_config(const struct named *n, int flags)
{
	struct ioapi_func *f = ioapi_bus_find(shim_bus(), n->bdf);

	if (!f || ((flags & O_ACCMODE) == O_RDONLY && !func_is_open(f)))
		return PATHS_FOREIGN;
	return open_file(&config_ops, f, IOAPI_CONFIG, flags);
}

int sysfs_open_enable(const struct named *n, int flags)
{
	struct ioapi_func *f = ioapi_bus_find(shim_bus(), n->bdf);

	return f ? open_file(&enable_ops, f, 0, flags) : PATHS_FOREIGN;
}

int sysfs_open_resource(const struct named *n, int flags)
{
	struct ioapi_func *f = ioapi_bus_find(shim_bus(), n->bdf);
	struct ioapi_region r;
	int rc;

	if (!f)
		return PATHS_FOREIGN;
	if (n->num > IOAPI_BAR5 || ioapi_region(f, n->num, &r) < 0 || !r.size)
		return -ENOENT;
	rc = func_use(f);
	return rc < 0 ? rc : open_file(&resource_ops, f, n->num, flags);
}
