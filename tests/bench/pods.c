/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/*
 * pods.c - two pods on one core, on two ports of the same switch; or one of them alone.
 *
 * Both in one process, for two polling processes on one core only take it from each other. Port
 * 0 is station 1, port 1 station 2. Frames go round: what comes in at one port has crossed the
 * switch and leaves again by the other, unchanged. Says "first T" when a frame has crossed each
 * way, then obeys lines from stdin, each answered by one line that ends with how often somebody
 * else got the core; sleeps in between.
 *	go WINDOW US SIZE    Mpps that crossed, both ways; share of time with nothing to do, in %
 *	rtt COUNT SIZE       one frame at a time from port 0 to port 1: median ns, 99th percentile
 *	tx US SIZE, rx US    port 0 alone: a source, a sink
 * Each warms up for a fifth of its time first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>

#include "tests/dpdk/port.h"

#define BURST    32
#define HELD_MAX 512
#define SIZE_MAX_ 1514
#define RTT_MAX  100000
#define BUFFERS  8192

static struct rte_mempool *pool;
static uint64_t hz;
static bool alone;

/* Frames that wait to be sent from a port, and those on their way from it. */
static struct side {
	struct rte_mbuf *m[HELD_MAX];
	unsigned held;
	uint64_t sent;
} side[2];

struct tally {
	uint64_t frames, idle;		/* came in; cycles of rounds without any */
};

static struct rte_mbuf *frame_new(unsigned from, unsigned size)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ether_hdr *h = m ? (struct rte_ether_hdr *)rte_pktmbuf_append(m, size) : NULL;

	if (!h)
		rte_exit(EXIT_FAILURE, "pods: out of buffers\n");
	memset(h, 0, size);
	h->src_addr.addr_bytes[0] = h->dst_addr.addr_bytes[0] = 2;
	h->src_addr.addr_bytes[5] = (uint8_t)(1 + from);
	h->dst_addr.addr_bytes[5] = (uint8_t)(2 - from);
	h->ether_type = rte_cpu_to_be_16(0x88b5);
	return m;
}

/* Only ours go round: a switch may have frames of its own. */
static bool is_ours(const struct rte_mbuf *m)
{
	const struct rte_ether_hdr *h = rte_pktmbuf_mtod(m, const struct rte_ether_hdr *);

	return h->ether_type == rte_cpu_to_be_16(0x88b5);
}

static unsigned push(unsigned p)
{
	struct side *s = &side[p];
	unsigned n = s->held ? rte_eth_tx_burst((uint16_t)p, 0, s->m, (uint16_t)s->held) : 0;

	s->held -= n;
	s->sent += n;
	if (n && s->held)
		memmove(s->m, s->m + n, s->held * sizeof(s->m[0]));
	return n;
}

/* What arrives at port p leaves by the other one. */
static unsigned pass(unsigned p)
{
	struct side *to = &side[!p];
	unsigned n = 0;

	if (to->held <= HELD_MAX - BURST)
		n = rte_eth_rx_burst((uint16_t)p, 0, to->m + to->held, BURST);
	to->held += n;
	push(!p);
	return n;
}

static struct tally circulate(uint64_t cycles)
{
	uint64_t now = rte_rdtsc(), end = now + cycles;
	struct tally t = { 0, 0 };

	while (now < end) {
		unsigned n = pass(0) + pass(1);
		uint64_t then = now;

		now = rte_rdtsc();
		t.frames += n;
		t.idle += n ? 0 : now - then;
	}
	return t;
}

static void drain(uint64_t cycles)
{
	uint64_t end = rte_rdtsc() + cycles;
	struct rte_mbuf *m[BURST];
	unsigned n;

	for (unsigned p = 0; p < 2; p++) {
		rte_pktmbuf_free_bulk(side[p].m, side[p].held);
		side[p].held = 0;
	}
	do {
		n = rte_eth_rx_burst(0, 0, m, BURST);
		rte_pktmbuf_free_bulk(m, n);
		if (!alone) {
			unsigned k = rte_eth_rx_burst(1, 0, m, BURST);

			rte_pktmbuf_free_bulk(m, k);
			n += k;
		}
	} while (n || rte_rdtsc() < end);
}

