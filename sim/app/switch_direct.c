// SPDX-License-Identifier: Apache-2.0
// switch_direct.c - which pools send past the switch, judged in the kernel. See switch.h.
//
// The kernel's programs (backend/vmdq.h) know one uplink and the pools with a lane of it, and of
// the rules of a port only source addresses, VLANs, accept modes and its share of replication.
// So a pool sends the direct way if
//  - everybody it may talk to is there: every port but the uplink is a pool with a lane, none
//    listens to everything, and the uplink takes whatever comes, as it comes;
//  - its own rules are no more than those: no rate, no MTU, not isolated, tags as they are;
//  - it was not told otherwise (`direct off`): from pool to pool the switch is faster.
// An uplink with one queue is given to the one pool there is, if it is alone with it in that sense:
// then nothing else may arrive there, and the programs see to that as well.
// Otherwise its frames go through the switch, as everybody's. Rates and MTU of one pool send that
// one through the switch; an ordinary port sends all of them there.
#include <string.h>

#include "sim/app/switch.h"
#include "sim/backend/tap.h"
#include "sim/backend/tap_lane.h"
#include "sim/core/log.h"

#define UPLINK_ACCEPTS (L2_ACCEPT_UNTAGGED | L2_ACCEPT_BROADCAST | L2_ACCEPT_MULTICAST)

/* Tags come and go as they are, and nothing is counted against a limit. */
static bool is_plain(const struct l2_conf *c)
{
	return (c->flags & L2_TRUNK) && !c->pvid && !c->mtu && !c->in_bytes.rate &&
	       !c->in_frames.rate && !c->out_bytes.rate &&
	       !(c->flags & (L2_MIRROR | L2_ISOLATED | L2_PASS_RESERVED));
}

static bool uplink_takes_all(const struct l2_conf *c)
{
	for (unsigned v = 0; v < L2_VLANS - 1; v++)
		if (!l2_conf_member(c, v))
			return false;
	return is_plain(c) && (c->flags & L2_UPLINK) && !(c->flags & L2_CHECK_MAC) &&
	       (c->accept & UPLINK_ACCEPTS) == UPLINK_ACCEPTS;
}

static bool may_send(const struct sw *s, const struct sw_port *p)
{
	return p->used && p->direct && is_plain(l2_port_conf(s->l2, p->id));
}

static bool has_lane_of(const struct sw_port *p, const struct sw_port *up)
{
	return p->lane && tap_lane_port(p->lane) == up->port;
}

static bool has_one_queue(const struct sw_port *up)
{
	struct tap_info info;

	tap_info(up->port, &info);
	return info.queues == 1;
}

/* soon: counts as if it had a lane. */
static bool is_whole(const struct sw *s, const struct sw_port *up, const struct sw_port *soon)
{
	unsigned lanes = 0;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		const struct sw_port *p = &s->port[i];

		if (!p->used || p == up)
			continue;
		if (p != soon && !has_lane_of(p, up))
			return false;
		if (l2_port_conf(s->l2, i)->accept & L2_ACCEPT_ALL)
			return false;
		lanes++;
	}
	return lanes && uplink_takes_all(l2_port_conf(s->l2, up->id));
}

static void set_rules(struct sw *s, const struct sw_port *up, bool whole)
{
	struct tap_rules r = {
		.whole = whole, .loopback = l2_loopback_get(s->l2),
		.storm = l2_port_conf(s->l2, up->id)->storm,
	};
	int policy = l2_unknown_get(s->l2);
	bool lanes = false;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		const struct sw_port *p = &s->port[i];
		uint64_t bit;

		if (!p->used || !has_lane_of(p, up))
			continue;
		lanes = true;
		bit = 1ull << tap_lane_queue(p->lane);
		if (policy == L2_UNKNOWN_FLOOD &&
		    (l2_port_conf(s->l2, i)->accept & L2_ACCEPT_UNKNOWN))
			r.unknown |= bit;
		if (policy == (int)i)
			r.stray |= bit;
	}
	r.stray |= r.unknown;
	/* Nothing but what is its pool's may arrive at the only queue while a pool has it. */
	r.whole |= has_one_queue(up) && lanes;
	tap_rules(up->port, &r);
}

