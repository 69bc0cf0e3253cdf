// SPDX-License-Identifier: Apache-2.0
// backend.c - a back-end that can die anywhere: between two bytes of a message, or two stores.
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/world/world.h"

/* ---- life and death ------------------------------------------------------------------------- */

static void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void open_door(struct world *w)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	struct wb *b = &w->b;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", w->path);
	unlink(w->path);
	b->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(b->listen_fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(b->listen_fd, 4))
		world_wrong(w, "cannot listen on %s", w->path);
	b->listening = true;
}

static void forget(struct wb *b)
{
	for (unsigned i = 0; i < b->regions; i++)
		munmap(b->region[i].host, b->region[i].size);
	b->regions = 0;
	if (b->record)
		munmap(b->record, WB_RECORD);
	b->record = NULL;
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		shut(&b->ring[i].kick);
		shut(&b->ring[i].call);
		b->ring[i] = (struct wb_ring){ .kick = -1, .call = -1 };
	}
	for (unsigned i = 0; i < b->in_fds_n; i++)
		close(b->in_fds[i]);
	b->in_fds_n = b->in_len = b->out_len = 0;
	b->acked = 0;
	b->status = 0;
	memset(b->asleep, 0, sizeof(b->asleep));
	shut(&b->out_fd);
	shut(&b->inflight_fd);
	shut(&b->ask_fd);
	shut(&b->fd);
}

void wb_die(struct world *w, const char *how)
{
	struct wb *b = &w->b;

	if (b->fd < 0)
		return;
	world_note(w, how, b->messages, b->steps);
	b->deaths++;
	forget(b);
	if (!world_chance(w, 500))
		return;
	/* It takes its time to come back. */
	shut(&b->listen_fd);
	unlink(w->path);
	b->listening = false;
	b->back_ms = w->now_ms + world_rand(w, 700);
}

/* Its front-end has ended the session, which it learns when it reads so far. */
bool wb_left(const struct wb *b)
{
	struct pollfd p = { .fd = b->fd, .events = POLLRDHUP };

	return b->fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLHUP | POLLRDHUP));
}

void wb_notice(struct world *w)
{
	if (wb_left(&w->b))
		wb_die(w, "left");
}

void wb_init(struct world *w)
{
	static const unsigned some[] = {
		VU_PROTOCOL_RARP, VU_PROTOCOL_REPLY_ACK, VU_PROTOCOL_BACKEND_REQ,
		VU_PROTOCOL_RESET_DEVICE, VU_PROTOCOL_CONFIGURE_MEM_SLOTS, VU_PROTOCOL_STATUS,
		VU_PROTOCOL_CONFIG,
	};
	static const unsigned rings[] = {
		VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX, VIRTIO_F_IN_ORDER,
		VIRTIO_NET_F_MRG_RXBUF, VIRTIO_NET_F_GUEST_CSUM,
	};
	struct wb *b = &w->b;

	b->fd = b->listen_fd = b->ask_fd = b->inflight_fd = b->out_fd = -1;
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		b->ring[i].kick = b->ring[i].call = -1;
	b->features = BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES);
	b->features |= world_rand(w, 2) ? BIT(VIRTIO_F_RING_PACKED) : 0;
	for (unsigned i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
		b->features |= world_rand(w, 2) ? BIT(rings[i]) : 0;
	b->pairs = world_rand(w, 2) ? 1 + (unsigned)world_rand(w, WORLD_PAIRS) : 1;
	if (b->pairs > 1) {
		b->features |= BIT(VIRTIO_NET_F_MQ);
		b->protocol |= BIT(VU_PROTOCOL_MQ);
	}
	for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		b->protocol |= world_rand(w, 4) ? BIT(some[i]) : 0;
	b->protocol |= world_rand(w, 2) ? BIT(VU_PROTOCOL_INFLIGHT_SHMFD) : 0;
	/* With split rings it only pretends: nothing is in hand that they do not tell. */
	b->keeps = (b->features & BIT(VIRTIO_F_RING_PACKED)) &&
		   (b->protocol & BIT(VU_PROTOCOL_INFLIGHT_SHMFD));
	b->torn = world_rand(w, 2) || b->keeps;
	/* Of a packed ring's two elements one is told first: its successor must mend that. */
	b->spans = (b->features & BIT(VIRTIO_NET_F_MRG_RXBUF)) &&
		   (b->torn || !(b->features & BIT(VIRTIO_F_RING_PACKED)));
	b->jumps = world_rand(w, 2);
	b->sleepy = world_rand(w, 2);
	if (world_rand(w, 4))
		open_door(w);
	else
		b->back_ms = w->now_ms + world_rand(w, 500);
}

