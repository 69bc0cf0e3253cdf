// SPDX-License-Identifier: Apache-2.0
// insn_x86.c - opcodes as two tables, one per opcode map; see Intel SDM volume 2, chapter 2.
#include <errno.h>
#include <string.h>

#include "pmd-shim/insn_x86.h"

#define BY_PREFIX 0		/* a size that follows REX.W and 66h */

enum form_flags {
	HAS_MODRM = 1,
	HAS_MOFFS = 2,
	SIGNED = 4,
	NO_66 = 8,
	HAS_IMM = 16,
	IMM_BYTE = 32,		/* of one byte whatever the operand's size */
	REG_IS_0 = 64,		/* ModRM's reg field is part of the opcode: 0 */
	REG_IS_OP = 128,	/* ... or the operation */
};

struct form {
	uint8_t kind, mem, width, flags, op;
};

/* The four forms with ModRM of operation n, at opcode 8n. */
#define ALU(n) \
	[8 * (n)]     = { INSN_ALU_STORE, 1,         1,         HAS_MODRM, n }, \
	[8 * (n) + 1] = { INSN_ALU_STORE, BY_PREFIX, BY_PREFIX, HAS_MODRM, n }, \
	[8 * (n) + 2] = { INSN_ALU_LOAD,  1,         1,         HAS_MODRM, n }, \
	[8 * (n) + 3] = { INSN_ALU_LOAD,  BY_PREFIX, BY_PREFIX, HAS_MODRM, n }
#define ALU_IMM (HAS_MODRM | HAS_IMM | REG_IS_OP)
#define IMM_0   (HAS_MODRM | HAS_IMM | REG_IS_0)

static const struct form one_byte[256] = {
	ALU(OP_ADD), ALU(OP_OR), ALU(OP_ADC), ALU(OP_SBB),
	ALU(OP_AND), ALU(OP_SUB), ALU(OP_XOR), ALU(OP_CMP),
	[0x63] = { INSN_LOAD,      4,         BY_PREFIX, HAS_MODRM | SIGNED, 0 }, /* movsxd */
	[0x80] = { INSN_ALU_IMM,   1,         1,         ALU_IMM, 0 },
	[0x81] = { INSN_ALU_IMM,   BY_PREFIX, BY_PREFIX, ALU_IMM, 0 },
	[0x83] = { INSN_ALU_IMM,   BY_PREFIX, BY_PREFIX, ALU_IMM | IMM_BYTE, 0 },
	[0x84] = { INSN_ALU_STORE, 1,         1,         HAS_MODRM, OP_TEST },
	[0x85] = { INSN_ALU_STORE, BY_PREFIX, BY_PREFIX, HAS_MODRM, OP_TEST },
	[0x88] = { INSN_STORE,     1,         1,         HAS_MODRM, 0 },
	[0x89] = { INSN_STORE,     BY_PREFIX, BY_PREFIX, HAS_MODRM, 0 },
	[0x8a] = { INSN_LOAD,      1,         1,         HAS_MODRM, 0 },
	[0x8b] = { INSN_LOAD,      BY_PREFIX, BY_PREFIX, HAS_MODRM, 0 },
	[0xa0] = { INSN_LOAD,      1,         1,         HAS_MOFFS, 0 },
	[0xa1] = { INSN_LOAD,      BY_PREFIX, BY_PREFIX, HAS_MOFFS, 0 },
	[0xa2] = { INSN_STORE,     1,         1,         HAS_MOFFS, 0 },
	[0xa3] = { INSN_STORE,     BY_PREFIX, BY_PREFIX, HAS_MOFFS, 0 },
	[0xc6] = { INSN_STORE_IMM, 1,         1,         IMM_0, 0 },
	[0xc7] = { INSN_STORE_IMM, BY_PREFIX, BY_PREFIX, IMM_0, 0 },
	[0xf6] = { INSN_ALU_IMM,   1,         1,         IMM_0, OP_TEST },
	[0xf7] = { INSN_ALU_IMM,   BY_PREFIX, BY_PREFIX, IMM_0, OP_TEST },
};

