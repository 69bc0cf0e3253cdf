/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: libdpdk */
/* flow.c - builds, sends, receives and judges the frames of one queue pair. */
#include "tests/dpdk/flow.h"

#include <string.h>

#include <rte_byteorder.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_ether.h>
#include <rte_net_crc.h>

#define FLOW_ETHERTYPE 0x88b5	/* IEEE 802, local experimental */
#define FLOW_MAGIC     0x70636931

struct frame {
	struct rte_ether_hdr eth;
	uint16_t pad;
	uint32_t magic, run;
	uint16_t port, queue;
	uint32_t size;
	uint64_t seq;
};

static_assert(sizeof(struct frame) + sizeof(uint32_t) <= FLOW_SIZE_MIN, "header and CRC fit");

void flow_init(struct flow *f, uint16_t port, uint16_t queue, uint32_t run,
	       struct rte_mempool *pool)
{
	*f = (struct flow){ .port = port, .queue = queue, .run = run, .pool = pool,
			    .last_tsc = rte_rdtsc() };
}

static uint32_t crc(const uint8_t *frame, uint32_t size)
{
	return rte_net_crc_calc(frame, size - sizeof(uint32_t), RTE_NET_CRC32_ETH);
}

static void frame_build(const struct flow *f, uint8_t *to, uint32_t size, uint64_t seq)
{
	struct frame h = {
		.eth = { .dst_addr = { { 2, 0, 0, 0, 0, 1 } }, .src_addr = { { 2, 0, 0, 0, 0, 2 } },
			 .ether_type = rte_cpu_to_be_16(FLOW_ETHERTYPE) },
		.magic = FLOW_MAGIC, .run = f->run, .port = f->port, .queue = f->queue,
		.size = size, .seq = seq,
	};
	uint32_t sum;

	memcpy(to, &h, sizeof(h));
	memset(to + sizeof(h), (int)(seq * 151), size - sizeof(h) - sizeof(sum));
	sum = crc(to, size);
	memcpy(to + size - sizeof(sum), &sum, sizeof(sum));
}

/* A frame that does not fit one buffer goes as a chain. */
static bool mbuf_fill(const struct flow *f, struct rte_mbuf *m, uint32_t size, uint64_t seq)
{
	static uint8_t whole[FLOW_SIZE_MAX];
	struct rte_mbuf *seg = m;
	uint32_t at = 0;

	if (size <= rte_pktmbuf_tailroom(m)) {
		frame_build(f, (uint8_t *)rte_pktmbuf_append(m, size), size, seq);
		return true;
	}
	frame_build(f, whole, size, seq);
	while (at < size) {
		uint32_t n = RTE_MIN(size - at, rte_pktmbuf_tailroom(seg));

		memcpy(rte_pktmbuf_append(seg, n), whole + at, n);
		at += n;
		if (at == size)
			break;
		seg = rte_pktmbuf_alloc(f->pool);
		if (!seg || rte_pktmbuf_chain(m, seg) < 0) {
			rte_pktmbuf_free(seg);
			return false;
		}
	}
	return true;
}

uint64_t flow_outstanding(const struct flow *f)
{
	uint64_t back = f->received + f->forgiven;

	return f->sent > back ? f->sent - back : 0;
}

void flow_forgive(struct flow *f)
{
	f->forgiven += flow_outstanding(f);
	f->pardon = f->sent;
}

void flow_drop_pending(struct flow *f)
{
	rte_pktmbuf_free_bulk(f->pending, f->pendings);
	f->sent -= f->pendings;
	f->pendings = 0;
}

static void pending_fill(struct flow *f, uint32_t size, unsigned n)
{
	if (n == 0 || rte_pktmbuf_alloc_bulk(f->pool, f->pending, n) < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		if (!mbuf_fill(f, f->pending[i], size, f->sent + i)) {
			rte_pktmbuf_free_bulk(f->pending + i, n - i);
			n = i;
		}
	f->pendings = n;
	f->sent += n;
}

unsigned flow_send(struct flow *f, uint32_t size, unsigned window, uint64_t limit)
{
	uint64_t out = flow_outstanding(f);
	uint64_t room = out < window ? window - out : 0;
	unsigned n;

	if (f->pendings == 0 && room > 0 && f->sent < limit) {
		room = RTE_MIN(room, limit - f->sent);
		pending_fill(f, size, RTE_MIN(room, (uint64_t)FLOW_BURST));
	}
	if (f->pendings == 0)
		return 0;
	n = rte_eth_tx_burst(f->port, f->queue, f->pending, f->pendings);
	f->pendings -= n;
	memmove(f->pending, f->pending + n, f->pendings * sizeof(f->pending[0]));
	return n;
}

static void seen_mark(struct flow *f, uint64_t seq)
{
	f->seen[seq % FLOW_SEEN_BITS / 64] |= 1ull << (seq % 64);
}

static bool seen_test(const struct flow *f, uint64_t seq)
{
	return f->seen[seq % FLOW_SEEN_BITS / 64] >> (seq % 64) & 1;
}

/* Numbers skipped on the way to a later one are not seen, whatever the bitmap held before. */
static void seen_skip(struct flow *f, uint64_t from, uint64_t to)
{
	for (uint64_t s = from; s < to && s < from + FLOW_SEEN_BITS; s++)
		f->seen[s % FLOW_SEEN_BITS / 64] &= ~(1ull << (s % 64));
}

static void order_judge(struct flow *f, uint64_t seq)
{
	if (seq >= f->next) {
		seen_skip(f, f->next, seq);
		f->next = seq + 1;
	} else if (seq + FLOW_SEEN_BITS < f->next || seen_test(f, seq)) {
		f->duplicate++;
		return;
	} else {
		f->reordered++;
	}
	seen_mark(f, seq);
	f->received++;
	f->forgiven -= f->forgiven && seq < f->pardon;	/* late, but here */
	f->last_tsc = rte_rdtsc();
}

static void frame_judge(struct flow *f, const struct rte_mbuf *m)
{
	static uint8_t copy[FLOW_SIZE_MAX];
	uint32_t len = rte_pktmbuf_pkt_len(m), sum;
	const uint8_t *p;
	struct frame h;

	p = len <= sizeof(copy) ? rte_pktmbuf_read(m, 0, len, copy) : NULL;
	if (!p || len < FLOW_SIZE_MIN) {
		f->corrupt++;
		return;
	}
	memcpy(&h, p, sizeof(h));
	memcpy(&sum, p + len - sizeof(sum), sizeof(sum));
	if (h.magic != FLOW_MAGIC || h.size != len || sum != crc(p, len) || h.seq >= f->sent)
		f->corrupt++;
	else if (h.run != f->run || h.port != f->port || h.queue != f->queue)
		f->strangers++;
	else
		order_judge(f, h.seq);
}

unsigned flow_receive(struct flow *f)
{
	struct rte_mbuf *m[FLOW_BURST];
	unsigned n = rte_eth_rx_burst(f->port, f->queue, m, FLOW_BURST);

	for (unsigned i = 0; i < n; i++)
		frame_judge(f, m[i]);
	rte_pktmbuf_free_bulk(m, n);
	return n;
}
