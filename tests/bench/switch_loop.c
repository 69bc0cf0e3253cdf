// SPDX-License-Identifier: Apache-2.0
/*
 * switch_loop.c - the plainest forwarder there can be: all that one vhost-user port takes is
 * given to the other, in one polling thread. What it costs is what the ports cost.
 *
 *	switch_loop SOCKET SOCKET [seconds [core]]
 *
 * One line per second: million packets delivered per second, and TSC cycles per packet of the
 * rounds in which there was one (as testpmd's --record-core-cycles counts).
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

#define ROUNDS 1024		/* between looks at sockets and clock */

static volatile sig_atomic_t over;

struct side {
	struct port *p;
	bool again;
};

struct meter {
	uint64_t packets, busy, rounds;
};

static struct batch batch;

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
	m->rounds++;
	if (!n)
		return;
	m->packets += n;
	m->busy += __builtin_ia32_rdtsc() - start;
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
	struct meter m = { 0 }, last = { 0 };
	struct poller *poller;
	uint64_t shown = now_ms();

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
	while (!over && now_ms() < end) {
		uint64_t now = now_ms();

		poller_run(poller, 0);
		for (int i = 0; i < 2; i++)
			s[i].p->ops->tick(s[i].p, now);
		for (unsigned i = 0; i < ROUNDS; i++)
			run_round(s, &m);
		if (now - shown < 1000)
			continue;
		if (m.packets != last.packets)
			printf("%.2f Mpps %.1f cycles/packet %.1f packets/round\n",
			       (double)(m.packets - last.packets) / (double)(now - shown) / 1e3,
			       (double)(m.busy - last.busy) / (double)(m.packets - last.packets),
			       (double)(m.packets - last.packets) /
			       (double)(m.rounds - last.rounds));
		fflush(stdout);
		last = m;
		shown = now;
	}
	show_counters(s);
	for (int i = 0; i < 2; i++)
		s[i].p->ops->free(s[i].p);
	poller_free(poller);
	return 0;
}
