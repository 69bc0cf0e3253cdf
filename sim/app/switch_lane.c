// SPDX-License-Identifier: Apache-2.0
// switch_lane.c - which pools have an uplink queue of their own. See switch.h.
//
// A pool gets a lane (backend/tap_lane.h) if there is a steered uplink with a queue to spare and
// nothing asks for its frames to be looked at on their way: no rate, no smaller MTU, no tag to
// be put on or taken off. Otherwise its frames come through the switch like everybody's.
// Addresses are steered last, and taken back first: what comes in between takes the way through
// the switch. What the port sends is another matter: switch_direct.c.
#include <errno.h>

#include "sim/app/switch.h"
#include "sim/backend/tap_lane.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

static void steer_all(struct sw *s, struct sw_port *p, bool on)
{
	for (unsigned i = 0; i < p->npairs; i++)
		sw_lane_pair(s, p, p->pair[i].mac, p->pair[i].vlan, on);
}

void sw_lane_pair(struct sw *s, struct sw_port *p, const uint8_t mac[6], uint16_t vlan, bool on)
{
	if (!p->lane)
		return;
	if (mac[0] & 1)
		sw_direct_group(s, p, mac, vlan, on);
	else
		tap_lane_steer(p->lane, mac, vlan, on);
}

void sw_lane_close(struct sw *s, struct sw_port *p)
{
	struct tap_lane *l = p->lane;
	struct sw_port *sole;

	if (!l)
		return;
	sole = sw_direct_sole(s, p);
	sw_direct_stop(s);
	steer_all(s, p, false);
	workers_lane(s->w, p->id, NULL);
	if (sole)
		workers_run(s->w, sole->id, tap_lend_end);
	l2_elsewhere(s->l2, p->id, NULL);
	port_store(p->lane, NULL);
	workers_lane(s->w, p->id, NULL);	/* its worker is past any look at it */
	tap_lane_free(l);
	log_info("switch", "port=%s event=lane-closed", p->name);
}

static bool wanted(const struct sw *s, const struct sw_port *p)
{
	const struct l2_conf *c = l2_port_conf(s->l2, p->id);

	return c && (c->flags & L2_POOL) && (c->flags & L2_TRUNK) && !c->pvid &&
	       !c->out_bytes.rate && p->kind->lanes;
}

static struct tap_lane *find_lane(struct sw *s, const struct sw_port *p)
{
	unsigned mtu = l2_port_conf(s->l2, p->id)->mtu;
	struct tap_lane *l;
	struct err ignored;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		struct sw_port *up = &s->port[i];

		if (!up->used || !up->kind->steers || !sw_direct_alone(s, up, p) ||
		    tap_lane_new(&l, up->port, &ignored))
			continue;
		if (!mtu || mtu >= tap_lane_mtu(l))
			return l;
		tap_lane_free(l);
	}
	return NULL;
}

/* What the kernel is to know of it. Without it the switch judges what the port sends. */
static void tell_rules(struct sw *s, struct sw_port *p, struct tap_lane *l)
{
	if (tap_lane_rules(l, l2_port_conf(s->l2, p->id)))
		log_warn("switch", "port=%s event=rules-not-told", p->name);
}

/*
 * A queue that is to get what nobody steered there yet is read at once; the only one there is,
 * when the kernel sorts out what is not the pool's.
 */
static int start_lane(struct sw *s, struct sw_port *p, struct tap_lane *l)
{
	struct sw_port *sole = sw_direct_sole(s, p);
	int rc;

	if (sole) {
		steer_all(s, p, true);
		sw_direct_stop(s);
		workers_run(s->w, sole->id, tap_lend);
	}
	rc = workers_lane(s->w, p->id, tap_lane_of(l));
	if (!rc && !sole)
		steer_all(s, p, true);
	return rc;
}

void sw_lane_update(struct sw *s, struct sw_port *p)
{
	struct tap_lane *l;

	if (!wanted(s, p)) {
		sw_lane_close(s, p);
		return;
	}
	if (p->lane) {
		tell_rules(s, p, p->lane);
		return;
	}
	l = find_lane(s, p);
	if (!l)
		return;
	tell_rules(s, p, l);
	port_store(p->lane, l);		/* before the worker may be told to drain it */
	l2_elsewhere(s->l2, p->id, tap_lane_judged(l));
	if (start_lane(s, p, l)) {
		sw_lane_close(s, p);
		return;
	}
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
