// SPDX-License-Identifier: Apache-2.0
// ovsdb.c - ports of Open vSwitch, by its database: JSON-RPC (RFC 7047) on ovsdb-server's socket.
//
// Names and values are JSON strings there and words of no command line. A port is a row of Port
// and one of Interface that its bridge refers to; they go when nothing refers to them.
// pkg-config: json-c
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "cni-plugin/apply.h"
#include "cni-plugin/js.h"
#include "cni-plugin/peer.h"
#include "sim/core/err.h"

#define TIMEOUT_MS 5000
#define READY_MS   4000		/* for ovs-vswitchd to make a port */
#define PAUSE_MS   10

struct db {
	int fd, id;
	int64_t deadline;
};

/* ---- the wire ------------------------------------------------------------------------------ */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int db_open(struct db *d, const char *path, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	*d = (struct db){ .fd = -1, .deadline = now_ms() + TIMEOUT_MS };
	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: too long for a socket", path);
	memcpy(a.sun_path, path, strlen(path) + 1);
	d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (d->fd < 0 || connect(d->fd, (struct sockaddr *)&a, sizeof(a))) {
		int rc = err_set(e, -errno, "%s: %s (is ovsdb-server running?)", path,
				 strerror(errno));

		if (d->fd >= 0)
			close(d->fd);
		d->fd = -1;
		return rc;
	}
	return peer_judge(d->fd, path, e);
}

static void db_close(struct db *d)
{
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
}

