// SPDX-License-Identifier: Apache-2.0
/*
 * ring_resume.c - the resume scan against a model of a driver and a device.
 *
 * The model keeps the positions a real pair keeps to itself and writes the slots as DPDK does;
 * the scan must find the device's position from the slots alone.
 */
#include <errno.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "sim/core/guard.h"
#include "sim/ring/resume.h"
#include "tests/unit/cu.h"

#define NUM_MAX 67u
#define CASES 100000u
#define AVAIL (1u << VRING_PACKED_DESC_F_AVAIL)
#define USED  (1u << VRING_PACKED_DESC_F_USED)

static uint64_t seed = 0x9e3779b97f4a7c15;

static unsigned below(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 33) % n;
}

/* ---- the model ------------------------------------------------------------------------------ */

struct buffer {
	unsigned len;			/* slots */
	unsigned covers;		/* buffers its element stands for; 0: has no element */
};

struct model {
	struct vring_packed_desc ring[NUM_MAX];
	unsigned num;
	bool in_order, writable;
	/* Positions count slots for ever; a slot is position % num. */
	uint64_t avail, used, collected;
	struct buffer fifo[NUM_MAX];	/* by id, of outstanding buffers */
	uint64_t start_of[NUM_MAX];
	unsigned free_ids[NUM_MAX], free_n;
	struct { uint64_t at; unsigned id, len; } out[NUM_MAX + 1];	/* oldest first */
	unsigned out_n, done_n;		/* the first done_n are used, not yet collected */
};

static bool wrap_at(const struct model *m, uint64_t pos)
{
	return (pos / m->num) % 2 == 0;
}

static struct vring_packed_desc *slot(struct model *m, uint64_t pos)
{
	return &m->ring[pos % m->num];
}

static uint16_t mark(bool avail, bool used)
{
	return (uint16_t)((avail ? AVAIL : 0) | (used ? USED : 0));
}

static void model_init(struct model *m, unsigned num, bool in_order, bool writable)
{
	memset(m, 0, sizeof(*m));
	m->num = num;
	m->in_order = in_order;
	m->writable = writable;
	for (unsigned i = 0; i < num; i++) {
		m->ring[i].id = (uint16_t)i;	/* as DPDK's driver leaves them */
		m->free_ids[m->free_n++] = i;
	}
}

static bool driver_add(struct model *m, unsigned len)
{
	unsigned id;

	if (m->avail + len > m->collected + m->num)
		return false;
	id = m->free_ids[0];
	if (m->in_order)
		id = (unsigned)(m->avail % m->num);
	else
		memmove(m->free_ids, m->free_ids + 1, --m->free_n * sizeof(m->free_ids[0]));
	for (unsigned i = 0; i < len; i++) {
		struct vring_packed_desc *d = slot(m, m->avail + i);
		bool w = wrap_at(m, m->avail + i);

		d->addr = 0x1000 + below(100000);
		d->len = 64 + below(1000);
		d->flags = (uint16_t)(mark(w, !w) | (m->writable ? VRING_DESC_F_WRITE : 0) |
				      (i + 1 < len ? VRING_DESC_F_NEXT : 0));
		if (i + 1 == len)
			d->id = (uint16_t)id;
	}
	m->out[m->out_n].at = m->avail;
	m->out[m->out_n].id = id;
	m->out[m->out_n++].len = len;
	m->avail += len;
	return true;
}

/* One element for the n oldest owed buffers; with `torn` its id and flags are not written. */
static void device_use(struct model *m, unsigned n, bool torn, bool torn_id)
{
	uint64_t at = m->out[m->done_n].at;
	struct vring_packed_desc *d = slot(m, at);
	bool w = wrap_at(m, at);

	m->used = m->out[m->done_n + n - 1].at + m->out[m->done_n + n - 1].len;
	if (!torn || torn_id) {
		d->id = (uint16_t)m->out[m->done_n + n - 1].id;
		d->len = m->writable ? 60 + below(1000) : 0;
	}
	if (!torn)
		d->flags = (uint16_t)(mark(w, w) | (m->writable ? VRING_DESC_F_WRITE : 0) |
				      (below(2) ? d->flags & VRING_DESC_F_NEXT : 0));
	m->done_n += n;
}

static void driver_collect(struct model *m, unsigned n)
{
	for (unsigned i = 0; i < n && !m->in_order; i++)
		m->free_ids[m->free_n++] = m->out[i].id;
	m->collected = m->out[n - 1].at + m->out[n - 1].len;
	m->out_n -= n;
	m->done_n -= n;
	memmove(m->out, m->out + n, m->out_n * sizeof(m->out[0]));
}

