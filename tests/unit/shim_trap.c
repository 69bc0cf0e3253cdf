// SPDX-License-Identifier: Apache-2.0
/*
 * shim_trap.c - instructions run against plain memory and against a trapped BAR whose registers
 * are plain memory: registers and memory must end up the same.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "include/ioapi.h"
#include "pmd-shim/trap.h"
#include "sim/bus/pci.h"
#include "tests/unit/cu.h"

#define BAR 4
#define BYTES 64
#define PAGE 4096
#define SEEDS 40
#define FLAG_AF 0x10u
#define FLAGS_SET 0x202u	/* reserved 1 and IF, as always in user space */

static uint8_t ram[BYTES];

static int no_open(void *dev, struct err *e)
{
	return 0;
}

static void nothing(void *dev)
{
}

static void no_irq(void *dev, int vector)
{
}

static void no_msix(void *dev, bool on)
{
}

static int no_memory(void *dev, struct space *s)
{
	return 0;
}

static void no_command(void *dev, uint16_t command)
{
}

static unsigned no_stats(void *dev, struct ioapi_stat *rows, unsigned max)
{
	return 0;
}

static const struct pci_model_ops ops = {
	.name = "ram", .open = no_open, .close = nothing, .reset = nothing, .irq_changed = no_irq,
	.msix_changed = no_msix, .memory_changed = no_memory, .command_changed = no_command,
	.stats = no_stats, .orphan = nothing, .free = nothing,
};

static int ram_read(void *dev, uint64_t off, unsigned size, uint64_t *val)
{
	*val = 0;
	memcpy(val, ram + off, size);
	errno = EDOM;		/* the trap must not let this through */
	return 0;
}

static int ram_write(void *dev, uint64_t off, unsigned size, uint64_t val)
{
	memcpy(ram + off, &val, size);
	return 0;
}

static struct rig {
	struct ioapi_bus  *bus;
	struct ioapi_func *f;
	uint8_t           *bar;
} rig;

static void rig_up(void)
{
	struct pci_window w = {
		.bar = BAR, .read = ram_read, .write = ram_write, .len = BYTES, .name = "ram",
	};
	struct pci_identity id = { .vendor = 1, .device = 2, .id = "ram" };

	CU_EQ_FATAL(pci_bus_new(&rig.bus), 0);
	CU_EQ_FATAL(pci_func_new(rig.bus, NULL, &id, &ops, NULL, &rig.f, NULL), 0);
	pci_bar_add(rig.f, BAR, PCI_BAR_64 | PCI_BAR_MAP);
	pci_window_add(rig.f, &w);
	CU_EQ_FATAL(pci_func_realize(rig.f, NULL), 0);
	CU_EQ_FATAL(ioapi_open(rig.f, NULL), 0);
	CU_EQ(ioapi_write(rig.f, IOAPI_CONFIG, 4, 2, 6), 0);
	rig.bar = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CU_ASSERT_FATAL(rig.bar != MAP_FAILED);
	CU_EQ_FATAL(trap_install(), 0);
	CU_EQ_FATAL(trap_add(rig.bar, PAGE, rig.f, BAR, 0), 0);
}

static void rig_down(void)
{
	trap_forget(rig.bar, PAGE);
	munmap(rig.bar, PAGE);
	ioapi_bus_close(rig.bus);
}

/* ---- instructions -------------------------------------------------------------------------- */

struct regs {
	uint64_t a, b, c, d, s, flags;
};

/*
 * %rdi is the address; five registers go in and out, %r8-%r15 by way of them, and the flags by
 * way of the stack (below the red zone).
 */
static uint64_t flags_now;

