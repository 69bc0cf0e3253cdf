// SPDX-License-Identifier: Apache-2.0
// offload.c - see offload.h. Numbers in headers are big-endian; sums are kept in memory order.
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "sim/backend/offload.h"

#define TAG_LEN 4u
#define TYPE_IPV4 0x0800
#define TYPE_IPV6 0x86dd
#define IPV6_HLEN 40u
#define UDP_HLEN 8u
#define TCP_HLEN 20u
#define TCP_FIN_PSH 0x09
#define TCP_CWR 0x80
#define TCP_FLAGS 13
#define TCP_CSUM 16
#define UDP_CSUM 6

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif

#define BIT(n) (1ull << (n))

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t v)
{
	put16(p, v >> 16);
	put16(p + 2, v);
}

/* ---- checksums ----------------------------------------------------------------------------- */

uint64_t offload_sum(const void *p, uint32_t n, uint64_t sum)
{
	const uint8_t *b = p;
	uint32_t w;
	uint16_t h;

	for (; n >= 4; n -= 4, b += 4) {
		memcpy(&w, b, 4);
		sum += w;
	}
	if (n >= 2) {
		memcpy(&h, b, 2);
		sum += h;
		b += 2;
		n -= 2;
	}
	if (n)
		sum += htons((uint16_t)(*b << 8));
	return sum;
}

uint16_t offload_fold(uint64_t sum)
{
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 32) + (sum & 0xffffffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	sum = (sum >> 16) + (sum & 0xffff);
	return (uint16_t)sum;
}

/* A piece that begins at an odd place counts with its bytes swapped. */
static uint64_t sum_piece(const void *p, uint32_t n, bool odd, uint64_t sum)
{
	uint16_t part = offload_fold(offload_sum(p, n, 0));

	return sum + (odd ? (uint16_t)(part << 8 | part >> 8) : part);
}

/* Sum over [from, len) of a frame, wherever its bytes are. */
static uint64_t sum_frame(const struct frame *f, uint32_t from)
{
	uint32_t left = f->len - from, skip = f->skip;
	uint64_t sum = 0;
	bool odd = false;

	if (from < f->head_len) {
		uint32_t n = f->head_len - from;

		sum = sum_piece(f->head + from, n, false, sum);
		odd = n & 1;
		left -= n;
	} else {
		skip += from - f->head_len;
	}
	for (unsigned i = 0; i < f->nsegs && left; i++) {
		uint32_t n;

		if (skip >= f->segs[i].len) {
			skip -= f->segs[i].len;
			continue;
		}
		n = f->segs[i].len - skip < left ? f->segs[i].len - skip : left;
		sum = sum_piece(f->segs[i].base + skip, n, odd, sum);
		odd ^= n & 1;
		left -= n;
		skip = 0;
	}
	return sum;
}

/* ---- headers ------------------------------------------------------------------------------- */

static int parse_ipv4(const uint8_t *b, uint32_t n, struct offload_layers *l)
{
	uint32_t ihl;

	if (l->l3 + 20u > n)
		return -EINVAL;
	ihl = (b[l->l3] & 15) * 4u;
	if (b[l->l3] >> 4 != 4 || ihl < 20 || l->l3 + ihl > n)
		return -EINVAL;
	l->version = 4;
	l->l4 = (uint16_t)(l->l3 + ihl);
	if (!(get16(b + l->l3 + 6) & 0x3fff))	/* neither a fragment nor the first of some */
		l->proto = b[l->l3 + 9];
	return 0;
}

static int parse_ipv6(const uint8_t *b, uint32_t n, struct offload_layers *l)
{
	uint32_t at = l->l3 + IPV6_HLEN;
	uint8_t next;

	if (at > n || b[l->l3] >> 4 != 6)
		return -EINVAL;
	l->version = 6;
	next = b[l->l3 + 6];
	for (unsigned i = 0; i < OFFLOAD_EXTS_MAX; i++) {
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS)
			break;
		if (at + 8 > n)
			return -EINVAL;
		next = b[at];
		at += 8 + b[at + 1] * 8u;
		if (at > n)
			return -EINVAL;
	}
	l->l4 = (uint16_t)at;
	l->proto = next == IPPROTO_FRAGMENT ? 0 : next;
	return 0;
}

