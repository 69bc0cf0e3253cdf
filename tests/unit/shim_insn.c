// SPDX-License-Identifier: Apache-2.0
// shim_insn.c - the mov decoder against the manual's encodings and against nonsense.
#include <errno.h>
#include <string.h>

#include "pmd-shim/insn_x86.h"
#include "tests/unit/cu.h"

#define ROUNDS 200000

static const struct row {
	const char *text;
	uint8_t n, bytes[INSN_LEN_MAX];
	struct insn want;
} good[] = {
	{ "mov (%rdi),%eax", 2, { 0x8b, 0x07 }, { INSN_LOAD, 0, 2, 4, 4, 0, 0, 0, 0 } },
	{ "mov (%rdi),%rax", 3, { 0x48, 0x8b, 0x07 }, { INSN_LOAD, 0, 3, 8, 8, 0, 0, 0, 0 } },
	{ "mov (%rdi),%ax", 3, { 0x66, 0x8b, 0x07 }, { INSN_LOAD, 0, 3, 2, 2, 0, 0, 0, 0 } },
	{ "mov (%rdi),%ah", 2, { 0x8a, 0x27 }, { INSN_LOAD, 0, 2, 1, 1, 0, 1, 0, 0 } },
	{ "mov (%rdi),%spl", 3, { 0x40, 0x8a, 0x27 }, { INSN_LOAD, 0, 3, 1, 1, 4, 0, 0, 0 } },
	{ "mov %sil,0x14(%rax)", 4, { 0x40, 0x88, 0x70, 0x14 },
	  { INSN_STORE, 0, 4, 1, 1, 6, 0, 0, 0 } },
	{ "mov %bh,(%rax)", 2, { 0x88, 0x38 }, { INSN_STORE, 0, 2, 1, 1, 3, 1, 0, 0 } },
	{ "mov %r15w,(%r8)", 4, { 0x66, 0x45, 0x89, 0x38 },
	  { INSN_STORE, 0, 4, 2, 2, 15, 0, 0, 0 } },
	{ "mov %ecx,0x1000(%rax,%rbx,4)", 7, { 0x89, 0x8c, 0x98, 0, 0x10, 0, 0 },
	  { INSN_STORE, 0, 7, 4, 4, 1, 0, 0, 0 } },
	{ "mov %eax,0x0(,%rbx,4)", 7, { 0x89, 0x04, 0x9d, 0, 0, 0, 0 },
	  { INSN_STORE, 0, 7, 4, 4, 0, 0, 0, 0 } },
	{ "mov %eax,(%rsp)", 3, { 0x89, 0x04, 0x24 }, { INSN_STORE, 0, 3, 4, 4, 0, 0, 0, 0 } },
	{ "mov 0x10(%rip),%eax", 6, { 0x8b, 0x05, 0x10, 0, 0, 0 },
	  { INSN_LOAD, 0, 6, 4, 4, 0, 0, 0, 0 } },
	{ "mov (%r13),%eax", 4, { 0x41, 0x8b, 0x45, 0 }, { INSN_LOAD, 0, 4, 4, 4, 0, 0, 0, 0 } },
	{ "mov %fs:(%rax),%eax", 3, { 0x64, 0x8b, 0x00 }, { INSN_LOAD, 0, 3, 4, 4, 0, 0, 0, 0 } },
	{ "movb $0xff,(%rax)", 3, { 0xc6, 0x00, 0xff },
	  { INSN_STORE_IMM, 0, 3, 1, 1, 0, 0, 0, ~UINT64_C(0) } },
	{ "movw $0x1234,(%rax)", 5, { 0x66, 0xc7, 0x00, 0x34, 0x12 },
	  { INSN_STORE_IMM, 0, 5, 2, 2, 0, 0, 0, 0x1234 } },
	{ "movl $0x80000000,(%rax)", 6, { 0xc7, 0x00, 0, 0, 0, 0x80 },
	  { INSN_STORE_IMM, 0, 6, 4, 4, 0, 0, 0, UINT64_C(0xffffffff80000000) } },
	{ "movq $-1,(%rax)", 7, { 0x48, 0xc7, 0x00, 0xff, 0xff, 0xff, 0xff },
	  { INSN_STORE_IMM, 0, 7, 8, 8, 0, 0, 0, ~UINT64_C(0) } },
	{ "movzbl (%rax),%r9d", 4, { 0x44, 0x0f, 0xb6, 0x08 },
	  { INSN_LOAD, 0, 4, 1, 4, 9, 0, 0, 0 } },
	{ "movzbl (%rax),%esp", 3, { 0x0f, 0xb6, 0x20 }, { INSN_LOAD, 0, 3, 1, 4, 4, 0, 0, 0 } },
	{ "movzwl (%rax),%eax", 3, { 0x0f, 0xb7, 0x00 }, { INSN_LOAD, 0, 3, 2, 4, 0, 0, 0, 0 } },
	{ "movsbq (%rax),%rax", 4, { 0x48, 0x0f, 0xbe, 0x00 },
	  { INSN_LOAD, 0, 4, 1, 8, 0, 0, 1, 0 } },
	{ "movswl (%rax),%eax", 3, { 0x0f, 0xbf, 0x00 }, { INSN_LOAD, 0, 3, 2, 4, 0, 0, 1, 0 } },
	{ "movslq (%rax),%rdx", 3, { 0x48, 0x63, 0x10 }, { INSN_LOAD, 0, 3, 4, 8, 2, 0, 1, 0 } },
	{ "movnti %rax,(%rdi)", 4, { 0x48, 0x0f, 0xc3, 0x07 },
	  { INSN_STORE, 0, 4, 8, 8, 0, 0, 0, 0 } },
	{ "orb $4,(%rdi)", 3, { 0x80, 0x0f, 0x04 }, { INSN_ALU_IMM, OP_OR, 3, 1, 1, 0, 0, 0, 4 } },
	{ "addl $-3,(%rdi)", 3, { 0x83, 0x07, 0xfd },
	  { INSN_ALU_IMM, OP_ADD, 3, 4, 4, 0, 0, 0, (uint64_t)-3 } },
	{ "cmpw $0x1234,(%rdi)", 5, { 0x66, 0x81, 0x3f, 0x34, 0x12 },
	  { INSN_ALU_IMM, OP_CMP, 5, 2, 2, 0, 0, 0, 0x1234 } },
	{ "testb $1,(%rdi)", 3, { 0xf6, 0x07, 0x01 },
	  { INSN_ALU_IMM, OP_TEST, 3, 1, 1, 0, 0, 0, 1 } },
	{ "and %ah,(%rdi)", 2, { 0x20, 0x27 }, { INSN_ALU_STORE, OP_AND, 2, 1, 1, 0, 1, 0, 0 } },
	{ "cmp (%rdi),%r9", 3, { 0x4c, 0x3b, 0x0f },
	  { INSN_ALU_LOAD, OP_CMP, 3, 8, 8, 9, 0, 0, 0 } },
	{ "movabs 0x1122334455667788,%eax", 9,
	  { 0xa1, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 },
	  { INSN_LOAD, 0, 9, 4, 4, 0, 0, 0, 0 } },
};

