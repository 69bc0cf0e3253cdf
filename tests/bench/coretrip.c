/* SPDX-License-Identifier: Apache-2.0 */
/*
 * coretrip.c - how far apart two cores are now: the round trip of one cache line.
 *
 *	coretrip A B
 *
 * For each line on stdin, prints the median of some hundred short batches in ns. In between it
 * sleeps.
 */
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCHES 100
#define TRIPS   100

static _Alignas(128) atomic_uint ball;
static sem_t serve;

static void pin(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Odd numbers come, the next even one goes back. */
static void *returner(void *core)
{
	pin(*(int *)core);
	for (;;) {
		while (sem_wait(&serve))
			;
		for (unsigned n = 1; n < 2 * BATCHES * TRIPS; n += 2) {
			while (atomic_load_explicit(&ball, memory_order_acquire) != n)
				;
			atomic_store_explicit(&ball, n + 1, memory_order_release);
		}
	}
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static uint64_t measure(void)
{
	uint64_t t[BATCHES];
	unsigned n = 0;

	atomic_store(&ball, 0);
	sem_post(&serve);
	for (unsigned b = 0; b < BATCHES; b++) {
		uint64_t begin = now_ns();

		for (unsigned i = 0; i < TRIPS; i++, n += 2) {
			atomic_store_explicit(&ball, n + 1, memory_order_release);
			while (atomic_load_explicit(&ball, memory_order_acquire) != n + 2)
				;
		}
		t[b] = (now_ns() - begin) / TRIPS;
	}
	qsort(t, BATCHES, sizeof(t[0]), by_value);
	return t[BATCHES / 2];
}

int main(int argc, char **argv)
{
	int a, b;
	pthread_t other;
	char line[16];

	if (argc != 3)
		return 2;
	a = atoi(argv[1]);
	b = atoi(argv[2]);
	sem_init(&serve, 0, 0);
	if (pthread_create(&other, NULL, returner, &a))
		return 1;
	pin(b);
	while (fgets(line, sizeof(line), stdin)) {
		printf("%llu\n", (unsigned long long)measure());
		fflush(stdout);
	}
	return 0;
}
