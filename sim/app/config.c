// SPDX-License-Identifier: Apache-2.0
// config.c - the grammar of --net and of configuration files, as one table of keys.
//
// The parser is pure: text in, struct out; no stdio, no heap (the preload library runs it inside
// other people's programs).
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "sim/app/config.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CONFIG_VALUE_MAX 256

static_assert(CONFIG_VALUE_MAX > VHOST_SOCKET_MAX, "a path that is too long is told so");

struct key;

/* How a kind of value is read and written. `at` is the field, text a terminated value. */
struct kind {
	int (*parse)(const struct key *k, const char *text, void *at, struct err *e);
	int (*print)(const struct key *k, const void *at, char *buf, size_t len);
	bool bare;		/* "server" alone means server=on */
};

struct key {
	const char        *name, *help;
	const struct kind *kind;
	size_t             off, size;	/* the field */
	unsigned           min, max;
	const char        *law;		/* what a value must be, for messages */
};

/* ---- kinds --------------------------------------------------------------------------------- */

static int refuse(const struct key *k, const char *text, struct err *e)
{
	return err_set(e, -EINVAL, "%s=%s: must be %s", k->name, text, k->law);
}

static int number_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	unsigned long val = 0;

	for (const char *p = text; *p; p++) {
		if (*p < '0' || *p > '9' || val > UINT_MAX / 10)
			return refuse(k, text, e);
		val = val * 10 + (unsigned)(*p - '0');
	}
	if (!*text || val < k->min || val > k->max)
		return refuse(k, text, e);
	if (k->size == sizeof(uint16_t)) {
		uint16_t small = (uint16_t)val;

		memcpy(at, &small, sizeof(small));
	} else {
		unsigned wide = (unsigned)val;

		memcpy(at, &wide, sizeof(wide));
	}
	return 0;
}

static unsigned number_get(const struct key *k, const void *at)
{
	uint16_t small;
	unsigned wide;

	if (k->size == sizeof(small)) {
		memcpy(&small, at, sizeof(small));
		return small;
	}
	memcpy(&wide, at, sizeof(wide));
	return wide;
}

/* A number below the smallest stands for "not given" (mtu). */
static int number_print(const struct key *k, const void *at, char *buf, size_t len)
{
	unsigned val = number_get(k, at);

	return val < k->min ? 0 : snprintf(buf, len, "%s=%u", k->name, val);
}

static int power_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	int rc = number_parse(k, text, at, e);
	unsigned val;

	if (rc)
		return rc;
	val = number_get(k, at);
	return val & (val - 1) ? refuse(k, text, e) : 0;
}

static int flag_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	bool on = !strcmp(text, "on");

	if (!on && strcmp(text, "off"))
		return refuse(k, text, e);
	memcpy(at, &on, sizeof(on));
	return 0;
}

static int flag_print(const struct key *k, const void *at, char *buf, size_t len)
{
	return snprintf(buf, len, "%s=%s", k->name, *(const bool *)at ? "on" : "off");
}

/* Words for the values of an enumeration, in its order. */
static const char *const mode_names[] = {
	[NET_MODERN] = "modern", [NET_TRANSITIONAL] = "transitional", [NET_LEGACY] = "legacy",
};

static const char *const door_names[] = {
	[IOAPI_DOOR_VFIO] = "vfio", [IOAPI_DOOR_UIO] = "uio",
	[IOAPI_DOOR_IGB_UIO] = "igb_uio", [IOAPI_DOOR_SYSFS] = "sysfs",
};

static_assert(sizeof(enum net_mode) == sizeof(unsigned) &&
	      sizeof(enum ioapi_door) == sizeof(unsigned), "words are stored as numbers");

/* k->max is the number of words. */
static int word_parse(const struct key *k, const char *const *words, const char *text, void *at,
		      struct err *e)
{
	for (unsigned i = 0; i < k->max; i++) {
		if (strcmp(text, words[i]))
			continue;
		memcpy(at, &i, sizeof(i));
		return 0;
	}
	return refuse(k, text, e);
}

