/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pagemap.h - /proc/self/pagemap of a process whose devices take virtual addresses: the frame
 * number of a page is its virtual frame number, and stays so if the page is moved.
 */
#ifndef PMD_SHIM_PAGEMAP_H
#define PMD_SHIM_PAGEMAP_H

struct named;

/* As paths.h wants it. Writing and the option "pagemap=off" leave the file to the kernel. */
int pagemap_open(const struct named *n, int flags);
int pagemap_open_pid(const struct named *n, int flags);

#endif
