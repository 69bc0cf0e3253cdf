// SPDX-License-Identifier: Apache-2.0
// log.c - see log.h. The level is process-wide, like the stderr it filters.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sim/core/log.h"
#include "sim/core/sys.h"

#define LINE_HEAD_MAX 128

static const char *const level_names[] = { "error", "warn", "info", "debug" };
static enum log_level level_max = LOG_WARN;

void log_init(const char *level)
{
	for (unsigned i = 0; level && i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (!strcmp(level, level_names[i]))
			level_max = (enum log_level)i;
}

bool log_enabled(enum log_level level)
{
	return level <= level_max;
}

void log_line(enum log_level level, const char *who, const char *fmt, ...)
{
	int saved = errno, len, more;
	char line[640];
	va_list ap;

	if (!log_enabled(level))
		return;
	len = snprintf(line, sizeof(line), "podpci: %s%s%s", who ? who : "", who ? ": " : "",
		       level == LOG_ERROR ? "error: " : level == LOG_WARN ? "warning: " : "");
	if (len > LINE_HEAD_MAX)
		len = LINE_HEAD_MAX;
	va_start(ap, fmt);
	more = vsnprintf(line + len, sizeof(line) - (size_t)len - 1, fmt, ap);
	va_end(ap);
	len += more < 0 ? 0 : more;
	if (len > (int)sizeof(line) - 2)
		len = (int)sizeof(line) - 2;
	/* Part of it may come from a peer: nobody else's line is to be forged with it. */
	for (int i = 0; i < len; i++)
		if ((unsigned char)line[i] < ' ')
			line[i] = '?';
	line[len++] = '\n';
	/* The raw call: inside a preload library write() may be somebody else's wrapper. */
	sys_call(SYS_write, STDERR_FILENO, line, (size_t)len);
	errno = saved;
}

bool log_may(struct log_limit *l, uint64_t now_ms)
{
	if (l->used < l->burst) {
		l->used++;
		l->since_ms = now_ms;
		return true;
	}
	if (now_ms - l->since_ms < l->every_ms)
		return false;
	l->since_ms = now_ms;
	return true;
}