static int send_all(struct db *d, const char *text, struct err *e)
{
	size_t len = strlen(text), done = 0;

	while (done < len) {
		ssize_t n = send(d->fd, text + done, len - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return err_set(e, -errno, "ovsdb-server: %s", strerror(errno));
		done += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static int read_some(struct db *d, char *buf, size_t size, struct err *e)
{
	struct pollfd p = { .fd = d->fd, .events = POLLIN };
	int64_t left = d->deadline - now_ms();
	ssize_t n;

	if (left <= 0 || !poll(&p, 1, (int)left))
		return err_set(e, -ETIMEDOUT, "ovsdb-server does not answer");
	n = read(d->fd, buf, size);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	return n > 0 ? (int)n : err_set(e, -ECONNRESET, "ovsdb-server hung up");
}

/* The next document; others' bytes after it are not expected: we wait for each answer. */
static int read_document(struct db *d, struct json_object **doc, struct err *e)
{
	struct json_tokener *t = json_tokener_new_ex(JS_DEPTH_MAX);
	size_t total = 0;
	char buf[4096];
	int rc = t ? 0 : err_set(e, -ENOMEM, "ovsdb-server: out of memory");

	*doc = NULL;
	while (!rc && !*doc) {
		int n = read_some(d, buf, sizeof(buf), e);

		if (n < 0) {
			rc = n;
			break;
		}
		total += (size_t)n;
		*doc = n ? json_tokener_parse_ex(t, buf, n) : NULL;
		if (!*doc && n && json_tokener_get_error(t) != json_tokener_continue)
			rc = err_set(e, -EPROTO, "ovsdb-server: its answer is malformed");
		else if (total > JS_TEXT_MAX)
			rc = err_set(e, -EPROTO, "ovsdb-server: its answer is too long");
	}
	json_tokener_free(t);
	return rc;
}

/* What the database says was wrong with one of the operations. */
static int judge(struct json_object *result, struct err *e)
{
	for (size_t i = 0; i < json_object_array_length(result); i++) {
		struct json_object *one = json_object_array_get_idx(result, i);
		const char *error = js_text(one, "error"), *details = js_text(one, "details");

		if (error)
			return err_set(e, !strcmp(error, "constraint violation") ? -EEXIST :
				       !strcmp(error, "timed out") ? -ENODEV : -EREMOTEIO,
				       "ovsdb-server: %s%s%.200s", error, details ? ": " : "",
				       details ? details : "");
	}
	return 0;
}

/* Takes ops; *result is the caller's. */
static int transact(struct db *d, struct json_object *ops, struct json_object **result,
		    struct err *e)
{
	struct json_object *q = json_object_new_object(), *doc = NULL, *r;
	int rc;

	json_object_object_add(q, "method", json_object_new_string("transact"));
	json_object_object_add(q, "params", ops);
	json_object_object_add(q, "id", json_object_new_int(++d->id));
	rc = send_all(d, json_object_to_json_string_ext(q, JSON_C_TO_STRING_NOSLASHESCAPE), e);
	json_object_put(q);
	while (!rc) {
		rc = read_document(d, &doc, e);
		if (rc || json_object_get_int(js_at(doc, "id")) == d->id)
			break;
		json_object_put(doc);	/* an echo or an update: not for us */
		doc = NULL;
	}
	r = js_at(doc, "result");
	if (!rc && !json_object_is_type(r, json_type_array))
		rc = err_set(e, -EPROTO, "ovsdb-server: refused the transaction");
	if (!rc)
		rc = judge(r, e);
	if (!rc && result)
		*result = json_object_get(r);
	json_object_put(doc);
	return rc;
}

/* ---- operations ---------------------------------------------------------------------------- */

static struct json_object *list(void)
{
	return json_object_new_array();
}

static struct json_object *words(const char *a, const char *b, const char *c)
{
	struct json_object *l = list();

	json_object_array_add(l, json_object_new_string(a));
	if (b)
		json_object_array_add(l, json_object_new_string(b));
	if (c)
		json_object_array_add(l, json_object_new_string(c));
	return l;
}

/* ["map",[[k,v]...]], empty at first. */
static struct json_object *map(struct json_object **pairs)
{
	struct json_object *m = words("map", NULL, NULL);

	*pairs = list();
	json_object_array_add(m, *pairs);
	return m;
}

static struct json_object *op(struct json_object *ops, const char *name, const char *table)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "op", json_object_new_string(name));
	json_object_object_add(o, "table", json_object_new_string(table));
	json_object_array_add(ops, o);
	return o;
}

static void where_name(struct json_object *o, const char *name)
{
	struct json_object *where = list();

	json_object_array_add(where, words("name", "==", name));
	json_object_object_add(o, "where", where);
}

static struct json_object *ops_begin(void)
{
	return words("Open_vSwitch", NULL, NULL);
}

/* A bridge that is not there would be mutated without an error. */
static void wait_bridge(struct json_object *ops, const char *bridge)
{
	struct json_object *o = op(ops, "wait", "Bridge"), *rows = list();
	struct json_object *row = json_object_new_object();

	where_name(o, bridge);
	json_object_object_add(o, "columns", words("name", NULL, NULL));
	json_object_object_add(o, "until", json_object_new_string("=="));
	json_object_object_add(row, "name", json_object_new_string(bridge));
	json_object_array_add(rows, row);
	json_object_object_add(o, "rows", rows);
	json_object_object_add(o, "timeout", json_object_new_int(0));
}

static void insert(struct json_object *ops, const char *table, struct json_object *row,
		   const char *as)
{
	struct json_object *o = op(ops, "insert", table);

	json_object_object_add(o, "row", row);
	json_object_object_add(o, "uuid-name", json_object_new_string(as));
}

/* "mutations" of one: [column, how, value]. */
static void mutate(struct json_object *o, const char *how, struct json_object *value)
{
	struct json_object *all = list(), *one = words("ports", how, NULL);

	json_object_array_add(one, value);
	json_object_array_add(all, one);
	json_object_object_add(o, "mutations", all);
}

/* KEY=VALUE words of a step, each to the row it belongs to. */
static void fill_rows(const struct step *s, struct json_object *port, struct json_object *iface)
{
	struct json_object *external;

	json_object_object_add(iface, "external_ids", map(&external));
	for (unsigned i = 4; i < s->n; i++) {
		const char *value = strchr(s->arg[i], '=') + 1;
		char key[64];

		if (!strncmp(s->arg[i], "tag=", 4))
			json_object_object_add(port, "tag", json_object_new_int(atoi(value)));
		else if (!strncmp(s->arg[i], "mtu=", 4))
			json_object_object_add(iface, "mtu_request",
					       json_object_new_int(atoi(value)));
		if (strncmp(s->arg[i], "external:", 9))
			continue;
		snprintf(key, sizeof(key), "%.*s", (int)(value - s->arg[i]) - 10, s->arg[i] + 9);
		json_object_array_add(external, words(key, value, NULL));
	}
}

static struct json_object *add_ops(const struct step *s)
{
	struct json_object *ops = ops_begin(), *iface = json_object_new_object();
	struct json_object *port = json_object_new_object(), *options, *o;
	const char *name = s->arg[2];

	wait_bridge(ops, s->arg[1]);
	json_object_object_add(iface, "name", json_object_new_string(name));
	json_object_object_add(iface, "type", json_object_new_string("dpdkvhostuserclient"));
	json_object_object_add(iface, "options", map(&options));
	json_object_array_add(options, words("vhost-server-path", s->arg[3], NULL));
	json_object_object_add(port, "name", json_object_new_string(name));
	json_object_object_add(port, "interfaces", words("named-uuid", "iface", NULL));
	fill_rows(s, port, iface);
	insert(ops, "Interface", iface, "iface");
	insert(ops, "Port", port, "port");
	o = op(ops, "mutate", "Bridge");
	where_name(o, s->arg[1]);
	mutate(o, "insert", words("named-uuid", "port", NULL));
	return ops;
}

/* The first row that has the name; NULL if there is none. Borrowed from *result. */
static int select_row(struct db *d, const char *table, const char *name,
		      struct json_object **result, struct json_object **row, struct err *e)
{
	struct json_object *ops = ops_begin(), *rows;
	int rc;

	where_name(op(ops, "select", table), name);
	*row = *result = NULL;
	rc = transact(d, ops, result, e);
	if (rc)
		return rc;
	rows = js_at(json_object_array_get_idx(*result, 0), "rows");
	if (json_object_is_type(rows, json_type_array) && json_object_array_length(rows))
		*row = json_object_array_get_idx(rows, 0);
	return 0;
}

/* ovs-vswitchd has made the port, or said why it cannot. 1: not yet. */
static int port_state(struct db *d, const char *name, struct err *e)
{
	struct json_object *result, *row, *port;
	const char *error;
	int rc = select_row(d, "Interface", name, &result, &row, e);

	if (rc)
		return rc;
	port = js_at(row, "ofport");
	error = js_text(row, "error");
	if (!row)
		rc = err_set(e, -ENOENT, "ovs: port %s is gone", name);
	else if (error)
		rc = err_set(e, -EREMOTEIO, "ovs: port %s: %.300s", name, error);
	else if (!json_object_is_type(port, json_type_int))
		rc = 1;
	else if (json_object_get_int(port) < 0)
		rc = err_set(e, -EREMOTEIO, "ovs: port %s: ovs-vswitchd could not make it (has it "
			     "DPDK? other_config:dpdk-init)", name);
	json_object_put(result);
	return rc;
}

int ovs_port_add(const struct step *s, struct world *w, struct err *e)
{
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };
	int64_t ready = now_ms() + READY_MS;
	struct db d;
	int rc = db_open(&d, s->arg[0], e);

	if (!rc)
		rc = transact(&d, add_ops(s), NULL, e);
	if (rc == -ENODEV)
		err_set(e, rc, "ovs: there is no bridge %s", s->arg[1]);
	while (!rc) {
		rc = port_state(&d, s->arg[2], e);
		if (rc <= 0)
			break;
		rc = now_ms() < ready ? 0 : err_set(e, -ETIMEDOUT, "ovs: port %s: is in the "
			"database, but nobody makes it (is ovs-vswitchd running?)", s->arg[2]);
		nanosleep(&pause, NULL);
	}
	db_close(&d);
	return rc;
}

