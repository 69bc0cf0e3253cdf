// SPDX-License-Identifier: Apache-2.0
// podpci_switch.c - the daemon: options, configuration file, signals, and the control loop.
#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "sim/app/switch.h"
#include "sim/app/switchd.h"
#include "sim/backend/closer.h"
#include "sim/core/err.h"
#include "sim/core/guard.h"
#include "sim/core/log.h"

#define COMMANDS_MAX 256
#define LINE_MAX_LEN 4096
#define ALLOW_MAX 16
#define WHO "switch"

struct options {
	const char *socket, *config, *metrics, *level;
	int gid;
	bool confine;
	struct sw_opts sw;
	unsigned ncommands;
	const char *command[COMMANDS_MAX];	/* run before the rights are dropped */
	unsigned nallow;
	const char *allow[ALLOW_MAX];
};

/* ---- options ------------------------------------------------------------------------------- */

static int set_socket(struct options *o, const char *v)
{
	o->socket = v;
	return 0;
}

static int set_config(struct options *o, const char *v)
{
	o->config = v;
	return 0;
}

static int set_metrics(struct options *o, const char *v)
{
	o->metrics = v;
	return 0;
}

static int set_level(struct options *o, const char *v)
{
	o->level = v;
	return 0;
}

static int set_number(const char *v, unsigned min, unsigned max, unsigned *to)
{
	char *end;
	unsigned long n;

	if (*v < '0' || *v > '9')
		return -EINVAL;
	n = strtoul(v, &end, 10);
	if (*end || n < min || n > max)
		return -EINVAL;
	*to = (unsigned)n;
	return 0;
}

static int set_workers(struct options *o, const char *v)
{
	return set_number(v, 1, WORKERS_MAX, &o->sw.workers.n);
}

static int set_cpus(struct options *o, const char *v)
{
	unsigned i = 0, cpu;
	char one[8];

	do {
		size_t len = strcspn(v, ",");

		if (i == WORKERS_MAX || len >= sizeof(one))
			return -EINVAL;
		memcpy(one, v, len);
		one[len] = 0;
		if (set_number(one, 0, 1023, &cpu))
			return -EINVAL;
		o->sw.workers.cpu[i++] = (int)cpu;
		v += len;
	} while (*v++ == ',');
	if (o->sw.workers.n < i)
		o->sw.workers.n = i;
	return 0;
}

static int set_mode(struct options *o, const char *v)
{
	static const char *const names[] = { "poll", "adaptive", "event" };

	for (unsigned i = 0; i < WORKERS_MODES; i++) {
		if (strcmp(v, names[i]))
			continue;
		o->sw.workers.mode = (enum workers_mode)i;
		return 0;
	}
	return -EINVAL;
}

static int set_spin(struct options *o, const char *v)
{
	return set_number(v, 1, 1000000, &o->sw.workers.spin_us);
}

static int set_fdb(struct options *o, const char *v)
{
	return set_number(v, 16, 1u << 20, &o->sw.fdb_max);
}

static int set_age(struct options *o, const char *v)
{
	unsigned n = 0;
	int rc = set_number(v, 1, 30000, &n);

	o->sw.age_max = (uint16_t)n;
	return rc;
}

static int set_group(struct options *o, const char *v)
{
	const struct group *g = getgrnam(v);
	unsigned n;

	if (!g && set_number(v, 0, 1u << 30, &n))
		return -EINVAL;
	o->gid = g ? (int)g->gr_gid : (int)n;
	return 0;
}

static int set_port(struct options *o, const char *v)
{
	if (o->ncommands == COMMANDS_MAX)
		return -E2BIG;
	o->command[o->ncommands++] = v;
	return 0;
}

static int set_allow(struct options *o, const char *v)
{
	if (o->nallow == ALLOW_MAX)
		return -E2BIG;
	o->allow[o->nallow++] = v;
	return 0;
}

