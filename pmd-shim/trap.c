// SPDX-License-Identifier: Apache-2.0
// trap.c - see trap.h. Readers of the table are handlers: an entry is valid while len is not 0.
#include <errno.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <ucontext.h>

#include "include/ioapi.h"
#include "pmd-shim/func.h"
#include "pmd-shim/insn_x86.h"
#include "pmd-shim/port.h"
#include "pmd-shim/sig.h"
#include "pmd-shim/trap.h"
#include "sim/core/guard.h"
#include "sim/core/lock.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"

#define PAGE 4096u

struct area {
	uintptr_t start;
	size_t    len;			/* written last, cleared first */
	uint64_t  off;
	unsigned  region;
	struct ioapi_func *f;
};

static struct area areas[TRAP_AREAS_MAX];
static unsigned areas_used;		/* entries that ever held something */
static unsigned areas_live;
static struct lock changes;
static struct lock paging;		/* before `changes`: see trap_hold() */
static bool paged;			/* some page was a file's once; atomic */
static uint64_t counters[TRAP_COUNTERS];

/* Encoding order of the registers. */
static const int gregs[16] = {
	REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
	REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
};

static void count(enum trap_counter c)
{
	__atomic_add_fetch(&counters[c], 1, __ATOMIC_RELAXED);
}

uint64_t trap_count(enum trap_counter c)
{
	return __atomic_load_n(&counters[c], __ATOMIC_RELAXED);
}

static const struct area *area_at(uintptr_t addr)
{
	unsigned used = __atomic_load_n(&areas_used, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < used; i++) {
		size_t len = __atomic_load_n(&areas[i].len, __ATOMIC_ACQUIRE);

		if (addr - areas[i].start < len)
			return &areas[i];
	}
	return NULL;
}

/* Code may end at a page that cannot be read: the last bytes are then fetched with care. */
static size_t fetch(const uint8_t *rip, uint8_t bytes[INSN_LEN_MAX])
{
	size_t page = 4096 - ((uintptr_t)rip & 4095);

	memset(bytes, 0, INSN_LEN_MAX);
	if (page >= INSN_LEN_MAX) {
		memcpy(bytes, rip, INSN_LEN_MAX);
		return INSN_LEN_MAX;
	}
	memcpy(bytes, rip, page);
	return guard_copy(bytes + page, rip + page, INSN_LEN_MAX - page) ? page : INSN_LEN_MAX;
}

static __attribute__((noinline)) void complain(const uint8_t *bytes, const void *rip,
					       const void *addr)
{
	static const char digits[] = "0123456789abcdef";
	char text[3 * INSN_LEN_MAX + 1];

	for (unsigned i = 0; i < INSN_LEN_MAX; i++) {
		text[3 * i] = digits[bytes[i] >> 4];
		text[3 * i + 1] = digits[bytes[i] & 15];
		text[3 * i + 2] = ' ';
	}
	text[3 * INSN_LEN_MAX - 1] = '\0';
	log_error("trap", "the instruction at %p (%s) accesses the device register at %p in a way "
		  "that is not simulated: mov and simple arithmetic are", rip, text, addr);
}

struct access {
	const struct area *a;
	uint64_t  off;
	greg_t   *reg;			/* the instruction's register */
	greg_t   *flags;
};

static uint64_t get(const struct access *x, const struct insn *i)
{
	uint64_t val = ~UINT64_C(0);

	func_read(x->a->f, x->a->region, x->off, i->mem, &val);
	return val;
}

static void set(const struct access *x, const struct insn *i, uint64_t val)
{
	func_write(x->a->f, x->a->region, x->off, i->mem, val);
}

static void run_load(const struct access *x, const struct insn *i)
{
	*x->reg = (greg_t)insn_result(i, (uint64_t)*x->reg, get(x, i));
}

static void run_store(const struct access *x, const struct insn *i)
{
	set(x, i, insn_source(i, (uint64_t)*x->reg));
}

