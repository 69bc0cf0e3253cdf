// SPDX-License-Identifier: Apache-2.0
// switch_port.c - ports as people describe them: kinds, settings, coming and going.
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "include/backend.h"
#include "sim/app/switch.h"
#include "sim/backend/pcap.h"
#include "sim/backend/tap.h"
#include "sim/backend/tap_lane.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define BURST_MS 50			/* a rate's burst is what it lets through in this time */
#define BURST_BYTES_MIN (256 * 1024)
#define BURST_FRAMES_MIN 1024

/* ---- what ports tell us, from their workers ------------------------------------------------ */

/* Logged by the port itself; state is asked for, not followed. */
static void on_link(struct port *p, bool up)
{
	(void)p;
	(void)up;
}

/* The peer says where it is now. Its worker must not wait, so the control thread looks into it. */
static void on_announce(struct port *p, const uint8_t mac[6])
{
	struct sw_port *sp = p->owner;
	uint64_t m = 0;

	memcpy(&m, mac, 6);
	__atomic_store_n(&sp->announced, m, __ATOMIC_RELEASE);
	eventfd_write(sp->sw->event_fd, 1);
}

/* Learned as if it had sent a frame, if it may have that address. */
static void look_into(struct sw *s, struct sw_port *p)
{
	uint64_t m = __atomic_exchange_n(&p->announced, 0, __ATOMIC_ACQUIRE);
	const struct l2_conf *c = l2_port_conf(s->l2, p->id);
	bool ok = c && !(c->flags & L2_CHECK_MAC);

	if (!c || (m & 1) || !m || !(c->flags & L2_LEARN) || (c->flags & L2_POOL))
		return;
	for (unsigned i = 0; i < c->nmacs; i++)
		ok |= c->macs[i] == m;
	if (ok)
		l2fdb_learn(l2_fdb(s->l2), l2fdb_key(m, c->pvid), (uint16_t)p->id,
			    l2_now(s->l2), c->learn_max, true);
}

void sw_ports_events(struct sw *s)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (s->port[i].used && __atomic_load_n(&s->port[i].announced, __ATOMIC_RELAXED))
			look_into(s, &s->port[i]);
}

/* Workers release a batch before they look for the next; a lane may hold on to memory. */
static void on_drain(struct port *p)
{
	const struct sw_port *sp = p->owner;
	struct tap_lane *l = port_load(sp->lane);

	if (l)
		tap_lane_drain(l);
}

static const struct port_host host = {
	.link = on_link, .drain = on_drain, .announce = on_announce,
};

/* ---- kinds --------------------------------------------------------------------------------- */

static int make_vhost(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e)
{
	struct vus_config cfg = {
		.name = p->name, .socket = p->socket, .client = p->connect,
		.mode = s->opts.socket_mode, .pairs = p->queues, .mtu = (uint16_t)m->mtu,
		.shared = s->opts.workers.n > 1,
	};

	p->memory_max = m->has_memory_max ? m->memory_max : s->memory;
	cfg.memory_max = p->memory_max;
	if (!p->memory_max)
		return err_set(e, -EINVAL, "memory_max is at least a byte");
	if (!p->queues || p->queues > VUS_PAIRS_MAX)
		return err_set(e, -EINVAL, "queues is 1 to %d", VUS_PAIRS_MAX);
	if (!p->socket[0] && (size_t)snprintf(p->socket, sizeof(p->socket), "%s/%s.sock",
					      s->opts.dir, p->name) >= sizeof(p->socket))
		return err_set(e, -ENAMETOOLONG, "%s/%s.sock is too long for a socket",
			       s->opts.dir, p->name);
	return vus_new(&p->port, &cfg, &host, p, e);
}

static int make_tap(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e)
{
	struct tap_config cfg = {
		.name = p->name, .dev = p->dev, .queues = p->queues, .mtu = m->mtu,
		.address = m->address, .bridge = m->bridge, .steer = true,
	};

	(void)s;
	if (!p->dev[0])
		snprintf(p->dev, sizeof(p->dev), "%.15s", p->name);
	return tap_new(&p->port, &cfg, &host, p, e);
}

static int make_pcap(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e)
{
	(void)s;
	(void)m;
	return pcap_new(&p->port, p->name, p->file, e);
}

