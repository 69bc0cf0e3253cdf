// SPDX-License-Identifier: Apache-2.0
// frame.c - see frame.h.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/ctl/frame.h"

int ctl_buf_new(struct ctl_buf *b, size_t max)
{
	*b = (struct ctl_buf){ .buf = malloc(max), .max = max };
	return b->buf ? 0 : -ENOMEM;
}

void ctl_buf_free(struct ctl_buf *b)
{
	free(b->buf);
	*b = (struct ctl_buf){ .buf = NULL };
}

static void compact(struct ctl_buf *b)
{
	if (b->off) {
		memmove(b->buf, b->buf + b->off, b->n - b->off);
		b->n -= b->off;
		b->off = 0;
	}
}

int ctl_buf_read(struct ctl_buf *b, int fd)
{
	ssize_t n;

	compact(b);
	if (b->n == b->max)
		return -ENOBUFS;
	do {
		n = recv(fd, b->buf + b->n, b->max - b->n, 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	b->n += (size_t)n;
	return (int)n;
}

int ctl_buf_write(struct ctl_buf *b, int fd)
{
	while (b->off < b->n) {
		ssize_t n = send(fd, b->buf + b->off, b->n - b->off, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		b->off += (size_t)n;
	}
	b->off = b->n = 0;
	return 0;
}

int ctl_frame_next(struct ctl_buf *b, size_t len_max, const uint8_t **p, size_t *len)
{
	const uint8_t *h = b->buf + b->off;
	size_t have = b->n - b->off, want;

	if (have < CTL_HEAD)
		return 0;
	want = h[0] | (size_t)h[1] << 8 | (size_t)h[2] << 16 | (size_t)h[3] << 24;
	if (want > len_max)
		return -EMSGSIZE;
	if (have < CTL_HEAD + want)
		return 0;
	*p = h + CTL_HEAD;
	*len = want;
	b->off += CTL_HEAD + want;
	return 1;
}

uint8_t *ctl_frame_add(struct ctl_buf *b, size_t len)
{
	uint8_t *h;

	compact(b);
	if (len > UINT32_MAX || len + CTL_HEAD > b->max - b->n)
		return NULL;
	h = b->buf + b->n;
	for (unsigned i = 0; i < CTL_HEAD; i++)
		h[i] = (uint8_t)(len >> (8 * i));
	b->n += CTL_HEAD + len;
	return h + CTL_HEAD;
}
