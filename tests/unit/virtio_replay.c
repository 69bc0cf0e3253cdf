// SPDX-License-Identifier: Apache-2.0
// virtio_replay.c - sessions of DPDK's driver, recorded, against the device: DPDK's regressions
// without DPDK.
#include <string.h>

#include "tests/replay.h"
#include "tests/rig.h"
#include "tests/unit/cu.h"

static void play(const char *name, const struct rig_opts *o)
{
	char path[128];
	struct replay r;
	struct rig rig;
	FILE *f;

	snprintf(path, sizeof(path), "tests/replay/%s.trace", name);
	f = fopen(path, "r");
	CU_ASSERT_PTR_NOT_NULL_FATAL(f);
	CU_EQ_FATAL(rig_up(&rig, o), 0);
	CU_EQ(replay_play(&r, rig.bus, rig.f, f), 0);
	CU_ASSERT(r.accesses > 60);
	CU_EQ(r.differ, 0);
	CU_EQ(r.refused, 0);
	if (r.differ)
		fprintf(stderr, "\n    %s: %s\n", path, r.first);
	/* The driver had it running, and let it go in order. */
	CU_ASSERT(fake_count(rig.vhost, "start", -1) >= 1);
	CU_EQ(rig.vhost->started, false);
	replay_end(&r);
	fclose(f);
	rig_down(&rig);
}

static void a_modern_session(void)
{
	play("modern", &(struct rig_opts){ .no_backend = true, .closed = true });
}

static void four_pairs(void)
{
	play("pairs", &(struct rig_opts){ .no_backend = true, .closed = true, .pairs = 4 });
}

static void a_transitional_session(void)
{
	play("transitional",
	     &(struct rig_opts){ .no_backend = true, .closed = true, .transitional = true });
}

static void a_legacy_session(void)
{
	play("legacy", &(struct rig_opts){ .no_backend = true, .closed = true, .legacy = true });
}

/* A session that does not fit the device is told so: the player can fail. */
static void a_difference_is_found(void)
{
	static const char text[] =
		"# one wrong value\n0 net0 open\n0 net0 read config 0 4 0x10411af4 pci.vendor\n"
		"0 net0 read config 0 4 0x10001af4 pci.vendor\n"
		"0 net0 write bar4 0x12 2 0 virtio-pci.common.num_queues\n"
		"0 net0 refused bar4 0x12 2 0 virtio-pci.common.num_queues refused -1\n"
		"0 net0 refused bar4 0x12 2 0\n0 net0 close\n";
	FILE *f = fmemopen((char *)(uintptr_t)text, sizeof(text) - 1, "r");
	struct replay r;
	struct rig rig;

	CU_EQ_FATAL(rig_up(&rig, &(struct rig_opts){ .no_backend = true, .closed = true }), 0);
	CU_EQ(replay_play(&r, rig.bus, rig.f, f), 0);
	CU_EQ(r.accesses, 3);
	CU_EQ(r.differ, 2);
	CU_ASSERT_STRING_EQUAL(r.first, "line 4: pci.vendor: 0x10411af4, recorded 0x10001af4");
	replay_end(&r);
	fclose(f);
	rig_down(&rig);
}

CU_MAIN("virtio/replay",
	{ "a modern session of DPDK reads what it read", a_modern_session },
	{ "four pairs are set up as they were", four_pairs },
	{ "a transitional session of DPDK reads what it read", a_transitional_session },
	{ "a legacy session of DPDK reads what it read", a_legacy_session },
	{ "a difference is found", a_difference_is_found })
