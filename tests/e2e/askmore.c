// SPDX-License-Identifier: Apache-2.0
// askmore.c - a driver in a pod that asks its device, and then the switch, for more than it was
// given: another address, others' frames, longer frames.
//
//	askmore BDF BDF BDF
//
// The first device asks, the other two talk to it and to each other. By direct calls and the
// legacy layout, which also has registers for the address. Prints what was answered and what came
// of it as one line of JSON. Nothing is waited out: a good frame sent behind a doubtful one has
// the same way, so that when it is there the other is not to come.
#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "include/podpci.h"
#include "tests/qdrv.h"

#pragma weak podpci_direct

#define DEVICES   3u
#define MEM       (1u << 20)
#define RING_MEM  0x8000u		/* each of the three */
#define BUFS_AT   0x20000u
#define BUF_BYTES 4096u
#define BUFS      32u			/* to receive; one more each to send and to command */
#define HDR       ((uint32_t)sizeof(struct virtio_net_hdr))
#define FRAME     64u
#define LONG      1614u
#define WAIT_S    10
#define MAC_AT    20u			/* device configuration without MSI-X */
#define STATUS_AT 26u

enum { RX, TX, CTRL, RINGS };

struct dev {
	struct ioapi_func *f;
	uint8_t    *mem;
	uint64_t    iova;
	struct qdrv q[RINGS];
	unsigned    buf_of[1024];	/* receive: by descriptor */
	uint8_t     mac[6];
	unsigned    marks, strays;	/* received: what was meant for it, and what was not */
};

static const struct podpci_calls *pod;
static time_t deadline;

static __attribute__((noreturn)) void die(const char *what)
{
	fprintf(stderr, "askmore: %s\n", what);
	exit(1);
}

static uint64_t get(const struct dev *d, unsigned off, unsigned size)
{
	uint64_t val = 0;

	if (pod->read(d->f, IOAPI_BAR0, off, size, &val))
		die("a register cannot be read");
	return val;
}

static void set(const struct dev *d, unsigned off, unsigned size, uint64_t val)
{
	if (pod->write(d->f, IOAPI_BAR0, off, size, val))
		die("a register cannot be written");
}

static uint64_t buf_at(unsigned i)
{
	return BUFS_AT + (uint64_t)i * BUF_BYTES;
}

/* ---- coming up ----------------------------------------------------------------------------- */

