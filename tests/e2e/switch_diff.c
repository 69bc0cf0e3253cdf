/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/*
 * switch_diff.c - our rings beside those of DPDK's vhost library, on the same bytes.
 *
 *	switch_diff SEED [SEEDS]
 *
 * Two memories of one layout get the same words from the same driver (drv.h): one is lent to
 * librte_vhost through a socket, the other is mapped by a vqueue. Each takes what the driver
 * transmits and gives it the same frames. What comes out must be the same: frames, used entries,
 * and every byte of the receive buffers. In the tame rounds the driver is right, whatever shape
 * its chains have; in the wild ones a word of a chain is wrong, one chain at a time, and both must
 * tell the same story of it, but for the rules that one of the two does not have.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <rte_eal.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_vhost.h>

#include "sim/backend/torn.h"
#include "sim/backend/vqueue.h"
#include "tests/peer.h"

#define BIT(n)	(1ull << (n))
#define MEM	(16u << 20)
#define AREA	(1u << 20)		/* of buffers, for each direction */
#define LEN_MAX	9000u
#define BURST	32u
#define ROUNDS	60u
#define RX 0
#define TX 1

static struct rte_mempool *pool;
static atomic_int device = -1;		/* librte_vhost's number of the session */
static char path[64];
static unsigned long compared_tx, compared_rx, compared_wild, stricter;

struct side {
	struct drv_mem *mem;
	struct drv_ring *ring[2];
};

/* Both, with the driver's view of each: side 0 is DPDK's, side 1 ours. */
static struct pair {
	uint32_t rng, seed;
	uint64_t features;
	bool packed, mergeable;
	unsigned hdr, num;
	struct peer peer;
	struct drv_mem mem;
	struct drv_ring ring[2];
	struct vmem vmem;
	struct vqueue q[2];
	struct batch *b;
	struct side side[2];
	uint64_t area[2];		/* offsets of the buffers */
	unsigned posted;		/* receive buffers, and so descriptors, still out */
	uint32_t next_rx;		/* where in the area the next one is */
} g;

#define FAIL(...) do { \
		fprintf(stderr, "seed %u, %s%s, %u descriptors: ", g.seed, \
			g.packed ? "packed" : "split", g.mergeable ? ", mergeable" : "", g.num); \
		fprintf(stderr, __VA_ARGS__); \
		fputc('\n', stderr); \
		exit(1); \
	} while (0)

static uint32_t dice(uint32_t sides)
{
	g.rng = g.rng * 1664525u + 1013904223u;
	return (g.rng >> 8) % sides;
}

/* ---- sessions ------------------------------------------------------------------------------- */

static int on_new(int vid)
{
	atomic_store(&device, vid);
	return 0;
}

static void on_gone(int vid)
{
	(void)vid;
	atomic_store(&device, -1);
}

static void wait_device(bool there)
{
	for (unsigned ms = 0; ms < 5000; ms++) {
		if ((atomic_load(&device) >= 0) == there)
			return;
		usleep(1000);
	}
	FAIL("librte_vhost %s", there ? "does not start the session" : "keeps the session");
}