static int set_no_confine(struct options *o, const char *v)
{
	(void)v;
	o->confine = false;
	return 0;
}

static const struct option_row {
	const char *name, *value, *help;
	int (*set)(struct options *o, const char *v);
} rows[] = {
	{ "socket", "PATH", "control socket (" CTL_SOCKET ")", set_socket },
	{ "config", "FILE", "commands to start with, one a line; read again on SIGHUP",
	  set_config },
	{ "port", "'NAME KEY VALUE..'", "a port to start with; may be given often", set_port },
	{ "workers", "N", "threads that move frames (1)", set_workers },
	{ "cpus", "LIST", "a CPU for each of them, as 2,3", set_cpus },
	{ "mode", "MODE", "how they wait: poll, adaptive, event (adaptive)", set_mode },
	{ "spin-us", "N", "adaptive: microseconds to look for more before sleeping (100)",
	  set_spin },
	{ "addresses", "N", "room for learned addresses (16384)", set_fdb },
	{ "age", "SECONDS", "when a silent address is forgotten (300)", set_age },
	{ "group", "GROUP", "group of its sockets, which may use it", set_group },
	{ "metrics", "ADDRESS", "Prometheus metrics at a socket path or 127.0.0.1:PORT",
	  set_metrics },
	{ "allow", "DIR", "make sockets and captures here too; may be given often", set_allow },
	{ "log", "LEVEL", "error, warn, info, debug (info)", set_level },
	{ "no-confine", NULL, "keep rights, system calls and files (debugging)", set_no_confine },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

static void usage(FILE *to)
{
	fprintf(to, "Usage: podpci-switch [OPTIONS]\n\nA switch for the pods of a node: vhost-user "
		"ports, an uplink, one copy per frame.\n\n");
	for (unsigned i = 0; i < ROWS; i++)
		fprintf(to, "  --%-11s %-20s %s\n", rows[i].name,
			rows[i].value ? rows[i].value : "", rows[i].help);
	fprintf(to, "  --%-11s %-20s %s\n  --%-11s %-20s %s\n\n", "help", "", "this text",
		"version", "", "the version");
	fprintf(to, "Ports come and go while it runs: podpci switch port add p0. "
		"See podpci switch help.\n");
}

/* 0: go on, 1: done (help), -errno. */
static int parse(struct options *o, int argc, char **argv, struct err *e)
{
	struct option longs[ROWS + 3];
	int i, index;

	memset(longs, 0, sizeof(longs));
	for (unsigned r = 0; r < ROWS; r++)
		longs[r] = (struct option){ rows[r].name, rows[r].value ? required_argument :
					    no_argument, NULL, (int)r + 256 };
	longs[ROWS] = (struct option){ "help", no_argument, NULL, 'h' };
	longs[ROWS + 1] = (struct option){ "version", no_argument, NULL, 'V' };
	opterr = 0;
	while ((i = getopt_long(argc, argv, "hV", longs, &index)) != -1) {
		if (i == 'h')
			usage(stdout);
		if (i == 'V')
			printf("podpci-switch %s\n", PODPCI_VERSION);
		if (i == 'h' || i == 'V')
			return 1;
		if (i < 256)
			return err_set(e, -EINVAL, "%s: see --help", argv[optind - 1]);
		if (rows[i - 256].set(o, optarg))
			return err_set(e, -EINVAL, "--%s %s: not %s", rows[i - 256].name, optarg,
				       rows[i - 256].value);
	}
	if (optind < argc)
		return err_set(e, -EINVAL, "%s: see --help", argv[optind]);
	return 0;
}

/* ---- configuration ------------------------------------------------------------------------- */

/* Every line is a command; the first that fails is told, the others are carried out. */
static int load(struct sw *s, const char *path, struct err *e)
{
	char line[LINE_MAX_LEN];
	unsigned n = 0;
	int rc = 0;
	FILE *f = fopen(path, "re");

	if (!f)
		return err_set(e, -errno, "%s: %s", path, strerror(errno));
	while (fgets(line, sizeof(line), f)) {
		struct err one;

		n++;
		if (!sw_command(s, line, &one))
			continue;
		log_error(WHO, "%s:%u: %s", path, n, one.msg);
		if (!rc)
			rc = err_set(e, one.code, "%s:%u: %s", path, n, one.msg);
	}
	fclose(f);
	return rc;
}

static int first_ports(struct sw *s, const struct options *o, struct err *e)
{
	int rc = o->config ? load(s, o->config, e) : 0;

	for (unsigned i = 0; i < o->ncommands && !rc; i++) {
		char line[LINE_MAX_LEN];

		if ((size_t)snprintf(line, sizeof(line), "port add %s", o->command[i]) >=
		    sizeof(line))
			return err_set(e, -E2BIG, "--port: too long");
		rc = sw_command(s, line, e);
	}
	return rc;
}

/* ---- running ------------------------------------------------------------------------------- */

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The directory of the control socket, made if missing; also where ports' sockets go. */
static int make_dir(struct options *o, struct err *e)
{
	char *slash;

	if ((size_t)snprintf(o->sw.dir, sizeof(o->sw.dir), "%s", o->socket) >= sizeof(o->sw.dir))
		return err_set(e, -ENAMETOOLONG, "%s is too long for a socket", o->socket);
	slash = strrchr(o->sw.dir, '/');
	if (!slash) {
		snprintf(o->sw.dir, sizeof(o->sw.dir), ".");
		return 0;
	}
	*slash = 0;
	if (slash == o->sw.dir || access(o->sw.dir, F_OK) == 0)
		return 0;
	if (mkdir(o->sw.dir, 0750) < 0)
		return err_set(e, -errno, "%s: %s", o->sw.dir, strerror(errno));
	return 0;
}

static int block_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* True to go on. */
static bool on_signal(int fd, struct sw *s, const struct options *o)
{
	struct signalfd_siginfo info;
	struct err e;

	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return true;
	if (info.ssi_signo != SIGHUP)
		return false;
	switchd_notify("RELOADING=1");
	if (o->config && load(s, o->config, &e))
		log_error(WHO, "event=reload failed: %s", e.msg);
	else
		log_info(WHO, "event=reload");
	switchd_notify("READY=1");
	return true;
}

static void serve(struct sw *s, struct ctl_server *ctl, struct metrics *m, int signal_fd,
		  const struct options *o)
{
	struct pollfd p[] = {
		{ .fd = signal_fd, .events = POLLIN },
		{ .fd = ctl_server_fd(ctl), .events = POLLIN },
		{ .fd = s->event_fd, .events = POLLIN },
		{ .fd = metrics_fd(m), .events = POLLIN },
	};

	for (;;) {
		poll(p, sizeof(p) / sizeof(p[0]), 1000);
		if ((p[0].revents & POLLIN) && !on_signal(signal_fd, s, o))
			return;
		ctl_server_run(ctl, now_ms());
		metrics_run(m, s, now_ms());
		sw_tick(s, now_ms());
	}
}

/* Whatever is made from now on belongs to it. */
static int join_group(const struct options *o, struct err *e)
{
	if (o->gid < 0 || getegid() == (gid_t)o->gid || setegid((gid_t)o->gid) == 0)
		return 0;
	return err_set(e, -errno, "--group %d: %s (CAP_SETGID is needed)", o->gid, strerror(errno));
}

/*
 * Where a running switch goes by names: the directories of its sockets, where new ones are made;
 * its configuration, which may be another file one day or a link to one; those of --allow.
 */
static int allow_files(int rules, const struct options *o, const struct sw *s, struct err *e)
{
	int rc = switchd_rules_add_beside(rules, o->socket, SWITCHD_MAKE, e);
	char *real = o->config ? realpath(o->config, NULL) : NULL;

	for (unsigned i = 0; i < o->nallow && !rc; i++)
		rc = switchd_rules_add(rules, o->allow[i], SWITCHD_MAKE, e);
	for (unsigned i = 0; i < L2_PORTS_MAX && !rc; i++)
		if (s->port[i].used && s->port[i].socket[0] && !s->port[i].connect)
			rc = switchd_rules_add_beside(rules, s->port[i].socket, SWITCHD_MAKE, e);
	if (!rc && o->metrics && strchr(o->metrics, '/'))
		rc = switchd_rules_add_beside(rules, o->metrics, SWITCHD_REMOVE, e);
	if (!rc && o->config)
		rc = switchd_rules_add_beside(rules, o->config, SWITCHD_READ, e);
	if (!rc && real)
		rc = switchd_rules_add_beside(rules, real, SWITCHD_READ, e);
	free(real);
	return rc;
}

static int confine(const struct options *o, struct sw *s, struct err *e)
{
	int rules = switchd_rules_new(), rc = 0;

	if (rules < 0)
		log_warn(WHO, "event=no-landlock files are guarded by their owners only: %s",
			 strerror(-rules));
	else
		rc = allow_files(rules, o, s, e);
	if (!rc)
		rc = switchd_confine(s->w, rules, e);
	if (rules >= 0)
		close(rules);
	s->confined = !rc;
	return rc;
}

static int start(struct options *o, struct sw **s, struct ctl_server **ctl, struct metrics **m,
		 struct err *e)
{
	struct rlimit files = { 65536, 65536 }, pinned = { RLIM_INFINITY, RLIM_INFINITY };
	int rc = join_group(o, e);

	if (!rc)
		rc = make_dir(o, e);
	if (rc)
		return rc;
	(void)setrlimit(RLIMIT_NOFILE, &files);		/* many peers: what is allowed will do */
	(void)setrlimit(RLIMIT_MEMLOCK, &pinned);	/* peers' memory, where io_uring pins it */
	if (o->confine)
		o->sw.workers.begin = switchd_drop_rights;
	closer_start(o->confine ? switchd_seal_thread : NULL);
	if (guard_install())
		return err_set(e, -EIO, "cannot install fault handlers");
	rc = sw_new(s, &o->sw, e);
	if (!rc)
		rc = ctl_server_new(ctl, o->socket, SWITCHD_SOCKET_MODE, o->gid, sw_handle, *s, e);
	if (!rc && o->metrics)
		rc = metrics_new(m, o->metrics, e);
	if (!rc)
		rc = first_ports(*s, o, e);
	if (!rc && o->confine)
		rc = confine(o, *s, e);
	return rc;
}

int main(int argc, char **argv)
{
	struct options o = {
		.socket = CTL_SOCKET, .level = "info", .gid = -1, .confine = true,
		.sw = { .workers = { .n = 1, .mode = WORKERS_ADAPTIVE, .spin_us = 100 },
			.socket_mode = SWITCHD_SOCKET_MODE },
	};
	struct metrics *m = NULL;
	struct ctl_server *ctl = NULL;
	struct sw *s = NULL;
	struct err e = { 0 };
	int rc, signal_fd;

	memset(o.sw.workers.cpu, -1, sizeof(o.sw.workers.cpu));
	rc = parse(&o, argc, argv, &e);
	if (rc > 0)
		return 0;
	log_init(o.level);
	log_init(getenv("PODPCI_LOG"));
	signal_fd = block_signals();
	if (!rc)
		rc = start(&o, &s, &ctl, &m, &e);
	if (!rc) {
		log_info(WHO, "event=started socket=%s workers=%u", o.socket, o.sw.workers.n);
		switchd_notify("READY=1");
		serve(s, ctl, m, signal_fd, &o);
		switchd_notify("STOPPING=1");
		log_info(WHO, "event=stopped");
	} else {
		log_error(WHO, "%s", e.msg);
	}
	ctl_server_free(ctl);
	metrics_free(m);
	sw_free(s);
	return rc ? 1 : 0;
}
