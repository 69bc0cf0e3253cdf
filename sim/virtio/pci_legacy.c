// SPDX-License-Identifier: Apache-2.0
// pci_legacy.c - the legacy door (virtio 0.9.5; virtio 1.2, 4.1.4.10): one I/O BAR.
//
// Offset 20 belongs to two vectors while MSI-X is on and to the device's configuration, which
// then moves to 24, while it is off. A ring is one frame number: descriptors, available ring,
// and the used ring on the next 4096-byte boundary.
#include <errno.h>
#include <linux/virtio_pci.h>

#include "sim/virtio/vpci.h"

#define ALIGN_UP(x, a) (((x) + (a) - 1) / (a) * (a))
#define VFN_MAX (UINT64_MAX >> VIRTIO_PCI_QUEUE_ADDR_SHIFT)

#define HEADER_LEN VIRTIO_PCI_CONFIG_OFF(0)
#define VECTORS_LEN (VIRTIO_PCI_CONFIG_OFF(1) - VIRTIO_PCI_CONFIG_OFF(0))

static struct vdev_queue *selected(struct vpci *p)
{
	return vdev_queue_at(p->d, p->legacy_queue_sel);
}

static uint64_t get_host_features(void *dev)
{
	struct vpci *p = dev;

	return vdev_offer(p->d, VDEV_LEGACY);
}

static uint64_t get_guest_features(void *dev)
{
	struct vpci *p = dev;

	return (uint32_t)p->d->accepted;
}

static void set_guest_features(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	vdev_accept(p->d, VDEV_LEGACY, 0, (uint32_t)val);
}

static uint64_t get_vfn(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->vfn : 0;
}

static uint64_t get_pfn(void *dev)
{
	return (uint32_t)get_vfn(dev);
}

/* A frame past the end of the address space leaves an address that no check lets pass. */
static void place(struct vdev_queue *q, uint64_t vfn)
{
	q->vfn = vfn;
	q->desc = vfn > VFN_MAX ? UINT64_MAX : vfn << VIRTIO_PCI_QUEUE_ADDR_SHIFT;
	q->avail = q->desc + 16ull * q->size;
	q->used = ALIGN_UP(q->avail + 2ull * (3 + q->size), VIRTIO_PCI_VRING_ALIGN);
}

/* 0 detaches the queue; it keeps its vector, as only a device reset unmaps vectors. */
static void set_vfn(void *dev, uint64_t val)
{
	struct vpci *p = dev;
	struct vdev_queue *q = selected(p);
	uint16_t vector;

	if (!q || !vdev_claim(p->d, VDEV_LEGACY))
		return;
	vector = q->vector;
	if (q->enabled)
		vdev_queue_reset(p->d, p->legacy_queue_sel);
	q->vector = vector;
	if (!val)
		return;
	place(q, val);
	vdev_queue_enable(p->d, p->legacy_queue_sel);
}

static uint64_t get_queue_num(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->size : 0;
}

static uint64_t get_queue_sel(void *dev)
{
	struct vpci *p = dev;

	return p->legacy_queue_sel;
}

static void set_queue_sel(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	p->legacy_queue_sel = (uint16_t)val;
}

/* The first notification may come before DRIVER_OK, and then starts the device (3.1.2). */
static void set_notify(void *dev, uint64_t val)
{
	struct vpci *p = dev;
	struct vdev_queue *q = vdev_queue_at(p->d, (unsigned)val);

	if (!vdev_claim(p->d, VDEV_LEGACY))
		return;
	if (q && q->enabled && !p->d->running)
		vdev_start_early(p->d);
	if (vdev_ring(p->d, (unsigned)val) == VDEV_BELL_SERVE)
		vdev_serve(p->d, (unsigned)val);
}

static uint64_t get_status(void *dev)
{
	struct vpci *p = dev;

	return p->d->status;
}

static void set_status(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	vdev_set_status(p->d, VDEV_LEGACY, (uint8_t)val);
}

static uint64_t get_isr(void *dev)
{
	struct vpci *p = dev;

	return vdev_isr_read(p->d);
}

