// SPDX-License-Identifier: Apache-2.0
// sig.c - keeps the application's wish for two signals and plays the kernel towards it.
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <ucontext.h>

#include "pmd-shim/fdtab.h"
#include "pmd-shim/real.h"
#include "pmd-shim/shim.h"
#include "pmd-shim/sig.h"
#include "sim/core/lock.h"
#include "sim/core/sys.h"

#define WISHES 8		/* versions kept: a handler may read one while others are made */
#define KERNEL_SIGSET_BYTES 8

static const int ours[2] = { SIGSEGV, SIGBUS };

static struct wish {
	struct sigaction versions[WISHES];
	unsigned current;
} wishes[2];

static struct lock changes;
static bool installed;
static void (*our_handler)(int sig, siginfo_t *info, void *ucontext);

static struct wish *wish_of(int sig)
{
	return sig == SIGSEGV ? &wishes[0] : sig == SIGBUS ? &wishes[1] : NULL;
}

static const struct sigaction *wish_now(const struct wish *w)
{
	return &w->versions[__atomic_load_n(&w->current, __ATOMIC_ACQUIRE) % WISHES];
}

static void wish_set(struct wish *w, const struct sigaction *act)
{
	unsigned next = w->current + 1;

	w->versions[next % WISHES] = *act;
	__atomic_store_n(&w->current, next, __ATOMIC_RELEASE);
}

static void open_in(sigset_t *set)
{
	sigdelset(set, SIGSEGV);
	sigdelset(set, SIGBUS);
}

/* Not masked by each other nor by themselves: a device access may be inside anything. */
static int take_over(int sig)
{
	struct sigaction act = {
		.sa_sigaction = our_handler,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | SA_RESTART,
	};
	struct sigaction was;

	sigemptyset(&act.sa_mask);
	if (real.sigaction(sig, NULL, &was) < 0)
		return -errno;
	if ((was.sa_flags & SA_SIGINFO) && was.sa_sigaction == our_handler)
		return 0;
	wish_set(&wishes[sig == SIGBUS], &was);
	return real.sigaction(sig, &act, NULL) < 0 ? -errno : 0;
}

int sig_install(void (*handler)(int sig, siginfo_t *info, void *ucontext))
{
	int saved = errno, rc = 0;
	sigset_t open;

	sigemptyset(&open);
	sigaddset(&open, SIGSEGV);
	sigaddset(&open, SIGBUS);
	lock_take(&changes);
	our_handler = handler;
	for (unsigned i = 0; i < 2 && !rc; i++)
		rc = take_over(ours[i]);
	installed = !rc;
	lock_drop(&changes);
	real.pthread_sigmask(SIG_UNBLOCK, &open, NULL);
	errno = saved;
	return rc;
}

/* ---- passing on ---------------------------------------------------------------------------- */

/* Back to the default for good: the access faults again, a sent signal is sent again. */
static void die_by(int sig, const siginfo_t *info)
{
	struct sigaction def = { .sa_handler = SIG_DFL };

	long pid = sys_call(SYS_getpid), tid = sys_call(SYS_gettid);

	real.sigaction(sig, &def, NULL);
	if (info->si_code <= 0)
		sys_call(SYS_tgkill, pid, tid, sig);
}

/*
 * A second fault inside the application's handler must end the process, as the kernel does when
 * the signal is blocked; but we keep it open, so that a handler may touch its device. A signal
 * nothing raises stands in for it in the mask: found blocked at a fault, the handler is still
 * running; a handler that leaves by siglongjmp() unblocks it on the way. A thread that had it
 * blocked before cannot be told apart and recurses until its stack ends.
 */
#define STAND_IN SIGSTKFLT

static __thread int handling __attribute__((tls_model("initial-exec")));

static bool inside_handler(int sig, const ucontext_t *uc)
{
	return handling == sig && sigismember(&uc->uc_sigmask, STAND_IN) > 0;
}

static void call_handler(int sig, siginfo_t *info, ucontext_t *uc, const struct sigaction *act)
{
	sigset_t masked = act->sa_mask, was;
	int outer = handling;

	open_in(&masked);
	if (!(act->sa_flags & SA_NODEFER))
		sigaddset(&masked, STAND_IN);
	sys_call(SYS_rt_sigprocmask, SIG_BLOCK, &masked, &was, KERNEL_SIGSET_BYTES);
	handling = sigismember(&was, STAND_IN) > 0 ? 0 : sig;
	if (act->sa_flags & SA_SIGINFO)
		act->sa_sigaction(sig, info, uc);
	else
		act->sa_handler(sig);
	handling = outer;
	sys_call(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, KERNEL_SIGSET_BYTES);
}

void sig_pass_on(int sig, siginfo_t *info, void *ucontext)
{
	struct wish *w = &wishes[sig == SIGBUS];
	struct sigaction act = *wish_now(w);

	if (inside_handler(sig, ucontext)) {
		die_by(sig, info);
		return;
	}
	if (!(act.sa_flags & SA_SIGINFO)) {
		if (act.sa_handler == SIG_IGN && info->si_code <= 0)
			return;
		/* An ignored fault would repeat for ever: the kernel kills, signal(7). */
		if (act.sa_handler == SIG_DFL || act.sa_handler == SIG_IGN) {
			die_by(sig, info);
			return;
		}
	}
	if (act.sa_flags & (int)SA_RESETHAND) {
		struct sigaction def = { .sa_handler = SIG_DFL };

		wish_set(w, &def);
	}
	call_handler(sig, info, ucontext, &act);
}

/* ---- overrides ----------------------------------------------------------------------------- */

/* Whether a mask needs our attention: rarely, so the look for a bus is rare too. */
static bool masks_ours(const sigset_t *set)
{
	return set && (sigismember(set, SIGSEGV) > 0 || sigismember(set, SIGBUS) > 0) &&
	       shim_present();
}

static int keep_wish(struct wish *w, const struct sigaction *act, struct sigaction *old)
{
	lock_take(&changes);
	if (old)
		*old = *wish_now(w);
	if (act)
		wish_set(w, act);
	lock_drop(&changes);
	return 0;
}

int sig_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct wish *w = wish_of(sig);
	struct sigaction opened;

	if (w && __atomic_load_n(&installed, __ATOMIC_ACQUIRE) && fdtab_owned())
		return keep_wish(w, act, old);
	if (w || !act || !masks_ours(&act->sa_mask))
		return real.sigaction(sig, act, old);
	opened = *act;
	open_in(&opened.sa_mask);
	return real.sigaction(sig, &opened, old);
}

sighandler_t sig_signal(int sig, sighandler_t handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;
	struct wish *w = wish_of(sig);

	if (!w || !__atomic_load_n(&installed, __ATOMIC_ACQUIRE) || !fdtab_owned())
		return real.signal(sig, handler);
	sigemptyset(&act.sa_mask);
	sigaddset(&act.sa_mask, sig);
	keep_wish(w, &act, &old);
	return old.sa_handler;
}

int sig_mask(int (*real_mask)(int, const sigset_t *, sigset_t *), int how, const sigset_t *set,
	     sigset_t *old)
{
	sigset_t opened;

	if (how == SIG_UNBLOCK || !masks_ours(set))
		return real_mask(how, set, old);
	opened = *set;
	open_in(&opened);
	return real_mask(how, &opened, old);
}

void sig_fork_begin(void)
{
	lock_take(&changes);
}

void sig_fork_end(void)
{
	lock_drop(&changes);
}
