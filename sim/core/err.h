/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - a told error: -errno for the program, one line for the person. */
#ifndef SIM_CORE_ERR_H
#define SIM_CORE_ERR_H

struct err {
	int  code;		/* -errno, 0 while nothing went wrong */
	char msg[512];		/* who, what, why and, where known, how to mend it; no newline */
};

/* Fills *e (may be NULL) and returns code, which must be negative. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of the message; returns e->code (code when e is NULL). */
int err_wrap(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
