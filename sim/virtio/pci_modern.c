// SPDX-License-Identifier: Apache-2.0
// pci_modern.c - the modern door (virtio 1.2, 4.1.4): capabilities and what they point at.
//
// Exactly one capability of each type: a driver may keep the first or the last.
#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/virtio_pci.h>
#include <string.h>

#include "sim/virtio/vpci.h"

#ifndef VIRTIO_PCI_COMMON_Q_NDATA
#define VIRTIO_PCI_COMMON_Q_NDATA 56
#define VIRTIO_PCI_COMMON_Q_RESET 58
#endif
#ifndef VIRTIO_F_RING_RESET
#define VIRTIO_F_RING_RESET 40
#endif

#define COMMON_LEN 60u		/* up to and with queue_reset */

_Static_assert(VPCI_COMMON_OFF + COMMON_LEN <= VPCI_ISR_OFF, "blocks do not overlap");

/* ---- common configuration (4.1.4.3) -------------------------------------------------------- */

static struct vdev_queue *selected(struct vpci *p)
{
	return vdev_queue_at(p->d, p->modern.queue_sel);
}

/* The selected queue if this door may set it up now; a refusal is counted. */
static struct vdev_queue *to_set_up(struct vpci *p)
{
	struct vdev_queue *q = selected(p);

	if (!vdev_claim(p->d, VDEV_MODERN))
		return NULL;
	if (q && vdev_queue_open(p->d, q))
		return q;
	p->d->stat.writes_refused++;
	return NULL;
}

static uint64_t get_offer_sel(void *dev)
{
	struct vpci *p = dev;

	return p->modern.offer_sel;
}

static void set_offer_sel(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	p->modern.offer_sel = (uint32_t)val;
}

static uint64_t get_offer(void *dev)
{
	struct vpci *p = dev;
	unsigned word = p->modern.offer_sel;

	return word < 2 ? (uint32_t)(vdev_offer(p->d, VDEV_MODERN) >> (32 * word)) : 0;
}

static uint64_t get_accept_sel(void *dev)
{
	struct vpci *p = dev;

	return p->modern.accept_sel;
}

static void set_accept_sel(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	p->modern.accept_sel = (uint32_t)val;
}

static uint64_t get_accept(void *dev)
{
	struct vpci *p = dev;
	unsigned word = p->modern.accept_sel;

	return word < 2 ? (uint32_t)(p->d->accepted >> (32 * word)) : 0;
}

static void set_accept(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	vdev_accept(p->d, VDEV_MODERN, p->modern.accept_sel, (uint32_t)val);
}

static uint64_t get_config_vector(void *dev)
{
	struct vpci *p = dev;

	return p->config_vector;
}

static void set_config_vector(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	if (vdev_claim(p->d, VDEV_MODERN))
		vpci_set_config_vector(p, val);
}

static uint64_t get_num_queues(void *dev)
{
	struct vpci *p = dev;

	return p->d->ops->queues(p->d);
}

static uint64_t get_status(void *dev)
{
	struct vpci *p = dev;

	return p->d->status;
}

static void set_status(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	vdev_set_status(p->d, VDEV_MODERN, (uint8_t)val);
}

static uint64_t get_generation(void *dev)
{
	struct vpci *p = dev;

	return vdev_generation(p->d);
}

static uint64_t get_queue_sel(void *dev)
{
	struct vpci *p = dev;

	return p->modern.queue_sel;
}

static void set_queue_sel(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	p->modern.queue_sel = (uint16_t)val;
}

static uint64_t get_queue_size(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->size : 0;
}

static void set_queue_size(void *dev, uint64_t val)
{
	struct vpci *p = dev;
	struct vdev_queue *q = to_set_up(p);

	if (!q)
		return;
	if (vdev_size_ok(p->d, val))
		q->size = (uint16_t)val;
	else
		p->d->stat.writes_refused++;
}

static uint64_t get_queue_vector(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->vector : VDEV_NO_VECTOR;
}

static void set_queue_vector(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	if (selected(p) && vdev_claim(p->d, VDEV_MODERN))
		vpci_set_queue_vector(p, p->modern.queue_sel, val);
}

static uint64_t get_queue_enable(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q && q->enabled;
}

