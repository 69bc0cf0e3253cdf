// SPDX-License-Identifier: Apache-2.0
// backend.c - see backend.h.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tests/wire/backend_impl.h"

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void wake(struct backend *b)
{
	uint64_t one = 1;

	(void)!write(b->wake_fd, &one, sizeof(one));
}

/* Sleeps, unless told to stop or hang up: false then. */
static bool pause_us(struct backend *b, uint64_t us)
{
	struct pollfd p = { .fd = b->wake_fd, .events = POLLIN };
	struct timespec t = { .tv_sec = (time_t)(us / 1000000),
			      .tv_nsec = (long)(us % 1000000) * 1000 };

	return ppoll(&p, 1, &t, NULL) == 0;
}

/* ---- messages in ---------------------------------------------------------------------------- */

static bool wait_readable(struct backend *b, int fd)
{
	struct pollfd p[] = {
		{ .fd = fd, .events = POLLIN }, { .fd = b->wake_fd, .events = POLLIN },
	};

	while (poll(p, 2, -1) < 0 && errno == EINTR)
		;
	return !p[1].revents;
}

/* Reads len bytes; descriptors are added to fds. */
static bool take(struct backend *b, void *buf, size_t len, int *fds, unsigned *fds_n,
		 unsigned *late, bool first)
{
	while (len) {
		size_t part = b->cfg.fragment && b->cfg.fragment < len ? b->cfg.fragment : len;
		char control[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct iovec iov = { buf, first && b->cfg.fragment ? 1 : part };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
				    .msg_controllen = sizeof(control) };
		ssize_t n;

		if (!wait_readable(b, b->fd))
			return false;
		n = recvmsg(b->fd, &m, MSG_CMSG_CLOEXEC);
		if (n <= 0)
			return false;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
			unsigned k = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

			memcpy(fds + *fds_n, CMSG_DATA(c), k * sizeof(int));
			*fds_n += k;
			*late += first ? 0 : k;
		}
		first = false;
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return true;
}

static bool receive(struct backend *b, struct backend_msg *m, int *fds)
{
	memset(m, 0, sizeof(*m));
	if (!take(b, &m->h, sizeof(m->h), fds, &m->fds_n, &m->fds_late, true))
		return false;
	m->at_us = now_us();
	m->session = b->sessions;
	return m->h.size <= sizeof(m->payload) &&
	       take(b, &m->payload, m->h.size, fds, &m->fds_n, &m->fds_late, false);
}

/* ---- replies -------------------------------------------------------------------------------- */

static void send_fds(int fd, const struct reply *r, size_t len, unsigned fds_n)
{
	int mine[FDS_MAX];

	for (unsigned i = 0; i < fds_n; i++)
		mine[i] = STDERR_FILENO;
	(void)backend_send_with(fd, r, len, mine, fds_n);
}

static void put(struct backend *b, const void *buf, size_t len)
{
	(void)!send(b->fd, buf, len, MSG_NOSIGNAL);
}

/* False: the connection ends. */
static bool send_reply(struct backend *b, struct reply *r, const struct backend_rule *rule)
{
	uint64_t arg = rule->arg;
	size_t len;

	switch (rule->act) {
	case BACKEND_SILENT:
		return true;
	case BACKEND_LATE:
		if (!pause_us(b, arg * 1000))
			return false;
		break;
	case BACKEND_NACK:
	case BACKEND_VALUE:
		memcpy(r->bytes, &arg, r->h.size < 8 ? r->h.size : 8);
		break;
	case BACKEND_WRONG_ID:
		r->h.request ^= 3;
		break;
	case BACKEND_FLAGS:
		r->h.flags = (uint32_t)arg;
		break;
	case BACKEND_SIZE:
		r->h.size = (uint32_t)arg;
		break;
	default:
		break;
	}
	len = sizeof(r->h) + (r->h.size < sizeof(r->bytes) ? r->h.size : sizeof(r->bytes));
	switch (rule->act) {
	case BACKEND_BYTEWISE:
		for (size_t i = 0; i < len; i++) {
			put(b, (char *)r + i, 1);
			if (!pause_us(b, arg))
				return false;
		}
		return true;
	case BACKEND_TRUNCATE:
		put(b, r, arg < len ? arg : len);
		return false;
	case BACKEND_FDS:
		send_fds(b->fd, r, len, (unsigned)arg);
		return true;
	case BACKEND_TWICE:
		put(b, r, len);
		break;
	default:
		break;
	}
	put(b, r, len);
	return true;
}

