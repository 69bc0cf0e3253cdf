// SPDX-License-Identifier: Apache-2.0
// doctor_pod.c - does this container's device work, and if not, which part is at fault?
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/un.h>
#include <unistd.h>

#include <linux/magic.h>

#include "sim/app/doctor.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"

#define TEXT_MAX   (64u << 10)
#define PROCS_MAX  4096
#define FILES_LOW  256

/* ---- the bus ------------------------------------------------------------------------------- */

static void check_bus(struct doctor *d)
{
	char path[64] = CONFIG_PATH, self[64];
	struct err e = { 0 };
	struct stat st;
	int rc;

	config_init(&d->config);
	if (look_stat(d, path, &st)) {
		doctor_say(d, FAIL, NULL, "was the hook, the runtime podpci or CDI used? on the "
			   "host: podpci doctor node", "no simulated bus here (%s)", path);
		return;
	}
	if (d->pid) {
		snprintf(self, sizeof(self), "/proc/%ld/root" CONFIG_PATH, d->pid);
		rc = config_load(&d->config, self, &e);
	} else {
		rc = config_load(&d->config, path, &e);
	}
	if (!rc)
		rc = config_finish(&d->config, &e);
	if (rc) {
		doctor_say(d, FAIL, NULL, "make the container anew", "%s", e.msg);
		return;
	}
	d->have_config = true;
	for (unsigned i = 0; i < d->config.nets; i++) {
		const struct net_config *n = &d->config.net[i];
		char dev[64];

		snprintf(dev, sizeof(dev), "/sys/bus/pci/devices/%s", n->bdf);
		if (look_stat(d, dev, &st))
			doctor_say(d, FAIL, n->id, "make the container anew; is something mounted "
				   "over /sys?", "configured at %s and not on the bus", n->bdf);
		else
			doctor_say(d, GOOD, n->id, NULL, "%s, %u queue pair%s", n->bdf, n->pairs,
				   n->pairs == 1 ? "" : "s");
	}
	if (!d->config.nets)
		doctor_say(d, FAIL, NULL, "ask for a network", "the bus has no device");
}

/* ---- the library --------------------------------------------------------------------------- */

/* The library's path as the loader is told, from a list with its separators. */
static bool pick(const char *list, const char *seps, char *path, size_t size)
{
	while (*list) {
		size_t len = strcspn(list, seps);
		const char *name = memmem(list, len, "libpodpci.so", 12);

		if (name && len < size) {
			memcpy(path, list, len);
			path[len] = '\0';
			return true;
		}
		list += len + (list[len] != '\0');
	}
	return false;
}

static bool in_environment(struct doctor *d, char *path, size_t size)
{
	char *env = malloc(TEXT_MAX);
	int n = env ? look_proc(d, "environ", env, TEXT_MAX) : 0;
	bool found = false;

	for (int i = 0; i < n && !found; i += (int)strlen(env + i) + 1)
		if (!strncmp(env + i, "LD_PRELOAD=", 11))
			found = pick(env + i + 11, ": ", path, size);
	free(env);
	return found;
}

static void check_library(struct doctor *d)
{
	char list[4096], path[256];
	struct stat st;

	if ((look_text(d, "/etc/ld.so.preload", list, sizeof(list)) < 0 ||
	     !pick(list, ": \t\n", path, sizeof(path))) &&
	    !in_environment(d, path, sizeof(path))) {
		doctor_say(d, FAIL, NULL, "make the container anew; does its entry point clear "
			   "LD_PRELOAD?", "the loader is not told of it, neither by "
			   "/etc/ld.so.preload nor by LD_PRELOAD");
		return;
	}
	if (look_stat(d, path, &st) || !S_ISREG(st.st_mode))
		doctor_say(d, FAIL, path, "make the container anew",
			   "named to the loader and not there");
	else if (!(st.st_mode & 0444))
		doctor_say(d, FAIL, path, "chmod a+r on the host", "may not be read");
	else
		doctor_say(d, GOOD, path, NULL, "preloaded");
}

/* ---- who drives it --------------------------------------------------------------------------- */

