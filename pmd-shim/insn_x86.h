/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insn_x86.h - the x86-64 instructions compilers make of a volatile access.
 *
 * Pure and stateless: bytes in, description out. Knows mov in all forms with one memory operand
 * (register, immediate, zero and sign extending, moffs, movnti), which is what gcc makes, and
 * add, or, adc, sbb, and, sub, xor, cmp and test, into which clang folds one (`*reg |= 4` is
 * orb $4, (mem)). Everything else is refused.
 */
#ifndef PMD_SHIM_INSN_X86_H
#define PMD_SHIM_INSN_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_LEN_MAX 15		/* Intel SDM 2, 2.3.11 */

enum insn_kind {
	INSN_NONE,
	INSN_LOAD,		/* register = memory, extended */
	INSN_STORE,		/* memory = register */
	INSN_STORE_IMM,		/* memory = imm */
	INSN_ALU_LOAD,		/* register = register op memory */
	INSN_ALU_STORE,		/* memory = memory op register */
	INSN_ALU_IMM,		/* memory = memory op imm */
};

/* As the CPU encodes them; a test is an and whose result is dropped, as is a cmp's. */
enum insn_op { OP_ADD, OP_OR, OP_ADC, OP_SBB, OP_AND, OP_SUB, OP_XOR, OP_CMP, OP_TEST };

struct insn {
	uint8_t  kind;		/* enum insn_kind */
	uint8_t  op;		/* enum insn_op, of INSN_ALU_* */
	uint8_t  len;		/* of the instruction, bytes */
	uint8_t  mem;		/* bytes accessed: 1, 2, 4, 8 */
	uint8_t  width;		/* load: bytes of the register written */
	uint8_t  reg;		/* 0-15 as encoded */
	bool     high;		/* ah, ch, dh, bh: bits 8-15 of reg */
	bool     sign;		/* load: extend with the sign */
	uint64_t imm;
};

/* 0, or -EINVAL: not one of ours or cut short by n. */
int insn_decode(struct insn *i, const uint8_t *bytes, size_t n);

/* The operand that is not memory: the register's part or the immediate, in i->mem bytes. */
uint64_t insn_source(const struct insn *i, uint64_t reg);
/* What the register holds after the load of val, given what it held. */
uint64_t insn_result(const struct insn *i, uint64_t reg, uint64_t val);

/* left op right in i->mem bytes; *flags is RFLAGS before and after. */
uint64_t insn_alu(const struct insn *i, uint64_t left, uint64_t right, uint64_t *flags);
/* Whether the operation has a result besides the flags. */
bool insn_keeps(const struct insn *i);

#endif
