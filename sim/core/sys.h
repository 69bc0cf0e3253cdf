/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sys.h - system calls that bypass libc's wrappers and leave errno alone.
 *
 * The device side lives in a library that overrides close(), poll() and others for the whole
 * process: a call by name would meet our own override, which shields exactly the descriptors
 * we want to close. All are async-signal-safe.
 */
#ifndef SIM_CORE_SYS_H
#define SIM_CORE_SYS_H

#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

/* sys_call(SYS_close, fd): the call's result, or -errno. At most six arguments. */
#define sys_call(...) sys_call_filled_(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define sys_call_filled_(n, a, b, c, d, e, f, ...) \
	sys_call_six((long)(n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#if defined(__x86_64__)

/* Linux's x86-64 convention (System V ABI, A.2.1): not even syscall(3), which is overridden too. */
static inline long sys_call_six(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
	long rc;

	__asm__ volatile("syscall" : "=a"(rc)
			 : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return rc;
}

#else

static inline long sys_call_six(long n, long a, long b, long c, long d, long e, long f)
{
	int saved = errno;
	long rc = syscall(n, a, b, c, d, e, f);

	if (rc < 0)
		rc = -errno;
	errno = saved;
	return rc;
}

#endif

#endif