static int mode_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	return word_parse(k, mode_names, text, at, e);
}

static int mode_print(const struct key *k, const void *at, char *buf, size_t len)
{
	return snprintf(buf, len, "%s=%s", k->name, mode_names[*(const enum net_mode *)at]);
}

static const char *const duplex_names[] = { [NET_FULL] = "full", [NET_HALF] = "half" };

static int duplex_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	enum net_duplex duplex = !strcmp(text, duplex_names[NET_HALF]) ? NET_HALF : NET_FULL;

	if (strcmp(text, duplex_names[duplex]))
		return refuse(k, text, e);
	memcpy(at, &duplex, sizeof(duplex));
	return 0;
}

static int duplex_print(const struct key *k, const void *at, char *buf, size_t len)
{
	return snprintf(buf, len, "%s=%s", k->name, duplex_names[*(const enum net_duplex *)at]);
}

static int door_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	return word_parse(k, door_names, text, at, e);
}

static int door_print(const struct key *k, const void *at, char *buf, size_t len)
{
	return snprintf(buf, len, "%s=%s", k->name, door_names[*(const enum ioapi_door *)at]);
}

static int path_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	size_t len = strlen(text);

	if (!len)
		return refuse(k, text, e);
	for (const char *p = text; *p; p++)
		if ((unsigned char)*p < ' ')
			return err_set(e, -EINVAL, "%s: must not hold control characters", k->name);
	if (text[0] == ' ' || text[len - 1] == ' ')
		return err_set(e, -EINVAL, "%s: must not begin or end with a blank", k->name);
	if (len >= k->size)
		return err_set(e, -ENAMETOOLONG, "%s=%s: is %zu bytes long, %s may have "
			       "%zu", k->name, text, len,
			       k->size == VHOST_SOCKET_MAX ? "the path of a socket" : k->law,
			       k->size - 1);
	memcpy(at, text, len + 1);
	return 0;
}

static int text_print(const struct key *k, const void *at, char *buf, size_t len)
{
	return *(const char *)at ? snprintf(buf, len, "%s=%s", k->name, (const char *)at) : 0;
}

static int name_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
	size_t len = strlen(text);

	if (!len || len >= k->size || strspn(text, good) != len)
		return refuse(k, text, e);
	memcpy(at, text, len + 1);
	return 0;
}

/* Hexadecimal digits, min to max of them; the end of them in *text. -1 if there are not. */
static int hex_take(const char **text, unsigned min, unsigned max)
{
	static const char digits[] = "0123456789abcdef0123456789ABCDEF";
	unsigned n = 0;
	int val = 0;

	for (; n < max && **text; n++, (*text)++) {
		const char *d = strchr(digits, **text);

		if (!d)
			break;
		val = val * 16 + (int)((d - digits) % 16);
	}
	return n < min ? -1 : val;
}

static int mac_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	static const uint8_t none[6];
	const char *p = text;
	uint8_t mac[6];

	for (unsigned i = 0; i < sizeof(mac); i++) {
		int byte = hex_take(&p, 2, 2);

		if (byte < 0 || *p != (i < 5 ? ':' : '\0'))
			return refuse(k, text, e);
		mac[i] = (uint8_t)byte;
		p++;
	}
	if (mac[0] & 1 || !memcmp(mac, none, sizeof(mac)))
		return refuse(k, text, e);
	memcpy(at, mac, sizeof(mac));
	return 0;
}

static bool mac_is_set(const uint8_t *m)
{
	return m[0] | m[1] | m[2] | m[3] | m[4] | m[5];
}

