/* SPDX-License-Identifier: Apache-2.0 */
/*
 * guard.h - copies from and to memory that may vanish under us.
 *
 * Rings and buffers belong to the driver, which may unmap or truncate them at any time. A copy
 * through guard_copy() that faults returns -EFAULT, provided the process's SIGSEGV and SIGBUS
 * handlers call guard_fix() first (the shim's do; guard_install() does it for daemons and tests).
 * Aligned copies of 2, 4 and 8 bytes are one load and one store: they never tear.
 */
#ifndef SIM_CORE_GUARD_H
#define SIM_CORE_GUARD_H

#include <stdbool.h>
#include <stddef.h>

int guard_copy(void *dst, const void *src, size_t n);

/* For a signal handler: true if the fault was ours and execution may resume. */
bool guard_fix(void *ucontext);

/* Installs handlers that fix our faults and pass the others to whoever was there. Idempotent. */
int guard_install(void);

#endif
