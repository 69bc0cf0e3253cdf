/* SPDX-License-Identifier: Apache-2.0 */
/* vlog.h - the dirty log of a migrating peer: one bit per 4 KiB page that we wrote. */
#ifndef SIM_BACKEND_VLOG_H
#define SIM_BACKEND_VLOG_H

#include <stdbool.h>
#include <stdint.h>

struct vlog {
	uint8_t *map;			/* NULL: no log */
	uint64_t bytes;
	int      slot;			/* torn.h */
	bool     torn;
};

/*
 * Maps [off, off + size) of fd, which stays the caller's. -EINVAL for an empty, wrapping or
 * too long range, or a file that is not memory. On failure the old log stays.
 */
int  vlog_map(struct vlog *l, uint64_t size, uint64_t off, int fd);
void vlog_unmap(struct vlog *l);

/* What lies outside the log, or wraps, is not marked. */
void vlog_mark(struct vlog *l, uint64_t gpa, uint64_t len);

#endif