static void start_theirs(uint32_t base)
{
	int rc;

	if (peer_new(&g.peer, MEM) < 0)
		FAIL("no memory");
	rc = peer_connect(&g.peer, path);
	if (rc < 0)
		FAIL("connect %s: %s", path, strerror(-rc));
	g.peer.features = g.features;
	peer_send(&g.peer, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	peer_send_u64(&g.peer, VU_SET_FEATURES, g.features);
	peer_send_memory(&g.peer);
	for (unsigned i = 0; i < 2; i++)
		peer_start_ring(&g.peer, i, (uint16_t)g.num, base);
	wait_device(true);
}

static void start_ours(uint32_t base)
{
	struct vmem_policy policy = { 0, false };

	if (drv_mem_new(&g.mem, MEM) < 0 ||
	    vmem_add(&g.vmem, &policy, DRV_GPA, DRV_UVA, MEM, 0, g.mem.fd) < 0)
		FAIL("no memory");
	for (unsigned i = 0; i < 2; i++) {
		struct vqueue_setup s = { .num = (uint16_t)g.num, .features = g.features,
					  .mem = &g.vmem };

		drv_ring_new(&g.ring[i], &g.mem, (uint16_t)g.num, g.packed, base);
		s.desc = vmem_at_uva(&g.vmem, drv_uva(g.ring[i].desc_off), 1);
		s.avail = vmem_at_uva(&g.vmem, drv_uva(g.ring[i].avail_off), 1);
		s.used = vmem_at_uva(&g.vmem, drv_uva(g.ring[i].used_off), 1);
		vqueue_init(&g.q[i], i == TX, false);
		if (vqueue_start(&g.q[i], &s, base) < 0)
			FAIL("our ring does not start");
	}
}

static void start(void)
{
	static const uint16_t nums[] = { 64, 256, 128, 100 };
	static const uint8_t optional[] = { VIRTIO_RING_F_EVENT_IDX, VIRTIO_NET_F_MRG_RXBUF };
	uint32_t base;

	g.packed = dice(2);
	g.num = nums[dice(g.packed ? 4 : 3)];
	g.features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_INDIRECT_DESC);
	for (unsigned i = 0; i < sizeof(optional); i++)
		g.features |= dice(2) ? BIT(optional[i]) : 0;
	g.features |= g.packed ? BIT(VIRTIO_F_RING_PACKED) : 0;
	g.mergeable = g.features >> VIRTIO_NET_F_MRG_RXBUF & 1;
	g.hdr = 12;
	base = g.packed ? 0x80008000 : 0;
	start_theirs(base);
	start_ours(base);
	g.side[0] = (struct side){ &g.peer.mem, { g.peer.ring[0], g.peer.ring[1] } };
	g.side[1] = (struct side){ &g.mem, { &g.ring[0], &g.ring[1] } };
	for (unsigned i = 0; i < 2; i++) {
		g.area[i] = drv_alloc(&g.peer.mem, AREA, 4096);
		if (drv_alloc(&g.mem, AREA, 4096) != g.area[i])
			FAIL("the memories are not laid out alike");
	}
	g.posted = g.next_rx = 0;
}

static void stop(void)
{
	peer_hang_up(&g.peer);
	wait_device(false);
	peer_free(&g.peer);
	memset(&g.peer, 0, sizeof(g.peer));
	for (unsigned i = 0; i < 2; i++)
		vqueue_stop(&g.q[i]);
	vmem_clear(&g.vmem);
	drv_mem_free(&g.mem);
}

/* ---- the driver, twice ---------------------------------------------------------------------- */

static void add(unsigned ring, const struct drv_buf *b, unsigned n, uint64_t table)
{
	for (unsigned s = 0; s < 2; s++) {
		if (table)
			drv_add_indirect(g.side[s].ring[ring], table, b, n);
		else
			drv_add(g.side[s].ring[ring], b, n);
	}
}

/*
 * The next completion must be the same on both sides; false: none on either. Of what was
 * transmitted on a packed ring DPDK does not write the length (0, as nothing was written).
 */
static bool used(unsigned ring, const char *what)
{
	uint16_t id[2] = { 0 };
	uint32_t len[2] = { 0 };
	bool is[2];

	for (unsigned s = 0; s < 2; s++)
		is[s] = drv_used(g.side[s].ring[ring], &id[s], &len[s]);
	if (is[0] != is[1])
		FAIL("%s: %s hands back a buffer more", what, is[0] ? "DPDK" : "our ring");
	if (ring == TX && g.packed)
		len[0] = 0;
	if (is[0] && (id[0] != id[1] || len[0] != len[1]))
		FAIL("%s: DPDK hands back %u with %u bytes, our ring %u with %u", what, id[0],
		     len[0], id[1], len[1]);
	return is[0];
}

static void fill(uint64_t off, uint32_t n)
{
	uint32_t seed = dice(1u << 24);

	memset(g.mem.host + off, 0, g.hdr);
	for (uint32_t i = g.hdr; i < n; i++)
		g.mem.host[off + i] = (uint8_t)(seed + i * 7 + (i >> 7));
	memcpy(g.peer.mem.host + off, g.mem.host + off, n);
}

