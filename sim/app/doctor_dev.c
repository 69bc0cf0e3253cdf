// SPDX-License-Identifier: Apache-2.0
// doctor_dev.c - what the devices themselves say, asked at the control sockets of the processes
// that have them open. See doctor.h.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "include/ctlapi.h"
#include "sim/app/dev.h"
#include "sim/app/doctor.h"
#include "sim/core/err.h"

#define TIMEOUT_MS 3000

struct device {
	char name[32], state[32], link[16], socket[128], process[32], status[96];
	unsigned long long features;
};

static const char *get(const struct ctl_rows *r, size_t i, const char *field, char *buf,
		       size_t size)
{
	buf[0] = '\0';
	return ctl_rows_get(r, i, field, buf, size) ? buf : "";
}

static void say_state(struct doctor *d, const struct device *v)
{
	if (!strcmp(v->state, "broken"))
		doctor_say(d, FAIL, v->name, "restart the application; PODPCI_LOG=info says what "
			   "it did", "the device wants a reset: its driver or its back-end broke "
			   "a ring");
	else if (strcmp(v->state, "running"))
		doctor_say(d, WARN, v->name, "does the application start its port?",
			   "%s has it open and has not started it (%s)", v->process,
			   v->status[0] ? v->status : v->state);
	else if (strcmp(v->link, "up"))
		doctor_say(d, FAIL, v->name, "start the back-end; see its log for why it refused "
			   "the session", "link %s: the back-end at %s is not there or does not "
			   "serve us", v->link, v->socket);
	else
		doctor_say(d, GOOD, v->name, NULL, "driven by %s, link up", v->process);
}

/* What was agreed on and matters for whoever wonders about speed or lost frames. */
static void say_features(struct doctor *d, const struct device *v)
{
	static const struct {
		unsigned bit;
		const char *name;
	} told[] = {
		{ VIRTIO_F_VERSION_1, "version 1" }, { VIRTIO_F_RING_PACKED, "packed rings" },
		{ VIRTIO_NET_F_MRG_RXBUF, "mergeable buffers" },
		{ VIRTIO_NET_F_MQ, "multi-queue" }, { VIRTIO_NET_F_CTRL_VQ, "control queue" },
		{ VIRTIO_NET_F_STATUS, "link status" },
	};
	char text[200] = "";
	size_t n = 0;

	for (unsigned i = 0; i < sizeof(told) / sizeof(told[0]); i++)
		if (v->features >> told[i].bit & 1)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? ", " : "",
					      told[i].name);
	if (strcmp(v->state, "running"))
		return;
	doctor_say(d, GOOD, v->name, NULL, "agreed: %s (%#llx)", text[0] ? text : "the least",
		   v->features);
}

static unsigned long long counter(const struct ctl_rows *r, size_t i, const char *name)
{
	char buf[32];

	return strtoull(get(r, i, name, buf, sizeof(buf)), NULL, 10);
}

/* Counters that should be 0. */
static const struct bad {
	const char *counter, *fix;
} bads[] = {
	{ "bad_rings", "the driver gave rings that cannot be; PODPCI_LOG=info names them" },
	{ "notifies_dropped", "doorbells of queues that do not run: is the port started?" },
	{ "requests_refused", "the back-end refused a request; its log says which" },
	{ "clients_refused", "two back-ends want this port, or a second one probes it" },
	{ "memory_failed", "the back-end could not take the memory: at most 8 regions; "
	  "leave coalesce on, or --single-file-segments" },
	{ "decoder_misses", "an instruction the trap does not know touched a register: please "
	  "report it with PODPCI_LOG=debug" },
};

static void say_counters(struct doctor *d, const struct ctl_rows *r)
{
	for (size_t i = 0; i < ctl_rows_count(r); i++) {
		char name[32];

		get(r, i, "name", name, sizeof(name));
		for (unsigned k = 0; k < sizeof(bads) / sizeof(bads[0]); k++)
			if (counter(r, i, bads[k].counter))
				doctor_say(d, WARN, name, bads[k].fix, "%s: %llu",
					   bads[k].counter, counter(r, i, bads[k].counter));
		if (counter(r, i, "notifies") > 100000)
			doctor_say(d, WARN, name, "a polling back-end asks for no doorbells",
				   "%llu doorbells, each a trap: the back-end sleeps between "
				   "frames", counter(r, i, "notifies"));
	}
}

static void devices_of(struct doctor *d, const char *path, unsigned *seen)
{
	static const char *const show[] = { "dev", "show" }, *const stats[] = { "dev", "stats" };
	struct ctl_rows *rows = NULL;
	struct ctl *c = NULL;
	struct err e = { 0 };
	struct device v;
	char features[32];
	int rc = ctl_open(&c, path, TIMEOUT_MS, &e);

	if (!rc)
		rc = ctl_call(c, show, 2, &rows, &e);
	for (size_t i = 0; !rc && i < ctl_rows_count(rows); i++) {
		get(rows, i, "name", v.name, sizeof(v.name));
		get(rows, i, "state", v.state, sizeof(v.state));
		get(rows, i, "link", v.link, sizeof(v.link));
		get(rows, i, "socket", v.socket, sizeof(v.socket));
		get(rows, i, "process", v.process, sizeof(v.process));
		get(rows, i, "status", v.status, sizeof(v.status));
		get(rows, i, "features", features, sizeof(features));
		v.features = strtoull(features, NULL, 16);
		if (!v.process[0] || !strcmp(v.state, "free"))
			continue;	/* a queue's row, or nobody's device */
		++*seen;
		say_state(d, &v);
		say_features(d, &v);
	}
	ctl_rows_free(rows);
	rows = NULL;
	if (!rc && !ctl_call(c, stats, 2, &rows, &e))
		say_counters(d, rows);
	ctl_rows_free(rows);
	ctl_close(c);
}

static void dir_of(struct doctor *d, const char *dir, unsigned *seen)
{
	struct names sockets;

	look_names(d, dir, DEV_SUFFIX, &sockets);
	for (unsigned i = 0; i < sockets.n; i++) {
		char inside[600], path[64];
		int fd;

		snprintf(inside, sizeof(inside), "%s/%s", dir, sockets.name[i]);
		fd = look_open(d, inside, O_PATH);
		if (fd < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		devices_of(d, path, seen);
		close(fd);
	}
	look_free(&sockets);
}

void doctor_devices(struct doctor *d)
{
	static const char users[] = DEV_DIR_USER;	/* a directory, and how names in it begin */
	const char *prefix = strrchr(users, '/') + 1;
	int len = (int)(prefix - users);
	struct names dirs;
	unsigned seen = 0;
	char dir[300];

	if (!d->have_config)
		return;
	dir_of(d, DEV_DIR, &seen);
	snprintf(dir, sizeof(dir), "%.*s", len, users);
	look_names(d, dir, "", &dirs);
	for (unsigned i = 0; i < dirs.n; i++) {
		snprintf(dir, sizeof(dir), "%.*s%s", len, users, dirs.name[i]);
		if (!strncmp(dirs.name[i], prefix, strlen(prefix)))
			dir_of(d, dir, &seen);
	}
	look_free(&dirs);
	if (!seen)
		doctor_say(d, WARN, NULL, "start the application; does it find the device "
			   "(lspci, EAL log)?", "no process has a device open");
}