static int make_null(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e)
{
	int rc = port_null_new(&p->port, p->name);

	(void)s;
	(void)m;
	return rc ? err_set(e, rc, "%s", strerror(-rc)) : 0;
}

/* What a kind is unless told otherwise: a TAP leads out, a capture file only listens. */
static const struct sw_kind kinds[] = {
	{ .name = "vhost", .make = make_vhost, .lanes = true },
	{ .name = "tap", .make = make_tap, .flags = L2_UPLINK, .steers = true,
	  .rights = true },
	{ .name = "pcap", .make = make_pcap, .flags = L2_MIRROR },
	{ .name = "null", .make = make_null },
};

static const struct sw_kind *kind_find(const char *name)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		if (!strcmp(kinds[i].name, name))
			return &kinds[i];
	return NULL;
}

/* ---- settings ------------------------------------------------------------------------------ */

#define FLAG(field, bit) \
	{ offsetof(Podpci__Port, has_##field), offsetof(Podpci__Port, field), bit }

static const struct {
	size_t has, value;
	uint32_t bit;
} flags[] = {
	FLAG(spoofcheck, L2_CHECK_MAC), FLAG(learning, L2_LEARN), FLAG(isolated, L2_ISOLATED),
	FLAG(uplink, L2_UPLINK), FLAG(mirror, L2_MIRROR), FLAG(reserved, L2_PASS_RESERVED),
};

#define RATE(field, member, least) \
	{ offsetof(Podpci__Port, has_##field), offsetof(Podpci__Port, field), \
	  offsetof(struct l2_conf, member), least }

static const struct {
	size_t has, value, rate;
	uint64_t burst_min;
} rates[] = {
	RATE(in_bytes, in_bytes, BURST_BYTES_MIN), RATE(in_frames, in_frames, BURST_FRAMES_MIN),
	RATE(out_bytes, out_bytes, BURST_BYTES_MIN), RATE(storm, storm, BURST_FRAMES_MIN),
};

static bool told(const Podpci__Port *m, size_t has)
{
	return *(const protobuf_c_boolean *)((const char *)m + has);
}

static void set_flags_and_rates(struct l2_conf *c, const Podpci__Port *m)
{
	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		if (!told(m, flags[i].has))
			continue;
		c->flags &= ~flags[i].bit;
		if (told(m, flags[i].value))
			c->flags |= flags[i].bit;
	}
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		struct l2_rate *r = (struct l2_rate *)((char *)c + rates[i].rate);

		if (!told(m, rates[i].has))
			continue;
		r->rate = *(const uint64_t *)((const char *)m + rates[i].value);
		r->burst = r->rate / (1000 / BURST_MS);
		if (r->burst < rates[i].burst_min)
			r->burst = rates[i].burst_min;
	}
}

static int set_vlans(struct l2_conf *c, const Podpci__Port *m, struct err *e)
{
	if (m->mode && !strcmp(m->mode, "access"))
		c->flags &= ~(uint32_t)L2_TRUNK;
	else if (m->mode && !strcmp(m->mode, "trunk"))
		c->flags |= L2_TRUNK;
	else if (m->mode)
		return err_set(e, -EINVAL, "mode is access or trunk, not %s", m->mode);
	if (m->has_pvid && m->pvid >= L2_VLANS - 1)
		return err_set(e, -EINVAL, "a VLAN is 0 to 4094");
	if (m->has_pvid)
		c->pvid = (uint16_t)m->pvid;
	if (m->vlans && sw_parse_vlans(m->vlans, c->vlans))
		return err_set(e, -EINVAL, "vlans %s: not \"all\" or a list like 0,5,10-20",
			       m->vlans);
	if (!(c->flags & L2_TRUNK) && !m->vlans) {
		memset(c->vlans, 0, sizeof(c->vlans));
		l2_conf_vlan(c, c->pvid, true);
	}
	return 0;
}

static int set_addresses(struct l2_conf *c, const Podpci__Port *m, struct err *e)
{
	int n;

	if (m->accept && sw_parse_accept(m->accept, &c->accept))
		return err_set(e, -EINVAL, "accept %s: not a list of modes", m->accept);
	if (!m->macs)
		return 0;
	n = sw_parse_macs(m->macs, c->macs, L2_PORT_MACS_MAX);
	if (n < 0)
		return err_set(e, -EINVAL, "macs %s: at most %d addresses like "
			       "52:54:00:01:02:03, with commas", m->macs, L2_PORT_MACS_MAX);
	c->nmacs = (unsigned)n;
	if (!m->has_spoofcheck && n)
		c->flags |= L2_CHECK_MAC;
	return 0;
}

/* Brings c from what it is to what m says. */
static int describe(struct l2_conf *c, const Podpci__Port *m, struct err *e)
{
	const char *why;
	int rc;

	set_flags_and_rates(c, m);
	if (m->has_mtu && m->mtu > 65535)
		return err_set(e, -EINVAL, "an MTU is 68 to 65535");
	if (m->has_mtu)
		c->mtu = (uint16_t)m->mtu;
	if (m->has_learn_max)
		c->learn_max = m->learn_max;
	rc = set_vlans(c, m, e);
	if (!rc)
		rc = set_addresses(c, m, e);
	if (!rc && l2_conf_check(c, &why))
		rc = err_set(e, -EINVAL, "%s", why);
	return rc;
}

struct l2_conf *sw_conf_copy(const struct sw *s, const struct sw_port *p)
{
	struct l2_conf *c = malloc(sizeof(*c));

	if (c)
		*c = *l2_port_conf(s->l2, p->id);
	return c;
}

int sw_port_conf(struct sw *s, struct sw_port *p, struct l2_conf *c, struct err *e)
{
	const char *why;
	struct l2_conf *was;

	if (l2_conf_check(c, &why)) {
		free(c);
		return err_set(e, -EINVAL, "%s: %s", p->name, why);
	}
	was = l2_port_set(s->l2, p->id, c);
	workers_grace(s->w);
	free(was);
	sw_lane_update(s, p);
	sw_direct_update(s);
	return 0;
}

/* A learning port's own addresses live nowhere else. (A pool's are sw_pool_mac()'s.) */
static int fix_addresses(struct sw *s, struct sw_port *p, struct err *e)
{
	const struct l2_conf *c = l2_port_conf(s->l2, p->id);
	int rc = 0;

	if (c->flags & L2_POOL)
		return 0;
	sw_pairs_clear(s, p);
	for (unsigned i = 0; i < c->nmacs && !rc; i++) {
		uint8_t mac[6];

		memcpy(mac, &c->macs[i], 6);
		rc = sw_pair_add(s, p, mac, c->pvid, e);
	}
	return rc;
}

/* ---- coming and going ---------------------------------------------------------------------- */

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return n > 0 && n < SW_NAME_MAX && name[0] != '.' && name[0] != '-';
}

