// SPDX-License-Identifier: Apache-2.0
// config_load.c - configuration files, and what makes a configuration whole.
//
// Files are read with raw system calls: the preload library runs this inside other people's
// programs, where open() and read() may be its own wrappers.
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "sim/app/config.h"
#include "sim/core/err.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define CONFIG_LINE_MAX  1024	/* the longest --net included */
#define CONFIG_LINES_MAX 4096
#define SLOT_FIRST 4		/* 0000:00:04.0: above the host bridges of real machines */

static_assert(CONFIG_NETS_MAX <= 2 * 32 - SLOT_FIRST, "every device finds a slot on two buses");

/* ---- files --------------------------------------------------------------------------------- */

struct reader {
	int    fd;
	char   buf[CONFIG_LINE_MAX];
	size_t len, pos;
};

/* 1: the next byte, 0: end, -errno. */
static int reader_byte(struct reader *r, char *byte)
{
	if (r->pos == r->len) {
		long n;

		do {
			n = syscall(SYS_read, r->fd, r->buf, sizeof(r->buf));
		} while (n < 0 && errno == EINTR);
		if (n <= 0)
			return n ? -errno : 0;
		r->len = (size_t)n;
		r->pos = 0;
	}
	*byte = r->buf[r->pos++];
	return 1;
}

/* 1: a line without its end, 0: no more, -E2BIG: it does not fit. */
static int reader_line(struct reader *r, char *line, size_t size)
{
	size_t len = 0;
	char byte = 0;
	int rc;

	while ((rc = reader_byte(r, &byte)) == 1 && byte != '\n') {
		if (len + 1 == size)
			return -E2BIG;
		line[len++] = byte;
	}
	while (len && strchr(" \t\r", line[len - 1]))
		len--;
	line[len] = '\0';
	return rc < 0 ? rc : rc == 1 || len;
}

static const struct statement {
	const char *word;
	int (*add)(struct config *c, const char *text, struct err *e);
} statements[] = {
	{ "net", config_add_net },
	{ "option", config_option },
};

static int line_add(struct config *c, const char *line, struct err *e)
{
	size_t len;

	line += strspn(line, " \t");
	if (!*line || *line == '#')
		return 0;
	len = strcspn(line, " \t");
	for (unsigned i = 0; i < ARRAY_SIZE(statements); i++) {
		const struct statement *s = &statements[i];

		if (strlen(s->word) == len && !memcmp(s->word, line, len))
			return s->add(c, line + len + strspn(line + len, " \t"), e);
	}
	return err_set(e, -EINVAL, "%.*s: unknown statement; there are net and option", (int)len,
		       line);
}

int config_load(struct config *c, const char *file, struct err *e)
{
	struct reader r = { .fd = -1 };
	char line[CONFIG_LINE_MAX];
	unsigned num = 0;
	int rc;

	r.fd = (int)syscall(SYS_openat, AT_FDCWD, file, O_RDONLY | O_CLOEXEC);
	if (r.fd < 0)
		return err_set(e, -errno, "%s: cannot be read: %s", file, strerror(errno));
	while ((rc = reader_line(&r, line, sizeof(line))) == 1) {
		num++;
		rc = num > CONFIG_LINES_MAX ? err_set(e, -E2BIG, "too many lines") :
		     line_add(c, line, e);
		if (rc) {
			rc = err_wrap(e, rc, "%s:%u", file, num);
			goto out;
		}
	}
	if (rc == -E2BIG)
		rc = err_set(e, rc, "%s:%u: line longer than %u bytes", file, num + 1,
			     CONFIG_LINE_MAX - 1);
	else if (rc)
		rc = err_set(e, rc, "%s: cannot be read: %s", file, strerror(-rc));
out:
	syscall(SYS_close, r.fd);
	return rc;
}

/* ---- the whole ----------------------------------------------------------------------------- */

static bool mac_taken(const struct config *c, const uint8_t m[6])
{
	for (unsigned i = 0; i < c->nets; i++)
		if (!memcmp(c->net[i].mac, m, 6))
			return true;
	return false;
}

static bool mac_given(const struct net_config *n)
{
	static const uint8_t none[6];

	return memcmp(n->mac, none, sizeof(none)) != 0;
}

