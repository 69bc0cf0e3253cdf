/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shim.h - the process's one simulated bus, opened when something first asks for it.
 *
 * Until then we are absent: no file is read, no handler installed. Whether there is a bus at
 * all is one look at the configuration file, made once; without it every override passes its
 * call on for ever. A configuration that cannot be used is told in one line and then counts as
 * none.
 *
 * In a child forked while a driver has files of ours open the bus is an orphan: its functions
 * answer -ENODEV and nothing of the parent's is touched. Any other child starts afresh.
 */
#ifndef PMD_SHIM_SHIM_H
#define PMD_SHIM_SHIM_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/core/lock.h"

struct ioapi_bus;
struct ioapi_func;

#define SHIM_CONFIG_PATH "/sys/bus/pci/podpci.conf"	/* or what $PODPCI_CONFIG says */

const char *shim_config_path(void);
/* A configuration file is there: the bus is or can be opened. No lock, mostly no system call. */
bool shim_present(void);
/* The bus, opened now if need be; NULL if there is none to be had. */
struct ioapi_bus *shim_bus(void);
/* The bus if it has been opened in this process and is alive. */
struct ioapi_bus *shim_bus_open(void);
/* An option of the doors; false without a bus. */
bool shim_option(const char *name);

/*
 * Guards everything of the doors that is not on the register path (VFIO state, DMA look-ups).
 * Device side locks come after it.
 */
extern struct lock shim_lock;

/* Libc's manners: -errno becomes -1 with errno set, anything else is the result. */
long shim_ret(long rc);
void *shim_ret_ptr(long rc);

/* $PODPCI_STATS: appends the counters of f (or, with NULL, the shim's own) to the file. */
void shim_stats_write(struct ioapi_func *f);

#endif
