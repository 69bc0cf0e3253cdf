/* SPDX-License-Identifier: Apache-2.0 */
/* pkg-config: pciaccess */
/*
 * pciaccess.c - lists the bus as libpciaccess sees it, one line a device and one a BAR:
 *	0000:00:04.0 1af4:1041 1af4:1100 class 020000 rev 01 config 1af4
 *	 BAR4 mem64 0x4000 at 0x...
 */
#include <pciaccess.h>
#include <stdint.h>
#include <stdio.h>

static void show(struct pci_device *d)
{
	uint16_t vendor = 0;

	printf("%04x:%02x:%02x.%x ", d->domain, d->bus, d->dev, d->func);
	printf("%04x:%04x %04x:%04x ", d->vendor_id, d->device_id, d->subvendor_id,
	       d->subdevice_id);
	if (pci_device_probe(d) || pci_device_cfg_read_u16(d, &vendor, 0))
		printf("(unreadable) ");
	printf("class %06x rev %02x config %04x\n", d->device_class, d->revision, vendor);
	for (unsigned i = 0; i < 6; i++) {
		const struct pci_mem_region *r = &d->regions[i];

		if (r->size)
			printf(" BAR%u %s 0x%llx\n", i,
			       r->is_IO ? "io" : r->is_64 ? "mem64" : "mem32",
			       (unsigned long long)r->size);
	}
}

int main(void)
{
	struct pci_device_iterator *it;
	struct pci_device *d;

	if (pci_system_init()) {
		fprintf(stderr, "pciaccess: no PCI system\n");
		return 1;
	}
	it = pci_slot_match_iterator_create(NULL);
	while ((d = pci_device_next(it)))
		show(d);
	pci_iterator_destroy(it);
	pci_system_cleanup();
	return 0;
}
