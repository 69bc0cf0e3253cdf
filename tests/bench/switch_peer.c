/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/*
 * switch_peer.c - switch_loop's opposite number: DPDK's vhost library between the same two
 * sockets, moving bursts as testpmd's io mode does, and measured the same way.
 *
 *	switch_peer EAL-OPTIONS --vdev net_vhost0,... --vdev net_vhost1,... -- [seconds [burst]]
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>

#include "tests/bench/meter.h"

#define RING 512
#define BURST_MAX 64

static volatile sig_atomic_t over;
static unsigned burst = 32;

static void on_signal(int sig)
{
	(void)sig;
	over = 1;
}

static int start(uint16_t port, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = { .link_speeds = 0 };

	return rte_eth_dev_configure(port, 1, 1, &conf) ||
	       rte_eth_rx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL, pool) ||
	       rte_eth_tx_queue_setup(port, 0, RING, SOCKET_ID_ANY, NULL) ||
	       rte_eth_dev_start(port);
}

static unsigned forward(uint16_t from, uint16_t to)
{
	struct rte_mbuf *m[BURST_MAX];
	uint16_t n = rte_eth_rx_burst(from, 0, m, (uint16_t)burst), sent;

	if (!n)
		return 0;
	sent = rte_eth_tx_burst(to, 0, m, n);
	for (uint16_t i = sent; i < n; i++)
		rte_pktmbuf_free(m[i]);
	return sent;
}

int main(int argc, char **argv)
{
	static struct meter m;
	struct rte_mempool *pool;
	uint64_t end, shown;
	int n = rte_eal_init(argc, argv);

	if (n < 0 || rte_eth_dev_count_avail() < 2)
		return 2;
	argc -= n;
	argv += n;
	if (argc > 2)
		burst = (unsigned)atoi(argv[2]) % (BURST_MAX + 1);
	pool = rte_pktmbuf_pool_create("frames", 16384, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	if (!pool || start(0, pool) || start(1, pool))
		return 1;
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	shown = rte_rdtsc();
	end = shown + (argc > 1 ? strtoull(argv[1], NULL, 0) : 3600) * rte_get_tsc_hz();
	meter_reset(&m, rte_get_tsc_hz(), shown);
	while (!over && rte_rdtsc() < end) {
		for (unsigned i = 0; i < 1024; i++) {
			uint64_t t = rte_rdtsc();
			unsigned moved = forward(0, 1) + forward(1, 0);

			meter_round(&m, t, rte_rdtsc(), moved);
		}
		if (rte_rdtsc() - shown < rte_get_tsc_hz())
			continue;
		meter_print(&m, "dpdk");
		shown = rte_rdtsc();
		meter_reset(&m, rte_get_tsc_hz(), shown);
	}
	rte_eth_dev_stop(0);
	rte_eth_dev_stop(1);
	return 0;
}
