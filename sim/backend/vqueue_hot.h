/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vqueue_hot.h - the few lines that run for each packet, shared by the split and the packed ring.
 *
 * They are here, and inlined, because they are compiled several times: W is the width in bytes
 * of the widest register (16, 32, 64), a constant wherever it appears. 0: frames are not opened.
 */
#ifndef SIM_BACKEND_VQUEUE_HOT_H
#define SIM_BACKEND_VQUEUE_HOT_H

#include <string.h>

#include "sim/backend/vqueue.h"

#define HOT		static inline __attribute__((always_inline))
#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

typedef uint8_t vec16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint8_t vec32 __attribute__((vector_size(32), aligned(1), may_alias));
typedef uint8_t vec64 __attribute__((vector_size(64), aligned(1), may_alias));
typedef uint64_t u64_any __attribute__((aligned(1), may_alias));
typedef uint32_t u32_any __attribute__((aligned(1), may_alias));
typedef uint16_t u16_any __attribute__((aligned(1), may_alias));

HOT void fetch(const void *p)
{
	__builtin_prefetch(p, 0, 3);
}

/* A line we are going to write: taken for ourselves at once, not shared first. */
HOT void fetch_own(const void *p)
{
#if defined(__x86_64__)
	__asm__ volatile("prefetchw %0" : : "m"(*(const char *)p));
#else
	__builtin_prefetch(p, 1, 3);
#endif
}

/* One load of a word that another process may change: never torn, never repeated. */
HOT uint64_t load64(const void *p)
{
	return __atomic_load_n((const uint64_t *)p, __ATOMIC_ACQUIRE);
}

HOT uint16_t load16(const void *p)
{
	return __atomic_load_n((const uint16_t *)p, __ATOMIC_ACQUIRE);
}

HOT void copy64(void *dst, const void *src, const unsigned W)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if (W == 64) {
		*(vec64 *)d = *(const vec64 *)s;
	} else if (W == 32) {
		vec32 a = *(const vec32 *)s, b = *(const vec32 *)(s + 32);

		*(vec32 *)d = a;
		*(vec32 *)(d + 32) = b;
	} else {
		vec16 a = *(const vec16 *)s, b = *(const vec16 *)(s + 16);
		vec16 c = *(const vec16 *)(s + 32), e = *(const vec16 *)(s + 48);

		*(vec16 *)d = a;
		*(vec16 *)(d + 16) = b;
		*(vec16 *)(d + 32) = c;
		*(vec16 *)(d + 48) = e;
	}
}

#define COPY_ENDS(type) do { \
		type a_ = *(const type *)s, b_ = *(const type *)(s + n - sizeof(type)); \
		*(type *)d = a_; \
		*(type *)(d + n - sizeof(type)) = b_; \
	} while (0)

/* 0 to 64 bytes by their two ends, which may overlap. */
HOT void copy_small(void *dst, const void *src, size_t n)
{
	uint8_t *d = dst;
	const uint8_t *s = src;

	if (n >= 32) {
		vec16 a = *(const vec16 *)s, b = *(const vec16 *)(s + 16);
		vec16 c = *(const vec16 *)(s + n - 32), e = *(const vec16 *)(s + n - 16);

		*(vec16 *)d = a;
		*(vec16 *)(d + 16) = b;
		*(vec16 *)(d + n - 32) = c;
		*(vec16 *)(d + n - 16) = e;
	} else if (n >= 16) {
		COPY_ENDS(vec16);
	} else if (n >= 8) {
		COPY_ENDS(u64_any);
	} else if (n >= 4) {
		COPY_ENDS(u32_any);
	} else if (n >= 2) {
		COPY_ENDS(u16_any);
	} else if (n) {
		*d = *s;
	}
}

/* [gpa, gpa + len), len <= VQUEUE_FRAME, here: nearly always in the region of the last time. */
HOT uint8_t *at(struct vqueue *r, struct vqueue_hit *hit, uint64_t gpa, uint32_t len)
{
	uint64_t off = gpa - hit->gpa;
	uint8_t *p;

	if (likely(off < hit->roomy))
		return hit->host + off;
	p = vqueue_at(r, gpa, len);
	*hit = r->hit;
	return p;
}

/* ---- in ------------------------------------------------------------------------------------- */

