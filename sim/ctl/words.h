/* SPDX-License-Identifier: Apache-2.0 */
/*
 * words.h - words of a command line <-> messages, by the descriptors the .proto gives.
 *
 * "port add p0 socket /run/p0 mtu 1500" names a body of Request ("port_add") and then its
 * message's fields; the first field (of a message with two, both) may be given without its
 * name. Nothing here knows a verb.
 */
#ifndef SIM_CTL_WORDS_H
#define SIM_CTL_WORDS_H

#include <stdbool.h>
#include <stdio.h>

#include <switch.pb-c.h>

struct err;

/* Fills *q (free with ctl_words_free()) from n words. -EINVAL names the word and what fits. */
int  ctl_words_parse(const char *const *words, unsigned n, Podpci__Request **q, struct err *e);
void ctl_words_free(Podpci__Request *q);

/* A row as one line of text, or with its counters below; a field of it as text (NULL: absent). */
void ctl_row_print(const ProtobufCMessage *row, FILE *to);
const char *ctl_row_get(const ProtobufCMessage *row, const char *field, char *buf, size_t size);
/* The i-th value of a repeated one; NULL past the last. */
const char *ctl_row_item(const ProtobufCMessage *row, const char *field, size_t i, char *buf,
			 size_t size);

/* A row as a JSON object (json-c), owned by the caller; NULL without memory. */
struct json_object;
struct json_object *ctl_row_json(const ProtobufCMessage *row);

#endif
