// SPDX-License-Identifier: Apache-2.0
// vmdq_bpf.c - the programs of vmdq.h, put together from parts they share.
//
// Registers: SKB the frame, VLAN its VLAN, R8 the shared memory, R9 the sender's queue. Stack: a
// key of (address, VLAN or queue) at -8, tag bytes at -16, members at -32, the row of counters at
// -40, an index at -48, the mark that was there at -56.
#include <linux/pkt_cls.h>

#include "sim/backend/bpf_text.h"
#include "sim/backend/vmdq.h"

#define KEY_AT -8
#define NUMBER_AT -2			/* of the key */
#define MEMBERS_AT -32
#define ROW_AT -40
#define INDEX_AT -48
#define MARK_AT -56
#define SHARED(f) offsetof(struct vmdq_shared, f)
#define ROW(f) offsetof(struct vmdq_row, f)
#define CAUSE(c) (ROW(l2.cause) + (c) * sizeof(uint64_t))
#define BROADCAST 0xffffffffffffull
#define RESERVED 0xc28001		/* 01:80:c2:00:00 as five bytes of memory are read */

enum {
	PASS = STEER_LABELS, WIRE, DROP, OWNER, SOURCE_OK, NOT_RESERVED, GROUP, MULTICAST,
	NOT_JOINED, MEMBERS, TAGGED, UNKNOWN, TAKES, SINGLE,
	CAUSES,				/* one label per cause from here */
	QUEUES = CAUSES + L2_CAUSES,	/* and one behind each queue's copy */
};
_Static_assert(QUEUES + VMDQ_QUEUES <= BPF_LABELS_MAX, "labels");
_Static_assert(sizeof(struct l2_counters) % 8 == 0 && sizeof(struct vmdq_row) % 8 == 0, "words");

struct text {
	struct bpf_text t;
	const struct vmdq_maps *m;
	bool ingress;
};

/* Adds R2. One thread at a time writes to a pool's queue; from the wire come many at once. */
static void add(struct text *x, unsigned off)
{
	struct bpf_text *t = &x->t;

	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, FP, ROW_AT));
	if (x->ingress)
		BPF_ADD_ALL(t, LOAD(BPF_DW, R4, R1, (int16_t)off), ALU_REG(BPF_ADD, R4, R2),
			STORE(BPF_DW, R1, R4, (int16_t)off));
	else
		BPF_ADD_ALL(t, ADD_TO(R1, R2, (int16_t)off));
}

static void count(struct text *x, unsigned off)
{
	BPF_ADD_ALL(&x->t, MOV_IMM(R2, 1));
	add(x, off);
}

/* The frame's, with the tag that the kernel keeps beside it. */
static void add_length(struct text *x, unsigned off)
{
	BPF_ADD_ALL(&x->t, LOAD(BPF_W, R2, SKB, SKB_FIELD(vlan_present)), ALU(BPF_LSH, R2, 2),
		LOAD(BPF_W, R3, SKB, SKB_FIELD(len)), ALU_REG(BPF_ADD, R2, R3));
	add(x, off);
}

static void lookup(struct bpf_text *t, int map)
{
	BPF_ADD_ALL(t, MAP_FD(R1, map), MOV_REG(R2, FP), ADD_IMM(R2, KEY_AT),
		CALL(BPF_FUNC_map_lookup_elem));
}

/* One of the frame's addresses, to the key; the number behind it is 0. */
static void load_mac(struct bpf_text *t, unsigned off)
{
	BPF_ADD_ALL(t, STORE_IMM(BPF_DW, FP, KEY_AT, 0), MOV_REG(R1, SKB), MOV_IMM(R2, (int)off),
		MOV_REG(R3, FP), ADD_IMM(R3, KEY_AT), MOV_IMM(R4, 6),
		CALL(BPF_FUNC_skb_load_bytes));
}

/* Jumps if bit `queue` of a mask is clear. */
static void need_bit(struct bpf_text *t, unsigned mask, unsigned queue, unsigned label)
{
	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, R8, (int16_t)mask), ALU_REG(BPF_RSH, R1, queue),
		AND_IMM(R1, 1), JUMP_IF(BPF_JEQ, R1, 0, label));
}

/* To R1: who is a member of VLAN. (Who lacks CAP_PERFMON may not compute such an address.) */
static void load_members(struct text *x)
{
	BPF_ADD_ALL(&x->t, STORE(BPF_W, FP, VLAN, INDEX_AT), MAP_FD(R1, x->m->member),
		MOV_REG(R2, FP), ADD_IMM(R2, INDEX_AT), CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF(BPF_JEQ, R0, 0, DROP), LOAD(BPF_DW, R1, R0, 0));
}

