// SPDX-License-Identifier: Apache-2.0
// backend_l2.c - the switch's decisions, rule by rule and against a naive model.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/l2switch.h"
#include "tests/unit/cu.h"

#define SEC 1000000000ull

struct rig {
	struct l2 *l;
	uint64_t now;
};

static struct l2_conf *conf(uint32_t flags)
{
	struct l2_conf *c = malloc(sizeof(*c));

	l2_conf_init(c);
	c->flags |= flags;
	return c;
}

static void port_is(struct rig *r, unsigned port, struct l2_conf *c)
{
	const char *why;

	CU_ASSERT_EQUAL(l2_conf_check(c, &why), 0);
	free(l2_port_set(r->l, port, c));
}

static struct l2_conf *access_conf(uint16_t vlan)
{
	struct l2_conf *c = conf(0);

	c->flags &= ~(uint32_t)L2_TRUNK;
	memset(c->vlans, 0, sizeof(c->vlans));
	l2_conf_vlan(c, vlan, true);
	c->pvid = vlan;
	return c;
}

static struct rig rig_new(unsigned ports)
{
	struct l2_opts o = { .seed = { 0x1234, 0x5678 } };
	struct rig r = { .now = SEC };

	CU_ASSERT_EQUAL_FATAL(l2_new(&r.l, &o), 0);
	for (unsigned i = 0; i < ports; i++)
		port_is(&r, i, conf(0));
	return r;
}

/* Station n's address; group(n) a multicast one. */
static void mac_of(uint8_t mac[6], unsigned n)
{
	memcpy(mac, (uint8_t[]){ 0x02, 0, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n },
	       6);
}

struct eth {
	uint8_t  b[L2_HDR_LEN];
	uint32_t len;
};

static struct eth eth(unsigned dst, unsigned src)
{
	struct eth e = { .len = 64 };

	mac_of(e.b, dst);
	mac_of(e.b + 6, src);
	e.b[12] = 0x08;
	return e;
}

static struct eth broadcast(unsigned src)
{
	struct eth e = eth(0, src);

	memset(e.b, 0xff, 6);
	return e;
}

static struct eth tagged(struct eth e, unsigned type, unsigned tci)
{
	memmove(e.b + 16, e.b + 12, L2_HDR_LEN - 16);
	e.b[12] = (uint8_t)(type >> 8);
	e.b[13] = (uint8_t)type;
	e.b[14] = (uint8_t)(tci >> 8);
	e.b[15] = (uint8_t)tci;
	e.len += 4;
	return e;
}

struct fate {
	struct l2_verdict v;
	struct l2_set set;
	struct l2_frame f;
	struct eth e;
};

/* Everybody who gets the frame, as a set. */
static void send_frame(struct rig *r, unsigned port, struct eth e, struct fate *x)
{
	memset(x, 0, sizeof(*x));
	x->e = e;
	x->f = (struct l2_frame){ .hdr = x->e.b, .len = e.len, .wire_len = e.len };
	l2_burst(r->l, port, &x->f, 1, r->now, &x->v, &x->set);
	if (!x->v.copies)
		memset(&x->set, 0, sizeof(x->set));
	if (x->v.port != L2_NONE)
		x->set.w[x->v.port / 64] |= 1ull << (x->v.port % 64);
	for (unsigned p = 0; p < L2_PORTS_MAX; p++) {
		enum l2_edit edit;
		uint16_t tci;

		if (l2_set_has(&x->set, p) && l2_egress(r->l, p, &x->f, &x->v, &edit, &tci))
			x->set.w[p / 64] &= ~(1ull << (p % 64));
	}
}

static uint64_t sent(struct rig *r, unsigned port, struct eth e)
{
	struct fate x;

	send_frame(r, port, e, &x);
	return x.set.w[0];
}

static enum l2_cause cause(struct rig *r, unsigned port, struct eth e)
{
	struct fate x;

	send_frame(r, port, e, &x);
	return x.v.cause;
}

