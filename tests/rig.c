// SPDX-License-Identifier: Apache-2.0
// rig.c - brings a device up for a test.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>

#include "sim/bus/pci.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/rig.h"

#define STATS_MAX 64

static void find_caps(struct rig *r)
{
	unsigned at = (unsigned)rig_read(r, IOAPI_CONFIG, PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; at && i < 48; i++) {
		unsigned id = (unsigned)rig_read(r, IOAPI_CONFIG, at, 1);
		unsigned type = (unsigned)rig_read(r, IOAPI_CONFIG, at + 3, 1);
		uint64_t off = rig_read(r, IOAPI_CONFIG, at + 8, 4);

		if (id == PCI_CAP_ID_MSIX)
			r->msix_cap = at;
		if (id == PCI_CAP_ID_VNDR && type == VIRTIO_PCI_CAP_COMMON_CFG)
			r->common = off;
		if (id == PCI_CAP_ID_VNDR && type == VIRTIO_PCI_CAP_ISR_CFG)
			r->isr = off;
		if (id == PCI_CAP_ID_VNDR && type == VIRTIO_PCI_CAP_DEVICE_CFG)
			r->config = off;
		if (id == PCI_CAP_ID_VNDR && type == VIRTIO_PCI_CAP_PCI_CFG)
			r->window_cap = at;
		if (id == PCI_CAP_ID_VNDR && type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			r->notify = off;
			r->notify_mult = (uint32_t)rig_read(r, IOAPI_CONFIG, at + 16, 4);
		}
		at = (unsigned)rig_read(r, IOAPI_CONFIG, at + 1, 1);
	}
}

static int memory_up(struct rig *r)
{
	struct ioapi_dma dma = { .iova = r->iova, .size = RIG_MEM };
	int rc;

	r->memfd = memfd_create("rig", MFD_CLOEXEC);
	if (r->memfd < 0 || ftruncate(r->memfd, RIG_MEM) < 0)
		return -errno;
	r->mem = mmap(NULL, RIG_MEM, PROT_READ | PROT_WRITE, MAP_SHARED, r->memfd, 0);
	if (r->mem == MAP_FAILED)
		return -errno;
	dma.va = r->mem;
	dma.fd = r->memfd;
	rc = ioapi_domain_new(r->bus, &r->domain);
	if (rc == 0)
		rc = ioapi_attach(r->f, r->domain);
	return rc ? rc : ioapi_dma_map(r->domain, &dma, 1);
}

int rig_up(struct rig *r, const struct rig_opts *o)
{
	struct vhost_offer offer = {
		.known = !o->no_backend,
		.features = o->features ? o->features : RIG_ALL_BITS,
		.rings_max = o->rings_max ? o->rings_max : VHOST_RINGS_MAX,
		.mtu = true,
		.status = true,
	};
	struct virtio_net_params p = {
		.id = "net0",
		.mac = { 0x52, 0x54, 0x00, 0x12, 0x34, 0x56 },
		.pairs = o->pairs ? o->pairs : 1,
		.queue_size = o->queue_size ? o->queue_size : 256,
		.modern = !o->legacy,
		.legacy = o->legacy || o->transitional,
		.packed = !o->no_packed,
		.mrg_rxbuf = !o->no_mrg,
		.mtu = o->mtu,
		.speed = o->speed,
		.half_duplex = o->half_duplex,
		.filters = o->filters,
		.mac_fixed = o->mac_fixed,
		.vhost = { .id = "net0", .timeout_ms = 1000 },
	};
	struct err e = { 0 };
	int rc;

	*r = (struct rig){ .memfd = -1, .iova = o->iova ? o->iova : RIG_IOVA };
	log_init("error");
	fake_vhost_next(&offer);
	guard_install();
	rc = pci_bus_new(&r->bus);
	if (rc == 0)
		rc = virtio_net_new(r->bus, &p, &e);
	if (rc < 0)
		goto fail;
	r->f = ioapi_bus_func(r->bus, 0);
	r->vhost = fake_vhost();
	if (o->closed)
		return 0;
	rc = ioapi_open(r->f, &e);
	if (rc == 0)
		rc = memory_up(r);
	if (rc < 0)
		goto fail;
	find_caps(r);
	return 0;
fail:
	if (!o->quiet)
		fprintf(stderr, "rig: %d %s\n", rc, e.msg);
	rig_down(r);
	return rc;
}

