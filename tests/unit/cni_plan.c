// SPDX-License-Identifier: Apache-2.0
// cni_plan.c - the CNI plugin's pure parts: what is recorded leads to the plan that ADD had, names
// do not meet, plans are bounded, and what the kernel or an IPAM plugin says is read as it is.
// pkg-config: json-c
#include <errno.h>
#include <string.h>

#include <linux/netlink.h>

#include "cni-plugin/js.h"
#include "cni-plugin/netns.h"
#include "cni-plugin/record.h"
#include "cni-plugin/result.h"
#include "sim/core/err.h"
#include "tests/unit/cu.h"

static struct node node = {
	.state = "/run/podpci/cni", .control = "/run/podpci/switch.ctl", .ovs = "/run/ovs.sock",
	.library = "/usr/lib/libpodpci.so", .socket_dirs = { "/run/vhost" }, .socket_dirs_n = 1,
	.backends = 7, .attachments = 64, .huge_max = 1ull << 40,
};

static struct request request = {
	.container = "c1", .ifname = "net1", .netns = "/run/netns/a", .pod_name = "p",
	.pod_namespace = "default",
};

/* Quotes are apostrophes, so that it can be read. */
static int parse(struct netconf *c, const char *text, struct err *e)
{
	struct json_object *doc = NULL;
	char copy[1024];

	snprintf(copy, sizeof(copy), "{'cniVersion':'1.1.0','name':'n','type':'podpci-cni'%s}",
		 text);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	CU_EQ_FATAL(js_parse(&doc, copy, strlen(copy), e), 0);
	return netconf_parse(c, doc, &node, e);
}

static void print_plan(const struct attach *a, char *to, size_t size)
{
	static struct plan p;
	FILE *f = fmemopen(to, size, "w");
	struct err e;

	CU_EQ(plan_attach(&p, a, &e), 0);
	plan_print(&p, f);
	fclose(f);
}

static void a_record_leads_to_the_plan_it_was_made_by(void)
{
	static const char *const confs[] = {
		"", ",'mtu':9000,'vlan':7,'isolated':true,'spoofcheck':false,'queues':4",
		",'backend':'ovs','ovs':{'bridge':'br','ifaceId':'{namespace}.{pod}'},'mtu':1400",
		",'backend':'socket','socket':{'path':'/run/vhost/{pod}.sock','mode':'server'}",
		",'host':{'engine':'ovs-dpdk','bridge':{'bridgeName':'b','vlanId':3}}",
		",'netdev':true,'ipam':{'type':'static'},'memory':{'backing':'tmpfs'}",
		",'memory':{'size':'64Mi','reserve':'2Mi'},'mac':'52:54:00:00:00:01'",
		",'prevResult':{'interfaces':[]},'device':'dp0','netdev':true",
		",'runtimeConfig':{'mac':'52:54:00:00:00:02','CNIDeviceInfoFile':'/run/x/y'}",
	};
	static char was[4096], is[4096];

	for (size_t i = 0; i < ARRAY_SIZE(confs); i++) {
		struct settled none = { 0 };
		struct json_object *doc = NULL, *made;
		struct recorded r;
		struct netconf c;
		struct attach a;
		struct err e;
		const char *text;

		CU_EQ_FATAL(parse(&c, confs[i], &e), 0);
		CU_EQ_FATAL(attach_derive(&a, &node, &c, &request, &none, NULL, 0, &e), 0);
		print_plan(&a, was, sizeof(was));
		made = record_make(&a, 5, 6);
		text = json_object_to_json_string(made);
		CU_EQ_FATAL(js_parse(&doc, text, strlen(text), &e), 0);
		json_object_put(made);
		CU_EQ_FATAL(record_read(&r, &node, doc, &e), 0);
		print_plan(&r.attach, is, sizeof(is));
		CU_ASSERT_STRING_EQUAL(is, was);
		CU_EQ(memcmp(r.attach.mac, a.mac, 6), 0);
		CU_EQ(r.pid, 5);
		CU_EQ(r.ready, false);
		record_free(&r);
		netconf_free(&c);
	}
}

static void devices_of_a_container_never_meet(void)
{
	static struct settled others[60];
	struct netconf c;
	struct err e;

	CU_EQ_FATAL(parse(&c, "", &e), 0);
	for (unsigned n = 0; n < ARRAY_SIZE(others); n++) {
		struct request q = request;
		struct settled none = { 0 };
		struct attach a;

		snprintf(q.ifname, sizeof(q.ifname), "net%u", n);
		CU_EQ_FATAL(attach_derive(&a, &node, &c, &q, &none, others, n, &e), 0);
		for (unsigned i = 0; i < n; i++) {
			CU_ASSERT(strcmp(others[i].bdf, a.bdf) && strcmp(others[i].id, a.id));
			CU_ASSERT(memcmp(others[i].mac, a.mac, 6));
		}
		others[n].have = true;
		memcpy(others[n].mac, a.mac, 6);
		memcpy(others[n].bdf, a.bdf, sizeof(a.bdf));
		memcpy(others[n].id, a.id, sizeof(a.id));
	}
	CU_ASSERT_STRING_EQUAL(others[ARRAY_SIZE(others) - 1].bdf, "0000:01:1f.0");
	netconf_free(&c);
}

