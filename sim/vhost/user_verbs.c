// SPDX-License-Identifier: Apache-2.0
// user_verbs.c - the verbs of vhost as vhost-user requests.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "sim/core/fd.h"
#include "sim/core/sys.h"
#include "sim/vhost/user.h"
#include "sim/vhost/vhost.h"

#define INFLIGHT_MAX (UINT64_C(64) << 20)	/* 256 rings of 32768 take less */

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
	static const struct { enum vu_request request; unsigned can; } able[] = {
		{ VU_SET_VRING_ENABLE, VHOST_CAN_ENABLE },
		{ VU_NET_SET_MTU,      VHOST_CAN_MTU },
		{ VU_SET_STATUS,       VHOST_CAN_STATUS },
		{ VU_GET_CONFIG,       VHOST_CAN_CONFIG },
		{ VU_ADD_MEM_REG,      VHOST_CAN_SLOTS },
		{ VU_SEND_RARP,        VHOST_CAN_ANNOUNCE },
		{ VU_RESET_DEVICE,     VHOST_CAN_RESET },
		{ VU_SET_LOG_BASE,     VHOST_CAN_LOG },
		{ VU_GET_INFLIGHT_FD,  VHOST_CAN_INFLIGHT },
	};
	unsigned can = 0;

	for (unsigned i = 0; i < sizeof(able) / sizeof(able[0]); i++)
		can |= user_lacks(u, able[i].request) ? 0 : able[i].can;
	return can;
}

/* The protocol features we use, each with all its messages, and what each stands on. */
static uint64_t protocol_wanted(const struct vhost_user *u, uint64_t offered)
{
	static const struct { unsigned bit; uint64_t needs; } ours[] = {
		{ VU_PROTOCOL_MQ, 0 },
		{ VU_PROTOCOL_LOG_SHMFD, 0 },
		{ VU_PROTOCOL_RARP, 0 },
		{ VU_PROTOCOL_REPLY_ACK, 0 },
		{ VU_PROTOCOL_MTU, 0 },
		{ VU_PROTOCOL_BACKEND_REQ, 0 },
		{ VU_PROTOCOL_CONFIG, 0 },
		{ VU_PROTOCOL_BACKEND_SEND_FD, BIT(VU_PROTOCOL_BACKEND_REQ) },
		{ VU_PROTOCOL_HOST_NOTIFIER,
		  BIT(VU_PROTOCOL_BACKEND_REQ) | BIT(VU_PROTOCOL_BACKEND_SEND_FD) },
		{ VU_PROTOCOL_INFLIGHT_SHMFD, 0 },
		{ VU_PROTOCOL_RESET_DEVICE, 0 },
		{ VU_PROTOCOL_CONFIGURE_MEM_SLOTS, 0 },
		{ VU_PROTOCOL_STATUS, 0 },
	};
	uint64_t wanted = 0;

	for (unsigned i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
		if ((offered & BIT(ours[i].bit)) && (offered & ours[i].needs) == ours[i].needs)
			wanted |= BIT(ours[i].bit);
	return u->t.cfg->notifier ? wanted : wanted & ~BIT(VU_PROTOCOL_HOST_NOTIFIER);
}

static int hello_protocol(struct vhost_user *u)
{
	uint64_t offered = 0, wanted;
	int rc = get_u64(u, VU_GET_PROTOCOL_FEATURES, &offered);

	wanted = protocol_wanted(u, offered);
	if (!rc)
		rc = set_u64(u, VU_SET_PROTOCOL_FEATURES, wanted);
	if (!rc)
		u->protocol = wanted;
	return rc;
}

/* A channel we have no descriptors for is done without. */
static int hello_back(struct vhost_user *u)
{
	int theirs, rc = back_open(u, &theirs);

	if (rc) {
		if (log_may(&u->may_log, loop_now(u->t.loop)))
			log_warn(u->t.cfg->id, "no descriptors left for the back-end's requests");
		return 0;
	}
	rc = user_call(u, &(struct user_call){ .request = VU_SET_BACKEND_REQ_FD, .fds = &theirs,
					       .fds_n = 1 });
	sys_call(SYS_close, theirs);
	if (!rc)
		rc = user_sync(&u->t);
	if (rc != -EREMOTEIO)
		return rc;
	back_close(u);
	return 0;
}

static int hello_slots(struct vhost_user *u, unsigned *regions_max)
{
	uint64_t slots;
	int rc = get_u64(u, VU_GET_MAX_MEM_SLOTS, &slots);

	if (!rc && !slots)
		return user_cut(u, USER_BAD_VALUE, "the back-end has no memory slot at all");
	if (!rc)
		*regions_max = slots < VHOST_REGIONS_MAX ? (unsigned)slots : VHOST_REGIONS_MAX;
	return rc;
}

int user_hello(struct vhost_transport *t, struct vhost_peer *peer)
{
	struct vhost_user *u = user_of(t);
	unsigned regions_max = VU_REGIONS_MAX;
	uint64_t features, pairs = 1;
	int rc = user_courted(u, &features);

	if (rc)
		return rc;
	u->bit30 = features & BIT(VU_F_PROTOCOL_FEATURES);
	if (u->bit30)
		rc = hello_protocol(u);
	if (!rc && !user_lacks(u, VU_GET_QUEUE_NUM))
		rc = get_u64(u, VU_GET_QUEUE_NUM, &pairs);
	if (!rc && !user_lacks(u, VU_GET_MAX_MEM_SLOTS))
		rc = hello_slots(u, &regions_max);
	if (!rc)
		rc = user_call(u, &(struct user_call){ .request = VU_SET_OWNER });
	if (!rc && !user_lacks(u, VU_SET_BACKEND_REQ_FD))
		rc = hello_back(u);
	if (rc)
		return rc;
	*peer = (struct vhost_peer){
		.features = features & ~(BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL)),
		.rings_max = rings_of(u, pairs), .regions_max = regions_max,
		.can = abilities(u),
	};
	if (!(features & BIT(VU_F_LOG_ALL)))
		peer->can &= ~VHOST_CAN_LOG;
	return 0;
}

