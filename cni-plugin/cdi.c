// SPDX-License-Identifier: Apache-2.0
// cdi.c - podpci-cdi, run by `podpci cdi': specifications of the Container Device Interface for
// the networks of a node.
//
// A device's edits are hooks of ours that are told its name: the hook attaches and shows it, by
// the plan that podpci-cni and podpci-runtime go by.
// pkg-config: json-c
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/ociedit.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CDI_KIND "podpci.dev/net"
#define CDI_FILE "podpci.json"
#define CDI_DIR  "/etc/cdi"
#define CDI_MAX  256

static const char usage[] =
	"Usage: podpci cdi generate [--output DIR|-] [--preload-env] [--node FILE]\n"
	"       podpci cdi list [--node FILE]\n"
	"\n"
	"generate writes a CDI specification with a device for each network of the node, as in\n"
	"  podman run --device " CDI_KIND "=net0 IMAGE dpdk-testpmd\n"
	"\n"
	"  --output DIR    where " CDI_FILE " goes (" CDI_DIR "); -: to stdout\n"
	"  --preload-env   set LD_PRELOAD too, instead of what the image sets: for images whose\n"
	"                  loader does not read /etc/ld.so.preload (musl)\n"
	"  --node FILE     the node's settings (" NODE_FILE "); NAME.json of its networkDir is\n"
	"                  device NAME\n";

struct cdi {
	struct node node;
	const char *node_file, *output;
	bool preload_env;
	char name[CDI_MAX][REQUEST_IFNAME_MAX + 1];
	unsigned n;
};

/* ---- networks ------------------------------------------------------------------------------ */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* What cannot be used is told and left out: one wrong file does not take the others away. */
static int read_networks(struct cdi *c, struct err *e)
{
	DIR *d = opendir(c->node.networks);
	struct dirent *entry;

	if (!d)
		return err_set(e, -errno, "%s: %s", c->node.networks, strerror(errno));
	while (c->n < CDI_MAX && (entry = readdir(d))) {
		size_t len = strlen(entry->d_name);
		struct netconf conf;
		struct err why;
		char name[256];

		if (len < 6 || strcmp(entry->d_name + len - 5, ".json"))
			continue;
		snprintf(name, sizeof(name), "%.*s", (int)len - 5, entry->d_name);
		if (netconf_load(&conf, &c->node, name, &why))
			fprintf(stderr, "podpci cdi: %s: left out: %s\n", name, why.msg);
		else
			memcpy(c->name[c->n++], name, strlen(name) + 1);
		netconf_free(&conf);
	}
	closedir(d);
	qsort(c->name, c->n, sizeof(c->name[0]), by_name);
	return 0;
}

/* ---- the specification --------------------------------------------------------------------- */

static struct json_object *hook(const struct cdi *c, const char *device, const char *stage)
{
	struct ociedit o = { .hook = c->node.hook, .node_file = c->node_file, .devices = 1 };
	struct json_object *h;

	memcpy(o.device[0], device, strlen(device) + 1);
	h = ociedit_hook(&o, stage);
	json_object_object_add(h, "hookName", json_object_new_string(stage));
	return h;
}

static struct json_object *device(const struct cdi *c, const char *name)
{
	struct json_object *d = json_object_new_object(), *edits = json_object_new_object();
	struct json_object *hooks = json_object_new_array();

	json_object_array_add(hooks, hook(c, name, "createRuntime"));
	json_object_array_add(hooks, hook(c, name, "poststop"));
	json_object_object_add(edits, "hooks", hooks);
	json_object_object_add(d, "name", json_object_new_string(name));
	json_object_object_add(d, "containerEdits", edits);
	return d;
}

/* The lowest version that has what is used: older engines refuse newer ones. */
static const char *lowest(const struct cdi *c)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->name[i][0] >= '0' && c->name[i][0] <= '9')
			return "0.5.0";		/* names that begin with a digit */
	return "0.3.0";
}

