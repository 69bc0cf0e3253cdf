// SPDX-License-Identifier: Apache-2.0
// insn_io.c - eight opcodes as a table; see Intel SDM volume 2, IN and OUT.
#include <errno.h>

#include "pmd-shim/insn_io.h"
#include "pmd-shim/insn_x86.h"

#define BY_PREFIX 0		/* 4, or 2 with 66h */

static const struct row {
	uint8_t opcode, size;
	bool    in, by_dx;
} rows[] = {
	{ 0xe4, 1, true,  false }, { 0xe5, BY_PREFIX, true,  false },
	{ 0xe6, 1, false, false }, { 0xe7, BY_PREFIX, false, false },
	{ 0xec, 1, true,  true },  { 0xed, BY_PREFIX, true,  true },
	{ 0xee, 1, false, true },  { 0xef, BY_PREFIX, false, true },
};

/* Prefixes that mean nothing here are legal all the same: segments, 67h, REX. */
static bool is_idle_prefix(uint8_t b)
{
	return b == 0x26 || b == 0x2e || b == 0x36 || b == 0x3e || b == 0x64 || b == 0x65 ||
	       b == 0x67;
}

int insn_io_decode(struct insn_io *i, const uint8_t *bytes, size_t n)
{
	bool word = false;
	size_t at = 0;

	if (n > INSN_LEN_MAX)
		n = INSN_LEN_MAX;
	for (; at < n && (bytes[at] == 0x66 || is_idle_prefix(bytes[at])); at++)
		word = word || bytes[at] == 0x66;
	if (at < n && bytes[at] >= 0x40 && bytes[at] <= 0x4f)
		at++;
	for (size_t k = 0; at < n && k < sizeof(rows) / sizeof(rows[0]); k++) {
		const struct row *r = &rows[k];

		if (r->opcode != bytes[at])
			continue;
		if (!r->by_dx && at + 1 >= n)
			return -EINVAL;
		*i = (struct insn_io){
			.in = r->in,
			.by_dx = r->by_dx,
			.port = r->by_dx ? 0 : bytes[at + 1],
			.size = r->size != BY_PREFIX ? r->size : word ? 2 : 4,
			.len = (uint8_t)(at + (r->by_dx ? 1 : 2)),
		};
		return 0;
	}
	return -EINVAL;
}

/* As any 32-bit result, that of `in` into eax clears the upper half (SDM 1, 3.4.1.1). */
uint64_t insn_io_result(const struct insn_io *i, uint64_t rax, uint64_t val)
{
	uint64_t low = i->size == 4 ? UINT32_MAX : (UINT64_C(1) << 8 * i->size) - 1;

	return (i->size == 4 ? 0 : rax & ~low) | (val & low);
}
