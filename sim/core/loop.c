// SPDX-License-Identifier: Apache-2.0
// loop.c - poll(2) over an array rebuilt from the list of sources whenever it was woken.
#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <time.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/lock.h"
#include "sim/core/loop.h"
#include "sim/core/sys.h"

/*
 * Before glibc 2.34 threads are a library of their own, and a program that preloads us need not
 * have it: weak, so that it starts all the same.
 */
#pragma weak pthread_attr_destroy
#pragma weak pthread_attr_init
#pragma weak pthread_attr_setstacksize
#pragma weak pthread_create
#pragma weak pthread_join
#pragma weak pthread_self

#define STACK_BYTES (128 * 1024)
#define NAP_NS      50000000

struct loop {
	const struct loop_world *world;	/* NULL: the machine's */
	struct lock         lock;	/* innermost: nothing is called while it is held */
	struct loop_source *sources;	/* never unlinked: a source outlives the loop */
	unsigned            linked;
	int                 wake_fd;
	struct lock         gate;	/* start and stop, one at a time; outside lock */
	pthread_t           thread;
	bool                running, stopping;

	/* the loop thread's own */
	struct pollfd       polled[LOOP_SOURCES_MAX + 1];
	struct {
		struct loop_source *source;
		unsigned            watch;
	} behind[LOOP_SOURCES_MAX + 1];
};

uint64_t loop_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

uint64_t loop_now(const struct loop *l)
{
	return l->world ? l->world->now_ms(l->world->ctx) : loop_now_ms();
}

uint64_t loop_seed(const struct loop *l)
{
	return l->world ? l->world->seed :
	       loop_now_ms() ^ (uint64_t)(uintptr_t)l ^ (uint64_t)getpid() << 20;
}

static struct timespec time_left(uint64_t now_ms, uint64_t until_ms)
{
	uint64_t left_ms = until_ms > now_ms ? until_ms - now_ms : 0;

	return (struct timespec){ .tv_sec = (time_t)(left_ms / 1000),
				  .tv_nsec = (long)(left_ms % 1000) * 1000000 };
}

int loop_wait(struct loop *l, struct pollfd *p, unsigned n, uint64_t until_ms)
{
	struct timespec t;
	long rc;

	if (l->world)
		return l->world->wait(l->world->ctx, p, n, until_ms);
	t = time_left(loop_now_ms(), until_ms);
	rc = sys_call(SYS_ppoll, p, n, &t, NULL, 0);
	for (unsigned i = 0; rc < 0 && i < n; i++)
		p[i].revents = 0;
	return rc == -EINTR ? 0 : (int)rc;
}

int loop_new(struct loop **out)
{
	return loop_new_in(out, NULL);
}

int loop_new_in(struct loop **out, const struct loop_world *w)
{
	struct loop *l = fault_pages(sizeof(*l));

	if (!l)
		return -ENOMEM;
	l->world = w;
	l->wake_fd = fd_keep_event();
	if (l->wake_fd < 0) {
		int rc = l->wake_fd;

		fault_pages_free(l, sizeof(*l));
		return rc;
	}
	*out = l;
	return 0;
}

/* Fills the arrays; returns how many and the time the next timer is due (0: none). */
static unsigned gather(struct loop *l, uint64_t *due_ms)
{
	unsigned n = 0;

	*due_ms = 0;
	l->polled[n++] = (struct pollfd){ .fd = l->wake_fd, .events = POLLIN };
	for (struct loop_source *s = l->sources; s; s = s->next) {
		if (s->due_ms && (!*due_ms || s->due_ms < *due_ms))
			*due_ms = s->due_ms;
		if (s->fd < 0)
			continue;
		l->polled[n] = (struct pollfd){ .fd = s->fd, .events = POLLIN };
		l->behind[n].source = s;
		l->behind[n++].watch = s->watch;
	}
	return n;
}

static void wait_for(struct loop *l, unsigned n, uint64_t due_ms)
{
	struct timespec t = time_left(due_ms ? loop_now_ms() : 0, due_ms);
	long rc = sys_call(SYS_ppoll, l->polled, n, due_ms ? &t : NULL, NULL, 0);

	for (unsigned i = 0; rc < 0 && i < n; i++)
		l->polled[i].revents = 0;
	if (l->polled[0].revents)
		fd_drain(l->wake_fd);
	/* The application may have lowered its limits or closed what is ours: slow, not hot. */
	if ((rc < 0 && rc != -EINTR) || (l->polled[0].revents & POLLNVAL))
		sys_call(SYS_nanosleep, &(struct timespec){ .tv_nsec = NAP_NS }, NULL);
}

/*
 * A watch that was changed while we slept is not reported: its owner thinks it gone. The number
 * does not tell, it is given to the next descriptor; what is true of that one is seen next time.
 */
static void tell_one(struct loop *l, unsigned i)
{
	struct loop_source *s = l->behind[i].source;
	uint32_t events = (uint32_t)l->polled[i].revents;
	bool same;

	if (!events)
		return;
	lock_take(&l->lock);
	same = s->watch == l->behind[i].watch && s->fd >= 0 && !l->stopping;
	if (same && (events & POLLNVAL))
		s->fd = -1;
	lock_drop(&l->lock);
	if (same)
		s->ready(s, events);
}

