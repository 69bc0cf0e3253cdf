/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bpf_text.h - eBPF programs written down as they are: instructions, and labels to jump to.
 *
 * A jump names a label where the machine wants a distance; bpf_load() works the distances out.
 */
#ifndef SIM_BACKEND_BPF_TEXT_H
#define SIM_BACKEND_BPF_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <linux/bpf.h>

#define BPF_TEXT_MAX 2048		/* instructions */
#define BPF_LABELS_MAX 128

struct bpf_text {
	unsigned n;
	unsigned label[BPF_LABELS_MAX];	/* the instruction each stands at */
	bool     wanted[BPF_LABELS_MAX];	/* something jumps there */
	struct bpf_insn insn[BPF_TEXT_MAX];
};

/* The system call: a descriptor or 0, or -errno. */
int  bpf_call(int cmd, union bpf_attr *attr);
void bpf_add(struct bpf_text *t, const struct bpf_insn *insn, unsigned n);
/* The label is where the next instruction goes. */
void bpf_label(struct bpf_text *t, unsigned label);
/* Something jumps there already. (The kernel refuses what cannot be reached.) */
bool bpf_wanted(const struct bpf_text *t, unsigned label);
/* The program's descriptor, or -errno. */
int  bpf_load(struct bpf_text *t, enum bpf_prog_type type);
/* The map's descriptor, or -errno. */
int  bpf_map(enum bpf_map_type type, unsigned key, unsigned value, unsigned entries,
	     unsigned flags);
int  bpf_map_set(int fd, const void *key, const void *value);
int  bpf_map_del(int fd, const void *key);

#define BPF_ADD_ALL(t, ...) do { \
		const struct bpf_insn insns_[] = { __VA_ARGS__ }; \
		bpf_add(t, insns_, sizeof(insns_) / sizeof(insns_[0])); \
	} while (0)

#define INSN(c, d, s, o, i) \
	{ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }
#define ALU(op, d, i)	   INSN(BPF_ALU64 | (op) | BPF_K, d, 0, 0, i)
#define ALU_REG(op, d, s)  INSN(BPF_ALU64 | (op) | BPF_X, d, s, 0, 0)
#define MOV_REG(d, s)	   ALU_REG(BPF_MOV, d, s)
#define MOV_IMM(d, i)	   ALU(BPF_MOV, d, i)
#define MOV_64(d, i)	   INSN(BPF_LD | BPF_DW | BPF_IMM, d, 0, 0, (int32_t)(uint32_t)(i)), \
			   INSN(0, 0, 0, 0, (int32_t)((uint64_t)(i) >> 32))
#define ADD_IMM(d, i)	   ALU(BPF_ADD, d, i)
#define AND_IMM(d, i)	   ALU(BPF_AND, d, i)
#define TO_BE16(d)	   INSN(BPF_ALU | BPF_END | BPF_TO_BE, d, 0, 0, 16)
#define LOAD(sz, d, s, o)  INSN(BPF_LDX | BPF_MEM | (sz), d, s, o, 0)
#define STORE(sz, d, s, o) INSN(BPF_STX | BPF_MEM | (sz), d, s, o, 0)
#define STORE_IMM(sz, d, o, i) INSN(BPF_ST | BPF_MEM | (sz), d, 0, o, i)
#define ADD_TO(d, s, o)	   INSN(BPF_STX | BPF_ATOMIC | BPF_DW, d, s, o, BPF_ADD)
#define JUMP_IF(op, d, i, label) INSN(BPF_JMP | (op) | BPF_K, d, 0, label, i)
#define JUMP_REG(op, d, s, label) INSN(BPF_JMP | (op) | BPF_X, d, s, label, 0)
#define JUMP(label)	   INSN(BPF_JMP | BPF_JA, 0, 0, label, 0)
#define CALL(fn)	   INSN(BPF_JMP | BPF_CALL, 0, 0, 0, fn)
#define EXIT()		   INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define MAP_FD(d, fd)	   INSN(BPF_LD | BPF_DW | BPF_IMM, d, BPF_PSEUDO_MAP_FD, 0, fd), \
			   INSN(0, 0, 0, 0, 0)

#define R0 BPF_REG_0
#define R1 BPF_REG_1
#define R2 BPF_REG_2
#define R3 BPF_REG_3
#define R4 BPF_REG_4
#define SKB BPF_REG_6
#define VLAN BPF_REG_7
#define R8 BPF_REG_8
#define R9 BPF_REG_9
#define FP BPF_REG_10
#define SKB_FIELD(f) offsetof(struct __sk_buff, f)

#endif
