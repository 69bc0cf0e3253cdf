// SPDX-License-Identifier: Apache-2.0
// result.c - see result.h.
// pkg-config: json-c
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cni-plugin/js.h"
#include "cni-plugin/result.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define IPS_MAX 64
#define DEVINFO_VERSION "1.1.0"

/* ---- errors -------------------------------------------------------------------------------- */

struct code {
	int rc;
	enum cni_code code;
};

static enum cni_code lookup(const struct code *codes, unsigned n, int rc, enum cni_code other)
{
	for (unsigned i = 0; i < n; i++)
		if (codes[i].rc == rc)
			return codes[i].code;
	return other;
}

enum cni_code result_code_asked(int rc)
{
	static const struct code codes[] = {
		{ -EPROTONOSUPPORT, CNI_VERSION }, { -EOPNOTSUPP, CNI_UNSUPPORTED },
		{ -EBADR, CNI_ENVIRONMENT }, { -EBADMSG, CNI_DECODE }, { -EFBIG, CNI_DECODE },
		{ -EINVAL, CNI_CONFIG }, { -ENAMETOOLONG, CNI_CONFIG }, { -EEXIST, CNI_EXISTS },
		{ -EIO, CNI_IO }, { -ETIMEDOUT, CNI_IO }, { -EPERM, CNI_CONFIG },
		{ -ENOSPC, CNI_CONFIG }, { -EBUSY, CNI_AGAIN },
	};

	return lookup(codes, ARRAY_SIZE(codes), rc, CNI_FAILED);
}

enum cni_code result_code_done(int rc)
{
	static const struct code codes[] = {
		{ -EIO, CNI_IO }, { -ENOSPC, CNI_IO }, { -EROFS, CNI_IO }, { -EDQUOT, CNI_IO },
		{ -EBUSY, CNI_AGAIN }, { -EAGAIN, CNI_AGAIN }, { -ETIMEDOUT, CNI_AGAIN },
		{ -ECONNREFUSED, CNI_AGAIN }, { -EINTR, CNI_AGAIN }, { -ECONNRESET, CNI_AGAIN },
		{ -ENOMEM, CNI_NO_MEMORY }, { -EEXIST, CNI_EXISTS },
	};

	return lookup(codes, ARRAY_SIZE(codes), rc, CNI_FAILED);
}