static void tell_due(struct loop *l)
{
	uint64_t now_ms = loop_now(l);
	struct loop_source *s;

	lock_take(&l->lock);
	s = l->sources;
	while (s && !l->stopping) {
		bool due = s->due_ms && s->due_ms <= now_ms;

		if (due) {
			s->due_ms = 0;
			lock_drop(&l->lock);
			s->ready(s, 0);
			lock_take(&l->lock);
		}
		s = s->next;
	}
	lock_drop(&l->lock);
}

static void *loop_main(void *arg)
{
	struct loop *l = arg;

	prctl(PR_SET_NAME, "podpci");
	for (;;) {
		uint64_t due_ms;
		bool stop;
		unsigned n;

		lock_take(&l->lock);
		n = gather(l, &due_ms);
		stop = l->stopping;
		lock_drop(&l->lock);
		if (stop)
			return NULL;
		wait_for(l, n, due_ms);
		for (unsigned i = 1; i < n; i++)
			tell_one(l, i);
		tell_due(l);
	}
}

void loop_turn(struct loop *l, uint64_t told, unsigned first)
{
	static const struct timespec at_once;
	uint64_t due_ms;
	unsigned n;

	assert(l->world);
	if (!l->running)
		return;
	lock_take(&l->lock);
	n = gather(l, &due_ms);
	lock_drop(&l->lock);
	if (sys_call(SYS_ppoll, l->polled, n, &at_once, NULL, 0) < 0)
		return;
	if (l->polled[0].revents)
		fd_drain(l->wake_fd);
	for (unsigned k = 0; k + 1 < n; k++) {
		unsigned i = (first + k) % (n - 1);

		if (i >= 64 || (told >> i & 1))
			tell_one(l, i + 1);
	}
	tell_due(l);
}

/*
 * A process with much thread-local data cannot have a stack as small as we would like: libc puts
 * that data on it and says EINVAL.
 */
static int spawn(struct loop *l)
{
	static const size_t sizes[] = { STACK_BYTES, 8 * STACK_BYTES, 64 * STACK_BYTES };
	pthread_attr_t attr;
	int rc = EINVAL;

	if (!pthread_create || !pthread_attr_setstacksize)
		return -ENOSYS;
	if (fault_now() || pthread_attr_init(&attr))
		return -EAGAIN;
	for (unsigned i = 0; rc == EINVAL && i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		pthread_attr_setstacksize(&attr, sizes[i]);
		rc = pthread_create(&l->thread, &attr, loop_main, l);
	}
	pthread_attr_destroy(&attr);
	return -rc;
}

/*
 * The mask is set by the raw call, which no override sees. Left open: what an instruction
 * raises, and libc's own two signals below SIGRTMIN (setuid() of the application waits until
 * each thread has handled one).
 */
static int spawn_masked(struct loop *l)
{
	static const int open[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, 32, 33, 34 };
	uint64_t blocked = ~UINT64_C(0), was;
	int rc;

	for (unsigned i = 0; i < sizeof(open) / sizeof(open[0]) && open[i] < SIGRTMIN; i++)
		blocked &= ~(UINT64_C(1) << (open[i] - 1));
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, &was, sizeof(was));
	rc = spawn(l);
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, sizeof(was));
	return rc;
}

int loop_start(struct loop *l)
{
	int rc = 0;

	if (l->wake_fd < 0)
		return -ENODEV;		/* an orphan */
	lock_take(&l->gate);
	if (!l->running) {
		l->stopping = false;
		rc = l->world ? (fault_now() ? -EAGAIN : 0) : spawn_masked(l);
		l->running = !rc;
	}
	lock_drop(&l->gate);
	return rc;
}

void loop_stop(struct loop *l)
{
	lock_take(&l->gate);
	if (l->running && l->world) {
		l->running = false;
	} else if (l->running) {
		assert(!pthread_equal(pthread_self(), l->thread));
		lock_take(&l->lock);
		l->stopping = true;
		lock_drop(&l->lock);
		fd_signal(l->wake_fd);
		pthread_join(l->thread, NULL);
		l->running = false;
	}
	lock_drop(&l->gate);
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	loop_stop(l);
	fd_drop(&l->wake_fd);
	fault_pages_free(l, sizeof(*l));
}

void loop_orphan(struct loop *l)
{
	/* The holders of the locks, if any, were not forked. */
	l->lock = (struct lock){ 0 };
	l->gate = (struct lock){ 0 };
	l->running = false;
	fd_drop(&l->wake_fd);
}

/* Lock held. */
static void link_source(struct loop *l, struct loop_source *s)
{
	if (s->linked)
		return;
	assert(l->linked < LOOP_SOURCES_MAX);
	l->linked++;
	s->linked = 1;
	s->next = l->sources;
	l->sources = s;
}

void loop_watch(struct loop *l, struct loop_source *s, int fd)
{
	lock_take(&l->lock);
	link_source(l, s);
	s->fd = fd;
	s->watch++;
	lock_drop(&l->lock);
	fd_signal(l->wake_fd);
}

void loop_timer(struct loop *l, struct loop_source *s, uint64_t due_ms)
{
	lock_take(&l->lock);
	link_source(l, s);
	s->due_ms = due_ms;
	lock_drop(&l->lock);
	fd_signal(l->wake_fd);
}