static uint32_t some_length(void)
{
	switch (dice(6)) {
	case 0:  return 60 + dice(10);
	case 1:  return FRAME_MIN + dice(120);
	case 2:  return 1514 - dice(3);
	case 3:  return 2030 + dice(40);		/* around an mbuf's room */
	default: return FRAME_MIN + dice(dice(4) ? 2000 : LEN_MAX - FRAME_MIN);
	}
}

/* Cuts [off, off + n) into up to five pieces; the header may be cut once. */
static unsigned cut(struct drv_buf *b, uint64_t off, uint32_t n)
{
	unsigned pieces = dice(3) ? 1 : 1 + dice(5), k = 0;
	uint32_t first = dice(2) ? g.hdr : 1 + dice(n - 1);

	while (k + 1 < pieces && n > 1) {
		uint32_t len = k == 0 && first < n ? first : 1 + dice(n - 1);

		if (k == 1 && first < g.hdr && first + len < g.hdr)
			len = g.hdr - first;
		len = len < n ? len : n - 1;
		b[k++] = (struct drv_buf){ drv_gpa(off), len, false };
		off += len;
		n -= len;
	}
	b[k++] = (struct drv_buf){ drv_gpa(off), n, false };
	return k;
}

/* ---- transmit ------------------------------------------------------------------------------- */

struct taken {
	uint32_t len;
	uint8_t bytes[LEN_MAX + 100];
};

static unsigned take_theirs(struct taken *t, unsigned max)
{
	struct rte_mbuf *m[BURST];
	unsigned n = rte_vhost_dequeue_burst(atomic_load(&device), TX, pool, m,
					     (uint16_t)(max < BURST ? max : BURST));

	for (unsigned i = 0; i < n; i++) {
		const void *p;

		t[i].len = rte_pktmbuf_pkt_len(m[i]);
		if (t[i].len > sizeof(t[i].bytes))
			FAIL("DPDK took a frame of %u bytes", t[i].len);
		p = rte_pktmbuf_read(m[i], 0, t[i].len, t[i].bytes);
		if (p != t[i].bytes)
			memcpy(t[i].bytes, p, t[i].len);
		rte_pktmbuf_free(m[i]);
	}
	return n;
}

static unsigned take_ours(struct taken *t, unsigned max)
{
	unsigned n = vqueue_take(&g.q[TX], g.b, max < BURST ? max : BURST);

	for (unsigned i = 0; i < n; i++) {
		t[i].len = g.b->frame[i].len;
		if (t[i].len <= sizeof(t[i].bytes))
			frame_copy(t[i].bytes, &g.b->frame[i], 0, t[i].len);
	}
	g.q[TX].ops->release(&g.q[TX], g.b);
	return n;
}

static void compare(const struct taken *theirs, const struct taken *ours, const char *what)
{
	if (theirs->len != ours->len)
		FAIL("%s: DPDK took %u bytes, our ring %u", what, theirs->len, ours->len);
	if (memcmp(theirs->bytes, ours->bytes, ours->len))
		FAIL("%s: the frames of %u bytes differ", what, ours->len);
}

static void transmit_tame(void)
{
	static struct taken theirs[256], ours[256];
	unsigned chains = 0, left = g.num - 4, n[2] = { 0 }, back = 0;
	uint64_t off = g.area[TX];

	for (unsigned want = 1 + dice(60); chains < want && left > 5; chains++) {
		uint32_t len = g.hdr + some_length();
		struct drv_buf b[6];
		unsigned k;
		bool indirect = !dice(4);

		if (off + len + 128 > g.area[TX] + AREA)
			break;
		fill(off, len);
		k = cut(b, off, len);
		off = (off + len + 63) & ~63ull;
		add(TX, b, k, indirect ? off : 0);
		off += indirect ? 128 : 0;
		left -= indirect ? 1 : k;
	}
	for (unsigned tries = 0; tries < 20 && (n[0] < chains || n[1] < chains); tries++) {
		n[0] += take_theirs(theirs + n[0], chains - n[0]);
		n[1] += take_ours(ours + n[1], chains - n[1]);
	}
	if (n[0] != chains || n[1] != chains)
		FAIL("of %u chains DPDK took %u, our ring %u", chains, n[0], n[1]);
	for (unsigned i = 0; i < chains; i++)
		compare(&theirs[i], &ours[i], "transmit");
	while (used(TX, "transmit"))
		back++;
	if (back != chains)
		FAIL("of %u chains %u came back", chains, back);
	compared_tx += chains;
}

