// SPDX-License-Identifier: Apache-2.0
// features.c - walks a table of feature bits.
#include <stddef.h>

#include "sim/virtio/features.h"

static bool satisfied(const struct feature *f, uint64_t bits)
{
	return (bits & f->all) == f->all && (!f->any || (bits & f->any));
}

const struct feature *features_dangling(const struct features *t, uint64_t bits)
{
	for (unsigned i = 0; i < t->count; i++)
		if ((bits & FBIT(t->rows[i].bit)) && !satisfied(&t->rows[i], bits))
			return &t->rows[i];
	return NULL;
}

uint64_t features_wanted(const struct features *t, const void *dev)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < t->count; i++)
		if (t->rows[i].owner != FEATURE_DEVICE && t->rows[i].when(dev))
			bits |= FBIT(t->rows[i].bit);
	return bits;
}

uint64_t features_offer(const struct features *t, const void *dev, uint64_t backend)
{
	const struct feature *f;
	uint64_t bits = 0;

	for (unsigned i = 0; i < t->count; i++) {
		f = &t->rows[i];
		if (f->owner == FEATURE_BACKEND && !(backend & FBIT(f->bit)))
			continue;
		if (f->when(dev))
			bits |= FBIT(f->bit);
	}
	/* Each round drops one bit, so this ends. */
	while ((f = features_dangling(t, bits)))
		bits &= ~FBIT(f->bit);
	return bits;
}

uint64_t features_legacy_only(const struct features *t)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < t->count; i++)
		if (t->rows[i].legacy_only)
			bits |= FBIT(t->rows[i].bit);
	return bits;
}

const char *features_name(const struct features *t, unsigned bit)
{
	for (unsigned i = 0; i < t->count; i++)
		if (t->rows[i].bit == bit)
			return t->rows[i].name;
	return "bit";
}
