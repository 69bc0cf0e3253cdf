/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server.h - the daemon's side of the control socket.
 *
 * One thread, nothing blocks: the caller watches ctl_server_fd() and calls ctl_server_run()
 * when it is readable (and about once a second). Requests are handled in order, one client's at
 * a time; a client that does not read its replies is dropped. What a request may cost is
 * bounded: its bytes, the memory its parsing takes, the bytes of its answers.
 */
#ifndef SIM_CTL_SERVER_H
#define SIM_CTL_SERVER_H

#include <stdint.h>

#include <switch.pb-c.h>

struct err;

#define CTL_CLIENTS_MAX 128	/* a node may start a hundred pods at once */
#define CTL_ANSWER_MAX (8u << 20)	/* bytes of all replies to one request */
#define CTL_STALL_MS 5000		/* a client may be this slow at either end */

struct ctl_server;
struct ctl_call;			/* a request being answered */

/* Answers q through c, within the call. An answer without rows is a plain success. */
typedef void (*ctl_handler)(void *owner, const Podpci__Request *q, struct ctl_call *c);

/* Rows are sent as they come: r is packed now. */
void ctl_call_rows(struct ctl_call *c, const Podpci__Reply *r);
/* The request failed; the first failure counts. */
void ctl_call_fail(struct ctl_call *c, const struct err *e);
int  ctl_call_code(const struct ctl_call *c);

/* Listens at path, permission bits mode, gid -1: unchanged. A stale socket is replaced. */
int  ctl_server_new(struct ctl_server **s, const char *path, unsigned mode, int gid,
		    ctl_handler handle, void *owner, struct err *e);
void ctl_server_free(struct ctl_server *s);
/* In a forked child: the socket is the parent's. Async-signal-safe; still to be freed. */
void ctl_server_orphan(struct ctl_server *s);
int  ctl_server_fd(const struct ctl_server *s);
unsigned ctl_server_clients(const struct ctl_server *s);
void ctl_server_run(struct ctl_server *s, uint64_t now_ms);

/* As the server parses a request, for fuzzing: NULL if it is refused. */
Podpci__Request *ctl_request_parse(const uint8_t *p, size_t len);
void ctl_request_free(Podpci__Request *q);

#endif
