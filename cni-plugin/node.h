/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node.h - what the administrator of the node decides: /etc/podpci/node.json.
 *
 * Network configurations may come from people who own a namespace of a cluster and not the node;
 * where on the node things may be is never theirs to say. A node without the file has defaults.
 */
#ifndef CNI_PLUGIN_NODE_H
#define CNI_PLUGIN_NODE_H

#include <stdbool.h>
#include <stdint.h>

#define NODE_FILE     "/etc/podpci/node.json"
#define NODE_DIRS_MAX 8
#define NODE_PATH_MAX 108

struct err;

struct node {
	char state[64];			/* records and what is mounted; root's alone */
	char networks[NODE_PATH_MAX];	/* NAME.json each: devices for CDI and the wrapper */
	char library[256], hook[256], runtime[256];
	char log[NODE_PATH_MAX];	/* a file to append to; "" is stderr */
	char control[NODE_PATH_MAX];	/* podpci-switch's */
	char ovs[NODE_PATH_MAX];	/* ovsdb-server's */
	char socket_dirs[NODE_DIRS_MAX][NODE_PATH_MAX];	/* others' vhost-user sockets */
	unsigned socket_dirs_n;
	unsigned backends;		/* bit per enum backend: what networks may ask for */
	unsigned attachments;		/* at most, per container */
	uint64_t huge_max;		/* bytes an attachment may reserve */
	unsigned deadline_ms;		/* of one run */
	unsigned grace_ms;		/* GC leaves what is younger: its list may be older */
};

/* path NULL: NODE_FILE, which may be absent. Others' files are refused (-EPERM). */
int node_load(struct node *n, const char *path, struct err *e);
/* Whether the path is in one of socket_dirs. */
bool node_socket_ok(const struct node *n, const char *path);

#endif
