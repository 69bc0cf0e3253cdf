// SPDX-License-Identifier: Apache-2.0
// l2conf.c - the control side of l2switch.h: ports, addresses, policies, counters.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/l2impl.h"

#define FDB_MAX_DEFAULT 16384
#define AGE_MAX_DEFAULT 300
#define LEARN_MAX_DEFAULT 4096
#define STORM_RATE_DEFAULT 200000	/* copies a second */
#define STORM_BURST_DEFAULT 20000
#define AGE_SHARE 16			/* a tick looks at a 16th of the table */

/* Which accept bit or flag puts a port into which class. */
static const struct {
	uint32_t flag;
	uint8_t  accept;
} class_of[L2_CLASSES] = {
	[L2_CLASS_UPLINK]    = { L2_UPLINK, 0 },
	[L2_CLASS_POOL]	     = { L2_POOL, 0 },
	[L2_CLASS_ISOLATED]  = { L2_ISOLATED, 0 },
	[L2_CLASS_BROADCAST] = { 0, L2_ACCEPT_BROADCAST },
	[L2_CLASS_MULTICAST] = { 0, L2_ACCEPT_MULTICAST },
	[L2_CLASS_GROUPS]    = { 0, L2_ACCEPT_GROUPS },
	[L2_CLASS_UNKNOWN]   = { 0, L2_ACCEPT_UNKNOWN },
	[L2_CLASS_ALL]	     = { L2_MIRROR, L2_ACCEPT_ALL },
};

static const char *const cause_names[] = {
	[L2_FORWARD] = "forward",
	[L2_RUNT] = "runt",
	[L2_TOO_LONG] = "too-long",
	[L2_BAD_SOURCE] = "bad-source",
	[L2_BAD_TAG] = "bad-tag",
	[L2_NOT_MEMBER] = "not-member",
	[L2_SPOOFED] = "spoofed",
	[L2_RESERVED] = "reserved",
	[L2_HAIRPIN] = "hairpin",
	[L2_UNKNOWN] = "unknown",
	[L2_NOBODY] = "nobody",
	[L2_RATE] = "rate",
	[L2_STORM] = "storm",
};
_Static_assert(sizeof(cause_names) / sizeof(cause_names[0]) == L2_CAUSES, "a name per cause");

const char *l2_cause_name(unsigned cause)
{
	return cause < L2_CAUSES ? cause_names[cause] : "?";
}

void l2_conf_init(struct l2_conf *c)
{
	*c = (struct l2_conf){
		.flags = L2_LEARN | L2_TRUNK,
		.accept = L2_ACCEPT_DEFAULT,
		.learn_max = LEARN_MAX_DEFAULT,
		.storm = { STORM_RATE_DEFAULT, STORM_BURST_DEFAULT },
	};
	for (unsigned v = 0; v < L2_VLANS - 1; v++)
		l2_conf_vlan(c, v, true);
}

void l2_conf_vlan(struct l2_conf *c, unsigned vlan, bool member)
{
	assert(vlan < L2_VLANS);
	if (member)
		c->vlans[vlan / 64] |= 1ull << (vlan % 64);
	else
		c->vlans[vlan / 64] &= ~(1ull << (vlan % 64));
}

bool l2_conf_member(const struct l2_conf *c, unsigned vlan)
{
	return vlan < L2_VLANS && (c->vlans[vlan / 64] >> (vlan % 64) & 1);
}

int l2_conf_check(const struct l2_conf *c, const char **why)
{
	unsigned vlans = 0;

	for (unsigned i = 0; i < L2_VLANS / 64; i++)
		vlans += (unsigned)__builtin_popcountll(c->vlans[i]);
	*why = NULL;
	if (c->pvid >= L2_VLANS - 1)
		*why = "a VLAN is 0 to 4094";
	else if (l2_conf_member(c, L2_VLANS - 1))
		*why = "VLAN 4095 is reserved";
	else if (!(c->flags & L2_TRUNK) && (vlans != 1 || !l2_conf_member(c, c->pvid)))
		*why = "an access port has exactly one VLAN";
	else if (c->mtu && c->mtu < 68)
		*why = "an MTU is at least 68";
	else if (c->nmacs > L2_PORT_MACS_MAX)
		*why = "too many addresses";
	else if ((c->flags & L2_POOL) && (c->flags & (L2_UPLINK | L2_MIRROR)))
		*why = "a pool is neither uplink nor mirror";
	return *why ? -EINVAL : 0;
}