/* True if one of them sent the direct way until now. */
static bool stop(struct sw *s, const struct sw_port *up, bool whole)
{
	bool any = false;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		struct sw_port *p = &s->port[i];

		if (!has_lane_of(p, up) || !tap_lane_is_sending(p->lane))
			continue;
		if (whole && may_send(s, p))
			continue;
		tap_lane_sends(p->lane, false);
		any = true;
	}
	return any;
}

static void start(struct sw *s, const struct sw_port *up)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		struct sw_port *p = &s->port[i];

		if (may_send(s, p) && has_lane_of(p, up))
			tap_lane_sends(p->lane, true);
	}
}

static void update(struct sw *s, const struct sw_port *up, bool whole)
{
	if (stop(s, up, whole))
		workers_grace(s->w);	/* nobody is in the middle of it */
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (has_lane_of(&s->port[i], up) && !tap_lane_is_sending(s->port[i].lane))
			tap_lane_sent(s->port[i].lane);
	set_rules(s, up, whole);
	if (whole)
		start(s, up);
}

static bool judges(const struct sw_port *p)
{
	return p->used && p->kind->steers && tap_judges(p->port);
}

/* Who has, or may now have, the only queue of an uplink is who is alone with it. */
static void lend_or_take_back(struct sw *s, const struct sw_port *up)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		struct sw_port *p = &s->port[i];

		if (!p->used || p == up)
			continue;
		if (!has_lane_of(p, up))
			sw_lane_update(s, p);
		else if (!is_whole(s, up, NULL))
			sw_lane_close(s, p);
	}
}

/* Nobody judges any more, and nobody sees to it what arrives at an only queue. */
static void let_go(struct sw *s, const struct sw_port *up)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		struct sw_port *p = &s->port[i];

		if (!has_lane_of(p, up))
			continue;
		tap_lane_sends(p->lane, false);
		if (has_one_queue(up))
			sw_lane_close(s, p);
	}
	set_rules(s, up, false);	/* one of them may run still */
}

void sw_direct_watch(struct sw *s)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (s->port[i].used && s->port[i].kind->steers && tap_lost(s->port[i].port))
			let_go(s, &s->port[i]);
}

void sw_direct_update(struct sw *s)
{
	sw_direct_watch(s);
	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		const struct sw_port *up = &s->port[i];

		if (!judges(up))
			continue;
		if (has_one_queue(up))
			lend_or_take_back(s, up);
		update(s, up, is_whole(s, up, NULL));
	}
}

bool sw_direct_alone(const struct sw *s, const struct sw_port *up, const struct sw_port *p)
{
	return !has_one_queue(up) || (tap_judges(up->port) && is_whole(s, up, p));
}

struct sw_port *sw_direct_sole(struct sw *s, const struct sw_port *p)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (s->port[i].used && s->port[i].kind->steers &&
		    has_lane_of(p, &s->port[i]) && has_one_queue(&s->port[i]))
			return &s->port[i];
	return NULL;
}

void sw_direct_stop(struct sw *s)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (judges(&s->port[i]))
			update(s, &s->port[i], false);
}

void sw_direct_group(struct sw *s, const struct sw_port *p, const uint8_t mac[6], uint16_t vlan,
		     bool on)
{
	uint64_t queues = on ? 1ull << tap_lane_queue(p->lane) : 0;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		const struct sw_port *o = &s->port[i];

		if (o == p || !o->lane || tap_lane_port(o->lane) != tap_lane_port(p->lane))
			continue;
		for (unsigned k = 0; k < o->npairs; k++)
			if (o->pair[k].vlan == vlan && !memcmp(o->pair[k].mac, mac, 6))
				queues |= 1ull << tap_lane_queue(o->lane);
	}
	if (tap_group(tap_lane_port(p->lane), mac, vlan, queues) && on)
		log_warn("switch", "port=%s event=group-table-full", p->name);
}