static void lend(struct dev *d, struct ioapi_domain *domain)
{
	int fd = memfd_create("askmore", MFD_CLOEXEC);
	struct ioapi_dma piece = { .size = MEM, .fd = fd };

	if (fd < 0 || ftruncate(fd, MEM))
		die("no memory");
	d->mem = mmap(NULL, MEM, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (d->mem == MAP_FAILED)
		die("no memory");
	piece.va = d->mem;
	piece.iova = d->iova = (uintptr_t)d->mem;
	if (pod->dma_map(domain, &piece, 1))
		die("memory cannot be lent");
	close(fd);
}

static void offer(struct dev *d, unsigned buf)
{
	struct qdrv_part p = { d->iova + buf_at(buf), BUF_BYTES, true };

	d->buf_of[qdrv_add(&d->q[RX], &p, 1)] = buf;
}

static void bring_up(struct dev *d)
{
	uint64_t want = UINT64_C(1) << VIRTIO_NET_F_MAC | UINT64_C(1) << VIRTIO_NET_F_STATUS |
			UINT64_C(1) << VIRTIO_NET_F_CTRL_VQ | UINT64_C(1) << VIRTIO_NET_F_CTRL_RX |
			UINT64_C(1) << VIRTIO_NET_F_CTRL_MAC_ADDR;

	pod->write(d->f, IOAPI_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MASTER);
	set(d, VIRTIO_PCI_STATUS, 1, 0);
	set(d, VIRTIO_PCI_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	if (want & ~get(d, VIRTIO_PCI_HOST_FEATURES, 4))
		die("a feature is missing");
	set(d, VIRTIO_PCI_GUEST_FEATURES, 4, want);
	for (unsigned q = 0; q < RINGS; q++) {
		uint64_t at = q * RING_MEM;
		uint16_t num;

		set(d, VIRTIO_PCI_QUEUE_SEL, 2, q);
		num = (uint16_t)get(d, VIRTIO_PCI_QUEUE_NUM, 2);
		if (!num || qdrv_size(num) > RING_MEM)
			die("a ring of that size is not for us");
		qdrv_init(&d->q[q], false, num, d->mem + at, d->iova + at);
		set(d, VIRTIO_PCI_QUEUE_PFN, 8, (d->iova + at) >> 12);
	}
	for (unsigned i = 0; i < BUFS; i++)
		offer(d, i);
	set(d, VIRTIO_PCI_STATUS, 1, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
	    VIRTIO_CONFIG_S_DRIVER_OK);
	set(d, VIRTIO_PCI_QUEUE_NOTIFY, 2, RX);
	for (unsigned i = 0; i < 6; i++)
		d->mac[i] = (uint8_t)get(d, MAC_AT + i, 1);
	while (!(get(d, STATUS_AT, 2) & VIRTIO_NET_S_LINK_UP))
		if (time(NULL) > deadline)
			die("the link stays down");
}

/* ---- asking -------------------------------------------------------------------------------- */

static uint8_t command(struct dev *d, uint8_t class, uint8_t cmd, const void *arg, uint32_t len)
{
	uint64_t at = buf_at(BUFS + 1);
	struct virtio_net_ctrl_hdr h = { class, cmd };
	struct qdrv_part p[] = {
		{ d->iova + at, sizeof(h) + len, false }, { d->iova + at + 2048, 1, true },
	};
	uint16_t id;
	uint32_t got;

	memcpy(d->mem + at, &h, sizeof(h));
	memcpy(d->mem + at + sizeof(h), arg, len);
	qdrv_add(&d->q[CTRL], p, 2);
	set(d, VIRTIO_PCI_QUEUE_NOTIFY, 2, CTRL);
	if (!qdrv_used(&d->q[CTRL], &id, &got, 2))
		die("a command is not answered");
	return d->mem[at + 2048];
}

/* ---- talking ------------------------------------------------------------------------------- */

/* A frame whose last header byte says whether it is a mark. */
static void send_frame(struct dev *d, const uint8_t to[6], const uint8_t from[6], uint32_t len,
		       bool mark)
{
	uint8_t *b = d->mem + buf_at(BUFS);
	struct qdrv_part p = { d->iova + buf_at(BUFS), HDR + len, false };
	uint16_t id;
	uint32_t got;

	memset(b, 0, HDR + len);
	b += HDR;
	memcpy(b, to, 6);
	memcpy(b + 6, from, 6);
	b[12] = 0x88;
	b[13] = 0xb5;			/* for local experiments, IEEE 802 */
	b[14] = mark;
	qdrv_add(&d->q[TX], &p, 1);
	set(d, VIRTIO_PCI_QUEUE_NOTIFY, 2, TX);
	while (!qdrv_used(&d->q[TX], &id, &got, 1))
		if (time(NULL) > deadline)
			die("a frame is not taken");
}

static void receive(struct dev *d)
{
	uint16_t id;
	uint32_t len;

	while (qdrv_used(&d->q[RX], &id, &len, 1)) {
		unsigned buf = d->buf_of[id];
		const uint8_t *b = d->mem + buf_at(buf) + HDR;

		if (len > HDR + 14 && b[12] == 0x88 && b[13] == 0xb5) {
			if (b[14])
				d->marks++;
			else
				d->strays++;
		}
		offer(d, buf);
	}
	set(d, VIRTIO_PCI_QUEUE_NOTIFY, 2, RX);
}

/* How many doubtful frames `to` has had when a mark from `from` is there. */
static unsigned strays(struct dev *from, struct dev *to)
{
	unsigned marks, n;

	receive(to);
	marks = to->marks;
	send_frame(from, to->mac, from->mac, FRAME, true);
	while (to->marks == marks) {
		if (time(NULL) > deadline)
			die("a good frame is lost");
		receive(to);
	}
	n = to->strays;
	to->strays = 0;
	return n;
}

/* Which of what it asked the pod's device was granted, and whether the switch goes by it. */
static void ask_for_an_address(struct dev *d)
{
	static const uint8_t other[6] = { 0x52, 0x54, 0x00, 0xee, 0xee, 0x01 };
	unsigned answer, reached;
	uint8_t now[6];

	answer = command(&d[0], VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6);
	for (unsigned i = 0; i < 6; i++)
		set(&d[0], MAC_AT + i, 1, other[i]);
	for (unsigned i = 0; i < 6; i++)
		now[i] = (uint8_t)get(&d[0], MAC_AT + i, 1);
	send_frame(&d[0], d[1].mac, other, FRAME, false);
	reached = strays(&d[0], &d[1]);
	printf("\"mac\":%u,\"mac_changed\":%d,\"from_other\":%u,", answer,
	       memcmp(now, d[0].mac, 6) != 0, reached);
}

static void ask_for_others_frames(struct dev *d)
{
	static const uint8_t on = 1;
	uint8_t table[4 + 6 + 4] = { 1 };

	memcpy(table + 4, d[2].mac, 6);
	printf("\"promisc\":%u,", command(&d[0], VIRTIO_NET_CTRL_RX, VIRTIO_NET_CTRL_RX_PROMISC,
					  &on, 1));
	printf("\"table\":%u,", command(&d[0], VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
					table, sizeof(table)));
	send_frame(&d[1], d[2].mac, d[1].mac, FRAME, false);
	printf("\"delivered\":%u,\"overheard\":%u,", strays(&d[1], &d[2]), strays(&d[1], &d[0]));
}

static void send_too_long(struct dev *d)
{
	send_frame(&d[0], d[1].mac, d[0].mac, LONG, false);
	printf("\"long\":%u", strays(&d[0], &d[1]));
}

int main(int argc, char **argv)
{
	static struct dev d[DEVICES];
	struct ioapi_domain *domain;

	deadline = time(NULL) + WAIT_S;
	pod = podpci_direct ? podpci_direct(PODPCI_CALLS) : NULL;
	if (argc != 1 + DEVICES || !pod || pod->domain_new(&domain))
		die("needs three devices and a simulated bus");
	for (unsigned i = 0; i < DEVICES; i++) {
		d[i].f = pod->find(argv[1 + i]);
		if (!d[i].f || pod->open(d[i].f, domain))
			die("a device cannot be opened");
		lend(&d[i], domain);
		bring_up(&d[i]);
	}
	for (unsigned i = 1; i < DEVICES; i++)
		strays(&d[0], &d[i]);
	printf("{");
	ask_for_an_address(d);
	ask_for_others_frames(d);
	send_too_long(d);
	printf("}\n");
	for (unsigned i = 0; i < DEVICES; i++)
		pod->close(d[i].f);
	return 0;
}