void rig_down(struct rig *r)
{
	if (r->f)
		ioapi_close(r->f);
	if (r->domain)
		ioapi_domain_free(r->domain);
	ioapi_bus_close(r->bus);
	if (r->mem && r->mem != MAP_FAILED)
		munmap(r->mem, RIG_MEM);
	if (r->memfd >= 0)
		close(r->memfd);
	*r = (struct rig){ .memfd = -1 };
}

uint64_t rig_alloc(struct rig *r, uint64_t len, uint64_t align)
{
	r->used = (r->used + align - 1) / align * align;
	r->used += len;
	if (r->used > RIG_MEM)
		return 0;
	memset(r->mem + r->used - len, 0, len);
	return r->iova + r->used - len;
}

void *rig_va(struct rig *r, uint64_t iova)
{
	return r->mem + (iova - r->iova);
}

/* ---- registers ----------------------------------------------------------------------------- */

uint64_t rig_read(struct rig *r, unsigned region, uint64_t off, unsigned size)
{
	uint64_t val = 0;

	ioapi_read(r->f, region, off, size, &val);
	return val;
}

int rig_write(struct rig *r, unsigned region, uint64_t off, unsigned size, uint64_t val)
{
	return ioapi_write(r->f, region, off, size, val);
}

uint64_t cc(struct rig *r, uint64_t off, unsigned size)
{
	return rig_read(r, IOAPI_BAR4, r->common + off, size);
}

int cc_set(struct rig *r, uint64_t off, unsigned size, uint64_t val)
{
	return rig_write(r, IOAPI_BAR4, r->common + off, size, val);
}

uint64_t dc(struct rig *r, uint64_t off, unsigned size)
{
	return rig_read(r, IOAPI_BAR4, r->config + off, size);
}

uint64_t lg(struct rig *r, uint64_t off, unsigned size)
{
	return rig_read(r, IOAPI_BAR0, off, size);
}

int lg_set(struct rig *r, uint64_t off, unsigned size, uint64_t val)
{
	return rig_write(r, IOAPI_BAR0, off, size, val);
}

uint8_t rig_status(struct rig *r)
{
	return (uint8_t)(r->notify ? cc(r, VIRTIO_PCI_COMMON_STATUS, 1) :
			 lg(r, VIRTIO_PCI_STATUS, 1));
}

void rig_set_status(struct rig *r, uint8_t bits)
{
	cc_set(r, VIRTIO_PCI_COMMON_STATUS, 1, bits);
}

uint64_t rig_offered(struct rig *r)
{
	uint64_t bits;

	cc_set(r, VIRTIO_PCI_COMMON_DFSELECT, 4, 1);
	bits = cc(r, VIRTIO_PCI_COMMON_DF, 4) << 32;
	cc_set(r, VIRTIO_PCI_COMMON_DFSELECT, 4, 0);
	return bits | cc(r, VIRTIO_PCI_COMMON_DF, 4);
}

void rig_accept(struct rig *r, uint64_t features)
{
	for (unsigned w = 0; w < 2; w++) {
		cc_set(r, VIRTIO_PCI_COMMON_GFSELECT, 4, w);
		cc_set(r, VIRTIO_PCI_COMMON_GF, 4, (uint32_t)(features >> (32 * w)));
	}
}

uint8_t rig_negotiate(struct rig *r, uint64_t features)
{
	rig_set_status(r, 0);
	rig_set_status(r, RIG_ACK);
	rig_set_status(r, RIG_ACK | RIG_DRIVER);
	rig_accept(r, features);
	rig_set_status(r, RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK);
	return rig_status(r);
}

