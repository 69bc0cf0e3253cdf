// SPDX-License-Identifier: Apache-2.0
/*
 * vhost_inflight.c - a back-end dies at any store of its work and its successor goes on by the
 * record of what is in flight: no buffer is lost, none comes back twice.
 *
 * The session's part is to hand the record over as it was and to leave the ring alone. The back-end
 * played here completes out of order, so the ring alone does not tell what is owed.
 */
#include <linux/virtio_ring.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "include/backend.h"
#include "sim/backend/poller.h"
#include "sim/backend/port.h"
#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)
#define TX    1u		/* the ring the tests use */
#define NUM   16u
#define CHAIN 3u
#define KILLS 48u

struct pos {
	uint16_t idx;
	bool wrap;
};

static struct pos pos_after(struct pos p, unsigned slots, unsigned num)
{
	unsigned idx = p.idx + slots;

	return (struct pos){ (uint16_t)(idx % num), p.wrap ^ (idx >= num) };
}

static uint32_t rng = 7;

static unsigned dice(unsigned sides)
{
	rng = rng * 1664525u + 1013904223u;
	return (rng >> 16) % sides;
}

/* ---- the driver ----------------------------------------------------------------------------- */

#define SERIALS 4096

struct driver {
	struct vring_packed_desc *ring;
	unsigned num, free;
	struct pos next, seen;
	unsigned slots[256];		/* of a buffer id; 0: the id is free */
	unsigned serial[256];
	unsigned serials, wrong;
	unsigned came_back[SERIALS];	/* how often */
};

static void driver_new(struct driver *d, struct vring_packed_desc *ring, unsigned num)
{
	*d = (struct driver){
		.ring = ring, .num = num, .free = num, .next = { 0, true }, .seen = { 0, true },
	};
}

/* One buffer of so many slots, each at addr; false: no room. The head is shown last. */
static bool driver_add(struct driver *d, unsigned slots, uint64_t addr, uint32_t len)
{
	uint16_t id = 0, head_flags = 0;
	struct pos p = d->next;

	while (id < d->num && d->slots[id])
		id++;
	if (slots > d->free || id == d->num || d->serials == SERIALS)
		return false;
	for (unsigned i = 0; i < slots; i++, p = pos_after(p, 1, d->num)) {
		uint16_t flags = (uint16_t)((p.wrap ? AVAIL : USED) |
					    (i + 1 < slots ? VRING_DESC_F_NEXT : 0));
		struct vring_packed_desc *s = &d->ring[p.idx];

		s->addr = addr;
		s->len = len;
		s->id = id;
		if (i)
			__atomic_store_n(&s->flags, flags, __ATOMIC_RELEASE);
		else
			head_flags = flags;
	}
	__atomic_store_n(&d->ring[d->next.idx].flags, head_flags, __ATOMIC_RELEASE);
	d->slots[id] = slots;
	d->serial[id] = d->serials++;
	d->free -= slots;
	d->next = p;
	return true;
}

static void driver_collect(struct driver *d)
{
	for (;;) {
		struct vring_packed_desc *s = &d->ring[d->seen.idx];
		uint16_t flags = __atomic_load_n(&s->flags, __ATOMIC_ACQUIRE);
		unsigned slots;

		if (!(flags & AVAIL) == d->seen.wrap || !(flags & USED) == d->seen.wrap)
			return;
		slots = s->id < d->num ? d->slots[s->id] : 0;
		d->wrong += !slots;
		if (!slots)
			return;		/* nobody waits for that one */
		d->came_back[d->serial[s->id]]++;
		d->slots[s->id] = 0;
		d->free += slots;
		d->seen = pos_after(d->seen, slots, d->num);
	}
}

static unsigned not_once(const struct driver *d)
{
	unsigned n = d->wrong;

	for (unsigned i = 0; i < d->serials; i++)
		n += d->came_back[i] != 1;
	return n;
}

