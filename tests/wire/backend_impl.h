/* SPDX-License-Identifier: Apache-2.0 */
/* backend_impl.h - what backend.c and backend_own.c share; nobody else includes it. */
#ifndef TESTS_WIRE_BACKEND_IMPL_H
#define TESTS_WIRE_BACKEND_IMPL_H

#include <pthread.h>

#include "tests/wire/backend.h"

#define RINGS_MAX 256
#define FDS_MAX   253

enum { KICK, CALL, ERR, KINDS };
enum { LOG, INFLIGHT, ASK, KEPT };

struct backend {
	struct backend_config cfg;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t  grown;
	int listen_fd, fd, wake_fd;
	bool stopping, hangup;
	unsigned sessions;
	struct backend_rule rules[BACKEND_RULES_MAX];
	unsigned rules_n;
	unsigned counts[VU_REQUESTS + 1];
	struct backend_msg *log;
	unsigned log_n, log_room;
	uint64_t protocol;		/* acknowledged in this session */
	uint8_t  status;
	uint32_t base[RINGS_MAX];
	bool     base_forced[RINGS_MAX];
	int      ring_fds[RINGS_MAX][KINDS];
	int      kept[KEPT];
	struct backend_inflight inflight;
};

struct reply {
	struct vu_header h;
	uint8_t bytes[4096];
};

/* ---- backend_own.c -------------------------------------------------------------------------- */

long backend_send_with(int fd, const void *bytes, size_t len, const int *fds, unsigned fds_n);
/* The slot of a descriptor that is kept whole, or -1; fds[0] is taken. */
int  backend_kept_of(uint32_t request);
void backend_keep_fd(struct backend *b, uint32_t request, int *fds);
/* Sends the reply itself: it has a descriptor. */
void backend_answer_inflight(struct backend *b, const struct backend_msg *m, struct reply *r);

#endif
