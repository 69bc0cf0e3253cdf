// SPDX-License-Identifier: Apache-2.0
// runtime.c - podpci-runtime: an OCI runtime for docker's --runtime and containerd's BinaryName.
//
// It is the real runtime, to which it hands its arguments as they are; before `create' and `run'
// it edits the bundle's config.json if the container asks for devices. A container that does not
// ask is not looked at any further and cannot be broken by us.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/names.h"
#include "cni-plugin/node.h"
#include "cni-plugin/ociedit.h"
#include "cni-plugin/record.h"
#include "cni-plugin/result.h"
#include "cni-plugin/state.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define LOCK_WAIT_MS 2000

static const char usage[] =
	"Usage: podpci-runtime [RUNTIME'S OWN OPTIONS] COMMAND ...\n"
	"\n"
	"An OCI runtime that gives simulated PCI devices to containers that ask for them, by the\n"
	"annotation or (docker) label " OCIEDIT_ASK "=NAME,... or the variable\n"
	OCIEDIT_ENV "=NAME,...; NAME.json is in networkDir of " NODE_FILE ". Pods whose network\n"
	"podpci-cni attached get their devices without asking. All else is the real runtime's:\n"
	"$PODPCI_RUNTIME, or `runtime' of " NODE_FILE ", or runc.\n"
	"\n"
	"  docker run --runtime podpci -e " OCIEDIT_ENV "=net0 IMAGE dpdk-testpmd\n";

/* Options of runtimes before their command that take a value in the next word. */
static const char *const valued[] = {
	"--root", "--log", "--log-format", "--log-level", "--criu", "--rootless",
	"--cgroup-manager",
};

static const char *command_of(int argc, char **argv, int *at)
{
	for (int i = 1; i < argc; i++) {
		bool takes = false;

		if (argv[i][0] != '-') {
			*at = i;
			return argv[i];
		}
		for (unsigned k = 0; k < ARRAY_SIZE(valued); k++)
			takes |= !strcmp(argv[i], valued[k]);
		i += takes;
	}
	return NULL;
}

static const char *bundle_of(int argc, char **argv, int from)
{
	for (int i = from + 1; i < argc; i++) {
		if ((!strcmp(argv[i], "--bundle") || !strcmp(argv[i], "-b")) && i + 1 < argc)
			return argv[i + 1];
		if (!strncmp(argv[i], "--bundle=", 9))
			return argv[i] + 9;
		if (!strncmp(argv[i], "-b=", 3))
			return argv[i] + 3;
	}
	return ".";
}

/* ---- asking -------------------------------------------------------------------------------- */

/*
 * docker keeps labels to itself: in config.v2.json beside the files it mounts into the container.
 */
static void docker_labels(struct ociedit *o, struct json_object *config)
{
	struct json_object *mounts = js_at(config, "mounts"), *doc = NULL, *labels, *v = NULL;
	char path[PATH_MAX] = "";
	struct err ignored;

	for (size_t i = 0; json_object_is_type(mounts, json_type_array) &&
	     i < json_object_array_length(mounts); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		const char *to = js_text(m, "destination"), *from = js_text(m, "source");

		if (to && from && !strcmp(to, "/etc/hostname") && strstr(from, "/containers/") &&
		    strlen(from) + 16 < sizeof(path))
			memcpy(path, from, strlen(from) + 1);
	}
	if (!path[0])
		return;
	strcpy(strrchr(path, '/') + 1, "config.v2.json");
	if (js_load(AT_FDCWD, path, &doc, &ignored))
		return;
	labels = js_at(doc, "Config.Labels");
	if (json_object_is_type(labels, json_type_object) &&
	    json_object_object_get_ex(labels, OCIEDIT_ASK, &v) &&
	    json_object_is_type(v, json_type_string))
		(void)ociedit_ask(o, json_object_get_string(v), &ignored);
	json_object_put(doc);
}

