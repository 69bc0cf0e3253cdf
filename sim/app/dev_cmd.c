// SPDX-License-Identifier: Apache-2.0
// dev_cmd.c - `podpci dev ...`: asks processes with simulated devices.
//
// There may be several in a container. A question goes to all of them and the rows are put
// together; what changes something goes to the one that has the device.
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "sim/app/cmds.h"
#include "sim/app/dev.h"
#include "sim/core/err.h"

#define TIMEOUT_MS  10000
#define SOCKETS_MAX 64
#define WORDS_MAX   64
#define FOLLOW_NS   20000000

static void usage(FILE *to)
{
	const char *verb, *args, *help;

	fprintf(to, "Usage: podpci dev [-j] [-s SOCKET | -p PID] COMMAND...\n\n"
		"Asks the processes here that have simulated devices open; with -p those in the\n"
		"container of process PID, with -s the one at SOCKET. -j: JSON.\n\n");
	for (unsigned i = 0; (verb = ctl_verb(i, &args, &help)); i++) {
		if (strncmp(verb, "dev ", 4))
			continue;
		fprintf(to, "  %s%s%s\n", verb + 4, args[0] ? " " : "", args);
		fprintf(to, "          %s\n", help);
	}
	fputs("\nNAME is an id (net0) or a PCI address. `trace' goes on until interrupted; what\n"
	      "`podpci run --option trace=FILE' writes has all of a session.\n", to);
}

/* ---- finding ------------------------------------------------------------------------------- */

struct sockets {
	char     path[SOCKETS_MAX][256];
	unsigned n;
};

/* A socket nobody serves is of a process that was killed: cleared away. */
static bool alive(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = -1;

	if (strlen(path) < sizeof(a.sun_path)) {
		memcpy(a.sun_path, path, strlen(path) + 1);
		rc = connect(fd, (struct sockaddr *)&a, sizeof(a));
		if (rc < 0 && errno == ECONNREFUSED)
			unlink(path);
	}
	close(fd);
	return rc == 0;
}

static void add_dir(struct sockets *s, const char *root, const char *dir)
{
	char full[512];
	struct dirent *e;
	DIR *d;

	snprintf(full, sizeof(full), "%s%s", root, dir);
	d = opendir(full);
	while (d && s->n < SOCKETS_MAX && (e = readdir(d))) {
		size_t len = strlen(e->d_name), tail = strlen(DEV_SUFFIX);

		if (len > tail && !strcmp(e->d_name + len - tail, DEV_SUFFIX) &&
		    (size_t)snprintf(s->path[s->n], sizeof(s->path[0]), "%s/%s", full,
				     e->d_name) < sizeof(s->path[0]) && alive(s->path[s->n]))
			s->n++;
	}
	if (d)
		closedir(d);
}

/* DEV_DIR, and what ordinary users have. */
static void find_sockets(struct sockets *s, const char *root)
{
	static const char base[] = DEV_DIR_USER;
	const char *name = strrchr(base, '/') + 1;
	char dir[512];
	struct dirent *e;
	DIR *d;

	add_dir(s, root, DEV_DIR);
	snprintf(dir, sizeof(dir), "%s%.*s", root, (int)(name - base), base);
	d = opendir(dir);
	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, name, strlen(name)))
			continue;
		snprintf(dir, sizeof(dir), "%.*s%s", (int)(name - base), base, e->d_name);
		add_dir(s, root, dir);
	}
	if (d)
		closedir(d);
}

/* ---- calling ------------------------------------------------------------------------------- */

/* One question to one socket; a dead one is cleared away and gives no rows. */
static int ask(const char *path, const char *const *words, unsigned n, struct ctl_rows **rows,
	       struct err *e)
{
	struct ctl *c = NULL;
	int rc = ctl_open(&c, path, TIMEOUT_MS, e);

	if (rc == -ECONNREFUSED)
		unlink(path);
	if (!rc)
		rc = ctl_call(c, words, n, rows, e);
	ctl_close(c);
	return rc;
}

static bool changes(const char *verb)
{
	return !strcmp(verb, "add") || !strcmp(verb, "del");
}

/*
 * All sockets, until one has done what was asked if that changes something. A process without
 * the device in question is passed over as long as another one has it.
 */
static int ask_all(const struct sockets *s, const char *const *words, unsigned n,
		   struct ctl_rows **rows, struct err *e)
{
	bool answered = false;
	struct err first = { 0 };

	for (unsigned i = 0; i < s->n; i++) {
		struct ctl_rows *more = NULL;
		int rc = ask(s->path[i], words, n, &more, e);

		if (rc && !first.code && rc != -ECONNREFUSED)
			first = *e;
		if (rc)
			continue;
		answered = true;
		if (!*rows)
			*rows = more;
		else
			ctl_rows_join(*rows, more);
		if (changes(words[1]))
			break;
	}
	if (answered)
		return 0;
	if (first.code)
		*e = first;
	else
		err_set(e, -ENOENT, "no process here has simulated devices open (is it another "
			"container's? then -p PID, or run this inside)");
	return e->code;
}

/* ---- following ----------------------------------------------------------------------------- */

static volatile sig_atomic_t stopped;

static void on_stop(int sig)
{
	stopped = sig;
}

struct follower {
	const char *path, *name;
	FILE *to;
	bool json;
};

