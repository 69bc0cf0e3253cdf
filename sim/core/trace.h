/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - what drivers and back-ends say to the devices of a bus, as events.
 *
 * Off, as almost always, it costs its callers one load. On, an event is stored in a ring of the
 * newest ones, which readers follow by number at their own pace, and may be written to a file as
 * one line of text, which tests/replay understands. trace_add() may be called in a trap.
 */
#ifndef SIM_CORE_TRACE_H
#define SIM_CORE_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#define TRACE_EVENTS 4096		/* kept for readers */
#define TRACE_LINE_MAX 256

enum trace_kind {
	TRACE_OPEN, TRACE_CLOSE, TRACE_RESET,	/* of a function, by its driver */
	TRACE_READ, TRACE_WRITE,
	TRACE_REFUSED,				/* the write before; rc says why */
	TRACE_IRQ,				/* off: index, size: start, val: count */
	TRACE_MAP, TRACE_UNMAP,			/* DMA; off: IOVA, val: bytes */
	TRACE_SENT, TRACE_RECEIVED,		/* messages */
	TRACE_KINDS,
};

struct trace_event {
	const char *who;		/* "net0"; all texts outlive the trace */
	const char *block, *name;	/* of a register; name: of a message */
	const char *const *bits;	/* names of val's bits, NULL at the end */
	uint64_t off, val;
	uint32_t size;
	int      rc;
	uint8_t  kind, region;
	char     detail[64];		/* of a message: what is in it */
	uint64_t at_us;			/* filled in by trace_add() */
};

struct trace;

int  trace_new(struct trace **t);	/* off; costs little before it is on */
void trace_free(struct trace *t);	/* NULL is fine */
void trace_orphan(struct trace *t);	/* in a forked child: off for good */

/* Keeps events for readers until a time of loop_now_ms(). -ENOMEM. */
int  trace_keep(struct trace *t, uint64_t until_ms);
/* Writes each event to fd, which is the trace's from now on (a kept one). */
void trace_to(struct trace *t, int fd);

/* Whether somebody looks; t may be NULL. */
bool trace_wanted(const struct trace *t);
void trace_add(struct trace *t, const struct trace_event *e);

/* The number the next event gets; 0 is the first of all. */
uint64_t trace_next(struct trace *t);
/*
 * Event number *n or the oldest kept after it; *n becomes its number. False: there is none yet.
 */
bool trace_get(struct trace *t, uint64_t *n, struct trace_event *e);

/* One line without its end; the length. */
unsigned trace_line(const struct trace_event *e, char *buf, unsigned size);

#endif
