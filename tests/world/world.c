// SPDX-License-Identifier: Apache-2.0
/*
 * world.c - runs a seed, or many.
 *
 *	world [-v] [-b] [SEED [COUNT]]
 *
 * -v tells every event; -b breaks the first connection at each byte in turn instead. Without a
 * seed it does a little of both, from $WORLD_SEED on. Checkers:
 * each buffer comes back once, frames arrive once and in order, a calm world delivers all that was
 * sent, descriptors and kept descriptors are at the end what they were.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/app/config.h"
#include "sim/app/sim.h"
#include "sim/bus/pci.h"
#include "sim/core/fd.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"
#include "tests/world/world.h"

#define STEPS      1200		/* of the stormy part */
#define STEPS_CUT  60		/* likewise, where one connection is what it is about */
#define CALM_STEPS 20000	/* and what the calm part may take */
#define FDS_WATCHED 1024
#define EVENTS_MAX 65536	/* of a run */
#define REPLAYS    3		/* seeds that are run twice */
#define SEEDS      300		/* of a run without arguments */

/* ---- chance and events ---------------------------------------------------------------------- */

uint64_t world_rand(struct world *w, uint64_t below)
{
	/* splitmix64, public domain (Vigna) */
	uint64_t z = w->rng += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (z ^ z >> 31) % below;
}

bool world_chance(struct world *w, unsigned per_mille)
{
	return !w->calm && world_rand(w, 1000) < per_mille;
}

void world_note(struct world *w, const char *what, uint64_t a, uint64_t b)
{
	const uint64_t parts[] = { w->now_ms, a, b };

	for (const char *p = what; *p; p++)
		w->hash = (w->hash ^ (uint8_t)*p) * 0x100000001b3ull;
	for (unsigned i = 0; i < 3; i++)
		w->hash = (w->hash ^ parts[i]) * 0x100000001b3ull;
	if (w->events && w->events_n < w->events_max)
		w->events[w->events_n] = (struct event){ w->now_ms, a, b, what };
	w->events_n++;
	if (w->trace)
		printf("%8" PRIu64 " %s %" PRIu64 " %" PRIu64 "\n", w->now_ms, what, a, b);
}

void world_wrong(struct world *w, const char *fmt, ...)
{
	va_list ap;

	if (w->wrong[0])
		return;
	va_start(ap, fmt);
	vsnprintf(w->wrong, sizeof(w->wrong), fmt, ap);
	va_end(ap);
}

/* ---- time ----------------------------------------------------------------------------------- */

static uint64_t world_now(void *ctx)
{
	return ((struct world *)ctx)->now_ms;
}

/* The device waits: its back-end goes on, and when that has nothing to do time passes. */
static int world_wait(void *ctx, struct pollfd *p, unsigned n, uint64_t until_ms)
{
	struct world *w = ctx;

	for (;;) {
		bool moved = wb_talk(w);
		int rc;

		if (world_chance(w, 100))
			wb_pump(w);
		rc = n ? poll(p, n, 0) : 0;
		if (rc || w->now_ms >= until_ms)
			return rc;
		if (!moved)
			w->now_ms += 1 + world_rand(w, 3);
	}
}

/* ---- a run ---------------------------------------------------------------------------------- */

static void step(struct world *w)
{
	switch (world_rand(w, 6)) {
	case 0:
		wb_talk(w);
		break;
	case 1:
		wb_pump(w);
		break;
	case 2:		/* events late, in any order, or not at all this time */
		loop_turn(pci_bus_loop(w->d.bus), world_rand(w, 256), (unsigned)world_rand(w, 8));
		break;
	case 3:
		w->now_ms += world_rand(w, 40);
		break;
	default:
		driver_step(w, true);
		break;
	}
}

