// SPDX-License-Identifier: Apache-2.0
// nudge.c - see nudge.h. The signal's handler is the process's; it does nothing.
#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sim/backend/nudge.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define NUDGE_SIGNAL (SIGRTMIN + 3)

/* Without SA_RESTART: that it was interrupted is all there is to it. */
static void on_nudge(int sig)
{
	(void)sig;
}

int nudge_start(struct nudge *n)
{
	struct sigaction a = { .sa_handler = on_nudge };
	struct sigevent ev = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = NUDGE_SIGNAL };
	sigset_t set;

	n->on = false;
	ev.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
	sigemptyset(&set);
	sigaddset(&set, NUDGE_SIGNAL);
	if (sigaction(NUDGE_SIGNAL, &a, NULL) < 0 ||
	    timer_create(CLOCK_MONOTONIC, &ev, &n->timer) < 0)
		return -errno;
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	n->on = true;
	nudge_defer(n);
	return 0;
}

void nudge_defer(struct nudge *n)
{
	const struct itimerspec t = {
		.it_value = { .tv_nsec = NUDGE_LATE_MS * 1000000l },
		.it_interval = { .tv_nsec = NUDGE_AGAIN_MS * 1000000l },
	};

	if (n->on)
		timer_settime(n->timer, 0, &t, NULL);
}

void nudge_stop(struct nudge *n)
{
	if (n->on)
		timer_delete(n->timer);
	n->on = false;
}