int user_set_features(struct vhost_transport *t, uint64_t features)
{
	struct vhost_user *u = user_of(t);

	return set_u64(u, VU_SET_FEATURES,
		       features | (u->bit30 ? BIT(VU_F_PROTOCOL_FEATURES) : 0));
}

/*
 * The user address is the IOVA again: one piece of memory may be lent at two IOVAs, but regions
 * may overlap by neither address, and IOVAs never do.
 */
static struct vu_region wire_region(const struct space_region *r)
{
	return (struct vu_region){
		.guest_addr = r->iova, .size = r->size, .user_addr = r->iova,
		.mmap_offset = r->off,
	};
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
		table.region[i] = wire_region(&r[i]);
		fds[i] = r[i].fd;
	}
	return user_call(user_of(t), &c);
}

int user_memory_add(struct vhost_transport *t, const struct space_region *r)
{
	const struct vu_single_region single = { .region = wire_region(r) };
	const struct user_call c = {
		.request = VU_ADD_MEM_REG, .payload = &single, .fds = &r->fd, .fds_n = 1,
	};

	return user_call(user_of(t), &c);
}

int user_memory_del(struct vhost_transport *t, const struct space_region *r)
{
	const struct vu_single_region single = { .region = wire_region(r) };
	const struct user_call c = { .request = VU_REM_MEM_REG, .payload = &single };

	return user_call(user_of(t), &c);
}

