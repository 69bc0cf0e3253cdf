// SPDX-License-Identifier: Apache-2.0
/*
 * switch_faults.c - the n-th thing asked of the world is refused, for every n until none is left.
 *
 * Each round must end in success or in an error with a sentence, and the set of open descriptors
 * must be what it was.
 */
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "sim/app/switch.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"
#include "tests/wire/refuse.h"

#define ROUNDS_MAX 2000
#define MEMORY     (1u << 20)

/* ---- rounds ---------------------------------------------------------------------------------- */

/*
 * do_it() does what is tested; undo() is called where it succeeded. Returns the number of faults
 * that struck.
 */
static unsigned each_fault(const char *what, int (*do_it)(struct err *e), void (*undo)(void))
{
	struct ledger before;
	unsigned n;

	for (n = 1; n < ROUNDS_MAX; n++) {
		struct err e = { 0 };
		bool struck;
		int rc;

		ledger_take(&before);
		__atomic_store_n(&refuse_alone, true, __ATOMIC_RELAXED);
		fault_arm(n);
		rc = do_it(&e);
		struck = !fault_armed();
		fault_arm(0);
		__atomic_store_n(&refuse_alone, false, __ATOMIC_RELAXED);
		if (!rc)
			undo();
		if (!ledger_same_soon(&before))
			printf("# %s: fault %u leaves other descriptors open\n", what, n);
		CU_ASSERT(ledger_same(&before));
		if (!struck) {
			CU_EQ(rc, 0);
			return n - 1;
		}
		if (rc && !e.msg[0])
			printf("# %s: fault %u gives %d without a word\n", what, n, rc);
		CU_ASSERT(!rc || e.msg[0]);
	}
	CU_FAIL("faults without end");
	return n;
}

/* ---- the device's side ---------------------------------------------------------------------- */

static struct {
	char dir[64], conf[80], socket[80];
	struct ioapi_bus *bus;
	struct ioapi_func *f;
	struct ioapi_domain *domain;
	struct backend *b;
	int fd;
	void *mem;
} dev;

static void dev_files(const char *keys)
{
	FILE *f;

	log_init("error");
	snprintf(dev.dir, sizeof(dev.dir), "/tmp/podpci-faults.XXXXXX");
	if (!mkdtemp(dev.dir))
		abort();
	snprintf(dev.socket, sizeof(dev.socket), "%s/s", dev.dir);
	snprintf(dev.conf, sizeof(dev.conf), "%s/c", dev.dir);
	f = fopen(dev.conf, "w");
	fprintf(f, "net socket=%s,queues=2,timeout=400,wait=200%s\n", dev.socket, keys);
	fclose(f);
}

static void dev_files_gone(void)
{
	unlink(dev.conf);
	unlink(dev.socket);
	rmdir(dev.dir);
}

static int bus_do(struct err *e)
{
	return ioapi_bus_open(&dev.bus, dev.conf, e);
}

static void bus_undo(void)
{
	ioapi_bus_close(dev.bus);
}

static void opening_a_bus(void)
{
	dev_files(",mode=transitional");
	CU_ASSERT(each_fault("bus", bus_do, bus_undo) > 10);
	dev_files_gone();
}

static int open_do(struct err *e)
{
	int rc = ioapi_bus_open(&dev.bus, dev.conf, e);

	if (rc)
		return rc;
	rc = ioapi_open(ioapi_bus_func(dev.bus, 0), e);
	if (rc)
		ioapi_bus_close(dev.bus);
	return rc;
}

static void opening_a_device_that_listens(void)
{
	dev_files(",server=on");
	CU_ASSERT(each_fault("open, listening", open_do, bus_undo) > 20);
	dev_files_gone();
}

static void opening_a_device_without_a_backend(void)
{
	dev_files(",wait=0");
	CU_ASSERT(each_fault("open, nobody there", open_do, bus_undo) > 20);
	dev_files_gone();
}

