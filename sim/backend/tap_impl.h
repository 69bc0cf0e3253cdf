/* SPDX-License-Identifier: Apache-2.0 */
/* tap_impl.h - the inside of a TAP port, shared by tap_setup.c and tap_uring.c. */
#ifndef SIM_BACKEND_TAP_IMPL_H
#define SIM_BACKEND_TAP_IMPL_H

#include <liburing.h>

#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/backend/tap.h"

#define TAP_HDR 12			/* virtio_net_hdr_v1, what TUNSETVNETHDRSZ is set to */
#define TAP_BUF (TAP_HDR + FRAME_MAX + 7)

struct tap_queue {
	struct poller_source src;	/* first: from the source to its queue */
	struct tap *t;
	int fd;
	uint8_t *buf;			/* TAP_BURST of TAP_BUF bytes */
	unsigned depth;			/* reads to post next time */
	unsigned empty, skip;		/* times nothing was there; takes to leave out */
	bool more;			/* the last burst was full */
};

struct tap {
	struct port p;			/* first */
	struct poller *poller;
	unsigned queues;
	bool uring;
	int rw_flags;
	struct io_uring in;		/* the owner's */
	struct io_uring out;		/* under out_lock: anybody's who gives */
	uint32_t out_lock;
	uint64_t row[PORT_COUNTERS];
	uint64_t enters, completions;
	struct tap_queue queue[];
};

/* tap_setup.c: opens all queues and configures the interface. On failure the caller frees. */
int tap_open(struct tap *t, const struct tap_config *cfg, struct err *e);

#endif
