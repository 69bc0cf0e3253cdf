// SPDX-License-Identifier: Apache-2.0
// coalesce.c - files by base address, ranges sorted by address; see coalesce.h.
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/magic.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "include/ioapi.h"
#include "pmd-shim/coalesce.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/func.h"
#include "pmd-shim/real.h"
#include "pmd-shim/shim.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"

struct file {
	int       fd;			/* meaningful while page is not 0 */
	uintptr_t base;
	uint64_t  size, page;
};

struct range {
	uintptr_t    start, end;
	struct file *file;
};

static struct file files[COALESCE_FILES_MAX];
static unsigned n_files;		/* slots that were ever used */
static struct range ranges[COALESCE_RANGES_MAX];	/* sorted, disjoint, neighbours merged */
static unsigned n_ranges;
static struct lock changes;
static bool told_fallback;

bool coalesce_any(void)
{
	return __atomic_load_n(&n_ranges, __ATOMIC_RELAXED) != 0;
}

/* ---- ranges (lock held) -------------------------------------------------------------------- */

/* Index of the first range that ends after addr. */
static unsigned range_from(uintptr_t addr)
{
	unsigned lo = 0, hi = n_ranges;

	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;

		if (ranges[mid].end <= addr)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void range_insert(unsigned at, struct range r)
{
	memmove(&ranges[at + 1], &ranges[at], (n_ranges - at) * sizeof(r));
	ranges[at] = r;
	__atomic_store_n(&n_ranges, n_ranges + 1, __ATOMIC_RELAXED);
}

static void range_remove(unsigned at)
{
	__atomic_store_n(&n_ranges, n_ranges - 1, __ATOMIC_RELAXED);
	memmove(&ranges[at], &ranges[at + 1], (n_ranges - at) * sizeof(ranges[0]));
}

/* The range is free of others. */
static void range_add(uintptr_t start, uintptr_t end, struct file *file)
{
	unsigned at = range_from(start);

	if (at && ranges[at - 1].end == start && ranges[at - 1].file == file) {
		ranges[--at].end = end;
	} else if (at < n_ranges && ranges[at].start == end && ranges[at].file == file) {
		ranges[at].start = start;
	} else {
		range_insert(at, (struct range){ start, end, file });
		return;
	}
	if (at + 1 < n_ranges && ranges[at + 1].start == ranges[at].end &&
	    ranges[at + 1].file == file) {
		ranges[at].end = ranges[at + 1].end;
		range_remove(at + 1);
	}
}

/* ---- what stands for what (lock held) ------------------------------------------------------ */

static struct origin {
	dev_t     dev;
	uint64_t  ino, off, len;
	uintptr_t addr, frame;		/* where it is, and where it was mapped first */
} *origins;				/* COALESCE_ORIGINS_MAX of them, mapped when needed */
static unsigned n_origins;
static unsigned n_moved;		/* of them: frame is not addr */

/* One that is not remembered is only not found by others. */
static void origin_add(const struct origin *o)
{
	if (!origins) {
		void *p = real.mmap(NULL, COALESCE_ORIGINS_MAX * sizeof(*origins),
				    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return;
		origins = p;
	}
	if (n_origins == COALESCE_ORIGINS_MAX)
		return;
	origins[n_origins++] = *o;
	if (o->frame != o->addr)
		__atomic_store_n(&n_moved, n_moved + 1, __ATOMIC_RELAXED);
}

/* What is cut is forgotten as a whole: drivers unmap what they mapped. */
static void origins_cut(uintptr_t start, uintptr_t end)
{
	for (unsigned i = 0; i < n_origins;) {
		if (origins[i].addr >= end || start >= origins[i].addr + origins[i].len) {
			i++;
			continue;
		}
		if (origins[i].frame != origins[i].addr)
			__atomic_store_n(&n_moved, n_moved - 1, __ATOMIC_RELAXED);
		origins[i] = origins[--n_origins];
	}
}

/* The origin at va, or NULL and where the next begins. Most often it is the one after the last. */
static const struct origin *origin_at(uint64_t va, uint64_t *next)
{
	static unsigned last;

	for (unsigned i = 0; i < n_origins; i++) {
		const struct origin *o = &origins[(last + i) % n_origins];

		if (va - o->addr < o->len) {
			last = (unsigned)(o - origins);
			return o;
		}
		if (o->addr > va && o->addr < *next)
			*next = o->addr;
	}
	return NULL;
}

uint64_t coalesce_frame(uint64_t va, uint64_t *run)
{
	const struct origin *o;
	uint64_t frame = va, next = UINT64_MAX;

	*run = UINT64_MAX - va;
	if (!__atomic_load_n(&n_moved, __ATOMIC_RELAXED) || lock_take(&changes))
		return va;
	o = origin_at(va, &next);
	if (o)
		frame = o->frame + (va - o->addr);
	*run = o ? o->addr + o->len - va : next - va;
	lock_drop(&changes);
	return frame;
}

static const struct origin *origin_find(dev_t dev, uint64_t ino, uint64_t off, uint64_t len)
{
	for (unsigned i = 0; i < n_origins; i++) {
		const struct origin *o = &origins[i];

		if (o->ino == ino && o->dev == dev && off >= o->off && off - o->off < o->len &&
		    len <= o->len - (off - o->off))
			return o;
	}
	return NULL;
}

int coalesce_origin(dev_t dev, uint64_t ino, uint64_t off, uint64_t len, int *fd, uint64_t *at)
{
	const struct origin *o;
	unsigned i;
	int rc = -ENOENT;

	if (lock_take(&changes))
		return -EDEADLK;
	o = origin_find(dev, ino, off, len);
	i = o ? range_from(o->addr) : n_ranges;
	if (i < n_ranges && ranges[i].start <= o->addr && o->addr + o->len <= ranges[i].end) {
		*fd = ranges[i].file->fd;
		*at = o->addr - ranges[i].file->base + (off - o->off);
		rc = 0;
	}
	lock_drop(&changes);
	return rc;
}

static void punch(const struct file *f, uintptr_t start, uintptr_t end)
{
	sys_call(SYS_fallocate, f->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		 (off_t)(start - f->base), (off_t)(end - start));
}

/* Room for one range more is left by coalesce_mmap(), which a cut in the middle may take. */
static void range_cut(uintptr_t start, uintptr_t end, bool give_back)
{
	unsigned i = range_from(start);

	if (i < n_ranges && ranges[i].start < end)
		origins_cut(start, end);
	while (i < n_ranges && ranges[i].start < end) {
		struct range was = ranges[i];
		uintptr_t from = was.start > start ? was.start : start;
		uintptr_t to = was.end < end ? was.end : end;

		if (give_back)
			punch(was.file, from, to);
		range_remove(i);
		if (was.start < from)
			range_insert(i++, (struct range){ was.start, from, was.file });
		if (to < was.end && n_ranges < COALESCE_RANGES_MAX)
			range_insert(i++, (struct range){ to, was.end, was.file });
	}
}

uint64_t coalesce_find(uint64_t va, uint64_t len, int *fd, uint64_t *off)
{
	uint64_t found = 0;
	unsigned i;

	if (!coalesce_any() || lock_take(&changes))
		return 0;
	i = range_from(va);
	if (i < n_ranges && ranges[i].start <= va) {
		found = ranges[i].end - va < len ? ranges[i].end - va : len;
		*fd = ranges[i].file->fd;
		*off = va - ranges[i].file->base;
	}
	lock_drop(&changes);
	return found;
}

/* ---- files (lock held) --------------------------------------------------------------------- */

/* A nameless file in the directory the original is or was in, if that is the same mount. */
static long open_beside(int original)
{
	char link[40], path[PATH_MAX], *slash;
	struct stat want, got;
	long n, fd;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", original);
	n = sys_call(SYS_readlink, link, path, sizeof(path) - 1);
	if (n <= 0 || path[0] != '/')
		return -ENOENT;
	path[n] = '\0';
	slash = strrchr(path, '/');
	slash[slash == path] = '\0';
	fd = sys_call(SYS_open, path, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return fd;
	if (sys_call(SYS_fstat, original, &want) < 0 || sys_call(SYS_fstat, (int)fd, &got) < 0 ||
	    want.st_dev != got.st_dev) {
		sys_call(SYS_close, (int)fd);
		return -EXDEV;
	}
	return fd;
}

/* Sealed: a back-end need not fear that the file shrinks under it. */
static long open_memfd(uint64_t page)
{
	unsigned log2 = (unsigned)__builtin_ctzll(page);
	long fd = sys_call(SYS_memfd_create, "podpci:memory",
			   MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB | log2 << MFD_HUGE_SHIFT);

	if (fd >= 0)
		sys_call(SYS_fcntl, (int)fd, F_ADD_SEALS, F_SEAL_SHRINK);
	return fd;
}

static struct file *file_new(uintptr_t base, uint64_t page, int original)
{
	struct file *f = files;
	long fd;

	while (f < files + n_files && f->page)
		f++;
	if (f == files + COALESCE_FILES_MAX)
		return NULL;
	fd = open_beside(original);
	if (fd < 0)
		fd = open_memfd(page);
	if (fd >= 0)
		fd = fd_keep((int)fd);
	if (fd < 0)
		return NULL;
	*f = (struct file){ .fd = (int)fd, .base = base, .page = page };
	if (f == files + n_files)
		n_files++;
	return f;
}

static bool file_fits(const struct file *f, uintptr_t addr, uint64_t page)
{
	return f->page == page && addr >= f->base &&
	       addr - f->base <= f->size + COALESCE_GAP_MAX;
}

/* The file of the memory right before or after, so that they are one; else any in reach. */
static struct file *file_for(uintptr_t addr, size_t len, uint64_t page, int original)
{
	unsigned i = range_from(addr);

	if (i && ranges[i - 1].end == addr && file_fits(ranges[i - 1].file, addr, page))
		return ranges[i - 1].file;
	if (i < n_ranges && ranges[i].start <= addr + len &&
	    file_fits(ranges[i].file, addr, page))
		return ranges[i].file;
	for (i = 0; i < n_files; i++)
		if (file_fits(&files[i], addr, page))
			return &files[i];
	return file_new(addr, page, original);
}

static void file_drop(struct file *f)
{
	f->page = 0;
	fd_drop(&f->fd);
}

static void drop_unused_files(void)
{
	for (struct file *f = files; f < files + n_files; f++) {
		unsigned i = 0;

		while (i < n_ranges && ranges[i].file != f)
			i++;
		if (f->page && i == n_ranges)
			file_drop(f);
	}
}

static void forget(const void *addr, size_t len, bool give_back)
{
	uintptr_t start = (uintptr_t)addr;
	unsigned i;

	if (!coalesce_any() || lock_take(&changes))
		return;
	i = range_from(start);
	if (i < n_ranges && ranges[i].start < start + len && fdtab_owned()) {
		range_cut(start, start + len, give_back);
		drop_unused_files();
	}
	lock_drop(&changes);
}

void coalesce_forget(const void *addr, size_t len)
{
	forget(addr, len, true);
}

void coalesce_leave(const void *addr, size_t len)
{
	forget(addr, len, false);
}

/* ---- originals ----------------------------------------------------------------------------- */

/* Files this process mapped at no fixed address: it may have touched their pages itself. */
static struct noted {
	uint64_t  key;			/* 0: free */
	uintptr_t start;		/* of the file, where it was mapped last */
} *noted;				/* open addressing */
static unsigned n_noted;

static uint64_t key_of(const struct stat *st)
{
	return (uint64_t)st->st_ino ^ (uint64_t)st->st_dev << 44 ^ UINT64_C(1) << 63;
}

static struct noted *slot_of(uint64_t key)
{
	uint64_t i = key * UINT64_C(0x9e3779b97f4a7c15) >> 48;

	_Static_assert(COALESCE_NOTED_MAX == 65536, "16 bits of hash");
	while (noted[i].key && noted[i].key != key)
		i = (i + 1) % COALESCE_NOTED_MAX;
	return &noted[i];
}

static const struct noted *noted_of(const struct stat *st)
{
	const struct noted *n = noted ? slot_of(key_of(st)) : NULL;

	return n && n->key ? n : NULL;
}

/* Lock held. */
static void note(const struct stat *st, uintptr_t start)
{
	struct noted *slot;

	if (!noted) {
		void *p = real.mmap(NULL, COALESCE_NOTED_MAX * sizeof(*noted),
				    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (p == MAP_FAILED)
			return;
		noted = p;
	}
	slot = slot_of(key_of(st));
	if (!slot->key && n_noted == COALESCE_NOTED_MAX / 2)
		return;
	n_noted += !slot->key;
	*slot = (struct noted){ key_of(st), start };
}

static bool is_zero(int fd, off_t off, size_t len)
{
	uint64_t *p = real.mmap(NULL, len, PROT_READ, MAP_SHARED, fd, off);
	size_t i = 0;

	if (p == MAP_FAILED)
		return false;
	while (i < len / sizeof(*p) && !p[i])
		i++;
	real.munmap(p, len);
	return i == len / sizeof(*p);
}

/* Whether the original's pages hold nothing; pages the process allocated are given up then. */
static bool is_empty(int fd, const struct stat *st, off_t off, size_t len)
{
	if (!st->st_blocks)
		return true;
	if (!noted_of(st) || !is_zero(fd, off, len))
		return false;
	return sys_call(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, off,
			(off_t)len) == 0;
}

/* ---- mapping ------------------------------------------------------------------------------- */

/* The page size if fd is a hugetlbfs file and memory is to be coalesced, else 0. */
static uint64_t wanted(int flags, int fd)
{
	struct ioapi_bus *bus;
	struct statfs fs;

	if ((flags & MAP_TYPE) != MAP_SHARED || fd < 0 || (flags & MAP_ANONYMOUS) ||
	    !shim_present() || fd_is_kept(fd))
		return 0;
	if (sys_call(SYS_fstatfs, fd, &fs) < 0 || fs.f_type != HUGETLBFS_MAGIC)
		return 0;
	bus = shim_bus();
	return bus && ioapi_bus_func(bus, 0) && shim_option("coalesce") ? (uint64_t)fs.f_bsize : 0;
}

static void tell_fallback(int rc)
{
	if (told_fallback)
		return;
	told_fallback = true;
	log_warn("memory", "cannot coalesce hugepages (%s): a back-end may be offered more "
		 "regions than it takes", strerror(-rc));
}

/* Lock held. Maps the file at its place for addr, and makes it as long as that takes. */
static int map_file(struct file *f, uintptr_t addr, size_t len, int prot, int flags)
{
	uint64_t off = addr - f->base, end = off + len;
	long rc = end > f->size ? sys_call(SYS_ftruncate, f->fd, (off_t)end) : 0;

	if (rc < 0)
		return (int)rc;
	f->size = end > f->size ? end : f->size;
	return real.mmap((void *)addr, len, prot, flags, f->fd, (off_t)off) == MAP_FAILED ?
	       -errno : 0;
}

/* Lock held. A file that was made for this and not mapped is given up again. */
static long map_here(uintptr_t addr, size_t len, int prot, int flags, int fd, uint64_t page)
{
	struct file *f;
	int rc;

	if (!(flags & MAP_FIXED_NOREPLACE))	/* which is refused where there is something */
		range_cut(addr, addr + len, true);
	f = n_ranges + 2 > COALESCE_RANGES_MAX ? NULL : file_for(addr, len, page, fd);
	rc = f ? map_file(f, addr, len, prot, flags) : -ENOMEM;
	if (!rc) {
		range_add(addr, addr + len, f);
		return (long)addr;
	}
	if (rc != -EEXIST)
		tell_fallback(rc);
	drop_unused_files();
	return COALESCE_NOT_OURS;
}

/* The original's place is taken by memory of another process: that is what it means, then. */
static long map_anothers(void *addr, size_t len, int prot, int flags, const struct stat *st,
			 uint64_t off)
{
	uint64_t at;
	int fd = func_memory(st->st_dev, st->st_ino, off, len, &at);
	void *p;

	if (fd < 0)
		return fd == -ENOENT ? COALESCE_NOT_OURS : fd;
	p = real.mmap(addr, len, prot, flags, fd, (off_t)at);
	sys_call(SYS_close, fd);
	return p == MAP_FAILED ? -errno : (long)p;
}

/* Lock held. Wherever the kernel puts it. */
static long map_anywhere(void *addr, size_t len, int prot, int flags, int fd, off_t off,
			 const struct stat *st)
{
	void *at = real.mmap(addr, len, prot, flags, fd, off);

	if (at == MAP_FAILED)
		return -errno;
	note(st, (uintptr_t)at - (uintptr_t)off);
	return (long)at;
}

long coalesce_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	uint64_t page = wanted(flags, fd);
	const struct noted *n;
	struct origin o;
	struct stat st;
	long at;

	if (!page || !len || sys_call(SYS_fstat, fd, &st) < 0)
		return COALESCE_NOT_OURS;
	/* Without the lock: the other process may be asking us. */
	at = map_anothers(addr, len, prot, flags, &st, (uint64_t)off);
	if (at != COALESCE_NOT_OURS || lock_take(&changes))
		return at;
	if (!(flags & (MAP_FIXED | MAP_FIXED_NOREPLACE))) {
		at = map_anywhere(addr, len, prot, flags, fd, off, &st);
	} else if (!(((uintptr_t)addr | len | (uint64_t)off) % page) &&
		   is_empty(fd, &st, off, len)) {
		n = noted_of(&st);
		o = (struct origin){ st.st_dev, st.st_ino, (uint64_t)off, len, (uintptr_t)addr,
				     n ? n->start + (uintptr_t)off : (uintptr_t)addr };
		at = map_here((uintptr_t)addr, len, prot, flags, fd, page);
		if (at != COALESCE_NOT_OURS)
			origin_add(&o);
	}
	lock_drop(&changes);
	return at;
}

void coalesce_fork_begin(void)
{
	lock_take(&changes);
}

void coalesce_fork_end(bool child)
{
	if (child) {
		__atomic_store_n(&n_ranges, 0, __ATOMIC_RELAXED);
		n_origins = n_moved = 0;
		drop_unused_files();
	}
	lock_drop(&changes);
}
