// SPDX-License-Identifier: Apache-2.0
// driver.c - a driver of a modern virtio-net device, through the same door as any other.
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/world/world.h"

#define MEMORY   (1u << 20)
#define RING     32768u			/* bytes set aside for one */
#define BUF      256u
#define EXTRA    (WORLD_IOVA + 0x10000000ull)
#define EXTRA_PIECE 65536u

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

/* ---- registers ------------------------------------------------------------------------------ */

#define CC(field) offsetof(struct virtio_pci_common_cfg, field)

static void set(struct driver *d, uint64_t off, unsigned size, uint64_t val)
{
	ioapi_write(d->f, IOAPI_BAR4, off, size, val);
}

static uint64_t get(struct driver *d, uint64_t off, unsigned size)
{
	uint64_t val;

	ioapi_read(d->f, IOAPI_BAR4, off, size, &val);
	return val;
}

static uint64_t features(struct driver *d)
{
	uint64_t low;

	set(d, CC(device_feature_select), 4, 0);
	low = get(d, CC(device_feature), 4);
	set(d, CC(device_feature_select), 4, 1);
	return low | get(d, CC(device_feature), 4) << 32;
}

static void accept_features(struct driver *d, uint64_t bits)
{
	set(d, CC(guest_feature_select), 4, 0);
	set(d, CC(guest_feature), 4, bits & UINT32_MAX);
	set(d, CC(guest_feature_select), 4, 1);
	set(d, CC(guest_feature), 4, bits >> 32);
}

static void set_queue(struct driver *d, unsigned q, uint64_t iova)
{
	set(d, CC(queue_select), 2, q);
	set(d, CC(queue_size), 2, WORLD_NUM);
	set(d, CC(queue_desc_lo), 4, iova & UINT32_MAX);
	set(d, CC(queue_desc_hi), 4, iova >> 32);
	set(d, CC(queue_avail_lo), 4, (iova + 8192) & UINT32_MAX);
	set(d, CC(queue_avail_hi), 4, iova >> 32);
	set(d, CC(queue_used_lo), 4, (iova + 16384) & UINT32_MAX);
	set(d, CC(queue_used_hi), 4, iova >> 32);
	set(d, CC(queue_enable), 2, 1);
}

static void side_init(struct driver *d, struct ring_side *s, unsigned q)
{
	*s = (struct ring_side){ .va = d->mem + q * RING, .next_wrap = true, .seen_wrap = true };
	memset(s->va, 0, RING);
}

/* From reset to DRIVER_OK, or as far as the device lets us. */
static void bring_up(struct world *w)
{
	struct driver *d = &w->d;
	uint64_t want = BIT(VIRTIO_F_VERSION_1), offered;

	d->running = false;
	set(d, CC(device_status), 1, 0);
	side_init(d, &d->rx, 0);
	side_init(d, &d->tx, 1);
	set(d, CC(device_status), 1, 1);
	set(d, CC(device_status), 1, 3);
	offered = features(d);
	want |= offered & BIT(VIRTIO_F_RING_PACKED);
	accept_features(d, want);
	set(d, CC(device_status), 1, 11);
	if (!(get(d, CC(device_status), 1) & 8))
		return;
	d->packed = want & BIT(VIRTIO_F_RING_PACKED);
	set_queue(d, 0, WORLD_IOVA);
	set_queue(d, 1, WORLD_IOVA + RING);
	set(d, CC(device_status), 1, 15);
	d->running = get(d, CC(device_status), 1) == 15;
}

static void reset(struct world *w)
{
	world_note(w, "reset", w->d.sent, w->d.got);
	/* What was on its way may be lost with the rings; never what comes after. */
	w->d.lost_at_reset = w->d.sent;
	w->d.resets++;
	bring_up(w);
}

/* ---- rings ---------------------------------------------------------------------------------- */

