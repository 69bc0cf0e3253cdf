// SPDX-License-Identifier: Apache-2.0
// err.c - formats a told error into its fixed buffer.
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "sim/core/err.h"

/* Formats aside first: the old message may be among the arguments. */
int err_set(struct err *e, int code, const char *fmt, ...)
{
	char msg[sizeof(e->msg)];
	va_list ap;

	assert(code < 0);
	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	memcpy(e->msg, msg, strlen(msg) + 1);
	return code;
}

int err_wrap(struct err *e, int code, const char *fmt, ...)
{
	char context[sizeof(e->msg)];
	va_list ap;
	size_t len;

	assert(code < 0);
	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(context, sizeof(context) - 2, fmt, ap);
	va_end(ap);
	strcat(context, ": ");
	len = strlen(context);
	memmove(e->msg + len, e->msg, sizeof(e->msg) - len);
	memcpy(e->msg, context, len);
	e->msg[sizeof(e->msg) - 1] = '\0';
	return code;
}
