// SPDX-License-Identifier: Apache-2.0
// run.c - see run.h.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/result.h"
#include "cni-plugin/run.h"
#include "cni-plugin/state.h"
#include "sim/core/err.h"
#include "sim/core/log.h"

#define LOCK_WAIT_MS 10000

/* ---- the process --------------------------------------------------------------------------- */

static volatile sig_atomic_t *stop_word;

static void on_stop(int sig)
{
	*stop_word = sig;
}

void run_prepare(const struct node *node, volatile sig_atomic_t *stop)
{
	/* Again and again, should undoing wait for somebody too. */
	struct itimerval t = { .it_interval = { .tv_sec = 1 },
			       .it_value = { .tv_sec = node->deadline_ms / 1000,
					     .tv_usec = node->deadline_ms % 1000 * 1000 } };
	struct sigaction a = { .sa_handler = on_stop };	/* no SA_RESTART: waits end */

	stop_word = stop;
	sigaction(SIGTERM, &a, NULL);
	sigaction(SIGINT, &a, NULL);
	sigaction(SIGALRM, &a, NULL);
	signal(SIGPIPE, SIG_IGN);
	setitimer(ITIMER_REAL, &t, NULL);
	for (int fd = open("/dev/null", O_RDWR); fd >= 0 && fd < 3;)
		fd = dup(fd);
	close_range(3, ~0u, 0);
	umask(022);
	if (chdir("/"))
		log_warn(NULL, "/: %s", strerror(errno));
	prctl(PR_SET_DUMPABLE, 0);
	run_confine();
}

void run_log_to(const struct node *node)
{
	int fd;

	log_init(getenv("PODPCI_LOG"));
	if (!node->log[0])
		return;
	fd = open(node->log, O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return;
	dup2(fd, 2);
	close(fd);
}

/* ---- attaching ----------------------------------------------------------------------------- */

struct place {
	int state, dir;
	char digest[NAMES_DIGEST];	/* of the container */
};

static int place_open(struct place *p, const struct run *r, struct err *e)
{
	int rc = state_open(&p->state, r->node->state, true, e);

	p->dir = -1;
	if (rc) {
		p->state = -1;
		return rc;
	}
	names_digest(p->digest, r->request->container, NULL, NULL);
	rc = state_lock(&p->dir, p->state, p->digest, true, LOCK_WAIT_MS, e);
	if (rc) {
		close(p->state);
		p->state = -1;
	}
	return rc;
}

static void place_close(struct place *p)
{
	state_unlock(&p->dir, p->state, p->digest);
	if (p->state >= 0)
		close(p->state);
	p->state = -1;
}

static int derive_new(struct run *r, struct attach *a, int dir, struct err *e)
{
	struct settled others[STATE_RECORDS_MAX] = { 0 }, fresh = { 0 };
	struct recorded *list;
	unsigned n, broken;
	int rc = record_all(&list, &n, &broken, dir, r->node, NULL, e);

	if (rc)
		return rc;
	for (unsigned i = 0; i < n; i++)
		others[i] = list[i].settled;
	record_list_free(list, n);
	return attach_derive(a, r->node, r->conf, r->request, &fresh, others, n, e);
}

static int refuse_second(const struct attach *a, int dir, struct err *e)
{
	char name[48];
	struct stat st;

	snprintf(name, sizeof(name), "%s.json", a->digest);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW))
		return 0;
	return err_set(e, -EEXIST, "%s of this container is attached to network %s already; DEL "
		       "comes first", a->request->ifname, a->conf->name);
}

static int carry_out(struct run *r, const struct attach *a, int dir, struct json_object **result,
		     struct err *e)
{
	struct plan *p = malloc(sizeof(*p));
	struct json_object *made = NULL;
	struct world w;
	int rc;

	world_init(&w);
	w.a = a;
	w.dir = dir;
	w.stop = r->stop;
	w.record = record_make(a, r->pid, r->pid_start);
	rc = p && w.record ? plan_attach(p, a, e) : err_set(e, -ENOMEM, "out of memory");
	if (!rc) {
		r->acted = true;
		rc = apply_do(p, &w, e);
	}
	if (!rc && result) {
		made = json_object_get(js_at(w.record, "result"));
		*result = made;
	}
	r->code = w.code;
	json_object_put(w.record);
	json_object_put(w.ipam);
	world_free(&w);
	free(p);
	return rc;
}

