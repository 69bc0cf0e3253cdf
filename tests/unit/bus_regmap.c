// SPDX-License-Identifier: Apache-2.0
// bus_regmap.c - register tables against a second opinion: every width at every offset.
#include <errno.h>
#include <string.h>

#include "sim/bus/regmap.h"
#include "tests/unit/cu.h"

#define LEN 0x40

/* The block's registers, as plain bytes; `calls` counts every get and set. */
struct block {
	uint8_t  bytes[LEN + 8];
	uint64_t wide;
	unsigned gets, sets;
};

#define ACCESSORS(name, off, size) \
	__attribute__((unused)) static uint64_t get_##name(void *dev) \
	{ \
		struct block *b = dev; \
		uint64_t v = 0; \
		b->gets++; \
		memcpy(&v, b->bytes + (off), size); \
		return v; \
	} \
	__attribute__((unused)) static void set_##name(void *dev, uint64_t val) \
	{ \
		struct block *b = dev; \
		b->sets++; \
		memcpy(b->bytes + (off), &val, size); \
	}

ACCESSORS(byte, 0x00, 1)
ACCESSORS(half, 0x02, 2)
ACCESSORS(word, 0x04, 4)
ACCESSORS(quad, 0x08, 8)
ACCESSORS(ro, 0x10, 2)
ACCESSORS(wo, 0x12, 2)
ACCESSORS(field, 0x20, 6)
ACCESSORS(tail, 0x26, 2)
ACCESSORS(ro_field, 0x28, 2)
ACCESSORS(last, 0x3c, 4)

static uint64_t get_pfn(void *dev)
{
	return ((struct block *)dev)->wide;
}

static void set_pfn(void *dev, uint64_t val)
{
	((struct block *)dev)->wide = val;
}

static const struct reg regs[] = {
	{ 0x00, 1, 0,          "byte",     get_byte,     set_byte },
	{ 0x02, 2, 0,          "half",     get_half,     set_half },
	{ 0x04, 4, 0,          "word",     get_word,     set_word },
	{ 0x08, 8, REG_HALVES, "quad",     get_quad,     set_quad },
	{ 0x10, 2, 0,          "ro",       get_ro,       NULL },
	{ 0x12, 2, 0,          "wo",       NULL,         set_wo },
	{ 0x18, 4, REG_WIDE,   "pfn",      get_pfn,      set_pfn },
	{ 0x20, 6, REG_BYTES,  "field",    get_field,    set_field },
	{ 0x26, 2, REG_BYTES,  "tail",     get_tail,     set_tail },
	{ 0x28, 2, REG_BYTES,  "ro_field", get_ro_field, NULL },
	{ 0x3c, 4, REG_BYTES,  "last",     get_last,     set_last },
};
static REGMAP(regs, "test.plain", LEN, 0);

static const struct regmap spanning = {
	.name = "test.spanning", .regs = regs, .count = ARRAY_SIZE(regs), .len = LEN,
	.flags = REGMAP_SPAN,
};

/* ---- the second opinion: what an access is, byte by byte ----------------------------------- */

static const struct reg *row_of(uint64_t off)
{
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		if (off >= regs[i].off && off < (uint64_t)regs[i].off + regs[i].size)
			return &regs[i];
	return NULL;
}

static bool within_one(const struct reg *r, uint64_t off, unsigned size)
{
	uint64_t in = off - r->off;

	if (in == 0 && size == r->size)
		return true;
	if (r->flags & REG_BYTES)
		return in + size <= r->size;
	if (r->flags & REG_HALVES)
		return size == 4 && in % 4 == 0;
	return (r->flags & REG_WIDE) && in == 0 && size == 8;
}

static int judge(const struct regmap *m, uint64_t off, unsigned size, bool write)
{
	const struct reg *r = row_of(off);
	bool bytes = off + size <= LEN, writable = true;

	if (r && within_one(r, off, size))
		return write && !r->set ? -EPERM : 0;
	for (unsigned i = 0; i < size; i++) {
		r = row_of(off + i);
		if (r && !(r->flags & REG_BYTES))
			bytes = false;
		if (!r || !r->set)
			writable = false;
	}
	if (!(m->flags & REGMAP_SPAN) || !bytes)
		return -ENXIO;
	return write && !writable ? -EPERM : 0;
}