static const char *annotation(struct json_object *config, const char *key)
{
	struct json_object *all = js_at(config, "annotations"), *v = NULL;

	if (!json_object_is_type(all, json_type_object) ||
	    !json_object_object_get_ex(all, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

/* The sandbox of a container, if its pod has what podpci-cni attached: names_digest() of it. */
static bool has_attachment(const struct node *n, struct json_object *config,
			   char digest[NAMES_DIGEST])
{
	static const char *const keys[] = {
		"io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID",
	};
	const char *kind = annotation(config, "io.kubernetes.cri.container-type");
	char path[128];

	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *id = annotation(config, keys[i]);

		if (!id || (kind && strcmp(kind, "container")))
			continue;
		names_digest(digest, id, NULL, NULL);
		snprintf(path, sizeof(path), "%s/%s", n->state, digest);
		if (!access(path, F_OK))
			return true;
	}
	return false;
}

/*
 * The pod's devices are known already: what the hook will write into POD_NETWORK also goes where
 * programs without a JSON parser look. The hook, not we, says what is wrong with a record.
 */
static void tell_network(const struct node *n, const char *digest, struct json_object *config)
{
	struct recorded *list = NULL;
	unsigned count = 0, broken = 0;
	int state = -1, dir = -1;
	struct err e;

	if (state_open(&state, n->state, false, &e))
		return;
	if (!state_lock(&dir, state, digest, false, LOCK_WAIT_MS, &e)) {
		if (record_all(&list, &count, &broken, dir, n, NULL, &e))
			count = 0;
		state_unlock(&dir, state, digest);
	}
	close(state);
	for (unsigned i = 0; i < count; i++) {
		struct json_object *device = list[i].ready ?
			result_network(&list[i].attach, list[i].result) : NULL;

		if (device)
			(void)ociedit_network(config, device, &e);
		json_object_put(device);
	}
	record_list_free(list, count);
}

/* ---- editing ------------------------------------------------------------------------------- */

static int replace(int dir, struct json_object *config, struct err *e)
{
	const char *text = json_object_to_json_string_ext(config, JSON_C_TO_STRING_NOSLASHESCAPE);
	static const char fresh[] = ".config.json.podpci";
	struct stat was;
	size_t len = strlen(text), done = 0;
	int fd, rc = 0;

	if (fstatat(dir, "config.json", &was, AT_SYMLINK_NOFOLLOW))
		return err_set(e, -errno, "config.json: %s", strerror(errno));
	unlinkat(dir, fresh, 0);
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_set(e, -errno, "%s: %s", fresh, strerror(errno));
	while (!rc && done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			rc = -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	if (!rc && (fchmod(fd, was.st_mode & 0777) || fchown(fd, was.st_uid, was.st_gid) ||
		    renameat(dir, fresh, dir, "config.json")))
		rc = -errno;
	close(fd);
	if (!rc)
		return 0;
	unlinkat(dir, fresh, 0);
	return err_set(e, rc, "config.json: cannot be replaced: %s", strerror(-rc));
}

/* 0 also if there is nothing to do. An error only for a container that asked. */
static int edit(const struct node *n, const char *node_file, const char *bundle, struct err *e)
{
	struct ociedit o = { .hook = n->hook, .node_file = node_file };
	int dir = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct json_object *config = NULL;
	char digest[NAMES_DIGEST];
	struct err ignored;
	bool pod;

	if (dir < 0 || js_load(dir, "config.json", &config, &ignored)) {
		if (dir >= 0)
			close(dir);
		return 0;	/* the real runtime says what is wrong with it */
	}
	rc = ociedit_asked(&o, config, e);
	docker_labels(&o, config);
	pod = has_attachment(n, config, digest);
	if (!rc && (o.devices || pod)) {
		rc = ociedit_apply(&o, config, e);
		if (!rc && pod)
			tell_network(n, digest, config);
		if (!rc)
			rc = replace(dir, config, e);
	}
	json_object_put(config);
	close(dir);
	return rc;
}

/* ---- the real one -------------------------------------------------------------------------- */

static bool is_self(const char *path)
{
	struct stat a, b;

	return !stat(path, &a) && !stat("/proc/self/exe", &b) && a.st_ino == b.st_ino &&
	       a.st_dev == b.st_dev;
}

/* In PATH, but not us under another name. */
static int find(const char *name, char *full, size_t size)
{
	const char *path = getenv("PATH");

	if (strchr(name, '/'))
		return (size_t)snprintf(full, size, "%s", name) < size && !is_self(full) ? 0 : -1;
	for (path = path ? path : "/usr/sbin:/usr/bin:/sbin:/bin"; *path;) {
		size_t len = strcspn(path, ":");

		snprintf(full, size, "%.*s/%s", (int)len, path, name);
		if (len && !access(full, X_OK) && !is_self(full))
			return 0;
		path += len + (path[len] == ':');
	}
	return -1;
}

int main(int argc, char **argv)
{
	const char *name = getenv("PODPCI_RUNTIME"), *node_file = getenv("PODPCI_NODE");
	const char *command;
	char full[PATH_MAX];
	struct err e = { 0 }, why = { 0 };
	struct node n;
	int at = 0, node_rc;

	if (argc == 2 && !strcmp(argv[1], "--help")) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc == 2 && !strcmp(argv[1], "--version"))
		fprintf(stderr, "podpci-runtime %s\n", PODPCI_VERSION);
	node_rc = node_load(&n, node_file, &why);
	command = command_of(argc, argv, &at);
	if (command && (!strcmp(command, "create") || !strcmp(command, "run"))) {
		if (edit(&n, node_file, bundle_of(argc, argv, at), &e)) {
			fprintf(stderr, "podpci-runtime: %s\n", e.msg);
			return 1;
		}
		if (node_rc)
			fprintf(stderr, "podpci-runtime: warning: %s\n", why.msg);
	}
	name = name && *name ? name : n.runtime;
	if (find(name, full, sizeof(full))) {
		fprintf(stderr, "podpci-runtime: %s: no such runtime ($PODPCI_RUNTIME, or "
			"`runtime' in %s)\n", name, NODE_FILE);
		return 127;
	}
	execv(full, argv);
	fprintf(stderr, "podpci-runtime: %s: %s\n", full, strerror(errno));
	return 126;
}
