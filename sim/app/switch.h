/* SPDX-License-Identifier: Apache-2.0 */
/*
 * switch.h - the node's switch put together: ports by name, their settings, and the commands
 * that change them. Decisions are l2switch's, frames move in workers.
 *
 * One control thread makes every call. Settings live in l2switch's configuration objects; what
 * only this layer knows of a port (its name, where its socket is) lives here.
 */
#ifndef SIM_APP_SWITCH_H
#define SIM_APP_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include <switch.pb-c.h>

#include "sim/backend/l2switch.h"
#include "sim/backend/workers.h"
#include "sim/ctl/server.h"

#define SW_NAME_MAX 32
#define SW_PATH_MAX 108

struct err;
struct sw;
struct tap_lane;

struct sw_opts {
	struct workers_opts workers;
	unsigned fdb_max;		/* 0: l2switch's default */
	uint16_t age_max;
	char     dir[SW_PATH_MAX];	/* where sockets are made that are not named */
	unsigned socket_mode;		/* permission bits of vhost-user sockets */
};

struct sw_port {
	bool used;
	unsigned id;
	const struct sw_kind *kind;
	char name[SW_NAME_MAX];
	char socket[SW_PATH_MAX], file[SW_PATH_MAX], dev[16];
	bool connect;
	unsigned queues;
	uint64_t memory_max;		/* bytes its peer may lend; 0: it has none */
	struct port *port;		/* the workers' */
	uint64_t announced;		/* address its peer asked us to learn; atomic, 0: none */
	struct sw *sw;
	struct tap_lane *lane;		/* a pool's own queue of an uplink; NULL */
	bool direct;			/* it may send past the switch */
	/* addresses fixed here: allowed sources of a port, owned pairs of a pool */
	unsigned npairs;
	struct sw_pair { uint8_t mac[6]; uint16_t vlan; } pair[L2_PORT_MACS_MAX * 4];
};

struct sw {
	struct sw_opts opts;
	struct l2 *l2;
	struct workers *w;
	uint64_t started_ms;
	int event_fd;			/* readable: a worker has left word */
	int node[WORKERS_MAX];		/* the NUMA node of each worker's CPU; -1: anywhere */
	uint64_t memory;		/* bytes the machine has: no peer needs to lend more */
	bool confined;			/* it may not call what some ports are made with */
	struct sw_port port[L2_PORTS_MAX];
};

/* A sort of port: how one is made from its description. */
struct sw_kind {
	const char *name;
	int (*make)(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e);
	uint32_t flags;			/* of its l2_conf, unless told otherwise */
	bool lanes, steers;		/* can have a lane; gives them */
	bool rights;			/* making one takes rights a confined switch has not */
};

int  sw_new(struct sw **s, const struct sw_opts *o, struct err *e);
void sw_free(struct sw *s);
/* About once a second, and when event_fd is readable. */
void sw_tick(struct sw *s, uint64_t now_ms);

/* A ctl_handler: owner is the struct sw. */
void sw_handle(void *owner, const Podpci__Request *q, struct ctl_call *c);
/* A line of commands as in a configuration file; an existing port is changed, not refused. */
int  sw_command(struct sw *s, const char *line, struct err *e);

struct sw_port *sw_find(struct sw *s, const char *name);	/* NULL: none */

/* ---- sim/app/switch_port.c */
int  sw_port_add(struct sw *s, const Podpci__Port *m, struct err *e);
int  sw_port_set(struct sw *s, struct sw_port *p, const Podpci__Port *m, struct err *e);
void sw_port_del(struct sw *s, struct sw_port *p);
void sw_ports_events(struct sw *s);	/* what workers left word of */
/* Puts c (from malloc, taken) in place of the port's configuration, after checking it. */
int  sw_port_conf(struct sw *s, struct sw_port *p, struct l2_conf *c, struct err *e);
/* NULL: no memory. */
struct l2_conf *sw_conf_copy(const struct sw *s, const struct sw_port *p);

