// SPDX-License-Identifier: Apache-2.0
// node.c - see node.h.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/netconf.h"
#include "cni-plugin/node.h"
#include "include/ctlapi.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static const struct js_key keys[] = {
	{ "stateDir", &js_socket, JS_FIELD(struct node, state), 2, 0,
	  "a short absolute path", NULL },
	{ "networkDir", &js_path, JS_FIELD(struct node, networks), 2, 0, "an absolute path", NULL },
	{ "library", &js_path, JS_FIELD(struct node, library), 2, 0, "an absolute path", NULL },
	{ "hook", &js_path, JS_FIELD(struct node, hook), 2, 0, "an absolute path", NULL },
	{ "runtime", &js_path, JS_FIELD(struct node, runtime), 2, 0, "an absolute path", NULL },
	{ "logFile", &js_path, JS_FIELD(struct node, log), 2, 0, "an absolute path", NULL },
	{ "switchControl", &js_path, JS_FIELD(struct node, control), 2, 0,
	  "an absolute path", NULL },
	{ "ovsDb", &js_path, JS_FIELD(struct node, ovs), 2, 0, "an absolute path", NULL },
	{ "attachmentsMax", &js_number, JS_FIELD(struct node, attachments), 1, 32,
	  "a number from 1 to 32", NULL },
	{ "hugepagesMax", &js_size, JS_FIELD(struct node, huge_max), 0, 1ull << 42,
	  "a size such as \"4Gi\"", NULL },
	{ "deadlineMs", &js_number, JS_FIELD(struct node, deadline_ms), 100, 110000,
	  "milliseconds from 100 to 110000", NULL },
	{ "gcGraceMs", &js_number, JS_FIELD(struct node, grace_ms), 0, 600000,
	  "milliseconds from 0 to 600000", NULL },
};

static const struct js_key dir_key = {
	"socketDirs", &js_path, 0, NODE_PATH_MAX, 2, 0, "absolute paths", NULL
};

static const struct js_key backend_key = {
	"backends", &js_word, 0, sizeof(unsigned), 0, 0, "names of back-ends", netconf_backends
};

/* A list of at most max values, each put by `add`. */
static int read_list(struct json_object *doc, const char *name, size_t max, struct node *n,
		     int (*add)(struct node *n, struct json_object *v, struct err *e),
		     struct err *e)
{
	struct json_object *list = js_at(doc, name);
	int rc = 0;

	if (!list)
		return 0;
	if (!json_object_is_type(list, json_type_array) || json_object_array_length(list) > max)
		return err_set(e, -EINVAL, "%s: must be a list of at most %zu", name, max);
	for (size_t i = 0; i < json_object_array_length(list) && !rc; i++)
		rc = add(n, json_object_array_get_idx(list, i), e);
	return rc;
}

static int add_dir(struct node *n, struct json_object *v, struct err *e)
{
	return js_take(v, &dir_key, n->socket_dirs[n->socket_dirs_n++], e);
}

static int add_backend(struct node *n, struct json_object *v, struct err *e)
{
	unsigned which = 0;
	int rc = js_take(v, &backend_key, &which, e);

	n->backends |= 1u << which;
	return rc;
}

/* Beside this program: /opt/podpci/bin/podpci-hook has its library in /opt/podpci/lib. */
static void beside(char *to, size_t size, const char *what)
{
	char self[256];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	self[n > 0 ? n : 0] = '\0';
	for (unsigned up = 0; up < 2 && strrchr(self, '/'); up++)
		*strrchr(self, '/') = '\0';
	if ((size_t)snprintf(to, size, "%s/%s", self, what) >= size)
		to[0] = '\0';
}

static void defaults(struct node *n)
{
	*n = (struct node){
		.state = "/run/podpci/cni", .networks = "/etc/podpci/net.d", .control = CTL_SOCKET,
		.ovs = "/run/openvswitch/db.sock", .runtime = "runc",
		.socket_dirs = { "/run/podpci", "/run/vpp", "/run/vhost" }, .attachments = 16,
		.huge_max = 1ull << 40, .deadline_ms = 20000, .grace_ms = 2000,
	};
	beside(n->library, sizeof(n->library), "lib/libpodpci.so");
	beside(n->hook, sizeof(n->hook), "bin/podpci-hook");
}

/* What root would obey must be root's alone. */
static int judge_owner(const char *path, struct err *e)
{
	struct stat st;

	if (stat(path, &st))
		return errno == ENOENT ? 1 : err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (st.st_uid != geteuid() && st.st_uid)
		return err_set(e, -EPERM, "%s: belongs to user %u, must be root's", path,
			       st.st_uid);
	if (st.st_mode & 022)
		return err_set(e, -EPERM, "%s: others may write it (mode %o): chmod go-w", path,
			       st.st_mode & 07777);
	return 0;
}

int node_load(struct node *n, const char *path, struct err *e)
{
	struct json_object *doc = NULL;
	unsigned defaults_n = 3;
	int rc;

	defaults(n);
	rc = judge_owner(path ? path : NODE_FILE, e);
	if (!rc)
		rc = js_load(AT_FDCWD, path ? path : NODE_FILE, &doc, e);
	else if (rc > 0 && !path)
		rc = 0;
	else if (rc > 0)
		rc = err_set(e, -ENOENT, "%s: no such file", path);
	if (!rc && doc)
		rc = js_read(doc, keys, ARRAY_SIZE(keys), n, e);
	if (!rc && doc)
		rc = read_list(doc, "socketDirs", NODE_DIRS_MAX, n, add_dir, e);
	if (!rc && doc)
		rc = read_list(doc, "backends", BACKENDS, n, add_backend, e);
	if (rc && doc)
		err_wrap(e, rc, "%s", path ? path : NODE_FILE);
	json_object_put(doc);
	n->socket_dirs_n = n->socket_dirs_n ? n->socket_dirs_n : defaults_n;
	n->backends = n->backends ? n->backends : (1u << BACKENDS) - 1;
	return rc;
}

bool node_socket_ok(const struct node *n, const char *path)
{
	for (unsigned i = 0; i < n->socket_dirs_n; i++) {
		size_t len = strlen(n->socket_dirs[i]);

		if (!strncmp(path, n->socket_dirs[i], len) && path[len] == '/' && path[len + 1])
			return true;
	}
	return false;
}
