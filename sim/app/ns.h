/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ns.h - a private mount namespace that shows a rendered bus in the kernel's place.
 *
 * The calling process moves into the namespace for good (and, without privilege, into a user
 * namespace that maps its own uid and gid to themselves); the host sees no change.
 */
#ifndef SIM_APP_NS_H
#define SIM_APP_NS_H

struct err;

/* Moves the process. -EPERM with the setting that forbids it and how to mend that. */
int ns_enter(struct err *e);

/* Mounts a private tmpfs to render into; *dirfd is open on it. The caller closes it. */
int ns_stage(int *dirfd, struct err *e);

/* Puts the staged tree over the kernel's directories and takes the stage away. */
int ns_show(int dirfd, struct err *e);

#endif