static void add_packed(struct ring_side *s, uint16_t id, uint64_t addr, uint32_t len, bool write)
{
	struct vring_packed_desc *d = (void *)(s->va + 16u * s->next);
	unsigned flags = s->next_wrap ? AVAIL : USED;

	d->addr = addr;
	d->len = len;
	d->id = id;
	d->flags = (uint16_t)(flags | (write ? VRING_DESC_F_WRITE : 0));
	if (++s->next == WORLD_NUM) {
		s->next = 0;
		s->next_wrap = !s->next_wrap;
	}
}

static void add_split(struct ring_side *s, uint16_t id, uint64_t addr, uint32_t len, bool write)
{
	struct vring_desc *d = (void *)(s->va + 16u * id);
	uint16_t *avail = (void *)(s->va + 8192);

	*d = (struct vring_desc){ addr, len, write ? VRING_DESC_F_WRITE : 0, 0 };
	avail[2 + s->next % WORLD_NUM] = id;
	avail[1] = ++s->next;
}

/* Buffers go out in turn, so a free id is the oldest. */
static void add(struct driver *d, struct ring_side *s, uint16_t id, uint32_t len, bool write)
{
	uint64_t buf = WORLD_IOVA + 4 * RING + ((s == &d->tx) * WORLD_NUM + id) * BUF;

	s->busy[id] = true;
	s->out++;
	if (d->packed)
		add_packed(s, id, buf, len, write);
	else
		add_split(s, id, buf, len, write);
}

static bool used(struct driver *d, struct ring_side *s, uint16_t *id, uint32_t *len)
{
	if (d->packed) {
		struct vring_packed_desc *p = (void *)(s->va + 16u * s->seen);

		if (!(p->flags & AVAIL) != !s->seen_wrap || !(p->flags & USED) != !s->seen_wrap ||
		    !s->out)
			return false;
		*id = p->id;
		*len = p->len;
		if (++s->seen == WORLD_NUM) {
			s->seen = 0;
			s->seen_wrap = !s->seen_wrap;
		}
	} else {
		uint16_t *u = (void *)(s->va + 16384);
		uint32_t elem[2];

		if (u[1] == s->seen)
			return false;
		memcpy(elem, u + 2 + 4 * (s->seen % WORLD_NUM), sizeof(elem));
		s->seen++;
		*id = (uint16_t)elem[0];
		*len = elem[1];
	}
	return true;
}

static bool collect(struct world *w, struct ring_side *s, uint16_t *id, uint32_t *len)
{
	if (!used(&w->d, s, id, len))
		return false;
	if (*id >= WORLD_NUM || !s->busy[*id]) {
		world_wrong(w, "buffer %u of the %s ring came back twice", *id,
			    s == &w->d.tx ? "transmit" : "receive");
		return false;
	}
	s->busy[*id] = false;
	s->out--;
	return true;
}

static void receive(struct world *w, uint16_t id, uint32_t len)
{
	struct driver *d = &w->d;
	const uint8_t *p = d->mem + 4 * RING + id * BUF + WORLD_HDR;
	uint64_t number, expected = d->got + 1;

	if (len != WORLD_HDR + 64) {
		world_wrong(w, "a frame of %u bytes came after frame %llu", len,
			    (unsigned long long)d->got);
		return;
	}
	memcpy(&number, p, sizeof(number));
	if (number > expected && d->got < d->lost_at_reset && number <= d->lost_at_reset + 1)
		expected = number;
	if (number != expected)
		world_wrong(w, "frame %llu came after frame %llu", (unsigned long long)number,
			    (unsigned long long)d->got);
	for (unsigned i = sizeof(number); i < len - WORLD_HDR; i++)
		if (p[i] != (uint8_t)(number + i))
			world_wrong(w, "frame %llu is not as it was sent",
				    (unsigned long long)number);
	d->got = number;
	d->frames++;
	world_note(w, "frame", number, len);
}

bool driver_poll(struct world *w)
{
	struct driver *d = &w->d;
	bool moved = false;
	uint32_t len;
	uint16_t id;

	if (!d->running)
		return false;
	while (collect(w, &d->tx, &id, &len))
		moved = true;
	while (collect(w, &d->rx, &id, &len)) {
		receive(w, id, len);
		moved = true;
	}
	for (id = 0; id < WORLD_NUM - 1; id++) {
		if (d->rx.busy[id])
			continue;
		add(d, &d->rx, id, BUF, true);
		moved = true;
	}
	return moved;
}