static void an_unknown_address_is_flooded_and_a_learned_one_is_not(void)
{
	struct rig r = rig_new(4);

	CU_ASSERT_EQUAL(sent(&r, 0, eth(2, 1)), 0xe);
	CU_ASSERT_EQUAL(sent(&r, 2, eth(1, 2)), 1 << 0);
	CU_ASSERT_EQUAL(sent(&r, 0, eth(2, 1)), 1 << 2);
	l2_free(r.l);
}

static void a_frame_never_returns_to_its_sender(void)
{
	struct rig r = rig_new(3);

	sent(&r, 1, eth(9, 5));
	CU_ASSERT_EQUAL(cause(&r, 1, eth(5, 6)), L2_HAIRPIN);
	CU_ASSERT_EQUAL(sent(&r, 1, broadcast(5)), 0x5);
	l2_free(r.l);
}

static void malformed_frames_are_named(void)
{
	struct rig r = rig_new(2);
	struct eth e = eth(2, 1);
	static const uint8_t stp[6] = { 0x01, 0x80, 0xc2, 0, 0, 0x0e };

	e.len = 13;
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_RUNT);
	e = eth(2, 1);
	e.b[6] |= 1;
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_BAD_SOURCE);
	e = eth(2, 1);
	memset(e.b + 6, 0, 6);
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_BAD_SOURCE);
	e = eth(2, 1);
	memcpy(e.b, stp, 6);
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_RESERVED);
	CU_ASSERT_EQUAL(cause(&r, 0, tagged(eth(2, 1), 0x8100, 4095)), L2_BAD_TAG);
	e = tagged(eth(2, 1), 0x8100, 5);
	e.len = 17;
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_BAD_TAG);
	port_is(&r, 0, conf(L2_PASS_RESERVED));
	e = eth(2, 1);
	memcpy(e.b, stp, 6);
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_FORWARD);
	l2_free(r.l);
}

static void access_ports_of_two_vlans_do_not_meet(void)
{
	struct rig r = rig_new(0);

	for (unsigned i = 0; i < 4; i++)
		port_is(&r, i, access_conf(i < 2 ? 10 : 20));
	CU_ASSERT_EQUAL(sent(&r, 0, broadcast(1)), 1 << 1);
	CU_ASSERT_EQUAL(sent(&r, 2, broadcast(3)), 1 << 3);
	sent(&r, 2, eth(9, 3));
	CU_ASSERT_EQUAL(sent(&r, 0, eth(3, 1)), 1 << 1);	/* known in 20, unknown in 10 */
	CU_ASSERT_EQUAL(cause(&r, 0, tagged(eth(3, 1), 0x8100, 20)), L2_BAD_TAG);
	CU_ASSERT_EQUAL(cause(&r, 0, tagged(eth(3, 1), 0x8100, 10)), L2_BAD_TAG);
	CU_ASSERT_EQUAL(cause(&r, 0, tagged(eth(3, 1), 0x88a8, 20)), L2_BAD_TAG);
	l2_free(r.l);
}

static void tags_are_pushed_and_popped_between_access_and_trunk(void)
{
	struct rig r = rig_new(0);
	struct l2_conf *trunk = conf(0);
	struct fate x;

	port_is(&r, 0, access_conf(10));
	port_is(&r, 1, trunk);
	send_frame(&r, 0, eth(2, 1), &x);
	CU_ASSERT_EQUAL(x.v.port, 1);
	CU_ASSERT_EQUAL(x.v.edit, L2_PUSH);
	CU_ASSERT_EQUAL(x.v.tci, 10);
	send_frame(&r, 1, tagged(eth(1, 2), 0x8100, 0x600a), &x);
	CU_ASSERT_EQUAL(x.v.port, 0);
	CU_ASSERT_EQUAL(x.v.edit, L2_POP);
	send_frame(&r, 1, tagged(eth(1, 2), 0x8100, 11), &x);
	CU_ASSERT_EQUAL(x.v.cause, L2_NOBODY);
	/* a priority tag is no VLAN tag */
	send_frame(&r, 0, tagged(eth(2, 1), 0x8100, 0x6000), &x);
	CU_ASSERT_EQUAL(x.v.port, 1);
	CU_ASSERT_EQUAL(x.v.edit, L2_SWAP);
	CU_ASSERT_EQUAL(x.v.tci, 0x600a);
	l2_free(r.l);
}

