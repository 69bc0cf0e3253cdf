// SPDX-License-Identifier: Apache-2.0
/*
 * user.c - the vhost-user socket: finding a back-end, noticing that it went, finding the next.
 *
 * As a client we connect to the back-end's socket and try again for as long as there is none; as
 * a server we listen and take one client at a time. A new peer is courted: asked for its features
 * and left to answer in its own time. Once it does it is handed up (found()), which speaks with it
 * at once; a lost one is either noticed by a verb, whose error tells, or by the loop (lost()).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "include/ioapi.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/vhost/user.h"
#include "sim/vhost/vhost.h"

/*
 * Attempts start DELAY_MIN after a loss and thin out to one in DELAY_MAX, so that a back-end
 * that restarts is found well within a second and a missing one costs two system calls per
 * attempt. One that was found wanting, or did not answer while registers waited, is left alone for
 * longer.
 */
#define DELAY_MIN_MS  100
#define DELAY_MAX_MS  400
#define DELAY_SLOW_MS 1000
#define WAIT_STEP_MS  10
#define COURT_FACTOR  5	/* timeouts for a first answer: DPDK's may take a second */
#define BACKLOG       8
#define SOCKET_MODE   0660

_Static_assert(VHOST_SOCKET_MAX == sizeof(((struct sockaddr_un *)0)->sun_path), "sun_path");

#define OWNER(s, member) ((struct vhost_user *)((char *)(s) - offsetof(struct vhost_user, member)))

static struct vhost_user *user_of(struct vhost_transport *t)
{
	return (struct vhost_user *)t;
}

static void address(const struct vhost_user *u, struct sockaddr_un *sa)
{
	*sa = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(sa->sun_path, u->t.cfg->socket, sizeof(sa->sun_path));
}

