// SPDX-License-Identifier: Apache-2.0
// rawdrv.c - a virtio-net driver that knows nothing of DPDK, VFIO or podpci: it finds the device in
// sysfs, maps a hugetlbfs file for its rings, asks /proc/self/pagemap where that is, and drives a
// legacy device with in and out or a modern one through its mapped resource.
//
//	rawdrv BDF legacy|modern|direct COUNT HUGE-FILE [UIO-DEVICE]
//
// "direct" is the same driver when it knows podpci after all: the legacy layout by calls, with its
// memory where a 32-bit frame number does not reach.
//
// Sends COUNT frames to a back-end that echoes them and checks what comes back. With a UIO device
// it waits for interrupts, else it polls. Prints one line of JSON.
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "include/podpci.h"

#pragma weak podpci_direct

#define DEVICES    "/sys/bus/pci/devices/"
#define HUGE       ((size_t)2 << 20)
#define PAGE       4096u
#define RING_BYTES 0x8000u		/* a ring's place in the huge page; 256 entries need less */
#define BUF_BYTES  2048u
#define BUFS_AT    0x20000u
#define RING_MAX   256u
#define FRAME      64u
#define WAIT_S     10
#define HIGH       (UINT64_C(1) << 45)	/* legacy frame numbers of 32 bits end at 2^44 */

struct dev;

struct transport {
	const char *name;
	void     (*map)(struct dev *d);
	void     (*lend)(struct dev *d, int fd);
	uint64_t (*features)(struct dev *d);
	void     (*accept)(struct dev *d, uint64_t features);
	uint8_t  (*status)(struct dev *d);
	void     (*set_status)(struct dev *d, uint8_t status);
	uint16_t (*ring_size)(struct dev *d, unsigned q);
	void     (*set_ring)(struct dev *d, unsigned q, uint64_t phys);
	void     (*notify)(struct dev *d, unsigned q);
	uint8_t  (*isr)(struct dev *d);
	void     (*mac)(struct dev *d, uint8_t mac[6]);
};

struct ring {
	struct vring v;
	uint16_t     seen;			/* used entries taken */
};

struct dev {
	char                    dir[64];
	const struct transport *t;
	uint16_t                port;		/* legacy */
	const struct podpci_calls *pod;		/* direct */
	struct ioapi_func      *f;
	volatile uint8_t       *bar[6];
	volatile struct virtio_pci_common_cfg *common;
	volatile uint8_t       *notify_at, *isr_at, *net;
	uint32_t                notify_step;
	uint8_t                *huge;
	uint64_t                phys;		/* of huge */
	unsigned                hdr;
	struct ring             ring[2];
	int                     uio;
	unsigned                interrupts;
};

static __attribute__((noreturn)) void die(const char *what)
{
	perror(what);
	exit(1);
}

static int open_in(const struct dev *d, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", d->dir, name);
	fd = open(path, flags);
	if (fd < 0)
		die(path);
	return fd;
}

static uint64_t config_get(const struct dev *d, unsigned off, unsigned size)
{
	int fd = open_in(d, "config", O_RDONLY);
	uint64_t val = 0;

	if (pread(fd, &val, size, off) != (ssize_t)size)
		die("config");
	close(fd);
	return val;
}

/* Where the page is, as the device is to be told. */
static void ask_pagemap(struct dev *d, int fd)
{
	int map = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry = 0;

	if (map < 0 || pread(map, &entry, 8, (off_t)((uintptr_t)d->huge / PAGE * 8)) != 8)
		die("/proc/self/pagemap");
	close(map);
	d->phys = (entry & ((UINT64_C(1) << 55) - 1)) * PAGE;
	if (!(entry >> 63) || !d->phys) {
		fprintf(stderr, "no frame number\n");
		exit(1);
	}
}

/* Decoding and bus mastering on. */
static void enable(const struct dev *d)
{
	uint16_t command = (uint16_t)config_get(d, PCI_COMMAND, 2);
	int fd = open_in(d, "enable", O_WRONLY);

	if (write(fd, "1", 1) != 1)
		die("enable");
	close(fd);
	fd = open_in(d, "config", O_RDWR);
	command |= PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(fd, &command, 2, PCI_COMMAND) != 2)
		die("config");
	close(fd);
}

/* ---- legacy: ports ------------------------------------------------------------------------- */

static void legacy_map(struct dev *d)
{
	char path[128];
	unsigned long long start;
	FILE *f;

	snprintf(path, sizeof(path), "%s/resource", d->dir);
	f = fopen(path, "r");
	if (!f || fscanf(f, "%llx", &start) != 1)
		die(path);
	fclose(f);
	if (iopl(3))
		die("iopl");
	d->port = (uint16_t)start;
}