static struct json_object *specification(const struct cdi *c)
{
	struct json_object *o = json_object_new_object(), *edits = json_object_new_object();
	struct json_object *devices = json_object_new_array(), *env = json_object_new_array();

	json_object_array_add(env, json_object_new_string("PODPCI_NETWORK=" POD_NETWORK));
	if (c->preload_env)
		json_object_array_add(env, json_object_new_string("LD_PRELOAD=" POD_LIBRARY));
	json_object_object_add(edits, "env", env);
	for (unsigned i = 0; i < c->n; i++)
		json_object_array_add(devices, device(c, c->name[i]));
	json_object_object_add(o, "cdiVersion", json_object_new_string(lowest(c)));
	json_object_object_add(o, "kind", json_object_new_string(CDI_KIND));
	json_object_object_add(o, "devices", devices);
	json_object_object_add(o, "containerEdits", edits);
	return o;
}

static int write_file(const char *dir, const char *text, struct err *e)
{
	int at, fd, rc = 0;

	if (mkdir(dir, 0755) && errno != EEXIST)
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	unlinkat(at, ".podpci.tmp", 0);
	fd = openat(at, ".podpci.tmp", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) || fsync(fd) ||
	    renameat(at, ".podpci.tmp", at, CDI_FILE))
		rc = err_set(e, -errno, "%s/%s: %s", dir, CDI_FILE, strerror(errno));
	if (fd >= 0)
		close(fd);
	close(at);
	return rc;
}

static int generate(struct cdi *c, struct err *e)
{
	struct json_object *o = specification(c);
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	const char *dir = c->output ? c->output : CDI_DIR;
	int rc = 0;

	if (!strcmp(dir, "-"))
		rc = printf("%s\n", text) < 0 || fflush(stdout) ?
		     err_set(e, -EIO, "cannot write the specification") : 0;
	else if (!c->n)		/* an engine refuses one without devices */
		rc = err_set(e, -ENOENT, "%s: has no network; write NAME.json there first",
			     c->node.networks);
	else
		rc = write_file(dir, text, e);
	json_object_put(o);
	return rc;
}

static int list(struct cdi *c, struct err *e)
{
	for (unsigned i = 0; i < c->n; i++)
		printf("%s=%s\n", CDI_KIND, c->name[i]);
	return fflush(stdout) ? err_set(e, -EIO, "cannot write the list") : 0;
}

static const struct command {
	const char *name;
	int (*run)(struct cdi *c, struct err *e);
} commands[] = {
	{ "generate", generate },
	{ "list", list },
};

static const struct command *parse(struct cdi *c, int argc, char **argv)
{
	const struct command *which = NULL;

	for (int i = 1; i < argc; i++) {
		const char *next = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(argv[i], "--output") && next)
			c->output = argv[++i];
		else if (!strcmp(argv[i], "--node") && next)
			c->node_file = argv[++i];
		else if (!strcmp(argv[i], "--preload-env"))
			c->preload_env = true;
		else if (argv[i][0] == '-' || which)
			return NULL;
		for (unsigned k = 0; k < ARRAY_SIZE(commands); k++)
			if (!strcmp(argv[i], commands[k].name))
				which = &commands[k];
	}
	return which;
}

int main(int argc, char **argv)
{
	static struct cdi c;
	const struct command *which;
	struct err e = { 0 };
	int rc;

	if (argc > 1 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc > 1 && !strcmp(argv[1], "--version")) {
		printf("podpci-cdi %s\n", PODPCI_VERSION);
		return 0;
	}
	which = parse(&c, argc, argv);
	if (!which) {
		fputs(usage, stderr);
		return 125;
	}
	rc = node_load(&c.node, c.node_file, &e);
	if (!rc)
		rc = read_networks(&c, &e);
	if (!rc)
		rc = which->run(&c, &e);
	if (rc)
		fprintf(stderr, "podpci cdi: %s\n", e.msg);
	return rc ? 125 : 0;
}
