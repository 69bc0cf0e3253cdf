// SPDX-License-Identifier: Apache-2.0
// backend_workers.c - threads, ports that come and go, and sleep, with ports that check.
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "sim/backend/poller.h"
#include "sim/backend/workers.h"
#include "sim/core/err.h"
#include "tests/unit/cu.h"

/* A port that sends what it is told to send, and counts what it gets. */
struct ball {
	struct port p;
	struct poller_source kick;
	struct poller *poller;
	int kick_fd;
	uint8_t src, dst;
	_Atomic unsigned to_send, got, looks, notified, wrong, detached;
	_Atomic bool armed;
	atomic_uint *alive;
	uint8_t bytes[64];
};

static void ball_kicked(struct poller_source *s, uint32_t events)
{
	uint64_t n;

	(void)events;
	(void)!read(s->fd, &n, sizeof(n));
}

static int ball_attach(struct port *p, struct poller *poller)
{
	struct ball *b = (struct ball *)p;

	b->poller = poller;
	return poller_add(poller, &b->kick, b->kick_fd, EPOLLIN);
}

static void ball_detach(struct port *p)
{
	struct ball *b = (struct ball *)p;

	atomic_store(&b->detached, 1);
	poller_del(b->poller, &b->kick);
}

static void ball_tick(struct port *p, uint64_t now_ms)
{
	(void)p;
	(void)now_ms;
}

static unsigned ball_take(struct port *p, unsigned q, struct batch *batch, unsigned max)
{
	struct ball *b = (struct ball *)p;
	unsigned want = atomic_load(&b->to_send);

	(void)q;
	atomic_fetch_add(&b->looks, 1);
	batch->n = batch->segs_used = batch->entries = 0;
	while (batch->n < max && batch->n < want)
		frame_of(&batch->frame[batch->n++], b->bytes, sizeof(b->bytes));
	atomic_fetch_sub(&b->to_send, batch->n);
	return batch->n;
}

static void ball_release(struct port *p, unsigned q, struct batch *batch)
{
	(void)p;
	(void)q;
	batch->n = 0;
}

static unsigned ball_give(struct port *p, unsigned q, struct frame *const *f, unsigned n)
{
	struct ball *b = (struct ball *)p;

	(void)q;
	for (unsigned i = 0; i < n; i++)
		if (f[i]->head[5] != b->src || f[i]->len != 64)
			atomic_fetch_add(&b->wrong, 1);
	if (atomic_load(&b->detached))
		atomic_fetch_add(&b->wrong, 1);
	atomic_fetch_add(&b->got, n);
	return n;
}

static bool ball_notify(struct port *p)
{
	atomic_fetch_add(&((struct ball *)p)->notified, 1);
	return false;
}

static bool ball_arm(struct port *p, bool on)
{
	struct ball *b = (struct ball *)p;

	atomic_store(&b->armed, on);
	return on && atomic_load(&b->to_send);
}

static void ball_count(const struct port *p, uint64_t *row)
{
	(void)p;
	(void)row;
}

static void ball_free(struct port *p)
{
	struct ball *b = (struct ball *)p;

	close(b->kick_fd);
	CU_EQ(atomic_load(&b->wrong), 0);
	atomic_fetch_sub(b->alive, 1);
	free(b);
}

static const struct port_ops ball_ops = {
	"ball", ball_attach, ball_detach, ball_tick, ball_take, ball_release, ball_give,
	ball_notify, ball_arm, ball_count, ball_free,
};

static atomic_uint alive;

static struct ball *ball_new(uint8_t src, uint8_t dst)
{
	struct ball *b = calloc(1, sizeof(*b));

	port_init(&b->p, &ball_ops, "ball", NULL, NULL);
	b->p.up = true;
	b->p.takes = b->p.gives = 1;
	b->kick.ready = ball_kicked;
	b->kick.fd = -1;
	b->kick_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	b->src = src;
	b->dst = dst;
	b->alive = &alive;
	memcpy(b->bytes, (uint8_t[]){ 2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 8 }, 13);
	atomic_fetch_add(&alive, 1);
	return b;
}

static void ball_kick(struct ball *b, unsigned n)
{
	uint64_t one = 1;

	atomic_fetch_add(&b->to_send, n);
	if (atomic_load(&b->armed))
		(void)!write(b->kick_fd, &one, sizeof(one));
}

struct rig {
	struct l2 *l2;
	struct workers *w;
};