int offload_parse(const uint8_t *b, uint32_t n, struct offload_layers *l)
{
	uint32_t at = 12, tcp;
	int rc;

	*l = (struct offload_layers){ 0 };
	if (n < ETH_HLEN)
		return -EINVAL;
	for (unsigned i = 0; i < OFFLOAD_TAGS_MAX; i++) {
		if (get16(b + at) != 0x8100 && get16(b + at) != 0x88a8)
			break;
		at += TAG_LEN;
		if (at + 2 > n)
			return -EINVAL;
	}
	l->l3 = (uint16_t)(at + 2);
	if (get16(b + at) == TYPE_IPV4)
		rc = parse_ipv4(b, n, l);
	else if (get16(b + at) == TYPE_IPV6)
		rc = parse_ipv6(b, n, l);
	else
		return 0;
	if (rc)
		return rc;
	if (l->proto == IPPROTO_TCP) {
		if (l->l4 + TCP_HLEN > n)
			return -EINVAL;
		tcp = (b[l->l4 + 12] >> 4) * 4u;
		if (tcp < TCP_HLEN || l->l4 + tcp > n)
			return -EINVAL;
		l->payload = (uint16_t)(l->l4 + tcp);
	} else if (l->proto == IPPROTO_UDP) {
		if (l->l4 + UDP_HLEN > n)
			return -EINVAL;
		l->payload = (uint16_t)(l->l4 + UDP_HLEN);
	}
	return 0;
}

/* What a gso type promises about the packet. version 0: either. */
static const struct gso_kind {
	uint8_t type, version, proto, csum;
} gso_kinds[] = {
	{ VIRTIO_NET_HDR_GSO_TCPV4, 4, IPPROTO_TCP, TCP_CSUM },
	{ VIRTIO_NET_HDR_GSO_TCPV6, 6, IPPROTO_TCP, TCP_CSUM },
	{ VIRTIO_NET_HDR_GSO_UDP_L4, 0, IPPROTO_UDP, UDP_CSUM },
};

static const struct gso_kind *kind_of(uint8_t gso_type)
{
	for (unsigned i = 0; i < sizeof(gso_kinds) / sizeof(gso_kinds[0]); i++)
		if (gso_kinds[i].type == (gso_type & ~VIRTIO_NET_HDR_GSO_ECN))
			return &gso_kinds[i];
	return NULL;
}

static int judge_gso(struct frame *f, struct offload_layers *l)
{
	const struct gso_kind *k = kind_of(f->hdr.gso_type);
	uint32_t n = f->len < FRAME_ROOM ? f->len : FRAME_ROOM;

	if (!k || frame_pull(f, n) || offload_parse(f->head, n, l))
		return -EINVAL;
	if (l->proto != k->proto || (k->version && k->version != l->version))
		return -EINVAL;
	if (!(f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) || f->hdr.csum_start != l->l4 ||
	    f->hdr.csum_offset != k->csum || !f->hdr.gso_size)
		return -EINVAL;
	return 0;
}

int offload_judge(struct frame *f, uint32_t *wire_len)
{
	struct offload_layers l;

	*wire_len = f->len;
	if (f->hdr.gso_type == VIRTIO_NET_HDR_GSO_NONE)
		return 0;
	if (judge_gso(f, &l))
		return -EINVAL;
	f->hdr.hdr_len = l.payload;
	if ((uint32_t)l.payload + f->hdr.gso_size < f->len)
		*wire_len = (uint32_t)l.payload + f->hdr.gso_size;
	return 0;
}

/* ---- tags ---------------------------------------------------------------------------------- */

