// SPDX-License-Identifier: Apache-2.0
// dev_show.c - what a process tells of its devices. See dev.h.
//
// Each device's state is copied under its lock and told without it: telling takes memory.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/virtio_config.h>

#include "include/ioapi.h"
#include "sim/app/dev.h"
#include "sim/app/sim.h"
#include "sim/bus/pci.h"
#include "sim/core/sys.h"
#include "sim/ctl/server.h"
#include "sim/virtio/net.h"
#include "sim/virtio/net_features.h"
#include "sim/virtio/vdev.h"

#define STATS_MAX 96
#define REGS_MAX  128
#define NEEDS_MAX 8

/* protobuf-c's strings are not const, though nobody writes to them. */
static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

#define OPT(row, field, v) ((row).has_##field = 1, (row).field = (v))

typedef void (*row_fn)(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c);

static void each(struct ioapi_bus *bus, const char *name, row_fn row, struct ctl_call *c)
{
	struct ioapi_ident id;
	struct ioapi_func *f;

	for (unsigned i = 0; (f = ioapi_bus_func(bus, i)); i++) {
		ioapi_ident(f, &id);
		if (!name || !strcmp(name, id.id))
			row(f, &id, c);
	}
}

/* ---- pieces of text ------------------------------------------------------------------------ */

static void bits_text(uint64_t val, const char *const *names, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned i = 0; names && names[i] && n < size; i++)
		if ((val >> i & 1) && names[i][0])
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? "|" : "", names[i]);
}

static void mac_text(const uint8_t *m, char buf[18])
{
	snprintf(buf, 18, "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5]);
}

static const char *state_of(const struct virtio_net_info *i)
{
	if (i->leaving)
		return "leaving";
	if (!i->open)
		return "free";
	return i->status & VDEV_NEEDS_RESET ? "broken" :
	       i->status & VDEV_DRIVER_OK ? "running" : "open";
}

static const char *mode_of(const struct virtio_net_info *i)
{
	return !i->modern ? "legacy" : i->legacy ? "transitional" : "modern";
}

static const char *link_of(const struct virtio_net_info *i)
{
	return !i->open ? "none" : i->link ? "up" : "down";
}

static uint32_t own_pid(void)
{
	return (uint32_t)sys_call(SYS_getpid);
}

/* ---- devices ------------------------------------------------------------------------------- */

static void list_row(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c)
{
	Podpci__DevRow row = PODPCI__DEV_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	struct virtio_net_info i;
	char mac[18];

	if (virtio_net_info(f, &i))
		return;
	mac_text(i.mac, mac);
	row.name = text(id->id);
	row.address = text(id->bdf);
	OPT(row, pid, own_pid());
	row.state = text(state_of(&i));
	row.mode = text(mode_of(&i));
	row.mac = mac;
	row.link = text(link_of(&i));
	OPT(row, pairs, i.pairs);
	row.socket = text(i.socket);
	if (!sim_shows(pci_func_bus(f), id->bdf))
		OPT(row, shown, 0);
	r.n_dev = 1;
	r.dev = rows;
	ctl_call_rows(c, &r);
}

void dev_list(struct ioapi_bus *bus, const char *name, struct ctl_call *c)
{
	each(bus, name, list_row, c);
}

static void process_name(char *buf, size_t size)
{
	long fd = sys_call(SYS_open, "/proc/self/comm", 0), n = -1;

	if (fd >= 0) {
		n = sys_call(SYS_read, fd, buf, size - 1);
		sys_call(SYS_close, fd);
	}
	buf[n > 0 ? n - 1 : 0] = '\0';	/* without the newline */
}

static void rx_text(const struct net_filter *f, char *buf, size_t size)
{
	const bool on[] = {
		f->promisc, f->allmulti, f->all_uni, f->all_multi, f->alluni, f->nomulti,
		f->nouni, f->nobcast,
	};
	static const char *const names[] = {
		"promisc", "allmulti", "all-unicast", "all-multicast", "alluni", "nomulti",
		"nouni", "nobcast", NULL,
	};
	uint64_t bits = 0;

	for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++)
		bits |= (uint64_t)on[i] << i;
	bits_text(bits, names, buf, size);
}

/* "5,100-102"; what does not fit is left out. */
static void vlans_text(const uint8_t *bits, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = '\0';
	for (unsigned v = 0; v < NET_VLANS && n + 12 < size; v++) {
		unsigned last = v;

		if (!(bits[v / 8] >> (v % 8) & 1))
			continue;
		while (last + 1 < NET_VLANS && (bits[(last + 1) / 8] >> ((last + 1) % 8) & 1))
			last++;
		n += (size_t)snprintf(buf + n, size - n, last > v ? "%s%u-%u" : "%s%u",
				      n ? "," : "", v, last);
		v = last;
	}
}

