// SPDX-License-Identifier: Apache-2.0
// doctor_node.c - is this host fit for pods with devices? See doctor.h.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "include/ctlapi.h"
#include "sim/app/cmds.h"
#include "sim/app/doctor.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define POOLS       "/sys/kernel/mm/hugepages"
#define STATE_DIR   "/run/podpci/cni"
#define OVS_SOCKET  "/run/openvswitch/db.sock"
#define TIMEOUT_MS  3000
#define FILE_MAX    (256u << 10)
#define LEVELS_MAX  8			/* of a JSON document */

/* ---- memory -------------------------------------------------------------------------------- */

static void check_hugepages(struct doctor *d)
{
	struct names pools;
	unsigned sizes = 0;

	look_names(d, POOLS, "kB", &pools);
	for (unsigned i = 0; i < pools.n; i++) {
		char path[400];
		long long all, unused, promised;

		snprintf(path, sizeof(path), POOLS "/%s/nr_hugepages", pools.name[i]);
		all = look_number(path);
		snprintf(path, sizeof(path), POOLS "/%s/free_hugepages", pools.name[i]);
		unused = look_number(path);
		snprintf(path, sizeof(path), POOLS "/%s/resv_hugepages", pools.name[i]);
		promised = look_number(path);
		if (all <= 0)
			continue;
		sizes++;
		if (unused - promised > 0)
			doctor_say(d, GOOD, pools.name[i], NULL, "%lld of %lld pages can be had",
				   unused - promised, all);
		else
			doctor_say(d, FAIL, pools.name[i], "reserve more (vm.nr_hugepages), or ask "
				   "for less in memory.size of the networks",
				   "all %lld pages are used or promised: the next pod gets none",
				   all);
	}
	if (!sizes)
		doctor_say(d, FAIL, NULL, "sysctl vm.nr_hugepages=1024 (2 MB each), also in "
			   "/etc/sysctl.d; or memory.backing \"tmpfs\" in the networks",
			   "no hugepages are reserved: DPDK finds no memory to share");
	look_free(&pools);
}

static void check_descriptors(struct doctor *d)
{
	long long max = look_number("/proc/sys/fs/nr_open");

	if (max >= 0 && max < 65536)
		doctor_say(d, WARN, NULL, "sysctl fs.nr_open=1048576", "a process may have %lld "
			   "open files: a switch with many ports needs more", max);
	else
		doctor_say(d, GOOD, NULL, NULL, "a process may have %lld open files", max);
}

/* ---- the switch ---------------------------------------------------------------------------- */

static const char *control(void)
{
	const char *asked = getenv("PODPCI_SWITCH");

	return asked ? asked : CTL_SOCKET;
}

static int ask(const char *const *words, unsigned n, struct ctl_rows **rows, struct err *e)
{
	struct ctl *c = NULL;
	int rc = ctl_open(&c, control(), TIMEOUT_MS, e);

	if (!rc)
		rc = ctl_call(c, words, n, rows, e);
	ctl_close(c);
	return rc;
}

static void switch_absent(struct doctor *d, int rc, const struct err *e)
{
	bool ovs = !access(OVS_SOCKET, F_OK);

	if (rc == -EACCES || rc == -EPERM)
		doctor_say(d, WARN, control(), "run this as root or in the switch's group",
			   "not allowed to ask the switch");
	else if (ovs)
		doctor_say(d, WARN, control(), "systemctl start podpci-switch, if networks use it",
			   "podpci-switch does not run; networks with backend \"ovs\" need none");
	else
		doctor_say(d, FAIL, control(), "systemctl start podpci-switch; journalctl -u "
			   "podpci-switch says why it ended", "podpci-switch does not run (%s)",
			   rc == -ENOENT ? "no socket" : rc == -ECONNREFUSED ?
			   "a socket nobody serves" : e->msg);
}

