// SPDX-License-Identifier: Apache-2.0
// apply.c - see apply.h. What each step does, how it is undone and how it is checked is a row.
// pkg-config: json-c
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni-plugin/apply.h"
#include "cni-plugin/peer.h"
#include "cni-plugin/result.h"
#include "cni-plugin/state.h"
#include "include/ctlapi.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define SWITCH_TIMEOUT_MS 5000
#define UNMOUNTS_MAX 16			/* one on top of the other */
#define SOCKETS_MAX 64			/* files removed from a directory of ours */

void world_init(struct world *w)
{
	memset(w, 0, sizeof(*w));
	w->dir = w->proc = w->stage = w->root_fd = -1;
	for (unsigned i = 0; i < sizeof(w->held) / sizeof(w->held[0]); i++)
		w->held[i] = -1;
}

static void drop(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void world_free(struct world *w)
{
	drop(&w->proc);
	drop(&w->stage);
	drop(&w->root_fd);
	for (unsigned i = 0; i < w->held_n; i++)
		drop(&w->held[i]);
	w->held_n = 0;
}

/* ---- the record ---------------------------------------------------------------------------- */

static int claim_do(const struct step *s, struct world *w, struct err *e)
{
	int rc = state_store(w->dir, w->a->digest, w->record, e);

	if (!rc && mkdirat(w->dir, w->a->digest, 0711) && errno != EEXIST)
		rc = err_set(e, -errno, "%s: %s", s->arg[0], strerror(errno));
	return rc;
}

static int claim_undo(const struct step *s, struct world *w, struct err *e)
{
	if (unlinkat(w->dir, w->a->digest, AT_REMOVEDIR) && errno != ENOENT)
		return err_set(e, -errno, "%s: %s", s->arg[0], strerror(errno));
	return state_remove(w->dir, w->a->digest, e);
}

static int claim_check(const struct step *s, struct world *w, struct err *e)
{
	struct stat st;

	if (fstatat(w->dir, w->a->digest, &st, AT_SYMLINK_NOFOLLOW) || !S_ISDIR(st.st_mode))
		return err_set(e, -ENOENT, "%s: is gone", s->arg[0]);
	return 0;
}

static int commit_do(const struct step *s, struct world *w, struct err *e)
{
	struct json_object *result = result_make(w->a, w->ipam);

	if (!result)
		return err_set(e, -ENOMEM, "result: out of memory");
	json_object_object_add(w->record, "result", result);
	json_object_object_add(w->record, "state", json_object_new_string("ready"));
	return state_store(w->dir, w->a->digest, w->record, e);
}

/* ---- addresses ----------------------------------------------------------------------------- */

static int ipam_do(const struct step *s, struct world *w, struct err *e)
{
	int rc = ipam_run(w, s->arg[0], "ADD", &w->ipam, e);

	return rc ? rc : result_judge_ipam(w->ipam, e);
}

static int ipam_undo(const struct step *s, struct world *w, struct err *e)
{
	return ipam_run(w, s->arg[0], "DEL", NULL, e);
}

static int ipam_check(const struct step *s, struct world *w, struct err *e)
{
	return ipam_run(w, s->arg[0], "CHECK", NULL, e);
}

/* ---- directories and mounts, all below the state directory, which is root's ---------------- */

static int dir_do(const struct step *s, struct world *w, struct err *e)
{
	mode_t mode = (mode_t)strtoul(s->arg[1], NULL, 8);

	if (mkdir(s->arg[0], mode) || chmod(s->arg[0], mode))
		return err_set(e, -errno, "%s: %s", s->arg[0], strerror(errno));
	return 0;
}

/* Sockets are left by whoever listened on them; anything deeper is not ours. */
static int empty(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	rc = unlinkat(fd, "vhost.sock", 0) && errno != ENOENT ? -errno : 0;
	close(fd);
	return rc;
}

static int dir_undo(const struct step *s, struct world *w, struct err *e)
{
	int rc = empty(s->arg[0]);

	if (!rc && rmdir(s->arg[0]) && errno != ENOENT)
		rc = -errno;
	return rc ? err_set(e, rc, "%s: %s", s->arg[0], strerror(-rc)) : 0;
}

static int dir_check(const struct step *s, struct world *w, struct err *e)
{
	struct stat st;

	if (lstat(s->arg[0], &st) || !S_ISDIR(st.st_mode))
		return err_set(e, -ENOENT, "%s: is gone", s->arg[0]);
	return 0;
}

/* What a pod can write to has no devices, no set-uid programs and no links for us to follow. */
#define POD_MOUNT (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOSYMFOLLOW)
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

static int tmpfs_do(const struct step *s, struct world *w, struct err *e)
{
	if (mount("podpci", s->arg[0], "tmpfs", POD_MOUNT, s->arg[1]))
		return err_set(e, -errno, "%s: tmpfs: %s", s->arg[0], strerror(errno));
	return 0;
}

static int mount_undo(const struct step *s, struct world *w, struct err *e)
{
	for (unsigned i = 0; i < UNMOUNTS_MAX; i++) {
		if (!umount2(s->arg[0], MNT_DETACH | UMOUNT_NOFOLLOW))
			continue;
		if (errno == EINVAL || errno == ENOENT)	/* not a mount point, or nothing */
			return 0;
		return err_set(e, -errno, "%s: umount: %s", s->arg[0], strerror(errno));
	}
	return err_set(e, -EBUSY, "%s: more than %u mounts", s->arg[0], UNMOUNTS_MAX);
}

/* Of that kind, and another file system than the directory it is in. */
static int fs_check(const char *path, long magic, struct err *e)
{
	struct stat here, above;
	char parent[160];
	struct statfs st;

	snprintf(parent, sizeof(parent), "%s/..", path);
	if (statfs(path, &st) || (unsigned long)st.f_type != (unsigned long)magic ||
	    stat(path, &here) || stat(parent, &above) || here.st_dev == above.st_dev)
		return err_set(e, -ENOENT, "%s: is not mounted any more", path);
	return 0;
}

static int tmpfs_check(const struct step *s, struct world *w, struct err *e)
{
	return fs_check(s->arg[0], 0x01021994, e);
}

static int hugetlbfs_do(const struct step *s, struct world *w, struct err *e)
{
	int rc;

	if (!mount("podpci", s->arg[0], "hugetlbfs", POD_MOUNT, s->arg[1]))
		return 0;
	rc = -errno;
	if (!strcmp(s->arg[2], "may") && (rc == -ENODEV || rc == -EINVAL))
		return 0;
	if (rc == -ENOMEM)
		return err_set(e, rc, "hugepages: too few are free for %s: reserve more "
			       "(/sys/kernel/mm/hugepages/*/nr_hugepages) or ask for less "
			       "(memory.reserve)", strchr(s->arg[1], ',') + 1);
	return err_set(e, rc, "%s: hugetlbfs %s: %s", s->arg[0], s->arg[1], strerror(-rc));
}

static int hugetlbfs_check(const struct step *s, struct world *w, struct err *e)
{
	return !strcmp(s->arg[2], "may") ? 0 : fs_check(s->arg[0], 0x958458f6, e);
}

/* ---- podpci-switch ------------------------------------------------------------------------- */

static int switch_call(const struct world *w, const char *control, const char *const *words,
		       unsigned n, struct ctl_rows **rows, struct err *e)
{
	unsigned share = w->a->node->deadline_ms / 4;	/* undoing has one too */
	struct ctl *c = NULL;
	int rc = peer_switch(&c, control, share < SWITCH_TIMEOUT_MS ? share : SWITCH_TIMEOUT_MS,
			     e);

	if (rc == -ENOENT)
		rc = -ECONNREFUSED;	/* no switch: it may come yet */
	if (!rc)
		rc = ctl_call(c, words, n, rows, e);
	ctl_close(c);
	return rc;
}

static int switch_do(const struct step *s, struct world *w, struct err *e)
{
	return switch_call(w, s->arg[0], s->arg + 1, s->n - 1, NULL, e);
}

/* A switch that is not there has no ports. */
static int switch_undo(const struct step *s, struct world *w, struct err *e)
{
	const char *const words[] = { "port", "del", s->arg[3] };
	struct err why;
	int rc = switch_call(w, s->arg[0], words, 3, NULL, &why);

	if (!rc || rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENODEV)
		return 0;
	return err_set(e, rc, "%s", why.msg);
}

static int switch_check(const struct step *s, struct world *w, struct err *e)
{
	const char *const words[] = { "port", "show", s->arg[3] };
	struct ctl_rows *rows = NULL;
	char socket[NETCONF_PATH_MAX];
	int rc = switch_call(w, s->arg[0], words, 3, &rows, e);

	if (rc)
		return rc;
	if (!ctl_rows_count(rows) ||
	    !ctl_rows_get(rows, 0, "socket", socket, sizeof(socket)) ||
	    strcmp(socket, s->arg[5]))
		rc = err_set(e, -ENOENT, "podpci-switch: port %s is gone or another", s->arg[3]);
	ctl_rows_free(rows);
	return rc;
}

/* ---- somebody else's socket ---------------------------------------------------------------- */

static int socket_do(const struct step *s, struct world *w, struct err *e)
{
	bool dir = !strcmp(s->arg[1], "dir");
	char path[NETCONF_PATH_MAX];
	struct stat st;

	snprintf(path, sizeof(path), "%s", s->arg[0]);
	if (dir)
		*strrchr(path, '/') = '\0';
	if (lstat(path, &st))
		return err_set(e, -errno, "%s: %s (is its owner running?)", path, strerror(errno));
	if (dir ? !S_ISDIR(st.st_mode) : !S_ISSOCK(st.st_mode))
		return err_set(e, -ENOTSOCK, "%s: is no %s", path, dir ? "directory" : "socket");
	return 0;
}

/* ---- device information -------------------------------------------------------------------- */

static int devinfo_do(const struct step *s, struct world *w, struct err *e)
{
	return result_devinfo_write(w->a, s->arg[0], e);
}

static int devinfo_undo(const struct step *s, struct world *w, struct err *e)
{
	return result_devinfo_remove(w->a, s->arg[0], e);
}

static int devinfo_check(const struct step *s, struct world *w, struct err *e)
{
	if (access(s->arg[0], R_OK))
		return err_set(e, -ENOENT, "%s: is gone", s->arg[0]);
	return 0;
}

/* ---- the table ----------------------------------------------------------------------------- */

typedef int (*row_fn)(const struct step *s, struct world *w, struct err *e);

static int nothing(const struct step *s, struct world *w, struct err *e)
{
	return 0;
}

static const struct row {
	row_fn doit, undo, check;
} rows[OPS] = {
	[OP_CLAIM]     = { claim_do, claim_undo, claim_check },
	[OP_IPAM]      = { ipam_do, ipam_undo, ipam_check },
	[OP_NETDEV]    = { netdev_do, netdev_undo, netdev_check },
	[OP_DIR]       = { dir_do, dir_undo, dir_check },
	[OP_TMPFS]     = { tmpfs_do, mount_undo, tmpfs_check },
	[OP_HUGETLBFS] = { hugetlbfs_do, mount_undo, hugetlbfs_check },
	[OP_SWITCH]    = { switch_do, switch_undo, switch_check },
	[OP_OVS]       = { ovs_port_add, ovs_port_del, ovs_port_check },
	[OP_SOCKET]    = { socket_do, nothing, socket_do },
	[OP_DEVINFO]   = { devinfo_do, devinfo_undo, devinfo_check },
	[OP_COMMIT]    = { commit_do, nothing, nothing },
	/* All of it lives in the container's mount namespace and dies with it. */
	[OP_GRANT ... OP_HOLD] = { enter_do, nothing, nothing },
	[OP_ENTER]     = { enter_do, enter_undo, nothing },
	[OP_BIND ... OP_LEAVE] = { enter_do, nothing, nothing },
};

static bool stopped(const struct world *w)
{
	return w->stop && *w->stop;
}

int apply_do(const struct plan *p, struct world *w, struct err *e)
{
	struct err undo;
	unsigned i;
	int rc = 0;

	for (i = 0; i < p->n && !rc; i++) {
		const struct step *s = &p->step[i];

		rc = stopped(w) ? err_set(e, -EINTR, "stopped by a signal or the deadline") :
		     rows[s->op].doit(s, w, e);
		log_debug(plan_op_name(s->op), "%s", rc ? e->msg : "done");
	}
	while (rc && i-- > 0)
		if (rows[p->step[i].op].undo(&p->step[i], w, &undo))
			log_error(plan_op_name(p->step[i].op), "undoing: %s", undo.msg);
	return rc;
}

int apply_undo(const struct plan *p, struct world *w, struct err *e)
{
	struct err one;
	int first = 0;

	for (unsigned i = p->n; i-- > 0;) {
		const struct step *s = &p->step[i];
		int rc;

		/* The record is the way back: it stays while anything else does. */
		if (s->op == OP_CLAIM && first)
			break;
		rc = rows[s->op].undo(s, w, &one);
		if (!rc)
			continue;
		log_error(plan_op_name(s->op), "%s", one.msg);
		if (first)
			err_set(e, first, "%s; %s", e->msg, one.msg);
		else
			first = err_set(e, rc, "%s", one.msg);
	}
	return first;
}

int apply_check(const struct plan *p, struct world *w, struct err *e)
{
	int rc = 0;

	for (unsigned i = 0; i < p->n && !rc; i++)
		rc = rows[p->step[i].op].check(&p->step[i], w, e);
	return rc;
}

int apply_port(const struct plan *p, struct world *w, struct err *e)
{
	for (unsigned i = 0; i < p->n; i++) {
		int rc = p->step[i].op == OP_SWITCH ? switch_do(&p->step[i], w, e) : -EEXIST;

		if (rc != -EEXIST)
			return rc;
	}
	return 0;
}

/* ---- a container --------------------------------------------------------------------------- */

static void child(const struct plan *p, struct world *w, int to)
{
	struct err e = { 0 };

	e.code = apply_do(p, w, &e);
	if (write(to, &e, sizeof(e)) != sizeof(e))
		_exit(2);
	_exit(e.code ? 1 : 0);
}

int apply_inject(const struct plan *p, struct world *w, struct err *e)
{
	struct err theirs = { 0 };
	int fds[2], status = 0;
	ssize_t n;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_set(e, -errno, "pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		child(p, w, fds[1]);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_set(e, -errno, "fork: %s", strerror(errno));
	}
	do {
		n = read(fds[0], &theirs, sizeof(theirs));
	} while (n < 0 && errno == EINTR);
	close(fds[0]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(theirs))
		return err_set(e, -EIO, "mounting in the container: died of signal %d",
			       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	theirs.msg[sizeof(theirs.msg) - 1] = '\0';
	return theirs.code < 0 ? err_set(e, theirs.code, "%s", theirs.msg) : 0;
}
