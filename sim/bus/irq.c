// SPDX-License-Identifier: Apache-2.0
// irq.c - the interrupt indices of a function, and the INTx line.
#include <errno.h>

#include "sim/bus/internal.h"
#include "sim/core/fd.h"

/* ---- INTx ---------------------------------------------------------------------------------- */

void intx_update(struct ioapi_func *f)
{
	bool asserted = f->intx_level && !pci_func_msix_on(f) &&
			!(pci_func_command(f) & PCI_COMMAND_INTX_DISABLE);

	/* STATUS shows the line as the device drives it, disabled or not (PCI 3.0, 6.2.3). */
	f->cfg[PCI_STATUS] = (uint8_t)((f->cfg[PCI_STATUS] & ~PCI_STATUS_INTERRUPT) |
				       (f->intx_level ? PCI_STATUS_INTERRUPT : 0));
	if (asserted && !f->intx_asserted)
		fd_signal(f->intx_fd);
	f->intx_asserted = asserted;
}

void pci_intx(struct ioapi_func *f, bool level)
{
	assert(lock_mine(&f->lock));
	f->intx_level = level;
	intx_update(f);
}

/* ---- indices ------------------------------------------------------------------------------- */

static unsigned count_one(const struct ioapi_func *f)
{
	return 1;
}

static unsigned count_none(const struct ioapi_func *f)
{
	return 0;
}

static unsigned count_msix(const struct ioapi_func *f)
{
	return f->msix.count;
}

static int set_one(int *slot, unsigned count, const int *fds)
{
	int fd = count ? fds[0] : -1;

	if (fd >= 0) {
		fd = fd_keep_dup(fd);
		if (fd < 0)
			return fd;
	}
	fd_drop(slot);
	*slot = fd;
	return 0;
}

static int set_intx(struct ioapi_func *f, unsigned start, unsigned count, const int *fds)
{
	int rc = set_one(&f->intx_fd, count, fds);

	if (!rc && f->intx_asserted)
		fd_signal(f->intx_fd);	/* a level is not missed by coming late */
	return rc;
}

static int set_req(struct ioapi_func *f, unsigned start, unsigned count, const int *fds)
{
	return set_one(&f->req_fd, count, fds);
}

static int set_none(struct ioapi_func *f, unsigned start, unsigned count, const int *fds)
{
	return 0;
}

static const struct {
	unsigned (*count)(const struct ioapi_func *f);
	int      (*set)(struct ioapi_func *f, unsigned start, unsigned count, const int *fds);
} kinds[IOAPI_IRQS] = {
	[IOAPI_IRQ_INTX] = { count_one,  set_intx },
	[IOAPI_IRQ_MSI]  = { count_none, set_none },
	[IOAPI_IRQ_MSIX] = { count_msix, msix_irq_set },
	[IOAPI_IRQ_ERR]  = { count_none, set_none },
	[IOAPI_IRQ_REQ]  = { count_one,  set_req },
};

unsigned ioapi_irq_count(const struct ioapi_func *f, unsigned index)
{
	return index < IOAPI_IRQS ? kinds[index].count(f) : 0;
}

int irq_set(struct ioapi_func *f, unsigned index, unsigned start, unsigned count, const int *fds)
{
	unsigned vectors = ioapi_irq_count(f, index);

	if (index >= IOAPI_IRQS || !count != !fds)
		return -EINVAL;
	if (start > vectors || count > vectors - start)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		if (fds[i] < -1 || (fds[i] >= 0 && !fd_is_event(fds[i])))
			return -EINVAL;
	return kinds[index].set(f, start, count, fds);
}

void irq_drop(struct ioapi_func *f)
{
	fd_drop(&f->intx_fd);
	fd_drop(&f->req_fd);
	f->intx_level = f->intx_asserted = false;
	msix_drop(f);
}