/* Finds the shared memory and, in R9, the queue the frame was written to; others pass. */
static void begin(struct text *x)
{
	struct bpf_text *t = &x->t;

	BPF_ADD_ALL(t, MOV_REG(SKB, R1), LOAD(BPF_W, R1, SKB, SKB_FIELD(mark)),
		STORE(BPF_DW, FP, R1, MARK_AT));
	if (x->ingress)
		BPF_ADD_ALL(t, LOAD(BPF_W, R9, SKB, SKB_FIELD(queue_mapping)),
			JUMP_IF(BPF_JEQ, R9, 0, PASS), ADD_IMM(R9, -1),
			JUMP_IF(BPF_JGE, R9, VMDQ_QUEUES, PASS));
	else
		BPF_ADD_ALL(t, AND_IMM(R1, ~(STEER_QUEUES - 1)),
			JUMP_IF(BPF_JEQ, R1, STEER_MARK, PASS), MOV_IMM(R9, VMDQ_WIRE));
	BPF_ADD_ALL(t, STORE_IMM(BPF_W, FP, INDEX_AT, 0), MAP_FD(R1, x->m->shared),
		MOV_REG(R2, FP), ADD_IMM(R2, INDEX_AT), CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF(BPF_JEQ, R0, 0, PASS), MOV_REG(R8, R0));
	if (x->ingress)
		need_bit(t, SHARED(owned), R9, PASS);
	else
		BPF_ADD_ALL(t, LOAD(BPF_DW, R1, R8, SHARED(whole)),
			JUMP_IF(BPF_JEQ, R1, 0, PASS));
	if (!x->ingress && x->m->queues > 1) {	/* steered already, unless for a group */
		load_mac(t, 0);
		BPF_ADD_ALL(t, JUMP_IF(BPF_JNE, R0, 0, PASS), LOAD(BPF_B, R1, FP, KEY_AT),
			AND_IMM(R1, 1), JUMP_IF(BPF_JEQ, R1, 0, PASS));
	}
	BPF_ADD_ALL(t, MOV_REG(R1, R9), ALU(BPF_MUL, R1, sizeof(struct vmdq_row)),
		ALU_REG(BPF_ADD, R1, R8), ADD_IMM(R1, SHARED(row)),
		STORE(BPF_DW, FP, R1, ROW_AT));
}

/* Where it comes from, and whether that may be. (l2switch.c: ingress) */
static void judge(struct text *x)
{
	struct bpf_text *t = &x->t;

	count(x, ROW(l2.frames));
	add_length(x, ROW(l2.bytes));
	steer_text_vlan(t);
	BPF_ADD_ALL(t, JUMP_IF(BPF_JEQ, VLAN, L2_VLANS - 1, CAUSES + L2_BAD_TAG));
	if (x->ingress) {
		load_members(x);
		BPF_ADD_ALL(t, ALU_REG(BPF_RSH, R1, R9), AND_IMM(R1, 1),
			JUMP_IF(BPF_JEQ, R1, 0, CAUSES + L2_NOT_MEMBER));
	}
	load_mac(t, 6);
	BPF_ADD_ALL(t, JUMP_IF(BPF_JNE, R0, 0, CAUSES + L2_RUNT), LOAD(BPF_DW, R1, FP, KEY_AT),
		JUMP_IF(BPF_JEQ, R1, 0, CAUSES + L2_BAD_SOURCE), AND_IMM(R1, 1),
		JUMP_IF(BPF_JNE, R1, 0, CAUSES + L2_BAD_SOURCE));
	if (x->ingress) {
		need_bit(t, SHARED(checked), R9, OWNER);
		BPF_ADD_ALL(t, STORE(BPF_H, FP, R9, NUMBER_AT));
		lookup(t, x->m->source);
		BPF_ADD_ALL(t, JUMP_IF(BPF_JEQ, R0, 0, CAUSES + L2_SPOOFED));
	}
	bpf_label(t, OWNER);
	BPF_ADD_ALL(t, STORE(BPF_H, FP, VLAN, NUMBER_AT));
	lookup(t, x->m->steer);
	BPF_ADD_ALL(t, JUMP_IF(BPF_JEQ, R0, 0, SOURCE_OK), LOAD(BPF_W, R1, R0, 0),
		JUMP_REG(BPF_JNE, R1, R9, CAUSES + L2_SPOOFED));
	bpf_label(t, SOURCE_OK);
	load_mac(t, 0);
	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, FP, KEY_AT), ALU(BPF_LSH, R1, 24), ALU(BPF_RSH, R1, 24),
		JUMP_IF(BPF_JNE, R1, RESERVED, NOT_RESERVED),
		LOAD(BPF_B, R1, FP, KEY_AT + 5),
		JUMP_IF(BPF_JLT, R1, 0x10, CAUSES + L2_RESERVED));
	bpf_label(t, NOT_RESERVED);
	BPF_ADD_ALL(t, LOAD(BPF_B, R1, FP, KEY_AT), AND_IMM(R1, 1),
		JUMP_IF(BPF_JNE, R1, 0, GROUP));
}