static void calm_down(struct world *w)
{
	w->calm = true;
	w->b.cut_in = w->b.cut_out = WB_NEVER;
	for (unsigned i = 0; i < CALM_STEPS && !w->wrong[0]; i++) {
		wb_talk(w);
		wb_pump(w);
		loop_turn(pci_bus_loop(w->d.bus), ~UINT64_C(0), 0);
		driver_step(w, false);
		if (w->d.running && driver_idle(w))
			return;
		w->now_ms += 5;
	}
	for (unsigned i = 0; i < w->d.pairs; i++)
		if (w->d.tx[i].out || w->d.flow[i].got != w->d.flow[i].sent)
			world_wrong(w, "pair %u: frame %" PRIu64 " of %" PRIu64 " was the last to "
				    "come; %u and %u buffers are out", i, w->d.flow[i].got,
				    w->d.flow[i].sent, w->d.tx[i].out, w->d.rx[i].out);
	world_wrong(w, "no calm: %u of %u pairs are active", w->d.active, w->d.pairs);
}

static bool bus_up(struct world *w)
{
	struct config c;
	struct err *e = NULL;
	char text[200];

	snprintf(text, sizeof(text), "socket=%s,timeout=200,wait=50,queues=%u", w->path,
		 1 + (unsigned)world_rand(w, w->b.pairs));
	config_init(&c);
	return !config_add_net(&c, text, e) && !config_finish(&c, e) &&
	       !sim_new_in(&w->d.bus, &c, &w->lw, e);
}

struct ledger { bool open[FDS_WATCHED]; unsigned kept; };

/* poll(2) knows of all of them in one call. */
static void ledger_take(struct ledger *l)
{
	static struct pollfd p[FDS_WATCHED];

	for (int fd = 0; fd < FDS_WATCHED; fd++)
		p[fd] = (struct pollfd){ .fd = fd };
	if (poll(p, FDS_WATCHED, 0) < 0)
		abort();
	for (int fd = 0; fd < FDS_WATCHED; fd++)
		l->open[fd] = !(p[fd].revents & POLLNVAL);
	l->kept = fd_kept_count();
}

static void ledger_check(struct world *w, const struct ledger *l)
{
	struct ledger now;

	ledger_take(&now);
	for (int fd = 0; fd < FDS_WATCHED; fd++)
		if (l->open[fd] != now.open[fd])
			world_wrong(w, "descriptor %d is %s at the end", fd,
				    l->open[fd] ? "closed" : "open");
	if (l->kept != now.kept)
		world_wrong(w, "%u descriptors are kept at the end, %u were before", now.kept,
			    l->kept);
}

bool world_run(struct world *w, uint64_t seed, uint64_t cut_first)
{
	unsigned steps = cut_first == WB_NEVER ? STEPS : STEPS_CUT;
	struct world kept = { .trace = w->trace, .events = w->events,
			      .events_max = w->events_max };
	struct ledger before;

	ledger_take(&before);
	*w = kept;
	w->seed = w->rng = seed;
	w->hash = 0xcbf29ce484222325ull;
	w->now_ms = 1000;
	w->cut_first = cut_first;
	w->lw = (struct loop_world){ w, world_now, world_wait, seed };
	snprintf(w->path, sizeof(w->path), "/tmp/podpci-world-%d.sock", (int)getpid());
	wb_init(w);
	if (!bus_up(w) || !driver_up(w)) {
		world_wrong(w, "the device does not come up");
	} else {
		for (unsigned i = 0; i < steps && !w->wrong[0]; i++)
			step(w);
		calm_down(w);
	}
	driver_down(w);
	wb_fini(w);
	ledger_check(w, &before);
	return !w->wrong[0];
}

/* ---- the program ---------------------------------------------------------------------------- */

static struct world world, again;

static int fail(uint64_t seed, uint64_t cut)
{
	printf("not ok seed %" PRIu64 ": %s\n", seed, world.wrong);
	if (cut == WB_NEVER)
		printf("# make world SEED=%" PRIu64 "\n", seed);
	else
		printf("# first connection broken at byte %" PRIu64 "\n", cut);
	return 1;
}

static bool same_event(const struct event *a, const struct event *b)
{
	return a->at_ms == b->at_ms && a->a == b->a && a->b == b->b && !strcmp(a->what, b->what);
}

