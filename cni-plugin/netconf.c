// SPDX-License-Identifier: Apache-2.0
// netconf.c - see netconf.h. The keys are a table.
// pkg-config: json-c
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "cni-plugin/js.h"
#include "cni-plugin/netconf.h"
#include "cni-plugin/node.h"
#include "cni-plugin/request.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

const char *const netconf_versions[] = {
	"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0", NULL
};

const char *const netconf_backends[] = { "podpci-switch", "ovs", "socket", NULL };
static_assert(ARRAY_SIZE(netconf_backends) == BACKENDS + 1, "a name each");

static const char *const modes[] = { "modern", "transitional", "legacy", NULL };
static const char *const memories[] = { "hugetlbfs", "tmpfs", "none", NULL };
static const char *const roles[] = { "client", "server", NULL };

struct words {			/* where the word of a js_word goes first */
	unsigned role, engine, kind, host_role;
};

#define CONF(m) JS_FIELD(struct netconf, m)

static const struct js_key keys[] = {
	{ "name", &js_name, CONF(name), 1, 0,
	  "letters, digits, '_', '.', '-', at most 200, the first a letter or digit", NULL },
	{ "type", &js_name, CONF(type), 1, 0, "a plugin's name", NULL },
	{ "backend", &js_word, CONF(backend), 0, 0, "podpci-switch, ovs or socket",
	  netconf_backends },
	{ "switch.control", &js_path, CONF(control), 2, 0, "an absolute path", NULL },
	{ "ovs.db", &js_path, CONF(ovs_db), 2, 0, "an absolute path", NULL },
	{ "ovs.bridge", &js_name, CONF(ovs_bridge), 1, 0, "the name of a bridge", NULL },
	{ "ovs.ifaceId", &js_string, CONF(iface_id), 1, 0, "text", NULL },
	{ "socket.path", &js_socket, CONF(socket), 2, 0,
	  "an absolute path without blanks, commas or '#'", NULL },
	{ "socket.directory", &js_flag, CONF(socket_dir), 0, 0, "true or false", NULL },
	{ "vlan", &js_number, CONF(vlan), 0, 4094, "a number from 0 to 4094", NULL },
	{ "mtu", &js_number, CONF(mtu), 68, 65535, "a number from 68 to 65535", NULL },
	{ "queues", &js_number, CONF(queues), 1, 127, "a number from 1 to 127", NULL },
	{ "queueSize", &js_number, CONF(queue_size), 64, 32768,
	  "a power of two from 64 to 32768", NULL },
	{ "mode", &js_word, CONF(mode), 0, 0, "modern, transitional or legacy", modes },
	{ "packed", &js_flag, CONF(packed), 0, 0, "true or false", NULL },
	{ "mrg", &js_flag, CONF(mrg), 0, 0, "true or false", NULL },
	{ "spoofcheck", &js_flag, CONF(spoofcheck), 0, 0, "true or false", NULL },
	{ "isolated", &js_flag, CONF(isolated), 0, 0, "true or false", NULL },
	{ "netdev", &js_flag, CONF(netdev), 0, 0, "true or false", NULL },
	{ "mac", &js_mac, CONF(mac), 0, 0, "a unicast address such as 52:54:00:12:34:56", NULL },
	{ "bdf", &js_string, CONF(bdf), 12, 0, "a PCI address such as 0000:00:04.0", NULL },
	{ "device", &js_name, CONF(device), 1, 0, "a name of at most 15 bytes", NULL },
	{ "memory.backing", &js_word, CONF(memory), 0, 0, "hugetlbfs, tmpfs or none", memories },
	{ "memory.size", &js_size, CONF(size), 1, 1ull << 42, "a size such as \"512Mi\"", NULL },
	{ "memory.reserve", &js_size, CONF(reserve), 0, 1ull << 42,
	  "a size such as \"512Mi\"", NULL },
	{ "memory.pageSize", &js_size, CONF(page), 1 << 12, 1ull << 34,
	  "a size such as \"2Mi\"", NULL },
};

/*
 * What networks written for userspace-cni say of the host's side; our own keys win. `container`
 * is of no interest: the device is PCI.
 */
