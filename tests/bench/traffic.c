/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/*
 * traffic.c - the pod's side of the throughput and latency measurements.
 *
 * Opens port 0, says "first T" (microseconds since the epoch) when the first frame came back
 * from an echoing back-end, then obeys lines from stdin, each answered by one line, and sleeps in
 * between, so that two of these (one per kind of device) can take turns on one core:
 *	echo WINDOW US   frames going round, millions a second
 *	tx US, rx US     one way, millions a second (a sink, a source at the other end)
 *	rtt COUNT        one frame at a time: median and 99th percentile in ns
 *	rss              resident memory of this process in KB
 * Each measurement warms up for a fifth of its time first.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_ether.h>

#include "tests/dpdk/port.h"

#define BURST   32
#define SIZE    64
#define RTT_MAX 100000
#define BUFFERS 8192

static struct rte_mempool *pool;
static uint64_t hz;

static struct rte_mbuf *frame_new(void)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(pool);
	struct rte_ether_hdr *h = m ? (struct rte_ether_hdr *)rte_pktmbuf_append(m, SIZE) : NULL;

	if (!h)
		rte_exit(EXIT_FAILURE, "traffic: out of buffers\n");
	memset(h, 0, SIZE);
	h->dst_addr.addr_bytes[0] = h->src_addr.addr_bytes[0] = 2;
	h->ether_type = rte_cpu_to_be_16(0x88b5);
	return m;
}

static void send_one(void)
{
	struct rte_mbuf *m = frame_new();

	while (rte_eth_tx_burst(0, 0, &m, 1) == 0)
		;
}

static unsigned drain(uint64_t cycles)
{
	struct rte_mbuf *m[BURST];
	uint64_t end = rte_rdtsc() + cycles;
	unsigned n, all = 0;

	do {
		n = rte_eth_rx_burst(0, 0, m, BURST);
		rte_pktmbuf_free_bulk(m, n);
		all += n;
	} while (n || rte_rdtsc() < end);
	return all;
}

/* What comes in goes out again until `cycles` have passed; frames that came in. */
static uint64_t bounce(uint64_t cycles)
{
	static struct rte_mbuf *m[2 * BURST];
	static unsigned held;
	uint64_t n = 0, end = rte_rdtsc() + cycles;
	unsigned got, sent;

	do {
		got = held <= BURST ? rte_eth_rx_burst(0, 0, m + held, BURST) : 0;
		n += got;
		held += got;
		sent = held ? rte_eth_tx_burst(0, 0, m, held) : 0;
		held -= sent;
		if (held && sent)
			memmove(m, m + sent, held * sizeof(m[0]));
	} while (rte_rdtsc() < end);
	if (cycles == 0) {
		rte_pktmbuf_free_bulk(m, held);
		held = 0;
	}
	return n;
}

static double rate(uint64_t n, uint64_t cycles)
{
	return (double)n * (double)hz / (double)cycles / 1e6;
}

static void echo(unsigned window, unsigned us)
{
	uint64_t cycles = hz / 1000000 * us, begin, n;

	drain(hz / 5000);
	for (unsigned i = 0; i < window; i++)
		send_one();
	bounce(cycles / 5);
	begin = rte_rdtsc();
	n = bounce(cycles);
	printf("%.3f", rate(n, rte_rdtsc() - begin));
	bounce(0);
	drain(hz / 2000);
}

static uint64_t transmit(uint64_t cycles)
{
	struct rte_mbuf *m[BURST];
	uint64_t n = 0, end = rte_rdtsc() + cycles;
	unsigned held = 0, sent;

	do {
		while (held < BURST)
			m[held++] = frame_new();
		sent = rte_eth_tx_burst(0, 0, m, BURST);
		n += sent;
		held -= sent;
		memmove(m, m + sent, held * sizeof(m[0]));
	} while (rte_rdtsc() < end);
	rte_pktmbuf_free_bulk(m, held);
	return n;
}

static uint64_t receive(uint64_t cycles)
{
	struct rte_mbuf *m[BURST];
	uint64_t n = 0, end = rte_rdtsc() + cycles;

	do {
		unsigned got = rte_eth_rx_burst(0, 0, m, BURST);

		rte_pktmbuf_free_bulk(m, got);
		n += got;
	} while (rte_rdtsc() < end);
	return n;
}

static void one_way(uint64_t (*way)(uint64_t cycles), unsigned us)
{
	uint64_t cycles = hz / 1000000 * us, begin, n;

	way(cycles / 5);
	begin = rte_rdtsc();
	n = way(cycles);
	printf("%.3f", rate(n, rte_rdtsc() - begin));
}

static bool await_source(void)
{
	uint64_t end = rte_rdtsc() + 2 * hz;

	while (rte_rdtsc() < end)
		if (receive(hz / 1000))
			return true;
	return false;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static void rtt(unsigned count)
{
	static uint32_t t[RTT_MAX];
	struct rte_mbuf *m = frame_new();
	unsigned warm = count / 5;

	drain(hz / 5000);
	count = RTE_MIN(count, RTT_MAX);
	for (unsigned i = 0; i < warm + count; i++) {
		uint64_t begin = rte_rdtsc();

		while (rte_eth_tx_burst(0, 0, &m, 1) == 0)
			;
		while (rte_eth_rx_burst(0, 0, &m, 1) == 0)
			if (rte_rdtsc() - begin > hz / 10) {
				printf("0");
				return;
			}
		if (i >= warm)
			t[i - warm] = (rte_rdtsc() - begin) * 1000000000 / hz;
	}
	rte_pktmbuf_free(m);
	qsort(t, count, sizeof(t[0]), by_value);
	printf("%u", t[count / 2]);
}

static void rss(void)
{
	struct port_ledger l;

	port_ledger(&l);
	printf("%" PRIu64, l.rss_kb);
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
	unsigned a = 0, b = 0;
	char word[16] = "";

	sscanf(line, "%15s %u %u", word, &a, &b);
	if (strcmp(word, "echo") == 0)
		echo(RTE_MIN(a, 1024u), b);
	else if (strcmp(word, "tx") == 0)
		one_way(transmit, a);
	else if (strcmp(word, "rx") == 0 && await_source())
		one_way(receive, a);
	else if (strcmp(word, "rtt") == 0)
		rtt(a);
	else if (strcmp(word, "rss") == 0)
		rss();
	else
		printf("what?");
	printf(" %lu\n", switches() - before);
	fflush(stdout);
}

static bool first(void)
{
	uint64_t end = rte_rdtsc() + 10 * hz;

	while (rte_rdtsc() < end) {
		send_one();
		if (drain(hz / 5000)) {
			printf("first %" PRIu64 "\n", port_now_us());
			fflush(stdout);
			return true;
		}
	}
	printf("no frame came back\n");
	return false;
}

int main(int argc, char **argv)
{
	const struct port_conf c = { .queues = 1 };
	char line[64];

	if (rte_eal_init(argc, argv) < 0)
		return 2;
	hz = rte_get_tsc_hz();
	pool = rte_pktmbuf_pool_create("traffic", BUFFERS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       rte_socket_id());
	if (!pool || rte_eth_dev_count_avail() == 0 || port_start(0, &c, pool) < 0 || !first())
		return 2;
	while (fgets(line, sizeof(line), stdin))
		obey(line);
	port_close(0);
	rte_eal_cleanup();
	return 0;
}
