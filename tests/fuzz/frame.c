// SPDX-License-Identifier: Apache-2.0
// frame.c - fuzzes what a hostile pod's frame meets: header checks, parser, segmentation, tags,
// decisions. Input: 12 bytes of virtio-net header, one of receiver features, one of view size,
// then the frame.
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "sim/backend/l2switch.h"
#include "sim/backend/offload.h"

#define PREFIX 14
#define BIT(n) (1ull << (n))

static const uint64_t all_host = BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
	BIT(VIRTIO_NET_F_HOST_TSO6) | BIT(VIRTIO_NET_F_HOST_ECN) | BIT(56);

static uint64_t receiver(uint8_t bits)
{
	static const uint8_t feature[] = {
		VIRTIO_NET_F_GUEST_CSUM, VIRTIO_NET_F_GUEST_TSO4, VIRTIO_NET_F_GUEST_TSO6,
		VIRTIO_NET_F_GUEST_ECN, 54, 55,
	};
	uint64_t f = 0;

	for (unsigned i = 0; i < sizeof(feature); i++)
		if (bits >> i & 1)
			f |= BIT(feature[i]);
	return f;
}

/* As take() would hand it over: views of `view` bytes. */
static void taken(struct frame *f, struct seg *segs, const uint8_t *b, uint32_t n, unsigned view)
{
	frame_of(f, b, n);
	if (!view || n / view >= FRAME_SEGS)
		return;
	f->segs = segs;
	f->nsegs = 0;
	for (uint32_t at = 0; at < n; at += view)
		segs[f->nsegs++] = (struct seg){ b + at, n - at < view ? n - at : view };
}

static struct l2 *switch_new(void)
{
	struct l2_opts o = { .fdb_max = 64, .seed = { 1, 2 } };
	struct l2 *l;

	if (l2_new(&l, &o))
		abort();
	for (unsigned i = 0; i < 4; i++) {
		struct l2_conf *c = malloc(sizeof(*c));

		l2_conf_init(c);
		c->mtu = i == 3 ? 1500 : 0;
		c->pvid = (uint16_t)(i * 5);
		free(l2_port_set(l, i, c));
	}
	return l;
}

static void decide(const struct frame *f, uint32_t wire_len)
{
	static struct l2 *l;
	struct l2_frame view = { .hdr = f->head, .len = f->len, .wire_len = wire_len };
	struct l2_verdict v;
	struct l2_set s;
	enum l2_edit edit;
	struct frame copy;
	uint16_t tci;

	if (!l)
		l = switch_new();
	l2_burst(l, f->len % 4, &view, 1, 1, &v, &s);
	if (v.copies)
		l2_egress(l, l2_set_next(&s, 0), &view, &v, &edit, &tci);
	copy = *f;
	if (!offload_tag_push(&copy, 0x2005) && offload_tag_pop(&copy))
		abort();		/* what was pushed can be popped */
	if (copy.len != f->len || memcmp(copy.head, f->head, f->head_len))
		abort();
	offload_tag_pop(&copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[FRAME_MAX + 64];
	static struct offload o;
	struct seg segs[FRAME_SEGS];
	uint32_t n, wire_len, total = 0;
	struct virtio_net_hdr_v1 h;
	struct offload_layers layers;
	struct frame f;
	uint8_t *exact;

	if (size < PREFIX + FRAME_MIN || size > PREFIX + FRAME_MAX)
		return 0;
	n = (uint32_t)size - PREFIX;
	exact = malloc(n);
	if (!exact)
		return 0;
	memcpy(exact, data + PREFIX, n);
	memcpy(&h, data, sizeof(h));
	offload_parse(exact, n, &layers);
	if (frame_check(&h, n, all_host))
		goto out;
	memset(&f, 0, sizeof(f));
	taken(&f, segs, exact, n, data[13]);
	f.hdr = h;
	if (offload_judge(&f, &wire_len))
		goto out;
	if (wire_len > f.len)
		abort();
	decide(&f, wire_len);
	if (offload_fit(&o, &f, receiver(data[12])))
		goto out;
	for (unsigned i = 0; i < o.n; i++) {
		if (port_needs(&o.frame[i].hdr) & ~receiver(data[12]))
			abort();	/* never more than the receiver takes */
		if (o.frame[i].len > f.len)
			abort();
		frame_copy(out, &o.frame[i], 0, o.frame[i].len);
		total += o.frame[i].len;
	}
	if (total < f.len)
		abort();		/* nothing is lost */
out:
	free(exact);
	return 0;
}
