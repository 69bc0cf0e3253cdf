// SPDX-License-Identifier: Apache-2.0
// plan.c - see plan.h.
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "cni-plugin/js.h"
#include "cni-plugin/plan.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define SYS (sizeof("/sys/") - 1)	/* a path without it is the one in the stage */
#define STAGE_OPTIONS "mode=755,size=32m,nr_inodes=8k"	/* a pod may write some of it */
#define MEMORY_FILES 4096		/* beside one for each page */

/* Room for a socket, a lock file and little else: what a pod writes there is the host's memory. */
#define SERVER_OPTIONS "mode=1777,size=64k,nr_inodes=16"

/* ---- building ------------------------------------------------------------------------------ */

static struct step *step_add(struct plan *p, enum op op)
{
	static struct step spill;
	struct step *s = &spill;

	if (p->n == PLAN_STEPS_MAX)
		p->rc = -E2BIG;
	else
		s = &p->step[p->n++];
	s->op = op;
	s->n = 0;
	return s;
}

static const char *text(struct plan *p, const char *fmt, va_list ap)
{
	char *to = p->text + p->used;
	size_t room = sizeof(p->text) - p->used;
	int n = vsnprintf(to, room, fmt, ap);

	if (n < 0 || (size_t)n >= room) {
		p->rc = -E2BIG;
		return "";
	}
	p->used += (size_t)n + 1;
	return to;
}

static void __attribute__((format(printf, 3, 4))) arg(struct plan *p, struct step *s,
						      const char *fmt, ...)
{
	va_list ap;

	if (s->n == PLAN_ARGS_MAX) {
		p->rc = -E2BIG;
		return;
	}
	va_start(ap, fmt);
	s->arg[s->n++] = text(p, fmt, ap);
	va_end(ap);
}

/* A step whose arguments are plain texts, NULL-terminated. */
static void __attribute__((sentinel)) step(struct plan *p, enum op op, ...)
{
	struct step *s = step_add(p, op);
	const char *a;
	va_list ap;

	va_start(ap, op);
	while ((a = va_arg(ap, const char *)))
		arg(p, s, "%s", a);
	va_end(ap);
}

static int done(const struct plan *p, struct err *e)
{
	return p->rc ? err_set(e, p->rc, "the plan is too long") : 0;
}

/* ---- names of an attachment ---------------------------------------------------------------- */

static const char *field_of(const struct attach *a, const char *name, size_t len)
{
	const struct { const char *name, *value; } fields[] = {
		{ "containerID", a->request->container }, { "ifname", a->request->ifname },
		{ "network", a->conf->name }, { "namespace", a->request->pod_namespace },
		{ "pod", a->request->pod_name }, { "uid", a->request->pod_uid },
		{ "deviceID", a->conf->device_id },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++)
		if (strlen(fields[i].name) == len && !memcmp(fields[i].name, name, len))
			return fields[i].value;
	return NULL;
}

/* "{pod}" and its like become what they stand for: one part of a path, never more. */
static int fill(const struct attach *a, const char *key, const char *from, char *to, size_t size,
		struct err *e)
{
	size_t n = 0;

	while (*from && n + 1 < size) {
		size_t len = strcspn(from, "}");
		const char *value;

		if (*from != '{' || !from[len]) {
			to[n++] = *from++;
			continue;
		}
		value = field_of(a, from + 1, len - 1);
		if (!value)
			return err_set(e, -EINVAL, "%s: %.*s: there are {containerID}, {ifname}, "
				       "{network}, {namespace}, {pod}, {uid} and {deviceID}", key,
				       (int)len + 1, from);
		if (!js_name_ok(value, 253))
			return err_set(e, -EINVAL, "%s: %.*s: the runtime gave %s", key,
				       (int)len + 1, from,
				       *value ? "one that is no plain name" : "none");
		if (n + strlen(value) >= size)
			break;
		memcpy(to + n, value, strlen(value));
		n += strlen(value);
		from += len + 1;
	}
	to[n] = '\0';
	return *from ? err_set(e, -ENAMETOOLONG, "%s: is longer than %zu bytes when filled in", key,
			       size - 1) : 0;
}

/* Fit for a device, whose directory is beside that of SYSFS_PLUGS. */
static bool word_ok(const char *name)
{
	return js_name_ok(name, 31) && strcmp(name, strrchr(SYSFS_PLUGS, '/') + 1);
}

