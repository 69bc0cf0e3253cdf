// SPDX-License-Identifier: Apache-2.0
// core_loop.c - the background thread: watches, timers, start and stop.
#include <errno.h>
#include <poll.h>
#include <pthread.h>	/* pthread_create() is the loop's: this test runs under TSan too */
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/loop.h"
#include "tests/unit/cu.h"

struct probe {
	struct loop_source src;		/* first: the callback's argument */
	struct loop *loop;
	sem_t        seen;
	unsigned     timers, readies;
	uint32_t     events;
	pthread_t    in;
	uint64_t     again_ms;
};

static void on_event(struct loop_source *s, uint32_t events)
{
	struct probe *p = (struct probe *)s;
	uint64_t n;

	p->in = pthread_self();
	p->events = events;
	if (!events) {
		p->timers++;
		if (p->again_ms && p->timers < 3)
			loop_timer(p->loop, s, loop_now_ms() + p->again_ms);
	} else {
		p->readies++;
		if (!(events & POLLNVAL))
			(void)!read(s->fd, &n, sizeof(n));
	}
	sem_post(&p->seen);
}

static void probe_init(struct probe *p, struct loop *l)
{
	memset(p, 0, sizeof(*p));
	p->src = (struct loop_source){ .ready = on_event, .fd = -1 };
	p->loop = l;
	sem_init(&p->seen, 0, 0);
}

/* True if the probe was called within the time. */
static bool called(struct probe *p, unsigned timeout_ms)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	t.tv_nsec += (long)timeout_ms * 1000000;
	t.tv_sec += t.tv_nsec / 1000000000;
	t.tv_nsec %= 1000000000;
	return sem_timedwait(&p->seen, &t) == 0;
}

static struct loop *running(void)
{
	struct loop *l = NULL;

	CU_EQ_FATAL(loop_new(&l), 0);
	CU_EQ(loop_start(l), 0);
	CU_EQ(loop_start(l), 0);
	return l;
}

static void no_thread_runs_before_start(void)
{
	unsigned before = fds_open();
	struct loop *l = NULL;
	struct probe p;

	CU_EQ(loop_new(&l), 0);
	probe_init(&p, l);
	loop_timer(l, &p.src, 1);
	CU_ASSERT_FALSE(called(&p, 30));
	CU_EQ(loop_start(l), 0);
	CU_ASSERT_TRUE(called(&p, 5000));
	loop_free(l);
	CU_EQ(fds_open(), before);
}

static void a_ready_descriptor_is_told_in_the_loops_thread(void)
{
	struct loop *l = running();
	int fd = eventfd(0, EFD_NONBLOCK);
	struct probe p;

	probe_init(&p, l);
	loop_watch(l, &p.src, fd);
	CU_ASSERT_FALSE(called(&p, 20));
	for (unsigned i = 0; i < 3; i++) {
		fd_signal(fd);
		CU_ASSERT_TRUE(called(&p, 5000));
	}
	loop_stop(l);
	CU_EQ(p.readies, 3);
	CU_EQ(p.events, POLLIN);
	CU_ASSERT_FALSE(pthread_equal(p.in, pthread_self()));
	loop_free(l);
	close(fd);
}

