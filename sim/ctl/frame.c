// SPDX-License-Identifier: Apache-2.0
// frame.c - see frame.h.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "sim/core/sys.h"
#include "sim/ctl/frame.h"

#define FIRST_BYTES 4096	/* most are never larger; an answer may be megabytes */

int ctl_buf_new(struct ctl_buf *b, size_t max)
{
	size_t room = max < FIRST_BYTES ? max : FIRST_BYTES;

	*b = (struct ctl_buf){ .buf = malloc(room), .room = room, .max = max };
	return b->buf ? 0 : -ENOMEM;
}

/* Room for n more bytes, within max. */
static int grow(struct ctl_buf *b, size_t n)
{
	size_t room = b->room;
	uint8_t *buf;

	if (n > b->max - b->n)
		return -ENOBUFS;
	while (room - b->n < n)
		room = room > b->max / 2 ? b->max : 2 * room;
	if (room == b->room)
		return 0;
	buf = realloc(b->buf, room);
	if (!buf)
		return -ENOMEM;
	b->buf = buf;
	b->room = room;
	return 0;
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
	long n;
	int rc;

	compact(b);
	rc = grow(b, 1);
	if (rc)
		return rc;
	do {
		n = sys_call(SYS_recvfrom, fd, b->buf + b->n, b->room - b->n, 0, NULL, NULL);
	} while (n == -EINTR);
	if (n > 0)
		b->n += (size_t)n;
	return (int)n;
}

int ctl_buf_write(struct ctl_buf *b, int fd)
{
	while (b->off < b->n) {
		long n = sys_call(SYS_sendto, fd, b->buf + b->off, b->n - b->off, MSG_NOSIGNAL,
				  NULL, 0);

		if (n == -EINTR)
			continue;
		if (n < 0)
			return (int)n;
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
	if (len > UINT32_MAX || grow(b, len + CTL_HEAD))
		return NULL;
	h = b->buf + b->n;
	for (unsigned i = 0; i < CTL_HEAD; i++)
		h[i] = (uint8_t)(len >> (8 * i));
	b->n += CTL_HEAD + len;
	return h + CTL_HEAD;
}
