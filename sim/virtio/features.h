/* SPDX-License-Identifier: Apache-2.0 */
/*
 * features.h - feature bits as a table: who serves a bit, when it is offered, what it needs.
 *
 * An offer and an acceptance are judged by the same rows (virtio 1.2, 2.2 and 5.1.3.1).
 */
#ifndef SIM_VIRTIO_FEATURES_H
#define SIM_VIRTIO_FEATURES_H

#include <stdbool.h>
#include <stdint.h>

#define FBIT(n) (1ull << (n))

enum feature_owner {
	FEATURE_DEVICE,		/* the device serves it, the back-end never hears of it */
	FEATURE_TOLD,		/* the device serves it; a back-end that knows it is told */
	FEATURE_BACKEND,	/* served by the back-end: offered only if it offers it */
};

struct feature {
	uint8_t            bit;
	enum feature_owner owner;
	bool               legacy_only;	/* hidden from the modern door (6.3) */
	const char        *name;
	uint64_t           all, any;	/* bits it needs: all of these, one of those */
	bool             (*when)(const void *dev);
};

struct features {
	const struct feature *rows;
	unsigned              count;
};

/* What to ask of a back-end: bits it serves or is told of, as far as `dev` wants them. */
uint64_t features_wanted(const struct features *t, const void *dev);

/* What a driver may be shown, given the back-end's bits: closed over prerequisites. */
uint64_t features_offer(const struct features *t, const void *dev, uint64_t backend);

/* The bits of an offer only a legacy driver may see. */
uint64_t features_legacy_only(const struct features *t);

/* The first row of `bits` whose prerequisites are not in `bits`, or NULL. */
const struct feature *features_dangling(const struct features *t, uint64_t bits);

/* "MRG_RXBUF", or "bit" for one without a row. */
const char *features_name(const struct features *t, unsigned bit);

#endif
