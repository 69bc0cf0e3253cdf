// SPDX-License-Identifier: Apache-2.0
// vus_sock.c - a vhost-user socket: who may connect, whole messages in, bounded replies out.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sim/backend/closer.h"
#include "sim/backend/vus.h"
#include "sim/core/fd.h"

#define FLAGS_KNOWN (VU_VERSION_MASK | VU_REPLY | VU_NEED_REPLY)

static struct vus *vus_of_conn(struct poller_source *s)
{
	return (struct vus *)(void *)((char *)s - offsetof(struct vus, conn));
}

static struct vus *vus_of_listen(struct poller_source *s)
{
	return (struct vus *)(void *)((char *)s - offsetof(struct vus, listen));
}

void vus_complain(struct vus *v, const char *request, const char *why)
{
	if (log_may(&v->complaints, v->now_ms))
		log_warn(v->p.name, "%s%s%s", request ? request : "", request ? ": " : "", why);
}

/* When something began, and how often this thread had gone to sleep by then. */
struct stamp {
	uint64_t ms;
	long     sleeps;
};

static struct stamp stamp(void)
{
	struct timespec t;
	struct rusage u;

	clock_gettime(CLOCK_MONOTONIC, &t);
	getrusage(RUSAGE_THREAD, &u);
	return (struct stamp){ (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000,
			       u.ru_nvcsw };
}

static bool is_delayed(struct vus *v)
{
	return __atomic_load_n(&v->delays, __ATOMIC_RELAXED);
}

/* It took time, and not because others had the processor: it slept. */
static void note_delay(struct vus *v, struct stamp began)
{
	struct stamp now = stamp();

	if (now.ms - began.ms > VUS_WAIT_MS && now.sleeps != began.sleeps)
		__atomic_store_n(&v->delays, true, __ATOMIC_RELAXED);
}

void vus_close_foreign(struct vus *v, int fd)
{
	struct stamp began = stamp();

	if (closer_wanted(fd) && closer_take(fd))
		return;
	close(fd);
	note_delay(v, began);
}

void vus_close_fds(struct vus *v, struct vus_msg *m)
{
	for (unsigned i = 0; i < m->nfds; i++) {
		if (m->fd[i] < 0)
			continue;
		vus_close_foreign(v, m->fd[i]);
		port_tally(&v->row[PORT_FDS_STRAY], 1);
	}
	m->nfds = 0;
}

/* ---- the end and the beginning of a session ------------------------------------------------- */

static void forget_session(struct vus *v)
{
	vus_stop_all(v);
	for (unsigned i = 0; i < v->nrings; i++) {
		struct vus_ring *r = &v->ring[i];

		r->num = 0;
		r->base = 0;
		r->addressed = r->enabled = false;
		memset(&r->addr, 0, sizeof(r->addr));
	}
	if (v->mem)
		vmem_clear(v->mem);
	free(v->mem);
	v->mem = NULL;
	vlog_unmap(&v->log);
	if (v->request_fd >= 0)
		vus_close_foreign(v, v->request_fd);
	v->request_fd = -1;
	v->features = v->protocol = 0;
	v->featured = v->owned = v->resumes = false;
	v->status = 0;
	v->peer_mtu = 0;
	v->got = v->out_n = 0;
	v->began_ms = 0;
}

/* What waits in the backlog waits there. */
static void pause_accepting(struct vus *v, uint64_t ms)
{
	poller_del(v->poller, &v->listen);
	v->paused = v->listen_fd >= 0;
	v->resume_at_ms = v->now_ms + ms;
}

/* Whoever made us wait once would do so again. */
static void punish_delay(struct vus *v)
{
	vus_complain(v, NULL, "its front-end makes us wait; nobody is let in for a while");
	__atomic_store_n(&v->delays, false, __ATOMIC_RELAXED);
	v->retry_ms = VUS_PENALTY_MS;
	v->retry_at_ms = v->now_ms + v->retry_ms;
	pause_accepting(v, VUS_PENALTY_MS);
}

void vus_cut(struct vus *v, const char *why)
{
	int fd = v->conn.fd;

	if (fd < 0)
		return;
	if (why) {
		port_tally(&v->row[PORT_SESSIONS_CUT], 1);
		vus_complain(v, "front-end cut off", why);
	}
	poller_del(v->poller, &v->conn);
	/* The peer must be able to rely on what closing means: we touch nothing of it. */
	forget_session(v);
	vus_close_fds(v, &v->m);
	vus_remap(v);
	vus_close_foreign(v, fd);	/* with what lies in its queue */
	v->retry_ms = VUS_RETRY_MS;
	v->retry_at_ms = v->now_ms + v->retry_ms;
	if (is_delayed(v))
		punish_delay(v);
}

static int begin(struct vus *v, int fd)
{
	int rc = poller_add(v->poller, &v->conn, fd, EPOLLIN);

	if (rc < 0) {
		close(fd);
		return rc;
	}
	v->m.nfds = 0;
	port_tally(&v->row[PORT_SESSIONS], 1);
	log_info(v->p.name, "front-end connected");
	return 0;
}

/* ---- server --------------------------------------------------------------------------------- */

static bool is_gone(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };

