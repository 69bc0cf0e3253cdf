/* SPDX-License-Identifier: Apache-2.0 */
/*
 * podpci.h - for a driver that knows it is in a pod: the waist (ioapi.h) by direct calls.
 *
 * libpodpci.so, which such a program neither links nor needs, shows one function more than libc
 * has. A driver refers to it weakly:
 *
 *	#pragma weak podpci_direct
 *	const struct podpci_calls *pod = podpci_direct ? podpci_direct(PODPCI_CALLS) : NULL;
 *	struct ioapi_func *f = pod ? pod->find("0000:00:04.0") : NULL;
 *
 * A register access is then a call of some nanoseconds instead of a trap, and the legacy
 * QUEUE_PFN register takes 64-bit virtual frame numbers (ioapi.h).
 */
#ifndef PODPCI_PODPCI_H
#define PODPCI_PODPCI_H

#include "include/ioapi.h"

#define PODPCI_CALLS 1		/* the version of the table; later ones only add to its end */

/*
 * As the calls of ioapi.h that they are named after, on the one bus of the process. A function
 * belongs to one process and to one door of it: open says -EBUSY otherwise. It is attached to
 * the domain in the same step; the domain must outlive it.
 */
struct podpci_calls {
	struct ioapi_func *(*func)(unsigned i);		/* in BDF order; NULL past the last */
	struct ioapi_func *(*find)(const char *bdf);
	void     (*ident)(const struct ioapi_func *f, struct ioapi_ident *ident);
	int      (*region)(const struct ioapi_func *f, unsigned region, struct ioapi_region *r);
	unsigned (*irq_count)(const struct ioapi_func *f, unsigned index);
	int      (*open)(struct ioapi_func *f, struct ioapi_domain *d);
	void     (*close)(struct ioapi_func *f);
	int      (*read)(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size,
			 uint64_t *val);
	int      (*write)(struct ioapi_func *f, unsigned region, uint64_t off, unsigned size,
			  uint64_t val);
	int      (*irq_set)(struct ioapi_func *f, unsigned index, unsigned start, unsigned count,
			    const int *fds);
	int      (*reset)(struct ioapi_func *f);
	int      (*domain_new)(struct ioapi_domain **d);
	void     (*domain_free)(struct ioapi_domain *d);
	int      (*dma_map)(struct ioapi_domain *d, const struct ioapi_dma *pieces, unsigned n);
	int      (*dma_unmap)(struct ioapi_domain *d, uint64_t iova, uint64_t size,
			      uint64_t *unmapped);
};

/* NULL: there is no simulated bus in this process, or the library is older than that version. */
const struct podpci_calls *podpci_direct(unsigned version);

#endif
