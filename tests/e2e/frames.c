/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/*
 * frames.c - the pod's application in the end-to-end tests: a plain DPDK program.
 *
 * Sends numbered, checksummed frames on every queue of its ports to a back-end that echoes them
 * (testpmd's io forwarding on one port), under a window, and says in one JSON line per port what
 * came back. Events (ready, link, stall, resume, beat) are JSON lines too, with the time in
 * microseconds since the epoch. Exit status: 0 all well, 1 something lost, wrong or leaked, 2
 * it could not be set up.
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_net_crc.h>

#include "tests/dpdk/flow.h"
#include "tests/dpdk/port.h"

#define PORTS_MAX 8
#define LIST_MAX  32
#define FLOWS_MAX (PORTS_MAX * PORT_QUEUES_MAX)
#define STALL_US  20000		/* silence that counts as an interruption */
#define FORGIVE_US 100000	/* silence after which the window opens again, with --hold */

struct list {
	unsigned n, v[LIST_MAX];
};

static struct opts {
	unsigned count, window, ports, desc, timeout_ms, wait_ms, pool, cycles, late_mb, linger_ms;
	unsigned attaches, beat_ms;
	struct list sizes, queues, spare_fds, spare_kb;
	bool scatter, rx_interrupt, lsc, hold, restart_first;
	const char *attach;
} opts = {
	.count = 100000, .window = 128, .ports = 1, .timeout_ms = 2000, .wait_ms = 3000,
	.pool = 16384, .attaches = 1, .beat_ms = 1000,
	.sizes = { 1, { 64 } }, .queues = { 1, { 1 } },
};

enum kind { FLAG, NUMBER, LIST, TEXT };

static const struct row {
	const char *name;
	enum kind   kind;
	size_t      off;
	const char *help;
} rows[] = {
#define ROW(n, k, f, h) { n, k, offsetof(struct opts, f), h }
	ROW("--count", NUMBER, count, "frames in all, per port"),
	ROW("--sizes", LIST, sizes, "frame sizes, one phase each"),
	ROW("--window", NUMBER, window, "frames under way per queue"),
	ROW("--ports", NUMBER, ports, "ports 0 .. N-1"),
	ROW("--queues", LIST, queues, "queue pairs, per port (the last for the rest)"),
	ROW("--desc", NUMBER, desc, "descriptors per queue (0: all there are)"),
	ROW("--timeout", NUMBER, timeout_ms, "ms of silence that end a phase"),
	ROW("--wait", NUMBER, wait_ms, "ms to wait for the link"),
	ROW("--pool", NUMBER, pool, "buffers in the pool"),
	ROW("--scatter", FLAG, scatter, "take frames larger than a buffer"),
	ROW("--rx-interrupt", FLAG, rx_interrupt, "sleep until an interrupt says frames are there"),
	ROW("--lsc", FLAG, lsc, "link state by interrupt"),
	ROW("--linger", NUMBER, linger_ms, "ms to wait for link events at the end"),
	ROW("--cycles", NUMBER, cycles, "stop, (re)configure and start this often, with traffic"),
	ROW("--mempool-late", NUMBER, late_mb, "MB of buffers allocated after start and sent from"),
	ROW("--restart-first", FLAG, restart_first, "restart port 0 while the others carry on"),
	ROW("--detach-attach", TEXT, attach, "remove and probe port 0 again (devargs or '')"),
	ROW("--attaches", NUMBER, attaches, "so often"),
	ROW("--spare-fds", LIST, spare_fds, "attach with so few descriptors, then as ever"),
	ROW("--spare-kb", LIST, spare_kb, "the same with so little address space"),
	ROW("--hold", FLAG, hold, "run until SIGTERM, a line now and then for each port"),
	ROW("--beat", NUMBER, beat_ms, "ms between those lines"),
#undef ROW
};

static struct rte_mempool *pool, *late;
static struct flow flows[FLOWS_MAX];
static unsigned flow_count;
static volatile sig_atomic_t stop;
static unsigned wakeups, naps;		/* interrupts taken, and frames nobody was woken for */
static unsigned link_events;