static void check_switch(struct doctor *d)
{
	static const char *const words[] = { "switch", "show" };
	struct ctl_rows *rows = NULL;
	struct err e = { 0 };
	char version[32], ports[16];
	int rc = ask(words, ARRAY_SIZE(words), &rows, &e);

	if (rc) {
		switch_absent(d, rc, &e);
		return;
	}
	if (!ctl_rows_get(rows, 0, "version", version, sizeof(version)))
		version[0] = '\0';
	if (!ctl_rows_get(rows, 0, "ports", ports, sizeof(ports)))
		snprintf(ports, sizeof(ports), "0");
	if (strcmp(version, PODPCI_VERSION))
		doctor_say(d, WARN, control(), "restart podpci-switch", "it is version %s, this is "
			   PODPCI_VERSION, version);
	else
		doctor_say(d, GOOD, control(), NULL, "version %s, %s ports", version, ports);
	ctl_rows_free(rows);
}

static const char *get(const struct ctl_rows *r, size_t i, const char *field, char *buf,
		       size_t size)
{
	buf[0] = '\0';
	return ctl_rows_get(r, i, field, buf, size) ? buf : "";
}

/* The causes for which the switch drops frames: what they mean for whoever misses them. */
static const struct cause {
	const char *counter, *fix;
} causes[] = {
	{ "drop_spoofed", "the pod sends from an address that is not its own: set the port's "
	  "macs, or spoofcheck off" },
	{ "drop_not_member", "the frames' VLAN is not the port's: pvid, vlans, mode" },
	{ "drop_bad_tag", "the port takes no such VLAN tags: mode trunk" },
	{ "drop_too_long", "the frames are longer than the port's mtu" },
	{ "drop_nobody", "no other port wants them: is the peer's port up, in the same VLAN?" },
	{ "drop_rate", "in_bytes, in_frames or out_bytes limit the port" },
	{ "drop_storm", "storm limits broadcasts" },
	{ "out_full", "the pod does not take its frames: is its application polling, on a CPU of "
	  "its own?" },
	{ "out_down", "the pod's driver has not started its queues" },
};

static unsigned long long counter(const struct ctl_rows *r, size_t i, const char *name)
{
	char buf[32];

	return strtoull(get(r, i, name, buf, sizeof(buf)), NULL, 10);
}

static void port_traffic(struct doctor *d, const char *port, const char *name, const char *idle)
{
	const char *words[] = { "stats", "show", port };
	struct ctl_rows *rows = NULL;
	struct err e = { 0 };
	unsigned long long in, out;

	if (ask(words, ARRAY_SIZE(words), &rows, &e)) {
		doctor_say(d, WARN, name, "ask again", "its counters: %s", e.msg);
		return;
	}
	in = counter(rows, 0, "in_frames");
	out = counter(rows, 0, "out_frames");
	if (!in && !out)
		doctor_say(d, WARN, name, idle, "connected, and no frame has passed yet");
	else
		doctor_say(d, GOOD, name, NULL, "%llu frames from the pod, %llu to it", in, out);
	for (unsigned i = 0; i < ARRAY_SIZE(causes); i++)
		if (counter(rows, 0, causes[i].counter))
			doctor_say(d, WARN, name, causes[i].fix, "%llu frames: %s",
				   counter(rows, 0, causes[i].counter), causes[i].counter);
	ctl_rows_free(rows);
}

static void port_socket(struct doctor *d, const char *name, const char *path)
{
	struct stat st;

	if (look_stat(d, path, &st) || !S_ISSOCK(st.st_mode))
		doctor_say(d, FAIL, name, "podpci switch port del and add, or delete the pod",
			   "its socket is gone: %s", path);
	else
		doctor_say(d, WARN, name, "start the pod's application; podpci doctor -p PID",
			   "nobody is connected to %s (mode %o)", path, st.st_mode & 0777);
}

