// SPDX-License-Identifier: Apache-2.0
// port.c - what all ports share: names, header rules, and bytes gathered from views.
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "sim/backend/port.h"

#define BIT(n) (1ull << (n))

#ifndef VIRTIO_NET_F_GUEST_USO4
#define VIRTIO_NET_F_GUEST_USO4	54
#define VIRTIO_NET_F_GUEST_USO6	55
#define VIRTIO_NET_F_HOST_USO	56
#endif
#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

static const char *const counter_names[PORT_COUNTERS] = {
	[PORT_IN_FRAMES] = "in_frames",		[PORT_IN_BYTES] = "in_bytes",
	[PORT_OUT_FRAMES] = "out_frames",	[PORT_OUT_BYTES] = "out_bytes",
	[PORT_IN_SHORT] = "in_short",		[PORT_IN_LONG] = "in_long",
	[PORT_IN_HEADER] = "in_header",		[PORT_IN_CHAIN] = "in_chain",
	[PORT_OUT_DOWN] = "out_down",		[PORT_OUT_FULL] = "out_full",
	[PORT_OUT_SMALL] = "out_small",		[PORT_OUT_CHAIN] = "out_chain",
	[PORT_OUT_OFFLOAD] = "out_offload",
	[PORT_KICKS_SEEN] = "kicks_seen",	[PORT_CALLS_SENT] = "calls_sent",
	[PORT_CALLS_LOST] = "calls_lost",	[PORT_RINGS_BROKEN] = "rings_broken",
	[PORT_SESSIONS] = "sessions",		[PORT_SESSIONS_CUT] = "sessions_cut",
	[PORT_MESSAGES] = "messages",		[PORT_MESSAGES_BAD] = "messages_bad",
	[PORT_FDS_STRAY] = "fds_stray",		[PORT_FAULTS] = "faults",
};

const char *port_counter_name(enum port_counter c)
{
	assert(c < PORT_COUNTERS && counter_names[c]);
	return counter_names[c];
}

static void ignore_link(struct port *p, bool up)
{
	(void)p;
	(void)up;
}

static void ignore_drain(struct port *p)
{
	(void)p;
}

static void ignore_announce(struct port *p, const uint8_t mac[6])
{
	(void)p;
	(void)mac;
}

const struct port_host port_host_none = { ignore_link, ignore_drain, ignore_announce };

void port_init(struct port *p, const struct port_ops *ops, const char *name,
	       const struct port_host *host, void *owner)
{
	assert(ops->name && ops->attach && ops->detach && ops->tick && ops->take && ops->release &&
	       ops->give && ops->notify && ops->arm && ops->count && ops->free);
	p->ops = ops;
	p->host = host ? host : &port_host_none;
	p->owner = owner;
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->up = false;
	p->takes = p->gives = 0;
	p->features = 0;
}

/*
 * What each gso type asks of the sender's and of the receiver's features (5.1.6.2, 5.1.6.4).
 * ECN is a flag beside the type.
 */
static const struct gso_type {
	uint8_t  type;
	uint64_t host, guest;
} gso_types[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, BIT(VIRTIO_NET_F_HOST_TSO4), BIT(VIRTIO_NET_F_GUEST_TSO4) },
	{ VIRTIO_NET_HDR_GSO_TCPV6, BIT(VIRTIO_NET_F_HOST_TSO6), BIT(VIRTIO_NET_F_GUEST_TSO6) },
	{ VIRTIO_NET_HDR_GSO_UDP, BIT(VIRTIO_NET_F_HOST_UFO), BIT(VIRTIO_NET_F_GUEST_UFO) },
	{ VIRTIO_NET_HDR_GSO_UDP_L4, BIT(VIRTIO_NET_F_HOST_USO),
	  BIT(VIRTIO_NET_F_GUEST_USO4) | BIT(VIRTIO_NET_F_GUEST_USO6) },
};

