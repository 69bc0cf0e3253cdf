// SPDX-License-Identifier: Apache-2.0
// opts.c - command line options as a table of rows.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "sim/app/cmds.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct option_row {
	const char *name, *alias;
	const char *arg;		/* NULL: takes none */
	const char *help;
	int (*set)(struct opts *o, const char *val, struct err *e);
};

static int set_net(struct opts *o, const char *val, struct err *e)
{
	int rc = config_add_net(&o->config, val, e);

	return rc ? err_wrap(e, rc, "--net") : 0;
}

static int set_config(struct opts *o, const char *val, struct err *e)
{
	return config_load(&o->config, val, e);
}

static int set_option(struct opts *o, const char *val, struct err *e)
{
	int rc = config_option(&o->config, val, e);

	return rc ? err_wrap(e, rc, "--option") : 0;
}

static int set_lib(struct opts *o, const char *val, struct err *e)
{
	o->lib = val;
	return 0;
}

static int set_switch(struct opts *o, const char *val, struct err *e)
{
	o->sw = val;
	return 0;
}

static int set_dry_run(struct opts *o, const char *val, struct err *e)
{
	o->dry_run = true;
	return 0;
}

static int set_json(struct opts *o, const char *val, struct err *e)
{
	o->json = true;
	return 0;
}

static int set_verbose(struct opts *o, const char *val, struct err *e)
{
	o->verbose = true;
	return 0;
}

static int set_help(struct opts *o, const char *val, struct err *e)
{
	o->help = true;
	return 0;
}

static const struct option_row rows[] = {
	{ "--net", NULL, "KEY=VALUE,...", "a virtio-net device (repeatable), keys below", set_net },
	{ "--config", "-c", "FILE", "statements `net KEY=VALUE,...' and `option KEY=VALUE'",
	  set_config },
	{ "--option", "-o", "KEY=VALUE", "see below", set_option },
	{ "--lib", NULL, "PATH", "the preload library; default $PODPCI_LIB or ../lib", set_lib },
	{ "--switch", NULL, "PATH", "control socket of the switch; default $PODPCI_SWITCH or "
	  CTL_SOCKET, set_switch },
	{ "--dry-run", "-n", NULL, "check, print the effective configuration, do nothing",
	  set_dry_run },
	{ "--json", "-j", NULL, "print JSON (sysfs)", set_json },
	{ "--verbose", "-v", NULL, "log what the device does (PODPCI_LOG=info)", set_verbose },
	{ "--help", "-h", NULL, "this text", set_help },
};

void opts_help(void)
{
	const char *key, *help;
	char left[64];

	printf("Options:\n");
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct option_row *r = &rows[i];

		snprintf(left, sizeof(left), "%s%s%s%s%s", r->alias ? r->alias : "",
			 r->alias ? ", " : "", r->name, r->arg ? " " : "", r->arg ? r->arg : "");
		printf("  %-24s %s\n", left, r->help);
	}
	printf("\nKeys of --net:\n");
	for (unsigned i = 0; (help = config_help(i, &key)); i++)
		printf("  %-12s %s\n", key, help);
	printf("\nKeys of --option:\n");
	for (unsigned i = 0; (help = config_option_help(i, &key)); i++)
		printf("  %-12s %s\n", key, help);
}

/* The row for "--net", "-c" or "--net=..."; *val is what follows the '='. */
static const struct option_row *row_find(const char *arg, const char **val)
{
	size_t len = strcspn(arg, "=");

	*val = arg[len] ? arg + len + 1 : NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct option_row *r = &rows[i];

		if (strlen(r->name) == len && !memcmp(r->name, arg, len))
			return r;
		if (r->alias && !strcmp(r->alias, arg))
			return r;
	}
	return NULL;
}

/* The application may change its directory before the device connects. */
static int sockets_absolute(struct config *c, struct err *e)
{
	char full[PATH_MAX + VHOST_SOCKET_MAX + 2], cwd[PATH_MAX];

	for (unsigned i = 0; i < c->nets; i++) {
		struct net_config *n = &c->net[i];
		int len;

		if (n->socket[0] == '/' || !n->socket[0])
			continue;
		if (!getcwd(cwd, sizeof(cwd)))
			return err_set(e, -errno, "current directory: %s", strerror(errno));
		len = snprintf(full, sizeof(full), "%s/%s", strcmp(cwd, "/") ? cwd : "", n->socket);
		if (len >= (int)sizeof(n->socket))
			return err_set(e, -ENAMETOOLONG, "%s: %s: is %d bytes long, the path of a "
				       "socket may have %zu", n->id, full, len,
				       sizeof(n->socket) - 1);
		memcpy(n->socket, full, (size_t)len + 1);
	}
	return 0;
}

int opts_parse(struct opts *o, int argc, char **argv, struct err *e)
{
	int i = 1, rc;

	memset(o, 0, sizeof(*o));
	o->sw = getenv("PODPCI_SWITCH");
	config_init(&o->config);
	for (; i < argc && argv[i][0] == '-' && strcmp(argv[i], "--"); i++) {
		const struct option_row *r;
		const char *val;

		r = row_find(argv[i], &val);
		if (!r)
			return err_set(e, -EINVAL, "%s: unknown option; see podpci %s --help",
				       argv[i], argv[0]);
		if (!r->arg && val)
			return err_set(e, -EINVAL, "%s: takes no value", r->name);
		if (r->arg && !val && i + 1 < argc && strcmp(argv[i + 1], "--"))
			val = argv[++i];
		if (r->arg && !val)
			return err_set(e, -EINVAL, "%s: needs a value, %s", r->name, r->arg);
		rc = r->set(o, val, e);
		if (rc)
			return rc;
	}
	o->rest = argv + i + (i < argc && !strcmp(argv[i], "--"));
	return 0;
}

int opts_finish(struct opts *o, struct err *e)
{
	int rc = config_finish(&o->config, e);

	return rc ? rc : sockets_absolute(&o->config, e);
}

int opts_lib(const struct opts *o, char *path, unsigned size, struct err *e)
{
	const char *asked = o->lib ? o->lib : getenv("PODPCI_LIB");
	char want[PATH_MAX + 32], full[PATH_MAX];
	ssize_t len;

	if (asked) {
		snprintf(want, sizeof(want), "%s", asked);
	} else {
		len = readlink("/proc/self/exe", full, sizeof(full) - 1);
		if (len < 0)
			return err_set(e, -errno, "/proc/self/exe: %s (is /proc mounted? --lib "
				       "PATH says where the preload library is)",
				       strerror(errno));
		full[len] = '\0';
		for (unsigned i = 0; i < 2; i++)
			if (strrchr(full, '/'))
				*strrchr(full, '/') = '\0';
		snprintf(want, sizeof(want), "%s/lib/libpodpci.so", full);
	}
	if (!realpath(want, full) || access(full, R_OK))
		return err_set(e, -errno, "%s: %s (the preload library: --lib PATH or $PODPCI_LIB "
			       "says where it is)", want, strerror(errno));
	if (strpbrk(full, ": \t") || strlen(full) >= size)
		return err_set(e, -EINVAL, "%s: the loader takes no path with ':' or blanks", full);
	memcpy(path, full, strlen(full) + 1);
	return 0;
}
