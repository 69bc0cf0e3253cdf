/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meter.h - what a forwarding loop costs and carries, on a machine that is not ours alone.
 *
 * A mean over seconds mostly tells how often somebody else ran. So the cost is the median over
 * rounds that moved packets (weighted by packets), and the rate a high percentile of short
 * windows: what the loop does while both ends are on their cores.
 */
#ifndef TESTS_BENCH_METER_H
#define TESTS_BENCH_METER_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define METER_COSTS	4096	/* cycles a packet, one by one */
#define METER_RATES	8192	/* packets a window */
#define METER_WINDOW_US	100

struct meter {
	uint64_t hz, window_end, total, busy, rounds;
	uint32_t in_window;
	uint64_t cost[METER_COSTS], rate[METER_RATES];
};

static inline void meter_reset(struct meter *m, uint64_t hz, uint64_t now)
{
	memset(m, 0, sizeof(*m));
	m->hz = hz;
	m->window_end = now + hz / 1000000 * METER_WINDOW_US;
}

/* A round that moved n packets and took from start to now. */
static inline void meter_round(struct meter *m, uint64_t start, uint64_t now, unsigned n)
{
	uint64_t each = n ? (now - start) / n : 0;

	if (n) {
		m->cost[each < METER_COSTS ? each : METER_COSTS - 1] += n;
		m->total += n;
		m->rounds++;
		m->busy += now - start;
		m->in_window += n;
	}
	if (now < m->window_end)
		return;
	/* A window that was overslept says nothing. */
	if (now - m->window_end < m->hz / 1000000 * METER_WINDOW_US / 20)
		m->rate[m->in_window < METER_RATES ? m->in_window : METER_RATES - 1]++;
	m->in_window = 0;
	m->window_end = now + m->hz / 1000000 * METER_WINDOW_US;
}

static inline unsigned meter_percentile(const uint64_t *h, unsigned n, double p)
{
	uint64_t all = 0, seen = 0;

	for (unsigned i = 0; i < n; i++)
		all += h[i];
	for (unsigned i = 0; i < n; i++) {
		seen += h[i];
		if (all && (double)seen >= p * (double)all)
			return i;
	}
	return 0;
}

static inline void meter_print(const struct meter *m, const char *who)
{
	uint64_t rate[METER_RATES];

	if (!m->total)
		return;
	memcpy(rate, m->rate, sizeof(rate));
	rate[0] = 0;			/* nothing was offered */
	printf("%s cost %u (quarter %u) mean %.0f rate %.2f (median %.2f) burst %.1f total %llu\n",
	       who,
	       meter_percentile(m->cost, METER_COSTS, 0.5),
	       meter_percentile(m->cost, METER_COSTS, 0.25), (double)m->busy / (double)m->total,
	       meter_percentile(rate, METER_RATES, 0.9) / (double)METER_WINDOW_US,
	       meter_percentile(rate, METER_RATES, 0.5) / (double)METER_WINDOW_US,
	       (double)m->total / (double)m->rounds, (unsigned long long)m->total);
	fflush(stdout);
}

#endif