void wb_fini(struct world *w)
{
	forget(&w->b);
	shut(&w->b.listen_fd);
	unlink(w->path);
}

/* ---- messages ------------------------------------------------------------------------------- */

uint8_t *wb_at_user(struct wb *b, uint64_t uva, uint64_t len)
{
	for (unsigned i = 0; i < b->regions; i++)
		if (uva >= b->region[i].uva && uva - b->region[i].uva <= b->region[i].size &&
		    len <= b->region[i].size - (uva - b->region[i].uva))
			return b->region[i].host + (uva - b->region[i].uva);
	return NULL;
}

uint8_t *wb_at_guest(struct wb *b, uint64_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < b->regions; i++)
		if (gpa >= b->region[i].gpa && gpa - b->region[i].gpa <= b->region[i].size &&
		    len <= b->region[i].size - (gpa - b->region[i].gpa))
			return b->region[i].host + (gpa - b->region[i].gpa);
	return NULL;
}

static void add_region(struct world *w, const struct vu_region *r, int fd)
{
	struct wb *b = &w->b;
	uint8_t *p = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
			  (off_t)r->mmap_offset);

	if (p == MAP_FAILED || b->regions == WB_REGIONS) {
		world_wrong(w, "a region cannot be mapped");
		return;
	}
	for (unsigned i = 0; i < b->regions; i++)
		if (r->guest_addr < b->region[i].gpa + b->region[i].size &&
		    b->region[i].gpa < r->guest_addr + r->size)
			world_wrong(w, "regions overlap");
	b->region[b->regions].gpa = r->guest_addr;
	b->region[b->regions].size = r->size;
	b->region[b->regions].uva = r->user_addr;
	b->region[b->regions++].host = p;
}

static void del_region(struct world *w, const struct vu_region *r)
{
	struct wb *b = &w->b;
	unsigned i;

	for (i = 0; i < b->regions && b->region[i].gpa != r->guest_addr; i++)
		;
	if (i == b->regions || b->region[i].size != r->size) {
		world_wrong(w, "a region is removed that is not there");
		return;
	}
	munmap(b->region[i].host, b->region[i].size);
	b->region[i] = b->region[--b->regions];
	for (unsigned k = 0; k < WORLD_RINGS; k++)
		if (b->ring[k].started && !wb_at_user(b, b->ring[k].desc, 1))
			world_wrong(w, "the memory of a running ring is taken away");
}

static void take_table(struct world *w, const struct vu_memory *m, const int *fds)
{
	struct wb *b = &w->b;

	for (unsigned i = 0; i < b->regions; i++)
		munmap(b->region[i].host, b->region[i].size);
	b->regions = 0;
	for (unsigned i = 0; i < m->regions && i < VU_REGIONS_MAX; i++)
		add_region(w, &m->region[i], fds[i]);
}

static void keep(int *slot, int *fd)
{
	shut(slot);
	*slot = *fd;
	*fd = -1;
}

static void start_ring(struct world *w, unsigned index, int *fd)
{
	struct wb_ring *r = &w->b.ring[index];

	keep(&r->kick, fd);
	if (r->started)
		world_wrong(w, "a running ring is started");
	r->started = true;
	if (!r->num || !wb_at_user(&w->b, r->desc, 16u * r->num) || !wb_at_user(&w->b, r->used, 4))
		world_wrong(w, "a ring starts outside the memory");
	w->b.asleep[index / 2] = w->b.sleepy;	/* until it is told that there is something */
	wb_recover(&w->b, index);
}

static void take_record(struct world *w, const struct vu_inflight *i, int *fd)
{
	struct wb *b = &w->b;
	void *p = mmap(NULL, WB_RECORD, PROT_READ | PROT_WRITE, MAP_SHARED, *fd,
		       (off_t)i->offset);

	if (b->record)
		munmap(b->record, WB_RECORD);
	b->record = p == MAP_FAILED ? NULL : p;
	if (!b->record || i->size != WB_RECORD)
		world_wrong(w, "not the record that was made");
	keep(&b->inflight_fd, fd);
}