int run_attach(struct run *r, struct json_object **result, struct err *e)
{
	struct attach a;
	struct place at;
	int rc = result_judge_prev(r->conf, e);

	if (!rc)
		rc = place_open(&at, r, e);
	if (rc)
		return rc;
	/* The digest of the record comes before anything is chosen. */
	memset(&a, 0, sizeof(a));
	a.conf = r->conf;
	a.request = r->request;
	names_digest(a.digest, r->conf->name, r->request->container, r->request->ifname);
	rc = refuse_second(&a, at.dir, e);
	if (!rc)
		rc = derive_new(r, &a, at.dir, e);
	if (!rc)
		rc = carry_out(r, &a, at.dir, result, e);
	place_close(&at);
	return rc;
}

int run_dry(struct run *r, struct err *e)
{
	struct settled none = { 0 };
	struct plan *p = malloc(sizeof(*p));
	struct attach a;
	int rc = p ? 0 : err_set(e, -ENOMEM, "out of memory");

	if (!rc)
		rc = attach_derive(&a, r->node, r->conf, r->request, &none, NULL, 0, e);
	if (!rc)
		rc = plan_attach(p, &a, e);
	if (!rc)
		plan_print(p, stdout);
	free(p);
	return rc;
}

/* ---- detaching ----------------------------------------------------------------------------- */

static int undo(const struct attach *a, int dir, struct run *r, struct err *e)
{
	struct plan *p = malloc(sizeof(*p));
	struct world w;
	int rc = p ? plan_attach(p, a, e) : err_set(e, -ENOMEM, "out of memory");

	world_init(&w);
	w.a = a;
	w.dir = dir;
	r->acted = true;
	if (!rc)
		rc = apply_undo(p, &w, e);
	r->code = w.code;
	world_free(&w);
	free(p);
	return rc;
}

int run_undo(const struct recorded *rec, int dir, struct run *r, struct err *e)
{
	struct attach a = rec->attach;
	struct request q = rec->request;

	/* Where plugins are may have changed; the rest is as it was. */
	if (r->request && r->request->path[0])
		memcpy(q.path, r->request->path, sizeof(q.path));
	a.request = &q;
	return undo(&a, dir, r, e);
}

/* Without a record: the names are digests of what is asked, and there is little to miss. */
static int undo_blind(struct run *r, int dir, struct err *e)
{
	struct settled none = { 0 };
	struct attach a;
	int rc = attach_derive(&a, r->node, r->conf, r->request, &none, NULL, 0, NULL);

	/* What cannot be put into practice today was not yesterday. */
	return rc ? 0 : undo(&a, dir, r, e);
}

/* What came from the runtime is of the attachment alone; nothing of it is in the record. */
static bool same_key(const struct recorded *rec, const struct run *r)
{
	return !strcmp(rec->request.container, r->request->container) &&
	       !strcmp(rec->request.ifname, r->request->ifname) &&
	       !strcmp(rec->conf.name, r->conf->name);
}

int run_detach(struct run *r, struct err *e)
{
	struct json_object *doc = NULL;
	struct recorded *rec = calloc(1, sizeof(*rec));
	char digest[NAMES_DIGEST];
	struct place at;
	struct err why;
	int rc = rec ? place_open(&at, r, e) : err_set(e, -ENOMEM, "out of memory");

	if (rc) {
		free(rec);
		return rc;
	}
	names_digest(digest, r->conf->name, r->request->container, r->request->ifname);
	rc = state_load(at.dir, digest, &doc, &why);
	if (!rc)
		rc = record_read(rec, r->node, doc, &why);
	if (rc && rc != -ENOENT)
		log_warn(r->request->ifname, "%s; detaching by what is asked", why.msg);
	if (rc == -EPROTO)
		rc = err_set(e, rc, "%s", why.msg);
	else if (rc)
		rc = undo_blind(r, at.dir, e);
	else if (!same_key(rec, r))
		rc = err_set(e, -EEXIST, "record %s is of another attachment", digest);
	else
		rc = run_undo(rec, at.dir, r, e);
	record_free(rec);
	free(rec);
	place_close(&at);
	return rc;
}

/* ---- checking ------------------------------------------------------------------------------ */

static int check(const struct recorded *rec, int dir, struct run *r, struct err *e)
{
	struct plan *p = malloc(sizeof(*p));
	struct attach a = rec->attach;
	struct world w;
	int rc;

	a.request = r->request;
	world_init(&w);
	w.a = &a;
	w.dir = dir;
	w.record = rec->doc;
	rc = p ? plan_attach(p, &a, e) : err_set(e, -ENOMEM, "out of memory");
	if (!rc)
		rc = apply_check(p, &w, e);
	r->code = w.code;
	world_free(&w);
	free(p);
	return rc;
}

