// SPDX-License-Identifier: Apache-2.0
// signals.c - the application's fault handlers work as if the device needed none.
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <ucontext.h>

#include "tests/shim/rig.h"

#define JUMPS 1000
#define SMALL_STACK 8192

static struct rig rig;
static volatile uint8_t *bar;
static volatile uint8_t *hole;		/* a page nobody may touch */

static volatile int calls, last_sig;
static void *volatile last_addr;
static sigjmp_buf out;

static void up(void)
{
	rig = rig_up();
	bar = rig_bar(&rig);
	hole = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	calls = 0;
}

static void down(void)
{
	munmap((void *)hole, PAGE);
	munmap((void *)bar, PAGE);
	rig_down(&rig);
}

static void count_and_mend(int sig, siginfo_t *info, void *uc)
{
	calls++;
	last_sig = sig;
	last_addr = info->si_addr;
	mprotect((void *)hole, PAGE, PROT_READ | PROT_WRITE);
}

static void install(int sig, void (*fn)(int, siginfo_t *, void *), int flags)
{
	struct sigaction act = { .sa_sigaction = fn, .sa_flags = SA_SIGINFO | flags };

	CHECK_EQ(sigaction(sig, &act, NULL), 0);
}

static void install_default(int sig)
{
	CHECK(signal(sig, SIG_DFL) != SIG_ERR);
}

static void a_handler_from_before_the_device_gets_its_faults(void)
{
	install(SIGSEGV, count_and_mend, 0);
	up();
	hole[5] = 1;
	CHECK_EQ(calls, 1);
	CHECK_EQ(last_sig, SIGSEGV);
	CHECK(last_addr == hole + 5);
	CHECK(bar_works(bar));
	CHECK_EQ(calls, 1);
	install_default(SIGSEGV);
	down();
}

static void a_handler_from_after_the_device_gets_its_faults(void)
{
	up();
	install(SIGSEGV, count_and_mend, 0);
	CHECK(bar_works(bar));
	CHECK_EQ(calls, 0);
	hole[7] = 1;
	CHECK_EQ(calls, 1);
	CHECK(last_addr == hole + 7);
	install_default(SIGSEGV);
	down();
}

static void the_application_sees_its_own_handler(void)
{
	struct sigaction was;

	up();
	CHECK_EQ(sigaction(SIGSEGV, NULL, &was), 0);
	CHECK(was.sa_handler == SIG_DFL);
	install(SIGSEGV, count_and_mend, SA_RESTART);
	CHECK_EQ(sigaction(SIGSEGV, NULL, &was), 0);
	CHECK(was.sa_sigaction == count_and_mend);
	CHECK_EQ(was.sa_flags & (SA_SIGINFO | SA_RESTART | SA_ONSTACK), SA_SIGINFO | SA_RESTART);
	CHECK(signal(SIGSEGV, SIG_IGN) == (sighandler_t)(void *)count_and_mend);
	CHECK(signal(SIGSEGV, SIG_DFL) == SIG_IGN);
	CHECK(signal(SIGBUS, SIG_DFL) == SIG_DFL);
	CHECK(bar_works(bar));
	down();
}

static void touch_hole(void)
{
	*hole = 1;
}

static void send_segv(void)
{
	kill(getpid(), SIGSEGV);
}

static bool killed_by(int status, int sig)
{
	return WIFSIGNALED(status) && WTERMSIG(status) == sig;
}

static void a_fault_without_a_handler_kills(void)
{
	up();
	CHECK(killed_by(in_child(touch_hole), SIGSEGV));
	CHECK(killed_by(in_child(send_segv), SIGSEGV));
	signal(SIGSEGV, SIG_IGN);
	CHECK(killed_by(in_child(touch_hole), SIGSEGV));
	CHECK_EQ(in_child(send_segv), 0);
	install_default(SIGSEGV);
	down();
}

static void touch_hole_twice(void)
{
	install(SIGSEGV, count_and_mend, (int)SA_RESETHAND);
	*hole = 1;
	CHECK_EQ(calls, 1);
	mprotect((void *)hole, PAGE, PROT_NONE);
	*hole = 1;
}

