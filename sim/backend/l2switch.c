// SPDX-License-Identifier: Apache-2.0
// l2switch.c - the decisions of l2switch.h, a burst at a time.
//
// One pass per burst: what is the same for neighbouring frames (source already checked,
// destination already looked up) is remembered from one frame to the next.
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "sim/backend/l2impl.h"

#define ETH_HLEN 14u
#define TAG_LEN 4u
#define TYPE_VLAN 0x8100		/* 802.1Q customer tag; the others are providers' */
#define TYPE_VLAN_S 0x88a8
#define TYPE_VLAN_OLD 0x9100
#define BROADCAST 0xffffffffffffull
#define NSEC 1000000000ull

struct pass {
	struct l2 *l;
	struct l2_port *p;
	const struct l2_conf *c;
	unsigned port;
	uint64_t now_ns;
	uint16_t tick;
	uint64_t src_key;		/* last one judged; 0: none yet */
	uint8_t  src_cause;
	uint64_t dst_key;		/* last one looked up */
	int      dst_target;
	/* The same for a whole flow: untagged frames from src_key to flow_key get this verdict. */
	bool     may_flow, flowing;
	uint32_t flow_len_max;
	uint64_t flow_head[2];		/* addresses and type */
	struct l2_verdict flow;
};
_Static_assert(sizeof(struct l2_verdict) == 16, "copied for every frame");

#define ADD(x, n) __atomic_store_n(&(x), (x) + (n), __ATOMIC_RELAXED)

static bool bucket_take(struct l2_bucket *b, const struct l2_rate *r, uint64_t n, uint64_t now_ns)
{
	uint64_t gained, passed;

	if (!b->last_ns) {
		b->tokens = r->burst;
		b->last_ns = now_ns ? now_ns : 1;
	}
	passed = now_ns > b->last_ns ? now_ns - b->last_ns : 0;
	if (passed > 100 * NSEC)
		passed = 100 * NSEC;
	gained = (uint64_t)((unsigned __int128)passed * r->rate / NSEC);
	if (gained) {
		/* The part of a token that time already earned is kept for the next call. */
		b->last_ns = now_ns - (uint64_t)((unsigned __int128)passed * r->rate % NSEC /
						 r->rate);
		b->tokens = gained > r->burst - b->tokens || b->tokens > r->burst ?
			    r->burst : b->tokens + gained;
	}
	if (b->tokens < n)
		return false;
	b->tokens -= n;
	return true;
}

static unsigned be16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static bool is_tag(unsigned type)
{
	return type == TYPE_VLAN || type == TYPE_VLAN_S || type == TYPE_VLAN_OLD;
}

/* Which VLAN the frame belongs to, and how it says so. */
static enum l2_cause read_tag(const struct pass *p, const struct l2_frame *f,
			      struct l2_verdict *v)
{
	unsigned type = be16(f->hdr + 12), vid;

	v->vlan = p->c->pvid;
	if (!is_tag(type))
		return L2_FORWARD;
	if (type != TYPE_VLAN) {	/* opaque to us; only trunks may carry it */
		v->nested = true;
		return p->c->flags & L2_TRUNK ? L2_FORWARD : L2_BAD_TAG;
	}
	if (f->len < ETH_HLEN + TAG_LEN)
		return L2_BAD_TAG;
	v->tagged = true;
	v->tci_in = (uint16_t)be16(f->hdr + 14);
	v->nested = is_tag(be16(f->hdr + 16));
	vid = v->tci_in & 0xfff;
	if (!vid)			/* a priority tag: as untagged */
		return L2_FORWARD;
	if (vid == L2_VLANS - 1 || !(p->c->flags & L2_TRUNK))
		return L2_BAD_TAG;
	v->vlan = (uint16_t)vid;
	return L2_FORWARD;
}

static bool fits(const struct l2_conf *c, const struct l2_frame *f, bool tagged)
{
	return !c->mtu || f->wire_len <= c->mtu + ETH_HLEN + (tagged ? TAG_LEN : 0);
}

static bool own_mac(const struct l2_conf *c, uint64_t mac)
{
	for (unsigned i = 0; i < c->nmacs; i++)
		if (c->macs[i] == mac)
			return true;
	return false;
}

static enum l2_cause learn(struct pass *p, uint64_t key)
{
	static const struct l2_rate moves = { L2_MOVES_RATE, L2_MOVES_BURST };
	struct l2fdb *t = p->l->fdb;
	int rc;

	rc = l2fdb_learn(t, key, (uint16_t)p->port, p->tick, p->c->learn_max, false);
	if (rc == -EBUSY && bucket_take(&p->p->moves, &moves, 1, p->now_ns))
		rc = l2fdb_learn(t, key, (uint16_t)p->port, p->tick, p->c->learn_max, true);
	if (rc == -EPERM)
		return L2_SPOOFED;
	if (rc == -EBUSY)
		ADD(p->p->count.moves_refused, 1);
	if (rc == -ENOSPC)
		ADD(p->p->count.learn_full, 1);
	return L2_FORWARD;
}

