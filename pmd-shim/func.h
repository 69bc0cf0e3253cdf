/* SPDX-License-Identifier: Apache-2.0 */
/*
 * func.h - a function of the bus as all doors of the process share it.
 *
 * A function belongs to one process of those that see the same sysfs: the holder has a lock on
 * the function's `config` file there. Within a process it is opened once: by the VFIO door,
 * with a domain of the driver's making, or by the doors that have no IOMMU (files, ports, direct
 * mapping), with the domain of lend.h; the second kind keeps it until the process ends, for a
 * mapped resource or a port has no descriptor whose closing would tell.
 *
 * A process that is not the holder can be its guest (ioremote.h): it was given descriptors of the
 * holder's, or opened files that any number of processes may open. Its accesses are then made by
 * the holder; memory and interrupts stay the holder's.
 */
#ifndef PMD_SHIM_FUNC_H
#define PMD_SHIM_FUNC_H

#include <stdbool.h>
#include <sys/types.h>

#include "include/ioapi.h"

#define FUNCS_MAX 64		/* functions of a bus that a door opens */

/* Counted, shim_lock held; -EBUSY: another process has it. */
int  func_claim(struct ioapi_func *f);
void func_unclaim(struct ioapi_func *f);

/* As func_claim(), as a guest of the holder; -ENOENT if there is none. */
int  func_join(struct ioapi_func *f);
bool func_is_joined(const struct ioapi_func *f);

/* Of a claimed function, shim_lock held: opens it on the driver's domain; -EBUSY if open. */
int  func_open(struct ioapi_func *f, struct ioapi_domain *d);
void func_close(struct ioapi_func *f);

/*
 * For the doors without an IOMMU: the function is open when this returns 0, whoever opened it.
 * Takes shim_lock. The first time it allocates and starts a thread, so in a trap it is only for
 * instructions that cannot be inside malloc().
 */
int  func_use(struct ioapi_func *f);
/* Opened in this process by any door; no lock. */
bool func_is_open(const struct ioapi_func *f);

/* As the ioapi calls, wherever the function is. Good for traps. */
int  func_read(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t *val);
int  func_write(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size, uint64_t val);
int  func_reset(struct ioapi_func *f);

/*
 * The memory that a holder gave the process for [off, off + len) of a file: a descriptor the
 * caller closes, *at its place in it. -ENOENT: no holder has that; else it cannot be told.
 */
int  func_memory(dev_t dev, uint64_t ino, uint64_t off, uint64_t len, uint64_t *at);

/* Anything claimed: a forked child's bus is then an orphan. */
bool func_any(void);
/* In the child, shim_lock held: the locks are the parent's, and so are functions that are open. */
void func_child(bool orphaned);

enum ioapi_door func_door(const struct ioapi_func *f);

/*
 * By the numbers of struct ioapi_ident, as names have them: /dev/vfio/N, /dev/uioN. 0, NULL: no
 * such function.
 */
unsigned func_number(const struct ioapi_func *f);
struct ioapi_func *func_numbered(unsigned num);
struct ioapi_func *func_of_uio(unsigned n);

#endif
