// SPDX-License-Identifier: Apache-2.0
// switch.c - the switch as a whole, and its table of commands. See switch.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "sim/app/switch.h"
#include "sim/core/err.h"
#include "sim/core/log.h"
#include "sim/ctl/words.h"

#define LINE_WORDS_MAX 96

static const char *const mode_names[WORKERS_MODES] = {
	[WORKERS_POLL] = "poll", [WORKERS_ADAPTIVE] = "adaptive", [WORKERS_EVENT] = "event",
};

#define NODES_MAX 64

/* Where a CPU is, as the kernel tells it; -1: it does not, or the worker has no CPU of its own. */
static int node_of(int cpu)
{
	char path[64];

	for (int node = 0; node < NODES_MAX && cpu >= 0; node++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/node%d", cpu, node);
		if (access(path, F_OK) == 0)
			return node;
	}
	return -1;
}

int sw_new(struct sw **out, const struct sw_opts *o, struct err *e)
{
	struct l2_opts l2 = { .fdb_max = o->fdb_max, .age_max = o->age_max };
	struct sw *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return err_set(e, -ENOMEM, "out of memory");
	s->opts = *o;
	s->memory = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	for (unsigned i = 0; i < WORKERS_MAX; i++)
		s->node[i] = node_of(o->workers.cpu[i]);
	s->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->event_fd < 0) {
		rc = err_set(e, -errno, "eventfd: %s", strerror(errno));
		goto fail;
	}
	if (getrandom(l2.seed, sizeof(l2.seed), 0) != sizeof(l2.seed)) {
		rc = err_set(e, -EIO, "no random numbers to be had");
		goto fail;
	}
	rc = l2_new(&s->l2, &l2);
	if (rc) {
		err_set(e, rc, "cannot make a table of %u addresses: %s", o->fdb_max,
			strerror(-rc));
		goto fail;
	}
	rc = workers_new(&s->w, s->l2, &o->workers, e);
	if (rc)
		goto fail;
	*out = s;
	return 0;
fail:
	sw_free(s);
	return rc;
}

void sw_free(struct sw *s)
{
	if (!s)
		return;
	for (unsigned i = 0; s->w && i < L2_PORTS_MAX; i++)
		if (s->port[i].used)
			sw_port_del(s, &s->port[i]);
	workers_free(s->w);
	l2_free(s->l2);
	if (s->event_fd >= 0)
		close(s->event_fd);
	free(s);
}

void sw_tick(struct sw *s, uint64_t now_ms)
{
	eventfd_t n;

	(void)eventfd_read(s->event_fd, &n);
	sw_ports_events(s);
	sw_direct_watch(s);
	if (!s->started_ms)
		s->started_ms = now_ms;
	l2_tick(s->l2, (uint16_t)((now_ms - s->started_ms) / 1000));
}

struct sw_port *sw_find(struct sw *s, const char *name)
{
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (s->port[i].used && !strcmp(s->port[i].name, name))
			return &s->port[i];
	return NULL;
}

/* ---- commands ------------------------------------------------------------------------------ */

struct cmd {				/* one being carried out */
	struct sw *s;
	const Podpci__Request *q;
	struct ctl_call *c;		/* NULL: from a file */
	struct err *e;
};

static int no_port(struct cmd *k, const char *name)
{
	return err_set(k->e, -ENOENT, "%s: no such port", name ? name : "no name given");
}

static int on_port_add(struct cmd *k)
{
	return sw_port_add(k->s, k->q->port_add, k->e);
}

static int on_port_set(struct cmd *k)
{
	const char *name = k->q->port_set->name;
	struct sw_port *p = name ? sw_find(k->s, name) : NULL;

	return p ? sw_port_set(k->s, p, k->q->port_set, k->e) : no_port(k, name);
}

static int on_port_del(struct cmd *k)
{
	const char *name = k->q->port_del->name;
	struct sw_port *p = name ? sw_find(k->s, name) : NULL;

	if (!p)
		return no_port(k, name);
	sw_port_del(k->s, p);
	return 0;
}

/* Rows of one port, or of all. */
static int show(struct cmd *k, const Podpci__Name *m,
		void (*rows)(struct sw *, const struct sw_port *, struct ctl_call *))
{
	const struct sw_port *p = m->name ? sw_find(k->s, m->name) : NULL;

	if (m->name && !p)
		return no_port(k, m->name);
	rows(k->s, p, k->c);
	return 0;
}