static bool id_taken(const struct settled *others, unsigned n, const char *id)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(others[i].id, id))
			return true;
	return false;
}

static bool bdf_taken(const struct settled *others, unsigned n, const char *bdf)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(others[i].bdf, bdf))
			return true;
	return false;
}

static int choose_id(struct attach *a, const struct settled *others, unsigned n, struct err *e)
{
	const char *want = a->conf->prev ? a->conf->device : a->request->ifname;

	if (want[0] && word_ok(want)) {
		snprintf(a->id, sizeof(a->id), "%s", want);
		if (!id_taken(others, n, a->id))
			return 0;
		if (!a->conf->prev)
			return err_set(e, -EEXIST, "%s: this container has a device of that name",
				       a->id);
	}
	for (unsigned i = 0; i <= n; i++) {
		snprintf(a->id, sizeof(a->id), "podpci%u", i);
		if (!id_taken(others, n, a->id))
			return 0;
	}
	return err_set(e, -ENOSPC, "no name is left for the device");
}

/* The runtime's choice, the configuration's, or the first that is free. */
static int choose_bdf(struct attach *a, const struct settled *others, unsigned n, struct err *e)
{
	snprintf(a->bdf, sizeof(a->bdf), "%s", a->conf->bdf);
	if (a->bdf[0] && bdf_taken(others, n, a->bdf))
		return err_set(e, -EEXIST, "bdf: %s is another device of this container", a->bdf);
	for (unsigned slot = SLOT_FIRST; !a->bdf[0] && slot < 2 * 32; slot++) {
		char bdf[16];

		snprintf(bdf, sizeof(bdf), "0000:%02x:%02x.0", slot / 32 & 0xff, slot % 32);
		if (!bdf_taken(others, n, bdf))
			memcpy(a->bdf, bdf, sizeof(bdf));
	}
	return a->bdf[0] ? 0 : err_set(e, -ENOSPC, "no PCI address is left");
}

static int choose(struct attach *a, const struct settled *others, unsigned n, struct err *e)
{
	int rc;

	if (n >= a->node->attachments)
		return err_set(e, -ENOSPC, "this container has %u devices, the most this node "
			       "allows (attachmentsMax)", n);
	if (a->conf->has_mac)
		memcpy(a->mac, a->conf->mac, sizeof(a->mac));
	else if (a->request->has_mac)
		memcpy(a->mac, a->request->mac, sizeof(a->mac));
	else
		names_mac(a->digest, a->mac);
	for (unsigned i = 0; i < n; i++)
		if (!memcmp(others[i].mac, a->mac, sizeof(a->mac)))
			return err_set(e, -EEXIST, "mac: %s of this container has it too",
				       others[i].id);
	rc = choose_id(a, others, n, e);
	return rc ? rc : choose_bdf(a, others, n, e);
}

static int place(struct attach *a, struct err *e)
{
	const char *socket = "vhost.sock";

	a->server = a->conf->backend == BACKEND_OVS ||
		    (a->conf->backend == BACKEND_SOCKET && a->conf->socket_server);
	snprintf(a->port, sizeof(a->port), "pod-%.24s", a->digest + 8);
	snprintf(a->dir, sizeof(a->dir), "%s/%s/%s", a->node->state, a->container_digest,
		 a->digest);
	snprintf(a->socket_dir, sizeof(a->socket_dir), "%s/s", a->dir);
	snprintf(a->memory_dir, sizeof(a->memory_dir), "%s/m", a->dir);
	if (a->conf->backend == BACKEND_SOCKET) {
		int rc = fill(a, "socket.path", a->conf->socket, a->socket, sizeof(a->socket), e);

		if (!rc && !node_socket_ok(a->node, a->socket))
			rc = err_set(e, -EINVAL, "socket.path: %s: is in none of this node's "
				     "socketDirs (%s)", a->socket, NODE_FILE);
		return rc;
	}
	if (strlen(a->socket_dir) + strlen(socket) + 2 > sizeof(a->socket))
		return err_set(e, -ENAMETOOLONG, "stateDir: %s: too long for sockets below it",
			       a->node->state);
	snprintf(a->socket, sizeof(a->socket), "%.96s/%s", a->socket_dir, socket);
	return 0;
}

