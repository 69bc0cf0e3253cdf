// SPDX-License-Identifier: Apache-2.0
// attach.c - see attach.h.
//
//	podpci run --- fork ---> (gone at once)
//	    |                       `- fork --> keeper --- fork ---> podpci-switch, if private
//	    |<-- "ready" (a pipe) ----------------'
//	 exec COMMAND                             waits for COMMAND's end (pidfd)
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "sim/app/attach.h"
#include "sim/core/err.h"

#define CALL_MS  5000
#define START_MS 10000			/* a private switch has to answer within this */
#define NAP_MS	 5
#define NAME_LEN 31			/* of a port */

struct attach {
	struct config *c;
	struct ctl *ctl;
	char path[VHOST_SOCKET_MAX];	/* control socket in use */
	char dir[64];			/* a private switch's; "": none */
	char port[CONFIG_NETS_MAX][NAME_LEN + 1];
	unsigned ports;
	pid_t user;			/* whose end ends it all */
	int user_fd;
	int ready[2];			/* the keeper's pipe; its end of file: it is gone */
};

static bool open_device(const struct net_config *n)
{
	return !n->socket[0] && !n->tap[0];
}

/* ---- asking -------------------------------------------------------------------------------- */

/* Names that meet no other run's: on a node's switch, a few random letters tell them apart. */
static int name_port(struct attach *a, const struct net_config *n, struct err *e)
{
	char *name = a->port[a->ports];
	unsigned salt;

	if (a->dir[0]) {
		snprintf(name, NAME_LEN + 1, "%s", n->id);
		return 0;
	}
	if (getrandom(&salt, sizeof(salt), 0) != sizeof(salt))
		return err_set(e, -EIO, "no random numbers to be had");
	snprintf(name, NAME_LEN + 1, "%.22s-%08x", n->id, salt);
	return 0;
}

static int add_port(struct attach *a, struct net_config *n, struct err *e)
{
	char queues[12], mtu[12], socket[VHOST_SOCKET_MAX * 2];
	const char *add[] = { "port", "add", a->port[a->ports], "queues", queues, "mtu", mtu };
	const char *show[] = { "port", "show", a->port[a->ports] };
	struct ctl_rows *rows = NULL;
	int rc = name_port(a, n, e);

	if (rc)
		return rc;
	snprintf(queues, sizeof(queues), "%u", n->pairs);
	snprintf(mtu, sizeof(mtu), "%u", n->mtu);
	rc = ctl_call(a->ctl, add, n->mtu ? 7 : 5, NULL, e);
	if (rc)
		return rc;
	a->ports++;
	rc = ctl_call(a->ctl, show, 3, &rows, e);
	if (rc)
		return rc;
	if (!ctl_rows_get(rows, 0, "socket", socket, sizeof(socket)) ||
	    strlen(socket) >= sizeof(n->socket))
		rc = err_set(e, -EPROTO, "the switch does not say where its port is");
	else
		memcpy(n->socket, socket, strlen(socket) + 1);
	ctl_rows_free(rows);
	return rc;
}

static void del_ports(struct attach *a)
{
	struct ctl *ctl;
	struct err e;

	if (!a->ports || ctl_open(&ctl, a->path, CALL_MS, &e))
		return;
	for (unsigned i = 0; i < a->ports; i++) {
		const char *words[] = { "port", "del", a->port[i] };

		(void)ctl_call(ctl, words, 3, NULL, &e);
	}
	ctl_close(ctl);
}

static int add_ports(struct attach *a, struct err *e)
{
	for (unsigned i = 0; i < a->c->nets; i++) {
		struct net_config *n = &a->c->net[i];
		int rc = open_device(n) ? add_port(a, n, e) : 0;

		if (rc)
			return err_wrap(e, rc, "%s: %s", n->id, a->path);
	}
	return 0;
}

/* ---- a private switch ---------------------------------------------------------------------- */

