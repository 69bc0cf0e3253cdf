/* SPDX-License-Identifier: Apache-2.0 */
/*
 * torn.h - shared memory whose file may be cut short by the peer.
 *
 * A load from a page that left the file raises SIGBUS. The data path cannot check each access,
 * so the handler mends the mapping instead: zero pages of our own replace all of it, the
 * access is repeated and succeeds, and the owner finds its flag set and cuts the peer off. It
 * costs nothing until it happens, and only its owner.
 */
#ifndef SIM_BACKEND_TORN_H
#define SIM_BACKEND_TORN_H

#include <stdbool.h>
#include <stddef.h>

#define TORN_RANGES 8192	/* mappings a process can watch */

/* Installs the SIGBUS handler, once per process; other faults go to guard_fix(), then on. */
int torn_install(void);

/*
 * Watches [base, base + len), page-aligned, mapped and whole; *flag is set when it tears. The
 * slot (>= 0) is given back with torn_forget() before the range is unmapped. -ENOSPC.
 */
int  torn_watch(void *base, size_t len, bool *flag);
void torn_forget(int slot);

#endif
