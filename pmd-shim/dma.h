/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dma.h - finds the files behind a range of the process's memory and lends them to a domain.
 *
 * Only shared mappings of files can be lent: another process is to map them. Private memory is
 * refused with a line that says what to do.
 */
#ifndef PMD_SHIM_DMA_H
#define PMD_SHIM_DMA_H

#include <stdint.h>

struct ioapi_domain;

#define DMA_PIECES_MAX 512	/* files in one mapping that cannot be merged: more than
				 * any back-end takes */
#define DMA_FDS_MAX    8192	/* descriptors of the process looked at */

/* Addresses of this process. */
struct dma_range {
	uint64_t start, end;
};

/*
 * The stretches of the process's memory that are shared mappings of hugepage files, in order;
 * at most max. shim_lock held.
 */
unsigned dma_find_huge(struct dma_range *out, unsigned max);

/* As ioapi_dma_map(); -EFAULT for memory that is not there or not shared. shim_lock held. */
int dma_map(struct ioapi_domain *d, uint64_t va, uint64_t iova, uint64_t size);

#endif
