/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backend_session.h - a session with the device above it played by the test: two or more rings in a
 * memfd, a space that lends it, and a record of what the session told the device.
 */
#ifndef TESTS_WIRE_BACKEND_SESSION_H
#define TESTS_WIRE_BACKEND_SESSION_H

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_ring.h>
#include <stdbool.h>
#include <stdint.h>

#include "include/ioapi.h"
#include "sim/core/err.h"
#include "sim/mem/space.h"
#include "sim/vhost/vhost.h"
#include "tests/wire/backend.h"

#define BIT(n) (UINT64_C(1) << (n))
#define SESS_RINGS 8
#define SESS_MEMORY (2u << 20)
#define SESS_TIMEOUT_MS 1000	/* unless sess_timeout_ms says otherwise */
#define SESS_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_NET_F_MRG_RXBUF) | \
		      BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_F_IN_ORDER))
#define SESS_PROTOCOL (BIT(VU_PROTOCOL_MQ) | BIT(VU_PROTOCOL_REPLY_ACK) | BIT(VU_PROTOCOL_MTU) | \
		      BIT(VU_PROTOCOL_CONFIG) | BIT(VU_PROTOCOL_STATUS))

struct sess {
	struct lock lock;
	struct loop *loop;
	struct vhost *v;
	struct space *space;
	struct vhost_config cfg;
	struct backend *b;
	struct err err;
	char dir[64];

	uint8_t *mem;
	int mem_fd;
	unsigned num;			/* descriptors per ring */
	uint64_t iova;			/* of the rings, less their address */
	bool packed;
	struct vhost_ring rings[SESS_RINGS];

	/* what the device was told; written under lock */
	bool up;
	unsigned ups, downs, failures;
	uint64_t up_ms, down_ms;
	char why[128];
	unsigned changes;		/* of the back-end's configuration */
	bool ask_config;		/* and then it is asked for */
	int config_rc;
	uint8_t config[12];
	unsigned notifiers, notifiers_dropped, notifier_ring;
	uint64_t notifier_off;
	int notifier_rc;		/* what the device says to one */
};

extern unsigned sess_timeout_ms;

/* A back-end (unless cfg is NULL) and a session with it; nothing is open yet. */
void sess_init(struct sess *r, const struct backend_config *cfg);
/* A decent back-end, as client or server. */
struct backend_config sess_decent(bool connects);
void sess_free(struct sess *r);
/* Before sess_open(): a session that listens where cfg.socket says now. */
void sess_serve(struct sess *r);

void sess_allow_notifier(struct sess *r);	/* before sess_open(), too */
void sess_remake(struct sess *r);		/* likewise, with another cfg */

int  sess_open(struct sess *r);		/* and lends the memory */
void sess_close(struct sess *r);
/* As a driver's DRIVER_OK: all status steps, rings [0, n). */
int  sess_start(struct sess *r, unsigned n, bool packed);
void sess_stop(struct sess *r);

/* Calls with the lock held, as the bus makes them. */
#define sess_do(r, call) \
	({ \
		lock_take(&(r)->lock); \
		__typeof__(call) rc_ = (call); \
		lock_drop(&(r)->lock); \
		rc_; \
	})

bool sess_wait_link(struct sess *r, bool up, unsigned ms);
bool sess_lose(struct sess *r);		/* the back-end hangs up, and the link goes down */
uint32_t sess_last_base(struct sess *r, uint32_t ring);	/* as it was told; ~0: never */
uint64_t sess_stat(struct sess *r, const char *name);
uint64_t sess_now_ms(void);
/*
 * What a call takes of this clock is what it ran or slept, not what it, or a thread of this process
 * it waited for, spent waiting for a processor on a busy machine.
 */
uint64_t sess_own_ms(void);
void sess_nap(unsigned ms);

/* Parts of a ring in the test's memory. */
struct vring_packed_desc *sess_packed(struct sess *r, unsigned ring);
uint16_t *sess_used_idx(struct sess *r, unsigned ring);

#endif
