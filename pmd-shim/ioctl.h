/* SPDX-License-Identifier: Apache-2.0 */
/* ioctl.h - an object's ioctls as rows; the row holds what must be true before its code runs. */
#ifndef PMD_SHIM_IOCTL_H
#define PMD_SHIM_IOCTL_H

#include <stddef.h>
#include <stdint.h>

#include "pmd-shim/fdtab.h"

#define IOCTL_ARG_MAX 64		/* of a fixed-size argument */

/*
 * argsz 0: the argument is a number, or a pointer run() copies through itself. Otherwise so
 * many bytes are copied in, and back out unless run() fails; the first word of them is the
 * size the caller knows and must not be less. run() is called with shim_lock held.
 */
struct ioctl_row {
	unsigned long req;
	uint32_t      argsz;
	long        (*run)(struct ours *o, void *arg);
};

long ioctl_dispatch(const struct ioctl_row *rows, size_t n, struct ours *o, unsigned long req,
		    void *arg);

#define IOCTL_DISPATCH(rows, o, req, arg) \
	ioctl_dispatch(rows, sizeof(rows) / sizeof((rows)[0]), o, req, arg)

#endif
