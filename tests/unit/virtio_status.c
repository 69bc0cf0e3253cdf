// SPDX-License-Identifier: Apache-2.0
// virtio_status.c - status machine and feature negotiation (checklist A7, A11's offers).
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_config.h>
#include <linux/virtio_net.h>
#include <linux/virtio_pci.h>
#include <linux/virtio_ring.h>

#include "tests/rig.h"
#include "tests/unit/cu.h"

#define B(n) (1ull << (n))
#define V1 B(VIRTIO_F_VERSION_1)
#define MQ B(VIRTIO_NET_F_MQ)
#define CTRL B(VIRTIO_NET_F_CTRL_VQ)
#define PACKED B(VIRTIO_F_RING_PACKED)

static struct rig r;

static void up(const struct rig_opts *o)
{
	CU_EQ_FATAL(rig_up(&r, o), 0);
}

/* ---- status -------------------------------------------------------------------------------- */

/*
 * The documented machine, written a second time: bits only come, one at a time in the order
 * ACK, DRIVER, FAILED, FEATURES_OK, DRIVER_OK, each if what it needs is there by then.
 */
static uint8_t model(uint8_t was, uint8_t write)
{
	uint8_t now = was;

	if (!write)
		return 0;
	now |= write & (RIG_ACK | RIG_DRIVER | RIG_FAILED);
	if (now & (RIG_FAILED | RIG_NEEDS_RESET))
		return now;
	if ((write & RIG_FEATURES_OK) && (now & RIG_DRIVER))
		now |= RIG_FEATURES_OK;
	if ((write & RIG_DRIVER_OK) && (now & RIG_FEATURES_OK))
		now |= RIG_DRIVER_OK;
	return now;
}

/* All states that can be reached by one write, then any write: 256 x 256. */
static void every_transition_is_the_model_s(void)
{
	unsigned wrong = 0;

	up(&(struct rig_opts){ .no_packed = true });
	for (unsigned from = 0; from < 256; from++) {
		for (unsigned to = 0; to < 256; to++) {
			uint8_t want;

			rig_set_status(&r, 0);
			rig_accept(&r, V1);
			rig_set_status(&r, (uint8_t)from);
			if (!from)
				rig_accept(&r, V1);
			want = model(0, (uint8_t)from);
			wrong += rig_status(&r) != want;
			rig_set_status(&r, (uint8_t)to);
			want = model(want, (uint8_t)to);
			wrong += rig_status(&r) != want;
			wrong += r.vhost->started !=
				 ((want & RIG_DRIVER_OK) && !(want & RIG_FAILED));
		}
	}
	CU_EQ(wrong, 0);
	rig_down(&r);
}

static void needs_reset_bars_all_but_reset(void)
{
	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1);
	fake_failed(r.vhost, "test");
	CU_EQ(rig_status(&r), RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_NEEDS_RESET);
	rig_set_status(&r, 0xff & ~RIG_FAILED);
	CU_EQ(rig_status(&r), RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_NEEDS_RESET);
	CU_EQ(fake_count(r.vhost, "start", -1), 0);
	rig_set_status(&r, 0);
	CU_EQ(rig_status(&r), 0);
	CU_EQ(rig_run(&r, V1, NULL) & RIG_DRIVER_OK, RIG_DRIVER_OK);
	rig_down(&r);
}

static void needs_reset_sends_a_config_interrupt(void)
{
	int fds[4];

	up(&(struct rig_opts){ 0 });
	CU_EQ(rig_irqs(&r, IOAPI_IRQ_MSIX, 4, fds), 0);
	rig_run(&r, V1, NULL);
	cc_set(&r, VIRTIO_PCI_COMMON_MSIX, 2, 3);
	fake_failed(r.vhost, "first");
	CU_EQ(rig_status(&r) & RIG_NEEDS_RESET, RIG_NEEDS_RESET);
	CU_EQ(rig_fired(fds[3]), 1);
	fake_failed(r.vhost, "second");
	CU_EQ(rig_fired(fds[3]), 0);
	CU_EQ(rig_stat(&r, "needs_resets"), 1);
	for (unsigned i = 0; i < 4; i++)
		close(fds[i]);
	rig_down(&r);
}

