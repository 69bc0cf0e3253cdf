// SPDX-License-Identifier: Apache-2.0
// bundle.c - see bundle.h.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cni-plugin/bundle.h"
#include "cni-plugin/js.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define PROCFS 0x9fa0
#define HUGETLBFS 0x958458f6

/* ---- state --------------------------------------------------------------------------------- */

static const struct js_key state_keys[] = {
	{ "id", &js_string, JS_FIELD(struct oci_state, id), 1, 0, "text", NULL },
	{ "status", &js_string, JS_FIELD(struct oci_state, status), 1, 0, "text", NULL },
	{ "bundle", &js_path, JS_FIELD(struct oci_state, bundle), 1, 0, "an absolute path", NULL },
};

/* Annotations by which an engine names the sandbox whose network this container has. */
static const char *const sandbox_keys[] = {
	"podpci.dev/sandbox-id", "io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID",
};

/* Keys with dots in them: not by js_at(). */
static const char *annotation(struct json_object *doc, const char *key)
{
	struct json_object *all = js_at(doc, "annotations"), *v = NULL;

	if (!json_object_is_type(all, json_type_object) ||
	    !json_object_object_get_ex(all, key, &v) || !json_object_is_type(v, json_type_string))
		return NULL;
	return json_object_get_string(v);
}

static void read_ids(struct oci_state *s)
{
	const char *kind = annotation(s->doc, "io.kubernetes.cri.container-type");
	const char *crio = annotation(s->doc, "io.kubernetes.cri-o.ContainerType");

	s->sandbox = (kind && !strcmp(kind, "sandbox")) || (crio && !strcmp(crio, "sandbox"));
	s->ids[s->ids_n++] = s->id;
	for (unsigned i = 0; i < ARRAY_SIZE(sandbox_keys); i++) {
		const char *id = annotation(s->doc, sandbox_keys[i]);

		if (id && js_name_ok(id, REQUEST_ID_MAX) && strcmp(id, s->id))
			s->ids[s->ids_n++] = id;
	}
}

int oci_state_parse(struct oci_state *s, struct json_object *doc, struct err *e)
{
	struct json_object *pid = js_at(doc, "pid");
	int rc;

	memset(s, 0, sizeof(*s));
	s->doc = doc;
	rc = js_read(doc, state_keys, ARRAY_SIZE(state_keys), s, e);
	if (rc)
		return rc;
	if (!s->id[0] || !s->bundle[0])
		return err_set(e, -EINVAL, "%s: is missing", s->id[0] ? "bundle" : "id");
	if (pid && (!json_object_is_type(pid, json_type_int) || json_object_get_int64(pid) < 0 ||
		    json_object_get_int64(pid) > 1 << 22))
		return err_set(e, -EINVAL, "pid: must be a process's number");
	s->pid = json_object_get_int64(pid);
	read_ids(s);
	return 0;
}

void oci_state_free(struct oci_state *s)
{
	json_object_put(s->doc);
	s->doc = NULL;
}

/* ---- config.json --------------------------------------------------------------------------- */

/* The host's number of a user of the container's. */
static uint32_t host_uid(struct json_object *doc, int64_t uid)
{
	struct json_object *maps = js_at(doc, "linux.uidMappings");

	for (size_t i = 0; json_object_is_type(maps, json_type_array) &&
	     i < json_object_array_length(maps); i++) {
		struct json_object *m = json_object_array_get_idx(maps, i);
		int64_t inside = json_object_get_int64(js_at(m, "containerID"));
		int64_t size = json_object_get_int64(js_at(m, "size"));

		if (uid >= inside && uid - inside < size)
			return (uint32_t)(json_object_get_int64(js_at(m, "hostID")) + uid -
					  inside);
	}
	return (uint32_t)uid;
}

static bool preloads(struct json_object *doc)
{
	struct json_object *env = js_at(doc, "process.env");

	for (size_t i = 0; json_object_is_type(env, json_type_array) &&
	     i < json_object_array_length(env); i++) {
		const char *v = json_object_get_string(json_object_array_get_idx(env, i));

		if (v && !strncmp(v, "LD_PRELOAD=", 11) && strstr(v, POD_LIBRARY))
			return true;
	}
	return false;
}

/* The engine's own memory for the container, such as a pod's emptyDir on hugepages. */
static bool brings_memory(struct json_object *doc)
{
	struct json_object *mounts = js_at(doc, "mounts");

	for (size_t i = 0; json_object_is_type(mounts, json_type_array) &&
	     i < json_object_array_length(mounts); i++) {
		struct json_object *m = json_object_array_get_idx(mounts, i);
		const char *type = js_text(m, "type"), *source = js_text(m, "source");
		struct statfs st;

		if (type && !strcmp(type, "hugetlbfs"))
			return true;
		if (source && source[0] == '/' && !statfs(source, &st) && st.f_type == HUGETLBFS)
			return true;
	}
	return false;
}

/*
 * A pod written for userspace-cni says where in it the sockets are to be: a place of its own, not
 * one that the kernel or the engine has filled.
 */
