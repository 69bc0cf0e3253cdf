// SPDX-License-Identifier: Apache-2.0
// dev.c - the control socket of a process with devices, see dev.h.
//
// Runs on the loop's thread inside somebody else's program: no lock of a device is held while
// memory is taken or a client is written to.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sim/app/dev.h"
#include "sim/app/sim.h"
#include "sim/bus/pci.h"
#include "sim/core/err.h"
#include "sim/core/log.h"
#include "sim/core/sys.h"
#include "sim/core/trace.h"
#include "sim/ctl/server.h"

#define PATH_BYTES   108
#define SOCKET_MODE  0600		/* whoever may be root here, and we ourselves */
#define TICK_MS      1000		/* for clients that stall */
#define FOLLOW_MS    3000		/* events are kept so long for one who asks again */
#define LINES_MAX    64			/* in one answer */
#define NET_TEXT_MAX 1024

struct dev_ctl {
	struct ioapi_bus  *bus;
	struct lock        lock;	/* of all below; held while requests are handled */
	struct loop_source source, tick;
	struct ctl_server *server;
	char               path[PATH_BYTES];
};

#define OWNER(s, member) ((struct dev_ctl *)((char *)(s) - offsetof(struct dev_ctl, member)))

/* ---- requests ------------------------------------------------------------------------------ */

struct cmd {
	struct dev_ctl        *dc;
	const Podpci__Request *q;
	struct ctl_call       *c;
	struct err            *e;
};

static int find(struct cmd *k, const char *name, struct ioapi_func **f)
{
	struct ioapi_ident id;

	for (unsigned i = 0; name && (*f = ioapi_bus_func(k->dc->bus, i)); i++) {
		ioapi_ident(*f, &id);
		if (!strcmp(id.id, name) || !strcmp(id.bdf, name) ||
		    !strcmp(id.bdf + 5, name))
			return 0;
	}
	return err_set(k->e, name ? -ENOENT : -EINVAL,
		       name ? "there is no device %s" : "which device?", name);
}

typedef void (*shower)(struct ioapi_bus *bus, const char *name, struct ctl_call *c);

static const struct {
	Podpci__Request__BodyCase body;
	shower show;
} shows[] = {
	{ PODPCI__REQUEST__BODY_DEV_LIST, dev_list },
	{ PODPCI__REQUEST__BODY_DEV_SHOW, dev_show },
	{ PODPCI__REQUEST__BODY_DEV_REGS, dev_regs },
	{ PODPCI__REQUEST__BODY_DEV_STATS, dev_stats },
	{ PODPCI__REQUEST__BODY_DEV_FEATURES, dev_features },
};

/* All of them name a device alike, or none for all. */
static int on_show(struct cmd *k)
{
	const char *name = k->q->dev_show->name;
	struct ioapi_func *f;
	struct ioapi_ident id;
	int rc = name ? find(k, name, &f) : 0;

	if (rc)
		return rc;
	if (name)
		ioapi_ident(f, &id);
	for (unsigned i = 0; i < sizeof(shows) / sizeof(shows[0]); i++)
		if (shows[i].body == k->q->body_case)
			shows[i].show(k->dc->bus, name ? id.id : NULL, k->c);
	return 0;
}

/* A message's fields as the text of --net: "id=net1,socket=/run/p1.sock,queue-size=512". */
static int net_text(const ProtobufCMessage *m, char *text, size_t size, struct err *e)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	size_t n = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < d->n_fields && n < size; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		const void *at = (const char *)m + f->offset;
		const char *sep = n ? "," : "", *s;
		char name[32];

		for (size_t c = 0; c <= strlen(f->name) && c < sizeof(name); c++)
			name[c] = f->name[c] == '_' ? '-' : f->name[c];
		if (f->type == PROTOBUF_C_TYPE_STRING) {
			s = *(char *const *)at;
			if (s && strchr(s, ','))
				return err_set(e, -EINVAL, "%s: must not hold a comma", name);
			if (s)
				n += (size_t)snprintf(text + n, size - n, "%s%s=%s", sep, name, s);
		} else if (!*(const protobuf_c_boolean *)((const char *)m + f->quantifier_offset)) {
			continue;
		} else if (f->type == PROTOBUF_C_TYPE_BOOL) {
			n += (size_t)snprintf(text + n, size - n, "%s%s=%s", sep, name,
				*(const protobuf_c_boolean *)at ? "on" : "off");
		} else {
			n += (size_t)snprintf(text + n, size - n, "%s%s=%u", sep, name,
				*(const uint32_t *)at);
		}
	}
	return n < size ? 0 : err_set(e, -EINVAL, "that is too long");
}

