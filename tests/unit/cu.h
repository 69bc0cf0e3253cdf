/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cu.h - a unit test program in one line: CU_MAIN("bus/regmap", T(a_sentence), T(another))
 *
 * Each test prints its name and its verdict; the program fails if one assertion did.
 */
#ifndef TESTS_UNIT_CU_H
#define TESTS_UNIT_CU_H

#include <CUnit/Basic.h>
#include <dirent.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define CU_TEST_SKIPPED 77

/* Unlike CU_ASSERT_EQUAL it prints what it saw. */
#define CU_EQ(got, want) \
	do { \
		long long got_ = (long long)(got), want_ = (long long)(want); \
		if (got_ != want_) \
			fprintf(stderr, "\n    %s:%d: %s is %lld (%#llx), not %lld (%#llx)", \
				__FILE__, __LINE__, #got, got_, got_, want_, want_); \
		CU_ASSERT_EQUAL(got_, want_); \
	} while (0)

/* Without it the rest of the test makes no sense: returns from the test. */
#define CU_EQ_FATAL(got, want) CU_ASSERT_EQUAL_FATAL(got, want)

#define T(fn) { #fn, fn }
/* A test that proves rows of tests/conformance: TC("C-MS-01, C-MS-02", a_sentence) */
#define TC(rows, fn) { rows " " #fn, fn }

#define CU_MAIN(suite, ...) \
	int main(void) \
	{ \
		static CU_TestInfo tests_[] = { __VA_ARGS__, CU_TEST_INFO_NULL }; \
		return cu_main(suite, tests_); \
	}

/* The same, skipped with a reason where the condition does not hold. */
#define CU_MAIN_IF(suite, condition, why_not, ...) \
	int main(void) \
	{ \
		static CU_TestInfo tests_[] = { __VA_ARGS__, CU_TEST_INFO_NULL }; \
		if (!(condition)) { \
			printf("%s: skipped: %s\n", suite, why_not); \
			return CU_TEST_SKIPPED; \
		} \
		return cu_main(suite, tests_); \
	}

/* How often to do it: n times, or more with PODPCI_ROUNDS=factor (make soak). */
__attribute__((unused)) static unsigned long cu_rounds(unsigned long n)
{
	const char *factor = getenv("PODPCI_ROUNDS");

	return factor && atol(factor) > 0 ? n * (unsigned long)atol(factor) : n;
}

/* Number of open descriptors: the ledger that sanitizers lack. */
__attribute__((unused)) static unsigned fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!d)
		return 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

/* True if fn ends in a failed assertion; run in a child, whose last words are not shown. */
__attribute__((unused)) static bool cu_aborts(void (*fn)(void *arg), void *arg)
{
	int status = 0;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		fclose(stderr);
		signal(SIGABRT, SIG_DFL);
		fn(arg);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

__attribute__((unused)) static int cu_main(const char *suite, CU_TestInfo *tests)
{
	CU_SuiteInfo suites[] = { { suite, NULL, NULL, NULL, NULL, tests }, CU_SUITE_INFO_NULL };
	unsigned failed;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (CU_initialize_registry() != CUE_SUCCESS || CU_register_suites(suites) != CUE_SUCCESS) {
		fprintf(stderr, "%s: %s\n", suite, CU_get_error_msg());
		return EXIT_FAILURE;
	}
	CU_basic_set_mode(CU_BRM_VERBOSE);
	CU_basic_run_tests();
	failed = CU_get_number_of_failures() + CU_get_number_of_suites_failed();
	CU_cleanup_registry();
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

#endif
