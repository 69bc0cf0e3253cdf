// SPDX-License-Identifier: Apache-2.0
// backend.c - a back-end that can die anywhere: between two bytes of a message, or two stores.
#include <fcntl.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/world/world.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)
#define BATCH 4
#define FRAME 256u

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
	for (unsigned i = 0; i < 4; i++) {
		shut(&b->ring[i].kick);
		shut(&b->ring[i].call);
		b->ring[i] = (struct wb_ring){ .kick = -1, .call = -1 };
	}
	for (unsigned i = 0; i < b->in_fds_n; i++)
		close(b->in_fds[i]);
	b->in_fds_n = b->in_len = b->out_len = 0;
	b->acked = 0;
	b->status = 0;
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

void wb_init(struct world *w)
{
	static const unsigned some[] = {
		VU_PROTOCOL_RARP, VU_PROTOCOL_REPLY_ACK, VU_PROTOCOL_BACKEND_REQ,
		VU_PROTOCOL_RESET_DEVICE, VU_PROTOCOL_CONFIGURE_MEM_SLOTS, VU_PROTOCOL_STATUS,
		VU_PROTOCOL_CONFIG, VU_PROTOCOL_INFLIGHT_SHMFD,
	};
	struct wb *b = &w->b;

	b->fd = b->listen_fd = b->ask_fd = b->inflight_fd = b->out_fd = -1;
	for (unsigned i = 0; i < 4; i++)
		b->ring[i].kick = b->ring[i].call = -1;
	b->features = BIT(VIRTIO_F_VERSION_1) | BIT(VU_F_PROTOCOL_FEATURES);
	b->features |= world_rand(w, 2) ? BIT(VIRTIO_F_RING_PACKED) : 0;
	for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		b->protocol |= world_rand(w, 4) ? BIT(some[i]) : 0;
	/* Who keeps a record finishes its own flushes; this one only pretends to keep one. */
	b->torn = world_rand(w, 2) && !(b->protocol & BIT(VU_PROTOCOL_INFLIGHT_SHMFD));
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

static uint8_t *at_user(struct wb *b, uint64_t uva, uint64_t len)
{
	for (unsigned i = 0; i < b->regions; i++)
		if (uva >= b->region[i].uva && uva - b->region[i].uva <= b->region[i].size &&
		    len <= b->region[i].size - (uva - b->region[i].uva))
			return b->region[i].host + (uva - b->region[i].uva);
	return NULL;
}

static uint8_t *at_guest(struct wb *b, uint64_t gpa, uint64_t len)
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
	for (unsigned k = 0; k < 4; k++)
		if (b->ring[k].started && !at_user(b, b->ring[k].desc, 1))
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

static void start_ring(struct world *w, struct wb_ring *r, int *fd)
{
	keep(&r->kick, fd);
	if (r->started)
		world_wrong(w, "a running ring is started");
	r->started = true;
	if (!r->num || !at_user(&w->b, r->desc, 16u * r->num) || !at_user(&w->b, r->used, 4))
		world_wrong(w, "a ring starts outside the memory");
}

static uint32_t serve_ring(struct world *w, struct vu_header *h, union vu_payload *p, int *fds)
{
	struct wb *b = &w->b;
	struct wb_ring *r = &b->ring[p->state.index % 4];
	bool packed = b->acked & BIT(VIRTIO_F_RING_PACKED);

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
		start_ring(w, &b->ring[p->u64 % 4], &fds[0]);
		return 0;
	case VU_SET_VRING_CALL:
		keep(&b->ring[p->u64 % 4].call, &fds[0]);
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
		p->inflight.size = 4096;
		if (ftruncate(b->out_fd, 4096))
			world_wrong(w, "no inflight file");
		return 24;
	case VU_SET_INFLIGHT_FD:
		keep(&b->inflight_fd, &fds[0]);
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

/* ---- frames --------------------------------------------------------------------------------- */

/* One store after another; between any two it may be the last. False: it was. */
static bool lives_on(struct world *w)
{
	w->b.steps++;
	if (!world_chance(w, 2))
		return true;
	wb_die(w, "killed");
	return false;
}

struct buf { uint16_t id; uint64_t addr; uint32_t len; uint64_t number; };

/* What the network has had is had for good. */
static void had(struct wb *b, const struct buf *buf)
{
	if (buf->number > b->delivered)
		b->delivered = buf->number;
}

static struct vring_packed_desc *slot(struct wb *b, const struct wb_ring *r, unsigned ahead,
				      bool *wrap)
{
	unsigned at = r->at + ahead;

	*wrap = at >= r->num ? !r->wrap : r->wrap;
	return (void *)at_user(b, r->desc + 16u * (at % r->num), 16);
}

/* The `ahead`-th buffer owed to the driver. */
static bool look(struct wb *b, const struct wb_ring *r, unsigned ahead, struct buf *buf)
{
	bool wrap;

	if (b->acked & BIT(VIRTIO_F_RING_PACKED)) {
		struct vring_packed_desc *d = slot(b, r, ahead, &wrap);

		if (ahead >= r->num || !(d->flags & AVAIL) != !wrap || !(d->flags & USED) == !wrap)
			return false;
		*buf = (struct buf){ .id = d->id, .addr = d->addr, .len = d->len };
		return true;
	} else {
		uint16_t *avail = (void *)at_user(b, r->avail, 4 + 2u * r->num);
		struct vring_desc *d = (void *)at_user(b, r->desc, 16u * r->num);

		if ((uint16_t)(avail[1] - r->at) <= ahead)
			return false;
		*buf = (struct buf){ .id = avail[2 + (uint16_t)(r->at + ahead) % r->num] };
		buf->addr = d[buf->id].addr;
		buf->len = d[buf->id].len;
		return true;
	}
}

static bool publish_split(struct world *w, struct wb_ring *r, const struct buf *buf, unsigned n,
			  uint32_t len)
{
	uint16_t *used = (void *)at_user(&w->b, r->used, 4 + 8u * r->num);

	for (unsigned i = 0; i < n; i++) {
		uint32_t elem[2] = { buf[i].id, len };

		memcpy(used + 2 + 4 * ((uint16_t)(r->at + i) % r->num), elem, sizeof(elem));
		if (!lives_on(w))
			return false;
	}
	r->at = (uint16_t)(r->at + n);
	used[1] = r->at;
	for (unsigned i = 0; i < n; i++)
		had(&w->b, &buf[i]);
	return lives_on(w);
}

static bool publish_packed(struct world *w, struct wb_ring *r, const struct buf *buf, unsigned n,
			   uint32_t len)
{
	struct vring_packed_desc *d;
	bool wrap;

	for (unsigned i = 0; i < n; i++) {
		d = slot(&w->b, r, i, &wrap);
		d->id = buf[i].id;
		if (len)	/* of what it only reads the driver's own stays, for a successor */
			d->len = len;
		if (!lives_on(w))
			return false;
	}
	for (unsigned k = 1; k <= n; k++) {	/* the first flag last */
		d = slot(&w->b, r, k % n, &wrap);
		d->flags = (uint16_t)((d->flags & ~(AVAIL | USED)) | (wrap ? AVAIL | USED : 0));
		/* With the first flag the head is as good as told: it can be mended. */
		had(&w->b, &buf[0]);
		had(&w->b, &buf[k % n]);
		if (!lives_on(w))
			return false;
	}
	r->wrap = r->at + n >= r->num ? !r->wrap : r->wrap;
	r->at = (uint16_t)((r->at + n) % r->num);
	return true;
}

static bool publish(struct world *w, struct wb_ring *r, const struct buf *buf, unsigned n,
		    uint32_t len)
{
	if (w->b.acked & BIT(VIRTIO_F_RING_PACKED))
		return publish_packed(w, r, buf, n, len);
	return publish_split(w, r, buf, n, len);
}

static uint64_t number_of(struct wb *b, const struct buf *buf)
{
	uint8_t *p = at_guest(b, buf->addr, buf->len);
	uint64_t number = 0;

	if (p)
		memcpy(&number, p + WORLD_HDR, sizeof(number));
	return number;
}

/* Up to BATCH frames: taken, delivered to whom has not had them, given back. */
static bool move(struct world *w)
{
	struct wb *b = &w->b;
	struct wb_ring *rx = &b->ring[0], *tx = &b->ring[1];
	unsigned most = b->torn ? 1 + (unsigned)world_rand(w, BATCH) : 1, n, to = 0;
	struct buf from[BATCH], into[BATCH];
	uint64_t last = b->delivered;

	for (n = 0; n < most && look(b, tx, n, &from[n]); n++) {
		uint64_t number = number_of(b, &from[n]);
		uint8_t *src, *dst;

		if (!number) {
			world_wrong(w, "a frame outside the memory");
			return false;
		}
		if (number <= last)
			continue;	/* the one before had delivered it */
		if (!look(b, rx, to, &into[to]))
			break;
		src = at_guest(b, from[n].addr, from[n].len);
		dst = at_guest(b, into[to].addr, FRAME);
		if (!src || !dst) {
			world_wrong(w, "a buffer outside the memory");
			return false;
		}
		memcpy(dst, src, from[n].len);
		last = into[to++].number = number;
		if (!lives_on(w))
			return false;
	}
	if (!n || (to && !publish(w, rx, into, to, from[0].len)))
		return false;
	return publish(w, tx, from, n, 0);
}

void wb_pump(struct world *w)
{
	struct wb *b = &w->b;

	for (unsigned i = 0; i < 16; i++) {
		if (b->fd < 0 || !b->ring[0].started || !b->ring[0].enabled ||
		    !b->ring[1].started || !b->ring[1].enabled || !move(w))
			return;
	}
}