static const char *const engines[] = { "podpci-switch", "ovs-dpdk", NULL };
static const char *const kinds[] = { "vhostuser", NULL };

static const struct js_key host_words[] = {
	{ "host.engine", &js_word, JS_FIELD(struct words, engine), 0, 0,
	  "podpci-switch or ovs-dpdk", engines },
	{ "host.iftype", &js_word, JS_FIELD(struct words, kind), 0, 0, "vhostuser", kinds },
	{ "host.vhost.mode", &js_word, JS_FIELD(struct words, host_role), 0, 0,
	  "client or server", roles },
};

static const struct js_key host_keys[] = {
	{ "host.bridge.bridgeName", &js_name, CONF(ovs_bridge), 1, 0, "the name of a bridge",
	  NULL },
	{ "host.bridge.vlanId", &js_number, CONF(vlan), 0, 4094, "a number from 0 to 4094", NULL },
};

/* Read only if the capability was declared, or the runtime did not pass the declarations on. */
static const struct capability {
	const char   *name;
	struct js_key key;
} capabilities[] = {
	{ "mac", { "mac", &js_mac, CONF(mac), 0, 0, "a unicast address", NULL } },
	{ "deviceID", { "deviceID", &js_string, CONF(device_id), 0, 0, "text", NULL } },
	{ "CNIDeviceInfoFile", { "CNIDeviceInfoFile", &js_path, CONF(device_info), 2, 0,
				 "an absolute path", NULL } },
};

unsigned netconf_since(const char *version)
{
	unsigned i = 0;

	while (netconf_versions[i] && strcmp(netconf_versions[i], version))
		i++;
	return i;
}

static int read_version(struct netconf *c, struct err *e)
{
	struct json_object *v = js_at(c->doc, "cniVersion");
	char is[64];

	if (v && !json_object_is_type(v, json_type_string))
		return err_set(e, -EINVAL, "cniVersion: must be text such as \"1.1.0\"");
	c->version = netconf_since(v ? json_object_get_string(v) : "0.1.0");
	if (netconf_versions[c->version])
		return 0;
	return err_set(e, -EPROTONOSUPPORT, "cniVersion: %s is not supported; 0.3.0 to 1.1.0 are",
		       v ? js_show(v, is, sizeof(is)) : "none, which means 0.1.0,");
}

static bool declared(const struct netconf *c, const char *capability)
{
	struct json_object *all = js_at(c->doc, "capabilities"), *one = NULL;

	return !all || (json_object_is_type(all, json_type_object) &&
			json_object_object_get_ex(all, capability, &one) &&
			json_object_get_boolean(one));
}

static int read_runtime(struct netconf *c, struct err *e)
{
	struct json_object *all = js_at(c->doc, "runtimeConfig"), *v;

	if (all && !json_object_is_type(all, json_type_object))
		return err_set(e, -EINVAL, "runtimeConfig: must be an object");
	for (unsigned i = 0; all && i < ARRAY_SIZE(capabilities); i++) {
		const struct capability *cap = &capabilities[i];
		int rc;

		if (!json_object_object_get_ex(all, cap->name, &v) || !v ||
		    !declared(c, cap->name))
			continue;
		rc = js_take(v, &cap->key, (char *)c + cap->key.off, e);
		if (rc)
			return err_wrap(e, rc, "runtimeConfig");
		c->has_mac |= !strcmp(cap->name, "mac");
		c->has_device_id |= !strcmp(cap->name, "deviceID");
	}
	if (all && declared(c, "io.kubernetes.cri.pod-annotations"))
		json_object_object_get_ex(all, "io.kubernetes.cri.pod-annotations",
					  &c->annotations);
	return 0;
}

static int read_ipam(struct netconf *c, struct err *e)
{
	static const struct js_key key = { "ipam.type", &js_name, CONF(ipam_type), 1, 0,
					   "a plugin's name, no path", NULL };
	struct json_object *ipam = js_at(c->doc, "ipam");

	if (!ipam)
		return 0;
	if (!json_object_is_type(ipam, json_type_object))
		return err_set(e, -EINVAL, "ipam: must be an object");
	if (!json_object_object_length(ipam))
		return 0;
	if (!js_at(ipam, "type"))
		return err_set(e, -EINVAL, "ipam.type: is missing");
	c->ipam = ipam;
	return js_read(c->doc, &key, 1, c, e);
}

