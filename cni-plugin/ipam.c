// SPDX-License-Identifier: Apache-2.0
// ipam.c - runs an address plugin, as CNI 1.1.0 section 4 has it: found in CNI_PATH, with our own
// configuration on its stdin and the CNI_* variables as we were given them.
// pkg-config: json-c
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cni-plugin/apply.h"
#include "cni-plugin/js.h"
#include "sim/core/err.h"

#define IPAM_TIMEOUT_MS 10000
#define IPAM_ENV_MAX 32

extern char **environ;

/* Root runs it: it is root's and nobody else's to change. */
static int judge_program(int fd, const char *dir, const char *type, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		return err_set(e, -EACCES, "IPAM plugin %s/%s: is no regular file", dir, type);
	if ((st.st_uid && st.st_uid != geteuid()) || st.st_mode & 022)
		return err_set(e, -EACCES, "IPAM plugin %s/%s: owner %u, mode %o: others may "
			       "change it", dir, type, st.st_uid, st.st_mode & 07777);
	return 0;
}

/* Entries of CNI_PATH that are no absolute path count for nothing. */
static int find(const char *path, const char *type, struct err *e)
{
	while (*path) {
		size_t len = strcspn(path, ":");
		char dir[256], full[512];
		int fd;

		if (*path == '/' && len < sizeof(dir)) {
			memcpy(dir, path, len);
			dir[len] = '\0';
			snprintf(full, sizeof(full), "%s/%s", dir, type);
			fd = open(full, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
			if (fd >= 0 && judge_program(fd, dir, type, e)) {
				close(fd);
				return -EACCES;
			}
			if (fd >= 0)
				return fd;
		}
		path += len + (path[len] == ':');
	}
	return err_set(e, -ENOENT, "IPAM plugin %s: is in no directory of CNI_PATH", type);
}

/* What is asked about, which GC and a hook have from a record and not from their environment. */
struct about {
	char container[sizeof(((struct request *)0)->container) + 16];
	char ifname[40], netns[sizeof(((struct request *)0)->netns) + 16];
};

static bool is_about(const char *variable)
{
	static const char *const names[] = {
		"CNI_COMMAND=", "CNI_CONTAINERID=", "CNI_IFNAME=", "CNI_NETNS=",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(variable, names[i], strlen(names[i])))
			return true;
	return false;
}

/* CNI_* as received but for what it is about, a fixed PATH, nothing of a loader's. */
static void environment(char **to, char *command, const struct request *q, struct about *a)
{
	static char fixed_path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	unsigned n = 0;

	snprintf(a->container, sizeof(a->container), "CNI_CONTAINERID=%s", q->container);
	snprintf(a->ifname, sizeof(a->ifname), "CNI_IFNAME=%s", q->ifname);
	snprintf(a->netns, sizeof(a->netns), "CNI_NETNS=%s", q->netns);
	to[n++] = command;
	to[n++] = fixed_path;
	if (q->container[0]) {
		to[n++] = a->container;
		to[n++] = a->ifname;
		to[n++] = a->netns;
	}
	for (char **v = environ; *v && n < IPAM_ENV_MAX - 1; v++)
		if (!strncmp(*v, "CNI_", 4) && !is_about(*v))
			to[n++] = *v;
	to[n] = NULL;
}

/*
 * It has the container's lock, too: if we are killed, the next run for the container waits until it
 * is through, lest it gives an address to what was cleared away already.
 */
static pid_t start(int program, const char *type, char **env, int in, int out, int lock)
{
	char *const argv[] = { (char *)(uintptr_t)type, NULL };
	pid_t pid = fork();

	if (pid)
		return pid;
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || chdir("/"))
		_exit(126);
	signal(SIGPIPE, SIG_DFL);
	/* A script is opened again by its interpreter: not if the descriptor is gone by then. */
	fcntl(program, F_SETFD, 0);
	if (lock >= 0)
		fcntl(lock, F_SETFD, 0);
	fexecve(program, argv, env);
	_exit(127);
}

/* A configuration is longer than a pipe: it is fed from a file without a name. */
static int stdin_of(struct json_object *doc, struct err *e)
{
	const char *text = json_object_to_json_string_ext(doc, JSON_C_TO_STRING_PLAIN |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	int fd = memfd_create("netconf", MFD_CLOEXEC);
	size_t len = text ? strlen(text) : 0;

	if (fd < 0 || !text || write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET)) {
		if (fd >= 0)
			close(fd);
		return err_set(e, -EIO, "IPAM plugin: its configuration cannot be written");
	}
	return fd;
}

/* What it said, in `doc` (NULL if it was nothing), by its exit status. */
static int judge_answer(struct world *w, const char *type, int status, struct json_object *doc,
			struct err *e)
{
	const char *msg = js_text(doc, "msg");
	char shown[300];

	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFSIGNALED(status))
		return err_set(e, -EIO, "IPAM plugin %s: died of signal %d", type,
			       WTERMSIG(status));
	if (!w->code)		/* the first word counts, not that of undoing */
		w->code = json_object_get_int(js_at(doc, "code"));
	snprintf(shown, sizeof(shown), "%s", msg ? msg : "it did not say why");
	return err_set(e, -EREMOTEIO, "IPAM plugin %s: status %d: %s", type, WEXITSTATUS(status),
		       shown);
}

static int talk(struct world *w, const char *type, int program, char **env, int in,
		struct json_object **doc, struct err *e)
{
	int fds[2], status = 0, rc;
	char *text = NULL;
	size_t len = 0;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC))
		return err_set(e, -errno, "pipe: %s", strerror(errno));
	pid = start(program, type, env, in, fds[1], w->dir);
	close(fds[1]);
	if (pid < 0) {
		close(fds[0]);
		return err_set(e, -errno, "fork: %s", strerror(errno));
	}
	rc = js_slurp(fds[0], &text, &len, IPAM_TIMEOUT_MS, e);
	close(fds[0]);
	if (rc)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (rc)
		return err_wrap(e, rc, "IPAM plugin %s: its answer", type);
	if (len)
		rc = js_parse(doc, text, len, e);
	free(text);
	if (rc && WIFEXITED(status) && !WEXITSTATUS(status))
		return err_wrap(e, rc, "IPAM plugin %s: its answer", type);
	return judge_answer(w, type, status, *doc, e);
}

int ipam_run(struct world *w, const char *type, const char *command, struct json_object **result,
	     struct err *e)
{
	char *env[IPAM_ENV_MAX], verb[32];
	struct about about;
	struct json_object *doc = NULL;
	int program, in = -1, rc;

	snprintf(verb, sizeof(verb), "CNI_COMMAND=%s", command);
	environment(env, verb, w->a->request, &about);
	program = find(w->a->request->path, type, e);
	if (program < 0)
		return program;
	in = stdin_of(w->a->conf->doc, e);
	rc = in < 0 ? in : talk(w, type, program, env, in, &doc, e);
	if (in >= 0)
		close(in);
	close(program);
	if (!rc && result) {
		*result = doc;
		doc = NULL;
	}
	json_object_put(doc);
	return rc;
}
