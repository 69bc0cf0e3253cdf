// SPDX-License-Identifier: Apache-2.0
// switch_fuzz.c - some rounds of the fuzzers of the front-end, with bytes of a fixed seed.
#include "tests/fuzz/front.c"
#include "tests/unit/cu.h"

#define ROUNDS 400

static uint64_t state = 1;

static uint8_t noise(void)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint8_t)(state >> 56);
}

static void any_bytes_and_descriptors_of_a_backend_are_survived(void)
{
	uint8_t bytes[1024];
	unsigned before = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		size_t n = noise() * 4u;

		for (size_t k = 0; k < n; k++)
			bytes[k] = noise();
		LLVMFuzzerTestOneInput(bytes, n);
		if (!i)
			before = fds_open();
	}
	CU_EQ(fds_open(), before);
	unlink(g.path);
}

CU_MAIN("wire/switch_fuzz",
	{ "B-RP-11, B-BR-14 any bytes and descriptors of a back-end are survived",
	  any_bytes_and_descriptors_of_a_backend_are_survived })
