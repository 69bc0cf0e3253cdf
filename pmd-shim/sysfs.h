/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sysfs.h - the files of a function's directory that are more than text: config, enable and
 * resourceN. They are there whichever driver the function hangs on, as in the kernel.
 *
 * Opening a resource opens the function (func.h), the first write to config does too; reading
 * config is for everybody. A resource is read and written in register accesses and, if it is
 * memory, mapped.
 */
#ifndef PMD_SHIM_SYSFS_H
#define PMD_SHIM_SYSFS_H

struct named;

#define SYSFS_OPEN_MAX 64	/* of these files at once */

/* As paths.h wants it. */
int sysfs_open_config(const struct named *n, int flags);
int sysfs_open_enable(const struct named *n, int flags);
int sysfs_open_resource(const struct named *n, int flags);

#endif
