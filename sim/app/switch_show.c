// SPDX-License-Identifier: Apache-2.0
// switch_show.c - what the switch tells of itself. See switch.h.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "sim/app/switch.h"
#include "sim/backend/tap_lane.h"

#define FDB_ROWS 256			/* addresses per message */
#define LIST_MAX 4096			/* bytes of a VLAN list shown */
#define COUNTERS_MAX 64

static const char *const mode_names[WORKERS_MODES] = {
	[WORKERS_POLL] = "poll", [WORKERS_ADAPTIVE] = "adaptive", [WORKERS_EVENT] = "event",
};

/* protobuf-c's strings are not const, though nobody writes to them. */
static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

#define OPT(row, field, v) ((row).has_##field = 1, (row).field = (v))

/* Rows list up to this many addresses; the rest are in the table itself. */
struct macs {
	char text[L2_PORT_MACS_MAX][18];
	char *list[L2_PORT_MACS_MAX];
	unsigned n;
};

static void macs_of(const struct l2_conf *c, struct macs *m)
{
	for (m->n = 0; m->n < c->nmacs; m->n++) {
		uint8_t mac[6];

		memcpy(mac, &c->macs[m->n], 6);
		sw_format_mac(mac, m->text[m->n]);
		m->list[m->n] = m->text[m->n];
	}
}

static void port_conf_row(Podpci__PortRow *r, const struct l2_conf *c)
{
	r->mode = text(c->flags & L2_TRUNK ? "trunk" : "access");
	OPT(*r, pvid, c->pvid);
	if (c->mtu)
		OPT(*r, mtu, c->mtu);
	OPT(*r, spoofcheck, !!(c->flags & L2_CHECK_MAC));
	OPT(*r, learning, !!(c->flags & L2_LEARN));
	OPT(*r, learn_max, c->learn_max);
	if (c->in_bytes.rate)
		OPT(*r, in_bytes, c->in_bytes.rate);
	if (c->in_frames.rate)
		OPT(*r, in_frames, c->in_frames.rate);
	if (c->out_bytes.rate)
		OPT(*r, out_bytes, c->out_bytes.rate);
	if (c->storm.rate)
		OPT(*r, storm, c->storm.rate);
	if (c->flags & L2_ISOLATED)
		OPT(*r, isolated, 1);
	if (c->flags & L2_UPLINK)
		OPT(*r, uplink, 1);
	if (c->flags & L2_MIRROR)
		OPT(*r, mirror, 1);
	if (c->flags & L2_PASS_RESERVED)
		OPT(*r, reserved, 1);
	if (c->flags & L2_POOL)
		OPT(*r, pool, 1);
}

static void port_row(struct sw *s, const struct sw_port *p, struct ctl_call *c)
{
	Podpci__PortRow row = PODPCI__PORT_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	const struct l2_conf *conf = l2_port_conf(s->l2, p->id);
	char vlans[LIST_MAX], accept[80], features[24];
	uint64_t f = port_load(p->port->features);
	struct macs macs;

	row.name = text(p->name);
	row.kind = text(p->kind->name);
	row.state = text(port_load(p->port->up) ? "up" : "down");
	OPT(row, index, p->id);
	OPT(row, worker, (uint32_t)workers_of(s->w, p->id));
	row.socket = p->socket[0] ? text(p->socket) : NULL;
	if (p->connect)
		OPT(row, connect, 1);
	row.dev = p->dev[0] ? text(p->dev) : NULL;
	row.file = p->file[0] ? text(p->file) : NULL;
	OPT(row, queues, p->queues);
	if (p->memory_max)
		OPT(row, memory_max, p->memory_max);
	OPT(row, learned, l2fdb_count_of(l2_fdb(s->l2), (uint16_t)p->id));
	port_conf_row(&row, conf);
	sw_format_vlans(conf->vlans, vlans, sizeof(vlans));
	row.vlans = vlans;
	sw_format_accept(conf->accept, accept, sizeof(accept));
	row.accept = accept;
	macs_of(conf, &macs);
	row.n_macs = macs.n;
	row.macs = macs.list;
	if (port_load(p->port->up)) {
		snprintf(features, sizeof(features), "0x%llx", (unsigned long long)f);
		row.features = features;
		row.ring = text(f >> VIRTIO_F_RING_PACKED & 1 ? "packed" : "split");
	}
	r.n_port = 1;
	r.port = rows;
	ctl_call_rows(c, &r);
}

static void each(struct sw *s, const struct sw_port *only, struct ctl_call *c,
		 void (*row)(struct sw *, const struct sw_port *, struct ctl_call *))
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (s->port[i].used && (!only || only == &s->port[i]))
			row(s, &s->port[i], c);
}