static const struct form two_byte[256] = {	/* after 0fh */
	[0xb6] = { INSN_LOAD,  1,         BY_PREFIX, HAS_MODRM, 0 },
	[0xb7] = { INSN_LOAD,  2,         BY_PREFIX, HAS_MODRM, 0 },
	[0xbe] = { INSN_LOAD,  1,         BY_PREFIX, HAS_MODRM | SIGNED, 0 },
	[0xbf] = { INSN_LOAD,  2,         BY_PREFIX, HAS_MODRM | SIGNED, 0 },
	[0xc3] = { INSN_STORE, BY_PREFIX, BY_PREFIX, HAS_MODRM | NO_66, 0 },	/* movnti */
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

/* An immediate of n bytes, at most four, is sign extended to eight. */
static int take_imm(struct cursor *c, unsigned n, uint64_t *imm)
{
	unsigned shift = 64 - 8 * n;
	uint64_t raw = 0;

	if ((size_t)(c->end - c->at) < n)
		return -1;
	memcpy(&raw, c->at, n);
	c->at += n;
	*imm = (uint64_t)((int64_t)(raw << shift) >> shift);
	return 0;
}

static unsigned imm_size(const struct form *f, unsigned mem)
{
	return f->flags & IMM_BYTE ? 1 : mem == 8 ? 4 : mem;
}

/* Without REX, byte registers 4-7 are the second bytes of the first four. */
static void set_register(struct insn *i, int reg, const struct prefixes *p)
{
	if (p->rex & REX_R)
		reg |= 8;
	i->high = i->width == 1 && !p->rex_seen && reg >= 4;
	i->reg = (uint8_t)(i->high ? reg - 4 : reg);
}

static int take_operands(struct cursor *c, const struct form *f, const struct prefixes *p,
			 struct insn *i)
{
	int reg = 0, moffs = p->address ? 4 : 8;

	if (f->flags & HAS_MODRM) {
		reg = take_modrm(c);
		if (reg < 0 || ((f->flags & REG_IS_0) && reg))
			return -1;
	}
	if (f->flags & HAS_MOFFS) {
		if (c->end - c->at < moffs)
			return -1;
		c->at += moffs;
	} else if (f->flags & REG_IS_OP) {
		i->op = (uint8_t)reg;
	} else if (!(f->flags & REG_IS_0)) {
		set_register(i, reg, p);
	}
	return f->flags & HAS_IMM ? take_imm(c, imm_size(f, i->mem), &i->imm) : 0;
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
	if (f->kind == INSN_NONE || ((f->flags & NO_66) && p.operand))
		return -EINVAL;
	size = p.rex & REX_W ? 8 : p.operand ? 2 : 4;
	*i = (struct insn){
		.kind = f->kind,
		.op = f->op,
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
	bool imm = i->kind == INSN_STORE_IMM || i->kind == INSN_ALU_IMM;
	uint64_t val = imm ? i->imm : i->high ? reg >> 8 : reg;

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

/* ---- arithmetic (SDM 1, 3.4.3.1) ----------------------------------------------------------- */

#define CF UINT64_C(0x001)
#define PF UINT64_C(0x004)
#define AF UINT64_C(0x010)
#define ZF UINT64_C(0x040)
#define SF UINT64_C(0x080)
#define OF UINT64_C(0x800)

static uint64_t result_flags(uint64_t r, uint64_t top)
{
	return (__builtin_parity((unsigned)r & 0xff) ? 0 : PF) | (r ? 0 : ZF) | (r & top ? SF : 0);
}

/* Both additions may carry, but not out of 128 bits. */
static uint64_t add(uint64_t a, uint64_t b, unsigned carry, uint64_t mask, uint64_t *f)
{
	unsigned __int128 sum = (unsigned __int128)a + b + carry;
	uint64_t r = (uint64_t)sum & mask, top = mask ^ mask >> 1;

	*f |= (sum > mask ? CF : 0) | ((a ^ r) & (b ^ r) & top ? OF : 0) | ((a ^ b ^ r) & AF);
	return r;
}

static uint64_t sub(uint64_t a, uint64_t b, unsigned borrow, uint64_t mask, uint64_t *f)
{
	uint64_t r = (a - b - borrow) & mask, top = mask ^ mask >> 1;

	*f |= ((unsigned __int128)b + borrow > a ? CF : 0) | ((a ^ b) & (a ^ r) & top ? OF : 0) |
	      ((a ^ b ^ r) & AF);
	return r;
}

static uint64_t do_add(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return add(a, b, 0, mask, f);
}

static uint64_t do_or(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return a | b;
}

static uint64_t do_adc(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return add(a, b, cf, mask, f);
}

static uint64_t do_sbb(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return sub(a, b, cf, mask, f);
}

static uint64_t do_and(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return a & b;
}

static uint64_t do_sub(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return sub(a, b, 0, mask, f);
}

static uint64_t do_xor(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f)
{
	return a ^ b;
}

static const struct {
	uint64_t (*run)(uint64_t a, uint64_t b, bool cf, uint64_t mask, uint64_t *f);
	bool keeps;
} ops[] = {
	[OP_ADD] = { do_add, true }, [OP_OR]  = { do_or,  true },
	[OP_ADC] = { do_adc, true }, [OP_SBB] = { do_sbb, true },
	[OP_AND] = { do_and, true }, [OP_SUB] = { do_sub, true },
	[OP_XOR] = { do_xor, true }, [OP_CMP] = { do_sub, false },
	[OP_TEST] = { do_and, false },
};

uint64_t insn_alu(const struct insn *i, uint64_t left, uint64_t right, uint64_t *flags)
{
	uint64_t mask = low_bytes(i->mem), set = 0, r;

	r = ops[i->op].run(left & mask, right & mask, *flags & CF, mask, &set);
	set |= result_flags(r, mask ^ mask >> 1);
	*flags = (*flags & ~(CF | PF | AF | ZF | SF | OF)) | set;
	return r;
}

bool insn_keeps(const struct insn *i)
{
	return ops[i->op].keeps;
}
