// SPDX-License-Identifier: Apache-2.0
// switch_confine.c - giving up what a running switch does not need. See switchd.h.
// pkg-config: libseccomp
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/if_tun.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "sim/app/switchd.h"
#include "sim/backend/workers.h"
#include "sim/core/err.h"

void switchd_notify(const char *state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path ? strlen(path) : 0;
	int fd;

	if (n < 2 || n >= sizeof(a.sun_path) || (path[0] != '/' && path[0] != '@'))
		return;
	memcpy(a.sun_path, path, n);
	if (a.sun_path[0] == '@')
		a.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	(void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&a,
		     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n));
	close(fd);
}

/*
 * What a running switch calls: memory of peers, their sockets and eventfds, its own sockets and
 * files in the control thread, and what libc does for threads and memory. No exec, no new
 * processes, no network beyond Unix sockets.
 */
static const int allowed[] = {
	/* moving frames, waiting */
	SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(readv), SCMP_SYS(writev),
	SCMP_SYS(io_uring_enter), SCMP_SYS(io_uring_register),
	SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_create1), SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(eventfd2),
	SCMP_SYS(timer_settime), SCMP_SYS(timer_delete), SCMP_SYS(getrusage),
	SCMP_SYS(nanosleep), SCMP_SYS(clock_nanosleep), SCMP_SYS(clock_gettime),
	SCMP_SYS(gettimeofday), SCMP_SYS(sched_yield),
	/* peers */
	SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto),
	SCMP_SYS(accept4), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
	SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(shutdown), SCMP_SYS(getsockname),
	SCMP_SYS(fcntl), SCMP_SYS(dup), SCMP_SYS(close), SCMP_SYS(lseek), SCMP_SYS(fstat),
	SCMP_SYS(newfstatat), SCMP_SYS(fstatfs), SCMP_SYS(readlink), SCMP_SYS(readlinkat),
	SCMP_SYS(memfd_create), SCMP_SYS(ftruncate),
	SCMP_SYS(fallocate),
	/* memory, theirs and ours */
	SCMP_SYS(mmap), SCMP_SYS(munmap), SCMP_SYS(mprotect), SCMP_SYS(madvise),
	SCMP_SYS(mremap), SCMP_SYS(brk), SCMP_SYS(mlock), SCMP_SYS(munlock), SCMP_SYS(mincore),
	/* sockets' files: made, given their mode, taken away */
	SCMP_SYS(umask), SCMP_SYS(unlink), SCMP_SYS(unlinkat),
	SCMP_SYS(lstat), SCMP_SYS(stat), SCMP_SYS(statx), SCMP_SYS(access), SCMP_SYS(faccessat),
	/* threads, signals, the end */
	SCMP_SYS(futex), SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(restart_syscall),
	SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(tgkill), SCMP_SYS(getrandom),
	SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(membarrier), SCMP_SYS(rseq),
	SCMP_SYS(set_robust_list),
};

/* Calls of which one form only is allowed, by the value of one argument. */
static const struct {
	int call;
	struct scmp_arg_cmp arg;
} narrow[] = {
	/* local sockets; the one for metrics is there already */
	{ SCMP_SYS(socket), { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = AF_UNIX } },
	/* the mode of a port's socket and no other: root's daemon owns more than its sockets */
	{ SCMP_SYS(chmod), { .arg = 1, .op = SCMP_CMP_EQ, .datum_a = SWITCHD_SOCKET_MODE } },
	{ SCMP_SYS(fchmod), { .arg = 1, .op = SCMP_CMP_EQ, .datum_a = SWITCHD_SOCKET_MODE } },
	/* asking for limits, not setting them: where a kept descriptor may go */
	{ SCMP_SYS(prlimit64), { .arg = 2, .op = SCMP_CMP_EQ, .datum_a = 0 } },
	/* reading only: the configuration file again on SIGHUP, /proc for libc */
	{ SCMP_SYS(openat), { .arg = 2, .op = SCMP_CMP_MASKED_EQ, .datum_a = O_ACCMODE,
			      .datum_b = O_RDONLY } },
	/* and a capture's file, which must be new */
	{ SCMP_SYS(openat), { .arg = 2, .op = SCMP_CMP_MASKED_EQ,
			      .datum_a = O_ACCMODE | O_CREAT | O_EXCL | O_TRUNC,
			      .datum_b = O_WRONLY | O_CREAT | O_EXCL } },
	/* where an uplink's frames go, and what they may lack */
	{ SCMP_SYS(bpf), { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = BPF_MAP_UPDATE_ELEM } },
	{ SCMP_SYS(bpf), { .arg = 0, .op = SCMP_CMP_EQ, .datum_a = BPF_MAP_DELETE_ELEM } },
	{ SCMP_SYS(ioctl), { .arg = 1, .op = SCMP_CMP_EQ, .datum_a = TUNSETOFFLOAD } },
};

static int filter(struct err *e)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_KILL_PROCESS);
	int rc;

	if (!c)
		return err_set(e, -ENOMEM, "seccomp: out of memory");
	rc = seccomp_attr_set(c, SCMP_FLTATR_CTL_TSYNC, 1);
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && !rc; i++)
		rc = seccomp_rule_add(c, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; i < sizeof(narrow) / sizeof(narrow[0]) && !rc; i++)
		rc = seccomp_rule_add_array(c, SCMP_ACT_ALLOW, narrow[i].call, 1, &narrow[i].arg);
	if (!rc)
		rc = seccomp_load(c);
	seccomp_release(c);
	return rc ? err_set(e, rc, "seccomp: %s", strerror(-rc)) : 0;
}

int switchd_drop_rights(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct none[2];

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	memset(none, 0, sizeof(none));
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap) >= 0; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap);	/* not ours to drop if not root */
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &h, none) < 0)
		return -errno;
	return 0;
}

int switchd_seal_thread(void)
{
	int rc = switchd_drop_rights(), rules = switchd_rules_new();

	if (rules >= 0 && !rc)
		rc = switchd_rules_obey(rules);
	if (rules >= 0)
		close(rules);
	return rc;
}

static int obey(void *rules)
{
	return switchd_rules_obey(*(int *)rules);
}

int switchd_confine(struct workers *w, int rules, struct err *e)
{
	int rc = switchd_drop_rights();

	if (rc)
		return err_set(e, rc, "cannot drop capabilities: %s", strerror(-rc));
	if (rules >= 0)
		rc = workers_each(w, obey, &rules);
	if (rules >= 0 && !rc)
		rc = obey(&rules);
	return rc ? err_set(e, rc, "Landlock: %s", strerror(-rc)) : filter(e);
}