static const struct {
	const char *text;
	uint8_t n, bytes[INSN_LEN_MAX];
} bad[] = {
	{ "mov %eax,%ebx", 2, { 0x89, 0xc3 } },
	{ "add %eax,%edi", 2, { 0x01, 0xc7 } },
	{ "lock or %eax,(%rdi)", 3, { 0xf0, 0x09, 0x07 } },
	{ "not (%rdi)", 2, { 0xf7, 0x17 } },
	{ "push (%rdi)", 2, { 0xff, 0x37 } },
	{ "lock xchg", 3, { 0xf0, 0x87, 0x07 } },
	{ "rep movsb", 2, { 0xf3, 0xa4 } },
	{ "movdqu (%rdi),%xmm0", 4, { 0xf3, 0x0f, 0x6f, 0x07 } },
	{ "c7 /1", 6, { 0xc7, 0x08, 0, 0, 0, 0 } },
	{ "lock mov", 3, { 0xf0, 0x89, 0x07 } },
	{ "xacquire mov", 3, { 0xf2, 0x89, 0x07 } },
	{ "two REX: the second is the opcode", 3, { 0x40, 0x40, 0x90 } },
	{ "66 movnti", 4, { 0x66, 0x0f, 0xc3, 0x07 } },
	{ "only prefixes", 15, { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
				 0x66, 0x66, 0x66, 0x66 } },
	{ "nothing", 0, { 0 } },
};

