/* SPDX-License-Identifier: Apache-2.0 */
/*
 * netconf.h - a network's configuration: JSON on stdin for CNI, a file of /etc/podpci/net.d for
 * CDI and the runtime wrapper. One grammar.
 */
#ifndef CNI_PLUGIN_NETCONF_H
#define CNI_PLUGIN_NETCONF_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#define NETCONF_NAME_MAX 200
#define NETCONF_PATH_MAX 108		/* a socket's, with its end */

struct err;
struct node;

enum backend { BACKEND_SWITCH, BACKEND_OVS, BACKEND_SOCKET, BACKENDS };
enum memory { MEMORY_HUGETLBFS, MEMORY_TMPFS, MEMORY_NONE };

extern const char *const netconf_backends[];	/* NULL-terminated */

struct netconf {
	struct json_object *doc;	/* the whole, owned */
	char name[NETCONF_NAME_MAX + 1];
	char type[64];
	unsigned version;		/* index into netconf_versions */
	unsigned backend, mode, memory;	/* enum backend, net_mode, memory */
	char control[NETCONF_PATH_MAX];
	char ovs_db[NETCONF_PATH_MAX], ovs_bridge[64], iface_id[200];
	char socket[NETCONF_PATH_MAX];	/* of BACKEND_SOCKET, with {deviceID} and the like */
	bool socket_server;		/* the pod listens */
	bool socket_dir;		/* show the pod the socket's directory, not the socket */
	unsigned vlan, mtu, queues, queue_size;
	bool packed, mrg, spoofcheck, isolated, netdev;
	bool has_mac, has_memory;
	uint8_t mac[6];
	char device[16];		/* its name in the pod when chained */
	char bdf[16];
	uint64_t size, reserve, page;	/* memory, bytes */
	char device_id[128], device_info[256];	/* of runtimeConfig */
	bool has_device_id;
	struct json_object *ipam;	/* borrowed from doc; NULL without a type */
	char ipam_type[64];
	struct json_object *prev;	/* prevResult, borrowed */
	struct json_object *annotations;/* the pod's, borrowed; untrusted */
	struct json_object *valid;	/* cni.dev/valid-attachments, borrowed, whatever it is */
};

/* Newest last; NULL-terminated. */
extern const char *const netconf_versions[];
/* Index of a version as a name in netconf_versions, to compare with c->version. */
unsigned netconf_since(const char *version);

/*
 * Takes doc, also on failure. -EPROTONOSUPPORT: a version nobody here speaks, -EINVAL: a value
 * that cannot be, -EOPNOTSUPP: a key that cannot be honoured. c is always fit for
 * netconf_free().
 */
int  netconf_parse(struct netconf *c, struct json_object *doc, const struct node *node,
		   struct err *e);
void netconf_free(struct netconf *c);
/* A file: its name is not in it, it is `name`; errors name the file. */
int  netconf_load(struct netconf *c, const struct node *node, const char *name, struct err *e);

#endif