static int read_mapped_dir(struct oci_config *c, struct err *e)
{
	static const char *const keys[] = { "userspace/mapped-dir", "userspace/mappedDir" };
	static const char *const taken[] = { "/proc/", "/sys/", "/dev/" };
	char *to = c->container.mapped_dir;
	const size_t size = sizeof(c->container.mapped_dir);
	const char *is = NULL;
	bool bad;

	for (unsigned i = 0; i < ARRAY_SIZE(keys) && !is; i++)
		is = annotation(c->doc, keys[i]);
	if (!is)
		return 0;
	bad = is[0] != '/' || !js_printable(is) ||
	      (size_t)snprintf(to, size, "%s/", is) >= size || strstr(to, "/../") ||
	      strstr(to, "/./");
	for (size_t n = bad ? 0 : strlen(to); n && to[n - 1] == '/'; n--)
		to[n] = '\0';		/* one, if any, is left */
	for (unsigned i = 0; i < ARRAY_SIZE(taken) && !bad; i++)
		bad = !to[1] || (!strncmp(to, taken[i], strlen(taken[i])) &&
				 strcmp(to, POD_DEVICES "/"));
	if (bad)
		return err_set(e, -EINVAL, "annotation userspace/mapped-dir: must be an absolute "
			       "path, not in /proc, /sys or /dev");
	to[strlen(to) - 1] = '\0';
	if (!strcmp(to, POD_DEVICES))
		to[0] = '\0';		/* it is there anyway */
	return 0;
}

/* podpci-hook ... --device NAME: every hook of ours adds its own. */
static void read_devices(struct oci_config *c, const char *hook)
{
	struct json_object *hooks = js_at(c->doc, "hooks.createRuntime");

	for (size_t i = 0; json_object_is_type(hooks, json_type_array) &&
	     i < json_object_array_length(hooks); i++) {
		struct json_object *h = json_object_array_get_idx(hooks, i);
		struct json_object *args = js_at(h, "args");
		const char *path = js_text(h, "path");

		if (!path || strcmp(path, hook) || !json_object_is_type(args, json_type_array))
			continue;
		for (size_t k = 0; k + 1 < json_object_array_length(args); k++) {
			const char *a = json_object_get_string(json_object_array_get_idx(args, k));

			if (a && !strcmp(a, "--device") && c->devices_n < ATTACH_MAX)
				c->devices[c->devices_n++] = json_object_get_string(
					json_object_array_get_idx(args, k + 1));
		}
	}
}

int oci_config_parse(struct oci_config *c, struct json_object *doc, const char *bundle,
		     const char *hook, struct err *e)
{
	const char *root = js_text(doc, "root.path");
	struct json_object *uid = js_at(doc, "process.user.uid");

	memset(c, 0, sizeof(*c));
	c->doc = doc;
	if (!root || !*root || !js_printable(root))
		return err_set(e, -EINVAL, "config.json: root.path: is missing");
	if ((size_t)snprintf(c->root, sizeof(c->root), "%s%s%s", root[0] == '/' ? "" : bundle,
			     root[0] == '/' ? "" : "/", root) >= sizeof(c->root))
		return err_set(e, -ENAMETOOLONG, "config.json: root.path: is too long");
	c->container.uid = host_uid(doc, json_object_get_int64(uid));
	c->container.preloaded = preloads(doc);
	c->container.has_memory = brings_memory(doc);
	read_devices(c, hook);
	return read_mapped_dir(c, e);
}

int oci_config_load(struct oci_config *c, const char *bundle, const char *hook, struct err *e)
{
	char path[BUNDLE_PATH_MAX + 16];
	struct json_object *doc = NULL;
	int rc;

	memset(c, 0, sizeof(*c));
	snprintf(path, sizeof(path), "%s/config.json", bundle);
	rc = js_load(AT_FDCWD, path, &doc, e);
	return rc ? rc : oci_config_parse(c, doc, bundle, hook, e);
}

void oci_config_free(struct oci_config *c)
{
	json_object_put(c->doc);
	c->doc = NULL;
}

/* ---- the process --------------------------------------------------------------------------- */

int64_t bundle_start_time(int proc)
{
	int fd = openat(proc, "stat", O_RDONLY | O_CLOEXEC);
	char text[1024], *p;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	text[n > 0 ? n : 0] = '\0';
	p = strrchr(text, ')');		/* a name may hold anything */
	for (unsigned field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	return p ? strtoll(p, NULL, 10) : 0;
}

/* Its mount namespace is not ours: what is mounted there is not mounted on the host. */
static bool has_own_mounts(int proc)
{
	struct stat theirs, ours;

	return !fstatat(proc, "ns/mnt", &theirs, 0) && !stat("/proc/self/ns/mnt", &ours) &&
	       (theirs.st_ino != ours.st_ino || theirs.st_dev != ours.st_dev);
}

int bundle_pin(pid_t pid, int64_t *start, struct err *e)
{
	int self = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd;
	struct statfs st;
	char path[32];
	int64_t mine;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = pid > 1 ? open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	mine = self < 0 ? 0 : bundle_start_time(self);
	if (self >= 0)
		close(self);
	*start = fd < 0 ? 0 : bundle_start_time(fd);
	if (fd < 0 || fstatfs(fd, &st) || st.f_type != PROCFS || !*start || *start > mine) {
		if (fd >= 0)
			close(fd);
		return err_set(e, -ESRCH, "process %d: is gone or not the container's", pid);
	}
	if (!has_own_mounts(fd)) {
		close(fd);
		return err_set(e, -EINVAL, "process %d: has the host's mounts: podpci-hook is for "
			       "the createRuntime stage, of containers with a mount namespace",
			       pid);
	}
	return fd;
}
