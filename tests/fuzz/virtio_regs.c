// SPDX-License-Identifier: Apache-2.0
// virtio_regs.c - whatever a driver does to registers, the device stays within its model.
//
// Input: a byte that picks the device, then accesses of 4 to 12 bytes each: what, where, value.
#include <stdlib.h>
#include <string.h>

#include <linux/pci_regs.h>
#include <linux/virtio_config.h>
#include <linux/virtio_pci.h>

#include "tests/rig.h"

#define MUST(x) do { if (!(x)) abort(); } while (0)
#define ACCESSES_MAX 512
#define KNOWN_STATUS (RIG_ACK | RIG_DRIVER | RIG_DRIVER_OK | RIG_FEATURES_OK | RIG_NEEDS_RESET | \
		      RIG_FAILED)

static struct rig rigs[6];
static const struct rig_opts kinds[6] = {
	{ .pairs = 2, .mtu = 1500, .quiet = true },
	{ .transitional = true, .pairs = 2, .filters = true, .quiet = true },
	{ .legacy = true, .quiet = true },
	{ .pairs = 128, .queue_size = 64, .speed = 10000, .quiet = true },
	{ .no_packed = true, .no_mrg = true, .no_backend = true, .quiet = true },
	{ .transitional = true, .rings_max = 2, .pairs = 4, .quiet = true },
};

struct input {
	const uint8_t *p;
	size_t n;
};

static uint64_t take(struct input *in, unsigned size)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < size && in->n; i++, in->p++, in->n--)
		v |= (uint64_t)*in->p << (8 * i);
	return v;
}

/* Where something is: the blocks of BAR4, their edges, notify pages, BAR0, BAR1, config space. */
static uint64_t place(const struct rig *r, unsigned *region, uint64_t raw)
{
	static const uint8_t regions[8] = { 4, 4, 4, 4, 0, 1, 7, 4 };
	unsigned pick = raw & 7;

	*region = regions[pick];
	raw >>= 3;
	switch (pick) {
	case 0:
	case 1:
		return r->common + raw % 72;
	case 2:
		return r->config + raw % 64;
	case 3:
		return r->notify + (raw & 0x1ff) * r->notify_mult + (raw >> 9 & 7);
	case 4:
		return raw % 72;
	case 6:
		return raw % 300;
	default:
		return raw;
	}
}

static void one_access(struct rig *r, struct input *in)
{
	static const uint8_t sizes[8] = { 1, 2, 4, 8, 1, 2, 4, 3 };
	unsigned what = (unsigned)take(in, 1), size = sizes[what >> 1 & 7], region;
	uint64_t off = place(r, &region, take(in, 3)), val = 0;
	int rc;

	if (what & 0x80)
		region = what >> 4 & 15;
	if (!(what & 1)) {
		rc = ioapi_read(r->f, region, off, size, &val);
		MUST(rc == 0 || val == UINT64_MAX);
		MUST(rc || size == 8 || val >> (8 * (size & 7)) == 0);
		return;
	}
	val = take(in, size);
	/* Half of the addresses lie in the driver's memory, so that rings can start. */
	if ((what & 0x10) && size >= 4)
		val = r->iova + (val & (RIG_MEM - 1) & ~4095ull);
	(void)ioapi_write(r->f, region, off, size, val);
}

/* What holds after each access, whoever made it. */
static void check(struct rig *r)
{
	uint8_t status = rig_status(r);
	const struct vhost *v = r->vhost;

	MUST(status == 0xff || !(status & ~KNOWN_STATUS));
	MUST(v->calls_unlocked == 0);
	if (status != 0xff && !status)
		MUST(!v->started);
	for (unsigned q = 0; v->started && q < v->rings; q++) {
		const struct vhost_ring *x = &v->ring[q];

		if (!x->num)
			continue;
		MUST(x->num <= 32768);
		MUST(x->desc >= r->iova && x->desc + 16ull * x->num <= r->iova + RIG_MEM);
		MUST(x->avail >= r->iova && x->avail < r->iova + RIG_MEM);
		MUST(x->used >= r->iova && x->used < r->iova + RIG_MEM);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned kind = (unsigned)take(&in, 1) % 6;
	struct rig *r = &rigs[kind];

	if (!r->f && rig_up(r, &kinds[kind]) < 0)
		abort();
	for (unsigned i = 0; i < ACCESSES_MAX && in.n; i++) {
		one_access(r, &in);
		check(r);
	}
	/* Whatever state that was, closing and opening lead out of it. */
	ioapi_write(r->f, IOAPI_CONFIG, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY);
	ioapi_reset(r->f);
	MUST(rig_status(r) == 0 && !r->vhost->started);
	fake_forget(r->vhost);
	return 0;
}
