// SPDX-License-Identifier: Apache-2.0
// tap_rules.c - telling the kernel's programs (vmdq.h) what holds for a lane. See tap_lane.h.
// pkg-config: liburing
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>

#include "sim/backend/tap_impl.h"

#define NO_LIMIT (INT64_MAX / 2)

static const struct {
	size_t mask;
	uint32_t flag;
	uint8_t accept;
} masks[] = {
	{ offsetof(struct vmdq_shared, checked), L2_CHECK_MAC, 0 },
	{ offsetof(struct vmdq_shared, untagged), 0, L2_ACCEPT_UNTAGGED },
	{ offsetof(struct vmdq_shared, broadcast), 0, L2_ACCEPT_BROADCAST },
	{ offsetof(struct vmdq_shared, multicast), 0, L2_ACCEPT_MULTICAST },
	{ offsetof(struct vmdq_shared, groups), 0, L2_ACCEPT_GROUPS },
};

/* ---- what may be copied how often ---------------------------------------------------------- */

void tap_share_set(struct tap_share *s, struct vmdq_row *row, const struct l2_rate *r)
{
	if (__atomic_load_n(&s->rate, __ATOMIC_RELAXED) == r->rate && s->set)
		return;
	__atomic_store_n(&s->burst, r->burst, __ATOMIC_RELAXED);
	__atomic_store_n(&s->rate, r->rate, __ATOMIC_RELAXED);
	__atomic_store_n(&row->storm, r->rate ? (int64_t)r->burst : NO_LIMIT, __ATOMIC_RELAXED);
	s->set = true;
}

void tap_share_tick(struct tap_share *s, struct vmdq_row *row, uint64_t now_ms)
{
	uint64_t rate = __atomic_load_n(&s->rate, __ATOMIC_RELAXED);
	int64_t burst = (int64_t)__atomic_load_n(&s->burst, __ATOMIC_RELAXED);
	int64_t has = __atomic_load_n(&row->storm, __ATOMIC_RELAXED), more;
	uint64_t passed = now_ms - s->at_ms;

	s->at_ms = now_ms;
	if (!rate)
		return;
	more = (int64_t)((passed < 1000 ? passed : 1000) * (rate < UINT32_MAX ? rate : UINT32_MAX) /
			 1000);
	if (more > burst - has)
		more = burst - has;
	if (more > 0)
		__atomic_fetch_add(&row->storm, more, __ATOMIC_RELAXED);
}

/* ---- a lane -------------------------------------------------------------------------------- */

static void set_members(uint64_t *member, unsigned q, const struct l2_conf *c)
{
	for (unsigned v = 0; v < L2_VLANS; v++) {
		bool on = c && l2_conf_member(c, v);

		if ((member[v] >> q & 1) != on)
			vmdq_bit(&member[v], q, on);
	}
}

static bool among(uint64_t mac, const uint64_t *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (list[i] == mac)
			return true;
	return false;
}

static int set_source(struct tap_lane *l, uint64_t mac, bool on)
{
	uint8_t bytes[6];

	memcpy(bytes, &mac, sizeof(bytes));
	return vmdq_source(l->t->vmdq, bytes, l->q, on);
}

static int set_sources(struct tap_lane *l, const struct l2_conf *c)
{
	unsigned n = c ? c->nmacs : 0;
	int rc = 0;

	for (unsigned i = 0; i < l->nsources; i++)
		if (!c || !among(l->source[i], c->macs, n))
			set_source(l, l->source[i], false);
	for (unsigned i = 0; i < n && !rc; i++)
		if (!among(c->macs[i], l->source, l->nsources))
			rc = set_source(l, c->macs[i], true);
	if (n)
		memcpy(l->source, c->macs, n * sizeof(l->source[0]));
	l->nsources = n;
	return rc;
}

int tap_lane_rules(struct tap_lane *l, const struct l2_conf *c)
{
	struct vmdq_shared *m;
	int rc;

	if (!l->t->vmdq)
		return 0;
	m = vmdq_shared(l->t->vmdq);
	rc = set_sources(l, c);
	for (unsigned i = 0; i < sizeof(masks) / sizeof(masks[0]); i++)
		vmdq_bit((uint64_t *)(void *)((char *)m + masks[i].mask), l->q,
			 c && ((c->flags & masks[i].flag) || (c->accept & masks[i].accept)));
	set_members(vmdq_members(l->t->vmdq), l->q, c);
	if (c)
		tap_share_set(&l->storm, &m->row[l->q], &c->storm);
	if (!c)
		vmdq_bit(&m->owned, l->q, false);
	l->ruled = c && !rc;
	if (rc)
		port_store(l->lane.sends, false);
	return rc;
}

void tap_lane_sends(struct tap_lane *l, bool on)
{
	on = on && l->ruled && tap_judges(&l->t->p);
	if (on)
		vmdq_bit(&vmdq_shared(l->t->vmdq)->owned, l->q, true);
	port_store(l->lane.sends, on);
}

void tap_lane_sent(struct tap_lane *l)
{
	if (l->t->vmdq)
		vmdq_bit(&vmdq_shared(l->t->vmdq)->owned, l->q, false);
}

bool tap_lane_is_sending(const struct tap_lane *l)
{
	return port_load(l->lane.sends);
}

const struct l2_counters *tap_lane_judged(const struct tap_lane *l)
{
	return l->t->vmdq ? &vmdq_shared(l->t->vmdq)->row[l->q].l2 : NULL;
}

struct port *tap_lane_port(const struct tap_lane *l)
{
	return &l->t->p;
}

/* ---- the only queue there is, lent ---------------------------------------------------------- */

int tap_lend(void *tap)
{
	struct tap *t = tap;

	if (t->poller)
		poller_del(t->poller, &t->queue[0].src);
	port_store(t->p.takes, 0);
	t->shared = 0;
	return 0;
}

int tap_lend_end(void *tap)
{
	struct tap *t = tap;
	struct tap_queue *k = &t->queue[0];

	k->skip = 0;
	k->more = true;
	t->shared = 1;
	if (!t->poller)
		return 0;
	port_store(t->p.takes, 1);
	return poller_add(t->poller, &k->src, k->fd, EPOLLIN | EPOLLET);
}

/* ---- the interface ------------------------------------------------------------------------- */

bool tap_judges(const struct port *p)
{
	const struct tap *t = (const struct tap *)p;

	return t->vmdq && !port_load(t->lost);
}

bool tap_lost(const struct port *p)
{
	return port_load(((const struct tap *)p)->lost);
}

void tap_rules(struct port *p, const struct tap_rules *r)
{
	struct tap *t = (struct tap *)p;
	struct vmdq_shared *m = vmdq_shared(t->vmdq);

	tap_share_set(&t->storm, &m->row[VMDQ_WIRE], &r->storm);
	__atomic_store_n(&m->unknown, r->unknown, __ATOMIC_RELAXED);
	__atomic_store_n(&m->stray, r->stray, __ATOMIC_RELAXED);
	__atomic_store_n(&m->loopback, r->loopback, __ATOMIC_RELAXED);
	__atomic_store_n(&m->whole, r->whole, __ATOMIC_RELEASE);
}

int tap_group(struct port *p, const uint8_t mac[6], uint16_t vlan, uint64_t members)
{
	struct tap *t = (struct tap *)p;

	return t->vmdq ? vmdq_group(t->vmdq, mac, vlan, members) : 0;
}

const struct l2_counters *tap_judged(const struct port *p)
{
	const struct tap *t = (const struct tap *)p;

	return t->vmdq ? &vmdq_shared(t->vmdq)->row[VMDQ_WIRE].l2 : NULL;
}
