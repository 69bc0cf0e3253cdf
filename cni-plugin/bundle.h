/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundle.h - what an OCI runtime says of a container: its state (a hook's stdin) and the
 * config.json of its bundle. Read only; ociedit.h changes the latter.
 */
#ifndef CNI_PLUGIN_BUNDLE_H
#define CNI_PLUGIN_BUNDLE_H

#include <stdbool.h>
#include <sys/types.h>

#include <json-c/json.h>

#include "cni-plugin/plan.h"

#define BUNDLE_PATH_MAX 4096
#define BUNDLE_ID_MAX   1024
#define BUNDLE_IDS_MAX  4

struct err;

struct oci_state {
	char id[BUNDLE_ID_MAX];
	char status[16];
	char bundle[BUNDLE_PATH_MAX];
	int64_t pid;			/* 0: none (any more) */
	/* Under which a network may know this container: its own id and its sandbox's. */
	const char *ids[BUNDLE_IDS_MAX];
	unsigned ids_n;
	bool sandbox;			/* it is a pod's sandbox itself: no application */
	struct json_object *doc;	/* owned; what the pointers above point into */
};

/* Takes doc; s is always fit for oci_state_free(). -EINVAL names what is wrong. */
int  oci_state_parse(struct oci_state *s, struct json_object *doc, struct err *e);
void oci_state_free(struct oci_state *s);

struct oci_config {
	struct json_object *doc;	/* owned */
	char root[BUNDLE_PATH_MAX];	/* absolute */
	struct container container;
	/* Devices by name that hooks of ours were given as arguments (CDI, wrapper). */
	const char *devices[ATTACH_MAX];
	unsigned devices_n;
};

/* Reads BUNDLE/config.json. `hook`: the program by which our hooks are known. */
int  oci_config_load(struct oci_config *c, const char *bundle, const char *hook, struct err *e);
int  oci_config_parse(struct oci_config *c, struct json_object *doc, const char *bundle,
		      const char *hook, struct err *e);
void oci_config_free(struct oci_config *c);

/*
 * The container's first process: its directory of /proc (>= 0) if it is that still, was there
 * before us and has a mount namespace of its own.
 */
int bundle_pin(pid_t pid, int64_t *start, struct err *e);
/* Start time of a process in ticks since boot, by its directory of /proc; 0 if it is gone. */
int64_t bundle_start_time(int proc);

#endif
