/* SPDX-License-Identifier: Apache-2.0 */
/*
 * run.h - attaching and detaching from first to last: lock, derive, plan, apply. What the CNI
 * plugin does for a runtime, the hook does for a container that asked by CDI or wrapper.
 */
#ifndef CNI_PLUGIN_RUN_H
#define CNI_PLUGIN_RUN_H

#include <signal.h>

#include "cni-plugin/apply.h"
#include "cni-plugin/record.h"

struct run {
	const struct node    *node;
	const struct netconf *conf;
	const struct request *request;
	int64_t pid, pid_start;		/* of a container that has no CNI runtime; else 0 */
	const volatile sig_atomic_t *stop;
	int code;			/* a CNI error code from elsewhere */
	bool acted;			/* a failure is of doing, not of what was asked */
};

/* *result (may be NULL) is the caller's. -EEXIST: attached already; the first stays whole. */
int run_attach(struct run *r, struct json_object **result, struct err *e);
/* By the record, or what can be told without one. Nothing there: 0. */
int run_detach(struct run *r, struct err *e);
int run_check(struct run *r, struct err *e);

/* Detaches one that is recorded in `dir`, a container's directory that is locked. */
int run_undo(const struct recorded *rec, int dir, struct run *r, struct err *e);

/* Each container's records in turn, locked. An error goes into e, the walk goes on. */
int run_walk(const struct node *node, struct run *r,
	     int (*visit)(const struct recorded *rec, int dir, struct run *r, void *arg,
			  struct err *e), void *arg, struct err *e);

/* Gives a switch that was started anew the ports of all attachments. */
int run_restore(const struct node *node, struct err *e);

/* Prints the plan to attach. */
int run_dry(struct run *r, struct err *e);

/*
 * Descriptors 0 to 2 are there, others are not inherited; SIGTERM and the deadline set *stop; what
 * is never needed is given up.
 */
void run_prepare(const struct node *node, volatile sig_atomic_t *stop);
void run_confine(void);
void run_log_to(const struct node *node);

#endif
