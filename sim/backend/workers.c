// SPDX-License-Identifier: Apache-2.0
// workers.c - see workers.h. One control thread calls the API; ids and jobs have no other writer.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/backend/closer.h"
#include "sim/backend/nudge.h"
#include "sim/backend/poller.h"
#include "sim/backend/workers.h"
#include "sim/core/err.h"

#define TICK_MS 50			/* between calls of a port's tick() */
#define LOOK_US 1000			/* between looks at control sockets while busy */
#define CLOCK_ROUNDS 16			/* idle rounds between looks at the clock */
#define SPIN_US_DEFAULT 100
#define GRACE_NAP_NS 20000
/* A port with so many empty looks is, beside busy ones, looked at once in so long. */
#define QUIET_LOOKS 64
#define QUIET_NS 50000
#define BUSY_ROUNDS 16			/* between two bursts of a port that is busy */

struct job {
	int (*run)(struct workers *w, unsigned worker, struct job *j);
	unsigned id;
	struct port *port;
	struct lane *lane;
	int (*call)(void *arg);
	void *arg;
	int rc;
	bool done;
};

struct worker {
	/* written by others */
	_Atomic uint64_t inbox[L2_SET_WORDS];	/* ports that were given something by others */
	_Atomic bool inbox_any;
	_Atomic(struct job *) job;
	_Atomic bool stop;

	_Atomic uint64_t epoch __attribute__((aligned(64)));	/* 0: asleep or not running */
	_Atomic bool asleep;

	struct workers *w __attribute__((aligned(64)));
	struct poller *poller;
	struct forward *fw;
	unsigned index, n;
	struct l2_set todo;			/* own ports whose peers are to be told */
	int cpu;
	bool started;
	uint64_t now_ns, looked_ns, ticked_ns, worked_ns;
	struct own {
		unsigned id, empty;		/* looks in a row that found nothing */
		uint64_t looked_ns;
		struct port *p;
		struct lane *lane;
	} own[L2_PORTS_MAX];
	unsigned busy;				/* rounds from the last frame on, backwards */
	struct worker_stats stats;
	struct nudge nudge;
	pthread_t thread;
};