int doctor_traffic(struct doctor *d, const char *subject, const struct stat *socket)
{
	static const char *const words[] = { "port", "show" };
	struct ctl_rows *rows = NULL;
	struct err e = { 0 };
	char name[64], path[128];
	int rc = ask(words, ARRAY_SIZE(words), &rows, &e);
	bool found = false;

	for (size_t i = 0; !rc && !found && i < ctl_rows_count(rows); i++) {
		struct stat st;

		get(rows, i, "name", name, sizeof(name));
		found = get(rows, i, "socket", path, sizeof(path))[0] && !stat(path, &st) &&
			st.st_dev == socket->st_dev && st.st_ino == socket->st_ino;
	}
	ctl_rows_free(rows);
	if (!rc && found)
		port_traffic(d, name, subject, "does the application send, and does its peer? "
			     "podpci switch fdb show says who was heard");
	return rc ? rc : found ? 0 : -ENOENT;
}

static void check_ports(struct doctor *d)
{
	static const char *const words[] = { "port", "show" };
	struct ctl_rows *rows = NULL;
	struct err e = { 0 };
	bool uplink = false, others = false;
	char name[64], kind[32], state[16], path[128];

	if (ask(words, ARRAY_SIZE(words), &rows, &e))
		return;			/* said by check_switch */
	for (size_t i = 0; i < ctl_rows_count(rows); i++) {
		get(rows, i, "name", name, sizeof(name));
		get(rows, i, "kind", kind, sizeof(kind));
		get(rows, i, "state", state, sizeof(state));
		get(rows, i, "socket", path, sizeof(path));
		uplink |= strcmp(kind, "vhost") != 0;
		if (strcmp(kind, "vhost"))
			continue;
		others = true;
		if (!strcmp(state, "up"))
			port_traffic(d, name, name, "podpci doctor pod --pid PID looks at it "
				     "from inside");
		else
			port_socket(d, name, path);
	}
	ctl_rows_free(rows);
	if (others && !uplink)
		doctor_say(d, WARN, NULL, "podpci switch port add upl0 kind tap bridge br0",
			   "no uplink: pods reach each other and nobody else");
}

/* ---- what engines are told ------------------------------------------------------------------- */

static struct json_object *json_of(struct doctor *d, const char *path, const char **why)
{
	char *text = malloc(FILE_MAX);
	struct json_tokener *t = json_tokener_new_ex(32);
	struct json_object *doc = NULL;
	int n = text ? look_text(d, path, text, FILE_MAX) : -ENOMEM;

	*why = n < 0 ? strerror(-n) : "not JSON";
	if (n > 0 && t)
		doc = json_tokener_parse_ex(t, text, n);
	if (t)
		json_tokener_free(t);
	free(text);
	return doc;
}

static struct json_object *at(struct json_object *o, const char *key)
{
	struct json_object *v = NULL;

	if (json_object_is_type(o, json_type_object))
		json_object_object_get_ex(o, key, &v);
	return v;
}

static const char *text_at(struct json_object *o, const char *key)
{
	struct json_object *v = at(o, key);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : "";
}

static size_t length(struct json_object *list)
{
	return json_object_is_type(list, json_type_array) ? json_object_array_length(list) : 0;
}

/* A program root runs: there, to be executed, and nobody else's to replace. */
static bool program_ok(struct doctor *d, const char *path)
{
	struct stat st;
	int rc = look_stat(d, path, &st);

	if (rc || !S_ISREG(st.st_mode) || !(st.st_mode & 0111))
		doctor_say(d, FAIL, path, "install the podpci package, or mend the path",
			   "%s", rc ? strerror(-rc) : "cannot be executed");
	else if (st.st_uid || st.st_mode & 022)
		doctor_say(d, FAIL, path, "chown root, chmod go-w",
			   "others than root can replace this program, which root runs");
	else
		return true;
	return false;
}