static void failed_stops_the_rings(void)
{
	up(&(struct rig_opts){ 0 });
	rig_run(&r, V1, NULL);
	rig_set_status(&r, rig_status(&r) | RIG_FAILED);
	CU_ASSERT(!r.vhost->started);
	CU_EQ(fake_count(r.vhost, "stop", -1), 1);
	rig_down(&r);
}

static void a_start_that_fails_needs_a_reset(void)
{
	up(&(struct rig_opts){ 0 });
	r.vhost->fail_name = "start";
	r.vhost->fail_rc = -EINVAL;
	CU_EQ(rig_run(&r, V1, NULL), RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK |
	      RIG_NEEDS_RESET);
	rig_notify(&r, 0);
	CU_EQ(rig_stat(&r, "notifies"), 0);
	CU_EQ(fake_count(r.vhost, "stop", -1), 1);
	r.vhost->fail_name = NULL;
	CU_EQ(rig_run(&r, V1, NULL), RIG_ACK | RIG_DRIVER | RIG_FEATURES_OK | RIG_DRIVER_OK);
	rig_down(&r);
}

static void the_back_end_hears_the_status(void)
{
	static const int64_t want[] = { 0, 1, 3, 11, 15 };
	unsigned seen = 0;

	up(&(struct rig_opts){ 0 });
	fake_forget(r.vhost);
	rig_run(&r, V1, NULL);
	for (unsigned i = 0; i < r.vhost->calls; i++)
		if (!strcmp(r.vhost->call[i].name, "status"))
			CU_EQ(r.vhost->call[i].arg, want[seen++ % ARRAY_SIZE(want)]);
	CU_EQ(seen, ARRAY_SIZE(want));
	CU_ASSERT(fake_last(r.vhost, "start", -1) < fake_last(r.vhost, "status", -1));
	rig_down(&r);
}

/* ---- features ------------------------------------------------------------------------------ */

static uint64_t allowed(void)
{
	static const uint8_t bits[] = {
		0, 1, 2, 3, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 21, 22, 23, 28, 29, 32,
		34, 35, 38, 40, 54, 55, 56,
	};
	uint64_t all = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(bits); i++)
		all |= B(bits[i]);
	return all;
}

static void only_the_allow_list_is_offered(void)
{
	up(&(struct rig_opts){ .pairs = 2, .mtu = 1500 });
	CU_EQ(rig_offered(&r), allowed());
	rig_down(&r);
	up(&(struct rig_opts){ .no_packed = true, .no_mrg = true });
	CU_EQ(rig_offered(&r), allowed() & ~(PACKED | B(VIRTIO_NET_F_MRG_RXBUF) | MQ | B(3)));
	rig_down(&r);
	up(&(struct rig_opts){ .transitional = true, .pairs = 2, .mtu = 1500 });
	CU_EQ(rig_offered(&r), allowed());
	CU_EQ(lg(&r, VIRTIO_PCI_HOST_FEATURES, 4),
	      (uint32_t)(allowed() | B(VIRTIO_F_ANY_LAYOUT) | B(VIRTIO_F_NOTIFY_ON_EMPTY)));
	rig_down(&r);
}

/* Prerequisites of 5.1.3.1, typed in again: any of `one_of`, for each bit. */
static const struct need { uint8_t bit; uint64_t one_of; } needs[] = {
	{ 2, B(17) }, { 7, B(1) }, { 8, B(1) }, { 9, B(7) | B(8) }, { 10, B(1) },
	{ 11, B(0) }, { 12, B(0) }, { 13, B(11) | B(12) }, { 14, B(0) }, { 18, B(17) },
	{ 19, B(17) }, { 21, B(17) }, { 22, B(17) }, { 23, B(17) }, { 34, B(32) },
	{ 54, B(1) }, { 55, B(1) }, { 56, B(0) },
};

static bool closed(uint64_t bits)
{
	for (unsigned i = 0; i < ARRAY_SIZE(needs); i++)
		if ((bits & B(needs[i].bit)) && !(bits & needs[i].one_of))
			return false;
	return true;
}