/* Collects a whole number of elements: batches are collected as they were used. */
static void model_step(struct model *m, unsigned chain_max, unsigned batch_max,
		       unsigned batches[], unsigned *batches_n)
{
	unsigned owed = m->out_n - m->done_n, n;

	switch (below(3)) {
	case 0:
		for (n = 1 + below(m->num); n && driver_add(m, 1 + below(chain_max)); n--)
			;
		break;
	case 1:
		for (n = 1 + below(4); n && owed; n--) {
			unsigned b = 1 + below(batch_max);

			if (b > owed)
				b = owed;
			device_use(m, b, false, false);
			batches[(*batches_n)++] = b;
			owed -= b;
		}
		break;
	case 2:
		n = *batches_n ? below(*batches_n + 1) : 0;
		for (unsigned i = 0; i < n; i++)
			driver_collect(m, batches[i]);
		*batches_n -= n;
		memmove(batches, batches + n, *batches_n * sizeof(batches[0]));
		break;
	}
}

static uint32_t base_at(const struct model *m, uint64_t pos)
{
	uint32_t half = (uint32_t)(pos % m->num) | (wrap_at(m, pos) ? 1u << 15 : 0);

	return half | half << 16;
}

/* ---- the property --------------------------------------------------------------------------- */

struct tally {
	unsigned cases, exact, doubted, wrong;
};

/* As DPDK's driver: from where it waits, by the ids it finds; all its buffers must come back. */
static bool all_come_back(struct model *m)
{
	uint64_t pos = m->collected;
	unsigned i = 0;

	while (i < m->out_n) {
		const struct vring_packed_desc *d = slot(m, pos);
		bool w = wrap_at(m, pos);

		if (!!(d->flags & AVAIL) != w || !!(d->flags & USED) != w)
			return false;
		while (m->in_order && i < m->out_n && m->out[i].id != d->id)
			i++;
		if (i == m->out_n || m->out[i].id != d->id)
			return false;
		pos = m->out[i].at + m->out[i].len;
		i++;
	}
	return pos == m->avail;
}

static void judge(struct model *m, struct tally *t)
{
	struct vring_packed_desc was[NUM_MAX];
	struct resume_note note = { 0 };
	uint32_t base = 0;
	int rc;

	memcpy(was, m->ring, sizeof(was));
	rc = resume_packed(m->ring, (uint16_t)m->num, RESUME_MEND |
			   (m->in_order ? RESUME_IN_ORDER : 0), &base, &note);
	t->cases++;
	if (note.doubt) {
		/* There may be doubt only when no element is left. */
		t->doubted++;
		if (m->done_n || base != base_at(m, m->avail) || !all_come_back(m))
			rc = -1;
		memcpy(m->ring, was, sizeof(was));
	} else {
		t->exact++;
		if (base != base_at(m, m->used))
			rc = -1;
	}
	/* The driver's slots, free ones apart, are as they were. */
	for (uint64_t pos = m->collected; pos < m->avail; pos++)
		if (memcmp(slot(m, pos), &was[pos % m->num], sizeof(was[0])))
			rc = -1;
	if (rc && !t->wrong++)
		printf("# num %u in_order %d base %x, want %x, rc %d, avail %lu used %lu\n", m->num,
		       m->in_order, base, base_at(m, m->used), rc, m->avail, m->used);
}

static struct tally run_cases(unsigned chain_max, unsigned batch_max, bool in_order, bool writable)
{
	struct tally t = { 0 };
	unsigned batches[NUM_MAX];
	static struct model m;

	while (t.cases < CASES / 4) {
		unsigned n = 0;

		model_init(&m, chain_max + 1 + below(NUM_MAX - chain_max), in_order, writable);
		for (unsigned steps = below(40); steps; steps--) {
			model_step(&m, chain_max, batch_max, batches, &n);
			judge(&m, &t);
		}
	}
	return t;
}

static void single_buffers_resume_exactly(void)
{
	struct tally t = run_cases(1, 1, false, true);

	CU_ASSERT_EQUAL(t.wrong, 0);
	CU_ASSERT_EQUAL(t.doubted, 0);
	CU_ASSERT(t.exact >= CASES / 4);
}

static void single_buffers_to_the_device_resume_exactly(void)
{
	struct tally t = run_cases(1, 1, false, false);

	CU_ASSERT_EQUAL(t.wrong, 0);
	CU_ASSERT_EQUAL(t.doubted, 0);
}

