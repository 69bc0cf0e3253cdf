// SPDX-License-Identifier: Apache-2.0
// vpci.c - a virtio device as a PCI function: life, interrupts, memory.
//
// Interrupts take one of three ways. Under MSI-X a queue's call fd is the driver's own eventfd
// for the vector, and the back-end signals it without us. Without MSI-X all queues share one
// private eventfd, whose events the loop turns into ISR bit 0 and INTx. What the device itself
// has to say (configuration, control queue) goes through the bus at once.
#include <errno.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>

#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/virtio/vpci.h"

#define VIRTIO_VENDOR 0x1af4
#define VIRTIO_MODERN_BASE 0x1040	/* 4.1.2.1 */
#define MODERN_SUBSYS 0x1100		/* >= 0x40, as 4.1.2.1 wants it */

#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* ---- transport ----------------------------------------------------------------------------- */

static void irq_queue(struct vdev *d, unsigned q)
{
	struct vpci *p = d->carrier;

	if (!pci_func_msix_on(p->f)) {
		d->isr |= VDEV_ISR_QUEUE;
		pci_intx(p->f, true);
	} else if (d->queue[q].vector != VDEV_NO_VECTOR) {
		pci_func_irq(p->f, d->queue[q].vector);
	}
}

/*
 * A legacy driver that writes the vector before it turns MSI-X on writes to the MAC instead
 * (DPDK's does, and waits for vector 0 ever after): unless it says otherwise later, 0 it is.
 */
static void irq_config(struct vdev *d)
{
	struct vpci *p = d->carrier;
	uint16_t vector = p->config_vector;

	if (!pci_func_msix_on(p->f)) {
		pci_intx(p->f, true);
		return;
	}
	if (d->door == VDEV_LEGACY && !p->config_vector_set)
		vector = 0;
	if (vector != VDEV_NO_VECTOR)
		pci_func_irq(p->f, vector);
}

static void irq_clear(struct vdev *d)
{
	struct vpci *p = d->carrier;

	pci_intx(p->f, false);
}

static int call_fd(struct vdev *d, unsigned q)
{
	struct vpci *p = d->carrier;

	if (!pci_func_msix_on(p->f))
		return p->intx_fd;
	if (d->queue[q].vector == VDEV_NO_VECTOR)
		return -1;
	return pci_func_irq_fd(p->f, d->queue[q].vector);
}

static struct space *space_of(struct vdev *d)
{
	struct vpci *p = d->carrier;

	return p->space;
}

static void transport_reset(struct vdev *d)
{
	struct vpci *p = d->carrier;

	p->config_vector = VDEV_NO_VECTOR;
	p->config_vector_set = false;
	memset(&p->modern, 0, sizeof(p->modern));
	p->legacy_queue_sel = 0;
}

static const struct vdev_transport vpci_transport = {
	.name = "pci",
	.irq_queue = irq_queue,
	.irq_config = irq_config,
	.irq_clear = irq_clear,
	.call_fd = call_fd,
	.space = space_of,
	.reset = transport_reset,
};

uint16_t vpci_vector(const struct vpci *p, uint64_t vector)
{
	return vector < p->vectors ? (uint16_t)vector : VDEV_NO_VECTOR;
}

void vpci_set_queue_vector(struct vpci *p, unsigned q, uint64_t vector)
{
	p->d->queue[q].vector = vpci_vector(p, vector);
	vdev_queue_call(p->d, q);
}

void vpci_set_config_vector(struct vpci *p, uint64_t vector)
{
	p->config_vector = vpci_vector(p, vector);
	p->config_vector_set = true;
}

/*
 * A back-end signalled the shared eventfd. If MSI-X went on in the meantime it is not known
 * who is meant, so all are told: one interrupt too many is harmless, one lost is not.
 */
static void intx_ready(struct loop_source *s, uint32_t events)
{
	struct vpci *p = container_of(s, struct vpci, intx);
	struct vdev *d = p->d;
	uint64_t count;

	if (lock_take(pci_func_lock(p->f)) < 0)
		return;
	if (p->intx_fd >= 0 &&
	    sys_call(SYS_read, p->intx_fd, &count, sizeof(count)) == sizeof(count)) {
		bool msix = pci_func_msix_on(p->f);

		for (unsigned q = 0; q < d->queues_made; q++) {
			if (!d->queue[q].running)
				continue;
			vdev_irq_queue(d, q);
			if (!msix)
				break;
		}
	}
	lock_drop(pci_func_lock(p->f));
}

/* ---- model --------------------------------------------------------------------------------- */

