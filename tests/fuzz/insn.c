// SPDX-License-Identifier: Apache-2.0
// insn.c - fuzzes the decoders a trap runs: whatever the bytes, the access is one the CPU has, the
// length inside what was given, and what is decoded does not depend on what comes after it.
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "pmd-shim/insn_io.h"
#include "pmd-shim/insn_x86.h"

static void memory(const uint8_t *data, size_t n)
{
	struct insn i, again;
	uint64_t flags = 0x246, val;

	if (insn_decode(&i, data, n))
		return;
	assert(i.len && i.len <= n && i.len <= INSN_LEN_MAX && i.reg < 16);
	assert(i.mem && i.mem <= 8 && !(i.mem & (i.mem - 1)) && i.width >= i.mem && i.width <= 8);
	assert(!i.high || i.width == 1);
	assert(!insn_decode(&again, data, i.len) && !memcmp(&i, &again, sizeof(i)));
	assert(insn_decode(&again, data, i.len - 1u));
	val = insn_source(&i, ~UINT64_C(0));
	assert(i.mem == 8 || val >> 8 * i.mem == 0);
	insn_result(&i, 0, val);
	if (i.kind >= INSN_ALU_LOAD) {
		val = insn_alu(&i, val, 1, &flags);
		assert(i.mem == 8 || val >> 8 * i.mem == 0);
		assert((flags & ~UINT64_C(0x8d5)) == (0x246 & ~UINT64_C(0x8d5)));
	}
}

static void port(const uint8_t *data, size_t n)
{
	struct insn_io i, again;

	if (insn_io_decode(&i, data, n))
		return;
	assert(i.len && i.len <= n && i.len <= INSN_LEN_MAX);
	assert(i.size == 1 || i.size == 2 || i.size == 4);
	assert(!insn_io_decode(&again, data, i.len) && !memcmp(&i, &again, sizeof(i)));
	assert(insn_io_decode(&again, data, i.len - 1u));
	/* Nothing is both, or a trap would have to know which was meant. */
	assert(insn_decode(&(struct insn){ 0 }, data, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t n = size < INSN_LEN_MAX ? size : INSN_LEN_MAX;
	uint8_t *exact = malloc(n ? n : 1);	/* a byte too far is seen */

	if (!exact)
		return 0;
	memcpy(exact, data, n);
	memory(exact, n);
	port(exact, n);
	free(exact);
	return 0;
}
