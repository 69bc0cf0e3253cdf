// SPDX-License-Identifier: Apache-2.0
// insn_x86.c - opcodes as two tables, one per opcode map; see Intel SDM volume 2, chapter 2.
#include <errno.h>
#include <string.h>

#include "pmd-shim/insn_x86.h"

#define BY_PREFIX 0		/* a size that follows REX.W and 66h */

enum form_flags { HAS_MODRM = 1, ONLY_0 = 2, HAS_MOFFS = 4, SIGNED = 8, NO_BYTE_PREFIX = 16 };

struct form {
	uint8_t kind, mem, width, flags;
};

static const struct form one_byte[256] = {
	[0x63] = { INSN_LOAD,      4,         BY_PREFIX, HAS_MODRM | SIGNED },	/* movsxd */
	[0x88] = { INSN_STORE,     1,         1,         HAS_MODRM },
	[0x89] = { INSN_STORE,     BY_PREFIX, BY_PREFIX, HAS_MODRM },
	[0x8a] = { INSN_LOAD,      1,         1,         HAS_MODRM },
	[0x8b] = { INSN_LOAD,      BY_PREFIX, BY_PREFIX, HAS_MODRM },
	[0xa0] = { INSN_LOAD,      1,         1,         HAS_MOFFS },
	[0xa1] = { INSN_LOAD,      BY_PREFIX, BY_PREFIX, HAS_MOFFS },
	[0xa2] = { INSN_STORE,     1,         1,         HAS_MOFFS },
	[0xa3] = { INSN_STORE,     BY_PREFIX, BY_PREFIX, HAS_MOFFS },
	[0xc6] = { INSN_STORE_IMM, 1,         1,         HAS_MODRM | ONLY_0 },
	[0xc7] = { INSN_STORE_IMM, BY_PREFIX, BY_PREFIX, HAS_MODRM | ONLY_0 },
};

static const struct form two_byte[256] = {	/* after 0fh */
	[0xb6] = { INSN_LOAD,  1,         BY_PREFIX, HAS_MODRM },
	[0xb7] = { INSN_LOAD,  2,         BY_PREFIX, HAS_MODRM },
	[0xbe] = { INSN_LOAD,  1,         BY_PREFIX, HAS_MODRM | SIGNED },
	[0xbf] = { INSN_LOAD,  2,         BY_PREFIX, HAS_MODRM | SIGNED },
	[0xc3] = { INSN_STORE, BY_PREFIX, BY_PREFIX, HAS_MODRM | NO_BYTE_PREFIX },	/* movnti */
};

struct prefixes {
	bool    operand, address, rex_seen;
	uint8_t rex;
};

#define REX_W 8
#define REX_R 4

struct cursor {
	const uint8_t *at, *end;
};

static int next(struct cursor *c)
{
	return c->at < c->end ? *c->at++ : -1;
}

/* Segment overrides change only the address, which the fault has told already. */
static bool is_segment(int b)
{
	return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65;
}

/* Eats prefixes; returns the first opcode byte or -1. REX counts only right before it. */
static int take_prefixes(struct cursor *c, struct prefixes *p)
{
	int b;

	while ((b = next(c)) >= 0) {
		if (b == 0x66)
			p->operand = true;
		else if (b == 0x67)
			p->address = true;
		else if (!is_segment(b))
			break;
	}
	if (b >= 0x40 && b <= 0x4f) {
		p->rex = (uint8_t)b;
		p->rex_seen = true;
		b = next(c);
	}
	return b;
}

/* Steps over ModRM's address; returns the reg field or -1 for a register operand. */
static int take_modrm(struct cursor *c)
{
	int modrm = next(c), mod, rm, base = -1, skip;

	if (modrm < 0)
		return -1;
	mod = modrm >> 6;
	rm = modrm & 7;
	if (mod == 3)
		return -1;
	if (rm == 4) {
		base = next(c);
		if (base < 0)
			return -1;
		base &= 7;
	}
	skip = mod == 1 ? 1 : mod == 2 ? 4 : (rm == 5 || base == 5) ? 4 : 0;
	if (c->end - c->at < skip)
		return -1;
	c->at += skip;
	return modrm >> 3 & 7;
}

