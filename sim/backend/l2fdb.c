// SPDX-License-Identifier: Apache-2.0
// l2fdb.c - see l2fdb.h. A bucket's seq is odd while a writer changes it.
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/backend/l2fdb.h"

#define KEY_BITS  ((1ull << 60) - 1)
#define KEY_FIXED (1ull << 60)
#define KEY_USED  (1ull << 63)
#define MAX_LIMIT (1u << 20)

struct bucket {
	uint32_t seq;
	uint16_t target[L2FDB_SLOTS];
	uint16_t stamp[L2FDB_SLOTS];
	uint64_t key[L2FDB_SLOTS];
} __attribute__((aligned(64)));
_Static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

struct l2fdb {
	struct bucket *bucket;
	uint32_t mask;			/* buckets - 1 */
	uint32_t max, used;
	uint32_t hand;			/* where ageing goes on */
	uint32_t lock;
	uint64_t seed[2];
	uint32_t learned[L2FDB_OWNERS_MAX];
};

struct place {
	struct bucket *b;
	unsigned slot;
};

/* Data stores are releases and data loads acquires, so that seq brackets them without fences. */
#define GET(x)    __atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define PUT(x, v) __atomic_store_n(&(x), (v), __ATOMIC_RELEASE)

static uint64_t hash_key(const struct l2fdb *t, uint64_t key)
{
	unsigned __int128 m = (unsigned __int128)(key ^ t->seed[0]) *
			      (t->seed[1] ^ 0x9e3779b97f4a7c15ull);
	uint64_t h = (uint64_t)m ^ (uint64_t)(m >> 64);

	m = (unsigned __int128)(h ^ t->seed[1]) * 0xd6e8feb86659fd93ull;
	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static struct bucket *bucket_of(const struct l2fdb *t, uint64_t h, unsigned choice)
{
	return &t->bucket[(choice ? h >> 32 : h) & t->mask];
}

static void lock_take(struct l2fdb *t)
{
	while (__atomic_exchange_n(&t->lock, 1, __ATOMIC_ACQUIRE))
		while (__atomic_load_n(&t->lock, __ATOMIC_RELAXED))
			__builtin_ia32_pause();
}

static void lock_drop(struct l2fdb *t)
{
	__atomic_store_n(&t->lock, 0, __ATOMIC_RELEASE);
}

int l2fdb_new(struct l2fdb **out, unsigned max, const uint64_t seed[2])
{
	struct l2fdb *t;
	uint32_t n = 1;

	if (!max || max > MAX_LIMIT)
		return -EINVAL;
	while (n * 2 < max)		/* two of five slots filled at most, on average */
		n *= 2;
	t = calloc(1, sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->bucket = aligned_alloc(64, n * sizeof(*t->bucket));
	if (!t->bucket) {
		free(t);
		return -ENOMEM;
	}
	memset(t->bucket, 0, n * sizeof(*t->bucket));
	t->mask = n - 1;
	t->max = max;
	memcpy(t->seed, seed, sizeof(t->seed));
	*out = t;
	return 0;
}

void l2fdb_free(struct l2fdb *t)
{
	if (!t)
		return;
	free(t->bucket);
	free(t);
}

/* Bounded: a writer holds a bucket for a few stores; after that many tries it counts as a miss. */
#define READ_TRIES 1000

static bool bucket_find(const struct bucket *b, uint64_t key, uint64_t *found, uint16_t *target,
			unsigned *slot)
{
	for (unsigned tries = 0; tries < READ_TRIES; tries++) {
		uint32_t seq = GET(b->seq);
		bool hit = false;

		if (seq & 1) {
			__builtin_ia32_pause();
			continue;
		}
		for (unsigned i = 0; i < L2FDB_SLOTS; i++) {
			uint64_t k = GET(b->key[i]);

			if ((k & ~KEY_FIXED) != (key | KEY_USED))
				continue;
			*found = k;
			*target = GET(b->target[i]);
			*slot = i;
			hit = true;
			break;
		}
		if (__atomic_load_n(&b->seq, __ATOMIC_RELAXED) == seq)
			return hit;
	}
	return false;
}

static bool find(const struct l2fdb *t, uint64_t key, struct place *p, uint64_t *found,
		 uint16_t *target)
{
	uint64_t h = hash_key(t, key & KEY_BITS);

	for (unsigned c = 0; c < 2; c++) {
		p->b = bucket_of(t, h, c);
		if (bucket_find(p->b, key & KEY_BITS, found, target, &p->slot))
			return true;
	}
	return false;
}

int l2fdb_find(const struct l2fdb *t, uint64_t key, bool *fixed)
{
	struct place p;
	uint64_t found;
	uint16_t target;

	if (!find(t, key, &p, &found, &target))
		return -1;
	if (fixed)
		*fixed = found & KEY_FIXED;
	return target;
}

/* ---- writers, under the lock --------------------------------------------------------------- */

static void count(struct l2fdb *t, uint64_t key, uint16_t target, int by)
{
	__atomic_store_n(&t->used, t->used + (uint32_t)by, __ATOMIC_RELAXED);
	if (!(key & KEY_FIXED) && target < L2FDB_OWNERS_MAX)
		__atomic_store_n(&t->learned[target], t->learned[target] + (uint32_t)by,
				 __ATOMIC_RELAXED);
}

static void slot_write(struct l2fdb *t, struct place p, uint64_t key, uint16_t target,
		       uint16_t tick)
{
	struct bucket *b = p.b;
	uint64_t old = b->key[p.slot];

	if (old)
		count(t, old, b->target[p.slot], -1);
	if (key)
		count(t, key, target, 1);
	__atomic_store_n(&b->seq, b->seq + 1, __ATOMIC_RELAXED);
	PUT(b->key[p.slot], key);
	PUT(b->target[p.slot], target);
	PUT(b->stamp[p.slot], tick);
	PUT(b->seq, b->seq + 1);
}

static bool free_place(struct l2fdb *t, uint64_t key, struct place *p)
{
	uint64_t h = hash_key(t, key & KEY_BITS);

	for (unsigned c = 0; c < 2; c++) {
		p->b = bucket_of(t, h, c);
		for (p->slot = 0; p->slot < L2FDB_SLOTS; p->slot++)
			if (!p->b->key[p->slot])
				return true;
	}
	return false;
}

/*
 * Both buckets are full: makes room by moving one of their entries to its other bucket. It is
 * written there before it goes here, so a reader finds it at any moment.
 */
static bool make_room(struct l2fdb *t, uint64_t key, struct place *p)
{
	uint64_t h = hash_key(t, key & KEY_BITS);

	for (unsigned i = 0; i < 2 * L2FDB_SLOTS; i++) {
		struct place to;
		uint64_t k;

		p->b = bucket_of(t, h, i / L2FDB_SLOTS);
		p->slot = i % L2FDB_SLOTS;
		k = p->b->key[p->slot];
		if (!free_place(t, k, &to))
			continue;
		slot_write(t, to, k, p->b->target[p->slot], p->b->stamp[p->slot]);
		slot_write(t, *p, 0, 0, 0);
		return true;
	}
	return false;
}

static int insert(struct l2fdb *t, uint64_t key, uint16_t target, uint16_t tick)
{
	struct place p;

	if (t->used >= t->max || (!free_place(t, key, &p) && !make_room(t, key, &p)))
		return -ENOSPC;
	slot_write(t, p, key | KEY_USED, target, tick);
	return 0;
}

/* The rare half of learning: the key is new here or sits at another port. */
static int learn_slow(struct l2fdb *t, uint64_t key, uint16_t port, uint16_t tick,
		      unsigned port_max, bool may_move)
{
	struct place p;
	uint64_t found;
	uint16_t target;
	int rc = 0;

	lock_take(t);
	if (!find(t, key, &p, &found, &target))
		rc = t->learned[port] >= port_max ? -ENOSPC : insert(t, key, port, tick);
	else if (target == port)
		;
	else if (found & KEY_FIXED)
		rc = -EPERM;
	else if (!may_move)
		rc = -EBUSY;
	else if (t->learned[port] >= port_max)
		rc = -ENOSPC;
	else
		slot_write(t, p, found, port, tick);
	lock_drop(t);
	return rc;
}

int l2fdb_learn(struct l2fdb *t, uint64_t key, uint16_t port, uint16_t tick, unsigned port_max,
		bool may_move)
{
	struct place p;
	uint64_t found;
	uint16_t target;

	assert(port < L2FDB_OWNERS_MAX);
	key &= KEY_BITS;
	if (find(t, key, &p, &found, &target)) {
		if (target == port) {
			/* If the slot changed hands meanwhile, a stranger lives a bit longer. */
			if (__atomic_load_n(&p.b->stamp[p.slot], __ATOMIC_RELAXED) != tick)
				PUT(p.b->stamp[p.slot], tick);
			return 0;
		}
		if (found & KEY_FIXED)
			return -EPERM;
	} else if (l2fdb_count_of(t, port) >= port_max || l2fdb_count(t) >= t->max) {
		return -ENOSPC;		/* without the lock: a flood of new addresses stops here */
	}
	return learn_slow(t, key, port, tick, port_max, may_move);
}

int l2fdb_set(struct l2fdb *t, uint64_t key, uint16_t target)
{
	struct place p;
	uint64_t found;
	uint16_t old;
	int rc = 0;

	key &= KEY_BITS;
	lock_take(t);
	if (!find(t, key, &p, &found, &old))
		rc = insert(t, key | KEY_FIXED, target, 0);
	else if ((found & KEY_FIXED) && old != target)
		rc = -EEXIST;
	else
		slot_write(t, p, key | KEY_FIXED | KEY_USED, target, 0);
	lock_drop(t);
	return rc;
}

int l2fdb_del(struct l2fdb *t, uint64_t key)
{
	struct place p;
	uint64_t found;
	uint16_t target;
	int rc = 0;

	lock_take(t);
	if (find(t, key & KEY_BITS, &p, &found, &target))
		slot_write(t, p, 0, 0, 0);
	else
		rc = -ENOENT;
	lock_drop(t);
	return rc;
}

unsigned l2fdb_flush(struct l2fdb *t, uint16_t target, bool fixed_too)
{
	unsigned n = 0;

	for (uint32_t i = 0; i <= t->mask; i++) {
		struct place p = { .b = &t->bucket[i] };

		lock_take(t);
		for (p.slot = 0; p.slot < L2FDB_SLOTS; p.slot++) {
			uint64_t k = p.b->key[p.slot];

			if (!k || p.b->target[p.slot] != target || ((k & KEY_FIXED) && !fixed_too))
				continue;
			slot_write(t, p, 0, 0, 0);
			n++;
		}
		lock_drop(t);
	}
	return n;
}

unsigned l2fdb_age(struct l2fdb *t, uint16_t tick, uint16_t age_max, unsigned buckets)
{
	unsigned n = 0;

	if (buckets > t->mask + 1)
		buckets = t->mask + 1;
	for (; buckets; buckets--) {
		struct place p = { .b = &t->bucket[t->hand] };

		lock_take(t);
		for (p.slot = 0; p.slot < L2FDB_SLOTS; p.slot++) {
			uint64_t k = p.b->key[p.slot];
			uint16_t age = (uint16_t)(tick - GET(p.b->stamp[p.slot]));

			/* A stamp ahead of the tick (a worker read it later) is fresh, not old. */
			if (!k || (k & KEY_FIXED) || age <= age_max || age >= 0x8000)
				continue;
			slot_write(t, p, 0, 0, 0);
			n++;
		}
		t->hand = (t->hand + 1) & t->mask;
		lock_drop(t);
	}
	return n;
}

unsigned l2fdb_buckets(const struct l2fdb *t)
{
	return t->mask + 1;
}

unsigned l2fdb_count(const struct l2fdb *t)
{
	return __atomic_load_n(&t->used, __ATOMIC_RELAXED);
}

unsigned l2fdb_count_of(const struct l2fdb *t, uint16_t port)
{
	return port < L2FDB_OWNERS_MAX ? __atomic_load_n(&t->learned[port], __ATOMIC_RELAXED) : 0;
}

bool l2fdb_next(const struct l2fdb *t, uint64_t *cursor, uint16_t tick, struct l2fdb_entry *e)
{
	uint64_t end = ((uint64_t)t->mask + 1) * L2FDB_SLOTS;

	while (*cursor < end) {
		const struct bucket *b = &t->bucket[*cursor / L2FDB_SLOTS];
		unsigned slot = (unsigned)(*cursor % L2FDB_SLOTS);
		uint32_t seq = GET(b->seq);
		uint64_t k = GET(b->key[slot]);

		e->target = GET(b->target[slot]);
		e->age = (uint16_t)(tick - GET(b->stamp[slot]));
		++*cursor;
		if (!k || (seq & 1) || __atomic_load_n(&b->seq, __ATOMIC_RELAXED) != seq)
			continue;
		for (unsigned i = 0; i < 6; i++)
			e->mac[i] = (uint8_t)(k >> (8 * i));
		e->vlan = (uint16_t)(k >> 48 & 0xfff);
		e->fixed = k & KEY_FIXED;
		if (e->fixed || e->age >= 0x8000)
			e->age = 0;
		return true;
	}
	return false;
}