static void fill(struct block *b)
{
	memset(b, 0, sizeof(*b));
	for (unsigned i = 0; i < sizeof(b->bytes); i++)
		b->bytes[i] = (uint8_t)(0x80 + i);
	b->wide = 0x1122334455667788;
}

static uint64_t byte_seen(const struct block *b, uint64_t off)
{
	const struct reg *r = row_of(off);

	if (!r || !r->get)
		return 0;
	return r->flags & REG_WIDE ? b->wide >> (8 * (off - r->off)) & 0xff : b->bytes[off];
}

static uint64_t value_seen(const struct block *b, uint64_t off, unsigned size)
{
	const struct reg *r = row_of(off);
	uint64_t v = 0;

	if (r && (r->flags & REG_WIDE) && size == 8)
		return b->wide;
	for (unsigned i = 0; i < size; i++)
		v |= byte_seen(b, off + i) << (8 * i);
	return v;
}

static const unsigned sizes[] = { 1, 2, 4, 8 };

static void read_all(const struct regmap *m, const uint8_t *rows)
{
	struct block b;

	fill(&b);
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (uint64_t off = 0; off < LEN + 16; off++) {
			uint64_t val = 0;
			int rc = rows ? regmap_read_indexed(m, rows, &b, off, sizes[s], &val) :
					regmap_read(m, &b, off, sizes[s], &val);

			CU_EQ(rc, judge(m, off, sizes[s], false));
			CU_EQ(val, rc ? UINT64_MAX : value_seen(&b, off, sizes[s]));
		}
	}
}

static void write_one(const struct regmap *m, const uint8_t *rows, uint64_t off, unsigned size)
{
	const uint64_t val = 0xa5a4a3a2a1a09f9e;
	const struct reg *r = row_of(off);
	struct block b, want;
	int rc, expect = judge(m, off, size, true);

	fill(&b);
	want = b;
	rc = rows ? regmap_write_indexed(m, rows, &b, off, size, val) :
		    regmap_write(m, &b, off, size, val);
	CU_EQ(rc, expect);
	if (!expect && (r->flags & REG_WIDE))
		want.wide = size == 8 ? val : val & UINT32_MAX;
	else if (!expect)
		memcpy(want.bytes + off, &val, size);
	CU_EQ(memcmp(b.bytes, want.bytes, sizeof(b.bytes)), 0);
	CU_EQ(b.wide, want.wide);
	CU_ASSERT_TRUE(!expect || (b.gets == 0 && b.sets == 0));
}

static void write_all(const struct regmap *m, const uint8_t *rows)
{
	for (unsigned s = 0; s < ARRAY_SIZE(sizes); s++)
		for (uint64_t off = 0; off < LEN + 16; off++)
			write_one(m, rows, off, sizes[s]);
}

/* ---- sentences ----------------------------------------------------------------------------- */

static void every_read_gives_the_bytes_or_all_ones(void)
{
	uint8_t rows[LEN];

	regmap_check(&regs_map);
	regmap_index(&regs_map, rows);
	read_all(&regs_map, NULL);
	read_all(&regs_map, rows);
	read_all(&spanning, NULL);
	read_all(&spanning, rows);
}

static void every_write_lands_where_it_should_or_touches_nothing(void)
{
	uint8_t rows[LEN];

	regmap_index(&regs_map, rows);
	write_all(&regs_map, NULL);
	write_all(&regs_map, rows);
	write_all(&spanning, NULL);
	write_all(&spanning, rows);
}

static void offsets_far_outside_do_not_wrap(void)
{
	static const uint64_t far[] = { LEN, 1ull << 16, 1ull << 32, UINT64_MAX - 7, UINT64_MAX };
	uint8_t rows[LEN];
	struct block b;
	uint64_t val;

	fill(&b);
	regmap_index(&spanning, rows);
	for (unsigned i = 0; i < ARRAY_SIZE(far); i++) {
		CU_EQ(regmap_read(&spanning, &b, far[i], 8, &val), -ENXIO);
		CU_EQ(regmap_write(&spanning, &b, far[i], 8, 0), -ENXIO);
		CU_EQ(regmap_read_indexed(&spanning, rows, &b, far[i], 1, &val), -ENXIO);
		CU_EQ(regmap_write_indexed(&spanning, rows, &b, far[i], 1, 0), -ENXIO);
	}
	CU_EQ(b.sets, 0);
}