struct proc {
	long pid;
	char name[32];
	bool dpdk, library, huge;
};

static void read_proc(struct proc *p)
{
	char path[64], *line = NULL;
	size_t size = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%ld/maps", p->pid);
	f = fopen(path, "re");
	while (f && getline(&line, &size, f) > 0) {
		p->library |= strstr(line, "libpodpci.so") != NULL;
		p->dpdk |= strstr(line, "librte_eal") != NULL;
		p->huge |= strstr(line, "rtemap_") || strstr(line, "hugepages") ||
			   strstr(line, "anon_hugepage");
	}
	free(line);
	if (f)
		fclose(f);
	snprintf(path, sizeof(path), "/proc/%ld/comm", p->pid);
	f = fopen(path, "re");
	if (!f || !fgets(p->name, sizeof(p->name), f))
		p->name[0] = '\0';
	p->name[strcspn(p->name, "\n")] = '\0';
	if (f)
		fclose(f);
}

static bool same_mounts(const char *a, const char *b)
{
	char pa[300], pb[300], la[64] = "", lb[64] = "";

	snprintf(pa, sizeof(pa), "/proc/%s/ns/mnt", a);
	snprintf(pb, sizeof(pb), "/proc/%s/ns/mnt", b);
	return readlink(pa, la, sizeof(la) - 1) > 0 && readlink(pb, lb, sizeof(lb) - 1) > 0 &&
	       !strcmp(la, lb);
}

static void check_driver(struct doctor *d)
{
	char self[24] = "self";
	struct dirent *e;
	unsigned seen = 0, drivers = 0;
	DIR *procs = opendir("/proc");

	if (d->pid)
		snprintf(self, sizeof(self), "%ld", d->pid);
	while (procs && seen < PROCS_MAX && (e = readdir(procs))) {
		struct proc p = { .pid = strtol(e->d_name, NULL, 10) };

		if (p.pid <= 0 || p.pid == getpid() || !same_mounts(self, e->d_name))
			continue;
		seen++;
		read_proc(&p);
		if (!p.dpdk && !p.huge)
			continue;
		drivers++;
		if (!p.library)
			doctor_say(d, FAIL, p.name, "start it without a cleared environment and "
				   "without setuid; link it against libc, not statically",
				   "process %ld uses hugepages or DPDK and has not loaded the "
				   "library: it sees no device", p.pid);
		else
			doctor_say(d, GOOD, p.name, NULL, "process %ld, with the library", p.pid);
	}
	if (procs)
		closedir(procs);
	if (!drivers)
		doctor_say(d, WARN, NULL, "start the application; does it exit at once?",
			   "no process here looks like a driver's (DPDK, hugepages)");
}

/* ---- sockets ------------------------------------------------------------------------------- */

/* The uid and gid the container's first process runs as. */
static void identity(struct doctor *d, long *uid, long *gid)
{
	char *text = malloc(TEXT_MAX), *line;

	*uid = (long)geteuid();
	*gid = (long)getegid();
	if (text && d->pid && look_proc(d, "status", text, TEXT_MAX) > 0) {
		line = strstr(text, "\nUid:");
		if (line)
			sscanf(line, "\nUid: %*d %ld", uid);
		line = strstr(text, "\nGid:");
		if (line)
			sscanf(line, "\nGid: %*d %ld", gid);
	}
	free(text);
}

static bool may(const struct stat *st, long uid, long gid, unsigned bits)
{
	unsigned shift = (long)st->st_uid == uid ? 6 : (long)st->st_gid == gid ? 3 : 0;

	return !uid || (st->st_mode >> shift & bits) == bits;
}

/*
 * Whether somebody listens, without talking to him: a connection that is refused is refused at
 * once. Only asked where no driver of ours has one open, as a back-end may have room for one.
 */
static int probe(struct doctor *d, const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int at = look_open(d, path, O_PATH), fd = -1, rc;

	if (at < 0)
		return at;
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d", at);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	rc = fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	close(at);
	return rc;
}

