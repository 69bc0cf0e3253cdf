// SPDX-License-Identifier: Apache-2.0
// drv.c - see drv.h.
#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/drv.h"

#define F_AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define F_USED	(1u << VRING_PACKED_DESC_F_USED)

int drv_mem_new(struct drv_mem *m, uint64_t size)
{
	*m = (struct drv_mem){ .fd = -1, .size = size };
	m->fd = memfd_create("drv", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0 || ftruncate(m->fd, (off_t)size) < 0)
		return -errno;
	m->host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	return m->host == MAP_FAILED ? -errno : 0;
}

void drv_mem_free(struct drv_mem *m)
{
	munmap(m->host, m->size);
	close(m->fd);
	m->fd = -1;
}

uint64_t drv_alloc(struct drv_mem *m, uint64_t size, uint64_t align)
{
	uint64_t off = (m->top + align - 1) & ~(align - 1);

	m->top = off + size;
	return off;
}

void drv_ring_new(struct drv_ring *r, struct drv_mem *m, uint16_t num, bool packed,
		  uint32_t base)
{
	memset(r, 0, sizeof(*r));
	r->mem = m;
	r->packed = packed;
	r->num = num;
	r->desc_off = drv_alloc(m, 16ull * num, 4096);
	r->avail_off = drv_alloc(m, packed ? 4 : 6 + 2ull * num, 64);
	r->used_off = drv_alloc(m, packed ? 4 : 6 + 8ull * num, 64);
	r->slot = (void *)(m->host + r->desc_off);
	r->avail = (void *)(m->host + r->avail_off);
	r->used = (void *)(m->host + r->used_off);
	r->next = r->seen = (uint16_t)(packed ? base & 0x7fff : base);
	r->next_wrap = r->seen_wrap = base >> 15 & 1;
	if (!packed)
		r->avail[1] = r->used[1] = (uint16_t)base;
}

static uint16_t add_split(struct drv_ring *r, const struct drv_buf *b, unsigned n)
{
	uint16_t head = r->head, i = head;

	for (unsigned k = 0; k < n; k++) {
		uint16_t next = (uint16_t)((i + 1) % r->num);

		r->entry[i] = (struct drv_entry){ b[k].gpa, b[k].len, 0, next };
		r->entry[i].flags = (uint16_t)((b[k].write ? VRING_DESC_F_WRITE : 0) |
					       (k + 1 < n ? VRING_DESC_F_NEXT : 0));
		i = next;
	}
	r->head = i;
	r->avail[2 + r->next % r->num] = head;
	r->next++;
	__atomic_store_n(&r->avail[1], r->next, __ATOMIC_RELEASE);
	return head;
}

static uint16_t add_packed(struct drv_ring *r, const struct drv_buf *b, unsigned n, uint16_t more)
{
	uint16_t id = r->next, first = r->next, first_flags = 0;

	for (unsigned k = 0; k < n; k++) {
		struct drv_slot *s = &r->slot[r->next];
		uint16_t flags = (uint16_t)((r->next_wrap ? F_AVAIL : F_USED) | more |
					    (b[k].write ? VRING_DESC_F_WRITE : 0) |
					    (k + 1 < n ? VRING_DESC_F_NEXT : 0));

		s->addr = b[k].gpa;
		s->len = b[k].len;
		s->id = id;
		if (k)
			__atomic_store_n(&s->flags, flags, __ATOMIC_RELEASE);
		else
			first_flags = flags;
		if (++r->next == r->num) {
			r->next = 0;
			r->next_wrap = !r->next_wrap;
		}
	}
	r->slots[id] = (uint16_t)n;
	__atomic_store_n(&r->slot[first].flags, first_flags, __ATOMIC_RELEASE);
	return id;
}

uint16_t drv_add(struct drv_ring *r, const struct drv_buf *b, unsigned n)
{
	return r->packed ? add_packed(r, b, n, 0) : add_split(r, b, n);
}

uint16_t drv_add_indirect(struct drv_ring *r, uint64_t table, const struct drv_buf *b, unsigned n)
{
	struct drv_buf whole = { drv_gpa(table), 16 * n, false };
	uint16_t id;

	for (unsigned k = 0; k < n; k++) {
		uint16_t write = b[k].write ? VRING_DESC_F_WRITE : 0;

		if (r->packed)
			((struct drv_slot *)(void *)(r->mem->host + table))[k] =
				(struct drv_slot){ b[k].gpa, b[k].len, 0, write };
		else
			((struct drv_entry *)(void *)(r->mem->host + table))[k] =
				(struct drv_entry){ b[k].gpa, b[k].len, (uint16_t)(write |
					(k + 1 < n ? VRING_DESC_F_NEXT : 0)), (uint16_t)(k + 1) };
	}
	if (r->packed)
		return add_packed(r, &whole, 1, VRING_DESC_F_INDIRECT);
	id = r->head;
	r->entry[id] = (struct drv_entry){ whole.gpa, whole.len, VRING_DESC_F_INDIRECT, 0 };
	r->head = (uint16_t)((id + 1) % r->num);
	r->avail[2 + r->next % r->num] = id;
	r->next++;
	__atomic_store_n(&r->avail[1], r->next, __ATOMIC_RELEASE);
	return id;
}

static bool used_packed(struct drv_ring *r, uint16_t *id, uint32_t *len)
{
	const struct drv_slot *s = &r->slot[r->seen];
	uint16_t flags = __atomic_load_n(&s->flags, __ATOMIC_ACQUIRE);
	unsigned step;

	if (!!(flags & F_AVAIL) != r->seen_wrap || !!(flags & F_USED) != r->seen_wrap)
		return false;
	*id = s->id;
	*len = s->len;
	step = r->slots[*id % 32768];
	step += r->seen;
	if (step >= r->num) {
		step -= r->num;
		r->seen_wrap = !r->seen_wrap;
	}
	r->seen = (uint16_t)step;
	return true;
}

bool drv_used(struct drv_ring *r, uint16_t *id, uint32_t *len)
{
	uint32_t elem[2];

	if (r->packed)
		return used_packed(r, id, len);
	if (r->seen == __atomic_load_n(&r->used[1], __ATOMIC_ACQUIRE))
		return false;
	memcpy(elem, (const uint8_t *)r->used + 4 + 8u * (r->seen % r->num), sizeof(elem));
	*id = (uint16_t)elem[0];
	*len = elem[1];
	r->seen++;
	return true;
}

void drv_want_calls(struct drv_ring *r, bool on)
{
	uint16_t *flags = r->packed ? &r->avail[1] : &r->avail[0];

	__atomic_store_n(flags, on ? 0 : 1, __ATOMIC_RELEASE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

bool drv_kick_wanted(const struct drv_ring *r)
{
	return r->packed ? r->used[1] != VRING_PACKED_EVENT_FLAG_DISABLE :
			   !(r->used[0] & VRING_USED_F_NO_NOTIFY);
}
