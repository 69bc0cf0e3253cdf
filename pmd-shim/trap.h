/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trap.h - memory BARs: pages without access whose faults become register accesses.
 *
 * The handler finds the page, decodes the instruction, makes the access through ioapi.h, sets
 * the register and steps over the instruction. It allocates nothing, takes no lock of the shim
 * and leaves errno alone. An access the device refuses reads as ones, like an absent register.
 */
#ifndef PMD_SHIM_TRAP_H
#define PMD_SHIM_TRAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ioapi_func;

#define TRAP_AREAS_MAX 256

enum trap_counter { TRAPS_SERVED, TRAPS_UNKNOWN, TRAPS_FOREIGN, TRAP_COUNTERS };

/* Takes SIGSEGV and SIGBUS over; idempotent. */
int trap_install(void);

/* Traps [addr, addr + len), already mapped without access, as region bytes from off. */
int trap_add(void *addr, size_t len, struct ioapi_func *f, unsigned region, uint64_t off);

/* The range is about to be, or has been, mapped over: areas inside it are cut back. */
void trap_forget(const void *addr, size_t len);
/* Whether anything is trapped at all: one load. */
bool trap_any(void);
bool trap_touches(const void *addr, size_t len);

/*
 * The page of region bytes from off, wherever it is trapped, is from now on a page of a file, for
 * loads and stores without a trap; fd -1: it is trapped again. -EPERM: not a regular file in
 * memory; -ENOENT: the page is mapped nowhere. On failure it is trapped everywhere, and so is a
 * mapping of it that is made later.
 */
int trap_page(struct ioapi_func *f, unsigned region, uint64_t off, int fd, uint64_t at);

/*
 * Around a call that may take trapped pages away: while it is held no page of a file is put where
 * they were. trap_let() takes the answer.
 */
bool trap_hold(const void *addr, size_t len);
void trap_let(bool held);

uint64_t trap_count(enum trap_counter c);

void trap_fork_begin(void);
void trap_fork_end(void);
/* In the child: its pages are trapped, wherever the parent's stores go. */
void trap_child(void);

#endif