static void check_server(struct doctor *d, const struct net_config *n, long uid, long gid)
{
	char dir[VHOST_SOCKET_MAX];
	struct stat st;
	int rc;

	snprintf(dir, sizeof(dir), "%s", n->socket);
	*(strrchr(dir, '/') ? strrchr(dir, '/') + (strrchr(dir, '/') == dir) : dir) = '\0';
	rc = look_stat(d, dir, &st);
	if (rc)
		doctor_say(d, FAIL, n->id, "make the container anew",
			   "its socket's directory %s: %s", dir, strerror(-rc));
	else if (!may(&st, uid, gid, 3))
		doctor_say(d, FAIL, n->id, "chown or setfacl the directory for that user",
			   "uid %ld may not create a socket in %s (mode %o, owner %u)", uid, dir,
			   st.st_mode & 0777, st.st_uid);
	else if (look_stat(d, n->socket, &st))
		doctor_say(d, WARN, n->id, "start the application",
			   "the pod is to listen at %s and does not yet", n->socket);
	else
		doctor_say(d, GOOD, n->id, NULL, "the pod listens at %s", n->socket);
}

static void check_client(struct doctor *d, const struct net_config *n, long uid, long gid)
{
	struct stat st;
	int rc = look_stat(d, n->socket, &st);

	if (rc)
		doctor_say(d, FAIL, n->id, "is the switch running, and was the port added? "
			   "podpci doctor node", "its back-end's socket %s: %s", n->socket,
			   strerror(-rc));
	else if (!S_ISSOCK(st.st_mode))
		doctor_say(d, FAIL, n->id, "mend the network's socket.path",
			   "%s is not a socket", n->socket);
	else if (!may(&st, uid, gid, 2))
		doctor_say(d, FAIL, n->id, "give the socket to that user or a group of the pod's",
			   "uid %ld may not write %s (mode %o, owner %u, group %u)", uid,
			   n->socket, st.st_mode & 0777, st.st_uid, st.st_gid);
	else if (probe(d, n->socket) == -ECONNREFUSED)
		doctor_say(d, FAIL, n->id, "start the back-end again; one that renews its socket "
			   "needs socket.directory, as a mounted socket stays the old one",
			   "nobody listens at %s: the back-end died", n->socket);
	else
		doctor_say(d, GOOD, n->id, NULL, "%s", n->socket);
}

static void check_sockets(struct doctor *d)
{
	long uid, gid;

	if (!d->have_config)
		return;
	identity(d, &uid, &gid);
	for (unsigned i = 0; i < d->config.nets; i++) {
		const struct net_config *n = &d->config.net[i];

		(n->server ? check_server : check_client)(d, n, uid, gid);
	}
}

/* ---- memory and limits ---------------------------------------------------------------------- */

static void one_mount(struct doctor *d, const char *dir, long uid, long gid)
{
	int fd = look_open(d, dir, O_RDONLY | O_DIRECTORY);
	struct statfs fs;
	struct stat st;

	if (fd < 0 || fstatfs(fd, &fs) || fstat(fd, &st)) {
		doctor_say(d, WARN, dir, "is it visible in the container?", "%s", strerror(errno));
	} else if (!may(&st, uid, gid, 3)) {
		doctor_say(d, FAIL, dir, "mount it with mode=1777, or uid= and gid= of the user; "
			   "or EAL option --in-memory", "uid %ld may not make files here (mode %o, "
			   "owner %u)", uid, st.st_mode & 07777, st.st_uid);
	} else if ((long)fs.f_blocks > 0 && !fs.f_bavail) {
		doctor_say(d, WARN, dir, "enlarge memory.size, if the application wants more",
			   "all %lu pages are used", (unsigned long)fs.f_blocks);
	} else if ((long)fs.f_blocks > 0) {
		doctor_say(d, GOOD, dir, NULL, "%lu of %lu pages of %lu kB are free",
			   (unsigned long)fs.f_bavail, (unsigned long)fs.f_blocks,
			   (unsigned long)fs.f_bsize >> 10);
	} else {
		doctor_say(d, GOOD, dir, NULL, "hugepages without a limit of their own");
	}
	if (fd >= 0)
		close(fd);
}