static const char *const plugin_dirs[] = { "/opt/cni/bin", "/usr/lib/cni", "/usr/libexec/cni" };
static const char *const conf_dirs[] = { "/etc/cni/net.d", "/etc/containers/net.d" };
static const char *const hook_dirs[] = {
	"/etc/containers/oci/hooks.d", "/usr/share/containers/oci/hooks.d",
};
static const char *const spec_dirs[] = { "/etc/cdi", "/var/run/cdi" };

/* Calls each() for the JSON files of some directories; how many it wanted. */
static unsigned each_json(struct doctor *d, const char *const *dirs, unsigned n, const char *tail,
			  bool (*each)(struct doctor *d, const char *path, struct json_object *o))
{
	unsigned wanted = 0;

	for (unsigned i = 0; i < n; i++) {
		struct names files;

		look_names(d, dirs[i], tail, &files);
		for (unsigned k = 0; k < files.n; k++) {
			char path[400];
			const char *why;
			struct json_object *o;

			snprintf(path, sizeof(path), "%s/%s", dirs[i], files.name[k]);
			o = json_of(d, path, &why);
			if (!o)
				doctor_say(d, WARN, path, "mend or remove it; engines stumble over "
					   "it too", "%s", why);
			else
				wanted += each(d, path, o);
			json_object_put(o);
		}
		look_free(&files);
	}
	return wanted;
}

static bool network_is_ours(struct doctor *d, const char *path, struct json_object *o)
{
	struct json_object *list = at(o, "plugins");
	bool ours = !strcmp(text_at(o, "type"), "podpci-cni");

	for (size_t i = 0; i < length(list); i++)
		ours |= !strcmp(text_at(json_object_array_get_idx(list, i), "type"), "podpci-cni");
	if (ours)
		doctor_say(d, GOOD, path, NULL, "network \"%s\"", text_at(o, "name"));
	return ours;
}

static void check_plugin(struct doctor *d)
{
	unsigned networks = each_json(d, conf_dirs, ARRAY_SIZE(conf_dirs), ".conflist",
				      network_is_ours) +
			    each_json(d, conf_dirs, ARRAY_SIZE(conf_dirs), ".conf",
				      network_is_ours);
	unsigned found = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(plugin_dirs); i++) {
		char path[64];
		struct stat st;

		snprintf(path, sizeof(path), "%s/podpci-cni", plugin_dirs[i]);
		if (look_stat(d, path, &st))
			continue;
		found++;
		if (program_ok(d, path))
			doctor_say(d, GOOD, path, NULL, "installed");
	}
	if (!found)
		doctor_say(d, networks ? FAIL : WARN, "podpci-cni", "install -m 755 podpci-cni "
			   "/opt/cni/bin/ (or where the engine's bin_dir is)", networks ?
			   "networks name it and it is in no usual plugin directory" :
			   "not installed; only --network and Kubernetes need it");
	else if (!networks)
		doctor_say(d, WARN, "podpci-cni", "deploy/README.md has examples",
			   "no network in %s uses it; Multus may name it elsewhere", conf_dirs[0]);
}

static bool hook_is_ours(struct doctor *d, const char *path, struct json_object *o)
{
	const char *program = text_at(at(o, "hook"), "path");
	const char *base = strrchr(program, '/');

	if (!base || strcmp(base, "/podpci-hook"))
		return false;
	if (program_ok(d, program))
		doctor_say(d, GOOD, path, NULL, "runs %s", program);
	return true;
}

static void check_hook(struct doctor *d)
{
	unsigned n = each_json(d, hook_dirs, ARRAY_SIZE(hook_dirs), ".json", hook_is_ours);
	char *text = malloc(FILE_MAX);

	if (text && look_text(d, "/etc/containerd/config.toml", text, FILE_MAX) > 0 &&
	    strstr(text, "podpci")) {
		doctor_say(d, GOOD, "/etc/containerd/config.toml", NULL, "mentions podpci");
		n++;
	}
	if (text && look_text(d, "/etc/docker/daemon.json", text, FILE_MAX) > 0 &&
	    strstr(text, "podpci")) {
		doctor_say(d, GOOD, "/etc/docker/daemon.json", NULL, "mentions podpci");
		n++;
	}
	free(text);
	if (!n)
		doctor_say(d, WARN, "podpci-hook", "deploy/README.md: hooks.d, containerd, docker",
			   "no engine here is told of it: containers get a network and no device");
}