int l2_new(struct l2 **out, const struct l2_opts *o)
{
	struct l2 *l = aligned_alloc(64, sizeof(*l));
	int rc;

	if (!l)
		return -ENOMEM;
	memset(l, 0, sizeof(*l));
	l->unknown = L2_UNKNOWN_FLOOD;
	l->loopback = true;
	l->age_max = o->age_max ? o->age_max : AGE_MAX_DEFAULT;
	rc = l2fdb_new(&l->fdb, o->fdb_max ? o->fdb_max : FDB_MAX_DEFAULT, o->seed);
	if (rc) {
		l2_free(l);
		return rc;
	}
	*out = l;
	return 0;
}

void l2_free(struct l2 *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		free(l->port[i].conf);
	l2fdb_free(l->fdb);
	free(l);
}

void l2_tick(struct l2 *l, uint16_t tick)
{
	__atomic_store_n(&l->tick, tick, __ATOMIC_RELAXED);
	l2fdb_age(l->fdb, tick, l->age_max, l2fdb_buckets(l->fdb) / AGE_SHARE + 1);
}

static void set_bit(struct l2_set *s, unsigned port, bool on)
{
	uint64_t bit = 1ull << (port % 64), *w = &s->w[port / 64];

	if (on)
		__atomic_or_fetch(w, bit, __ATOMIC_RELAXED);
	else
		__atomic_and_fetch(w, ~bit, __ATOMIC_RELAXED);
}

static void classify(struct l2 *l, unsigned port, const struct l2_conf *c)
{
	for (unsigned k = 0; k < L2_CLASSES; k++)
		set_bit(&l->class[k], port, c && ((c->flags & class_of[k].flag) ||
						  (c->accept & class_of[k].accept)));
	for (unsigned v = 0; v < L2_VLANS; v++)
		set_bit(&l->member[v], port, c && l2_conf_member(c, v));
}

static void group_leave(struct l2 *l, struct l2_group *g, unsigned port)
{
	uint64_t any = 0;

	set_bit(&g->members, port, false);
	for (unsigned i = 0; i < L2_SET_WORDS; i++)
		any |= l2_word(&g->members, i);
	if (any || !g->key)
		return;
	l2fdb_del(l->fdb, g->key);
	g->key = 0;
}

static void derive(struct l2_conf *c)
{
	c->len_max = c->mtu ? c->mtu + 14u : L2_LEN_MAX;
	c->rated = c->in_bytes.rate || c->in_frames.rate;
	c->plain = l2_conf_member(c, c->pvid) && !(c->flags & L2_MIRROR) &&
		   (c->pvid || (c->accept & (L2_ACCEPT_UNTAGGED | L2_ACCEPT_ALL)));
}

struct l2_conf *l2_port_set(struct l2 *l, unsigned port, struct l2_conf *c)
{
	struct l2_port *p;
	struct l2_conf *was;

	assert(port < L2_PORTS_MAX);
	p = &l->port[port];
	if (c) {
		derive(c);
		was = __atomic_exchange_n(&p->conf, c, __ATOMIC_ACQ_REL);
		classify(l, port, c);
		if (c->flags & L2_POOL)
			l2fdb_flush(l->fdb, (uint16_t)port, false);
		return was;
	}
	classify(l, port, NULL);
	was = __atomic_exchange_n(&p->conf, NULL, __ATOMIC_ACQ_REL);
	l2fdb_flush(l->fdb, (uint16_t)port, true);
	for (unsigned i = 0; i < L2_GROUPS_MAX; i++)
		if (l->group[i].key)
			group_leave(l, &l->group[i], port);
	if (l->unknown == (int)port)
		l2_unknown(l, L2_UNKNOWN_DROP);
	return was;
}

const struct l2_conf *l2_port_conf(const struct l2 *l, unsigned port)
{
	return port < L2_PORTS_MAX ? l2_conf_of(l, port) : NULL;
}

static struct l2_group *group_find(struct l2 *l, uint64_t key)
{
	for (unsigned i = 0; i < L2_GROUPS_MAX; i++)
		if (l->group[i].key == key)
			return &l->group[i];
	return NULL;
}