/* ---- the back-end and its record ------------------------------------------------------------ */

/* As the specification's: what was taken, where used elements go, and the one under way. */
struct record {
	struct pos used, giving_at;
	uint16_t giving;		/* id + 1; 0: none */
	uint64_t counter;
	struct {
		bool inflight;
		uint16_t slots;
		uint64_t counter;
	} of[NUM];
};

_Static_assert(sizeof(struct record) <= 4096, "the scripted back-end's share for a ring");

struct device {
	struct vring_packed_desc *ring;
	struct record *r;
	struct pos next;
	unsigned fuse;			/* stores until it dies; 0: it lives */
	bool dead;
};

/* A store; or death, just before it. */
#define STORE(d, at, value) \
	do { \
		if ((d)->fuse && !--(d)->fuse) \
			(d)->dead = true; \
		if ((d)->dead) \
			return false; \
		__atomic_store_n(at, value, __ATOMIC_RELEASE); \
	} while (0)

static bool store_pos(struct device *d, struct pos *at, struct pos p)
{
	union { struct pos p; uint32_t word; } u = { .word = 0 };

	u.p = p;
	STORE(d, (uint32_t *)(void *)at, u.word);
	return true;
}

static bool device_take(struct device *d)
{
	struct pos p = d->next;
	uint16_t flags = __atomic_load_n(&d->ring[p.idx].flags, __ATOMIC_ACQUIRE), id;
	uint16_t slots = 1;

	if (!(flags & AVAIL) == p.wrap || !(flags & USED) != p.wrap)
		return false;
	while (d->ring[p.idx].flags & VRING_DESC_F_NEXT) {
		p = pos_after(p, 1, NUM);
		slots++;
	}
	id = d->ring[p.idx].id;
	STORE(d, &d->r->of[id].slots, slots);
	STORE(d, &d->r->of[id].counter, d->r->counter);
	STORE(d, &d->r->counter, d->r->counter + 1);
	STORE(d, &d->r->of[id].inflight, true);
	d->next = pos_after(p, 1, NUM);
	return true;
}

static bool device_finish(struct device *d, uint16_t id)
{
	STORE(d, &d->r->of[id].inflight, false);
	if (!store_pos(d, &d->r->used, pos_after(d->r->giving_at, d->r->of[id].slots, NUM)))
		return false;
	STORE(d, &d->r->giving, 0);
	return true;
}

static bool device_give(struct device *d, uint16_t id)
{
	struct pos at = d->r->used;
	struct vring_packed_desc *s = &d->ring[at.idx];

	if (!store_pos(d, &d->r->giving_at, at))
		return false;
	STORE(d, &d->r->giving, (uint16_t)(id + 1));
	STORE(d, &s->id, id);
	STORE(d, &s->len, 0);
	STORE(d, &s->flags, (uint16_t)(at.wrap ? AVAIL | USED : 0));
	return device_finish(d, id);
}

/* One of those in flight, whichever. */
static bool device_give_any(struct device *d)
{
	unsigned first = dice(NUM);

	for (unsigned i = 0; i < NUM; i++) {
		uint16_t id = (uint16_t)((first + i) % NUM);

		if (d->r->of[id].inflight)
			return device_give(d, id);
	}
	return false;
}

/* The record, as the session handed it to the back-end that is there now. */
static void device_up(struct device *d, struct sess *s)
{
	int fd = backend_kept_fd(s->b, VU_SET_INFLIGHT_FD);
	struct pos at;

	*d = (struct device){ .ring = sess_packed(s, TX) };
	d->r = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, TX * 4096);
	CU_ASSERT_FATAL(d->r != MAP_FAILED);
	close(fd);
	if (d->r->giving) {
		uint16_t flags = d->ring[d->r->giving_at.idx].flags;
		bool wrap = d->r->giving_at.wrap;

		/* Not used yet in this lap? The driver may have refilled the slot for the next. */
		if (!(flags & AVAIL) == wrap || !(flags & USED) != wrap)
			(void)device_finish(d, (uint16_t)(d->r->giving - 1));
		d->r->giving = 0;
	}
	at = d->r->used;
	for (unsigned i = 0; i < NUM; i++)
		if (d->r->of[i].inflight)
			at = pos_after(at, d->r->of[i].slots, NUM);
	d->next = at;
}

