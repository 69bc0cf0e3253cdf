/* SPDX-License-Identifier: Apache-2.0 */
/*
 * closer.h - a thread that closes what nobody else should.
 *
 * close() of a file asks its file system first, and a file system of the peer's own (FUSE) may
 * never answer: no signal ends that wait. Such a descriptor is left to a thread which has
 * nothing else to do. It belongs to the process, as signal handlers do.
 */
#ifndef SIM_BACKEND_CLOSER_H
#define SIM_BACKEND_CLOSER_H

#include <stdbool.h>

/*
 * Makes the thread if there is none yet, and waits for what it does first: `begin`, whose failure
 * ends it all; NULL: nothing.
 */
void closer_start(int (*begin)(void));

/* True: fd is the thread's now. False: there is none, or too much waits for it already. */
bool closer_take(int fd);

/* Whether fd is a file with a name somewhere: neither memory nor a socket, pipe, eventfd... */
bool closer_wanted(int fd);

#endif