static void list_parse(struct list *l, const char *text)
{
	char *end = (char *)(uintptr_t)text;

	for (l->n = 0; l->n < LIST_MAX && *end; end += *end == ',')
		l->v[l->n++] = strtoul(end, &end, 0);
}

static void row_set(const struct row *r, const char *value)
{
	char *to = (char *)&opts + r->off;

	if (r->kind == FLAG)
		*(bool *)to = true;
	else if (r->kind == NUMBER)
		*(unsigned *)to = strtoul(value, NULL, 0);
	else if (r->kind == TEXT)
		*(const char **)to = value;
	else
		list_parse((struct list *)to, value);
}

static int opts_parse(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const struct row *r = rows, *end = rows + RTE_DIM(rows);

		while (r < end && strcmp(argv[i], r->name) != 0)
			r++;
		if (r == end || (r->kind != FLAG && i + 1 == argc)) {
			fprintf(stderr, "frames: what is %s?\n", argv[i]);
			for (r = rows; r < end; r++)
				fprintf(stderr, "  %-16s %s\n", r->name, r->help);
			return -1;
		}
		row_set(r, r->kind == FLAG ? NULL : argv[++i]);
	}
	return 0;
}

static void on_term(int sig)
{
	stop = 1;
}

static uint16_t queues_of(unsigned port)
{
	return opts.queues.v[RTE_MIN(port, opts.queues.n - 1)];
}

static void event(const char *what, unsigned port, const char *more)
{
	printf("{\"t\":%" PRIu64 ",\"event\":\"%s\",\"port\":%u%s}\n", port_now_us(), what, port,
	       more);
}

static int on_link(uint16_t port, enum rte_eth_event_type type, void *arg, void *ret)
{
	link_events++;
	event("link", port, port_link(port) ? ",\"up\":1" : ",\"up\":0");
	return 0;
}

static int port_up(unsigned port)
{
	struct port_conf c = {
		.queues = queues_of(port), .desc = opts.desc, .scatter = opts.scatter,
		.rx_interrupt = opts.rx_interrupt, .lsc = opts.lsc,
	};
	struct rte_ether_addr mac;
	char more[256];
	int rc;

	rc = port_start(port, &c, pool);
	if (rc < 0)
		return rc;
	port_wait_link(port, opts.wait_ms);
	for (unsigned q = 0; opts.rx_interrupt && q < c.queues; q++) {
		rc = rte_eth_dev_rx_intr_ctl_q(port, q, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD,
					       NULL);
		if (rc < 0)
			return rc;
	}
	rte_eth_macaddr_get(port, &mac);
	snprintf(more, sizeof(more), ",\"driver\":\"%s\",\"name\":\"%s\",\"link\":%d,"
		 "\"pid\":%d,\"mac\":\"" RTE_ETHER_ADDR_PRT_FMT "\"", port_driver(port),
		 port_name(port), port_link(port), getpid(), RTE_ETHER_ADDR_BYTES(&mac));
	event("ready", port, more);
	return 0;
}

static void flows_init(void)
{
	uint32_t run = rte_rdtsc();

	flow_count = 0;
	for (unsigned p = 0; p < opts.ports; p++)
		for (unsigned q = 0; q < queues_of(p); q++)
			flow_init(&flows[flow_count++], p, q, run, pool);
}

static void flows_intr(int (*set)(uint16_t port, uint16_t queue))
{
	for (unsigned i = 0; i < flow_count; i++)
		set(flows[i].port, flows[i].queue);
}

static unsigned flows_receive(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < flow_count; i++)
		n += flow_receive(&flows[i]);
	return n;
}

/* Arm, look once more (a frame may have come in between), sleep, disarm. */
static void nap(void)
{
	struct rte_epoll_event ev[FLOWS_MAX];
	bool woken;

	flows_intr(rte_eth_dev_rx_intr_enable);
	if (flows_receive() == 0) {
		woken = rte_epoll_wait(RTE_EPOLL_PER_THREAD, ev, FLOWS_MAX, 100) > 0;
		wakeups += woken;
		naps += !woken && flows_receive() > 0;
	}
	flows_intr(rte_eth_dev_rx_intr_disable);
}