static void a_one_shot_handler_is_called_once(void)
{
	up();
	CHECK(killed_by(in_child(touch_hole_twice), SIGSEGV));
	down();
}

static void sent_signals_reach_the_handler(void)
{
	up();
	install(SIGSEGV, count_and_mend, 0);
	install(SIGBUS, count_and_mend, 0);
	raise(SIGSEGV);
	CHECK_EQ(calls, 1);
	raise(SIGBUS);
	CHECK_EQ(calls, 2);
	CHECK_EQ(last_sig, SIGBUS);
	install_default(SIGSEGV);
	install_default(SIGBUS);
	down();
}

static void *access_in_thread(void *arg)
{
	return (void *)(long)bar_works(bar);
}

static void a_device_access_is_fine_with_all_signals_blocked(void)
{
	sigset_t all, was, now;
	pthread_t t;
	void *worked;

	sigfillset(&all);
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &all, &was), 0);	/* before there is a device */
	up();
	CHECK(bar_works(bar));
	pthread_create(&t, NULL, access_in_thread, NULL);
	pthread_join(t, &worked);
	CHECK(worked);
	CHECK_EQ(sigprocmask(SIG_BLOCK, &all, NULL), 0);
	CHECK(bar_works(bar));
	CHECK_EQ(sigprocmask(SIG_BLOCK, NULL, &now), 0);
	CHECK(sigismember(&now, SIGTERM));
	CHECK_EQ(pthread_sigmask(SIG_SETMASK, &was, NULL), 0);
	down();
}

static volatile bool worked_inside;

static void use_device(int sig, siginfo_t *info, void *uc)
{
	calls++;
	worked_inside = bar_works(bar);
	mprotect((void *)hole, PAGE, PROT_READ | PROT_WRITE);
}

static void a_handler_that_blocks_everything_may_use_the_device(void)
{
	struct sigaction act = { .sa_sigaction = use_device, .sa_flags = SA_SIGINFO };

	up();
	sigfillset(&act.sa_mask);
	CHECK_EQ(sigaction(SIGUSR1, &act, NULL), 0);
	raise(SIGUSR1);
	CHECK(worked_inside);
	worked_inside = false;
	mprotect((void *)hole, PAGE, PROT_NONE);
	CHECK_EQ(sigaction(SIGSEGV, &act, NULL), 0);
	*hole = 1;
	CHECK_EQ(calls, 2);
	CHECK(worked_inside);
	install_default(SIGSEGV);
	install_default(SIGUSR1);
	down();
}

static void check_mask(int sig, siginfo_t *info, void *uc)
{
	sigset_t now;

	sigprocmask(SIG_BLOCK, NULL, &now);
	worked_inside = sigismember(&now, SIGUSR2) && !sigismember(&now, SIGTERM);
	mprotect((void *)hole, PAGE, PROT_READ | PROT_WRITE);
}

static void the_handlers_mask_holds_while_it_runs(void)
{
	struct sigaction act = { .sa_sigaction = check_mask, .sa_flags = SA_SIGINFO };
	sigset_t now;

	up();
	sigemptyset(&act.sa_mask);
	sigaddset(&act.sa_mask, SIGUSR2);
	sigaction(SIGSEGV, &act, NULL);
	worked_inside = false;
	*hole = 1;
	CHECK(worked_inside);
	sigprocmask(SIG_BLOCK, NULL, &now);
	CHECK(!sigismember(&now, SIGUSR2));
	install_default(SIGSEGV);
	down();
}

static void fault_again(int sig, siginfo_t *info, void *uc)
{
	if (calls++ > 10)
		_exit(3);		/* called again and again */
	*hole = 1;
}

static void fault_in_handler(void)
{
	install(SIGSEGV, fault_again, 0);
	*hole = 1;
}

static void a_fault_inside_the_handler_kills(void)
{
	up();
	CHECK(killed_by(in_child(fault_in_handler), SIGSEGV));
	down();
}

static void jump_out(int sig, siginfo_t *info, void *uc)
{
	calls++;
	siglongjmp(out, 1);
}

static __attribute__((noinline)) void fault_at_depth(unsigned depth)
{
	volatile char room[512];

	room[0] = (char)depth;
	if (depth)
		fault_at_depth(depth - 1);
	else
		*hole = 1;
	room[1] = room[0];
}

