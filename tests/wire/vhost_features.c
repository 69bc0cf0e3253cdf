// SPDX-License-Identifier: Apache-2.0
// vhost_features.c - features that change while rings run (CTRL_GUEST_OFFLOADS).
#include <errno.h>
#include <string.h>

#include "tests/unit/cu.h"
#include "tests/wire/backend_session.h"

#define OFFLOADS (BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4))

static void up(struct sess *r, bool packed)
{
	struct backend_config cfg = sess_decent(false);

	cfg.features |= OFFLOADS;
	sess_init(r, &cfg);
	CU_EQ(sess_open(r), 0);
	CU_EQ(sess_start(r, 2, packed), 0);
	backend_base(r->b, 0, packed ? 0x8000 | 17 : 17);
	backend_base(r->b, 1, packed ? 0x8000 | 3 : 3);
	backend_forget(r->b);
}

/* Both rings stop before the features are told, and go on where they stood. */
static void rings_go_on_where_they_stood(bool packed)
{
	uint64_t bits = BIT(VIRTIO_F_VERSION_1) | (packed ? BIT(VIRTIO_F_RING_PACKED) : 0);
	struct backend_msg m, base;
	unsigned stopped = 0;
	struct sess r;

	up(&r, packed);
	CU_EQ(sess_do(&r, vhost_change_features(r.v, bits)), 0);
	for (int i = 0; backend_msg(r.b, 0, i, &m); i++) {
		stopped += m.h.request == VU_GET_VRING_BASE;
		if (m.h.request != VU_SET_FEATURES)
			continue;
		CU_EQ(stopped, 2);
		CU_EQ(m.payload.u64 & (OFFLOADS | BIT(VIRTIO_F_VERSION_1)),
		      BIT(VIRTIO_F_VERSION_1));
	}
	CU_EQ(backend_count(r.b, VU_SET_FEATURES), 1);
	CU_EQ(backend_count(r.b, VU_SET_MEM_TABLE), 0);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_BASE, 0, &base));
	CU_EQ(base.payload.state.num, packed ? 0x80118011 : 17);
	CU_ASSERT(backend_msg(r.b, VU_SET_VRING_BASE, 1, &base));
	CU_EQ(base.payload.state.num, packed ? 0x80038003 : 3);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 2);
	CU_EQ(r.failures, 0);
	CU_EQ(r.downs, 0);
	sess_free(&r);
}

static void split_rings_go_on(void)
{
	rings_go_on_where_they_stood(false);
}

static void packed_rings_go_on(void)
{
	rings_go_on_where_they_stood(true);
}

/* The driver is answered, and has what it had. */
static void a_refusal_leaves_the_old_ones(void)
{
	struct backend_msg m;
	struct sess r;

	up(&r, false);
	BACKEND_RULES(r.b, { VU_SET_FEATURES, 1, BACKEND_NACK, 1 });
	CU_EQ(sess_do(&r, vhost_change_features(r.v, BIT(VIRTIO_F_VERSION_1) | OFFLOADS)),
	      -EREMOTEIO);
	CU_ASSERT(backend_msg(r.b, VU_SET_FEATURES, 0, &m));
	CU_EQ(m.payload.u64 & OFFLOADS, OFFLOADS);
	CU_EQ(backend_count(r.b, VU_SET_FEATURES), 2);
	CU_ASSERT(backend_msg(r.b, VU_SET_FEATURES, -1, &m));
	CU_EQ(m.payload.u64 & OFFLOADS, 0);
	CU_EQ(backend_count(r.b, VU_SET_VRING_KICK), 2);
	CU_EQ(r.failures, 0);
	sess_free(&r);
}

/* Even if it takes the features and refuses a ring: those that run are stopped before. */
static void a_late_refusal_leaves_the_old_ones(void)
{
	unsigned running = 2;
	struct backend_msg m;
	struct sess r;

	up(&r, false);
	BACKEND_RULES(r.b, { VU_SET_VRING_ENABLE, 2, BACKEND_NACK, 1 });
	CU_EQ(sess_do(&r, vhost_change_features(r.v, BIT(VIRTIO_F_VERSION_1) | OFFLOADS)),
	      -EREMOTEIO);
	for (int i = 0; backend_msg(r.b, 0, i, &m); i++) {
		running -= m.h.request == VU_GET_VRING_BASE;
		running += m.h.request == VU_SET_VRING_KICK;
		if (m.h.request == VU_SET_VRING_NUM || m.h.request == VU_SET_FEATURES)
			CU_EQ(running, 0);
	}
	CU_EQ(running, 2);
	CU_ASSERT(backend_msg(r.b, VU_SET_FEATURES, -1, &m));
	CU_EQ(m.payload.u64 & OFFLOADS, 0);
	CU_EQ(r.failures, 0);
	sess_free(&r);
}

/* One that dies over it finds the new wish when it is back. */
static void a_lost_back_end_gets_the_new_ones(void)
{
	struct backend_msg m;
	struct sess r;

	up(&r, false);
	BACKEND_RULES(r.b, { VU_GET_VRING_BASE, 1, BACKEND_HANGUP, 0 });
	CU_EQ(sess_do(&r, vhost_change_features(r.v, BIT(VIRTIO_F_VERSION_1) | OFFLOADS)), 0);
	CU_ASSERT(backend_wait(r.b, VU_SET_VRING_KICK, 2, 3000));
	CU_ASSERT(backend_msg(r.b, VU_SET_FEATURES, -1, &m));
	CU_EQ(m.payload.u64 & OFFLOADS, OFFLOADS);
	CU_EQ(r.failures, 0);
	sess_free(&r);
}

CU_MAIN("vhost/features",
	{ "A-CV-23 split rings go on where they stood", split_rings_go_on },
	{ "A-CV-23 packed rings go on where they stood", packed_rings_go_on },
	{ "A-CV-23 a refusal leaves the old ones", a_refusal_leaves_the_old_ones },
	{ "A-CV-23 a late refusal leaves the old ones", a_late_refusal_leaves_the_old_ones },
	{ "a lost back-end gets the new ones", a_lost_back_end_gets_the_new_ones })
