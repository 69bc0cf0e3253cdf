/* SPDX-License-Identifier: Apache-2.0 */
/*
 * drv.h - the driver's side of a virtqueue: builds good chains and bad ones.
 *
 * Written from the specification (virtio 1.2, 2.7 and 2.8), sharing nothing with sim/ring. The
 * ring lives in memory the caller gives, known to the device by IOVA.
 */
#ifndef TESTS_DRV_H
#define TESTS_DRV_H

#include <stdbool.h>
#include <stdint.h>

#define DRV_NEXT     1u
#define DRV_WRITE    2u
#define DRV_INDIRECT 4u

struct drv_part {
	uint64_t addr;			/* IOVA */
	uint32_t len;
	bool     write;
};

struct drv {
	bool     packed;
	uint16_t num;
	uint8_t *va;			/* of the whole ring */
	uint64_t desc, avail, used;	/* IOVA of the three areas */
	uint16_t next, seen;		/* descriptor to fill; used entries looked at */
	bool     wrap, seen_wrap;	/* packed */
	uint16_t flags;			/* packed: of the head, held back until drv_show() */
};

/* Bytes a ring of num takes, legacy layout (4096-aligned used ring); fits packed rings too. */
uint64_t drv_size(uint16_t num);
/* An empty ring at va, seen by the device at iova (both 4096-aligned). */
void drv_init(struct drv *d, bool packed, uint16_t num, void *va, uint64_t iova);

/* Offers a chain; returns its id. */
uint16_t drv_add(struct drv *d, const struct drv_part *p, unsigned n);
/* Offers one descriptor that points to an indirect table of n entries built at va / iova. */
uint16_t drv_add_indirect(struct drv *d, const struct drv_part *p, unsigned n, void *va,
			  uint64_t iova);
/* A descriptor as it is told, in slot i: nothing is checked, nothing shown. Packed: AVAIL and
 * USED bits are added for the current lap, the id is i. */
void drv_desc(struct drv *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next);
/* Shows the chain that starts at slot i (split) or has taken n slots from `next` (packed). */
void drv_show(struct drv *d, uint16_t i, unsigned n);

/* The next used entry, if there is one. */
bool drv_used(struct drv *d, uint16_t *id, uint32_t *len, unsigned slots);

/* Event suppression, as raw words. Split: flags and used_event; packed: off_wrap and flags. */
void drv_suppress(struct drv *d, uint16_t flags, uint16_t event);
uint16_t drv_avail_event(const struct drv *d);	/* split: what the device asked for */
uint16_t drv_avail_idx(const struct drv *d);
void drv_set_avail_idx(struct drv *d, uint16_t idx);

#endif
