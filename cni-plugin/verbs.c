// SPDX-License-Identifier: Apache-2.0
// verbs.c - see verbs.h.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/netns.h"
#include "cni-plugin/peer.h"
#include "cni-plugin/result.h"
#include "cni-plugin/verbs.h"
#include "include/ctlapi.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define VALID_MAX 65536
#define STATUS_TIMEOUT_MS 1500

/* ---- ADD ----------------------------------------------------------------------------------- */

static int judge_ids(const struct call *c, struct err *e)
{
	if (c->conf.has_device_id && !c->conf.device_id[0])
		return err_set(e, -EINVAL, "runtimeConfig.deviceID: is empty: the pod has more "
			       "attachments of this network than devices were allocated to it");
	return 0;
}

static int verb_add(struct call *c, struct err *e)
{
	struct json_object *result = NULL;
	bool has = false;
	int rc = judge_ids(c, e);

	if (!rc && c->dry)
		return run_dry(&c->run, e);
	if (!rc)
		rc = netns_has(c->request.netns, c->request.ifname, &has, e);
	if (!rc && has && !c->conf.prev)
		rc = err_set(e, -EEXIST, "CNI_IFNAME: %s is there already", c->request.ifname);
	if (!rc)
		rc = run_attach(&c->run, &result, e);
	if (!rc)
		printf("%s\n", json_object_to_json_string_ext(result,
							JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(result);
	return rc;
}

/* ---- DEL, CHECK ---------------------------------------------------------------------------- */

static int verb_del(struct call *c, struct err *e)
{
	return run_detach(&c->run, e);
}

static int verb_check(struct call *c, struct err *e)
{
	bool has;
	int rc;

	if (!c->conf.prev)
		return err_set(e, -EINVAL, "prevResult: is missing");
	rc = result_judge_prev(&c->conf, e);
	if (!rc)
		rc = netns_has(c->request.netns, c->request.ifname, &has, e);
	return rc ? rc : run_check(&c->run, e);
}

/* ---- GC ------------------------------------------------------------------------------------ */

struct keep {
	const struct call *c;
	int64_t began_ms;
};

static int judge_valid(const struct call *c, struct err *e)
{
	struct json_object *list = c->conf.valid;

	if (!json_object_is_type(list, json_type_array) ||
	    json_object_array_length(list) > VALID_MAX)
		return err_set(e, -EINVAL, "cni.dev/valid-attachments: must be a list; nothing "
			       "was removed");
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		if (!js_text(one, "containerID") || !js_text(one, "ifname"))
			return err_set(e, -EINVAL, "cni.dev/valid-attachments[%zu]: must have a "
				       "containerID and an ifname; nothing was removed", i);
	}
	return 0;
}

static bool is_valid(const struct keep *k, const struct recorded *rec)
{
	struct json_object *list = k->c->conf.valid;

	for (size_t i = 0; i < json_object_array_length(list); i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		if (!strcmp(js_text(one, "containerID"), rec->request.container) &&
		    !strcmp(js_text(one, "ifname"), rec->request.ifname))
			return true;
	}
	return false;
}

static int collect(const struct recorded *rec, int dir, struct run *r, void *arg, struct err *e)
{
	const struct keep *k = arg;

	if (strcmp(rec->conf.name, k->c->conf.name) || rec->pid || is_valid(k, rec))
		return 0;
	/*
	 * We hold the lock: an ADD that has not ended never will. One that ran while the runtime
	 * made its list is not stale.
	 */
	if (rec->same_boot && rec->ready && rec->made_ms > k->began_ms - k->c->node.grace_ms)
		return 0;
	log_info(rec->request.ifname, "container %s: stale, removed", rec->request.container);
	return run_undo(rec, dir, r, e);
}

/* What IPAM plugins were told of this network; once, by the configuration of today. */
static int tell_ipam(struct call *c, const char *command, struct err *e)
{
	struct attach a = { .node = &c->node, .conf = &c->conf, .request = &c->request };
	struct world w;
	int rc;

	if (!c->conf.ipam)
		return 0;
	world_init(&w);
	w.a = &a;
	rc = ipam_run(&w, c->conf.ipam_type, command, NULL, e);
	c->run.code = w.code;
	return rc;
}

static int verb_gc(struct call *c, struct err *e)
{
	struct timespec now;
	struct keep k = { .c = c };
	struct err two;
	int rc = judge_valid(c, e), ipam;

	if (rc)
		return rc;
	clock_gettime(CLOCK_BOOTTIME, &now);
	k.began_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
	c->run.acted = true;
	rc = run_walk(&c->node, &c->run, collect, &k, e);
	ipam = tell_ipam(c, "GC", &two);
	if (ipam && rc)
		return err_set(e, rc, "%s; %s", e->msg, two.msg);
	return ipam ? err_set(e, ipam, "%s", two.msg) : rc;
}

/* ---- STATUS -------------------------------------------------------------------------------- */

static int connects(const char *path, struct err *e)
{
	struct ctl *c = NULL;
	int rc = peer_switch(&c, path, STATUS_TIMEOUT_MS, e);

	ctl_close(c);
	return rc;
}

static int switch_status(const struct netconf *conf, struct err *e)
{
	const char *const words[] = { "switch", "show" };
	struct ctl *c = NULL;
	int rc = peer_switch(&c, conf->control, STATUS_TIMEOUT_MS, e);

	if (!rc)
		rc = ctl_call(c, words, 2, NULL, e);
	ctl_close(c);
	return rc;
}

static int ovs_status(const struct netconf *conf, struct err *e)
{
	return connects(conf->ovs_db, e);
}

static int socket_status(const struct netconf *conf, struct err *e)
{
	char dir[NETCONF_PATH_MAX];

	snprintf(dir, sizeof(dir), "%s", conf->socket);
	*strrchr(dir, '/') = '\0';
	/* A directory of each pod's own is not there before the pod. */
	if (!strchr(dir, '{') && access(dir, X_OK))
		return err_set(e, -errno, "%s: %s", dir, strerror(errno));
	return 0;
}

static int (*const backend_status[BACKENDS])(const struct netconf *conf, struct err *e) = {
	[BACKEND_SWITCH] = switch_status, [BACKEND_OVS] = ovs_status,
	[BACKEND_SOCKET] = socket_status,
};

static unsigned long long pool_number(uint64_t page, const char *name)
{
	char path[96], text[32] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%llukB/%s",
		 (unsigned long long)page >> 10, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	if (fd >= 0)
		close(fd);
	return strtoull(text, NULL, 10);
}

static int memory_status(const struct netconf *c, struct err *e)
{
	unsigned long long free_pages, reserved;

	if (c->memory != MEMORY_HUGETLBFS || !c->reserve)
		return 0;
	free_pages = pool_number(c->page, "free_hugepages");
	reserved = pool_number(c->page, "resv_hugepages");
	if (free_pages >= reserved && free_pages - reserved >= c->reserve / c->page)
		return 0;
	return err_set(e, -ENOMEM, "hugepages of %llu kB: %llu free of which %llu are reserved; an "
		       "attachment needs %llu", (unsigned long long)c->page >> 10, free_pages,
		       reserved, (unsigned long long)(c->reserve / c->page));
}

static int count(const struct recorded *rec, int dir, struct run *r, void *arg, struct err *e)
{
	return strcmp(rec->conf.name, r->conf->name) ? 0 : ++*(unsigned *)arg, 0;
}

static int verb_status(struct call *c, struct err *e)
{
	unsigned attached = 0;
	struct err ignored;
	int rc;

	c->run.code = CNI_NOT_AVAILABLE;
	rc = backend_status[c->conf.backend](&c->conf, e);
	if (rc) {
		run_walk(&c->node, &c->run, count, &attached, &ignored);
		c->run.code = attached ? CNI_LIMITED : CNI_NOT_AVAILABLE;
		return rc;
	}
	rc = memory_status(&c->conf, e);
	if (!rc) {
		c->run.code = 0;
		rc = tell_ipam(c, "STATUS", e);
	}
	return rc;
}

/* ---- the table ----------------------------------------------------------------------------- */

static const struct verb verbs[] = {
	{ "ADD", NULL, NEED_CONTAINER | NEED_NETNS | NEED_IFNAME | NEED_PATH, false, verb_add },
	{ "DEL", NULL, NEED_CONTAINER | MAY_NETNS | NEED_IFNAME | NEED_PATH, true, verb_del },
	{ "CHECK", "0.4.0", NEED_CONTAINER | NEED_NETNS | NEED_IFNAME | NEED_PATH, false,
	  verb_check },
	{ "GC", "1.1.0", NEED_PATH, false, verb_gc },
	{ "STATUS", "1.1.0", NEED_PATH, false, verb_status },
};

const struct verb *verb_find(const char *name)
{
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i].name, name))
			return &verbs[i];
	return NULL;
}
