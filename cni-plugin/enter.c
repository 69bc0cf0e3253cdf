// SPDX-License-Identifier: Apache-2.0
// enter.c - mounts in a container that was created and not started yet. Runs in a child process.
//
// The container's files are its author's: a link or a directory in them may lead anywhere and may
// change while we look. Nothing of it is named by a path we walk ourselves: openat2() resolves
// inside the root and gives a descriptor, and mounts go from descriptor to descriptor. What is
// looked at is what is mounted.
//
// A tmpfs (the stage) is filled outside. Inside it lies over the container's root while parts of
// it are put in their places, since parts of a mount can only be taken where it is mounted; our
// descriptor of the root still leads below it.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cni-plugin/apply.h"
#include "sim/core/err.h"

#define ENTRIES_MAX 4096	/* of a directory that is covered by links */
#define TRIES_MAX 128		/* of a look that somebody disturbs */
#define PRELOAD_MAX 16384	/* bytes of a loader's list */
#define ASIDE "bus/pci/podpci"	/* in the stage: what is covered and kept */

#ifndef MNT_DETACH
#define MNT_DETACH 2
#endif

int umount2(const char *target, int flags);	/* sys/mount.h clashes with linux/mount.h */

/* ---- system calls without a wrapper in every libc ------------------------------------------ */

static int sys_open_tree(int dir, const char *path, unsigned flags)
{
	return (int)syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC);
}

/* Onto what `to` is open on. */
static int mount_onto(int mnt, int to)
{
	return (int)syscall(SYS_move_mount, mnt, "", to, "", MOVE_MOUNT_F_EMPTY_PATH |
			    MOVE_MOUNT_T_EMPTY_PATH);
}

static int sys_openat2(int dir, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC,
				.resolve = resolve | RESOLVE_NO_MAGICLINKS };

	return (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/*
 * In the container: links lead where they lead for it. EAGAIN is a rename somewhere while we
 * looked at "..": worth another look, but not for ever.
 */
static int in_root(int root, const char *path, uint64_t flags)
{
	int fd = -1;

	for (unsigned i = 0; i < TRIES_MAX; i++) {
		fd = sys_openat2(root, path, flags, RESOLVE_IN_ROOT);
		if (fd >= 0 || errno != EAGAIN)
			break;
	}
	return fd;
}

static int in_stage(const struct world *w, const char *path, uint64_t flags)
{
	return sys_openat2(w->stage, path, flags, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static int fail(struct err *e, const char *what, const char *which)
{
	int rc = errno ? -errno : -EIO;

	return err_set(e, rc, "%s: %s: %s", which, what, strerror(-rc));
}

static void drop(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* ---- outside ------------------------------------------------------------------------------- */

static int do_grant(const struct step *s, struct world *w, struct err *e)
{
	int fd = open(s->arg[0], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0)
		return fail(e, "cannot be opened", s->arg[0]);
	rc = grant_sockets(fd, (uid_t)strtoul(s->arg[1], NULL, 10), e);
	close(fd);
	return rc;
}

static int fs_option(int fs, char *option)
{
	char *value = strchr(option, '=');

	*value++ = '\0';
	return (int)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, option, value, 0);
}

/* Files of ours carry no label of the container's: under SELinux it could not read them. */
static void set_label(int fs)
{
	if (!access("/sys/fs/selinux/enforce", F_OK))
		(void)syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "context",
			      "system_u:object_r:container_file_t:s0", 0);
}

static int do_stage(const struct step *s, struct world *w, struct err *e)
{
	int fs = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC), rc;
	char options[128], *rest = NULL;

	if (fs < 0)
		return fail(e, "cannot be made", "tmpfs");
	snprintf(options, sizeof(options), "source=podpci,%s", s->arg[0]);
	rc = 0;
	for (char *o = strtok_r(options, ",", &rest); o && !rc; o = strtok_r(NULL, ",", &rest))
		rc = fs_option(fs, o);
	set_label(fs);
	if (!rc)
		rc = (int)syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	if (!rc)
		w->stage = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID |
					MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (w->stage < 0)
		rc = fail(e, "cannot be made", "tmpfs");
	close(fs);
	return rc;
}

static int do_render(const struct step *s, struct world *w, struct err *e)
{
	uid_t owner = (uid_t)strtoul(s->arg[0], NULL, 10);
	int rc = render_bus(s->arg + 1, s->n - 1, owner, w->stage, e);

	if (!rc && mkdirat(w->stage, "dev", 0755))
		rc = fail(e, "mkdir", "dev");
	return rc;
}

static int write_file(const struct world *w, const char *path, const char *text, struct err *e)
{
	int fd = openat(w->stage, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	size_t len = strlen(text);
	int rc = 0;

	if (fd < 0 || write(fd, text, len) != (ssize_t)len || fchmod(fd, 0444))
		rc = fail(e, "cannot be written", path);
	drop(fd);
	return rc;
}

static int do_hold(const struct step *s, struct world *w, struct err *e)
{
	int fd = sys_open_tree(AT_FDCWD, s->arg[0], OPEN_TREE_CLONE | AT_SYMLINK_NOFOLLOW);

	if (fd < 0)
		return fail(e, "cannot be shown to the container", s->arg[0]);
	w->held[w->held_n++] = fd;
	return 0;
}

/* ---- inside -------------------------------------------------------------------------------- */

static int do_enter(const struct step *s, struct world *w, struct err *e)
{
	int ns = openat(w->proc, "ns/mnt", O_RDONLY | O_CLOEXEC);

	if (ns < 0 || setns(ns, CLONE_NEWNS)) {
		drop(ns);
		return fail(e, "cannot be entered", "the container's mount namespace");
	}
	close(ns);
	w->root_fd = open(w->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (w->root_fd < 0)
		return fail(e, "cannot be opened", w->root);
	if (mount_onto(w->stage, w->root_fd))
		return fail(e, "cannot be mounted over", w->root);
	return 0;
}

/* Makes what a mount goes onto, in the stage, and opens it. */
static int stage_target(const struct world *w, const char *path, bool dir)
{
	char part[256];
	size_t n = strlen(path);

	for (size_t i = 1; i < n; i++) {
		if (path[i] != '/' || i >= sizeof(part))
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdirat(w->stage, part, 0755) && errno != EEXIST)
			return -1;
	}
	if (dir) {
		if (mkdirat(w->stage, path, 0755) && errno != EEXIST)
			return -1;
	} else {
		int fd = openat(w->stage, path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0444);

		if (fd < 0)
			return -1;
		close(fd);
	}
	return in_stage(w, path, O_PATH);
}

static int do_file(const struct step *s, struct world *w, struct err *e)
{
	char above[256];
	int dir;

	snprintf(above, sizeof(above), "%s", s->arg[0]);
	*strrchr(above, '/') = '\0';
	dir = stage_target(w, above, true);
	if (dir < 0)
		return fail(e, "cannot be made", above);
	close(dir);
	return write_file(w, s->arg[0], s->arg[1], e);
}

static int set_attributes(int mnt, const char *how)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV };

	if (how[0] == 'r' && how[1] != 'w')
		attr.attr_set |= MOUNT_ATTR_RDONLY;
	if (how[1] != 'x')
		attr.attr_set |= MOUNT_ATTR_NOEXEC;
	return (int)syscall(SYS_mount_setattr, mnt, "", AT_EMPTY_PATH, &attr, sizeof(attr));
}

