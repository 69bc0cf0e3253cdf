/* SPDX-License-Identifier: Apache-2.0 */
/*
 * l2switch.h - where a frame goes: pure decisions, no I/O and no clock.
 *
 * The caller hands in bursts of copied frame headers with the port they came from and gets, per
 * frame, one destination port, a set of ports, or a drop with its cause. It then moves the
 * frames itself.
 *
 * Every port has a *configuration* (struct l2_conf), an immutable object swapped by pointer:
 * l2_port_set() returns the one that was there, to be freed once no worker can still be inside a
 * burst. VLANs follow 802.1Q: each frame belongs to one VLAN; an untagged one to its port's pvid
 * (0, the default, is the VLAN of untagged frames); it may leave only at members of that VLAN,
 * untagged where that is the port's pvid and tagged elsewhere.
 *
 * A port may be a *pool* (VMDq): then nothing is learned at it; it owns the (MAC, VLAN) pairs
 * set with l2_mac_add() and takes what its accept modes say. What nobody owns goes by the
 * switch's `unknown` policy: flood, drop, or one default pool.
 *
 * Threads: l2_burst() for one port from one thread at a time, for different ports from several;
 * the setters from one control thread while bursts run.
 */
#ifndef SIM_BACKEND_L2SWITCH_H
#define SIM_BACKEND_L2SWITCH_H

#include <stdbool.h>
#include <stdint.h>

#include "sim/backend/l2fdb.h"

#define L2_PORTS_MAX 256
#define L2_GROUPS_MAX 1024		/* multicast addresses with members */
#define L2_BURST_MAX 64
#define L2_HDR_LEN 64			/* bytes of a frame the decision may look at */
#define L2_LEN_MAX 0x1ffff	/* no frame is longer; a wire_len above: dropped as a runt */
#define L2_PORT_MACS_MAX 64
#define L2_VLANS 4096
#define L2_SET_WORDS (L2_PORTS_MAX / 64)

/* What happened to a frame. Names from l2_cause_name(). */
enum l2_cause {
	L2_FORWARD,			/* not a drop */
	L2_RUNT,			/* shorter than an Ethernet header */
	L2_TOO_LONG,			/* over the MTU of where it came from or goes to */
	L2_BAD_SOURCE,			/* group or zero source address */
	L2_BAD_TAG,			/* tagged on an access port, provider tag, VLAN 4095 */
	L2_NOT_MEMBER,			/* its VLAN is not the port's */
	L2_SPOOFED,			/* source address is not the port's, or is somebody's own */
	L2_RESERVED,			/* 01:80:c2:00:00:0x */
	L2_HAIRPIN,			/* would leave where it came from */
	L2_UNKNOWN,			/* no owner, and policy says drop */
	L2_NOBODY,			/* no member would take it */
	L2_RATE,			/* over the port's rate */
	L2_STORM,			/* over the port's share of replication */
	L2_CAUSES,
};

enum {					/* l2_conf.flags */
	L2_UPLINK	= 1 << 0,	/* the way out: not a pod */
	L2_LEARN	= 1 << 1,
	L2_CHECK_MAC	= 1 << 2,	/* frames must come from one of macs[] */
	L2_TRUNK	= 1 << 3,	/* takes and sends tagged frames */
	L2_PASS_RESERVED = 1 << 4,
	L2_POOL		= 1 << 5,
	L2_MIRROR	= 1 << 6,	/* only listens: gets a copy of all, sends nothing */
	L2_ISOLATED	= 1 << 7,	/* talks to the uplink, not to other isolated ports */
};

enum {					/* l2_conf.accept, the bits of VMDq's accept modes */
	L2_ACCEPT_UNTAGGED = 1 << 0,
	L2_ACCEPT_GROUPS   = 1 << 1,	/* multicast addresses it joined */
	L2_ACCEPT_UNKNOWN  = 1 << 2,	/* unicast nobody owns, when that is flooded */
	L2_ACCEPT_BROADCAST = 1 << 3,
	L2_ACCEPT_MULTICAST = 1 << 4,	/* all multicast */
	L2_ACCEPT_ALL	   = 1 << 5,	/* promiscuous: a copy of everything in its VLANs */
};
#define L2_ACCEPT_DEFAULT (L2_ACCEPT_UNTAGGED | L2_ACCEPT_GROUPS | L2_ACCEPT_UNKNOWN | \
			   L2_ACCEPT_BROADCAST | L2_ACCEPT_MULTICAST)

struct l2_rate {
	uint64_t rate;			/* units a second; 0: no limit */
	uint64_t burst;			/* units at once */
};

struct l2_conf {
	uint32_t flags;
	uint8_t  accept;
	uint16_t pvid;
	uint16_t mtu;			/* without Ethernet header and one tag; 0: no limit */
	unsigned learn_max;		/* addresses learned at the port */
	unsigned nmacs;
	uint64_t macs[L2_PORT_MACS_MAX];	/* first six bytes of memory each */
	struct l2_rate in_bytes, in_frames;	/* from the port */
	struct l2_rate out_bytes;		/* to the port */
	struct l2_rate storm;		/* copies beyond the first, of frames from the port */
	uint64_t vlans[L2_VLANS / 64];
	/* l2_port_set()'s own: what decisions look at most, worked out once */
	uint32_t len_max;		/* of an untagged frame */
	bool     plain;			/* untagged frames of its VLAN come and go as they are */
	bool     rated;			/* has a limit on what comes from it */
};