/* ---- sim/app/switch_text.c: addresses, VLAN lists, accept modes as text */
int  sw_parse_mac(const char *text, uint8_t mac[6]);
void sw_format_mac(const uint8_t mac[6], char text[18]);
/* "a,b,c": at most max; the number or -EINVAL. */
int  sw_parse_macs(const char *text, uint64_t *macs, unsigned max);
int  sw_parse_vlans(const char *text, uint64_t *bits);		/* "1-10,20", "all" */
void sw_format_vlans(const uint64_t *bits, char *text, unsigned size);
int  sw_parse_accept(const char *text, uint8_t *accept);	/* "a,b" or "+a,-b" */
void sw_format_accept(uint8_t accept, char *text, unsigned size);

/* ---- sim/app/switch_show.c: rows of replies */
void sw_show_ports(struct sw *s, const struct sw_port *only, struct ctl_call *c);
void sw_show_stats(struct sw *s, const struct sw_port *only, struct ctl_call *c);
void sw_show_fdb(struct sw *s, const Podpci__FdbShow *q, struct ctl_call *c);
void sw_show_pools(struct sw *s, const struct sw_port *only, struct ctl_call *c);
void sw_show_switch(struct sw *s, struct ctl_call *c);
void sw_show_workers(struct sw *s, struct ctl_call *c);
/* All counters as Prometheus text, from malloc; NULL without memory. */
char *sw_metrics(struct sw *s);
void sw_show_metrics(struct sw *s, struct ctl_call *c);

/* ---- sim/app/switch_lane.c: queues of an uplink */
/* Gives the port a lane or takes it away, as its configuration wants it now. */
void sw_lane_update(struct sw *s, struct sw_port *p);
void sw_lane_close(struct sw *s, struct sw_port *p);
/* One of its addresses comes or goes. */
void sw_lane_pair(struct sw *s, struct sw_port *p, const uint8_t mac[6], uint16_t vlan, bool on);
/* An uplink has come, or is about to go. */
void sw_lanes_of(struct sw *s, const struct sw_port *up, bool open);

/* ---- sim/app/switch_direct.c: sending past the switch */
/* After a change of ports, their configurations or the switch's policies. */
void sw_direct_update(struct sw *s);
/* About once a second: lets go of an uplink whose programs are gone. */
void sw_direct_watch(struct sw *s);
/* Before a lane goes: all pools' frames go through the switch until the next update. */
void sw_direct_stop(struct sw *s);
/* The uplink has one queue: may p have it? */
bool sw_direct_alone(const struct sw *s, const struct sw_port *up, const struct sw_port *p);
/* Whether the port's lane is an uplink's only queue; the uplink then, or NULL. */
struct sw_port *sw_direct_sole(struct sw *s, const struct sw_port *p);
/* A pool with a lane joins or leaves a group. */
void sw_direct_group(struct sw *s, const struct sw_port *p, const uint8_t mac[6], uint16_t vlan,
		     bool on);

/* ---- sim/app/switch_pool.c: VMDq commands */
int  sw_pool_add(struct sw *s, const Podpci__Pool *m, struct err *e);
int  sw_pool_del(struct sw *s, const char *name, struct err *e);
int  sw_pool_default(struct sw *s, const char *to, struct err *e);
int  sw_pool_mac(struct sw *s, const Podpci__PoolMac *m, bool add, struct err *e);
int  sw_pool_vlan(struct sw *s, const Podpci__PoolVlan *m, bool add, struct err *e);
int  sw_pool_mode(struct sw *s, const Podpci__Mode *m, struct err *e);
/* Fixes or frees one pair at a port. */
int  sw_pair_add(struct sw *s, struct sw_port *p, const uint8_t mac[6], uint16_t vlan,
		 struct err *e);
int  sw_pair_del(struct sw *s, struct sw_port *p, const uint8_t mac[6], uint16_t vlan,
		 struct err *e);
void sw_pairs_clear(struct sw *s, struct sw_port *p);

#endif
