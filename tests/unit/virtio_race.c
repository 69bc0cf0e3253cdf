// SPDX-License-Identifier: Apache-2.0
// virtio_race.c - a driver's threads, a back-end that never sleeps: nothing lost, nobody starved.
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "sim/core/fd.h"
#include "sim/core/loop.h"
#include "tests/ctl.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define PACKED B(VIRTIO_F_RING_PACKED)
#define RUNNING (RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK)
#define BUSY_MS     700		/* of rounds, at most */
#define ROUNDS_MIN  10		/* also where the machine is busy */
#define PATIENCE_MS 5000	/* until what does not come is lost */

static struct ctl c;
static atomic_bool on;
static atomic_uint seen;

static void up(uint64_t features)
{
	CU_EQ_FATAL(ctl_up(&c, CTL_ALL | features, 1, 64), RUNNING);
	atomic_store(&on, true);
	atomic_store(&seen, 0);
}

static pthread_t go(void *(*fn)(void *arg), void *arg)
{
	pthread_t t;

	CU_EQ_FATAL(pthread_create(&t, NULL, fn, arg), 0);
	return t;
}

static void stop(pthread_t t)
{
	atomic_store(&on, false);
	pthread_join(t, NULL);
}

/* ---- events that must be seen -------------------------------------------------------------- */

static void *read_isr(void *arg)
{
	while (atomic_load(&on))
		if (rig_read(&c.r, IOAPI_BAR4, c.r.isr, 1) & 2)
			atomic_fetch_add(&seen, 1);
	return NULL;
}

/* Each event comes while the reader reads; it must see each. */
static void an_event_is_never_lost_to_a_reader(void)
{
	uint64_t until = loop_now_ms() + BUSY_MS;
	unsigned events = 0;
	pthread_t t;

	up(0);
	t = go(read_isr, NULL);
	while (events < ROUNDS_MIN || (events < 4000 && loop_now_ms() < until)) {
		uint64_t lost = loop_now_ms() + PATIENCE_MS;

		fake_link(c.r.vhost, events % 2);
		events++;
		while (atomic_load(&seen) < events && loop_now_ms() < lost)
			sched_yield();
	}
	stop(t);
	CU_EQ(atomic_load(&seen), events);
	rig_down(&c.r);
}