void result_print_error(FILE *to, const char *version, int code, const char *msg)
{
	struct json_object *o = json_object_new_object();

	if (!o) {
		fprintf(to, "{\"cniVersion\":\"1.1.0\",\"code\":%d,\"msg\":\"out of memory\"}\n",
			code);
		return;
	}
	json_object_object_add(o, "cniVersion",
			       json_object_new_string(version ? version : "1.1.0"));
	json_object_object_add(o, "code", json_object_new_int(code));
	json_object_object_add(o, "msg", json_object_new_string(msg));
	fprintf(to, "%s\n", json_object_to_json_string_ext(o, JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(o);
}

/* ---- what others gave ---------------------------------------------------------------------- */

int result_cidr(const char *text, uint8_t address[16], unsigned *out)
{
	char ip[64];
	size_t len = text ? strcspn(text, "/") : 0;
	unsigned long bits;
	char *end;

	if (!len || len >= sizeof(ip) || text[len] != '/' || text[len + 1] < '0' ||
	    text[len + 1] > '9')
		return 0;
	memcpy(ip, text, len);
	ip[len] = '\0';
	bits = strtoul(text + len + 1, &end, 10);
	if (*end || bits > 128)
		return 0;
	*out = (unsigned)bits;
	if (inet_pton(AF_INET, ip, address) == 1)
		return bits <= 32 ? 4 : 0;
	return inet_pton(AF_INET6, ip, address) == 1 ? 6 : 0;
}

static int cidr_version(const char *text)
{
	uint8_t address[16];
	unsigned bits;

	return result_cidr(text, address, &bits);
}

static int judge_ips(struct json_object *from, struct err *e)
{
	struct json_object *ips = js_at(from, "ips");
	size_t n;

	if (ips && !json_object_is_type(ips, json_type_array))
		return err_set(e, -EINVAL, "ips: must be a list");
	n = ips ? json_object_array_length(ips) : 0;
	if (n > IPS_MAX)
		return err_set(e, -EINVAL, "ips: %zu addresses, at most %u are taken", n, IPS_MAX);
	for (size_t i = 0; i < n; i++) {
		struct json_object *ip = json_object_array_get_idx(ips, i);

		if (!cidr_version(js_text(ip, "address")))
			return err_set(e, -EINVAL, "ips[%zu].address: must be an address with its "
				       "prefix, such as 10.1.2.3/24", i);
	}
	return 0;
}

int result_judge_ipam(struct json_object *ipam, struct err *e)
{
	struct json_object *ips = js_at(ipam, "ips"), *routes = js_at(ipam, "routes");
	int rc = judge_ips(ipam, e);

	if (!rc && (!ips || !json_object_array_length(ips)))
		rc = err_set(e, -EINVAL, "it gave no address");
	if (!rc && routes && (!json_object_is_type(routes, json_type_array) ||
			      json_object_array_length(routes) > IPS_MAX))
		rc = err_set(e, -EINVAL, "routes: must be a list of at most %u", IPS_MAX);
	return rc ? err_wrap(e, rc, "IPAM plugin's result") : 0;
}

static int judge_interfaces(struct json_object *prev, size_t *n, struct err *e)
{
	struct json_object *list = js_at(prev, "interfaces");

	if (list && (!json_object_is_type(list, json_type_array) ||
		     json_object_array_length(list) > IPS_MAX))
		return err_set(e, -EINVAL, "interfaces: must be a list of at most %u", IPS_MAX);
	*n = list ? json_object_array_length(list) : 0;
	for (size_t i = 0; i < *n; i++) {
		struct json_object *one = json_object_array_get_idx(list, i);

		if (!js_text(one, "name"))
			return err_set(e, -EINVAL, "interfaces[%zu].name: must be text", i);
	}
	return 0;
}

int result_judge_prev(const struct netconf *c, struct err *e)
{
	struct json_object *ips;
	size_t interfaces = 0;
	int rc;

	if (!c->prev)
		return 0;
	rc = judge_interfaces(c->prev, &interfaces, e);
	if (!rc)
		rc = judge_ips(c->prev, e);
	ips = rc ? NULL : js_at(c->prev, "ips");
	for (size_t i = 0; ips && !rc && i < json_object_array_length(ips); i++) {
		struct json_object *at = js_at(json_object_array_get_idx(ips, i), "interface");
		int64_t index = json_object_get_int64(at);

		if (at && (!json_object_is_type(at, json_type_int) || index < 0 ||
			   (size_t)index >= interfaces))
			rc = err_set(e, -EINVAL, "ips[%zu].interface: there is no such interface",
				     i);
	}
	return rc ? err_wrap(e, rc, "prevResult") : 0;
}

/* ---- results ------------------------------------------------------------------------------- */

static void add_text(struct json_object *o, const char *key, const char *text)
{
	json_object_object_add(o, key, json_object_new_string(text));
}

static struct json_object *copy(struct json_object *from)
{
	struct json_object *to = NULL;

	if (from)
		json_object_deep_copy(from, &to, NULL);
	return to;
}

static void pod_socket(const struct attach *a, char *to, size_t size)
{
	snprintf(to, size, "%s/%s/vhost.sock", POD_DEVICES, a->id);
}

static struct json_object *interface(const struct attach *a)
{
	struct json_object *o = json_object_new_object();
	char mac[18], socket[NETCONF_PATH_MAX];

	js_mac_format(a->mac, mac);
	add_text(o, "name", a->conf->prev ? a->id : a->request->ifname);
	add_text(o, "mac", mac);
	if (a->request->netns[0])
		add_text(o, "sandbox", a->request->netns);
	if (a->conf->version < netconf_since("1.1.0"))
		return o;
	if (a->conf->mtu)
		json_object_object_add(o, "mtu", json_object_new_int((int)a->conf->mtu));
	pod_socket(a, socket, sizeof(socket));
	add_text(o, "socketPath", socket);
	add_text(o, "pciID", a->bdf);
	return o;
}

/* The list at `key`, made if there is none. */
static struct json_object *list_of(struct json_object *o, const char *key)
{
	struct json_object *list = js_at(o, key);

	if (!list) {
		list = json_object_new_array();
		json_object_object_add(o, key, list);
	}
	return list;
}

static void add_ips(struct json_object *result, const struct attach *a, struct json_object *ipam,
		    size_t index)
{
	struct json_object *from = js_at(ipam, "ips"), *to;

	if (!from)
		return;
	to = list_of(result, "ips");
	for (size_t i = 0; i < json_object_array_length(from); i++) {
		struct json_object *ip = copy(json_object_array_get_idx(from, i));
		int version = cidr_version(js_text(ip, "address"));

		if (a->conf->version < netconf_since("1.0.0"))
			add_text(ip, "version", version == 4 ? "4" : "6");
		else
			json_object_object_del(ip, "version");
		json_object_object_add(ip, "interface", json_object_new_int64((int64_t)index));
		json_object_array_add(to, ip);
	}
}

static void add_routes(struct json_object *result, struct json_object *ipam)
{
	struct json_object *from = js_at(ipam, "routes"), *to;

	if (!from || !json_object_array_length(from))
		return;
	to = list_of(result, "routes");
	for (size_t i = 0; i < json_object_array_length(from); i++)
		json_object_array_add(to, copy(json_object_array_get_idx(from, i)));
}

struct json_object *result_make(const struct attach *a, struct json_object *ipam)
{
	struct json_object *r = a->conf->prev ? copy(a->conf->prev) : json_object_new_object();
	struct json_object *list, *dns;

	if (!r)
		return NULL;
	add_text(r, "cniVersion", netconf_versions[a->conf->version]);
	list = list_of(r, "interfaces");
	json_object_array_add(list, interface(a));
	add_ips(r, a, ipam, json_object_array_length(list) - 1);
	add_routes(r, ipam);
	dns = js_at(ipam, "dns");
	if (!dns)
		dns = js_at(a->conf->doc, "dns");
	if (dns && !js_at(r, "dns"))
		json_object_object_add(r, "dns", copy(dns));
	return r;
}

/* ---- what the pod is told ------------------------------------------------------------------ */

struct json_object *result_own_ips(const struct attach *a, struct json_object *result)
{
	const char *name = a->conf->prev ? a->id : a->request->ifname;
	struct json_object *list = js_at(result, "interfaces"), *ips = js_at(result, "ips");
	struct json_object *mine = json_object_new_array();
	int64_t index = -1;

	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *is = js_text(json_object_array_get_idx(list, i), "name");

		if (is && !strcmp(is, name))
			index = (int64_t)i;
	}
	for (size_t i = 0; ips && i < json_object_array_length(ips); i++) {
		struct json_object *ip = json_object_array_get_idx(ips, i), *one;
		struct json_object *at = js_at(ip, "interface");

		if (at && json_object_get_int64(at) != index)
			continue;
		one = json_object_new_object();
		add_text(one, "address", js_text(ip, "address"));
		if (js_text(ip, "gateway"))
			add_text(one, "gateway", js_text(ip, "gateway"));
		json_object_array_add(mine, one);
	}
	return mine;
}

struct json_object *result_network(const struct attach *a, struct json_object *result)
{
	struct json_object *o = json_object_new_object();
	char mac[18], socket[NETCONF_PATH_MAX];

	js_mac_format(a->mac, mac);
	pod_socket(a, socket, sizeof(socket));
	add_text(o, "name", a->id);
	add_text(o, "network", a->conf->name);
	add_text(o, "ifname", a->request->ifname);
	add_text(o, "pci", a->bdf);
	add_text(o, "mac", mac);
	add_text(o, "socket", socket);
	if (a->conf->mtu)
		json_object_object_add(o, "mtu", json_object_new_int((int)a->conf->mtu));
	if (a->conf->vlan)
		json_object_object_add(o, "vlan", json_object_new_int((int)a->conf->vlan));
	json_object_object_add(o, "ips", result_own_ips(a, result));
	json_object_object_add(o, "routes", js_at(result, "routes") && !a->conf->prev ?
			       copy(js_at(result, "routes")) : json_object_new_array());
	if (js_at(result, "dns"))
		json_object_object_add(o, "dns", copy(js_at(result, "dns")));
	return o;
}

struct json_object *result_userspace(const struct attach *a, struct json_object *result)
{
	struct json_object *o = json_object_new_object(), *config = json_object_new_object();
	struct json_object *vhost = json_object_new_object(), *ips = json_object_new_object();
	struct json_object *all = result_network(a, result);
	static const char *const keys[] = { "ips", "routes", "dns" };
	char socket[sizeof(a->id) + 16];

	snprintf(socket, sizeof(socket), "%s/vhost.sock", a->id);
	add_text(vhost, "mode", a->server ? "server" : "client");
	add_text(vhost, "socketfile", socket);
	add_text(config, "iftype", "vhostuser");
	add_text(config, "netType", "interface");
	json_object_object_add(config, "vhost", vhost);
	add_text(ips, "cniVersion", netconf_versions[a->conf->version]);
	for (unsigned i = 0; i < ARRAY_SIZE(keys); i++)
		if (js_at(all, keys[i]))
			json_object_object_add(ips, keys[i], json_object_get(js_at(all, keys[i])));
	add_text(o, "containerId", a->request->container);
	add_text(o, "ifName", a->request->ifname);
	add_text(o, "name", a->conf->name);
	json_object_object_add(o, "config", config);
	json_object_object_add(o, "ipResult", ips);
	json_object_put(all);
	return o;
}

/* ---- device information -------------------------------------------------------------------- */

static struct json_object *devinfo(const struct attach *a)
{
	struct json_object *o = json_object_new_object(), *v = json_object_new_object();
	char socket[NETCONF_PATH_MAX];

	pod_socket(a, socket, sizeof(socket));
	add_text(o, "type", "vhost-user");
	add_text(o, "version", DEVINFO_VERSION);
	/* The mode is the pod's: a client of a socket that the host made, or the server. */
	add_text(v, "mode", a->server ? "server" : "client");
	add_text(v, "path", socket);
	json_object_object_add(o, "vhost-user", v);
	return o;
}

static int write_whole(int fd, const char *text)
{
	size_t len = strlen(text), done = 0;

	while (done < len) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
	}
	return fsync(fd) ? -errno : 0;
}

