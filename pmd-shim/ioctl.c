// SPDX-License-Identifier: Apache-2.0
// ioctl.c - finds the row, copies the argument in and out, takes the lock.
#include <errno.h>

#include "pmd-shim/ioctl.h"
#include "pmd-shim/shim.h"
#include "sim/core/guard.h"

static long run_row(const struct ioctl_row *row, struct ours *o, void *arg)
{
	union {
		uint32_t argsz;
		uint64_t align;
		char     bytes[IOCTL_ARG_MAX];
	} in;
	long rc;

	if (!shim_bus_open())
		return -ENODEV;		/* a forked child's */
	if (!row->argsz)
		return row->run(o, arg);
	if (row->argsz > IOCTL_ARG_MAX || guard_copy(&in, arg, row->argsz))
		return -EFAULT;
	if (in.argsz < row->argsz)
		return -EINVAL;
	rc = row->run(o, &in);
	if (rc >= 0 && guard_copy(arg, &in, row->argsz))
		return -EFAULT;
	return rc;
}

long ioctl_dispatch(const struct ioctl_row *rows, size_t n, struct ours *o, unsigned long req,
		    void *arg)
{
	long rc = -ENOTTY;

	/* Refused if held by this thread: an ioctl from a signal handler inside an ioctl. */
	if (lock_take(&shim_lock))
		return -EDEADLK;
	for (size_t i = 0; i < n; i++)
		if (rows[i].req == (req & UINT32_MAX))
			rc = run_row(&rows[i], o, arg);
	lock_drop(&shim_lock);
	return rc;
}
