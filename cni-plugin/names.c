// SPDX-License-Identifier: Apache-2.0
// names.c - see names.h. The digest is FNV-1a with 128 bits.
#include <stddef.h>
#include <stdio.h>

#include "cni-plugin/names.h"

typedef unsigned __int128 u128;

static u128 fnv(u128 hash, const char *text)
{
	const u128 prime = (u128)1 << 88 | 0x13b;

	do {
		hash = (hash ^ (unsigned char)*text) * prime;
	} while (*text++);
	return hash;
}

void names_digest(char out[NAMES_DIGEST], const char *a, const char *b, const char *c)
{
	u128 hash = (u128)0x6c62272e07bb0142 << 64 | 0x62b821756295c58d;

	hash = fnv(hash, a);
	if (b)
		hash = fnv(hash, b);
	if (c)
		hash = fnv(hash, c);
	snprintf(out, NAMES_DIGEST, "%016llx%016llx", (unsigned long long)(hash >> 64),
		 (unsigned long long)hash);
}

void names_mac(const char digest[NAMES_DIGEST], uint8_t mac[6])
{
	unsigned byte[6];

	/* The low end: FNV mixes upwards, the first digits of short texts are alike. */
	sscanf(digest + 20, "%2x%2x%2x%2x%2x%2x", &byte[0], &byte[1], &byte[2], &byte[3],
	       &byte[4], &byte[5]);
	for (unsigned i = 0; i < 6; i++)
		mac[i] = (uint8_t)byte[i];
	mac[0] = 0x02;
}