static uint64_t random_bits(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void any_back_end_leaves_a_closed_offer(void)
{
	uint64_t seed = 88172645463325252ull, bits;

	up(&(struct rig_opts){ .pairs = 2 });
	for (unsigned i = 0; i < 2000; i++) {
		struct vhost_offer o = { .known = true, .rings_max = 4 };

		o.features = random_bits(&seed) | random_bits(&seed);
		fake_offer(r.vhost, &o);
		bits = rig_offered(&r);
		CU_ASSERT(closed(bits));
		CU_EQ(bits & ~allowed(), 0);
	}
	rig_down(&r);
}

static void exactly_the_closed_subsets_are_accepted(void)
{
	uint64_t seed = 2463534242ull, offer, take;
	bool ok;

	up(&(struct rig_opts){ .pairs = 2 });
	offer = rig_offered(&r);
	for (unsigned i = 0; i < 2000; i++) {
		take = random_bits(&seed) & offer;
		if (i % 8)
			take |= V1;
		ok = closed(take) && (take & V1);
		CU_EQ(rig_negotiate(&r, take) & RIG_FEATURES_OK, ok ? RIG_FEATURES_OK : 0);
	}
	for (unsigned bit = 0; bit < 64; bit++)
		if (!(offer & B(bit)))
			CU_EQ(rig_negotiate(&r, V1 | B(bit)) & RIG_FEATURES_OK, 0);
	CU_EQ(rig_negotiate(&r, offer) & RIG_FEATURES_OK, RIG_FEATURES_OK);
	rig_down(&r);
}

static void without_version_1_nothing_runs(void)
{
	up(&(struct rig_opts){ .transitional = true });
	CU_EQ(rig_negotiate(&r, B(VIRTIO_NET_F_MAC)) & RIG_FEATURES_OK, 0);
	rig_down(&r);
	up(&(struct rig_opts){ .features = ~V1 });
	CU_EQ(rig_offered(&r) & (V1 | PACKED), 0);
	CU_EQ(rig_negotiate(&r, 0) & RIG_FEATURES_OK, 0);
	CU_EQ(rig_negotiate(&r, V1) & RIG_FEATURES_OK, 0);
	rig_down(&r);
}

static void accepted_features_are_frozen(void)
{
	up(&(struct rig_opts){ 0 });
	rig_negotiate(&r, V1 | B(VIRTIO_NET_F_MRG_RXBUF));
	rig_accept(&r, V1);
	cc_set(&r, VIRTIO_PCI_COMMON_GFSELECT, 4, 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_GF, 4), B(VIRTIO_NET_F_MRG_RXBUF));
	rig_set_status(&r, RIG_DRIVER_OK);
	CU_EQ(r.vhost->acked, V1 | B(VIRTIO_NET_F_MRG_RXBUF));
	CU_EQ(fake_count(r.vhost, "start", -1), 1);
	rig_down(&r);
}

static void the_back_end_gets_its_own_bits_only(void)
{
	up(&(struct rig_opts){ .pairs = 2, .mtu = 1500 });
	CU_EQ(rig_run(&r, rig_offered(&r), NULL) & RIG_DRIVER_OK, RIG_DRIVER_OK);
	CU_EQ(r.vhost->acked & (CTRL | B(VIRTIO_NET_F_MAC) | B(VIRTIO_NET_F_STATUS) |
				B(VIRTIO_NET_F_CTRL_RX) | B(40)), 0);
	CU_EQ(r.vhost->acked & (V1 | PACKED | MQ | B(VIRTIO_NET_F_MTU)),
	      V1 | PACKED | MQ | B(VIRTIO_NET_F_MTU));
	CU_EQ(r.vhost->mtu, 1500);
	rig_run(&r, V1, NULL);
	CU_EQ(r.vhost->mtu, 0);
	rig_down(&r);
}