static int copy_text(char *to, size_t size, const char *from, const char *what, struct err *e)
{
	if (from && (size_t)snprintf(to, size, "%s", from) >= size)
		return err_set(e, -ENAMETOOLONG, "%s %s is longer than %zu bytes", what, from,
			       size - 1);
	return 0;
}

static struct sw_port *free_port(struct sw *s)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		if (s->port[i].used)
			continue;
		s->port[i] = (struct sw_port){ .id = i, .sw = s, .queues = 1, .direct = true };
		return &s->port[i];
	}
	return NULL;
}

static int fill_port(struct sw_port *p, const Podpci__Port *m, struct err *e)
{
	const char *kind = m->kind ? m->kind : "vhost";
	int rc;

	p->kind = kind_find(kind);
	if (!p->kind)
		return err_set(e, -EINVAL, "%s: no such kind of port", kind);
	p->connect = m->has_connect && m->connect;
	p->direct = !m->has_direct || m->direct;
	if (m->has_queues)
		p->queues = m->queues;
	rc = copy_text(p->name, sizeof(p->name), m->name, "name", e);
	if (!rc)
		rc = copy_text(p->socket, sizeof(p->socket), m->socket, "socket", e);
	if (!rc)
		rc = copy_text(p->file, sizeof(p->file), m->file, "file", e);
	if (!rc)
		rc = copy_text(p->dev, sizeof(p->dev), m->dev, "dev", e);
	return rc;
}

void sw_port_del(struct sw *s, struct sw_port *p)
{
	struct l2_conf *c;

	sw_lane_close(s, p);
	sw_lanes_of(s, p, false);
	l2_elsewhere(s->l2, p->id, NULL);
	c = l2_port_set(s->l2, p->id, NULL);
	p->npairs = 0;			/* they went with the port */
	workers_del(s->w, p->id);	/* waits until nobody reads c any more */
	free(c);
	if (p->used)
		log_info("switch", "port=%s event=removed", p->name);
	p->used = false;
	sw_direct_update(s);
}

