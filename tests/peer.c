// SPDX-License-Identifier: Apache-2.0
// peer.c - see peer.h.
#include <errno.h>
#include <linux/virtio_config.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/peer.h"

#define FDS_MAX 253		/* what the kernel passes at most */

int peer_new(struct peer *p, uint64_t mem_size)
{
	memset(p, 0, sizeof(*p));
	p->fd = -1;
	for (unsigned i = 0; i < PEER_RINGS; i++)
		p->kick[i] = p->call[i] = -1;
	return drv_mem_new(&p->mem, mem_size);
}

void peer_hang_up(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

void peer_free(struct peer *p)
{
	peer_hang_up(p);
	for (unsigned i = 0; i < PEER_RINGS; i++) {
		if (p->kick[i] >= 0)
			close(p->kick[i]);
		if (p->call[i] >= 0)
			close(p->call[i]);
		free(p->ring[i]);
	}
	drv_mem_free(&p->mem);
}

int peer_connect(struct peer *p, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	strncpy(a.sun_path, path, sizeof(a.sun_path) - 1);
	p->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return 0;
}

int peer_write(struct peer *p, const void *bytes, size_t n, const int *fds, unsigned nfds)
{
	union {
		char bytes[CMSG_SPACE(FDS_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { (void *)(uintptr_t)bytes, n };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (nfds) {
		memset(&control, 0, sizeof(control));
		h.msg_control = control.bytes;
		h.msg_controllen = CMSG_SPACE(nfds * sizeof(int));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, nfds * sizeof(int));
	}
	return sendmsg(p->fd, &h, MSG_NOSIGNAL) == (ssize_t)n ? 0 : -errno;
}

int peer_send(struct peer *p, uint32_t request, uint32_t flags, const void *payload,
	      uint32_t size, const int *fds, unsigned nfds)
{
	struct {
		struct vu_header h;
		uint8_t bytes[sizeof(union vu_payload)];
	} m = { .h = { request, flags, size } };

	if (size && payload)
		memcpy(m.bytes, payload, size < sizeof(m.bytes) ? size : sizeof(m.bytes));
	return peer_write(p, &m, sizeof(m.h) + (size < sizeof(m.bytes) ? size : sizeof(m.bytes)),
			  fds, nfds);
}

int peer_send_u64(struct peer *p, uint32_t request, uint64_t value)
{
	return peer_send(p, request, VU_VERSION, &value, sizeof(value), NULL, 0);
}

int peer_send_state(struct peer *p, uint32_t request, uint32_t index, uint32_t num)
{
	struct vu_state s = { index, num };

	return peer_send(p, request, VU_VERSION, &s, sizeof(s), NULL, 0);
}

int peer_send_fd(struct peer *p, uint32_t request, uint32_t index, int fd)
{
	uint64_t v = index | (fd < 0 ? VU_RING_NOFD : 0);

	return peer_send(p, request, VU_VERSION, &v, sizeof(v), &fd, fd >= 0);
}

int peer_recv(struct peer *p, struct vu_header *h, union vu_payload *payload, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec iov = { h, sizeof(*h) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes,
			    .msg_controllen = sizeof(control.bytes) };
	ssize_t n = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC);

	if (fd)
		*fd = -1;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	if (n != sizeof(*h))
		return n ? -EPROTO : -ENOTCONN;
	if (m.msg_controllen >= CMSG_LEN(sizeof(int))) {
		int got;

		memcpy(&got, CMSG_DATA(&control.align), sizeof(got));
		if (fd)
			*fd = got;
		else
			close(got);
	}
	if (h->size > sizeof(*payload))
		return -EPROTO;
	memset(payload, 0, sizeof(*payload));
	if (h->size && recv(p->fd, payload, h->size, 0) != (ssize_t)h->size)
		return -EPROTO;
	return 1;
}

int peer_send_memory(struct peer *p)
{
	struct vu_memory m = { .regions = 1 };

	m.region[0] = (struct vu_region){ DRV_GPA, p->mem.size, DRV_UVA, 0 };
	return peer_send(p, VU_SET_MEM_TABLE, VU_VERSION, &m, VU_MEMORY_SIZE(1), &p->mem.fd, 1);
}

static int eventfd_again(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return *fd;
}

int peer_start_ring(struct peer *p, unsigned index, uint16_t num, uint32_t base)
{
	bool packed = p->features >> VIRTIO_F_RING_PACKED & 1;
	struct drv_ring *r = p->ring[index];
	struct vu_addr a = { .index = index };
	int rc;

	if (!r)
		r = p->ring[index] = calloc(1, sizeof(*r));
	drv_ring_new(r, &p->mem, num, packed, base);
	a.desc = drv_uva(r->desc_off);
	a.avail = drv_uva(r->avail_off);
	a.used = drv_uva(r->used_off);
	eventfd_again(&p->kick[index]);
	eventfd_again(&p->call[index]);
	rc = peer_send_state(p, VU_SET_VRING_NUM, index, num);
	rc = rc ? rc : peer_send_state(p, VU_SET_VRING_BASE, index, base);
	rc = rc ? rc : peer_send(p, VU_SET_VRING_ADDR, VU_VERSION, &a, sizeof(a), NULL, 0);
	rc = rc ? rc : peer_send_fd(p, VU_SET_VRING_CALL, index, p->call[index]);
	rc = rc ? rc : peer_send_fd(p, VU_SET_VRING_KICK, index, p->kick[index]);
	if (p->features >> VU_F_PROTOCOL_FEATURES & 1)
		rc = rc ? rc : peer_send_state(p, VU_SET_VRING_ENABLE, index, 1);
	return rc;
}
