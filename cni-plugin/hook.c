// SPDX-License-Identifier: Apache-2.0
// hook.c - podpci-hook: an OCI hook (createRuntime and poststop) that puts devices into a
// container.
//
// A container's devices are the attachments of its sandbox or of itself, made by podpci-cni, and
// those that hooks of ours were told by name (CDI, the runtime wrapper): these it attaches by
// itself, and detaches at poststop. A container without any is left as it is. Nothing of the
// environment is used: it may be the image's.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni-plugin/bundle.h"
#include "cni-plugin/js.h"
#include "cni-plugin/result.h"
#include "cni-plugin/run.h"
#include "cni-plugin/state.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define STDIN_WAIT_MS 5000
#define LOCK_WAIT_MS  5000

static const char usage[] =
	"Usage: podpci-hook [--node FILE] [--device NAME]... [--stage STAGE] [--dry-run]\n"
	"\n"
	"An OCI hook: puts the simulated PCI devices of a pod into its container. The runtime\n"
	"gives the container's state on stdin.\n"
	"\n"
	"  --device NAME   a network of networkDir to attach this container to (by CDI or\n"
	"                  podpci-runtime); without it only what podpci-cni attached is shown\n"
	"  --stage STAGE   createRuntime (default, also for prestart) or poststop\n"
	"  --node FILE     the node's settings; default " NODE_FILE "\n"
	"  --sweep         detach what hooks attached for containers that are gone; no stdin\n"
	"  --dry-run, -n   print the steps and take none\n"
	"  --verbose, -v   log what is done\n"
	"  --help, --version\n"
	"\n"
	"Exit status 0: done, or the container has no devices. 1: the container must not start.\n";

struct hook {
	struct node node;
	const char *node_file, *stage;
	const char *device[ATTACH_MAX];
	unsigned    devices;
	bool        dry, verbose, sweep;
	struct oci_state  state;
	struct oci_config config;
	struct recorded  *list;		/* of all its ids */
	unsigned          n;
	int proc;			/* the container's first process */
	int64_t start;
};

static volatile sig_atomic_t stop;

/* ---- attaching by name --------------------------------------------------------------------- */

static void request_fill(const struct hook *h, const char *device, struct request *q)
{
	memset(q, 0, sizeof(*q));
	snprintf(q->container, sizeof(q->container), "%.*s", REQUEST_ID_MAX, h->state.id);
	snprintf(q->ifname, sizeof(q->ifname), "%.15s", device);
	snprintf(q->path, sizeof(q->path), "/opt/cni/bin:/usr/lib/cni");
	if (h->state.pid > 0)
		snprintf(q->netns, sizeof(q->netns), "/proc/%d/ns/net", (int)h->state.pid);
}

/* Of a digest where a name is too long for an interface: still one name for one device. */
static int prepare(const struct hook *h, const char *device, struct netconf *c, struct request *q,
		   struct err *e)
{
	int rc;

	if (!js_name_ok(h->state.id, REQUEST_ID_MAX))
		return err_set(e, -EINVAL, "id: the container's is no plain name");
	rc = netconf_load(c, &h->node, device, e);
	if (rc)
		return rc;
	request_fill(h, device, q);
	if (!request_ifname_ok(q->ifname))
		return err_set(e, -EINVAL, "%s: cannot be a device's name", device);
	return 0;
}

static int detach_one(struct hook *h, const char *device, struct err *e)
{
	struct netconf conf;
	struct request q;
	struct run r = { .node = &h->node, .conf = &conf, .request = &q };
	int rc = prepare(h, device, &conf, &q, e);

	if (!rc)
		rc = run_detach(&r, e);
	netconf_free(&conf);
	return rc ? err_wrap(e, rc, "device %s", device) : 0;
}

/*
 * A container whose runtime died, or does not run poststop after a start that failed, leaves
 * what we attached for it: it goes when its process is gone.
 */
static int sweep_one(const struct recorded *rec, int dir, struct run *r, void *arg,
		     struct err *e)
{
	char path[32];
	int proc, gone;

