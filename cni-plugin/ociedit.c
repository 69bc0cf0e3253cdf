// SPDX-License-Identifier: Apache-2.0
// ociedit.c - see ociedit.h.
// pkg-config: json-c
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cni-plugin/js.h"
#include "cni-plugin/ociedit.h"
#include "sim/core/err.h"

/* ---- what is asked for --------------------------------------------------------------------- */

static bool has(const struct ociedit *o, const char *name)
{
	for (unsigned i = 0; i < o->devices; i++)
		if (!strcmp(o->device[i], name))
			return true;
	return false;
}

int ociedit_ask(struct ociedit *o, const char *names, struct err *e)
{
	while (*names) {
		size_t len = strcspn(names, ",");
		char name[REQUEST_IFNAME_MAX + 1];

		if (len >= sizeof(name))
			return err_set(e, -EINVAL, "%.*s: a device's name has at most %u bytes",
				       (int)len, names, REQUEST_IFNAME_MAX);
		memcpy(name, names, len);
		name[len] = '\0';
		names += len + (names[len] == ',');
		if (!len || has(o, name))
			continue;
		if (!js_name_ok(name, REQUEST_IFNAME_MAX))
			return err_set(e, -EINVAL, "a device's name is letters, digits, '_', '.', "
				       "'-'");
		if (o->devices == ATTACH_MAX)
			return err_set(e, -E2BIG, "more than %u devices", ATTACH_MAX);
		memcpy(o->device[o->devices++], name, sizeof(name));
	}
	return 0;
}

int ociedit_asked(struct ociedit *o, struct json_object *config, struct err *e)
{
	struct json_object *all = js_at(config, "annotations"), *v = NULL;
	struct json_object *env = js_at(config, "process.env");
	int rc = 0;

	if (json_object_is_type(all, json_type_object) &&
	    json_object_object_get_ex(all, OCIEDIT_ASK, &v) &&
	    json_object_is_type(v, json_type_string))
		rc = ociedit_ask(o, json_object_get_string(v), e);
	for (size_t i = 0; json_object_is_type(env, json_type_array) && !rc &&
	     i < json_object_array_length(env); i++) {
		const char *var = json_object_get_string(json_object_array_get_idx(env, i));

		if (var && !strncmp(var, OCIEDIT_ENV "=", sizeof(OCIEDIT_ENV)))
			rc = ociedit_ask(o, var + sizeof(OCIEDIT_ENV), e);
	}
	return rc ? err_wrap(e, rc, "%s, %s", OCIEDIT_ASK, OCIEDIT_ENV) : 0;
}

/* ---- edits --------------------------------------------------------------------------------- */

static void add_word(struct json_object *list, const char *word)
{
	json_object_array_add(list, json_object_new_string(word));
}

struct json_object *ociedit_hook(const struct ociedit *o, const char *stage)
{
	struct json_object *h = json_object_new_object(), *args = json_object_new_array();

	add_word(args, "podpci-hook");
	add_word(args, "--stage");
	add_word(args, stage);
	if (o->node_file) {
		add_word(args, "--node");
		add_word(args, o->node_file);
	}
	for (unsigned i = 0; i < o->devices; i++) {
		add_word(args, "--device");
		add_word(args, o->device[i]);
	}
	json_object_object_add(h, "path", json_object_new_string(o->hook));
	json_object_object_add(h, "args", args);
	json_object_object_add(h, "timeout", json_object_new_int(HOOK_TIMEOUT_S));
	return h;
}

/* The object or list at key, made if there is none; NULL if something else is there. */
static struct json_object *get_or_make(struct json_object *o, const char *key,
				       enum json_type type)
{
	struct json_object *v = NULL;

	if (json_object_object_get_ex(o, key, &v) && v)
		return json_object_is_type(v, type) ? v : NULL;
	v = type == json_type_array ? json_object_new_array() : json_object_new_object();
	json_object_object_add(o, key, v);
	return v;
}

static int add_hook(const struct ociedit *o, struct json_object *config, const char *stage,
		    struct err *e)
{
	struct json_object *hooks = get_or_make(config, "hooks", json_type_object);
	struct json_object *list = hooks ? get_or_make(hooks, stage, json_type_array) : NULL;

	if (!list)
		return err_set(e, -EINVAL, "config.json: hooks.%s: must be a list", stage);
	json_object_array_add(list, ociedit_hook(o, stage));
	return 0;
}