static void mounts_exist(struct doctor *d, const char *path, struct json_object *mounts,
			 unsigned *gone)
{
	struct stat st;

	for (size_t i = 0; i < length(mounts); i++) {
		const char *host = text_at(json_object_array_get_idx(mounts, i), "hostPath");

		if (host[0] == '/' && look_stat(d, host, &st) && !(*gone)++)
			doctor_say(d, FAIL, path, "podpci cdi generate",
				   "names %s, which is not there", host);
	}
}

static bool spec_is_ours(struct doctor *d, const char *path, struct json_object *o)
{
	struct json_object *devices = at(o, "devices");
	unsigned gone = 0;

	if (strcmp(text_at(o, "kind"), "podpci.dev/net"))
		return false;
	mounts_exist(d, path, at(at(o, "containerEdits"), "mounts"), &gone);
	for (size_t i = 0; i < length(devices); i++)
		mounts_exist(d, path, at(at(json_object_array_get_idx(devices, i),
					    "containerEdits"), "mounts"), &gone);
	if (!gone)
		doctor_say(d, GOOD, path, NULL, "%zu devices", length(devices));
	return true;
}

static void check_cdi(struct doctor *d)
{
	if (!each_json(d, spec_dirs, ARRAY_SIZE(spec_dirs), ".json", spec_is_ours))
		doctor_say(d, WARN, NULL, "podpci cdi generate",
			   "no CDI devices; only --device podpci.dev/net=NAME needs them");
}

static void check_library(struct doctor *d)
{
	struct opts o = { .lib = NULL };
	struct err e = { 0 };
	char path[PATH_MAX];

	if (opts_lib(&o, path, sizeof(path), &e))
		doctor_say(d, FAIL, NULL, "install the podpci package", "%s", e.msg);
	else
		doctor_say(d, GOOD, path, NULL, "to be shown to containers");
}

/* ---- what is attached ------------------------------------------------------------------------ */

static void check_attached(struct doctor *d)
{
	char boot[64] = "", dir[400];
	struct names containers;
	unsigned now = 0, before = 0;

	look_text(d, "/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
	boot[strcspn(boot, "\n")] = '\0';
	look_names(d, STATE_DIR, "", &containers);
	for (unsigned i = 0; i < containers.n; i++) {
		struct names records;

		snprintf(dir, sizeof(dir), STATE_DIR "/%s", containers.name[i]);
		look_names(d, dir, ".json", &records);
		for (unsigned k = 0; k < records.n; k++) {
			char path[700];
			const char *why, *when;
			struct json_object *o;

			snprintf(path, sizeof(path), "%s/%s", dir, records.name[k]);
			o = json_of(d, path, &why);
			when = text_at(o, "boot");
			*(o && *when && boot[0] && !strstr(when, boot) ? &before : &now) += 1;
			json_object_put(o);
		}
		look_free(&records);
	}
	look_free(&containers);
	if (before)
		doctor_say(d, WARN, STATE_DIR, "the engine's next GC clears them",
			   "%u attachments are from before the last reboot", before);
	doctor_say(d, GOOD, STATE_DIR, NULL, "%u attachments", now);
}

const struct doctor_check doctor_node[] = {
	{ "hugepages", check_hugepages },
	{ "files", check_descriptors },
	{ "library", check_library },
	{ "switch", check_switch },
	{ "port", check_ports },
	{ "plugin", check_plugin },
	{ "hook", check_hook },
	{ "cdi", check_cdi },
	{ "attached", check_attached },
	{ NULL, NULL },
};
