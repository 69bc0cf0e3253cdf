/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vqueue_hot.h - the few lines that run for each packet, shared by the split and the packed ring.
 *
 * They are here, and inlined, because they are compiled several times: W is the width in bytes
 * of the widest register (16, 32, 64), a constant wherever it appears.
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

#define COPY_CALL 4096		/* from here on libc knows better */

HOT void copy_any(void *dst, const void *src, size_t n, const unsigned W)
{
	uint8_t *d = dst;
	const uint8_t *s = src;
	size_t off = 0;

	if (n <= 64) {
		copy_small(d, s, n);
		return;
	}
	if (n >= COPY_CALL) {
		memcpy(d, s, n);
		return;
	}
	for (; off + 64 < n; off += 64)
		copy64(d + off, s + off, W);
	copy64(d + n - 64, s + n - 64, W);
}

/* [gpa, gpa + len) here: nearly always in the region of the last time. */
HOT uint8_t *at(struct vqueue *r, uint64_t gpa, uint64_t len)
{
	uint64_t off = gpa - r->hit_gpa;

	if (likely(off < r->hit_size && len <= r->hit_size - off))
		return r->hit_host + off;
	return vqueue_at(r, gpa, len);
}

/* The first bytes of a frame whose payload is one view: the only look at them. */
HOT void frame_open(struct frame *f, const unsigned W)
{
	uint32_t n = f->len < FRAME_HEAD ? f->len : FRAME_HEAD;

	if (likely(n == FRAME_HEAD))
		copy64(f->head, f->one.base, W);
	else
		copy_small(f->head, f->one.base, n);
	f->head_len = (uint16_t)n;
	f->skip = n;
	f->segs = &f->one;
	f->nsegs = 1;
}

/* The plain header: nothing to say but that the frame is in one buffer. Written only where it
 * differs: the line then stays shared with a driver that reuses its buffers. */
HOT void header_plain(uint8_t *at, unsigned hdr_len)
{
	uint64_t *lo = (uint64_t *)(void *)at;
	uint32_t *hi = (uint32_t *)(void *)(at + 8);

	if (likely(hdr_len == 12)) {
		if (*(u64_any *)lo != 0)
			*(u64_any *)lo = 0;
		if (*(u32_any *)hi != 0x00010000)
			*(u32_any *)hi = 0x00010000;	/* csum_offset 0, num_buffers 1 */
	} else {
		*(u64_any *)lo = 0;
		*(u16_any *)hi = 0;
	}
}

/* The frame behind the header, for one that has at most one view. */
HOT void frame_write(uint8_t *to, const struct frame *f, const unsigned W)
{
	uint32_t head = f->head_len, rest = f->len - head;

	if (likely(head == FRAME_HEAD))
		copy64(to, f->head, W);
	else
		copy_any(to, f->head, head, W);
	if (rest)
		copy_any(to + head, f->one.base + f->skip, rest, W);
}

/* A frame that the quick way can write: no offload, one view at most. */
HOT bool frame_plain(const struct frame *f)
{
	return f->nsegs <= 1 && (f->hdr.flags | f->hdr.gso_type) == 0;
}

/* Remembers what release() has to hand back. */
HOT void owe(struct vqueue *r, struct batch *b, uint16_t id, uint16_t slots)
{
	unsigned at = (unsigned)r->owed_head + r->owed_n;

	at -= at >= r->num ? r->num : 0;
	r->owed[at] = (struct vqueue_owed){ id, slots };
	r->owed_n++;
	b->entries++;
}

/* A one-view frame behind a header of hdr bytes at host; open_frames() reads it. */
HOT void frame_note(struct vqueue *r, struct batch *b, uint8_t *host, uint32_t len)
{
	struct frame *f = &b->frame[b->n++];
	const unsigned hdr = r->hdr_len;

	fetch(host + hdr);
	if (r->hdr_wanted)
		fetch(host);
	f->one = (struct seg){ host + hdr, len - hdr };
	f->len = len - hdr;
	f->head_len = 0;
}

/* Second pass over a burst: the bytes that were prefetched are here now. */
HOT void open_frames(struct vqueue *r, struct batch *b, const unsigned W)
{
	unsigned bad = 0;
	uint64_t bytes = 0;

	for (unsigned k = 0; k < b->n; k++) {
		struct frame *f = &b->frame[k];

		if (likely(!f->head_len)) {
			memset(&f->hdr, 0, sizeof(f->hdr));
			if (r->hdr_wanted) {
				memcpy(&f->hdr, f->one.base - r->hdr_len, r->hdr_len);
				if (unlikely(frame_check(&f->hdr, f->len, r->features) < 0)) {
					f->len = 0;
					bad++;
					continue;
				}
			}
			frame_open(f, W);
		}
		bytes += f->len;
	}
	if (unlikely(bad)) {
		r->row[PORT_IN_HEADER] += bad;
		vqueue_close_gaps(b);
	}
	r->row[PORT_IN_FRAMES] += b->n;
	r->row[PORT_IN_BYTES] += bytes;
}

/* Where a burst's frames go: read and prefetched in one pass, written in the next. */
struct landing {
	uint8_t *to[PORT_BURST];
	uint64_t word[PORT_BURST];	/* what hands the buffer back */
};

HOT void landing_fetch(struct landing *l, unsigned k, uint8_t *host, unsigned hdr)
{
	l->to[k] = host;
	fetch_own(host + hdr);
	fetch(host);
}

HOT uint64_t landing_write(struct vqueue *r, const struct landing *l, struct frame *const *f,
			   unsigned n, const unsigned W)
{
	const unsigned hdr = r->hdr_len;
	uint64_t bytes = 0;

	for (unsigned k = 0; k < n; k++) {
		header_plain(l->to[k], hdr);
		frame_write(l->to[k] + hdr, f[k], W);
		bytes += f[k]->len;
	}
	r->row[PORT_OUT_FRAMES] += n;
	r->row[PORT_OUT_BYTES] += bytes;
	return bytes;
}

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
	const struct vqueue_ops vqueue_##kind##_ops[3] = { \
		{ #kind "/16", kind##_take_16, release, kind##_give_16, wants_call, arm }, \
		{ #kind "/32", kind##_take_32, release, kind##_give_32, wants_call, arm }, \
		{ #kind "/64", kind##_take_64, release, kind##_give_64, wants_call, arm }, \
	}

#endif