static unsigned kind_of(uint32_t request)
{
	return request == VU_SET_VRING_KICK ? KICK : request == VU_SET_VRING_CALL ? CALL : ERR;
}

static void keep_ring_fd(struct backend *b, const struct backend_msg *m, int *fds)
{
	unsigned kind = kind_of(m->h.request);
	int *slot = &b->ring_fds[m->payload.u64 & VU_RING_INDEX][kind];

	if (*slot >= 0)
		close(*slot);
	*slot = m->fds_n ? fds[0] : -1;
	fds[0] = -1;
}

/* What a decent back-end answers; size 0 if the request has no reply of its own. */
static void decent(struct backend *b, const struct backend_msg *m, int *fds, struct reply *r)
{
	union vu_payload own = { 0 }, *p = &own;
	unsigned ring = m->payload.state.index % RINGS_MAX;

	r->h.size = 8;
	switch (m->h.request) {
	case VU_GET_FEATURES:
		p->u64 = b->cfg.features;
		break;
	case VU_GET_PROTOCOL_FEATURES:
		p->u64 = b->cfg.protocol;
		break;
	case VU_GET_QUEUE_NUM:
		p->u64 = b->cfg.pairs;
		break;
	case VU_GET_STATUS:
		p->u64 = b->status;
		break;
	case VU_GET_MAX_MEM_SLOTS:
		p->u64 = b->cfg.slots;
		break;
	case VU_SET_LOG_BASE:		/* as others do it: with what was sent */
		p->u64 = m->payload.log.size;
		break;
	case VU_GET_VRING_BASE:
		p->state = (struct vu_state){ m->payload.state.index, b->base[ring] };
		break;
	case VU_GET_CONFIG:
		r->h.size = m->h.size;
		p->config = m->payload.config;
		for (unsigned i = 0; i < p->config.size && i < VU_CONFIG_MAX; i++)
			p->config.bytes[i] = (uint8_t)(p->config.offset + i);
		break;
	default:
		r->h.size = 0;
	}
	memcpy(r->bytes, p, sizeof(*p));
	if (m->h.request == VU_SET_PROTOCOL_FEATURES)
		b->protocol = m->payload.u64;
	else if (m->h.request == VU_SET_STATUS)
		b->status = (uint8_t)m->payload.u64;
	else if (m->h.request == VU_SET_VRING_BASE && !b->base_forced[ring])
		b->base[ring] = m->payload.state.num;
	else if (m->h.request >= VU_SET_VRING_KICK && m->h.request <= VU_SET_VRING_ERR)
		keep_ring_fd(b, m, fds);
	else if (backend_kept_of(m->h.request) >= 0 && m->fds_n)
		backend_keep_fd(b, m->h.request, fds);
}

static struct backend_rule rule_for(struct backend *b, uint32_t request)
{
	struct backend_rule plain = { .act = BACKEND_ANSWER };

	for (unsigned i = 0; i < b->rules_n; i++) {
		const struct backend_rule *r = &b->rules[i];
		unsigned count = r->request ? b->counts[request] : b->counts[0];

		if ((!r->request || r->request == request) && (!r->nth || r->nth == count))
			return *r;
	}
	return plain;
}

/* Under the lock. The log grows as it fills: most sessions are of a few dozen messages. */
static void keep(struct backend *b, const struct backend_msg *m)
{
	if (b->log_n == b->log_room) {
		unsigned room = 4 * b->log_room;
		struct backend_msg *more;

		if (room > BACKEND_LOG_MAX)
			return;
		more = realloc(b->log, room * sizeof(*more));
		assert(more);
		b->log = more;
		b->log_room = room;
	}
	b->log[b->log_n++] = *m;
}

/* Logs under the lock, so that whoever waits for a message sees its effects too. */
static struct backend_rule note(struct backend *b, struct backend_msg *m, int *fds, struct reply *r)
{
	struct backend_rule rule;

	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < m->fds_n && i < VU_FDS_MAX; i++) {
		struct stat st;

		if (!fstat(fds[i], &st)) {
			m->files[i].dev = st.st_dev;
			m->files[i].ino = st.st_ino;
			m->files[i].access = fcntl(fds[i], F_GETFL) & O_ACCMODE;
		}
	}
	if (m->h.request < VU_REQUESTS)
		b->counts[m->h.request]++;
	b->counts[0]++;
	rule = rule_for(b, m->h.request % VU_REQUESTS);
	decent(b, m, fds, r);
	keep(b, m);
	pthread_cond_broadcast(&b->grown);
	pthread_mutex_unlock(&b->lock);
	return rule;
}