/* An immediate has at most four bytes and is sign extended to eight. */
static int take_imm(struct cursor *c, unsigned mem, uint64_t *imm)
{
	unsigned n = mem == 8 ? 4 : mem, shift = 64 - 8 * n;
	uint64_t raw = 0;

	if ((size_t)(c->end - c->at) < n)
		return -1;
	memcpy(&raw, c->at, n);
	c->at += n;
	*imm = (uint64_t)((int64_t)(raw << shift) >> shift);
	return 0;
}

static int take_operands(struct cursor *c, const struct form *f, const struct prefixes *p,
			 struct insn *i)
{
	int reg = 0;

	if (f->flags & HAS_MODRM) {
		reg = take_modrm(c);
		if (reg < 0 || ((f->flags & ONLY_0) && reg))
			return -1;
	}
	if (f->flags & HAS_MOFFS) {
		int n = p->address ? 4 : 8;

		if (c->end - c->at < n)
			return -1;
		c->at += n;
	} else if (p->rex & REX_R) {
		reg |= 8;
	}
	/* Without REX, byte registers 4-7 are the second bytes of the first four. */
	i->high = f->mem == 1 && f->width == 1 && f->kind != INSN_STORE_IMM && !p->rex_seen &&
		  reg >= 4;
	i->reg = (uint8_t)(i->high ? reg - 4 : reg);
	return f->kind == INSN_STORE_IMM ? take_imm(c, i->mem, &i->imm) : 0;
}

int insn_decode(struct insn *i, const uint8_t *bytes, size_t n)
{
	struct cursor c = { bytes, bytes + (n < INSN_LEN_MAX ? n : INSN_LEN_MAX) };
	const struct form *map = one_byte, *f;
	struct prefixes p = { 0 };
	int op = take_prefixes(&c, &p);
	uint8_t size;

	if (op == 0x0f) {
		map = two_byte;
		op = next(&c);
	}
	if (op < 0)
		return -EINVAL;
	f = &map[op];
	if (f->kind == INSN_NONE || ((f->flags & NO_BYTE_PREFIX) && p.operand))
		return -EINVAL;
	size = p.rex & REX_W ? 8 : p.operand ? 2 : 4;
	*i = (struct insn){
		.kind = f->kind,
		.mem = f->mem == BY_PREFIX ? size : f->mem,
		.width = f->width == BY_PREFIX ? size : f->width,
		.sign = f->flags & SIGNED,
	};
	if (i->width < i->mem)		/* movsxd with 66h, movzx r16, m16: never compiled */
		i->mem = i->width;
	if (take_operands(&c, f, &p, i))
		return -EINVAL;
	i->len = (uint8_t)(c.at - bytes);
	return 0;
}

static uint64_t low_bytes(unsigned n)
{
	return n >= 8 ? ~UINT64_C(0) : (UINT64_C(1) << 8 * n) - 1;
}

uint64_t insn_source(const struct insn *i, uint64_t reg)
{
	uint64_t val = i->kind == INSN_STORE_IMM ? i->imm : i->high ? reg >> 8 : reg;

	return val & low_bytes(i->mem);
}

/* A 32-bit result clears the upper half, narrower ones keep what was there (SDM 1, 3.4.1.1). */
uint64_t insn_result(const struct insn *i, uint64_t reg, uint64_t val)
{
	unsigned shift = 64 - 8u * i->mem;
	uint64_t keep;

	val &= low_bytes(i->mem);
	if (i->sign)
		val = (uint64_t)((int64_t)(val << shift) >> shift);
	val &= low_bytes(i->width);
	if (i->high)
		return (reg & ~UINT64_C(0xff00)) | val << 8;
	keep = i->width >= 4 ? 0 : ~low_bytes(i->width);
	return (reg & keep) | val;
}