int attach_derive(struct attach *a, const struct node *node, const struct netconf *conf,
		  const struct request *request, const struct settled *s,
		  const struct settled *others, unsigned n, struct err *e)
{
	int rc;

	memset(a, 0, sizeof(*a));
	a->node = node;
	a->conf = conf;
	a->request = request;
	names_digest(a->container_digest, request->container, NULL, NULL);
	names_digest(a->digest, conf->name, request->container, request->ifname);
	rc = place(a, e);
	if (!rc && conf->iface_id[0])
		rc = fill(a, "ovs.ifaceId", conf->iface_id, a->iface_id, sizeof(a->iface_id), e);
	if (rc)
		return rc;
	if (!s->have)
		return choose(a, others, n, e);
	memcpy(a->mac, s->mac, sizeof(a->mac));
	memcpy(a->bdf, s->bdf, sizeof(a->bdf));
	memcpy(a->id, s->id, sizeof(a->id));
	return 0;
}

/* ---- attaching ----------------------------------------------------------------------------- */

static void memory_steps(struct plan *p, const struct attach *a)
{
	const struct netconf *c = a->conf;
	char reserve[40] = "";
	struct step *s;

	if (c->memory == MEMORY_NONE)
		return;
	step(p, OP_DIR, a->memory_dir, "0700", NULL);
	s = step_add(p, c->memory == MEMORY_TMPFS ? OP_TMPFS : OP_HUGETLBFS);
	arg(p, s, "%s", a->memory_dir);
	if (c->memory == MEMORY_TMPFS) {
		arg(p, s, "mode=1777,size=%llu,nr_inodes=%u", (unsigned long long)c->size,
		    MEMORY_FILES);
		return;
	}
	if (c->reserve)
		snprintf(reserve, sizeof(reserve), ",min_size=%llu",
			 (unsigned long long)c->reserve);
	arg(p, s, "mode=1777,pagesize=%llu,size=%llu%s,nr_inodes=%llu", (unsigned long long)c->page,
	    (unsigned long long)c->size, reserve,
	    MEMORY_FILES + (unsigned long long)(c->size / c->page));
	arg(p, s, "%s", c->has_memory ? "need" : "may");
}

static void switch_steps(struct plan *p, const struct attach *a)
{
	const struct netconf *c = a->conf;
	struct step *s = step_add(p, OP_SWITCH);
	const char *const fixed[] = { a->conf->control, "port", "add", a->port, "socket",
				      a->socket };
	char mac[18];

	js_mac_format(a->mac, mac);
	for (unsigned i = 0; i < ARRAY_SIZE(fixed); i++)
		arg(p, s, "%s", fixed[i]);
	arg(p, s, "queues");
	arg(p, s, "%u", c->queues);
	arg(p, s, "macs");
	arg(p, s, "%s", mac);
	arg(p, s, "spoofcheck");
	arg(p, s, "%s", c->spoofcheck ? "on" : "off");
	if (c->isolated) {
		arg(p, s, "isolated");
		arg(p, s, "on");
	}
	if (c->vlan) {
		arg(p, s, "mode");
		arg(p, s, "access");
		arg(p, s, "pvid");
		arg(p, s, "%u", c->vlan);
	}
	if (c->mtu) {
		arg(p, s, "mtu");
		arg(p, s, "%u", c->mtu);
	}
}

static void ovs_steps(struct plan *p, const struct attach *a)
{
	const struct netconf *c = a->conf;
	struct step *s = step_add(p, OP_OVS);
	char mac[18];

	js_mac_format(a->mac, mac);
	arg(p, s, "%s", c->ovs_db);
	arg(p, s, "%s", c->ovs_bridge);
	arg(p, s, "%s", a->port);
	arg(p, s, "%s", a->socket);
	arg(p, s, "external:attached-mac=%s", mac);
	if (a->iface_id[0])
		arg(p, s, "external:iface-id=%s", a->iface_id);
	if (c->vlan)
		arg(p, s, "tag=%u", c->vlan);
	if (c->mtu)
		arg(p, s, "mtu=%u", c->mtu);
}

static void netdev_step(struct plan *p, const struct attach *a)
{
	struct step *s = step_add(p, OP_NETDEV);

	arg(p, s, "%s", a->request->netns);
	arg(p, s, "%s", a->conf->prev ? a->id : a->request->ifname);
	arg(p, s, "pp%.13s", a->digest);
	arg(p, s, "podpci %s", a->digest);
	arg(p, s, "%u", a->conf->mtu);
}

