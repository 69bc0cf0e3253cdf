/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vus.h - the inside of a vhost-user port: one session at a time, and its rings.
 *
 *	vus.c		the port: its ops, which rings take and give reach
 *	vus_sock.c	sockets: listen, connect, whole messages in, replies out
 *	vus_msg.c	the table of messages: what must hold before a handler runs
 *	vus_ring.c	handlers that concern rings and memory
 *
 * A session: IDLE (no socket) -> LISTENING or DIALLING -> TALKING (a peer is connected). Rings
 * run inside TALKING: a ring starts when its size, addresses and kick are known and its memory
 * is mapped, and stops with GET_VRING_BASE, a reset, or the end of the session. It carries
 * frames while it is enabled too.
 *
 * What a peer sends is judged in this order: header; the row of its request (size, number of
 * descriptors, negotiated bits, ring index, state of rings); then the handler judges values.
 * A request that is refused is answered so if the peer asked for an answer, else the session
 * ends: it would go on as if it had been granted. Descriptors that no handler took are closed.
 */
#ifndef SIM_BACKEND_VUS_H
#define SIM_BACKEND_VUS_H

#include <pthread.h>
#include <sys/un.h>

#include "include/backend.h"
#include "include/vhost_user_wire.h"
#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/backend/vlog.h"
#include "sim/backend/vmem.h"
#include "sim/backend/vqueue.h"
#include "sim/core/log.h"

#define VUS_RINGS_MAX	(2 * VUS_PAIRS_MAX)
#define VUS_MESSAGES	16		/* handled in one go before others get their turn */
#define VUS_OUT_BYTES	4096		/* replies a peer may leave unread */
#define VUS_RETRY_MS	100		/* first reconnection; doubles up to ... */
#define VUS_RETRY_MAX_MS 5000
#define VUS_STALL_MS	10000		/* a message begun must be whole by then */
#define VUS_ACCEPTS	8		/* connections taken per second */
#define VUS_WAIT_MS	5		/* asleep so long, closing what a peer sent: on purpose */
#define VUS_PENALTY_MS	30000		/* no session for a socket whose peer made us wait */
#define VUS_PAUSE_MS	100		/* no accepting after one too many, or without resources */

struct vus;

struct vus_ring {
	struct vqueue   q;
	struct vu_addr  addr;
	uint16_t        num;
	uint32_t        base;
	bool            addressed, enabled;
	bool            discards;	/* was switched off while it ran */
	int             kick_fd, call_fd, err_fd;
	struct poller_source kick;
	struct vus     *v;
};

/* A request being read or handled. Descriptors not taken are closed behind the handler. */
struct vus_msg {
	struct vu_header h;
	union vu_payload p;
	unsigned nfds;
	int      fd[VU_FDS_MAX];
	unsigned reply_size;		/* set by a handler whose row says REPLY */
	int      reply_fd;		/* sent along and closed; -1 */
};

struct vus {
	struct port p;			/* first */
	struct vus_config cfg;
	char     path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	struct poller *poller;
	uint64_t now_ms;		/* of the last tick */
	pthread_t thread;		/* the owner's, while attached */
	bool     armed;			/* the peer is to kick */

	struct poller_source listen, conn;
	int      listen_fd;
	bool     bound;			/* the path is ours to unlink */
	bool     delays;		/* the peer made a call of ours wait: it has to go */
	bool     paused;		/* not accepting until then */
	uint64_t resume_at_ms;
	uint64_t retry_at_ms, retry_ms;
	unsigned accepts;		/* in this second */
	uint64_t accepts_since_ms;

	/* the session; reset by vus_cut() */
	struct vus_msg m;
	size_t   got;			/* bytes of m.h and then of m.p */
	uint64_t began_ms;		/* when the first of them came; 0: none */
	uint8_t  out[VUS_OUT_BYTES];
	size_t   out_n;
	uint64_t features, protocol;
	bool     featured, owned;
	bool     resumes;		/* SET_INFLIGHT_FD: rings go on where they stand */
	uint8_t  status;
	uint16_t peer_mtu;
	struct vmem *mem;
	struct vlog log;
	int      request_fd;		/* SET_BACKEND_REQ_FD */

	/* which rings frames go to; indices into ring[] */
	uint8_t  take_map[VUS_PAIRS_MAX], give_map[VUS_PAIRS_MAX];
	uint64_t row[PORT_COUNTERS];
	struct log_limit complaints;
	unsigned nrings;
	struct vus_ring ring[];
};

/* ---- vus_sock.c */
int  vus_listen(struct vus *v);
void vus_dial(struct vus *v);
void vus_unlisten(struct vus *v);
void vus_conn_ready(struct poller_source *s, uint32_t events);
/* Ends the session; why NULL: the peer left. The port goes on listening or dialling. */
void vus_cut(struct vus *v, const char *why);
/* Sends m->h, m->p, m->reply_fd, or keeps them until the socket takes them. -errno: cut. */
int  vus_reply(struct vus *v, struct vus_msg *m);
void vus_close_fds(struct vus *v, struct vus_msg *m);
/* Closes what came from a peer and is of no kind we know; notes it if that takes time. */
void vus_close_foreign(struct vus *v, int fd);
/* One bounded line in the log about this peer. */
void vus_complain(struct vus *v, const char *request, const char *why);

/* ---- vus_msg.c */
/* Judges and handles the whole message in v->m. -errno: the session must end. */
int  vus_handle(struct vus *v);
/* The largest payload any request may have; the size a request may have, or false. */
bool vus_size_fits(uint32_t request, uint32_t size);

/* ---- vus_ring.c */
int  vus_set_mem_table(struct vus *v, struct vus_msg *m);
int  vus_add_mem(struct vus *v, struct vus_msg *m);
int  vus_rem_mem(struct vus *v, struct vus_msg *m);
int  vus_set_num(struct vus *v, struct vus_msg *m);
int  vus_set_addr(struct vus *v, struct vus_msg *m);
int  vus_set_base(struct vus *v, struct vus_msg *m);
int  vus_get_base(struct vus *v, struct vus_msg *m);
int  vus_set_kick(struct vus *v, struct vus_msg *m);
int  vus_set_call(struct vus *v, struct vus_msg *m);
int  vus_set_err(struct vus *v, struct vus_msg *m);
int  vus_set_enable(struct vus *v, struct vus_msg *m);
int  vus_set_log_base(struct vus *v, struct vus_msg *m);
void vus_stop_ring(struct vus *v, struct vus_ring *r);
void vus_stop_all(struct vus *v);
bool vus_any_running(const struct vus *v);
/* The log was switched on or off, or moved: running rings are told. */
void vus_relog(struct vus *v);

/* ---- vus.c */
/* Recomputes which rings take and give reach, and the link. */
void vus_remap(struct vus *v);
void vus_lock_rings(struct vus *v);
void vus_unlock_rings(struct vus *v);

static inline bool vus_has(const struct vus *v, unsigned protocol_feature)
{
	return v->protocol >> protocol_feature & 1;
}

#endif