static void send(struct world *w)
{
	struct driver *d = &w->d;
	uint32_t len = WORLD_HDR + 64;
	uint16_t id = (uint16_t)(d->sent % (WORLD_NUM - 1));
	uint8_t *p = d->mem + 4 * RING + (WORLD_NUM + id) * BUF;

	if (!d->running || d->tx.busy[id])
		return;
	d->sent++;
	memset(p, 0, WORLD_HDR);
	memcpy(p + WORLD_HDR, &d->sent, sizeof(d->sent));
	for (unsigned i = sizeof(d->sent); i < 64; i++)
		p[WORLD_HDR + i] = (uint8_t)(d->sent + i);
	add(d, &d->tx, id, len, false);
	world_note(w, "sent", d->sent, 0);
}

bool driver_idle(const struct world *w)
{
	const struct driver *d = &w->d;

	return d->running && !d->tx.out && d->rx.out == WORLD_NUM - 1 &&
	       (d->got == d->sent || (d->sent == d->lost_at_reset && d->got <= d->sent));
}

/* ---- other things drivers do ---------------------------------------------------------------- */

static void map_extra(struct world *w)
{
	struct driver *d = &w->d;
	uint64_t n, at = EXTRA + world_rand(w, 4) * EXTRA_PIECE;
	struct ioapi_dma piece = {
		.iova = at, .size = EXTRA_PIECE, .va = (void *)(uintptr_t)at, .fd = d->extra_fd,
		.off = at - EXTRA,
	};

	if (world_rand(w, 2))
		world_note(w, "map", at - EXTRA, ioapi_dma_map(d->domain, &piece, 1) == 0);
	else
		world_note(w, "unmap", at - EXTRA,
			   !ioapi_dma_unmap(d->domain, at, EXTRA_PIECE, &n) && n);
}

void driver_step(struct world *w, bool may_send)
{
	struct driver *d = &w->d;

	if (!d->running || (get(d, CC(device_status), 1) & 64)) {
		reset(w);
		return;
	}
	driver_poll(w);
	if (!may_send)
		return;
	switch (world_rand(w, 40)) {
	case 0:
		map_extra(w);
		break;
	case 1:
		if (world_chance(w, 100))
			reset(w);
		break;
	case 2:
		set(d, 0x1000 + 0x1000 * world_rand(w, 2), 2, 0);
		break;
	case 3:
		world_note(w, "link", get(d, 0x800 + offsetof(struct virtio_net_config, status),
					  2) & 1, 0);
		break;
	default:
		send(w);
		break;
	}
}

/* ---- life ----------------------------------------------------------------------------------- */

bool driver_up(struct world *w)
{
	struct driver *d = &w->d;
	struct ioapi_dma piece = { .iova = WORLD_IOVA, .size = MEMORY };

	d->memfd = memfd_create("world", MFD_CLOEXEC);
	d->extra_fd = memfd_create("extra", MFD_CLOEXEC);
	if (ftruncate(d->memfd, MEMORY) || ftruncate(d->extra_fd, 4 * EXTRA_PIECE))
		return false;
	d->mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, d->memfd, 0);
	piece.va = d->mem;
	piece.fd = d->memfd;
	d->f = ioapi_bus_func(d->bus, 0);
	if (!d->f || ioapi_open(d->f, NULL) || ioapi_domain_new(d->bus, &d->domain) ||
	    ioapi_attach(d->f, d->domain) || ioapi_dma_map(d->domain, &piece, 1))
		return false;
	bring_up(w);
	return true;
}

void driver_down(struct world *w)
{
	struct driver *d = &w->d;

	if (d->f)
		ioapi_close(d->f);
	ioapi_bus_close(d->bus);
	ioapi_domain_free(d->domain);
	if (d->mem)
		munmap(d->mem, MEMORY);
	close(d->memfd);
	close(d->extra_fd);
	d->bus = NULL;
	d->f = NULL;
	d->domain = NULL;
}
