/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dirty.h - which pages of the driver's memory were written: a bitmap in a file, one bit for each
 * page from address 0 on, that another process marks.
 *
 * The file can grow and never shrink, and is as sparse as the memory: a map of pages at 2^46 takes
 * no more room than one of pages at 0. Nothing here allocates. One thread at a time.
 */
#ifndef SIM_MEM_DIRTY_H
#define SIM_MEM_DIRTY_H

#include <stdint.h>

#define DIRTY_PAGE 4096u

struct dirty {
	int      fd;			/* kept; -1: none */
	uint64_t bytes;			/* of the bitmap */
};

int  dirty_open(struct dirty *d);	/* empty, covering nothing; or -errno */
void dirty_close(struct dirty *d);	/* a closed one is fine */
/* Covers all addresses below `top`; marks stay. */
int  dirty_cover(struct dirty *d, uint64_t top);
/* Marks the pages of [addr, addr + len) beside whoever else marks now; -ERANGE: not covered. */
int  dirty_mark(struct dirty *d, uint64_t addr, uint64_t len);
/* Marks in `to`, which must cover them, what is marked in `from`. */
int  dirty_add(struct dirty *to, const struct dirty *from);
/*
 * Takes the marks away, each told once, in ascending order; a page that is marked meanwhile is told
 * now or the next time. 0 or -errno.
 */
int  dirty_harvest(struct dirty *d, void (*page)(void *ctx, uint64_t addr), void *ctx);

#endif