static void run_alu_load(const struct access *x, const struct insn *i)
{
	uint64_t flags = (uint64_t)*x->flags, reg = (uint64_t)*x->reg;
	uint64_t val = insn_alu(i, insn_source(i, reg), get(x, i), &flags);

	*x->flags = (greg_t)flags;
	if (insn_keeps(i))
		*x->reg = (greg_t)insn_result(i, reg, val);
}

static void run_alu_store(const struct access *x, const struct insn *i)
{
	uint64_t flags = (uint64_t)*x->flags;
	uint64_t val = insn_alu(i, get(x, i), insn_source(i, (uint64_t)*x->reg), &flags);

	*x->flags = (greg_t)flags;
	if (insn_keeps(i))
		set(x, i, val);
}

static void (*const runs[])(const struct access *x, const struct insn *i) = {
	[INSN_LOAD] = run_load,
	[INSN_STORE] = run_store,
	[INSN_STORE_IMM] = run_store,
	[INSN_ALU_LOAD] = run_alu_load,
	[INSN_ALU_STORE] = run_alu_store,
	[INSN_ALU_IMM] = run_alu_store,
};

/* Makes the access the instruction wants and steps over it. */
static bool serve(const struct area *a, uintptr_t addr, ucontext_t *uc)
{
	greg_t *regs = uc->uc_mcontext.gregs;
	const uint8_t *rip = (const uint8_t *)regs[REG_RIP];
	struct access x = { .a = a, .off = a->off + (addr - a->start), .flags = &regs[REG_EFL] };
	uint8_t bytes[INSN_LEN_MAX];
	struct insn i;

	if (insn_decode(&i, bytes, fetch(rip, bytes))) {
		count(TRAPS_UNKNOWN);
		complain(bytes, rip, (const void *)addr);
		return false;
	}
	count(TRAPS_SERVED);
	x.reg = &regs[gregs[i.reg]];
	runs[i.kind](&x, &i);
	regs[REG_RIP] += i.len;
	return true;
}

static void on_fault(int sig, siginfo_t *info, void *ucontext)
{
	uintptr_t addr = (uintptr_t)info->si_addr;
	const struct area *a;
	int saved = errno;

	if (guard_fix(ucontext))
		return;
	if (sig == SIGSEGV && info->si_code == SI_KERNEL && port_fault(ucontext)) {
		count(TRAPS_SERVED);
		errno = saved;
		return;
	}
	a = sig == SIGSEGV && info->si_code > 0 ? area_at(addr) : NULL;
	if (!a || !serve(a, addr, ucontext)) {
		count(TRAPS_FOREIGN);
		sig_pass_on(sig, info, ucontext);
	}
	errno = saved;
}

int trap_install(void)
{
	return sig_install(on_fault);
}

bool trap_any(void)
{
	return __atomic_load_n(&areas_live, __ATOMIC_RELAXED) != 0;
}

bool trap_touches(const void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr;

	for (unsigned i = 0; i < __atomic_load_n(&areas_used, __ATOMIC_ACQUIRE); i++)
		if (areas[i].len && areas[i].start < start + len &&
		    start < areas[i].start + areas[i].len)
			return true;
	return false;
}

/* Lock held. */
static int put(const struct area *a)
{
	unsigned i = 0;

	while (i < areas_used && areas[i].len)
		i++;
	if (i == TRAP_AREAS_MAX)
		return -ENOMEM;
	areas[i] = (struct area){ a->start, 0, a->off, a->region, a->f };
	__atomic_store_n(&areas[i].len, a->len, __ATOMIC_RELEASE);
	if (i == areas_used)
		__atomic_store_n(&areas_used, i + 1, __ATOMIC_RELEASE);
	__atomic_add_fetch(&areas_live, 1, __ATOMIC_RELAXED);
	return 0;
}

int trap_add(void *addr, size_t len, struct ioapi_func *f, unsigned region, uint64_t off)
{
	struct area a = { (uintptr_t)addr, len, off, region, f };
	int rc;

	trap_forget(addr, len);
	lock_take(&changes);
	rc = put(&a);
	lock_drop(&changes);
	return rc;
}