void sw_show_ports(struct sw *s, const struct sw_port *only, struct ctl_call *c)
{
	each(s, only, c, port_row);
}

/* ---- counters ------------------------------------------------------------------------------ */

struct counters {
	unsigned n;
	char name[COUNTERS_MAX][40];
	uint64_t value[COUNTERS_MAX];
};

static void put(struct counters *k, const char *prefix, const char *name, uint64_t value)
{
	if (k->n == COUNTERS_MAX)
		return;
	snprintf(k->name[k->n], sizeof(k->name[0]), "%s%s", prefix, name);
	for (char *c = k->name[k->n]; *c; c++)
		if (*c == '-')
			*c = '_';
	k->value[k->n++] = value;
}

/* What the port counted, then what the switch decided about its frames. */
static void port_counters(struct sw *s, const struct sw_port *p, struct counters *k)
{
	uint64_t row[PORT_COUNTERS] = { 0 };
	struct tap_lane_counters lane = { 0 };
	struct l2_counters l2;

	k->n = 0;
	p->port->ops->count(p->port, row);
	for (unsigned i = 0; i < PORT_COUNTERS; i++)
		put(k, "", port_counter_name((enum port_counter)i), row[i]);
	l2_counters(s->l2, p->id, &l2);
	put(k, "", "broadcast", l2.broadcast);
	put(k, "", "multicast", l2.multicast);
	put(k, "", "flooded", l2.flooded);
	put(k, "", "copies", l2.copies);
	put(k, "", "learn_full", l2.learn_full);
	put(k, "", "moves_refused", l2.moves_refused);
	put(k, "", "forwarded", l2.cause[L2_FORWARD]);
	for (unsigned i = L2_FORWARD + 1; i < L2_CAUSES; i++)
		put(k, "drop_", l2_cause_name(i), l2.cause[i]);
	if (p->lane)
		tap_lane_counters(p->lane, &lane);
	put(k, "lane_", "frames", lane.frames);
	put(k, "lane_", "bounced", lane.bounced);
	put(k, "lane_", "copied_bytes", lane.copied_bytes);
	put(k, "lane_", "waits", lane.waits);
	put(k, "lane_", "dropped", lane.dropped);
	put(k, "lane_", "enters", lane.enters);
	put(k, "lane_", "sent", lane.sent);
	put(k, "lane_", "sent_in_parts", lane.sent_in_parts);
	put(k, "lane_", "send_failed", lane.send_failed);
}

static void stats_row(struct sw *s, const struct sw_port *p, struct ctl_call *c)
{
	Podpci__StatsRow row = PODPCI__STATS_ROW__INIT, *rows[1] = { &row };
	Podpci__Counter counter[COUNTERS_MAX], *list[COUNTERS_MAX];
	Podpci__Reply r = PODPCI__REPLY__INIT;
	struct counters k;

	port_counters(s, p, &k);
	for (unsigned i = 0; i < k.n; i++) {
		counter[i] = (Podpci__Counter)PODPCI__COUNTER__INIT;
		counter[i].name = k.name[i];
		OPT(counter[i], value, k.value[i]);
		list[i] = &counter[i];
	}
	row.name = text(p->name);
	row.n_counter = k.n;
	row.counter = list;
	r.n_stats = 1;
	r.stats = rows;
	ctl_call_rows(c, &r);
}

void sw_show_stats(struct sw *s, const struct sw_port *only, struct ctl_call *c)
{
	each(s, only, c, stats_row);
}

/* ---- addresses ----------------------------------------------------------------------------- */

struct fdb_page {
	Podpci__FdbRow row[FDB_ROWS], *list[FDB_ROWS];
	char mac[FDB_ROWS][18];
	char *port[FDB_ROWS][L2_PORTS_MAX];
	size_t n;
};

static void flush_page(struct fdb_page *g, struct ctl_call *c)
{
	Podpci__Reply r = PODPCI__REPLY__INIT;

	r.n_fdb = g->n;
	r.fdb = g->list;
	if (g->n)
		ctl_call_rows(c, &r);
	g->n = 0;
}

static unsigned targets(struct sw *s, uint16_t target, char **names)
{
	const struct l2_set *g = l2_group(s->l2, target);
	unsigned n = 0;

	if (!g) {
		names[0] = target < L2_PORTS_MAX ? s->port[target].name : text("?");
		return 1;
	}
	for (unsigned id = l2_set_next(g, 0); id < L2_PORTS_MAX; id = l2_set_next(g, id + 1))
		names[n++] = s->port[id].name;
	return n;
}