	if (!rec->pid)
		return 0;		/* a runtime's: DEL and GC are its business */
	snprintf(path, sizeof(path), "/proc/%d", (int)rec->pid);
	proc = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	gone = proc < 0 || bundle_start_time(proc) != rec->pid_start;
	if (proc >= 0)
		close(proc);
	if (!gone && rec->same_boot)
		return 0;
	log_info(rec->request.container, "is gone: %s is detached", rec->conf.name);
	return run_undo(rec, dir, r, e);
}

static int sweep(struct hook *h, struct err *e)
{
	struct run r = { .node = &h->node };

	return run_walk(&h->node, &r, sweep_one, NULL, e);
}

/* ---- what a container has ------------------------------------------------------------------ */

static int read_records(struct hook *h, const char *id, int state, struct err *e)
{
	char digest[NAMES_DIGEST];
	struct recorded *more = NULL, *all;
	unsigned n = 0, broken = 0;
	int dir = -1, rc;

	names_digest(digest, id, NULL, NULL);
	rc = state_lock(&dir, state, digest, false, LOCK_WAIT_MS, e);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = record_all(&more, &n, &broken, dir, &h->node, NULL, e);
	state_unlock(&dir, state, digest);
	if (rc || !n)
		return rc;
	all = h->n + n > ATTACH_MAX ? NULL : realloc(h->list, (h->n + n) * sizeof(*all));
	if (!all) {
		record_list_free(more, n);
		return err_set(e, -E2BIG, "more than %u devices", ATTACH_MAX);
	}
	memcpy(all + h->n, more, n * sizeof(*all));
	free(more);
	h->list = all;
	h->n += n;
	for (unsigned i = 0; i < h->n; i++) {
		h->list[i].attach.node = &h->node;
		h->list[i].attach.conf = &h->list[i].conf;
		h->list[i].attach.request = &h->list[i].request;
	}
	return 0;
}

static int gather(struct hook *h, struct err *e)
{
	int state = -1, rc = state_open(&state, h->node.state, false, e);
	unsigned kept = 0;

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	for (unsigned i = 0; i < h->state.ids_n && !rc; i++)
		rc = read_records(h, h->state.ids[i], state, e);
	close(state);
	for (unsigned i = 0; i < h->n; i++) {
		if (h->list[i].ready && h->list[i].same_boot) {
			kept++;
			continue;
		}
		if (!rc)
			rc = err_set(e, -ESTALE, "%s: its attachment is not whole",
				     h->list[i].request.ifname);
	}
	return rc;
}

/* Addresses of the pod's other devices are not this container's: they are stepped aside of. */
static void step_aside(const struct hook *h, struct netconf *c)
{
	for (unsigned slot = SLOT_FIRST; !c->bdf[0] && h->n && slot < 32; slot++) {
		char bdf[16];
		bool taken = false;

		snprintf(bdf, sizeof(bdf), "0000:00:%02x.0", slot & 31);
		for (unsigned i = 0; i < h->n; i++)
			taken |= !strcmp(h->list[i].settled.bdf, bdf);
		if (!taken)
			memcpy(c->bdf, bdf, sizeof(bdf));
	}
}

/* What there is already is gathered anew for each, so that it includes those before. */
static int attach_one(struct hook *h, const char *device, struct err *e)
{
	struct netconf conf;
	struct request q;
	struct run r = { .node = &h->node, .conf = &conf, .request = &q, .stop = &stop,
			 .pid = h->state.pid, .pid_start = h->start };
	int rc = prepare(h, device, &conf, &q, e);

	if (!rc && conf.netdev)
		rc = err_set(e, -EOPNOTSUPP, "netdev: is for networks that podpci-cni attaches: a "
			     "namespace that containers share would keep it");
	if (!rc && h->dry) {
		rc = run_dry(&r, e);
	} else if (!rc) {
		rc = gather(h, e);
		if (!rc) {
			step_aside(h, &conf);
			rc = run_attach(&r, NULL, e);
		}
		record_list_free(h->list, h->n);
		h->list = NULL;
		h->n = 0;
	}
	netconf_free(&conf);
	return rc ? err_wrap(e, rc, "device %s", device) : 0;
}

/* ---- showing ------------------------------------------------------------------------------- */