/* Lock held. What sticks out on either side stays, in entries of its own. */
static void cut(struct area *a, uintptr_t start, uintptr_t end)
{
	struct area was = *a;

	__atomic_store_n(&a->len, 0, __ATOMIC_RELEASE);
	__atomic_sub_fetch(&areas_live, 1, __ATOMIC_RELAXED);
	if (was.start < start)
		put(&(struct area){ was.start, start - was.start, was.off, was.region, was.f });
	if (was.start + was.len > end)
		put(&(struct area){ end, was.start + was.len - end, was.off + (end - was.start),
				    was.region, was.f });
}

void trap_forget(const void *addr, size_t len)
{
	uintptr_t start = (uintptr_t)addr, end = start + len;
	unsigned used;

	if (!trap_any())
		return;
	lock_take(&changes);
	used = areas_used;
	for (unsigned i = 0; i < used; i++)
		if (areas[i].len && areas[i].start < end && start < areas[i].start + areas[i].len)
			cut(&areas[i], start, end);
	lock_drop(&changes);
}

/* ---- pages of files ------------------------------------------------------------------------ */

bool trap_hold(const void *addr, size_t len)
{
	return trap_any() && trap_touches(addr, len) && !lock_take(&paging);
}

void trap_let(bool held)
{
	if (held)
		lock_drop(&paging);
}

static int trap_again(uintptr_t at, size_t len)
{
	long rc = sys_call(SYS_mmap, at, len, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);

	return rc < 0 ? (int)rc : 0;
}

/* A huge page is larger than what it would be put over; other kinds of file do as they like. */
static int page_check(int fd)
{
	struct stat st;
	struct statfs fs;
	long rc = sys_call(SYS_fstat, fd, &st);

	if (!rc)
		rc = sys_call(SYS_fstatfs, fd, &fs);
	if (rc)
		return (int)rc;
	return S_ISREG(st.st_mode) && fs.f_type == TMPFS_MAGIC ? 0 : -EPERM;
}

/* Mapped beside it first: what the kernel refuses leaves the trap where it is. */
static int page_put(uintptr_t at, int fd, uint64_t off)
{
	long p = sys_call(SYS_mmap, 0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, off), rc;

	if (p < 0)
		return (int)p;
	rc = sys_call(SYS_mremap, p, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, at);
	if (rc >= 0)
		return 0;
	sys_call(SYS_munmap, p, PAGE);
	trap_again(at, PAGE);
	return (int)rc;
}

/* Both locks held. How many there are, or -errno. */
static int page_everywhere(struct ioapi_func *f, unsigned region, uint64_t off, int fd, uint64_t at)
{
	int n = 0, rc = 0;

	for (unsigned i = 0; !rc && i < areas_used; i++) {
		const struct area *a = &areas[i];
		uintptr_t place = a->start + (off - a->off);

		if (a->f != f || a->region != region || off < a->off || off - a->off >= a->len)
			continue;
		rc = fd < 0 ? trap_again(place, PAGE) : page_put(place, fd, at);
		n++;
	}
	return rc ? rc : n;
}

int trap_page(struct ioapi_func *f, unsigned region, uint64_t off, int fd, uint64_t at)
{
	int rc = fd < 0 ? 0 : page_check(fd), n;

	if (!rc)
		rc = lock_take(&paging);
	if (rc)
		return rc;
	rc = lock_take(&changes);
	if (!rc) {
		__atomic_store_n(&paged, true, __ATOMIC_RELAXED);
		n = page_everywhere(f, region, off, fd, at);
		if (n < 0 && fd >= 0)
			page_everywhere(f, region, off, -1, 0);
		rc = n < 0 ? n : !n && fd >= 0 ? -ENOENT : 0;
		lock_drop(&changes);
	}
	lock_drop(&paging);
	return rc;
}

void trap_child(void)
{
	paging = (struct lock){ 0 };	/* perhaps of a thread that is not here */
	for (unsigned i = 0; paged && i < areas_used; i++)
		if (areas[i].len)
			trap_again(areas[i].start, areas[i].len);
}

/* ---- forks --------------------------------------------------------------------------------- */

void trap_fork_begin(void)
{
	lock_take(&changes);
	sig_fork_begin();
}

void trap_fork_end(void)
{
	sig_fork_end();
	lock_drop(&changes);
}
