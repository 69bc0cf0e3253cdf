// SPDX-License-Identifier: Apache-2.0
// dma.c - coalesced memory is known; for the rest /proc says which file is mapped where.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "include/ioapi.h"
#include "pmd-shim/coalesce.h"
#include "pmd-shim/dma.h"
#include "pmd-shim/maps.h"
#include "pmd-shim/real.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"

#define FDS_BYTES (DMA_FDS_MAX * sizeof(struct fd_row))
#define OPENED_MAX 64		/* files without a descriptor in the process, in one mapping */

struct fd_row {
	dev_t    dev;
	uint64_t ino;
	int      fd;
};

/* All of it under shim_lock. */
static struct {
	uint64_t va, iova, end;		/* what is not yet found */
	struct ioapi_dma pieces[DMA_PIECES_MAX];
	unsigned n;
	struct fd_row *fds;		/* DMA_FDS_MAX rows, mapped when first needed in a call */
	unsigned n_fds;
	int opened[OPENED_MAX];		/* by us, to be closed after */
	unsigned n_opened;
	int lack;			/* -errno: no room to look for a file; 0: there was */
} look;

static bool file_of(int fd, dev_t *dev, uint64_t *ino)
{
	struct stat st;

	if (sys_call(SYS_fstat, fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	*dev = st.st_dev;
	*ino = st.st_ino;
	return true;
}

/* A descriptor the back-end could map for writing. */
static void note_fd(int fd)
{
	struct fd_row *row = &look.fds[look.n_fds];
	long mode = sys_call(SYS_fcntl, fd, F_GETFL);

	if (look.n_fds == DMA_FDS_MAX || mode < 0 || (mode & O_ACCMODE) != O_RDWR)
		return;
	if (!file_of(fd, &row->dev, &row->ino))
		return;
	row->fd = fd;
	look.n_fds++;
}

struct dirent_head {		/* linux_dirent64, which has no header */
	uint64_t       ino;
	int64_t        off;
	unsigned short len;
	unsigned char  type;
	char           name[];
};

static int number_of(const char *name)
{
	int n = 0;

	if (*name < '0' || *name > '9')
		return -1;
	for (; *name >= '0' && *name <= '9'; name++)
		n = n * 10 + (*name - '0');
	return n;
}

static void list_fds(void)
{
	long dir = sys_call(SYS_open, "/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n;
	char buf[2048] __attribute__((aligned(8)));
	void *rows;

	look.lack = dir < 0 ? (int)dir : 0;
	if (dir < 0)
		return;
	rows = real.mmap(NULL, FDS_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	look.fds = rows == MAP_FAILED ? NULL : rows;
	look.lack = look.fds ? 0 : -ENOMEM;
	while (look.fds && (n = sys_call(SYS_getdents64, (int)dir, buf, sizeof(buf))) > 0) {
		for (long at = 0; at < n;) {
			struct dirent_head *d = (struct dirent_head *)(buf + at);
			int fd = number_of(d->name);

			if (fd >= 0 && fd != dir)
				note_fd(fd);
			at += d->len;
		}
	}
	sys_call(SYS_close, (int)dir);
}

/* Opens a path and keeps the descriptor till the end if it is the mapped file. */
static int try_path(const char *path, const struct maps_row *r)
{
	uint64_t ino;
	dev_t dev;
	long fd;

	if (look.n_opened == OPENED_MAX)
		return -1;
	fd = sys_call(SYS_open, path, O_RDWR | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd_is_lack(fd))
		look.lack = (int)fd;
	if (fd < 0)
		return -1;
	if (!file_of((int)fd, &dev, &ino) || dev != r->dev || ino != r->ino) {
		sys_call(SYS_close, (int)fd);
		return -1;
	}
	look.opened[look.n_opened++] = (int)fd;
	return (int)fd;
}

/* A descriptor of the mapped file: the process's own, or by its name, or through map_files. */
static int fd_of(const struct maps_row *r)
{
	char link[80];
	int fd;

	if (!look.fds)
		list_fds();
	for (unsigned i = 0; i < look.n_fds; i++)
		if (look.fds[i].ino == r->ino && look.fds[i].dev == r->dev)
			return look.fds[i].fd;
	fd = r->path[0] == '/' ? try_path(r->path, r) : -1;
	if (fd >= 0)
		return fd;
	/* Only with CAP_CHECKPOINT_RESTORE. */
	snprintf(link, sizeof(link), "/proc/self/map_files/%llx-%llx",
		 (unsigned long long)r->start, (unsigned long long)r->end);
	return try_path(link, r);
}

/* Adds [look.va, look.va + len), which is off in fd, to the last piece or as a new one. */
static int add_piece(int fd, uint64_t off, uint64_t len)
{
	struct ioapi_dma *p = look.n ? &look.pieces[look.n - 1] : NULL;

	if (p && p->fd == fd && p->off + p->size == off) {
		p->size += len;
	} else {
		if (look.n == DMA_PIECES_MAX)
			return -E2BIG;
		look.pieces[look.n++] = (struct ioapi_dma){
			.iova = look.iova, .size = len, .va = (void *)(uintptr_t)look.va,
			.fd = fd, .off = off,
		};
	}
	look.va += len;
	look.iova += len;
	return 0;
}

static int refuse(const char *what)
{
	log_error("dma", "memory at 0x%llx is %s and cannot be lent to a device: use hugepages, or "
		  "the EAL options --in-memory or --no-huge", (unsigned long long)look.va, what);
	return -EFAULT;
}

static int take_mapping(const struct maps_row *r, void *arg)
{
	uint64_t end = r->end < look.end ? r->end : look.end;
	int fd;

	if (r->start > look.va)
		return refuse("not mapped");
	if (!r->shared)
		return refuse(r->ino ? "a private mapping" : "private");
	fd = fd_of(r);
	if (fd < 0 && look.lack) {
		log_error("dma", "memory at 0x%llx: its file cannot be found for want of %s",
			  (unsigned long long)look.va, look.lack == -ENOMEM ? "memory" :
			  "descriptors: raise the limit (ulimit -n)");
		return look.lack;
	}
	if (fd < 0)
		return refuse("of a file that cannot be opened");
	return add_piece(fd, r->off + (look.va - r->start), end - look.va);
}

static int find_pieces(void)
{
	int fd, rc;

	while (look.va < look.end) {
		uint64_t off, len = coalesce_find(look.va, look.end - look.va, &fd, &off);
		uint64_t before = look.va;

		if (len) {
			rc = add_piece(fd, off, len);
			if (rc < 0)
				return rc;
			continue;
		}
		/* The rest, which may run into coalesced memory: those are files like others. */
		rc = maps_walk(look.va, look.end, take_mapping, NULL);
		if (rc < 0)
			return rc;
		if (look.va == before)
			return refuse("not mapped");
	}
	return 0;
}

static void look_begin(uint64_t va, uint64_t iova, uint64_t size)
{
	look.va = va;
	look.iova = iova;
	look.end = va + size;
	look.n = look.n_opened = look.n_fds = 0;
	look.fds = NULL;
	look.lack = 0;
}

static void look_end(void)
{
	for (unsigned i = 0; i < look.n_opened; i++)
		sys_call(SYS_close, look.opened[i]);
	if (look.fds)
		real.munmap(look.fds, FDS_BYTES);
}

int dma_map(struct ioapi_domain *d, uint64_t va, uint64_t iova, uint64_t size)
{
	int rc;

	if (va + size < va)
		return -EINVAL;
	look_begin(va, iova, size);
	rc = find_pieces();
	if (!rc)
		rc = ioapi_dma_map(d, look.pieces, look.n);
	look_end();
	return rc;
}

/* ---- hugepages ----------------------------------------------------------------------------- */

struct huge_walk {
	struct dma_range *out;
	unsigned n, max;
};

/* By a descriptor of the process, else by the name: nothing is opened to find out. */
static bool is_huge(const struct maps_row *r)
{
	struct statfs fs;
	struct stat st;

	if (!look.fds)
		list_fds();
	for (unsigned i = 0; i < look.n_fds; i++)
		if (look.fds[i].ino == r->ino && look.fds[i].dev == r->dev)
			return !sys_call(SYS_fstatfs, look.fds[i].fd, &fs) &&
			       fs.f_type == HUGETLBFS_MAGIC;
	return r->path[0] == '/' && !sys_call(SYS_statfs, r->path, &fs) &&
	       fs.f_type == HUGETLBFS_MAGIC && !sys_call(SYS_stat, r->path, &st) &&
	       st.st_dev == r->dev && st.st_ino == r->ino;
}

static int note_huge(const struct maps_row *r, void *arg)
{
	struct huge_walk *w = arg;

	if (!r->shared || !r->ino || !is_huge(r))
		return 0;
	if (w->n && w->out[w->n - 1].end == r->start)
		w->out[w->n - 1].end = r->end;
	else if (w->n < w->max)
		w->out[w->n++] = (struct dma_range){ r->start, r->end };
	return 0;
}

unsigned dma_find_huge(struct dma_range *out, unsigned max)
{
	struct huge_walk w = { .out = out, .max = max };

	look_begin(0, 0, 0);
	maps_walk(0, UINT64_MAX, note_huge, &w);
	look_end();
	return w.n;
}
