// SPDX-License-Identifier: Apache-2.0
// paths.c - a table of name patterns and who answers for them.
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "pmd-shim/pagemap.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/vfio.h"
#include "sim/core/sys.h"

#define VFIO_DIR   "/dev/vfio"
#define GROUPS_DIR "/sys/kernel/iommu_groups"	/* lists the same numbers */
#define MODULES_DIR "/lib/modules/"
#define MODULES_OURS "/sys/bus/pci/podpci/modules/"	/* see sim/app/sysfs.h */

/* What a '#' in a pattern stands for: one decimal number, without leading zeros. */
struct route {
	const char *pattern;
	int  (*open)(unsigned num, int flags);
	bool (*exists)(unsigned num);	/* NULL: has no entry in a directory of ours */
	unsigned major, minor;		/* of the device file, as the kernel has it */
};

static bool container_exists(unsigned num)
{
	return shim_bus() != NULL;
}

static bool group_exists(unsigned num)
{
	return vfio_group_exists(num);
}

static const struct route routes[] = {
	{ "/dev/vfio/vfio",           vfio_open_container, container_exists,  10, 196 },
	{ "/dev/vfio/#",              vfio_open_group,     group_exists,     511,   0 },
	{ "/proc/self/pagemap",       pagemap_open,        NULL,               0,   0 },
	{ "/proc/thread-self/pagemap", pagemap_open,       NULL,               0,   0 },
	{ "/proc/#/pagemap",          pagemap_open_pid,    NULL,               0,   0 },
};

/* Matches and takes the number (0 without one). */
static bool matches(const char *pattern, const char *path, unsigned *num)
{
	*num = 0;
	for (; *pattern; pattern++) {
		const char *start = path;

		if (*pattern != '#') {
			if (*path++ != *pattern)
				return false;
			continue;
		}
		for (; *path >= '0' && *path <= '9' && path - start < 9; path++)
			*num = *num * 10 + (unsigned)(*path - '0');
		if (path == start || (*start == '0' && path - start > 1))
			return false;
	}
	return !*path;
}

static const struct route *route_of(const char *path, unsigned *num)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (matches(routes[i].pattern, path, num))
			return &routes[i];
	return NULL;
}

bool paths_may_own(const char *path)
{
	if (!path || path[0] != '/')
		return false;
	if (path[1] == 'd')
		return !strncmp(path, VFIO_DIR, sizeof(VFIO_DIR) - 1);
	if (path[1] == 'l')
		return !strncmp(path, MODULES_DIR, sizeof(MODULES_DIR) - 1);
	return path[1] == 'p' && !strncmp(path, "/proc/", 6);
}

/*
 * libkmod opens the indexes of the running kernel's modules, and lspci complains where an image
 * has none. What is not there is looked for among the empty ones beside our bus.
 */
static int modules_open(const char *path, int flags)
{
	char ours[256] = MODULES_OURS;
	const char *rest = path + sizeof(MODULES_DIR) - 1;
	long fd;

	if (!shim_present() || (flags & O_ACCMODE) != O_RDONLY ||
	    strlen(rest) >= sizeof(ours) - sizeof(MODULES_OURS) ||
	    sys_call(SYS_faccessat, AT_FDCWD, path, F_OK) != -ENOENT)
		return PATHS_FOREIGN;
	strcat(ours, rest);
	fd = sys_call(SYS_openat, AT_FDCWD, ours, flags, 0);
	return fd < 0 ? PATHS_FOREIGN : (int)fd;
}

int paths_open(const char *path, int flags)
{
	unsigned num;
	const struct route *r = route_of(path, &num);

	if (path[1] == 'l')
		return modules_open(path, flags);
	return r && shim_present() ? r->open(num, flags) : PATHS_FOREIGN;
}

static bool is_dir(const char *path)
{
	static const size_t len = sizeof(VFIO_DIR) - 1;

	return !strncmp(path, VFIO_DIR, len) &&
	       (!path[len] || (path[len] == '/' && !path[len + 1]));
}

/* Our route of a name that exists on our bus. */
static const struct route *entry_of(const char *path, unsigned *num)
{
	const struct route *r = route_of(path, num);

	return r && r->exists && shim_present() && r->exists(*num) ? r : NULL;
}

int paths_access(const char *path, int mode)
{
	unsigned num;

	if (entry_of(path, &num))
		return mode & X_OK ? -EACCES : 0;
	return is_dir(path) && shim_bus() ? 0 : PATHS_FOREIGN;
}

int paths_stat(const char *path, struct stat *st)
{
	unsigned num;
	const struct route *r = entry_of(path, &num);

	if (!r && (!is_dir(path) || !shim_bus()))
		return PATHS_FOREIGN;
	memset(st, 0, sizeof(*st));
	st->st_nlink = r ? 1 : 2;
	st->st_blksize = 4096;
	st->st_ino = 1 + (r ? 1 + r->minor + num : 0);
	st->st_mode = r ? S_IFCHR | 0666 : S_IFDIR | 0755;
	if (r)
		st->st_rdev = makedev(r->major, r->minor + num);
	return 0;
}

const char *paths_dir(const char *path)
{
	return is_dir(path) && shim_bus() ? GROUPS_DIR : NULL;
}
