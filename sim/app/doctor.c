// SPDX-License-Identifier: Apache-2.0
// doctor.c - `podpci doctor`: runs a table of checks and prints what they found. See doctor.h.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <json-c/json.h>

#include "sim/app/cmds.h"
#include "sim/app/doctor.h"
#include "sim/core/err.h"

#define FOUND_FAULTS 1			/* exit status */

static const char usage[] =
	"Usage: podpci doctor [node | pod] [-p PID] [-j]\n"
	"\n"
	"Says why no packets flow and what to do. `node' looks at the host: hugepages, the\n"
	"switch and its ports, what engines are told. `pod' looks at a container: its bus,\n"
	"library, sockets, memory, drivers, and its devices: links, features, regions of memory,\n"
	"kicks, packets. Without either it is the pod if there is a simulated bus here, and the\n"
	"node if not. Nothing is changed.\n"
	"\n"
	"Options:\n"
	"  -p, --pid PID   the container of this process, seen from the host (means pod)\n"
	"  -j, --json      [{\"check\",\"verdict\",\"subject\",\"why\",\"fix\"}]\n"
	"  -h, --help      this text\n"
	"\n"
	"Verdicts are ok, warn (may be as you want it) and fail. Exit status: 0: nothing failed,\n"
	"1: something did, 125: the doctor itself could not look.\n";

static const char *const verdict_names[VERDICTS] = { "ok", "warn", "fail" };

void doctor_say(struct doctor *d, enum verdict v, const char *subject, const char *fix,
		const char *fmt, ...)
{
	struct finding *f;
	va_list args;

	if (d->n == DOCTOR_FINDINGS_MAX)
		return;
	f = &d->finding[d->n++];
	f->check = d->check;
	f->verdict = v;
	snprintf(f->subject, sizeof(f->subject), "%s", subject ? subject : "");
	snprintf(f->fix, sizeof(f->fix), "%s", fix ? fix : "");
	va_start(args, fmt);
	vsnprintf(f->why, sizeof(f->why), fmt, args);
	va_end(args);
	/* Names may be a pod's: a terminal must not obey them. */
	for (char *c = f->why; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	for (char *c = f->subject; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
}

static void print_text(const struct doctor *d)
{
	for (unsigned i = 0; i < d->n; i++) {
		const struct finding *f = &d->finding[i];

		printf("%-5s%-11s%s%s%s\n", verdict_names[f->verdict], f->check, f->subject,
		       f->subject[0] ? ": " : "", f->why);
		if (f->fix[0] && f->verdict != GOOD)
			printf("%16s-> %s\n", "", f->fix);
	}
}

static void put(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static int print_json(const struct doctor *d)
{
	struct json_object *all = json_object_new_array();

	for (unsigned i = 0; all && i < d->n; i++) {
		const struct finding *f = &d->finding[i];
		struct json_object *o = json_object_new_object();

		if (!o)
			break;
		put(o, "check", f->check);
		put(o, "verdict", verdict_names[f->verdict]);
		put(o, "subject", f->subject);
		put(o, "why", f->why);
		put(o, "fix", f->fix);
		json_object_array_add(all, o);
	}
	if (all)
		puts(json_object_to_json_string_ext(all, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(all);
	return all ? 0 : -ENOMEM;
}

struct asked {
	const struct doctor_check *table;
	long pid;
	bool json, help;
};

static int read_pid(const char *text, long *pid)
{
	char *end;

	if (!text || *text < '1' || *text > '9')
		return -EINVAL;
	*pid = strtol(text, &end, 10);
	return *end || *pid > 1l << 22 ? -EINVAL : 0;
}

static int parse(struct asked *a, int argc, char **argv, struct err *e)
{
	for (int i = 1; i < argc; i++) {
		const char *w = argv[i];

		if (!strcmp(w, "node"))
			a->table = doctor_node;
		else if (!strcmp(w, "pod"))
			a->table = doctor_pod;
		else if (!strcmp(w, "-j") || !strcmp(w, "--json"))
			a->json = true;
		else if (!strcmp(w, "-h") || !strcmp(w, "--help"))
			a->help = true;
		else if (strcmp(w, "-p") && strcmp(w, "--pid"))
			return err_set(e, -EINVAL, "%s: what is that? see podpci doctor --help", w);
		else if (read_pid(argv[++i], &a->pid))
			return err_set(e, -EINVAL, "%s: needs the number of a process", w);
	}
	if (a->pid && a->table == doctor_node)
		return err_set(e, -EINVAL, "node: takes no --pid");
	return 0;
}

static int examine(struct doctor *d, const struct asked *a, struct err *e)
{
	const struct doctor_check *c = a->table;
	char root[40] = "/";
	struct stat st;

	d->pid = a->pid;
	if (a->pid)
		snprintf(root, sizeof(root), "/proc/%ld/root", a->pid);
	d->root = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->root < 0)
		return err_set(e, -errno, "%s: %s", root, errno == ENOENT ?
			       "no such process" : strerror(errno));
	if (!c)
		c = a->pid || !look_stat(d, CONFIG_PATH, &st) ? doctor_pod : doctor_node;
	for (; c->name; c++) {
		d->check = c->name;
		c->run(d);
	}
	close(d->root);
	return 0;
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor *d = calloc(1, sizeof(*d));
	struct err e = { 0 };
	struct asked a = { .table = NULL };
	bool failed = false;
	int rc = d ? parse(&a, argc, argv, &e) : err_set(&e, -ENOMEM, "out of memory");

	if (!rc && a.help) {
		fputs(usage, stdout);
		free(d);
		return 0;
	}
	if (!rc)
		rc = examine(d, &a, &e);
	if (!rc && a.json)
		rc = print_json(d);
	else if (!rc)
		print_text(d);
	for (unsigned i = 0; !rc && i < d->n; i++)
		failed |= d->finding[i].verdict == FAIL;
	if (rc)
		fprintf(stderr, "podpci doctor: %s\n", e.msg[0] ? e.msg : strerror(-rc));
	free(d);
	return rc ? CMD_FAILED : failed ? FOUND_FAULTS : 0;
}