/* From a pool to one pool's own address: into its queue, if it would take it. */
static void send_unicast(struct text *x)
{
	struct bpf_text *t = &x->t;

	BPF_ADD_ALL(t, STORE(BPF_H, FP, VLAN, NUMBER_AT));
	lookup(t, x->m->steer);
	BPF_ADD_ALL(t, JUMP_IF(BPF_JEQ, R0, 0, UNKNOWN), LOAD(BPF_W, R2, R0, 0),
		JUMP_REG(BPF_JEQ, R2, R9, CAUSES + L2_HAIRPIN),
		LOAD(BPF_DW, R1, R8, SHARED(loopback)), JUMP_IF(BPF_JEQ, R1, 0, WIRE),
		MOV_REG(R9, R2), JUMP_IF(BPF_JGE, R9, VMDQ_QUEUES, CAUSES + L2_NOBODY));
	load_members(x);
	BPF_ADD_ALL(t, ALU_REG(BPF_RSH, R1, R9), AND_IMM(R1, 1),
		JUMP_IF(BPF_JEQ, R1, 0, CAUSES + L2_NOT_MEMBER),
		JUMP_IF(BPF_JNE, VLAN, 0, TAKES));
	need_bit(t, SHARED(untagged), R9, CAUSES + L2_NOT_MEMBER);
	bpf_label(t, TAKES);
	count(x, CAUSE(L2_FORWARD));
	BPF_ADD_ALL(t, ALU(BPF_OR, R9, STEER_MARK), STORE(BPF_W, SKB, R9, SKB_FIELD(mark)),
		MOV_IMM(R1, x->m->ifindex), MOV_IMM(R2, 0), CALL(BPF_FUNC_redirect), EXIT());
	bpf_label(t, UNKNOWN);
	count(x, ROW(l2.flooded));
	BPF_ADD_ALL(t, LOAD(BPF_DW, R3, R8, SHARED(unknown)), JUMP(MEMBERS));
}

/* From the wire to the one pool there is, which has the only queue. */
static void receive_unicast(struct text *x)
{
	struct bpf_text *t = &x->t;

	BPF_ADD_ALL(t, STORE(BPF_H, FP, VLAN, NUMBER_AT));
	lookup(t, x->m->steer);
	BPF_ADD_ALL(t, JUMP_IF(BPF_JEQ, R0, 0, UNKNOWN), MOV_IMM(R3, 1), JUMP(MEMBERS));
	bpf_label(t, UNKNOWN);
	count(x, ROW(l2.flooded));
	BPF_ADD_ALL(t, LOAD(BPF_DW, R3, R8, SHARED(stray)),
		JUMP_IF(BPF_JEQ, R3, 0, CAUSES + L2_UNKNOWN), JUMP(MEMBERS));
}

/* To R3: the queues that accept the group, and from there on, which of them get this frame. */
static void find_members(struct text *x)
{
	struct bpf_text *t = &x->t;

	bpf_label(t, GROUP);
	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, FP, KEY_AT), MOV_64(R2, BROADCAST),
		JUMP_REG(BPF_JNE, R1, R2, MULTICAST));
	count(x, ROW(l2.broadcast));
	BPF_ADD_ALL(t, LOAD(BPF_DW, R3, R8, SHARED(broadcast)), JUMP(MEMBERS));
	bpf_label(t, MULTICAST);
	count(x, ROW(l2.multicast));
	BPF_ADD_ALL(t, STORE(BPF_H, FP, VLAN, NUMBER_AT));
	lookup(t, x->m->group);
	BPF_ADD_ALL(t, MOV_IMM(R3, 0), JUMP_IF(BPF_JEQ, R0, 0, NOT_JOINED),
		LOAD(BPF_DW, R3, R0, 0), LOAD(BPF_DW, R1, R8, SHARED(groups)),
		ALU_REG(BPF_AND, R3, R1));
	bpf_label(t, NOT_JOINED);
	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, R8, SHARED(multicast)), ALU_REG(BPF_OR, R3, R1));
	bpf_label(t, MEMBERS);
	BPF_ADD_ALL(t, STORE(BPF_DW, FP, R3, MEMBERS_AT));
	load_members(x);
	BPF_ADD_ALL(t, LOAD(BPF_DW, R3, FP, MEMBERS_AT), ALU_REG(BPF_AND, R3, R1),
		JUMP_IF(BPF_JNE, VLAN, 0, TAGGED),
		LOAD(BPF_DW, R1, R8, SHARED(untagged)), ALU_REG(BPF_AND, R3, R1));
	bpf_label(t, TAGGED);
	if (x->ingress)
		BPF_ADD_ALL(t, MOV_IMM(R1, 1), ALU_REG(BPF_LSH, R1, R9), ALU(BPF_XOR, R1, -1),
			ALU_REG(BPF_AND, R3, R1), LOAD(BPF_DW, R1, R8, SHARED(loopback)),
			JUMP_IF(BPF_JEQ, R1, 0, WIRE), JUMP_IF(BPF_JEQ, R3, 0, WIRE));
	else
		BPF_ADD_ALL(t, JUMP_IF(BPF_JEQ, R3, 0, CAUSES + L2_NOBODY));
}