static void many_sources_are_told_apart(void)
{
	struct loop *l = running();
	struct probe p[8];
	int fd[8];

	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		fd[i] = eventfd(0, EFD_NONBLOCK);
		probe_init(&p[i], l);
		loop_watch(l, &p[i].src, fd[i]);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		for (unsigned k = 0; k <= i; k++)
			if (i % 2)
				loop_timer(l, &p[i].src, 1);
			else
				fd_signal(fd[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++)
		CU_ASSERT_TRUE(called(&p[i], 5000));
	loop_stop(l);
	for (unsigned i = 0; i < ARRAY_SIZE(p); i++) {
		CU_EQ(p[i].timers > 0, i % 2);
		CU_EQ(p[i].readies > 0, !(i % 2));
		close(fd[i]);
	}
	loop_free(l);
}

static void an_ended_watch_is_silent(void)
{
	struct loop *l = running();
	int fd = eventfd(0, EFD_NONBLOCK);
	struct probe p;

	probe_init(&p, l);
	loop_watch(l, &p.src, fd);
	loop_watch(l, &p.src, -1);
	fd_signal(fd);
	CU_ASSERT_FALSE(called(&p, 30));
	loop_watch(l, &p.src, fd);
	CU_ASSERT_TRUE(called(&p, 5000));
	loop_free(l);
	close(fd);
}

static void a_closed_descriptor_ends_its_watch_instead_of_spinning(void)
{
	struct loop *l = running();
	int fd = eventfd(0, EFD_NONBLOCK);
	struct probe p;

	probe_init(&p, l);
	close(fd);
	loop_watch(l, &p.src, fd);
	CU_ASSERT_TRUE(called(&p, 5000));
	CU_ASSERT_FALSE(called(&p, 30));
	loop_stop(l);
	CU_EQ(p.events, POLLNVAL);
	CU_EQ(p.readies, 1);
	loop_free(l);
}

static uint64_t cpu_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void a_limit_below_what_is_polled_slows_the_loop_but_does_not_heat_it(void)
{
	struct loop *l = running();
	int fd = eventfd(0, EFD_NONBLOCK);
	struct rlimit was, low;
	struct probe p;
	uint64_t start;

	probe_init(&p, l);
	loop_watch(l, &p.src, fd);
	getrlimit(RLIMIT_NOFILE, &was);
	low = was;
	low.rlim_cur = 1;
	setrlimit(RLIMIT_NOFILE, &low);
	loop_watch(l, &p.src, fd);	/* wakes it into the failing poll() */
	start = cpu_ms();
	usleep(200000);
	CU_ASSERT_TRUE(cpu_ms() - start < 100);
	setrlimit(RLIMIT_NOFILE, &was);
	fd_signal(fd);
	CU_ASSERT_TRUE(called(&p, 5000));
	loop_free(l);
	close(fd);
}

static void a_timer_strikes_once_and_not_early(void)
{
	struct loop *l = running();
	uint64_t start = loop_now_ms();
	struct probe p;

	probe_init(&p, l);
	loop_timer(l, &p.src, start + 50);
	CU_ASSERT_TRUE(called(&p, 5000));
	CU_ASSERT_TRUE(loop_now_ms() >= start + 50);
	CU_ASSERT_FALSE(called(&p, 80));
	loop_stop(l);
	CU_EQ(p.timers, 1);
	CU_EQ(p.events, 0);
	loop_free(l);
}

static void a_timer_can_be_armed_anew_from_its_callback_and_taken_back(void)
{
	struct loop *l = running();
	struct probe p, q;

	probe_init(&p, l);
	probe_init(&q, l);
	p.again_ms = 1;
	loop_timer(l, &q.src, loop_now_ms() + 100000);
	loop_timer(l, &q.src, 0);
	loop_timer(l, &p.src, loop_now_ms());
	for (unsigned i = 0; i < 3; i++)
		CU_ASSERT_TRUE(called(&p, 5000));
	CU_ASSERT_FALSE(called(&p, 30));
	loop_stop(l);
	CU_EQ(p.timers, 3);
	CU_EQ(q.timers, 0);
	loop_free(l);
}

static void a_stopped_loop_starts_again(void)
{
	struct loop *l = running();
	struct probe p;

	probe_init(&p, l);
	loop_stop(l);
	loop_stop(l);
	loop_timer(l, &p.src, 1);
	CU_ASSERT_FALSE(called(&p, 20));
	CU_EQ(loop_start(l), 0);
	CU_ASSERT_TRUE(called(&p, 5000));
	loop_free(l);
}

/* From /proc/self/task: the name and blocked signals of the thread that is not us. */
static bool other_thread(char name[32], unsigned long *blocked)
{
	DIR *d = opendir("/proc/self/task");
	char path[64], line[256];
	struct dirent *ent;
	bool found = false;

	while (d && (ent = readdir(d))) {
		FILE *f;

		if (ent->d_name[0] == '.' || atoi(ent->d_name) == getpid())
			continue;
		snprintf(path, sizeof(path), "/proc/self/task/%.16s/status", ent->d_name);
		f = fopen(path, "r");
		while (f && fgets(line, sizeof(line), f)) {
			sscanf(line, "Name: %31s", name);
			sscanf(line, "SigBlk: %lx", blocked);
		}
		if (f)
			fclose(f);
		if (!strcmp(name, "podpci")) {
			found = true;
			break;
		}
	}
	if (d)
		closedir(d);
	return found;
}

static void the_thread_has_a_name_and_takes_no_signals_but_its_own_faults(void)
{
	struct loop *l = running();
	unsigned long blocked = 0;
	char name[32] = "";
	struct probe p;

	probe_init(&p, l);
	loop_timer(l, &p.src, 1);
	CU_ASSERT_TRUE(called(&p, 5000));
	CU_ASSERT_TRUE(other_thread(name, &blocked));
	CU_EQ(blocked >> (SIGTERM - 1) & 1, 1);
	CU_EQ(blocked >> (SIGALRM - 1) & 1, 1);
	CU_EQ(blocked >> (SIGRTMAX - 1) & 1, 1);
	CU_EQ(blocked >> (SIGSEGV - 1) & 1, 0);
	CU_EQ(blocked >> (SIGBUS - 1) & 1, 0);
	CU_EQ(blocked >> (33 - 1) & 1, 0);
	loop_free(l);
}

static void an_orphan_has_no_thread_and_gets_none(void)
{
	struct loop *l = running();
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		loop_orphan(l);
		_exit(loop_start(l) == -ENODEV ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CU_EQ(status, 0);
	loop_free(l);
}

static void each_missing_resource_is_an_error_and_leaks_nothing(void)
{
	unsigned before = fds_open(), n;

	for (n = 1; n < 20; n++) {
		struct loop *l = NULL;
		int rc;

		fault_arm(n);
		rc = loop_new(&l);
		if (!rc) {
			rc = loop_start(l);
			loop_free(l);
		}
		CU_EQ(fds_open(), before);
		if (fault_armed())
			break;
		CU_ASSERT_TRUE(rc < 0);
	}
	fault_arm(0);
	CU_EQ(n, 4);	/* memory, eventfd, thread */
}

/* ---- a world of one's own -------------------------------------------------------------------- */

static uint64_t world_now(void *ctx)
{
	return *(uint64_t *)ctx;
}

static int world_wait(void *ctx, struct pollfd *p, unsigned n, uint64_t until_ms)
{
	*(uint64_t *)ctx = until_ms;
	return 0;
}

static void in_a_world_time_and_turns_are_the_makers(void)
{
	uint64_t now_ms = 1000;
	const struct loop_world w = { &now_ms, world_now, world_wait, 7 };
	struct probe p, q;
	struct loop *l;

	CU_EQ(loop_new_in(&l, &w), 0);
	probe_init(&p, l);
	probe_init(&q, l);
	CU_EQ(loop_start(l), 0);
	CU_EQ(loop_seed(l), 7);
	loop_timer(l, &p.src, 1500);
	loop_turn(l, ~UINT64_C(0), 0);
	CU_EQ(p.timers, 0);
	CU_EQ(loop_wait(l, NULL, 0, 1500), 0);
	CU_EQ(loop_now(l), 1500);
	loop_turn(l, 0, 0);
	CU_EQ(p.timers, 1);
	CU_ASSERT(pthread_equal(p.in, pthread_self()));
	/* Events may be held back. */
	loop_watch(l, &q.src, eventfd(1, EFD_NONBLOCK));
	loop_turn(l, 0, 0);
	CU_EQ(q.readies, 0);
	loop_turn(l, 1, 0);
	CU_EQ(q.readies, 1);
	close(q.src.fd);
	loop_free(l);
}

struct opener {
	struct loop_source src;
	struct probe *p;
	int fd;				/* the number it watches anew, with something to read */
};

static void on_open(struct loop_source *s, uint32_t events)
{
	struct opener *o = (struct opener *)s;
	int fd = eventfd(1, EFD_NONBLOCK);

	CU_EQ(fd, o->fd);
	loop_watch(o->p->loop, &o->p->src, fd);
}

/* Closed by its owner, and the number given to the next: that one has its own events. */
static void what_a_closed_descriptor_did_is_not_told_of_the_next_with_its_number(void)
{
	uint64_t now_ms = 1000;
	const struct loop_world w = { &now_ms, world_now, world_wait, 7 };
	struct opener o = { .src = { .ready = on_open, .fd = -1 } };
	int other = eventfd(1, EFD_NONBLOCK);
	struct probe p;

	CU_EQ(loop_new_in(&p.loop, &w), 0);
	probe_init(&p, p.loop);
	CU_EQ(loop_start(p.loop), 0);
	o.p = &p;
	o.fd = eventfd(0, EFD_NONBLOCK);
	loop_watch(p.loop, &p.src, o.fd);
	loop_watch(p.loop, &o.src, other);
	close(o.fd);
	loop_turn(p.loop, ~UINT64_C(0), 0);
	CU_EQ(p.readies, 0);
	loop_watch(p.loop, &o.src, -1);
	loop_turn(p.loop, ~UINT64_C(0), 0);
	CU_EQ(p.readies, 1);
	CU_EQ(p.events, POLLIN);
	loop_free(p.loop);
	close(other);
	close(o.fd);
}

CU_MAIN("core/loop",
	T(no_thread_runs_before_start),
	T(a_ready_descriptor_is_told_in_the_loops_thread),
	T(many_sources_are_told_apart),
	T(an_ended_watch_is_silent),
	T(a_closed_descriptor_ends_its_watch_instead_of_spinning),
	T(a_limit_below_what_is_polled_slows_the_loop_but_does_not_heat_it),
	T(a_timer_strikes_once_and_not_early),
	T(a_timer_can_be_armed_anew_from_its_callback_and_taken_back),
	T(a_stopped_loop_starts_again),
	T(the_thread_has_a_name_and_takes_no_signals_but_its_own_faults),
	T(an_orphan_has_no_thread_and_gets_none),
	T(each_missing_resource_is_an_error_and_leaks_nothing),
	T(in_a_world_time_and_turns_are_the_makers),
	T(what_a_closed_descriptor_did_is_not_told_of_the_next_with_its_number))