static void rig_up(struct rig *r, unsigned workers, enum workers_mode mode)
{
	struct l2_opts lo = { .seed = { 1, 2 } };
	struct workers_opts o = { .n = workers, .mode = mode, .spin_us = 50 };
	struct err e;

	memset(o.cpu, -1, sizeof(o.cpu));
	CU_EQ(l2_new(&r->l2, &lo), 0);
	l2_unknown(r->l2, L2_UNKNOWN_DROP);
	CU_EQ(workers_new(&r->w, r->l2, &o, &e), 0);
}

static void rig_down(struct rig *r)
{
	workers_free(r->w);
	l2_free(r->l2);
	CU_EQ(atomic_load(&alive), 0);
}

/* A port on worker wk whose address is fixed, so that nothing is ever flooded to it. */
static struct ball *join(struct rig *r, unsigned id, uint8_t dst, int wk)
{
	struct ball *b = ball_new((uint8_t)id, dst);
	struct l2_conf *c = malloc(sizeof(*c));
	uint8_t mac[6] = { 2, 0, 0, 0, 0, (uint8_t)id };

	l2_conf_init(c);
	c->flags |= L2_POOL;
	CU_EQ(workers_add(r->w, id, &b->p, wk), 0);
	free(l2_port_set(r->l2, id, c));
	CU_EQ(l2_mac_add(r->l2, id, mac, 0), 0);
	return b;
}

static void leave(struct rig *r, unsigned id)
{
	struct l2_conf *c = l2_port_set(r->l2, id, NULL);

	workers_del(r->w, id);
	free(c);
}

#define ROUNDS_AWAKE 64			/* between two sleeps: it looks at the clock every 16 */