static int on_add(struct cmd *k)
{
	const Podpci__DevNet *net = k->q->dev_add;
	char text[NET_TEXT_MAX];
	struct ioapi_func *f;
	struct ioapi_ident id;
	int rc;

	if (!net->socket || net->socket[0] != '/')
		return err_set(k->e, -EINVAL, "socket: must be an absolute path");
	rc = net_text(&net->base, text, sizeof(text), k->e);
	if (!rc)
		rc = ioapi_bus_add(k->dc->bus, text, &f, k->e);
	if (rc)
		return rc;
	ioapi_ident(f, &id);
	dev_list(k->dc->bus, id.id, k->c);
	return 0;
}

static int on_del(struct cmd *k)
{
	const Podpci__DevDel *q = k->q->dev_del;
	struct ioapi_func *f;
	int rc = find(k, q->name, &f);

	return rc ? rc : ioapi_bus_del(f, q->has_force && q->force, k->e);
}

/*
 * A reader comes back with the number it was given; that keeps events coming. Its first visit
 * only turns the trace on.
 */
static int on_trace(struct cmd *k)
{
	static char text[LINES_MAX][TRACE_LINE_MAX];	/* the loop's thread is alone here */
	const Podpci__DevTrace *q = k->q->dev_trace;
	struct trace *t = pci_bus_trace(k->dc->bus);
	Podpci__TraceRow row = PODPCI__TRACE_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	uint64_t n = q->has_after && q->after ? q->after - 1 : trace_next(t), want = n;
	char *lines[LINES_MAX];
	struct trace_event ev;
	int rc = trace_keep(t, loop_now_ms() + FOLLOW_MS);

	if (rc)
		return err_set(k->e, rc, "out of memory");
	for (; row.n_line < LINES_MAX && trace_get(t, &n, &ev); n++, want = n) {
		row.lost += n - want;
		if (q->name && strcmp(q->name, ev.who ? ev.who : ""))
			continue;
		trace_line(&ev, text[row.n_line], TRACE_LINE_MAX);
		lines[row.n_line] = text[row.n_line];
		row.n_line++;
	}
	/* Numbers on the wire are one more than the trace's: 0 stands for "from now on". */
	row.has_lost = row.lost > 0;
	row.has_after = 1;
	row.after = n + 1;
	row.line = lines;
	r.n_trace = 1;
	r.trace = rows;
	ctl_call_rows(k->c, &r);
	return 0;
}

static int (*const runs[])(struct cmd *k) = {
	[PODPCI__REQUEST__BODY_DEV_LIST]     = on_show,
	[PODPCI__REQUEST__BODY_DEV_SHOW]     = on_show,
	[PODPCI__REQUEST__BODY_DEV_REGS]     = on_show,
	[PODPCI__REQUEST__BODY_DEV_STATS]    = on_show,
	[PODPCI__REQUEST__BODY_DEV_FEATURES] = on_show,
	[PODPCI__REQUEST__BODY_DEV_TRACE]    = on_trace,
	[PODPCI__REQUEST__BODY_DEV_ADD]      = on_add,
	[PODPCI__REQUEST__BODY_DEV_DEL]      = on_del,
};

static void handle(void *owner, const Podpci__Request *q, struct ctl_call *c)
{
	unsigned body = (unsigned)q->body_case;
	struct err e = { 0 };
	struct cmd k = { owner, q, c, &e };
	int rc;

	if (body >= sizeof(runs) / sizeof(runs[0]) || !runs[body])
		rc = err_set(&e, -EOPNOTSUPP, "that is for podpci-switch, not for a device");
	else
		rc = runs[body](&k);
	if (rc)
		ctl_call_fail(c, &e);
}

/* ---- serving ------------------------------------------------------------------------------- */

static void serve(struct loop_source *s, uint32_t events)
{
	struct dev_ctl *dc = OWNER(s, source);

	if (lock_take(&dc->lock))
		return;
	if (dc->server) {
		ctl_server_run(dc->server, loop_now_ms());
		loop_timer(pci_bus_loop(dc->bus), &dc->tick,
			   ctl_server_clients(dc->server) ? loop_now_ms() + TICK_MS : 0);
	}
	lock_drop(&dc->lock);
}

static void tick(struct loop_source *s, uint32_t events)
{
	struct dev_ctl *dc = OWNER(s, tick);

	serve(&dc->source, 0);
}