/* Where a plain frame lies: noted in the first pass over a burst, opened in the second. */
HOT void frame_note(struct frame *f, uint8_t *host, uint32_t len, unsigned hdr, bool hdr_wanted,
		    const unsigned W)
{
	if (!W) {
		f->one = (struct seg){ host, len };
		f->len = len - hdr;
		return;
	}
	fetch(host + hdr);
	if (hdr_wanted)
		fetch(host);
	f->one.base = host + hdr;
	f->len = len - hdr;
}

/* How most frames look: one view, a full head of it. */
#define SHAPE_PLAIN	(1ull | FRAME_HEAD << 16 | (uint64_t)FRAME_HEAD << 32)

_Static_assert(offsetof(struct frame, head_len) == offsetof(struct frame, nsegs) + 2 &&
	       offsetof(struct frame, skip) == offsetof(struct frame, nsegs) + 4 &&
	       offsetof(struct frame, nsegs) % 8 == 0, "three fields in one store");

/* The only look at the first bytes of a frame whose payload is one view. */
HOT void frame_open(struct frame *f, const unsigned W)
{
	uint32_t len = f->len;

	f->segs = &f->one;
	f->one.len = len;
	if (likely(len >= FRAME_HEAD)) {
		copy64(f->head, f->one.base, W);
		*(u64_any *)(void *)&f->nsegs = SHAPE_PLAIN;
		return;
	}
	copy_small(f->head, f->one.base, len);
	f->nsegs = 1;
	f->head_len = (uint16_t)len;
	f->skip = len;
}

HOT void header_clear(struct frame *f)
{
	memset(&f->hdr, 0, sizeof(f->hdr));
}

/* Second pass over n frames that were noted, from b->n on, and their headers. */
HOT unsigned frames_judge(struct vqueue *r, struct frame *f, unsigned n, uint64_t *bytes,
			  const unsigned W)
{
	unsigned bad = 0;

	for (struct frame *end = f + n; f < end; f++) {
		header_clear(f);
		memcpy(&f->hdr, f->one.base - r->hdr_len, r->hdr_len);
		if (unlikely(frame_check(&f->hdr, f->len, r->features) < 0)) {
			f->len = 0;
			bad++;
			continue;
		}
		frame_open(f, W);
		*bytes += f->len;
	}
	return bad;
}

/* In its place where they are not opened. */
HOT void frames_lift(struct vqueue *r, struct batch *b, unsigned n)
{
	uint64_t bytes = 0;

	for (struct frame *f = &b->frame[b->n], *end = f + n; f < end; f++) {
		f->segs = &f->one;
		f->nsegs = 1;
		bytes += f->len;
	}
	b->n += n;
	port_tally(&r->row[PORT_IN_FRAMES], n);
	port_tally(&r->row[PORT_IN_BYTES], bytes);
}

/* Second pass over the n frames that were noted: what was prefetched is here now. */
HOT void frames_open(struct vqueue *r, struct batch *b, unsigned n, const unsigned W)
{
	struct frame *f = &b->frame[b->n], *end = f + n;
	uint64_t bytes = 0;
	unsigned bad = 0;

	if (!W) {
		frames_lift(r, b, n);
		return;
	}
	if (unlikely(r->hdr_wanted)) {
		bad = frames_judge(r, f, n, &bytes, W);
		f = end;
	}
	for (; f < end; f++) {
		header_clear(f);
		frame_open(f, W);
		bytes += f->len;
	}
	b->n += n;
	if (unlikely(bad)) {
		port_tally(&r->row[PORT_IN_HEADER], bad);
		vqueue_close_gaps(b, b->n - n);
	}
	port_tally(&r->row[PORT_IN_FRAMES], n - bad);
	port_tally(&r->row[PORT_IN_BYTES], bytes);
}

/* Remembers what release() has to hand back. */
HOT void owe(struct vqueue *r, struct batch *b, uint16_t id, uint16_t slots)
{
	unsigned pos = (unsigned)r->owed_head + r->owed_n;

	pos -= pos >= r->num ? r->num : 0;
	r->owed[pos] = (struct vqueue_owed){ id, slots };
	r->owed_n++;
	b->entries++;
}

/*
 * Descriptors that hold nothing count like views: what a burst may look at has a bound, in
 * whatever a driver hides it.
 */
HOT void vqueue_toil(struct batch *b, const struct vqueue_chains *c)
{
	b->segs_used += c->steps > c->nsegs ? c->steps - c->nsegs : 0;
}

/* How many chains may be taken at most: each may need an entry of its own. */
HOT unsigned owe_room(const struct vqueue *r, unsigned max)
{
	unsigned room = (unsigned)r->num - r->owed_n;

	return max < room ? max : room;
}

