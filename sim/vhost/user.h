/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user.h - what user.c (the socket and its life) and user_msg.c (messages) share.
 */
#ifndef SIM_VHOST_USER_H
#define SIM_VHOST_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/vhost_user_wire.h"
#include "sim/core/log.h"
#include "sim/vhost/transport.h"

#define USER_PENDING_MAX 64	/* acknowledgements that may be on their way */

/* Why a peer was let go; each is a counter and a sentence in the log. */
enum user_cause {
	USER_EOF, USER_TIMEOUT, USER_SEND, USER_RECV,
	USER_BAD_HEADER, USER_BAD_SIZE, USER_BAD_VALUE, USER_STRAY_FDS, USER_UNASKED,
	USER_REFUSED, USER_DROPPED, USER_CAUSES,
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
	int      awaited;		/* errno told about the missing peer, 0: none */
	struct log_limit may_log;

	/* of the peer */
	uint64_t protocol;		/* negotiated protocol features */
	bool     bit30;			/* VU_F_PROTOCOL_FEATURES offered */
	bool     unsure;		/* without REPLY_ACK: something was sent since a reply */
	uint32_t pending[USER_PENDING_MAX];	/* requests whose acknowledgement is to come */
	unsigned pending_n;		/* 0 whenever the lock is free */

	uint64_t connects, clients_refused, sent, received, nacks;
	uint64_t causes[USER_CAUSES];
};

/* Cuts the peer off; the caller returns the -errno this returns. user.c. */
int user_cut(struct vhost_user *u, enum user_cause cause, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* ---- user_msg.c ----------------------------------------------------------------------------- */

struct user_call {
	enum vu_request request;
	const void     *payload;
	uint32_t        size;		/* of the payload, where the row leaves it open */
	const int      *fds;
	unsigned        fds_n;
	union vu_payload *reply;	/* where the request has one */
};

/* Sends a request and takes what the row says follows it. Returns as vhost_ops do. */
int user_call(struct vhost_user *u, const struct user_call *c);

/* 0 nothing pending, 1 bytes are, or -errno (-ECONNRESET for EOF). */
int user_peek(int fd);

/*
 * Asks a new peer for its features and does not wait: a back-end may look at its socket only at its
 * next tick, which no register access should sit through. user_hello() takes the answer.
 */
int user_court(struct vhost_user *u);

/* The verbs, for the ops table. */
int user_hello(struct vhost_transport *t, struct vhost_peer *peer);
int user_sync(struct vhost_transport *t);
int user_set_features(struct vhost_transport *t, uint64_t features);
int user_set_memory(struct vhost_transport *t, const struct space_region *r, unsigned n);
int user_ring_setup(struct vhost_transport *t, unsigned ring, const struct vhost_ring_addr *a);
int user_ring_fd(struct vhost_transport *t, unsigned ring, enum vhost_fd which, int fd);
int user_ring_enable(struct vhost_transport *t, unsigned ring, bool on);
int user_ring_stop(struct vhost_transport *t, unsigned ring, uint32_t *base);
int user_set_mtu(struct vhost_transport *t, uint16_t mtu);
int user_set_status(struct vhost_transport *t, uint8_t status);
int user_get_status(struct vhost_transport *t, uint8_t *status);
int user_get_config(struct vhost_transport *t, void *buf, unsigned off, unsigned len);

#endif