static int model_open(void *dev, struct err *e)
{
	struct vpci *p = dev;
	int rc;

	if (p->intx_fd < 0) {
		rc = fault_now() ? -EMFILE :
		     (int)sys_call(SYS_eventfd2, 0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (rc >= 0)
			rc = fd_keep(rc);
		if (rc < 0)
			return err_set(e, rc, "%s: no descriptor for interrupts: %s", p->d->id,
				       strerror(-rc));
		p->intx_fd = rc;
	}
	rc = loop_start(p->loop);
	if (rc < 0)
		return err_set(e, rc, "%s: no thread to watch events: %s", p->d->id,
			       strerror(-rc));
	rc = vdev_open(p->d, e);
	if (rc < 0)
		return rc;
	loop_watch(p->loop, &p->intx, p->intx_fd);
	return 0;
}

static void model_close(void *dev)
{
	struct vpci *p = dev;

	loop_watch(p->loop, &p->intx, -1);
	vdev_close(p->d);
}

static void model_reset(void *dev)
{
	struct vpci *p = dev;

	vdev_reset(p->d);
}

static void model_irq_changed(void *dev, int vector)
{
	struct vpci *p = dev;

	for (unsigned q = 0; q < p->d->queues_made; q++)
		if (vector < 0 || p->d->queue[q].vector == vector)
			vdev_queue_call(p->d, q);
}

static void model_msix_changed(void *dev, bool on)
{
	struct vpci *p = dev;

	/* The call fds follow: irq_changed() comes after this. */
	if (p->legacy)
		vpci_legacy_move(p, on);
	pci_intx(p->f, !on && p->d->isr);
}

static int model_memory_changed(void *dev, struct space *s)
{
	struct vpci *p = dev;

	p->space = s;
	return vdev_memory_changed(p->d, s);
}

/*
 * Bus mastering is not asked for: the memory a driver lends is named by its DMA mappings, and
 * legacy drivers of transitional devices are known to forget the bit.
 */
static void model_command_changed(void *dev, uint16_t command)
{
}

static unsigned model_stats(void *dev, struct ioapi_stat *rows, unsigned max)
{
	struct vpci *p = dev;

	return vdev_stats(p->d, rows, max);
}

static void model_orphan(void *dev)
{
	struct vpci *p = dev;

	vdev_orphan(p->d);
	fd_drop(&p->intx_fd);
}

static void model_free(void *dev)
{
	struct vpci *p = dev;

	p->f = NULL;
	p->d->ops->free(p->d);
}

static const struct pci_model_ops vpci_model = {
	.name = "virtio-pci",
	.open = model_open,
	.close = model_close,
	.reset = model_reset,
	.irq_changed = model_irq_changed,
	.msix_changed = model_msix_changed,
	.memory_changed = model_memory_changed,
	.command_changed = model_command_changed,
	.stats = model_stats,
	.orphan = model_orphan,
	.free = model_free,
};

struct vdev *vpci_vdev(const struct ioapi_func *f)
{
	const struct vpci *p = pci_func_model(f, &vpci_model);

	return p ? p->d : NULL;
}

/* ---- building ------------------------------------------------------------------------------ */

int vpci_init(struct vpci *p, struct ioapi_bus *bus, struct vdev *d,
	      const struct vpci_params *a, struct err *e)
{
	/* 4.1.2.1, 4.1.2.3: a device with a legacy door looks like one of old. */
	struct pci_identity ident = {
		.vendor = VIRTIO_VENDOR,
		.device = a->legacy ? a->legacy_device : VIRTIO_MODERN_BASE + d->ops->id,
		.subsys_vendor = VIRTIO_VENDOR,
		.subsys_device = a->legacy ? d->ops->id : MODERN_SUBSYS,
		.class = a->class,
		.revision = a->legacy ? 0 : 1,
	};
	int rc;

	*p = (struct vpci){
		.d = d,
		.loop = pci_bus_loop(bus),
		.queues = a->queues,
		.vectors = a->vectors,
		.legacy = a->legacy,
		.config_vector = VDEV_NO_VECTOR,
		.intx_fd = -1,
		.intx = { .ready = intx_ready, .fd = -1 },
	};
	strncpy(ident.id, a->id, sizeof(ident.id) - 1);
	d->transport = &vpci_transport;
	d->carrier = p;
	rc = pci_func_new(bus, a->bdf && a->bdf[0] ? a->bdf : NULL, &ident, &vpci_model, p,
			  &p->f, e);
	if (rc < 0)
		return rc;
	pci_msix_add(p->f, VPCI_MSIX_BAR, p->vectors);
	if (a->legacy)
		vpci_legacy_build(p);
	if (a->modern)
		vpci_modern_build(p);
	return 0;
}

int vpci_publish(struct vpci *p, struct err *e)
{
	return pci_func_realize(p->f, e);
}

void vpci_fini(struct vpci *p)
{
	if (!p->d)
		return;
	fd_drop(&p->intx_fd);
	if (p->f)
		pci_func_free(p->f);
	p->f = NULL;
}