void sw_show_fdb(struct sw *s, const Podpci__FdbShow *q, struct ctl_call *c)
{
	const struct sw_port *only = q->port ? sw_find(s, q->port) : NULL;
	struct fdb_page *g = malloc(sizeof(*g));
	struct l2fdb_entry entry;
	uint64_t cursor = 0;

	if (!g)
		return;
	g->n = 0;
	while (l2fdb_next(l2_fdb(s->l2), &cursor, l2_now(s->l2), &entry)) {
		const struct l2_set *group = l2_group(s->l2, entry.target);
		Podpci__FdbRow *row = &g->row[g->n];

		if (only && !(group ? l2_set_has(group, only->id) : entry.target == only->id))
			continue;
		if (q->has_vlan && entry.vlan != q->vlan)
			continue;
		*row = (Podpci__FdbRow)PODPCI__FDB_ROW__INIT;
		sw_format_mac(entry.mac, g->mac[g->n]);
		row->mac = g->mac[g->n];
		OPT(*row, vlan, entry.vlan);
		row->port = g->port[g->n];
		row->n_port = targets(s, entry.target, g->port[g->n]);
		row->type = text(group ? "group" : entry.fixed ? "static" : "dynamic");
		if (!entry.fixed)
			OPT(*row, age, entry.age);
		g->list[g->n++] = row;
		if (g->n == FDB_ROWS)
			flush_page(g, c);
	}
	flush_page(g, c);
	free(g);
}

/* ---- pools, switch, workers ---------------------------------------------------------------- */

static void pool_row(struct sw *s, const struct sw_port *p, struct ctl_call *c)
{
	Podpci__PoolRow row = PODPCI__POOL_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	const struct l2_conf *conf = l2_port_conf(s->l2, p->id);
	static char macs[sizeof(p->pair) / sizeof(p->pair[0])][32];
	char *list[sizeof(p->pair) / sizeof(p->pair[0])];
	char vlans[LIST_MAX], accept[80], queue[16];

	if (!(conf->flags & L2_POOL))
		return;
	for (unsigned i = 0; i < p->npairs; i++) {
		char mac[18];

		sw_format_mac(p->pair[i].mac, mac);
		snprintf(macs[i], sizeof(macs[i]), "%s/%u", mac, p->pair[i].vlan);
		list[i] = macs[i];
	}
	row.name = text(p->name);
	row.n_macs = p->npairs;
	row.macs = list;
	sw_format_vlans(conf->vlans, vlans, sizeof(vlans));
	row.vlans = vlans;
	sw_format_accept(conf->accept, accept, sizeof(accept));
	row.accept = accept;
	OPT(row, spoofcheck, !!(conf->flags & L2_CHECK_MAC));
	OPT(row, is_default, l2_unknown_get(s->l2) == (int)p->id);
	if (p->lane) {
		snprintf(queue, sizeof(queue), "%u", tap_lane_queue(p->lane));
		row.queue = queue;
		OPT(row, direct, tap_lane_is_sending(p->lane));
	}
	r.n_pool = 1;
	r.pool = rows;
	ctl_call_rows(c, &r);
}

void sw_show_pools(struct sw *s, const struct sw_port *only, struct ctl_call *c)
{
	each(s, only, c, pool_row);
}

static unsigned ports_in_use(const struct sw *s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		n += s->port[i].used;
	return n;
}

void sw_show_switch(struct sw *s, struct ctl_call *c)
{
	Podpci__SwitchRow row = PODPCI__SWITCH_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	int unknown = l2_unknown_get(s->l2);

	row.version = text(PODPCI_VERSION);
	row.mode = text(mode_names[workers_mode_get(s->w)]);
	OPT(row, spin_us, s->opts.workers.spin_us);
	OPT(row, workers, workers_count(s->w));
	OPT(row, ports, ports_in_use(s));
	OPT(row, addresses, l2fdb_count(l2_fdb(s->l2)));
	row.unknown = unknown == L2_UNKNOWN_FLOOD ? text("flood") :
		      unknown == L2_UNKNOWN_DROP ? text("drop") : s->port[unknown].name;
	OPT(row, loopback, l2_loopback_get(s->l2));
	r.n_switch_ = 1;
	r.switch_ = rows;
	ctl_call_rows(c, &r);
}

void sw_show_workers(struct sw *s, struct ctl_call *c)
{
	for (unsigned i = 0; i < workers_count(s->w); i++) {
		Podpci__WorkerRow row = PODPCI__WORKER_ROW__INIT, *rows[1] = { &row };
		Podpci__Reply r = PODPCI__REPLY__INIT;
		struct worker_stats k;

		workers_stats(s->w, i, &k);
		OPT(row, worker, i);
		OPT(row, cpu, k.cpu);
		OPT(row, node, s->node[i]);
		OPT(row, ports, k.ports);
		OPT(row, frames, k.frames);
		OPT(row, rounds, k.rounds);
		OPT(row, busy_rounds, k.busy_rounds);
		OPT(row, sleeps, k.sleeps);
		OPT(row, busy_cycles, k.busy_cycles);
		r.n_worker = 1;
		r.worker = rows;
		ctl_call_rows(c, &r);
	}
}

