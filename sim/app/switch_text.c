// SPDX-License-Identifier: Apache-2.0
// switch_text.c - what people write for addresses, VLANs and accept modes. See switch.h.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/app/switch.h"

static const struct {
	const char *name;
	uint8_t bit;
} modes[] = {
	{ "untagged", L2_ACCEPT_UNTAGGED },	{ "groups", L2_ACCEPT_GROUPS },
	{ "unknown", L2_ACCEPT_UNKNOWN },	{ "broadcast", L2_ACCEPT_BROADCAST },
	{ "multicast", L2_ACCEPT_MULTICAST },	{ "all", L2_ACCEPT_ALL },
};

#define MODES (sizeof(modes) / sizeof(modes[0]))

int sw_parse_mac(const char *text, uint8_t mac[6])
{
	static const char hex[] = "0123456789abcdef";

	for (unsigned i = 0; i < 12; i++) {
		const char *digit = *text ? strchr(hex, *text | 0x20) : NULL;

		if (!digit || (*text != *digit && (*text < 'A' || *text > 'F')))
			return -EINVAL;
		mac[i / 2] = (uint8_t)(mac[i / 2] << 4 | (digit - hex));
		text++;
		if (i % 2 && i < 11 && *text++ != ':')
			return -EINVAL;
	}
	return *text ? -EINVAL : 0;
}

void sw_format_mac(const uint8_t mac[6], char text[18])
{
	snprintf(text, 18, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3],
		 mac[4], mac[5]);
}

int sw_parse_macs(const char *text, uint64_t *macs, unsigned max)
{
	unsigned n = 0;

	while (*text) {
		size_t len = strcspn(text, ",");
		uint8_t mac[6];
		char one[18];

		if (len != 17 || n == max)
			return -EINVAL;
		memcpy(one, text, 17);
		one[17] = 0;
		if (sw_parse_mac(one, mac) || (mac[0] & 1))
			return -EINVAL;
		macs[n] = 0;
		memcpy(&macs[n++], mac, 6);
		text += len;
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	return (int)n;
}

static int parse_vlan(const char **text, unsigned *vlan)
{
	char *end;
	unsigned long v;

	if (**text < '0' || **text > '9')
		return -EINVAL;
	v = strtoul(*text, &end, 10);
	if (v >= L2_VLANS - 1)
		return -EINVAL;
	*vlan = (unsigned)v;
	*text = end;
	return 0;
}

int sw_parse_vlans(const char *text, uint64_t *bits)
{
	unsigned from, to;

	memset(bits, 0, L2_VLANS / 8);
	if (!strcmp(text, "all")) {
		memset(bits, 0xff, L2_VLANS / 8);
		bits[L2_VLANS / 64 - 1] >>= 1;
		return 0;
	}
	do {
		if (parse_vlan(&text, &from))
			return -EINVAL;
		to = from;
		if (*text == '-') {
			text++;
			if (parse_vlan(&text, &to) || to < from)
				return -EINVAL;
		}
		for (; from <= to; from++)
			bits[from / 64] |= 1ull << (from % 64);
	} while (*text++ == ',');
	return text[-1] ? -EINVAL : 0;
}

static bool has(const uint64_t *bits, unsigned vlan)
{
	return vlan < L2_VLANS && (bits[vlan / 64] >> (vlan % 64) & 1);
}

void sw_format_vlans(const uint64_t *bits, char *text, unsigned size)
{
	unsigned n = 0;

	text[0] = 0;
	for (unsigned v = 0; v < L2_VLANS && n < size; v++) {
		unsigned last = v;

		if (!has(bits, v))
			continue;
		while (has(bits, last + 1))
			last++;
		if (v == 0 && last == L2_VLANS - 2)
			n += (unsigned)snprintf(text + n, size - n, "all");
		else if (last == v)
			n += (unsigned)snprintf(text + n, size - n, "%s%u", n ? "," : "", v);
		else
			n += (unsigned)snprintf(text + n, size - n, "%s%u-%u", n ? "," : "", v,
						last);
		v = last;
	}
}

static uint8_t mode_bit(const char *name, size_t len)
{
	for (size_t i = 0; i < MODES; i++)
		if (strlen(modes[i].name) == len && !memcmp(modes[i].name, name, len))
			return modes[i].bit;
	return 0;
}

int sw_parse_accept(const char *text, uint8_t *accept)
{
	uint8_t set = *text == '+' || *text == '-' ? *accept : 0;

	if (!strcmp(text, "none")) {
		*accept = 0;
		return 0;
	}
	while (*text) {
		bool off = *text == '-';
		size_t len;
		uint8_t bit;

		text += *text == '+' || *text == '-';
		len = strcspn(text, ",");
		bit = mode_bit(text, len);
		if (!bit)
			return -EINVAL;
		set = off ? (uint8_t)(set & ~bit) : (uint8_t)(set | bit);
		text += len;
		if (*text == ',' && !*++text)
			return -EINVAL;
	}
	*accept = set;
	return 0;
}

void sw_format_accept(uint8_t accept, char *text, unsigned size)
{
	unsigned n = 0;

	snprintf(text, size, "none");
	for (size_t i = 0; i < MODES && n < size; i++)
		if (accept & modes[i].bit)
			n += (unsigned)snprintf(text + n, size - n, "%s%s", n ? "," : "",
						modes[i].name);
}