static void a_second_tag_opens_no_other_vlan(void)
{
	struct rig r = rig_new(0);
	struct l2_conf *native = conf(0);
	struct eth twice = tagged(tagged(eth(2, 1), 0x8100, 20), 0x8100, 10);

	native->pvid = 10;		/* 10 leaves untagged there: 20 would be laid bare */
	port_is(&r, 0, conf(0));
	port_is(&r, 1, native);
	CU_ASSERT_EQUAL(cause(&r, 0, twice), L2_BAD_TAG);
	port_is(&r, 1, access_conf(10));
	CU_ASSERT_EQUAL(cause(&r, 0, twice), L2_BAD_TAG);
	port_is(&r, 1, conf(0));	/* all tagged: nothing is stripped */
	CU_ASSERT_EQUAL(cause(&r, 0, twice), L2_FORWARD);
	l2_free(r.l);
}

static void foreign_addresses_are_not_accepted(void)
{
	struct rig r = rig_new(3);
	struct l2_conf *c = conf(L2_CHECK_MAC);
	uint8_t mac[6];

	mac_of(mac, 1);
	memcpy(&c->macs[0], mac, 6);
	c->nmacs = 1;
	port_is(&r, 0, c);
	CU_ASSERT_EQUAL(cause(&r, 0, eth(2, 1)), L2_FORWARD);
	CU_ASSERT_EQUAL(cause(&r, 0, eth(2, 3)), L2_SPOOFED);
	mac_of(mac, 7);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 1, mac, 0), 0);
	CU_ASSERT_EQUAL(cause(&r, 2, eth(2, 7)), L2_SPOOFED);	/* 7 lives at port 1 */
	CU_ASSERT_EQUAL(sent(&r, 2, eth(7, 2)), 1 << 1);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 2, mac, 0), -EEXIST);
	l2_free(r.l);
}

static void the_mtu_holds_on_both_sides_and_for_segments(void)
{
	struct rig r = rig_new(2);
	struct l2_conf *small = conf(0);
	struct eth e = eth(2, 1);
	struct fate x = { .e = e };

	small->mtu = 1500;
	port_is(&r, 1, small);
	e.len = 1514;
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_FORWARD);
	e.len = 1515;
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_TOO_LONG);
	CU_ASSERT_EQUAL(cause(&r, 1, e), L2_TOO_LONG);
	e = tagged(eth(2, 1), 0x8100, 5);
	e.len = 1518;
	CU_ASSERT_EQUAL(cause(&r, 0, e), L2_FORWARD);
	x.f = (struct l2_frame){ .hdr = x.e.b, .len = 60000, .wire_len = 1514 };
	l2_burst(r.l, 0, &x.f, 1, r.now, &x.v, &x.set);
	CU_ASSERT_EQUAL(x.v.cause, L2_FORWARD);
	l2_free(r.l);
}

static void a_rate_lets_its_share_through_and_no_more(void)
{
	struct rig r = rig_new(2);
	struct l2_conf *c = conf(0);
	unsigned passed = 0;

	c->in_frames = (struct l2_rate){ 1000, 10 };
	port_is(&r, 0, c);
	for (unsigned us = 0; us < 1000000; us += 100) {	/* 10,000 frames in a second */
		r.now = SEC + us * 1000ull;
		passed += cause(&r, 0, eth(2, 1)) == L2_FORWARD;
	}
	CU_ASSERT(passed >= 1005 && passed <= 1011);
	l2_free(r.l);
}

static void what_leaves_for_a_port_is_shaped_by_bytes(void)
{
	struct rig r = rig_new(2);
	struct l2_conf *c = conf(0);
	uint64_t passed = 0;

	CU_ASSERT_FALSE(l2_shaped(r.l, 1));
	c->out_bytes = (struct l2_rate){ 1000000, 3000 };
	port_is(&r, 1, c);
	CU_ASSERT_TRUE(l2_shaped(r.l, 1));
	for (unsigned i = 0; i < 10000; i++)
		passed += l2_out_take(r.l, 1, 1500, SEC + i * 100000ull) ? 1500 : 0;
	CU_ASSERT(passed >= 1000000 && passed <= 1003000);
	l2_free(r.l);
}

