/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pagemap.h - /proc/self/pagemap of a process whose devices take virtual addresses: the frame
 * number of a page is its virtual frame number.
 */
#ifndef PMD_SHIM_PAGEMAP_H
#define PMD_SHIM_PAGEMAP_H

/* As paths.h wants it. Writing and the option "pagemap=off" leave the file to the kernel. */
int pagemap_open(unsigned unused, int flags);
int pagemap_open_pid(unsigned pid, int flags);

#endif
