// SPDX-License-Identifier: Apache-2.0
// doctor_look.c - reading what may be somebody else's. See doctor.h.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/openat2.h>

#include "sim/app/doctor.h"

#define NAMES_MAX 256

int look_open(const struct doctor *d, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_CLOEXEC |
				    (flags & O_PATH ? 0 : O_NONBLOCK | O_NOCTTY)),
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	while (*path == '/')
		path++;
	do {
		fd = syscall(SYS_openat2, d->root, *path ? path : ".", &how, sizeof(how));
	} while (fd < 0 && errno == EAGAIN);
	return fd < 0 ? -errno : (int)fd;
}

int look_stat(const struct doctor *d, const char *path, struct stat *st)
{
	int fd = look_open(d, path, O_PATH), rc;

	if (fd < 0)
		return fd;
	rc = fstat(fd, st) ? -errno : 0;
	close(fd);
	return rc;
}

static int take(int fd, char *buf, size_t size)
{
	size_t len = 0;
	ssize_t n = 0;

	while (len + 1 < size && (n = read(fd, buf + len, size - 1 - len)) > 0)
		len += (size_t)n;
	buf[len] = '\0';
	return n < 0 && !len ? -errno : (int)len;
}

int look_text(const struct doctor *d, const char *path, char *buf, size_t size)
{
	int fd = look_open(d, path, O_RDONLY), rc;
	struct stat st;

	buf[0] = '\0';
	if (fd < 0)
		return fd;
	rc = fstat(fd, &st) ? -errno : !S_ISREG(st.st_mode) ? -EINVAL : take(fd, buf, size);
	close(fd);
	return rc;
}

int look_proc(const struct doctor *d, const char *name, char *buf, size_t size)
{
	char path[64], self[24] = "self";
	int fd, rc;

	if (d->pid)
		snprintf(self, sizeof(self), "%ld", d->pid);
	snprintf(path, sizeof(path), "/proc/%s/%s", self, name);
	buf[0] = '\0';
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	rc = take(fd, buf, size);
	close(fd);
	return rc;
}

long long look_number(const char *path)
{
	char buf[32];
	int fd = open(path, O_RDONLY | O_CLOEXEC), n;
	char *end;
	long long v;

	if (fd < 0)
		return -1;
	n = take(fd, buf, sizeof(buf));
	close(fd);
	v = strtoll(buf, &end, 10);
	return n <= 0 || end == buf ? -1 : v;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

void look_names(const struct doctor *d, const char *dir, const char *tail, struct names *names)
{
	int fd = look_open(d, dir, O_RDONLY | O_DIRECTORY);
	size_t end = strlen(tail);
	struct dirent *e;
	DIR *open;

	*names = (struct names){ calloc(NAMES_MAX, sizeof(names->name[0])), 0 };
	open = fd < 0 ? NULL : fdopendir(fd);
	while (open && names->name && names->n < NAMES_MAX && (e = readdir(open))) {
		size_t len = strlen(e->d_name);

		if (e->d_name[0] != '.' && len >= end && !strcmp(e->d_name + len - end, tail))
			memcpy(names->name[names->n++], e->d_name, len + 1);
	}
	if (open)
		closedir(open);
	else if (fd >= 0)
		close(fd);
	if (names->n)
		qsort(names->name, names->n, sizeof(names->name[0]), by_name);
}

void look_free(struct names *names)
{
	free(names->name);
	*names = (struct names){ NULL, 0 };
}
