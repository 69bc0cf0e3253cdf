// SPDX-License-Identifier: Apache-2.0
// rows.c - rows of a reply as text and as JSON, by their descriptors. See words.h.
// pkg-config: json-c
#include <inttypes.h>
#include <string.h>

#include <json-c/json.h>

#include "sim/ctl/words.h"

static bool repeated(const ProtobufCFieldDescriptor *f)
{
	return f->label == PROTOBUF_C_LABEL_REPEATED;
}

static size_t count_of(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f)
{
	if (repeated(f))
		return *(const size_t *)((const char *)m + f->quantifier_offset);
	if (f->type == PROTOBUF_C_TYPE_STRING)
		return *(char *const *)((const char *)m + f->offset) != NULL;
	return *(const protobuf_c_boolean *)((const char *)m + f->quantifier_offset) != 0;
}

/* Where the i-th value of a field is; strings and messages are pointers there. */
static const void *value_at(const ProtobufCMessage *m, const ProtobufCFieldDescriptor *f, size_t i)
{
	const char *at = (const char *)m + f->offset;
	size_t size = f->type == PROTOBUF_C_TYPE_BOOL ? sizeof(protobuf_c_boolean) :
		      f->type == PROTOBUF_C_TYPE_UINT32 || f->type == PROTOBUF_C_TYPE_SINT32 ?
		      sizeof(uint32_t) : sizeof(uint64_t);

	return repeated(f) ? *(const char *const *)at + i * size : at;
}

static void value_text(const ProtobufCFieldDescriptor *f, const void *v, char *buf, size_t size)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		snprintf(buf, size, "%s", *(char *const *)v);
		break;
	case PROTOBUF_C_TYPE_BOOL:
		snprintf(buf, size, "%s", *(const protobuf_c_boolean *)v ? "on" : "off");
		break;
	case PROTOBUF_C_TYPE_UINT32:
		snprintf(buf, size, "%" PRIu32, *(const uint32_t *)v);
		break;
	case PROTOBUF_C_TYPE_SINT32:
		snprintf(buf, size, "%" PRId32, *(const int32_t *)v);
		break;
	case PROTOBUF_C_TYPE_UINT64:
		snprintf(buf, size, "%" PRIu64, *(const uint64_t *)v);
		break;
	default:
		buf[0] = 0;
	}
}

static bool is_counters(const ProtobufCFieldDescriptor *f)
{
	return f->type == PROTOBUF_C_TYPE_MESSAGE && f->descriptor == &podpci__counter__descriptor;
}

static const Podpci__Counter *counter_at(const ProtobufCMessage *m,
					 const ProtobufCFieldDescriptor *f, size_t i)
{
	return *(Podpci__Counter *const *)value_at(m, f, i);
}

/* Counters go by their names, as if they were fields of the row. */
static const char *counter_text(const ProtobufCMessage *row, const char *name, char *buf,
				size_t size)
{
	const ProtobufCMessageDescriptor *d = row->descriptor;

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];

		for (size_t j = 0; is_counters(f) && j < count_of(row, f); j++) {
			const Podpci__Counter *c = counter_at(row, f, j);

			if (!c->name || strcmp(c->name, name))
				continue;
			snprintf(buf, size, "%" PRIu64, c->value);
			return buf;
		}
	}
	return NULL;
}

const char *ctl_row_item(const ProtobufCMessage *row, const char *field, size_t i, char *buf,
			 size_t size)
{
	const ProtobufCFieldDescriptor *f =
		protobuf_c_message_descriptor_get_field_by_name(row->descriptor, field);

	if (!f && !i)
		return counter_text(row, field, buf, size);
	if (!f || f->type == PROTOBUF_C_TYPE_MESSAGE || i >= count_of(row, f))
		return NULL;
	value_text(f, value_at(row, f, i), buf, size);
	return buf;
}

const char *ctl_row_get(const ProtobufCMessage *row, const char *field, char *buf, size_t size)
{
	return ctl_row_item(row, field, 0, buf, size);
}

void ctl_row_print(const ProtobufCMessage *row, FILE *to)
{
	const ProtobufCMessageDescriptor *d = row->descriptor;
	char buf[32];

	for (unsigned i = 0; i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		size_t n = count_of(row, f);

		for (size_t j = 0; j < n && is_counters(f); j++)
			if (counter_at(row, f, j)->value)
				fprintf(to, "\n    %-24s %" PRIu64, counter_at(row, f, j)->name,
					counter_at(row, f, j)->value);
		if (!n || is_counters(f))
			continue;
		if (i)
			fprintf(to, " %s", f->name);
		for (size_t j = 0; j < n; j++) {
			const void *v = value_at(row, f, j);
			bool string = f->type == PROTOBUF_C_TYPE_STRING;

			if (!string)
				value_text(f, v, buf, sizeof(buf));
			fprintf(to, "%s%s", j ? "," : i ? " " : "",
				string ? *(char *const *)v : buf);
		}
	}
	fputc('\n', to);
}

static struct json_object *value_json(const ProtobufCFieldDescriptor *f, const void *v)
{
	switch (f->type) {
	case PROTOBUF_C_TYPE_STRING:
		return json_object_new_string(*(char *const *)v);
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)v);
	case PROTOBUF_C_TYPE_UINT32:
		return json_object_new_int64(*(const uint32_t *)v);
	case PROTOBUF_C_TYPE_SINT32:
		return json_object_new_int64(*(const int32_t *)v);
	case PROTOBUF_C_TYPE_UINT64:
		return json_object_new_uint64(*(const uint64_t *)v);
	default:
		return NULL;
	}
}

struct json_object *ctl_row_json(const ProtobufCMessage *row)
{
	const ProtobufCMessageDescriptor *d = row->descriptor;
	struct json_object *o = json_object_new_object();

	for (unsigned i = 0; o && i < d->n_fields; i++) {
		const ProtobufCFieldDescriptor *f = &d->fields[i];
		size_t n = count_of(row, f);
		struct json_object *list;

		for (size_t j = 0; j < n && is_counters(f); j++)
			json_object_object_add(o, counter_at(row, f, j)->name,
				json_object_new_uint64(counter_at(row, f, j)->value));
		if (!n || is_counters(f))
			continue;
		if (!repeated(f)) {
			json_object_object_add(o, f->name, value_json(f, value_at(row, f, 0)));
			continue;
		}
		list = json_object_new_array();
		for (size_t j = 0; list && j < n; j++)
			json_object_array_add(list, value_json(f, value_at(row, f, j)));
		json_object_object_add(o, f->name, list);
	}
	return o;
}
