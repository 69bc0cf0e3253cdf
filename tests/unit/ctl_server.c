// SPDX-License-Identifier: Apache-2.0
// ctl_server.c - the control socket, with good clients and bad ones.
// pkg-config: json-c
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "include/ctlapi.h"
#include "sim/core/err.h"
#include "sim/ctl/frame.h"
#include "sim/ctl/server.h"
#include "tests/unit/cu.h"

static char path[64];
static atomic_bool stop;

/* "stats NAME" gives NAME rows; "port del x" is refused. */
static void handle(void *owner, const Podpci__Request *q, struct ctl_call *c)
{
	Podpci__StatsRow row = PODPCI__STATS_ROW__INIT, *rows[1] = { &row };
	Podpci__Reply r = PODPCI__REPLY__INIT;
	struct err e;

	(void)owner;
	if (q->body_case != PODPCI__REQUEST__BODY_STATS_SHOW) {
		err_set(&e, -ENOENT, "no such port");
		ctl_call_fail(c, &e);
		return;
	}
	row.name = q->stats_show->name;
	r.n_stats = 1;
	r.stats = rows;
	for (int i = atoi(q->stats_show->name); i > 0; i--)
		ctl_call_rows(c, &r);
}

static uint64_t fake_ms = 1;

static void *serve(void *arg)
{
	struct ctl_server *s = arg;

	while (!atomic_load(&stop)) {
		struct pollfd p = { .fd = ctl_server_fd(s), .events = POLLIN };

		poll(&p, 1, 5);
		ctl_server_run(s, __atomic_load_n(&fake_ms, __ATOMIC_RELAXED));
	}
	return NULL;
}

struct rig {
	struct ctl_server *s;
	pthread_t thread;
};

static void rig_up(struct rig *r)
{
	struct err e;

	snprintf(path, sizeof(path), "/tmp/ctl_server.%d", getpid());
	CU_EQ(ctl_server_new(&r->s, path, 0660, -1, handle, NULL, &e), 0);
	atomic_store(&stop, false);
	pthread_create(&r->thread, NULL, serve, r->s);
}

static void rig_down(struct rig *r)
{
	atomic_store(&stop, true);
	pthread_join(r->thread, NULL);
	ctl_server_free(r->s);
	CU_EQ(access(path, F_OK), -1);
}

