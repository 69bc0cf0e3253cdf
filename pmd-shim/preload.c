// SPDX-License-Identifier: Apache-2.0
/*
 * preload.c - the overridden libc functions and nothing else. Each asks, without a lock or a
 * system call, whether the descriptor, path or range could be ours, and passes everything else
 * on untouched. The names must match preload.map.
 */
#undef _FORTIFY_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/io.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "pmd-shim/fds.h"
#include "pmd-shim/fdtab.h"
#include "pmd-shim/mem.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/port.h"
#include "pmd-shim/real.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/sig.h"
#include "sim/core/fd.h"

#define EXPORT __attribute__((visibility("default")))
#define SAME_AS(name) EXPORT __attribute__((alias(#name)))

/* The argument after `last`, if the caller passed one: else whatever its register held. */
#define VARG(last, type) \
	({ \
		va_list ap_; \
		va_start(ap_, last); \
		type arg_ = va_arg(ap_, type); \
		va_end(ap_); \
		arg_; \
	})

/* One of our own names is answered by the call, all others by the real function. */
#define BY_PATH(path, our_call, real_call) \
	({ \
		int rc_ = paths_may_own(path) ? (our_call) : PATHS_FOREIGN; \
		rc_ == PATHS_FOREIGN ? (real_call) : (int)shim_ret(rc_); \
	})

/* ---- names --------------------------------------------------------------------------------- */

EXPORT int open(const char *path, int flags, ...)
{
	mode_t mode = VARG(flags, mode_t);

	return BY_PATH(path, paths_open(AT_FDCWD, path, flags), real.open(path, flags, mode));
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = VARG(flags, mode_t);

	return BY_PATH(path, paths_open(dir, path, flags), real.openat(dir, path, flags, mode));
}

int __open_2(const char *path, int flags);
EXPORT int __open_2(const char *path, int flags)
{
	return BY_PATH(path, paths_open(AT_FDCWD, path, flags), real.__open_2(path, flags));
}

int __openat_2(int dir, const char *path, int flags);
EXPORT int __openat_2(int dir, const char *path, int flags)
{
	return BY_PATH(path, paths_open(dir, path, flags), real.__openat_2(dir, path, flags));
}

EXPORT int access(const char *path, int mode)
{
	return BY_PATH(path, paths_access(path, mode), real.access(path, mode));
}

EXPORT int stat(const char *path, struct stat *st)
{
	return BY_PATH(path, paths_stat(path, st), real.stat(path, st));
}

EXPORT int lstat(const char *path, struct stat *st)
{
	return BY_PATH(path, paths_stat(path, st), real.lstat(path, st));
}

int __xstat(int ver, const char *path, struct stat *st);
EXPORT int __xstat(int ver, const char *path, struct stat *st)
{
	return BY_PATH(path, paths_stat(path, st), real.__xstat(ver, path, st));
}

int __lxstat(int ver, const char *path, struct stat *st);
EXPORT int __lxstat(int ver, const char *path, struct stat *st)
{
	return BY_PATH(path, paths_stat(path, st), real.__lxstat(ver, path, st));
}

EXPORT DIR *opendir(const char *path)
{
	const char *dir = paths_may_own(path) ? paths_dir(path) : NULL;

	return real.opendir(dir ? dir : path);
}

/* ---- descriptors --------------------------------------------------------------------------- */

EXPORT int close(int fd)
{
	bool care = fdtab_get(fd) || fd_is_kept(fd);

	return care ? (int)shim_ret(fdtab_close(fd)) : real.close(fd);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	bool care = fdtab_count() || fd_kept_count();

	return care ? (int)shim_ret(fdtab_close_range(first, last, flags))
		    : real.close_range(first, last, flags);
}

EXPORT void closefrom(int low)
{
	if (fdtab_count() || fd_kept_count())
		fdtab_close_range(low > 0 ? (unsigned)low : 0, ~0u, 0);
	else
		real.closefrom(low);
}

EXPORT int dup(int fd)
{
	return fdtab_get(fd) ? (int)shim_ret(fdtab_dup(fd)) : real.dup(fd);
}

EXPORT int dup2(int fd, int to)
{
	bool care = fdtab_get(fd) || fdtab_get(to) || fd_is_kept(to);

	return care ? (int)shim_ret(fdtab_dup3(fd, to, -1)) : real.dup2(fd, to);
}

EXPORT int dup3(int fd, int to, int flags)
{
	bool care = fdtab_get(fd) || fdtab_get(to) || fd_is_kept(to);

	return care ? (int)shim_ret(fdtab_dup3(fd, to, flags)) : real.dup3(fd, to, flags);
}

EXPORT int fcntl(int fd, int cmd, ...)
{
	void *arg = VARG(cmd, void *);

	return fdtab_get(fd) ? (int)shim_ret(fdtab_fcntl(fd, cmd, arg)) : real.fcntl(fd, cmd, arg);
}

EXPORT ssize_t read(int fd, void *buf, size_t n)
{
	struct ours *o = fdtab_get(fd);

	return o ? shim_ret(fdtab_read(o, buf, n)) : real.read(fd, buf, n);
}

ssize_t __read_chk(int fd, void *buf, size_t n, size_t room);
EXPORT ssize_t __read_chk(int fd, void *buf, size_t n, size_t room)
{
	struct ours *o = n <= room ? fdtab_get(fd) : NULL;

	return o ? shim_ret(fdtab_read(o, buf, n)) : real.__read_chk(fd, buf, n, room);
}