struct workers {
	struct l2 *l2;
	struct forward_ports ports;
	_Atomic uint8_t owner[L2_PORTS_MAX];	/* worker of a port */
	_Atomic uint64_t epoch;
	_Atomic unsigned mode, spin_us;
	int (*begin)(void);
	unsigned n;
	pthread_mutex_t lock;			/* of jobs' `done` */
	pthread_cond_t done;
	struct worker worker[WORKERS_MAX];
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ---- a worker's rounds --------------------------------------------------------------------- */

static void wake(struct worker *k)
{
	if (atomic_load(&k->asleep))
		poller_wake(k->poller);
}

static struct port *own_port(const struct worker *k, unsigned id)
{
	return atomic_load_explicit(&k->w->owner[id], memory_order_relaxed) == k->index ?
	       port_load(k->w->ports.port[id]) : NULL;
}

static void todo_add(struct worker *k, unsigned id)
{
	k->todo.w[id / 64] |= 1ull << (id % 64);
}

/* Ports given to in this round: ours are to be told, word of the others goes to their owners. */
static void sort_touched(struct worker *k)
{
	struct l2_set s;

	forward_touched(k->fw, &s);
	for (unsigned id = l2_set_next(&s, 0); id < L2_PORTS_MAX; id = l2_set_next(&s, id + 1)) {
		unsigned owner = atomic_load_explicit(&k->w->owner[id], memory_order_relaxed);
		struct worker *other = &k->w->worker[owner];

		if (other == k) {
			todo_add(k, id);
			continue;
		}
		atomic_fetch_or(&other->inbox[id / 64], 1ull << (id % 64));
		atomic_store(&other->inbox_any, true);
		wake(other);
	}
}

static void read_inbox(struct worker *k)
{
	atomic_store(&k->inbox_any, false);
	for (unsigned i = 0; i < L2_SET_WORDS; i++)
		k->todo.w[i] |= atomic_exchange(&k->inbox[i], 0);
}

/* Tells the peers; true if some must be told again in the next round. */
static bool notify_peers(struct worker *k)
{
	struct l2_set s = k->todo;
	bool again = false;

	k->todo = (struct l2_set){ { 0 } };
	for (unsigned id = l2_set_next(&s, 0); id < L2_PORTS_MAX; id = l2_set_next(&s, id + 1)) {
		struct port *p = own_port(k, id);

		if (!p || !p->ops->notify(p))
			continue;
		todo_add(k, id);
		again = true;
	}
	return again;
}

/* One burst from each of its queues. */
static unsigned poll_port(struct worker *k, struct own *o)
{
	unsigned queues = port_load(o->p->takes), got = 0;
	bool sends = o->lane && port_load(o->lane->sends);

	for (unsigned q = 0; q < queues; q++)
		got += sends ? o->lane->ops->send(o->lane, q) :
			       forward_poll(k->fw, o->id, o->p, q, k->now_ns);
	o->empty = got ? 0 : o->empty + 1;
	o->looked_ns = k->now_ns;
	return got;
}

static bool is_passed_over(const struct worker *k, const struct own *o)
{
	return k->busy && o->empty >= QUIET_LOOKS && k->now_ns - o->looked_ns < QUIET_NS;
}

/* How many frames came from all ports together. */
static unsigned poll_ports(struct worker *k)
{
	unsigned all = 0;

	for (unsigned i = 0; i < k->n; i++) {
		struct own *o = &k->own[i];
		unsigned got = is_passed_over(k, o) ? 0 : poll_port(k, o);

		if (o->lane)
			got += o->lane->ops->poll(o->lane);
		if (!got)
			continue;
		all += got;
		todo_add(k, o->id);	/* its buffers are back */
	}
	k->busy = all ? BUSY_ROUNDS : k->busy - !!k->busy;
	if (all)
		sort_touched(k);
	return all;
}

static void run_job(struct worker *k)
{
	struct job *j = atomic_exchange(&k->job, NULL);

	if (!j)
		return;
	j->rc = j->run(k->w, k->index, j);
	pthread_mutex_lock(&k->w->lock);
	j->done = true;
	pthread_cond_broadcast(&k->w->done);
	pthread_mutex_unlock(&k->w->lock);
}

static void tick(const struct own *o, uint64_t now_ms)
{
	o->p->ops->tick(o->p, now_ms);
	if (o->lane)
		o->lane->ops->tick(o->lane, now_ms);
}

/* The clock, control sockets, timers, jobs: what need not be looked at in every round. */
static void look_around(struct worker *k)
{
	k->now_ns = clock_ns();
	if (atomic_load(&k->job))
		run_job(k);
	if (k->now_ns - k->looked_ns >= LOOK_US * 1000ull) {
		k->looked_ns = k->now_ns;
		poller_run(k->poller, 0);
	}
	if (k->now_ns - k->ticked_ns >= TICK_MS * 1000000ull) {
		k->ticked_ns = k->now_ns;
		nudge_defer(&k->nudge);
		for (unsigned i = 0; i < k->n; i++)
			tick(&k->own[i], k->now_ns / 1000000);
	}
}

static bool arm_ports(struct worker *k, bool on)
{
	bool waiting = false;

	for (unsigned i = 0; i < k->n; i++) {
		waiting |= k->own[i].p->ops->arm(k->own[i].p, on);
		if (k->own[i].lane)
			waiting |= k->own[i].lane->ops->arm(k->own[i].lane, on);
	}
	return waiting && on;
}

/* Epoch 0 says: nothing is being read here. The stores and loads are sequentially consistent. */
static void sleep_until_something(struct worker *k)
{
	int64_t left_ms = TICK_MS - (int64_t)((clock_ns() - k->ticked_ns) / 1000000);

	atomic_store(&k->asleep, true);
	if (!arm_ports(k, true) && !atomic_load(&k->inbox_any) && !atomic_load(&k->job) &&
	    !atomic_load(&k->stop)) {
		port_tally(&k->stats.sleeps, 1);
		atomic_store(&k->epoch, 0);
		poller_run(k->poller, left_ms < 0 ? 0 : (int)left_ms + 1);
		atomic_store(&k->epoch, atomic_load(&k->w->epoch));
	}
	atomic_store(&k->asleep, false);
	arm_ports(k, false);
	look_around(k);
	k->looked_ns = k->now_ns;
}

static bool may_sleep(const struct worker *k)
{
	unsigned mode = atomic_load_explicit(&k->w->mode, memory_order_relaxed);
	uint64_t spin_ns = 1000ull * atomic_load_explicit(&k->w->spin_us, memory_order_relaxed);

	return mode == WORKERS_EVENT ||
	       (mode == WORKERS_ADAPTIVE && k->now_ns - k->worked_ns >= spin_ns);
}

static void round_once(struct worker *k, unsigned *idle)
{
	uint64_t start = __builtin_ia32_rdtsc();
	bool again;
	unsigned n;

	atomic_store(&k->epoch, atomic_load(&k->w->epoch));
	n = poll_ports(k);
	if (atomic_load_explicit(&k->inbox_any, memory_order_relaxed))
		read_inbox(k);
	again = notify_peers(k);
	port_tally(&k->stats.rounds, 1);
	if (n) {
		port_tally(&k->stats.frames, n);
		port_tally(&k->stats.busy_rounds, 1);
		port_tally(&k->stats.busy_cycles, __builtin_ia32_rdtsc() - start);
		look_around(k);
		k->worked_ns = k->now_ns;
		*idle = 0;
		return;
	}
	if (again || ++*idle % CLOCK_ROUNDS)
		return;
	look_around(k);
	if (may_sleep(k))
		sleep_until_something(k);
}

static void *worker_main(void *arg)
{
	struct worker *k = arg;
	unsigned idle = 0;

	(void)nudge_start(&k->nudge);
	if (k->w->begin && k->w->begin())
		abort();		/* never with rights it was told to give up */
	closer_start(NULL);
	k->now_ns = clock_ns();
	while (!atomic_load_explicit(&k->stop, memory_order_relaxed))
		round_once(k, &idle);
	nudge_stop(&k->nudge);
	atomic_store(&k->epoch, 0);
	return NULL;
}

/* ---- control side -------------------------------------------------------------------------- */

static int ask(struct workers *w, unsigned worker, struct job *j)
{
	struct worker *k = &w->worker[worker];

	j->done = false;
	atomic_store(&k->job, j);
	poller_wake(k->poller);
	pthread_mutex_lock(&w->lock);
	while (!j->done)
		pthread_cond_wait(&w->done, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return j->rc;
}

static int job_call(struct workers *w, unsigned worker, struct job *j)
{
	(void)w;
	(void)worker;
	return j->call ? j->call(j->arg) : 0;
}

int workers_each(struct workers *w, int (*call)(void *arg), void *arg)
{
	int rc = 0;

	for (unsigned i = 0; i < w->n && !rc; i++) {
		struct job j = { .run = job_call, .call = call, .arg = arg };

		rc = ask(w, i, &j);
	}
	return rc;
}

int workers_run(struct workers *w, unsigned id, int (*call)(void *port))
{
	struct job j = { .run = job_call, .call = call, .arg = workers_port(w, id) };

	return j.arg ? ask(w, atomic_load(&w->owner[id]), &j) : -ENOENT;
}

static int job_add(struct workers *w, unsigned worker, struct job *j)
{
	struct worker *k = &w->worker[worker];
	int rc = j->port->ops->attach(j->port, k->poller);

	if (rc)
		return rc;
	k->own[k->n] = (struct own){ .id = j->id, .p = j->port };
	__atomic_store_n(&k->n, k->n + 1, __ATOMIC_RELAXED);
	return 0;
}

static int job_del(struct workers *w, unsigned worker, struct job *j)
{
	struct worker *k = &w->worker[worker];

	for (unsigned i = 0; i < k->n; i++) {
		if (k->own[i].id != j->id)
			continue;
		if (k->own[i].lane)
			k->own[i].lane->ops->detach(k->own[i].lane);
		__atomic_store_n(&k->n, k->n - 1, __ATOMIC_RELAXED);
		k->own[i] = k->own[k->n];
		j->port->ops->detach(j->port);
		j->port->ops->free(j->port);
		return 0;
	}
	return -ENOENT;
}

static int job_lane(struct workers *w, unsigned worker, struct job *j)
{
	struct worker *k = &w->worker[worker];
	int rc = 0;

	for (unsigned i = 0; i < k->n; i++) {
		struct own *o = &k->own[i];

		if (o->id != j->id)
			continue;
		if (o->lane)
			o->lane->ops->detach(o->lane);
		o->lane = NULL;
		if (j->lane)
			rc = j->lane->ops->attach(j->lane, o->p, k->poller);
		if (!rc)
			o->lane = j->lane;
		return rc;
	}
	return -ENOENT;
}

int workers_lane(struct workers *w, unsigned id, struct lane *l)
{
	struct job j = { .run = job_lane, .id = id, .lane = l };

	return workers_port(w, id) ? ask(w, atomic_load(&w->owner[id]), &j) : -ENOENT;
}

int workers_add(struct workers *w, unsigned id, struct port *p, int worker)
{
	struct job j = { .run = job_add, .id = id, .port = p };
	unsigned best = 0;
	int rc;

	if (id >= L2_PORTS_MAX || worker >= (int)w->n)
		return -EINVAL;
	if (workers_port(w, id))
		return -EEXIST;
	for (unsigned i = 1; i < w->n; i++)
		if (__atomic_load_n(&w->worker[i].n, __ATOMIC_RELAXED) <
		    __atomic_load_n(&w->worker[best].n, __ATOMIC_RELAXED))
			best = i;
	if (worker >= 0)
		best = (unsigned)worker;
	atomic_store(&w->owner[id], (uint8_t)best);
	port_store(w->ports.port[id], p);
	rc = ask(w, best, &j);
	if (rc)
		port_store(w->ports.port[id], NULL);
	return rc;
}

void workers_del(struct workers *w, unsigned id)
{
	struct job j = { .run = job_del, .id = id, .port = workers_port(w, id) };

	if (!j.port)
		return;
	port_store(w->ports.port[id], NULL);
	workers_grace(w);
	ask(w, atomic_load(&w->owner[id]), &j);
}

struct port *workers_port(const struct workers *w, unsigned id)
{
	return id < L2_PORTS_MAX ? port_load(w->ports.port[id]) : NULL;
}

int workers_of(const struct workers *w, unsigned id)
{
	return workers_port(w, id) ? atomic_load(&w->owner[id]) : -1;
}

void workers_grace(struct workers *w)
{
	uint64_t target = atomic_fetch_add(&w->epoch, 1) + 1;

	for (unsigned i = 0; i < w->n; i++) {
		for (;;) {
			uint64_t seen = atomic_load(&w->worker[i].epoch);
			struct timespec nap = { .tv_nsec = GRACE_NAP_NS };

			if (!seen || seen >= target)
				break;
			nanosleep(&nap, NULL);
		}
	}
}

void workers_mode(struct workers *w, enum workers_mode mode, unsigned spin_us)
{
	atomic_store(&w->spin_us, spin_us ? spin_us : SPIN_US_DEFAULT);
	atomic_store(&w->mode, mode);
	for (unsigned i = 0; i < w->n; i++)
		poller_wake(w->worker[i].poller);
}

enum workers_mode workers_mode_get(const struct workers *w)
{
	return (enum workers_mode)atomic_load(&w->mode);
}

unsigned workers_count(const struct workers *w)
{
	return w->n;
}

void workers_stats(const struct workers *w, unsigned i, struct worker_stats *s)
{
	const struct worker *k = &w->worker[i];

	s->rounds = __atomic_load_n(&k->stats.rounds, __ATOMIC_RELAXED);
	s->busy_rounds = __atomic_load_n(&k->stats.busy_rounds, __ATOMIC_RELAXED);
	s->sleeps = __atomic_load_n(&k->stats.sleeps, __ATOMIC_RELAXED);
	s->frames = __atomic_load_n(&k->stats.frames, __ATOMIC_RELAXED);
	s->busy_cycles = __atomic_load_n(&k->stats.busy_cycles, __ATOMIC_RELAXED);
	s->ports = __atomic_load_n(&k->n, __ATOMIC_RELAXED);
	s->cpu = k->cpu;
}

void workers_forward_counters(const struct workers *w, struct forward_counters *sum)
{
	uint64_t *to = (uint64_t *)sum;

	memset(sum, 0, sizeof(*sum));
	for (unsigned i = 0; i < w->n; i++) {
		struct forward_counters one;

		forward_counters(w->worker[i].fw, &one);
		for (unsigned j = 0; j < sizeof(one) / sizeof(*to); j++)
			to[j] += ((const uint64_t *)&one)[j];
	}
}

/* ---- making and ending --------------------------------------------------------------------- */

static int start(struct worker *k)
{
	pthread_attr_t attr;
	sigset_t all, was;
	cpu_set_t cpus;
	char name[16];
	int rc;

	pthread_attr_init(&attr);
	CPU_ZERO(&cpus);
	if (k->cpu >= 0 && k->cpu < CPU_SETSIZE) {
		CPU_SET(k->cpu, &cpus);
		pthread_attr_setaffinity_np(&attr, sizeof(cpus), &cpus);
	}
	sigfillset(&all);		/* faults stay: memory may vanish, see core/guard.h */
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	rc = pthread_create(&k->thread, &attr, worker_main, k);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	pthread_attr_destroy(&attr);
	if (rc)
		return -rc;
	k->started = true;
	snprintf(name, sizeof(name), "worker%u", k->index);
	pthread_setname_np(k->thread, name);
	return 0;
}

int workers_new(struct workers **out, struct l2 *l2, const struct workers_opts *o, struct err *e)
{
	struct workers *w;
	int rc = 0;

	if (!o->n || o->n > WORKERS_MAX)
		return err_set(e, -EINVAL, "1 to %d workers, not %u", WORKERS_MAX, o->n);
	w = aligned_alloc(64, sizeof(*w));
	if (!w)
		return err_set(e, -ENOMEM, "out of memory");
	memset(w, 0, sizeof(*w));
	w->l2 = l2;
	w->begin = o->begin;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->done, NULL);
	atomic_store(&w->epoch, 1);
	atomic_store(&w->mode, o->mode);
	atomic_store(&w->spin_us, o->spin_us ? o->spin_us : SPIN_US_DEFAULT);
	for (w->n = 0; w->n < o->n && !rc; w->n++) {
		struct worker *k = &w->worker[w->n];

		k->w = w;
		k->index = w->n;
		k->cpu = o->cpu[w->n];
		rc = poller_new(&k->poller);
		if (!rc)
			rc = forward_new(&k->fw, l2, &w->ports);
	}
	for (unsigned i = 0; i < w->n && !rc; i++)
		rc = start(&w->worker[i]);
	if (rc) {
		workers_free(w);
		return err_set(e, rc, "cannot start a worker: %s", strerror(-rc));
	}
	workers_each(w, NULL, NULL);	/* `begin` is behind them all */
	*out = w;
	return 0;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	for (unsigned id = 0; id < L2_PORTS_MAX; id++)
		workers_del(w, id);
	for (unsigned i = 0; i < w->n; i++) {
		struct worker *k = &w->worker[i];

		if (k->started) {
			atomic_store(&k->stop, true);
			poller_wake(k->poller);
			pthread_join(k->thread, NULL);
		}
		forward_free(k->fw);
		poller_free(k->poller);
	}
	pthread_cond_destroy(&w->done);
	pthread_mutex_destroy(&w->lock);
	free(w);
}
