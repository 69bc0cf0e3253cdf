// SPDX-License-Identifier: Apache-2.0
// virtio_ctrl.c - a control queue whose contents are nothing but bytes.
//
// Input: a byte that picks the format and how the rest is used: as commands cut into chains by
// the input, or as descriptors and rings themselves.
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "tests/ctl.h"

#define MUST(x) do { if (!(x)) abort(); } while (0)
#define B(n) (1ull << (n))
#define FEATURES (CTL_ALL | B(VIRTIO_NET_F_MQ) | B(VIRTIO_NET_F_CTRL_RX_EXTRA) | \
		  B(VIRTIO_NET_F_CTRL_VLAN) | B(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | \
		  B(VIRTIO_NET_F_GUEST_CSUM) | B(VIRTIO_NET_F_GUEST_TSO4) | \
		  B(VIRTIO_RING_F_INDIRECT_DESC) | B(VIRTIO_RING_F_EVENT_IDX))
#define SIZE 32
#define PARTS_MAX 12
#define ROUNDS_MAX 64

static struct ctl c;

struct input {
	const uint8_t *p;
	size_t n;
};

static unsigned byte(struct input *in)
{
	if (!in->n)
		return 0;
	in->n--;
	return *in->p++;
}

static void copy(struct input *in, void *to, size_t n)
{
	n = n < in->n ? n : in->n;
	memcpy(to, in->p, n);
	in->p += n;
	in->n -= n;
}

static void start(bool packed)
{
	const struct rig_opts o = {
		.pairs = 4, .queue_size = SIZE, .filters = true, .quiet = true,
	};
	uint64_t features = FEATURES | (packed ? B(VIRTIO_F_RING_PACKED) : 0);

	if (!c.r.f) {
		MUST(ctl_up_with(&c, features, &o) & RIG_DRIVER_OK);
		return;
	}
	c.r.used = 0;			/* all memory anew */
	MUST(rig_run(&c.r, 1ull << VIRTIO_F_VERSION_1 | features, &c.q) & RIG_DRIVER_OK);
	c.page = rig_alloc(&c.r, 0x11000, 4096);
}

/* A chain whose parts are cut by the input, over contents from the input. */
static void round_of_commands(struct input *in)
{
	struct qdrv_part p[PARTS_MAX];
	unsigned n = 1 + byte(in) % PARTS_MAX;
	uint8_t *va = rig_va(&c.r, c.page);
	uint16_t id;
	uint32_t len;

	copy(in, va, 64 + byte(in));
	for (unsigned i = 0; i < n; i++) {
		unsigned b = byte(in);

		p[i] = (struct qdrv_part){
			.addr = c.page + (b & 0x3f) * (b & 0x40 ? 64 : 1), .len = byte(in),
			.write = b & 0x80,
		};
	}
	qdrv_add(&c.q, p, n);
	rig_notify(&c.r, c.queue);
	while (qdrv_used(&c.q, &id, &len, n)) {
		uint64_t room = 0;

		for (unsigned i = 0; i < n; i++)
			room += p[i].write ? p[i].len : 0;
		MUST(len <= room);
	}
}

/* Table, rings and all as they come. */
static void round_of_bytes(struct input *in)
{
	uint8_t *ring = rig_va(&c.r, c.q.desc);

	copy(in, ring + 16 * (byte(in) % SIZE), 16 * (1 + byte(in) % 8));
	copy(in, rig_va(&c.r, c.q.avail), 4 + 2 * (byte(in) % SIZE));
	rig_notify(&c.r, c.queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	unsigned how = byte(&in);

	start(how & 1);
	for (unsigned i = 0; i < ROUNDS_MAX && in.n; i++) {
		if (how & 2)
			round_of_bytes(&in);
		else
			round_of_commands(&in);
		MUST(c.r.vhost->calls_unlocked == 0);
		MUST(!(dc(&c.r, 0, 1) & 1));		/* never a group address */
		MUST(c.r.vhost->ring[0].enabled);	/* never less than one pair */
		if (rig_status(&c.r) & RIG_NEEDS_RESET)
			start(how & 1);
	}
	rig_set_status(&c.r, 0);
	MUST(rig_status(&c.r) == 0 && !c.r.vhost->started);
	fake_forget(c.r.vhost);
	return 0;
}
