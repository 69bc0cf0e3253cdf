// SPDX-License-Identifier: Apache-2.0
// vus_msg.c - the table of requests: what must hold before a handler runs, and the small ones.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>

#include "sim/backend/vus.h"

#define BIT(n)	(1ull << (n))
#define MTU_MIN	68u
#define MTU_MAX	65535u

#ifndef VIRTIO_F_IN_ORDER
#define VIRTIO_F_IN_ORDER 35
#endif

/*
 * Queues, control queue and link state are the front-end's business; it shows them to its
 * driver only where the back-end agrees to their bits.
 */
#define FRONT_END (BIT(VIRTIO_NET_F_STATUS) | BIT(VIRTIO_NET_F_CTRL_VQ) | \
	BIT(VIRTIO_NET_F_CTRL_RX) | BIT(VIRTIO_NET_F_CTRL_VLAN) | \
	BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) | BIT(VIRTIO_NET_F_GUEST_ANNOUNCE) | \
	BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS) | BIT(VIRTIO_NET_F_MAC))
#define RING (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER) | \
	BIT(VIRTIO_F_ANY_LAYOUT) | BIT(VIRTIO_RING_F_INDIRECT_DESC) | \
	BIT(VIRTIO_RING_F_EVENT_IDX) | BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_MQ))
#define OFFLOADS (BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_GUEST_CSUM) | \
	BIT(VIRTIO_NET_F_HOST_TSO4) | BIT(VIRTIO_NET_F_HOST_TSO6) | \
	BIT(VIRTIO_NET_F_HOST_ECN) | BIT(VIRTIO_NET_F_GUEST_TSO4) | \
	BIT(VIRTIO_NET_F_GUEST_TSO6) | BIT(VIRTIO_NET_F_GUEST_ECN))
#define ALWAYS (BIT(VU_F_PROTOCOL_FEATURES) | BIT(VU_F_LOG_ALL))

#define PROTOCOL (BIT(VU_PROTOCOL_MQ) | BIT(VU_PROTOCOL_LOG_SHMFD) | BIT(VU_PROTOCOL_RARP) | \
	BIT(VU_PROTOCOL_REPLY_ACK) | BIT(VU_PROTOCOL_MTU) | BIT(VU_PROTOCOL_BACKEND_REQ) | \
	BIT(VU_PROTOCOL_INFLIGHT_SHMFD) | BIT(VU_PROTOCOL_RESET_DEVICE) | \
	BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS) | BIT(VU_PROTOCOL_STATUS))

uint64_t vus_features(void)
{
	return FRONT_END | RING | OFFLOADS;
}

static uint64_t offered(const struct vus *v)
{
	uint64_t f = v->cfg.features & vus_features();

	return f | ALWAYS | (v->cfg.mtu ? BIT(VIRTIO_NET_F_MTU) : 0);
}

/* The configuration space is offered where it has something to say. */
static uint64_t offered_protocol(const struct vus *v)
{
	static const uint8_t none[6];
	bool known = v->cfg.mtu || memcmp(v->cfg.mac, none, sizeof(none));

	return PROTOCOL | (known ? BIT(VU_PROTOCOL_CONFIG) : 0);
}

/* ---- handlers: 0 or -errno ------------------------------------------------------------------ */

static int reply_u64(struct vus_msg *m, uint64_t value)
{
	m->p.u64 = value;
	m->reply_size = sizeof(m->p.u64);
	return 0;
}

static int get_features(struct vus *v, struct vus_msg *m)
{
	return reply_u64(m, offered(v));
}

/* With rings running only the dirty log may be switched. */
static int set_features(struct vus *v, struct vus_msg *m)
{
	uint64_t f = m->p.u64;

	if (f & ~offered(v))
		return -EINVAL;
	if (vus_any_running(v) && ((f ^ v->features) & ~BIT(VU_F_LOG_ALL)))
		return -EBUSY;
	v->features = f;
	v->featured = true;
	vus_relog(v);
	port_store(v->p.features, f & ~ALWAYS);
	return 0;
}

static int set_owner(struct vus *v, struct vus_msg *m)
{
	(void)m;
	v->owned = true;
	return 0;
}

/* Deprecated; front-ends that still send it mean that the device is to stand still. */
static int reset(struct vus *v, struct vus_msg *m)
{
	(void)m;
	vus_stop_all(v);
	for (unsigned i = 0; i < v->nrings; i++) {
		v->ring[i].enabled = false;
		v->ring[i].base = 0;
	}
	v->status = 0;
	vus_remap(v);
	return 0;
}