/* Ours first: it must see the calls of libraries preloaded after it. */
static int preload(struct json_object *env, struct err *e)
{
	static const char name[] = "LD_PRELOAD=";
	size_t n = json_object_array_length(env);
	char *text;

	for (size_t i = 0; i < n; i++) {
		const char *var = json_object_get_string(json_object_array_get_idx(env, i));

		if (!var || strncmp(var, name, sizeof(name) - 1))
			continue;
		if (strstr(var, POD_LIBRARY))
			return 0;
		if (asprintf(&text, "%s%s:%s", name, POD_LIBRARY, var + sizeof(name) - 1) < 0)
			return err_set(e, -ENOMEM, "environment: out of memory");
		json_object_array_put_idx(env, i, json_object_new_string(text));
		free(text);
		return 0;
	}
	add_word(env, "LD_PRELOAD=" POD_LIBRARY);
	return 0;
}

/* ---- a device's variables ------------------------------------------------------------------ */

#define VALUE_MAX 8192		/* of lists: 64 of the longest addresses and routes fit */
#define ITEM_MAX  128

/* "net1.5": PODPCI_NET1_5_IPS. Not if the container has a variable of that name. */
static void add_variable(struct json_object *env, const char *device, const char *what,
			 const char *value)
{
	char name[96], text[sizeof(name) + VALUE_MAX];
	int n = snprintf(name, sizeof(name), "PODPCI_%.40s_%s=", device, what);

	for (char *c = name; *c; c++)
		*c = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') :
		     *c == '-' || *c == '.' ? '_' : *c;
	for (size_t i = 0; i < json_object_array_length(env); i++) {
		const char *v = json_object_get_string(json_object_array_get_idx(env, i));

		if (v && !strncmp(v, name, (size_t)n))
			return;
	}
	snprintf(text, sizeof(text), "%s%s", name, value);
	if (value[0])
		add_word(env, text);
}

/* `key` of each entry, and what is reached `via` it: "10.1.2.3/24,fd00::3/64". */
static void join(char *to, struct json_object *list, const char *key, const char *via)
{
	size_t at = 0;

	to[0] = '\0';
	for (size_t i = 0; json_object_is_type(list, json_type_array) &&
	     i < json_object_array_length(list); i++) {
		struct json_object *one = json_object_array_get_idx(list, i);
		const char *is = js_text(one, key), *gw = via ? js_text(one, via) : NULL;
		char item[ITEM_MAX];
		size_t n = (size_t)snprintf(item, sizeof(item), "%s%s%s%s", at ? "," : "",
					    is ? is : "", gw ? " via " : "", gw ? gw : "");

		/* Who is no address is nobody's: values of an IPAM plugin. */
		if (!is || n >= sizeof(item) || at + n >= VALUE_MAX || !js_printable(item))
			continue;
		memcpy(to + at, item, n + 1);
		at += n;
	}
}

int ociedit_network(struct json_object *config, struct json_object *device, struct err *e)
{
	struct json_object *process = get_or_make(config, "process", json_type_object);
	struct json_object *env = process ? get_or_make(process, "env", json_type_array) : NULL;
	static const struct {
		const char *what, *list, *key, *via;
	} rows[] = {
		{ "PCI", NULL, "pci", NULL }, { "MAC", NULL, "mac", NULL },
		{ "MTU", NULL, "mtu", NULL }, { "IPS", "ips", "address", NULL },
		{ "GATEWAY", "ips", "gateway", NULL }, { "ROUTES", "routes", "dst", "gw" },
	};
	const char *name = js_text(device, "name");
	char value[VALUE_MAX];

	if (!env || !name)
		return err_set(e, -EINVAL, "config.json: process.env: must be a list");
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct json_object *v = js_at(device, rows[i].list ? rows[i].list : rows[i].key);

		if (rows[i].list)
			join(value, v, rows[i].key, rows[i].via);
		else
			snprintf(value, sizeof(value), "%s", v ? json_object_get_string(v) : "");
		add_variable(env, name, rows[i].what, value);
	}
	return 0;
}

/* ---- the whole ----------------------------------------------------------------------------- */

int ociedit_apply(const struct ociedit *o, struct json_object *config, struct err *e)
{
	struct json_object *process = get_or_make(config, "process", json_type_object);
	struct json_object *env = process ? get_or_make(process, "env", json_type_array) : NULL;
	int rc = env ? 0 : err_set(e, -EINVAL, "config.json: process.env: must be a list");

	if (!rc)
		rc = preload(env, e);
	if (!rc) {
		add_word(env, "PODPCI_NETWORK=" POD_NETWORK);
		rc = add_hook(o, config, "createRuntime", e);
	}
	if (!rc && o->devices)
		rc = add_hook(o, config, "poststop", e);
	return rc;
}
