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

/* An open device: a row of `dev show`, and its row of `dev stats`. */
struct device {
	char name[32], state[32], link[16], socket[128], process[32], status[96];
	unsigned long long features;
	const struct ctl_rows *stats;
	size_t stat;
};

typedef void (*device_fn)(struct doctor *d, const struct device *v);

static const char *get(const struct ctl_rows *r, size_t i, const char *field, char *buf,
		       size_t size)
{
	buf[0] = '\0';
	return ctl_rows_get(r, i, field, buf, size) ? buf : "";
}

static bool running(const struct device *v)
{
	return !strcmp(v->state, "running");
}

static void say_state(struct doctor *d, const struct device *v)
{
	if (!strcmp(v->state, "broken"))
		doctor_say(d, FAIL, v->name, "restart the application; PODPCI_LOG=info says what "
			   "it did", "the device wants a reset: its driver or its back-end broke "
			   "a ring");
	else if (!running(v))
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
	if (!running(v))
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
	{ "ring_errors", "the back-end says that a ring is broken; its log says why" },
	{ "decoder_misses", "an instruction the trap does not know touched a register: please "
	  "report it with PODPCI_LOG=debug" },
};

static unsigned long long count(const struct device *v, const char *name)
{
	return v->stats ? counter(v->stats, v->stat, name) : 0;
}

/* Of devices, and of the process itself. */
static void say_counters(struct doctor *d, const struct ctl_rows *r)
{
	for (size_t i = 0; i < ctl_rows_count(r); i++) {
		char name[32];

		get(r, i, "name", name, sizeof(name));
		for (unsigned k = 0; k < sizeof(bads) / sizeof(bads[0]); k++)
			if (counter(r, i, bads[k].counter))
				doctor_say(d, WARN, name, bads[k].fix, "%s: %llu",
					   bads[k].counter, counter(r, i, bads[k].counter));
	}
}

/* ---- a check's view of one device ----------------------------------------------------------- */

static void one_device(struct doctor *d, const struct device *v)
{
	say_state(d, v);
	say_features(d, v);
}

/* What the driver lends against what the back-end takes. */
static void one_memory(struct doctor *d, const struct device *v)
{
	static const char fix[] = "leave option coalesce on; or EAL option "
		"--single-file-segments, or larger hugepages";
	unsigned long long lent = count(v, "memory_lent"), max = count(v, "memory_regions_max");

	if (!max)
		return;			/* no back-end was ever there: said of its link */
	if (lent > max)
		doctor_say(d, FAIL, v->name, fix, "the driver's memory is in %llu regions and the "
			   "back-end takes %llu", lent, max);
	else if (count(v, "memory_refused"))
		doctor_say(d, WARN, v->name, fix, "%llu of at most %llu regions; the driver has "
			   "asked for more and was refused", lent, max);
	else if (!lent && running(v))
		doctor_say(d, FAIL, v->name, "does its log say that DMA could not be mapped? "
			   "podpci dev trace shows what it asked for",
			   "the driver runs and has lent no memory");
	else
		doctor_say(d, lent == max ? WARN : GOOD, v->name, fix, "%llu of at most %llu "
			   "regions%s", lent, max, lent == max ? ": no more memory can come" : "");
}

/* A kick is a trap, an interrupt a system call: with both sides polling there are few. */
static void one_kicked(struct doctor *d, const struct device *v)
{
	unsigned long long kicks = count(v, "notifies"), irqs = count(v, "irqs_queue");

	if (!running(v))
		return;
	if (kicks > 100000)
		doctor_say(d, WARN, v->name, "a polling back-end asks for no doorbells",
			   "%llu doorbells, each a trap: the back-end sleeps between "
			   "frames", kicks);
	else
		doctor_say(d, GOOD, v->name, NULL, "%llu doorbells, %llu interrupts", kicks, irqs);
}

static void one_traffic(struct doctor *d, const struct device *v)
{
	struct stat st;
	int rc;

	if (!running(v) || strcmp(v->link, "up") || look_stat(d, v->socket, &st))
		return;			/* said of its state and its socket */
	rc = doctor_traffic(d, v->name, &st);
	if (rc == -ENOENT && !d->pid)
		doctor_say(d, WARN, v->name, "on the host: podpci doctor pod --pid PID, or ask "
			   "the back-end", "no switch is seen from here that counts its frames");
	else if (rc)
		doctor_say(d, WARN, v->name, "ask the back-end for its counters; is it another "
			   "than podpci-switch? is this root?", "no port of a switch here is at "
			   "%s", v->socket);
}