static uint64_t legacy_features(struct dev *d)
{
	return inl((uint16_t)(d->port + VIRTIO_PCI_HOST_FEATURES));
}

static void legacy_accept(struct dev *d, uint64_t features)
{
	outl((uint32_t)features, (uint16_t)(d->port + VIRTIO_PCI_GUEST_FEATURES));
}

static uint8_t legacy_status(struct dev *d)
{
	return inb((uint16_t)(d->port + VIRTIO_PCI_STATUS));
}

/* outb_p writes port 0x80 too, as drivers of old machines do. */
static void legacy_set_status(struct dev *d, uint8_t status)
{
	outb_p(status, (uint16_t)(d->port + VIRTIO_PCI_STATUS));
}

static uint16_t legacy_ring_size(struct dev *d, unsigned q)
{
	outw((uint16_t)q, (uint16_t)(d->port + VIRTIO_PCI_QUEUE_SEL));
	return inw((uint16_t)(d->port + VIRTIO_PCI_QUEUE_NUM));
}

static void legacy_set_ring(struct dev *d, unsigned q, uint64_t phys)
{
	if (phys >> 44) {
		fprintf(stderr, "ring at %#llx is out of reach\n", (unsigned long long)phys);
		exit(1);
	}
	outw((uint16_t)q, (uint16_t)(d->port + VIRTIO_PCI_QUEUE_SEL));
	outl((uint32_t)(phys >> 12), (uint16_t)(d->port + VIRTIO_PCI_QUEUE_PFN));
}

static void legacy_notify(struct dev *d, unsigned q)
{
	outw((uint16_t)q, (uint16_t)(d->port + VIRTIO_PCI_QUEUE_NOTIFY));
}

static uint8_t legacy_isr(struct dev *d)
{
	return inb((uint16_t)(d->port + VIRTIO_PCI_ISR));
}

static void legacy_mac(struct dev *d, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++)
		mac[i] = inb((uint16_t)(d->port + 20 + i));
}

/* ---- modern: memory ------------------------------------------------------------------------ */

static volatile uint8_t *map_bar(struct dev *d, unsigned bar)
{
	char name[16];
	void *p;
	off_t size;
	int fd;

	if (d->bar[bar])
		return d->bar[bar];
	snprintf(name, sizeof(name), "resource%u", bar);
	fd = open_in(d, name, O_RDWR);
	snprintf(name, sizeof(name), "resource%u", bar);
	size = 0x4000;
	p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		die(name);
	close(fd);			/* the mapping is enough */
	d->bar[bar] = p;
	return p;
}

static void modern_map(struct dev *d)
{
	unsigned at = (unsigned)config_get(d, PCI_CAPABILITY_LIST, 1);

	for (unsigned i = 0; at && i < 48; i++, at = (unsigned)config_get(d, at + 1, 1)) {
		unsigned type = (unsigned)config_get(d, at + 3, 1);
		unsigned bar = (unsigned)config_get(d, at + 4, 1);
		uint32_t off = (uint32_t)config_get(d, at + 8, 4);

		if (config_get(d, at, 1) != PCI_CAP_ID_VNDR || bar > 5)
			continue;
		if (type == VIRTIO_PCI_CAP_COMMON_CFG)
			d->common = (volatile void *)(map_bar(d, bar) + off);
		else if (type == VIRTIO_PCI_CAP_ISR_CFG)
			d->isr_at = map_bar(d, bar) + off;
		else if (type == VIRTIO_PCI_CAP_DEVICE_CFG)
			d->net = map_bar(d, bar) + off;
		else if (type == VIRTIO_PCI_CAP_NOTIFY_CFG) {
			d->notify_at = map_bar(d, bar) + off;
			d->notify_step = (uint32_t)config_get(d, at + 16, 4);
		}
	}
	if (!d->common || !d->notify_at || !d->isr_at || !d->net) {
		fprintf(stderr, "a capability is missing\n");
		exit(1);
	}
}

static uint64_t modern_features(struct dev *d)
{
	uint64_t low;

	d->common->device_feature_select = 0;
	low = d->common->device_feature;
	d->common->device_feature_select = 1;
	return low | (uint64_t)d->common->device_feature << 32;
}

static void modern_accept(struct dev *d, uint64_t features)
{
	d->common->guest_feature_select = 0;
	d->common->guest_feature = (uint32_t)features;
	d->common->guest_feature_select = 1;
	d->common->guest_feature = (uint32_t)(features >> 32);
}

