/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h - what the host remembers of attachments, so that DEL and GC find all that ADD made,
 * whatever became of ADD.
 *
 *	STATE/<digest of container>/<digest of network, container, interface>.json
 *	STATE/<digest of container>/<digest of the three>/	sockets, mounts
 *
 * A record is written before the first thing is made ("adding") and again when all stands
 * ("ready"), each time to a file beside it that is then renamed over it. A container's directory
 * is locked while anything in it changes; the lock dies with its process. All of it is root's.
 */
#ifndef CNI_PLUGIN_STATE_H
#define CNI_PLUGIN_STATE_H

#include <stdbool.h>

#include <json-c/json.h>

#define STATE_VERSION 1
#define STATE_CONTAINERS_MAX 65536	/* a walk ends there */
#define STATE_RECORDS_MAX 64		/* of one container */

struct err;

/*
 * Opens the state directory, made if `make`. -ENOENT: there is none. -EPERM: it is not ours
 * alone.
 */
int state_open(int *fd, const char *path, bool make, struct err *e);

/*
 * Opens and locks a container's directory, made if `make`; the lock goes with the descriptor.
 * -ENOENT: it has none. -EBUSY: somebody else held it for wait_ms.
 */
int state_lock(int *fd, int state, const char *container_digest, bool make, unsigned wait_ms,
	       struct err *e);
/* Closes, and removes the directory if it is empty by now. */
void state_unlock(int *fd, int state, const char *container_digest);

/* -ENOENT: none; -EBADMSG: there is one that cannot be read. */
int state_load(int dir, const char *digest, struct json_object **record, struct err *e);
int state_store(int dir, const char *digest, struct json_object *record, struct err *e);
int state_remove(int dir, const char *digest, struct err *e);
/* Under the lock: what a dead process began to write and did not finish. */
void state_sweep(int dir);

/* Names of a directory's entries that are digests, with ".json" (records) or without. */
struct state_names {
	char (*name)[33];
	unsigned n;
};
int  state_list(int dir, bool records, unsigned max, struct state_names *names, struct err *e);
void state_names_free(struct state_names *names);

/* A word that differs after a reboot. */
void state_boot(char text[64]);

#endif