static void the_offer_is_live_until_agreed(void)
{
	static const struct vhost_offer small = { .known = true, .features = V1, .rings_max = 2 };
	static const struct vhost_offer large = {
		.known = true, .features = RIG_ALL_BITS, .rings_max = 8,
	};
	uint64_t gen;

	up(&(struct rig_opts){ .pairs = 8, .no_backend = true });
	CU_EQ(rig_offered(&r) & (V1 | PACKED | MQ), V1 | MQ);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 17);
	gen = cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1);
	fake_offer(r.vhost, &small);
	CU_EQ(rig_offered(&r) & (V1 | MQ), V1);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	CU_EQ(dc(&r, 8, 2), 1);
	CU_ASSERT(cc(&r, VIRTIO_PCI_COMMON_CFGGENERATION, 1) != gen);
	CU_EQ(rig_negotiate(&r, V1 | MQ | CTRL) & RIG_FEATURES_OK, 0);
	fake_offer(r.vhost, &large);
	CU_EQ(rig_negotiate(&r, V1 | MQ | CTRL) & RIG_FEATURES_OK, RIG_FEATURES_OK);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 9);
	fake_offer(r.vhost, &small);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 9);
	CU_EQ(dc(&r, 8, 2), 4);
	CU_EQ(rig_offered(&r) & MQ, MQ);
	rig_set_status(&r, 0);
	CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 3);
	rig_down(&r);
}

static void the_same_set_is_accepted_again(void)
{
	uint64_t offer;

	up(&(struct rig_opts){ .pairs = 2 });
	offer = rig_offered(&r);
	for (unsigned i = 0; i < 1000; i++)
		CU_EQ(rig_negotiate(&r, offer) & RIG_FEATURES_OK, RIG_FEATURES_OK);
	rig_down(&r);
}

static void pairs_never_exceed_the_back_end_s_rings(void)
{
	static const struct { unsigned pairs, rings, want; } rows[] = {
		{ 1, 2, 1 }, { 4, 2, 1 }, { 4, 4, 2 }, { 4, 256, 4 }, { 128, 256, 128 },
		{ 128, 254, 127 }, { 4, 7, 3 }, { 2, 1, 1 },
	};

	for (unsigned i = 0; i < ARRAY_SIZE(rows); i++) {
		up(&(struct rig_opts){ .pairs = rows[i].pairs, .rings_max = rows[i].rings });
		CU_EQ(cc(&r, VIRTIO_PCI_COMMON_NUMQ, 2), 2 * rows[i].want + 1);
		CU_EQ(dc(&r, 8, 2), rows[i].want);
		CU_EQ(!!(rig_offered(&r) & MQ), rows[i].want > 1);
		rig_down(&r);
	}
}

CU_MAIN("virtio/status",
	{ "A-ST-21 every transition is the model's", every_transition_is_the_model_s },
	{ "A-ST-03 NEEDS_RESET bars all but reset", needs_reset_bars_all_but_reset },
	{ "A-ST-04 NEEDS_RESET sends a config interrupt", needs_reset_sends_a_config_interrupt },
	{ "A-ST-21 FAILED stops the rings", failed_stops_the_rings },
	{ "A-ST-03 a start that fails needs a reset", a_start_that_fails_needs_a_reset },
	{ "the back-end hears the status", the_back_end_hears_the_status },
	{ "A-ST-08,14..19 A-LG-16,17,22 A-VR-04 only the allow-list is offered",
	  only_the_allow_list_is_offered },
	{ "A-ST-05 A-NC-12,13 any back-end leaves a closed offer",
	  any_back_end_leaves_a_closed_offer },
	{ "A-ST-06,07 exactly the closed subsets are accepted",
	  exactly_the_closed_subsets_are_accepted },
	{ "A-ST-23, B-ST-20 without VERSION_1 nothing runs", without_version_1_nothing_runs },
	{ "A-ST-22 accepted features are frozen", accepted_features_are_frozen },
	{ "A-CV-31 the back-end gets its own bits only", the_back_end_gets_its_own_bits_only },
	{ "the offer is live until agreed", the_offer_is_live_until_agreed },
	{ "A-ST-09 the same set is accepted again", the_same_set_is_accepted_again },
	{ "A-NC-01,17 pairs never exceed the back-end's rings",
	  pairs_never_exceed_the_back_end_s_rings })