static const struct reg header[] = {
	{ VIRTIO_PCI_HOST_FEATURES, 4, 0, "device_features", get_host_features, NULL },
	{ VIRTIO_PCI_GUEST_FEATURES, 4, 0, "driver_features", get_guest_features,
	  set_guest_features },
	{ VIRTIO_PCI_QUEUE_PFN, 4, 0, "queue_pfn", get_pfn, set_vfn },
	{ VIRTIO_PCI_QUEUE_NUM, 2, 0, "queue_size", get_queue_num, NULL },
	{ VIRTIO_PCI_QUEUE_SEL, 2, 0, "queue_select", get_queue_sel, set_queue_sel },
	{ VIRTIO_PCI_QUEUE_NOTIFY, 2, 0, "queue_notify", NULL, set_notify },
	{ VIRTIO_PCI_STATUS, 1, 0, "device_status", get_status, set_status },
	{ VIRTIO_PCI_ISR, 1, REG_EFFECT, "isr_status", get_isr, NULL },
};

static const struct reg_bits header_bits[] = {
	{ VIRTIO_PCI_STATUS, vdev_status_bits }, { VIRTIO_PCI_ISR, vdev_isr_bits }, { 0, NULL },
};

static REGMAP_BITS(header, "virtio-pci.legacy", HEADER_LEN, 0, header_bits);

/* The 64-bit frame number: an eight-byte access where others see the PFN and its neighbours. */
static const struct reg wide[] = {
	{ VIRTIO_PCI_QUEUE_PFN, 8, 0, "queue_vfn", get_vfn, set_vfn },
};

static REGMAP(wide, "virtio-pci.legacy.wide", HEADER_LEN, 0);

static int header_read(void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	return regmap_read(size == 8 ? &wide_map : &header_map, dev, off, size, val);
}

static int header_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	return regmap_write(size == 8 ? &wide_map : &header_map, dev, off, size, val);
}

static uint64_t get_config_vector(void *dev)
{
	struct vpci *p = dev;

	return p->config_vector;
}

static void set_config_vector(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	if (vdev_claim(p->d, VDEV_LEGACY))
		vpci_set_config_vector(p, val);
}

static uint64_t get_queue_vector(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->vector : VDEV_NO_VECTOR;
}

static void set_queue_vector(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	if (selected(p) && vdev_claim(p->d, VDEV_LEGACY))
		vpci_set_queue_vector(p, p->legacy_queue_sel, val);
}

static const struct reg vectors[] = {
	{ 0, 2, 0, "config_msix_vector", get_config_vector, set_config_vector },
	{ 2, 2, 0, "queue_msix_vector", get_queue_vector, set_queue_vector },
};

static REGMAP(vectors, "virtio-pci.legacy.vectors", VECTORS_LEN, 0);

void vpci_legacy_move(struct vpci *p, bool msix)
{
	const struct regmap *config = p->d->ops->config_legacy;

	/* Whoever leaves goes first: windows never overlap. */
	if (!msix)
		pci_window_move(p->f, &vectors_map, PCI_WINDOW_GONE);
	pci_window_move(p->f, config, VIRTIO_PCI_CONFIG_OFF(msix));
	if (msix)
		pci_window_move(p->f, &vectors_map, VIRTIO_PCI_CONFIG_OFF(0));
}

void vpci_legacy_build(struct vpci *p)
{
	const struct pci_window windows[] = {
		{ .bar = VPCI_LEGACY_BAR, .off = 0, .dev = p, .read = header_read,
		  .write = header_write, .len = HEADER_LEN, .name = header_map.name,
		  .names = &header_map },
		{ .bar = VPCI_LEGACY_BAR, .off = VIRTIO_PCI_CONFIG_OFF(0), .dev = p,
		  .map = &vectors_map },
		{ .bar = VPCI_LEGACY_BAR, .off = VIRTIO_PCI_CONFIG_OFF(1),
		  .dev = p->d->dev, .map = p->d->ops->config_legacy },
	};

	regmap_check(&header_map);
	regmap_check(&wide_map);
	pci_bar_add(p->f, VPCI_LEGACY_BAR, PCI_BAR_IO);
	for (unsigned i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
		pci_window_add(p->f, &windows[i]);
	vpci_legacy_move(p, false);
}
