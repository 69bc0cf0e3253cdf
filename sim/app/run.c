// SPDX-License-Identifier: Apache-2.0
// run.c - `podpci run`: a command on a machine with simulated devices.
//
// The process prepares its own namespace and environment and then becomes the command, so the
// command's exit status, signals and terminal are its own.
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "include/ioapi.h"
#include "sim/app/attach.h"
#include "sim/app/cmds.h"
#include "sim/app/ns.h"
#include "sim/app/sim.h"
#include "sim/app/sysfs.h"
#include "sim/core/err.h"

static const char usage[] =
	"Usage: podpci run --net [socket=PATH][,KEY=VALUE...] [--net ...] [OPTIONS] -- COMMAND...\n"
	"\n"
	"Runs COMMAND with simulated virtio-net PCI devices, one for each --net, whose packets\n"
	"go to the vhost-user back-end on the socket. A device without socket= gets a port of the\n"
	"node's switch for as long as COMMAND runs; where no switch runs, or none that this user\n"
	"may ask, a private one is started that connects the devices with each other. Works as\n"
	"root and as an ordinary user. The exit status is the command's; 125: podpci itself\n"
	"failed, 126: the command cannot be executed, 127: there is no such command.\n"
	"\n";

static const char examples[] =
	"\n"
	"DPDK wants hugepages: root gets a hugetlbfs where none is mounted; an ordinary user "
	"needs\n"
	"one with mode=1777, or DPDK's option --in-memory.\n"
	"\n"
	"Examples:\n"
	"  podpci run --net socket=/run/vhost/p0.sock -- lspci -vvv\n"
	"  podpci run --net mac=52:54:00:00:00:01 -- dpdk-testpmd -- -i\n"
	"  podpci run --net socket=/run/vhost/p0.sock,mac=52:54:00:00:00:01,queues=2 \\\n"
	"             --net socket=/run/vhost/p1.sock,server,mode=transitional \\\n"
	"             -- dpdk-testpmd -- -i\n"
	"  podpci run --config /etc/podpci.conf -- ./my-dpdk-app\n";

static void help(void)
{
	fputs(usage, stdout);
	opts_help();
	fputs(examples, stdout);
}

static int complain(const struct err *e)
{
	fprintf(stderr, "podpci: %s\n", e->msg);
	return CMD_FAILED;
}

static void warn(const struct net_config *n, const char *why)
{
	fprintf(stderr, "podpci: warning: %s: %s: %s\n", n->id, n->socket, why);
}

/* None of this is an error: a back-end may come, go and come back while the driver runs. */
static void socket_check(const struct net_config *n)
{
	char dir[VHOST_SOCKET_MAX];
	struct stat st;

	if (n->server) {
		memcpy(dir, n->socket, sizeof(dir));
		*strrchr(dir, '/') = '\0';
		if (access(dir[0] ? dir : "/", W_OK | X_OK))
			warn(n, "cannot be created in this directory; the link will stay down");
		return;
	}
	if (n->tap[0])
		return;
	if (stat(n->socket, &st))
		warn(n, errno == ENOENT ? "no such socket yet; the link is down until there is" :
		     "cannot be reached; the link will stay down");
	else if (!S_ISSOCK(st.st_mode))
		warn(n, "is not a socket; the link will stay down");
	else if (access(n->socket, W_OK))
		warn(n, "may not be written by this user; the link will stay down");
}

static int show_bus(const struct config *c, struct err *e)
{
	struct ioapi_bus *bus = NULL;
	int dirfd = -1, rc;

	rc = sim_new(&bus, c, e);
	if (!rc)
		rc = ns_enter(e);
	if (!rc)
		rc = ns_stage(&dirfd, e);
	if (!rc)
		rc = sysfs_render(bus, c, dirfd, (uid_t)-1, e);
	if (!rc)
		rc = ns_show(dirfd, e);
	if (dirfd >= 0)
		close(dirfd);
	ioapi_bus_close(bus);
	return rc;
}

/* Ours first: it must see the calls of libraries preloaded after it. */
static int set_environment(const struct opts *o, const char *lib, struct err *e)
{
	const char *theirs = getenv("LD_PRELOAD");
	char *list;
	int rc;

	if (asprintf(&list, "%s%s%s", lib, theirs && *theirs ? ":" : "", theirs ? theirs : "") < 0)
		return err_set(e, -ENOMEM, "environment: out of memory");
	rc = setenv("LD_PRELOAD", list, 1);
	free(list);
	rc = rc ? rc : setenv("PODPCI_CONFIG", CONFIG_PATH, 1);
	if (!rc && o->verbose)
		rc = setenv("PODPCI_LOG", "info", 1);
	return rc ? err_set(e, -ENOMEM, "environment: out of memory") : 0;
}

static int dry_run(const struct opts *o)
{
	char text[32768];

	config_format(&o->config, text, sizeof(text));
	fputs(text, stdout);
	return 0;
}

int cmd_run(int argc, char **argv)
{
	char lib[PATH_MAX];
	struct err e = { 0 };
	struct opts o;
	int rc;

	rc = opts_parse(&o, argc, argv, &e);
	if (!rc && o.help) {
		help();
		return 0;
	}
	if (!rc && !o.config.nets)
		rc = err_set(&e, -EINVAL, "no device: give --net [KEY=VALUE,...] or --config FILE");
	o.config.sockets_later = true;
	if (!rc)
		rc = opts_finish(&o, &e);
	if (!rc && o.dry_run)
		return dry_run(&o);
	if (!rc && !o.rest[0])
		rc = err_set(&e, -EINVAL, "no command: podpci run [OPTIONS] -- COMMAND...");
	if (!rc)
		rc = opts_lib(&o, lib, sizeof(lib), &e);
	if (!rc)
		rc = attach_ports(&o.config, o.sw, o.verbose, &e);
	o.config.sockets_later = false;
	if (!rc)
		rc = opts_finish(&o, &e);
	if (rc)
		return complain(&e);
	for (unsigned i = 0; i < o.config.nets; i++)
		socket_check(&o.config.net[i]);
	rc = show_bus(&o.config, &e);
	if (!rc)
		rc = set_environment(&o, lib, &e);
	if (rc)
		return complain(&e);
	execvp(o.rest[0], o.rest);
	rc = errno == ENOENT ? CMD_NOT_FOUND : CMD_NOT_EXEC;
	fprintf(stderr, "podpci: %s: %s\n", o.rest[0], strerror(errno));
	return rc;
}