static uint64_t fnv1a(uint64_t hash, const char *text)
{
	do {
		hash = (hash ^ (unsigned char)*text) * 0x100000001b3;
	} while (*text++);
	return hash;
}

/* Locally administered, the same at each start of the same pod, another in another pod. */
static void mac_derive(const struct config *c, struct net_config *n)
{
	uint64_t hash = 0xcbf29ce484222325;
	struct utsname host = { .nodename = "" };
	uint8_t m[6];

	uname(&host);
	hash = fnv1a(fnv1a(fnv1a(hash, host.nodename), n->id), n->socket);
	do {
		m[0] = 0x02;
		for (unsigned i = 1; i < 6; i++)
			m[i] = (uint8_t)(hash >> (8 * i));
		hash = fnv1a(hash, "again");
	} while (mac_taken(c, m));
	memcpy(n->mac, m, sizeof(m));
}

static struct net_config *net_by_id(struct config *c, const char *id)
{
	for (unsigned i = 0; i < c->nets; i++)
		if (!strcmp(c->net[i].id, id))
			return &c->net[i];
	return NULL;
}

static struct net_config *net_by_bdf(struct config *c, const char *addr)
{
	for (unsigned i = 0; i < c->nets; i++)
		if (!strcmp(c->net[i].bdf, addr))
			return &c->net[i];
	return NULL;
}

static void id_assign(struct config *c, struct net_config *n)
{
	char id[sizeof(n->id)];

	for (unsigned i = 0; i < CONFIG_NETS_MAX; i++) {
		snprintf(id, sizeof(id), "net%u", i);
		if (!net_by_id(c, id))
			break;
	}
	memcpy(n->id, id, sizeof(id));
}

static void bdf_assign(struct config *c, struct net_config *n)
{
	char addr[sizeof(n->bdf)];

	for (unsigned slot = SLOT_FIRST; slot < 2 * 32; slot++) {
		snprintf(addr, sizeof(addr), "0000:%02x:%02x.0", slot / 32 & 0xff, slot % 32);
		if (!net_by_bdf(c, addr))
			break;
	}
	memcpy(n->bdf, addr, sizeof(addr));
}

static int pair_check(const struct net_config *a, const struct net_config *b, struct err *e)
{
	if (!strcmp(a->id, b->id))
		return err_set(e, -EEXIST, "id=%s is given to two devices", b->id);
	if (!strcmp(a->bdf, b->bdf))
		return err_set(e, -EEXIST, "%s and %s both ask for bdf=%s", a->id, b->id, b->bdf);
	if (mac_given(a) && !memcmp(a->mac, b->mac, sizeof(a->mac)))
		return err_set(e, -EEXIST,
			       "%s and %s both ask for mac=%02x:%02x:%02x:%02x:%02x:%02x", a->id,
			       b->id, b->mac[0], b->mac[1], b->mac[2], b->mac[3], b->mac[4],
			       b->mac[5]);
	if ((a->server || b->server) && a->socket[0] && !strcmp(a->socket, b->socket))
		return err_set(e, -EEXIST, "%s and %s share socket=%s, where one is the server",
			       a->id, b->id, b->socket);
	return 0;
}

int config_finish(struct config *c, struct err *e)
{
	int rc;

	for (unsigned i = 0; i < c->nets; i++)
		if (!c->net[i].id[0])
			id_assign(c, &c->net[i]);
	for (unsigned i = 0; i < c->nets; i++) {
		if (!c->net[i].bdf[0])
			bdf_assign(c, &c->net[i]);
		if (!c->net[i].socket[0] && !c->net[i].tap[0] && !c->sockets_later)
			return err_set(e, -EINVAL, "%s: socket=PATH is missing", c->net[i].id);
		if (!mac_given(&c->net[i]) &&
		    (c->net[i].socket[0] || c->net[i].tap[0] || !c->sockets_later))
			mac_derive(c, &c->net[i]);
	}
	for (unsigned i = 0; i < c->nets; i++)
		for (unsigned j = 0; j < i; j++) {
			rc = pair_check(&c->net[j], &c->net[i], e);
			if (rc)
				return rc;
		}
	return 0;
}