/* ---- the whole ----------------------------------------------------------------------------- */

static bool power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

static bool bdf_ok(const char *text)
{
	unsigned domain, bus, slot, func;
	char again[16];

	if (sscanf(text, "%4x:%2x:%2x.%1u", &domain, &bus, &slot, &func) != 4 || slot > 31 ||
	    func > 7 || domain > 0xffff || bus > 0xff)
		return false;
	snprintf(again, sizeof(again), "%04x:%02x:%02x.%u", domain & 0xffff, bus & 0xff,
		 slot & 31, func & 7);
	return !strcmp(again, text);
}

static int judge_memory(const struct netconf *c, const struct node *node, struct err *e)
{
	if (c->reserve > c->size)
		return err_set(e, -EINVAL, "memory.reserve: is more than memory.size");
	if (c->memory == MEMORY_NONE)
		return 0;
	if (!power_of_two(c->page))
		return err_set(e, -EINVAL, "memory.pageSize: must be a power of two");
	if (c->memory == MEMORY_HUGETLBFS && (c->size % c->page || c->reserve % c->page))
		return err_set(e, -EINVAL, "memory.size, memory.reserve: must be whole pages of "
			       "%llu bytes", (unsigned long long)c->page);
	if (c->size > node->huge_max)
		return err_set(e, -EINVAL, "memory.size: is more than this node allows "
			       "(hugepagesMax, %llu bytes)", (unsigned long long)node->huge_max);
	return 0;
}

static int judge_backend(const struct netconf *c, const struct node *node, struct err *e)
{
	static const char *const switch_only[] = { "spoofcheck", "isolated" };
	const char *name = netconf_backends[c->backend];

	if (!(node->backends & 1u << c->backend))
		return err_set(e, -EOPNOTSUPP, "backend: \"%s\" is not allowed on this node "
			       "(backends in %s)", name, NODE_FILE);
	if (c->backend == BACKEND_OVS && !c->ovs_bridge[0])
		return err_set(e, -EINVAL, "ovs.bridge: is missing");
	if (c->backend == BACKEND_SOCKET && !c->socket[0])
		return err_set(e, -EINVAL, "socket.path: is missing");
	for (unsigned i = 0; i < ARRAY_SIZE(switch_only) && c->backend != BACKEND_SWITCH; i++)
		if (json_object_get_boolean(js_at(c->doc, switch_only[i])))
			return err_set(e, -EOPNOTSUPP, "%s: true is not ours to grant with backend "
				       "\"%s\": its own switch has rules for that", switch_only[i],
				       name);
	if (strcmp(c->control, node->control) && !node_socket_ok(node, c->control))
		return err_set(e, -EINVAL, "switch.control: %s: is in none of this node's "
			       "socketDirs (%s)", c->control, NODE_FILE);
	if (strcmp(c->ovs_db, node->ovs) && !node_socket_ok(node, c->ovs_db))
		return err_set(e, -EINVAL, "ovs.db: %s: is in none of this node's socketDirs (%s)",
			       c->ovs_db, NODE_FILE);
	return 0;
}

static int judge(const struct netconf *c, const struct node *node, struct err *e)
{
	int rc;

	if (!c->name[0])
		return err_set(e, -EINVAL, "name: is missing");
	if (!power_of_two(c->queue_size))
		return err_set(e, -EINVAL, "queueSize: is %u, must be a power of two from 64 to "
			       "32768", c->queue_size);
	if (c->bdf[0] && !bdf_ok(c->bdf))
		return err_set(e, -EINVAL, "bdf: must be a PCI address such as 0000:00:04.0");
	rc = judge_backend(c, node, e);
	return rc ? rc : judge_memory(c, node, e);
}

