/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vmem.h - the memory a vhost-user peer lent: regions of its files, mapped here.
 *
 * A region has a guest-physical address (buffers are named by it) and an address in the peer
 * (rings are named by it). Regions overlap in neither. The peer owns the files and may cut
 * them at any time: each mapping is watched (torn.h) and sets `torn`.
 *
 * Only files that live in memory are taken (memfd, tmpfs, hugetlbfs; the kernel's own answer to
 * F_GET_SEALS tells): anything else could block whoever touches it, as FUSE does.
 */
#ifndef SIM_BACKEND_VMEM_H
#define SIM_BACKEND_VMEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VMEM_REGIONS	64
#define VMEM_BYTES_MAX	(1ull << 42)	/* mapped per peer, unless its limit says less */

struct vmem_region {
	uint64_t gpa, uva, size;
	uint8_t *host;			/* of gpa */
	void    *map;			/* what was mapped: the region, rounded to pages */
	size_t   map_len;
	int      slot;			/* torn.h */
	bool     backed;		/* its file has pages for all of it, as it says */
};

struct vmem {
	unsigned n;			/* ascending by gpa */
	uint64_t bytes;
	bool     torn;			/* read with vmem_torn() */
	struct vmem_region region[VMEM_REGIONS];
};

struct vmem_policy {
	uint64_t bytes_max;		/* 0: VMEM_BYTES_MAX */
	bool     sealed;		/* take only files sealed against shrinking */
};

/*
 * Maps [off, off + size) of fd as a region; fd stays the caller's and may be closed. -EINVAL
 * (empty, wrapping, outside the file, wrong kind of file), -EEXIST (overlap), -E2BIG, -EPERM
 * (read-only or not sealed), -errno of mmap. On failure nothing changed.
 */
int  vmem_add(struct vmem *m, const struct vmem_policy *policy, uint64_t gpa, uint64_t uva,
	      uint64_t size, uint64_t off, int fd);
/* Takes away exactly this region. -ENOENT. */
int  vmem_remove(struct vmem *m, uint64_t gpa, uint64_t uva, uint64_t size);
void vmem_clear(struct vmem *m);

/* The region that holds gpa, or NULL. */
const struct vmem_region *vmem_find(const struct vmem *m, uint64_t gpa);

/* [gpa, gpa + len) or [uva, uva + len) here if one region holds all of it, else NULL. */
void *vmem_at(const struct vmem *m, uint64_t gpa, uint64_t len);
void *vmem_at_uva(const struct vmem *m, uint64_t uva, uint64_t len);

static inline bool vmem_torn(const struct vmem *m)
{
	return __atomic_load_n(&m->torn, __ATOMIC_ACQUIRE);
}

/* True for a file in memory: nothing done with it can block. Never calls into a file system. */
bool vmem_is_file(int fd);

#endif