#define FORM(name, text) \
	static void name(struct regs *r, void *at) \
	{ \
		flags_now = r->flags; \
		__asm__ volatile("sub $128, %%rsp\n\tpush %5\n\tpopf\n\t" text "\n\t" \
				 "pushf\n\tpop %5\n\tadd $128, %%rsp" \
				 : "+a"(r->a), "+b"(r->b), "+c"(r->c), "+d"(r->d), "+S"(r->s), \
				   "+m"(flags_now) \
				 : "D"(at) \
				 : "memory", "r8", "r9", "r10", "r11", "r12", "r13", "r14", \
				   "r15"); \
		r->flags = flags_now; \
	}

FORM(load8_al, "movb (%%rdi), %%al")
FORM(load8_ch, "movb 1(%%rdi), %%ch")
FORM(load8_sil, "movb 3(%%rdi), %%sil")
FORM(load16, "movw 2(%%rdi), %%bx")
FORM(load32, "movl 4(%%rdi), %%edx")
FORM(load64, "movq 8(%%rdi), %%rax")
FORM(load32_r8, "mov %%rax, %%r8\n\tmovl 4(%%rdi), %%r8d\n\tmov %%r8, %%rax")
FORM(load16_r15, "mov %%rbx, %%r15\n\tmovw 6(%%rdi), %%r15w\n\tmov %%r15, %%rbx")
FORM(load8_r12, "mov %%rcx, %%r12\n\tmovb 5(%%rdi), %%r12b\n\tmov %%r12, %%rcx")
FORM(zx8_32, "movzbl 9(%%rdi), %%eax")
FORM(zx8_16, "movzbw 9(%%rdi), %%ax")
FORM(zx16_32, "movzwl 10(%%rdi), %%ecx")
FORM(zx16_64, "movzwq 10(%%rdi), %%rcx")
FORM(sx8_32, "movsbl 7(%%rdi), %%eax")
FORM(sx8_64, "movsbq 7(%%rdi), %%rdx")
FORM(sx16_64, "movswq 14(%%rdi), %%rsi")
FORM(sx32_64, "movslq 12(%%rdi), %%rbx")
FORM(store8_al, "movb %%al, 16(%%rdi)")
FORM(store8_dh, "movb %%dh, 17(%%rdi)")
FORM(store8_sil, "movb %%sil, 18(%%rdi)")
FORM(store16, "movw %%cx, 20(%%rdi)")
FORM(store32, "movl %%esi, 24(%%rdi)")
FORM(store64, "movq %%rbx, 32(%%rdi)")
FORM(store64_r9, "mov %%rdx, %%r9\n\tmovq %%r9, 40(%%rdi)")
FORM(imm8, "movb $0x5a, 19(%%rdi)")
FORM(imm16, "movw $0x8001, 22(%%rdi)")
FORM(imm32, "movl $0xdeadbeef, 28(%%rdi)")
FORM(imm64, "movq $-2, 48(%%rdi)")
FORM(nti32, "movnti %%ecx, 56(%%rdi)")
FORM(indexed, "mov $2, %%r10\n\tmovl 4(%%rdi,%%r10,4), %%eax")
FORM(disp32, "lea -4096(%%rdi), %%r11\n\tmovl 4096+8(%%r11), %%eax")
FORM(via_r13, "mov %%rdi, %%r13\n\tmovl (%%r13), %%eax")
FORM(via_rsp, "mov %%rsp, %%r14\n\tlea 8(%%rdi), %%rsp\n\tmovl (%%rsp), %%eax\n\t"
	      "mov %%r14, %%rsp")