/* A directory for its sockets that nobody else may enter. */
static int make_dir(struct attach *a, struct err *e)
{
	const char *bases[] = { getenv("XDG_RUNTIME_DIR"), geteuid() ? NULL : "/run", "/tmp" };

	for (unsigned i = 0; i < sizeof(bases) / sizeof(bases[0]); i++) {
		if (!bases[i] || bases[i][0] != '/' ||
		    (size_t)snprintf(a->dir, sizeof(a->dir), "%s/podpci-XXXXXX", bases[i]) >=
		    sizeof(a->dir))
			continue;
		if (mkdtemp(a->dir)) {
			snprintf(a->path, sizeof(a->path), "%s/ctl", a->dir);
			return 0;
		}
	}
	a->dir[0] = 0;
	return err_set(e, -EACCES, "no directory for a private switch: neither "
		       "$XDG_RUNTIME_DIR nor /tmp can be written");
}

/* podpci-switch lies beside podpci. */
static int switch_program(char *path, size_t size, struct err *e)
{
	ssize_t n = readlink("/proc/self/exe", path, size - sizeof("-switch"));

	if (n <= 0)
		return err_set(e, -errno, "/proc/self/exe: %s", strerror(errno));
	memcpy(path + n, "-switch", sizeof("-switch"));
	if (access(path, X_OK))
		return err_set(e, -errno, "%s: %s (a private switch needs it; or name a back-end "
			       "with socket=PATH)", path, strerror(errno));
	return 0;
}

/* In the keeper's child. It ends with the keeper, whatever happens to that. */
static void become_switch(const struct attach *a, const char *program)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;

	setsid();			/* what interrupts the command is not meant for it */
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	execl(program, program, "--socket", a->path, "--log", "error", (char *)NULL);
	_exit(127);
}

static void nap(void)
{
	struct timespec t = { 0, NAP_MS * 1000000 };

	nanosleep(&t, NULL);
}

/* Until it answers. *status is its end, if that comes first. */
static int await_switch(struct attach *a, pid_t pid, struct err *e)
{
	for (unsigned ms = 0; ms < START_MS; ms += NAP_MS) {
		int status;

		if (ctl_open(&a->ctl, a->path, CALL_MS, e) == 0) {
			e->code = 0;
			return 0;
		}
		if (waitpid(pid, &status, WNOHANG) == pid)
			return err_set(e, -ECHILD, "the private switch ended at once (%s %d)",
				       WIFSIGNALED(status) ? "signal" : "status",
				       WIFSIGNALED(status) ? WTERMSIG(status) :
				       WEXITSTATUS(status));
		nap();
	}
	return err_set(e, -ETIMEDOUT, "the private switch does not answer at %s", a->path);
}

static void end_switch(const struct attach *a, pid_t pid)
{
	kill(pid, SIGTERM);
	for (unsigned ms = 0; ms < START_MS && waitpid(pid, NULL, WNOHANG) == 0; ms += NAP_MS)
		nap();
	kill(pid, SIGKILL);		/* nothing, if it is gone as it should be */
	rmdir(a->dir);
}

/* ---- the keeper ---------------------------------------------------------------------------- */

/* Not seen by the command: not its child, not in its session, holding none of its files. */
static void leave_home(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	(void)!chdir("/");
	for (int fd = 0; fd < 3 && null >= 0; fd++)
		dup2(null, fd);
}

static void await_user(const struct attach *a)
{
	struct pollfd p = { .fd = a->user_fd, .events = POLLIN };

	while (poll(&p, 1, -1) < 0 && errno == EINTR)
		;
}

/* What became of it, for the one who waits: 0 and the sockets, or an error. */
struct word {
	struct err e;
	unsigned ports;
	char socket[CONFIG_NETS_MAX][VHOST_SOCKET_MAX];
};

static void leave_word(const struct attach *a, struct word *w)
{
	w->ports = a->ports;
	for (unsigned i = 0; i < a->c->nets; i++)
		memcpy(w->socket[i], a->c->net[i].socket, VHOST_SOCKET_MAX);
	(void)!write(a->ready[1], w, sizeof(*w));
	close(a->ready[1]);
}

static void keep(struct attach *a, const char *program)
{
	static struct word w;
	pid_t pid = 0;
	int rc = 0;

	close(a->ready[0]);
	signal(SIGPIPE, SIG_IGN);	/* who waits for our word may be gone by then */
	if (program) {
		pid = fork();
		if (pid == 0)
			become_switch(a, program);
		rc = pid < 0 ? err_set(&w.e, -errno, "fork: %s", strerror(errno)) :
		     await_switch(a, pid, &w.e);
	}
	leave_home();
	if (!rc)
		rc = add_ports(a, &w.e);
	ctl_close(a->ctl);
	a->ctl = NULL;
	leave_word(a, &w);
	if (!rc)
		await_user(a);
	if (pid > 0)
		end_switch(a, pid);
	else
		del_ports(a);
	_exit(0);
}