static const struct gso_type *gso_find(uint8_t gso_type)
{
	for (size_t i = 0; i < sizeof(gso_types) / sizeof(gso_types[0]); i++)
		if (gso_types[i].type == (gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
			return &gso_types[i];
	return NULL;
}

uint64_t port_needs(const struct virtio_net_hdr_v1 *h)
{
	const struct gso_type *t = gso_find(h->gso_type);
	uint64_t needs = 0;

	if (h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		needs |= BIT(VIRTIO_NET_F_GUEST_CSUM);
	if (t)
		needs |= t->guest;
	if (h->gso_type & VIRTIO_NET_HDR_GSO_ECN)
		needs |= BIT(VIRTIO_NET_F_GUEST_ECN);
	return needs;
}

/* Segmentation recomputes every checksum, so a gso frame must come with a checksum to fill in. */
static int check_gso(const struct virtio_net_hdr_v1 *h, uint32_t len, uint64_t features)
{
	const struct gso_type *t = gso_find(h->gso_type);

	if (!t || !(features & t->host) || !(h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
		return -EINVAL;
	if ((h->gso_type & VIRTIO_NET_HDR_GSO_ECN) && !(features & BIT(VIRTIO_NET_F_HOST_ECN)))
		return -EINVAL;
	if (h->gso_size == 0 || h->hdr_len > len)
		return -EINVAL;
	return 0;
}

int frame_check(struct virtio_net_hdr_v1 *h, uint32_t len, uint64_t features)
{
	uint32_t end = (uint32_t)h->csum_start + h->csum_offset + 2;

	h->flags &= VIRTIO_NET_HDR_F_NEEDS_CSUM;
	if (!(features & BIT(VIRTIO_NET_F_CSUM)))
		h->flags = 0;
	if ((h->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    (end > len || h->csum_start < FRAME_MIN))
		return -EINVAL;
	if (h->gso_type != VIRTIO_NET_HDR_GSO_NONE && check_gso(h, len, features) < 0)
		return -EINVAL;
	if (!h->flags)
		h->csum_start = h->csum_offset = 0;
	if (h->gso_type == VIRTIO_NET_HDR_GSO_NONE)
		h->gso_size = h->hdr_len = 0;
	h->num_buffers = 0;
	return 0;
}

/* Copies n bytes from off on; the caller knows the views hold that many. */
static void views_copy(uint8_t *dst, const struct seg *s, unsigned nsegs, uint32_t off, uint32_t n)
{
	for (unsigned i = 0; i < nsegs && n; i++) {
		uint32_t piece;

		if (off >= s[i].len) {
			off -= s[i].len;
			continue;
		}
		piece = s[i].len - off < n ? s[i].len - off : n;
		memcpy(dst, s[i].base + off, piece);
		dst += piece;
		n -= piece;
		off = 0;
	}
	assert(n == 0);
}

int frame_pull(struct frame *f, uint32_t n)
{
	uint32_t more;

	if (n > FRAME_ROOM || n > f->len)
		return -EINVAL;
	if (n <= f->head_len)
		return 0;
	more = n - f->head_len;
	views_copy(f->head + f->head_len, f->segs, f->nsegs, f->skip, more);
	f->head_len = (uint16_t)n;
	f->skip += more;
	return 0;
}

void frame_copy(void *dst, const struct frame *f, uint32_t off, uint32_t n)
{
	uint8_t *to = dst;

	assert((uint64_t)off + n <= f->len);
	if (off < f->head_len) {
		uint32_t piece = f->head_len - off < n ? f->head_len - off : n;

		memcpy(to, f->head + off, piece);
		to += piece;
		off += piece;
		n -= piece;
	}
	if (n)
		views_copy(to, f->segs, f->nsegs, f->skip + (off - f->head_len), n);
}

void frame_of(struct frame *f, const void *bytes, uint32_t n)
{
	uint32_t head = n < FRAME_HEAD ? n : FRAME_HEAD;

	f->hdr = (struct virtio_net_hdr_v1){ .gso_type = VIRTIO_NET_HDR_GSO_NONE };
	f->len = n;
	memcpy(f->head, bytes, head);
	f->head_len = (uint16_t)head;
	f->skip = head;
	f->one = (struct seg){ .base = bytes, .len = n };
	f->segs = &f->one;
	f->nsegs = 1;
	f->note = 0;
}
