/* SPDX-License-Identifier: Apache-2.0 */
/*
 * qdrv.h - the driver's side of a virtqueue: builds good chains and bad ones.
 *
 * Written from the specification (virtio 1.2, 2.7 and 2.8), sharing nothing with sim/ring. The
 * ring lives in memory the caller gives, known to the device by IOVA.
 */
#ifndef TESTS_QDRV_H
#define TESTS_QDRV_H

#include <stdbool.h>
#include <stdint.h>

#define QDRV_NEXT     1u
#define QDRV_WRITE    2u
#define QDRV_INDIRECT 4u

struct qdrv_part {
	uint64_t addr;			/* IOVA */
	uint32_t len;
	bool     write;
};

struct qdrv {
	bool     packed;
	uint16_t num;
	uint8_t *va;			/* of the whole ring */
	uint64_t desc, avail, used;	/* IOVA of the three areas */
	uint16_t next, seen;		/* descriptor to fill; used entries looked at */
	bool     wrap, seen_wrap;	/* packed */
	uint16_t flags;			/* packed: of the head, held back until qdrv_show() */
};

/* Bytes a ring of num takes, legacy layout (4096-aligned used ring); fits packed rings too. */
uint64_t qdrv_size(uint16_t num);
/* An empty ring at va, seen by the device at iova (both 4096-aligned). */
void qdrv_init(struct qdrv *d, bool packed, uint16_t num, void *va, uint64_t iova);

/* Offers a chain; returns its id. */
uint16_t qdrv_add(struct qdrv *d, const struct qdrv_part *p, unsigned n);
/* Offers one descriptor that points to an indirect table of n entries built at va / iova. */
uint16_t qdrv_add_indirect(struct qdrv *d, const struct qdrv_part *p, unsigned n, void *va,
			  uint64_t iova);
/* A descriptor as it is told, in slot i: nothing is checked, nothing shown. Packed: AVAIL and
 * USED bits are added for the current lap, the id is i. */
void qdrv_desc(struct qdrv *d, uint16_t i, uint64_t addr, uint32_t len, uint16_t flags,
	      uint16_t next);
/* Shows the chain that starts at slot i (split) or has taken n slots from `next` (packed). */
void qdrv_show(struct qdrv *d, uint16_t i, unsigned n);

/* The next used entry, if there is one. */
bool qdrv_used(struct qdrv *d, uint16_t *id, uint32_t *len, unsigned slots);

/* Event suppression, as raw words. Split: flags and used_event; packed: off_wrap and flags. */
void qdrv_suppress(struct qdrv *d, uint16_t flags, uint16_t event);
uint16_t qdrv_avail_event(const struct qdrv *d);	/* split: what the device asked for */
uint16_t qdrv_avail_idx(const struct qdrv *d);
void qdrv_set_avail_idx(struct qdrv *d, uint16_t idx);

#endif
