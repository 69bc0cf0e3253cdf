// SPDX-License-Identifier: Apache-2.0
// switch_pool.c - pools, the addresses they own, and their modes. See switch.h.
//
// A pool owns (MAC, VLAN) pairs. An address given without a VLAN counts in each VLAN of the pool
// as long as these are few; a VLAN that is added counts for each address.
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/app/switch.h"
#include "sim/core/err.h"

#define FEW_VLANS 16

static int find_pool(struct sw *s, const char *name, struct sw_port **p, struct err *e)
{
	*p = name ? sw_find(s, name) : NULL;
	if (!*p)
		return err_set(e, -ENOENT, "%s: no such port", name ? name : "no name given");
	if (!(l2_port_conf(s->l2, (*p)->id)->flags & L2_POOL))
		return err_set(e, -EINVAL, "%s is not a pool; see pool add", name);
	return 0;
}

int sw_pair_add(struct sw *s, struct sw_port *p, const uint8_t mac[6], uint16_t vlan,
		struct err *e)
{
	char text[18];
	int rc;

	for (unsigned i = 0; i < p->npairs; i++)
		if (!memcmp(p->pair[i].mac, mac, 6) && p->pair[i].vlan == vlan)
			return 0;
	sw_format_mac(mac, text);
	if (p->npairs == sizeof(p->pair) / sizeof(p->pair[0]))
		return err_set(e, -ENOSPC, "%s has as many addresses as fit", p->name);
	rc = l2_mac_add(s->l2, p->id, mac, vlan);
	if (rc)
		return err_set(e, rc, "%s vlan %u: %s", text, vlan, rc == -EEXIST ?
			       "belongs to another port" : strerror(-rc));
	memcpy(p->pair[p->npairs].mac, mac, 6);
	p->pair[p->npairs++].vlan = vlan;
	sw_lane_pair(s, p, mac, vlan, true);
	return 0;
}

int sw_pair_del(struct sw *s, struct sw_port *p, const uint8_t mac[6], uint16_t vlan,
		struct err *e)
{
	for (unsigned i = 0; i < p->npairs; i++) {
		if (memcmp(p->pair[i].mac, mac, 6) || p->pair[i].vlan != vlan)
			continue;
		sw_lane_pair(s, p, mac, vlan, false);
		l2_mac_del(s->l2, p->id, mac, vlan);
		p->pair[i] = p->pair[--p->npairs];
		return 0;
	}
	return err_set(e, -ENOENT, "%s does not own that address in VLAN %u", p->name, vlan);
}

void sw_pairs_clear(struct sw *s, struct sw_port *p)
{
	while (p->npairs) {
		p->npairs--;
		sw_lane_pair(s, p, p->pair[p->npairs].mac, p->pair[p->npairs].vlan, false);
		l2_mac_del(s->l2, p->id, p->pair[p->npairs].mac, p->pair[p->npairs].vlan);
	}
}

/* The VLANs an address without one counts in: the pool's, if few; else that of untagged frames. */
static unsigned vlans_of(const struct l2_conf *c, uint16_t *vlan)
{
	unsigned n = 0;

	for (unsigned v = 0; v < L2_VLANS; v++) {
		if (!l2_conf_member(c, v))
			continue;
		if (n == FEW_VLANS) {
			vlan[0] = c->pvid;
			return 1;
		}
		vlan[n++] = (uint16_t)v;
	}
	return n;
}

static bool group(const uint8_t mac[6])
{
	return mac[0] & 1;
}

/* Unicast addresses of a pool are also those it may send from. */
static void allow_source(struct l2_conf *c, const uint8_t mac[6], bool on)
{
	uint64_t m = 0;
	unsigned i;

	if (group(mac))
		return;
	memcpy(&m, mac, 6);
	for (i = 0; i < c->nmacs && c->macs[i] != m; i++)
		;
	if (on && i == c->nmacs && c->nmacs < L2_PORT_MACS_MAX)
		c->macs[c->nmacs++] = m;
	else if (!on && i < c->nmacs)
		c->macs[i] = c->macs[--c->nmacs];
}

static int add_mac(struct sw *s, struct sw_port *p, const uint8_t mac[6], struct err *e)
{
	uint16_t vlan[FEW_VLANS];
	unsigned n = vlans_of(l2_port_conf(s->l2, p->id), vlan);

	for (unsigned i = 0; i < n; i++) {
		int rc = sw_pair_add(s, p, mac, vlan[i], e);

		if (rc)
			return rc;
	}
	return 0;
}

static int owns(const struct sw_port *p, const uint8_t mac[6])
{
	int n = 0;

	for (unsigned i = 0; i < p->npairs; i++)
		n += !memcmp(p->pair[i].mac, mac, 6);
	return n;
}

int sw_pool_mac(struct sw *s, const Podpci__PoolMac *m, bool add, struct err *e)
{
	struct sw_port *p;
	struct l2_conf *c;
	uint16_t vlan[FEW_VLANS];
	uint8_t mac[6];
	unsigned n;
	int rc = find_pool(s, m->pool, &p, e);

	if (rc)
		return rc;
	if (!m->mac || sw_parse_mac(m->mac, mac))
		return err_set(e, -EINVAL, "an address is written 52:54:00:01:02:03");
	if (m->has_vlan && m->vlan >= L2_VLANS - 1)
		return err_set(e, -EINVAL, "a VLAN is 0 to 4094");
	n = vlans_of(l2_port_conf(s->l2, p->id), vlan);
	if (m->has_vlan) {
		vlan[0] = (uint16_t)m->vlan;
		n = 1;
	}
	for (unsigned i = 0; i < n && !rc; i++)
		rc = add ? sw_pair_add(s, p, mac, vlan[i], e) :
		     sw_pair_del(s, p, mac, vlan[i], e);
	if (rc && add)
		return rc;
	c = sw_conf_copy(s, p);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	allow_source(c, mac, owns(p, mac) > 0);
	return sw_port_conf(s, p, c, e) ? e->code : rc;
}