static void print_rows(const struct follower *f, const struct ctl_rows *rows, char *after,
		       size_t size)
{
	char lost[32], line[512];

	if (f->json) {
		ctl_rows_print(rows, f->to, true);
	} else if (ctl_rows_get(rows, 0, "lost", lost, sizeof(lost))) {
		fprintf(f->to, "# %s events lost\n", lost);
	}
	for (size_t i = 0; !f->json && ctl_rows_item(rows, 0, "line", i, line, sizeof(line)); i++)
		fprintf(f->to, "%s\n", line);
	fflush(f->to);
	ctl_rows_get(rows, 0, "after", after, size);
}

/* Asks again and again; the process keeps events for those who do. */
static int follow(const struct follower *f, struct err *e)
{
	const char *words[6] = { "dev", "trace", "after", NULL, "name", f->name };
	char after[32] = "0";
	struct ctl *c = NULL;
	int rc = ctl_open(&c, f->path, TIMEOUT_MS, e);

	words[3] = after;
	while (!rc && !stopped) {
		struct ctl_rows *rows = NULL;
		char was[32];

		memcpy(was, after, sizeof(was));
		rc = ctl_call(c, words, f->name ? 6 : 4, &rows, e);
		if (!rc)
			print_rows(f, rows, after, sizeof(after));
		ctl_rows_free(rows);
		if (!rc && (ferror(f->to)))
			break;
		if (!rc && !strcmp(was, after))
			nanosleep(&(struct timespec){ .tv_nsec = FOLLOW_NS }, NULL);
	}
	ctl_close(c);
	return rc == -ECONNRESET ? 0 : rc;	/* it has ended, and so has its trace */
}

static int trace(const struct sockets *s, int argc, char **argv, bool json, struct err *e)
{
	struct follower f = { .path = s->n ? s->path[0] : NULL, .to = stdout, .json = json };
	struct sigaction act = { .sa_handler = on_stop };
	const char *file = NULL;
	int rc;

	for (int i = 0; i < argc; i++) {
		bool pair = i + 1 < argc;

		if (pair && !strcmp(argv[i], "file"))
			file = argv[++i];
		else if (pair && !strcmp(argv[i], "name"))
			f.name = argv[++i];
		else if (!f.name)
			f.name = argv[i];
		else
			return err_set(e, -EINVAL, "\"%s\"? trace takes a NAME and file PATH",
				       argv[i]);
	}
	/* The first that has the device; without a name, the first that answers. */
	for (unsigned i = 0; f.name && i < s->n; i++) {
		const char *const words[] = { "dev", "list", f.name };

		if (!ask(s->path[i], words, 3, NULL, e))
			f.path = s->path[i];
	}
	if (!f.path)
		return err_set(e, -ENOENT, "no process here has simulated devices open");
	f.to = file ? fopen(file, "w") : stdout;
	if (!f.to)
		return err_set(e, -errno, "%s: %s", file, strerror(errno));
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	rc = follow(&f, e);
	if (file && fclose(f.to) && !rc)
		rc = err_set(e, -EIO, "%s: cannot be written", file);
	return rc;
}

/* The process may write neither what lies over /sys nor SYSFS_PLUGS. */
static void tell_unseen(const struct ctl_rows *rows)
{
	char shown[8];

	if (ctl_rows_get(rows, 0, "shown", shown, sizeof(shown)))
		fputs("podpci dev: note: the process may not write to /sys here, so the device has "
		      "no directory\nthere. A driver that looks for devices in it, as DPDK does, "
		      "will not find this one\n(PODPCI_LOG=warn says why).\n", stderr);
}

/* ---- the verb ------------------------------------------------------------------------------ */

static int run(const struct sockets *s, int argc, char **argv, bool json)
{
	const char *words[WORDS_MAX] = { "dev" };
	struct ctl_rows *rows = NULL;
	struct err e = { 0 };
	int rc = 0;

	if (argc >= WORDS_MAX)
		rc = err_set(&e, -E2BIG, "too many words");
	for (int i = 0; i < argc && !rc; i++)
		words[i + 1] = argv[i];
	if (!rc && !strcmp(argv[0], "trace"))
		rc = trace(s, argc - 1, argv + 1, json, &e);
	else if (!rc)
		rc = ask_all(s, words, (unsigned)argc + 1, &rows, &e);
	if (!rc && rows && ctl_rows_print(rows, stdout, json))
		rc = err_set(&e, -EIO, "cannot write the answer");
	if (!rc && rows && !strcmp(argv[0], "add"))
		tell_unseen(rows);
	if (rc)
		fprintf(stderr, "podpci dev: %s\n", e.msg);
	ctl_rows_free(rows);
	return rc ? CMD_FAILED : 0;
}

int cmd_dev(int argc, char **argv)
{
	static struct sockets s;
	char root[64] = "";
	bool json = false;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		bool pair = i + 1 < argc;

		if (!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json")) {
			json = true;
		} else if (pair && (!strcmp(argv[i], "-s") || !strcmp(argv[i], "--socket"))) {
			snprintf(s.path[s.n = 0], sizeof(s.path[0]), "%s", argv[++i]);
			s.n = 1;
		} else if (pair && (!strcmp(argv[i], "-p") || !strcmp(argv[i], "--pid"))) {
			snprintf(root, sizeof(root), "/proc/%s/root", argv[++i]);
		} else {
			bool asked = !strcmp(argv[i], "-h") || !strcmp(argv[i], "--help");

			usage(asked ? stdout : stderr);
			return asked ? 0 : CMD_FAILED;
		}
	}
	if (i == argc || !strcmp(argv[i], "help")) {
		usage(i == argc ? stderr : stdout);
		return i == argc ? CMD_FAILED : 0;
	}
	if (!s.n)
		find_sockets(&s, root);
	return run(&s, argc - i, argv + i, json);
}
