// SPDX-License-Identifier: Apache-2.0
// ns.c - see ns.h.
//
// The tree is built in a tmpfs mounted over some directory of the private namespace (the
// stage), parts of it are bound over the kernel's, and the stage is unmounted again: the bound
// parts live on, the covered directory is back. A directory of which only some entries change
// (/sys/module) is covered by one that links all its other entries to a bind of the original,
// kept aside below /sys/bus/pci/podpci.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <mntent.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "sim/app/ns.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define NS_ENTRIES_MAX 4096	/* of a directory that is covered by links */

/* ---- entering ------------------------------------------------------------------------------ */

static bool file_says(const char *path, const char *text)
{
	char buf[16] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n > 0 && buf[n - 1] == '\n')
		buf[n - 1] = '\0';
	return n > 0 && !strcmp(buf, text);
}

/* Settings that forbid user namespaces to ordinary users. */
static const struct {
	const char *path, *bad, *mend;
} forbidders[] = {
	{ "/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000" },
	{ "/proc/sys/kernel/unprivileged_userns_clone", "0",
	  "sysctl kernel.unprivileged_userns_clone=1" },
	{ "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
	  "sysctl kernel.apparmor_restrict_unprivileged_userns=0" },
};

static int tell_forbidden(const char *what, int rc, struct err *e)
{
	for (unsigned i = 0; i < ARRAY_SIZE(forbidders); i++)
		if (file_says(forbidders[i].path, forbidders[i].bad))
			return err_set(e, rc, "%s: %s; user namespaces are switched off here: `%s' "
				       "as root allows them, or run podpci as root", what,
				       strerror(-rc), forbidders[i].mend);
	return err_set(e, rc, "%s: %s; run podpci as root or where user namespaces are allowed "
		       "(container engines forbid them by seccomp or AppArmor)", what,
		       strerror(-rc));
}

static int file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

static int map_self(uid_t uid, gid_t gid, struct err *e)
{
	char uids[64], gids[64];
	int rc;

	snprintf(uids, sizeof(uids), "%u %u 1\n", uid, uid);
	snprintf(gids, sizeof(gids), "%u %u 1\n", gid, gid);
	/* A gid map is refused while setgroups() could drop a group that denies access. */
	rc = file_write("/proc/self/setgroups", "deny");
	if (!rc || rc == -ENOENT)
		rc = file_write("/proc/self/uid_map", uids);
	if (!rc)
		rc = file_write("/proc/self/gid_map", gids);
	if (rc == -EPERM && !uid)	/* user_namespaces(7), since Linux 5.12 */
		return err_set(e, rc, "user namespace: %s; root without CAP_SYS_ADMIN needs "
			       "CAP_SETFCAP to be root in its own: grant it, or run podpci as "
			       "another user", strerror(-rc));
	return rc ? tell_forbidden("user namespace: mapping uid and gid", rc, e) : 0;
}

int ns_enter(struct err *e)
{
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int rc;

	if (unshare(CLONE_NEWNS)) {
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			return tell_forbidden("user namespace", -errno, e);
		rc = map_self(uid, gid, e);
		if (rc)
			return rc;
	}
	if (!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL))
		return 0;
	if (errno == EINVAL)	/* our mounts would reach the host: refuse */
		return err_set(e, -EINVAL, "/ is not a mount point (a chroot?): `mount --bind DIR "
			       "DIR' before chroot DIR makes it one");
	return tell_forbidden("making mounts private", -errno, e);
}

/* ---- stage --------------------------------------------------------------------------------- */

static const char *const stages[] = { "/tmp", "/run", "/mnt", "/var" };