/* ---- receive -------------------------------------------------------------------------------- */

#define SLOT 4096u

static void post_some(unsigned want)
{
	for (; want && g.posted + 2 < g.num; want--) {
		uint64_t off = g.area[RX] + (uint64_t)(g.next_rx++ % (AREA / SLOT)) * SLOT;
		uint32_t len = g.mergeable ? (dice(3) ? 2048 : 100 + dice(2000)) :
					     (dice(3) ? 2048 : 1600 + dice(400));
		struct drv_buf b = { drv_gpa(off), len, true };

		memset(g.mem.host + off, 0xa5, SLOT);
		memset(g.peer.mem.host + off, 0xa5, SLOT);
		add(RX, &b, 1, 0);
		g.posted++;
	}
}

static unsigned give_theirs(uint8_t *const *bytes, const uint32_t *len, unsigned n)
{
	struct rte_mbuf *m[BURST];
	unsigned done;

	for (unsigned i = 0; i < n; i++) {
		uint32_t at = 0;

		m[i] = rte_pktmbuf_alloc(pool);
		while (m[i] && at < len[i]) {
			uint32_t part = len[i] - at < 1900 ? len[i] - at : 1900;
			struct rte_mbuf *s = at ? rte_pktmbuf_alloc(pool) : m[i];

			if (!s)
				FAIL("no mbufs");
			memcpy(rte_pktmbuf_append(s, (uint16_t)part), bytes[i] + at, part);
			if (at)
				rte_pktmbuf_chain(m[i], s);
			at += part;
		}
	}
	done = rte_vhost_enqueue_burst(atomic_load(&device), RX, m, (uint16_t)n);
	rte_pktmbuf_free_bulk(m, n);
	return done;
}

static unsigned give_ours(uint8_t *const *bytes, const uint32_t *len, unsigned n)
{
	static struct frame f[BURST];
	struct frame *list[BURST];

	for (unsigned i = 0; i < n; i++) {
		frame_of(&f[i], bytes[i], len[i]);
		list[i] = &f[i];
	}
	return vqueue_give(&g.q[RX], list, n);
}

/* Where nothing is merged the count of buffers is ours to say, and DPDK leaves it as it was. */
static void compare_buffers(void)
{
	uint8_t *theirs = g.peer.mem.host + g.area[RX], *ours = g.mem.host + g.area[RX];

	for (unsigned i = 0; !g.mergeable && i < AREA / SLOT; i++)
		memcpy(theirs + i * SLOT + 10, ours + i * SLOT + 10, 2);
	if (!memcmp(theirs, ours, AREA))
		return;
	for (uint32_t i = 0; i < AREA; i++)
		if (theirs[i] != ours[i])
			FAIL("receive: byte %u of buffer %u is %#x at DPDK, %#x here", i % SLOT,
			     i / SLOT, theirs[i], ours[i]);
}

/* One by one where a frame may find no room: a burst ends there for DPDK, and not for us. */
static void receive_tame(void)
{
	static uint8_t space[BURST][LEN_MAX];
	uint8_t *bytes[BURST];
	uint32_t len[BURST], need = 0;
	unsigned n = 1 + dice(BURST - 1), step;

	post_some(dice(g.num));
	for (unsigned i = 0; i < n; i++) {
		len[i] = g.mergeable ? some_length() : FRAME_MIN + dice(1600);
		need += 1 + len[i] / 88;
		bytes[i] = space[i];
		memset(space[i], (int)dice(256), len[i]);
		for (uint32_t k = 0; k < len[i]; k += 13)
			space[i][k] = (uint8_t)k;
	}
	step = g.mergeable && need <= g.posted ? n : 1;
	for (unsigned i = 0; i < n; i += step) {
		unsigned theirs = give_theirs(bytes + i, len + i, step);
		unsigned ours = give_ours(bytes + i, len + i, step);

		if (theirs != ours)
			FAIL("of %u frames from %u bytes on DPDK gave %u, our ring %u", step,
			     len[i], theirs, ours);
		compared_rx += ours;
	}
	while (used(RX, "receive"))
		g.posted--;
	compare_buffers();
}

