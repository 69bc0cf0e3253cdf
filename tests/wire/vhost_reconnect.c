// SPDX-License-Identifier: Apache-2.0
// vhost_reconnect.c - back-ends that come late, go away, come back, or are not the same.
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

static void start(struct sess *s, bool connects, bool packed)
{
	struct backend_config cfg = sess_decent(connects);

	sess_init(s, &cfg);
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 2, packed), 0);
	CU_ASSERT(sess_do(s, s->up));
	backend_forget(s->b);
}

static void a_loss_is_a_link_down_at_once_and_up_within_a_second(void)
{
	uint64_t lost_ms;
	struct sess s;

	start(&s, false, false);
	lost_ms = sess_now_ms();
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(s.down_ms - lost_ms < 200);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_ASSERT(s.up_ms - lost_ms < 1000);
	CU_ASSERT(sess_do(&s, vhost_link(s.v)));
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

static void the_whole_session_is_replayed(void)
{
	static const uint32_t once[] = {
		VU_SET_OWNER, VU_SET_PROTOCOL_FEATURES, VU_GET_QUEUE_NUM, VU_SET_FEATURES,
		VU_SET_MEM_TABLE,
	};
	static const uint32_t twice[] = {
		VU_SET_VRING_NUM, VU_SET_VRING_ADDR, VU_SET_VRING_BASE, VU_SET_VRING_CALL,
		VU_SET_VRING_ERR, VU_SET_VRING_KICK, VU_SET_VRING_ENABLE,
	};
	struct backend_msg m;
	struct sess s;

	start(&s, false, false);
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	for (unsigned i = 0; i < ARRAY_SIZE(once); i++)
		CU_EQ(backend_count(s.b, once[i]), 1);
	for (unsigned i = 0; i < ARRAY_SIZE(twice); i++)
		CU_EQ(backend_count(s.b, twice[i]), 2);
	CU_ASSERT(backend_msg(s.b, 0, -1, &m));
	CU_EQ(m.h.request, VU_SET_STATUS);
	CU_EQ(m.payload.u64, 15);
	CU_EQ(m.session, 2);
	sess_free(&s);
}

static void a_split_ring_resumes_at_its_used_index(void)
{
	struct sess s;

	start(&s, false, false);
	*sess_used_idx(&s, 0) = 77;
	*sess_used_idx(&s, 1) = 0xfff0;
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_last_base(&s, 0), 77);
	CU_EQ(sess_last_base(&s, 1), 0xfff0);
	CU_EQ(sess_stat(&s, "rings_resumed"), 2);
	sess_free(&s);
}

static void a_packed_ring_resumes_where_its_slots_say(void)
{
	struct sess s;

	start(&s, false, true);
	for (unsigned i = 0; i < 20; i++)
		sess_packed(&s, 1)[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)i,
			.flags = (uint16_t)(AVAIL | (i < 13 ? USED : 0)) };
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_last_base(&s, 0), 0x80008000);
	CU_EQ(sess_last_base(&s, 1), 0x800d800d);
	CU_EQ(sess_stat(&s, "rings_resumed_by_guess"), 0);
	sess_free(&s);
}

static void a_torn_flush_is_finished_before_the_next_backend_starts(void)
{
	struct vring_packed_desc *d;
	struct sess s;

	start(&s, false, true);
	d = sess_packed(&s, 0);
	for (unsigned i = 0; i < 20; i++)
		d[i] = (struct vring_packed_desc){
			.addr = 0x1000, .id = (uint16_t)i, .flags = AVAIL | VRING_DESC_F_WRITE };
	for (unsigned i = 0; i < 8; i++)
		d[i].flags |= i == 4 ? 0 : USED;
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_last_base(&s, 0), 0x80088008);
	CU_ASSERT(d[4].flags & USED);
	CU_EQ(sess_stat(&s, "ring_flushes_mended"), 1);
	sess_free(&s);
}

static void rings_are_kicked_and_drivers_woken_after_a_reconnect(void)
{
	struct sess s;

	start(&s, false, false);
	CU_ASSERT(!fd_drain(s.rings[0].call_fd));
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	for (unsigned i = 0; i < 2; i++) {
		CU_ASSERT(fd_drain(backend_ring_fd(s.b, i, VU_SET_VRING_KICK)));
		CU_ASSERT(fd_drain(s.rings[i].call_fd));
	}
	sess_free(&s);
}

