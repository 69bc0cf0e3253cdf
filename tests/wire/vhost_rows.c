// SPDX-License-Identifier: Apache-2.0
// vhost_rows.c - what is never said, what is never leaked, and whom memory is lent to.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/core/fd.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define HUGE (2u << 20)
#define NOBODY 65534

/* All a session can be made to say, to a back-end that offers everything there is. */
static void say_everything(struct sess *s)
{
	static const uint8_t mac[6] = { 2 };
	struct backend_config cfg = sess_decent(false);
	uint8_t buf[12];

	cfg.features = cfg.protocol = ~UINT64_C(0);
	cfg.slots = 8;
	sess_init(s, &cfg);
	sess_allow_notifier(s);
	CU_EQ(sess_open(s), 0);
	CU_EQ(sess_start(s, 4, true), 0);
	CU_EQ(sess_do(s, vhost_log_start(s->v)), 0);
	CU_EQ(sess_do(s, vhost_get_config(s->v, buf, 0, 12)), 12);
	sess_do(s, (vhost_announce(s->v, mac), 0));
	CU_EQ(sess_do(s, vhost_ring_enable(s->v, 3, false)), 0);
	CU_EQ(sess_do(s, vhost_ring_call(s->v, 3, -1)), 0);
	CU_EQ(sess_do(s, vhost_ring_stop(s->v, 3)), 0);
	CU_EQ(sess_do(s, vhost_set_space(s->v, NULL)), 0);
	CU_EQ(sess_do(s, vhost_set_space(s->v, s->space)), 0);
	sess_do(s, (vhost_log_stop(s->v), 0));
	sess_stop(s);
	CU_EQ(sess_do(s, vhost_start(s->v, BIT(VIRTIO_F_VERSION_1), 1500, s->rings, 2)), 0);
	sess_stop(s);
	CU_EQ(s->failures, 0);
}

static void what_is_not_ours_is_never_said(void)
{
	static const uint32_t never[] = {
		VU_RESET_OWNER, VU_SET_MEM_TABLE, VU_SET_LOG_FD, VU_IOTLB_MSG, VU_SET_VRING_ENDIAN,
		VU_SET_CONFIG, VU_CREATE_CRYPTO_SESSION, VU_CLOSE_CRYPTO_SESSION,
		VU_POSTCOPY_ADVISE, VU_POSTCOPY_LISTEN, VU_POSTCOPY_END, VU_GPU_SET_SOCKET,
		VU_VRING_KICK, VU_GET_SHARED_OBJECT, VU_SET_DEVICE_STATE_FD,
		VU_CHECK_DEVICE_STATE, VU_GET_SHMEM_CONFIG, VU_GET_VRING_BASE_SKIP_DRAIN,
	};
	static const unsigned refused[] = {
		VU_PROTOCOL_CROSS_ENDIAN, VU_PROTOCOL_CRYPTO_SESSION, VU_PROTOCOL_PAGEFAULT,
		VU_PROTOCOL_INBAND_NOTIFICATIONS, VU_PROTOCOL_XEN_MMAP,
		VU_PROTOCOL_SHARED_OBJECT, VU_PROTOCOL_DEVICE_STATE,
		VU_PROTOCOL_GET_VRING_BASE_INFLIGHT, 21, 22, 63,
	};
	struct backend_msg m;
	struct sess s;

	say_everything(&s);
	for (unsigned i = 0; i < ARRAY_SIZE(never); i++)
		CU_EQ(backend_count(s.b, never[i]), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_PROTOCOL_FEATURES, 0, &m));
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++)
		CU_EQ(m.payload.u64 & BIT(refused[i]), 0);
	/* No translation either: what the rings are told lies in what was announced. */
	for (int i = 0; backend_msg(s.b, VU_SET_FEATURES, i, &m); i++)
		CU_EQ(m.payload.u64 & BIT(VIRTIO_F_ACCESS_PLATFORM), 0);
	sess_free(&s);
}

/* Fills what the next calls will take for their stack. */
static __attribute__((noinline)) void soil_stack(void)
{
	volatile uint8_t dirt[16384];

	for (unsigned i = 0; i < sizeof(dirt); i++)
		dirt[i] = 0xa5;
}

