/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/* port.c - one DPDK port: configure, start, stop, close, and the ledger around it. */
#include "tests/dpdk/port.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_ethdev.h>

static int fail(uint16_t port, const char *what, int rc)
{
	fprintf(stderr, "port %u: %s: %s\n", port, what, strerror(-rc));
	return rc;
}

static int queues_setup(uint16_t port, const struct port_conf *c, uint16_t rxd, uint16_t txd,
			struct rte_mempool *pool)
{
	int rc;

	for (uint16_t q = 0; q < c->queues; q++) {
		rc = rte_eth_rx_queue_setup(port, q, rxd, SOCKET_ID_ANY, NULL, pool);
		if (rc < 0)
			return fail(port, "rx queue", rc);
		rc = rte_eth_tx_queue_setup(port, q, txd, SOCKET_ID_ANY, NULL);
		if (rc < 0)
			return fail(port, "tx queue", rc);
	}
	return 0;
}

int port_start(uint16_t port, const struct port_conf *c, struct rte_mempool *pool)
{
	struct rte_eth_conf conf = {
		.intr_conf = { .lsc = c->lsc, .rxq = c->rx_interrupt },
	};
	uint16_t rxd = c->desc ? c->desc : 1024, txd = rxd;
	struct rte_eth_dev_info info;
	int rc;

	rc = rte_eth_dev_info_get(port, &info);
	if (rc < 0)
		return fail(port, "info", rc);
	if (c->scatter)
		conf.rxmode.offloads = info.rx_offload_capa & RTE_ETH_RX_OFFLOAD_SCATTER;
	conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
	rc = rte_eth_dev_configure(port, c->queues, c->queues, &conf);
	if (rc < 0)
		return fail(port, "configure", rc);
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(port, &rxd, &txd);
	if (rc == 0)
		rc = queues_setup(port, c, rxd, txd, pool);
	if (rc == 0)
		rc = rte_eth_dev_start(port);
	return rc < 0 ? fail(port, "start", rc) : 0;
}

int port_restart(uint16_t port)
{
	int rc = rte_eth_dev_stop(port);

	if (rc == 0)
		rc = rte_eth_dev_start(port);
	return rc < 0 ? fail(port, "restart", rc) : 0;
}

int port_close(uint16_t port)
{
	int rc = rte_eth_dev_stop(port);

	if (rc == 0)
		rc = rte_eth_dev_close(port);
	return rc < 0 ? fail(port, "close", rc) : 0;
}

bool port_link(uint16_t port)
{
	struct rte_eth_link link;

	return rte_eth_link_get_nowait(port, &link) == 0 && link.link_status;
}

bool port_wait_link(uint16_t port, unsigned timeout_ms)
{
	for (unsigned i = 0; i < timeout_ms; i++) {
		if (port_link(port))
			return true;
		rte_delay_us_sleep(1000);
	}
	return port_link(port);
}

const char *port_driver(uint16_t port)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(port, &info) == 0 ? info.driver_name : "?";
}

const char *port_name(uint16_t port)
{
	struct rte_eth_dev_info info;

	return rte_eth_dev_info_get(port, &info) == 0 ? rte_dev_name(info.device) : "?";
}

static unsigned dir_count(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

void port_ledger(struct port_ledger *l)
{
	unsigned long v;
	char line[512];
	FILE *f;

	*l = (struct port_ledger){ .fds = dir_count("/proc/self/fd") };
	f = fopen("/proc/self/maps", "r");
	while (f && fgets(line, sizeof(line), f))
		l->maps++;
	if (f)
		fclose(f);
	f = fopen("/proc/self/status", "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmRSS: %lu", &v) == 1)
			l->rss_kb = v;
		if (sscanf(line, "HugetlbPages: %lu", &v) == 1)
			l->huge_kb = v;
	}
	if (f)
		fclose(f);
}

static int hoard[4096];
static unsigned hoarded;
static struct rlimit was_as;

void port_leave_fds(unsigned n)
{
	struct rlimit l;

	getrlimit(RLIMIT_NOFILE, &l);
	l.rlim_cur = RTE_MIN(l.rlim_max, RTE_DIM(hoard));
	setrlimit(RLIMIT_NOFILE, &l);
	while (hoarded < RTE_DIM(hoard)) {
		int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			break;
		hoard[hoarded++] = fd;
	}
	while (n-- && hoarded)
		close(hoard[--hoarded]);
}

void port_leave_kb(unsigned kb)
{
	struct rlimit l;
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	getrlimit(RLIMIT_AS, &was_as);
	l = was_as;
	l.rlim_cur = pages * 4096 + kb * 1024ul;
	setrlimit(RLIMIT_AS, &l);
}

void port_give_back(void)
{
	while (hoarded)
		close(hoard[--hoarded]);
	if (was_as.rlim_max)
		setrlimit(RLIMIT_AS, &was_as);
}

uint64_t port_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

uint64_t port_slept_us(void)
{
	unsigned long run_ns = 0, waited_ns = 0;
	FILE *f = fopen("/proc/thread-self/schedstat", "r");
	struct timespec t;
	bool ok = f && fscanf(f, "%lu %lu", &run_ns, &waited_ns) == 2 && run_ns;

	if (f)
		fclose(f);
	clock_gettime(CLOCK_MONOTONIC, &t);
	return ok ? (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000 -
		    (run_ns + waited_ns) / 1000 : 0;
}
