// SPDX-License-Identifier: Apache-2.0
// shim_port.c - in and out as the manual encodes them.
#include <errno.h>
#include <string.h>

#include "pmd-shim/insn_io.h"
#include "tests/unit/cu.h"

static const struct row {
	const char *text;
	uint8_t n, bytes[8];
	struct insn_io want;
} good[] = {
	{ "in (%dx),%al", 1, { 0xec }, { true, true, 0, 1, 1 } },
	{ "in (%dx),%ax", 2, { 0x66, 0xed }, { true, true, 0, 2, 2 } },
	{ "in (%dx),%eax", 1, { 0xed }, { true, true, 0, 4, 1 } },
	{ "out %al,(%dx)", 1, { 0xee }, { false, true, 0, 1, 1 } },
	{ "out %ax,(%dx)", 2, { 0x66, 0xef }, { false, true, 0, 2, 2 } },
	{ "out %eax,(%dx)", 1, { 0xef }, { false, true, 0, 4, 1 } },
	{ "out %al,$0x80", 2, { 0xe6, 0x80 }, { false, false, 0x80, 1, 2 } },
	{ "in $0x61,%al", 2, { 0xe4, 0x61 }, { true, false, 0x61, 1, 2 } },
	{ "in $0x61,%ax", 3, { 0x66, 0xe5, 0x61 }, { true, false, 0x61, 2, 3 } },
	{ "out %eax,$0xff", 2, { 0xe7, 0xff }, { false, false, 0xff, 4, 2 } },
	{ "rex.w out %eax,(%dx)", 2, { 0x48, 0xef }, { false, true, 0, 4, 2 } },
	{ "addr32 in (%dx),%al", 2, { 0x67, 0xec }, { true, true, 0, 1, 2 } },
};

static const struct {
	const char *text;
	uint8_t n, bytes[8];
} bad[] = {
	{ "rep outsb", 2, { 0xf3, 0x6e } },
	{ "insl", 1, { 0x6d } },
	{ "lock out %al,(%dx)", 2, { 0xf0, 0xee } },
	{ "hlt", 1, { 0xf4 } },
	{ "cli", 1, { 0xfa } },
	{ "mov %eax,(%rdx)", 2, { 0x89, 0x02 } },
	{ "nothing", 0, { 0 } },
	{ "a prefix and no more", 1, { 0x66 } },
};

static void port_forms_decode_as_the_manual_says(void)
{
	for (size_t k = 0; k < ARRAY_SIZE(good); k++) {
		const struct insn_io *w = &good[k].want;
		struct insn_io i;

		if (insn_io_decode(&i, good[k].bytes, good[k].n) || i.in != w->in ||
		    i.by_dx != w->by_dx || i.port != w->port || i.size != w->size ||
		    i.len != w->len) {
			fprintf(stderr, "\n    %s", good[k].text);
			CU_FAIL("decoded otherwise");
		}
		for (size_t n = 0; n < good[k].n; n++)
			CU_EQ(insn_io_decode(&i, good[k].bytes, n), -EINVAL);
	}
}

static void other_privileged_instructions_are_refused(void)
{
	for (size_t k = 0; k < ARRAY_SIZE(bad); k++) {
		struct insn_io i;

		if (!insn_io_decode(&i, bad[k].bytes, bad[k].n)) {
			fprintf(stderr, "\n    %s", bad[k].text);
			CU_FAIL("accepted");
		}
	}
}

static void in_writes_as_much_of_rax_as_the_cpu_does(void)
{
	const uint64_t rax = UINT64_C(0x1122334455667788);

	CU_EQ(insn_io_result(&(struct insn_io){ .size = 1 }, rax, 0xfab),
	      UINT64_C(0x11223344556677ab));
	CU_EQ(insn_io_result(&(struct insn_io){ .size = 2 }, rax, 0xfabcd),
	      UINT64_C(0x112233445566abcd));
	CU_EQ(insn_io_result(&(struct insn_io){ .size = 4 }, rax, ~UINT64_C(0)), 0xffffffff);
}

CU_MAIN("pmd-shim/port",
	T(port_forms_decode_as_the_manual_says),
	T(other_privileged_instructions_are_refused),
	T(in_writes_as_much_of_rax_as_the_cpu_does))
