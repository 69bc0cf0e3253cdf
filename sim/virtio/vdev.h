/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vdev.h - a virtio device (virtio 1.2, chapters 2 and 3), whatever it does and whatever shows it.
 *
 * A device (net.c) writes struct vdev_ops; what carries it to a driver (vpci.c) writes struct
 * vdev_transport. Neither knows the other. Between them this core keeps the status machine,
 * the feature negotiation, the queues' registers, the configuration generation and the ISR.
 *
 * All calls are made with the function's lock held, except where "unlocked" is said. Nothing
 * here allocates after vdev_init() and vdev_open().
 */
#ifndef SIM_VIRTIO_VDEV_H
#define SIM_VIRTIO_VDEV_H

#include <stdbool.h>
#include <stdint.h>

#include <linux/virtio_config.h>

#include "include/ioapi.h"
#include "sim/bus/regmap.h"
#include "sim/core/log.h"
#include "sim/ring/vring.h"
#include "sim/virtio/features.h"

#define VDEV_NO_VECTOR 0xffff
#define VDEV_QUEUES_MAX 257

struct err;
struct space;
struct vdev;

/*
 * The device status (2.1). A driver only ever adds bits; 0 takes all of them away and is
 * visible once the rings have stopped. A bit that may not be set yet is left out of the
 * write, the others count.
 *
 *   bit          set by   when                                             then
 *   ACK          driver   always                                           -
 *   DRIVER       driver   always                                           -
 *   FEATURES_OK  driver   modern door, after DRIVER, before FAILED and     features and the
 *                         NEEDS_RESET, and the accepted features are       back-end's offer
 *                         offered, closed and include VERSION_1            are frozen
 *   DRIVER_OK    driver   modern door after FEATURES_OK, legacy door       rings start
 *                         always; before FAILED and NEEDS_RESET
 *   NEEDS_RESET  device   something went wrong that only a reset mends     config interrupt
 *   FAILED       driver   always                                           rings stop
 */
enum vdev_status {
	VDEV_ACK         = VIRTIO_CONFIG_S_ACKNOWLEDGE,
	VDEV_DRIVER      = VIRTIO_CONFIG_S_DRIVER,
	VDEV_DRIVER_OK   = VIRTIO_CONFIG_S_DRIVER_OK,
	VDEV_FEATURES_OK = VIRTIO_CONFIG_S_FEATURES_OK,
	VDEV_NEEDS_RESET = VIRTIO_CONFIG_S_NEEDS_RESET,
	VDEV_FAILED      = VIRTIO_CONFIG_S_FAILED,
};

/*
 * A transitional device has two doors. The first that changes anything after a reset owns the
 * device until the next one; through the other only reading and resetting work.
 */
enum vdev_door { VDEV_NO_DOOR, VDEV_MODERN, VDEV_LEGACY };

#define VDEV_ISR_QUEUE  1u
#define VDEV_ISR_CONFIG 2u

/* What a notification of a queue does: read without a lock. */
enum vdev_bell { VDEV_BELL_NONE, VDEV_BELL_KICK, VDEV_BELL_SERVE };

struct vdev_queue {
	uint16_t size;			/* current; the most is vdev.queue_size */
	uint16_t vector;
	bool     enabled;		/* queue_enable, or a PFN was written */
	bool     was_reset;		/* by queue_reset: may be set up anew while running */
	bool     running;		/* the device has it */
	uint64_t desc, avail, used;
	uint64_t vfn;			/* legacy: desc >> 12, as the driver wrote it */
	uint8_t  bell;			/* enum vdev_bell, atomic */
	int      kick_fd;		/* made by the first open, kept until vdev_fini() */
};

/* By bit, for people: "ACK", "DRIVER", ... */
extern const char *const vdev_status_bits[];
extern const char *const vdev_isr_bits[];

/* Written by a device, called by the core and transports. Complete: no NULL. */
struct vdev_ops {
	const char            *name;
	uint16_t               id;		/* virtio device id, chapter 5 */
	const struct features *features;
	const struct regmap   *config_modern, *config_legacy;	/* registers; owner: dev */

	/* A driver came: -errno only for want of resources. It left. */
	int       (*open)(struct vdev *d, struct err *e);
	void      (*close)(struct vdev *d);
	/* The back-end's bits; live until d->latched, then as they were. */
	uint64_t  (*offer)(struct vdev *d);
	/* How many queues there are and what bell queue q has once it runs; likewise. */
	unsigned  (*queues)(struct vdev *d);
	enum vdev_bell (*role)(struct vdev *d, unsigned q);
	/* Enabled queues have been checked; they are to run. */
	int       (*start)(struct vdev *d);
	/* No queue is touched any more when it returns. */
	void      (*stop)(struct vdev *d);
	/* Back to power-on state, queues stopped before. */
	void      (*reset)(struct vdev *d);
	/* d->status changed by the driver's hand. */
	void      (*status)(struct vdev *d);
	/* One queue while others run. */
	int       (*queue_start)(struct vdev *d, unsigned q);
	void      (*queue_stop)(struct vdev *d, unsigned q);
	/* Its call fd may have changed. */
	void      (*queue_call)(struct vdev *d, unsigned q);
	/* A queue with VDEV_BELL_SERVE was notified. */
	void      (*notify)(struct vdev *d, unsigned q);
	int       (*memory_changed)(struct vdev *d, struct space *s);
	unsigned  (*stats)(struct vdev *d, struct ioapi_stat *rows, unsigned max);
	void      (*orphan)(struct vdev *d);
	void      (*free)(struct vdev *d);
};

