// SPDX-License-Identifier: Apache-2.0
// backend_l2fdb.c - the table of addresses: what it holds, where, and who may look meanwhile.
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "sim/backend/l2switch.h"
#include "tests/unit/cu.h"

#define CHURN_KEYS 64
#define CHURN_ROUNDS 100000

static const uint64_t seed[2] = { 0x1234, 0x5678 };

/* Station n's, as the six bytes lie in memory. */
static uint64_t address(unsigned n)
{
	const uint8_t mac[8] = { 0x02, 0, 0, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n };
	uint64_t m;

	memcpy(&m, mac, sizeof(m));
	return m;
}

static void ten_thousand_addresses_fit_and_are_found(void)
{
	struct l2fdb *t;
	unsigned wrong = 0;

	CU_ASSERT_EQUAL_FATAL(l2fdb_new(&t, 16384, seed), 0);
	for (unsigned i = 0; i < 16384; i++) {
		uint64_t m = address(i);

		wrong += l2fdb_learn(t, l2fdb_key(m, 0), (uint16_t)(i % 200), 1, 1000, true) != 0;
	}
	for (unsigned i = 0; i < 16384; i++) {
		uint64_t m = address(i);

		wrong += l2fdb_find(t, l2fdb_key(m, 0), NULL) != (int)(i % 200);
		wrong += l2fdb_find(t, l2fdb_key(m, 1), NULL) != -1;
	}
	CU_ASSERT_EQUAL(wrong, 0);
	CU_ASSERT_EQUAL(l2fdb_learn(t, l2fdb_key(2, 7), 1, 1, 1000, true), -ENOSPC);
	l2fdb_free(t);
}

struct churn {
	struct l2fdb *t;
	unsigned wrong;
};

/* Key k is only ever set to port k or k + 64: whatever else is seen is another key's target. */
static void *churn_read(void *arg)
{
	struct churn *c = arg;

	for (unsigned i = 0; i < CHURN_ROUNDS; i++) {
		unsigned k = i % CHURN_KEYS;
		int at = l2fdb_find(c->t, l2fdb_key(k * 2 + 2, 0), NULL);

		c->wrong += at >= 0 && at % CHURN_KEYS != (int)k;
	}
	return NULL;
}

static void readers_never_see_a_strangers_target(void)
{
	struct churn c = { .wrong = 0 };
	pthread_t reader;

	CU_ASSERT_EQUAL_FATAL(l2fdb_new(&c.t, 16, seed), 0);	/* crowded on purpose */
	CU_ASSERT_EQUAL_FATAL(pthread_create(&reader, NULL, churn_read, &c), 0);
	for (unsigned i = 0; i < CHURN_ROUNDS; i++) {
		unsigned k = (i * 7) % CHURN_KEYS;

		l2fdb_learn(c.t, l2fdb_key(k * 2 + 2, 0), (uint16_t)(k + (i & 64)), 1, 100, true);
		if (i % 3 == 0)
			l2fdb_del(c.t, l2fdb_key(k * 2 + 2, 0));
	}
	pthread_join(reader, NULL);
	CU_ASSERT_EQUAL(c.wrong, 0);
	l2fdb_free(c.t);
}

/* Where addresses lie shows in the order of a walk: who has no secret cannot choose it. */
static void where_an_address_lies_is_a_secret(void)
{
	static uint64_t order[3][500];
	unsigned moved[3] = { 0 };

	for (unsigned k = 0; k < 3; k++) {
		const uint64_t secret[2] = { k < 2 ? 1 : 2, 77 };
		struct l2fdb_entry e;
		uint64_t cursor = 0;
		struct l2fdb *t;

		CU_ASSERT_EQUAL_FATAL(l2fdb_new(&t, 1000, secret), 0);
		for (unsigned n = 0; n < 500; n++) {
			uint64_t key = l2fdb_key(address(n), 0);

			CU_ASSERT_EQUAL(l2fdb_learn(t, key, 1, 1, 1000, true), 0);
		}
		for (unsigned n = 0; n < 500 && l2fdb_next(t, &cursor, 1, &e); n++) {
			memcpy(&order[k][n], e.mac, 6);
			moved[k] += order[k][n] != order[0][n];
		}
		l2fdb_free(t);
	}
	CU_ASSERT_EQUAL(moved[1], 0);
	CU_ASSERT(moved[2] > 450);
}

CU_MAIN("backend/l2fdb",
	T(ten_thousand_addresses_fit_and_are_found),
	T(readers_never_see_a_strangers_target),
	TC("C-SW-02", where_an_address_lies_is_a_secret))
