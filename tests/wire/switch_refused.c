// SPDX-License-Identifier: Apache-2.0
/*
 * switch_refused.c - a front-end connects to a port while the switch is refused the n-th thing it
 * asks the world for, for every n until none is left.
 *
 * The front-end is told no, is cut off, or has a port that works; another pod's port works all the
 * time, and when the front-end has left nothing of it is. It does all that has the switch take
 * memory or descriptors: both ways to lend memory, a log, an in-flight file, a channel of requests.
 */
// pkg-config: json-c
#include <poll.h>

#include "tests/wire/refuse.h"
#include "tests/wire/switch_rig.h"

#define PORTS      6			/* a port takes but so many connections in a second */
#define ROUNDS_MAX 200
#define WAIT_MS    4000
#define LOG_BYTES  (1u << 20)
#define MORE_GPA   0x700000000000ull
#define MORE_BYTES (2u << 20)
#define FAR        64

static struct rig rig;

/* ---- a front-end that hears every answer ---------------------------------------------------- */

struct front {
	struct pod d;
	int fd[3];			/* a channel, the log, more memory */
	int rc;				/* of the first request that was not granted */
};

/* An answer to the request; its payload, and its descriptor if there is one. */
static int answer(struct front *f, union vu_payload *p, int *fd)
{
	struct pollfd wait = { .fd = f->d.p.fd, .events = POLLIN };
	struct vu_header h;
	int rc;

	if (poll(&wait, 1, WAIT_MS) != 1)
		return -ETIMEDOUT;
	rc = peer_recv(&f->d.p, &h, p, fd);
	return rc == 1 ? 0 : rc ? rc : -ETIMEDOUT;
}

static void ask(struct front *f, uint32_t request, const void *payload, uint32_t size, int fd)
{
	union vu_payload p = { 0 };

	if (f->rc)
		return;
	f->rc = peer_send(&f->d.p, request, VU_VERSION | VU_NEED_REPLY, payload, size, &fd,
			  fd >= 0);
	if (!f->rc)
		f->rc = answer(f, &p, NULL);
	if (!f->rc && p.u64)
		f->rc = -EPERM;
}

static void ask_u64(struct front *f, uint32_t request, uint64_t value)
{
	ask(f, request, &value, sizeof(value), -1);
}

static void lend(struct front *f)
{
	const struct vu_single_region more = {
		.region = { MORE_GPA, MORE_BYTES, MORE_GPA, 0 },
	};
	struct vu_memory m = { .regions = 1 };

	m.region[0] = (struct vu_region){ DRV_GPA, f->d.p.mem.size, DRV_UVA, 0 };
	ask(f, VU_SET_MEM_TABLE, &m, VU_MEMORY_SIZE(1), f->d.p.mem.fd);
	ask(f, VU_ADD_MEM_REG, &more, sizeof(more), f->fd[2]);
}

/* An in-flight file as the port makes it, and back. */
static void inflight(struct front *f)
{
	const struct vu_inflight want = { .queues = 2, .queue_size = POD_NUM };
	union vu_payload p;
	int fd = -1;

	if (f->rc)
		return;
	f->rc = peer_send(&f->d.p, VU_GET_INFLIGHT_FD, VU_VERSION, &want, sizeof(want), NULL, 0);
	if (!f->rc)
		f->rc = answer(f, &p, &fd);
	if (!f->rc)
		ask(f, VU_SET_INFLIGHT_FD, &p.inflight, sizeof(p.inflight), fd);
	if (fd >= 0)
		close(fd);
}

static void dirty_log(struct front *f)
{
	const struct vu_log log = { .size = LOG_BYTES };
	union vu_payload p;

	if (f->rc)
		return;
	f->rc = peer_send(&f->d.p, VU_SET_LOG_BASE, VU_VERSION, &log, sizeof(log), &f->fd[1], 1);
	if (!f->rc)
		f->rc = answer(f, &p, NULL);
}

/* Rings are started without asking; a last question tells whether that was granted. */
static void rings(struct front *f)
{
	uint32_t base = f->d.p.features >> VIRTIO_F_RING_PACKED & 1 ? 0x80008000 : 0;
	union vu_payload p;

	for (unsigned i = 0; i < 2 && !f->rc; i++)
		f->rc = peer_start_ring(&f->d.p, i, POD_NUM, base);
	if (!f->rc)
		f->rc = peer_send(&f->d.p, VU_GET_FEATURES, VU_VERSION, NULL, 0, NULL, 0);
	if (!f->rc)
		f->rc = answer(f, &p, NULL);
	if (f->rc)
		return;
	f->d.rx_off = drv_alloc(&f->d.p.mem, (uint64_t)POD_NUM * POD_BUF, 4096);
	f->d.tx_off = drv_alloc(&f->d.p.mem, (uint64_t)POD_NUM * POD_BUF, 4096);
	for (unsigned i = 0; i < FAR; i++)
		post(&f->d, i);
}