int ns_stage(int *dirfd, struct err *e)
{
	int rc = -ENOENT;

	for (unsigned i = 0; i < ARRAY_SIZE(stages); i++) {
		if (mount("podpci", stages[i], "tmpfs", MS_NOSUID | MS_NODEV,
			  "mode=755,size=32m")) {
			rc = -errno;
			if (rc == -ENOENT || rc == -ENOTDIR)
				continue;
			break;
		}
		*dirfd = open(stages[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (*dirfd >= 0)
			return 0;
		return err_set(e, -errno, "%s: %s", stages[i], strerror(errno));
	}
	return tell_forbidden("mounting a tmpfs", rc, e);
}

/* ---- showing ------------------------------------------------------------------------------- */

struct show {
	char        root[PATH_MAX];	/* the stage's path */
	struct err *e;
};

static int bind_over(const struct show *s, const char *source, const char *target)
{
	if (mount(source, target, NULL, MS_BIND | MS_REC, NULL))
		return err_set(s->e, -errno, "mounting over %s: %s", target, strerror(errno));
	return 0;
}

static bool exists(const char *path)
{
	return !access(path, F_OK);
}

/* Gives the staged directory `source` a link to each entry of `target` it does not have. */
static int merge(const struct show *s, const char *source, const char *target)
{
	char aside[PATH_MAX + 64], link[PATH_MAX + 512], to[PATH_MAX];
	const char *name = strrchr(target, '/') + 1;
	struct dirent *d;
	DIR *dir;
	int rc;

	snprintf(aside, sizeof(aside), "%s/bus/pci/podpci/%s", s->root, name);
	if (mkdir(aside, 0755))
		return err_set(s->e, -errno, "%s: %s", aside, strerror(errno));
	rc = bind_over(s, target, aside);
	if (rc)
		return rc;
	dir = opendir(target);
	if (!dir)
		return err_set(s->e, -errno, "%s: %s", target, strerror(errno));
	for (unsigned i = 0; i < NS_ENTRIES_MAX && (d = readdir(dir)); i++) {
		if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
			continue;
		snprintf(link, sizeof(link), "%s/%s", source, d->d_name);
		snprintf(to, sizeof(to), "/sys/bus/pci/podpci/%s/%s", name, d->d_name);
		if (symlink(to, link) && errno != EEXIST) {
			rc = err_set(s->e, -errno, "%s: %s", link, strerror(errno));
			break;
		}
	}
	closedir(dir);
	return rc;
}

/* Covers m->target; where the kernel has no such directory, its parent, whose rest is linked. */
static int cover(const struct show *s, const struct sysfs_mount *m)
{
	char source[PATH_MAX + 64], target[PATH_MAX];
	bool partial = m->merge;
	int rc = 0;

	snprintf(source, sizeof(source), "%s/%s", s->root, m->source);
	snprintf(target, sizeof(target), "%s", m->target);
	if (m->optional && (!exists(source) || !exists(target)))
		return 0;
	if (!exists(target)) {
		*strrchr(source, '/') = '\0';
		*strrchr(target, '/') = '\0';
		partial = true;
	}
	if (partial)
		rc = merge(s, source, target);
	return rc ? rc : bind_over(s, source, target);
}

/* lspci complains where /lib/modules/RELEASE is missing; see SYSFS_MODULES. */
static void show_modules(const struct show *s)
{
	struct utsname host = { .release = "" };
	char path[PATH_MAX + 64];

	uname(&host);
	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep.bin", host.release);
	if (exists(path) || !exists("/lib/modules"))
		return;
	snprintf(path, sizeof(path), "%s/bus/pci/podpci/modules", s->root);
	mount(path, "/lib/modules", NULL, MS_BIND, NULL);
}

static bool hugetlbfs_mounted(void)
{
	FILE *f = setmntent("/proc/self/mounts", "re");
	struct mntent *m;
	bool found = false;

	while (f && !found && (m = getmntent(f)))
		found = !strcmp(m->mnt_type, "hugetlbfs");
	if (f)
		endmntent(f);
	return found;
}

/*
 * DPDK finds hugepages by a hugetlbfs mount. If there is none, root gets one here; it cannot be
 * had in a user namespace, and without it DPDK says itself what it misses: no error.
 */
static void show_hugepages(const struct show *s)
{
	const char *target = "/dev/hugepages";
	char own[PATH_MAX + 64];

	if (hugetlbfs_mounted())
		return;
	if (!exists(target)) {
		snprintf(own, sizeof(own), "%s/bus/pci/podpci/hugepages", s->root);
		if (mkdir(own, 0755))
			return;
		target = own;
	}
	mount("hugetlbfs", target, "hugetlbfs", MS_NOSUID | MS_NODEV, "mode=1777");
}

int ns_show(int dirfd, struct err *e)
{
	struct show s = { .e = e };
	const struct sysfs_mount *m;
	char self[64];
	ssize_t len;
	int rc = 0;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", dirfd);
	len = readlink(self, s.root, sizeof(s.root) - 1);
	if (len < 0)
		return err_set(e, -errno, "%s: %s", self, strerror(errno));
	show_hugepages(&s);
	show_modules(&s);
	for (unsigned i = 0; !rc && (m = sysfs_mount(i)); i++)
		rc = cover(&s, m);
	umount2(s.root, MNT_DETACH);
	return rc;
}