static enum l2_cause judge_source(struct pass *p, uint64_t mac, uint16_t vlan)
{
	bool fixed;
	int at;

	if ((mac & 1) || !mac)
		return L2_BAD_SOURCE;
	if ((p->c->flags & L2_CHECK_MAC) && !own_mac(p->c, mac))
		return L2_SPOOFED;
	if ((p->c->flags & L2_LEARN) && !(p->c->flags & L2_POOL))
		return learn(p, l2fdb_key(mac, vlan));
	at = l2fdb_find(p->l->fdb, l2fdb_key(mac, vlan), &fixed);
	return at >= 0 && at != (int)p->port && fixed ? L2_SPOOFED : L2_FORWARD;
}

static enum l2_cause ingress(struct pass *p, const struct l2_frame *f, struct l2_verdict *v)
{
	const struct l2_conf *c = p->c;
	enum l2_cause cause;
	uint64_t src, key;

	if (f->len < ETH_HLEN || f->wire_len > L2_LEN_MAX)
		return L2_RUNT;
	cause = read_tag(p, f, v);
	if (cause)
		return cause;
	if (!l2_conf_member(c, v->vlan) || (c->flags & L2_MIRROR))
		return L2_NOT_MEMBER;
	if (!fits(c, f, v->tagged))
		return L2_TOO_LONG;
	src = l2_mac48(f->hdr + 6);
	key = l2fdb_key(src, v->vlan);
	if (key != p->src_key || !key) {
		p->src_key = key;
		p->src_cause = (uint8_t)judge_source(p, src, v->vlan);
	}
	if (p->src_cause)
		return p->src_cause;
	/* 802.1Q 8.6.3: addresses a bridge keeps to itself. */
	if (l2_mac48(f->hdr) << 24 >> 24 == 0x0000c28001ull && f->hdr[5] < 0x10 &&
	    !(c->flags & L2_PASS_RESERVED))
		return L2_RESERVED;
	if (c->in_frames.rate && !bucket_take(&p->p->in_frames, &c->in_frames, 1, p->now_ns))
		return L2_RATE;
	if (c->in_bytes.rate && !bucket_take(&p->p->in_bytes, &c->in_bytes, f->len, p->now_ns))
		return L2_RATE;
	return L2_FORWARD;
}

/* How it must leave at a port with configuration c (802.1Q 8.6.4, 8.8.1). */
static enum l2_cause egress(const struct l2_conf *c, const struct l2_frame *f,
			    const struct l2_verdict *v, enum l2_edit *edit, uint16_t *tci)
{
	bool out_tagged = v->vlan != c->pvid, vid0 = v->tagged && !(v->tci_in & 0xfff);

	if (!l2_conf_member(c, v->vlan))
		return L2_NOT_MEMBER;
	if (!v->vlan && !(c->accept & (L2_ACCEPT_UNTAGGED | L2_ACCEPT_ALL)) &&
	    !(c->flags & L2_MIRROR))
		return L2_NOT_MEMBER;
	*edit = L2_KEEP;
	*tci = v->vlan;
	if (out_tagged && !v->tagged)
		*edit = L2_PUSH;
	else if (out_tagged && vid0)
		*edit = L2_SWAP;
	else if (!out_tagged && v->tagged && !(vid0 && !v->vlan && (c->flags & L2_TRUNK)))
		*edit = L2_POP;
	if (*edit == L2_SWAP)
		*tci |= v->tci_in & 0xf000;
	/* What lies behind a removed tag must not be read as one: no hopping between VLANs. */
	if (v->nested && (*edit == L2_POP || !(c->flags & L2_TRUNK)))
		return L2_BAD_TAG;
	return fits(c, f, v->tagged) ? L2_FORWARD : L2_TOO_LONG;
}

enum l2_cause l2_egress(const struct l2 *l, unsigned dst, const struct l2_frame *f,
			const struct l2_verdict *v, enum l2_edit *edit, uint16_t *tci)
{
	const struct l2_conf *c = l2_conf_of(l, dst);

	return c ? egress(c, f, v, edit, tci) : L2_NOBODY;
}

static enum l2_cause to_one(struct pass *p, unsigned dst, const struct l2_frame *f,
			    struct l2_verdict *v)
{
	const struct l2_conf *c = l2_conf_of(p->l, dst);
	enum l2_cause cause;
	enum l2_edit edit;

