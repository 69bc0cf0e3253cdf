/* SPDX-License-Identifier: Apache-2.0 */
/* fds.h - descriptors that come with messages: those of another process's doors are ours too. */
#ifndef PMD_SHIM_FDS_H
#define PMD_SHIM_FDS_H

struct msghdr;

/* After a recvmsg() that brought control data; leaves errno alone. */
void fds_came(struct msghdr *m);

#endif