/* The first event in which the two runs differ, or their number. */
static unsigned first_difference(void)
{
	unsigned i = 0;

	while (i < world.events_n && i < again.events_n &&
	       same_event(&world.events[i], &again.events[i]))
		i++;
	return i;
}

/* The same seed twice is the same run, event by event, whether it ends well or not. */
static int replays(uint64_t seed, unsigned count)
{
	static struct event kept[2][EVENTS_MAX];
	unsigned events = 0, at;

	world.events = kept[0];
	again.events = kept[1];
	world.events_max = again.events_max = EVENTS_MAX;
	for (unsigned i = 0; i < count; i++, events += at) {
		world_run(&again, seed + i, WB_NEVER);
		world_run(&world, seed + i, WB_NEVER);
		at = first_difference();
		if (at < world.events_n || at < again.events_n || world.hash != again.hash ||
		    strcmp(world.wrong, again.wrong)) {
			printf("not ok seed %" PRIu64 " does not replay from event %u on\n",
			       seed + i, at);
			return 1;
		}
	}
	world.events = again.events = NULL;
	printf("ok %u seeds replay, each of %u events the same\n", count, events);
	return 0;
}

static int seeds(uint64_t seed, uint64_t count)
{
	uint64_t frames = 0, deaths = 0, resets = 0, ms = 0;
	uint64_t commands = 0, ring_resets = 0, hot = 0, chains = 0, back = 0, finished = 0;

	for (uint64_t i = 0; i < count; i++) {
		if (!world_run(&world, seed + i, WB_NEVER))
			return fail(seed + i, WB_NEVER);
		frames += world.d.frames;
		deaths += world.b.deaths;
		resets += world.d.resets;
		commands += world.d.commands;
		ring_resets += world.d.ring_resets;
		hot += world.d.hot;
		chains += world.d.chains;
		back += world.d.given_back;
		finished += world.b.finished;
		ms += world.now_ms;
	}
	printf("ok seeds %" PRIu64 " to %" PRIu64 ": nothing lost, doubled or left behind\n", seed,
	       seed + count - 1);
	printf("# %" PRIu64 " frames, %" PRIu64 " of them in memory that came later, %" PRIu64
	       " in chains, %" PRIu64 " commands,\n# %" PRIu64 " deaths of back-ends, %" PRIu64
	       " batches finished by records, %" PRIu64 " buffers given back in doubt,\n# %" PRIu64
	       " resets and %" PRIu64 " of single rings, %" PRIu64 " s of the world\n", frames, hot,
	       chains, commands, deaths, finished, back, resets, ring_resets, ms / 1000);
	return frames && (count < 20 || deaths) ? 0 : 1;
}

/* Until the first connection outlives the run, in both directions. */
static int every_byte(uint64_t seed)
{
	unsigned missed = 0;
	uint64_t n;

	for (n = 0; n < 20000 && missed < 4; n++) {
		if (!world_run(&world, seed, n))
			return fail(seed, n);
		missed = world.cut_hit ? 0 : missed + 1;
	}
	printf("ok a connection may break at each of %" PRIu64 " bytes, in and out\n", n / 2);
	return n < 100;
}

int main(int argc, char **argv)
{
	bool bytes = false;
	uint64_t seed, count;
	int at = 1, failed = 0;

	for (; at < argc && argv[at][0] == '-'; at++) {
		bytes |= argv[at][1] == 'b';
		world.trace |= argv[at][1] == 'v';
	}
	if (at >= argc) {
		seed = strtoull(getenv("WORLD_SEED") ? getenv("WORLD_SEED") : "1", NULL, 0);
		count = SEEDS;
	} else {
		seed = strtoull(argv[at], NULL, 0);
		count = at + 1 < argc ? strtoull(argv[at + 1], NULL, 0) : 1;
	}
	log_init(getenv("PODPCI_LOG") ? getenv("PODPCI_LOG") : "error");
	guard_install();
	if (bytes || at >= argc)
		failed = every_byte(seed);
	if (bytes)
		return failed;
	if (count > 1 && replays(seed, REPLAYS))
		return 1;
	return seeds(seed, count) || failed;
}
