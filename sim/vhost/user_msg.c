// SPDX-License-Identifier: Apache-2.0
/*
 * user_msg.c - vhost-user requests as rows, and the one way a request is made.
 *
 * A request is sent whole, its fds with the first byte, and then what its row promises is
 * awaited: its own reply, an acknowledgement (REPLY_ACK), a GET_FEATURES that can only be answered
 * after it, or nothing. Acknowledgements that matter only together are left to come while more is
 * sent, and collected by the next request that waits: a back-end that shares its core with a
 * polling loop takes milliseconds to wake. Whatever else comes, or does not come by the deadline,
 * ends the session: after a doubt about one message no later one means anything.
 */
#include <assert.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "sim/core/sys.h"
#include "sim/vhost/user.h"
#include "sim/vhost/vhost.h"

enum ack {
	ACK_NONE,	/* sent and believed */
	ACK_LATER,	/* done when user_sync() returns */
	ACK_SURE,	/* done on return */
};

#define BIT(n)       (UINT64_C(1) << (n))
#define NEEDS_BIT30  BIT(63)	/* no protocol feature: the peer offers protocol features */
#define SIZE_OPEN    UINT16_MAX	/* told by the caller; a reply is then as long */

/* The protocol features we use, each with all its messages. */
static const uint64_t protocol_ours = BIT(VU_PROTOCOL_MQ) | BIT(VU_PROTOCOL_REPLY_ACK) |
	BIT(VU_PROTOCOL_MTU) | BIT(VU_PROTOCOL_CONFIG) | BIT(VU_PROTOCOL_STATUS);

struct row {
	const char *name;
	uint16_t    size, reply;	/* payload bytes; reply 0: none of its own */
	uint8_t     fds_max;
	uint8_t     ack;
	uint64_t    needs;
};

static const struct row rows[VU_REQUESTS] = {
#define ROW(id, ...) [VU_##id] = { #id, __VA_ARGS__ }
	/*  request               size       reply      fds             ack        needs */
	ROW(GET_FEATURES,         0,         8,         0,              ACK_NONE,  0),
	ROW(SET_FEATURES,         8,         0,         0,              ACK_LATER, 0),
	ROW(SET_OWNER,            0,         0,         0,              ACK_NONE,  0),
	ROW(SET_MEM_TABLE,        SIZE_OPEN, 0,         VU_REGIONS_MAX, ACK_SURE,  0),
	ROW(SET_VRING_NUM,        8,         0,         0,              ACK_LATER, 0),
	ROW(SET_VRING_ADDR,       40,        0,         0,              ACK_LATER, 0),
	ROW(SET_VRING_BASE,       8,         0,         0,              ACK_LATER, 0),
	ROW(GET_VRING_BASE,       8,         8,         0,              ACK_NONE,  0),
	ROW(SET_VRING_KICK,       8,         0,         1,              ACK_LATER, 0),
	ROW(SET_VRING_CALL,       8,         0,         1,              ACK_LATER, 0),
	ROW(SET_VRING_ERR,        8,         0,         1,              ACK_LATER, 0),
	ROW(GET_PROTOCOL_FEATURES, 0,        8,         0,              ACK_NONE,  NEEDS_BIT30),
	ROW(SET_PROTOCOL_FEATURES, 8,        0,         0,              ACK_NONE,  NEEDS_BIT30),
	ROW(GET_QUEUE_NUM,        0,         8,         0,              ACK_NONE,
	    BIT(VU_PROTOCOL_MQ)),
	ROW(SET_VRING_ENABLE,     8,         0,         0,              ACK_LATER, NEEDS_BIT30),
	ROW(NET_SET_MTU,          8,         0,         0,              ACK_SURE,
	    BIT(VU_PROTOCOL_MTU)),
	ROW(GET_CONFIG,           SIZE_OPEN, SIZE_OPEN, 0,              ACK_NONE,
	    BIT(VU_PROTOCOL_CONFIG)),
	ROW(SET_STATUS,           8,         0,         0,              ACK_LATER,
	    BIT(VU_PROTOCOL_STATUS)),
	ROW(GET_STATUS,           0,         8,         0,              ACK_NONE,
	    BIT(VU_PROTOCOL_STATUS)),
#undef ROW
};

#define STRAY_FDS_MAX 32	/* taken in (and closed) at once; the kernel drops the rest */

/* ---- bytes ---------------------------------------------------------------------------------- */

