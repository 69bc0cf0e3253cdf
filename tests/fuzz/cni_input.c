// SPDX-License-Identifier: Apache-2.0
// cni_input.c - fuzzes what the CNI plugin, the hook and the wrapper are given: a network's
// configuration, a container's state, its config.json, a record, CNI_ARGS.
//
// The first byte says which; the rest is the text. Whatever is accepted must lead to a plan.
// pkg-config: json-c
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cni-plugin/bundle.h"
#include "cni-plugin/js.h"
#include "cni-plugin/ociedit.h"
#include "cni-plugin/record.h"
#include "cni-plugin/result.h"
#include "sim/core/err.h"

static struct node node = {
	.state = "/run/podpci/cni", .control = "/run/podpci/switch.ctl", .ovs = "/run/ovs.sock",
	.hook = "/usr/bin/podpci-hook", .library = "/usr/lib/libpodpci.so",
	.socket_dirs = { "/run/vhost" }, .socket_dirs_n = 1, .backends = 7, .attachments = 16,
	.huge_max = 1ull << 40, .deadline_ms = 1000,
};

static const char *args_text;

static const char *env(const char *name)
{
	static const struct { const char *name, *value; } vars[] = {
		{ "CNI_CONTAINERID", "c1" }, { "CNI_NETNS", "/run/netns/a" },
		{ "CNI_IFNAME", "net1" }, { "CNI_PATH", "/opt/cni/bin" },
	};

	for (unsigned i = 0; i < sizeof(vars) / sizeof(vars[0]); i++)
		if (!strcmp(vars[i].name, name))
			return vars[i].value;
	return !strcmp(name, "CNI_ARGS") ? args_text : NULL;
}

#define NEEDS (NEED_CONTAINER | NEED_NETNS | NEED_IFNAME | NEED_PATH)

static void follow(const struct attach *a)
{
	static struct plan p;
	const struct container c = { .uid = 1000 };
	const struct told told = { "{}", { "{}" } };
	struct json_object *record = record_make(a, 1, 2), *result = result_make(a, NULL);
	static struct recorded again;
	struct err e;

	assert(strstr(a->socket, "/../") == NULL && a->socket[0] == '/');
	if (!plan_attach(&p, a, &e))
		assert(p.step[0].op == OP_CLAIM && p.step[p.n - 1].op == OP_COMMIT);
	assert(!plan_inject(&p, a, 1, &c, &told, &e));
	/* What was recorded leads to the same names. */
	assert(record && result);
	if (!record_read(&again, &node, record, &e))
		assert(!strcmp(again.attach.socket, a->socket) &&
		       !strcmp(again.attach.port, a->port));
	record_free(&again);
	json_object_put(result);
}

static void netconf(struct json_object *doc)
{
	struct settled none = { 0 };
	static struct request q;
	struct netconf c;
	struct attach a;
	struct err e;

	args_text = NULL;
	assert(!request_parse(&q, NEEDS, env, &e));
	if (!netconf_parse(&c, doc, &node, &e) && !result_judge_prev(&c, &e) &&
	    !attach_derive(&a, &node, &c, &q, &none, NULL, 0, &e))
		follow(&a);
	netconf_free(&c);
}

static void state(struct json_object *doc)
{
	static struct oci_state s;
	struct err e;

	if (!oci_state_parse(&s, doc, &e))
		assert(s.ids_n >= 1 && s.bundle[0] == '/' && s.pid >= 0);
	oci_state_free(&s);
}

static void config(struct json_object *doc)
{
	struct ociedit o = { .hook = node.hook };
	static struct oci_config c;
	struct err e;

	if (!ociedit_asked(&o, doc, &e))
		(void)ociedit_apply(&o, doc, &e);
	(void)oci_config_parse(&c, doc, "/run/bundle", node.hook, &e);
	oci_config_free(&c);
}

static void record(struct json_object *doc)
{
	static struct recorded r;
	struct err e;

	(void)record_read(&r, &node, doc, &e);
	record_free(&r);
}

static void ipam(struct json_object *doc)
{
	struct err e;

	(void)result_judge_ipam(doc, &e);
	json_object_put(doc);
}

static void (*const readers[])(struct json_object *doc) = {
	netconf, state, config, record, ipam,
};
#define READERS (sizeof(readers) / sizeof(readers[0]))

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object *doc = NULL;
	static struct request q;
	char *text;
	struct err e;

	if (!size)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (data[0] % (READERS + 1) == READERS) {
		args_text = text;
		(void)request_parse(&q, NEEDS, env, &e);
	} else if (!js_parse(&doc, text, strlen(text), &e)) {
		readers[data[0] % (READERS + 1)](doc);
	}
	free(text);
	return 0;
}