static int raw_client(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(a.sun_path, path);
	CU_EQ(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

/* The server hangs up within a second (its own clock may stand still). */
static bool hung_up(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, 2000) == 1 && recv(fd, &c, 1, 0) <= 0;
}

static void answers_come_row_by_row(void)
{
	const char *words[] = { "stats", "1000" };
	struct ctl_rows *rows;
	struct ctl *c;
	struct rig r;
	struct err e;
	char buf[16];

	rig_up(&r);
	CU_EQ(ctl_open(&c, path, 5000, &e), 0);
	for (unsigned i = 0; i < 3; i++) {
		CU_EQ(ctl_call(c, words, 2, &rows, &e), 0);
		CU_EQ(ctl_rows_count(rows), 1000);
		CU_ASSERT_STRING_EQUAL(ctl_rows_get(rows, 999, "name", buf, 16), "1000");
		CU_ASSERT_PTR_NULL(ctl_rows_get(rows, 1000, "name", buf, 16));
		ctl_rows_free(rows);
	}
	ctl_close(c);
	rig_down(&r);
}

static void a_refusal_carries_its_reason(void)
{
	const char *words[] = { "port", "del", "x" };
	struct ctl *c;
	struct rig r;
	struct err e;

	rig_up(&r);
	CU_EQ(ctl_open(&c, path, 5000, &e), 0);
	CU_EQ(ctl_call(c, words, 3, NULL, &e), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.msg, "no such port");
	words[1] = "burn";
	CU_EQ(ctl_call(c, words, 3, NULL, &e), -EINVAL);
	ctl_close(c);
	rig_down(&r);
	CU_EQ(ctl_open(&c, path, 100, &e), -ENOENT);
	CU_ASSERT_PTR_NOT_NULL(strstr(e.msg, path));
	CU_ASSERT_PTR_NOT_NULL(strstr(e.msg, "No such file"));
}

static void the_socket_has_the_mode_it_was_asked_for(void)
{
	struct ctl_server *second;
	struct stat st;
	struct rig r;
	struct err e;

	rig_up(&r);
	CU_EQ(stat(path, &st), 0);
	CU_EQ(st.st_mode & 0777, 0660);
	CU_EQ(ctl_server_new(&second, path, 0660, -1, handle, NULL, &e), -EADDRINUSE);
	CU_EQ(access(path, F_OK), 0);
	rig_down(&r);
}

static void malformed_frames_cost_only_their_sender(void)
{
	static const uint8_t huge[4] = { 1, 0, 0, 1 };
	static const uint8_t junk[9] = { 5, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff };
	const char *words[] = { "stats", "1" };
	struct ctl *good;
	struct rig r;
	struct err e;
	uint8_t b[512];
	int fd;

	rig_up(&r);
	CU_EQ(ctl_open(&good, path, 5000, &e), 0);
	fd = raw_client();
	CU_EQ(write(fd, huge, sizeof(huge)), sizeof(huge));
	CU_ASSERT_TRUE(hung_up(fd));
	close(fd);
	fd = raw_client();
	CU_EQ(write(fd, junk, sizeof(junk)), sizeof(junk));
	CU_ASSERT(recv(fd, b, sizeof(b), 0) > 8);	/* a refusal, in a frame */
	CU_EQ(ctl_call(good, words, 2, NULL, &e), 0);
	close(fd);
	ctl_close(good);
	rig_down(&r);
}

static void a_client_that_stalls_is_dropped(void)
{
	struct rig r;
	int fd;

	rig_up(&r);
	fd = raw_client();
	CU_EQ(write(fd, "\x05\x00", 2), 2);		/* half a head */
	for (unsigned i = 0; i < 200; i++) {	/* it stalls from when the server has read that */
		struct pollfd p = { .fd = fd, .events = POLLIN };

		if (poll(&p, 1, 20) == 1)
			break;
		__atomic_fetch_add(&fake_ms, CTL_STALL_MS + 1, __ATOMIC_RELAXED);
	}
	CU_ASSERT_TRUE(hung_up(fd));
	close(fd);
	rig_down(&r);
}

static void too_many_clients_are_turned_away(void)
{
	int fd[CTL_CLIENTS_MAX + 1];
	struct rig r;

	rig_up(&r);
	for (unsigned i = 0; i <= CTL_CLIENTS_MAX; i++)
		fd[i] = raw_client();
	CU_ASSERT_TRUE(hung_up(fd[CTL_CLIENTS_MAX]));
	for (unsigned i = 0; i <= CTL_CLIENTS_MAX; i++)
		close(fd[i]);
	rig_down(&r);
}

static void parsing_takes_bounded_memory(void)
{
	uint8_t b[CTL_REQUEST_MAX];
	Podpci__Request *q;

	/* Bodies upon bodies: each replaces the one before. */
	for (unsigned i = 0; i + 2 <= sizeof(b); i += 2) {
		b[i] = 0x0a;			/* field 1, length-delimited */
		b[i + 1] = 0;
	}
	q = ctl_request_parse(b, sizeof(b));
	ctl_request_free(q);
	q = ctl_request_parse(b, 0);
	CU_ASSERT_PTR_NOT_NULL(q);
	ctl_request_free(q);
}

CU_MAIN("ctl/server",
	T(answers_come_row_by_row),
	T(a_refusal_carries_its_reason),
	T(the_socket_has_the_mode_it_was_asked_for),
	T(malformed_frames_cost_only_their_sender),
	T(a_client_that_stalls_is_dropped),
	T(too_many_clients_are_turned_away),
	T(parsing_takes_bounded_memory))
