// SPDX-License-Identifier: Apache-2.0
// fds.c - see fds.h.
#include <errno.h>
#include <stddef.h>

#include "pmd-shim/fds.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/vfio.h"
#include "sim/core/fd.h"

static void adopt(void *arg, int fd)
{
	(void)arg;
	vfio_adopt(fd);
}

void fds_came(struct msghdr *m)
{
	int saved = errno;

	if (!shim_present())
		return;
	fd_each(m, adopt, NULL);
	errno = saved;
}
