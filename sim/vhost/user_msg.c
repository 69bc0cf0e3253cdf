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
#include <errno.h>
#include <sys/uio.h>

#include "sim/vhost/user.h"
#include "sim/vhost/vhost.h"

enum ack {
	ACK_NONE,	/* sent and believed */
	ACK_LATER,	/* done when user_sync() returns */
	ACK_SURE,	/* done on return */
};

#define NEEDS_BIT30  BIT(63)	/* no protocol feature: the peer offers protocol features */
#define SIZE_OPEN    UINT16_MAX	/* told by the caller; a reply is then as long */
#define SIZE_MAY     (UINT16_MAX - 1)	/* a reply of 8 bytes or of none, whose content is idle */

struct row {
	const char *name;
	uint16_t    size, reply;	/* payload bytes; reply 0: none of its own */
	uint8_t     fds_max;
	uint8_t     reply_fds;
	uint8_t     ack;
	uint64_t    needs;
};

static const struct row rows[VU_REQUESTS] = {
#define ROW(id, ...) [VU_##id] = { #id, __VA_ARGS__ }
	/*  request               size       reply      fds back        ack        needs */
	ROW(GET_FEATURES,         0,         8,         0, 0,           ACK_NONE,  0),
	ROW(SET_FEATURES,         8,         0,         0, 0,           ACK_LATER, 0),
	ROW(SET_OWNER,            0,         0,         0, 0,           ACK_NONE,  0),
	ROW(SET_MEM_TABLE,        SIZE_OPEN, 0,         VU_REGIONS_MAX, 0, ACK_SURE, 0),
	ROW(SET_LOG_BASE,         16,        SIZE_MAY,  1, 0,           ACK_NONE,
	    BIT(VU_PROTOCOL_LOG_SHMFD)),
	ROW(SET_VRING_NUM,        8,         0,         0, 0,           ACK_LATER, 0),
	ROW(SET_VRING_ADDR,       40,        0,         0, 0,           ACK_LATER, 0),
	ROW(SET_VRING_BASE,       8,         0,         0, 0,           ACK_LATER, 0),
	ROW(GET_VRING_BASE,       8,         8,         0, 0,           ACK_NONE,  0),
	ROW(SET_VRING_KICK,       8,         0,         1, 0,           ACK_LATER, 0),
	ROW(SET_VRING_CALL,       8,         0,         1, 0,           ACK_LATER, 0),
	ROW(SET_VRING_ERR,        8,         0,         1, 0,           ACK_LATER, 0),
	ROW(GET_PROTOCOL_FEATURES, 0,        8,         0, 0,           ACK_NONE,  NEEDS_BIT30),
	ROW(SET_PROTOCOL_FEATURES, 8,        0,         0, 0,           ACK_NONE,  NEEDS_BIT30),
	ROW(GET_QUEUE_NUM,        0,         8,         0, 0,           ACK_NONE,
	    BIT(VU_PROTOCOL_MQ)),
	ROW(SET_VRING_ENABLE,     8,         0,         0, 0,           ACK_LATER, NEEDS_BIT30),
	ROW(SEND_RARP,            8,         0,         0, 0,           ACK_LATER,
	    BIT(VU_PROTOCOL_RARP)),
	ROW(NET_SET_MTU,          8,         0,         0, 0,           ACK_SURE,
	    BIT(VU_PROTOCOL_MTU)),
	ROW(SET_BACKEND_REQ_FD,   0,         0,         1, 0,           ACK_LATER,
	    BIT(VU_PROTOCOL_BACKEND_REQ)),
	ROW(GET_CONFIG,           SIZE_OPEN, SIZE_OPEN, 0, 0,           ACK_NONE,
	    BIT(VU_PROTOCOL_CONFIG)),
	ROW(GET_INFLIGHT_FD,      24,        24,        0, 1,           ACK_NONE,
	    BIT(VU_PROTOCOL_INFLIGHT_SHMFD)),
	ROW(SET_INFLIGHT_FD,      24,        0,         1, 0,           ACK_LATER,
	    BIT(VU_PROTOCOL_INFLIGHT_SHMFD)),
	ROW(RESET_DEVICE,         0,         0,         0, 0,           ACK_SURE,
	    BIT(VU_PROTOCOL_RESET_DEVICE)),
	ROW(GET_MAX_MEM_SLOTS,    0,         8,         0, 0,           ACK_NONE,
	    BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS)),
	ROW(ADD_MEM_REG,          40,        0,         1, 0,           ACK_SURE,
	    BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS)),
	ROW(REM_MEM_REG,          40,        0,         0, 0,           ACK_SURE,
	    BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS)),
	ROW(SET_STATUS,           8,         0,         0, 0,           ACK_LATER,
	    BIT(VU_PROTOCOL_STATUS)),
	ROW(GET_STATUS,           0,         8,         0, 0,           ACK_NONE,
	    BIT(VU_PROTOCOL_STATUS)),