static void shift_fields(struct frame *f, int by)
{
	if (f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
		f->hdr.csum_start = (uint16_t)(f->hdr.csum_start + by);
	if (f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE)
		f->hdr.hdr_len = (uint16_t)(f->hdr.hdr_len + by);
}

int offload_tag_push(struct frame *f, uint16_t tci)
{
	if (f->head_len < ETH_HLEN || f->head_len + TAG_LEN > FRAME_ROOM)
		return -EINVAL;
	memmove(f->head + 16, f->head + 12, f->head_len - 12u);
	put16(f->head + 12, 0x8100);
	put16(f->head + 14, tci);
	f->head_len = (uint16_t)(f->head_len + TAG_LEN);
	f->len += TAG_LEN;
	shift_fields(f, TAG_LEN);
	return 0;
}

int offload_tag_pop(struct frame *f)
{
	if (f->head_len < ETH_HLEN + TAG_LEN || get16(f->head + 12) != 0x8100)
		return -EINVAL;
	if ((f->hdr.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
	    f->hdr.csum_start < ETH_HLEN + TAG_LEN)
		return -EINVAL;
	memmove(f->head + 12, f->head + 16, f->head_len - 16u);
	f->head_len = (uint16_t)(f->head_len - TAG_LEN);
	f->len -= TAG_LEN;
	shift_fields(f, -(int)TAG_LEN);
	return 0;
}

int offload_tag_swap(struct frame *f, uint16_t tci)
{
	if (f->head_len < ETH_HLEN + TAG_LEN || get16(f->head + 12) != 0x8100)
		return -EINVAL;
	put16(f->head + 14, tci);
	return 0;
}

/* ---- doing it ------------------------------------------------------------------------------ */

/* Fills in the checksum the header asks for; its field must be in head or get there. */
static int fill_checksum(struct frame *f)
{
	uint32_t start = f->hdr.csum_start, at = start + f->hdr.csum_offset;
	uint16_t sum;

	if (at + 2 > f->len || (at + 2 > f->head_len && frame_pull(f, at + 2)))
		return -EINVAL;
	sum = (uint16_t)~offload_fold(sum_frame(f, start));
	if (!sum && f->hdr.csum_offset == UDP_CSUM)
		sum = 0xffff;		/* in UDP, 0 says that there is none */
	memcpy(f->head + at, &sum, 2);
	f->hdr.flags &= (uint8_t)~VIRTIO_NET_HDR_F_NEEDS_CSUM;
	f->hdr.csum_start = f->hdr.csum_offset = 0;
	return 0;
}

/* A frame of f's headers [0, hlen) and its payload bytes [off, off + n). */
static int cut(struct offload *o, unsigned *used, const struct frame *f, uint32_t hlen,
	       uint32_t off, uint32_t n)
{
	struct frame *s = &o->frame[o->n];
	uint32_t skip, in_head = f->head_len - hlen;
	struct seg *list = &o->segs[*used];

	memcpy(s->head, f->head, hlen);
	s->hdr = f->hdr;
	s->len = hlen + n;
	s->head_len = (uint16_t)hlen;
	s->skip = 0;
	s->nsegs = 0;
	s->note = f->note;
	if (*used + 1 >= OFFLOAD_VIEWS_MAX)
		return -EINVAL;
	if (off < in_head) {		/* what was pulled before stays what was judged */
		uint32_t part = in_head - off < n ? in_head - off : n;

		list[s->nsegs++] = (struct seg){ f->head + hlen + off, part };
		off += part;
		n -= part;
	}
	skip = f->skip + (off > in_head ? off - in_head : 0);
	for (unsigned i = 0; i < f->nsegs && n; i++) {
		uint32_t part;

		if (skip >= f->segs[i].len) {
			skip -= f->segs[i].len;
			continue;
		}
		part = f->segs[i].len - skip < n ? f->segs[i].len - skip : n;
		if (*used + s->nsegs >= OFFLOAD_VIEWS_MAX || s->nsegs >= FRAME_SEGS)
			return -EINVAL;
		list[s->nsegs++] = (struct seg){ f->segs[i].base + skip, part };
		n -= part;
		skip = 0;
	}
	s->segs = list;
	*used += s->nsegs;
	if (s->nsegs <= 1) {		/* a single view lies in the frame itself: port.h */
		s->one = s->nsegs ? list[0] : (struct seg){ s->head, 0 };
		s->segs = &s->one;
	}
	return n ? -EINVAL : 0;
}

static uint64_t pseudo_sum(const uint8_t *b, const struct offload_layers *l, uint32_t l4_len)
{
	uint64_t sum = htons((uint16_t)l4_len) + (uint64_t)htons(l->proto);

	return l->version == 4 ? offload_sum(b + l->l3 + 12, 8, sum) :
	       offload_sum(b + l->l3 + 8, 32, sum);
}

/* Lengths, identification and header checksum of segment i. */
static void fix_ip(struct frame *s, const struct offload_layers *l, unsigned i)
{
	uint8_t *ip = s->head + l->l3;
	uint16_t sum;

	if (l->version == 6) {
		put16(ip + 4, s->len - l->l3 - IPV6_HLEN);
		return;
	}
	put16(ip + 2, s->len - l->l3);
	put16(ip + 4, get16(ip + 4) + i);
	put16(ip + 10, 0);
	sum = (uint16_t)~offload_fold(offload_sum(ip, (uint32_t)l->l4 - l->l3, 0));
	memcpy(ip + 10, &sum, 2);
}

static void fix_l4(struct frame *s, const struct offload_layers *l, unsigned i, uint32_t off,
		   bool last)
{
	uint8_t *b = s->head + l->l4;
	uint16_t sum;

	if (l->proto == IPPROTO_TCP) {
		put32(b + 4, get32(b + 4) + off);
		if (!last)
			b[TCP_FLAGS] &= (uint8_t)~TCP_FIN_PSH;
		if (i)
			b[TCP_FLAGS] &= (uint8_t)~TCP_CWR;
	} else {
		put16(b + 4, s->len - l->l4);
	}
	sum = offload_fold(pseudo_sum(s->head, l, s->len - l->l4));
	memcpy(b + (l->proto == IPPROTO_TCP ? TCP_CSUM : UDP_CSUM), &sum, 2);
}

static int segment(struct offload *o, struct frame *f, bool checksums)
{
	uint32_t mss = f->hdr.gso_size, total, off = 0;
	struct offload_layers l;
	unsigned used = 0;

	if (judge_gso(f, &l))
		return -EINVAL;
	total = f->len - l.payload;
	if ((uint64_t)mss * OFFLOAD_SEGMENTS_MAX < total)
		return -E2BIG;
	do {
		uint32_t n = total - off < mss ? total - off : mss;
		struct frame *s = &o->frame[o->n];

		if (cut(o, &used, f, l.payload, off, n))
			return -EINVAL;
		s->hdr.gso_type = VIRTIO_NET_HDR_GSO_NONE;
		s->hdr.gso_size = s->hdr.hdr_len = 0;
		fix_ip(s, &l, o->n);
		fix_l4(s, &l, o->n, off, off + n == total);
		if (checksums && fill_checksum(s))
			return -EINVAL;
		off += n;
		o->n++;
	} while (off < total);
	return 0;
}

/* The same bytes, as a frame of our own that may be changed. */
static void share(struct frame *to, const struct frame *f)
{
	memcpy(to, f, offsetof(struct frame, segs));
	to->one = f->one;
	to->segs = f->segs == &f->one ? &to->one : f->segs;
	to->nsegs = f->nsegs;
	to->head_len = f->head_len;
	to->skip = f->skip;
	to->note = f->note;
}

int offload_fit(struct offload *o, const struct frame *f, uint64_t features)
{
	uint64_t missing = port_needs(&f->hdr) & ~features;
	int rc = 0;

	o->n = 0;
	if (missing && f->hdr.gso_type != VIRTIO_NET_HDR_GSO_NONE) {
		share(&o->whole, f);	/* headers may need pulling; f stays as it is */
		return segment(o, &o->whole, !(features & BIT(VIRTIO_NET_F_GUEST_CSUM)));
	}
	share(&o->frame[0], f);
	if (missing)
		rc = fill_checksum(&o->frame[0]);
	o->n = rc ? 0 : 1;
	return rc;
}
