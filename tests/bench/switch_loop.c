// SPDX-License-Identifier: Apache-2.0
/*
 * switch_loop.c - the plainest forwarder there can be: all that one vhost-user port takes is
 * given to the other, in one polling thread. What it costs is what the ports cost.
 *
 *	switch_loop SOCKET SOCKET [seconds [core]]
 *
 * One line per second: TSC cycles a packet (of rounds in which there was one) and million packets
 * a second (meter.h). At the end all counters.
 */
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "include/backend.h"
#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/bench/meter.h"

#define ROUNDS 1024		/* between looks at sockets and clock */

static volatile sig_atomic_t over;

struct side {
	struct port *p;
	bool again;
};

static struct batch batch;
static uint64_t rest;

static void on_signal(int sig)
{
	(void)sig;
	over = 1;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t tsc_hz(void)
{
	struct timespec a, b, nap = { 0, 50000000 };
	uint64_t start;

	clock_gettime(CLOCK_MONOTONIC, &a);
	start = __builtin_ia32_rdtsc();
	nanosleep(&nap, NULL);
	clock_gettime(CLOCK_MONOTONIC, &b);
	return (__builtin_ia32_rdtsc() - start) * 1000000000ull /
	       (uint64_t)((b.tv_sec - a.tv_sec) * 1000000000ll + b.tv_nsec - a.tv_nsec);
}

static unsigned forward(struct side *from, struct side *to)
{
	struct frame *f[PORT_BURST];
	unsigned taken = 0;

	for (unsigned q = 0; q < from->p->takes; q++) {
		unsigned n = from->p->ops->take(from->p, q, &batch, PORT_BURST);

		for (unsigned i = 0; i < n; i++)
			f[i] = &batch.frame[i];
		if (n) {
			taken += to->p->ops->give(to->p, q, f, n);
			to->again = true;
		}
		if (batch.entries) {
			from->p->ops->release(from->p, q, &batch);
			from->again = true;
		}
	}
	return taken;
}

static void run_round(struct side *s, struct meter *m)
{
	uint64_t start = __builtin_ia32_rdtsc();
	unsigned n = forward(&s[0], &s[1]) + forward(&s[1], &s[0]);

	for (int i = 0; i < 2; i++)
		if (s[i].again)
			s[i].again = s[i].p->ops->notify(s[i].p);
	meter_round(m, start, __builtin_ia32_rdtsc(), n);
	if (!n && rest)
		for (uint64_t t = __builtin_ia32_rdtsc() + rest; __builtin_ia32_rdtsc() < t; )
			__builtin_ia32_pause();
}

static int make_port(struct side *s, const char *path, struct poller *poller)
{
	struct vus_config cfg = { .name = path, .socket = path, .mode = 0666, .pairs = 8 };
	struct err e = { 0 };
	const char *mask = getenv("SWITCH_FEATURES");

	cfg.features = mask ? strtoull(mask, NULL, 0) : 0;
	if (vus_new(&s->p, &cfg, NULL, NULL, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return -1;
	}
	return s->p->ops->attach(s->p, poller);
}

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void show_counters(const struct side *s)
{
	for (int i = 0; i < 2; i++) {
		uint64_t row[PORT_COUNTERS] = { 0 };

		s[i].p->ops->count(s[i].p, row);
		for (unsigned c = 0; c < PORT_COUNTERS; c++)
			if (row[c])
				printf("%s %s %llu\n", s[i].p->name, port_counter_name(c),
				       (unsigned long long)row[c]);
	}
}

int main(int argc, char **argv)
{
	uint64_t end = argc > 3 ? now_ms() + 1000 * strtoull(argv[3], NULL, 0) : UINT64_MAX;
	struct side s[2] = { { .p = NULL } };
	static struct meter m;
	struct poller *poller;
	uint64_t shown = now_ms(), hz = tsc_hz();

	log_init(getenv("PODPCI_LOG"));
	if (argc < 3 || poller_new(&poller) < 0 || guard_install() < 0)
		return 2;
	if (argc > 4)
		pin(atoi(argv[4]));
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	for (int i = 0; i < 2; i++)
		if (make_port(&s[i], argv[1 + i], poller) < 0)
			return 1;
	rest = getenv("REST") ? strtoull(getenv("REST"), NULL, 0) : 0;
	meter_reset(&m, hz, __builtin_ia32_rdtsc());
	while (!over && now_ms() < end) {
		uint64_t now = now_ms();

		poller_run(poller, 0);
		for (int i = 0; i < 2; i++)
			s[i].p->ops->tick(s[i].p, now);
		for (unsigned i = 0; i < ROUNDS; i++)
			run_round(s, &m);
		if (now - shown < 1000)
			continue;
		meter_print(&m, "podpci");
		meter_reset(&m, hz, __builtin_ia32_rdtsc());
		shown = now;
	}
	show_counters(s);
	for (int i = 0; i < 2; i++)
		s[i].p->ops->free(s[i].p);
	poller_free(poller);
	return 0;
}