static void replication_is_bounded_but_single_copies_are_not(void)
{
	struct rig r = rig_new(64);
	struct l2_conf *c = conf(0);
	unsigned passed = 0;

	c->storm = (struct l2_rate){ 6200, 620 };
	port_is(&r, 0, c);
	for (unsigned i = 0; i < 10000; i++) {
		r.now = SEC + i * 100000ull;
		passed += cause(&r, 0, broadcast(1)) == L2_FORWARD;
	}
	CU_ASSERT(passed >= 100 && passed <= 111);	/* 62 copies beyond the first each */
	for (unsigned i = 2; i < 64; i++)
		free(l2_port_set(r.l, i, NULL));
	for (unsigned i = 0; i < 1000; i++)
		CU_ASSERT_EQUAL_FATAL(cause(&r, 0, broadcast(1)), L2_FORWARD);
	l2_free(r.l);
}

static void addresses_age_unless_they_are_static(void)
{
	struct rig r = rig_new(3);
	uint8_t mac[6];

	mac_of(mac, 9);
	l2_mac_add(r.l, 2, mac, 0);
	sent(&r, 0, eth(50, 1));
	for (unsigned t = 1; t <= 300; t++)
		l2_tick(r.l, (uint16_t)t);
	CU_ASSERT_EQUAL(sent(&r, 1, eth(1, 2)), 1 << 0);
	for (unsigned t = 301; t <= 340; t++)
		l2_tick(r.l, (uint16_t)t);
	CU_ASSERT_EQUAL(sent(&r, 1, eth(1, 2)), 0x5);
	CU_ASSERT_EQUAL(sent(&r, 1, eth(9, 2)), 1 << 2);
	l2_free(r.l);
}

static void a_flood_of_sources_costs_a_port_only_its_own_share(void)
{
	struct rig r = rig_new(3);
	struct l2_conf *c = conf(0);
	struct l2_counters count;

	c->learn_max = 100;
	port_is(&r, 0, c);
	for (unsigned i = 0; i < 100000; i++)
		sent(&r, 0, eth(1, 1000 + i));
	CU_ASSERT_EQUAL(l2fdb_count_of(l2_fdb(r.l), 0), 100);
	l2_counters(r.l, 0, &count);
	CU_ASSERT_EQUAL(count.learn_full, 100000 - 100);
	sent(&r, 1, eth(1, 500));
	CU_ASSERT_EQUAL(sent(&r, 2, eth(500, 1)), 1 << 1);
	l2_free(r.l);
}

static void moves_are_allowed_but_not_a_flap_without_end(void)
{
	struct rig r = rig_new(3);
	struct l2_counters count;

	for (unsigned i = 0; i < 1000; i++)
		sent(&r, i & 1, eth(99, 7));
	l2_counters(r.l, 1, &count);	/* the first to have moved is the first to be out */
	CU_ASSERT(count.moves_refused > 200 && count.moves_refused < 500);
	r.now += 10 * SEC;
	sent(&r, 2, eth(99, 7));
	CU_ASSERT_EQUAL(sent(&r, 0, eth(7, 8)), 1 << 2);
	l2_free(r.l);
}

/* Two pools, one uplink (port 0). */
static struct rig pools(unsigned n)
{
	struct rig r = rig_new(0);
	uint8_t mac[6];

	port_is(&r, 0, conf(L2_UPLINK));
	l2_unknown(r.l, L2_UNKNOWN_DROP);
	for (unsigned i = 1; i <= n; i++) {
		struct l2_conf *c = conf(L2_POOL | L2_CHECK_MAC);

		mac_of(mac, i);
		memcpy(&c->macs[0], mac, 6);
		c->nmacs = 1;
		port_is(&r, i, c);
		CU_ASSERT_EQUAL(l2_mac_add(r.l, i, mac, 0), 0);
	}
	return r;
}

