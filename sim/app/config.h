/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - what a user asks for: one grammar for `podpci run --net ...`, for the file given
 * with --config and for the file the shim reads inside the container.
 *
 * A file has one statement a line; lines that begin with '#' are comments:
 *	net socket=/run/sw/p0.sock,id=net0,mac=52:54:00:01:02:03,queues=2
 *	option coalesce=off
 */
#ifndef SIM_APP_CONFIG_H
#define SIM_APP_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "sim/vhost/vhost.h"

#define CONFIG_NETS_MAX 32
#define CONFIG_PAIRS_MAX 128	/* 2 * 128 data rings have numbers of 8 bits */
#define CONFIG_PATH "/sys/bus/pci/podpci.conf"	/* inside the container, see sysfs.h */

struct err;

enum net_mode { NET_MODERN, NET_TRANSITIONAL, NET_LEGACY };
enum net_duplex { NET_FULL, NET_HALF };

struct net_config {
	char     id[32];
	char     bdf[16];
	char     socket[VHOST_SOCKET_MAX];
	char     tap[16];		/* served by the kernel's vhost-net, without a socket */
	bool     server;
	uint8_t  mac[6];
	bool     mac_fixed;		/* the driver cannot change it */
	unsigned pairs;			/* "queues" */
	uint16_t queue_size;
	enum net_mode mode;
	enum ioapi_door door;		/* the host driver it seems to hang on */
	bool     packed;		/* offer VIRTIO_F_RING_PACKED if the back-end has it */
	bool     mrg_rxbuf;		/* offer VIRTIO_NET_F_MRG_RXBUF, likewise */
	uint16_t mtu;			/* 0: not offered */
	unsigned speed;			/* Mb/s; 0: not told to the driver */
	enum net_duplex duplex;
	bool     filters;		/* offer VLAN and more receive filters */
	bool     host_notifier;		/* a back-end's page may stand for a notify page */
	unsigned timeout_ms, wait_ms;
	bool     plugged;		/* later: no key of the grammar */
};

struct config {
	struct net_config net[CONFIG_NETS_MAX];
	unsigned nets;
	bool coalesce;			/* answer hugepage files with one file */
	bool sockets_later;		/* they are filled in, then finished again */
	bool pagemap;			/* answer /proc/self/pagemap with VFN for PFN */
	char ctl[96];			/* directory of control sockets; "": default, "off": none */
	char trace[256];		/* file all accesses are written to; "": none */
};

void config_init(struct config *c);			/* defaults, no devices */
/* One device, "socket=...,mac=..."; later keys win; -EINVAL names the key and what it takes. */
int  config_add_net(struct config *c, const char *text, struct err *e);
int  config_option(struct config *c, const char *text, struct err *e);	/* "coalesce=off" */
int  config_flag(const struct config *c, const char *option);	/* 1, 0 or -ENOENT */
/* Adds a file's statements; errors say file:line. Uses no stdio (the shim calls it). */
int  config_load(struct config *c, const char *path, struct err *e);
/* Fills what is open (ids, BDFs, MACs derived from host, id and socket), checks the whole. */
int  config_finish(struct config *c, struct err *e);
/* The file form; bytes needed as snprintf. */
int  config_format(const struct config *c, char *buf, unsigned len);
/* The --net keys and the options with their help, for usage(): NULL past the last. */
const char *config_help(unsigned i, const char **key);
const char *config_option_help(unsigned i, const char **key);

#endif