static bool handle(struct backend *b)
{
	struct backend_rule rule;
	struct backend_msg m;
	static __thread struct reply r;
	int fds[FDS_MAX];
	bool on;

	if (!receive(b, &m, fds)) {
		for (unsigned i = 0; i < m.fds_n; i++)
			close(fds[i]);
		return false;
	}
	memset(&r, 0, sizeof(r));
	r.h = (struct vu_header){ .request = m.h.request, .flags = VU_VERSION | VU_REPLY };
	rule = note(b, &m, fds, &r);
	for (unsigned i = 0; i < m.fds_n; i++)
		if (fds[i] >= 0)
			close(fds[i]);
	if (rule.act == BACKEND_HANGUP)
		return false;
	if (rule.act == BACKEND_PAUSE && !pause_us(b, rule.arg * 1000))
		return false;
	if (rule.act == BACKEND_ASK_FIRST) {
		struct vu_header h;
		uint64_t val;

		backend_ask(b, VU_BACKEND_CONFIG_CHANGE, VU_VERSION | VU_NEED_REPLY, NULL, 0, NULL,
			    0);
		if (!backend_answered(b, &h, &val, 30000) || !h.request)
			return false;
	}
	if (m.h.request == VU_GET_INFLIGHT_FD && rule.act == BACKEND_ANSWER) {
		backend_answer_inflight(b, &m, &r);
		return true;
	}
	if (!r.h.size && (m.h.flags & VU_NEED_REPLY))
		r.h.size = 8;
	on = r.h.size ? send_reply(b, &r, &rule) : true;
	if (on && rule.act == BACKEND_UNASKED && pause_us(b, 20000)) {
		memset(&r, 0x5a, sizeof(r));
		put(b, &r, rule.arg < sizeof(r) ? rule.arg : sizeof(r));
	}
	return on;
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void end_session(struct backend *b)
{
	close(b->fd);
	b->fd = -1;
	pthread_mutex_lock(&b->lock);
	for (unsigned i = 0; i < RINGS_MAX; i++)
		for (unsigned k = 0; k < KINDS; k++) {
			if (b->ring_fds[i][k] >= 0)
				close(b->ring_fds[i][k]);
			b->ring_fds[i][k] = -1;
		}
	for (unsigned k = 0; k < KEPT; k++) {
		if (b->kept[k] >= 0)
			close(b->kept[k]);
		b->kept[k] = -1;
	}
	b->protocol = 0;
	b->status = 0;
	pthread_mutex_unlock(&b->lock);
}

static int try_connect(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (!connect(fd, (struct sockaddr *)&sa, sizeof(sa)))
		return fd;
	close(fd);
	return -1;
}

static int next_session(struct backend *b)
{
	int fd;

	if (!b->cfg.connects) {
		if (!wait_readable(b, b->listen_fd))
			return -1;
		return accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	}
	while ((fd = try_connect(b->cfg.path)) < 0)
		if (!pause_us(b, 5000))
			return -1;
	return fd;
}

/* True: stop. */
static bool told_to_stop(struct backend *b)
{
	uint64_t n;
	bool stop;

	(void)!read(b->wake_fd, &n, sizeof(n));
	pthread_mutex_lock(&b->lock);
	stop = b->stopping;
	pthread_mutex_unlock(&b->lock);
	return stop;
}

static void *backend_main(void *arg)
{
	struct backend *b = arg;

	while (!told_to_stop(b)) {
		int fd = next_session(b);

		if (fd < 0)
			continue;
		pthread_mutex_lock(&b->lock);
		b->fd = fd;
		b->sessions++;
		pthread_cond_broadcast(&b->grown);
		pthread_mutex_unlock(&b->lock);
		if (b->cfg.buffer)
			setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &b->cfg.buffer,
				   sizeof(b->cfg.buffer));
		while (handle(b))
			;
		end_session(b);
	}
	return NULL;
}

/* ---- the test's side ------------------------------------------------------------------------ */

static int listen_on(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	unlink(path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 4)) {
		perror(path);
		abort();
	}
	return fd;
}

struct backend *backend_start(const struct backend_config *cfg)
{
	struct backend *b = calloc(1, sizeof(*b));
	pthread_condattr_t attr;