#define ARITHMETIC(op) \
	FORM(op##_imm8, #op "b $0x83, 9(%%rdi)") \
	FORM(op##_imm16, #op "w $0x7fff, 10(%%rdi)") \
	FORM(op##_imm32, #op "l $0x80000000, 12(%%rdi)") \
	FORM(op##_imm64, #op "q $-1, 16(%%rdi)") \
	FORM(op##_to_mem8, #op "b %%dh, 24(%%rdi)") \
	FORM(op##_to_mem16, #op "w %%cx, 26(%%rdi)") \
	FORM(op##_to_mem32, #op "l %%esi, 28(%%rdi)") \
	FORM(op##_to_mem64, #op "q %%rbx, 32(%%rdi)")
#define FROM_MEMORY(op) \
	FORM(op##_from8, #op "b 41(%%rdi), %%ah") \
	FORM(op##_from16, #op "w 42(%%rdi), %%cx") \
	FORM(op##_from32, #op "l 44(%%rdi), %%esi") \
	FORM(op##_from64, #op "q 48(%%rdi), %%rbx")

ARITHMETIC(add) ARITHMETIC(or) ARITHMETIC(adc) ARITHMETIC(sbb) ARITHMETIC(and) ARITHMETIC(sub)
ARITHMETIC(xor) ARITHMETIC(cmp) ARITHMETIC(test)
FROM_MEMORY(add) FROM_MEMORY(or) FROM_MEMORY(adc) FROM_MEMORY(sbb) FROM_MEMORY(and)
FROM_MEMORY(sub) FROM_MEMORY(xor) FROM_MEMORY(cmp)

static const struct form {
	const char *name;
	void (*run)(struct regs *r, void *at);
} forms[] = {
#define ROW(f) { #f, f }
	ROW(load8_al), ROW(load8_ch), ROW(load8_sil), ROW(load16), ROW(load32), ROW(load64),
	ROW(load32_r8), ROW(load16_r15), ROW(load8_r12), ROW(zx8_32), ROW(zx8_16), ROW(zx16_32),
	ROW(zx16_64), ROW(sx8_32), ROW(sx8_64), ROW(sx16_64), ROW(sx32_64), ROW(store8_al),
	ROW(store8_dh), ROW(store8_sil), ROW(store16), ROW(store32), ROW(store64),
	ROW(store64_r9), ROW(imm8), ROW(imm16), ROW(imm32), ROW(imm64), ROW(nti32),
	ROW(indexed), ROW(disp32), ROW(via_r13),
#define ROWS_IN(op) \
	ROW(op##_imm8), ROW(op##_imm16), ROW(op##_imm32), ROW(op##_imm64), ROW(op##_to_mem8), \
	ROW(op##_to_mem16), ROW(op##_to_mem32), ROW(op##_to_mem64)
#define ROWS_OUT(op) ROW(op##_from8), ROW(op##_from16), ROW(op##_from32), ROW(op##_from64)
	ROWS_IN(add), ROWS_IN(or), ROWS_IN(adc), ROWS_IN(sbb), ROWS_IN(and), ROWS_IN(sub),
	ROWS_IN(xor), ROWS_IN(cmp), ROWS_IN(test), ROWS_OUT(add), ROWS_OUT(or), ROWS_OUT(adc),
	ROWS_OUT(sbb), ROWS_OUT(and), ROWS_OUT(sub), ROWS_OUT(xor), ROWS_OUT(cmp),
};

static void fill(uint8_t bytes[BYTES], uint64_t seed)
{
	for (unsigned i = 0; i < BYTES; i++)
		bytes[i] = (uint8_t)(0x80 + 37 * i + 59 * seed);
}

/* An or, and, xor or test leaves AF undefined (SDM 2). */
static bool is_same(const struct regs *a, const struct regs *b)
{
	struct regs x = *a, y = *b;

	x.flags &= ~FLAG_AF;
	y.flags &= ~FLAG_AF;
	return !memcmp(&x, &y, sizeof(x));
}

static bool is_done_alike(const struct form *form, const struct regs *start, uint64_t seed)
{
	uint8_t plain[BYTES] __attribute__((aligned(16)));
	uint64_t before = trap_count(TRAPS_SERVED);
	struct regs want = *start, got = *start;

	fill(plain, seed);
	fill(ram, seed);
	form->run(&want, plain);
	form->run(&got, rig.bar);
	return is_same(&want, &got) && !memcmp(plain, ram, BYTES) &&
	       trap_count(TRAPS_SERVED) == before + 1;
}

static void trapped_instructions_do_what_the_cpu_does(void)
{
	struct regs start = {
		UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210),
		UINT64_C(0x1122334455667788), UINT64_C(0x99aabbccddeeff00),
		UINT64_C(0xa5a5a5a55a5a5a5a), FLAGS_SET,
	};

	rig_up();
	for (uint64_t seed = 0; seed < SEEDS; seed++) {
		for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
			if (is_done_alike(&forms[i], &start, seed))
				continue;
			fprintf(stderr, "\n    %s differs, seed %u", forms[i].name, (unsigned)seed);
			CU_ASSERT(false);
		}
		start.a = start.a * 0x9e3779b97f4a7c15 + 1;
		start.b ^= start.a << 7;
		start.c += start.b >> 3;
		start.d ^= start.c * 3;
		start.s -= start.d;
		start.flags = FLAGS_SET | (seed & 1);
	}
	rig_down();
}

/* The signal frame is below the red zone of a stack that is the BAR: SA_ONSTACK must save us. */
static void a_trap_with_a_useless_stack_pointer_runs_on_the_alternate_stack(void)
{
	stack_t alt = { .ss_sp = malloc(65536), .ss_size = 65536 }, was;
	struct regs got = { .flags = FLAGS_SET }, want = { 0 };
	uint8_t plain[BYTES];

	rig_up();
	CU_EQ(sigaltstack(&alt, &was), 0);
	fill(plain, 0);
	fill(ram, 0);
	memcpy(&want.a, plain + 8, 4);
	via_rsp(&got, rig.bar);
	CU_EQ(got.a, want.a);
	CU_EQ(sigaltstack(&was, NULL), 0);
	free(alt.ss_sp);
	rig_down();
}

static void errno_survives_a_trap(void)
{
	struct regs r = { .flags = FLAGS_SET };

	rig_up();
	errno = EXDEV;
	load32(&r, rig.bar);
	CU_EQ(errno, EXDEV);
	rig_down();
}

/* The last instruction of a page whose successor cannot be read. */
static void code_at_the_end_of_a_page_is_decoded(void)
{
	static const uint8_t code[] = { 0x8b, 0x07, 0xc3 };	/* mov (%rdi),%eax; ret */
	uint8_t *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t (*load)(void *), want;

	rig_up();
	CU_ASSERT_FATAL(page != MAP_FAILED);
	mprotect(page + PAGE, PAGE, PROT_NONE);
	memcpy(page + PAGE - sizeof(code), code, sizeof(code));
	*(void **)&load = page + PAGE - sizeof(code);
	fill(ram, 0);
	memcpy(&want, ram, sizeof(want));
	CU_EQ(load(rig.bar), want);
	munmap(page, 2 * PAGE);
	rig_down();
}

static void an_area_unmapped_in_the_middle_keeps_both_ends(void)
{
	uint8_t *p = mmap(NULL, 3 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	rig_up();
	CU_EQ(trap_add(p, 3 * PAGE, rig.f, BAR, 0), 0);
	trap_forget(p + PAGE, PAGE);
	CU_ASSERT(trap_touches(p, PAGE));
	CU_ASSERT(!trap_touches(p + PAGE, PAGE));
	CU_ASSERT(trap_touches(p + 2 * PAGE, PAGE));
	trap_forget(p, 3 * PAGE);
	CU_ASSERT(!trap_touches(p, 3 * PAGE));
	munmap(p, 3 * PAGE);
	rig_down();
	CU_ASSERT(!trap_any());
}

CU_MAIN("pmd-shim/trap",
	T(trapped_instructions_do_what_the_cpu_does),
	T(a_trap_with_a_useless_stack_pointer_runs_on_the_alternate_stack),
	T(errno_survives_a_trap),
	T(code_at_the_end_of_a_page_is_decoded),
	T(an_area_unmapped_in_the_middle_keeps_both_ends))
