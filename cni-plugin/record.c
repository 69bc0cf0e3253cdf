// SPDX-License-Identifier: Apache-2.0
// record.c - see record.h.
// pkg-config: json-c
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cni-plugin/js.h"
#include "cni-plugin/record.h"
#include "cni-plugin/state.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static const struct js_key request_keys[] = {
	{ "containerID", &js_name, JS_FIELD(struct request, container), 1, 0, "a name", NULL },
	{ "netns", &js_string, JS_FIELD(struct request, netns), 0, 0, "text", NULL },
	{ "ifname", &js_string, JS_FIELD(struct request, ifname), 1, 0, "text", NULL },
	{ "path", &js_string, JS_FIELD(struct request, path), 0, 0, "text", NULL },
	{ "pod", &js_string, JS_FIELD(struct request, pod_name), 0, 0, "text", NULL },
	{ "namespace", &js_string, JS_FIELD(struct request, pod_namespace), 0, 0, "text", NULL },
	{ "uid", &js_string, JS_FIELD(struct request, pod_uid), 0, 0, "text", NULL },
};

static const struct js_key settled_keys[] = {
	{ "mac", &js_mac, JS_FIELD(struct settled, mac), 0, 0, "a unicast address", NULL },
	{ "bdf", &js_string, JS_FIELD(struct settled, bdf), 12, 0, "a PCI address", NULL },
	{ "id", &js_name, JS_FIELD(struct settled, id), 1, 0, "a name", NULL },
};

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *request_json(const struct request *r)
{
	struct json_object *o = json_object_new_object();

	for (unsigned i = 0; i < ARRAY_SIZE(request_keys); i++)
		add_text(o, request_keys[i].name, (const char *)r + request_keys[i].off);
	return o;
}

static struct json_object *settled_json(const struct attach *a)
{
	struct json_object *o = json_object_new_object();
	char mac[18];

	js_mac_format(a->mac, mac);
	add_text(o, "mac", mac);
	add_text(o, "bdf", a->bdf);
	add_text(o, "id", a->id);
	return o;
}

static struct json_object *conf_json(const struct netconf *c)
{
	static const char *const foreign[] = {	/* of other attachments and other plugins */
		"prevResult", "cni.dev/valid-attachments", "cni.dev/attachments",
	};
	struct json_object *o = NULL;

	if (json_object_deep_copy(c->doc, &o, NULL))
		return NULL;
	for (unsigned i = 0; i < ARRAY_SIZE(foreign); i++)
		json_object_object_del(o, foreign[i]);
	return o;
}

struct json_object *record_make(const struct attach *a, int64_t pid, int64_t pid_start)
{
	struct json_object *o = json_object_new_object(), *conf = conf_json(a->conf);
	struct timespec now;
	char boot[64];

	if (!o || !conf) {
		json_object_put(o);
		json_object_put(conf);
		return NULL;
	}
	clock_gettime(CLOCK_BOOTTIME, &now);
	state_boot(boot);
	json_object_object_add(o, "version", json_object_new_int(STATE_VERSION));
	add_text(o, "boot", boot);
	add_text(o, "state", "adding");
	json_object_object_add(o, "madeMs", json_object_new_int64((int64_t)now.tv_sec * 1000 +
								  now.tv_nsec / 1000000));
	json_object_object_add(o, "pid", json_object_new_int64(pid));
	json_object_object_add(o, "pidStart", json_object_new_int64(pid_start));
	json_object_object_add(o, "chained", json_object_new_boolean(a->conf->prev != NULL));
	json_object_object_add(o, "request", request_json(a->request));
	json_object_object_add(o, "device", settled_json(a));
	json_object_object_add(o, "config", conf);
	return o;
}

/* ---- and back ------------------------------------------------------------------------------ */

/* What was allowed once is taken down again, whatever is allowed today. */
static void without_policy(struct node *n, const struct node *from)
{
	*n = *from;
	n->backends = (1u << BACKENDS) - 1;
	n->huge_max = UINT64_MAX;
	n->attachments = UINT32_MAX;
	n->socket_dirs_n = 1;
	n->socket_dirs[0][0] = '\0';
}

