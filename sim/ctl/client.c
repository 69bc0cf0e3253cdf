// SPDX-License-Identifier: Apache-2.0
// client.c - include/ctlapi.h.
// pkg-config: json-c
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include "include/ctlapi.h"
#include "sim/core/err.h"
#include "sim/ctl/frame.h"
#include "sim/ctl/words.h"

struct ctl {
	int fd;
	unsigned timeout_ms;
	struct ctl_buf in, out;
};

struct ctl_rows {
	Podpci__Reply **reply;
	size_t replies, room;
	const ProtobufCMessage **row;	/* into the replies */
	size_t rows, row_room;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int ctl_open(struct ctl **out, const char *path, unsigned timeout_ms, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct ctl *c;
	int rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return err_set(e, -ENAMETOOLONG, "%s: a socket's path has at most %zu bytes",
			       path, sizeof(a.sun_path) - 1);
	memcpy(a.sun_path, path, strlen(path) + 1);
	c = calloc(1, sizeof(*c));
	if (!c)
		return err_set(e, -ENOMEM, "out of memory");
	c->timeout_ms = timeout_ms;
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		rc = err_set(e, -errno, "%s: %s", path, strerror(errno));
		goto fail;
	}
	if (ctl_buf_new(&c->in, CTL_HEAD + CTL_REPLY_MAX) ||
	    ctl_buf_new(&c->out, CTL_HEAD + CTL_REQUEST_MAX)) {
		rc = err_set(e, -ENOMEM, "out of memory");
		goto fail;
	}
	*out = c;
	return 0;
fail:
	ctl_close(c);
	return rc;
}

void ctl_close(struct ctl *c)
{
	if (!c)
		return;
	if (c->fd >= 0)
		close(c->fd);
	ctl_buf_free(&c->in);
	ctl_buf_free(&c->out);
	free(c);
}

int ctl_fd(const struct ctl *c)
{
	return c->fd;
}

