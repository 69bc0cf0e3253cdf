// SPDX-License-Identifier: Apache-2.0
// irq.c - the flag combinations of SET_IRQS as rows; see linux/vfio.h for their meaning.
#include <errno.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <string.h>

#include "include/ioapi.h"
#include "pmd-shim/irq.h"
#include "sim/core/guard.h"
#include "sim/core/sys.h"

#define EVENTFD VFIO_IRQ_INFO_EVENTFD

/* INTx is the one index whose vectors VFIO itself masks. */
static const struct kind {
	uint32_t flags;
	bool     by_driver;	/* the host tells its driver through it: one vector, always there */
} kinds[VFIO_PCI_NUM_IRQS] = {
	[VFIO_PCI_INTX_IRQ_INDEX] = { EVENTFD | VFIO_IRQ_INFO_MASKABLE |
				      VFIO_IRQ_INFO_AUTOMASKED, false },
	[VFIO_PCI_MSI_IRQ_INDEX]  = { EVENTFD | VFIO_IRQ_INFO_NORESIZE, false },
	[VFIO_PCI_MSIX_IRQ_INDEX] = { EVENTFD | VFIO_IRQ_INFO_NORESIZE, false },
	[VFIO_PCI_ERR_IRQ_INDEX]  = { EVENTFD | VFIO_IRQ_INFO_NORESIZE, true },
	[VFIO_PCI_REQ_IRQ_INDEX]  = { EVENTFD | VFIO_IRQ_INFO_NORESIZE, true },
};

static unsigned vectors_of(struct ioapi_func *f, uint32_t index)
{
	unsigned n = ioapi_irq_count(f, index);

	return n ? n : kinds[index].by_driver;
}

int vfio_irqs_info(struct ioapi_func *f, struct vfio_irq_info *info)
{
	if (info->index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info->flags = kinds[info->index].flags;
	info->count = vectors_of(f, info->index);
	return 0;
}

static int fds[IRQ_VECTORS_MAX];	/* under shim_lock: too large for a stack */

static int give_eventfds(struct ioapi_func *f, const struct vfio_irq_set *s)
{
	if (!s->count)
		return -EINVAL;
	return ioapi_irq_set(f, s->index, s->start, s->count, fds);
}

/* Count 0 turns the index off; otherwise the driver rings its own vectors, to test them. */
static int trigger(struct ioapi_func *f, const struct vfio_irq_set *s)
{
	return s->count ? -ENOTTY : ioapi_irq_set(f, s->index, 0, 0, NULL);
}

/* Only INTx can be masked here; its line is an eventfd that nobody repeats: nothing to do. */
static int mask(struct ioapi_func *f, const struct vfio_irq_set *s)
{
	return s->index == VFIO_PCI_INTX_IRQ_INDEX ? 0 : -ENOTTY;
}

#define DATA(x)   VFIO_IRQ_SET_DATA_##x
#define ACTION(x) VFIO_IRQ_SET_ACTION_##x

static const struct row {
	uint32_t flags;
	unsigned item;			/* bytes of data per vector */
	int    (*run)(struct ioapi_func *f, const struct vfio_irq_set *s);
} rows[] = {
	{ DATA(EVENTFD) | ACTION(TRIGGER), sizeof(int), give_eventfds },
	{ DATA(NONE)    | ACTION(TRIGGER), 0,           trigger },
	{ DATA(NONE)    | ACTION(MASK),    0,           mask },
	{ DATA(NONE)    | ACTION(UNMASK),  0,           mask },
};

/* What linux/vfio.h demands before any action. */
static int judge(struct ioapi_func *f, const struct vfio_irq_set *s, const struct row *r)
{
	unsigned have;

	if (s->index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	have = vectors_of(f, s->index);
	if (s->count > IRQ_VECTORS_MAX || s->start > have || s->count > have - s->start)
		return -EINVAL;
	if (s->argsz < sizeof(*s) + (size_t)s->count * r->item)
		return -EINVAL;
	return 0;
}

int vfio_irqs_set(struct ioapi_func *f, const void *arg)
{
	const struct row *r = NULL;
	struct vfio_irq_set s;
	int rc;

	if (guard_copy(&s, arg, sizeof(s)))
		return -EFAULT;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].flags == s.flags)
			r = &rows[i];
	if (!r)
		return -EINVAL;
	rc = judge(f, &s, r);
	if (rc < 0)
		return rc;
	if (guard_copy(fds, (const char *)arg + sizeof(s), (size_t)s.count * r->item))
		return -EFAULT;
	/* Nothing of ours asks a driver to let go yet: there is no vector behind these. */
	if (kinds[s.index].by_driver && !ioapi_irq_count(f, s.index))
		return 0;
	return r->run(f, &s);
}