static int64_t number(struct json_object *doc, const char *key)
{
	return json_object_get_int64(js_at(doc, key));
}

static int read_parts(struct recorded *r, struct err *e)
{
	struct json_object *conf = js_at(r->doc, "config");
	int rc;

	if (number(r->doc, "version") > STATE_VERSION)
		return err_set(e, -EPROTO, "it was made by a newer podpci-cni (version %lld)",
			       (long long)number(r->doc, "version"));
	if (!json_object_is_type(conf, json_type_object))
		return err_set(e, -EBADMSG, "it has no configuration");
	rc = js_read(js_at(r->doc, "request"), request_keys, ARRAY_SIZE(request_keys),
		     &r->request, e);
	if (!rc)
		rc = js_read(js_at(r->doc, "device"), settled_keys, ARRAY_SIZE(settled_keys),
			     &r->settled, e);
	if (!rc)
		rc = netconf_parse(&r->conf, json_object_get(conf), &r->node, e);
	if (rc)
		return rc;
	if (!r->request.container[0] || !r->request.ifname[0] || !r->settled.id[0] ||
	    !r->settled.bdf[0])
		return err_set(e, -EBADMSG, "it is not whole");
	r->settled.have = true;
	return attach_derive(&r->attach, &r->node, &r->conf, &r->request, &r->settled, NULL, 0, e);
}

int record_read(struct recorded *r, const struct node *node, struct json_object *doc,
		struct err *e)
{
	char boot[64];
	int rc;

	memset(r, 0, sizeof(*r));
	r->doc = doc;
	without_policy(&r->node, node);
	rc = read_parts(r, e);
	if (rc)
		return err_wrap(e, rc == -EPROTO ? rc : -EBADMSG, "record");
	/* Its name in the result is the device's own, as at ADD. */
	if (json_object_get_boolean(js_at(doc, "chained")))
		r->conf.prev = r->conf.doc;
	state_boot(boot);
	r->same_boot = js_text(doc, "boot") && !strcmp(js_text(doc, "boot"), boot);
	r->ready = js_text(doc, "state") && !strcmp(js_text(doc, "state"), "ready");
	r->result = js_at(doc, "result");
	r->made_ms = number(doc, "madeMs");
	r->pid = number(doc, "pid");
	r->pid_start = number(doc, "pidStart");
	return 0;
}

void record_free(struct recorded *r)
{
	netconf_free(&r->conf);
	json_object_put(r->doc);
	r->doc = NULL;
}

static int by_bdf(const void *a, const void *b)
{
	const struct recorded *x = a, *y = b;

	return strcmp(x->settled.bdf, y->settled.bdf);
}

/* Records point into themselves. */
static void settle_pointers(struct recorded *r)
{
	r->attach.node = &r->node;
	r->attach.conf = &r->conf;
	r->attach.request = &r->request;
}

int record_all(struct recorded **out, unsigned *n, unsigned *broken, int dir,
	       const struct node *node, const char *except, struct err *e)
{
	struct state_names names;
	struct recorded *list;
	int rc = state_list(dir, true, STATE_RECORDS_MAX, &names, e);

	*out = NULL;
	*n = *broken = 0;
	if (rc || !names.n)
		return rc;
	list = calloc(names.n, sizeof(*list));
	if (!list)
		rc = err_set(e, -ENOMEM, "records: out of memory");
	for (unsigned i = 0; i < names.n && !rc; i++) {
		struct json_object *doc = NULL;
		struct err why;

		if (except && !strcmp(names.name[i], except))
			continue;
		if (state_load(dir, names.name[i], &doc, &why) ||
		    record_read(&list[*n], node, doc, &why)) {
			record_free(&list[*n]);
			++*broken;
			continue;
		}
		++*n;
	}
	state_names_free(&names);
	if (rc)
		return rc;
	qsort(list, *n, sizeof(*list), by_bdf);
	for (unsigned i = 0; i < *n; i++)
		settle_pointers(&list[i]);
	*out = list;
	return 0;
}

void record_list_free(struct recorded *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		record_free(&list[i]);
	free(list);
}
