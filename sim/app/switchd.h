/* SPDX-License-Identifier: Apache-2.0 */
/* switchd.h - what makes a program a daemon: notifying systemd, metrics, giving up rights. */
#ifndef SIM_APP_SWITCHD_H
#define SIM_APP_SWITCHD_H

#include <stdint.h>

struct err;
struct sw;

/* One sd_notify(3) message to $NOTIFY_SOCKET; nothing where there is none. */
void switchd_notify(const char *state);

/* Gives up this thread's capabilities for good. Workers call it before they do anything. */
int  switchd_drop_rights(void);

/*
 * The same for the calling thread, and for all threads: only the system calls a running switch
 * makes; any other kills the process. To be called when nothing is left that needs rights; waits
 * until that many workers have dropped theirs.
 */
int  switchd_confine(unsigned workers, struct err *e);

/* ---- sim/app/switch_metrics.c: GET / over a Unix socket or a loopback port, one at a time */
struct metrics;
int  metrics_new(struct metrics **m, const char *address, struct err *e);
void metrics_free(struct metrics *m);		/* NULL is fine in all of them */
int  metrics_fd(const struct metrics *m);
void metrics_run(struct metrics *m, struct sw *s, uint64_t now_ms);

#endif
