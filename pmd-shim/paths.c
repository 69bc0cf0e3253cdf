// SPDX-License-Identifier: Apache-2.0
// paths.c - a table of name patterns and who answers for them.
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "pmd-shim/func.h"
#include "pmd-shim/pagemap.h"
#include "pmd-shim/paths.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/sysfs.h"
#include "pmd-shim/uio.h"
#include "pmd-shim/vfio.h"
#include "sim/core/fd.h"
#include "sim/core/sys.h"

#define NAME_BYTES 256		/* of a name of ours, links followed */
#define DEVICES    "/sys/bus/pci/devices/"
#define UIO_FILE   "/dev/uio"
#define VFIO_DIR   "/dev/vfio"
#define GROUPS_DIR "/sys/kernel/iommu_groups"	/* lists the same numbers */
#define MODULES_DIR "/lib/modules/"
#define MODULES_OURS "/sys/bus/pci/podpci/modules/"	/* see sim/app/sysfs.h */

/*
 * What a '#' in a pattern stands for: one decimal number, without leading zeros; an '@': a BDF.
 * Files of functions are matched by the name they have when all links are followed.
 */
struct route {
	const char *pattern;
	int  (*open)(const struct named *n, int flags);
	bool (*exists)(const struct named *n);	/* NULL: has no entry in a directory of ours */
	unsigned major, minor;		/* of the device file, as the kernel has it */
};

static bool container_exists(const struct named *n)
{
	return shim_bus() != NULL;
}

static const struct route routes[] = {
	{ "/dev/vfio/vfio",           vfio_open_container, container_exists,  10, 196 },
	{ "/dev/vfio/#",              vfio_open_group,     vfio_group_exists, 511,  0 },
	{ "/dev/uio#",                uio_open,            uio_exists,        510,  0 },
	{ "/proc/self/pagemap",       pagemap_open,        NULL,               0,   0 },
	{ "/proc/thread-self/pagemap", pagemap_open,       NULL,               0,   0 },
	{ "/proc/#/pagemap",          pagemap_open_pid,    NULL,               0,   0 },
	{ DEVICES "@/config",         sysfs_open_config,   NULL,               0,   0 },
	{ DEVICES "@/enable",         sysfs_open_enable,   NULL,               0,   0 },
	{ DEVICES "@/resource#",      sysfs_open_resource, NULL,               0,   0 },
	{ DEVICES "@/resource#_wc",   sysfs_open_resource, NULL,               0,   0 },
};

/* Steps over a number; false if there is none. */
static bool take_number(const char **path, unsigned *num)
{
	const char *start = *path;

	*num = 0;
	for (; **path >= '0' && **path <= '9' && *path - start < 9; (*path)++)
		*num = *num * 10 + (unsigned)(**path - '0');
	return *path > start && (*start != '0' || *path - start == 1);
}

/* Steps over what is as long as a BDF; whether there is such a function is for others to say. */
static bool take_bdf(const char **path, char bdf[16])
{
	static const size_t len = sizeof("0000:00:00.0") - 1;

	if (strnlen(*path, len) < len || memchr(*path, '/', len))
		return false;
	memcpy(bdf, *path, len);
	bdf[len] = '\0';
	*path += len;
	return true;
}

static bool matches(const char *pattern, const char *path, struct named *n)
{
	*n = (struct named){ 0 };
	for (; *pattern; pattern++) {
		if (*pattern == '#' ? !take_number(&path, &n->num) :
		    *pattern == '@' ? !take_bdf(&path, n->bdf) : *path++ != *pattern)
			return false;
	}
	return !*path;
}

static const struct route *route_of(const char *path, struct named *n)
{
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (matches(routes[i].pattern, path, n))
			return &routes[i];
	return NULL;
}

/* The last part of the name of a function's file. */
static bool may_be_file(const char *path)
{
	const char *name = strrchr(path, '/');

	name = name ? name + 1 : path;
	return !strcmp(name, "config") || !strcmp(name, "enable") ||
	       (!strncmp(name, "resource", 8) && name[8] >= '0' && name[8] <= '9');
}

