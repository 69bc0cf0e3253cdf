// SPDX-License-Identifier: Apache-2.0
// core_lock.c - the futex mutex that knows its owner.
#include <errno.h>
#include <pthread.h>
#include <unistd.h>

#include "sim/core/lock.h"
#include "tests/unit/cu.h"

#define ROUNDS  20000
#define THREADS 4

static struct lock lock;
static unsigned shared;

static void a_second_take_by_the_holder_is_refused(void)
{
	struct lock l = { 0 };

	CU_ASSERT_FALSE(lock_mine(&l));
	CU_EQ(lock_take(&l), 0);
	CU_ASSERT_TRUE(lock_mine(&l));
	CU_EQ(lock_take(&l), -EDEADLK);
	lock_drop(&l);
	CU_ASSERT_FALSE(lock_mine(&l));
	CU_EQ(lock_take(&l), 0);
	lock_drop(&l);
}

static void *not_mine(void *arg)
{
	return (void *)(uintptr_t)lock_mine(arg);
}

static void another_thread_does_not_own_it(void)
{
	struct lock l = { 0 };
	pthread_t t;
	void *mine;

	CU_EQ(lock_take(&l), 0);
	pthread_create(&t, NULL, not_mine, &l);
	pthread_join(t, &mine);
	CU_ASSERT_PTR_NULL(mine);
	lock_drop(&l);
}

static void *count(void *arg)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (lock_take(&lock))
			return arg;
		shared++;
		if (i % 1000 == 0)
			usleep(10);	/* makes the others sleep on the futex */
		lock_drop(&lock);
	}
	return NULL;
}

static void threads_exclude_each_other_and_none_is_left_asleep(void)
{
	pthread_t t[THREADS];
	void *failed;

	shared = 0;
	for (unsigned i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, count, &lock);
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(t[i], &failed);
		CU_ASSERT_PTR_NULL(failed);
	}
	CU_EQ(shared, THREADS * ROUNDS);
	CU_EQ(lock.word, 0);
}

CU_MAIN("core/lock",
	T(a_second_take_by_the_holder_is_refused),
	T(another_thread_does_not_own_it),
	T(threads_exclude_each_other_and_none_is_left_asleep))
