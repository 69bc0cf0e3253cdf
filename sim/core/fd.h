/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fd.h - descriptors the device side keeps inside somebody else's process.
 *
 * fd_keep() moves a descriptor above the numbers an application expects, marks it close-on-exec
 * and enters it in a ledger, so that the shim can shield it from the application's own close()
 * and closefrom(). All are async-signal-safe and leave errno alone.
 */
#ifndef SIM_CORE_FD_H
#define SIM_CORE_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define FD_LEDGER_MAX 65536	/* a higher descriptor works but is not shielded */

int  fd_keep(int fd);		/* takes fd; returns the kept one (>= 0) or -errno, fd closed */
int  fd_keep_dup(int fd);	/* as above on a duplicate; fd stays the caller's */
int  fd_keep_event(void);	/* a new eventfd, non-blocking, kept; or -errno */
void fd_drop(int *fd);		/* closes, forgets, sets to -1; -1 is fine */
bool fd_is_kept(int fd);
unsigned fd_kept_count(void);

/* Whether a call that failed with rc (-errno) did so for want of descriptors or of memory. */
bool fd_is_lack(long rc);

/* False if it is something else for certain: a write to that could block. */
bool fd_is_event(int fd);
void fd_signal(int fd);		/* adds one to an eventfd; -1 is fine */
bool fd_drain(int fd);		/* empties an eventfd; true if it was not empty */
bool fd_readable(int fd);	/* without reading, without waiting */

/* Room for what carries n descriptors over a Unix socket. */
#define FD_CONTROL(n) union { struct cmsghdr head; char bytes[CMSG_SPACE((n) * sizeof(int))]; }

/* Puts n of them (not 0) into control, which is an FD_CONTROL(n), and that under m. */
void fd_send_with(struct msghdr *m, void *control, const int *fds, unsigned n);
/* Shows each that came with m. */
void fd_each(struct msghdr *m, void (*show)(void *arg, int fd), void *arg);
/* Gives the first `max` that came with m and closes the others; returns how many there were. */
unsigned fd_take(struct msghdr *m, int *fds, unsigned max);

#endif