static int get_protocol(struct vus *v, struct vus_msg *m)
{
	return reply_u64(m, offered_protocol(v));
}

static int set_protocol(struct vus *v, struct vus_msg *m)
{
	if (m->p.u64 & ~offered_protocol(v))
		return -EINVAL;
	if (vus_any_running(v) && m->p.u64 != v->protocol)
		return -EBUSY;
	v->protocol = m->p.u64;
	return 0;
}

static int get_queue_num(struct vus *v, struct vus_msg *m)
{
	return reply_u64(m, v->nrings / 2);
}

/* Six bytes of the number are the address; a group address is nobody's own. */
static int send_rarp(struct vus *v, struct vus_msg *m)
{
	uint8_t mac[8];

	memcpy(mac, &m->p.u64, sizeof(mac));
	if (mac[0] & 1)
		return -EINVAL;
	v->p.host->announce(&v->p, mac);
	return 0;
}

static int set_mtu(struct vus *v, struct vus_msg *m)
{
	if (m->p.u64 < MTU_MIN || m->p.u64 > MTU_MAX)
		return -EINVAL;
	v->peer_mtu = (uint16_t)m->p.u64;
	return 0;
}

static int set_request_fd(struct vus *v, struct vus_msg *m)
{
	if (v->request_fd >= 0)
		vus_close_foreign(v, v->request_fd);
	v->request_fd = m->fd[0];
	m->fd[0] = -1;
	return 0;
}

/* An eventfd that would be signalled when the log grows; polling the log works as well. */
static int set_log_fd(struct vus *v, struct vus_msg *m)
{
	vus_close_foreign(v, m->fd[0]);
	m->fd[0] = -1;
	return 0;
}

/* An empty payload is how this answer says no. */
static int get_config(struct vus *v, struct vus_msg *m)
{
	struct virtio_net_config c = { .mtu = v->cfg.mtu, .status = VIRTIO_NET_S_LINK_UP };
	uint32_t off = m->p.config.offset, size = m->p.config.size;

	if (m->h.size != VU_CONFIG_SIZE(size) || size > VU_CONFIG_MAX)
		return -EINVAL;
	m->reply_size = 0;
	if (off > sizeof(c) || size > sizeof(c) - off)
		return 0;
	memcpy(c.mac, v->cfg.mac, sizeof(c.mac));
	c.max_virtqueue_pairs = (uint16_t)(v->nrings / 2);
	memcpy(m->p.config.bytes, (const uint8_t *)&c + off, size);
	m->reply_size = VU_CONFIG_SIZE(size);
	return 0;
}

/* Nothing in it is a driver's to write. */
static int set_config(struct vus *v, struct vus_msg *m)
{
	(void)v;
	(void)m;
	return -EPERM;
}

/*
 * Buffers are completed in the order they were offered, so the ring itself says which ones a
 * successor owes. The area is lent for front-ends that insist on one, but nothing in it is ever
 * read or believed: a ring of such a session goes on from its used index.
 */
static uint64_t inflight_bytes(const struct vu_inflight *i, bool roomy)
{
	/* A header and an entry per descriptor; those of a packed ring are the larger ones. */
	uint64_t queue = roomy ? 64 + 32ull * i->queue_size : 16 + 16ull * i->queue_size;

	return i->queues * queue;
}

static bool inflight_sane(const struct vus *v, const struct vu_inflight *i)
{
	return i->queues && i->queues <= v->nrings && i->queue_size &&
	       i->queue_size <= VQUEUE_NUM_MAX;
}

static int get_inflight(struct vus *v, struct vus_msg *m)
{
	struct vu_inflight *i = &m->p.inflight;
	int fd, rc = 0;

	if (!inflight_sane(v, i))
		return -EINVAL;
	i->size = (inflight_bytes(i, true) + 4095) & ~4095ull;
	i->offset = 0;
	fd = memfd_create("podpci-inflight", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)i->size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	m->reply_fd = fd;
	m->reply_size = m->h.size;
	return 0;
}

static int set_inflight(struct vus *v, struct vus_msg *m)
{
	const struct vu_inflight *i = &m->p.inflight;
	struct stat st;

	if (!inflight_sane(v, i) || i->size < inflight_bytes(i, false) ||
	    i->offset + i->size < i->offset)
		return -EINVAL;
	if (!vmem_is_file(m->fd[0]) || fstat(m->fd[0], &st) < 0 ||
	    (uint64_t)st.st_size < i->offset + i->size)
		return -EINVAL;
	v->resumes = true;
	return 0;
}

static int get_slots(struct vus *v, struct vus_msg *m)
{
	(void)v;
	return reply_u64(m, VMEM_REGIONS);
}