/* Takes and gives until it dies or `rounds` are over. */
static void device_work(struct device *d, unsigned rounds)
{
	for (unsigned i = 0; i < rounds && !d->dead; i++) {
		for (unsigned k = 0; k < 3; k++)
			(void)device_take(d);
		for (unsigned k = 0; k < 2; k++)
			(void)device_give_any(d);
	}
}

static void back_again(struct sess *s)
{
	unsigned ups = sess_do(s, s->ups);

	backend_hangup(s->b);
	for (unsigned i = 0; i < 2000 && sess_do(s, s->ups) == ups; i++)
		sess_nap(1);
	CU_EQ(sess_do(s, s->ups), ups + 1);
}

static void a_record_resumes_a_packed_ring_exactly(void)
{
	static struct vring_packed_desc was[NUM];
	static struct driver driver;
	struct backend_config cfg = sess_decent(true);
	struct device d;
	struct sess s;

	cfg.protocol |= BIT(VU_PROTOCOL_INFLIGHT_SHMFD);
	sess_init(&s, &cfg);
	s.num = NUM;
	CU_EQ_FATAL(sess_open(&s), 0);
	CU_EQ_FATAL(sess_start(&s, 2, true), 0);
	CU_ASSERT_FATAL(sess_wait_link(&s, true, 2000));
	driver_new(&driver, sess_packed(&s, TX), NUM);
	device_up(&d, &s);
	d.r->used = d.next = (struct pos){ 0, true };
	for (unsigned kill = 1; kill <= KILLS; kill++) {
		while (driver_add(&driver, 1 + dice(CHAIN), (uintptr_t)s.mem, 64))
			;
		d.fuse = kill;
		for (unsigned i = 0; i < 32 && !d.dead; i++) {
			device_work(&d, 1);
			driver_collect(&driver);
			while (driver_add(&driver, 1 + dice(CHAIN), (uintptr_t)s.mem, 64))
				;
		}
		CU_ASSERT(d.dead);
		munmap(d.r, 4096);
		memcpy(was, driver.ring, sizeof(was));
		back_again(&s);
		CU_EQ(memcmp(was, driver.ring, sizeof(was)), 0);
		device_up(&d, &s);
	}
	device_work(&d, 2 * NUM);
	driver_collect(&driver);
	CU_EQ(driver.free, NUM);
	CU_ASSERT(driver.serials > 4 * NUM);
	CU_EQ(not_once(&driver), 0);
	CU_EQ(backend_count(s.b, VU_GET_INFLIGHT_FD), 1);
	CU_EQ(backend_count(s.b, VU_SET_INFLIGHT_FD), KILLS + 1);
	CU_EQ(s.failures, 0);
	munmap(d.r, 4096);
	sess_free(&s);
}

/* ---- the node's own back-end ---------------------------------------------------------------- */

#define OFFERED 50u

static struct {
	struct poller *poller;
	struct port *port;
	pthread_t thread;
	void (*job)(void);		/* for its thread; NULL: done */
	bool stop;
} node;

static void *node_main(void *arg)
{
	(void)arg;
	while (!__atomic_load_n(&node.stop, __ATOMIC_ACQUIRE)) {
		void (*job)(void) = __atomic_load_n(&node.job, __ATOMIC_ACQUIRE);

		if (job)
			job();
		if (job)
			__atomic_store_n(&node.job, NULL, __ATOMIC_RELEASE);
		if (node.port)
			node.port->ops->tick(node.port, sess_now_ms());
		poller_run(node.poller, 1);
	}
	return NULL;
}