struct detail {
	Podpci__DevDetail row;
	char mac[18], status[80], rx[120], features[24], process[32], msix[32], vlans[256];
	char macs[2 * NET_FILTER_MAX][18];
	char *list[2 * NET_FILTER_MAX];
};

static void detail_fill(struct detail *d, struct ioapi_func *f, const struct virtio_net_info *i)
{
	const struct net_filter *t = &i->filter;
	unsigned n = 0;

	mac_text(i->mac, d->mac);
	bits_text(i->status, vdev_status_bits, d->status, sizeof(d->status));
	rx_text(t, d->rx, sizeof(d->rx));
	vlans_text(t->vlan, d->vlans, sizeof(d->vlans));
	snprintf(d->features, sizeof(d->features), "%#llx", (unsigned long long)i->accepted);
	snprintf(d->msix, sizeof(d->msix), "%s, %u vectors", i->msix_on ? "on" : "off",
		 ioapi_irq_count(f, IOAPI_IRQ_MSIX));
	process_name(d->process, sizeof(d->process));
	for (unsigned k = 0; k < t->unis; k++)
		mac_text(t->uni[k], d->macs[n++]);
	for (unsigned k = 0; k < t->multis; k++)
		mac_text(t->multi[k], d->macs[n++]);
	for (unsigned k = 0; k < n; k++)
		d->list[k] = d->macs[k];
	d->row.n_macs = n;
	d->row.macs = d->list;
}

