// SPDX-License-Identifier: Apache-2.0
// vqueue.c - fuzzes both ring formats with a driver that is nothing but bytes. Input: format and
// features, then memory as the driver wrote it, then how it changed while we held a batch.
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "sim/backend/torn.h"
#include "sim/backend/vlog.h"
#include "sim/backend/vqueue.h"

#define BIT(n)	(1ull << (n))
#define MEM	(128u << 10)
#define AVAIL	1024u		/* offsets of the areas: the input reaches all of them */
#define USED	1536u

static struct vmem mem;
static struct vlog dirty;
static struct batch *batch;
static uint8_t *host;

static void set_up(void)
{
	struct vmem_policy policy = { 0, false };
	int fd = memfd_create("fuzz", 0), log = memfd_create("log", 0);

	batch = aligned_alloc(64, sizeof(*batch));
	if (torn_install() < 0 || ftruncate(fd, MEM) < 0 || ftruncate(log, 4096) < 0 ||
	    vmem_add(&mem, &policy, 0, 0, MEM, 0, fd) < 0 || vlog_map(&dirty, 2, 0, log) < 0)
		abort();
	close(fd);
	close(log);
	host = mem.region[0].host;
}

static uint64_t features_of(uint8_t bits)
{
	static const uint8_t feature[] = {
		VIRTIO_F_RING_PACKED, VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_VERSION_1, 35,
		VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_CSUM,
		VIRTIO_NET_F_HOST_TSO4,
	};
	uint64_t f = 0;

	for (unsigned i = 0; i < sizeof(feature); i++)
		if (bits >> i & 1)
			f |= BIT(feature[i]);
	return f;
}

/* A frame is whole and all of it lies in the memory that was lent. */
static void check_frame(const struct frame *f)
{
	static uint8_t copy[FRAME_MAX];
	uint64_t views = 0;

	if (f->len < FRAME_MIN || f->len > FRAME_MAX || f->nsegs > FRAME_SEGS)
		abort();
	if (f->head_len != (f->len < FRAME_HEAD ? f->len : FRAME_HEAD) || f->skip != f->head_len)
		abort();
	for (unsigned i = 0; i < f->nsegs; i++) {
		if (f->segs[i].base < host || f->segs[i].base + f->segs[i].len > host + MEM)
			abort();
		views += f->segs[i].len;
	}
	if (views != f->len)
		abort();
	frame_copy(copy, f, 0, f->len);
}

static void transmit(struct vqueue *q, const uint8_t *later, size_t n)
{
	for (unsigned round = 0; round < 3; round++) {
		unsigned got = vqueue_take(q, batch, PORT_BURST);

		if (got > PORT_BURST || batch->entries > q->num)
			abort();
		memcpy(host + 64 * round, later, n < 512 ? n : 512);
		for (unsigned i = 0; i < got; i++)
			check_frame(&batch->frame[i]);
		q->ops->release(q, batch);
	}
	if (q->owed_n)
		abort();
}

static void receive(struct vqueue *q, const uint8_t *later, size_t n)
{
	static uint8_t bytes[3000];
	static struct frame f[3];
	struct frame *list[PORT_BURST];

	frame_of(&f[0], bytes, 64);
	frame_of(&f[1], bytes, 14);
	frame_of(&f[2], bytes, sizeof(bytes));
	for (unsigned i = 0; i < PORT_BURST; i++)
		list[i] = &f[i % 3];
	for (unsigned round = 0; round < 3; round++) {
		if (vqueue_give(q, list, PORT_BURST) > PORT_BURST)
			abort();
		memcpy(host + 64 * round, later, n < 512 ? n : 512);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint16_t nums[] = { 1, 2, 8, 64, 7, 33, 16, 4 };
	struct vqueue_setup s = { .mem = &mem };
	struct vqueue q;
	bool again;
	size_t half;

	if (!host)
		set_up();
	if (size < 4)
		return 0;
	s.features = features_of(data[0]);
	s.num = nums[data[1] % 8];
	s.desc = host;
	s.avail = host + AVAIL;
	s.used = host + USED;
	s.log = data[1] & 64 ? &dirty : NULL;
	s.used_log = data[1] & 128 ? 1 : 0;
	vqueue_init(&q, data[1] & 8, data[1] & 16);
	half = (size - 4) * 3 / 4;
	memset(host, 0, 8192);
	memcpy(host, data + 4, half < 8192 ? half : 8192);
	if (vqueue_start(&q, &s, data[2] & 1 ? 0x80008000 : (uint32_t)(data[2] >> 1) << 9) < 0)
		return 0;
	q.ops = vqueue_pick(s.features & BIT(VIRTIO_F_RING_PACKED), 16u << data[3] % 2);
	if (q.transmit)
		transmit(&q, data + 4 + half, size - 4 - half);
	else
		receive(&q, data + 4 + half, size - 4 - half);
	for (unsigned i = 0; i < 3; i++)
		vqueue_due(&q, &again);
	q.ops->arm(&q, true);
	q.ops->arm(&q, false);
	vqueue_stop(&q);
	return 0;
}