/* ---- out ------------------------------------------------------------------------------------ */

/* Where a burst's frames go: read and prefetched in one pass, written in the next. */
struct landing {
	uint8_t *to[PORT_BURST];
	uint64_t word[PORT_BURST];	/* what hands the buffer back */
};

/* A frame that the quick way can write: no offload, one view at most. */
HOT bool frame_plain(const struct frame *f)
{
	return *(const u16_any *)(const void *)&f->hdr == 0 && f->nsegs <= 1;
}

_Static_assert(offsetof(struct virtio_net_hdr_v1, gso_type) == 1, "flags and type in one load");

HOT void landing_fetch(uint8_t *host, unsigned hdr)
{
	fetch_own(host + hdr);
	fetch(host);
}

/*
 * The plain header: nothing to say but that the frame is in one buffer. Written only where it
 * differs: its line then stays shared with a driver that reuses its buffers.
 */
HOT void header_plain(uint8_t *to, unsigned hdr_len)
{
	u64_any *lo = (u64_any *)(void *)to;

	if (likely(hdr_len == 12)) {
		u32_any *hi = (u32_any *)(void *)(to + 8);

		if (unlikely(*lo != 0))
			*lo = 0;
		if (unlikely(*hi != 0x00010000))
			*hi = 0x00010000;	/* csum_offset 0, num_buffers 1 */
	} else {
		*lo = 0;
		*(u16_any *)(void *)(to + 8) = 0;
	}
}

/* Out of line: in the loop over the packets it would cost the short ones their registers. */
HOT void copy_more(void *dst, const void *src, size_t n, const unsigned W)
{
	if (W == 64)
		vqueue_copy_64(dst, src, n);
	else if (W == 32)
		vqueue_copy_32(dst, src, n);
	else
		vqueue_copy_16(dst, src, n);
}

/* The frame behind the header, for one that has at most one view. */
HOT void frame_write(uint8_t *to, const struct frame *f, uint32_t len, const unsigned W)
{
	uint32_t head = f->head_len;

	if (likely(head == FRAME_HEAD))
		copy64(to, f->head, W);
	else
		copy_more(to, f->head, head, W);
	if (len > head)
		copy_more(to + head, f->one.base + f->skip, len - head, W);
}

HOT void landing_write(struct vqueue *r, const struct landing *l, struct frame *const *f,
		       unsigned n, const unsigned W)
{
	const unsigned hdr = r->hdr_len;
	uint64_t bytes = 0;

	for (unsigned k = 0; k < n; k++) {
		const struct frame *fr = f[k];
		uint32_t len = fr->len;

		header_plain(l->to[k], hdr);
		frame_write(l->to[k] + hdr, fr, len, W);
		bytes += len;
	}
	port_tally(&r->row[PORT_OUT_FRAMES], n);
	port_tally(&r->row[PORT_OUT_BYTES], bytes);
}

/* ---- variants ------------------------------------------------------------------------------- */

/* One copy of each hot function per width; `kind` tells them apart in a profile. */
#if defined(__x86_64__)
#define W32_TARGET __attribute__((target("avx2")))
#define W64_TARGET __attribute__((target("avx512f,avx512vl")))
#else
#define W32_TARGET
#define W64_TARGET
#endif
#define WIDTH(kind, W, attr) \
	attr static unsigned kind##_take_##W(struct vqueue *r, struct batch *b, unsigned max) \
	{ \
		return take(r, b, max, W); \
	} \
	attr static unsigned kind##_give_##W(struct vqueue *r, struct frame *const *f, unsigned n) \
	{ \
		return give(r, f, n, W); \
	}
#define WIDTHS(kind) \
	WIDTH(kind, 16, ) \
	WIDTH(kind, 32, W32_TARGET) \
	WIDTH(kind, 64, W64_TARGET) \
	static unsigned kind##_lift(struct vqueue *r, struct batch *b, unsigned max) \
	{ \
		return take(r, b, max, 0); \
	} \
	const struct vqueue_ops vqueue_##kind##_ops[3] = { \
		{ #kind "/16", kind##_take_16, release, kind##_lift, kind##_give_16, \
		  wants_call, arm, lend, settle }, \
		{ #kind "/32", kind##_take_32, release, kind##_lift, kind##_give_32, \
		  wants_call, arm, lend, settle }, \
		{ #kind "/64", kind##_take_64, release, kind##_lift, kind##_give_64, \
		  wants_call, arm, lend, settle }, \
	}

#endif