EXPORT ssize_t write(int fd, const void *buf, size_t n)
{
	struct ours *o = fdtab_get(fd);

	return o ? shim_ret(fdtab_write(o, buf, n)) : real.write(fd, buf, n);
}

EXPORT ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	struct ours *o = fdtab_get(fd);

	return o ? shim_ret(o->ops->pread(o, buf, n, (uint64_t)off)) : real.pread(fd, buf, n, off);
}

ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t room);
EXPORT ssize_t __pread_chk(int fd, void *buf, size_t n, off_t off, size_t room)
{
	struct ours *o = n <= room ? fdtab_get(fd) : NULL;

	return o ? shim_ret(o->ops->pread(o, buf, n, (uint64_t)off))
		 : real.__pread_chk(fd, buf, n, off, room);
}

EXPORT ssize_t pwrite(int fd, const void *buf, size_t n, off_t off)
{
	struct ours *o = fdtab_get(fd);

	return o ? shim_ret(o->ops->pwrite(o, buf, n, (uint64_t)off))
		 : real.pwrite(fd, buf, n, off);
}

EXPORT off_t lseek(int fd, off_t off, int whence)
{
	struct ours *o = fdtab_get(fd);

	return o ? shim_ret(fdtab_lseek(o, off, whence)) : real.lseek(fd, off, whence);
}

/* Only where descriptors came along is there anything to do. */
EXPORT ssize_t recvmsg(int fd, struct msghdr *m, int flags)
{
	ssize_t n = real.recvmsg(fd, m, flags);

	if (n >= 0 && m->msg_controllen >= CMSG_LEN(sizeof(int)))
		fds_came(m);
	return n;
}

EXPORT int ioctl(int fd, unsigned long req, ...)
{
	struct ours *o = fdtab_get(fd);
	void *arg = VARG(req, void *);

	return o ? (int)shim_ret(o->ops->ioctl(o, req, arg)) : real.ioctl(fd, req, arg);
}

/* ---- memory -------------------------------------------------------------------------------- */

EXPORT void *mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	return mem_cares(flags, fd) ? shim_ret_ptr(mem_mmap(addr, len, prot, flags, fd, off))
				    : real.mmap(addr, len, prot, flags, fd, off);
}

EXPORT int munmap(void *addr, size_t len)
{
	return mem_cares_gone() ? (int)shim_ret(mem_munmap(addr, len)) : real.munmap(addr, len);
}

EXPORT void *mremap(void *addr, size_t len, size_t to_len, int flags, ...)
{
	void *to = VARG(flags, void *);

	return mem_cares_gone() ? shim_ret_ptr(mem_mremap(addr, len, to_len, flags, to))
				: real.mremap(addr, len, to_len, flags, to);
}

/* ---- ports --------------------------------------------------------------------------------- */

EXPORT int iopl(int level)
{
	return shim_present() ? (int)shim_ret(port_iopl(level)) : real.iopl(level);
}

EXPORT int ioperm(unsigned long from, unsigned long num, int on)
{
	return shim_present() ? (int)shim_ret(port_ioperm(from, num, on))
			      : real.ioperm(from, num, on);
}

/* ---- memory policy ------------------------------------------------------------------------- */

/*
 * The usual seccomp rules of containers answer memory policy calls with EPERM. libnuma, which
 * makes them by number, takes only ENOSYS for "no NUMA here", and EAL then finds each hugepage on
 * the wrong node. A plain jump for every other number: six arguments or fewer pass unchanged.
 */
long syscall_any(long n, long a, long b, long c, long d, long e, long f) __asm__("syscall");
EXPORT long syscall_any(long n, long a, long b, long c, long d, long e, long f)
{
	long rc;

	if (n != SYS_get_mempolicy)
		return real.syscall(n, a, b, c, d, e, f);
	rc = real.syscall(n, a, b, c, d, e, f);
	if (rc == -1 && errno == EPERM && shim_present())
		errno = ENOSYS;
	return rc;
}

/* ---- signals ------------------------------------------------------------------------------- */

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	return sig_action(sig, act, old);
}

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	return sig_signal(sig, handler);
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return sig_mask(real.sigprocmask, how, set, old);
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return sig_mask(real.pthread_sigmask, how, set, old);
}

/* ---- the same functions under other names (64-bit off_t is the only one here) -------------- */

SAME_AS(open) int open64(const char *path, int flags, ...);
SAME_AS(openat) int openat64(int dir, const char *path, int flags, ...);
SAME_AS(__open_2) int __open64_2(const char *path, int flags);
SAME_AS(__openat_2) int __openat64_2(int dir, const char *path, int flags);
SAME_AS(fcntl) int fcntl64(int fd, int cmd, ...);
SAME_AS(pread) ssize_t pread64(int fd, void *buf, size_t n, off_t off);
SAME_AS(pwrite) ssize_t pwrite64(int fd, const void *buf, size_t n, off_t off);
SAME_AS(__pread_chk) ssize_t __pread64_chk(int fd, void *buf, size_t n, off_t off, size_t room);
SAME_AS(lseek) off_t lseek64(int fd, off_t off, int whence);
SAME_AS(mmap) void *mmap64(void *addr, size_t len, int prot, int flags, int fd, off_t off);
SAME_AS(stat) int stat64(const char *path, struct stat64 *st);
SAME_AS(lstat) int lstat64(const char *path, struct stat64 *st);
SAME_AS(__xstat) int __xstat64(int ver, const char *path, struct stat64 *st);
SAME_AS(__lxstat) int __lxstat64(int ver, const char *path, struct stat64 *st);
