/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem.h - what mmap and its kin mean to us: BARs are trapped, hugepage files coalesced, and
 * whatever is mapped over or unmapped is forgotten.
 */
#ifndef PMD_SHIM_MEM_H
#define PMD_SHIM_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/types.h>

/* Private memory placed anywhere, the usual case, is none of our business; no system call. */
bool mem_cares(int flags, int fd);
/* Whether an unmapped range may hold something of ours. */
bool mem_cares_gone(void);

/* As the system calls: a result or -errno. */
long mem_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
long mem_munmap(void *addr, size_t len);
long mem_mremap(void *addr, size_t len, size_t to_len, int flags, void *to);

#endif