static int domain_do(struct err *e)
{
	int rc = ioapi_domain_new(dev.bus, &dev.domain);

	return rc ? err_set(e, rc, "no domain") : 0;
}

static void domain_undo(void)
{
	ioapi_domain_free(dev.domain);
}

static int map_do(struct err *e)
{
	const struct ioapi_dma piece = {
		.iova = (uintptr_t)dev.mem, .size = MEMORY, .va = dev.mem, .fd = dev.fd,
	};
	int rc = ioapi_dma_map(dev.domain, &piece, 1);

	return rc ? err_set(e, rc, "not mapped") : 0;
}

static void map_undo(void)
{
	uint64_t n;

	CU_EQ(ioapi_dma_unmap(dev.domain, (uintptr_t)dev.mem, MEMORY, &n), 0);
	CU_EQ(n, MEMORY);
}

static void lending_memory(void)
{
	dev_files("");
	dev.fd = memfd_create("faults", MFD_CLOEXEC);
	if (ftruncate(dev.fd, MEMORY))
		abort();
	dev.mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, dev.fd, 0);
	CU_EQ(bus_do(NULL), 0);
	CU_ASSERT(each_fault("domain", domain_do, domain_undo) >= 2);
	CU_EQ(domain_do(NULL), 0);
	CU_ASSERT(each_fault("map", map_do, map_undo) >= 1);
	domain_undo();
	bus_undo();
	munmap(dev.mem, MEMORY);
	close(dev.fd);
	dev_files_gone();
}

/* ---- a session ------------------------------------------------------------------------------ */

static struct sess s;

static struct backend_config rich(void)
{
	struct backend_config cfg = sess_decent(false);

	cfg.protocol |= BIT(VU_PROTOCOL_BACKEND_REQ) | BIT(VU_PROTOCOL_BACKEND_SEND_FD) |
			BIT(VU_PROTOCOL_INFLIGHT_SHMFD) | BIT(VU_PROTOCOL_LOG_SHMFD);
	return cfg;
}

/* A session always comes about, sooner or later, whatever is refused on the way. */
static void setting_a_session_up(void)
{
	struct backend_config cfg = rich();
	struct ledger before;
	unsigned n, struck = 1;

	for (n = 1; struck && n < 50; n++) {
		int rc;

		ledger_take(&before);
		sess_init(&s, &cfg);
		fault_arm(n);
		rc = sess_open(&s);
		if (!rc)
			rc = sess_start(&s, 2, false);
		if (!rc)
			CU_ASSERT(sess_wait_link(&s, true, 3000));
		struck = !fault_armed();
		fault_arm(0);
		CU_ASSERT(!rc || s.err.msg[0]);
		if (!rc) {
			CU_ASSERT(backend_wait(s.b, VU_SET_VRING_KICK, 2, 2000));
			CU_EQ(s.failures, 0);
		}
		sess_free(&s);
		CU_ASSERT(ledger_same_soon(&before));
	}
	CU_ASSERT(n > 6);
}

static void finding_a_backend_again(void)
{
	struct backend_config cfg = rich();
	struct ledger before;
	unsigned n, struck = 1;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_do(&s, vhost_log_start(s.v)), 0);
	sess_nap(50);
	for (n = 1; struck && n < 50; n++) {
		unsigned downs = sess_do(&s, s.downs);

		ledger_take(&before);
		fault_arm(n);
		backend_hangup(s.b);
		for (unsigned i = 0; i < 1000 && sess_do(&s, s.downs) == downs; i++)
			sess_nap(1);
		CU_ASSERT(sess_wait_link(&s, true, 4000));
		struck = !fault_armed();
		fault_arm(0);
		/* A channel that could not be had is there again with the next back-end. */
		if (struck) {
			downs = sess_do(&s, s.downs);
			backend_hangup(s.b);
			for (unsigned i = 0; i < 1000 && sess_do(&s, s.downs) == downs; i++)
				sess_nap(1);
			CU_ASSERT(sess_wait_link(&s, true, 4000));
		}
		for (unsigned i = 0; i < 500 && fd_kept_count() != before.kept; i++)
			sess_nap(2);
		CU_EQ(fd_kept_count(), before.kept);
	}
	CU_ASSERT(n > 4);
	CU_EQ(sess_do(&s, s.failures), 0);
	sess_free(&s);
}

