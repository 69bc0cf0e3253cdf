/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rig.h - a bus with one virtio-net function, opened, with memory lent to it, over a fake vhost
 * session: all in one call. Everything goes through include/ioapi.h, as a driver's accesses do.
 */
#ifndef TESTS_RIG_H
#define TESTS_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "sim/virtio/net.h"
#include "tests/qdrv.h"
#include "tests/fakes/vhost.h"

#define RIG_MEM   (4u << 20)
#define RIG_IOVA  0x100000000ull
#define RIG_ALL_BITS UINT64_MAX	/* a back-end that offers everything */

#define RIG_ACK         1u
#define RIG_DRIVER      2u
#define RIG_DRIVER_OK   4u
#define RIG_FEATURES_OK 8u
#define RIG_NEEDS_RESET 64u
#define RIG_FAILED      128u

struct rig {
	struct ioapi_bus    *bus;
	struct ioapi_func   *f;
	struct ioapi_domain *domain;
	struct vhost        *vhost;
	uint8_t  *mem;
	uint64_t  iova;
	uint64_t  used;			/* bytes of mem handed out */
	int       memfd;
	/* from the capability list; 0: legacy only */
	uint64_t  common, isr, config, notify;
	uint32_t  notify_mult;
	unsigned  window_cap, msix_cap;
};

/* Zero means: modern, one pair, 256 descriptors, packed and mergeable, a back-end with all. */
struct rig_opts {
	bool     legacy, transitional;
	unsigned pairs;
	uint16_t queue_size, mtu;
	uint32_t speed;
	bool     half_duplex, filters, mac_fixed;
	bool     no_packed, no_mrg;
	uint64_t features;		/* of the back-end */
	unsigned rings_max;
	bool     no_backend;		/* none was ever seen */
	uint64_t iova;
	bool     closed;		/* do not open */
	bool     quiet;			/* failing is what the test is about */
};

int  rig_up(struct rig *r, const struct rig_opts *o);
void rig_down(struct rig *r);

/* Memory lent to the device, zeroed. */
uint64_t rig_alloc(struct rig *r, uint64_t len, uint64_t align);
void *rig_va(struct rig *r, uint64_t iova);

/* Register access; a refused read gives all ones. */
uint64_t rig_read(struct rig *r, unsigned region, uint64_t off, unsigned size);
int      rig_write(struct rig *r, unsigned region, uint64_t off, unsigned size, uint64_t val);

/* Modern common configuration by offset; device configuration; legacy registers. */
uint64_t cc(struct rig *r, uint64_t off, unsigned size);
int      cc_set(struct rig *r, uint64_t off, unsigned size, uint64_t val);
uint64_t dc(struct rig *r, uint64_t off, unsigned size);
uint64_t lg(struct rig *r, uint64_t off, unsigned size);
int      lg_set(struct rig *r, uint64_t off, unsigned size, uint64_t val);

uint8_t  rig_status(struct rig *r);
void     rig_set_status(struct rig *r, uint8_t bits);	/* modern */
uint64_t rig_offered(struct rig *r);
void     rig_accept(struct rig *r, uint64_t features);
/* Reset, ACK, DRIVER, accept, FEATURES_OK; the status then. */
uint8_t  rig_negotiate(struct rig *r, uint64_t features);

/* A ring in lent memory, written to the registers of queue q and enabled. */
void rig_queue(struct rig *r, struct qdrv *d, unsigned q, uint16_t num, bool packed);
/* Likewise through the legacy door. */
void rig_queue_legacy(struct rig *r, struct qdrv *d, unsigned q);
int  rig_notify(struct rig *r, unsigned q);
/* Data queues of pair 0 and the control queue, with these features, up to DRIVER_OK. */
uint8_t rig_run(struct rig *r, uint64_t features, struct qdrv *ctrl);

/* Eventfds: MSI-X vectors [0, n) or INTx; how often one was signalled since last asked. */
int      rig_irqs(struct rig *r, unsigned index, unsigned n, int *fds);
unsigned rig_fired(int fd);
unsigned rig_fired_soon(int fd);	/* waits up to a second for the loop's thread */

uint64_t rig_stat(struct rig *r, const char *name);

#endif