/* prevResult still tells of our device as we made it. */
static int check_prev(const struct recorded *rec, const struct run *r, struct err *e)
{
	struct json_object *list = js_at(r->conf->prev, "interfaces");
	const char *want = rec->attach.conf->prev ? rec->attach.id : r->request->ifname;
	char mac[18];

	js_mac_format(rec->attach.mac, mac);
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		struct json_object *one = json_object_array_get_idx(list, i);
		const char *name = js_text(one, "name"), *is = js_text(one, "mac");

		if (!name || strcmp(name, want))
			continue;
		if (is && !strcasecmp(is, mac))
			return 0;
		return err_set(e, -ESTALE, "prevResult: %s has another address than its device, %s",
			       want, mac);
	}
	return err_set(e, -ESTALE, "prevResult: there is no interface %s", want);
}

/* What is missing or another, not what could not be looked at. */
static bool is_broken(int rc)
{
	return rc == -ENOENT || rc == -ENODEV || rc == -ESTALE || rc == -EADDRNOTAVAIL;
}

int run_check(struct run *r, struct err *e)
{
	struct json_object *doc = NULL;
	struct recorded *rec = calloc(1, sizeof(*rec));
	char digest[NAMES_DIGEST];
	struct place at;
	int rc = rec ? place_open(&at, r, e) : err_set(e, -ENOMEM, "out of memory");

	if (rc) {
		free(rec);
		return rc;
	}
	r->acted = true;
	names_digest(digest, r->conf->name, r->request->container, r->request->ifname);
	rc = state_load(at.dir, digest, &doc, e);
	if (!rc)
		rc = record_read(rec, r->node, doc, e);
	if (!rc && !rec->ready)
		rc = err_set(e, -ESTALE, "its ADD was cut short");
	if (!rc)
		rc = check_prev(rec, r, e);
	if (!rc)
		rc = check(rec, at.dir, r, e);
	if (is_broken(rc) && !r->code)
		r->code = CNI_BROKEN;
	record_free(rec);
	free(rec);
	place_close(&at);
	return rc;
}

/* ---- all of them --------------------------------------------------------------------------- */

static int walk_one(const struct node *node, int state, const char *name, struct run *r,
		    int (*visit)(const struct recorded *rec, int dir, struct run *r, void *arg,
				 struct err *e), void *arg, struct err *e)
{
	struct recorded *list = NULL;
	unsigned n = 0, broken = 0;
	int dir = -1, first = 0, rc;
	struct err one;

	rc = state_lock(&dir, state, name, false, 1000, e);
	if (rc)
		return rc == -ENOENT ? 0 : rc;
	state_sweep(dir);
	rc = record_all(&list, &n, &broken, dir, node, NULL, e);
	for (unsigned i = 0; i < n && !rc; i++) {
		int bad = visit(&list[i], dir, r, arg, &one);

		if (bad && !first)
			first = err_set(e, bad, "%s", one.msg);
	}
	record_list_free(list, n);
	state_unlock(&dir, state, name);
	return rc ? rc : first;
}

int run_walk(const struct node *node, struct run *r,
	     int (*visit)(const struct recorded *rec, int dir, struct run *r, void *arg,
			  struct err *e), void *arg, struct err *e)
{
	struct state_names names;
	int state, first = 0, rc = state_open(&state, node->state, false, e);
	struct err one;

	if (rc)
		return rc == -ENOENT ? 0 : rc;
	rc = state_list(state, false, STATE_CONTAINERS_MAX, &names, e);
	for (unsigned i = 0; i < names.n && !rc; i++) {
		int bad = walk_one(node, state, names.name[i], r, visit, arg, &one);

		if (bad && !first)
			first = err_set(e, bad, "%s", one.msg);
	}
	state_names_free(&names);
	close(state);
	return rc ? rc : first;
}

static int restore_one(const struct recorded *rec, int dir, struct run *r, void *arg,
		       struct err *e)
{
	struct plan *p = rec->ready && rec->same_boot ? malloc(sizeof(*p)) : NULL;
	struct world w;
	int rc;

	if (!p)
		return 0;
	world_init(&w);
	w.a = &rec->attach;
	rc = plan_attach(p, &rec->attach, e);
	if (!rc)
		rc = apply_port(p, &w, e);
	world_free(&w);
	free(p);
	return rc;
}

int run_restore(const struct node *node, struct err *e)
{
	struct run r = { .node = node };

	return run_walk(node, &r, restore_one, NULL, e);
}