static void halves_may_be_written_in_either_order(void)
{
	struct block b;
	uint64_t val;

	fill(&b);
	CU_EQ(regmap_write(&regs_map, &b, 0x0c, 4, 0xcafe0001), 0);
	CU_EQ(regmap_write(&regs_map, &b, 0x08, 4, 0xbeef0002), 0);
	CU_EQ(regmap_read(&regs_map, &b, 0x08, 8, &val), 0);
	CU_EQ(val, 0xcafe0001beef0002);
}

static void a_wide_register_keeps_64_bits_and_shows_32(void)
{
	struct block b;
	uint64_t val;

	fill(&b);
	CU_EQ(regmap_write(&regs_map, &b, 0x18, 8, 0x1234567890abcdef), 0);
	CU_EQ(regmap_read(&regs_map, &b, 0x18, 4, &val), 0);
	CU_EQ(val, 0x90abcdef);
	CU_EQ(regmap_read(&regs_map, &b, 0x18, 8, &val), 0);
	CU_EQ(val, 0x1234567890abcdef);
	CU_EQ(regmap_write(&regs_map, &b, 0x18, 4, 7), 0);
	CU_EQ(b.wide, 7);
}

static void a_row_is_found_by_any_of_its_bytes(void)
{
	CU_ASSERT_STRING_EQUAL(regmap_at(&regs_map, 0x0f)->name, "quad");
	CU_ASSERT_PTR_NULL(regmap_at(&regs_map, 0x01));
	CU_ASSERT_PTR_NULL(regmap_at(&regs_map, LEN));
}

/* ---- the law of the tables ----------------------------------------------------------------- */

static const struct {
	const char *wrong;
	struct reg  regs[2];
} unlawful[] = {
	{ "unsorted",           { { 4, 4, 0, "a", get_pfn, set_pfn },
				  { 0, 4, 0, "b", get_pfn, set_pfn } } },
	{ "overlapping",        { { 0, 4, 0, "a", get_pfn, set_pfn },
				  { 2, 2, 0, "b", get_pfn, set_pfn } } },
	{ "past the end",       { { 0, 4, 0, "a", get_pfn, set_pfn },
				  { 6, 4, 0, "b", get_pfn, set_pfn } } },
	{ "odd width",          { { 0, 3, 0, "a", get_pfn, set_pfn },
				  { 4, 4, 0, "b", get_pfn, set_pfn } } },
	{ "halves of what",     { { 0, 4, REG_HALVES, "a", get_pfn, set_pfn },
				  { 4, 4, 0, "b", get_pfn, set_pfn } } },
	{ "wide eight",         { { 0, 8, REG_WIDE, "a", get_pfn, set_pfn },
				  { 8, 0, 0, "b", get_pfn, set_pfn } } },
	{ "unreadable bytes",   { { 0, 4, REG_BYTES, "a", NULL, set_pfn },
				  { 4, 4, 0, "b", get_pfn, set_pfn } } },
	{ "nothing behind it",  { { 0, 4, 0, "a", NULL, NULL },
				  { 4, 4, 0, "b", get_pfn, set_pfn } } },
	{ "nameless",           { { 0, 4, 0, NULL, get_pfn, set_pfn },
				  { 4, 4, 0, "b", get_pfn, set_pfn } } },
};

static void check_one(void *arg)
{
	regmap_check(arg);
}

static void a_table_against_the_law_is_our_own_mistake_and_stops_us(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(unlawful); i++) {
		struct regmap m = {
			.name = "bad", .regs = unlawful[i].regs, .count = 2, .len = 8,
		};

		CU_ASSERT_TRUE(cu_aborts(check_one, &m));
	}
}

CU_MAIN("bus/regmap",
	T(a_table_against_the_law_is_our_own_mistake_and_stops_us),
	T(every_read_gives_the_bytes_or_all_ones),
	T(every_write_lands_where_it_should_or_touches_nothing),
	T(offsets_far_outside_do_not_wrap),
	T(halves_may_be_written_in_either_order),
	T(a_wide_register_keeps_64_bits_and_shows_32),
	T(a_row_is_found_by_any_of_its_bytes))
