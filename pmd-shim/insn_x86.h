/* SPDX-License-Identifier: Apache-2.0 */
/*
 * insn_x86.h - the few x86-64 instructions compilers make of a volatile load or store.
 *
 * Pure and stateless: bytes in, description out. Knows mov in all forms with one memory operand
 * (register, immediate, zero and sign extending, moffs, movnti); everything else is refused.
 */
#ifndef PMD_SHIM_INSN_X86_H
#define PMD_SHIM_INSN_X86_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INSN_LEN_MAX 15		/* Intel SDM 2, 2.3.11 */

enum insn_kind { INSN_NONE, INSN_LOAD, INSN_STORE, INSN_STORE_IMM };

struct insn {
	uint8_t  kind;		/* enum insn_kind */
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

/* Value of the register as the store sends it. */
uint64_t insn_source(const struct insn *i, uint64_t reg);
/* What the register holds after the load of val, given what it held. */
uint64_t insn_result(const struct insn *i, uint64_t reg, uint64_t val);

#endif
