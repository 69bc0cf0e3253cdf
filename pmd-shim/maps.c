// SPDX-License-Identifier: Apache-2.0
// maps.c - format: "start-end perms offset major:minor inode path", proc_pid_maps(5).
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "pmd-shim/maps.h"
#include "sim/core/sys.h"

/* Takes digits of the base and one character after them. */
static bool number(const char **at, unsigned base, char after, uint64_t *out)
{
	const char *p = *at, *digits = "0123456789abcdef", *d;

	*out = 0;
	while (*p && (d = memchr(digits, *p, base))) {
		*out = *out * base + (uint64_t)(d - digits);
		p++;
	}
	if (p == *at || *p != after)
		return false;
	*at = p + 1;
	return true;
}

bool maps_parse(const char *line, struct maps_row *r)
{
	uint64_t major, minor;
	size_t len;

	if (!number(&line, 16, '-', &r->start) || !number(&line, 16, ' ', &r->end))
		return false;
	if (strlen(line) < 5)
		return false;
	r->shared = line[3] == 's';
	line += 5;
	if (!number(&line, 16, ' ', &r->off) || !number(&line, 16, ':', &major) ||
	    !number(&line, 16, ' ', &minor) || !number(&line, 10, ' ', &r->ino))
		return false;
	r->dev = makedev((unsigned)major, (unsigned)minor);
	line += strspn(line, " ");
	len = strnlen(line, MAPS_PATH_MAX - 1);
	memcpy(r->path, line, len);
	r->path[len] = '\0';
	return true;
}

static char buf[20 * 1024];	/* a line fits: PATH_MAX escaped fourfold and the numbers */

/* Handles the whole lines of buf[0, len); returns the bytes left over, or < 0 with *rc set. */
static long take_lines(size_t len, uint64_t start, uint64_t end,
		       int (*seen)(const struct maps_row *r, void *arg), void *arg, int *rc)
{
	static struct maps_row row;
	char *line = buf, *nl;

	while ((nl = memchr(line, '\n', len - (size_t)(line - buf)))) {
		*nl = '\0';
		if (maps_parse(line, &row) && row.end > start) {
			*rc = row.start >= end ? 0 : seen(&row, arg);
			if (*rc || row.start >= end)
				return -1;
		}
		line = nl + 1;
	}
	len -= (size_t)(line - buf);
	memmove(buf, line, len);
	return (long)len;
}

int maps_walk(uint64_t start, uint64_t end, int (*seen)(const struct maps_row *r, void *arg),
	      void *arg)
{
	long fd = sys_call(SYS_open, "/proc/self/maps", O_RDONLY | O_CLOEXEC), n;
	long left = 0;
	int rc = 0;

	if (fd < 0)
		return (int)fd;
	while ((n = sys_call(SYS_read, (int)fd, buf + left, sizeof(buf) - (size_t)left)) > 0) {
		left = take_lines((size_t)(left + n), start, end, seen, arg, &rc);
		if (left < 0 || left == sizeof(buf))
			break;
	}
	sys_call(SYS_close, (int)fd);
	return rc ? rc : n < 0 ? (int)n : 0;
}