static uint8_t modern_status(struct dev *d)
{
	return d->common->device_status;
}

static void modern_set_status(struct dev *d, uint8_t status)
{
	d->common->device_status = status;
}

static uint16_t modern_ring_size(struct dev *d, unsigned q)
{
	d->common->queue_select = (uint16_t)q;
	return d->common->queue_size;
}

static void put64(volatile __le32 *low, volatile __le32 *high, uint64_t val)
{
	*low = (uint32_t)val;
	*high = (uint32_t)(val >> 32);
}

static void modern_set_ring(struct dev *d, unsigned q, uint64_t phys)
{
	const struct vring *v = &d->ring[q].v;
	uint64_t avail = phys + (uint64_t)((uint8_t *)v->avail - (uint8_t *)v->desc);
	uint64_t used = phys + (uint64_t)((uint8_t *)v->used - (uint8_t *)v->desc);

	d->common->queue_select = (uint16_t)q;
	put64(&d->common->queue_desc_lo, &d->common->queue_desc_hi, phys);
	put64(&d->common->queue_avail_lo, &d->common->queue_avail_hi, avail);
	put64(&d->common->queue_used_lo, &d->common->queue_used_hi, used);
	d->common->queue_enable = 1;
}

static void modern_notify(struct dev *d, unsigned q)
{
	d->common->queue_select = (uint16_t)q;
	*(volatile uint16_t *)(d->notify_at + d->common->queue_notify_off * d->notify_step) =
		(uint16_t)q;
}

static uint8_t modern_isr(struct dev *d)
{
	return *d->isr_at;
}

static void modern_mac(struct dev *d, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++)
		mac[i] = d->net[i];
}

/* ---- direct: calls ------------------------------------------------------------------------- */

static void direct_map(struct dev *d)
{
	d->pod = podpci_direct ? podpci_direct(PODPCI_CALLS) : NULL;
	d->f = d->pod ? d->pod->find(d->dir + strlen(DEVICES)) : NULL;
	if (!d->f) {
		fprintf(stderr, "no direct calls\n");
		exit(1);
	}
}

/* With an IOMMU of one's own the address in the descriptors is one's own choice too. */
static void direct_lend(struct dev *d, int fd)
{
	struct ioapi_dma piece = { (uintptr_t)d->huge, HUGE, d->huge, fd, 0 };
	struct ioapi_domain *domain;

	if (d->pod->domain_new(&domain) || d->pod->dma_map(domain, &piece, 1) ||
	    d->pod->open(d->f, domain)) {
		fprintf(stderr, "the device cannot be opened\n");
		exit(1);
	}
	d->phys = piece.iova;
	d->pod->write(d->f, IOAPI_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
}

static uint64_t direct_get(struct dev *d, unsigned off, unsigned size)
{
	uint64_t val = 0;

	if (d->pod->read(d->f, IOAPI_BAR0, off, size, &val))
		fprintf(stderr, "register %u cannot be read\n", off);
	return val;
}

static void direct_set(struct dev *d, unsigned off, unsigned size, uint64_t val)
{
	if (d->pod->write(d->f, IOAPI_BAR0, off, size, val))
		fprintf(stderr, "register %u cannot be written\n", off);
}

static uint64_t direct_features(struct dev *d)
{
	return direct_get(d, VIRTIO_PCI_HOST_FEATURES, 4);
}

static void direct_accept(struct dev *d, uint64_t features)
{
	direct_set(d, VIRTIO_PCI_GUEST_FEATURES, 4, features);
}

static uint8_t direct_status(struct dev *d)
{
	return (uint8_t)direct_get(d, VIRTIO_PCI_STATUS, 1);
}

static void direct_set_status(struct dev *d, uint8_t status)
{
	direct_set(d, VIRTIO_PCI_STATUS, 1, status);
}

static uint16_t direct_ring_size(struct dev *d, unsigned q)
{
	direct_set(d, VIRTIO_PCI_QUEUE_SEL, 2, q);
	return (uint16_t)direct_get(d, VIRTIO_PCI_QUEUE_NUM, 2);
}

/* Eight bytes: the whole virtual frame number. */
static void direct_set_ring(struct dev *d, unsigned q, uint64_t phys)
{
	direct_set(d, VIRTIO_PCI_QUEUE_SEL, 2, q);
	direct_set(d, VIRTIO_PCI_QUEUE_PFN, 8, phys >> 12);
}

static void direct_notify(struct dev *d, unsigned q)
{
	direct_set(d, VIRTIO_PCI_QUEUE_NOTIFY, 2, q);
}

static uint8_t direct_isr(struct dev *d)
{
	return (uint8_t)direct_get(d, VIRTIO_PCI_ISR, 1);
}

static void direct_mac(struct dev *d, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)direct_get(d, 20 + i, 1);
}

