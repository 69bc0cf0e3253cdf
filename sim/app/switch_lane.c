// SPDX-License-Identifier: Apache-2.0
// switch_lane.c - which pools have an uplink queue of their own. See switch.h.
//
// A pool gets a lane (backend/tap_lane.h) if there is a steered uplink with a queue to spare and
// nothing asks for its frames to be looked at on their way: no rate, no smaller MTU. Otherwise
// its frames come through the switch like everybody's. Addresses are steered last, and taken
// back first: what comes in between takes the way through the switch.
#include <errno.h>

#include "sim/app/switch.h"
#include "sim/backend/tap_lane.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

static void steer_all(struct sw_port *p, bool on)
{
	for (unsigned i = 0; i < p->npairs; i++)
		sw_lane_pair(p, p->pair[i].mac, p->pair[i].vlan, on);
}

void sw_lane_pair(struct sw_port *p, const uint8_t mac[6], uint16_t vlan, bool on)
{
	if (p->lane && !(mac[0] & 1))
		tap_lane_steer(p->lane, mac, vlan, on);
}

void sw_lane_close(struct sw *s, struct sw_port *p)
{
	struct tap_lane *l = p->lane;

	if (!l)
		return;
	steer_all(p, false);
	workers_lane(s->w, p->id, NULL);
	port_store(p->lane, NULL);
	workers_lane(s->w, p->id, NULL);	/* its worker is past any look at it */
	tap_lane_free(l);
	log_info("switch", "port=%s event=lane-closed", p->name);
}

static bool wanted(const struct sw *s, const struct sw_port *p)
{
	const struct l2_conf *c = l2_port_conf(s->l2, p->id);

	return c && (c->flags & L2_POOL) && !c->out_bytes.rate && p->kind->lanes;
}

static struct tap_lane *find_lane(struct sw *s, const struct sw_port *p)
{
	unsigned mtu = l2_port_conf(s->l2, p->id)->mtu;
	struct tap_lane *l;
	struct err ignored;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		struct sw_port *up = &s->port[i];

		if (!up->used || !up->kind->steers || tap_lane_new(&l, up->port, &ignored))
			continue;
		if (!mtu || mtu >= tap_lane_mtu(l))
			return l;
		tap_lane_free(l);
	}
	return NULL;
}

void sw_lane_update(struct sw *s, struct sw_port *p)
{
	struct tap_lane *l;

	if (!wanted(s, p)) {
		sw_lane_close(s, p);
		return;
	}
	l = p->lane ? NULL : find_lane(s, p);
	if (!l)
		return;
	port_store(p->lane, l);		/* before the worker may be told to drain it */
	if (workers_lane(s->w, p->id, tap_lane_of(l))) {
		port_store(p->lane, NULL);
		workers_lane(s->w, p->id, NULL);
		tap_lane_free(l);
		return;
	}
	steer_all(p, true);
	log_info("switch", "port=%s event=lane-opened queue=%u", p->name, tap_lane_queue(l));
}

void sw_lanes_of(struct sw *s, const struct sw_port *up, bool open)
{
	for (unsigned i = 0; i < L2_PORTS_MAX && up->kind->steers; i++) {
		if (!s->port[i].used)
			continue;
		if (open)
			sw_lane_update(s, &s->port[i]);
		else
			sw_lane_close(s, &s->port[i]);
	}
}