int sw_pool_vlan(struct sw *s, const Podpci__PoolVlan *m, bool add, struct err *e)
{
	struct sw_port *p;
	struct l2_conf *c;
	unsigned npairs;
	int rc = find_pool(s, m->pool, &p, e);

	if (rc)
		return rc;
	if (!m->has_vlan || m->vlan >= L2_VLANS - 1)
		return err_set(e, -EINVAL, "a VLAN is 0 to 4094");
	c = sw_conf_copy(s, p);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	l2_conf_vlan(c, m->vlan, add);
	rc = sw_port_conf(s, p, c, e);
	if (rc)
		return rc;
	npairs = p->npairs;
	for (unsigned i = 0; add && i < npairs && !rc; i++)
		rc = sw_pair_add(s, p, p->pair[i].mac, (uint16_t)m->vlan, e);
	for (unsigned i = npairs; !add && i > 0; i--) {
		struct sw_pair one = p->pair[i - 1];

		if (one.vlan == m->vlan)
			sw_pair_del(s, p, one.mac, one.vlan, e);
	}
	return rc;
}

int sw_pool_mode(struct sw *s, const Podpci__Mode *m, struct err *e)
{
	struct sw_port *p = m->pool ? sw_find(s, m->pool) : NULL;
	struct l2_conf *c;

	if (!p)
		return err_set(e, -ENOENT, "%s: no such port", m->pool ? m->pool : "no name given");
	c = sw_conf_copy(s, p);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	if (!m->accept || sw_parse_accept(m->accept, &c->accept)) {
		free(c);
		return err_set(e, -EINVAL, "accept modes are untagged, groups, unknown, "
			       "broadcast, multicast, all; none; or +MODE, -MODE");
	}
	return sw_port_conf(s, p, c, e);
}

static int pool_conf(struct l2_conf *c, const Podpci__Pool *m, struct err *e)
{
	int n;

	c->flags |= L2_POOL | L2_TRUNK | L2_CHECK_MAC;
	c->flags &= ~(uint32_t)L2_LEARN;
	c->pvid = 0;
	c->accept = L2_ACCEPT_UNTAGGED | L2_ACCEPT_GROUPS | L2_ACCEPT_BROADCAST;
	if (m->has_spoofcheck && !m->spoofcheck)
		c->flags &= ~(uint32_t)L2_CHECK_MAC;
	if (m->accept && sw_parse_accept(m->accept, &c->accept))
		return err_set(e, -EINVAL, "accept %s: not a list of modes", m->accept);
	if (sw_parse_vlans(m->vlans ? m->vlans : "0", c->vlans))
		return err_set(e, -EINVAL, "vlans %s: not a list like 0,5,10-20", m->vlans);
	n = m->macs ? sw_parse_macs(m->macs, c->macs, L2_PORT_MACS_MAX) : 0;
	if (n < 0)
		return err_set(e, -EINVAL, "macs %s: not a list of addresses", m->macs);
	c->nmacs = (unsigned)n;
	return 0;
}

int sw_pool_add(struct sw *s, const Podpci__Pool *m, struct err *e)
{
	struct sw_port *p = m->name ? sw_find(s, m->name) : NULL;
	struct l2_conf *c;
	int rc;

	if (!p)
		return err_set(e, -ENOENT, "%s: no such port", m->name ? m->name : "no name given");
	c = sw_conf_copy(s, p);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	rc = pool_conf(c, m, e);
	if (rc) {
		free(c);
		return rc;
	}
	sw_pairs_clear(s, p);
	rc = sw_port_conf(s, p, c, e);
	for (unsigned i = 0; !rc && i < l2_port_conf(s->l2, p->id)->nmacs; i++) {
		uint8_t mac[6];

		memcpy(mac, &l2_port_conf(s->l2, p->id)->macs[i], 6);
		rc = add_mac(s, p, mac, e);
	}
	return rc;
}

int sw_pool_del(struct sw *s, const char *name, struct err *e)
{
	struct sw_port *p;
	struct l2_conf *c, fresh;
	int rc = find_pool(s, name, &p, e);

	if (rc)
		return rc;
	c = sw_conf_copy(s, p);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	l2_conf_init(&fresh);
	c->flags = (c->flags & ~(uint32_t)(L2_POOL | L2_CHECK_MAC)) | fresh.flags;
	c->accept = fresh.accept;
	c->nmacs = 0;
	memcpy(c->vlans, fresh.vlans, sizeof(c->vlans));
	sw_pairs_clear(s, p);
	if (l2_unknown_get(s->l2) == (int)p->id)
		l2_unknown(s->l2, L2_UNKNOWN_DROP);
	return sw_port_conf(s, p, c, e);
}

int sw_pool_default(struct sw *s, const char *to, struct err *e)
{
	struct sw_port *p;
	int rc;

	if (to && !strcmp(to, "flood")) {
		l2_unknown(s->l2, L2_UNKNOWN_FLOOD);
		sw_direct_update(s);
		return 0;
	}
	if (to && !strcmp(to, "drop")) {
		l2_unknown(s->l2, L2_UNKNOWN_DROP);
		sw_direct_update(s);
		return 0;
	}
	rc = find_pool(s, to, &p, e);
	if (!rc)
		l2_unknown(s->l2, (int)p->id);
	sw_direct_update(s);
	return rc;
}
