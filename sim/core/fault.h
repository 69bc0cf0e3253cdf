/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fault.h - lets a test make the n-th request for a resource fail.
 *
 * What the device side takes from the world (memory, descriptors, threads) it takes through a
 * function that asks fault_now() first. Disarmed, as always outside tests, that is one load.
 */
#ifndef SIM_CORE_FAULT_H
#define SIM_CORE_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* The n-th request from now fails (1: the next one), once; 0 disarms. */
void fault_arm(unsigned n);
/* Whether an armed fault has not struck yet: the loop over n may end. */
bool fault_armed(void);
/* True if this request is the one to fail. */
bool fault_now(void);

/* Zeroed memory or NULL; free() it. */
void *fault_zalloc(size_t size);

/* Zeroed pages or NULL, for large and sparsely used tables: what is not touched costs nothing. */
void *fault_pages(size_t size);
void  fault_pages_free(void *p, size_t size);

#endif
