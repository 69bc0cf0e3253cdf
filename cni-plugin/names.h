/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h - how things of an attachment are called on the host.
 *
 * What a runtime or a user names (container, interface, network) never becomes part of a path or
 * of a port's name: a digest of the whole of it does. Records hold the full names, so that a
 * digest that fits twice is found out.
 */
#ifndef CNI_PLUGIN_NAMES_H
#define CNI_PLUGIN_NAMES_H

#include <stdint.h>

#define NAMES_DIGEST 33		/* 32 hexadecimal digits and the end */

/* Of one to three texts (the others NULL); each is closed, so that "a","bc" is not "ab","c". */
void names_digest(char out[NAMES_DIGEST], const char *a, const char *b, const char *c);
/* Locally administered and unicast, from the digest. */
void names_mac(const char digest[NAMES_DIGEST], uint8_t mac[6]);

#endif
