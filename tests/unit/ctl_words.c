// SPDX-License-Identifier: Apache-2.0
// ctl_words.c - command lines to requests, and rows to text and JSON.
// pkg-config: json-c
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <json-c/json.h>

#include "include/ctlapi.h"
#include "sim/core/err.h"
#include "sim/ctl/words.h"
#include "tests/unit/cu.h"

#define WORDS_MAX 24

static int parse(const char *line, Podpci__Request **q, struct err *e)
{
	static char copy[512];
	const char *words[WORDS_MAX];
	unsigned n = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	for (char *w = strtok(copy, " "); w && n < WORDS_MAX; w = strtok(NULL, " "))
		words[n++] = w;
	return ctl_words_parse(words, n, q, e);
}

static void a_port_is_described_by_names_and_values(void)
{
	Podpci__Request *q;
	struct err e;

	CU_EQ(parse("port add p0 socket /run/p0.sock mtu 1500 in-bytes 10m isolated on", &q, &e),
	      0);
	CU_EQ(q->body_case, PODPCI__REQUEST__BODY_PORT_ADD);
	CU_ASSERT_STRING_EQUAL(q->port_add->name, "p0");
	CU_ASSERT_STRING_EQUAL(q->port_add->socket, "/run/p0.sock");
	CU_EQ(q->port_add->has_mtu, 1);
	CU_EQ(q->port_add->mtu, 1500);
	CU_EQ(q->port_add->in_bytes, 10000000);
	CU_EQ(q->port_add->isolated, 1);
	CU_EQ(q->port_add->has_learning, 0);
	ctl_words_free(q);
}

static void short_forms_mean_what_they_say(void)
{
	static const struct { const char *line; int body; } t[] = {
		{ "port", PODPCI__REQUEST__BODY_PORT_SHOW },
		{ "port list p1", PODPCI__REQUEST__BODY_PORT_SHOW },
		{ "stats", PODPCI__REQUEST__BODY_STATS_SHOW },
		{ "stats p1", PODPCI__REQUEST__BODY_STATS_SHOW },
		{ "fdb p1 vlan 5", PODPCI__REQUEST__BODY_FDB_SHOW },
		{ "loopback off", PODPCI__REQUEST__BODY_LOOPBACK_SET },
		{ "mode p1 +broadcast", PODPCI__REQUEST__BODY_MODE_SET },
		{ "pool default drop", PODPCI__REQUEST__BODY_POOL_DEFAULT },
		{ "port delete p1", PODPCI__REQUEST__BODY_PORT_DEL },
		{ "show", PODPCI__REQUEST__BODY_SWITCH_SHOW },
		{ "set mode poll", PODPCI__REQUEST__BODY_SWITCH_SET },
	};
	Podpci__Request *q;
	struct err e;

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		CU_EQ(parse(t[i].line, &q, &e), 0);
		CU_EQ(q->body_case, t[i].body);
		ctl_words_free(q);
	}
}

static void nonsense_is_refused_by_name(void)
{
	static const struct { const char *line, *says; } t[] = {
		{ "", "no command" }, { "prot add p0", "\"prot add\"" },
		{ "port add p0 mtu", "mtu wants a number" },
		{ "port add p0 mtu 15x", "mtu wants a number, not \"15x\"" },
		{ "port add p0 mtu 4294967296", "mtu wants" },
		{ "port add p0 mtu -1", "mtu wants" },
		{ "port add p0 in-bytes 99999999999999999999", "in_bytes wants" },
		{ "port add p0 in-bytes 99999999999999g", "in_bytes wants" },
		{ "port add p0 uplink maybe", "uplink wants on or off" },
		{ "port add p0 colour red", "\"colour\"? known here: name, kind, socket" },
		{ "show me", "\"me\"? known here: nothing" },
	};
	Podpci__Request *q;
	struct err e;

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		e.msg[0] = 0;
		CU_EQ(parse(t[i].line, &q, &e), -EINVAL);
		CU_ASSERT_PTR_NOT_NULL(strstr(e.msg, t[i].says));
	}
}

static void every_command_has_help_and_every_help_a_command(void)
{
	const ProtobufCMessageDescriptor *d = &podpci__request__descriptor;
	const char *verb, *args, *help;
	unsigned n = 0;

	while ((verb = ctl_verb(n, &args, &help))) {
		char name[64];

		snprintf(name, sizeof(name), "%s", verb);
		*strchr(name, ' ') = '_';
		CU_ASSERT_PTR_NOT_NULL(protobuf_c_message_descriptor_get_field_by_name(d, name));
		CU_ASSERT(help[0]);
		n++;
	}
	CU_EQ(n, d->n_fields);
}

static void rows_print_as_text_and_as_json(void)
{
	Podpci__PortRow p = PODPCI__PORT_ROW__INIT;
	Podpci__StatsRow s = PODPCI__STATS_ROW__INIT;
	Podpci__Counter c[2] = { PODPCI__COUNTER__INIT, PODPCI__COUNTER__INIT };
	Podpci__Counter *list[2] = { &c[0], &c[1] };
	char a[] = "a", b[] = "b", quote[] = "b\"\n", p0[] = "p0", in[] = "in", none[] = "none";
	char *macs[2] = { a, b }, out[512] = "", buf[16];
	FILE *f = fmemopen(out, sizeof(out), "w");
	struct json_object *o;

	p.name = p0;
	p.has_mtu = 1;
	p.mtu = 1500;
	p.has_uplink = 1;
	p.n_macs = 2;
	p.macs = macs;
	ctl_row_print(&p.base, f);
	c[0].name = in;
	c[0].has_value = c[1].has_value = 1;
	c[0].value = UINT64_MAX;
	c[1].name = none;
	s.name = p0;
	s.n_counter = 2;
	s.counter = list;
	ctl_row_print(&s.base, f);
	fclose(f);
	CU_ASSERT_STRING_EQUAL(out, "p0 mtu 1500 macs a,b uplink off\n"
		"p0\n    in                       18446744073709551615\n");
	macs[1] = quote;
	o = ctl_row_json(&p.base);
	CU_ASSERT_STRING_EQUAL(json_object_to_json_string_ext(o, 0),
		"{\"name\":\"p0\",\"mtu\":1500,\"macs\":[\"a\",\"b\\\"\\n\"],\"uplink\":false}");
	json_object_put(o);
	o = ctl_row_json(&s.base);
	CU_ASSERT_STRING_EQUAL(json_object_to_json_string_ext(o, 0),
		"{\"name\":\"p0\",\"in\":18446744073709551615,\"none\":0}");
	json_object_put(o);
	CU_ASSERT_STRING_EQUAL(ctl_row_get(&p.base, "mtu", buf, sizeof(buf)), "1500");
	CU_ASSERT_PTR_NULL(ctl_row_get(&p.base, "pvid", buf, sizeof(buf)));
	CU_ASSERT_PTR_NULL(ctl_row_get(&p.base, "nothing", buf, sizeof(buf)));
}

CU_MAIN("ctl/words",
	T(a_port_is_described_by_names_and_values),
	T(short_forms_mean_what_they_say),
	T(nonsense_is_refused_by_name),
	T(every_command_has_help_and_every_help_a_command),
	T(rows_print_as_text_and_as_json))
