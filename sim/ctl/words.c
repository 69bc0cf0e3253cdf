// SPDX-License-Identifier: Apache-2.0
// words.c - see words.h. Command line to request.
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/err.h"
#include "sim/ctl/words.h"

#define NAME_MAX_LEN 64

/* Words that mean another, as iproute2 has them. */
static const struct { const char *word, *means; } synonyms[] = {
	{ "list", "show" }, { "lst", "show" }, { "ls", "show" }, { "delete", "del" },
	{ "remove", "del" }, { "change", "set" }, { "new", "add" },
};

static const char *plain(const char *word)
{
	for (size_t i = 0; i < sizeof(synonyms) / sizeof(synonyms[0]); i++)
		if (!strcmp(word, synonyms[i].word))
			return synonyms[i].means;
	return word;
}

/* "in-bytes" and "in_bytes" are the same field. */
static const ProtobufCFieldDescriptor *field_of(const ProtobufCMessageDescriptor *d,
						const char *word)
{
	char name[NAME_MAX_LEN];
	size_t n = strlen(word);

	if (n >= sizeof(name))
		return NULL;
	for (size_t i = 0; i <= n; i++)
		name[i] = word[i] == '-' ? '_' : word[i];
	return protobuf_c_message_descriptor_get_field_by_name(d, name);
}

static const ProtobufCFieldDescriptor *body_of(const char *object, const char *action)
{
	char name[NAME_MAX_LEN];

	if ((size_t)snprintf(name, sizeof(name), "%s_%s", object, action) >= sizeof(name))
		return NULL;
	return field_of(&podpci__request__descriptor, name);
}

/*
 * Which body the first words name, and how many they were. "stats" and "stats p0" are
 * "stats show", "loopback on" is "loopback set on", "show" is "switch show".
 */
static const ProtobufCFieldDescriptor *find_body(const char *const *words, unsigned n,
						 unsigned *used)
{
	static const char *const fallbacks[] = { "show", "set" };
	const ProtobufCFieldDescriptor *f;

	if (!n)
		return NULL;
	*used = 1;
	f = body_of("switch", plain(words[0]));
	if (f)
		return f;
	if (n > 1) {
		*used = 2;
		f = body_of(words[0], words[1]);
		if (!f)
			f = body_of(words[0], plain(words[1]));
		if (f)
			return f;
	}
	*used = 1;
	for (size_t i = 0; i < sizeof(fallbacks) / sizeof(fallbacks[0]) && !f; i++)
		f = body_of(words[0], fallbacks[i]);
	return f;
}

static int parse_bool(const char *word, protobuf_c_boolean *to)
{
	static const char *const yes[] = { "on", "yes", "true", "1" };
	static const char *const no[] = { "off", "no", "false", "0" };

	for (unsigned i = 0; i < 4; i++) {
		if (!strcmp(word, yes[i]) || !strcmp(word, no[i])) {
			*to = !strcmp(word, yes[i]);
			return 0;
		}
	}
	return -EINVAL;
}

/* A decimal number, with k, m or g for thousands, millions, thousands of millions. */
static int parse_number(const char *word, uint64_t max, uint64_t *to)
{
	static const struct { char unit; uint64_t times; } units[] = {
		{ 'k', 1000 }, { 'm', 1000000 }, { 'g', 1000000000 },
	};
	uint64_t times = 1;
	char *end;

	if (word[0] < '0' || word[0] > '9')
		return -EINVAL;
	errno = 0;
	*to = strtoull(word, &end, 10);
	if (errno)
		return -ERANGE;
	for (unsigned i = 0; i < 3 && *end; i++) {
		if ((*end | 0x20) == units[i].unit && !end[1]) {
			times = units[i].times;
			end++;
		}
	}
	if (*end)
		return -EINVAL;
	if (*to > max / times)
		return -ERANGE;
	*to *= times;
	return 0;
}