/* Every flow but those of the port left out sends `each` more frames; false if some stayed away. */
static bool phase(uint32_t size, uint64_t each, unsigned without)
{
	uint64_t limit[FLOWS_MAX], quiet = rte_rdtsc();
	const uint64_t patience = rte_get_tsc_hz() / 1000 * opts.timeout_ms;
	unsigned busy = 1, moved;

	for (unsigned i = 0; i < flow_count; i++)
		limit[i] = flows[i].sent + (flows[i].port == without ? 0 : each);
	while (busy && !stop) {
		busy = moved = 0;
		for (unsigned i = 0; i < flow_count; i++) {
			struct flow *f = &flows[i];

			if (f->port == without)
				continue;
			flow_send(f, size, opts.window, limit[i]);
			moved += flow_receive(f);
			busy += f->sent < limit[i] || flow_outstanding(f) > 0;
		}
		if (moved)
			quiet = rte_rdtsc();
		else if (rte_rdtsc() - quiet > patience)
			return false;
		else if (opts.rx_interrupt && busy)
			nap();
	}
	return true;
}

static bool phases(void)
{
	bool ok = true;

	for (unsigned p = 0; p < opts.ports && opts.lsc; p++)
		ok &= port_wait_link(p, opts.wait_ms);
	for (unsigned i = 0; i < opts.sizes.n; i++) {
		unsigned pairs = opts.ports == 1 ? queues_of(0) : 1;

		unsigned share = opts.sizes.n * pairs;

		ok = ok && phase(opts.sizes.v[i], (opts.count + share - 1) / share, PORTS_MAX);
	}
	return ok;
}

static void ledger_report(unsigned cycles, const struct port_ledger *from)
{
	struct port_ledger now;

	port_ledger(&now);
	printf("{\"cycles\":%u,\"fds\":%d,\"maps\":%d,\"rss_kb\":%ld,\"huge_kb\":%ld}\n", cycles,
	       (int)(now.fds - from->fds), (int)(now.maps - from->maps),
	       (long)(now.rss_kb - from->rss_kb), (long)(now.huge_kb - from->huge_kb));
}

static bool cycles(void)
{
	struct port_ledger warm;
	bool ok = true;

	for (unsigned i = 0; i < opts.cycles && ok && !stop; i++) {
		if (i == RTE_MIN(5u, opts.cycles / 2))
			port_ledger(&warm);
		ok = phase(opts.sizes.v[0], 200, PORTS_MAX);
		if (i & 1) {
			ok &= port_restart(0) == 0;
		} else {
			ok &= rte_eth_dev_stop(0) == 0;
			ok &= port_up(0) == 0;
		}
		ok &= port_wait_link(0, opts.wait_ms);
	}
	ledger_report(opts.cycles, &warm);
	return ok;
}

static bool mempool_late(void)
{
	const unsigned per = RTE_MBUF_DEFAULT_BUF_SIZE + 256;	/* with its headers */

	late = rte_pktmbuf_pool_create("late", opts.late_mb * (1u << 20) / per, 0, 0,
				       RTE_MBUF_DEFAULT_BUF_SIZE, rte_socket_id());
	if (!late)
		return false;
	for (unsigned i = 0; i < flow_count; i++)
		flows[i].pool = late;
	return phases();
}

static bool attach(const char *name)
{
	uint16_t port;

	return rte_dev_probe(*opts.attach ? opts.attach : name) == 0 &&
	       rte_eth_dev_get_port_by_name(name, &port) == 0 && port == 0 && port_up(0) == 0;
}

/* Whatever state the port is in: away with it. */
static bool detach(void)
{
	struct rte_eth_dev_info info;

	if (rte_eth_dev_info_get(0, &info) < 0)
		return true;
	port_close(0);
	return rte_dev_remove(info.device) == 0;
}