/* A trunk of all VLANs, learning, no limits but on replication: a plain switch's port. */
void l2_conf_init(struct l2_conf *c);
void l2_conf_vlan(struct l2_conf *c, unsigned vlan, bool member);
bool l2_conf_member(const struct l2_conf *c, unsigned vlan);
/* 0, or -EINVAL with *why set to a sentence. */
int  l2_conf_check(const struct l2_conf *c, const char **why);

struct l2_frame {
	const uint8_t *hdr;		/* L2_HDR_LEN bytes; min(len, ..) are the frame's */
	uint32_t len;			/* the frame, without virtio-net header */
	uint32_t wire_len;		/* its longest segment, once segmented; len if not GSO */
};

enum l2_edit { L2_KEEP, L2_POP, L2_PUSH, L2_SWAP };	/* of the tag behind the addresses */

#define L2_NONE 0xffff			/* no single destination */

struct l2_verdict {
	uint16_t port;			/* L2_NONE: dropped, or all of it is in the set */
	uint8_t  cause;			/* enum l2_cause; of the drop, else L2_FORWARD */
	uint8_t  edit;			/* enum l2_edit, for `port` */
	bool     copies;		/* the set below holds (further) destinations */
	bool     tagged, nested;	/* one tag; one more behind it, or a provider's in front */
	uint8_t  pad[3];
	uint16_t tci;			/* the tag for L2_PUSH and L2_SWAP */
	uint16_t vlan;			/* the VLAN it belongs to */
	uint16_t tci_in;		/* the tag it carries now, if tagged */
};

struct l2_set {
	uint64_t w[L2_SET_WORDS];
};

struct l2_counters {			/* of one port, frames and bytes it sent */
	uint64_t frames, bytes, broadcast, multicast, flooded, copies, learn_full, moves_refused;
	uint64_t cause[L2_CAUSES];
};

struct l2;

struct l2_opts {
	unsigned fdb_max;		/* 0: 16384 */
	uint16_t age_max;		/* ticks; 0: 300 */
	uint64_t seed[2];		/* secret */
};

int  l2_new(struct l2 **l, const struct l2_opts *o);
void l2_free(struct l2 *l);		/* configurations in place are freed too */

/* Moves time on: `tick` in seconds. Does a share of the ageing. Control thread. */
void l2_tick(struct l2 *l, uint16_t tick);

/*
 * Puts a port in, changes it (c from malloc, taken), or takes it out (c NULL; its addresses and
 * memberships go). Returns the former configuration (NULL: none) for the caller to free after a
 * grace period.
 */
struct l2_conf *l2_port_set(struct l2 *l, unsigned port, struct l2_conf *c);
const struct l2_conf *l2_port_conf(const struct l2 *l, unsigned port);	/* control thread */

/* Static addresses; a group address makes the port a member of that group. Bytes as in memory. */
int  l2_mac_add(struct l2 *l, unsigned port, const uint8_t mac[6], uint16_t vlan);
int  l2_mac_del(struct l2 *l, unsigned port, const uint8_t mac[6], uint16_t vlan);

#define L2_UNKNOWN_FLOOD -1
#define L2_UNKNOWN_DROP  -2
void l2_unknown(struct l2 *l, int policy);	/* or the default pool's port */
int  l2_unknown_get(const struct l2 *l);
void l2_loopback(struct l2 *l, bool on);	/* pool to pool inside; off: by the uplink only */
bool l2_loopback_get(const struct l2 *l);

/*
 * Decides for n frames (at most L2_BURST_MAX) from a port at now_ns. sets[i] is written only
 * where v[i].copies. Returns how many are not dropped.
 */
unsigned l2_burst(struct l2 *l, unsigned port, const struct l2_frame *f, unsigned n,
		  uint64_t now_ns, struct l2_verdict *v, struct l2_set *sets);

/* What a member of v's set must get: L2_FORWARD with the edit, or why it gets none. */
enum l2_cause l2_egress(const struct l2 *l, unsigned dst, const struct l2_frame *f,
			const struct l2_verdict *v, enum l2_edit *edit, uint16_t *tci);

/*
 * Takes `bytes` from what a port may still be sent now; false: drop (L2_RATE). Any thread.
 * Needed only if l2_shaped().
 */
bool l2_out_take(struct l2 *l, unsigned dst, uint64_t bytes, uint64_t now_ns);
bool l2_shaped(const struct l2 *l, unsigned dst);

struct l2fdb *l2_fdb(struct l2 *l);
uint16_t l2_now(const struct l2 *l);		/* the last tick */
/* Members of a group by the target l2fdb_next() shows. */
const struct l2_set *l2_group(const struct l2 *l, uint16_t target);
void l2_counters(const struct l2 *l, unsigned port, struct l2_counters *c);
/*
 * Somebody else decides about frames from this port, too, and counts them in `row`, which starts
 * at 0: they are part of l2_counters(). NULL: no more; what was counted stays. Control thread.
 */
void l2_elsewhere(struct l2 *l, unsigned port, const struct l2_counters *row);
const char *l2_cause_name(unsigned cause);

static inline bool l2_set_has(const struct l2_set *s, unsigned port)
{
	return s->w[port / 64] >> (port % 64) & 1;
}

/* First member at or after `port`; L2_PORTS_MAX if none. */
unsigned l2_set_next(const struct l2_set *s, unsigned port);

#endif
