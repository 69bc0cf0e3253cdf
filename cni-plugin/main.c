// SPDX-License-Identifier: Apache-2.0
// main.c - podpci-cni: the protocol of the CNI specification, 0.3.0 to 1.1.0.
//
// Parameters are the CNI_* variables and a network's configuration on stdin; a result or an error
// is one JSON document on stdout; words for people are on stderr or in the node's log.
// pkg-config: json-c
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/result.h"
#include "cni-plugin/verbs.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define STDIN_WAIT_MS 10000

static const char usage[] =
	"Usage: podpci-cni [--dry-run|--restore|--help|--version]\n"
	"\n"
	"A CNI plugin (0.3.0 to 1.1.0): gives a pod a simulated virtio-net PCI device and its\n"
	"port of the node's vhost-user switch. A container runtime runs it with CNI_COMMAND (ADD,\n"
	"DEL, CHECK, GC, STATUS or VERSION) and its kind in the environment and the network's\n"
	"configuration on stdin. podpci-hook shows the device to the pod's containers.\n"
	"\n"
	"  --dry-run  print the steps ADD would take and take none\n"
	"  --restore  give a switch that was started anew the ports of all pods; no stdin\n"
	"\n"
	"The node's own settings are in " NODE_FILE " or $PODPCI_NODE; PODPCI_LOG=info or debug\n"
	"says more on stderr.\n";

static volatile sig_atomic_t stop;
static const char *said_version = "1.1.0";	/* in errors */

/* ---- ends ---------------------------------------------------------------------------------- */

/* A fault of ours: the runtime is told in its own terms, DEL finds the record. */
static void on_crash(int sig)
{
	static const char text[] =
		"{\"cniVersion\":\"1.1.0\",\"code\":100,\"msg\":\"podpci-cni crashed\"}\n";

	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(2);
	_exit(1);
}

static int fail(const struct call *c, int rc, const struct err *e)
{
	int code = c->run.code;

	if (!code)
		code = c->run.acted ? (int)result_code_done(rc) : (int)result_code_asked(rc);
	log_error(NULL, "%s", e->msg);
	result_print_error(stdout, said_version, code, e->msg);
	return 1;
}

/* ---- VERSION ------------------------------------------------------------------------------- */

/* Says what it can, whatever is on stdin. */
static int print_versions(struct json_object *doc)
{
	const char *asked = js_text(doc, "cniVersion");
	struct json_object *o = json_object_new_object(), *list = json_object_new_array();

	json_object_object_add(o, "cniVersion", json_object_new_string(asked &&
			       js_printable(asked) && strlen(asked) < 16 ? asked : "1.1.0"));
	for (unsigned i = 0; netconf_versions[i]; i++)
		json_object_array_add(list, json_object_new_string(netconf_versions[i]));
	json_object_object_add(o, "supportedVersions", list);
	printf("%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
	return 0;
}

/* ---- the call ------------------------------------------------------------------------------ */

static const char *env(const char *name)
{
	return getenv(name);
}

static int read_stdin(struct json_object **doc, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = js_slurp(STDIN_FILENO, &text, &len, STDIN_WAIT_MS, e);

	if (!rc)
		rc = js_parse(doc, text, len, e);
	free(text);
	return rc ? err_wrap(e, rc, "network configuration") : 0;
}

/* A DEL whose configuration is no good for an ADD still knows the network's name. */
static int read_conf(struct call *c, const struct verb *v, struct json_object *doc,
		     struct err *e)
{
	int rc = netconf_parse(&c->conf, doc, &c->node, e);

	if (rc || !v->since || c->conf.version >= netconf_since(v->since))
		return rc && v->lenient && rc != -EPROTONOSUPPORT && c->conf.name[0] ? 0 : rc;
	return err_set(e, -EPROTONOSUPPORT, "CNI_COMMAND=%s: needs cniVersion %s or newer", v->name,
		       v->since);
}

static int call_parse(struct call *c, const char *command, const struct verb *v,
		      struct json_object *doc, struct err *e)
{
	int rc = node_load(&c->node, getenv("PODPCI_NODE"), e);

	if (rc) {
		json_object_put(doc);
		return rc;
	}
	run_log_to(&c->node);
	run_prepare(&c->node, &stop);
	rc = read_conf(c, v, doc, e);
	said_version = netconf_versions[c->conf.version] ? netconf_versions[c->conf.version] :
		       "1.1.0";
	if (!rc)
		rc = request_parse(&c->request, v->needs, env, e);
	c->run = (struct run){ .node = &c->node, .conf = &c->conf, .request = &c->request,
			       .stop = &stop };
	return rc ? err_wrap(e, rc, "%s", command) : 0;
}

static int restore(struct call *c)
{
	struct err e = { 0 };
	int rc = node_load(&c->node, getenv("PODPCI_NODE"), &e);

	if (!rc) {
		run_log_to(&c->node);
		run_prepare(&c->node, &stop);
		rc = run_restore(&c->node, &e);
	}
	if (rc)
		log_error(NULL, "%s", e.msg);
	return rc ? -1 : 1;
}

static int options(struct call *c, int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
			fputs(usage, stdout);
			return 1;
		}
		if (!strcmp(argv[i], "--version")) {
			printf("podpci-cni %s\n", PODPCI_VERSION);
			return 1;
		}
		if (!strcmp(argv[i], "--restore"))
			return restore(c);
		if (strcmp(argv[i], "--dry-run") && strcmp(argv[i], "-n")) {
			fprintf(stderr, "podpci-cni: %s: no such option; see --help\n", argv[i]);
			return -1;
		}
		c->dry = true;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct call c;
	const char *command = getenv("CNI_COMMAND");
	struct json_object *doc = NULL;
	const struct verb *v;
	struct err e = { 0 };
	int rc = options(&c, argc, argv);

	if (rc)
		return rc < 0;
	signal(SIGSEGV, on_crash);
	signal(SIGBUS, on_crash);
	signal(SIGABRT, on_crash);
	if (!command && c.dry)
		command = "ADD";
	rc = read_stdin(&doc, &e);
	if (command && !strcmp(command, "VERSION")) {
		rc = print_versions(doc);
		json_object_put(doc);
		return rc;
	}
	v = command ? verb_find(command) : NULL;
	if (!v) {
		json_object_put(doc);
		return fail(&c, -EBADR, (err_set(&e, -EBADR, command ? "CNI_COMMAND: is none of "
			    "ADD, DEL, CHECK, GC, STATUS, VERSION" : "environment: missing "
			    "CNI_COMMAND"), &e));
	}
	if (!rc)
		rc = call_parse(&c, command, v, doc, &e);
	if (!rc)
		rc = v->act(&c, &e);
	if (rc)
		rc = fail(&c, rc, &e);
	if (fflush(stdout) && !rc)
		rc = 1;
	netconf_free(&c.conf);
	return rc;
}
