/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coalesce.h - many hugepage files answered from one, so that a back-end gets one region.
 *
 * DPDK by default maps one file per hugepage, each at a fixed address. vhost-user carries 8
 * files in one message. Such a mapping is answered from a file of ours at offset
 * (address - base), base being the address of its first page: memory that is contiguous by
 * address is then contiguous in one file, in whatever order it came.
 *
 * The file lives on the same hugetlbfs mount as the original where that can be reached, so that
 * limits and reservations made for the container hold; else it is a hugetlb memfd.
 *
 * Nothing that was ever written is lost: only pages that are not allocated yet, or that this
 * process allocated and that are still zero, are answered from another file. A page's memory
 * goes back to the pool when it is unmapped or mapped over.
 *
 * Another process of the container that maps the same original (a DPDK secondary) is given the
 * memory that took its place, by the process that has it (ioremote.h).
 *
 * Off with `option coalesce=off`; a process that shares its hugepage files with others that have
 * no device in common with it needs that.
 */
#ifndef PMD_SHIM_COALESCE_H
#define PMD_SHIM_COALESCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define COALESCE_FILES_MAX  64
#define COALESCE_RANGES_MAX 1024	/* not adjacent to each other */
#define COALESCE_ORIGINS_MAX 65536	/* pieces of originals that are stood for */
#define COALESCE_NOTED_MAX  65536	/* files seen mapped elsewhere first */

/* A back-end maps, and reserves pages for, all of a file up to its region: gaps cost it memory. */
#define COALESCE_GAP_MAX (UINT64_C(64) << 20)

/* Not a mapping for us: make the original call. */
#define COALESCE_NOT_OURS (-4096)

/* The address or COALESCE_NOT_OURS. */
long coalesce_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);

/* The range is mapped over or unmapped: pages go back. */
void coalesce_forget(const void *addr, size_t len);
/* The range's pages live on elsewhere. */
void coalesce_leave(const void *addr, size_t len);
/* Whether any memory is coalesced: one load. */
bool coalesce_any(void);

/* How much of [va, va + len) from its start is one piece of our file fd at off; 0: none. */
uint64_t coalesce_find(uint64_t va, uint64_t len, int *fd, uint64_t *off);

/*
 * What stands for [off, off + len) of a file: one piece of our file *fd at *at. -ENOENT: nothing.
 */
int coalesce_origin(dev_t dev, uint64_t ino, uint64_t off, uint64_t len, int *fd, uint64_t *at);

/*
 * The address at which the page at va was first mapped, by which the process knows it in
 * pagemap.h: va itself unless the page was moved since, as DPDK's legacy memory is. *run: how
 * many bytes on are as far from it.
 */
uint64_t coalesce_frame(uint64_t va, uint64_t *run);

void coalesce_fork_begin(void);
/* In the child the memory is the parent's: it is forgotten, and unmapping frees nothing. */
void coalesce_fork_end(bool child);

#endif
