// SPDX-License-Identifier: Apache-2.0
// dirty.c - see dirty.h. The file is looked at through a window, where it has data at all.
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/mem/dirty.h"

#define PAGE   4096u
#define WINDOW (1u << 20)	/* bytes of the bitmap mapped at once */

/* Called for each word of a window that has bits; takes what it wants of them. */
typedef void (*word_fn)(uint64_t *word, uint64_t word_idx, void *ctx);

int dirty_open(struct dirty *d)
{
	long fd = fault_now() ? -EMFILE : sys_call(SYS_memfd_create, "podpci-dirty",
						   MFD_CLOEXEC | MFD_ALLOW_SEALING);

	*d = (struct dirty){ .fd = -1 };
	if (fd >= 0)
		fd = fd_keep((int)fd);
	if (fd < 0)
		return (int)fd;
	d->fd = (int)fd;
	/* Who is given the descriptor must not be able to pull pages from under us. */
	fd = sys_call(SYS_fcntl, d->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_SEAL);
	if (fd < 0)
		dirty_close(d);
	return (int)fd;
}

void dirty_close(struct dirty *d)
{
	fd_drop(&d->fd);
	d->bytes = 0;
}

int dirty_cover(struct dirty *d, uint64_t top)
{
	uint64_t bits = top / DIRTY_PAGE + (top % DIRTY_PAGE != 0);
	uint64_t bytes = (bits / 8 + (bits % 8 != 0) + PAGE - 1) & ~(uint64_t)(PAGE - 1);
	long rc;

	if (bytes <= d->bytes)
		return 0;
	rc = sys_call(SYS_ftruncate, d->fd, bytes);
	if (!rc)
		d->bytes = bytes;
	return (int)rc;
}

static int window(const struct dirty *d, uint64_t off, uint64_t len, uint64_t **word)
{
	long p = fault_now() ? -ENOMEM : sys_call(SYS_mmap, NULL, len, PROT_READ | PROT_WRITE,
						  MAP_SHARED, d->fd, off);

	if (p < 0 && p > -(long)PAGE)
		return (int)p;
	*word = (uint64_t *)(uintptr_t)p;
	return 0;
}

/* Bits [from, to), all in one page of the bitmap. */
static int mark_bits(struct dirty *d, uint64_t from, uint64_t to)
{
	uint64_t off = from / 8 & ~(uint64_t)(PAGE - 1), *word;
	int rc = window(d, off, PAGE, &word);

	if (rc)
		return rc;
	for (uint64_t bit = from - off * 8; bit < to - off * 8; bit++)
		__atomic_fetch_or(&word[bit / 64], UINT64_C(1) << bit % 64, __ATOMIC_RELEASE);
	sys_call(SYS_munmap, word, PAGE);
	return 0;
}

int dirty_mark(struct dirty *d, uint64_t addr, uint64_t len)
{
	uint64_t last = addr + len - 1, bit = addr / DIRTY_PAGE, end = last / DIRTY_PAGE + 1;
	int rc = 0;

	if (!len)
		return 0;
	if (last < addr || end > d->bytes * 8)
		return -ERANGE;
	while (!rc && bit < end) {
		uint64_t stop = (bit / (PAGE * 8) + 1) * (PAGE * 8);

		stop = stop < end ? stop : end;
		rc = mark_bits(d, bit, stop);
		bit = stop;
	}
	return rc;
}

static int look(const struct dirty *d, uint64_t off, uint64_t len, word_fn fn, void *ctx)
{
	uint64_t *word;
	int rc = window(d, off, len, &word);

	if (rc)
		return rc;
	for (uint64_t i = 0; i < len / sizeof(*word); i++)
		if (__atomic_load_n(&word[i], __ATOMIC_RELAXED))
			fn(&word[i], off / sizeof(*word) + i, ctx);
	sys_call(SYS_munmap, word, len);
	return 0;
}

/* Each word with bits in it, window by window, holes left out. */
static int each_word(const struct dirty *d, word_fn fn, void *ctx)
{
	uint64_t off = 0;
	int rc = 0;

	while (!rc && off < d->bytes) {
		long data = sys_call(SYS_lseek, d->fd, off, SEEK_DATA), hole;
		uint64_t len;

		if (data == -ENXIO)
			return 0;
		hole = data < 0 ? data : sys_call(SYS_lseek, d->fd, data, SEEK_HOLE);
		if (hole < 0)
			return (int)hole;
		off = (uint64_t)data & ~(uint64_t)(PAGE - 1);
		len = (uint64_t)hole - off;
		len = len > WINDOW ? WINDOW : (len + PAGE - 1) & ~(uint64_t)(PAGE - 1);
		if (off >= d->bytes)
			return 0;
		len = len > d->bytes - off ? d->bytes - off : len;
		rc = look(d, off, len, fn, ctx);
		off += len;
	}
	return rc;
}

struct tell {
	void (*page)(void *ctx, uint64_t addr);
	void *ctx;
};

static void take_word(uint64_t *word, uint64_t word_idx, void *ctx)
{
	uint64_t bits = __atomic_exchange_n(word, 0, __ATOMIC_ACQ_REL);
	const struct tell *t = ctx;

	for (; bits; bits &= bits - 1)
		t->page(t->ctx, (word_idx * 64 + (unsigned)__builtin_ctzll(bits)) * DIRTY_PAGE);
}

int dirty_harvest(struct dirty *d, void (*page)(void *ctx, uint64_t addr), void *ctx)
{
	struct tell t = { page, ctx };

	return each_word(d, take_word, &t);
}

static void copy_word(uint64_t *word, uint64_t word_idx, void *ctx)
{
	uint64_t bits = __atomic_load_n(word, __ATOMIC_ACQUIRE);
	int fd = *(int *)ctx;

	/* Nobody else writes there yet. */
	if (sys_call(SYS_pwrite64, fd, &bits, sizeof(bits), word_idx * sizeof(bits)) < 0)
		*(int *)ctx = -1;
}

int dirty_add(struct dirty *to, const struct dirty *from)
{
	int fd = to->fd, rc = each_word(from, copy_word, &fd);

	return rc ? rc : fd < 0 ? -EIO : 0;
}