/* ---- queues -------------------------------------------------------------------------------- */

void rig_queue(struct rig *r, struct qdrv *d, unsigned q, uint16_t num, bool packed)
{
	uint64_t iova;

	cc_set(r, VIRTIO_PCI_COMMON_Q_SELECT, 2, q);
	if (num)
		cc_set(r, VIRTIO_PCI_COMMON_Q_SIZE, 2, num);
	else
		num = (uint16_t)cc(r, VIRTIO_PCI_COMMON_Q_SIZE, 2);
	iova = rig_alloc(r, qdrv_size(num), 4096);
	qdrv_init(d, packed, num, rig_va(r, iova), iova);
	cc_set(r, VIRTIO_PCI_COMMON_Q_DESCLO, 4, (uint32_t)d->desc);
	cc_set(r, VIRTIO_PCI_COMMON_Q_DESCHI, 4, d->desc >> 32);
	cc_set(r, VIRTIO_PCI_COMMON_Q_AVAILLO, 4, (uint32_t)d->avail);
	cc_set(r, VIRTIO_PCI_COMMON_Q_AVAILHI, 4, d->avail >> 32);
	cc_set(r, VIRTIO_PCI_COMMON_Q_USEDLO, 4, (uint32_t)d->used);
	cc_set(r, VIRTIO_PCI_COMMON_Q_USEDHI, 4, d->used >> 32);
	cc_set(r, VIRTIO_PCI_COMMON_Q_ENABLE, 2, 1);
}

void rig_queue_legacy(struct rig *r, struct qdrv *d, unsigned q)
{
	uint16_t num;
	uint64_t iova;

	lg_set(r, VIRTIO_PCI_QUEUE_SEL, 2, q);
	num = (uint16_t)lg(r, VIRTIO_PCI_QUEUE_NUM, 2);
	iova = rig_alloc(r, qdrv_size(num), 4096);
	qdrv_init(d, false, num, rig_va(r, iova), iova);
	lg_set(r, VIRTIO_PCI_QUEUE_PFN, iova >> 44 ? 8 : 4, iova >> 12);
}

int rig_notify(struct rig *r, unsigned q)
{
	return rig_write(r, IOAPI_BAR4, r->notify + (uint64_t)q * r->notify_mult, 2, q);
}

uint8_t rig_run(struct rig *r, uint64_t features, struct qdrv *ctrl)
{
	bool packed = features >> VIRTIO_F_RING_PACKED & 1;
	struct qdrv rx, tx;
	unsigned c = 2;

	rig_negotiate(r, features);
	rig_queue(r, &rx, 0, 0, packed);
	rig_queue(r, &tx, 1, 0, packed);
	if (features >> VIRTIO_NET_F_MQ & 1)
		c = 2 * (unsigned)dc(r, offsetof(struct virtio_net_config, max_virtqueue_pairs),
				     2);
	for (unsigned q = 2; q < c; q++)
		rig_queue(r, &rx, q, 0, packed);
	if (ctrl)
		rig_queue(r, ctrl, c, 0, packed);
	rig_set_status(r, RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK);
	return rig_status(r);
}

/* ---- interrupts and counters --------------------------------------------------------------- */

int rig_irqs(struct rig *r, unsigned index, unsigned n, int *fds)
{
	for (unsigned i = 0; i < n; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return ioapi_irq_set(r->f, index, 0, n, fds);
}

unsigned rig_fired(int fd)
{
	uint64_t n;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? (unsigned)n : 0;
}

unsigned rig_fired_soon(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 1000);
	return rig_fired(fd);
}

uint64_t rig_stat(struct rig *r, const char *name)
{
	struct ioapi_stat rows[STATS_MAX];
	unsigned n = ioapi_stats(r->f, rows, STATS_MAX);

	for (unsigned i = 0; i < n && i < STATS_MAX; i++)
		if (!strcmp(rows[i].name, name))
			return rows[i].value;
	return UINT64_MAX;
}
