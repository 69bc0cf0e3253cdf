// SPDX-License-Identifier: Apache-2.0
// request.c - see request.h.
#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cni-plugin/js.h"
#include "cni-plugin/request.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static bool container_ok(const char *v)
{
	return js_name_ok(v, REQUEST_ID_MAX);
}

bool request_ifname_ok(const char *v)
{
	size_t n = strlen(v);

	if (!n || n > REQUEST_IFNAME_MAX || !strcmp(v, ".") || !strcmp(v, "..") || v[0] == '-')
		return false;
	for (; *v; v++)
		if ((unsigned char)*v <= ' ' || (unsigned char)*v >= 0x7f || strchr("/:%\\\"", *v))
			return false;
	return true;
}

/* An absolute path of sane bytes; what it is, is looked at when it is opened. */
static bool netns_ok(const char *v)
{
	return v[0] == '/' && strlen(v) < 256 && js_printable(v) && !strstr(v, "/../");
}

static bool path_ok(const char *v)
{
	return strlen(v) < sizeof(((struct request *)0)->path) && js_printable(v);
}

static const struct variable {
	const char *name;
	unsigned    needed, may;
	size_t      off, size;
	bool      (*ok)(const char *v);
} variables[] = {
	{ "CNI_CONTAINERID", NEED_CONTAINER, 0, JS_FIELD(struct request, container),
	  container_ok },
	{ "CNI_NETNS", NEED_NETNS, MAY_NETNS, JS_FIELD(struct request, netns), netns_ok },
	{ "CNI_IFNAME", NEED_IFNAME, 0, JS_FIELD(struct request, ifname), request_ifname_ok },
	{ "CNI_PATH", NEED_PATH, 0, JS_FIELD(struct request, path), path_ok },
};

/* ---- CNI_ARGS ------------------------------------------------------------------------------ */

static int text_arg(const char *v, char *to, size_t size)
{
	if (strlen(v) >= size || !js_printable(v))
		return -EINVAL;
	memcpy(to, v, strlen(v) + 1);
	return 0;
}

static int mac_arg(const char *v, char *to, size_t size)
{
	struct request *r = (struct request *)(void *)(to - offsetof(struct request, mac));
	int rc = js_mac_parse(v, r->mac);

	r->has_mac = !rc;
	return rc;
}

static int ignored(const char *v, char *to, size_t size)
{
	return 0;
}

static const struct arg {
	const char *name;
	size_t off, size;
	int (*take)(const char *v, char *to, size_t size);
} args[] = {
	{ "K8S_POD_NAME", JS_FIELD(struct request, pod_name), text_arg },
	{ "K8S_POD_NAMESPACE", JS_FIELD(struct request, pod_namespace), text_arg },
	{ "K8S_POD_UID", JS_FIELD(struct request, pod_uid), text_arg },
	{ "MAC", JS_FIELD(struct request, mac), mac_arg },
	{ "K8S_POD_INFRA_CONTAINER_ID", 0, 0, ignored },
	{ "IgnoreUnknown", 0, 0, ignored },
};

static bool unknown_allowed(const char *text)
{
	const char *at = strstr(text, "IgnoreUnknown=");
	const char *v = at ? at + strlen("IgnoreUnknown=") : "";

	return at && (at == text || at[-1] == ';') &&
	       (!strncasecmp(v, "1", 1) || !strncasecmp(v, "t", 1));
}

static int arg_take(struct request *r, char *pair, bool lenient, struct err *e)
{
	char *value = strchr(pair, '=');

	if (!value || value == pair)
		return err_set(e, -EBADR, "CNI_ARGS: a word without KEY=VALUE");
	*value++ = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(args); i++) {
		if (strcmp(args[i].name, pair))
			continue;
		if (args[i].take(value, (char *)r + args[i].off, args[i].size))
			return err_set(e, -EBADR, "CNI_ARGS: %s: a value that cannot be",
				       args[i].name);
		return 0;
	}
	if (lenient)
		return 0;
	return err_set(e, -EBADR, "CNI_ARGS: unknown key (and no IgnoreUnknown=1)");
}

static int args_parse(struct request *r, const char *text, struct err *e)
{
	bool lenient = unknown_allowed(text);
	char copy[REQUEST_ARGS_MAX], *rest = NULL;
	int rc = 0;

	if (strlen(text) >= sizeof(copy))
		return err_set(e, -EBADR, "CNI_ARGS: longer than %u bytes", REQUEST_ARGS_MAX - 1);
	memcpy(copy, text, strlen(text) + 1);
	for (char *p = strtok_r(copy, ";", &rest); p && !rc; p = strtok_r(NULL, ";", &rest))
		rc = arg_take(r, p, lenient, e);
	return rc;
}

/* ---- the environment ----------------------------------------------------------------------- */

int request_parse(struct request *r, unsigned needs, const char *(*get)(const char *name),
		  struct err *e)
{
	char bad[160] = "", missing[160] = "";
	const char *text;

	memset(r, 0, sizeof(*r));
	for (unsigned i = 0; i < ARRAY_SIZE(variables); i++) {
		const struct variable *v = &variables[i];
		char *list = bad;

		text = get(v->name);
		if (!(needs & (v->needed | v->may)))
			continue;
		if (!text || !*text) {
			if (!(needs & v->needed))
				continue;
			list = missing;
		} else if (v->ok(text) && strlen(text) < v->size) {
			memcpy((char *)r + v->off, text, strlen(text) + 1);
			continue;
		} else if (!(needs & v->needed)) {
			continue;	/* DEL without a usable netns is a DEL all the same */
		}
		snprintf(list + strlen(list), sizeof(bad) - strlen(list), "%s%s",
			 *list ? ", " : "", v->name);
	}
	if (*missing || *bad)
		return err_set(e, -EBADR, "environment: %s%s%s%s%s", *missing ? "missing " : "",
			       missing, *missing && *bad ? "; " : "", *bad ? "not usable: " : "",
			       bad);
	text = get("CNI_ARGS");
	return needs & NEED_CONTAINER && text ? args_parse(r, text, e) : 0;
}
