// SPDX-License-Identifier: Apache-2.0
// fds.c - see fds.h.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "pmd-shim/fds.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/vfio.h"

void fds_came(struct msghdr *m)
{
	int saved = errno;

	if (!shim_present())
		return;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS ||
		    c->cmsg_len < CMSG_LEN(0))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			vfio_adopt(fd);
		}
	}
	errno = saved;
}
