/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nudge.h - interrupts a thread that must never wait, in whatever call it waits nevertheless.
 *
 * Peers hand us descriptors that stay theirs too. One may turn an eventfd back into one that
 * waits and fill it: then write() waits. One may set SO_LINGER on a socket and be gone: then
 * close() waits, ours or the one the kernel does for us when it drops what was not taken. No
 * check helps, for it can be changed right after. So a thread keeps a timer a little ahead of
 * itself; when it is late it gets a signal, and again until it is back, and such a call ends
 * (with EINTR, where it can tell).
 */
#ifndef SIM_BACKEND_NUDGE_H
#define SIM_BACKEND_NUDGE_H

#include <stdbool.h>
#include <time.h>

#define NUDGE_LATE_MS	80
#define NUDGE_AGAIN_MS	20

struct nudge {
	timer_t timer;
	bool    on;
};

/* For the calling thread. 0 or -errno: it goes without. */
int  nudge_start(struct nudge *n);
/* The thread is alive: NUDGE_LATE_MS from now. */
void nudge_defer(struct nudge *n);
void nudge_stop(struct nudge *n);

#endif
