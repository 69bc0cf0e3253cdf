/* SPDX-License-Identifier: Apache-2.0 */
/* switchd.h - what makes a program a daemon: notifying systemd, metrics, giving up rights. */
#ifndef SIM_APP_SWITCHD_H
#define SIM_APP_SWITCHD_H

#include <stdint.h>

/* Of its vhost-user sockets, and of the control socket. */
#define SWITCHD_SOCKET_MODE 0660

struct err;
struct sw;
struct workers;

/* One sd_notify(3) message to $NOTIFY_SOCKET; nothing where there is none. */
void switchd_notify(const char *state);

/* Gives up this thread's capabilities for good. Workers call it before they do anything. */
int  switchd_drop_rights(void);

/* The same, and no file by its name any more: for a thread that needs none. */
int  switchd_seal_thread(void);

/*
 * The last of it, when nothing is left that needs rights. The calling thread and the workers
 * obey the rules (below; -1: there are none), and all threads may make only the system calls of
 * a running switch: any other kills the process.
 */
int  switchd_confine(struct workers *w, int rules, struct err *e);

/* ---- sim/app/switch_landlock.c: files a thread may reach by their names. Rules are a descriptor,
 * the caller's to close; -errno: this kernel has none. What is open already is nobody's concern. */
enum switchd_right {
	SWITCHD_MAKE,		/* sockets and new files, and to remove them */
	SWITCHD_REMOVE,		/* what is there */
	SWITCHD_READ,
};

int  switchd_rules_new(void);
int  switchd_rules_add(int rules, const char *dir, enum switchd_right right, struct err *e);
/* The same for the directory that a file is in, whatever is in its place one day. */
int  switchd_rules_add_beside(int rules, const char *file, enum switchd_right right,
			      struct err *e);
int  switchd_rules_obey(int rules);		/* this thread, for good */

/* ---- sim/app/switch_metrics.c: GET / over a Unix socket or a loopback port, one at a time */
struct metrics;
int  metrics_new(struct metrics **m, const char *address, struct err *e);
void metrics_free(struct metrics *m);		/* NULL is fine in all of them */
int  metrics_fd(const struct metrics *m);
void metrics_run(struct metrics *m, struct sw *s, uint64_t now_ms);

#endif
