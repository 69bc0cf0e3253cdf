// SPDX-License-Identifier: Apache-2.0
// ctl.c - fuzzes the control socket: frames, requests as bytes, and command lines.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/core/err.h"
#include "sim/ctl/frame.h"
#include "sim/ctl/server.h"
#include "sim/ctl/words.h"

#define WORDS_MAX 32

static void frames(const uint8_t *data, size_t size)
{
	struct ctl_buf b;
	const uint8_t *p;
	size_t len;

	if (ctl_buf_new(&b, CTL_HEAD + CTL_REQUEST_MAX))
		return;
	b.n = size < b.max ? size : b.max;
	memcpy(b.buf, data, b.n);
	while (ctl_frame_next(&b, CTL_REQUEST_MAX, &p, &len) > 0)
		ctl_request_free(ctl_request_parse(p, len));
	ctl_buf_free(&b);
}

static void command_line(const uint8_t *data, size_t size)
{
	const char *words[WORDS_MAX];
	char line[512], *rest = NULL;
	Podpci__Request *q;
	unsigned n = 0;
	struct err e;

	if (size >= sizeof(line))
		return;
	memcpy(line, data, size);
	line[size] = 0;
	for (char *w = strtok_r(line, " ", &rest); w && n < WORDS_MAX;
	     w = strtok_r(NULL, " ", &rest))
		words[n++] = w;
	if (!ctl_words_parse(words, n, &q, &e))
		ctl_words_free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	frames(data, size);
	ctl_request_free(ctl_request_parse(data, size));
	command_line(data, size);
	return 0;
}
