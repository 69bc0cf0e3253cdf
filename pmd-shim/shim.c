// SPDX-License-Identifier: Apache-2.0
// shim.c - absent, then present, then open; forks make orphans.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "pmd-shim/coalesce.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/func.h"
#include "pmd-shim/ioremote.h"
#include "pmd-shim/lend.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/trap.h"
#include "pmd-shim/vfio.h"
#include "sim/core/err.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"

#define STAT_ROWS_MAX 64

enum presence { UNKNOWN, ABSENT, PRESENT };

struct lock shim_lock;

static int presence;			/* enum presence; only ever leaves UNKNOWN */
static bool tried;			/* to open; under opening */
static struct lock opening;
static struct ioapi_bus *the_bus;
static bool orphaned;

const char *shim_config_path(void)
{
	const char *path = getenv("PODPCI_CONFIG");

	return path && *path ? path : SHIM_CONFIG_PATH;
}

bool shim_present(void)
{
	int p = __atomic_load_n(&presence, __ATOMIC_RELAXED);

	if (p == UNKNOWN) {
		p = sys_call(SYS_access, shim_config_path(), F_OK) < 0 ? ABSENT : PRESENT;
		__atomic_store_n(&presence, p, __ATOMIC_RELAXED);
	}
	return p == PRESENT;
}

/* Outermost first; dropped in both processes, so that a child starts with whole tables. */
static void before_fork(void)
{
	lock_take(&opening);
	lock_take(&shim_lock);
	coalesce_fork_begin();
	trap_fork_begin();
}

static void after_fork(void)
{
	trap_fork_end();
	coalesce_fork_end(false);
	lock_drop(&shim_lock);
	lock_drop(&opening);
}

/* A driver's devices stay the parent's. A bus that was only looked at is opened anew if asked. */
static void in_child(void)
{
	struct ioapi_bus *bus = __atomic_load_n(&the_bus, __ATOMIC_RELAXED);

	fdtab_adopt();
	trap_fork_end();
	trap_child();
	coalesce_fork_end(true);
	orphaned = orphaned || vfio_in_use() || func_any();
	if (bus)
		ioapi_bus_orphan(bus);
	remote_child();
	func_child(orphaned);
	lend_child();
	if (!orphaned) {
		ioapi_bus_close(bus);
		the_bus = NULL;
		tried = false;
	}
	lock_drop(&shim_lock);
	lock_drop(&opening);
}

/* glibc has the first, musl the second; with glibc the second is in a static part of it. */
typedef void (*fork_hook)(void);
int __register_atfork(fork_hook before, fork_hook parent, fork_hook child, void *object);
int pthread_atfork(fork_hook before, fork_hook parent, fork_hook child);
#pragma weak __register_atfork
#pragma weak pthread_atfork

static bool register_forks(void)
{
	if (__register_atfork)
		return !__register_atfork(before_fork, after_fork, in_child, NULL);
	return pthread_atfork && !pthread_atfork(before_fork, after_fork, in_child);
}

/* For `podpci dev stats`. */
static unsigned door_stats(struct ioapi_stat *rows, unsigned max)
{
	const struct ioapi_stat own[] = {
		{ "traps", trap_count(TRAPS_SERVED) },
		{ "decoder_misses", trap_count(TRAPS_UNKNOWN) },
		{ "foreign_faults", trap_count(TRAPS_FOREIGN) },
	};
	const unsigned n = sizeof(own) / sizeof(own[0]);

	for (unsigned i = 0; i < n && i < max; i++)
		rows[i] = own[i];
	return n;
}

static void open_bus(void)
{
	static bool registered;
	struct ioapi_bus *bus = NULL;
	struct err e = { 0 };

	log_init(getenv("PODPCI_LOG"));
	fdtab_adopt();
	registered = registered || register_forks();
	if (!registered)
		log_error(NULL, "no simulated devices in this process: out of memory");
	else if (ioapi_bus_open(&bus, shim_config_path(), &e) < 0)
		log_error(NULL, "no simulated devices in this process: %s", e.msg);
	if (bus) {
		ioapi_bus_door_stats(bus, door_stats);
		ioapi_bus_pages(bus, trap_page);
		__atomic_store_n(&the_bus, bus, __ATOMIC_RELEASE);
	}
}

struct ioapi_bus *shim_bus_open(void)
{
	return orphaned ? NULL : __atomic_load_n(&the_bus, __ATOMIC_ACQUIRE);
}

struct ioapi_bus *shim_bus(void)
{
	struct ioapi_bus *bus = __atomic_load_n(&the_bus, __ATOMIC_ACQUIRE);
	int saved = errno;

	if (orphaned || bus || !shim_present())
		return orphaned ? NULL : bus;
	/* Opening it calls what we override: that call then finds no bus yet, and passes. */
	if (lock_take(&opening))
		return NULL;
	if (!tried)
		open_bus();
	tried = true;
	lock_drop(&opening);
	errno = saved;
	return __atomic_load_n(&the_bus, __ATOMIC_ACQUIRE);
}

bool shim_option(const char *name)
{
	struct ioapi_bus *bus = shim_bus();

	return bus && ioapi_bus_flag(bus, name) > 0;
}

long shim_ret(long rc)
{
	if (rc >= 0 || rc < -4095)
		return rc;
	errno = (int)-rc;
	return -1;
}

void *shim_ret_ptr(long rc)
{
	return (void *)shim_ret(rc);
}

/* ---- counters ------------------------------------------------------------------------------ */

static void put_row(int fd, const char *who, const char *name, uint64_t value)
{
	char line[160];
	int n = snprintf(line, sizeof(line), "%s.%s %llu\n", who, name,
			 (unsigned long long)value);

	if (n > 0)
		sys_call(SYS_write, fd, line, (size_t)n < sizeof(line) ? (size_t)n : sizeof(line));
}

void shim_stats_write(struct ioapi_func *f)
{
	const char *path = getenv("PODPCI_STATS");
	struct ioapi_stat rows[STAT_ROWS_MAX];
	struct ioapi_ident ident;
	unsigned n;
	long fd;

	if (!path || !*path)
		return;
	fd = sys_call(SYS_open, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	put_row((int)fd, "shim", "traps", trap_count(TRAPS_SERVED));
	put_row((int)fd, "shim", "decoder_misses", trap_count(TRAPS_UNKNOWN));
	put_row((int)fd, "shim", "foreign_faults", trap_count(TRAPS_FOREIGN));
	if (f) {
		ioapi_ident(f, &ident);
		n = ioapi_stats(f, rows, STAT_ROWS_MAX);
		for (unsigned i = 0; i < n && i < STAT_ROWS_MAX; i++)
			put_row((int)fd, ident.id, rows[i].name, rows[i].value);
	}
	sys_call(SYS_close, (int)fd);
}

/*
 * The process ends by exit(): back-ends learn it from their sockets. Threads of the application
 * may still run, so nothing is freed.
 */
static __attribute__((destructor)) void at_exit(void)
{
	struct ioapi_bus *bus = shim_bus_open();
	struct ioapi_func *f;

	for (unsigned i = 0; bus && fdtab_owned() && (f = ioapi_bus_func(bus, i)); i++)
		shim_stats_write(f);
	if (bus && fdtab_owned())
		ioapi_bus_exit(bus);
}
