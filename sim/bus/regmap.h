/* SPDX-License-Identifier: Apache-2.0 */
/*
 * regmap.h - register blocks as tables. The row is the truth: it serves dispatch, tracing and
 * documentation; no code outside regmap.c walks it, and no handler checks what its row says.
 */
#ifndef SIM_BUS_REGMAP_H
#define SIM_BUS_REGMAP_H

#include <stddef.h>
#include <stdint.h>

#define REG_BYTES  (1u << 0)	/* may be accessed at any offset and width inside the row */
#define REG_HALVES (1u << 1)	/* 8-byte register: 4-byte halves allowed, in either order */
#define REG_WIDE   (1u << 2)	/* 4-byte register: an 8-byte access at its offset is taken as
				 * one of this register alone, with all 64 bits */
#define REG_EFFECT (1u << 3)	/* reading changes something: not for onlookers */

/*
 * One register (or, with REG_BYTES, a field of bytes up to 8 long). get returns the value in
 * host order; set gets it. NULL get: reads as 0 (write-only). NULL set: read-only, writes are
 * refused with -EPERM. Partial writes of REG_BYTES and REG_HALVES rows are read-modify-write
 * through get and set. `dev` is the block's owner.
 */
struct reg {
	uint16_t    off;
	uint8_t     size;
	uint8_t     flags;
	const char *name;
	uint64_t  (*get)(void *dev);
	void      (*set)(void *dev, uint64_t val);
};

/* Names of the bits of the register at `off`, from 0 on; "" for one without, NULL at the end. */
struct reg_bits {
	uint16_t           off;
	const char *const *names;	/* NULL: the end of the list */
};

struct regmap {
	const char       *name;		/* "virtio-pci.common" */
	const struct reg *regs;		/* sorted by offset, disjoint, inside len */
	unsigned          count;
	uint32_t          len;		/* of the block in bytes */
	unsigned          flags;	/* REGMAP_* */
	const struct reg_bits *bits;	/* for those who show values to people; may be NULL */
};

/* An access may span several REG_BYTES rows; holes read 0 and are read-only. */
#define REGMAP_SPAN (1u << 0)

#define REGMAP(var, text, bytes, bits) \
	const struct regmap var##_map = { \
		.name = text, .regs = var, .count = sizeof(var) / sizeof((var)[0]), \
		.len = bytes, .flags = bits }

#define REGMAP_BITS(var, text, bytes, mode, names) \
	const struct regmap var##_map = { \
		.name = text, .regs = var, .count = sizeof(var) / sizeof((var)[0]), \
		.len = bytes, .flags = mode, .bits = names }

/* Asserts the table's law; call once where the block is registered. */
void regmap_check(const struct regmap *m);

/*
 * 0, -ENXIO (hole, wrong width, outside), -EPERM (read-only). A refused read yields ~0, a
 * refused write touches nothing.
 */
int regmap_read(const struct regmap *m, void *dev, uint64_t off, unsigned size, uint64_t *val);
int regmap_write(const struct regmap *m, void *dev, uint64_t off, unsigned size, uint64_t val);

/* The row that holds an offset, or NULL: for traces and tests. */
const struct reg *regmap_at(const struct regmap *m, uint64_t off);
/* The names of a row's bits, or NULL. */
const char *const *regmap_bits(const struct regmap *m, const struct reg *r);

/*
 * The same in constant time: `rows` has an entry for each byte of the block (filled by
 * regmap_index(); of use up to 255 rows), 0 for a hole, else the number of its row plus one.
 */
#define REGMAP_INDEX_ROWS_MAX 255
void regmap_index(const struct regmap *m, uint8_t *rows);
int regmap_read_indexed(const struct regmap *m, const uint8_t *rows, void *dev, uint64_t off,
			unsigned size, uint64_t *val);
int regmap_write_indexed(const struct regmap *m, const uint8_t *rows, void *dev, uint64_t off,
			 unsigned size, uint64_t val);

#endif
