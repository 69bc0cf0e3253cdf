// SPDX-License-Identifier: Apache-2.0
// closer.c - see closer.h.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "sim/backend/closer.h"
#include "sim/backend/vmem.h"

#define WAITING_BYTES 4096		/* of the pipe: a thousand descriptors */

static int ends[2] = { -1, -1 };
static bool started;
static int (*first)(void);
static sem_t begun;

static void *closer_main(void *arg)
{
	int fd;

	(void)arg;
	if (first && first())
		abort();		/* never with rights it was told to give up */
	sem_post(&begun);
	while (read(ends[0], &fd, sizeof(fd)) == sizeof(fd))
		close(fd);
	return NULL;
}

static void make(void)
{
	sigset_t all, was;
	pthread_t thread;

	if (sem_init(&begun, 0, 0) < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return;
	fcntl(ends[1], F_SETFL, O_NONBLOCK);
	fcntl(ends[1], F_SETPIPE_SZ, WAITING_BYTES);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	if (pthread_create(&thread, NULL, closer_main, NULL) == 0) {
		pthread_setname_np(thread, "closer");
		pthread_detach(thread);
		while (sem_wait(&begun) < 0 && errno == EINTR)
			;
		__atomic_store_n(&started, true, __ATOMIC_RELEASE);
	}
	pthread_sigmask(SIG_SETMASK, &was, NULL);
}

void closer_start(int (*begin)(void))
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	if (begin)
		first = begin;
	pthread_once(&once, make);
}

bool closer_take(int fd)
{
	return __atomic_load_n(&started, __ATOMIC_ACQUIRE) &&
	       write(ends[1], &fd, sizeof(fd)) == sizeof(fd);
}

/* The kernel's name for it; files of memory have one too, and nothing to ask. */
bool closer_wanted(int fd)
{
	char path[40], name[2];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return !vmem_is_file(fd) && readlink(path, name, sizeof(name)) > 0 && name[0] == '/';
}