static int on_port_show(struct cmd *k)
{
	return show(k, k->q->port_show, sw_show_ports);
}

static int on_stats_show(struct cmd *k)
{
	return show(k, k->q->stats_show, sw_show_stats);
}

static int on_pool_show(struct cmd *k)
{
	return show(k, k->q->pool_show, sw_show_pools);
}

static int on_fdb_show(struct cmd *k)
{
	const char *name = k->q->fdb_show->port;

	if (name && !sw_find(k->s, name))
		return no_port(k, name);
	sw_show_fdb(k->s, k->q->fdb_show, k->c);
	return 0;
}

static int station(struct cmd *k, const Podpci__Station *m, uint8_t mac[6], uint16_t *vlan)
{
	if (!m->mac || sw_parse_mac(m->mac, mac))
		return err_set(k->e, -EINVAL, "an address is written 52:54:00:01:02:03");
	if (m->has_vlan && m->vlan >= L2_VLANS - 1)
		return err_set(k->e, -EINVAL, "a VLAN is 0 to 4094");
	*vlan = m->has_vlan ? (uint16_t)m->vlan : 0;
	return 0;
}

static int on_fdb_add(struct cmd *k)
{
	const Podpci__Station *m = k->q->fdb_add;
	struct sw_port *p = m->port ? sw_find(k->s, m->port) : NULL;
	uint8_t mac[6];
	uint16_t vlan;
	int rc = station(k, m, mac, &vlan);

	if (rc)
		return rc;
	return p ? sw_pair_add(k->s, p, mac, vlan, k->e) : no_port(k, m->port);
}

static int on_fdb_del(struct cmd *k)
{
	struct err ignored;
	uint8_t mac[6];
	uint16_t vlan;
	uint64_t m = 0;
	int rc = station(k, k->q->fdb_del, mac, &vlan);

	if (rc)
		return rc;
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (k->s->port[i].used && !sw_pair_del(k->s, &k->s->port[i], mac, vlan, &ignored))
			return 0;
	memcpy(&m, mac, 6);
	rc = mac[0] & 1 ? -ENOENT : l2fdb_del(l2_fdb(k->s->l2), l2fdb_key(m, vlan));
	return rc ? err_set(k->e, rc, "%s vlan %u is not known", k->q->fdb_del->mac, vlan) : 0;
}

static int on_fdb_flush(struct cmd *k)
{
	const char *name = k->q->fdb_flush->name;
	struct sw_port *p = name ? sw_find(k->s, name) : NULL;

	if (name && !p)
		return no_port(k, name);
	for (unsigned i = 0; i < L2_PORTS_MAX; i++)
		if (k->s->port[i].used && (!p || p->id == i))
			l2fdb_flush(l2_fdb(k->s->l2), (uint16_t)i, false);
	return 0;
}

static int on_pool_add(struct cmd *k)
{
	return sw_pool_add(k->s, k->q->pool_add, k->e);
}

static int on_pool_del(struct cmd *k)
{
	return sw_pool_del(k->s, k->q->pool_del->name, k->e);
}

static int on_pool_default(struct cmd *k)
{
	return sw_pool_default(k->s, k->q->pool_default->to, k->e);
}

static int on_mac_add(struct cmd *k)
{
	return sw_pool_mac(k->s, k->q->mac_add, true, k->e);
}

static int on_mac_del(struct cmd *k)
{
	return sw_pool_mac(k->s, k->q->mac_del, false, k->e);
}

static int on_vlan_add(struct cmd *k)
{
	return sw_pool_vlan(k->s, k->q->vlan_add, true, k->e);
}

static int on_vlan_del(struct cmd *k)
{
	return sw_pool_vlan(k->s, k->q->vlan_del, false, k->e);
}

static int on_mode_set(struct cmd *k)
{
	return sw_pool_mode(k->s, k->q->mode_set, k->e);
}

static int on_loopback_set(struct cmd *k)
{
	if (!k->q->loopback_set->has_state)
		return err_set(k->e, -EINVAL, "loopback is on or off");
	l2_loopback(k->s->l2, k->q->loopback_set->state);
	sw_direct_update(k->s);
	return 0;
}

static int on_switch_show(struct cmd *k)
{
	sw_show_switch(k->s, k->c);
	return 0;
}