static int mac_print(const struct key *k, const void *at, char *buf, size_t len)
{
	const uint8_t *m = at;

	if (!mac_is_set(m))
		return 0;
	return snprintf(buf, len, "%s=%02x:%02x:%02x:%02x:%02x:%02x", k->name, m[0], m[1], m[2],
			m[3], m[4], m[5]);
}

/* "DDDD:BB:DD.F", or without the domain. */
static int bdf_parse(const struct key *k, const char *text, void *at, struct err *e)
{
	bool full = strlen(text) > 8;
	int domain = 0, bus, dev, func;
	const char *p = text;

	if (full) {
		domain = hex_take(&p, 4, 4);
		if (domain < 0 || *p++ != ':')
			return refuse(k, text, e);
	}
	bus = hex_take(&p, 2, 2);
	if (bus < 0 || *p++ != ':')
		return refuse(k, text, e);
	dev = hex_take(&p, 2, 2);
	if (dev < 0 || dev > 0x1f || *p++ != '.')
		return refuse(k, text, e);
	func = hex_take(&p, 1, 1);
	if (func < 0 || func > 7 || *p)
		return refuse(k, text, e);
	snprintf(at, k->size, "%04x:%02x:%02x.%x", (unsigned)domain & 0xffff,
		 (unsigned)bus & 0xff, (unsigned)dev & 0x1f, (unsigned)func & 7);
	return 0;
}

static const struct kind number = { number_parse, number_print, false };
static const struct kind power  = { power_parse, number_print, false };
static const struct kind flag   = { flag_parse, flag_print, true };
static const struct kind mode   = { mode_parse, mode_print, false };
static const struct kind duplex = { duplex_parse, duplex_print, false };
static const struct kind door   = { door_parse, door_print, false };
static const struct kind path   = { path_parse, text_print, false };
static const struct kind name   = { name_parse, text_print, false };
static const struct kind mac    = { mac_parse, mac_print, false };
static const struct kind bdf    = { bdf_parse, text_print, false };

/* ---- keys ---------------------------------------------------------------------------------- */

#define NET(field) offsetof(struct net_config, field), sizeof(((struct net_config *)0)->field)
#define OPT(field) offsetof(struct config, field), sizeof(((struct config *)0)->field)

static const struct key net_keys[] = {
	{ "socket", "PATH of the back-end's vhost-user socket; default: the node's switch",
	  &path, NET(socket), 0, 0, "a path" },
	{ "tap", "TAP device the kernel's vhost-net serves, instead of a socket",
	  &name, NET(tap), 0, 0, "1 to 15 letters, digits, '_', '.' or '-'" },
	{ "server", "we listen on it and the back-end connects; default: we connect",
	  &flag, NET(server), 0, 0, "on or off" },
	{ "id", "NAME in messages; default net0, net1, ...",
	  &name, NET(id), 0, 0, "1 to 31 letters, digits, '_', '.' or '-'" },
	{ "bdf", "PCI address; default 0000:00:04.0 and up",
	  &bdf, NET(bdf), 0, 0, "a PCI address such as 0000:00:04.0" },
	{ "mac", "station address; default derived from host name, id and socket",
	  &mac, NET(mac), 0, 0, "a unicast address such as 52:54:00:12:34:56" },
	{ "mac-fixed", "refuse the driver another address, as the port would; default off",
	  &flag, NET(mac_fixed), 0, 0, "on or off" },
	{ "queues", "queue pairs, 1 to 128; default 1",
	  &number, NET(pairs), 1, CONFIG_PAIRS_MAX, "a number from 1 to 128" },
	{ "queue-size", "descriptors a queue, power of two, 64 to 32768; default 256",
	  &power, NET(queue_size), 64, 32768, "a power of two from 64 to 32768" },
	{ "mode", "modern, transitional or legacy; default modern",
	  &mode, NET(mode), 0, ARRAY_SIZE(mode_names), "modern, transitional or legacy" },
	{ "door", "host driver to find it by: vfio, uio, igb_uio or sysfs (none); default vfio",
	  &door, NET(door), 0, ARRAY_SIZE(door_names), "vfio, uio, igb_uio or sysfs" },
	{ "packed", "offer packed rings where the back-end has them; default on, off from "
	  "queue-size=2048",
	  &flag, NET(packed), 0, 0, "on or off" },
	{ "mrg", "offer mergeable receive buffers, likewise; default on",
	  &flag, NET(mrg_rxbuf), 0, 0, "on or off" },
	{ "mtu", "MTU told to the driver, 68 to 65535; default none",
	  &number, NET(mtu), 68, 65535, "a number from 68 to 65535" },
	{ "speed", "Mb/s told to the driver, 1 to 2147483647; default none",
	  &number, NET(speed), 1, INT_MAX, "a number from 1 to 2147483647" },
	{ "duplex", "full or half, told with the speed; default full",
	  &duplex, NET(duplex), 0, 0, "full or half" },
	{ "filters", "offer VLAN and more receive filters, for a port that enforces them; default "
	  "off",
	  &flag, NET(filters), 0, 0, "on or off" },
	{ "host-notifier", "let a back-end's own page take the driver's notifications, without "
	  "traps; default off",
	  &flag, NET(host_notifier), 0, 0, "on or off" },
	{ "timeout", "longest a register access may wait for the back-end, ms; default 2000",
	  &number, NET(timeout_ms), 10, 60000, "milliseconds from 10 to 60000" },
	{ "wait", "how long opening the device waits for a back-end, ms; default 1000",
	  &number, NET(wait_ms), 0, 60000, "milliseconds from 0 to 60000" },
};