static void pools_are_sorted_by_address_and_vlan(void)
{
	struct rig r = pools(3);
	uint8_t mac[6];

	mac_of(mac, 1);			/* the same address on VLANs 0, 100 and 4094 */
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 2, mac, 100), 0);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 3, mac, 4094), 0);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 3, mac, 4095), -EINVAL);
	CU_ASSERT_EQUAL(sent(&r, 0, eth(1, 90)), 1 << 1);
	CU_ASSERT_EQUAL(sent(&r, 0, tagged(eth(1, 90), 0x8100, 100)), 1 << 2);
	CU_ASSERT_EQUAL(sent(&r, 0, tagged(eth(1, 90), 0x8100, 0xe000 | 100)), 1 << 2);
	CU_ASSERT_EQUAL(sent(&r, 0, tagged(eth(1, 90), 0x8100, 4094)), 1 << 3);
	CU_ASSERT_EQUAL(cause(&r, 0, tagged(eth(1, 90), 0x8100, 101)), L2_UNKNOWN);
	l2_free(r.l);
}

static void what_no_pool_owns_goes_to_the_default_pool_or_nowhere(void)
{
	struct rig r = pools(2);

	CU_ASSERT_EQUAL(cause(&r, 0, eth(77, 90)), L2_UNKNOWN);
	l2_unknown(r.l, 2);
	CU_ASSERT_EQUAL(sent(&r, 0, eth(77, 90)), 1 << 2);
	CU_ASSERT_EQUAL(sent(&r, 1, eth(77, 1)), 1 << 0);	/* a pool's go to the wire */
	free(l2_port_set(r.l, 2, NULL));
	CU_ASSERT_EQUAL(cause(&r, 0, eth(77, 90)), L2_UNKNOWN);
	l2_free(r.l);
}

static void loopback_decides_whether_pools_meet_inside(void)
{
	struct rig r = pools(3);

	CU_ASSERT_EQUAL(sent(&r, 1, eth(2, 1)), 1 << 2);
	CU_ASSERT_EQUAL(sent(&r, 1, broadcast(1)), 0xd);
	l2_loopback(r.l, false);
	CU_ASSERT_EQUAL(sent(&r, 1, eth(2, 1)), 1 << 0);
	CU_ASSERT_EQUAL(sent(&r, 1, broadcast(1)), 1 << 0);
	CU_ASSERT_EQUAL(sent(&r, 0, broadcast(90)), 0xe);
	l2_free(r.l);
}

static void accept_modes_are_each_pools_own(void)
{
	static const uint8_t group[6] = { 0x01, 0, 0x5e, 1, 2, 3 };
	struct rig r = pools(4);
	struct eth m = eth(0, 90);

	memcpy(m.b, group, 6);
	for (unsigned i = 1; i <= 4; i++) {
		static const uint8_t accept[] = {
			0, L2_ACCEPT_UNTAGGED | L2_ACCEPT_BROADCAST,
			L2_ACCEPT_UNTAGGED | L2_ACCEPT_MULTICAST,
			L2_ACCEPT_UNTAGGED | L2_ACCEPT_GROUPS, L2_ACCEPT_BROADCAST,
		};
		struct l2_conf *c = conf(L2_POOL);

		c->accept = accept[i];
		port_is(&r, i, c);
	}
	CU_ASSERT_EQUAL(sent(&r, 0, broadcast(90)), 1 << 1);
	CU_ASSERT_EQUAL(sent(&r, 0, tagged(broadcast(90), 0x8100, 5)), 1 << 1 | 1 << 4);
	CU_ASSERT_EQUAL(sent(&r, 0, m), 1 << 2);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 3, group, 0), 0);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 1, group, 0), 0);	/* joined, but does not accept */
	CU_ASSERT_EQUAL(sent(&r, 0, m), 1 << 2 | 1 << 3);
	CU_ASSERT_EQUAL(l2_mac_del(r.l, 3, group, 0), 0);
	CU_ASSERT_EQUAL(l2_mac_del(r.l, 3, group, 0), -ENOENT);
	CU_ASSERT_EQUAL(sent(&r, 0, m), 1 << 2);
	l2_free(r.l);
}

