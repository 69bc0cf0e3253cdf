/* SPDX-License-Identifier: Apache-2.0 */
/*
 * real.h - the functions we override, as the process would have had them without us.
 *
 * Resolved once, before most constructors run. A caller that is even earlier meets a stub that
 * resolves first: real.x() may be called at any time. On x86-64 the 64 variants of the large
 * file interface are the same functions and share a row.
 */
#ifndef PMD_SHIM_REAL_H
#define PMD_SHIM_REAL_H

#include <dirent.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>

/* X(return type, name, parameters, arguments, -errno as the answer of a libc without it) */
#define REAL_FUNCTIONS(X) \
	X(int, open, (const char *path, int flags, mode_t mode), (path, flags, mode)) \
	X(int, openat, (int dir, const char *path, int flags, mode_t mode), \
	  (dir, path, flags, mode)) \
	X(int, __open_2, (const char *path, int flags), (path, flags)) \
	X(int, __openat_2, (int dir, const char *path, int flags), (dir, path, flags)) \
	X(int, close, (int fd), (fd)) \
	X(int, close_range, (unsigned first, unsigned last, int flags), (first, last, flags)) \
	X(void, closefrom, (int low), (low)) \
	X(int, dup, (int fd), (fd)) \
	X(int, dup2, (int fd, int to), (fd, to)) \
	X(int, dup3, (int fd, int to, int flags), (fd, to, flags)) \
	X(int, fcntl, (int fd, int cmd, void *arg), (fd, cmd, arg)) \
	X(ssize_t, read, (int fd, void *buf, size_t n), (fd, buf, n)) \
	X(ssize_t, write, (int fd, const void *buf, size_t n), (fd, buf, n)) \
	X(ssize_t, pread, (int fd, void *buf, size_t n, off_t off), (fd, buf, n, off)) \
	X(ssize_t, pwrite, (int fd, const void *buf, size_t n, off_t off), (fd, buf, n, off)) \
	X(ssize_t, __read_chk, (int fd, void *buf, size_t n, size_t room), (fd, buf, n, room)) \
	X(ssize_t, __pread_chk, (int fd, void *buf, size_t n, off_t off, size_t room), \
	  (fd, buf, n, off, room)) \
	X(off_t, lseek, (int fd, off_t off, int whence), (fd, off, whence)) \
	X(ssize_t, recvmsg, (int fd, struct msghdr *m, int flags), (fd, m, flags)) \
	X(int, ioctl, (int fd, unsigned long req, void *arg), (fd, req, arg)) \
	X(void *, mmap, (void *addr, size_t len, int prot, int flags, int fd, off_t off), \
	  (addr, len, prot, flags, fd, off)) \
	X(int, munmap, (void *addr, size_t len), (addr, len)) \
	X(void *, mremap, (void *addr, size_t len, size_t to_len, int flags, void *to), \
	  (addr, len, to_len, flags, to)) \
	X(int, access, (const char *path, int mode), (path, mode)) \
	X(int, stat, (const char *path, struct stat *st), (path, st)) \
	X(int, lstat, (const char *path, struct stat *st), (path, st)) \
	X(int, __xstat, (int ver, const char *path, struct stat *st), (ver, path, st)) \
	X(int, __lxstat, (int ver, const char *path, struct stat *st), (ver, path, st)) \
	X(DIR *, opendir, (const char *path), (path)) \
	X(long, syscall, (long n, long a, long b, long c, long d, long e, long f), \
	  (n, a, b, c, d, e, f)) \
	X(int, iopl, (int level), (level)) \
	X(int, ioperm, (unsigned long from, unsigned long num, int on), (from, num, on)) \
	X(int, sigaction, (int sig, const struct sigaction *act, struct sigaction *old), \
	  (sig, act, old)) \
	X(sighandler_t, signal, (int sig, sighandler_t handler), (sig, handler)) \
	X(int, sigprocmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old)) \
	X(int, pthread_sigmask, (int how, const sigset_t *set, sigset_t *old), (how, set, old))

struct real {
#define X(type, name, params, args) type (*name) params;
	REAL_FUNCTIONS(X)
#undef X
};

extern struct real real;

#endif
