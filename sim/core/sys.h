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

/* The call's result, or -errno. */
#define sys_call(...) \
	({ \
		int sys_saved_ = errno; \
		long sys_rc_ = syscall(__VA_ARGS__); \
		if (sys_rc_ < 0) \
			sys_rc_ = -errno; \
		errno = sys_saved_; \
		sys_rc_; \
	})

#endif