static void defaults(struct netconf *c, const struct node *node)
{
	c->queues = 1;
	c->queue_size = 256;
	c->packed = c->mrg = c->spoofcheck = true;
	c->size = 512ull << 20;
	c->page = 2ull << 20;
	snprintf(c->control, sizeof(c->control), "%s", node->control);
	snprintf(c->ovs_db, sizeof(c->ovs_db), "%s", node->ovs);
}

/* An object where one is expected; "memory": "none" is a mistake worth naming. */
static int judge_shape(const struct netconf *c, struct err *e)
{
	static const char *const objects[] = {
		"switch", "ovs", "socket", "memory", "capabilities", "prevResult", "args", "host",
	};

	for (unsigned i = 0; i < ARRAY_SIZE(objects); i++) {
		struct json_object *v = js_at(c->doc, objects[i]);

		if (v && !json_object_is_type(v, json_type_object))
			return err_set(e, -EINVAL, "%s: must be an object", objects[i]);
	}
	return 0;
}

/* The switch's side only, in the words of the network's author. */
static int read_host(struct netconf *c, struct err *e)
{
	struct words w = { 0 };
	int rc;

	if (!js_at(c->doc, "host"))
		return 0;
	rc = js_read(c->doc, host_words, ARRAY_SIZE(host_words), &w, e);
	if (!rc)
		rc = js_read(c->doc, host_keys, ARRAY_SIZE(host_keys), c, e);
	if (rc)
		return rc;
	c->backend = w.engine ? BACKEND_OVS : BACKEND_SWITCH;
	if (w.engine && w.host_role)
		return err_set(e, -EOPNOTSUPP, "host.vhost.mode: \"server\" is not supported with "
			       "ovs-dpdk: such ports lose their pods when it restarts; use "
			       "\"client\"");
	return 0;
}

int netconf_parse(struct netconf *c, struct json_object *doc, const struct node *node,
		  struct err *e)
{
	static const struct js_key role = { "socket.mode", &js_word, 0, sizeof(unsigned), 0, 0,
					    "client or server", roles };
	struct words w = { 0 };
	int rc;

	memset(c, 0, sizeof(*c));
	c->doc = doc;
	defaults(c, node);
	rc = read_version(c, e);
	if (!rc)
		rc = judge_shape(c, e);
	if (!rc)
		rc = read_host(c, e);
	if (!rc)
		rc = js_read(doc, keys, ARRAY_SIZE(keys), c, e);
	if (!rc)
		rc = js_read(doc, &role, 1, &w.role, e);
	if (rc)
		return rc;
	c->socket_server = w.role == 1;
	c->has_mac = js_at(doc, "mac");
	c->has_memory = js_at(doc, "memory");
	if (!js_at(doc, "memory.reserve") && js_at(doc, "memory.size"))
		c->reserve = c->size;	/* what is asked for is the pod's, from the start */
	c->prev = js_at(doc, "prevResult");
	json_object_object_get_ex(doc, "cni.dev/valid-attachments", &c->valid);
	rc = read_runtime(c, e);
	if (!rc)
		rc = read_ipam(c, e);
	return rc ? rc : judge(c, node, e);
}

void netconf_free(struct netconf *c)
{
	json_object_put(c->doc);
	memset(c, 0, sizeof(*c));
}

int netconf_load(struct netconf *c, const struct node *node, const char *name, struct err *e)
{
	struct json_object *doc = NULL;
	char path[NODE_PATH_MAX + 80];
	int rc;

	memset(c, 0, sizeof(*c));
	if (!js_name_ok(name, REQUEST_IFNAME_MAX))
		return err_set(e, -EINVAL, "a device's name is letters, digits, '_', '.', '-', at "
			       "most %u", REQUEST_IFNAME_MAX);
	snprintf(path, sizeof(path), "%s/%s.json", node->networks, name);
	rc = js_load(AT_FDCWD, path, &doc, e);
	if (rc)
		return rc;
	json_object_object_add(doc, "name", json_object_new_string(name));
	if (!js_at(doc, "cniVersion"))
		json_object_object_add(doc, "cniVersion", json_object_new_string("1.1.0"));
	rc = netconf_parse(c, doc, node, e);
	return rc ? err_wrap(e, rc, "%s", path) : 0;
}