/* What POD_NETWORK says: a list of devices. */
static struct json_object *network(const struct hook *h)
{
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_object_object_add(o, "version", json_object_new_int(1));
	for (unsigned i = 0; i < h->n; i++)
		json_object_array_add(list, result_network(&h->list[i].attach,
							   h->list[i].result));
	json_object_object_add(o, "devices", list);
	return o;
}

/* The caller's to free; takes doc. */
static char *text_of(struct json_object *doc)
{
	char *text = NULL;

	if (asprintf(&text, "%s\n", json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PRETTY |
						JSON_C_TO_STRING_NOSLASHESCAPE)) < 0)
		text = NULL;
	json_object_put(doc);
	return text;
}

static int inject(struct hook *h, struct plan *p, struct err *e)
{
	static struct attach a[ATTACH_MAX];
	struct told told = { .network = text_of(network(h)) };
	bool whole = told.network;
	struct world w;
	int rc;

	for (unsigned i = 0; i < h->n; i++) {
		a[i] = h->list[i].attach;
		told.userspace[i] = text_of(result_userspace(&a[i], h->list[i].result));
		whole &= told.userspace[i] != NULL;
	}
	rc = whole ? plan_inject(p, a, h->n, &h->config.container, &told, e) :
	     err_set(e, -ENOMEM, "out of memory");
	world_init(&w);
	w.pid = (pid_t)h->state.pid;
	w.proc = h->proc;
	w.root = h->config.root;
	w.stop = &stop;
	if (!rc && h->dry)
		plan_print(p, stdout);
	else if (!rc)
		rc = apply_inject(p, &w, e);
	w.proc = -1;		/* ours to close */
	world_free(&w);
	free((char *)(uintptr_t)told.network);
	for (unsigned i = 0; i < h->n; i++)
		free((char *)(uintptr_t)told.userspace[i]);
	return rc;
}

static int show(struct hook *h, struct err *e)
{
	struct plan *p = malloc(sizeof(*p));
	int rc = p ? inject(h, p, e) : err_set(e, -ENOMEM, "out of memory");

	free(p);
	if (!rc)
		log_info(h->state.id, "%u device(s) in the container", h->n);
	return rc;
}

/* ---- stages -------------------------------------------------------------------------------- */

/*
 * Several hooks of ours, one for each device of a CDI request and one of the engine's hooks.d:
 * the first that has a device does it for all.
 */
static bool not_the_first(const struct hook *h)
{
	return h->config.devices_n &&
	       (!h->devices || strcmp(h->device[0], h->config.devices[0]));
}

static void detach_all(struct hook *h, unsigned n)
{
	struct err e;

	while (n-- > 0)
		if (detach_one(h, h->config.devices[n], &e))
			log_error(h->state.id, "%s", e.msg);
}

/* A hook called with a device that config.json does not tell of: for an engine's own merging. */
static void add_own_devices(struct hook *h)
{
	for (unsigned i = 0; i < h->devices && !h->config.devices_n; i++)
		h->config.devices[i] = h->device[i];
	if (h->devices && !h->config.devices_n)
		h->config.devices_n = h->devices;
}

static int create_runtime(struct hook *h, struct err *e)
{
	unsigned done = 0;
	int rc;

	rc = oci_config_load(&h->config, h->state.bundle, h->node.hook, e);
	if (!rc && not_the_first(h))
		return 0;
	if (!rc) {
		h->proc = bundle_pin((pid_t)h->state.pid, &h->start, e);
		rc = h->proc < 0 ? h->proc : 0;
	}
	if (rc)
		return rc;
	add_own_devices(h);
	if (h->config.devices_n && !h->dry && sweep(h, e))
		log_error(NULL, "%s", e->msg);
	for (; done < h->config.devices_n && !rc; done++)
		rc = attach_one(h, h->config.devices[done], e);
	if (!rc)
		rc = h->dry && h->config.devices_n ? 0 : gather(h, e);
	if (!rc && !h->n) {
		log_info(h->state.id, "no devices for this container");
		return 0;
	}
	if (!rc)
		rc = show(h, e);
	if (rc && !h->dry)
		detach_all(h, done);
	return rc;
}