/* Written by a transport, called by the core and devices. Complete: no NULL. */
struct vdev_transport {
	const char *name;
	void (*irq_queue)(struct vdev *d, unsigned q);
	void (*irq_config)(struct vdev *d);
	void (*irq_clear)(struct vdev *d);	/* the ISR went to 0 */
	int  (*call_fd)(struct vdev *d, unsigned q);	/* -1: nobody listens */
	struct space *(*space)(struct vdev *d);
	void (*reset)(struct vdev *d);		/* its own registers: vectors, selectors */
};

struct vdev_stats {
	uint64_t notifies;		/* atomic: counted without the lock */
	uint64_t notifies_dropped;	/* atomic */
	uint64_t writes_refused;
	uint64_t irqs_queue, irqs_config;
	uint64_t resets, needs_resets, bad_rings;
};

struct vdev {
	const struct vdev_ops       *ops;
	const struct vdev_transport *transport;
	void       *carrier;		/* the transport's own */
	void       *dev;		/* the device's own */
	const char *id;			/* for messages, "net0" */

	uint8_t  status;
	uint8_t  isr;
	uint8_t  generation;
	bool     config_dirty;		/* something readable changed since `generation` was read */
	bool     running;		/* ops->start() succeeded and ops->stop() was not called */
	bool     latched;		/* the offer is frozen, as in `offered` */
	bool     bell_data;		/* atomic: notifications carry more than the queue */
	enum vdev_door door;
	uint64_t offered;		/* once latched */
	uint64_t accepted;		/* features, as the driver wrote them */
	uint16_t queue_size;		/* what queues are offered with */
	unsigned queues_made;
	struct vdev_queue *queue;
	struct vdev_stats  stat;
	struct log_limit   complaints;
};

int  vdev_init(struct vdev *d, const struct vdev_ops *ops, unsigned queues, uint16_t queue_size);
void vdev_fini(struct vdev *d);

int  vdev_open(struct vdev *d, struct err *e);
void vdev_close(struct vdev *d);
void vdev_orphan(struct vdev *d);

/* ---- for transports ------------------------------------------------------------------------ */

/* True if this door may change things; the first that asks gets the device. */
bool vdev_claim(struct vdev *d, enum vdev_door door);
void vdev_set_status(struct vdev *d, enum vdev_door door, uint8_t bits);
void vdev_reset(struct vdev *d);
/* Bits a driver sees through a door. */
uint64_t vdev_offer(struct vdev *d, enum vdev_door door);
/* The driver wrote 32 bits of its features. */
void vdev_accept(struct vdev *d, enum vdev_door door, unsigned word, uint32_t bits);
/* A feature is in force: accepted, and the negotiation is over. */
bool vdev_has(const struct vdev *d, unsigned bit);
uint8_t vdev_generation(struct vdev *d);
uint8_t vdev_isr_read(struct vdev *d);

/* NULL if there is no such queue. */
struct vdev_queue *vdev_queue_at(struct vdev *d, unsigned q);
/* Its size, addresses and enable may be written (4.1.4.3.2). */
bool vdev_queue_open(const struct vdev *d, const struct vdev_queue *q);
bool vdev_size_ok(const struct vdev *d, uint64_t size);
/* From now on the queue counts; when the device runs, it runs at once. */
void vdev_queue_enable(struct vdev *d, unsigned q);
/* Stops it, takes it out and forgets its registers. */
void vdev_queue_reset(struct vdev *d, unsigned q);
void vdev_queue_call(struct vdev *d, unsigned q);

/* A legacy driver may use the device before DRIVER_OK (3.1.2): rings start when first needed. */
void vdev_start_early(struct vdev *d);
/* Unlocked: what a notification of `size` bytes names, of all that was written. */
uint64_t vdev_bell_queue(const struct vdev *d, unsigned size, uint64_t val);
/* Unlocked: a notification. KICK has been done; SERVE is left to vdev_serve(), locked. */
enum vdev_bell vdev_ring(struct vdev *d, unsigned q);
void vdev_serve(struct vdev *d, unsigned q);

int  vdev_memory_changed(struct vdev *d, struct space *s);
unsigned vdev_stats(struct vdev *d, struct ioapi_stat *rows, unsigned max);

/* ---- for devices --------------------------------------------------------------------------- */

/* Only a reset mends this: told to the driver, once, with a line in the log. */
void vdev_needs_reset(struct vdev *d, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Something a driver can read in the device's configuration is different now. */
void vdev_config_changed(struct vdev *d);
void vdev_irq_queue(struct vdev *d, unsigned q);
void vdev_vq_setup(struct vdev *d, unsigned q, struct vq_setup *s);
/* Appends a row to a list of counters; returns the new count. */
unsigned vdev_stat(struct ioapi_stat *rows, unsigned max, unsigned n, const char *name,
		   uint64_t value);

#endif
