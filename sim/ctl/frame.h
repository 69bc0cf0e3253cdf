/* SPDX-License-Identifier: Apache-2.0 */
/*
 * frame.h - messages on a stream: four bytes of length, least significant first, then as many
 * bytes. Both directions have a hard bound; a peer that exceeds it is cut off.
 */
#ifndef SIM_CTL_FRAME_H
#define SIM_CTL_FRAME_H

#include <stddef.h>
#include <stdint.h>

#define CTL_HEAD 4
#define CTL_REQUEST_MAX 16384		/* bytes of a request */
#define CTL_REPLY_MAX 65536		/* of one reply */

/* Bytes on their way: [off, n) of buf hold them. It grows from `room` to max as it has to. */
struct ctl_buf {
	uint8_t *buf;
	size_t   off, n, room, max;
};

int  ctl_buf_new(struct ctl_buf *b, size_t max);	/* -ENOMEM */
void ctl_buf_free(struct ctl_buf *b);

/* Reads what is there; bytes, 0 at the end of the stream, -EAGAIN, -ENOBUFS when full, -errno. */
int  ctl_buf_read(struct ctl_buf *b, int fd);
/* Writes what it holds; 0 when all went, -EAGAIN when some is left, -errno. */
int  ctl_buf_write(struct ctl_buf *b, int fd);

/*
 * The next whole frame: 1 and *p, *len (good until the next read), 0 if there is none yet,
 * -EMSGSIZE if it announces more than len_max.
 */
int  ctl_frame_next(struct ctl_buf *b, size_t len_max, const uint8_t **p, size_t *len);

/* Room for a frame of len bytes at the end; NULL if it would not fit. Fill it all. */
uint8_t *ctl_frame_add(struct ctl_buf *b, size_t len);

#endif
