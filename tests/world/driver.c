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
#define BUF      256u			/* bytes of a buffer, and of its indirect table */
#define SMALL    48u			/* a frame takes two of these */
#define RING_MEM 4096u
#define BUFFERS  (9 * RING_MEM)		/* of ring q, buffer i: BUFFERS + (q * NUM + i) * BUF */
#define TABLES   (BUFFERS + WORLD_RINGS * WORLD_NUM * BUF)
#define CONTROL  (TABLES + WORLD_RINGS * WORLD_NUM * BUF)
#define EXTRA    (WORLD_IOVA + 0x10000000ull)
#define PIECE    65536u			/* WORLD_PAIRS * WORLD_NUM * BUF */
#define QUEUE_RESET 58u			/* virtio 1.2, 4.1.4.3 */
#define STATS_MAX 128
#define NET(field) (0x800 + offsetof(struct virtio_net_config, field))

_Static_assert(CONTROL + 4096 <= MEMORY, "all of it is lent");
_Static_assert(PIECE == WORLD_PAIRS * WORLD_NUM * BUF, "a buffer has its place in each piece");

/* ---- registers ------------------------------------------------------------------------------ */

#define CC(field) offsetof(struct virtio_pci_common_cfg, field)

void driver_set(struct driver *d, uint64_t off, unsigned size, uint64_t val)
{
	ioapi_write(d->f, IOAPI_BAR4, off, size, val);
}

static uint64_t get(struct driver *d, uint64_t off, unsigned size)
{
	uint64_t val;

	ioapi_read(d->f, IOAPI_BAR4, off, size, &val);
	return val;
}

static uint64_t offered(struct driver *d)
{
	uint64_t low;

	driver_set(d, CC(device_feature_select), 4, 0);
	low = get(d, CC(device_feature), 4);
	driver_set(d, CC(device_feature_select), 4, 1);
	return low | get(d, CC(device_feature), 4) << 32;
}

static void accept_features(struct driver *d, uint64_t bits)
{
	driver_set(d, CC(guest_feature_select), 4, 0);
	driver_set(d, CC(guest_feature), 4, bits & UINT32_MAX);
	driver_set(d, CC(guest_feature_select), 4, 1);
	driver_set(d, CC(guest_feature), 4, bits >> 32);
}

/*
 * Some of what is offered, the ring's layout always: it is the seed that chose it. Before a
 * back-end was seen more is offered than it may have; it would then be waited for in vain.
 */
