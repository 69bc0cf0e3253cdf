// SPDX-License-Identifier: Apache-2.0
// plug.c - see plug.h.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sim/app/plug.h"
#include "sim/app/sysfs.h"
#include "sim/app/sysfs_dev.h"
#include "sim/app/tree.h"
#include "sim/core/err.h"
#include "sim/core/fault.h"
#include "sim/core/sys.h"

#define CONF_TAIL "/bus/pci/podpci.conf"	/* of CONFIG_PATH */
#define DEVICES   "bus/pci/devices"
#define TEXT_MAX  1200		/* of SYSFS_PLUGGED */

void plug_init(struct plug *p, const char *config_path)
{
	static const size_t tail = sizeof(CONF_TAIL) - 1;
	size_t len = strlen(config_path);

	p->base[0] = '\0';
	if (config_path[0] != '/' || len <= tail || len - tail >= sizeof(p->base) ||
	    strcmp(config_path + len - tail, CONF_TAIL))
		return;
	memcpy(p->base, config_path, len - tail);
	p->base[len - tail] = '\0';
}

static int open_dir(const char *path)
{
	return (int)sys_call(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int open_tree(const char *path)
{
	int fd = open_dir(path);
	long rc = fd < 0 ? fd : sys_call(SYS_faccessat, fd, DEVICES, W_OK);

	if (rc >= 0)
		return fd;
	if (fd >= 0)
		sys_call(SYS_close, fd);
	return (int)rc;
}

/* To be written: in containers what lies over /sys is read-only, and there is another way in. */
static int open_writable(const struct plug *p)
{
	int fd = open_tree(p->base), other;

	if (fd >= 0)
		return fd;
	other = open_tree(SYSFS_PLUGS);
	return other >= 0 ? other : fd;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* A configuration of one line, without options; comments are skipped by who reads it as that. */
static int describe(const struct ioapi_ident *id, const struct net_config *n, char *text,
		    struct err *e)
{
	struct config *c = fault_zalloc(sizeof(*c));
	char *end;
	int at;

	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	config_init(c);
	c->net[c->nets++] = *n;
	at = snprintf(text, TEXT_MAX, "# number %u uio %u\n", id->number, id->uio);
	config_format(c, text + at, (unsigned)(TEXT_MAX - at));
	free(c);
	end = strchr(text + at, '\n');
	if (!end)
		return err_set(e, -E2BIG, "its configuration is too long");
	end[1] = '\0';
	return 0;
}

static int render(int dirfd, struct ioapi_func *f, const struct ioapi_ident *id,
		  const char *text, struct err *e)
{
	const char *driver = sysfs_driver(id->door)->name;
	struct tree t = TREE_INIT(dirfd, e);

	if (driver && sys_call(SYS_faccessat, dirfd, at("bus/pci/drivers/%s", driver).text,
			       F_OK) < 0)
		return err_set(e, -ENOENT, "no device hung on %s when the tree was made", driver);
	sysfs_dev_remove(dirfd, id);	/* what was not finished */
	sysfs_dev_render(&t, f, text);
	if (t.rc)
		sysfs_dev_remove(dirfd, id);
	return t.rc;
}

int plug_show(const struct plug *p, struct ioapi_func *f, const struct net_config *n,
	      struct err *e)
{
	struct ioapi_ident id;
	char text[TEXT_MAX];
	int dirfd, rc;

	if (!p->base[0])
		return 0;
	ioapi_ident(f, &id);
	rc = describe(&id, n, text, e);
	if (rc)
		return rc;
	dirfd = open_writable(p);
	if (dirfd < 0)
		return err_set(e, dirfd, "%s: %s", p->base, strerror(-dirfd));
	rc = render(dirfd, f, &id, text, e);
	sys_call(SYS_close, dirfd);
	return rc;
}

void plug_hide(const struct plug *p, const struct ioapi_ident *id)
{
	int dirfd = p->base[0] ? open_writable(p) : -1;

	if (dirfd < 0)
		return;
	sysfs_dev_remove(dirfd, id);
	sys_call(SYS_close, dirfd);
}

/* ---- reading ------------------------------------------------------------------------------- */

static struct place place_of(const struct plug *p, const char *bdf, const char *file)
{
	return at("%.190s/" DEVICES "/%.15s%s", p->base, bdf, file);
}

static bool believed(int fd)
{
	struct stat st;

	return sys_call(SYS_fstat, fd, &st) >= 0 && S_ISREG(st.st_mode) &&
	       (!st.st_uid || (long)st.st_uid == sys_call(SYS_geteuid));
}

/* The file, believed, its first line read; or -errno. */
static int open_plugged(const struct plug *p, const char *bdf, unsigned *number, unsigned *uio)
{
	long fd = sys_call(SYS_openat, AT_FDCWD, place_of(p, bdf, "/" SYSFS_PLUGGED).text,
			   O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char text[64] = "";

	if (fd < 0)
		return (int)fd;
	if (believed((int)fd) &&
	    sys_call(SYS_pread64, (int)fd, text, sizeof(text) - 1, 0) > 0 &&
	    sscanf(text, "# number %3u uio %3u", number, uio) == 2 &&
	    *number && *number <= IOAPI_NUMBER_MAX && *uio < IOAPI_NUMBER_MAX)
		return (int)fd;
	sys_call(SYS_close, (int)fd);
	return -EINVAL;
}

bool plug_shown(const struct plug *p, const char *bdf, unsigned *number)
{
	unsigned uio;
	int fd;

	*number = 0;
	if (sys_call(SYS_faccessat, AT_FDCWD, place_of(p, bdf, "").text, F_OK) < 0)
		return false;
	fd = open_plugged(p, bdf, number, &uio);
	if (fd >= 0)
		sys_call(SYS_close, fd);
	else
		*number = 0;
	return true;
}

int plug_load(const struct plug *p, const char *bdf, struct config *c, unsigned *number,
	      unsigned *uio, struct err *e)
{
	int fd = open_plugged(p, bdf, number, uio), rc;
	unsigned was = c->nets;

	if (fd < 0)
		return err_set(e, fd, "%s: %s", bdf, strerror(-fd));
	/* What was looked at is what is read. */
	rc = config_load(c, at("/proc/self/fd/%d", fd).text, e);
	sys_call(SYS_close, fd);
	if (!rc)
		rc = config_finish(c, e);
	if (!rc && (c->nets != was + 1 || strcmp(c->net[was].bdf, bdf)))
		rc = err_set(e, -EINVAL, "%s: is another device's", bdf);
	if (!rc)
		c->net[was].plugged = true;
	return rc;
}

void plug_each(const struct plug *p, void (*each)(void *ctx, const char *bdf), void *ctx)
{
	if (p->base[0])
		tree_each(AT_FDCWD, at("%.200s/" DEVICES, p->base).text, each, ctx);
}