	return poll(&p, 1, 0) > 0 && (p.revents & (POLLHUP | POLLRDHUP | POLLERR));
}

/* One session at a time: a newcomer is sent away unless the old peer has just died. */
static void on_listen(struct poller_source *s, uint32_t events)
{
	struct vus *v = vus_of_listen(s);
	int fd;

	(void)events;
	if (v->now_ms - v->accepts_since_ms >= 1000) {
		v->accepts_since_ms = v->now_ms;
		v->accepts = 0;
	}
	if (v->accepts++ >= VUS_ACCEPTS)
		goto pause;
	fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR)
			return;
		goto pause;	/* no descriptors, no memory: later */
	}
	if (v->conn.fd >= 0 && is_gone(v->conn.fd))
		vus_cut(v, NULL);
	if (v->conn.fd >= 0) {
		vus_close_foreign(v, fd);
		vus_complain(v, NULL, "a second front-end was sent away");
		if (is_delayed(v))
			vus_cut(v, "another front-end of this socket makes us wait");
		return;
	}
	begin(v, fd);
	return;
pause:
	pause_accepting(v, VUS_PAUSE_MS);
}

void vus_unlisten(struct vus *v)
{
	if (v->listen_fd < 0)
		return;
	poller_del(v->poller, &v->listen);
	close(v->listen_fd);
	v->listen_fd = -1;
	v->paused = false;
	if (v->bound)
		unlink(v->path);
	v->bound = false;
}

static void address(const struct vus *v, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	memcpy(a->sun_path, v->path, sizeof(a->sun_path));
}

/* A socket file nobody listens on is a leftover; anything else is not ours to remove. */
static int remove_stale(const struct vus *v, const struct sockaddr_un *a)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), rc;
	struct stat st;

	if (fd < 0)
		return -errno;
	rc = connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0 ? -errno : 0;
	close(fd);
	if (rc != -ECONNREFUSED || lstat(v->path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -EADDRINUSE;
	return unlink(v->path) < 0 ? -errno : 0;
}

int vus_listen(struct vus *v)
{
	unsigned mode = v->cfg.mode ? v->cfg.mode : 0600;
	struct sockaddr_un a;
	int fd, rc;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	address(v, &a);
	/* The file is born with the descriptor's mode (less the umask): never open wider. */
	rc = fchmod(fd, mode) < 0 ? -errno : 0;
	if (rc == 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		rc = errno == EADDRINUSE ? remove_stale(v, &a) : -errno;
		if (rc == 0 && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
			rc = -errno;
	}
	v->bound = rc == 0;
	if (rc == 0 && (chmod(v->path, mode) < 0 || listen(fd, 16) < 0))
		rc = -errno;
	v->listen.ready = on_listen;
	if (rc == 0)
		rc = poller_add(v->poller, &v->listen, fd, EPOLLIN);
	v->listen_fd = fd;
	if (rc < 0)
		vus_unlisten(v);
	return rc;
}

/* ---- client --------------------------------------------------------------------------------- */

void vus_dial(struct vus *v)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un a;

	address(v, &a);
	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0) {
		v->retry_ms = VUS_RETRY_MS;
		if (begin(v, fd) == 0)
			return;
	} else if (fd >= 0) {
		close(fd);
	}
	v->retry_at_ms = v->now_ms + v->retry_ms;
	v->retry_ms = 2 * v->retry_ms < VUS_RETRY_MAX_MS ? 2 * v->retry_ms : VUS_RETRY_MAX_MS;
}

/* ---- messages in ---------------------------------------------------------------------------- */

static void keep_fds(struct vus_msg *m, struct msghdr *h)
{
	unsigned came = fd_take(h, m->fd, VU_FDS_MAX);

	m->nfds = came < VU_FDS_MAX ? came : VU_FDS_MAX;
}

/*
 * Descriptors come with a message's first byte. Later ones, and more than any message may have,
 * the kernel closes for us and says so (MSG_CTRUNC).
 */
