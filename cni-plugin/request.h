/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.h - what a runtime asks by environment: the CNI_* variables, checked.
 *
 * Pure: the environment is handed in. Which variables a command needs is a row of the command's
 * table (main.c).
 */
#ifndef CNI_PLUGIN_REQUEST_H
#define CNI_PLUGIN_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#define REQUEST_ID_MAX     256
#define REQUEST_IFNAME_MAX 15
#define REQUEST_ARGS_MAX   4096

struct err;

enum request_need {
	NEED_CONTAINER = 1, NEED_NETNS = 2, NEED_IFNAME = 4, NEED_PATH = 8,
	MAY_NETNS = 16,			/* used if there, may be empty */
};

struct request {
	char container[REQUEST_ID_MAX + 1];
	char netns[256];		/* "" if there is none */
	char ifname[REQUEST_IFNAME_MAX + 1];
	char path[4096];		/* CNI_PATH as it is */
	char pod_name[256], pod_namespace[64], pod_uid[64];	/* of CNI_ARGS */
	bool has_mac;
	uint8_t mac[6];
};

/* -EBADR names every variable that is missing or wrong. */
int request_parse(struct request *r, unsigned needs, const char *(*get)(const char *name),
		  struct err *e);
/* A linux interface name that is safe in paths, in messages and as a word. */
bool request_ifname_ok(const char *name);

#endif