static int group_join(struct l2 *l, unsigned port, uint64_t key)
{
	struct l2_group *g = group_find(l, key);
	int rc;

	if (!g) {
		g = group_find(l, 0);
		if (!g)
			return -ENOSPC;
		rc = l2fdb_set(l->fdb, key, (uint16_t)(L2FDB_GROUP | (g - l->group)));
		if (rc)
			return rc;
		g->key = key;
	}
	set_bit(&g->members, port, true);
	return 0;
}

int l2_mac_add(struct l2 *l, unsigned port, const uint8_t mac[6], uint16_t vlan)
{
	uint64_t key = l2fdb_key(l2_mac48(mac), vlan);

	if (port >= L2_PORTS_MAX || !l2_port_conf(l, port))
		return -ENOENT;
	if (vlan >= L2_VLANS - 1 || !l2_mac48(mac) || l2_mac48(mac) == 0xffffffffffff)
		return -EINVAL;
	if (mac[0] & 1)
		return group_join(l, port, key);
	return l2fdb_set(l->fdb, key, (uint16_t)port);
}

int l2_mac_del(struct l2 *l, unsigned port, const uint8_t mac[6], uint16_t vlan)
{
	uint64_t key = l2fdb_key(l2_mac48(mac), vlan);
	struct l2_group *g;
	bool fixed;

	if (port >= L2_PORTS_MAX)
		return -ENOENT;
	if (mac[0] & 1) {
		g = group_find(l, key);
		if (!g || !l2_set_has(&g->members, port))
			return -ENOENT;
		group_leave(l, g, port);
		return 0;
	}
	if (l2fdb_find(l->fdb, key, &fixed) != (int)port || !fixed)
		return -ENOENT;
	return l2fdb_del(l->fdb, key);
}

void l2_unknown(struct l2 *l, int policy)
{
	__atomic_store_n(&l->unknown, policy, __ATOMIC_RELAXED);
}

int l2_unknown_get(const struct l2 *l)
{
	return __atomic_load_n(&l->unknown, __ATOMIC_RELAXED);
}

void l2_loopback(struct l2 *l, bool on)
{
	__atomic_store_n(&l->loopback, on, __ATOMIC_RELAXED);
}

bool l2_loopback_get(const struct l2 *l)
{
	return __atomic_load_n(&l->loopback, __ATOMIC_RELAXED);
}

struct l2fdb *l2_fdb(struct l2 *l)
{
	return l->fdb;
}

uint16_t l2_now(const struct l2 *l)
{
	return __atomic_load_n(&l->tick, __ATOMIC_RELAXED);
}

const struct l2_set *l2_group(const struct l2 *l, uint16_t target)
{
	unsigned i = target & ~L2FDB_GROUP;

	return (target & L2FDB_GROUP) && i < L2_GROUPS_MAX ? &l->group[i].members : NULL;
}

static void add_counters(struct l2_counters *sum, const struct l2_counters *more)
{
	const uint64_t *from = (const uint64_t *)more;
	uint64_t *to = (uint64_t *)sum;

	for (unsigned i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += __atomic_load_n(&from[i], __ATOMIC_RELAXED);
}

void l2_counters(const struct l2 *l, unsigned port, struct l2_counters *c)
{
	const struct l2_port *p = &l->port[port];

	assert(port < L2_PORTS_MAX);
	*c = p->past;
	add_counters(c, &p->count);
	if (p->elsewhere)
		add_counters(c, p->elsewhere);
}

void l2_elsewhere(struct l2 *l, unsigned port, const struct l2_counters *row)
{
	struct l2_port *p = &l->port[port];

	assert(port < L2_PORTS_MAX);
	if (p->elsewhere)
		add_counters(&p->past, p->elsewhere);
	p->elsewhere = row;
}

unsigned l2_set_next(const struct l2_set *s, unsigned port)
{
	for (unsigned i = port / 64; i < L2_SET_WORDS; i++) {
		uint64_t w = s->w[i];

		if (i == port / 64)
			w &= ~0ull << (port % 64);
		if (w)
			return i * 64 + (unsigned)__builtin_ctzll(w);
	}
	return L2_PORTS_MAX;
}