static const struct key option_keys[] = {
	{ "coalesce", "answer hugepage files with one file; default on",
	  &flag, OPT(coalesce), 0, 0, "on or off" },
	{ "pagemap", "answer /proc/self/pagemap with virtual frame numbers; default on",
	  &flag, OPT(pagemap), 0, 0, "on or off" },
	{ "ctl", "directory for the socket of `podpci dev', or off; default /run/podpci/dev",
	  &path, OPT(ctl), 0, 0, "a directory or off" },
	{ "trace", "file that gets a line for each register access and message; default none",
	  &path, OPT(trace), 0, 0, "a file" },
};

const char *config_help(unsigned i, const char **key_name)
{
	if (i >= ARRAY_SIZE(net_keys))
		return NULL;
	*key_name = net_keys[i].name;
	return net_keys[i].help;
}

const char *config_option_help(unsigned i, const char **key_name)
{
	if (i >= ARRAY_SIZE(option_keys))
		return NULL;
	*key_name = option_keys[i].name;
	return option_keys[i].help;
}

int config_flag(const struct config *c, const char *option)
{
	for (unsigned i = 0; i < ARRAY_SIZE(option_keys); i++)
		if (!strcmp(option_keys[i].name, option) && option_keys[i].kind == &flag)
			return *(const bool *)((const char *)c + option_keys[i].off);
	return -ENOENT;
}

/* The names of a table as "a, b, c", for "unknown key" messages. */
static const char *key_list(const struct key *keys, unsigned n, char *buf, size_t len)
{
	size_t at = 0;

	buf[0] = '\0';
	for (unsigned i = 0; i < n && at < len; i++)
		at += (size_t)snprintf(buf + at, len - at, "%s%s", i ? ", " : "", keys[i].name);
	return buf;
}

/* One "key=value" or "key" of len bytes, into the struct at base. */
static int assign(const struct key *keys, unsigned n, const char *text, size_t len, void *base,
		  struct err *e)
{
	const char *eq = memchr(text, '=', len);
	size_t name_len = eq ? (size_t)(eq - text) : len;
	char value[CONFIG_VALUE_MAX], list[256];
	const struct key *k = NULL;

