/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h - the memory a driver lends: IOVA -> (address in this process, file, offset).
 *
 * Adjacent pieces of one file (iova, va and offset all continuing) are kept as one region, so
 * that a thousand hugepages of one file are one vhost region. A space has its own inner lock;
 * every call is safe from any thread and from a trap, and allocates nothing.
 */
#ifndef SIM_MEM_SPACE_H
#define SIM_MEM_SPACE_H

#include <stddef.h>
#include <stdint.h>

#include "sim/core/lock.h"

#define SPACE_PIECES_MAX 4096	/* mappings (each possibly many pieces) a space can hold */
#define SPACE_REGIONS_MAX 512	/* merged regions a snapshot can show */

struct space_region {
	uint64_t iova, size;
	uint64_t va;			/* address in this process */
	int      fd;			/* kept by the space; valid while the space holds it */
	uint64_t off;			/* of iova in fd */
};

struct space;

int  space_new(struct space **s);
void space_free(struct space *s);
void space_orphan(struct space *s);	/* forked child: forget the fds */

/* All n pieces or none; -EEXIST, -EINVAL, -E2BIG (full), -EMFILE as ioapi_dma_map(). */
int  space_map(struct space *s, const struct space_region *pieces, unsigned n);

/* Takes away everything inside the range, splitting merged regions; bytes taken. */
uint64_t space_unmap(struct space *s, uint64_t iova, uint64_t size);

/*
 * Copies the merged regions in ascending IOVA order; returns their number, which may exceed
 * max (then only max are filled). Region fds stay owned by the space and stay open until the
 * piece is unmapped: use them under the lock order domain -> function -> space.
 */
unsigned space_snapshot(struct space *s, struct space_region *out, unsigned max);

/* Address of [iova, iova + len) in this process if one region holds all of it, else NULL. */
void *space_at(struct space *s, uint64_t iova, uint64_t len);

#endif