static bool is_what(int fd, bool dir, const char *how)
{
	struct stat st;

	if (fstat(fd, &st))
		return false;
	if (dir)
		return S_ISDIR(st.st_mode);
	return how[1] == 'x' ? S_ISREG(st.st_mode) : S_ISSOCK(st.st_mode);
}

static int do_bind(const struct step *s, struct world *w, struct err *e)
{
	int mnt = w->held[strtoul(s->arg[0], NULL, 10)], to, rc = 0;
	bool dir = !strcmp(s->arg[2], "dir");

	if (!is_what(mnt, dir, s->arg[3]))
		return err_set(e, -EINVAL, "%s: is no %s", s->arg[1], s->arg[2]);
	to = stage_target(w, s->arg[1], dir);
	if (to < 0 || set_attributes(mnt, s->arg[3]) || mount_onto(mnt, to))
		rc = fail(e, "cannot be mounted", s->arg[1]);
	drop(to);
	return rc;
}

/* Gives the staged directory a link to each entry of `target` it does not have. */
static int link_entries(const struct world *w, const char *tree, int target, const char *name,
			struct err *e)
{
	int fd = openat(target, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char link[512], to[512];
	struct dirent *entry;

	if (!d) {
		drop(fd);
		return fail(e, "cannot be read", name);
	}
	for (unsigned i = 0; i < ENTRIES_MAX && !rc && (entry = readdir(d)); i++) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(link, sizeof(link), "%s/%s", tree, entry->d_name);
		snprintf(to, sizeof(to), "/sys/" ASIDE "/%s/%s", name, entry->d_name);
		if (symlinkat(to, w->stage, link) && errno != EEXIST)
			rc = fail(e, "link", link);
	}
	closedir(d);
	return rc;
}

/* What `target` has and the staged directory does not is kept aside and linked to. */
static int merge(const struct world *w, const char *tree, int target, const char *name,
		 struct err *e)
{
	char aside[128];
	int mnt, to, rc = 0;

