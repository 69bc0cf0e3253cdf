/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check.h - a test program for the preload library: no framework in the process but libc.
 *
 * MAIN(T(a_sentence), ...) runs each test and prints "ok" or "not ok" for it. A test that
 * cannot run says SKIP("why").
 */
#ifndef TESTS_SHIM_CHECK_H
#define TESTS_SHIM_CHECK_H

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define T(fn) { #fn, fn }

static unsigned check_failed;
static const char *check_skipped;

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("# %s:%d: %s\n", __FILE__, __LINE__, #cond); \
			check_failed++; \
		} \
	} while (0)

#define CHECK_EQ(got, want) \
	do { \
		long long got_ = (long long)(got), want_ = (long long)(want); \
		if (got_ != want_) { \
			printf("# %s:%d: %s is %lld (%#llx), not %lld\n", __FILE__, __LINE__, \
			       #got, got_, got_, want_); \
			check_failed++; \
		} \
	} while (0)

/* The call fails with this errno. */
#define CHECK_ERR(call, err) \
	do { \
		errno = 0; \
		CHECK_EQ(call, -1); \
		CHECK_EQ(errno, err); \
	} while (0)

#define SKIP(why) \
	do { \
		check_skipped = why; \
		return; \
	} while (0)

struct check_test {
	const char *name;
	void (*run)(void);
};

/* Runs fn in a child; its wait status. A child ends with the number of failed checks. */
__attribute__((unused)) static int in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		check_failed = 0;
		fn();
		fflush(stdout);
		_exit(check_failed ? 1 : 0);
	}
	waitpid(pid, &status, 0);
	return status;
}

static int check_main(const struct check_test *tests, size_t n)
{
	unsigned failed = 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < n; i++) {
		check_failed = 0;
		check_skipped = NULL;
		tests[i].run();
		if (check_skipped)
			printf("skip %s %s\n", tests[i].name, check_skipped);
		else
			printf("%s %s\n", check_failed ? "not ok" : "ok", tests[i].name);
		failed += check_failed != 0;
	}
	return failed != 0;
}

#define MAIN(...) \
	int main(void) \
	{ \
		static const struct check_test tests_[] = { __VA_ARGS__ }; \
		return check_main(tests_, ARRAY_SIZE(tests_)); \
	}

#endif