static void go(unsigned window, unsigned us, unsigned size)
{
	uint64_t cycles = hz / 1000000 * us, begin, took;
	struct tally t;

	drain(hz / 5000);
	for (unsigned p = 0; p < 2; p++)
		while (side[p].held < RTE_MIN(window, (unsigned)HELD_MAX - BURST))
			side[p].m[side[p].held] = frame_new(p, size), side[p].held++;
	circulate(cycles / 5);
	begin = rte_rdtsc();
	t = circulate(cycles);
	took = rte_rdtsc() - begin;
	printf("%.3f %.1f", (double)t.frames * (double)hz / (double)took / 1e6,
	       100.0 * (double)t.idle / (double)took);
	drain(hz / 2000);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* One frame across, from port 0 to port 1; false: lost. */
static bool cross(struct rte_mbuf **m)
{
	uint64_t begin = rte_rdtsc();

	while (rte_eth_tx_burst(0, 0, m, 1) == 0)
		;
	for (;;) {
		if (rte_eth_rx_burst(1, 0, m, 1)) {
			if (is_ours(*m))
				return true;
			rte_pktmbuf_free(*m);
		}
		if (rte_rdtsc() - begin > hz / 10)
			return false;
	}
}

static void rtt(unsigned count, unsigned size)
{
	static uint32_t t[RTT_MAX];
	struct rte_mbuf *m = frame_new(0, size);
	unsigned warm = count / 5;

	drain(hz / 5000);
	count = RTE_MIN(count, (unsigned)RTT_MAX);
	for (unsigned i = 0; i < warm + count; i++) {
		uint64_t begin = rte_rdtsc();

		if (!cross(&m)) {
			printf("0 0");
			return;
		}
		if (i >= warm)
			t[i - warm] = (uint32_t)((rte_rdtsc() - begin) * 1000000000 / hz);
	}
	rte_pktmbuf_free(m);
	qsort(t, count, sizeof(t[0]), by_value);
	printf("%u %u", t[count / 2], t[count - 1 - count / 100]);
}

static uint64_t transmit(uint64_t cycles, unsigned size)
{
	uint64_t before = side[0].sent, end = rte_rdtsc() + cycles;

	do {
		while (side[0].held < BURST)
			side[0].m[side[0].held] = frame_new(0, size), side[0].held++;
		push(0);
	} while (rte_rdtsc() < end);
	return side[0].sent - before;
}

static uint64_t receive(uint64_t cycles, unsigned size)
{
	uint64_t n = 0, end = rte_rdtsc() + cycles;
	struct rte_mbuf *m[BURST];

	(void)size;
	do {
		unsigned got = rte_eth_rx_burst(0, 0, m, BURST);

		rte_pktmbuf_free_bulk(m, got);
		n += got;
	} while (rte_rdtsc() < end);
	return n;
}

static void one_way(uint64_t (*way)(uint64_t cycles, unsigned size), unsigned us, unsigned size)
{
	uint64_t cycles = hz / 1000000 * us, begin, n;

	way(cycles / 5, size);
	begin = rte_rdtsc();
	n = way(cycles, size);
	printf("%.3f 0", (double)n * (double)hz / (double)(rte_rdtsc() - begin) / 1e6);
	drain(hz / 2000);
}

static unsigned long switches(void)
{
	struct rusage u;

	getrusage(RUSAGE_THREAD, &u);
	return (unsigned long)u.ru_nivcsw;
}

static void obey(const char *line)
{
	unsigned long before = switches();
	unsigned a = 0, b = 0, c = 0;
	char word[16] = "";

	sscanf(line, "%15s %u %u %u", word, &a, &b, &c);
	if (strcmp(word, "go") == 0 && !alone && c <= SIZE_MAX_)
		go(a, b, c);
	else if (strcmp(word, "rtt") == 0 && !alone && b <= SIZE_MAX_)
		rtt(a, b);
	else if (strcmp(word, "tx") == 0 && b <= SIZE_MAX_)
		one_way(transmit, a, b);
	else if (strcmp(word, "rx") == 0)
		one_way(receive, a, b);
	else
		printf("what?");
	printf(" %lu\n", switches() - before);
	fflush(stdout);
}

/* Until a frame of each station arrived at the other: addresses are learned now. */
static bool first(void)
{
	uint64_t end = rte_rdtsc() + 10 * hz;
	unsigned seen = 0;

	while (!alone && seen != 3 && rte_rdtsc() < end) {
		for (unsigned p = 0; p < 2; p++) {
			struct rte_mbuf *m[BURST];
			unsigned n;

			m[0] = frame_new(p, 64);
			if (rte_eth_tx_burst((uint16_t)p, 0, m, 1) == 0)
				rte_pktmbuf_free(m[0]);
			rte_delay_us_sleep(1000);
			n = rte_eth_rx_burst((uint16_t)!p, 0, m, BURST);
			for (unsigned i = 0; i < n; i++)
				seen |= is_ours(m[i]) ? 1u << p : 0;
			rte_pktmbuf_free_bulk(m, n);
		}
	}
	if (!alone && seen != 3) {
		printf("no frame came across\n");
		return false;
	}
	printf("first %" PRIu64 "\n", port_now_us());
	fflush(stdout);
	return true;
}

int main(int argc, char **argv)
{
	const struct port_conf c = { .queues = 1, .desc = 256 };
	char line[64];

	if (rte_eal_init(argc, argv) < 0)
		return 2;
	hz = rte_get_tsc_hz();
	alone = rte_eth_dev_count_avail() == 1;
	pool = rte_pktmbuf_pool_create("pods", BUFFERS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       (int)rte_socket_id());
	if (!pool || port_start(0, &c, pool) < 0 || (!alone && port_start(1, &c, pool) < 0) ||
	    !first())
		return 2;
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	port_close(0);
	if (!alone)
		port_close(1);
	rte_eal_cleanup();
	return 0;
}