int plan_attach(struct plan *p, const struct attach *a, struct err *e)
{
	const struct netconf *c = a->conf;

	p->n = 0;
	p->used = 0;
	p->rc = 0;
	step(p, OP_CLAIM, a->dir, NULL);
	if (c->ipam)
		step(p, OP_IPAM, c->ipam_type, NULL);
	if (c->netdev)
		netdev_step(p, a);
	memory_steps(p, a);
	if (c->backend != BACKEND_SOCKET)
		step(p, OP_DIR, a->socket_dir, "0711", NULL);
	if (c->backend == BACKEND_OVS)
		step(p, OP_TMPFS, a->socket_dir, SERVER_OPTIONS, NULL);
	if (c->backend == BACKEND_SWITCH)
		switch_steps(p, a);
	if (c->backend == BACKEND_OVS)
		ovs_steps(p, a);
	if (c->backend == BACKEND_SOCKET)
		step(p, OP_SOCKET, a->socket, a->server || c->socket_dir ? "dir" : "file", NULL);
	if (c->device_info[0])
		step(p, OP_DEVINFO, c->device_info, NULL);
	step(p, OP_COMMIT, NULL);
	return done(p, e);
}

/* ---- injecting ----------------------------------------------------------------------------- */

static const char *const modes[] = { "modern", "transitional", "legacy" };

static void render_line(struct plan *p, struct step *s, const struct attach *a)
{
	const struct netconf *c = a->conf;
	/* The port drops what comes from another address: the driver is told when it asks. */
	bool fixed = c->backend == BACKEND_SWITCH && c->spoofcheck;
	char mac[18], mtu[16] = "";

	js_mac_format(a->mac, mac);
	if (c->mtu)
		snprintf(mtu, sizeof(mtu), ",mtu=%u", c->mtu);
	arg(p, s, "socket=%s/%s/vhost.sock%s,id=%s,bdf=%s,mac=%s%s,queues=%u,queue-size=%u,mode=%s,"
	    "packed=%s,mrg=%s%s", POD_DEVICES, a->id, a->server ? ",server" : "", a->id,
	    a->bdf, mac, fixed ? ",mac-fixed=on" : "", c->queues, c->queue_size, modes[c->mode],
	    c->packed ? "on" : "off", c->mrg ? "on" : "off", mtu);
}

/* What of the host an attachment shows: its socket's directory, or the one socket. */
static void hold_steps(struct plan *p, const struct attach *a)
{
	char dir[NETCONF_PATH_MAX];

	if (a->conf->backend != BACKEND_SOCKET) {
		step(p, OP_HOLD, a->socket_dir, NULL);
	} else if (a->server || a->conf->socket_dir) {
		snprintf(dir, sizeof(dir), "%s", a->socket);
		*strrchr(dir, '/') = '\0';
		step(p, OP_HOLD, dir, NULL);
	} else {
		step(p, OP_HOLD, a->socket, NULL);
	}
}

static void bind_step(struct plan *p, const struct attach *a, unsigned index)
{
	bool one = a->conf->backend == BACKEND_SOCKET && !a->server && !a->conf->socket_dir;
	struct step *s = step_add(p, OP_BIND);

	arg(p, s, "%u", index);
	arg(p, s, "dev/%s%s", a->id, one ? "/vhost.sock" : "");
	arg(p, s, "%s", one ? "file" : "dir");
	arg(p, s, "%s", a->server ? "rw" : "ro");
}

static void file_steps(struct plan *p, const struct attach *a, unsigned n, const struct told *t)
{
	struct step *s = step_add(p, OP_FILE);

	arg(p, s, "%s", &POD_NETWORK[SYS]);
	s->arg[s->n++] = t->network;
	for (unsigned i = 0; i < n; i++) {
		if (!t->userspace[i])
			continue;
		s = step_add(p, OP_FILE);
		arg(p, s, "dev/configData-%.12s-%s.json", a[i].request->container,
		    a[i].request->ifname);
		s->arg[s->n++] = t->userspace[i];
	}
}

static void show_steps(struct plan *p, const struct container *c)
{
	const struct sysfs_mount *m;
	const char *dir;

	for (unsigned i = 0; (dir = sysfs_plug(i)); i++) {
		struct step *s = step_add(p, OP_PLUGS);

		arg(p, s, "%s", dir);
		arg(p, s, "dev/%s/%s", strrchr(SYSFS_PLUGS, '/') + 1, dir);
	}
	step(p, OP_SHOW, "dev", POD_DEVICES, "make", NULL);
	if (c->mapped_dir[0])
		step(p, OP_SHOW, "dev", c->mapped_dir, "make", NULL);
	for (unsigned i = 0; (m = sysfs_mount(i)); i++)
		step(p, OP_SHOW, m->source, m->target, m->merge ? "merge" :
		     m->optional ? "maybe" : "over", NULL);
}

