/* SPDX-License-Identifier: Apache-2.0 */
/*
 * paths.h - which names are ours. A name of somebody else's costs a few compared bytes.
 */
#ifndef PMD_SHIM_PATHS_H
#define PMD_SHIM_PATHS_H

#include <stdbool.h>
#include <sys/stat.h>

/* What a name says besides its pattern. */
struct named {
	unsigned num;			/* 0 without one */
	char     bdf[16];		/* empty without one */
};

/* Whether the name could be ours; no system call, no lock. NULL may be asked. */
bool paths_may_own(const char *path);

/*
 * To be called for names that could be. Each answers 0 or more, -errno, or PATHS_FOREIGN: the
 * real function is to be asked.
 */
#define PATHS_FOREIGN (-4096)

int paths_open(int dir, const char *path, int flags);	/* dir as openat(2) has it */
int paths_access(const char *path, int mode);
int paths_stat(const char *path, struct stat *st);
/* A real directory to list in place of ours, or NULL. */
const char *paths_dir(const char *path);

#endif