static void node_do(void (*job)(void))
{
	__atomic_store_n(&node.job, job, __ATOMIC_RELEASE);
	while (__atomic_load_n(&node.job, __ATOMIC_ACQUIRE))
		sess_nap(1);
}

static struct sess own;
static struct batch *batch;
static unsigned taken[OFFERED], strange;

static void port_up(void)
{
	struct vus_config cfg = { .name = "pod", .socket = own.cfg.socket, .pairs = 4 };
	struct err e = { 0 };

	CU_EQ(vus_new(&node.port, &cfg, NULL, NULL, &e), 0);
	CU_EQ(node.port->ops->attach(node.port, node.poller), 0);
}

/* As if killed: what an orderly end writes to the memory is taken back. */
static void port_down(void)
{
	static uint8_t copy[SESS_MEMORY];

	lock_take(&own.lock);
	memcpy(copy, own.mem, SESS_MEMORY);
	node.port->ops->free(node.port);
	node.port = NULL;
	memcpy(own.mem, copy, SESS_MEMORY);
	lock_drop(&own.lock);
}

static void note_taken(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned serial = batch->frame[i].head[0];

		strange += serial >= OFFERED;
		if (serial < OFFERED)
			taken[serial]++;
	}
}

static void serve_some_and_hold_some(void)
{
	CU_EQ(node.port->ops->take(node.port, 0, batch, 20), 20);
	note_taken(20);
	node.port->ops->release(node.port, 0, batch);
	CU_EQ(node.port->ops->take(node.port, 0, batch, 10), 10);
}

static void serve_the_rest(void)
{
	unsigned n = node.port->ops->take(node.port, 0, batch, PORT_BURST);

	note_taken(n);
	node.port->ops->release(node.port, 0, batch);
}

static void our_own_backend_killed_in_a_batch_loses_nothing(void)
{
	static struct driver driver;
	uint8_t *frames;

	sess_init(&own, NULL);
	own.num = 64;
	batch = aligned_alloc(64, sizeof(*batch));
	CU_EQ_FATAL(poller_new(&node.poller), 0);
	node.stop = false;
	CU_EQ_FATAL(pthread_create(&node.thread, NULL, node_main, NULL), 0);
	node_do(port_up);
	CU_EQ(sess_open(&own), 0);
	CU_EQ(sess_start(&own, 2, true), 0);
	CU_ASSERT_FATAL(sess_wait_link(&own, true, 2000));
	driver_new(&driver, sess_packed(&own, TX), 64);
	frames = own.mem + SESS_MEMORY / 2;
	for (unsigned i = 0; i < OFFERED; i++) {
		frames[i * 128 + 12] = (uint8_t)i;
		CU_ASSERT(driver_add(&driver, 1, (uintptr_t)&frames[i * 128], 100));
	}
	node_do(serve_some_and_hold_some);
	node_do(port_down);
	CU_ASSERT(sess_wait_link(&own, false, 1000));
	node_do(port_up);
	CU_ASSERT_FATAL(sess_wait_link(&own, true, 3000));
	node_do(serve_the_rest);
	driver_collect(&driver);
	CU_EQ(not_once(&driver), 0);
	CU_EQ(driver.free, 64);
	CU_EQ(strange, 0);
	for (unsigned i = 0; i < OFFERED; i++)
		CU_EQ(taken[i], 1);
	CU_EQ(own.failures, 0);
	sess_close(&own);
	__atomic_store_n(&node.stop, true, __ATOMIC_RELEASE);
	pthread_join(node.thread, NULL);
	node.port->ops->free(node.port);
	poller_free(node.poller);
	free(batch);
	sess_free(&own);
}

CU_MAIN("wire/vhost_inflight",
	{ "B-IF-03, B-IF-05 a record resumes a packed ring exactly, whenever it is needed",
	  a_record_resumes_a_packed_ring_exactly },
	T(our_own_backend_killed_in_a_batch_loses_nothing))