static long new_socket(void)
{
	return fault_now() ? -EMFILE :
	       sys_call(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* ---- letting go ----------------------------------------------------------------------------- */

static unsigned jittered(struct vhost_user *u, unsigned ms)
{
	u->jitter = u->jitter * 6364136223846793005u + 1442695040888963407u;
	return ms - (unsigned)(u->jitter >> 33) % (ms / 4 + 1);
}

static void retry_later(struct vhost_user *u, unsigned ms)
{
	if (u->open && !u->t.cfg->server)
		loop_timer(u->t.loop, &u->retry, loop_now(u->t.loop) + jittered(u, ms));
}

static void let_go(struct vhost_user *u, enum user_cause cause)
{
	if (u->fd < 0)
		return;
	u->causes[cause]++;
	u->t.lingers = cause != USER_EOF;
	u->courting = false;
	u->pending_n = 0;
	back_close(u);
	loop_watch(u->t.loop, &u->conn, -1);
	fd_drop(&u->fd);
	retry_later(u, u->delay_ms);
}

static const struct { int code; const char *stat; } causes[USER_CAUSES] = {
	[USER_EOF]        = { -ECONNRESET, "lost_hangup" },
	[USER_TIMEOUT]    = { -ETIMEDOUT,  "lost_timeout" },
	[USER_SEND]       = { -EIO,        "lost_send_error" },
	[USER_RECV]       = { -EIO,        "lost_receive_error" },
	[USER_BAD_HEADER] = { -EPROTO,     "lost_bad_header" },
	[USER_BAD_SIZE]   = { -EPROTO,     "lost_bad_size" },
	[USER_BAD_VALUE]  = { -EPROTO,     "lost_bad_value" },
	[USER_STRAY_FDS]  = { -EPROTO,     "lost_stray_fds" },
	[USER_UNASKED]    = { -EPROTO,     "lost_unasked_bytes" },
	[USER_REFUSED]    = { -EPROTO,     "lost_unfit" },
	[USER_DROPPED]    = { -ENOTCONN,   "lost_dropped" },
	[USER_STRANGER]   = { -EPERM,      "lost_stranger" },
};

int user_cut(struct vhost_user *u, enum user_cause cause, const char *fmt, ...)
{
	char why[160];
	va_list ap;

	assert(causes[cause].code < 0);
	if (log_may(&u->may_log, loop_now(u->t.loop))) {
		va_start(ap, fmt);
		vsnprintf(why, sizeof(why), fmt, ap);
		va_end(ap);
		log_warn(u->t.cfg->id, "%s; session with %s ended", why, u->t.cfg->socket);
	}
	if (cause != USER_EOF)
		u->delay_ms = DELAY_SLOW_MS;
	let_go(u, cause);
	return causes[cause].code;
}

static void user_drop(struct vhost_transport *t, bool slow)
{
	struct vhost_user *u = user_of(t);

	if (slow)
		u->delay_ms = DELAY_SLOW_MS;
	let_go(u, slow ? USER_REFUSED : USER_DROPPED);
}

/* ---- finding -------------------------------------------------------------------------------- */

/*
 * Whose memory is about to be lent to whom ought to be known: a back-end that takes the place of
 * another runs under the same user, or under root or ours, who can read it anyway.
 */
static bool greet(struct vhost_user *u)
{
	struct ucred who = { .pid = 0 };
	socklen_t len = sizeof(who);

	sys_call(SYS_getsockopt, u->fd, SOL_SOCKET, SO_PEERCRED, &who, &len);
	log_info(u->t.cfg->id, "back-end on %s: pid %d, uid %u, gid %u", u->t.cfg->socket,
		 (int)who.pid, who.uid, who.gid);
	if (u->peer_uid == (uid_t)-1)
		u->peer_uid = who.uid;
	if (!who.uid || who.uid == u->peer_uid || who.uid == (uid_t)sys_call(SYS_geteuid))
		return true;
	user_cut(u, USER_STRANGER, "another user, uid %u, has taken the back-end's place (uid %u); "
		 "reopen the device if that is meant", who.uid, u->peer_uid);
	return false;
}

/* The peer has begun to answer. If the upper layer's talk fails it is gone again on return. */
static void court_ends(struct vhost_user *u)
{
	u->courting = false;
	loop_timer(u->t.loop, &u->retry, 0);
	u->t.upper.found(u->t.upper.owner);
	if (u->fd >= 0)
		u->delay_ms = DELAY_MIN_MS;
}

/* Takes fd. */
static void adopt(struct vhost_user *u, int fd)
{
	assert(u->fd < 0);
	fd = fd_keep(fd);
	if (fd < 0) {
		if (log_may(&u->may_log, loop_now(u->t.loop)))
			log_warn(u->t.cfg->id, "no descriptor left for the back-end's socket");
		return;
	}
	u->fd = fd;
	u->connects++;
	u->awaited = 0;
	if (!greet(u))
		return;
	loop_watch(u->t.loop, &u->conn, u->fd);
	u->t.deadline_ms = loop_now(u->t.loop);
	if (user_court(u))
		return;
	u->courting = true;
	loop_timer(u->t.loop, &u->retry, loop_now(u->t.loop) +
		   COURT_FACTOR * (uint64_t)u->t.cfg->timeout_ms);
}

/* What a person can do about a back-end that is not there. */
static void tell_awaited(struct vhost_user *u, int error)
{
	static const struct { int error; const char *hint; } hints[] = {
		{ ENOENT,       "no such socket: start the back-end, or mount its directory here" },
		{ ECONNREFUSED, "nobody listens on it: start the back-end" },
		{ EACCES,       "permission denied: give this user write access to it" },
		{ EPERM,        "permission denied: give this user write access to it" },
		{ ENOTSOCK,     "it is not a socket" },
		{ EAGAIN,       "the back-end's queue of connections is full" },
		{ EPROTOTYPE,   "it is not a stream socket" },
	};
	const char *hint = "cannot connect";

	if (u->awaited == error)
		return;
	u->awaited = error;
	for (unsigned i = 0; i < sizeof(hints) / sizeof(hints[0]); i++)
		if (hints[i].error == error)
			hint = hints[i].hint;
	if (log_may(&u->may_log, loop_now(u->t.loop)))
		log_warn(u->t.cfg->id, "waiting for a back-end on %s (%s; errno %d)",
			 u->t.cfg->socket, hint, error);
}

static void client_try(struct vhost_user *u)
{
	struct sockaddr_un sa;
	long fd = new_socket(), rc;

	address(u, &sa);
	rc = fd < 0 ? fd : sys_call(SYS_connect, fd, &sa, sizeof(sa));
	if (!rc) {
		adopt(u, (int)fd);
	} else {
		if (fd >= 0)
			sys_call(SYS_close, fd);
		tell_awaited(u, (int)-rc);
	}
	if (u->fd >= 0)
		return;
	retry_later(u, u->delay_ms);
	if (u->delay_ms < DELAY_MAX_MS / 2)
		u->delay_ms *= 2;
	else if (rc || u->delay_ms < DELAY_MAX_MS)
		u->delay_ms = DELAY_MAX_MS;
}

/* The peer's socket has something to say: its first answer, its end, or too much. */
static void hear(struct vhost_user *u)
{
	bool courting = u->courting;
	int rc = user_peek(u->fd);

	if (!rc)
		return;
	if (rc > 0 && courting) {
		court_ends(u);
		return;
	}
	if (rc < 0)
		user_cut(u, USER_EOF, "the back-end hung up");
	else
		user_cut(u, USER_UNASKED, "the back-end sent bytes nobody asked for");
	if (!courting)
		u->t.upper.lost(u->t.upper.owner);
}

static void conn_ready(struct loop_source *s, uint32_t events)
{
	struct vhost_user *u = OWNER(s, conn);

	(void)events;
	if (lock_take(u->t.lock))
		return;
	if (u->fd >= 0)
		hear(u);
	lock_drop(u->t.lock);
}

static void retry_ready(struct loop_source *s, uint32_t events)
{
	struct vhost_user *u = OWNER(s, retry);

	(void)events;
	if (lock_take(u->t.lock))
		return;
	if (u->courting)
		user_cut(u, USER_TIMEOUT, "the back-end does not answer");
	else if (u->open && u->fd < 0)
		client_try(u);
	lock_drop(u->t.lock);
}

/* One client at a time; a dead one makes room. */
static void server_try(struct vhost_user *u)
{
	long fd = fault_now() ? -EMFILE : sys_call(SYS_accept4, u->listen_fd, NULL, NULL,
						   SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (u->fd >= 0 && user_peek(u->fd) < 0)
		hear(u);
	if (u->fd < 0) {
		adopt(u, (int)fd);
		return;
	}
	u->clients_refused++;
	sys_call(SYS_close, fd);
	if (log_may(&u->may_log, loop_now(u->t.loop)))
		log_warn(u->t.cfg->id, "a second back-end on %s was sent away", u->t.cfg->socket);
}

static void door_ready(struct loop_source *s, uint32_t events)
{
	struct vhost_user *u = OWNER(s, door);

	(void)events;
	if (lock_take(u->t.lock))
		return;
	if (u->listen_fd >= 0)
		server_try(u);
	lock_drop(u->t.lock);
}

/* ---- listening ------------------------------------------------------------------------------ */

/* Removes a socket file that nobody listens on; anything else is left alone. */
static int clear_stale(struct vhost_user *u, struct err *e)
{
	const char *path = u->t.cfg->socket;
	struct sockaddr_un sa;
	struct stat st;
	long fd, rc;

	if (sys_call(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 0;
	if (!S_ISSOCK(st.st_mode))
		return err_set(e, -EEXIST, "%s: %s exists and is not a socket", u->t.cfg->id,
			       path);
	fd = new_socket();
	if (fd < 0)
		return err_set(e, (int)fd, "%s: no descriptor for a socket", u->t.cfg->id);
	address(u, &sa);
	rc = sys_call(SYS_connect, fd, &sa, sizeof(sa));
	sys_call(SYS_close, fd);
	if (rc != -ECONNREFUSED)
		return err_set(e, -EADDRINUSE, "%s: another program listens on %s", u->t.cfg->id,
			       path);
	log_info(u->t.cfg->id, "removing the dead socket %s", path);
	sys_call(SYS_unlinkat, AT_FDCWD, path, 0);
	return 0;
}

/* Nobody can connect before listen(), so the mode is right from the first moment. */
static int bind_door(struct vhost_user *u, int fd)
{
	const char *path = u->t.cfg->socket;
	struct sockaddr_un sa;
	struct stat st;
	long rc;

	address(u, &sa);
	rc = sys_call(SYS_bind, fd, &sa, sizeof(sa));
	if (rc)
		return (int)rc;
	rc = sys_call(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW);
	if (rc)
		return (int)rc;
	u->path_dev = st.st_dev;
	u->path_ino = st.st_ino;
	rc = sys_call(SYS_fchmodat, AT_FDCWD, path, SOCKET_MODE);
	return rc ? (int)rc : (int)sys_call(SYS_listen, fd, BACKLOG);
}

static int server_open(struct vhost_user *u, struct err *e)
{
	int rc = clear_stale(u, e);
	long fd;

	if (rc)
		return rc;
	fd = new_socket();
	if (fd >= 0)
		fd = fd_keep((int)fd);
	if (fd < 0)
		return err_set(e, (int)fd, "%s: no descriptor for a socket", u->t.cfg->id);
	u->listen_fd = (int)fd;
	rc = bind_door(u, u->listen_fd);
	if (rc)
		return err_set(e, rc, "%s: cannot listen on %s (errno %d): is its directory there "
			       "and writable?", u->t.cfg->id, u->t.cfg->socket, -rc);
	loop_watch(u->t.loop, &u->door, u->listen_fd);
	if (log_may(&u->may_log, loop_now(u->t.loop)))
		log_info(u->t.cfg->id, "listening on %s for a back-end", u->t.cfg->socket);
	return 0;
}

static void server_close(struct vhost_user *u)
{
	const char *path = u->t.cfg->socket;
	struct stat st;

	if (u->listen_fd < 0)
		return;
	loop_watch(u->t.loop, &u->door, -1);
	fd_drop(&u->listen_fd);
	if (u->path_ino &&
	    !sys_call(SYS_newfstatat, AT_FDCWD, path, &st, AT_SYMLINK_NOFOLLOW) &&
	    st.st_dev == u->path_dev && st.st_ino == u->path_ino)
		sys_call(SYS_unlinkat, AT_FDCWD, path, 0);
	u->path_ino = 0;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void user_close(struct vhost_transport *t)
{
	struct vhost_user *u = user_of(t);

	u->open = false;
	let_go(u, USER_DROPPED);
	if (u->retry.linked)
		loop_timer(t->loop, &u->retry, 0);
	server_close(u);
}

static int user_open(struct vhost_transport *t, struct err *e)
{
	struct vhost_user *u = user_of(t);
	int rc = 0;

	assert(!u->open);
	u->open = true;
	u->peer_uid = (uid_t)-1;
	u->awaited = 0;
	u->delay_ms = DELAY_MIN_MS;
	if (t->cfg->server)
		rc = server_open(u, e);
	else
		client_try(u);
	if (rc)
		user_close(t);
	return rc;
}

static void user_wait(struct vhost_transport *t, unsigned wait_ms)
{
	struct vhost_user *u = user_of(t);
	uint64_t start_ms = loop_now(u->t.loop), spent_ms = 0;
	unsigned court_ms = t->cfg->timeout_ms - t->cfg->timeout_ms / 8;

	/* A peer that is there but has not answered yet is worth a longer wait than none. */
	while (u->open && (u->fd < 0 || u->courting) &&
	       spent_ms < (u->courting ? court_ms : wait_ms)) {
		struct pollfd p = { .fd = u->courting ? u->fd : u->listen_fd, .events = POLLIN };

		loop_wait(t->loop, &p, 1, loop_now(t->loop) + WAIT_STEP_MS);
		if (u->courting)
			hear(u);
		else if (t->cfg->server)
			server_try(u);
		else
			client_try(u);
		spent_ms = loop_now(u->t.loop) - start_ms;
	}
}

static void user_orphan(struct vhost_transport *t)
{
	struct vhost_user *u = user_of(t);

	u->open = false;
	fd_drop(&u->fd);
	fd_drop(&u->listen_fd);
	fd_drop(&u->back.fd);
}

static void user_free(struct vhost_transport *t)
{
	if (!t)
		return;
	user_close(t);
	free(user_of(t));
}

static unsigned user_stats(const struct vhost_transport *t, struct ioapi_stat *rows, unsigned max)
{
	const struct vhost_user *u = (const struct vhost_user *)t;
	const struct ioapi_stat own[] = {
		{ "connects", u->connects }, { "clients_refused", u->clients_refused },
		{ "messages_sent", u->sent }, { "replies_received", u->received },
		{ "requests_refused", u->nacks }, { "backend_requests", u->back_served },
		{ "backend_requests_refused", u->back_refused },
		{ "backend_channels_lost", u->back_lost },
		{ "backend_requests_paused", u->back_pauses },
	};
	const unsigned own_n = sizeof(own) / sizeof(own[0]);

	for (unsigned i = 0; i < own_n && i < max; i++)
		rows[i] = own[i];
	for (unsigned i = 0; i < USER_CAUSES && own_n + i < max; i++)
		rows[own_n + i] = (struct ioapi_stat){ causes[i].stat, u->causes[i] };
	return own_n + USER_CAUSES;
}

static const struct vhost_ops user_ops = {
	.name = "vhost-user",
	.open = user_open, .wait = user_wait, .close = user_close, .drop = user_drop,
	.orphan = user_orphan, .free = user_free, .stats = user_stats,
	.hello = user_hello, .sync = user_sync,
	.set_features = user_set_features, .set_memory = user_set_memory,
	.memory_add = user_memory_add, .memory_del = user_memory_del,
	.ring_setup = user_ring_setup, .ring_addr = user_ring_addr, .ring_fd = user_ring_fd,
	.ring_enable = user_ring_enable, .ring_stop = user_ring_stop, .set_mtu = user_set_mtu,
	.set_status = user_set_status, .get_status = user_get_status,
	.get_config = user_get_config, .announce = user_announce, .reset = user_reset,
	.set_log = user_set_log, .inflight_new = user_inflight_new,
	.inflight_set = user_inflight_set,
};

static int check_path(const struct vhost_config *cfg, struct err *e)
{
	size_t len = strnlen(cfg->socket, sizeof(cfg->socket));

	if (!len)
		return err_set(e, -EINVAL, "%s: socket= is missing", cfg->id);
	if (len == sizeof(cfg->socket))
		return err_set(e, -ENAMETOOLONG, "%s: the socket's path is longer than the %zu "
			       "bytes a unix socket may have: use a shorter directory", cfg->id,
			       len - 1);
	return 0;
}

int vhost_user_new(struct vhost_transport **t, const struct vhost_config *cfg, struct loop *loop,
		   struct lock *lock, const struct vhost_upper *upper, struct err *e)
{
	struct vhost_user *u;
	int rc = check_path(cfg, e);

	if (rc)
		return rc;
	u = fault_zalloc(sizeof(*u));
	if (!u)
		return err_set(e, -ENOMEM, "%s: out of memory", cfg->id);
	u->t = (struct vhost_transport){
		.ops = &user_ops, .cfg = cfg, .upper = *upper, .loop = loop, .lock = lock,
	};
	u->conn = (struct loop_source){ .ready = conn_ready, .fd = -1 };
	u->door = (struct loop_source){ .ready = door_ready, .fd = -1 };
	u->retry = (struct loop_source){ .ready = retry_ready, .fd = -1 };
	u->back.source = (struct loop_source){ .ready = back_ready, .fd = -1 };
	u->fd = u->listen_fd = u->back.fd = -1;
	u->jitter = loop_seed(loop);
	for (const char *id = cfg->id; *id; id++)
		u->jitter = u->jitter * 31 + (unsigned char)*id;
	u->may_log = (struct log_limit){ .burst = 8, .every_ms = 10000 };
	*t = &u->t;
	return 0;
}
