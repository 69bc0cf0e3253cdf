// SPDX-License-Identifier: Apache-2.0
// space.c - regions in an array sorted by IOVA, over a table of counted files.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/mem/space.h"

#define PAGE 4096u

struct piece {
	uint64_t iova, size, va, off;
	unsigned file;
};

/* The slot is free while fd is 0: a kept descriptor never is. */
struct file {
	uint64_t dev, ino;
	int      access, fd;
	unsigned refs;			/* pieces; 0 with an fd: waits for space_reap() */
};

struct space {
	struct lock  lock;
	unsigned     count;		/* pieces */
	unsigned     files_top;		/* slots that were ever used */
	unsigned     file_last;		/* where the previous piece came from: so does the next */
	struct piece piece[SPACE_PIECES_MAX];
	struct file  file[SPACE_PIECES_MAX];
};

int space_new(struct space **out)
{
	struct space *s = fault_pages(sizeof(*s));

	if (!s)
		return -ENOMEM;
	*out = s;
	return 0;
}

static void drop_files(struct space *s, bool all)
{
	for (unsigned i = 0; i < s->files_top; i++) {
		struct file *f = &s->file[i];

		if (!f->fd || (f->refs && !all))
			continue;
		fd_drop(&f->fd);
		*f = (struct file){ 0 };
	}
}

void space_free(struct space *s)
{
	if (!s)
		return;
	drop_files(s, true);
	fault_pages_free(s, sizeof(*s));
}

void space_orphan(struct space *s)
{
	s->lock = (struct lock){ 0 };	/* its holder, if any, was not forked */
	drop_files(s, true);
	s->count = s->files_top = s->file_last = 0;
}