/* Short of something it may fail, but only so: at once after it works. */
static bool attach_short(const char *name, const struct list *l, void (*leave)(unsigned n))
{
	char more[32];
	bool ok;

	for (unsigned i = 0; i < l->n; i++) {
		snprintf(more, sizeof(more), ",\"with\":%u", l->v[i]);
		event("short", 0, more);
		leave(l->v[i]);
		ok = attach(name);
		port_give_back();
		event(ok ? "attached" : "refused", 0, more);
		if (!detach() || !attach(name))
			return false;
		flows_init();
		if (!phases() || !detach())
			return false;
		event("works", 0, more);
	}
	return true;
}

static bool detach_attach(void)
{
	struct port_ledger warm;
	char name[64];

	snprintf(name, sizeof(name), "%s", port_name(0));
	if (!detach())
		return false;
	event("detached", 0, "");
	if (!attach_short(name, &opts.spare_fds, port_leave_fds) ||
	    !attach_short(name, &opts.spare_kb, port_leave_kb) || !attach(name))
		return false;
	for (unsigned i = 1; i < opts.attaches; i++) {
		if (i == RTE_MIN(5u, opts.attaches / 2))
			port_ledger(&warm);
		if (!detach() || !attach(name))
			return false;
	}
	if (opts.attaches > 1)
		ledger_report(opts.attaches, &warm);
	flows_init();
	return phases();
}

static bool restart_first(void)
{
	bool ok = rte_eth_dev_stop(0) == 0;

	ok &= phase(opts.sizes.v[0], opts.count, 0);
	ok &= rte_eth_dev_start(0) == 0 && port_wait_link(0, opts.wait_ms);
	return ok & phases();
}

/* ---- --hold: carry on through every interruption, and say when and how long it was ---------- */

struct beat {
	uint64_t received[PORTS_MAX], slept_us;
};

/* What came on each port, and how long this thread has slept: it never does so by itself. */
static void hold_beat(struct beat *b)
{
	uint64_t slept_us = RTE_MAX(port_slept_us(), b->slept_us);
	char more[96];

	for (unsigned p = 0; p < opts.ports; p++) {
		uint64_t now = 0;

		for (unsigned i = 0; i < flow_count; i++)
			now += flows[i].port == p ? flows[i].received : 0;
		snprintf(more, sizeof(more), ",\"received\":%" PRIu64 ",\"slept_ms\":%" PRIu64,
			 now - b->received[p], (slept_us - b->slept_us) / 1000);
		b->received[p] = now;
		event("beat", p, more);
	}
	b->slept_us = slept_us;
}

static void hold_watch(struct flow *f, bool *stalled, uint64_t hz)
{
	uint64_t quiet = (rte_rdtsc() - f->last_tsc) * 1000000 / hz;
	char more[96];

	if (f->received && *stalled != (quiet > STALL_US)) {
		*stalled = !*stalled;
		snprintf(more, sizeof(more), ",\"queue\":%u", f->queue);
		event(*stalled ? "stall" : "resume", f->port, more);
	}
	if (quiet > FORGIVE_US)
		flow_forgive(f);
}

static void hold(void)
{
	const uint64_t hz = rte_get_tsc_hz(), beat = hz / 1000 * opts.beat_ms;
	struct beat b = { .slept_us = port_slept_us() };
	bool stalled[FLOWS_MAX], up[PORTS_MAX] = { 0 };
	uint64_t next = rte_rdtsc() + beat;

	memset(stalled, true, sizeof(stalled));		/* the first frame is a resumption, too */
	for (unsigned turn = 0; !stop; turn++) {
		for (unsigned i = 0; i < flow_count; i++) {
			flow_send(&flows[i], opts.sizes.v[0], opts.window, UINT64_MAX);
			flow_receive(&flows[i]);
			if (turn % 256 == 0)
				hold_watch(&flows[i], &stalled[i], hz);
		}
		if (turn % 16384 == 0)
			for (unsigned p = 0; p < opts.ports && !opts.lsc; p++)
				if (port_link(p) != up[p]) {
					up[p] = !up[p];
					event("link", p, up[p] ? ",\"up\":1" : ",\"up\":0");
				}
		if (rte_rdtsc() > next) {
			next += beat;
			hold_beat(&b);
		}
	}
}