static int wait_readable(struct ctl *c, int64_t deadline_ms)
{
	struct pollfd p = { .fd = c->fd, .events = POLLIN };
	int n;

	do {	/* a signal is no answer: read() would wait for ever */
		int64_t left = deadline_ms - now_ms();

		n = poll(&p, 1, left > 0 ? (int)left : 0);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n ? 0 : -ETIMEDOUT;
}

static int read_reply(struct ctl *c, int64_t deadline_ms, Podpci__Reply **r, struct err *e)
{
	const uint8_t *p;
	size_t len;
	int rc;

	for (;;) {
		rc = ctl_frame_next(&c->in, CTL_REPLY_MAX, &p, &len);
		if (rc < 0)
			return err_set(e, rc, "the answer is malformed");
		if (rc)
			break;
		rc = wait_readable(c, deadline_ms);
		if (rc)
			return err_set(e, rc, "no answer: %s", strerror(-rc));
		rc = ctl_buf_read(&c->in, c->fd);
		if (rc == 0)
			rc = -ECONNRESET;
		if (rc < 0)
			return err_set(e, rc, "the other end hung up: %s", strerror(-rc));
	}
	*r = podpci__reply__unpack(NULL, len, p);
	return *r ? 0 : err_set(e, -EPROTO, "the answer is malformed");
}

static int grow(void **list, size_t *room, size_t want, size_t size)
{
	size_t n = *room ? *room * 2 : 64;
	void *p;

	if (want <= *room)
		return 0;
	if (want > CTL_ROWS_MAX)
		return -E2BIG;
	p = realloc(*list, n * size);
	if (!p)
		return -ENOMEM;
	*list = p;
	*room = n;
	return 0;
}

/* Takes the reply; its rows are all its repeated messages. */
static int rows_add(struct ctl_rows *rows, Podpci__Reply *r)
{
	const ProtobufCMessageDescriptor *d = &podpci__reply__descriptor;
	int rc = grow((void **)&rows->reply, &rows->room, rows->replies + 1, sizeof(*rows->reply));

	if (rc) {
		podpci__reply__free_unpacked(r, NULL);
		return rc;
	}
	rows->reply[rows->replies++] = r;
	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		size_t n;

		if (f->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		n = *(size_t *)((char *)r + f->quantifier_offset);
		for (size_t j = 0; j < n; j++) {
			rc = grow((void **)&rows->row, &rows->row_room, rows->rows + 1,
				  sizeof(*rows->row));
			if (rc)
				return rc;
			rows->row[rows->rows++] =
				(*(ProtobufCMessage ***)((char *)r + f->offset))[j];
		}
	}
	return 0;
}

static int send_request(struct ctl *c, const char *const *words, unsigned n, struct err *e)
{
	Podpci__Request *q;
	uint8_t *to;
	int rc = ctl_words_parse(words, n, &q, e);

	if (rc)
		return rc;
	to = ctl_frame_add(&c->out, podpci__request__get_packed_size(q));
	if (to)
		podpci__request__pack(q, to);
	ctl_words_free(q);
	if (!to)
		return err_set(e, -EMSGSIZE, "the command is too long");
	rc = ctl_buf_write(&c->out, c->fd);
	return rc ? err_set(e, rc, "nobody listens: %s", strerror(-rc)) : 0;
}

int ctl_call(struct ctl *c, const char *const *words, unsigned n, struct ctl_rows **out,
	     struct err *e)
{
	struct ctl_rows *rows = calloc(1, sizeof(*rows));
	int64_t deadline = now_ms() + c->timeout_ms;
	Podpci__Reply *r = NULL;
	int rc;

	if (!rows)
		return err_set(e, -ENOMEM, "out of memory");
	rc = send_request(c, words, n, e);
	for (bool more = true; more && !rc;) {
		rc = read_reply(c, deadline, &r, e);
		if (rc)
			break;
		more = r->has_more && r->more;
		if (r->has_code && r->code < 0)
			rc = err_set(e, r->code, "%s", r->error ? r->error : strerror(-r->code));
		if (rows_add(rows, r) && !rc)
			rc = err_set(e, -ENOMEM, "the answer is too large");
	}
	if (rc || !out)
		ctl_rows_free(rows);
	else
		*out = rows;
	return rc;
}

int ctl_rows_join(struct ctl_rows *to, struct ctl_rows *from)
{
	int rc = 0;

	for (size_t i = 0; i < from->replies; i++) {
		int one = rows_add(to, from->reply[i]);

		rc = rc ? rc : one;
	}
	from->replies = 0;
	ctl_rows_free(from);
	return rc;
}

size_t ctl_rows_count(const struct ctl_rows *r)
{
	return r->rows;
}

const char *ctl_rows_get(const struct ctl_rows *r, size_t row, const char *field, char *buf,
			 size_t size)
{
	return row < r->rows ? ctl_row_get(r->row[row], field, buf, size) : NULL;
}

const char *ctl_rows_item(const struct ctl_rows *r, size_t row, const char *field, size_t i,
			  char *buf, size_t size)
{
	return row < r->rows ? ctl_row_item(r->row[row], field, i, buf, size) : NULL;
}

static int print_json(const struct ctl_rows *r, FILE *to)
{
	struct json_object *list = json_object_new_array();

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < r->rows; i++)
		json_object_array_add(list, ctl_row_json(r->row[i]));
	fprintf(to, "%s\n", json_object_to_json_string_ext(list,
		JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(list);
	return 0;
}

int ctl_rows_print(const struct ctl_rows *r, FILE *to, bool json)
{
	int rc = 0;

	if (json)
		rc = print_json(r, to);
	for (size_t i = 0; !json && i < r->rows; i++)
		ctl_row_print(r->row[i], to);
	return rc ? rc : fflush(to) || ferror(to) ? -EIO : 0;
}

void ctl_rows_free(struct ctl_rows *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->replies; i++)
		podpci__reply__free_unpacked(r->reply[i], NULL);
	free(r->reply);
	free(r->row);
	free(r);
}
