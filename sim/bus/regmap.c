// SPDX-License-Identifier: Apache-2.0
// regmap.c - walks register tables: the only code that does.
#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "sim/bus/regmap.h"

static uint64_t ones(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (UINT64_C(1) << (8 * size)) - 1;
}

void regmap_check(const struct regmap *m)
{
	uint32_t end = 0;

	assert(m->name && (m->regs || !m->count));
	for (unsigned i = 0; i < m->count; i++) {
		const struct reg *r = &m->regs[i];
		bool natural = r->size == 1 || r->size == 2 || r->size == 4 || r->size == 8;

		assert(r->name && r->size && r->size <= 8 && r->off >= end);
		assert(r->off + r->size <= m->len);
		assert((r->flags & REG_BYTES) || natural);
		assert(!(r->flags & REG_HALVES) || r->size == 8);
		assert(!(r->flags & REG_WIDE) || r->size == 4);
		assert(r->get || r->set);
		/* What is read, modified and written must be readable. */
		assert(!(r->flags & (REG_BYTES | REG_HALVES)) || r->get);
		end = r->off + r->size;
	}
}

/* The first row that ends above off; count if there is none. */
static unsigned row_above(const struct regmap *m, uint64_t off)
{
	unsigned lo = 0, hi = m->count;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if ((uint64_t)m->regs[mid].off + m->regs[mid].size <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

const struct reg *regmap_at(const struct regmap *m, uint64_t off)
{
	unsigned i = row_above(m, off);

	return i < m->count && m->regs[i].off <= off ? &m->regs[i] : NULL;
}

void regmap_index(const struct regmap *m, uint8_t *rows)
{
	assert(m->count <= REGMAP_INDEX_ROWS_MAX);
	memset(rows, 0, m->len);
	for (unsigned i = 0; i < m->count; i++)
		memset(rows + m->regs[i].off, (int)i + 1, m->regs[i].size);
}

/* Whether the row allows an access inside itself that is not exactly the row. */
static bool partial_allowed(const struct reg *r, uint64_t off, unsigned size)
{
	if (r->flags & REG_BYTES)
		return off + size <= (uint64_t)r->off + r->size;
	return (r->flags & REG_HALVES) && size == 4 && (off == r->off || off == r->off + 4u);
}

static uint64_t reg_get(const struct reg *r, void *dev)
{
	return r->get ? r->get(dev) : 0;
}

/* Bits [shift, shift + 8 * size) of the row become val's. */
static void reg_merge(const struct reg *r, void *dev, unsigned at, unsigned size, uint64_t val)
{
	uint64_t mask = ones(size) << (8 * at);

	r->set(dev, (r->get(dev) & ~mask) | ((val << (8 * at)) & mask));
}

static int read_row(const struct reg *r, void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	if (off == r->off && size == r->size) {
		*val = reg_get(r, dev);
		return 0;
	}
	if ((r->flags & REG_WIDE) && off == r->off && size == 8) {
		*val = reg_get(r, dev);
		return 0;
	}
	if (!partial_allowed(r, off, size))
		return -ENXIO;
	*val = reg_get(r, dev) >> (8 * (off - r->off));
	return 0;
}

static int write_row(const struct reg *r, void *dev, uint64_t off, unsigned size, uint64_t val)
{
	bool whole = off == r->off &&
		     (size == r->size || ((r->flags & REG_WIDE) && size == 8));

	if (!whole && !partial_allowed(r, off, size))
		return -ENXIO;
	if (!r->set)
		return -EPERM;
	if (whole)
		r->set(dev, val & ones(size));
	else
		reg_merge(r, dev, (unsigned)(off - r->off), size, val);
	return 0;
}

/* ---- accesses that span rows --------------------------------------------------------------- */

static bool inside(const struct regmap *m, uint64_t off, unsigned size)
{
	return size <= m->len && off <= m->len - size;
}

/* 0 if every row the access touches is made of bytes (and, for a write, may be written). */
static int span_check(const struct regmap *m, uint64_t off, unsigned size, bool write)
{
	uint64_t next = off;

	if (!inside(m, off, size))
		return -ENXIO;
	for (unsigned i = row_above(m, off); i < m->count && m->regs[i].off < off + size; i++) {
		const struct reg *r = &m->regs[i];

		if (!(r->flags & REG_BYTES))
			return -ENXIO;
		if (write && (!r->set || r->off > next))
			return -EPERM;
		next = (uint64_t)r->off + r->size;
	}
	return write && next < off + size ? -EPERM : 0;
}

/* The part of [off, off + size) that lies in the row: its place in the access and in the row. */
struct part {
	unsigned in_access, in_row, size;
};

static struct part part_of(const struct reg *r, uint64_t off, unsigned size)
{
	uint64_t lo = off > r->off ? off : r->off;
	uint64_t r_end = (uint64_t)r->off + r->size;
	uint64_t hi = off + size < r_end ? off + size : r_end;

	return (struct part){ .in_access = (unsigned)(lo - off),
			      .in_row = (unsigned)(lo - r->off), .size = (unsigned)(hi - lo) };
}

static int span_read(const struct regmap *m, void *dev, uint64_t off, unsigned size,
		     uint64_t *val)
{
	int rc = span_check(m, off, size, false);

	if (rc)
		return rc;
	*val = 0;
	for (unsigned i = row_above(m, off); i < m->count && m->regs[i].off < off + size; i++) {
		struct part p = part_of(&m->regs[i], off, size);
		uint64_t got = reg_get(&m->regs[i], dev) >> (8 * p.in_row);

		*val |= (got & ones(p.size)) << (8 * p.in_access);
	}
	return 0;
}

static int span_write(const struct regmap *m, void *dev, uint64_t off, unsigned size,
		      uint64_t val)
{
	int rc = span_check(m, off, size, true);

	if (rc)
		return rc;
	for (unsigned i = row_above(m, off); i < m->count && m->regs[i].off < off + size; i++) {
		struct part p = part_of(&m->regs[i], off, size);

		reg_merge(&m->regs[i], dev, p.in_row, p.size, val >> (8 * p.in_access));
	}
	return 0;
}

const char *const *regmap_bits(const struct regmap *m, const struct reg *r)
{
	for (const struct reg_bits *b = m->bits; b && b->names; b++)
		if (b->off == r->off)
			return b->names;
	return NULL;
}

/* ---- doors --------------------------------------------------------------------------------- */

static int do_read(const struct regmap *m, const struct reg *r, void *dev, uint64_t off,
		   unsigned size, uint64_t *val)
{
	int rc = r ? read_row(r, dev, off, size, val) : -ENXIO;

	if (__builtin_expect(rc != 0, 0)) {
		if (m->flags & REGMAP_SPAN)
			rc = span_read(m, dev, off, size, val);
		if (rc) {
			*val = UINT64_MAX;
			return rc;
		}
	}
	*val &= ones(size);
	return 0;
}

static int do_write(const struct regmap *m, const struct reg *r, void *dev, uint64_t off,
		    unsigned size, uint64_t val)
{
	int rc = r ? write_row(r, dev, off, size, val) : -ENXIO;

	if (rc == -ENXIO && (m->flags & REGMAP_SPAN))
		rc = span_write(m, dev, off, size, val);
	return rc;
}

int regmap_read(const struct regmap *m, void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	return do_read(m, regmap_at(m, off), dev, off, size, val);
}

int regmap_write(const struct regmap *m, void *dev, uint64_t off, unsigned size, uint64_t val)
{
	return do_write(m, regmap_at(m, off), dev, off, size, val);
}

static const struct reg *indexed(const struct regmap *m, const uint8_t *rows, uint64_t off)
{
	return off < m->len && rows[off] ? &m->regs[rows[off] - 1] : NULL;
}

int regmap_read_indexed(const struct regmap *m, const uint8_t *rows, void *dev, uint64_t off,
			unsigned size, uint64_t *val)
{
	return do_read(m, indexed(m, rows, off), dev, off, size, val);
}

int regmap_write_indexed(const struct regmap *m, const uint8_t *rows, void *dev, uint64_t off,
			 unsigned size, uint64_t val)
{
	return do_write(m, indexed(m, rows, off), dev, off, size, val);
}
