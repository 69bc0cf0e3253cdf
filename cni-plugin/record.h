/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h - an attachment as it is recorded, and back.
 *
 * A record holds the network's configuration and the request as they were at ADD, and what was
 * settled then. From it comes the same plan as ADD had, whatever the configuration says today.
 */
#ifndef CNI_PLUGIN_RECORD_H
#define CNI_PLUGIN_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include <json-c/json.h>

#include "cni-plugin/plan.h"

struct recorded {
	struct json_object *doc;	/* owned */
	struct json_object *result;	/* borrowed; NULL if ADD did not end */
	struct node    node;		/* without the policies of today */
	struct netconf conf;
	struct request request;
	struct settled settled;
	struct attach  attach;
	bool ready, same_boot;
	int64_t made_ms;		/* since boot */
	int64_t pid, pid_start;		/* of a container we were told of by a hook; 0 */
};

/* To be stored; the caller's. */
struct json_object *record_make(const struct attach *a, int64_t pid, int64_t pid_start);
/* Takes doc. r is always fit for record_free(). -EPROTO: made by a newer program. */
int  record_read(struct recorded *r, const struct node *node, struct json_object *doc,
		 struct err *e);
void record_free(struct recorded *r);

/*
 * All whole records of a container's directory but `except` (may be NULL): *list is from malloc.
 * Broken ones are left out and counted.
 */
int  record_all(struct recorded **list, unsigned *n, unsigned *broken, int dir,
		const struct node *node, const char *except, struct err *e);
void record_list_free(struct recorded *list, unsigned n);

#endif