static void *toggle_link(void *arg)
{
	for (unsigned i = 0; atomic_load(&on); i++) {
		fake_link(c.r.vhost, i % 2);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

/* Without a generation, two reads that agree are what a legacy driver goes by. */
static void two_reads_in_a_row_agree_soon(void)
{
	unsigned tries = 0;
	pthread_t t;

	CU_EQ_FATAL(rig_up(&c.r, &(struct rig_opts){ .legacy = true }), 0);
	atomic_store(&on, true);
	t = go(toggle_link, NULL);
	for (unsigned i = 0; i < 2000; i++) {
		uint64_t a, b;

		do {
			a = lg(&c.r, 20, 8);
			b = lg(&c.r, 20, 8);
			tries++;
		} while (a != b && tries < 1000000);
		CU_EQ(a & 0xffffffffffff, 0x563412005452);
		CU_ASSERT(a >> 48 <= VIRTIO_NET_S_LINK_UP);
	}
	stop(t);
	CU_ASSERT(tries < 1000000);
	rig_down(&c.r);
}

/* ---- floods -------------------------------------------------------------------------------- */

struct flood {
	struct rig *r;
	unsigned queue;
};

static void *kick(void *arg)
{
	struct flood *f = arg;

	while (atomic_load(&on))
		rig_notify(f->r, f->queue);
	return NULL;
}

/* Kicks on one device; registers of another, and of itself, and its reset, all the same. */
static void a_flood_of_kicks_blocks_nobody(void)
{
	struct rig other;
	struct flood f[2] = { { &c.r, 0 }, { &c.r, 2 } };
	pthread_t t[2];

	up(0);
	for (unsigned i = 0; i < 2; i++)
		t[i] = go(kick, &f[i]);
	CU_EQ_FATAL(rig_up(&other, &(struct rig_opts){ .pairs = 1 }), 0);
	for (unsigned i = 0; i < 5000; i++) {
		CU_EQ(rig_read(&other, IOAPI_CONFIG, 0, 4), 0x10411af4);
		CU_EQ(cc(&other, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
		CU_EQ(cc(&c.r, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	}
	for (unsigned i = 0; i < 100; i++) {
		rig_set_status(&c.r, 0);
		CU_EQ(rig_status(&c.r), 0);
		rig_set_status(&c.r, RIG_ACK);
	}
	atomic_store(&on, false);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	rig_down(&other);
	rig_down(&c.r);
}

static void *command(void *arg)
{
	while (atomic_load(&on)) {
		ctl_command(&c, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0);
		atomic_fetch_add(&seen, 1);
	}
	return NULL;
}

/* Commands without end: other registers are read, and a reset ends it. */
static void a_flood_of_commands_starves_nobody(void)
{
	uint64_t until = loop_now_ms() + PATIENCE_MS;
	pthread_t t;

	up(0);
	t = go(command, NULL);
	while (atomic_load(&seen) < 1000 && loop_now_ms() < until)
		CU_EQ(cc(&c.r, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	CU_ASSERT(atomic_load(&seen) >= 1000);
	rig_set_status(&c.r, 0);
	CU_EQ(rig_status(&c.r), 0);
	stop(t);
	rig_down(&c.r);
}

/* A driver that offers its ring anew whatever the device has taken: it is always full. */
static void *refill(void *arg)
{
	const volatile uint16_t *used = (uint16_t *)rig_va(&c.r, c.q.used) + 1;

	while (atomic_load(&on)) {
		qdrv_set_avail_idx(&c.q, (uint16_t)(*used + 64));
		atomic_store(&seen, 1);
	}
	return NULL;
}

/* Two rings' worth a notification; what comes on top waits, and the device asks to be told. */
static void a_driver_that_never_stops_is_served_in_portions(void)
{
	pthread_t t;

	up(B(VIRTIO_RING_F_EVENT_IDX));
	/* One command in all slots: ANNOUNCE_ACK at the page, its answer behind it. */
	memcpy(rig_va(&c.r, c.page), (uint8_t[]){ VIRTIO_NET_CTRL_ANNOUNCE, 0 }, 2);
	qdrv_add(&c.q, (struct qdrv_part[]){ { c.page, 2, false }, { c.page + 8, 1, true } }, 2);
	for (unsigned i = 1; i < 64; i++)
		qdrv_show(&c.q, 0, 2);
	t = go(refill, NULL);
	while (!atomic_load(&seen))
		sched_yield();
	for (uint64_t until = loop_now_ms() + BUSY_MS / 2; loop_now_ms() < until;) {
		uint64_t was = rig_stat(&c.r, "ctrl_ok"), is;

		rig_notify(&c.r, c.queue);
		is = rig_stat(&c.r, "ctrl_ok");
		CU_ASSERT(is - was <= 2 * 64);
		/* The next one not offered yet, which may be a ring further on. */
		CU_ASSERT((uint16_t)(qdrv_avail_event(&c.q) - is) <= 64);
	}
	stop(t);
	CU_EQ(rig_status(&c.r), RUNNING);
	CU_ASSERT(rig_stat(&c.r, "ctrl_ok") >= 64);
	rig_down(&c.r);
}

/* ---- a back-end that signals while the driver moves its vectors ----------------------------- */

/* A duplicate of the call fd, as SCM_RIGHTS would have given one. */
static int call_dup(void)
{
	int fd;

	lock_take(c.r.vhost->host.lock);
	fd = c.r.vhost->ring[0].call_fd < 0 ? -1 : dup(c.r.vhost->ring[0].call_fd);
	lock_drop(c.r.vhost->host.lock);
	return fd;
}

/* One signal per round, sent with a descriptor that may be of before the change. */
static void *signal_rounds(void *arg)
{
	unsigned sent = 0;

	while (atomic_load(&on)) {
		int fd;

		if (atomic_load(&seen) == sent)
			continue;
		fd = call_dup();
		sched_yield();
		if (fd < 0)
			continue;
		fd_signal(fd);
		close(fd);
		sent++;
	}
	return NULL;
}

static bool any_fired(const int *fds, unsigned n, uint64_t until)
{
	while (loop_now_ms() < until) {
		for (unsigned i = 0; i < n; i++)
			if (rig_fired(fds[i]))
				return true;
		sched_yield();
	}
	return false;
}

static void no_wakeup_is_lost_while_vectors_move(void)
{
	uint64_t until = loop_now_ms() + BUSY_MS;
	int fds[4];
	pthread_t t;

	up(0);
	CU_EQ(rig_irqs(&c.r, IOAPI_IRQ_MSIX, 4, fds), 0);
	cc_set(&c.r, VIRTIO_PCI_COMMON_Q_SELECT, 2, 0);
	cc_set(&c.r, VIRTIO_PCI_COMMON_Q_MSIX, 2, 1);
	t = go(signal_rounds, NULL);
	for (unsigned i = 0; i < ROUNDS_MIN || (i < 1000 && loop_now_ms() < until); i++) {
		unsigned vector = 1 + i % 3, masked = i % 2;

		atomic_fetch_add(&seen, 1);
		if (masked)
			rig_write(&c.r, IOAPI_BAR1, 16 * vector + 12, 4, 1);
		cc_set(&c.r, VIRTIO_PCI_COMMON_Q_MSIX, 2, vector);
		if (masked)
			rig_write(&c.r, IOAPI_BAR1, 16 * vector + 12, 4, 0);
		if (!any_fired(fds, 4, loop_now_ms() + PATIENCE_MS)) {
			CU_FAIL("a wakeup was lost");
			break;
		}
	}
	stop(t);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	rig_down(&c.r);
}

/* ---- order of what the device writes -------------------------------------------------------- */

struct watch {
	struct qdrv q;
	unsigned wrong;
	atomic_uint n;
};

/* Whoever sees that a buffer is back sees its length and its bytes. */
static void *watch_used(void *arg)
{
	struct watch *w = arg;
	uint16_t id;
	uint32_t len;

	while (atomic_load(&on)) {
		if (!qdrv_used(&w->q, &id, &len, 2))
			continue;
		w->wrong += len != 1 || id >= 64;
		atomic_fetch_add(&w->n, 1);
	}
	return NULL;
}

static void what_is_back_is_whole(bool packed)
{
	uint64_t until = loop_now_ms() + BUSY_MS;
	struct watch w = { .wrong = 0 };
	unsigned i = 0;
	pthread_t t;

	up(packed ? PACKED : 0);
	w.q = c.q;
	t = go(watch_used, &w);
	/* A slot is used again only when its watcher has seen it. */
	while (i < ROUNDS_MIN || (i < 3000 && loop_now_ms() < until)) {
		uint64_t lost = loop_now_ms() + PATIENCE_MS;

		CU_EQ(ctl_command(&c, VIRTIO_NET_CTRL_ANNOUNCE, 0, NULL, 0), 0);
		for (i++; atomic_load(&w.n) < i && loop_now_ms() < lost;)
			sched_yield();
	}
	stop(t);
	CU_EQ(w.wrong, 0);
	CU_EQ(atomic_load(&w.n), i);
	rig_down(&c.r);
}

static void what_is_back_is_whole_split(void)
{
	what_is_back_is_whole(false);
}

static void what_is_back_is_whole_packed(void)
{
	what_is_back_is_whole(true);
}

CU_MAIN("virtio/race",
	{ "A-IS-07 an event is never lost to a reader", an_event_is_never_lost_to_a_reader },
	{ "A-LG-23 two reads in a row agree soon", two_reads_in_a_row_agree_soon },
	{ "A-NT-09,12 a flood of kicks blocks nobody", a_flood_of_kicks_blocks_nobody },
	{ "A-CV-30 a driver that never stops is served in portions",
	  a_driver_that_never_stops_is_served_in_portions },
	{ "A-CV-30 a flood of commands starves nobody", a_flood_of_commands_starves_nobody },
	{ "A-MX-16 no wakeup is lost while vectors move", no_wakeup_is_lost_while_vectors_move },
	{ "A-SR-13 what is back is whole, split", what_is_back_is_whole_split },
	{ "A-PR-12 what is back is whole, packed", what_is_back_is_whole_packed })
