// SPDX-License-Identifier: Apache-2.0
// config.c - fuzzes --net, --option and the configuration file; what was taken is written and read
// back to the same.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sim/app/config.h"
#include "sim/core/err.h"

#define TEXT_MAX 65536

static char text[2][TEXT_MAX];

static int load(struct config *c, const char *bytes, size_t len, struct err *e)
{
	char path[32];
	int fd = memfd_create("config", MFD_CLOEXEC), rc;

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	config_init(c);
	rc = config_load(c, path, e);
	close(fd);
	return rc;
}

/* A refusal has a sentence, one line of it. */
static void judge(int rc, const struct err *e)
{
	if (rc && (!e->msg[0] || strchr(e->msg, '\n')))
		abort();
}

static void check_whole(struct config *c)
{
	struct config again;
	struct err e = { 0 };
	int n, rc = config_finish(c, &e);

	judge(rc, &e);
	if (rc)
		return;
	n = config_format(c, text[0], TEXT_MAX);
	if (n < 0 || n >= TEXT_MAX)
		abort();
	if (load(&again, text[0], (size_t)n, &e) || config_finish(&again, &e))
		abort();
	if (config_format(&again, text[1], TEXT_MAX) != n || strcmp(text[0], text[1]))
		abort();
}

static void one_by_one(char *line)
{
	struct err e = { 0 };
	struct config c;

	config_init(&c);
	for (char *next; line; line = next) {
		next = strchr(line, '\n');
		if (next)
			*next++ = '\0';
		judge(line[0] == '=' ? config_option(&c, line + 1, &e) :
		      config_add_net(&c, line, &e), &e);
	}
	check_whole(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = { 0 };
	struct config c;
	char *line;
	int rc;

	if (!size)
		return 0;
	if (data[0] & 1) {
		line = malloc(size);
		memcpy(line, data + 1, size - 1);
		line[size - 1] = '\0';
		one_by_one(line);
		free(line);
		return 0;
	}
	rc = load(&c, (const char *)data + 1, size - 1, &e);
	judge(rc, &e);
	if (!rc)
		check_whole(&c);
	return 0;
}