static void chains_resume_or_give_all_back(void)
{
	struct tally t = run_cases(5, 1, false, false);

	CU_ASSERT_EQUAL(t.wrong, 0);
	CU_ASSERT(t.doubted * 4 < t.cases);
	printf("# chains: %u exact, %u doubted\n", t.exact, t.doubted);
}

static void in_order_batches_resume_or_give_all_back(void)
{
	struct tally t = run_cases(3, 8, true, false);

	CU_ASSERT_EQUAL(t.wrong, 0);
	CU_ASSERT(t.doubted * 4 < t.cases);
	printf("# batches: %u exact, %u doubted\n", t.exact, t.doubted);
}

static void in_order_receive_rings_resume_exactly(void)
{
	struct tally t = run_cases(1, 1, true, true);

	CU_ASSERT_EQUAL(t.wrong, 0);
	CU_ASSERT_EQUAL(t.doubted, 0);
}

/* ---- torn flushes --------------------------------------------------------------------------- */

/* A burst whose head's flags are missing must come out as if they were not. */
static bool torn_case(bool in_order, bool writable, unsigned chain_max)
{
	unsigned num = chain_max + 4 + below(NUM_MAX - chain_max - 3);
	unsigned batches[NUM_MAX], burst, n = 0;
	struct resume_note note;
	static struct model m;
	uint64_t head;
	uint32_t base;
	bool w;

	model_init(&m, num, in_order, writable);
	for (unsigned steps = below(30); steps; steps--)
		model_step(&m, chain_max, 1, batches, &n);
	while (m.out_n - m.done_n < 2 && driver_add(&m, 1))
		;
	if (m.out_n - m.done_n < 2)
		return true;
	head = m.out[m.done_n].at;
	burst = 2 + below(m.out_n - m.done_n - 1);
	device_use(&m, 1, true, writable);
	for (unsigned i = 1; i < burst; i++)
		device_use(&m, 1, false, false);

	if (resume_packed(m.ring, (uint16_t)num, RESUME_MEND | (in_order ? RESUME_IN_ORDER : 0),
			  &base, &note))
		return false;
	w = wrap_at(&m, head);
	return base == base_at(&m, m.used) && note.mended &&
	       !!(slot(&m, head)->flags & USED) == w &&
	       !!(slot(&m, head)->flags & AVAIL) == w &&
	       slot(&m, head)->id == m.out[m.done_n - burst].id;
}

static void torn(bool in_order, bool writable, unsigned chain_max)
{
	unsigned bad = 0;

	for (unsigned i = 0; i < CASES / 10; i++)
		bad += !torn_case(in_order, writable, chain_max);
	CU_ASSERT_EQUAL(bad, 0);
}

static void a_torn_receive_flush_is_finished(void)
{
	torn(false, true, 1);
	torn(true, true, 1);
}

static void a_torn_transmit_flush_is_finished(void)
{
	torn(false, false, 1);
	torn(true, false, 1);		/* in order, with an element for each all the same */
}

static void a_torn_flush_of_chains_is_finished(void)
{
	torn(false, false, 3);
}

static void a_torn_flush_is_only_looked_at_unless_asked(void)
{
	struct vring_packed_desc was[NUM_MAX];
	struct resume_note note;
	struct model m;
	uint32_t base;

	model_init(&m, 8, false, true);
	while (driver_add(&m, 1))
		;
	device_use(&m, 1, true, true);
	device_use(&m, 1, false, true);
	memcpy(was, m.ring, sizeof(was));
	CU_ASSERT_EQUAL(resume_packed(m.ring, 8, 0, &base, &note), 0);
	CU_ASSERT_EQUAL(note.mended, 1);
	CU_ASSERT_EQUAL(base, base_at(&m, m.used));
	CU_ASSERT_EQUAL(memcmp(was, m.ring, sizeof(was)), 0);
}

/* ---- corners -------------------------------------------------------------------------------- */

static void a_fresh_packed_ring_starts_at_zero_with_both_wraps_set(void)
{
	struct model m;
	uint32_t base = 0;

	model_init(&m, 33, false, false);
	CU_ASSERT_EQUAL(resume_packed(m.ring, 33, 0, &base, NULL), 0);
	CU_ASSERT_EQUAL(base, 0x80008000);
	driver_add(&m, 3);
	driver_add(&m, 1);
	CU_ASSERT_EQUAL(resume_packed(m.ring, 33, 0, &base, NULL), 0);
	CU_ASSERT_EQUAL(base, 0x80008000);
}