bool paths_may_own(const char *path)
{
	if (!path)
		return false;
	if (path[0] != '/')
		return may_be_file(path);
	if (path[1] == 'd')
		return !strncmp(path, VFIO_DIR, sizeof(VFIO_DIR) - 1) ||
		       !strncmp(path, UIO_FILE, sizeof(UIO_FILE) - 1);
	if (path[1] == 'l')
		return !strncmp(path, MODULES_DIR, sizeof(MODULES_DIR) - 1);
	if (path[1] == 's')
		return !strncmp(path, "/sys/", 5) && may_be_file(path);
	return path[1] == 'p' && !strncmp(path, "/proc/", 6);
}

/* Without a /sys/class/uio to follow: what its links would lead to. */
static bool follow_class(const char *path, char out[NAME_BYTES])
{
	static const char head[] = "/sys/class/uio/uio", tail[] = "/device/";
	const char *rest = path + sizeof(head) - 1;
	struct ioapi_ident ident;
	struct ioapi_func *f;
	unsigned num;

	if (strncmp(path, head, sizeof(head) - 1) || !take_number(&rest, &num) ||
	    strncmp(rest, tail, sizeof(tail) - 1))
		return false;
	f = func_of_uio(num);
	if (!f)
		return false;
	ioapi_ident(f, &ident);
	return snprintf(out, NAME_BYTES, DEVICES "%s/%s", ident.bdf, rest + sizeof(tail) - 1) <
	       NAME_BYTES;
}

/*
 * Where the links of a file lead to; the file need not be readable to find out. NULL: there is no
 * room to look, so that nobody can open the file either.
 */
static const char *followed(int dir, const char *path, char out[NAME_BYTES])
{
	char link[48];
	long fd, n;

	if (!may_be_file(path))
		return path;
	fd = sys_call(SYS_openat, dir, path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return fd_is_lack(fd) ? NULL : follow_class(path, out) ? out : path;
	snprintf(link, sizeof(link), "/proc/self/fd/%ld", fd);
	n = sys_call(SYS_readlink, link, out, NAME_BYTES - 1);
	sys_call(SYS_close, (int)fd);
	if (n <= 0)
		return path;
	out[n] = '\0';
	return out;
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

	if ((flags & O_ACCMODE) != O_RDONLY ||
	    strlen(rest) >= sizeof(ours) - sizeof(MODULES_OURS) ||
	    sys_call(SYS_faccessat, AT_FDCWD, path, F_OK) != -ENOENT)
		return PATHS_FOREIGN;
	strcat(ours, rest);
	fd = sys_call(SYS_openat, AT_FDCWD, ours, flags, 0);
	return fd < 0 ? PATHS_FOREIGN : (int)fd;
}

int paths_open(int dir, const char *path, int flags)
{
	char name[NAME_BYTES];
	const struct route *r;
	struct named n;

	if (!shim_present())
		return PATHS_FOREIGN;
	if (!strncmp(path, MODULES_DIR, sizeof(MODULES_DIR) - 1))
		return modules_open(path, flags);
	path = followed(dir, path, name);
	if (!path)
		return -EMFILE;
	r = route_of(path, &n);
	return r && !(flags & O_PATH) ? r->open(&n, flags) : PATHS_FOREIGN;
}

static bool is_dir(const char *path)
{
	static const size_t len = sizeof(VFIO_DIR) - 1;

	return !strncmp(path, VFIO_DIR, len) &&
	       (!path[len] || (path[len] == '/' && !path[len + 1]));
}

/* Our route of a name that exists on our bus. */
static const struct route *entry_of(const char *path, struct named *n)
{
	const struct route *r = route_of(path, n);

	return r && r->exists && shim_present() && r->exists(n) ? r : NULL;
}

int paths_access(const char *path, int mode)
{
	struct named n;

	if (entry_of(path, &n))
		return mode & X_OK ? -EACCES : 0;
	return is_dir(path) && shim_bus() ? 0 : PATHS_FOREIGN;
}

int paths_stat(const char *path, struct stat *st)
{
	struct named n;
	const struct route *r = entry_of(path, &n);

	if (!r && (!is_dir(path) || !shim_bus()))
		return PATHS_FOREIGN;
	memset(st, 0, sizeof(*st));
	st->st_nlink = r ? 1 : 2;
	st->st_blksize = 4096;
	st->st_ino = 1 + (r ? 1 + r->minor + n.num : 0);
	st->st_mode = r ? S_IFCHR | 0666 : S_IFDIR | 0755;
	if (r)
		st->st_rdev = makedev(r->major, r->minor + n.num);
	return 0;
}

const char *paths_dir(const char *path)
{
	return is_dir(path) && shim_bus() ? GROUPS_DIR : NULL;
}
