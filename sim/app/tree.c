// SPDX-License-Identifier: Apache-2.0
// tree.c - see tree.h.
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "sim/app/tree.h"
#include "sim/core/err.h"
#include "sim/core/sys.h"

#define DEPTH_MAX 8		/* of what is removed: ours has 4 */

struct place at(const char *fmt, ...)
{
	struct place p;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(p.text, sizeof(p.text), fmt, ap);
	va_end(ap);
	return p;
}

/* ---- filling ------------------------------------------------------------------------------- */

static void tell(struct tree *t, long rc, const char *what, const struct place *p)
{
	if (rc >= 0 && t->owner != (uid_t)-1)
		rc = sys_call(SYS_fchownat, t->dirfd, p->text, t->owner, (gid_t)-1,
			      AT_SYMLINK_NOFOLLOW);
	if (rc < 0)
		t->rc = err_set(t->e, (int)rc, "%s %s: %s", what, p->text, strerror((int)-rc));
}

void tree_dir(struct tree *t, struct place p)
{
	if (!t->rc)
		tell(t, sys_call(SYS_mkdirat, t->dirfd, p.text, 0755), "mkdir", &p);
}

void tree_link(struct tree *t, struct place target, struct place p)
{
	if (!t->rc)
		tell(t, sys_call(SYS_symlinkat, target.text, t->dirfd, p.text), "symlink", &p);
}

void tree_rename(struct tree *t, struct place from, struct place to)
{
	if (!t->rc)
		tell(t, sys_call(SYS_renameat, t->dirfd, from.text, t->dirfd, to.text), "rename",
		     &to);
}

void tree_file(struct tree *t, struct place p, mode_t mode, const void *bytes, size_t len)
{
	long fd, rc;

	if (t->rc)
		return;
	fd = sys_call(SYS_openat, t->dirfd, p.text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0) {
		tell(t, fd, "create", &p);
		return;
	}
	rc = bytes ? sys_call(SYS_write, (int)fd, bytes, len) : sys_call(SYS_ftruncate, (int)fd,
									len);
	if (bytes && rc >= 0 && (size_t)rc != len)
		rc = -ENOSPC;
	if (rc >= 0)
		rc = sys_call(SYS_fchmod, (int)fd, mode);
	tell(t, rc, "write", &p);
	sys_call(SYS_close, (int)fd);
}

void tree_text(struct tree *t, struct place p, mode_t mode, const char *text)
{
	tree_file(t, p, mode, text, strlen(text));
}

/* ---- looking and removing ------------------------------------------------------------------ */

struct entry {			/* as getdents64(2) has it */
	uint64_t ino;
	int64_t  off;
	uint16_t len;
	uint8_t  type;
	char     name[];
};

static bool is_dots(const char *name)
{
	return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

void tree_each(int dirfd, const char *path, void (*each)(void *ctx, const char *name), void *ctx)
{
	_Alignas(struct entry) char buf[2048];
	long fd = sys_call(SYS_openat, dirfd, path,
			   O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	unsigned seen = 0;
	long n;

	if (fd < 0)
		return;
	while (seen < TREE_ENTRIES_MAX &&
	       (n = sys_call(SYS_getdents64, (int)fd, buf, sizeof(buf))) > 0) {
		const struct entry *x;

		for (long pos = 0; pos < n; pos += x->len, seen++) {
			x = (const struct entry *)(const void *)(buf + pos);
			if (!is_dots(x->name))
				each(ctx, x->name);
		}
	}
	sys_call(SYS_close, (int)fd);
}

struct removal {
	int         dirfd;
	const char *path;
	unsigned    depth;
};

static void remove_entry(void *ctx, const char *name)
{
	const struct removal *above = ctx;
	struct place p = at("%.180s/%.70s", above->path, name);
	struct removal r = { above->dirfd, p.text, above->depth + 1 };
	long rc = sys_call(SYS_unlinkat, r.dirfd, p.text, 0);

	if ((rc != -EISDIR && rc != -EPERM) || r.depth == DEPTH_MAX)
		return;
	tree_each(r.dirfd, p.text, remove_entry, &r);
	sys_call(SYS_unlinkat, r.dirfd, p.text, AT_REMOVEDIR);
}

void tree_remove(int dirfd, const char *path)
{
	struct removal r = { dirfd, path, 0 };

	if (sys_call(SYS_unlinkat, dirfd, path, 0) != -EISDIR)
		return;
	tree_each(dirfd, path, remove_entry, &r);
	sys_call(SYS_unlinkat, dirfd, path, AT_REMOVEDIR);
}