static void padding_is_zero(void)
{
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	struct sess s;

	cfg.protocol |= BIT(VU_PROTOCOL_INFLIGHT_SHMFD) | BIT(VU_PROTOCOL_RARP);
	sess_init(&s, &cfg);
	soil_stack();
	CU_EQ(sess_open(&s), 0);
	soil_stack();
	CU_EQ(sess_start(&s, 2, true), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, 0, &m));
	CU_EQ(m.payload.memory.padding, 0);
	for (unsigned k = 0; k < 2; k++) {
		static const uint8_t zero[4];

		CU_ASSERT(backend_msg(s.b, k ? VU_SET_INFLIGHT_FD : VU_GET_INFLIGHT_FD, 0, &m));
		CU_EQ(memcmp((uint8_t *)&m.payload + 20, zero, 4), 0);
	}
	soil_stack();
	CU_ASSERT(sess_do(&s, vhost_get_config(s.v, (uint8_t[8]){ 0 }, 4, 8)) == 8);
	CU_ASSERT(backend_msg(s.b, VU_GET_CONFIG, 0, &m));
	CU_EQ(m.payload.config.flags, 0);
	for (unsigned i = 0; i < 8; i++)
		CU_EQ(m.payload.config.bytes[i], 0);
	sess_free(&s);
}

static void memory_cut_short_is_survived(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;

	for (unsigned packed = 0; packed < 2; packed++) {
		sess_init(&s, &cfg);
		CU_EQ(sess_open(&s), 0);
		CU_EQ(sess_start(&s, 2, packed), 0);
		CU_EQ(ftruncate(s.mem_fd, 0), 0);
		backend_hangup(s.b);
		CU_ASSERT(sess_wait_link(&s, false, 1000));
		CU_ASSERT(sess_wait_link(&s, true, 3000));
		/* Where the rings stood is gone with the memory: the driver has to reset. */
		CU_EQ(sess_do(&s, s.failures), 1);
		sess_stop(&s);
		CU_EQ(ftruncate(s.mem_fd, SESS_MEMORY), 0);
		CU_EQ(sess_start(&s, 2, packed), 0);
		CU_EQ(sess_do(&s, s.failures), 1);
		sess_free(&s);
	}
}

static void what_the_driver_may_only_read_nobody_may_write(void)
{
	const uint64_t there = UINT64_C(1) << 46;
	struct backend_config cfg = sess_decent(false);
	struct backend_msg m;
	char path[64];
	struct sess s;
	int fd;

	sess_init(&s, &cfg);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", s.mem_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CU_EQ(space_map(s.space, &(struct space_region){ .iova = there, .size = 65536,
							 .va = there, .fd = fd }, 1), 0);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, 0, &m));
	CU_EQ(m.fds_n, 2);
	for (unsigned i = 0; i < 2; i++)
		CU_EQ(m.files[i].access,
		      m.payload.memory.region[i].guest_addr == there ? O_RDONLY : O_RDWR);
	close(fd);
	sess_free(&s);
}

static void only_what_is_lent_is_in_the_table(void)
{
	struct backend_config cfg = sess_decent(false);
	int secret = memfd_create("secret", MFD_CLOEXEC);
	struct backend_msg m;
	struct stat st;
	struct sess s;

	/* Another file of this process, mapped and full: never told, whatever it lies next to. */
	if (ftruncate(secret, 65536) || fstat(secret, &st))
		abort();
	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_EQ(space_unmap(s.space, (uintptr_t)s.mem + 1048576, 65536), 65536);
	CU_EQ(sess_do(&s, vhost_memory_changed(s.v)), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, -1, &m));
	CU_EQ(m.payload.memory.regions, 2);
	for (unsigned i = 0; i < 2; i++) {
		const struct vu_region *r = &m.payload.memory.region[i];

		CU_ASSERT(m.files[i].ino != st.st_ino);
		CU_ASSERT(r->guest_addr + r->size <= (uintptr_t)s.mem + 1048576 ||
			  r->guest_addr >= (uintptr_t)s.mem + 1048576 + 65536);
		CU_EQ(r->mmap_offset, r->guest_addr - (uintptr_t)s.mem);
	}
	close(secret);
	sess_free(&s);
}

static void hugepages_are_told_in_whole_pages(void)
{
	struct backend_config cfg = sess_decent(false);
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
	struct backend_msg m;
	void *p = MAP_FAILED;
	struct sess s;

	if (fd >= 0 && !ftruncate(fd, 2 * HUGE))
		p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, HUGE);
	if (p == MAP_FAILED) {
		printf("skip B-MM-14 no hugepages here\n");
		return;
	}
	sess_init(&s, &cfg);
	CU_EQ(space_map(s.space, &(struct space_region){ .iova = (uintptr_t)p, .size = HUGE,
		.va = (uintptr_t)p, .fd = fd, .off = HUGE }, 1), 0);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	CU_ASSERT(backend_msg(s.b, VU_SET_MEM_TABLE, 0, &m));
	for (unsigned i = 0; i < 2; i++) {
		const struct vu_region *r = &m.payload.memory.region[i];

		if (r->guest_addr != (uintptr_t)p)
			continue;
		CU_EQ(r->size % HUGE, 0);
		CU_EQ(r->mmap_offset, HUGE);
	}
	sess_free(&s);
	munmap(p, HUGE);
	close(fd);
}