/* ---- one wrong word ------------------------------------------------------------------------- */

/* Who refuses it: both or neither, only we, only they. */
enum mind { ALIKE, WE_MIND, THEY_MIND };

static const struct wild {
	const char *name;
	enum mind mind;
} wild[] = {
	{ "nothing", ALIKE },
	{ "an address outside memory", ALIKE },
	{ "a length of 4 GiB", ALIKE },
	{ "a length past the end of memory", ALIKE },
	{ "an address that wraps", ALIKE },
	{ "a chain that loops", ALIKE },
	{ "a successor outside the ring", ALIKE },
	{ "a piece of no length", ALIKE },
	{ "a frame that is all header", ALIKE },
	{ "a descriptor the device is to write", WE_MIND },
	{ "a frame shorter than its addresses", WE_MIND },
};

#define WILD (sizeof(wild) / sizeof(wild[0]))

static bool agree(enum mind m, unsigned theirs, unsigned ours)
{
	return m == WE_MIND ? theirs && !ours : m == THEY_MIND ? !theirs && ours : theirs == ours;
}

/* Changes the second of the three descriptors from slot `at` on, on both sides. */
static void spoil(unsigned kind, uint16_t at)
{
	for (unsigned s = 0; s < 2; s++) {
		struct drv_ring *r = g.side[s].ring[TX];
		uint16_t i = (uint16_t)((at + 1) % g.num);
		uint64_t *addr = g.packed ? &r->slot[i].addr : &r->entry[i].addr;
		uint32_t *len = g.packed ? &r->slot[i].len : &r->entry[i].len;
		uint16_t *flags = g.packed ? &r->slot[i].flags : &r->entry[i].flags;

		switch (kind) {
		case 1: *addr = DRV_GPA - 4096; break;
		case 2: *len = UINT32_MAX; break;
		case 3: *addr = DRV_GPA + MEM - 10; break;
		case 4: *addr = UINT64_MAX - 10; break;
		case 5: if (!g.packed)
				r->entry[(at + 2) % g.num].flags |= VRING_DESC_F_NEXT,
				r->entry[(at + 2) % g.num].next = at;
			break;
		case 6: if (!g.packed)
				r->entry[i].next = (uint16_t)(g.num + 5);
			break;
		case 7: *len = 0; break;
		case 9: *flags |= VRING_DESC_F_WRITE; break;
		}
	}
}

/* True if both sides are still of use. */
static bool transmit_wild(unsigned kind)
{
	static struct taken theirs, ours;
	uint32_t len = kind == 8 ? 0 : kind == 10 ? 1 + dice(13) : 100 + dice(400);
	uint32_t body = len > 1 ? len / 2 : len;
	struct drv_buf b[3] = {
		{ drv_gpa(g.area[TX]), g.hdr, false },
		{ drv_gpa(g.area[TX] + g.hdr), body, false },
		{ drv_gpa(g.area[TX] + g.hdr + body), len - body, false },
	};
	unsigned n[2];

	fill(g.area[TX], g.hdr + len);
	for (unsigned s = 0; s < 2; s++) {
		struct drv_ring *r = g.side[s].ring[TX];
		uint16_t at = g.packed ? r->next : r->head;

		drv_add(r, b, 3);
		if (s == 1)
			spoil(kind, at);
	}
	n[0] = take_theirs(&theirs, 1);
	n[1] = take_ours(&ours, 1);
	compared_wild++;
	if (n[0] == n[1] && n[0])
		compare(&theirs, &ours, wild[kind].name);
	if (!agree(wild[kind].mind, n[0], n[1]))
		FAIL("%s: DPDK takes %u, our ring %u", wild[kind].name, n[0], n[1]);
	stricter += n[0] > n[1];
	if (kind == 0 && !n[1])
		FAIL("a good chain was not taken");
	return n[0] && n[1];
}

