// SPDX-License-Identifier: Apache-2.0
// func.c - claims are counted; the lock on `config` is the claim in all processes.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>

#include "include/ioapi.h"
#include "pmd-shim/func.h"
#include "pmd-shim/ioremote.h"
#include "pmd-shim/lend.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/trap.h"
#include "sim/core/err.h"
#include "sim/core/fd.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"

/* An entry is a function's for as long as that is on the bus or claimed. */
static struct claim {
	struct ioapi_func *f;
	unsigned count;
	int      lock_fd;
	int      listen_fd;		/* for guests; -1: none */
	bool     open;
	bool     joined;
	int      holder_fd;		/* joined: to the holder; -1: it is gone */
	struct lock asking;		/* one request at a time */
} claims[FUNCS_MAX];

static unsigned joined;			/* how many are: 0 allows a short cut */

static struct claim *find(const struct ioapi_func *f)
{
	for (unsigned i = 0; i < FUNCS_MAX; i++)
		if (__atomic_load_n(&claims[i].f, __ATOMIC_ACQUIRE) == f)
			return &claims[i];
	return NULL;
}

static bool is_listed(const struct ioapi_func *f)
{
	struct ioapi_ident ident;

	ioapi_ident(f, &ident);
	return ioapi_bus_find(shim_bus(), ident.bdf) == f;
}

static struct claim *entry(struct ioapi_func *f)
{
	struct claim *c = find(f);

	for (unsigned i = 0; !c && i < FUNCS_MAX; i++) {
		if (claims[i].f && (claims[i].count || is_listed(claims[i].f)))
			continue;
		c = &claims[i];
		*c = (struct claim){ 0 };
		c->lock_fd = c->listen_fd = c->holder_fd = -1;
		__atomic_store_n(&c->f, f, __ATOMIC_RELEASE);
	}
	return c;
}

