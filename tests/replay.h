/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - plays a recorded session (option trace=FILE, `podpci dev trace`) against a device.
 *
 * What a driver did is done again through include/ioapi.h, line by line; what it read must be
 * read again. Memory it lent is lent empty, so rings are set up but hold nothing.
 */
#ifndef TESTS_REPLAY_H
#define TESTS_REPLAY_H

#include <stdio.h>

#include "include/ioapi.h"

#define REPLAY_MAPS_MAX 64

struct replay_map {
	uint64_t iova, size;
	void    *va;
	int      fd;
};

struct replay {
	struct ioapi_func   *f;		/* closed, on its bus */
	struct ioapi_domain *domain;
	struct replay_map    map[REPLAY_MAPS_MAX];
	unsigned lines, accesses, differ, refused;
	char     first[256];		/* difference, in words */
};

/* -errno: a line is no such thing. The result is in r. */
int  replay_play(struct replay *r, struct ioapi_bus *bus, struct ioapi_func *f, FILE *trace);
void replay_end(struct replay *r);

#endif
