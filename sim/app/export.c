// SPDX-License-Identifier: Apache-2.0
// export.c - `podpci sysfs`: the bus as files for a container engine to mount.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "sim/app/cmds.h"
#include "sim/app/sim.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"

static const char usage[] =
	"Usage: podpci sysfs --net socket=PATH[,KEY=VALUE...] [--net ...] [OPTIONS] DIR\n"
	"\n"
	"Renders the bus into DIR (created if need be, else empty) and prints what a container\n"
	"needs: `SOURCE TARGET' lines, each a read-only bind mount, and `NAME=VALUE' lines, its\n"
	"environment. With --json: {\"mounts\":[{\"source\",\"target\"}],\"env\":{}}.\n"
	"\n";

/* A JSON string (RFC 8259, 7). */
static void json_string(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < 0x20)
			printf("\\u%04x", c);
		else
			putchar(c);
	}
	putchar('"');
}

struct printer {
	void (*mount)(const char *source, const char *target, bool first);
	void (*between)(void);
	void (*env)(const char *name, const char *value, bool first);
	void (*end)(void);
};

static void text_mount(const char *source, const char *target, bool first)
{
	printf("%s %s\n", source, target);
}

static void text_env(const char *name, const char *value, bool first)
{
	printf("%s=%s\n", name, value);
}

static void nothing(void)
{
}

static void json_mount(const char *source, const char *target, bool first)
{
	fputs(first ? "{\"mounts\":[{\"source\":" : ",{\"source\":", stdout);
	json_string(source);
	fputs(",\"target\":", stdout);
	json_string(target);
	putchar('}');
}

static void json_between(void)
{
	fputs("],\"env\":{", stdout);
}

static void json_env(const char *name, const char *value, bool first)
{
	if (!first)
		putchar(',');
	json_string(name);
	putchar(':');
	json_string(value);
}

static void json_end(void)
{
	fputs("}}\n", stdout);
}

static const struct printer text_printer = { text_mount, nothing, text_env, nothing };
static const struct printer json_printer = { json_mount, json_between, json_env, json_end };

static void print_plan(const struct printer *p, const char *dir, const char *lib, bool verbose)
{
	const struct sysfs_mount *m;
	char source[PATH_MAX + 64];
	bool first = true;

	for (unsigned i = 0; (m = sysfs_mount(i)); i++) {
		snprintf(source, sizeof(source), "%s/%s", dir, m->source);
		if (m->optional && (access(source, F_OK) || access(m->target, F_OK)))
			continue;
		p->mount(source, m->target, first);
		first = false;
	}
	p->mount(lib, lib, false);
	p->between();
	p->env("LD_PRELOAD", lib, true);
	p->env("PODPCI_CONFIG", CONFIG_PATH, false);
	if (verbose)
		p->env("PODPCI_LOG", "info", false);
	p->end();
}

static int render(const struct config *c, const char *dir, char *full, struct err *e)
{
	struct ioapi_bus *bus = NULL;
	int dirfd = -1, rc;

	if ((mkdir(dir, 0755) && errno != EEXIST) || !realpath(dir, full))
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	dirfd = open(full, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	rc = sim_new(&bus, c, e);
	if (!rc)
		rc = sysfs_render(bus, c, dirfd, (uid_t)-1, e);
	ioapi_bus_close(bus);
	close(dirfd);
	return rc;
}

int cmd_sysfs(int argc, char **argv)
{
	char lib[PATH_MAX], dir[PATH_MAX];
	struct err e = { 0 };
	struct opts o;
	int rc;

	rc = opts_parse(&o, argc, argv, &e);
	if (!rc && o.help) {
		fputs(usage, stdout);
		opts_help();
		return 0;
	}
	if (!rc && (!o.rest[0] || o.rest[1]))
		rc = err_set(&e, -EINVAL, "one directory is needed: podpci sysfs [OPTIONS] DIR");
	if (!rc)
		rc = opts_finish(&o, &e);
	if (!rc)
		rc = opts_lib(&o, lib, sizeof(lib), &e);
	if (!rc)
		rc = render(&o.config, o.rest[0], dir, &e);
	if (rc) {
		fprintf(stderr, "podpci: %s\n", e.msg);
		return CMD_FAILED;
	}
	print_plan(o.json ? &json_printer : &text_printer, dir, lib, o.verbose);
	return 0;
}