	assert(b);
	b->cfg = *cfg;
	b->cfg.path = strdup(cfg->path);
	b->log_room = 256;		/* enough for tests that refuse allocations */
	b->log = calloc(b->log_room, sizeof(*b->log));
	b->fd = b->listen_fd = -1;
	memset(b->ring_fds, 0xff, sizeof(b->ring_fds));
	memset(b->kept, 0xff, sizeof(b->kept));
	b->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!cfg->connects)
		b->listen_fd = listen_on(cfg->path);
	pthread_mutex_init(&b->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&b->grown, &attr);
	pthread_condattr_destroy(&attr);
	if (pthread_create(&b->thread, NULL, backend_main, b))
		abort();
	return b;
}

void backend_stop(struct backend *b)
{
	if (!b)
		return;
	pthread_mutex_lock(&b->lock);
	b->stopping = true;
	pthread_mutex_unlock(&b->lock);
	wake(b);
	pthread_join(b->thread, NULL);
	if (b->listen_fd >= 0) {
		close(b->listen_fd);
		unlink(b->cfg.path);
	}
	close(b->wake_fd);
	pthread_cond_destroy(&b->grown);
	pthread_mutex_destroy(&b->lock);
	free((char *)b->cfg.path);
	free(b->log);
	free(b);
}

void backend_rules(struct backend *b, const struct backend_rule *rules, unsigned n)
{
	assert(n <= BACKEND_RULES_MAX);
	pthread_mutex_lock(&b->lock);
	memcpy(b->rules, rules, n * sizeof(*rules));
	b->rules_n = n;
	pthread_mutex_unlock(&b->lock);
}

void backend_hangup(struct backend *b)
{
	wake(b);
}

void backend_hold(struct backend *b)
{
	pthread_mutex_lock(&b->lock);
}

void backend_let(struct backend *b)
{
	pthread_mutex_unlock(&b->lock);
}

void backend_offers(struct backend *b, uint64_t features, uint64_t pairs)
{
	pthread_mutex_lock(&b->lock);
	b->cfg.features = features;
	b->cfg.pairs = pairs;
	pthread_mutex_unlock(&b->lock);
}

void backend_base(struct backend *b, unsigned ring, uint32_t base)
{
	pthread_mutex_lock(&b->lock);
	b->base[ring] = base;
	b->base_forced[ring] = true;
	pthread_mutex_unlock(&b->lock);
}

unsigned backend_sessions(struct backend *b)
{
	unsigned n;

	pthread_mutex_lock(&b->lock);
	n = b->sessions;
	pthread_mutex_unlock(&b->lock);
	return n;
}

unsigned backend_count(struct backend *b, uint32_t request)
{
	unsigned n;

	pthread_mutex_lock(&b->lock);
	n = b->counts[request];
	pthread_mutex_unlock(&b->lock);
	return n;
}

bool backend_wait(struct backend *b, uint32_t request, unsigned n, unsigned ms)
{
	struct timespec end;
	bool there;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += ms / 1000;
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	if (end.tv_nsec >= 1000000000) {
		end.tv_sec++;
		end.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&b->lock);
	while (b->counts[request] < n && !pthread_cond_timedwait(&b->grown, &b->lock, &end))
		;
	there = b->counts[request] >= n;
	pthread_mutex_unlock(&b->lock);
	return there;
}

bool backend_msg(struct backend *b, uint32_t request, int i, struct backend_msg *m)
{
	bool back = i < 0, found = false;

	if (back)
		i = -i - 1;
	pthread_mutex_lock(&b->lock);
	for (unsigned k = 0; k < b->log_n && !found; k++) {
		const struct backend_msg *at = &b->log[back ? b->log_n - 1 - k : k];

		if (request && at->h.request != request)
			continue;
		found = i-- == 0;
		if (found)
			*m = *at;
	}
	pthread_mutex_unlock(&b->lock);
	return found;
}

void backend_forget(struct backend *b)
{
	pthread_mutex_lock(&b->lock);
	b->log_n = 0;
	memset(b->counts, 0, sizeof(b->counts));
	pthread_mutex_unlock(&b->lock);
}

int backend_ring_fd(struct backend *b, unsigned ring, uint32_t request)
{
	unsigned kind = kind_of(request);
	int fd;

	pthread_mutex_lock(&b->lock);
	fd = b->ring_fds[ring][kind];
	pthread_mutex_unlock(&b->lock);
	return fd;
}
