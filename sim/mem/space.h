/* SPDX-License-Identifier: Apache-2.0 */
/*
 * space.h - the memory a driver lends: IOVA -> (address in this process, file, offset).
 *
 * Adjacent pieces of one file (iova, va and offset all continuing) are kept as one region, so
 * that a thousand hugepages of one file are one vhost region. A file is kept open once, however
 * many pieces come from it. A space has its own inner lock; every call is safe from any thread
 * and from a trap, and allocates nothing.
 *
 * Life of a region's fd: whoever took a snapshot may use its fds as long as it holds the lock it
 * took the snapshot under. space_unmap() therefore only sets files aside; the space's owner
 * calls space_reap() when each such lock was taken and released once since.
 */
#ifndef SIM_MEM_SPACE_H
#define SIM_MEM_SPACE_H

#include <stddef.h>
#include <stdint.h>

#include "sim/core/lock.h"

#define SPACE_PIECES_MAX 4096	/* merged regions, and distinct files, a space can hold */
#define SPACE_REGIONS_MAX 512	/* merged regions a snapshot can show */

struct space_region {
	uint64_t iova, size;
	uint64_t va;			/* address in this process */
	int      fd;			/* kept by the space, see above; borrowed in space_map() */
	uint64_t off;			/* of iova in fd */
};

struct space;

int  space_new(struct space **s);
void space_free(struct space *s);
void space_orphan(struct space *s);	/* forked child: forget the fds */

/*
 * All n pieces or none; -EEXIST, -EINVAL, -E2BIG (full), -EMFILE as ioapi_dma_map(), and what
 * the kernel says of a descriptor that is none.
 */
int  space_map(struct space *s, const struct space_region *pieces, unsigned n);

/*
 * Takes away everything inside the range, cutting regions that reach beyond it; bytes taken.
 * Whole pages only; a size that reaches past the end of the address space means all the rest.
 */
uint64_t space_unmap(struct space *s, uint64_t iova, uint64_t size);

/* Closes the files that no piece comes from any more; also after a space_map() that failed. */
void space_reap(struct space *s);

/*
 * Copies the merged regions in ascending IOVA order; returns their number, which may exceed
 * max (then only max are filled). Use them under the lock order domain -> function -> space.
 */
unsigned space_snapshot(struct space *s, struct space_region *out, unsigned max);

/* Address of [iova, iova + len) in this process if one region holds all of it, else NULL. */
void *space_at(struct space *s, uint64_t iova, uint64_t len);

#endif