static void a_ring_no_backend_ever_had_starts_fresh(void)
{
	struct backend_config cfg = sess_decent(false);
	struct vhost_offer o;
	struct sess s;

	sess_init(&s, NULL);
	cfg.path = s.cfg.socket;
	CU_EQ(sess_open(&s), 0);
	vhost_offer(s.v, &o);
	CU_ASSERT(!o.known);
	CU_EQ(o.features, BIT(VIRTIO_F_VERSION_1));
	CU_EQ(o.rings_max, SESS_RINGS);
	*sess_used_idx(&s, 0) = 99;
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(!sess_do(&s, s.up));
	s.b = backend_start(&cfg);
	CU_ASSERT(sess_wait_link(&s, true, 1000));
	CU_EQ(sess_last_base(&s, 0), 0);
	vhost_offer(s.v, &o);
	CU_ASSERT(o.known);
	sess_free(&s);
}

static void an_orderly_stop_decides_the_base(void)
{
	struct sess s;

	start(&s, false, true);
	backend_base(s.b, 0, 0x8005);		/* DPDK tells the avail half only */
	backend_base(s.b, 1, 0x00ff);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, NULL)), 0);
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_do(&s, vhost_set_space(s.v, s.space)), 0);
	CU_EQ(sess_last_base(&s, 0), 0x80058005);
	CU_EQ(sess_last_base(&s, 1), 0x00ff00ff);
	sess_free(&s);
}

static void an_impossible_base_is_not_believed(void)
{
	struct sess s;

	start(&s, false, true);
	backend_base(s.b, 0, 0xffffffff);
	backend_base(s.b, 1, 0x8100);		/* 256: one past the last */
	CU_EQ(sess_do(&s, vhost_set_space(s.v, NULL)), 0);
	CU_EQ(sess_do(&s, vhost_set_space(s.v, s.space)), 0);
	CU_EQ(sess_last_base(&s, 0), 0x80008000);
	CU_EQ(sess_last_base(&s, 1), 0x80008000);
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

static void a_reset_between_forgets_where_rings_stood(void)
{
	struct sess s;

	start(&s, false, false);
	*sess_used_idx(&s, 0) = 77;
	CU_ASSERT(sess_lose(&s));
	sess_stop(&s);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(sess_last_base(&s, 0), 0);
	sess_free(&s);
}

static void a_backend_with_fewer_features_is_left_waiting(void)
{
	uint64_t full = sess_decent(false).features;
	struct sess s;

	start(&s, false, true);
	backend_offers(s.b, full & ~BIT(VIRTIO_F_RING_PACKED), 4);
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(backend_wait(s.b, VU_SET_OWNER, 2, 4000));	/* tried, and tried again */
	CU_ASSERT(!sess_do(&s, s.up));
	CU_EQ(s.failures, 0);
	CU_EQ(backend_count(s.b, VU_SET_MEM_TABLE), 0);
	CU_EQ(backend_count(s.b, VU_SET_FEATURES), 0);
	backend_offers(s.b, full, 4);
	CU_ASSERT(sess_wait_link(&s, true, 4000));
	CU_ASSERT(sess_stat(&s, "lost_unfit") >= 2);
	sess_free(&s);
}

static void a_backend_with_fewer_queues_is_left_waiting(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 4, false), 0);
	backend_forget(s.b);
	backend_offers(s.b, cfg.features, 1);
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(backend_wait(s.b, VU_SET_OWNER, 1, 4000));
	sess_nap(50);
	CU_ASSERT(!sess_do(&s, s.up));
	CU_EQ(backend_count(s.b, VU_SET_FEATURES), 0);
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

static void a_refusal_at_a_replay_is_the_backends_matter(void)
{
	struct sess s;

	start(&s, false, false);
	BACKEND_RULES(s.b, { VU_SET_VRING_NUM, 1, BACKEND_NACK, 1 });
	CU_ASSERT(sess_lose(&s));
	CU_ASSERT(backend_wait(s.b, VU_SET_VRING_NUM, 2, 4000));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(s.failures, 0);
	CU_EQ(sess_stat(&s, "lost_unfit"), 1);
	sess_free(&s);
}