/* ---- all devices ---------------------------------------------------------------------------- */

static bool read_device(struct device *v, const struct ctl_rows *rows, size_t i,
			const struct ctl_rows *stats)
{
	char text[32];

	get(rows, i, "name", v->name, sizeof(v->name));
	get(rows, i, "state", v->state, sizeof(v->state));
	get(rows, i, "link", v->link, sizeof(v->link));
	get(rows, i, "socket", v->socket, sizeof(v->socket));
	get(rows, i, "process", v->process, sizeof(v->process));
	get(rows, i, "status", v->status, sizeof(v->status));
	v->features = strtoull(get(rows, i, "features", text, sizeof(text)), NULL, 16);
	v->stats = NULL;
	for (size_t k = 0; stats && k < ctl_rows_count(stats); k++)
		if (!strcmp(get(stats, k, "name", text, sizeof(text)), v->name)) {
			v->stats = stats;
			v->stat = k;
		}
	/* else a queue's row, or nobody's device */
	return v->process[0] && strcmp(v->state, "free");
}

static unsigned devices_of(struct doctor *d, const char *path, device_fn one)
{
	static const char *const show[] = { "dev", "show" }, *const told[] = { "dev", "stats" };
	struct ctl_rows *rows = NULL, *stats = NULL;
	struct ctl *c = NULL;
	struct err e = { 0 };
	struct device v;
	unsigned seen = 0;
	int rc = ctl_open(&c, path, TIMEOUT_MS, &e);

	if (!rc)
		rc = ctl_call(c, show, 2, &rows, &e);
	if (!rc && ctl_call(c, told, 2, &stats, &e))
		stats = NULL;
	for (size_t i = 0; !rc && i < ctl_rows_count(rows); i++)
		if (read_device(&v, rows, i, stats)) {
			seen++;
			one(d, &v);
		}
	if (stats && one == one_device)
		say_counters(d, stats);
	ctl_rows_free(rows);
	ctl_rows_free(stats);
	ctl_close(c);
	return seen;
}

static unsigned dir_of(struct doctor *d, const char *dir, device_fn one)
{
	struct names sockets;
	unsigned seen = 0;

	look_names(d, dir, DEV_SUFFIX, &sockets);
	for (unsigned i = 0; i < sockets.n; i++) {
		char inside[600], path[64];
		int fd;

		snprintf(inside, sizeof(inside), "%s/%s", dir, sockets.name[i]);
		fd = look_open(d, inside, O_PATH);
		if (fd < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		seen += devices_of(d, path, one);
		close(fd);
	}
	look_free(&sockets);
	return seen;
}

static unsigned each_device(struct doctor *d, device_fn one)
{
	static const char users[] = DEV_DIR_USER;	/* a directory, and how names in it begin */
	const char *prefix = strrchr(users, '/') + 1;
	int len = (int)(prefix - users);
	struct names dirs;
	char dir[300];
	unsigned seen;

	if (!d->have_config)
		return 0;
	seen = dir_of(d, DEV_DIR, one);
	snprintf(dir, sizeof(dir), "%.*s", len, users);
	look_names(d, dir, "", &dirs);
	for (unsigned i = 0; i < dirs.n; i++) {
		snprintf(dir, sizeof(dir), "%.*s%s", len, users, dirs.name[i]);
		if (!strncmp(dirs.name[i], prefix, strlen(prefix)))
			seen += dir_of(d, dir, one);
	}
	look_free(&dirs);
	return seen;
}

void doctor_devices(struct doctor *d)
{
	if (!each_device(d, one_device) && d->have_config)
		doctor_say(d, WARN, NULL, "start the application; does it find the device "
			   "(lspci, EAL log)?", "no process has a device open");
}

void doctor_regions(struct doctor *d)
{
	each_device(d, one_memory);
}

void doctor_kicks(struct doctor *d)
{
	each_device(d, one_kicked);
}

void doctor_packets(struct doctor *d)
{
	each_device(d, one_traffic);
}
