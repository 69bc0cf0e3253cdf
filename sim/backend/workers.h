/* SPDX-License-Identifier: Apache-2.0 */
/*
 * workers.h - the threads of a switch: each owns some of the ports and forwards what they send.
 *
 * A port belongs to one worker, which takes from it, serves its control socket and wakes its
 * peer. Any worker may give to any port; it then leaves word with the port's owner, who sends
 * the wake-up (and is woken for it if asleep).
 *
 * Nobody is stopped for a change. What workers may still be reading is waited for instead: each
 * notes the epoch it last saw between two rounds (0 while asleep), and workers_grace() returns
 * when all of them are past the present one.
 *
 * Modes. POLL: rounds without end. ADAPTIVE: rounds while there is something to do and spin_us
 * longer, then sleep until a kick. EVENT: adaptive with no spinning.
 */
#ifndef SIM_BACKEND_WORKERS_H
#define SIM_BACKEND_WORKERS_H

#include <stdint.h>

#include "sim/backend/forward.h"
#include "sim/backend/l2switch.h"
#include "sim/backend/port.h"

#define WORKERS_MAX 16

struct err;
struct poller;
struct workers;

enum workers_mode { WORKERS_POLL, WORKERS_ADAPTIVE, WORKERS_EVENT, WORKERS_MODES };

struct workers_opts {
	unsigned n;			/* threads, 1 to WORKERS_MAX */
	int      cpu[WORKERS_MAX];	/* -1: anywhere */
	enum workers_mode mode;
	unsigned spin_us;		/* of ADAPTIVE; 0: 100 */
	int    (*begin)(void);		/* first thing in each thread; failure ends it all; NULL */
};

struct worker_stats {
	uint64_t rounds, busy_rounds, sleeps, frames;
	uint64_t busy_cycles;		/* of the time stamp counter, in rounds that found work */
	unsigned ports;
	int      cpu;
};

/* Starts the threads; on return all of them have begun. l2 outlives them. */
int  workers_new(struct workers **w, struct l2 *l2, const struct workers_opts *o, struct err *e);
/* Ends the threads; ports that are still there are detached and freed. */
void workers_free(struct workers *w);

/*
 * Lets a port take part under an id that is free; worker -1: the one with the fewest ports.
 * The port is ours until workers_del(); on failure it stays the caller's. The caller gives
 * l2switch the port's configuration afterwards, and takes it away before workers_del().
 */
int  workers_add(struct workers *w, unsigned id, struct port *p, int worker);
/* Takes the port out, waits until nobody can be giving to it, detaches and frees it. */
void workers_del(struct workers *w, unsigned id);

struct port *workers_port(const struct workers *w, unsigned id);	/* NULL: free id */
int  workers_of(const struct workers *w, unsigned id);			/* its worker, -1 */

/*
 * A lane brings frames to one port past the switch: they were sorted elsewhere. It is polled by
 * the port's worker. All ops run in that worker's thread. While it `sends`, what the port sends
 * goes its way, too, and is judged elsewhere; set by the control thread, who waits for
 * workers_grace() before he relies on it.
 */
struct lane {
	const struct lane_ops *ops;
	bool sends;			/* port_load() */
};

struct lane_ops {
	int      (*attach)(struct lane *l, struct port *to, struct poller *poller);
	void     (*detach)(struct lane *l);	/* what is still in it is thrown away */
	unsigned (*poll)(struct lane *l);	/* frames that came */
	unsigned (*send)(struct lane *l, unsigned q);	/* one burst of the port's queue q */
	bool     (*arm)(struct lane *l, bool on);	/* as in port_ops */
	void     (*tick)(struct lane *l, uint64_t now_ms);
};

/* Puts a lane to port id, or takes it away (NULL); it is the caller's again on return. */
int  workers_lane(struct workers *w, unsigned id, struct lane *l);

/* Calls it in each worker's thread (NULL: nothing), one after the other, until one fails. */
int  workers_each(struct workers *w, int (*call)(void *arg), void *arg);

/* Has something done to port id in its worker's thread; what it returned. */
int  workers_run(struct workers *w, unsigned id, int (*call)(void *port));

/* Returns when every worker has finished the round it was in. */
void workers_grace(struct workers *w);

void workers_mode(struct workers *w, enum workers_mode mode, unsigned spin_us);
enum workers_mode workers_mode_get(const struct workers *w);

unsigned workers_count(const struct workers *w);
void workers_stats(const struct workers *w, unsigned i, struct worker_stats *s);
void workers_forward_counters(const struct workers *w, struct forward_counters *sum);

#endif