int user_ring_addr(struct vhost_transport *t, unsigned ring, const struct vhost_ring_addr *a)
{
	const struct vu_addr addr = {
		.index = ring, .flags = a->log ? VU_ADDR_LOG : 0, .desc = a->desc.iova,
		.avail = a->avail.iova, .used = a->used.iova, .log = a->log ? a->used.iova : 0,
	};
	const struct user_call c = { .request = VU_SET_VRING_ADDR, .payload = &addr };

	return user_call(user_of(t), &c);
}

int user_ring_setup(struct vhost_transport *t, unsigned ring, const struct vhost_ring_addr *a)
{
	struct vhost_user *u = user_of(t);
	int rc = set_state(u, VU_SET_VRING_NUM, ring, a->num);

	if (!rc)
		rc = set_state(u, VU_SET_VRING_BASE, ring, a->base);
	return rc ? rc : user_ring_addr(t, ring, a);
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

/* The address in memory order in the first six bytes. */
int user_announce(struct vhost_transport *t, const uint8_t *mac)
{
	uint64_t val = 0;

	memcpy(&val, mac, 6);
	return set_u64(user_of(t), VU_SEND_RARP, val);
}

int user_reset(struct vhost_transport *t)
{
	return user_call(user_of(t), &(struct user_call){ .request = VU_RESET_DEVICE });
}

/*
 * The offset is 0, always: back-ends disagree whether one counts from the file's or from the map's
 * beginning.
 */
int user_set_log(struct vhost_transport *t, int fd, uint64_t size)
{
	const struct vu_log log = { .size = size };
	union vu_payload reply;
	const struct user_call c = {
		.request = VU_SET_LOG_BASE, .payload = &log, .fds = &fd, .fds_n = 1,
		.reply = &reply,
	};

	return user_call(user_of(t), &c);
}

static bool inflight_fits(const struct vu_inflight *got, const struct vhost_inflight *asked)
{
	struct stat st;

	return got->size && got->size <= INFLIGHT_MAX && got->offset <= INT64_MAX &&
	       got->queues == asked->queues && got->queue_size == asked->queue_size &&
	       !sys_call(SYS_fstat, asked->fd, &st) && S_ISREG(st.st_mode) &&
	       got->offset <= (uint64_t)st.st_size &&
	       got->size <= (uint64_t)st.st_size - got->offset;
}

int user_inflight_new(struct vhost_transport *t, struct vhost_inflight *i)
{
	struct vhost_user *u = user_of(t);
	const struct vu_inflight ask = { .queues = i->queues, .queue_size = i->queue_size };
	union vu_payload reply;
	int fd = -1, rc;
	const struct user_call c = {
		.request = VU_GET_INFLIGHT_FD, .payload = &ask, .reply = &reply, .fd = &fd,
	};

	i->fd = -1;
	rc = user_call(u, &c);
	if (rc) {
		if (fd >= 0)
			sys_call(SYS_close, fd);
		return rc;
	}
	if (fd >= 0)
		fd = fd_keep(fd);
	if (fd < 0)
		return user_cut(u, USER_BAD_VALUE, "no descriptor came with GET_INFLIGHT_FD");
	i->fd = fd;
	i->size = reply.inflight.size;
	i->off = reply.inflight.offset;
	if (inflight_fits(&reply.inflight, i))
		return 0;
	fd_drop(&i->fd);
	return user_cut(u, USER_BAD_VALUE, "GET_INFLIGHT_FD answered with %llu bytes at %llu for "
			"%u queues of %u, in a file that is shorter or none",
			(unsigned long long)reply.inflight.size,
			(unsigned long long)reply.inflight.offset, reply.inflight.queues,
			reply.inflight.queue_size);
}

int user_inflight_set(struct vhost_transport *t, const struct vhost_inflight *i)
{
	const struct vu_inflight val = {
		.size = i->size, .offset = i->off, .queues = i->queues, .queue_size = i->queue_size,
	};
	const struct user_call c = {
		.request = VU_SET_INFLIGHT_FD, .payload = &val, .fds = &i->fd, .fds_n = 1,
	};

	return user_call(user_of(t), &c);
}