static void copy_to(struct text *x, unsigned q)
{
	struct bpf_text *t = &x->t;

	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, FP, MEMBERS_AT), ALU(BPF_RSH, R1, (int)q), AND_IMM(R1, 1),
		JUMP_IF(BPF_JEQ, R1, 0, (int16_t)(QUEUES + q)),
		MOV_IMM(R1, (int)(STEER_MARK | q)), STORE(BPF_W, SKB, R1, SKB_FIELD(mark)),
		MOV_REG(R1, SKB), MOV_IMM(R2, x->m->ifindex), MOV_IMM(R3, 0),
		CALL(BPF_FUNC_clone_redirect));
	count(x, ROW(l2.copies));
	BPF_ADD_ALL(t, MOV_IMM(R2, -1), ADD_TO(R1, R2, ROW(storm)));
	bpf_label(t, QUEUES + q);
}

/*
 * A copy into the queue of each member, as far as the sender's share of copies allows. To one
 * destination nothing is a copy; from a pool there are two at least, the wire being one.
 */
static void replicate(struct text *x)
{
	struct bpf_text *t = &x->t;

	BPF_ADD_ALL(t, STORE(BPF_DW, FP, R3, MEMBERS_AT), LOAD(BPF_DW, R1, FP, ROW_AT));
	if (!x->ingress)
		BPF_ADD_ALL(t, MOV_IMM(R2, -1), ADD_TO(R1, R2, ROW(l2.copies)),
			MOV_IMM(R2, 1), ADD_TO(R1, R2, ROW(storm)),
			MOV_REG(R2, R3), ADD_IMM(R2, -1), ALU_REG(BPF_AND, R2, R3),
			JUMP_IF(BPF_JEQ, R2, 0, SINGLE));
	BPF_ADD_ALL(t, LOAD(BPF_DW, R2, R1, ROW(storm)),
		JUMP_IF(BPF_JSLE, R2, 0, CAUSES + L2_STORM));
	if (!x->ingress)
		bpf_label(t, SINGLE);
	/* Written out: who lacks CAP_PERFMON may not have a loop like this one. */
	for (unsigned q = 0; q < x->m->queues; q++)
		copy_to(x, q);
	BPF_ADD_ALL(t, LOAD(BPF_DW, R1, FP, MARK_AT), STORE(BPF_W, SKB, R1, SKB_FIELD(mark)));
}

/* What was sent goes on to the wire; what came from there has been given to all it is for. */
static void finish(struct text *x)
{
	struct bpf_text *t = &x->t;

	if (x->ingress)
		bpf_label(t, WIRE);
	count(x, CAUSE(L2_FORWARD));
	if (x->ingress) {
		count(x, ROW(wire));
		add_length(x, ROW(wire_bytes));
		BPF_ADD_ALL(t, JUMP(PASS));
	} else if (x->m->queues > 1) {
		BPF_ADD_ALL(t, JUMP(DROP));
	} else {
		BPF_ADD_ALL(t, JUMP(PASS));
	}
	for (unsigned cause = 0; cause < L2_CAUSES; cause++) {
		if (!bpf_wanted(t, CAUSES + cause))
			continue;
		bpf_label(t, CAUSES + cause);
		count(x, CAUSE(cause));
		BPF_ADD_ALL(t, JUMP(DROP));
	}
	bpf_label(t, DROP);		/* an error would reach who sent to the interface */
	BPF_ADD_ALL(t, MOV_IMM(R0, x->ingress ? TC_ACT_SHOT : TC_ACT_STOLEN), EXIT());
	bpf_label(t, PASS);
	BPF_ADD_ALL(t, MOV_IMM(R0, TC_ACT_UNSPEC), EXIT());
}

int vmdq_load(const struct vmdq_maps *m, bool ingress)
{
	struct text x = { .m = m, .ingress = ingress };
	bool sole = m->queues == 1;

	begin(&x);
	judge(&x);
	if (ingress)
		send_unicast(&x);
	else if (sole)
		receive_unicast(&x);
	find_members(&x);
	if (ingress || !sole)
		replicate(&x);
	finish(&x);
	return bpf_load(&x.t, BPF_PROG_TYPE_SCHED_CLS);
}
