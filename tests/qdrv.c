// SPDX-License-Identifier: Apache-2.0
// qdrv.c - the driver's side of split and packed virtqueues.
#include <string.h>

#include "tests/qdrv.h"

#define ROUND(x) (((x) + 4095) & ~4095ull)

struct split_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct packed_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

static uint64_t avail_off(uint16_t num)
{
	return 16ull * num;
}

static uint64_t used_off(uint16_t num)
{
	return ROUND(avail_off(num) + 6 + 2ull * num);
}

uint64_t qdrv_size(uint16_t num)
{
	return used_off(num) + ROUND(6 + 8ull * num);
}

static volatile uint16_t *avail_word(const struct qdrv *d, unsigned i)
{
	return (uint16_t *)(d->va + avail_off(d->num)) + i;
}

static volatile uint16_t *used_word(const struct qdrv *d, unsigned i)
{
	return (uint16_t *)(d->va + used_off(d->num)) + i;
}

static struct packed_desc *packed_at(const struct qdrv *d, unsigned i)
{
	return (struct packed_desc *)d->va + i % d->num;
}

void qdrv_init(struct qdrv *d, bool packed, uint16_t num, void *va, uint64_t iova)
{
	memset(va, 0, qdrv_size(num));
	*d = (struct qdrv){
		.packed = packed, .num = num, .va = va, .desc = iova,
		.avail = iova + avail_off(num), .used = iova + used_off(num),
		.wrap = true, .seen_wrap = true,
	};
}

static uint16_t lap_flags(const struct qdrv *d, unsigned i)
{
	bool wrap = (d->next + ((i + d->num - d->next) % d->num) >= d->num) ^ d->wrap;

	return wrap ? 1u << 7 : 1u << 15;
}

void qdrv_desc(struct qdrv *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next)
{
	struct packed_desc *p = packed_at(d, i);

	if (!d->packed) {
		((struct split_desc *)d->va)[i % d->num] =
			(struct split_desc){ addr, len, flags, next };
		return;
	}
	p->addr = addr;
	p->len = len;
	p->id = i % d->num;
	flags |= lap_flags(d, i % d->num);
	if (i % d->num == d->next)
		d->flags = flags;		/* the head's come last */
	else
		p->flags = flags;
}

void qdrv_show(struct qdrv *d, uint16_t i, unsigned n)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!d->packed) {
		uint16_t idx = *avail_word(d, 1);

		*avail_word(d, 2 + idx % d->num) = i;
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		*avail_word(d, 1) = idx + 1;
		return;
	}
	__atomic_store_n(&packed_at(d, d->next)->flags, d->flags, __ATOMIC_RELEASE);
	if (d->next + n >= d->num)
		d->wrap = !d->wrap;
	d->next = (uint16_t)((d->next + n) % d->num);
}

uint16_t qdrv_add(struct qdrv *d, const struct qdrv_part *p, unsigned n)
{
	uint16_t first = d->next, id;

	for (unsigned k = 0; k < n; k++) {
		uint16_t i = (uint16_t)((first + k) % d->num);
		uint16_t flags = (p[k].write ? QDRV_WRITE : 0) | (k + 1 < n ? QDRV_NEXT : 0);

		qdrv_desc(d, i, p[k].addr, p[k].len, flags, (uint16_t)((i + 1) % d->num));
	}
	id = d->packed ? (uint16_t)((first + n - 1) % d->num) : first;
	qdrv_show(d, first, n);
	if (!d->packed)
		d->next = (uint16_t)((first + n) % d->num);
	return id;
}

uint16_t qdrv_add_indirect(struct qdrv *d, const struct qdrv_part *p, unsigned n, void *va,
			  uint64_t iova)
{
	uint16_t first = d->next;

	for (unsigned k = 0; k < n; k++) {
		uint16_t flags = (p[k].write ? QDRV_WRITE : 0) |
				 (k + 1 < n && !d->packed ? QDRV_NEXT : 0);
		struct split_desc e = { p[k].addr, p[k].len, flags, (uint16_t)(k + 1) };

		if (d->packed) {
			e.flags = 0;		/* id, then flags */
			e.next = flags;
		}
		memcpy((uint8_t *)va + 16 * k, &e, sizeof(e));
	}
	qdrv_desc(d, first, iova, 16 * n, QDRV_INDIRECT, 0);
	qdrv_show(d, first, 1);
	if (!d->packed)
		d->next = (uint16_t)((first + 1) % d->num);
	return first;
}

static bool used_split(struct qdrv *d, uint16_t *id, uint32_t *len)
{
	const volatile uint32_t *e;

	if (*used_word(d, 1) == d->seen)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	e = (const volatile uint32_t *)used_word(d, 2) + 2 * (d->seen % d->num);
	*id = (uint16_t)e[0];
	*len = e[1];
	d->seen++;
	return true;
}

bool qdrv_used(struct qdrv *d, uint16_t *id, uint32_t *len, unsigned slots)
{
	volatile struct packed_desc *p = packed_at(d, d->seen);
	uint16_t flags;

	if (!d->packed)
		return used_split(d, id, len);
	flags = __atomic_load_n(&p->flags, __ATOMIC_ACQUIRE);
	if (!!(flags & 1u << 7) != d->seen_wrap || !!(flags & 1u << 15) != d->seen_wrap)
		return false;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	*id = p->id;
	*len = p->len;
	if (d->seen + slots >= d->num)
		d->seen_wrap = !d->seen_wrap;
	d->seen = (uint16_t)((d->seen + slots) % d->num);
	return true;
}

void qdrv_suppress(struct qdrv *d, uint16_t flags, uint16_t event)
{
	if (d->packed) {
		*avail_word(d, 0) = event;
		*avail_word(d, 1) = flags;
	} else {
		*avail_word(d, 0) = flags;
		*avail_word(d, 2 + d->num) = event;
	}
}

uint16_t qdrv_avail_event(const struct qdrv *d)
{
	return *used_word(d, 2 + 4 * d->num);
}

uint16_t qdrv_avail_idx(const struct qdrv *d)
{
	return *avail_word(d, 1);
}

void qdrv_set_avail_idx(struct qdrv *d, uint16_t idx)
{
	*avail_word(d, 1) = idx;
}
