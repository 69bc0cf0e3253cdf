// SPDX-License-Identifier: Apache-2.0
// guard.c - one function touches the foreign memory; a fault in it resumes at its error exit.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include "sim/core/guard.h"

#if defined(__x86_64__)

/*
 * Written in assembly as a whole, so that no compiler or sanitizer puts a second access near
 * it. Whichever access between guard_first and guard_failed faults (`rep movsb` reports its own
 * address, however much is done), the return address is on top of the stack. Two, four and
 * eight bytes are one load and one store, because ring indices and flags must not tear.
 */
__asm__(".pushsection .text.guard, \"ax\", @progbits\n"
	".p2align 4\n"
	".globl guard_copy\n"
	".hidden guard_copy\n"
	".type guard_copy, @function\n"
	"guard_copy:\n"
	"	.cfi_startproc\n"
	"	cmp $8, %rdx\n"
	"	ja 1f\n"
	"	je 8f\n"
	"	cmp $2, %rdx\n"
	"	je 2f\n"
	"	cmp $4, %rdx\n"
	"	je 4f\n"
	"1:	mov %rdx, %rcx\n"
	".globl guard_first\n"
	".hidden guard_first\n"
	"guard_first:\n"
	"	rep movsb\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"2:	movzwl (%rsi), %eax\n"
	"	movw %ax, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"4:	mov (%rsi), %eax\n"
	"	mov %eax, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	"8:	mov (%rsi), %rax\n"
	"	mov %rax, (%rdi)\n"
	"	xor %eax, %eax\n"
	"	ret\n"
	".globl guard_failed\n"
	".hidden guard_failed\n"
	"guard_failed:\n"
	"	mov $-14, %eax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size guard_copy, . - guard_copy\n"
	".popsection\n");

_Static_assert(EFAULT == 14, "the assembly above returns -EFAULT");

extern const char guard_first[] __attribute__((visibility("hidden")));
extern const char guard_failed[] __attribute__((visibility("hidden")));

bool guard_fix(void *ucontext)
{
	ucontext_t *uc = ucontext;
	uintptr_t rip = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];

	if (rip < (uintptr_t)guard_first || rip >= (uintptr_t)guard_failed)
		return false;
	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)guard_failed;
	return true;
}

#else	/* No protection: a driver that unmaps its rings under the device ends its process. */

int guard_copy(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n);
	return 0;
}

bool guard_fix(void *ucontext)
{
	(void)ucontext;
	return false;
}

#endif

static const int guarded[] = { SIGSEGV, SIGBUS };
static struct sigaction before[sizeof(guarded) / sizeof(guarded[0])];

static void on_fault(int sig, siginfo_t *info, void *ucontext)
{
	const struct sigaction *old = &before[sig == SIGBUS];
	int saved = errno;

	if (guard_fix(ucontext))
		return;
	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, info, ucontext);
	} else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
		old->sa_handler(sig);
	} else {
		/* Back to the default; the access faults again, a sent signal is sent again. */
		sigaction(sig, old, NULL);
		if (info->si_code <= 0)
			raise(sig);
	}
	errno = saved;
}

int guard_install(void)
{
	struct sigaction ours = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	struct sigaction now;

	sigemptyset(&ours.sa_mask);
	for (unsigned i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
		if (sigaction(guarded[i], NULL, &now) < 0)
			return -errno;
		if ((now.sa_flags & SA_SIGINFO) && now.sa_sigaction == on_fault)
			continue;
		before[i] = now;
		if (sigaction(guarded[i], &ours, NULL) < 0)
			return -errno;
	}
	return 0;
}
