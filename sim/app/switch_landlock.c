// SPDX-License-Identifier: Apache-2.0
// switch_landlock.c - which files a running switch may reach: Landlock rules. See switchd.h.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim/app/switchd.h"
#include "sim/core/err.h"

/* What headers of Debian 12 do not name yet; the numbers are the kernel's interface. */
#define FS_UP_TO(last) (2 * (last) - 1)
#define FS_TRUNCATE (1ull << 14)
#define FS_IOCTL_DEV (1ull << 15)
#define NET_BIND_AND_CONNECT_TCP 3ull
#define SCOPE_SIGNAL (1ull << 1)

/*
 * What is forbidden unless a rule allows it, by the kernel's ABI: all it knows of, but for
 * abstract sockets, where a service manager may listen. Kernels take a longer structure than
 * theirs if the rest of it is zero.
 */
static const struct handled {
	int abi;
	struct {
		uint64_t fs, net, scoped;
	} attr;
} handled[] = {
	{ 6, { FS_UP_TO(FS_IOCTL_DEV), NET_BIND_AND_CONNECT_TCP, SCOPE_SIGNAL } },
	{ 5, { FS_UP_TO(FS_IOCTL_DEV), NET_BIND_AND_CONNECT_TCP, 0 } },
	{ 4, { FS_UP_TO(FS_TRUNCATE), NET_BIND_AND_CONNECT_TCP, 0 } },
	{ 3, { FS_UP_TO(FS_TRUNCATE), 0, 0 } },
	{ 2, { FS_UP_TO(LANDLOCK_ACCESS_FS_REFER), 0, 0 } },
	{ 1, { FS_UP_TO(LANDLOCK_ACCESS_FS_MAKE_SYM), 0, 0 } },
};

/* What a rule allows below its directory. */
static const uint64_t rights[] = {
	[SWITCHD_MAKE] = LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_REG |
			 LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_FILE,
	[SWITCHD_REMOVE] = LANDLOCK_ACCESS_FS_REMOVE_FILE,
	[SWITCHD_READ] = LANDLOCK_ACCESS_FS_READ_FILE,
};

int switchd_rules_new(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	for (size_t i = 0; i < sizeof(handled) / sizeof(handled[0]) && abi > 0; i++) {
		long fd;

		if (abi < handled[i].abi)
			continue;
		fd = syscall(SYS_landlock_create_ruleset, &handled[i].attr,
			     sizeof(handled[i].attr), 0);
		return fd < 0 ? -errno : (int)fd;
	}
	return abi < 0 ? -errno : -ENOSYS;
}

int switchd_rules_add(int rules, const char *dir, enum switchd_right right, struct err *e)
{
	struct landlock_path_beneath_attr a = { .allowed_access = rights[right] };
	int rc = 0;

	a.parent_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (a.parent_fd < 0)
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	if (syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &a, 0) < 0)
		rc = err_set(e, -errno, "Landlock: %s: %s", dir, strerror(errno));
	close(a.parent_fd);
	return rc;
}

int switchd_rules_add_beside(int rules, const char *file, enum switchd_right right, struct err *e)
{
	const char *slash = strrchr(file, '/');
	char dir[PATH_MAX];

	if (!slash)
		return switchd_rules_add(rules, ".", right, e);
	if ((size_t)snprintf(dir, sizeof(dir), "%.*s/", (int)(slash - file), file) >= sizeof(dir))
		return err_set(e, -ENAMETOOLONG, "%s: too long a path", file);
	return switchd_rules_add(rules, dir, right, e);
}

int switchd_rules_obey(int rules)
{
	return syscall(SYS_landlock_restrict_self, rules, 0) < 0 ? -errno : 0;
}