static bool is_of_ring(uint32_t request)
{
	return (request >= VU_SET_VRING_NUM && request <= VU_SET_VRING_ERR) ||
	       request == VU_SET_VRING_ENABLE;
}

static uint32_t serve_ring(struct world *w, struct vu_header *h, union vu_payload *p, int *fds)
{
	struct wb *b = &w->b;
	unsigned index = p->state.index & VU_RING_INDEX;
	struct wb_ring *r = &b->ring[index % WORLD_RINGS];
	bool packed = b->acked & BIT(VIRTIO_F_RING_PACKED);

	if (is_of_ring(h->request) && index >= 2 * b->pairs) {
		world_wrong(w, "ring %u of %u", index, 2 * b->pairs);
		return 0;
	}
	switch (h->request) {
	case VU_SET_VRING_NUM:
		r->num = (uint16_t)p->state.num;
		return 0;
	case VU_SET_VRING_BASE:
		r->at = (uint16_t)(packed ? p->state.num & 0x7fff : p->state.num);
		r->wrap = p->state.num & 0x8000;
		return 0;
	case VU_SET_VRING_ADDR:
		r->desc = p->addr.desc;
		r->avail = p->addr.avail;
		r->used = p->addr.used;
		return 0;
	case VU_SET_VRING_KICK:
		start_ring(w, index, &fds[0]);
		return 0;
	case VU_SET_VRING_CALL:
		keep(&r->call, &fds[0]);
		return 0;
	case VU_SET_VRING_ENABLE:
		r->enabled = p->state.num;
		return 0;
	case VU_GET_VRING_BASE:
		r->started = false;
		p->state.num = r->at | (packed && r->wrap ? 0x8000 : 0);
		return 8;
	default:
		return 0;
	}
}

/* What a request does; returns the size of its own reply, written to p. */
static uint32_t serve(struct world *w, struct vu_header *h, union vu_payload *p, int *fds)
{
	struct wb *b = &w->b;

	switch (h->request) {
	case VU_GET_FEATURES:
		p->u64 = b->features;
		return 8;
	case VU_GET_PROTOCOL_FEATURES:
		p->u64 = b->protocol;
		return 8;
	case VU_GET_QUEUE_NUM:
		p->u64 = b->pairs;
		return 8;
	case VU_GET_MAX_MEM_SLOTS:
		p->u64 = 32;
		return 8;
	case VU_GET_STATUS:
		p->u64 = b->status;
		return 8;
	case VU_SET_STATUS:
		b->status = (uint8_t)p->u64;
		return 0;
	case VU_SET_FEATURES:
		b->acked = p->u64;
		return 0;
	case VU_SET_MEM_TABLE:
		take_table(w, &p->memory, fds);
		return 0;
	case VU_ADD_MEM_REG:
		add_region(w, &p->single.region, fds[0]);
		return 0;
	case VU_REM_MEM_REG:
		del_region(w, &p->single.region);
		return 0;
	case VU_SET_BACKEND_REQ_FD:
		keep(&b->ask_fd, &fds[0]);
		return 0;
	case VU_GET_CONFIG:
		return h->size;
	case VU_GET_INFLIGHT_FD:
		b->out_fd = memfd_create("inflight", MFD_CLOEXEC);
		p->inflight.size = WB_RECORD;
		if (ftruncate(b->out_fd, WB_RECORD))
			world_wrong(w, "no inflight file");
		return 24;
	case VU_SET_INFLIGHT_FD:
		take_record(w, &p->inflight, &fds[0]);
		return 0;
	default:
		return serve_ring(w, h, p, fds);
	}
}

static void handle(struct world *w)
{
	struct wb *b = &w->b;
	union vu_payload p = { 0 };
	struct vu_header h;
	bool ask, no, mute = world_chance(w, 3);
	uint32_t size;

	memcpy(&h, b->in, sizeof(h));
	memcpy(&p, b->in + sizeof(h), h.size);
	world_note(w, "message", h.request, h.size);
	ask = h.flags & VU_NEED_REPLY;
	no = ask && world_chance(w, 4);		/* refused, for no reason */
	b->refusals += no;
	size = no ? 0 : serve(w, &h, &p, b->in_fds);
	for (unsigned i = 0; i < b->in_fds_n; i++)
		shut(&b->in_fds[i]);
	b->in_fds_n = b->in_len = 0;
	b->messages++;
	if (!size && ask) {
		size = 8;
		p.u64 = no;
	}
	if (!size || mute)
		return;
	h.flags = VU_VERSION | VU_REPLY;
	h.size = size;
	memcpy(b->out + b->out_len, &h, sizeof(h));
	memcpy(b->out + b->out_len + sizeof(h), &p, size);
	b->out_len += (unsigned)sizeof(h) + size;
}