/*
 * The worker that was asked for; or of those on the NUMA node that was asked for the one with
 * the fewest ports; or -1, any. A node is a hint: where no worker is there, another one serves.
 */
static int worker_of(const struct sw *s, const Podpci__Port *m)
{
	unsigned least = L2_PORTS_MAX + 1;
	struct worker_stats k;
	int found = -1;

	if (m->has_worker || !m->has_node)
		return m->has_worker ? (int)(m->worker & 0xff) : -1;
	for (unsigned i = 0; i < workers_count(s->w); i++) {
		workers_stats(s->w, i, &k);
		if (s->node[i] != (int)m->node || k.ports >= least)
			continue;
		least = k.ports;
		found = (int)i;
	}
	if (found < 0)
		log_warn("switch", "port=%s event=no-worker-on-node node=%u", m->name, m->node);
	return found;
}

/* A running switch makes files in few places only (switchd.h), which is not plain to see. */
static int explain(const struct sw *s, int rc, struct err *e)
{
	struct err was = *e;

	if (rc != -EACCES || !s->confined)
		return rc;
	return err_set(e, rc, "%.300s (a running switch makes files only where its sockets were "
		       "when it started, and where --allow said)", was.msg);
}

int sw_port_add(struct sw *s, const Podpci__Port *m, struct err *e)
{
	struct sw_port *p;
	struct l2_conf *c;
	int rc;

	if (!m->name || !name_ok(m->name))
		return err_set(e, -EINVAL, "a port's name is letters, digits, '.', '_', '-', "
			       "at most %d of them", SW_NAME_MAX - 1);
	if (sw_find(s, m->name))
		return err_set(e, -EEXIST, "%s is there already", m->name);
	p = free_port(s);
	c = p ? malloc(sizeof(*c)) : NULL;
	if (!c)
		return p ? err_set(e, -ENOMEM, "out of memory") :
		       err_set(e, -ENOSPC, "%d ports are the most", L2_PORTS_MAX);
	l2_conf_init(c);
	rc = fill_port(p, m, e);
	if (!rc && p->kind->rights && s->confined)
		rc = err_set(e, -EPERM, "a running switch has given up the rights that a %s port "
			     "takes: give it when starting, with --port or --config",
			     p->kind->name);
	if (!rc) {
		c->flags |= p->kind->flags;
		rc = describe(c, m, e);
	}
	if (!rc)
		rc = p->kind->make(s, p, m, e);
	if (rc) {
		free(c);
		return explain(s, err_wrap(e, rc, "%s", m->name), e);
	}
	rc = workers_add(s->w, p->id, p->port, worker_of(s, m));
	if (rc) {
		p->port->ops->free(p->port);
		free(c);
		err_set(e, rc, "%s: cannot start%s%s: %s", p->name,
			p->socket[0] ? " at " : "", p->socket, strerror(-rc));
		return explain(s, rc, e);
	}
	l2_port_set(s->l2, p->id, c);
	rc = fix_addresses(s, p, e);
	if (rc) {
		sw_port_del(s, p);
		return rc;
	}
	p->used = true;
	if (p->kind->steers)
		l2_elsewhere(s->l2, p->id, tap_judged(p->port));
	sw_lanes_of(s, p, true);
	sw_direct_update(s);
	log_info("switch", "port=%s event=added kind=%s", p->name, p->kind->name);
	return 0;
}

int sw_port_set(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e)
{
	struct l2_conf *c;
	int rc;

	if (m->kind || m->socket || m->has_connect || m->dev || m->file || m->has_queues ||
	    m->has_worker || m->has_node || m->has_memory_max || m->address || m->bridge)
		return err_set(e, -EINVAL, "%s: its kind and place are fixed; remove it and add it "
			       "anew", p->name);
	c = sw_conf_copy(s, p);
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	rc = describe(c, m, e);
	if (rc) {
		free(c);
		return err_wrap(e, rc, "%s", p->name);
	}
	if (m->has_direct)
		p->direct = m->direct;
	rc = sw_port_conf(s, p, c, e);
	return rc ? rc : fix_addresses(s, p, e);
}
