// SPDX-License-Identifier: Apache-2.0
/*
 * user_back.c - the back-end's own channel: requests it makes of us, as rows.
 *
 * The channel is a socketpair of which the back-end gets one end. It is heard by the loop and, so
 * that nobody waits for each other, while a request of ours waits for its answer. A request is
 * judged by its row (size, descriptors, what must be negotiated) before its handler sees it, and
 * answered if it asks to be. What cannot be read on from ends this channel and nothing else: the
 * device does without. A flood is read no faster than BUDGET requests each WINDOW_MS.
 *
 * Handlers run inside whatever verb is under way and make no request of their own: news that
 * needs one is left for the loop.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/vhost/user.h"
#include "sim/vhost/vhost.h"

#define BUDGET    64
#define WINDOW_MS 50
#define PAGE      4096u
#define SIZE_ANY  UINT16_MAX	/* never served: whatever it is, it is skipped */
#define NEVER     BIT(63)	/* no such protocol feature */

_Static_assert(sizeof(((struct user_back *)0)->in) >= sizeof(struct vu_header) +
	       sizeof(struct vu_notifier), "the largest request that is served");

/* One whole request. */
struct ask {
	struct vu_header  h;
	union vu_payload *payload;
	int              *fds;
	unsigned          fds_n;
};

struct back_row {
	const char *name;
	uint16_t    size;
	uint8_t     fds_max;
	uint64_t    needs;		/* protocol features */
	/* 0 or -errno; the fds stay the caller's. */
	int       (*serve)(struct vhost_user *u, const struct ask *a);
};

static int serve_config_change(struct vhost_user *u, const struct ask *a)
{
	(void)a;
	u->back.changed = true;
	loop_timer(u->t.loop, &u->back.source, loop_now(u->t.loop));
	return 0;
}

/*
 * The driver's stores will go to this page, so it must be one that cannot go away under them: a
 * piece of hardware, or a file that can never shrink.
 */
static int check_page(int fd, uint64_t off, uint64_t size)
{
	struct stat st;
	long rc = sys_call(SYS_fstat, fd, &st);

	if (rc)
		return (int)rc;
	if (size != PAGE || off & (size - 1))
		return -EINVAL;
	if (S_ISCHR(st.st_mode))
		return 0;
	rc = sys_call(SYS_fcntl, fd, F_GET_SEALS);
	if (!S_ISREG(st.st_mode) || rc < 0 || !(rc & F_SEAL_SHRINK))
		return -EPERM;
	return off > (uint64_t)st.st_size || size > (uint64_t)st.st_size - off ? -EINVAL : 0;
}

/* Payload: bits 0-7 the ring, bit 8: no descriptor, the page is taken back. */
static int serve_notifier(struct vhost_user *u, const struct ask *a)
{
	const struct vu_notifier *n = &a->payload->notifier;
	bool none = n->index & VU_RING_NOFD;
	int rc;

	if (n->index & ~(uint64_t)(VU_RING_INDEX | VU_RING_NOFD) || none == (a->fds_n == 1))
		return -EINVAL;
	rc = none ? 0 : check_page(a->fds[0], n->offset, n->size);
	if (rc)
		return rc;
	return u->t.upper.notifier(u->t.upper.owner, n->index & VU_RING_INDEX,
				   none ? -1 : a->fds[0], n->offset);
}

static int serve_nothing(struct vhost_user *u, const struct ask *a)
{
	(void)u;
	(void)a;
	return -EOPNOTSUPP;
}