/* Takes the keeper's word; err.code 0 is good news. */
static int take_word(struct attach *a, struct err *e)
{
	static struct word w;
	size_t n = 0;

	while (n < sizeof(w)) {
		ssize_t got = read(a->ready[0], (char *)&w + n, sizeof(w) - n);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return err_set(e, -ECHILD, "the keeper of the switch's ports has died");
		n += (size_t)got;
	}
	if (w.e.code) {
		*e = w.e;
		return e->code;
	}
	a->ports = w.ports;
	for (unsigned i = 0; i < a->c->nets; i++)
		memcpy(a->c->net[i].socket, w.socket[i], VHOST_SOCKET_MAX);
	return 0;
}

static int start_keeper(struct attach *a, const char *program, struct err *e)
{
	pid_t pid;
	int rc;

	a->user = getpid();
	a->user_fd = (int)syscall(SYS_pidfd_open, a->user, 0);
	if (a->user_fd < 0)
		return err_set(e, -errno, "pidfd_open: %s", strerror(errno));
	if (pipe2(a->ready, O_CLOEXEC) < 0) {
		rc = err_set(e, -errno, "pipe: %s", strerror(errno));
		close(a->user_fd);
		return rc;
	}
	fcntl(a->user_fd, F_SETFD, FD_CLOEXEC);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			keep(a, program);
		_exit(pid < 0);
	}
	rc = pid < 0 ? err_set(e, -errno, "fork: %s", strerror(errno)) : 0;
	if (!rc)
		waitpid(pid, NULL, 0);
	close(a->ready[1]);
	close(a->user_fd);
	if (!rc)
		rc = take_word(a, e);
	close(a->ready[0]);
	return rc;
}

/* ---- which switch -------------------------------------------------------------------------- */

/* 1: some device has no socket, 0: none is without. */
static int wanted(const struct config *c, struct err *e)
{
	int n = 0;

	for (unsigned i = 0; i < c->nets; i++) {
		if (!open_device(&c->net[i]))
			continue;
		if (c->net[i].server)
			return err_set(e, -EINVAL, "%s: server needs socket=PATH", c->net[i].id);
		n = 1;
	}
	return n;
}

static int go_private(struct attach *a, char *program, size_t size, const char *why,
		      struct err *e)
{
	char at[VHOST_SOCKET_MAX];
	int rc = switch_program(program, size, e);

	memcpy(at, a->path, sizeof(at));
	if (!rc)
		rc = make_dir(a, e);
	if (!rc)
		fprintf(stderr, "podpci: no switch for us at %s (%s): starting a private one, "
			"which connects the devices of this command and ends with it\n", at, why);
	return rc;
}

int attach_ports(struct config *c, const char *path, bool verbose, struct err *e)
{
	struct attach a = { .c = c, .user_fd = -1, .ready = { -1, -1 } };
	char program[PATH_MAX];
	struct err why;
	bool private;
	int rc = wanted(c, e);

	if (rc <= 0)
		return rc;
	if ((size_t)snprintf(a.path, sizeof(a.path), "%s", path ? path : CTL_SOCKET) >=
	    sizeof(a.path))
		return err_set(e, -ENAMETOOLONG, "%s is too long for a socket", path);
	rc = ctl_open(&a.ctl, a.path, CALL_MS, &why);
	if (rc && path)		/* that one was asked for */
		return err_set(e, rc, "%s: is podpci-switch running there?", why.msg);
	private = rc != 0;
	rc = private ? go_private(&a, program, sizeof(program), strerror(-rc), e) : 0;
	if (!rc)
		rc = start_keeper(&a, private ? program : NULL, e);
	if (!rc && verbose)
		fprintf(stderr, "podpci: the switch at %s has %u new ports\n", a.path, a.ports);
	if (rc && a.dir[0])
		rmdir(a.dir);
	ctl_close(a.ctl);
	return rc;
}
