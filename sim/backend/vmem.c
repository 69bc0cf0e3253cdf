// SPDX-License-Identifier: Apache-2.0
// vmem.c - see vmem.h.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "sim/backend/torn.h"
#include "sim/backend/vmem.h"

#define HUGETLBFS_MAGIC 0x958458f6

bool vmem_is_file(int fd)
{
	return fcntl(fd, F_GET_SEALS) >= 0;
}

static bool ranges_meet(uint64_t a, uint64_t b, uint64_t a_len, uint64_t b_len)
{
	return a < b + b_len && b < a + a_len;
}

/* Addresses and sizes, before the file is looked at. */
static int check_range(const struct vmem *m, const struct vmem_policy *p, uint64_t gpa,
		       uint64_t uva, uint64_t size, uint64_t off)
{
	uint64_t max = p->bytes_max ? p->bytes_max : VMEM_BYTES_MAX;

	if (!size || gpa + size < gpa || uva + size < uva || off + size < off)
		return -EINVAL;
	if (off + size > INT64_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_region *r = &m->region[i];

		if (ranges_meet(gpa, r->gpa, size, r->size) ||
		    ranges_meet(uva, r->uva, size, r->size))
			return -EEXIST;
	}
	return m->n == VMEM_REGIONS || size > max || m->bytes > max - size ? -E2BIG : 0;
}

/* The file's kind, rights and length; *page gets the unit it is mapped in. */
static int check_file(const struct vmem_policy *p, int fd, uint64_t end, uint64_t *page,
		      struct vmem_region *r)
{
	int seals = fcntl(fd, F_GET_SEALS), flags = fcntl(fd, F_GETFL);
	struct statfs fs;
	struct stat st;

	if (seals < 0 || flags < 0 || (flags & O_PATH))
		return -EINVAL;
	if ((flags & O_ACCMODE) != O_RDWR || (p->sealed && !(seals & F_SEAL_SHRINK)))
		return -EPERM;
	if (fstat(fd, &st) < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < end)
		return -EINVAL;
	r->backed = (uint64_t)st.st_blocks * 512 >= r->size;
	*page = (uint32_t)fs.f_type == HUGETLBFS_MAGIC ? (uint64_t)fs.f_bsize : 4096;
	return 0;
}

static int map_region(struct vmem *m, struct vmem_region *r, uint64_t off, uint64_t page, int fd)
{
	uint64_t start = off & ~(page - 1), end = (off + r->size + page - 1) & ~(page - 1);

	r->map_len = end - start;
	r->map = mmap(NULL, r->map_len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd,
		      (off_t)start);
	if (r->map == MAP_FAILED)
		return -errno;
	/* A core dump of ours is no place for a pod's memory. */
	madvise(r->map, r->map_len, MADV_DONTDUMP);
	r->host = (uint8_t *)r->map + (off - start);
	r->slot = torn_watch(r->map, r->map_len, &m->torn);
	if (r->slot < 0) {
		munmap(r->map, r->map_len);
		return r->slot;
	}
	return 0;
}

int vmem_add(struct vmem *m, const struct vmem_policy *policy, uint64_t gpa, uint64_t uva,
	     uint64_t size, uint64_t off, int fd)
{
	struct vmem_region r = { .gpa = gpa, .uva = uva, .size = size };
	uint64_t page = 4096;
	unsigned i;
	int rc;

	rc = check_range(m, policy, gpa, uva, size, off);
	if (rc == 0)
		rc = check_file(policy, fd, off + size, &page, &r);
	if (rc == 0)
		rc = map_region(m, &r, off, page, fd);
	if (rc < 0)
		return rc;
	for (i = m->n; i > 0 && m->region[i - 1].gpa > gpa; i--)
		m->region[i] = m->region[i - 1];
	m->region[i] = r;
	m->n++;
	m->bytes += size;
	return 0;
}

static void unmap_region(struct vmem_region *r)
{
	torn_forget(r->slot);
	munmap(r->map, r->map_len);
}

int vmem_remove(struct vmem *m, uint64_t gpa, uint64_t uva, uint64_t size)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct vmem_region *r = &m->region[i];

		if (r->gpa != gpa || r->uva != uva || r->size != size)
			continue;
		unmap_region(r);
		m->n--;
		m->bytes -= size;
		memmove(r, r + 1, (m->n - i) * sizeof(*r));
		return 0;
	}
	return -ENOENT;
}

void vmem_clear(struct vmem *m)
{
	while (m->n)
		unmap_region(&m->region[--m->n]);
	m->bytes = 0;
	__atomic_store_n(&m->torn, false, __ATOMIC_RELEASE);
}

const struct vmem_region *vmem_find(const struct vmem *m, uint64_t gpa)
{
	unsigned low = 0, high = m->n;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (gpa - m->region[mid].gpa < m->region[mid].size)
			return &m->region[mid];
		if (gpa < m->region[mid].gpa)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

void *vmem_at(const struct vmem *m, uint64_t gpa, uint64_t len)
{
	const struct vmem_region *r = vmem_find(m, gpa);

	if (!r || len > r->size - (gpa - r->gpa))
		return NULL;
	return r->host + (gpa - r->gpa);
}

void *vmem_at_uva(const struct vmem *m, uint64_t uva, uint64_t len)
{
	for (unsigned i = 0; i < m->n; i++) {
		const struct vmem_region *r = &m->region[i];

		if (uva - r->uva < r->size)
			return len > r->size - (uva - r->uva) ? NULL : r->host + (uva - r->uva);
	}
	return NULL;
}