static void front_up(struct front *f, unsigned port, uint64_t more)
{
	memset(f, 0, sizeof(*f));
	snprintf(f->d.path, sizeof(f->d.path), "/tmp/switch-test-%d-%u", (int)getpid(), port);
	CU_ASSERT_EQUAL_FATAL(peer_new(&f->d.p, POD_MEM), 0);
	f->fd[0] = eventfd(0, EFD_CLOEXEC);
	f->fd[1] = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	f->fd[2] = memfd_create("more", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CU_EQ(ftruncate(f->fd[1], LOG_BYTES) | ftruncate(f->fd[2], MORE_BYTES), 0);
	f->d.p.features = BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) |
			  BIT(VU_F_PROTOCOL_FEATURES) | more;
	f->d.p.protocol = BIT(VU_PROTOCOL_REPLY_ACK) | BIT(VU_PROTOCOL_BACKEND_REQ) |
			  BIT(VU_PROTOCOL_INFLIGHT_SHMFD) | BIT(VU_PROTOCOL_LOG_SHMFD) |
			  BIT(VU_PROTOCOL_CONFIGURE_MEM_SLOTS);
	f->rc = peer_connect(&f->d.p, f->d.path);
	if (!f->rc)
		f->rc = peer_send_u64(&f->d.p, VU_SET_FEATURES, f->d.p.features);
	if (!f->rc)
		f->rc = peer_send_u64(&f->d.p, VU_SET_PROTOCOL_FEATURES, f->d.p.protocol);
	ask_u64(f, VU_SET_FEATURES, f->d.p.features);
	ask(f, VU_SET_BACKEND_REQ_FD, NULL, 0, f->fd[0]);
	inflight(f);
	dirty_log(f);
	lend(f);
	rings(f);
}

static void front_down(struct front *f)
{
	peer_free(&f->d.p);
	for (unsigned i = 0; i < ARRAY_SIZE(f->fd); i++)
		close(f->fd[i]);
}

/* ---- rounds --------------------------------------------------------------------------------- */

static bool comes(struct pod *d, uint32_t number)
{
	uint8_t b[FRAME_BYTES];
	unsigned ms = 0;

	for (;;) {
		uint32_t n = pod_recv(d, b);

		if (n && frame_number(b) == number)
			return true;
		if (!n && ms++ == WAIT_MS)
			return false;
		if (!n)
			nap_ms(1);
	}
}

/* A frame each way between the new pod and one that has been there all the time. */
static void exchange(struct front *f, struct pod *old, uint32_t number)
{
	uint8_t b[FRAME_BYTES];

	pod_send(&f->d, b, frame_make(b, 0, 10, 0, number, 100));
	CU_ASSERT(comes(old, number));
	pod_send(old, b, frame_make(b, 0, 11, 0, number + 1, 100));
	CU_ASSERT(comes(&f->d, number + 1));
}

static void each_fault(uint64_t more)
{
	static struct ledger before;
	static struct front f;
	bool struck = true;
	struct pod *old;
	unsigned n, refused = 0;

	refuse_spared = true;
	rig_up(&rig, 1);
	old = pod_up(&rig, 0, 0);
	for (unsigned i = 1; i <= PORTS; i++)
		CU_EQ(cmd(&rig, "port add p%u socket /tmp/switch-test-%d-%u", i, (int)getpid(), i),
		      0);
	__atomic_store_n(&refuse_alone, true, __ATOMIC_RELAXED);
	for (n = 1; struck && n < ROUNDS_MAX; n++) {
		ledger_take(&before);
		fault_arm(n);
		front_up(&f, 1 + n % PORTS, more);
		struck = !fault_armed();
		fault_arm(0);
		CU_ASSERT(f.rc != -ETIMEDOUT);
		CU_ASSERT(!f.rc || struck);
		if (!f.rc)
			exchange(&f, old, 2 * n);
		refused += f.rc != 0;
		front_down(&f);
		if (!ledger_same_soon(&before))
			printf("# fault %u leaves other descriptors open\n", n);
		CU_ASSERT(ledger_same(&before));
	}
	CU_ASSERT(!struck);
	CU_ASSERT(refused > 10);
	__atomic_store_n(&refuse_alone, false, __ATOMIC_RELAXED);
	rig_down(&rig);
}

static void a_front_end_with_split_rings(void)
{
	each_fault(0);
}

static void a_front_end_with_packed_rings(void)
{
	each_fault(BIT(VIRTIO_F_RING_PACKED) | BIT(35));
}

CU_MAIN("wire/switch_refused",
	T(a_front_end_with_split_rings), T(a_front_end_with_packed_rings))
