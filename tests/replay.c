// SPDX-License-Identifier: Apache-2.0
// replay.c - a line of a trace is a verb and its arguments; see sim/core/trace.c.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/replay.h"

#define ARGS_MAX 8
#define VECTORS_MAX 512

struct step {
	struct replay *r;
	char    *arg[ARGS_MAX];
	unsigned n;
};

static uint64_t number(const struct step *s, unsigned i)
{
	return i < s->n ? strtoull(s->arg[i], NULL, 0) : 0;
}

/* Index of a word in a list, or -EINVAL. */
static int index_of(const char *word, const char *const *list, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (!strcmp(word, list[i]))
			return (int)i;
	return -EINVAL;
}

static int region_of(const struct step *s)
{
	static const char *const names[] = {
		"bar0", "bar1", "bar2", "bar3", "bar4", "bar5", "rom", "config",
	};

	return s->n ? index_of(s->arg[0], names, 8) : -EINVAL;
}

static void differs(struct replay *r, const char *what, uint64_t got, uint64_t want)
{
	if (!r->differ++)
		snprintf(r->first, sizeof(r->first), "line %u: %s: %#llx, recorded %#llx", r->lines,
			 what, (unsigned long long)got, (unsigned long long)want);
}

static int do_read(struct step *s)
{
	int region = region_of(s);
	uint64_t val = 0;

	if (region < 0)
		return region;
	s->r->accesses++;
	ioapi_read(s->r->f, (unsigned)region, number(s, 1), (unsigned)number(s, 2), &val);
	if (val != number(s, 3))
		differs(s->r, s->n > 4 ? s->arg[4] : "read", val, number(s, 3));
	return 0;
}

static int do_write(struct step *s)
{
	int region = region_of(s);

	if (region < 0)
		return region;
	s->r->accesses++;
	if (ioapi_write(s->r->f, (unsigned)region, number(s, 1), (unsigned)number(s, 2),
			number(s, 3)))
		s->r->refused++;
	return 0;
}

/* The write before was refused when it was recorded, and must have been again. */
static int do_refused(struct step *s)
{
	if (!s->r->refused)
		differs(s->r, "a refused write", 0, 1);
	else
		s->r->refused--;
	return 0;
}

static int do_open(struct step *s)
{
	return ioapi_open(s->r->f, NULL);
}

static int do_close(struct step *s)
{
	ioapi_close(s->r->f);
	return 0;
}

static int do_reset(struct step *s)
{
	return ioapi_reset(s->r->f);
}

static int do_irq(struct step *s)
{
	static const char *const names[] = { "intx", "msi", "msix", "err", "req" };
	int index = s->n ? index_of(s->arg[0], names, 5) : -EINVAL, fds[VECTORS_MAX], rc;
	unsigned start = (unsigned)number(s, 1), count = (unsigned)number(s, 2);

	if (index < 0 || count > VECTORS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < count; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	rc = ioapi_irq_set(s->r->f, (unsigned)index, start, count, count ? fds : NULL);
	for (unsigned i = 0; i < count; i++)
		close(fds[i]);
	return rc;
}

static struct replay_map *map_at(struct replay *r, uint64_t size)
{
	for (unsigned i = 0; i < REPLAY_MAPS_MAX; i++)
		if (r->map[i].size == size)
			return &r->map[i];
	return NULL;
}

/* A file without pages: memory of any size costs what is touched. */
static int do_map(struct step *s)
{
	struct replay_map *m = map_at(s->r, 0);
	struct ioapi_dma dma;

	if (!m)
		return -E2BIG;
	*m = (struct replay_map){ number(s, 0), number(s, 1), NULL, memfd_create("replay", 0) };
	if (m->fd < 0 || ftruncate(m->fd, (off_t)m->size))
		return -errno;
	m->va = mmap(NULL, m->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, m->fd, 0);
	if (m->va == MAP_FAILED)
		return -errno;
	dma = (struct ioapi_dma){ m->iova, m->size, m->va, m->fd, 0 };
	ioapi_attach(s->r->f, s->r->domain);
	return ioapi_dma_map(s->r->domain, &dma, 1);
}

static void let_go(struct replay_map *m)
{
	munmap(m->va, m->size);
	close(m->fd);
	*m = (struct replay_map){ .size = 0 };
}

static int do_unmap(struct step *s)
{
	uint64_t from = number(s, 0), size = number(s, 1), taken;
	int rc = ioapi_dma_unmap(s->r->domain, from, size, &taken);

	for (unsigned i = 0; i < REPLAY_MAPS_MAX; i++)
		if (s->r->map[i].size && s->r->map[i].iova >= from &&
		    s->r->map[i].iova - from < size)
			let_go(&s->r->map[i]);
	return rc;
}

static int do_nothing(struct step *s)
{
	return 0;
}

static const struct {
	const char *verb;
	int (*run)(struct step *s);
} verbs[] = {
	{ "open", do_open },	{ "close", do_close },	{ "reset", do_reset },
	{ "read", do_read },	{ "write", do_write },	{ "refused", do_refused },
	{ "irq", do_irq },	{ "map", do_map },	{ "unmap", do_unmap },
	{ "sent", do_nothing },	{ "received", do_nothing },
};

static int play_line(struct replay *r, char *line)
{
	struct step s = { .r = r };
	char *rest = NULL, *verb;

	if (line[0] == '#' || !strtok_r(line, " \n", &rest) || !strtok_r(NULL, " \n", &rest))
		return 0;
	verb = strtok_r(NULL, " \n", &rest);
	while (s.n < ARGS_MAX && (s.arg[s.n] = strtok_r(NULL, " \n", &rest)))
		s.n++;
	for (unsigned i = 0; verb && i < sizeof(verbs) / sizeof(verbs[0]); i++)
		if (!strcmp(verb, verbs[i].verb))
			return verbs[i].run(&s);
	return -EINVAL;
}

int replay_play(struct replay *r, struct ioapi_bus *bus, struct ioapi_func *f, FILE *trace)
{
	char line[512];
	int rc;

	*r = (struct replay){ .f = f };
	rc = ioapi_domain_new(bus, &r->domain);
	while (!rc && fgets(line, sizeof(line), trace)) {
		r->lines++;
		rc = play_line(r, line);
		if (rc)
			fprintf(stderr, "line %u: %s\n", r->lines, strerror(-rc));
	}
	return rc;
}

void replay_end(struct replay *r)
{
	ioapi_close(r->f);
	ioapi_domain_free(r->domain);
	for (unsigned i = 0; i < REPLAY_MAPS_MAX; i++)
		if (r->map[i].size)
			let_go(&r->map[i]);
}
