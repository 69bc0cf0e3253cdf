// SPDX-License-Identifier: Apache-2.0
// vlog.c - see vlog.h.
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "sim/backend/torn.h"
#include "sim/backend/vlog.h"
#include "sim/backend/vmem.h"

#define LOG_PAGE	4096ull
#define LOG_BYTES_MAX	(1ull << 30)	/* 32 TiB of guest */

int vlog_map(struct vlog *l, uint64_t size, uint64_t off, int fd)
{
	struct vlog new = { .bytes = size };
	struct stat st;

	if (!size || size > LOG_BYTES_MAX || off + size < off || off % LOG_PAGE ||
	    !vmem_is_file(fd) || fstat(fd, &st) < 0 || (uint64_t)st.st_size < off + size)
		return -EINVAL;
	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return -EPERM;
	new.map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		       (off_t)off);
	if (new.map == MAP_FAILED)
		return -errno;
	new.slot = torn_watch(new.map, (size + LOG_PAGE - 1) & ~(LOG_PAGE - 1), &l->torn);
	if (new.slot < 0) {
		munmap(new.map, size);
		return new.slot;
	}
	vlog_unmap(l);
	*l = new;
	return 0;
}

void vlog_unmap(struct vlog *l)
{
	if (!l->map)
		return;
	torn_forget(l->slot);
	munmap(l->map, l->bytes);
	*l = (struct vlog){ .map = NULL };
}

void vlog_mark(struct vlog *l, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa / LOG_PAGE, last = (gpa + len - 1) / LOG_PAGE;

	if (!l->map || !len || gpa + len < gpa)
		return;
	if (last / 8 >= l->bytes)
		last = l->bytes * 8 - 1;
	for (; page <= last && page / 8 < l->bytes; page++) {
		uint8_t *byte = &l->map[page / 8], bit = (uint8_t)(1u << (page % 8));

		/* The peer clears bits while we set them. */
		if (!(__atomic_load_n(byte, __ATOMIC_RELAXED) & bit))
			__atomic_fetch_or(byte, bit, __ATOMIC_RELEASE);
	}
}