static void a_mirror_sees_everything_once_and_says_nothing(void)
{
	struct rig r = rig_new(3);
	struct fate x;

	port_is(&r, 3, conf(L2_MIRROR));
	sent(&r, 1, eth(9, 2));
	CU_ASSERT_EQUAL(sent(&r, 0, eth(2, 1)), 1 << 1 | 1 << 3);
	send_frame(&r, 0, eth(2, 1), &x);
	CU_ASSERT_EQUAL(x.v.port, 1);
	CU_ASSERT_EQUAL(sent(&r, 0, broadcast(1)), 0xe);
	CU_ASSERT_EQUAL(cause(&r, 3, eth(2, 4)), L2_NOT_MEMBER);
	l2_free(r.l);
}

static void isolated_ports_reach_the_uplink_only(void)
{
	struct rig r = rig_new(1);

	port_is(&r, 1, conf(L2_ISOLATED));
	port_is(&r, 2, conf(L2_ISOLATED));
	CU_ASSERT_EQUAL(sent(&r, 1, broadcast(1)), 1 << 0);
	sent(&r, 2, broadcast(2));
	CU_ASSERT_EQUAL(cause(&r, 1, eth(2, 1)), L2_NOBODY);
	CU_ASSERT_EQUAL(sent(&r, 0, broadcast(9)), 0x6);
	l2_free(r.l);
}

static void a_removed_port_leaves_nothing_behind(void)
{
	struct rig r = rig_new(3);
	static const uint8_t group[6] = { 0x01, 0, 0x5e, 1, 2, 3 };
	uint8_t mac[6];

	mac_of(mac, 9);
	l2_mac_add(r.l, 2, mac, 0);
	l2_mac_add(r.l, 2, group, 0);
	sent(&r, 2, eth(1, 5));
	free(l2_port_set(r.l, 2, NULL));
	CU_ASSERT_EQUAL(l2fdb_count(l2_fdb(r.l)), 0);
	CU_ASSERT_EQUAL(sent(&r, 0, eth(5, 1)), 1 << 1);
	CU_ASSERT_EQUAL(cause(&r, 2, eth(5, 1)), L2_NOBODY);
	CU_ASSERT_EQUAL(l2_mac_add(r.l, 2, mac, 0), -ENOENT);
	l2_free(r.l);
}

/* ---- against a model ----------------------------------------------------------------------- */

#define MODEL_PORTS 8
#define MODEL_STATIONS 24
#define MODEL_VLANS 4

struct model {
	struct { bool there, trunk, isolated; uint16_t pvid; bool member[MODEL_VLANS]; }
		port[MODEL_PORTS];
	int at[MODEL_STATIONS][MODEL_VLANS];		/* -1: unknown */
};

static uint64_t rng_state = 88172645463325252ull;

static unsigned rnd(unsigned n)
{
	rng_state ^= rng_state << 13;
	rng_state ^= rng_state >> 7;
	rng_state ^= rng_state << 17;
	return (unsigned)(rng_state >> 20) % n;
}

static void model_port(struct rig *r, struct model *m, unsigned p)
{
	struct l2_conf *c = conf(0);

	for (unsigned s = 0; s < MODEL_STATIONS; s++)
		for (unsigned v = 0; v < MODEL_VLANS; v++)
			if (m->at[s][v] == (int)p)
				m->at[s][v] = -1;
	free(l2_port_set(r->l, p, NULL));
	m->port[p].there = rnd(8) != 0;
	if (!m->port[p].there) {
		free(c);
		return;
	}
	m->port[p].trunk = rnd(2);
	m->port[p].isolated = rnd(4) == 0;
	m->port[p].pvid = (uint16_t)rnd(MODEL_VLANS);
	memset(c->vlans, 0, sizeof(c->vlans));
	for (unsigned v = 0; v < MODEL_VLANS; v++) {
		m->port[p].member[v] = m->port[p].trunk ? rnd(2) : v == m->port[p].pvid;
		l2_conf_vlan(c, v, m->port[p].member[v]);
	}
	c->pvid = m->port[p].pvid;
	c->storm.rate = 0;
	if (!m->port[p].trunk)
		c->flags &= ~(uint32_t)L2_TRUNK;
	if (m->port[p].isolated)
		c->flags |= L2_ISOLATED;
	port_is(r, p, c);
}

