/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sig.h - SIGSEGV and SIGBUS belong to us while a device is open; the application's wishes for
 * them are kept and honoured for every fault that is not ours.
 *
 * The kernel ends a process whose thread faults with the signal blocked. So once a bus is
 * present the two are taken out of every mask the application sets, for a thread may block all
 * signals long before it first touches a device.
 */
#ifndef PMD_SHIM_SIG_H
#define PMD_SHIM_SIG_H

#include <signal.h>

/* Puts our handler before the application's, for both signals; idempotent. 0 or -errno. */
int sig_install(void (*handler)(int sig, siginfo_t *info, void *ucontext));

/*
 * A fault that is not ours, in our handler: does what the application asked for. When it
 * returns, so does the handler.
 */
void sig_pass_on(int sig, siginfo_t *info, void *ucontext);

/* The overrides. As libc's, with errno. */
int sig_action(int sig, const struct sigaction *act, struct sigaction *old);
sighandler_t sig_signal(int sig, sighandler_t handler);
int sig_mask(int (*real_mask)(int, const sigset_t *, sigset_t *), int how, const sigset_t *set,
	     sigset_t *old);

void sig_fork_begin(void);
void sig_fork_end(void);

#endif
