// SPDX-License-Identifier: Apache-2.0
// fdtab.c - the table, and what happens to it when descriptors are copied and closed.
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "pmd-shim/fdtab.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"

uint8_t fdtab[FDTAB_MAX];
struct ours *fdtab_objects[FDTAB_OBJECTS_MAX + 1];

static unsigned entries;
static int owner_pid;

bool fdtab_owned(void)
{
	return sys_call(SYS_getpid) == owner_pid;
}

void fdtab_adopt(void)
{
	owner_pid = (int)sys_call(SYS_getpid);
}

unsigned fdtab_count(void)
{
	return __atomic_load_n(&entries, __ATOMIC_RELAXED);
}

/* An object without a descriptor has no number yet, and nobody else to give it one. */
static int number(struct ours *o)
{
	if (__atomic_load_n(&o->refs, __ATOMIC_ACQUIRE))
		return 0;
	for (unsigned n = 1; n <= FDTAB_OBJECTS_MAX; n++) {
		struct ours *none = NULL;

		if (__atomic_compare_exchange_n(&fdtab_objects[n], &none, o, false,
						__ATOMIC_ACQ_REL, __ATOMIC_RELAXED)) {
			o->number = (uint8_t)n;
			return 0;
		}
	}
	return -EMFILE;
}

static void enter(int fd, struct ours *o)
{
	__atomic_add_fetch(&o->refs, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&entries, 1, __ATOMIC_RELAXED);
	__atomic_store_n(&fdtab[fd], o->number, __ATOMIC_RELEASE);
}

/* Takes the entry away; the caller tells the object after the descriptor is closed. */
static struct ours *leave(int fd)
{
	uint8_t n = __atomic_exchange_n(&fdtab[fd], 0, __ATOMIC_ACQ_REL);
	struct ours *o = n ? fdtab_objects[n] : NULL;

	if (!o)
		return NULL;
	__atomic_sub_fetch(&entries, 1, __ATOMIC_RELAXED);
	if (__atomic_sub_fetch(&o->refs, 1, __ATOMIC_ACQ_REL))
		return NULL;
	__atomic_store_n(&fdtab_objects[n], NULL, __ATOMIC_RELEASE);
	return o;
}

/* Takes fd. */
static int put_before(struct ours *o, long fd)
{
	if (fd < 0)
		return (int)fd;
	if (fd >= FDTAB_MAX || number(o) < 0) {
		sys_call(SYS_close, (int)fd);
		return -EMFILE;
	}
	enter((int)fd, o);
	return (int)fd;
}

int fdtab_open(struct ours *o)
{
	return put_before(o, sys_call(SYS_memfd_create, o->ops->name, MFD_CLOEXEC));
}

int fdtab_open_numbered(struct ours *o, unsigned num)
{
	char name[48];

	snprintf(name, sizeof(name), "%s:%u", o->ops->name, num);
	return put_before(o, sys_call(SYS_memfd_create, name, MFD_CLOEXEC));
}

int fdtab_adopt_fd(struct ours *o, int fd)
{
	if (fd >= FDTAB_MAX || number(o) < 0)
		return -EMFILE;
	enter(fd, o);
	return 0;
}

int fdtab_open_copy(struct ours *o, int fd)
{
	return put_before(o, sys_call(SYS_fcntl, fd, F_DUPFD_CLOEXEC, 0));
}

/* Of a kept descriptor: the application did not open it, so to it there is none. */
int fdtab_close(int fd)
{
	struct ours *last;
	long rc;

	if (fd_is_kept(fd))
		return -EBADF;
	if (!fdtab_owned())
		return (int)sys_call(SYS_close, fd);
	last = leave(fd);
	rc = sys_call(SYS_close, fd);
	if (last)
		last->ops->released(last);
	return (int)rc;
}

/* A copy that does not fit the table would not be known as ours: rather none. */
static int entered_copy(long fd, struct ours *o)
{
	if (fd < 0 || !o || !fdtab_owned())
		return (int)fd;
	if (fd >= FDTAB_MAX) {
		sys_call(SYS_close, (int)fd);
		return -EMFILE;
	}
	enter((int)fd, o);
	return (int)fd;
}