static int on_switch_set(struct cmd *k)
{
	const Podpci__Switch *m = k->q->switch_set;
	enum workers_mode mode = workers_mode_get(k->s->w);
	unsigned i = WORKERS_MODES;

	if (m->mode) {
		for (i = 0; i < WORKERS_MODES && strcmp(m->mode, mode_names[i]); i++)
			;
		if (i == WORKERS_MODES)
			return err_set(k->e, -EINVAL, "mode is poll, adaptive or event, not %s",
				       m->mode);
		mode = (enum workers_mode)i;
	}
	if (m->has_spin_us)
		k->s->opts.workers.spin_us = m->spin_us;
	workers_mode(k->s->w, mode, k->s->opts.workers.spin_us);
	return 0;
}

static int on_worker_show(struct cmd *k)
{
	sw_show_workers(k->s, k->c);
	return 0;
}

static int on_metrics_show(struct cmd *k)
{
	sw_show_metrics(k->s, k->c);
	return 0;
}

/* By body; `asks` ones only answer and mean nothing in a file. */
#define DO(NAME, fn)  [PODPCI__REQUEST__BODY_##NAME] = { fn, false }
#define ASK(NAME, fn) [PODPCI__REQUEST__BODY_##NAME] = { fn, true }

static const struct {
	int (*run)(struct cmd *k);
	bool asks;
} commands[] = {
	DO(PORT_ADD, on_port_add),	DO(PORT_DEL, on_port_del),
	ASK(PORT_SHOW, on_port_show),	DO(PORT_SET, on_port_set),
	ASK(FDB_SHOW, on_fdb_show),	DO(FDB_ADD, on_fdb_add),
	DO(FDB_DEL, on_fdb_del),	DO(FDB_FLUSH, on_fdb_flush),
	ASK(STATS_SHOW, on_stats_show),	DO(POOL_ADD, on_pool_add),
	DO(POOL_DEL, on_pool_del),	ASK(POOL_SHOW, on_pool_show),
	DO(POOL_DEFAULT, on_pool_default),
	DO(MAC_ADD, on_mac_add),	DO(MAC_DEL, on_mac_del),
	DO(VLAN_ADD, on_vlan_add),	DO(VLAN_DEL, on_vlan_del),
	DO(MODE_SET, on_mode_set),	DO(LOOPBACK_SET, on_loopback_set),
	ASK(SWITCH_SHOW, on_switch_show), DO(SWITCH_SET, on_switch_set),
	ASK(WORKER_SHOW, on_worker_show), ASK(METRICS_SHOW, on_metrics_show),
};

static int run(struct cmd *k)
{
	unsigned body = (unsigned)k->q->body_case;

	if (body >= sizeof(commands) / sizeof(commands[0]) || !commands[body].run)
		return err_set(k->e, -EOPNOTSUPP, "this switch does not know that command");
	if (!k->c && commands[body].asks)
		return err_set(k->e, -EINVAL, "a question has no place in a file");
	return commands[body].run(k);
}

void sw_handle(void *owner, const Podpci__Request *q, struct ctl_call *c)
{
	struct err e = { 0 };
	struct cmd k = { .s = owner, .q = q, .c = c, .e = &e };

	if (run(&k))
		ctl_call_fail(c, &e);
}

int sw_command(struct sw *s, const char *line, struct err *e)
{
	const char *words[LINE_WORDS_MAX];
	struct cmd k = { .s = s, .e = e };
	Podpci__Request *q;
	struct sw_port *p;
	unsigned n = 0;
	char *copy = strdup(line), *rest = NULL;
	int rc;

	if (!copy)
		return err_set(e, -ENOMEM, "out of memory");
	for (char *w = strtok_r(copy, " \t\r\n", &rest); w; w = strtok_r(NULL, " \t\r\n", &rest)) {
		if (w[0] == '#')
			break;
		if (n == LINE_WORDS_MAX) {
			free(copy);
			return err_set(e, -E2BIG, "more than %d words", LINE_WORDS_MAX);
		}
		words[n++] = w;
	}
	rc = n ? ctl_words_parse(words, n, &q, e) : 0;
	free(copy);
	if (rc || !n)
		return rc;
	k.q = q;
	p = q->body_case == PODPCI__REQUEST__BODY_PORT_ADD && q->port_add->name ?
	    sw_find(s, q->port_add->name) : NULL;
	rc = p ? 0 : run(&k);		/* what is there stays as it is */
	ctl_words_free(q);
	return rc;
}
