/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend.h - a scripted vhost-user back-end: logs what it is told and answers as rules say.
 *
 * It runs in its own thread and serves one connection after another, so that a front-end finds it
 * again after each hang-up. It maps nothing and moves no packet: rings are the test's to write.
 */
#ifndef TESTS_WIRE_BACKEND_H
#define TESTS_WIRE_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "include/vhost_user_wire.h"

enum backend_act {
	BACKEND_ANSWER,		/* rightly */
	BACKEND_NACK,		/* acknowledge with an error */
	BACKEND_SILENT,		/* never */
	BACKEND_LATE,		/* after arg ms */
	BACKEND_HANGUP,		/* instead */
	BACKEND_WRONG_ID,
	BACKEND_FLAGS,		/* with arg for flags */
	BACKEND_SIZE,		/* with arg for the size, and that many bytes (at most 4096) */
	BACKEND_TWICE,
	BACKEND_FDS,		/* with arg descriptors */
	BACKEND_BYTEWISE,	/* 1 byte at a time, arg us apart */
	BACKEND_TRUNCATE,	/* hang up after arg bytes */
	BACKEND_VALUE,		/* with arg for the u64 */
	BACKEND_UNASKED,	/* arg bytes more, some time after the answer */
	BACKEND_PAUSE,		/* reads nothing more for arg ms */
	BACKEND_ASK_FIRST,	/* asks CONFIG_CHANGE on its own channel and waits for the answer */
};

struct backend_rule {
	uint32_t request;	/* 0: any */
	unsigned nth;		/* the nth of its kind in all (from 1); 0: each */
	enum backend_act act;
	uint64_t arg;
};

struct backend_config {
	const char *path;
	bool     connects;	/* the front-end listens */
	uint64_t features;	/* VU_F_PROTOCOL_FEATURES included or not */
	uint64_t protocol;
	uint64_t pairs;
	int      buffer;	/* SO_RCVBUF, 0: the system's */
	unsigned fragment;	/* read at most so many bytes at once, 0: any */
	uint64_t slots;		/* GET_MAX_MEM_SLOTS */
};

/* What GET_INFLIGHT_FD is answered with; size 0: as much as is asked for. */
struct backend_inflight {
	uint64_t size, offset, file;	/* file: its real size */
	unsigned fds;
	bool     other_queues;
	const char *path;	/* instead of a file: this; "fifo" a pipe */
};

#define BACKEND_RULES_MAX 32
#define BACKEND_LOG_MAX   65536

struct backend_msg {
	struct vu_header h;
	union vu_payload payload;
	unsigned session;	/* counted from 1 */
	unsigned fds_n;
	unsigned fds_late;	/* that came after the first byte */
	uint64_t at_us;
	struct { dev_t dev; ino_t ino; int access; } files[VU_FDS_MAX];
};

struct backend;

struct backend *backend_start(const struct backend_config *cfg);
void backend_stop(struct backend *b);

/* Replaces the rules; they hold from the next message on. */
void backend_rules(struct backend *b, const struct backend_rule *rules, unsigned n);
#define BACKEND_RULES(b, ...) \
	do { \
		const struct backend_rule rules_[] = { __VA_ARGS__ }; \
		backend_rules(b, rules_, sizeof(rules_) / sizeof(rules_[0])); \
	} while (0)

void backend_hangup(struct backend *b);		/* now */
/* In between it takes connections, but no message, and no other of these calls may be made. */
void backend_hold(struct backend *b);
void backend_let(struct backend *b);
void backend_offers(struct backend *b, uint64_t features, uint64_t pairs);	/* from now on */
void backend_base(struct backend *b, unsigned ring, uint32_t base);	/* GET_VRING_BASE says */

unsigned backend_sessions(struct backend *b);
unsigned backend_count(struct backend *b, uint32_t request);	/* 0: all */
bool backend_wait(struct backend *b, uint32_t request, unsigned n, unsigned ms);
/* The i-th message (of a kind, 0: any), or false. Negative: from the end. */
bool backend_msg(struct backend *b, uint32_t request, int i, struct backend_msg *m);
void backend_forget(struct backend *b);		/* empties the log and the counts */

void backend_inflight(struct backend *b, const struct backend_inflight *i);

/*
 * Its own channel: asks, and takes an answer (false: none within the time; *h.request 0: the
 * channel has ended).
 */
int  backend_ask(struct backend *b, uint32_t request, uint32_t flags, const void *payload,
		 uint32_t size, const int *fds, unsigned fds_n);
bool backend_answered(struct backend *b, struct vu_header *h, uint64_t *val, unsigned ms);
void backend_unask(struct backend *b);		/* closes the channel, and only it */
/*
 * A duplicate, the caller's, of the last descriptor that came with SET_LOG_BASE, SET_INFLIGHT_FD or
 * SET_BACKEND_REQ_FD; or -1.
 */
int  backend_kept_fd(struct backend *b, uint32_t request);

/* A ring's descriptor as last received, or -1; stays the back-end's. */
int backend_ring_fd(struct backend *b, unsigned ring, uint32_t request);

#endif