int user_peek(int fd)
{
	char byte;
	long n = sys_call(SYS_recvfrom, fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT, NULL, NULL);

	if (n == -EAGAIN || n == -EINTR)
		return 0;
	return n > 0 ? 1 : n ? (int)n : -ECONNRESET;
}

/* Until the socket is ready; -ETIMEDOUT at the deadline. */
static int await(const struct vhost_user *u, short events)
{
	struct pollfd p = { .fd = u->fd, .events = events };
	int n = loop_wait(u->t.loop, &p, 1, u->t.deadline_ms);

	return n < 0 ? n : n || loop_now(u->t.loop) < u->t.deadline_ms ? 0 : -ETIMEDOUT;
}

static int cut_io(struct vhost_user *u, const char *name, bool sending, long rc)
{
	if (rc == -ETIMEDOUT)
		return user_cut(u, USER_TIMEOUT, "the back-end %s %s in time",
				sending ? "did not take" : "did not answer", name);
	if (rc == -EPIPE || rc == -ECONNRESET || rc == -ENOTCONN)
		return user_cut(u, USER_EOF, "the back-end hung up at %s", name);
	return user_cut(u, sending ? USER_SEND : USER_RECV, "%s failed with errno %ld", name, -rc);
}

/* The fds go with the first byte, and only once, however often the rest has to be continued. */
static int send_all(struct vhost_user *u, const char *name, struct iovec *iov, unsigned iov_n,
		    const int *fds, unsigned fds_n)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
	} control = { .head = {
		.cmsg_len = CMSG_LEN(fds_n * sizeof(int)), .cmsg_level = SOL_SOCKET,
		.cmsg_type = SCM_RIGHTS,
	} };
	struct msghdr m = { .msg_iov = iov, .msg_iovlen = iov_n };

	if (fds_n) {
		memcpy(CMSG_DATA(&control.head), fds, fds_n * sizeof(int));
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
	}
	while (m.msg_iovlen) {
		long n = sys_call(SYS_sendmsg, u->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n == -EAGAIN)
			n = await(u, POLLOUT);
		else if (n > 0)
			m.msg_control = NULL, m.msg_controllen = 0;
		if (n < 0 && n != -EINTR)
			return cut_io(u, name, true, n);
		for (; m.msg_iovlen && n >= (long)m.msg_iov->iov_len; m.msg_iov++, m.msg_iovlen--)
			n -= (long)m.msg_iov->iov_len;
		if (m.msg_iovlen && n > 0) {
			m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + n;
			m.msg_iov->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* Number of fds that came along, all closed. */
static unsigned close_fds(struct msghdr *m)
{
	unsigned n = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		unsigned fds_n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		int fd;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < fds_n; i++, n++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			sys_call(SYS_close, fd);
		}
	}
	return n;
}

