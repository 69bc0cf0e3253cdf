/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ioremote.h - the waist between two processes of a container: the one that holds a function
 * serves it (ioserve.c) to others that were given its descriptors or opened its files (ioremote.c).
 *
 * A holder listens on an abstract socket named after the configuration file's identity and the
 * function's address, so that only processes that see the same bus find each other; both sides
 * check that the other is of the same user or root. One packet a request, one a reply, in order.
 * What a secondary process cannot do from afar is to lend memory of its own or to take interrupts:
 * DPDK's do neither, for their memory is the primary's and so are the interrupts.
 */
#ifndef PMD_SHIM_IOREMOTE_H
#define PMD_SHIM_IOREMOTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct ioapi_func;

enum remote_op { REMOTE_READ, REMOTE_WRITE, REMOTE_RESET, REMOTE_MEMORY, REMOTE_OPS };

struct remote_request {
	uint32_t op;			/* enum remote_op */
	uint32_t region, size;		/* of an access */
	uint32_t pad;
	uint64_t off, val;
	uint64_t dev, ino, len;		/* REMOTE_MEMORY: [off, off + len) of that file */
};

/* REMOTE_MEMORY: the memory is at `val` in the file whose descriptor comes along. */
struct remote_reply {
	int32_t  rc;
	uint32_t pad;
	uint64_t val;
};

#define REMOTE_NAME_MAX 64		/* of a socket, its leading zero included */
#define REMOTE_WAIT_S   5		/* for a reply: longer than any register access */

/* The name's length, or -errno. */
int remote_name(const struct ioapi_func *f, char name[REMOTE_NAME_MAX]);
/* Whether who is at the other end of a socket is of our user. */
bool remote_trusts(int fd);

/* ---- holder; shim_lock held ---------------------------------------------------------------- */

/*
 * From now on others find f here; *listen_fd is kept until remote_hide(). A failure is
 * only told: the process can do without guests.
 */
void remote_show(struct ioapi_func *f, int *listen_fd);
void remote_hide(int *listen_fd);
void remote_child(void);		/* in a forked child: the thread is the parent's */

/* ---- guest --------------------------------------------------------------------------------- */

/* A connection to f's holder, kept; -ENOENT if there is none. */
int remote_connect(const struct ioapi_func *f);
/* Makes one request; may be called in a trap. The connection's lock is the caller's. */
int remote_call(int fd, const struct remote_request *q, struct remote_reply *r);
/* The same; on success *got is a descriptor that came along, or -1. */
int remote_call_fd(int fd, const struct remote_request *q, struct remote_reply *r, int *got);

#endif