static void a_hangup_at_any_message_is_survived(void)
{
	struct backend_config cfg = sess_decent(false);
	unsigned n, total = 26;
	struct sess s;

	for (n = 1; n <= total; n++) {
		sess_init(&s, &cfg);
		BACKEND_RULES(s.b, { 0, n, BACKEND_HANGUP, 0 });
		CU_EQ(sess_open(&s), 0);
		CU_EQ(sess_start(&s, 2, false), 0);
		CU_EQ(s.failures, 0);
		CU_ASSERT(backend_wait(s.b, VU_SET_VRING_ENABLE, 2, 2000));
		CU_ASSERT(sess_wait_link(&s, true, 2000));
		CU_EQ(backend_sessions(s.b), 2);
		CU_EQ(sess_stat(&s, "lost_hangup"), 1);
		sess_free(&s);
	}
}

static void a_driver_may_reset_and_leave_while_the_backend_is_away(void)
{
	uint64_t begin_ms;
	struct sess s;

	start(&s, false, false);
	CU_ASSERT(sess_lose(&s));
	begin_ms = sess_own_ms();
	CU_EQ(sess_do(&s, vhost_ring_enable(s.v, 1, false)), 0);
	CU_EQ(sess_do(&s, vhost_ring_call(s.v, 1, -1)), 0);
	CU_EQ(sess_do(&s, vhost_ring_stop(s.v, 1)), 0);
	sess_stop(&s);
	sess_close(&s);
	CU_ASSERT(sess_own_ms() - begin_ms < 100);
	CU_EQ(sess_open(&s), 0);
	CU_ASSERT(sess_do(&s, s.up));
	sess_free(&s);
}

static void a_thousand_sessions_leave_nothing_behind(void)
{
	unsigned fds = 0, kept = 0;
	struct sess s;

	start(&s, true, false);
	for (unsigned i = 0; i < 1000; i++) {
		unsigned downs = sess_do(&s, s.downs);

		backend_hangup(s.b);
		while (sess_do(&s, s.downs) == downs)
			sess_nap(1);
		if (!sess_wait_link(&s, true, 2000))
			break;
		if (i == 9) {
			fds = fds_open();
			kept = fd_kept_count();
		}
	}
	CU_EQ(sess_do(&s, s.ups), 1001);
	CU_EQ(fds_open(), fds);
	CU_EQ(fd_kept_count(), kept);
	CU_EQ(sess_stat(&s, "connects"), 1001);
	sess_free(&s);
}

/* ---- sockets -------------------------------------------------------------------------------- */

static int dial(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&sa, sizeof(sa))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void a_second_client_is_sent_away(void)
{
	struct sess s;
	char byte;
	int fd;

	start(&s, true, false);
	fd = dial(s.cfg.socket);
	CU_ASSERT(fd >= 0);
	CU_EQ(read(fd, &byte, 1), 0);
	close(fd);
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(sess_stat(&s, "clients_refused"), 1);
	CU_EQ(sess_stat(&s, "vhost_losses"), 0);
	sess_free(&s);
}

static void bind_at(const char *path, bool listening)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || (listening && listen(fd, 1)))
		abort();
	if (!listening)
		close(fd);
}

static void init_server(struct sess *s)
{
	sess_init(s, NULL);
	sess_serve(s);
}

static void a_dead_socket_file_is_replaced(void)
{
	struct stat st;
	struct sess s;

	init_server(&s);
	bind_at(s.cfg.socket, false);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(stat(s.cfg.socket, &st), 0);
	CU_EQ(st.st_mode & 0777, 0660);
	sess_close(&s);
	CU_ASSERT(stat(s.cfg.socket, &st) < 0);
	sess_free(&s);
}

static void a_live_socket_is_left_alone(void)
{
	struct stat st;
	struct sess s;

	init_server(&s);
	bind_at(s.cfg.socket, true);
	CU_EQ(sess_open(&s), -EADDRINUSE);
	CU_ASSERT(strstr(s.err.msg, s.cfg.socket) != NULL);
	CU_EQ(stat(s.cfg.socket, &st), 0);
	sess_free(&s);
}

