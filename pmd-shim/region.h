/* SPDX-License-Identifier: Apache-2.0 */
/*
 * region.h - bytes of a file offset as register accesses: what read and write on a device file
 * mean.
 *
 * An aligned access of 1, 2, 4 or 8 bytes is one register access; anything else is cut into
 * the largest aligned ones. As on a real bus a register that is not there reads as ones and
 * swallows writes; only the end of the region and a lost device are told.
 */
#ifndef PMD_SHIM_REGION_H
#define PMD_SHIM_REGION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ioapi_func;

/* Bytes done (0 at the end of the region), or -errno. */
ssize_t region_read(struct ioapi_func *f, unsigned region, uint64_t off, void *buf, size_t n);
ssize_t region_write(struct ioapi_func *f, unsigned region, uint64_t off, const void *buf,
		     size_t n);

/*
 * Maps [off, off + len) of a memory BAR as mmap(2) would a device's: trapped pages. The address or
 * -errno.
 */
long region_mmap(struct ioapi_func *f, unsigned region, uint64_t off, void *addr, size_t len,
		 int flags);

#endif