/* Index of the first piece that ends above iova; count if none does. */
static unsigned find(const struct space *s, uint64_t iova)
{
	unsigned lo = 0, hi = s->count;

	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;

		if (s->piece[mid].iova + s->piece[mid].size <= iova)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

static void insert(struct space *s, unsigned at, const struct piece *p)
{
	memmove(&s->piece[at + 1], &s->piece[at], (s->count - at) * sizeof(*p));
	s->piece[at] = *p;
	s->count++;
	s->file[p->file].refs++;
}

static void erase(struct space *s, unsigned at)
{
	struct file *f = &s->file[s->piece[at].file];

	assert(f->refs);
	f->refs--;
	s->count--;
	memmove(&s->piece[at], &s->piece[at + 1], (s->count - at) * sizeof(s->piece[0]));
}

/* ---- files --------------------------------------------------------------------------------- */

static bool same_file(const struct file *a, const struct file *b)
{
	return a->fd && a->ino == b->ino && a->dev == b->dev && a->access == b->access;
}

/* The slot of the file behind fd, a new one (with no reference yet) if need be, or -errno. */
static int file_get(struct space *s, int fd)
{
	struct file want = { 0 };
	unsigned slot = s->files_top;
	struct stat st;
	long rc;

	rc = sys_call(SYS_fstat, fd, &st);
	if (rc < 0)
		return (int)rc;
	rc = sys_call(SYS_fcntl, fd, F_GETFL);
	if (rc < 0)
		return (int)rc;
	want.dev = st.st_dev;
	want.ino = st.st_ino;
	want.access = (int)rc & O_ACCMODE;

	if (same_file(&s->file[s->file_last], &want))
		return (int)s->file_last;
	for (unsigned i = s->files_top; i-- > 0; ) {
		if (same_file(&s->file[i], &want))
			return (int)(s->file_last = i);
		if (!s->file[i].fd)
			slot = i;
	}
	if (slot == SPACE_PIECES_MAX)
		return -E2BIG;
	want.fd = fd_keep_dup(fd);
	if (want.fd < 0)
		return want.fd;
	s->file[slot] = want;
	if (slot == s->files_top)
		s->files_top++;
	return (int)(s->file_last = slot);
}

/* ---- map and unmap ------------------------------------------------------------------------- */

static bool continues(const struct piece *a, const struct piece *b)
{
	return a->file == b->file && a->iova + a->size == b->iova &&
	       a->va + a->size == b->va && a->off + a->size == b->off;
}

static bool sound(const struct space_region *r)
{
	return r->size && !((r->iova | r->size | r->va | r->off) & (PAGE - 1)) &&
	       r->iova + r->size > r->iova && r->va + r->size > r->va &&
	       r->off + r->size > r->off;
}

static int map_one(struct space *s, const struct space_region *r)
{
	struct piece p = { .iova = r->iova, .size = r->size, .va = r->va, .off = r->off };
	unsigned at;
	int file;

	if (!sound(r))
		return -EINVAL;
	at = find(s, r->iova);
	if (at < s->count && s->piece[at].iova < r->iova + r->size)
		return -EEXIST;
	file = file_get(s, r->fd);
	if (file < 0)
		return file;
	p.file = (unsigned)file;

	if (at > 0 && continues(&s->piece[at - 1], &p)) {
		s->piece[at - 1].size += p.size;
		if (at < s->count && continues(&s->piece[at - 1], &s->piece[at])) {
			s->piece[at - 1].size += s->piece[at].size;
			erase(s, at);
		}
	} else if (at < s->count && continues(&p, &s->piece[at])) {
		p.size += s->piece[at].size;
		s->piece[at].iova = p.iova;
		s->piece[at].size = p.size;
		s->piece[at].va = p.va;
		s->piece[at].off = p.off;
	} else if (s->count == SPACE_PIECES_MAX) {
		return -E2BIG;
	} else {
		insert(s, at, &p);
	}
	return 0;
}

static void trim_front(struct piece *p, uint64_t n)
{
	p->iova += n;
	p->va += n;
	p->off += n;
	p->size -= n;
}

/* Takes what of the piece at `at` lies in [iova, end); *gone: another piece is there now. */
static uint64_t cut(struct space *s, unsigned at, uint64_t iova, uint64_t end, bool *gone)
{
	struct piece *p = &s->piece[at], rest = *p;
	uint64_t lo = iova > p->iova ? iova : p->iova;
	uint64_t p_end = p->iova + p->size;
	uint64_t hi = end < p_end ? end : p_end;

	*gone = false;
	if (lo == p->iova && hi == p_end) {
		erase(s, at);
		*gone = true;
	} else if (lo == p->iova) {
		trim_front(p, hi - lo);
	} else {
		p->size = lo - p->iova;
		if (hi < p_end) {
			trim_front(&rest, hi - rest.iova);
			insert(s, at + 1, &rest);
		}
	}
	return hi - lo;
}

/* With no room to split a region in two nothing is taken. */
static uint64_t unmap_range(struct space *s, uint64_t iova, uint64_t end)
{
	unsigned at = find(s, iova);
	uint64_t taken = 0;

	if (at < s->count && s->piece[at].iova < iova && s->count == SPACE_PIECES_MAX &&
	    s->piece[at].iova + s->piece[at].size > end)
		return 0;
	while (at < s->count && s->piece[at].iova < end) {
		bool gone;

		taken += cut(s, at, iova, end, &gone);
		if (!gone)
			at++;
	}
	return taken;
}

int space_map(struct space *s, const struct space_region *pieces, unsigned n)
{
	unsigned done;
	int rc;

	if (!n)
		return -EINVAL;
	rc = lock_take(&s->lock);
	if (rc)
		return rc;
	for (done = 0; done < n; done++) {
		rc = map_one(s, &pieces[done]);
		if (rc)
			break;
	}
	if (rc) {
		/* Backwards, so that a split finds the room its merge had made. */
		while (done-- > 0)
			unmap_range(s, pieces[done].iova, pieces[done].iova + pieces[done].size);
	}
	lock_drop(&s->lock);
	return rc;
}

uint64_t space_unmap(struct space *s, uint64_t iova, uint64_t size)
{
	uint64_t end = iova + size, taken;

	if (end < size)
		end = UINT64_MAX;
	end &= ~(uint64_t)(PAGE - 1);
	if ((iova & (PAGE - 1)) || iova >= end || lock_take(&s->lock))
		return 0;
	taken = unmap_range(s, iova, end);
	lock_drop(&s->lock);
	return taken;
}

void space_reap(struct space *s)
{
	if (lock_take(&s->lock))
		return;
	drop_files(s, false);
	lock_drop(&s->lock);
}

/* ---- looking ------------------------------------------------------------------------------- */

unsigned space_snapshot(struct space *s, struct space_region *out, unsigned max)
{
	unsigned n;

	if (lock_take(&s->lock))
		return 0;
	n = s->count;
	for (unsigned i = 0; i < n && i < max; i++) {
		const struct piece *p = &s->piece[i];

		out[i] = (struct space_region){
			.iova = p->iova, .size = p->size, .va = p->va, .off = p->off,
			.fd = s->file[p->file].fd,
		};
	}
	lock_drop(&s->lock);
	return n;
}

void *space_at(struct space *s, uint64_t iova, uint64_t len)
{
	void *va = NULL;
	unsigned at;

	if (lock_take(&s->lock))
		return NULL;
	at = find(s, iova);
	if (at < s->count) {
		const struct piece *p = &s->piece[at];
		uint64_t skip = iova - p->iova;

		if (p->iova <= iova && len <= p->size - skip)
			va = (void *)(uintptr_t)(p->va + skip);
	}
	lock_drop(&s->lock);
	return va;
}
