/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dev.h - the control socket of a process with simulated devices: what `podpci dev` asks.
 *
 * The socket exists while a driver has a device open, in the first of these places that can be
 * had: the directory of `option ctl=`, DEV_DIR, DEV_DIR_USER + uid. Its name is PID.ctl. It is
 * served by the bus's loop; no register access ever waits for it.
 */
#ifndef SIM_APP_DEV_H
#define SIM_APP_DEV_H

#define DEV_DIR      "/run/podpci/dev"
#define DEV_DIR_USER "/tmp/podpci-"
#define DEV_SUFFIX   ".ctl"

struct err;
struct ioapi_bus;
struct dev_ctl;

/* Nothing is opened yet. Without memory it is NULL, which the others take. */
struct dev_ctl *dev_ctl_new(struct ioapi_bus *bus);
/* A driver has a device: the socket is made, unless it is there. Failure is only logged. */
void dev_ctl_open(struct dev_ctl *c);
/* A driver has let a device go: without any the socket goes too. */
void dev_ctl_close(struct dev_ctl *c);
/* Where it listens, "" where it does not. */
const char *dev_ctl_path(const struct dev_ctl *c);
/* The process ends with devices open: the socket's file goes, nothing else. */
void dev_ctl_exit(const struct dev_ctl *c);
void dev_ctl_orphan(struct dev_ctl *c);
void dev_ctl_free(struct dev_ctl *c);	/* the loop has stopped */

/* Tells device state to one client; dev_show.c. */
struct ctl_call;
void dev_list(struct ioapi_bus *bus, const char *name, struct ctl_call *c);
void dev_show(struct ioapi_bus *bus, const char *name, struct ctl_call *c);
void dev_regs(struct ioapi_bus *bus, const char *name, struct ctl_call *c);
void dev_stats(struct ioapi_bus *bus, const char *name, struct ctl_call *c);
void dev_features(struct ioapi_bus *bus, const char *name, struct ctl_call *c);

#endif
