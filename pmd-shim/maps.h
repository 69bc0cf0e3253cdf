/* SPDX-License-Identifier: Apache-2.0 */
/* maps.h - /proc/self/maps, a range at a time, without allocation. */
#ifndef PMD_SHIM_MAPS_H
#define PMD_SHIM_MAPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define MAPS_PATH_MAX 512

struct maps_row {
	uint64_t start, end, off;
	dev_t    dev;
	uint64_t ino;			/* 0: no file */
	bool     shared;
	char     path[MAPS_PATH_MAX];	/* as printed, cut if longer */
};

/*
 * Calls seen() for each mapping that touches [start, end), in order, until it returns other than
 * 0; returns that, or -errno. Not for two threads at once (one static buffer).
 */
int maps_walk(uint64_t start, uint64_t end, int (*seen)(const struct maps_row *r, void *arg),
	      void *arg);

/* One line without its newline; false if it is none. For tests too. */
bool maps_parse(const char *line, struct maps_row *r);

#endif
