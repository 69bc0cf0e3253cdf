/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vhost.h - a vhost session (sim/vhost/vhost.h) without a back-end: it records what the device
 * asks for and answers what the test has told it to.
 */
#ifndef TESTS_FAKES_VHOST_H
#define TESTS_FAKES_VHOST_H

#include "sim/vhost/vhost.h"

#define FAKE_CALLS_MAX 512	/* the first ones are kept, all are counted */
#define FAKE_WRITES_MAX 64	/* likewise */

struct fake_call {
	const char *name;		/* "start", "ring_enable", ... */
	unsigned    ring;		/* or number of rings */
	int64_t     arg;		/* bool, fd, status */
};

struct fake_write {
	uint64_t addr, len;
};

struct vhost {
	struct vhost_config cfg;
	struct vhost_host   host;
	/* set by the test */
	struct vhost_offer  offer;
	const char         *fail_name;	/* this call... */
	int                 fail_ring;	/* ...for this ring, or any (-1)... */
	int                 fail_rc;	/* ...answers so */
	/* seen from the device */
	bool                opened, started, link;
	struct space       *space;
	uint64_t            acked;
	uint16_t            mtu;
	uint8_t             status;
	unsigned            rings;
	struct vhost_ring   ring[VHOST_RINGS_MAX];
	uint8_t             config[12];		/* the back-end's */
	unsigned            calls, calls_unlocked;
	struct fake_call    call[FAKE_CALLS_MAX];
	unsigned            writes;		/* told of, and the first of them */
	struct fake_write   write[FAKE_WRITES_MAX];
};

/* What the next vhost_new() finds its back-end offering; known: false for none. */
void fake_vhost_next(const struct vhost_offer *offer);
/* The session made last. */
struct vhost *fake_vhost(void);

/* Calls of that name so far, with that ring if it is >= 0. */
unsigned fake_count(const struct vhost *v, const char *name, int ring);
/* Position of the last such call in the record, -1: none. */
int fake_last(const struct vhost *v, const char *name, int ring);
void fake_forget(struct vhost *v);

/* Events from the back-end, as the loop's thread would bring them. */
void fake_link(struct vhost *v, bool up);
void fake_offer(struct vhost *v, const struct vhost_offer *offer);
void fake_config_changed(struct vhost *v);
void fake_failed(struct vhost *v, const char *why);

#endif