	if (!c)
		return L2_NOBODY;
	cause = egress(c, f, v, &edit, &v->tci);
	if (cause)
		return cause;
	v->edit = (uint8_t)edit;
	v->port = (uint16_t)dst;
	return L2_FORWARD;
}

/* Takes out the sender and whom it may not talk to; number left. */
static unsigned trim(const struct pass *p, struct l2_set *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < L2_SET_WORDS; i++) {
		if ((p->c->flags & L2_POOL) && !l2_loopback_get(p->l))
			s->w[i] &= ~l2_word(&p->l->class[L2_CLASS_POOL], i);
		if (p->c->flags & L2_ISOLATED)
			s->w[i] &= ~l2_word(&p->l->class[L2_CLASS_ISOLATED], i);
		if (i == p->port / 64)
			s->w[i] &= ~(1ull << (p->port % 64));
		n += (unsigned)__builtin_popcountll(s->w[i]);
	}
	return n;
}

/* Sends to a set: one member needs none, more cost tokens of the sender's share. */
static enum l2_cause to_many(struct pass *p, const struct l2_frame *f, struct l2_verdict *v,
			     struct l2_set *s)
{
	unsigned n = trim(p, s);

	if (!n)
		return L2_NOBODY;
	if (n == 1)
		return to_one(p, l2_set_next(s, 0), f, v);
	if (p->c->storm.rate && !bucket_take(&p->p->storm, &p->c->storm, n - 1, p->now_ns))
		return L2_STORM;
	ADD(p->p->count.copies, n - 1);
	v->copies = true;
	return L2_FORWARD;
}

static void flood_set(const struct l2 *l, enum l2_class class, uint16_t vlan, struct l2_set *s)
{
	for (unsigned i = 0; i < L2_SET_WORDS; i++)
		s->w[i] = l2_word(&l->member[vlan], i) &
			  (l2_word(&l->class[class], i) | l2_word(&l->class[L2_CLASS_ALL], i));
}

static enum l2_cause send_group(struct pass *p, const struct l2_frame *f, struct l2_verdict *v,
				struct l2_set *s)
{
	const struct l2_set *g = NULL;

	if (l2_mac48(f->hdr) == BROADCAST) {
		ADD(p->p->count.broadcast, 1);
		flood_set(p->l, L2_CLASS_BROADCAST, v->vlan, s);
		return to_many(p, f, v, s);
	}
	ADD(p->p->count.multicast, 1);
	flood_set(p->l, L2_CLASS_MULTICAST, v->vlan, s);
	if (p->dst_target >= 0)
		g = l2_group(p->l, (uint16_t)p->dst_target);
	for (unsigned i = 0; g && i < L2_SET_WORDS; i++)
		s->w[i] |= l2_word(g, i) & l2_word(&p->l->class[L2_CLASS_GROUPS], i) &
			   l2_word(&p->l->member[v->vlan], i);
	return to_many(p, f, v, s);
}

/* Unicast that nobody owns. What a pod sends always may leave by an uplink. */
static enum l2_cause send_unknown(struct pass *p, const struct l2_frame *f, struct l2_verdict *v,
				  struct l2_set *s)
{
	int policy = l2_unknown_get(p->l);
	bool up = p->c->flags & L2_UPLINK;

	ADD(p->p->count.flooded, 1);
	if (up && policy >= 0)
		return to_one(p, (unsigned)policy, f, v);
	if (up && policy == L2_UNKNOWN_DROP)
		return L2_UNKNOWN;
	flood_set(p->l, policy == L2_UNKNOWN_FLOOD ? L2_CLASS_UNKNOWN : L2_CLASS_UPLINK, v->vlan,
		  s);
	return to_many(p, f, v, s);
}

static enum l2_cause send_known(struct pass *p, unsigned dst, const struct l2_frame *f,
				struct l2_verdict *v, struct l2_set *s)
{
	const struct l2_conf *c = l2_conf_of(p->l, dst);
	uint32_t both = c ? c->flags & p->c->flags : 0;

	if (dst == p->port)
		return L2_HAIRPIN;
	if (both & L2_ISOLATED)
		return L2_NOBODY;
	if ((both & L2_POOL) && !l2_loopback_get(p->l)) {
		flood_set(p->l, L2_CLASS_UPLINK, v->vlan, s);
		return to_many(p, f, v, s);
	}
	return to_one(p, dst, f, v);
}

static bool anybody_listens(const struct l2 *l)
{
	uint64_t any = 0;

	for (unsigned i = 0; i < L2_SET_WORDS; i++)
		any |= l2_word(&l->class[L2_CLASS_ALL], i);
	return any;
}

/* Who listens to everything gets a copy beside the one destination. */
static void add_listeners(struct pass *p, struct l2_verdict *v, struct l2_set *s)
{
	if (v->copies || !anybody_listens(p->l))
		return;
	flood_set(p->l, L2_CLASS_ALL, v->vlan, s);
	s->w[v->port / 64] &= ~(1ull << (v->port % 64));
	v->copies = trim(p, s);
}