	for (unsigned i = 0; i < n && !k; i++)
		if (strlen(keys[i].name) == name_len && !memcmp(keys[i].name, text, name_len))
			k = &keys[i];
	if (!k)
		return err_set(e, -EINVAL, "%.*s: unknown key; there are %s", (int)name_len, text,
			       key_list(keys, n, list, sizeof(list)));
	if (!eq && !k->kind->bare)
		return err_set(e, -EINVAL, "%s: needs a value, %s=...: %s", k->name, k->name,
			       k->law);
	if (!eq)
		return k->kind->parse(k, "on", (char *)base + k->off, e);
	len -= name_len + 1;
	if (len >= sizeof(value))
		return err_set(e, -EINVAL, "%s: value of %zu bytes is too long", k->name, len);
	memcpy(value, eq + 1, len);
	value[len] = '\0';
	return k->kind->parse(k, value, (char *)base + k->off, e);
}

void config_init(struct config *c)
{
	memset(c, 0, sizeof(*c));
	c->coalesce = true;
	c->pagemap = true;
}

/*
 * DPDK's driver (22.11 at least) tells a packed ring's device area where a split ring's used ring
 * would be. From this size on that is another page than its own, behind the ring's memory.
 */
#define PACKED_SIZE_DOUBTED 2048

static bool is_key(const char *text, size_t len, const char *key)
{
	size_t n = strlen(key);

	return len >= n && !memcmp(text, key, n) && (len == n || text[n] == '=');
}

int config_add_net(struct config *c, const char *text, struct err *e)
{
	bool told = false;
	struct net_config n = {
		.pairs = 1, .queue_size = 256, .mode = NET_MODERN, .packed = true,
		.mrg_rxbuf = true, .timeout_ms = 2000, .wait_ms = 1000,
	};

	if (c->nets == CONFIG_NETS_MAX)
		return err_set(e, -E2BIG, "more than %u devices", CONFIG_NETS_MAX);
	while (*text) {
		size_t len = strcspn(text, ",");
		int rc = 0;

		if (len)
			rc = assign(net_keys, ARRAY_SIZE(net_keys), text, len, &n, e);
		if (rc)
			return rc;
		told |= is_key(text, len, "packed");
		text += len + (text[len] == ',');
	}
	if (!told && n.queue_size >= PACKED_SIZE_DOUBTED)
		n.packed = false;
	c->net[c->nets++] = n;
	return 0;
}

int config_option(struct config *c, const char *text, struct err *e)
{
	return assign(option_keys, ARRAY_SIZE(option_keys), text, strlen(text), c, e);
}

/* ---- back into text ------------------------------------------------------------------------ */

struct writer {
	char  *buf;
	size_t len, at;			/* at: bytes needed so far, possibly past len */
};

static void put(struct writer *w, const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++, w->at++)
		if (w->at + 1 < w->len)
			w->buf[w->at] = text[i];
	if (w->len)
		w->buf[w->at < w->len ? w->at : w->len - 1] = '\0';
}

int config_format(const struct config *c, char *buf, unsigned len)
{
	struct writer w = { buf, len, 0 };
	char item[CONFIG_VALUE_MAX + 32];

	for (unsigned i = 0; i < c->nets; i++) {
		const char *sep = "net ";

		for (unsigned k = 0; k < ARRAY_SIZE(net_keys); k++) {
			const struct key *key = &net_keys[k];
			const char *at = (const char *)&c->net[i] + key->off;

			if (key->kind->print(key, at, item, sizeof(item)) <= 0)
				continue;
			put(&w, sep);
			put(&w, item);
			sep = ",";
		}
		put(&w, "\n");
	}
	for (unsigned k = 0; k < ARRAY_SIZE(option_keys); k++) {
		const struct key *key = &option_keys[k];

		if (key->kind->print(key, (const char *)c + key->off, item, sizeof(item)) <= 0)
			continue;
		put(&w, "option ");
		put(&w, item);
		put(&w, "\n");
	}
	return (int)w.at;
}
