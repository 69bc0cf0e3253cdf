// SPDX-License-Identifier: Apache-2.0
// core_guard.c - copies from memory that vanishes.
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim/core/guard.h"
#include "tests/unit/cu.h"

#define PAGE 4096

static uint8_t *two_pages(int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED;

	return mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, flags, fd, 0);
}

static void every_length_arrives_whole(void)
{
	uint8_t from[40], to[40];

	for (unsigned n = 0; n <= 32; n++) {
		for (unsigned i = 0; i < sizeof(from); i++)
			from[i] = (uint8_t)(i + 1);
		memset(to, 0xee, sizeof(to));
		CU_EQ(guard_copy(to, from, n), 0);
		CU_EQ(memcmp(to, from, n), 0);
		CU_EQ(to[n], 0xee);
	}
}

#if defined(__x86_64__)

static void an_unmapped_page_is_efault_whichever_side_and_width(void)
{
	static const unsigned sizes[] = { 1, 2, 3, 4, 7, 8, 9, 16, 64 };
	uint8_t *p = two_pages(-1), here[64];

	CU_EQ(guard_install(), 0);
	munmap(p + PAGE, PAGE);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		/* The last byte alone is beyond the page. */
		uint8_t *edge = p + PAGE - sizes[i] + 1;

		CU_EQ(guard_copy(here, edge, sizes[i]), -EFAULT);
		CU_EQ(guard_copy(edge, here, sizes[i]), -EFAULT);
		CU_EQ(guard_copy(here, edge - 1, sizes[i]), 0);
		CU_EQ(guard_copy(here, NULL, sizes[i]), -EFAULT);
	}
	munmap(p, PAGE);
}

static void a_truncated_file_is_efault(void)
{
	int fd = memfd_create("ring", 0);
	uint8_t here[16], *p;

	CU_EQ(ftruncate(fd, 2 * PAGE), 0);
	p = two_pages(fd);
	CU_EQ(guard_copy(here, p + PAGE, 16), 0);
	CU_EQ(ftruncate(fd, PAGE), 0);
	CU_EQ(guard_copy(here, p + PAGE, 16), -EFAULT);	/* SIGBUS */
	CU_EQ(guard_copy(here, p + PAGE, 8), -EFAULT);
	CU_EQ(guard_copy(here, p, 16), 0);
	munmap(p, 2 * PAGE);
	close(fd);
}

/* The address comes from where no compiler sees that it is wrong. */
static __attribute__((noinline)) void touch(uintptr_t address)
{
	__asm__ volatile("" : "+r"(address));
	*(volatile char *)address = 1;
}

static void a_fault_elsewhere_still_kills(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, SIG_DFL);
		guard_install();
		touch(8);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}

static void on_segv(int sig)
{
	_exit(42);
}

static void a_fault_elsewhere_reaches_who_was_there_before(void)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		signal(SIGSEGV, on_segv);
		guard_install();
		guard_install();
		touch(8);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	CU_ASSERT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 42);
}

#define FAULTS T(an_unmapped_page_is_efault_whichever_side_and_width), \
	T(a_truncated_file_is_efault), T(a_fault_elsewhere_still_kills), \
	T(a_fault_elsewhere_reaches_who_was_there_before),
#else
#define FAULTS
#endif

CU_MAIN("core/guard", FAULTS T(every_length_arrives_whole))