/* Makes a directory and those above it; what is there is left as it is. */
static void make_dirs(const char *dir, unsigned mode)
{
	char path[PATH_BYTES];

	for (size_t i = 1; dir[i - 1] && i < sizeof(path); i++) {
		if (dir[i] && dir[i] != '/')
			continue;
		memcpy(path, dir, i);
		path[i] = '\0';
		sys_call(SYS_mkdirat, AT_FDCWD, path, dir[i] ? 0755 : mode);
	}
}

/* A directory somebody else can write to is not ours to put a socket in. */
static bool dir_is_safe(const char *dir)
{
	long uid = sys_call(SYS_geteuid);
	struct stat st;

	if (sys_call(SYS_newfstatat, AT_FDCWD, dir, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return false;
	return S_ISDIR(st.st_mode) && ((long)st.st_uid == uid || !st.st_uid) &&
	       !(st.st_mode & 022);
}

static int listen_in(struct dev_ctl *dc, const char *dir, unsigned mode, struct err *e)
{
	int n;

	make_dirs(dir, mode);
	if (!dir_is_safe(dir))
		return err_set(e, -EACCES, "%s: not a directory that only its owner can write to",
			       dir);
	n = snprintf(dc->path, sizeof(dc->path), "%s/%d" DEV_SUFFIX, dir,
		     (int)sys_call(SYS_getpid));
	if (n >= (int)sizeof(dc->path))
		return err_set(e, -ENAMETOOLONG, "%s: the path is too long for a socket", dir);
	return ctl_server_new(&dc->server, dc->path, SOCKET_MODE, -1, handle, dc, e);
}

/* Lock held. */
static int open_locked(struct dev_ctl *dc, struct err *e)
{
	const char *asked = sim_config(dc->bus)->ctl;
	char mine[PATH_BYTES];
	int rc;

	if (asked[0])
		return listen_in(dc, asked, 0700, e);
	rc = listen_in(dc, DEV_DIR, 0755, e);
	if (!rc)
		return 0;
	snprintf(mine, sizeof(mine), DEV_DIR_USER "%d", (int)sys_call(SYS_geteuid));
	return listen_in(dc, mine, 0700, e);
}

void dev_ctl_open(struct dev_ctl *dc)
{
	struct err e = { 0 };
	int rc;

	if (!dc || lock_take(&dc->lock))
		return;
	rc = dc->server ? -EALREADY : open_locked(dc, &e);
	if (!rc) {
		loop_watch(pci_bus_loop(dc->bus), &dc->source, ctl_server_fd(dc->server));
		log_info(NULL, "podpci dev: served at %s", dc->path);
	} else if (rc != -EALREADY) {
		dc->path[0] = '\0';
		log_info(NULL, "podpci dev: not served: %s", e.msg);
	}
	lock_drop(&dc->lock);
}

static bool any_open(struct ioapi_bus *bus)
{
	struct ioapi_func *f;

	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++)
		if (pci_func_is_open(f))
			return true;
	return false;
}

/* From inside a request (a device pulled out) the lock is ours: the socket then stays. */
void dev_ctl_close(struct dev_ctl *dc)
{
	if (!dc || any_open(dc->bus) || lock_take(&dc->lock))
		return;
	if (dc->server) {
		loop_watch(pci_bus_loop(dc->bus), &dc->source, -1);
		ctl_server_free(dc->server);
		dc->server = NULL;
		dc->path[0] = '\0';
	}
	lock_drop(&dc->lock);
}

struct dev_ctl *dev_ctl_new(struct ioapi_bus *bus)
{
	struct dev_ctl *dc = calloc(1, sizeof(*dc));

	if (!dc)
		return NULL;
	dc->bus = bus;
	dc->source = (struct loop_source){ .ready = serve, .fd = -1 };
	dc->tick = (struct loop_source){ .ready = tick, .fd = -1 };
	return dc;
}

const char *dev_ctl_path(const struct dev_ctl *dc)
{
	return dc ? dc->path : "";
}

void dev_ctl_exit(const struct dev_ctl *dc)
{
	if (dc && dc->path[0])
		sys_call(SYS_unlinkat, AT_FDCWD, dc->path, 0);
}

void dev_ctl_orphan(struct dev_ctl *dc)
{
	if (!dc)
		return;
	dc->lock = (struct lock){ 0 };
	dc->path[0] = '\0';
	if (dc->server)
		ctl_server_orphan(dc->server);
}

void dev_ctl_free(struct dev_ctl *dc)
{
	if (!dc)
		return;
	ctl_server_free(dc->server);
	free(dc);
}
