/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ociedit.h - a container's config.json, before and after: hooks of ours and the environment.
 *
 * Pure. What the hook then does is the plan's (plan.h), so that the wrapper, CDI and the CNI
 * plugin's pods come to the same container.
 */
#ifndef CNI_PLUGIN_OCIEDIT_H
#define CNI_PLUGIN_OCIEDIT_H

#include <json-c/json.h>

#include "cni-plugin/plan.h"

#define OCIEDIT_ASK "podpci.dev/net"	/* annotation and label: "NAME,NAME" */
#define OCIEDIT_ENV "PODPCI_NET"	/* variable, likewise */
#define HOOK_TIMEOUT_S 60

struct err;

struct ociedit {
	const char *hook;		/* absolute */
	const char *node_file;		/* NULL: the default */
	char device[ATTACH_MAX][REQUEST_IFNAME_MAX + 1];	/* asked for by name */
	unsigned devices;
};

/* Adds the names in "NAME,NAME" that are not there yet. -EINVAL: one cannot be a name. */
int  ociedit_ask(struct ociedit *o, const char *names, struct err *e);
/* What the container asks for by annotation and environment. */
int  ociedit_asked(struct ociedit *o, struct json_object *config, struct err *e);

/* One hook as an object; `stage` is an OCI hook's name. For config.json and CDI. */
struct json_object *ociedit_hook(const struct ociedit *o, const char *stage);
/*
 * What POD_NETWORK says of one device (result_network()), as variables of the container:
 * PODPCI_NET1_PCI, _MAC, _MTU, _IPS, _GATEWAY, _ROUTES for net1; see the README. A container's
 * own variables stay. -EINVAL as below.
 */
int  ociedit_network(struct json_object *config, struct json_object *device, struct err *e);
/* -EINVAL: config.json is not one that can be edited; it may be half edited then. */
int  ociedit_apply(const struct ociedit *o, struct json_object *config, struct err *e);

#endif