/* Nobody waits for what goes wrong here: what can be done is done, the rest is told. */
static int poststop(struct hook *h, struct err *e)
{
	struct recorded *rec;
	struct err one;
	int rc = gather(h, &one), first = 0;

	if (rc)
		log_debug(h->state.id, "%s", one.msg);
	for (unsigned i = 0; i < h->n; i++) {
		rec = &h->list[i];
		if (!rec->pid || strcmp(rec->request.container, h->state.id))
			continue;	/* a runtime's, who will tell podpci-cni */
		rc = detach_one(h, rec->conf.name, &one);
		if (rc && !first)
			first = err_set(e, rc, "%s", one.msg);
	}
	return first;
}

static const struct stage {
	const char *name, *status;	/* the status a container has at that stage */
	int (*run)(struct hook *h, struct err *e);
} stages[] = {
	{ "createRuntime", "creating", create_runtime },
	{ "createRuntime", "created", create_runtime },	/* prestart, and runc */
	{ "poststop", "stopped", poststop },
};

static int run_stage(struct hook *h, struct err *e)
{
	for (unsigned i = 0; i < sizeof(stages) / sizeof(stages[0]); i++) {
		if (h->stage ? strcmp(h->stage, stages[i].name) :
		    strcmp(h->state.status, stages[i].status))
			continue;
		return stages[i].run(h, e);
	}
	return err_set(e, -EINVAL, "status: \"%s\": podpci-hook is for the stages createRuntime "
		       "and poststop", h->state.status);
}

/* ---- the call ------------------------------------------------------------------------------ */

static int complain(const char *what)
{
	fprintf(stderr, "podpci-hook: %s; see --help\n", what);
	return -1;
}

static int options(struct hook *h, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		const char *a = argv[i], *next = i + 1 < argc ? argv[i + 1] : NULL;

		if (!strcmp(a, "--help") || !strcmp(a, "-h"))
			fputs(usage, stdout);
		else if (!strcmp(a, "--version"))
			printf("podpci-hook %s\n", PODPCI_VERSION);
		else if (!strcmp(a, "--dry-run") || !strcmp(a, "-n"))
			h->dry = true;
		else if (!strcmp(a, "--verbose") || !strcmp(a, "-v"))
			h->verbose = true;
		else if (!strcmp(a, "--sweep"))
			h->sweep = true;
		else if (!strcmp(a, "--node") && next)
			h->node_file = argv[++i];
		else if (!strcmp(a, "--stage") && next)
			h->stage = argv[++i];
		else if (!strcmp(a, "--device") && next && h->devices < ATTACH_MAX)
			h->device[h->devices++] = argv[++i];
		else
			return complain(a);
		if (!strcmp(a, "--help") || !strcmp(a, "-h") || !strcmp(a, "--version"))
			return 1;
	}
	return 0;
}

static int read_state(struct hook *h, struct err *e)
{
	struct json_object *doc = NULL;
	char *text = NULL;
	size_t len = 0;
	int rc = js_slurp(STDIN_FILENO, &text, &len, STDIN_WAIT_MS, e);

	if (!rc)
		rc = js_parse(&doc, text, len, e);
	free(text);
	if (!rc)
		rc = oci_state_parse(&h->state, doc, e);
	return rc ? err_wrap(e, rc, "state on stdin") : 0;
}

int main(int argc, char **argv)
{
	static struct hook h = { .proc = -1 };
	struct err e = { 0 };
	int rc = options(&h, argc, argv);

	if (rc)
		return rc < 0;
	clearenv();
	setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
	rc = node_load(&h.node, h.node_file, &e);
	if (!rc) {
		run_log_to(&h.node);
		log_init(h.verbose ? "info" : NULL);
		run_prepare(&h.node, &stop);
		rc = h.sweep ? sweep(&h, &e) : read_state(&h, &e);
	}
	if (h.sweep)
		;
	else if (!rc && h.state.sandbox)
		log_info(h.state.id, "a sandbox: it runs nothing that has devices");
	else if (!rc)
		rc = run_stage(&h, &e);
	if (rc)
		log_error(h.state.id[0] ? h.state.id : NULL, "%s", e.msg);
	record_list_free(h.list, h.n);
	oci_config_free(&h.config);
	oci_state_free(&h.state);
	if (h.proc >= 0)
		close(h.proc);
	return rc ? 1 : 0;
}