static void mov_forms_decode_as_the_manual_says(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct insn *w = &good[i].want;
		struct insn got;

		if (insn_decode(&got, good[i].bytes, good[i].n)) {
			fprintf(stderr, "\n    %s: refused", good[i].text);
			CU_ASSERT(false);
			continue;
		}
		if (got.kind != w->kind || got.op != w->op || got.len != w->len ||
		    got.mem != w->mem || got.width != w->width || got.reg != w->reg ||
		    got.high != w->high || got.sign != w->sign || got.imm != w->imm) {
			fprintf(stderr, "\n    %s: kind %u len %u mem %u width %u reg %u",
				good[i].text, got.kind, got.len, got.mem, got.width, got.reg);
			CU_ASSERT(false);
		}
	}
}

static void an_instruction_cut_short_is_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct insn got;

		for (size_t n = 0; n < good[i].n; n++)
			CU_EQ(insn_decode(&got, good[i].bytes, n), -EINVAL);
	}
}

static void everything_else_is_refused(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct insn got;

		if (!insn_decode(&got, bad[i].bytes, bad[i].n)) {
			fprintf(stderr, "\n    %s: accepted", bad[i].text);
			CU_ASSERT(false);
		}
	}
}

/* Whatever the bytes: sizes stay possible and the length inside what was given. */
static void random_bytes_never_give_an_impossible_access(void)
{
	uint64_t seed = 42;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint8_t bytes[INSN_LEN_MAX];
		struct insn i;
		size_t n;

		for (unsigned k = 0; k < INSN_LEN_MAX; k++) {
			seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
			bytes[k] = (uint8_t)(seed >> 56);
		}
		n = seed % (INSN_LEN_MAX + 1);
		if (insn_decode(&i, bytes, n))
			continue;
		if (i.len > n || !i.len || i.reg > 15 || i.mem > 8 || (i.mem & (i.mem - 1)) ||
		    !i.mem || i.width < i.mem || i.width > 8 || i.kind < INSN_LOAD ||
		    i.kind > INSN_ALU_IMM || i.op > OP_TEST)
			CU_FAIL("an impossible instruction");
	}
}

static void a_load_writes_as_much_of_the_register_as_the_cpu_does(void)
{
	static const struct {
		struct insn i;
		uint64_t val, want;
	} rows[] = {
		{ { INSN_LOAD, 0, 1, 1, 1, 0, 0, 0, 0 }, 0xab, UINT64_C(0x11223344556677ab) },
		{ { INSN_LOAD, 0, 1, 1, 1, 0, 1, 0, 0 }, 0xab, UINT64_C(0x112233445566ab88) },
		{ { INSN_LOAD, 0, 1, 2, 2, 0, 0, 0, 0 }, 0xabcd, UINT64_C(0x112233445566abcd) },
		{ { INSN_LOAD, 0, 1, 4, 4, 0, 0, 0, 0 }, 0x9abcdef0, 0x9abcdef0 },
		{ { INSN_LOAD, 0, 1, 8, 8, 0, 0, 0, 0 }, ~UINT64_C(0), ~UINT64_C(0) },
		{ { INSN_LOAD, 0, 1, 1, 4, 0, 0, 1, 0 }, 0x80, 0xffffff80 },
		{ { INSN_LOAD, 0, 1, 1, 2, 0, 0, 1, 0 }, 0x80, UINT64_C(0x112233445566ff80) },
		{ { INSN_LOAD, 0, 1, 4, 8, 0, 0, 1, 0 }, 0x80000000, UINT64_C(0xffffffff80000000) },
		{ { INSN_LOAD, 0, 1, 2, 4, 0, 0, 0, 0 }, ~UINT64_C(0), 0xffff },
	};

	for (size_t k = 0; k < ARRAY_SIZE(rows); k++)
		CU_EQ(insn_result(&rows[k].i, UINT64_C(0x1122334455667788), rows[k].val),
		      rows[k].want);
}

CU_MAIN("pmd-shim/insn",
	T(mov_forms_decode_as_the_manual_says),
	T(an_instruction_cut_short_is_refused),
	T(everything_else_is_refused),
	T(random_bytes_never_give_an_impossible_access),
	T(a_load_writes_as_much_of_the_register_as_the_cpu_does))