/* The directory is opened once; file names are below it and follow no link. */
static int open_dir_of(const char *path, bool make, const char **name, struct err *e)
{
	char dir[256];
	int fd;

	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = '\0';
	*name = strrchr(path, '/') + 1;
	if (!dir[0])
		strcpy(dir, "/");
	if (make)
		mkdir(dir, 0755);
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 ? fd : err_set(e, -errno, "%s: %s", dir, strerror(errno));
}

int result_devinfo_write(const struct attach *a, const char *path, struct err *e)
{
	struct json_object *o;
	const char *name;
	char fresh[64];
	int dir = open_dir_of(path, true, &name, e), fd, rc;

	if (dir < 0)
		return dir;
	snprintf(fresh, sizeof(fresh), ".podpci-%s", a->digest);
	unlinkat(dir, fresh, 0);
	fd = openat(dir, fresh, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	rc = fd < 0 ? -errno : 0;
	o = devinfo(a);
	if (!rc)
		rc = write_whole(fd, json_object_to_json_string_ext(o,
							JSON_C_TO_STRING_NOSLASHESCAPE));
	if (!rc && (fchmod(fd, 0644) || renameat(dir, fresh, dir, name)))
		rc = -errno;
	if (rc)
		unlinkat(dir, fresh, 0);
	json_object_put(o);
	if (fd >= 0)
		close(fd);
	close(dir);
	return rc ? err_set(e, rc, "%s: %s", path, strerror(-rc)) : 0;
}

int result_devinfo_remove(const struct attach *a, const char *path, struct err *e)
{
	struct json_object *o = NULL;
	const char *name, *is;
	char ours[NETCONF_PATH_MAX], fresh[64];
	int dir = open_dir_of(path, false, &name, NULL), rc = 0;

	if (dir < 0)
		return 0;
	snprintf(fresh, sizeof(fresh), ".podpci-%s", a->digest);
	unlinkat(dir, fresh, 0);
	pod_socket(a, ours, sizeof(ours));
	/* Keys with a '-' are fine in a path of keys. */
	is = js_load(dir, name, &o, NULL) ? NULL : js_text(o, "vhost-user.path");
	if (is && !strcmp(is, ours) && unlinkat(dir, name, 0) && errno != ENOENT)
		rc = err_set(e, -errno, "%s: %s", path, strerror(errno));
	json_object_put(o);
	close(dir);
	return rc;
}
