/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.h - what the parts of the vhost-user transport share: user.c (the socket and its life),
 * user_verbs.c (what is said), user_msg.c (a request and its answer), user_io.c (bytes) and
 * user_back.c (what the back-end asks of us).
 */
#ifndef SIM_VHOST_USER_H
#define SIM_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/vhost_user_wire.h"
#include "sim/core/log.h"
#include "sim/vhost/transport.h"

#define BIT(n)           (UINT64_C(1) << (n))
#define USER_PENDING_MAX 64	/* acknowledgements that may be on their way */

/* Why a peer was let go; each is a counter and a sentence in the log. */
enum user_cause {
	USER_EOF, USER_TIMEOUT, USER_SEND, USER_RECV,
	USER_BAD_HEADER, USER_BAD_SIZE, USER_BAD_VALUE, USER_STRAY_FDS, USER_UNASKED,
	USER_REFUSED, USER_DROPPED, USER_STRANGER, USER_CAUSES,
};

/* The back-end's own channel; see user_back.c. */
struct user_back {
	struct loop_source source;	/* requests; timer: a pause ends, news is due */
	int      fd;			/* our end, -1: none */
	bool     paused;		/* it asked too much: not read before window_ms ends */
	bool     changed;		/* it has news of its configuration */
	uint64_t window_ms;
	unsigned spent;			/* requests taken in this window */
	/* the request that is coming in */
	uint8_t  in[sizeof(struct vu_header) + sizeof(union vu_payload)];
	uint32_t got;
	int      fds[VU_FDS_MAX];
	unsigned fds_n;
};

struct vhost_user {
	struct vhost_transport t;
	struct loop_source conn;	/* the peer's socket: EOF, bytes nobody asked for */
	struct loop_source door;	/* the listening socket */
	struct loop_source retry;	/* a timer */
	int      fd, listen_fd;
	bool     open;
	bool     courting;		/* fd asked for its features, not yet found() */
	dev_t    path_dev;		/* of our listening socket's file */
	ino_t    path_ino;
	unsigned delay_ms;		/* before the next attempt */
	uint64_t jitter;		/* random state */
	uid_t    peer_uid;		/* of the first back-end since open(), (uid_t)-1: none */
	int      awaited;		/* errno told about the missing peer, 0: none */
	struct log_limit may_log;

	/* of the peer */
	uint64_t protocol;		/* negotiated protocol features */
	bool     bit30;			/* VU_F_PROTOCOL_FEATURES offered */
	bool     unsure;		/* without REPLY_ACK: something was sent since a reply */
	uint32_t pending[USER_PENDING_MAX];	/* requests whose acknowledgement is to come */
	unsigned pending_n;		/* 0 whenever the lock is free */
	struct user_back back;

	uint64_t back_served, back_refused, back_lost, back_pauses;
	uint64_t connects, clients_refused, sent, received, nacks;
	uint64_t causes[USER_CAUSES];
};

/* Cuts the peer off; the caller returns the -errno this returns. user.c. */
int user_cut(struct vhost_user *u, enum user_cause cause, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- user_io.c ------------------------------------------------------------------------------ */

struct iovec;
struct msghdr;

/* 0 nothing pending, 1 bytes are, or -errno (-ECONNRESET for EOF). */
int user_peek(int fd);
/* All of it by the deadline, or the peer is cut off. `name` is for the log. */
int user_send_all(struct vhost_user *u, const char *name, struct iovec *iov, unsigned iov_n,
		  const int *fds, unsigned fds_n);
/* *fd: in -1, out a descriptor that came along; NULL: none may. */
int user_take_all(struct vhost_user *u, const char *name, void *buf, size_t len, int *fd);
int user_cut_io(struct vhost_user *u, const char *name, bool sending, long rc);

/* ---- user_msg.c ----------------------------------------------------------------------------- */

struct user_call {
	enum vu_request request;
	const void     *payload;
	uint32_t        size;		/* of the payload, where the row leaves it open */
	const int      *fds;
	unsigned        fds_n;
	union vu_payload *reply;	/* where the request has one */
	int            *fd;		/* likewise a descriptor: in -1, out the caller's */
};

/* Sends a request and takes what the row says follows it. Returns as vhost_ops do. */
int user_call(struct vhost_user *u, const struct user_call *c);
/* All so far is done, or something was refused. */
int user_sync(struct vhost_transport *t);
/* The peer lacks what a request needs. */
bool user_lacks(const struct vhost_user *u, enum vu_request request);

/*
 * Asks a new peer for its features and does not wait: a back-end may look at its socket only at its
 * next tick, which no register access should sit through. user_courted() takes the answer.
 */
int user_court(struct vhost_user *u);
int user_courted(struct vhost_user *u, uint64_t *features);

/* Tells those who follow; user_trace.c. `ack`: the payload is an acknowledgement's. */
void user_tell(struct vhost_user *u, bool sent, enum vu_request request, const char *name,
	       const void *payload, uint32_t size, bool ack);

/* ---- user_back.c ---------------------------------------------------------------------------- */

int  back_open(struct vhost_user *u, int *theirs);
void back_close(struct vhost_user *u);
int  back_fd(const struct vhost_user *u);	/* to wait on, or -1 */
void back_hear(struct vhost_user *u);
void back_ready(struct loop_source *s, uint32_t events);

/* ---- user_verbs.c: struct vhost_ops --------------------------------------------------------- */

int user_hello(struct vhost_transport *t, struct vhost_peer *peer);
int user_set_features(struct vhost_transport *t, uint64_t features);
int user_set_memory(struct vhost_transport *t, const struct space_region *r, unsigned n);
int user_memory_add(struct vhost_transport *t, const struct space_region *r);
int user_memory_del(struct vhost_transport *t, const struct space_region *r);
int user_ring_setup(struct vhost_transport *t, unsigned ring, const struct vhost_ring_addr *a);
int user_ring_addr(struct vhost_transport *t, unsigned ring, const struct vhost_ring_addr *a);
int user_ring_fd(struct vhost_transport *t, unsigned ring, enum vhost_fd which, int fd);
int user_ring_enable(struct vhost_transport *t, unsigned ring, bool on);
int user_ring_stop(struct vhost_transport *t, unsigned ring, uint32_t *base);
int user_set_mtu(struct vhost_transport *t, uint16_t mtu);
int user_set_status(struct vhost_transport *t, uint8_t status);
int user_get_status(struct vhost_transport *t, uint8_t *status);
int user_get_config(struct vhost_transport *t, void *buf, unsigned off, unsigned len);
int user_announce(struct vhost_transport *t, const uint8_t *mac);
int user_reset(struct vhost_transport *t);
int user_set_log(struct vhost_transport *t, int fd, uint64_t size);
int user_inflight_new(struct vhost_transport *t, struct vhost_inflight *i);
int user_inflight_set(struct vhost_transport *t, const struct vhost_inflight *i);

#endif