static int set_field(ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, const char *word)
{
	char *at = (char *)m + f->offset;
	uint64_t number;
	char *copy;
	int rc;

	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		copy = strdup(word);
		if (!copy)
			return -ENOMEM;
		free(*(char **)at);
		*(char **)at = copy;
		return 0;
	case PROTOBUF_C_TYPE_BOOL:
		rc = parse_bool(word, (protobuf_c_boolean *)at);
		break;
	case PROTOBUF_C_TYPE_UINT32:
		rc = parse_number(word, UINT32_MAX, &number);
		if (!rc)
			*(uint32_t *)at = (uint32_t)number;
		break;
	case PROTOBUF_C_TYPE_UINT64:
		rc = parse_number(word, UINT64_MAX, (uint64_t *)at);
		break;
	default:
		return -ENOTSUP;
	}
	if (!rc)
		*(protobuf_c_boolean *)((char *)m + f->quantifier_offset) = 1;
	return rc;
}

static const char *kind_of(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_BOOL ? "on or off" :
	       f->type == PROTOBUF_C_TYPE_STRING ? "a word" : "a number";
}

static void names_of(const ProtobufCMessageDescriptor *d, char *buf, size_t size)
{
	size_t n = 0;

	buf[0] = 0;
	for (unsigned i = 0; i < d->n_fields && n < size; i++)
		n += (size_t)snprintf(buf + n, size - n, "%s%s", i ? ", " : "", d->fields[i].name);
}

/* Leading words that need no name in front: the first field, or all of a short message. */
static unsigned unnamed_max(const ProtobufCMessageDescriptor *d)
{
	return d->n_fields <= 2 ? d->n_fields : 1;
}

static int fill(ProtobufCMessage *m, const char *const *words, unsigned n, struct err *e)
{
	const ProtobufCMessageDescriptor *d = m->descriptor;
	char names[400];

	for (unsigned i = 0; i < n;) {
		const ProtobufCFieldDescriptor *f = field_of(d, words[i]);
		const char *value;

		if (!f && i < unnamed_max(d)) {
			f = &d->fields[i];
			value = words[i++];
		} else if (!f) {
			names_of(d, names, sizeof(names));
			return err_set(e, -EINVAL, "\"%s\"? known here: %s", words[i],
				       d->n_fields ? names : "nothing");
		} else if (i + 1 == n) {
			return err_set(e, -EINVAL, "%s wants %s", words[i], kind_of(f));
		} else {
			value = words[i + 1];
			i += 2;
		}
		if (set_field(m, f, value))
			return err_set(e, -EINVAL, "%s wants %s, not \"%s\"", f->name, kind_of(f),
				       value);
	}
	return 0;
}

int ctl_words_parse(const char *const *words, unsigned n, Podpci__Request **out, struct err *e)
{
	const ProtobufCFieldDescriptor *f;
	const ProtobufCMessageDescriptor *d;
	ProtobufCMessage *body;
	Podpci__Request *q;
	unsigned used = 0;
	int rc;

	f = find_body(words, n, &used);
	if (!f)
		return err_set(e, -EINVAL, n ? "\"%s %s\": no such command" : "no command",
			       n ? words[0] : "", n > 1 ? words[1] : "");
	d = f->descriptor;
	q = calloc(1, sizeof(*q));
	body = calloc(1, d->sizeof_message);
	if (!q || !body) {
		free(q);
		free(body);
		return err_set(e, -ENOMEM, "out of memory");
	}
	podpci__request__init(q);
	d->message_init(body);
	*(ProtobufCMessage **)((char *)q + f->offset) = body;
	q->body_case = (Podpci__Request__BodyCase)f->id;
	rc = fill(body, words + used, n - used, e);
	if (rc) {
		ctl_words_free(q);
		return rc;
	}
	*out = q;
	return 0;
}

void ctl_words_free(Podpci__Request *q)
{
	if (q)
		podpci__request__free_unpacked(q, NULL);
}