static bool wait_for(atomic_uint *what, unsigned n)
{
	for (unsigned ms = 0; ms < 10000; ms++) {
		struct timespec nap = { .tv_nsec = 1000000 };

		if (atomic_load(what) >= n)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

static void frames_cross_between_ports_of_one_and_of_two_workers(void)
{
	for (unsigned workers = 1; workers <= 2; workers++) {
		struct ball *a, *b;
		struct rig r;

		rig_up(&r, workers, WORKERS_ADAPTIVE);
		a = join(&r, 1, 2, 0);
		b = join(&r, 2, 1, (int)workers - 1);
		CU_EQ(workers_of(r.w, 2), (int)workers - 1);
		ball_kick(a, 5000);
		ball_kick(b, 3000);
		CU_ASSERT_TRUE(wait_for(&b->got, 5000));
		CU_ASSERT_TRUE(wait_for(&a->got, 3000));
		CU_EQ(atomic_load(&a->wrong) + atomic_load(&b->wrong), 0);
		rig_down(&r);
	}
}

static _Atomic unsigned begun;

static int begin_slowly(void)
{
	struct timespec t = { 0, 30000000 };

	nanosleep(&t, NULL);
	atomic_fetch_add(&begun, 1);
	return 0;
}

static void every_worker_has_begun_when_they_are_there(void)
{
	struct workers_opts o = { .n = 3, .mode = WORKERS_EVENT, .begin = begin_slowly };
	struct l2_opts l2 = { .fdb_max = 64 };
	struct workers *w;
	struct l2 *l;
	struct err e;

	memset(o.cpu, -1, sizeof(o.cpu));
	CU_EQ(l2_new(&l, &l2), 0);
	CU_EQ(workers_new(&w, l, &o, &e), 0);
	CU_EQ(atomic_load(&begun), 3);
	workers_free(w);
	l2_free(l);
}

/* Its worker has armed it: what comes now comes to a sleeper. */
static bool falls_asleep(struct ball *b)
{
	struct timespec nap = { .tv_nsec = 1000000 };

	for (unsigned ms = 0; ms < 10000; ms++) {
		if (atomic_load(&b->armed))
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

static void a_sleeping_owner_is_woken_to_tell_its_peer(void)
{
	struct ball *a, *b;
	struct rig r;
	unsigned before;

	rig_up(&r, 2, WORKERS_EVENT);
	a = join(&r, 1, 2, 0);
	b = join(&r, 2, 1, 1);
	for (unsigned i = 0; i < 20; i++) {
		CU_ASSERT_TRUE(falls_asleep(b));
		before = atomic_load(&b->notified);
		ball_kick(a, 1);
		CU_ASSERT_TRUE(wait_for(&b->got, i + 1));
		CU_ASSERT_TRUE(wait_for(&b->notified, before + 1));
	}
	rig_down(&r);
}

/* Until the worker has made so many rounds, or gone to sleep so often. */
static bool worker_gets_to(struct rig *r, uint64_t rounds, uint64_t sleeps)
{
	struct timespec nap = { .tv_nsec = 1000000 };
	struct worker_stats s;

	for (unsigned ms = 0; ms < 10000; ms++) {
		workers_stats(r->w, 0, &s);
		if (s.rounds >= rounds && s.sleeps >= sleeps)
			return true;
		nanosleep(&nap, NULL);
	}
	return false;
}

/* Asleep it only wakes for its ticks. */
static void an_idle_switch_sleeps_in_all_modes_but_one(void)
{
	struct worker_stats s0, s1;
	struct rig r;

	rig_up(&r, 1, WORKERS_ADAPTIVE);
	for (unsigned i = 1; i <= 64; i++)
		join(&r, i, 1, 0);
	CU_ASSERT_TRUE(worker_gets_to(&r, 0, 1));
	workers_stats(r.w, 0, &s0);
	CU_ASSERT_TRUE(worker_gets_to(&r, 0, s0.sleeps + 3));
	workers_stats(r.w, 0, &s1);
	CU_ASSERT(s1.rounds - s0.rounds <= ROUNDS_AWAKE * (s1.sleeps - s0.sleeps + 1));
	workers_mode(r.w, WORKERS_POLL, 0);
	workers_stats(r.w, 0, &s0);
	CU_ASSERT_TRUE(worker_gets_to(&r, s0.rounds + 100 * ROUNDS_AWAKE, 0));
	workers_stats(r.w, 0, &s1);
	CU_ASSERT(s1.sleeps <= s0.sleeps + 1);	/* one that was being fallen into */
	rig_down(&r);
}

static void ports_come_and_go_while_others_keep_their_frames(void)
{
	struct ball *a, *b, *d;
	struct rig r;

	rig_up(&r, 2, WORKERS_ADAPTIVE);
	a = join(&r, 1, 2, 0);
	b = join(&r, 2, 1, 1);
	d = join(&r, 4, 3, 1);		/* sends to the one that comes and goes */
	for (unsigned i = 0; i < 200; i++) {
		struct ball *c = join(&r, 3, 2, (int)(i & 1));

		CU_EQ(workers_add(r.w, 3, &c->p, 0), -EEXIST);
		ball_kick(c, 10);
		ball_kick(a, 50);
		ball_kick(d, 300);
		leave(&r, 3);
		CU_ASSERT_PTR_NULL(workers_port(r.w, 3));
	}
	CU_ASSERT_TRUE(wait_for(&b->got, 200 * 50));
	CU_ASSERT(atomic_load(&b->got) <= 200 * 60);
	CU_EQ(atomic_load(&a->wrong) + atomic_load(&b->wrong) + atomic_load(&d->wrong), 0);
	rig_down(&r);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void a_silent_port_beside_a_busy_one_costs_few_looks_and_is_still_heard(void)
{
	struct ball *busy, *silent, *sink, *other;
	uint64_t begin, us;
	unsigned looks;
	struct rig r;

	rig_up(&r, 1, WORKERS_POLL);
	busy = join(&r, 1, 2, 0);
	sink = join(&r, 2, 1, 0);
	silent = join(&r, 3, 4, 0);
	other = join(&r, 4, 3, 0);
	ball_kick(busy, 1u << 31);
	CU_ASSERT_TRUE(wait_for(&busy->looks, 2000));
	begin = now_us();
	looks = atomic_load(&silent->looks);
	CU_ASSERT_TRUE(wait_for(&busy->looks, atomic_load(&busy->looks) + 8000));
	looks = atomic_load(&silent->looks) - looks;
	us = now_us() - begin;
	CU_ASSERT(looks > 0 && looks <= us / 50 + 2);	/* however long a round takes */
	ball_kick(silent, 1);
	CU_ASSERT_TRUE(wait_for(&other->got, 1));
	CU_ASSERT(atomic_load(&busy->to_send) > 0 && atomic_load(&sink->got) > 0);
	rig_down(&r);
}

CU_MAIN("backend/workers",
	T(frames_cross_between_ports_of_one_and_of_two_workers),
	T(every_worker_has_begun_when_they_are_there),
	T(a_sleeping_owner_is_woken_to_tell_its_peer),
	T(an_idle_switch_sleeps_in_all_modes_but_one),
	T(ports_come_and_go_while_others_keep_their_frames),
	T(a_silent_port_beside_a_busy_one_costs_few_looks_and_is_still_heard))