static void a_kick_nobody_takes_never_blocks(void)
{
	struct backend_config cfg = sess_decent(false);
	uint64_t full = UINT64_MAX - 1;
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(write(s.rings[0].kick_fd, &full, sizeof(full)), 8);
	CU_EQ(write(s.rings[1].call_fd, &full, sizeof(full)), 8);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	for (unsigned i = 0; i < 1000; i++)	/* the first that blocked would be the last */
		fd_signal(s.rings[0].kick_fd);
	backend_hangup(s.b);
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	CU_ASSERT(sess_wait_link(&s, true, 2000));
	sess_free(&s);
}

static void a_late_signal_changes_nothing(void)
{
	struct backend_config cfg = sess_decent(false);
	int call, err;
	struct sess s;

	sess_init(&s, &cfg);
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	call = dup(backend_ring_fd(s.b, 0, VU_SET_VRING_CALL));
	err = dup(backend_ring_fd(s.b, 0, VU_SET_VRING_ERR));
	sess_stop(&s);
	backend_forget(s.b);
	fd_signal(call);
	fd_signal(err);			/* of a ring that stopped: no error of anybody's */
	sess_nap(50);
	CU_EQ(sess_do(&s, s.failures), 0);
	CU_EQ(backend_count(s.b, 0), 0);
	CU_ASSERT(sess_do(&s, s.up));
	close(call);
	close(err);
	sess_free(&s);
}

/* ---- who is there --------------------------------------------------------------------------- */

/* Somebody else, who listens in the place of the back-end until it is killed. */
static pid_t impostor(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	pid_t pid;
	int fd;

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	pid = fork();
	if (pid)
		return pid;
	unlink(path);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (setuid(NOBODY) || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) || listen(fd, 8))
		_exit(1);
	for (;;)
		(void)!accept(fd, NULL, NULL);
}

static void another_user_in_the_backends_place_gets_no_memory(void)
{
	struct backend_config cfg = sess_decent(false);
	struct sess s;
	pid_t pid;

	if (geteuid()) {
		printf("skip B-RC-09 needs root to become somebody else\n");
		return;
	}
	sess_init(&s, &cfg);
	if (chmod(s.dir, 0777))
		abort();
	CU_EQ(sess_open(&s), 0);
	CU_EQ(sess_start(&s, 2, false), 0);
	backend_stop(s.b);
	s.b = NULL;
	CU_ASSERT(sess_wait_link(&s, false, 1000));
	pid = impostor(s.cfg.socket);
	for (unsigned i = 0; i < 1500 && !sess_stat(&s, "lost_stranger"); i++)
		sess_nap(2);
	CU_ASSERT(sess_stat(&s, "lost_stranger") >= 1);
	CU_ASSERT(!sess_do(&s, s.up));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	unlink(s.cfg.socket);
	cfg.path = s.cfg.socket;
	s.b = backend_start(&cfg);
	CU_ASSERT(sess_wait_link(&s, true, 4000));
	sess_free(&s);
}

CU_MAIN("wire/vhost_rows",
	{ "B-MSG-04,07,21,22,24..26,28,30,33..36, B-ST-09,10,12, B-DS-01, B-IF-07 never said",
	  what_is_not_ours_is_never_said },
	{ "B-RG-22,24, B-LG-06, B-MM-18,19, B-CF-04, B-BR-11 never said either",
	  what_is_not_ours_is_never_said },
	{ "B-FR-10 padding is zero", padding_is_zero },
	{ "B-MM-10 memory cut short is survived", memory_cut_short_is_survived },
	{ "B-MM-11 what the driver may only read nobody may write",
	  what_the_driver_may_only_read_nobody_may_write },
	{ "B-MM-09 only what is lent is in the table", only_what_is_lent_is_in_the_table },
	{ "B-MM-14 hugepages are told in whole pages", hugepages_are_told_in_whole_pages },
	{ "B-RG-18 a kick nobody takes never blocks", a_kick_nobody_takes_never_blocks },
	{ "B-RG-19 a late signal changes nothing", a_late_signal_changes_nothing },
	{ "B-RC-09 another user in the back-end's place gets no memory",
	  another_user_in_the_backends_place_gets_no_memory })