/* Where the file cannot be opened at all there is nobody to share with. */
static int lock_function(struct ioapi_func *f, int *lock_fd)
{
	struct ioapi_ident ident;
	char path[64];
	long fd, rc;

	*lock_fd = -1;
	ioapi_ident(f, &ident);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", ident.bdf);
	fd = sys_call(SYS_open, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fd_is_lack(fd) ? (int)fd : 0;
	rc = sys_call(SYS_flock, (int)fd, LOCK_EX | LOCK_NB);
	if (rc == -EWOULDBLOCK) {
		sys_call(SYS_close, (int)fd);
		return -EBUSY;
	}
	*lock_fd = fd_keep((int)fd);
	return *lock_fd < 0 ? *lock_fd : 0;
}

static int tell_busy(const struct ioapi_func *f)
{
	struct ioapi_ident ident;

	ioapi_ident(f, &ident);
	log_warn(ident.id, "%s is in use by another process", ident.bdf);
	return -EBUSY;
}

static int claim(struct ioapi_func *f)
{
	struct claim *c = entry(f);
	int rc = 0;

	if (!c)
		return -EMFILE;
	if (c->joined)
		return -EBUSY;
	if (!c->count) {
		rc = lock_function(f, &c->lock_fd);
		if (!rc)
			remote_show(f, &c->listen_fd);
	}
	if (!rc)
		c->count++;
	return rc;
}

int func_claim(struct ioapi_func *f)
{
	int rc = claim(f);

	return rc == -EBUSY ? tell_busy(f) : rc;
}

int func_join(struct ioapi_func *f)
{
	struct claim *c = entry(f);
	int fd;

	if (!c)
		return -EMFILE;
	if (!c->count) {
		fd = remote_connect(f);
		if (fd < 0)
			return fd;
		c->holder_fd = fd;
		c->joined = true;
		__atomic_add_fetch(&joined, 1, __ATOMIC_RELEASE);
	}
	c->count++;
	return 0;
}

bool func_is_joined(const struct ioapi_func *f)
{
	const struct claim *c = find(f);

	return c && c->joined;
}

void func_unclaim(struct ioapi_func *f)
{
	struct claim *c = find(f);

	if (!c || !c->count || --c->count)
		return;
	remote_hide(&c->listen_fd);
	fd_drop(&c->lock_fd);
	if (!c->joined)
		return;
	lock_take(&c->asking);
	c->joined = false;
	fd_drop(&c->holder_fd);
	lock_drop(&c->asking);
	__atomic_sub_fetch(&joined, 1, __ATOMIC_RELEASE);
}

int func_open(struct ioapi_func *f, struct ioapi_domain *d)
{
	struct claim *c = find(f);
	struct ioapi_ident ident;
	struct err e = { 0 };
	int rc;

	if (!c || !c->count)
		return -ENODEV;
	if (c->joined) {
		__atomic_store_n(&c->open, true, __ATOMIC_RELEASE);
		return 0;
	}
	rc = c->open ? -EBUSY : ioapi_open(f, &e);
	if (rc < 0) {
		ioapi_ident(f, &ident);
		log_error(ident.id, "cannot be opened: %s", c->open ?
			  "another door of this process has it" : e.msg);
		return rc;
	}
	rc = ioapi_attach(f, d);
	if (rc < 0)
		ioapi_close(f);
	else
		__atomic_store_n(&c->open, true, __ATOMIC_RELEASE);
	return rc;
}

void func_close(struct ioapi_func *f)
{
	struct claim *c = find(f);

	if (!c || !c->open)
		return;
	if (shim_bus_open() && !c->joined) {
		shim_stats_write(f);
		ioapi_close(f);
	}
	__atomic_store_n(&c->open, false, __ATOMIC_RELEASE);
}

bool func_is_open(const struct ioapi_func *f)
{
	const struct claim *c = find(f);

	return c && __atomic_load_n(&c->open, __ATOMIC_ACQUIRE);
}

/* Kept till the end: the claim is not given back. */
static int use_locked(struct ioapi_func *f)
{
	struct ioapi_domain *d = NULL;
	int rc;

	if (func_is_open(f))
		return 0;
	rc = claim(f);
	if (rc == -EBUSY && func_join(f))
		return tell_busy(f);
	if (rc < 0 && rc != -EBUSY)
		return rc;
	rc = func_is_joined(f) ? 0 : lend_domain(&d);
	if (!rc)
		rc = func_open(f, d);
	if (rc < 0)
		func_unclaim(f);
	return rc;
}

int func_use(struct ioapi_func *f)
{
	int rc;

	if (func_is_open(f))
		return 0;
	if (!shim_bus_open())
		return -ENODEV;
	rc = trap_install();
	if (rc < 0)
		return rc;
	if (lock_take(&shim_lock))
		return -EDEADLK;
	rc = use_locked(f);
	lock_drop(&shim_lock);
	return rc;
}

/* ---- access -------------------------------------------------------------------------------- */

static bool is_here(const struct ioapi_func *f)
{
	return !__atomic_load_n(&joined, __ATOMIC_ACQUIRE) || !func_is_joined(f);
}

/* A holder that does not answer is not asked again. */
static int ask(struct ioapi_func *f, const struct remote_request *q, struct remote_reply *r)
{
	struct claim *c = find(f);
	int rc = lock_take(&c->asking);

	if (rc)
		return rc;
	rc = c->holder_fd < 0 ? -ENODEV : remote_call(c->holder_fd, q, r);
	if (rc == -ENODEV)
		fd_drop(&c->holder_fd);
	lock_drop(&c->asking);
	return rc;
}

static __attribute__((noinline)) int read_there(struct ioapi_func *f, unsigned region, uint64_t off,
						unsigned size, uint64_t *val)
{
	struct remote_request q = { .op = REMOTE_READ, .region = region, .off = off, .size = size };
	struct remote_reply r;
	int rc = ask(f, &q, &r);

	*val = rc < 0 ? ~UINT64_C(0) : r.val;
	return rc;
}

static __attribute__((noinline)) int write_there(struct ioapi_func *f, unsigned region,
						 uint64_t off, unsigned size, uint64_t val)
{
	struct remote_request q = {
		.op = REMOTE_WRITE, .region = region, .off = off, .size = size, .val = val,
	};
	struct remote_reply r;

	return ask(f, &q, &r);
}

int func_read(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t *val)
{
	return is_here(f) ? ioapi_read(f, region, off, size, val) :
			    read_there(f, region, off, size, val);
}

int func_write(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t val)
{
	return is_here(f) ? ioapi_write(f, region, off, size, val) :
			    write_there(f, region, off, size, val);
}

int func_reset(struct ioapi_func *f)
{
	struct remote_request q = { .op = REMOTE_RESET };
	struct remote_reply r;

	return is_here(f) ? ioapi_reset(f) : ask(f, &q, &r);
}

/*
 * Asked of every holder on the bus but this process, whether it is anything to us or not: a
 * process maps its memory before it opens a device.
 */
int func_memory(dev_t dev, uint64_t ino, uint64_t off, uint64_t len, uint64_t *at)
{
	struct remote_request q = {
		.op = REMOTE_MEMORY, .dev = dev, .ino = ino, .off = off, .len = len,
	};
	struct ioapi_bus *bus = shim_bus_open();
	struct remote_reply r;
	struct ioapi_func *f;

	for (unsigned i = 0; bus && (f = ioapi_bus_func(bus, i)); i++) {
		const struct claim *c = find(f);
		int fd = c && c->listen_fd >= 0 ? -ENOENT : remote_connect(f), got = -1, rc;

		if (fd_is_lack(fd))
			return fd;
		if (fd < 0)
			continue;
		rc = remote_call_fd(fd, &q, &r, &got);
		fd_drop(&fd);
		if (rc)
			continue;
		*at = r.val;
		return got < 0 ? -EMFILE : got;		/* it came, and there was no room */
	}
	return -ENOENT;
}

bool func_any(void)
{
	for (unsigned i = 0; i < FUNCS_MAX; i++)
		if (claims[i].count)
			return true;
	return false;
}

/* The lock stays the parent's as long as it holds its own descriptor of the same open file. */
void func_child(bool orphaned)
{
	for (unsigned i = 0; i < FUNCS_MAX; i++) {
		if (claims[i].count) {
			fd_drop(&claims[i].lock_fd);
			fd_drop(&claims[i].holder_fd);
			remote_hide(&claims[i].listen_fd);
		}
		if (!orphaned)
			claims[i] = (struct claim){ .lock_fd = -1 };
	}
}

enum ioapi_door func_door(const struct ioapi_func *f)
{
	struct ioapi_ident ident;

	ioapi_ident(f, &ident);
	return ident.door;
}

/* ---- numbers ------------------------------------------------------------------------------- */

static bool has_number(const struct ioapi_ident *id, unsigned num)
{
	return id->number == num;
}

static bool has_uio(const struct ioapi_ident *id, unsigned num)
{
	return (id->door == IOAPI_DOOR_UIO || id->door == IOAPI_DOOR_IGB_UIO) && id->uio == num;
}

static struct ioapi_func *search(struct ioapi_bus *bus, unsigned num,
				 bool (*has)(const struct ioapi_ident *id, unsigned num))
{
	struct ioapi_ident id;
	struct ioapi_func *f;

	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++) {
		ioapi_ident(f, &id);
		if (has(&id, num))
			return f;
	}
	return NULL;
}

/* One that is not known may have been plugged in by another process. */
static struct ioapi_func *search_all(unsigned num,
				     bool (*has)(const struct ioapi_ident *id, unsigned num))
{
	struct ioapi_bus *bus = shim_bus();
	struct ioapi_func *f = bus ? search(bus, num, has) : NULL;

	if (bus && !f) {
		ioapi_bus_scan(bus);
		f = search(bus, num, has);
	}
	return f;
}

unsigned func_number(const struct ioapi_func *f)
{
	struct ioapi_ident ident;

	ioapi_ident(f, &ident);
	return ident.number;
}

struct ioapi_func *func_numbered(unsigned num)
{
	return num && num <= IOAPI_NUMBER_MAX ? search_all(num, has_number) : NULL;
}

struct ioapi_func *func_of_uio(unsigned n)
{
	return n < IOAPI_NUMBER_MAX ? search_all(n, has_uio) : NULL;
}