/* ---- bytes ---------------------------------------------------------------------------------- */

/* How many of n bytes get through now; 0: the connection is to break here. */
static unsigned allowed(struct world *w, uint64_t *cut, unsigned n)
{
	unsigned most = w->calm ? n : 1 + (unsigned)world_rand(w, n);

	if (*cut < most)
		most = (unsigned)*cut;
	if (*cut != WB_NEVER)
		*cut -= most;
	return most;
}

static void adopt(struct world *w)
{
	struct wb *b = &w->b;

	b->fd = accept4(b->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (b->fd < 0)
		return;
	world_note(w, "connected", b->lives, 0);
	b->cut_in = world_chance(w, 300) ? world_rand(w, 1500) : WB_NEVER;
	b->cut_out = world_chance(w, 300) ? world_rand(w, 600) : WB_NEVER;
	if (b->lives++ || w->cut_first == WB_NEVER)
		return;
	b->cut_in = w->cut_first % 2 ? WB_NEVER : w->cut_first / 2;
	b->cut_out = w->cut_first % 2 ? w->cut_first / 2 : WB_NEVER;
}

static bool read_some(struct world *w)
{
	struct wb *b = &w->b;
	unsigned want = sizeof(struct vu_header), part;
	char control[CMSG_SPACE(VU_FDS_MAX * sizeof(int))];
	struct vu_header h;
	struct iovec iov;
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	char byte;
	ssize_t n;

	if (recv(b->fd, &byte, 1, MSG_PEEK) < 0)
		return false;
	if (b->in_len >= want) {
		memcpy(&h, b->in, sizeof(h));
		want += h.size;
	}
	part = allowed(w, &b->cut_in, want - b->in_len);
	if (!part) {
		w->cut_hit |= b->lives == 1;
		wb_die(w, "broken reading");
		return true;
	}
	iov = (struct iovec){ b->in + b->in_len, part };
	n = recvmsg(b->fd, &m, MSG_CMSG_CLOEXEC);
	if (n <= 0) {
		wb_die(w, "left");
		return true;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		b->in_fds_n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(b->in_fds, CMSG_DATA(c), b->in_fds_n * sizeof(int));
	}
	b->in_len += (unsigned)n;
	memcpy(&h, b->in, sizeof(h));
	if (b->in_len >= sizeof(h) && b->in_len == sizeof(h) + h.size)
		handle(w);
	return true;
}

static bool write_some(struct world *w)
{
	struct wb *b = &w->b;
	unsigned part = allowed(w, &b->cut_out, b->out_len);
	char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec iov = { b->out, part };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *c = (struct cmsghdr *)control;

	if (!part) {
		w->cut_hit |= b->lives == 1;
		wb_die(w, "broken writing");
		return true;
	}
	if (b->out_fd >= 0) {
		m.msg_control = control;
		m.msg_controllen = sizeof(control);
		*c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(c), &b->out_fd, sizeof(int));
	}
	if (sendmsg(b->fd, &m, MSG_NOSIGNAL) != (ssize_t)part) {
		wb_die(w, "left");
		return true;
	}
	shut(&b->out_fd);
	memmove(b->out, b->out + part, b->out_len - part);
	b->out_len -= part;
	return true;
}

/* A question of its own, now and then; what comes back is thrown away. */
static void ask(struct world *w)
{
	struct vu_header h = { VU_BACKEND_CONFIG_CHANGE, VU_VERSION | VU_NEED_REPLY, 0 };
	uint8_t junk[64];

	while (recv(w->b.ask_fd, junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	w->b.requests += send(w->b.ask_fd, &h, sizeof(h), MSG_NOSIGNAL | MSG_DONTWAIT) > 0;
}

bool wb_talk(struct world *w)
{
	struct wb *b = &w->b;

	if (!b->listening && w->now_ms >= b->back_ms)
		open_door(w);
	if (b->fd < 0 && b->listening)
		adopt(w);
	if (b->fd < 0)
		return false;
	if (b->ask_fd >= 0 && world_chance(w, 10))
		ask(w);
	if (b->out_len)
		return write_some(w);
	return read_some(w);
}
