/* SPDX-License-Identifier: Apache-2.0 */
/*
 * l2fdb.h - the forwarding table: (MAC, VLAN) -> port or group, at constant cost.
 *
 * Open addressing in buckets of one cache line, two candidate buckets per key, no chains and no
 * growth: a lookup touches one line, at worst two, whether the table holds ten keys or ten
 * thousand. The hash is keyed by a secret handed in, so a sender cannot pick colliding
 * addresses. Readers take no lock (a sequence number per bucket tells them to look again),
 * writers share one lock; learning is the only writer on a packet's path and is bounded per port.
 *
 * Entries are dynamic (learned, they age) or static (configured, they never move or age).
 */
#ifndef SIM_BACKEND_L2FDB_H
#define SIM_BACKEND_L2FDB_H

#include <stdbool.h>
#include <stdint.h>

#define L2FDB_SLOTS 5			/* entries in a bucket: what fits a cache line */
#define L2FDB_OWNERS_MAX 256		/* ports whose entries are counted */
#define L2FDB_GROUP 0x8000u		/* a target with this bit is a multicast group's index */

struct l2fdb;

/* A key: the six bytes of the address in memory order, then the VLAN. */
static inline uint64_t l2fdb_key(uint64_t mac48, uint16_t vlan)
{
	return mac48 | (uint64_t)(vlan & 0xfff) << 48;
}

struct l2fdb_entry {
	uint8_t  mac[6];
	uint16_t vlan;
	uint16_t target;
	bool     fixed;			/* static */
	uint16_t age;			/* ticks since last seen; 0 for static ones */
};

/* Room for `max` entries (at most 2^20); seed are 128 secret bits. */
int  l2fdb_new(struct l2fdb **t, unsigned max, const uint64_t seed[2]);
void l2fdb_free(struct l2fdb *t);

/* Target of a key, or -1. *fixed (may be NULL) tells a static entry. Any thread. */
int  l2fdb_find(const struct l2fdb *t, uint64_t key, bool *fixed);

/*
 * Notes that the key was seen at a port at time `tick`: refreshes, inserts, or moves it if
 * may_move. Returns 0 if the table now says so; -EPERM for a static key of another port,
 * -EBUSY for a move that was not allowed, -ENOSPC when the table or the port's share is full.
 */
int  l2fdb_learn(struct l2fdb *t, uint64_t key, uint16_t port, uint16_t tick, unsigned port_max,
		 bool may_move);

/* Configured entries; -EEXIST if static elsewhere, -ENOSPC. A dynamic one is replaced. */
int  l2fdb_set(struct l2fdb *t, uint64_t key, uint16_t target);
int  l2fdb_del(struct l2fdb *t, uint64_t key);			/* -ENOENT */

/* Forgets what points at a target; static entries only if told to. Number forgotten. */
unsigned l2fdb_flush(struct l2fdb *t, uint16_t target, bool fixed_too);

/*
 * Ages `buckets` more buckets (a share of the table per call keeps pauses short): dynamic
 * entries not seen for more than age_max ticks go. Number forgotten.
 */
unsigned l2fdb_age(struct l2fdb *t, uint16_t tick, uint16_t age_max, unsigned buckets);
unsigned l2fdb_buckets(const struct l2fdb *t);

unsigned l2fdb_count(const struct l2fdb *t);
unsigned l2fdb_count_of(const struct l2fdb *t, uint16_t port);	/* learned at a port */

/* Walks the table: start with *cursor 0; false at the end. Concurrent changes may be missed. */
bool l2fdb_next(const struct l2fdb *t, uint64_t *cursor, uint16_t tick, struct l2fdb_entry *e);

#endif