/* Only 1 means anything; a driver may not write 0, but one that does is let be. */
static void set_queue_enable(void *dev, uint64_t val)
{
	struct vpci *p = dev;

	if (val == 1 && to_set_up(p))
		vdev_queue_enable(p->d, p->modern.queue_sel);
}

/* Also what a driver writes to notify: queue and page are numbered alike. */
static uint64_t get_queue_number(void *dev)
{
	struct vpci *p = dev;

	return selected(p) ? p->modern.queue_sel : 0;
}

static uint64_t get_queue_desc(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->desc : 0;
}

static void set_queue_desc(void *dev, uint64_t val)
{
	struct vdev_queue *q = to_set_up(dev);

	if (q)
		q->desc = val;
}

static uint64_t get_queue_driver(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->avail : 0;
}

static void set_queue_driver(void *dev, uint64_t val)
{
	struct vdev_queue *q = to_set_up(dev);

	if (q)
		q->avail = val;
}

static uint64_t get_queue_device(void *dev)
{
	const struct vdev_queue *q = selected(dev);

	return q ? q->used : 0;
}

static void set_queue_device(void *dev, uint64_t val)
{
	struct vdev_queue *q = to_set_up(dev);

	if (q)
		q->used = val;
}

/* The reset is over when the write is: a driver never reads 1 (2.6.1). */
static uint64_t get_queue_reset(void *dev)
{
	(void)dev;
	return 0;
}

static void set_queue_reset(void *dev, uint64_t val)
{
	struct vpci *p = dev;
	struct vdev_queue *q = selected(p);

	if (val != 1 || !q || !vdev_claim(p->d, VDEV_MODERN))
		return;
	if (q->enabled && vdev_has(p->d, VIRTIO_F_RING_RESET))
		vdev_queue_reset(p->d, p->modern.queue_sel);
	else
		p->d->stat.writes_refused++;
}

static const struct reg common[] = {
	{ VIRTIO_PCI_COMMON_DFSELECT, 4, 0, "device_feature_select", get_offer_sel,
	  set_offer_sel },
	{ VIRTIO_PCI_COMMON_DF, 4, 0, "device_feature", get_offer, NULL },
	{ VIRTIO_PCI_COMMON_GFSELECT, 4, 0, "driver_feature_select", get_accept_sel,
	  set_accept_sel },
	{ VIRTIO_PCI_COMMON_GF, 4, 0, "driver_feature", get_accept, set_accept },
	{ VIRTIO_PCI_COMMON_MSIX, 2, 0, "config_msix_vector", get_config_vector,
	  set_config_vector },
	{ VIRTIO_PCI_COMMON_NUMQ, 2, 0, "num_queues", get_num_queues, NULL },
	{ VIRTIO_PCI_COMMON_STATUS, 1, 0, "device_status", get_status, set_status },
	{ VIRTIO_PCI_COMMON_CFGGENERATION, 1, 0, "config_generation", get_generation, NULL },
	{ VIRTIO_PCI_COMMON_Q_SELECT, 2, 0, "queue_select", get_queue_sel, set_queue_sel },
	{ VIRTIO_PCI_COMMON_Q_SIZE, 2, 0, "queue_size", get_queue_size, set_queue_size },
	{ VIRTIO_PCI_COMMON_Q_MSIX, 2, 0, "queue_msix_vector", get_queue_vector,
	  set_queue_vector },
	{ VIRTIO_PCI_COMMON_Q_ENABLE, 2, 0, "queue_enable", get_queue_enable,
	  set_queue_enable },
	{ VIRTIO_PCI_COMMON_Q_NOFF, 2, 0, "queue_notify_off", get_queue_number, NULL },
	{ VIRTIO_PCI_COMMON_Q_DESCLO, 8, REG_HALVES, "queue_desc", get_queue_desc,
	  set_queue_desc },
	{ VIRTIO_PCI_COMMON_Q_AVAILLO, 8, REG_HALVES, "queue_driver", get_queue_driver,
	  set_queue_driver },
	{ VIRTIO_PCI_COMMON_Q_USEDLO, 8, REG_HALVES, "queue_device", get_queue_device,
	  set_queue_device },
	{ VIRTIO_PCI_COMMON_Q_NDATA, 2, 0, "queue_notif_config_data", get_queue_number, NULL },
	{ VIRTIO_PCI_COMMON_Q_RESET, 2, 0, "queue_reset", get_queue_reset, set_queue_reset },
};

