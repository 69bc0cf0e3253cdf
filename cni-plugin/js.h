/* SPDX-License-Identifier: Apache-2.0 */
/*
 * js.h - JSON from a stranger, strictly: bounded, whole, valid UTF-8, each key once.
 *
 * Fields of a document are read by tables: a row names a key ("ovs.bridge": nested), where its
 * value goes and what it must be. An absent key leaves the field as it is; a key with a wrong
 * value is an error that names it. Nothing is taken for something else.
 */
#ifndef CNI_PLUGIN_JS_H
#define CNI_PLUGIN_JS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <json-c/json.h>

#define JS_TEXT_MAX  (1u << 20)		/* bytes of a document */
#define JS_DEPTH_MAX 32

struct err;
struct js_kind;

struct js_key {
	const char           *name;
	const struct js_kind *kind;
	size_t                off, size;	/* the field */
	uint64_t              min, max;
	const char           *law;	/* what a value must be, for messages */
	const char *const    *words;	/* js_word: NULL-terminated, the field is an unsigned */
};

/* A string that fits; of these a name has only [A-Za-z0-9_.-], and a path is absolute. */
extern const struct js_kind js_string, js_name, js_path, js_socket;
extern const struct js_kind js_flag;	/* bool */
extern const struct js_kind js_number;	/* unsigned, min..max */
extern const struct js_kind js_size;	/* uint64_t: bytes, as a number or "512Mi" */
extern const struct js_kind js_mac;	/* uint8_t[6], unicast */
extern const struct js_kind js_word;

#define JS_FIELD(type, member) offsetof(type, member), sizeof(((type *)0)->member)

/* The document is the caller's (json_object_put). -EBADMSG: it is none. */
int js_parse(struct json_object **doc, const char *text, size_t len, struct err *e);

/* -EINVAL names the key, the value and what it must be. */
int js_read(struct json_object *doc, const struct js_key *keys, unsigned n, void *base,
	    struct err *e);

/* One value that is at hand, as by a row. */
int js_take(struct json_object *value, const struct js_key *key, void *at, struct err *e);

/* Borrowed; NULL where there is none or it is null. "a.b" descends. */
struct json_object *js_at(struct json_object *doc, const char *name);
/* The string there, or NULL if there is none. */
const char *js_text(struct json_object *doc, const char *name);
/* The value in one line for a message, cut to size and without control characters. */
const char *js_show(struct json_object *value, char *buf, size_t size);

/* *text is from malloc, terminated, *len bytes. -EFBIG past JS_TEXT_MAX, -ETIMEDOUT by wait_ms. */
int js_slurp(int fd, char **text, size_t *len, unsigned wait_ms, struct err *e);
/* A regular file; never blocks on what is none. */
int js_load(int dirfd, const char *path, struct json_object **doc, struct err *e);

int  js_mac_parse(const char *text, uint8_t mac[6]);
void js_mac_format(const uint8_t mac[6], char text[18]);
bool js_name_ok(const char *text, size_t max);	/* [A-Za-z0-9][A-Za-z0-9_.-]*, at most max bytes */
bool js_printable(const char *text);

#endif