static void check_memory(struct doctor *d)
{
	char *text = malloc(TEXT_MAX), *line, *next, dir[256], type[32];
	long uid, gid, pages = 0, unused = 0;
	unsigned n = 0;

	identity(d, &uid, &gid);
	if (text && look_proc(d, "mounts", text, TEXT_MAX) > 0)
		for (line = text; line && *line; line = next) {
			next = strchr(line, '\n');
			next = next ? next + 1 : NULL;
			if (sscanf(line, "%*s %255s %31s", dir, type) != 2 ||
			    strcmp(type, "hugetlbfs"))
				continue;
			n++;
			one_mount(d, dir, uid, gid);
		}
	free(text);
	pages = (long)look_number("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages");
	unused = (long)look_number("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages");
	if (!n)
		doctor_say(d, WARN, NULL, "memory.backing \"hugetlbfs\" in the network, or "
			   "EAL options --in-memory or --no-huge", "no hugetlbfs is mounted here");
	if (pages <= 0)
		doctor_say(d, FAIL, NULL, "on the host: sysctl vm.nr_hugepages=1024; or EAL "
			   "option --no-huge", "the host has no hugepages");
	else if (unused <= 0)
		doctor_say(d, WARN, NULL, "reserve more on the host, if the application is not "
			   "running yet", "all %ld hugepages of the host are in use", pages);
}

/* Where the hugetlb controller's files of this container are, v1 or v2; "" if it is not told. */
static void cgroup_dir(struct doctor *d, char *dir, size_t size)
{
	char *text = malloc(TEXT_MAX), *line, *end;

	dir[0] = '\0';
	if (text && look_proc(d, "cgroup", text, TEXT_MAX) > 0)
		for (line = text; line && *line; line = end ? end + 1 : NULL) {
			char *controllers = strchr(line, ':'), *path;

			end = strchr(line, '\n');
			if (end)
				*end = '\0';
			path = controllers ? strchr(controllers + 1, ':') : NULL;
			if (!path || strstr(path, ".."))
				continue;
			*path++ = '\0';
			if (strstr(controllers, "hugetlb"))
				snprintf(dir, size, "/sys/fs/cgroup/hugetlb%s", path);
			else if (!strcmp(line, "0:") && !dir[0])
				snprintf(dir, size, "/sys/fs/cgroup%s", path);
		}
	free(text);
}

static void check_limits(struct doctor *d)
{
	static const char *const files[] = {
		"hugetlb.2MB.limit_in_bytes", "hugetlb.2MB.max",
	};
	char text[4096], dir[512], path[600], *line;
	unsigned long nofile = 0;

	if (look_proc(d, "limits", text, sizeof(text)) > 0 &&
	    (line = strstr(text, "\nMax open files")))
		sscanf(line, "\nMax open files %lu", &nofile);
	if (nofile && nofile < FILES_LOW)
		doctor_say(d, WARN, "nofile", "raise the container's limit (ulimit nofile)",
			   "a process may have %lu open files; DPDK needs some hundreds", nofile);
	else
		doctor_say(d, GOOD, "nofile", NULL, "%lu open files", nofile);
	cgroup_dir(d, dir, sizeof(dir));
	for (unsigned i = 0; i < 2 && dir[0]; i++) {
		long long max;

		snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
		max = look_number(path);
		if (max < 0)
			continue;
		if (max < 2 << 20)
			doctor_say(d, FAIL, "hugetlb", "ask for hugepages-2Mi in the pod's limits",
				   "its control group allows no hugepage: touching one is SIGBUS");
		else
			doctor_say(d, GOOD, "hugetlb", NULL, "%lld MB allowed by its control "
				   "group", max >> 20);
	}
}

const struct doctor_check doctor_pod[] = {
	{ "bus", check_bus },
	{ "library", check_library },
	{ "socket", check_sockets },
	{ "memory", check_memory },
	{ "limits", check_limits },
	{ "driver", check_driver },
	{ "device", doctor_devices },
	{ "regions", doctor_regions },
	{ "kicks", doctor_kicks },
	{ "packets", doctor_packets },
	{ NULL, NULL },
};