static const struct reg_bits common_bits[] = {
	{ VIRTIO_PCI_COMMON_STATUS, vdev_status_bits }, { 0, NULL },
};

static REGMAP_BITS(common, "virtio-pci.common", COMMON_LEN, 0, common_bits);

/* ---- ISR (4.1.4.5) ------------------------------------------------------------------------- */

static uint64_t get_isr(void *dev)
{
	struct vpci *p = dev;

	return vdev_isr_read(p->d);
}

static const struct reg isr[] = {
	{ 0, 1, REG_EFFECT, "isr_status", get_isr, NULL },
};

static const struct reg_bits isr_bits[] = { { 0, vdev_isr_bits }, { 0, NULL } };

static REGMAP_BITS(isr, "virtio-pci.isr", 1, 0, isr_bits);

/* ---- notification (4.1.4.4) ---------------------------------------------------------------- */

static int notify_read(void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	(void)dev;
	(void)off;
	(void)size;
	*val = 0;
	return 0;
}

/*
 * Without the lock: a kick must not wait for a register access of another thread. The page
 * names the queue and the value must agree with it; more is not looked at.
 */
static int notify_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	struct vpci *p = dev;
	unsigned q = (unsigned)(off / VPCI_NOTIFY_STRIDE);
	int rc;

	if (off % VPCI_NOTIFY_STRIDE || (size != 2 && size != 4))
		return -ENXIO;
	if (vdev_bell_queue(p->d, size, val) != q) {
		__atomic_fetch_add(&p->d->stat.notifies_dropped, 1, __ATOMIC_RELAXED);
		return 0;
	}
	if (vdev_ring(p->d, q) != VDEV_BELL_SERVE)
		return 0;
	rc = lock_take(pci_func_lock(p->f));
	/* Through the PCI_CFG window the lock is ours already; else this is a re-entry. */
	if (rc < 0 && !p->in_window)
		return rc;
	vdev_serve(p->d, q);
	if (rc == 0)
		lock_drop(pci_func_lock(p->f));
	return 0;
}

/* A driver that came through the legacy door notifies by a port, which is no page. */
int vpci_notify_page(struct vpci *p, unsigned q, int fd, uint64_t at)
{
	if (q >= p->queues || (fd >= 0 && p->d->door != VDEV_MODERN))
		return -EOPNOTSUPP;
	return pci_bar_page(p->f, VPCI_MODERN_BAR, VPCI_NOTIFY_OFF + q * VPCI_NOTIFY_STRIDE, fd,
			    at);
}

/* ---- the window through configuration space (4.1.4.9) -------------------------------------- */

/* Where the window points, or false if it points at nothing (4.1.4.9.2). */
static bool window_aim(struct vpci *p, struct virtio_pci_cfg_cap *c)
{
	memcpy(c, pci_cfg_bytes(p->f) + pci_cap_off(p->f, p->window_cap), sizeof(*c));
	if (c->cap.length != 1 && c->cap.length != 2 && c->cap.length != 4)
		return false;
	return c->cap.bar < 6 && c->cap.offset % c->cap.length == 0;
}

static int window_access(struct vpci *p, const struct virtio_pci_cfg_cap *c, bool write,
			 uint64_t *val)
{
	int rc;

	if (p->in_window)
		return -EDEADLK;
	p->in_window = true;
	rc = pci_bar_access(p->f, c->cap.bar, c->cap.offset, c->cap.length, write, val);
	p->in_window = false;
	return rc;
}

static void window_read(void *dev, unsigned off, unsigned size)
{
	struct vpci *p = dev;
	struct virtio_pci_cfg_cap c;
	uint64_t val;

	if (!window_aim(p, &c))
		return;
	if (window_access(p, &c, false, &val) < 0)
		val = UINT64_MAX;
	memcpy(pci_cfg_bytes(p->f) + pci_cap_off(p->f, p->window_cap) +
	       offsetof(struct virtio_pci_cfg_cap, pci_cfg_data), &val, c.cap.length);
}