int fdtab_dup(int fd)
{
	return entered_copy(sys_call(SYS_dup, fd), fdtab_get(fd));
}

/*
 * Onto a kept descriptor: refused as the kernel refuses a number another thread is just
 * opening. They live above the numbers that programs choose.
 */
int fdtab_dup3(int fd, int to, int flags)
{
	struct ours *last = NULL;
	long rc;

	if (fd_is_kept(to))
		return -EBUSY;
	if (fd == to && flags < 0)
		return sys_call(SYS_fcntl, fd, F_GETFD) < 0 ? -EBADF : fd;
	rc = flags < 0 ? sys_call(SYS_dup2, fd, to) : sys_call(SYS_dup3, fd, to, flags);
	if (rc < 0 || !fdtab_owned())
		return (int)rc;
	if (fdtab_get(to))
		last = leave(to);
	rc = entered_copy(rc, fdtab_get(fd));
	if (last)
		last->ops->released(last);
	return (int)rc;
}

long fdtab_fcntl(int fd, int cmd, void *arg)
{
	long rc = sys_call(SYS_fcntl, fd, cmd, arg);

	if (cmd != F_DUPFD && cmd != F_DUPFD_CLOEXEC)
		return rc;
	return entered_copy(rc, fdtab_get(fd));
}

/* A kernel before 5.9 (or a sandbox) has no close_range: one by one then, like libc. */
static int close_gap(unsigned first, unsigned last, int flags)
{
	struct rlimit lim;
	long rc;

	if (first > last)
		return 0;
	rc = sys_call(SYS_close_range, first, last, flags);
	if (rc != -ENOSYS || flags)
		return (int)rc;
	if (sys_call(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) < 0)
		return -ENOSYS;
	for (unsigned fd = first; fd <= last && fd < lim.rlim_cur; fd++)
		sys_call(SYS_close, fd);
	return 0;
}

int fdtab_close_range(unsigned first, unsigned last, int flags)
{
	unsigned from = first, end = last < FDTAB_MAX ? last : FDTAB_MAX - 1;
	int rc;

	_Static_assert(FDTAB_MAX >= FD_LEDGER_MAX, "the walk below sees every kept descriptor");
	if (first > last)
		return -EINVAL;
	/* Ours are close-on-exec already, and a vfork child closes for itself alone. */
	if ((flags & CLOSE_RANGE_CLOEXEC) || !fdtab_owned())
		return close_gap(first, last, flags);
	for (unsigned fd = first; fd <= end; fd++) {
		if (fdtab_get((int)fd)) {
			fdtab_close((int)fd);
		} else if (fd_is_kept((int)fd)) {
			if (fd > from) {
				rc = close_gap(from, fd - 1, flags);
				if (rc < 0)
					return rc;
			}
			from = fd + 1;
		}
	}
	return close_gap(from, last, flags);
}

ssize_t fdtab_read(struct ours *o, void *buf, size_t n)
{
	ssize_t done = o->ops->pread(o, buf, n, o->pos);

	if (done > 0)
		o->pos += (uint64_t)done;
	return done;
}

ssize_t fdtab_write(struct ours *o, const void *buf, size_t n)
{
	ssize_t done = o->ops->pwrite(o, buf, n, o->pos);

	if (done > 0)
		o->pos += (uint64_t)done;
	return done;
}

off_t fdtab_lseek(struct ours *o, off_t off, int whence)
{
	if (whence == SEEK_CUR)
		off += (off_t)o->pos;
	else if (whence != SEEK_SET)
		return -EINVAL;
	if (off < 0)
		return -EINVAL;
	o->pos = (uint64_t)off;
	return off;
}

long ours_no_ioctl(struct ours *o, unsigned long req, void *arg)
{
	return -ENOTTY;
}

ssize_t ours_no_pread(struct ours *o, void *buf, size_t n, uint64_t off)
{
	return -EINVAL;
}

ssize_t ours_no_pwrite(struct ours *o, const void *buf, size_t n, uint64_t off)
{
	return -EINVAL;
}

long ours_no_mmap(struct ours *o, void *addr, size_t len, int prot, int flags, uint64_t off)
{
	return -ENODEV;
}