/* ---- metrics ------------------------------------------------------------------------------- */

static void port_metrics(struct sw *s, FILE *f)
{
	struct counters *all = calloc(L2_PORTS_MAX, sizeof(*all));
	unsigned rows = 0;

	if (!all)
		return;
	for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
		if (!s->port[i].used)
			continue;
		port_counters(s, &s->port[i], &all[i]);
		rows = all[i].n;
	}
	for (unsigned k = 0; k < rows; k++) {
		bool head = false;

		for (unsigned i = 0; i < L2_PORTS_MAX; i++) {
			if (!s->port[i].used)
				continue;
			if (!head)
				fprintf(f, "# TYPE podpci_port_%s_total counter\n", all[i].name[k]);
			head = true;
			fprintf(f, "podpci_port_%s_total{port=\"%s\"} %llu\n", all[i].name[k],
				s->port[i].name, (unsigned long long)all[i].value[k]);
		}
	}
	free(all);
}

static void gauge(FILE *f, const char *name, uint64_t v)
{
	fprintf(f, "# TYPE podpci_%s gauge\npodpci_%s %llu\n", name, name, (unsigned long long)v);
}

static void worker_metrics(struct sw *s, FILE *f)
{
	static const struct { const char *name; size_t at; } rows[] = {
		{ "frames", offsetof(struct worker_stats, frames) },
		{ "rounds", offsetof(struct worker_stats, rounds) },
		{ "busy_rounds", offsetof(struct worker_stats, busy_rounds) },
		{ "sleeps", offsetof(struct worker_stats, sleeps) },
		{ "busy_cycles", offsetof(struct worker_stats, busy_cycles) },
	};

	for (unsigned k = 0; k < sizeof(rows) / sizeof(rows[0]); k++) {
		fprintf(f, "# TYPE podpci_worker_%s_total counter\n", rows[k].name);
		for (unsigned i = 0; i < workers_count(s->w); i++) {
			struct worker_stats w;

			workers_stats(s->w, i, &w);
			fprintf(f, "podpci_worker_%s_total{worker=\"%u\"} %llu\n", rows[k].name, i,
				(unsigned long long)*(uint64_t *)((char *)&w + rows[k].at));
		}
	}
}

static void forward_metrics(struct sw *s, FILE *f)
{
	static const char *const names[] = {
		"bursts", "frames", "bad_offload", "unfit", "shaped", "gone", "copies", "segments",
	};
	struct forward_counters c;
	_Static_assert(sizeof(c) == sizeof(names) / sizeof(names[0]) * sizeof(uint64_t),
		       "a name per counter");

	workers_forward_counters(s->w, &c);
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		fprintf(f, "# TYPE podpci_forward_%s_total counter\n"
			"podpci_forward_%s_total %llu\n", names[i], names[i],
			(unsigned long long)((uint64_t *)&c)[i]);
}

char *sw_metrics(struct sw *s)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);

	if (!f)
		return NULL;
	gauge(f, "switch_ports", ports_in_use(s));
	gauge(f, "switch_addresses", l2fdb_count(l2_fdb(s->l2)));
	fprintf(f, "# TYPE podpci_port_up gauge\n");
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (s->port[i].used)
			fprintf(f, "podpci_port_up{port=\"%s\"} %d\n", s->port[i].name,
				port_load(s->port[i].port->up));
	port_metrics(s, f);
	worker_metrics(s, f);
	forward_metrics(s, f);
	if (fclose(f)) {
		free(out);
		return NULL;
	}
	return out;
}

#define TEXT_MAX 32768			/* of one message */

void sw_show_metrics(struct sw *s, struct ctl_call *c)
{
	char *all = sw_metrics(s), *at = all;

	while (at && *at) {
		Podpci__TextRow row = PODPCI__TEXT_ROW__INIT, *rows[1] = { &row };
		Podpci__Reply r = PODPCI__REPLY__INIT;
		size_t n = strlen(at);
		char *end, cut;

		if (n > TEXT_MAX)
			for (n = TEXT_MAX; n > 1 && at[n - 1] != '\n'; n--)
				;
		end = at + n - (at[n - 1] == '\n');
		cut = *end;
		*end = 0;
		row.text = at;
		r.n_text = 1;
		r.text = rows;
		ctl_call_rows(c, &r);
		*end = cut;
		at += n;
	}
	free(all);
}