static void window_write(void *dev, unsigned off, unsigned size)
{
	struct vpci *p = dev;
	struct virtio_pci_cfg_cap c;
	uint64_t val = 0;

	if (!window_aim(p, &c))
		return;
	memcpy(&val, c.pci_cfg_data, c.cap.length);
	(void)window_access(p, &c, true, &val);
}

/* ---- building ------------------------------------------------------------------------------ */

static struct virtio_pci_cap cap_of(uint8_t type, unsigned len, uint32_t off, uint32_t size)
{
	return (struct virtio_pci_cap){
		.cap_len = (uint8_t)len,
		.cfg_type = type,
		.bar = VPCI_MODERN_BAR,
		.offset = off,
		.length = size,
	};
}

static void add_caps(struct vpci *p)
{
	struct virtio_pci_notify_cap notify = {
		.cap = cap_of(VIRTIO_PCI_CAP_NOTIFY_CFG, sizeof(notify), VPCI_NOTIFY_OFF,
			      p->queues * VPCI_NOTIFY_STRIDE),
		.notify_off_multiplier = VPCI_NOTIFY_STRIDE,
	};
	struct virtio_pci_cfg_cap window = {
		.cap = cap_of(VIRTIO_PCI_CAP_PCI_CFG, sizeof(window), 0, 0),
	};
	static const struct virtio_pci_cfg_cap window_writable = {
		.cap = { .bar = 0xff, .offset = UINT32_MAX, .length = UINT32_MAX },
		.pci_cfg_data = { 0xff, 0xff, 0xff, 0xff },
	};
	const struct virtio_pci_cap plain[] = {
		cap_of(VIRTIO_PCI_CAP_COMMON_CFG, sizeof(plain[0]), VPCI_COMMON_OFF, COMMON_LEN),
		cap_of(VIRTIO_PCI_CAP_ISR_CFG, sizeof(plain[0]), VPCI_ISR_OFF, 1),
		cap_of(VIRTIO_PCI_CAP_DEVICE_CFG, sizeof(plain[0]), VPCI_DEVICE_OFF,
		       p->d->ops->config_modern->len),
	};

	for (unsigned i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		pci_cap_add(p->f, PCI_CAP_ID_VNDR, &plain[i], NULL, sizeof(plain[i]));
	pci_cap_add(p->f, PCI_CAP_ID_VNDR, &notify, NULL, sizeof(notify));
	window.cap.bar = 0;
	p->window_cap = pci_cap_add(p->f, PCI_CAP_ID_VNDR, &window, &window_writable,
				    sizeof(window));
}

void vpci_modern_build(struct vpci *p)
{
	struct pci_cfg_hook hook = {
		.len = sizeof(((struct virtio_pci_cfg_cap *)0)->pci_cfg_data),
		.before_read = window_read,
		.after_write = window_write,
	};
	const struct pci_window windows[] = {
		{ .bar = VPCI_MODERN_BAR, .off = VPCI_COMMON_OFF, .map = &common_map, .dev = p },
		{ .bar = VPCI_MODERN_BAR, .off = VPCI_ISR_OFF, .map = &isr_map, .dev = p },
		{ .bar = VPCI_MODERN_BAR, .off = VPCI_DEVICE_OFF,
		  .map = p->d->ops->config_modern, .dev = p->d->dev },
		{ .bar = VPCI_MODERN_BAR, .off = VPCI_NOTIFY_OFF, .dev = p,
		  .read = notify_read, .write = notify_write,
		  .len = (uint64_t)p->queues * VPCI_NOTIFY_STRIDE,
		  .name = "virtio-pci.notify", .unlocked = true },
	};

	pci_bar_add(p->f, VPCI_MODERN_BAR, PCI_BAR_64 | PCI_BAR_MAP);
	for (unsigned i = 0; i < sizeof(windows) / sizeof(windows[0]); i++)
		pci_window_add(p->f, &windows[i]);
	add_caps(p);
	hook.off = pci_cap_off(p->f, p->window_cap) +
		   offsetof(struct virtio_pci_cfg_cap, pci_cfg_data);
	pci_cfg_hook_add(p->f, &hook);
}