static ssize_t receive(struct vus *v, void *to, size_t n)
{
	FD_CONTROL(VU_FDS_MAX) control;
	struct iovec iov = { to, n };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct stamp began = stamp();
	ssize_t got;

	if (v->got == 0) {
		h.msg_control = control.bytes;
		h.msg_controllen = sizeof(control.bytes);
	}
	do
		got = recvmsg(v->conn.fd, &h, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	if (v->got == 0)
		keep_fds(&v->m, &h);
	if (h.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) {
		note_delay(v, began);	/* the kernel has closed what did not fit, here */
		return -EBADMSG;
	}
	return got ? got : -ENOTCONN;
}

static int judge_header(const struct vu_header *h)
{
	if ((h->flags & VU_VERSION_MASK) != VU_VERSION || (h->flags & VU_REPLY) ||
	    (h->flags & ~FLAGS_KNOWN))
		return -EPROTO;
	return h->size > sizeof(union vu_payload) || !vus_size_fits(h->request, h->size) ?
		-EMSGSIZE : 0;
}

/* 1: v->m is whole; 0: more has to come; -errno: the session is over. */
static int read_message(struct vus *v)
{
	struct vus_msg *m = &v->m;
	const size_t header = sizeof(m->h);

	for (;;) {
		size_t whole = v->got < header ? header : header + m->h.size;
		void *to = v->got < header ? (uint8_t *)&m->h + v->got :
					     (uint8_t *)&m->p + (v->got - header);
		ssize_t n;
		int rc;

		if (v->got == whole)
			return 1;
		n = receive(v, to, whole - v->got);
		if (n == -EAGAIN)
			return 0;
		if (n < 0)
			return (int)n;
		v->began_ms = v->began_ms ? v->began_ms : v->now_ms + 1;
		v->got += (size_t)n;
		if (v->got == header) {
			memset(&m->p, 0, sizeof(m->p));
			rc = judge_header(&m->h);
			if (rc < 0)
				return rc;
		}
	}
}

static const char *why_of(int rc)
{
	static const struct {
		int rc;
		const char *why;
	} words[] = {
		{ -EPROTO, "a header with a wrong version or flags" },
		{ -EMSGSIZE, "a message of a wrong size" },
		{ -EBADMSG, "too many descriptors, or in the wrong place" },
		{ -ENOBUFS, "it does not read our replies" },
		{ -ECONNABORTED, "a request that was refused" },
		{ -ETIME, "a descriptor that cannot be closed at once" },
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (words[i].rc == rc)
			return words[i].why;
	return rc == -ENOTCONN || rc == -ECONNRESET || rc == -EPIPE ? NULL : strerror(-rc);
}

/* ---- replies out ---------------------------------------------------------------------------- */

static int flush(struct vus *v)
{
	ssize_t n;

	if (!v->out_n)
		return 0;
	n = send(v->conn.fd, v->out, v->out_n, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	memmove(v->out, v->out + n, v->out_n - (size_t)n);
	v->out_n -= (size_t)n;
	if (!v->out_n) {
		v->began_ms = 0;
		return poller_change(v->poller, &v->conn, EPOLLIN);
	}
	return 0;
}

static ssize_t send_reply(struct vus *v, const struct vus_msg *m, struct iovec *iov)
{
	FD_CONTROL(1) control;
	struct msghdr h = { .msg_iov = iov, .msg_iovlen = 2 };
	ssize_t n;

	if (m->reply_fd >= 0)
		fd_send_with(&h, &control, &m->reply_fd, 1);
	n = sendmsg(v->conn.fd, &h, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return (errno == EAGAIN || errno == EINTR) && m->reply_fd < 0 ? 0 : -errno;
	return n;
}

int vus_reply(struct vus *v, struct vus_msg *m)
{
	struct iovec iov[2] = { { &m->h, sizeof(m->h) }, { &m->p, m->h.size } };
	size_t whole = sizeof(m->h) + m->h.size, sent;
	ssize_t n;

	n = send_reply(v, m, iov);
	if (m->reply_fd >= 0)
		close(m->reply_fd);
	m->reply_fd = -1;
	if (n < 0)
		return n == -EAGAIN ? -ENOBUFS : (int)n;
	sent = (size_t)n;
	if (sent == whole)
		return 0;
	/* A peer that does not read gets no more of our attention until it does. */
	for (unsigned i = 0; i < 2; i++) {
		size_t skip = sent < iov[i].iov_len ? sent : iov[i].iov_len;

		memcpy(v->out + v->out_n, (uint8_t *)iov[i].iov_base + skip,
		       iov[i].iov_len - skip);
		v->out_n += iov[i].iov_len - skip;
		sent -= skip;
	}
	v->began_ms = v->now_ms + 1;
	return poller_change(v->poller, &v->conn, EPOLLOUT);
}

_Static_assert(VUS_OUT_BYTES >= sizeof(struct vu_header) + sizeof(union vu_payload),
	       "one reply fits; the next request is read after it went out");

/* ---- both ----------------------------------------------------------------------------------- */

void vus_conn_ready(struct poller_source *s, uint32_t events)
{
	struct vus *v = vus_of_conn(s);
	int rc = events & EPOLLOUT ? flush(v) : 0;

	if (rc < 0)
		goto over;
	if (v->out_n) {
		if (events & (EPOLLHUP | EPOLLERR))
			vus_cut(v, NULL);
		return;
	}
	for (unsigned i = 0; i < VUS_MESSAGES && !v->out_n; i++) {
		rc = read_message(v);
		if (rc == 0)
			return;
		if (rc < 0)
			break;
		v->began_ms = 0;
		rc = vus_handle(v);
		v->got = 0;
		vus_close_fds(v, &v->m);
		if (rc == 0 && is_delayed(v))
			rc = -ETIME;
		if (rc < 0)
			break;
	}
over:
	if (rc < 0)
		vus_cut(v, why_of(rc));
}
