// SPDX-License-Identifier: Apache-2.0
// core_trace.c - events, kept and written.
#include <fcntl.h>
#include <string.h>

#include "sim/core/fd.h"
#include "sim/core/loop.h"
#include "sim/core/trace.h"
#include "tests/unit/cu.h"

static const char *const bits[] = { "ONE", "TWO", "", "EIGHT", NULL };

static void each_kind_is_a_line(void)
{
	static const struct { struct trace_event e; const char *line; } t[] = {
		{ { .who = "net0", .kind = TRACE_OPEN, .at_us = 1500000 }, "1.500000 net0 open" },
		{ { .who = "net0", .kind = TRACE_WRITE, .region = 4, .off = 0x14, .size = 1,
		    .val = 0xb, .block = "common", .name = "status", .bits = bits },
		  "0.000000 net0 write bar4 0x14 1 0xb common.status ONE|TWO|EIGHT" },
		{ { .who = "net0", .kind = TRACE_READ, .region = 7, .off = 0, .size = 4,
		    .val = ~0ull, .rc = -6 },
		  "0.000000 net0 read config 0 4 0xffffffffffffffff refused -6" },
		{ { .who = "net0", .kind = TRACE_IRQ, .off = 2, .size = 1, .val = 3 },
		  "0.000000 net0 irq msix 1 3" },
		{ { .who = "dma", .kind = TRACE_MAP, .off = 0x1000, .val = 0x2000 },
		  "0.000000 dma map 0x1000 0x2000" },
		{ { .who = "net0", .kind = TRACE_SENT, .name = "SET_OWNER" },
		  "0.000000 net0 sent SET_OWNER" },
		{ { .kind = TRACE_RECEIVED, .name = "GET_FEATURES", .detail = "0x1" },
		  "0.000000 - received GET_FEATURES 0x1" },
	};
	char line[TRACE_LINE_MAX];

	for (unsigned i = 0; i < ARRAY_SIZE(t); i++) {
		CU_EQ(trace_line(&t[i].e, line, sizeof(line)), strlen(t[i].line));
		CU_ASSERT_STRING_EQUAL(line, t[i].line);
	}
	CU_EQ(trace_line(&t[1].e, line, 12), 11);
	CU_ASSERT_STRING_EQUAL(line, "0.000000 ne");
}

static void events_are_kept_for_those_who_come_back(void)
{
	struct trace_event e = { .who = "net0", .kind = TRACE_READ };
	struct trace *t = NULL;
	uint64_t n = 0;

	CU_EQ(trace_wanted(NULL), false);
	CU_EQ_FATAL(trace_new(&t), 0);
	CU_EQ(trace_wanted(t), false);
	CU_EQ(trace_get(t, &n, &e), false);
	CU_EQ(trace_keep(t, loop_now_ms() + 10000), 0);
	CU_EQ(trace_wanted(t), true);
	for (unsigned i = 0; i < TRACE_EVENTS + 10; i++) {
		e.val = i;
		trace_add(t, &e);
	}
	CU_EQ(trace_next(t), TRACE_EVENTS + 10);
	CU_EQ(trace_get(t, &n, &e), true);
	CU_EQ(n, 10);			/* the oldest there is: ten were overwritten */
	CU_EQ(e.val, 10);
	n = TRACE_EVENTS + 9;
	CU_EQ(trace_get(t, &n, &e), true);
	CU_EQ(e.val, TRACE_EVENTS + 9);
	n++;
	CU_EQ(trace_get(t, &n, &e), false);
	trace_free(t);
}

static void nobody_came_back_and_it_is_off(void)
{
	struct trace_event e = { .who = "net0", .kind = TRACE_READ };
	struct trace *t = NULL;

	CU_EQ_FATAL(trace_new(&t), 0);
	CU_EQ(trace_keep(t, loop_now_ms() - 1), 0);
	CU_EQ(trace_wanted(t), true);
	trace_add(t, &e);
	CU_EQ(trace_wanted(t), false);
	CU_EQ(trace_next(t), 0);
	trace_free(t);
}

static void a_file_gets_every_line_at_once(void)
{
	char path[] = "/tmp/core_trace.XXXXXX", text[256] = "";
	struct trace_event e = { .who = "net0", .kind = TRACE_CLOSE };
	int fd = mkstemp(path);
	unsigned before = fds_open();
	struct trace *t = NULL;

	CU_EQ_FATAL(trace_new(&t), 0);
	trace_to(t, fd_keep_dup(fd));
	trace_add(t, &e);
	trace_add(t, &e);
	CU_ASSERT(pread(fd, text, sizeof(text) - 1, 0) > 30);
	CU_ASSERT_PTR_NOT_NULL(strstr(text, " net0 close\n"));
	CU_EQ(text[strlen(text) - 1], '\n');
	trace_orphan(t);
	CU_EQ(trace_wanted(t), false);
	trace_free(t);
	CU_EQ(fds_open(), before);
	close(fd);
	unlink(path);
}

CU_MAIN("core/trace",
	T(each_kind_is_a_line),
	T(events_are_kept_for_those_who_come_back),
	T(nobody_came_back_and_it_is_off),
	T(a_file_gets_every_line_at_once))
