// SPDX-License-Identifier: Apache-2.0
// uio.c - the placeholder is an eventfd, the one the device signals: poll and epoll just work.
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>

#include "include/ioapi.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/func.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/region.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/uio.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"

#define PAGE 4096u

static struct uio {
	struct ours        o;
	struct ioapi_func *f;
	int                event;	/* while it has descriptors; of one open file with them */
	uint32_t           total;
} pool[FUNCS_MAX];

static struct uio *uio_of(struct ours *o)
{
	return (struct uio *)o;
}

/* Waits unless the descriptor is non-blocking. */
static ssize_t uio_pread(struct ours *o, void *buf, size_t n, uint64_t off)
{
	struct uio *u = uio_of(o);
	uint64_t more;
	uint32_t total;
	long rc;

	if (n != sizeof(total))
		return -EINVAL;
	rc = sys_call(SYS_read, u->event, &more, sizeof(more));
	if (rc < 0)
		return rc;
	total = __atomic_add_fetch(&u->total, (uint32_t)more, __ATOMIC_RELAXED);
	memcpy(buf, &total, sizeof(total));
	return sizeof(total);
}

static int command_change(struct ioapi_func *f, uint16_t clear, uint16_t set)
{
	uint64_t command;
	int rc = func_read(f, IOAPI_CONFIG, PCI_COMMAND, 2, &command);

	return rc < 0 ? rc : func_write(f, IOAPI_CONFIG, PCI_COMMAND, 2,
					 (command & ~(uint64_t)clear) | set);
}

/* igb_uio: 1 lets interrupts through, 0 does not. uio_pci_generic has that in PCI_COMMAND. */
static ssize_t uio_pwrite(struct ours *o, const void *buf, size_t n, uint64_t off)
{
	struct uio *u = uio_of(o);
	int32_t on;
	int rc;

	if (n != sizeof(on))
		return -EINVAL;
	if (func_door(u->f) != IOAPI_DOOR_IGB_UIO)
		return -ENOSYS;
	memcpy(&on, buf, sizeof(on));
	rc = command_change(u->f, PCI_COMMAND_INTX_DISABLE, on ? 0 : PCI_COMMAND_INTX_DISABLE);
	return rc < 0 ? rc : (ssize_t)n;
}

/* The offset counts maps, in pages. */
static long uio_mmap(struct ours *o, void *addr, size_t len, int prot, int flags, uint64_t off)
{
	struct uio *u = uio_of(o);
	uint64_t left = off / PAGE;
	struct ioapi_region r;

	if (func_door(u->f) != IOAPI_DOOR_IGB_UIO)
		return -EINVAL;
	for (unsigned i = 0; i <= IOAPI_BAR5; i++) {
		if (ioapi_region(u->f, i, &r) < 0 || !(r.flags & IOAPI_F_MMIO))
			continue;
		if (!left--)
			return region_mmap(u->f, i, 0, addr, len, flags);
	}
	return -EINVAL;
}

/* As the kernel's driver leaves a device whose file is closed: no interrupts, no DMA. */
static void uio_released(struct ours *o)
{
	struct uio *u = uio_of(o);

	lock_take(&shim_lock);
	if (shim_bus_open() && !func_is_joined(u->f)) {
		ioapi_irq_set(u->f, IOAPI_IRQ_INTX, 0, 0, NULL);
		command_change(u->f, PCI_COMMAND_MASTER, 0);
	}
	fd_drop(&u->event);
	u->f = NULL;
	lock_drop(&shim_lock);
}

static const struct ours_ops ops = {
	.name = "podpci:uio",
	.ioctl = ours_no_ioctl,
	.pread = uio_pread,
	.pwrite = uio_pwrite,
	.mmap = uio_mmap,
	.released = uio_released,
};

/* Lock held. Interrupts are the holder's: a guest hears none. */
static int listen_to(struct uio *u, struct ioapi_func *f)
{
	long fd = sys_call(SYS_eventfd2, 0, EFD_CLOEXEC);
	int rc, event = fd < 0 ? (int)fd : fd_keep((int)fd);

	if (event < 0)
		return event;
	rc = func_is_joined(f) ? 0 : ioapi_irq_set(f, IOAPI_IRQ_INTX, 0, 1, &event);
	if (rc < 0)
		fd_drop(&event);
	else
		*u = (struct uio){ .o.ops = &ops, .f = f, .event = event };
	return rc;
}

static int open_locked(struct uio *u, struct ioapi_func *f)
{
	bool fresh = !u->f;
	int rc = fresh ? listen_to(u, f) : 0;

	if (rc < 0)
		return rc;
	rc = fdtab_open_copy(&u->o, u->event);
	if (rc < 0 && fresh) {
		ioapi_irq_set(f, IOAPI_IRQ_INTX, 0, 0, NULL);
		fd_drop(&u->event);
		u->f = NULL;
	}
	return rc;
}

int uio_open(const struct named *n, int flags)
{
	struct ioapi_func *f = func_of_uio(n->num);
	int rc;

	if (!f || n->num >= FUNCS_MAX)
		return PATHS_FOREIGN;
	rc = func_use(f);
	if (rc < 0)
		return rc;
	lock_take(&shim_lock);
	rc = open_locked(&pool[n->num], f);
	lock_drop(&shim_lock);
	return rc;
}

bool uio_exists(const struct named *n)
{
	return func_of_uio(n->num) != NULL;
}
