// SPDX-License-Identifier: Apache-2.0
// core_text.c - told errors and log lines.
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "sim/core/err.h"
#include "sim/core/log.h"
#include "tests/unit/cu.h"

static void an_error_keeps_code_and_words_and_context_goes_in_front(void)
{
	struct err e = { 0 };

	CU_EQ(err_set(&e, -ENOENT, "socket %s: gone", "/a"), -ENOENT);
	CU_EQ(err_wrap(&e, -ENOENT, "net%d", 0), -ENOENT);
	CU_ASSERT_STRING_EQUAL(e.msg, "net0: socket /a: gone");
	CU_EQ(e.code, -ENOENT);
	CU_EQ(err_set(NULL, -EIO, "nobody listens"), -EIO);
	CU_EQ(err_wrap(NULL, -EIO, "nobody listens"), -EIO);
}

static void the_old_message_may_be_part_of_the_new_one(void)
{
	struct err e = { 0 };

	err_set(&e, -EIO, "inner");
	err_set(&e, -EINVAL, "outer (%s)", e.msg);
	CU_ASSERT_STRING_EQUAL(e.msg, "outer (inner)");
}

static void long_words_are_cut_not_spilled(void)
{
	char words[2000];
	struct err e = { 0 };

	memset(words, 'x', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	err_set(&e, -EIO, "%s", words);
	CU_EQ(strlen(e.msg), sizeof(e.msg) - 1);
	err_wrap(&e, -EIO, "%s", words);
	CU_EQ(strlen(e.msg), sizeof(e.msg) - 1);
}

/* What log_line() puts on stderr, in buf. */
static void logged(char *buf, size_t len, const char *who, const char *words)
{
	int pipe_fd[2], was = dup(STDERR_FILENO);
	ssize_t got;

	CU_EQ(pipe(pipe_fd), 0);
	dup2(pipe_fd[1], STDERR_FILENO);
	log_warn(who, "%s", words);
	dup2(was, STDERR_FILENO);
	close(pipe_fd[1]);
	got = read(pipe_fd[0], buf, len - 1);
	buf[got > 0 ? got : 0] = '\0';
	close(pipe_fd[0]);
	close(was);
}

static void a_line_names_who_and_is_one_line_whatever_is_in_it(void)
{
	char buf[2000], words[1500];

	logged(buf, sizeof(buf), "net0", "hello");
	CU_ASSERT_STRING_EQUAL(buf, "podpci: net0: warning: hello\n");
	logged(buf, sizeof(buf), NULL, "two\nlines");
	CU_ASSERT_STRING_EQUAL(buf, "podpci: warning: two?lines\n");
	memset(words, 'y', sizeof(words) - 1);
	words[sizeof(words) - 1] = '\0';
	logged(buf, sizeof(buf), words, words);
	CU_ASSERT_TRUE(strlen(buf) < 700);
	CU_EQ(buf[strlen(buf) - 1], '\n');
}

static void a_budget_lets_a_burst_through_and_then_one_a_period(void)
{
	struct log_limit l = { .burst = 2, .every_ms = 100 };

	CU_ASSERT_TRUE(log_may(&l, 1000));
	CU_ASSERT_TRUE(log_may(&l, 1000));
	CU_ASSERT_FALSE(log_may(&l, 1050));
	CU_ASSERT_TRUE(log_may(&l, 1100));
	CU_ASSERT_FALSE(log_may(&l, 1150));
	CU_ASSERT_TRUE(log_may(&l, 1200));
}

static void levels_are_read_by_name(void)
{
	log_init("debug");
	CU_ASSERT_TRUE(log_enabled(LOG_DEBUG));
	log_init("nonsense");
	CU_ASSERT_TRUE(log_enabled(LOG_DEBUG));
	log_init(NULL);
	log_init("warn");
	CU_ASSERT_FALSE(log_enabled(LOG_INFO));
}

CU_MAIN("core/text",
	T(an_error_keeps_code_and_words_and_context_goes_in_front),
	T(the_old_message_may_be_part_of_the_new_one),
	T(long_words_are_cut_not_spilled),
	T(a_line_names_who_and_is_one_line_whatever_is_in_it),
	T(a_budget_lets_a_burst_through_and_then_one_a_period),
	T(levels_are_read_by_name))
