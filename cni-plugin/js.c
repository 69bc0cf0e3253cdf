// SPDX-License-Identifier: Apache-2.0
// js.c - see js.h.
// pkg-config: json-c
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "sim/core/err.h"

struct js_kind {
	int (*read)(const struct js_key *k, struct json_object *v, void *at, struct err *e);
};

/* ---- words about values -------------------------------------------------------------------- */

const char *js_show(struct json_object *value, char *buf, size_t size)
{
	snprintf(buf, size, "%s",
		 json_object_to_json_string_ext(value, JSON_C_TO_STRING_NOSLASHESCAPE));
	for (char *p = buf; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return buf;
}

static int refuse(const struct js_key *k, struct json_object *v, struct err *e)
{
	char is[96];

	return err_set(e, -EINVAL, "%s: is %s, must be %s", k->name, js_show(v, is, sizeof(is)),
		       k->law);
}

bool js_printable(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			return false;
	return true;
}

bool js_name_ok(const char *text, size_t max)
{
	size_t n = strlen(text);

	if (!n || n > max || !isalnum((unsigned char)text[0]))
		return false;
	for (; *text; text++)
		if ((unsigned char)*text > 0x7f ||
		    (!isalnum((unsigned char)*text) && !strchr("_.-", *text)))
			return false;
	return true;
}

/* ---- kinds --------------------------------------------------------------------------------- */

static int read_string(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	const char *text = json_object_get_string(v);

	if (!json_object_is_type(v, json_type_string) || !js_printable(text) ||
	    strlen(text) != (size_t)json_object_get_string_len(v) || strlen(text) < k->min)
		return refuse(k, v, e);
	if (strlen(text) >= k->size)
		return err_set(e, -EINVAL, "%s: is %zu bytes long, at most %zu are possible",
			       k->name, strlen(text), k->size - 1);
	memcpy(at, text, strlen(text) + 1);
	return 0;
}

static int read_name(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	int rc = read_string(k, v, at, e);

	return rc ? rc : js_name_ok(at, k->size - 1) ? 0 : refuse(k, v, e);
}

/* Absolute and without a way back: what it begins with is where it is. */
static int read_path(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	int rc = read_string(k, v, at, e);
	const char *p = at;
	size_t n;

	if (rc)
		return rc;
	n = strlen(p);
	if (p[0] != '/' || strstr(p, "/../") || strstr(p, "/./") || strstr(p, "//") ||
	    (n >= 3 && !strcmp(p + n - 3, "/..")) || (n > 1 && p[n - 1] == '/'))
		return refuse(k, v, e);
	return 0;
}

/* The words of a configuration line are divided by commas and blanks. */
static int read_socket(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	int rc = read_path(k, v, at, e);

	return rc ? rc : strpbrk(at, ", #") ? refuse(k, v, e) : 0;
}

static int read_flag(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	bool on = json_object_get_boolean(v);

	if (!json_object_is_type(v, json_type_boolean))
		return refuse(k, v, e);
	memcpy(at, &on, sizeof(on));
	return 0;
}

static int read_number(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	int64_t n = json_object_get_int64(v);
	unsigned small = (unsigned)n;

	if (!json_object_is_type(v, json_type_int) || n < (int64_t)k->min || n > (int64_t)k->max)
		return refuse(k, v, e);
	memcpy(at, &small, sizeof(small));
	return 0;
}

static bool size_parse(const char *text, uint64_t *bytes)
{
	static const char *const units[] = { "", "Ki", "Mi", "Gi", "Ti" };
	uint64_t n = 0;
	unsigned i = 0;

	for (; isdigit((unsigned char)*text) && i < 12; i++)
		n = n * 10 + (uint64_t)(*text++ - '0');
	for (unsigned u = 0; i && u < sizeof(units) / sizeof(units[0]); u++) {
		if (strcmp(text, units[u]) || n >> (63 - 10 * u))
			continue;
		*bytes = n << (10 * u);
		return true;
	}
	return false;
}

static int read_size(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	uint64_t bytes = 0;
	bool ok;

	if (json_object_is_type(v, json_type_int)) {
		ok = json_object_get_int64(v) >= 0;
		bytes = (uint64_t)json_object_get_int64(v);
	} else {
		ok = json_object_is_type(v, json_type_string) &&
		     size_parse(json_object_get_string(v), &bytes);
	}
	if (!ok || bytes < k->min || bytes > k->max)
		return refuse(k, v, e);
	memcpy(at, &bytes, sizeof(bytes));
	return 0;
}

int js_mac_parse(const char *text, uint8_t mac[6])
{
	for (unsigned i = 0; i < 6; i++) {
		unsigned byte = 0;

		for (unsigned d = 0; d < 2; d++, text++) {
			if (!isxdigit((unsigned char)*text))
				return -EINVAL;
			byte = byte << 4 | (unsigned)(isdigit((unsigned char)*text) ? *text - '0' :
						      (*text | 0x20) - 'a' + 10);
		}
		mac[i] = (uint8_t)byte;
		if (i < 5 && *text++ != ':')
			return -EINVAL;
	}
	return *text || mac[0] & 1 || !(mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) ?
		-EINVAL : 0;
}

void js_mac_format(const uint8_t mac[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
}

static int read_mac(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	if (!json_object_is_type(v, json_type_string) ||
	    js_mac_parse(json_object_get_string(v), at))
		return refuse(k, v, e);
	return 0;
}

static int read_word(const struct js_key *k, struct json_object *v, void *at, struct err *e)
{
	const char *text = json_object_get_string(v);

	for (unsigned i = 0; json_object_is_type(v, json_type_string) && k->words[i]; i++) {
		if (strcmp(text, k->words[i]))
			continue;
		memcpy(at, &i, sizeof(i));
		return 0;
	}
	return refuse(k, v, e);
}

const struct js_kind js_string = { read_string }, js_name = { read_name },
	js_path = { read_path }, js_socket = { read_socket }, js_flag = { read_flag },
	js_number = { read_number }, js_size = { read_size }, js_mac = { read_mac },
	js_word = { read_word };

/* ---- documents ----------------------------------------------------------------------------- */

struct json_object *js_at(struct json_object *doc, const char *name)
{
	char part[64];

	while (doc) {
		size_t n = strcspn(name, ".");

		if (!json_object_is_type(doc, json_type_object) || n >= sizeof(part))
			return NULL;
		memcpy(part, name, n);
		part[n] = '\0';
		if (!json_object_object_get_ex(doc, part, &doc))
			return NULL;
		if (!name[n])
			return doc;
		name += n + 1;
	}
	return NULL;
}

const char *js_text(struct json_object *doc, const char *name)
{
	struct json_object *v = js_at(doc, name);

	return json_object_is_type(v, json_type_string) ? json_object_get_string(v) : NULL;
}

int js_take(struct json_object *value, const struct js_key *key, void *at, struct err *e)
{
	return key->kind->read(key, value, at, e);
}

int js_read(struct json_object *doc, const struct js_key *keys, unsigned n, void *base,
	    struct err *e)
{
	for (unsigned i = 0; i < n; i++) {
		struct json_object *v = js_at(doc, keys[i].name);
		int rc;

		if (!v)
			continue;
		rc = keys[i].kind->read(&keys[i], v, (char *)base + keys[i].off, e);
		if (rc)
			return rc;
	}
	return 0;
}

static size_t members(struct json_object *v)
{
	size_t n = 0;

	if (json_object_is_type(v, json_type_array))
		for (size_t i = 0; i < json_object_array_length(v); i++)
			n += members(json_object_array_get_idx(v, i));
	if (json_object_is_type(v, json_type_object)) {
		json_object_object_foreach(v, key, val) {
			(void)key;
			n += 1 + members(val);
		}
	}
	return n;
}

/* Each member has one colon outside of strings: more colons than members are keys given twice. */
static bool keys_unique(struct json_object *doc, const char *text, size_t len)
{
	bool in_string = false;
	size_t colons = 0;

	for (size_t i = 0; i < len; i++) {
		if (in_string && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			in_string = !in_string;
		else if (!in_string && text[i] == ':')
			colons++;
	}
	return colons == members(doc);
}

int js_parse(struct json_object **doc, const char *text, size_t len, struct err *e)
{
	struct json_tokener *t = json_tokener_new_ex(JS_DEPTH_MAX);
	struct json_object *v;
	int rc = 0;

	if (!t)
		return err_set(e, -ENOMEM, "JSON: out of memory");
	if (len > JS_TEXT_MAX) {
		json_tokener_free(t);
		return err_set(e, -EBADMSG, "JSON: longer than %u bytes", JS_TEXT_MAX);
	}
	json_tokener_set_flags(t, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
	/* With its terminator: a number at the end is then whole. */
	v = json_tokener_parse_ex(t, text, (int)len + 1);
	if (json_tokener_get_error(t) != json_tokener_success)
		rc = err_set(e, -EBADMSG, "JSON: %s at byte %zu",
			     json_tokener_error_desc(json_tokener_get_error(t)),
			     json_tokener_get_parse_end(t));
	else if (strlen(text) != len)
		rc = err_set(e, -EBADMSG, "JSON: a NUL byte inside");
	else if (!json_object_is_type(v, json_type_object))
		rc = err_set(e, -EBADMSG, "JSON: not an object");
	else if (!keys_unique(v, text, len))
		rc = err_set(e, -EBADMSG, "JSON: a key is given twice");
	json_tokener_free(t);
	if (rc)
		json_object_put(v);
	else
		*doc = v;
	return rc;
}

/* ---- reading ------------------------------------------------------------------------------- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int wait_for(int fd, int64_t deadline)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int64_t left = deadline - now_ms();
	int n = poll(&p, 1, left > 0 ? (int)left : 0);

	if (n < 0)
		return -errno;		/* EINTR: we were told to stop */
	return n ? 0 : -ETIMEDOUT;
}

int js_slurp(int fd, char **text, size_t *len, unsigned wait_ms, struct err *e)
{
	int64_t deadline = now_ms() + wait_ms;
	size_t room = 4096, n = 0;
	char *buf = malloc(room);
	int rc = buf ? 0 : -ENOMEM;

	while (!rc) {
		ssize_t got;

		if (n + 1 == room) {
			char *more = n > JS_TEXT_MAX ? NULL : realloc(buf, room * 4);

			rc = more ? 0 : n > JS_TEXT_MAX ? -EFBIG : -ENOMEM;
			if (rc)
				break;
			buf = more;
			room *= 4;
		}
		rc = wait_for(fd, deadline);
		if (rc)
			break;
		got = read(fd, buf + n, room - n - 1);
		if (got < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (got <= 0) {
			rc = got ? -errno : 0;
			break;
		}
		n += (size_t)got;
	}
	if (rc) {
		free(buf);
		return err_set(e, rc, "cannot be read: %s", strerror(-rc));
	}
	buf[n] = '\0';
	*text = buf;
	*len = n;
	return 0;
}

int js_load(int dirfd, const char *path, struct json_object **doc, struct err *e)
{
	int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	char *text = NULL;
	size_t len = 0;
	int rc = 0;

	if (fd < 0)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		rc = err_set(e, -EINVAL, "%s: is not a regular file", path);
	if (!rc)
		rc = js_slurp(fd, &text, &len, 2000, e);
	close(fd);
	if (!rc)
		rc = js_parse(doc, text, len, e);
	free(text);
	return rc ? err_wrap(e, rc, "%s", path) : 0;
}
