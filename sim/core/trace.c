// SPDX-License-Identifier: Apache-2.0
// trace.c - see trace.h. A line begins with a time, a device and a verb; numbers follow.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sim/core/fault.h"
#include "sim/core/fd.h"
#include "sim/core/lock.h"
#include "sim/core/loop.h"
#include "sim/core/sys.h"
#include "sim/core/trace.h"

#define KEEP    (1u << 0)
#define TO_FILE (1u << 1)

struct trace {
	uint32_t on;			/* KEEP, TO_FILE; read without the lock */
	struct lock lock;		/* innermost */
	struct trace_event *ring;	/* made when first wanted */
	uint64_t next;			/* number of the next event */
	uint64_t until_ms;
	int fd;
};

bool trace_wanted(const struct trace *t)
{
	return t && __builtin_expect(__atomic_load_n(&t->on, __ATOMIC_RELAXED), 0);
}

int trace_new(struct trace **out)
{
	struct trace *t = fault_zalloc(sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->fd = -1;
	*out = t;
	return 0;
}

void trace_free(struct trace *t)
{
	if (!t)
		return;
	fd_drop(&t->fd);
	if (t->ring)
		fault_pages_free(t->ring, TRACE_EVENTS * sizeof(t->ring[0]));
	free(t);
}

void trace_orphan(struct trace *t)
{
	__atomic_store_n(&t->on, 0, __ATOMIC_RELAXED);
	t->lock = (struct lock){ 0 };
	fd_drop(&t->fd);
}

int trace_keep(struct trace *t, uint64_t until_ms)
{
	void *ring = NULL;
	bool there;

	lock_take(&t->lock);
	there = t->ring != NULL;
	lock_drop(&t->lock);
	if (!there) {
		ring = fault_pages(TRACE_EVENTS * sizeof(t->ring[0]));
		if (!ring)
			return -ENOMEM;
	}
	lock_take(&t->lock);
	if (ring && !t->ring)
		t->ring = ring;
	t->until_ms = until_ms;
	__atomic_or_fetch(&t->on, KEEP, __ATOMIC_RELAXED);
	lock_drop(&t->lock);
	return 0;
}

void trace_to(struct trace *t, int fd)
{
	lock_take(&t->lock);
	fd_drop(&t->fd);
	t->fd = fd;
	__atomic_or_fetch(&t->on, TO_FILE, __ATOMIC_RELAXED);
	lock_drop(&t->lock);
}

/* Lock held. */
static void to_file(struct trace *t, const struct trace_event *e)
{
	char line[TRACE_LINE_MAX + 1];
	unsigned n = trace_line(e, line, TRACE_LINE_MAX);

	line[n++] = '\n';
	sys_call(SYS_write, t->fd, line, n);
}

/* A handler that interrupts another event of its own thread goes untold. */
void trace_add(struct trace *t, const struct trace_event *e)
{
	struct trace_event mine = *e;
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	mine.at_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
	if (lock_take(&t->lock))
		return;
	if (mine.at_us / 1000 > t->until_ms)
		__atomic_and_fetch(&t->on, ~KEEP, __ATOMIC_RELAXED);
	if (t->ring && (t->on & KEEP))
		t->ring[t->next % TRACE_EVENTS] = mine;
	if (t->on & KEEP)
		t->next++;
	if (t->fd >= 0)
		to_file(t, &mine);
	lock_drop(&t->lock);
}

uint64_t trace_next(struct trace *t)
{
	uint64_t n;

	lock_take(&t->lock);
	n = t->next;
	lock_drop(&t->lock);
	return n;
}

bool trace_get(struct trace *t, uint64_t *n, struct trace_event *e)
{
	bool there;

	lock_take(&t->lock);
	if (t->next > TRACE_EVENTS && *n < t->next - TRACE_EVENTS)
		*n = t->next - TRACE_EVENTS;
	there = t->ring && *n < t->next;
	if (there)
		*e = t->ring[*n % TRACE_EVENTS];
	lock_drop(&t->lock);
	return there;
}

/* ---- text ---------------------------------------------------------------------------------- */

struct line {
	char    *buf;
	unsigned size, n;
};

static __attribute__((format(printf, 2, 3))) void put(struct line *l, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(l->buf + l->n, l->size - l->n, fmt, ap);
	va_end(ap);
	l->n += n < 0 ? 0 : (unsigned)n;
	if (l->n >= l->size)
		l->n = l->size - 1;
}

static const char *const regions[] = {
	"bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom", "config",
};

static void put_bits(struct line *l, const struct trace_event *e)
{
	const char *sep = " ";

	for (unsigned i = 0; e->bits && e->bits[i]; i++) {
		if (!(e->val >> i & 1) || !e->bits[i][0])
			continue;
		put(l, "%s%s", sep, e->bits[i]);
		sep = "|";
	}
}

static void put_access(struct line *l, const struct trace_event *e)
{
	put(l, " %s %#llx %u", e->region < 8 ? regions[e->region] : "?",
	    (unsigned long long)e->off, e->size);
	put(l, " %#llx", (unsigned long long)e->val);
	if (e->block)
		put(l, " %s%s%s", e->block, e->name ? "." : "", e->name ? e->name : "");
	put_bits(l, e);
	if (e->rc)
		put(l, " refused %d", e->rc);
}

static void put_nothing(struct line *l, const struct trace_event *e)
{
}

static void put_irq(struct line *l, const struct trace_event *e)
{
	static const char *const names[] = { "intx", "msi", "msix", "err", "req" };

	put(l, " %s %u %llu", e->off < 5 ? names[e->off] : "?", e->size,
	    (unsigned long long)e->val);
}

static void put_range(struct line *l, const struct trace_event *e)
{
	put(l, " %#llx %#llx", (unsigned long long)e->off, (unsigned long long)e->val);
	if (e->rc)
		put(l, " refused %d", e->rc);
}

static void put_message(struct line *l, const struct trace_event *e)
{
	put(l, " %s %s", e->name ? e->name : "?", e->detail);
}

static const struct {
	const char *verb;
	void (*put)(struct line *l, const struct trace_event *e);
} kinds[TRACE_KINDS] = {
	[TRACE_OPEN]  = { "open", put_nothing },	[TRACE_CLOSE] = { "close", put_nothing },
	[TRACE_RESET] = { "reset", put_nothing },	[TRACE_READ]  = { "read", put_access },
	[TRACE_WRITE] = { "write", put_access },	[TRACE_REFUSED] = { "refused", put_access },
	[TRACE_IRQ]   = { "irq", put_irq },		[TRACE_MAP]   = { "map", put_range },
	[TRACE_UNMAP] = { "unmap", put_range },		[TRACE_SENT]  = { "sent", put_message },
	[TRACE_RECEIVED] = { "received", put_message },
};

unsigned trace_line(const struct trace_event *e, char *buf, unsigned size)
{
	struct line l = { buf, size, 0 };

	put(&l, "%llu.%06u %s %s", (unsigned long long)(e->at_us / 1000000),
	    (unsigned)(e->at_us % 1000000), e->who ? e->who : "-", kinds[e->kind].verb);
	kinds[e->kind].put(&l, e);
	while (l.n && buf[l.n - 1] == ' ')
		l.n--;
	buf[l.n] = '\0';
	return l.n;
}