static const struct transport transports[] = {
	{ "direct", direct_map, direct_lend, direct_features, direct_accept, direct_status,
	  direct_set_status, direct_ring_size, direct_set_ring, direct_notify, direct_isr,
	  direct_mac },
	{ "legacy", legacy_map, ask_pagemap, legacy_features, legacy_accept, legacy_status,
	  legacy_set_status, legacy_ring_size, legacy_set_ring, legacy_notify, legacy_isr,
	  legacy_mac },
	{ "modern", modern_map, ask_pagemap, modern_features, modern_accept, modern_status,
	  modern_set_status, modern_ring_size, modern_set_ring, modern_notify, modern_isr,
	  modern_mac },
};

/* ---- memory -------------------------------------------------------------------------------- */

/* One huge page, where the kernel (or whoever stands for it) puts it, or high up. */
static void get_memory(struct dev *d, const char *file)
{
	void *want = d->pod ? (void *)HIGH : NULL;
	int fd = open(file, O_CREAT | O_RDWR, 0600);

	if (fd < 0 || ftruncate(fd, HUGE))
		die(file);
	d->huge = mmap(want, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (d->huge == MAP_FAILED)
		die(file);
	d->t->lend(d, fd);
	close(fd);
	unlink(file);
}
static uint8_t *buf_of(const struct dev *d, unsigned q, unsigned i)
{
	return d->huge + BUFS_AT + (q * RING_MAX + i) * BUF_BYTES;
}

static uint64_t phys_of(const struct dev *d, const void *p)
{
	return d->phys + (uint64_t)((const uint8_t *)p - d->huge);
}

/* ---- life ---------------------------------------------------------------------------------- */

static void offer(struct dev *d, unsigned q, unsigned i, uint32_t len)
{
	struct ring *r = &d->ring[q];
	uint16_t idx = r->v.avail->idx;

	r->v.desc[i].len = len;
	r->v.avail->ring[idx % r->v.num] = (uint16_t)i;
	__atomic_store_n(&r->v.avail->idx, (uint16_t)(idx + 1), __ATOMIC_RELEASE);
}

static void set_up_ring(struct dev *d, unsigned q)
{
	struct ring *r = &d->ring[q];
	unsigned num = d->t->ring_size(d, q);

	if (!num || num > RING_MAX) {
		fprintf(stderr, "ring %u has %u entries\n", q, num);
		exit(1);
	}
	vring_init(&r->v, num, d->huge + q * RING_BYTES, PAGE);
	for (unsigned i = 0; i < num; i++)
		r->v.desc[i] = (struct vring_desc){
			.addr = phys_of(d, buf_of(d, q, i)), .len = BUF_BYTES,
			.flags = q ? 0 : VRING_DESC_F_WRITE,
		};
	if (q || d->uio < 0)
		r->v.avail->flags = VRING_AVAIL_F_NO_INTERRUPT;
	d->t->set_ring(d, q, phys_of(d, r->v.desc));
}

static void bring_up(struct dev *d)
{
	uint64_t want = UINT64_C(1) << VIRTIO_NET_F_MAC | UINT64_C(1) << VIRTIO_F_VERSION_1;
	uint8_t status = VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER;

	d->t->set_status(d, 0);
	while (d->t->status(d))
		;
	d->t->set_status(d, status);
	want &= d->t->features(d);
	d->t->accept(d, want);
	d->hdr = want >> VIRTIO_F_VERSION_1 ? sizeof(struct virtio_net_hdr_mrg_rxbuf)
					    : sizeof(struct virtio_net_hdr);
	if (want >> VIRTIO_F_VERSION_1) {
		status |= VIRTIO_CONFIG_S_FEATURES_OK;
		d->t->set_status(d, status);
		if (!(d->t->status(d) & VIRTIO_CONFIG_S_FEATURES_OK)) {
			fprintf(stderr, "features are refused\n");
			exit(1);
		}
	}
	set_up_ring(d, 0);
	set_up_ring(d, 1);
	d->t->set_status(d, status | VIRTIO_CONFIG_S_DRIVER_OK);
	for (unsigned i = 0; i < d->ring[0].v.num; i++)
		offer(d, 0, i, BUF_BYTES);
	d->t->notify(d, 0);
}

/* The next used entry of a ring, or -1. */
static int take(struct dev *d, unsigned q, uint32_t *len)
{
	struct ring *r = &d->ring[q];
	const struct vring_used_elem *e;

	if (__atomic_load_n(&r->v.used->idx, __ATOMIC_ACQUIRE) == r->seen)
		return -1;
	e = &r->v.used->ring[r->seen++ % r->v.num];
	*len = e->len;
	return (int)e->id;
}

/* With a UIO device: the number of interrupts so far is read, the ISR says which it was. */
static void await(struct dev *d)
{
	struct pollfd p = { .fd = d->uio, .events = POLLIN };
	uint32_t count;

	if (d->uio < 0 || poll(&p, 1, 100) <= 0)
		return;
	if (read(d->uio, &count, sizeof(count)) != sizeof(count))
		die("uio");
	d->interrupts = count;
	d->t->isr(d);
}

static void fill(const struct dev *d, uint8_t *buf, const uint8_t mac[6], uint32_t number)
{
	memset(buf, 0, d->hdr + FRAME);
	buf += d->hdr;
	memset(buf, 0xff, 6);
	memcpy(buf + 6, mac, 6);
	buf[12] = 0x88;
	buf[13] = 0xb5;			/* for local experiments, IEEE 802 */
	memcpy(buf + 14, &number, sizeof(number));
	for (unsigned i = 18; i < FRAME; i++)
		buf[i] = (uint8_t)(number + i);
}

static bool is_whole(const struct dev *d, const uint8_t *buf, uint32_t len, uint32_t number)
{
	uint32_t got;

	if (len != d->hdr + FRAME)
		return false;
	buf += d->hdr;
	memcpy(&got, buf + 14, sizeof(got));
	for (unsigned i = 18; i < FRAME; i++)
		if (buf[i] != (uint8_t)(number + i))
			return false;
	return got == number;
}

/* One frame at a time: each wait is for one interrupt. */
static unsigned echo(struct dev *d, unsigned count)
{
	time_t end = time(NULL) + WAIT_S;
	uint8_t mac[6];
	unsigned good = 0;
	uint32_t len;

	d->t->mac(d, mac);
	for (unsigned n = 0; n < count && time(NULL) < end; n++) {
		unsigned slot = n % d->ring[1].v.num;
		int got;

		fill(d, buf_of(d, 1, slot), mac, n);
		offer(d, 1, slot, d->hdr + FRAME);
		if (!(__atomic_load_n(&d->ring[1].v.used->flags, __ATOMIC_ACQUIRE) &
		      VRING_USED_F_NO_NOTIFY))
			d->t->notify(d, 1);
		while ((got = take(d, 0, &len)) < 0 && time(NULL) < end)
			await(d);
		if (got < 0)
			break;
		good += is_whole(d, buf_of(d, 0, (unsigned)got), len, n);
		offer(d, 0, (unsigned)got, BUF_BYTES);
		while (take(d, 1, &len) < 0 && time(NULL) < end)
			;
	}
	return good;
}

int main(int argc, char **argv)
{
	struct dev d = { .uio = -1 };
	unsigned count, good;
	uint8_t mac[6];

	if (argc < 5)
		return 2;
	snprintf(d.dir, sizeof(d.dir), DEVICES "%s", argv[1]);
	for (unsigned i = 0; i < sizeof(transports) / sizeof(transports[0]); i++)
		if (!strcmp(argv[2], transports[i].name))
			d.t = &transports[i];
	if (!d.t)
		return 2;
	count = (unsigned)atoi(argv[3]);
	if (argc > 5)
		d.uio = open(argv[5], O_RDWR);
	if (argc > 5 && d.uio < 0)
		die(argv[5]);
	if (config_get(&d, PCI_VENDOR_ID, 2) != 0x1af4)
		die("vendor");
	d.t->map(&d);
	if (!d.pod)
		enable(&d);
	get_memory(&d, argv[4]);
	bring_up(&d);
	d.t->mac(&d, mac);
	good = echo(&d, count);
	printf("{\"transport\":\"%s\",\"sent\":%u,\"good\":%u,\"interrupts\":%u,\"phys\":\"%#llx\","
	       "\"mac\":\"%02x:%02x:%02x:%02x:%02x:%02x\"}\n", d.t->name, count, good,
	       d.interrupts, (unsigned long long)d.phys, mac[0], mac[1], mac[2], mac[3], mac[4],
	       mac[5]);
	d.t->set_status(&d, 0);
	return good != count;
}