/* Status 0 is the driver's reset (virtio 1.2, 2.4). */
static int set_status(struct vus *v, struct vus_msg *m)
{
	if (m->p.u64 > 0xff)
		return -EINVAL;
	if (m->p.u64 == 0)
		return reset(v, m);
	v->status = (uint8_t)m->p.u64;
	return 0;
}

static int get_status(struct vus *v, struct vus_msg *m)
{
	return reply_u64(m, v->status);
}

/* ---- the table ------------------------------------------------------------------------------ */

#define INDEX	(1u << 0)	/* state.index or addr.index is a ring of ours */
#define RING_FD	(1u << 1)	/* u64: index, no-fd bit and nothing else; one fd or none */
#define HALTED	(1u << 2)	/* that ring stands still */
#define NO_BIT	(-1)

#define U64	sizeof(uint64_t), sizeof(uint64_t)
#define STATE	sizeof(struct vu_state), sizeof(struct vu_state)
#define ANY_U64	0, sizeof(uint64_t)	/* some front-ends send a payload nobody needs */
#define MEM_TABLE VU_MEMORY_SIZE(0), VU_MEMORY_SIZE(VU_REGIONS_MAX)
#define LOG	sizeof(struct vu_log), sizeof(struct vu_log)
#define ADDR	sizeof(struct vu_addr), sizeof(struct vu_addr)
#define CONFIG	VU_CONFIG_SIZE(0), VU_CONFIG_SIZE(VU_CONFIG_MAX)
#define INFLIGHT 20, sizeof(struct vu_inflight)		/* with or without tail padding */
#define SINGLE	sizeof(struct vu_single_region), sizeof(struct vu_single_region)

static const struct row {
	uint8_t     id;
	bool        replies;		/* answers with a payload of its own */
	int8_t      bit;		/* protocol feature that must be negotiated */
	uint8_t     fds_min, fds_max;
	uint8_t     demands;
	uint16_t    size_min, size_max;
	int       (*handle)(struct vus *v, struct vus_msg *m);
	const char *name;
} rows[] = {
#define ROW(id, replies, bit, fmin, fmax, demands, sizes, fn) \
	{ VU_##id, replies, bit, fmin, fmax, demands, sizes, fn, #id }
#define P(bit) VU_PROTOCOL_##bit
	ROW(GET_FEATURES,	   true,  NO_BIT, 0, 0, 0, ANY_U64, get_features),
	ROW(SET_FEATURES,	   false, NO_BIT, 0, 0, 0, U64, set_features),
	ROW(SET_OWNER,		   false, NO_BIT, 0, 0, 0, ANY_U64, set_owner),
	ROW(RESET_OWNER,	   false, NO_BIT, 0, 0, 0, ANY_U64, reset),
	ROW(SET_MEM_TABLE,	   false, NO_BIT, 0, VU_REGIONS_MAX, 0,
	    MEM_TABLE, vus_set_mem_table),
	ROW(SET_LOG_BASE,	   true,  P(LOG_SHMFD), 1, 1, 0, LOG, vus_set_log_base),
	ROW(SET_LOG_FD,		   false, NO_BIT, 1, 1, 0, ANY_U64, set_log_fd),
	ROW(SET_VRING_NUM,	   false, NO_BIT, 0, 0, INDEX | HALTED, STATE, vus_set_num),
	ROW(SET_VRING_ADDR,	   false, NO_BIT, 0, 0, INDEX, ADDR, vus_set_addr),
	ROW(SET_VRING_BASE,	   false, NO_BIT, 0, 0, INDEX | HALTED, STATE, vus_set_base),
	ROW(GET_VRING_BASE,	   true,  NO_BIT, 0, 0, INDEX, STATE, vus_get_base),
	ROW(SET_VRING_KICK,	   false, NO_BIT, 0, 1, RING_FD, U64, vus_set_kick),
	ROW(SET_VRING_CALL,	   false, NO_BIT, 0, 1, RING_FD, U64, vus_set_call),
	ROW(SET_VRING_ERR,	   false, NO_BIT, 0, 1, RING_FD, U64, vus_set_err),
	ROW(GET_PROTOCOL_FEATURES, true,  NO_BIT, 0, 0, 0, ANY_U64, get_protocol),
	ROW(SET_PROTOCOL_FEATURES, false, NO_BIT, 0, 0, 0, U64, set_protocol),
	ROW(GET_QUEUE_NUM,	   true,  NO_BIT, 0, 0, 0, ANY_U64, get_queue_num),
	ROW(SET_VRING_ENABLE,	   false, NO_BIT, 0, 0, INDEX, STATE, vus_set_enable),
	ROW(SEND_RARP,		   false, P(RARP), 0, 0, 0, U64, send_rarp),
	ROW(NET_SET_MTU,	   false, P(MTU), 0, 0, 0, U64, set_mtu),
	ROW(SET_BACKEND_REQ_FD,	   false, P(BACKEND_REQ), 1, 1, 0, ANY_U64, set_request_fd),
	ROW(GET_CONFIG,		   true,  P(CONFIG), 0, 0, 0, CONFIG, get_config),
	ROW(SET_CONFIG,		   false, P(CONFIG), 0, 0, 0, CONFIG, set_config),
	ROW(GET_INFLIGHT_FD,	   true,  P(INFLIGHT_SHMFD), 0, 0, 0, INFLIGHT, get_inflight),
	ROW(SET_INFLIGHT_FD,	   false, P(INFLIGHT_SHMFD), 1, 1, 0, INFLIGHT, set_inflight),
	ROW(RESET_DEVICE,	   false, P(RESET_DEVICE), 0, 0, 0, ANY_U64, reset),
	ROW(GET_MAX_MEM_SLOTS,	   true,  P(CONFIGURE_MEM_SLOTS), 0, 0, 0, ANY_U64, get_slots),
	ROW(ADD_MEM_REG,	   false, P(CONFIGURE_MEM_SLOTS), 1, 1, 0, SINGLE, vus_add_mem),
	ROW(REM_MEM_REG,	   false, P(CONFIGURE_MEM_SLOTS), 0, 1, 0, SINGLE, vus_rem_mem),
	ROW(SET_STATUS,		   false, P(STATUS), 0, 0, 0, U64, set_status),
	ROW(GET_STATUS,		   true,  P(STATUS), 0, 0, 0, ANY_U64, get_status),
};

static const struct row *row_of(uint32_t request)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].id == request)
			return &rows[i];
	return NULL;
}