static void a_file_that_is_no_socket_is_left_alone(void)
{
	struct stat st;
	struct sess s;

	init_server(&s);
	close(open(s.cfg.socket, O_CREAT | O_WRONLY, 0600));
	CU_EQ(sess_open(&s), -EEXIST);
	CU_EQ(stat(s.cfg.socket, &st), 0);
	CU_ASSERT(S_ISREG(st.st_mode));
	sess_free(&s);
}

static void a_socket_that_took_our_place_is_not_unlinked(void)
{
	struct stat st;
	struct sess s;

	init_server(&s);
	CU_EQ(sess_open(&s), 0);
	unlink(s.cfg.socket);
	close(open(s.cfg.socket, O_CREAT | O_WRONLY, 0600));
	sess_close(&s);
	CU_EQ(stat(s.cfg.socket, &st), 0);
	sess_free(&s);
}

static void a_missing_directory_is_a_clear_error(void)
{
	struct sess s;

	sess_init(&s, NULL);
	strcat(s.cfg.socket, ".d/s");
	sess_serve(&s);
	CU_EQ(sess_open(&s), -ENOENT);
	CU_ASSERT(strstr(s.err.msg, "directory") != NULL);
	sess_free(&s);
}

static void a_path_longer_than_sun_path_is_refused(void)
{
	struct vhost_config cfg = { .id = "net0", .timeout_ms = 100, .rings = 2 };
	struct lock lock = { 0 };
	struct loop *loop;
	struct vhost_host host = { .lock = &lock };
	struct vhost *v;
	struct err e;

	CU_EQ(loop_new(&loop), 0);
	host.loop = loop;
	memset(cfg.socket, 'x', sizeof(cfg.socket));
	CU_EQ(vhost_new(&v, &cfg, &host, &e), -ENAMETOOLONG);
	CU_ASSERT(strstr(e.msg, "107") != NULL);
	cfg.socket[0] = '\0';
	CU_EQ(vhost_new(&v, &cfg, &host, &e), -EINVAL);
	cfg.socket[0] = 'x';
	cfg.socket[107] = '\0';
	CU_EQ(vhost_new(&v, &cfg, &host, &e), 0);
	vhost_free(v);
	loop_free(loop);
}

static void waiting_for_a_backend_costs_next_to_nothing(void)
{
	struct timespec a, b;
	double ms;
	struct sess s;

	sess_init(&s, NULL);
	CU_EQ(sess_open(&s), 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &a);
	sess_nap(1500);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &b);
	ms = (double)(b.tv_sec - a.tv_sec) * 1e3 + (double)(b.tv_nsec - a.tv_nsec) / 1e6;
	CU_ASSERT(ms < 15);
	CU_ASSERT(!sess_do(&s, s.up));
	sess_free(&s);
}

