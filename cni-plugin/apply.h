/* SPDX-License-Identifier: Apache-2.0 */
/*
 * apply.h - carries a plan out. Only apply*.c (and what they call for one step: ipam.c, ovsdb.c,
 * enter.c) touch the world.
 *
 * A step that fails leaves nothing it made, or what its undo finds: apply_do() undoes it and
 * those before it, the last first. Being killed in between is covered by the record.
 */
#ifndef CNI_PLUGIN_APPLY_H
#define CNI_PLUGIN_APPLY_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

#include <json-c/json.h>

#include "cni-plugin/plan.h"

struct world {
	const struct attach *a;		/* of a plan to attach */
	int   dir;			/* the container's, locked */
	struct json_object *record;	/* as it will be stored; owned by the caller */
	struct json_object *ipam;	/* what it gave; owned by the caller (put it) */
	int   code;			/* a CNI error code that came from elsewhere, or 0 */
	const volatile sig_atomic_t *stop;	/* not 0: give up and undo; may be NULL */
	bool  gone;			/* undoing after a reboot: what it made went with it */
	/* of a plan to inject */
	pid_t pid;			/* the container's first process */
	int   proc;			/* its directory of /proc, so that it stays that process */
	const char *root;		/* path of its root, seen from its mount namespace */
	int   root_fd;			/* once inside; -1 */
	int   stage;			/* the tmpfs; -1 */
	int   held[2 * ATTACH_MAX + 2];
	unsigned held_n;
};

void world_init(struct world *w);
void world_free(struct world *w);	/* descriptors; not what the caller owns */

/* All or nothing. */
int apply_do(const struct plan *p, struct world *w, struct err *e);
/* Every step is tried; the first error is returned, all are in e as far as there is room. */
int apply_undo(const struct plan *p, struct world *w, struct err *e);
/* Looks whether what was done still stands; changes nothing. */
int apply_check(const struct plan *p, struct world *w, struct err *e);
/* Only the step that asks the node's switch for a port; one that is there is fine. */
int apply_port(const struct plan *p, struct world *w, struct err *e);
/*
 * A plan to inject, in a child process that alone enters the container's namespace. All of it
 * lives there and dies with it.
 */
int apply_inject(const struct plan *p, struct world *w, struct err *e);

/* ---- for apply.c: steps with a file of their own; same contract as a row of its table */

/* ipam.c: runs another plugin of CNI_PATH with our own configuration and environment. */
int ipam_run(struct world *w, const char *type, const char *command, struct json_object **result,
	     struct err *e);

/* enter.c: the container's side. */
int enter_do(const struct step *s, struct world *w, struct err *e);
int enter_undo(const struct step *s, struct world *w, struct err *e);

/* netdev.c */
int netdev_do(const struct step *s, struct world *w, struct err *e);
int netdev_undo(const struct step *s, struct world *w, struct err *e);
int netdev_check(const struct step *s, struct world *w, struct err *e);

/* ovsdb.c */
int ovs_port_add(const struct step *s, struct world *w, struct err *e);
int ovs_port_del(const struct step *s, struct world *w, struct err *e);
int ovs_port_check(const struct step *s, struct world *w, struct err *e);

/* render.c: lines of a configuration become the files of a bus below dirfd (sim/app/sysfs.h). */
int render_bus(const char *const *lines, unsigned n, uid_t owner, int dirfd, struct err *e);

/* grant.c: lets a user write to sockets in the directory, those there and those to come. */
int grant_sockets(int dirfd, uid_t uid, struct err *e);

#endif
