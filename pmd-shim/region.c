// SPDX-License-Identifier: Apache-2.0
// region.c - cuts a byte range into register accesses.
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "include/ioapi.h"
#include "pmd-shim/func.h"
#include "pmd-shim/real.h"
#include "pmd-shim/region.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/trap.h"

#define PAGE 4096u

/* The bus answers these for an access no register takes; the others mean the device is lost. */
static int hide_refusal(int rc)
{
	return rc == -ENXIO || rc == -EPERM || rc == -EINVAL ? 0 : rc;
}

/* The largest that is aligned and not too long. */
static unsigned piece_size(uint64_t off, size_t n)
{
	unsigned aligned = 1u << __builtin_ctz((unsigned)off | 8);
	unsigned fits = n >= 8 ? 8 : 1u << (31 - __builtin_clz((unsigned)n));

	return aligned < fits ? aligned : fits;
}

/* Eight bytes over two four-byte registers are two accesses, as on a 32-bit bus. */
static int read_piece(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size,
		      uint64_t *val)
{
	uint64_t high = 0;
	int rc = func_read(f, region, off, size, val);

	if (rc != -ENXIO || size != 8)
		return hide_refusal(rc);
	rc = hide_refusal(func_read(f, region, off, 4, val));
	if (!rc)
		rc = hide_refusal(func_read(f, region, off + 4, 4, &high));
	*val = (*val & UINT32_MAX) | high << 32;
	return rc;
}

static int write_piece(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size,
		       uint64_t val)
{
	int rc = func_write(f, region, off, size, val);

	if (rc != -ENXIO || size != 8)
		return hide_refusal(rc);
	rc = hide_refusal(func_write(f, region, off, 4, val & UINT32_MAX));
	return rc ? rc : hide_refusal(func_write(f, region, off + 4, 4, val >> 32));
}

/* Bytes of [off, off + n) inside the region, or -EINVAL. */
static ssize_t clamp(struct ioapi_func *f, unsigned region, uint64_t off, size_t n)
{
	struct ioapi_region r;

	if (ioapi_region(f, region, &r) < 0 || off > r.size || !r.size)
		return -EINVAL;
	return (ssize_t)(n < r.size - off ? n : r.size - off);
}

ssize_t region_read(struct ioapi_func *f, unsigned region, uint64_t off, void *buf, size_t n)
{
	ssize_t len = clamp(f, region, off, n), done = 0;
	uint8_t *out = buf;

	while (done < len) {
		unsigned size = piece_size(off + (uint64_t)done, (size_t)(len - done));
		uint64_t val = ~UINT64_C(0);
		int rc = read_piece(f, region, off + (uint64_t)done, size, &val);

		if (rc < 0)
			return done ? done : rc;
		memcpy(out + done, &val, size);
		done += size;
	}
	return len;
}

ssize_t region_write(struct ioapi_func *f, unsigned region, uint64_t off, const void *buf,
		     size_t n)
{
	ssize_t len = clamp(f, region, off, n), done = 0;
	const uint8_t *in = buf;

	while (done < len) {
		unsigned size = piece_size(off + (uint64_t)done, (size_t)(len - done));
		uint64_t val = 0;
		int rc;

		memcpy(&val, in + done, size);
		rc = write_piece(f, region, off + (uint64_t)done, size, val);
		if (rc < 0)
			return done ? done : rc;
		done += size;
	}
	return len;
}

#define PLACEMENT (MAP_FIXED | MAP_FIXED_NOREPLACE | MAP_32BIT)

long region_mmap(struct ioapi_func *f, unsigned region, uint64_t off, void *addr, size_t len,
		 int flags)
{
	struct ioapi_region r;
	bool held;
	void *at;
	int rc;

	len = (len + PAGE - 1) & ~(size_t)(PAGE - 1);
	if (!shim_bus_open() || region > IOAPI_BAR5 || ioapi_region(f, region, &r) < 0 ||
	    (r.flags & IOAPI_F_PIO) || !(flags & MAP_SHARED) || !len || off % PAGE ||
	    off >= r.size || len > r.size - off)
		return -EINVAL;
	held = (flags & MAP_FIXED) && trap_hold(addr, len);
	at = real.mmap(addr, len, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | (flags & PLACEMENT), -1, 0);
	rc = at == MAP_FAILED ? -errno : trap_add(at, len, f, region, off);
	if (at != MAP_FAILED && rc < 0)
		real.munmap(at, len);
	trap_let(held);
	return rc < 0 ? rc : (long)at;
}