/* A request we do not know may have any size that can be skipped. */
bool vus_size_fits(uint32_t request, uint32_t size)
{
	const struct row *row = row_of(request);

	return !row || (size >= row->size_min && size <= row->size_max);
}

/* What the row says, before any value is looked at. */
static int judge(struct vus *v, const struct row *row, const struct vus_msg *m)
{
	uint32_t index = m->p.state.index;

	if (row->bit != NO_BIT && !vus_has(v, (unsigned)row->bit))
		return -EOPNOTSUPP;
	if (m->nfds < row->fds_min || m->nfds > row->fds_max)
		return -EBADMSG;
	if (row->demands & RING_FD) {
		if (m->p.u64 & ~(uint64_t)(VU_RING_INDEX | VU_RING_NOFD))
			return -EINVAL;
		if (m->nfds != !(m->p.u64 & VU_RING_NOFD))
			return -EBADMSG;
		index = m->p.u64 & VU_RING_INDEX;
	}
	if ((row->demands & (INDEX | RING_FD)) && index >= v->nrings)
		return -EINVAL;
	return (row->demands & HALTED) && v->ring[index].q.running ? -EBUSY : 0;
}

static int answer(struct vus *v, struct vus_msg *m, uint32_t size)
{
	m->h.flags = VU_VERSION | VU_REPLY;
	m->h.size = size;
	return vus_reply(v, m);
}

static const char *why(int rc)
{
	return rc == -E2BIG ? "more memory than the port takes (memory_max), or too many regions" :
	       strerror(-rc);
}

int vus_handle(struct vus *v)
{
	struct vus_msg *m = &v->m;
	const struct row *row = row_of(m->h.request);
	bool ack = (m->h.flags & VU_NEED_REPLY) && vus_has(v, VU_PROTOCOL_REPLY_ACK);
	int rc;

	m->reply_size = 0;
	m->reply_fd = -1;
	port_tally(&v->row[PORT_MESSAGES], 1);
	rc = row ? judge(v, row, m) : -EOPNOTSUPP;
	if (rc == 0)
		rc = row->handle(v, m);
	if (rc < 0) {
		port_tally(&v->row[PORT_MESSAGES_BAD], 1);
		vus_complain(v, row ? row->name : "unknown request", why(rc));
	}
	if (rc == 0 && row->replies)
		return answer(v, m, m->reply_size);
	/* One that waits for a payload cannot be told "no" by a number. */
	if (rc < 0 && (!ack || (row && row->replies)))
		return -ECONNABORTED;
	if (!ack)
		return 0;
	m->p.u64 = rc < 0;
	return answer(v, m, sizeof(m->p.u64));
}