/* Frames that are still under way at the end are read, so that only the lost are missing. */
static void hold_drain(void)
{
	uint64_t end = rte_rdtsc() + rte_get_tsc_hz() / 20;

	while (rte_rdtsc() < end)
		flows_receive();
}

static bool port_report(unsigned port)
{
	struct flow t = { .port = port };

	for (unsigned i = 0; i < flow_count; i++) {
		struct flow *f = &flows[i];

		if (f->port != port)
			continue;
		flow_drop_pending(f);
		t.sent += f->sent;
		t.received += f->received;
		t.forgiven += f->forgiven;
		t.corrupt += f->corrupt;
		t.duplicate += f->duplicate;
		t.reordered += f->reordered;
		t.strangers += f->strangers;
	}
	printf("{\"port\":%u,\"queues\":%u,\"sent\":%" PRIu64 ",\"received\":%" PRIu64
	       ",\"lost\":%" PRIu64 ",\"forgiven\":%" PRIu64 ",\"corrupt\":%" PRIu64
	       ",\"duplicate\":%" PRIu64 ",\"reordered\":%" PRIu64 ",\"strangers\":%" PRIu64
	       ",\"wakeups\":%u,\"naps\":%u,\"link_events\":%u}\n",
	       port, queues_of(port), t.sent, t.received, flow_outstanding(&t), t.forgiven,
	       t.corrupt, t.duplicate, t.reordered, t.strangers, wakeups, naps, link_events);
	return t.received && !flow_outstanding(&t) &&
	       !(t.corrupt | t.duplicate | t.reordered | t.strangers);
}

static bool modes(void)
{
	bool ok = true;

	if (opts.hold) {
		hold();
		hold_drain();
	} else {
		ok = phases();
	}
	if (opts.cycles)
		ok &= cycles();
	if (opts.late_mb)
		ok &= mempool_late();
	if (opts.restart_first)
		ok &= restart_first();
	if (opts.attach)
		ok &= detach_attach();
	for (unsigned i = 0; i < opts.linger_ms && !stop; i++)
		rte_delay_us_sleep(1000);
	return ok;
}

int main(int argc, char **argv)
{
	unsigned before, after;
	bool ok = true;
	int n = rte_eal_init(argc, argv);

	if (n < 0 || opts_parse(argc - n, argv + n) < 0)
		return 2;
	setlinebuf(stdout);
	signal(SIGTERM, on_term);
	signal(SIGINT, on_term);
	rte_net_crc_set_alg(RTE_NET_CRC_AVX512);	/* or the best there is */
	if (rte_eth_dev_count_avail() < opts.ports || opts.ports > PORTS_MAX) {
		fprintf(stderr, "frames: %u ports, %u wanted\n", rte_eth_dev_count_avail(),
			opts.ports);
		return 2;
	}
	/* No cache: every buffer has its turn, wherever its memory lies. */
	pool = rte_pktmbuf_pool_create("frames", opts.pool, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       rte_socket_id());
	if (!pool)
		return 2;
	before = rte_mempool_avail_count(pool);
	rte_eth_dev_callback_register(RTE_ETH_ALL, RTE_ETH_EVENT_INTR_LSC, on_link, NULL);
	for (unsigned p = 0; p < opts.ports; p++)
		if (port_up(p) < 0)
			return 2;
	flows_init();
	ok &= modes();
	for (unsigned p = 0; p < opts.ports; p++)
		ok &= port_report(p);
	for (unsigned p = 0; p < opts.ports; p++)
		ok &= port_close(p) == 0;
	after = rte_mempool_avail_count(pool);
	printf("{\"buffers_before\":%u,\"buffers_after\":%u,\"late_missing\":%u}\n", before, after,
	       late ? rte_mempool_in_use_count(late) : 0);
	ok &= before == after && !(late && rte_mempool_in_use_count(late));
	rte_eal_cleanup();
	return ok ? 0 : 1;
}