#undef ROW
};

/* ---- a request ------------------------------------------------------------------------------ */

/* Only an empty reply may differ from the expected size, where `open`. */
static int take_reply(struct vhost_user *u, enum vu_request request, union vu_payload *reply,
		      uint32_t size, bool open, int *fd)
{
	const char *name = rows[request].name;
	struct vu_header h;
	int rc = user_take_all(u, name, &h, sizeof(h), fd);

	if (rc)
		return rc;
	if (h.request != request || h.flags != (VU_VERSION | VU_REPLY))
		return user_cut(u, USER_BAD_HEADER,
				"the reply to %s has request %u, flags %#x", name, h.request,
				h.flags);
	if (h.size != size && !(open && !h.size))
		return user_cut(u, USER_BAD_SIZE, "the reply to %s has %u bytes, not %u", name,
				h.size, size);
	rc = user_take_all(u, name, reply, h.size, fd);
	if (rc)
		return rc;
	u->received++;
	user_tell(u, false, request, name, reply, h.size, !rows[request].reply);
	return h.size == size ? 0 : -EREMOTEIO;
}

static int take_ack(struct vhost_user *u, enum vu_request request)
{
	union vu_payload ack;
	int rc = take_reply(u, request, &ack, sizeof(ack.u64), false, NULL);

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
	user_tell(u, true, c->request, r->name, c->payload, size, false);
	rc = user_send_all(u, r->name, iov, size ? 2 : 1, c->fds, c->fds_n);
	if (!rc)
		u->sent++;
	return rc;
}

static int take_own_reply(struct vhost_user *u, const struct user_call *c)
{
	const struct row *r = &rows[c->request];
	uint32_t size = r->reply == SIZE_OPEN ? size_of(c) : r->reply == SIZE_MAY ? 8 : r->reply;
	int rc = take_reply(u, c->request, c->reply, size, r->reply >= SIZE_MAY,
			    r->reply_fds ? c->fd : NULL);

	return rc == -EREMOTEIO && r->reply == SIZE_MAY ? 0 : rc;
}

/* Sent and, if its row allows, not waited for. */
static int exchange(struct vhost_user *u, const struct user_call *c)
{
	const struct row *r = &rows[c->request];
	int rc, refused;

	assert(r->name && c->fds_n <= r->fds_max && !c->reply == !r->reply &&
	       !c->fd == !r->reply_fds);
	if (u->fd < 0)
		return -ENOTCONN;
	if (lacks(u, r->needs))
		return -EOPNOTSUPP;
	rc = u->pending_n ? 0 : user_peek(u->fd);
	if (rc > 0)
		return user_cut(u, USER_UNASKED, "bytes nobody asked for came before %s", r->name);
	if (rc < 0)
		return user_cut_io(u, r->name, true, rc);
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
		rc = take_own_reply(u, c);
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

int user_sync(struct vhost_transport *t)
{
	struct vhost_user *u = (struct vhost_user *)t;

	return u->unsure ? barrier(u) : collect(u);
}

bool user_lacks(const struct vhost_user *u, enum vu_request request)
{
	return lacks(u, rows[request].needs);
}

int user_court(struct vhost_user *u)
{
	u->protocol = 0;
	u->bit30 = u->unsure = false;
	return send_request(u, &(struct user_call){ .request = VU_GET_FEATURES });
}

int user_courted(struct vhost_user *u, uint64_t *features)
{
	union vu_payload reply;
	int rc = take_reply(u, VU_GET_FEATURES, &reply, sizeof(reply.u64), false, NULL);

	if (!rc)
		*features = reply.u64;
	return rc;
}