static uint64_t choose(struct world *w, uint64_t have)
{
	static const unsigned some[] = {
		VIRTIO_RING_F_INDIRECT_DESC, VIRTIO_RING_F_EVENT_IDX, VIRTIO_F_IN_ORDER,
		VIRTIO_NET_F_MRG_RXBUF, VIRTIO_F_RING_RESET, VIRTIO_NET_F_CTRL_VQ,
		VIRTIO_NET_F_GUEST_CSUM,
	};
	const uint64_t beside_ctrl = BIT(VIRTIO_NET_F_MQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
				     BIT(VIRTIO_NET_F_CTRL_MAC_ADDR) |
				     BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS);
	uint64_t want;

	have &= w->b.features | BIT(VIRTIO_F_RING_RESET) | BIT(VIRTIO_NET_F_CTRL_VQ) |
		(beside_ctrl & ~BIT(VIRTIO_NET_F_MQ));
	want = BIT(VIRTIO_F_VERSION_1) | (have & BIT(VIRTIO_F_RING_PACKED));
	for (unsigned i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		want |= world_rand(w, 4) ? have & BIT(some[i]) : 0;
	if (want & BIT(VIRTIO_NET_F_CTRL_VQ))
		want |= have & beside_ctrl;
	return want;
}

static void set_queue(struct driver *d, unsigned q)
{
	uint64_t iova = WORLD_IOVA + q * RING_MEM;

	driver_set(d, CC(queue_select), 2, q);
	driver_set(d, CC(queue_size), 2, WORLD_NUM);
	driver_set(d, CC(queue_desc_lo), 4, iova & UINT32_MAX);
	driver_set(d, CC(queue_desc_hi), 4, iova >> 32);
	driver_set(d, CC(queue_avail_lo), 4, (iova + 1024) & UINT32_MAX);
	driver_set(d, CC(queue_avail_hi), 4, iova >> 32);
	driver_set(d, CC(queue_used_lo), 4, (iova + 2048) & UINT32_MAX);
	driver_set(d, CC(queue_used_hi), 4, iova >> 32);
	driver_set(d, CC(queue_enable), 2, 1);
}

/* What is on its way is perhaps lost. */
static void may_lose(struct flow *f)
{
	f->lost = f->sent;
}

static void set_queues(struct driver *d)
{
	for (unsigned i = 0; i < d->pairs; i++) {
		set_queue(d, 2 * i);
		set_queue(d, 2 * i + 1);
	}
	if (driver_has(d, VIRTIO_NET_F_CTRL_VQ))
		set_queue(d, 2 * d->pairs);
}

/* From reset to DRIVER_OK, or as far as the device lets us. */
static void bring_up(struct world *w)
{
	struct driver *d = &w->d;

	d->running = false;
	driver_set(d, CC(device_status), 1, 0);
	for (unsigned i = 0; i < WORLD_PAIRS; i++) {
		side_init(d, &d->rx[i], 2 * i);
		side_init(d, &d->tx[i], 2 * i + 1);
	}
	driver_set(d, CC(device_status), 1, 1);
	driver_set(d, CC(device_status), 1, 3);
	d->features = choose(w, offered(d));
	accept_features(d, d->features);
	driver_set(d, CC(device_status), 1, 11);
	if (!(get(d, CC(device_status), 1) & 8))
		return;
	d->packed = driver_has(d, VIRTIO_F_RING_PACKED);
	d->pairs = driver_has(d, VIRTIO_NET_F_MQ) ?
		   (unsigned)get(d, NET(max_virtqueue_pairs), 2) : 1;
	d->active = 1;
	d->rx_len = driver_has(d, VIRTIO_NET_F_MRG_RXBUF) && w->b.spans ? SMALL : BUF;
	if (d->pairs < 1 || d->pairs > WORLD_PAIRS) {
		world_wrong(w, "%u queue pairs", d->pairs);
		return;
	}
	side_init(d, &d->ctrl, 2 * d->pairs);
	set_queues(d);
	driver_set(d, CC(device_status), 1, 15);
	d->running = get(d, CC(device_status), 1) == 15;
}

static void reset(struct world *w)
{
	world_note(w, "reset", w->d.flow[0].sent, w->d.flow[0].got);
	/* What was on its way may be lost with the rings; never what comes after. */
	for (unsigned i = 0; i < WORLD_PAIRS; i++)
		may_lose(&w->d.flow[i]);
	w->d.resets++;
	wb_notice(w);
	bring_up(w);
}

/* What the device gave back unread, and says so, is lost: nothing else is. */
static void notice_given_back(struct world *w)
{
	struct ioapi_stat row[STATS_MAX];
	unsigned n = ioapi_stats(w->d.f, row, STATS_MAX);

	for (unsigned i = 0; i < n && i < STATS_MAX; i++) {
		if (strcmp(row[i].name, "ring_buffers_given_back") ||
		    row[i].value == w->d.given_back)
			continue;
		world_note(w, "given back", row[i].value - w->d.given_back, w->b.keeps);
		w->d.given_back = row[i].value;
		if (w->b.keeps)
			world_wrong(w, "buffers are given back beside a record");
		for (unsigned k = 0; k < WORLD_PAIRS; k++)
			may_lose(&w->d.flow[k]);
	}
}

/* ---- frames --------------------------------------------------------------------------------- */

static uint8_t *buffer(struct driver *d, const struct ring_side *s, uint16_t id, uint64_t *iova)
{
	uint64_t off = BUFFERS + (s->q * WORLD_NUM + id) * BUF;

	*iova = WORLD_IOVA + off;
	return d->mem + off;
}

static void judge(struct world *w, unsigned pair, const uint8_t *p)
{
	struct flow *f = &w->d.flow[pair];
	uint64_t number, expected = f->got + 1;

	memcpy(&number, p, sizeof(number));
	if (number > expected && f->got < f->lost && number <= f->lost + 1)
		expected = number;
	if (number != expected)
		world_wrong(w, "pair %u: frame %llu came after frame %llu", pair,
			    (unsigned long long)number, (unsigned long long)f->got);
	for (unsigned i = sizeof(number); i < WORLD_DATA; i++)
		if (p[i] != (uint8_t)(number + i))
			world_wrong(w, "frame %llu is not as it was sent",
				    (unsigned long long)number);
	f->got = number;
	w->d.frames++;
	world_note(w, "frame", number, pair);
}

/* One frame, from as many buffers as its header says. */
static bool receive(struct world *w, unsigned pair)
{
	struct ring_side *s = &w->d.rx[pair];
	uint8_t frame[WORLD_HDR + WORLD_DATA + BUF];
	uint16_t id, buffers = 1;
	uint32_t len, n = 0;
	uint64_t iova;

	for (uint16_t i = 0; i < buffers && n < WORLD_HDR + WORLD_DATA; i++) {
		if (!side_used(w, s, &id, &len)) {
			if (i)
				world_wrong(w, "buffer %u of a frame's %u is missing", i, buffers);
			return false;
		}
		if (len > w->d.rx_len) {
			world_wrong(w, "%u bytes in a buffer of %u", len, w->d.rx_len);
			return false;
		}
		memcpy(frame + n, buffer(&w->d, s, id, &iova), len);
		n += len;
		if (!i)
			memcpy(&buffers, frame + WORLD_HDR - sizeof(buffers), sizeof(buffers));
	}
	if (n != WORLD_HDR + WORLD_DATA || buffers > 2)
		world_wrong(w, "a frame of %u bytes in %u buffers came after frame %llu", n,
			    buffers, (unsigned long long)w->d.flow[pair].got);
	else
		judge(w, pair, frame + WORLD_HDR);
	return true;
}

static void refill(struct driver *d, struct ring_side *s)
{
	while (s->out < WORLD_NUM - 1) {
		struct out o = { .len = d->rx_len, .flags = VRING_DESC_F_WRITE };
		uint16_t id = side_next_id(d, s);

		if (s->busy[id])
			return;
		buffer(d, s, id, &o.addr);
		side_add(d, s, id, &o, 1);
	}
}

static void poll_pairs(struct world *w)
{
	struct driver *d = &w->d;

	for (unsigned i = 0; i < d->pairs && d->running; i++) {
		side_reap(w, &d->tx[i]);
		while (!w->wrong[0] && receive(w, i))
			;
		refill(d, &d->rx[i]);
	}
}

/* In memory that may go later, if some is there; it stays till the buffer is back. */
static uint8_t *place(struct world *w, struct ring_side *s, uint16_t id, uint64_t *iova)
{
	struct driver *d = &w->d;
	unsigned k = (unsigned)world_rand(w, 2 * WORLD_PIECES);
	uint64_t off = k * PIECE + (s->q / 2 * WORLD_NUM + id) * BUF;

	if (k >= WORLD_PIECES || !d->mapped[k])
		return buffer(d, s, id, iova);
	s->piece[id] = (uint8_t)(k + 1);
	d->piece_out[k]++;
	d->hot++;
	*iova = EXTRA + off;
	return d->extra + off;
}

/* The frame at o in pieces, as `n` descriptors. */
static void cut(struct world *w, struct out *o, unsigned n)
{
	uint32_t left = o[0].len;

	for (unsigned i = 0; i + 1 < n; i++) {
		o[i].len = 1 + (uint32_t)world_rand(w, left - (n - 1 - i));
		o[i + 1] = (struct out){ .addr = o[i].addr + o[i].len };
		left -= o[i].len;
	}
	o[n - 1].len = left;
}

/* A table of the pieces, and it alone is offered. */
static void into_table(struct driver *d, const struct ring_side *s, uint16_t id, struct out *o,
		       unsigned n)
{
	uint32_t at = TABLES + (s->q * WORLD_NUM + id) * BUF;
	struct vring_desc *t = (void *)(d->mem + at);

	for (unsigned i = 0; i < n; i++)
		t[i] = (struct vring_desc){ o[i].addr, o[i].len,
					    !d->packed && i + 1 < n ? VRING_DESC_F_NEXT : 0,
					    d->packed ? 0 : (uint16_t)(i + 1) };
	o[0] = (struct out){ WORLD_IOVA + at, n * (uint32_t)sizeof(*t), VRING_DESC_F_INDIRECT };
}

/* False: there is no room. */
static bool send(struct world *w, unsigned pair)
{
	struct driver *d = &w->d;
	struct ring_side *s = &d->tx[pair];
	unsigned n = 1;
	struct flow *f = &d->flow[pair];
	uint16_t id = side_next_id(d, s);
	struct out o[WORLD_CHAIN] = { { .len = WORLD_HDR + WORLD_DATA } };
	uint8_t *p;

	if (s->busy[id] || !s->free || w->now_ms < d->quiet_ms)
		return false;
	p = place(w, s, id, &o[0].addr);
	f->sent++;
	memset(p, 0, WORLD_HDR);
	memcpy(p + WORLD_HDR, &f->sent, sizeof(f->sent));
	for (unsigned i = sizeof(f->sent); i < WORLD_DATA; i++)
		p[WORLD_HDR + i] = (uint8_t)(f->sent + i);
	if (world_rand(w, 2) && s->free >= WORLD_CHAIN)
		cut(w, o, n = 2 + (unsigned)world_rand(w, WORLD_CHAIN - 1));
	if (n > 1 && driver_has(d, VIRTIO_RING_F_INDIRECT_DESC) && world_rand(w, 2)) {
		into_table(d, s, id, o, n);
		n = 1;
	}
	d->chains += n > 1;
	side_add(d, s, id, o, n);
	world_note(w, "sent", f->sent, pair);
	return true;
}

/* A ring that is full but for a few slots: the worst to have to tell where it stood. */
static void fill_up(struct world *w)
{
	unsigned pair = (unsigned)world_rand(w, w->d.active);
	unsigned leave = (unsigned)world_rand(w, WORLD_CHAIN + 1);

	while (w->d.tx[pair].free > leave && send(w, pair))
		;
	if (!world_chance(w, 500))
		return;
	wb_die(w, "killed beside a full ring");
	w->d.quiet_ms = w->now_ms + world_rand(w, 2000);	/* and it stays as it is */
}

static bool flow_done(const struct flow *f)
{
	return f->got == f->sent || (f->sent == f->lost && f->got <= f->sent);
}

bool driver_idle(const struct world *w)
{
	const struct driver *d = &w->d;

	if (!d->running || d->active != d->pairs)
		return false;
	for (unsigned i = 0; i < d->pairs; i++)
		if (d->tx[i].out || d->rx[i].out != WORLD_NUM - 1 || !flow_done(&d->flow[i]))
			return false;
	return true;
}

/* ---- commands ------------------------------------------------------------------------------- */

/* Answered by the time the notification returns, or the device is broken and says so. */
static int command(struct world *w, uint8_t class, uint8_t cmd, const void *payload, uint32_t len)
{
	struct driver *d = &w->d;
	uint8_t *p = d->mem + CONTROL, answer;
	const struct out o[3] = {
		{ WORLD_IOVA + CONTROL, 2, 0 },
		{ WORLD_IOVA + CONTROL + 16, len, 0 },
		{ WORLD_IOVA + CONTROL + 64, 1, VRING_DESC_F_WRITE },
	};
	uint32_t written;
	uint16_t id;

	p[0] = class;
	p[1] = cmd;
	memcpy(p + 16, payload, len);
	p[64] = 0xff;
	side_add(d, &d->ctrl, side_next_id(d, &d->ctrl), o, 3);
	if (!side_used(w, &d->ctrl, &id, &written)) {
		if (!(get(d, CC(device_status), 1) & 64))
			world_wrong(w, "command %u.%u is not answered", class, cmd);
		return -1;
	}
	answer = p[64];
	if (answer > VIRTIO_NET_ERR || written != 1)
		world_wrong(w, "command %u.%u is answered with %u", class, cmd, answer);
	d->commands++;
	world_note(w, "command", (uint64_t)class << 8 | cmd, answer);
	return answer;
}

static void set_pairs(struct world *w, uint16_t pairs)
{
	if (command(w, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs,
		    sizeof(pairs)) == VIRTIO_NET_OK)
		w->d.active = pairs;
}

static void any_command(struct world *w)
{
	struct driver *d = &w->d;
	uint8_t mac[6] = { 0x52, 0x54, 0, 0, 1, (uint8_t)world_rand(w, 256) }, on;
	uint64_t kind = world_rand(w, 5), offloads;

	if (!driver_has(d, VIRTIO_NET_F_CTRL_VQ))
		return;
	on = (uint8_t)world_rand(w, 2);
	offloads = on && driver_has(d, VIRTIO_NET_F_GUEST_CSUM) ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0;
	if (kind < 2 && driver_has(d, VIRTIO_NET_F_MQ))
		set_pairs(w, (uint16_t)(1 + world_rand(w, d->pairs)));
	else if (kind == 2 && driver_has(d, VIRTIO_NET_F_CTRL_MAC_ADDR))
		command(w, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, mac, sizeof(mac));
	else if (kind == 3 && driver_has(d, VIRTIO_NET_F_CTRL_GUEST_OFFLOADS))
		command(w, VIRTIO_NET_CTRL_GUEST_OFFLOADS, VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET,
			&offloads, sizeof(offloads));	/* rings stop and go on */
	else if (driver_has(d, VIRTIO_NET_F_CTRL_RX))
		command(w, VIRTIO_NET_CTRL_RX, on ? VIRTIO_NET_CTRL_RX_PROMISC :
			VIRTIO_NET_CTRL_RX_ALLMULTI, &on, 1);
}

/* ---- other things drivers do ---------------------------------------------------------------- */

/* One ring stops, is empty, and starts anew; what was in it may be lost. */
static void reset_ring(struct world *w)
{
	struct driver *d = &w->d;
	unsigned q = (unsigned)world_rand(w, 2 * d->pairs);

	/* Where a record is kept nothing tells a ring that begins anew from one that goes on. */
	if (!driver_has(d, VIRTIO_F_RING_RESET) || w->b.keeps)
		return;
	world_note(w, "reset ring", q, 0);
	wb_notice(w);
	driver_set(d, CC(queue_select), 2, q);
	driver_set(d, QUEUE_RESET, 2, 1);
	if (get(d, QUEUE_RESET, 2))
		world_wrong(w, "ring %u does not come out of its reset", q);
	may_lose(&d->flow[q / 2]);
	side_init(d, q % 2 ? &d->tx[q / 2] : &d->rx[q / 2], q);
	set_queue(d, q);
	d->ring_resets++;
}

/* A piece goes only when the device has no buffer in it. */
static void map_extra(struct world *w)
{
	struct driver *d = &w->d;
	unsigned k = (unsigned)world_rand(w, WORLD_PIECES);
	uint64_t n, at = EXTRA + k * PIECE;
	struct ioapi_dma piece = {
		.iova = at, .size = PIECE, .va = d->extra + k * PIECE, .fd = d->extra_fd,
		.off = k * PIECE,
	};
	bool done;

	if (world_rand(w, 2)) {
		done = ioapi_dma_map(d->domain, &piece, 1) == 0;
		d->mapped[k] |= done;
		world_note(w, "map", k, done);
	} else if (!d->piece_out[k]) {
		done = !ioapi_dma_unmap(d->domain, at, PIECE, &n) && n;
		d->mapped[k] &= !done;
		world_note(w, "unmap", k, done);
	}
}

void driver_step(struct world *w, bool may_send)
{
	struct driver *d = &w->d;

	notice_given_back(w);
	if (!d->running || (get(d, CC(device_status), 1) & 64)) {
		/* Rings here are as they ought to be: only a back-end's word can stop them. */
		if (d->running && d->refusals == w->b.refusals)
			world_wrong(w, "the device asks for a reset though nobody refused it");
		d->refusals = w->b.refusals;
		reset(w);
		return;
	}
	poll_pairs(w);
	if (!may_send) {
		if (d->active != d->pairs)
			set_pairs(w, (uint16_t)d->pairs);
		return;
	}
	switch (world_rand(w, 40)) {
	case 0:
		map_extra(w);
		break;
	case 1:
		if (world_chance(w, 100))
			reset(w);
		else if (world_chance(w, 200))
			reset_ring(w);
		break;
	case 2:
		driver_set(d, 0x1000 + 0x1000 * world_rand(w, 2 * d->pairs), 2, 0);
		break;
	case 3:
		world_note(w, "link", get(d, NET(status), 2) & 1, 0);
		break;
	case 4:
		if (world_rand(w, 2))
			any_command(w);
		break;
	case 5:
		fill_up(w);
		break;
	default:
		send(w, (unsigned)world_rand(w, d->active));
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
	if (ftruncate(d->memfd, MEMORY) || ftruncate(d->extra_fd, WORLD_PIECES * PIECE))
		return false;
	d->mem = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, d->memfd, 0);
	d->extra = mmap(NULL, WORLD_PIECES * PIECE, PROT_READ | PROT_WRITE, MAP_SHARED,
			d->extra_fd, 0);
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
	if (d->extra)
		munmap(d->extra, WORLD_PIECES * PIECE);
	close(d->memfd);
	close(d->extra_fd);
	d->bus = NULL;
	d->f = NULL;
	d->domain = NULL;
}