static const struct back_row rows[VU_BACKEND_REQUESTS] = {
#define ROW(id, ...) [VU_BACKEND_##id] = { #id, __VA_ARGS__ }
	/*  request              size      fds  needs  */
	ROW(IOTLB_MSG,            SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(CONFIG_CHANGE,        0,        0,   BIT(VU_PROTOCOL_CONFIG), serve_config_change),
	ROW(VRING_HOST_NOTIFIER,  24,       1,   BIT(VU_PROTOCOL_HOST_NOTIFIER) |
	    BIT(VU_PROTOCOL_BACKEND_SEND_FD), serve_notifier),
	ROW(VRING_CALL,           SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(VRING_ERR,            SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(SHARED_OBJECT_ADD,    SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(SHARED_OBJECT_REMOVE, SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(SHARED_OBJECT_LOOKUP, SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(SHMEM_MAP,            SIZE_ANY, 0,   NEVER, serve_nothing),
	ROW(SHMEM_UNMAP,          SIZE_ANY, 0,   NEVER, serve_nothing),
#undef ROW
};

/* ---- life ----------------------------------------------------------------------------------- */

static void drop_fds(struct user_back *b)
{
	for (unsigned i = 0; i < b->fds_n; i++)
		sys_call(SYS_close, b->fds[i]);
	b->fds_n = 0;
}

int back_fd(const struct vhost_user *u)
{
	return u->back.paused ? -1 : u->back.fd;
}

void back_close(struct vhost_user *u)
{
	struct user_back *b = &u->back;

	drop_fds(b);
	if (b->fd < 0)
		return;
	loop_watch(u->t.loop, &b->source, -1);
	loop_timer(u->t.loop, &b->source, 0);
	fd_drop(&b->fd);
	b->paused = b->changed = false;
	b->got = b->spent = 0;
}

/* *theirs is to be sent and closed by the caller. */
int back_open(struct vhost_user *u, int *theirs)
{
	int pair[2];
	long rc = fault_now() ? -EMFILE : sys_call(SYS_socketpair, AF_UNIX,
						   SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
						   pair);

	if (rc < 0)
		return (int)rc;
	u->back.fd = fd_keep(pair[0]);
	if (u->back.fd < 0) {
		rc = u->back.fd;
		u->back.fd = -1;
		sys_call(SYS_close, pair[1]);
		return (int)rc;
	}
	*theirs = pair[1];
	loop_watch(u->t.loop, &u->back.source, u->back.fd);
	return 0;
}

static int end(struct vhost_user *u, const char *why)
{
	if (log_may(&u->may_log, loop_now(u->t.loop)))
		log_warn(u->t.cfg->id, "%s; the back-end's own channel is closed", why);
	u->back_lost++;
	back_close(u);
	return -EPROTO;
}

/* ---- one request ---------------------------------------------------------------------------- */

/* A back-end that asks and does not read the answers is not waited for. */
static int answer(struct vhost_user *u, const struct vu_header *h, int rc)
{
	struct {
		struct vu_header h;
		uint64_t u64;
	} __attribute__((packed)) reply = {
		.h = { .request = h->request, .flags = VU_VERSION | VU_REPLY, .size = 8 },
		.u64 = rc ? (uint64_t)-rc : 0,
	};
	long n;

	if (!(h->flags & VU_NEED_REPLY) || !(u->protocol & BIT(VU_PROTOCOL_REPLY_ACK)))
		return 0;
	n = sys_call(SYS_sendto, u->back.fd, &reply, sizeof(reply), MSG_DONTWAIT | MSG_NOSIGNAL,
		     NULL, 0);
	return n == (long)sizeof(reply) ? 0 : end(u, "it does not take our answers");
}

static int judge(struct vhost_user *u, const struct ask *a)
{
	const struct back_row *r = NULL;

	if (a->h.request < VU_BACKEND_REQUESTS && rows[a->h.request].name)
		r = &rows[a->h.request];
	if (!r || (r->needs & ~u->protocol))
		return -EOPNOTSUPP;
	if (a->h.size != r->size || a->fds_n > r->fds_max)
		return -EINVAL;
	log_debug(u->t.cfg->id, "<- %s, %u bytes, %u fds", r->name, a->h.size, a->fds_n);
	user_tell(u, false, 0, r->name, NULL, 0, false);	/* its contents go untold */
	return r->serve(u, a);
}

static int handle(struct vhost_user *u)
{
	struct user_back *b = &u->back;
	union vu_payload payload = { 0 };
	struct ask a = { .payload = &payload, .fds = b->fds, .fds_n = b->fds_n };
	int rc;

	memcpy(&a.h, b->in, sizeof(a.h));
	memcpy(&payload, b->in + sizeof(a.h), a.h.size);
	rc = judge(u, &a);
	u->back_served += !rc;
	u->back_refused += rc != 0;
	if (rc && log_may(&u->may_log, loop_now(u->t.loop)))
		log_warn(u->t.cfg->id, "request %u of the back-end refused (errno %d)",
			 a.h.request, -rc);
	drop_fds(b);
	b->got = 0;
	b->spent++;
	return b->fd < 0 ? -EPROTO : answer(u, &a.h, rc);
}

/* ---- bytes ---------------------------------------------------------------------------------- */

static bool header_ok(const struct vu_header *h)
{
	return (h->flags & ~VU_NEED_REPLY) == VU_VERSION &&
	       h->size <= sizeof(((struct user_back *)0)->in) - sizeof(*h);
}

/* 1: some came, 0: nothing there, -errno: closed. */
static int take(struct vhost_user *u, uint32_t want)
{
	struct user_back *b = &u->back;
	FD_CONTROL(VU_FDS_MAX) control;
	struct iovec iov = { .iov_base = b->in + b->got, .iov_len = want - b->got };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = &control, .msg_controllen = sizeof(control),
	};
	long n = sys_call(SYS_recvmsg, b->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	unsigned room = VU_FDS_MAX - b->fds_n, came;

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	if (n <= 0) {
		back_close(u);
		return -ECONNRESET;
	}
	came = fd_take(&m, b->fds + b->fds_n, room);
	b->fds_n += came < room ? came : room;
	b->got += (uint32_t)n;
	if (came > room || (m.msg_flags & MSG_CTRUNC))
		return end(u, "a request came with too many descriptors");
	return 1;
}

/* One step: 1 and there may be more, 0 or -errno. */
static int hear_some(struct vhost_user *u)
{
	struct user_back *b = &u->back;
	struct vu_header h;
	uint32_t want = sizeof(h);
	int rc;

	if (b->got >= sizeof(h)) {
		memcpy(&h, b->in, sizeof(h));
		want += h.size;
	}
	rc = take(u, want);
	if (rc <= 0 || b->got < sizeof(h))
		return rc;
	memcpy(&h, b->in, sizeof(h));
	if (!header_ok(&h))
		return end(u, "a request has an impossible header");
	if (b->got < sizeof(h) + h.size)
		return 1;
	rc = handle(u);
	return rc < 0 ? rc : 1;
}

/* What is left unread makes the back-end wait, as any full socket does. */
static void pause_until_next_window(struct vhost_user *u)
{
	u->back.paused = true;
	u->back_pauses++;
	loop_watch(u->t.loop, &u->back.source, -1);
	loop_timer(u->t.loop, &u->back.source, u->back.window_ms + WINDOW_MS);
}

void back_hear(struct vhost_user *u)
{
	struct user_back *b = &u->back;
	uint64_t now_ms = loop_now(u->t.loop);

	if (now_ms - b->window_ms >= WINDOW_MS) {
		b->window_ms = now_ms;
		b->spent = 0;
	}
	while (b->fd >= 0 && b->spent < BUDGET && hear_some(u) > 0)
		;
	if (b->fd >= 0 && b->spent >= BUDGET)
		pause_until_next_window(u);
}

void back_ready(struct loop_source *s, uint32_t events)
{
	struct vhost_user *u = (struct vhost_user *)((char *)s -
						     offsetof(struct vhost_user, back.source));

	(void)events;
	if (lock_take(u->t.lock))
		return;
	if (u->back.paused) {
		u->back.paused = false;
		loop_watch(u->t.loop, &u->back.source, u->back.fd);
	}
	if (u->back.fd >= 0)
		back_hear(u);
	if (u->back.changed && u->fd >= 0 && !u->courting) {
		u->back.changed = false;
		u->t.upper.changed(u->t.upper.owner);
	}
	lock_drop(u->t.lock);
}
