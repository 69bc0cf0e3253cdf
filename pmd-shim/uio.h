/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uio.h - /dev/uioN as uio_pci_generic and igb_uio have it: the number of interrupts so far is
 * read from it, and it can be waited for by whatever waits for descriptors. Both use INTx, as
 * the second does with intr_mode=legacy; its maps are the memory BARs, in order.
 */
#ifndef PMD_SHIM_UIO_H
#define PMD_SHIM_UIO_H

#include <stdbool.h>

struct named;

/* As paths.h wants it. */
int  uio_open(const struct named *n, int flags);
bool uio_exists(const struct named *n);

#endif
