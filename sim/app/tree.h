/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tree.h - a directory being filled with small files. The first error sticks, and what would come
 * after it is skipped.
 *
 * Raw system calls: the preload library fills directories inside other people's programs, where
 * openat() and write() may be its own wrappers.
 */
#ifndef SIM_APP_TREE_H
#define SIM_APP_TREE_H

#include <stddef.h>
#include <sys/types.h>

struct err;

struct tree {
	int         dirfd;
	uid_t       owner;		/* of what is made; -1: whoever makes it */
	int         rc;
	struct err *e;
};

#define TREE_INIT(fd, err) ((struct tree){ .dirfd = (fd), .owner = (uid_t)-1, .e = (err) })

/* A path below dirfd, or other short text. */
struct place {
	char text[256];
};

struct place at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

void tree_dir(struct tree *t, struct place p);
void tree_link(struct tree *t, struct place target, struct place p);
/* `bytes` NULL: a file of holes. */
void tree_file(struct tree *t, struct place p, mode_t mode, const void *bytes, size_t len);
void tree_text(struct tree *t, struct place p, mode_t mode, const char *text);
/* What is there under the new name must not be. */
void tree_rename(struct tree *t, struct place from, struct place to);

/* What is not there is fine. Directories with all that is in them, links not followed. */
void tree_remove(int dirfd, const char *path);

/* Calls back with each name in a directory, "." and ".." left out; at most TREE_ENTRIES_MAX. */
#define TREE_ENTRIES_MAX 4096
void tree_each(int dirfd, const char *path, void (*each)(void *ctx, const char *name), void *ctx);

#endif
