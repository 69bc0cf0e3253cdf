// SPDX-License-Identifier: Apache-2.0
// vqueue_copy.c - the payload copy in each register width, and which of all variants runs here.
#include "sim/backend/vqueue_hot.h"

#define LIBC_FROM 4096		/* from here on libc knows better */

HOT void copy(void *dst, const void *src, size_t n, const unsigned W)
{
	uint8_t *d = dst;
	const uint8_t *s = src;
	size_t off = 0;

	if (n <= 64) {
		copy_small(d, s, n);
		return;
	}
	if (n >= LIBC_FROM) {
		memcpy(d, s, n);
		return;
	}
	for (; off + 64 < n; off += 64)
		copy64(d + off, s + off, W);
	copy64(d + n - 64, s + n - 64, W);
}

void vqueue_copy_16(void *dst, const void *src, size_t n)
{
	copy(dst, src, n, 16);
}

W32_TARGET void vqueue_copy_32(void *dst, const void *src, size_t n)
{
	copy(dst, src, n, 32);
}

W64_TARGET void vqueue_copy_64(void *dst, const void *src, size_t n)
{
	copy(dst, src, n, 64);
}

const struct vqueue_ops *vqueue_pick(bool packed, unsigned width)
{
	const struct vqueue_ops *ops = packed ? vqueue_packed_ops : vqueue_split_ops;

	if (!width)
		width = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") ?
			64 : __builtin_cpu_supports("avx2") ? 32 : 16;
	return width == 64 ? &ops[2] : width == 32 ? &ops[1] : &ops[0];
}