	snprintf(aside, sizeof(aside), ASIDE "/%s", name);
	mnt = sys_open_tree(target, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
	to = stage_target(w, aside, true);
	if (mnt < 0 || to < 0 || mount_onto(mnt, to))
		rc = fail(e, "cannot be kept aside", name);
	drop(mnt);
	drop(to);
	return rc ? rc : link_entries(w, tree, target, name, e);
}

static int cover(const struct world *w, const char *tree, int target, struct err *e)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int from = in_stage(w, tree, O_PATH), mnt = -1, rc = 0;

	if (from >= 0)
		mnt = sys_open_tree(from, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
	/* What is mounted in it keeps its own attributes. */
	if (mnt < 0 || syscall(SYS_mount_setattr, mnt, "", AT_EMPTY_PATH, &attr, sizeof(attr)) ||
	    mount_onto(mnt, target))
		rc = fail(e, "cannot be shown", tree);
	drop(from);
	drop(mnt);
	return rc;
}

/*
 * Where devices come and go the pod may write, but not below /sys: security modules forbid that
 * by name. So what is read-only there is to be written in another place.
 */
static int do_plugs(const struct step *s, struct world *w, struct err *e)
{
	int from = in_stage(w, s->arg[0], O_PATH | O_DIRECTORY), mnt = -1, to, rc = 0;

	if (from < 0 && errno == ENOENT)
		return 0;
	if (from >= 0)
		mnt = sys_open_tree(from, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	to = stage_target(w, s->arg[1], true);
	if (mnt < 0 || to < 0 || set_attributes(mnt, "rw") || mount_onto(mnt, to))
		rc = fail(e, "cannot be mounted", s->arg[1]);
	drop(from);
	drop(mnt);
	drop(to);
	return rc;
}

/* The directory above what is missing in the container: covered by one that has it as well. */
static int cover_above(const struct world *w, const char *tree, const char *path, struct err *e)
{
	char above[256], above_tree[256];
	int target, rc;

	snprintf(above, sizeof(above), "%s", path);
	snprintf(above_tree, sizeof(above_tree), "%s", tree);
	if (!strrchr(above_tree, '/'))
		return err_set(e, -ENOENT, "%s: the container has no such directory", path);
	*strrchr(above, '/') = '\0';
	*strrchr(above_tree, '/') = '\0';
	target = in_root(w->root_fd, above, O_PATH | O_DIRECTORY);
	if (target < 0)
		return fail(e, "the container has no such directory (a sysfs on /sys is needed)",
			    above);
	rc = merge(w, above_tree, target, strrchr(above, '/') + 1, e);
	if (!rc)
		rc = cover(w, above_tree, target, e);
	close(target);
	return rc;
}

/*
 * What is made in a directory belongs to whoever the directory does: in a user namespace the
 * host's root is nobody who could own a file.
 */
static void act_as(uid_t uid, gid_t gid)
{
	setfsgid(gid);
	setfsuid(uid);
}

static int make_in(int dir, const char *name, bool file)
{
	struct stat st;
	int rc, saved;

	if (fstat(dir, &st))
		return -1;
	act_as(st.st_uid, st.st_gid);
	if (file)
		rc = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	else
		rc = mkdirat(dir, name, 0755);
	saved = errno;
	act_as(0, 0);
	if (file)
		drop(rc);
	errno = saved;
	return rc < 0 ? -1 : 0;
}

/* A directory of the container's that is not there yet: only the last part is ever made. */
static int make_dir(const struct world *w, const char *path)
{
	char above[256];
	int dir, rc, saved;

	snprintf(above, sizeof(above), "%s", path);
	*strrchr(above, '/') = '\0';
	dir = in_root(w->root_fd, above[0] ? above : "/", O_PATH | O_DIRECTORY);
	if (dir < 0)
		return -1;
	rc = make_in(dir, strrchr(path, '/') + 1, false);
	saved = errno;
	close(dir);
	errno = saved;
	return rc && errno != EEXIST ? -1 : in_root(w->root_fd, path, O_PATH | O_DIRECTORY);
}

static bool staged(const struct world *w, const char *tree)
{
	int fd = in_stage(w, tree, O_PATH);

	drop(fd);
	return fd >= 0;
}

static int do_show(const struct step *s, struct world *w, struct err *e)
{
	int target = in_root(w->root_fd, s->arg[1], O_PATH | O_DIRECTORY), rc = 0;

	if (!strcmp(s->arg[2], "maybe") &&
	    ((target < 0 && errno == ENOENT) || !staged(w, s->arg[0]))) {
		drop(target);
		return 0;
	}
	if (target < 0 && errno == ENOENT && !strcmp(s->arg[2], "make"))
		target = make_dir(w, s->arg[1]);
	else if (target < 0 && errno == ENOENT)
		return cover_above(w, s->arg[0], s->arg[1], e);
	if (target < 0)
		return fail(e, "cannot be opened in the container", s->arg[1]);
	if (!strcmp(s->arg[2], "merge"))
		rc = merge(w, s->arg[0], target, strrchr(s->arg[1], '/') + 1, e);
	if (!rc)
		rc = cover(w, s->arg[0], target, e);
	close(target);
	return rc;
}

static int do_memory(const struct step *s, struct world *w, struct err *e)
{
	int mnt = w->held[strtoul(s->arg[0], NULL, 10)], to, rc = 0;
	bool huge = !strcmp(s->arg[2], "hugetlbfs");
	struct statfs st;

	/* A node without hugetlbfs: the directory below it is the host's own memory. */
	if (huge && (fstatfs(mnt, &st) || (unsigned long)st.f_type != 0x958458f6))
		return 0;
	to = in_root(w->root_fd, s->arg[1], O_PATH | O_DIRECTORY);
	if (to < 0)
		to = make_dir(w, s->arg[1]);
	if (to < 0 || set_attributes(mnt, "rw") || mount_onto(mnt, to))
		rc = fail(e, "memory cannot be mounted", s->arg[1]);
	drop(to);
	return rc;
}

/* The container's own list, as far as it is a file; what is none reads as empty. */
static size_t read_list(const struct world *w, const char *path, char *to, size_t size)
{
	int fd = in_root(w->root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	ssize_t n = -1;

	if (fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size < (off_t)size)
		n = read(fd, to, size - 1);
	drop(fd);
	return n > 0 ? (size_t)n : 0;
}

/* The file to cover; made empty if it is not there and can be. */
static int list_target(const struct world *w, const char *path)
{
	int fd = in_root(w->root_fd, path, O_PATH), dir;
	char above[64];

	if (fd >= 0)
		return fd;
	snprintf(above, sizeof(above), "%s", path);
	*strrchr(above, '/') = '\0';
	dir = in_root(w->root_fd, above, O_PATH | O_DIRECTORY);
	if (dir < 0)
		return -1;
	make_in(dir, strrchr(path, '/') + 1, true);
	close(dir);
	return in_root(w->root_fd, path, O_PATH);
}

static int show_list(const struct step *s, const struct world *w, struct err *e)
{
	int target = list_target(w, s->arg[2]), rc;

	if (target < 0)		/* a root that cannot be written, not even now */
		return cover_above(w, s->arg[1], s->arg[2], e);
	rc = cover(w, s->arg[1], target, e);
	close(target);
	return rc;
}

/* Programs started with an environment of their own (exec in a container) have it too. */
static int do_preload(const struct step *s, struct world *w, struct err *e)
{
	static char text[PRELOAD_MAX + 256];
	size_t n = read_list(w, s->arg[2], text, PRELOAD_MAX);
	int rc;

	if (n && text[n - 1] != '\n')
		text[n++] = '\n';
	snprintf(text + n, sizeof(text) - n, "%s\n", s->arg[0]);
	if (mkdirat(w->stage, "etc", 0755) && errno != EEXIST)
		return fail(e, "mkdir", "etc");
	rc = write_file(w, s->arg[1], text, e);
	if (!rc)
		rc = show_list(s, w, e);
	return strcmp(s->arg[3], "may") ? rc : 0;	/* LD_PRELOAD has it */
}

static int do_leave(const struct step *s, struct world *w, struct err *e)
{
	if (fchdir(w->stage) || umount2(".", MNT_DETACH))
		return fail(e, "cannot be unmounted", "the stage");
	return 0;
}

/* A container that does not start has its own root back all the same. */
int enter_undo(const struct step *s, struct world *w, struct err *e)
{
	return w->root_fd < 0 ? 0 : do_leave(s, w, e);
}

static int (*const doers[OPS])(const struct step *s, struct world *w, struct err *e) = {
	[OP_GRANT] = do_grant, [OP_STAGE] = do_stage, [OP_RENDER] = do_render,
	[OP_FILE] = do_file, [OP_HOLD] = do_hold, [OP_ENTER] = do_enter, [OP_BIND] = do_bind,
	[OP_PLUGS] = do_plugs, [OP_SHOW] = do_show, [OP_MEMORY] = do_memory,
	[OP_PRELOAD] = do_preload, [OP_LEAVE] = do_leave,
};

int enter_do(const struct step *s, struct world *w, struct err *e)
{
	int rc = doers[s->op](s, w, e);

	return rc ? err_wrap(e, rc, "container") : 0;
}