static int take_all(struct vhost_user *u, const char *name, void *buf, size_t len)
{
	char control[CMSG_SPACE(STRAY_FDS_MAX * sizeof(int))]
		__attribute__((aligned(sizeof(struct cmsghdr))));

	while (len) {
		struct iovec iov = { .iov_base = buf, .iov_len = len };
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1,
			.msg_control = control, .msg_controllen = sizeof(control),
		};
		long n = sys_call(SYS_recvmsg, u->fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

		if (n >= 0 && (close_fds(&m) || (m.msg_flags & MSG_CTRUNC)))
			return user_cut(u, USER_STRAY_FDS, "descriptors came with the reply to %s",
					name);
		if (!n)
			n = -ECONNRESET;
		if (n == -EAGAIN) {
			n = await(u, POLLIN);
			if (!n)
				continue;
		}
		if (n == -EINTR)
			continue;
		if (n < 0)
			return cut_io(u, name, false, n);
		buf = (char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}

/* ---- a request ------------------------------------------------------------------------------ */

/* *size: what is expected, then what came. Only an empty reply may differ, where `open`. */
static int take_reply(struct vhost_user *u, enum vu_request request, union vu_payload *reply,
		      uint32_t size, bool open)
{
	const char *name = rows[request].name;
	struct vu_header h;
	int rc = take_all(u, name, &h, sizeof(h));

	if (rc)
		return rc;
	if (h.request != request || h.flags != (VU_VERSION | VU_REPLY))
		return user_cut(u, USER_BAD_HEADER,
				"the reply to %s has request %u, flags %#x", name, h.request,
				h.flags);
	if (h.size != size && !(open && !h.size))
		return user_cut(u, USER_BAD_SIZE, "the reply to %s has %u bytes, not %u", name,
				h.size, size);
	rc = take_all(u, name, reply, h.size);
	if (rc)
		return rc;
	u->received++;
	return h.size == size ? 0 : -EREMOTEIO;
}

static int take_ack(struct vhost_user *u, enum vu_request request)
{
	union vu_payload ack;
	int rc = take_reply(u, request, &ack, sizeof(ack.u64), false);

	if (rc || !ack.u64)
		return rc;
	u->nacks++;
	if (log_may(&u->may_log, loop_now(u->t.loop)))
		log_warn(u->t.cfg->id, "the back-end refused %s (%llu)", rows[request].name,
			 (unsigned long long)ack.u64);
	return -EREMOTEIO;
}

/*
 * Takes the acknowledgements on their way, all of them even after a refusal: what comes next must
 * not be taken for one.
 */
static int collect(struct vhost_user *u)
{
	int refused = 0, rc;

	for (unsigned i = 0; i < u->pending_n; i++) {
		rc = take_ack(u, u->pending[i]);
		if (rc && rc != -EREMOTEIO)
			return rc;	/* and the cut has emptied the list */
		refused = rc ? rc : refused;
	}
	u->pending_n = 0;
	return refused;
}

static bool lacks(const struct vhost_user *u, uint64_t needs)
{
	if ((needs & NEEDS_BIT30) && !u->bit30)
		return true;
	return needs & ~NEEDS_BIT30 & ~u->protocol;
}

static bool asks(const struct vhost_user *u, const struct row *r)
{
	return r->ack != ACK_NONE && (u->protocol & BIT(VU_PROTOCOL_REPLY_ACK));
}

static uint32_t size_of(const struct user_call *c)
{
	return rows[c->request].size == SIZE_OPEN ? c->size : rows[c->request].size;
}

static int send_request(struct vhost_user *u, const struct user_call *c)
{
	const struct row *r = &rows[c->request];
	uint32_t size = size_of(c);
	struct vu_header h = {
		.request = c->request, .flags = VU_VERSION | (asks(u, r) ? VU_NEED_REPLY : 0),
		.size = size,
	};
	struct iovec iov[] = { { &h, sizeof(h) }, { (void *)c->payload, size } };
	int rc;

	log_debug(u->t.cfg->id, "-> %s, %u bytes, %u fds", r->name, size, c->fds_n);
	rc = send_all(u, r->name, iov, size ? 2 : 1, c->fds, c->fds_n);
	if (!rc)
		u->sent++;
	return rc;
}

/* Sent and, if its row allows, not waited for. */
static int exchange(struct vhost_user *u, const struct user_call *c)
{
	const struct row *r = &rows[c->request];
	int rc, refused;

	assert(r->name && c->fds_n <= r->fds_max && !c->reply == !r->reply);
	if (u->fd < 0)
		return -ENOTCONN;
	if (lacks(u, r->needs))
		return -EOPNOTSUPP;
	rc = u->pending_n ? 0 : user_peek(u->fd);
	if (rc > 0)
		return user_cut(u, USER_UNASKED, "bytes nobody asked for came before %s", r->name);
	if (rc < 0)
		return cut_io(u, r->name, true, rc);
	rc = send_request(u, c);
	if (rc)
		return rc;
	if (asks(u, r) && r->ack == ACK_LATER) {
		u->pending[u->pending_n++] = c->request;
		return u->pending_n == USER_PENDING_MAX ? collect(u) : 0;
	}
	u->unsure |= r->ack == ACK_LATER;
	refused = collect(u);
	if (refused && refused != -EREMOTEIO)
		return refused;
	if (r->reply)
		rc = take_reply(u, c->request, c->reply,
				r->reply == SIZE_OPEN ? size_of(c) : r->reply,
				r->reply == SIZE_OPEN);
	else if (asks(u, r))
		rc = take_ack(u, c->request);
	return rc ? rc : refused;
}

static int barrier(struct vhost_user *u)
{
	union vu_payload reply;

	u->unsure = false;
	return exchange(u, &(struct user_call){ .request = VU_GET_FEATURES, .reply = &reply });
}

int user_call(struct vhost_user *u, const struct user_call *c)
{
	const struct row *r = &rows[c->request];
	int rc = exchange(u, c);

	return !rc && r->ack == ACK_SURE && !asks(u, r) ? barrier(u) : rc;
}

/* ---- verbs ---------------------------------------------------------------------------------- */

static struct vhost_user *user_of(struct vhost_transport *t)
{
	return (struct vhost_user *)t;
}

static int get_u64(struct vhost_user *u, enum vu_request request, uint64_t *val)
{
	union vu_payload reply;
	const struct user_call c = { .request = request, .reply = &reply };
	int rc = user_call(u, &c);

	if (!rc)
		*val = reply.u64;
	return rc;
}

static int set_u64(struct vhost_user *u, enum vu_request request, uint64_t val)
{
	const struct user_call c = { .request = request, .payload = &val };

	return user_call(u, &c);
}

static int set_state(struct vhost_user *u, enum vu_request request, unsigned ring, uint32_t num)
{
	const struct vu_state state = { .index = ring, .num = num };
	const struct user_call c = { .request = request, .payload = &state };

	return user_call(u, &c);
}

/* The peer's number is of queue pairs; it sizes nothing here. */
static unsigned rings_of(struct vhost_user *u, uint64_t pairs)
{
	uint64_t sane = pairs < 1 ? 1 : pairs > VHOST_RINGS_MAX / 2 ? VHOST_RINGS_MAX / 2 : pairs;

	if (sane != pairs && log_may(&u->may_log, loop_now(u->t.loop)))
		log_warn(u->t.cfg->id, "the back-end claims %llu queue pairs: taken for %llu",
			 (unsigned long long)pairs, (unsigned long long)sane);
	return (unsigned)sane * 2;
}

static unsigned abilities(const struct vhost_user *u)
{
	static const struct { uint64_t needs; unsigned can; } able[] = {
		{ NEEDS_BIT30,             VHOST_CAN_ENABLE },
		{ BIT(VU_PROTOCOL_MTU),    VHOST_CAN_MTU },
		{ BIT(VU_PROTOCOL_STATUS), VHOST_CAN_STATUS },
		{ BIT(VU_PROTOCOL_CONFIG), VHOST_CAN_CONFIG },
	};
	unsigned can = 0;

	for (unsigned i = 0; i < sizeof(able) / sizeof(able[0]); i++)
		can |= lacks(u, able[i].needs) ? 0 : able[i].can;
	return can;
}

static int hello_protocol(struct vhost_user *u)
{
	uint64_t offered = 0;
	int rc = get_u64(u, VU_GET_PROTOCOL_FEATURES, &offered);

	if (!rc)
		rc = set_u64(u, VU_SET_PROTOCOL_FEATURES, offered & protocol_ours);
	if (!rc)
		u->protocol = offered & protocol_ours;
	return rc;
}

int user_court(struct vhost_user *u)
{
	u->protocol = 0;
	u->bit30 = u->unsure = false;
	return send_request(u, &(struct user_call){ .request = VU_GET_FEATURES });
}

int user_hello(struct vhost_transport *t, struct vhost_peer *peer)
{
	struct vhost_user *u = user_of(t);
	union vu_payload reply;
	uint64_t features, pairs = 1;
	int rc = take_reply(u, VU_GET_FEATURES, &reply, sizeof(reply.u64), false);

	if (rc)
		return rc;
	features = reply.u64;
	u->bit30 = features & BIT(VU_F_PROTOCOL_FEATURES);
	if (u->bit30)
		rc = hello_protocol(u);
	if (!rc && (u->protocol & BIT(VU_PROTOCOL_MQ)))
		rc = get_u64(u, VU_GET_QUEUE_NUM, &pairs);
	if (!rc)
		rc = user_call(u, &(struct user_call){ .request = VU_SET_OWNER });
	if (rc)
		return rc;
	*peer = (struct vhost_peer){
		.features = features & ~(BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL)),
		.rings_max = rings_of(u, pairs), .regions_max = VU_REGIONS_MAX,
		.can = abilities(u),
	};
	return 0;
}

int user_sync(struct vhost_transport *t)
{
	struct vhost_user *u = user_of(t);

	return u->unsure ? barrier(u) : collect(u);
}

int user_set_features(struct vhost_transport *t, uint64_t features)
{
	struct vhost_user *u = user_of(t);

	return set_u64(u, VU_SET_FEATURES,
		       features | (u->bit30 ? BIT(VU_F_PROTOCOL_FEATURES) : 0));
}

int user_set_memory(struct vhost_transport *t, const struct space_region *r, unsigned n)
{
	struct vu_memory table = { .regions = n };
	int fds[VU_REGIONS_MAX];
	struct user_call c = {
		.request = VU_SET_MEM_TABLE, .payload = &table, .size = VU_MEMORY_SIZE(n),
		.fds = fds, .fds_n = n,
	};

	assert(n <= VU_REGIONS_MAX);
	for (unsigned i = 0; i < n; i++) {
		table.region[i] = (struct vu_region){
			.guest_addr = r[i].iova, .size = r[i].size, .user_addr = r[i].va,
			.mmap_offset = r[i].off,
		};
		fds[i] = r[i].fd;
	}
	return user_call(user_of(t), &c);
}

int user_ring_setup(struct vhost_transport *t, unsigned ring, const struct vhost_ring_addr *a)
{
	struct vhost_user *u = user_of(t);
	const struct vu_addr addr = {
		.index = ring, .desc = a->desc, .avail = a->avail, .used = a->used,
	};
	int rc = set_state(u, VU_SET_VRING_NUM, ring, a->num);

	if (!rc)
		rc = set_state(u, VU_SET_VRING_BASE, ring, a->base);
	if (!rc)
		rc = user_call(u, &(struct user_call){ .request = VU_SET_VRING_ADDR,
						       .payload = &addr });
	return rc;
}

int user_ring_fd(struct vhost_transport *t, unsigned ring, enum vhost_fd which, int fd)
{
	static const enum vu_request requests[] = {
		[VHOST_FD_KICK] = VU_SET_VRING_KICK, [VHOST_FD_CALL] = VU_SET_VRING_CALL,
		[VHOST_FD_ERR] = VU_SET_VRING_ERR,
	};
	uint64_t val = ring | (fd < 0 ? VU_RING_NOFD : 0);
	const struct user_call c = {
		.request = requests[which], .payload = &val, .fds = &fd, .fds_n = fd >= 0,
	};

	assert(ring <= VU_RING_INDEX);
	return user_call(user_of(t), &c);
}

int user_ring_enable(struct vhost_transport *t, unsigned ring, bool on)
{
	return set_state(user_of(t), VU_SET_VRING_ENABLE, ring, on);
}

int user_ring_stop(struct vhost_transport *t, unsigned ring, uint32_t *base)
{
	const struct vu_state state = { .index = ring };
	union vu_payload reply;
	const struct user_call c = {
		.request = VU_GET_VRING_BASE, .payload = &state, .reply = &reply,
	};
	int rc = user_call(user_of(t), &c);

	if (!rc && reply.state.index != ring)
		return user_cut(user_of(t), USER_BAD_VALUE,
				"GET_VRING_BASE of ring %u answered for ring %u", ring,
				reply.state.index);
	if (!rc)
		*base = reply.state.num;
	return rc;
}

int user_set_mtu(struct vhost_transport *t, uint16_t mtu)
{
	return set_u64(user_of(t), VU_NET_SET_MTU, mtu);
}

int user_set_status(struct vhost_transport *t, uint8_t status)
{
	return set_u64(user_of(t), VU_SET_STATUS, status);
}

int user_get_status(struct vhost_transport *t, uint8_t *status)
{
	uint64_t val = 0;
	int rc = get_u64(user_of(t), VU_GET_STATUS, &val);

	if (!rc && val > UINT8_MAX)
		return user_cut(user_of(t), USER_BAD_VALUE, "the back-end's status is %#llx",
				(unsigned long long)val);
	*status = (uint8_t)val;
	return rc;
}

int user_get_config(struct vhost_transport *t, void *buf, unsigned off, unsigned len)
{
	struct vu_config ask = { .offset = off, .size = len };
	union vu_payload reply;
	const struct user_call c = {
		.request = VU_GET_CONFIG, .payload = &ask, .size = VU_CONFIG_SIZE(len),
		.reply = &reply,
	};
	int rc;

	if (!len || off > VU_CONFIG_MAX || len > VU_CONFIG_MAX - off)
		return -EINVAL;
	rc = user_call(user_of(t), &c);
	if (rc)
		return rc;
	if (reply.config.offset != off || reply.config.size != len)
		return user_cut(user_of(t), USER_BAD_VALUE,
				"GET_CONFIG of %u bytes at %u answered with %u at %u", len, off,
				reply.config.size, reply.config.offset);
	memcpy(buf, reply.config.bytes, len);
	return (int)len;
}
