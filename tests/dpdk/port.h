/* SPDX-License-Identifier: Apache-2.0 */
/* port.h - brings a DPDK port up and down, and tells what it is. Shared by tests and bench. */
#ifndef TESTS_DPDK_PORT_H
#define TESTS_DPDK_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include <rte_mempool.h>

#define PORT_QUEUES_MAX 16

struct port_conf {
	uint16_t queues;
	uint16_t desc;			/* 0: as many as the device has */
	bool     scatter;		/* frames larger than a buffer may arrive */
	bool     rx_interrupt, lsc;
};

/* Configures, sets queues up and starts; 0 or -errno with a line on stderr. */
int  port_start(uint16_t port, const struct port_conf *c, struct rte_mempool *pool);
int  port_restart(uint16_t port);	/* stop, start */
int  port_close(uint16_t port);		/* stop, close: every buffer is back in its pool */
bool port_link(uint16_t port);
bool port_wait_link(uint16_t port, unsigned timeout_ms);
const char *port_driver(uint16_t port);	/* "net_virtio" */
const char *port_name(uint16_t port);	/* "0000:00:04.0" */

/* What a leak would show in. */
struct port_ledger {
	unsigned fds, maps;		/* open descriptors, lines of /proc/self/maps */
	uint64_t rss_kb, huge_kb;
};

void port_ledger(struct port_ledger *l);

/* Leaves this process only so many free descriptors, or KB of address space, until given back. */
void port_leave_fds(unsigned n);
void port_leave_kb(unsigned kb);
void port_give_back(void);

/*
 * How long the calling thread has slept since some moment: neither run nor waited for a processor,
 * so it is the same on a busy machine. 0 for ever where the kernel does not count.
 */
uint64_t port_slept_us(void);
uint64_t port_now_us(void);		/* CLOCK_REALTIME, to compare with a script's clock */

#endif
