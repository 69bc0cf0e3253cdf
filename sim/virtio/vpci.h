/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vpci.h - a virtio device as a PCI function (virtio 1.2, 4.1): modern, legacy or both doors.
 *
 * BAR0 (I/O, 64 bytes)   legacy registers, then the device's configuration
 * BAR1 (memory)          MSI-X table and PBA, nothing else
 * BAR4 (memory, 64 bit)  page 0: common configuration, ISR, device configuration;
 *                        from page 1 on: one notify page per queue
 */
#ifndef SIM_VIRTIO_VPCI_H
#define SIM_VIRTIO_VPCI_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/bus/pci.h"
#include "sim/core/loop.h"
#include "sim/virtio/vdev.h"

#define VPCI_LEGACY_BAR 0
#define VPCI_MSIX_BAR   1
#define VPCI_MODERN_BAR 4

#define VPCI_LEGACY_LEN 64	/* 24 bytes of registers and 40 of configuration */

#define VPCI_COMMON_OFF 0x000
#define VPCI_ISR_OFF    0x400
#define VPCI_DEVICE_OFF 0x800
#define VPCI_NOTIFY_OFF 0x1000
#define VPCI_NOTIFY_STRIDE 0x1000	/* a page each: a queue's can be mapped on its own */

struct vpci_params {
	const char *id, *bdf;
	uint32_t    class;
	uint16_t    legacy_device;	/* transitional PCI device id, 4.1.2 */
	bool        modern, legacy;
	unsigned    queues;		/* most there can be */
	unsigned    vectors;
};

struct vpci {
	struct vdev       *d;
	struct ioapi_func *f;
	struct loop       *loop;
	unsigned           queues, vectors;
	bool               legacy;
	struct space      *space;

	uint16_t config_vector;
	bool     config_vector_set;	/* the driver wrote it since the reset */
	/* Each door has its own selectors: the loser cannot move the owner's. */
	struct {
		uint32_t offer_sel, accept_sel;
		uint16_t queue_sel;
	} modern;
	uint16_t legacy_queue_sel;

	/* Without MSI-X every queue's call fd is this one; its events become the ISR and INTx. */
	int                intx_fd;
	struct loop_source intx;

	int      window_cap;		/* the PCI_CFG capability */
	bool     in_window;
};

/* Gives d a place on the bus; it has the function's lock from here on. p is the owner's. */
int vpci_init(struct vpci *p, struct ioapi_bus *bus, struct vdev *d,
	      const struct vpci_params *a, struct err *e);
/* Shows it. From now on the bus owns d and ends it through d->ops->free. */
int vpci_publish(struct vpci *p, struct err *e);
/* The last thing d->ops->free does with it, published or not; zeroed is fine. */
void vpci_fini(struct vpci *p);

/* The device behind a function, NULL if it is none of ours. */
struct vdev *vpci_vdev(const struct ioapi_func *f);

/* Queue q's notify page is to be this page of a file, or (fd -1) ours again; lock held. */
int vpci_notify_page(struct vpci *p, unsigned q, int fd, uint64_t at);

/* ---- between vpci.c, pci_modern.c and pci_legacy.c ------------------------------------------ */

void vpci_modern_build(struct vpci *p);
void vpci_legacy_build(struct vpci *p);
/* MSI-X went on or off: the registers from 20 on move. */
void vpci_legacy_move(struct vpci *p, bool msix);

/* What was written as a vector, as it reads back: itself or NO_VECTOR. */
uint16_t vpci_vector(const struct vpci *p, uint64_t vector);
void vpci_set_queue_vector(struct vpci *p, unsigned q, uint64_t vector);
void vpci_set_config_vector(struct vpci *p, uint64_t vector);

#endif
