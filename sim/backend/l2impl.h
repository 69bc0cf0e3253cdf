/* SPDX-License-Identifier: Apache-2.0 */
/* l2impl.h - the switch's state, shared by its decisions (l2switch.c) and setters (l2conf.c). */
#ifndef SIM_BACKEND_L2IMPL_H
#define SIM_BACKEND_L2IMPL_H

#include "sim/backend/l2switch.h"

#define L2_MOVES_RATE 16		/* a second, of addresses moving to one port */
#define L2_MOVES_BURST 256

struct l2_bucket {			/* token bucket; starts full at its first use */
	uint64_t tokens, last_ns;
};

/*
 * The first part has one writer, the worker that polls the port; `out` belongs to whoever may
 * send to it.
 */
struct l2_port {
	struct l2_conf *conf;
	struct l2_bucket in_bytes, in_frames, storm, moves;
	struct l2_counters count;
	/* of what is decided elsewhere: now, and formerly; control thread only */
	const struct l2_counters *elsewhere;
	struct l2_counters past;
	struct l2_bucket out __attribute__((aligned(64)));
	uint32_t out_lock;
} __attribute__((aligned(64)));

enum l2_class {				/* ports by a property, kept in step with their conf */
	L2_CLASS_UPLINK, L2_CLASS_POOL, L2_CLASS_ISOLATED, L2_CLASS_BROADCAST,
	L2_CLASS_MULTICAST, L2_CLASS_GROUPS, L2_CLASS_UNKNOWN, L2_CLASS_ALL, L2_CLASSES,
};

struct l2_group {
	uint64_t key;			/* 0: free; control thread only */
	struct l2_set members;
};

struct l2 {
	struct l2fdb *fdb;
	int32_t  unknown;
	bool     loopback;
	uint16_t tick, age_max;
	struct l2_set class[L2_CLASSES];
	struct l2_port port[L2_PORTS_MAX];
	struct l2_group group[L2_GROUPS_MAX];
	struct l2_set member[L2_VLANS];
};

/* Words of sets are read by workers while the control thread changes single bits. */
static inline uint64_t l2_word(const struct l2_set *s, unsigned i)
{
	return __atomic_load_n(&s->w[i], __ATOMIC_RELAXED);
}

static inline struct l2_conf *l2_conf_of(const struct l2 *l, unsigned port)
{
	return __atomic_load_n(&l->port[port].conf, __ATOMIC_ACQUIRE);
}

static inline uint64_t l2_mac48(const uint8_t *mac)
{
	uint64_t v = 0;

	__builtin_memcpy(&v, mac, 6);
	return v;
}

#endif