static void detail_row(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c)
{
	struct detail d = { .row = PODPCI__DEV_DETAIL__INIT };
	Podpci__DevDetail *rows[1] = { &d.row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	struct virtio_net_info i;

	if (virtio_net_info(f, &i))
		return;
	detail_fill(&d, f, &i);
	d.row.name = text(id->id);
	d.row.address = text(id->bdf);
	OPT(d.row, pid, own_pid());
	d.row.process = d.process;
	d.row.state = text(state_of(&i));
	d.row.status = d.status[0] ? d.status : NULL;
	d.row.door = text(i.door);
	d.row.mode = text(mode_of(&i));
	d.row.mac = d.mac;
	d.row.link = text(link_of(&i));
	OPT(d.row, pairs, i.pairs);
	OPT(d.row, pairs_max, i.pairs_max);
	if (i.mtu)
		OPT(d.row, mtu, i.mtu);
	d.row.msix = d.msix;
	d.row.rx_mode = d.rx[0] ? d.rx : NULL;
	d.row.vlans = d.vlans[0] ? d.vlans : NULL;
	d.row.socket = text(i.socket);
	OPT(d.row, server, i.server);
	d.row.features = d.features;
	r.n_detail = 1;
	r.detail = rows;
	ctl_call_rows(c, &r);
}

static void queue_row(struct ioapi_func *f, const struct ioapi_ident *id, unsigned q,
		      struct ctl_call *c)
{
	Podpci__QueueRow row = PODPCI__QUEUE_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	char vector[8] = "none", desc[24], driver[24], device[24];
	struct virtio_net_queue vq;

	if (virtio_net_queue(f, q, &vq) || !vq.enabled)
		return;
	if (vq.vector != VDEV_NO_VECTOR)
		snprintf(vector, sizeof(vector), "%u", vq.vector);
	snprintf(desc, sizeof(desc), "%#llx", (unsigned long long)vq.desc);
	snprintf(driver, sizeof(driver), "%#llx", (unsigned long long)vq.avail);
	snprintf(device, sizeof(device), "%#llx", (unsigned long long)vq.used);
	row.name = text(id->id);
	OPT(row, queue, q);
	row.role = vq.role;
	row.state = text(!vq.running ? "set-up" : vq.serving ? "running" : "off");
	OPT(row, size, vq.size);
	row.vector = vector;
	row.desc = desc;
	row.driver = driver;
	row.device = device;
	r.n_queue = 1;
	r.queue = rows;
	ctl_call_rows(c, &r);
}

static void show_rows(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c)
{
	struct virtio_net_info i;

	detail_row(f, id, c);
	for (unsigned q = 0; !virtio_net_info(f, &i) && q < i.queues; q++)
		queue_row(f, id, q, c);
}

void dev_show(struct ioapi_bus *bus, const char *name, struct ctl_call *c)
{
	each(bus, name, show_rows, c);
}

/* ---- registers ----------------------------------------------------------------------------- */

static void reg_row(const struct ioapi_ident *id, const struct pci_reg_view *v,
		    struct ctl_call *c)
{
	Podpci__RegRow row = PODPCI__REG_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	char at[24], reg[80], value[24] = "-", means[80];

	snprintf(at, sizeof(at), "bar%u+%#llx", v->bar, (unsigned long long)v->off);
	snprintf(reg, sizeof(reg), "%s.%s", v->block, v->name);
	if (v->shown)
		snprintf(value, sizeof(value), "%#llx", (unsigned long long)v->val);
	bits_text(v->shown ? v->val : 0, v->bits, means, sizeof(means));
	row.name = text(id->id);
	row.at = at;
	OPT(row, size, v->size);
	row.register_ = reg;
	row.value = value;
	row.means = means[0] ? means : NULL;
	r.n_reg = 1;
	r.reg = rows;
	ctl_call_rows(c, &r);
}

static void regs_rows(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c)
{
	static struct pci_reg_view v[REGS_MAX];	/* the loop's thread is alone here */
	unsigned n = pci_func_regs(f, v, REGS_MAX);

	for (unsigned i = 0; i < n && i < REGS_MAX; i++)
		reg_row(id, &v[i], c);
}

void dev_regs(struct ioapi_bus *bus, const char *name, struct ctl_call *c)
{
	each(bus, name, regs_rows, c);
}

/* ---- counters ------------------------------------------------------------------------------ */

static void counters_row(const char *name, const struct ioapi_stat *s, unsigned n,
			 struct ctl_call *c)
{
	Podpci__StatsRow row = PODPCI__STATS_ROW__INIT, *rows[1] = { &row };
	Podpci__Counter counter[STATS_MAX], *list[STATS_MAX];
	Podpci__Reply r = PODPCI__REPLY__INIT;

	for (unsigned i = 0; i < n && i < STATS_MAX; i++) {
		counter[i] = (Podpci__Counter)PODPCI__COUNTER__INIT;
		counter[i].name = text(s[i].name);
		OPT(counter[i], value, s[i].value);
		list[i] = &counter[i];
		row.n_counter++;
	}
	row.name = text(name);
	row.counter = list;
	r.n_stats = 1;
	r.stats = rows;
	ctl_call_rows(c, &r);
}

static void stats_row(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c)
{
	struct ioapi_stat s[STATS_MAX];

	counters_row(id->id, s, ioapi_stats(f, s, STATS_MAX), c);
}

void dev_stats(struct ioapi_bus *bus, const char *name, struct ctl_call *c)
{
	struct ioapi_stat s[STATS_MAX];
	unsigned n = name ? 0 : sim_door_stats(bus, s, STATS_MAX);

	if (n)
		counters_row("process", s, n, c);
	each(bus, name, stats_row, c);
}

/* ---- features ------------------------------------------------------------------------------ */

static const char *const owners[] = {
	[FEATURE_DEVICE] = "device", [FEATURE_TOLD] = "both", [FEATURE_BACKEND] = "back-end",
};

static void feature_row(const struct ioapi_ident *id, const struct feature *t,
			const struct virtio_net_info *i, struct ctl_call *c)
{
	Podpci__FeatureRow row = PODPCI__FEATURE_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	uint64_t needs = t->all | t->any;
	char *list[NEEDS_MAX];

	row.name = text(id->id);
	OPT(row, bit, t->bit);
	row.feature = text(t->name);
	row.served_by = text(owners[t->owner]);
	OPT(row, offered, i->offered >> t->bit & 1);
	OPT(row, accepted, i->accepted >> t->bit & 1);
	for (unsigned b = 0; b < 64 && row.n_needs < NEEDS_MAX; b++)
		if (needs >> b & 1)
			list[row.n_needs++] = text(features_name(&net_features, b));
	row.needs = list;
	r.n_feature = 1;
	r.feature = rows;
	ctl_call_rows(c, &r);
}

static void feature_rows(struct ioapi_func *f, const struct ioapi_ident *id, struct ctl_call *c)
{
	struct virtio_net_info i;

	if (virtio_net_info(f, &i))
		return;
	for (unsigned k = 0; k < net_features.count; k++)
		feature_row(id, &net_features.rows[k], &i, c);
}

void dev_features(struct ioapi_bus *bus, const char *name, struct ctl_call *c)
{
	each(bus, name, feature_rows, c);
}
