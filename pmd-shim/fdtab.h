/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fdtab.h - which descriptors of the process are ours.
 *
 * An object of ours stands behind one or more placeholder descriptors: real ones (an empty
 * memfd, close-on-exec), so that their numbers are taken as the kernel takes them and all that
 * only passes descriptors around works. The table has a byte for each descriptor (an application
 * may lock all its memory, tables included) and is read without a lock: somebody else's costs
 * one load. Objects live in static pools and are never freed, so a stale pointer is at worst a
 * closed object, which says so.
 *
 * A forked child keeps the entries; a child that shares our memory (vfork) must not touch them:
 * whoever changes the table first asks fdtab_owned().
 */
#ifndef PMD_SHIM_FDTAB_H
#define PMD_SHIM_FDTAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FDTAB_MAX 65536		/* a placeholder above it cannot be had: open fails with EMFILE */
#define FDTAB_OBJECTS_MAX 255

struct ours;

/* Complete: what an object cannot do has a function that says so. Results are -errno. */
struct ours_ops {
	const char *name;		/* of the placeholder, "podpci:container" */
	long    (*ioctl)(struct ours *o, unsigned long req, void *arg);
	ssize_t (*pread)(struct ours *o, void *buf, size_t n, uint64_t off);
	ssize_t (*pwrite)(struct ours *o, const void *buf, size_t n, uint64_t off);
	/* The address, or -errno. */
	long    (*mmap)(struct ours *o, void *addr, size_t len, int prot, int flags, uint64_t off);
	void    (*released)(struct ours *o);	/* its last descriptor is gone */
};

struct ours {
	const struct ours_ops *ops;
	unsigned refs;			/* descriptors */
	uint8_t  number;		/* in fdtab_objects while it has any */
	uint64_t pos;			/* for read, write, lseek */
};

extern uint8_t fdtab[FDTAB_MAX];			/* 0: not ours */
extern struct ours *fdtab_objects[FDTAB_OBJECTS_MAX + 1];

/* NULL for everybody else's. */
static inline struct ours *fdtab_get(int fd)
{
	uint8_t n = (unsigned)fd < FDTAB_MAX ? __atomic_load_n(&fdtab[fd], __ATOMIC_ACQUIRE) : 0;

	return n ? __atomic_load_n(&fdtab_objects[n], __ATOMIC_ACQUIRE) : NULL;
}

/*
 * Puts a new placeholder in front of o; the descriptor or -errno (o is then not released). Calls
 * for the same object are the caller's to order.
 */
int  fdtab_open(struct ours *o);
/* The same; the placeholder's name, which is all another process sees of it, ends in ":num". */
int  fdtab_open_numbered(struct ours *o, unsigned num);
/* A descriptor that came from another process, its number unchanged, now stands for o. */
int  fdtab_adopt_fd(struct ours *o, int fd);
/* The placeholder is a copy of fd instead: what waits for descriptors can wait for it. */
int  fdtab_open_copy(struct ours *o, int fd);
/* The process whose descriptors these are: false in a vfork child. */
bool fdtab_owned(void);
void fdtab_adopt(void);		/* this process is the owner: at start and in a forked child */
/* Number of placeholders: 0 allows short cuts. */
unsigned fdtab_count(void);

/* The calls with at least one of ours or of the device side's in play. As libc's, but -errno. */
int  fdtab_close(int fd);
int  fdtab_dup(int fd);
int  fdtab_dup3(int fd, int to, int flags);	/* flags -1: dup2 */
long fdtab_fcntl(int fd, int cmd, void *arg);
int  fdtab_close_range(unsigned first, unsigned last, int flags);

ssize_t fdtab_read(struct ours *o, void *buf, size_t n);
ssize_t fdtab_write(struct ours *o, const void *buf, size_t n);
off_t   fdtab_lseek(struct ours *o, off_t off, int whence);

/* For ops that have nothing to say. */
long    ours_no_ioctl(struct ours *o, unsigned long req, void *arg);
ssize_t ours_no_pread(struct ours *o, void *buf, size_t n, uint64_t off);
ssize_t ours_no_pwrite(struct ours *o, const void *buf, size_t n, uint64_t off);
long    ours_no_mmap(struct ours *o, void *addr, size_t len, int prot, int flags, uint64_t off);

#endif
