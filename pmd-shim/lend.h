/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lend.h - memory for the doors without an IOMMU (files, ports).
 *
 * Their drivers give a device addresses, learnt from pagemap.h, without saying anybody which
 * memory they mean. So while a function is open through such a door, all hugepages that the
 * process has mapped shared are lent, each at IOVA = the address that pagemap.h tells, its own or
 * the first it had, and those it maps later as they come. Nothing else is: no heap, no stack, no
 * ordinary file.
 */
#ifndef PMD_SHIM_LEND_H
#define PMD_SHIM_LEND_H

#include <stdbool.h>
#include <stddef.h>

#define LEND_RANGES_MAX 1024	/* stretches of memory found when the first function opens */

struct ioapi_domain;

/* The process's one domain, filled when first asked for. shim_lock held. */
int  lend_domain(struct ioapi_domain **d);
bool lend_any(void);		/* whether there is one: one load */

/* A range was mapped from fd, or is gone. They take shim_lock. */
void lend_mapped(void *addr, size_t len, int fd);
void lend_gone(const void *addr, size_t len);

/* In a forked child: there is none. shim_lock held. */
void lend_child(void);

/*
 * Where to put a mapping of a hugepage file that may be anywhere: below 2^44, so that a legacy
 * device's 32-bit frame number can name it. NULL: no wish.
 */
void *lend_place(size_t len, int flags, int fd);

#endif