static void a_device_is_not_named_as_what_is_beside_it(void)
{
	struct settled none = { 0 };
	struct request q = request;
	struct netconf c;
	struct attach a;
	struct err e;

	snprintf(q.ifname, sizeof(q.ifname), "plugs");
	CU_EQ_FATAL(parse(&c, "", &e), 0);
	CU_EQ_FATAL(attach_derive(&a, &node, &c, &q, &none, NULL, 0, &e), 0);
	CU_ASSERT_STRING_EQUAL(a.id, "podpci0");
	netconf_free(&c);
}

static void a_plan_holds_all_that_a_container_may_have(void)
{
	static struct attach a[ATTACH_MAX];
	static struct plan p;
	static char text[PLAN_TEXT_MAX];
	static struct told told = { .network = text };
	static const struct container box = { .uid = 1000, .mapped_dir = "/shared" };
	struct settled none = { 0 };
	struct request q = request;
	struct netconf c;
	struct err e;

	snprintf(q.ifname, sizeof(q.ifname), "%s", "fifteen-letters");
	memset(text, 'x', sizeof(text) - 1);	/* a file's text takes no room of the plan's */
	CU_EQ_FATAL(parse(&c, "", &e), 0);
	CU_EQ_FATAL(attach_derive(&a[0], &node, &c, &q, &none, NULL, 0, &e), 0);
	for (unsigned i = 0; i < ATTACH_MAX; i++) {
		a[i] = a[0];
		told.userspace[i] = text;
	}
	for (unsigned n = 1; n <= ATTACH_MAX; n++) {
		CU_EQ(plan_inject(&p, a, n, &box, &told, &e), 0);
		CU_ASSERT(p.n <= PLAN_STEPS_MAX && p.used <= PLAN_TEXT_MAX);
		CU_EQ(p.step[p.n - 1].op, OP_LEAVE);
	}
	netconf_free(&c);
}

static void addresses_are_what_they_look_like(void)
{
	static const struct { const char *text; int version; unsigned bits; } t[] = {
		{ "10.1.2.3/24", 4, 24 }, { "0.0.0.0/0", 4, 0 }, { "10.1.2.3/32", 4, 32 },
		{ "fd00::1/64", 6, 64 }, { "::/128", 6, 128 }, { "10.1.2.3/33", 0, 0 },
		{ "fd00::1/129", 0, 0 }, { "10.1.2.3", 0, 0 }, { "10.1.2/24", 0, 0 },
		{ "10.1.2.3/ 4", 0, 0 }, { "10.1.2.3/-1", 0, 0 }, { "10.1.2.3/24x", 0, 0 },
		{ "/24", 0, 0 }, { "", 0, 0 }, { NULL, 0, 0 },
		{ "10.1.2.3/99999999999999999999", 0, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		uint8_t address[16];
		unsigned bits = 0;

		CU_EQ(result_cidr(t[i].text, address, &bits), t[i].version);
		CU_EQ(t[i].version ? bits : 0, t[i].bits);
	}
}

/* Attributes whose lengths lie: what is found lies inside, or nothing is. */
static void attributes_end_where_their_message_does(void)
{
	struct nlattr good[3] = { { 4, 1 }, { 8, 2 }, { 0, 0 } };
	size_t len = 99;

	CU_ASSERT_PTR_EQUAL(netlink_within(good, sizeof(good), 2, &len), &good[2]);
	CU_EQ(len, 4);
	CU_ASSERT_PTR_NULL(netlink_within(good, sizeof(good), 3, &len));
	CU_ASSERT_PTR_NULL(netlink_within(good, 3, 1, &len));
	for (unsigned bad = 0; bad < 0x10000; bad += bad < 16 ? 1 : 251) {
		struct nlattr a[2] = { { (uint16_t)bad, 1 }, { 4, 2 } };
		const void *at = netlink_within(a, sizeof(a), 1, &len);

		CU_EQ(at != NULL, bad >= NLA_HDRLEN && bad <= sizeof(a));
		at = netlink_within(a, sizeof(a), 2, &len);
		CU_EQ(at != NULL, bad == 4);
	}
}

CU_MAIN("cni/plan", T(a_record_leads_to_the_plan_it_was_made_by),
	T(devices_of_a_container_never_meet),
	T(a_device_is_not_named_as_what_is_beside_it),
	T(a_plan_holds_all_that_a_container_may_have),
	T(addresses_are_what_they_look_like), T(attributes_end_where_their_message_does))