static enum l2_cause decide(struct pass *p, const struct l2_frame *f, struct l2_verdict *v,
			    struct l2_set *s)
{
	enum l2_cause cause = ingress(p, f, v);
	uint64_t key;

	if (cause)
		return cause;
	key = l2fdb_key(l2_mac48(f->hdr), v->vlan);
	if (key != p->dst_key || !key) {
		p->dst_key = key;
		p->dst_target = l2fdb_find(p->l->fdb, key, NULL);
	}
	if (f->hdr[0] & 1)
		cause = send_group(p, f, v, s);
	else if (p->dst_target < 0)
		cause = send_unknown(p, f, v, s);
	else
		cause = send_known(p, (unsigned)p->dst_target, f, v, s);
	if (!cause)
		add_listeners(p, v, s);
	return cause;
}

#define HEAD_MASK 0x0000ffffffffffffull	/* of its second half: 14 bytes count */

static void head_of(const struct l2_frame *f, uint64_t head[2])
{
	memcpy(head, f->hdr, 16);
	head[1] &= HEAD_MASK;
}

/* True if the frame is one more of the flow that was noted. */
static inline bool in_flow(const struct pass *p, const struct l2_frame *f)
{
	uint64_t head[2];

	memcpy(head, f->hdr, sizeof(head));
	return head[0] == p->flow_head[0] && (head[1] & HEAD_MASK) == p->flow_head[1] &&
	       f->wire_len <= p->flow_len_max;
}

/*
 * Remembers the verdict on an untagged unicast frame if it holds for the next one like it:
 * one destination that takes such frames as they are, no limits to count against, no listeners.
 */
static void note_flow(struct pass *p, const struct l2_frame *f, const struct l2_verdict *v)
{
	const struct l2_conf *c;

	p->flowing = false;
	if (!p->may_flow || v->copies || v->port == L2_NONE || v->tagged || v->nested ||
	    p->dst_target != v->port)
		return;
	c = l2_conf_of(p->l, v->port);
	if (!c || !c->plain || c->pvid != p->c->pvid)
		return;
	p->flow = *v;
	p->flow_len_max = c->len_max < p->c->len_max ? c->len_max : p->c->len_max;
	p->flowing = true;
	head_of(f, p->flow_head);
}

unsigned l2_burst(struct l2 *l, unsigned port, const struct l2_frame *f, unsigned n,
		  uint64_t now_ns, struct l2_verdict *v, struct l2_set *sets)
{
	struct pass p = {
		.l = l, .p = &l->port[port], .port = port, .now_ns = now_ns, .tick = l2_now(l),
	};
	unsigned kept = 0;
	uint64_t bytes = 0;

	assert(port < L2_PORTS_MAX && n <= L2_BURST_MAX);
	p.c = l2_conf_of(l, port);
	p.may_flow = p.c && p.c->plain && !p.c->rated && !anybody_listens(l);
	for (unsigned i = 0; i < n; i++) {
		bytes += f[i].len;
		if (p.flowing && in_flow(&p, &f[i])) {
			v[i] = p.flow;
			kept++;
			continue;
		}
		v[i] = (struct l2_verdict){ .port = L2_NONE };
		v[i].cause = (uint8_t)(p.c ? decide(&p, &f[i], &v[i], &sets[i]) : L2_NOBODY);
		if (!v[i].cause) {
			note_flow(&p, &f[i], &v[i]);
			kept++;
			continue;
		}
		p.flowing = false;
		v[i].port = L2_NONE;
		v[i].copies = false;
		ADD(p.p->count.cause[v[i].cause], 1);
	}
	ADD(p.p->count.frames, n);
	ADD(p.p->count.bytes, bytes);
	ADD(p.p->count.cause[L2_FORWARD], kept);
	return kept;
}

bool l2_shaped(const struct l2 *l, unsigned dst)
{
	const struct l2_conf *c = l2_conf_of(l, dst);

	return c && c->out_bytes.rate;
}

bool l2_out_take(struct l2 *l, unsigned dst, uint64_t bytes, uint64_t now_ns)
{
	const struct l2_conf *c = l2_conf_of(l, dst);
	struct l2_port *p = &l->port[dst];
	bool ok;

	if (!c || !c->out_bytes.rate)
		return true;
	while (__atomic_exchange_n(&p->out_lock, 1, __ATOMIC_ACQUIRE))
		__builtin_ia32_pause();
	ok = bucket_take(&p->out, &c->out_bytes, bytes, now_ns);
	__atomic_store_n(&p->out_lock, 0, __ATOMIC_RELEASE);
	return ok;
}
