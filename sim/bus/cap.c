// SPDX-License-Identifier: Apache-2.0
// cap.c - builds the capability list: offsets in order of the calls, dword-aligned, linked.
#include <string.h>

#include "sim/bus/internal.h"

int pci_cap_add(struct ioapi_func *f, uint8_t id, const void *bytes, const void *writable,
		unsigned len)
{
	unsigned off = f->cap_next;

	assert(!f->realized && f->caps < PCI_CAPS_MAX);
	assert(len >= 2 && off + len <= CFG_BYTES);
	memcpy(f->power_on + off, bytes, len);
	if (writable)
		memcpy(f->writable + off, writable, len);
	f->power_on[off + PCI_CAP_LIST_ID] = id;
	f->power_on[off + PCI_CAP_LIST_NEXT] = 0;
	f->writable[off + PCI_CAP_LIST_ID] = f->writable[off + PCI_CAP_LIST_NEXT] = 0;

	f->power_on[f->cap_last ? f->cap_last + PCI_CAP_LIST_NEXT : PCI_CAPABILITY_LIST] =
		(uint8_t)off;
	f->power_on[PCI_STATUS] |= PCI_STATUS_CAP_LIST;
	f->cap_last = off;
	f->cap_next = (off + len + 3) & ~3u;
	f->cap_off[f->caps] = (uint8_t)off;
	return (int)f->caps++;
}

unsigned pci_cap_off(const struct ioapi_func *f, int cap)
{
	assert(cap >= 0 && (unsigned)cap < f->caps);
	return f->cap_off[cap];
}
