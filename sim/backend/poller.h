/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poller.h - the descriptors one worker watches: sockets, kick eventfds, its own wake-ups.
 *
 * One poller, one thread: all calls are that thread's, but poller_wake(). A source is embedded
 * in its owner. After poller_del() its callback is not called any more, not even for an event
 * that was fetched already.
 */
#ifndef SIM_BACKEND_POLLER_H
#define SIM_BACKEND_POLLER_H

#include <stdint.h>

struct poller;

struct poller_source {
	void   (*ready)(struct poller_source *s, uint32_t events);	/* EPOLL* */
	int      fd;			/* -1: not watched; set by poller_add() and _del() */
};

int  poller_new(struct poller **p);
void poller_free(struct poller *p);

/* events: EPOLLIN, EPOLLOUT, EPOLLET. 0 or -errno. */
int  poller_add(struct poller *p, struct poller_source *s, int fd, uint32_t events);
int  poller_change(struct poller *p, struct poller_source *s, uint32_t events);
void poller_del(struct poller *p, struct poller_source *s);	/* not watched: fine */

/* Waits (0: looks; -1: for ever), calls what is ready; how many that were, or -errno. */
int  poller_run(struct poller *p, int timeout_ms);

/* Ends a poller_run() of another thread, or its next one. Async-signal-safe. */
void poller_wake(struct poller *p);

#endif