static void a_buffer_being_added_asks_for_another_look(void)
{
	struct vring_packed_desc head;
	uint32_t base = 0x1234;
	struct model m;

	model_init(&m, 8, false, false);
	driver_add(&m, 1);
	driver_add(&m, 3);
	head = m.ring[1];
	m.ring[1] = (struct vring_packed_desc){ .id = 1 };
	CU_ASSERT_EQUAL(resume_packed(m.ring, 8, 0, &base, NULL), -EAGAIN);
	CU_ASSERT_EQUAL(base, 0x1234);
	m.ring[1] = head;
	CU_ASSERT_EQUAL(resume_packed(m.ring, 8, 0, &base, NULL), 0);
}

static void a_ring_that_contradicts_itself_is_refused(void)
{
	struct vring_packed_desc ring[8];
	uint32_t base;

	/* Two elements of one lap with owed single buffers between them: not one torn head. */
	for (unsigned i = 0; i < 8; i++)
		ring[i] = (struct vring_packed_desc){ .addr = 0x1000, .id = (uint16_t)i,
						      .flags = AVAIL };
	ring[0].flags = ring[3].flags = AVAIL | USED;
	CU_ASSERT_EQUAL(resume_packed(ring, 8, 0, &base, NULL), -EUCLEAN);
}

static void an_id_used_again_further_on_is_not_taken_for_a_tail(void)
{
	static const uint16_t ids[] = { 5, 6, 5, 7 };
	struct vring_packed_desc ring[8] = { 0 };
	uint32_t base;

	for (unsigned i = 0; i < 4; i++)
		ring[i] = (struct vring_packed_desc){ .addr = 0x1000, .id = ids[i],
						      .flags = AVAIL };
	ring[0].flags = AVAIL | USED;
	CU_ASSERT_EQUAL(resume_packed(ring, 8, 0, &base, NULL), 0);
	CU_ASSERT_EQUAL(base, 0x80018001);
	/* In order it is the last of a batch that the element stands for. */
	CU_ASSERT_EQUAL(resume_packed(ring, 8, RESUME_IN_ORDER, &base, NULL), 0);
	CU_ASSERT_EQUAL(base, 0x80038003);
}

static void impossible_arguments_are_refused(void)
{
	struct vring_packed_desc ring[1] = { 0 };
	uint32_t base;

	CU_ASSERT_EQUAL(resume_packed(ring, 0, 0, &base, NULL), -EINVAL);
	CU_ASSERT_EQUAL(resume_packed(ring, 32769, 0, &base, NULL), -EINVAL);
	CU_ASSERT_EQUAL(resume_packed(NULL, 1, 0, &base, NULL), -EINVAL);
	CU_ASSERT_EQUAL(resume_split(NULL, 8, &base), -EINVAL);
	CU_ASSERT_EQUAL(resume_split(ring, 7, &base), -EINVAL);
}

static void a_split_ring_resumes_at_its_used_index(void)
{
	uint16_t used[2 + 4 * 8] = { 0 };
	uint32_t base = ~0u;

	CU_ASSERT_EQUAL(resume_split(used, 8, &base), 0);
	CU_ASSERT_EQUAL(base, 0);
	used[1] = 0xfffe;
	CU_ASSERT_EQUAL(resume_split(used, 8, &base), 0);
	CU_ASSERT_EQUAL(base, 0xfffe);
}

static void rings_that_vanished_are_an_error_not_a_crash(void)
{
	void *p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint32_t base;

	CU_ASSERT_EQUAL_FATAL(guard_install(), 0);
	munmap(p, 4096);
	CU_ASSERT_EQUAL(resume_packed(p, 64, RESUME_MEND, &base, NULL), -EFAULT);
	CU_ASSERT_EQUAL(resume_split(p, 64, &base), -EFAULT);
}

CU_MAIN("ring/resume",
	T(single_buffers_resume_exactly),
	T(single_buffers_to_the_device_resume_exactly),
	T(chains_resume_or_give_all_back),
	T(in_order_batches_resume_or_give_all_back),
	T(in_order_receive_rings_resume_exactly),
	T(a_torn_receive_flush_is_finished),
	T(a_torn_transmit_flush_is_finished),
	T(a_torn_flush_of_chains_is_finished),
	T(a_torn_flush_is_only_looked_at_unless_asked),
	T(a_fresh_packed_ring_starts_at_zero_with_both_wraps_set),
	T(a_buffer_being_added_asks_for_another_look),
	T(a_ring_that_contradicts_itself_is_refused),
	T(an_id_used_again_further_on_is_not_taken_for_a_tail),
	T(impossible_arguments_are_refused),
	{ "B-RC-03: a split ring resumes at its used index",
	  a_split_ring_resumes_at_its_used_index },
	T(rings_that_vanished_are_an_error_not_a_crash))