static void a_handler_may_jump_out_again_and_again(void)
{
	up();
	install(SIGSEGV, jump_out, 0);
	for (volatile unsigned i = 0; i < JUMPS; i++)
		if (!sigsetjmp(out, 1))
			fault_at_depth(i % 40);
	CHECK_EQ(calls, JUMPS);
	CHECK(bar_works(bar));
	install_default(SIGSEGV);
	down();
}

static volatile bool on_alternate;
static stack_t alternate;

static void note_stack(int sig, siginfo_t *info, void *uc)
{
	char here;

	on_alternate = &here >= (char *)alternate.ss_sp &&
		       &here < (char *)alternate.ss_sp + alternate.ss_size;
	siglongjmp(out, 1);
}

static __attribute__((noinline)) unsigned overflow(unsigned n)
{
	volatile char room[4096];

	room[n % 4096] = 1;
	return n > 1u << 24 ? 0 : overflow(n + 1) + (unsigned)room[0];
}

static void a_stack_overflow_is_told_on_the_alternate_stack(void)
{
	up();
	alternate = (stack_t){ .ss_sp = malloc(65536), .ss_size = 65536 };
	sigaltstack(&alternate, NULL);
	install(SIGSEGV, note_stack, SA_ONSTACK);
	if (!sigsetjmp(out, 1))
		overflow(0);
	CHECK(on_alternate);
	CHECK(bar_works(bar));
	install_default(SIGSEGV);
	alternate.ss_flags = SS_DISABLE;
	sigaltstack(&alternate, NULL);
	down();
}

/* Registers that start a session with the back-end are written in a handler too. */
static void a_small_alternate_stack_is_enough(void)
{
	char *pages = mmap(NULL, 4 * SMALL_STACK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	stack_t alt = { .ss_sp = pages + SMALL_STACK, .ss_size = SMALL_STACK };

	up();
	mprotect(alt.ss_sp, alt.ss_size, PROT_READ | PROT_WRITE);
	CHECK_EQ(sigaltstack(&alt, NULL), 0);
	CHECK(bar_works(bar));
	for (unsigned status = 0; status < 16; status = status * 2 + 1)
		bar[0x14] = (uint8_t)status;	/* device_status, virtio 1.2, 4.1.4.3 */
	bar[0x14] = 0;
	CHECK(bar_works(bar));
	alt.ss_flags = SS_DISABLE;
	sigaltstack(&alt, NULL);
	munmap(pages, 4 * SMALL_STACK);
	down();
}

static void *hammer(void *arg)
{
	long bad = 0;

	for (unsigned i = 0; i < 2000; i++) {
		volatile uint8_t status = bar[0x14];

		bad += status == 0xff;
	}
	return (void *)bad;
}

static void threads_trap_at_once(void)
{
	pthread_t t[4];
	void *bad;

	up();
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++)
		pthread_create(&t[i], NULL, hammer, NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		pthread_join(t[i], &bad);
		CHECK_EQ((long)bad, 0);
	}
	down();
}

static void add_to_bar(void)
{
	__asm__ volatile("lock addl $1, (%0)" :: "r"(bar + FEATURE_SELECT) : "memory");
}

static void an_unknown_instruction_is_a_fault_of_the_application(void)
{
	up();
	CHECK(killed_by(in_child(add_to_bar), SIGSEGV));
	down();
}

MAIN(T(a_handler_from_before_the_device_gets_its_faults),
	T(a_handler_from_after_the_device_gets_its_faults),
	T(the_application_sees_its_own_handler),
	T(a_fault_without_a_handler_kills),
	T(a_one_shot_handler_is_called_once),
	T(sent_signals_reach_the_handler),
	T(a_device_access_is_fine_with_all_signals_blocked),
	T(a_handler_that_blocks_everything_may_use_the_device),
	T(the_handlers_mask_holds_while_it_runs),
	T(a_fault_inside_the_handler_kills),
	T(a_handler_may_jump_out_again_and_again),
	T(a_stack_overflow_is_told_on_the_alternate_stack),
	T(a_small_alternate_stack_is_enough),
	T(threads_trap_at_once),
	T(an_unknown_instruction_is_a_fault_of_the_application))