static uint64_t model_send(struct model *m, unsigned p, int dst, unsigned src, unsigned tag)
{
	unsigned v = tag ? tag : m->port[p].pvid;
	uint64_t set = 0;

	if (!m->port[p].there || (tag && !m->port[p].trunk) || !m->port[p].member[v])
		return 0;
	m->at[src][v] = (int)p;
	for (unsigned q = 0; q < MODEL_PORTS; q++) {
		if (q == p || !m->port[q].there || !m->port[q].member[v])
			continue;
		if (m->port[p].isolated && m->port[q].isolated)
			continue;
		if (dst >= 0 && m->at[dst][v] >= 0 && m->at[dst][v] != (int)q)
			continue;
		set |= 1ull << q;
	}
	return set;
}

static void decisions_agree_with_a_naive_model(void)
{
	struct rig r = rig_new(0);
	struct model m;
	unsigned wrong = 0;

	memset(&m, 0, sizeof(m));
	for (unsigned s = 0; s < MODEL_STATIONS; s++)
		for (unsigned v = 0; v < MODEL_VLANS; v++)
			m.at[s][v] = -1;
	for (unsigned p = 0; p < MODEL_PORTS; p++)
		model_port(&r, &m, p);
	for (unsigned i = 0; i < 200000 && !wrong; i++) {
		unsigned p = rnd(MODEL_PORTS), src = rnd(MODEL_STATIONS), tag = rnd(MODEL_VLANS);
		int dst = rnd(8) ? (int)rnd(MODEL_STATIONS) : -1;
		struct eth e = dst < 0 ? broadcast(src + 1) : eth((unsigned)dst + 1, src + 1);
		uint64_t got, want;

		if (rnd(500) == 0)
			model_port(&r, &m, rnd(MODEL_PORTS));
		if (tag)
			e = tagged(e, 0x8100, tag | rnd(8) << 13);
		r.now += SEC;		/* no limit on moves here */
		want = model_send(&m, p, dst, src, tag);
		got = sent(&r, p, e);
		wrong += got != want;
		if (got != want)
			printf("# step %u: port %u tag %u: %#llx, model %#llx\n", i, p, tag,
			       (unsigned long long)got, (unsigned long long)want);
	}
	CU_ASSERT_EQUAL(wrong, 0);
	l2_free(r.l);
}

CU_MAIN("backend/l2",
	T(an_unknown_address_is_flooded_and_a_learned_one_is_not),
	T(a_frame_never_returns_to_its_sender),
	TC("C-OF-03, C-SW-05, C-SW-08", malformed_frames_are_named),
	TC("C-SW-09", access_ports_of_two_vlans_do_not_meet),
	T(tags_are_pushed_and_popped_between_access_and_trunk),
	TC("C-SW-09", a_second_tag_opens_no_other_vlan),
	TC("C-SW-03", foreign_addresses_are_not_accepted),
	TC("C-SW-12, A-NC-05", the_mtu_holds_on_both_sides_and_for_segments),
	T(a_rate_lets_its_share_through_and_no_more),
	T(what_leaves_for_a_port_is_shaped_by_bytes),
	TC("C-SW-06", replication_is_bounded_but_single_copies_are_not),
	T(addresses_age_unless_they_are_static),
	TC("C-SW-01", a_flood_of_sources_costs_a_port_only_its_own_share),
	TC("C-SW-04", moves_are_allowed_but_not_a_flap_without_end),
	TC("A-CV-10", pools_are_sorted_by_address_and_vlan),
	T(what_no_pool_owns_goes_to_the_default_pool_or_nowhere),
	T(loopback_decides_whether_pools_meet_inside),
	TC("A-CV-04,05", accept_modes_are_each_pools_own),
	T(a_mirror_sees_everything_once_and_says_nothing),
	T(isolated_ports_reach_the_uplink_only),
	T(a_removed_port_leaves_nothing_behind),
	T(decisions_agree_with_a_naive_model))