int plan_inject(struct plan *p, const struct attach *a, unsigned n, const struct container *c,
		const struct told *t, struct err *e)
{
	const struct attach *memory = NULL;
	struct step *s;

	p->n = 0;
	p->used = 0;
	p->rc = 0;
	for (unsigned i = 0; i < n; i++) {
		if (a[i].conf->backend == BACKEND_SOCKET)
			continue;
		s = step_add(p, OP_GRANT);
		arg(p, s, "%s", a[i].socket_dir);
		arg(p, s, "%u", c->uid);
	}
	step(p, OP_STAGE, STAGE_OPTIONS, NULL);
	s = step_add(p, OP_RENDER);
	arg(p, s, "%u", c->uid);
	for (unsigned i = 0; i < n; i++)
		render_line(p, s, &a[i]);
	file_steps(p, a, n, t);
	step(p, OP_HOLD, a->node->library, NULL);
	for (unsigned i = 0; i < n; i++)
		hold_steps(p, &a[i]);
	for (unsigned i = 0; i < n && !memory && !c->has_memory; i++)
		if (a[i].conf->memory != MEMORY_NONE)
			memory = &a[i];
	if (memory)
		step(p, OP_HOLD, memory->memory_dir, NULL);
	step(p, OP_ENTER, NULL);
	step(p, OP_BIND, "0", &POD_LIBRARY[SYS], "file", "rx", NULL);
	for (unsigned i = 0; i < n; i++)
		bind_step(p, &a[i], i + 1);
	if (memory) {
		s = step_add(p, OP_MEMORY);
		arg(p, s, "%u", n + 1);
		arg(p, s, "%s", POD_MEMORY);
		arg(p, s, "%s", memory->conf->memory == MEMORY_TMPFS ? "tmpfs" : "hugetlbfs");
	}
	step(p, OP_PRELOAD, POD_LIBRARY, "etc/ld.so.preload", POD_PRELOAD,
	     c->preloaded ? "may" : "must", NULL);
	show_steps(p, c);
	step(p, OP_LEAVE, NULL);
	return done(p, e);
}

/* ---- printing ------------------------------------------------------------------------------ */

static const char *const op_names[OPS] = {
	[OP_CLAIM] = "claim", [OP_IPAM] = "ipam", [OP_NETDEV] = "netdev",
	[OP_DIR] = "dir", [OP_TMPFS] = "tmpfs",
	[OP_HUGETLBFS] = "hugetlbfs", [OP_SWITCH] = "switch", [OP_OVS] = "ovs",
	[OP_SOCKET] = "socket", [OP_DEVINFO] = "devinfo", [OP_COMMIT] = "commit",
	[OP_GRANT] = "grant", [OP_STAGE] = "stage", [OP_RENDER] = "render", [OP_FILE] = "file",
	[OP_HOLD] = "hold", [OP_ENTER] = "enter", [OP_BIND] = "bind", [OP_PLUGS] = "plugs",
	[OP_SHOW] = "show",
	[OP_MEMORY] = "memory", [OP_PRELOAD] = "preload",
	[OP_LEAVE] = "leave",
};

const char *plan_op_name(enum op op)
{
	assert(op < OPS && op_names[op]);
	return op_names[op];
}

/* A step a line; an argument that is no plain word is quoted. */
static void print_arg(const char *a, FILE *to)
{
	bool plain = *a && !strpbrk(a, " \t\n\"\\");

	if (plain) {
		fprintf(to, " %s", a);
		return;
	}
	fputs(" \"", to);
	for (; *a; a++) {
		if (*a == '\n')
			fputs("\\n", to);
		else if (*a == '"' || *a == '\\')
			fprintf(to, "\\%c", *a);
		else
			fputc(*a, to);
	}
	fputc('"', to);
}

void plan_print(const struct plan *p, FILE *to)
{
	for (unsigned i = 0; i < p->n; i++) {
		fputs(plan_op_name(p->step[i].op), to);
		for (unsigned k = 0; k < p->step[i].n; k++)
			print_arg(p->step[i].arg[k], to);
		fputc('\n', to);
	}
}