static void an_orphan_says_nothing_and_holds_nothing(void)
{
	struct sess s;
	int status;
	pid_t pid;

	start(&s, false, false);
	pid = fork();
	if (!pid) {
		unsigned before = fd_kept_count();

		vhost_orphan(s.v);
		/* Socket and error fd; and a later use is refused. */
		_exit(before - fd_kept_count() == 2 && vhost_open(s.v, &s.err) == -ENODEV &&
		      vhost_start(s.v, 0, 0, NULL, 0) == -ENODEV ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	sess_nap(50);
	CU_ASSERT(sess_do(&s, s.up));
	CU_EQ(backend_count(s.b, 0), 0);
	CU_EQ(sess_do(&s, vhost_ring_call(s.v, 0, -1)), 0);
	CU_EQ(backend_count(s.b, VU_SET_VRING_CALL), 1);
	sess_free(&s);
}

/* ---- all at once ---------------------------------------------------------------------------- */

static void *drive(void *arg)
{
	struct sess *s = arg;
	struct vhost_offer o;
	uint8_t buf[4];

	for (unsigned i = 0; i < 400; i++) {
		sess_do(s, vhost_ring_call(s->v, i % 2, i % 3 ? s->rings[i % 2].call_fd : -1));
		sess_do(s, vhost_ring_enable(s->v, 1, i % 2));
		sess_do(s, vhost_get_config(s->v, buf, 0, 4));
		sess_do(s, vhost_memory_changed(s->v));
		if (i % 16 == 15) {
			sess_stop(s);
			sess_start(s, 2, i % 32 == 15);
		}
		lock_take(&s->lock);
		vhost_offer(s->v, &o);
		lock_drop(&s->lock);
	}
	return NULL;
}

static void a_driver_and_a_dying_backend_never_deadlock(void)
{
	struct backend_config cfg = sess_decent(true);
	pthread_t thread;
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(pthread_create(&thread, NULL, drive, &s), 0);
	for (unsigned i = 0; i < 60; i++) {
		backend_hangup(s.b);
		sess_nap(3);
	}
	pthread_join(thread, NULL);
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	CU_EQ(s.failures, 0);
	sess_free(&s);
}

CU_MAIN("wire/vhost_reconnect",
	{ "B-RC-01, B-RC-06 a loss is a link down at once and up within a second",
	  a_loss_is_a_link_down_at_once_and_up_within_a_second },
	{ "B-RC-02 the whole session is replayed", the_whole_session_is_replayed },
	{ "B-RC-03 a split ring resumes at its used index",
	  a_split_ring_resumes_at_its_used_index },
	{ "B-RC-05 a packed ring resumes where its slots say",
	  a_packed_ring_resumes_where_its_slots_say },
	{ "B-RC-05 a torn flush is finished before the next back-end starts",
	  a_torn_flush_is_finished_before_the_next_backend_starts },
	{ "B-RC-04 rings are kicked and drivers woken after a reconnect",
	  rings_are_kicked_and_drivers_woken_after_a_reconnect },
	{ "B-RC-03 a ring no back-end ever had starts fresh",
	  a_ring_no_backend_ever_had_starts_fresh },
	{ "B-RG-12, B-RG-15 an orderly stop decides the base", an_orderly_stop_decides_the_base },
	{ "B-RG-13 an impossible base is not believed", an_impossible_base_is_not_believed },
	{ "B-RC-07 a reset between forgets where rings stood",
	  a_reset_between_forgets_where_rings_stood },
	{ "B-ST-19 a back-end with fewer features is left waiting",
	  a_backend_with_fewer_features_is_left_waiting },
	{ "B-ST-15, B-ST-19 a back-end with fewer queues is left waiting",
	  a_backend_with_fewer_queues_is_left_waiting },
	{ "B-RA-03, B-RC-02 a refusal at a replay is the back-end's matter",
	  a_refusal_at_a_replay_is_the_backends_matter },
	{ "B-RC-13, B-RP-08, B-FR-11 a hang-up at any message is survived",
	  a_hangup_at_any_message_is_survived },
	{ "B-RC-07 a driver may reset and leave while the back-end is away",
	  a_driver_may_reset_and_leave_while_the_backend_is_away },
	{ "B-RC-12 a thousand sessions leave nothing behind",
	  a_thousand_sessions_leave_nothing_behind },
	{ "B-RC-11 a second client is sent away", a_second_client_is_sent_away },
	{ "B-RC-11 a dead socket file is replaced", a_dead_socket_file_is_replaced },
	{ "B-RC-11 a live socket is left alone", a_live_socket_is_left_alone },
	{ "B-RC-11 a file that is no socket is left alone",
	  a_file_that_is_no_socket_is_left_alone },
	{ "B-RC-11 a socket that took our place is not unlinked",
	  a_socket_that_took_our_place_is_not_unlinked },
	{ "B-RC-10 a missing directory is a clear error", a_missing_directory_is_a_clear_error },
	{ "B-RC-10 a path longer than sun_path is refused",
	  a_path_longer_than_sun_path_is_refused },
	{ "B-RC-08 waiting for a back-end costs next to nothing",
	  waiting_for_a_backend_costs_next_to_nothing },
	T(an_orphan_says_nothing_and_holds_nothing),
	{ "B-RP-09, B-RC-07 a driver and a dying back-end never deadlock",
	  a_driver_and_a_dying_backend_never_deadlock })
