/* SPDX-License-Identifier: Apache-2.0 */
/*
 * resume.h - where a ring stood when its back-end vanished, read from the ring itself.
 *
 * For back-ends that complete in order (DPDK's and ours do) the ring's memory tells exactly
 * which buffers are still owed. The result is the value SET_VRING_BASE takes.
 */
#ifndef SIM_RING_RESUME_H
#define SIM_RING_RESUME_H

#include <stdint.h>

/* desc/avail/used as mapped in this process; read through guard_copy(). 0 or -EFAULT, -EINVAL. */
int resume_split(const void *used, uint16_t num, uint32_t *base);
int resume_packed(const void *desc, uint16_t num, uint32_t *base);

#endif