/* ---- the host's side ------------------------------------------------------------------------ */

static struct sw *sw;
static struct ctl_server *server;
static char ctl_path[64];

static int switch_do(struct err *e)
{
	struct sw_opts o = {
		.workers = { .n = 1, .mode = WORKERS_ADAPTIVE, .spin_us = 50 },
		.dir = "/tmp", .socket_mode = 0600,
	};

	memset(o.workers.cpu, -1, sizeof(o.workers.cpu));
	return sw_new(&sw, &o, e);
}

static void switch_undo(void)
{
	sw_free(sw);
}

static void making_a_switch(void)
{
	log_init("error");
	CU_ASSERT(each_fault("switch", switch_do, switch_undo) >= 5);
}

static int port_do(struct err *e)
{
	char line[128];

	snprintf(line, sizeof(line), "port add p0 socket /tmp/podpci-fault-%d.sock queues 2",
		 (int)getpid());
	return sw_command(sw, line, e);
}

static void port_undo(void)
{
	struct err e;

	CU_EQ(sw_command(sw, "port del p0", &e), 0);
	sw_tick(sw, 1000);
	sw_tick(sw, 3000);
}

static void adding_a_port(void)
{
	struct err e;

	CU_EQ(switch_do(&e), 0);
	/* What is made on first use is made now. */
	CU_EQ(port_do(&e), 0);
	port_undo();
	CU_ASSERT(each_fault("port", port_do, port_undo) >= 3);
	switch_undo();
}

static void answer(void *owner, const Podpci__Request *q, struct ctl_call *c)
{
	(void)owner;
	(void)q;
	(void)c;
}

static int server_do(struct err *e)
{
	return ctl_server_new(&server, ctl_path, 0600, -1, answer, NULL, e);
}

static void server_undo(void)
{
	ctl_server_free(server);
}

static void *serve(void *arg)
{
	bool *stop = arg;

	while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
		struct pollfd p = { .fd = ctl_server_fd(server), .events = POLLIN };

		poll(&p, 1, 5);
		ctl_server_run(server, 1);
	}
	return NULL;
}

static int call_do(struct err *e)
{
	static const char *const words[] = { "stats", "show" };
	struct ctl_rows *rows = NULL;
	struct ctl *c;
	int rc = ctl_open(&c, ctl_path, 300, e);

	if (rc)
		return rc;
	rc = ctl_call(c, words, 2, &rows, e);
	if (!rc)
		ctl_rows_free(rows);
	ctl_close(c);
	return rc;
}

static void call_undo(void)
{
}

static void opening_and_calling_a_control_socket(void)
{
	bool stop = false;
	pthread_t thread;
	struct err e;

	snprintf(ctl_path, sizeof(ctl_path), "/tmp/podpci-fault-%d.ctl", (int)getpid());
	CU_ASSERT(each_fault("control socket", server_do, server_undo) >= 3);
	CU_EQ(server_do(&e), 0);
	if (pthread_create(&thread, NULL, serve, &stop))
		abort();
	CU_ASSERT(each_fault("control call", call_do, call_undo) >= 5);
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	server_undo();
}

CU_MAIN("wire/switch_faults",
	T(opening_a_bus), T(opening_a_device_that_listens), T(opening_a_device_without_a_backend),
	T(lending_memory), T(setting_a_session_up), T(finding_a_backend_again),
	T(making_a_switch), T(adding_a_port), T(opening_and_calling_a_control_socket))
