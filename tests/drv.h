/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drv.h - the driver's side of a virtqueue, for tests, fuzzers and benches of back-ends.
 *
 * Memory is a memfd with three names for each byte: where it is mapped here (host), the
 * guest-physical address buffers are named by, and the "user" address rings are named by. Rings
 * can be written the way a driver should, or word by word the way it should not.
 */
#ifndef TESTS_DRV_H
#define TESTS_DRV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DRV_GPA 0x100000000ull
#define DRV_UVA 0x500000000000ull

struct drv_mem {
	int      fd;
	uint8_t *host;
	uint64_t size;
	uint64_t top;			/* drv_alloc() hands out from here */
};

int      drv_mem_new(struct drv_mem *m, uint64_t size);
void     drv_mem_free(struct drv_mem *m);
uint64_t drv_alloc(struct drv_mem *m, uint64_t size, uint64_t align);	/* an offset */
static inline uint64_t drv_gpa(uint64_t off) { return DRV_GPA + off; }
static inline uint64_t drv_uva(uint64_t off) { return DRV_UVA + off; }

struct drv_buf {
	uint64_t gpa;
	uint32_t len;
	bool     write;			/* the device writes it */
};

struct drv_slot {			/* a packed descriptor */
	uint64_t addr;
	uint32_t len;
	uint16_t id, flags;
};

struct drv_entry {			/* a split descriptor */
	uint64_t addr;
	uint32_t len;
	uint16_t flags, next;
};

struct drv_ring {
	struct drv_mem *mem;
	bool     packed;
	uint16_t num;
	uint64_t desc_off, avail_off, used_off;
	union {
		struct drv_slot  *slot;
		struct drv_entry *entry;
	};
	uint16_t *avail;		/* split: flags, idx, ring[], event; packed: off, flags */
	uint16_t *used;			/* split: flags, idx, elements; packed: off, flags */
	uint16_t next, seen;		/* positions of the driver */
	bool     next_wrap, seen_wrap;
	uint16_t head;			/* split: the next descriptor to use */
	uint16_t slots[32768];		/* packed: descriptors a buffer id takes */
};

/* Lays out an empty ring; indices start at `base` as SET_VRING_BASE would say. */
void drv_ring_new(struct drv_ring *r, struct drv_mem *m, uint16_t num, bool packed,
		  uint32_t base);

/*
 * Offers a chain; the buffer's id is its first descriptor. The driver numbers descriptors in
 * ring order, as IN_ORDER wants it; it does not look whether they are free. Returns the id.
 */
uint16_t drv_add(struct drv_ring *r, const struct drv_buf *b, unsigned n);
/* The same through an indirect table at offset `table` of the memory. */
uint16_t drv_add_indirect(struct drv_ring *r, uint64_t table, const struct drv_buf *b, unsigned n);

/* The next completion as the ring shows it (no IN_ORDER jumps); false: none. */
bool drv_used(struct drv_ring *r, uint16_t *id, uint32_t *len);

/* Asks for calls, or not; what the device asked for. */
void drv_want_calls(struct drv_ring *r, bool on);
bool drv_kick_wanted(const struct drv_ring *r);

#endif