int ovs_port_del(const struct step *s, struct world *w, struct err *e)
{
	struct json_object *result = NULL, *row = NULL, *uuid, *where = list(), *one, *ops, *o;
	struct db d;
	int rc = db_open(&d, s->arg[0], e);

	if (!rc)
		rc = select_row(&d, "Port", s->arg[2], &result, &row, e);
	uuid = js_at(row, "_uuid");
	if (rc || !uuid) {
		json_object_put(where);
		json_object_put(result);
		db_close(&d);
		return rc;
	}
	ops = ops_begin();
	o = op(ops, "mutate", "Bridge");
	one = words("ports", "includes", NULL);
	json_object_array_add(one, json_object_get(uuid));
	json_object_array_add(where, one);
	json_object_object_add(o, "where", where);
	mutate(o, "delete", json_object_get(uuid));
	rc = transact(&d, ops, NULL, e);
	json_object_put(result);
	db_close(&d);
	return rc;
}

int ovs_port_check(const struct step *s, struct world *w, struct err *e)
{
	struct db d;
	int rc = db_open(&d, s->arg[0], e);

	if (!rc)
		rc = port_state(&d, s->arg[2], e);
	db_close(&d);
	return rc > 0 ? err_set(e, -ESTALE, "ovs: port %s: ovs-vswitchd has not made it",
				s->arg[2]) : rc;
}