/* A receive buffer with something wrong, and a frame for it. */
static const struct wild_buffer {
	const char *name;
	uint64_t gpa;			/* 0: the area's */
	uint32_t len;
	bool write;
	enum mind mind;
} wild_buffers[] = {
	{ "a good buffer", 0, 2048, true, ALIKE },
	{ "a buffer outside memory", DRV_GPA - 4096, 2048, true, ALIKE },
	{ "a buffer past the end of memory", DRV_GPA + MEM - 100, 2048, true, ALIKE },
	{ "a buffer whose address wraps", UINT64_MAX - 100, 2048, true, ALIKE },
	/* written up to what we need */
	{ "a buffer of 4 GiB", 0, UINT32_MAX, true, THEY_MIND },
	{ "a buffer with no room for a header", 0, 11, true, ALIKE },
	{ "a buffer of no length", 0, 0, true, ALIKE },
	{ "a buffer to be read", 0, 2048, false, WE_MIND },
};

static void receive_wild(const struct wild_buffer *w)
{
	struct drv_buf b = { w->gpa ? w->gpa : drv_gpa(g.area[RX]), w->len, w->write };
	static uint8_t frame[100];
	uint8_t *bytes = frame;
	uint32_t len = sizeof(frame);
	unsigned theirs, ours;

	add(RX, &b, 1, 0);
	theirs = give_theirs(&bytes, &len, 1);
	ours = give_ours(&bytes, &len, 1);
	compared_wild++;
	if (!agree(w->mind, theirs, ours))
		FAIL("%s: DPDK gives %u, our ring %u", w->name, theirs, ours);
	stricter += theirs > ours;
	if (theirs && ours)
		used(RX, w->name);
}

/* ---- all ------------------------------------------------------------------------------------ */

static void run_seed(uint32_t seed)
{
	g.seed = seed;
	g.rng = seed * 2654435761u + 1;
	start();
	for (unsigned i = 0; i < ROUNDS; i++) {
		transmit_tame();
		receive_tame();
	}
	for (unsigned kind = 0; kind < WILD; kind++) {
		if (g.packed && (kind == 5 || kind == 6))
			continue;	/* its chains have no links */
		if (transmit_wild(kind))
			continue;
		stop();
		start();
	}
	for (unsigned i = 0; i < sizeof(wild_buffers) / sizeof(wild_buffers[0]); i++) {
		stop();
		start();
		receive_wild(&wild_buffers[i]);
	}
	stop();
}

static int set_up(void)
{
	static const struct rte_vhost_device_ops ops = { .new_device = on_new,
							 .destroy_device = on_gone };
	static char words[][20] = { "switch_diff", "--no-huge", "-m", "128", "--no-pci",
				    "--no-shconf", "--no-telemetry",
				    "--log-level=1", "--lcores=0@0" };
	char *args[sizeof(words) / sizeof(words[0]) + 1] = { NULL };

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		args[i] = words[i];
	if (rte_eal_init(sizeof(words) / sizeof(words[0]), args) < 0)
		return -1;
	pool = rte_pktmbuf_pool_create("diff", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE,
				       SOCKET_ID_ANY);
	snprintf(path, sizeof(path), "/tmp/switch-diff-%d", (int)getpid());
	g.b = aligned_alloc(64, sizeof(*g.b));
	if (!pool || !g.b || torn_install() < 0 || rte_vhost_driver_register(path, 0) < 0 ||
	    rte_vhost_driver_callback_register(path, &ops) < 0)
		return -1;
	return rte_vhost_driver_start(path);
}

int main(int argc, char **argv)
{
	uint32_t first = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 0) : 1;
	uint32_t n = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 0) : 1;

	if (set_up() < 0) {
		fprintf(stderr, "EAL or librte_vhost do not start\n");
		return 2;
	}
	for (uint32_t i = 0; i < n; i++)
		run_seed(first + i);
	rte_vhost_driver_unregister(path);
	printf("%u seeds: %lu frames taken alike, %lu given alike; %lu wrong chains, "
	       "at %lu of them our ring is the stricter\n", n, compared_tx, compared_rx,
	       compared_wild, stricter);
	return 0;
}
